//! stable-diffusion.cpp's `sd-server`, `/sdcpp/v1`.

use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use serde::Deserialize;
use serde_json::{Value, json};

use super::client::Client;
use super::embedded::{Embedded, First};
use super::{Backend, BackendError, Cancelled, Excerpt, Job, Painted, Timing, Watcher};

/// One sd-server. It queues jobs and names them, so they can be looked up after a restart.
pub(crate) struct SdCpp {
    pub(crate) client: Client,
    pub(crate) sampler: Option<String>,
    pub(crate) cfg_scale: f64,
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
    images: First<Image>,
}

#[derive(Deserialize)]
struct Image {
    #[serde(default)]
    b64_json: Embedded,
}

#[derive(Deserialize)]
struct JobError {
    #[serde(default)]
    message: String,
}

impl SdCpp {
    const POLL: Duration = Duration::from_millis(200);

    async fn wait(&self, job: &Job, id: &str) -> Result<Painted, BackendError> {
        let path = job_path(id)?;
        let mut timing = Timing::Direct;
        for question in 0u32.. {
            let state: JobState = match self.client.get_picture(&path, job).await {
                Err(BackendError::Status { status: 404 | 410, .. }) => {
                    return Err(BackendError::Unknown);
                }
                state => state?,
            };
            // The first question may come before the job has been taken up.
            if state.is_queued() && question > 0 {
                timing = Timing::Delayed;
            }
            if let Some(outcome) = state.outcome() {
                return outcome.map(|png| Painted { png, timing });
            }
            tokio::time::sleep(Self::POLL).await;
        }
        Err(BackendError::Unknown)
    }
}

impl JobState {
    /// Behind other jobs.
    fn is_queued(&self) -> bool {
        matches!(self.status, Status::Queued)
    }

    /// What came of the job; none while it goes on.
    pub(super) fn outcome(self) -> Option<Result<Bytes, BackendError>> {
        Some(match self.status {
            Status::Queued | Status::Generating => return None,
            Status::Completed => {
                let image = self.result.and_then(|result| result.images.0);
                image.map(|image| image.b64_json).unwrap_or_default().png()
            }
            Status::Failed => {
                let message = self.error.map(|e| e.message).unwrap_or_default();
                Err(BackendError::JobFailed(message.into()))
            }
            Status::Cancelled => Err(BackendError::JobFailed("cancelled there".into())),
        })
    }
}

/// Names come from the server and go into a path: only plain ones do.
pub(super) fn job_path(id: &str) -> Result<String, BackendError> {
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_');
    if id.is_empty() || id.len() > 128 || !id.chars().all(plain) {
        return Err(BackendError::Garbage(format!("job name {:?}", Excerpt::of(id)).into()));
    }
    Ok(format!("/sdcpp/v1/jobs/{id}"))
}

#[async_trait]
impl Backend for SdCpp {
    async fn generate(&self, job: &Job, watcher: &dyn Watcher) -> Result<Painted, BackendError> {
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
        self.wait(job, &id).await
    }

    async fn look_up(
        &self,
        job: &Job,
        ticket: Option<&str>,
        _: &dyn Watcher,
    ) -> Result<Painted, BackendError> {
        self.wait(job, ticket.ok_or(BackendError::Unknown)?).await
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
