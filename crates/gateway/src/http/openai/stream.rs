//! `stream: true`: one event for every finished picture.

use std::convert::Infallible;

use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{IntoResponse, Response};
use futures_util::{Stream, stream};
use serde_json::{Value, json};

use super::{CancelOnDrop, envelope, finished, picture};
use crate::http::problem::Problem;

/// The pictures of these requests as server-sent events, each when it is finished. Partial pictures
/// are never sent, which the protocol allows. Requests that nobody waits for any more are cancelled.
pub(super) fn answer(requests: CancelOnDrop) -> Response {
    Sse::new(events(requests)).keep_alive(KeepAlive::default()).into_response()
}

fn events(requests: CancelOnDrop) -> impl Stream<Item = Result<Event, Infallible>> {
    stream::unfold(requests, |mut requests| async move {
        if requests.ids.is_empty() {
            return None;
        }
        let event = match next(&mut requests).await {
            Ok(completed) => Event::default().event(COMPLETED).data(completed.to_string()),
            Err(problem) => {
                requests.cancel();
                Event::default().event("error").data(envelope(&problem).to_string())
            }
        };
        Some((Ok(event), requests))
    })
}

const COMPLETED: &str = "image_generation.completed";

/// What is told of the next picture.
async fn next(requests: &mut CancelOnDrop) -> Result<Value, Problem> {
    let handle = requests.handle.clone();
    let status = finished(&handle, requests.ids[0]).await?;
    let picture = picture(&handle, requests.ids.remove(0)).await?;
    let spec = &status.accepted.spec;
    // Clients read all of these fields; tokens are counted by nobody here.
    Ok(json!({
        "type": COMPLETED,
        "b64_json": picture,
        "created_at": handle.date(handle.timeline.now()).as_second(),
        "size": format!("{}x{}", spec.width, spec.height),
        "quality": "auto",
        "background": "opaque",
        "output_format": "png",
        "usage": {
            "total_tokens": 0,
            "input_tokens": 0,
            "output_tokens": 0,
            "input_tokens_details": { "text_tokens": 0, "image_tokens": 0 },
        },
    }))
}
