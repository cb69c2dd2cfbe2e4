//! Schedules of policies and of the clairvoyant, none of which leaves unjudged.

use std::fmt::Display;
use std::num::NonZeroUsize;
use std::ops::ControlFlow;

use agent::{PolicyError, Recipe};
use hindsight::{Budget, Found, Outcome};
use scheduling::verify::{Order, Violation, verify};
use scheduling::{Generator, Instance, Policy, Row};
use simulation::simulate;
use thiserror::Error;

/// The rows of the policy of a recipe on an instance. The generator is for policies that draw random
/// numbers.
pub(crate) fn schedule(
    recipe: &Recipe,
    instance: &Instance,
    generator: Generator,
) -> Result<Vec<Row>, ScheduleError> {
    Ok(schedule_and_strangers(recipe, instance, generator)?.0)
}

/// The same, and how many decisions were on what the policy has never met in training.
pub(crate) fn schedule_and_strangers(
    recipe: &Recipe,
    instance: &Instance,
    generator: Generator,
) -> Result<(Vec<Row>, u64), ScheduleError> {
    let mut policy = recipe.policy(instance.cluster(), generator)?;
    let rows = schedule_of(&mut *policy, recipe.name(), instance)?;
    let (strange, _) = policy.unfamiliar();
    Ok((rows, strange))
}

/// The rows of a policy of this name on an instance.
///
/// # Errors
/// [`ScheduleError::Failed`] and [`ScheduleError::Violations`]
pub fn schedule_of(
    policy: &mut dyn Policy,
    name: &dyn Display,
    instance: &Instance,
) -> Result<Vec<Row>, ScheduleError> {
    let rows = simulate(instance, policy);
    if let Some(problem) = policy.failure() {
        return Err(ScheduleError::Failed { name: name.to_string(), problem: problem.into() });
    }
    judged(name, instance, rows, Order::FirstComeFirstServed)
}

/// How hard to look for the schedule of the clairvoyant, which knows all arrivals.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ClairvoyantSearch {
    /// Steps of the descent that proves the bound and guides the search.
    pub(crate) descent_steps: usize,
    /// Rounds of the search.
    pub(crate) rounds: usize,
}

/// What the clairvoyant reaches on an instance with a schedule that serves first come first served, at
/// least as much as the `known` one, and the bound that no schedule exceeds.
pub(crate) fn clairvoyant(
    instance: &Instance,
    known: Option<&[Row]>,
    seed: u64,
    search: ClairvoyantSearch,
) -> Result<(Found, f64), ScheduleError> {
    foreseeable(instance)?;
    let budget = Budget {
        descent_steps: search.descent_steps,
        search_rounds: search.rounds,
        time: None,
        seed,
        // Instances are what runs in parallel, so each has one thread.
        threads: Some(NonZeroUsize::MIN),
    };
    let order = Order::FirstComeFirstServed;
    let outcome: Outcome =
        hindsight::bound_from(known, instance, order, &budget, |_| ControlFlow::Continue(()));
    let bound = outcome.bound();
    let Found { reward, rows } =
        outcome.into_schedule().expect("work that nobody stops ends with a schedule");
    let rows = judged(&CLAIRVOYANT, instance, rows, order)?;
    Ok((Found { reward, rows }, bound))
}

/// Whether the bound and the search for the clairvoyant schedule hold on an instance: they take
/// predictions for what happens.
///
/// # Errors
/// [`ScheduleError::NotIdeal`]
pub fn foreseeable(instance: &Instance) -> Result<(), ScheduleError> {
    if instance.is_ideal() { Ok(()) } else { Err(ScheduleError::NotIdeal) }
}

/// What the schedule that knows all arrivals is called.
pub(crate) const CLAIRVOYANT: &str = "clairvoyant";

/// The rows, once [`verify`] has nothing to say against them.
///
/// # Errors
/// [`ScheduleError::Violations`]
pub fn judged(
    name: &dyn Display,
    instance: &Instance,
    rows: Vec<Row>,
    order: Order,
) -> Result<Vec<Row>, ScheduleError> {
    match verify(instance, &rows, order) {
        Ok(()) => Ok(rows),
        Err(violations) => Err(ScheduleError::Violations { name: name.to_string(), violations }),
    }
}

/// A schedule that cannot be made, or not be used.
#[derive(Debug, Error)]
pub enum ScheduleError {
    /// The policy cannot be made.
    #[error(transparent)]
    Policy(#[from] PolicyError),
    /// The policy could not decide all of its requests.
    #[error("policy {name}: {problem}")]
    Failed {
        /// Whose it is.
        name: String,
        /// Why not.
        problem: String,
    },
    /// What was possible is asked of an instance where predictions do not come true.
    #[error(
        "what was possible is not known where service times stray or servers fail: allowed is an \
         instance with exact service times and without failures"
    )]
    NotIdeal,
    /// The schedule breaks the rules: a bug of ours.
    #[error("the schedule of {name} breaks the rules; please report this:{}", list(violations))]
    Violations {
        /// Whose it is.
        name: String,
        /// All that is wrong.
        violations: Vec<Violation>,
    },
}

/// The first violations, a line each.
fn list(violations: &[Violation]) -> String {
    const SHOWN: usize = 10;
    let mut list: Vec<_> = violations.iter().take(SHOWN).map(ToString::to_string).collect();
    if violations.len() > SHOWN {
        list.push(format!("and {} more", violations.len() - SHOWN));
    }
    format!("\n  {}", list.join("\n  "))
}

#[cfg(test)]
mod tests {
    use super::*;
    use scheduling::{Decision, Observation, Steps};
    use simulation::{Episode, InstanceSource, Scenario};

    struct First;

    impl Policy for First {
        fn decide(&mut self, _: &Observation<'_>) -> Decision {
            Decision { server: 0, steps: Steps::MIN }
        }
    }

    /// Comes to grief at the third request.
    struct Failing(u32);

    impl Policy for Failing {
        fn decide(&mut self, observation: &Observation<'_>) -> Decision {
            self.0 += 1;
            First.decide(observation)
        }

        fn failure(&self) -> Option<&str> {
            (self.0 > 2).then_some("line 3: no more")
        }
    }

    #[test]
    fn a_schedule_of_a_policy_that_failed_goes_nowhere() {
        let scenario = Scenario::from_toml(include_str!("../../../scenarios/paper.toml"))
            .and_then(|scenario| scenario.with(|settings| settings.requests = 5))
            .unwrap();
        let instance = scenario.instance(1, Episode::Evaluation(0));
        let error = schedule_of(&mut Failing(0), &"mine", &instance).unwrap_err().to_string();
        assert_eq!(error, "policy mine: line 3: no more");
    }

    #[test]
    fn a_schedule_that_breaks_the_rules_goes_nowhere() {
        let scenario = Scenario::from_toml(include_str!("../../../scenarios/paper.toml"))
            .and_then(|scenario| scenario.with(|settings| settings.requests = 20))
            .unwrap();
        let instance = scenario.instance(1, Episode::Evaluation(0));
        let mut rows = schedule_of(&mut First, &"first", &instance).unwrap();
        for row in &mut rows {
            row.reward += 1.0;
        }
        let order = Order::FirstComeFirstServed;
        let error = judged(&"first", &instance, rows, order).unwrap_err().to_string();
        for part in ["the schedule of first breaks the rules", "\n  ", "and 10 more"] {
            assert!(error.contains(part), "{error}");
        }
    }
}
