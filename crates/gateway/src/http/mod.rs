//! The HTTP side: routes, and what is done around every one of them.

mod account;
mod answer;
mod auth;
mod automatic1111;
mod awaited;
mod body;
mod brake;
mod budget;
mod callbacks;
pub(crate) mod cells;
mod descriptors;
mod encoding;
mod explanation;
mod face;
#[cfg(any(test, feature = "fuzzing"))]
pub(crate) mod fuzzing;
mod headers;
mod keys;
mod links;
mod list;
mod listening;
mod live;
mod openai;
mod origins;
mod page;
mod peer;
mod places;
mod preview;
mod problem;
mod rate;
mod replay;
mod requests;
mod serve;
mod servers;
mod sse;
#[cfg(test)]
mod tests;
mod trace;
mod value;
mod view;
mod workshop;

use std::ops::Deref;
use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::Router;
use axum::extract::{MatchedPath, Request, State};
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, Uri, header};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Redirect, Response};
use axum::routing::{get, patch, post, put};

use self::account::Account;
use self::auth::{Door, Visitor};
use self::automatic1111::Callers;
use self::face::Face;
use self::links::Links;
use self::places::{Errand, Most, Place};
use self::problem::Problem;
use crate::config::Config;
use crate::handle::Handle;
use crate::metrics;

pub(crate) use callbacks::{Caller, call_back};
pub(crate) use descriptors::fit_descriptors;
pub(crate) use links::Secret;
pub(crate) use replay::serve as serve_replay;
pub(crate) use serve::serve;

/// The name under which the whole cluster is offered as one model.
pub(crate) const CLUSTER: &str = "atelier";

/// What every route can reach.
#[derive(Clone)]
pub(crate) struct Server {
    pub(crate) handle: Handle,
    pub(crate) door: Arc<Door>,
    pub(crate) callers: Callers,
    pub(crate) links: Arc<Links>,
    /// The path below which it stands, if it does.
    pub(crate) prefix: Arc<str>,
}

/// Time of an answer that was spent waiting for a picture.
#[derive(Clone, Copy)]
pub(crate) struct Waited(pub(crate) Duration);

/// What is served by one configuration.
#[derive(Clone)]
pub(crate) struct Site {
    server: Server,
    /// All routes.
    pub(crate) router: Router,
}

impl Site {
    /// With nobody known yet.
    pub(crate) fn new(handle: Handle) -> Self {
        let door = Door::new(&handle.config, None);
        Self::of(handle, door, Callers::default())
    }

    /// By another configuration; what is known of those who ask stays.
    pub(crate) fn succeeded_by(&self, handle: Handle) -> Self {
        let door = Door::new(&handle.config, Some(&self.server.door));
        Self::of(handle, door, self.server.callers.clone())
    }

    /// How many connections there may be.
    fn most(&self) -> Most {
        let config = self.config();
        Most::of(&config.limits, config.keys.len())
    }

    /// To ask the gateway.
    pub(crate) fn handle(&self) -> &Handle {
        &self.server.handle
    }

    /// Whoever has a key of this name, or everybody where there are none.
    pub(crate) fn holder(&self, owner: &str) -> Option<Visitor> {
        self.server.door.holders().find(|visitor| *visitor.owner == *owner).cloned()
    }

    /// Whether whoever sends these headers is let in.
    fn knows(&self, headers: &HeaderMap) -> bool {
        self.server.door.enter(headers).is_ok()
    }

    /// The cell that the key of these headers is at home in, where the configuration says.
    fn home_of(&self, headers: &HeaderMap) -> Option<String> {
        let visitor = self.server.door.enter(headers).ok()?;
        let key = self.config().keys.iter().find(|key| **key.name.get_ref() == *visitor.owner)?;
        key.cell.clone()
    }

    /// The same with other routes.
    pub(crate) fn with_router(self, router: Router) -> Self {
        Self { router, ..self }
    }

    /// What it is served by.
    pub(crate) fn config(&self) -> &Config {
        &self.server.handle.config
    }

