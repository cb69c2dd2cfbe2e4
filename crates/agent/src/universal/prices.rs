//! The network that prices server time.

use pulp::{Arch, NullaryFnOnce};
use scheduling::Generator;

use super::familiar::Familiar;
use super::features::{CLUSTER_INPUTS, Features, SERVER_INPUTS};
use super::fleet::{MODEL_INPUTS, SHARED_MODEL_INPUTS};
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
            Self::Fleets => SERVER_INPUTS + MODEL_INPUTS + CLUSTER_INPUTS + SHARED_MODEL_INPUTS,
        }
    }

    /// Which input of a plain network an input of one for fleets is, if it is one.
    const fn plain_input(input: usize) -> Option<usize> {
        const AFTER_MODELS: usize = SERVER_INPUTS + MODEL_INPUTS;
        const END: usize = AFTER_MODELS + CLUSTER_INPUTS;
        match input {
            0..SERVER_INPUTS => Some(input),
            AFTER_MODELS..END => Some(input - MODEL_INPUTS),
            _ => None,
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
/// A job that takes the share q of a full service on server j costs them `σ_j q (f_j + h_j q) + σ̄ e_j`, in
/// gains of a full service, where σ_j grows with how late whoever comes next on server j will be: f_j for the time itself, and more and more of it the longer the queue becomes. In
/// fleets e_j is what it costs them that server j will have the model of this request loaded, and no
/// longer the one that it drives out; it may be below zero. f and h are the softplus of outputs of a
/// multi-layer perceptron that sees server j, the cluster and the traffic. It is the same for every server.
#[derive(Clone, Debug, PartialEq)]
pub struct PriceNetwork {
    clusters: Clusters,
    network: Mlp,
    /// What its inputs were in training; once that is done.
    familiar: Option<Familiar>,
}

/// f of a price without a network. With it for every server the agent is far from the best, and floods none.
const USUAL: f32 = 0.6;

/// The prices of all servers, with the buffers in which they are computed.
#[derive(Clone, Debug, Default)]
pub(crate) struct Prices {
    /// A row for each server with the values of a layer; in the end f_j, h_j and in fleets e_j.
    rows: Vec<f32>,
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

    /// e: of what will be loaded.
    pub(crate) fn of_models(self) -> f64 {
        self.e
    }
}

impl Prices {
    /// The price on one server.
    pub(crate) fn on(&self, server: usize) -> Price {
        let row = &self.rows[server * self.width..][..self.width];
        let [f, h, e] = [0, 1, 2].map(|output| row.get(output).copied().map_or(0.0, f64::from));
        Price { f, h, e }
    }

    /// Whether all of them are numbers.
    pub(crate) fn are_finite(&self) -> bool {
        self.rows.iter().all(|value| value.is_finite())
    }

    /// Makes server time at least so dear as is usual.
    pub(crate) fn raise(&mut self) {
        for row in self.rows.chunks_exact_mut(self.width) {
            row[0] = row[0].max(USUAL);
        }
    }

    /// Makes server time free.
    pub(crate) fn clear(&mut self) {
        self.rows.fill(0.0);
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
        Self { clusters, network, familiar: None }
    }

    /// A network for fleets whose prices are those of a plain one, with so many further units in each hidden
    /// layer: what it sees of models and what the further units say counts for nothing yet, and e is 0.
    pub fn for_fleets(plain: &Self, further_units: usize, generator: &mut Generator) -> Self {
        let clusters = Clusters::Fleets;
        let known = plain.network.sizes();
        let hidden: Vec<_> =
            known[1..known.len() - 1].iter().map(|units| units + further_units).collect();
        let mut network = Mlp::new(&Self::sizes(clusters, &hidden), generator);
        let sizes = network.sizes().to_vec();
        let (mut all, mut rest) = (network.parameters_mut(), plain.network.parameters());
        for (layer, (pair, known)) in sizes.windows(2).zip(known.windows(2)).enumerate() {
            let (weights, after) = std::mem::take(&mut all).split_at_mut(pair[0] * pair[1]);
            let (biases, after) = after.split_at_mut(pair[1]);
            all = after;
            let (known_weights, after) = rest.split_at(known[0] * known[1]);
            let (known_biases, after) = after.split_at(known[1]);
            rest = after;
            // Further units begin with weights of their own, and nobody listens to them yet.
            let fixed = if layer + 2 == sizes.len() { pair[1] } else { known[1] };
            for (input, row) in weights.chunks_exact_mut(pair[1]).enumerate() {
                row[..fixed].fill(0.0);
                let input = if layer == 0 { Clusters::plain_input(input) } else { Some(input) };
                if let Some(input) = input.filter(|&input| input < known[0]) {
                    let known_row = &known_weights[input * known[1]..][..known[1]];
                    row[..known[1]].copy_from_slice(known_row);
                }
            }
            biases[..known[1]].copy_from_slice(known_biases);
        }
        Self { clusters, network, familiar: None }
    }

    /// A network from stored parameters, in the order of an [`Mlp`]; `None` unless there are
    /// [`PriceNetwork::parameter_count`] of them.
    pub fn from_parameters(
        clusters: Clusters,
        hidden: &[usize],
        parameters: Vec<f32>,
    ) -> Option<Self> {
        let network = Mlp::from_parameters(&Self::sizes(clusters, hidden), parameters)?;
        Some(Self { clusters, network, familiar: None })
    }

    /// How many parameters a network with these hidden layers has.
    pub fn parameter_count(clusters: Clusters, hidden: &[usize]) -> usize {
        parameter_count(&Self::sizes(clusters, hidden))
    }

    fn sizes(clusters: Clusters, hidden: &[usize]) -> Vec<usize> {
        [&[clusters.inputs()], hidden, &[clusters.outputs()]].concat()
    }

    /// The same network, which knows what its inputs were in training.
    #[must_use]
    pub(crate) fn familiar_with(&self, familiar: &Familiar) -> Self {
        Self { familiar: Some(familiar.clone()), ..self.clone() }
    }

    /// The first input that never was like this in training.
    pub(crate) fn stranger(&self, features: &Features) -> Option<&'static str> {
        self.familiar.as_ref()?.stranger(features.shared())
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
        let Prices { rows: x, next: y, start, width } = prices;
        let server_inputs = self.clusters.server_inputs();
        x.resize(servers * server_inputs, 0.0);
        let columns = features.server.chunks_exact(servers).take(server_inputs).enumerate();
        for (input, column) in columns {
            for (row, &value) in x.chunks_exact_mut(server_inputs).zip(column) {
                row[input] = value;
            }
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
            y.resize(units * servers, 0.0);
            let squash = if rest.is_empty() { Squash::Softplus } else { Squash::Tanh };
            Arch::new().dispatch(Layer { weights, start, x, y, squash });
            std::mem::swap(x, y);
            *width = units;
        }
    }
}

/// What a layer's units go through.
#[derive(Clone, Copy)]
enum Squash {
    Tanh,
    Softplus,
}

/// A layer for all servers. No fused multiply-adds, so that an agent decides alike on every machine.
struct Layer<'a> {
    /// `inputs × units` in row-major order.
    weights: &'a [f32],
    /// What each unit starts from.
    start: &'a [f32],
    /// The inputs of each server, a row each.
    x: &'a [f32],
    /// The units of each server, likewise.
    y: &'a mut [f32],
    squash: Squash,
}

