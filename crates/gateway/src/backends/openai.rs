//! Servers that speak OpenAI's Images API, such as vLLM-Omni and SGLang-diffusion.

use async_trait::async_trait;
use bytes::Bytes;
use reqwest::Method;
use serde::Deserialize;
use serde_json::json;

use super::client::Client;
use super::embedded::{Embedded, First};
use super::{Backend, BackendError, Cancelled, Checkpoints, Job, Painted, Timing, Watcher};

/// One such server.
pub(crate) struct OpenAi {
    pub(crate) client: Client,
    /// For pictures that name no model.
    pub(crate) model: Option<String>,
    pub(crate) checkpoints: Checkpoints,
}

#[derive(Deserialize)]
pub(super) struct Images {
    data: First<Image>,
}

impl Images {
    /// The picture in it.
    pub(super) fn picture(self) -> Result<Bytes, BackendError> {
        self.data.0.map(|image| image.b64_json).unwrap_or_default().png()
    }
}

#[derive(Deserialize)]
struct Image {
    #[serde(default)]
    b64_json: Embedded,
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
        // The protocol has no word for a queue or a cache.
        Ok(Painted { png: images.picture()?, timing: Timing::Direct })
    }

    async fn cancel(&self, _: &Job, _: Option<&str>) -> Result<Cancelled, BackendError> {
        // Closing the connection is all that the protocol offers.
        Ok(Cancelled::Abandoned)
    }

    async fn probe(&self) -> Result<(), BackendError> {
        self.client.call(Method::GET, "/health", None, Client::SMALL).await.map(drop)
    }
}
