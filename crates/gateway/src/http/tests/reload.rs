//! The configuration read again while requests come in, wait and run.

use std::collections::BTreeMap;
use std::path::PathBuf;

use dispatch::RequestId;

use super::live::Listener;
use super::*;
use crate::reload::Source;

/// A gateway whose configuration is a file, which is read again when it is asked to.
struct Reloaded {
    t: Test,
    file: PathBuf,
    painted: Arc<Mutex<BTreeMap<RequestId, u32>>>,
}

/// Takes a while, and counts.
struct Counting {
    takes: Duration,
    painted: Arc<Mutex<BTreeMap<RequestId, u32>>>,
}

#[async_trait]
impl Backend for Counting {
    async fn generate(&self, job: &Job, _: &dyn Watcher) -> Result<Painted, BackendError> {
        *self.painted.lock().unwrap().entry(job.run.request).or_default() += 1;
        tokio::time::sleep(self.takes).await;
        let (width, height) = (job.spec.width, job.spec.height);
        let png = picture::encode(&vec![1; (3 * width * height) as usize], width, height).into();
        Ok(Painted { png, timing: Timing::Direct })
    }

    async fn cancel(&self, _: &Job, _: Option<&str>) -> Result<Cancelled, BackendError> {
        Ok(Cancelled::Stopped)
    }

    async fn probe(&self) -> Result<(), BackendError> {
        Ok(())
    }
}

const POLICY: &str = "policy = \"fixed[steps=30]\"\n";
const SIZE: &str = "[defaults]\nwidth = 16\nheight = 16\n[health]\ntrials = false\n";

/// A server; the slow ones paint for half a second.
fn server(name: &str, more: &str) -> String {
    format!(
        "[[server]]\nname = \"{name}\"\nsteps_per_second = 1500.0\nbackend = {{ kind = \"demo\" }}\n{more}\n"
    )
}

async fn start(text: &str) -> Reloaded {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("atelier.toml");
    let journal = folder.path().join("atelier.db");
    let painted = Arc::<Mutex<BTreeMap<_, _>>>::default();
    std::fs::write(&file, text).unwrap();
    let (read, counts) = (file.clone(), painted.clone());
    let rules: crate::PolicyFactory = Arc::new(rules);
    let mut world = World::real(rules.clone());
    world.backends = Arc::new(move |server, _| {
        let slow = server.name.get_ref().starts_with("slow");
        let takes = Duration::from_millis(if slow { 500 } else { 20 });
        Ok(Arc::new(Counting { takes, painted: counts.clone() }))
    });
    let config = move || {
        let mut config = Config::read(&read)?;
        // As if the gateway ran in the folder.
        if config.journal.is_relative() {
            config.journal = journal.with_file_name(&config.journal);
        }
        Ok((config, rules.clone()))
    };
    let source = Source { read: Arc::new(config), again: Arc::default() };
    let (config, _) = (source.read)().unwrap();
    world.source = Some(source);
    let gateway = Gateway::start(config, world).unwrap();
    let t = Test { gateway, scripts: Vec::new(), folder, key: None };
    t.ready().await;
    Reloaded { t, file, painted }
}

impl Reloaded {
    async fn reload(&self, text: &str) -> Answer {
        std::fs::write(&self.file, text).unwrap();
        self.t.send(Method::PUT, "/v1/configuration/reload", &[], &Value::Null).await
    }

    async fn names(&self) -> Vec<String> {
        let servers = self.t.get("/v1/servers").await.json()["servers"].clone();
        let names = servers.as_array().unwrap().iter();
        names.map(|server| server["name"].as_str().unwrap().to_string()).collect()
    }
}

