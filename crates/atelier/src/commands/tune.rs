use experiments::Clairvoyance;
use scheduling::{PolicyName, Rule};

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
}

pub(crate) fn run(arguments: &Arguments) -> Result<(), Failure> {
    let source = arguments.source.read()?;
    let bar = progress::bar("tuning", experiments::trials(&*source));
    let tuned = experiments::tune(&*source, arguments.training_instances, arguments.seed, || {
        bar.inc(1);
    })?;
    bar.finish_and_clear();
    let name = PolicyName::from(Rule::Priced { price: tuned.price });
    say!("{name}");
    if arguments.instances > 0 {
        let mut names = evaluate::rules();
        names.push(name);
        let policies = files::load_policies(&names)?;
        let Arguments { instances, seed, .. } = *arguments;
        evaluate::evaluate(&*source, &policies, instances, seed, Clairvoyance::None)?;
    }
    Ok(())
}
