//! Measuring servers on demand, and writing what was found into the configuration.

mod quality;

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use dispatch::{RequestId, RunId, Speed};
use scheduling::message::bounded;
use scheduling::{Seconds, Steps};
use thiserror::Error;
use tokio::time::Instant;
use toml_edit::{ArrayOfTables, DocumentMut, Item, Table, TableLike, Value};

use crate::backends::{Backend, BackendError, Job, Timing, Watcher, picture};
use crate::config::{Config, ServerConfig};
use crate::gateway::BackendFactory;
use crate::journal::Spec;
use crate::speed::SpeedEstimator;

pub use self::quality::{Quality, measure_quality};

/// What was measured of one server, with one of its models if it has several.
#[derive(Clone, Debug, PartialEq)]
pub struct Measured {
    /// Its name.
    pub server: String,
    /// Name of the model.
    pub model: Option<String>,
    /// What its runs say.
    pub speed: Speed,
    /// How long the model takes to load, if it had to be loaded while anybody looked.
    pub load: Option<Seconds>,
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

/// Measures one server after the other at the default size, with `told` hearing of every one. Of a
/// server with models each is measured, and how long it takes to load.
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
        let name = server.name.get_ref();
        let failed = |problem| CalibrationError { server: name.clone(), problem };
        let mut bench = Bench::new(config, backends, server)?;
        let models = server.models.keys().map(Some);
        let models: Vec<_> = if server.models.is_empty() { vec![None] } else { models.collect() };
        let mut measured = Vec::new();
        for model in &models {
            measured.push(bench.measure(server, *model).await.map_err(failed)?);
        }
        // What was there at first has been driven out by the others: now it has to be loaded.
        if models.len() > server.resident() {
            for (model, measured) in models.iter().zip(&mut measured).take(server.resident()) {
                let steps = Steps::saturating(f64::from(STEPS[0]));
                let took = bench.run(*model, steps).await.map_err(failed)?;
                measured.load = Some(beyond(took, measured.speed, steps));
            }
        }
        measured.iter().for_each(&mut told);
        all.extend(measured);
    }
    Ok(all)
}

/// Measures one server with the first of its models alone.
///
/// # Errors
/// [`CalibrationError`] at the first run that fails.
pub async fn calibrate_one(
    config: &Config,
    backends: &BackendFactory,
    server: &ServerConfig,
) -> Result<Measured, CalibrationError> {
    let name = server.name.get_ref();
    let failed = |problem| CalibrationError { server: name.clone(), problem };
    let mut bench = Bench::new(config, backends, server)?;
    // That which requests are drawn with that name none, if it is there.
    let default = config.default_model().and_then(|model| server.models.get_key_value(model));
    let model = default.or_else(|| server.models.iter().next()).map(|(name, _)| name);
    bench.measure(server, model).await.map_err(failed)
}

/// How much longer than it draws a run took.
fn beyond(took: Seconds, speed: Speed, steps: Steps) -> Seconds {
    (took - speed.service_time(steps)).positive_part()
}

/// One server on the bench.
struct Bench<'a> {
    config: &'a Config,
    backend: Arc<dyn Backend>,
    /// Another one every time: some servers answer a repeated job from their cache.
    seed: u32,
}

impl<'a> Bench<'a> {
    fn new(
        config: &'a Config,
        backends: &BackendFactory,
        server: &ServerConfig,
    ) -> Result<Self, CalibrationError> {
        let backend = backends(server, config).map_err(|error| CalibrationError {
            server: server.name.get_ref().clone(),
            problem: error.to_string(),
        })?;
        Ok(Self { config, backend, seed: 0 })
    }

    async fn measure(
        &mut self,
        server: &ServerConfig,
        model: Option<&String>,
    ) -> Result<Measured, String> {
        let hosted = model.and_then(|model| server.models.get(model));
        let own = Speed { overhead: server.overhead_seconds, rate: server.steps_per_second };
        let prior = hosted.map_or(own, |hosted| hosted.speed(server));
        let mut estimator = SpeedEstimator::new(prior);
        let mut runs = Vec::new();
        let mut first = None;
        let plan = [STEPS[0]; WARM_UPS as usize].into_iter().chain(STEPS).chain(STEPS);
        for (index, steps) in (0u32..).zip(plan) {
            let steps = Steps::saturating(f64::from(steps));
            let took = self.run(model, steps).await?;
            first.get_or_insert((took, steps));
            if index >= WARM_UPS {
                estimator.observe(steps, 1.0, took);
                runs.push((steps, took));
            }
        }
        let speed = estimator.estimate().expect("there were enough runs");
        let load = first.filter(|_| model.is_some()).map(|(took, at)| beyond(took, speed, at));
        Ok(Measured {
            server: server.name.get_ref().clone(),
            model: model.cloned(),
            speed,
            load,
            runs,
        })
    }

