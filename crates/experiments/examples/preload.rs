//! What it is worth to load models before they are asked for, on the fleets of `scenarios/fleet.toml`.
//!
//! ```text
//! cargo run --release -p experiments --example preload -- models/universal 12
//! ```
//!
//! The arguments are the checkpoint and the number of unseen instances. Differences are paired, instance by
//! instance, with 95 % intervals.

use std::error::Error;
use std::path::PathBuf;

use agent::Recipe;
use experiments::{Goal, tune};
use scheduling::{AgentName, Generator, PolicyName, Purpose, Seconds};
use simulation::{
    Episode, InstanceSource, Metrics, Preloading, Scenario, difference, simulate_preloading,
};

const FLEET: &str = include_str!("../../../scenarios/fleet.toml");
const SEED: u64 = 14;
const TUNING_INSTANCES: u64 = 4;

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let checkpoint = PathBuf::from(arguments.next().unwrap_or("models/universal".into()));
    let instances: u64 = arguments.next().map_or(Ok(12), |count| count.parse())?;
    println!("| fleet | policy | without | with preloads | difference |");
    println!("|---|---|---:|---:|---:|");
    for (interval, resident) in
        [(1.0, 1), (1.0, 2), (2.0, 1), (2.0, 2), (4.0, 1), (8.0, 1), (8.0, 2)]
    {
        let fleet = Scenario::from_toml(FLEET)?;
        let fleet = fleet.with_mean_interval(Seconds::of(interval))?.with(|settings| {
            if let Some(models) = &mut settings.models {
                models.resident = resident;
            }
        })?;
        let shorter = fleet.with(|settings| settings.requests = 1000)?;
        let tuned = tune(&shorter, TUNING_INSTANCES, SEED, Goal::Reward, || ())?.policy;
        let agent = AgentName { checkpoint: checkpoint.clone(), cap: None };
        let names: [(&str, PolicyName); 4] = [
            ("greedy", "greedy".parse()?),
            ("myopic", "myopic".parse()?),
            ("priced, tuned here", tuned.clone()),
            ("universal", agent.into()),
        ];
        for (title, name) in names {
            let recipe = Recipe::load(&name)?;
            let metrics = |preloading| -> Result<Vec<Metrics>, Box<dyn Error>> {
                let mut of_all = Vec::new();
                for number in 0..instances {
                    let instance = fleet.instance(SEED, Episode::Evaluation(number));
                    let draw = Generator::new(SEED, Purpose::Policy, number);
                    let mut policy = recipe.policy(instance.cluster(), draw)?;
                    let rows = simulate_preloading(&instance, &mut *policy, preloading);
                    of_all.push(Metrics::of(&rows));
                }
                Ok(of_all)
            };
            let (without, with) = (metrics(Preloading::Off)?, metrics(Preloading::Idle)?);
            let mean = |of: &[Metrics]| of.iter().map(|m| m.reward).sum::<f64>() / of.len() as f64;
            let reward = difference(&with, &without, SEED).reward;
            let [low, high] = reward.ci95.unwrap_or([reward.mean; 2]);
            println!(
                "| {interval} s, room for {resident} | {title} | {:.2} | {:.2} | {:+.2} [{low:+.2}, {high:+.2}] |",
                mean(&without),
                mean(&with),
                reward.mean,
            );
        }
    }
    Ok(())
}
