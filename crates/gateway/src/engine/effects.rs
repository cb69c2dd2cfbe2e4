//! What the scheduler says, carried out: written down, told, dispatched.

use dispatch::{Decided, Effect, End, Outcome, Run, RunId, Standing};
use scheduling::Seconds;
use tokio_util::sync::CancellationToken;

use super::{Engine, Starts, longest};
use crate::backends::{BackendError, Job};
use crate::journal::{DecisionEntry, EndEntry, OpenRun, Picture, Png, Record, Shadow, word};
use crate::metrics;
use crate::status::{Phase, RunView};
use crate::worker::{Assignment, Task};

impl Engine {
    /// Does what the scheduler says. The picture is that of the run that has just completed.
    pub(super) fn carry_out(&mut self, mut picture: Option<Png>) {
        loop {
            let effects = self.scheduler.take_effects();
            if effects.is_empty() {
                return;
            }
            for effect in effects {
                self.effect(effect, &mut picture);
            }
        }
    }

    fn effect(&mut self, effect: Effect, picture: &mut Option<Png>) {
        match effect {
            Effect::Offered(offered) => self.offered(offered),
            Effect::Decided(decided) => self.decided(decided),
            Effect::Unplaced(id) => {
                self.settle(self.timeline.now(), id);
                self.change(id, |s| s.phase = Phase::Unplaced);
            }
            Effect::Start(run) => {
                let Run { id, server, steps, start, load, service } = run;
                if load > Seconds::ZERO {
                    self.loads(run);
                }
                let server = self.servers[server].name.clone();
                let open = OpenRun { server, steps, start, load, service, ticket: None };
                self.writer.append(Record::Started { id, run: open });
                match self.starts {
                    Starts::AtOnce => self.dispatch(run, Task::Generate),
                    Starts::Durable => drop(self.starting.insert(id, run)),
                }
            }
            Effect::LookUp(run) => {
                let ticket = self.tickets.remove(&run.id);
                self.dispatch(run, Task::LookUp { ticket });
            }
            Effect::Abort(run) => {
                self.aborts.remove(&run.id).into_iter().for_each(|abort| abort.cancel());
                // Its server has never heard of it.
                if self.starting.remove(&run.id).is_some() {
                    let now = self.timeline.now();
                    self.finished(now, run.server, run.id, Err(BackendError::Cancelled));
                }
            }
            Effect::Preload(preload) => self.preload(preload),
            Effect::Ended(end) => {
                let completed = end.outcome == Outcome::Completed;
                self.ended(end, picture.take_if(|_| completed));
            }
        }
    }

    /// The journal has the start of a run.
    pub(super) fn started(&mut self, id: RunId) {
        if let Some(run) = self.starting.remove(&id) {
            self.dispatch(run, Task::Generate);
        }
    }

    /// Counts a run that is to load its model.
    fn loads(&self, run: Run) {
        let Some(tracked) = self.live.get(&run.id.request) else { return };
        let accepted = tracked.view.borrow().accepted.clone();
        let model = accepted.spec.model.as_deref().unwrap_or_default();
        let labels = [("server", &*self.servers[run.server].name), ("model", model)];
        self.metrics.add(metrics::LOADS, &labels, 1.0);
    }

