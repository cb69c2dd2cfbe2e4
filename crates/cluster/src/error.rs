//! Why a node, an agent or a command cannot go on.

use std::path::PathBuf;

use gateway::StartError;
use gateway::config::ConfigError;
use gateway::journal::{JournalError, ReplicaError};
use thiserror::Error;

/// Why a cluster cannot be used.
#[derive(Debug, Error)]
pub enum ClusterError {
    /// Something in the configuration.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The gateway itself.
    #[error(transparent)]
    Start(StartError),
    /// The journal of this node.
    #[error(transparent)]
    Journal(#[from] JournalError),
    /// The log and the journal of this node do not go together.
    #[error(transparent)]
    Replica(#[from] ReplicaError),
    /// A file cannot be read.
    #[error("{}: {problem}", file.display())]
    File {
        /// Its path.
        file: PathBuf,
        /// What is wrong with it.
        problem: String,
    },
    /// No broker takes us.
    #[error("{brokers}: {problem}")]
    Connect {
        /// Those that were tried.
        brokers: String,
        /// What they say.
        problem: String,
    },
    /// A broker is not fit.
    #[error("broker {broker}: {problem}")]
    Broker {
        /// Its address.
        broker: String,
        /// What is wrong, and what to change.
        problem: String,
    },
    /// Something of the cell is not there.
    #[error("cell {cell}: {problem}")]
    Cell {
        /// Its name.
        cell: String,
        /// What is wrong, and what to do.
        problem: String,
    },
    /// A part has ended that nothing goes on without.
    #[error("{0}")]
    Ended(String),
}

impl From<StartError> for ClusterError {
    fn from(error: StartError) -> Self {
        match error {
            StartError::Config(error) => Self::Config(error),
            StartError::Journal(error) => Self::Journal(error),
            error => Self::Start(error),
        }
    }
}

impl ClusterError {
    /// Whether somebody has to write something else, as opposed to something that does not work.
    pub fn is_refusal(&self) -> bool {
        matches!(self, Self::Config(_) | Self::File { .. } | Self::Broker { .. })
    }
}
