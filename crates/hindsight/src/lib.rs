//! What was possible.

mod dual;
mod exact;
mod outcome;
mod prices;
mod pricing;
mod problem;
mod schedule;
mod search;
mod value;

pub use exact::{Solution, Timeline, TooLarge, exact};
pub use outcome::Status;

/// x
pub fn try_dual(instance: &scheduling::Instance, steps: usize, rounds: usize) -> f64 {
    let problem = problem::Problem::new(instance);
    let n = problem.requests() as f64;
    let t = std::time::Instant::now();
    let d = dual::descend(&problem, Timeline::Continuous, steps, |share, bound| {
        eprintln!("{:.2}s {share:.3} {:.4}", t.elapsed().as_secs_f64(), bound / n);
        true
    });
    let a = schedule::insert_by_price(&problem, &d.prices);
    let t = std::time::Instant::now();
    let s = search::improve(&problem, a, rounds, 1, |share, best| {
        eprintln!("{:.2}s {share:.3} {:.4} gap {:.4}%", t.elapsed().as_secs_f64(), best.reward / n, (1.0 - best.reward/d.bound)*100.0);
        true
    });
    scheduling::verify::verify(instance, &s.rows, scheduling::verify::Order::FirstComeFirstServed).unwrap();
    d.bound / n
}
