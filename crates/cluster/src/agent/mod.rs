//! The agent beside diffusion servers: it reaches the brokers from where it is, and nobody has to reach it.
//!
//! It runs what whoever leads asks for, and keeps what came of it, on the disk, until it hears that it is kept elsewhere.

mod keep;
mod seat;

use std::sync::Arc;
use std::time::Duration;

use gateway::config::{self, AgentConfig};
use tokio::sync::Notify;

use self::keep::Keep;
use self::seat::Seat;
use crate::connection::{Address, Connection, check_ca, texts};
use crate::error::ClusterError;

/// Runs an agent until `shutdown` resolves. What runs then is found again at the next start, where its server can.
///
/// # Errors
/// [`ClusterError`], also when the brokers know the agent no more.
pub async fn agent(
    config: AgentConfig,
    started: impl FnOnce(&str),
    shutdown: impl Future<Output = ()>,
) -> Result<(), ClusterError> {
    let cluster = &config.cluster;
    check_ca(&cluster.ca_file)?;
    let keep = Keep::open(&config.state)
        .map_err(|problem| ClusterError::File { file: config.state.clone(), problem })?;
    let mut backends = Vec::new();
    for server in &config.gateway().servers {
        let backend = config::connect(server, config.gateway())?;
        backends.push((server.name.get_ref().clone(), backend));
    }
    let brokers = texts(&cluster.nats);
    let connection = Connection::open(&Address {
        brokers: brokers.clone(),
        cell: &cluster.cell,
        nkey_file: &cluster.nkey_file,
        ca_file: &cluster.ca_file,
        name: format!("agent {}", config.name),
    })
    .await?;
    let broken = Arc::new(Notify::new());
    let mut seats = Vec::new();
    for (server, backend) in backends {
        let seat = Seat::new(&config.name, &server, backend, connection.clone(), keep.clone());
        let broken = broken.clone();
        seats.push(tokio::spawn(async move {
            if let Err(error) = seat.run().await {
                tracing::error!(server, error, "a server's part of the agent has ended");
                broken.notify_one();
            }
        }));
    }
    started(&config.name);
    let brokers = brokers.join(", ");
    let ended = tokio::select! {
        () = shutdown => Ok(()),
        problem = connection.refusal() => Err(ClusterError::Connect { brokers, problem }),
        () = broken.notified() => Err(ClusterError::Ended("a part of the agent has ended".into())),
    };
    seats.iter().for_each(tokio::task::JoinHandle::abort);
    let _ = tokio::time::timeout(Duration::from_secs(1), connection.client.flush()).await;
    ended
}
