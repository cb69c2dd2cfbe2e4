use super::ledger::Counts;
use super::*;
use crate::config::Config;
use crate::http::budget::Purse;
use futures_util::FutureExt as _;
use proptest::prelude::*;

fn places(connections: u32) -> Arc<Places> {
    Places::new(Most::of(&LimitsConfig { connections, ..LimitsConfig::default() }, 3))
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
    assert_eq!(places.ledger().counts.ordinary, 15, "one was given away, and bob has gone");
    // It may go on where it has a place, but not on more of them.
    held[0].0.begin();
    assert_eq!(status(held[0].0.serve(Some(&ann), Errand::Other)), 200);
    assert_eq!(busy(&places, &ann).1, 429);
    drop(held);
    assert_eq!(*places.ledger(), Ledger::default());
}

impl PartialEq for Ledger {
    fn eq(&self, other: &Self) -> bool {
        self.counts == other.counts && self.entries.len() == other.entries.len()
    }
}

impl std::fmt::Debug for Ledger {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:?}", self.counts)
    }
}

#[tokio::test]
async fn when_all_are_busy_health_checks_and_operators_still_get_in() {
    let places = places(16);
    let keys: Vec<_> = (0..4).map(|key| account(&format!("key{key}"), Role::Requester)).collect();
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
    assert_eq!(places.ledger().counts.of_peer[&peer(1)], 4);
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
            let ledger = places.ledger();
            let mut counts = Counts::default();
            ledger.entries.values().for_each(|entry| counts.add(entry));
            prop_assert_eq!(&counts, &ledger.counts);
            prop_assert!(counts.ordinary <= 8 && counts.reserve <= 4);
            prop_assert!(counts.of_peer.values().all(|of_peer| *of_peer <= 8));
            let alive = held.iter().filter(|place| !place.given_away.is_cancelled()).count();
            prop_assert_eq!(alive, ledger.entries.len());
        }
    }
}
