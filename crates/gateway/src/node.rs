//! A gateway on one of several machines: it takes requests in, follows the log that all of them share, and leads when
//! it is told to. How the machines reach one another, and which of them leads, is for others to say ([`Transport`],
//! [`Node::lead`]).

mod leading;
mod mirror;
mod relay;
mod wire;

use std::sync::Arc;
use std::time::Duration;

use dispatch::RequestId;
use futures_util::FutureExt as _;
use scheduling::{Seconds, Time};
use tokio::net::TcpListener;
use tokio::sync::{mpsc, watch};

pub use self::leading::{Answers, Leadership, News, Set, Told};
use self::mirror::Mirror;
pub use self::relay::{Hold, Transport};
use self::relay::{Relay, Route};
use crate::config::{Config, ConfigError};
use crate::core::{Core, JournalFactory, Surroundings};
use crate::engine::{Change, Starts};
use crate::gateway::{BackendFactory, Named, StartError, look_back};
use crate::handle::{Handle, View};
use crate::http::cells::{self, Cell};
use crate::http::{self, Secret, Site};
use crate::journal::{
    Archive, Confirmed, Message, Pictures, Reader, Reads, Record, Says, Sqlite, Unconfirmed,
    Verdict,
};
use crate::log::Dropped;
use crate::metrics::{self, Metrics};
use crate::parts::{PartEnded, Parts};
use crate::policies::PolicyFactory;
use crate::reload::{Reloader, Reloads, Source};
use crate::timeline::{Timeline, WallClock};

/// What surrounds a node; it is the [`World`](crate::World) of a gateway that does not stand alone.
pub struct Place {
    /// Policies by name.
    pub policies: PolicyFactory,
    /// Backends by configuration.
    pub backends: BackendFactory,
    /// The date.
    pub wall: WallClock,
    /// Where pictures are kept.
    pub pictures: Arc<dyn Pictures>,
    /// The way to whoever leads.
    pub transport: Arc<dyn Transport>,
    /// What links to pictures are signed with, at all nodes.
    pub secret: [u8; 32],
    /// How far the replica of this node is.
    pub reached: watch::Receiver<u64>,
    /// Lines of the log that were dropped, for the metrics.
    pub dropped: Dropped,
    /// Where the configuration comes from, if it may be read again.
    pub source: Option<Source>,
}

/// A secret for links that nobody can guess.
pub fn link_secret() -> [u8; 32] {
    Secret::random_bytes()
}

/// Whether identifiers do not tell two cells apart.
pub fn look_alike(one: &str, other: &str) -> bool {
    cells::mark(one) == cells::mark(other)
}

/// A running node.
pub struct Node {
    handle: Handle,
    site: watch::Receiver<Site>,
    parts: Parts,
    mirror: Mirror,
    route: watch::Sender<Route>,
    missed: watch::Sender<()>,
    unconfirmed: Unconfirmed,
    wall: WallClock,
    policies: PolicyFactory,
    backends: BackendFactory,
    pictures: Arc<dyn Pictures>,
    reached: watch::Receiver<u64>,
}

impl Node {
    /// Messages of the faces that may wait to be handed on.
    const INBOX: usize = 4096;

