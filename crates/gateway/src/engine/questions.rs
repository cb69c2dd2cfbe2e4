//! What those ask who look on and change nothing.

use std::sync::Arc;

use dispatch::{Owner, RequestId};
use scheduling::Time;
use serde::{Deserialize, Serialize};
use tokio::sync::oneshot;

use super::counting::ahead;
use super::statistics::{Changed, Scale, Tally};
use super::{Engine, Explained};
use crate::backends::Preview;
use crate::config::Config;
use crate::status::{Refusal, ServerView, Status};

/// What somebody wants to know.
pub(crate) enum Question {
    /// What the latest decision of a request was chosen from, if that is still known.
    Explanation { id: RequestId, reply: oneshot::Sender<Option<Arc<Explained>>> },
    /// The servers.
    Servers { reply: oneshot::Sender<Vec<ServerView>> },
    /// How all requests stand that have not ended, or those of one owner.
    Standing { owner: Option<Owner>, reply: oneshot::Sender<Vec<Status>> },
    /// What is in force.
    InForce { reply: oneshot::Sender<InForce> },
    /// The statistics that have changed since so many changes.
    Statistics { scale: Scale, since: u64, reply: oneshot::Sender<Changed> },
    /// What has come of the requests of these owners, in the same order.
    Usage { owners: Vec<Owner>, reply: oneshot::Sender<Vec<Usage>> },
    /// How a request that runs looks at the moment.
    Preview { id: RequestId, reply: oneshot::Sender<Option<Preview>> },
    /// Whether a request would be taken in.
    Ready { reply: oneshot::Sender<Result<(), Refusal>> },
}

/// What is in force at the moment.
#[derive(Clone)]
pub(crate) struct InForce {
    /// What the operator wants.
    pub(crate) config: Arc<Config>,
    /// Name of the policy that decides.
    pub(crate) policy: Arc<str>,
    /// Name of the one whose decisions are only written down.
    pub(crate) shadow_policy: Option<Arc<str>>,
}

/// What has come of an owner's requests.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub(crate) struct Usage {
    /// Since the gateway was started.
    pub(crate) tally: Tally,
    /// Those that have not ended.
    pub(crate) held: usize,
}

impl Engine {
    // Whoever asked may have gone away: that its answer finds nobody is no error.
    pub(super) fn answer(&self, now: Time, question: Question) {
        match question {
            Question::Explanation { id, reply } => {
                let _ = reply.send(self.explanations.of(id));
            }
            Question::Servers { reply } => {
                let _ = reply.send(self.views(now));
            }
            Question::Standing { owner, reply } => {
                let _ = reply.send(self.standing(owner.as_ref()));
            }
            Question::InForce { reply } => {
                let _ = reply.send(InForce {
                    config: self.config.clone(),
                    policy: self.policy.clone(),
                    shadow_policy: self.shadow_policy.clone(),
                });
            }
            Question::Statistics { scale, since, reply } => {
                let changed = self.statistics.since(scale, since, now, ahead(&self.timeline));
                let _ = reply.send(changed);
            }
            Question::Usage { owners, reply } => {
                let _ = reply.send(owners.iter().map(|owner| self.usage(owner)).collect());
            }
            Question::Preview { id, reply } => {
                let _ = reply.send(self.foreman.gallery.previews.latest(id));
            }
            Question::Ready { reply } => {
                let _ = reply.send(self.ready());
            }
        }
    }
    fn usage(&self, owner: &Owner) -> Usage {
        let tally = self.statistics.tallies().get(owner).copied().unwrap_or_default();
        Usage { tally, held: self.scheduler.held(owner) }
    }
}
