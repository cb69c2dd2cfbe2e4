//! How much quality steps bring: how near a picture with few steps comes to the same with many.

use image::RgbImage;
use image_compare::{Algorithm, rgb_similarity_structure};
use scheduling::Steps;

use super::{Bench, CalibrationError};
use crate::config::{Config, ServerConfig};
use crate::gateway::BackendFactory;

/// What was measured of a model; of what a server draws with where there are none.
#[derive(Clone, Debug, PartialEq)]
pub struct Quality {
    /// Name of the model.
    pub model: Option<String>,
    /// The server that painted.
    pub server: String,
    /// Steps and the structural similarity to the finished picture, in percent, the median of several; ascending.
    pub points: Vec<(Steps, f64)>,
}

impl Quality {
    /// What pictures with two thirds of the steps have in common with those of all, at least, if the sampler
    /// converges. Pictures of ancestral samplers go on changing however many steps they get.
    const SETTLED: f64 = 90.0;

    /// Whether the pictures settle as steps grow. Otherwise the similarity says nothing about quality.
    pub fn settles(&self) -> bool {
        matches!(self.points[..], [.., (_, last_but_one), _] if last_but_one >= Self::SETTLED)
    }
}

/// What is painted; an odd number, for the median.
const PROMPTS: [&str; 9] = [
    "a red circle on blue",
    "a street market at noon, many people",
    "a portrait of an old man",
    "a green cross on white",
    "mountains in fog",
    "a yellow ring",
    "a cat asleep on a chair",
    "a city at night",
    "an oak in winter",
];
/// Steps of the pictures, each half as many again as the one before, or more.
const STEPS: [u32; 8] = [4, 6, 10, 16, 25, 40, 64, 100];
/// The same for models that are finished after a few steps.
const FEW_STEPS: [u32; 7] = [1, 2, 3, 4, 6, 9, 16];

/// Measures the quality of each model, on the fastest of the servers that host it, with `told` hearing after
/// each picture how far it is: the model, pictures painted and to be painted.
///
/// # Errors
/// [`CalibrationError`] at the first run that fails.
pub async fn measure_quality(
    config: &Config,
    backends: &BackendFactory,
    mut told: impl FnMut(Option<&str>, usize, usize),
) -> Result<Vec<Quality>, CalibrationError> {
    let models: Vec<Option<&str>> = match &config.models[..] {
        [] => vec![None],
        models => models.iter().map(|model| Some(model.name.get_ref().as_str())).collect(),
    };
    let mut all = Vec::new();
    for model in models {
        all.push(of_model(config, backends, model, &mut told).await?);
    }
    Ok(all)
}

async fn of_model(
    config: &Config,
    backends: &BackendFactory,
    model: Option<&str>,
    told: &mut impl FnMut(Option<&str>, usize, usize),
) -> Result<Quality, CalibrationError> {
    let server = fastest(config, model);
    let name = server.name.get_ref();
    let failed = |problem| CalibrationError { server: name.clone(), problem };
    let mut bench = Bench::new(config, backends, server)?;
    let steps = steps_for(config, model);
    let (mut likeness, mut painted) = (vec![Vec::new(); steps.len()], 0);
    let named = model.map(String::from);
    for (seed, prompt) in (1_000..).zip(PROMPTS) {
        let mut pictures = Vec::new();
        for &of in &steps {
            bench.seed = seed;
            let png = bench.paint(named.as_ref(), prompt, of).await.map_err(failed)?;
            pictures.push(decoded(&png).map_err(failed)?);
            painted += 1;
            told(model, painted, PROMPTS.len() * steps.len());
        }
        for (position, likeness) in likeness.iter_mut().enumerate() {
            likeness.push(to_its_end(position, &steps, &pictures));
        }
    }
    let points = steps.into_iter().zip(likeness.into_iter().map(median)).collect();
    Ok(Quality { model: named, server: name.clone(), points })
}

