//! Instances of a few hundred requests: rules, anytime behaviour and repeatability.

mod paper;
mod rule;

use std::num::NonZeroUsize;
use std::ops::ControlFlow;

use hindsight::{Budget, Outcome, bound};
use proptest::prelude::*;
use rule::rule;
use scheduling::verify::{Order, verify};
use scheduling::{Instance, write_rows};

const ORDER: Order = Order::FirstComeFirstServed;

fn budget(descent_steps: usize, search_rounds: usize) -> Budget {
    Budget { descent_steps, search_rounds, ..Budget::default() }
}

fn run(instance: &Instance, budget: &Budget) -> Outcome {
    let outcome = bound(instance, ORDER, budget, |_| ControlFlow::Continue(()));
    let schedule = outcome.schedule().unwrap();
    assert_eq!(verify(instance, &schedule.rows, ORDER), Ok(()));
    let sum: f64 = schedule.rows.iter().map(|row| row.reward).sum();
    let mean = sum / schedule.rows.len() as f64;
    assert!((mean - schedule.reward).abs() < 1e-9);
    assert!(mean <= outcome.bound());
    outcome
}

#[test]
fn close_at_every_load_and_above_every_rule() {
    for (interval, most_gap) in [(1.0, 0.03), (3.0, 0.003), (15.0, 0.0005)] {
        let instance = paper::instance(7, 10, 250, interval);
        let outcome = run(&instance, &budget(160, 25));
        let gap = outcome.gap().unwrap();
        assert!(gap <= most_gap, "seed 7, interval {interval} s: a gap of {gap}");
        for name in ["random", "greedy", "greedy[ties=fastest]", "fixed[steps=120]", "myopic"] {
            let reward = rule(&instance, name);
            let best = outcome.schedule().unwrap().reward;
            assert!(reward <= best, "{name} earns {reward}: {best}");
        }
    }
}

#[test]
fn the_number_of_threads_changes_nothing() {
    let instance = paper::instance(11, 5, 300, 1.0);
    let outcomes: Vec<Outcome> = [1, 2, 5]
        .map(|threads| {
            run(&instance, &Budget { threads: NonZeroUsize::new(threads), ..budget(40, 4) })
        })
        .into();
    for other in &outcomes[1..] {
        assert_eq!(outcomes[0].bound().to_bits(), other.bound().to_bits());
        let rows = |outcome: &Outcome| write_rows(&outcome.schedule().unwrap().rows, &[]);
        assert_eq!(rows(&outcomes[0]), rows(other));
    }
}

#[test]
fn it_can_be_stopped_at_any_report() {
    let instance = paper::instance(13, 4, 150, 1.0);
    let mut reports = 0;
    bound(&instance, ORDER, &budget(40, 3), |progress| {
        assert!(progress.best.is_none_or(|best| best <= progress.bound), "{progress:?}");
        assert!((0.0..=1.0).contains(&progress.fraction), "{progress:?}");
        reports += 1;
        ControlFlow::Continue(())
    });
    assert!(reports > 5);
    for last in 1..=reports {
        let mut seen = 0;
        let outcome = bound(&instance, ORDER, &budget(40, 3), |_| {
            seen += 1;
            if seen == last { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        });
        if last == 1 {
            assert!(matches!(outcome, Outcome::Unknown { .. }), "{outcome:?}");
        } else {
            let schedule = outcome.schedule().unwrap();
            assert_eq!(verify(&instance, &schedule.rows, ORDER), Ok(()));
            assert!(schedule.reward <= outcome.bound());
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(12))]
    #[test]
    fn any_instance_is_bounded(
        seed in any::<u64>(), servers in 1usize..6, requests in 1usize..50, interval in 0.02..20.0,
    ) {
        let instance = paper::instance(seed, servers, requests, interval);
        let outcome = run(&instance, &budget(20, 1));
        for name in ["random", "greedy", "myopic", "fixed[steps=30]"] {
            prop_assert!(rule(&instance, name) <= outcome.bound(), "{} beats the bound", name);
        }
    }
}
