//! Which end is told next: those that are due, so many at once, and so many of each origin, so that one that does not
//! answer holds up nobody else's.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap};
use std::sync::Arc;

use dispatch::RequestId;
use tokio::time::Instant;

/// Ends that are still to be told.
#[derive(Default)]
pub(super) struct Schedule {
    origins: HashMap<Arc<str>, Origin>,
    under_way: usize,
}

#[derive(Default)]
struct Origin {
    waiting: BinaryHeap<Reverse<Attempt>>,
    under_way: usize,
}

/// One end that is to be told, and how often that was tried.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Attempt {
    /// Not before.
    pub(super) at: Instant,
    pub(super) id: RequestId,
    pub(super) failed: usize,
    pub(super) origin: Arc<str>,
}

impl Schedule {
    /// Calls at once.
    const MOST: usize = 64;
    /// Calls to one origin at once.
    const MOST_OF_ORIGIN: usize = 8;

    pub(super) fn add(&mut self, attempt: Attempt) {
        let origin = self.origins.entry(attempt.origin.clone()).or_default();
        origin.waiting.push(Reverse(attempt));
    }

    /// The next that may be told now; it is under way until [`Schedule::done`].
    pub(super) fn next(&mut self, now: Instant) -> Option<Attempt> {
        let origin = self.first().filter(|first| first.at <= now)?.origin.clone();
        let origin = self.origins.get_mut(&origin)?;
        let Reverse(attempt) = origin.waiting.pop()?;
        origin.under_way += 1;
        self.under_way += 1;
        Some(attempt)
    }

    /// When there is a next one, as far as is known before one that is under way has ended.
    pub(super) fn until(&self) -> Option<Instant> {
        self.first().map(|attempt| attempt.at)
    }

    /// An attempt has ended, well or not.
    pub(super) fn done(&mut self, origin: &Arc<str>) {
        self.under_way -= 1;
        if let Some(of) = self.origins.get_mut(origin) {
            of.under_way -= 1;
            if of.under_way == 0 && of.waiting.is_empty() {
                self.origins.remove(origin);
            }
        }
    }

    /// The earliest of those that may be told.
    fn first(&self) -> Option<&Attempt> {
        if self.under_way >= Self::MOST {
            return None;
        }
        let open = self.origins.values().filter(|origin| origin.under_way < Self::MOST_OF_ORIGIN);
        open.filter_map(|origin| origin.waiting.peek()).map(|Reverse(attempt)| attempt).min()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[tokio::test(start_paused = true)]
    async fn one_origin_holds_up_no_other_and_what_is_due_first_goes_first() {
        let (mut schedule, now) = (Schedule::default(), Instant::now());
        let mut count = 0;
        let mut add = |schedule: &mut Schedule, origin: &str, later: u64| {
            count += 1;
            let id = RequestId(uuid::Uuid::from_u128(count));
            let at = now + Duration::from_secs(later);
            schedule.add(Attempt { at, id, failed: 0, origin: origin.into() });
        };
        (0..20).for_each(|_| add(&mut schedule, "slow", 0));
        for later in [3, 1, 2] {
            add(&mut schedule, "fast", later);
        }
        assert!(schedule.next(now).is_some_and(|attempt| &*attempt.origin == "slow"));
        let slow = std::iter::from_fn(|| schedule.next(now)).count();
        assert_eq!(slow + 1, Schedule::MOST_OF_ORIGIN, "the others wait for those");
        assert_eq!(schedule.until(), Some(now + Duration::from_secs(1)));
        let mut next =
            |later| schedule.next(now + Duration::from_secs(later)).map(|a| (a.at - now).as_secs());
        assert_eq!(
            [next(0), next(2), next(2), next(2), next(9)],
            [None, Some(1), Some(2), None, Some(3)]
        );
        assert_eq!(schedule.until(), None);
        schedule.done(&"slow".into());
        assert_eq!(schedule.until(), Some(now));
        (0..7).for_each(|_| schedule.done(&"slow".into()));
        (0..3).for_each(|_| schedule.done(&"fast".into()));
        assert_eq!(
            (schedule.under_way, schedule.origins.len()),
            (0, 1),
            "who is through is forgotten"
        );
    }
}
