//! What no single key can know, refused at the line where it stands.

use std::collections::{HashMap, HashSet};
use std::ops::Range;

use scheduling::ObjectiveError;
use toml::Spanned;
use toml_edit::{Document, Item};

use super::{ClusterConfig, Config, ConfigError};

/// Something that does not go together.
pub(super) struct Misfit {
    /// Keys it may be due to, the likeliest first, with positions of tables counted from 0.
    keys: Vec<String>,
    /// The key, what is wrong with it and what to write.
    pub(super) problem: String,
}

impl Misfit {
    pub(super) fn new(key: impl Into<String>, problem: String) -> Self {
        Self { keys: vec![key.into()], problem }
    }

    fn or(mut self, key: &str) -> Self {
        self.keys.push(key.into());
        self
    }

    /// Where the first of the keys that is written stands; the start of the text if none is.
    pub(super) fn place(&self, text: &str) -> Range<usize> {
        let Ok(document) = Document::parse(text) else { return 0..0 };
        let found = self.keys.iter().find_map(|key| {
            let item = key.split('.').try_fold(document.as_item(), step);
            item.and_then(Item::span)
        });
        found.unwrap_or(0..0)
    }
}

fn step<'a>(item: &'a Item, key: &str) -> Option<&'a Item> {
    match key.parse::<usize>() {
        Ok(position) => item.get(position),
        Err(_) => item.get(key),
    }
}

impl Config {
    pub(super) fn check(&self) -> Result<(), Misfit> {
        if self.servers.is_empty() {
            let problem = "there is no [[server]]: write at least one";
            return Err(Misfit::new("server", problem.into()));
        }
        unique("server", self.servers.iter().map(|s| &s.name))?;
        unique("key", self.keys.iter().map(|k| &k.name))?;
        self.check_listener()?;
        self.check_journal()?;
        self.check_public_url()?;
        self.check_origins()?;
        self.check_callbacks()?;
        self.check_servers()?;
        self.check_cluster()?;
        self.check_models()?;
        self.check_keys()?;
        self.check_defaults()?;
        self.objective.with(self.objective.quality.clone()).map_err(|error| {
            let key = match error {
                ObjectiveError::TardinessWeight(_) => "objective.tardiness_weight",
                ObjectiveError::WaitingWeight(_) => "objective.waiting_weight",
                _ => "objective.quality",
            };
            Misfit::new(key, format!("[objective]: {error}")).or("objective")
        })?;
        let numbers = [
            ("limits.waiting", self.limits.waiting, 1_000_000),
            ("limits.attempts", self.limits.attempts, 100),
            ("limits.connections", self.limits.connections, 1_000_000),
            ("limits.body_bytes", self.limits.body_bytes, 16 * 1024 * 1024),
            ("limits.prompt_bytes", self.limits.prompt_bytes, 1024 * 1024),
            (
                "limits.connections_per_key",
                self.limits.connections_per_key.unwrap_or(1),
                self.limits.connections,
            ),
            ("limits.streams_per_key", self.limits.streams_per_key.unwrap_or(1), 1_000_000),
            ("health.failures", self.health.failures, 1000),
            ("health.successes", self.health.successes, 1000),
        ];
        for (key, value, most) in numbers {
            if !(1..=most).contains(&value) {
                let problem = format!("`{key}` is {value}: allowed is 1 to {most}");
                return Err(Misfit::new(key, problem));
            }
        }
        let limits = &self.limits;
        for (key, bytes) in [
            ("limits.bytes_under_way", limits.bytes_under_way),
            ("limits.bytes_under_way_per_key", limits.bytes_under_way_per_key),
        ] {
            let least = 1024 * 1024;
            if bytes < least {
                let problem = format!("`{key}` is {bytes}: allowed is from {least}");
                return Err(Misfit::new(key, problem));
            }
        }
        Ok(())
    }

