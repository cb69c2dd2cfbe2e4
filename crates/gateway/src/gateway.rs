//! Putting the parts together: start and stop.

use std::sync::Arc;
use std::time::Duration;

use scheduling::{Generator, Policy, PolicyName, Purpose};
use thiserror::Error;
use tokio::sync::{Notify, mpsc, oneshot};
use tokio::task::JoinHandle;

use crate::backends::{self, Backend};
use crate::config::{Config, ConfigError, ServerConfig};
use crate::engine::{Attached, Engine, Event, Message, Trials};
use crate::handle::Handle;
use crate::health::{HealthCounter, Rhythm};
use crate::journal::{Archive as _, Checkpointer, Journal, JournalError, Reader, Sqlite, Writer};
use crate::metrics::Metrics;
use crate::scheduler::{Limits, Scheduler, ServerSpec, Speed};
use crate::speed::SpeedEstimator;
use crate::timeline::{Timeline, WallClock};
use crate::worker;

/// Builds a policy of some name; the generator is for those that draw random numbers.
pub type PolicyFactory =
    Arc<dyn Fn(&PolicyName, Generator) -> Result<Box<dyn Policy>, String> + Send + Sync>;

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
}

impl World {
    /// The real world, with these policies.
    pub fn real(policies: PolicyFactory) -> Self {
        Self {
            policies,
            backends: Arc::new(backends::connect),
            wall: WallClock::SYSTEM,
            journal: Box::new(|sqlite| Box::new(sqlite)),
        }
    }
}

/// The policies that need no training.
///
/// # Errors
/// For a trained agent, which is not built here.
pub fn rules(name: &PolicyName, generator: Generator) -> Result<Box<dyn Policy>, String> {
    name.rule(generator)
        .map_err(|path| format!("{name}: no agent is read from {} here", path.display()))
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
}

/// A running gateway without its HTTP side.
pub struct Gateway {
    /// To ask it.
    pub handle: Handle,
    engine: JoinHandle<()>,
    writer: JoinHandle<()>,
    others: Vec<JoinHandle<()>>,
}

impl Gateway {
    /// Most messages that wait for the engine.
    const INBOX: usize = 4096;

