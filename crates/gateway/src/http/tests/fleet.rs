//! A fleet: two painters, a ComfyUI and an AUTOMATIC1111, each with some of three models and room for
//! one of them.

use std::sync::atomic::{AtomicU32, Ordering};

use rusqlite::Connection;
use scheduling::{Generator, Purpose};

use super::*;
use crate::backends::tests::stand_in::{Shared, stand_in};
use crate::config;

/// Time to load a model.
const LOAD: f64 = 0.3;

/// A painter that counts its loads.
struct Counted {
    painter: Arc<dyn Backend>,
    loads: Arc<AtomicU32>,
    gate: Gate,
}

/// Loads begin while nobody holds it.
type Gate = Arc<tokio::sync::Mutex<()>>;

#[async_trait]
impl Backend for Counted {
    async fn generate(&self, job: &Job, watcher: &dyn Watcher) -> Result<Painted, BackendError> {
        let loaded = self.painter.loaded().await?.unwrap_or_default();
        if !loaded.contains(job.spec.model.as_ref().unwrap()) {
            self.loads.fetch_add(1, Ordering::Relaxed);
            drop(self.gate.lock().await);
        }
        self.painter.generate(job, watcher).await
    }
    async fn cancel(&self, job: &Job, ticket: Option<&str>) -> Result<Cancelled, BackendError> {
        self.painter.cancel(job, ticket).await
    }
    async fn probe(&self) -> Result<(), BackendError> {
        self.painter.probe().await
    }
    async fn loaded(&self) -> Result<Option<Vec<String>>, BackendError> {
        self.painter.loaded().await
    }
}

struct Fleet {
    test: Test,
    /// Loads of the two painters.
    painters: Vec<Arc<AtomicU32>>,
    gate: Gate,
    comfyui: Shared,
    automatic1111: Shared,
}

async fn fleet(policy: &str) -> Fleet {
    fleet_with(policy, "").await
}

/// A fleet with further settings at the top of its configuration.
async fn fleet_with(policy: &str, settings: &str) -> Fleet {
    let folder = tempfile::tempdir().unwrap();
    let workflow = folder.path().join("workflow.json");
    let loader =
        r#"{ "4": {"class_type": "CheckpointLoaderSimple", "inputs": {"ckpt_name": "x"}},"#;
    std::fs::write(&workflow, WORKFLOW.replacen('{', loader, 1)).unwrap();
    let ((comfyui, studio), (automatic1111, web)) = (stand_in().await, stand_in().await);
    for (server, checkpoint) in [(&comfyui, "xl.safetensors"), (&automatic1111, "v1-5")] {
        *server.load.lock().unwrap() = Duration::from_secs_f64(LOAD);
        *server.checkpoint.lock().unwrap() = checkpoint.into();
    }
    let hosted = |models: &[&str]| {
        let models = models.iter().map(|model| {
            let checkpoint = match *model {
                "sdxl" => ", checkpoint = \"xl.safetensors\"",
                "sd15" => ", checkpoint = \"v1-5\"",
                _ => "",
            };
            format!("{model} = {{ load_seconds = {LOAD}{checkpoint} }}")
        });
        format!("models = {{ {} }}", models.collect::<Vec<_>>().join(", "))
    };
    let server = |name: &str, rate: f64, overhead: f64, models: &[&str], backend: String| {
        format!(
            "[[server]]\nname = \"{name}\"\nsteps_per_second = {rate:?}\noverhead_seconds = {overhead:?}\n\
             learn_speed = false\nloaded = [{:?}]\n{}\nbackend = {{ {backend} }}\n",
            models[0],
            hosted(models),
        )
    };
    let demo = || "kind = \"demo\"".to_string();
    let text = [
        format!("policy = \"{policy}\"\n{settings}\n[defaults]\nwidth = 16\nheight = 16\nmodel = \"sd15\"\n"),
        ["sd15", "sdxl", "flux"].map(|name| format!("[[model]]\nname = \"{name}\"\n")).concat(),
        "[objective]\ntardiness_weight = 45.0\n[limits]\nwaiting = 1000\n[health]\ntrials = false\n".into(),
        server("master", 400.0, 0.0, &["sd15", "sdxl", "flux"], demo()),
        server("apprentice", 200.0, 0.0, &["flux", "sd15"], demo()),
        server("web", 500.0, 0.0, &["sd15", "sdxl", "flux"], {
            format!("kind = \"automatic1111\", url = \"{web}\"")
        }),
        server("studio", 1000.0, 0.45, &["sdxl", "sd15"], {
            format!(
                "kind = \"comfyui\", url = \"{studio}\", workflow = {workflow:?}, inputs = {{ \
                 prompt = \"6.text\", seed = \"3.seed\", steps = \"3.steps\", width = \"5.width\", \
                 height = \"5.height\", checkpoint = \"4.ckpt_name\" }}"
            )
        }),
    ];
    let mut config = Config::parse("fleet.toml", &text.concat()).unwrap();
    config.journal = folder.path().join("journal.db");
    let mut world = World::real(Arc::new(rules));
    let painters: Vec<_> = (0..2).map(|_| Arc::new(AtomicU32::new(0))).collect();
    let gate = Gate::default();
    let (counters, held) = (painters.clone(), gate.clone());
    world.backends = Arc::new(move |server, config| {
        let backend = config::connect(server, config)?;
        let counter = match server.name.get_ref().as_str() {
            "master" => &counters[0],
            "apprentice" => &counters[1],
            _ => return Ok(backend),
        };
        let (loads, gate) = (counter.clone(), held.clone());
        Ok(Arc::new(Counted { painter: backend, loads, gate }))
    });
    let gateway = Gateway::start(config, world).unwrap();
    let test = Test { gateway, scripts: Vec::new(), folder, key: None };
    test.ready().await;
    Fleet { test, painters, gate, comfyui, automatic1111 }
}

