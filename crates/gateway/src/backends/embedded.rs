//! Pictures within JSON, decoded while the answer is read: no copy of their text is kept.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use bytes::Bytes;
use serde::de::{self, Deserialize, Deserializer, IgnoredAny, SeqAccess, Visitor};

use super::BackendError;

/// A picture in base64, with or without a data URL around it; or none, where there is null.
#[derive(Default)]
pub(super) struct Embedded(Option<Bytes>);

impl Embedded {
    pub(super) fn png(self) -> Result<Bytes, BackendError> {
        self.0.ok_or_else(|| BackendError::Garbage("there is no image".into()))
    }
}

impl<'de> Deserialize<'de> for Embedded {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Text;
        impl Visitor<'_> for Text {
            type Value = Embedded;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a picture in base64")
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<Embedded, E> {
                let text =
                    match text.get(..64.min(text.len())).and_then(|t| t.split_once("base64,")) {
                        Some((head, _)) if head.starts_with("data:") => &text[head.len() + 7..],
                        _ => text,
                    };
                let bytes = BASE64.decode(text.trim());
                let bytes = bytes.map_err(|e| E::custom(format_args!("base64: {e}")))?;
                Ok(Embedded(Some(bytes.into())))
            }

            fn visit_unit<E>(self) -> Result<Embedded, E> {
                Ok(Embedded(None))
            }
        }
        deserializer.deserialize_any(Text)
    }
}

/// The first of a list; the others are passed over, however many there are.
pub(super) struct First<T>(pub(super) Option<T>);

impl<'de, T: Deserialize<'de>> Deserialize<'de> for First<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct List<T>(std::marker::PhantomData<T>);
        impl<'de, T: Deserialize<'de>> Visitor<'de> for List<T> {
            type Value = First<T>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a list")
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<First<T>, A::Error> {
                let first = list.next_element()?;
                while list.next_element::<IgnoredAny>()?.is_some() {}
                Ok(First(first))
            }
        }
        deserializer.deserialize_seq(List(std::marker::PhantomData))
    }
}

impl<T> First<T> {
    /// Where there is no list.
    pub(super) fn none() -> Self {
        Self(None)
    }
}

impl First<Embedded> {
    pub(super) fn png(self) -> Result<Bytes, BackendError> {
        self.0.unwrap_or_default().png()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_picture_counts_in_any_wrapping() {
        for (json, expected) in [
            (r#"["AQID", "BAUG"]"#, Ok(&[1, 2, 3][..])),
            (r#"["data:image/png;base64,AQID"]"#, Ok(&[1, 2, 3])),
            (r#"[" AQID\n"]"#, Ok(&[1, 2, 3])),
            (r#"["AQID", 3, {"deep": [[]]}]"#, Ok(&[1, 2, 3])),
            (r#"[""]"#, Ok(&[])),
            ("[null]", Err("there is no image")),
            ("[]", Err("there is no image")),
            (r#"["***"]"#, Err("base64")),
            (r#"["data:image/png;base64,***"]"#, Err("base64")),
            (r#"["file:///etc/passwd"]"#, Err("base64")),
            ("[3]", Err("expected a picture in base64")),
            ("{}", Err("expected a list")),
        ] {
            let read = super::super::client::understand::<First<Embedded>>(json.as_bytes());
            match (read.and_then(First::png), expected) {
                (Ok(bytes), Ok(expected)) => assert_eq!(bytes, expected, "{json}"),
                (Err(error), Err(part)) => {
                    assert!(error.to_string().contains(part), "{json}: {error}");
                }
                (read, _) => panic!("{json}: {read:?}"),
            }
        }
    }
}
