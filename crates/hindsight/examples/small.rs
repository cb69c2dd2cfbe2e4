#[path = "../tests/paper/mod.rs"]
mod paper;
use hindsight::*;
use scheduling::{Seconds, verify::Order};
fn main() {
    let a: Vec<f64> = std::env::args().skip(1).map(|x| x.parse().unwrap()).collect();
    let (iv, n, m, seeds) = (a[0], a[1] as usize, a[2] as usize, a[3] as u64);
    let tl = if a[4] > 0.0 { Timeline::Slots(Seconds::of(a[4])) } else { Timeline::Continuous };
    for seed in 0..seeds {
        let i = paper::instance(seed, m, n, iv);
        for order in [Order::Any, Order::FirstComeFirstServed] {
            let t = std::time::Instant::now();
            let s = exact(&i, order, tl, || std::ops::ControlFlow::Continue(())).unwrap();
            scheduling::verify::verify(&i, &s.rows, order).unwrap();
            println!("{seed} {order:?} {:?} {:.5} labels {} {:.2}s", s.status, s.value, s.labels, t.elapsed().as_secs_f64());
        }
    }
}
