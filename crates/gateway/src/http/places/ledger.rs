//! Which connection is whose, and how many of each.

use std::cmp::Reverse;
use std::collections::HashMap;
use std::hash::Hash;

use dispatch::Owner;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::http::account::Role;
use crate::http::peer::Peer;

/// All connections that have a place.
#[derive(Default)]
pub(super) struct Ledger {
    next: u64,
    pub(super) entries: HashMap<u64, Entry>,
    pub(super) counts: Counts,
}

#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Counts {
    pub(super) ordinary: usize,
    pub(super) reserve: usize,
    pub(super) reserve_of_operators: usize,
    pub(super) busy_of_key: HashMap<Owner, usize>,
    pub(super) of_peer: HashMap<Peer, usize>,
}

pub(super) struct Entry {
    pub(super) kind: Kind,
    pub(super) holder: Holder,
    pub(super) busy: bool,
    /// Of the last change between busy and not.
    pub(super) since: Instant,
    pub(super) given_away: CancellationToken,
}

/// Which places it counts towards.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Ordinary,
    /// Kept for health checks and operators, for one answer each.
    Reserve,
}

/// Whose connection it is.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) enum Holder {
    /// Nobody has shown a key on it.
    Peer(Peer),
    /// The last key that was shown.
    Key(Owner, Role),
}

impl Ledger {
    /// Enters a connection under a number of its own.
    pub(super) fn enter(&mut self, entry: Entry) -> u64 {
        let id = self.next;
        self.next += 1;
        self.insert(id, entry);
        id
    }

    fn insert(&mut self, id: u64, entry: Entry) {
        self.counts.add(&entry);
        self.entries.insert(id, entry);
    }

    pub(super) fn remove(&mut self, id: u64) -> Option<Entry> {
        let entry = self.entries.remove(&id)?;
        self.counts.subtract(&entry);
        Some(entry)
    }

    /// Changes an entry, if its place has not been given away.
    pub(super) fn change(&mut self, id: u64, change: impl FnOnce(&mut Entry)) {
        if let Some(mut entry) = self.remove(id) {
            change(&mut entry);
            self.insert(id, entry);
        }
    }

    /// Takes a place from one of these connections that is not busy: from the holder with most of
    /// them the one that has been so for longest.
    pub(super) fn give_away(&mut self, of: impl Fn(&Entry) -> bool) -> bool {
        let idle = || self.entries.iter().filter(|(_, entry)| !entry.busy && of(entry));
        let mut held = HashMap::<&Holder, usize>::new();
        idle().for_each(|(_, entry)| *held.entry(&entry.holder).or_default() += 1);
        let longest =
            |(id, entry): &(&u64, &Entry)| (Reverse(held[&entry.holder]), entry.since, **id);
        let Some(id) = idle().min_by_key(longest).map(|(id, _)| *id) else { return false };
        if let Some(entry) = self.remove(id) {
            entry.given_away.cancel();
        }
        true
    }
}

impl Counts {
    pub(super) fn add(&mut self, entry: &Entry) {
        match entry.kind {
            Kind::Ordinary => self.ordinary += 1,
            Kind::Reserve => self.reserve += 1,
        }
        match &entry.holder {
            Holder::Peer(peer) => *self.of_peer.entry(*peer).or_default() += 1,
            Holder::Key(_, Role::Operator) if entry.kind == Kind::Reserve => {
                self.reserve_of_operators += 1;
            }
            Holder::Key(owner, _) if entry.busy => {
                *self.busy_of_key.entry(owner.clone()).or_default() += 1;
            }
            Holder::Key(..) => {}
        }
    }

    fn subtract(&mut self, entry: &Entry) {
        fn less<K: Hash + Eq>(counts: &mut HashMap<K, usize>, key: &K) {
            if let Some(count) = counts.get_mut(key) {
                *count -= 1;
                if *count == 0 {
                    counts.remove(key);
                }
            }
        }
        match entry.kind {
            Kind::Ordinary => self.ordinary -= 1,
            Kind::Reserve => self.reserve -= 1,
        }
        match &entry.holder {
            Holder::Peer(peer) => less(&mut self.of_peer, peer),
            Holder::Key(_, Role::Operator) if entry.kind == Kind::Reserve => {
                self.reserve_of_operators -= 1;
            }
            Holder::Key(owner, _) if entry.busy => less(&mut self.busy_of_key, owner),
            Holder::Key(..) => {}
        }
    }
}
