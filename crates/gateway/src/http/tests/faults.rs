//! Whatever goes wrong around it, a request that was acknowledged ends once and says how.

use super::chaos::Gate;
use super::*;
use crate::backends::tests::stand_in::{Mood, stand_in};
use crate::journal::{Archive as _, Reader};

#[tokio::test]
async fn whatever_a_backend_does_the_request_is_run_elsewhere() {
    let t = start("").await;
    let cut = picture::encode(&[0; 3 * 16 * 16], 16, 16);
    let faults = [
        Act::Fail(BackendError::Status {
            status: 500,
            message: "out of memory".into(),
            retry_after: None,
        }),
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

#[tokio::test(start_paused = true)]
async fn a_server_that_cannot_be_reached_is_left_alone_until_it_can() {
    let gone = Arc::new(std::sync::atomic::AtomicBool::new(false));
    let first = gone.clone();
    let t = start_with(tempfile::tempdir().unwrap(), "", move |world| {
        let connect = world.backends.clone();
        world.backends = Arc::new(move |server, config| {
            let inner = connect(server, config)?;
            let gone = if server.name.get_ref() == "a" { first.clone() } else { Arc::default() };
            Ok(Arc::new(Gate { inner, gone }))
        });
    })
    .await;
    let healthy = async || t.get("/v1/servers").await.json()["servers"][0].clone();
    for _ in 0..3 {
        gone.store(true, std::sync::atomic::Ordering::SeqCst);
        // A request that meets it is run elsewhere at once, before any probe.
        let done = t.finish(&red()).await;
        assert_eq!((&done["state"], &done["result"]["server"]), (&json!("completed"), &json!("b")));
        while healthy().await["healthy"] == true {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        let server = healthy().await;
        assert_eq!(server["enabled"], true);
        assert!(server["trouble"].as_str().unwrap().contains("refused"), "{server}");
        gone.store(false, std::sync::atomic::Ordering::SeqCst);
        while healthy().await["healthy"] == false {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }
}

#[tokio::test]
async fn a_job_that_fails_speaks_against_no_server_that_answers_its_probes() {
    let t = start("").await;
    for status in [400, 404, 422, 429, 500, 503] {
        let error = BackendError::Status {
            status,
            message: "out of memory".into(),
            retry_after: Some(Duration::ZERO),
        };
        t.scripts.iter().for_each(|s| s.0.lock().unwrap().push_back(Act::Fail(error.clone())));
        t.finish(&red()).await;
        let servers = t.get("/v1/servers").await.json();
        for server in servers["servers"].as_array().unwrap() {
            assert_eq!(server["healthy"], true, "{status}: {server}");
        }
        t.scripts.iter().for_each(|s| s.0.lock().unwrap().clear());
    }
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

/// A disk that fills up and is made room on again.
pub(super) struct Disk {
    pub(super) journal: crate::journal::Sqlite,
    pub(super) full: Arc<std::sync::atomic::AtomicBool>,
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
        world.journal = Box::new(move |journal| Ok(Box::new(Disk { journal, full: disk })));
    };
    let t = start_with(folder, "", wrap).await;
    t.scripts[0].0.lock().unwrap().push_back(Act::Deliver(0.2));
    let accepted = t.post("/v1/requests", &red()).await.json();
    let path = format!("/v1/requests/{}", accepted["id"].as_str().unwrap());
    full.store(true, std::sync::atomic::Ordering::SeqCst);
    let refused = t.post("/v1/requests", &red()).await;
    assert_eq!((refused.status, &refused.json()["reason"]), (503, &json!("journal_unavailable")));
    let ready = t.get("/readyz").await;
    assert_eq!((ready.status, &ready.json()["reason"]), (503, &json!("journal_unavailable")));
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

#[tokio::test(start_paused = true)]
async fn a_clock_that_jumps_changes_nothing_for_requests_under_way() {
    use std::sync::atomic::{AtomicU64, Ordering};
    static WALL: AtomicU64 = AtomicU64::new(1_800_000_000);
    let folder = tempfile::tempdir().unwrap();
    let wall = |world: &mut World| world.wall = WallClock(|| WALL.load(Ordering::SeqCst) as f64);
    let t = start_with(folder, "", wall).await;
    for (jump, date) in
        [(946_080_000, "2057-01-07T08:00:20Z"), (-1_000_000_000, "2025-05-01T06:13:40Z")]
    {
        // One runs and one waits behind it.
        t.scripts.iter().for_each(|s| s.0.lock().unwrap().push_back(Act::Deliver(4.0)));
        let mut paths = Vec::new();
        for _ in 0..3 {
            let accepted = t.post("/v1/requests", &red()).await;
            paths.push(accepted.headers["location"].to_str().unwrap().to_string());
        }
        WALL.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |wall| wall.checked_add_signed(jump))
            .unwrap();
        tokio::time::sleep(Duration::from_secs(3)).await;
        for path in paths {
            let done =
                t.send(Method::GET, &path, &[("prefer", "wait=60")], &Value::Null).await.json();
            assert_eq!(
                (&done["state"], &done["result"]["tardiness_seconds"]),
                (&json!("completed"), &json!(0.0)),
                "{done}"
            );
            assert!(done["result"]["run_seconds"].as_f64().unwrap() < 5.0, "{done}");
        }
        // A date means what the clock shows when it is read.
        let due = t.finish(&json!({ "prompt": "x", "due": date })).await;
        assert_eq!(due["result"]["tardiness_seconds"], 0.0, "{due}");
    }
    let metrics = String::from_utf8(t.get("/metrics").await.body.to_vec()).unwrap();
    assert!(metrics.contains("atelier_clock_drift_seconds -5392"), "{metrics}");
}

#[tokio::test]
async fn a_run_that_was_under_way_at_a_crash_is_found_again_where_it_runs() {
    for (kind, submitting) in [("sdcpp", "/sdcpp/v1/img_gen"), ("comfyui", "/prompt")] {
        let folder = tempfile::tempdir().unwrap();
        let (stand_in, url) = stand_in().await;
        let journal = folder.path().join("journal.db");
        let text = format!(
            "journal = {journal:?}\npolicy = \"myopic\"\n[defaults]\nwidth = 16\nheight = 16\n{}",
            real_server(kind, &url, folder.path())
        );
        let start = || {
            let config = Config::parse("crash.toml", &text).unwrap();
            Gateway::start(config, World::real(Arc::new(rules))).unwrap()
        };
        let gateway = start();
        let t = Test { gateway, scripts: Vec::new(), folder, key: None };
        t.ready().await;
        *stand_in.mood.lock().unwrap() = Mood::Hang;
        let accepted = t.post("/v1/requests", &red()).await;
        let path = accepted.headers["location"].to_str().unwrap().to_string();
        // Until the journal knows by which name it runs there.
        let reader = Reader::open(&journal).unwrap();
        let named = || reader.unfinished().unwrap().into_iter().find_map(|u| u.open?.ticket);
        while named().is_none() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        let Test { gateway, folder, .. } = t;
        gateway.stop(Duration::ZERO).await;
        *stand_in.mood.lock().unwrap() = Mood::Faithful;
        let gateway = start();
        let t = Test { gateway, scripts: Vec::new(), folder, key: None };
        let done = t.send(Method::GET, &path, &[("prefer", "wait=60")], &Value::Null).await.json();
        assert_eq!((&done["state"], &done["result"]["attempts"]), (&json!("completed"), &json!(1)));
        let seen = stand_in.seen.lock().unwrap();
        let submitted = seen.iter().filter(|(path, _)| path == submitting).count();
        assert_eq!(submitted, 1, "{kind} paints it once");
    }
}
