use std::fs;
use std::path::PathBuf;
use std::sync::Arc;

use anyhow::Context;
use experiments::{Fit, Measured as Points};
use gateway::calibrate::{
    Measured, Quality, calibrate, measure_quality as quality, write_curve, write_into,
};
use gateway::{BackendFactory, Config};
use tokio::runtime::Runtime;

use crate::commands::serve;
use crate::failure::Failure;
use crate::files::Destination;
use crate::output::say;
use crate::progress;

/// Measure the configured servers and write their speeds into the configuration.
///
/// Each server paints two pictures to warm up and six that are measured; the rest of the file stays
/// as it is.
#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// Configuration file (TOML).
    #[arg(long, default_value = "atelier.toml")]
    config: PathBuf,
    /// Measure the quality that steps bring instead, and write the curve of each model: how near pictures with 4
    /// to 64 steps come to the same with 100.
    #[arg(long)]
    quality: bool,
}

pub(crate) fn run(arguments: &Arguments) -> Result<(), Failure> {
    let config = serve::read(&arguments.config)?;
    let text = fs::read_to_string(&arguments.config)
        .with_context(|| format!("cannot read {}", arguments.config.display()))?;
    let out = Destination::open(&arguments.config)?;
    let runtime = Runtime::new().context("cannot start the threads")?;
    let connect: BackendFactory = Arc::new(gateway::config::connect);
    let measured = if arguments.quality {
        runtime.block_on(with_curves(&config, &connect, text))?
    } else {
        Some(runtime.block_on(with_speeds(&config, &connect, &text))?)
    };
    measured.map_or(Ok(()), |text| out.write(&text))
}

/// The text with the curves of those models whose pictures settle; none if there are no such.
async fn with_curves(
    config: &Config,
    connect: &BackendFactory,
    mut text: String,
) -> Result<Option<String>, Failure> {
    let bar = progress::bar("painting", 1);
    let measuring = quality(config, connect, |model, done, all| {
        bar.set_message(model.unwrap_or_default().to_owned());
        bar.set_length(all as u64);
        bar.set_position(done as u64);
    });
    let all = measuring.await.map_err(anyhow::Error::from)?;
    bar.finish_and_clear();
    let mut written = 0;
    for Quality { model, server, points } in &all {
        let name = model.as_ref().map_or("all servers".into(), |model| format!("model {model}"));
        let shown = points.iter().map(|(steps, value)| format!("{} {value:.1}", steps.get()));
        say!("{name}, on {server}: {}", shown.collect::<Vec<_>>().join(", "));
    }
    for quality in &all {
        let name = quality.model.as_deref().unwrap_or("its sampler");
        if !quality.settles() {
            say!(
                "{name}: its pictures do not settle as steps grow. So do those of ancestral samplers (Euler a, DPM2 a, \
                 LCM, DDPM), of which likeness tells no quality: choose another sampler, or keep the curve as it is"
            );
            continue;
        }
        let points = quality.points.iter().map(|&(steps, value)| (steps.get(), value));
        let fits = Fit::all(&Points::of(points)).map_err(anyhow::Error::from)?;
        let curve = fits[0].to_toml();
        text = write_curve(&text, quality.model.as_deref(), &curve).map_err(anyhow::Error::msg)?;
        say!("{name}: {}", curve.trim_end());
        written += 1;
    }
    if written == 0 {
        return Ok(None);
    }
    say!(
        "Quality is now the likeness to the finished picture, in percent: look whether `tardiness_weight`, what a second \
         late costs, still is what you want"
    );
    Ok(Some(text))
}

/// The text with the speeds.
async fn with_speeds(
    config: &Config,
    connect: &BackendFactory,
    text: &str,
) -> Result<String, Failure> {
    let told = |measured: &Measured| {
        let model = measured.model.as_ref().map_or(String::new(), |model| format!(", {model}"));
        let load = measured
            .load
            .map_or(String::new(), |load| format!(", {:.2} s to load", load.seconds()));
        say!(
            "{}{model}: {:.2} steps/s and {:.2} s of overhead{load}, from {} runs",
            measured.server,
            measured.speed.rate.steps_per_second(),
            measured.speed.overhead.seconds(),
            measured.runs.len(),
        );
    };
    let measured = calibrate(config, connect, told).await.map_err(anyhow::Error::from)?;
    Ok(write_into(text, &measured).map_err(anyhow::Error::msg)?)
}
