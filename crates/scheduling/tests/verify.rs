//! `verify` accepts what the rules produce and names what was damaged.

use proptest::prelude::*;
use scheduling::verify::{Order, Violation, verify};
use scheduling::{
    Cluster, Decision, Execution, Generator, Instance, Objective, Purpose, Queues, Request, Row,
    Rule, Seconds, Server, StepRate, Steps, TardinessPenalty, Time,
};

const RULES: [&str; 7] = [
    "random",
    "greedy",
    "greedy[ties=fastest]",
    "fixed[steps=30]",
    "fixed[steps=200]",
    "myopic",
    "priced",
];

/// A random instance: `interval` is the mean time between arrivals, in seconds.
fn instance(seed: u64, servers: usize, requests: usize, interval: f64) -> Instance {
    let mut draw = Generator::new(seed, Purpose::Search, 0);
    let servers = (0..servers)
        .map(|index| {
            Server::new(
                format!("s{index}"),
                StepRate::new(draw.between(4.0, 20.0)).unwrap(),
                Seconds::of(draw.between(0.0, 1.0)),
            )
        })
        .collect();
    let mut now = Time::ZERO;
    let requests = (0..requests)
        .map(|_| {
            // Every fourth request arrives together with the one before.
            if draw.below(4) > 0 {
                now += Seconds::of(draw.exponential(interval));
            }
            Request::new(
                now,
                now + Seconds::of(draw.between(0.0, 20.0)),
                TardinessPenalty::ALL[draw.below(3)],
            )
        })
        .collect();
    Instance::new(Cluster::new(servers).unwrap(), requests, Objective::default()).unwrap()
}

/// The rows that `rule` produces, straight from the queue model.
fn rows(instance: &Instance, rule: &str) -> Vec<Row> {
    let rule: Rule = rule.parse().unwrap();
    let mut policy = rule.policy(Generator::new(1, Purpose::Policy, 0));
    let (cluster, objective) = (instance.cluster(), instance.objective());
    let mut queues = Queues::new(cluster);
    (instance.requests().iter().enumerate())
        .map(|(index, request)| {
            let now = request.arrival;
            let decision = policy.decide(&queues.observe(now, request, objective));
            let execution = queues.dispatch(now, decision).execution;
            Row::new(index, request, decision, execution, objective)
        })
        .collect()
}

proptest! {
    #[test]
    fn every_rule_on_every_instance_is_accepted(
        seed in any::<u64>(), servers in 1usize..6, requests in 1usize..60, interval in 0.05..20.0,
    ) {
        let instance = instance(seed, servers, requests, interval);
        for rule in RULES {
            let verdict =
                verify(&instance, &rows(&instance, rule), Order::FirstComeFirstServed);
            prop_assert_eq!(verdict, Ok(()), "{}", rule);
        }
    }

    /// Nothing that one request could get beats what `myopic` takes for it.
    #[test]
    fn myopic_is_the_argmax(
        seed in any::<u64>(), server in 0usize..3, steps in 1u32..=200, slack in 0.0..20.0,
    ) {
        let instance = instance(seed, 3, 10, 1.0);
        let mut queues = Queues::new(instance.cluster());
        for (server, backlog) in [4.0, 0.0, 9.5].into_iter().enumerate() {
            queues.set_free_at(server, Time::new(backlog).unwrap());
        }
        let steps = Steps::new(steps).unwrap();
        for penalty in TardinessPenalty::ALL {
            let request = Request::new(Time::ZERO, Time::new(slack).unwrap(), penalty);
            let observation =
                queues.observe(Time::ZERO, &request, instance.objective());
            let mut myopic =
                Rule::Myopic.policy(Generator::new(1, Purpose::Policy, 0));
            let best = observation.reward(myopic.decide(&observation));
            let other = observation.reward(Decision { server, steps });
            prop_assert!(other <= best, "{} > {}", other, best);
        }
    }
}

/// Damages a good schedule and expects one kind of complaint, perhaps with others that follow.
fn check(damage: impl FnOnce(&mut Vec<Row>), expected: impl Fn(&Violation) -> bool, text: &str) {
    let instance = instance(3, 2, 12, 0.5);
    let mut rows = rows(&instance, "greedy");
    assert_eq!(verify(&instance, &rows, Order::FirstComeFirstServed), Ok(()));
    damage(&mut rows);
    let violations = verify(&instance, &rows, Order::FirstComeFirstServed).unwrap_err();
    let named = violations.iter().find(|violation| expected(violation));
    let message = named.unwrap_or_else(|| panic!("{violations:?}")).to_string();
    assert!(message.contains(text), "{message:?} does not contain {text:?}");
}

