//! File descriptors: as many as are needed if the system allows it, fewer connections otherwise.

use std::io;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use super::places::Places;
use crate::config::Config;

/// Descriptors of the journal and its readers, the listener, the log, and what a runtime needs.
const OWN: u64 = 96;
/// Descriptors of a server: its run, its probe, a cancellation, and connections that are kept.
const PER_SERVER: u64 = 16;
/// With fewer connections a gateway is of no use.
const FEWEST: u32 = 16;

/// Raises the limit on open files as far as is needed. Where that is not allowed, connections are
/// reduced so that servers and journal keep their share, and the log says so.
///
/// # Errors
/// If the limit leaves no room for any connections.
pub(crate) fn fit_descriptors(mut config: Config) -> io::Result<Config> {
    let needed = needed(&config, config.limits.connections);
    let allowed = raise(needed);
    let connections = (FEWEST.min(config.limits.connections)..=config.limits.connections)
        .rev()
        .find(|connections| self::needed(&config, *connections) <= allowed);
    match connections {
        Some(connections) if connections < config.limits.connections => {
            tracing::warn!(
                connections,
                configured = config.limits.connections,
                open_files = allowed,
                needed,
                "fewer connections than configured, as the limit on open files is low: ulimit -n"
            );
            config.limits.connections = connections;
            Ok(config)
        }
        Some(_) => Ok(config),
        None => Err(io::Error::other(format!(
            "the limit on open files (ulimit -n) is {allowed}: allowed is from {} for {} servers",
            self::needed(&config, FEWEST),
            config.servers.len()
        ))),
    }
}

fn needed(config: &Config, connections: u32) -> u64 {
    let connections = u64::from(connections) + u64::from(Places::reserve(connections));
    OWN + PER_SERVER * config.servers.len() as u64 + connections
}

/// Raises the limit to what is needed, or as far as is allowed, and says how far that is.
fn raise(needed: u64) -> u64 {
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    let enough = |limit: Option<u64>| limit.is_none_or(|limit| limit >= needed);
    if enough(current) {
        return needed;
    }
    let raised = maximum.map_or(needed, |maximum| maximum.min(needed));
    match setrlimit(Resource::Nofile, Rlimit { current: Some(raised), maximum }) {
        Ok(()) => raised,
        Err(_) => current.unwrap_or(needed),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn backends_and_journal_keep_their_share() {
        let config = Config::demo();
        assert_eq!(needed(&config, 1024), 1024 + 64 + 96 + 3 * 16);
        assert_eq!(needed(&config, 16), 16 + 4 + 96 + 3 * 16);
    }
}
