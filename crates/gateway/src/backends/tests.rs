//! Every adapter against a stand-in that keeps to the protocol and also misbehaves.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::{Method, StatusCode};
use axum::response::{IntoResponse, Response};
use futures_util::{SinkExt as _, StreamExt as _, stream};
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;
use tokio_tungstenite::tungstenite::protocol::Role;

use super::*;
use crate::scheduler::RequestId;

/// How the stand-in behaves at the step that delivers the picture.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mood {
    Faithful,
    Hang,
    Error500,
    CutHeader,
    CutBody,
    Garbage,
    NotBase64,
    Endless,
    JobFails,
}

/// A server of each kind at once; the paths tell them apart.
struct StandIn {
    mood: Mutex<Mood>,
    /// What came in: path and body.
    seen: Mutex<Vec<(String, Value)>>,
    /// Jobs of sd-server and ComfyUI: polls until they are done.
    jobs: Mutex<HashMap<String, u32>>,
    /// The task that A1111 runs.
    active: Mutex<Option<String>>,
    /// What ComfyUI's WebSocket says on each connection before that is cut, the last first. Without
    /// any there is no WebSocket.
    sockets: Mutex<Vec<Vec<Message>>>,
    png: Vec<u8>,
}

type Shared = Arc<StandIn>;

async fn stand_in() -> (Shared, String) {
    let stand_in = Arc::new(StandIn {
        mood: Mutex::new(Mood::Faithful),
        seen: Mutex::default(),
        jobs: Mutex::default(),
        active: Mutex::default(),
        sockets: Mutex::default(),
        png: picture::encode(&[9; 3 * 16 * 16], 16, 16),
    });
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let router = Router::new().fallback(answer).with_state(stand_in.clone());
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
    let mood = *s.mood.lock().unwrap();
    let picture = BASE64.encode(&s.png);
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
            Mood::Faithful | Mood::NotBase64 | Mood::JobFails => {}
        }
    }
    let picture = if mood == Mood::NotBase64 { "***".into() } else { picture };
    respond(&s, &parts.method, &path, &body, mood, &picture)
}

fn respond(
    s: &StandIn,
    method: &Method,
    path: &str,
    body: &Value,
    mood: Mood,
    picture: &str,
) -> Response {
    let text = |value: &Value| value.as_str().unwrap_or("").to_string();
    let ok = |value: Value| value.to_string().into_response();
    let segment = |prefix: &str| path.strip_prefix(prefix).map(str::to_string);
    match (method.as_str(), path) {
        ("GET", "/sdapi/v1/memory" | "/sdcpp/v1/capabilities" | "/health" | "/system_stats") => {
            ok(json!({}))
        }
        // AUTOMATIC1111
        ("POST", "/sdapi/v1/txt2img") if mood == Mood::JobFails => {
            let error = json!({ "error": "", "detail": "Sampler not found" });
            (StatusCode::NOT_FOUND, error.to_string()).into_response()
        }
        ("POST", "/sdapi/v1/txt2img") => {
            ok(json!({ "images": [picture], "parameters": {}, "info": "{}" }))
        }
        ("POST", "/internal/progress") => {
            let active = *s.active.lock().unwrap() == Some(text(&body["id_task"]));
            ok(json!({ "active": active, "queued": false, "completed": !active, "progress": 0.4 }))
        }
        ("POST", "/sdapi/v1/interrupt") => {
            *s.mood.lock().unwrap() = Mood::Faithful;
            ok(json!({}))
        }
        // OpenAI
        ("POST", "/v1/images/generations") if mood == Mood::JobFails => {
            let error = json!({ "error": { "message": "no such model", "type": "x" } });
            (StatusCode::BAD_REQUEST, error.to_string()).into_response()
        }
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
        ("POST", "/queue" | "/interrupt") => StatusCode::OK.into_response(),
        ("GET", path) if path.starts_with("/history/") => {
            let id = segment("/history/").unwrap();
            let mut jobs = s.jobs.lock().unwrap();
            match jobs.get_mut(&id) {
                Some(0) => {
                    let image = json!({ "filename": "a b.png", "subfolder": "", "type": "output" });
                    let status =
                        json!({ "status_str": "success", "completed": true, "messages": [] });
                    ok(
                        json!({ id: { "outputs": { "9": { "images": [image] } }, "status": status } }),
                    )
                }
                Some(polls) => {
                    *polls -= 1;
                    ok(json!({}))
                }
                None => ok(json!({})),
            }
        }
        ("GET", "/view?filename=a%20b.png&subfolder=&type=output") => {
            if mood == Mood::NotBase64 {
                "***".into_response()
            } else {
                s.png.clone().into_response()
            }
        }
        _ => (StatusCode::NOT_FOUND, "no such route").into_response(),
    }
}

