use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering;
use std::time::Duration;

use experiments::{Effort, Outcome, Plan, Study, StudyError, Subject, claim_table};
use scheduling::PolicyName;

use crate::failure::Failure;
use crate::output::say;
use crate::{files, interruption, progress};

/// Run studies of your own and write one page: figures, tables, and what was claimed.
///
/// Ctrl-C keeps everything so far; the same command goes on from there.
#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// Study file (TOML); what it names is relative to it. Several give one page.
    #[arg(required = true, value_name = "STUDY")]
    studies: Vec<PathBuf>,
    /// One more policy in every figure, such as `file[mine.py]`; may be given several times.
    #[arg(long = "policy", value_name = "POLICY")]
    policies: Vec<PolicyName>,
    /// The same page from what the studies have under [quick]: shorter training and fewer instances.
    #[arg(long)]
    quick: bool,
    /// Folder for the page, its rows, figures and trained agents.
    #[arg(long, default_value = "study-report")]
    out: PathBuf,
}

pub(crate) fn run(arguments: &Arguments) -> Result<(), Failure> {
    let effort = effort(arguments.quick);
    let studies = Study::load_all(&arguments.studies, effort);
    perform(studies, &arguments.policies, effort, Subject::Studies, &arguments.out)
}

/// How much `--quick` leaves.
pub(crate) fn effort(quick: bool) -> Effort {
    if quick { Effort::Quick } else { Effort::Full }
}

/// Runs what is missing of the studies, with more policies, under a bar, writes the report, and prints what came of
/// the claims.
pub(crate) fn perform(
    studies: Result<Vec<Study>, StudyError>,
    more: &[PolicyName],
    effort: Effort,
    subject: Subject,
    out: &Path,
) -> Result<(), Failure> {
    let refused = |error: StudyError| Failure::Refused(error.into());
    let studies = studies.and_then(|studies| {
        studies.into_iter().map(|study| study.with_policies(more)).collect::<Result<_, _>>()
    });
    let plan = Plan::new(studies.map_err(refused)?).map_err(refused)?;
    files::create_folder(out)?;
    let interrupted = interruption::flag()?;
    let bar = progress::share("studies", plan.work_left(out));
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
    let claims = experiments::report(&plan.studies, effort, subject, out);
    let claims = claims.map_err(anyhow::Error::from)?;
    if !claims.is_empty() {
        say!("{}", claim_table(&claims));
    }
    say!("{}", out.join("index.html").display());
    Ok(())
}
