//! DDPM and DDIM sampling.

use std::sync::Arc;

use scheduling::{Generator, Purpose, Steps};
use serde::{Deserialize, Serialize};

use super::pictures::PictureSet;

/// How a step goes from one noise level to the next.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Method {
    /// Deterministic (Song et al. 2021, η = 0).
    Ddim,
    /// Ancestral (Ho et al. 2020, η = 1): fresh noise in every step.
    Ddpm,
}

/// Noise levels of the training process: β from 10⁻⁴ to 0.02 over 1000 levels, as in DDPM.
const LEVELS: usize = 1000;

/// ᾱ at each level; level 0 is the clean picture.
fn alpha_bars() -> [f64; LEVELS + 1] {
    let mut alpha_bars = [1.0; LEVELS + 1];
    for level in 1..=LEVELS {
        let beta = 1e-4 + (0.02 - 1e-4) * (level - 1) as f64 / (LEVELS - 1) as f64;
        alpha_bars[level] = alpha_bars[level - 1] * (1.0 - beta);
    }
    alpha_bars
}

/// A picture on its way from noise.
pub struct Sampling {
    set: Arc<PictureSet>,
    method: Method,
    steps: usize,
    done: usize,
    alpha_bars: [f64; LEVELS + 1],
    picture: Vec<f32>,
    noise: Generator,
}

impl Sampling {
    /// Pure noise, to be denoised in `steps` steps.
    pub fn new(set: Arc<PictureSet>, method: Method, steps: Steps, seed: u64) -> Self {
        let mut noise = Generator::new(seed, Purpose::Picture, 1);
        let picture = (0..set.len()).map(|_| noise.normal() as f32).collect();
        let steps = steps.get() as usize;
        Self { set, method, steps, done: 0, alpha_bars: alpha_bars(), picture, noise }
    }

    /// Takes one step; after the last one nothing changes any more.
    pub fn step(&mut self) {
        if self.done == self.steps {
            return;
        }
        let level = |done: usize| LEVELS * (self.steps - done) / self.steps;
        let from = self.alpha_bars[level(self.done)];
        let to = self.alpha_bars[level(self.done + 1)];
        self.done += 1;
        let clean = self.set.denoise(&self.picture, from as f32);
        // σ of DDIM's eq. (16): 0, or that of the ancestral process.
        let sigma = match self.method {
            Method::Ddim => 0.0,
            Method::Ddpm => ((1.0 - to) / (1.0 - from) * (1.0 - from / to)).sqrt(),
        };
        let towards = (1.0 - to - sigma * sigma).max(0.0).sqrt();
        for (value, clean) in self.picture.iter_mut().zip(clean) {
            let clean = f64::from(clean);
            let noise = (f64::from(*value) - from.sqrt() * clean) / (1.0 - from).sqrt();
            let fresh = if sigma > 0.0 { sigma * self.noise.normal() } else { 0.0 };
            *value = (to.sqrt() * clean + towards * noise + fresh) as f32;
        }
    }

    /// Root of the mean square difference of what would be delivered, eight bits deep, to the
    /// nearest picture of the set. Values range over 2.
    pub fn distance(&self) -> f64 {
        let delivered: Vec<f32> = self.rgb().iter().map(|&b| f32::from(b) / 127.5 - 1.0).collect();
        self.set.distance(&delivered)
    }

    /// The nearest picture of the set to what would be delivered, three bytes per pixel.
    pub fn nearest_rgb(&self) -> Vec<u8> {
        let delivered: Vec<f32> = self.rgb().iter().map(|&b| f32::from(b) / 127.5 - 1.0).collect();
        rgb(&self.set.nearest_picture(&delivered))
    }

    /// Three bytes per pixel, row by row.
    pub fn rgb(&self) -> Vec<u8> {
        rgb(&self.picture)
    }
}

fn rgb(picture: &[f32]) -> Vec<u8> {
    picture.iter().map(|v| ((v + 1.0) * 127.5).round().clamp(0.0, 255.0) as u8).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Mean distance over a few seeds, after all steps.
    fn distance(method: Method, steps: u32) -> f64 {
        let set = Arc::new(PictureSet::of_prompt("a yellow ring on black", 64, 64));
        let total: f64 = (0..6)
            .map(|seed| {
                let steps = Steps::new(steps).unwrap();
                let mut sampling = Sampling::new(set.clone(), method, steps, seed);
                (0..steps.get()).for_each(|_| sampling.step());
                sampling.distance()
            })
            .sum();
        total / 6.0
    }

    #[test]
    fn more_steps_come_closer() {
        for method in [Method::Ddim, Method::Ddpm] {
            let distances = [1, 3, 10, 30, 100].map(|steps| distance(method, steps));
            assert!(distances.is_sorted_by(|a, b| a > b), "{method:?}: {distances:?}");
        }
    }

    #[test]
    fn the_seed_alone_decides_the_picture() {
        let paint = |seed| {
            let set = Arc::new(PictureSet::of_prompt("a cross", 32, 32));
            let mut s = Sampling::new(set, Method::Ddpm, Steps::new(8).unwrap(), seed);
            (0..9).for_each(|_| s.step());
            s.rgb()
        };
        assert_eq!(paint(1), paint(1));
        assert_ne!(paint(1), paint(2));
    }
}
