//! What is told of finished pictures, in the words of that program.

use scheduling::Time;
use serde_json::json;

use super::Wanted;
use super::settings::{AS_CONFIGURED, checkpoint};
use crate::handle::Handle;
use crate::status::{Phase, Status};

/// What stands behind the pictures in an answer: the parameters, and JSON in a text.
pub(super) fn behind(wanted: &Wanted, finished: &[Status], handle: &Handle) -> String {
    let info = info(wanted, finished, handle).to_string();
    let parameters = json!({
        "prompt": wanted.prompt,
        "negative_prompt": wanted.negative_prompt.as_deref().unwrap_or(""),
        "width": finished[0].accepted.spec.width,
        "height": finished[0].accepted.spec.height,
        "seed": finished[0].accepted.spec.seed,
        "steps": steps(&finished[0]),
        "batch_size": wanted.batch_size.map_or(1, |number| number.0),
        "n_iter": wanted.n_iter.map_or(1, |number| number.0),
    });
    let (parameters, info) = (parameters.to_string(), json!(info).to_string());
    format!("],\"parameters\":{parameters},\"info\":{info}}}")
}

fn info(wanted: &Wanted, finished: &[Status], handle: &Handle) -> serde_json::Value {
    let all = |of: fn(&Status) -> serde_json::Value| finished.iter().map(of).collect::<Vec<_>>();
    let first = &finished[0].accepted.spec;
    let model = checkpoint(first.model.as_deref());
    json!({
        "prompt": first.prompt,
        "all_prompts": all(|status| json!(status.accepted.spec.prompt)),
        "negative_prompt": first.negative_prompt,
        "all_negative_prompts": all(|status| json!(status.accepted.spec.negative_prompt)),
        "seed": first.seed,
        "all_seeds": all(|status| json!(status.accepted.spec.seed)),
        "subseed": -1,
        "all_subseeds": all(|_| json!(-1)),
        "subseed_strength": 0.0,
        "width": first.width,
        "height": first.height,
        "sampler_name": AS_CONFIGURED,
        "steps": steps(&finished[0]),
        "all_steps": all(|status| json!(steps(status))),
        "batch_size": wanted.batch_size.map_or(1, |number| number.0),
        "restore_faces": false,
        "sd_model_name": model,
        "sd_model_hash": null,
        "extra_generation_params": {},
        "index_of_first_image": 0,
        "infotexts": finished.iter().map(infotext).collect::<Vec<_>>(),
        "styles": [],
        "job_timestamp": timestamp(handle.timeline.now(), handle),
        "is_using_inpainting_conditioning": false,
        // Under this name `GET /v1/requests/{id}` knows it.
        "request_ids": all(|status| json!(status.accepted.order.id.to_string())),
    })
}

/// The text that other programs find in a picture.
fn infotext(status: &Status) -> String {
    let spec = &status.accepted.spec;
    let negative = match spec.negative_prompt.as_str() {
        "" => String::new(),
        text => format!("\nNegative prompt: {text}"),
    };
    format!(
        "{}{negative}\nSteps: {}, Sampler: {AS_CONFIGURED}, Seed: {}, Size: {}x{}, Model: {}",
        spec.prompt,
        steps(status),
        spec.seed,
        spec.width,
        spec.height,
        checkpoint(spec.model.as_deref()),
    )
}

/// Steps that a picture was given.
fn steps(status: &Status) -> u32 {
    let given = match &status.phase {
        Phase::Ended(end) => end.steps,
        _ => None,
    };
    given.map_or(0, scheduling::Steps::get)
}

/// A date as that program writes it.
pub(super) fn timestamp(time: Time, handle: &Handle) -> String {
    handle.date(time).strftime("%Y%m%d%H%M%S").to_string()
}
