//! The built-in backend: real diffusion sampling on the CPU, without a trained network.
//!
//! A prompt such as "a red circle on blue" selects a set of procedurally drawn pictures, and the
//! exact denoiser of that set is run for the chosen number of steps. The noise, the steps and the
//! growth of the quality are real. What is set is the pace: each step takes at least the time that
//! a server of the configured speed would need, so that three servers of different speed can be
//! shown on any machine; and a model takes as long to load as it is configured to.

mod pictures;
mod sampler;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use scheduling::StepRate;
use tokio::time::Instant;

pub use pictures::PictureSet;
pub use sampler::{Method, Sampling};

use super::{Backend, BackendError, Cancelled, Job, Painted, Preview, Timing, Watcher, picture};

/// How a painter draws with one model.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Canvas {
    /// Pace at the reference size.
    pub(crate) rate: StepRate,
    /// Time to load it.
    pub(crate) load: Duration,
    /// DDIM or DDPM.
    pub(crate) method: Method,
}

/// A server that paints.
#[derive(Debug)]
pub(crate) struct Demo {
    /// Pixels at which the pace holds.
    reference_pixels: u32,
    /// For pictures that name no model.
    canvas: Canvas,
    /// By model.
    hosted: BTreeMap<String, Canvas>,
    /// How many of them it can have loaded at once.
    resident: usize,
    /// Those that are loaded, the least recently used first.
    loaded: Mutex<Vec<String>>,
}

impl Demo {
    /// Least time between two previews.
    const PREVIEWS: Duration = Duration::from_millis(250);

    pub(crate) fn new(
        reference_pixels: u32,
        canvas: Canvas,
        hosted: BTreeMap<String, Canvas>,
        (resident, loaded): (usize, Vec<String>),
    ) -> Self {
        Self { reference_pixels, canvas, hosted, resident, loaded: Mutex::new(loaded) }
    }

    /// Loads the model of a picture if it is not there.
    async fn load(&self, model: &str, load: Duration) {
        let is_there = |loaded: &Vec<String>| loaded.iter().any(|other| other == model);
        if !is_there(&self.loaded()) {
            let full = self.loaded().len() >= self.resident;
            if full {
                self.loaded().remove(0);
            }
            tokio::time::sleep(load).await;
        }
        let mut loaded = self.loaded();
        loaded.retain(|other| other != model);
        loaded.push(model.into());
    }

    fn loaded(&self) -> MutexGuard<'_, Vec<String>> {
        self.loaded.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[async_trait]
impl Backend for Demo {
    async fn generate(&self, job: &Job, watcher: &dyn Watcher) -> Result<Painted, BackendError> {
        let spec = &job.spec;
        let (width, height) = (spec.width, spec.height);
        let size = f64::from(width) * f64::from(height) / f64::from(self.reference_pixels);
        let model = spec.model.as_deref();
        let canvas = match model.map(|model| (model, self.hosted.get(model))) {
            None => self.canvas,
            Some((model, Some(canvas))) => {
                self.load(model, canvas.load).await;
                *canvas
            }
            Some((model, None)) => {
                let problem = format!("there is no model {model:?} here");
                return Err(BackendError::JobRefused(problem.into()));
            }
        };
        let pace = Duration::from_secs_f64(size / canvas.rate.steps_per_second());
        let start = Instant::now();
        let (prompt, seed, steps, method) =
            (spec.prompt.clone(), spec.seed, job.steps, canvas.method);
        let mut sampling = aside(move || {
            let set = PictureSet::of_prompt(&prompt, width as usize, height as usize);
            Sampling::new(Arc::new(set), method, steps, seed)
        })
        .await?;
        let (last, mut shown) = (job.steps.get(), start);
        for step in 1..=last {
            let due = watcher.wants_previews() && shown.elapsed() >= Self::PREVIEWS && step < last;
            let preview;
            (sampling, preview) = aside(move || {
                sampling.step();
                let preview = due.then(|| picture::encode(&sampling.rgb(), width, height));
                (sampling, preview)
            })
            .await?;
            if let Some(preview) = preview.and_then(|png| Preview::of(png.into())) {
                watcher.preview(preview);
                shown = Instant::now();
            }
            watcher.progress(f64::from(step) / f64::from(last));
            tokio::time::sleep_until(start + pace * step).await;
        }
        let png = aside(move || picture::encode(&sampling.rgb(), width, height)).await?;
        Ok(Painted { png: Bytes::from(png), timing: Timing::Direct })
    }

    async fn cancel(&self, _: &Job, _: Option<&str>) -> Result<Cancelled, BackendError> {
        Ok(Cancelled::Stopped)
    }

    async fn probe(&self) -> Result<(), BackendError> {
        Ok(())
    }

    async fn loaded(&self) -> Result<Option<Vec<String>>, BackendError> {
        Ok((!self.hosted.is_empty()).then(|| self.loaded().clone()))
    }
}

/// Computes off the threads that serve connections.
async fn aside<T: Send + 'static>(
    compute: impl FnOnce() -> T + Send + 'static,
) -> Result<T, BackendError> {
    let computed = tokio::task::spawn_blocking(compute).await;
    computed.map_err(|error| BackendError::Panicked(error.to_string().into()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::journal::Spec;
    use dispatch::{RequestId, RunId};
    use scheduling::Steps;
    #[derive(Default)]
    struct Progress(Mutex<Vec<f64>>, Mutex<Vec<Preview>>);
    impl Watcher for Progress {
        fn progress(&self, share: f64) {
            self.0.lock().unwrap().push(share);
        }
        fn preview(&self, picture: Preview) {
            self.1.lock().unwrap().push(picture);
        }
        fn wants_previews(&self) -> bool {
            true
        }
        fn ticket(&self, _: &str) {}
    }

    #[tokio::test(start_paused = true)]
    async fn paints_a_whole_picture_in_time_linear_in_steps_and_pixels() {
        let rate = StepRate::new(10.0).unwrap();
        let canvas = Canvas { rate, load: Duration::from_secs(7), method: Method::Ddim };
        let demo = Demo::new(32 * 32, canvas, BTreeMap::new(), (1, Vec::new()));
        for (width, steps, seconds, seen) in [(32, 5, 0.5, 1), (32, 10, 1.0, 2), (64, 10, 2.0, 4)] {
            let spec = Spec {
                prompt: "a red circle on blue".into(),
                negative_prompt: String::new(),
                width,
                height: 32,
                seed: 3,
                model: None,
            };
            let run = RunId { request: RequestId(uuid::Uuid::nil()), attempt: 1 };
            let job = Job { run, spec, steps: Steps::new(steps).unwrap() };
            let progress = Progress::default();
            let start = Instant::now();
            let png = demo.generate(&job, &progress).await.unwrap().png;
            assert_eq!(start.elapsed(), Duration::from_secs_f64(seconds));
            picture::check(&png, width, 32).unwrap();
            let shares = progress.0.into_inner().unwrap();
            assert_eq!((shares.len() as u32, shares.last()), (steps, Some(&1.0)));
            // At most four times a second, and not of what is finished.
            let previews = progress.1.into_inner().unwrap();
            assert_eq!(previews.len(), seen);
            for preview in previews {
                picture::check(preview.bytes(), width, 32).unwrap();
            }
        }
    }
}
