//! A node: it follows the log, takes the lease when nobody has it, and leads for as long as the log lets it.

use std::sync::Arc;
use std::time::Duration;

use async_nats::Subscriber;
use dispatch::Administration;
use futures_util::StreamExt as _;
use futures_util::future::join_all;
use gateway::config::{BackendConfig, ClusterConfig, NodeRole};
use gateway::journal::{Clock, Deposed, Message, Moment, Replica, ReplicaError, Replicated};
use gateway::node::{Hold, Leadership, News, Node, Place, Set, Told};
use gateway::{BackendFactory, Config, PolicyFactory, Source, WallClock, World, config};
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::time::{Instant, MissedTickBehavior, interval, timeout};
use tokio_util::sync::CancellationToken;

use crate::cell::Cell;
use crate::connection::{Address, Connection};
use crate::error::ClusterError;
use crate::lease::{Lease, Renewed};
use crate::log::{Messages, NatsLog, behind, extent};
use crate::pictures::NatsPictures;
use crate::remote::{Agents, Remote};
use crate::subjects::Names;
use crate::transport::{PULSE, Present, Pulse, ToLeader, answer};
use crate::{brokers, snapshot};

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
    let conductor = Conductor::start(config, outside).await?;
    let mut beside = Vec::new();
    for (config, outside) in others {
        beside.push(Conductor::start(config, outside).await?);
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
    nodes.into_iter().for_each(|conductor| conductor.node.abort());
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
    /// Between two looks at the lease and at the end of the log.
    const LOOK: Duration = Duration::from_millis(200);
    /// Most messages that are taken into the journal at once.
    const AT_ONCE: usize = 500;
    /// Between two snapshots.
    const SNAPSHOTS: Duration = Duration::from_hours(24);

    async fn start(config: Config, outside: Outside) -> Result<Self, ClusterError> {
        let cluster = config.cluster.clone().expect("whoever calls has looked");
        let wall = WallClock::SYSTEM;
        let text = |list: &[toml::Spanned<String>]| -> Vec<String> {
            list.iter().map(|url| url.get_ref().clone()).collect()
        };
        let (urls, monitors) = (text(&cluster.nats), text(&cluster.monitor));
        let monitors: Vec<_> = monitors.iter().map(String::as_str).collect();
        // What can be wrong with the configuration comes before anybody is asked.
        gateway::check(&config, &World::real(outside.policies.clone()))?;
        let connection = Connection::open(&Address {
            brokers: urls.iter().map(String::as_str).collect(),
            cell: cluster.cell.get_ref(),
            nkey_file: &cluster.nkey_file,
            ca_file: &cluster.ca_file,
            name: format!("node {}", cluster.name.get_ref()),
        })
        .await?;
        let info = connection.client.server_info();
        let unfit = |problem| ClusterError::Broker { broker: info.server_name.clone(), problem };
        brokers::check_version(&info.version).map_err(unfit)?;
        brokers::check_payload(info.max_payload).map_err(unfit)?;
        brokers::check(&monitors).await?;
        let cell = Cell::open(&connection).await?;
        let (pictures, lease) = (config.limits.keep_seconds, cluster.lease_seconds);
        cell.fit(&connection, pictures.seconds(), lease.seconds()).await;
        let now = (wall.0)();
        let mut replica = Replica::open(&config.journal, now)?;
        let log = extent(&cell.log).await.map_err(|problem| refuse(&connection, problem))?;
        if log.last < replica.sequence() {
            let (log, here) = (log.last, replica.sequence());
            return Err(refuse(
                &connection,
                format!(
                    "its log ends at message {log}, and the journal of this node has {here}: the brokers have lost what \
                 they had acknowledged. See `atelier cluster repair`"
                ),
            ));
        }
        if log.first > replica.sequence() + 1 {
            let here = replica.sequence();
            let snapshot = snapshot::latest(&cell.snapshots).await;
            let Some(snapshot) = snapshot.filter(|snapshot| snapshot + 1 >= log.first) else {
                return Err(refuse(
                    &connection,
                    format!(
                        "its log begins at message {}, the journal of this node has {here}, and no snapshot is in between: \
                     start a node first whose journal has more",
                        log.first
                    ),
                ));
            };
            tracing::info!(
                here,
                snapshot,
                "the journal begins anew with a snapshot, as it was away for long"
            );
            drop(replica);
            snapshot::fetch(&cell.snapshots, cluster.cell.get_ref(), &config.journal).await?;
            replica = Replica::open(&config.journal, now)?;
        }
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
        let secret =
            cell.settings.secret().await.map_err(|problem| refuse(&connection, problem))?;
        let place = Place {
            policies: outside.policies,
            backends: backends(&agents),
            wall,
            pictures: Arc::new(NatsPictures::new(connection.clone(), cell.pictures.clone())),
            transport: Arc::new(ToLeader(connection.clone())),
            secret,
            reached: reached_seen,
            dropped: outside.dropped,
            source: outside.source,
        };
        let node = Node::start(config, place)?;
        (outside.serving)();
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
            name,
        })
    }

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

    fn replica(&mut self) -> &mut Replica {
        self.replica.as_mut().expect("it is open while this node follows")
    }

    /// Follows the log until this node may lead.
    async fn follow(&mut self, stopping: &CancellationToken) -> Result<Followed, ClusterError> {
        let candidate = self.cluster.role != NodeRole::Gateway;
        let mut look = interval(Self::LOOK);
        look.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut opened = self.connection.opened.clone();
        opened.mark_unchanged();
        let mut heard = Instant::now();
        loop {
            tokio::select! {
                biased;
                () = stopping.cancelled() => return Ok(Followed::Stop),
                ended = self.node.ended() => return Err(ClusterError::Ended(ended.to_string())),
                Some(message) = self.appended.next() => {
                    self.take_in(message).await?;
                    heard = Instant::now();
                }
                Some(change) = self.changes.next() => self.hear(&change),
                Some(pulse) = self.pulses.next() => {
                    if let Ok(pulse) = serde_json::from_slice::<Pulse>(&pulse.payload) {
                        self.node.follow(pulse.now, pulse.lived);
                    }
                }
                Some(call) = self.roll_calls.next() => self.present(call, false).await,
                Ok(()) = opened.changed() => {
                    // What was told meanwhile was told to nobody.
                    self.node.missed();
                    heard = Instant::now() - Duration::from_secs(10);
                }
                _ = look.tick() => {
                    // Told is not heard: now and then it is looked whether there is more.
                    if heard.elapsed() > Duration::from_secs(2) {
                        self.catch_up().await?;
                        heard = Instant::now();
                    }
                    if candidate && self.may_take_the_lease().await {
                        return Ok(Followed::MayLead);
                    }
                    let (epoch, sequence) = (self.replica().epoch(), self.replica().sequence());
                    self.node.gauge(false, epoch, sequence);
                }
            }
        }
    }

    async fn may_take_the_lease(&mut self) -> bool {
        match self.lease.holder().await {
            Ok(None) => self.lease.take().await,
            // Its name is there already, or nobody can say.
            Ok(Some(_)) | Err(_) => false,
        }
    }

    /// Takes in a message that the brokers have told, and others that are before it or came meanwhile.
    async fn take_in(&mut self, first: async_nats::Message) -> Result<(), ClusterError> {
        let mut messages = Messages::new();
        let mut next = self.replica().sequence() + 1;
        let mut told = Some(first);
        while let Some(message) = told.take() {
            let sequence = message.headers.as_ref().and_then(|headers| {
                headers.get(async_nats::header::NATS_SEQUENCE)?.as_str().parse::<u64>().ok()
            });
            match sequence {
                Some(sequence) if sequence == next => {
                    messages.push((sequence, message.payload.to_vec()));
                    next += 1;
                }
                // It is here already.
                Some(sequence) if sequence < next => {}
                _ => {
                    self.apply(messages).await?;
                    return self.catch_up().await;
                }
            }
            if messages.len() < Self::AT_ONCE {
                told = futures_util::FutureExt::now_or_never(self.appended.next()).flatten();
            }
        }
        self.apply(messages).await
    }

    async fn apply(&mut self, messages: Messages) -> Result<(), ClusterError> {
        let replica = self.replica.take().expect("it is open while this node follows");
        let (replica, said) = applied(replica, messages).await?;
        self.reached.send_replace(replica.sequence());
        self.replica = Some(replica);
        said.iter().for_each(|message| self.node.applied(message));
        Ok(())
    }

    /// Reads what the log has and this node has not.
    async fn catch_up(&mut self) -> Result<(), ClusterError> {
        let mut replica = self.replica.take().expect("it is open while this node follows");
        let node = &self.node;
        let caught =
            catch_up(&self.cell, &mut replica, &self.reached, |message| node.applied(message))
                .await;
        self.replica = Some(replica);
        caught
    }

    fn hear(&self, change: &async_nats::Message) {
        if let Some(id) = Names::changed(&change.subject)
            && self.node.wants(id)
        {
            self.node.heard(&change.payload);
        }
    }

    /// Says how it is.
    async fn present(&mut self, call: async_nats::Message, leads: bool) {
        let Some(reply) = call.reply else { return };
        let epoch = self.replica.as_ref().map_or(0, Replica::epoch);
        let present = Present {
            node: self.name.clone(),
            role: format!("{:?}", self.cluster.role).to_lowercase(),
            leads,
            epoch,
            sequence: *self.reached.borrow(),
            configuration: self.node.config().digest(),
            version: env!("CARGO_PKG_VERSION").into(),
        };
        let text = serde_json::to_vec(&present).expect("plain data");
        let _ = self.connection.client.publish(reply, text.into()).await;
    }

    /// Says in the log that this node leads. False if it does not, after all.
    async fn claim(&mut self) -> Result<bool, ClusterError> {
        const TRIES: u32 = 5;
        for _ in 0..TRIES {
            self.catch_up().await?;
            let mut replica = self.replica.take().expect("it is open while this node follows");
            let mut log = NatsLog::new(self.connection.clone(), self.cell.log.clone());
            let (name, clock) = (self.name.clone(), self.clock());
            let claimed = tokio::task::spawn_blocking(move || {
                let leads = replica.lead(&mut log, &name, clock);
                (replica, leads)
            });
            let (replica, leads) = claimed.await.map_err(|e| ClusterError::Ended(e.to_string()))?;
            self.reached.send_replace(replica.sequence());
            self.replica = Some(replica);
            if leads? {
                return Ok(true);
            }
            if self.lease.renew(Connection::PATIENCE).await == Renewed::Lost {
                return Ok(false);
            }
        }
        Ok(false)
    }

    fn clock(&self) -> Clock {
        let (time, lived) = self.node.time();
        Clock { moment: Moment { time, wall: (WallClock::SYSTEM.0)() }, lived }
    }

    /// Leads until the log, the lease or the operator ends it.
    async fn lead(&mut self, stopping: &CancellationToken) -> Result<Led, ClusterError> {
        let begun = Instant::now();
        let (epoch, deposed) = {
            let replica = self.replica.take().expect("it is open while this node follows");
            (replica.epoch(), Deposed::new())
        };
        let config = self.node.config();
        let log = NatsLog::new(self.connection.clone(), self.cell.log.clone());
        let (told, reached) = (deposed.clone(), self.reached.clone());
        self.agents.begin(epoch);
        let hold = Hold::default();
        hold.until(self.lease.until());
        let leadership = self.node.lead(
            Box::new(move |sqlite| {
                let replica = Replica::of(sqlite)?;
                Ok(Box::new(Replicated::new(replica, log, told, reached)))
            }),
            hold.clone(),
        );
        let (mut leadership, news) = leadership?;
        let milliseconds = begun.elapsed().as_millis() as u64;
        tracing::info!(epoch, milliseconds, "this node leads");
        self.node.gauge(true, epoch, *self.reached.borrow());
        self.restore(&leadership, &config).await;
        let answers = tokio::spawn(answer(self.connection.clone(), leadership.answers()));
        let listening = tokio::spawn(self.agents.clone().listen());
        let snapshots = tokio::spawn(keep_snapshots(self.cell.clone(), config.journal.clone()));
        let led = self.hold(&mut leadership, news, (epoch, &hold, &deposed), stopping).await;
        answers.abort();
        listening.abort();
        snapshots.abort();
        match led {
            Ok(Led::Stop) => {
                leadership.stop().await;
                tracing::info!("this node leads no more");
                Ok(Led::Stop)
            }
            Ok(Led::Deposed) => {
                leadership.abort();
                tracing::warn!("this node leads no more");
                Ok(Led::Deposed)
            }
            Err(error) => {
                leadership.abort();
                Err(error)
            }
        }
    }

    /// Has hold what operators have set at the one who led before.
    async fn restore(&self, leadership: &Leadership, config: &Config) {
        let configured = config.policy.to_string();
        match self.cell.settings.set(&configured).await {
            Ok((drained, policy)) => {
                let drained = drained.into_iter();
                let server = |name| Set::Server { name, state: Administration::Draining };
                for set in drained.map(server).chain(policy.map(Set::Policy)) {
                    leadership.answers().set(set).await;
                }
            }
            Err(error) => tracing::warn!(error, "what operators have set is not known"),
        }
    }

    /// Holds the lease and tells the others, until that ends.
    async fn hold(
        &mut self,
        leadership: &mut Leadership,
        mut news: News,
        (epoch, hold, deposed): (u64, &Hold, &Deposed),
        stopping: &CancellationToken,
    ) -> Result<Led, ClusterError> {
        let patience = Duration::from_secs_f64(self.cluster.lease_seconds.seconds() / 3.0);
        let mut renew = interval(patience);
        renew.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut pulse = interval(PULSE);
        pulse.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let answers = leadership.answers();
        loop {
            tokio::select! {
                biased;
                () = stopping.cancelled() => return Ok(Led::Stop),
                () = deposed.cancelled() => return Ok(Led::Deposed),
                part = leadership.ended() => {
                    // What ends because it leads no more is no fault.
                    if deposed.is_cancelled() { return Ok(Led::Deposed) }
                    return Err(ClusterError::Ended(part.to_string()));
                }
                part = self.node.ended() => return Err(ClusterError::Ended(part.to_string())),
                _ = renew.tick() => {
                    if self.lease.renew(patience.min(Connection::PATIENCE)).await == Renewed::Lost {
                        return Ok(Led::Deposed);
                    }
                    hold.until(self.lease.until());
                }
                _ = pulse.tick() => {
                    let (now, lived) = answers.time();
                    self.node.follow(now, lived);
                    self.node.gauge(true, epoch, *self.reached.borrow());
                    let pulse = Pulse { leader: self.name.clone(), epoch, now, lived };
                    let text = serde_json::to_vec(&pulse).expect("plain data");
                    let (client, subject) = (&self.connection.client, self.connection.names.pulse());
                    let _ = timeout(PULSE, client.publish(subject, text.into())).await;
                }
                told = news.next() => match told {
                    Some(told) => self.tell(told).await,
                    None => return Ok(Led::Deposed),
                },
                Some(call) = self.roll_calls.next() => self.present(call, true).await,
                // What it says itself comes back from the brokers.
                Some(_) = self.appended.next() => {}
                Some(_) = self.changes.next() => {}
                Some(_) = self.pulses.next() => {}
            }
        }
    }

    /// Tells the other nodes how a request has changed, agents what is kept, and the next one to lead what operators
    /// have set.
    async fn tell(&self, told: Told) {
        match told {
            Told::Change { request, change, ended } => {
                let subject = self.connection.names.changes(request);
                // What is lost is asked for, or stands in the log.
                let _ = timeout(PULSE, self.connection.client.publish(subject, change)).await;
                if ended {
                    self.agents.ended(request);
                }
            }
            Told::Set(set) => {
                let settings = self.cell.settings.clone();
                let configured = self.node.config().policy.to_string();
                tokio::spawn(async move {
                    match set {
                        Set::Server { name, state } => {
                            settings.drain(&name, state != Administration::Enabled).await;
                        }
                        Set::Policy(name) => settings.policy(&name, &configured).await,
                    }
                });
            }
        }
    }

    /// Opens the journal again, to follow, as soon as whoever wrote it has let go.
    async fn resume(&mut self) -> Result<(), ClusterError> {
        const PATIENCE: Duration = Duration::from_secs(20);
        if self.replica.is_some() {
            return Ok(());
        }
        let until = Instant::now() + PATIENCE;
        let journal = self.node.config().journal.clone();
        loop {
            let (journal, now) = (journal.clone(), (WallClock::SYSTEM.0)());
            let opened = tokio::task::spawn_blocking(move || Replica::open(&journal, now)).await;
            match opened.map_err(|error| ClusterError::Ended(error.to_string()))? {
                Ok(replica) => {
                    self.reached.send_replace(replica.sequence());
                    self.replica = Some(replica);
                    return Ok(());
                }
                Err(_) if Instant::now() < until => {
                    tokio::time::sleep(Duration::from_millis(20)).await;
                }
                Err(error) => return Err(error.into()),
            }
        }
    }

    /// Follows without ever leading again.
    async fn only_follow(&mut self) -> Result<(), ClusterError> {
        self.cluster.role = NodeRole::Gateway;
        let never = CancellationToken::new();
        self.follow(&never).await.map(drop)
    }
}

