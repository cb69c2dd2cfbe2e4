//! What goes into the scheduler and what comes out.

use std::fmt;
use std::sync::Arc;

use scheduling::{Decision, Execution, Model, Objective, Offer, Request, Seconds, Steps, Time};
use serde::{Deserialize, Serialize};
use thiserror::Error;

/// Name of a request for as long as it is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct RequestId(pub uuid::Uuid);

impl fmt::Display for RequestId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.hyphenated().fmt(f)
    }
}

/// Whose request it is: the name of an API key, or `local` where there are none.
pub type Owner = Arc<str>;

/// What the scheduler must know about a request.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Order {
    /// Its name.
    pub id: RequestId,
    /// Whose it is.
    pub owner: Owner,
    /// Arrival, due time, penalty, size, bounds on steps, model.
    pub request: Request,
    /// Width times height.
    pub pixels: u32,
    /// From when on it is not worth starting any more.
    pub expires: Time,
}

/// One attempt to run a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct RunId {
    /// The request.
    pub request: RequestId,
    /// 1 for the first run.
    pub attempt: u32,
}

impl fmt::Display for RunId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.request, self.attempt)
    }
}

/// A run as it was started.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Run {
    /// Which.
    pub id: RunId,
    /// Index of the server.
    pub server: usize,
    /// s_i
    pub steps: Steps,
    /// When it started.
    pub start: Time,
    /// How long it was predicted to load its model first.
    pub load: Seconds,
    /// How long it was predicted to take, the load included.
    pub service: Seconds,
}

/// What a policy would decide now, within the bounds.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Quote {
    /// Server and steps.
    pub decision: Decision,
    /// Predicted start and finish.
    pub execution: Execution,
    /// What the shadow policy would decide, within the bounds as well.
    pub shadow: Option<Decision>,
}

/// Why a request was decided, or decided again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Cause {
    /// It arrived.
    Arrival,
    /// A server came back.
    ServerUp,
    /// Its server stopped answering.
    ServerDown,
    /// Its server turned out slower than thought.
    ServerSlower,
    /// Its server is being drained.
    Drained,
    /// Its run failed.
    Retry,
    /// It ran on a server that stopped answering, and the run was given up.
    Abandoned,
    /// Jobs keep failing on its server, which is left alone for a while.
    ServerResting,
    /// Another server became free earlier than was predicted.
    ServerFree,
    /// Its run was lost in a restart.
    Restart,
    /// The configuration is another one.
    Reconfigured,
}

/// What the servers offered a request when it was decided, for those who ask why.
#[derive(Clone, Debug, PartialEq)]
pub struct Offered {
    /// The request.
    pub request: RequestId,
    /// When.
    pub at: Time,
    /// Each server, with what it offered or why it was not asked.
    pub servers: Vec<(usize, Result<Offer, Unasked>)>,
}

/// Why a server was not asked for what it offers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Unasked {
    /// It does not answer.
    Unhealthy,
    /// The operator does not want it used.
    Draining,
    /// It cannot draw it: the picture is too large, or it does not host the model with steps that are allowed.
    Unable,
    /// Jobs keep failing there, so it is left alone for a while.
    Resting,
    /// It has failed this very request.
    Failed,
}

/// A decision that was carried out.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Decided {
    /// The request.
    pub request: RequestId,
    /// When.
    pub at: Time,
    /// Why.
    pub cause: Cause,
    /// What.
    pub quote: Quote,
}

/// Why a run failed.
#[derive(Clone, Debug, PartialEq)]
pub struct Failure {
    /// Who is asked next because of it.
    pub class: FailureClass,
    /// What happened, for people.
    pub reason: String,
}

/// What a failure says about trying again.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FailureClass {
    /// The server will not do this job, however often it is asked: it refused the job, or painted
    /// another picture. It is not asked again for this request.
    Refused,
    /// The server cannot do any job at the moment: it is loading, busy or unreachable. Asking again
    /// later costs the request none of its attempts.
    NotNow {
        /// When it wants to be asked again, if it said so.
        retry_after: Option<Seconds>,
    },
    /// Anything else: it counts against the attempts that the request has.
    Counted,
}

/// How a request ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "outcome", rename_all = "snake_case")]
pub enum Outcome {
    /// There is a picture.
    Completed,
    /// There is none, and why.
    Failed {
        /// What the last run said.
        reason: String,
    },
    /// The requester gave up.
    Cancelled,
    /// It was not started before it expired.
    Expired,
}

