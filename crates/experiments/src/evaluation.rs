//! What policies are worth, on instances that all of them share.

use std::num::NonZeroUsize;
use std::ops::ControlFlow;

use agent::{PolicyError, Recipe};
use hindsight::{Budget, Outcome};
use rayon::prelude::*;
use scheduling::policies::Greedy;
use scheduling::verify::Order;
use scheduling::{Generator, Instance, Purpose};
use serde::Serialize;
use simulation::{
    Episode, Estimate, InstanceSource, Metrics, Summary, estimate, simulate, summarise,
};

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
    /// Against what was possible, if that was asked for.
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
    pub instances: Vec<Possible>,
}

/// What was possible on one instance.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Possible {
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

/// Whether to look for what was possible, and how hard.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hindsight {
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
/// [`PolicyError`] if an agent does not fit a cluster.
///
/// # Panics
/// If `instances` is 0.
pub fn evaluate(
    source: &dyn InstanceSource,
    policies: &[Recipe],
    instances: u64,
    seed: u64,
    hindsight: Hindsight,
    after_instance: impl Fn() + Sync,
) -> Result<Evaluation, PolicyError> {
    let instances = source.evaluation_instances().unwrap_or(instances);
    let by_instance = (0..instances)
        .into_par_iter()
        .map(|index| {
            let results = run_all(source, policies, seed, Episode::Evaluation(index), hindsight)?;
            after_instance();
            Ok(results)
        })
        .collect::<Result<Vec<_>, PolicyError>>()?;
    let references: Option<Vec<_>> = by_instance.iter().map(|results| results.reference).collect();
    let policies = policies.iter().enumerate().map(|(number, recipe)| {
        let instances: Vec<_> = by_instance.iter().map(|results| results.figures[number]).collect();
        PolicyResult {
            policy: recipe.name().to_string(),
            summary: summarise(&instances, seed),
            against: references.as_ref().map(|references| against(&instances, references, seed)),
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
        clairvoyant: references.as_ref().map(|references| clairvoyant(references, seed)),
    })
}

/// What came of one instance.
struct Results {
    requests: usize,
    /// One entry per policy.
    figures: Vec<Metrics>,
    reference: Option<Reference>,
}

/// What a policy is held against on one instance.
#[derive(Clone, Copy)]
struct Reference {
    greedy: f64,
    possible: Possible,
}

/// Every policy on one instance.
fn run_all(
    source: &dyn InstanceSource,
    policies: &[Recipe],
    seed: u64,
    episode: Episode,
    hindsight: Hindsight,
) -> Result<Results, PolicyError> {
    let instance = source.instance(seed, episode);
    let run = |recipe: &Recipe| {
        let generator = Generator::new(seed, Purpose::Policy, episode.stream());
        let mut policy = recipe.policy(instance.cluster(), generator)?;
        Ok(Metrics::of(&simulate(&instance, &mut *policy)))
    };
    let figures = policies.iter().map(run).collect::<Result<_, PolicyError>>()?;
    let reference = match hindsight {
        Hindsight::None => None,
        Hindsight::Rounds(rounds) => Some(Reference {
            greedy: Metrics::of(&simulate(&instance, &mut Greedy::default())).reward,
            possible: {
                let outcome = possible(&instance, seed, 2 * rounds, rounds);
                let reward = outcome.value.expect("work that nobody stops ends with a schedule");
                Possible { reward, upper_bound: outcome.bound }
            },
        }),
    };
    Ok(Results { requests: instance.requests().len(), figures, reference })
}

/// What was possible on an instance, with a schedule that serves first come first served. Instances
/// are what runs in parallel, so each has one thread.
pub(crate) fn possible(
    instance: &Instance,
    seed: u64,
    descent_steps: usize,
    search_rounds: usize,
) -> Outcome {
    let budget =
        Budget { descent_steps, search_rounds, time: None, seed, threads: Some(NonZeroUsize::MIN) };
    let order = Order::FirstComeFirstServed;
    hindsight::bound(instance, order, &budget, |_| ControlFlow::Continue(()))
}

fn clairvoyant(references: &[Reference], seed: u64) -> Clairvoyant {
    let over = |value: fn(&Reference) -> f64| {
        estimate(&references.iter().map(value).collect::<Vec<_>>(), seed)
    };
    Clairvoyant {
        reward: over(|reference| reference.possible.reward),
        upper_bound: over(|reference| reference.possible.upper_bound),
        instances: references.iter().map(|reference| reference.possible).collect(),
    }
}

fn against(policy: &[Metrics], references: &[Reference], seed: u64) -> AgainstClairvoyant {
    let over = |value: fn(f64, &Reference) -> f64| {
        let pairs = policy.iter().zip(references);
        estimate(&pairs.map(|(p, r)| value(p.reward, r)).collect::<Vec<_>>(), seed)
    };
    AgainstClairvoyant {
        regret: over(|reward, reference| reference.possible.reward - reward),
        share_of_possible: over(|reward, Reference { greedy, possible }| {
            (reward - greedy) / (possible.reward - greedy)
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
        pool.install(|| evaluate(&scenario, &recipes, 6, 3, Hindsight::Rounds(3), || ()).unwrap())
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
