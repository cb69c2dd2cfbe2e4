//! `/v1/requests` and `/v1/quotes`.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::Json;
use axum::extract::{Path, RawQuery, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{IntoResponse, Response};
use futures_util::{Stream, stream};
use scheduling::TardinessPenalty;
use serde::{Deserialize, Serialize};

use super::body::{JsonBytes, NewRequest, compose, idempotency_key, parse, prefer_wait};
use super::problem::Problem;
use super::view::{DecisionView, RequestView};
use super::{Server, Waited};
use crate::journal::{self, Accepted, Filter, Kept};
use crate::scheduler::{Outcome, RequestId};
use crate::status::{Phase, Refusal, Status};

type Answer = Result<Response, Problem>;

/// `POST /v1/requests`
pub(crate) async fn submit(
    State(server): State<Server>,
    headers: HeaderMap,
    JsonBytes(body): JsonBytes,
) -> Answer {
    let visitor = server.door.enter(&headers)?;
    let handle = &server.handle;
    server.door.count(&visitor, &handle.timeline)?;
    let key = idempotency_key(&headers, &body)?;
    let new: NewRequest = parse(&body)?;
    let accepted = compose(new, visitor.owner, &handle.config, &handle.timeline, key)?;
    let (status, code) = submit_once(&server, accepted).await?;
    let id = status.accepted.order.id;
    let location = [(header::LOCATION, format!("/v1/requests/{id}"))];
    let Some(most) = prefer_wait(&headers) else {
        return Ok((code, location, Json(RequestView::new(&status, handle))).into_response());
    };
    let start = Instant::now();
    let status = handle.wait(id, most).await?.ok_or_else(Problem::not_found)?;
    let code = if matches!(status.phase, Phase::Ended(_)) { StatusCode::OK } else { code };
    let body = Json(RequestView::new(&status, handle));
    let applied = [("preference-applied", "wait")];
    let mut response = (code, location, applied, body).into_response();
    response.extensions_mut().insert(Waited(start.elapsed()));
    Ok(response)
}

/// Submits, unless the same owner has used the idempotency key before: then the request made with
/// it is answered, if it was made with the same body.
pub(crate) async fn submit_once(
    server: &Server,
    accepted: Accepted,
) -> Result<(Status, StatusCode), Problem> {
    let handle = &server.handle;
    let (owner, key) = (accepted.order.owner.clone(), accepted.key.clone());
    let submit = async {
        if let Some(key) = &key
            && let Some(known) = handle.by_key(owner.clone(), key.key.clone()).await?
        {
            return Ok::<_, Problem>(Err(Refusal::KeyTaken(Some(known))));
        }
        Ok(handle.submit(Arc::new(accepted)).await)
    };
    match (submit.await?, key) {
        (Ok(status), _) => Ok((status, StatusCode::ACCEPTED)),
        (Err(Refusal::KeyTaken(known)), Some(key)) => {
            let known = match known {
                Some(known) => Some(known),
                None => handle.by_key(owner, key.key).await?,
            };
            let (id, fingerprint) = known.ok_or_else(|| Problem::from(Refusal::KeyTaken(None)))?;
            if fingerprint != key.fingerprint {
                return Err(Problem::new(
                    StatusCode::UNPROCESSABLE_ENTITY,
                    "idempotency_key_reused",
                    "this Idempotency-Key was used with another body",
                ));
            }
            let status = handle.status(id).await?.ok_or_else(Problem::not_found)?;
            Ok((status, StatusCode::OK))
        }
        (Err(refusal), _) => Err(refusal.into()),
    }
}

/// `POST /v1/quotes`
pub(crate) async fn quote(
    State(server): State<Server>,
    headers: HeaderMap,
    JsonBytes(body): JsonBytes,
) -> Answer {
    let visitor = server.door.enter(&headers)?;
    let handle = &server.handle;
    server.door.count(&visitor, &handle.timeline)?;
    let accepted = compose(parse(&body)?, visitor.owner, &handle.config, &handle.timeline, None)?;
    let (quote, policy) = handle.quote(accepted.order.clone()).await?;
    let status = Status { accepted: Arc::new(accepted), decision: None, phase: Phase::Unplaced };
    Ok(Json(DecisionView::quoted(&quote, policy, &status, handle)).into_response())
}

/// The request of this name, if it is the visitor's.
pub(crate) async fn own(
    server: &Server,
    headers: &HeaderMap,
    id: &str,
) -> Result<(RequestId, Status), Problem> {
    let visitor = server.door.enter(headers)?;
    let id = RequestId(uuid::Uuid::parse_str(id).map_err(|_| Problem::not_found())?);
    let status = server.handle.status(id).await?;
    let own = status.filter(|status| status.accepted.order.owner == visitor.owner);
    own.map(|status| (id, status)).ok_or_else(Problem::not_found)
}

/// `GET /v1/requests/{id}`
pub(crate) async fn show(
    State(server): State<Server>,
    headers: HeaderMap,
    Path(id): Path<String>,
) -> Answer {
    let (id, mut status) = own(&server, &headers, &id).await?;
    let start = Instant::now();
    if let Some(most) = prefer_wait(&headers) {
        status = server.handle.wait(id, most).await?.ok_or_else(Problem::not_found)?;
    }
    let mut response = Json(RequestView::new(&status, &server.handle)).into_response();
    response.extensions_mut().insert(Waited(start.elapsed()));
    Ok(response)
}

/// `DELETE /v1/requests/{id}`
pub(crate) async fn cancel(
    State(server): State<Server>,
    headers: HeaderMap,
    Path(id): Path<String>,
) -> Answer {
    let (id, _) = own(&server, &headers, &id).await?;
    let cancelled = server.handle.cancel(id).await?;
    let status = server.handle.wait(id, Duration::from_secs(5)).await?;
    let status = status.ok_or_else(Problem::not_found)?;
    let now_cancelled =
        matches!(&status.phase, Phase::Ended(end) if end.outcome == Outcome::Cancelled);
    if cancelled || now_cancelled {
        return Ok(Json(RequestView::new(&status, &server.handle)).into_response());
    }
    let detail = "the request has ended, so it cannot be cancelled";
    Err(Problem::new(StatusCode::CONFLICT, "already_ended", detail))
}

/// `GET /v1/requests/{id}/image`
pub(crate) async fn image(
    State(server): State<Server>,
    headers: HeaderMap,
    Path(id): Path<String>,
) -> Answer {
    let (id, status) = own(&server, &headers, &id).await?;
    match server.handle.picture(id).await? {
        Kept::Here(stored) => {
            let png = server.handle.picture_part(stored, 0, usize::MAX).await?;
            let kind = [
                (header::CONTENT_TYPE, "image/png"),
                (header::CACHE_CONTROL, "private, immutable, max-age=3600"),
            ];
            Ok((kind, png).into_response())
        }
        Kept::Gone => {
            let kept = server.handle.config.limits.keep_seconds.seconds();
            let detail = format!("pictures are kept for {kept} s, and this one's time is over");
            Err(Problem::new(StatusCode::GONE, "picture_gone", detail))
        }
        Kept::Never => {
            let detail = match status.phase {
                Phase::Ended(_) => "the request ended without a picture",
                _ => "the picture is not finished",
            };
            Err(Problem::new(StatusCode::CONFLICT, "no_picture", detail))
        }
    }
}

/// `GET /v1/requests/{id}/events`: the request whenever it changes, until it has ended.
pub(crate) async fn events(
    State(server): State<Server>,
    headers: HeaderMap,
    Path(id): Path<String>,
) -> Answer {
    let (id, status) = own(&server, &headers, &id).await?;
    let watch = server.handle.watch(id).await?;
    let first = match watch {
        Some(_) => status,
        // It has ended since: what the journal has is the last word.
        None => server.handle.status(id).await?.ok_or_else(Problem::not_found)?,
    };
    let follow = Follow { server, watch, next: Some(first) };
    Ok(Sse::new(follow.stream()).keep_alive(KeepAlive::default()).into_response())
}

struct Follow {
    server: Server,
    watch: Option<tokio::sync::watch::Receiver<Status>>,
    next: Option<Status>,
}

impl Follow {
    fn stream(self) -> impl Stream<Item = Result<Event, Infallible>> {
        stream::unfold(self, |mut follow| async move {
            let status = if let Some(first) = follow.next.take() {
                first
            } else {
                let watch = follow.watch.as_mut()?;
                watch.changed().await.ok()?;
                watch.borrow_and_update().clone()
            };
            if matches!(status.phase, Phase::Ended(_)) {
                follow.watch = None;
            }
            let view = RequestView::new(&status, &follow.server.handle);
            let event = Event::default().event("request").json_data(view);
            let event = event.unwrap_or_else(|e| Event::default().comment(e.to_string()));
            Some((Ok(event), follow))
        })
    }
}

/// The query of `GET /v1/requests`.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct ListQuery {
    state: Option<StateQuery>,
    server: Option<String>,
    penalty: Option<TardinessPenalty>,
    before: Option<i64>,
    limit: Option<u32>,
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

#[derive(Serialize)]
struct Page {
    requests: Vec<RequestView>,
    /// To be given as `before` for the page after this one.
    next: Option<i64>,
}

/// Reads a query, with the name of what is wrong.
pub(crate) fn list_query(text: &str) -> Result<ListQuery, Problem> {
    let pairs = form_urlencoded::parse(text.as_bytes());
    serde_path_to_error::deserialize(serde_urlencoded::Deserializer::new(pairs))
        .map_err(|error| Problem::field(error.path().to_string(), error.inner().to_string()))
}

/// `GET /v1/requests`
pub(crate) async fn list(
    State(server): State<Server>,
    headers: HeaderMap,
    RawQuery(query): RawQuery,
) -> Answer {
    let visitor = server.door.enter(&headers)?;
    let query = list_query(query.as_deref().unwrap_or(""))?;
    let limit = query.limit.unwrap_or(50);
    if !(1..=500).contains(&limit) {
        return Err(Problem::field("limit", format!("{limit} requests: allowed is 1 to 500")));
    }
    let state = query.state.map(|state| {
        match state {
            StateQuery::Live => "live",
            StateQuery::Waiting => "waiting",
            StateQuery::Running => "running",
            StateQuery::Completed => "completed",
            StateQuery::Failed => "failed",
            StateQuery::Cancelled => "cancelled",
            StateQuery::Expired => "expired",
        }
        .to_string()
    });
    let filter = Filter {
        owner: Some(visitor.owner.to_string()),
        state,
        server: query.server,
        penalty: query.penalty,
        before: query.before,
        limit,
    };
    let journal::Page { entries, next } = server.handle.list(filter).await?;
    let mut requests = Vec::new();
    for entry in entries {
        // The engine knows more of what has not ended.
        let status = match &entry.end {
            Some(_) => Status::from(entry),
            None => server.handle.status(entry.accepted.order.id).await?.unwrap_or(entry.into()),
        };
        let view = RequestView::new(&status, &server.handle);
        // What has moved on since is not what was asked for.
        let moved = match query.state {
            Some(StateQuery::Waiting) => view.state != "waiting",
            Some(StateQuery::Running) => view.state != "running",
            _ => false,
        };
        if !moved {
            requests.push(view);
        }
    }
    Ok(Json(Page { requests, next }).into_response())
}