    /// Starts a node whose replica is there already. It does not lead.
    ///
    /// # Errors
    /// [`StartError`]; nothing runs then.
    pub fn start(config: Config, place: Place) -> Result<Self, StartError> {
        let config = Arc::new(http::fit_descriptors(config)?);
        let named = Named::by(&config, &place.policies, &place.backends)?;
        let unconfirmed = Unconfirmed::default();
        let pictures = Some(place.pictures.clone());
        let reader = Reader::open(&config.journal)?.with_pictures(pictures);
        let archive = Confirmed::new(reader, unconfirmed.clone());
        let timeline = Timeline::resume(archive.last()?, archive.clocks()?, place.wall);
        let archive: Arc<dyn Archive> = Arc::new(archive);
        let reads = Reads::new(&archive, Verdict::default()).map_err(StartError::Thread)?;
        let parts = Parts::new();
        let spawner = parts.spawner();
        let (messages, inbox) = mpsc::channel(Self::INBOX);
        let (mirror, (route, routed)) = (Mirror::new(), watch::channel(Route::Elsewhere));
        let (missed, missed_seen) = watch::channel(());
        let view = View::new(place.reached.clone());
        let reload = Reloads::channel();
        let handle = Handle {
            messages,
            reads: Arc::new(reads),
            policies: named.policies,
            timeline,
            metrics: Arc::new(Metrics::of(place.dropped)),
            objective: Arc::new(config.objective()),
            objectives: config.objectives().into(),
            config,
            caller: named.caller,
            secret: Secret::shared(place.secret),
            changes: mirror.changes(),
            view: Some(view.clone()),
            missed: missed_seen,
            reloads: reload.0,
        };
        let reloader = Reloader::new(handle.clone(), place.backends.clone(), place.source);
        let site = reloader.site();
        let relay = Relay {
            handle: handle.clone(),
            site: site.clone(),
            mirror: mirror.clone(),
            route: routed,
            transport: place.transport,
            view,
        };
        spawner.spawn("the way to whoever leads", relay.run(inbox).map(Ok));
        spawner.spawn("the reader of the configuration", reloader.run(reload.1).map(Ok));
        Ok(Self {
            handle,
            site,
            parts,
            mirror,
            route,
            missed,
            unconfirmed,
            wall: place.wall,
            policies: place.policies,
            backends: place.backends,
            pictures: place.pictures,
            reached: place.reached,
        })
    }

    /// What is served by this node and those of other cells together.
    fn joined_with(&self, others: &[&Self]) -> watch::Receiver<Site> {
        let cell = |node: &Self| {
            let config = node.config();
            Cell { name: config.cell().unwrap_or_default().into(), site: node.site.clone() }
        };
        if others.is_empty() {
            return self.site.clone();
        }
        let cells: Vec<_> = [self].iter().chain(others).map(|node| cell(node)).collect();
        let router = cells::router(cells.into());
        let mut own = self.site.clone();
        let joined = own.borrow_and_update().clone().with_router(router.clone());
        let (joined, seen) = watch::channel(joined);
        tokio::spawn(async move {
            while own.changed().await.is_ok() {
                let site = own.borrow_and_update().clone();
                joined.send_replace(site.with_router(router.clone()));
            }
        });
        seen
    }

