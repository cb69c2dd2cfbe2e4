//! `GET /v1/requests`: the list, made as the client takes it.

use axum::body::Body;
use axum::extract::{RawQuery, State};
use axum::http::header;
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use futures_util::stream;
use scheduling::TardinessPenalty;
use scheduling::message::excerpt;
use serde::Deserialize;
use serde::de::DeserializeOwned;

use super::Server;
use super::answer;
use super::auth::Visitor;
use super::body::plain;
use super::budget::Room;
use super::problem::Problem;
use super::view::RequestView;
use crate::handle::Unavailable;
use crate::journal::{Filter, Page};
use crate::status::Status;

/// The query.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct ListQuery {
    state: Option<StateQuery>,
    server: Option<String>,
    penalty: Option<TardinessPenalty>,
    before: Option<String>,
    limit: Option<String>,
}

/// States that a list can be filtered by; live is what has not ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
enum StateQuery {
    Live,
    Waiting,
    Running,
    Completed,
    Failed,
    Cancelled,
    Expired,
}

impl StateQuery {
    fn word(self) -> &'static str {
        match self {
            Self::Live => "live",
            Self::Waiting => "waiting",
            Self::Running => "running",
            Self::Completed => "completed",
            Self::Failed => "failed",
            Self::Cancelled => "cancelled",
            Self::Expired => "expired",
        }
    }
}

/// Reads a query, with the name of what is wrong.
pub(crate) fn list_query(text: &str) -> Result<ListQuery, Problem> {
    let pairs = form_urlencoded::parse(text.as_bytes());
    serde_path_to_error::deserialize(serde_urlencoded::Deserializer::new(pairs)).map_err(|error| {
        let path = excerpt(&error.path().to_string());
        Problem::field(path, plain(&error.inner().to_string()))
    })
}

/// A number as JSON writes it, and so as the description has it: neither `+5` nor `007`.
fn number<T: DeserializeOwned>(text: &str) -> Option<T> {
    serde_json::from_str(text).ok()
}

impl ListQuery {
    /// What is asked of the journal.
    fn filter(self, owner: &str) -> Result<Filter, Problem> {
        let wrong = |field: &str, text: &str, allowed: &str| {
            Problem::field(field, format!("{:?}: {allowed}", excerpt(text)))
        };
        let limit = match self.limit.as_deref() {
            None => 50,
            Some(text) => {
                number(text).filter(|limit| (1..=500).contains(limit)).ok_or_else(|| {
                    wrong("limit", text, "allowed is a number of requests from 1 to 500")
                })?
            }
        };
        let before = self.before.as_deref().map(|text| {
            number(text)
                .ok_or_else(|| wrong("before", text, "allowed is `next` of the page before"))
        });
        Ok(Filter {
            owner: Some(owner.into()),
            state: self.state.map(|state| state.word().into()),
            server: self.server,
            penalty: self.penalty,
            before: before.transpose()?,
            limit,
        })
    }
}

/// `GET /v1/requests`
pub(crate) async fn list(
    State(server): State<Server>,
    visitor: Visitor,
    RawQuery(query): RawQuery,
) -> Result<Response, Problem> {
    let query = list_query(query.as_deref().unwrap_or(""))?;
    let state = query.state;
    let filter = query.filter(&visitor.owner)?;
    let most = answer::most_bytes_of_a_request(&server.handle.config);
    let room = visitor.budget.claim(AT_ONCE as usize * most)?;
    // What cannot be read is said before the answer has begun.
    drop(visitor.first_turn().await?);
    let mut pages = Pages { server, visitor, state, left: filter.limit, filter, began: false };
    let first = pages.next(room).await?;
    let parts = stream::iter([Ok(first)]);
    let more = stream::try_unfold(pages, move |mut pages| async move {
        if pages.left == 0 {
            return Ok(None);
        }
        let room = pages.visitor.budget.wait(AT_ONCE as usize * most).await;
        Ok::<_, Unavailable>(Some((pages.next(room).await?, pages)))
    });
    let body = Body::from_stream(futures_util::StreamExt::chain(parts, more));
    Ok(([(header::CONTENT_TYPE, "application/json")], body).into_response())
}

/// Requests that are in memory for one client at a time.
const AT_ONCE: u32 = 4;

/// A list that is being made.
struct Pages {
    server: Server,
    visitor: Visitor,
    state: Option<StateQuery>,
    filter: Filter,
    /// Requests that are still to come.
    left: u32,
    /// Whether a request has been written.
    began: bool,
}

impl Pages {
    /// The next requests in JSON, with what stands before and behind them.
    async fn next(&mut self, room: Room) -> Result<Bytes, Unavailable> {
        let first = self.left == self.filter.limit;
        let wanted = self.left.min(AT_ONCE);
        let turn = self.visitor.turn().await;
        let page = Filter { limit: wanted, ..self.filter.clone() };
        let Page { entries, next } = self.server.handle.list(page).await?;
        drop(turn);
        let mut text = if first { br#"{"requests":["#.to_vec() } else { Vec::new() };
        let found = entries.len() as u32;
        for entry in entries {
            // The engine knows more of what has not ended.
            let status = if entry.end.is_some() {
                Status::from(entry)
            } else {
                let live = self.server.handle.status(entry.accepted.order.id).await?;
                live.unwrap_or(entry.into())
            };
            let view = RequestView::new(&status, &self.server.handle, self.visitor.role);
            // What has moved on since is not what was asked for.
            let moved = match self.state {
                Some(state @ (StateQuery::Waiting | StateQuery::Running)) => {
                    view.state != state.word()
                }
                _ => false,
            };
            if !moved {
                text.extend(self.began.then_some(b','));
                self.began = true;
                serde_json::to_writer(&mut text, &view).expect("views are plain data");
            }
        }
        self.filter.before = next;
        // The journal looks at so many for one page; that it found fewer ends ours as well.
        let over = found < wanted || next.is_none();
        self.left = if over { 0 } else { self.left - wanted };
        if self.left == 0 {
            let next = next.map_or_else(|| "null".into(), |next| next.to_string());
            text.extend(format!("],\"next\":{next}}}").into_bytes());
        }
        Ok(room.carry(text))
    }
}
