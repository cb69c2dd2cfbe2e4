//! Placing requests: the policy decides among the servers that can run the request now.

use scheduling::policies::Myopic;
use scheduling::{Cluster, Decision, Observation, Policy, Queues, Time, Traffic};

use super::event::{Cause, Decided, Effect, Order, Quote, RequestId};
use super::server::Waiting;
use super::{Place, Scheduler};

impl Scheduler {
    /// Decides a live request that is in no queue, and queues it.
    pub(super) fn place(&mut self, now: Time, id: RequestId, cause: Cause) {
        let live = &self.live[&id];
        let (order, ticket, avoid) = (live.order.clone(), live.ticket, live.avoid);
        let Some(quote) = self.decide(now, &order, avoid, self.traffic) else {
            self.unplaced.insert(ticket, id);
            self.live.get_mut(&id).expect("it is live").place = Place::Unplaced;
            self.effects.push(Effect::Unplaced(id));
            return;
        };
        let Decision { server, steps } = quote.decision;
        let size = self.size_of(&order);
        let state = &mut self.servers[server];
        let service = state.speed.service_time(steps, size);
        state.waiting.push_back(Waiting { id, steps, size, service });
        self.live.get_mut(&id).expect("it is live").place = Place::Queued { server, steps };
        self.effects.push(Effect::Decided(Decided { request: id, at: now, cause, quote }));
        self.start_next(now, server);
    }

    /// Asks the policy; none if no available server takes the request.
    ///
    /// A policy sees only servers that can run this very request, with their step rates at its
    /// size, so it needs to know nothing of health or of pixels.
    pub(super) fn decide(
        &mut self,
        now: Time,
        order: &Order,
        avoid: Option<usize>,
        traffic: Traffic,
    ) -> Option<Quote> {
        let eligible = self.eligible(order, avoid);
        let size = self.size_of(order);
        let cluster =
            Cluster::new(eligible.iter().map(|&j| self.servers[j].seen(size)).collect()).ok()?;
        // The model the simulator drives, corrected by what really happened.
        let mut queues = Queues::new(cluster.len());
        queues.set_traffic(traffic);
        for (position, &server) in eligible.iter().enumerate() {
            queues.set_free_at(position, self.servers[server].free_at(now));
        }
        let observation = queues.observe(now, &order.request, &cluster, &self.objective);
        let observation = Observation { bounds: order.bounds, ..observation };
        let decision = ask(&mut *self.policy, &observation);
        let shadow = self.shadow.as_mut().map(|shadow| ask(&mut **shadow, &observation));
        let execution = queues.dispatch(now, decision, &cluster);
        let of_all = |d: Decision| Decision { server: eligible[d.server], ..d };
        Some(Quote { decision: of_all(decision), execution, shadow: shadow.map(of_all) })
    }

    /// Available servers that take a picture of this size; the one to be avoided only if there is
    /// no other.
    fn eligible(&self, order: &Order, avoid: Option<usize>) -> Vec<usize> {
        let able: Vec<_> = (0..self.servers.len())
            .filter(|&j| self.servers[j].available())
            .filter(|&j| order.pixels <= self.servers[j].spec.max_pixels)
            .collect();
        match avoid {
            Some(avoid) if able.len() > 1 => able.into_iter().filter(|&j| j != avoid).collect(),
            _ => able,
        }
    }

    fn size_of(&self, order: &Order) -> f64 {
        f64::from(order.pixels) / f64::from(self.limits.reference_pixels)
    }

    /// Decides again, in order of acceptance, everything that waits at these servers or nowhere.
    pub(super) fn replace_waiting(&mut self, now: Time, servers: &[usize], cause: Cause) {
        let mut again: Vec<_> = std::mem::take(&mut self.unplaced).into_iter().collect();
        for &server in servers {
            let waiting = std::mem::take(&mut self.servers[server].waiting);
            again.extend(waiting.iter().map(|w| (self.live[&w.id].ticket, w.id)));
        }
        again.sort_unstable();
        for (_, id) in again {
            self.place(now, id, cause);
        }
    }

    pub(super) fn capacity_grew(&mut self, now: Time) {
        let all: Vec<_> = (0..self.servers.len()).collect();
        self.replace_waiting(now, &all, Cause::ServerUp);
    }

    /// Brings the predicted service times of a queue in line with the server's speed.
    pub(super) fn refresh_services(&mut self, server: usize) {
        let state = &mut self.servers[server];
        for waiting in &mut state.waiting {
            waiting.service = state.speed.service_time(waiting.steps, waiting.size);
        }
    }
}

/// A decision that is certainly possible: a policy that names a server outside its observation, or
/// steps outside the bounds, has a bug, which must not cost the request.
fn ask(policy: &mut dyn Policy, observation: &Observation<'_>) -> Decision {
    let decision = policy.decide(observation);
    let Observation { cluster, bounds, .. } = observation;
    if decision.server >= cluster.len() {
        tracing::error!(
            server = decision.server,
            servers = cluster.len(),
            "the policy named a server that it was not shown; the myopic rule decides instead"
        );
        return Myopic.decide(observation);
    }
    if !bounds.contains(decision.steps) {
        tracing::error!(
            steps = decision.steps.get(),
            fewest = bounds.min.get(),
            most = bounds.max.get(),
            "the policy named steps outside the requester's bounds; the nearest are taken instead"
        );
    }
    Decision { steps: bounds.clamp(decision.steps), ..decision }
}
