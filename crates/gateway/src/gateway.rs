//! Putting the parts together: start and stop.

use std::sync::Arc;
use std::time::Duration;

use dispatch::{Limits, Preloading, Scheduler, ServerSpec};
use futures_util::FutureExt as _;
use scheduling::{Model, Policy, Seconds, Time, Traffic};
use thiserror::Error;
use tokio::sync::{Notify, mpsc, oneshot};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::backends::Backend;
use crate::config::{self, Config, ConfigError, ServerConfig};
use crate::engine::{Attached, Engine, Event, Message, Trials};
use crate::handle::Handle;
use crate::health::{HealthCounter, Rhythm};
use crate::http::Secret;
use crate::journal::{
    Accepted, Archive, Checkpointer, CompletedRun, Confirmed, Damage, Journal, JournalError,
    Reader, Reads, Report, Sqlite, Unconfirmed, Unfinished, Writer,
};
use crate::log::Dropped;
use crate::metrics::Metrics;
use crate::parts::{PartEnded, Parts};
use crate::policies::{Policies, PolicyFactory};
use crate::speed::{Learned, SpeedEstimator};
use crate::threads::Threads;
use crate::timeline::{Timeline, WallClock};
use crate::worker;

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
struct Named {
    policies: Policies,
    policy: Box<dyn Policy>,
    shadow: Option<Box<dyn Policy>>,
    connected: Vec<Arc<dyn Backend>>,
}

impl Named {
    fn by(config: &Config, world: &World) -> Result<Self, ConfigError> {
        let policies = Policies::new(world.policies.clone(), config.seed);
        let build = |key: &str, name| policies.build(name).map_err(|e| config.refuse(key, e));
        let policy = build("policy", &config.policy)?;
        let shadow = config.shadow_policy.as_ref().map(|name| build("shadow_policy", name));
        let shadow = shadow.transpose()?;
        let connect = |server| (world.backends)(server, config);
        let connected = config.servers.iter().map(connect).collect::<Result<Vec<_>, _>>()?;
        Ok(Self { policies, policy, shadow, connected })
    }
}

/// Whether a gateway could be started with a configuration, as far as can be said without asking a server
/// and without touching the journal: what it names is read.
///
/// # Errors
/// [`ConfigError`] with file, line and key.
pub fn check(config: &Config, world: &World) -> Result<(), ConfigError> {
    Named::by(config, world).map(drop)
}

