//! Runs: how they start, come along and end.

use scheduling::{Policy, Time};

use super::event::{Cause, Effect, Failure, FailureClass, Outcome, RequestId, Run, RunId};
use super::rest::Rest;
use super::server::Occupancy;
use super::setback::Again;
use super::{Acceptance, Gate, Place, Scheduler};

/// A server that has just become free.
struct Vacated {
    server: usize,
    occupancy: Occupancy,
    /// Whether it was expected to take longer.
    early: bool,
}

impl<P: Policy> Scheduler<P> {
    /// The run has come so far, as a share of 0 to 1: the predicted finish follows it.
    pub fn progressed(&mut self, now: Time, run: RunId, share: f64) {
        if let Some(server) = self.server_of(run) {
            self.servers[server].progressed(now, share);
        }
    }

    /// The run produced its picture. A run that is not the current one of its server is ignored.
    pub fn completed(&mut self, now: Time, run: RunId) {
        let Some(vacated) = self.vacate(now, run) else { return };
        if let Occupancy::Running { run, .. } = vacated.occupancy {
            self.end(now, run.id.request, Outcome::Completed, Some(run));
            let rest = std::mem::take(&mut self.servers[vacated.server].rest);
            if rest.until.is_some() {
                self.capacity_grew(now);
            }
        }
        self.go_on(now, &vacated);
    }

    /// The run failed. The request is decided again, on servers that have not failed it first and
    /// on others after a pause. It ends if it has used up its attempts, or if no server is left
    /// that might do it.
    pub fn failed(&mut self, now: Time, run: RunId, failure: &Failure) {
        let Some(vacated) = self.vacate(now, run) else { return };
        if let Occupancy::Running { run, .. } = vacated.occupancy {
            let (server, id) = (vacated.server, run.id.request);
            let owner = self.live[&id].order.owner.clone();
            let rest = self.servers[server].rest.note(now, id, &owner, failure.class);
            self.alarms.extend(rest.map(super::Moment));
            self.set_back(now, run, failure);
            if rest.is_some() {
                self.replace_waiting(now, &[server], Cause::ServerResting);
            }
        }
        self.go_on(now, &vacated);
    }

    /// Decides again a request whose run has failed, or ends it.
    fn set_back(&mut self, now: Time, run: Run, failure: &Failure) {
        let id = run.id.request;
        let live = self.live.get_mut(&id).expect("what runs is live");
        live.place = Place::Unplaced;
        live.failures += u32::from(failure.class == FailureClass::Counted);
        if let Again::From(time) = live.setbacks.note(now, run.server, failure) {
            self.alarms.insert(super::Moment(time));
        }
        let live = &self.live[&id];
        let hopeless = (self.servers.iter().enumerate())
            .filter(|(_, state)| state.takes(&live.order))
            .all(|(server, _)| live.setbacks.exclude(server));
        let reason = if hopeless {
            live.setbacks.reasons()
        } else if live.failures >= self.limits.attempts || live.order.expires <= now {
            failure.reason.clone()
        } else {
            return self.place(now, id, Cause::Retry);
        };
        self.end(now, id, Outcome::Failed { reason }, Some(run));
    }

    /// Gives up the run of a server that has stopped answering: the request is decided again at
    /// once, without counting it as failed. The server stays taken until the run reports its end.
    pub(super) fn abandon(&mut self, now: Time, server: usize) {
        let Some(run) = self.servers[server].stop() else { return };
        self.effects.push(Effect::Abort(run));
        let id = run.id.request;
        self.live.get_mut(&id).expect("what runs is live").place = Place::Unplaced;
        self.place(now, id, Cause::Abandoned);
    }

    /// The run cannot be found any more after a restart, which is not the request's fault: it is
    /// decided again without counting as failed.
    pub fn lost(&mut self, now: Time, run: RunId) {
        let Some(vacated) = self.vacate(now, run) else { return };
        if let Occupancy::Running { run, .. } = vacated.occupancy {
            self.live.get_mut(&run.id.request).expect("what runs is live").place = Place::Unplaced;
            self.place(now, run.id.request, Cause::Restart);
        }
        self.go_on(now, &vacated);
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

    fn vacate(&mut self, now: Time, run: RunId) -> Option<Vacated> {
        let server = self.server_of(run)?;
        let early = self.servers[server].vacant_at(now) > now;
        let occupancy = std::mem::replace(&mut self.servers[server].occupancy, Occupancy::Idle);
        Some(Vacated { server, occupancy, early })
    }

    /// Gives a server that became free its next run: from its own queue, or, if that is empty and
    /// nobody could count on it, from another one.
    fn go_on(&mut self, now: Time, vacated: &Vacated) {
        self.start_next(now, vacated.server);
        if vacated.early {
            self.used_up(now, vacated.server);
        } else {
            self.try_out(now, vacated.server);
        }
        self.preload(now);
    }

    /// A server may have nothing left to do sooner than anybody could count on.
    pub(super) fn used_up(&mut self, now: Time, server: usize) {
        self.try_out(now, server);
        self.offer(now, server);
    }

    /// A server whose rest is over and whose trial came to nothing can be tried by what waits
    /// outside the queues.
    pub(super) fn try_out(&mut self, now: Time, server: usize) {
        let state = &self.servers[server];
        if state.rest.until.is_some() && state.is_vacant() {
            self.place_unplaced(now);
        }
    }

    /// Starts the head of the queue if the server is free and the journal has the request.
    pub(super) fn start_next(&mut self, now: Time, server: usize) {
        let state = &mut self.servers[server];
        if self.gate != Gate::Open || !state.available() || state.occupancy != Occupancy::Idle {
            return;
        }
        let Some(head) = state.waiting().front() else { return };
        let id = head.id;
        let live = self.live.get_mut(&id).expect("what waits is live");
        let Place::Queued { steps, .. } = live.place else { unreachable!("it waits") };
        if live.record == Acceptance::Pending {
            return;
        }
        let head = state.pop().expect("it has a front");
        live.attempts += 1;
        live.place = Place::Running { server };
        let run = Run {
            id: RunId { request: id, attempt: live.attempts },
            server,
            steps,
            start: now,
            load: head.load,
            service: head.service,
        };
        state.occupy(now, run);
        self.effects.push(Effect::Start(run));
    }

    /// Forgets what failed on a server, as it was restarted or somebody looked after it.
    pub(super) fn forgive(&mut self, server: usize) {
        self.servers[server].rest = Rest::default();
    }
}
