//! Nodes that share a log in memory, and ask one another without a network.

use std::path::PathBuf;
use std::sync::Mutex;

use async_trait::async_trait;
use axum::body::{Body, to_bytes};
use axum::http::Request;
use bytes::Bytes;
use serde_json::{Value, json};
use tokio::task::JoinHandle;
use tower::ServiceExt as _;

use super::*;
use crate::config;
use crate::journal::shelf::{Album, Luck, Shelf};
use crate::journal::{Clock, Deposed, Moment, Replica, Replicated};
use crate::policies::rules;

/// A cell without brokers.
#[derive(Clone)]
struct Cell {
    folder: Arc<tempfile::TempDir>,
    shelf: Shelf,
    /// Whoever leads, as the others reach it.
    leader: Arc<Mutex<Option<Answers>>>,
    pictures: Arc<Album>,
    toml: String,
}

struct ToLeader(Arc<Mutex<Option<Answers>>>);

#[async_trait]
impl Transport for ToLeader {
    async fn ask(&self, call: Bytes) -> Result<Bytes, String> {
        let leader = self.0.lock().unwrap().clone();
        leader.ok_or("nobody leads")?.answer(call).await.ok_or_else(|| "no answer".into())
    }
}

/// A node of a cell. It follows the log all the time that it does not lead.
struct Mate {
    cell: Cell,
    path: PathBuf,
    reached: Arc<watch::Sender<u64>>,
    node: Arc<Node>,
    following: Option<JoinHandle<()>>,
}

fn cell(name: &str, more: &str) -> Cell {
    let toml = format!(
        "policy = \"greedy\"\n{more}\n[defaults]\nwidth = 16\nheight = 16\n[[server]]\nname = \"s0\"\n\
         steps_per_second = 400.0\nlearn_speed = false\nbackend = {{ kind = \"demo\" }}\n[cluster]\n\
         nats = [\"tls://h:1\"]\ncell = \"{name}\"\nname = \"n\"\nnkey_file = \"x\"\nca_file = \"x\"\n\
         monitor = [\"http://h:1\"]\n"
    );
    Cell {
        folder: Arc::new(tempfile::tempdir().unwrap()),
        shelf: Shelf::new(|| Luck::Good),
        leader: Arc::default(),
        pictures: Arc::default(),
        toml,
    }
}

impl Cell {
    fn node(&self, name: &str) -> Mate {
        let path = self.folder.path().join(name);
        let mut config = Config::parse("node.toml", &self.toml).unwrap();
        config.journal.clone_from(&path);
        drop(Replica::open(&path, 1e9).unwrap());
        let (reached, seen) = watch::channel(0);
        let place = Place {
            policies: Arc::new(rules),
            backends: Arc::new(config::connect),
            wall: WallClock::SYSTEM,
            pictures: self.pictures.clone(),
            transport: Arc::new(ToLeader(self.leader.clone())),
            secret: [7; 32],
            reached: seen,
            dropped: Dropped::default(),
            source: None,
        };
        let node = Arc::new(Node::start(config, place).unwrap());
        let reached = Arc::new(reached);
        let mut mate = Mate { cell: self.clone(), path, reached, node, following: None };
        mate.follow();
        mate
    }
}

impl Mate {
    fn follow(&mut self) {
        let (path, shelf) = (self.path.clone(), self.cell.shelf.clone());
        let (reached, node) = (self.reached.clone(), self.node.clone());
        self.following = Some(tokio::spawn(async move {
            let mut replica = loop {
                match Replica::open(&path, 1e9) {
                    Ok(replica) => break replica,
                    // Whoever wrote it has not let go yet.
                    Err(_) => tokio::time::sleep(Duration::from_millis(5)).await,
                }
            };
            node.follows().await;
            loop {
                let behind = shelf.behind(replica.sequence());
                replica.apply(&behind).unwrap();
                reached.send_replace(replica.sequence());
                for (_, message) in behind {
                    node.applied(&Message::read(&message).unwrap());
                }
                tokio::time::sleep(Duration::from_millis(2)).await;
            }
        }));
    }

