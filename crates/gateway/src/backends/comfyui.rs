//! ComfyUI, with the operator's own workflow.

use std::fmt::Write as _;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use reqwest::Method;
use serde::Deserialize;
use serde_json::{Map, Value, json};

use self::progress::Prompt;
use super::client::Client;
use super::{Backend, BackendError, Cancelled, Job, Watcher};

mod progress;

/// One ComfyUI server. Prompts carry a name of ours, so they can be looked up after a restart and
/// cancelled without touching others.
pub(super) struct ComfyUi {
    pub(super) client: Client,
    pub(super) workflow: Workflow,
}

/// A workflow in API format and where its inputs are.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Workflow {
    graph: Map<String, Value>,
    inputs: Vec<(Input, String, String)>,
}

/// What is put into a workflow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Input {
    Prompt,
    NegativePrompt,
    Seed,
    Steps,
    Width,
    Height,
}

impl Workflow {
    /// Reads the JSON that ComfyUI's "Export (API)" writes; every place is `NODE.INPUT`.
    ///
    /// # Errors
    /// A message naming the place that does not exist and those that do.
    pub(super) fn new(json: &str, places: &[(Input, &str)]) -> Result<Self, String> {
        let graph: Map<String, Value> = serde_json::from_str(json)
            .map_err(|e| format!("not a workflow in API format (Export (API) writes one): {e}"))?;
        let mut inputs = Vec::new();
        for (input, place) in places {
            let (node, name) = place.split_once('.').ok_or_else(|| {
                format!("{input:?} = {place:?}: write NODE.INPUT, such as 3.steps")
            })?;
            let found = graph.get(node).and_then(|n| n.get("inputs")).and_then(Value::as_object);
            let found = found.ok_or_else(|| {
                let nodes: Vec<_> = graph.keys().map(String::as_str).collect();
                format!("{input:?} = {place:?}: the nodes are {}", nodes.join(", "))
            })?;
            if !found.contains_key(name) {
                let names: Vec<_> = found.keys().map(String::as_str).collect();
                return Err(format!(
                    "{input:?} = {place:?}: inputs of node {node} are {}",
                    names.join(", ")
                ));
            }
            inputs.push((*input, node.into(), name.into()));
        }
        Ok(Self { graph, inputs })
    }

    /// The node that takes an input.
    fn node(&self, wanted: Input) -> Option<&str> {
        let found = self.inputs.iter().find(|(input, ..)| *input == wanted);
        found.map(|(_, node, _)| node.as_str())
    }

    pub(super) fn fill(&self, job: &Job) -> Value {
        let mut graph = Value::Object(self.graph.clone());
        let spec = &job.spec;
        for (input, node, name) in &self.inputs {
            graph[node]["inputs"][name] = match input {
                Input::Prompt => json!(spec.prompt),
                Input::NegativePrompt => json!(spec.negative_prompt),
                Input::Seed => json!(spec.seed),
                Input::Steps => json!(job.steps.get()),
                Input::Width => json!(spec.width),
                Input::Height => json!(spec.height),
            };
        }
        graph
    }
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

#[derive(Deserialize)]
pub(super) struct Past {
    #[serde(default)]
    outputs: Map<String, Value>,
    status: PastStatus,
}

#[derive(Deserialize)]
struct PastStatus {
    status_str: String,
    #[serde(default)]
    messages: Vec<(String, Value)>,
}

impl ComfyUi {
    const POLL: Duration = Duration::from_millis(200);
    /// Polls between two looks at the queue, which tell whether the job is still there.
    const LOST: u32 = 10;

    /// Waits for a prompt, and tells meanwhile how far it is.
    async fn attend(
        &self,
        job: &Job,
        id: &str,
        watcher: &dyn Watcher,
    ) -> Result<Bytes, BackendError> {
        let client = job.uuid().to_string();
        let node = self.workflow.node(Input::Steps);
        let prompt = Prompt { client: &client, id, node, steps: job.steps.get() };
        tokio::select! {
            result = self.wait(id) => result,
            never = progress::follow(&self.client, &prompt, watcher) => match never {},
        }
    }

    async fn wait(&self, id: &str) -> Result<Bytes, BackendError> {
        for poll in 0u32.. {
            if let Some(past) = self.past(id).await? {
                return self.client.download(&past.place()?).await;
            }
            if poll.is_multiple_of(Self::LOST) {
                let queue: Queue = self.client.get("/queue").await?;
                let known = Queue::holds(&queue.queue_running, id)
                    || Queue::holds(&queue.queue_pending, id);
                // It may have finished between the two questions.
                if !known {
                    let past = self.past(id).await?.ok_or(BackendError::Unknown)?;
                    return self.client.download(&past.place()?).await;
                }
            }
            tokio::time::sleep(Self::POLL).await;
        }
        Err(BackendError::Unknown)
    }

    async fn past(&self, id: &str) -> Result<Option<Past>, BackendError> {
        Past::find(self.client.get(&format!("/history/{id}")).await?, id)
    }
}

impl Past {
    /// What a history says of a prompt; none while it goes on.
    pub(super) fn find(
        mut history: Map<String, Value>,
        id: &str,
    ) -> Result<Option<Self>, BackendError> {
        let past = history.remove(id).map(serde_json::from_value).transpose();
        past.map_err(|e| BackendError::Garbage(e.to_string()))
    }

    /// Path of its picture, or why there is none.
    pub(super) fn place(&self) -> Result<String, BackendError> {
        if self.status.status_str != "success" {
            let told = self.status.messages.iter().rev().find_map(|(event, data)| {
                let message = data.get("exception_message").and_then(Value::as_str);
                (event.starts_with("execution_")).then(|| message.unwrap_or(event).to_string())
            });
            let told = told.unwrap_or_else(|| "it does not say why".into());
            return Err(BackendError::JobFailed(told.chars().take(300).collect()));
        }
        let images = self.outputs.values().filter_map(|output| output.get("images")?.as_array());
        let kept = |image: &&Value| image.get("type").and_then(Value::as_str) == Some("output");
        let image = images.flatten().find(kept);
        let image =
            image.ok_or_else(|| BackendError::Garbage("there is no output image".into()))?;
        let text = |key: &str| image.get(key).and_then(Value::as_str).unwrap_or("");
        Ok(format!(
            "/view?filename={}&subfolder={}&type=output",
            escape(text("filename")),
            escape(text("subfolder"))
        ))
    }
}

/// Percent-encodes everything that is not plain.
fn escape(text: &str) -> String {
    let mut escaped = String::new();
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-_.".contains(&byte) {
            escaped.push(byte.into());
        } else {
            let _ = write!(escaped, "%{byte:02X}");
        }
    }
    escaped
}

#[async_trait]
impl Backend for ComfyUi {
    async fn generate(&self, job: &Job, watcher: &dyn Watcher) -> Result<Bytes, BackendError> {
        let ours = job.uuid().to_string();
        let body = json!({
            "prompt": self.workflow.fill(job),
            "client_id": ours,
            "prompt_id": ours,
        });
        let Queued { prompt_id } = match self.client.post("/prompt", &body).await {
            Err(BackendError::Status { status: 400, message }) => {
                return Err(BackendError::JobFailed(message));
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
    ) -> Result<Bytes, BackendError> {
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
}
