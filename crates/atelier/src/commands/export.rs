use std::path::PathBuf;

use gateway::export::export;

use crate::commands::serve;
use crate::failure::Failure;
use crate::files::Destination;
use crate::output::say;

/// Turn a gateway's journal into an instance that `simulate`, `evaluate`, `train`, `tune` and `bound` read.
///
/// Works beside a running gateway.
#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// Configuration file of the gateway (TOML).
    #[arg(long, default_value = "atelier.toml")]
    config: PathBuf,
    /// Instance file to write (JSON).
    #[arg(long)]
    out: PathBuf,
}

pub(crate) fn run(arguments: &Arguments) -> Result<(), Failure> {
    let config = serve::read(&arguments.config)?;
    let out = Destination::open(&arguments.out)?;
    let exported = export(&config.journal, &config)
        .map_err(|error| Failure::refused(config.journal.display(), error))?;
    out.write(&exported.instance.to_json())?;
    say!("{} requests", exported.instance.requests().len());
    if exported.untaken > 0 {
        say!("{} left out: no server takes them any more", exported.untaken);
    }
    Ok(())
}
