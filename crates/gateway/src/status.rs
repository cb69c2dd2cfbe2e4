//! What others may see of requests and servers.

use std::sync::Arc;

use dispatch::{Administration, Health, Rejection, RequestId, Run, Speed};
use scheduling::{Seconds, Sigma, Steps, Time};
use serde::{Deserialize, Serialize};

use crate::journal::{Accepted, DecisionEntry, EndEntry, Entry};

/// A request as others may see it.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Status {
    /// As accepted.
    pub accepted: Arc<Accepted>,
    /// The latest decision.
    pub decision: Option<DecisionEntry>,
    /// Time to load its model first: that of its run, or else of the offer that was chosen; none if that is not known.
    pub load: Option<Seconds>,
    /// How far it is.
    pub phase: Phase,
}

/// How far a request is.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) enum Phase {
    /// In a queue.
    Waiting {
        /// Requests ahead in its queue, the running one included.
        ahead: usize,
    },
    /// No available server can take it at the moment.
    Unplaced,
    /// It runs.
    Running {
        /// Where and since when.
        run: RunView,
        /// Share that is done, where the backend tells.
        progress: Option<f64>,
    },
    /// It has ended.
    Ended(EndEntry),
}

/// A run as others may see it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct RunView {
    /// Name of the server.
    pub server: Arc<str>,
    /// Steps.
    pub steps: Steps,
    /// Since when.
    pub start: Time,
    /// Until when, as it was predicted.
    pub finish: Time,
}

impl Status {
    /// A request of which nothing has been decided.
    pub(crate) fn new(accepted: Arc<Accepted>) -> Self {
        Self { accepted, decision: None, load: None, phase: Phase::Unplaced }
    }
}

impl From<Entry> for Status {
    fn from(entry: Entry) -> Self {
        let phase = entry.end.map_or(Phase::Unplaced, Phase::Ended);
        Self { decision: entry.decision, phase, ..Self::new(Arc::new(entry.accepted)) }
    }
}

/// Why a request was not taken in.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) enum Refusal {
    /// The scheduler says no.
    Rejected(Rejection),
    /// The journal cannot be written.
    Journal(String),
    /// The owner's idempotency key belongs to a request that has not ended, made with this
    /// fingerprint, or to one that only the journal knows.
    KeyTaken(Option<(RequestId, [u8; 32])>),
    /// The key may make no more for a while.
    Limited {
        /// How many it may make, in words.
        detail: String,
        /// Seconds until the next one.
        after: u64,
    },
    /// No node of the cluster leads at the moment, or its brokers cannot be reached.
    NoLeader,
    /// More messages are waiting for the engine than it takes.
    Busy,
}

/// A model on a server as others may see it.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct HostedView {
    /// Its name.
    pub name: Box<str>,
    /// Whether it is loaded.
    pub loaded: bool,
    /// The speed that decisions are made with.
    pub speed: Speed,
    /// The time that decisions take it to be loaded in.
    pub load: Seconds,
}

/// A server as others may see it.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct ServerView {
    /// Its name.
    pub name: Arc<str>,
    /// Whether it answers.
    pub health: Health,
    /// Whether it is to be used.
    pub administration: Administration,
    /// The speed that decisions are made with.
    pub speed: Speed,
    /// How far runs stray from their predictions, as decisions are made with.
    pub sigma: Sigma,
    /// Largest picture.
    pub max_pixels: u32,
    /// Its models; none where there is only one.
    pub models: Vec<HostedView>,
    /// What it runs, and since when.
    pub running: Option<Run>,
    /// The model that it loads before anybody asks for it.
    pub preloading: Option<String>,
    /// Requests in its queue.
    pub waiting: usize,
    /// Requests whose runs failed there without a success in between.
    pub failed_in_a_row: u32,
    /// How long it is still left alone because of that.
    pub resting: Option<Seconds>,
    /// m_j
    pub backlog: Seconds,
    /// Why the last probe or run failed, until one succeeds.
    pub trouble: Option<String>,
}
