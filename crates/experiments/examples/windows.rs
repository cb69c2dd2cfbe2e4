//! What policies are worth on recorded traffic without models: the Alibaba GenAI trace of 2024 on two clusters.
//!
//! `cargo run --release -p experiments --example windows -- TRACE.csv models/universal`
//!
//! The trace is `lora_request_trace.csv` of alibaba/clusterdata, folder cluster-trace-v2026-GenAI. Windows of 2000
//! requests are pressed together until the load, at the 30 steps that nine in ten requests had, is that of the row.
//! `priced` is tuned on the first half of the rows; all are judged on four windows of the second half. The
//! last row has Poisson arrivals in place of the trace's.

use std::error::Error;
use std::fs;
use std::path::PathBuf;

use agent::Recipe;
use experiments::{Faults, Form, Goal, Questions, evaluate, read_trace, tune};
use scheduling::{
    AgentName, Cluster, Generator, Instance, Objective, PolicyName, Purpose, QualityCurve, Request,
    Seconds, Server, StepRate, TardinessPenalty, Time,
};
use simulation::{Recording, Recordings, difference};

const WINDOW: usize = 2000;
const WINDOWS: usize = 4;
const SEED: u64 = 15;
const STEPS: f64 = 30.0;

/// Steps per second of SDXL and seconds of overhead, from published benchmarks: RTX 4070 Ti SUPER, RX 7900 XTX, T4.
const SDXL: &[(f64, f64, usize)] = &[(8.8235, 0.4, 4), (6.5217, 0.4, 3), (1.376, 3.55, 3)];
/// The same with a distilled model.
const FAST: &[(f64, f64, usize)] = &[(25.0, 0.3, 4), (20.0, 0.5, 4)];

/// Name, cluster, quality curve, load, whether arrivals are the trace's.
type Row = (&'static str, &'static [(f64, f64, usize)], &'static str, f64, Arrivals);

#[derive(Clone, Copy, PartialEq)]
enum Arrivals {
    Trace,
    Poisson,
}

const ROWS: [Row; 7] = [
    ("sdxl, DDIM, 0.5", SDXL, DDIM, 0.5, Arrivals::Trace),
    ("sdxl, DDIM, 1.0", SDXL, DDIM, 1.0, Arrivals::Trace),
    ("sdxl, DDIM, 1.2", SDXL, DDIM, 1.2, Arrivals::Trace),
    ("fast, DDIM, 1.0", FAST, DDIM, 1.0, Arrivals::Trace),
    ("sdxl, DDPM, 1.0", SDXL, DDPM, 1.0, Arrivals::Trace),
    ("sdxl, the paper's curve, 1.0", SDXL, PAPER, 1.0, Arrivals::Trace),
    ("Poisson, sdxl, DDIM, 1.0", SDXL, DDIM, 1.0, Arrivals::Poisson),
];

/// Fitted to published measurements: 5 at one step and 65 at most.
const DDIM: &str = r#"{"power_law": {"best": 65, "scale": 60, "exponent": 0.858}}"#;
const DDPM: &str =
    r#"{"logistic": {"best": 65, "scale": 61.806, "middle": 18.169, "power": 1.208}}"#;
const PAPER: &str = r#"{"sigmoid": {"floor": 30, "range": 35, "slope": 0.1, "offset": 9}}"#;

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let trace = PathBuf::from(arguments.next().ok_or("the trace's file is missing")?);
    let checkpoint = PathBuf::from(arguments.next().unwrap_or("models/universal".into()));
    let trace = read_trace(&fs::read_to_string(trace)?, Form::Gentd26, Faults::Skip)?;
    let times: Vec<f64> = trace.asked.iter().map(|asked| asked.at).collect();
    let (first, second) = times.split_at(times.len() / 2);
    println!(
        "| cluster, curve, load | greedy | myopic | priced, tuned on the first half | universal | over priced, by window |"
    );
    println!("|---|---:|---:|---:|---:|---|");
    for row in ROWS {
        println!("{}", line(row, first, second, &checkpoint)?);
    }
    Ok(())
}

