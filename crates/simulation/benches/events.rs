//! Requests per second of the gateway's scheduler in virtual time, on one core, beside the fast path that
//! the paper's world allows.

use std::hint::black_box;
use std::time::Duration;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use scheduling::policies::Fixed;
use scheduling::{Instance, Steps};
use simulation::{Episode, InstanceSource, Scenario, simulate, simulate_by_events};

const REQUESTS: usize = 20_000;
const REALITY: &str =
    "[noise]\nsigma = 0.3\n[failures]\nmean_up_seconds = 3600\nmean_down_seconds = 120\n";

fn instance(more: &str) -> Instance {
    let text = format!("{}\n{more}", include_str!("../../../scenarios/paper.toml"));
    Scenario::from_toml(&text)
        .and_then(|scenario| scenario.with(|settings| settings.requests = REQUESTS))
        .expect("committed scenarios are valid")
        .instance(1, Episode::Evaluation(0))
}

fn events(c: &mut Criterion) {
    let mut group = c.benchmark_group("requests");
    group.warm_up_time(Duration::from_millis(500)).measurement_time(Duration::from_secs(3));
    group.throughput(Throughput::Elements(REQUESTS as u64));
    // A policy that costs next to nothing.
    let steps = Steps::saturating(30.0);
    let (ideal, real) = (instance(""), instance(REALITY));
    group.bench_function("fast path", |b| {
        b.iter(|| simulate(black_box(&ideal), &mut Fixed { steps }));
    });
    group.bench_function("events, paper's world", |b| {
        b.iter(|| simulate_by_events(black_box(&ideal), &mut Fixed { steps }));
    });
    group.bench_function("events, luck and failures", |b| {
        b.iter(|| simulate_by_events(black_box(&real), &mut Fixed { steps }));
    });
    group.finish();
}

criterion_group!(benches, events);
criterion_main!(benches);
