//! Invariant 3: one trace through the simulator and through a whole gateway with ideal backends and
//! paused time gives the same decisions at the same times.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use agent::Recipe;
use async_trait::async_trait;
use bytes::Bytes;
use dispatch::{Order, RequestId};

use scheduling::{
    Cluster, Generator, Instance, Objective, PolicyName, Purpose, Request, Seconds, Server,
    StepRate, Steps, Time,
};
use simulation::{Episode, InstanceSource, Scenario, simulate};
use tokio::sync::watch;

use crate::backends::{Backend, BackendError, Cancelled, Job, Painted, Timing, Watcher, picture};
use crate::config::Config;
use crate::engine::Starts;
use crate::gateway::{Gateway, World};
use crate::journal::shelf::{Luck, Shelf};
use crate::journal::{Accepted, Clock, Deposed, Moment, Pictures, Replica, Replicated, Spec};
use crate::policies::PolicyFactory;
use crate::status::Phase;
use crate::timeline::WallClock;

/// Requests of the trace.
const REQUESTS: usize = 150;
/// Steps per second. With times in multiples of [`GRID`] all sums are exact, both in floating point
/// and in the timer's milliseconds.
const RATES: [f64; 6] = [8.0, 8.0, 4.0, 4.0, 2.0, 1.0];
const OVERHEAD: f64 = 0.25;
const GRID: f64 = 0.125;

/// Takes exactly as long as predicted.
struct Ideal {
    steps_per_second: f64,
}

#[async_trait]
impl Backend for Ideal {
    async fn generate(&self, job: &Job, _: &dyn Watcher) -> Result<Painted, BackendError> {
        let seconds = OVERHEAD + f64::from(job.steps.get()) / self.steps_per_second;
        tokio::time::sleep(Duration::from_secs_f64(seconds)).await;
        let png = picture::encode(&[0; 3 * 8 * 8], 8, 8).into();
        Ok(Painted { png, timing: Timing::Direct })
    }
    async fn cancel(&self, _: &Job, _: Option<&str>) -> Result<Cancelled, BackendError> {
        Ok(Cancelled::Stopped)
    }
    async fn probe(&self) -> Result<(), BackendError> {
        Ok(())
    }
}

fn at(seconds: f64) -> Time {
    Time::new(seconds).unwrap()
}

/// One request per second, more than these servers can do, with all times moved onto the grid.
fn contended() -> Instance {
    let toml = include_str!("../../../scenarios/contended.toml");
    let drawn = Scenario::from_toml(toml).unwrap().instance(11, Episode::Evaluation(0));
    // The gateway has been up for a while when the first request arrives.
    let snap = |time: Time| 8.0 + (time.seconds() / GRID).round() * GRID;
    let requests = drawn.requests().iter().take(REQUESTS).map(|request| {
        let arrival = snap(request.arrival);
        let due = snap(request.due).max(arrival + GRID);
        Request::new(at(arrival), at(due), request.penalty)
    });
    let servers = RATES.iter().enumerate().map(|(index, &rate)| {
        Server::new(format!("s{index}"), StepRate::new(rate).unwrap(), Seconds::of(OVERHEAD))
    });
    let cluster = Cluster::new(servers.collect()).unwrap();
    Instance::new(cluster, requests.collect(), Objective::default()).unwrap()
}

/// Any policy, with checkpoints from the repository.
pub(crate) fn policies(cluster: Cluster) -> PolicyFactory {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    Arc::new(move |name, generator| {
        let recipe = Recipe::load_from(&root, name).map_err(|error| error.to_string())?;
        recipe.policy(&cluster, generator).map_err(|error| error.to_string())
    })
}

/// Server, steps, start and finish of every request.
type Schedule = Vec<(usize, u32, f64, f64)>;

fn simulated(instance: &Instance, name: &PolicyName, policies: &PolicyFactory) -> Schedule {
    let mut policy = policies(name, Generator::new(0, Purpose::Policy, 0)).unwrap();
    let rows = simulate(instance, &mut *policy);
    rows.iter().map(|row| (row.server, row.steps, row.start, row.finish)).collect()
}

/// What the gateway writes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stands {
    Alone,
    /// It leads a cluster: its journal is a replica of a log, and no run starts before the log has it.
    InACluster,
}

