use experiments::{CAP_TRIALS, Goal, Questions, Tuned, tune_cap};
use scheduling::{PolicyName, Seconds};
use simulation::InstanceSource;

use crate::commands::evaluate;
use crate::failure::Failure;
use crate::output::say;
use crate::{files, progress};

/// Fit the price of server time to a scenario or to recorded traffic and compare it with the rules.
///
/// Standard output begins with the name of the policy, to be used wherever one is asked for.
#[derive(clap::Args)]
pub(crate) struct Arguments {
    #[command(flatten)]
    source: files::Source,
    /// Seed of the instances.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Training instances that every price is tried on.
    #[arg(long, default_value_t = 8, value_parser = clap::value_parser!(u64).range(1..=10_000))]
    training_instances: u64,
    /// Instances of the comparison afterwards; 0 for none.
    #[arg(long, default_value_t = 50, value_parser = clap::value_parser!(u64).range(0..=100_000))]
    instances: u64,
    /// The largest reward at which 99 of 100 requests are no later than so many seconds. Says what that costs.
    #[arg(long, value_name = "SECONDS", value_parser = seconds)]
    p99_below: Option<Seconds>,
    /// Fit the cap of this universal agent in place of a price.
    #[arg(long, value_name = "POLICY", requires = "p99_below")]
    cap_of: Option<PolicyName>,
}

fn seconds(text: &str) -> Result<Seconds, String> {
    let seconds = text.parse().ok().and_then(|seconds| Seconds::new(seconds).ok());
    seconds.ok_or_else(|| "allowed are seconds from 0 to 1e9".into())
}

pub(crate) fn run(arguments: &Arguments) -> Result<(), Failure> {
    let source = arguments.source.read()?;
    let (free, tuned) = match (&arguments.cap_of, arguments.p99_below) {
        (Some(agent), Some(p99)) => {
            let [free, tuned] = cap(arguments, &*source, agent, p99)?;
            (Some(free), tuned)
        }
        (_, Some(p99)) => {
            let free = price(arguments, &*source, Goal::Reward)?;
            (Some(free), price(arguments, &*source, Goal::P99Below(p99))?)
        }
        (_, None) => (None, price(arguments, &*source, Goal::Reward)?),
    };
    say!("{}", tuned.policy);
    if let (Some(free), Some(p99)) = (free, arguments.p99_below) {
        say!("{}", cost_of_tail(&free, &tuned, p99));
    }
    if arguments.instances > 0 {
        let mut names = evaluate::rules();
        names.push(tuned.policy);
        let policies = files::load_policies(&names)?;
        let Arguments { instances, seed, .. } = *arguments;
        evaluate::evaluate(&*source, &policies, instances, seed, &Questions::NONE)?;
    }
    Ok(())
}

fn price(arguments: &Arguments, source: &dyn InstanceSource, goal: Goal) -> Result<Tuned, Failure> {
    let bar = progress::bar("tuning", experiments::trials(source));
    let Arguments { training_instances, seed, .. } = *arguments;
    let tuned = experiments::tune(source, training_instances, seed, goal, || bar.inc(1))?;
    bar.finish_and_clear();
    Ok(tuned)
}

fn cap(
    arguments: &Arguments,
    source: &dyn InstanceSource,
    agent: &PolicyName,
    p99: Seconds,
) -> Result<[Tuned; 2], Failure> {
    let PolicyName::Agent(agent) = agent else {
        let problem = "has no cap: allowed is a universal agent, such as agent[universal]";
        return Err(Failure::refused(agent, problem));
    };
    let bar = progress::bar("tuning", CAP_TRIALS);
    let Arguments { training_instances, seed, .. } = *arguments;
    let tuned = tune_cap(agent, source, training_instances, seed, p99, || bar.inc(1))?;
    bar.finish_and_clear();
    Ok(tuned)
}

/// What it costs to be no later.
fn cost_of_tail(free: &Tuned, tuned: &Tuned, p99: Seconds) -> String {
    let (free, bound, p99) = (free.reached, tuned.reached, p99.seconds());
    if bound.p99 > p99 {
        return format!("no p99 below {p99} s was found: the least is {:.2} s", bound.p99);
    }
    format!(
        "a p99 below {p99} s costs {:.2} points of reward on the training instances: {:.2} with a p99 of \
         {:.2} s, {:.2} with {:.2} s where nothing bounds it",
        free.reward - bound.reward,
        bound.reward,
        bound.p99,
        free.reward,
        free.p99
    )
}
