//! Server-sent events, made as the client takes them.

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::body::Body;
use axum::http::header;
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use futures_util::Stream;
use tokio::time::{Instant, Sleep};

/// Time without an event after which a comment shows that the connection lives.
const QUIET: Duration = Duration::from_secs(15);

/// Answers with events, given as the bytes of which they consist. They reach the client at once
/// where proxies heed the headers.
pub(super) fn answer<E: Into<axum::BoxError> + 'static>(
    events: impl Stream<Item = Result<Bytes, E>> + Send + 'static,
) -> Response {
    let headers = [
        (header::CONTENT_TYPE, "text/event-stream"),
        (header::CACHE_CONTROL, "no-store"),
        (header::HeaderName::from_static("x-accel-buffering"), "no"),
    ];
    let quiet = Box::pin(tokio::time::sleep(QUIET));
    let body = Body::from_stream(KeepAlive { events: Box::pin(events), quiet, between: true });
    (headers, body).into_response()
}

/// One event. `data` must have no line breaks, as JSON has none.
pub(super) fn event(name: &str, data: &str) -> Vec<u8> {
    format!("event: {name}\ndata: {data}\n\n").into_bytes()
}

/// Puts comments between events that are long in coming.
struct KeepAlive<S> {
    events: Pin<Box<S>>,
    quiet: Pin<Box<Sleep>>,
    /// Whether the last event is whole.
    between: bool,
}

impl<S: Stream<Item = Result<Bytes, E>>, E> Stream for KeepAlive<S> {
    type Item = Result<Bytes, E>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let next = self.events.as_mut().poll_next(cx);
        let comment = match &next {
            Poll::Ready(Some(Ok(bytes))) => {
                self.between = bytes.ends_with(b"\n\n");
                None
            }
            Poll::Pending if self.between && self.quiet.as_mut().poll(cx).is_ready() => {
                Some(Poll::Ready(Some(Ok(Bytes::from_static(b":\n\n")))))
            }
            _ => None,
        };
        if comment.is_some() || next.is_ready() {
            self.quiet.as_mut().reset(Instant::now() + QUIET);
        }
        comment.unwrap_or(next)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures_util::{StreamExt as _, stream};
    use std::convert::Infallible;

    #[tokio::test(start_paused = true)]
    async fn comments_stand_between_events_and_never_within() {
        let parts = [(40, "event: x\ndata: {"), (40, "}\n\n"), (1, "event: y\ndata: {}\n\n")];
        let events = stream::iter(parts).then(|(seconds, part)| async move {
            tokio::time::sleep(Duration::from_secs(seconds)).await;
            Ok::<_, Infallible>(Bytes::from_static(part.as_bytes()))
        });
        let response = answer(events);
        assert_eq!(response.headers()["x-accel-buffering"], "no");
        assert_eq!(response.headers()["cache-control"], "no-store");
        let text = axum::body::to_bytes(response.into_body(), 1000).await.unwrap();
        let expected = ":\n\n:\n\nevent: x\ndata: {}\n\nevent: y\ndata: {}\n\n";
        assert_eq!(std::str::from_utf8(&text).unwrap(), expected);
    }
}
