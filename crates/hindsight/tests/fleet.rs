//! Fleets: models that have to be loaded, sizes, and bounds on steps.

mod enumeration;
mod fleet_instance;
mod rule;

use std::ops::ControlFlow;

use enumeration::enumerate;
use fleet_instance::instance;
use hindsight::{Budget, Outcome, Timeline, bound, exact};
use rule::rule;
use scheduling::verify::{Order, verify};
use scheduling::{Instance, Seconds};

const ORDERS: [Order; 2] = [Order::FirstComeFirstServed, Order::Any];

fn optimum(instance: &Instance, order: Order, timeline: Timeline) -> f64 {
    let solution = exact(instance, order, timeline, || ControlFlow::Continue(())).unwrap();
    let Outcome::Optimal { schedule, .. } = solution.outcome else {
        panic!("{:?}", solution.outcome)
    };
    assert_eq!(verify(instance, &schedule.rows, order), Ok(()));
    schedule.reward
}

#[test]
fn exact_agrees_with_enumeration() {
    for (seed, (requests, servers, choices)) in
        (0..).zip([(2, 1, 60), (2, 2, 60), (3, 1, 12), (3, 2, 12), (4, 1, 4), (4, 2, 4), (5, 2, 2)])
    {
        let instance = instance(seed, servers, requests, 1.0, choices);
        for order in ORDERS {
            for timeline in [Timeline::Continuous, Timeline::Slots(Seconds::of(0.5))] {
                let expected = enumerate(&instance, order, timeline);
                let found = optimum(&instance, order, timeline);
                let what = format!("seed {seed}, {order:?}, {timeline:?}");
                assert!((found - expected).abs() < 1e-9, "{what}: {found} is not {expected}");
            }
        }
    }
}

#[test]
fn feasible_optimum_and_bound_are_in_order() {
    let budget = Budget { descent_steps: 200, search_rounds: 10, ..Budget::default() };
    let mut missed = Vec::new();
    for seed in 0..24 {
        let interval = [0.5, 2.0, 6.0][seed as usize % 3];
        let instance = instance(seed, 1 + seed as usize % 2, 6, interval, 30);
        let optima = ORDERS.map(|order| optimum(&instance, order, Timeline::Continuous));
        assert!(optima[0] <= optima[1] + 1e-9, "seed {seed}: {optima:?}");
        for (optimum, order) in optima.into_iter().zip(ORDERS) {
            let outcome = bound(&instance, order, &budget, |_| ControlFlow::Continue(()));
            assert!(
                optimum <= outcome.bound(),
                "seed {seed}: {} below {optima:?}",
                outcome.bound()
            );
            let schedule = outcome.schedule().unwrap();
            let rows = verify(&instance, &schedule.rows, Order::FirstComeFirstServed);
            assert_eq!(rows, Ok(()), "seed {seed}");
            missed.push(optima[0] - schedule.reward);
        }
    }
    assert!(missed.iter().all(|&missed| missed >= -1e-9), "{missed:?}");
    let mean = missed.iter().sum::<f64>() / missed.len() as f64;
    println!("optimum − schedule found: mean {mean}");
    assert!(mean < 0.05, "{mean}");
}

/// On a fleet of some size nothing is proven, but the schedule obeys all rules, earns more than every
/// rule and loads less often than most.
#[test]
fn above_every_rule() {
    let instance = instance(7, 6, 250, 1.0, 160);
    let budget = Budget { descent_steps: 120, search_rounds: 40, ..Budget::default() };
    let order = Order::FirstComeFirstServed;
    let outcome = bound(&instance, order, &budget, |_| ControlFlow::Continue(()));
    let best = outcome.schedule().unwrap();
    assert_eq!(verify(&instance, &best.rows, order), Ok(()));
    assert!(best.reward <= outcome.bound());
    for name in ["random", "greedy", "myopic", "priced[load=0.5]"] {
        let reward = rule(&instance, name);
        assert!(reward <= best.reward, "{name} earns {reward}, the schedule {}", best.reward);
    }
}
