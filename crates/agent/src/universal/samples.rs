//! What the network of prices is taught: pairs of decisions, and how much more one of them costs.

use super::policy::UniversalAgent;
use super::prices::{INPUTS, OUTPUTS};
use crate::kernels;

/// Alternatives and what they cost more than the agent's own decisions, as the network is taught.
#[derive(Clone, Debug, Default)]
pub(crate) struct Samples {
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
}

impl Samples {
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
        Self {
            alternatives: self.alternatives.select(places),
            owns: self.owns.select(places),
            costs: places.iter().map(|&at| self.costs[at]).collect(),
        }
    }

    /// The network's inputs, a row for each alternative, then one for each own decision.
    pub(crate) fn inputs(&self) -> Vec<f32> {
        [self.alternatives.inputs.as_slice(), &self.owns.inputs].concat()
    }

    /// q in the order of the rows.
    pub(crate) fn shares(&self) -> impl Iterator<Item = f32> {
        self.alternatives.shares.iter().chain(&self.owns.shares).copied()
    }

    /// By how much the network's outputs say too much, sample by sample.
    pub(crate) fn errors(&self, outputs: &[f32]) -> impl Iterator<Item = f32> {
        let (alternatives, owns) = outputs.as_chunks().0.split_at(self.len());
        let costs = |outputs: &[[f32; OUTPUTS]], jobs: &Jobs| -> Vec<f32> {
            outputs.iter().zip(&jobs.shares).map(|(outputs, &q)| cost(*outputs, q)).collect()
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
    }

    fn select(&self, places: &[usize]) -> Self {
        let row = |&at: &usize| &self.inputs[at * INPUTS..(at + 1) * INPUTS];
        Self {
            inputs: places.iter().flat_map(row).copied().collect(),
            shares: places.iter().map(|&at| self.shares[at]).collect(),
        }
    }

    /// Adds a job of so many seconds on a server; none takes nothing of it.
    pub(crate) fn push(&mut self, agent: &UniversalAgent, server: usize, service: f64) {
        self.inputs.extend(agent.row(server));
        self.shares.push(agent.share(server, service) as f32);
    }
}

/// C: `q (f + h q)` from the network's outputs.
fn cost([f, h]: [f32; OUTPUTS], q: f32) -> f32 {
    q * (kernels::softplus(f) + q * kernels::softplus(h))
}
