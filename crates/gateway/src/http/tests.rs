//! The API against a whole gateway in one process, with backends that do as they are told.

use std::collections::VecDeque;
use std::sync::Mutex;

use async_trait::async_trait;
use axum::body::{Body, to_bytes};
use axum::http::{HeaderMap, Method};
use base64::Engine as _;
use bytes::Bytes;
use serde_json::{Value, json};
use tower::ServiceExt;

use super::*;
use crate::backends::{Backend, BackendError, Cancelled, Job, Watcher, picture};
use crate::config::Config;
use crate::gateway::{Gateway, World, rules};

/// What the next run does.
#[derive(Clone, Debug)]
enum Act {
    /// Delivers after so many seconds.
    Deliver(f64),
    /// Fails at once.
    Fail(BackendError),
    /// Never answers.
    Hang,
    /// Delivers these bytes, whatever they are.
    Send(Bytes),
}

/// A backend that acts a script and then delivers at once.
#[derive(Clone, Default)]
struct Scripted(Arc<Mutex<VecDeque<Act>>>);

#[async_trait]
impl Backend for Scripted {
    async fn generate(&self, job: &Job, watcher: &dyn Watcher) -> Result<Bytes, BackendError> {
        let act = self.0.lock().unwrap().pop_front().unwrap_or(Act::Deliver(0.0));
        match act {
            Act::Fail(error) => return Err(error),
            Act::Hang => std::future::pending().await,
            Act::Send(bytes) => return Ok(bytes),
            Act::Deliver(seconds) => {
                watcher.progress(0.5);
                tokio::time::sleep(Duration::from_secs_f64(seconds)).await;
            }
        }
        let (width, height) = (job.spec.width, job.spec.height);
        let rgb = vec![job.spec.seed as u8; (3 * width * height) as usize];
        Ok(picture::encode(&rgb, width, height).into())
    }

    async fn cancel(&self, _: &Job, _: Option<&str>) -> Result<Cancelled, BackendError> {
        Ok(Cancelled::Stopped)
    }

    async fn probe(&self) -> Result<(), BackendError> {
        Ok(())
    }
}

const KEYS: &str = r#"
[[key]]
name = "ann"
sha256 = "2bd806c97f0e00af1a1fc3328fa763a9269723c8db8fac4f93af71db186d6e90" # alice
requests_per_minute = 1000
operator = true
[[key]]
name = "bob"
sha256 = "81b637d8fcd2c6da6359e6963113a1170de795e4b725b84d1e0b4cfd9ec58ce9" # bob
requests_per_minute = 2
"#;

struct Test {
    router: Router,
    gateway: Gateway,
    scripts: Vec<Scripted>,
    folder: tempfile::TempDir,
    key: Option<&'static str>,
}

async fn start_in(folder: tempfile::TempDir, extra: &str) -> Test {
    start_with(folder, extra, |_| ()).await
}

async fn start_with(
    folder: tempfile::TempDir,
    extra: &str,
    change: impl FnOnce(&mut World),
) -> Test {
    let servers = ["a", "b"].map(|name| {
        format!(
            "[[server]]\nname = \"{name}\"\nsteps_per_second = 10.0\nmax_pixels = 65536\n\
             backend = {{ kind = \"demo\" }}\n"
        )
    });
    let text = format!(
        "policy = \"fixed[steps=30]\"\nshadow_policy = \"greedy\"\n{}\n{}\n[defaults]\nwidth = 16\n\
         height = 16\n",
        servers.concat(),
        extra
    );
    let mut config = Config::parse("test.toml", &text).unwrap();
    config.journal = folder.path().join("journal.db");
    let scripts = vec![Scripted::default(), Scripted::default()];
    let backends = scripts.clone();
    let mut world = World::real(Arc::new(rules));
    world.backends = Arc::new(move |server, _| {
        let index = usize::from(server.name.get_ref() == "b");
        Ok(Arc::new(backends[index].clone()))
    });
    change(&mut world);
    let gateway = Gateway::start(config, world).unwrap();
    let router = router(gateway.handle.clone());
    let test = Test { router, gateway, scripts, folder, key: None };
    // The first probes come in.
    while test.get("/readyz").await.status != 200 {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    test
}

async fn start(extra: &str) -> Test {
    start_in(tempfile::tempdir().unwrap(), extra).await
}

struct Answer {
    status: u16,
    headers: HeaderMap,
    body: Bytes,
}

impl Answer {
    fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap()
    }
}

