//! How a picture looks while it is painted.

use axum::body::Body;
use axum::extract::{Path, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};

use super::Server;
use super::auth::Visitor;
use super::problem::Problem;
use super::requests::own;
use crate::status::Phase;

/// `GET /v1/requests/{id}/preview`
pub(crate) async fn preview(
    State(server): State<Server>,
    visitor: Visitor,
    Path(id): Path<String>,
) -> Result<Response, Problem> {
    let (status, room) = own(&server, &visitor, &id).await?;
    drop(room);
    let runs = matches!(status.phase, Phase::Running { .. });
    let latest = server.handle.preview(status.accepted.order.id).await?.filter(|_| runs);
    // Whoever looks on asks again and again, so that there is none at the moment is no error.
    let Some(preview) = latest else { return Ok(StatusCode::NO_CONTENT.into_response()) };
    let bytes = preview.bytes();
    let room = visitor.budget.claim(bytes.len())?;
    let headers =
        [(header::CONTENT_TYPE, preview.content_type()), (header::CACHE_CONTROL, "no-store")];
    Ok((headers, Body::from(room.carry(bytes.to_vec()))).into_response())
}
