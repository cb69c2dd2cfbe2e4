//! A node that follows: what the log has goes into its journal, and what the leader tells to its faces.

use std::time::Duration;

use futures_util::{FutureExt as _, StreamExt as _};
use gateway::WallClock;
use gateway::config::NodeRole;
use gateway::journal::{Message, Replica, ReplicaError};
use tokio::sync::watch;
use tokio::time::{Instant, MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;

use super::{Conductor, Followed};
use crate::cell::Cell;
use crate::error::ClusterError;
use crate::log::{Messages, behind, extent};
use crate::subjects::Names;
use crate::transport::{Present, Pulse};

impl Conductor {
    /// Between two looks at the lease and at the end of the log.
    const LOOK: Duration = Duration::from_millis(200);
    /// Most messages that are taken into the journal at once.
    const AT_ONCE: usize = 500;
    pub(super) fn replica(&mut self) -> &mut Replica {
        self.replica.as_mut().expect("it is open while this node follows")
    }

    /// Follows the log until this node may lead.
    pub(super) async fn follow(
        &mut self,
        stopping: &CancellationToken,
    ) -> Result<Followed, ClusterError> {
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
                    self.node.look_again().await;
                    heard = Instant::now() - Duration::from_secs(10);
                }
                _ = look.tick() => {
                    // Told is not heard: now and then it is looked whether there is more.
                    if heard.elapsed() > Duration::from_secs(2) {
                        self.catch_up().await?;
                        heard = Instant::now();
                    }
                    let rested = self.not_before <= Instant::now();
                    if candidate && rested && self.may_take_the_lease().await {
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
                told = self.appended.next().now_or_never().flatten();
            }
        }
        self.apply(messages).await
    }

    async fn apply(&mut self, messages: Messages) -> Result<(), ClusterError> {
        let replica = self.replica.take().expect("it is open while this node follows");
        let (replica, said) = applied(replica, messages).await?;
        self.reached.send_replace(replica.sequence());
        self.replica = Some(replica);
        for message in &said {
            self.node.applied(message);
        }
        Ok(())
    }

    /// Reads what the log has and this node has not.
    pub(super) async fn catch_up(&mut self) -> Result<(), ClusterError> {
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
    pub(super) async fn present(&mut self, call: async_nats::Message, leads: bool) {
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

    /// Opens the journal again, to follow, as soon as whoever wrote it has let go.
    pub(super) async fn resume(&mut self) -> Result<(), ClusterError> {
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
                    self.node.follows().await;
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
    pub(super) async fn only_follow(&mut self) -> Result<(), ClusterError> {
        self.cluster.role = NodeRole::Gateway;
        let never = CancellationToken::new();
        self.follow(&never).await.map(drop)
    }
}

/// Reads what the log has behind a replica.
pub(super) async fn catch_up(
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
