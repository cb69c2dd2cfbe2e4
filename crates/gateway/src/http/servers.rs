//! `/v1/servers`, `/v1/policy` and what operators look at.

use axum::Json;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{Html, IntoResponse, Response};
use scheduling::PolicyName;
use serde::{Deserialize, Serialize};

use super::Server;
use super::body::{JsonBytes, parse};
use super::problem::Problem;
use super::view::ServerJson;
use crate::scheduler::Administration;

type Answer = Result<Response, Problem>;

#[derive(Serialize)]
struct Servers {
    servers: Vec<ServerJson>,
}

/// `GET /v1/servers`
pub(crate) async fn list(State(server): State<Server>, headers: HeaderMap) -> Answer {
    server.door.enter(&headers)?;
    let views = server.handle.servers().await?;
    Ok(Json(Servers { servers: views.into_iter().map(Into::into).collect() }).into_response())
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Change {
    enabled: bool,
}

/// `PATCH /v1/servers/{name}`
pub(crate) async fn administer(
    State(server): State<Server>,
    Path(name): Path<String>,
    headers: HeaderMap,
    JsonBytes(body): JsonBytes,
) -> Answer {
    server.door.enter(&headers)?.operate()?;
    let Change { enabled } = parse(&body)?;
    let state = if enabled { Administration::Enabled } else { Administration::Draining };
    if !server.handle.administer(name.clone(), state).await? {
        let names: Vec<_> =
            server.handle.config.servers.iter().map(|s| s.name.get_ref().as_str()).collect();
        let detail = format!("there is no server {name:?}: there are {}", names.join(", "));
        return Err(Problem::new(StatusCode::NOT_FOUND, "not_found", detail));
    }
    list(State(server), headers).await
}

#[derive(Serialize)]
struct Policies {
    policy: String,
    shadow_policy: Option<String>,
}

/// `GET /v1/policy`: who decides, and who is only asked.
pub(crate) async fn policy(State(server): State<Server>, headers: HeaderMap) -> Answer {
    server.door.enter(&headers)?;
    let (policy, shadow) = server.handle.policies().await?;
    let (policy, shadow_policy) = (policy.to_string(), shadow.map(|name| name.to_string()));
    Ok(Json(Policies { policy, shadow_policy }).into_response())
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct NewPolicy {
    policy: PolicyName,
}

/// `PUT /v1/policy`: another policy, or the same one with its checkpoint read again.
pub(crate) async fn set_policy(
    State(server): State<Server>,
    headers: HeaderMap,
    JsonBytes(body): JsonBytes,
) -> Answer {
    server.door.enter(&headers)?.operate()?;
    let NewPolicy { policy } = parse(&body)?;
    let changed = server.handle.set_policy(policy).await;
    changed.map_err(|error| Problem::field("policy", error.to_string()))?;
    Ok(StatusCode::NO_CONTENT.into_response())
}

/// `GET /healthz`: the process answers.
pub(crate) async fn healthz() -> &'static str {
    "ok\n"
}

/// `GET /readyz`: requests would be taken in.
pub(crate) async fn readyz(State(server): State<Server>) -> Answer {
    server.handle.ready().await?;
    Ok("ready\n".into_response())
}

/// `GET /metrics`
pub(crate) async fn metrics(State(server): State<Server>) -> Answer {
    let kind = [(header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")];
    Ok((kind, server.handle.metrics().await?).into_response())
}

/// `GET /openapi.json`
pub(crate) async fn openapi() -> Response {
    let kind = [(header::CONTENT_TYPE, "application/json")];
    (kind, include_str!("openapi.json")).into_response()
}

/// `GET /`
pub(crate) async fn dashboard() -> Html<&'static str> {
    Html(include_str!("dashboard.html"))
}
