//! A node that leads: its engine, and what it answers the other nodes.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use dispatch::{Administration, RequestId};
use scheduling::{Seconds, Time};
use serde::Serialize;
use tokio::sync::{broadcast, mpsc, oneshot, watch};

use super::mirror::Mirror;
use super::relay::{Hold, Route, made_before};
use super::wire::{Answer, Call, Named, Shown, read, written};
use crate::core::Tasks;
use crate::engine::{Change, InForce, Message, Question, Running};
use crate::handle::{Handle, Unavailable};
use crate::http::Site;
use crate::journal::{Accepted, Verdict};
use crate::parts::{PartEnded, Parts};
use crate::status::{Phase, Refusal, Status};

/// The leadership of a node, for as long as it lasts.
pub struct Leadership {
    pub(super) answers: Answers,
    pub(super) route: watch::Sender<Route>,
    pub(super) parts: Parts,
    pub(super) verdict: Verdict,
    pub(super) tasks: Tasks,
}

/// What whoever leads has to tell others.
pub struct News {
    pub(super) changes: broadcast::Receiver<Change>,
    pub(super) sets: mpsc::UnboundedReceiver<Set>,
    pub(super) mirror: Mirror,
}

/// Something to be told.
#[derive(Clone, Debug)]
pub enum Told {
    /// A request has changed.
    Change {
        /// Which.
        request: RequestId,
        /// For [`Node::heard`](super::Node::heard) of the other nodes.
        change: Bytes,
        /// Whether it has ended, which the journal has then.
        ended: bool,
    },
    /// Too much came, and some of it was left out.
    Missed,
    /// An operator has set something, which is to hold when another node leads.
    Set(Set),
}

/// What an operator sets that is in no configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Set {
    /// A server is to be used, or not.
    Server {
        /// Its name.
        name: String,
        /// Whether it is to be used.
        state: Administration,
    },
    /// Another policy decides.
    Policy(String),
}

impl Set {
    /// Has it hold at an engine that has just been started. It is there before any server has answered.
    pub(super) fn hold_again(self, handle: &Handle) {
        let held = match self {
            Self::Server { name, state } => {
                let server = name.clone();
                let message = Message::Administer { server, state, reply: oneshot::channel().0 };
                handle.messages.try_send(message).map_err(|_| name)
            }
            Self::Policy(name) => {
                let built =
                    name.parse().ok().and_then(|parsed| handle.policies.acting(&parsed).ok());
                let reply = oneshot::channel().0;
                let named = name.as_str().into();
                let message = built.map(|policy| Message::Policy { name: named, policy, reply });
                let sent = message.is_some_and(|message| handle.messages.try_send(message).is_ok());
                if sent { Ok(()) } else { Err(name) }
            }
        };
        if let Err(what) = held {
            tracing::warn!(what, "what an operator has set does not hold any more");
        }
    }
}

impl News {
    /// The next of it; none when nothing more will come.
    pub async fn next(&mut self) -> Option<Told> {
        let change = tokio::select! {
            change = self.changes.recv() => change,
            Some(set) = self.sets.recv() => return Some(Told::Set(set)),
        };
        match change {
            Ok(change) => {
                self.mirror.heard(&change);
                let ended = matches!(change.phase, Phase::Ended(_));
                let request = change.accepted.order.id;
                Some(Told::Change { request, change: written(&*change), ended })
            }
            Err(broadcast::error::RecvError::Lagged(_)) => Some(Told::Missed),
            Err(broadcast::error::RecvError::Closed) => None,
        }
    }
}

impl Leadership {
    /// Answers the other nodes; copies do the same.
    pub fn answers(&self) -> Answers {
        self.answers.clone()
    }

    /// Why its journal is lost, if it is: nothing will be written any more.
    pub fn lost(&self) -> Option<&str> {
        self.verdict.lost()
    }

    /// Resolves when a part has ended that it cannot do without.
    pub async fn ended(&mut self) -> PartEnded {
        self.parts.ended().await
    }

    /// Leads no more, at once: somebody else does.
    pub fn abort(self) {
        self.route.send_replace(Route::Elsewhere);
        self.parts.abort();
    }

    /// Leads no more: what is under way is written down, and what runs goes on for the next one that leads.
    pub async fn stop(self) {
        /// How long the engine may take to write down what is under way.
        const GRACE: Duration = Duration::from_secs(2);
        // From here on whoever asks waits for that one.
        self.route.send_replace(Route::Elsewhere);
        self.tasks.stop(Running::GoesOn, GRACE).await;
        self.parts.abort();
    }
}

/// Answers what other nodes ask.
#[derive(Clone)]
pub struct Answers {
    /// To ask the engine itself.
    pub(super) handle: Handle,
    pub(super) site: watch::Receiver<Site>,
    pub(super) reached: watch::Receiver<u64>,
    pub(super) hold: Hold,
}

