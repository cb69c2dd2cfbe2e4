//! The two-branch actor of §III-B: one trunk, one branch for the server, one for the steps.

use scheduling::{Decision, Generator, Offer, Steps};

use crate::kernels;
use crate::network::{Activations, Mlp};

/// π(a | s) = π_m(server | s) · π_s(steps | s).
///
/// The last layer holds the logits of both branches next to one another: `servers` for the first,
/// 200 for the second.
#[derive(Clone, Debug, PartialEq)]
pub struct Actor {
    network: Mlp,
    servers: usize,
}

/// What the policy gradient is made of, for one row.
#[derive(Clone, Copy, Debug, Default)]
pub struct Update {
    /// Derivative of the loss by −log π(a | s): the advantage, divided by the number of rows.
    pub advantage: f32,
    /// Derivative of the loss by −H(π): the entropy bonus, divided by the number of rows.
    pub entropy: f32,
}

impl Actor {
    /// A fresh actor with the given hidden layers.
    pub fn new(inputs: usize, hidden: &[usize], servers: usize, generator: &mut Generator) -> Self {
        Self { network: Mlp::new(&Self::sizes(inputs, hidden, servers), generator), servers }
    }

    /// Widths of the layers: the last one has a logit per server and step.
    pub(crate) fn sizes(inputs: usize, hidden: &[usize], servers: usize) -> Vec<usize> {
        [&[inputs], hidden, &[servers + Steps::COUNT]].concat()
    }

    /// An actor on stored parameters; `None` unless the last layer has a logit per server and step.
    pub fn from_network(network: Mlp, servers: usize) -> Option<Self> {
        (network.sizes().last() == Some(&(servers + Steps::COUNT)))
            .then_some(Self { network, servers })
    }

    /// The network with both branches.
    pub fn network(&self) -> &Mlp {
        &self.network
    }

    /// The network, for the optimiser.
    pub(crate) fn network_mut(&mut self) -> &mut Mlp {
        &mut self.network
    }

    /// J: how many servers the first branch chooses from.
    pub fn servers(&self) -> usize {
        self.servers
    }

    /// Draws an action a_t ~ π(· | s_t) for each row, row k from `generators[k]`.
    pub fn sample(
        &self,
        inputs: &[f32],
        activations: &mut Activations,
        generators: &mut [Generator],
        decisions: &mut Vec<Decision>,
    ) {
        let logits = self.network.forward(inputs, activations);
        let rows = logits.chunks_exact_mut(self.servers + Steps::COUNT);
        decisions.extend(rows.zip(generators).map(|(row, generator)| {
            let (servers, steps) = row.split_at_mut(self.servers);
            Decision {
                server: draw(servers, generator.uniform()),
                steps: Steps::from_index(draw(steps, generator.uniform())),
            }
        }));
    }

    /// The most probable action of each branch, among the steps within the bounds.
    pub(crate) fn most_probable(
        &self,
        input: &[f32],
        offers: &[Offer],
        activations: &mut Activations,
    ) -> Decision {
        let (servers, steps) = self.network.forward(input, activations).split_at(self.servers);
        let server = position_of_largest(servers);
        let accepted = offers[server].bounds.indices();
        let steps = accepted.start + position_of_largest(&steps[accepted]);
        Decision { server, steps: Steps::from_index(steps) }
    }

    /// Adds to `gradient` that of Σ −advantage · log π(a | s) − entropy · H(π(· | s)) over the rows,
    /// eq. (7), and returns Σ H(π(· | s)).
    pub fn policy_gradient(
        &self,
        inputs: &[f32],
        actions: &[Decision],
        updates: &[Update],
        activations: &mut Activations,
        gradient: &mut [f32],
    ) -> f64 {
        let logits = self.network.forward(inputs, activations);
        let mut d_logits = logits.to_vec();
        let width = self.servers + Steps::COUNT;
        let mut entropy = 0.0;
        for ((row, action), update) in d_logits.chunks_exact_mut(width).zip(actions).zip(updates) {
            let (servers, steps) = row.split_at_mut(self.servers);
            entropy += branch_gradient(servers, action.server, *update);
            entropy += branch_gradient(steps, action.steps.index(), *update);
        }
        self.network.backward(inputs, activations, d_logits, gradient);
        entropy
    }
}

/// Replaces the logits z of one branch by the derivative of the loss by them and returns the
/// branch's entropy H.
///
/// With p = softmax(z): ∂(−log p_a)/∂z_k = p_k − [k = a] and ∂(−H)/∂z_k = p_k (log p_k + H).
fn branch_gradient(z: &mut [f32], action: usize, update: Update) -> f64 {
    let mut p = [0.0; Steps::COUNT];
    let mut spare; // clusters of more than 200 servers are rare
    let p = if z.len() <= p.len() {
        &mut p[..z.len()]
    } else {
        spare = vec![0.0; z.len()];
        &mut spare[..]
    };
    p.copy_from_slice(z);
    let (sum, largest) = kernels::exponentials(p);
    let log_sum = largest + sum.ln();
    let mut entropy = 0.0;
    for (p, z) in p.iter_mut().zip(&*z) {
        *p /= sum;
        entropy -= *p * (z - log_sum);
    }
    for (z, p) in z.iter_mut().zip(&*p) {
        *z = p * (update.advantage + update.entropy * (*z - log_sum + entropy));
    }
    z[action] -= update.advantage;
    f64::from(entropy)
}

/// Index drawn from softmax(logits) by inversion of `uniform`. Overwrites the logits.
fn draw(logits: &mut [f32], uniform: f64) -> usize {
    let (sum, _) = kernels::exponentials(logits);
    let mut rest = uniform as f32 * sum;
    for (index, weight) in logits.iter().enumerate() {
        rest -= weight;
        if rest < 0.0 {
            return index;
        }
    }
    // Rounding may leave a rest behind.
    logits.len() - 1
}

fn position_of_largest(values: &[f32]) -> usize {
    let mut largest = 0;
    for (index, value) in values.iter().enumerate() {
        if *value > values[largest] {
            largest = index;
        }
    }
    largest
}
