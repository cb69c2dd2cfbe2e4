//! What the shadow policy would have earned. It decides in a world of its own, before the same servers and requests, where every
//! run takes what it is predicted to. Nothing of it is carried out.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use dispatch::{
    Effect, End, Failure, FailureClass, Health, Limits, Order, Outcome, Preload, RequestId, RunId,
    Scheduler, ServerSpec, ServerState,
};
use scheduling::{Model, Policy, Seconds, Time};

use super::Engine;
use crate::config::Config;
use crate::journal::Worth;

/// The shadow policy, twice, as policies remember what they have seen.
pub(crate) struct ShadowPolicy {
    /// Asked beside the one that acts, from the same queues.
    pub(crate) beside: Box<dyn Policy>,
    /// Decides in a world of its own.
    pub(crate) alone: Box<dyn Policy>,
}

/// The world of a shadow policy.
pub(super) struct ShadowWorld {
    scheduler: Scheduler,
    /// What ends when; times are never negative, and the bits of such numbers are ordered as they are.
    coming: BinaryHeap<Reverse<(u64, Coming)>>,
}

/// What ends by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Coming {
    Completion(RunId),
    Preloaded { server: usize },
}

impl ShadowWorld {
    /// With these servers, at work as they are, and no requests.
    pub(super) fn new(
        now: Time,
        servers: &[ServerState],
        policy: Box<dyn Policy>,
        config: &Config,
    ) -> Self {
        let specs = servers
            .iter()
            .map(|state| ServerSpec { server: state.server.clone(), max_pixels: state.max_pixels });
        let limits = Limits { attempts: u32::MAX, horizon: None, ..config.bounds() };
        let mut scheduler = Scheduler::new(specs.collect(), config.objective(), policy, limits);
        scheduler.set_objectives(config.objectives());
        scheduler.set_preloading(config.preloading());
        let mut world = Self { scheduler, coming: BinaryHeap::new() };
        world.follow(now, servers);
        world
    }

    /// A request that was accepted. Hands back what has completed there since the last call.
    pub(super) fn arrive(&mut self, now: Time, servers: &[ServerState], order: Order) -> Vec<End> {
        let mut ended = self.advance(now);
        self.follow(now, servers);
        let id = order.id;
        if self.scheduler.submit(now, order).is_ok() {
            self.scheduler.recorded(now, id);
        }
        self.carry_out(now, &mut ended);
        ended
    }

    /// Nobody waits for it any more.
    pub(super) fn cancel(&mut self, now: Time, id: RequestId) -> Vec<End> {
        let mut ended = self.advance(now);
        self.scheduler.cancel(now, id);
        self.carry_out(now, &mut ended);
        ended
    }

    /// What has completed there since the last call.
    pub(super) fn advance(&mut self, now: Time) -> Vec<End> {
        let mut ended = Vec::new();
        loop {
            let wakeup = self.scheduler.next_wakeup();
            let coming = self.coming.peek().map(|Reverse((bits, _))| time(*bits));
            let earlier = |a: Time, b: Time| if b < a { b } else { a };
            let Some(next) = coming.into_iter().chain(wakeup).reduce(earlier) else { break };
            if next > now {
                break;
            }
            if coming.is_some_and(|coming| coming <= next) {
                let event = self.coming.pop().map(|Reverse((_, event))| event);
                match event {
                    Some(Coming::Completion(run)) => self.scheduler.completed(next, run),
                    Some(Coming::Preloaded { server }) => {
                        self.scheduler.preloaded(next, server, Ok(()));
                    }
                    None => {}
                }
            } else {
                self.scheduler.tick(next);
            }
            self.carry_out(next, &mut ended);
        }
        ended
    }

    /// Takes over how the servers are: whether they answer and are to be used, and how fast they have turned out to be.
    fn follow(&mut self, now: Time, servers: &[ServerState]) {
        for (index, theirs) in servers.iter().enumerate() {
            let ours = &self.scheduler.servers()[index];
            if ours.administration != theirs.administration {
                self.scheduler.administer(now, index, theirs.administration);
            }
            match (self.scheduler.servers()[index].health, theirs.health) {
                (Health::Unhealthy, Health::Healthy) => self.scheduler.server_up(now, index),
                (Health::Healthy, Health::Unhealthy) => self.scheduler.server_down(now, index),
                _ => {}
            }
            if self.scheduler.servers()[index].server != theirs.server {
                self.follow_speeds(now, index, theirs);
            }
        }
    }