/// A running gateway without its HTTP side.
pub(crate) struct Gateway {
    /// To ask it.
    pub handle: Handle,
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
        let Named { policies, policy, shadow, connected } = Named::by(&config, &world)?;
        let sqlite = Sqlite::open(&config.journal, (world.wall.0)())?;
        let secret = Secret::of(sqlite.path()).map_err(|e| JournalError(e.to_string()))?;
        let unconfirmed = Unconfirmed::default();
        let archive = Confirmed::new(Reader::open(&config.journal)?, unconfirmed.clone());
        let archive: Arc<dyn Archive> = Arc::new(archive);
        let reads = Reads::new(&archive, sqlite.guard().verdict()).map_err(StartError::Thread)?;
        let origin = sqlite.origin();
        let timeline = Timeline::resume(archive.last()?, archive.clocks()?, world.wall);
        let past = Past::read(&*archive, &config)?;
        let servers = config.servers.iter().map(|server| spec(&config, server)).collect();
        let objective = Arc::new(config.objective());
        let mut scheduler = Scheduler::new(servers, (*objective).clone(), policy, limits(&config));
        scheduler.set_shadow(shadow);
        scheduler.set_objectives(config.objectives());
        scheduler.set_preloading(if config.preload { Preloading::Idle } else { Preloading::Off });
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
        let mut parts = Parts::new();
        let written = parts.spawn("the journal's writer", write);
        let closing = CancellationToken::new();
        let keep = keep_journal(checkpointer, closing.clone(), report);
        let keeper = parts.spawn("the journal's keeper", keep);
        (world.serving)();
        let attached = (connected.into_iter().enumerate())
            .map(|(index, backend)| attach(&config, index, backend, &events, &mut parts))
            .collect();
        let metrics = Arc::new(Metrics::of(world.dropped));
        let mut engine = Engine::new(
            &config,
            scheduler,
            (timeline.clone(), origin),
            attached,
            writer,
            metrics.clone(),
        );
        for (server, model, runs) in past.runs {
            engine.relearn(server, model, &runs);
        }
        engine.recall(&past.arrivals);
        if !past.unfinished.is_empty() {
            tracing::info!(requests = past.unfinished.len(), "going on with what had not ended");
        }
        engine.restore(past.unfinished);
        let (messages, message_inbox) = mpsc::channel(Self::INBOX);
        let engine = parts.spawn("the engine", engine.run(message_inbox, event_inbox).map(Ok));
        let reads = Arc::new(reads);
        let objectives = config.objectives().into();
        let handle = Handle {
            messages,
            reads,
            policies,
            timeline,
            metrics,
            config,
            objective,
            objectives,
            secret,
        };
        Ok(Self { handle, parts, engine, writer: written, keeper, closing })
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
        let Self { handle, parts, engine, writer, keeper, closing } = self;
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

/// Starts the worker and the prober of a server.
fn attach(
    config: &Config,
    index: usize,
    backend: Arc<dyn Backend>,
    events: &mpsc::UnboundedSender<Event>,
    parts: &mut Parts,
) -> Attached {
    let (server, health) = (&config.servers[index], &config.health);
    let name = server.name.get_ref();
    let (worker, inbox) = mpsc::unbounded_channel();
    let notify = {
        let events = events.clone();
        move |notice| {
            // An engine that is gone needs no news.
            let _ = events.send(Event::Notice(notice));
        }
    };
    let work = worker::work(index, backend.clone(), inbox, notify.clone()).map(Ok);
    parts.spawn(format!("the worker of server {name}"), work);
    let (interval, limit) = (health.interval_seconds.duration(), health.timeout_seconds.duration());
    let (rhythm, doubt) = (Rhythm::new(interval), Arc::new(Notify::new()));
    let probe = worker::keep_probing(index, backend, rhythm, limit, doubt.clone(), notify).map(Ok);
    parts.spawn(format!("the prober of server {name}"), probe);
    Attached {
        name: name.as_str().into(),
        worker,
        health: HealthCounter::new(health.failures, health.successes),
        doubt,
        learned: server.learn_speed.then(|| Learned::new(&config.server(server))),
        trials: Trials::new(config),
        busy: Time::ZERO,
        trouble: None,
        failure: None,
        preload: None,
    }
}

/// What the journal knows from before the start.
struct Past {
    /// The latest runs of each server with each of its models.
    runs: Vec<(usize, Model, Vec<CompletedRun>)>,
    /// The latest requests accepted.
    arrivals: Vec<Accepted>,
    /// What had not ended.
    unfinished: Vec<Unfinished>,
}

impl Past {
    /// Requests that say what traffic to expect: ten times what the means remember.
    const ARRIVALS: u32 = 10 * Traffic::WINDOW as u32;

    fn read(archive: &dyn Archive, config: &Config) -> Result<Self, JournalError> {
        let mut runs = Vec::new();
        for (index, server) in config.servers.iter().enumerate() {
            for model in Learned::new(&config.server(server)).models() {
                let (name, most) = (server.name.get_ref(), SpeedEstimator::WINDOW);
                let latest = archive.completed_runs(name, config.model_name(model), most)?;
                runs.push((index, model, latest));
            }
        }
        Ok(Self {
            runs,
            arrivals: archive.arrivals(Self::ARRIVALS)?,
            unfinished: archive.unfinished()?,
        })
    }
}

fn limits(config: &Config) -> Limits {
    let horizon = config.limits.horizon_seconds.seconds();
    Limits {
        waiting: config.limits.waiting as usize,
        attempts: config.limits.attempts,
        horizon: (config.keys.len() > 1).then(|| Seconds::of(horizon)),
    }
}

fn spec(config: &Config, server: &ServerConfig) -> ServerSpec {
    ServerSpec { server: config.server(server), max_pixels: server.max_pixels }
}
