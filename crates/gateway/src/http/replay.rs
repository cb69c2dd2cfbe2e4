//! The page of a replay: for a browser on this machine, over data that were made once.

use std::io;
use std::time::Duration;

use axum::Router;
use axum::extract::{Request, State};
use axum::http::{HeaderValue, Method, StatusCode, header};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use bytes::Bytes;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use super::auth::is_loopback;
use super::problem::Problem;
use super::{page, protect};

/// Time for answers that are under way at the end.
const GRACE: Duration = Duration::from_secs(1);

/// Serves the page, with these schedules, until `shutdown` resolves.
pub(crate) async fn serve(
    schedules: Bytes,
    listener: TcpListener,
    shutdown: impl Future<Output = ()>,
) -> io::Result<()> {
    let ending = CancellationToken::new();
    let served = axum::serve(listener, routes(schedules))
        .with_graceful_shutdown(ending.clone().cancelled_owned());
    let mut served = Box::pin(served.into_future());
    tokio::select! {
        ended = &mut served => return ended,
        () = shutdown => ending.cancel(),
    }
    // Whoever has not taken his answer by then is cut off with the runtime.
    tokio::time::timeout(GRACE, served).await.unwrap_or(Ok(()))
}

pub(super) fn routes(schedules: Bytes) -> Router {
    Router::new()
        .route("/", get(page::replay))
        .route("/page/{*name}", get(page::file))
        .route("/schedule.json", get(schedule))
        .fallback(nothing)
        .layer(middleware::from_fn(around))
        .with_state(schedules)
}

async fn schedule(State(schedules): State<Bytes>) -> Response {
    ([(header::CONTENT_TYPE, "application/json")], schedules).into_response()
}

async fn nothing() -> Problem {
    let detail = "there is no such path: allowed are /, /page/ and /schedule.json";
    Problem::new(StatusCode::NOT_FOUND, "not_found", detail)
}

/// Nobody else's page may read here by a name of its own, and nothing is changed here.
async fn around(request: Request, next: Next) -> Response {
    let host = request.headers().get(header::HOST).and_then(|host| host.to_str().ok());
    let mut response = if !is_loopback(host.unwrap_or_default()) {
        let detail = "the Host must be localhost, 127.0.0.1 or [::1]";
        Problem::new(StatusCode::FORBIDDEN, "foreign_host", detail).into_response()
    } else if !matches!(*request.method(), Method::GET | Method::HEAD) {
        let detail = "nothing can be changed here: allowed are GET and HEAD";
        let problem = Problem::new(StatusCode::METHOD_NOT_ALLOWED, "method_not_allowed", detail);
        let mut response = problem.into_response();
        response.headers_mut().insert(header::ALLOW, HeaderValue::from_static("GET,HEAD"));
        response
    } else {
        next.run(request).await
    };
    protect(response.headers_mut());
    response
}

#[cfg(test)]
mod tests {
    use axum::body::{Body, to_bytes};
    use tower::ServiceExt as _;

    use super::*;

    /// Status, content type and body of an answer, whose headers are strict.
    async fn ask(method: &str, path: &str, host: Option<&str>) -> (u16, String, String) {
        let mut request = Request::builder().method(method).uri(path);
        if let Some(host) = host {
            request = request.header("host", host);
        }
        let request = request.body(Body::empty()).unwrap();
        let response = routes(Bytes::from_static(b"{}")).oneshot(request).await.unwrap();
        let header = |name: &str| {
            let value = response.headers().get(name);
            value.and_then(|value| value.to_str().ok()).unwrap_or_default().to_owned()
        };
        assert_eq!(header("x-content-type-options"), "nosniff", "{method} {path}");
        assert_eq!(header("x-frame-options"), "DENY", "{method} {path}");
        assert!(header("content-security-policy").starts_with("default-src 'none'"));
        let (status, kind) = (response.status().as_u16(), header("content-type"));
        let body = to_bytes(response.into_body(), usize::MAX).await.unwrap();
        (status, kind, String::from_utf8(body.to_vec()).unwrap())
    }

    #[tokio::test]
    async fn the_page_its_parts_and_the_schedules_are_served_and_nothing_else() {
        for (method, path, status, kind) in [
            ("GET", "/", 200, "text/html; charset=utf-8"),
            ("HEAD", "/", 200, "text/html; charset=utf-8"),
            ("GET", "/page/main.js", 200, "text/javascript; charset=utf-8"),
            ("GET", "/schedule.json", 200, "application/json"),
            ("HEAD", "/schedule.json", 200, "application/json"),
            ("GET", "/page/../Cargo.toml", 404, "application/problem+json"),
            ("GET", "/page/index.html", 404, "application/problem+json"),
            ("GET", "/v1/requests", 404, "application/problem+json"),
            ("POST", "/schedule.json", 405, "application/problem+json"),
            ("OPTIONS", "/", 405, "application/problem+json"),
            ("DELETE", "/nothing", 405, "application/problem+json"),
        ] {
            let (answered, is, body) = ask(method, path, Some("localhost:8421")).await;
            assert_eq!((answered, &*is), (status, kind), "{method} {path}");
            assert_eq!(body.is_empty(), method == "HEAD", "{method} {path}");
        }
        assert_eq!(ask("GET", "/schedule.json", Some("[::1]:1")).await.2, "{}");
    }

    #[tokio::test]
    async fn only_the_loopback_names_are_answered() {
        for host in [None, Some(""), Some("evil.example"), Some("localhost.evil.example:8421")] {
            for path in ["/", "/page/main.js", "/schedule.json", "/nothing"] {
                assert_eq!(ask("GET", path, host).await.0, 403, "{host:?} {path}");
            }
        }
    }
}
