//! What was possible.

mod dual;
mod prices;
mod pricing;
mod problem;

/// x
pub fn try_dual(instance: &scheduling::Instance, steps: usize) -> f64 {
    let problem = problem::Problem::new(instance);
    let n = problem.requests() as f64;
    let t = std::time::Instant::now();
    let d = dual::descend(&problem, steps, |share, bound| {
        eprintln!("{:.2}s {share:.3} {:.4}", t.elapsed().as_secs_f64(), bound / n);
        true
    });
    d.bound / n
}
