//! The configuration: one TOML file, read whole or refused with file, line, key and what to write.

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;

use scheduling::{
    Objective, ObjectiveError, PolicyName, QualityCurve, Seconds, StepRate, Steps, TardinessPenalty,
};
use serde::Deserialize;
use sha2::Digest as _;
use toml::Spanned;

use self::models::HostedModels;
use crate::backends::demo::Method;

mod address;
mod agent;
mod check;
mod cluster;
mod connect;
mod models;
mod read;
mod value;

pub use agent::{AgentClusterConfig, AgentConfig};
pub use cluster::{ClusterConfig, NodeRole};
pub use connect::connect;
pub use models::{HostedConfig, ModelConfig};
pub(crate) use models::{LONGEST_NAME, may_name_a_model};
pub use read::ConfigError;
pub use value::{Digest, SecretText, Side, Span};

/// What the operator wants.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// Where to listen. Anything but loopback needs API keys.
    #[serde(default = "default_listen")]
    pub listen: Spanned<SocketAddr>,
    /// File of the journal.
    #[serde(default = "default_journal")]
    pub journal: PathBuf,
    /// Where clients reach the gateway, such as `https://draw.example/atelier`, for links to pictures.
    #[serde(default)]
    pub public_url: Option<Spanned<String>>,
    /// Origins of pages that browsers may send here and show the answers, such as `https://app.example`; `*`, where
    /// there are keys, for all.
    #[serde(default)]
    pub allowed_origins: Vec<Spanned<String>>,
    /// Addresses of proxies whose `X-Forwarded-` headers say where clients reach the gateway.
    #[serde(default)]
    pub trusted_proxies: Vec<IpAddr>,
    /// Authorities that servers behind `https://` are trusted by, beside the system's: a PEM file.
    #[serde(default)]
    pub ca_file: Option<PathBuf>,
    /// Who decides.
    #[serde(default = "default_policy")]
    pub policy: PolicyName,
    /// Whose decisions are written down beside and never carried out.
    #[serde(default)]
    pub shadow_policy: Option<PolicyName>,
    /// Seed of policies that draw random numbers.
    #[serde(default)]
    pub seed: u64,
    /// Whether servers that would stand idle load what the traffic wants there.
    #[serde(default)]
    pub preload: bool,
    /// What decisions are judged by.
    #[serde(default)]
    pub objective: ObjectiveConfig,
    /// For what a request leaves open.
    #[serde(default)]
    pub defaults: Defaults,
    /// What is refused.
    #[serde(default)]
    pub limits: LimitsConfig,
    /// When a server counts as healthy.
    #[serde(default)]
    pub health: HealthConfig,
    /// What the protocols of other programs leave open.
    #[serde(default)]
    pub faces: FacesConfig,
    /// What makes it a node of a cluster.
    #[serde(default)]
    pub cluster: Option<ClusterConfig>,
    /// Who may be told of ends.
    #[serde(default)]
    pub callbacks: CallbacksConfig,
    /// The models that requests may name. Without any, all servers draw with the same.
    #[serde(default, rename = "model")]
    pub models: Vec<ModelConfig>,
    /// The servers.
    #[serde(default, rename = "server")]
    pub servers: Vec<ServerConfig>,
    /// Who may use the gateway. Without keys it is whoever reaches the loopback interface.
    #[serde(default, rename = "key")]
    pub keys: Vec<KeyConfig>,
    /// Where all of this stands.
    #[serde(skip)]
    source: read::Source,
}

/// Objective and quality curve.
#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ObjectiveConfig {
    /// w of eq. (5).
    pub tardiness_weight: f64,
    /// Points that a second between arrival and finish costs, late or not; 0 in the paper.
    pub waiting_weight: f64,
    /// Q(s): `sigmoid`, `power_law`, `logistic` or `table`.
    pub quality: QualityCurve,
}

impl Default for ObjectiveConfig {
    fn default() -> Self {
        Self {
            tardiness_weight: Objective::PAPER_TARDINESS_WEIGHT,
            waiting_weight: 0.0,
            quality: QualityCurve::PAPER,
        }
    }
}

impl ObjectiveConfig {
    /// The objective with a quality of some model.
    pub(crate) fn with(&self, quality: QualityCurve) -> Result<Objective, ObjectiveError> {
        Objective::new(quality, self.tardiness_weight)?.with_waiting_weight(self.waiting_weight)
    }
}

