//! The life of requests on servers: who waits where, what runs, and how each request ends.
//!
//! [`Scheduler`] is fed events, each with the present as an argument, and answers with
//! [`Effect`]s for others to carry out: dispatch a run, abort one, write down a decision or an end.
//! It reads no clock and does no I/O, so any history of a gateway can be replayed through it.
//!
//! Invariant: a request that was accepted leaves through exactly one [`Effect::Ended`].

mod admission;
mod capacity;
mod decide;
mod event;
mod live;
mod preload;
mod reconfigure;
mod rest;
mod runs;
mod server;
mod setback;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet, HashMap};

use foldhash::fast::FixedState;
use scheduling::{Model, Objective, Offer, Policy, Request, Seconds, Time, Traffic};

pub use event::{
    Cause, Decided, Effect, End, Failure, FailureClass, Offered, Order, Outcome, Owner, Preload,
    Quote, Rejection, RequestId, Run, RunId, Unasked,
};
pub use preload::Preloading;
pub use reconfigure::{Fate, Reconfiguration};
pub use rest::Rest;
pub use scheduling::StepBounds;
pub use server::{Administration, Health, Occupancy, ServerSpec, ServerState, Speed};

use live::{Acceptance, Live, Moment, Place, Ticket};
use setback::Setbacks;

/// What bounds the scheduler.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Requests that may wait at once, over all servers; those that run are not counted.
    pub waiting: usize,
    /// Runs of one request that may fail before the request does.
    pub attempts: u32,
    /// How much of the servers' time may wait, in seconds of each server, and is shared by the
    /// owners; no bound where there is only one.
    pub horizon: Option<Seconds>,
}

/// Queue state of all servers and the life of all requests that have not ended.
///
/// A gateway, which exchanges policies while it runs, holds them in boxes; the simulator lends its own.
pub struct Scheduler<P = Box<dyn Policy>> {
    servers: Vec<ServerState>,
    live: HashMap<RequestId, Live, FixedState>,
    /// Requests that no server can take at the moment, in order of arrival.
    unplaced: BTreeMap<Ticket, RequestId>,
    /// Requests of each owner that have not ended.
    held: HashMap<Owner, usize, FixedState>,
    /// What decisions are judged by, where the model has no objective of its own.
    objective: Objective,
    /// By model.
    objectives: Vec<Objective>,
    policy: P,
    shadow: Option<Box<dyn Policy>>,
    limits: Limits,
    gate: Gate,
    preloading: Preloading,
    tickets: u64,
    /// What the requests so far say about those to come.
    traffic: Traffic,
    /// When requests that do not run expire.
    expiries: BTreeMap<(Moment, Ticket), RequestId>,
    /// When pauses and rests end.
    alarms: BTreeSet<Moment>,
    effects: Vec<Effect>,
    explanations: Explanations,
    /// What the latest decision was chosen from, if that is told.
    offered: Option<Vec<(usize, Result<Offer, Unasked>)>>,
    /// The servers as policies saw them last; none after a change of speed.
    seen: Option<decide::Seen>,
}

/// Whether it is told what decisions were chosen from. It takes some time, which the simulator needs for other things.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Explanations {
    /// It is not.
    Off,
    /// With every decision, by [`Effect::Offered`].
    Told,
}

/// Whether runs may start and requests come in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Gate {
    /// Business as usual.
    Open,
    /// Requests come in, but nothing starts: what ends could not be written down.
    Holding,
    /// Nothing comes in and nothing starts; what runs may finish.
    Closing,
}

/// Where a request stands, as others may see it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Standing {
    /// In the queue of `server`, with `ahead` requests before it, the running one included.
    Waiting {
        /// Index of the server.
        server: usize,
        /// Requests before it.
        ahead: usize,
    },
    /// No available server can take it at the moment.
    Unplaced,
    /// It runs.
    Running {
        /// Index of the server.
        server: usize,
    },
}

impl<P: Policy> Scheduler<P> {
    /// A scheduler without requests. Servers are taken as unhealthy until
    /// [`Scheduler::server_up`].
    ///
    /// # Panics
    /// If there is no server.
    pub fn new(servers: Vec<ServerSpec>, objective: Objective, policy: P, limits: Limits) -> Self {
        assert!(!servers.is_empty(), "the configuration has at least one server");
        let traffic = Traffic::to(servers.iter().map(|spec| &spec.server));
        Self {
            servers: servers.into_iter().map(ServerState::new).collect(),
            live: HashMap::default(),
            unplaced: BTreeMap::new(),
            held: HashMap::default(),
            objective,
            objectives: Vec::new(),
            policy,
            shadow: None,
            limits,
            gate: Gate::Open,
            preloading: Preloading::Off,
            tickets: 0,
            traffic,
            expiries: BTreeMap::new(),
            alarms: BTreeSet::new(),
            effects: Vec::new(),
            explanations: Explanations::Off,
            offered: None,
            seen: None,
        }
    }