    /// Opens the journal, connects the servers, asks each once, takes back what had not ended.
    ///
    /// # Errors
    /// [`StartError`]; nothing runs then.
    ///
    /// # Panics
    /// Outside a Tokio runtime.
    pub fn start(config: Config, world: World) -> Result<Self, StartError> {
        // What the configuration may have wrong comes before anything is written.
        let policies = Policies { factory: world.policies, seed: config.seed };
        let build = |key: &str, name| policies.build(name).map_err(|e| config.refuse(key, e));
        let policy = build("policy", &config.policy)?;
        let shadow = config.shadow_policy.as_ref().map(|name| build("shadow_policy", name));
        let shadow = shadow.transpose()?;
        let connect = |server| (world.backends)(server, &config);
        let connected = config.servers.iter().map(connect).collect::<Result<Vec<_>, _>>()?;
        let sqlite = Sqlite::open(&config.journal, (world.wall.0)())?;
        let archive = Arc::new(Reader::open(&config.journal)?);
        let origin = sqlite.origin();
        let timeline = Timeline::resume(origin, archive.last()?, world.wall);
        let mut scheduler = Scheduler::new(
            config.servers.iter().map(spec).collect(),
            config.objective(),
            policy,
            Limits {
                waiting: config.limits.waiting as usize,
                attempts: config.limits.attempts,
                reference_pixels: config.reference_pixels(),
            },
        );
        scheduler.set_shadow(shadow);
        let (events, event_inbox) = mpsc::unbounded_channel();
        let journal_events = events.clone();
        let (writer, written) = Writer::spawn((world.journal)(sqlite), move |report| {
            let _ = journal_events.send(Event::Report(report));
        });
        let checkpointer = Checkpointer::open(&config.journal)?;
        let mut others = vec![tokio::spawn(keep_checkpointing(checkpointer))];
        let mut attached = Vec::new();
        for (index, (server, backend)) in config.servers.iter().zip(connected).enumerate() {
            let estimator = server.learn_speed.then(|| SpeedEstimator::new(spec(server).speed));
            let (worker, inbox) = mpsc::unbounded_channel();
            let notify = {
                let events = events.clone();
                move |notice| {
                    // An engine that is gone needs no news.
                    let _ = events.send(Event::Notice(notice));
                }
            };
            others.push(tokio::spawn(worker::work(index, backend.clone(), inbox, notify.clone())));
            let health = &config.health;
            let (interval, limit) =
                (health.interval_seconds.duration(), health.timeout_seconds.duration());
            let (rhythm, doubt) = (Rhythm::new(interval), Arc::new(Notify::new()));
            others.push(tokio::spawn(worker::keep_probing(
                index,
                backend,
                rhythm,
                limit,
                doubt.clone(),
                notify,
            )));
            attached.push(Attached {
                name: server.name.get_ref().as_str().into(),
                worker,
                health: HealthCounter::new(health.failures, health.successes),
                doubt,
                estimator,
                trials: Trials::new(&config),
                trouble: None,
            });
        }
        let metrics = Arc::new(Metrics::default());
        let mut engine = Engine::new(
            &config,
            scheduler,
            (timeline.clone(), origin),
            attached,
            writer,
            metrics.clone(),
        );
        for (index, server) in config.servers.iter().enumerate() {
            engine.relearn(
                index,
                archive.completed_runs(server.name.get_ref(), SpeedEstimator::WINDOW)?,
            );
        }
        let unfinished = archive.unfinished()?;
        if !unfinished.is_empty() {
            tracing::info!(requests = unfinished.len(), "going on with what had not ended");
        }
        engine.restore(unfinished);
        let (messages, message_inbox) = mpsc::channel(Self::INBOX);
        let engine = tokio::spawn(engine.run(message_inbox, event_inbox));
        let config = Arc::new(config);
        let handle = Handle { messages, archive, policies, timeline, metrics, config };
        Ok(Self { handle, engine, writer: written, others })
    }

    /// Takes nothing more in, lets what runs finish within `grace`, and writes everything down.
    /// What has not ended by then is in the journal and goes on at the next start.
    pub async fn stop(self, grace: Duration) {
        let Self { handle, engine, writer, others } = self;
        let (reply, _closed) = oneshot::channel();
        let _ = handle.messages.send(Message::Close { reply }).await;
        let abort = engine.abort_handle();
        if tokio::time::timeout(grace, engine).await.is_err() {
            tracing::warn!("some runs did not finish in time: they run again after the next start");
            abort.abort();
        }
        others.iter().for_each(JoinHandle::abort);
        if tokio::time::timeout(Duration::from_secs(5), writer).await.is_err() {
            tracing::error!("the journal did not close in time");
        }
    }
}

/// Keeps the journal's log short, off the way of those who wait for a commit.
async fn keep_checkpointing(mut checkpointer: Checkpointer) {
    loop {
        tokio::time::sleep(Duration::from_secs(2)).await;
        let run = tokio::task::spawn_blocking(move || {
            let result = checkpointer.run();
            (checkpointer, result)
        });
        let Ok((returned, result)) = run.await else { return };
        checkpointer = returned;
        if let Err(error) = result {
            tracing::warn!(%error, "the journal's log could not be moved into its file");
        }
    }
}

fn spec(server: &ServerConfig) -> ServerSpec {
    ServerSpec {
        name: server.name.get_ref().clone(),
        speed: Speed { overhead: server.overhead_seconds, rate: server.steps_per_second },
        max_pixels: server.max_pixels,
    }
}

/// Builds policies, always with the configured seed.
#[derive(Clone)]
pub(crate) struct Policies {
    factory: PolicyFactory,
    seed: u64,
}

impl Policies {
    pub(crate) fn build(&self, name: &PolicyName) -> Result<Box<dyn Policy>, String> {
        (self.factory)(name, Generator::new(self.seed, Purpose::Policy, 0))
    }
}
