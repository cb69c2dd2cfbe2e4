//! The HTTP side: routes, and what is done around every one of them.

mod auth;
mod body;
#[cfg(any(test, feature = "fuzzing"))]
pub(crate) mod fuzzing;
mod openai;
mod problem;
mod requests;
mod serve;
mod servers;
#[cfg(test)]
mod tests;
mod trace;
mod view;

use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::Router;
use axum::extract::{MatchedPath, Request, State};
use axum::http::{HeaderValue, StatusCode, Uri, header};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, patch, post};

use self::auth::Door;
use self::problem::Problem;
use crate::handle::Handle;
use crate::metrics;

pub use serve::{Connections, serve};

/// What every route can reach.
#[derive(Clone)]
pub(crate) struct Server {
    pub(crate) handle: Handle,
    pub(crate) door: Arc<Door>,
}

/// Time of an answer that was spent waiting for a picture.
#[derive(Clone, Copy)]
pub(crate) struct Waited(pub(crate) Duration);

/// All routes.
pub fn router(handle: Handle) -> Router {
    let door = Arc::new(Door::new(&handle.config));
    let server = Server { handle, door };
    Router::new()
        .route("/", get(servers::dashboard))
        .route("/healthz", get(servers::healthz))
        .route("/readyz", get(servers::readyz))
        .route("/metrics", get(servers::metrics))
        .route("/openapi.json", get(servers::openapi))
        .route("/v1/requests", post(requests::submit).get(requests::list))
        .route("/v1/requests/{id}", get(requests::show).delete(requests::cancel))
        .route("/v1/requests/{id}/image", get(requests::image))
        .route("/v1/requests/{id}/events", get(requests::events))
        .route("/v1/quotes", post(requests::quote))
        .route("/v1/servers", get(servers::list))
        .route("/v1/servers/{name}", patch(servers::administer))
        .route("/v1/policy", get(servers::policy).put(servers::set_policy))
        .route("/v1/images/generations", post(openai::generate))
        .route("/v1/models", get(openai::models))
        .route("/v1/models/{model}", get(openai::model))
        .fallback(unknown_route)
        .method_not_allowed_fallback(unknown_method)
        .layer(middleware::from_fn_with_state(server.clone(), around))
        .with_state(server)
}

async fn unknown_route(uri: Uri) -> Response {
    let detail = "there is no such path: see /openapi.json";
    refuse(&uri, Problem::new(StatusCode::NOT_FOUND, "not_found", detail))
}

async fn unknown_method(uri: Uri) -> Response {
    let detail = "this path has no such method: see /openapi.json";
    refuse(&uri, Problem::new(StatusCode::METHOD_NOT_ALLOWED, "method_not_allowed", detail))
}

/// A refusal in the form that clients of this path expect.
fn refuse(uri: &Uri, problem: Problem) -> Response {
    let native = !["/v1/images/", "/v1/models"].iter().any(|part| uri.path().starts_with(part));
    if native { problem.into_response() } else { openai::Error::from(problem).into_response() }
}

/// Measures, counts and traces every answer.
async fn around(State(server): State<Server>, request: Request, next: Next) -> Response {
    let start = Instant::now();
    let path = request.extensions().get::<MatchedPath>().map(|p| p.as_str().to_string());
    let route = path.unwrap_or_else(|| "none".into());
    let method = request.method().clone();
    let parent = request.headers().get("traceparent").and_then(|value| value.to_str().ok());
    let trace = trace::Trace::following(parent);
    let mut response = next.run(request).await.into_response();
    let waited = response.extensions().get::<Waited>().map_or(Duration::ZERO, |waited| waited.0);
    let overhead = start.elapsed().saturating_sub(waited);
    let metrics = &server.handle.metrics;
    metrics.observe(metrics::HANDLING, &[("route", &route)], overhead.as_secs_f64());
    if let Some(problem) = response.extensions().get::<Problem>() {
        metrics.add(metrics::REJECTED, &[("reason", problem.reason)], 1.0);
    }
    let status = response.status().as_u16();
    let milliseconds = overhead.as_secs_f64() * 1e3;
    tracing::debug!(%method, route, status, milliseconds, trace = %trace.trace_id(), "answered");
    let headers = response.headers_mut();
    if let Ok(value) = HeaderValue::from_str(&format!("{milliseconds:.3}")) {
        headers.insert("x-atelier-overhead-ms", value);
    }
    if let Ok(value) = HeaderValue::from_str(&trace.to_string()) {
        headers.insert("traceparent", value);
    }
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    response
}
