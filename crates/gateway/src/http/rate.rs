//! How many requests a key may make per minute.

use std::sync::{Mutex, PoisonError};

use axum::http::StatusCode;
use scheduling::{Seconds, Time};

use super::problem::Problem;

/// An allowance: a minute's worth may come at once, and comes back evenly.
pub(crate) struct Rate {
    /// None is no bound.
    per_minute: Option<u32>,
    /// When the allowance will be whole again, in seconds.
    whole_at: Mutex<f64>,
}

impl Rate {
    /// A minute in seconds; a thousandth of one forgives the rounding of sums.
    const MINUTE: f64 = 60.001;

    pub(crate) fn new(per_minute: Option<u32>) -> Self {
        Self { per_minute, whole_at: Mutex::new(f64::NEG_INFINITY) }
    }

    /// Whether it is as much.
    pub(crate) fn is_like(&self, other: &Self) -> bool {
        self.per_minute == other.per_minute
    }

    /// What was used of another one counts here.
    pub(crate) fn follow(&self, before: &Self) {
        let whole_at = *before.whole_at.lock().unwrap_or_else(PoisonError::into_inner);
        *self.whole_at.lock().unwrap_or_else(PoisonError::into_inner) = whole_at;
    }

    /// Counts so many requests, all of them or none.
    ///
    /// # Errors
    /// 429 with the time at which all of them may come; 422 if that can never be.
    pub(crate) fn take(&self, requests: u32, now: Time) -> Result<(), Problem> {
        let Some(per_minute) = self.per_minute else { return Ok(()) };
        let detail = format!("this key may make {per_minute} requests per minute");
        if requests > per_minute {
            let detail = format!("{requests} pictures: {detail}, so allowed is 1 to {per_minute}");
            return Err(Problem::field("n", detail));
        }
        let now = now.seconds();
        let mut whole_at = self.whole_at.lock().unwrap_or_else(PoisonError::into_inner);
        let next = whole_at.max(now) + f64::from(requests) * Self::each(per_minute);
        if next > now + Self::MINUTE {
            let problem = Problem::new(StatusCode::TOO_MANY_REQUESTS, "rate_limited", detail);
            return Err(problem.after(Seconds::of(next - now - 60.0)));
        }
        *whole_at = next;
        Ok(())
    }

    /// How many may come in a minute, if that is bounded.
    pub(crate) fn per_minute(&self) -> Option<u32> {
        self.per_minute
    }

    /// How many may come now, if that is bounded.
    pub(crate) fn left(&self, now: Time) -> Option<u32> {
        let per_minute = self.per_minute?;
        let whole_at = *self.whole_at.lock().unwrap_or_else(PoisonError::into_inner);
        let left = (Self::MINUTE - (whole_at - now.seconds()).max(0.0)) / Self::each(per_minute);
        Some((left as u32).min(per_minute))
    }

    /// Gives back what was counted for requests that were not accepted.
    pub(crate) fn give_back(&self, requests: u32) {
        let Some(per_minute) = self.per_minute else { return };
        let mut whole_at = self.whole_at.lock().unwrap_or_else(PoisonError::into_inner);
        *whole_at -= f64::from(requests) * Self::each(per_minute);
    }

    /// Seconds that one request is worth.
    fn each(per_minute: u32) -> f64 {
        60.0 / f64::from(per_minute)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn at(seconds: f64) -> Time {
        Time::new(seconds).unwrap()
    }

    #[test]
    fn a_minutes_worth_may_come_at_once() {
        let rate = Rate::new(Some(3));
        for _ in 0..3 {
            rate.take(1, at(5.0)).unwrap();
        }
        let problem = rate.take(1, at(5.0)).unwrap_err();
        assert_eq!((problem.status.as_u16(), problem.retry_after), (429, Some(20)));
        assert_eq!(
            (rate.left(at(5.0)), rate.left(at(25.0)), rate.left(at(90.0))),
            (Some(0), Some(1), Some(3))
        );
        rate.take(1, at(25.0)).unwrap();
        assert!(rate.take(1, at(25.0)).is_err());
    }

    #[test]
    fn many_are_counted_all_or_none_and_what_can_never_be_says_so() {
        let rate = Rate::new(Some(6));
        rate.take(4, at(0.0)).unwrap();
        assert_eq!(rate.take(4, at(0.0)).unwrap_err().retry_after, Some(20));
        rate.take(2, at(0.0)).unwrap();
        rate.give_back(2);
        rate.take(2, at(0.0)).unwrap();
        let never = rate.take(7, at(0.0)).unwrap_err();
        assert_eq!((never.field.as_deref(), never.retry_after), (Some("n"), None));
        assert!(never.detail.contains("1 to 6"), "{}", never.detail);
        Rate::new(None).take(u32::MAX, at(0.0)).unwrap();
    }

    proptest! {
        /// Whatever is asked for when: a minute never sees more than twice the allowance, and who
        /// comes back when told is let in.
        #[test]
        fn what_is_told_is_true(
            per_minute in 1..100_u32,
            asked in prop::collection::vec((1..20_u32, 0.0..30.0), 1..60),
        ) {
            let rate = Rate::new(Some(per_minute));
            let (mut now, mut taken) = (0.0, Vec::new());
            for (requests, later) in asked {
                now += later;
                match rate.take(requests, at(now)) {
                    Ok(()) => taken.push((now, requests)),
                    Err(problem) if requests > per_minute => prop_assert!(problem.retry_after.is_none()),
                    Err(problem) => {
                        now += problem.retry_after.unwrap() as f64;
                        prop_assert!(rate.take(requests, at(now)).is_ok());
                        taken.push((now, requests));
                    }
                }
                let minute = taken.iter().filter(|(at, _)| *at > now - 60.0).map(|(_, n)| n);
                prop_assert!(minute.sum::<u32>() <= 2 * per_minute);
            }
        }
    }
}
