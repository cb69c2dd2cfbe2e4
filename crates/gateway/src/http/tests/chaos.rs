//! All faults together, in random order: servers that refuse, hang, fail, cut the connection, send
//! garbage and wrong pictures, a disk that fills up, and a clock that jumps.
//!
//! `ATELIER_FAULTS` sets the number of rounds, `ATELIER_SEED` the seed.

use std::collections::HashSet;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};

use scheduling::{Generator, Purpose};

use super::faults::Disk;
use super::*;
use crate::backends::Backend;
use crate::backends::tests::KINDS;
use crate::backends::tests::stand_in::{Mood, Shared, stand_in};
use crate::journal::{Archive as _, Filter, Reader};

static WALL: AtomicI64 = AtomicI64::new(1_800_000_000);

/// A backend that nobody can connect to while `gone`.
pub(super) struct Gate {
    pub(super) inner: Arc<dyn Backend>,
    pub(super) gone: Arc<AtomicBool>,
}

impl Gate {
    fn pass(&self) -> Result<(), BackendError> {
        let gone = self.gone.load(Ordering::SeqCst);
        if gone { Err(BackendError::Unreachable("connection refused".into())) } else { Ok(()) }
    }
}

#[async_trait]
impl Backend for Gate {
    async fn generate(&self, job: &Job, watcher: &dyn Watcher) -> Result<Painted, BackendError> {
        self.pass()?;
        self.inner.generate(job, watcher).await
    }

    async fn cancel(&self, job: &Job, ticket: Option<&str>) -> Result<Cancelled, BackendError> {
        self.pass()?;
        self.inner.cancel(job, ticket).await
    }

    async fn probe(&self) -> Result<(), BackendError> {
        self.pass()?;
        self.inner.probe().await
    }
}

/// What can be made to go wrong.
#[derive(Default)]
struct Faults {
    servers: Vec<(Shared, Arc<AtomicBool>)>,
    full: Arc<AtomicBool>,
}

impl Faults {
    fn misbehave(&self, g: &mut Generator) {
        for (server, gone) in &self.servers {
            let moods = Mood::ENDING.len();
            let mood = match g.below(moods + 4) {
                drawn if drawn < moods => Mood::ENDING[drawn],
                drawn if drawn == moods => Mood::Hang,
                _ => Mood::Faithful,
            };
            *server.mood.lock().unwrap() = mood;
            gone.store(g.below(6) == 0, Ordering::SeqCst);
        }
        self.full.store(g.below(6) == 0, Ordering::SeqCst);
        if g.below(4) == 0 {
            WALL.fetch_add(g.between(-1e9, 1e9) as i64, Ordering::SeqCst);
        }
    }

    fn behave(&self) {
        for (server, gone) in &self.servers {
            *server.mood.lock().unwrap() = Mood::Faithful;
            gone.store(false, Ordering::SeqCst);
        }
        self.full.store(false, Ordering::SeqCst);
    }
}

/// A gateway in front of a server of each kind.
async fn start_all() -> (Test, Faults) {
    let folder = tempfile::tempdir().unwrap();
    let journal = folder.path().join("journal.db");
    let mut text = format!(
        "policy = \"greedy\"\njournal = {journal:?}\n[defaults]\nwidth = 16\nheight = 16\n\
         [limits]\nrun_seconds = 1.5\n[health]\ninterval_seconds = 0.05\nsuccesses = 1\n"
    );
    let mut faults = Faults::default();
    for kind in KINDS {
        let (server, url) = stand_in().await;
        text += &real_server(kind, &url, folder.path());
        faults.servers.push((server, Arc::default()));
    }
    let config = Config::parse("chaos.toml", &text).unwrap();
    let mut world = World::real(Arc::new(rules));
    world.wall = WallClock(|| WALL.load(Ordering::SeqCst) as f64);
    let gates: Vec<_> = faults.servers.iter().map(|(_, gone)| gone.clone()).collect();
    world.backends = Arc::new(move |server, config| {
        let index = KINDS.iter().position(|kind| *kind == server.name.get_ref()).unwrap();
        let inner = crate::config::connect(server, config)?;
        Ok(Arc::new(Gate { inner, gone: gates[index].clone() }))
    });
    let full = faults.full.clone();
    world.journal = Box::new(move |journal| Ok(Box::new(Disk { journal, full })));
    let gateway = Gateway::start(config, world).unwrap();
    let test = Test { gateway, scripts: Vec::new(), folder, key: None };
    test.ready().await;
    (test, faults)
}

