//! What the engine counts for those who look back.

use dispatch::{Cause, End, RequestId};
use scheduling::{Seconds, Time};

use super::Engine;
use super::statistics::{Ended, Scale};
use crate::journal::{DecisionEntry, Window, Worth};
use crate::status::Phase;
use crate::timeline::Timeline;

/// How many seconds more the wall clock shows than the time line.
pub(super) fn ahead(timeline: &Timeline) -> f64 {
    let moment = timeline.clock().moment;
    moment.wall - moment.time.seconds()
}

impl Engine {
    /// Compares what both policies expected of a request on its arrival, by the offers that were before both.
    pub(super) fn compare(&mut self, id: RequestId, entry: &DecisionEntry) {
        if entry.cause != Cause::Arrival {
            return;
        }
        let (Some(shadow), Some(agrees)) = (&entry.shadow, entry.agrees()) else { return };
        let (Some(explained), Some(tracked)) = (self.explanations.of(id), self.live.get(&id))
        else {
            return;
        };
        let request = self.config.request(&tracked.view.borrow().accepted);
        let objective = self.scheduler.objective_of(request.model);
        let expected = |server: &str, steps| explained.expected(server, steps, &request, objective);
        let expected =
            expected(&entry.server, entry.steps).zip(expected(&shadow.server, shadow.steps));
        if let Some((expected, shadow)) = expected {
            self.statistics.decided(entry.at, agrees, expected, shadow);
        }
    }

    /// Counts the time of a run that leaves its server, whatever came of it.
    pub(super) fn settle(&mut self, now: Time, id: RequestId) {
        let Some(tracked) = self.live.get(&id) else { return };
        let view = tracked.view.borrow();
        if let Phase::Running { run, .. } = &view.phase {
            let tally = self.statistics.tally(&view.accepted.order.owner);
            tally.served = tally.served + (now - run.start).positive_part();
        }
    }

    /// Counts an acceptance.
    pub(super) fn accepted(&mut self, id: RequestId) {
        if let Some(tracked) = self.live.get(&id) {
            let view = tracked.view.borrow();
            self.statistics.tally(&view.accepted.order.owner).accepted += 1;
        }
    }

    /// Counts an end.
    pub(super) fn count(&mut self, end: &End) {
        self.settle(end.at, end.request);
        let Some(tracked) = self.live.get(&end.request) else { return };
        let accepted = tracked.view.borrow().accepted.clone();
        let order = &accepted.order;
        let (penalty, worth) = (order.request.penalty, Worth::of(end));
        let ended = Ended { outcome: &end.outcome, penalty, worth };
        self.statistics.ended(end.at, &order.owner, &ended);
    }

    /// The last day before the start, of which the journal may know something.
    pub(crate) fn before(&self) -> Window {
        let span = Seconds::of(f64::from(Scale::Day.resolution()));
        let day = Seconds::of(span.seconds() * f64::from(Scale::Day.buckets()));
        let (until, lived) = (self.timeline.now(), self.timeline.lived() - day);
        let from = Time::new((until.seconds() - day.seconds()).max(0.0)).unwrap_or(Time::ZERO);
        Window { from, until, lived, span, offset: self.statistics.offset() }
    }

    /// Takes a sample of how much waits.
    pub(super) fn sample(&mut self, now: Time) {
        let there = |index: &usize| self.servers[*index].stay.is_some();
        let places = (0..self.servers.len()).filter(there);
        let backlogs: Vec<_> = places.map(|index| self.scheduler.backlog(now, index)).collect();
        self.statistics.sampled(now, self.scheduler.waiting(), &backlogs);
    }
}