impl NullaryFnOnce for Layer<'_> {
    type Output = ();

    #[inline(always)]
    fn call(mut self) {
        let servers = self.y.len() / self.start.len();
        let mut server = 0;
        // A sum waits for the one before it: the more go side by side, the less time is lost.
        while server + 8 <= servers {
            self.servers::<8>(server);
            server += 8;
        }
        while server + 4 <= servers {
            self.servers::<4>(server);
            server += 4;
        }
        for server in server..servers {
            self.servers::<1>(server);
        }
        match self.squash {
            Squash::Tanh => kernels::tanh_inlined(self.y),
            Squash::Softplus => {
                for row in self.y.chunks_exact_mut(self.start.len()) {
                    // The third output is any number.
                    for y in &mut row[..2] {
                        *y = kernels::softplus(*y);
                    }
                }
            }
        }
    }
}

impl Layer<'_> {
    /// All units of N servers, as many at a time as registers hold.
    #[inline(always)]
    fn servers<const N: usize>(&mut self, first: usize) {
        let units = self.start.len();
        let mut unit = 0;
        while unit + 16 <= units {
            self.units::<N, 16>(first, unit);
            unit += 16;
        }
        for unit in unit..units {
            self.units::<N, 1>(first, unit);
        }
    }

    /// The sums of U units for N servers. Each is one chain of additions in the order of the inputs.
    #[inline(always)]
    fn units<const N: usize, const U: usize>(&mut self, server: usize, unit: usize) {
        let Self { weights, start, x, .. } = *self;
        let (units, inputs) = (start.len(), weights.len() / start.len());
        let x: [&[f32]; N] = std::array::from_fn(|n| &x[(server + n) * inputs..][..inputs]);
        let mut sums = [[0.0; U]; N];
        for sums in &mut sums {
            sums.copy_from_slice(&start[unit..unit + U]);
        }
        for (input, row) in weights.chunks_exact(units).enumerate() {
            let row = &row[unit..unit + U];
            for (sums, x) in sums.iter_mut().zip(x) {
                let x = x[input];
                for (sum, w) in sums.iter_mut().zip(row) {
                    *sum += w * x;
                }
            }
        }
        for (n, sums) in sums.iter().enumerate() {
            self.y[(server + n) * units + unit..][..U].copy_from_slice(sums);
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
        let fleets = PriceNetwork::for_fleets(&plain, 3, &mut generator);
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
