//! A fleet under real traffic: the Alibaba GenAI trace of 2024 with its own models and pictures per
//! request.
//!
//! ```text
//! cargo run --release -p experiments --example trace -- TRACE.csv models/universal 0.7
//! ```
//!
//! The arguments are `lora_request_trace.csv` of alibaba/clusterdata (cluster-trace-v2026-GenAI), the
//! checkpoint, and the load. `priced` is tuned on windows of the first half of the rows; both are then
//! judged on each window of 2000 requests, those that it was tuned on included. Nothing else of the trace is
//! used, and what it does not say is made up: due times, penalties, servers, and where in its second a request
//! comes.

use std::collections::BTreeMap;
use std::error::Error;
use std::path::PathBuf;

use agent::Recipe;
use experiments::{Goal, Questions, evaluate, tune};
use jiff::civil::DateTime;
use scheduling::{
    AgentName, Cluster, Generator, HostedModel, Hosting, Instance, Loaded, Model, Objective,
    PolicyName, Purpose, QualityCurve, Request, Seconds, Server, Size, StepRate, TardinessPenalty,
    Time,
};
use serde::Deserialize;
use simulation::{Recording, Recordings};

const WINDOW: usize = 2000;
const SEED: u64 = 15;
/// Windows of the first half that `priced` is tuned on.
const TUNED_ON: u64 = 4;
/// Seconds to load a checkpoint: the trace's median.
const LOAD: f64 = 8.9;
/// The steps of nine requests in ten there; the policies choose their own.
const STEPS: f64 = 30.0;
/// Steps per second of SDXL and seconds of overhead, both from published benchmarks, and how many
/// checkpoints there is room for.
const SERVERS: [(f64, f64, usize); 8] = [
    (6.5217, 0.4, 1),
    (6.5217, 0.4, 1),
    (6.5217, 0.4, 1),
    (6.5217, 0.4, 1),
    (8.8235, 0.4, 2),
    (8.8235, 0.4, 2),
    (8.8235, 0.4, 2),
    (8.8235, 0.4, 2),
];

#[derive(Deserialize)]
struct Line {
    gmt_create: String,
    num_images_per_prompt: Option<f64>,
    checkpoint_model_version_id: String,
}

/// A request of the trace.
struct Asked {
    /// Seconds since some day.
    at: f64,
    model: Model,
    pictures: f64,
}

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let trace = PathBuf::from(arguments.next().ok_or("the trace's file is missing")?);
    let checkpoint = PathBuf::from(arguments.next().unwrap_or("models/universal".into()));
    let load = arguments.next().map_or(Ok(0.7), |load| load.parse())?;
    let (asked, models) = read(&trace)?;
    let second = asked.len() / 2;
    println!("{} requests for {} checkpoints, load {load}", asked.len(), models.len());
    println!(
        "| quality | half | window | greedy | priced, tuned | universal | over priced | p99 |"
    );
    println!("|---|---|---:|---:|---:|---:|---:|---:|");
    // DDIM's is a power law fitted to published measurements, 5 at one step and 65 at most.
    let ddim = serde_json::from_value(serde_json::json!({
        "power_law": { "best": 65.0, "scale": 60.0, "exponent": 0.858 }
    }))?;
    for (quality, curve) in [("paper", QualityCurve::PAPER), ("DDIM", ddim)] {
        let objective = Objective::new(curve, Objective::PAPER_TARDINESS_WEIGHT)?;
        let windows = |half: &[Asked]| {
            let window = |rows: &[Asked]| instance(rows, &models, load, &objective);
            let recordings = half.chunks_exact(WINDOW).enumerate().map(|(number, rows)| {
                Ok(Recording::new(&format!("window {number}"), window(rows)?))
            });
            recordings.collect::<Result<Vec<_>, Box<dyn Error>>>().map(Recordings::new)
        };
        let tuned = tune(&windows(&asked[..second])?, TUNED_ON, SEED, Goal::Reward, || ())?.policy;
        let agent = AgentName { checkpoint: checkpoint.clone(), cap: None };
        let names: [PolicyName; 3] = ["greedy".parse()?, tuned.clone(), agent.into()];
        let recipes = names.iter().map(Recipe::load).collect::<Result<Vec<_>, _>>()?;
        for (half, rows) in [("first", &asked[..second]), ("second", &asked[second..])] {
            let evaluation = evaluate(&windows(rows)?, &recipes, 0, SEED, &Questions::NONE, || ())?;
            let [greedy, priced, universal] = &evaluation.policies[..] else {
                unreachable!("three")
            };
            for window in 0..universal.instances.len() {
                let [greedy, priced, universal] =
                    [greedy, priced, universal].map(|policy| policy.instances[window]);
                let over = (universal.reward - priced.reward) / priced.reward.abs();
                println!(
                    "| {quality} | {half} | {window} | {:.2} | {:.2} | {:.2} | {:+.2} % | {:.0} s |",
                    greedy.reward,
                    priced.reward,
                    universal.reward,
                    100.0 * over,
                    universal.tardiness_p99,
                );
            }
        }
        println!("{tuned}");
    }
    Ok(())
}

