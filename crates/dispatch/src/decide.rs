//! Placing requests: the policy decides among the servers that can run the request now.

use scheduling::policies::Myopic;
use scheduling::{Cluster, Decision, Observation, Policy, Queues, Time, Traffic};

use super::event::{Cause, Decided, Effect, Offered, Order, Outcome, Quote, RequestId};
use super::server::ServerState;
use super::setback::Setbacks;
use super::{Acceptance, Explanations, Gate, Place, Scheduler};

impl<P: Policy> Scheduler<P> {
    /// Decides a live request that is in no queue, and queues it.
    pub(super) fn place(&mut self, now: Time, id: RequestId, cause: Cause) {
        let live = &self.live[&id];
        if live.record == Acceptance::Durable && live.order.expires <= now {
            return self.end(now, id, Outcome::Expired, None);
        }
        let order = live.order.clone();
        let eligible = self.eligible(now, &order, &live.setbacks);
        let quote = self.decide(now, &order, &eligible, None);
        self.queue(now, id, cause, quote);
    }

    /// Puts a live request that is in no queue where it was decided to go; without a decision it
    /// waits outside the queues.
    pub(super) fn queue(&mut self, now: Time, id: RequestId, cause: Cause, quote: Option<Quote>) {
        let live = self.live.get_mut(&id).expect("it is live");
        let Some(quote) = quote else {
            self.unplaced.insert(live.ticket, id);
            live.place = Place::Unplaced;
            self.effects.push(Effect::Unplaced(id));
            return;
        };
        if let Some(servers) = self.offered.take() {
            self.effects.push(Effect::Offered(Offered { request: id, at: now, servers }));
        }
        let Decision { server, steps } = quote.decision;
        live.place = Place::Queued { server, steps };
        let request = live.order.request;
        self.servers[server].push(id, request, steps);
        self.effects.push(Effect::Decided(Decided { request: id, at: now, cause, quote }));
        self.start_next(now, server);
    }

    /// Asks the policy; none if no server is eligible. Policies see the traffic with a request that has
    /// not been accepted yet, if one is given.
    ///
    /// A policy sees only offers of servers that can run this very request, so it needs to know nothing
    /// of health or of pixels.
    pub(super) fn decide(
        &mut self,
        now: Time,
        order: &Order,
        eligible: &[usize],
        arriving: Option<&Traffic>,
    ) -> Option<Quote> {
        if eligible.is_empty() {
            return None;
        }
        let mut seen = match self.seen.take() {
            Some(seen) if seen.eligible == eligible => seen,
            _ => Seen::new(&self.servers, eligible),
        };
        let queues = &mut seen.queues;
        queues.set_traffic(arriving.unwrap_or(&self.traffic));
        for (position, &server) in eligible.iter().enumerate() {
            let state = &self.servers[server];
            let (free_at, variance) = state.free(now);
            queues.set_free_at(position, free_at);
            queues.set_free_variance(position, variance);
            queues.set_loaded(position, state.loaded_at_last());
        }
        let model = order.request.model.index();
        let objective = self.objectives.get(model).unwrap_or(&self.objective);
        let observation = queues.observe(now, &order.request, objective);
        let decision = ask(&mut self.policy, &observation);
        let mut shadow = self.shadow.as_mut().map(|shadow| ask(&mut **shadow, &observation));
        if let Some(problem) = self.shadow.as_ref().and_then(|shadow| shadow.failure()) {
            tracing::error!(
                problem,
                "the shadow policy can decide no longer and is not asked again"
            );
            (self.shadow, shadow) = (None, None);
        }
        if self.explanations == Explanations::Told {
            let offers = eligible.iter().copied().zip(observation.offers.iter().copied().map(Ok));
            // The eligible ones ascend.
            let unasked = (0..self.servers.len()).filter(|j| eligible.binary_search(j).is_err());
            let unasked =
                unasked.filter_map(|j| Some((j, Err(self.servers[j].unasked(now, order)?))));
            self.offered = Some(offers.chain(unasked).collect());
        }
        let execution = queues.dispatch(now, decision).execution;
        self.seen = Some(seen);
        let of_all = |d: Decision| Decision { server: eligible[d.server], ..d };
        Some(Quote { decision: of_all(decision), execution, shadow: shadow.map(of_all) })
    }

    /// Servers that may run the request now: those that have not failed it, or else those that
    /// have and whose pause is over.
    pub(super) fn eligible(&self, now: Time, order: &Order, setbacks: &Setbacks) -> Vec<usize> {
        // Room for all at once: growing it is felt in the simulator.
        let mut able = Vec::with_capacity(self.servers.len());
        able.extend(
            (0..self.servers.len())
                .filter(|&j| self.servers[j].takes(order))
                .filter(|&j| self.servers[j].open_to(now, &order.owner) && setbacks.allow(now, j)),
        );
        if setbacks.is_empty() {
            return able;
        }
        let untried: Vec<_> = able.iter().copied().filter(|&j| setbacks.on(j).is_none()).collect();
        if untried.is_empty() { able } else { untried }
    }