    fn follow_speeds(&mut self, now: Time, index: usize, theirs: &ServerState) {
        let hosted = theirs.server.hosting.iter().flat_map(|hosting| &hosting.models);
        let mut models: Vec<_> = hosted.map(|own| own.model).collect();
        if models.is_empty() {
            models.push(Model::default());
        }
        for model in models {
            let (speed, load) = (theirs.speed_with(model), theirs.load_of(model));
            if self.scheduler.servers()[index].speed_with(model) != speed {
                self.scheduler.server_speed(now, index, model, speed);
            }
            if self.scheduler.servers()[index].load_of(model) != load {
                self.scheduler.server_load(now, index, model, load);
            }
        }
        self.scheduler.server_spread(index, theirs.server.spread);
    }

    fn carry_out(&mut self, now: Time, ended: &mut Vec<End>) {
        loop {
            let effects = self.scheduler.take_effects();
            if effects.is_empty() {
                return;
            }
            for effect in effects {
                match effect {
                    Effect::Start(run) => {
                        self.expect(run.start + run.service, Coming::Completion(run.id));
                    }
                    Effect::Preload(Preload { server, load, .. }) => {
                        self.expect(now + load, Coming::Preloaded { server });
                    }
                    Effect::Abort(run) => {
                        let class = FailureClass::Counted;
                        let failure = Failure { class, reason: "it was stopped".into() };
                        self.scheduler.failed(now, run.id, &failure);
                    }
                    Effect::Ended(end) if end.outcome == Outcome::Completed => ended.push(end),
                    Effect::Ended(_)
                    | Effect::Offered(_)
                    | Effect::Decided(_)
                    | Effect::Unplaced(_)
                    | Effect::LookUp(_) => {}
                }
            }
        }
    }

    fn expect(&mut self, at: Time, event: Coming) {
        self.coming.push(Reverse((at.seconds().to_bits(), event)));
    }
}

fn time(bits: u64) -> Time {
    Time::ZERO + Seconds::of(f64::from_bits(bits))
}

impl Engine {
    /// Lets a shadow policy begin in a world of its own.
    pub(crate) fn shadowed_by(&mut self, policy: Option<Box<dyn Policy>>) {
        let (now, servers) = (self.timeline.now(), self.scheduler.servers());
        self.shadow = policy.map(|policy| ShadowWorld::new(now, servers, policy, &self.config));
    }

    /// A request was accepted, so it comes to the shadow policy as well.
    pub(super) fn shadow_arrival(&mut self, now: Time, id: RequestId) {
        let Some(tracked) = self.live.get(&id) else { return };
        let order = self.completed(&tracked.view.borrow().accepted);
        let servers = self.scheduler.servers();
        let ended = self.shadow.as_mut().map(|world| world.arrive(now, servers, order));
        self.shadow_earned(ended);
    }

    pub(super) fn shadow_cancel(&mut self, now: Time, id: RequestId) {
        let ended = self.shadow.as_mut().map(|world| world.cancel(now, id));
        self.shadow_earned(ended);
    }

    pub(super) fn shadow_advance(&mut self, now: Time) {
        let ended = self.shadow.as_mut().map(|world| world.advance(now));
        self.shadow_earned(ended);
    }

