//! A node that leads, from the message that says so until the log, the lease or the operator ends it.

use std::path::PathBuf;
use std::time::Duration;

use dispatch::Administration;
use futures_util::StreamExt as _;
use gateway::journal::{Clock, Deposed, Moment, Replica, Replicated};
use gateway::node::{Hold, Leadership, News, Set, Told};
use gateway::{Config, JournalFactory, WallClock};
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::{Instant, MissedTickBehavior, interval, timeout};
use tokio_util::sync::CancellationToken;

use super::{Conductor, Led};
use crate::cell::{Cell, Settings};
use crate::connection::Connection;
use crate::error::ClusterError;
use crate::lease::Renewed;
use crate::log::NatsLog;
use crate::snapshot;
use crate::transport::{PULSE, Pulse, answer};

/// Between two snapshots.
const SNAPSHOTS: Duration = Duration::from_hours(24);

impl Conductor {
    /// Says in the log that this node leads. False if it does not, after all.
    pub(super) async fn claim(&mut self) -> Result<bool, ClusterError> {
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
    pub(super) async fn lead(&mut self, stopping: &CancellationToken) -> Result<Led, ClusterError> {
        let begun = Instant::now();
        let config = self.node.config();
        // Before anything runs: a server that somebody works on is not to be given work.
        let Some(before) = self.set_before(&config).await else { return Ok(Led::Deposed) };
        let epoch = self.replica.take().expect("it is open while this node follows").epoch();
        let (deposed, hold) = (Deposed::new(), Hold::default());
        self.agents.begin(epoch);
        hold.until(self.lease.until());
        let log = NatsLog::new(self.connection.clone(), self.cell.log.clone());
        let (told, reached) = (deposed.clone(), self.reached.clone());
        let journal: JournalFactory = Box::new(move |sqlite| {
            let replica = Replica::of(sqlite)?;
            Ok(Box::new(Replicated::new(replica, log, told, reached)))
        });
        // It reads what had not ended, and a while of the past.
        let led = tokio::task::block_in_place(|| self.node.lead(journal, hold.clone(), before));
        let (mut leadership, news) = led?;
        let milliseconds = begun.elapsed().as_millis() as u64;
        tracing::info!(epoch, milliseconds, "this node leads");
        self.cell.keep_pictures(&self.connection, config.limits.keep_seconds.seconds()).await;
        let around = Around::begin(self, &leadership, config.journal.clone());
        let led =
            self.hold(&mut leadership, news, (epoch, &hold, &deposed), around, stopping).await;
        match &led {
            Ok(Led::Stop) => {
                leadership.stop().await;
                tracing::info!("this node leads no more");
            }
            Ok(Led::Deposed) => {
                leadership.abort();
                tracing::warn!("this node leads no more");
            }
            Err(error) => {
                leadership.abort();
                tracing::error!(%error, "this node leads no more");
            }
        }
        led
    }

    /// What operators have set at the one who led before; none if nobody can say.
    async fn set_before(&self, config: &Config) -> Option<Vec<Set>> {
        let configured = config.policy.to_string();
        let set = timeout(2 * Connection::PATIENCE, self.cell.settings.set(&configured)).await;
        let set = set.unwrap_or_else(|_| Err("the brokers did not answer in time".into()));
        let (drained, policy) = set
            .inspect_err(|error| tracing::warn!(error, "what operators have set is not known"))
            .ok()?;
        let server = |name| Set::Server { name, state: Administration::Draining };
        Some(drained.into_iter().map(server).chain(policy.map(Set::Policy)).collect())
    }

    /// Holds the lease and tells the others, until that ends.
    async fn hold(
        &mut self,
        leadership: &mut Leadership,
        mut news: News,
        (epoch, hold, deposed): (u64, &Hold, &Deposed),
        mut around: Around,
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
                why = around.ended() => return Err(ClusterError::Ended(why)),
                _ = renew.tick() => {
                    if self.lease.renew(patience.min(Connection::PATIENCE)).await == Renewed::Lost {
                        return Ok(Led::Deposed);
                    }
                    hold.until(self.lease.until());
                }
                _ = pulse.tick() => {
                    if let Some(why) = leadership.lost() {
                        return Err(ClusterError::Ended(why.into()));
                    }
                    let (now, lived) = answers.time();
                    self.node.follow(now, lived);
                    self.node.gauge(true, epoch, *self.reached.borrow());
                    let pulse = Pulse { leader: self.name.clone(), epoch, now, lived };
                    let text = serde_json::to_vec(&pulse).expect("plain data");
                    let (client, subject) = (&self.connection.client, self.connection.names.pulse());
                    let _ = timeout(PULSE, client.publish(subject, text.into())).await;
                }
                // What the brokers tell of the log this node has said itself.
                Some(_) = self.appended.next() => {}
                Some(_) = self.changes.next() => {}
                Some(_) = self.pulses.next() => {}
                Some(call) = self.roll_calls.next() => self.present(call, true).await,
                told = news.next() => match told {
                    Some(told) => self.tell(told, &around).await,
                    None => return Ok(Led::Deposed),
                },
            }
        }
    }

    /// Tells the other nodes how a request has changed, agents what is kept, and the next one to lead what operators
    /// have set.
    async fn tell(&self, told: Told, around: &Around) {
        match told {
            Told::Change { request, change, ended } => {
                let subject = self.connection.names.changes(request);
                // What is lost is asked for, or stands in the log.
                let _ = timeout(PULSE, self.connection.client.publish(subject, change)).await;
                if ended {
                    self.agents.ended(request);
                }
            }
            Told::Missed => self.node.look_again().await,
            Told::Set(set) => {
                let configured = self.node.config().policy.to_string();
                let _ = around.sets.send((set, configured));
            }
        }
    }
}

