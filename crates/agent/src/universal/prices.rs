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
    /// A column of one value per server for each unit of a layer; in the end f_j, then h_j.
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

    /// The price of the next moment, per full service.
    pub(crate) fn at_once(self) -> f64 {
        self.f
    }
}

impl Prices {
    /// The price on one server.
    pub(crate) fn on(&self, server: usize) -> Price {
        let servers = self.columns.len() / OUTPUTS;
        let value = |output: usize| f64::from(self.columns[output * servers + server]);
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
        x.clear();
        x.extend_from_slice(&features.server);
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
            y.resize(units * servers, 0.0);
            let squash = if rest.is_empty() { Squash::Softplus } else { Squash::Tanh };
            Arch::new().dispatch(Layer { weights, start, x, y, servers, squash });
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

/// A layer for all servers, one unit after the other: the loops over servers fill the vector
/// registers. No fused multiply-adds, so that an agent decides alike on every machine.
struct Layer<'a> {
    /// `inputs × units` in row-major order.
    weights: &'a [f32],
    /// What each unit starts from.
    start: &'a [f32],
    /// A column for each input.
    x: &'a [f32],
    /// A column for each unit.
    y: &'a mut [f32],
    servers: usize,
    squash: Squash,
}

impl NullaryFnOnce for Layer<'_> {
    type Output = ();

    #[inline(always)]
    fn call(self) {
        let Self { weights, start, x, y, servers, squash } = self;
        let units = start.len();
        for (unit, (y, &start)) in y.chunks_exact_mut(servers).zip(start).enumerate() {
            y.fill(start);
            for (row, x) in weights.chunks_exact(units).zip(x.chunks_exact(servers)) {
                let w = row[unit];
                for (y, x) in y.iter_mut().zip(x) {
                    *y += w * x;
                }
            }
        }
        match squash {
            Squash::Tanh => kernels::tanh_inlined(y),
            Squash::Softplus => y.iter_mut().for_each(|y| *y = kernels::softplus(*y)),
        }
    }
}
