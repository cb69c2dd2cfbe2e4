//! Servers that speak OpenAI's Images API, such as vLLM-Omni and SGLang-diffusion.

use async_trait::async_trait;
use bytes::Bytes;
use reqwest::Method;
use serde::Deserialize;
use serde_json::{Value, json};

use super::client::{Client, said};
use super::embedded::{Embedded, First};
use super::{Backend, BackendError, Cancelled, Checkpoints, Job, Painted, Timing, Watcher};

/// One such server.
pub(crate) struct OpenAi {
    pub(crate) client: Client,
    /// For pictures that name no model.
    pub(crate) model: Option<String>,
    pub(crate) checkpoints: Checkpoints,
}

/// Pictures, or what went wrong: some servers say that with a status of 200.
#[derive(Deserialize)]
pub(super) struct Images {
    #[serde(default = "First::none")]
    data: First<Image>,
    #[serde(default)]
    error: Value,
}

impl Images {
    /// The picture in it, or where it is.
    pub(super) fn picture(self) -> Result<Delivered, BackendError> {
        if !self.error.is_null() {
            let told = said::sentence_in(&json!({ "error": self.error }));
            let told = told.unwrap_or_else(|| "it does not say why".into());
            return Err(BackendError::JobFailed(told.into()));
        }
        let Image { b64_json, url } = self.data.0.unwrap_or_default();
        match (b64_json.png(), url) {
            (Ok(png), _) => Ok(Delivered::Here(png)),
            (Err(_), Some(url)) => Ok(Delivered::At(url)),
            (Err(error), None) => Err(error),
        }
    }
}

/// How a picture comes.
#[derive(Debug)]
pub(super) enum Delivered {
    Here(Bytes),
    /// To be fetched.
    At(String),
}

#[derive(Default, Deserialize)]
struct Image {
    #[serde(default)]
    b64_json: Embedded,
    #[serde(default)]
    url: Option<String>,
}

#[async_trait]
impl Backend for OpenAi {
    async fn generate(&self, job: &Job, _: &dyn Watcher) -> Result<Painted, BackendError> {
        let spec = &job.spec;
        let mut body = json!({
            "prompt": spec.prompt,
            "negative_prompt": spec.negative_prompt,
            "size": format!("{}x{}", spec.width, spec.height),
            "n": 1,
            "response_format": "b64_json",
            "output_format": "png",
            "seed": spec.seed,
            "num_inference_steps": job.steps.get(),
        });
        if let Some(model) = self.model.as_deref().or(self.checkpoints.of(spec)) {
            body["model"] = json!(model);
        }
        let images: Images = self.client.post_picture("/v1/images/generations", &body, job).await?;
        let png = match images.picture()? {
            Delivered::Here(png) => png,
            Delivered::At(url) => self.client.download(&self.client.own_path(&url)?, job).await?,
        };
        // The protocol has no word for a queue or a cache.
        Ok(Painted { png, timing: Timing::Direct })
    }

    async fn cancel(&self, _: &Job, _: Option<&str>) -> Result<Cancelled, BackendError> {
        // Closing the connection is all that the protocol offers.
        Ok(Cancelled::Abandoned)
    }

    async fn probe(&self) -> Result<(), BackendError> {
        self.client.call(Method::GET, "/health", None, Client::SMALL).await.map(drop)
    }
}