const WORKFLOW: &str = r#"{
    "3": {"class_type": "KSampler", "inputs": {"seed": 0, "steps": 20}},
    "5": {"class_type": "EmptyLatentImage", "inputs": {"width": 512, "height": 512}},
    "6": {"class_type": "CLIPTextEncode", "inputs": {"text": ""}},
    "7": {"class_type": "CLIPTextEncode", "inputs": {"text": ""}}
}"#;

const PLACES: [(Input, &str); 6] = [
    (Input::Prompt, "6.text"),
    (Input::NegativePrompt, "7.text"),
    (Input::Seed, "3.seed"),
    (Input::Steps, "3.steps"),
    (Input::Width, "5.width"),
    (Input::Height, "5.height"),
];

const KINDS: [&str; 4] = ["automatic1111", "sdcpp", "openai", "comfyui"];

fn backend(kind: &str, url: &str) -> Arc<dyn Backend> {
    let client = Client::new(url, None).unwrap();
    match kind {
        "automatic1111" => Arc::new(automatic1111::Automatic1111 {
            client,
            sampler: Some("Euler a".into()),
            cfg_scale: 7.0,
            checkpoint: None,
        }),
        "sdcpp" => Arc::new(sdcpp::SdCpp { client, sampler: None, cfg_scale: 7.0 }),
        "openai" => Arc::new(openai::OpenAi { client, model: None }),
        _ => {
            let workflow = Workflow::new(WORKFLOW, &PLACES).unwrap();
            Arc::new(comfyui::ComfyUi { client, workflow })
        }
    }
}

fn job(attempt: u32) -> Job {
    let spec = Spec {
        prompt: "a fox".into(),
        negative_prompt: "blurry".into(),
        width: 16,
        height: 16,
        seed: 77,
    };
    let request = RequestId(uuid::Uuid::from_u128(0x0198_0000_0000_7000_8000_0000_0000_0001));
    Job { run: RunId { request, attempt }, spec, steps: Steps::new(23).unwrap() }
}

#[derive(Default)]
struct Notes(Mutex<(Vec<f64>, Option<String>)>);

impl Watcher for Notes {
    fn progress(&self, share: f64) {
        self.0.lock().unwrap().0.push(share);
    }
    fn ticket(&self, ticket: &str) {
        self.0.lock().unwrap().1 = Some(ticket.into());
    }
}

#[tokio::test]
async fn faithful_servers_deliver_what_was_asked_for() {
    for kind in KINDS {
        let (stand_in, url) = stand_in().await;
        let backend = backend(kind, &url);
        backend.probe().await.unwrap();
        let png = backend.generate(&job(1), &Notes::default()).await.unwrap();
        picture::check(&png, 16, 16).unwrap();
        let seen = stand_in.seen.lock().unwrap();
        // Prompt, negative prompt, seed and steps arrive, wherever the protocol has them.
        let asked = seen.iter().find(|(_, body)| body.to_string().contains("a fox")).unwrap();
        let text = asked.1.to_string();
        for part in ["blurry", "77", "23", "16"] {
            assert!(text.contains(part), "{kind}: {part} is missing in {text}");
        }
    }
}

#[tokio::test]
async fn misbehaviour_is_named() {
    use Mood::*;
    for kind in KINDS {
        for mood in [Error500, CutHeader, CutBody, Garbage, NotBase64, JobFails] {
            let (stand_in, url) = stand_in().await;
            *stand_in.mood.lock().unwrap() = mood;
            let result = backend(kind, &url).generate(&job(1), &Notes::default()).await;
            // A download that is not a picture is found out by the check of the picture.
            let result = result.and_then(|png| picture::check(&png, 16, 16));
            let error = result.expect_err(&format!("{kind} {mood:?}"));
            let refused = match &error {
                BackendError::JobFailed(_) => true,
                BackendError::Status { status, .. } => *status < 500,
                _ => false,
            };
            let expected = match mood {
                Error500 => error.to_string().contains("out of memory"),
                CutHeader | CutBody => matches!(error, BackendError::CutOff(_)),
                JobFails => refused && !error.blames_server(),
                _ => matches!(error, BackendError::Garbage(_) | BackendError::WrongPicture(_)),
            };
            assert!(expected, "{kind} {mood:?}: {error:?}");
        }
    }
}

