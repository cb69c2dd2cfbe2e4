//! stable-diffusion.cpp's `sd-server`, `/sdcpp/v1`.

use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use serde::Deserialize;
use serde_json::{Value, json};

use super::client::{Client, unpack};
use super::{Backend, BackendError, Cancelled, Job, Watcher};

/// One sd-server. It queues jobs and names them, so they can be looked up after a restart.
pub(super) struct SdCpp {
    pub(super) client: Client,
    pub(super) sampler: Option<String>,
    pub(super) cfg_scale: f64,
}

#[derive(Deserialize)]
pub(super) struct Submitted {
    pub(super) id: String,
}

#[derive(Deserialize)]
pub(super) struct JobState {
    status: Status,
    #[serde(default)]
    result: Option<JobResult>,
    #[serde(default)]
    error: Option<JobError>,
}

#[derive(Deserialize)]
#[serde(rename_all = "snake_case")]
enum Status {
    Queued,
    Generating,
    Completed,
    Failed,
    Cancelled,
}

#[derive(Deserialize)]
struct JobResult {
    images: Vec<Image>,
}

#[derive(Deserialize)]
struct Image {
    b64_json: String,
}

#[derive(Deserialize)]
struct JobError {
    #[serde(default)]
    message: String,
}

impl SdCpp {
    const POLL: Duration = Duration::from_millis(200);

    async fn wait(&self, id: &str) -> Result<Bytes, BackendError> {
        let path = job_path(id)?;
        loop {
            let state: JobState = match self.client.get_large(&path).await {
                Err(BackendError::Status { status: 404 | 410, .. }) => {
                    return Err(BackendError::Unknown);
                }
                state => state?,
            };
            if let Some(outcome) = state.outcome() {
                return outcome;
            }
            tokio::time::sleep(Self::POLL).await;
        }
    }
}

impl JobState {
    /// What came of the job; none while it goes on.
    pub(super) fn outcome(self) -> Option<Result<Bytes, BackendError>> {
        Some(match self.status {
            Status::Queued | Status::Generating => return None,
            Status::Completed => {
                let images = self.result.map(|result| result.images).unwrap_or_default();
                let none = || BackendError::Garbage("there is no image".into());
                images.first().ok_or_else(none).and_then(|image| unpack(&image.b64_json))
            }
            Status::Failed => {
                let message = self.error.map(|e| e.message).unwrap_or_default();
                Err(BackendError::JobFailed(message.chars().take(300).collect()))
            }
            Status::Cancelled => Err(BackendError::JobFailed("cancelled there".into())),
        })
    }
}

/// Names come from the server and go into a path: only plain ones do.
pub(super) fn job_path(id: &str) -> Result<String, BackendError> {
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_');
    if id.is_empty() || id.len() > 128 || !id.chars().all(plain) {
        return Err(BackendError::Garbage(format!(
            "job name {:?}",
            id.chars().take(40).collect::<String>()
        )));
    }
    Ok(format!("/sdcpp/v1/jobs/{id}"))
}

#[async_trait]
impl Backend for SdCpp {
    async fn generate(&self, job: &Job, watcher: &dyn Watcher) -> Result<Bytes, BackendError> {
        let spec = &job.spec;
        let mut sampling = json!({
            "sample_steps": job.steps.get(),
            "guidance": { "txt_cfg": self.cfg_scale },
        });
        if let Some(sampler) = &self.sampler {
            sampling["sample_method"] = json!(sampler);
        }
        let body = json!({
            "prompt": spec.prompt,
            "negative_prompt": spec.negative_prompt,
            "width": spec.width,
            "height": spec.height,
            "seed": spec.seed,
            "batch_count": 1,
            "sample_params": sampling,
            "output_format": "png",
        });
        let Submitted { id } = self.client.post("/sdcpp/v1/img_gen", &body).await?;
        watcher.ticket(&id);
        self.wait(&id).await
    }

    async fn look_up(
        &self,
        _: &Job,
        ticket: Option<&str>,
        _: &dyn Watcher,
    ) -> Result<Bytes, BackendError> {
        self.wait(ticket.ok_or(BackendError::Unknown)?).await
    }

    async fn cancel(&self, _: &Job, ticket: Option<&str>) -> Result<Cancelled, BackendError> {
        let Some(id) = ticket else { return Ok(Cancelled::Stopped) };
        let path = format!("{}/cancel", job_path(id)?);
        match self.client.post::<Value>(&path, &json!({})).await {
            // It generates and cannot be stopped: the server stays taken until it is through.
            Err(BackendError::Status { status: 409, .. }) => Ok(Cancelled::Stopping),
            Err(BackendError::Status { status: 404 | 410, .. }) => Ok(Cancelled::Stopped),
            answer => answer.map(|_| Cancelled::Stopped),
        }
    }

    async fn probe(&self) -> Result<(), BackendError> {
        self.client.get::<Value>("/sdcpp/v1/capabilities").await.map(drop)
    }
}
