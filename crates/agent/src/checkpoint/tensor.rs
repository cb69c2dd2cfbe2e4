//! Tensors as they stand in the file of the weights.

use std::borrow::Cow;

use safetensors::{Dtype, SafeTensors, View};

/// A tensor as safetensors wants it.
pub struct Tensor {
    shape: Vec<usize>,
    bytes: Vec<u8>,
}

impl Tensor {
    pub(crate) fn new(shape: Vec<usize>, values: &[f32]) -> Self {
        Self { shape, bytes: values.iter().flat_map(|value| value.to_le_bytes()).collect() }
    }
}

impl View for Tensor {
    fn dtype(&self) -> Dtype {
        Dtype::F32
    }
    fn shape(&self) -> &[usize] {
        &self.shape
    }
    fn data(&self) -> Cow<'_, [u8]> {
        Cow::Borrowed(&self.bytes)
    }
    fn data_len(&self) -> usize {
        self.bytes.len()
    }
}

/// Appends the numbers of the tensor of that name and shape.
pub(crate) fn read_values(
    tensors: &SafeTensors<'_>,
    name: &str,
    shape: &[usize],
    values: &mut Vec<f32>,
) -> Result<(), String> {
    let tensor = tensors.tensor(name).map_err(|error| format!("{name}: {error}"))?;
    if tensor.shape() != shape || tensor.dtype() != Dtype::F32 {
        let (dtype, found) = (tensor.dtype(), tensor.shape());
        return Err(format!("{name} is {dtype:?} {found:?}: expected F32 {shape:?}"));
    }
    let (numbers, _) = tensor.data().as_chunks::<4>();
    values.extend(numbers.iter().map(|&bytes| f32::from_le_bytes(bytes)));
    Ok(())
}

/// Weights and biases of each layer in a vector of parameters, with the shape of the weights.
pub(crate) fn layers<'a>(
    sizes: &'a [usize],
    mut values: &'a [f32],
) -> impl Iterator<Item = (usize, Vec<usize>, &'a [f32], &'a [f32])> {
    sizes.windows(2).enumerate().map(move |(layer, pair)| {
        let (weights, rest) = values.split_at(pair[0] * pair[1]);
        let (bias, rest) = rest.split_at(pair[1]);
        values = rest;
        (layer, pair.to_vec(), weights, bias)
    })
}
