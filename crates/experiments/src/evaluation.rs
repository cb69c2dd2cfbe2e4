//! What policies are worth, on instances that all of them share.

use agent::Recipe;
use rayon::prelude::*;
use scheduling::policies::Greedy;
use scheduling::{Generator, Instance, Purpose, Row};
use serde::Serialize;
use simulation::{Episode, Estimate, InstanceSource, Metrics, Summary, estimate, summarise};

use crate::schedule::{
    ClairvoyantSearch, ScheduleError, clairvoyant, schedule_and_strangers, schedule_of,
};
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
    /// Share of the decisions that were on what the policy has never met in training.
    pub unfamiliar: f64,
    /// Shares of requests on time where everybody waits longer or less long, if that was asked for.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub on_time: Vec<OnTime>,
    /// The figures of each instance.
    pub instances: Vec<Metrics>,
}

/// The share of requests on time, or SLO attainment, where all slacks are scaled.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct OnTime {
    /// What the time from arrival to due time is multiplied with. The policy knows the new due times.
    pub due_scale: f64,
    /// Share of requests that finish by then.
    pub share: Estimate,
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

/// What is asked of an evaluation beyond the figures.
#[derive(Clone, Debug, PartialEq)]
pub struct Questions {
    /// What was possible.
    pub clairvoyance: Clairvoyance,
    /// Scales of slacks to find the shares on time for.
    pub due_scales: Vec<f64>,
}

impl Questions {
    /// Nothing.
    pub const NONE: Self = Self { clairvoyance: Clairvoyance::None, due_scales: Vec::new() };
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
    questions: &Questions,
    after_instance: impl Fn() + Sync,
) -> Result<Evaluation, ScheduleError> {
    let instances = source.evaluation_instances().unwrap_or(instances);
    let by_instance = (0..instances)
        .into_par_iter()
        .map(|index| {
            let episode = Episode::Evaluation(index);
            let results = run_all(source, policies, seed, episode, questions)?;
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
            unfamiliar: by_instance.iter().map(|results| results.unfamiliar[number]).sum::<f64>()
                / by_instance.len() as f64,
            on_time: on_time(questions, &by_instance, number, seed),
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
    /// Share of the decisions of each policy on what it has never met.
    unfamiliar: Vec<f64>,
    /// By scale of slacks: the share on time of each policy.
    on_time: Vec<Vec<f64>>,
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
    questions: &Questions,
) -> Result<Results, ScheduleError> {
    let instance = source.instance(seed, episode);
    let rows_on = |instance: &Instance, recipe: &Recipe| {
        let generator = Generator::new(seed, Purpose::Policy, episode.stream());
        schedule_and_strangers(recipe, instance, generator)
    };
    let mut unfamiliar = Vec::new();
    let mut best = Best::default();
    let figures = (policies.iter())
        .map(|recipe| {
            let (rows, strange) = rows_on(&instance, recipe)?;
            let figures = Metrics::of(&rows);
            unfamiliar.push(strange as f64 / rows.len() as f64);
            if questions.clairvoyance != Clairvoyance::None {
                best.take(rows, figures.reward);
            }
            Ok(figures)
        })
        .collect::<Result<_, ScheduleError>>()?;
    let scale = match questions.clairvoyance {
        Clairvoyance::None => None,
        Clairvoyance::Rounds(rounds) => Some(Scale::of(&instance, best, rounds, seed)?),
    };
    let on_time = |&scale: &f64| {
        let scaled = instance.with_slacks_scaled(scale);
        let share = |recipe| Ok(1.0 - Metrics::of(&rows_on(&scaled, recipe)?.0).late_fraction);
        policies.iter().map(share).collect()
    };
    let on_time = questions.due_scales.iter().map(on_time).collect::<Result<_, ScheduleError>>()?;
    Ok(Results { requests: instance.requests().len(), figures, unfamiliar, on_time, scale })
}

/// The schedule that earns most.
#[derive(Default)]
struct Best(Option<(f64, Vec<Row>)>);

impl Best {
    fn take(&mut self, rows: Vec<Row>, reward: f64) {
        if self.0.as_ref().is_none_or(|&(best, _)| reward > best) {
            self.0 = Some((reward, rows));
        }
    }
}

impl Scale {
    /// The clairvoyant begins with the best of the policies: nobody has more than all that was possible.
    fn of(
        instance: &Instance,
        mut best: Best,
        rounds: usize,
        seed: u64,
    ) -> Result<Self, ScheduleError> {
        let rows = schedule_of(&mut Greedy::default(), &"greedy", instance)?;
        let greedy = Metrics::of(&rows).reward;
        best.take(rows, greedy);
        let known = best.0.as_ref().map(|(_, rows)| &rows[..]);
        let search = ClairvoyantSearch { descent_steps: 2 * rounds, rounds };
        let (found, upper_bound) = clairvoyant(instance, known, seed, search)?;
        let clairvoyant = ClairvoyantReward { reward: found.reward, upper_bound };
        Ok(Self { greedy, clairvoyant })
    }
}

/// The shares on time of one policy.
fn on_time(questions: &Questions, results: &[Results], policy: usize, seed: u64) -> Vec<OnTime> {
    let scales = questions.due_scales.iter().enumerate();
    let of_scale = |(number, &due_scale): (usize, &f64)| {
        let shares: Vec<_> = results.iter().map(|r| r.on_time[number][policy]).collect();
        OnTime { due_scale, share: estimate(&shares, seed) }
    };
    scales.map(of_scale).collect()
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
            let clairvoyance = Clairvoyance::Rounds(3);
            let questions = Questions { clairvoyance, due_scales: vec![0.5, 1.0, 2.0] };
            evaluate(&scenario, &recipes, 6, 3, &questions, || ()).unwrap()
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
                assert!(policy.instances[index].reward <= possible.reward + 1e-9);
            }
            assert!(possible.reward <= possible.upper_bound);
        }
    }

    #[test]
    fn who_may_be_later_is_on_time_more_often() {
        let evaluation = evaluation(2);
        for policy in &evaluation.policies {
            let scales = policy.on_time.iter().map(|on_time| on_time.due_scale);
            assert!(scales.eq([0.5, 1.0, 2.0]), "{policy:?}");
            let late = policy.summary.late_fraction.mean;
            assert!((policy.on_time[1].share.mean + late - 1.0).abs() < 1e-12, "{policy:?}");
        }
        // Greedy uses what time it has, and may even be late more often; random does not look at it.
        let [half, same, twice] = [0, 1, 2].map(|scale| evaluation.policies[0].on_time[scale]);
        assert!(half.share.mean < same.share.mean && same.share.mean < twice.share.mean);
    }
}