#[tokio::test]
async fn a_hundred_reloads_good_and_bad_at_fifty_requests_a_second_lose_nothing_and_paint_nothing_twice()
 {
    let all = ["a", "b", "c", "d", "slow"];
    let r = Arc::new(start(&format!("{POLICY}{}{}{SIZE}", server("a", ""), server("b", ""))).await);
    let asking = r.clone();
    let requests = tokio::spawn(async move {
        let mut tick = tokio::time::interval(Duration::from_millis(20));
        let mut paths = Vec::new();
        for seed in 0..220 {
            tick.tick().await;
            let body = json!({ "prompt": "a fox", "due_in_seconds": 5.0, "seed": seed });
            let answer = asking.t.post("/v1/requests", &body).await;
            assert_eq!(answer.status, 202, "{:?}", answer.body);
            paths.push(answer.headers["location"].to_str().unwrap().to_string());
        }
        paths
    });
    let mut there = vec!["a".to_string(), "b".to_string()];
    for n in 0..100_usize {
        tokio::time::sleep(Duration::from_millis(40)).await;
        // Two to four of the five, other ones every time, with other bounds.
        let chosen: Vec<_> = (0..2 + n % 3).map(|k| all[(n * 7 / 3 + k) % 5]).collect();
        let servers = chosen.iter().map(|name| server(name, &format!("max_steps = {}", 20 + n)));
        let servers = servers.collect::<String>();
        let (text, status) = match n % 5 {
            0 => ("no toml".to_string(), 422),
            1 => (format!("policy = \"agent[nowhere]\"\n{servers}{SIZE}"), 422),
            2 => (format!("listen = \"127.0.0.1:9\"\n{servers}{SIZE}"), 422),
            _ => (
                format!("policy = \"greedy\"\n{servers}{SIZE}[limits]\nwaiting = {}\n", 100 + n),
                200,
            ),
        };
        let answer = r.reload(&text).await;
        assert_eq!(answer.status, status, "{n}: {:?}", answer.body);
        if status == 200 {
            there = chosen.iter().map(ToString::to_string).collect();
            assert_eq!(r.names().await[..there.len()], there, "{n}");
        }
    }
    let paths = requests.await.unwrap();
    for path in &paths {
        let done = r.t.send(Method::GET, path, &[("prefer", "wait=60")], &Value::Null).await.json();
        assert_eq!(done["state"], "completed", "{done}");
    }
    let painted = r.painted.lock().unwrap().clone();
    assert_eq!(painted.len(), paths.len());
    let twice: Vec<_> = painted.iter().filter(|(_, times)| **times != 1).collect();
    assert!(twice.is_empty(), "{twice:?}");
    while r.names().await != there {
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let metrics = String::from_utf8(r.t.get("/metrics").await.body.to_vec()).unwrap();
    for name in all {
        let shown = metrics.contains(&format!("atelier_waiting{{server=\"{name}\"}}"));
        assert_eq!(shown, there.iter().any(|other| other == name), "{name}\n{metrics}");
    }
}

#[tokio::test]
async fn a_server_that_is_removed_finishes_what_it_has_begun() {
    let r = start(&format!("{POLICY}{}{SIZE}", server("slow", ""))).await;
    let first = r.t.post("/v1/requests", &red()).await;
    let second = r.t.post("/v1/requests", &red()).await;
    let running = |servers: Value| servers["servers"][0]["running"].clone();
    while running(r.t.get("/v1/servers").await.json()).is_null() {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let changes = r.reload(&format!("{POLICY}{}{SIZE}", server("b", ""))).await.json();
    assert_eq!(changes, json!({ "added": ["b"], "kept": [], "removed": ["slow"] }));
    assert_eq!(r.names().await, ["b", "slow"]);
    let enable = json!({ "enabled": true });
    let refused = r.t.send(Method::PATCH, "/v1/servers/slow", &[], &enable).await;
    assert_eq!(refused.status, 404, "{:?}", refused.body);
    for (answer, server) in [(second, "b"), (first, "slow")] {
        let path = answer.headers["location"].to_str().unwrap();
        let done = r.t.send(Method::GET, path, &[("prefer", "wait=60")], &Value::Null).await.json();
        assert_eq!(
            (&done["state"], &done["result"]["server"]),
            (&json!("completed"), &json!(server))
        );
        assert_eq!(done["result"]["attempts"], 1, "{done}");
    }
    while r.names().await != ["b"] {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    // It may come back, under the same name, as soon as it is written down again.
    let back =
        r.reload(&format!("{POLICY}{}{}{SIZE}", server("slow", ""), server("b", ""))).await.json();
    assert_eq!(back, json!({ "added": ["slow"], "kept": ["b"], "removed": [] }));
    assert_eq!(r.names().await, ["slow", "b"]);
}

#[tokio::test]
async fn keys_limits_and_models_change_and_what_was_used_stays_used() {
    let model = |name: &str| format!("[[model]]\nname = \"{name}\"\n");
    let hosting = |names: &str| server("a", &format!("models = {{ {names} }}"));
    let text = |models: &str, keys: &str| format!("{POLICY}{models}{SIZE}{keys}");
    let before = text(&(model("old") + &model("kept") + &hosting("old = {}, kept = {}")), KEYS);
    let mut r = start(&before).await;
    r.t.key = Some("bob");
    for _ in 0..2 {
        assert_eq!(r.t.post("/v1/requests", &red()).await.status, 202);
    }
    assert_eq!(r.reload(&before).await.status, 403);
    r.t.key = Some("alice");
    let after = text(&(model("kept") + &model("new") + &hosting("new = {}, kept = {}")), KEYS);
    assert_eq!(r.reload(&after).await.status, 200);
    for (model, status) in [("old", 404), ("kept", 202), ("new", 202)] {
        let body = json!({ "prompt": "a fox", "model": model });
        assert_eq!(r.t.post("/v1/requests", &body).await.status, status, "{model}");
    }
    r.t.key = Some("bob");
    assert_eq!(r.t.post("/v1/requests", &red()).await.status, 429, "two a minute, reloaded or not");
    r.t.key = Some("alice");
    let alone = KEYS.split("[[key]]").nth(1).unwrap();
    assert_eq!(
        r.reload(&text(&after, &format!("[[key]]{alone}"))).await.status,
        422,
        "twice the tables"
    );
    let after = after.replace(KEYS, &format!("[[key]]{alone}[limits]\nprompt_bytes = 4\n"));
    assert_eq!(r.reload(&after).await.status, 200);
    assert_eq!(r.t.post("/v1/requests", &red()).await.status, 422, "longer than is allowed now");
    r.t.key = Some("bob");
    assert_eq!(r.t.get("/v1/servers").await.status, 401);
}

#[tokio::test]
async fn what_cannot_be_reloaded_says_why_and_changes_nothing() {
    let good = format!("{}{SIZE}", server("a", ""));
    let r = start(&format!("{POLICY}{good}")).await;
    for (text, what) in [
        ("server = 3", "atelier.toml:1: `server = 3`"),
        (&format!("{POLICY}journal = \"x.db\"\n{good}"), ":2: `journal`: allowed without a"),
        (&format!("{POLICY}\nlisten = \"127.0.0.1:1\"\n{good}"), ":3: `listen`: allowed without a"),
        (&format!("policy = \"agent[x]\"\n{good}"), ":1: `policy`"),
        (&format!("{POLICY}{}{SIZE}", server("b", "max_steps = 0")), ":6: "),
    ] {
        let refused = r.reload(text).await;
        let detail = refused.json()["detail"].as_str().unwrap().to_string();
        assert_eq!(
            (refused.status, &refused.json()["reason"]),
            (422, &json!("invalid_configuration"))
        );
        assert!(detail.contains(what) && detail.ends_with("still holds"), "{detail}");
        assert_eq!(r.names().await, ["a"]);
    }
    std::fs::remove_file(&r.file).unwrap();
    let refused = r.t.send(Method::PUT, "/v1/configuration/reload", &[], &Value::Null).await;
    assert_eq!(refused.status, 422, "{:?}", refused.body);
    let t = super::start("").await;
    let refused = t.send(Method::PUT, "/v1/configuration/reload", &[], &Value::Null).await;
    assert_eq!((refused.status, &refused.json()["reason"]), (409, &json!("no_file")));
}

/// Whoever looked on may not be allowed to any more: he comes back if he is.
#[tokio::test]
async fn another_configuration_ends_the_stream_of_the_workshop() {
    let r = start(&format!("{POLICY}{}{SIZE}", server("a", ""))).await;
    let mut listener = Listener::new(&r.t, "/v1/workshop").await;
    listener.until(|events| events.len() > 1).await;
    r.reload(&format!("policy = \"myopic\"\n{}{SIZE}", server("a", ""))).await;
    listener.end().await;
    let mut listener = Listener::new(&r.t, "/v1/workshop").await;
    let events = listener.until(|events| events.len() > 1).await;
    assert_eq!(events[0].1["policy"], "myopic");
}
