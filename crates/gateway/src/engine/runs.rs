//! What runs and probes tell of the servers: health, speed, and the ends of runs.

use bytes::Bytes;
use scheduling::{Seconds, Time};

use super::Engine;
use crate::backends::BackendError;
use crate::config::Config;
use crate::health::Turn;
use crate::journal::Record;
use crate::metrics;
use crate::scheduler::{Run, RunId, Speed};

impl Engine {
    pub(super) fn finished(
        &mut self,
        now: Time,
        server: usize,
        id: RunId,
        result: Result<Bytes, BackendError>,
    ) {
        self.aborts.remove(&id);
        let run = self.scheduler.servers()[server].occupancy.run().filter(|r| r.id == id).copied();
        match result {
            Ok(png) => {
                self.health(now, server, None);
                if let Some(run) = run {
                    self.learn(now, run);
                }
                self.picture = Some(png);
                self.scheduler.completed(now, id);
                self.carry_out();
                self.picture = None;
            }
            Err(BackendError::Unknown) => self.scheduler.lost(now, id),
            Err(BackendError::Cancelled) => self.scheduler.failed(now, id, "cancelled"),
            Err(error) => {
                let name = self.servers[server].name.clone();
                let reason = format!("server {name} {error}");
                tracing::warn!(run = %id, server = %name, %error, "a run failed");
                self.metrics.add(metrics::RUN_FAILURES, &[("server", &name)], 1.0);
                self.writer.append(Record::RunFailed { run: id, at: now, reason: reason.clone() });
                // The server goes first, so that the request is not sent back to it.
                if error.blames_server() {
                    self.health(now, server, Some(&error));
                }
                self.scheduler.failed(now, id, &reason);
            }
        }
    }

    /// A probe or a run says something about a server's health.
    pub(super) fn health(&mut self, now: Time, server: usize, error: Option<&BackendError>) {
        let attached = &mut self.servers[server];
        let turn = match error {
            None => attached.health.succeeded(),
            Some(error) => attached.health.failed(error.is_unreachable()),
        };
        attached.trouble = error.map(ToString::to_string);
        match turn {
            Some(Turn::Up) => {
                tracing::info!(server = %attached.name, "the server is healthy");
                self.scheduler.server_up(now, server);
            }
            Some(Turn::Down) => {
                let why = attached.trouble.as_deref().unwrap_or("");
                tracing::warn!(server = %attached.name, why, "the server is unhealthy");
                self.scheduler.server_down(now, server);
            }
            None => {}
        }
    }

    /// Compares a completed run with its prediction and corrects the server's speed.
    fn learn(&mut self, now: Time, run: Run) {
        let attached = &mut self.servers[run.server];
        let labels = [("server", &*attached.name)];
        let took = now - run.start;
        self.metrics.observe(metrics::SERVICE, &labels, took.seconds());
        if run.service > Seconds::ZERO {
            let error = took.seconds() / run.service.seconds() - 1.0;
            self.metrics.observe(metrics::PREDICTION_ERROR, &labels, error);
        }
        let Some(tracked) = self.live.get(&run.id.request) else { return };
        let pixels = tracked.view.borrow().accepted.order.pixels;
        let size = f64::from(pixels) / f64::from(self.reference_pixels);
        let learned = attached.estimator.as_mut().and_then(|e| e.observe(run.steps, size, took));
        let current = self.scheduler.servers()[run.server].speed;
        if let Some(learned) = learned
            && differs(learned, current)
        {
            self.scheduler.server_speed(now, run.server, learned);
        }
    }
}

/// Whether a change of speed is worth mentioning.
fn differs(a: Speed, b: Speed) -> bool {
    let typical = Config::typical_steps();
    let [a, b] = [a, b].map(|speed| speed.service_time(typical, 1.0).seconds());
    (a / b - 1.0).abs() > 0.02
}
