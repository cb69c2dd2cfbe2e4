//! Servers that come up late, and servers that become slow and fast again.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use tokio::time::Instant;

use super::chaos::Gate;
use super::*;

/// A gateway that cannot reach any server while the flag is set.
fn start_dark(gone: &Arc<AtomicBool>) -> Test {
    let gone = gone.clone();
    start_cold(tempfile::tempdir().unwrap(), "", move |world| {
        let connect = world.backends.clone();
        world.backends = Arc::new(move |server, config| {
            Ok(Arc::new(Gate { inner: connect(server, config)?, gone: gone.clone() }))
        });
    })
}

#[tokio::test(start_paused = true)]
async fn requests_of_the_first_seconds_wait_for_a_server() {
    let gone = Arc::new(AtomicBool::new(true));
    let t = start_dark(&gone);
    let appear = async {
        tokio::time::sleep(Duration::from_secs(1)).await;
        assert_eq!(t.get("/readyz").await.status, 503);
        gone.store(false, Ordering::SeqCst);
    };
    let (red, quote) = (red(), red());
    let (done, quoted, ()) = tokio::join!(t.finish(&red), t.post("/v1/quotes", &quote), appear);
    assert_eq!((&done["state"], quoted.status), (&json!("completed"), 200), "{done}");
}

#[tokio::test(start_paused = true)]
async fn they_do_not_wait_for_ever_and_later_ones_not_at_all() {
    let t = start_dark(&Arc::new(AtomicBool::new(true)));
    for longest in [4, 1] {
        let start = Instant::now();
        let refused = t.post("/v1/requests", &red()).await;
        assert_eq!((refused.status, &refused.json()["reason"]), (503, &json!("no_server")));
        assert!(refused.headers.contains_key("retry-after"));
        assert!(start.elapsed() < Duration::from_secs(longest), "{:?}", start.elapsed());
    }
}

/// Takes so many milliseconds a step.
struct Paced(Arc<AtomicU64>);

#[async_trait]
impl Backend for Paced {
    async fn generate(&self, job: &Job, _: &dyn Watcher) -> Result<Painted, BackendError> {
        let pace = self.0.load(Ordering::SeqCst);
        tokio::time::sleep(Duration::from_millis(pace * u64::from(job.steps.get()))).await;
        let (width, height) = (job.spec.width, job.spec.height);
        let png = picture::encode(&vec![0; (3 * width * height) as usize], width, height);
        Ok(Painted { png: png.into(), timing: Timing::Direct })
    }

    async fn cancel(&self, _: &Job, _: Option<&str>) -> Result<Cancelled, BackendError> {
        Ok(Cancelled::Stopped)
    }

    async fn probe(&self) -> Result<(), BackendError> {
        Ok(())
    }
}

async fn start_paced(extra: &str) -> (Test, Arc<AtomicU64>) {
    let pace = Arc::new(AtomicU64::new(100));
    let first = pace.clone();
    let t = start_with(tempfile::tempdir().unwrap(), extra, move |world| {
        world.backends = Arc::new(move |server, _| {
            let steady = || Arc::new(AtomicU64::new(100));
            let pace = if server.name.get_ref() == "a" { first.clone() } else { steady() };
            Ok(Arc::new(Paced(pace)))
        });
    })
    .await;
    (t, pace)
}

#[tokio::test(start_paused = true)]
async fn an_idle_server_that_became_slow_is_tried_until_it_has_recovered() {
    for allowed in [true, false] {
        let (t, pace) = start_paced(&format!("[health]\ntrials = {allowed}\n")).await;
        let enable = async |enabled: bool| {
            let body = json!({ "enabled": enabled });
            let answer = t.send(Method::PATCH, "/v1/servers/b", &[], &body).await;
            assert_eq!(answer.status, 200);
        };
        let rate = async || {
            let servers = t.get("/v1/servers").await.json();
            servers["servers"][0]["steps_per_second"].as_f64().unwrap()
        };
        // One after the other on the first server, ten times as slow as configured.
        enable(false).await;
        pace.store(1000, Ordering::SeqCst);
        let body = json!({ "prompt": "x", "min_steps": 2, "max_steps": 2 });
        for _ in 0..6 {
            assert_eq!(t.finish(&body).await["state"], "completed");
        }
        assert!(rate().await < 1.5, "{}", rate().await);
        enable(true).await;
        pace.store(100, Ordering::SeqCst);
        tokio::time::sleep(Duration::from_mins(2)).await;
        let rate = rate().await;
        assert_eq!((rate - 10.0).abs() < 1.0, allowed, "{rate}");
        // Nobody but the metrics hears of the trials.
        let metrics = String::from_utf8(t.get("/metrics").await.body.to_vec()).unwrap();
        let tried = "atelier_trials_total{server=\"a\",outcome=\"completed\"}";
        assert_eq!(metrics.contains(tried), allowed, "{metrics}");
        let list = t.get("/v1/requests").await.json();
        assert_eq!(list["requests"].as_array().unwrap().len(), 6);
    }
}

#[tokio::test]
async fn jobs_of_others_in_comfyuis_queue_are_its_backlog() {
    let folder = tempfile::tempdir().unwrap();
    let (stand_in, url) = crate::backends::tests::stand_in::stand_in().await;
    stand_in.jobs.lock().unwrap().insert("somebody's".into(), 1_000);
    let server = real_server("comfyui", &url, folder.path());
    let text = format!("policy = \"myopic\"\n{SIZE}[health]\ninterval_seconds = 0.1\n{server}");
    let t = start_as(folder, &text, |world| world.backends = Arc::new(crate::config::connect));
    t.ready().await;
    let backlog = async || {
        let servers = t.get("/v1/servers").await.json();
        servers["servers"][0]["backlog_seconds"].as_f64().unwrap()
    };
    // As a picture of 30 steps, of which a server takes 0.43 s.
    while backlog().await < 0.1 {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    stand_in.jobs.lock().unwrap().clear();
    while backlog().await > 0.0 {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

const SIZE: &str = "[defaults]\nwidth = 16\nheight = 16\n";
