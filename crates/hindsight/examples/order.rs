//! What first come first served costs: proven optima of small instances in both orders.
//!
//! `cargo run --release -p hindsight --example order -- 12 3 1.0 4 [SLOT]` takes the requests, the
//! servers, the mean interval between arrivals, the number of seeds and, for starts on slots, the
//! slot in seconds.

#[path = "../tests/paper/mod.rs"]
mod paper;

use std::ops::ControlFlow;
use std::time::Instant;

use hindsight::{Outcome, Timeline, exact};
use scheduling::Seconds;
use scheduling::verify::{Order, verify};

fn main() {
    let numbers: Vec<f64> = std::env::args().skip(1).filter_map(|text| text.parse().ok()).collect();
    let [requests, servers, interval, seeds, slot @ ..] = numbers.as_slice() else {
        eprintln!("usage: order REQUESTS SERVERS INTERVAL SEEDS [SLOT]");
        return;
    };
    let timeline = match slot {
        [slot, ..] => Timeline::Slots(Seconds::of(*slot)),
        [] => Timeline::Continuous,
    };
    println!("seed,order,status,reward,labels,wall_s,cpu_s");
    for seed in 0..*seeds as u64 {
        let instance = paper::instance(seed, *servers as usize, *requests as usize, *interval);
        for order in [Order::Any, Order::FirstComeFirstServed] {
            let (began, busy) = (Instant::now(), paper::cpu_seconds());
            match exact(&instance, order, timeline, || ControlFlow::Continue(())) {
                Err(refusal) => eprintln!("{refusal}"),
                Ok(solution) => {
                    let outcome = &solution.outcome;
                    let schedule = outcome.schedule().expect("exact starts from a schedule");
                    verify(&instance, &schedule.rows, order).expect("ours obey the rules");
                    println!(
                        "{seed},{order:?},{},{:.5},{},{:.1},{:.1}",
                        if matches!(outcome, Outcome::Optimal { .. }) {
                            "optimal"
                        } else {
                            "feasible"
                        },
                        schedule.reward,
                        solution.labels,
                        began.elapsed().as_secs_f64(),
                        paper::cpu_seconds() - busy,
                    );
                }
            }
        }
    }
}