#[test]
fn damaged_schedules_are_rejected_by_name() {
    use Violation as V;
    check(
        |rows| rows.retain(|row| row.request != 5),
        |v| *v == V::Missing { request: 5 },
        "never runs",
    );
    check(
        |rows| rows.push(rows[5].clone()),
        |v| *v == V::Duplicate { request: 5 },
        "more than once",
    );
    check(
        |rows| rows[5].request = 99,
        |v| *v == V::UnknownRequest { request: 99 },
        "not in the instance",
    );
    check(
        |rows| rows[5].server = 2,
        |v| *v == V::UnknownServer { request: 5, server: 2 },
        "does not exist",
    );
    for steps in [0, 201] {
        check(
            |rows| rows[5].steps = steps,
            |v| *v == V::Steps { request: 5, steps },
            "allowed is 1 to 200",
        );
    }
    check(
        |rows| rows[0].start = rows[0].arrival - 0.001,
        |v| matches!(v, V::EarlyStart { request: 0, .. }),
        "before its arrival",
    );
    check(
        |rows| rows[0].start = f64::NAN,
        |v| matches!(v, V::EarlyStart { request: 0, .. }),
        "starts at NaN",
    );
}

#[test]
fn every_column_is_recomputed() {
    type Damage = fn(&mut Row);
    let damages: [(&str, Damage); 8] = [
        ("arrival", |row| row.arrival += 1e-6),
        ("due", |row| row.due += 1e-6),
        ("finish", |row| row.finish -= 1e-6),
        ("tardiness", |row| row.tardiness += 1e-6),
        ("penalty", |row| row.penalty += 1e-6),
        ("quality", |row| row.quality += 1e-6),
        ("reward", |row| row.reward += 1e-6),
        ("reward", |row| row.reward = f64::NAN),
    ];
    for (name, damage) in damages {
        check(
            |rows| damage(&mut rows[5]),
            |v| matches!(v, Violation::Arithmetic { request: 5, column, .. } if *column == name),
            &format!("{name} is"),
        );
    }
}

/// A hand-made schedule of two requests on one server, two seconds each.
fn two_on_one(starts: [f64; 2], order: Order) -> Result<(), Vec<Violation>> {
    let server = Server::new("only", StepRate::new(10.0).unwrap(), Seconds::ZERO);
    let at = |t| Time::new(t).unwrap();
    let request = |arrival| Request::new(at(arrival), at(9.0), TardinessPenalty::Linear);
    let requests = vec![request(0.0), request(1.0)];
    let instance =
        Instance::new(Cluster::new(vec![server]).unwrap(), requests, Objective::default()).unwrap();
    let rows: Vec<_> = (0..2)
        .map(|index| {
            let start = at(starts[index]);
            let execution = Execution { start, finish: start + Seconds::of(2.0) };
            let decision = Decision { server: 0, steps: Steps::new(20).unwrap() };
            let request = &instance.requests()[index];
            Row::new(index, request, decision, execution, instance.objective())
        })
        .collect();
    verify(&instance, &rows, order)
}

#[test]
fn overlap_and_order() {
    use Order::{Any, FirstComeFirstServed};
    assert_eq!(two_on_one([0.0, 2.0], FirstComeFirstServed), Ok(()));
    assert_eq!(two_on_one([3.0, 1.0], Any), Ok(()));
    assert_eq!(
        two_on_one([3.0, 1.0], FirstComeFirstServed),
        Err(vec![Violation::OutOfOrder { server: 0, first: 1, second: 0 }])
    );
    for order in [Any, FirstComeFirstServed] {
        assert_eq!(
            two_on_one([0.0, 1.999], order),
            Err(vec![Violation::Overlap { server: 0, running: 0, started: 1 }])
        );
    }
}

/// One early run that starts late breaks the order against all that started before it, and one long
/// run overlaps all that start meanwhile, whoever stands between.
#[test]
fn overlap_and_order_are_judged_among_all_runs() {
    let instance = instance(3, 1, 12, 1.0);
    let judge = |change: &dyn Fn(&mut Vec<Row>)| {
        let mut rows = rows(&instance, "fixed[steps=30]");
        change(&mut rows);
        verify(&instance, &rows, Order::FirstComeFirstServed).unwrap_err()
    };
    let out_of_order = |second| Violation::OutOfOrder { server: 0, first: 11, second };
    let last_first = judge(&|rows| {
        let service = rows[11].finish - rows[11].start;
        rows[11].start = -service;
        rows[11].finish = 0.0;
    });
    let overlap = |started| Violation::Overlap { server: 0, running: 0, started };
    let first_long = judge(&|rows| rows[0].finish = 1e6);
    for request in 1..11 {
        assert!(last_first.contains(&out_of_order(request)), "{request}: {last_first:?}");
        assert!(first_long.contains(&overlap(request)), "{request}: {first_long:?}");
    }
}
