//! Requests that have not durably ended: submitted, acknowledged, seen.

use std::sync::Arc;

use dispatch::{Gate, Order, Owner, RequestId, Standing};
use scheduling::Time;
use tokio::sync::{oneshot, watch};

use super::Engine;
use crate::journal::{Accepted, EndEntry, Record};
use crate::metrics;
use crate::status::{Phase, Refusal, Status};

/// Where the answer to a submission goes.
pub(super) type Reply = oneshot::Sender<Result<Status, Refusal>>;

/// Whether the journal has a request. Before it does, nobody hears that it was accepted.
pub(super) enum Acceptance {
    Pending {
        /// Who submitted it.
        reply: Reply,
        /// The same, sent again.
        again: Vec<Reply>,
        /// Who submitted it again under the same idempotency key.
        repeated: Vec<Reply>,
    },
    Durable,
}

/// A request that has not durably ended.
pub(super) struct Tracked {
    pub(super) view: watch::Sender<Status>,
    pub(super) acceptance: Acceptance,
    /// Its end, while it is being written down.
    pub(super) ending: Option<EndEntry>,
}

impl Tracked {
    /// What is answered to another submission under its idempotency key.
    fn taken(&self, id: RequestId) -> Refusal {
        let view = self.view.borrow();
        let fingerprint = view.accepted.key.as_ref().map_or([0; 32], |key| key.fingerprint);
        Refusal::KeyTaken(Some((id, fingerprint)))
    }
}

impl Engine {
    pub(super) fn submit(&mut self, now: Time, accepted: Arc<Accepted>, reply: Reply) {
        // Sent again by a gateway that has not heard what came of it.
        if let Some(tracked) = self.live.get_mut(&accepted.order.id) {
            match &mut tracked.acceptance {
                Acceptance::Pending { again, .. } => again.push(reply),
                Acceptance::Durable => {
                    let status = self.status(accepted.order.id).expect("it is live");
                    let _ = reply.send(Ok(status));
                }
            }
            return;
        }
        let order = self.completed(&accepted);
        let key = accepted.key.as_ref().map(|k| (order.owner.clone(), k.key.clone()));
        if let Some(&id) = key.as_ref().and_then(|key| self.keys.get(key)) {
            let tracked = self.live.get_mut(&id).expect("keys are those of live requests");
            // That there is a request says that it was accepted, which is not sure before the
            // journal has it.
            if let Acceptance::Pending { repeated, .. } = &mut tracked.acceptance {
                repeated.push(reply);
            } else {
                let _ = reply.send(Err(tracked.taken(id)));
            }
            return;
        }
        if self.scheduler.gate() == Gate::Holding {
            let _ = reply.send(Err(Refusal::Journal("writing fails at the moment".into())));
        } else if let Err(rejection) = self.scheduler.submit(now, order) {
            let _ = reply.send(Err(Refusal::Rejected(rejection)));
        } else {
            self.writer.append(Record::Accepted(accepted.clone()));
            let (again, repeated) = (Vec::new(), Vec::new());
            self.track(accepted, Acceptance::Pending { reply, again, repeated });
        }
    }

    /// The order with what only the configuration tells.
    pub(super) fn completed(&self, accepted: &Accepted) -> Order {
        Order { request: self.config.request(accepted), ..accepted.order.clone() }
    }

    pub(super) fn track(&mut self, accepted: Arc<Accepted>, acceptance: Acceptance) {
        let id = accepted.order.id;
        if let Some(key) = &accepted.key {
            self.keys.insert((accepted.order.owner.clone(), key.key.clone()), id);
        }
        let (view, _) = watch::channel(Status::new(accepted));
        self.live.insert(id, Tracked { view, acceptance, ending: None });
    }

    pub(super) fn untrack(&mut self, id: RequestId) -> Option<Tracked> {
        let tracked = self.live.swap_remove(&id)?;
        let accepted = tracked.view.borrow().accepted.clone();
        if let Some(key) = &accepted.key {
            self.keys.remove(&(accepted.order.owner.clone(), key.key.clone()));
        }
        Some(tracked)
    }

    pub(super) fn status(&self, id: RequestId) -> Option<Status> {
        let tracked = self.live.get(&id)?;
        let mut status = tracked.view.borrow().clone();
        if let Some(Standing::Waiting { ahead, .. }) = self.scheduler.standing(id) {
            status.phase = Phase::Waiting { ahead };
        }
        Some(status)
    }

    /// How all requests stand that have not ended and are known to have been accepted, or those of one owner.
    pub(super) fn standing(&self, owner: Option<&Owner>) -> Vec<Status> {
        let known = |t: &&Tracked| matches!(t.acceptance, Acceptance::Durable);
        let views = self.live.values().filter(known).map(|tracked| tracked.view.borrow());
        let own = |view: &Status| owner.is_none_or(|owner| view.accepted.order.owner == *owner);
        views.filter(|view| own(view)).map(|view| view.clone()).collect()
    }

    /// The journal has the request, so everybody may hear of it.
    pub(super) fn acknowledge(&mut self, now: Time, id: RequestId) {
        self.metrics.add(metrics::ACCEPTED, &[], 1.0);
        self.accepted(id);
        self.shadow_arrival(now, id);
        self.scheduler.recorded(now, id);
        self.carry_out(None);
        let Some(status) = self.status(id) else { return };
        let Some(tracked) = self.live.get_mut(&id) else { return };
        let before = std::mem::replace(&mut tracked.acceptance, Acceptance::Durable);
        if let Acceptance::Pending { reply, again, repeated } = before {
            for repetition in repeated {
                let _ = repetition.send(Err(tracked.taken(id)));
            }
            for reply in again.into_iter().chain([reply]) {
                let _ = reply.send(Ok(status.clone()));
            }
        }
        if let Some(tracked) = self.live.get(&id) {
            self.tell(tracked);
        }
    }

    /// Tells whoever listens that a request has changed. Of one that the journal does not have yet nobody hears.
    pub(super) fn tell(&self, tracked: &Tracked) {
        if self.changes.receiver_count() > 0 && matches!(tracked.acceptance, Acceptance::Durable) {
            let _ = self.changes.send(Arc::new(tracked.view.borrow().clone()));
        }
    }

    /// The journal has not taken the request: all who submitted it hear the same.
    pub(super) fn refuse(&mut self, now: Time, id: RequestId, refusal: &Refusal) {
        self.scheduler.withdraw(now, id);
        let Some(tracked) = self.untrack(id) else { return };
        if let Acceptance::Pending { reply, again, repeated } = tracked.acceptance {
            for reply in repeated.into_iter().chain(again).chain([reply]) {
                let _ = reply.send(Err(refusal.clone()));
            }
        }
    }

    /// Changes what is seen of a request, and tells those who watch.
    pub(super) fn change(&self, id: RequestId, change: impl FnOnce(&mut Status)) {
        if let Some(tracked) = self.live.get(&id) {
            tracked.view.send_modify(change);
            self.tell(tracked);
        }
    }
}
