//! From the configuration to backends: the one place that knows both.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;

use super::{
    BackendConfig, CallbacksConfig, Config, ConfigError, HostedConfig, Pictures, SecretText,
    ServerConfig, WorkflowInput, WorkflowInputs,
};
use crate::backends::automatic1111::Automatic1111;
use crate::backends::comfyui::{ComfyUi, Input, Workflow};
use crate::backends::demo::{Canvas, Demo};
use crate::backends::openai::OpenAi;
use crate::backends::sdcpp::SdCpp;
use crate::backends::{Backend, Checkpoints, Client};

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
        BackendConfig::Demo { method } => {
            let hosted = server.models.iter().map(|(name, hosted)| {
                let rate = hosted.speed(server).rate;
                let load = Duration::from_secs_f64(hosted.load_seconds.seconds());
                let method = hosted.method.unwrap_or(*method);
                (name.clone(), Canvas { rate, load, method })
            });
            let canvas =
                Canvas { rate: server.steps_per_second, load: Duration::ZERO, method: *method };
            let pixels = config.reference_pixels();
            let room = (server.resident(), server.loaded.clone());
            Arc::new(Demo::new(pixels, canvas, hosted.collect(), room))
        }
        BackendConfig::Automatic1111 { url, login, login_file, sampler, cfg_scale, checkpoint } => {
            let login = secret(config, position, "login", login.as_ref(), login_file.as_deref())?;
            let login = login.map(|login| format!("Basic {}", BASE64.encode(login)));
            Arc::new(Automatic1111 {
                client: client(url, login)?,
                sampler: sampler.clone(),
                cfg_scale: *cfg_scale,
                checkpoint: checkpoint.clone(),
                checkpoints: checkpoints(server),
            })
        }
        BackendConfig::Sdcpp { url, sampler, cfg_scale } => Arc::new(SdCpp {
            client: client(url, None)?,
            sampler: sampler.clone(),
            cfg_scale: *cfg_scale,
        }),
        BackendConfig::Openai { url, key, key_file, model } => {
            let key = secret(config, position, "key", key.as_ref(), key_file.as_deref())?;
            Arc::new(OpenAi {
                client: client(url, key.map(|key| format!("Bearer {key}")))?,
                model: model.clone(),
                checkpoints: checkpoints(server),
            })
        }
        BackendConfig::Agent {} => {
            let problem = "whoever leads the cluster alone can reach the server of an agent";
            return Err(config.refuse(&format!("server.{position}.backend"), problem));
        }
        BackendConfig::Comfyui { url, workflow, inputs, pictures } => {
            let refuse = |key: &str, path: &Path, problem: String| {
                let problem = format!("{}: {problem}", path.display());
                config.refuse(&format!("server.{position}.{key}"), problem)
            };
            let read = |path: &PathBuf, inputs: &WorkflowInputs, key: &str| {
                let json =
                    std::fs::read_to_string(path).map_err(|e| refuse(key, path, e.to_string()))?;
                Workflow::new(&json, &inputs.places(), inputs.output.as_deref())
                    .map_err(|problem| refuse("backend.inputs", path, problem))
            };
            let one =
                workflow.as_ref().map(|path| read(path, inputs, "backend.workflow")).transpose()?;
            let mut workflows = BTreeMap::new();
            for (name, hosted) in &server.models {
                let inputs = hosted.inputs.as_ref().unwrap_or(inputs);
                let own = hosted.workflow.as_ref().map(|path| read(path, inputs, "models"));
                let own = own.transpose()?;
                let workflow = own.or(one.clone()).expect("checked when it was read");
                let checkpoint = hosted.checkpoint.as_ref().unwrap_or(name).clone();
                workflows.insert(name.clone(), workflow.with_checkpoint(checkpoint));
            }
            let temporary = *pictures == Pictures::Temporary;
            Arc::new(ComfyUi { client: client(url, None)?, workflow: one, workflows, temporary })
        }
    })
}

impl Config {
    /// What calls back are signed with, where there may be any.
    ///
    /// # Errors
    /// [`ConfigError`] if it is missing or cannot be read.
    pub(crate) fn callback_secret(&self) -> Result<Option<String>, ConfigError> {
        let CallbacksConfig { allow, secret, secret_file } = &self.callbacks;
        let found =
            secret_in(self, "callbacks", "secret", secret.as_ref(), secret_file.as_deref())?;
        if found.is_none() && !allow.is_empty() {
            let problem = "calls are signed: write `secret` or `secret_file` beside `allow`";
            return Err(self.refuse("callbacks.allow", problem));
        }
        Ok(found)
    }
}

/// A secret of a server's backend, from the configuration or from the first line of a file.
fn secret(
    config: &Config,
    position: usize,
    name: &str,
    given: Option<&SecretText>,
    file: Option<&Path>,
) -> Result<Option<String>, ConfigError> {
    secret_in(config, &format!("server.{position}.backend"), name, given, file)
}

fn secret_in(
    config: &Config,
    table: &str,
    name: &str,
    given: Option<&SecretText>,
    file: Option<&Path>,
) -> Result<Option<String>, ConfigError> {
    let refuse = |name: &str, problem: String| config.refuse(&format!("{table}.{name}"), problem);
    let (name_of_file, of_file) = (format!("{name}_file"), file.map(Path::display));
    let (found, text) = match (given, file) {
        (Some(_), Some(_)) => {
            let problem = format!("it stands beside `{name}`: allowed is one of them");
            return Err(refuse(&name_of_file, problem));
        }
        (None, None) => return Ok(None),
        (Some(given), None) => (name, given.reveal().map_err(|problem| refuse(name, problem))?),
        (None, Some(file)) => {
            let text = std::fs::read_to_string(file)
                .map_err(|error| refuse(&name_of_file, format!("{}: {error}", file.display())))?;
            (name_of_file.as_str(), text.lines().next().unwrap_or_default().to_owned())
        }
    };
    // It goes into a header.
    if text.is_empty() || !text.chars().all(|c| c == ' ' || c.is_ascii_graphic()) {
        let place = of_file.map_or(String::new(), |file| format!("the first line of {file}: "));
        let allowed = "allowed are one or more visible ASCII characters";
        return Err(refuse(found, format!("{place}{allowed}")));
    }
    Ok(Some(text))
}

/// What a server calls its models.
fn checkpoints(server: &ServerConfig) -> Checkpoints {
    let called = |(name, hosted): (&String, &HostedConfig)| {
        (name.clone(), hosted.checkpoint.as_ref().unwrap_or(name).clone())
    };
    Checkpoints::new(server.models.iter().map(called))
}

impl WorkflowInputs {
    fn places(&self) -> Vec<(Input, &str)> {
        let all = [
            (Input::Prompt, Some(&self.prompt)),
            (Input::Seed, Some(&self.seed)),
            (Input::Steps, Some(&self.steps)),
            (Input::Width, Some(&self.width)),
            (Input::Height, Some(&self.height)),
            (Input::NegativePrompt, self.negative_prompt.as_ref()),
            (Input::Checkpoint, self.checkpoint.as_ref()),
        ];
        let mut places = Vec::new();
        for (input, given) in all {
            let given = given.into_iter().flat_map(WorkflowInput::all);
            places.extend(given.map(|place| (input, place)));
        }
        places
    }
}

impl WorkflowInput {
    fn all(&self) -> impl Iterator<Item = &str> {
        let places = match self {
            Self::One(place) => std::slice::from_ref(place),
            Self::Several(places) => places,
        };
        places.iter().map(String::as_str)
    }
}
