//! What requests and servers look like in JSON.

use std::sync::Arc;

use dispatch::{Administration, Cause, Health, Outcome, Quote};
use jiff::Timestamp;
use scheduling::{Seconds, Time};
use serde::Serialize;

use super::account::Role;
use crate::handle::Handle;
use crate::journal::{DecisionEntry, Shadow};
use crate::status::{HostedView, Phase, ServerView, Status};

/// A request, as `GET /v1/requests/{id}` answers it.
#[derive(Debug, Serialize)]
pub(crate) struct RequestView<'a> {
    id: String,
    /// `waiting`, `running`, `completed`, `failed`, `cancelled` or `expired`.
    pub(crate) state: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<&'a str>,
    prompt: &'a str,
    negative_prompt: &'a str,
    width: u32,
    height: u32,
    seed: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    model: Option<&'a str>,
    penalty: scheduling::TardinessPenalty,
    accepted_at: Timestamp,
    due: Timestamp,
    expires: Timestamp,
    #[serde(skip_serializing_if = "Option::is_none")]
    queue_position: Option<usize>,
    #[serde(skip_serializing_if = "Option::is_none")]
    progress: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    decision: Option<DecisionView>,
    #[serde(skip_serializing_if = "Option::is_none")]
    result: Option<ResultView>,
}

/// What was decided, and what is predicted to come of it.
#[derive(Debug, Serialize)]
pub(crate) struct DecisionView {
    server: String,
    steps: u32,
    predicted_start: Timestamp,
    predicted_finish: Timestamp,
    predicted_tardiness_seconds: f64,
    expected_quality: f64,
    expected_reward: f64,
    policy: String,
    cause: Cause,
    why: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    shadow: Option<ShadowView>,
}

/// What the shadow policy would have decided. It was not carried out.
#[derive(Debug, Serialize)]
pub(crate) struct ShadowView {
    server: String,
    steps: u32,
    /// Whether that is what was decided.
    agrees: bool,
}

/// What came of it.
#[derive(Debug, Serialize)]
pub(crate) struct ResultView {
    ended_at: Timestamp,
    attempts: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    server: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    steps: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    started_at: Option<Timestamp>,
    #[serde(skip_serializing_if = "Option::is_none")]
    run_seconds: Option<f64>,
    tardiness_seconds: f64,
    #[serde(skip_serializing_if = "Option::is_none")]
    quality: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    reward: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    image: Option<String>,
}

impl<'a> RequestView<'a> {
    pub(crate) fn new(status: &'a Status, handle: &Handle, role: Role) -> Self {
        let accepted = &status.accepted;
        let (order, spec) = (&accepted.order, &accepted.spec);
        let date = |time: Time| handle.date(time);
        let mut view = Self {
            id: order.id.to_string(),
            state: state(&status.phase),
            reason: None,
            prompt: &spec.prompt,
            negative_prompt: &spec.negative_prompt,
            width: spec.width,
            height: spec.height,
            seed: spec.seed,
            model: spec.model.as_deref(),
            penalty: order.request.penalty,
            accepted_at: date(order.request.arrival),
            due: date(order.request.due),
            expires: date(order.expires),
            queue_position: None,
            progress: None,
            decision: status.decision.as_ref().map(|d| DecisionView::new(d, status, handle)),
            result: None,
        };
        match &status.phase {
            Phase::Unplaced => view.reason = Some("no server can take it at the moment"),
            Phase::Waiting { ahead } => view.queue_position = Some(*ahead),
            Phase::Running { progress, .. } => {
                view.progress = Some(progress.unwrap_or(0.0));
            }
            Phase::Ended(end) => {
                if let Outcome::Failed { reason } = &end.outcome {
                    view.reason = Some(told(reason, role));
                }
                let completed = end.outcome == Outcome::Completed;
                view.result = Some(ResultView {
                    ended_at: date(end.at),
                    attempts: end.attempts,
                    server: end.server.as_ref().map(ToString::to_string),
                    steps: end.steps.map(scheduling::Steps::get),
                    started_at: end.start.map(date),
                    run_seconds: end.start.map(|start| (end.at - start).seconds()),
                    tardiness_seconds: end.tardiness.seconds(),
                    quality: end.quality,
                    reward: end.reward,
                    image: completed.then(|| format!("/v1/requests/{}/image", order.id)),
                });
            }
        }
        view
    }
}

/// How far a request is, in a word.
pub(crate) fn state(phase: &Phase) -> &'static str {
    match phase {
        Phase::Unplaced | Phase::Waiting { .. } => "waiting",
        Phase::Running { .. } => "running",
        Phase::Ended(end) => match &end.outcome {
            Outcome::Completed => "completed",
            Outcome::Failed { .. } => "failed",
            Outcome::Cancelled => "cancelled",
            Outcome::Expired => "expired",
        },
    }
}

/// Why a request failed, as somebody is told. What servers say may hold paths, addresses and
/// passwords, and is for operators.
pub(crate) fn told(reason: &str, role: Role) -> &str {
    match role {
        Role::Operator => reason,
        Role::Requester => "the servers that were to paint it failed",
    }
}

