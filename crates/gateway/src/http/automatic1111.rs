//! The face of AUTOMATIC1111's web UI: what its clients call below `/sdapi/v1`.
//!
//! Fields that change nothing here are taken and passed over, as that program does itself: its clients
//! send all that they have. What would ask for another picture than the one that is painted is refused.

mod callers;
mod info;
mod settings;

use std::time::Instant;

use axum::Json;
use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use scheduling::{Steps, TardinessPenalty};
use serde::Deserialize;
use serde_json::json;

use super::answer::{self, Entry};
use super::auth::Visitor;
use super::awaited::{MOST_PICTURES, ask};
use super::body::{JsonBody, NewRequest, parse};
use super::headers::{self, Urgency, idempotency_key};
use super::peer::Peer;
use super::problem::Problem;
use super::value::{Seed, Whole};
use super::{Server, Waited};
use crate::config::{Config, StepsAsked};
use crate::status::Phase;

pub(crate) use self::callers::Callers;
pub(crate) use self::settings::{
    flags, latent_upscale_modes, loras, models, options, samplers, schedulers, set_options,
    upscalers, vaes,
};

/// A problem in the form of this protocol.
pub(crate) struct Error(Problem);

impl From<Problem> for Error {
    fn from(problem: Problem) -> Self {
        Self(problem)
    }
}

impl IntoResponse for Error {
    fn into_response(self) -> Response {
        let Self(problem) = self;
        let field = problem.field.as_ref().map_or(String::new(), |field| format!("{field}: "));
        let said = field + &problem.detail;
        let body = json!({ "error": problem.reason, "detail": said, "body": "", "errors": said });
        let response = (problem.status, Json(body)).into_response();
        problem.told_by(response)
    }
}

/// The body of `txt2img`, as far as it says anything here.
#[derive(Debug, Deserialize)]
pub(super) struct Wanted {
    #[serde(default)]
    prompt: String,
    negative_prompt: Option<String>,
    width: Option<Whole>,
    height: Option<Whole>,
    seed: Option<Seed>,
    steps: Option<Whole>,
    batch_size: Option<Whole>,
    n_iter: Option<Whole>,
    send_images: Option<bool>,
    override_settings: Option<Overrides>,
    // These ask for another picture.
    enable_hr: Option<bool>,
    restore_faces: Option<bool>,
    tiling: Option<bool>,
    script_name: Option<String>,
    // Our own.
    due_in_seconds: Option<f64>,
    penalty: Option<TardinessPenalty>,
}

#[derive(Debug, Deserialize)]
struct Overrides {
    sd_model_checkpoint: Option<String>,
}

impl Wanted {
    /// How many pictures.
    fn count(&self) -> Result<u32, Problem> {
        let of = |number: Option<Whole>| number.map_or(1, |Whole(number)| number);
        let count = of(self.batch_size).saturating_mul(of(self.n_iter));
        if !(1..=MOST_PICTURES).contains(&count) {
            let detail = format!("{count} pictures with n_iter: allowed are 1 to {MOST_PICTURES}");
            return Err(Problem::field("batch_size", detail));
        }
        Ok(count)
    }

    /// What cannot be done must not be passed over.
    fn refuse_other_pictures(&self) -> Result<(), Problem> {
        for (field, asked) in [
            ("enable_hr", self.enable_hr),
            ("restore_faces", self.restore_faces),
            ("tiling", self.tiling),
        ] {
            if asked == Some(true) {
                return Err(Problem::field(
                    field,
                    "the servers behind do not do it: allowed is false",
                ));
            }
        }
        match &self.script_name {
            Some(script) if !script.is_empty() && script != "None" => {
                let detail = "there are no scripts here: allowed is null, \"\" or \"None\"";
                Err(Problem::field("script_name", detail))
            }
            _ => Ok(()),
        }
    }

    /// The same in our own terms, for a caller with this checkpoint.
    fn to_native(
        &self,
        urgency: Urgency,
        checkpoint: Option<String>,
        config: &Config,
    ) -> Result<NewRequest, Problem> {
        self.refuse_other_pictures()?;
        let overridden = self.override_settings.as_ref();
        let overridden = overridden.and_then(|settings| settings.sd_model_checkpoint.clone());
        let steps = self.steps.map(|Whole(steps)| steps);
        let (min_steps, max_steps) = match (steps, config.faces.automatic1111.steps) {
            (None, _) => (None, None),
            (Some(steps @ 1..), StepsAsked::AtMost) => {
                (None, Some(Steps::saturating(f64::from(steps))))
            }
            (Some(steps), _) => {
                let steps =
                    Steps::new(steps).map_err(|e| Problem::field("steps", e.to_string()))?;
                (Some(steps), Some(steps))
            }
        };
        Ok(NewRequest {
            prompt: self.prompt.clone(),
            negative_prompt: self.negative_prompt.clone().unwrap_or_default(),
            width: self.width.map(of_latents),
            height: self.height.map(of_latents),
            seed: self.seed,
            due_in_seconds: self.due_in_seconds.or(urgency.due_in_seconds),
            due: None,
            penalty: self.penalty.or(urgency.penalty),
            min_steps,
            max_steps,
            model: settings::model(overridden.or(checkpoint), config),
            callback_url: None,
        })
    }
}