impl Test {
    async fn send(
        &self,
        method: Method,
        path: &str,
        headers: &[(&str, &str)],
        body: &Value,
    ) -> Answer {
        let mut request = Request::builder().method(method).uri(path);
        for (name, value) in [("host", "localhost"), ("content-type", "application/json")] {
            if !headers.iter().any(|(given, _)| *given == name) {
                request = request.header(name, value);
            }
        }
        if let Some(key) = self.key {
            request = request.header("authorization", format!("Bearer {key}"));
        }
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let body = if body.is_null() { Body::empty() } else { Body::from(body.to_string()) };
        let response = self.router.clone().oneshot(request.body(body).unwrap()).await.unwrap();
        let (parts, body) = response.into_parts();
        let body = to_bytes(body, usize::MAX).await.unwrap();
        Answer { status: parts.status.as_u16(), headers: parts.headers, body }
    }

    async fn get(&self, path: &str) -> Answer {
        self.send(Method::GET, path, &[], &Value::Null).await
    }

    async fn post(&self, path: &str, body: &Value) -> Answer {
        self.send(Method::POST, path, &[], body).await
    }

    /// Posts a request and waits for its end.
    async fn finish(&self, body: &Value) -> Value {
        let answer = self.send(Method::POST, "/v1/requests", &[("prefer", "wait=60")], body).await;
        assert_eq!(answer.status, 200, "{:?}", answer.body);
        answer.json()
    }
}

fn red() -> Value {
    json!({ "prompt": "a red circle", "due_in_seconds": 20.0, "seed": 7 })
}

#[tokio::test]
async fn a_request_goes_from_202_to_its_picture() {
    let t = start("").await;
    let accepted = t.post("/v1/requests", &red()).await;
    assert_eq!(accepted.status, 202);
    let view = accepted.json();
    let path = accepted.headers["location"].to_str().unwrap().to_string();
    assert_eq!(path, format!("/v1/requests/{}", view["id"].as_str().unwrap()));
    let decision = &view["decision"];
    assert_eq!((&decision["server"], &decision["steps"]), (&json!("a"), &json!(30)));
    assert!(decision["why"].as_str().unwrap().contains("30 steps on a"), "{decision}");
    assert!(accepted.headers.contains_key("x-atelier-overhead-ms"));
    assert!(accepted.headers.contains_key("traceparent"));

    let done = t.send(Method::GET, &path, &[("prefer", "wait=10")], &Value::Null).await.json();
    assert_eq!(done["state"], "completed");
    assert_eq!(done["result"]["tardiness_seconds"], 0.0);
    let image = t.get(done["result"]["image"].as_str().unwrap()).await;
    assert_eq!(
        (image.status, &image.headers["content-type"]),
        (200, &"image/png".parse().unwrap())
    );
    picture::check(&image.body, 16, 16).unwrap();

    let events = t.get(&format!("{path}/events")).await;
    let text = String::from_utf8(events.body.to_vec()).unwrap();
    assert!(text.starts_with("event: request\ndata: {") && text.contains("completed"), "{text}");
    let list = t.get("/v1/requests?state=completed&server=a&limit=5").await.json();
    assert_eq!(list["requests"][0]["id"], view["id"]);
    assert_eq!(t.get("/v1/requests?state=expired").await.json()["requests"], json!([]));
    assert_eq!(t.get("/v1/requests?stat=expired").await.status, 422);
}

