//! Environment steps per second on one core, against the plain simulator on the same scenario.

use std::hint::black_box;
use std::time::Duration;

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use scheduling::{Decision, Environment, Generator, Policy, Purpose, Rule, Steps};
use simulation::{BatchedEnvironment, Episode, EpisodeSource, InstanceSource, Scenario, simulate};

const SCENARIOS: [(&str, &str); 2] = [
    ("paper", include_str!("../../../scenarios/paper.toml")),
    ("contended", include_str!("../../../scenarios/contended.toml")),
];

/// Random actions for every step of an episode; drawn ahead, as they are not what is measured.
fn actions(environment: &BatchedEnvironment<&Scenario>) -> Vec<Decision> {
    let mut generator = Generator::new(1, Purpose::Policy, 0);
    (0..environment.lanes() * environment.requests())
        .map(|_| Decision {
            server: generator.below(environment.servers()),
            steps: Steps::from_index(generator.below(Steps::COUNT)),
        })
        .collect()
}

fn episodes(c: &mut Criterion) {
    for (name, text) in SCENARIOS {
        let scenario = Scenario::from_toml(text).expect("committed scenarios are valid");
        let requests = scenario.settings().requests as u64;
        let mut group = c.benchmark_group(name);
        group.warm_up_time(Duration::from_millis(500)).measurement_time(Duration::from_secs(3));

        // The plain reference: an instance in memory, a boxed random policy, rows as the result.
        group.throughput(Throughput::Elements(requests));
        let rule = Rule::Random { steps: Steps::saturating(120.0) };
        let policy = || -> Box<dyn Policy> { rule.policy(Generator::new(1, Purpose::Policy, 0)) };
        group.bench_function("simulator", |b| {
            let instance = scenario.instance(1, Episode::Training(0));
            let mut policy = policy();
            b.iter(|| simulate(black_box(&instance), &mut *policy));
        });
        group.bench_function("simulator with new instances", |b| {
            let mut policy = policy();
            let mut episode = 0;
            b.iter(|| {
                episode += 1;
                simulate(&scenario.instance(1, Episode::Training(episode)), &mut *policy)
            });
        });

        // What the environment spends on drawing requests: the rest is stepping.
        group.bench_function("drawing requests", |b| {
            let mut workload = scenario.workload(1, Episode::Training(0));
            b.iter(|| {
                (0..requests).for_each(|_| {
                    black_box(workload.next());
                });
            });
        });

        for batch in [16, 64, 256] {
            let mut environment = BatchedEnvironment::new(&scenario, 1, batch);
            let actions = actions(&environment);
            let mut rewards = vec![0.0; batch];
            group.throughput(Throughput::Elements(requests * batch as u64));
            group.bench_function(BenchmarkId::new("environment", batch), |b| {
                let mut first = 0;
                b.iter(|| {
                    environment.reset(first);
                    first += batch as u64;
                    for actions in actions.chunks_exact(batch) {
                        environment.step(actions, &mut rewards);
                        black_box((environment.backlog(), environment.slack(), &rewards));
                    }
                });
            });
        }
        group.finish();
    }
}

criterion_group!(benches, episodes);
criterion_main!(benches);
