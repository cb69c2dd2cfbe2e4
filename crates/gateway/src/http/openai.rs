//! The drop-in face: what clients of OpenAI's Images API expect.

use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::Json;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use scheduling::TardinessPenalty;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::body::{JsonBytes, NewRequest, compose, parse};
use super::problem::Problem;
use super::{Server, Waited};
use crate::handle::Handle;
use crate::journal::Kept;
use crate::scheduler::{Outcome, RequestId};
use crate::status::{Phase, Status};

/// The name under which the whole cluster is offered as one model.
const MODEL: &str = "atelier";

/// A problem in OpenAI's envelope.
pub(crate) struct Error(Problem);

impl From<Problem> for Error {
    fn from(problem: Problem) -> Self {
        Self(problem)
    }
}

impl IntoResponse for Error {
    fn into_response(self) -> Response {
        let problem = self.0;
        // Clients of this API know no 422.
        let status = match problem.status {
            StatusCode::UNPROCESSABLE_ENTITY => StatusCode::BAD_REQUEST,
            status => status,
        };
        let kind = match status.as_u16() {
            401 | 403 => "authentication_error",
            429 => "rate_limit_error",
            400..=499 => "invalid_request_error",
            _ => "server_error",
        };
        let body = json!({ "error": {
            "message": problem.detail,
            "type": kind,
            "param": problem.field,
            "code": problem.reason,
        }});
        let mut response = (status, Json(body)).into_response();
        if let Some(seconds) = problem.retry_after {
            response.headers_mut().insert(header::RETRY_AFTER, seconds.into());
        }
        response.extensions_mut().insert(problem);
        response
    }
}

/// The body. Fields that change nothing here are taken and passed over.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Generation {
    prompt: String,
    n: Option<u32>,
    size: Option<String>,
    response_format: Option<ResponseFormat>,
    #[serde(rename = "output_format")]
    _output_format: Option<OutputFormat>,
    stream: Option<bool>,
    // Of other servers of this kind.
    negative_prompt: Option<String>,
    seed: Option<u32>,
    num_inference_steps: Option<scheduling::Steps>,
    // Our own.
    due_in_seconds: Option<f64>,
    penalty: Option<TardinessPenalty>,
    #[serde(rename = "model")]
    _model: Option<Value>,
    #[serde(rename = "quality")]
    _quality: Option<Value>,
    #[serde(rename = "style")]
    _style: Option<Value>,
    #[serde(rename = "user")]
    _user: Option<Value>,
    #[serde(rename = "background")]
    _background: Option<Value>,
    #[serde(rename = "moderation")]
    _moderation: Option<Value>,
    #[serde(rename = "output_compression")]
    _output_compression: Option<Value>,
    #[serde(rename = "partial_images")]
    _partial_images: Option<Value>,
    #[serde(rename = "guidance_scale")]
    _guidance_scale: Option<Value>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
