//! Small instances, where everything can be proven: feasible ≤ optimum ≤ bound, and the exact
//! method against an enumeration that knows nothing of it.

mod enumeration;
mod paper;

use std::ops::ControlFlow;

use enumeration::enumerate;
use hindsight::{Budget, Found, Outcome, Timeline, TooLarge, bound, exact};
use scheduling::verify::{Order, verify};
use scheduling::{
    Cluster, Instance, Objective, QualityCurve, Request, Seconds, Server, StepRate, Steps,
    TardinessPenalty, Time,
};

fn go_on() -> ControlFlow<()> {
    ControlFlow::Continue(())
}

fn optimum(instance: &Instance, order: Order, timeline: Timeline) -> f64 {
    let outcome = exact(instance, order, timeline, go_on).unwrap().outcome;
    let Outcome::Optimal { schedule, bound } = outcome else { panic!("{outcome:?}") };
    assert_eq!(verify(instance, &schedule.rows, order), Ok(()));
    let sum: f64 = schedule.rows.iter().map(|row| row.reward).sum();
    assert!((sum / schedule.rows.len() as f64 - schedule.reward).abs() < 1e-12);
    assert_eq!(bound, schedule.reward);
    if let Timeline::Slots(slot) = timeline {
        for row in &schedule.rows {
            let slots = row.start / slot.seconds();
            assert!((slots - slots.round()).abs() < 1e-9, "{} is no slot", row.start);
        }
    }
    schedule.reward
}

/// Requests, servers and mean interval of 36 instances from idle to overloaded.
fn mixed_load() -> Vec<(u64, Instance)> {
    let mut instances = Vec::new();
    for (shape, (requests, servers)) in [(5, 1), (6, 2), (8, 2), (8, 3)].into_iter().enumerate() {
        for (load, interval) in [0.5, 2.0, 8.0].into_iter().enumerate() {
            for copy in 0..3 {
                let seed = 100 * shape as u64 + 10 * load as u64 + copy;
                instances.push((seed, paper::instance(seed, servers, requests, interval)));
            }
        }
    }
    instances
}

#[test]
fn feasible_optimum_and_bound_are_in_order() {
    let budget = Budget { descent_steps: 300, search_rounds: 10, ..Budget::default() };
    let mut excess = [0.0; 2];
    let instances = mixed_load();
    assert!(instances.len() >= 36);
    for (seed, instance) in &instances {
        let orders = [Order::FirstComeFirstServed, Order::Any];
        let optima = orders.map(|order| optimum(instance, order, Timeline::Continuous));
        assert!(optima[0] <= optima[1] + 1e-9, "seed {seed}: {optima:?}");
        for (k, order) in orders.into_iter().enumerate() {
            let outcome = bound(instance, order, &budget, |_| go_on());
            let Found { reward: value, rows } = outcome.schedule().unwrap();
            assert_eq!(verify(instance, rows, Order::FirstComeFirstServed), Ok(()));
            assert!(*value <= optima[0] + 1e-9, "seed {seed}: {value} above {optima:?}");
            let bound = outcome.bound();
            assert!(optima[k] <= bound, "seed {seed}: {bound} below {optima:?}");
            excess[k] += (bound - optima[k]) / instances.len() as f64;
        }
    }
    println!("bound − optimum, in order of arrival and in any order: {excess:?}");
    assert!(excess.iter().all(|&excess| excess <= 0.05), "bound − optimum: {excess:?}");
}

#[test]
fn exact_agrees_with_enumeration() {
    let slots = |span| Timeline::Slots(Seconds::of(span));
    for (seed, requests, servers, interval) in [
        (1, 1, 2, 1.0),
        (2, 2, 1, 0.5),
        (3, 2, 2, 0.2),
        (4, 2, 2, 3.0),
        (5, 2, 3, 0.1),
        (6, 3, 1, 1.0),
    ] {
        let instance = paper::instance(seed, servers, requests, interval);
        for order in [Order::FirstComeFirstServed, Order::Any] {
            for timeline in [Timeline::Continuous, slots(1.0), slots(0.4)] {
                if requests > 2 && timeline != Timeline::Continuous {
                    continue;
                }
                let expected = enumerate(&instance, order, timeline);
                let found = optimum(&instance, order, timeline);
                assert!(
                    (found - expected).abs() < 1e-9,
                    "seed {seed}, {order:?}, {timeline:?}: {found} is not {expected}"
                );
            }
        }
    }
}

