//! What came of requests, summed up in spans of time for those who look back, and by whose they were.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::Arc;

use dispatch::{Outcome, Owner};
use scheduling::{Seconds, TardinessPenalty, Time};
use serde::{Deserialize, Serialize};

use crate::journal::{Summary, Worth};

/// How long a bucket lasts, and for how long it is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Scale {
    /// Five seconds, for a quarter of an hour.
    Recent,
    /// Five minutes, for a day.
    Day,
}

impl Scale {
    /// Seconds of a bucket.
    pub(crate) const fn resolution(self) -> u32 {
        match self {
            Self::Recent => 5,
            Self::Day => 300,
        }
    }

    /// How many there are.
    pub(crate) const fn buckets(self) -> u32 {
        match self {
            Self::Recent => 180,
            Self::Day => 288,
        }
    }

    /// The number of the bucket in which a time is, where buckets begin so long before the time line.
    fn number(self, offset: Seconds, now: Time) -> i64 {
        ((now.seconds() + offset.seconds()) / f64::from(self.resolution())).floor() as i64
    }
}

/// What happened in a span of time.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Bucket {
    /// Completed requests by penalty, in the order of [`TardinessPenalty::ALL`].
    pub(crate) worth: [Worth; 3],
    pub(crate) failed: u64,
    pub(crate) expired: u64,
    pub(crate) cancelled: u64,
    /// By server.
    pub(crate) runs: BTreeMap<Arc<str>, Runs>,
    /// Requests that wait.
    pub(crate) waiting: Mean,
    /// Seconds until a server is free.
    pub(crate) backlog: Mean,
    pub(crate) decisions: Decisions,
    /// What completed in the shadow policy's own world.
    pub(crate) shadow: Worth,
}

/// How far completed runs were from their predictions.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Runs {
    pub(crate) count: u64,
    /// Sum of time / prediction − 1.
    pub(crate) error: f64,
    /// Sum of its absolute value.
    pub(crate) absolute_error: f64,
}

/// A mean in the making.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Mean {
    samples: u64,
    sum: f64,
}

impl Mean {
    fn add(&mut self, sample: f64) {
        self.samples += 1;
        self.sum += sample;
    }

    /// None without samples.
    pub(crate) fn value(self) -> Option<f64> {
        (self.samples > 0).then(|| self.sum / self.samples as f64)
    }
}

/// Decisions on arrival beside which the shadow policy decided too, with what each expected at that moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Decisions {
    pub(crate) count: u64,
    /// Those that are the same.
    pub(crate) agreed: u64,
    /// Sum of the rewards that the decisions were expected to earn.
    pub(crate) expected: f64,
    /// The same of the shadow policy's.
    pub(crate) shadow_expected: f64,
}

/// How a request ended, as far as it is summed up.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Ended<'a> {
    pub(crate) outcome: &'a Outcome,
    pub(crate) penalty: TardinessPenalty,
    pub(crate) worth: Worth,
}

impl Bucket {
    /// All that is known of completed requests.
    pub(crate) fn completed(&self) -> Worth {
        let mut all = Worth::default();
        self.worth.iter().for_each(|worth| all.add(*worth));
        all
    }

    fn ended(&mut self, outcome: &Outcome, penalty: TardinessPenalty, count: u64, worth: Worth) {
        match outcome {
            Outcome::Completed => self.worth[place(penalty)].add(worth),
            Outcome::Failed { .. } => self.failed += count,
            Outcome::Expired => self.expired += count,
            Outcome::Cancelled => self.cancelled += count,
        }
    }
}

fn place(penalty: TardinessPenalty) -> usize {
    match penalty {
        TardinessPenalty::Linear => 0,
        TardinessPenalty::Quadratic => 1,
        TardinessPenalty::SquareRoot => 2,
    }
}

/// Buckets of one scale in which something happened, the oldest first.
#[derive(Debug)]
struct Ring {
    scale: Scale,
    buckets: VecDeque<Placed>,
}

#[derive(Debug)]
struct Placed {
    number: i64,
    /// The count of changes at its latest.
    changed: u64,
    bucket: Arc<Bucket>,
}

impl Ring {
    fn new(scale: Scale) -> Self {
        Self { scale, buckets: VecDeque::new() }
    }

    /// The bucket of this number, which is then the latest to have changed.
    fn bucket(&mut self, number: i64, changes: u64) -> &mut Bucket {
        let at = match self.buckets.binary_search_by_key(&number, |placed| placed.number) {
            Ok(at) => at,
            Err(at) => {
                let bucket = Arc::default();
                self.buckets.insert(at, Placed { number, changed: changes, bucket });
                at
            }
        };
        let placed = &mut self.buckets[at];
        placed.changed = changes;
        // What somebody looks at stays as it is; he has a copy.
        Arc::make_mut(&mut placed.bucket)
    }

    /// Forgets what is too old beside the bucket of this number.
    fn forget(&mut self, number: i64) {
        let oldest = number - i64::from(self.scale.buckets()) + 1;
        while self.buckets.front().is_some_and(|placed| placed.number < oldest) {
            self.buckets.pop_front();
        }
    }
}

/// Everything of this kind.
#[derive(Debug)]
pub(crate) struct Statistics {
    recent: Ring,
    day: Ring,
    /// How long before the time line the first buckets begin, so that they begin at whole spans of the wall clock.
    offset: Seconds,
    /// Changes so far.
    changes: u64,
    tallies: HashMap<Owner, Tally>,
}

