//! Runs: how they start, come along and end.

use scheduling::Time;

use super::event::{Cause, Effect, Outcome, RequestId, Run, RunId};
use super::server::Occupancy;
use super::{Acceptance, Gate, Place, Scheduler};

impl Scheduler {
    /// The run has come so far, as a share of 0 to 1: the predicted finish follows it.
    pub fn progressed(&mut self, now: Time, run: RunId, share: f64) {
        if let Some(server) = self.server_of(run) {
            self.servers[server].progressed(now, share);
        }
    }

    /// The run produced its picture. A run that is not the current one of its server is ignored.
    pub fn completed(&mut self, now: Time, run: RunId) {
        let Some((server, occupancy)) = self.vacate(run) else { return };
        if let Occupancy::Running { run, .. } = occupancy {
            self.end(now, run.id.request, Outcome::Completed, Some(run));
        }
        self.start_next(now, server);
    }

    /// The run failed. The request is decided again unless it has used up its budget.
    pub fn failed(&mut self, now: Time, run: RunId, reason: &str) {
        let Some((server, occupancy)) = self.vacate(run) else { return };
        if let Occupancy::Running { run, .. } = occupancy {
            let id = run.id.request;
            let budget = self.limits.attempts;
            let live = self.live.get_mut(&id).expect("what runs is live");
            live.avoid = Some(server);
            live.failures += 1;
            live.place = Place::Unplaced;
            if live.failures >= budget {
                let reason = reason.to_string();
                self.end(now, id, Outcome::Failed { reason }, Some(run));
            } else {
                self.place(now, id, Cause::Retry);
            }
        }
        self.start_next(now, server);
    }

    /// The run cannot be found any more after a restart, which is not the request's fault: it is
    /// decided again without counting as failed.
    pub fn lost(&mut self, now: Time, run: RunId) {
        let Some((server, occupancy)) = self.vacate(run) else { return };
        if let Occupancy::Running { run, .. } = occupancy {
            self.live.get_mut(&run.id.request).expect("what runs is live").place = Place::Unplaced;
            self.place(now, run.id.request, Cause::Restart);
        }
        self.start_next(now, server);
    }

    /// The requester gives up. False if the request is unknown or has ended.
    pub fn cancel(&mut self, now: Time, id: RequestId) -> bool {
        let Some(live) = self.live.get(&id) else { return false };
        let place = live.place;
        let mut run = None;
        if let Place::Running { server } = place {
            run = self.servers[server].stop();
            self.effects.extend(run.map(Effect::Abort));
        }
        self.end(now, id, Outcome::Cancelled, run);
        true
    }

    fn server_of(&self, run: RunId) -> Option<usize> {
        self.servers.iter().position(|s| s.occupancy.run().is_some_and(|r| r.id == run))
    }

    fn vacate(&mut self, run: RunId) -> Option<(usize, Occupancy)> {
        let server = self.server_of(run)?;
        let occupancy = std::mem::replace(&mut self.servers[server].occupancy, Occupancy::Idle);
        Some((server, occupancy))
    }

    /// Starts the head of the queue if the server is free and the journal has the request.
    pub(super) fn start_next(&mut self, now: Time, server: usize) {
        let state = &mut self.servers[server];
        if self.gate != Gate::Open || !state.available() || state.occupancy != Occupancy::Idle {
            return;
        }
        let Some(head) = state.waiting.front() else { return };
        let id = head.id;
        let live = self.live.get_mut(&id).expect("what waits is live");
        let Place::Queued { steps, .. } = live.place else { unreachable!("it waits") };
        if live.record == Acceptance::Pending {
            return;
        }
        let head = state.waiting.pop_front().expect("it has a front");
        live.attempts += 1;
        live.place = Place::Running { server };
        let run = Run {
            id: RunId { request: id, attempt: live.attempts },
            server,
            steps,
            start: now,
            service: head.service,
        };
        state.occupy(now, run);
        self.effects.push(Effect::Start(run));
    }
}
