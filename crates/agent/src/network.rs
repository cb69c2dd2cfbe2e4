//! A multi-layer perceptron with its gradient, written out.

use scheduling::Generator;

use crate::kernels;

/// Fully connected layers with tanh between them and a linear last layer.
///
/// All parameters stand in one vector, layer after layer: the weights `inputs × outputs` in
/// row-major order, then the biases. Gradients have the same form.
#[derive(Clone, Debug, PartialEq)]
pub struct Mlp {
    sizes: Vec<usize>,
    parameters: Vec<f32>,
}

/// What the layers of an [`Mlp`] gave for some rows; the gradient needs it.
#[derive(Clone, Debug, Default)]
pub struct Activations {
    /// Output of each layer, `rows × outputs`.
    layers: Vec<Vec<f32>>,
}

impl Activations {
    /// Output of the last layer, `rows × outputs`.
    pub fn output(&self) -> &[f32] {
        self.layers.last().map_or(&[], |layer| layer)
    }
}

impl Mlp {
    /// Weights drawn from a normal distribution with variance 1 / inputs (so that activations keep
    /// their scale through tanh), biases zero. Those of the last layer are a hundred times smaller:
    /// a policy starts near uniform and a value near zero.
    pub fn new(sizes: &[usize], generator: &mut Generator) -> Self {
        let mut parameters = Vec::new();
        for (layer, pair) in sizes.windows(2).enumerate() {
            let last = layer + 2 == sizes.len();
            let scale = if last { 0.01 } else { 1.0 } / (pair[0] as f64).sqrt();
            let weights = pair[0] * pair[1];
            parameters.extend((0..weights).map(|_| (scale * generator.normal()) as f32));
            parameters.extend(std::iter::repeat_n(0.0, pair[1]));
        }
        Self { sizes: sizes.to_vec(), parameters }
    }

    /// A network from stored parameters; `None` unless there are as many as the sizes ask for.
    pub fn from_parameters(sizes: &[usize], parameters: Vec<f32>) -> Option<Self> {
        (parameters.len() == parameter_count(sizes))
            .then(|| Self { sizes: sizes.to_vec(), parameters })
    }

    /// Width of the input, of each hidden layer and of the output.
    pub fn sizes(&self) -> &[usize] {
        &self.sizes
    }

    /// All parameters, in the order that the type describes.
    pub fn parameters(&self) -> &[f32] {
        &self.parameters
    }

    /// The parameters, for the optimiser.
    pub(crate) fn parameters_mut(&mut self) -> &mut [f32] {
        &mut self.parameters
    }

    /// The outputs for one or more rows of inputs, left in the activations.
    pub fn forward<'a>(&self, inputs: &[f32], activations: &'a mut Activations) -> &'a mut [f32] {
        let rows = inputs.len() / self.sizes[0];
        // A single row is not worth the packing that a matrix product does.
        let affine = if rows == 1 { kernels::affine } else { kernels::affine_rows };
        let depth = self.sizes.len() - 1;
        activations.layers.resize_with(depth, Vec::new);
        let mut offset = 0;
        for layer in 0..depth {
            let (n, m) = (self.sizes[layer], self.sizes[layer + 1]);
            let (weights, bias) = self.parameters[offset..offset + (n + 1) * m].split_at(n * m);
            offset += (n + 1) * m;
            let (before, output) = activations.layers.split_at_mut(layer);
            let output = &mut output[0];
            output.resize(rows * m, 0.0);
            affine(before.last().map_or(inputs, |layer| layer), weights, bias, output);
            if layer + 1 < depth {
                kernels::tanh(output);
            }
        }
        &mut activations.layers[depth - 1]
    }

    /// Adds to `gradient` that of a loss whose derivative by the outputs is `d_output`, for the rows
    /// of the last [`Mlp::forward`] on `inputs`.
    pub fn backward(
        &self,
        inputs: &[f32],
        activations: &Activations,
        mut d_output: Vec<f32>,
        gradient: &mut [f32],
    ) {
        let mut end = self.parameters.len();
        for layer in (0..self.sizes.len() - 1).rev() {
            let (n, m) = (self.sizes[layer], self.sizes[layer + 1]);
            let start = end - (n + 1) * m;
            let (dw, db) = gradient[start..end].split_at_mut(n * m);
            let Some(before) = layer.checked_sub(1) else {
                kernels::weight_gradient(inputs, &d_output, dw, db);
                break;
            };
            let input = &activations.layers[before];
            kernels::weight_gradient(input, &d_output, dw, db);
            let weights = &self.parameters[start..start + n * m];
            d_output = kernels::input_gradient(&d_output, weights, m);
            kernels::tanh_gradient(input, &mut d_output);
            end = start;
        }
    }
}

/// How many parameters an [`Mlp`] of these sizes has.
pub fn parameter_count(sizes: &[usize]) -> usize {
    sizes.windows(2).map(|pair| (pair[0] + 1) * pair[1]).sum()
}

/// Whether hidden layers are few and narrow enough that sizes stay far from overflow.
pub(crate) fn check_hidden(hidden: &[usize]) -> Result<(), String> {
    if hidden.len() > 8 {
        return Err(format!("hidden has {} layers: allowed are up to 8", hidden.len()));
    }
    if hidden.iter().any(|units| !(1..=4096).contains(units)) {
        return Err(format!("hidden is {hidden:?}: allowed are layers of 1 to 4096 units"));
    }
    Ok(())
}

/// Whether so many parameters fit into memory with their gradients on any machine that trains.
pub(crate) fn check_parameters(parameters: usize) -> Result<(), String> {
    /// 32 million.
    const MOST: usize = 1 << 25;
    if parameters > MOST {
        return Err(format!(
            "hidden asks for networks of {parameters} parameters: allowed are up to {MOST}"
        ));
    }
    Ok(())
}