/// Reads what the log has behind a replica.
async fn catch_up(
    cell: &Cell,
    replica: &mut Replica,
    reached: &watch::Sender<u64>,
    applied: impl Fn(&Message),
) -> Result<(), ClusterError> {
    let log = match extent(&cell.log).await {
        Ok(log) => log,
        Err(problem) => {
            tracing::debug!(problem, "the log cannot be looked at");
            return Ok(());
        }
    };
    let mut told = Instant::now();
    while replica.sequence() < log.last {
        let from = replica.sequence() + 1;
        let messages = match behind(&cell.log, from, log.last, Conductor::AT_ONCE).await {
            Ok(messages) if messages.is_empty() => return Ok(()),
            Ok(messages) => messages,
            Err(problem) => {
                tracing::debug!(problem, "the log cannot be read");
                return Ok(());
            }
        };
        // On this thread: nothing else can go on before it is done, and each is a matter of milliseconds.
        tokio::task::block_in_place(|| replica.apply(&messages))?;
        reached.send_replace(replica.sequence());
        messages
            .iter()
            .filter_map(|(_, bytes)| Message::read(bytes).ok())
            .for_each(|m| applied(&m));
        if told.elapsed() > Duration::from_secs(2) {
            told = Instant::now();
            tracing::info!(at = replica.sequence(), of = log.last, "following the log");
        }
    }
    Ok(())
}

