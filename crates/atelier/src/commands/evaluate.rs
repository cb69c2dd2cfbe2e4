use std::path::PathBuf;

use agent::Recipe;
use experiments::{Clairvoyance, Evaluation, Questions, strangers, table};
use scheduling::PolicyName;
use simulation::InstanceSource;

use crate::failure::Failure;
use crate::files::Destination;
use crate::output::say;
use crate::{files, progress};

/// Compare policies on instances that all of them share: of a scenario, or recorded traffic.
#[derive(clap::Args)]
pub(crate) struct Arguments {
    #[command(flatten)]
    source: files::Source,
    /// Name of a policy, such as `greedy`, `fixed[steps=30]` or `agent[models/paper]`; may be given
    /// several times. All rules unless told.
    #[arg(long = "policy")]
    policies: Vec<PolicyName>,
    /// Number of instances of a scenario; of recordings, all are taken.
    #[arg(long, default_value_t = 50, value_parser = clap::value_parser!(u64).range(1..=100_000))]
    instances: u64,
    /// Seed of the instances.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Also search each instance, knowing all arrivals, for what was possible, with so many rounds
    /// (50 give a schedule close to the best); adds regret and share of the possible.
    #[arg(long, value_name = "ROUNDS", value_parser = clap::value_parser!(u16).range(1..))]
    clairvoyant: Option<u16>,
    /// Also the share on time (SLO attainment) if every request waited so many times as long, such as
    /// `0.5,1,1.5`; policies know the due times that they get.
    #[arg(long, value_delimiter = ',', value_parser = due_scale)]
    due_scales: Vec<f64>,
    /// File for the results (JSON).
    #[arg(long)]
    json: Option<PathBuf>,
}

fn due_scale(text: &str) -> Result<f64, String> {
    let scale = text.parse().ok().filter(|scale| (0.0..=1e6).contains(scale));
    scale.ok_or_else(|| "allowed is 0 to 1e6, or several with commas between them".into())
}

/// What is compared when nothing is named.
pub(crate) const RULES: [&str; 5] =
    ["random", "greedy", "greedy[ties=fastest]", "fixed[steps=30]", "myopic"];

pub(crate) fn run(arguments: &Arguments) -> Result<(), Failure> {
    let source = arguments.source.read()?;
    let names = if arguments.policies.is_empty() { rules() } else { arguments.policies.clone() };
    let policies = files::load_policies(&names)?;
    let clairvoyance = match arguments.clairvoyant {
        Some(rounds) => Clairvoyance::Rounds(rounds.into()),
        None => Clairvoyance::None,
    };
    let questions = Questions { clairvoyance, due_scales: arguments.due_scales.clone() };
    let json_file = Destination::optional(arguments.json.as_ref())?;
    let evaluation =
        evaluate(&*source, &policies, arguments.instances, arguments.seed, &questions)?;
    if let Some(file) = json_file {
        let json = serde_json::to_string(&evaluation).map_err(anyhow::Error::from)?;
        file.write(&(json + "\n"))?;
    }
    Ok(())
}

/// The names of [`RULES`].
pub(crate) fn rules() -> Vec<PolicyName> {
    RULES.iter().map(|name| name.parse().expect("rules have valid names")).collect()
}

/// Evaluates under a progress bar and prints the table.
pub(crate) fn evaluate(
    source: &dyn InstanceSource,
    policies: &[Recipe],
    instances: u64,
    seed: u64,
    questions: &Questions,
) -> Result<Evaluation, Failure> {
    let length = source.evaluation_instances().unwrap_or(instances);
    let bar = progress::bar("evaluating", length);
    let evaluation =
        experiments::evaluate(source, policies, instances, seed, questions, || bar.inc(1))
            .map_err(Failure::from)?;
    bar.finish_and_clear();
    say!("{}", table(&evaluation));
    say!("{}", caption(source, &evaluation));
    for line in strangers(&evaluation) {
        say!("{line}");
    }
    Ok(evaluation)
}

/// What the table is about.
fn caption(source: &dyn InstanceSource, evaluation: &Evaluation) -> String {
    let Evaluation { scenario, seed, requests, .. } = evaluation;
    let half = "± half of the 95 % interval";
    match (source.evaluation_instances(), &requests[..]) {
        (Some(_), [requests]) => {
            format!("{scenario}, {requests} requests as they were recorded; means per request")
        }
        (Some(_), recordings) => {
            let (count, requests) = (recordings.len(), recordings.iter().sum::<usize>());
            format!(
                "{scenario}: {count} recordings with {requests} requests as they were recorded; \
                 means per request, {half} over recordings"
            )
        }
        (None, requests) => {
            let (count, each) = (requests.len(), requests[0]);
            format!(
                "scenario {scenario}, {count} unseen instances of {each} requests, seed {seed}; \
                 means per request, {half}"
            )
        }
    }
}
