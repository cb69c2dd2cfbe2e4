//! From a file to a configuration, or to the line where it is wrong.

use std::ops::Range;
use std::path::Path;

use scheduling::message::{bounded, excerpt};
use serde::de::DeserializeOwned;
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

/// The name of a file, and what is in it.
pub(super) fn text_of(path: &Path) -> Result<(String, String), ConfigError> {
    let file = path.display().to_string();
    match std::fs::read_to_string(path) {
        Ok(text) => Ok((file, text)),
        Err(error) => Err(ConfigError::File { file, problem: error.to_string() }),
    }
}

impl Source {
    pub(super) fn new(file: &str, text: &str) -> Self {
        // Editors on Windows begin files with a byte order mark.
        let text = text.strip_prefix('\u{feff}').unwrap_or(text);
        Self { file: file.into(), text: text.into() }
    }

    /// What the text says.
    pub(super) fn read<T: DeserializeOwned>(&self) -> Result<T, ConfigError> {
        let text = &self.text;
        toml::from_str(text).map_err(|error| {
            let place = error.span().unwrap_or(0..0);
            let start = text[..place.start.min(text.len())].rfind('\n').map_or(0, |i| i + 1);
            let key = text[start..].lines().next().unwrap_or("").trim();
            let shown =
                if key.is_empty() { String::new() } else { format!("`{}`: ", excerpt(key)) };
            self.error(&place, &format!("{shown}{}", error.message().trim_end()))
        })
    }

    /// Something that does not go together.
    pub(super) fn misfit(&self, misfit: &Misfit) -> ConfigError {
        self.error(&misfit.place(&self.text), &misfit.problem)
    }

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
        let (file, text) = text_of(path)?;
        let mut config = Self::parse(&file, &text)?;
        config.look_beside(path);
        Ok(config)
    }

    /// Reads the text of `file`.
    ///
    /// # Errors
    /// [`ConfigError`] with file, line and key.
    pub fn parse(file: &str, text: &str) -> Result<Self, ConfigError> {
        let source = Source::new(file, text);
        let config: Self = source.read()?;
        config.check().map_err(|misfit| source.misfit(&misfit))?;
        Ok(Self { source, ..config })
    }

    /// Refuses the value of a key, such as `server.0.backend.url`, that turned out to be wrong only
    /// when it was used.
    pub fn refuse(&self, key: &str, problem: impl std::fmt::Display) -> ConfigError {
        let misfit = Misfit::new(key, format!("`{key}`: {problem}"));
        self.source.error(&misfit.place(&self.source.text), &misfit.problem)
    }
}
