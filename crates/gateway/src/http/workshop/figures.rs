//! Statistics in JSON. What is empty is left out.

use std::collections::BTreeMap;
use std::sync::Arc;

use jiff::Timestamp;
use scheduling::TardinessPenalty;
use serde::Serialize;

use crate::engine::{Bucket, Changed, Decisions, Runs, Scale};
use crate::journal::{Worth, word};

/// The buckets of one scale that have changed.
#[derive(Serialize)]
pub(super) struct Figures {
    resolution_seconds: u32,
    buckets: Vec<BucketView>,
}

#[derive(Serialize)]
struct BucketView {
    /// When it begins.
    at: Timestamp,
    completed: u64,
    on_time: u64,
    failed: u64,
    expired: u64,
    cancelled: u64,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    penalties: BTreeMap<String, WorthView>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    servers: BTreeMap<String, RunsView>,
    #[serde(skip_serializing_if = "Option::is_none")]
    waiting: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    backlog_seconds: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    decisions: Option<DecisionsView>,
    #[serde(skip_serializing_if = "Option::is_none")]
    shadow: Option<WorthView>,
}

#[derive(Serialize)]
struct WorthView {
    completed: u64,
    on_time: u64,
    tardiness_seconds: f64,
    quality: f64,
    steps: u64,
    reward: f64,
}

#[derive(Serialize)]
struct RunsView {
    runs: u64,
    error: f64,
    absolute_error: f64,
}

#[derive(Serialize)]
struct DecisionsView {
    count: u64,
    agreed: u64,
    expected_reward: f64,
    shadow_expected_reward: f64,
}

impl Figures {
    /// None if nothing has changed.
    pub(super) fn new(scale: Scale, changed: &Changed) -> Option<Self> {
        let view = |(at, bucket): &(i64, Arc<Bucket>)| BucketView::new(*at, bucket);
        let buckets: Vec<_> = changed.buckets.iter().map(view).collect();
        let resolution_seconds = scale.resolution();
        (!buckets.is_empty()).then_some(Self { resolution_seconds, buckets })
    }
}

impl BucketView {
    fn new(at: i64, bucket: &Bucket) -> Self {
        let completed = bucket.completed();
        let named = TardinessPenalty::ALL.iter().zip(&bucket.worth);
        let there = named.filter(|(_, worth)| worth.completed > 0);
        let Decisions { count, .. } = bucket.decisions;
        Self {
            at: Timestamp::from_second(at).unwrap_or(Timestamp::UNIX_EPOCH),
            completed: completed.completed,
            on_time: completed.on_time,
            failed: bucket.failed,
            expired: bucket.expired,
            cancelled: bucket.cancelled,
            penalties: there.map(|(penalty, worth)| (word(penalty), worth.into())).collect(),
            servers: bucket
                .runs
                .iter()
                .map(|(name, runs)| (name.to_string(), runs.into()))
                .collect(),
            waiting: bucket.waiting.value(),
            backlog_seconds: bucket.backlog.value(),
            decisions: (count > 0).then(|| bucket.decisions.into()),
            shadow: (bucket.shadow.completed > 0).then(|| (&bucket.shadow).into()),
        }
    }
}

impl From<&Worth> for WorthView {
    fn from(worth: &Worth) -> Self {
        Self {
            completed: worth.completed,
            on_time: worth.on_time,
            tardiness_seconds: worth.tardiness,
            quality: worth.quality,
            steps: worth.steps,
            reward: worth.reward,
        }
    }
}

impl From<&Runs> for RunsView {
    fn from(runs: &Runs) -> Self {
        Self { runs: runs.count, error: runs.error, absolute_error: runs.absolute_error }
    }
}

impl From<Decisions> for DecisionsView {
    fn from(decisions: Decisions) -> Self {
        Self {
            count: decisions.count,
            agreed: decisions.agreed,
            expected_reward: decisions.expected,
            shadow_expected_reward: decisions.shadow_expected,
        }
    }
}
