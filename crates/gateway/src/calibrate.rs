//! Measuring servers on demand, and writing what was found into the configuration.

use std::time::Duration;

use dispatch::{RequestId, RunId, Speed};
use scheduling::message::bounded;
use scheduling::{Seconds, Steps};
use thiserror::Error;
use tokio::time::Instant;
use toml_edit::{ArrayOfTables, DocumentMut, Item, Table, Value};

use crate::backends::{BackendError, Job, Timing, Watcher, picture};
use crate::config::Config;
use crate::gateway::BackendFactory;
use crate::journal::Spec;
use crate::speed::SpeedEstimator;

/// What was measured of one server.
#[derive(Clone, Debug, PartialEq)]
pub struct Measured {
    /// Its name.
    pub server: String,
    /// What its runs say.
    pub speed: Speed,
    /// Steps and duration of every measured run.
    pub runs: Vec<(Steps, Seconds)>,
}

/// A server could not be measured.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("server {server}: {problem}")]
pub struct CalibrationError {
    /// Which.
    pub server: String,
    /// Why.
    pub problem: String,
}

/// Steps of the measured runs; two runs of each.
const STEPS: [u32; 3] = [8, 20, 40];
/// Runs ahead of them that are not measured: the first one may have to load a model.
const WARM_UPS: u32 = 2;

