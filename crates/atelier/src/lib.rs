//! The command line: one file per command, no logic of its own.
//!
//! A crate of one's own gets all of it with [`main_with`], and with policies of its own wherever one is named.

mod commands;
mod failure;
mod files;
mod interruption;
mod log;
mod output;
mod progress;

use std::process::ExitCode;

use clap::{Parser, Subcommand};
use scheduling::message::bounded;
pub use scheduling::policies::OwnPolicy;
use scheduling::policies::register;
pub use scheduling::{
    Decision, Generator, Observation, Offer, Policy, Request, Seconds, Steps, Time,
};

use crate::failure::Failure;

/// Schedules text-to-image requests on servers of different speed: which server runs each request,
/// and how many denoising steps it gets.
#[derive(Parser)]
#[command(version)]
struct Arguments {
    /// Threads to use; all cores unless told.
    #[arg(long, global = true, value_parser = clap::value_parser!(u16).range(1..))]
    threads: Option<u16>,
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    Instance(commands::instance::Arguments),
    Simulate(commands::simulate::Arguments),
    Evaluate(commands::evaluate::Arguments),
    Train(commands::train::Arguments),
    Bound(commands::bound::Arguments),
    Reproduce(commands::reproduce::Arguments),
    Study(commands::study::Arguments),
    Serve(commands::serve::Arguments),
    Agent(commands::agent::Arguments),
    Cluster(commands::cluster::Arguments),
    Calibrate(commands::calibrate::Arguments),
    Check(commands::check::Arguments),
    Export(commands::export::Arguments),
    Fit(commands::fit::Arguments),
    Import(commands::import::Arguments),
    Init(commands::init::Arguments),
    Plan(commands::plan::Arguments),
    Tune(commands::tune::Arguments),
    Replay(commands::replay::Arguments),
    Verify(commands::verify::Arguments),
    Workload(commands::workload::Arguments),
}

/// The program `atelier`, which knows these policies beside the built-in ones.
///
/// ```no_run
/// use atelier::{Decision, Observation, OwnPolicy, Policy};
///
/// /// The offer that could begin first, with the steps that are still on time there.
/// struct Punctual;
///
/// impl Policy for Punctual {
///     fn decide(&mut self, observation: &Observation<'_>) -> Decision {
///         let offers = observation.offers.iter().enumerate();
///         let first = offers.min_by(|(_, a), (_, b)| a.backlog.seconds().total_cmp(&b.backlog.seconds()));
///         let (server, offer) = first.expect("there is at least one offer");
///         let steps = offer.most_steps_within(observation.time_to_due() - offer.backlog);
///         Decision { server, steps: offer.bounds.clamp(steps.unwrap_or(offer.bounds.min)) }
///     }
/// }
///
/// fn main() -> std::process::ExitCode {
///     let punctual = OwnPolicy {
///         name: "punctual",
///         options: "",
///         make: |_, _| Ok(Box::new(Punctual)),
///     };
///     atelier::main_with(vec![punctual])
/// }
/// ```
pub fn main_with(policies: Vec<OwnPolicy>) -> ExitCode {
    if let Err(error) = register(policies) {
        return Failure::Refused(error.into()).report();
    }
    let arguments = match Arguments::try_parse() {
        Ok(arguments) => arguments,
        Err(error) => return answer(&error),
    };
    match run(arguments) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => failure.report(),
    }
}

/// Prints what the parser of the command line says, but for a value as long as a file.
fn answer(error: &clap::Error) -> ExitCode {
    let text = error.render().to_string();
    if text.lines().any(|line| bounded(line) != line.trim_end()) {
        let text = text.trim_start_matches("error: ").to_owned();
        return Failure::Refused(anyhow::Error::msg(text)).report();
    }
    error.exit()
}

fn run(arguments: Arguments) -> Result<(), Failure> {
    if let Some(threads) = arguments.threads {
        rayon::ThreadPoolBuilder::new()
            .num_threads(threads.into())
            .build_global()
            .map_err(anyhow::Error::from)?;
    }
    match arguments.command {
        Command::Instance(arguments) => commands::instance::run(&arguments),
        Command::Simulate(arguments) => commands::simulate::run(&arguments),
        Command::Evaluate(arguments) => commands::evaluate::run(&arguments),
        Command::Train(arguments) => commands::train::run(&arguments),
        Command::Bound(arguments) => commands::bound::run(&arguments),
        Command::Reproduce(arguments) => commands::reproduce::run(&arguments),
        Command::Study(arguments) => commands::study::run(&arguments),
        Command::Serve(arguments) => commands::serve::run(&arguments),
        Command::Agent(arguments) => commands::agent::run(&arguments),
        Command::Cluster(arguments) => commands::cluster::run(&arguments),
        Command::Calibrate(arguments) => commands::calibrate::run(&arguments),
        Command::Check(arguments) => commands::check::run(&arguments),
        Command::Export(arguments) => commands::export::run(&arguments),
        Command::Fit(arguments) => commands::fit::run(&arguments),
        Command::Import(arguments) => commands::import::run(&arguments),
        Command::Init(arguments) => commands::init::run(&arguments),
        Command::Plan(arguments) => commands::plan::run(&arguments),
        Command::Tune(arguments) => commands::tune::run(&arguments),
        Command::Replay(arguments) => commands::replay::run(&arguments),
        Command::Verify(arguments) => commands::verify::run(&arguments),
        Command::Workload(arguments) => commands::workload::run(&arguments),
    }
}
