//! Killed with SIGKILL at random points under load, again and again: no acknowledged request is
//! lost, none ends twice, and what has ended stays as it ended.
//!
//! `ATELIER_KILLS` sets the number of kills, `ATELIER_SEED` the seed.

use std::collections::HashMap;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use gateway::journal::{Archive, Filter, Reader};
use gateway::{Config, World, rules, run};
use scheduling::{Generator, Purpose};
use serde_json::{Value, json};

const CONFIG: &str = r#"
policy = "myopic"
[defaults]
width = 16
height = 16
due_in_seconds = 5.0
[limits]
waiting = 400
expires_after_seconds = 600.0
[[server]]
name = "a"
steps_per_second = 4000.0
backend = { kind = "demo" }
[[server]]
name = "b"
steps_per_second = 2000.0
backend = { kind = "demo" }
"#;

/// The process that is killed: this same test program, told to serve.
#[test]
#[ignore = "the other test starts it as a process of its own"]
fn child() {
    let Ok(folder) = std::env::var("ATELIER_KILL_FOLDER") else { return };
    let folder = Path::new(&folder);
    let mut config = Config::parse("kill.toml", CONFIG).unwrap();
    config.journal = folder.join("journal.db");
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        std::fs::write(folder.join("port.tmp"), port.to_string()).unwrap();
        std::fs::rename(folder.join("port.tmp"), folder.join("port")).unwrap();
        let world = World::real(Arc::new(rules));
        run(config, world, listener, std::future::pending()).await.unwrap();
    });
}

/// A gateway in a process of its own, killed at the latest when the test ends.
struct Process {
    child: Child,
    base: String,
}

