//! What the network of prices is taught: pairs of decisions, and how much more one of them costs.

use super::policy::UniversalAgent;
use super::prices::Clusters;
use crate::kernels;

/// Alternatives and what they cost more than the agent's own decisions, as the network is taught.
#[derive(Clone, Debug)]
pub(crate) struct Samples {
    /// What the network sets prices for.
    pub(crate) clusters: Clusters,
    pub(crate) alternatives: Jobs,
    /// The agent's own.
    pub(crate) owns: Jobs,
    /// How much more the alternatives cost others, in gains of a full service.
    pub(crate) costs: Vec<f32>,
}

/// What decisions take of the servers.
#[derive(Clone, Debug, Default)]
pub(crate) struct Jobs {
    /// The network's inputs for the server, a row each.
    pub(crate) inputs: Vec<f32>,
    /// q: share of a full service that is taken.
    pub(crate) shares: Vec<f32>,
    /// σ, how much dearer than usual the server's time is, and σ̄ of the mean server.
    pub(crate) steepness: Vec<[f32; 2]>,
}

impl Samples {
    /// None yet.
    pub(crate) fn new(clusters: Clusters) -> Self {
        let (alternatives, owns) = (Jobs::default(), Jobs::default());
        Self { clusters, alternatives, owns, costs: Vec::new() }
    }

    /// How many there are.
    pub(crate) fn len(&self) -> usize {
        self.costs.len()
    }

    /// Adds those of another episode.
    pub(crate) fn append(&mut self, other: &Self) {
        self.alternatives.append(&other.alternatives);
        self.owns.append(&other.owns);
        self.costs.extend_from_slice(&other.costs);
    }

    /// Those at the given places.
    pub(crate) fn select(&self, places: &[usize]) -> Self {
        let inputs = self.clusters.inputs();
        Self {
            clusters: self.clusters,
            alternatives: self.alternatives.select(places, inputs),
            owns: self.owns.select(places, inputs),
            costs: places.iter().map(|&at| self.costs[at]).collect(),
        }
    }

    /// The network's inputs, a row for each alternative, then one for each own decision.
    pub(crate) fn inputs(&self) -> Vec<f32> {
        [self.alternatives.inputs.as_slice(), &self.owns.inputs].concat()
    }

    /// q and how dear the time is, in the order of the rows.
    pub(crate) fn shares(&self) -> impl Iterator<Item = (f32, [f32; 2])> {
        let of = |jobs: &Jobs| -> Vec<(f32, [f32; 2])> {
            jobs.shares.iter().copied().zip(jobs.steepness.iter().copied()).collect()
        };
        of(&self.alternatives).into_iter().chain(of(&self.owns))
    }

    /// By how much the network's outputs say too much, sample by sample.
    pub(crate) fn errors(&self, outputs: &[f32]) -> impl Iterator<Item = f32> {
        let width = self.clusters.outputs();
        let (alternatives, owns) = outputs.split_at(self.len() * width);
        let costs = |outputs: &[f32], jobs: &Jobs| -> Vec<f32> {
            let dear = jobs.shares.iter().zip(&jobs.steepness);
            outputs.chunks_exact(width).zip(dear).map(|(y, (&q, &dear))| cost(y, q, dear)).collect()
        };
        let alternatives = costs(alternatives, &self.alternatives).into_iter();
        let differences = alternatives.zip(costs(owns, &self.owns));
        differences.zip(&self.costs).map(|((alternative, own), cost)| alternative - own - cost)
    }

    /// What the own decisions cost per full service, by the requests that the alternative did not serve.
    pub(crate) fn price(&self) -> f64 {
        let unserved = (0..self.len()).filter(|&at| self.alternatives.shares[at] == 0.0);
        let (cost, share) = unserved.fold((0.0, 1e-9), |(cost, share), at| {
            (cost - f64::from(self.costs[at]), share + f64::from(self.owns.shares[at]))
        });
        cost / share
    }
}

impl Jobs {
    fn append(&mut self, other: &Self) {
        self.inputs.extend_from_slice(&other.inputs);
        self.shares.extend_from_slice(&other.shares);
        self.steepness.extend_from_slice(&other.steepness);
    }

    fn select(&self, places: &[usize], inputs: usize) -> Self {
        let row = |&at: &usize| &self.inputs[at * inputs..(at + 1) * inputs];
        Self {
            inputs: places.iter().flat_map(row).copied().collect(),
            shares: places.iter().map(|&at| self.shares[at]).collect(),
            steepness: places.iter().map(|&at| self.steepness[at]).collect(),
        }
    }