    /// Leads from now on, and tells its changes to nobody: the others hear of ends by the log.
    async fn lead(&mut self) -> (Leadership, JoinHandle<()>) {
        let following = self.following.take().unwrap();
        following.abort();
        let _ = following.await;
        let mut replica = Replica::open(&self.path, 1e9).unwrap();
        let behind = self.cell.shelf.behind(replica.sequence());
        replica.apply(&behind).unwrap();
        let (time, lived) = self.node.time();
        let clock = Clock { moment: Moment { time, wall: (WallClock::SYSTEM.0)() }, lived };
        assert!(replica.lead(&mut self.cell.shelf.clone(), "a", clock).unwrap());
        drop(replica);
        let (shelf, reached) = (self.cell.shelf.clone(), (*self.reached).clone());
        let journal: JournalFactory = Box::new(move |sqlite| {
            Ok(Box::new(Replicated::new(Replica::of(sqlite)?, shelf, Deposed::new(), reached)))
        });
        let hold = Hold::default();
        hold.until(tokio::time::Instant::now() + Duration::from_hours(1));
        let (leadership, mut news) = self.node.lead(journal, hold, Vec::new()).unwrap();
        *self.cell.leader.lock().unwrap() = Some(leadership.answers());
        let heard = tokio::spawn(async move { while news.next().await.is_some() {} });
        (leadership, heard)
    }

    async fn ask(&self, method: &str, path: &str, headers: &[(&str, &str)], body: Value) -> Answer {
        let router = self.node.joined_with(&[]).borrow().router.clone();
        ask(router, method, path, headers, body).await
    }

    async fn submit(&self, headers: &[(&str, &str)]) -> Answer {
        self.ask("POST", "/v1/requests", headers, json!({ "prompt": "a ring", "max_steps": 4 }))
            .await
    }
}

struct Answer {
    status: u16,
    cell: Option<String>,
    body: Vec<u8>,
}

impl Answer {
    fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_default()
    }
}

async fn ask(
    router: axum::Router,
    method: &str,
    path: &str,
    headers: &[(&str, &str)],
    body: Value,
) -> Answer {
    let mut request = Request::builder().method(method).uri(path).header("host", "localhost");
    request = request.header("content-type", "application/json");
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let body = if body.is_null() { Body::empty() } else { Body::from(body.to_string()) };
    let Ok(response) = router.oneshot(request.body(body).unwrap()).await;
    let cell = response.headers().get("atelier-cell").map(|cell| cell.to_str().unwrap().into());
    let status = response.status().as_u16();
    Answer { status, cell, body: to_bytes(response.into_body(), usize::MAX).await.unwrap().into() }
}

#[tokio::test]
async fn every_node_answers_for_what_one_decides() {
    let cell = cell("c", "");
    let (mut a, b) = (cell.node("a"), cell.node("b"));
    let refused = b.ask("GET", "/readyz", &[], Value::Null).await;
    assert_eq!((refused.status, refused.json()["reason"].as_str()), (503, Some("no_leader")));
    let (_leadership, _news) = a.lead().await;
    let wait = ("prefer", "wait=20");
    for (asks, key) in [(&a, "one"), (&b, "two")] {
        let answer = asks.submit(&[wait, ("idempotency-key", key)]).await;
        let view = answer.json();
        assert_eq!((answer.status, view["state"].as_str()), (200, Some("completed")), "{view}");
        let path = format!("/v1/requests/{}", view["id"].as_str().unwrap());
        for other in [&a, &b] {
            let seen = other.ask("GET", &path, &[], Value::Null).await;
            let json = seen.json();
            assert_eq!((seen.status, &json["result"]["steps"]), (200, &json!(4)), "{json}");
            let image = other.ask("GET", &format!("{path}/image"), &[], Value::Null).await;
            assert_eq!((image.status, &image.body[1..4]), (200, &b"PNG"[..]));
            let again = other.submit(&[wait, ("idempotency-key", key)]).await;
            assert_eq!((again.status, &again.json()["id"]), (200, &view["id"]), "{key}");
            let list = other.ask("GET", "/v1/requests", &[], Value::Null).await.json();
            assert!(list["requests"].as_array().unwrap().iter().any(|r| r["id"] == view["id"]));
        }
    }
    // What the brokers have lost nobody can be given.
    cell.pictures.clear();
    let list = b.ask("GET", "/v1/requests", &[], Value::Null).await.json();
    let id = list["requests"][0]["id"].as_str().unwrap();
    let gone = b.ask("GET", &format!("/v1/requests/{id}/image"), &[], Value::Null).await;
    assert_eq!((gone.status, gone.json()["reason"].as_str()), (410, Some("picture_gone")));
    let quote = b.ask("POST", "/v1/quotes", &[], json!({ "prompt": "x" })).await;
    assert_eq!((quote.status, &quote.json()["server"]), (200, &json!("s0")));
    let drained = b.ask("PATCH", "/v1/servers/s0", &[], json!({ "enabled": false })).await;
    assert_eq!(drained.status, 200);
    let servers = a.ask("GET", "/v1/servers", &[], Value::Null).await.json();
    assert_eq!(servers["servers"][0]["enabled"], false);
    let policy = b.ask("PUT", "/v1/policy", &[], json!({ "policy": "myopic" })).await;
    assert_eq!(policy.status, 204);
    assert_eq!(a.ask("GET", "/v1/policy", &[], Value::Null).await.json()["policy"], "myopic");
}

