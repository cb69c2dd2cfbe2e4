//! A node before it follows: its brokers are fit, its cell is there, and its journal goes with the log.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use gateway::config::{BackendConfig, ClusterConfig};
use gateway::journal::Replica;
use gateway::node::{Node, Place};
use gateway::{BackendFactory, Config, WallClock, World, config};
use tokio::sync::watch;
use tokio::time::Instant;

use super::follow::catch_up;
use super::{Conductor, Outside, refuse};
use crate::cell::Cell;
use crate::connection::{Address, Connection, texts};
use crate::error::ClusterError;
use crate::lease::Lease;
use crate::pictures::NatsPictures;
use crate::remote::{Agents, Remote};
use crate::transport::{ToLeader, roll_call};
use crate::{brokers, snapshot};

impl Conductor {
    /// Starts a node, which neither follows nor leads yet.
    pub(super) async fn start(config: Config, outside: Outside) -> Result<Self, ClusterError> {
        let cluster = config.cluster.clone().expect("whoever calls has looked");
        // What can be wrong with the configuration comes before anybody is asked.
        gateway::check(&config, &World::real(outside.policies.clone()))?;
        let connection = connect(&cluster).await?;
        let cell = tokio::select! {
            cell = Cell::open(&connection) => cell?,
            problem = connection.refusal() => {
                let brokers = texts(&cluster.nats).join(", ");
                return Err(ClusterError::Connect { brokers, problem });
            }
        };
        cell.check_replicas(&connection, cluster.replicas)?;
        meet_others(&connection, &cluster, &config).await?;
        cell.check_lease(&connection, cluster.lease_seconds.seconds()).await?;
        let mut replica = replica(&connection, &cell, &config.journal).await?;
        let subscribe = async |subject: String| {
            let subscribed = connection.client.subscribe(subject).await;
            subscribed.map_err(|error| refuse(&connection, crate::causes(&error)))
        };
        let names = &connection.names;
        // Before the log is read, so that nothing is missed in between.
        let appended = subscribe(names.appended()).await?;
        let changes = subscribe(names.all_changes()).await?;
        let pulses = subscribe(names.pulse()).await?;
        let roll_calls = subscribe(names.roll_call()).await?;
        let (reached, reached_seen) = watch::channel(replica.sequence());
        catch_up(&cell, &mut replica, &reached, |_| ()).await?;
        let agents = Agents::new(connection.clone());
        let secret = cell.link_secret(&connection).await?;
        let place = Place {
            policies: outside.policies,
            backends: backends(&agents),
            wall: WallClock::SYSTEM,
            pictures: Arc::new(NatsPictures::new(connection.clone(), cell.pictures.clone())),
            transport: Arc::new(ToLeader(connection.clone())),
            secret,
            reached: reached_seen,
            dropped: outside.dropped,
            source: outside.source,
        };
        let node = Node::start(config, place)?;
        let name = cluster.name.get_ref().clone();
        let lasts = Duration::from_secs_f64(cluster.lease_seconds.seconds());
        let process = format!("{name} {}", uuid::Uuid::new_v4());
        let lease = Lease::new(cell.lease.clone(), &process, lasts);
        Ok(Self {
            node,
            connection,
            cell,
            cluster,
            replica: Some(replica),
            reached,
            lease,
            agents,
            appended,
            changes,
            pulses,
            roll_calls,
            serving: Some(outside.serving),
            not_before: Instant::now(),
            name,
        })
    }
}

/// Connects to the brokers, if they can be relied on.
async fn connect(cluster: &ClusterConfig) -> Result<Connection, ClusterError> {
    let name = format!("node {}", cluster.name.get_ref());
    let connection = Connection::open(&Address::of(cluster, name)).await?;
    let info = connection.client.server_info();
    let unfit = |problem| ClusterError::Broker { broker: info.server_name.clone(), problem };
    brokers::check_version(&info.version).map_err(unfit)?;
    brokers::check_payload(info.max_payload).map_err(unfit)?;
    brokers::check(&texts(&cluster.monitor)).await?;
    Ok(connection)
}

/// Sees who else is in the cell.
///
/// # Errors
/// [`ClusterError::Cell`] if another node has the same name.
async fn meet_others(
    connection: &Connection,
    cluster: &ClusterConfig,
    config: &Config,
) -> Result<(), ClusterError> {
    /// How long the others may take to answer.
    const MOMENT: Duration = Duration::from_millis(300);
    let others = roll_call(connection, MOMENT).await;
    for other in others.map_err(|problem| refuse(connection, problem))? {
        let (name, own) = (&other.node, cluster.name.get_ref());
        if name == own {
            let problem = format!("node {name:?} runs already: each node needs a name of its own");
            return Err(refuse(connection, problem));
        }
        if other.configuration != config.digest() {
            tracing::warn!(
                node = name,
                "it has another configuration: what holds changes with who leads"
            );
        }
    }
    Ok(())
}

/// Opens the journal, if it goes with the log; one that was away for too long begins anew with a snapshot.
async fn replica(
    connection: &Connection,
    cell: &Cell,
    journal: &Path,
) -> Result<Replica, ClusterError> {
    let now = (WallClock::SYSTEM.0)();
    let replica = Replica::open(journal, now)?;
    let here = replica.sequence();
    let log = cell.extent(connection).await?;
    if log.last < here {
        let log = log.last;
        return Err(refuse(
            connection,
            format!(
                "its log ends at message {log}, and the journal of this node has {here}: the brokers have lost what \
                 they had acknowledged. Stop all nodes, and run \
                 `atelier cluster repair --keep journal` at the one that has most"
            ),
        ));
    }
    if log.first <= here + 1 {
        return Ok(replica);
    }
    let snapshot = snapshot::latest(&cell.snapshots).await;
    let Some(snapshot) = snapshot.filter(|snapshot| snapshot + 1 >= log.first) else {
        let first = log.first;
        return Err(refuse(
            connection,
            format!(
                "its log begins at message {first}, the journal of this node has {here}, and no snapshot is in \
                 between: start a node first whose journal has more"
            ),
        ));
    };
    tracing::info!(
        here,
        snapshot,
        "the journal begins anew with a snapshot, as it was away for long"
    );
    drop(replica);
    snapshot::fetch(&cell.snapshots, connection.names.cell(), journal).await?;
    Ok(Replica::open(journal, now)?)
}

fn backends(agents: &Agents) -> BackendFactory {
    let agents = agents.clone();
    Arc::new(move |server, config| match &server.backend {
        BackendConfig::Agent {} => Ok(Arc::new(Remote::new(agents.clone(), server.name.get_ref()))),
        _ => config::connect(server, config),
    })
}
