//! What an operator asks of a cell: its streams made, how it stands, and a way on when it cannot go on by itself.

use std::path::Path;
use std::time::Duration;

use gateway::Config;
use gateway::config::{BackendConfig, ClusterConfig};
use gateway::journal::Replica;
use serde::Serialize;

use crate::cell::{Cell, Shape, log};
use crate::connection::{Address, Connection, texts};
use crate::error::ClusterError;
use crate::lease::Lease;
use crate::log::extent;
use crate::remote::ask_agent;
use crate::setup;
use crate::transport::{Present, roll_call};
use crate::words::{Ask, Reply, Task};
use crate::{brokers, snapshot};

/// Makes the streams of the cell whose files are in a folder, with the key of its first node, and says which were
/// not there yet.
///
/// # Errors
/// [`ClusterError`]
pub async fn create(folder: &Path, cell: &setup::Cell) -> Result<Vec<String>, ClusterError> {
    let plan = cell.plan();
    let urls = plan.brokers();
    let own = folder.join(&cell.nodes[0].node.name);
    // It may have no servers yet, so it is read for this alone.
    let lease = setup::lease_seconds(&own.join("atelier.toml"))?;
    let connection = Connection::open(&Address {
        brokers: urls.iter().map(String::as_str).collect(),
        cell: &cell.name,
        nkey_file: &own.join("node.nk"),
        ca_file: &own.join("ca.pem"),
        name: "atelier cluster init".into(),
    })
    .await?;
    let monitors = plan.monitors();
    brokers::check(&monitors.iter().map(String::as_str).collect::<Vec<_>>()).await?;
    Cell::make(&connection, Shape { replicas: cell.nodes.len(), lease }).await
}

/// How a cell stands.
#[derive(Debug, Serialize)]
pub struct Status {
    /// Its name.
    pub cell: String,
    /// Its brokers, with what is wrong with each, if anything.
    pub brokers: Vec<Broker>,
    /// Its log.
    pub log: LogStatus,
    /// The nodes that answer.
    pub nodes: Vec<NodeStatus>,
    /// The servers behind agents.
    pub servers: Vec<ServerStatus>,
    /// What is wrong with all of it together.
    pub problems: Vec<String>,
}

/// A broker.
#[derive(Debug, Serialize)]
pub struct Broker {
    /// Where it tells how it is.
    pub monitor: String,
    /// Its name, if it answers.
    pub name: Option<String>,
    /// Its version.
    pub version: Option<String>,
    /// Bytes of memory that it has.
    pub memory: Option<u64>,
    /// What is wrong.
    pub problem: Option<String>,
}

/// The log.
#[derive(Debug, Serialize)]
pub struct LogStatus {
    /// The earliest message.
    pub first: u64,
    /// The latest.
    pub last: u64,
    /// Who has the lease.
    pub leader: Option<String>,
    /// Up to where the latest snapshot goes.
    pub snapshot: Option<u64>,
}

/// A node.
#[derive(Debug, Serialize)]
pub struct NodeStatus {
    /// Its name.
    pub name: String,
    /// `both`, `gateway` or `scheduler`.
    pub role: String,
    /// Whether it leads.
    pub leads: bool,
    /// How far it has followed the log.
    pub sequence: u64,
    /// Of what it runs by.
    pub configuration: String,
    /// Of its program.
    pub version: String,
}

/// A server behind an agent.
#[derive(Debug, Serialize)]
pub struct ServerStatus {
    /// Its name.
    pub name: String,
    /// Its agent, if that answers.
    pub agent: Option<String>,
    /// Steps per second of its latest runs, overhead and all, as the agent has timed them.
    pub steps_per_second: Option<f64>,
    /// Results that are not confirmed yet.
    pub kept: Option<usize>,
    /// What is wrong.
    pub problem: Option<String>,
}

