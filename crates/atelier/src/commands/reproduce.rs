use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering;
use std::time::Duration;

use experiments::{Effort, Outcome, Plan, Study};

use crate::failure::Failure;
use crate::output::say;
use crate::{files, interruption, progress};

/// Repeat the paper's evaluation, and what it did not ask, and write one report.
///
/// Ctrl-C keeps everything so far; the same command goes on from there.
#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// The same report from shorter training and fewer instances.
    #[arg(long)]
    quick: bool,
    /// Folder for the report, its rows, figures and trained agents.
    #[arg(long, default_value = "report")]
    out: PathBuf,
    /// Folder with the study files (TOML); each is a section of the report [default: studies, or the
    /// built-in ones where there is no such folder]
    #[arg(long)]
    studies: Option<PathBuf>,
}

/// Where studies are looked for unless told.
const FOLDER: &str = "studies";

pub(crate) fn run(arguments: &Arguments) -> Result<(), Failure> {
    let out = &arguments.out;
    files::create_folder(out)?;
    let effort = if arguments.quick { Effort::Quick } else { Effort::Full };
    let studies = match &arguments.studies {
        Some(folder) => Study::load_folder(folder, effort),
        None if Path::new(FOLDER).is_dir() => Study::load_folder(Path::new(FOLDER), effort),
        None => Study::built_in(&out.join("inputs"), effort),
    }
    .map_err(|error| Failure::Refused(error.into()))?;
    let plan = Plan::new(studies).map_err(|error| Failure::Refused(error.into()))?;
    let interrupted = interruption::flag()?;
    let bar = progress::share(plan.work_left(out));
    bar.enable_steady_tick(Duration::from_millis(200));
    let outcome = experiments::run(&plan, out, interrupted, &|work| bar.inc(work))
        .map_err(anyhow::Error::from)?;
    bar.finish_and_clear();
    if outcome == Outcome::Interrupted || interrupted.load(Ordering::Relaxed) {
        eprintln!(
            "interrupted; {} keeps what is done, and the same command goes on",
            out.display()
        );
        return Err(Failure::Interrupted);
    }
    experiments::report(&plan.studies, effort, out).map_err(anyhow::Error::from)?;
    say!("{}", out.join("index.html").display());
    Ok(())
}
