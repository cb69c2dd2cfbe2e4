//! Shares of the servers' time.

use proptest::prelude::*;

use super::*;

const HORIZON: f64 = 60.0;

fn shared(rates: &[f64], policy: Box<dyn Policy>) -> Scheduler {
    let limits = Limits { waiting: 1000, horizon: Some(Seconds::of(HORIZON)), ..LIMITS };
    let mut s = scheduler(rates, policy, limits);
    (0..rates.len()).for_each(|j| s.server_up(Time::ZERO, j));
    s
}

/// A request of `owner` that takes `seconds` on a server of 10 steps per second, with [`fixed`] 100
/// steps.
fn work(n: u64, now: f64, owner: &str, seconds: f64) -> Order {
    let mut order = Order { owner: owner.into(), ..order(n, now, 30.0) };
    order.request.size = Size::new(seconds / 10.0).unwrap();
    order
}

fn submit(s: &mut Scheduler, now: f64, order: Order) -> Result<(), Rejection> {
    let id = order.id;
    s.submit(at(now), order)?;
    s.recorded(at(now), id);
    Ok(())
}

#[test]
fn an_owner_alone_may_fill_the_horizon_and_others_come_in_all_the_same() {
    let mut s = shared(&[10.0, 10.0], fixed(100));
    // Two run at once, then 120 s of the two servers' time.
    for n in 0..8 {
        submit(&mut s, 0.0, work(n, 0.0, "ann", 20.0)).unwrap();
    }
    let Err(Rejection::ShareUsedUp { held, service, allowed, retry_after }) =
        submit(&mut s, 0.0, work(8, 0.0, "ann", 20.0))
    else {
        panic!("ann has 120 s waiting")
    };
    assert_eq!([held, service, allowed].map(Seconds::seconds), [120.0, 20.0, 120.0]);
    // Two of hers start at 20 s.
    assert_eq!(retry_after, Seconds::of(20.0));
    submit(&mut s, 0.0, work(9, 0.0, "bob", 20.0)).unwrap();
    let quote = s.quote(at(0.0), &work(10, 0.0, "cyd", 1.0)).unwrap();
    assert!(quote.execution.start <= at(20.0 + HORIZON + 20.0), "{quote:?}");
    // Bob holds his share of one request until ann's queue is shorter.
    assert!(matches!(
        submit(&mut s, 0.0, work(11, 0.0, "bob", 20.0)),
        Err(Rejection::ShareUsedUp { .. })
    ));
}

#[test]
fn the_time_to_come_back_is_true() {
    let mut s = shared(&[10.0], fixed(100));
    for (n, owner) in ["ann", "ann", "bob", "ann"].into_iter().enumerate() {
        submit(&mut s, 0.0, work(n as u64, 0.0, owner, 15.0)).unwrap();
    }
    let refused =
        |s: &mut Scheduler, now: f64, n: u64| match submit(s, now, work(n, now, "ann", 15.0)) {
            Err(Rejection::ShareUsedUp { retry_after, .. }) => Some(retry_after.seconds()),
            other => other.map(|()| None).unwrap(),
        };
    // 30 s are ann's share beside bob: the second of hers starts at 15 s.
    assert_eq!(refused(&mut s, 0.0, 4), Some(15.0));
    assert_eq!(refused(&mut s, 14.0, 5), Some(1.0));
    s.completed(at(15.0), run_of(&s, 0));
    assert_eq!(refused(&mut s, 15.0, 6), None);
}

#[test]
fn one_request_may_always_wait_and_what_starts_at_once_does_not_count() {
    let mut s = shared(&[10.0, 10.0], fixed(100));
    // Each far above the horizon. Two start before the journal has them, one waits.
    for n in 0..3 {
        s.submit(at(0.0), work(n, 0.0, "ann", 500.0)).unwrap();
    }
    assert!(s.submit(at(0.0), work(3, 0.0, "ann", 500.0)).is_err());
    s.submit(at(0.0), work(4, 0.0, "bob", 500.0)).unwrap();
    assert!(s.submit(at(0.0), work(5, 0.0, "bob", 1.0)).is_err());
}

#[test]
fn places_are_kept_for_those_who_may_come() {
    let limits = Limits { horizon: Some(Seconds::of(1e6)), ..LIMITS };
    let mut s = scheduler(&[10.0], fixed(100), limits);
    s.server_up(at(0.0), 0);
    let by = |s: &mut Scheduler, owner: &str, n| s.submit(at(0.0), work(n, 0.0, owner, 10.0));
    // Twelve may wait and one may run. Half full: ann alone gets half of the places.
    (0..6).for_each(|n| by(&mut s, "ann", n).unwrap());
    assert!(matches!(by(&mut s, "ann", 6), Err(Rejection::PlacesUsedUp { held: 6, share: 6, .. })));
    (7..11).for_each(|n| by(&mut s, "bob", n).unwrap());
    assert!(matches!(
        by(&mut s, "bob", 11),
        Err(Rejection::PlacesUsedUp { held: 4, share: 4, .. })
    ));
    (12..14).for_each(|n| by(&mut s, "cyd", n).unwrap());
    assert!(matches!(by(&mut s, "cyd", 14), Err(Rejection::QueueFull { waiting: 12, .. })));
    // A single owner has all of them.
    let mut s = scheduler(&[10.0], fixed(100), LIMITS);
    s.server_up(at(0.0), 0);
    (0..12).for_each(|n| by(&mut s, "ann", n).unwrap());
    assert!(matches!(by(&mut s, "ann", 12), Err(Rejection::QueueFull { .. })));
}

proptest! {
    /// Whoever came before and however much they sent: a newcomer is accepted, and waits for the
    /// runs under way, the horizon, and one request of each owner at most.
    #[test]
    fn a_newcomers_wait_is_bounded(
        events in prop::collection::vec((0..3usize, 0.5..200.0, 0.0..8.0), 1..80),
        servers in 1..4usize, myopic in any::<bool>(),
    ) {
        let policy: Box<dyn Policy> = if myopic { Box::new(Myopic) } else { fixed(100) };
        let mut s = shared(&vec![10.0; servers], policy);
        let (mut now, mut longest) = (0.0, 0.0_f64);
        for (n, (owner, seconds, pause)) in events.into_iter().enumerate() {
            now += pause;
            // Ideal servers.
            while let Some((finish, run)) = (s.servers().iter())
                .filter_map(|server| server.occupancy.run())
                .map(|run| (run.start + run.service, run.id))
                .filter(|(finish, _)| *finish <= at(now))
                .min_by(|a, b| a.0.seconds().total_cmp(&b.0.seconds()))
            {
                s.completed(finish, run);
            }
            let owner = ["ann", "bob", "cyd"][owner];
            if submit(&mut s, now, work(n as u64, now, owner, seconds)).is_ok() {
                // Two hundred steps take twice as long.
                longest = longest.max(2.0 * seconds);
            }
            let newcomer = s.quote(at(now), &work(1_000_000, now, "newcomer", 1.0)).unwrap();
            let wait = (newcomer.execution.start - at(now)).seconds();
            let least = (0..servers).map(|j| s.backlog(at(now), j).seconds());
            let least = least.fold(f64::INFINITY, f64::min);
            let bound = longest + HORIZON + 3.0 * longest / servers as f64;
            prop_assert!(least <= bound + 1e-6, "{} > {}", least, bound);
            // It goes where it is finished first, or not much later.
            prop_assert!(wait <= bound + 2.0 + 1e-6, "{} > {}", wait, bound);
        }
    }
}
