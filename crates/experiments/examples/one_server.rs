//! How close online policies come to the best that any of them could do, where that can be computed: on
//! a single server the state is one number, its backlog.
//!
//! ```text
//! cargo run --release -p experiments --example one_server -- models/universal
//! ```
//!
//! Value iteration on a grid of backlogs, slacks and all steps, for Poisson arrivals whose rate is
//! known. Its increments bracket the optimum of the gridded problem (Odoni, 1969).

use std::path::PathBuf;

use agent::Recipe;
use experiments::{Goal, Questions, evaluate, tune};
use rayon::prelude::*;
use scheduling::{
    AgentName, Objective, PolicyName, Rule, Seconds, StepRate, Steps, TardinessPenalty,
};
use simulation::{Drawn, Scenario, Uniform};

const CONTENDED: &str = include_str!("../../../scenarios/contended.toml");
const RATE: f64 = 15.0;
const SEED: u64 = 31;
/// Seconds between neighbours on the grid of backlogs, and how many there are.
const SPACING: f64 = 0.1;
const BACKLOGS: usize = 900;
/// Slacks that stand for 2 to 20 s.
const SLACKS: usize = 24;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let rate = StepRate::new(RATE)?;
    let checkpoint = std::env::args().nth(1).map_or("models/universal".into(), PathBuf::from);
    println!("| interval | load | optimum | priced, tuned here | universal | myopic |");
    println!("|---:|---:|---:|---:|---:|---:|");
    for interval in [5.0, 7.5, 10.0, 15.0, 20.0, 40.0] {
        let scenario = Scenario::from_toml(CONTENDED)?
            .with_mean_interval(Seconds::of(interval))?
            .with(|settings| {
            settings.requests = 5000;
            settings.cluster.drawn = Drawn::PerInstance;
            settings.cluster.servers.truncate(1);
            settings.cluster.servers[0].count = 1;
            settings.cluster.servers[0].step_rate = Uniform::constant(rate);
        })?;
        let tuned = tune(&scenario, 4, SEED, Goal::Reward, || ())?.policy;
        let names: [PolicyName; 3] = [
            tuned.clone(),
            AgentName { checkpoint: checkpoint.clone(), cap: None }.into(),
            Rule::Myopic.into(),
        ];
        let recipes = names.iter().map(Recipe::load).collect::<Result<Vec<_>, _>>()?;
        let evaluation = evaluate(&scenario, &recipes, 40, SEED, &Questions::NONE, || ())?;
        let [low, high] = optimum(&Objective::default(), rate, interval);
        let mean = |policy: usize| {
            let reward = evaluation.policies[policy].summary.reward;
            let half = reward.ci95.map_or(0.0, |[low, high]| 0.5 * (high - low));
            let share = 100.0 * reward.mean / high;
            format!("{:.2} ± {half:.2} ({share:.2} %)", reward.mean)
        };
        let load = 112.0 / RATE / interval;
        println!(
            "| {interval} s | {load:.2} | {low:.3} to {high:.3} | {} | {} | {} |",
            mean(0),
            mean(1),
            mean(2),
        );
    }
    Ok(())
}

/// Lower and upper bound of the best mean reward per request, on the grid.
fn optimum(objective: &Objective, rate: StepRate, interval: f64) -> [f64; 2] {
    let service: Vec<f64> = Steps::all().map(|steps| (steps / rate).seconds()).collect();
    let slacks = (0..SLACKS).map(|k| 2.0 + 18.0 * (k as f64 + 0.5) / SLACKS as f64);
    let requests: Vec<_> =
        slacks.flat_map(|slack| TardinessPenalty::ALL.map(|penalty| (slack, penalty))).collect();
    // Value of each backlog when a request arrives, relative to the first.
    let mut value = vec![0.0; BACKLOGS];
    loop {
        let after = until_next_arrival(&value, interval);
        let next: Vec<f64> = (0..BACKLOGS)
            .into_par_iter()
            .map(|index| {
                let backlog = SPACING * index as f64;
                let later: Vec<f64> =
                    service.iter().map(|service| interpolate(&after, backlog + service)).collect();
                let best = |&(slack, penalty): &(f64, TardinessPenalty)| {
                    let reward = |steps: Steps| {
                        let finish = backlog + service[steps.index()];
                        objective.reward(steps, penalty, Seconds::of(finish - slack))
                            + later[steps.index()]
                    };
                    Steps::all().map(reward).fold(f64::NEG_INFINITY, f64::max)
                };
                requests.iter().map(best).sum::<f64>() / requests.len() as f64
            })
            .collect();
        let gains = next.iter().zip(&value).map(|(next, value)| next - value);
        let (low, high) = gains.fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), gain| {
            (low.min(gain), high.max(gain))
        });
        if high - low < 1e-3 {
            return [low, high];
        }
        value = next.iter().map(|value| value - next[0]).collect();
    }
}

/// E[V(max(0, b − X))] with X exponential: what a backlog is worth right after a decision. V is
/// linear between the points of the grid, so that the integral over a cell is exact.
fn until_next_arrival(value: &[f64], interval: f64) -> Vec<f64> {
    let stay = (-SPACING / interval).exp();
    let far = (interval - (interval + SPACING) * stay) / SPACING;
    let mut after = vec![value[0]];
    for cell in value.windows(2) {
        let within = (1.0 - stay - far) * cell[1] + far * cell[0];
        after.push(within + stay * after[after.len() - 1]);
    }
    after
}

/// The value at a backlog; beyond the grid that of its end.
fn interpolate(values: &[f64], backlog: f64) -> f64 {
    let position = (backlog / SPACING).min((BACKLOGS - 1) as f64);
    let below = (position as usize).min(BACKLOGS - 2);
    let share = position - below as f64;
    (1.0 - share) * values[below] + share * values[below + 1]
}
