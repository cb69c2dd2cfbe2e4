//! What bound and schedule cost: `cargo bench -p hindsight`.
//!
//! Runs take seconds, so each is made once, on a small budget; a step of the descent and a round of
//! the search cost the same on a large one. Numbers after `--` choose the sizes: requests only.

#[path = "../tests/paper/mod.rs"]
mod paper;

use std::ops::ControlFlow;
use std::time::Instant;

use hindsight::{Budget, bound};
use scheduling::verify::{Order, verify};

const INTERVAL: f64 = 1.0;
const TEN_SERVERS: f64 = 10.0;

fn main() {
    let chosen: Vec<usize> = std::env::args().filter_map(|text| text.parse().ok()).collect();
    let sizes = if chosen.is_empty() { vec![500, 1000, 2000, 4000] } else { chosen };
    let budget = Budget { descent_steps: 100, search_rounds: 20, ..Budget::default() };
    println!("one request per second and ten servers; descent 100 steps, search 20 rounds");
    println!("requests  servers  descent s  search s   cpu s    bound  schedule  gap %");
    for requests in sizes {
        for servers in [5, 10, 20] {
            // The same load for each server, whatever their number.
            let interval = INTERVAL * TEN_SERVERS / servers as f64;
            let instance = paper::instance(1, servers, requests, interval);
            let (began, busy) = (Instant::now(), paper::cpu_seconds());
            let mut descended = 0.0;
            let order = Order::FirstComeFirstServed;
            let outcome = bound(&instance, order, &budget, |progress| {
                if progress.best.is_none() {
                    descended = began.elapsed().as_secs_f64();
                }
                ControlFlow::Continue(())
            });
            let (whole, busy) = (began.elapsed().as_secs_f64(), paper::cpu_seconds() - busy);
            let schedule = outcome.schedule().expect("nobody stopped it");
            verify(&instance, &schedule.rows, order).expect("a schedule of ours obeys the rules");
            println!(
                "{requests:8} {servers:8} {descended:10.2} {:9.2} {busy:7.2} {:8.4} {:9.4} {:6.3}",
                whole - descended,
                outcome.bound(),
                schedule.reward,
                100.0 * outcome.gap().unwrap_or(f64::NAN),
            );
        }
    }
}
