//! What is written down and read back: one type each, both ways.

use std::sync::Arc;

use bytes::Bytes;
use dispatch::{Cause, Order, Outcome, RequestId, RunId};
use scheduling::{Seconds, Steps, TardinessPenalty, Time};
use serde::{Deserialize, Serialize};

use crate::engine::Starts;

/// The picture that is wanted: what a backend must know.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Spec {
    /// What it should show.
    pub prompt: String,
    /// What it should not show.
    pub negative_prompt: String,
    /// In pixels.
    pub width: u32,
    /// In pixels.
    pub height: u32,
    /// Of the initial noise.
    pub seed: u64,
    /// Name of the model; none where the configuration names none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub model: Option<String>,
}

impl Spec {
    /// Width and height.
    pub(crate) fn size(&self) -> (u32, u32) {
        (self.width, self.height)
    }
}

/// A key under which the requester may repeat a request without making a second one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct IdempotencyKey {
    /// As sent.
    pub key: String,
    /// SHA-256 of the body it was sent with.
    pub fingerprint: [u8; 32],
}

/// A request as accepted.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Accepted {
    /// For the scheduler.
    pub order: Order,
    /// For the backend.
    pub spec: Spec,
    /// For repetition.
    pub key: Option<IdempotencyKey>,
    /// Where its end is told, if anywhere.
    pub callback: Option<String>,
}

/// A finished picture, checked to be a PNG of the wanted size.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Picture {
    /// The PNG, or where it is.
    pub png: Png,
    /// Until when it is kept, by the time lived.
    pub kept_until: Seconds,
}

/// A PNG where it is.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Png {
    /// At hand, to be kept in the journal itself.
    #[serde(skip)]
    Here(Bytes),
    /// In a store of pictures beside the journal.
    Stored(Stored),
}

/// A picture in a store beside the journal.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stored {
    /// Its name there, of which there is never another picture.
    pub name: Arc<str>,
    /// In bytes.
    pub length: u64,
}

/// One moment by two clocks.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Moment {
    /// The gateway's time.
    pub time: Time,
    /// The wall clock, in Unix seconds.
    pub wall: f64,
}

/// The present by all the gateway's clocks, to be written down.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Clock {
    /// By the gateway's time and the wall clock.
    pub moment: Moment,
    /// How long gateways have run on the journal. What is old is deleted by it.
    pub lived: Seconds,
}

/// What was written down of the clocks, to go on from after a restart.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Clocks {
    /// The latest moment.
    pub latest: Moment,
    /// The moment at which the wall clock showed the latest date ever.
    pub furthest: Moment,
    /// How long gateways have run on the journal.
    pub lived: Seconds,
}

/// Something that happened.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Record {
    /// A request came in.
    Accepted(Arc<Accepted>),
    /// It could not be acknowledged after all: forget it.
    Withdrawn(RequestId),
    /// It was decided.
    Decided {
        /// The request.
        request: RequestId,
        /// What and why.
        decision: DecisionEntry,
    },
    /// A run was dispatched.
    Started {
        /// The run.
        id: RunId,
        /// Where, when, and how long it should take.
        run: OpenRun,
    },
    /// The backend gave the run a name of its own, by which it can be looked up.
    Ticket {
        /// The run.
        run: RunId,
        /// The backend's name for it.
        ticket: String,
    },
    /// A run took a time that is not the server's own: no speed is learned from it.
    Untimed {
        /// The run.
        run: RunId,
    },
    /// A run failed.
    RunFailed {
        /// The run.
        run: RunId,
        /// When.
        at: Time,
        /// Why.
        reason: String,
    },
    /// A request ended.
    Ended {
        /// The request.
        request: RequestId,
        /// How.
        end: EndEntry,
        /// Its picture, if completed.
        picture: Option<Picture>,
        /// When, by the time lived.
        lived: Seconds,
    },
    /// Its end was told where it was to be, or never will be.
    CalledBack(RequestId),
    /// Time goes by.
    Clock(Clock),
    /// Pictures whose time is over are deleted, and requests that ended long ago.
    Forget {
        /// The present, by the time lived.
        lived: Seconds,
        /// The age, by the time lived, from which on an end is too old.
        age: Seconds,
    },
}

impl Record {
    /// Whether something is told only when this is durable.
    pub(super) fn is_awaited(&self, starts: Starts) -> bool {
        match self {
            Self::Accepted(_) | Self::Withdrawn(_) | Self::Ended { .. } => true,
            Self::Started { .. } => starts == Starts::Durable,
            _ => false,
        }
    }

