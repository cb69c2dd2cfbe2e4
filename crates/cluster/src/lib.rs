//! The gateway on several machines: nodes that share a log, of which one leads, and agents beside the diffusion
//! servers, joined by NATS.
//!
//! [`serve`] runs a node, [`agent`] an agent; [`setup`] writes what brokers, nodes and agents need, and [`admin`] is what
//! an operator asks of a running cell. Nothing of NATS is known outside this room: a node is a [`gateway::node::Node`]
//! whose log, lease, backends, pictures and messages come from here.

pub mod admin;
mod agent;
mod brokers;
mod cell;
mod connection;
mod error;
mod lease;
mod log;
mod node;
mod pictures;
mod remote;
pub mod setup;
mod snapshot;
mod subjects;
mod transport;
mod words;

pub use agent::agent;
pub use error::ClusterError;
pub use node::{Outside, serve};

/// What an error and its causes say, each once.
pub(crate) fn causes(error: &(dyn std::error::Error + 'static)) -> String {
    let mut said = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let text = error.to_string();
        if !said.contains(&text) {
            said = format!("{said}: {text}");
        }
        cause = error.source();
    }
    said
}