impl Answers {
    async fn set_policy(&self, name: &str) -> Result<(), Unavailable> {
        match name.parse() {
            Ok(name) => self.handle.set_policy(name).await,
            Err(_) => Err(Unavailable::Gateway(format!("{name} is no policy"))),
        }
    }

    /// Its time, and the time lived.
    pub fn time(&self) -> (Time, Seconds) {
        (self.handle.timeline.now(), self.handle.timeline.lived())
    }

    /// The answer to a call; none if there cannot be one, as for one that another version makes, or where it is not
    /// certain that this node leads.
    pub async fn answer(&self, call: Bytes) -> Option<Bytes> {
        if !self.hold.holds() {
            return None;
        }
        let call: Call = match read(&call) {
            Ok(call) => call,
            Err(error) => {
                tracing::warn!(error, "another node asked for something unknown");
                return None;
            }
        };
        let handle = &self.handle;
        Some(match call {
            Call::Submit { accepted, again } => self.told(self.submit(accepted, again).await),
            Call::Quote(order) => {
                let ask = |reply| Message::Quote { order, reply };
                self.told(handle.ask(ask).await.ok()?)
            }
            Call::Status(id) => {
                self.told(handle.ask(|reply| Message::Status { id, reply }).await.ok()?)
            }
            Call::Cancel(id) => {
                self.told(handle.ask(|reply| Message::Cancel { id, reply }).await.ok()?)
            }
            Call::Explanation(id) => self.told(handle.explain(id).await.ok()?),
            Call::Preview(id) => self.told(handle.preview(id).await.ok()?.as_ref().map(Shown::of)),
            Call::Standing(owner) => self.told(handle.standing(owner).await.ok()?),
            Call::Servers => self.told(handle.servers().await.ok()?),
            Call::InForce => {
                let InForce { policy, shadow_policy, .. } = handle.in_force().await.ok()?;
                self.told(Named { policy, shadow_policy })
            }
            Call::Statistics { scale, since } => {
                self.told(handle.statistics(scale, since).await.ok()?)
            }
            Call::Usage(owners) => self.told(handle.usage(owners).await.ok()?),
            Call::Ready => {
                let ask = |reply| Message::Ask(Question::Ready { reply });
                self.told(handle.ask(ask).await.ok()?)
            }
            Call::Administer { server, state } => {
                self.told(handle.administer(server, state).await.ok()?)
            }
            // Whoever asks has built it already, so that it can be built is known.
            Call::Policy(name) => {
                let set = self.set_policy(&name).await;
                set.inspect_err(|error| tracing::error!(%error, "the policy stays")).ok()?;
                self.told(())
            }
        })
    }

    fn told(&self, result: impl Serialize) -> Bytes {
        let (now, lived) = self.time();
        let sequence = *self.reached.borrow();
        written(&Answer { now, lived, sequence, result })
    }

    /// Accepts a request for another node. What its owner may make in a minute is counted here for all nodes.
    async fn submit(&self, accepted: Arc<Accepted>, again: bool) -> Result<Status, Refusal> {
        // What has ended since the engine does not know any more; for the rest it says when the journal has it.
        if again && let Ok(Some(entry)) = self.handle.archived(accepted.order.id).await {
            return Ok(entry.into());
        }
        let owner = accepted.order.owner.clone();
        let now = self.handle.timeline.now();
        let site = self.site.borrow().clone();
        let known = site.holder(&owner);
        if let Some(known) = &known {
            known.rate.take(1, now).map_err(|problem| Refusal::Limited {
                detail: problem.detail.clone(),
                after: problem.retry_after.unwrap_or(1),
            })?;
        }
        let timely = Arc::new(accepted_by(accepted, now));
        let (reply, answer) = oneshot::channel();
        let message = Message::Submit { accepted: timely.clone(), reply };
        let answer = match self.handle.messages.try_send(message) {
            Ok(()) => answer.await.unwrap_or(Err(Refusal::Journal("leads no more".into()))),
            Err(_) => Err(Refusal::Busy),
        };
        let answer = match answer {
            Err(Refusal::KeyTaken(None)) => made_before(&self.handle, &timely).await,
            answer => answer,
        };
        if let (Err(_), Some(known)) = (&answer, known) {
            known.rate.give_back(1);
        }
        answer
    }
}

/// The request as it arrives by the clock of the node that leads: not later than now, with the time it has.
fn accepted_by(accepted: Arc<Accepted>, now: Time) -> Accepted {
    let mut accepted = Arc::unwrap_or_clone(accepted);
    let ahead = (accepted.order.request.arrival - now).seconds();
    if ahead > 0.0 {
        let earlier = |time: Time| Time::new(time.seconds() - ahead).unwrap_or(now);
        let order = &mut accepted.order;
        order.request.arrival = now;
        order.request.due = earlier(order.request.due);
        order.expires = earlier(order.expires);
    }
    accepted
}