/// Pictures are drawn in squares of eight pixels; that program leaves out the rest.
fn of_latents(Whole(side): Whole) -> u32 {
    side / 8 * 8
}

/// What is wrong with the steps is wrong with the one field that says them.
fn of_steps(problem: Problem) -> Problem {
    match problem.field.as_deref() {
        Some("min_steps" | "max_steps") => Problem { field: Some("steps".into()), ..problem },
        _ => problem,
    }
}

/// `POST /sdapi/v1/txt2img`: waits for the pictures, and cancels them if the client leaves and has no
/// Idempotency-Key to ask for them again.
pub(crate) async fn txt2img(
    State(server): State<Server>,
    peer: Peer,
    headers: HeaderMap,
    body: Result<JsonBody, Problem>,
) -> Result<Response, Error> {
    let JsonBody { visitor, bytes, room } = body?;
    let handle = &server.handle;
    let wanted: Wanted = parse(&bytes)?;
    let count = wanted.count()?;
    let key = idempotency_key(&headers, &bytes)?;
    let urgency = headers::urgency(&headers)?;
    let checkpoint = server.callers.checkpoint(&visitor.owner);
    let new = wanted.to_native(urgency, checkpoint, &handle.config)?;
    drop(bytes);
    let mut requests = ask(&new, count, &visitor, handle, key).await.map_err(of_steps)?;
    drop(room);
    let call = server.callers.call(&visitor.owner, peer, &requests.ids);
    let start = Instant::now();
    let finished = requests.all_finished().await?;
    drop(call);
    let mut pictures = requests.all_pictures().await?;
    if wanted.send_images == Some(false) {
        pictures.clear();
    }
    let quoted = |picture| Entry { before: "\"".into(), picture, behind: "\"".into() };
    let entries = pictures.into_iter().map(quoted).collect();
    let behind = info::behind(&wanted, &finished, handle).into_bytes();
    let behind = visitor.budget.wait(behind.len()).await.carry(behind);
    let mut response = answer::listing(Bytes::from_static(b"{\"images\":["), entries, behind);
    response.extensions_mut().insert(Waited(start.elapsed()));
    Ok(response)
}

/// `POST /sdapi/v1/interrupt`: gives up the caller's own pictures, those that were asked for first.
pub(crate) async fn interrupt(
    State(server): State<Server>,
    peer: Peer,
    visitor: Result<Visitor, Problem>,
) -> Result<Response, Error> {
    let visitor = visitor?;
    for id in server.callers.first(&visitor.owner, peer) {
        server.handle.cancel(id).await.map_err(Problem::from)?;
    }
    Ok(Json(json!({})).into_response())
}

/// `GET /sdapi/v1/progress`: of the caller's own pictures, those that were asked for first.
pub(crate) async fn progress(
    State(server): State<Server>,
    peer: Peer,
    visitor: Result<Visitor, Problem>,
) -> Result<Response, Error> {
    let visitor = visitor?;
    let handle = &server.handle;
    let ids = server.callers.first(&visitor.owner, peer);
    let (mut done, mut ended, mut left) = (0.0, 0, 0.0_f64);
    let (mut step, mut steps) = (0, 0);
    let mut began = handle.timeline.now();
    for &id in &ids {
        let turn = visitor.first_turn().await?;
        let Some(status) = handle.status(id).await.map_err(Problem::from)? else { continue };
        drop(turn);
        if status.accepted.order.request.arrival < began {
            began = status.accepted.order.request.arrival;
        }
        if matches!(status.phase, Phase::Ended(_)) {
            (done, ended) = (done + 1.0, ended + 1);
            continue;
        }
        let Some(decision) = &status.decision else { continue };
        left = left.max((decision.finish - handle.timeline.now()).seconds());
        if let Phase::Running { progress, .. } = status.phase {
            let share = progress.unwrap_or(0.0).clamp(0.0, 1.0);
            done += share;
            steps = decision.steps.get();
            step = (share * f64::from(steps)) as u32;
        }
    }
    let body = json!({
        "progress": done / ids.len().max(1) as f64,
        "eta_relative": left,
        "state": {
            "skipped": false,
            "interrupted": false,
            "stopping_generation": false,
            "job": if ids.is_empty() { "" } else { "txt2img" },
            "job_count": ids.len(),
            "job_timestamp": if ids.is_empty() { "0".into() } else { info::timestamp(began, handle) },
            "job_no": ended,
            "sampling_step": step,
            "sampling_steps": steps,
        },
        "current_image": null,
        "textinfo": null,
    });
    Ok(Json(body).into_response())
}
