//! The configuration read again while the gateway serves: all of it takes effect, or nothing.

use std::sync::Arc;

use thiserror::Error;
use tokio::sync::{Notify, mpsc, oneshot, watch};

use crate::config::{Config, ConfigError};
use crate::engine::{Changes, Message, New};
use crate::gateway::{BackendFactory, Named};
use crate::handle::{Handle, Unavailable};
use crate::http::{self, Site};
use crate::policies::PolicyFactory;
use crate::threads::aside;

/// Where the configuration comes from.
pub struct Source {
    /// Reads it, with the policies that fit its servers.
    pub read: ReadConfig,
    /// Told when it is to be read again without anybody waiting for the answer, such as at a signal.
    pub again: Arc<Notify>,
}

/// Reads a configuration.
pub type ReadConfig = Arc<dyn Fn() -> Result<(Config, PolicyFactory), ConfigError> + Send + Sync>;

/// Why the configuration before still holds.
#[derive(Debug, Error)]
pub(crate) enum ReloadError {
    /// There is no file.
    #[error(
        "the gateway was started without a configuration file, so there is nothing to read again"
    )]
    NoSource,
    /// It is wrong.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The gateway has other things to do, or the journal cannot be read.
    #[error(transparent)]
    Unavailable(#[from] Unavailable),
}

/// Who asks for it, and hears what came of it.
type Asked = oneshot::Sender<Result<Changes, ReloadError>>;

/// The way to ask.
#[derive(Clone)]
pub(crate) struct Reloads(mpsc::Sender<Asked>);

impl Reloads {
    /// Reloads that may wait for their turn.
    const WAITING: usize = 16;

    pub(crate) fn channel() -> (Self, mpsc::Receiver<Asked>) {
        let (asks, asked) = mpsc::channel(Self::WAITING);
        (Self(asks), asked)
    }

    /// Reads the configuration again and puts it in place.
    ///
    /// # Errors
    /// [`ReloadError`]; nothing has changed then.
    pub(crate) async fn reload(&self) -> Result<Changes, ReloadError> {
        let (reply, answer) = oneshot::channel();
        let gone = |what| Unavailable::Gateway(format!("the gateway {what}"));
        self.0.try_send(reply).map_err(|_| gone("has reloads enough to do, or shuts down"))?;
        answer.await.unwrap_or_else(|_| Err(gone("shuts down").into()))
    }
}

/// Reads the configuration again, one time after the other.
pub(crate) struct Reloader {
    /// By the configuration of the moment.
    handle: Handle,
    backends: BackendFactory,
    source: Option<Source>,
    site: watch::Sender<Site>,
}

impl Reloader {
    pub(crate) fn new(handle: Handle, backends: BackendFactory, source: Option<Source>) -> Self {
        let (site, _) = watch::channel(Site::new(handle.clone()));
        Self { handle, backends, source, site }
    }

    /// What is served, by the configuration of the moment.
    pub(crate) fn site(&self) -> watch::Receiver<Site> {
        self.site.subscribe()
    }

    /// Reads it whenever it is asked to.
    pub(crate) async fn run(mut self, mut asked: mpsc::Receiver<Asked>) {
        let again = self.source.as_ref().map_or_else(Arc::default, |source| source.again.clone());
        loop {
            let reply = tokio::select! {
                Some(reply) = asked.recv() => Some(reply),
                () = again.notified() => None,
            };
            let result = self.reload().await;
            match &result {
                Ok(Changes { added, kept, removed }) => {
                    tracing::info!(
                        ?added,
                        ?kept,
                        ?removed,
                        "another configuration holds from now on"
                    );
                }
                Err(error) => tracing::error!(%error, "the configuration before still holds"),
            }
            if let Some(reply) = reply {
                // Whoever asked may have gone away.
                let _ = reply.send(result);
            }
        }
    }

    async fn reload(&mut self) -> Result<Changes, ReloadError> {
        let Some(source) = &self.source else { return Err(ReloadError::NoSource) };
        let (read, before) = (source.read.clone(), self.handle.config.clone());
        let backends = self.backends.clone();
        let found = aside(move || {
            let (config, policies) = read()?;
            before.check_successor(&config)?;
            let config = http::fit_descriptors(config.clone())
                .map_err(|error| config.refuse("limits.connections", error))?;
            let named = Named::by(&config, &policies, &backends)?;
            Ok::<_, ConfigError>((Arc::new(config), named))
        });
        let found = found.await.map_err(Unavailable::Gateway)?;
        let (config, Named { policies, policy, shadow, connected: backends, caller }) = found?;
        let past = self.handle.past(config.clone()).await?;
        let new = New { config: config.clone(), policy, shadow, backends, past };
        let new = Box::new(new);
        let changes = self.handle.ask(|reply| Message::Reconfigure { new, reply }).await?;
        self.handle.objective = Arc::new(config.objective());
        self.handle.objectives = config.objectives().into();
        (self.handle.policies, self.handle.config) = (policies, config);
        self.handle.caller = caller;
        let handle = self.handle.clone();
        self.site.send_modify(|site| *site = site.succeeded_by(handle));
        Ok(changes)
    }
}
