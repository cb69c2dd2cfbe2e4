//! The models that a client may name.

use axum::Json;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use scheduling::message::excerpt;
use serde::Serialize;
use serde_json::json;

use super::Error;
use crate::config::Config;
use crate::http::auth::Visitor;
use crate::http::body::{no_such_model, offered_models};
use crate::http::problem::Problem;
use crate::http::{CLUSTER, Server};

#[derive(Serialize)]
struct Model<'a> {
    id: &'a str,
    object: &'static str,
    created: u64,
    owned_by: &'static str,
}

impl<'a> Model<'a> {
    const fn new(id: &'a str) -> Self {
        Self { id, object: "model", created: 0, owned_by: CLUSTER }
    }

    /// Those that a client may name.
    fn all(config: &'a Config) -> Vec<Self> {
        offered_models(config).into_iter().map(Self::new).collect()
    }
}

/// `GET /v1/models`
pub(crate) async fn models(
    State(server): State<Server>,
    visitor: Result<Visitor, Problem>,
) -> Result<Response, Error> {
    visitor?;
    let models = Model::all(&server.handle.config);
    Ok(Json(json!({ "object": "list", "data": models })).into_response())
}

/// `GET /v1/models/{model}`
pub(crate) async fn one_model(
    State(server): State<Server>,
    visitor: Result<Visitor, Problem>,
    Path(name): Path<String>,
) -> Result<Response, Error> {
    visitor?;
    let config = &server.handle.config;
    let known = Model::all(config).into_iter().find(|model| model.id == name);
    // Also where models are configured: it stands for the default one.
    let cluster = (name == CLUSTER).then(|| Model::new(CLUSTER));
    match known.or(cluster) {
        Some(model) => Ok(Json(model).into_response()),
        None if config.models.is_empty() => {
            let name = excerpt(&name);
            let detail = format!("there is no model {name:?}: there is {CLUSTER:?}");
            Err(Problem::new(StatusCode::NOT_FOUND, "model_not_found", detail).into())
        }
        None => Err(no_such_model(&name, config).into()),
    }
}