impl DecisionView {
    pub(crate) fn new(entry: &DecisionEntry, status: &Status, handle: &Handle) -> Self {
        let request = &status.accepted.order.request;
        let objective = handle.objective_of(status.accepted.spec.model.as_deref());
        let tardiness = (entry.finish - request.due).positive_part();
        let quality = objective.quality(entry.steps);
        Self {
            server: entry.server.to_string(),
            steps: entry.steps.get(),
            predicted_start: handle.date(entry.start),
            predicted_finish: handle.date(entry.finish),
            predicted_tardiness_seconds: tardiness.seconds(),
            expected_quality: quality,
            expected_reward: objective.earned(entry.steps, request, entry.finish),
            policy: entry.policy.to_string(),
            cause: entry.cause,
            why: why(entry, quality, tardiness),
            shadow: entry.shadow.as_ref().zip(entry.agrees()).map(|(shadow, agrees)| ShadowView {
                server: shadow.server.to_string(),
                steps: shadow.steps.get(),
                agrees,
            }),
        }
    }

    /// What would be decided, as `POST /v1/quotes` answers it.
    pub(crate) fn quoted(
        quote: &Quote,
        policy: Arc<str>,
        status: &Status,
        handle: &Handle,
    ) -> Self {
        let name = |server: usize| handle.config.servers[server].name.get_ref().as_str().into();
        let entry = DecisionEntry {
            at: handle.timeline.now(),
            cause: Cause::Arrival,
            server: name(quote.decision.server),
            steps: quote.decision.steps,
            start: quote.execution.start,
            finish: quote.execution.finish,
            policy,
            shadow: quote.shadow.map(|d| Shadow { server: name(d.server), steps: d.steps }),
        };
        Self::new(&entry, status, handle)
    }
}

/// One sentence for people.
fn why(entry: &DecisionEntry, quality: f64, tardiness: Seconds) -> String {
    let occasion = match entry.cause {
        Cause::Arrival => "on arrival",
        Cause::ServerUp => "again, as a server came back",
        Cause::ServerDown => "again, as its server stopped answering",
        Cause::ServerSlower => "again, as its server turned out slower",
        Cause::Drained => "again, as its server is being drained",
        Cause::Retry => "again, as its run failed",
        Cause::Abandoned => "again, as the server on which it ran stopped answering",
        Cause::ServerResting => "again, as jobs keep failing on its server",
        Cause::ServerFree => "again, as another server became free early",
        Cause::Restart => "again, as its run was lost in a restart",
        Cause::Reconfigured => "again, as the configuration is another one",
    };
    let wait = (entry.start - entry.at).positive_part().seconds();
    let late = match tardiness.seconds() {
        0.0 => "on time".to_string(),
        seconds => format!("{seconds:.1} s late"),
    };
    format!(
        "decided by {} {occasion}: {} steps on {} after {wait:.1} s of waiting are worth quality \
         {quality:.1}, {late}",
        entry.policy,
        entry.steps.get(),
        entry.server
    )
}

/// A model on a server.
#[derive(Debug, Serialize)]
pub(crate) struct HostedJson {
    name: String,
    loaded: bool,
    steps_per_second: f64,
    overhead_seconds: f64,
    load_seconds: f64,
}

impl HostedJson {
    fn new(view: HostedView) -> Self {
        Self {
            name: view.name.into(),
            loaded: view.loaded,
            steps_per_second: view.speed.rate.steps_per_second(),
            overhead_seconds: view.speed.overhead.seconds(),
            load_seconds: view.load.seconds(),
        }
    }
}

/// A server, as `GET /v1/servers` answers it.
#[derive(Debug, Serialize)]
pub(crate) struct ServerJson {
    name: String,
    healthy: bool,
    enabled: bool,
    steps_per_second: f64,
    overhead_seconds: f64,
    sigma: f64,
    max_pixels: u32,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    models: Vec<HostedJson>,
    running: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    preloading: Option<String>,
    waiting: usize,
    backlog_seconds: f64,
    failed_in_a_row: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    resting_seconds: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    trouble: Option<String>,
}

impl ServerJson {
    pub(crate) fn new(view: ServerView, role: Role) -> Self {
        Self {
            name: view.name.to_string(),
            healthy: view.health == Health::Healthy,
            enabled: view.administration == Administration::Enabled,
            steps_per_second: view.speed.rate.steps_per_second(),
            overhead_seconds: view.speed.overhead.seconds(),
            sigma: view.sigma.into(),
            max_pixels: view.max_pixels,
            models: view.models.into_iter().map(HostedJson::new).collect(),
            running: view.running.map(|run| run.id.request.to_string()),
            preloading: view.preloading,
            waiting: view.waiting,
            backlog_seconds: view.backlog.seconds(),
            failed_in_a_row: view.failed_in_a_row,
            resting_seconds: view.resting.map(Seconds::seconds),
            trouble: view.trouble.filter(|_| role == Role::Operator),
        }
    }
}
