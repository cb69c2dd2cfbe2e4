//! A request in brief: what is shown of it beside all the others, without its prompt.

use dispatch::Outcome;
use jiff::Timestamp;
use scheduling::{Steps, TardinessPenalty, Time};
use serde::Serialize;

use crate::handle::Handle;
use crate::http::account::{Account, Role};
use crate::http::view::{state, told};
use crate::journal::EndEntry;
use crate::status::{Phase, Status};

/// A request in brief. What is not known is left out.
#[derive(Serialize)]
pub(super) struct Brief<'a> {
    id: String,
    /// Whether it belongs to whoever looks.
    own: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    owner: Option<&'a str>,
    state: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    server: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    steps: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    model: Option<&'a str>,
    penalty: TardinessPenalty,
    accepted_at: Timestamp,
    /// When the latest decision was taken: queues are in this order.
    #[serde(skip_serializing_if = "Option::is_none")]
    decided_at: Option<Timestamp>,
    due: Timestamp,
    #[serde(skip_serializing_if = "Option::is_none")]
    start: Option<Timestamp>,
    #[serde(skip_serializing_if = "Option::is_none")]
    finish: Option<Timestamp>,
    #[serde(skip_serializing_if = "Option::is_none")]
    load_seconds: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    progress: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    tardiness_seconds: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    quality: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    reward: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    attempts: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<&'a str>,
}

/// Where a request is drawn with how many steps and when, whether that has happened or is predicted.
struct Plan<'a> {
    server: &'a str,
    steps: Steps,
    start: Time,
    finish: Time,
}

impl<'a> Plan<'a> {
    fn of(status: &'a Status) -> Option<Self> {
        if let Phase::Running { run, .. } = &status.phase {
            let (server, steps) = (&*run.server, run.steps);
            return Some(Self { server, steps, start: run.start, finish: run.finish });
        }
        // No server can take it, whatever was decided before.
        if status.phase == Phase::Unplaced {
            return None;
        }
        let decision = status.decision.as_ref()?;
        let (server, steps) = (&*decision.server, decision.steps);
        Some(Self { server, steps, start: decision.start, finish: decision.finish })
    }
}

impl<'a> Brief<'a> {
    /// As somebody may see it.
    pub(super) fn new(status: &'a Status, handle: &Handle, viewer: &Account) -> Self {
        let (order, spec) = (&status.accepted.order, &status.accepted.spec);
        let load = status.load.map(scheduling::Seconds::seconds);
        let mut brief = Self {
            id: order.id.to_string(),
            own: order.owner == viewer.owner,
            owner: (viewer.role == Role::Operator).then_some(&*order.owner),
            state: state(&status.phase),
            server: None,
            steps: None,
            model: spec.model.as_deref(),
            penalty: order.request.penalty,
            accepted_at: handle.date(order.request.arrival),
            decided_at: status.decision.as_ref().map(|decision| handle.date(decision.at)),
            due: handle.date(order.request.due),
            start: None,
            finish: None,
            load_seconds: load.filter(|seconds| *seconds > 0.0),
            progress: None,
            tardiness_seconds: None,
            quality: None,
            reward: None,
            attempts: None,
            reason: None,
        };
        match &status.phase {
            Phase::Ended(end) => brief.ends(end, handle, viewer.role),
            phase => {
                if let Phase::Running { progress, .. } = phase {
                    brief.progress = *progress;
                }
                if let Some(plan) = Plan::of(status) {
                    brief.expects(&plan, status, handle);
                }
            }
        }
        brief
    }

    /// Fills in what is planned.
    fn expects(&mut self, plan: &Plan<'a>, status: &Status, handle: &Handle) {
        let request = &status.accepted.order.request;
        let objective = handle.objective_of(status.accepted.spec.model.as_deref());
        self.server = Some(plan.server);
        self.steps = Some(plan.steps.get());
        self.start = Some(handle.date(plan.start));
        self.finish = Some(handle.date(plan.finish));
        self.tardiness_seconds = Some((plan.finish - request.due).positive_part().seconds());
        self.quality = Some(objective.quality(plan.steps));
        self.reward = Some(objective.earned(plan.steps, request, plan.finish));
    }

    /// Fills in what has come of it.
    fn ends(&mut self, end: &'a EndEntry, handle: &Handle, role: Role) {
        self.server = end.server.as_deref();
        self.steps = end.steps.map(Steps::get);
        self.start = end.start.map(|start| handle.date(start));
        self.finish = Some(handle.date(end.at));
        self.tardiness_seconds = Some(end.tardiness.seconds());
        self.quality = end.quality;
        self.reward = end.reward;
        self.attempts = Some(end.attempts);
        if let Outcome::Failed { reason } = &end.outcome {
            self.reason = Some(told(reason, role));
        }
    }
}
