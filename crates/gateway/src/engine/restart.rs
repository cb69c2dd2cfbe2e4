//! Going on where the journal ends.

use std::sync::Arc;

use dispatch::{Run, RunId};
use scheduling::{Request, Seconds};

use super::Engine;
use super::requests::Acceptance;
use crate::journal::{CompletedRun, Unfinished};

impl Engine {
    /// Takes back what the journal holds unfinished. A run that was under way is looked up.
    pub(crate) fn restore(&mut self, unfinished: Vec<Unfinished>) {
        let now = self.timeline.now();
        for Unfinished { accepted, attempts, failures, open } in unfinished {
            let order = self.sized(accepted.order.clone());
            self.track(Arc::new(accepted), Acceptance::Durable);
            let server = open
                .as_ref()
                .and_then(|run| self.servers.iter().position(|server| server.name == run.server));
            let (Some(open), Some(server)) = (open, server) else {
                self.scheduler.restore(order, attempts, failures);
                continue;
            };
            let id = RunId { request: order.id, attempt: attempts };
            let (steps, start, service) = (open.steps, open.start, open.service);
            let run = Run { id, server, steps, start, load: Seconds::ZERO, service };
            self.tickets.extend(open.ticket.map(|ticket| (id, ticket)));
            self.scheduler.restore_running(now, order, run, failures);
        }
        self.carry_out(None);
    }

    /// Takes note of the arrivals before the start, the oldest first.
    pub(crate) fn recall(&mut self, arrivals: &[Request]) {
        for request in arrivals {
            self.scheduler.recall(request);
        }
    }

    /// Learns from runs before the start.
    pub(crate) fn relearn(&mut self, server: usize, runs: Vec<CompletedRun>) {
        let reference = f64::from(self.reference_pixels);
        let Some(estimator) = &mut self.servers[server].estimator else { return };
        for run in runs {
            estimator.observe(run.steps, f64::from(run.pixels) / reference, run.took);
        }
        if let Some(learned) = estimator.estimate() {
            self.scheduler.server_speed(self.timeline.now(), server, learned);
        }
    }
}