fn server(name: &str, rate: f64, overhead: f64) -> Server {
    Server::new(name, StepRate::new(rate).unwrap(), Seconds::new(overhead).unwrap())
}

fn request(arrival: f64, due: f64, penalty: TardinessPenalty) -> Request {
    Request::new(Time::new(arrival).unwrap(), Time::new(due).unwrap(), penalty)
}

#[test]
fn overheads_tables_and_late_origins() {
    use TardinessPenalty::{Linear, Quadratic, SquareRoot};
    let points = [(1, 0.0), (20, 8.0), (60, 10.0)];
    let table = points.map(|(steps, quality)| (Steps::new(steps).unwrap(), quality)).to_vec();
    let objective = Objective::new(QualityCurve::Table(table), 0.8).unwrap();
    let cluster = Cluster::new(vec![server("a", 9.0, 0.7), server("b", 4.0, 0.0)]).unwrap();
    let at = 50_000.0;
    let requests = vec![
        request(at, at + 1.0, SquareRoot),
        request(at, at + 1.0, Quadratic),
        request(at + 0.1, at + 0.1, Linear),
    ];
    let two = Instance::new(cluster.clone(), requests[..2].to_vec(), objective.clone()).unwrap();
    for order in [Order::FirstComeFirstServed, Order::Any] {
        let expected = enumerate(&two, order, Timeline::Continuous);
        let found = optimum(&two, order, Timeline::Continuous);
        assert!((found - expected).abs() < 1e-9, "{order:?}: {found} is not {expected}");
    }
    let three = Instance::new(cluster, requests, objective).unwrap();
    let best = optimum(&three, Order::Any, Timeline::Continuous);
    let outcome = bound(&three, Order::Any, &Budget::default(), |_| go_on());
    let reward = outcome.schedule().unwrap().reward;
    assert!(reward <= best + 1e-9 && best <= outcome.bound());
}

#[test]
fn too_large_is_refused_with_what_is_possible() {
    let instance = paper::instance(1, 3, 40, 1.0);
    let refusal = |timeline| exact(&instance, Order::Any, timeline, go_on).unwrap_err();
    let message = refusal(Timeline::Continuous).to_string();
    for part in ["40 requests", "up to 16", "without --exact"] {
        assert!(message.contains(part), "{message:?} does not contain {part:?}");
    }
    assert!(refusal(Timeline::Slots(Seconds::of(1.0))).to_string().contains("up to 24"));
    let small = paper::instance(1, 3, 4, 1.0);
    let zero = exact(&small, Order::Any, Timeline::Slots(Seconds::ZERO), go_on).unwrap_err();
    assert_eq!(zero, TooLarge::Slot(0.0));
    let tiny = Timeline::Slots(Seconds::of(1e-6));
    let message = exact(&small, Order::Any, tiny, go_on).unwrap_err().to_string();
    assert!(message.contains("use longer slots"), "{message}");
}

#[test]
fn an_interrupted_proof_is_no_proof() {
    let instance = paper::instance(3, 2, 10, 0.5);
    let stop = || ControlFlow::Break(());
    let solution = exact(&instance, Order::Any, Timeline::Continuous, stop).unwrap();
    let schedule = solution.outcome.schedule().unwrap();
    assert_eq!(verify(&instance, &schedule.rows, Order::Any), Ok(()));
    assert!(schedule.reward <= solution.outcome.bound());
}

#[test]
fn too_many_servers_are_refused_and_still_bounded() {
    let instance = paper::instance(1, 101, 3, 1.0);
    let refusal = exact(&instance, Order::Any, Timeline::Continuous, go_on).unwrap_err();
    assert_eq!(refusal, TooLarge::Servers { servers: 101, possible: 100 });
    let budget = Budget { descent_steps: 20, search_rounds: 1, ..Budget::default() };
    let outcome = bound(&instance, Order::Any, &budget, |_| go_on());
    assert!(outcome.schedule().unwrap().reward <= outcome.bound());
}
