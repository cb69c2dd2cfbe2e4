//! What runs and probes tell of the servers: health, speed, and the ends of runs.

use dispatch::{Failure, FailureClass, Run, RunId, Speed};
use scheduling::{Model, Seconds, Time};

use super::Engine;
use crate::backends::{BackendError, Timing};
use crate::config::Config;
use crate::health::Turn;
use crate::journal::{CompletedRun, Record};
use crate::metrics;
use crate::speed::Lesson;
use crate::worker::Finished;

impl Engine {
    pub(super) fn finished(
        &mut self,
        now: Time,
        server: usize,
        id: RunId,
        result: Result<Finished, BackendError>,
    ) {
        self.aborts.remove(&id);
        self.servers[server].busy = now;
        let run = self.scheduler.servers()[server].occupancy.run().filter(|r| r.id == id).copied();
        match result {
            Ok(Finished { png, timing }) => {
                self.health(now, server, None);
                self.servers[server].failure = None;
                if let Some(run) = run {
                    self.learn(now, run, timing);
                }
                if timing != Timing::Direct {
                    self.writer.append(Record::Untimed { run: id });
                }
                self.scheduler.completed(now, id);
                self.carry_out(Some(png));
            }
            Err(BackendError::Unknown) => self.scheduler.lost(now, id),
            Err(error @ BackendError::Cancelled) => {
                let failure = Failure { class: error.class(), reason: error.to_string() };
                self.scheduler.failed(now, id, &failure);
            }
            Err(error) => {
                let name = self.servers[server].name.clone();
                let failure =
                    Failure { class: error.class(), reason: format!("server {name} {error}") };
                tracing::warn!(run = %id, server = %name, %error, "a run failed");
                self.metrics.add(metrics::RUN_FAILURES, &[("server", &name)], 1.0);
                // What the journal knows as failed counts against the attempts after a restart.
                if !matches!(failure.class, FailureClass::NotNow { .. }) {
                    let reason = failure.reason.clone();
                    self.writer.append(Record::RunFailed { run: id, at: now, reason });
                }
                // Before the server is found unhealthy, which would give up this very run.
                self.scheduler.failed(now, id, &failure);
                self.servers[server].failure = Some(error.to_string());
                if error.blames_server() {
                    self.health(now, server, Some(&error));
                    self.servers[server].doubt.notify_one();
                }
            }
        }
    }

    /// A probe or a run says something about a server's health.
    pub(super) fn health(&mut self, now: Time, server: usize, error: Option<&BackendError>) {
        let attached = &mut self.servers[server];
        let turn = match error {
            None => attached.health.succeeded(),
            Some(_) => attached.health.failed(),
        };
        attached.trouble = error.map(ToString::to_string);
        match turn {
            Some(Turn::Up) => {
                tracing::info!(server = %attached.name, "the server is healthy");
                self.scheduler.server_up(now, server);
                self.end_opening();
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
    fn learn(&mut self, now: Time, run: Run, timing: Timing) {
        let labels = [("server", &*self.servers[run.server].name)];
        let took = now - run.start;
        self.metrics.observe(metrics::SERVICE, &labels, took.seconds());
        if run.service > Seconds::ZERO {
            let error = took.seconds() / run.service.seconds() - 1.0;
            self.metrics.observe(metrics::PREDICTION_ERROR, &labels, error);
            self.statistics.ran(now, &self.servers[run.server].name, error);
        }
        let Some(tracked) = self.live.get(&run.id.request) else { return };
        let accepted = tracked.view.borrow().accepted.clone();
        let (model, pixels) = (self.config.request(&accepted).model, accepted.order.pixels);
        let Run { steps, load, .. } = run;
        self.timed(now, run.server, model, CompletedRun { steps, pixels, load, took }, timing);
    }

    /// What a run with a model says about the server. Times that are not its own teach nothing.
    pub(super) fn timed(
        &mut self,
        now: Time,
        server: usize,
        model: Model,
        run: CompletedRun,
        timing: Timing,
    ) {
        let Some(learned) = &mut self.servers[server].learned else { return };
        if timing != Timing::Direct {
            return;
        }
        let state = &self.scheduler.servers()[server];
        // A model that the server has no more was drawn with once more.
        if !state.hosts(model) {
            return;
        }
        let (speed, load) = (state.speed_with(model), state.load_of(model));
        match learned.of(model).observe(self.config.size(run.pixels).into(), &run) {
            Some(Lesson::Speed(learned)) if differs(learned, speed) => {
                self.scheduler.server_speed(now, server, model, learned);
            }
            Some(Lesson::Load(learned)) if (learned - load).seconds().abs() > 0.1 => {
                self.scheduler.server_load(now, server, model, learned);
            }
            _ => {}
        }
        self.strays(server);
    }

    /// Tells the scheduler how far the runs of a server stray, if that has changed notably.
    pub(super) fn strays(&mut self, server: usize) {
        let Some(learned) = &self.servers[server].learned else { return };
        let (sigma, before) = (learned.sigma(), self.scheduler.servers()[server].server.spread);
        let [now, before] = [sigma, before.sigma()].map(f64::from);
        if (now - before).abs() > 0.1 * now.max(before) {
            self.scheduler.server_spread(server, sigma.into());
        }
    }
}

/// Whether a change of speed is worth mentioning.
fn differs(a: Speed, b: Speed) -> bool {
    let typical = Config::typical_steps();
    let [a, b] = [a, b].map(|speed| speed.service_time(typical).seconds());
    (a / b - 1.0).abs() > 0.02
}
