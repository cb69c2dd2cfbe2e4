//! A server of each kind, which keeps to the protocols and misbehaves when told to.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::{Method, StatusCode};
use axum::response::{IntoResponse, Response};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use futures_util::{SinkExt as _, StreamExt as _, stream};
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;
use tokio_tungstenite::tungstenite::protocol::Role;

use crate::backends::picture;

/// How the stand-in behaves at the step that delivers the picture.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mood {
    Faithful,
    Hang,
    Error500,
    CutHeader,
    CutBody,
    Garbage,
    NotBase64,
    /// A picture of another size.
    WrongSize,
    Endless,
    JobFails,
    /// A picture of the next multiples of 64.
    Aligned,
    /// A link in place of a picture.
    Links,
    /// A link to another host.
    LinksElsewhere,
    /// What went wrong, with a status that says that all is well.
    FailsWith200,
}

impl Mood {
    /// All that end by themselves.
    pub(crate) const ENDING: [Self; 8] = [
        Self::Faithful,
        Self::Error500,
        Self::CutHeader,
        Self::CutBody,
        Self::Garbage,
        Self::NotBase64,
        Self::WrongSize,
        Self::JobFails,
    ];
}

/// A server of each kind at once; the paths tell them apart.
pub(crate) struct StandIn {
    pub(crate) mood: Mutex<Mood>,
    /// What came in: path and body.
    pub(crate) seen: Mutex<Vec<(String, Value)>>,
    /// Jobs of sd-server and ComfyUI: polls until they are done.
    pub(crate) jobs: Mutex<HashMap<String, u32>>,
    /// The task that A1111 runs.
    pub(crate) active: Mutex<Option<String>>,
    /// What ComfyUI's WebSocket says on each connection before that is cut, the last first. Without
    /// any there is no WebSocket.
    pub(crate) sockets: Mutex<Vec<Vec<Message>>>,
    /// The checkpoint that is loaded; it has room for one.
    pub(crate) checkpoint: Mutex<String>,
    /// How often it had to load one, and how long that takes.
    pub(crate) loads: Mutex<u32>,
    pub(crate) load: Mutex<Duration>,
    png: Vec<u8>,
}

pub(crate) type Shared = Arc<StandIn>;

/// A stand-in and what it answers.
pub(crate) fn router() -> (Shared, Router) {
    let stand_in = Arc::new(StandIn {
        mood: Mutex::new(Mood::Faithful),
        seen: Mutex::default(),
        jobs: Mutex::default(),
        active: Mutex::default(),
        sockets: Mutex::default(),
        checkpoint: Mutex::default(),
        loads: Mutex::default(),
        load: Mutex::default(),
        png: picture::encode(&[9; 3 * 16 * 16], 16, 16),
    });
    (stand_in.clone(), Router::new().fallback(answer).with_state(stand_in))
}

/// A stand-in at an address of its own.
pub(crate) async fn stand_in() -> (Shared, String) {
    let (stand_in, router) = router();
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(async move { axum::serve(listener, router).await });
    (stand_in, url)
}

/// A body that is cut after these bytes.
fn cut(head: Vec<u8>) -> Response {
    let chunks = [Ok(head), Err(std::io::Error::other("cut"))];
    // The pause lets the first bytes leave before the connection breaks.
    let slow = stream::iter(chunks).then(|chunk| async {
        tokio::time::sleep(Duration::from_millis(20)).await;
        chunk
    });
    Body::from_stream(slow).into_response()
}

/// Opens a WebSocket, says what is to be said, and cuts the connection without a farewell.
fn socket(request: &mut Request, said: Vec<Message>) -> Response {
    let key = request.headers()["sec-websocket-key"].as_bytes();
    let headers = [
        ("connection", "upgrade".to_string()),
        ("upgrade", "websocket".to_string()),
        ("sec-websocket-accept", derive_accept_key(key)),
    ];
    let upgrade = hyper::upgrade::on(request);
    tokio::spawn(async move {
        let stream = TokioIo::new(upgrade.await.unwrap());
        let mut socket = WebSocketStream::from_raw_socket(stream, Role::Server, None).await;
        for message in said {
            let _ = socket.send(message).await;
        }
    });
    (StatusCode::SWITCHING_PROTOCOLS, headers).into_response()
}

impl StandIn {
    /// Loads the checkpoint that a job is to be drawn with, if it is told one that is not there, and
    /// says how long that takes.
    fn load(&self, path: &str, body: &Value) -> Duration {
        let settings = &body["override_settings"];
        let told = match path {
            "/sdapi/v1/txt2img" => settings["sd_model_checkpoint"].as_str(),
            "/prompt" => body["prompt"]["4"]["inputs"]["ckpt_name"].as_str(),
            _ => None,
        };
        let mut checkpoint = self.checkpoint.lock().unwrap();
        let Some(told) = told.filter(|told| **checkpoint != **told) else { return Duration::ZERO };
        // What is to be restored afterwards is loaded once more then.
        let restores = path == "/sdapi/v1/txt2img"
            && body["override_settings_restore_afterwards"] != json!(false);
        *self.loads.lock().unwrap() += 1 + u32::from(restores);
        if !restores {
            *checkpoint = told.into();
        }
        *self.load.lock().unwrap()
    }
}