enum ResponseFormat {
    B64Json,
    Url,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
enum OutputFormat {
    Png,
}

/// `POST /v1/images/generations`: waits for the pictures, and cancels them if the client leaves.
pub(crate) async fn generate(
    State(server): State<Server>,
    headers: HeaderMap,
    body: Result<JsonBytes, Problem>,
) -> Result<Response, Error> {
    let visitor = server.door.enter(&headers)?;
    let handle = &server.handle;
    let generation: Generation = parse(&body?.0)?;
    let count = generation.n.unwrap_or(1);
    if !(1..=10).contains(&count) {
        return Err(Problem::field("n", format!("{count} pictures: allowed is 1 to 10")).into());
    }
    if generation.stream == Some(true) {
        let detail = "pictures are not streamed here: leave stream out or set it to false";
        return Err(Problem::field("stream", detail).into());
    }
    let new = to_native(&generation, &headers)?;
    let mut leaving = CancelOnDrop { handle: handle.clone(), ids: Vec::new() };
    for index in 0..count {
        server.door.count(&visitor, &handle.timeline)?;
        let seed = new.seed.map(|seed| seed.wrapping_add(index));
        let one = NewRequest { seed, ..new.clone() };
        let accepted = compose(one, visitor.owner.clone(), &handle.config, &handle.timeline, None)?;
        let id = accepted.order.id;
        handle.submit(Arc::new(accepted)).await.map_err(Problem::from)?;
        leaving.ids.push(id);
    }
    let start = Instant::now();
    let mut data = Vec::new();
    for id in leaving.ids.clone() {
        data.push(finished(handle, id, generation.response_format, &headers).await?);
    }
    leaving.ids.clear();
    let created = handle.date(handle.timeline.now()).as_second();
    let mut response = Json(json!({ "created": created, "data": data })).into_response();
    response.extensions_mut().insert(Waited(start.elapsed()));
    Ok(response)
}

fn to_native(generation: &Generation, headers: &HeaderMap) -> Result<NewRequest, Problem> {
    let (width, height) = match generation.size.as_deref() {
        None | Some("auto") => (None, None),
        Some(size) => {
            let sides = size.split_once('x').map(|(w, h)| (w.parse().ok(), h.parse().ok()));
            let Some((Some(width), Some(height))) = sides else {
                let detail = format!("{size:?}: allowed is \"auto\" or such as \"512x512\"");
                return Err(Problem::field("size", detail));
            };
            (Some(width), Some(height))
        }
    };
    let header = |name: &'static str| headers.get(name).and_then(|value| value.to_str().ok());
    let due = match (generation.due_in_seconds, header("x-atelier-due-in-seconds")) {
        (Some(seconds), _) => Some(seconds),
        (None, Some(text)) => Some(text.trim().parse().map_err(|_| {
            Problem::field("x-atelier-due-in-seconds", format!("{text:?} is not a number"))
        })?),
        (None, None) => None,
    };
    let penalty = match (generation.penalty, header("x-atelier-penalty")) {
        (Some(penalty), _) => Some(penalty),
        (None, Some(text)) => {
            let word = Value::String(text.trim().into());
            Some(
                serde_json::from_value(word)
                    .map_err(|e| Problem::field("x-atelier-penalty", e.to_string()))?,
            )
        }
        (None, None) => None,
    };
    Ok(NewRequest {
        prompt: generation.prompt.clone(),
        negative_prompt: generation.negative_prompt.clone().unwrap_or_default(),
        width,
        height,
        seed: generation.seed,
        due_in_seconds: due,
        due: None,
        penalty,
        min_steps: generation.num_inference_steps,
        max_steps: generation.num_inference_steps,
    })
}

async fn finished(
    handle: &Handle,
    id: RequestId,
    format: Option<ResponseFormat>,
    headers: &HeaderMap,
) -> Result<Value, Problem> {
    let status = handle.wait(id, Duration::MAX).await?.ok_or_else(Problem::not_found)?;
    let Status { phase: Phase::Ended(end), .. } = status else {
        let detail = "the gateway is shutting down; the request goes on after its next start";
        return Err(Problem::new(StatusCode::SERVICE_UNAVAILABLE, "shutting_down", detail));
    };
    let failed = |detail: String| Problem::new(StatusCode::BAD_GATEWAY, "failed", detail);
    match end.outcome {
        Outcome::Completed => {}
        Outcome::Failed { reason } => return Err(failed(reason)),
        Outcome::Cancelled => return Err(failed("the request was cancelled".into())),
        Outcome::Expired => return Err(failed("no server could take the request in time".into())),
    }
    if format == Some(ResponseFormat::Url) {
        let host = headers.get(header::HOST).and_then(|host| host.to_str().ok());
        let host = host.unwrap_or("localhost");
        return Ok(json!({ "url": format!("http://{host}/v1/requests/{id}/image") }));
    }
    match handle.picture(id).await? {
        Kept::Here(png) => Ok(json!({ "b64_json": BASE64.encode(png) })),
        Kept::Gone | Kept::Never => Err(failed("the picture is not kept any more".into())),
    }
}

/// Nobody else can fetch these pictures, so they are not worth painting for nobody.
struct CancelOnDrop {
    handle: Handle,
    ids: Vec<RequestId>,
}

impl Drop for CancelOnDrop {
    fn drop(&mut self) {
        for id in std::mem::take(&mut self.ids) {
            let handle = self.handle.clone();
            tokio::spawn(async move { handle.cancel(id).await });
        }
    }
}

#[derive(Serialize)]
struct Model {
    id: &'static str,
    object: &'static str,
    created: u64,
    owned_by: &'static str,
}

/// `GET /v1/models`
pub(crate) async fn models(
    State(server): State<Server>,
    headers: HeaderMap,
) -> Result<Response, Error> {
    server.door.enter(&headers)?;
    let model = Model { id: MODEL, object: "model", created: 0, owned_by: MODEL };
    Ok(Json(json!({ "object": "list", "data": [model] })).into_response())
}
