//! The network that prices server time.

use pulp::{Arch, NullaryFnOnce};
use scheduling::Generator;

use super::features::{CLUSTER_INPUTS, Features, SERVER_INPUTS};
use super::fleet::{FLEET_INPUTS, MODEL_INPUTS};
use crate::kernels;
use crate::network::{Mlp, parameter_count};

/// Clusters that a network sets prices for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Clusters {
    /// Servers draw with every model alike.
    Plain,
    /// Servers load models.
    Fleets,
}

impl Clusters {
    /// Inputs that differ from server to server.
    pub(crate) const fn server_inputs(self) -> usize {
        match self {
            Self::Plain => SERVER_INPUTS,
            Self::Fleets => SERVER_INPUTS + MODEL_INPUTS,
        }
    }

    /// All inputs, those of the server first.
    pub(crate) const fn inputs(self) -> usize {
        match self {
            Self::Plain => SERVER_INPUTS + CLUSTER_INPUTS,
            Self::Fleets => SERVER_INPUTS + MODEL_INPUTS + CLUSTER_INPUTS + FLEET_INPUTS,
        }
    }

    /// Outputs: f and h, before their softplus, and in fleets e.
    pub(crate) const fn outputs(self) -> usize {
        match self {
            Self::Plain => 2,
            Self::Fleets => 3,
        }
    }
}

/// What a decision takes from the requests still to come.
///
/// A job that takes the share q of a full service on server j costs them `q (f_j + h_j q) + e_j`, in gains
/// of a full service: f_j for the time itself, and more and more of it the longer the queue becomes. In
/// fleets e_j is what it costs them that server j will have the model of this request loaded, and no
/// longer the one that it drives out; it may be below zero. f and h are the softplus of outputs of a
/// multi-layer perceptron that sees server j, the cluster and the traffic. It is the same for every server.
#[derive(Clone, Debug, PartialEq)]
pub struct PriceNetwork {
    clusters: Clusters,
    network: Mlp,
}

/// The prices of all servers, with the buffers in which they are computed.
#[derive(Clone, Debug, Default)]
pub(crate) struct Prices {
    /// A column of one value per server for each unit of a layer, filled up to whole [`LANES`]; in the
    /// end f_j, then h_j, then e_j.
    columns: Vec<f32>,
    next: Vec<f32>,
    start: Vec<f32>,
    width: usize,
}

/// What a job on a server costs others, by the share q of a full service that it takes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Price {
    f: f64,
    h: f64,
    e: f64,
}

impl Price {
    /// `q (f + h q)`: of the time alone, in gains of a full service.
    pub(crate) fn of_time(self, share: f64) -> f64 {
        share * (self.f + self.h * share)
    }

    /// `q (f + h q) + e`: of a run.
    pub(crate) fn of_run(self, share: f64) -> f64 {
        self.of_time(share) + self.e
    }

    /// e: of what will be loaded.
    pub(crate) fn of_models(self) -> f64 {
        self.e
    }
}

impl Prices {
    /// The price on one server.
    pub(crate) fn on(&self, server: usize) -> Price {
        let value = |output: usize| self.columns.get(output * self.width + server);
        let [f, h, e] = [0, 1, 2].map(|output| value(output).copied().map_or(0.0, f64::from));
        Price { f, h, e }
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
        let clusters = Clusters::Plain;
        let mut network = Mlp::new(&Self::sizes(clusters, hidden), generator);
        let parameters = network.parameters_mut();
        let biases = parameters.len() - clusters.outputs();
        parameters[biases..].copy_from_slice(&[-1.0, -2.0]);
        Self { clusters, network }
    }

    /// A network for fleets whose prices are those of a plain one: what it sees of models counts for
    /// nothing yet, and e is 0.
    pub fn for_fleets(plain: &Self) -> Self {
        let clusters = Clusters::Fleets;
        let sizes = plain.network.sizes();
        let hidden = &sizes[1..sizes.len() - 1];
        let mut parameters = Vec::with_capacity(Self::parameter_count(clusters, hidden));
        let mut rest = plain.network.parameters();
        for (layer, pair) in sizes.windows(2).enumerate() {
            let (weights, after) = rest.split_at(pair[0] * pair[1]);
            let (biases, after) = after.split_at(pair[1]);
            rest = after;
            let last = layer + 2 == sizes.len();
            let widened = |row: &[f32]| [row, &[0.0][..usize::from(last)]].concat();
            for (input, row) in weights.chunks_exact(pair[1]).enumerate() {
                if layer == 0 && input == SERVER_INPUTS {
                    parameters.extend(vec![0.0; MODEL_INPUTS * pair[1]]);
                }
                parameters.extend(widened(row));
            }
            if layer == 0 {
                parameters.extend(vec![0.0; FLEET_INPUTS * pair[1]]);
            }
            parameters.extend(widened(biases));
        }
        Self::from_parameters(clusters, hidden, parameters).expect("as many as the sizes say")
    }

