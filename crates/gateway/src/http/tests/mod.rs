//! The API against a whole gateway in one process, with backends that do as they are told.

mod abuse;
mod automatic1111;
mod callbacks;
mod chaos;
mod connections;
mod document;
mod duplicates;
mod endings;
mod faults;
mod fleet;
mod limits;
mod live;
mod openai;
mod operation;
mod origins;
mod parsers;
mod preview;
mod reload;
mod requests;
mod restarts;
mod servers;
mod workshop;

use std::collections::VecDeque;
use std::path::Path;
use std::sync::Mutex;

use async_trait::async_trait;
use axum::body::{Body, to_bytes};
use axum::http::{HeaderMap, Method};
use base64::Engine as _;
use bytes::Bytes;
use serde_json::{Value, json};
use tower::ServiceExt;

use super::*;
use crate::backends::tests::WORKFLOW;
use crate::backends::{
    Backend, BackendError, Cancelled, Job, Painted, Preview, Timing, Watcher, picture,
};
use crate::config::Config;
use crate::gateway::{Gateway, World};
use crate::policies::rules;
use crate::timeline::WallClock;

/// What the next run does.
#[derive(Clone, Debug)]
enum Act {
    /// Delivers after so many seconds.
    Deliver(f64),
    /// Fails at once.
    Fail(BackendError),
    /// Never answers.
    Hang,
    /// Shows these bytes as a preview and never answers.
    Show(&'static [u8]),
    /// Delivers these bytes, whatever they are.
    Send(Bytes),
}

/// A backend that acts a script and then delivers at once.
#[derive(Clone, Default)]
struct Scripted(Arc<Mutex<VecDeque<Act>>>);

#[async_trait]
impl Backend for Scripted {
    async fn generate(&self, job: &Job, watcher: &dyn Watcher) -> Result<Painted, BackendError> {
        let act = self.0.lock().unwrap().pop_front().unwrap_or(Act::Deliver(0.0));
        match act {
            Act::Fail(error) => return Err(error),
            Act::Hang => std::future::pending().await,
            Act::Show(bytes) => {
                if let Some(preview) = Preview::of(Bytes::from_static(bytes)) {
                    watcher.preview(preview);
                }
                watcher.progress(0.5);
                std::future::pending::<()>().await;
            }
            Act::Send(png) => return Ok(Painted { png, timing: Timing::Direct }),
            Act::Deliver(seconds) => {
                watcher.progress(0.5);
                tokio::time::sleep(Duration::from_secs_f64(seconds)).await;
            }
        }
        let (width, height) = (job.spec.width, job.spec.height);
        let rgb = vec![job.spec.seed as u8; (3 * width * height) as usize];
        let png = picture::encode(&rgb, width, height).into();
        Ok(Painted { png, timing: Timing::Direct })
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
    let test = start_cold(folder, extra, change);
    test.ready().await;
    test
}

/// A gateway with something before the tables of its configuration.
async fn start_first(first: &str) -> Test {
    let servers = ["a", "b"].map(|name| {
        format!(
            "[[server]]\nname = \"{name}\"\nsteps_per_second = 10.0\nbackend = {{ kind = \"demo\" }}\n"
        )
    });
    let defaults = "[defaults]\nwidth = 16\nheight = 16\n";
    let text = format!("policy = \"fixed[steps=30]\"\n{first}\n{}{defaults}", servers.concat());
    let test = start_as(tempfile::tempdir().unwrap(), &text, |_| ());
    test.ready().await;
    test
}

/// A gateway whose servers have not been asked yet.
fn start_cold(folder: tempfile::TempDir, extra: &str, change: impl FnOnce(&mut World)) -> Test {
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
    start_as(folder, &text, change)
}

/// The same with a whole configuration, in which the second server is called "b".
fn start_as(folder: tempfile::TempDir, text: &str, change: impl FnOnce(&mut World)) -> Test {
    let mut config = Config::parse("test.toml", text).unwrap();
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
    Test { gateway, scripts, folder, key: None }
}

/// A server of some kind at this address, in the configuration.
fn real_server(kind: &str, url: &str, folder: &Path) -> String {
    let workflow = folder.join("workflow.json");
    std::fs::write(&workflow, WORKFLOW).unwrap();
    let more = match kind {
        "comfyui" => format!(
            ", workflow = {workflow:?}, inputs = {{ prompt = \"6.text\", seed = \"3.seed\", \
             steps = \"3.steps\", width = \"5.width\", height = \"5.height\" }}"
        ),
        _ => String::new(),
    };
    // These two are asked again and again until the picture is there.
    let overhead = if matches!(kind, "sdcpp" | "comfyui") { 0.4 } else { 0.0 };
    format!(
        "[[server]]\nname = \"{kind}\"\nsteps_per_second = 1000.0\n\
         overhead_seconds = {overhead:?}\nlearn_speed = false\n\
         backend = {{ kind = \"{kind}\", url = \"{url}\"{more} }}\n"
    )
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
        let mut request = Request::builder().method(&method).uri(path);
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
        let response = self.gateway.router().oneshot(request.body(body).unwrap()).await.unwrap();
        let (parts, body) = response.into_parts();
        let body = to_bytes(body, usize::MAX).await.unwrap();
        document::promises(&method, path, parts.status.as_u16(), &parts.headers);
        Answer { status: parts.status.as_u16(), headers: parts.headers, body }
    }

    /// An answer whose end is not waited for.
    async fn begin(&self, path: &str) -> Response {
        let mut request = Request::builder().uri(path).header("host", "localhost");
        if let Some(key) = self.key {
            request = request.header("authorization", format!("Bearer {key}"));
        }
        self.gateway.router().oneshot(request.body(Body::empty()).unwrap()).await.unwrap()
    }

    /// Waits until the first probes have come in.
    async fn ready(&self) {
        while self.get("/readyz").await.status != 200 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
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