/// Takes messages into a replica, on a thread that may block.
async fn applied(
    mut replica: Replica,
    messages: Messages,
) -> Result<(Replica, Vec<Message>), ClusterError> {
    if messages.is_empty() {
        return Ok((replica, Vec::new()));
    }
    let done = tokio::task::spawn_blocking(move || {
        let said = messages.iter().filter_map(|(_, bytes)| Message::read(bytes).ok()).collect();
        let applied = replica.apply(&messages);
        Ok::<_, ReplicaError>((replica, applied.map(|_| said)?))
    });
    let done = done.await.map_err(|error| ClusterError::Ended(error.to_string()))?;
    Ok(done?)
}

/// Puts a copy of the journal into a bucket, now and then, for as long as this node leads.
async fn keep_snapshots(cell: Cell, journal: std::path::PathBuf) {
    loop {
        let latest = snapshot::latest(&cell.snapshots).await;
        // The first when there is something to lose.
        let wait = if latest.is_none() { Duration::from_mins(10) } else { Conductor::SNAPSHOTS };
        tokio::time::sleep(wait).await;
        match snapshot::put(&cell.snapshots, &journal).await {
            Ok(sequence) => tracing::info!(sequence, "a snapshot of the journal is kept"),
            Err(error) => tracing::warn!(error, "no snapshot of the journal could be kept"),
        }
    }
}

fn backends(agents: &Agents) -> BackendFactory {
    let agents = agents.clone();
    Arc::new(move |server, config| match &server.backend {
        BackendConfig::Agent {} => Ok(Arc::new(Remote::new(agents.clone(), server.name.get_ref()))),
        _ => config::connect(server, config),
    })
}

fn refuse(connection: &Connection, problem: String) -> ClusterError {
    ClusterError::Cell { cell: connection.names.cell().into(), problem }
}
