//! Bound, schedule and gap on instances of the paper's setting, as `docs/hindsight.md` tabulates them.
//!
//! `cargo run --release -p hindsight --example gap -- 2000 10 1 60 1.0 3.0` takes the requests, the
//! servers, the seed, the most seconds to work on each, and any number of mean intervals between
//! arrivals in seconds.

#[path = "../tests/paper/mod.rs"]
mod paper;

use std::ops::ControlFlow;
use std::time::Instant;

use hindsight::{Budget, bound};
use scheduling::Seconds;
use scheduling::verify::{Order, verify};

fn main() {
    let numbers: Vec<f64> = std::env::args().skip(1).filter_map(|text| text.parse().ok()).collect();
    let [requests, servers, seed, seconds, intervals @ ..] = numbers.as_slice() else {
        eprintln!("usage: gap REQUESTS SERVERS SEED SECONDS INTERVAL...");
        return;
    };
    println!("interval_s,bound,schedule,gap_percent,wall_s,cpu_s");
    for &interval in intervals {
        let instance =
            paper::instance(*seed as u64, *servers as usize, *requests as usize, interval);
        let (began, busy) = (Instant::now(), paper::cpu_seconds());
        let mut shown = Instant::now();
        let order = Order::FirstComeFirstServed;
        let budget = Budget { time: Some(Seconds::of(*seconds)), ..Budget::default() };
        let outcome = bound(&instance, order, &budget, |progress| {
            if shown.elapsed().as_secs() >= 10 {
                eprintln!("{progress:?}");
                shown = Instant::now();
            }
            ControlFlow::Continue(())
        });
        let schedule = outcome.schedule().expect("nobody stopped it");
        verify(&instance, &schedule.rows, order).expect("a schedule of ours obeys the rules");
        println!(
            "{interval},{:.4},{:.4},{:.4},{:.1},{:.1}",
            outcome.bound(),
            schedule.reward,
            100.0 * outcome.gap().unwrap_or(f64::NAN),
            began.elapsed().as_secs_f64(),
            paper::cpu_seconds() - busy,
        );
    }
}
