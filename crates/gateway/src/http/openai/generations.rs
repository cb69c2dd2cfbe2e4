//! `POST /v1/images/generations`.

use std::time::Instant;

use axum::Json;
use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::{IntoResponse, Response};
use scheduling::message::excerpt;
use scheduling::{Steps, TardinessPenalty};
use serde::Deserialize;
use serde_json::{Value, json};

use super::{Error, count, model, stream};
use crate::config::Config;
use crate::http::answer::{self, Entry};
use crate::http::awaited::ask;
use crate::http::body::{JsonBody, NewRequest, parse};
use crate::http::encoding::{Encoding, Format};
use crate::http::headers::{idempotency_key, urgency};
use crate::http::peer::Peer;
use crate::http::problem::Problem;
use crate::http::value::{Seed, Whole};
use crate::http::{Server, Waited};
use crate::status::Status;

/// The body. Fields that change nothing here are taken and passed over.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Generation {
    prompt: String,
    n: Option<Whole>,
    size: Option<String>,
    response_format: Option<ResponseFormat>,
    output_format: Option<Format>,
    output_compression: Option<Whole>,
    stream: Option<bool>,
    // Of other servers of this kind.
    negative_prompt: Option<String>,
    seed: Option<Seed>,
    num_inference_steps: Option<Steps>,
    steps: Option<Steps>,
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
    #[serde(rename = "partial_images")]
    _partial_images: Option<Value>,
    #[serde(rename = "complexity")]
    _complexity: Option<Value>,
    #[serde(rename = "safety_identifier")]
    _safety_identifier: Option<Value>,
    #[serde(rename = "input_fidelity")]
    _input_fidelity: Option<Value>,
    #[serde(rename = "guidance_scale")]
    _guidance_scale: Option<Value>,
    #[serde(rename = "true_cfg_scale")]
    _true_cfg_scale: Option<Value>,
    // Some send their own settings along.
    #[serde(rename = "extra_headers")]
    _extra_headers: Option<Value>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
enum ResponseFormat {
    B64Json,
    Url,
}

impl Generation {
    fn streamed(&self) -> Result<bool, Problem> {
        let streamed = self.stream == Some(true);
        if streamed && self.response_format == Some(ResponseFormat::Url) {
            let detail = "a stream carries the picture itself: allowed with stream is b64_json";
            return Err(Problem::field("response_format", detail));
        }
        Ok(streamed)
    }

    /// As it is asked for; otherwise as OpenAI's model of this name has it.
    fn response_format(&self) -> ResponseFormat {
        let links = |model: &Value| model.as_str().is_some_and(|name| name.starts_with("dall-e"));
        self.response_format.unwrap_or(match &self.model {
            Some(model) if links(model) => ResponseFormat::Url,
            _ => ResponseFormat::B64Json,
        })
    }

    fn encoding(&self) -> Result<Encoding, Problem> {
        let quality = self.output_compression.map_or(100, |Whole(percent)| percent);
        let quality = u8::try_from(quality).ok().filter(|percent| *percent <= 100);
        let quality = quality.ok_or_else(|| {
            let given = self.output_compression.map_or(0, |Whole(percent)| percent);
            Problem::field("output_compression", format!("{given}: allowed is 0 to 100"))
        })?;
        Ok(Encoding { format: self.output_format.unwrap_or_default(), quality })
    }

    /// The steps, under either of their names.
    fn steps(&self) -> Result<Option<Steps>, Problem> {
        match (self.num_inference_steps, self.steps) {
            (Some(one), Some(other)) if one != other => {
                let detail =
                    "it is another number than num_inference_steps: allowed is one of them";
                Err(Problem::field("steps", detail))
            }
            (one, other) => Ok(one.or(other)),
        }
    }
}

/// `POST /v1/images/generations`: waits for the pictures, and cancels them if the client leaves and
/// has no Idempotency-Key to ask for them again.
pub(crate) async fn generate(
    State(server): State<Server>,
    peer: Peer,
    headers: HeaderMap,
    body: Result<JsonBody, Problem>,
) -> Result<Response, Error> {
    let JsonBody { visitor, bytes, room } = body?;
    let handle = &server.handle;
    let generation: Generation = parse(&bytes)?;
    let (count, streamed) = (count(generation.n)?, generation.streamed()?);
    let encoding = generation.encoding()?;
    let key = idempotency_key(&headers, &bytes)?;
    let new = to_native(&generation, &headers, &handle.config)?;
    drop(bytes);
    let mut requests = ask(&new, count, &visitor, handle, key).await.map_err(of_size)?;
    drop(room);
    if streamed {
        return Ok(stream::answer(requests, encoding));
    }
    let start = Instant::now();
    let finished = requests.all_finished().await?;
    let created = handle.unix_seconds() as i64;
    let mut response = if generation.response_format() == ResponseFormat::Url {
        let base = server.links.base(peer, &headers);
        let linked = |status: &Status| {
            let id = status.accepted.order.id;
            let url = server.links.to(&base, id, encoding, handle.unix_seconds());
            json!({ "url": url, "request_id": id.to_string(), "seed": status.accepted.spec.seed })
        };
        let data: Vec<_> = finished.iter().map(linked).collect();
        requests.ids.clear();
        Json(json!({ "created": created, "data": data })).into_response()
    } else {
        let pictures = requests.all_pictures().await?;
        let entry = |(picture, status): (answer::Reading, &Status)| Entry {
            before: "{\"b64_json\":\"".into(),
            picture: picture.encoded_as(encoding, &status.accepted.spec),
            behind: format!(
                "\",\"request_id\":\"{}\",\"seed\":{}}}",
                status.accepted.order.id, status.accepted.spec.seed
            ),
        };
        let entries = pictures.into_iter().zip(&finished).map(entry).collect();
        let format = encoding.format.name();
        let before = format!("{{\"created\":{created},\"output_format\":\"{format}\",\"data\":[");
        answer::listing(before.into(), entries, "]}".into())
    };
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

/// A size as it is written here.
///
/// # Errors
/// [`Problem`] if it is none.
pub(super) fn sides(size: Option<&str>) -> Result<[Option<u32>; 2], Problem> {
    let Some(size) = size.filter(|size| !matches!(*size, "" | "auto")) else {
        return Ok([None, None]);
    };
    let sides = size.split_once('x').map(|(w, h)| (w.parse().ok(), h.parse().ok()));
    let Some((Some(width), Some(height))) = sides else {
        let size = excerpt(size);
        let detail = format!("{size:?}: allowed is \"auto\" or such as \"512x512\"");
        return Err(Problem::field("size", detail));
    };
    Ok([Some(width), Some(height)])
}

pub(crate) fn to_native(
    generation: &Generation,
    headers: &HeaderMap,
    config: &Config,
) -> Result<NewRequest, Problem> {
    let [width, height] = sides(generation.size.as_deref())?;
    let urgency = urgency(headers)?;
    let steps = generation.steps()?;
    Ok(NewRequest {
        prompt: generation.prompt.clone(),
        negative_prompt: generation.negative_prompt.clone().unwrap_or_default(),
        width,
        height,
        seed: generation.seed,
        due_in_seconds: generation.due_in_seconds.or(urgency.due_in_seconds),
        due: None,
        penalty: generation.penalty.or(urgency.penalty),
        min_steps: steps,
        max_steps: steps,
        model: model(generation.model.as_ref(), config)?,
        callback_url: None,
    })
}
