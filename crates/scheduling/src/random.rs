//! Random numbers: ChaCha8, with one independent stream per seed, purpose and index.

use rand_chacha::ChaCha8Rng;
use rand_core::{Rng, SeedableRng};

/// A seeded random generator with the few variates that the project draws.
///
/// The numbers depend on seed, purpose and index alone: the same seed gives the same instances
/// whatever the policy, the number of threads or the number of episodes side by side. The bits are
/// those of ChaCha with 8 rounds, the variates are defined here, and logarithms come from `libm`,
/// so the numbers are the same on every platform. [`Generator::VERSION`] changes whenever any of
/// them would.
#[derive(Clone, Debug)]
pub struct Generator(ChaCha8Rng);

/// What random numbers are for: each purpose has streams of its own, so that drawing more of one
/// kind never shifts another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u64)]
pub enum Purpose {
    /// Speeds of the servers.
    Cluster = 0,
    /// Times between arrivals.
    Arrival = 1,
    /// Time from arrival to due time.
    Slack = 2,
    /// Choice of the tardiness penalty.
    Penalty = 3,
    /// Choices of a random policy.
    Policy = 4,
    /// Initial weights of networks.
    Initialisation = 5,
    /// Sampled actions during training.
    Exploration = 6,
    /// Resampling of instances for confidence intervals.
    Bootstrap = 7,
    /// Random moves of a search.
    Search = 8,
    /// Noise that pictures are sampled from.
    Picture = 9,
    /// How long runs really take.
    Luck = 10,
    /// When servers are down.
    Failure = 11,
    /// How fast each model is, and how long it takes to load.
    Model = 12,
    /// Choice of the model of a request.
    Popularity = 13,
    /// Size of a request.
    Size = 14,
    /// When bursts of arrivals begin and end.
    Burst = 15,
}

impl Generator {
    /// Name and version of the generator, written into every result.
    pub const VERSION: &str = "chacha8/1";

    /// The stream of `purpose` for item `index` (an instance, an episode) under `seed`.
    pub fn new(seed: u64, purpose: Purpose, index: u64) -> Self {
        let mut key = [0; 32];
        key[..8].copy_from_slice(&seed.to_le_bytes());
        key[8..16].copy_from_slice(&index.to_le_bytes());
        key[16..25].copy_from_slice(Self::VERSION.as_bytes());
        let mut generator = ChaCha8Rng::from_seed(key);
        generator.set_stream(purpose as u64);
        Self(generator)
    }

    /// 64 random bits.
    pub fn bits(&mut self) -> u64 {
        self.0.next_u64()
    }

    /// Uniform in `[0, 1)`, a multiple of 2⁻⁵³.
    pub fn uniform(&mut self) -> f64 {
        (self.bits() >> 11) as f64 * 2f64.powi(-53)
    }

    /// Uniform in `[low, high)`; `low` if the two are equal.
    pub fn between(&mut self, low: f64, high: f64) -> f64 {
        low + (high - low) * self.uniform()
    }

    /// Uniform in `0..bound`, by multiplication; its bias is below `bound` · 2⁻⁶⁴.
    pub fn below(&mut self, bound: usize) -> usize {
        ((u128::from(self.bits()) * bound as u128) >> 64) as usize
    }

    /// Exponential with the given mean, by inversion.
    pub fn exponential(&mut self, mean: f64) -> f64 {
        -mean * libm::log(1.0 - self.uniform())
    }

    /// Standard normal, by Box and Muller's transform.
    pub fn normal(&mut self) -> f64 {
        let radius = (-2.0 * libm::log(1.0 - self.uniform())).sqrt();
        radius * libm::cos(std::f64::consts::TAU * self.uniform())
    }

    /// An index drawn with probability proportional to its weight. Weights are not negative and not
    /// all zero.
    pub fn weighted(&mut self, weights: &[f64]) -> usize {
        let mut rest = self.uniform() * weights.iter().sum::<f64>();
        for (index, weight) in weights.iter().enumerate() {
            rest -= weight;
            if rest < 0.0 {
                return index;
            }
        }
        // Rounding may leave a rest behind: the last weight that is not zero takes it.
        weights.iter().rposition(|&weight| weight > 0.0).unwrap_or(0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The numbers themselves are a promise: results name the generator's version.
    #[test]
    fn known_numbers() {
        let draw = |seed, purpose, index| Generator::new(seed, purpose, index).bits();
        let drawn = [
            draw(0, Purpose::Cluster, 0),
            draw(1, Purpose::Cluster, 0),
            draw(1, Purpose::Arrival, 0),
            draw(1, Purpose::Arrival, 1),
        ];
        assert_eq!(drawn, KNOWN);
    }

    const KNOWN: [u64; 4] = [
        7_119_469_453_679_052_667,
        3_165_304_443_627_071_616,
        3_650_996_155_376_279_191,
        7_516_754_940_969_372_957,
    ];

    #[test]
    fn variates_have_their_means() {
        let mut generator = Generator::new(7, Purpose::Arrival, 0);
        let n = 200_000;
        let mean = |sum: f64| sum / f64::from(n);
        let exponential = mean((0..n).map(|_| generator.exponential(15.0)).sum());
        assert!((exponential - 15.0).abs() < 0.2, "{exponential}");
        let uniform = mean((0..n).map(|_| generator.between(2.0, 20.0)).sum());
        assert!((uniform - 11.0).abs() < 0.1, "{uniform}");
        let square = mean((0..n).map(|_| generator.normal().powi(2)).sum());
        assert!((square - 1.0).abs() < 0.02, "{square}");
        let second = mean((0..n).map(|_| generator.weighted(&[1.0, 3.0, 0.0]) as f64).sum());
        assert!((second - 0.75).abs() < 0.01, "{second}");
        let below = mean((0..n).map(|_| generator.below(11) as f64).sum());
        assert!((below - 5.0).abs() < 0.05, "{below}");
    }
}