fn line(
    row: Row,
    first: &[f64],
    second: &[f64],
    checkpoint: &std::path::Path,
) -> Result<String, Box<dyn Error>> {
    let windows = |half: &[f64]| {
        let recordings =
            half.chunks_exact(WINDOW).take(WINDOWS).enumerate().map(|(number, times)| {
                Ok(Recording::new(
                    &format!("window {number}"),
                    instance(row, times, number as u64)?,
                ))
            });
        recordings.collect::<Result<Vec<_>, Box<dyn Error>>>().map(Recordings::new)
    };
    let tuned = tune(&windows(first)?, WINDOWS as u64, SEED, Goal::Reward, || ())?.policy;
    let agent = AgentName { checkpoint: checkpoint.into(), cap: None };
    let names: [PolicyName; 4] = ["greedy".parse()?, "myopic".parse()?, tuned, agent.into()];
    let recipes = names.iter().map(Recipe::load).collect::<Result<Vec<_>, _>>()?;
    let evaluation = evaluate(&windows(second)?, &recipes, 0, SEED, &Questions::NONE, || ())?;
    let [greedy, myopic, priced, universal] = &evaluation.policies[..] else {
        unreachable!("four were named")
    };
    let pairs = universal.instances.iter().zip(&priced.instances);
    let by_window: Vec<_> =
        pairs.map(|(ours, theirs)| format!("{:+.2}", ours.reward - theirs.reward)).collect();
    let over = difference(&universal.instances, &priced.instances, SEED).reward.mean;
    let [greedy, myopic, priced, universal] =
        [greedy, myopic, priced, universal].map(|policy| policy.summary.reward.mean);
    Ok(format!(
        "| {} | {greedy:.1} | {myopic:.1} | {priced:.2} | {universal:.2} | {} (mean {over:+.2}) |",
        row.0,
        by_window.join(" ")
    ))
}

/// One window of the trace on the row's servers.
fn instance(
    (_, kinds, curve, load, arrivals): Row,
    times: &[f64],
    window: u64,
) -> Result<Instance, Box<dyn Error>> {
    let mut servers = Vec::new();
    for &(rate, overhead, count) in kinds {
        for _ in 0..count {
            let name = format!("s{}", servers.len());
            servers.push(Server::new(name, StepRate::new(rate)?, Seconds::of(overhead)));
        }
    }
    let time =
        |server: &Server| server.overhead.seconds() + STEPS / server.step_rate.steps_per_second();
    let capacity: f64 = servers.iter().map(|server| 1.0 / time(server)).sum();
    // Of a server of the mean rate, which is what people wait a multiple of.
    let rates = servers.iter().map(|server| server.step_rate.steps_per_second());
    let own = servers[servers.len() / 2].overhead.seconds()
        + STEPS * servers.len() as f64 / rates.sum::<f64>();
    let span = times[times.len() - 1] - times[0];
    let interval = 1.0 / (load * capacity);
    let faster = span / (interval * (times.len() - 1) as f64);
    let stream = |purpose| Generator::new(SEED, purpose, window);
    let mut draws = [Purpose::Arrival, Purpose::Slack, Purpose::Penalty].map(stream);
    let mut now = Time::ZERO;
    let requests = times.iter().map(|&at| {
        let [arrival, slack, penalty] = &mut draws;
        now = match arrivals {
            Arrivals::Trace => Time::ZERO + Seconds::of((at - times[0]) / faster),
            Arrivals::Poisson => now + Seconds::of(arrival.exponential(interval)),
        };
        let due = now + Seconds::of(own * slack.between(1.5, 4.0));
        Request::new(now, due, TardinessPenalty::ALL[penalty.below(3)])
    });
    let requests = requests.collect();
    let curve: QualityCurve = serde_json::from_str(curve)?;
    let objective = Objective::new(curve, Objective::PAPER_TARDINESS_WEIGHT)?;
    Ok(Instance::new(Cluster::new(servers)?, requests, objective)?)
}