/// Values that a request may leave open.
#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Defaults {
    /// Seconds from arrival to due time.
    pub due_in_seconds: Span,
    /// g
    pub penalty: TardinessPenalty,
    /// In pixels. Step rates hold at this width and height.
    pub width: Side,
    /// In pixels.
    pub height: Side,
    /// What a request that names no model is drawn with; the first one otherwise.
    pub model: Option<String>,
    /// What a request is drawn with that names a model which is not there; it is refused otherwise.
    pub catch_all_model: Option<String>,
}

impl Default for Defaults {
    fn default() -> Self {
        Self {
            due_in_seconds: Span(30.0),
            penalty: TardinessPenalty::Linear,
            width: Side(512),
            height: Side(512),
            model: None,
            catch_all_model: None,
        }
    }
}

/// Bounds on what is taken in.
#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct LimitsConfig {
    /// Requests that wait.
    pub waiting: u32,
    /// Runs per request that may fail.
    pub attempts: u32,
    /// Seconds of each server that may wait in the queues, shared by the keys that have something
    /// waiting. It bounds nothing where there are fewer than two keys.
    pub horizon_seconds: Span,
    /// Bytes of a request body.
    pub body_bytes: u32,
    /// Bytes of a prompt, and of a negative prompt.
    pub prompt_bytes: u32,
    /// Largest width and height.
    pub side: Side,
    /// Latest due time, in seconds from arrival.
    pub due_in_seconds: Span,
    /// Seconds after its due time at which a request that has not started expires.
    pub expires_after_seconds: Span,
    /// Open connections. Some more are kept for health checks and operators.
    pub connections: u32,
    /// Connections that one key may have in use; unless given, a quarter of all where there are
    /// several keys.
    pub connections_per_key: Option<u32>,
    /// Answers that one key may have held open, for events or the end of a request; unless given,
    /// half of its connections.
    pub streams_per_key: Option<u32>,
    /// Bytes of bodies and answers under way, in all.
    pub bytes_under_way: u32,
    /// Bytes of bodies and answers under way, of one key.
    pub bytes_under_way_per_key: u32,
    /// Seconds a client may take for its headers, its body, and between two reads of an answer.
    pub client_seconds: Span,
    /// Seconds a run may take before it is stopped: this much and four times its prediction.
    pub run_seconds: Span,
    /// Seconds a picture is kept.
    pub keep_seconds: Span,
    /// Seconds a request is remembered after the time in which a picture is kept.
    pub remember_seconds: Span,
    /// Seconds that runs may take to finish at shutdown.
    pub shutdown_seconds: Span,
}

impl Default for LimitsConfig {
    fn default() -> Self {
        Self {
            waiting: 256,
            attempts: 3,
            horizon_seconds: Span(120.0),
            body_bytes: 64 * 1024,
            prompt_bytes: 8 * 1024,
            side: Side(2048),
            due_in_seconds: Span(86_400.0),
            expires_after_seconds: Span(3_600.0),
            connections: 1024,
            connections_per_key: None,
            streams_per_key: None,
            bytes_under_way: 96 * 1024 * 1024,
            bytes_under_way_per_key: 32 * 1024 * 1024,
            client_seconds: Span(15.0),
            run_seconds: Span(60.0),
            keep_seconds: Span(86_400.0),
            remember_seconds: Span(2_592_000.0),
            shutdown_seconds: Span(20.0),
        }
    }
}

/// Probing.
#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct HealthConfig {
    /// Seconds between probes.
    pub interval_seconds: Span,
    /// Seconds that a probe may take.
    pub timeout_seconds: Span,
    /// Consecutive failures from which on a server is unhealthy.
    pub failures: u32,
    /// Consecutive successes from which on it is healthy again.
    pub successes: u32,
    /// Whether a server that is believed to have become slow is tried while it stands idle.
    pub trials: bool,
}

impl Default for HealthConfig {
    fn default() -> Self {
        Self {
            interval_seconds: Span(5.0),
            timeout_seconds: Span(3.0),
            failures: 3,
            successes: 2,
            trials: true,
        }
    }
}

/// Calls to addresses that requesters name.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct CallbacksConfig {
    /// Origins that may be called, such as `https://hooks.example` or `http://10.0.0.9:9000`; `*` for all public
    /// ones behind `https://`. Without any, requests may name none.
    pub allow: Vec<Spanned<String>>,
    /// What calls are signed with.
    pub secret: Option<SecretText>,
    /// File with the same on its first line.
    pub secret_file: Option<PathBuf>,
}

