//! What came of the requests of the last day, summed up: one query, for those who look back after a restart.

use dispatch::{End, Outcome};
use rusqlite::{Connection, named_params};
use scheduling::{Seconds, TardinessPenalty, Time};
use serde::{Deserialize, Serialize};

use super::rows::spoken;

/// What completed requests were worth: sums.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Worth {
    /// How many they are.
    pub completed: u64,
    /// Those without any tardiness.
    pub on_time: u64,
    /// In seconds.
    pub tardiness: f64,
    /// Q(s)
    pub quality: f64,
    /// s
    pub steps: u64,
    /// Eq. (5)
    pub reward: f64,
}

impl Worth {
    /// Of one request; nothing unless it has completed.
    pub(crate) fn of(end: &End) -> Self {
        match (end.run, end.quality, end.reward) {
            (Some(run), Some(quality), Some(reward)) => Self {
                completed: 1,
                on_time: u64::from(end.tardiness == Seconds::ZERO),
                tardiness: end.tardiness.seconds(),
                quality,
                steps: u64::from(run.steps.get()),
                reward,
            },
            _ => Self::default(),
        }
    }

    /// All of both.
    pub(crate) fn add(&mut self, other: Self) {
        self.completed += other.completed;
        self.on_time += other.on_time;
        self.tardiness += other.tardiness;
        self.quality += other.quality;
        self.steps += other.steps;
        self.reward += other.reward;
    }
}

/// Ends to be summed up.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Window {
    /// The first moment.
    pub from: Time,
    /// Behind the last one.
    pub until: Time,
    /// How long gateways had run on the journal at the first moment, at least. What ended before is not looked at.
    pub lived: Seconds,
    /// The length of a span.
    pub span: Seconds,
    /// How long before the time line the first span begins.
    pub offset: Seconds,
}

/// Requests with the same penalty that ended in the same way in the same span.
#[derive(Clone, Debug, PartialEq)]
pub struct Summary {
    /// Number of the span.
    pub span: i64,
    /// What being late cost.
    pub penalty: TardinessPenalty,
    /// How they ended; nobody asks why.
    pub outcome: Outcome,
    /// How many.
    pub count: u64,
    /// What they were worth, if they completed.
    pub worth: Worth,
}

/// Sums up. The index by age finds the ends: as much time passes as gateways live, or more.
pub(super) fn summaries(c: &Connection, window: &Window) -> rusqlite::Result<Vec<Summary>> {
    let Window { from, until, lived, span, offset } = window;
    c.prepare_cached(
        "SELECT CAST((ends.at + :offset) / :span AS INTEGER), penalty, outcome, count(*),
           total(tardiness = 0), total(tardiness), total(quality), total(steps), total(reward)
         FROM ends INDEXED BY ends_by_age JOIN requests ON position = request
         WHERE lived >= :lived AND ends.at >= :from AND ends.at < :until
         GROUP BY 1, 2, 3",
    )?
    .query_map(
        named_params! {
            ":offset": offset.seconds(),
            ":span": span.seconds(),
            ":lived": lived.seconds(),
            ":from": from.seconds(),
            ":until": until.seconds(),
        },
        |r| {
            let (word, count): (String, i64) = (r.get(2)?, r.get(3)?);
            let count = count.unsigned_abs();
            let whole = |column| r.get(column).map(|sum: f64| sum as u64);
            let outcome = match word.as_str() {
                "completed" => Outcome::Completed,
                "cancelled" => Outcome::Cancelled,
                "expired" => Outcome::Expired,
                _ => Outcome::Failed { reason: String::new() },
            };
            let worth = Worth {
                completed: count,
                on_time: whole(4)?,
                tardiness: r.get(5)?,
                quality: r.get(6)?,
                steps: whole(7)?,
                reward: r.get(8)?,
            };
            let worth = if outcome == Outcome::Completed { worth } else { Worth::default() };
            Ok(Summary { span: r.get(0)?, penalty: spoken(r, 1)?, outcome, count, worth })
        },
    )?
    .collect()
}
