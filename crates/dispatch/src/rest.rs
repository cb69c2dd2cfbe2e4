//! Servers that are left alone for a while because jobs keep failing there.

use scheduling::{Seconds, Time};

use super::event::{FailureClass, Owner, RequestId};
use super::setback::{longer, pause};

/// What the runs since the last success say about a server.
///
/// Probes say whether a server answers; this says whether it gets jobs done. After a few failures of
/// different requests in a row, or when the server itself says that it cannot now, it rests, each
/// time for longer. Then one run tries it out: a success ends all of this, a failure makes it rest
/// again.
///
/// Failures of one owner's requests count for that owner alone, so that nobody can take a server
/// away from others by sending what it cannot do.
#[derive(Clone, Debug, Default)]
pub struct Rest {
    /// Requests whose runs failed there, one after the other without a success in between.
    pub failures: u32,
    /// The end of the rest. Once that has passed, one run at a time is tried.
    pub until: Option<Time>,
    last: Option<RequestId>,
    /// Whose requests failed.
    owners: Vec<Owner>,
    /// Whether it was the server that said so.
    own_word: bool,
    rests: u32,
}

impl Rest {
    /// Requests in a row after whose failures a server rests.
    const AFTER: u32 = 3;

    /// Takes note of a failed run. Returns the end of the rest, if one begins.
    pub(super) fn note(
        &mut self,
        now: Time,
        request: RequestId,
        owner: &Owner,
        class: FailureClass,
    ) -> Option<Time> {
        if self.last.replace(request) != Some(request) {
            self.failures += 1;
        }
        if !self.owners.contains(owner) {
            self.owners.push(owner.clone());
        }
        let retry_after = match class {
            FailureClass::NotNow { retry_after } => {
                self.own_word = true;
                retry_after
            }
            _ if self.until.is_some() || self.failures >= Self::AFTER => None,
            _ => return None,
        };
        self.rests += 1;
        self.until = Some(now + longer(pause(self.rests), retry_after));
        self.until
    }

    /// Whether this owner's requests are kept away, when the server is `busy` or not.
    pub(super) fn keeps_away(&self, now: Time, owner: &Owner, busy: bool) -> bool {
        let concerned = self.own_word || self.owners.len() > 1 || self.owners.contains(owner);
        self.until.is_some_and(|until| concerned && (now < until || busy))
    }

    /// What is left of the rest.
    pub fn left(&self, now: Time) -> Option<Seconds> {
        self.until.map(|until| until - now).filter(|left| left.seconds() > 0.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: f64) -> Time {
        Time::new(seconds).unwrap()
    }

    fn id(n: u128) -> RequestId {
        RequestId(uuid::Uuid::from_u128(n))
    }

    #[test]
    fn three_requests_in_a_row_make_a_server_rest_and_longer_each_time() {
        let (mut rest, ann): (_, Owner) = (Rest::default(), "ann".into());
        let mut fail = |now: f64, n| rest.note(at(now), id(n), &ann, FailureClass::Counted);
        assert_eq!([fail(0.0, 1), fail(0.0, 1), fail(0.0, 1), fail(0.0, 2)], [None; 4]);
        assert_eq!(fail(1.0, 3), Some(at(1.5)));
        assert_eq!(fail(2.0, 4), Some(at(3.0)));
        assert_eq!(fail(4.0, 4), Some(at(6.0)), "on trial every failure counts");
    }

    #[test]
    fn one_owners_failures_keep_only_that_owner_away() {
        let [ann, bob]: [Owner; 2] = ["ann".into(), "bob".into()];
        let mut rest = Rest::default();
        for n in 1..=3 {
            rest.note(at(0.0), id(n), &ann, FailureClass::Counted);
        }
        assert!(rest.keeps_away(at(0.4), &ann, false) && !rest.keeps_away(at(0.4), &bob, false));
        assert!(!rest.keeps_away(at(0.5), &ann, false), "one is tried");
        assert!(rest.keeps_away(at(0.5), &ann, true), "and not two");
        rest.note(at(0.6), id(4), &bob, FailureClass::Refused);
        assert!(rest.keeps_away(at(0.7), &bob, false));
    }

    #[test]
    fn a_server_that_says_not_now_is_believed_at_once() {
        let [ann, bob]: [Owner; 2] = ["ann".into(), "bob".into()];
        let mut rest = Rest::default();
        let class = FailureClass::NotNow { retry_after: Some(Seconds::of(3.0)) };
        assert_eq!(rest.note(at(1.0), id(1), &ann, class), Some(at(4.0)));
        assert!(rest.keeps_away(at(2.0), &bob, false));
        assert_eq!(rest.left(at(2.0)), Some(Seconds::of(2.0)));
    }
}
