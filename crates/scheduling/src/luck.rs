//! How far service times stray from their predictions, as numbers with a range.

use std::fmt;
use std::num::NonZeroU64;

use serde::{Deserialize, Serialize};

use crate::units::{OutOfRange, checked};

/// σ: standard deviation of the logarithm of a server's service times. 0 means that predictions come true.
#[derive(Clone, Copy, Debug, Default, PartialEq, PartialOrd, Serialize, Deserialize)]
#[serde(try_from = "f64", into = "f64")]
pub struct Sigma(f64);

impl Sigma {
    /// A deviation read from outside.
    ///
    /// # Errors
    /// [`OutOfRange`] unless `0 ≤ sigma ≤ 3`.
    pub fn new(sigma: f64) -> Result<Self, OutOfRange> {
        checked(sigma, "a sigma", 0.0, 3.0, "0 to 3").map(Self)
    }
}

impl From<Sigma> for f64 {
    fn from(Sigma(sigma): Sigma) -> Self {
        sigma
    }
}

impl TryFrom<f64> for Sigma {
    type Error = OutOfRange;
    fn try_from(sigma: f64) -> Result<Self, OutOfRange> {
        Self::new(sigma)
    }
}

/// The standard normal draw that decides how long a run takes, for a server's [`Sigma`].
///
/// The complement of its bits, which is never 0, so that a million of them that may be missing take no
/// more room than the numbers.
#[derive(Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "f64", into = "f64")]
pub struct Luck(NonZeroU64);

impl Luck {
    /// A draw read from outside.
    ///
    /// # Errors
    /// [`OutOfRange`] unless `−40 ≤ luck ≤ 40`.
    pub fn new(luck: f64) -> Result<Self, OutOfRange> {
        let luck = checked(luck, "a luck", -40.0, 40.0, "-40 to 40")?;
        Ok(Self(NonZeroU64::new(!luck.to_bits()).expect("all bits set are no number")))
    }
}

impl From<Luck> for f64 {
    fn from(Luck(complement): Luck) -> Self {
        Self::from_bits(!complement.get())
    }
}

impl fmt::Debug for Luck {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Luck").field(&f64::from(*self)).finish()
    }
}

impl TryFrom<f64> for Luck {
    type Error = OutOfRange;
    fn try_from(luck: f64) -> Result<Self, OutOfRange> {
        Self::new(luck)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_luck_that_may_be_missing_takes_no_more_room_than_a_number() {
        assert_eq!(size_of::<Option<Luck>>(), size_of::<f64>());
        for luck in [0.0, -0.0, 0.1 + 0.2, -40.0, 40.0, f64::MIN_POSITIVE] {
            assert_eq!(f64::from(Luck::new(luck).unwrap()).to_bits(), luck.to_bits());
        }
    }
}