    fn decided(&mut self, decided: Decided) {
        let Decided { request, at, cause, quote } = decided;
        self.settle(at, request);
        let server = self.servers[quote.decision.server].name.clone();
        let policy = self.policy.clone();
        self.metrics.add(
            metrics::DECISIONS,
            &[("policy", &policy), ("server", &server), ("cause", &word(&cause))],
            1.0,
        );
        self.count_unfamiliar();
        let shadow = quote
            .shadow
            .map(|d| Shadow { server: self.servers[d.server].name.clone(), steps: d.steps });
        let entry = DecisionEntry {
            at,
            cause,
            server,
            steps: quote.decision.steps,
            start: quote.execution.start,
            finish: quote.execution.finish,
            policy: policy.clone(),
            shadow,
        };
        if let (Some(agrees), Some(name)) = (entry.agrees(), &self.shadow_policy) {
            let agrees = if agrees { "true" } else { "false" };
            let labels = [("policy", &**name), ("against", &*policy), ("agrees", agrees)];
            self.metrics.add(metrics::SHADOW_DECISIONS, &labels, 1.0);
        }
        self.compare(request, &entry);
        let ahead = match self.scheduler.standing(request) {
            Some(Standing::Waiting { ahead, .. }) => ahead,
            _ => 0,
        };
        let explained = self.explanations.of(request);
        let offer = explained.as_deref().and_then(|explained| explained.offer(&entry.server));
        self.change(request, |status| {
            status.decision = Some(entry.clone());
            status.load = offer.map(|offer| offer.load);
            status.phase = Phase::Waiting { ahead };
        });
        self.writer.append(Record::Decided { request, decision: entry });
    }

    /// Counts what the policy says it has never met in training, and tells of it less and less often.
    fn count_unfamiliar(&mut self) {
        let (count, stranger) = self.scheduler.policy().unfamiliar();
        // Another policy begins anew.
        let before = if count < self.unfamiliar { 0 } else { self.unfamiliar };
        self.unfamiliar = count;
        if count == before {
            return;
        }
        let new = (count - before) as f64;
        self.metrics.add(metrics::UNFAMILIAR, &[("policy", &self.policy)], new);
        // Quotes ask the policy, too: the count may pass a power of two without being one here.
        if count.checked_ilog2() != before.checked_ilog2() {
            let (policy, what) = (&self.policy, stranger.unwrap_or_default());
            tracing::warn!(%policy, decisions = count, what, "never met in training; the dearer price counts");
        }
    }

    fn dispatch(&mut self, run: Run, task: Task) {
        let Some(tracked) = self.live.get(&run.id.request) else { return };
        let spec = tracked.view.borrow().accepted.spec.clone();
        let abort = CancellationToken::new();
        self.aborts.insert(run.id, abort.clone());
        let limit = longest(&self.config, run.service);
        let job = Job { run: run.id, spec, steps: run.steps };
        let assignment = Assignment { job, task, limit, abort };
        let attached = &mut self.servers[run.server];
        attached.trials.stop();
        attached.assign(self.timeline.now(), assignment);
        let server = attached.name.clone();
        let finish = run.start + run.service;
        let seen = RunView { server, steps: run.steps, start: run.start, finish };
        self.change(run.id.request, |status| {
            status.load = Some(run.load);
            status.phase = Phase::Running { run: seen, progress: None };
        });
    }

    fn ended(&mut self, end: End, png: Option<Png>) {
        self.count(&end);
        let End { request, at, outcome, run, attempts, tardiness, quality, reward } = end;
        let server = run.map(|run| self.servers[run.server].name.clone());
        let lived = self.timeline.lived();
        let kept_until = lived + Seconds::of(self.config.limits.keep_seconds.seconds());
        let picture = png.map(|png| Picture { png, kept_until });
        let word = match &outcome {
            Outcome::Completed => "completed",
            Outcome::Failed { .. } => "failed",
            Outcome::Cancelled => "cancelled",
            Outcome::Expired => "expired",
        };
        self.metrics.add(metrics::ENDED, &[("outcome", word)], 1.0);
        if let (Some(quality), Some(reward), Some(server)) = (quality, reward, &server) {
            let labels = [("server", &**server)];
            self.metrics.observe(metrics::QUALITY, &labels, quality);
            self.metrics.observe(metrics::TARDINESS, &labels, tardiness.seconds());
            self.metrics.add(metrics::REWARD, &labels, reward);
        }
        let (steps, start) = (run.map(|run| run.steps), run.map(|run| run.start));
        let end =
            EndEntry { at, outcome, server, steps, start, attempts, tardiness, quality, reward };
        if let Some(tracked) = self.live.get_mut(&request) {
            tracked.ending = Some(end.clone());
        }
        self.writer.append(Record::Ended { request, end, picture, lived });
    }
}
