//! How much chance is in the cost of an alternative: what its weight in the regression is.

use scheduling::Generator;

use super::prices::Clusters;
use super::samples::Samples;
use crate::adam::Adam;
use crate::network::{Activations, Mlp, parameter_count};

/// The variance v of what an alternative costs more, from what the network of prices sees of its server
/// and of that of the own decision, and from the shares of a full service that they take.
///
/// Decisions in an overloaded cluster can differ by twenty full services by chance, and in an idle one
/// by next to nothing. Least squares with the weights 1/v keep the first from drowning all others.
/// The variance is learned, log v being an [`Mlp`]'s output, by the likelihood of a normal distribution:
///
/// ```text
/// ψ ← Adam on   mean of  log v_ψ + e² / v_ψ
/// ```
///
/// with e the error of the prices. Weights from the measured costs themselves would be small just where
/// the cost is high by chance, and prices would be too low.
#[derive(Clone, Debug, PartialEq)]
pub struct Chance {
    pub(crate) network: Mlp,
    pub(crate) adam: Adam,
}

const fn sizes(clusters: Clusters) -> [usize; 3] {
    [clusters.inputs() + clusters.server_inputs() + 2, 24, 1]
}

/// Variance of which nobody cares, in squares of σ̄ where server time is cheaper than usual. What single servers
/// and overloaded clusters have to say is noisy, and without it they would hardly count; where it is cheap, small
/// errors matter.
const fn least(clusters: Clusters) -> f32 {
    match clusters {
        Clusters::Plain => 0.015,
        Clusters::Fleets => 0.03,
    }
}

/// An alternative is taken to be off by so many variances at most: tails are long, and weights need not be
/// exact.
const FARTHEST: f32 = 20.0;

impl Chance {
    pub(crate) fn new(clusters: Clusters, generator: &mut Generator) -> Self {
        let network = Mlp::new(&sizes(clusters), generator);
        Self { adam: Adam::new(network.parameters().len()), network }
    }

    pub(crate) fn from_parts(clusters: Clusters, parameters: Vec<f32>, adam: Adam) -> Option<Self> {
        Some(Self { network: Mlp::from_parameters(&sizes(clusters), parameters)?, adam })
    }

    pub(crate) fn parameter_count(clusters: Clusters) -> usize {
        parameter_count(&sizes(clusters))
    }

    /// 1 / v of each sample.
    pub(crate) fn weights(&self, samples: &Samples) -> Vec<f32> {
        let mut activations = Activations::default();
        let outputs = self.network.forward(&rows(samples), &mut activations);
        let dear = samples.owns.steepness.iter().map(|&[_, mean]| mean.min(1.0));
        let least = least(samples.clusters);
        let variances = outputs.iter().zip(dear).map(|(log, dear)| log.exp() + least * dear * dear);
        variances.map(|variance| 1.0 / variance).collect()
    }

    /// One update from the squared errors of the prices.
    pub(crate) fn learn(&mut self, samples: &Samples, squares: &[f32], rate: f64) {
        let rows = rows(samples);
        let mut activations = Activations::default();
        let outputs = self.network.forward(&rows, &mut activations);
        let scale = 1.0 / squares.len() as f32;
        let derivatives = (outputs.iter().zip(squares))
            .map(|(log, square)| scale * (1.0 - (square / log.exp()).min(FARTHEST)))
            .collect();
        let mut gradient = vec![0.0; self.adam.first_moment.len()];
        self.network.backward(&rows, &activations, derivatives, &mut gradient);
        self.adam.update(self.network.parameters_mut(), &gradient, rate);
    }
}

/// Its inputs, a row for each sample.
fn rows(samples: &Samples) -> Vec<f32> {
    let Samples { clusters, alternatives, owns, .. } = samples;
    let inputs = clusters.inputs();
    let mut rows = Vec::with_capacity(samples.len() * sizes(*clusters)[0]);
    for index in 0..samples.len() {
        let row = index * inputs..(index + 1) * inputs;
        rows.extend_from_slice(&alternatives.inputs[row.clone()]);
        // Both have the same cluster.
        rows.extend_from_slice(&owns.inputs[row][..clusters.server_inputs()]);
        rows.extend([alternatives.shares[index], owns.shares[index]]);
    }
    rows
}

#[cfg(test)]
mod tests {
    use super::*;
    use scheduling::Purpose;

    #[test]
    fn the_variance_is_learned_where_it_differs() {
        let mut draw = Generator::new(5, Purpose::Exploration, 0);
        let mut chance =
            Chance::new(Clusters::Plain, &mut Generator::new(5, Purpose::Initialisation, 0));
        let mut samples = Samples::new(Clusters::Plain);
        let mut squares = Vec::new();
        // The standard deviation is 0.3 where the first input is 0, and 3 where it is 1.
        for index in 0..2000 {
            let noisy = index % 2;
            for jobs in [&mut samples.alternatives, &mut samples.owns] {
                jobs.inputs.push(noisy as f32);
                jobs.inputs.extend([0.5; Clusters::Plain.inputs() - 1]);
                jobs.shares.push(1.0);
                jobs.steepness.push([1.0, 1.0]);
            }
            samples.costs.push(0.0);
            let deviation = [0.3, 3.0][noisy];
            squares.push((deviation * draw.normal()).powi(2) as f32);
        }
        for _ in 0..500 {
            chance.learn(&samples, &squares, 0.01);
        }
        let weights = chance.weights(&samples);
        for (weight, expected) in [(weights[0], 1.0 / 0.105), (weights[1], 1.0 / 9.015)] {
            assert!((weight / expected - 1.0).abs() < 0.15, "{weight} and {expected}");
        }
    }
}
