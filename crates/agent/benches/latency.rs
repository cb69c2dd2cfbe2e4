//! Time of one decision of the universal agent against the number of servers, and in fleets.
//!
//! `cargo bench -p agent --bench latency`

use std::hint::black_box;
use std::sync::Arc;

use agent::universal::{PriceNetwork, PriceNetworks, Stage};
use agent::{PriceHyperparameters, UniversalAgent};
use criterion::{BenchmarkId, Criterion, criterion_group, criterion_main};
use scheduling::policies::Myopic;
use scheduling::{
    Cluster, Generator, HostedModel, Hosting, Instance, Loaded, Model, Objective, Policy, Purpose,
    Queues, Request, Seconds, Server, StepRate, TardinessPenalty, Time,
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

/// The same servers with room for two of six models each, the k-th asked for in proportion to 1/k.
fn fleet(servers: usize) -> Instance {
    let plain = instance(servers);
    let mut draw = Generator::new(1, Purpose::Model, servers as u64);
    let host = |server: &Server| {
        let hosted = |model| HostedModel::on(server, Model(model), Seconds::of(9.0));
        let models = (0..6).map(hosted).collect();
        let hosting = Some(Hosting { resident: 2, models, loaded: Loaded::default() });
        Server { hosting, ..server.clone() }
    };
    let names = (0..6).map(|model| format!("m{model}")).collect();
    let servers = plain.cluster().iter().map(host).collect();
    let cluster = Cluster::with_models(servers, names).expect("there are servers");
    let shares: Vec<_> = (1..=6).map(|k| 1.0 / f64::from(k)).collect();
    let asked = plain
        .requests()
        .iter()
        .map(|request| Request { model: Model(draw.weighted(&shares) as u16), ..*request });
    let asked = asked.collect();
    Instance::new(cluster, asked, Objective::default()).expect("drawn in order")
}

/// The state in which the last request finds the queues; criterion then asks for it again and again.
fn latency(c: &mut Criterion) {
    let mut group = c.benchmark_group("latency");
    let plain = [1, 10, 40, 100, 200].map(|servers| (servers, "", instance(servers)));
    let fleets = [10, 40].map(|servers| (servers, ", fleet", fleet(servers)));
    for (servers, kind, instance) in plain.into_iter().chain(fleets) {
        let mut generator = Generator::new(1, Purpose::Initialisation, 0);
        let hidden = PriceHyperparameters::default().hidden;
        let further = Stage::default().further_units;
        let network = PriceNetwork::new(&hidden, &mut generator);
        let fleets = PriceNetwork::for_fleets(&network, further, &mut generator);
        let fleets = Some(Arc::new(fleets));
        let networks = PriceNetworks { plain: Arc::new(network), fleets };
        let mut policies: [(&str, Box<dyn Policy>); 2] = [
            ("universal", Box::new(UniversalAgent::new(networks, None))),
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
            group.bench_function(BenchmarkId::new(format!("{name}{kind}"), servers), |b| {
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
