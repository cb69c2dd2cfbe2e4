//! The optimiser of Kingma and Ba (2015).

/// Adam with β₁ = 0.9, β₂ = 0.999 and ε = 1e-8.
#[derive(Clone, Debug, PartialEq)]
pub struct Adam {
    /// m: running mean of the gradient.
    pub first_moment: Vec<f32>,
    /// v: running mean of its square.
    pub second_moment: Vec<f32>,
    /// Updates so far.
    pub updates: u64,
}

impl Adam {
    /// An optimiser that has seen nothing yet, for so many parameters.
    pub fn new(parameters: usize) -> Self {
        Self {
            first_moment: vec![0.0; parameters],
            second_moment: vec![0.0; parameters],
            updates: 0,
        }
    }

    /// Moves the parameters one step against the gradient.
    pub fn update(&mut self, parameters: &mut [f32], gradient: &[f32], learning_rate: f64) {
        const BETA1: f64 = 0.9;
        const BETA2: f64 = 0.999;
        const EPSILON: f32 = 1e-8;
        self.updates += 1;
        let t = self.updates as i32;
        // The corrections of both running means for their start at zero.
        let step = (learning_rate / (1.0 - BETA1.powi(t))) as f32;
        let correction = (1.0 / (1.0 - BETA2.powi(t))) as f32;
        let moments = self.first_moment.iter_mut().zip(&mut self.second_moment);
        for ((parameter, g), (m, v)) in parameters.iter_mut().zip(gradient).zip(moments) {
            *m += (1.0 - BETA1) as f32 * (g - *m);
            *v += (1.0 - BETA2) as f32 * (g * g - *v);
            *parameter -= step * *m / ((*v * correction).sqrt() + EPSILON);
        }
    }
}
