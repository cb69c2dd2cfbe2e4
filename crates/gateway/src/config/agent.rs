//! The configuration of an agent: what stands behind its servers, and where the brokers are.

use std::path::{Path, PathBuf};

use serde::Deserialize;
use toml::Spanned;

use super::check::Misfit;
use super::read::{Source, text_of};
use super::{BackendConfig, Config, ConfigError, Defaults, ModelConfig, ServerConfig};

/// What the operator of an agent wants.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AgentConfig {
    /// Its name in the cell.
    pub name: String,
    /// File in which it keeps what it has not told yet.
    #[serde(default = "default_state")]
    pub state: PathBuf,
    /// Where the cell is.
    pub cluster: AgentClusterConfig,
    /// Authorities that servers behind `https://` are trusted by, beside the system's: a PEM file.
    ca_file: Option<PathBuf>,
    /// The size at which step rates hold.
    #[serde(default)]
    defaults: Defaults,
    #[serde(default, rename = "model")]
    models: Vec<ModelConfig>,
    #[serde(default, rename = "server")]
    servers: Vec<ServerConfig>,
    /// The same for those who set up backends.
    #[serde(skip)]
    gateway: Option<Config>,
}

/// How an agent reaches its cell.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AgentClusterConfig {
    /// Where the brokers are, such as `tls://10.0.0.1:4222`.
    pub nats: Vec<Spanned<String>>,
    /// Name of the cell.
    pub cell: String,
    /// File with the secret by which the brokers know this agent.
    pub nkey_file: PathBuf,
    /// Authorities that the brokers are trusted by: a PEM file.
    pub ca_file: PathBuf,
}

fn default_state() -> PathBuf {
    "agent.db".into()
}

impl AgentConfig {
    /// Reads a file.
    ///
    /// # Errors
    /// [`ConfigError`] with file, line and key.
    pub fn read(path: &Path) -> Result<Self, ConfigError> {
        let (file, text) = text_of(path)?;
        let mut config = Self::parse(&file, &text)?;
        // What it names is looked for beside it.
        let folder = path.parent().unwrap_or(Path::new(""));
        let cluster = &mut config.cluster;
        for path in [&mut config.state, &mut cluster.nkey_file, &mut cluster.ca_file] {
            *path = folder.join(&*path);
        }
        Ok(config)
    }

    /// Reads the text of `file`.
    ///
    /// # Errors
    /// [`ConfigError`] with file, line and key.
    pub fn parse(file: &str, text: &str) -> Result<Self, ConfigError> {
        let source = Source::new(file, text);
        let mut config: Self = source.read()?;
        config.check().map_err(|misfit| source.misfit(&misfit))?;
        let nothing: Config = toml::from_str("").expect("nothing must be written");
        let gateway = Config {
            ca_file: config.ca_file.clone(),
            defaults: config.defaults.clone(),
            models: config.models.clone(),
            servers: config.servers.clone(),
            source: source.clone(),
            ..nothing
        };
        gateway.check().map_err(|misfit| source.misfit(&misfit))?;
        config.gateway = Some(gateway);
        Ok(config)
    }

    /// Its servers, and what [`super::connect`] needs to know of them.
    pub fn gateway(&self) -> &Config {
        self.gateway.as_ref().expect("it was read")
    }

    fn check(&self) -> Result<(), Misfit> {
        for (position, server) in self.servers.iter().enumerate() {
            if matches!(server.backend, BackendConfig::Agent {}) {
                let problem = format!(
                    "`backend` of {:?}: this is its agent: write what stands behind it, such as kind = \"comfyui\"",
                    server.name.get_ref()
                );
                return Err(Misfit::new(format!("server.{position}.backend"), problem));
            }
        }
        Ok(())
    }
}
