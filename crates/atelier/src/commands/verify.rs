use std::path::PathBuf;

use scheduling::verify::{Order, verify};

use crate::failure::Failure;
use crate::files;
use crate::output::say;

/// Judge rows, whoever made them: does this schedule of the instance obey all rules?
///
/// Prints every violation, a line each; the exit code is 1 if there is one.
#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// Instance file (JSON).
    #[arg(long)]
    instance: PathBuf,
    /// Rows of the schedule (CSV), as `simulate` and `bound` write them.
    #[arg(long)]
    rows: PathBuf,
    /// Let servers run their requests in any order, as eq. (4) alone allows.
    #[arg(long)]
    any_order: bool,
}

pub(crate) fn run(arguments: &Arguments) -> Result<(), Failure> {
    let instance = files::read_instance(&arguments.instance)?;
    let rows = files::read_rows(&arguments.rows, instance.cluster().models())?;
    let order = if arguments.any_order { Order::Any } else { Order::FirstComeFirstServed };
    if let Err(violations) = verify(&instance, &rows, order) {
        for violation in &violations {
            say!("{violation}");
        }
        let problem = anyhow::anyhow!(
            "{} breaks the rules of {}: {}",
            arguments.rows.display(),
            arguments.instance.display(),
            match violations.len() {
                1 => "1 violation".to_owned(),
                many => format!("{many} violations"),
            },
        );
        return Err(Failure::Failed(problem));
    }
    say!("{} requests, all rules obeyed", rows.len());
    Ok(())
}