/// Asks brokers, nodes and agents how they are.
///
/// # Errors
/// [`ClusterError`] if the cell cannot be asked.
pub async fn status(config: &Config, cluster: &ClusterConfig) -> Result<Status, ClusterError> {
    let connection =
        Connection::open(&Address::of(cluster, "atelier cluster status".into())).await?;
    let brokers = brokers::ask(&texts(&cluster.monitor)).await.into_iter();
    let brokers: Vec<_> = brokers
        .map(|(monitor, told)| match told {
            Ok((told, apart)) => Broker {
                monitor: monitor.into(),
                problem: told.is_fit(apart).err(),
                name: Some(told.server_name),
                version: Some(told.version),
                memory: Some(told.mem),
            },
            Err(problem) => Broker {
                monitor: monitor.into(),
                name: None,
                version: None,
                memory: None,
                problem: Some(problem),
            },
        })
        .collect();
    let cell = Cell::open(&connection).await?;
    let refuse = |problem| ClusterError::Cell { cell: cluster.cell.get_ref().clone(), problem };
    let extent = extent(&cell.log).await.map_err(refuse)?;
    let holder = Lease::new(cell.lease.clone(), "", Duration::ZERO).holder().await.ok().flatten();
    // Behind its name there is that of its process.
    let leader = holder.and_then(|name| name.split(' ').next().map(Into::into));
    let log = LogStatus {
        first: extent.first,
        last: extent.last,
        leader,
        snapshot: snapshot::latest(&cell.snapshots).await,
    };
    let nodes = nodes(&connection).await.map_err(refuse)?;
    let remote = config.servers.iter().filter(|s| matches!(s.backend, BackendConfig::Agent {}));
    let servers = futures_util::future::join_all(remote.map(|server| {
        let (connection, name) = (connection.clone(), server.name.get_ref().clone());
        async move { server_status(&connection, name).await }
    }))
    .await;
    let problems = problems(&log, &nodes);
    Ok(Status { cell: cluster.cell.get_ref().clone(), brokers, log, nodes, servers, problems })
}

/// What is wrong with the nodes together.
fn problems(log: &LogStatus, nodes: &[NodeStatus]) -> Vec<String> {
    let mut problems = Vec::new();
    let leaders = nodes.iter().filter(|node| node.leads).count();
    if leaders == 0 {
        problems.push("no node leads: nothing is accepted at the moment".into());
    }
    if nodes.iter().any(|node| node.configuration != nodes[0].configuration) {
        problems.push(
            "nodes have different configurations: what holds changes with the node that leads"
                .into(),
        );
    }
    for node in nodes {
        let behind = log.last.saturating_sub(node.sequence);
        if behind > 1_000 {
            problems.push(format!("node {} is {behind} messages behind the log", node.name));
        }
    }
    problems
}

/// Who is there.
async fn nodes(connection: &Connection) -> Result<Vec<NodeStatus>, String> {
    let present = roll_call(connection, Duration::from_secs(1)).await?;
    let node = |present: Present| {
        let Present { node: name, role, leads, sequence, configuration, version, .. } = present;
        NodeStatus { name, role, leads, sequence, configuration, version }
    };
    let mut nodes: Vec<_> = present.into_iter().map(node).collect();
    nodes.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(nodes)
}

async fn server_status(connection: &Connection, name: String) -> ServerStatus {
    let ask = Ask { epoch: 0, task: Task::Probe };
    let reply = ask_agent(connection, &name, &ask, Duration::from_secs(3)).await;
    let nothing = |problem: String| ServerStatus {
        name: name.clone(),
        agent: None,
        steps_per_second: None,
        kept: None,
        problem: Some(problem),
    };
    match reply {
        Ok(Reply::Probe(Ok(condition))) => ServerStatus {
            agent: Some(condition.agent),
            steps_per_second: condition.speed,
            kept: Some(condition.kept),
            problem: None,
            ..nothing(String::new())
        },
        Ok(Reply::Probe(Err(trouble))) => {
            nothing(gateway::backends::BackendError::from(trouble).to_string())
        }
        Ok(_) => nothing("its agent answers something else".into()),
        Err(error) => nothing(error.to_string()),
    }
}

/// What [`repair`] has done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Repaired {
    /// Nothing: all is of one piece.
    Nothing,
    /// The journal of this node was put aside and begins anew, with the snapshot or the log.
    Journal,
    /// The log was made anew from this journal, and goes on behind this message.
    Log(u64),
}

/// What may be given up where log and journal do not go together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Keep {
    /// The log holds: the journal of this node is made anew.
    Log,
    /// The journal of this node holds, as the brokers have lost what it has: the log is made anew.
    Journal,
}

