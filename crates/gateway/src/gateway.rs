//! Putting the parts together: start and stop.

use std::sync::Arc;
use std::time::Duration;

use dispatch::{Explanations, Limits, Preloading, Scheduler, ServerSpec};
use futures_util::FutureExt as _;
use scheduling::{Policy, Seconds};
use thiserror::Error;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::attach::Foreman;
use crate::backends::Backend;
use crate::config::{self, Config, ConfigError, ServerConfig};
use crate::engine::{Engine, Event, Message, ShadowPolicy};
use crate::handle::Handle;
use crate::http::{Caller, Secret, Site, call_back};
use crate::journal::{
    Archive, Checkpointer, Confirmed, Damage, Journal, JournalError, Reader, Reads, Report, Sqlite,
    Unconfirmed, Writer,
};
use crate::log::Dropped;
use crate::metrics::Metrics;
use crate::parts::{PartEnded, Parts};
use crate::past::Past;
use crate::policies::{Policies, PolicyFactory};
use crate::previews::Previews;
use crate::reload::{Reloader, Reloads, Source};
use crate::threads::Threads;
use crate::timeline::{Timeline, WallClock};

/// Connects to what stands behind a server.
pub type BackendFactory =
    Arc<dyn Fn(&ServerConfig, &Config) -> Result<Arc<dyn Backend>, ConfigError> + Send + Sync>;

/// What surrounds a gateway; tests put other things in place.
pub struct World {
    /// Policies by name.
    pub policies: PolicyFactory,
    /// Backends by configuration.
    pub backends: BackendFactory,
    /// The date.
    pub wall: WallClock,
    /// Stands between the gateway and its journal.
    pub journal: Box<dyn FnOnce(Sqlite) -> Box<dyn Journal> + Send>,
    /// Hears that nothing stands in the way any more, before the first server is asked.
    pub serving: Box<dyn FnOnce() + Send>,
    /// Lines of the log that were dropped, for the metrics.
    pub dropped: Dropped,
    /// Where the configuration comes from, if it may be read again.
    pub source: Option<Source>,
}

impl World {
    /// The real world, with these policies.
    pub fn real(policies: PolicyFactory) -> Self {
        Self {
            policies,
            backends: Arc::new(config::connect),
            wall: WallClock::SYSTEM,
            journal: Box::new(|sqlite| Box::new(sqlite)),
            serving: Box::new(|| ()),
            dropped: Dropped::default(),
            source: None,
        }
    }
}

