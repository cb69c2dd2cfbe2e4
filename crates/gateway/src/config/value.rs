//! Values that check themselves when they are read, so that errors name their line.

use std::time::Duration;

use scheduling::message::number;
use serde::{Deserialize, Deserializer, de};
use sha2::{Digest as _, Sha256};

/// A positive span in seconds, at most a year.
#[derive(Clone, Copy, Debug, PartialEq, PartialOrd)]
pub struct Span(pub(super) f64);

impl Span {
    /// As a number of seconds.
    pub const fn seconds(self) -> f64 {
        self.0
    }

    /// As a duration.
    pub(crate) fn duration(self) -> Duration {
        Duration::from_secs_f64(self.0)
    }
}

impl<'de> Deserialize<'de> for Span {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let seconds = f64::deserialize(deserializer)?;
        if (1e-3..=31_536_000.0).contains(&seconds) {
            return Ok(Self(seconds));
        }
        Err(de::Error::custom(format!("{} seconds: allowed is 0.001 to 31536000", number(seconds))))
    }
}

/// Width or height: a multiple of 8 from 8 to 8192.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Side(pub(super) u32);

impl Side {
    /// Checks a side.
    ///
    /// # Errors
    /// A message with the allowed values.
    pub fn new(pixels: u32) -> Result<Self, String> {
        if (8..=8192).contains(&pixels) && pixels.is_multiple_of(8) {
            return Ok(Self(pixels));
        }
        Err(format!("{pixels} pixels: allowed is a multiple of 8 from 8 to 8192"))
    }

    /// In pixels.
    pub const fn get(self) -> u32 {
        self.0
    }
}

impl<'de> Deserialize<'de> for Side {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Self::new(u32::deserialize(deserializer)?).map_err(de::Error::custom)
    }
}

/// A SHA-256 digest of a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Digest(pub [u8; 32]);

/// Texts that are no key, with how their digest comes about.
const NO_KEYS: [(&str, &str); 5] = [
    ("", "an empty text: KEY was not set when it was made"),
    ("\n", "a mere line break: KEY was not set when it was made"),
    ("\r\n", "a mere line break: KEY was not set when it was made"),
    (" ", "a space: KEY was not set when it was made"),
    ("YOUR_KEY", "the words of the manual"),
];

impl<'de> Deserialize<'de> for Digest {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let byte = |i: usize| u8::from_str_radix(text.get(2 * i..2 * i + 2)?, 16).ok();
        let bytes: Option<Vec<u8>> = (0..32).map(byte).collect();
        let bytes: [u8; 32] = match bytes {
            Some(bytes) if text.len() == 64 && !text.contains('+') => {
                bytes.try_into().expect("32 of them")
            }
            _ => {
                return Err(de::Error::custom(
                    "not a SHA-256 digest: 64 hexadecimal digits are needed, as \
                     `printf %s YOUR_KEY | sha256sum` prints them",
                ));
            }
        };
        let no_key =
            NO_KEYS.iter().find(|(text, _)| bytes == <[u8; 32]>::from(Sha256::digest(text)));
        if let Some((_, how)) = no_key {
            return Err(de::Error::custom(format!(
                "the digest of {how}; allowed is that of a key, as \
                 `printf %s YOUR_KEY | sha256sum` prints it"
            )));
        }
        Ok(Self(bytes))
    }
}
