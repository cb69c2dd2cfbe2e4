//! `/v1/requests` and `/v1/quotes`.

use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::Json;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use dispatch::{Outcome, RequestId};
use futures_util::{Stream, stream};

use super::account::Role;
use super::answer::{self, Reading};
use super::auth::Visitor;
use super::body::{JsonBody, NewRequest, compose, parse};
use super::budget::Room;
use super::headers::{idempotency_key, prefer_wait};
use super::problem::Problem;
use super::view::{DecisionView, RequestView};
use super::{Server, Waited, sse};
use crate::handle::Unavailable;
use crate::journal::{Accepted, Kept};
use crate::status::{Phase, Refusal, Status};

type Answer = Result<Response, Problem>;

/// `POST /v1/requests`
pub(crate) async fn submit(
    State(server): State<Server>,
    headers: HeaderMap,
    JsonBody { visitor, bytes, room }: JsonBody,
) -> Answer {
    let handle = &server.handle;
    let key = idempotency_key(&headers, &bytes)?;
    let new: NewRequest = parse(&bytes)?;
    drop(bytes);
    let owner = visitor.owner.clone();
    let accepted = compose(new, owner, &handle.config, &handle.timeline, key)?;
    let most = prefer_wait(&headers);
    let stream = most.map(|_| visitor.open_stream()).transpose()?;
    let (status, code) = submit_once(&server, &visitor, accepted).await?;
    let id = status.accepted.order.id;
    let location = [(header::LOCATION, format!("/v1/requests/{id}"))];
    let Some(most) = most else {
        let body = answer::json(&RequestView::new(&status, handle, visitor.role), room);
        return Ok((code, location, body).into_response());
    };
    let start = Instant::now();
    // It is accepted, so that nobody can say how it goes on is no refusal.
    let status = handle.wait(id, most).await.ok().flatten().unwrap_or(status);
    drop(stream);
    let code = if matches!(status.phase, Phase::Ended(_)) { StatusCode::OK } else { code };
    let body = answer::json(&RequestView::new(&status, handle, visitor.role), room);
    let applied = [("preference-applied", "wait")];
    let mut response = (code, location, applied, body).into_response();
    response.extensions_mut().insert(Waited(start.elapsed()));
    Ok(response)
}

/// Submits and counts it, unless the same owner has used the idempotency key before: then the
/// request made with it is answered, if it was made with the same body.
pub(crate) async fn submit_once(
    server: &Server,
    visitor: &Visitor,
    accepted: Accepted,
) -> Result<(Status, StatusCode), Problem> {
    let handle = &server.handle;
    let Some(key) = accepted.key.clone() else {
        visitor.rate.take(1, handle.timeline.now())?;
        let submitted = handle.submit(Arc::new(accepted)).await;
        let status = submitted.inspect_err(|_| visitor.rate.give_back(1))?;
        return Ok((status, StatusCode::ACCEPTED));
    };
    // What is repeated is not counted, so it takes turns as other reads do.
    let by_key = async || {
        let _turn = visitor.first_turn().await?;
        Ok::<_, Problem>(handle.by_key(visitor.owner.clone(), key.key.clone()).await?)
    };
    let mut known = by_key().await?;
    if known.is_none() {
        visitor.rate.take(1, handle.timeline.now())?;
        match handle.submit(Arc::new(accepted)).await {
            Ok(status) => return Ok((status, StatusCode::ACCEPTED)),
            // Made by another call at the same moment.
            Err(Refusal::KeyTaken(by)) => {
                visitor.rate.give_back(1);
                known = match by {
                    Some(by) => Some(by),
                    None => by_key().await?,
                };
            }
            Err(refusal) => {
                visitor.rate.give_back(1);
                return Err(refusal.into());
            }
        }
    }
    let (id, fingerprint) = known.ok_or_else(|| Problem::from(Refusal::KeyTaken(None)))?;
    if fingerprint != key.fingerprint {
        return Err(Problem::new(
            StatusCode::UNPROCESSABLE_ENTITY,
            "idempotency_key_reused",
            "this Idempotency-Key was used with another body",
        ));
    }
    let _turn = visitor.first_turn().await?;
    // It may just have been taken back, as nobody could say that it was accepted.
    let taken_back = || Problem::from(Refusal::KeyTaken(None));
    let status = handle.status(id).await?.ok_or_else(taken_back)?;
    Ok((status, StatusCode::OK))
}

/// `POST /v1/quotes`
pub(crate) async fn quote(
    State(server): State<Server>,
    JsonBody { visitor, bytes, room: _room }: JsonBody,
) -> Answer {
    let handle = &server.handle;
    let owner = visitor.owner.clone();
    let accepted = compose(parse(&bytes)?, owner, &handle.config, &handle.timeline, None)?;
    visitor.rate.take(1, handle.timeline.now())?;
    let quoted = handle.quote(accepted.order.clone()).await;
    let (quote, policy) = quoted.inspect_err(|_| visitor.rate.give_back(1))?;
    let status = Status::new(Arc::new(accepted));
    Ok(Json(DecisionView::quoted(&quote, policy, &status, handle)).into_response())
}

/// The request of this name, if it is the visitor's, with room for it in an answer.
pub(crate) async fn own(
    server: &Server,
    visitor: &Visitor,
    id: &str,
) -> Result<(Status, Room), Problem> {
    seen(server, id, visitor, |status| status.accepted.order.owner == visitor.owner).await
}

