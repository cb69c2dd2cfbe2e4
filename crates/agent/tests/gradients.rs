//! The gradients written by hand, against finite differences and against a library.

use agent::{Activations, Actor, Mlp, Update};
use proptest::prelude::*;
use scheduling::{Decision, Generator, Purpose, Steps};
use serde::Deserialize;

/// The outputs of a network in double precision, written anew.
fn forward(sizes: &[usize], parameters: &[f64], input: &[f64]) -> Vec<f64> {
    let mut values = input.to_vec();
    let mut offset = 0;
    for (layer, pair) in sizes.windows(2).enumerate() {
        let (n, m) = (pair[0], pair[1]);
        let bias = &parameters[offset + n * m..][..m];
        values = (0..m)
            .map(|o| {
                let dot: f64 = (0..n).map(|i| values[i] * parameters[offset + i * m + o]).sum();
                let z = dot + bias[o];
                if layer + 2 < sizes.len() { z.tanh() } else { z }
            })
            .collect();
        offset += (n + 1) * m;
    }
    values
}

fn log_softmax(z: &[f64]) -> Vec<f64> {
    let largest = z.iter().copied().fold(f64::MIN, f64::max);
    let sum: f64 = z.iter().map(|z| (z - largest).exp()).sum();
    z.iter().map(|z| z - largest - sum.ln()).collect()
}

/// −advantage · log π(a | s) − entropy · H(π(· | s)), summed over the rows.
fn loss(case: &Case, parameters: &[f64]) -> f64 {
    let rows = case.inputs.chunks(case.sizes[0]).zip(&case.actions).zip(&case.updates);
    rows.map(|((input, action), update)| {
        let input: Vec<f64> = input.iter().map(|&x| f64::from(x)).collect();
        let z = forward(&case.sizes, parameters, &input);
        let (servers, steps) = z.split_at(case.servers);
        let mut loss = 0.0;
        for (z, a) in [(servers, action.server), (steps, action.steps.index())] {
            let log_p = log_softmax(z);
            let entropy: f64 = -log_p.iter().map(|l| l.exp() * l).sum::<f64>();
            loss -= f64::from(update.advantage) * log_p[a] + f64::from(update.entropy) * entropy;
        }
        loss
    })
    .sum()
}

struct Case {
    sizes: Vec<usize>,
    servers: usize,
    parameters: Vec<f32>,
    inputs: Vec<f32>,
    actions: Vec<Decision>,
    updates: Vec<Update>,
}

impl Case {
    fn draw(seed: u64, servers: usize, rows: usize) -> Self {
        let mut draw = Generator::new(seed, Purpose::Search, 0);
        let sizes = vec![servers + 2, 5, 4, servers + Steps::COUNT];
        let count = agent::parameter_count(&sizes);
        Self {
            servers,
            parameters: (0..count).map(|_| 0.5 * draw.normal() as f32).collect(),
            inputs: (0..rows * sizes[0]).map(|_| draw.normal() as f32).collect(),
            actions: (0..rows)
                .map(|_| Decision {
                    server: draw.below(servers),
                    steps: Steps::from_index(draw.below(Steps::COUNT)),
                })
                .collect(),
            updates: (0..rows)
                .map(|_| Update { advantage: draw.normal() as f32, entropy: draw.uniform() as f32 })
                .collect(),
            sizes,
        }
    }

    fn gradient(&self) -> Vec<f32> {
        let network = Mlp::from_parameters(&self.sizes, self.parameters.clone()).unwrap();
        let actor = Actor::from_network(network, self.servers).unwrap();
        let mut gradient = vec![0.0; self.parameters.len()];
        actor.policy_gradient(
            &self.inputs,
            &self.actions,
            &self.updates,
            &mut Activations::default(),
            &mut gradient,
        );
        gradient
    }
}

