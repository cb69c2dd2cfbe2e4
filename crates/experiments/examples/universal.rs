//! What the universal agent is worth beside the rules and beside `priced` tuned on each scenario.
//!
//! ```text
//! cargo run --release -p experiments --example universal -- models/universal 20
//! ```
//!
//! The arguments are the checkpoint, the number of unseen instances, and words that a setting's name
//! must contain one of to be run (all of them unless told). Differences are paired, instance by
//! instance, with 95 % intervals.

use std::path::PathBuf;

use agent::Recipe;
use experiments::{Goal, Questions, evaluate, tune};
use scheduling::{AgentName, PolicyName, Seconds};
use simulation::{Drawn, Scenario, difference};

const CONTENDED: &str = include_str!("../../../scenarios/contended.toml");
const FLEET: &str = include_str!("../../../scenarios/fleet.toml");
const SEED: u64 = 14;
const TUNING_INSTANCES: u64 = 4;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1);
    let checkpoint = PathBuf::from(arguments.next().unwrap_or("models/universal".into()));
    let instances = arguments.next().map_or(Ok(20), |count| count.parse())?;
    let wanted: Vec<_> = arguments.collect();
    println!(
        "| setting | greedy | myopic | priced, tuned here | universal | over priced | least lead over \
         the best other | p99 |"
    );
    println!("|---|---:|---:|---:|---:|---:|---:|---:|");
    for (name, scenario) in settings()? {
        if wanted.is_empty() || wanted.iter().any(|word| name.contains(word.as_str())) {
            println!("{}", row(&name, &scenario, &checkpoint, instances)?);
        }
    }
    Ok(())
}

/// The contended scenario at other loads, other clusters at that load and at a light one, and fleets
/// that load models.
fn settings() -> Result<Vec<(String, Scenario)>, Box<dyn std::error::Error>> {
    let contended = Scenario::from_toml(CONTENDED)?;
    let mut settings = Vec::new();
    for interval in [0.5, 0.75, 1.0, 1.5, 2.0, 3.0, 5.0, 8.0, 15.0] {
        let scenario = contended.with_mean_interval(Seconds::of(interval))?;
        settings.push((format!("interval {interval} s"), scenario));
    }
    // Every instance has a cluster of its own.
    let cluster = |strong: usize, weak: usize, interval: f64| {
        contended.with_mean_interval(Seconds::of(interval))?.with(|settings| {
            settings.cluster.drawn = Drawn::PerInstance;
            settings.cluster.servers[0].count = strong;
            settings.cluster.servers[1].count = weak;
        })
    };
    for strong in [2, 4, 6, 8] {
        settings.push((format!("{strong} strong, 4 weak"), cluster(strong, 4, 1.0)?));
    }
    for (strong, weak) in [(1, 0), (2, 1), (24, 16), (60, 40)] {
        let servers = strong + weak;
        for interval in [10.0, 20.0] {
            let name = format!("{servers} servers, {interval} s each");
            settings.push((name, cluster(strong, weak, interval / servers as f64)?));
        }
    }
    for (interval, resident) in [(1.0, 1), (1.0, 2), (2.0, 1), (2.0, 2), (4.0, 1)] {
        let fleet = Scenario::from_toml(FLEET)?;
        let scenario = fleet.with_mean_interval(Seconds::of(interval))?.with(|settings| {
            if let Some(models) = &mut settings.models {
                models.resident = resident;
            }
        })?;
        settings.push((format!("fleet, {interval} s, room for {resident}"), scenario));
    }
    Ok(settings)
}

fn row(
    name: &str,
    scenario: &Scenario,
    checkpoint: &std::path::Path,
    instances: u64,
) -> Result<String, Box<dyn std::error::Error>> {
    let shorter = scenario.with(|settings| settings.requests = settings.requests.min(1000))?;
    let tuned = tune(&shorter, TUNING_INSTANCES, SEED, Goal::Reward, || ())?.policy;
    let mut names: Vec<PolicyName> =
        ["greedy", "myopic", "greedy[ties=fastest]", "fixed[steps=30]", "fixed[steps=100]"]
            .map(|name| name.parse().expect("valid names"))
            .into();
    names.insert(2, tuned.clone());
    names.push(AgentName { checkpoint: checkpoint.into(), cap: None }.into());
    let recipes: Vec<_> = names.iter().map(Recipe::load).collect::<Result<_, _>>()?;
    let evaluation = evaluate(scenario, &recipes, instances, SEED, &Questions::NONE, || ())?;
    let (universal, others) = evaluation.policies.split_last().expect("there are policies");
    let lead = |other: usize| {
        let reward = difference(&universal.instances, &others[other].instances, SEED).reward;
        let [low, high] = reward.ci95.unwrap_or([reward.mean; 2]);
        (reward.mean, low, high)
    };
    let best = (0..others.len())
        .max_by(|&a, &b| others[a].summary.reward.mean.total_cmp(&others[b].summary.reward.mean))
        .expect("there are others");
    let mean = |policy: usize| others[policy].summary.reward.mean;
    let percent = |value: f64| 100.0 * value / mean(2).abs();
    let (over, low, high) = lead(2);
    let (lead, least, most) = lead(best);
    Ok(format!(
        "| {name} | {:.2} | {:.2} | {:.2} | {:.2} | {:+.2} % [{:+.2}, {:+.2}] | \
         {lead:+.3} [{least:+.3}, {most:+.3}] {} | {:.0} s |",
        mean(0),
        mean(1),
        mean(2),
        universal.summary.reward.mean,
        percent(over),
        percent(low),
        percent(high),
        others[best].policy,
        universal.summary.tardiness_p99.mean,
    ))
}