    /// Adds a job of so many seconds on a server; none takes nothing of it.
    pub(crate) fn push(&mut self, agent: &UniversalAgent, server: usize, service: f64) {
        self.inputs.extend(agent.row(server));
        self.shares.push(agent.share(server, service) as f32);
        let steepness = [agent.steepness(server), agent.mean_steepness()];
        self.steepness.push(steepness.map(|steepness| steepness as f32));
    }
}

/// C: `σ q (f + h q) + σ̄ e` from the network's outputs, and nothing where there is no run.
fn cost(outputs: &[f32], q: f32, [steepness, mean]: [f32; 2]) -> f32 {
    let models = outputs.get(2).filter(|_| q > 0.0).copied();
    let time = q * (kernels::softplus(outputs[0]) + q * kernels::softplus(outputs[1]));
    let time = steepness * time;
    models.map_or(time, |e| time + mean * e)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_is_of_the_alternatives_cost_less_the_own_decisions() {
        let jobs = |shares: [f32; 2]| {
            let steepness = vec![[1.0, 1.0]; 2];
            Jobs { inputs: vec![0.0; 2], shares: shares.into(), steepness }
        };
        // The second alternative does not serve its request.
        let (alternatives, owns) = (jobs([2.0, 0.0]), jobs([1.0, 1.0]));
        let clusters = Clusters::Plain;
        let samples = Samples { clusters, alternatives, owns, costs: vec![3.0, -1.5] };
        // f = h = ln 2, so that q (f + h q) is 6 ln 2 for two full services and 2 ln 2 for one.
        let outputs = vec![0.0; 4 * clusters.outputs()];
        let ln2 = std::f32::consts::LN_2;
        let errors: Vec<f32> = samples.errors(&outputs).collect();
        for (error, expected) in errors.iter().zip([4.0 * ln2 - 3.0, -2.0 * ln2 + 1.5]) {
            assert!((error - expected).abs() < 1e-6, "{errors:?}");
        }
        assert!((samples.price() - 1.5).abs() < 1e-6);
        let shares: Vec<_> = samples.shares().map(|(share, _)| share).collect();
        assert_eq!(shares, [2.0, 0.0, 1.0, 1.0]);
        // In fleets e = 10 is paid by those that run.
        let outputs = [0.0, 0.0, 10.0].repeat(4);
        let mut samples = Samples { clusters: Clusters::Fleets, ..samples };
        let errors: Vec<f32> = samples.errors(&outputs).collect();
        for (error, expected) in errors.iter().zip([4.0 * ln2 - 3.0, -2.0 * ln2 - 8.5]) {
            assert!((error - expected).abs() < 1e-5, "{errors:?}");
        }
        // Where who comes next will be late, time and models are dearer.
        samples.owns.steepness[1] = [3.0, 2.0];
        let errors: Vec<f32> = samples.errors(&outputs).collect();
        for (error, expected) in errors.iter().zip([4.0 * ln2 - 3.0, -6.0 * ln2 - 18.5]) {
            assert!((error - expected).abs() < 1e-5, "{errors:?}");
        }
    }

    #[test]
    fn selected_samples_keep_their_rows() {
        let clusters = Clusters::Fleets;
        let inputs = clusters.inputs();
        let jobs = |first: f32| {
            let numbers = (0..3 * inputs).map(|at| first + at as f32);
            let shares = vec![first, first + 1.0, first + 2.0];
            let steepness = shares.iter().map(|&share| [share, 1.0]).collect();
            Jobs { inputs: numbers.collect(), shares, steepness }
        };
        let (alternatives, owns) = (jobs(0.0), jobs(1000.0));
        let samples = Samples { clusters, alternatives, owns, costs: vec![7.0, 8.0, 9.0] };
        let selected = samples.select(&[2, 0]);
        assert_eq!(selected.costs, [9.0, 7.0]);
        assert_eq!(selected.owns.shares, [1002.0, 1000.0]);
        assert_eq!(selected.owns.steepness, [[1002.0, 1.0], [1000.0, 1.0]]);
        let rows = selected.inputs();
        let firsts: Vec<f32> = rows.chunks(inputs).map(|row| row[0]).collect();
        let inputs = inputs as f32;
        assert_eq!(firsts, [2.0 * inputs, 0.0, 1000.0 + 2.0 * inputs, 1000.0]);
    }
}