    /// What is to be done since the last call, in order.
    pub fn take_effects(&mut self) -> Vec<Effect> {
        std::mem::take(&mut self.effects)
    }

    /// As [`Scheduler::take_effects`], into a buffer that is used again; what was in it is gone.
    pub fn swap_effects(&mut self, effects: &mut Vec<Effect>) {
        effects.clear();
        std::mem::swap(&mut self.effects, effects);
    }

    /// Accepts and decides a request, or says why not. It starts only after
    /// [`Scheduler::recorded`].
    ///
    /// # Errors
    /// [`Rejection`]; nothing has changed then.
    pub fn submit(&mut self, now: Time, order: Order) -> Result<(), Rejection> {
        let (quote, traffic) = self.consider(now, &order)?;
        self.traffic = traffic;
        let id = order.id;
        self.insert(order, Acceptance::Pending, 0, 0);
        self.queue(now, id, Cause::Arrival, quote);
        self.preload(now);
        Ok(())
    }

    /// Takes note of a request that arrived before a restart, for what it says about those to come.
    pub fn recall(&mut self, request: &Request) {
        self.traffic.arrive(request);
    }

    /// What [`Scheduler::submit`] would decide at this moment.
    ///
    /// # Errors
    /// The same [`Rejection`].
    pub fn quote(&mut self, now: Time, order: &Order) -> Result<Quote, Rejection> {
        self.consider(now, order)?.0.ok_or(Rejection::NoServer)
    }

    /// What would be decided for a request, and the traffic with it; no decision if all servers
    /// that could take it rest.
    fn consider(
        &mut self,
        now: Time,
        order: &Order,
    ) -> Result<(Option<Quote>, Traffic), Rejection> {
        self.admit(now, order)?;
        let mut traffic = self.traffic.clone();
        traffic.arrive(&order.request);
        let eligible = self.eligible(now, order, &Setbacks::default());
        let quote = self.decide(now, order, &eligible, Some(&traffic));
        self.admit_work(now, order, quote.as_ref())?;
        Ok((quote, traffic))
    }

    /// The journal has the request: it may start.
    pub fn recorded(&mut self, now: Time, id: RequestId) {
        if let Some(live) = self.live.get_mut(&id) {
            live.record = Acceptance::Durable;
            let place = live.place;
            if live.order.expires <= now {
                self.end(now, id, Outcome::Expired, None);
            } else if let Place::Queued { server, .. } = place {
                self.start_next(now, server);
            }
        }
    }

    /// The journal could not take the request, which therefore never was accepted: it leaves
    /// without an end.
    pub fn withdraw(&mut self, now: Time, id: RequestId) {
        if self.live.get(&id).is_some_and(|live| live.record == Acceptance::Pending) {
            self.remove(now, id);
        }
    }

    /// Takes back a request that was accepted before a restart. It is decided when a server that
    /// can run it comes up.
    pub fn restore(&mut self, order: Order, attempts: u32, failures: u32) {
        let id = order.id;
        let ticket = self.insert(order, Acceptance::Durable, attempts, failures);
        self.unplaced.insert(ticket, id);
    }

    /// Takes back a request that was running on `server` at the time of a crash, so that it can be
    /// looked up there. A server that is taken leaves the request to be decided anew.
    pub fn restore_running(&mut self, now: Time, order: Order, run: Run, failures: u32) {
        let (id, model, server) = (order.id, order.request.model, run.server);
        let ticket = self.insert(order, Acceptance::Durable, run.id.attempt, failures);
        match self.servers.get_mut(server) {
            Some(state) if state.occupancy == Occupancy::Idle => {
                state.restore(now, run, model);
                self.live.get_mut(&id).expect("just inserted").place = Place::Running { server };
                self.effects.push(Effect::LookUp(run));
            }
            _ => {
                self.unplaced.insert(ticket, id);
            }
        }
    }

    /// Lets time pass: ends what has expired, decides again what waits behind a run that is overdue,
    /// and what waited for a pause or a rest to end.
    pub fn tick(&mut self, now: Time) {
        while let Some(entry) = self.expiries.first_entry().filter(|e| e.key().0.0 <= now) {
            let id = entry.remove();
            let live = &self.live[&id];
            // What runs is asked again when its run ends, what is not recorded when it is.
            let waits = !matches!(live.place, Place::Running { .. });
            if waits && live.record == Acceptance::Durable {
                self.end(now, id, Outcome::Expired, None);
            }
        }
        for server in 0..self.servers.len() {
            if self.servers[server].overdue(now) {
                self.replace_waiting(now, &[server], Cause::ServerSlower);
            }
        }
        let before = self.alarms.len();
        self.alarms.retain(|alarm| alarm.0 > now);
        if self.alarms.len() < before {
            self.place_unplaced(now);
            for server in 0..self.servers.len() {
                self.offer(now, server);
            }
        }
    }