async fn answer(State(s): State<Shared>, mut request: Request) -> Response {
    if request.uri().path() == "/ws" {
        let said = s.sockets.lock().unwrap().pop();
        s.seen.lock().unwrap().push((request.uri().to_string(), Value::Null));
        return match said {
            Some(said) => socket(&mut request, said),
            None => StatusCode::NOT_FOUND.into_response(),
        };
    }
    let (parts, body) = request.into_parts();
    let path = parts.uri.to_string();
    let bytes = axum::body::to_bytes(body, 1 << 20).await.unwrap();
    let body: Value = serde_json::from_slice(&bytes).unwrap_or(Value::Null);
    s.seen.lock().unwrap().push((path.clone(), body.clone()));
    let load = s.load(&path, &body);
    if load > Duration::ZERO {
        tokio::time::sleep(load).await;
    }
    let mood = *s.mood.lock().unwrap();
    let png = match mood {
        Mood::WrongSize => picture::encode(&[9; 3 * 8 * 8], 8, 8),
        Mood::Aligned => picture::encode(&[9; 3 * 64 * 64], 64, 64),
        _ => s.png.clone(),
    };
    let picture = BASE64.encode(&png);
    // The step at which each protocol delivers.
    let delivers = ["/sdapi/v1/txt2img", "/v1/images/generations", "/view", "/sdcpp/v1/jobs/"];
    if delivers.iter().any(|p| path.starts_with(p)) && parts.method != Method::DELETE {
        match mood {
            Mood::Hang => {
                *s.active.lock().unwrap() = body["force_task_id"].as_str().map(String::from);
                while *s.mood.lock().unwrap() == Mood::Hang {
                    tokio::time::sleep(Duration::from_millis(5)).await;
                }
                *s.active.lock().unwrap() = None;
            }
            Mood::Error500 => {
                let error = json!({ "error": "RuntimeError", "detail": "CUDA out of memory" });
                return (StatusCode::INTERNAL_SERVER_ERROR, error.to_string()).into_response();
            }
            Mood::CutHeader => return cut(Vec::new()),
            Mood::CutBody => return cut(format!("{{\"images\":[\"{picture}").into_bytes()),
            Mood::Garbage => return "<html>502 Bad Gateway</html>".into_response(),
            Mood::Endless => {
                let chunks = stream::repeat_with(|| Ok::<_, std::io::Error>(vec![b' '; 1 << 20]));
                return Body::from_stream(chunks).into_response();
            }
            _ => {}
        }
    }
    let picture = if mood == Mood::NotBase64 { "***".into() } else { picture };
    respond(&s, (&parts.method, &path, &body), mood, (&picture, png))
}

