//! Measures the built-in painter: quality and computing time against steps.
//!
//! Quality is the peak signal-to-noise ratio, in dB, against the nearest picture of the set that
//! the prompt selects, and beside it the structural similarity to that, in percent, which is what `atelier
//! calibrate --quality` measures without knowing it: `cargo run --release -p gateway --example demo_curve`.

use std::sync::Arc;
use std::time::Instant;

use gateway::backends::demo::{Method, PictureSet, Sampling};
use image::RgbImage;
use image_compare::{Algorithm, rgb_similarity_structure};
use scheduling::Steps;

const PROMPTS: [&str; 3] = ["a red circle on blue", "a yellow ring", "something on white"];
const SEEDS: u64 = 4;

fn main() -> Result<(), scheduling::OutOfRange> {
    let sets = PROMPTS.map(|prompt| Arc::new(PictureSet::of_prompt(prompt, 128, 128)));
    println!("method,steps,quality_db,likeness,seconds,seconds_per_step");
    for method in [Method::Ddim, Method::Ddpm] {
        for steps in [1, 2, 3, 5, 8, 12, 20, 30, 50, 80, 120, 200] {
            let (mut decibel, mut likeness, mut seconds) = (0.0, 0.0, Vec::new());
            for set in &sets {
                for seed in 0..SEEDS {
                    let mut sampling = Sampling::new(set.clone(), method, Steps::new(steps)?, seed);
                    let start = Instant::now();
                    (0..steps).for_each(|_| sampling.step());
                    seconds.push(start.elapsed().as_secs_f64());
                    // Values range over 2.
                    decibel += 20.0 * (2.0 / sampling.distance().max(1e-6)).log10();
                    likeness += similarity(sampling.rgb(), sampling.nearest_rgb());
                }
            }
            decibel /= seconds.len() as f64;
            likeness *= 100.0 / seconds.len() as f64;
            seconds.sort_by(f64::total_cmp);
            let median = seconds[seconds.len() / 2];
            let each = median / f64::from(steps);
            println!("{method:?},{steps},{decibel:.2},{likeness:.1},{median:.4},{each:.5}");
        }
    }
    Ok(())
}

fn similarity(a: Vec<u8>, b: Vec<u8>) -> f64 {
    let [a, b] =
        [a, b].map(|rgb| RgbImage::from_raw(128, 128, rgb).expect("three bytes per pixel"));
    rgb_similarity_structure(&Algorithm::MSSIMSimple, &a, &b).expect("of one size").score
}
