//! The gateway's scheduler in virtual time: what [`dispatch`] does where runs stray from their
//! predictions and servers fail.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::sync::Arc;

use dispatch::{
    Effect, Failure, FailureClass, Limits, Order, Outcome, Owner, Preload, Preloading, RequestId,
    Run, RunId, Scheduler, ServerSpec,
};
use scheduling::{Beyond, Decision, Execution, Instance, Policy, Row, Seconds, Server, Time};
use uuid::Uuid;

/// As [`crate::simulate`], by way of the scheduler that the gateway drives, whatever the instance. Where
/// predictions come true the rows are those of [`crate::simulate`], to the last bit.
///
/// A run takes what the instance's [`scheduling::Fate`] makes of its prediction. It is lost when its server
/// goes down, and its request is decided again, as is all that waits there. A request that arrives while
/// all servers are down waits for the first that comes back.
pub fn simulate_by_events(instance: &Instance, policy: &mut dyn Policy) -> Vec<Row> {
    simulate_preloading(instance, policy, Preloading::Off)
}

/// As [`simulate_by_events`], where idle servers may load what no request has asked for yet. Such loads
/// take what they are predicted to.
pub fn simulate_preloading(
    instance: &Instance,
    policy: &mut dyn Policy,
    preloading: Preloading,
) -> Vec<Row> {
    let mut told = |_: &Row| ();
    let mut world = World::new(instance, policy, &mut told);
    world.scheduler.set_preloading(preloading);
    world.run()
}

/// As [`simulate_by_events`], telling each row as the run of its request ends.
pub(crate) fn simulate_telling(
    instance: &Instance,
    policy: &mut dyn Policy,
    told: &mut dyn FnMut(&Row),
) -> Vec<Row> {
    World::new(instance, policy, told).run()
}

/// What can happen, in the order in which it does at equal times.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Event {
    /// A run ends: the request and the number of the run. It is stale if the run was lost.
    Completion { request: usize, attempt: u32 },
    /// A server has loaded a model that nobody had asked for.
    Preloaded { server: usize },
    /// A server goes down.
    Down { server: usize },
    /// A server comes back.
    Up { server: usize },
    /// The scheduler asked to be woken.
    Wakeup,
    /// A request arrives.
    Arrival { request: usize },
}

/// An event with its time, which is never negative: the bits of such numbers are ordered as they are.
type Timed = (u64, Event);

fn timed(time: Time, event: Event) -> Timed {
    (time.seconds().to_bits(), event)
}

struct World<'a> {
    instance: &'a Instance,
    scheduler: Scheduler<&'a mut dyn Policy>,
    completions: BinaryHeap<Reverse<Timed>>,
    /// Servers that go down and come back, the next one last.
    outages: Vec<Timed>,
    /// Requests that have arrived.
    arrived: usize,
    owner: Owner,
    effects: Vec<Effect>,
    rows: Vec<Option<Row>>,
    told: &'a mut dyn FnMut(&Row),
}

impl<'a> World<'a> {
    fn new(
        instance: &'a Instance,
        policy: &'a mut dyn Policy,
        told: &'a mut dyn FnMut(&Row),
    ) -> Self {
        let servers = instance.cluster().iter().enumerate().map(|(index, server)| {
            let spread = instance.fate().map_or(server.spread, |fate| fate.spread(index));
            ServerSpec { server: Server { spread, ..server.clone() }, max_pixels: 1 }
        });
        let limits = Limits { waiting: usize::MAX, attempts: 1, horizon: None };
        let objective = instance.objective().clone();
        let mut scheduler = Scheduler::new(servers.collect(), objective, policy, limits);
        (0..instance.cluster().len()).for_each(|server| scheduler.server_up(Time::ZERO, server));
        let fates = instance.fate().into_iter().flat_map(|fate| fate.servers.iter().enumerate());
        let mut outages: Vec<_> = fates
            .flat_map(|(server, fate)| {
                fate.down.iter().flat_map(move |down| {
                    let (down, up) = (timed(down.from, Event::Down { server }), down.to);
                    [down, timed(up, Event::Up { server })]
                })
            })
            .collect();
        outages.sort_unstable_by(|a, b| b.cmp(a));
        Self {
            instance,
            scheduler,
            completions: BinaryHeap::new(),
            outages,
            arrived: 0,
            owner: Arc::from("simulation"),
            effects: Vec::new(),
            rows: vec![None; instance.requests().len()],
            told,
        }
    }

    /// From the first arrival to the end of the last run.
    fn run(mut self) -> Vec<Row> {
        while let Some((now, event)) = self.next() {
            self.take_place(now, event);
        }
        let rows = self.rows.into_iter();
        rows.map(|row| row.expect("some server comes back, so that every request runs")).collect()
    }

