//! What a server has of its own: a worker and a prober.

use std::sync::Arc;

use futures_util::FutureExt as _;
use scheduling::Time;
use tokio::sync::{Notify, mpsc, watch};
use tokio_util::sync::CancellationToken;

use crate::backends::Backend;
use crate::config::{Config, ServerConfig};
use crate::engine::{Attached, Event, Trials};
use crate::health::HealthCounter;
use crate::parts::Spawner;
use crate::previews::Gallery;
use crate::speed::Learned;
use crate::worker::{self, Connection};

/// One stay of a server, from when it comes until it leaves. What another one in its place is told is not
/// meant for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Stay(u64);

/// Starts workers and probers.
pub(crate) struct Foreman {
    events: mpsc::UnboundedSender<Event>,
    parts: Spawner,
    pub(crate) gallery: Gallery,
    stays: u64,
}

impl Foreman {
    pub(crate) fn new(
        events: mpsc::UnboundedSender<Event>,
        parts: Spawner,
        gallery: Gallery,
    ) -> Self {
        Self { events, parts, gallery, stays: 0 }
    }

    /// Starts the worker and the prober of a server.
    pub(crate) fn attach(
        &mut self,
        config: &Config,
        server: &ServerConfig,
        backend: Arc<dyn Backend>,
    ) -> Attached {
        let (name, health) = (server.name.get_ref(), &config.health);
        self.stays += 1;
        let stay = Stay(self.stays);
        let (worker, inbox) = mpsc::unbounded_channel();
        let notify = {
            let events = self.events.clone();
            move |notice| {
                // An engine that is gone needs no news.
                let _ = events.send(Event::Notice(stay, notice));
            }
        };
        let leave = CancellationToken::new();
        let (connect, connection) = watch::channel(config.connection(backend));
        let work =
            worker::work(connection.clone(), inbox, self.gallery.clone(), notify.clone()).map(Ok);
        self.parts.spawn_until(format!("the worker of server {name}"), work, leave.clone());
        let doubt = Arc::new(Notify::new());
        let probe = worker::keep_probing(connection, doubt.clone(), notify);
        let leaving = leave.clone();
        let probe = async move {
            leaving.run_until_cancelled(probe).await;
            Ok(())
        };
        self.parts.spawn_until(format!("the prober of server {name}"), probe, leave.clone());
        Attached {
            name: name.as_str().into(),
            stay: Some(stay),
            leave,
            connect,
            worker,
            health: HealthCounter::new(health.failures, health.successes),
            doubt,
            learned: config.learned(server),
            trials: Trials::new(config),
            busy: Time::ZERO,
            trouble: None,
            failure: None,
            preload: None,
        }
    }
}

impl Config {
    /// How a server is reached.
    pub(crate) fn connection(&self, backend: Arc<dyn Backend>) -> Connection {
        let health = &self.health;
        let (interval, limit) =
            (health.interval_seconds.duration(), health.timeout_seconds.duration());
        Connection { backend, interval, limit }
    }

    /// What is learned of a server, if the configured speeds are not to be kept.
    pub(crate) fn learned(&self, server: &ServerConfig) -> Option<Learned> {
        server.learn_speed.then(|| Learned::new(&self.server(server)))
    }
}