#[tokio::test]
async fn refusals_are_problem_documents() {
    let t = start("").await;
    let refused = t.post("/v1/requests", &json!({ "prompt": "x", "penalty": "cubic" })).await;
    assert_eq!(refused.status, 422);
    assert_eq!(refused.headers["content-type"], "application/problem+json");
    let problem = refused.json();
    assert_eq!((&problem["field"], &problem["status"]), (&json!("penalty"), &json!(422)));
    let check = async |method: Method, path: &str, status: u16, reason: &str| {
        let answer = t.send(method, path, &[], &Value::Null).await;
        assert_eq!((answer.status, &answer.json()["reason"]), (status, &json!(reason)), "{path}");
    };
    let nobody = "/v1/requests/00000000-0000-0000-0000-000000000000";
    check(Method::GET, nobody, 404, "not_found").await;
    check(Method::GET, "/v1/requests/x", 404, "not_found").await;
    check(Method::GET, "/v2", 404, "not_found").await;
    check(Method::PUT, "/v1/requests", 405, "method_not_allowed").await;
    check(Method::POST, "/v1/requests", 400, "not_json").await;
    let stranger = [("host", "evil.example")];
    assert_eq!(t.send(Method::GET, "/v1/servers", &stranger, &Value::Null).await.status, 403);
    let page =
        t.send(Method::POST, "/v1/requests", &[("content-type", "text/plain")], &red()).await;
    assert_eq!(page.status, 415);
    let large = json!({ "prompt": "x".repeat(70_000) });
    assert_eq!(t.post("/v1/requests", &large).await.status, 413);
    let wide = json!({ "prompt": "x", "width": 512, "height": 512 });
    assert_eq!(t.post("/v1/requests", &wide).await.status, 422);
}

#[tokio::test]
async fn a_key_makes_one_request_alive_or_ended() {
    let t = start("").await;
    let key = [("idempotency-key", "k1")];
    t.scripts[0].0.lock().unwrap().push_back(Act::Deliver(0.1));
    let first = t.send(Method::POST, "/v1/requests", &key, &red()).await;
    let again = t.send(Method::POST, "/v1/requests", &key, &red()).await;
    assert_eq!((first.status, again.status), (202, 200));
    assert_eq!(first.json()["id"], again.json()["id"]);
    let path = format!("/v1/requests/{}", first.json()["id"].as_str().unwrap());
    t.send(Method::GET, &path, &[("prefer", "wait=10")], &Value::Null).await;
    let ended = t.send(Method::POST, "/v1/requests", &key, &red()).await;
    assert_eq!((ended.status, &ended.json()["state"]), (200, &json!("completed")));
    let other = t.send(Method::POST, "/v1/requests", &key, &json!({ "prompt": "y" })).await;
    assert_eq!((other.status, &other.json()["reason"]), (422, &json!("idempotency_key_reused")));
}

#[tokio::test]
async fn whatever_a_backend_does_the_request_is_run_elsewhere() {
    let t = start("").await;
    let cut = picture::encode(&[0; 3 * 16 * 16], 16, 16);
    let faults = [
        Act::Fail(BackendError::Status { status: 500, message: "out of memory".into() }),
        Act::Fail(BackendError::CutOff("reset".into())),
        Act::Send(Bytes::from_static(b"garbage")),
        Act::Send(picture::encode(&[0; 3 * 8 * 8], 8, 8).into()),
        Act::Send(Bytes::from(cut[..cut.len() / 2].to_vec())),
    ];
    for fault in faults {
        t.scripts[0].0.lock().unwrap().push_back(fault.clone());
        let done = t.finish(&red()).await;
        assert_eq!(done["state"], "completed", "{fault:?}: {done}");
        assert_eq!(
            (&done["result"]["server"], &done["result"]["attempts"]),
            (&json!("b"), &json!(2))
        );
        assert_eq!(done["decision"]["cause"], "retry");
        // The health counter of the first server starts again.
        t.finish(&red()).await;
    }
}

#[tokio::test]
async fn what_fails_everywhere_says_why() {
    let t = start("").await;
    for script in &t.scripts {
        let error = BackendError::JobFailed("the model is missing".into());
        script.0.lock().unwrap().extend(vec![Act::Fail(error); 3]);
    }
    let done = t.finish(&red()).await;
    assert_eq!(done["state"], "failed");
    let reason = done["reason"].as_str().unwrap();
    assert!(reason.contains("the model is missing") && reason.starts_with("server "), "{reason}");
    let image = t.get(&format!("/v1/requests/{}/image", done["id"].as_str().unwrap())).await;
    assert_eq!(image.status, 409);
}

