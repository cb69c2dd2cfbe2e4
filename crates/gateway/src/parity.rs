//! One trace through the queue model that the simulator drives and through a whole gateway with
//! ideal backends and paused time gives the same decisions at the same times.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use scheduling::{
    Cluster, Generator, PolicyName, Purpose, Queues, Request, Row, Seconds, Server, Steps,
    TardinessPenalty, Time,
};

use crate::backends::{Backend, BackendError, Cancelled, Job, Watcher, picture};
use crate::config::Config;
use crate::gateway::{Gateway, World, rules};
use crate::journal::{Accepted, Spec};
use crate::scheduler::{Order, RequestId, StepBounds};
use crate::status::Phase;
use crate::timeline::WallClock;

/// Takes exactly as long as predicted. All times are multiples of 1/8 s, which are exact both in
/// floating point and in the timer's milliseconds.
struct Ideal {
    steps_per_second: f64,
}

#[async_trait]
impl Backend for Ideal {
    async fn generate(&self, job: &Job, _: &dyn Watcher) -> Result<Bytes, BackendError> {
        let seconds = f64::from(job.steps.get()) / self.steps_per_second;
        tokio::time::sleep(Duration::from_secs_f64(seconds)).await;
        Ok(picture::encode(&[0; 3 * 8 * 8], 8, 8).into())
    }
    async fn cancel(&self, _: &Job, _: Option<&str>) -> Result<Cancelled, BackendError> {
        Ok(Cancelled::Stopped)
    }
    async fn probe(&self) -> Result<(), BackendError> {
        Ok(())
    }
}

const RATES: [f64; 3] = [8.0, 4.0, 2.0];

fn at(seconds: f64) -> Time {
    Time::new(seconds).unwrap()
}

/// Arrivals and due times, in seconds.
fn trace() -> Vec<Request> {
    let mut g = Generator::new(11, Purpose::Arrival, 0);
    let mut now = 8.0;
    (0..60)
        .map(|_| {
            now += g.below(40) as f64 / 8.0;
            let due = now + (1 + g.below(160)) as f64 / 8.0;
            let penalty = TardinessPenalty::ALL[g.below(3)];
            Request { arrival: at(now), due: at(due), penalty }
        })
        .collect()
}

fn simulate(policy: &PolicyName, trace: &[Request], config: &Config) -> Vec<Row> {
    let servers = config.servers.iter().map(|s| Server {
        name: s.name.get_ref().clone(),
        step_rate: s.steps_per_second,
        overhead: Seconds::ZERO,
    });
    let cluster = Cluster::new(servers.collect()).unwrap();
    let objective = config.objective();
    let mut policy = policy.rule(Generator::new(0, Purpose::Policy, 0)).unwrap();
    let mut queues = Queues::new(cluster.len());
    let row = |(index, request): (usize, &Request)| {
        let now = request.arrival;
        queues.arrive(request);
        let decision = policy.decide(&queues.observe(now, request, &cluster, &objective));
        let execution = queues.dispatch(now, decision, &cluster);
        Row::new(index, request, decision, execution, &objective)
    };
    trace.iter().enumerate().map(row).collect()
}

async fn serve(trace: &[Request], config: Config) -> Vec<(usize, u32, f64, f64)> {
    let mut world = World::real(Arc::new(rules));
    // Time begins at 0 and stays on the grid.
    world.wall = WallClock(|| 0.0);
    world.backends = Arc::new(|server, _| {
        let steps_per_second = server.steps_per_second.steps_per_second();
        Ok(Arc::new(Ideal { steps_per_second }))
    });
    let gateway = Gateway::start(config.clone(), world).unwrap();
    let handle = gateway.handle.clone();
    let mut ids = Vec::new();
    for request in trace {
        let wait = request.arrival - handle.timeline.now();
        tokio::time::sleep(Duration::from_secs_f64(wait.seconds())).await;
        assert_eq!(handle.timeline.now(), request.arrival, "on the grid");
        // Completions at the same time come first: they are already on their way.
        for _ in 0..50 {
            tokio::task::yield_now().await;
        }
        let id = RequestId(uuid::Uuid::now_v7());
        let order = Order {
            id,
            owner: "x".into(),
            request: *request,
            pixels: 64,
            bounds: StepBounds::ALL,
            expires: at(1e6),
        };
        let (prompt, negative_prompt) = (String::new(), String::new());
        let spec = Spec { prompt, negative_prompt, width: 8, height: 8, seed: 0 };
        handle.submit(Arc::new(Accepted { order, spec, key: None })).await.unwrap();
        ids.push(id);
    }
    let mut found = Vec::new();
    for id in ids {
        let status = handle.wait(id, Duration::from_secs(100_000)).await.unwrap().unwrap();
        let Phase::Ended(end) = status.phase else { panic!("{status:?}") };
        let name = end.server.unwrap();
        let server = config.servers.iter().position(|s| **s.name.get_ref() == *name).unwrap();
        let steps = end.steps.map(Steps::get).unwrap();
        found.push((server, steps, end.start.unwrap().seconds(), end.at.seconds()));
    }
    gateway.stop(Duration::from_secs(1)).await;
    found
}

#[tokio::test(start_paused = true)]
async fn the_gateway_decides_what_the_simulator_decides() {
    let trace = trace();
    for policy in ["greedy", "greedy[ties=fastest]", "myopic", "random", "fixed"] {
        let folder = tempfile::tempdir().unwrap();
        let servers = RATES.iter().enumerate().map(|(index, rate)| {
            format!(
                "[[server]]\nname = \"s{index}\"\nsteps_per_second = {rate:?}\n\
                 learn_speed = false\nbackend = {{ kind = \"demo\" }}\n"
            )
        });
        let text = format!(
            "policy = \"{policy}\"\njournal = \"{}\"\n[defaults]\nwidth = 8\nheight = 8\n\
             [limits]\nrun_seconds = 1000\n{}",
            folder.path().join("journal.db").display(),
            servers.collect::<String>()
        );
        let config = Config::parse("parity.toml", &text).unwrap();
        let expected: Vec<_> = simulate(&config.policy, &trace, &config)
            .iter()
            .map(|row| (row.server, row.steps, row.start, row.finish))
            .collect();
        assert_eq!(serve(&trace, config).await, expected, "{policy}");
    }
}