impl Process {
    fn start(folder: &Path) -> Self {
        let _ = std::fs::remove_file(folder.join("port"));
        let child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "child", "--ignored"])
            .env("ATELIER_KILL_FOLDER", folder)
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        let mut process = Self { child, base: String::new() };
        let start = Instant::now();
        loop {
            if let Ok(port) = std::fs::read_to_string(folder.join("port")) {
                process.base = format!("http://127.0.0.1:{port}");
                return process;
            }
            assert!(start.elapsed() < Duration::from_mins(1), "the gateway does not start");
            std::thread::sleep(Duration::from_millis(2));
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // SIGKILL: nothing is tidied up.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// What clients know.
#[derive(Default)]
struct Known {
    /// Acknowledged, by idempotency key.
    acknowledged: HashMap<String, String>,
    /// Sent without an answer: to be sent again.
    unanswered: Vec<String>,
    /// Ends that were seen: state, steps and time.
    ended: HashMap<String, Value>,
    sent: u64,
}

/// A client for `http://` alone, which trusts nobody.
fn plain_client() -> reqwest::Client {
    // Already installed is as good.
    let _ = rustls::crypto::ring::default_provider().install_default();
    reqwest::Client::builder().no_proxy().tls_certs_only([]).build().unwrap()
}

async fn send(http: &reqwest::Client, base: &str, key: &str) -> Option<(u16, Value)> {
    let body = json!({ "prompt": "a blue ring", "max_steps": 20 }).to_string();
    let request = http.post(format!("{base}/v1/requests"));
    let request = request.header("content-type", "application/json");
    let response = request.header("idempotency-key", key).body(body).send().await.ok()?;
    let status = response.status().as_u16();
    let bytes = response.bytes().await.ok()?;
    Some((status, serde_json::from_slice(&bytes).ok()?))
}

async fn look(http: &reqwest::Client, base: &str, id: &str) -> Option<Value> {
    let response = http.get(format!("{base}/v1/requests/{id}")).send().await.ok()?;
    let status = response.status().as_u16();
    let bytes = response.bytes().await.ok()?;
    assert!(status == 200 || status == 503, "acknowledged, but now {status}: {id}");
    (status == 200).then(|| serde_json::from_slice(&bytes).unwrap())
}

/// One client: sends new requests and old ones again, looks at some, cancels some.
async fn client(base: String, known: Arc<Mutex<Known>>, mut g: Generator) {
    let http = plain_client();
    loop {
        let key = {
            let mut known = known.lock().unwrap();
            known.sent += 1;
            let fresh = format!("key-{}", known.sent);
            known.unanswered.pop().unwrap_or(fresh)
        };
        match send(&http, &base, &key).await {
            Some((200 | 202, view)) => {
                let id = view["id"].as_str().unwrap().to_string();
                let mut known = known.lock().unwrap();
                let before = known.acknowledged.insert(key, id.clone());
                assert!(before.is_none_or(|before| before == id), "one key, two requests");
            }
            Some((status, view)) => {
                assert!(matches!(status, 409 | 429 | 503), "{status}: {view}");
                known.lock().unwrap().unanswered.push(key);
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
            None => {
                known.lock().unwrap().unanswered.push(key);
                return;
            }
        }
        let some: Vec<String> = {
            let known = known.lock().unwrap();
            let ids: Vec<_> = known.acknowledged.values().collect();
            if ids.is_empty() {
                continue;
            }
            (0..2).map(|_| ids[g.below(ids.len())].clone()).collect()
        };
        if g.below(8) == 0 {
            let _ = http.delete(format!("{base}/v1/requests/{}", some[0])).send().await;
        }
        for id in some {
            let Some(view) = look(&http, &base, &id).await else { continue };
            remember(&known, &id, &view);
        }
    }
}

/// An end that was seen once is seen the same ever after.
fn remember(known: &Mutex<Known>, id: &str, view: &Value) {
    if view["result"].is_null() {
        return;
    }
    let result = &view["result"];
    let end = json!([
        view["state"],
        result["server"],
        result["steps"],
        result["run_seconds"],
        result["attempts"],
        result["tardiness_seconds"]
    ]);
    let mut known = known.lock().unwrap();
    if let Some(before) = known.ended.insert(id.into(), end.clone()) {
        assert_eq!(before, end, "{id} ended twice");
    }
}

#[test]
fn killed_at_random_points_nothing_is_lost_and_nothing_ends_twice() {
    let number = |name: &str, default: u64| {
        std::env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or(default)
    };
    let (kills, seed) = (number("ATELIER_KILLS", 12), number("ATELIER_SEED", 1));
    println!("kills {kills}, seed {seed}");
    let folder = tempfile::tempdir().unwrap();
    let known = Arc::new(Mutex::new(Known::default()));
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    let mut g = Generator::new(seed, Purpose::Search, 0);
    for kill in 0..kills {
        let process = Process::start(folder.path());
        let clients: Vec<_> = (0..4)
            .map(|index| {
                let g = Generator::new(seed, Purpose::Search, 1 + 4 * kill + index);
                runtime.spawn(client(process.base.clone(), known.clone(), g))
            })
            .collect();
        std::thread::sleep(Duration::from_micros(g.below(250_000) as u64));
        drop(process);
        for client in clients {
            runtime.block_on(client).unwrap();
        }
    }
    let process = Process::start(folder.path());
    let acknowledged: Vec<_> = known.lock().unwrap().acknowledged.values().cloned().collect();
    runtime.block_on(async {
        let http = plain_client();
        for id in &acknowledged {
            let start = Instant::now();
            loop {
                match look(&http, &process.base, id).await {
                    Some(view) if !view["result"].is_null() => {
                        remember(&known, id, &view);
                        let state = view["state"].as_str().unwrap();
                        assert!(matches!(state, "completed" | "cancelled"), "{view}");
                        break;
                    }
                    _ => assert!(start.elapsed() < Duration::from_mins(2), "{id} never ends"),
                }
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        }
    });
    drop(process);
    // The journal itself: every acknowledged request is there once and has its one end.
    let reader = Reader::open(&folder.path().join("journal.db")).unwrap();
    assert_eq!(reader.unfinished().unwrap(), []);
    let mut before = None;
    let mut written = 0;
    let mut ids = std::collections::HashSet::new();
    loop {
        let page = reader.list(&Filter { before, limit: 500, ..Filter::default() }).unwrap();
        written += page.entries.len();
        for entry in page.entries {
            assert!(entry.end.is_some());
            assert!(ids.insert(entry.accepted.order.id.to_string()));
        }
        if page.next.is_none() {
            break;
        }
        before = page.next;
    }
    assert!(acknowledged.iter().all(|id| ids.contains(id)));
    println!("{} acknowledged, {written} written, {kills} kills", acknowledged.len());
    assert!(!acknowledged.is_empty());
}
