//! A quantity that is drawn anew each time, uniformly from a range.

use std::fmt;
use std::marker::PhantomData;

use scheduling::{Generator, OutOfRange};
use serde::de::{Deserialize, Deserializer, Error, SeqAccess, Visitor};
use serde::ser::{Serialize, Serializer};

/// Uniform on `[low, high)`; in a file `[low, high]`, or one number for a constant.
///
/// Invariant: `low ≤ high`.
///
/// ```
/// use scheduling::Seconds;
/// use simulation::Uniform;
/// let slack = Uniform::new(Seconds::of(2.0), Seconds::of(20.0));
/// assert_eq!(slack.unwrap().mean(), 11.0);
/// assert_eq!(Uniform::new(Seconds::of(2.0), Seconds::of(1.0)), None);
/// ```
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Uniform<T> {
    low: T,
    high: T,
}

/// A quantity with a unit and a checked range.
pub trait Quantity: Copy + PartialOrd + Into<f64> + TryFrom<f64, Error = OutOfRange> {}

impl<T: Copy + PartialOrd + Into<f64> + TryFrom<f64, Error = OutOfRange>> Quantity for T {}

impl<T: Quantity> Uniform<T> {
    /// The range from `low` to `high`, unless `low` is above `high`.
    pub fn new(low: T, high: T) -> Option<Self> {
        (low <= high).then_some(Self { low, high })
    }

    /// Always `value`.
    pub const fn constant(value: T) -> Self {
        Self { low: value, high: value }
    }

    /// The lower end.
    pub const fn low(&self) -> T {
        self.low
    }

    /// The upper end.
    pub const fn high(&self) -> T {
        self.high
    }

    /// Mean of what is drawn, in the quantity's unit.
    pub fn mean(&self) -> f64 {
        f64::midpoint(self.low.into(), self.high.into())
    }

    /// One value. A constant takes a number from the generator too, so that changing the range
    /// shifts nothing that is drawn later.
    pub fn draw(&self, generator: &mut Generator) -> T {
        let (low, high) = (self.low.into(), self.high.into());
        // Rounding may carry the sum past the upper end by one bit.
        let value = generator.between(low, high).clamp(low, high);
        T::try_from(value).expect("what lies between two allowed values is allowed")
    }
}

impl<T: Quantity> Serialize for Uniform<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let (low, high): (f64, f64) = (self.low.into(), self.high.into());
        if low == high { serializer.serialize_f64(low) } else { [low, high].serialize(serializer) }
    }
}

/// Written by hand and not as an untagged enum, which would lose both message and line.
impl<'de, T: Quantity> Deserialize<'de> for Uniform<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(NumberOrPair(PhantomData))
    }
}

struct NumberOrPair<T>(PhantomData<T>);

impl<'de, T: Quantity> Visitor<'de> for NumberOrPair<T> {
    type Value = Uniform<T>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a number or a range [low, high]")
    }

    fn visit_f64<E: Error>(self, value: f64) -> Result<Uniform<T>, E> {
        T::try_from(value).map(Uniform::constant).map_err(E::custom)
    }

    fn visit_i64<E: Error>(self, value: i64) -> Result<Uniform<T>, E> {
        self.visit_f64(value as f64)
    }

    fn visit_u64<E: Error>(self, value: u64) -> Result<Uniform<T>, E> {
        self.visit_f64(value as f64)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Uniform<T>, A::Error> {
        let mut end = |index| {
            let value: f64 =
                seq.next_element()?.ok_or_else(|| A::Error::invalid_length(index, &self))?;
            T::try_from(value).map_err(A::Error::custom)
        };
        let (low, high) = (end(0)?, end(1)?);
        if seq.next_element::<f64>()?.is_some() {
            return Err(A::Error::invalid_length(3, &self));
        }
        Uniform::new(low, high).ok_or_else(|| {
            let (low, high): (f64, f64) = (low.into(), high.into());
            A::Error::custom(format!("the range [{low}, {high}] is empty: allowed is low ≤ high"))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use scheduling::{Purpose, Seconds};

    #[test]
    fn draws_stay_inside_and_constants_are_exact() {
        let mut generator = Generator::new(3, Purpose::Slack, 0);
        let range = Uniform::new(Seconds::of(2.0), Seconds::of(2.5)).unwrap();
        for _ in 0..1000 {
            let value = range.draw(&mut generator).seconds();
            assert!((2.0..=2.5).contains(&value), "{value}");
        }
        let constant = Uniform::constant(Seconds::of(0.1));
        assert_eq!(constant.draw(&mut generator), Seconds::of(0.1));
    }

    #[test]
    fn a_constant_takes_as_many_numbers_as_a_range() {
        let next = |slack: Uniform<Seconds>| {
            let mut generator = Generator::new(3, Purpose::Slack, 0);
            slack.draw(&mut generator);
            generator.bits()
        };
        let range = Uniform::new(Seconds::of(2.0), Seconds::of(2.5)).unwrap();
        assert_eq!(next(range), next(Uniform::constant(Seconds::of(7.0))));
    }
}