/// What is counted of an owner's requests.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Tally {
    pub(crate) accepted: u64,
    pub(crate) completed: u64,
    /// Completed ones with any tardiness.
    pub(crate) late: u64,
    /// Time that servers have spent on them.
    pub(crate) served: Seconds,
}

/// What has changed since somebody looked last.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Changed {
    /// To be given when he looks next.
    pub(crate) changes: u64,
    /// When each begins, in Unix seconds, the oldest first.
    pub(crate) buckets: Vec<(i64, Arc<Bucket>)>,
}

impl Statistics {
    /// Nothing yet. The wall clock shows so much more than the time line.
    pub(crate) fn new(ahead: f64) -> Self {
        let offset = ahead.rem_euclid(f64::from(Scale::Day.resolution()));
        Self {
            recent: Ring::new(Scale::Recent),
            day: Ring::new(Scale::Day),
            offset: Seconds::of(offset),
            changes: 0,
            tallies: HashMap::new(),
        }
    }

    /// How long before the time line the first buckets begin.
    pub(crate) fn offset(&self) -> Seconds {
        self.offset
    }

    /// What is counted of an owner's requests.
    pub(crate) fn tally(&mut self, owner: &Owner) -> &mut Tally {
        // Without a key of theirs nobody has requests, so there are no more of them than there were keys.
        if !self.tallies.contains_key(owner) {
            self.tallies.insert(owner.clone(), Tally::default());
        }
        self.tallies.get_mut(owner).expect("it was just put there")
    }

    /// What is counted of everybody's requests.
    pub(crate) fn tallies(&self) -> &HashMap<Owner, Tally> {
        &self.tallies
    }

    /// A request has ended.
    pub(crate) fn ended(&mut self, now: Time, owner: &Owner, ended: &Ended<'_>) {
        let Ended { outcome, penalty, worth } = *ended;
        let tally = self.tally(owner);
        tally.completed += worth.completed;
        tally.late += worth.completed - worth.on_time;
        self.note(now, |bucket| bucket.ended(outcome, penalty, 1, worth));
    }

    /// A run has completed and took so much more than predicted, as a share.
    pub(crate) fn ran(&mut self, now: Time, server: &Arc<str>, error: f64) {
        self.note(now, |bucket| {
            let runs = bucket.runs.entry(server.clone()).or_default();
            runs.count += 1;
            runs.error += error;
            runs.absolute_error += error.abs();
        });
    }

    /// So many requests wait, and so long it takes until each server is free.
    pub(crate) fn sampled(&mut self, now: Time, waiting: usize, backlogs: &[Seconds]) {
        self.note(now, |bucket| {
            bucket.waiting.add(waiting as f64);
            for backlog in backlogs {
                bucket.backlog.add(backlog.seconds());
            }
        });
    }

    /// Both policies have decided a request on its arrival, and expected so much of it.
    pub(crate) fn decided(&mut self, now: Time, agreed: bool, expected: f64, shadow: f64) {
        self.note(now, |bucket| {
            let decisions = &mut bucket.decisions;
            decisions.count += 1;
            decisions.agreed += u64::from(agreed);
            decisions.expected += expected;
            decisions.shadow_expected += shadow;
        });
    }

    /// A request has completed in the shadow policy's own world.
    pub(crate) fn shadow_earned(&mut self, at: Time, worth: Worth) {
        self.note(at, |bucket| bucket.shadow.add(worth));
    }

    /// What the journal knows of the time before, in spans of a day's buckets.
    pub(crate) fn remember(&mut self, now: Time, past: &[Summary]) {
        self.changes += 1;
        for Summary { span, penalty, outcome, count, worth } in past {
            self.day.bucket(*span, self.changes).ended(outcome, *penalty, *count, *worth);
        }
        self.day.forget(Scale::Day.number(self.offset, now));
    }

    fn note(&mut self, now: Time, note: impl Fn(&mut Bucket)) {
        self.changes += 1;
        for ring in [&mut self.recent, &mut self.day] {
            let number = ring.scale.number(self.offset, now);
            note(ring.bucket(number, self.changes));
            ring.forget(number);
        }
    }

    /// The buckets that have changed since so many changes. The wall clock shows so much more than the time line.
    pub(crate) fn since(&self, scale: Scale, changes: u64, now: Time, ahead: f64) -> Changed {
        let ring = match scale {
            Scale::Recent => &self.recent,
            Scale::Day => &self.day,
        };
        let length = f64::from(scale.resolution());
        let oldest = scale.number(self.offset, now) - i64::from(scale.buckets()) + 1;
        let date = |number: i64| {
            let begins = number as f64 * length - self.offset.seconds() + ahead;
            // A whole span, also where the wall clock has moved a little since the start.
            (begins / length).round() as i64 * i64::from(scale.resolution())
        };
        // Of another one, who has led before, or from before a restart.
        let changes = if changes > self.changes { 0 } else { changes };
        let news = |placed: &&Placed| placed.changed > changes && placed.number >= oldest;
        let buckets = ring.buckets.iter().filter(news);
        let buckets = buckets.map(|placed| (date(placed.number), placed.bucket.clone())).collect();
        Changed { changes: self.changes, buckets }
    }
}

#[cfg(test)]
mod tests;
