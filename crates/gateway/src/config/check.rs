//! What the configuration must fulfil beyond what each value checks for itself.

use std::ops::Range;

use scheduling::Objective;
use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::{BackendConfig, Config};

/// What is wrong, and where.
type Problem = (Place, String);

/// Where something is wrong.
pub(super) enum Place {
    /// Nowhere in particular.
    Start,
    Span(Range<usize>),
    /// At the first of these keys that is written, such as `limits.side` or `server.1.name`.
    Keys(Vec<String>),
}

impl Place {
    pub(super) fn within(self, text: &str) -> Range<usize> {
        match self {
            Self::Start => 0..0,
            Self::Span(span) => span,
            Self::Keys(keys) => keys.iter().find_map(|key| span(text, key)).unwrap_or(0..0),
        }
    }
}

/// Where a key is written.
fn span(text: &str, key: &str) -> Option<Range<usize>> {
    let root = DeTable::parse(text).ok()?;
    let mut found = root.span();
    let mut value = &DeValue::Table(root.into_inner());
    for part in key.split('.') {
        let next = match value {
            DeValue::Table(table) => {
                let (name, next) = table.iter().find(|(name, _)| name.get_ref() == part)?;
                found = name.span();
                next
            }
            DeValue::Array(array) => array.get(part.parse::<usize>().ok()?)?,
            _ => return None,
        };
        value = next.get_ref();
    }
    Some(found)
}

/// What no single key can know.
pub(super) fn check(config: &Config) -> Result<(), Problem> {
    if config.servers.is_empty() {
        return Err((Place::Start, "there is no [[server]]: write at least one".into()));
    }
    unique("server", config.servers.iter().map(|s| &s.name))?;
    unique("key", config.keys.iter().map(|k| &k.name))?;
    if !config.listen.get_ref().ip().is_loopback() && config.keys.is_empty() {
        let message = format!(
            "`listen`: {} is not a loopback address, and without [[key]] anybody could use the \
             servers: write a [[key]], or listen = \"127.0.0.1:8420\"",
            config.listen.get_ref()
        );
        return Err((Place::Span(config.listen.span()), message));
    }
    let most = config.limits.side;
    for (key, side) in [("width", config.defaults.width), ("height", config.defaults.height)] {
        if side > most {
            let problem = format!(
                "`defaults.{key}` is {}: allowed is up to `limits.side`, which is {}",
                side.get(),
                most.get()
            );
            // Whichever of the two is written, and the other's default if not.
            let places = [format!("defaults.{key}"), "limits.side".into()];
            return Err((Place::Keys(places.into()), problem));
        }
    }
    let objective = &config.objective;
    Objective::new(objective.quality.clone(), objective.tardiness_weight)
        .map_err(|e| (Place::Keys(vec!["objective".into()]), format!("[objective]: {e}")))?;
    for (index, server) in config.servers.iter().enumerate() {
        let (BackendConfig::Automatic1111 { url, .. }
        | BackendConfig::Sdcpp { url, .. }
        | BackendConfig::Openai { url, .. }
        | BackendConfig::Comfyui { url, .. }) = &server.backend
        else {
            continue;
        };
        if !url.starts_with("http://") {
            let problem = format!("`url` is {url:?}: write http://HOST:PORT");
            return Err((Place::Keys(vec![format!("server.{index}.backend.url")]), problem));
        }
    }
    let numbers = [
        ("limits.waiting", config.limits.waiting, 1_000_000),
        ("limits.attempts", config.limits.attempts, 100),
        ("limits.connections", config.limits.connections, 1_000_000),
        ("limits.body_bytes", config.limits.body_bytes, 16 * 1024 * 1024),
        ("limits.prompt_bytes", config.limits.prompt_bytes, 1024 * 1024),
        ("health.failures", config.health.failures, 1000),
        ("health.successes", config.health.successes, 1000),
    ];
    for (key, value, most) in numbers {
        if !(1..=most).contains(&value) {
            let problem = format!("`{key}` is {value}: allowed is 1 to {most}");
            return Err((Place::Keys(vec![key.into()]), problem));
        }
    }
    Ok(())
}

fn unique<'a>(what: &str, names: impl Iterator<Item = &'a Spanned<String>>) -> Result<(), Problem> {
    let mut seen = std::collections::HashSet::new();
    for name in names {
        let text = name.get_ref();
        let plain = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
        if text.is_empty() || text.len() > 64 || !text.chars().all(plain) {
            return Err((
                Place::Span(name.span()),
                format!("`name` of a {what} is {text:?}: allowed are 1 to 64 of a-z A-Z 0-9 - _ ."),
            ));
        }
        if !seen.insert(text) {
            return Err((
                Place::Span(name.span()),
                format!("`name`: {text:?} is taken by an earlier {what}"),
            ));
        }
    }
    Ok(())
}