    /// A network from stored parameters, in the order of an [`Mlp`]; `None` unless there are
    /// [`PriceNetwork::parameter_count`] of them.
    pub fn from_parameters(
        clusters: Clusters,
        hidden: &[usize],
        parameters: Vec<f32>,
    ) -> Option<Self> {
        let network = Mlp::from_parameters(&Self::sizes(clusters, hidden), parameters)?;
        Some(Self { clusters, network })
    }

    /// How many parameters a network with these hidden layers has.
    pub fn parameter_count(clusters: Clusters, hidden: &[usize]) -> usize {
        parameter_count(&Self::sizes(clusters, hidden))
    }

    fn sizes(clusters: Clusters, hidden: &[usize]) -> Vec<usize> {
        [&[clusters.inputs()], hidden, &[clusters.outputs()]].concat()
    }

    /// What it sets prices for.
    pub fn clusters(&self) -> Clusters {
        self.clusters
    }

    /// The perceptron: its first two outputs go through a softplus.
    pub fn perceptron(&self) -> &Mlp {
        &self.network
    }

    /// The perceptron, for the optimiser.
    pub(crate) fn perceptron_mut(&mut self) -> &mut Mlp {
        &mut self.network
    }

    /// Computes the prices of all servers.
    pub(crate) fn forward(&self, features: &Features, prices: &mut Prices) {
        let servers = features.speed.len();
        let mut rest = self.network.parameters();
        let Prices { columns: x, next: y, start, width } = prices;
        *width = servers.next_multiple_of(LANES);
        let width = *width;
        x.clear();
        let server_inputs = self.clusters.server_inputs();
        for column in features.server.chunks_exact(servers).take(server_inputs) {
            x.extend_from_slice(column);
            x.resize(x.len() + width - servers, 0.0);
        }
        for (layer, pair) in self.network.sizes().windows(2).enumerate() {
            let (inputs, units) = (pair[0], pair[1]);
            let (mut weights, after) = rest.split_at(inputs * units);
            let (bias, after) = after.split_at(units);
            rest = after;
            start.clear();
            start.extend_from_slice(bias);
            if layer == 0 {
                // What the cluster adds is the same for all servers.
                let (server, cluster) = weights.split_at(server_inputs * units);
                weights = server;
                for (row, &z) in cluster.chunks_exact(units).zip(features.shared()) {
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
            // The third output is any number.
            Squash::Softplus => {
                for y in &mut self.y[..2 * self.width] {
                    *y = kernels::softplus(*y);
                }
            }
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

#[cfg(test)]
mod tests {
    use super::*;
    use scheduling::{
        Cluster, HostedModel, Hosting, Loaded, Model, Objective, Queues, Request, Seconds, Server,
        StepRate, TardinessPenalty, Time,
    };

    #[test]
    fn a_network_for_fleets_begins_with_the_prices_that_are_known() {
        let mut generator = Generator::new(1, scheduling::Purpose::Initialisation, 0);
        let plain = PriceNetwork::new(&[5, 6], &mut generator);
        let mut drawn = plain.perceptron().parameters().to_vec();
        for parameter in &mut drawn {
            *parameter += generator.normal() as f32;
        }
        let plain = PriceNetwork::from_parameters(Clusters::Plain, &[5, 6], drawn).unwrap();
        let fleets = PriceNetwork::for_fleets(&plain);
        let server = |index: u16| {
            let rate = StepRate::new(9.0).unwrap();
            let server = Server::new(format!("s{index}"), rate, Seconds::ZERO);
            let hosted = |model| HostedModel::on(&server, model, Seconds::of(7.0));
            let models = [Model(0), Model(1)].map(hosted).into();
            let loaded = Loaded::new(vec![Model(index % 2)]);
            let hosting = Some(Hosting { resident: 1, models, loaded });
            Server { hosting, ..server }
        };
        let cluster = Cluster::new((0..3).map(server).collect()).unwrap();
        let mut queues = Queues::new(&cluster);
        queues.set_free_at(1, Time::new(4.0).unwrap());
        let due = Time::new(9.0).unwrap();
        let request = Request::new(Time::ZERO, due, TardinessPenalty::Linear);
        let objective = Objective::default();
        let observation = queues.observe(Time::ZERO, &request, &objective);
        let mut features = Features::default();
        features.observe(&observation, Clusters::Fleets);
        let (mut known, mut first) = (Prices::default(), Prices::default());
        plain.forward(&features, &mut known);
        fleets.forward(&features, &mut first);
        for server in 0..3 {
            let [known, first] = [&known, &first].map(|prices| prices.on(server));
            assert_eq!((known.f, known.h, 0.0), (first.f, first.h, first.e));
        }
    }
}
