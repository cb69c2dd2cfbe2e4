use std::fs;
use std::path::PathBuf;
use std::sync::Arc;

use anyhow::Context;
use gateway::calibrate::{calibrate, write_into};
use tokio::runtime::Runtime;

use crate::commands::serve;
use crate::failure::Failure;
use crate::files::Destination;
use crate::output::say;

/// Measure the configured servers and write their speeds into the configuration.
///
/// Each server paints two pictures to warm up and six that are measured; the rest of the file stays
/// as it is.
#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// Configuration file (TOML).
    #[arg(long, default_value = "atelier.toml")]
    config: PathBuf,
}

pub(crate) fn run(arguments: &Arguments) -> Result<(), Failure> {
    let config = serve::read(&arguments.config)?;
    let text = fs::read_to_string(&arguments.config)
        .with_context(|| format!("cannot read {}", arguments.config.display()))?;
    let out = Destination::open(&arguments.config)?;
    let runtime = Runtime::new().context("cannot start the threads")?;
    let connect: gateway::BackendFactory = Arc::new(gateway::config::connect);
    let measured = runtime
        .block_on(calibrate(&config, &connect, |measured| {
            let model = measured.model.as_ref().map_or(String::new(), |model| format!(", {model}"));
            let load = measured
                .load
                .map_or(String::new(), |load| format!(", {:.2} s to load", load.seconds()));
            say!(
                "{}{model}: {:.2} steps/s and {:.2} s of overhead{load}, from {} runs",
                measured.server,
                measured.speed.rate.steps_per_second(),
                measured.speed.overhead.seconds(),
                measured.runs.len(),
            );
        }))
        .map_err(anyhow::Error::from)?;
    let text = write_into(&text, &measured).map_err(anyhow::Error::msg)?;
    out.write(&text)
}