#[tokio::test(start_paused = true)]
async fn a_backend_that_hangs_is_given_up() {
    let t = start("[limits]\nrun_seconds = 5.0\n").await;
    t.scripts[0].0.lock().unwrap().push_back(Act::Hang);
    let done = t.finish(&red()).await;
    assert_eq!((&done["state"], &done["result"]["server"]), (&json!("completed"), &json!("b")));
}

#[tokio::test]
async fn a_server_that_cannot_be_reached_is_left_alone() {
    let t = start("").await;
    let gone = BackendError::Unreachable("connection refused".into());
    t.scripts[0].0.lock().unwrap().push_back(Act::Fail(gone));
    let done = t.finish(&red()).await;
    assert_eq!(done["result"]["server"], "b");
    let servers = t.get("/v1/servers").await.json();
    assert_eq!(servers["servers"][0]["healthy"], false);
    assert_eq!(servers["servers"][0]["enabled"], true);
    assert!(servers["servers"][0]["trouble"].as_str().unwrap().contains("refused"));
}

#[tokio::test]
async fn cancelling_stops_a_run_and_frees_its_server() {
    let t = start("").await;
    t.scripts[0].0.lock().unwrap().push_back(Act::Hang);
    let accepted = t.post("/v1/requests", &red()).await.json();
    let path = format!("/v1/requests/{}", accepted["id"].as_str().unwrap());
    let cancelled = t.send(Method::DELETE, &path, &[], &Value::Null).await;
    assert_eq!((cancelled.status, &cancelled.json()["state"]), (200, &json!("cancelled")));
    let again = t.send(Method::DELETE, &path, &[], &Value::Null).await;
    assert_eq!(again.status, 200, "cancelling is idempotent");
    assert_eq!(t.finish(&red()).await["state"], "completed");
    let done = t.finish(&red()).await;
    let path = format!("/v1/requests/{}", done["id"].as_str().unwrap());
    assert_eq!(t.send(Method::DELETE, &path, &[], &Value::Null).await.status, 409);
}

#[tokio::test]
async fn overload_is_refused_with_a_time_to_come_back() {
    let t = start("[limits]\nwaiting = 2\n").await;
    for script in &t.scripts {
        script.0.lock().unwrap().push_back(Act::Hang);
    }
    for _ in 0..4 {
        assert_eq!(t.post("/v1/requests", &red()).await.status, 202);
    }
    let refused = t.post("/v1/requests", &red()).await;
    assert_eq!((refused.status, &refused.json()["reason"]), (429, &json!("queue_full")));
    // 30 steps at 10 per second have just begun.
    assert_eq!(refused.headers["retry-after"], "3");
}

#[tokio::test]
async fn draining_servers_take_nothing_and_without_any_it_is_503() {
    let t = start("").await;
    let drain = async |name: &str, enabled: bool| {
        let path = format!("/v1/servers/{name}");
        t.send(Method::PATCH, &path, &[], &json!({ "enabled": enabled })).await.status
    };
    assert_eq!(drain("a", false).await, 200);
    assert_eq!(t.finish(&red()).await["result"]["server"], "b");
    assert_eq!(drain("b", false).await, 200);
    let refused = t.post("/v1/requests", &red()).await;
    assert_eq!((refused.status, &refused.json()["reason"]), (503, &json!("no_server")));
    assert!(refused.headers.contains_key("retry-after"));
    assert_eq!(t.get("/readyz").await.status, 503);
    assert_eq!(t.get("/healthz").await.status, 200);
    assert_eq!(drain("a", true).await, 200);
    assert_eq!(t.finish(&red()).await["result"]["server"], "a");
    assert_eq!(drain("zebra", true).await, 404);
}