    /// Whether another configuration can take this one's place without a restart.
    ///
    /// # Errors
    /// [`ConfigError`] with the line of the other one that cannot hold.
    pub(crate) fn check_successor(&self, other: &Self) -> Result<(), ConfigError> {
        let (listen, journal) = (self.listen.get_ref(), self.journal.display());
        if other.listen.get_ref() != listen {
            let problem =
                format!("allowed without a restart is {:?}, as it is", listen.to_string());
            return Err(other.refuse("listen", problem));
        }
        if other.journal != self.journal {
            let problem =
                format!("allowed without a restart is {:?}, as it is", journal.to_string());
            return Err(other.refuse("journal", problem));
        }
        if !ClusterConfig::are_alike(self.cluster.as_ref(), other.cluster.as_ref()) {
            let problem = "it is another one, which takes a restart";
            return Err(other.refuse("cluster", problem));
        }
        Ok(())
    }

    fn check_listener(&self) -> Result<(), Misfit> {
        if !self.listen.get_ref().ip().is_loopback() && self.keys.is_empty() {
            let problem = format!(
                "`listen`: {} is not a loopback address, and without [[key]] anybody could use the \
                 servers: write a [[key]], or listen = \"127.0.0.1:8420\"",
                self.listen.get_ref()
            );
            return Err(Misfit::new("listen", problem));
        }
        Ok(())
    }

    /// Links begin with it.
    fn check_public_url(&self) -> Result<(), Misfit> {
        let Some(url) = &self.public_url else { return Ok(()) };
        let text = url.get_ref();
        let allowed =
            "allowed is such as \"https://draw.example\" or \"https://draw.example/atelier\"";
        let parsed = reqwest::Url::parse(text).ok();
        let fits = parsed.as_ref().is_some_and(|url| {
            let plain =
                url.query().is_none() && url.fragment().is_none() && url.username().is_empty();
            matches!(url.scheme(), "http" | "https") && url.has_host() && plain
        });
        if fits {
            return Ok(());
        }
        let text = scheduling::message::excerpt(text);
        Err(Misfit::new("public_url", format!("`public_url`: {text:?}: {allowed}")))
    }

    /// Origins that may be called.
    fn check_callbacks(&self) -> Result<(), Misfit> {
        for (position, origin) in self.callbacks.allow.iter().enumerate() {
            let text = origin.get_ref();
            if text == "*" || is_origin(text) {
                continue;
            }
            let text = scheduling::message::excerpt(text);
            let problem = format!(
                "`callbacks.allow`: {text:?}: allowed is such as \"https://hooks.example\" or \"http://10.0.0.9:9000\", \
                 without a path, or \"*\""
            );
            let key = format!("callbacks.allow.{position}");
            return Err(Misfit::new(key, problem).or("callbacks.allow"));
        }
        Ok(())
    }

    /// Origins as browsers name them.
    fn check_origins(&self) -> Result<(), Misfit> {
        for (position, origin) in self.allowed_origins.iter().enumerate() {
            let text = origin.get_ref();
            let problem = if text == "*" {
                if !self.keys.is_empty() {
                    continue;
                }
                "without [[key]] any page could use the servers: write a [[key]], or the origins"
            } else {
                if is_origin(text) {
                    continue;
                }
                "allowed is such as \"https://app.example\" or \"http://app.example:8080\", without a path"
            };
            let text = scheduling::message::excerpt(text);
            let key = format!("allowed_origins.{position}");
            let problem = format!("`allowed_origins`: {text:?}: {problem}");
            return Err(Misfit::new(key, problem).or("allowed_origins"));
        }
        Ok(())
    }

    /// The journal is a file, and its path is nothing else.
    fn check_journal(&self) -> Result<(), Misfit> {
        let path = self.journal.to_string_lossy();
        let problem = if path.is_empty() {
            "is empty"
        } else if path.starts_with("file:") {
            "is a URI"
        } else if path == ":memory:" {
            "is no file, so nothing in it would survive"
        } else if path.ends_with('/') || self.journal.file_name().is_none() {
            "is a folder"
        } else {
            return Ok(());
        };
        let path = scheduling::message::excerpt(&path);
        let problem = format!("`journal`: {path:?} {problem}: allowed is the path of a file");
        Err(Misfit::new("journal", problem))
    }