    /// When [`Scheduler::tick`] has something to do next, if nothing else happens until then.
    pub fn next_wakeup(&self) -> Option<Time> {
        let expiry = self.expiries.first_key_value().map(|((moment, _), _)| *moment);
        let overdue = self.servers.iter().filter_map(ServerState::overdue_at).map(Moment);
        let alarm = self.alarms.first().copied();
        expiry.into_iter().chain(alarm).chain(overdue).min().map(|moment| moment.0)
    }

    /// Whether runs may start and requests come in.
    pub fn gate(&self) -> Gate {
        self.gate
    }

    /// Opens or closes the gate; opening starts what waits.
    pub fn set_gate(&mut self, now: Time, gate: Gate) {
        if self.gate != Gate::Closing {
            self.gate = gate;
        }
        for server in 0..self.servers.len() {
            self.start_next(now, server);
        }
    }

    /// The policy that decides.
    pub fn policy(&self) -> &P {
        &self.policy
    }

    /// Puts another policy in place, from the next decision on.
    pub fn set_policy(&mut self, policy: P) {
        self.policy = policy;
    }

    /// A policy whose decisions are written down and never carried out.
    pub fn set_shadow(&mut self, shadow: Option<Box<dyn Policy>>) {
        self.shadow = shadow;
    }

    /// Whether it is told what decisions were chosen from.
    pub fn set_explanations(&mut self, explanations: Explanations) {
        self.explanations = explanations;
    }

    /// What decisions on requests with a model are judged by.
    pub fn objective_of(&self, model: Model) -> &Objective {
        self.objectives.get(model.index()).unwrap_or(&self.objective)
    }

    /// Requests of an owner that have not ended.
    pub fn held(&self, owner: &str) -> usize {
        self.held.get(owner).copied().unwrap_or(0)
    }

    /// The servers, in the order of the configuration.
    pub fn servers(&self) -> &[ServerState] {
        &self.servers
    }

    /// Time until `server` has finished all that was dispatched to it.
    pub fn backlog(&self, now: Time, server: usize) -> scheduling::Seconds {
        (self.servers[server].free_at(now) - now).positive_part()
    }

    /// What the decisions are judged by, where the model has no objective of its own.
    pub fn objective(&self) -> &Objective {
        &self.objective
    }

    /// Gives each model an objective of its own, in their order: models differ in what steps bring.
    pub fn set_objectives(&mut self, objectives: Vec<Objective>) {
        self.objectives = objectives;
    }

    /// Where a live request stands.
    pub fn standing(&self, id: RequestId) -> Option<Standing> {
        Some(match self.live.get(&id)?.place {
            Place::Unplaced => Standing::Unplaced,
            Place::Running { server } => Standing::Running { server },
            Place::Queued { server, .. } => {
                Standing::Waiting { server, ahead: self.servers[server].ahead_of(id) }
            }
        })
    }

    /// Requests that have not ended.
    pub fn live(&self) -> usize {
        self.live.len()
    }

    /// Requests that wait for a server.
    pub fn waiting(&self) -> usize {
        self.unplaced.len() + self.servers.iter().map(ServerState::queue_length).sum::<usize>()
    }

    fn insert(&mut self, order: Order, record: Acceptance, attempts: u32, failures: u32) -> Ticket {
        let ticket = self.tickets;
        self.tickets += 1;
        *self.held.entry(order.owner.clone()).or_default() += 1;
        self.expiries.insert((Moment(order.expires), ticket), order.id);
        let (place, setbacks) = (Place::Unplaced, Setbacks::default());
        let live = Live { order, ticket, record, place, attempts, failures, setbacks };
        let previous = self.live.insert(live.order.id, live);
        debug_assert!(previous.is_none(), "identifiers are unique");
        ticket
    }

    fn end(&mut self, now: Time, id: RequestId, outcome: Outcome, run: Option<Run>) {
        if let Some(live) = self.remove(now, id) {
            let model = live.order.request.model.index();
            let objective = self.objectives.get(model).unwrap_or(&self.objective);
            let end = End::new(now, &live.order, live.attempts, outcome, run, objective);
            self.effects.push(Effect::Ended(end));
        }
    }

    /// Takes a request out of everything. The queue behind it moves up.
    fn remove(&mut self, now: Time, id: RequestId) -> Option<Live> {
        let live = self.live.remove(&id)?;
        self.expiries.remove(&(Moment(live.order.expires), live.ticket));
        let owner = &live.order.owner;
        if let Some(held) = self.held.get_mut(owner) {
            *held -= 1;
            if *held == 0 {
                self.held.remove(owner);
            }
        }
        match live.place {
            Place::Unplaced => {
                self.unplaced.remove(&live.ticket);
            }
            Place::Queued { server, .. } => {
                self.servers[server].remove(id);
                self.start_next(now, server);
                self.used_up(now, server);
            }
            Place::Running { .. } => {}
        }
        Some(live)
    }
}
