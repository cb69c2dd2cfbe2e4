//! What callers have under way, and the checkpoints that they chose. That program knows one user; here
//! every caller has to do with his own alone.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use dispatch::{Owner, RequestId};

use crate::http::peer::Peer;

/// All callers. Who has the same key and comes from the same address is one caller.
#[derive(Clone, Default)]
pub(crate) struct Callers(Arc<Mutex<Ledger>>);

#[derive(Default)]
struct Ledger {
    calls: Vec<Entry>,
    next: u64,
    /// By key: no more than there are keys.
    checkpoints: HashMap<Owner, String>,
}

struct Entry {
    number: u64,
    owner: Owner,
    peer: Peer,
    ids: Vec<RequestId>,
}

/// A call that is under way until this is dropped.
#[must_use]
pub(super) struct Call {
    callers: Callers,
    number: u64,
}

impl Callers {
    /// The checkpoint that the holder of a key chose.
    pub(super) fn checkpoint(&self, owner: &Owner) -> Option<String> {
        self.ledger().checkpoints.get(owner).cloned()
    }

    /// Remembers it.
    pub(super) fn choose(&self, owner: &Owner, checkpoint: String) {
        self.ledger().checkpoints.insert(owner.clone(), checkpoint);
    }

    /// Takes note of a call for these pictures.
    pub(super) fn call(&self, owner: &Owner, peer: Peer, ids: &[RequestId]) -> Call {
        let mut ledger = self.ledger();
        let number = ledger.next;
        ledger.next += 1;
        ledger.calls.push(Entry { number, owner: owner.clone(), peer, ids: ids.to_vec() });
        Call { callers: self.clone(), number }
    }

    /// The pictures of the caller's first call that is under way.
    pub(super) fn first(&self, owner: &Owner, peer: Peer) -> Vec<RequestId> {
        let ledger = self.ledger();
        let own = |call: &&Entry| call.owner == *owner && call.peer == peer;
        ledger.calls.iter().find(own).map_or(Vec::new(), |call| call.ids.clone())
    }

    fn ledger(&self) -> MutexGuard<'_, Ledger> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Call {
    fn drop(&mut self) {
        let number = self.number;
        self.callers.ledger().calls.retain(|call| call.number != number);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::IpAddr;

    #[test]
    fn callers_have_to_do_with_their_own_alone() {
        let callers = Callers::default();
        let (ann, bob): (Owner, Owner) = ("ann".into(), "bob".into());
        let (here, there) = (Peer::UNKNOWN, Peer::from(IpAddr::from([10, 0, 0, 7])));
        let id = |number| RequestId(uuid::Uuid::from_u128(number));
        let first = callers.call(&ann, here, &[id(1), id(2)]);
        let second = callers.call(&ann, here, &[id(3)]);
        let elsewhere = callers.call(&ann, there, &[id(4)]);
        assert_eq!(callers.first(&ann, here), [id(1), id(2)]);
        assert_eq!(callers.first(&ann, there), [id(4)]);
        assert_eq!(callers.first(&bob, here), []);
        drop(first);
        assert_eq!(callers.first(&ann, here), [id(3)]);
        drop((second, elsewhere));
        assert!(callers.ledger().calls.is_empty());
        callers.choose(&ann, "sdxl".into());
        assert_eq!(callers.checkpoint(&ann).as_deref(), Some("sdxl"));
        assert_eq!(callers.checkpoint(&bob), None);
    }
}
