//! What policies are worth on a scenario, on instances that all of them share.

use agent::{PolicyError, Recipe};
use rayon::prelude::*;
use scheduling::{Generator, Purpose};
use serde::Serialize;
use simulation::{Episode, Metrics, Scenario, Summary, simulate, summarise};

/// The result of [`evaluate`], in the form of `evaluate --json`.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Evaluation {
    /// Version of atelier.
    pub version: &'static str,
    /// The random generator that the seed belongs to.
    pub generator: &'static str,
    /// Name of the scenario.
    pub scenario: String,
    /// Seed of the instances.
    pub seed: u64,
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
    /// The figures of each instance.
    pub instances: Vec<Metrics>,
}

/// Lets every policy decide the same evaluation instances 0, 1, … of a scenario.
///
/// Instances run on all threads of the current pool; the result does not depend on their number.
/// `after_instance` is called from those threads, once for every instance.
///
/// # Errors
/// [`PolicyError`] if an agent does not fit the scenario's cluster.
///
/// # Panics
/// If `instances` is 0.
pub fn evaluate(
    scenario: &Scenario,
    policies: &[Recipe],
    instances: u64,
    seed: u64,
    after_instance: impl Fn() + Sync,
) -> Result<Evaluation, PolicyError> {
    let by_instance = (0..instances)
        .into_par_iter()
        .map(|index| {
            let figures = run_all(scenario, policies, seed, Episode::Evaluation(index))?;
            after_instance();
            Ok(figures)
        })
        .collect::<Result<Vec<_>, PolicyError>>()?;
    let policies = policies.iter().enumerate().map(|(number, recipe)| {
        let instances: Vec<_> = by_instance.iter().map(|figures| figures[number]).collect();
        let summary = summarise(&instances, seed);
        PolicyResult { policy: recipe.name().to_string(), summary, instances }
    });
    Ok(Evaluation {
        version: env!("CARGO_PKG_VERSION"),
        generator: Generator::VERSION,
        scenario: scenario.settings().name.clone(),
        seed,
        policies: policies.collect(),
    })
}

/// The figures of every policy on one instance.
fn run_all(
    scenario: &Scenario,
    policies: &[Recipe],
    seed: u64,
    episode: Episode,
) -> Result<Vec<Metrics>, PolicyError> {
    let instance = scenario.instance(seed, episode);
    let run = |recipe: &Recipe| {
        let generator = Generator::new(seed, Purpose::Policy, episode.stream());
        let mut policy = recipe.policy(instance.cluster(), generator)?;
        Ok(Metrics::of(&simulate(&instance, &mut *policy)))
    };
    policies.iter().map(run).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn evaluation(threads: usize) -> Evaluation {
        let scenario = Scenario::from_toml(include_str!("../../../scenarios/contended.toml"))
            .and_then(|scenario| scenario.with(|settings| settings.requests = 100))
            .unwrap();
        let recipes: Vec<_> = ["random", "greedy", "myopic"]
            .map(|name| Recipe::load(&name.parse().unwrap()).unwrap())
            .into();
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        pool.install(|| evaluate(&scenario, &recipes, 6, 3, || ()).unwrap())
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
}
