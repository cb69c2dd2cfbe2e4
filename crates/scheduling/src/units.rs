//! Quantities with a unit, and only the operators that make sense between them.
//!
//! `Time − Time` and `Steps / StepRate` are spans of [`Seconds`]; two points in time cannot be added.
//! Whatever is read from a file passes a checking constructor, so a value that exists is in range.

use std::ops::{Add, AddAssign, Div, Mul, Sub};

use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::message::number;

/// A quantity outside its allowed range.
#[derive(Clone, Debug, PartialEq, Error)]
#[error("{} is not {what}: allowed is {allowed}", number(*value))]
pub struct OutOfRange {
    /// What the quantity is, with its article.
    pub what: &'static str,
    /// The value that was refused.
    pub value: f64,
    /// The range that would have been accepted, with its unit.
    pub allowed: &'static str,
}

/// The largest time or span that is accepted, in seconds (about 31 years): squares of it stay far
/// from overflow and its rounding error stays below a microsecond.
const MAX_SECONDS: f64 = 1e9;

/// A point in time: seconds since the origin of the instance.
#[derive(Clone, Copy, Debug, Default, PartialEq, PartialOrd, Serialize, Deserialize)]
#[serde(try_from = "f64", into = "f64")]
pub struct Time(f64);

impl Time {
    /// The origin.
    pub const ZERO: Self = Self(0.0);
    /// The end of time: the latest that is read from outside.
    pub const MAX: Self = Self(MAX_SECONDS);

    /// A point in time read from outside.
    ///
    /// # Errors
    /// [`OutOfRange`] unless `0 ≤ seconds ≤ 1e9`.
    pub fn new(seconds: f64) -> Result<Self, OutOfRange> {
        checked(seconds, "a time", 0.0, MAX_SECONDS, "0 to 1e9 seconds").map(Self)
    }

    /// Seconds since the origin.
    pub const fn seconds(self) -> f64 {
        self.0
    }

    /// The later of the two.
    #[must_use]
    pub const fn max(self, other: Self) -> Self {
        Self(self.0.max(other.0))
    }
}

/// A span of time in seconds. Read from a file it is never negative; as a difference of two
/// [`Time`]s it may be.
#[derive(Clone, Copy, Debug, Default, PartialEq, PartialOrd, Serialize, Deserialize)]
#[serde(try_from = "f64", into = "f64")]
pub struct Seconds(f64);

impl Seconds {
    /// No time at all.
    pub const ZERO: Self = Self(0.0);

    /// A span read from outside.
    ///
    /// # Errors
    /// [`OutOfRange`] unless `0 ≤ seconds ≤ 1e9`.
    pub fn new(seconds: f64) -> Result<Self, OutOfRange> {
        checked(seconds, "a span of time", 0.0, MAX_SECONDS, "0 to 1e9 seconds").map(Self)
    }

    /// A span that was computed. The caller knows it to be finite.
    pub const fn of(seconds: f64) -> Self {
        debug_assert!(seconds.is_finite());
        Self(seconds)
    }

    /// The span as a number.
    pub const fn seconds(self) -> f64 {
        self.0
    }

    /// `max(0, self)`: how late, if late at all.
    #[must_use]
    pub const fn positive_part(self) -> Self {
        Self(self.0.max(0.0))
    }
}

/// Capability `c_j` of a server: denoising steps per second.
///
/// The paper defines `c_j` as time per step and then uses steps per second (§IV); so do we.
#[derive(Clone, Copy, Debug, PartialEq, PartialOrd, Serialize, Deserialize)]
#[serde(try_from = "f64", into = "f64")]
pub struct StepRate(f64);

impl StepRate {
    /// A rate read from outside.
    ///
    /// # Errors
    /// [`OutOfRange`] unless `0.001 ≤ steps_per_second ≤ 1e6`.
    pub fn new(steps_per_second: f64) -> Result<Self, OutOfRange> {
        checked(steps_per_second, "a step rate", 1e-3, 1e6, "0.001 to 1e6 steps per second")
            .map(Self)
    }

