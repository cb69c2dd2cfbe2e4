//! Fitting the price of server time, and the cap of an agent.

use agent::Recipe;
use rayon::prelude::*;
use scheduling::policies::Price;
use scheduling::{AgentName, Cap, Generator, Instance, PolicyName, Purpose, Rule, Seconds};
use simulation::{Episode, InstanceSource, Metrics};

use crate::schedule::{ScheduleError, schedule};
use crate::simplex::{Search, maximise};

const BASES: [f64; 5] = [0.0, 0.5, 1.0, 2.0, 4.0];
const SLOPES: [f64; 4] = [0.0, 0.05, 0.2, 0.8];
const POWERS: [f64; 3] = [0.5, 1.0, 2.0];
const LOADS: [f64; 4] = [0.0, 0.5, 1.5, 4.0];
const GRID: usize = BASES.len() * SLOPES.len() * POWERS.len();
const SEARCH: u64 = 160;

/// Prices that [`tune`] tries in all, give or take a few: a grid, then the search.
pub fn trials(source: &dyn InstanceSource) -> u64 {
    let loads = if source.loads_models() { LOADS.len() } else { 1 };
    (GRID * loads) as u64 + SEARCH
}

/// What is looked for.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Goal {
    /// The largest mean reward.
    Reward,
    /// The largest mean reward at which 99 of 100 requests are no later than this.
    P99Below(Seconds),
}

/// A policy and what it reaches on the instances it was fitted to.
#[derive(Clone, Debug, PartialEq)]
pub struct Tuned {
    /// The policy.
    pub policy: PolicyName,
    /// Its figures, a little flattered as always where parameters were fitted.
    pub reached: Reached,
}

/// Means over instances.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Reached {
    /// Mean reward per request.
    pub reward: f64,
    /// What 99 of 100 requests are no later than, in seconds.
    pub p99: f64,
}

impl Reached {
    fn by(policy: &PolicyName, instances: &[Instance]) -> Result<Self, ScheduleError> {
        let recipe = Recipe::load(policy)?;
        let of = |instance: &Instance| {
            let draw = Generator::new(0, Purpose::Policy, 0);
            let Metrics { reward, tardiness_p99, .. } =
                Metrics::of(&schedule(&recipe, instance, draw)?);
            Ok((reward, tardiness_p99))
        };
        let all: Vec<_> = instances.par_iter().map(of).collect::<Result<_, ScheduleError>>()?;
        let mean =
            |value: fn(&(f64, f64)) -> f64| all.iter().map(value).sum::<f64>() / all.len() as f64;
        Ok(Self { reward: mean(|each| each.0), p99: mean(|each| each.1) })
    }

    /// What a search climbs: as long as the goal is missed, towards it.
    fn value(&self, goal: Goal) -> f64 {
        match goal {
            Goal::P99Below(most) if self.p99 > most.seconds() => {
                -1e9 * (1.0 + self.p99 - most.seconds())
            }
            _ => self.reward,
        }
    }
}

/// The training instances 0, 1, … of a source.
fn training_instances(source: &dyn InstanceSource, instances: u64, seed: u64) -> Vec<Instance> {
    let of = |number| source.instance(seed, Episode::Training(number));
    (0..instances).into_par_iter().map(of).collect()
}

/// Finds the parameters of `priced` that reach the goal on training instances 0, 1, … of a source, that of
/// loading among them where servers load models. Where none reaches it, those that miss it least.
///
/// All prices meet the same instances. A coarse grid gives the start and Nelder and Mead's simplex
/// the rest. Instances run on all threads; the result does not depend on their number.
/// `after_trial` is called after each trial, some [`trials`] times.
///
/// # Errors
/// [`ScheduleError`] if a schedule breaks the rules: a bug of ours.
pub fn tune(
    source: &dyn InstanceSource,
    instances: u64,
    seed: u64,
    goal: Goal,
    mut after_trial: impl FnMut(),
) -> Result<Tuned, ScheduleError> {
    let instances = training_instances(source, instances, seed);
    let policy = |price| PolicyName::from(Rule::Priced { price });
    let mut value = |price: Price| {
        after_trial();
        Ok(Reached::by(&policy(price), &instances)?.value(goal))
    };
    let grid = BASES.iter().flat_map(|&base| {
        SLOPES.iter().flat_map(move |&slope| POWERS.map(|power| [base, slope, power]))
    });
    let price = if source.loads_models() {
        let grid =
            grid.flat_map(|[base, slope, power]| LOADS.map(|load| [base, slope, power, load]));
        search(grid, &mut value)?
    } else {
        search(grid, &mut value)?
    };
    let policy = policy(price);
    let reached = Reached::by(&policy, &instances)?;
    Ok(Tuned { policy, reached })
}

/// Caps that are tried, against the p99 that is wanted. A cap bounds every plan, a p99 only 99 of 100 requests.
const CAPS: [f64; 14] = [8.0, 5.0, 3.0, 2.0, 1.5, 1.2, 1.0, 0.8, 0.6, 0.4, 0.25, 0.1, 0.03, 0.0];

/// Caps that [`tune_cap`] tries, the agent without a cap of its own included.
pub const CAP_TRIALS: u64 = CAPS.len() as u64 + 1;

