//! The few loops over numbers that decide how fast an agent acts and learns.
//!
//! Each is compiled for AVX-512, AVX2 and the baseline, and the best is chosen at run time. They add
//! in a fixed order without fused multiply-adds, so they give the same bits on each of them: a
//! checkpoint decides alike on every machine.

use faer::linalg::matmul::matmul;
use faer::{Accum, MatMut, MatRef, Par};
use pulp::{Arch, NullaryFnOnce};

/// y = b + x W for a single row x, with W `x.len() × y.len()` in row-major order.
pub(crate) fn affine(x: &[f32], weights: &[f32], bias: &[f32], y: &mut [f32]) {
    Arch::new().dispatch(Affine { x, weights, bias, y });
}

/// A type rather than a closure: only what is inlined into the dispatch is compiled for its
/// instruction set, and a closure's inlining cannot be forced.
struct Affine<'a> {
    x: &'a [f32],
    weights: &'a [f32],
    bias: &'a [f32],
    y: &'a mut [f32],
}

impl NullaryFnOnce for Affine<'_> {
    type Output = ();

    #[inline(always)]
    fn call(self) {
        let Self { x, weights, bias, y } = self;
        let n = y.len();
        y.copy_from_slice(bias);
        // Four rows of W at a time: y is loaded and stored a quarter as often.
        let (xs, rest) = x.as_chunks::<4>();
        for (&[x0, x1, x2, x3], rows) in xs.iter().zip(weights.chunks_exact(4 * n)) {
            let (w0, rows) = rows.split_at(n);
            let (w1, rows) = rows.split_at(n);
            let (w2, w3) = rows.split_at(n);
            for ((((y, w0), w1), w2), w3) in y.iter_mut().zip(w0).zip(w1).zip(w2).zip(w3) {
                *y = (((*y + x0 * w0) + x1 * w1) + x2 * w2) + x3 * w3;
            }
        }
        let done = (x.len() - rest.len()) * n;
        for (&x, row) in rest.iter().zip(weights[done..].chunks_exact(n)) {
            for (y, w) in y.iter_mut().zip(row) {
                *y += x * w;
            }
        }
    }
}

/// Y = b + X W for many rows.
pub(crate) fn affine_rows(x: &[f32], weights: &[f32], bias: &[f32], y: &mut [f32]) {
    for row in y.chunks_exact_mut(bias.len()) {
        row.copy_from_slice(bias);
    }
    let (inputs, outputs) = (weights.len() / bias.len(), bias.len());
    let rows = x.len() / inputs;
    matmul(
        MatMut::from_row_major_slice_mut(y, rows, outputs),
        Accum::Add,
        MatRef::from_row_major_slice(x, rows, inputs),
        MatRef::from_row_major_slice(weights, inputs, outputs),
        1.0,
        Par::Seq,
    );
}

/// dW += Xᵀ dY and db += Σ dY over the rows.
pub(crate) fn weight_gradient(x: &[f32], dy: &[f32], dw: &mut [f32], db: &mut [f32]) {
    let outputs = db.len();
    let inputs = dw.len() / outputs;
    let rows = dy.len() / outputs;
    matmul(
        MatMut::from_row_major_slice_mut(dw, inputs, outputs),
        Accum::Add,
        MatRef::from_row_major_slice(x, rows, inputs).transpose(),
        MatRef::from_row_major_slice(dy, rows, outputs),
        1.0,
        Par::Seq,
    );
    for row in dy.chunks_exact(outputs) {
        add(row, db);
    }
}

/// dX = dY Wᵀ.
pub(crate) fn input_gradient(dy: &[f32], weights: &[f32], outputs: usize) -> Vec<f32> {
    let inputs = weights.len() / outputs;
    let rows = dy.len() / outputs;
    let mut dx = vec![0.0; rows * inputs];
    matmul(
        MatMut::from_row_major_slice_mut(&mut dx, rows, inputs),
        Accum::Replace,
        MatRef::from_row_major_slice(dy, rows, outputs),
        MatRef::from_row_major_slice(weights, inputs, outputs).transpose(),
        1.0,
        Par::Seq,
    );
    dx
}

/// y += x
pub(crate) fn add(x: &[f32], y: &mut [f32]) {
    for (y, x) in y.iter_mut().zip(x) {
        *y += x;
    }
}

/// y = tanh(y)
pub(crate) fn tanh(y: &mut [f32]) {
    Arch::new().dispatch(Tanh(y));
}

struct Tanh<'a>(&'a mut [f32]);

impl NullaryFnOnce for Tanh<'_> {
    type Output = ();

    #[inline(always)]
    fn call(self) {
        for y in self.0 {
            // 1 − 2 / (e^2y + 1), exact to one unit in the last place of 1.
            *y = 1.0 - 2.0 / (exponential(2.0 * *y) + 1.0);
        }
    }
}

/// y = tanh(y), for callers that are dispatched already.
#[inline(always)]
pub(crate) fn tanh_inlined(y: &mut [f32]) {
    Tanh(y).call();
}

/// ln(1 + e^x), to about 1e-6 of itself.
#[inline(always)]
pub(crate) fn softplus(x: f32) -> f32 {
    let e = exponential(-x.abs());
    x.max(0.0) + log1p(e)
}

/// 1 / (1 + e^−x), the derivative of [`softplus`].
pub(crate) fn sigmoid(x: f32) -> f32 {
    1.0 / (1.0 + exponential(-x))
}