    /// The nearest allowed rate. The caller knows it to be a number.
    pub const fn saturating(steps_per_second: f64) -> Self {
        Self(steps_per_second.clamp(1e-3, 1e6))
    }

    /// Steps per second.
    pub const fn steps_per_second(self) -> f64 {
        self.0
    }
}

/// Size of what a request asks for: its pixels against the reference size, times its pictures. A step
/// takes so many times as long as at the reference size.
#[derive(Clone, Copy, Debug, PartialEq, PartialOrd, Serialize, Deserialize)]
#[serde(try_from = "f64", into = "f64")]
pub struct Size(f64);

impl Size {
    /// The reference size, at which the step rates of the servers hold; the paper has no other.
    pub const ONE: Self = Self(1.0);

    /// A size read from outside.
    ///
    /// # Errors
    /// [`OutOfRange`] unless `1e-6 ≤ size ≤ 1e6`.
    pub fn new(size: f64) -> Result<Self, OutOfRange> {
        checked(size, "a size", 1e-6, 1e6, "1e-6 to 1e6 times the reference size").map(Self)
    }

    /// In reference sizes.
    pub const fn get(self) -> f64 {
        self.0
    }

    /// The size of one picture, in pixels, where the reference size is `reference` pixels. None is taken
    /// for one.
    pub fn of_picture(pixels: u32, reference: u32) -> Self {
        Self(f64::from(pixels.max(1)) / f64::from(reference.max(1)))
    }
}

impl Default for Size {
    fn default() -> Self {
        Self::ONE
    }
}

/// Number of denoising steps `s_i` of a request, `1..=200`.
///
/// ```
/// use scheduling::{Seconds, StepRate, Steps};
/// let rate = StepRate::new(16.0)?;
/// assert_eq!(Steps::new(40)? / rate, Seconds::of(2.5));
/// assert!(Steps::new(0).is_err());
/// # Ok::<(), scheduling::OutOfRange>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "u32", into = "u32")]
pub struct Steps(u16);

impl Steps {
    /// One step.
    pub const MIN: Self = Self(1);
    /// 200 steps, the last of the paper's action space (§III-A).
    pub const MAX: Self = Self(200);
    /// How many different values there are.
    pub const COUNT: usize = 200;

    /// A number of steps read from outside.
    ///
    /// # Errors
    /// [`OutOfRange`] unless `1 ≤ steps ≤ 200`.
    pub fn new(steps: u32) -> Result<Self, OutOfRange> {
        if (1..=Self::COUNT as u32).contains(&steps) {
            Ok(Self(steps as u16))
        } else {
            Err(OutOfRange {
                what: "a number of steps",
                value: f64::from(steps),
                allowed: "1 to 200 steps",
            })
        }
    }

    /// The nearest allowed number of steps at or below `steps`; 1 if there is none.
    pub fn saturating(steps: f64) -> Self {
        Self(steps.clamp(1.0, Self::COUNT as f64) as u16)
    }

    /// Every number of steps, ascending.
    pub fn all() -> impl ExactSizeIterator<Item = Self> + DoubleEndedIterator {
        (0..Self::COUNT).map(Self::from_index)
    }

    /// The number of steps at `index` of a table over [`Steps::all`].
    ///
    /// # Panics
    /// If `index` is 200 or more.
    pub fn from_index(index: usize) -> Self {
        assert!(index < Self::COUNT, "step index {index} is not below {}", Self::COUNT);
        Self(index as u16 + 1)
    }

    /// Position in a table over [`Steps::all`].
    pub const fn index(self) -> usize {
        self.0 as usize - 1
    }

    /// The number itself.
    pub const fn get(self) -> u32 {
        self.0 as u32
    }
}