/// Finds the cap with which an agent earns most where 99 of 100 requests are no later than so many seconds, or
/// misses that least; none if the agent needs none. The first result is the agent without a cap of its own.
///
/// # Errors
/// [`ScheduleError`] if the agent cannot be used, or has no cap.
pub fn tune_cap(
    agent: &AgentName,
    source: &dyn InstanceSource,
    instances: u64,
    seed: u64,
    p99: Seconds,
    mut after_trial: impl FnMut(),
) -> Result<[Tuned; 2], ScheduleError> {
    let instances = training_instances(source, instances, seed);
    let mut tried = Vec::new();
    for cap in [None].into_iter().chain(CAPS.map(Some)) {
        let cap = cap.map(|times| Cap(Seconds::of(rounded(times * p99.seconds()))));
        let policy = PolicyName::from(AgentName { cap, ..agent.clone() });
        let reached = Reached::by(&policy, &instances)?;
        tried.push(Tuned { policy, reached });
        after_trial();
    }
    let value = |tuned: &Tuned| tuned.reached.value(Goal::P99Below(p99));
    let mut best = 0;
    for (index, tuned) in tried.iter().enumerate() {
        if value(tuned) > value(&tried[best]) {
            best = index;
        }
    }
    Ok([tried[0].clone(), tried.swap_remove(best)])
}

/// Four digits are more than the instances can tell apart, and can be typed.
fn rounded(x: f64) -> f64 {
    (x * 1e4).round() / 1e4
}

/// The best price that is found from the best of the grid.
fn search<const N: usize>(
    grid: impl Iterator<Item = [f64; N]>,
    value: &mut impl FnMut(Price) -> Result<f64, ScheduleError>,
) -> Result<Price, ScheduleError> {
    const STRIDES: [f64; 4] = [0.3, 0.05, 0.3, 0.3];
    let mut tried = grid
        .map(|point| Ok((value(price(&point))?, point)))
        .collect::<Result<Vec<_>, ScheduleError>>()?;
    tried.sort_by(|a, b| b.0.total_cmp(&a.0));
    let strides = std::array::from_fn(|index| STRIDES[index]);
    let search = Search { start: tried[0].1, strides, trials: SEARCH };
    let (_, point) = maximise(search, |point| value(price(point)))?;
    Ok(price(&point))
}

/// The price at a point of base, slope, power and perhaps load; the search may stray outside the ranges.
fn price(point: &[f64]) -> Price {
    let &[base, slope, power, ref load @ ..] = point else { panic!("{point:?} has no power") };
    let [base, slope, load] =
        [base, slope, load.first().copied().unwrap_or(0.0)].map(|x| rounded(x.clamp(0.0, 1e6)));
    Price::new(base, slope, rounded(power.clamp(0.0, 8.0)))
        .and_then(|price| price.with_load(load))
        .expect("clamped into the ranges")
}

#[cfg(test)]
mod tests {
    use super::*;
    use simulation::Scenario;

    #[test]
    fn loads_get_a_price_where_there_are_any() {
        let short = |text| {
            let scenario = Scenario::from_toml(text).unwrap();
            scenario.with(|settings| settings.requests = 150).unwrap()
        };
        let fleet = short(include_str!("../../../scenarios/fleet.toml"));
        let paper = short(include_str!("../../../scenarios/contended.toml"));
        let tuned = |scenario: &Scenario| {
            let mut trials = 0;
            let tuned = tune(scenario, 1, 3, Goal::Reward, || trials += 1).unwrap();
            let foreseen = super::trials(scenario);
            assert!(trials >= foreseen && trials < foreseen + 10, "{trials} and {foreseen}");
            tuned
        };
        let fitted = tuned(&fleet);
        let PolicyName::Rule(Rule::Priced { price }) = fitted.policy else { panic!("{fitted:?}") };
        assert!(price.to_string().contains(",load="), "{price}");
        let instances = [fleet.instance(3, Episode::Training(0))];
        let blind = Rule::Priced { price: price.with_load(0.0).unwrap() };
        let blind = Reached::by(&blind.into(), &instances).unwrap();
        assert!(fitted.reached.reward > blind.reward + 0.5, "{fitted:?} and {blind:?}");
        assert!(!tuned(&paper).policy.to_string().contains("load"));
    }

    #[test]
    fn being_on_time_has_its_price() {
        let text = include_str!("../../../scenarios/contended.toml");
        let scenario = Scenario::from_toml(text).unwrap();
        let short = scenario.with(|settings| settings.requests = 300).unwrap();
        let of = |goal| tune(&short, 2, 3, goal, || ()).unwrap().reached;
        let (free, bound) = (of(Goal::Reward), of(Goal::P99Below(Seconds::of(1.0))));
        assert!(bound.p99 <= 1.0 && free.p99 > 1.0, "{free:?} {bound:?}");
        assert!(bound.reward < free.reward, "{free:?} {bound:?}");
        let agent = AgentName { checkpoint: "universal".into(), cap: None };
        let mut trials = 0;
        let [free, capped] =
            tune_cap(&agent, &short, 2, 3, Seconds::of(1.0), || trials += 1).unwrap();
        assert_eq!(trials, CAP_TRIALS);
        assert!(capped.reached.p99 <= 1.0 && free.reached.p99 > 1.0, "{free:?} {capped:?}");
        assert!(capped.reached.reward < free.reached.reward, "{free:?} {capped:?}");
        assert!(capped.policy.to_string().starts_with("agent[universal,cap="));
    }
}
