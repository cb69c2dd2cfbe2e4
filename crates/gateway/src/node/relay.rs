//! Messages on their way to whoever leads: the engine of this node, or another node.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use dispatch::RequestId;
use serde::de::DeserializeOwned;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::Instant;

use super::mirror::Mirror;
use super::wire::{Answer, Call, Named, Shown, read, written};
use crate::config::Config;
use crate::engine::{Changes, InForce, Message, Question};
use crate::handle::{Handle, View};
use crate::http::Site;
use crate::journal::Accepted;
use crate::status::{Phase, Refusal, Status};

/// The way to the node that leads, wherever that is.
#[async_trait]
pub trait Transport: Send + Sync + 'static {
    /// Asks it. Within a second or so it has answered or is taken not to.
    ///
    /// # Errors
    /// Why there is no answer; the call may have been carried out all the same.
    async fn ask(&self, call: Bytes) -> Result<Bytes, String>;
}

/// Who leads.
#[derive(Clone)]
pub(super) enum Route {
    /// This node, by this engine, for as long as it holds.
    Here(mpsc::Sender<Message>, Hold),
    Elsewhere,
}

impl Route {
    /// The engine of this node, if it has one.
    fn engine(&self) -> Option<mpsc::Sender<Message>> {
        match self {
            Self::Here(engine, _) => Some(engine.clone()),
            Self::Elsewhere => None,
        }
    }

    /// The engine of this node, if it certainly leads.
    fn here(&self) -> Option<mpsc::Sender<Message>> {
        match self {
            Self::Here(engine, hold) if hold.holds() => Some(engine.clone()),
            _ => None,
        }
    }
}

/// Until when a node certainly leads. One that was stopped for longer, and others lead, answers nothing of what it
/// remembers. Copies share it.
#[derive(Clone, Debug)]
pub struct Hold {
    base: Instant,
    /// Milliseconds from the base.
    until: Arc<AtomicU64>,
}

impl Default for Hold {
    fn default() -> Self {
        Self { base: Instant::now(), until: Arc::default() }
    }
}

impl Hold {
    /// It holds until then.
    pub fn until(&self, then: Instant) {
        let milliseconds = then.saturating_duration_since(self.base).as_millis() as u64;
        self.until.store(milliseconds, Ordering::Relaxed);
    }

    pub(super) fn holds(&self) -> bool {
        self.base.elapsed().as_millis() < u128::from(self.until.load(Ordering::Relaxed))
    }
}

/// Hands on what the faces ask.
#[derive(Clone)]
pub(super) struct Relay {
    pub(super) handle: Handle,
    /// By the configuration of the moment.
    pub(super) site: watch::Receiver<Site>,
    pub(super) mirror: Mirror,
    pub(super) route: watch::Receiver<Route>,
    pub(super) transport: Arc<dyn Transport>,
    pub(super) view: View,
}

/// Pause before somebody is asked again who could not answer.
const AGAIN: Duration = Duration::from_millis(50);

impl Relay {
    pub(super) async fn run(self, mut messages: mpsc::Receiver<Message>) {
        while let Some(message) = messages.recv().await {
            let here = match &message {
                // It holds for the engine of this node, whoever leads.
                Message::Reconfigure { .. } => self.route.borrow().engine(),
                _ => self.route.borrow().here(),
            };
            let always = matches!(message, Message::Submit { .. } | Message::Watch { .. });
            match here {
                // Whoever asked hears that it is busy.
                Some(engine) if !always => drop(engine.try_send(message)),
                _ => drop(tokio::spawn(self.clone().carry(message))),
            }
        }
    }

    /// Whoever asked may have gone away: that its answer finds nobody is no error. One that gets none is told that
    /// the gateway is busy.
    async fn carry(self, message: Message) {
        match message {
            Message::Submit { accepted, reply } => {
                let submitted = self.submit(accepted).await;
                let _ = reply.send(submitted);
            }
            Message::Watch { id, reply } => {
                if let Some(watch) = self.watch(id).await {
                    let _ = reply.send(watch);
                }
            }
            Message::Quote { order, reply } => self.tell(&Call::Quote(order), reply, |r| r).await,
            Message::Status { id, reply } => self.tell(&Call::Status(id), reply, |r| r).await,
            Message::Cancel { id, reply } => self.tell(&Call::Cancel(id), reply, |r| r).await,
            Message::Ask(question) => self.question(question).await,
            Message::Administer { server, state, reply } => {
                self.tell(&Call::Administer { server, state }, reply, |r| r).await;
            }
            Message::Policy { name, reply, .. } => {
                self.tell(&Call::Policy(name.to_string()), reply, |()| ()).await;
            }
            // It holds here, and for the servers when this node leads.
            Message::Reconfigure { new, reply } => {
                let kept = new.config.servers.iter().map(|s| s.name.get_ref().clone()).collect();
                let _ = reply.send(Changes { kept, ..Changes::default() });
            }
            // What this node counts itself it counts without an engine.
            Message::Gauges { reply } => drop(reply.send(())),
            // An engine's own.
            Message::CalledBack { .. } | Message::Remember { .. } | Message::Close { .. } => {}
        }
    }

