use std::path::PathBuf;

use anyhow::Context;
use gateway::config::AgentConfig;
use tokio::runtime::Runtime;

use crate::commands::cluster::failure;
use crate::commands::serve::LAST_LINES;
use crate::failure::Failure;
use crate::interruption::terminated;

/// Run an agent beside diffusion servers, for a gateway on several machines.
#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// Configuration file (TOML), as `atelier cluster add-agent` writes one.
    #[arg(long, default_value = "agent.toml")]
    config: PathBuf,
}

pub(crate) fn run(arguments: &Arguments) -> Result<(), Failure> {
    let config = AgentConfig::read(&arguments.config).map_err(|e| Failure::Refused(e.into()))?;
    let log = crate::log::start().context("cannot start the log")?;
    let runtime = Runtime::new().context("cannot start the threads")?;
    let lines = log.clone();
    let servers: Vec<_> =
        config.gateway().servers.iter().map(|server| server.name.get_ref().clone()).collect();
    let started = move |name: &str| {
        lines.say(&format!("agent {name} serves {}", servers.join(", ")));
    };
    let agent = async { cluster::agent(config, started, terminated()).await };
    let result = runtime.block_on(agent).map_err(failure);
    // A thread that hangs holds nothing up.
    runtime.shutdown_background();
    log.flush(LAST_LINES);
    result
}