fn close(found: &[f32], expected: impl IntoIterator<Item = f64>) {
    for (i, (&found, expected)) in found.iter().zip(expected).enumerate() {
        let error = (f64::from(found) - expected).abs();
        assert!(error < 2e-5 * (1.0 + expected.abs()), "entry {i}: {found}, expected {expected}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(8))]
    #[test]
    fn the_actors_gradient_is_that_of_finite_differences(
        seed in any::<u64>(), servers in 1usize..5, rows in 1usize..4,
    ) {
        let case = Case::draw(seed, servers, rows);
        let mut parameters: Vec<f64> = case.parameters.iter().map(|&p| f64::from(p)).collect();
        let differences: Vec<f64> = (0..parameters.len())
            .map(|i| {
                let p = parameters[i];
                parameters[i] = p + 1e-5;
                let above = loss(&case, &parameters);
                parameters[i] = p - 1e-5;
                let below = loss(&case, &parameters);
                parameters[i] = p;
                (above - below) / 2e-5
            })
            .collect();
        close(&case.gradient(), differences);
    }

    #[test]
    fn a_networks_gradient_is_that_of_finite_differences(seed in any::<u64>(), rows in 1usize..4) {
        let mut draw = Generator::new(seed, Purpose::Search, 0);
        let sizes = [3, 6, 5, 2];
        let network = Mlp::new(&sizes, &mut draw);
        let inputs: Vec<f32> = (0..rows * 3).map(|_| draw.normal() as f32).collect();
        let d_output: Vec<f32> = (0..rows * 2).map(|_| draw.normal() as f32).collect();
        let mut activations = Activations::default();
        network.forward(&inputs, &mut activations);
        let mut gradient = vec![0.0; network.parameters().len()];
        network.backward(&inputs, &activations, d_output.clone(), &mut gradient);

        let mut parameters: Vec<f64> =
            network.parameters().iter().map(|&p| f64::from(p)).collect();
        let weighted_output = |parameters: &[f64]| -> f64 {
            inputs.chunks(3).zip(d_output.chunks(2)).map(|(input, d)| {
                let input: Vec<f64> = input.iter().map(|&x| f64::from(x)).collect();
                let output = forward(&sizes, parameters, &input);
                output.iter().zip(d).map(|(y, &d)| y * f64::from(d)).sum::<f64>()
            }).sum()
        };
        let differences: Vec<f64> = (0..parameters.len())
            .map(|i| {
                let p = parameters[i];
                parameters[i] = p + 1e-5;
                let above = weighted_output(&parameters);
                parameters[i] = p - 1e-5;
                let below = weighted_output(&parameters);
                parameters[i] = p;
                (above - below) / 2e-5
            })
            .collect();
        close(&gradient, differences);
    }
}

/// The same loss and its gradient by automatic differentiation, written by `reference/gradients.py`.
#[derive(Deserialize)]
struct Reference {
    sizes: Vec<usize>,
    servers: usize,
    parameters: Vec<f32>,
    inputs: Vec<f32>,
    /// `[server, steps]`, both from 0.
    actions: Vec<[usize; 2]>,
    /// `[advantage, entropy]`
    updates: Vec<[f32; 2]>,
    gradient: Vec<f64>,
}

#[test]
fn the_actors_gradient_is_that_of_a_library() {
    let reference: Reference =
        serde_json::from_str(include_str!("reference/gradients.json")).unwrap();
    let case = Case {
        sizes: reference.sizes,
        servers: reference.servers,
        parameters: reference.parameters,
        inputs: reference.inputs,
        actions: (reference.actions.iter())
            .map(|&[server, steps]| Decision { server, steps: Steps::from_index(steps) })
            .collect(),
        updates: (reference.updates.iter())
            .map(|&[advantage, entropy]| Update { advantage, entropy })
            .collect(),
    };
    let gradient = case.gradient();
    assert_eq!(gradient.len(), reference.gradient.len());
    close(&gradient, reference.gradient);
}
