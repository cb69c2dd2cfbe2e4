//! Who may hold a connection: so many in all, a share of them for each key and address, and some
//! kept for health checks and operators.
//!
//! A connection is busy from the head of a request until its answer has been taken. While no place
//! is free, newcomers are given those of connections that are not busy, so only what is busy is
//! bounded per key. Until it has shown a key, a connection counts towards its address.

use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use axum::http::StatusCode;
use scheduling::Seconds;
use tokio::sync::Notify;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use self::ledger::{Entry, Holder, Ledger};
use super::account::{Account, Role};
use super::peer::Peer;
use super::problem::Problem;
use crate::config::LimitsConfig;

mod ledger;

pub(crate) use self::ledger::Kind;

/// All connections.
pub(crate) struct Places {
    ledger: Mutex<Ledger>,
    freed: Notify,
    most: Mutex<Most>,
}

/// How many there may be.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Most {
    ordinary: usize,
    reserve: usize,
    /// Busy ones of a key.
    of_key: usize,
    /// Ones of an address that have shown no key.
    of_peer: usize,
}

/// What a request is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Errand {
    /// To see whether the gateway lives. Always served.
    Health,
    Other,
}

/// One connection's place; free again when it is dropped.
pub(crate) struct Place {
    id: u64,
    pub(crate) kind: Kind,
    pub(crate) peer: Peer,
    places: Arc<Places>,
    given_away: CancellationToken,
    answer: AtomicU8,
}

/// There is none.
const NONE: u8 = 0;
/// It is being made.
const MADE: u8 = 1;
/// It is whole, and parts of it may wait for the client.
const WHOLE: u8 = 2;

impl Most {
    /// By these limits, for so many keys.
    pub(crate) fn of(limits: &LimitsConfig, keys: usize) -> Self {
        let ordinary = limits.connections as usize;
        Self {
            ordinary,
            reserve: Places::reserve(limits.connections) as usize,
            of_key: limits.connections_of_a_key(keys),
            of_peer: (ordinary / 2).max(1),
        }
    }
}

impl Places {
    pub(crate) fn new(most: Most) -> Arc<Self> {
        let most = Mutex::new(most);
        Arc::new(Self { ledger: Mutex::default(), freed: Notify::new(), most })
    }

    /// So many from now on; those that are there stay.
    pub(crate) fn change(&self, most: Most) {
        *self.most.lock().unwrap_or_else(PoisonError::into_inner) = most;
        self.freed.notify_waiters();
    }

    fn most(&self) -> Most {
        *self.most.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Places beyond the limit that are kept for health checks and operators.
    pub(crate) fn reserve(connections: u32) -> u32 {
        (connections / 16).clamp(4, 64)
    }

    /// A place for a newcomer, as soon as there is one.
    pub(crate) async fn admit(self: &Arc<Self>, peer: Peer) -> Place {
        loop {
            let freed = self.freed.notified();
            if let Some(place) = self.try_admit(peer) {
                return place;
            }
            freed.await;
        }
    }

    fn try_admit(self: &Arc<Self>, peer: Peer) -> Option<Place> {
        let mut ledger = self.ledger();
        let most = self.most();
        let unshown = ledger.counts.of_peer.get(&peer).copied().unwrap_or(0);
        let ordinary = if unshown >= most.of_peer {
            let holder = Holder::Peer(peer);
            ledger.give_away(|entry| entry.kind == Kind::Ordinary && entry.holder == holder)
        } else {
            ledger.counts.ordinary < most.ordinary
                || ledger.give_away(|entry| entry.kind == Kind::Ordinary)
        };
        let kind = if ordinary {
            Kind::Ordinary
        } else if ledger.counts.reserve < most.reserve
            || ledger.give_away(|entry| entry.kind == Kind::Reserve)
        {
            Kind::Reserve
        } else {
            return None;
        };
        let given_away = CancellationToken::new();
        let (holder, since) = (Holder::Peer(peer), Instant::now());
        let entry = Entry { kind, holder, busy: false, since, given_away: given_away.clone() };
        let id = ledger.enter(entry);
        drop(ledger);
        let (places, answer) = (self.clone(), AtomicU8::new(NONE));
        Some(Place { id, kind, peer, places, given_away, answer })
    }

    fn ledger(&self) -> MutexGuard<'_, Ledger> {
        // Every change is whole before anything can panic.
        self.ledger.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Place {
    /// The head of a request has come in.
    pub(crate) fn begin(&self) {
        self.answer.store(MADE, Ordering::Relaxed);
        self.set_busy(true);
    }

    /// Whoever sent it is known: may it be served?
    ///
    /// # Errors
    /// 429 if the key has too many connections in use; 503 if what is left is kept for others.
    pub(crate) fn serve(&self, visitor: Option<&Account>, errand: Errand) -> Result<(), Problem> {
        let most = self.places.most();
        let mut ledger = self.places.ledger();
        if let Some(visitor) = visitor {
            let holder = Holder::Key(visitor.owner.clone(), visitor.role);
            ledger.change(self.id, |entry| entry.holder = holder);
        }
        if errand == Errand::Health {
            return Ok(());
        }
        let operator = visitor.is_some_and(|visitor| visitor.role == Role::Operator);
        if self.kind == Kind::Reserve {
            if operator && 2 * ledger.counts.reserve_of_operators <= most.reserve {
                return Ok(());
            }
            let detail = "all connections are in use";
            let problem = Problem::new(StatusCode::SERVICE_UNAVAILABLE, "busy", detail);
            return Err(problem.after(Seconds::of(1.0)));
        }
        let of_key = visitor.and_then(|visitor| ledger.counts.busy_of_key.get(&visitor.owner));
        if of_key.is_some_and(|busy| *busy > most.of_key) {
            let most = most.of_key;
            let detail = format!("this key has {most} connections in use, and more is not allowed");
            let status = StatusCode::TOO_MANY_REQUESTS;
            let problem = Problem::new(status, "too_many_connections", detail);
            return Err(problem.after(Seconds::of(1.0)));
        }
        Ok(())
    }

    /// The answer is whole, and what has not been written yet will be.
    pub(crate) fn answered(&self) {
        self.answer.store(WHOLE, Ordering::Relaxed);
    }

    /// All that there was to write has been taken.
    pub(crate) fn flushed(&self) {
        let whole = (WHOLE, NONE, Ordering::Relaxed, Ordering::Relaxed);
        if self.answer.compare_exchange(whole.0, whole.1, whole.2, whole.3).is_ok() {
            self.set_busy(false);
            self.places.freed.notify_waiters();
        }
    }

    /// Resolves when somebody else has been given the place.
    pub(crate) async fn given_away(&self) {
        self.given_away.cancelled().await;
    }

    fn set_busy(&self, busy: bool) {
        let since = Instant::now();
        self.places.ledger().change(self.id, |entry| (entry.busy, entry.since) = (busy, since));
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.places.ledger().remove(self.id);
        self.places.freed.notify_waiters();
    }
}

#[cfg(test)]
mod tests;
