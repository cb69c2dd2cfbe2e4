//! What browsers ask on behalf of pages of other hosts (CORS), and what a path can be asked for.

use axum::extract::Request;
use axum::http::{HeaderMap, HeaderValue, Method, header};
use axum::middleware::Next;
use axum::response::Response;

use crate::config::Config;

/// The origins whose pages may ask.
pub(crate) struct Origins(Vec<String>);

/// Headers that pages may send.
const SENT: &str = "authorization, content-type, idempotency-key, prefer, traceparent, \
                    x-atelier-due-in-seconds, x-atelier-penalty";
/// Headers that pages may read beside those that all may.
const READ: &str = "location, retry-after, preference-applied, traceparent, x-atelier-overhead-ms";
/// Seconds for which browsers may remember what they were told.
const REMEMBERED: &str = "600";

impl Origins {
    pub(crate) fn new(config: &Config) -> Self {
        Self(config.allowed_origins.iter().map(|origin| origin.get_ref().to_lowercase()).collect())
    }

    /// Whether pages of this origin may ask.
    pub(crate) fn allow(&self, origin: &str) -> bool {
        self.0.iter().any(|allowed| allowed == "*" || allowed.eq_ignore_ascii_case(origin))
    }

    /// Tells a browser that the page may read the answer, if it may.
    pub(crate) fn permit(&self, asked: Option<&HeaderValue>, answer: &mut HeaderMap) {
        if self.0.is_empty() {
            return;
        }
        answer.append(header::VARY, HeaderValue::from_static("origin"));
        let Some(origin) = asked.filter(|origin| origin.to_str().is_ok_and(|o| self.allow(o)))
        else {
            return;
        };
        answer.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, origin.clone());
        let read = HeaderValue::from_static(READ);
        answer.insert(header::ACCESS_CONTROL_EXPOSE_HEADERS, read);
    }
}

/// Says to OPTIONS what else a path can be asked for, which the router alone knows.
pub(crate) async fn options(request: Request, next: Next) -> Response {
    let asked = request.method() == Method::OPTIONS;
    let mut response = next.run(request).await;
    let methods = response.headers().get(header::ALLOW).and_then(|methods| methods.to_str().ok());
    let methods = methods.map(|methods| HeaderValue::from_str(&format!("{methods},OPTIONS")));
    if let (true, Some(Ok(methods))) = (asked, methods) {
        let headers = response.headers_mut();
        headers.insert(header::ALLOW, methods.clone());
        headers.insert(header::ACCESS_CONTROL_ALLOW_METHODS, methods);
        for (name, value) in [
            (header::ACCESS_CONTROL_ALLOW_HEADERS, SENT),
            (header::ACCESS_CONTROL_MAX_AGE, REMEMBERED),
        ] {
            headers.insert(name, HeaderValue::from_static(value));
        }
    }
    response
}