#[tokio::test]
async fn whatever_goes_wrong_every_acknowledged_request_ends_once_and_says_how() {
    let number = |name: &str, default: u64| {
        std::env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or(default)
    };
    let (rounds, seed) = (number("ATELIER_FAULTS", 40), number("ATELIER_SEED", 1));
    println!("rounds {rounds}, seed {seed}");
    let mut g = Generator::new(seed, Purpose::Search, 0);
    let (t, faults) = start_all().await;
    let mut acknowledged = Vec::new();
    for _ in 0..rounds {
        faults.misbehave(&mut g);
        for _ in 0..=g.below(3) {
            let body = json!({ "prompt": "x", "max_steps": 20, "due_in_seconds": 5 });
            let answer = t.post("/v1/requests", &body).await;
            if answer.status == 202 {
                acknowledged.push(answer.headers["location"].to_str().unwrap().to_string());
            } else {
                assert!(matches!(answer.status, 429 | 503), "{:?}", answer.body);
                assert!(answer.headers.contains_key("retry-after"), "{:?}", answer.body);
            }
        }
        // While the disk is full, its answer would wait for the end to become durable.
        if g.below(4) == 0 && !acknowledged.is_empty() && !faults.full.load(Ordering::SeqCst) {
            let path = &acknowledged[acknowledged.len() - 1 - g.below(acknowledged.len().min(4))];
            let status = t.send(Method::DELETE, path, &[], &Value::Null).await.status;
            assert!(matches!(status, 200 | 409), "{status}");
        }
        tokio::time::sleep(Duration::from_millis(30)).await;
    }
    faults.behave();
    let mut states = std::collections::BTreeMap::<String, usize>::new();
    for path in &acknowledged {
        let look = async || {
            t.send(Method::GET, path, &[("prefer", "wait=120")], &Value::Null).await.json()
        };
        let (done, again) = (look().await, look().await);
        let state = done["state"].as_str().unwrap();
        assert!(matches!(state, "completed" | "failed" | "cancelled"), "{done}");
        assert_eq!(state == "failed", done["reason"].is_string(), "{done}");
        for field in ["attempts", "server", "steps", "tardiness_seconds"] {
            assert_eq!(done["result"][field], again["result"][field], "an end never changes");
        }
        *states.entry(state.into()).or_default() += 1;
    }
    println!("{} acknowledged: {states:?}", acknowledged.len());
    assert!(states.len() > 1, "some of it went wrong: {states:?}");
    let counted = String::from_utf8(t.get("/metrics").await.body.to_vec()).unwrap();
    for (state, count) in states {
        let line = format!("atelier_requests_ended_total{{outcome=\"{state}\"}} {count}");
        assert!(counted.lines().any(|l| l == line), "{line} is missing in\n{counted}");
    }
    // What was refused leaves nothing behind, as soon as that could be written down.
    let reader = Reader::open(&t.folder.path().join("journal.db")).unwrap();
    let acknowledged: HashSet<_> = acknowledged.into_iter().collect();
    let written = || -> HashSet<_> {
        let all = reader.list(&Filter { limit: 100_000, ..Filter::default() }).unwrap();
        all.entries.iter().map(|e| format!("/v1/requests/{}", e.accepted.order.id)).collect()
    };
    for _ in 0..200 {
        if written() == acknowledged {
            return;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert_eq!(written(), acknowledged);
}
