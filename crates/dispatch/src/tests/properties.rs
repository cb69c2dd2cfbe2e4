//! Any history at all, and parity with the queue model.

use std::collections::{HashMap, HashSet};

use proptest::prelude::*;
use scheduling::policies::{Greedy, Myopic, Random, Ties};
use scheduling::{
    Cluster, Generator, Purpose, Queues, Row, Seconds, Server, StepBounds, StepRate, Steps,
};

use super::*;

/// Something that happens to the scheduler.
#[derive(Clone, Debug)]
enum Event {
    Submit { slack: f64 },
    Record { keep: bool },
    Complete { server: usize },
    Fail { server: usize, class: FailureClass },
    Progress { server: usize, share: f64 },
    Cancel { back: u64 },
    Up { server: usize },
    Down { server: usize },
    Drain { server: usize },
    Enable { server: usize },
    Speed { server: usize, rate: f64 },
    Reconfigure { fates: u8 },
    Hold,
    Open,
    Tick,
}

fn class() -> impl Strategy<Value = FailureClass> {
    prop_oneof![
        Just(FailureClass::Refused),
        Just(FailureClass::Counted),
        prop::option::of((0.1..5.0).prop_map(Seconds::of))
            .prop_map(|retry_after| FailureClass::NotNow { retry_after }),
    ]
}

fn event() -> impl Strategy<Value = Event> {
    use Event::*;
    let server = 0..3usize;
    prop_oneof![
        6 => (0.0..30.0).prop_map(|slack| Submit { slack }),
        6 => prop::bool::weighted(0.9).prop_map(|keep| Record { keep }),
        4 => server.clone().prop_map(|server| Complete { server }),
        3 => (server.clone(), class()).prop_map(|(server, class)| Fail { server, class }),
        1 => (server.clone(), -1.0..2.0).prop_map(|(server, share)| Progress { server, share }),
        1 => (0..8u64).prop_map(|back| Cancel { back }),
        2 => server.clone().prop_map(|server| Up { server }),
        1 => server.clone().prop_map(|server| Down { server }),
        1 => server.clone().prop_map(|server| Drain { server }),
        1 => server.clone().prop_map(|server| Enable { server }),
        1 => (server, 0.1..30.0).prop_map(|(server, rate)| Speed { server, rate }),
        1 => any::<u8>().prop_map(|fates| Reconfigure { fates }),
        1 => Just(Hold),
        1 => Just(Open),
        2 => Just(Tick),
    ]
}

/// Watches the effects and knows what must hold of them.
#[derive(Default)]
struct Watch {
    accepted: HashSet<RequestId>,
    recorded: HashSet<RequestId>,
    ended: HashMap<RequestId, Outcome>,
    runs: HashSet<RunId>,
    /// Servers that refused a request, and until when others asked not to be bothered with it.
    refused: HashSet<(RequestId, usize)>,
    pauses: HashMap<(RequestId, usize), Time>,
    counted: HashMap<RequestId, u32>,
}

impl Watch {
    fn fails(&mut self, now: Time, run: &Run, class: FailureClass) {
        let there = (run.id.request, run.server);
        let least = Seconds::of(0.5);
        match class {
            FailureClass::Refused => {
                self.refused.insert(there);
            }
            FailureClass::Counted => {
                *self.counted.entry(run.id.request).or_default() += 1;
                self.pauses.insert(there, now + least);
            }
            FailureClass::NotNow { retry_after } => {
                let pause = retry_after.map_or(0.5, |after| after.seconds().max(0.5));
                self.pauses.insert(there, now + Seconds::of(pause));
            }
        }
    }

