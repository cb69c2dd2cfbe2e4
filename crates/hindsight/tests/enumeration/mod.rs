//! The optimum by an enumeration that knows nothing of [`hindsight::exact`].

use hindsight::Timeline;
use scheduling::verify::Order;
use scheduling::{Instance, Loaded, Seconds, Steps};

/// Every sequence of runs on every server with every number of steps: the rewards of all that can
/// be, tried one by one.
pub(crate) fn enumerate(instance: &Instance, order: Order, timeline: Timeline) -> f64 {
    struct Try<'a> {
        instance: &'a Instance,
        order: Order,
        timeline: Timeline,
        /// When each server is free, the last request that ran there, and what is loaded.
        servers: Vec<(f64, Option<usize>, Loaded)>,
        ran: Vec<bool>,
        best: f64,
    }
    impl Try<'_> {
        fn recurse(&mut self, earned: f64, open: usize) {
            if self.ran.iter().all(|&ran| ran) {
                self.best = self.best.max(earned);
                return;
            }
            // Servers are filled one after the other: each schedule is met once.
            for server in open..self.servers.len() {
                for i in 0..self.ran.len() {
                    let (free, last, loaded) = self.servers[server].clone();
                    let late = self.order == Order::FirstComeFirstServed && last > Some(i);
                    if self.ran[i] || late {
                        continue;
                    }
                    let request = &self.instance.requests()[i];
                    let there = &self.instance.cluster()[server];
                    let Some(offer) = there.offer(request, Seconds::ZERO, &loaded) else {
                        continue;
                    };
                    let mut after = loaded.clone();
                    there.run(request.model, &mut after);
                    let mut start = request.arrival.seconds().max(free);
                    if let Timeline::Slots(slot) = self.timeline {
                        start = (start / slot.seconds() - 1e-9).ceil() * slot.seconds();
                    }
                    self.ran[i] = true;
                    for steps in offer.bounds.indices().map(Steps::from_index) {
                        let finish = start + offer.service_time(steps).seconds();
                        let tardiness = Seconds::of(finish - request.due.seconds());
                        let reward =
                            self.instance.objective().reward(steps, request.penalty, tardiness);
                        self.servers[server] = (finish, Some(i), after.clone());
                        self.recurse(earned + reward, server);
                    }
                    self.servers[server] = (free, last, loaded);
                    self.ran[i] = false;
                }
            }
        }
    }
    let n = instance.requests().len();
    let idle = instance.cluster().iter().map(|server| (0.0, None, server.loaded()));
    let servers = idle.collect();
    let best = f64::NEG_INFINITY;
    let mut all = Try { instance, order, timeline, servers, ran: vec![false; n], best };
    all.recurse(0.0, 0);
    all.best / n as f64
}
