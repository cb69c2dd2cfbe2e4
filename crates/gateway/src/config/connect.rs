//! From the configuration to backends: the one place that knows both.

use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;

use super::{BackendConfig, Config, ConfigError, ServerConfig, WorkflowInputs};
use crate::backends::automatic1111::Automatic1111;
use crate::backends::comfyui::{ComfyUi, Input, Workflow};
use crate::backends::demo::Demo;
use crate::backends::openai::OpenAi;
use crate::backends::sdcpp::SdCpp;
use crate::backends::{Backend, Client};

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
        BackendConfig::Demo { method } => Arc::new(Demo {
            rate: server.steps_per_second,
            reference_pixels: config.reference_pixels(),
            method: *method,
        }),
        BackendConfig::Automatic1111 { url, login, sampler, cfg_scale, checkpoint } => {
            let login = login.as_ref().map(|login| format!("Basic {}", BASE64.encode(login)));
            Arc::new(Automatic1111 {
                client: client(url, login)?,
                sampler: sampler.clone(),
                cfg_scale: *cfg_scale,
                checkpoint: checkpoint.clone(),
            })
        }
        BackendConfig::Sdcpp { url, sampler, cfg_scale } => Arc::new(SdCpp {
            client: client(url, None)?,
            sampler: sampler.clone(),
            cfg_scale: *cfg_scale,
        }),
        BackendConfig::Openai { url, key, model } => Arc::new(OpenAi {
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
            Arc::new(ComfyUi { client: client(url, None)?, workflow })
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
