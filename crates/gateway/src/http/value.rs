//! Numbers as clients of other programs send them.

use std::fmt;

use serde::de::{self, Visitor};
use serde::{Deserialize, Deserializer};

/// A whole number, which some write as `20.0`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Whole(pub(crate) u32);

/// A seed: -1 is any.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Seed {
    /// One that nobody chose.
    Any,
    /// This one, up to [`Seed::MAX`].
    This(u64),
}

impl Seed {
    /// The largest that all backends take.
    pub(crate) const MAX: u64 = i64::MAX as u64;

    /// The seed of the picture that is so many behind the first.
    pub(crate) fn next(self, pictures: u32) -> Self {
        match self {
            Self::Any => Self::Any,
            Self::This(seed) => Self::This(seed.wrapping_add(pictures.into()) & Self::MAX),
        }
    }
}

impl<'de> Deserialize<'de> for Whole {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let range =
            Range { least: 0, most: u32::MAX.into(), what: "a whole number from 0 to 4294967295" };
        Ok(Self(deserializer.deserialize_any(range)? as u32))
    }
}

impl<'de> Deserialize<'de> for Seed {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let what = "-1 for any seed, or a whole number from 0 to 9223372036854775807";
        let seed = deserializer.deserialize_any(Range { least: -1, most: i64::MAX, what })?;
        Ok(u64::try_from(seed).map_or(Self::Any, Self::This))
    }
}

/// Reads whole numbers of a range.
struct Range {
    least: i64,
    most: i64,
    what: &'static str,
}

impl Visitor<'_> for Range {
    type Value = i64;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.what)
    }

    fn visit_i64<E: de::Error>(self, value: i64) -> Result<i64, E> {
        if !(self.least..=self.most).contains(&value) {
            return Err(E::invalid_value(de::Unexpected::Signed(value), &self));
        }
        Ok(value)
    }

    fn visit_u64<E: de::Error>(self, value: u64) -> Result<i64, E> {
        match i64::try_from(value) {
            Ok(value) => self.visit_i64(value),
            Err(_) => Err(E::invalid_value(de::Unexpected::Unsigned(value), &self)),
        }
    }

    fn visit_f64<E: de::Error>(self, value: f64) -> Result<i64, E> {
        // Beyond this a number with a fraction cannot say which whole one it is.
        const EXACT: f64 = 9_007_199_254_740_992.0;
        if value.fract() != 0.0 || value.abs() > EXACT {
            return Err(E::invalid_value(de::Unexpected::Float(value), &self));
        }
        self.visit_i64(value as i64)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_whole_however_they_are_written() {
        let whole = |json: &str| serde_json::from_str::<Whole>(json).map(|Whole(value)| value).ok();
        for (json, value) in [
            ("20", Some(20)),
            ("20.0", Some(20)),
            ("2e1", Some(20)),
            ("20.5", None),
            ("-1", None),
            ("4294967295", Some(u32::MAX)),
            ("4294967296", None),
            ("1e300", None),
            ("\"20\"", None),
            ("true", None),
        ] {
            assert_eq!(whole(json), value, "{json}");
        }
    }

    #[test]
    fn a_seed_of_minus_one_is_any() {
        let seed = |json: &str| serde_json::from_str::<Seed>(json);
        assert_eq!(seed("-1").unwrap(), Seed::Any);
        assert_eq!(seed("-1.0").unwrap(), Seed::Any);
        assert_eq!(seed("7").unwrap(), Seed::This(7));
        assert_eq!(seed("9223372036854775807").unwrap(), Seed::This(Seed::MAX));
        for wrong in ["-2", "9223372036854775808", "1e19", "0.5", "\"7\""] {
            let error = seed(wrong).unwrap_err().to_string();
            assert!(error.contains("-1 for any seed"), "{error}");
        }
        assert_eq!(Seed::This(Seed::MAX).next(1), Seed::This(0));
        assert_eq!((Seed::This(7).next(2), Seed::Any.next(2)), (Seed::This(9), Seed::Any));
    }
}
