//! `stream: true`: one event for every finished picture.

use axum::response::Response;
use bytes::Bytes;
use futures_util::stream::BoxStream;
use futures_util::{Stream, StreamExt as _, stream};
use serde_json::json;

use super::envelope;
use crate::http::answer::Part;
use crate::http::awaited::Requests;
use crate::http::encoding::Encoding;
use crate::http::problem::Problem;
use crate::http::sse;

/// The pictures of these requests as server-sent events, each when it is finished. Partial pictures
/// are never sent, which the protocol allows. Requests that nobody waits for any more are cancelled.
pub(super) fn answer(requests: Requests, encoding: Encoding) -> Response {
    sse::answer(events(requests, encoding).flatten())
}

/// Events, each in parts.
fn events(requests: Requests, encoding: Encoding) -> impl Stream<Item = BoxStream<'static, Part>> {
    stream::unfold(requests, move |mut requests| async move {
        if requests.ids.is_empty() {
            return None;
        }
        let event = match next(&mut requests, encoding).await {
            Ok(completed) => completed,
            Err(problem) => {
                requests.cancel();
                literal(sse::event("error", &envelope(&problem).to_string()))
            }
        };
        Some((event, requests))
    })
}

const COMPLETED: &str = "image_generation.completed";

fn literal(bytes: Vec<u8>) -> BoxStream<'static, Part> {
    stream::iter([Ok(Bytes::from(bytes))]).boxed()
}

/// What is told of the next picture.
async fn next(
    requests: &mut Requests,
    encoding: Encoding,
) -> Result<BoxStream<'static, Part>, Problem> {
    let status = requests.finished(requests.ids[0]).await?;
    let ended = requests.ids.remove(0);
    let picture = requests.picture(ended).await?.encoded_as(encoding, &status.accepted.spec);
    let (spec, handle) = (&status.accepted.spec, &requests.handle);
    // Clients read all of these fields; tokens are counted by nobody here.
    let fields = json!({
        "type": COMPLETED,
        "created_at": handle.date(handle.timeline.now()).as_second(),
        "size": format!("{}x{}", spec.width, spec.height),
        "quality": "auto",
        "background": "opaque",
        "output_format": encoding.format.name(),
        "usage": {
            "total_tokens": 0,
            "input_tokens": 0,
            "output_tokens": 0,
            "input_tokens_details": { "text_tokens": 0, "image_tokens": 0 },
        },
    });
    let fields = fields.to_string();
    let open = fields.strip_suffix('}').unwrap_or(&fields);
    let before = format!("event: {COMPLETED}\ndata: {open},\"b64_json\":\"");
    let behind = literal(b"\"}\n\n".to_vec());
    Ok(literal(before.into_bytes()).chain(picture.base64()).chain(behind).boxed())
}
