//! The protocols, as far as a gateway speaks them.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::extract::{Path, RawQuery, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, body::Bytes};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use gateway::backends::demo::{Method, PictureSet, Sampling};
use gateway::backends::picture;
use scheduling::Steps;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::time::{Instant, sleep_until};

/// Which program.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    ComfyUi,
    Automatic1111,
    SdServer,
    OpenAi,
}

/// Serves until the process ends.
pub(crate) async fn serve(kind: Kind, listener: TcpListener, steps_per_second: f64) {
    let server = Arc::new(Server {
        steps_per_second,
        done: Mutex::default(),
        turn: tokio::sync::Mutex::default(),
    });
    let router = match kind {
        Kind::ComfyUi => Router::new()
            .route("/system_stats", get(|| async { Json(json!({ "system": {}, "devices": [] })) }))
            .route("/object_info", get(|| async { Json(object_info()) }))
            .route("/prompt", post(prompt))
            .route("/queue", get(queue).post(|| async {}))
            .route("/interrupt", post(|| async {}))
            .route("/history", post(|| async {}))
            .route("/history/{id}", get(history))
            .route("/view", get(view)),
        Kind::Automatic1111 => Router::new()
            .route("/sdapi/v1/memory", get(|| async { Json(json!({})) }))
            .route("/sdapi/v1/sd-models", get(|| async { Json(json!([{ "model_name": "v1-5-pruned" }])) }))
            .route("/sdapi/v1/options", get(|| async {
                Json(json!({ "sd_model_checkpoint": "v1-5-pruned.safetensors [6ce0161689]" }))
            }))
            .route("/sdapi/v1/txt2img", post(txt2img))
            .route("/internal/progress", post(|| async { Json(json!({ "active": false })) }))
            .route("/sdapi/v1/interrupt", post(|| async { Json(json!({})) })),
        Kind::SdServer => Router::new()
            .route("/sdcpp/v1/capabilities", get(|| async {
                Json(json!({ "model": { "name": "v1-5-pruned.gguf" }, "current_mode": "img_gen" }))
            }))
            .route("/sdcpp/v1/img_gen", post(img_gen))
            .route("/sdcpp/v1/jobs/{id}", get(job)),
        Kind::OpenAi => Router::new()
            .route("/health", get(|| async { "ok" }))
            .route("/v1/models", get(|| async { Json(json!({ "data": [{ "id": "v1-5-pruned" }] })) }))
            .route("/v1/images/generations", post(generations)),
    };
    axum::serve(listener, router.with_state(server)).await.expect("the listener works");
}

/// A painter that draws one picture at a time.
struct Server {
    steps_per_second: f64,
    /// By name.
    done: Mutex<HashMap<String, Progress>>,
    turn: tokio::sync::Mutex<()>,
}

/// How far a picture is.
#[derive(Clone)]
enum Progress {
    UnderWay,
    Done(Vec<u8>),
}

type Shared = State<Arc<Server>>;

impl Server {
    /// Draws a picture as a PNG, at its pace.
    async fn paint(&self, prompt: &str, size: [u64; 2], steps: u64, seed: u64) -> Vec<u8> {
        let _turn = self.turn.lock().await;
        let pace = Duration::from_secs_f64((0.2 + steps as f64 / self.steps_per_second).min(600.0));
        let until = Instant::now() + pace;
        let [width, height] = size.map(|side| side.clamp(8, 2048) as u32 / 8 * 8);
        let steps = Steps::saturating(steps as f64);
        // Large pictures are drawn in eighths: what counts is that they come.
        let scale = if width * height > 128 * 128 { 4 } else { 1 };
        let [w, h] = [width, height].map(|side| (side / scale).next_multiple_of(8));
        let prompt = prompt.to_string();
        let small = tokio::task::spawn_blocking(move || {
            let set = Arc::new(PictureSet::of_prompt(&prompt, w as usize, h as usize));
            let mut sampling = Sampling::new(set, Method::Ddim, steps, seed);
            (0..steps.get()).for_each(|_| sampling.step());
            sampling.rgb()
        });
        let small = small.await.expect("the painter draws");
        let pixel = |x: u32, y: u32| {
            let at = 3 * ((y / scale) * w + x / scale) as usize;
            [small[at], small[at + 1], small[at + 2]]
        };
        let rgb: Vec<u8> =
            (0..height).flat_map(|y| (0..width).flat_map(move |x| pixel(x, y))).collect();
        sleep_until(until).await;
        picture::encode(&rgb, width, height)
    }

    /// Draws one in the background, under a name.
    fn begin(self: &Arc<Self>, id: String, prompt: String, size: [u64; 2], steps: u64, seed: u64) {
        self.done.lock().expect("nobody panics").insert(id.clone(), Progress::UnderWay);
        let server = self.clone();
        tokio::spawn(async move {
            let png = server.paint(&prompt, size, steps, seed).await;
            server.done.lock().expect("nobody panics").insert(id, Progress::Done(png));
        });
    }

    /// None if there is no such job.
    fn progress(&self, id: &str) -> Option<Progress> {
        self.done.lock().expect("nobody panics").get(id).cloned()
    }
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().into()
}