    fn look(&mut self, s: &mut Scheduler) {
        for effect in s.take_effects() {
            match effect {
                Effect::Start(run) => {
                    assert!(self.recorded.contains(&run.id.request), "starts unrecorded");
                    assert!(!self.ended.contains_key(&run.id.request), "starts after its end");
                    assert!(self.runs.insert(run.id), "starts twice");
                    let there = (run.id.request, run.server);
                    assert!(!self.refused.contains(&there), "asked again where it was refused");
                    let pause = self.pauses.get(&there);
                    assert!(pause.is_none_or(|pause| *pause <= run.start), "no pause");
                    let counted = self.counted.get(&run.id.request).copied().unwrap_or(0);
                    assert!(counted < LIMITS.attempts, "beyond its budget");
                }
                Effect::Ended(end) => {
                    assert!(self.accepted.contains(&end.request));
                    let previous = self.ended.insert(end.request, end.outcome);
                    assert_eq!(previous, None, "{} ends twice", end.request);
                }
                _ => {}
            }
        }
        assert_eq!(s.live(), self.accepted.len() - self.ended.len(), "lost or invented");
        let running =
            s.servers().iter().filter(|j| matches!(j.occupancy, Occupancy::Running { .. }));
        assert_eq!(s.live(), s.waiting() + running.count(), "every request is somewhere");
        assert!(s.waiting() <= LIMITS.waiting + 3, "bounded");
        let mut busy = HashSet::new();
        for run in s.servers().iter().filter_map(|j| match &j.occupancy {
            Occupancy::Running { run, .. } => Some(run.id.request),
            _ => None,
        }) {
            assert!(busy.insert(run), "runs on two servers");
        }
        for server in s.servers() {
            assert!(server.available() || server.queue_length() == 0, "waits for the dead");
            let head = server.waiting().front().map(|waiting| &s.live[&waiting.id].record);
            let may_start = s.gate() == Gate::Open && server.occupancy == Occupancy::Idle;
            assert!(!may_start || head != Some(&Acceptance::Durable), "nobody starts the head");
        }
    }
}

impl Scheduler {
    /// What waits for the journal.
    fn pending(&self) -> Vec<RequestId> {
        let pending = self.live.values().filter(|live| live.record == Acceptance::Pending);
        let mut ids: Vec<_> = pending.map(|live| live.order.id).collect();
        ids.sort_unstable();
        ids
    }
}

/// Servers stay, leave and come as the bits say.
pub(super) fn reconfigure(s: &mut Scheduler, now: Time, fates: u8, policy: Box<dyn Policy>) {
    let requests: HashMap<_, _> =
        s.live.iter().map(|(id, live)| (*id, live.order.request)).collect();
    let fate = |(server, state): (usize, &ServerState)| {
        let spec = spec("another", 3.0 + f64::from(fates % 16));
        match (fates >> (2 * server)) % 4 {
            3 => Fate::Leaves,
            _ if state.has_left() => Fate::Comes(spec),
            _ => Fate::Stays(spec),
        }
    };
    let servers = s.servers().iter().enumerate().map(fate).collect();
    let new = Reconfiguration {
        servers,
        objective: Objective::default(),
        objectives: Vec::new(),
        policy,
        shadow: None,
        limits: LIMITS,
        request: &|id| requests[&id],
        model: &Some,
        arrivals: &[],
    };
    s.reconfigure(now, new);
}

