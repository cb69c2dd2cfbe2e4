//! The built-in backend: real diffusion sampling on the CPU, without a trained network.
//!
//! A prompt such as "a red circle on blue" selects a set of procedurally drawn pictures, and the
//! exact denoiser of that set is run for the chosen number of steps. The noise, the steps and the
//! growth of the quality are real. What is set is the pace: each step takes at least the time that
//! a server of the configured speed would need, so that three servers of different speed can be
//! shown on any machine.

mod pictures;
mod sampler;

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use scheduling::StepRate;
use tokio::time::Instant;

pub use pictures::PictureSet;
pub use sampler::{Method, Sampling};

use super::{Backend, BackendError, Cancelled, Job, Painted, Timing, Watcher, picture};

/// A server that paints.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Demo {
    /// Pace at the reference size.
    pub rate: StepRate,
    /// Pixels at which the pace holds.
    pub reference_pixels: u32,
    /// DDIM or DDPM.
    pub method: Method,
}

#[async_trait]
impl Backend for Demo {
    async fn generate(&self, job: &Job, watcher: &dyn Watcher) -> Result<Painted, BackendError> {
        let spec = &job.spec;
        let (width, height) = (spec.width, spec.height);
        let size = f64::from(width) * f64::from(height) / f64::from(self.reference_pixels);
        let pace = Duration::from_secs_f64(size / self.rate.steps_per_second());
        let start = Instant::now();
        let (prompt, seed, steps, method) =
            (spec.prompt.clone(), spec.seed, job.steps, self.method);
        let mut sampling = aside(move || {
            let set = PictureSet::of_prompt(&prompt, width as usize, height as usize);
            Sampling::new(Arc::new(set), method, steps, seed)
        })
        .await?;
        for step in 1..=job.steps.get() {
            sampling = aside(move || {
                sampling.step();
                sampling
            })
            .await?;
            watcher.progress(f64::from(step) / f64::from(steps.get()));
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
    use std::sync::Mutex;

    struct Progress(Mutex<Vec<f64>>);
    impl Watcher for Progress {
        fn progress(&self, share: f64) {
            self.0.lock().unwrap().push(share);
        }
        fn ticket(&self, _: &str) {}
    }

    #[tokio::test(start_paused = true)]
    async fn paints_a_whole_picture_in_time_linear_in_steps_and_pixels() {
        let rate = StepRate::new(10.0).unwrap();
        let demo = Demo { rate, reference_pixels: 32 * 32, method: Method::Ddim };
        for (width, steps, seconds) in [(32, 5, 0.5), (32, 10, 1.0), (64, 10, 2.0)] {
            let spec = Spec {
                prompt: "a red circle on blue".into(),
                negative_prompt: String::new(),
                width,
                height: 32,
                seed: 3,
            };
            let run = RunId { request: RequestId(uuid::Uuid::nil()), attempt: 1 };
            let job = Job { run, spec, steps: Steps::new(steps).unwrap() };
            let progress = Progress(Mutex::default());
            let start = Instant::now();
            let png = demo.generate(&job, &progress).await.unwrap().png;
            assert_eq!(start.elapsed(), Duration::from_secs_f64(seconds));
            picture::check(&png, width, 32).unwrap();
            let shares = progress.0.into_inner().unwrap();
            assert_eq!((shares.len() as u32, shares.last()), (steps, Some(&1.0)));
        }
    }
}
