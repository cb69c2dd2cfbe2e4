//! A node: it follows the log, takes the lease when nobody has it, and leads for as long as the log lets it.

mod follow;
mod lead;
mod start;

use std::time::Duration;

use async_nats::Subscriber;
use futures_util::future::join_all;
use gateway::config::ClusterConfig;
use gateway::journal::Replica;
use gateway::node::Node;
use gateway::{Config, PolicyFactory, Source};
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::cell::Cell;
use crate::connection::Connection;
use crate::error::ClusterError;
use crate::lease::Lease;
use crate::remote::Agents;

/// What surrounds a node.
pub struct Outside {
    /// Policies by name.
    pub policies: PolicyFactory,
    /// Lines of the log that were dropped, for the metrics.
    pub dropped: gateway::log::Dropped,
    /// Where the configuration comes from, if it may be read again.
    pub source: Option<Source>,
    /// Hears that the node serves.
    pub serving: Box<dyn FnOnce() + Send>,
}

/// Runs a node until `shutdown` resolves, and with it nodes of other cells that the same gateway answers for. If one
/// leads, another one does from then on.
///
/// # Errors
/// [`ClusterError`] if one cannot be started, or cannot go on.
pub async fn serve(
    config: Config,
    outside: Outside,
    others: Vec<(Config, Outside)>,
    listener: TcpListener,
    shutdown: impl Future<Output = ()>,
) -> Result<(), ClusterError> {
    check_cells(&config, &others)?;
    let conductor = Box::pin(Conductor::start(config, outside)).await?;
    let mut beside = Vec::new();
    for (config, outside) in others {
        beside.push(Box::pin(Conductor::start(config, outside)).await?);
    }
    let stopping = CancellationToken::new();
    let until = stopping.clone();
    let last = conductor.node.config().limits.shutdown_seconds.seconds();
    let last = Duration::from_secs_f64(last);
    let nodes: Vec<_> = beside.iter().map(|conductor| &conductor.node).collect();
    let closing = async move { until.cancelled().await };
    let mut serving = tokio::spawn(conductor.node.serve(&nodes, listener, closing, last));
    let all = [conductor].into_iter().chain(beside);
    // Each goes on by itself; what ends one ends all.
    let conducted = all.map(|mut conductor| {
        let stopping = stopping.clone();
        async move {
            let ended = conductor.conduct(&stopping).await;
            stopping.cancel();
            (conductor, ended)
        }
    });
    let conducted = join_all(conducted);
    tokio::pin!(conducted, shutdown);
    let conducted = tokio::select! {
        conducted = &mut conducted => conducted,
        () = &mut shutdown => {
            stopping.cancel();
            conducted.await
        }
    };
    let (mut nodes, ended): (Vec<_>, Vec<_>) = conducted.into_iter().unzip();
    let mut ended = ended.into_iter().collect::<Result<Vec<()>, _>>().map(drop);
    if ended.is_ok() {
        // Answers that are under way come from whoever leads now, for whom this one still listens.
        let follow = join_all(nodes.iter_mut().map(Conductor::only_follow));
        tokio::select! {
            _ = &mut serving => {}
            followed = follow => ended = followed.into_iter().collect(),
        }
        tracing::info!("stopped");
    }
    serving.abort();
    for conductor in nodes {
        conductor.node.abort();
    }
    ended
}

/// Each cell has a name of its own, of which identifiers carry a part.
fn check_cells(own: &Config, others: &[(Config, Outside)]) -> Result<(), ClusterError> {
    let mut cells: Vec<&str> = own.cell().into_iter().collect();
    for (config, _) in others {
        let refuse = |problem: String| ClusterError::Config(own.refuse("cluster.others", problem));
        let Some(cell) = config.cell() else {
            return Err(refuse("one of them has no [cluster]".into()));
        };
        if cells.contains(&cell) {
            return Err(refuse(format!(
                "there are two cells {cell:?}: each needs a name of its own"
            )));
        }
        if let Some(other) = cells.iter().find(|other| gateway::node::look_alike(other, cell)) {
            return Err(refuse(format!(
                "identifiers of the cells {other:?} and {cell:?} would look alike: give one of them another name"
            )));
        }
        if config.journal == own.journal {
            let journal = config.journal.display();
            return Err(refuse(format!(
                "{journal} is the journal of two cells: each needs one of its own"
            )));
        }
        cells.push(cell);
    }
    for key in &own.keys {
        if let Some(home) = key.cell.as_deref().filter(|home| !cells.contains(home)) {
            let position = own.keys.iter().position(|other| other.name == key.name).unwrap_or(0);
            let problem = format!("{home:?}: there are {}", cells.join(", "));
            return Err(ClusterError::Config(own.refuse(&format!("key.{position}.cell"), problem)));
        }
    }
    Ok(())
}

/// One node of the cell, and what it is made of.
struct Conductor {
    node: Node,
    connection: Connection,
    cell: Cell,
    cluster: ClusterConfig,
    /// None while it leads: its journal is then open elsewhere.
    replica: Option<Replica>,
    reached: watch::Sender<u64>,
    lease: Lease,
    agents: Agents,
    appended: Subscriber,
    changes: Subscriber,
    pulses: Subscriber,
    roll_calls: Subscriber,
    /// The name in pulses.
    name: String,
}

/// Why a node does not follow any more.
enum Followed {
    /// It has the lease.
    MayLead,
    Stop,
}

/// How a leadership has ended.
enum Led {
    /// Another one leads, or may.
    Deposed,
    Stop,
}

impl Conductor {
    /// Follows and leads by turns until it is to stop.
    async fn conduct(&mut self, stopping: &CancellationToken) -> Result<(), ClusterError> {
        loop {
            match self.follow(stopping).await? {
                Followed::Stop => return Ok(()),
                Followed::MayLead => {}
            }
            let leads = self.claim().await?;
            let led = if leads { self.lead(stopping).await } else { Ok(Led::Deposed) };
            // Whoever has the lease and does not lead keeps others from it.
            self.lease.release().await;
            self.resume().await?;
            if let Led::Stop = led? {
                return Ok(());
            }
        }
    }
}

fn refuse(connection: &Connection, problem: String) -> ClusterError {
    ClusterError::Cell { cell: connection.names.cell().into(), problem }
}