    /// Serves until `shutdown` resolves, for the nodes of other cells as well; whoever waits for an answer then may wait for as long as `last`, and a
    /// little longer.
    pub fn serve(
        &self,
        others: &[&Self],
        listener: TcpListener,
        shutdown: impl Future<Output = ()> + Send + 'static,
        last: Duration,
    ) -> impl Future<Output = ()> + Send + 'static {
        let site = self.joined_with(others);
        async move {
            let connections = http::serve(listener, site.clone(), shutdown).await;
            let patience = site.borrow().config().limits.client_seconds.duration();
            connections.finish(last + patience).await;
        }
    }

    /// What holds at the moment.
    pub fn config(&self) -> Arc<Config> {
        self.site.borrow().handle().config.clone()
    }

    /// Whether anybody here wants to hear of a request.
    pub fn wants(&self, id: RequestId) -> bool {
        self.mirror.wants(id)
    }

    /// A request has changed, says whoever leads.
    pub fn heard(&self, change: &[u8]) {
        match serde_json::from_slice(change) {
            Ok(change) => self.mirror.heard(&Change::new(change)),
            Err(error) => tracing::warn!(%error, "a change of a request is not understood"),
        }
    }

    /// A message of the log is in the replica.
    pub fn applied(&self, message: &Message) {
        let Says::Records(records) = &message.says else { return };
        for record in records {
            if let Record::Ended { request, end, .. } = record {
                self.mirror.ended(*request, end);
            }
        }
    }

    /// Its time, and the time lived.
    pub fn time(&self) -> (Time, Seconds) {
        (self.handle.timeline.now(), self.handle.timeline.lived())
    }

    /// What whoever leads says of its time.
    pub fn follow(&self, now: Time, lived: Seconds) {
        self.handle.timeline.follow(now, lived);
    }

    /// It follows again, after it has led: what its replica has is accepted, whatever its own writer knew of it.
    pub async fn follows(&self) {
        self.unconfirmed.forget();
        self.look_again().await;
    }

    /// Changes may have been missed: whoever listens is told anew how everything stands, and whoever waits for a
    /// request hears of its end.
    pub async fn look_again(&self) {
        self.missed.send_replace(());
        for id in self.mirror.all_followed() {
            if let Ok(Some(entry)) = self.handle.archived(id).await
                && let Some(end) = entry.end
            {
                self.mirror.ended(id, &end);
            }
        }
    }

    /// Whether it could lead: what its configuration names is there.
    ///
    /// # Errors
    /// [`ConfigError`] with file, line and key.
    pub fn could_lead(&self) -> Result<(), ConfigError> {
        Named::by(&self.config(), &self.policies, &self.backends).map(drop)
    }

    /// Shows in the metrics whether this node leads, the epoch, and how far it is.
    pub fn gauge(&self, leads: bool, epoch: u64, sequence: u64) {
        let metrics = &self.handle.metrics;
        metrics.set(metrics::CLUSTER_LEADER, &[], f64::from(u8::from(leads)));
        metrics.set(metrics::CLUSTER_EPOCH, &[], epoch as f64);
        metrics.set(metrics::CLUSTER_SEQUENCE, &[], sequence as f64);
    }

    /// Leads from now on: the replica is at the end of the log and has said so there. `journal` makes the open
    /// replica a journal that appends to the log. It answers as whoever leads for as long as `hold` says.
    /// What operators had set `before` holds again.
    ///
    /// # Errors
    /// [`StartError`]; it does not lead then.
    pub fn lead(
        &self,
        journal: JournalFactory,
        hold: Hold,
        before: Vec<Set>,
    ) -> Result<(Leadership, News), StartError> {
        let site = self.site.borrow().clone();
        let config = site.handle().config.clone();
        let named = Named::by(&config, &self.policies, &self.backends)?;
        let policies = named.policies.clone();
        let sqlite = Sqlite::open(&config.journal, (self.wall.0)())?;
        let pictures = Some(self.pictures.clone());
        let reader = Reader::open(&config.journal)?.with_pictures(pictures.clone());
        let archive = Confirmed::new(reader, self.unconfirmed.clone());
        let parts = Parts::new();
        let (set, sets) = mpsc::unbounded_channel();
        let around = Surroundings {
            wall: self.wall,
            journal,
            starts: Starts::Durable,
            pictures,
            serving: Box::new(|| ()),
            metrics: self.handle.metrics.clone(),
            sets: Some(set),
            unconfirmed: self.unconfirmed.clone(),
        };
        let verdict = sqlite.guard().verdict();
        let mut core = Core::start(&config, named, sqlite, &archive, around, parts.spawner())?;
        let handle = Handle {
            messages: core.messages.clone(),
            timeline: core.timeline.clone(),
            changes: core.changes.clone(),
            policies,
            view: None,
            ..site.handle().clone()
        };
        self.follow(core.timeline.now(), core.timeline.lived());
        for set in before {
            set.hold_again(&handle);
        }
        look_back(&mut core, &handle, &self.site, parts.spawner());
        self.route.send_replace(Route::Here(core.messages.clone(), hold.clone()));
        let changes = core.changes.subscribe();
        let answers =
            Answers { handle, site: self.site.clone(), reached: self.reached.clone(), hold };
        let leadership =
            Leadership { answers, route: self.route.clone(), parts, verdict, tasks: core.tasks() };
        Ok((leadership, News { changes, sets, mirror: self.mirror.clone() }))
    }

    /// Resolves when a part has ended that the node cannot do without.
    pub async fn ended(&mut self) -> PartEnded {
        self.parts.ended().await
    }

    /// Stops everything where it is.
    pub fn abort(self) {
        self.parts.abort();
    }
}

#[cfg(test)]
mod tests;
