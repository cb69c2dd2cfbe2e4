//! What policies are worth, on instances that all of them share.

use agent::Recipe;
use rayon::prelude::*;
use scheduling::policies::Greedy;
use scheduling::{Generator, Purpose};
use serde::Serialize;
use simulation::{Episode, Estimate, InstanceSource, Metrics, Summary, estimate, summarise};

use crate::schedule::{ClairvoyantSearch, ScheduleError, clairvoyant, schedule, schedule_of};
use crate::statistics::share_of_possible;

/// The result of [`evaluate`], in the form of `evaluate --json`.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Evaluation {
    /// Version of atelier.
    pub version: &'static str,
    /// The random generator that the seed belongs to.
    pub generator: &'static str,
    /// Name of the scenario, or of the recordings in the order of the instances.
    pub scenario: String,
    /// Requests of each instance.
    #[serde(skip)]
    pub requests: Vec<usize>,
    /// Seed of the instances.
    pub seed: u64,
    /// What was possible, if that was asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub clairvoyant: Option<Clairvoyant>,
    /// One entry per policy, in the order that was asked for.
    pub policies: Vec<PolicyResult>,
}

/// What one policy is worth.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct PolicyResult {
    /// Name of the policy.
    pub policy: String,
    /// Means over the instances with 95 % confidence intervals.
    #[serde(flatten)]
    pub summary: Summary,
    /// Against what the clairvoyant reaches, if that was asked for.
    #[serde(flatten, skip_serializing_if = "Option::is_none")]
    pub against: Option<AgainstClairvoyant>,
    /// The figures of each instance.
    pub instances: Vec<Metrics>,
}

/// What was possible with full knowledge of the arrivals: mean rewards per request.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Clairvoyant {
    /// Of the best schedule that was found.
    pub reward: Estimate,
    /// Proven: no schedule earns more.
    pub upper_bound: Estimate,
    /// Both, for each instance.
    pub instances: Vec<ClairvoyantReward>,
}

/// What was possible on one instance.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct ClairvoyantReward {
    /// Mean reward per request of the best schedule that was found.
    pub reward: f64,
    /// No schedule earns more.
    pub upper_bound: f64,
}

/// A policy against the clairvoyant schedule of each instance.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct AgainstClairvoyant {
    /// clairvoyant − policy, in reward per request.
    pub regret: Estimate,
    /// (policy − greedy) / (clairvoyant − greedy)
    pub share_of_possible: Estimate,
}

/// Whether to look for the clairvoyant schedule, and how hard.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Clairvoyance {
    /// Not at all.
    None,
    /// With so many rounds of search per instance, and twice as many steps for the bound.
    Rounds(usize),
}

/// Lets every policy decide the same evaluation instances 0, 1, … of a source: so many, or all
/// of them where they are counted.
///
/// Instances run on all threads of the current pool; the result does not depend on their number.
/// `after_instance` is called from those threads, once for every instance.
///
/// # Errors
/// [`ScheduleError`] if an agent does not fit a cluster.
///
/// # Panics
/// If `instances` is 0.
pub fn evaluate(
    source: &dyn InstanceSource,
    policies: &[Recipe],
    instances: u64,
    seed: u64,
    clairvoyance: Clairvoyance,
    after_instance: impl Fn() + Sync,
) -> Result<Evaluation, ScheduleError> {
    let instances = source.evaluation_instances().unwrap_or(instances);
    let by_instance = (0..instances)
        .into_par_iter()
        .map(|index| {
            let results =
                run_all(source, policies, seed, Episode::Evaluation(index), clairvoyance)?;
            after_instance();
            Ok(results)
        })
        .collect::<Result<Vec<_>, ScheduleError>>()?;
    let scales: Option<Vec<_>> = by_instance.iter().map(|results| results.scale).collect();
    let policies = policies.iter().enumerate().map(|(number, recipe)| {
        let instances: Vec<_> = by_instance.iter().map(|results| results.figures[number]).collect();
        PolicyResult {
            policy: recipe.name().to_string(),
            summary: summarise(&instances, seed),
            against: scales.as_ref().map(|scales| against(&instances, scales, seed)),
            instances,
        }
    });
    Ok(Evaluation {
        version: env!("CARGO_PKG_VERSION"),
        generator: Generator::VERSION,
        scenario: source.name(),
        requests: by_instance.iter().map(|results| results.requests).collect(),
        seed,
        policies: policies.collect(),
        clairvoyant: scales.as_ref().map(|scales| over_instances(scales, seed)),
    })
}

/// What came of one instance.
struct Results {
    requests: usize,
    /// One entry per policy.
    figures: Vec<Metrics>,
    scale: Option<Scale>,
}