/// The value, if it is within the range.
pub(crate) fn checked(
    value: f64,
    what: &'static str,
    lowest: f64,
    highest: f64,
    allowed: &'static str,
) -> Result<f64, OutOfRange> {
    if (lowest..=highest).contains(&value) {
        Ok(value)
    } else {
        Err(OutOfRange { what, value, allowed })
    }
}

impl Add<Seconds> for Time {
    type Output = Self;
    fn add(self, span: Seconds) -> Self {
        Self(self.0 + span.0)
    }
}

impl AddAssign<Seconds> for Time {
    fn add_assign(&mut self, span: Seconds) {
        self.0 += span.0;
    }
}

impl Sub for Time {
    type Output = Seconds;
    fn sub(self, earlier: Self) -> Seconds {
        Seconds(self.0 - earlier.0)
    }
}

impl Add for Seconds {
    type Output = Self;
    fn add(self, other: Self) -> Self {
        Self(self.0 + other.0)
    }
}

impl Sub for Seconds {
    type Output = Self;
    fn sub(self, other: Self) -> Self {
        Self(self.0 - other.0)
    }
}

impl Mul<f64> for Seconds {
    type Output = Self;
    fn mul(self, factor: f64) -> Self {
        Self(self.0 * factor)
    }
}

impl Mul<StepRate> for Seconds {
    /// Steps, not necessarily whole.
    type Output = f64;
    fn mul(self, rate: StepRate) -> f64 {
        self.0 * rate.0
    }
}

impl Div<Size> for StepRate {
    /// The rate at this size.
    type Output = Self;
    #[inline]
    fn div(self, size: Size) -> Self {
        Self(self.0 / size.0)
    }
}

impl Div<StepRate> for Steps {
    type Output = Seconds;
    fn div(self, rate: StepRate) -> Seconds {
        Seconds(f64::from(self.0) / rate.0)
    }
}

/// Reads a quantity from a number by its checking constructor, and writes it as one.
macro_rules! number_with_a_range {
    ($($quantity:ident),*) => {$(
        impl TryFrom<f64> for $quantity {
            type Error = OutOfRange;
            fn try_from(value: f64) -> Result<Self, OutOfRange> {
                Self::new(value)
            }
        }

        impl From<$quantity> for f64 {
            fn from(quantity: $quantity) -> Self {
                quantity.0
            }
        }
    )*};
}

number_with_a_range!(Time, Seconds, StepRate, Size);

impl TryFrom<u32> for Steps {
    type Error = OutOfRange;
    fn try_from(steps: u32) -> Result<Self, OutOfRange> {
        Self::new(steps)
    }
}

impl From<Steps> for u32 {
    fn from(steps: Steps) -> Self {
        steps.get()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_out_of_range_are_refused() {
        for seconds in [-1e-9, f64::NAN, f64::INFINITY, 1.1e9] {
            assert!(Time::new(seconds).is_err(), "{seconds}");
            assert!(Seconds::new(seconds).is_err(), "{seconds}");
        }
        for rate in [0.0, -3.0, f64::NAN, 2e6] {
            assert!(StepRate::new(rate).is_err(), "{rate}");
        }
        for steps in [0, 201, u32::MAX] {
            assert!(Steps::new(steps).is_err(), "{steps}");
        }
    }

    #[test]
    fn the_message_names_value_and_range() {
        let message = Steps::new(0).unwrap_err().to_string();
        assert_eq!(message, "0 is not a number of steps: allowed is 1 to 200 steps");
    }

    #[test]
    fn saturating_rounds_down_into_the_range() {
        for (steps, expected) in [(-4.0, 1), (0.7, 1), (1.99, 1), (37.2, 37), (1e9, 200)] {
            assert_eq!(Steps::saturating(steps).get(), expected, "{steps}");
        }
    }

    #[test]
    fn step_indices_round_trip() {
        assert!(Steps::all().enumerate().all(|(i, s)| s.index() == i && s.get() as usize == i + 1));
    }
}