/// The requests that name a checkpoint, in order of arrival, and the checkpoints' names.
fn read(trace: &PathBuf) -> Result<(Vec<Asked>, Vec<String>), Box<dyn Error>> {
    let mut asked = Vec::new();
    let mut models = BTreeMap::new();
    // Times are whole seconds: each request comes somewhere in its own.
    let mut draw = Generator::new(SEED, Purpose::Arrival, 0);
    let origin: DateTime = "2024-11-01 00:00:00".parse()?;
    for line in csv::Reader::from_path(trace)?.into_deserialize() {
        let Line { gmt_create, num_images_per_prompt, checkpoint_model_version_id } = line?;
        let Some(pictures) = num_images_per_prompt else { continue };
        let known = models.len() as u16;
        let model = *models.entry(checkpoint_model_version_id).or_insert(Model(known));
        let date: DateTime = gmt_create.parse()?;
        let at = date.duration_since(origin).as_secs_f64() + draw.between(0.0, 1.0);
        asked.push(Asked { at, model, pictures });
    }
    asked.sort_by(|a, b| a.at.total_cmp(&b.at));
    let mut names: Vec<_> = models.into_iter().collect();
    names.sort_by_key(|(_, model)| *model);
    Ok((asked, names.into_iter().map(|(name, _)| name).collect()))
}

/// Rows of the trace on the servers, as far apart as makes this load at the trace's own steps without
/// any loading.
fn instance(
    rows: &[Asked],
    models: &[String],
    load: f64,
    objective: &Objective,
) -> Result<Instance, Box<dyn Error>> {
    let mut servers = Vec::new();
    for (index, (rate, overhead, resident)) in SERVERS.into_iter().enumerate() {
        let rate = StepRate::new(rate)?;
        let mut server = Server::new(format!("s{index}"), rate, Seconds::of(overhead));
        let hosted = |model| HostedModel::on(&server, Model(model), Seconds::of(LOAD));
        let models = (0..models.len() as u16).map(hosted).collect();
        server.hosting = Some(Hosting { resident, models, loaded: Loaded::default() });
        servers.push(server);
    }
    let mean = |of: fn(&(f64, f64, usize)) -> f64| {
        SERVERS.iter().map(of).sum::<f64>() / SERVERS.len() as f64
    };
    let (rate, overhead) = (mean(|server| server.0), mean(|server| server.1));
    let service = |row: &Asked| overhead + row.pictures * STEPS / rate;
    let work: f64 = rows.iter().map(service).sum();
    let span = rows[rows.len() - 1].at - rows[0].at;
    let pace = work / (load * SERVERS.len() as f64) / span;
    let mut draw = Generator::new(SEED, Purpose::Slack, 0);
    let requests = rows.iter().map(|row| {
        let arrival = Time::new((row.at - rows[0].at) * pace)?;
        let due = arrival + Seconds::of(draw.between(1.5, 4.0) * service(row));
        let penalty = TardinessPenalty::ALL[draw.below(3)];
        let size = Size::new(row.pictures)?;
        Ok(Request { size, model: row.model, ..Request::new(arrival, due, penalty) })
    });
    let requests = requests.collect::<Result<_, Box<dyn Error>>>()?;
    let cluster = Cluster::with_models(servers, models.to_vec())?;
    Ok(Instance::new(cluster, requests, objective.clone())?)
}