/// The two ends that policies are measured between on one instance.
#[derive(Clone, Copy)]
struct Scale {
    greedy: f64,
    clairvoyant: ClairvoyantReward,
}

/// Every policy on one instance.
fn run_all(
    source: &dyn InstanceSource,
    policies: &[Recipe],
    seed: u64,
    episode: Episode,
    clairvoyance: Clairvoyance,
) -> Result<Results, ScheduleError> {
    let instance = source.instance(seed, episode);
    let run = |recipe: &Recipe| {
        let generator = Generator::new(seed, Purpose::Policy, episode.stream());
        Ok(Metrics::of(&schedule(recipe, &instance, generator)?))
    };
    let figures = policies.iter().map(run).collect::<Result<_, ScheduleError>>()?;
    let scale = match clairvoyance {
        Clairvoyance::None => None,
        Clairvoyance::Rounds(rounds) => {
            let greedy = schedule_of(&mut Greedy::default(), &"greedy", &instance)?;
            let search = ClairvoyantSearch { descent_steps: 2 * rounds, rounds };
            let (found, upper_bound) = clairvoyant(&instance, seed, search)?;
            Some(Scale {
                greedy: Metrics::of(&greedy).reward,
                clairvoyant: ClairvoyantReward { reward: found.reward, upper_bound },
            })
        }
    };
    Ok(Results { requests: instance.requests().len(), figures, scale })
}

fn over_instances(scales: &[Scale], seed: u64) -> Clairvoyant {
    let over =
        |value: fn(&Scale) -> f64| estimate(&scales.iter().map(value).collect::<Vec<_>>(), seed);
    Clairvoyant {
        reward: over(|scale| scale.clairvoyant.reward),
        upper_bound: over(|scale| scale.clairvoyant.upper_bound),
        instances: scales.iter().map(|scale| scale.clairvoyant).collect(),
    }
}

fn against(policy: &[Metrics], scales: &[Scale], seed: u64) -> AgainstClairvoyant {
    let over = |value: fn(f64, &Scale) -> f64| {
        let pairs = policy.iter().zip(scales);
        estimate(&pairs.map(|(p, scale)| value(p.reward, scale)).collect::<Vec<_>>(), seed)
    };
    AgainstClairvoyant {
        regret: over(|reward, scale| scale.clairvoyant.reward - reward),
        share_of_possible: over(|reward, Scale { greedy, clairvoyant }| {
            share_of_possible(reward, *greedy, clairvoyant.reward)
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use simulation::Scenario;

    fn evaluation(threads: usize) -> Evaluation {
        let scenario = Scenario::from_toml(include_str!("../../../scenarios/contended.toml"))
            .and_then(|scenario| scenario.with(|settings| settings.requests = 100))
            .unwrap();
        let recipes: Vec<_> = ["random", "greedy", "myopic"]
            .map(|name| Recipe::load(&name.parse().unwrap()).unwrap())
            .into();
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        pool.install(|| {
            evaluate(&scenario, &recipes, 6, 3, Clairvoyance::Rounds(3), || ()).unwrap()
        })
    }

    #[test]
    fn threads_change_nothing() {
        let json = |threads| serde_json::to_string(&evaluation(threads)).unwrap();
        assert_eq!(json(1), json(2));
    }

    #[test]
    fn the_json_has_the_promised_form() {
        let json = serde_json::to_value(evaluation(2)).unwrap();
        assert_eq!(json["scenario"], "contended");
        assert_eq!(json["seed"], 3);
        let greedy = &json["policies"][1];
        assert_eq!(greedy["policy"], "greedy");
        for figure in ["reward", "quality", "tardiness", "late_fraction", "tardiness_p99"] {
            let mean = greedy[figure]["mean"].as_f64().unwrap();
            let [low, high] = [0, 1].map(|end| greedy[figure]["ci95"][end].as_f64().unwrap());
            assert!(low <= mean && mean <= high, "{figure}: {low} {mean} {high}");
            assert!(greedy["instances"][5][figure].is_f64(), "{figure}");
        }
        assert_eq!(greedy["instances"].as_array().unwrap().len(), 6);
    }

    #[test]
    fn greedy_has_no_share_of_the_possible_and_nobody_more_than_all() {
        let evaluation = evaluation(2);
        let share = |policy: usize| evaluation.policies[policy].against.unwrap().share_of_possible;
        assert_eq!(share(1).mean, 0.0);
        assert!((0.0..1.0).contains(&share(2).mean), "{:?}", share(2));
        for (index, possible) in evaluation.clairvoyant.unwrap().instances.iter().enumerate() {
            for policy in &evaluation.policies {
                assert!(policy.instances[index].reward <= possible.upper_bound);
            }
        }
    }
}