    /// One run, and how long it took.
    async fn run(&mut self, model: Option<&String>, steps: Steps) -> Result<Seconds, String> {
        let start = Instant::now();
        self.paint(model, "a red circle on blue", steps).await?;
        let took = Seconds::of(start.elapsed().as_secs_f64());
        self.seed += 1;
        // A breath between runs, so that none is measured with the tail of the one before.
        tokio::time::sleep(Duration::from_millis(50)).await;
        Ok(took)
    }

    /// A picture as a PNG.
    async fn paint(
        &self,
        model: Option<&String>,
        prompt: &str,
        steps: Steps,
    ) -> Result<Bytes, String> {
        let job = job(self.config, model, prompt, steps, self.seed);
        let limit = self.config.limits.run_seconds.duration() * 5;
        let run = tokio::time::timeout(limit, self.backend.generate(&job, &Silent)).await;
        let painted =
            run.unwrap_or(Err(BackendError::TimedOut(limit))).map_err(|e| e.to_string())?;
        if painted.timing == Timing::Delayed {
            return Err("it is busy with something else: its runs waited".into());
        }
        let (width, height) = (job.spec.width, job.spec.height);
        picture::received(painted.png, width, height).map_err(|e| e.to_string())
    }
}

fn job(config: &Config, model: Option<&String>, prompt: &str, steps: Steps, seed: u32) -> Job {
    let request = RequestId(uuid::Uuid::new_v4());
    let spec = Spec {
        prompt: prompt.into(),
        negative_prompt: String::new(),
        width: config.defaults.width.get(),
        height: config.defaults.height.get(),
        seed: u64::from(seed),
        model: model.cloned(),
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
    let (mark, mut document) = parsed(text)?;
    for Measured { server, model, speed: Speed { overhead, rate }, load, .. } in measured {
        let table = named(&mut document, "server", server)?;
        let table: &mut dyn TableLike = match model {
            None => table,
            Some(model) => {
                let models = table.get_mut("models").and_then(Item::as_table_like_mut);
                let hosted = models.and_then(|models| models.get_mut(model));
                hosted.and_then(Item::as_table_like_mut).ok_or_else(|| {
                    format!("model {model:?} is nowhere to be written in `models` of {server:?}")
                })?
            }
        };
        put(table, "steps_per_second", rate.steps_per_second().max(1e-3));
        put(table, "overhead_seconds", overhead.seconds());
        if let Some(load) = load {
            put(table, "load_seconds", load.seconds());
        }
    }
    Ok(format!("{mark}{document}"))
}

/// The text of a configuration with a curve for a model, or for all where there are none.
///
/// # Errors
/// A message, if a text is not TOML or the model is not in it as `[[model]]`.
pub fn write_curve(text: &str, model: Option<&str>, curve: &str) -> Result<String, String> {
    let (mark, mut document) = parsed(text)?;
    let quality = parsed(curve)?.1.remove("quality").and_then(|item| item.into_value().ok());
    let quality = quality.ok_or("there is no quality in the curve")?;
    let table: &mut dyn TableLike = match model {
        None => {
            let objective = document.entry("objective").or_insert_with(toml_edit::table);
            objective.as_table_like_mut().ok_or("`objective` is no table")?
        }
        Some(model) => named(&mut document, "model", model)?,
    };
    // What stood there may have been a table of its own.
    table.remove("quality");
    table.insert("quality", Item::Value(quality.decorated(" ", "")));
    Ok(format!("{mark}{document}"))
}

/// A document, and the byte order mark before it, if there is one.
fn parsed(text: &str) -> Result<(&'static str, DocumentMut), String> {
    let mark = if text.starts_with('\u{feff}') { "\u{feff}" } else { "" };
    let document = text[mark.len()..].parse();
    Ok((mark, document.map_err(|e: toml_edit::TomlError| bounded(&e.to_string()))?))
}

/// The one of several tables that has a name.
fn named<'a>(
    document: &'a mut DocumentMut,
    tables: &str,
    name: &str,
) -> Result<&'a mut Table, String> {
    let all = document.get_mut(tables).and_then(Item::as_array_of_tables_mut);
    let mut all = all.into_iter().flat_map(ArrayOfTables::iter_mut);
    let found = all.find(|table| table.get("name").and_then(Item::as_str) == Some(name));
    found.ok_or_else(|| {
        format!("{name:?} is nowhere to be written: every {tables} must be a [[{tables}]]")
    })
}

