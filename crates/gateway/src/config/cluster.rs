//! The configuration of several machines.

use std::path::{Path, PathBuf};

use serde::Deserialize;
use toml::Spanned;

use super::check::Misfit;
use super::{BackendConfig, Config, ConfigError, Span};
use crate::backends::check_authorities;

/// What makes a gateway a node of a cluster.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ClusterConfig {
    /// Where the brokers are, such as `tls://10.0.0.1:4222`.
    pub nats: Vec<Spanned<String>>,
    /// Name of the cell: of all that shares one log.
    pub cell: Spanned<String>,
    /// Name of this node, which no other one in the cell has.
    pub name: Spanned<String>,
    /// What this node does.
    #[serde(default)]
    pub role: NodeRole,
    /// Copies of the log, each on another broker: 1, 3 or 5.
    #[serde(default = "three")]
    pub replicas: u32,
    /// Seconds without a sign of life of whoever leads, after which another node does.
    #[serde(default = "default_lease")]
    pub lease_seconds: Span,
    /// File with the secret by which the brokers know this node.
    pub nkey_file: PathBuf,
    /// Authorities that the brokers are trusted by: a PEM file.
    pub ca_file: PathBuf,
    /// Configurations of gateways of other cells: this one answers for them as well, and hands on to them what its own
    /// has no room for.
    #[serde(default)]
    pub others: Vec<PathBuf>,
    /// Where the brokers tell how they are set, such as `http://10.0.0.1:8222`.
    pub monitor: Vec<Spanned<String>>,
}

/// What a node does.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum NodeRole {
    /// It takes requests in, and leads if it is to.
    #[default]
    Both,
    /// It takes requests in and never leads.
    Gateway,
    /// It leads if it is to; it takes requests in as well, for those who look after it.
    Scheduler,
}

const fn three() -> u32 {
    3
}

fn default_lease() -> Span {
    Span(3.0)
}

impl ClusterConfig {
    /// Whether both say the same, wherever it stands.
    pub(super) fn are_alike(one: Option<&Self>, other: Option<&Self>) -> bool {
        let said = |cluster: &Self| {
            let Self { nats, cell, name, role, replicas, lease_seconds, others, monitor, .. } =
                cluster.clone();
            let (nkey_file, ca_file) = (cluster.nkey_file.clone(), cluster.ca_file.clone());
            let texts = |list: Vec<Spanned<String>>| {
                list.into_iter().map(Spanned::into_inner).collect::<Vec<_>>()
            };
            let who = (cell.into_inner(), name.into_inner(), role, replicas);
            let files = (nkey_file, ca_file, others);
            (who, texts(nats), texts(monitor), lease_seconds.seconds(), files)
        };
        one.map(said) == other.map(said)
    }
}

impl Config {
    /// The files of a node are looked for beside its configuration, as several of them are started from one place.
    pub(super) fn look_beside(&mut self, file: &Path) {
        let (Some(cluster), Some(folder)) = (&mut self.cluster, file.parent()) else { return };
        let files = [&mut cluster.nkey_file, &mut cluster.ca_file, &mut self.journal];
        for path in files.into_iter().chain(&mut cluster.others) {
            *path = folder.join(&*path);
        }
    }

    /// Whether the files of a node are there.
    ///
    /// # Errors
    /// [`ConfigError`] with the line of the one that is not.
    pub(crate) fn check_cluster_files(&self) -> Result<(), ConfigError> {
        let Some(cluster) = &self.cluster else { return Ok(()) };
        for (key, file) in
            [("cluster.nkey_file", &cluster.nkey_file), ("cluster.ca_file", &cluster.ca_file)]
                .into_iter()
                .chain(cluster.others.iter().map(|file| ("cluster.others", file)))
        {
            let checked = if key == "cluster.ca_file" {
                check_authorities(file)
            } else {
                std::fs::read_to_string(file).map(drop).map_err(|error| error.to_string())
            };
            checked.map_err(|e| self.refuse(key, format!("{}: {e}", file.display())))?;
        }
        Ok(())
    }

    /// What only a cluster has is there with it and not without it.
    pub(super) fn check_cluster(&self) -> Result<(), Misfit> {
        let remote = |backend: &BackendConfig| matches!(backend, BackendConfig::Agent {});
        let Some(cluster) = &self.cluster else {
            let Some(position) = self.servers.iter().position(|s| remote(&s.backend)) else {
                return Ok(());
            };
            let name = self.servers[position].name.get_ref();
            let problem = format!(
                "`backend` of {name:?}: an agent reaches a cluster and no single gateway: write a [cluster], or \
                 another kind"
            );
            return Err(Misfit::new(format!("server.{position}.backend"), problem));
        };
        let plain = |c: char| c.is_ascii_alphanumeric() || "-_".contains(c);
        for (key, name, most) in
            [("cluster.cell", &cluster.cell, 32), ("cluster.name", &cluster.name, 64)]
        {
            let text = name.get_ref();
            if text.is_empty() || text.len() > most || !text.chars().all(plain) {
                let text = scheduling::message::excerpt(text);
                let problem =
                    format!("`{key}`: {text:?}: allowed are 1 to {most} of a-z A-Z 0-9 - _");
                return Err(Misfit::new(key, problem));
            }
        }
        // A server of an agent is a part of a subject.
        for (position, server) in self.servers.iter().enumerate() {
            let name = server.name.get_ref();
            if remote(&server.backend) && !name.chars().all(plain) {
                let problem = format!(
                    "`name`: {name:?}: allowed for an agent's are 1 to 64 of a-z A-Z 0-9 - _"
                );
                return Err(Misfit::new(format!("server.{position}.name"), problem));
            }
        }
        if !matches!(cluster.replicas, 1 | 3 | 5) {
            let problem = format!(
                "`cluster.replicas` is {}: allowed is 1, 3 or 5, as two brokers are safer than one in nothing",
                cluster.replicas
            );
            return Err(Misfit::new("cluster.replicas", problem));
        }
        let (prompt, most) = (self.limits.prompt_bytes, 256 * 1024);
        if prompt > most {
            let problem = format!(
                "`limits.prompt_bytes` is {prompt}: allowed in a cluster is 1 to {most}, as a request is one message"
            );
            return Err(Misfit::new("limits.prompt_bytes", problem));
        }
        let lease = cluster.lease_seconds.seconds();
        if !(1.0..=60.0).contains(&lease) {
            let problem = format!("`cluster.lease_seconds` is {lease}: allowed is 1 to 60");
            return Err(Misfit::new("cluster.lease_seconds", problem));
        }
        for (key, list, schemes, such) in [
            ("cluster.nats", &cluster.nats, &["tls", "nats"][..], "tls://10.0.0.1:4222"),
            ("cluster.monitor", &cluster.monitor, &["http", "https"], "http://10.0.0.1:8222"),
        ] {
            if list.is_empty() {
                let problem =
                    format!("`{key}` is empty: allowed is one address or more, such as {such:?}");
                return Err(Misfit::new(key, problem));
            }
            for url in list {
                let text = url.get_ref();
                let parsed = reqwest::Url::parse(text).ok();
                let fits =
                    parsed.is_some_and(|url| schemes.contains(&url.scheme()) && url.has_host());
                if !fits {
                    let text = scheduling::message::excerpt(text);
                    return Err(Misfit::new(
                        key,
                        format!("`{key}`: {text:?}: allowed is such as {such:?}"),
                    ));
                }
            }
        }
        Ok(())
    }
}
