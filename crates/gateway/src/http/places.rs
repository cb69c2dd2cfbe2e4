//! Who may hold a connection: so many in all, a share of them for each key and address, and some
//! kept for health checks and operators.
//!
//! A connection is busy from the head of a request until its answer has been taken. While no place
//! is free, newcomers are given those of connections that are not busy, so only what is busy is
//! bounded per key. Until it has shown a key, a connection counts towards its address.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use axum::http::StatusCode;
use dispatch::Owner;
use scheduling::Seconds;
use tokio::sync::Notify;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::account::{Account, Role};
use super::peer::Peer;
use super::problem::Problem;
use crate::config::LimitsConfig;

/// All connections.
pub(crate) struct Places {
    state: Mutex<State>,
    freed: Notify,
    most: Most,
}

/// How many there may be.
#[derive(Clone, Copy, Debug)]
struct Most {
    ordinary: usize,
    reserve: usize,
    /// Busy ones of a key.
    of_key: usize,
    /// Ones of an address that have shown no key.
    of_peer: usize,
}

#[derive(Default)]
struct State {
    next: u64,
    entries: HashMap<u64, Entry>,
    counts: Counts,
}

#[derive(Debug, Default, PartialEq, Eq)]
struct Counts {
    ordinary: usize,
    reserve: usize,
    reserve_of_operators: usize,
    busy_of_key: HashMap<Owner, usize>,
    of_peer: HashMap<Peer, usize>,
}

struct Entry {
    kind: Kind,
    holder: Holder,
    busy: bool,
    /// Of the last change between busy and not.
    since: Instant,
    given_away: CancellationToken,
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
enum Holder {
    /// Nobody has shown a key on it.
    Peer(Peer),
    /// The last key that was shown.
    Key(Owner, Role),
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

impl Places {
    pub(crate) fn new(limits: &LimitsConfig, keys: usize) -> Arc<Self> {
        let ordinary = limits.connections as usize;
        let most = Most {
            ordinary,
            reserve: Self::reserve(limits.connections) as usize,
            of_key: limits.connections_of_a_key(keys),
            of_peer: (ordinary / 2).max(1),
        };
        Arc::new(Self { state: Mutex::default(), freed: Notify::new(), most })
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
        let mut state = self.state();
        let most = self.most;
        let unshown = state.counts.of_peer.get(&peer).copied().unwrap_or(0);
        let ordinary = if unshown >= most.of_peer {
            let holder = Holder::Peer(peer);
            state.give_away(|entry| entry.kind == Kind::Ordinary && entry.holder == holder)
        } else {
            state.counts.ordinary < most.ordinary
                || state.give_away(|entry| entry.kind == Kind::Ordinary)
        };
        let kind = if ordinary {
            Kind::Ordinary
        } else if state.counts.reserve < most.reserve
            || state.give_away(|entry| entry.kind == Kind::Reserve)
        {
            Kind::Reserve
        } else {
            return None;
        };
        let (id, given_away) = (state.next, CancellationToken::new());
        state.next += 1;
        let (holder, since) = (Holder::Peer(peer), Instant::now());
        let entry = Entry { kind, holder, busy: false, since, given_away: given_away.clone() };
        state.insert(id, entry);
        drop(state);
        let (places, answer) = (self.clone(), AtomicU8::new(NONE));
        Some(Place { id, kind, peer, places, given_away, answer })
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // Every change is whole before anything can panic.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn insert(&mut self, id: u64, entry: Entry) {
        self.counts.add(&entry);
        self.entries.insert(id, entry);
    }

    fn remove(&mut self, id: u64) -> Option<Entry> {
        let entry = self.entries.remove(&id)?;
        self.counts.subtract(&entry);
        Some(entry)
    }

    /// Changes an entry, if its place has not been given away.
    fn change(&mut self, id: u64, change: impl FnOnce(&mut Entry)) {
        if let Some(mut entry) = self.remove(id) {
            change(&mut entry);
            self.insert(id, entry);
        }
    }

