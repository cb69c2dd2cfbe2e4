//! Preloads: a picture of a single step, which nobody sees, has a server load the model for it. That works
//! with every kind of server, and takes its time as runs do.

use dispatch::Preload;
use scheduling::{Seconds, Steps, Time};
use tokio_util::sync::CancellationToken;

use super::trials::model_of;
use super::{Engine, longest};
use crate::backends::{BackendError, Job};
use crate::journal::CompletedRun;
use crate::metrics;
use crate::worker::{Assignment, Task, Trial};

impl Engine {
    /// Has an idle server load a model.
    pub(super) fn preload(&mut self, Preload { server, model, load }: Preload) {
        let attached = &mut self.servers[server];
        attached.trials.stop();
        let name = self.config.model_name(model);
        let job = attached.trials.picture(name, Steps::MIN);
        attached.preload = Some(job.run);
        tracing::debug!(server = %attached.name, model = name, "a preload");
        let (limit, abort) = (longest(&self.config, load), CancellationToken::new());
        let now = self.timeline.now();
        attached.assign(now, Assignment { job, task: Task::Try, limit, abort });
    }

    /// A preload has ended. Whether the server is healthy is for probes to say.
    pub(super) fn preloaded(
        &mut self,
        now: Time,
        server: usize,
        job: &Job,
        result: &Result<Trial, BackendError>,
    ) {
        let attached = &mut self.servers[server];
        attached.preload = None;
        let outcome = if result.is_ok() { "completed" } else { "failed" };
        let model = job.spec.model.as_deref().unwrap_or_default();
        let labels = [("server", &*attached.name), ("model", model), ("outcome", outcome)];
        self.metrics.add(metrics::PRELOADS, &labels, 1.0);
        match result {
            Ok(Trial { took, timing }) => {
                let model = model_of(&self.config, job);
                let load = self.scheduler.servers()[server].load_of(model);
                let took = Seconds::of(took.as_secs_f64());
                let pixels = job.spec.width * job.spec.height;
                let run = CompletedRun { steps: job.steps, pixels, load, took };
                self.timed(now, server, model, run, *timing);
            }
            Err(error) => tracing::info!(server = %attached.name, %error, "a preload failed"),
        }
        self.scheduler.preloaded(now, server, result.as_ref().map(drop).map_err(drop));
    }
}
