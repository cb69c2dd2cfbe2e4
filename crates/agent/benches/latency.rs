//! Time of one decision of the universal agent against the number of servers.
//!
//! `cargo bench -p agent --bench latency`

use std::hint::black_box;
use std::sync::Arc;

use agent::universal::PriceNetwork;
use agent::{PriceHyperparameters, UniversalAgent};
use criterion::{BenchmarkId, Criterion, criterion_group, criterion_main};
use scheduling::policies::Myopic;
use scheduling::{
    Cluster, Generator, Instance, Objective, Policy, Purpose, Queues, Request, Seconds, Server,
    StepRate, TardinessPenalty, Time,
};

/// A busy cluster: the paper's kinds of servers and about one full service per server and ten
/// seconds.
fn instance(servers: usize) -> Instance {
    let mut draw = Generator::new(1, Purpose::Search, servers as u64);
    let cluster = (0..servers).map(|index| {
        Server::new(
            format!("s{index}"),
            StepRate::new(draw.between(6.0, 18.0)).expect("in range"),
            Seconds::ZERO,
        )
    });
    let cluster = Cluster::new(cluster.collect()).expect("there are servers");
    let mut now = Time::ZERO;
    let requests = (0..1000)
        .map(|_| {
            now += Seconds::of(draw.exponential(10.0 / servers as f64));
            let due = now + Seconds::of(draw.between(2.0, 20.0));
            Request::new(now, due, TardinessPenalty::ALL[draw.below(3)])
        })
        .collect();
    Instance::new(cluster, requests, Objective::default()).expect("drawn in order")
}

/// The state in which the last request finds the queues; criterion then asks for it again and again.
fn latency(c: &mut Criterion) {
    let mut group = c.benchmark_group("latency");
    for servers in [1, 10, 40, 100, 200] {
        let instance = instance(servers);
        let mut generator = Generator::new(1, Purpose::Initialisation, 0);
        let hidden = PriceHyperparameters::default().hidden;
        let network = Arc::new(PriceNetwork::new(&hidden, &mut generator));
        let mut policies: [(&str, Box<dyn Policy>); 2] = [
            ("universal", Box::new(UniversalAgent::new(network, None))),
            ("myopic", Box::new(Myopic)),
        ];
        for (name, policy) in &mut policies {
            let objective = instance.objective();
            let mut queues = Queues::new(instance.cluster());
            let requests = instance.requests();
            for request in requests {
                queues.arrive(request);
                let now = request.arrival;
                let decision = policy.decide(&queues.observe(now, request, objective));
                queues.dispatch(now, decision);
            }
            let last = requests.last().expect("there are requests");
            // Requests in turn, all as if they came now: penalties and slacks vary.
            let mut next = 0;
            group.bench_function(BenchmarkId::new(*name, servers), |b| {
                b.iter(|| {
                    next = (next + 1) % requests.len();
                    let due = last.arrival + requests[next].slack();
                    let request = Request { arrival: last.arrival, due, ..requests[next] };
                    let observation = queues.observe(last.arrival, black_box(&request), objective);
                    policy.decide(&observation)
                });
            });
        }
    }
    group.finish();
}

criterion_group!(benches, latency);
criterion_main!(benches);
