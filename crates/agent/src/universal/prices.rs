//! The network that prices server time.

use pulp::{Arch, NullaryFnOnce};
use scheduling::Generator;

use super::features::{CLUSTER_INPUTS, Features, SERVER_INPUTS};
use crate::kernels;
use crate::network::{Mlp, parameter_count};

/// Inputs of the network, those of the server first.
pub(crate) const INPUTS: usize = SERVER_INPUTS + CLUSTER_INPUTS;
/// Outputs of the network: f and h, before their softplus.
pub(crate) const OUTPUTS: usize = 2;

/// What server time is worth to the requests still to come.
///
/// A job that takes the share q of a full service on server j costs them `q (f_j + h_j q)`, in gains
/// of a full service: f_j for the time itself, and more and more of it the longer the queue becomes.
/// Both are the softplus of outputs of a multi-layer perceptron that sees server j, the cluster and
/// the traffic. It is the same for every server.
#[derive(Clone, Debug, PartialEq)]
pub struct PriceNetwork(Mlp);

/// The prices of all servers, with the buffers in which they are computed.
#[derive(Clone, Debug, Default)]
pub(crate) struct Prices {
    /// A column of one value per server for each unit of a layer, filled up to whole [`LANES`]; in the
    /// end f_j, then h_j.
    columns: Vec<f32>,
    next: Vec<f32>,
    start: Vec<f32>,
}

/// What a job on a server costs others, by the share q of a full service that it takes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Price {
    f: f64,
    h: f64,
}

impl Price {
    /// `q (f + h q)`, in gains of a full service.
    pub(crate) fn of(self, share: f64) -> f64 {
        share * (self.f + self.h * share)
    }
}

impl Prices {
    /// The price on one server.
    pub(crate) fn on(&self, server: usize) -> Price {
        let width = self.columns.len() / OUTPUTS;
        let value = |output: usize| f64::from(self.columns[output * width + server]);
        Price { f: value(0), h: value(1) }
    }

    /// Whether all of them are numbers.
    pub(crate) fn are_finite(&self) -> bool {
        self.columns.iter().all(|value| value.is_finite())
    }

    /// Makes server time free.
    pub(crate) fn clear(&mut self) {
        self.columns.fill(0.0);
    }
}

impl PriceNetwork {
    /// A fresh network with these hidden layers; every price is nearly the same moderate one.
    pub fn new(hidden: &[usize], generator: &mut Generator) -> Self {
        let mut network = Mlp::new(&Self::sizes(hidden), generator);
        let parameters = network.parameters_mut();
        let biases = parameters.len() - OUTPUTS;
        parameters[biases..].copy_from_slice(&[-1.0, -2.0]);
        Self(network)
    }

    /// A network from stored parameters, in the order of an [`Mlp`]; `None` unless there are
    /// [`PriceNetwork::parameter_count`] of them.
    pub fn from_parameters(hidden: &[usize], parameters: Vec<f32>) -> Option<Self> {
        Mlp::from_parameters(&Self::sizes(hidden), parameters).map(Self)
    }

    /// How many parameters a network with these hidden layers has.
    pub fn parameter_count(hidden: &[usize]) -> usize {
        parameter_count(&Self::sizes(hidden))
    }

    fn sizes(hidden: &[usize]) -> Vec<usize> {
        [&[INPUTS], hidden, &[OUTPUTS]].concat()
    }

    /// The perceptron: its output goes through a softplus.
    pub fn perceptron(&self) -> &Mlp {
        &self.0
    }

    /// The perceptron, for the optimiser.
    pub(crate) fn perceptron_mut(&mut self) -> &mut Mlp {
        &mut self.0
    }

    /// Computes the prices of all servers.
    pub(crate) fn forward(&self, features: &Features, prices: &mut Prices) {
        let servers = features.speed.len();
        let mut rest = self.0.parameters();
        let Prices { columns: x, next: y, start } = prices;
        let width = servers.next_multiple_of(LANES);
        x.clear();
        for column in features.server.chunks_exact(servers) {
            x.extend_from_slice(column);
            x.resize(x.len() + width - servers, 0.0);
        }
        for (layer, pair) in self.0.sizes().windows(2).enumerate() {
            let (inputs, units) = (pair[0], pair[1]);
            let (mut weights, after) = rest.split_at(inputs * units);
            let (bias, after) = after.split_at(units);
            rest = after;
            start.clear();
            start.extend_from_slice(bias);
            if layer == 0 {
                // What the cluster adds is the same for all servers.
                let (server, cluster) = weights.split_at(SERVER_INPUTS * units);
                weights = server;
                for (row, &z) in cluster.chunks_exact(units).zip(&features.cluster) {
                    start.iter_mut().zip(row).for_each(|(start, w)| *start += w * z);
                }
            }
            y.resize(units * width, 0.0);
            let squash = if rest.is_empty() { Squash::Softplus } else { Squash::Tanh };
            Arch::new().dispatch(Layer { weights, start, x, y, width, squash });
            std::mem::swap(x, y);
        }
    }
}

/// What a layer's units go through.
#[derive(Clone, Copy)]
enum Squash {
    Tanh,
    Softplus,
}

/// Servers whose sums fill a vector register.
const LANES: usize = 8;

/// A layer for all servers. No fused multiply-adds, so that an agent decides alike on every machine.
struct Layer<'a> {
    /// `inputs × units` in row-major order.
    weights: &'a [f32],
    /// What each unit starts from.
    start: &'a [f32],
    /// A column for each input.
    x: &'a [f32],
    /// A column for each unit.
    y: &'a mut [f32],
    /// Length of a column: whole [`LANES`].
    width: usize,
    squash: Squash,
}

impl NullaryFnOnce for Layer<'_> {
    type Output = ();

    #[inline(always)]
    fn call(mut self) {
        let units = self.start.len();
        let whole = units / 4 * 4;
        // Servers outside, units inside: what a few servers have as inputs stays in the cache.
        for lane in (0..self.width).step_by(LANES) {
            (0..whole).step_by(4).for_each(|unit| self.units::<4>(unit, lane));
            (whole..units).for_each(|unit| self.units::<1>(unit, lane));
        }
        match self.squash {
            Squash::Tanh => kernels::tanh_inlined(self.y),
            Squash::Softplus => self.y.iter_mut().for_each(|y| *y = kernels::softplus(*y)),
        }
    }
}

impl Layer<'_> {
    /// The sums of N units for the servers from `lane` on, several units at a time since each addition
    /// waits for the one before.
    #[inline(always)]
    fn units<const N: usize>(&mut self, first: usize, lane: usize) {
        let Self { weights, start, x, width, .. } = *self;
        let mut sums: [[f32; LANES]; N] = std::array::from_fn(|n| [start[first + n]; LANES]);
        for (row, x) in weights.chunks_exact(start.len()).zip(x.chunks_exact(width)) {
            let (row, x) = (&row[first..first + N], &x[lane..lane + LANES]);
            for (sums, w) in sums.iter_mut().zip(row) {
                for (sum, x) in sums.iter_mut().zip(x) {
                    *sum += w * x;
                }
            }
        }
        for (n, sums) in sums.iter().enumerate() {
            let place = (first + n) * width + lane;
            self.y[place..place + LANES].copy_from_slice(sums);
        }
    }
}
