//! Diffusion servers behind one trait.

mod automatic1111;
mod client;
mod comfyui;
pub mod demo;
mod embedded;
mod error;
mod excerpt;
#[cfg(any(test, feature = "fuzzing"))]
pub(crate) mod fuzzing;
mod openai;
pub mod picture;
mod sdcpp;
#[cfg(test)]
pub(crate) mod tests;
mod tls;

use std::sync::Arc;

use async_trait::async_trait;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use bytes::Bytes;
use dispatch::RunId;
use scheduling::Steps;

use self::client::Client;
pub(crate) use self::client::check_url;
use self::comfyui::{Input, Workflow};
pub use self::error::BackendError;
pub use self::excerpt::Excerpt;

use crate::config::{BackendConfig, Config, ConfigError, ServerConfig, WorkflowInputs};
use crate::journal::Spec;

/// A run as a backend is asked for it.
#[derive(Clone, Debug)]
pub struct Job {
    /// Which run.
    pub run: RunId,
    /// The picture.
    pub spec: Spec,
    /// Denoising steps.
    pub steps: Steps,
}

impl Job {
    /// A UUID of the run, the same after a restart and different for every attempt.
    pub fn uuid(&self) -> uuid::Uuid {
        let mut bytes = self.run.request.0.into_bytes();
        for (byte, attempt) in bytes[10..14].iter_mut().zip(self.run.attempt.to_be_bytes()) {
            *byte ^= attempt;
        }
        uuid::Uuid::from_bytes(bytes)
    }
}

/// Where a backend tells how a run goes on.
pub trait Watcher: Send + Sync {
    /// It has come so far, as a share of 0 to 1.
    fn progress(&self, share: f64);
    /// The backend has a name of its own for it, by which it can be looked up after a restart.
    fn ticket(&self, ticket: &str);
}

/// What came of a job.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Painted {
    /// The picture, not yet checked.
    pub png: Bytes,
    /// What its time says.
    pub timing: Timing,
}

/// How the time of a run is to be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Timing {
    /// The server began at once: the time of the run is what the server takes.
    Direct,
    /// It came out of the server's cache.
    Cached,
    /// It waited behind something else there, or was found again after a restart.
    Delayed,
}

/// What a cancelled run does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cancelled {
    /// It has stopped, or stops when the call that runs it is dropped.
    Stopped,
    /// It goes on for now; the call that runs it returns when it ends, and asking again may help.
    Stopping,
    /// The call that runs it may be dropped, but the server cannot tell whether it then stops.
    Abandoned,
}

/// A diffusion server, which runs one job at a time.
///
/// The caller limits the time of every call by dropping it, so implementations need no time limits
/// of their own. Answers are untrusted: implementations limit their size and check their form; that
/// the bytes are a whole PNG of the wanted size is checked by the caller.
#[async_trait]
pub trait Backend: Send + Sync + 'static {
    /// Runs a job.
    async fn generate(&self, job: &Job, watcher: &dyn Watcher) -> Result<Painted, BackendError>;

    /// Waits for a job that was started before a restart.
    ///
    /// # Errors
    /// [`BackendError::Unknown`] if it cannot be found, which most backends cannot tell.
    async fn look_up(
        &self,
        _job: &Job,
        _ticket: Option<&str>,
        _watcher: &dyn Watcher,
    ) -> Result<Painted, BackendError> {
        Err(BackendError::Unknown)
    }

    /// Stops this job and no other.
    async fn cancel(&self, job: &Job, ticket: Option<&str>) -> Result<Cancelled, BackendError>;

    /// Asks whether the server answers.
    async fn probe(&self) -> Result<(), BackendError>;
}

/// Sets up what stands behind a server; nothing is asked of it yet.
///
/// # Errors
/// [`ConfigError`], if what the configuration names cannot be used.
pub fn connect(server: &ServerConfig, config: &Config) -> Result<Arc<dyn Backend>, ConfigError> {
    let position = config.servers.iter().position(|other| other.name == server.name).unwrap_or(0);
    let client = |url: &str, authorization| {
        Client::new(url, authorization, config.ca_file.as_deref())
            .map_err(|problem| config.refuse("ca_file", problem))
    };
    Ok(match &server.backend {
        BackendConfig::Demo { method } => Arc::new(demo::Demo {
            rate: server.steps_per_second,
            reference_pixels: config.reference_pixels(),
            method: *method,
        }),
        BackendConfig::Automatic1111 { url, login, sampler, cfg_scale, checkpoint } => {
            let login = login.as_ref().map(|login| format!("Basic {}", BASE64.encode(login)));
            Arc::new(automatic1111::Automatic1111 {
                client: client(url, login)?,
                sampler: sampler.clone(),
                cfg_scale: *cfg_scale,
                checkpoint: checkpoint.clone(),
            })
        }
        BackendConfig::Sdcpp { url, sampler, cfg_scale } => Arc::new(sdcpp::SdCpp {
            client: client(url, None)?,
            sampler: sampler.clone(),
            cfg_scale: *cfg_scale,
        }),
        BackendConfig::Openai { url, key, model } => Arc::new(openai::OpenAi {
            client: client(url, key.as_ref().map(|key| format!("Bearer {key}")))?,
            model: model.clone(),
        }),
        BackendConfig::Comfyui { url, workflow, inputs } => {
            let refuse = |key: &str, problem: String| {
                let problem = format!("{}: {problem}", workflow.display());
                config.refuse(&format!("server.{position}.backend.{key}"), problem)
            };
            let json =
                std::fs::read_to_string(workflow).map_err(|e| refuse("workflow", e.to_string()))?;
            let workflow = Workflow::new(&json, &inputs.places())
                .map_err(|problem| refuse("inputs", problem))?;
            Arc::new(comfyui::ComfyUi { client: client(url, None)?, workflow })
        }
    })
}

impl WorkflowInputs {
    fn places(&self) -> Vec<(Input, &str)> {
        let negative = self.negative_prompt.as_deref().map(|place| (Input::NegativePrompt, place));
        let always = [
            (Input::Prompt, self.prompt.as_str()),
            (Input::Seed, &self.seed),
            (Input::Steps, &self.steps),
            (Input::Width, &self.width),
            (Input::Height, &self.height),
        ];
        always.into_iter().chain(negative).collect()
    }
}