/// Puts a rounded number in place of the one before, between the same comments.
fn put(table: &mut dyn TableLike, key: &str, number: f64) {
    let mut new = Value::from((number * 1e4).round() / 1e4);
    if let Some(old) = table.get(key).and_then(Item::as_value) {
        *new.decor_mut() = old.decor().clone();
    }
    table.insert(key, Item::Value(new));
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::backends::{Cancelled, Painted};
    use async_trait::async_trait;
    use std::sync::{Arc, Mutex};

    /// 0.5 s of overhead, 12 steps per second, 6 with `ddpm`, and room for one model, each of which
    /// takes 30 s to load.
    #[derive(Default)]
    struct Known(Mutex<Option<String>>);

    #[async_trait]
    impl Backend for Known {
        async fn generate(&self, job: &Job, _: &dyn Watcher) -> Result<Painted, BackendError> {
            let model = job.spec.model.clone().unwrap_or_default();
            let before = self.0.lock().unwrap().replace(model.clone());
            let load = if before.as_ref() == Some(&model) { 0.0 } else { 30.0 };
            let rate = if model == "ddpm" { 6.0 } else { 12.0 };
            let seconds = load + 0.5 + f64::from(job.steps.get()) / rate;
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
        let who: Vec<_> =
            measured.iter().map(|m| (m.server.as_str(), m.model.as_deref().unwrap())).collect();
        let [master, journeyman] = ["master", "journeyman"];
        let two = [(master, "ddim"), (master, "ddpm"), (journeyman, "ddim"), (journeyman, "ddpm")];
        assert_eq!(who, [&two[..], &[("apprentice", "ddim")]].concat());
        for m in &measured {
            assert_eq!(m.runs.len(), 6);
            let rate = if m.model.as_deref() == Some("ddpm") { 6.0 } else { 12.0 };
            assert!((m.speed.rate.steps_per_second() - rate).abs() < 0.05, "{m:?}");
            assert!((m.speed.overhead.seconds() - 0.5).abs() < 0.01, "{m:?}");
            assert!((m.load.unwrap().seconds() - 30.0).abs() < 0.05, "{m:?}");
        }
        let before = include_str!("demo.toml");
        let after = write_into(before, &measured).unwrap();
        let config = Config::parse("demo.toml", &after).unwrap();
        let hosted = &config.servers[1].models["ddpm"];
        assert!((hosted.steps_per_second.unwrap().steps_per_second() - 6.0).abs() < 0.05);
        assert!((hosted.load_seconds.seconds() - 30.0).abs() < 0.05);
        assert_eq!(config.servers[1].steps_per_second.steps_per_second(), 12.0, "as it was");
        let comment = before.lines().next().unwrap();
        assert!(after.starts_with(comment), "comments stay");
        assert!(write_into("[[", &[]).is_err());
        // A byte order mark stays too.
        let marked = write_into(&format!("\u{feff}{before}"), &measured).unwrap();
        assert_eq!(marked, format!("\u{feff}{after}"));
        let lone = Measured { model: None, load: None, ..measured[0].clone() };
        // Comments beside what is replaced stay as well.
        let guess = before.replace("= 18.0", "= 18.0 # a guess");
        let after = write_into(&guess, std::slice::from_ref(&lone)).unwrap();
        assert!(after.contains(" # a guess\n") && !after.contains("18.0"), "{after}");
        let inline = "server = [{ name = \"master\" }]";
        assert!(write_into(inline, &measured).unwrap_err().contains("[[server]]"));
        let other = Measured { model: Some("sdxl".into()), ..lone };
        let nowhere = write_into(before, &[other]).unwrap_err();
        assert!(nowhere.contains("\"sdxl\" is nowhere"), "{nowhere}");
    }

    #[test]
    fn a_curve_is_written_for_its_model_or_for_all() {
        let before = include_str!("demo.toml");
        let after = write_curve(before, Some("ddpm"), "quality = { table = [[4, 1.0], [9, 2.0]] }")
            .unwrap();
        let config = Config::parse("demo.toml", &after).unwrap();
        assert_eq!(config.objectives()[1].quality(Steps::new(9).unwrap()), 2.0);
        assert_eq!(config.objectives()[0].quality(Steps::MIN), 17.6, "as it was");
        let curve = "quality = { power_law = { best = 9.0, scale = 3.0, exponent = 1.0 } }";
        let after = write_curve("seed = 3 # mine\n", None, curve).unwrap();
        assert!(
            after.starts_with("seed = 3 # mine\n") && after.contains("[objective]\nquality = {"),
            "{after}"
        );
        assert!(write_curve(before, Some("sdxl"), curve).unwrap_err().contains("[[model]]"));
    }
}
