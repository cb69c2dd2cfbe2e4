//! `/v1/servers`, `/v1/policy` and what operators look at.

use axum::Json;
use axum::extract::{FromRequest, FromRequestParts as _, Path, Request, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use dispatch::Administration;
use scheduling::PolicyName;
use scheduling::message::excerpt;
use serde::{Deserialize, Serialize};

use super::Server;
use super::account::Role;
use super::auth::Visitor;
use super::body::{JsonBody, parse};
use super::problem::Problem;
use super::view::ServerJson;
use crate::engine::InForce;
use crate::reload::ReloadError;
use crate::status::ServerView;

type Answer = Result<Response, Problem>;

/// All servers, as somebody may see them.
#[derive(Serialize)]
pub(super) struct Servers {
    servers: Vec<ServerJson>,
}

impl Servers {
    pub(super) fn new(views: Vec<ServerView>, role: Role) -> Self {
        Self { servers: views.into_iter().map(|view| ServerJson::new(view, role)).collect() }
    }
}

/// `GET /v1/servers`
pub(crate) async fn list(State(server): State<Server>, visitor: Visitor) -> Answer {
    let views = server.handle.servers().await?;
    Ok(Json(Servers::new(views, visitor.role)).into_response())
}

/// The body of somebody who may operate; nothing is read of others.
pub(crate) struct Operating(JsonBody);

impl FromRequest<Server> for Operating {
    type Rejection = Problem;

    async fn from_request(request: Request, server: &Server) -> Result<Self, Problem> {
        let (mut parts, body) = request.into_parts();
        Visitor::from_request_parts(&mut parts, server).await?.operate()?;
        JsonBody::from_request(Request::from_parts(parts, body), server).await.map(Self)
    }
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
    Operating(JsonBody { visitor, bytes, .. }): Operating,
) -> Answer {
    let Change { enabled } = parse(&bytes)?;
    let state = if enabled { Administration::Enabled } else { Administration::Draining };
    if !server.handle.administer(name.clone(), state).await? {
        let names: Vec<_> =
            server.handle.config.servers.iter().map(|s| s.name.get_ref().as_str()).collect();
        let name = excerpt(&name);
        let detail = format!("there is no server {name:?}: there are {}", names.join(", "));
        return Err(Problem::new(StatusCode::NOT_FOUND, "not_found", detail));
    }
    list(State(server), visitor).await
}

#[derive(Serialize)]
struct Policies {
    policy: String,
    shadow_policy: Option<String>,
}

/// `GET /v1/policy`: who decides, and who is only asked.
pub(crate) async fn policy(State(server): State<Server>, _: Visitor) -> Answer {
    let InForce { policy, shadow_policy, .. } = server.handle.in_force().await?;
    let shadow_policy = shadow_policy.map(|name| name.to_string());
    Ok(Json(Policies { policy: policy.to_string(), shadow_policy }).into_response())
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct NewPolicy {
    policy: PolicyName,
}

/// `PUT /v1/policy`: another policy, or the same one with its checkpoint read again.
pub(crate) async fn set_policy(State(server): State<Server>, Operating(body): Operating) -> Answer {
    let NewPolicy { policy } = parse(&body.bytes)?;
    let changed = server.handle.set_policy(policy).await;
    changed.map_err(|error| Problem::field("policy", error.to_string()))?;
    Ok(StatusCode::NO_CONTENT.into_response())
}

/// `PUT /v1/configuration/reload`: the configuration is read again, all of it or nothing.
pub(crate) async fn reload(State(server): State<Server>, visitor: Visitor) -> Answer {
    visitor.operate()?;
    let changes = server.handle.reloads.reload().await.map_err(|error| match error {
        ReloadError::NoSource => Problem::new(StatusCode::CONFLICT, "no_file", error.to_string()),
        ReloadError::Config(error) => Problem::new(
            StatusCode::UNPROCESSABLE_ENTITY,
            "invalid_configuration",
            format!("{error}; the configuration before still holds"),
        ),
        ReloadError::Unavailable(error) => error.into(),
    })?;
    Ok(Json(changes).into_response())
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
    let kind = [(header::CONTENT_TYPE, crate::metrics::CONTENT_TYPE)];
    Ok((kind, server.handle.metrics().await?).into_response())
}

/// `GET /openapi.json`
pub(crate) async fn openapi() -> Response {
    let kind = [(header::CONTENT_TYPE, "application/json")];
    (kind, include_str!("openapi.json")).into_response()
}