    /// When it happened, where that is known.
    pub(super) fn time(&self) -> Option<Time> {
        match self {
            Self::Accepted(accepted) => Some(accepted.order.request.arrival),
            Self::Decided { decision, .. } => Some(decision.at),
            Self::Started { run, .. } => Some(run.start),
            Self::RunFailed { at, .. } => Some(*at),
            Self::Ended { end, .. } => Some(end.at),
            Self::Clock(clock) => Some(clock.moment.time),
            Self::Withdrawn(_)
            | Self::CalledBack(_)
            | Self::Ticket { .. }
            | Self::Untimed { .. }
            | Self::Forget { .. } => None,
        }
    }
}

/// A request read back.
#[derive(Clone, Debug, PartialEq)]
pub struct Entry {
    /// Position in the order of acceptance.
    pub position: i64,
    /// As accepted.
    pub accepted: Accepted,
    /// The latest decision.
    pub decision: Option<DecisionEntry>,
    /// The end, if it has ended.
    pub end: Option<EndEntry>,
}

/// A decision, as it is written down and read back.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct DecisionEntry {
    /// When it was taken.
    pub at: Time,
    /// Why.
    pub cause: Cause,
    /// Name of the server.
    pub server: Arc<str>,
    /// Steps.
    pub steps: Steps,
    /// Predicted start.
    pub start: Time,
    /// Predicted finish.
    pub finish: Time,
    /// Name of the policy.
    pub policy: Arc<str>,
    /// What the shadow policy would have decided.
    pub shadow: Option<Shadow>,
}

/// A decision that was not carried out.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Shadow {
    /// Name of the server.
    pub server: Arc<str>,
    /// Steps.
    pub steps: Steps,
}

impl DecisionEntry {
    /// Whether the shadow policy would have done the same; none if there was no shadow policy.
    pub(crate) fn agrees(&self) -> Option<bool> {
        let shadow = self.shadow.as_ref()?;
        Some(shadow.server == self.server && shadow.steps == self.steps)
    }
}

/// An end, as it is written down and read back.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct EndEntry {
    /// When.
    pub at: Time,
    /// How.
    pub outcome: Outcome,
    /// Name of the server of the last run.
    pub server: Option<Arc<str>>,
    /// Steps of the last run.
    pub steps: Option<Steps>,
    /// Start of the last run.
    pub start: Option<Time>,
    /// Runs it took.
    pub attempts: u32,
    /// τ_i
    pub tardiness: Seconds,
    /// Q(s_i), if completed.
    pub quality: Option<f64>,
    /// Eq. (5), if completed.
    pub reward: Option<f64>,
}

/// Whether a picture can still be had.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Kept {
    /// It is in the journal.
    Here(StoredPicture),
    /// Its time is over.
    Gone,
    /// There never was one.
    Never,
}

/// A picture in the journal, to be read part by part.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredPicture {
    /// Where it is.
    pub(super) place: PicturePlace,
    /// In bytes.
    pub length: u64,
}

/// Where a picture of the journal is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum PicturePlace {
    /// In the journal, at the position of its request.
    Row(i64),
    /// In the store beside it, by its name.
    Store(Arc<str>),
}

/// A part of a list.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Page {
    /// What fits the filter, the latest first. Fewer than asked for, even none, while there is a
    /// next page: how many requests are looked at for one page is bounded.
    pub entries: Vec<Entry>,
    /// To be given as [`Filter::before`] for the next page; none at the end of the list.
    pub next: Option<i64>,
}

/// Which requests to list.
#[derive(Clone, Debug, Default)]
pub struct Filter {
    /// Only this owner's.
    pub owner: Option<String>,
    /// Only those that ended so: `completed`, `failed`, `cancelled`, `expired`, or `ended` for all of these; or `live`
    /// for those that have not ended, which are either `running` or `waiting`.
    pub state: Option<String>,
    /// Only those that were decided for this server.
    pub server: Option<String>,
    /// Only those with this penalty.
    pub penalty: Option<TardinessPenalty>,
    /// Only those accepted before this position.
    pub before: Option<i64>,
    /// At most so many.
    pub limit: u32,
}

/// A request that had not ended when the journal was last written.
#[derive(Clone, Debug, PartialEq)]
pub struct Unfinished {
    /// As accepted.
    pub accepted: Accepted,
    /// Runs started.
    pub attempts: u32,
    /// Runs that failed.
    pub failures: u32,
    /// The run that was under way.
    pub open: Option<OpenRun>,
}

/// A run under way, as it is written down and read back.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct OpenRun {
    /// Name of the server.
    pub server: Arc<str>,
    /// Steps.
    pub steps: Steps,
    /// Start.
    pub start: Time,
    /// Predicted time to load the model first.
    pub load: Seconds,
    /// Predicted duration, the load included.
    pub service: Seconds,
    /// The backend's name for it.
    pub ticket: Option<String>,
}

/// A run that completed, for learning speeds.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct CompletedRun {
    /// Steps.
    pub steps: Steps,
    /// Width times height.
    pub pixels: u32,
    /// Predicted time to load the model first.
    pub load: Seconds,
    /// How long it took, the load included.
    pub took: Seconds,
}