#[tokio::test]
async fn requests_belong_to_the_key_that_made_them() {
    let mut t = start(KEYS).await;
    assert_eq!(t.get("/v1/requests").await.status, 401);
    t.key = Some("alice");
    let done = t.finish(&red()).await;
    let path = format!("/v1/requests/{}", done["id"].as_str().unwrap());
    assert_eq!(t.get(&path).await.status, 200);
    t.key = Some("bob");
    for path in [path.clone(), format!("{path}/image"), format!("{path}/events")] {
        assert_eq!(t.get(&path).await.status, 404, "{path}");
    }
    assert_eq!(t.send(Method::DELETE, &path, &[], &Value::Null).await.status, 404);
    assert_eq!(t.get("/v1/requests").await.json()["requests"], json!([]));
    let drain = json!({ "enabled": false });
    assert_eq!(t.send(Method::PATCH, "/v1/servers/a", &[], &drain).await.status, 403);
    for expected in [202, 202, 429] {
        assert_eq!(t.post("/v1/requests", &red()).await.status, expected);
    }
}

#[tokio::test]
async fn quotes_say_what_would_be_decided_and_change_nothing() {
    let t = start("").await;
    let quote = t.post("/v1/quotes", &json!({ "prompt": "x", "max_steps": 12 })).await;
    assert_eq!(quote.status, 200);
    let quote = quote.json();
    assert_eq!((&quote["server"], &quote["steps"]), (&json!("a"), &json!(12)));
    assert!(quote["why"].as_str().unwrap().contains("asked for 30 steps"));
    assert_eq!(t.get("/v1/requests").await.json()["requests"], json!([]));
}

#[tokio::test]
async fn policies_are_changed_without_a_restart() {
    let t = start("").await;
    let put = async |policy: &str| {
        let body = json!({ "policy": policy });
        t.send(Method::PUT, "/v1/policy", &[], &body).await
    };
    assert_eq!(put("fixed[steps=9]").await.status, 204);
    assert_eq!(t.finish(&red()).await["result"]["steps"], 9);
    let missing = put("agent[no/where]").await;
    assert_eq!((missing.status, &missing.json()["field"]), (422, &json!("policy")));
    assert_eq!(put("best").await.status, 422);
    assert_eq!(t.finish(&red()).await["result"]["steps"], 9, "the present one stays");
}

#[tokio::test]
async fn the_openai_client_gets_its_picture() {
    let t = start("").await;
    let body = json!({
        "model": "gpt-image-1", "prompt": "x", "n": 2, "size": "16x24", "quality": "high",
        "user": "u", "due_in_seconds": 30, "penalty": "quadratic"
    });
    let answer = t.post("/v1/images/generations", &body).await;
    assert_eq!(answer.status, 200, "{:?}", answer.body);
    let data = answer.json()["data"].as_array().unwrap().clone();
    assert_eq!(data.len(), 2);
    for picture in data {
        let text = picture["b64_json"].as_str().unwrap();
        let png = base64::engine::general_purpose::STANDARD.decode(text).unwrap();
        picture::check(&png, 16, 24).unwrap();
    }
    let check = async |body: Value, param: &str| {
        let answer = t.post("/v1/images/generations", &body).await;
        assert_eq!((answer.status, &answer.json()["error"]["param"]), (400, &json!(param)));
        assert_eq!(answer.json()["error"]["type"], "invalid_request_error");
    };
    check(json!({ "prompt": "x", "size": "big" }), "size").await;
    check(json!({ "prompt": "x", "n": 11 }), "n").await;
    check(json!({ "prompt": "x", "stream": true }), "stream").await;
    check(json!({ "prompt": "x", "penalty": "cubic" }), "penalty").await;
    check(json!({ "prompt": "x", "colour": 1 }), "colour").await;
    let headers = [("x-atelier-due-in-seconds", "-1")];
    let late =
        t.send(Method::POST, "/v1/images/generations", &headers, &json!({"prompt": "x"})).await;
    assert_eq!(late.status, 400);
    assert_eq!(t.get("/v1/models").await.json()["data"][0]["id"], "atelier");
}

#[tokio::test]
async fn a_clean_stop_loses_nothing() {
    let t = start("").await;
    for script in &t.scripts {
        script.0.lock().unwrap().push_back(Act::Hang);
    }
    let mut ids = Vec::new();
    for _ in 0..5 {
        ids.push(t.post("/v1/requests", &red()).await.json()["id"].as_str().unwrap().to_string());
    }
    let Test { gateway, folder, .. } = t;
    gateway.stop(Duration::from_millis(50)).await;
    let t = start_in(folder, "").await;
    for id in ids {
        let path = format!("/v1/requests/{id}");
        let done = t.send(Method::GET, &path, &[("prefer", "wait=10")], &Value::Null).await.json();
        assert_eq!(done["state"], "completed", "{done}");
    }
}

