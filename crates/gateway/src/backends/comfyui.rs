//! ComfyUI, with the operator's own workflow.

use std::collections::BTreeMap;
use std::time::Duration;

use async_trait::async_trait;
use reqwest::Method;
use serde::Deserialize;
use serde_json::{Value, json};

use self::progress::Prompt;
use super::client::Client;
use super::{Backend, BackendError, Cancelled, Job, Painted, Timing, Watcher, picture};

pub(crate) mod convert;
pub(crate) mod find;
mod history;
pub(crate) mod nodes;
mod preview;
mod progress;
mod workflow;

pub(super) use self::history::Past;
use self::workflow::with_previews;
pub(crate) use self::workflow::{Input, Workflow, is_drawn};

/// One ComfyUI server. Prompts carry a name of ours, so they can be looked up after a restart and
/// cancelled without touching others.
pub(crate) struct ComfyUi {
    pub(crate) client: Client,
    /// For pictures that name no model.
    pub(crate) workflow: Option<Workflow>,
    /// By model.
    pub(crate) workflows: BTreeMap<String, Workflow>,
    /// Whether nothing of ours is to stay there.
    pub(crate) temporary: bool,
}

#[derive(Deserialize)]
struct Queued {
    prompt_id: String,
}

#[derive(Deserialize)]
pub(super) struct Queue {
    queue_running: Vec<Vec<Value>>,
    queue_pending: Vec<Vec<Value>>,
}

impl Queue {
    fn holds(items: &[Vec<Value>], id: &str) -> bool {
        items.iter().any(|item| item.get(1).and_then(Value::as_str) == Some(id))
    }
}

impl ComfyUi {
    const POLL: Duration = Duration::from_millis(200);
    /// Most pictures of one prompt that are looked at.
    const PICTURES: usize = 8;
    /// Polls between two looks at the queue, which tell whether the job is still there.
    const LOST: u32 = 10;

    /// What draws a picture.
    fn workflow(&self, job: &Job) -> Result<&Workflow, BackendError> {
        let of_model = job.spec.model.as_ref().and_then(|model| self.workflows.get(model));
        of_model.or(self.workflow.as_ref()).ok_or_else(|| {
            let model = job.spec.model.as_deref().unwrap_or_default();
            BackendError::JobRefused(format!("there is no workflow for model {model:?}").into())
        })
    }

    /// Waits for a prompt, and tells meanwhile how far it is.
    async fn attend(
        &self,
        job: &Job,
        id: &str,
        watcher: &dyn Watcher,
    ) -> Result<Painted, BackendError> {
        let client = job.uuid().to_string();
        let node = self.workflow(job)?.node(Input::Steps);
        let prompt = Prompt { client: &client, id, node, steps: job.steps.get() };
        tokio::select! {
            result = self.wait(job, id, watcher) => result,
            never = progress::follow(&self.client, &prompt, watcher) => match never {},
        }
    }

    async fn wait(
        &self,
        job: &Job,
        id: &str,
        watcher: &dyn Watcher,
    ) -> Result<Painted, BackendError> {
        let (mut timing, mut behind) = (Timing::Direct, false);
        for poll in 0u32.. {
            if behind {
                watcher.waits();
            }
            if let Some(past) = self.past(id).await? {
                return self.fetch(job, id, &past, timing).await;
            }
            if poll.is_multiple_of(Self::LOST) {
                let queue: Queue = self.client.get("/queue").await?;
                let running = Queue::holds(&queue.queue_running, id);
                let pending = Queue::holds(&queue.queue_pending, id);
                // Alone it would be taken up at once.
                behind = pending && !queue.queue_running.is_empty();
                if behind {
                    timing = Timing::Delayed;
                }
                // It may have finished between the two questions.
                if !running && !pending {
                    let past = self.past(id).await?.ok_or(BackendError::Unknown)?;
                    return self.fetch(job, id, &past, timing).await;
                }
            }
            tokio::time::sleep(Self::POLL).await;
        }
        Err(BackendError::Unknown)
    }

    /// The picture of a prompt that has ended.
    async fn fetch(
        &self,
        job: &Job,
        id: &str,
        past: &Past,
        timing: Timing,
    ) -> Result<Painted, BackendError> {
        let workflow = self.workflow(job)?;
        let places = past.places(workflow.output())?;
        let mut png = None;
        for place in places.iter().take(Self::PICTURES) {
            let bytes = self.client.download(place, job).await?;
            // Of several the one of the wanted size; the first if none is, for what is said about it.
            let fits = places.len() == 1 || picture::size(&bytes) == Some(job.spec.size());
            if fits || png.is_none() {
                png = Some(bytes);
            }
            if fits {
                break;
            }
        }
        if self.temporary {
            let body = json!({ "delete": [id] });
            let forget = self.client.call(Method::POST, "/history", Some(&body), Client::SMALL);
            if let Err(error) = forget.await {
                tracing::debug!(%error, "a picture stays in a server's history");
            }
        }
        let cached = past.cached(workflow.sampling());
        let timing = if cached { Timing::Cached } else { timing };
        Ok(Painted { png: png.expect("there is a place"), timing })
    }

    async fn past(&self, id: &str) -> Result<Option<Past>, BackendError> {
        Past::find(self.client.get(&format!("/history/{id}")).await?, id)
    }
}

#[async_trait]
impl Backend for ComfyUi {
    async fn generate(&self, job: &Job, watcher: &dyn Watcher) -> Result<Painted, BackendError> {
        let ours = job.uuid().to_string();
        let graph = self.workflow(job)?.fill(job);
        let graph = if self.temporary { with_previews(graph) } else { graph };
        let body = json!({
            "prompt": graph,
            "client_id": ours,
            "prompt_id": ours,
        });
        let Queued { prompt_id } = match self.client.post("/prompt", &body).await {
            Err(BackendError::Status { status: 400, message, .. }) => {
                return Err(BackendError::JobRefused(message));
            }
            queued => queued?,
        };
        // Older servers choose a name of their own.
        if uuid::Uuid::parse_str(&prompt_id).is_err() {
            return Err(BackendError::Garbage("prompt_id is not a UUID".into()));
        }
        watcher.ticket(&prompt_id);
        self.attend(job, &prompt_id, watcher).await
    }

    async fn look_up(
        &self,
        job: &Job,
        ticket: Option<&str>,
        watcher: &dyn Watcher,
    ) -> Result<Painted, BackendError> {
        let ours = job.uuid().to_string();
        self.attend(job, ticket.unwrap_or(&ours), watcher).await
    }

    async fn cancel(&self, job: &Job, ticket: Option<&str>) -> Result<Cancelled, BackendError> {
        let ours = job.uuid().to_string();
        let id = ticket.unwrap_or(&ours);
        let post = async |path: &str, body: Value| {
            self.client.call(Method::POST, path, Some(&body), Client::SMALL).await
        };
        post("/queue", json!({ "delete": [id] })).await?;
        let queue: Queue = self.client.get("/queue").await?;
        if !Queue::holds(&queue.queue_running, id) {
            return Ok(Cancelled::Stopped);
        }
        post("/interrupt", json!({ "prompt_id": id })).await?;
        Ok(Cancelled::Stopping)
    }

    async fn probe(&self) -> Result<(), BackendError> {
        self.client.get::<Value>("/system_stats").await.map(drop)
    }

    async fn foreign(&self) -> Result<Option<usize>, BackendError> {
        let Queue { queue_running, queue_pending } = self.client.get("/queue").await?;
        Ok(Some(queue_running.len() + queue_pending.len()))
    }
}
