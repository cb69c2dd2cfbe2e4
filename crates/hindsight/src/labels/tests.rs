use super::*;
use crate::dual::{descend, paper};
use crate::exact::{MOST_LABELS, exact, solve};
use crate::schedule::insert_by_price;
use crate::search::improve;

/// No prefix of an optimal schedule is ever pruned, whatever the prices.
#[test]
fn completion_bounds_hold_along_an_optimal_schedule() {
    for (seed, interval) in [(110, 2.0), (1, 0.5), (2, 1.0), (3, 4.0)] {
        let instance = paper::instance(seed, 2, 6, interval);
        let problem = Problem::new(&instance);
        let (order, timeline) = (Order::FirstComeFirstServed, Timeline::Continuous);
        let solution = exact(&instance, order, timeline, || ControlFlow::Continue(())).unwrap();
        let best = solution.outcome.into_schedule().unwrap();
        let total: f64 = best.rows.iter().map(|row| row.reward).sum();
        for steps in [1, 40, 300] {
            let dual = descend(&problem, timeline, steps, |_, _| true);
            let mut solver = Solver::new(&problem, order, timeline, &dual, MOST_LABELS);
            solver.cutoff = total - 1e-9;
            let (mut ran, mut value) = (0, 0.0);
            for server in 0..2 {
                for row in best.rows.iter().filter(|row| row.server == server) {
                    let i = row.request;
                    ran |= 1 << i;
                    value += row.reward;
                    let rest = solver.rest(server, ran, |k| server + usize::from(k < i));
                    let prices = &dual.prices;
                    let unused = prices.whole(server) - prices.until(server, row.finish);
                    let what = format!("seed {seed}, {steps} steps, request {i} on {server}");
                    assert!(value + rest + unused >= total - 1e-9, "{what}");
                    let label = Label { free: row.finish, ..Label::open(value, NONE) };
                    assert!(solver.hopeful(server, ran, i + 1, &label), "{what}: not hopeful");
                }
                let closed = value + solver.rest(server, ran, |_| server + 1);
                assert!(closed >= total - 1e-9, "seed {seed}, {steps} steps: {server} closed");
            }
        }
    }
}

/// Seed 110: a schedule that ran everything, below the cutoff, once passed for the optimum.
#[test]
fn an_optimum_is_never_below_the_first_schedule() {
    for (seed, interval) in [(110, 2.0), (111, 2.0), (112, 0.5), (100, 0.5)] {
        let instance = paper::instance(seed, 2, 6, interval);
        let problem = Problem::new(&instance);
        let mut found = Vec::new();
        for steps in [40, 300] {
            let dual = descend(&problem, Timeline::Continuous, steps, |_, _| true);
            for rounds in [0, 10] {
                let start = insert_by_price(&problem, &dual.prices);
                let first = improve(&problem, start, rounds, 0, |share, _| Some(share));
                let least = first.reward / 6.0;
                let (order, timeline) = (Order::FirstComeFirstServed, Timeline::Continuous);
                let mut go_on = || ControlFlow::Continue(());
                let solution =
                    solve(&problem, order, timeline, &dual, first, MOST_LABELS, &mut go_on);
                let reward = solution.outcome.schedule().unwrap().reward;
                assert!(reward >= least, "seed {seed}: {reward} < {least}");
                found.push(reward);
            }
        }
        let spread = found.iter().map(|value| (value - found[0]).abs()).fold(0.0, f64::max);
        assert!(spread < 1e-9, "seed {seed}: one optimum, but {found:?}");
    }
}
