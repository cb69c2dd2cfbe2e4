//! From a file to a configuration, or to the line where it is wrong.

use std::ops::Range;
use std::path::Path;

use scheduling::message::{bounded, excerpt};
use thiserror::Error;

use super::Config;
use super::check::Misfit;

/// A configuration that cannot be used. Nothing was started.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum ConfigError {
    /// The file cannot be read.
    #[error("{file}: {problem}")]
    File {
        /// Its path.
        file: String,
        /// What the system says.
        problem: String,
    },
    /// A key or its value is wrong.
    #[error("{file}:{line}: {problem}")]
    Line {
        /// Path of the file.
        file: String,
        /// Line, from 1.
        line: usize,
        /// The key, what is wrong with it and what to write.
        problem: String,
    },
}

/// The text that a configuration was read from.
#[derive(Clone, Debug, Default)]
pub(super) struct Source {
    file: String,
    text: String,
}

impl Source {
    fn error(&self, place: &Range<usize>, problem: &str) -> ConfigError {
        let before = &self.text[..place.start.min(self.text.len())];
        let line = 1 + before.matches('\n').count();
        ConfigError::Line { file: self.file.clone(), line, problem: bounded(problem) }
    }
}

impl Config {
    /// Reads a file.
    ///
    /// # Errors
    /// [`ConfigError`] with file, line and key.
    pub fn read(path: &Path) -> Result<Self, ConfigError> {
        let file = path.display().to_string();
        let text = std::fs::read_to_string(path)
            .map_err(|e| ConfigError::File { file: file.clone(), problem: e.to_string() })?;
        Self::parse(&file, &text)
    }

    /// Reads the text of `file`.
    ///
    /// # Errors
    /// [`ConfigError`] with file, line and key.
    pub fn parse(file: &str, text: &str) -> Result<Self, ConfigError> {
        // Editors on Windows begin files with a byte order mark.
        let text = text.strip_prefix('\u{feff}').unwrap_or(text);
        let source = Source { file: file.into(), text: text.into() };
        let config: Self = toml::from_str(text).map_err(|error| {
            let place = error.span().unwrap_or(0..0);
            let start = text[..place.start.min(text.len())].rfind('\n').map_or(0, |i| i + 1);
            let key = text[start..].lines().next().unwrap_or("").trim();
            let shown =
                if key.is_empty() { String::new() } else { format!("`{}`: ", excerpt(key)) };
            source.error(&place, &format!("{shown}{}", error.message().trim_end()))
        })?;
        config.check().map_err(|misfit| source.error(&misfit.place(text), &misfit.problem))?;
        Ok(Self { source, ..config })
    }

    /// Refuses the value of a key, such as `server.0.backend.url`, that turned out to be wrong only
    /// when it was used.
    pub fn refuse(&self, key: &str, problem: impl std::fmt::Display) -> ConfigError {
        let misfit = Misfit::new(key, format!("`{key}`: {problem}"));
        self.source.error(&misfit.place(&self.source.text), &misfit.problem)
    }
}
