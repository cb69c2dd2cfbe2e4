//! What the inputs were in training, so that decisions on others are told apart.

use super::features::{ARRIVALS, NAMES};
use super::prices::Clusters;
use super::samples::Jobs;

/// The range of every input that all servers share, over the agent's own decisions in the last part of its
/// training.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Familiar {
    /// The least, of each; above the greatest where nothing was seen.
    low: Vec<f32>,
    high: Vec<f32>,
}

/// Share of the rounds, the last ones, whose decisions count: those of before were of another agent.
pub(crate) const LAST_ROUNDS: f64 = 0.25;

impl Familiar {
    /// Nothing yet.
    pub(crate) fn nothing(clusters: Clusters) -> Self {
        let shared = clusters.inputs() - clusters.server_inputs();
        Self { low: vec![f32::MAX; shared], high: vec![f32::MIN; shared] }
    }

    /// From stored values: the least, then the greatest.
    pub(crate) fn from_values(clusters: Clusters, values: &[f32]) -> Option<Self> {
        let shared = clusters.inputs() - clusters.server_inputs();
        let (low, high) = values.split_at_checked(shared)?;
        (high.len() == shared).then(|| Self { low: low.into(), high: high.into() })
    }

    /// The values to store.
    pub(crate) fn values(&self) -> Vec<f32> {
        [&self.low[..], &self.high].concat()
    }

    /// How many there are.
    pub(crate) fn count(clusters: Clusters) -> usize {
        2 * (clusters.inputs() - clusters.server_inputs())
    }

    /// Takes note of the inputs of decisions.
    pub(crate) fn see(&mut self, jobs: &Jobs, clusters: Clusters) {
        for row in jobs.inputs.chunks_exact(clusters.inputs()) {
            let shared = &row[clusters.server_inputs()..];
            for ((low, high), &input) in self.low.iter_mut().zip(&mut self.high).zip(shared) {
                (*low, *high) = (low.min(input), high.max(input));
            }
        }
    }

    /// The first input that never was like this in training, if there is one.
    pub(crate) fn stranger<'a>(
        &self,
        shared: impl Iterator<Item = &'a f32>,
    ) -> Option<&'static str> {
        let ranges = self.low.iter().zip(&self.high);
        let mut strange = ranges.zip(shared).enumerate().filter(|(index, ((low, high), z))| {
            // Episodes end; traffic goes on. Nothing depends on how many have come once there are many.
            low <= high && (z < low || z > high) && NAMES.get(*index) != Some(&ARRIVALS)
        });
        let (index, _) = strange.next()?;
        Some(NAMES.get(index).copied().unwrap_or("models"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_never_seen_is_named() {
        let clusters = Clusters::Plain;
        let mut familiar = Familiar::nothing(clusters);
        let row = |shared: f32| {
            let mut row = vec![9.0; clusters.server_inputs()];
            row.resize(clusters.inputs(), shared);
            row
        };
        let shared = |value: f32| row(value)[clusters.server_inputs()..].to_vec();
        assert_eq!(familiar.stranger(shared(5.0).iter()), None, "nothing is known yet");
        let inputs = [row(0.2), row(0.6)].concat();
        familiar.see(&Jobs { inputs, ..Jobs::default() }, clusters);
        assert_eq!(familiar.stranger(shared(0.4).iter()), None);
        let mut strange = shared(0.4);
        strange[5] = 0.7;
        assert_eq!(familiar.stranger(strange.iter()), Some("load"));
        strange[5] = 0.1;
        assert_eq!(familiar.stranger(strange.iter()), Some("load"));
        let mut later = shared(0.4);
        later[NAMES.iter().position(|name| *name == ARRIVALS).unwrap()] = 1.0;
        assert_eq!(familiar.stranger(later.iter()), None, "traffic that goes on is not strange");
        let values = familiar.values();
        assert_eq!(values.len(), Familiar::count(clusters));
        assert_eq!(Familiar::from_values(clusters, &values), Some(familiar));
        assert_eq!(Familiar::from_values(clusters, &values[1..]), None);
    }
}