/// The gateway could not be started. Nothing was accepted.
#[derive(Debug, Error)]
pub enum StartError {
    /// The journal cannot be used.
    #[error(transparent)]
    Journal(#[from] JournalError),
    /// Something in the configuration cannot be used, such as a checkpoint that is not there.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The listener does not work.
    #[error("listening: {0}")]
    Listen(#[from] std::io::Error),
    /// The system has no thread left.
    #[error("a thread could not be started: {0}")]
    Thread(std::io::Error),
}

/// What a configuration names.
pub(crate) struct Named {
    pub(crate) policies: Policies,
    pub(crate) policy: Box<dyn Policy>,
    pub(crate) shadow: Option<ShadowPolicy>,
    pub(crate) connected: Vec<Arc<dyn Backend>>,
    pub(crate) caller: Option<Arc<Caller>>,
}

impl Named {
    pub(crate) fn by(
        config: &Config,
        policies: &PolicyFactory,
        backends: &BackendFactory,
    ) -> Result<Self, ConfigError> {
        let policies = Policies::new(policies.clone(), config.seed);
        let build = |key: &str, name| policies.build(name).map_err(|e| config.refuse(key, e));
        let policy = build("policy", &config.policy)?;
        let shadow = config.shadow_policy.as_ref().map(|name| {
            let policy = || build("shadow_policy", name);
            Ok::<_, ConfigError>(ShadowPolicy { beside: policy()?, alone: policy()? })
        });
        let shadow = shadow.transpose()?;
        let connect = |server| backends(server, config);
        let connected = config.servers.iter().map(connect).collect::<Result<Vec<_>, _>>()?;
        let caller = Caller::new(config)?.map(Arc::new);
        Ok(Self { policies, policy, shadow, connected, caller })
    }
}

/// Whether a gateway could be started with a configuration, as far as can be said without asking a server
/// and without touching the journal: what it names is read.
///
/// # Errors
/// [`ConfigError`] with file, line and key.
pub fn check(config: &Config, world: &World) -> Result<(), ConfigError> {
    Named::by(config, &world.policies, &world.backends).map(drop)
}

/// A running gateway without its HTTP side.
pub(crate) struct Gateway {
    /// To ask it, as it was started.
    pub handle: Handle,
    /// What it serves, by the configuration of the moment.
    pub site: watch::Receiver<Site>,
    parts: Parts,
    engine: JoinHandle<()>,
    writer: JoinHandle<()>,
    keeper: JoinHandle<()>,
    /// Tells the keeper to stop.
    closing: CancellationToken,
}

impl Gateway {
    /// Most messages that wait for the engine.
    const INBOX: usize = 4096;
    /// How long the journal may take to close.
    const CLOSING: Duration = Duration::from_secs(5);

    /// Opens the journal, connects the servers, asks each once, takes back what had not ended.
    ///
    /// # Errors
    /// [`StartError`]; nothing runs then.
    ///
    /// # Panics
    /// Outside a Tokio runtime.
    pub(crate) fn start(config: Config, world: World) -> Result<Self, StartError> {
        let config = Arc::new(config);
        // What the configuration may have wrong comes before anything is written.
        let named = Named::by(&config, &world.policies, &world.backends)?;
        let Named { policies, policy, shadow, connected, caller } = named;
        let sqlite = Sqlite::open(&config.journal, (world.wall.0)())?;
        let secret = Secret::of(sqlite.path()).map_err(|e| JournalError(e.to_string()))?;
        let unconfirmed = Unconfirmed::default();
        let archive = Confirmed::new(Reader::open(&config.journal)?, unconfirmed.clone());
        let archive: Arc<dyn Archive> = Arc::new(archive);
        let reads = Reads::new(&archive, sqlite.guard().verdict()).map_err(StartError::Thread)?;
        let origin = sqlite.origin();
        let timeline = Timeline::resume(archive.last()?, archive.clocks()?, world.wall);
        let past = Past::read(&*archive, &config)?;
        let (unfinished, untold) = (archive.unfinished()?, archive.untold()?);
        let servers = config.servers.iter().map(|server| config.spec(server)).collect();
        let mut scheduler = Scheduler::new(servers, config.objective(), policy, config.bounds());
        let (beside, alone) = shadow.map(|shadow| (shadow.beside, shadow.alone)).unzip();
        scheduler.set_shadow(beside);
        scheduler.set_objectives(config.objectives());
        scheduler.set_preloading(config.preloading());
        scheduler.set_explanations(Explanations::Told);
        let (events, event_inbox) = mpsc::unbounded_channel();
        let report = {
            let events = events.clone();
            move |report| {
                let _ = events.send(Event::Report(report));
            }
        };
        let checkpointer = vec![Checkpointer::new(&sqlite)?];
        let checkpointer =
            Threads::spawn("journal-keeper", checkpointer).map_err(StartError::Thread)?;
        let (guard, journal) = (sqlite.guard(), (world.journal)(sqlite));
        let (writer, write) = Writer::start(journal, guard, unconfirmed, report.clone())
            .map_err(StartError::Thread)?;
        let parts = Parts::new();
        let spawner = parts.spawner();
        let written = spawner.spawn("the journal's writer", write);
        let closing = CancellationToken::new();
        let keep = keep_journal(checkpointer, closing.clone(), report);
        let keeper = spawner.spawn("the journal's keeper", keep);
        (world.serving)();
        let previews = Previews::default();
        let mut foreman = Foreman::new(events, spawner.clone(), previews.clone());
        let attached = (config.servers.iter().zip(connected))
            .map(|(server, backend)| foreman.attach(&config, server, backend))
            .collect();
        let metrics = Arc::new(Metrics::of(world.dropped));
        let (ends, ended) = mpsc::unbounded_channel();
        let mut engine = Engine::new(
            &config,
            scheduler,
            (timeline.clone(), origin),
            (attached, foreman),
            ends,
            writer,
            metrics.clone(),
        );
        for (server, model, runs) in past.runs {
            engine.relearn(server, model, &runs);
        }
        engine.recall(&past.arrivals);
        if !unfinished.is_empty() {
            tracing::info!(requests = unfinished.len(), "going on with what had not ended");
        }
        engine.restore(unfinished);
        engine.shadowed_by(alone);
        let (messages, message_inbox) = mpsc::channel(Self::INBOX);
        let changes = engine.changes();
        let before = engine.before();
        let engine = spawner.spawn("the engine", engine.run(message_inbox, event_inbox).map(Ok));
        let reload = Reloads::channel();
        let handle = Handle {
            messages,
            reads: Arc::new(reads),
            policies,
            timeline,
            metrics,
            objective: Arc::new(config.objective()),
            objectives: config.objectives().into(),
            config,
            caller,
            secret,
            changes,
            previews,
            reloads: reload.0,
        };
        // Nobody waits for it, and it ends when it has been read.
        let read = CancellationToken::new();
        read.cancel();
        let remember = handle.clone().remember(before).map(Ok);
        spawner.spawn_until("the reader of what was before", remember, read);
        let reloader = Reloader::new(handle.clone(), world.backends, world.source);
        let site = reloader.site();
        spawner.spawn("the teller of ends", call_back(site.clone(), untold, ended));
        spawner.spawn("the reader of the configuration", reloader.run(reload.1).map(Ok));
        Ok(Self { handle, site, parts, engine, writer: written, keeper, closing })
    }

    /// The routes of the moment.
    #[cfg(test)]
    pub(crate) fn router(&self) -> axum::Router {
        self.site.borrow().router.clone()
    }

    /// Resolves when a part has ended that the gateway cannot do without.
    pub(crate) async fn ended(&mut self) -> PartEnded {
        self.parts.ended().await
    }

    /// Stops everything where it is. What was accepted is in the journal.
    pub(crate) fn abort(self) {
        self.parts.abort();
    }

    /// Takes nothing more in, lets what runs finish within `grace`, and writes everything down.
    /// What has not ended by then is in the journal and goes on at the next start.
    pub(crate) async fn stop(self, grace: Duration) {
        let Self { handle, parts, engine, writer, keeper, closing, .. } = self;
        let (reply, _closed) = oneshot::channel();
        let abort = engine.abort_handle();
        let close = async {
            let _ = handle.messages.send(Message::Close { reply }).await;
            engine.await
        };
        if tokio::time::timeout(grace, close).await.is_err() {
            tracing::warn!("some runs did not finish in time: they run again after the next start");
            abort.abort();
        }
        closing.cancel();
        let closed = async {
            let _ = writer.await;
            let _ = keeper.await;
        };
        if tokio::time::timeout(Self::CLOSING, closed).await.is_err() {
            tracing::error!("the journal did not close in time");
        }
        parts.abort();
    }
}

/// Keeps the journal's log short, off the way of those who wait for a commit, and looks whether the
/// files are still there.
async fn keep_journal(
    checkpointer: Threads<Checkpointer>,
    closing: CancellationToken,
    report: impl Fn(Report) + Send,
) -> Result<(), String> {
    /// How often the files are looked at.
    const LOOK: Duration = Duration::from_millis(400);
    /// Looks between two checkpoints.
    const LOOKS: u32 = 5;
    let mut looks = 0u32;
    while closing.run_until_cancelled(tokio::time::sleep(LOOK)).await.is_some() {
        looks += 1;
        match checkpointer.call(|journal| journal.check()).await? {
            Ok(()) => {}
            Err(Damage::Lost(why)) => {
                report(Report::Lost(why));
                closing.cancelled().await;
                break;
            }
            Err(Damage::Unseen(why)) => tracing::warn!(%why, "the journal cannot be looked at"),
        }
        if looks.is_multiple_of(LOOKS)
            && let Err(error) = checkpointer.call(|journal| journal.run()).await?
        {
            tracing::warn!(%error, "the journal's log could not be moved into its file");
        }
    }
    checkpointer.finish().await;
    Ok(())
}

impl Config {
    /// What bounds the scheduler.
    pub(crate) fn bounds(&self) -> Limits {
        let horizon = self.limits.horizon_seconds.seconds();
        Limits {
            waiting: self.limits.waiting as usize,
            attempts: self.limits.attempts,
            horizon: (self.keys.len() > 1).then(|| Seconds::of(horizon)),
        }
    }

    /// A server as the scheduler has it at first.
    pub(crate) fn spec(&self, server: &ServerConfig) -> ServerSpec {
        ServerSpec { server: self.server(server), max_pixels: server.max_pixels }
    }

    /// Whether models are loaded before they are asked for.
    pub(crate) fn preloading(&self) -> Preloading {
        if self.preload { Preloading::Idle } else { Preloading::Off }
    }
}
