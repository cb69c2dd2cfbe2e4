//! Where servers stand: each once, and nothing in an address that would be passed over.

use std::collections::HashMap;

use reqwest::Url;

use super::check::Misfit;
use super::{BackendConfig, Config};
use crate::backends;

impl BackendConfig {
    /// Where it listens; none for the built-in painter.
    fn url(&self) -> Option<&str> {
        match self {
            Self::Demo { .. } | Self::Agent {} => None,
            Self::Automatic1111 { url, .. }
            | Self::Sdcpp { url, .. }
            | Self::Openai { url, .. }
            | Self::Comfyui { url, .. } => Some(url),
        }
    }

    /// What to write in place of credentials in the address, where those would not reach every
    /// call.
    fn instead_of_credentials(&self) -> Option<&'static str> {
        match self {
            Self::Automatic1111 { .. } => Some("write login = \"USER:PASSWORD\" beside it"),
            Self::Openai { key: Some(_), .. } | Self::Openai { key_file: Some(_), .. } => {
                Some("`key` takes their place: leave them out")
            }
            Self::Comfyui { .. } => Some("its progress is told without them: leave them out"),
            Self::Demo { .. } | Self::Agent {} | Self::Sdcpp { .. } | Self::Openai { .. } => None,
        }
    }
}

impl Config {
    /// Two servers at one address would each think it to be theirs alone.
    pub(super) fn check_servers(&self) -> Result<(), Misfit> {
        let mut taken: HashMap<String, &str> = HashMap::new();
        for (position, server) in self.servers.iter().enumerate() {
            let Some(text) = server.backend.url() else { continue };
            let name = server.name.get_ref();
            let misfit = |problem: String| {
                let problem = format!("`server.url` of {name:?}: {problem}");
                Misfit::new(format!("server.{position}.backend.url"), problem)
            };
            let url = backends::check_url(text).map_err(misfit)?;
            let shown = shown(&url);
            for (part, given) in [("query", url.query()), ("fragment", url.fragment())] {
                if given.is_some() {
                    let problem = format!(
                        "{shown}: its {part} would be passed over: write {}",
                        normalised(&url)
                    );
                    return Err(misfit(problem));
                }
            }
            let credentials = !url.username().is_empty() || url.password().is_some();
            if let Some(instead) = server.backend.instead_of_credentials().filter(|_| credentials) {
                return Err(misfit(format!("{shown}: no user and password in it: {instead}")));
            }
            if let Some(earlier) = taken.insert(normalised(&url), name) {
                let problem = format!("{shown} is the address of {earlier:?} already");
                return Err(misfit(problem));
            }
        }
        Ok(())
    }
}

/// The address without what may be secret.
fn shown(url: &Url) -> String {
    let mut url = url.clone();
    let _ = url.set_username("");
    let _ = url.set_password(None);
    let text = url.to_string();
    if text.len() > 80 { format!("{}…", text.chars().take(80).collect::<String>()) } else { text }
}

/// One spelling for one place: without the scheme's own port, a slash at the end or another name of
/// the loopback interface.
fn normalised(url: &Url) -> String {
    let host = match url.host_str() {
        Some("localhost" | "[::1]") | None => "127.0.0.1",
        Some(host) => host,
    };
    let port = url.port().map_or_else(String::new, |port| format!(":{port}"));
    format!("{}://{host}{port}{}", url.scheme(), url.path().trim_end_matches('/'))
}