/// Has the world be that of a gateway that leads a cluster.
fn in_a_cluster(world: &mut World, config: &Config) {
    let mut shelf = Shelf::new(|| Luck::Good);
    let mut replica = Replica::open(&config.journal, 0.0).unwrap();
    let moment = Moment { time: Time::ZERO, wall: 0.0 };
    let clock = Clock { moment, lived: Seconds::ZERO };
    assert!(replica.lead(&mut shelf, "n1", clock).unwrap());
    world.journal = Box::new(|sqlite| {
        let (deposed, (reached, _)) = (Deposed::new(), watch::channel(0));
        Ok(Box::new(Replicated::new(Replica::of(sqlite)?, shelf, deposed, reached)))
    });
    world.starts = Starts::Durable;
    world.pictures = Some(Arc::new(Nowhere));
}

/// Keeps no picture, and says that it does.
struct Nowhere;

#[async_trait]
impl Pictures for Nowhere {
    async fn keep(&self, _: &str, _: Bytes) -> Result<(), String> {
        Ok(())
    }

    fn part(&self, _: &str, _: u64, _: usize) -> Result<Option<Bytes>, String> {
        Ok(None)
    }
}

async fn served(
    instance: &Instance,
    config: Config,
    policies: PolicyFactory,
    stands: Stands,
) -> Schedule {
    let mut world = World::real(policies);
    if stands == Stands::InACluster {
        in_a_cluster(&mut world, &config);
    }
    // Time begins at 0 and stays on the grid.
    world.wall = WallClock(|| 0.0);
    world.backends = Arc::new(|server, _| {
        let steps_per_second = server.steps_per_second.steps_per_second();
        Ok(Arc::new(Ideal { steps_per_second }))
    });
    let gateway = Gateway::start(config.clone(), world).unwrap();
    let handle = gateway.handle.clone();
    let mut ids = Vec::new();
    for request in instance.requests() {
        let wait = request.arrival - handle.timeline.now();
        tokio::time::sleep(Duration::from_secs_f64(wait.seconds())).await;
        assert_eq!(handle.timeline.now(), request.arrival, "on the grid");
        // Completions at the same time come first: they are already on their way.
        for _ in 0..50 {
            tokio::task::yield_now().await;
        }
        let id = RequestId(uuid::Uuid::now_v7());
        let order =
            Order { id, owner: "x".into(), request: *request, pixels: 64, expires: at(1e6) };
        let (prompt, negative_prompt) = (String::new(), String::new());
        let spec = Spec { prompt, negative_prompt, width: 8, height: 8, seed: 0, model: None };
        handle.submit(Arc::new(Accepted { order, spec, key: None, callback: None })).await.unwrap();
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

fn config(policy: &str, journal: &Path) -> Config {
    let servers = RATES.iter().enumerate().map(|(index, rate)| {
        format!(
            "[[server]]\nname = \"s{index}\"\nsteps_per_second = {rate:?}\n\
             overhead_seconds = {OVERHEAD}\nlearn_speed = false\nbackend = {{ kind = \"demo\" }}\n"
        )
    });
    let text = format!(
        "policy = \"{policy}\"\njournal = \"{}\"\n[defaults]\nwidth = 8\nheight = 8\n\
         [limits]\nrun_seconds = 1000\n{}",
        journal.display(),
        servers.collect::<String>()
    );
    Config::parse("parity.toml", &text).unwrap()
}

#[tokio::test(start_paused = true)]
async fn the_gateway_decides_what_the_simulator_decides() {
    let instance = contended();
    let policies = policies(instance.cluster().clone());
    let mut waited = 0;
    for policy in [
        "greedy",
        "greedy[ties=fastest]",
        "myopic",
        "random[steps=12]",
        "fixed[steps=9]",
        "priced",
        "agent[models/universal]",
        "agent[models/universal,cap=30]",
    ] {
        let folder = tempfile::tempdir().unwrap();
        let config = config(policy, &folder.path().join("journal.db"));
        let expected = simulated(&instance, &config.policy, &policies);
        let arrivals = instance.requests().iter().map(|request| request.arrival.seconds());
        waited += expected.iter().zip(arrivals).filter(|(run, arrival)| run.2 > *arrival).count();
        assert_eq!(
            served(&instance, config, policies.clone(), Stands::Alone).await,
            expected,
            "{policy}"
        );
    }
    assert!(waited > REQUESTS, "contended: {waited} requests had to wait");
}

#[tokio::test(start_paused = true)]
async fn a_cluster_decides_what_the_simulator_decides() {
    let instance = contended();
    let policies = policies(instance.cluster().clone());
    for policy in ["greedy", "myopic", "priced", "agent[models/universal]"] {
        let folder = tempfile::tempdir().unwrap();
        let config = config(policy, &folder.path().join("journal.db"));
        let expected = simulated(&instance, &config.policy, &policies);
        let found = served(&instance, config, policies.clone(), Stands::InACluster).await;
        assert_eq!(found, expected, "{policy}");
    }
}
