//! Decisions per second of every policy and of training, and the machine's peak in the same run.

use std::hint::black_box;
use std::ops::ControlFlow;
use std::time::Duration;

use agent::{ActorCritic, Hyperparameters, Recipe, Train};
use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use pulp::{Arch, Simd, WithSimd};
use scheduling::{Generator, Purpose};
use simulation::{BatchedEnvironment, Episode, EpisodeSource, InstanceSource, Scenario, simulate};

const PAPER: &str = include_str!("../../../scenarios/paper.toml");
const CONTENDED: &str = include_str!("../../../scenarios/contended.toml");
const AGENT: &str = concat!("agent[", env!("CARGO_MANIFEST_DIR"), "/../../models/paper]");

/// Whole simulations under contention: the queue model and the row are part of each decision.
fn decisions(c: &mut Criterion) {
    let scenario = Scenario::from_toml(CONTENDED).expect("committed scenarios are valid");
    let instance = scenario.instance(1, Episode::Evaluation(0));
    let mut group = c.benchmark_group("decisions");
    group.throughput(Throughput::Elements(instance.requests().len() as u64));
    for name in ["fixed[steps=30]", "random", "greedy", "greedy[ties=fastest]", "myopic", AGENT] {
        let recipe = Recipe::load(&name.parse().expect("a valid name")).expect("a checkpoint");
        let mut policy = recipe
            .policy(instance.cluster(), Generator::new(1, Purpose::Policy, 0))
            .expect("the cluster fits");
        let label = if name == AGENT { "agent" } else { name };
        group.bench_function(label, |b| b.iter(|| simulate(black_box(&instance), &mut *policy)));
    }
    group.finish();
}

/// Episodes of Algorithm 1 on the paper's scenario: acting, the environment and the update.
fn training(c: &mut Criterion) {
    let scenario = Scenario::from_toml(PAPER).expect("committed scenarios are valid");
    let mut group = c.benchmark_group("training");
    group.throughput(Throughput::Elements(scenario.settings().requests as u64));
    group.sample_size(20).measurement_time(Duration::from_secs(5));
    for threads in [1, 2] {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().expect("threads");
        let hyperparameters = Hyperparameters { episodes: u64::MAX, ..Hyperparameters::default() };
        let mut training = ActorCritic::new(scenario.servers(), 1, hyperparameters);
        let mut environment = BatchedEnvironment::new(&scenario, 1, 1);
        group.bench_function(BenchmarkId::new("threads", threads), |b| {
            b.iter(|| {
                pool.install(|| training.train(&mut environment, |_, _| ControlFlow::Break(())));
            });
        });
    }
    group.finish();
}

/// Fused multiply-adds that never leave the registers: the most that one core can do.
fn peak(c: &mut Criterion) {
    const ROUNDS: usize = 10_000;
    const CHAINS: usize = 16;

    struct MultiplyAdds;

    impl WithSimd for MultiplyAdds {
        type Output = (f32, usize);

        #[inline(always)]
        fn with_simd<S: Simd>(self, simd: S) -> (f32, usize) {
            let factor = simd.splat_f32s(black_box(0.999));
            let mut chains = [simd.splat_f32s(black_box(1.0)); CHAINS];
            for _ in 0..ROUNDS {
                for chain in &mut chains {
                    *chain = simd.mul_add_f32s(*chain, factor, factor);
                }
            }
            let sum = chains.into_iter().map(|chain| simd.reduce_sum_f32s(chain)).sum();
            (sum, S::F32_LANES)
        }
    }

    let (_, lanes) = Arch::new().dispatch(MultiplyAdds);
    let mut group = c.benchmark_group("peak");
    group.throughput(Throughput::Elements((2 * ROUNDS * CHAINS * lanes) as u64));
    group.bench_function("floating-point operations", |b| {
        b.iter(|| black_box(Arch::new().dispatch(MultiplyAdds)));
    });
    group.finish();
}

criterion_group!(benches, decisions, training, peak);
criterion_main!(benches);
