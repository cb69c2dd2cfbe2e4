//! A node that leads, from the message that says so until the log, the lease or the operator ends it.

use std::path::PathBuf;
use std::time::Duration;

use dispatch::Administration;
use futures_util::StreamExt as _;
use gateway::journal::{Clock, Deposed, Moment, Replica, Replicated};
use gateway::node::{Hold, Leadership, News, Set, Told};
use gateway::{Config, WallClock};
use tokio::time::{Instant, MissedTickBehavior, interval, timeout};
use tokio_util::sync::CancellationToken;

use super::{Conductor, Led};
use crate::cell::Cell;
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
}

/// Puts a copy of the journal into a bucket, now and then, for as long as this node leads.
async fn keep_snapshots(cell: Cell, journal: PathBuf) {
    loop {
        let latest = snapshot::latest(&cell.snapshots).await;
        // The first when there is something to lose.
        let wait = if latest.is_none() { Duration::from_mins(10) } else { SNAPSHOTS };
        tokio::time::sleep(wait).await;
        match snapshot::put(&cell.snapshots, &journal).await {
            Ok(sequence) => tracing::info!(sequence, "a snapshot of the journal is kept"),
            Err(error) => tracing::warn!(error, "no snapshot of the journal could be kept"),
        }
    }
}
