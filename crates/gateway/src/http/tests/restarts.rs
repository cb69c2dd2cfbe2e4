//! What a gateway knows again after a restart, whatever the clock says by then.

use std::sync::atomic::{AtomicI64, Ordering};

use scheduling::{Decision, Observation, Policy, Steps, Traffic};

use super::*;

/// Keeps what it was told of the arrivals.
struct Listener(Arc<Mutex<Traffic>>);

impl Policy for Listener {
    fn decide(&mut self, observation: &Observation<'_>) -> Decision {
        *self.0.lock().unwrap() = observation.traffic.clone();
        Decision { server: 0, steps: observation.offers[0].bounds.clamp(Steps::MIN) }
    }
}

#[tokio::test(start_paused = true)]
async fn the_policy_knows_the_traffic_that_the_journal_knows() {
    let heard = Arc::new(Mutex::new(Traffic::default()));
    let listen = |world: &mut World| {
        let heard = heard.clone();
        world.policies = Arc::new(move |_, _| Ok(Box::new(Listener(heard.clone()))));
    };
    let t = start_with(tempfile::tempdir().unwrap(), "", listen).await;
    for penalty in ["linear", "quadratic", "square_root", "linear", "linear"] {
        tokio::time::sleep(Duration::from_secs(3)).await;
        t.finish(&json!({ "prompt": "x", "penalty": penalty, "due_in_seconds": 7 })).await;
    }
    let before = heard.lock().unwrap().clone();
    assert_eq!(before.arrivals(), 5);
    let Test { gateway, folder, .. } = t;
    gateway.stop(Duration::ZERO).await;
    *heard.lock().unwrap() = Traffic::default();
    let t = start_with(folder, "", listen).await;
    // A quote counts as an arrival only for itself.
    t.post("/v1/quotes", &json!({ "prompt": "x", "due_in_seconds": 7 })).await;
    let after = heard.lock().unwrap().clone();
    assert_eq!(after.arrivals(), 6);
    assert_eq!(after.penalties().map(|shares| (6.0 * shares[0]).round()), Some(4.0));
    assert!((after.mean_slack().unwrap().seconds() - 7.0).abs() < 1e-9);
    // Three seconds and the runs between them, and what the restart took.
    let interval = after.mean_interval().unwrap().seconds();
    assert!((2.4..4.5).contains(&interval), "{interval}");
}

#[tokio::test(start_paused = true)]
async fn a_clock_that_is_wrong_at_one_start_deletes_nothing_and_freezes_nothing() {
    static WALL: AtomicI64 = AtomicI64::new(1_800_000_000);
    let wall = |world: &mut World| world.wall = WallClock(|| WALL.load(Ordering::SeqCst) as f64);
    let t = start_with(tempfile::tempdir().unwrap(), "", wall).await;
    let mut paths = vec![];
    let mut test = Some(t);
    let day = 86_400;
    for jump in [0, 2 * day, -2 * day, 40 * day, -40 * day, 35 * 365 * day, -35 * 365 * day] {
        let Test { gateway, folder, .. } = test.take().unwrap();
        gateway.stop(Duration::ZERO).await;
        WALL.fetch_add(jump, Ordering::SeqCst);
        let t = start_with(folder, "", wall).await;
        let before = t.gateway.handle.timeline.now();
        let done = t.finish(&red()).await;
        assert_eq!(done["state"], "completed", "{done}");
        assert_eq!(done["result"]["tardiness_seconds"], 0.0, "{done}");
        paths.push(done["result"]["image"].as_str().unwrap().to_string());
        // Long enough for what is old to be deleted.
        tokio::time::sleep(Duration::from_secs(20)).await;
        let passed = t.gateway.handle.timeline.now() - before;
        assert!(passed.seconds() >= 20.0, "time goes on after a jump of {jump} s");
        for path in &paths {
            assert_eq!(t.get(path).await.status, 200, "after a jump of {jump} s");
        }
        test = Some(t);
    }
}
