//! How requests stand, as a node that does not lead hears of it.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use dispatch::RequestId;
use tokio::sync::{broadcast, watch};

use crate::engine::Change;
use crate::journal::EndEntry;
use crate::status::{Phase, Status};

/// Requests that somebody follows here. Copies share them.
#[derive(Clone)]
pub(super) struct Mirror {
    followed: Arc<Mutex<HashMap<RequestId, watch::Sender<Status>>>>,
    changes: broadcast::Sender<Change>,
}

impl Mirror {
    /// Changes that somebody who listens may be behind.
    const CHANGES: usize = 4096;

    pub(super) fn new() -> Self {
        Self { followed: Arc::default(), changes: broadcast::channel(Self::CHANGES).0 }
    }

    /// Where changes are told.
    pub(super) fn changes(&self) -> broadcast::Sender<Change> {
        self.changes.clone()
    }

    /// Whether anybody here wants to hear of a request.
    pub(super) fn wants(&self, id: RequestId) -> bool {
        self.changes.receiver_count() > 0 || self.followed().contains_key(&id)
    }

    /// A request has changed, says whoever leads. Of these some may never come.
    pub(super) fn heard(&self, change: &Change) {
        let _ = self.changes.send(change.clone());
        let id = change.accepted.order.id;
        let mut followed = self.followed();
        let Some(sender) = followed.get(&id) else { return };
        sender.send_replace((**change).clone());
        if sender.is_closed() || matches!(change.phase, Phase::Ended(_)) {
            followed.remove(&id);
        }
    }

    /// A request has ended, says the log, of which everything comes.
    pub(super) fn ended(&self, id: RequestId, end: &EndEntry) {
        if let Some(sender) = self.followed().remove(&id) {
            sender.send_modify(|status| status.phase = Phase::Ended(end.clone()));
        }
    }

    /// Requests that somebody follows.
    pub(super) fn all_followed(&self) -> Vec<RequestId> {
        let mut followed = self.followed();
        followed.retain(|_, sender| !sender.is_closed());
        followed.keys().copied().collect()
    }

    /// Follows a request that has not ended, as it stands.
    pub(super) fn follow(&self, status: Status) -> watch::Receiver<Status> {
        let mut followed = self.followed();
        let id = status.accepted.order.id;
        followed.entry(id).or_insert_with(|| watch::channel(status).0).subscribe()
    }

    fn followed(&self) -> MutexGuard<'_, HashMap<RequestId, watch::Sender<Status>>> {
        self.followed.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
