//! What clients ask for before they ask for pictures: models, samplers and the like.

use axum::Json;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use serde::Deserialize;
use serde_json::{Value, json};

use super::Error;
use crate::config::Config;
use crate::http::auth::Visitor;
use crate::http::body::{JsonBody, known_model, offered_models, parse};
use crate::http::problem::Problem;
use crate::http::{CLUSTER, Server};

/// The only sampler and scheduler there is: the operator has chosen one for each server.
pub(super) const AS_CONFIGURED: &str = "Automatic";

type Answer = Result<Response, Error>;

/// What a model is called here.
pub(super) fn checkpoint(model: Option<&str>) -> &str {
    model.unwrap_or(CLUSTER)
}

/// The model that a checkpoint stands for. Where there is only one, any name stands for it.
pub(super) fn model(checkpoint: Option<String>, config: &Config) -> Option<String> {
    checkpoint.filter(|_| !config.models.is_empty()).filter(|name| !name.trim().is_empty())
}

/// `GET /sdapi/v1/options`
pub(crate) async fn options(
    State(server): State<Server>,
    visitor: Result<Visitor, Problem>,
) -> Answer {
    let visitor = visitor?;
    let config = &server.handle.config;
    let chosen = model(server.callers.checkpoint(&visitor.owner), config);
    let current = chosen.as_deref().or(config.default_model());
    Ok(Json(json!({
        "sd_model_checkpoint": checkpoint(current),
        "sd_checkpoint_hash": null,
        "sd_vae": "Automatic",
        "samples_format": "png",
    }))
    .into_response())
}

/// Settings that change something here; others are taken and passed over.
#[derive(Deserialize)]
struct Changes {
    sd_model_checkpoint: Option<String>,
}

/// `POST /sdapi/v1/options`: the caller's own checkpoint from now on.
pub(crate) async fn set_options(
    State(server): State<Server>,
    body: Result<JsonBody, Problem>,
) -> Answer {
    let JsonBody { visitor, bytes, .. } = body?;
    let Changes { sd_model_checkpoint } = parse(&bytes)?;
    let config = &server.handle.config;
    if let Some(name) = model(sd_model_checkpoint, config) {
        let known = known_model(Some(&name), config);
        let known = known
            .map_err(|problem| Problem { field: Some("sd_model_checkpoint".into()), ..problem })?;
        if let Some(known) = known {
            server.callers.choose(&visitor.owner, known.into());
        }
    }
    Ok(Json(Value::Null).into_response())
}

/// `GET /sdapi/v1/sd-models`
pub(crate) async fn models(
    State(server): State<Server>,
    visitor: Result<Visitor, Problem>,
) -> Answer {
    visitor?;
    let named = |name: &str| {
        json!({
            "title": name, "model_name": name, "hash": null, "sha256": null, "filename": name,
            "config": null,
        })
    };
    let all: Vec<_> = offered_models(&server.handle.config).into_iter().map(named).collect();
    Ok(Json(all).into_response())
}

fn list(visitor: Result<Visitor, Problem>, list: Value) -> Answer {
    visitor?;
    Ok(Json(list).into_response())
}

/// `GET /sdapi/v1/samplers`
pub(crate) async fn samplers(visitor: Result<Visitor, Problem>) -> Answer {
    list(visitor, json!([{ "name": AS_CONFIGURED, "aliases": [], "options": {} }]))
}

/// `GET /sdapi/v1/schedulers`
pub(crate) async fn schedulers(visitor: Result<Visitor, Problem>) -> Answer {
    list(visitor, json!([{ "name": "automatic", "label": AS_CONFIGURED, "aliases": null }]))
}

/// `GET /sdapi/v1/upscalers`
pub(crate) async fn upscalers(visitor: Result<Visitor, Problem>) -> Answer {
    let none = json!({
        "name": "None", "model_name": null, "model_path": null, "model_url": null, "scale": 4,
    });
    list(visitor, json!([none]))
}

/// `GET /sdapi/v1/latent-upscale-modes`
pub(crate) async fn latent_upscale_modes(visitor: Result<Visitor, Problem>) -> Answer {
    list(visitor, json!([]))
}

/// `GET /sdapi/v1/sd-vae`
pub(crate) async fn vaes(visitor: Result<Visitor, Problem>) -> Answer {
    list(visitor, json!([]))
}

/// `GET /sdapi/v1/loras`
pub(crate) async fn loras(visitor: Result<Visitor, Problem>) -> Answer {
    list(visitor, json!([]))
}

/// `GET /sdapi/v1/cmd-flags`
pub(crate) async fn flags(visitor: Result<Visitor, Problem>) -> Answer {
    list(visitor, json!({}))
}
