//! Slows down whoever tries keys. Right keys never wait for it.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use axum::http::StatusCode;
use scheduling::Seconds;
use tokio::time::Instant;

use super::peer::Peer;
use super::problem::Problem;

/// Wrong keys per peer: some may come at once, and more are answered one after the other.
#[derive(Default)]
pub(crate) struct Brake(Mutex<State>);

#[derive(Default)]
struct State {
    /// When the last wrong key of a peer is due to be answered, had none come at once.
    answered: HashMap<Peer, Instant>,
    /// When those that are over were last taken out.
    cleared: Option<Instant>,
}

impl Brake {
    /// Time between two answers.
    const EACH: Duration = Duration::from_millis(100);
    /// Time's worth of wrong keys that are answered at once.
    const AT_ONCE: Duration = Duration::from_secs(1);
    /// Longest time that an answer is held; beyond it there is none.
    const LONGEST: Duration = Duration::from_secs(5);
    /// Peers that are remembered. Those beyond share one place.
    const PEERS: usize = 65_536;

    /// Waits until another wrong key of this peer may be answered.
    ///
    /// # Errors
    /// 429 if too many wait already.
    pub(crate) async fn hold(&self, peer: Peer) -> Result<(), Problem> {
        let Some(delay) = self.delay(peer) else {
            let detail = "too many wrong keys came from this address";
            let problem =
                Problem::new(StatusCode::TOO_MANY_REQUESTS, "too_many_wrong_keys", detail);
            return Err(problem.after(Seconds::of(Self::LONGEST.as_secs_f64())));
        };
        if !delay.is_zero() {
            tokio::time::sleep(delay).await;
        }
        Ok(())
    }

    /// How long the answer is held; none if there is to be none.
    fn delay(&self, peer: Peer) -> Option<Duration> {
        let now = Instant::now();
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let State { answered, cleared } = &mut *state;
        let full = answered.len() >= Self::PEERS;
        if full && cleared.is_none_or(|cleared| cleared + Self::AT_ONCE <= now) {
            answered.retain(|_, at| *at > now);
            *cleared = Some(now);
        }
        let known = answered.len() < Self::PEERS || answered.contains_key(&peer);
        let place = if known { peer } else { Peer::UNKNOWN };
        let next = answered.get(&place).map_or(now, |at| (*at).max(now)) + Self::EACH;
        let delay = (next - now).saturating_sub(Self::AT_ONCE);
        (delay <= Self::LONGEST).then(|| {
            answered.insert(place, next);
            delay
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::IpAddr;

    #[tokio::test(start_paused = true)]
    async fn ten_wrong_keys_come_at_once_and_ten_more_every_second() {
        let brake = Brake::default();
        let (here, elsewhere) = (Peer::UNKNOWN, Peer::from(IpAddr::from([10, 0, 0, 7])));
        let start = Instant::now();
        for tried in 0..40_u32 {
            brake.hold(here).await.unwrap();
            let tenths = tried.saturating_sub(9);
            assert_eq!(start.elapsed().as_millis() / 100, u128::from(tenths), "after {tried}");
        }
        let before = Instant::now();
        brake.hold(elsewhere).await.unwrap();
        assert_eq!(before.elapsed(), Duration::ZERO, "others do not wait");
        // Many at once: those that would wait too long are told so.
        let delays: Vec<_> = (0..200).map(|_| brake.delay(here)).collect();
        let held = delays.iter().flatten().count();
        assert!((40..=60).contains(&held), "{held} are held");
        assert!(delays.iter().flatten().all(|delay| *delay <= Brake::LONGEST));
        tokio::time::advance(Duration::from_mins(1)).await;
        assert_eq!(brake.delay(here), Some(Duration::ZERO), "it is forgotten");
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_remembered_is_bounded() {
        let brake = Brake::default();
        for peer in 1..100_000_u32 {
            brake.delay(Peer::from(IpAddr::from(peer.to_be_bytes())));
        }
        assert_eq!(brake.0.lock().unwrap().answered.len(), Brake::PEERS + 1, "one is for the rest");
        tokio::time::advance(Duration::from_mins(1)).await;
        brake.delay(Peer::UNKNOWN);
        assert_eq!(brake.0.lock().unwrap().answered.len(), 1);
    }
}