/// Puts the journal of this node and the log together again, while no node of the cell runs that has lost something.
///
/// # Errors
/// [`ClusterError`]; nothing has changed then, as far as can be said.
pub async fn repair(
    config: &Config,
    cluster: &ClusterConfig,
    keep: Keep,
) -> Result<Repaired, ClusterError> {
    let connection =
        Connection::open(&Address::of(cluster, "atelier cluster repair".into())).await?;
    let cell = Cell::open(&connection).await?;
    let refuse = |problem: String| {
        let cell = cluster.cell.get_ref().clone();
        ClusterError::Cell { cell, problem }
    };
    let extent = extent(&cell.log).await.map_err(refuse)?;
    let now = (gateway::WallClock::SYSTEM.0)();
    // Held to the end: whoever has it open is to be stopped first.
    let replica = Replica::open(&config.journal, now)?;
    let sequence = replica.sequence();
    match keep {
        Keep::Log => {
            if sequence > extent.last {
                let last = extent.last;
                return Err(refuse(format!(
                    "the journal of this node has {sequence} messages and the log {last}: what is more would be lost. \
                     Allowed is --keep journal, or to move {} away by hand",
                    config.journal.display()
                )));
            }
            if extent.first <= sequence + 1
                && follows(&cell, replica, extent.last).await.map_err(refuse)?
            {
                return Ok(Repaired::Nothing);
            }
            if extent.first > 1 {
                let found = snapshot::latest(&cell.snapshots).await;
                if found.is_none_or(|found| found + 1 < extent.first) {
                    return Err(refuse(format!(
                        "the log begins at message {}, and there is no snapshot of what was before: copy the journal \
                         of another node here",
                        extent.first
                    )));
                }
                snapshot::fetch(&cell.snapshots, cluster.cell.get_ref(), &config.journal).await?;
            } else {
                snapshot::put_aside(&config.journal).map_err(|error| ClusterError::File {
                    file: config.journal.clone(),
                    problem: error.to_string(),
                })?;
            }
            Ok(Repaired::Journal)
        }
        Keep::Journal => {
            if sequence < extent.last {
                return Err(refuse(format!(
                    "the log has {} messages, and the journal of this node {sequence}: another node has more, or the \
                     log holds. Nothing was changed",
                    extent.last
                )));
            }
            if extent.first == sequence + 1 && extent.last == sequence {
                return Ok(Repaired::Nothing);
            }
            let latest = crate::log::behind(&cell.log, sequence, extent.last, 1).await;
            let latest = latest.map_err(refuse)?;
            if latest.first().is_some_and(|(_, message)| replica.ends_with(message)) {
                return Ok(Repaired::Nothing);
            }
            let nodes = nodes(&connection).await.map_err(refuse)?;
            let holder = Lease::new(cell.lease.clone(), "", Duration::ZERO).holder().await;
            let running = nodes.into_iter().map(|node| node.name).next();
            if let Some(node) = running.or(holder.map_err(refuse)?) {
                return Err(refuse(format!(
                    "node {node} runs, or did a moment ago: stop all nodes first"
                )));
            }
            snapshot::put(&cell.snapshots, &config.journal).await.map_err(refuse)?;
            let replicas = cell.log.cached_info().config.num_replicas;
            let said = |error: &(dyn std::error::Error + 'static)| {
                refuse(format!(
                    "{}: what there was of the log may be gone: run the same again",
                    crate::causes(error)
                ))
            };
            let streams = &connection.streams;
            streams.delete_stream(connection.names.log()).await.map_err(|error| said(&error))?;
            let shape = Shape { replicas, lease: Duration::ZERO };
            let anew = log(&connection, shape, Some(sequence + 1));
            streams.create_stream(anew).await.map_err(|error| said(&error))?;
            drop(replica);
            Ok(Repaired::Log(sequence))
        }
    }
}

/// Whether the log goes on from where a journal is. The journal may be one message further then.
async fn follows(cell: &Cell, mut replica: Replica, last: u64) -> Result<bool, String> {
    let next = crate::log::behind(&cell.log, replica.sequence() + 1, last, 1).await?;
    Ok(next.is_empty() || replica.apply(&next).is_ok())
}