    /// A server stands idle that nobody could count on: the request that has waited longest, of
    /// those elsewhere that would finish earlier here, is decided again. It keeps its place if the
    /// policy does not move it; then the next one is asked about.
    ///
    /// A server on trial gets the one that has waited least, which has no place to lose.
    pub(super) fn offer(&mut self, now: Time, server: usize) {
        let state = &self.servers[server];
        if self.gate != Gate::Open || !state.available() || !state.is_vacant() {
            return;
        }
        let mut gaining = Vec::new();
        for other in &self.servers {
            let mut finish = other.vacant_at(now);
            for waiting in other.waiting() {
                finish += waiting.service;
                let here = state.offer(&waiting.request);
                if here.is_some_and(|offer| now + offer.service_time(waiting.steps) < finish) {
                    gaining.push((self.live[&waiting.id].ticket, waiting.id));
                }
            }
        }
        gaining.sort_unstable();
        if state.rest.until.is_some() {
            gaining.reverse();
        }
        for (_, id) in gaining {
            if self.decide_anew(now, id, server) == Some(server) {
                return;
            }
        }
    }

    /// Decides a waiting request again as `server` became free. Returns where it goes; none if it
    /// stays, and then nothing changes.
    fn decide_anew(&mut self, now: Time, id: RequestId, server: usize) -> Option<usize> {
        let live = &self.live[&id];
        let Place::Queued { server: before, .. } = live.place else { return None };
        let order = live.order.clone();
        let eligible = self.eligible(now, &order, &live.setbacks);
        if !eligible.contains(&server) {
            return None;
        }
        let (position, waiting) = self.servers[before].remove(id).expect("it waits there");
        let quote = self.decide(now, &order, &eligible, None);
        let chosen = quote.map(|quote| quote.decision.server).filter(|&chosen| chosen != before);
        if chosen.is_some() {
            self.queue(now, id, Cause::ServerFree, quote);
            // It may have been the head, not recorded yet: what moved up may be.
            self.start_next(now, before);
            self.try_out(now, before);
        } else {
            self.servers[before].insert(position, waiting);
        }
        chosen
    }

    /// Decides again, in order of acceptance, everything that waits at these servers or nowhere.
    pub(super) fn replace_waiting(&mut self, now: Time, servers: &[usize], cause: Cause) {
        for &server in servers {
            self.unplace(server);
        }
        // None of them is in a queue until it is its turn.
        for (ticket, id) in self.unplaced.clone() {
            self.unplaced.remove(&ticket);
            self.place(now, id, cause);
        }
    }

    /// Takes everything out of a server's queue.
    pub(super) fn unplace(&mut self, server: usize) {
        for waiting in self.servers[server].take_waiting() {
            let live = self.live.get_mut(&waiting.id).expect("what waits is live");
            live.place = Place::Unplaced;
            self.unplaced.insert(live.ticket, waiting.id);
        }
    }

    /// Decides again, in order of acceptance, what waits outside the queues.
    pub(super) fn place_unplaced(&mut self, now: Time) {
        for (ticket, id) in self.unplaced.clone() {
            self.unplaced.remove(&ticket);
            let failed = !self.live[&id].setbacks.is_empty();
            self.place(now, id, if failed { Cause::Retry } else { Cause::ServerUp });
        }
    }

    pub(super) fn capacity_grew(&mut self, now: Time) {
        let all: Vec<_> = (0..self.servers.len()).collect();
        self.replace_waiting(now, &all, Cause::ServerUp);
    }
}

/// The servers as the last decision saw them, kept for the next one.
pub(super) struct Seen {
    /// Their indices.
    eligible: Vec<usize>,
    /// The model that policies are asked with, corrected by what really happened.
    queues: Queues,
}

impl Seen {
    fn new(servers: &[ServerState], eligible: &[usize]) -> Self {
        let cluster = eligible.iter().map(|&j| servers[j].server.clone()).collect();
        let cluster = Cluster::new(cluster).expect("somebody asked about some server");
        Self { eligible: eligible.to_vec(), queues: Queues::new(&cluster) }
    }
}

/// A decision that is certainly possible: a policy that names a server outside its observation, or
/// steps outside the bounds, has a bug, which must not cost the request.
fn ask(policy: &mut dyn Policy, observation: &Observation<'_>) -> Decision {
    let decision = policy.decide(observation);
    let Some(offer) = observation.offers.get(decision.server) else {
        tracing::error!(
            server = decision.server,
            servers = observation.offers.len(),
            "the policy named a server that it was not shown; the myopic rule decides instead"
        );
        return Myopic.decide(observation);
    };
    let bounds = offer.bounds;
    if !bounds.contains(decision.steps) {
        tracing::error!(
            steps = decision.steps.get(),
            fewest = bounds.min.get(),
            most = bounds.max.get(),
            "the policy named steps outside the bounds of the offer; the nearest are taken instead"
        );
    }
    Decision { steps: bounds.clamp(decision.steps), ..decision }
}
