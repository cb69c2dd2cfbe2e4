//! stable-diffusion.cpp's `sd-server`, `/sdcpp/v1`.

use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use serde::Deserialize;
use serde_json::{Value, json};

use super::client::Client;
use super::embedded::{Embedded, First};
use super::{Backend, BackendError, Cancelled, Excerpt, Job, Painted, Timing, Watcher, picture};

/// One sd-server. It queues jobs and names them, so they can be looked up after a restart.
pub(crate) struct SdCpp {
    pub(crate) client: Client,
    pub(crate) sampler: Option<String>,
    /// As it was started with, unless told.
    pub(crate) cfg_scale: Option<f64>,
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

    async fn wait(
        &self,
        job: &Job,
        id: &str,
        watcher: &dyn Watcher,
    ) -> Result<Painted, BackendError> {
        let path = job_path(id)?;
        let (came, wanted) = (aligned(job.spec.size()), job.spec.size());
        let mut drawn = job.clone();
        (drawn.spec.width, drawn.spec.height) = came;
        let mut timing = Timing::Direct;
        for question in 0u32.. {
            let state: JobState = match self.client.get_picture(&path, &drawn).await {
                Err(BackendError::Status { status: 404 | 410, .. }) => {
                    return Err(BackendError::Unknown);
                }
                state => state?,
            };
            // The first question may come before the job has been taken up.
            if state.is_queued() && question > 0 {
                timing = Timing::Delayed;
                watcher.waits();
            }
            if let Some(outcome) = state.outcome() {
                let png = outcome?;
                let larger = came != wanted && picture::size(&png) == Some(came);
                let png = if larger { picture::middle(png, came, wanted)? } else { png };
                return Ok(Painted { png, timing });
            }
            tokio::time::sleep(Self::POLL).await;
        }
        Err(BackendError::Unknown)
    }
}

/// The size that it draws in place of this one: sides are aligned up to multiples of 64.
fn aligned((width, height): (u32, u32)) -> (u32, u32) {
    (width.next_multiple_of(64), height.next_multiple_of(64))
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
        let mut sampling = json!({ "sample_steps": job.steps.get() });
        if let Some(cfg_scale) = self.cfg_scale {
            sampling["guidance"] = json!({ "txt_cfg": cfg_scale });
        }
        let (width, height) = aligned(spec.size());
        if let Some(sampler) = &self.sampler {
            sampling["sample_method"] = json!(sampler);
        }
        let body = json!({
            "prompt": spec.prompt,
            "negative_prompt": spec.negative_prompt,
            "width": width,
            "height": height,
            "seed": spec.seed,
            "batch_count": 1,
            "sample_params": sampling,
            "output_format": "png",
        });
        let Submitted { id } = self.client.post("/sdcpp/v1/img_gen", &body).await?;
        watcher.ticket(&id);
        self.wait(job, &id, watcher).await
    }

    async fn look_up(
        &self,
        job: &Job,
        ticket: Option<&str>,
        watcher: &dyn Watcher,
    ) -> Result<Painted, BackendError> {
        self.wait(job, ticket.ok_or(BackendError::Unknown)?, watcher).await
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