/// How near a picture comes to what it is on the way to, in percent: the most like it of the same with four times as
/// many steps, or with the most. Now and then a few more steps lead to another picture altogether, and what was on the
/// way to the one must not be judged by the other alone.
fn to_its_end(position: usize, steps: &[Steps], pictures: &[RgbImage]) -> f64 {
    let last = steps.len() - 1;
    let far = |&other: &usize| steps[other].get() >= 4 * steps[position].get() || other == last;
    let ends = (position + 1..=last).filter(far);
    let likeness = ends.map(|other| similarity(&pictures[position], &pictures[other]));
    likeness.reduce(f64::max).unwrap_or(100.0)
}

/// The server that paints a model soonest.
fn fastest<'a>(config: &'a Config, model: Option<&str>) -> &'a ServerConfig {
    let rate = |server: &ServerConfig| {
        let hosted = model.and_then(|model| server.models.get(model));
        let own = server.steps_per_second;
        hosted.map_or(own, |hosted| hosted.speed(server).rate).steps_per_second()
    };
    let hosting = config.servers.iter().filter(|s| model.is_none_or(|m| s.models.contains_key(m)));
    let fastest = hosting.max_by(|a, b| rate(a).total_cmp(&rate(b)));
    fastest.expect("a configuration has servers, and one for each model")
}

/// The steps to paint with: fewer where the model is not to be given many.
fn steps_for(config: &Config, model: Option<&str>) -> Vec<Steps> {
    let most = match model.and_then(|model| config.model(model)) {
        Some(model) => config.models[model.index()].max_steps,
        None => config.servers.iter().filter_map(|server| server.max_steps).max(),
    };
    let few = most.is_some_and(|most| most.get() <= 12);
    let steps = if few { &FEW_STEPS[..] } else { &STEPS };
    steps.iter().map(|&steps| Steps::saturating(f64::from(steps))).collect()
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_unstable_by(f64::total_cmp);
    values[values.len() / 2]
}

fn decoded(png: &[u8]) -> Result<RgbImage, String> {
    let picture = image::load_from_memory_with_format(png, image::ImageFormat::Png);
    Ok(picture.map_err(|e| e.to_string())?.into_rgb8())
}

/// Mean structural similarity (MSSIM, Wang et al. 2004, in windows of 8 × 8 pixels), in percent: 100 of the same
/// picture.
fn similarity(a: &RgbImage, b: &RgbImage) -> f64 {
    let compared = rgb_similarity_structure(&Algorithm::MSSIMSimple, a, b);
    100.0 * compared.expect("they were asked for in one size").score
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::backends::demo::{Method, PictureSet, Sampling};

    fn config(method: &str) -> Config {
        let text = format!(
            "[defaults]\nwidth = 64\nheight = 64\n[[server]]\nname = \"painter\"\nsteps_per_second = 100000.0\n\
             backend = {{ kind = \"demo\", method = \"{method}\" }}\n"
        );
        Config::parse("x.toml", &text).unwrap()
    }

    async fn measured(method: &str) -> Quality {
        let backends: BackendFactory = Arc::new(crate::config::connect);
        measure_quality(&config(method), &backends, |_, _, _| ()).await.unwrap().remove(0)
    }

    #[tokio::test]
    async fn the_painters_own_curve_is_found() {
        let quality = measured("ddim").await;
        let known = |steps: Steps| {
            let likeness = (1_000..).zip(PROMPTS).map(|(seed, prompt)| {
                let set = Arc::new(PictureSet::of_prompt(prompt, 64, 64));
                let mut sampling = Sampling::new(set, Method::Ddim, steps, seed);
                (0..steps.get()).for_each(|_| sampling.step());
                let rgb = |values: Vec<u8>| RgbImage::from_raw(64, 64, values).unwrap();
                similarity(&rgb(sampling.rgb()), &rgb(sampling.nearest_rgb()))
            });
            median(likeness.collect())
        };
        // Two percent at five to eighty steps; see the painter's table in docs/gateway.md.
        for &(steps, found) in quality.points.iter().filter(|(steps, _)| steps.get() >= 5) {
            let known = known(steps);
            assert!(
                (found - known).abs() < 2.0,
                "{steps:?}: {found} is measured, {known} is known"
            );
        }
        assert!(quality.settles());
        assert!(!measured("ddpm").await.settles());
    }
}
