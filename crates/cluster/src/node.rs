//! A node: it follows the log, takes the lease when nobody has it, and leads for as long as the log lets it.

mod follow;
mod lead;
mod start;

use std::time::Duration;

use async_nats::Subscriber;
use futures_util::StreamExt as _;
use futures_util::stream::FuturesUnordered;
use gateway::config::ClusterConfig;
use gateway::journal::Replica;
use gateway::node::Node;
use gateway::{Config, PolicyFactory, Source};
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::time::Instant;
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
    tokio::pin!(shutdown);
    let starting = async {
        let mut own = Box::pin(Conductor::start(config, outside)).await?;
        let mut beside = Vec::new();
        for (config, outside) in others {
            let cell = config.cell().unwrap_or_default().to_owned();
            // One cell that cannot be reached is no reason to keep from serving another one.
            match Box::pin(Conductor::start(config, outside)).await {
                Ok(conductor) => beside.push(conductor),
                Err(error) => tracing::error!(cell, %error, "nobody answers for this cell here"),
            }
        }
        (own.serving.take().expect("it is called once"))();
        Ok::<_, ClusterError>((own, beside))
    };
    let (mut own, beside) = tokio::select! {
        started = starting => started?,
        () = &mut shutdown => return Ok(()),
    };
    let stopping = CancellationToken::new();
    let until = stopping.clone();
    let last = Duration::from_secs_f64(own.node.config().limits.shutdown_seconds.seconds());
    let nodes: Vec<_> = beside.iter().map(|conductor| &conductor.node).collect();
    let closing = async move { until.cancelled().await };
    let mut serving = tokio::spawn(own.node.serve(&nodes, listener, closing, last));
    let conduct = |conductor: Conductor| conductor.conduct_beside(stopping.clone());
    let mut beside: FuturesUnordered<_> = beside.into_iter().map(conduct).collect();
    let mut ended = {
        let conducted = own.conduct(&stopping);
        tokio::pin!(conducted);
        loop {
            tokio::select! {
                conducted = &mut conducted => break conducted,
                () = &mut shutdown, if !stopping.is_cancelled() => stopping.cancel(),
                Some(()) = beside.next() => {}
            }
        }
    };
    stopping.cancel();
    if ended.is_ok() {
        // Answers that are under way come from whoever leads now, for whom this one still listens.
        let beside = async {
            while beside.next().await.is_some() {}
            std::future::pending::<()>().await;
        };
        tokio::select! {
            _ = &mut serving => {}
            followed = own.only_follow() => ended = followed,
            () = beside => {}
        }
        tracing::info!("stopped");
    }
    serving.abort();
    own.node.abort();
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
    /// Hears that the node serves.
    serving: Option<Box<dyn FnOnce() + Send>>,
    /// It does not try to lead before.
    not_before: Instant,
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
    /// The same for another cell than that of the gateway, which goes on without it where it fails.
    async fn conduct_beside(mut self, stopping: CancellationToken) {
        loop {
            let cell = self.cluster.cell.get_ref().clone();
            match self.conduct(&stopping).await {
                Ok(()) => break,
                Err(error) => tracing::error!(cell, %error, "tried again in a while"),
            }
            if stopping.run_until_cancelled(tokio::time::sleep(REST)).await.is_none() {
                break;
            }
        }
        let _ = self.only_follow().await;
    }

    /// Follows and leads by turns until it is to stop.
    async fn conduct(&mut self, stopping: &CancellationToken) -> Result<(), ClusterError> {
        self.resume().await?;
        loop {
            match self.follow(stopping).await? {
                Followed::Stop => return Ok(()),
                Followed::MayLead => {}
            }
            if let Err(error) = self.node.could_lead() {
                tracing::error!(%error, "this node cannot lead");
                self.lease.release().await;
                self.not_before = Instant::now() + REST;
                continue;
            }
            let leads = self.claim().await?;
            let led = if leads { self.lead(stopping).await } else { Ok(Led::Deposed) };
            // Whoever has the lease and does not lead keeps others from it.
            self.lease.release().await;
            let led = led?;
            self.resume().await?;
            if let Led::Stop = led {
                return Ok(());
            }
        }
    }
}

/// How long a node that cannot lead leaves that to others, or one of another cell that has failed is left alone.
const REST: Duration = Duration::from_secs(30);

fn refuse(connection: &Connection, problem: String) -> ClusterError {
    ClusterError::Cell { cell: connection.names.cell().into(), problem }
}
