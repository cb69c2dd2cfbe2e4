use pulp::{Arch, NullaryFnOnce};
use scheduling::Generator;

use super::features::{CLUSTER_INPUTS, Features, SERVER_INPUTS};
use crate::kernels;

const INPUTS: usize = SERVER_INPUTS + CLUSTER_INPUTS;

/// The network that prices server time, the same for every server.
///
/// With x_j the inputs of server j and z those of the cluster,
/// `f_j = softplus(b + u·[x_j, z] + Σ_h v_h tanh(c_h + W_h·[x_j, z]))`: a perceptron with one hidden
/// layer beside a linear path. All parameters stand in one vector, in the order W, c, v, u, b.
#[derive(Clone, Debug, PartialEq)]
pub struct PriceNetwork {
    hidden: usize,
    parameters: Vec<f32>,
}

/// Buffers of [`PriceNetwork::forward`].
#[derive(Clone, Debug, Default)]
pub(crate) struct Scratch {
    /// c_h + W_h z: the part of each hidden unit that all servers share.
    shared: Vec<f32>,
    /// One hidden unit for all servers.
    unit: Vec<f32>,
    /// f_j
    pub(crate) prices: Vec<f32>,
}

impl PriceNetwork {
    /// How many parameters there are with so many hidden units.
    pub fn parameter_count(hidden: usize) -> usize {
        (INPUTS + 2) * hidden + INPUTS + 1
    }

    /// A fresh network: W drawn from a normal distribution with variance 1 / inputs, all else zero
    /// but b, which makes every price the same moderate one.
    pub fn new(hidden: usize, generator: &mut Generator) -> Self {
        let mut parameters = vec![0.0; Self::parameter_count(hidden)];
        let scale = 1.0 / (INPUTS as f64).sqrt();
        for weight in &mut parameters[..INPUTS * hidden] {
            *weight = (scale * generator.normal()) as f32;
        }
        if let Some(bias) = parameters.last_mut() {
            *bias = -1.0;
        }
        Self { hidden, parameters }
    }

    /// A network from stored parameters; `None` unless there are as many as the size asks for.
    pub fn from_parameters(hidden: usize, parameters: Vec<f32>) -> Option<Self> {
        (parameters.len() == Self::parameter_count(hidden)).then_some(Self { hidden, parameters })
    }

    /// Hidden units.
    pub fn hidden(&self) -> usize {
        self.hidden
    }

    /// All parameters, in the order that the type describes.
    pub fn parameters(&self) -> &[f32] {
        &self.parameters
    }

    /// The parameters, for the optimiser.
    pub(crate) fn parameters_mut(&mut self) -> &mut [f32] {
        &mut self.parameters
    }

    /// Leaves the prices of all servers in the scratch.
    pub(crate) fn forward(&self, features: &Features, scratch: &mut Scratch) {
        let servers = features.speed.len();
        let (w, rest) = self.parameters.split_at(INPUTS * self.hidden);
        let (c, rest) = rest.split_at(self.hidden);
        let (v, rest) = rest.split_at(self.hidden);
        let (u, b) = rest.split_at(INPUTS);
        scratch.unit.resize(servers, 0.0);
        scratch.prices.resize(servers, 0.0);
        scratch.shared.clear();
        scratch.shared.extend(
            w.chunks_exact(INPUTS)
                .zip(c)
                .map(|(row, c)| c + dot(&row[SERVER_INPUTS..], &features.cluster)),
        );
        let start = b[0] + dot(&u[SERVER_INPUTS..], &features.cluster);
        scratch.prices.fill(start);
        Arch::new().dispatch(Forward {
            w,
            v,
            u,
            shared: &scratch.shared,
            inputs: &features.server,
            unit: &mut scratch.unit,
            prices: &mut scratch.prices,
        });
    }
}

fn dot(a: &[f32], b: &[f32]) -> f32 {
    a.iter().zip(b).fold(0.0, |sum, (a, b)| sum + a * b)
}

/// One hidden unit after the other, each for all servers at once: the loops over servers fill the
/// vector registers.
struct Forward<'a> {
    w: &'a [f32],
    v: &'a [f32],
    u: &'a [f32],
    shared: &'a [f32],
    /// One column of `servers` values per input.
    inputs: &'a [f32],
    unit: &'a mut [f32],
    prices: &'a mut [f32],
}

impl NullaryFnOnce for Forward<'_> {
    type Output = ();

    #[inline(always)]
    fn call(self) {
        let Self { w, v, u, shared, inputs, unit, prices } = self;
        add_inputs(u, inputs, prices);
        for ((row, &v), &start) in w.chunks_exact(INPUTS).zip(v).zip(shared) {
            unit.fill(start);
            add_inputs(row, inputs, unit);
            kernels::tanh_inlined(unit);
            for (price, unit) in prices.iter_mut().zip(&*unit) {
                *price += v * unit;
            }
        }
        for price in prices {
            *price = kernels::softplus(*price);
        }
    }
}

/// y_j += Σ_k row_k x_kj over the inputs that differ between servers.
#[inline(always)]
fn add_inputs(row: &[f32], inputs: &[f32], y: &mut [f32]) {
    for (&weight, column) in row.iter().zip(inputs.chunks_exact(y.len())) {
        for (y, x) in y.iter_mut().zip(column) {
            *y += weight * x;
        }
    }
}
