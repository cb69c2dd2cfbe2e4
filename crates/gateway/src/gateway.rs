//! Putting the parts together: start and stop.

use std::sync::Arc;
use std::time::Duration;

use dispatch::{Limits, Preloading, ServerSpec};
use futures_util::FutureExt as _;
use scheduling::{Policy, Seconds};
use thiserror::Error;
use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;

use crate::backends::{Backend, Nowhere};
use crate::config::{self, BackendConfig, Config, ConfigError, ServerConfig};
use crate::core::{Core, JournalFactory, Surroundings, Tasks};
use crate::engine::{Running, ShadowPolicy, Starts};
use crate::handle::Handle;
use crate::http::{Caller, Secret, Site, call_back};
use crate::journal::{
    Archive, Confirmed, JournalError, Pictures, Reader, Reads, Sqlite, Unconfirmed,
};
use crate::log::Dropped;
use crate::metrics::Metrics;
use crate::parts::{PartEnded, Parts, Spawner};
use crate::policies::{Policies, PolicyFactory};
use crate::reload::{Reloader, Reloads, Source};
use crate::timeline::WallClock;

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
    pub journal: JournalFactory,
    /// Where pictures are kept, if not in the journal.
    pub pictures: Option<Arc<dyn Pictures>>,
    /// When runs are dispatched.
    pub starts: Starts,
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
            journal: Box::new(|sqlite| Ok(Box::new(sqlite.alone()?))),
            pictures: None,
            starts: Starts::AtOnce,
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
        let refuse = |key: &'static str| move |error| config.refuse(key, error);
        let policy = policies.acting(&config.policy).map_err(refuse("policy"))?;
        let shadow = config.shadow_policy.as_ref().map(|name| {
            let policy = || policies.shadow(name).map_err(refuse("shadow_policy"));
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
    config.check_cluster_files()?;
    // Of an agent nothing can be said from here.
    let backends: BackendFactory = if config.cluster.is_some() {
        let connect = world.backends.clone();
        Arc::new(move |server, config| match &server.backend {
            BackendConfig::Agent {} => Ok(Arc::new(Nowhere)),
            _ => connect(server, config),
        })
    } else {
        world.backends.clone()
    };
    Named::by(config, &world.policies, &backends).map(drop)
}

/// A running gateway that stands alone, without its HTTP side.
pub(crate) struct Gateway {
    /// To ask it, as it was started.
    #[cfg(test)]
    pub handle: Handle,
    /// What it serves, by the configuration of the moment.
    pub site: watch::Receiver<Site>,
    parts: Parts,
    core: Tasks,
}

impl Gateway {
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
        let (policies, caller) = (named.policies.clone(), named.caller.clone());
        let sqlite = Sqlite::open(&config.journal, (world.wall.0)())?;
        let secret = Secret::of(sqlite.path()).map_err(|e| JournalError(e.to_string()))?;
        let unconfirmed = Unconfirmed::default();
        let reader = Reader::open(&config.journal)?.with_pictures(world.pictures.clone());
        let archive: Arc<dyn Archive> = Arc::new(Confirmed::new(reader, unconfirmed.clone()));
        let reads = Reads::new(&archive, sqlite.guard().verdict()).map_err(StartError::Thread)?;
        let metrics = Arc::new(Metrics::of(world.dropped));
        let parts = Parts::new();
        let spawner = parts.spawner();
        let around = Surroundings {
            wall: world.wall,
            journal: world.journal,
            starts: world.starts,
            pictures: world.pictures,
            serving: world.serving,
            metrics: metrics.clone(),
            sets: None,
            unconfirmed,
        };
        let mut core = Core::start(&config, named, sqlite, &*archive, around, spawner)?;
        let reload = Reloads::channel();
        let handle = Handle {
            messages: core.messages.clone(),
            reads: Arc::new(reads),
            policies,
            timeline: core.timeline.clone(),
            metrics,
            objective: Arc::new(config.objective()),
            objectives: config.objectives().into(),
            config,
            caller,
            secret,
            changes: core.changes.clone(),
            view: None,
            missed: watch::channel(()).1,
            reloads: reload.0,
        };
        let reloader = Reloader::new(handle.clone(), world.backends, world.source);
        let site = reloader.site();
        look_back(&mut core, &handle, &site, spawner);
        spawner.spawn("the reader of the configuration", reloader.run(reload.1).map(Ok));
        Ok(Self {
            #[cfg(test)]
            handle,
            site,
            parts,
            core: core.tasks(),
        })
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
        self.core.stop(Running::Finishes, grace).await;
        self.parts.abort();
    }
}

/// Has an engine that has just started remember what was before, and what is still to be told told.
pub(crate) fn look_back(
    core: &mut Core,
    handle: &Handle,
    site: &watch::Receiver<Site>,
    spawner: &Spawner,
) {
    // Nobody waits for it, and it ends when it has been read.
    let read = CancellationToken::new();
    read.cancel();
    let remember = handle.clone().remember(core.before).map(Ok);
    spawner.spawn_until("the reader of what was before", remember, read);
    let untold = std::mem::take(&mut core.untold);
    let ends = std::mem::replace(&mut core.ends, mpsc::unbounded_channel().1);
    spawner.spawn("the teller of ends", call_back(site.clone(), untold, ends));
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