    /// Takes a place from one of these connections that is not busy: from the holder with most of
    /// them the one that has been so for longest.
    fn give_away(&mut self, of: impl Fn(&Entry) -> bool) -> bool {
        let idle = || self.entries.iter().filter(|(_, entry)| !entry.busy && of(entry));
        let mut held = HashMap::<&Holder, usize>::new();
        idle().for_each(|(_, entry)| *held.entry(&entry.holder).or_default() += 1);
        let longest = |(id, entry): &(&u64, &Entry)| {
            (std::cmp::Reverse(held[&entry.holder]), entry.since, **id)
        };
        let Some(id) = idle().min_by_key(longest).map(|(id, _)| *id) else { return false };
        if let Some(entry) = self.remove(id) {
            entry.given_away.cancel();
        }
        true
    }
}

impl Counts {
    fn add(&mut self, entry: &Entry) {
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
        fn less<K: std::hash::Hash + Eq>(counts: &mut HashMap<K, usize>, key: &K) {
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
        let most = self.places.most;
        let mut state = self.places.state();
        if let Some(visitor) = visitor {
            let holder = Holder::Key(visitor.owner.clone(), visitor.role);
            state.change(self.id, |entry| entry.holder = holder);
        }
        if errand == Errand::Health {
            return Ok(());
        }
        let operator = visitor.is_some_and(|visitor| visitor.role == Role::Operator);
        if self.kind == Kind::Reserve {
            if operator && 2 * state.counts.reserve_of_operators <= most.reserve {
                return Ok(());
            }
            let detail = "all connections are in use";
            let problem = Problem::new(StatusCode::SERVICE_UNAVAILABLE, "busy", detail);
            return Err(problem.after(Seconds::of(1.0)));
        }
        let of_key = visitor.and_then(|visitor| state.counts.busy_of_key.get(&visitor.owner));
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
        self.places.state().change(self.id, |entry| (entry.busy, entry.since) = (busy, since));
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.places.state().remove(self.id);
        self.places.freed.notify_waiters();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Config;
    use crate::http::budget::Purse;
    use futures_util::FutureExt as _;
    use proptest::prelude::*;

    fn places(connections: u32) -> Arc<Places> {
        Places::new(&LimitsConfig { connections, ..LimitsConfig::default() }, 3)
    }

    fn account(owner: &str, role: Role) -> Account {
        Account::new(owner.into(), role, None, &Config::demo(), Purse::new(u32::MAX))
    }

    fn peer(last: u8) -> Peer {
        Peer::from(std::net::IpAddr::from([10, 0, 0, last]))
    }

    fn status(served: Result<(), Problem>) -> u16 {
        served.map_or_else(|problem| problem.status.as_u16(), |()| 200)
    }

    /// A connection on which a request of this key is under way.
    fn busy(places: &Arc<Places>, visitor: &Account) -> (Place, u16) {
        let place = places.try_admit(Peer::UNKNOWN).unwrap();
        place.begin();
        let served = status(place.serve(Some(visitor), Errand::Other));
        (place, served)
    }

    #[tokio::test]
    async fn a_key_has_its_share_and_others_get_in() {
        let places = places(16);
        let (ann, bob) = (account("ann", Role::Requester), account("bob", Role::Requester));
        let held: Vec<_> = (0..16).map(|_| busy(&places, &ann)).collect();
        let served: Vec<_> = held.iter().map(|(_, status)| *status).collect();
        assert_eq!(served, [[200; 4].as_slice(), &[429; 12]].concat());
        // What was refused is answered, so its places are there for others.
        for (place, _) in &held[4..] {
            place.answered();
            place.flushed();
        }
        assert_eq!(busy(&places, &bob).1, 200);
        assert_eq!(places.state().counts.ordinary, 15, "one was given away, and bob has gone");
        // It may go on where it has a place, but not on more of them.
        held[0].0.begin();
        assert_eq!(status(held[0].0.serve(Some(&ann), Errand::Other)), 200);
        assert_eq!(busy(&places, &ann).1, 429);
        drop(held);
        assert_eq!(*places.state(), State::default());
    }

    impl PartialEq for State {
        fn eq(&self, other: &Self) -> bool {
            self.counts == other.counts && self.entries.len() == other.entries.len()
        }
    }

    impl std::fmt::Debug for State {
        fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            write!(f, "{:?}", self.counts)
        }
    }

    #[tokio::test]
    async fn when_all_are_busy_health_checks_and_operators_still_get_in() {
        let places = places(16);
        let keys: Vec<_> =
            (0..4).map(|key| account(&format!("key{key}"), Role::Requester)).collect();
        let operator = account("op", Role::Operator);
        let held: Vec<_> = keys.iter().flat_map(|key| (0..4).map(|_| busy(&places, key))).collect();
        assert!(held.iter().all(|(place, status)| place.kind == Kind::Ordinary && *status == 200));
        let (late, refused) = busy(&places, &keys[0]);
        assert_eq!((late.kind, refused), (Kind::Reserve, 503));
        let health = places.try_admit(peer(1)).unwrap();
        health.begin();
        assert_eq!(status(health.serve(None, Errand::Health)), 200);
        assert_eq!(status(health.serve(None, Errand::Other)), 503);
        // The reserve is for health checks too: operators get half of it.
        let first = busy(&places, &operator);
        let second = busy(&places, &operator);
        assert_eq!((first.1, second.1), (200, 200));
        assert!(places.try_admit(peer(2)).is_none(), "even the reserve is busy");
        drop(late);
        assert_eq!(busy(&places, &operator).1, 503);
        drop((health, held));
    }

    #[tokio::test]
    async fn silent_connections_make_way_the_oldest_of_the_greediest_first() {
        let places = places(8);
        let greedy: Vec<_> = (0..3).map(|_| places.try_admit(peer(1)).unwrap()).collect();
        let modest: Vec<_> = (2..7).map(|last| places.try_admit(peer(last)).unwrap()).collect();
        let _newcomer = places.try_admit(peer(9)).unwrap();
        let gone = |place: &Place| place.given_away.is_cancelled();
        assert_eq!(greedy.iter().map(gone).collect::<Vec<_>>(), [true, false, false]);
        assert!(!modest.iter().any(gone));
    }

    #[tokio::test]
    async fn an_address_that_shows_no_key_has_half_of_the_places() {
        let places = places(8);
        let held: Vec<_> = (0..6).map(|_| places.try_admit(peer(1)).unwrap()).collect();
        let gone: Vec<_> = held.iter().map(|place| place.given_away.is_cancelled()).collect();
        assert_eq!(gone, [true, true, false, false, false, false]);
        assert_eq!(places.state().counts.of_peer[&peer(1)], 4);
        // Busy ones are left alone: what comes then is in the reserve.
        held.iter().for_each(Place::begin);
        assert_eq!(places.try_admit(peer(1)).unwrap().kind, Kind::Reserve);
        assert_eq!(places.try_admit(peer(2)).unwrap().kind, Kind::Ordinary);
    }

    #[tokio::test]
    async fn who_waits_is_let_in_when_a_place_comes_free() {
        let places = places(1);
        let ann = account("ann", Role::Requester);
        let held: Vec<_> = (0..5).map(|_| busy(&places, &ann)).collect();
        let next = places.admit(peer(1));
        tokio::pin!(next);
        assert!((&mut next).now_or_never().is_none());
        held[3].0.answered();
        held[3].0.flushed();
        assert_eq!(next.await.kind, Kind::Reserve);
        assert!(held[3].0.given_away.is_cancelled());
    }

    proptest! {
        /// Whatever comes and goes: the counts are those of the entries, and no limit is passed.
        #[test]
        fn counts_are_true_and_limits_hold(
            steps in prop::collection::vec((0..5_u8, 0..40_usize, 0..4_u8), 1..200),
        ) {
            let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
            let _entered = runtime.enter();
            let places = places(8);
            let keys = [
                account("ann", Role::Requester),
                account("bob", Role::Requester),
                account("op", Role::Operator),
            ];
            let mut held: Vec<Place> = Vec::new();
            for (what, which, who) in steps {
                let which = which.checked_rem(held.len());
                match (what, which) {
                    (0, _) => held.extend(places.try_admit(peer(who))),
                    (1, Some(which)) => drop(held.swap_remove(which)),
                    (2, Some(which)) => {
                        held[which].begin();
                        let _ = held[which].serve(keys.get(usize::from(who)), Errand::Other);
                    }
                    (3, Some(which)) => {
                        held[which].answered();
                        held[which].flushed();
                    }
                    (4, Some(which)) => {
                        held[which].begin();
                        let _ = held[which].serve(keys.get(usize::from(who)), Errand::Health);
                    }
                    _ => {}
                }
                let state = places.state();
                let mut counts = Counts::default();
                state.entries.values().for_each(|entry| counts.add(entry));
                prop_assert_eq!(&counts, &state.counts);
                prop_assert!(counts.ordinary <= 8 && counts.reserve <= 4);
                prop_assert!(counts.of_peer.values().all(|of_peer| *of_peer <= 8));
                let alive = held.iter().filter(|place| !place.given_away.is_cancelled()).count();
                prop_assert_eq!(alive, state.entries.len());
            }
        }
    }
}