    async fn question(&self, question: Question) {
        match question {
            Question::Explanation { id, reply } => {
                let shared = |found: Option<_>| found.map(Arc::new);
                self.tell(&Call::Explanation(id), reply, shared).await;
            }
            Question::Preview { id, reply } => {
                let shown = |found: Option<Shown>| found.and_then(Shown::preview);
                self.tell(&Call::Preview(id), reply, shown).await;
            }
            Question::Servers { reply } => self.tell(&Call::Servers, reply, |r| r).await,
            Question::Standing { owner, reply } => {
                self.tell(&Call::Standing(owner), reply, |r| r).await;
            }
            Question::InForce { reply } => {
                let config = self.config();
                let named =
                    |Named { policy, shadow_policy }| InForce { config, policy, shadow_policy };
                self.tell(&Call::InForce, reply, named).await;
            }
            Question::Statistics { scale, since, reply } => {
                self.tell(&Call::Statistics { scale, since }, reply, |r| r).await;
            }
            Question::Usage { owners, reply } => {
                self.tell(&Call::Usage(owners), reply, |r| r).await;
            }
            // Whoever balances wants to know now.
            Question::Ready { reply } => {
                let ready = self.ask(&written(&Call::Ready)).await;
                let _ = reply.send(ready.unwrap_or(Err(Refusal::NoLeader)));
            }
        }
    }

    /// Asks until there is an answer, or whoever waits for it has waited long enough.
    async fn tell<T: DeserializeOwned, U>(
        &self,
        call: &Call,
        reply: oneshot::Sender<U>,
        then: impl FnOnce(T) -> U,
    ) {
        let call = written(call);
        let until = Instant::now() + self.patience();
        while Instant::now() < until && !reply.is_closed() {
            if let Ok(result) = self.ask(&call).await {
                let _ = reply.send(then(result));
                return;
            }
            tokio::time::sleep(AGAIN).await;
        }
    }

    /// Asks once. What the answer speaks of is waited for by whoever reads the replica of this node from now on.
    async fn ask<T: DeserializeOwned>(&self, call: &Bytes) -> Result<T, String> {
        let answer = self.transport.ask(call.clone()).await?;
        let Answer { now, lived, sequence, result } = read(&answer)?;
        self.handle.timeline.follow(now, lived);
        self.view.must_have(sequence);
        Ok(result)
    }

    fn config(&self) -> Arc<Config> {
        self.site.borrow().handle().config.clone()
    }

    /// How long clients are kept waiting while nobody leads.
    fn patience(&self) -> Duration {
        self.config().limits.client_seconds.duration()
    }

    /// Submits until it is known what came of it: the identifier is the same every time, so it is accepted once.
    async fn submit(&self, accepted: Arc<Accepted>) -> Result<Status, Refusal> {
        let until = Instant::now() + self.patience();
        let mut again = false;
        loop {
            let asked = self.submit_once(&accepted, again).await;
            again = true;
            let refusal = match asked {
                // It leads no more, or its log is not to be reached.
                Some(Err(Refusal::Journal(why))) => Refusal::Journal(why),
                Some(Err(refusal @ Refusal::Rejected(dispatch::Rejection::Closing))) => refusal,
                Some(answer) => return answer,
                None => Refusal::NoLeader,
            };
            if Instant::now() >= until {
                return Err(refusal);
            }
            tokio::time::sleep(AGAIN).await;
        }
    }

    /// None if there is no answer.
    async fn submit_once(
        &self,
        accepted: &Arc<Accepted>,
        again: bool,
    ) -> Option<Result<Status, Refusal>> {
        let here = self.route.borrow().here();
        let Some(engine) = here else {
            let call = Call::Submit { accepted: accepted.clone(), again };
            return self.ask(&written(&call)).await.ok();
        };
        // What has ended since the engine does not know any more; for the rest it says when the journal has it.
        if again && let Some(entry) = self.handle.archived(accepted.order.id).await.ok()? {
            return Some(Ok(entry.into()));
        }
        let (reply, answer) = oneshot::channel();
        let message = Message::Submit { accepted: accepted.clone(), reply };
        engine.try_send(message).ok()?;
        match answer.await.ok()? {
            Err(Refusal::KeyTaken(None)) => Some(made_before(&self.handle, accepted).await),
            answer => Some(answer),
        }
    }

    /// Follows a request; none inside if it has ended or never was, none at all if nobody can tell.
    async fn watch(&self, id: RequestId) -> Option<Option<watch::Receiver<Status>>> {
        let (reply, answer) = oneshot::channel();
        let here = self.route.borrow().here();
        match here {
            Some(engine) => engine.try_send(Message::Status { id, reply }).ok()?,
            None => self.tell(&Call::Status(id), reply, |r| r).await,
        }
        let Some(status) = answer.await.ok()? else { return Some(None) };
        let status: Status = status;
        if matches!(status.phase, Phase::Ended(_)) {
            return Some(None);
        }
        let watch = self.mirror.follow(status);
        // What has ended in between is in the replica by now, or will be told.
        let entry = self.handle.archived(id).await.ok()?;
        if let Some(end) = entry.and_then(|entry| entry.end) {
            self.mirror.ended(id, &end);
        }
        Some(Some(watch))
    }
}

/// What came of a submission whose name, or whose key, the journal has already: it was accepted before if it is
/// there under its own name.
pub(super) async fn made_before(handle: &Handle, accepted: &Accepted) -> Result<Status, Refusal> {
    match handle.archived(accepted.order.id).await {
        Ok(Some(entry)) => Ok(entry.into()),
        Ok(None) => Err(Refusal::KeyTaken(None)),
        Err(error) => Err(Refusal::Journal(error.to_string())),
    }
}