/// What goes on beside a leadership, as long as that.
struct Around {
    /// Answers other nodes, and hears agents.
    speaking: JoinSet<Result<(), String>>,
    /// Keeps snapshots, and what operators set.
    keeping: JoinSet<()>,
    sets: mpsc::UnboundedSender<(Set, String)>,
}

impl Around {
    fn begin(conductor: &Conductor, leadership: &Leadership, journal: PathBuf) -> Self {
        let (sets, told) = mpsc::unbounded_channel();
        let (mut speaking, mut keeping) = (JoinSet::new(), JoinSet::new());
        speaking.spawn(answer(conductor.connection.clone(), leadership.answers()));
        speaking.spawn(conductor.agents.clone().listen());
        keeping.spawn(keep_snapshots(conductor.cell.clone(), journal));
        keeping.spawn(keep_sets(conductor.cell.settings.clone(), told));
        Self { speaking, keeping, sets }
    }

    /// Why one of those has ended that speak with others.
    async fn ended(&mut self) -> String {
        let _ = &self.keeping;
        match self.speaking.join_next().await {
            Some(Ok(Err(why))) => why,
            Some(Err(error)) => error.to_string(),
            Some(Ok(Ok(()))) | None => "nobody answers any more".into(),
        }
    }
}

/// Writes down what operators set, in their order.
async fn keep_sets(settings: Settings, mut told: mpsc::UnboundedReceiver<(Set, String)>) {
    while let Some((set, configured)) = told.recv().await {
        match set {
            Set::Server { name, state } => {
                settings.drain(&name, state != Administration::Enabled).await;
            }
            Set::Policy(name) => settings.policy(&name, &configured).await,
        }
    }
}

/// Puts a copy of the journal into a bucket once a day, whoever leads.
async fn keep_snapshots(cell: Cell, journal: PathBuf) {
    /// The first one when there is something to lose, and another try where one has failed.
    const SOON: Duration = Duration::from_mins(10);
    let mut failed = false;
    loop {
        let age = snapshot::age(&cell.snapshots).await;
        let wait = age.map_or(SOON, |age| SNAPSHOTS.saturating_sub(age));
        tokio::time::sleep(if failed { SOON } else { wait.max(Duration::from_mins(1)) }).await;
        let put = snapshot::put(&cell.snapshots, &journal).await;
        match &put {
            Ok(sequence) => tracing::info!(sequence, "a snapshot of the journal is kept"),
            Err(error) => tracing::warn!(error, "no snapshot of the journal could be kept"),
        }
        failed = put.is_err();
    }
}
