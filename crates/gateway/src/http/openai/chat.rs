//! `POST /v1/chat/completions`: a picture of what the user said last, as servers answer that draw in a chat.

use std::time::Instant;

use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::Response;
use scheduling::{Steps, TardinessPenalty};
use serde::Deserialize;
use serde_json::{Value, json};

use super::generations::sides;
use super::{Error, count, model};
use crate::config::Config;
use crate::http::answer::{self, Entry};
use crate::http::awaited::ask;
use crate::http::body::{JsonBody, NewRequest, parse};
use crate::http::headers::{idempotency_key, urgency};
use crate::http::problem::Problem;
use crate::http::value::{Seed, Whole};
use crate::http::{CLUSTER, Server, Waited};

/// The body. What is about texts, such as a temperature, is taken and passed over.
#[derive(Debug, Deserialize)]
struct Chat {
    messages: Vec<Message>,
    model: Option<Value>,
    n: Option<Whole>,
    stream: Option<bool>,
    /// Some put what is about the picture here, others beside the rest.
    extra_body: Option<Drawing>,
    #[serde(flatten)]
    drawing: Drawing,
}

#[derive(Debug, Deserialize)]
struct Message {
    role: String,
    content: Content,
}

#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum Content {
    Text(String),
    Parts(Vec<Part>),
    Nothing(()),
}

#[derive(Debug, Deserialize)]
struct Part {
    r#type: String,
    text: Option<String>,
}

/// What is about the picture.
#[derive(Clone, Debug, Default, Deserialize)]
struct Drawing {
    size: Option<String>,
    width: Option<Whole>,
    height: Option<Whole>,
    seed: Option<Seed>,
    num_inference_steps: Option<Steps>,
    num_outputs_per_prompt: Option<Whole>,
    negative_prompt: Option<String>,
    due_in_seconds: Option<f64>,
    penalty: Option<TardinessPenalty>,
}

impl Chat {
    /// What the user said last.
    fn prompt(&self) -> Result<String, Problem> {
        let last = self.messages.iter().rev().find(|message| message.role == "user");
        let wrong = |detail: &str| Problem::field("messages", detail);
        let last =
            last.ok_or_else(|| wrong("none is of the role \"user\", which says what to draw"))?;
        match &last.content {
            Content::Text(text) => Ok(text.clone()),
            Content::Nothing(()) => Err(wrong("the last one of the user says nothing")),
            Content::Parts(parts) => {
                if let Some(part) = parts.iter().find(|part| part.r#type != "text") {
                    let kind = scheduling::message::excerpt(&part.r#type);
                    return Err(wrong(&format!(
                        "it has a part of the type {kind:?}: pictures are drawn from texts here, and \
                         not changed"
                    )));
                }
                let texts: Vec<_> = parts.iter().filter_map(|part| part.text.as_deref()).collect();
                Ok(texts.join("\n"))
            }
        }
    }

    /// What is about the picture, wherever it stands.
    fn drawing(&self) -> Drawing {
        let (here, there) = (self.drawing.clone(), self.extra_body.clone().unwrap_or_default());
        Drawing {
            size: there.size.or(here.size),
            width: there.width.or(here.width),
            height: there.height.or(here.height),
            seed: there.seed.or(here.seed),
            num_inference_steps: there.num_inference_steps.or(here.num_inference_steps),
            num_outputs_per_prompt: there.num_outputs_per_prompt.or(here.num_outputs_per_prompt),
            negative_prompt: there.negative_prompt.or(here.negative_prompt),
            due_in_seconds: there.due_in_seconds.or(here.due_in_seconds),
            penalty: there.penalty.or(here.penalty),
        }
    }

    fn to_native(&self, headers: &HeaderMap, config: &Config) -> Result<NewRequest, Problem> {
        if self.stream == Some(true) {
            let detail = "pictures are not told word by word: allowed is false";
            return Err(Problem::field("stream", detail));
        }
        let drawing = self.drawing();
        let urgency = urgency(headers)?;
        let [width, height] = sides(drawing.size.as_deref())?;
        Ok(NewRequest {
            prompt: self.prompt()?,
            negative_prompt: drawing.negative_prompt.unwrap_or_default(),
            width: drawing.width.map(|Whole(side)| side).or(width),
            height: drawing.height.map(|Whole(side)| side).or(height),
            seed: drawing.seed,
            due_in_seconds: drawing.due_in_seconds.or(urgency.due_in_seconds),
            due: None,
            penalty: drawing.penalty.or(urgency.penalty),
            min_steps: drawing.num_inference_steps,
            max_steps: drawing.num_inference_steps,
            model: model(self.model.as_ref(), config)?,
            callback_url: None,
        })
    }
}

/// `POST /v1/chat/completions`: waits for the pictures, as the route for pictures does.
pub(crate) async fn chat(
    State(server): State<Server>,
    headers: HeaderMap,
    body: Result<JsonBody, Problem>,
) -> Result<Response, Error> {
    let JsonBody { visitor, bytes, room } = body?;
    let handle = &server.handle;
    let chat: Chat = parse(&bytes)?;
    let count = count(chat.n.or(chat.drawing().num_outputs_per_prompt))?;
    let key = idempotency_key(&headers, &bytes)?;
    let new = chat.to_native(&headers, &handle.config)?;
    drop(bytes);
    let mut requests = ask(&new, count, &visitor, handle, key).await?;
    drop(room);
    let start = Instant::now();
    let finished = requests.all_finished().await?;
    let first = &finished[0].accepted;
    let model = first.spec.model.as_deref().unwrap_or(CLUSTER);
    let head = json!({
        "id": format!("chatcmpl-{}", first.order.id),
        "object": "chat.completion",
        "created": handle.unix_seconds() as i64,
        "model": model,
        // Tokens are counted by nobody here.
        "usage": { "prompt_tokens": 0, "completion_tokens": 0, "total_tokens": 0 },
    });
    let head = head.to_string();
    let open = head.strip_suffix('}').unwrap_or(&head);
    let before = format!(
        "{open},\"choices\":[{{\"index\":0,\"finish_reason\":\"stop\",\"logprobs\":null,\
         \"message\":{{\"role\":\"assistant\",\"content\":["
    );
    let entry = |picture| Entry {
        before: "{\"type\":\"image_url\",\"image_url\":{\"url\":\"data:image/png;base64,".into(),
        picture,
        behind: "\"}}".into(),
    };
    let entries = requests.all_pictures().await?.into_iter().map(entry).collect();
    let mut response = answer::listing(before.into(), entries, "]}}]}".into());
    response.extensions_mut().insert(Waited(start.elapsed()));
    Ok(response)
}