#[tokio::test]
async fn metrics_tell_what_happened() {
    let t = start("").await;
    t.finish(&red()).await;
    t.post("/v1/requests", &json!({ "prompt": "x", "seed": -1 })).await;
    let text = String::from_utf8(t.get("/metrics").await.body.to_vec()).unwrap();
    for line in [
        "atelier_requests_accepted_total 1",
        "atelier_requests_ended_total{outcome=\"completed\"} 1",
        "atelier_requests_rejected_total{reason=\"invalid_field\"} 1",
        "atelier_server_healthy{server=\"a\"} 1",
        "atelier_tardiness_seconds_count{server=\"a\"} 1",
        "atelier_prediction_error_ratio_count{server=\"a\"} 1",
        "atelier_live 0",
    ] {
        assert!(text.lines().any(|l| l == line), "{line} is missing in\n{text}");
    }
}

#[tokio::test]
async fn the_shadow_policy_is_shown_beside_the_one_that_decides() {
    let t = start("").await;
    // `greedy` asks for the most steps: within these bounds it agrees with 30, else it does not.
    let bounded = json!({ "prompt": "x", "min_steps": 30, "max_steps": 30 });
    for (body, agrees) in [(bounded, true), (red(), false)] {
        let done = t.finish(&body).await;
        let (decision, shadow) = (&done["decision"], &done["decision"]["shadow"]);
        assert_eq!(shadow["agrees"], agrees, "{decision}");
        let same = ["server", "steps"].iter().all(|field| shadow[field] == decision[field]);
        assert_eq!(same, agrees, "{decision}");
        // From the journal as well as from memory.
        let path = format!("/v1/requests/{}", done["id"].as_str().unwrap());
        assert_eq!(t.get(&path).await.json()["decision"]["shadow"], *shadow);
    }
    let text = String::from_utf8(t.get("/metrics").await.body.to_vec()).unwrap();
    for agrees in ["true", "false"] {
        let line = format!(
            "atelier_shadow_decisions_total{{policy=\"greedy\",against=\"fixed[steps=30]\",\
             agrees=\"{agrees}\"}} 1"
        );
        assert!(text.lines().any(|l| l == line), "{line} is missing in\n{text}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_picture_is_kept_then_gone_then_forgotten() {
    let t = start("[limits]\nkeep_seconds = 60\nremember_seconds = 600\n").await;
    let done = t.finish(&red()).await;
    let path = format!("/v1/requests/{}", done["id"].as_str().unwrap());
    let image = format!("{path}/image");
    for (seconds, request, picture) in
        [(0, 200, 200), (50, 200, 200), (20, 200, 410), (560, 200, 410), (60, 404, 404)]
    {
        tokio::time::sleep(Duration::from_secs(seconds)).await;
        let statuses = (t.get(&path).await.status, t.get(&image).await.status);
        assert_eq!(statuses, (request, picture), "{seconds} s later");
        if picture == 410 {
            assert_eq!(t.get(&image).await.json()["reason"], "picture_gone");
        }
    }
}

#[tokio::test]
async fn clients_that_stall_are_cut_off() {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    let t = start("[limits]\nclient_seconds = 0.2\n").await;
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let limits = t.gateway.handle.config.limits.clone();
    let router = t.router.clone();
    tokio::spawn(async move { serve(listener, router, &limits, std::future::pending()).await });
    let head = "POST /v1/requests HTTP/1.1\r\nhost: localhost\r\n";
    let half_body =
        format!("{head}content-type: application/json\r\ncontent-length: 50\r\n\r\n{{\"prompt\": ");
    // Nothing is answered to half a header; half a body is told why.
    for (sent, reason) in [("", None), (head, None), (&*half_body, Some("body_too_slow"))] {
        let mut stream = tokio::net::TcpStream::connect(address).await.unwrap();
        stream.write_all(sent.as_bytes()).await.unwrap();
        let mut answer = String::new();
        let end = tokio::time::timeout(Duration::from_secs(30), stream.read_to_string(&mut answer));
        end.await.unwrap_or_else(|_| panic!("still connected after {sent:?}: {answer}")).unwrap();
        match reason {
            None => assert!(!answer.starts_with("HTTP/1.1 2"), "{answer}"),
            Some(reason) => {
                assert!(answer.starts_with("HTTP/1.1 408") && answer.contains(reason), "{answer}");
            }
        }
    }
    assert_eq!(t.get("/v1/requests").await.json()["requests"], json!([]));
}

/// Whether a value is of the form that the document promises: types, required fields, no others.
fn fits(document: &Value, schema: &Value, value: &Value, path: &str) {
    let schema = match schema["$ref"].as_str() {
        Some(name) => document.pointer(name.trim_start_matches('#')).unwrap(),
        None => schema,
    };
    let type_of = match value {
        Value::Null => "null",
        Value::Bool(_) => "boolean",
        Value::Number(n) if n.is_f64() => "number",
        Value::Number(_) => "integer",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    };
    let types: Vec<_> = match &schema["type"] {
        Value::Array(types) => types.iter().map(|t| t.as_str().unwrap()).collect(),
        one => vec![one.as_str().unwrap()],
    };
    let fitting = types.contains(&type_of) || (type_of == "integer" && types.contains(&"number"));
    assert!(fitting, "{path} is a {type_of}, promised is {types:?}");
    if let Some(words) = schema["enum"].as_array() {
        assert!(words.contains(value), "{path} is {value}, promised is {words:?}");
    }
    for item in value.as_array().into_iter().flatten() {
        fits(document, &schema["items"], item, &format!("{path}[]"));
    }
    if let Some(fields) = value.as_object() {
        for (name, value) in fields {
            let promised = &schema["properties"][name];
            assert!(!promised.is_null(), "{path}.{name} is not promised");
            fits(document, promised, value, &format!("{path}.{name}"));
        }
        for name in schema["required"].as_array().into_iter().flatten() {
            assert!(fields.contains_key(name.as_str().unwrap()), "{path} lacks {name}");
        }
    }
}

#[tokio::test]
async fn answers_are_of_the_documented_form() {
    let t = start("").await;
    let document = t.get("/openapi.json").await.json();
    assert_eq!(document["openapi"], "3.1.0");
    let schema = |name: &str| document["components"]["schemas"][name].clone();
    let check = |name: &str, value: &Value| fits(&document, &schema(name), value, name);
    check("Decision", &t.post("/v1/quotes", &red()).await.json());
    check("Request", &t.post("/v1/requests", &red()).await.json());
    check("Request", &t.finish(&red()).await);
    for script in &t.scripts {
        let error = BackendError::JobFailed("no".into());
        script.0.lock().unwrap().extend(vec![Act::Fail(error); 3]);
    }
    check("Request", &t.finish(&red()).await);
    check("Page", &t.get("/v1/requests").await.json());
    check("Servers", &t.get("/v1/servers").await.json());
    check("Problem", &t.post("/v1/requests", &json!({})).await.json());
    check("Images", &t.post("/v1/images/generations", &json!({ "prompt": "x" })).await.json());
    check("OpenAiError", &t.post("/v1/images/generations", &json!({})).await.json());
    // The document lists the fields that the parsers know: an unknown one is answered with them.
    for (path, name) in [("/v1/requests", "NewRequest"), ("/v1/images/generations", "Generation")] {
        let answer = t.post(path, &json!({ "zebra": 1 })).await;
        let text = String::from_utf8(answer.body.to_vec()).unwrap();
        for field in schema(name)["properties"].as_object().unwrap().keys() {
            assert!(text.contains(&format!("`{field}`")), "{path} does not take {field}: {text}");
        }
        let known = text.matches('`').count() / 2 - 1;
        assert_eq!(known, schema(name)["properties"].as_object().unwrap().len(), "{text}");
    }
}

#[tokio::test]
async fn every_route_is_documented_and_every_documented_route_exists() {
    let t = start("").await;
    let document = t.get("/openapi.json").await.json();
    let documented = document["paths"].as_object().unwrap();
    for (path, methods) in documented {
        let path = path.replace("{id}", "00000000-0000-0000-0000-000000000000");
        let path = path.replace("{name}", "a");
        for method in ["get", "post", "put", "patch", "delete"] {
            let verb = Method::from_bytes(method.to_uppercase().as_bytes()).unwrap();
            let status = t.send(verb, &path, &[], &Value::Null).await.status;
            let exists = status != 405;
            assert_eq!(exists, methods.get(method).is_some(), "{method} {path}: {status}");
        }
    }
    let routes = include_str!("mod.rs").matches(".route(\"").count();
    assert_eq!(routes, documented.len());
}

#[tokio::test]
async fn the_journal_becomes_an_instance() {
    let t = start("").await;
    for due in [5.0, 20.0, 60.0] {
        t.finish(&json!({ "prompt": "x", "due_in_seconds": due, "penalty": "quadratic" })).await;
    }
    t.finish(&json!({ "prompt": "x", "width": 32 })).await;
    let journal = t.folder.path().join("journal.db");
    let exported = crate::export::export(&journal, &t.gateway.handle.config).unwrap();
    assert_eq!(exported.other_sizes, 1);
    let requests = exported.instance.requests();
    assert_eq!((requests.len(), requests[0].arrival.seconds()), (4, 0.0));
    for (request, due) in requests.iter().zip([5.0, 20.0, 60.0, 30.0]) {
        assert!((request.slack().seconds() - due).abs() < 1e-6);
    }
    assert_eq!(requests[1].penalty, scheduling::TardinessPenalty::Quadratic);
    // What commands read back.
    let json = exported.instance.to_json();
    assert_eq!(scheduling::Instance::from_json(&json).unwrap(), exported.instance);
    let empty = tempfile::tempdir().unwrap();
    let missing = crate::export::export(&empty.path().join("none.db"), &t.gateway.handle.config);
    assert!(missing.unwrap_err().to_string().contains("none.db"));
}

/// A disk that fills up and is made room on again.
struct Disk {
    journal: crate::journal::Sqlite,
    full: Arc<std::sync::atomic::AtomicBool>,
}

impl crate::journal::Journal for Disk {
    fn append(
        &mut self,
        batch: &[crate::journal::Record],
    ) -> Result<Vec<crate::journal::Fate>, crate::journal::JournalError> {
        if self.full.load(std::sync::atomic::Ordering::SeqCst) {
            return Err(crate::journal::JournalError("database or disk is full".into()));
        }
        self.journal.append(batch)
    }
}

#[tokio::test]
async fn on_a_full_disk_nothing_is_promised_and_nothing_is_lost() {
    let folder = tempfile::tempdir().unwrap();
    let full = Arc::new(std::sync::atomic::AtomicBool::new(false));
    let disk = full.clone();
    let wrap = move |world: &mut World| {
        world.journal = Box::new(move |journal| Box::new(Disk { journal, full: disk }));
    };
    let t = start_with(folder, "", wrap).await;
    t.scripts[0].0.lock().unwrap().push_back(Act::Deliver(0.2));
    let accepted = t.post("/v1/requests", &red()).await.json();
    let path = format!("/v1/requests/{}", accepted["id"].as_str().unwrap());
    full.store(true, std::sync::atomic::Ordering::SeqCst);
    let refused = t.post("/v1/requests", &red()).await;
    assert_eq!((refused.status, &refused.json()["reason"]), (503, &json!("journal_unavailable")));
    tokio::time::sleep(Duration::from_millis(400)).await;
    let state = t.get(&path).await.json()["state"].clone();
    assert_eq!(state, "running", "its end is not durable, so it is not told");
    let list = t.get("/v1/requests").await.json();
    assert_eq!(list["requests"].as_array().unwrap().len(), 1, "what was refused left no trace");
    full.store(false, std::sync::atomic::Ordering::SeqCst);
    let done = t.send(Method::GET, &path, &[("prefer", "wait=10")], &Value::Null).await.json();
    assert_eq!(done["state"], "completed");
    assert_eq!(t.finish(&red()).await["state"], "completed", "business as usual");
}
