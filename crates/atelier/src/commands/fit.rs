use std::path::PathBuf;

use clap::Subcommand;
use experiments::{Better, Fit, Measured, Shape, fit_table};

use crate::failure::Failure;
use crate::files;
use crate::output::say;

/// Fit what scenarios and configurations need to measured values.
#[derive(clap::Args)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    what: What,
}

#[derive(Subcommand)]
enum What {
    Quality(Quality),
}

/// Fit a quality curve to measured points: a table, a power law or a logistic.
///
/// Standard output begins with the curve, as scenarios have it. Of the shapes the one comes first that foretells a
/// point best from the others.
#[derive(clap::Args)]
struct Quality {
    /// The points (CSV), with the columns `steps` and `value`; repeats are averaged.
    file: PathBuf,
    /// Only rows that have a text in a column, such as `sampler=ddim`; may be given several times.
    #[arg(long, value_name = "COLUMN=TEXT", value_parser = column_and_text)]
    only: Vec<(String, String)>,
    /// Smaller values are better, as of FID: quality is so much less the value.
    #[arg(long, value_name = "QUALITY", allow_negative_numbers = true)]
    less_from: Option<f64>,
    /// The shape to take, in place of the one that foretells best.
    #[arg(long, value_parser = shape)]
    shape: Option<Shape>,
}

fn shape(text: &str) -> Result<Shape, String> {
    let named = Shape::ALL.into_iter().find(|shape| shape.name() == text);
    named.ok_or_else(|| format!("allowed is {}", Shape::ALL.map(Shape::name).join(", ")))
}

fn column_and_text(text: &str) -> Result<(String, String), String> {
    let pair = text.split_once('=').filter(|(column, _)| !column.is_empty());
    let owned = |(column, text): (&str, &str)| (column.trim().to_owned(), text.trim().to_owned());
    pair.map(owned).ok_or_else(|| "allowed is COLUMN=TEXT, such as sampler=ddim".into())
}

pub(crate) fn run(arguments: &Arguments) -> Result<(), Failure> {
    let What::Quality(Quality { file, only, less_from, shape }) = &arguments.what;
    let refused = |error| Failure::refused(file.display(), error);
    let better = less_from.map_or(Better::Larger, Better::Smaller);
    let measured = Measured::read(&files::read(file)?, only, better).map_err(refused)?;
    let mut fits = Fit::all(&measured).map_err(refused)?;
    if let &Some(shape) = shape {
        // It says why where the points do not suffice.
        Fit::of(&measured, shape).map_err(refused)?;
        fits.sort_by_key(|fit| fit.shape != shape);
    }
    say!("{}", fits[0].to_toml());
    say!("{}", fit_table(&fits).trim_end());
    Ok(())
}
