//! The drop-in face: what clients of OpenAI's Images API expect.

mod stream;

use std::time::Instant;

use axum::Json;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use dispatch::RequestId;
use scheduling::TardinessPenalty;
use scheduling::message::excerpt;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::answer;
use super::auth::Visitor;
use super::awaited::submit;
use super::body::{JsonBody, NewRequest, compose, no_such_model, parse};
use super::headers::{idempotency_key, urgency};
use super::problem::Problem;
use super::value::{Seed, Whole};
use super::{CLUSTER, Server, Waited};
use crate::config::Config;

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
        let body = envelope(&problem);
        let mut response = (status, Json(body)).into_response();
        if let Some(seconds) = problem.retry_after {
            response.headers_mut().insert(header::RETRY_AFTER, seconds.into());
        }
        response.extensions_mut().insert(problem);
        response
    }
}

fn envelope(problem: &Problem) -> Value {
    let kind = match problem.status.as_u16() {
        401 | 403 => "authentication_error",
        429 => "rate_limit_error",
        400..=499 => "invalid_request_error",
        _ => "server_error",
    };
    json!({ "error": {
        "message": problem.detail,
        "type": kind,
        "param": problem.field,
        "code": problem.reason,
    }})
}

/// The body. Fields that change nothing here are taken and passed over.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Generation {
    prompt: String,
    n: Option<Whole>,
    size: Option<String>,
    response_format: Option<ResponseFormat>,
    #[serde(rename = "output_format")]
    _output_format: Option<OutputFormat>,
    stream: Option<bool>,
    // Of other servers of this kind.
    negative_prompt: Option<String>,
    seed: Option<Seed>,
    num_inference_steps: Option<scheduling::Steps>,
    // Our own.
    due_in_seconds: Option<f64>,
    penalty: Option<TardinessPenalty>,
    model: Option<Value>,
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
    #[serde(rename = "complexity")]
    _complexity: Option<Value>,
    #[serde(rename = "safety_identifier")]
    _safety_identifier: Option<Value>,
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

/// `POST /v1/images/generations`: waits for the pictures, and cancels them if the client leaves and
/// has no Idempotency-Key to ask for them again.
pub(crate) async fn generate(
    State(server): State<Server>,
    headers: HeaderMap,
    body: Result<JsonBody, Problem>,
) -> Result<Response, Error> {
    let JsonBody { visitor, bytes, room } = body?;
    let handle = &server.handle;
    let generation: Generation = parse(&bytes)?;
    let count = generation.n.map_or(1, |Whole(count)| count);
    if !(1..=10).contains(&count) {
        return Err(Problem::field("n", format!("{count} pictures: allowed is 1 to 10")).into());
    }
    let streamed = generation.stream == Some(true);
    if streamed && generation.response_format == Some(ResponseFormat::Url) {
        let detail = "a stream carries the picture itself: allowed with stream is b64_json";
        return Err(Problem::field("response_format", detail).into());
    }
    let key = idempotency_key(&headers, &bytes)?;
    let new = to_native(&generation, &headers, &handle.config)?;
    drop(bytes);
    let order = |index| {
        let seed = new.seed.map(|seed| seed.next(index));
        let one = NewRequest { seed, ..new.clone() };
        compose(one, visitor.owner.clone(), &handle.config, &handle.timeline, None)
    };
    let orders = (0..count).map(order).collect::<Result<_, _>>().map_err(of_size)?;
    let open = visitor.open_stream()?;
    let mut requests = submit(handle, visitor, orders, key, open).await.map_err(of_size)?;
    drop(room);
    if streamed {
        return Ok(stream::answer(requests));
    }
    let start = Instant::now();
    for id in requests.ids.clone() {
        requests.finished(id).await?;
    }
    let created = handle.date(handle.timeline.now()).as_second();
    let mut response = if generation.response_format == Some(ResponseFormat::Url) {
        let data: Vec<_> =
            requests.ids.iter().map(|id| json!({ "url": address(*id, &headers) })).collect();
        Json(json!({ "created": created, "data": data })).into_response()
    } else {
        let mut pictures = Vec::new();
        for id in requests.ids.clone() {
            pictures.push(requests.picture(id).await?);
        }
        let before = format!("{{\"created\":{created},\"data\":[").into();
        answer::listing(before, ["{\"b64_json\":\"", "\"}"], pictures, "]}".into())
    };
    requests.ids.clear();
    response.extensions_mut().insert(Waited(start.elapsed()));
    Ok(response)
}