#[tokio::test]
async fn an_answer_without_end_is_not_read_to_it() {
    let (stand_in, url) = stand_in().await;
    *stand_in.mood.lock().unwrap() = Mood::Endless;
    let client = Client::new(&url, None).unwrap();
    let call = client.call(reqwest::Method::GET, "/view?", None, Client::SMALL).await;
    assert_eq!(call, Err(BackendError::TooLong { limit: Client::SMALL }));
}

#[tokio::test]
async fn nobody_there_is_unreachable() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    drop(listener);
    for kind in KINDS {
        let backend = backend(kind, &url);
        assert!(backend.probe().await.unwrap_err().is_unreachable(), "{kind}");
        let error = backend.generate(&job(1), &Notes::default()).await.unwrap_err();
        assert!(error.is_unreachable(), "{kind}: {error}");
    }
}

#[tokio::test]
async fn comfyui_tells_progress_whatever_else_its_socket_says() {
    let (stand_in, url) = stand_in().await;
    let ours = job(1).uuid().to_string();
    let progress = |value: u32, max: u32, prompt: &str, node: &str| {
        let data = json!({ "value": value, "max": max, "prompt_id": prompt, "node": node });
        Message::Text(json!({ "type": "progress", "data": data }).to_string().into())
    };
    let first = vec![
        Message::Text("{\"type\": \"status\"".into()),
        Message::Text("{\"type\": \"progress\", \"data\": [1, 2]}".into()),
        Message::Binary(vec![0, 0, 0, 1, 255].into()),
        progress(22, 23, "another prompt", "3"),
        progress(9, 10, &ours, "upscaler"),
        progress(7, 23, &ours, "3"),
    ];
    // The connection is cut; the next one starts further back.
    let again = vec![progress(5, 23, &ours, "3"), progress(23, 23, &ours, "3")];
    *stand_in.sockets.lock().unwrap() = vec![again, first];
    *stand_in.mood.lock().unwrap() = Mood::Hang;
    let notes = Arc::new(Notes::default());
    let call = tokio::spawn({
        let (backend, notes) = (backend("comfyui", &url), notes.clone());
        async move { backend.generate(&job(1), &*notes).await }
    });
    let all = async {
        while notes.0.lock().unwrap().0.len() < 2 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    let told = tokio::time::timeout(Duration::from_mins(1), all).await;
    assert!(told.is_ok(), "told: {:?}", notes.0.lock().unwrap().0);
    *stand_in.mood.lock().unwrap() = Mood::Faithful;
    picture::check(&call.await.unwrap().unwrap(), 16, 16).unwrap();
    assert_eq!(notes.0.lock().unwrap().0, [7.0 / 23.0, 1.0]);
    let seen = stand_in.seen.lock().unwrap();
    let (_, asked) = seen.iter().find(|(path, _)| path == "/prompt").unwrap();
    assert_eq!(asked["client_id"], ours, "progress is told to whoever handed the prompt in");
    assert!(seen.iter().any(|(path, _)| *path == format!("/ws?clientId={ours}")));
}

#[tokio::test]
async fn automatic1111_tells_progress_and_interrupts_only_its_own_task() {
    let (stand_in, url) = stand_in().await;
    let backend = backend("automatic1111", &url);
    *stand_in.mood.lock().unwrap() = Mood::Hang;
    let notes = Arc::new(Notes::default());
    let call = tokio::spawn({
        let (backend, notes) = (backend.clone(), notes.clone());
        async move { backend.generate(&job(1), &*notes).await }
    });
    while stand_in.active.lock().unwrap().is_none() || notes.0.lock().unwrap().0.is_empty() {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    assert_eq!(notes.0.lock().unwrap().0[0], 0.4);
    let interrupts = || {
        let seen = stand_in.seen.lock().unwrap();
        seen.iter().filter(|(path, _)| path == "/sdapi/v1/interrupt").count()
    };
    // Another attempt is not what runs there.
    backend.cancel(&job(2), None).await.unwrap();
    assert_eq!(interrupts(), 0);
    assert_eq!(backend.cancel(&job(1), None).await, Ok(Cancelled::Stopping));
    assert_eq!(interrupts(), 1);
    call.await.unwrap().unwrap();
}

#[tokio::test]
async fn jobs_with_names_are_found_again_after_a_restart() {
    for (kind, ticket) in [("sdcpp", Some("job-1")), ("comfyui", None)] {
        let (stand_in, url) = stand_in().await;
        let id = ticket.map_or_else(|| job(1).uuid().to_string(), String::from);
        stand_in.jobs.lock().unwrap().insert(id, 2);
        let backend = backend(kind, &url);
        let png = backend.look_up(&job(1), ticket, &Notes::default()).await.unwrap();
        picture::check(&png, 16, 16).unwrap();
        // Another attempt never ran there.
        let other = ticket.map(|_| "job-2");
        let lost = backend.look_up(&job(2), other, &Notes::default()).await;
        assert_eq!(lost, Err(BackendError::Unknown), "{kind}");
    }
}

#[tokio::test]
async fn comfyui_cancels_by_name() {
    let (stand_in, url) = stand_in().await;
    let backend = backend("comfyui", &url);
    let (mine, other) = (job(1).uuid().to_string(), job(2).uuid().to_string());
    stand_in.jobs.lock().unwrap().insert(other, 100);
    assert_eq!(backend.cancel(&job(1), None).await, Ok(Cancelled::Stopped));
    stand_in.jobs.lock().unwrap().insert(mine.clone(), 100);
    assert_eq!(backend.cancel(&job(1), None).await, Ok(Cancelled::Stopping));
    let seen = stand_in.seen.lock().unwrap();
    let interrupts: Vec<_> = seen.iter().filter(|(path, _)| path == "/interrupt").collect();
    assert_eq!(interrupts.len(), 1, "not while another job runs");
    assert_eq!(interrupts[0].1, json!({ "prompt_id": mine }));
}

#[test]
fn attempts_have_names_of_their_own() {
    assert_ne!(job(1).uuid(), job(2).uuid());
    assert_eq!(job(1).uuid(), job(1).uuid());
    assert_eq!(job(1).uuid().get_version_num(), 7);
}

#[test]
fn workflows_are_checked_when_they_are_read() {
    let check = |json: &str, place: &str, part: &str| {
        let message = Workflow::new(json, &[(Input::Steps, place)]).unwrap_err();
        assert!(message.contains(part), "{message}");
    };
    check("[]", "3.steps", "API format");
    check(WORKFLOW, "steps", "write NODE.INPUT");
    check(WORKFLOW, "4.steps", "the nodes are 3, 5, 6, 7");
    check(WORKFLOW, "3.step", "inputs of node 3 are seed, steps");
    assert!(Client::new("https://x", None).err().unwrap().contains("http://HOST:PORT"));
    assert!(Client::new("nonsense", None).is_err());
}

proptest::proptest! {
    #![proptest_config(proptest::prelude::ProptestConfig {
        cases: 64, ..Default::default()
    })]

    /// Whatever a server sends where the picture should be, the adapter or the check of its picture
    /// answers with an error.
    #[test]
    fn no_answer_makes_an_adapter_panic(
        body in proptest::prop_oneof![
            ".{0,80}",
            r#"\{"images":(\[("[a-zA-Z0-9+/=*]{0,20}",?){0,3}\]|null|3)\}"#,
            r#"\{"data":(\[(\{"b64_json":("[a-z=]{0,9}"|3)\},?){0,2}\]|null)\}"#,
            r#"\{"id":"[a-z/.]{0,5}","prompt_id":"[0-9a-f-]{0,40}","status":"[a-z]{0,9}"\}"#,
        ],
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
            let url = format!("http://{}", listener.local_addr().unwrap());
            let router = Router::new().fallback(move || async move { body });
            tokio::spawn(async move { axum::serve(listener, router).await });
            for kind in KINDS {
                let job = job(1);
                let answer = backend(kind, &url).generate(&job, &Notes::default()).await;
                let (width, height) = (job.spec.width, job.spec.height);
                let result = answer.and_then(|bytes| picture::check(&bytes, width, height));
                assert!(result.is_err_and(|e| e != BackendError::Cancelled), "{kind}");
            }
        });
    }
}