fn policy(which: u8) -> Box<dyn Policy> {
    match which {
        0 => Box::new(Greedy { ties: Ties::Lowest }),
        1 => Box::new(Myopic),
        2 => Box::new(Random::new(Steps::new(120).unwrap(), Generator::new(1, Purpose::Policy, 0))),
        _ => fixed(30),
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]

    /// Whatever happens in whatever order: no accepted request is lost, none ends twice, none runs
    /// before it is durable, and when all servers work again everything comes to its end.
    #[test]
    fn every_accepted_request_ends_exactly_once(
        events in prop::collection::vec((event(), 0.0..3.0), 1..150),
        which in 0..4u8,
    ) {
        let mut s = scheduler(&[12.0, 8.0, 4.0], policy(which), LIMITS);
        let mut watch = Watch::default();
        let (mut now, mut next) = (0.0, 0);
        let run = |s: &Scheduler, server: usize| s.servers()[server].occupancy.run().map(|r| r.id);
        for (event, pause) in events {
            now += pause;
            let t = at(now);
            match event {
                Event::Submit { slack } => {
                    if s.submit(t, order(next, now, slack)).is_ok() {
                        watch.accepted.insert(id(next));
                    }
                    next += 1;
                }
                Event::Record { keep } => {
                    if let Some(&first) = s.pending().first() {
                        if keep {
                            watch.recorded.insert(first);
                            s.recorded(t, first);
                        } else {
                            watch.accepted.remove(&first);
                            s.withdraw(t, first);
                        }
                    }
                }
                Event::Complete { server } => run(&s, server).into_iter().for_each(|r| s.completed(t, r)),
                Event::Fail { server, class } => {
                    let occupancy = s.servers()[server].occupancy;
                    if let Some(r) = occupancy.run() {
                        // What an abandoned run says concerns nobody.
                        if matches!(occupancy, Occupancy::Running { .. }) {
                            watch.fails(t, r, class);
                        }
                        s.failed(t, r.id, &Failure { class, reason: "x".into() });
                    }
                }
                Event::Progress { server, share } => {
                    if let Some(r) = run(&s, server) { s.progressed(t, r, share); }
                }
                Event::Cancel { back } => { s.cancel(t, id(next.saturating_sub(back))); }
                Event::Up { server } => s.server_up(t, server),
                Event::Down { server } => s.server_down(t, server),
                Event::Drain { server } => s.administer(t, server, Administration::Draining),
                Event::Enable { server } => s.administer(t, server, Administration::Enabled),
                Event::Speed { server, rate } => {
                    s.server_speed(t, server, scheduling::Model(0), speed(rate));
                }
                Event::Reconfigure { fates } => {
                    reconfigure(&mut s, t, fates, policy(which));
                    watch.refused.clear();
                    watch.pauses.clear();
                }
                Event::Hold => s.set_gate(t, Gate::Holding),
                Event::Open => s.set_gate(t, Gate::Open),
                Event::Tick => s.tick(t),
            }
            watch.look(&mut s);
        }
        // Everything mends.
        s.set_gate(at(now), Gate::Open);
        for pending in s.pending() {
            watch.recorded.insert(pending);
            s.recorded(at(now), pending);
        }
        for server in 0..3 {
            s.administer(at(now), server, Administration::Enabled);
            s.server_up(at(now), server);
        }
        watch.look(&mut s);
        loop {
            if let Some(run) = (0..3).find_map(|server| run(&s, server)) {
                now += 1.0;
                s.completed(at(now), run);
            } else if let Some(wakeup) = s.next_wakeup() {
                now = wakeup.seconds().max(now);
                s.tick(at(now));
                let next = s.next_wakeup();
                prop_assert!(next.is_none_or(|next| next > at(now)), "wakes up in vain");
            } else {
                break;
            }
            watch.look(&mut s);
        }
        prop_assert_eq!(s.live(), 0);
        prop_assert_eq!(watch.accepted.len(), watch.ended.len());
    }

    /// Work conservation: where runs take no longer than predicted, no server stands idle beside a
    /// request that would finish earlier on it. With steps that are given, as with others the
    /// policy may rather wait for more of them elsewhere.
    #[test]
    fn no_server_stands_idle_beside_what_waits(
        events in prop::collection::vec((0..6u8, 0.0..1.0, 1.0..40.0, 0..8u64), 1..120),
    ) {
        let limits = Limits { waiting: 1000, ..LIMITS };
        let mut s = scheduler(&[12.0, 8.0, 4.0], Box::new(Myopic), limits);
        (0..3).for_each(|j| s.server_up(Time::ZERO, j));
        let mut now = 0.0;
        for (n, (what, share, slack, back)) in events.into_iter().enumerate() {
            let n = n as u64;
            let next = s.servers().iter().filter(|j| j.occupancy.run().is_some());
            let next = next
                .map(|j| (j.vacant_at(at(now)), j.occupancy.run().unwrap().id))
                .min_by(|a, b| a.0.seconds().total_cmp(&b.0.seconds()));
            // Never past the predicted finish of what runs.
            let step: f64 = next.map_or(slack / 20.0, |(finish, _)| share * (finish.seconds() - now));
            now += step.max(0.0);
            match (what, next) {
                (0..=2, _) | (_, None) => {
                    let mut order = order(n, now, slack);
                    let steps = Steps::saturating(5.0 * slack);
                    order.request.bounds = StepBounds { min: steps, max: steps };
                    s.submit(at(now), order).unwrap();
                    s.recorded(at(now), id(n));
                }
                (3..=4, Some((_, run))) => s.completed(at(now), run),
                _ => {
                    s.cancel(at(now), id(n.saturating_sub(back)));
                }
            }
            for idle in s.servers().iter().filter(|j| j.is_vacant()) {
                for other in s.servers() {
                    let mut finish = other.vacant_at(at(now));
                    for waiting in other.waiting() {
                        finish += waiting.service;
                        let here = at(now) + idle.offer(&waiting.request).unwrap().service_time(waiting.steps);
                        prop_assert!(
                            finish.seconds() <= here.seconds() + 1e-9,
                            "{} waits for {} until {:?}, on {} until {:?}",
                            waiting.id, other.server.name, finish, idle.server.name, here
                        );
                    }
                }
            }
        }
    }

    /// Parity: the same trace, with runs that take exactly as long as predicted, gives the same
    /// rows as the queue model that the simulator drives, to the last bit.
    #[test]
    fn decides_what_the_simulator_decides(
        trace in prop::collection::vec((0.0..4.0, 0.5..20.0), 1..60),
        rates in prop::collection::vec(3.0..18.0, 1..4),
        which in 0..4u8,
    ) {
        let limits = Limits { waiting: 1000, ..LIMITS };
        let mut s = scheduler(&rates, policy(which), limits);
        (0..rates.len()).for_each(|j| s.server_up(Time::ZERO, j));
        s.take_effects();
        let mut simulated = policy(which);
        let servers = rates.iter().enumerate().map(|(i, &rate)| Server::new(format!("s{i}"), StepRate::new(rate).unwrap(), Seconds::ZERO));
        let cluster = Cluster::new(servers.collect()).unwrap();
        let (objective, mut queues) = (Objective::default(), Queues::new(&cluster));
        let mut now = 0.0;
        let (mut expected, mut found) = (Vec::new(), Vec::new());
        for (n, (pause, slack)) in trace.iter().enumerate() {
            now += pause;
            finish_until(&mut s, Some(at(now)), &mut found);
            let order = order(n as u64, now, *slack);
            let request = order.request;
            queues.arrive(&request);
            let decision =
                simulated.decide(&queues.observe(at(now), &request, &objective));
            let execution = queues.dispatch(at(now), decision).execution;
            expected.push(Row::new(n, &request, decision, execution, &objective));
            s.submit(at(now), order).unwrap();
            s.recorded(at(now), id(n as u64));
        }
        finish_until(&mut s, None, &mut found);
        let rows = expected.iter().map(|row| (id(row.request as u64), row));
        let mut found: HashMap<_, _> = found.into_iter().map(|end| (end.request, end)).collect();
        for (id, row) in rows {
            let end = found.remove(&id).unwrap();
            let run = end.run.unwrap();
            prop_assert_eq!(
                (run.server, run.steps.get(), run.start.seconds(), end.at.seconds()),
                (row.server, row.steps, row.start, row.finish)
            );
            prop_assert_eq!((end.quality, end.reward), (Some(row.quality), Some(row.reward)));
        }
    }
}

/// Ideal servers: finishes every run due up to `until`, at exactly its predicted time; completions
/// come before the arrival at the same time.
fn finish_until(s: &mut Scheduler, until: Option<Time>, found: &mut Vec<End>) {
    loop {
        found.extend(s.take_effects().into_iter().filter_map(|effect| match effect {
            Effect::Ended(end) => Some(end),
            _ => None,
        }));
        let next = (s.servers().iter())
            .filter_map(|server| server.occupancy.run())
            .map(|run| (run.start + run.service, run.id))
            .filter(|(finish, _)| until.is_none_or(|until| *finish <= until))
            .min_by(|a, b| a.0.seconds().total_cmp(&b.0.seconds()));
        let Some((finish, run)) = next else { return };
        s.completed(finish, run);
    }
}