    /// A digest says whose request it is, so each belongs to one key.
    fn check_keys(&self) -> Result<(), Misfit> {
        let mut seen = HashMap::new();
        for (position, key) in self.keys.iter().enumerate() {
            let name = key.name.get_ref();
            if let Some(earlier) = seen.insert(key.sha256.0, name) {
                let problem = format!(
                    "`sha256` of {name:?} is that of {earlier:?} too: every key needs its own"
                );
                return Err(Misfit::new(format!("key.{position}.sha256"), problem));
            }
            let most = 1_000_000;
            if !(1..=most).contains(&key.requests_per_minute) {
                let problem = format!(
                    "`requests_per_minute` of {name:?} is {}: allowed is 1 to {most}",
                    key.requests_per_minute
                );
                return Err(Misfit::new(format!("key.{position}.requests_per_minute"), problem));
            }
        }
        Ok(())
    }

    /// What a request leaves open must be allowed.
    fn check_defaults(&self) -> Result<(), Misfit> {
        let (defaults, limits) = (&self.defaults, &self.limits);
        for (key, side) in
            [("defaults.width", defaults.width), ("defaults.height", defaults.height)]
        {
            if side > limits.side {
                let (side, most) = (side.get(), limits.side.get());
                let problem = format!(
                    "`{key}` is {side}: allowed is up to `limits.side`, which is {most}; write a \
                     smaller one or raise the limit"
                );
                return Err(Misfit::new(key, problem).or("limits.side"));
            }
        }
        // Step rates hold at the default size, so a server must be able to paint it.
        let reference = self.reference_pixels();
        for (position, server) in self.servers.iter().enumerate() {
            if server.max_pixels < reference {
                let problem = format!(
                    "`max_pixels` of {:?} is {}: allowed is from the default picture's {} × {} = \
                     {reference}",
                    server.name.get_ref(),
                    server.max_pixels,
                    defaults.width.get(),
                    defaults.height.get()
                );
                let key = format!("server.{position}.max_pixels");
                return Err(Misfit::new(key, problem).or("defaults"));
            }
        }
        if defaults.due_in_seconds > limits.due_in_seconds {
            let key = "defaults.due_in_seconds";
            let problem = format!(
                "`{key}` is {}: allowed is up to `limits.due_in_seconds`, which is {}; write a \
                 smaller one or raise the limit",
                defaults.due_in_seconds.seconds(),
                limits.due_in_seconds.seconds()
            );
            return Err(Misfit::new(key, problem).or("limits.due_in_seconds"));
        }
        Ok(())
    }
}

/// Whether it is an origin as browsers name it: no path, and no port that goes without saying.
fn is_origin(text: &str) -> bool {
    let named = reqwest::Url::parse(text).map(|url| url.origin().ascii_serialization());
    named.is_ok_and(|named| named.eq_ignore_ascii_case(text))
}

fn unique<'a>(what: &str, names: impl Iterator<Item = &'a Spanned<String>>) -> Result<(), Misfit> {
    let mut seen = HashSet::new();
    for (position, name) in names.enumerate() {
        let text = name.get_ref();
        let key = format!("{what}.{position}.name");
        let plain = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
        if text.is_empty() || text.len() > 64 || !text.chars().all(plain) {
            return Err(Misfit::new(
                key,
                format!("`name` of a {what} is {text:?}: allowed are 1 to 64 of a-z A-Z 0-9 - _ ."),
            ));
        }
        if !seen.insert(text) {
            return Err(Misfit::new(
                key,
                format!("`name`: {text:?} is taken by an earlier {what}"),
            ));
        }
    }
    Ok(())
}