/// Measures one server after the other at the default size, with `told` hearing of every one.
///
/// # Errors
/// [`CalibrationError`] at the first run that fails.
pub async fn calibrate(
    config: &Config,
    backends: &BackendFactory,
    mut told: impl FnMut(&Measured),
) -> Result<Vec<Measured>, CalibrationError> {
    let mut all = Vec::new();
    for server in &config.servers {
        let name = server.name.get_ref().clone();
        let failed = |problem: String| CalibrationError { server: name.clone(), problem };
        let backend = backends(server, config).map_err(|e| failed(e.to_string()))?;
        let prior = Speed { overhead: server.overhead_seconds, rate: server.steps_per_second };
        let mut estimator = SpeedEstimator::new(prior);
        let mut runs = Vec::new();
        let plan = [STEPS[0]; WARM_UPS as usize].into_iter().chain(STEPS).chain(STEPS);
        for (index, steps) in (0u32..).zip(plan) {
            let steps = Steps::saturating(f64::from(steps));
            // Another seed every time: some servers answer a repeated job from their cache.
            let job = job(config, steps, index);
            let start = Instant::now();
            let limit = config.limits.run_seconds.duration() * 5;
            let run = tokio::time::timeout(limit, backend.generate(&job, &Silent)).await;
            let painted = run
                .unwrap_or(Err(BackendError::TimedOut(limit)))
                .map_err(|e| failed(e.to_string()))?;
            let took = Seconds::of(start.elapsed().as_secs_f64());
            picture::check(&painted.png, job.spec.width, job.spec.height)
                .map_err(|e| failed(e.to_string()))?;
            if painted.timing == Timing::Delayed {
                return Err(failed("it is busy with something else: its runs waited".into()));
            }
            if index >= WARM_UPS {
                estimator.observe(steps, 1.0, took);
                runs.push((steps, took));
            }
            // A breath between runs, so that none is measured with the tail of the one before.
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        let speed = estimator.estimate().expect("there were enough runs");
        let measured = Measured { server: name.clone(), speed, runs };
        told(&measured);
        all.push(measured);
    }
    Ok(all)
}

fn job(config: &Config, steps: Steps, index: u32) -> Job {
    let request = RequestId(uuid::Uuid::new_v4());
    let spec = Spec {
        prompt: "a red circle on blue".into(),
        negative_prompt: String::new(),
        width: config.defaults.width.get(),
        height: config.defaults.height.get(),
        seed: u64::from(index),
    };
    Job { run: RunId { request, attempt: 1 }, spec, steps }
}

struct Silent;

impl Watcher for Silent {
    fn progress(&self, _: f64) {}
    fn ticket(&self, _: &str) {}
}

/// The text of a configuration with the measured speeds in it; everything else, comments too,
/// stays as it is.
///
/// # Errors
/// A message, if the text is not TOML or a server is not in it as `[[server]]`.
pub fn write_into(text: &str, measured: &[Measured]) -> Result<String, String> {
    let mark = if text.starts_with('\u{feff}') { "\u{feff}" } else { "" };
    let mut document: DocumentMut =
        text[mark.len()..].parse().map_err(|e: toml_edit::TomlError| bounded(&e.to_string()))?;
    for Measured { server, speed: Speed { overhead, rate }, .. } in measured {
        let servers = document.get_mut("server").and_then(Item::as_array_of_tables_mut);
        let mut tables = servers.into_iter().flat_map(ArrayOfTables::iter_mut);
        let named = |table: &&mut Table| {
            table.get("name").and_then(Item::as_str).is_some_and(|name| name == server)
        };
        let table = tables.find(named).ok_or_else(|| {
            format!("{server:?} is nowhere to be written: every server must be a [[server]]")
        })?;
        put(table, "steps_per_second", rate.steps_per_second().max(1e-3));
        put(table, "overhead_seconds", overhead.seconds());
    }
    Ok(format!("{mark}{document}"))
}

/// Puts a rounded number in place of the one before, between the same comments.
fn put(table: &mut Table, key: &str, number: f64) {
    let mut new = Value::from((number * 1e4).round() / 1e4);
    if let Some(old) = table.get(key).and_then(Item::as_value) {
        *new.decor_mut() = old.decor().clone();
    }
    table.insert(key, Item::Value(new));
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::backends::{Backend, Cancelled, Painted};
    use async_trait::async_trait;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicU32, Ordering};

    /// 0.5 s of overhead, 12 steps per second, and a model to load first.
    #[derive(Default)]
    struct Known(AtomicU32);

    #[async_trait]
    impl Backend for Known {
        async fn generate(&self, job: &Job, _: &dyn Watcher) -> Result<Painted, BackendError> {
            let load = if self.0.fetch_add(1, Ordering::Relaxed) == 0 { 30.0 } else { 0.0 };
            let seconds = load + 0.5 + f64::from(job.steps.get()) / 12.0;
            tokio::time::sleep(Duration::from_secs_f64(seconds)).await;
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

    #[tokio::test(start_paused = true)]
    async fn finds_overhead_and_rate_and_writes_them_down() {
        let config = Config::demo();
        let backends: BackendFactory = Arc::new(|_, _| Ok(Arc::new(Known::default())));
        let measured = calibrate(&config, &backends, |_| ()).await.unwrap();
        assert_eq!(measured.len(), 3);
        for m in &measured {
            assert_eq!(m.runs.len(), 6);
            assert!((m.speed.rate.steps_per_second() - 12.0).abs() < 0.05, "{m:?}");
            assert!((m.speed.overhead.seconds() - 0.5).abs() < 0.01, "{m:?}");
        }
        let before = include_str!("demo.toml");
        let after = write_into(before, &measured).unwrap();
        let config = Config::parse("demo.toml", &after).unwrap();
        let rate = config.servers[2].steps_per_second.steps_per_second();
        assert!((rate - 12.0).abs() < 0.05);
        let comment = before.lines().next().unwrap();
        assert!(after.starts_with(comment), "comments stay");
        assert!(write_into("[[", &[]).is_err());
        // A byte order mark stays too.
        let marked = write_into(&format!("\u{feff}{before}"), &measured).unwrap();
        assert_eq!(marked, format!("\u{feff}{after}"));
        // Comments beside what is replaced stay as well.
        let guess = before.replace("= 18.0", "= 18.0 # a guess");
        let after = write_into(&guess, &measured).unwrap();
        assert!(after.contains(" # a guess\n") && !after.contains("18.0"), "{after}");
        let inline = "server = [{ name = \"master\" }]";
        assert!(write_into(inline, &measured).unwrap_err().contains("[[server]]"));
    }
}