impl Fleet {
    /// Loads by server, as the backends count them.
    fn loads(&self) -> [u32; 4] {
        let painter = |index: usize| self.painters[index].load(Ordering::Relaxed);
        let stand_in = |server: &Shared| *server.loads.lock().unwrap();
        [painter(0), painter(1), stand_in(&self.automatic1111), stand_in(&self.comfyui)]
    }

    /// Loads by server, as they stand in the journal.
    fn journalled(&self) -> [u32; 4] {
        let journal = Connection::open(self.test.folder.path().join("journal.db")).unwrap();
        ["master", "apprentice", "web", "studio"].map(|server| {
            let count = "SELECT count(*) FROM runs WHERE load > 0 AND server = ?1";
            journal.query_row(count, [server], |r| r.get(0)).unwrap()
        })
    }

    /// Mixed requests, one every so often on average; all of them have a picture in the end.
    async fn serve(&self, requests: u64, interval: f64) {
        let mut draw = Generator::new(15, Purpose::Arrival, 0);
        let mut running = tokio::task::JoinSet::new();
        for seed in 0..requests {
            let model = ["sd15", "sd15", "sd15", "sdxl", "sdxl", "flux"][draw.below(6)];
            let body = json!({ "prompt": "a fox", "model": model, "seed": seed,
                               "due_in_seconds": draw.between(0.1, 1.5), "max_steps": 24 });
            let router = self.test.gateway.router();
            running.spawn(async move {
                let request = Request::post("/v1/requests")
                    .header("host", "localhost")
                    .header("content-type", "application/json")
                    .header("prefer", "wait=60")
                    .body(Body::from(body.to_string()));
                let answer = router.oneshot(request.unwrap()).await.unwrap();
                let body = to_bytes(answer.into_body(), usize::MAX).await.unwrap();
                let body: Value = serde_json::from_slice(&body).unwrap();
                assert_eq!((&body["state"], &body["model"]), (&json!("completed"), &json!(model)));
            });
            tokio::time::sleep(Duration::from_secs_f64(draw.exponential(interval))).await;
        }
        while let Some(ended) = running.join_next().await {
            ended.unwrap();
        }
    }
}

/// 500 mixed requests: what the backends load is what the journal says, server by server, and prices
/// that count loads cause fewer than half of those that greedy causes.
#[tokio::test]
async fn loads_at_the_backends_are_those_in_the_journal_and_a_price_halves_them() {
    let mut all = Vec::new();
    // As fast as this fleet is, a second of its time is worth so much.
    for policy in ["greedy", "priced[base=60,load=120]"] {
        let fleet = fleet(policy).await;
        fleet.serve(500, 0.05).await;
        assert_eq!(fleet.loads(), fleet.journalled(), "{policy}");
        println!("{policy}: loads {:?}", fleet.loads());
        let metrics = fleet.test.get("/metrics").await;
        let text = String::from_utf8(metrics.body.to_vec()).unwrap();
        let counted = text.lines().filter(|line| line.starts_with("atelier_loads_total{"));
        let counted: f64 =
            counted.map(|line| line.rsplit(' ').next().unwrap().parse::<f64>().unwrap()).sum();
        let loads: u32 = fleet.loads().iter().sum();
        assert_eq!(counted, f64::from(loads));
        all.push(loads);
    }
    assert!(2 * all[1] < all[0], "{all:?}");
}