    /// What happens next; nothing once all requests have run.
    fn next(&mut self) -> Option<(Time, Event)> {
        let arrival = self
            .instance
            .requests()
            .get(self.arrived)
            .map(|request| timed(request.arrival, Event::Arrival { request: self.arrived }));
        if arrival.is_none() && self.scheduler.live() == 0 {
            return None;
        }
        let wakeup = self.scheduler.next_wakeup().map(|time| timed(time, Event::Wakeup));
        let completion = self.completions.peek().map(|&Reverse(completion)| completion);
        let outage = self.outages.last().copied();
        let next = [completion, outage, wakeup, arrival].into_iter().flatten().min()?;
        match next.1 {
            Event::Completion { .. } | Event::Preloaded { .. } => drop(self.completions.pop()),
            Event::Down { .. } | Event::Up { .. } => drop(self.outages.pop()),
            Event::Wakeup => {}
            Event::Arrival { .. } => self.arrived += 1,
        }
        Some((Time::ZERO + Seconds::of(f64::from_bits(next.0)), next.1))
    }

    fn take_place(&mut self, now: Time, event: Event) {
        match event {
            Event::Completion { request, attempt } => {
                self.scheduler.completed(now, RunId { request: name(request), attempt });
            }
            Event::Preloaded { server } => self.scheduler.preloaded(now, server, Ok(())),
            Event::Down { server } => self.scheduler.server_down(now, server),
            Event::Up { server } => self.scheduler.server_up(now, server),
            Event::Wakeup => self.scheduler.tick(now),
            Event::Arrival { request } => self.arrive(now, request),
        }
        self.carry_out(now);
    }

    fn arrive(&mut self, now: Time, index: usize) {
        let request = self.instance.requests()[index];
        let order = || Order {
            id: name(index),
            owner: self.owner.clone(),
            request,
            // Its size is that of the request: no server is too small for it.
            pixels: 1,
            expires: Time::ZERO + Seconds::of(f64::MAX),
        };
        if self.scheduler.submit(now, order()).is_ok() {
            self.scheduler.recorded(now, name(index));
        } else {
            // All servers are down: it waits for the first that comes back.
            self.scheduler.recall(&request);
            self.scheduler.restore(order(), 0, 0);
        }
    }

    fn carry_out(&mut self, now: Time) {
        let mut effects = std::mem::take(&mut self.effects);
        self.scheduler.swap_effects(&mut effects);
        while !effects.is_empty() {
            for effect in effects.drain(..) {
                match effect {
                    Effect::Start(run) => self.start(&run),
                    Effect::Preload(Preload { server, load, .. }) => {
                        let there = timed(now + load, Event::Preloaded { server });
                        self.completions.push(Reverse(there));
                    }
                    Effect::Abort(run) => {
                        let (class, reason) = (FailureClass::Counted, "the server is down".into());
                        self.scheduler.failed(now, run.id, &Failure { class, reason });
                    }
                    Effect::Ended(end) => {
                        debug_assert_eq!(end.outcome, Outcome::Completed);
                        if let Some(run) = end.run {
                            self.complete(&run, end.at);
                        }
                    }
                    Effect::Offered(_)
                    | Effect::Decided(_)
                    | Effect::Unplaced(_)
                    | Effect::LookUp(_) => {}
                }
            }
            self.scheduler.swap_effects(&mut effects);
        }
        self.effects = effects;
    }

    fn start(&mut self, run: &Run) {
        let (request, attempt) = (index(run.id.request), run.id.attempt);
        let service = run.service * self.stretch(run);
        let completion = Event::Completion { request, attempt };
        self.completions.push(Reverse(timed(run.start + service, completion)));
    }

    /// By how much the prediction of a run is missed.
    fn stretch(&self, run: &Run) -> f64 {
        let (request, attempt) = (index(run.id.request), run.id.attempt);
        self.instance.fate().map_or(1.0, |fate| fate.stretch(run.server, request, attempt))
    }

    fn complete(&mut self, run: &Run, at: Time) {
        let index = index(run.id.request);
        let decision = Decision { server: run.server, steps: run.steps };
        let execution = Execution { start: run.start, finish: at };
        let request = &self.instance.requests()[index];
        let row = Row::new(index, request, decision, execution, self.instance.objective());
        // Most runs load nothing, and their luck need not be drawn again.
        let loads = run.load > Seconds::ZERO;
        let load = if loads { run.load * self.stretch(run) } else { Seconds::ZERO };
        let beyond = Beyond::completed(request, load, run.id.attempt);
        let beyond = (!self.instance.is_plain()).then_some(beyond);
        let row = Row { beyond, ..row };
        (self.told)(&row);
        self.rows[index] = Some(row);
    }
}

fn name(request: usize) -> RequestId {
    RequestId(Uuid::from_u128(request as u128))
}

fn index(request: RequestId) -> usize {
    request.0.as_u128() as usize
}