/// Settings of each protocol.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct FacesConfig {
    /// Of `/sdapi/v1`.
    pub automatic1111: Automatic1111Config,
    /// Of `/v1/images` and `/v1/chat`.
    pub openai: OpenAiConfig,
}

/// Settings of OpenAI's protocol.
#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct OpenAiConfig {
    /// Seconds for which a link to a picture holds, as long as the picture is kept.
    pub link_seconds: Span,
}

impl Default for OpenAiConfig {
    fn default() -> Self {
        Self { link_seconds: Span(3600.0) }
    }
}

/// Settings of AUTOMATIC1111's protocol.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Automatic1111Config {
    /// What the `steps` of its clients are, who always send some.
    pub steps: StepsAsked,
}

/// What a number of steps that a client asks for means.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum StepsAsked {
    /// No picture is given more.
    #[default]
    AtMost,
    /// Every picture is given so many.
    Exactly,
}

/// One server.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ServerConfig {
    /// Unique.
    pub name: Spanned<String>,
    /// Step rate at the default size, to begin with.
    pub steps_per_second: StepRate,
    /// Time of a run that does not depend on its steps, to begin with.
    #[serde(default)]
    pub overhead_seconds: Seconds,
    /// Whether the speed is learned while serving.
    #[serde(default = "yes")]
    pub learn_speed: bool,
    /// Largest picture, as width times height.
    #[serde(default = "default_max_pixels")]
    pub max_pixels: u32,
    /// Fewest steps it may be given.
    pub min_steps: Option<Steps>,
    /// Most steps it may be given.
    pub max_steps: Option<Steps>,
    /// What it draws with, by name.
    #[serde(default)]
    pub models: HostedModels,
    /// Models that it can have loaded at once; one unless told.
    pub resident: Option<u32>,
    /// What is loaded when the gateway starts, as far as the backend does not tell: the least recently
    /// used first.
    #[serde(default)]
    pub loaded: Vec<String>,
    /// What stands behind it.
    pub backend: BackendConfig,
}

/// What stands behind a server.
#[derive(Clone, Debug, Deserialize)]
#[serde(tag = "kind", rename_all = "lowercase", deny_unknown_fields)]
pub enum BackendConfig {
    /// The built-in painter.
    Demo {
        /// `ddim` or `ddpm`.
        #[serde(default = "default_method")]
        method: Method,
    },
    /// AUTOMATIC1111's web UI, started with `--api`.
    Automatic1111 {
        /// `http://HOST:PORT` or `https://HOST:PORT`
        url: String,
        /// `USER:PASSWORD`, if it was started with `--api-auth`.
        login: Option<SecretText>,
        /// File with the same on its first line.
        login_file: Option<PathBuf>,
        /// Name of a sampler; the server's default otherwise.
        sampler: Option<String>,
        /// Classifier-free guidance; the server's default otherwise.
        cfg_scale: Option<f64>,
        /// Name of a checkpoint; whatever is loaded otherwise.
        checkpoint: Option<String>,
    },
    /// stable-diffusion.cpp's `sd-server`.
    Sdcpp {
        /// `http://HOST:PORT` or `https://HOST:PORT`
        url: String,
        /// Name of a sampling method; the server's default otherwise.
        sampler: Option<String>,
        /// Classifier-free guidance; as it was started with otherwise.
        cfg_scale: Option<f64>,
    },
    /// A server that speaks OpenAI's Images API and takes `num_inference_steps` and `seed`.
    Openai {
        /// `http://HOST:PORT` or `https://HOST:PORT`, without `/v1`.
        url: String,
        /// API key.
        key: Option<SecretText>,
        /// File with the same on its first line.
        key_file: Option<PathBuf>,
        /// Name of the model.
        model: Option<String>,
    },
    /// Whatever an agent of the cluster has behind a server of this name.
    Agent {},
    /// ComfyUI.
    Comfyui {
        /// `http://HOST:PORT` or `https://HOST:PORT`
        url: String,
        /// File of the workflow in API format; hosted models may have their own.
        workflow: Option<PathBuf>,
        /// Where the workflow takes its inputs.
        inputs: WorkflowInputs,
        /// What becomes of the pictures there.
        #[serde(default)]
        pictures: Pictures,
    },
}