#[tokio::test]
async fn models_are_named_defaulted_or_refused() {
    let fleet = fleet("myopic").await;
    let t = &fleet.test;
    let listed = t.get("/v1/models").await.json();
    let names: Vec<_> = listed["data"].as_array().unwrap().iter().map(|m| &m["id"]).collect();
    assert_eq!(names, ["sd15", "sdxl", "flux"]);
    assert_eq!(t.get("/v1/models/sdxl").await.json()["id"], "sdxl");
    assert_eq!(t.get("/v1/models/atelier").await.json()["id"], "atelier");
    assert_eq!(t.get("/v1/models/sd21").await.status, 404);
    for (sent, drawn) in
        [(json!("sdxl"), "sdxl"), (Value::Null, "sd15"), (json!("atelier"), "sd15")]
    {
        let done = t.finish(&json!({ "prompt": "x", "model": sent, "max_steps": 5 })).await;
        assert_eq!(done["model"], drawn);
    }
    let refused = t.post("/v1/requests", &json!({ "prompt": "x", "model": "sd21" })).await;
    assert_eq!((refused.status, &refused.json()["field"]), (404, &json!("model")));
    let detail = refused.json()["detail"].to_string();
    assert!(detail.contains("sd15, sdxl, flux"), "{detail}");
    let quote = t.post("/v1/quotes", &json!({ "prompt": "x", "model": "flux" })).await.json();
    assert_ne!(quote["server"], "studio", "it does not host it");
    // The face of OpenAI.
    let body = json!({ "prompt": "x", "model": "flux", "num_inference_steps": 3 });
    assert_eq!(t.post("/v1/images/generations", &body).await.status, 200);
    let body = json!({ "prompt": "x", "model": "dall-e-3" });
    let refused = t.post("/v1/images/generations", &body).await;
    let error = &refused.json()["error"];
    assert_eq!((refused.status, &error["code"]), (404, &json!("model_not_found")));
    let servers = t.get("/v1/servers").await.json();
    let apprentice = servers["servers"][1]["models"].as_array().unwrap();
    let loaded: Vec<_> =
        apprentice.iter().map(|model| (&model["name"], &model["loaded"])).collect();
    assert_eq!(loaded, [(&json!("sd15"), &json!(false)), (&json!("flux"), &json!(true))]);
}

/// The only server that has a model loaded is taken out: another one that stands idle loads it, if it may,
/// before anybody asks for it again.
#[tokio::test]
async fn an_idle_server_loads_what_is_loaded_nowhere_if_it_may() {
    for (settings, loads) in [("preload = true", [1, 0, 0, 0]), ("", [0; 4])] {
        let fleet = fleet_with("myopic", settings).await;
        let paint = async |number: u32, model: &str| {
            let body = json!({ "prompt": "x", "model": model, "max_steps": 4, "seed": number });
            fleet.test.finish(&body).await
        };
        for number in 0..24 {
            paint(number, ["sd15", "flux"][number as usize % 2]).await;
        }
        assert_eq!(fleet.loads(), [0; 4], "all of them find what they want");
        let (path, drained) = ("/v1/servers/apprentice", json!({ "enabled": false }));
        assert_eq!(fleet.test.send(Method::PATCH, path, &[], &drained).await.status, 200);
        let gate = fleet.gate.lock().await;
        paint(24, "sd15").await;
        let mut preloading = Value::Null;
        for _ in 0..if settings.is_empty() { 10 } else { 1000 } {
            preloading =
                fleet.test.get("/v1/servers").await.json()["servers"][0]["preloading"].take();
            if preloading != Value::Null {
                break;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        assert_eq!(preloading, if settings.is_empty() { Value::Null } else { json!("flux") });
        drop(gate);
        tokio::time::sleep(Duration::from_secs_f64(1.5 * LOAD)).await;
        assert_eq!(fleet.loads(), loads, "{settings}");
        let metrics = fleet.test.get("/metrics").await;
        let metrics = String::from_utf8(metrics.body.to_vec()).unwrap();
        let counted =
            "atelier_preloads_total{server=\"master\",model=\"flux\",outcome=\"completed\"} 1";
        assert_eq!(metrics.contains(counted), !settings.is_empty(), "{metrics}");
        assert_eq!(fleet.journalled(), [0; 4], "no run has loaded anything");
    }
}

/// Somebody else changes the checkpoint of an idle server: the gateway finds out, and loads.
#[tokio::test]
async fn what_is_loaded_is_learned_from_the_backend() {
    let fleet = fleet("myopic").await;
    *fleet.automatic1111.checkpoint.lock().unwrap() = "xl".into();
    let loaded = async || {
        let servers = fleet.test.get("/v1/servers").await.json();
        let models = servers["servers"][2]["models"].as_array().unwrap().clone();
        models
            .iter()
            .filter(|model| model["loaded"] == true)
            .map(|m| m["name"].to_string())
            .collect()
    };
    let mut now: Vec<String> = loaded().await;
    while now != ["\"sdxl\""] {
        tokio::time::sleep(Duration::from_millis(20)).await;
        now = loaded().await;
    }
}