    fn shadow_earned(&mut self, ended: Option<Vec<End>>) {
        // What it decides once it has failed is not its own.
        if self.shadow.as_ref().is_some_and(|world| world.scheduler.policy().failure().is_some()) {
            self.shadow = None;
            return;
        }
        for end in ended.into_iter().flatten() {
            self.statistics.shadow_earned(end.at, Worth::of(&end));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use agent::Recipe;
    use dispatch::Administration;
    use scheduling::{Generator, Instance, Purpose, Request, StepRate};
    use simulation::{Episode, InstanceSource as _, Scenario, simulate};

    const SEED: u64 = 7;

    fn policy(name: &str, instance: &Instance) -> Box<dyn Policy> {
        let generator = Generator::new(SEED, Purpose::Policy, 0);
        Recipe::load(&name.parse().unwrap()).unwrap().policy(instance.cluster(), generator).unwrap()
    }

    /// Servers that answer.
    fn servers(instance: &Instance) -> Vec<ServerState> {
        let cluster = instance.cluster().iter();
        let specs = cluster.map(|server| ServerSpec { server: server.clone(), max_pixels: 1 });
        let limits = Limits { waiting: 9, attempts: 9, horizon: None };
        let objective = instance.objective().clone();
        let mut scheduler =
            Scheduler::new(specs.collect(), objective, policy("greedy", instance), limits);
        (0..instance.cluster().len()).for_each(|index| scheduler.server_up(Time::ZERO, index));
        scheduler.servers().to_vec()
    }

    fn order(index: usize, request: Request) -> Order {
        Order {
            id: RequestId(uuid::Uuid::from_u128(index as u128)),
            owner: "ann".into(),
            request,
            pixels: 1,
            expires: Time::ZERO + Seconds::of(f64::MAX),
        }
    }

    fn paper() -> (Instance, Config) {
        let text = include_str!("../../../../scenarios/paper.toml");
        let text = text.replace("requests = 2000", "requests = 300");
        let scenario = Scenario::from_toml(&text).unwrap();
        let instance = scenario.instance(SEED, Episode::Evaluation(0));
        let config =
            "[[server]]\nname = \"a\"\nsteps_per_second = 9.0\nbackend = { kind = \"demo\" }";
        (instance, Config::parse("x.toml", config).unwrap())
    }

    #[test]
    fn it_earns_what_it_would_earn_in_simulation() {
        println!("seed {SEED}");
        let (instance, config) = paper();
        for name in ["greedy", "myopic", "fixed[steps=30]"] {
            let servers = servers(&instance);
            let mut world =
                ShadowWorld::new(Time::ZERO, &servers, policy(name, &instance), &config);
            let mut ended = Vec::new();
            for (index, request) in instance.requests().iter().enumerate() {
                ended.extend(world.arrive(request.arrival, &servers, order(index, *request)));
            }
            ended.extend(world.advance(Time::ZERO + Seconds::of(1e9)));
            let rows = simulate(&instance, &mut *policy(name, &instance));
            ended.sort_by_key(|end| end.request);
            let earned: Vec<_> = ended.iter().map(|end| end.reward.unwrap()).collect();
            let expected: Vec<_> = rows.iter().map(|row| row.reward).collect();
            assert_eq!(earned.len(), expected.len(), "{name}");
            for (earned, expected) in earned.iter().zip(&expected) {
                assert!((earned - expected).abs() < 1e-6, "{name}: {earned} and {expected}");
            }
        }
    }

    #[test]
    fn it_goes_along_with_what_happens_to_the_servers_and_with_who_leaves() {
        let (instance, config) = paper();
        let mut servers = servers(&instance);
        let mut world =
            ShadowWorld::new(Time::ZERO, &servers, policy("greedy", &instance), &config);
        let [first, second, third] = [0, 1, 2].map(|index| order(index, instance.requests()[0]));
        let (now, later) = (instance.requests()[0].arrival, Time::ZERO + Seconds::of(1e6));
        // Only the last server is left, and it has turned out half as fast.
        let last = servers.len() - 1;
        for server in &mut servers[..last] {
            server.administration = Administration::Draining;
        }
        let rate = servers[last].server.step_rate.steps_per_second() / 2.0;
        servers[last].server.step_rate = StepRate::new(rate).unwrap();
        world.arrive(now, &servers, first);
        world.arrive(now, &servers, second.clone());
        world.arrive(now, &servers, third);
        assert_eq!(world.scheduler.servers()[last].speed(), servers[last].speed());
        world.cancel(now, second.id);
        let ended = world.advance(later);
        let on = ended.iter().map(|end| (end.request.0.as_u128(), end.run.unwrap().server));
        assert_eq!(on.collect::<Vec<_>>(), [(0, last), (2, last)]);
    }
}
