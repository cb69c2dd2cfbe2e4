use std::path::{Path, PathBuf};

use experiments::{Study, Subject};
use scheduling::PolicyName;

use crate::commands::study::{effort, perform};
use crate::failure::Failure;
use crate::files;

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
    /// One more policy in every figure, such as `file[mine.py]`; may be given several times.
    #[arg(long = "policy", value_name = "POLICY")]
    policies: Vec<PolicyName>,
}

/// Where studies are looked for unless told.
const FOLDER: &str = "studies";

pub(crate) fn run(arguments: &Arguments) -> Result<(), Failure> {
    let out = &arguments.out;
    files::create_folder(out)?;
    let effort = effort(arguments.quick);
    let studies = match &arguments.studies {
        Some(folder) => Study::load_folder(folder, effort),
        None if Path::new(FOLDER).is_dir() => Study::load_folder(Path::new(FOLDER), effort),
        None => Study::built_in(&out.join("inputs"), effort),
    };
    perform(studies, &arguments.policies, effort, Subject::Paper, out)
}
