//! Values that check themselves when they are read, so that errors name their line.

use std::fmt;
use std::time::Duration;

use scheduling::message::{excerpt, number};
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

/// A secret, as it stands or as the environment has it: `${NAME}`, and `$${` for `${` itself. It is never shown.
#[derive(Clone, PartialEq, Eq, Deserialize)]
#[serde(transparent)]
pub struct SecretText(String);

impl SecretText {
    /// The secret itself.
    ///
    /// # Errors
    /// A message, if the environment does not have what it names.
    pub(super) fn reveal(&self) -> Result<String, String> {
        filled_in(&self.0, |name| std::env::var(name).ok())
    }
}

impl fmt::Debug for SecretText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SecretText(…)")
    }
}

/// A text with every `${NAME}` replaced by what goes by that name.
fn filled_in(text: &str, named: impl Fn(&str) -> Option<String>) -> Result<String, String> {
    let (mut filled, mut rest) = (String::new(), text);
    while let Some(start) = rest.find("${") {
        let (before, opened) = (&rest[..start], &rest[start + 2..]);
        if let Some(before) = before.strip_suffix('$') {
            filled += before;
            filled += "${";
            rest = opened;
            continue;
        }
        let Some((name, behind)) = opened.split_once('}') else {
            return Err("a `${` without its `}`: allowed is ${NAME}, and $${ for ${ itself".into());
        };
        let value = named(name).ok_or_else(|| {
            let name = excerpt(name);
            format!("the environment has no variable {name:?}: set it, or use a file")
        })?;
        filled += before;
        filled += &value;
        rest = behind;
    }
    Ok(filled + rest)
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_are_filled_in_from_the_environment() {
        let named = |name: &str| (name == "KEY").then(|| "sk-${1}".to_owned());
        for (text, filled) in [
            ("plain", "plain"),
            ("${KEY}", "sk-${1}"),
            ("op:${KEY}!", "op:sk-${1}!"),
            ("${KEY}${KEY}", "sk-${1}sk-${1}"),
            ("$${KEY}", "${KEY}"),
            ("$5 and $", "$5 and $"),
            ("", ""),
        ] {
            assert_eq!(filled_in(text, named).unwrap(), filled, "{text}");
        }
        assert!(filled_in("${OTHER}", named).unwrap_err().contains("\"OTHER\""));
        assert!(filled_in("sk-${KEY", named).unwrap_err().contains("${NAME}"));
        assert_eq!(format!("{:?}", SecretText("hunter2".into())), "SecretText(…)");
    }
}
