//! Bytes under way: bodies that are being read and answers that wait to be taken, per key and in all.
//!
//! What is claimed stays claimed until the bytes it was claimed for are let go, which is when the
//! client's system has taken them.

use std::sync::Arc;

use axum::http::StatusCode;
use bytes::Bytes;
use scheduling::Seconds;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::problem::Problem;

/// What one key may have under way, beside what all may.
pub(crate) struct Budget {
    own: Purse,
    all: Purse,
}

/// Kibibytes, which suffices to count by.
#[derive(Clone)]
pub(crate) struct Purse {
    free: Arc<Semaphore>,
    whole: u32,
}

impl Purse {
    pub(crate) fn new(bytes: u32) -> Self {
        let whole = (bytes / 1024).max(1);
        Self { free: Arc::new(Semaphore::new(whole as usize)), whole }
    }

    /// Whether it is as large.
    pub(crate) fn is_like(&self, other: &Self) -> bool {
        self.whole == other.whole
    }

    /// What so many bytes take of it: what is larger than all of it has it for itself.
    fn part(&self, bytes: usize) -> u32 {
        u32::try_from(bytes.div_ceil(1024)).unwrap_or(u32::MAX).clamp(1, self.whole)
    }

    fn claim(&self, bytes: usize) -> Option<OwnedSemaphorePermit> {
        self.free.clone().try_acquire_many_owned(self.part(bytes)).ok()
    }

    async fn wait(&self, bytes: usize) -> OwnedSemaphorePermit {
        let permit = self.free.clone().acquire_many_owned(self.part(bytes)).await;
        permit.expect("it is never closed")
    }
}

impl Budget {
    pub(crate) fn new(own: Purse, all: Purse) -> Self {
        Self { own, all }
    }

    /// Whether it is as large, and shared with the same.
    pub(crate) fn is_like(&self, other: &Self) -> bool {
        self.own.is_like(&other.own) && Arc::ptr_eq(&self.all.free, &other.all.free)
    }

    /// Room for so many bytes at the beginning of an answer.
    ///
    /// # Errors
    /// 429 if the key has too much under way, 503 if all together have.
    pub(crate) fn claim(&self, bytes: usize) -> Result<Room, Problem> {
        let own = self.own.claim(bytes).ok_or_else(|| {
            let most = u64::from(self.own.whole) * 1024;
            let detail =
                format!("this key has about {most} bytes under way, and more is not allowed");
            let problem = Problem::new(StatusCode::TOO_MANY_REQUESTS, "too_many_bytes", detail);
            problem.after(Seconds::of(1.0))
        })?;
        let all = self.all.claim(bytes).ok_or_else(|| {
            let detail = "more answers wait to be taken than the gateway holds";
            let problem = Problem::new(StatusCode::SERVICE_UNAVAILABLE, "busy", detail);
            problem.after(Seconds::of(1.0))
        })?;
        Ok(Room { own, all })
    }

    /// Room for so many bytes in the middle of an answer, as soon as there is some. Those who hold
    /// any wait for nothing but their clients, who are cut off if they are slow.
    pub(crate) async fn wait(&self, bytes: usize) -> Room {
        let own = self.own.wait(bytes).await;
        Room { own, all: self.all.wait(bytes).await }
    }
}

/// Bytes that may be held; given back when it is dropped.
#[must_use]
#[derive(Debug)]
pub(crate) struct Room {
    own: OwnedSemaphorePermit,
    all: OwnedSemaphorePermit,
}

impl Room {
    /// Bytes that are let go together with their room, which shrinks to their length.
    pub(crate) fn carry(mut self, bytes: Vec<u8>) -> Bytes {
        let used = bytes.capacity().div_ceil(1024).max(1);
        for permit in [&mut self.own, &mut self.all] {
            drop(permit.split(permit.num_permits().saturating_sub(used)));
        }
        Bytes::from_owner(Carried { bytes, _room: self })
    }
}

struct Carried {
    bytes: Vec<u8>,
    _room: Room,
}

impl AsRef<[u8]> for Carried {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures_util::FutureExt as _;

    #[test]
    fn what_is_under_way_is_bounded_per_key_and_in_all() {
        let all = Purse::new(100 * 1024);
        let key = || Budget::new(Purse::new(64 * 1024), all.clone());
        let (ann, bob) = (key(), key());
        let first = ann.claim(60_000).unwrap();
        let refused = ann.claim(10_000).unwrap_err();
        assert_eq!((refused.status.as_u16(), refused.reason), (429, "too_many_bytes"));
        assert_eq!(refused.retry_after, Some(1));
        let refused = bob.claim(60_000).unwrap_err();
        assert_eq!((refused.status.as_u16(), refused.reason), (503, "busy"));
        // What was refused holds nothing, and what was taken by the client is free again.
        let carried = first.carry(vec![b'x'; 30_000]);
        let second = bob.claim(60_000).unwrap();
        let part = carried.slice(29_999..);
        drop(carried);
        assert!(bob.claim(30_000).is_err(), "a part holds the whole");
        drop(part);
        drop(second);
        drop(ann.claim(60_000).unwrap());
        drop(ann.claim(usize::MAX).unwrap());
    }

    #[tokio::test]
    async fn in_the_middle_of_an_answer_one_waits() {
        let budget = Budget::new(Purse::new(4096), Purse::new(8192));
        let first = budget.wait(4096).await;
        let next = budget.wait(4096);
        tokio::pin!(next);
        assert!((&mut next).now_or_never().is_none());
        drop(first);
        drop(next.await);
    }
}