    fn of(handle: Handle, door: Door, callers: Callers) -> Self {
        let links = Arc::new(Links::new(handle.secret.clone(), &handle.config));
        let prefix: Arc<str> = handle.config.path_prefix().into();
        let door = Arc::new(door);
        let server = Server { handle, door, callers, links, prefix: prefix.clone() };
        let all = below(&prefix, routes(server.clone()));
        let router =
            Router::new().fallback_service(all).layer(middleware::from_fn(origins::options));
        Self { server, router }
    }
}

/// The same below a prefix as well, for proxies that hand on the whole path.
fn below(prefix: &str, routes: Router) -> Router {
    if prefix.is_empty() {
        return routes;
    }
    let page = format!("{prefix}/");
    // The page's own parts are relative to it.
    let redirected =
        Router::new().route(prefix, get(move || async move { Redirect::permanent(&page) }));
    redirected.nest_service(&format!("{prefix}/"), routes.clone()).fallback_service(routes)
}

fn routes(server: Server) -> Router {
    Router::new()
        .route("/", get(page::index))
        .route("/page/{*name}", get(page::file))
        .route("/healthz", get(servers::healthz))
        .route("/readyz", get(servers::readyz))
        .route("/metrics", get(servers::metrics))
        .route("/openapi.json", get(servers::openapi))
        .route("/v1/requests", post(requests::submit).get(list::list))
        .route("/v1/requests/{id}", get(requests::show).delete(requests::cancel))
        .route("/v1/requests/{id}/decision", get(explanation::explain))
        .route("/v1/requests/{id}/image", get(requests::image))
        .route("/v1/requests/{id}/preview", get(preview::preview))
        .route("/v1/requests/{id}/events", get(requests::events))
        .route("/v1/quotes", post(requests::quote))
        .route("/v1/events", get(live::events))
        .route("/v1/workshop", get(workshop::open))
        .route("/v1/servers", get(servers::list))
        .route("/v1/servers/{name}", patch(servers::administer))
        .route("/v1/configuration/reload", put(servers::reload))
        .route("/v1/keys", get(keys::list))
        .route("/v1/policy", get(servers::policy).put(servers::set_policy))
        .route("/pictures/{name}", get(links::picture))
        .route("/v1/images/generations", post(openai::generate))
        .route("/v1/images/edits", post(openai::unsupported))
        .route("/v1/images/variations", post(openai::unsupported))
        .route("/v1/chat/completions", post(openai::chat))
        .route("/v1/models", get(openai::models))
        .route("/v1/models/{*model}", get(openai::one_model))
        .route("/sdapi/v1/txt2img", post(automatic1111::txt2img))
        .route("/sdapi/v1/progress", get(automatic1111::progress))
        .route("/sdapi/v1/interrupt", post(automatic1111::interrupt))
        .route("/sdapi/v1/options", get(automatic1111::options).post(automatic1111::set_options))
        .route("/sdapi/v1/sd-models", get(automatic1111::models))
        .route("/sdapi/v1/samplers", get(automatic1111::samplers))
        .route("/sdapi/v1/schedulers", get(automatic1111::schedulers))
        .route("/sdapi/v1/upscalers", get(automatic1111::upscalers))
        .route("/sdapi/v1/latent-upscale-modes", get(automatic1111::latent_upscale_modes))
        .route("/sdapi/v1/sd-vae", get(automatic1111::vaes))
        .route("/sdapi/v1/loras", get(automatic1111::loras))
        .route("/sdapi/v1/cmd-flags", get(automatic1111::flags))
        .fallback(unknown_route)
        .method_not_allowed_fallback(unknown_method)
        .layer(middleware::from_fn_with_state(server.clone(), around))
        .with_state(server)
}

async fn unknown_route(uri: Uri) -> Response {
    let detail = "there is no such path: see /openapi.json";
    Face::of(uri.path()).refusal(Problem::new(StatusCode::NOT_FOUND, "not_found", detail))
}

