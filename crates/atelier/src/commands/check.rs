use std::path::PathBuf;

use gateway::World;

use super::serve::{policies, read};
use crate::failure::Failure;
use crate::output::say;

/// Say whether the gateway could be started with a configuration; nothing is started or asked.
///
/// Reads what the configuration names as well: policies, workflows, secrets, certificates.
#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// Configuration file (TOML).
    #[arg(long, default_value = "atelier.toml")]
    config: PathBuf,
}

pub(crate) fn run(arguments: &Arguments) -> Result<(), Failure> {
    let file = &arguments.config;
    let config = read(file)?;
    let world = World::real(policies(&config));
    gateway::check(&config, &world).map_err(|error| Failure::Refused(error.into()))?;
    let counted = |count: usize, of: &str| match count {
        0 => String::new(),
        1 => format!(", 1 {of}"),
        _ => format!(", {count} {of}s"),
    };
    let counts = [
        counted(config.servers.len(), "server"),
        counted(config.models.len(), "model"),
        counted(config.keys.len(), "key"),
    ];
    say!("{} can be served: {}{}", file.display(), config.policy, counts.concat());
    Ok(())
}