/// The same for operators, who may see it of everybody where neither prompts nor pictures are shown.
pub(crate) async fn own_or_operated(
    server: &Server,
    visitor: &Visitor,
    id: &str,
) -> Result<(Status, Room), Problem> {
    let operated = visitor.role == Role::Operator;
    let own = |status: &Status| status.accepted.order.owner == visitor.owner;
    seen(server, id, visitor, |status| operated || own(status)).await
}

/// The request of this name, if it may be seen, with room for it in an answer.
async fn seen(
    server: &Server,
    id: &str,
    visitor: &Visitor,
    may_be: impl FnOnce(&Status) -> bool,
) -> Result<(Status, Room), Problem> {
    let id = RequestId(uuid::Uuid::parse_str(id).map_err(|_| Problem::not_found())?);
    let room = visitor.budget.claim(answer::most_bytes_of_a_request(&server.handle.config))?;
    let _turn = visitor.first_turn().await?;
    let status = server.handle.status(id).await?;
    let seen = status.filter(may_be);
    seen.map(|status| (status, room)).ok_or_else(Problem::not_found)
}

/// `GET /v1/requests/{id}`
pub(crate) async fn show(
    State(server): State<Server>,
    visitor: Visitor,
    headers: HeaderMap,
    Path(id): Path<String>,
) -> Answer {
    let (mut status, room) = own(&server, &visitor, &id).await?;
    let start = Instant::now();
    if let Some(most) = prefer_wait(&headers) {
        let _stream = visitor.open_stream()?;
        let id = status.accepted.order.id;
        status = server.handle.wait(id, most).await?.ok_or_else(Problem::not_found)?;
    }
    let view = RequestView::new(&status, &server.handle, visitor.role);
    let mut response = answer::json(&view, room);
    response.extensions_mut().insert(Waited(start.elapsed()));
    Ok(response)
}

/// `DELETE /v1/requests/{id}`
pub(crate) async fn cancel(
    State(server): State<Server>,
    visitor: Visitor,
    Path(id): Path<String>,
) -> Answer {
    let (status, room) = own(&server, &visitor, &id).await?;
    let id = status.accepted.order.id;
    let cancelled = server.handle.cancel(id).await?;
    let status = server.handle.wait(id, Duration::from_secs(5)).await?;
    let status = status.ok_or_else(Problem::not_found)?;
    let now_cancelled =
        matches!(&status.phase, Phase::Ended(end) if end.outcome == Outcome::Cancelled);
    if cancelled || now_cancelled {
        let view = RequestView::new(&status, &server.handle, visitor.role);
        return Ok(answer::json(&view, room));
    }
    let detail = "the request has ended, so it cannot be cancelled";
    Err(Problem::new(StatusCode::CONFLICT, "already_ended", detail))
}

/// `GET /v1/requests/{id}/image`
pub(crate) async fn image(
    State(server): State<Server>,
    visitor: Visitor,
    Path(id): Path<String>,
) -> Answer {
    let (status, room) = own(&server, &visitor, &id).await?;
    drop(room);
    match server.handle.picture(status.accepted.order.id).await? {
        Kept::Here(stored) => {
            let headers = [
                (header::CONTENT_TYPE, "image/png"),
                (header::CACHE_CONTROL, "private, immutable, max-age=3600"),
            ];
            let reading = Reading::new(server.handle, visitor, stored);
            Ok((headers, reading.answer()).into_response())
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
    visitor: Visitor,
    Path(id): Path<String>,
) -> Answer {
    let (status, room) = own(&server, &visitor, &id).await?;
    let open = visitor.open_stream()?;
    let id = status.accepted.order.id;
    let watch = server.handle.watch(id).await?;
    let first = match watch {
        Some(_) => status,
        // It has ended since: what the journal has is the last word.
        None => server.handle.status(id).await?.ok_or_else(Problem::not_found)?,
    };
    let follow = Follow { server, visitor, watch, next: Some((first, room)), _open: open };
    Ok(sse::answer(follow.stream()))
}

struct Follow {
    server: Server,
    visitor: Visitor,
    watch: Option<tokio::sync::watch::Receiver<Status>>,
    next: Option<(Status, Room)>,
    _open: super::account::Stream,
}

impl Follow {
    fn stream(self) -> impl Stream<Item = Result<Bytes, Unavailable>> {
        stream::unfold(self, |mut follow| async move {
            let handle = &follow.server.handle;
            let (status, room) = if let Some(first) = follow.next.take() {
                first
            } else {
                let watch = follow.watch.as_mut()?;
                watch.changed().await.ok()?;
                let most = answer::most_bytes_of_a_request(&handle.config);
                let room = follow.visitor.budget.wait(most).await;
                (watch.borrow_and_update().clone(), room)
            };
            let event = told(&status, handle, follow.visitor.role, room);
            if matches!(status.phase, Phase::Ended(_)) {
                follow.watch = None;
            }
            Some((Ok(event), follow))
        })
    }
}

/// One event.
pub(super) fn told(
    status: &Status,
    handle: &crate::handle::Handle,
    role: Role,
    room: Room,
) -> Bytes {
    let view = serde_json::to_string(&RequestView::new(status, handle, role));
    room.carry(sse::event("request", &view.expect("views are plain data")))
}