/// The end of a request, with what it was worth.
#[derive(Clone, Debug, PartialEq)]
pub struct End {
    /// The request.
    pub request: RequestId,
    /// When it ended.
    pub at: Time,
    /// How.
    pub outcome: Outcome,
    /// The run it ended with, if one had started.
    pub run: Option<Run>,
    /// Runs it took.
    pub attempts: u32,
    /// τ_i at the end, whatever the outcome.
    pub tardiness: Seconds,
    /// Q(s_i), if completed.
    pub quality: Option<f64>,
    /// Eq. (5), if completed.
    pub reward: Option<f64>,
}

impl End {
    pub(super) fn new(
        at: Time,
        order: &Order,
        attempts: u32,
        outcome: Outcome,
        run: Option<Run>,
        objective: &Objective,
    ) -> Self {
        let tardiness = (at - order.request.due).positive_part();
        let steps = (outcome == Outcome::Completed).then(|| run.expect("a run completed").steps);
        Self {
            request: order.id,
            at,
            outcome,
            run,
            attempts,
            tardiness,
            quality: steps.map(|s| objective.quality(s)),
            reward: steps.map(|s| objective.earned(s, &order.request, at)),
        }
    }
}

/// A load that no request has asked for yet.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Preload {
    /// Index of the server, which stands idle.
    pub server: usize,
    /// What it is to load.
    pub model: Model,
    /// How long that is predicted to take.
    pub load: Seconds,
}

/// Something to be done outside.
#[derive(Clone, Debug, PartialEq)]
pub enum Effect {
    /// Tell those who ask why what the decision that follows was chosen from; see
    /// [`Scheduler::set_explanations`].
    ///
    /// [`Scheduler::set_explanations`]: super::Scheduler::set_explanations
    Offered(Offered),
    /// Write down and tell a decision.
    Decided(Decided),
    /// Tell that no server can take the request now.
    Unplaced(RequestId),
    /// Dispatch a run to its server.
    Start(Run),
    /// Ask the server for a run that was dispatched before a restart.
    LookUp(Run),
    /// Stop a run; its server stays taken until the run reports its end.
    Abort(Run),
    /// Load a model on a server that stands idle. It stays taken until [`Scheduler::preloaded`].
    ///
    /// [`Scheduler::preloaded`]: super::Scheduler::preloaded
    Preload(Preload),
    /// Write down and tell the end of a request.
    Ended(End),
}

/// Why a request is not accepted. No queue has changed then.
#[derive(Clone, Copy, Debug, PartialEq, Error, Serialize, Deserialize)]
pub enum Rejection {
    /// The bounded queue is full.
    #[error("{waiting} requests are waiting, which is the most that may")]
    QueueFull {
        /// How many wait.
        waiting: usize,
        /// Until a place is expected to come free.
        retry_after: Seconds,
    },
    /// What this owner has waiting takes its share of the servers' time.
    #[error(
        "your waiting requests take {:.1} s of the servers' time and this one {:.1} s more: {:.1} s \
         are allowed beside what others have waiting",
        .held.seconds(), .service.seconds(), .allowed.seconds()
    )]
    ShareUsedUp {
        /// Predicted service time of all that the owner has waiting.
        held: Seconds,
        /// Predicted service time of this request.
        service: Seconds,
        /// What both together may be now.
        allowed: Seconds,
        /// Until enough of what waits is expected to have started.
        retry_after: Seconds,
    },
    /// The queue is half full and this owner holds its share of the places.
    #[error("{held} of your requests have not ended: as long as many wait, {share} are allowed")]
    PlacesUsedUp {
        /// How many the owner holds.
        held: usize,
        /// How many it may hold now.
        share: usize,
        /// Until a place is expected to come free.
        retry_after: Seconds,
    },
    /// No server is healthy and enabled.
    #[error("no server is available at the moment")]
    NoServer,
    /// No server, available or not, takes a picture of this size.
    #[error("no server takes {pixels} pixels: the most is {most}")]
    TooLarge {
        /// Asked for.
        pixels: u32,
        /// Largest picture of any server.
        most: u32,
    },
    /// The gateway is shutting down.
    #[error("the gateway is shutting down")]
    Closing,
}