fn respond(
    s: &StandIn,
    (method, path, body): (&Method, &str, &Value),
    mood: Mood,
    (picture, png): (&str, Vec<u8>),
) -> Response {
    let text = |value: &Value| value.as_str().unwrap_or("").to_string();
    let ok = |value: Value| value.to_string().into_response();
    let segment = |prefix: &str| path.strip_prefix(prefix).map(str::to_string);
    match (method.as_str(), path) {
        ("GET", "/sdapi/v1/memory" | "/sdcpp/v1/capabilities" | "/health" | "/system_stats") => {
            ok(json!({}))
        }
        // AUTOMATIC1111
        ("GET", "/sdapi/v1/options") => {
            let checkpoint = &*s.checkpoint.lock().unwrap();
            ok(json!({ "sd_model_checkpoint": format!("{checkpoint}.safetensors [31e35c80fc]") }))
        }
        ("POST", "/sdapi/v1/txt2img") if mood == Mood::JobFails => {
            let error = json!({ "error": "", "detail": "Sampler not found" });
            (StatusCode::NOT_FOUND, error.to_string()).into_response()
        }
        ("POST", "/sdapi/v1/txt2img") => {
            ok(json!({ "images": [picture], "parameters": {}, "info": "{}" }))
        }
        ("POST", "/internal/progress") => ok(progress(s, body)),
        ("POST", "/sdapi/v1/interrupt") => {
            *s.mood.lock().unwrap() = Mood::Faithful;
            ok(json!({}))
        }
        // OpenAI
        ("POST", "/v1/images/generations") if mood == Mood::JobFails => {
            let error = json!({ "error": { "message": "no such model", "type": "x" } });
            (StatusCode::BAD_REQUEST, error.to_string()).into_response()
        }
        ("POST", "/v1/images/generations") if mood == Mood::FailsWith200 => {
            ok(json!({ "error": { "message": "content policy", "code": "400" } }))
        }
        ("POST", "/v1/images/generations") if mood == Mood::Links => {
            ok(json!({ "created": 1, "data": [{ "url": "/pictures/1?token=2" }] }))
        }
        ("POST", "/v1/images/generations") if mood == Mood::LinksElsewhere => {
            ok(json!({ "created": 1, "data": [{ "url": "http://10.0.0.1/admin" }] }))
        }
        ("GET", "/pictures/1?token=2") => png.into_response(),
        ("POST", "/v1/images/generations") => {
            ok(json!({ "created": 1, "data": [{ "b64_json": picture }] }))
        }
        // sd-server
        ("POST", "/sdcpp/v1/img_gen") => {
            s.jobs.lock().unwrap().insert("job-1".into(), 3);
            let job = json!({ "id": "job-1", "kind": "img_gen", "status": "queued" });
            (StatusCode::ACCEPTED, job.to_string()).into_response()
        }
        ("POST", "/sdcpp/v1/jobs/job-1/cancel") => {
            (StatusCode::CONFLICT, "{\"error\":\"generating\"}").into_response()
        }
        ("GET", path) if path.starts_with("/sdcpp/v1/jobs/") => {
            let id = segment("/sdcpp/v1/jobs/").unwrap();
            let mut jobs = s.jobs.lock().unwrap();
            let Some(polls) = jobs.get_mut(&id) else {
                return (StatusCode::NOT_FOUND, "{\"error\":\"no job\"}").into_response();
            };
            *polls = polls.saturating_sub(1);
            ok(match (*polls, mood) {
                (1.., _) => json!({ "id": id, "status": "generating", "result": null }),
                (0, Mood::JobFails) => {
                    let error = json!({ "code": "oom", "message": "out of memory" });
                    json!({ "id": id, "status": "failed", "error": error })
                }
                (0, _) => {
                    let images = json!([{ "index": 0, "b64_json": picture }]);
                    json!({ "id": id, "status": "completed", "result": { "images": images } })
                }
            })
        }
        // ComfyUI
        ("POST", "/prompt") if mood == Mood::JobFails => {
            let error = json!({ "error": { "type": "invalid_prompt", "message": "bad node" } });
            (StatusCode::BAD_REQUEST, error.to_string()).into_response()
        }
        ("POST", "/prompt") => {
            let id = text(&body["prompt_id"]);
            s.jobs.lock().unwrap().insert(id.clone(), 3);
            ok(json!({ "prompt_id": id, "number": 1, "node_errors": {} }))
        }
        ("GET", "/queue") => {
            let jobs = s.jobs.lock().unwrap();
            let running: Vec<_> =
                jobs.iter().filter(|(_, n)| **n > 0).map(|(id, _)| json!([1, id, {}])).collect();
            ok(json!({ "queue_running": running, "queue_pending": [] }))
        }
        ("POST", "/queue" | "/interrupt" | "/history") => StatusCode::OK.into_response(),
        ("GET", path) if path.starts_with("/history/") => {
            history(s, &segment("/history/").unwrap())
        }
        ("GET", "/view?filename=a%20b.png&subfolder=&type=output") => {
            if mood == Mood::NotBase64 {
                "***".into_response()
            } else {
                png.into_response()
            }
        }
        _ => (StatusCode::NOT_FOUND, "no such route").into_response(),
    }
}

/// What AUTOMATIC1111 tells of a task, and its only preview to whoever has not seen it.
fn progress(s: &StandIn, asked: &Value) -> Value {
    let active = *s.active.lock().unwrap() == asked["id_task"].as_str().map(String::from);
    let mut told =
        json!({ "active": active, "queued": false, "completed": !active, "progress": 0.4 });
    if active && asked["live_preview"] == true {
        let unseen = asked["id_live_preview"] != 1;
        told["live_preview"] = json!(unseen.then_some("data:image/jpeg;base64,/9j/4A=="));
        told["id_live_preview"] = json!(1);
    }
    told
}

/// What ComfyUI tells of a prompt: nothing before it is through.
fn history(s: &StandIn, id: &str) -> Response {
    let mut jobs = s.jobs.lock().unwrap();
    let told = match jobs.get_mut(id) {
        Some(0) => {
            let image = json!({ "filename": "a b.png", "subfolder": "", "type": "output" });
            let status = json!({ "status_str": "success", "completed": true, "messages": [] });
            json!({ id: { "outputs": { "9": { "images": [image] } }, "status": status } })
        }
        Some(polls) => {
            *polls -= 1;
            json!({})
        }
        None => json!({}),
    };
    told.to_string().into_response()
}