async fn unknown_method(method: Method, uri: Uri) -> Response {
    if method == Method::OPTIONS {
        return StatusCode::NO_CONTENT.into_response();
    }
    let detail = "this path has no such method: see /openapi.json";
    let problem = Problem::new(StatusCode::METHOD_NOT_ALLOWED, "method_not_allowed", detail);
    Face::of(uri.path()).refusal(problem)
}

/// Measures, counts and traces every answer.
async fn around(State(server): State<Server>, mut request: Request, next: Next) -> Response {
    let start = Instant::now();
    let route = match request.extensions().get::<MatchedPath>().map(MatchedPath::as_str) {
        Some(path) => path.strip_prefix(&*server.prefix).unwrap_or(path).to_owned(),
        None => "none".to_owned(),
    };
    let entered = server.door.enter(request.headers());
    let served = match request.extensions().get::<Arc<Place>>() {
        Some(place) => {
            let visitor: Option<&Account> = entered.as_ref().ok().map(Deref::deref);
            place.serve(visitor, errand(&route))
        }
        None => Ok(()),
    };
    request.extensions_mut().insert(entered);
    let method = request.method().clone();
    let face = Face::of(request.uri().path());
    let origin = request.headers().get(header::ORIGIN).cloned();
    let parent = request.headers().get("traceparent").and_then(|value| value.to_str().ok());
    let trace = trace::Trace::following(parent);
    let mut response = match served {
        Ok(()) => next.run(request).await.into_response(),
        Err(problem) => face.refusal(problem),
    };
    let waited = response.extensions().get::<Waited>().map_or(Duration::ZERO, |waited| waited.0);
    let overhead = start.elapsed().saturating_sub(waited);
    let metrics = &server.handle.metrics;
    metrics.observe(metrics::HANDLING, &[("route", &route)], overhead.as_secs_f64());
    if let Some(problem) = response.extensions().get::<Problem>() {
        metrics.add(metrics::REJECTED, &[("reason", problem.reason)], 1.0);
    }
    let response_status = response.status();
    let status = response_status.as_u16();
    let milliseconds = overhead.as_secs_f64() * 1e3;
    tracing::debug!(%method, route, status, milliseconds, trace = %trace.trace_id(), "answered");
    let headers = response.headers_mut();
    if let Ok(value) = HeaderValue::from_str(&format!("{milliseconds:.3}")) {
        headers.insert("x-atelier-overhead-ms", value);
    }
    if let Ok(value) = HeaderValue::from_str(&trace.to_string()) {
        headers.insert("traceparent", value);
    }
    if response_status == StatusCode::UNAUTHORIZED {
        let challenge = HeaderValue::from_static(face.challenge());
        headers.insert(header::WWW_AUTHENTICATE, challenge);
    }
    server.door.origins.permit(origin.as_ref(), headers);
    spread(headers, trace.random());
    protect(headers);
    response
}

/// Sends clients that are told to come back at different times, up to half as late again and a second, so that they
/// do not all come at once.
fn spread(headers: &mut HeaderMap, random: u64) {
    let least =
        headers.get(header::RETRY_AFTER).and_then(|value| value.to_str().ok()?.parse().ok());
    if let Some(least) = least {
        let least: u64 = least;
        headers.insert(header::RETRY_AFTER, (least + random % (least / 2 + 2)).into());
    }
}

/// What a request for this route is for.
fn errand(route: &str) -> Errand {
    match route {
        "/healthz" | "/readyz" | "/metrics" => Errand::Health,
        _ => Errand::Other,
    }
}

/// Browsers take nothing for something else, show nothing inside other pages, run nothing that is
/// not the page's own, and keep nothing but pictures.
fn protect(headers: &mut HeaderMap) {
    for (name, value) in [
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::X_FRAME_OPTIONS, "DENY"),
        (header::REFERRER_POLICY, "no-referrer"),
    ] {
        headers.insert(name, HeaderValue::from_static(value));
    }
    for (name, unless_told) in [
        (header::CONTENT_SECURITY_POLICY, "default-src 'none'; frame-ancestors 'none'; sandbox"),
        (header::CACHE_CONTROL, "no-store"),
    ] {
        headers.entry(name).or_insert(HeaderValue::from_static(unless_told));
    }
}
