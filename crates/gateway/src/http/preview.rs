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
    let none = |detail: &str| Problem::new(StatusCode::CONFLICT, "no_preview", detail);
    if !matches!(status.phase, Phase::Running { .. }) {
        return Err(none("the request does not run"));
    }
    let latest = server.handle.previews.latest(status.accepted.order.id);
    let preview = latest.ok_or_else(|| none("its server has sent no preview"))?;
    let bytes = preview.bytes();
    let room = visitor.budget.claim(bytes.len())?;
    let headers =
        [(header::CONTENT_TYPE, preview.content_type()), (header::CACHE_CONTROL, "no-store")];
    Ok((headers, Body::from(room.carry(bytes.to_vec()))).into_response())
}
