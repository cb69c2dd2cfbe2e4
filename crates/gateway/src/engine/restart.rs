//! Going on where the journal ends.

use std::sync::Arc;

use dispatch::{Run, RunId};
use scheduling::Model;

use super::Engine;
use super::requests::Acceptance;
use crate::journal::{Accepted, CompletedRun, OpenRun, Unfinished};

impl Engine {
    /// Takes back what the journal holds unfinished. A run that was under way is looked up.
    pub(crate) fn restore(&mut self, unfinished: Vec<Unfinished>) {
        let now = self.timeline.now();
        for Unfinished { accepted, attempts, failures, open } in unfinished {
            let order = self.completed(&accepted);
            self.track(Arc::new(accepted), Acceptance::Durable);
            let server = open
                .as_ref()
                .and_then(|run| self.servers.iter().position(|server| server.name == run.server));
            let (Some(open), Some(server)) = (open, server) else {
                self.scheduler.restore(order, attempts, failures);
                continue;
            };
            let id = RunId { request: order.id, attempt: attempts };
            let OpenRun { steps, start, load, service, .. } = open;
            let run = Run { id, server, steps, start, load, service };
            self.tickets.extend(open.ticket.map(|ticket| (id, ticket)));
            self.scheduler.restore_running(now, order, run, failures);
        }
        self.carry_out(None);
    }

    /// Takes note of the arrivals before the start, the oldest first.
    pub(crate) fn recall(&mut self, arrivals: &[Accepted]) {
        for accepted in arrivals {
            self.scheduler.recall(&self.config.request(accepted));
        }
    }

    /// Learns from runs before the start, with one of the server's models.
    pub(crate) fn relearn(&mut self, server: usize, model: Model, runs: &[CompletedRun]) {
        let Some(learned) = &mut self.servers[server].learned else { return };
        let learned = learned.of(model);
        for run in runs {
            learned.observe(self.config.size(run.pixels).into(), run);
        }
        let (speed, load) = (learned.speed.estimate(), learned.load.estimate());
        let now = self.timeline.now();
        if let Some(speed) = speed {
            self.scheduler.server_speed(now, server, model, speed);
        }
        if let Some(load) = load {
            self.scheduler.server_load(now, server, model, load);
        }
        self.strays(server);
    }
}