#[tokio::test]
async fn another_node_goes_on_where_the_log_ends() {
    let cell = cell("c", "");
    let (mut a, mut b) = (cell.node("a"), cell.node("b"));
    let (first, _) = a.lead().await;
    let before = a.submit(&[("prefer", "wait=20")]).await.json();
    // Nobody leads for a moment: whoever asks waits, and is accepted once.
    *cell.leader.lock().unwrap() = None;
    first.abort();
    a.follow();
    let (waiting, ()) = tokio::join!(
        async { a.submit(&[("prefer", "wait=20"), ("idempotency-key", "k")]).await },
        async {
            tokio::time::sleep(Duration::from_millis(300)).await;
            let led = b.lead().await;
            tokio::time::sleep(Duration::from_secs(5)).await;
            std::mem::forget(led);
        }
    );
    assert_eq!(waiting.status, 200, "{}", waiting.json());
    for id in [&before["id"], &waiting.json()["id"]] {
        let path = format!("/v1/requests/{}", id.as_str().unwrap());
        for node in [&a, &b] {
            let seen = node.ask("GET", &path, &[], Value::Null).await;
            assert_eq!((seen.status, &seen.json()["state"]), (200, &json!("completed")));
        }
    }
    let list = b.ask("GET", "/v1/requests", &[], Value::Null).await.json();
    assert_eq!(list["requests"].as_array().unwrap().len(), 2);
}

#[tokio::test]
async fn a_minute_of_a_key_is_a_minute_at_all_nodes() {
    let key = "[[key]]\nname = \"k\"\nrequests_per_minute = 3\n\
               sha256 = \"2bd806c97f0e00af1a1fc3328fa763a9269723c8db8fac4f93af71db186d6e90\"";
    let mut cell = cell("c", "");
    cell.toml += key;
    let (mut a, b, c) = (cell.node("a"), cell.node("b"), cell.node("c"));
    let (_leadership, _news) = a.lead().await;
    let mut statuses = Vec::new();
    for node in [&b, &c, &b, &c, &a] {
        statuses.push(node.submit(&[("authorization", "Bearer alice")]).await.status);
    }
    assert_eq!(statuses[..3], [202, 202, 202]);
    assert_eq!(statuses[3], 429, "{statuses:?}");
}

#[tokio::test]
async fn a_full_cell_hands_on_and_identifiers_find_their_cell() {
    let slow = "[limits]\nwaiting = 1\n";
    let (mut east, west) = (cell("east", slow), cell("west", ""));
    east.toml = east.toml.replace("400.0", "0.5");
    let (mut own, mut other) = (east.node("e"), west.node("w"));
    let (_one, _) = own.lead().await;
    let (_two, _) = other.lead().await;
    let router = own.node.joined_with(&[&other.node]).borrow().router.clone();
    let submit = async |headers: &[(&str, &str)]| {
        let body = json!({ "prompt": "a ring", "max_steps": 4 });
        ask(router.clone(), "POST", "/v1/requests", headers, body).await
    };
    // The server comes up, one runs, one waits.
    let mut answers = Vec::new();
    for _ in 0..4 {
        answers.push(submit(&[]).await);
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    let cells: Vec<_> = answers.iter().map(|answer| answer.cell.as_deref().unwrap()).collect();
    assert_eq!(cells, ["east", "east", "west", "west"]);
    assert!(answers.iter().all(|answer| answer.status == 202));
    for answer in &answers {
        let path = format!("/v1/requests/{}", answer.json()["id"].as_str().unwrap());
        let seen = ask(router.clone(), "GET", &path, &[], Value::Null).await;
        assert_eq!((seen.status, &seen.cell), (200, &answer.cell));
    }
    let kept = submit(&[("idempotency-key", "k")]).await;
    assert_eq!((kept.status, kept.cell.as_deref()), (429, Some("east")), "it stays at home");
    let meant = submit(&[("atelier-cell", "west")]).await;
    assert_eq!((meant.status, meant.cell.as_deref()), (202, Some("west")));
    let unknown = submit(&[("atelier-cell", "north")]).await;
    assert_eq!((unknown.status, &unknown.json()["field"]), (422, &json!("Atelier-Cell")));
}