/// Width and height are one field here.
fn of_size(problem: Problem) -> Problem {
    match problem.field.as_deref() {
        Some(side @ ("width" | "height")) => {
            let detail = format!("{side}: {}", problem.detail);
            Problem { field: Some("size".into()), detail, ..problem }
        }
        _ => problem,
    }
}

pub(super) fn to_native(
    generation: &Generation,
    headers: &HeaderMap,
    config: &Config,
) -> Result<NewRequest, Problem> {
    let (width, height) = match generation.size.as_deref() {
        None | Some("auto") => (None, None),
        Some(size) => {
            let sides = size.split_once('x').map(|(w, h)| (w.parse().ok(), h.parse().ok()));
            let Some((Some(width), Some(height))) = sides else {
                let size = excerpt(size);
                let detail = format!("{size:?}: allowed is \"auto\" or such as \"512x512\"");
                return Err(Problem::field("size", detail));
            };
            (Some(width), Some(height))
        }
    };
    let urgency = urgency(headers)?;
    let due = generation.due_in_seconds.or(urgency.due_in_seconds);
    let penalty = generation.penalty.or(urgency.penalty);
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
        model: model(generation.model.as_ref(), config)?,
    })
}

/// The model that is asked for. Where there is only one, whatever name is sent stands for it.
fn model(named: Option<&Value>, config: &Config) -> Result<Option<String>, Problem> {
    match named {
        _ if config.models.is_empty() => Ok(None),
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(name)) => Ok(Some(name.clone())),
        Some(_) => Err(Problem::field("model", format!("not a name: {}", config.known()))),
    }
}

/// Where the picture can be fetched, with the key that made it.
fn address(id: RequestId, headers: &HeaderMap) -> String {
    let host = headers.get(header::HOST).and_then(|host| host.to_str().ok());
    format!("http://{}/v1/requests/{id}/image", host.unwrap_or("localhost"))
}

#[derive(Serialize)]
struct Model<'a> {
    id: &'a str,
    object: &'static str,
    created: u64,
    owned_by: &'static str,
}

impl<'a> Model<'a> {
    const fn new(id: &'a str) -> Self {
        Self { id, object: "model", created: 0, owned_by: CLUSTER }
    }

    /// Those that a client may name: where there are none, the whole cluster is one.
    fn all(config: &'a Config) -> Vec<Self> {
        let mut models: Vec<_> =
            config.models.iter().map(|model| Self::new(model.name.get_ref())).collect();
        if models.is_empty() {
            models.push(Self::new(CLUSTER));
        }
        models
    }
}

/// `GET /v1/models`
pub(crate) async fn models(
    State(server): State<Server>,
    visitor: Result<Visitor, Problem>,
) -> Result<Response, Error> {
    visitor?;
    let models = Model::all(&server.handle.config);
    Ok(Json(json!({ "object": "list", "data": models })).into_response())
}

/// `GET /v1/models/{model}`
pub(crate) async fn one_model(
    State(server): State<Server>,
    visitor: Result<Visitor, Problem>,
    Path(name): Path<String>,
) -> Result<Response, Error> {
    visitor?;
    let config = &server.handle.config;
    let known = Model::all(config).into_iter().find(|model| model.id == name);
    // Also where models are configured: it stands for the default one.
    let cluster = (name == CLUSTER).then(|| Model::new(CLUSTER));
    match known.or(cluster) {
        Some(model) => Ok(Json(model).into_response()),
        None if config.models.is_empty() => {
            let name = excerpt(&name);
            let detail = format!("there is no model {name:?}: there is {CLUSTER:?}");
            Err(Problem::new(StatusCode::NOT_FOUND, "model_not_found", detail).into())
        }
        None => Err(no_such_model(&name, config).into()),
    }
}