/// ln(1 + e) for e in 0..=1 by 2 artanh(e / (2 + e)).
#[inline(always)]
fn log1p(e: f32) -> f32 {
    // |z| ≤ 1/3
    let z = e / (2.0 + e);
    let s = z * z;
    let mut p = 1.0 / 13.0;
    for coefficient in [1.0 / 11.0, 1.0 / 9.0, 1.0 / 7.0, 1.0 / 5.0, 1.0 / 3.0, 1.0] {
        p = p * s + coefficient;
    }
    2.0 * z * p
}

/// dy = dy · tanh', where y = tanh(·) and tanh' = 1 − y².
pub(crate) fn tanh_gradient(y: &[f32], dy: &mut [f32]) {
    for (dy, y) in dy.iter_mut().zip(y) {
        *dy *= 1.0 - y * y;
    }
}

/// Turns logits into unnormalised probabilities e^(z − max z) and returns their sum and max z.
pub(crate) fn exponentials(logits: &mut [f32]) -> (f32, f32) {
    Arch::new().dispatch(Exponentials(logits))
}

struct Exponentials<'a>(&'a mut [f32]);

impl NullaryFnOnce for Exponentials<'_> {
    type Output = (f32, f32);

    #[inline(always)]
    fn call(self) -> (f32, f32) {
        let largest = fold(self.0, f32::NEG_INFINITY, f32::max);
        for z in &mut *self.0 {
            *z = exponential(*z - largest);
        }
        (fold(self.0, 0.0, |a, b| a + b), largest)
    }
}

/// A reduction in 16 interleaved parts: vector registers can hold them, and the order of the
/// operations is the same on every machine.
#[inline(always)]
fn fold(values: &[f32], start: f32, combine: impl Fn(f32, f32) -> f32 + Copy) -> f32 {
    let (chunks, rest) = values.as_chunks::<16>();
    let mut parts = [start; 16];
    for chunk in chunks {
        for (part, &value) in parts.iter_mut().zip(chunk) {
            *part = combine(*part, value);
        }
    }
    let whole = parts.into_iter().fold(start, combine);
    rest.iter().copied().fold(whole, combine)
}

/// e^x to about 1e-7, after Cephes; saturates at e^±87.
#[inline(always)]
fn exponential(x: f32) -> f32 {
    // Adding 1.5 · 2²³ rounds to a whole number n and leaves n, and the exponent's bias with it, in
    // the low bits.
    const ROUND: f32 = 12_582_912.0 + 127.0;
    let x = x.clamp(-87.0, 87.0);
    let shifted = x * std::f32::consts::LOG2_E + ROUND;
    let n = shifted - ROUND;
    let r = (x - n * 0.693_359_4) - n * -2.121_944_4e-4;
    let mut p = 1.987_569_2e-4;
    for coefficient in [1.398_2e-3, 8.333_452e-3, 4.166_579_6e-2, 1.666_666_5e-1, 0.5] {
        p = p * r + coefficient;
    }
    let power_of_two = f32::from_bits(shifted.to_bits() << 23);
    (p * r * r + r + 1.0) * power_of_two
}

#[cfg(test)]
mod tests {
    use super::*;
    use scheduling::{Generator, Purpose};

    fn normals(n: usize, seed: u64) -> Vec<f32> {
        let mut generator = Generator::new(seed, Purpose::Search, 0);
        (0..n).map(|_| generator.normal() as f32).collect()
    }

    fn close(a: &[f32], b: &[f32]) {
        assert_eq!(a.len(), b.len());
        for (i, (a, b)) in a.iter().zip(b).enumerate() {
            assert!((a - b).abs() < 1e-4 * (1.0 + b.abs()), "entry {i}: {a} and {b}");
        }
    }

    #[test]
    fn exponential_and_tanh_are_accurate() {
        for i in -8600..=8600 {
            let x = i as f32 / 100.0;
            let exact = f64::from(x).exp();
            let relative = (f64::from(exponential(x)) / exact - 1.0).abs();
            assert!(relative < 3e-7, "exp({x}): {relative}");
            let mut y = [x];
            tanh(&mut y);
            assert!((f64::from(y[0]) - f64::from(x).tanh()).abs() < 2e-7, "tanh({x})");
        }
        assert!(exponential(-1e9) < 1e-37);
        assert!(exponential(1e9).is_finite());
    }

    #[test]
    fn one_row_and_many_rows_agree() {
        for (rows, inputs, outputs) in [(1, 1, 1), (3, 12, 128), (7, 13, 210), (5, 128, 37)] {
            let (x, w) = (normals(rows * inputs, 1), normals(inputs * outputs, 2));
            let b = normals(outputs, 3);
            let mut many = vec![0.0; rows * outputs];
            affine_rows(&x, &w, &b, &mut many);
            let mut single = vec![0.0; rows * outputs];
            for (x, y) in x.chunks(inputs).zip(single.chunks_mut(outputs)) {
                affine(x, &w, &b, y);
            }
            close(&single, &many);
            for (o, y) in single[..outputs].iter().enumerate() {
                let plain: f32 = (0..inputs).map(|i| x[i] * w[i * outputs + o]).sum();
                close(&[*y], &[plain + b[o]]);
            }
        }
    }

    #[test]
    fn softmax_sums_to_one() {
        let logits = normals(210, 4);
        let mut p = logits.clone();
        let (sum, largest) = exponentials(&mut p);
        assert_eq!(largest, logits.iter().copied().fold(f32::MIN, f32::max));
        let total: f32 = p.iter().map(|p| p / sum).sum();
        assert!((total - 1.0).abs() < 1e-5, "{total}");
    }
}