fn number(value: &Value, otherwise: u64) -> u64 {
    value.as_u64().unwrap_or(otherwise)
}

// ComfyUI

fn object_info() -> Value {
    let checkpoints = json!([["v1-5-pruned.safetensors"], {}]);
    json!({ "CheckpointLoaderSimple": { "input": { "required": { "ckpt_name": checkpoints } } } })
}

async fn prompt(State(server): Shared, Json(body): Json<Value>) -> Response {
    let graph = &body["prompt"];
    let of = |class: &str| {
        let nodes = graph.as_object().into_iter().flat_map(|nodes| nodes.values());
        nodes
            .into_iter()
            .find(|node| node["class_type"] == class)
            .map(|node| node["inputs"].clone())
    };
    let (Some(sampler), Some(latent)) = (of("KSampler"), of("EmptyLatentImage")) else {
        let error = json!({ "error": { "message": "Prompt has no outputs", "details": "" }, "node_errors": {} });
        return (StatusCode::BAD_REQUEST, Json(error)).into_response();
    };
    let positive = &graph[text(&sampler["positive"][0])]["inputs"]["text"];
    let id = text(&body["prompt_id"]);
    let size = [number(&latent["width"], 512), number(&latent["height"], 512)];
    let (steps, seed) = (number(&sampler["steps"], 20), number(&sampler["seed"], 0));
    server.begin(id.clone(), text(positive), size, steps, seed);
    Json(json!({ "prompt_id": id, "number": 1, "node_errors": {} })).into_response()
}

async fn queue(State(server): Shared) -> Json<Value> {
    let done = server.done.lock().expect("nobody panics");
    let running: Vec<_> = done
        .iter()
        .filter(|(_, progress)| matches!(progress, Progress::UnderWay))
        .map(|(id, _)| json!([1, id, {}]))
        .collect();
    Json(json!({ "queue_running": running, "queue_pending": [] }))
}

async fn history(State(server): Shared, Path(id): Path<String>) -> Json<Value> {
    match server.progress(&id) {
        Some(Progress::Done(_)) => {
            let image = json!({ "filename": id, "subfolder": "", "type": "output" });
            let status = json!({ "status_str": "success", "completed": true, "messages": [] });
            Json(json!({ id: { "outputs": { "9": { "images": [image] } }, "status": status } }))
        }
        _ => Json(json!({})),
    }
}

async fn view(State(server): Shared, RawQuery(query): RawQuery) -> Response {
    // The names that it gives out need no escapes.
    let query = query.unwrap_or_default();
    let name = query.split('&').find_map(|pair| pair.strip_prefix("filename="));
    match server.progress(name.unwrap_or_default()) {
        Some(Progress::Done(png)) => png.into_response(),
        _ => StatusCode::NOT_FOUND.into_response(),
    }
}

// AUTOMATIC1111

async fn txt2img(State(server): Shared, Json(body): Json<Value>) -> Json<Value> {
    let size = [number(&body["width"], 512), number(&body["height"], 512)];
    let (steps, seed) = (number(&body["steps"], 50), number(&body["seed"], 0));
    let png = server.paint(&text(&body["prompt"]), size, steps, seed).await;
    Json(json!({ "images": [BASE64.encode(png)], "parameters": {}, "info": "{}" }))
}

// sd-server

async fn img_gen(State(server): Shared, Json(body): Json<Value>) -> Response {
    let size = [number(&body["width"], 512), number(&body["height"], 512)];
    let size = size.map(|side| side.next_multiple_of(64));
    let (steps, seed) =
        (number(&body["sample_params"]["sample_steps"], 20), number(&body["seed"], 0));
    let id = format!("job-{}", server.done.lock().expect("nobody panics").len() + 1);
    server.begin(id.clone(), text(&body["prompt"]), size, steps, seed);
    (StatusCode::ACCEPTED, Json(json!({ "id": id, "kind": "img_gen", "status": "queued" })))
        .into_response()
}

async fn job(State(server): Shared, Path(id): Path<String>) -> Response {
    match server.progress(&id) {
        None => (StatusCode::NOT_FOUND, "{\"error\":\"no such job\"}").into_response(),
        Some(Progress::UnderWay) => {
            Json(json!({ "id": id, "status": "generating", "result": null })).into_response()
        }
        Some(Progress::Done(png)) => {
            let images = json!([{ "index": 0, "b64_json": BASE64.encode(png) }]);
            Json(json!({ "id": id, "status": "completed", "result": { "images": images } }))
                .into_response()
        }
    }
}

// OpenAI

async fn generations(State(server): Shared, body: Bytes) -> Json<Value> {
    let body: Value = serde_json::from_slice(&body).unwrap_or_default();
    let size = text(&body["size"]);
    let (width, height) = size.split_once('x').unwrap_or(("512", "512"));
    let size = [width, height].map(|side| side.parse().unwrap_or(512));
    let (steps, seed) = (number(&body["num_inference_steps"], 30), number(&body["seed"], 0));
    let png = server.paint(&text(&body["prompt"]), size, steps, seed).await;
    Json(json!({ "created": 1, "data": [{ "b64_json": BASE64.encode(png) }] }))
}