/// What becomes of the pictures on the server that has drawn them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Pictures {
    /// They stay where the workflow saves them.
    #[default]
    Kept,
    /// They are saved as previews, which ComfyUI deletes when it starts, and leave its history at once.
    Temporary,
}

/// Inputs of a workflow, each as `NODE.INPUT` or as a list of such.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WorkflowInputs {
    /// What the picture should show.
    pub prompt: WorkflowInput,
    /// What it should not show. The workflow's own text holds for requests that bring none.
    pub negative_prompt: Option<WorkflowInput>,
    /// Of the initial noise.
    pub seed: WorkflowInput,
    /// Denoising steps.
    pub steps: WorkflowInput,
    /// In pixels.
    pub width: WorkflowInput,
    /// In pixels.
    pub height: WorkflowInput,
    /// Name of the checkpoint: what the hosted model is called there.
    pub checkpoint: Option<WorkflowInput>,
    /// The node whose picture it is, where there are several.
    pub output: Option<String>,
}

/// Where a workflow takes one of its inputs: one place, or several that are given the same.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(untagged)]
pub enum WorkflowInput {
    /// `NODE.INPUT`
    One(String),
    /// All of them.
    Several(Vec<String>),
}

/// An API key.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct KeyConfig {
    /// Whose requests these are.
    pub name: Spanned<String>,
    /// SHA-256 of the key, in hexadecimal.
    pub sha256: Digest,
    /// Requests per minute; a minute's worth may come at once.
    #[serde(default = "default_requests_per_minute")]
    pub requests_per_minute: u32,
    /// The cell that its requests go to first, where there are several.
    pub cell: Option<String>,
    /// Whether it may enable and drain servers and change the policy.
    #[serde(default)]
    pub operator: bool,
}

fn default_listen() -> Spanned<SocketAddr> {
    Spanned::new(0..0, SocketAddr::from(([127, 0, 0, 1], 8420)))
}

fn default_journal() -> PathBuf {
    "atelier.db".into()
}

fn default_policy() -> PolicyName {
    "agent[universal]".parse().expect("it is a name of a policy")
}

fn default_max_pixels() -> u32 {
    2048 * 2048
}

fn default_method() -> Method {
    Method::Ddim
}

fn default_requests_per_minute() -> u32 {
    60
}

fn yes() -> bool {
    true
}

impl Config {
    /// The configuration of `--demo`: three painters of different speed.
    pub fn demo() -> Self {
        Self::parse("demo.toml", include_str!("demo.toml")).expect("it is tested")
    }

    /// The objective that the configuration was checked for.
    ///
    /// # Panics
    /// If the configuration was put together by hand and its objective is out of range.
    pub fn objective(&self) -> Objective {
        self.objective.with(self.objective.quality.clone()).expect("checked when it was read")
    }

    /// What it says of servers, models and decisions, in a few letters: nodes of a cell should say the same.
    pub fn digest(&self) -> String {
        let servers: Vec<_> = (self.servers.iter())
            .map(|s| {
                (s.name.get_ref(), s.steps_per_second, s.overhead_seconds, s.max_pixels, &s.backend)
            })
            .collect();
        let said = format!(
            "{} {:?} {:?} {:?} {:?} {:?} {servers:?}",
            self.policy,
            self.shadow_policy,
            self.objective,
            self.defaults,
            self.limits,
            self.models
        );
        let digest = sha2::Sha256::digest(said);
        let [a, b, c, d] = [digest[0], digest[1], digest[2], digest[3]];
        format!("{:08x}", u32::from_be_bytes([a, b, c, d]))
    }

    /// Name of the cell that it is of, if any.
    pub fn cell(&self) -> Option<&str> {
        self.cluster.as_ref().map(|cluster| cluster.cell.get_ref().as_str())
    }

    /// The path of the public URL, without a slash at its end.
    pub(crate) fn path_prefix(&self) -> String {
        let url = self.public_url.as_ref().and_then(|url| reqwest::Url::parse(url.get_ref()).ok());
        url.map_or(String::new(), |url| url.path().trim_end_matches('/').into())
    }

    /// Pixels at which step rates hold.
    pub fn reference_pixels(&self) -> u32 {
        self.defaults.width.get() * self.defaults.height.get()
    }

    /// Any number of steps, for a typical request.
    pub(crate) fn typical_steps() -> Steps {
        Steps::saturating(30.0)
    }
}

#[cfg(test)]
mod tests;
