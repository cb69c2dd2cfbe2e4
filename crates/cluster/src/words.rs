//! What whoever leads and the agents say to one another, as JSON.

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use dispatch::{FailureClass, RequestId, RunId};
use gateway::backends::{BackendError, Cancelled, Excerpt, Job, Preview, Timing};
use gateway::journal::Spec;
use scheduling::{Seconds, Steps};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// What an agent is asked to do.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Ask {
    /// When whoever asks began to lead. An agent obeys the latest.
    pub(crate) epoch: u64,
    pub(crate) task: Task,
}

/// What it is to do.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Task {
    /// Run this. Being told again changes nothing.
    Run(Order),
    /// Go on with a run of which somebody else asked.
    Find { run: RunId },
    /// Stop a run.
    Cancel { run: RunId },
    /// Ask the server whether it answers. Anybody may want to know.
    Probe,
}

/// A run as an agent is asked for it.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Order {
    pub(crate) run: RunId,
    pub(crate) spec: Spec,
    pub(crate) steps: Steps,
}

impl Order {
    pub(crate) fn of(job: &Job) -> Self {
        Self { run: job.run, spec: job.spec.clone(), steps: job.steps }
    }

    pub(crate) fn job(self) -> Job {
        Job { run: self.run, spec: self.spec, steps: self.steps }
    }
}

/// What it answers.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Reply {
    /// It has the run, and will say how it goes on.
    Taken,
    /// It has no such run.
    Unknown,
    /// Somebody leads who began later.
    Deposed { epoch: u64 },
    /// What the server does with a run that was to stop.
    Cancel(Result<Ending, Trouble>),
    /// How the server is.
    Probe(Result<Condition, Trouble>),
    /// It is not the agent of this server, or cannot write down what it is asked.
    Unable(String),
}

/// The words of [`Cancelled`].
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Ending {
    Stopped,
    Stopping,
    Abandoned,
}

impl From<Cancelled> for Ending {
    fn from(cancelled: Cancelled) -> Self {
        match cancelled {
            Cancelled::Stopped => Self::Stopped,
            Cancelled::Stopping => Self::Stopping,
            Cancelled::Abandoned => Self::Abandoned,
        }
    }
}

impl From<Ending> for Cancelled {
    fn from(ending: Ending) -> Self {
        match ending {
            Ending::Stopped => Self::Stopped,
            Ending::Stopping => Self::Stopping,
            Ending::Abandoned => Self::Abandoned,
        }
    }
}

/// How a server is that answers.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Condition {
    /// Name of its agent.
    pub(crate) agent: String,
    /// What it has loaded, if it tells.
    pub(crate) loaded: Option<Vec<String>>,
    /// Jobs of others before ours, if it tells.
    pub(crate) foreign: Option<usize>,
    /// Steps per second of its latest runs as the agent has timed them, overhead and all.
    pub(crate) speed: Option<f64>,
    /// Results that nobody has confirmed yet.
    pub(crate) kept: usize,
}

/// A [`BackendError`] as it is told.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Trouble {
    Unknown,
    Cancelled,
    Other { class: FailureClass, unanswered: bool, message: String },
}

impl From<&BackendError> for Trouble {
    fn from(error: &BackendError) -> Self {
        match error {
            BackendError::Unknown => Self::Unknown,
            BackendError::Cancelled => Self::Cancelled,
            error => Self::Other {
                class: error.class(),
                unanswered: error.blames_server(),
                message: error.to_string(),
            },
        }
    }
}

impl From<Trouble> for BackendError {
    fn from(trouble: Trouble) -> Self {
        match trouble {
            Trouble::Unknown => Self::Unknown,
            Trouble::Cancelled => Self::Cancelled,
            Trouble::Other { class, unanswered, message } => {
                Self::Told { class, unanswered, message: Excerpt::of(&message) }
            }
        }
    }
}

/// What an agent says of a run.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Said {
    pub(crate) run: RunId,
    pub(crate) news: News,
}

/// How a run goes on.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum News {
    Progress(f64),
    Waits,
    Ticket(String),
    /// What it looks like, in base64.
    Preview(String),
    /// It has failed. Said again until it is confirmed.
    Failed(Trouble),
}

pub(crate) fn shown(preview: &Preview) -> News {
    News::Preview(BASE64.encode(preview.bytes()))
}

pub(crate) fn preview(text: &str) -> Option<Preview> {
    Preview::of(BASE64.decode(text).ok()?.into())
}

/// What stands before a part of a picture. All parts are handed in again until they are confirmed.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Part {
    pub(crate) run: RunId,
    pub(crate) index: u32,
    pub(crate) of: u32,
    /// How its time is to be read.
    pub(crate) direct: bool,
    pub(crate) cached: bool,
    /// How long the run took, by the agent's clock.
    pub(crate) took: Seconds,
}

impl Part {
    pub(crate) fn timing(&self) -> Timing {
        match (self.direct, self.cached) {
            (true, _) => Timing::Direct,
            (_, true) => Timing::Cached,
            _ => Timing::Delayed,
        }
    }
}

/// A run is kept elsewhere: the agent may forget it.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub(crate) struct Confirm {
    pub(crate) epoch: u64,
    pub(crate) run: RunId,
}

/// Name of the header in which [`Part`] stands.
pub(crate) const PART: &str = "Atelier-Part";

/// Longest that an agent may take to answer what it can say at once.
pub(crate) const PATIENCE: Duration = Duration::from_secs(2);

pub(crate) fn written(value: &impl Serialize) -> bytes::Bytes {
    serde_json::to_vec(value).expect("plain data").into()
}

pub(crate) fn read<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, String> {
    serde_json::from_slice(bytes).map_err(|error| error.to_string())
}

/// A run as one word.
pub(crate) fn word(run: RunId) -> String {
    format!("{}/{}", run.request, run.attempt)
}

/// The run of a word.
pub(crate) fn run_of(word: &str) -> Option<RunId> {
    let (request, attempt) = word.split_once('/')?;
    Some(RunId {
        request: RequestId(Uuid::parse_str(request).ok()?),
        attempt: attempt.parse().ok()?,
    })
}
