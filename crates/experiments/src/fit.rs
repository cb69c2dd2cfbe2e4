//! Quality curves from measured points.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::fmt::Write as _;

use scheduling::message::{excerpt, number};
use scheduling::{Logistic, PowerLaw, QualityCurve, Steps};
use thiserror::Error;

use crate::simplex::{Search, maximise};

/// What a column of values means for quality.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Better {
    /// Quality is the value.
    Larger,
    /// Smaller values are better, as of FID: quality is so much less the value.
    Smaller(f64),
}

/// Measured quality against steps: means where a number of steps was measured several times.
#[derive(Clone, Debug, PartialEq)]
pub struct Measured {
    /// Steps, which may be beyond [`Steps::MAX`], and quality; ascending in steps.
    points: Vec<(f64, f64)>,
}

/// Points that cannot be used.
#[derive(Debug, Error)]
pub enum FitError {
    /// The table itself is broken.
    #[error(transparent)]
    Csv(#[from] csv::Error),
    /// A column is missing.
    #[error("line 1: there is no column {:?}: allowed is a first line with steps, value", excerpt(.0))]
    Missing(String),
    /// A cell cannot be what it says.
    #[error("line {line}, column {name}: {:?}: allowed is {allowed}", excerpt(found))]
    Cell {
        /// Counted from 1.
        line: u64,
        /// Of the column.
        name: &'static str,
        /// What stands there.
        found: String,
        /// What may stand there.
        allowed: &'static str,
    },
    /// Too few to fit anything to.
    #[error("it has points at {found} numbers of steps: allowed is {least} or more for {form}")]
    Few {
        /// Different numbers of steps.
        found: usize,
        /// How many the form needs.
        least: usize,
        /// What was to be fitted.
        form: &'static str,
    },
    /// What rows are chosen by, such as `sampler=ddim`, where none is like that.
    #[error("no row has {}", excerpt(.0))]
    Nothing(String),
}

impl Measured {
    /// Reads the columns `steps` and `value` of a CSV text, of those rows that have the given text in each of the
    /// given columns.
    ///
    /// # Errors
    /// [`FitError`] with line and column.
    pub fn read(text: &str, only: &[(String, String)], better: Better) -> Result<Self, FitError> {
        let mut reader = csv::Reader::from_reader(text.as_bytes());
        let headers = reader.headers()?.clone();
        let column = |name: &str| headers.iter().position(|header| header.trim() == name);
        let needed = |name: &'static str| column(name).ok_or(FitError::Missing(name.into()));
        let (steps, value) = (needed("steps")?, needed("value")?);
        let only = (only.iter())
            .map(|(name, text)| Ok((column(name).ok_or(FitError::Missing(name.clone()))?, text)))
            .collect::<Result<Vec<_>, FitError>>()?;
        let mut sums = BTreeMap::<u32, (f64, f64)>::new();
        for record in reader.into_records() {
            let record = record?;
            let text = |column: usize| record.get(column).unwrap_or_default().trim();
            if only.iter().any(|&(column, wanted)| text(column) != wanted) {
                continue;
            }
            let fault = |name, column: usize, allowed| FitError::Cell {
                line: record.position().map_or(0, csv::Position::line),
                name,
                found: text(column).into(),
                allowed,
            };
            let at = text(steps).parse().ok().filter(|steps| (1..=1_000_000).contains(steps));
            let at = at.ok_or_else(|| fault("steps", steps, "a whole number from 1 to 1000000"))?;
            let of = text(value).parse().ok().filter(|value: &f64| value.abs() <= 1e6);
            let of = of.ok_or_else(|| fault("value", value, "a number from -1e6 to 1e6"))?;
            let quality = match better {
                Better::Larger => of,
                Better::Smaller(best) => best - of,
            };
            let (sum, count) = sums.entry(at).or_default();
            (*sum, *count) = (*sum + quality, *count + 1.0);
        }
        if sums.is_empty() && !only.is_empty() {
            let wanted = only.iter().map(|(column, text)| format!("{}={text}", &headers[*column]));
            return Err(FitError::Nothing(wanted.collect::<Vec<_>>().join(" and ")));
        }
        let mean = |(steps, (sum, count)): (u32, (f64, f64))| (f64::from(steps), sum / count);
        Ok(Self { points: sums.into_iter().map(mean).collect() })
    }

    /// These points, at different numbers of steps.
    pub fn of(points: impl IntoIterator<Item = (u32, f64)>) -> Self {
        let mut points: Vec<_> =
            points.into_iter().map(|(steps, quality)| (f64::from(steps), quality)).collect();
        points.sort_by(|a, b| a.0.total_cmp(&b.0));
        Self { points }
    }

    /// How many numbers of steps were measured.
    pub fn len(&self) -> usize {
        self.points.len()
    }

    /// Whether none was.
    pub fn is_empty(&self) -> bool {
        self.points.is_empty()
    }

    /// Without one of them.
    fn without(&self, index: usize) -> Self {
        let mut points = self.points.clone();
        points.remove(index);
        Self { points }
    }
}

/// The shape of a curve.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shape {
    /// [`QualityCurve::PowerLaw`]
    PowerLaw,
    /// [`QualityCurve::Logistic`]
    Logistic,
    /// [`QualityCurve::Table`]
    Table,
}

impl Shape {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::PowerLaw, Self::Logistic, Self::Table];

    /// As files have it.
    pub fn name(self) -> &'static str {
        match self {
            Self::PowerLaw => "power_law",
            Self::Logistic => "logistic",
            Self::Table => "table",
        }
    }

    /// Points that it takes to say something of its error.
    fn least(self) -> usize {
        match self {
            Self::PowerLaw => 4,
            Self::Logistic => 5,
            Self::Table => 1,
        }
    }
}

/// A curve and how far it is from the points.
#[derive(Clone, Debug, PartialEq)]
pub struct Fit {
    /// Its shape.
    pub shape: Shape,
    /// The curve.
    pub curve: QualityCurve,
    /// Root of the mean square distance of the points, in quality.
    pub error: f64,
    /// The same where each point but the first and the last is left out in turn and foretold from the others; none
    /// where there are too few.
    pub left_out_error: Option<f64>,
}

impl Fit {
    /// Fits a shape to the points by least squares.
    ///
    /// # Errors
    /// [`FitError::Few`]
    pub fn of(measured: &Measured, shape: Shape) -> Result<Self, FitError> {
        let (found, least) = (measured.len(), shape.least());
        if found < least {
            return Err(FitError::Few { found, least, form: shape.name() });
        }
        let curve = fitted(measured, shape);
        let root = |squares: &[f64]| (squares.iter().sum::<f64>() / squares.len() as f64).sqrt();
        let squares: Vec<_> = (measured.points.iter())
            .filter_map(|&(steps, quality)| Some((at(&curve, steps)? - quality).powi(2)))
            .collect();
        let left_out: Vec<_> = (1..found.saturating_sub(1))
            .filter_map(|index| {
                let (steps, quality) = measured.points[index];
                let others = fitted(&measured.without(index), shape);
                Some((at(&others, steps)? - quality).powi(2))
            })
            .collect();
        let left_out_error =
            (found >= least.max(3) && !left_out.is_empty()).then(|| root(&left_out));
        Ok(Self { shape, curve, error: root(&squares), left_out_error })
    }

    /// Every shape that the points suffice for; first the one that foretells a left-out point best.
    ///
    /// # Errors
    /// [`FitError::Few`] if they suffice for none.
    pub fn all(measured: &Measured) -> Result<Vec<Self>, FitError> {
        if measured.is_empty() {
            return Err(FitError::Few { found: 0, least: 1, form: Shape::Table.name() });
        }
        let mut fits: Vec<_> =
            Shape::ALL.iter().filter_map(|&shape| Self::of(measured, shape).ok()).collect();
        let worst = f64::INFINITY;
        fits.sort_by(|a, b| {
            let error = |fit: &Self| fit.left_out_error.unwrap_or(worst);
            error(a).total_cmp(&error(b))
        });
        Ok(fits)
    }

    /// The curve as scenarios and configurations have it, in TOML.
    pub fn to_toml(&self) -> String {
        let mut text = String::new();
        let mut line = |name: &str, value: f64| {
            let _ = writeln!(text, "{name} = {value:?}");
        };
        match &self.curve {
            QualityCurve::PowerLaw(c) => {
                line("best", c.best);
                line("scale", c.scale);
                line("exponent", c.exponent);
            }
            QualityCurve::Logistic(c) => {
                line("best", c.best);
                line("scale", c.scale);
                line("middle", c.middle);
                line("power", c.power);
            }
            QualityCurve::Table(points) => {
                let points =
                    points.iter().map(|(s, quality)| format!("[{}, {quality:?}]", s.get()));
                return format!("[quality]\ntable = [{}]\n", points.collect::<Vec<_>>().join(", "));
            }
            QualityCurve::Sigmoid(_) => unreachable!("no sigmoid is fitted"),
        }
        format!("[quality.{}]\n{text}", self.shape.name())
    }
}

/// Values that are tried for the parameters that are not found by solving equations.
const TRIALS: u64 = 120;

fn fitted(measured: &Measured, shape: Shape) -> QualityCurve {
    let points = &measured.points;
    match shape {
        Shape::Table => {
            let known = points.iter().filter(|(steps, _)| *steps <= f64::from(Steps::MAX.get()));
            QualityCurve::Table(known.map(|&(s, q)| (Steps::saturating(s), rounded(q))).collect())
        }
        Shape::PowerLaw => {
            // In logarithms, so that nothing leaves its range.
            let fall = |&[exponent]: &[f64; 1], s: f64| libm::pow(s, -libm::exp(exponent));
            let starts = [-1.5, -0.7, 0.0, 0.7].map(|exponent: f64| [exponent]);
            let ([exponent], [best, scale]) = separable(points, &starts, [0.3], fall);
            let exponent = rounded(libm::exp(exponent));
            QualityCurve::PowerLaw(PowerLaw { best, scale, exponent })
        }
        Shape::Logistic => {
            let fall = |&[middle, power]: &[f64; 2], s: f64| {
                1.0 / (1.0 + libm::exp(libm::exp(power) * (libm::log(s) - middle)))
            };
            let [first, last] = [points[0].0, points[points.len() - 1].0].map(libm::log);
            let starts: Vec<_> = [0.1, 0.35, 0.65, 0.9]
                .iter()
                .flat_map(|share| [-0.3, 0.5].map(|power| [first + share * (last - first), power]))
                .collect();
            let ([middle, power], [best, scale]) = separable(points, &starts, [0.5, 0.3], fall);
            let [middle, power] = [middle, power].map(|value| rounded(libm::exp(value)));
            QualityCurve::Logistic(Logistic { best, scale, middle, power })
        }
    }
}

/// Least squares of best − scale · fall(s): the two by solving the normal equations, what the fall depends on by
/// search.
fn separable<const N: usize>(
    points: &[(f64, f64)],
    starts: &[[f64; N]],
    strides: [f64; N],
    fall: impl Fn(&[f64; N], f64) -> f64,
) -> ([f64; N], [f64; 2]) {
    let solve = |at: &[f64; N]| line(points, |s| fall(at, s));
    let value = |at: &[f64; N]| {
        let [best, scale] = solve(at);
        let square = |&(s, q): &(f64, f64)| (best - scale * fall(at, s) - q).powi(2);
        Ok::<_, Infallible>(-points.iter().map(square).sum::<f64>())
    };
    let found = starts.iter().map(|&start| {
        let Ok(found) = maximise(Search { start, strides, trials: TRIALS }, value);
        found
    });
    let best = found.max_by(|a, b| a.0.total_cmp(&b.0));
    let at = best.map_or(starts[0], |(_, at)| at);
    (at, solve(&at).map(rounded))
}

/// Intercept and fall of the line q = best − scale · x of least squares; the scale is not negative.
fn line(points: &[(f64, f64)], x: impl Fn(f64) -> f64) -> [f64; 2] {
    let count = points.len() as f64;
    let mean = |value: &dyn Fn(&(f64, f64)) -> f64| points.iter().map(value).sum::<f64>() / count;
    let (x_mean, q_mean) = (mean(&|&(s, _)| x(s)), mean(&|&(_, q)| q));
    let variance = mean(&|&(s, _)| (x(s) - x_mean).powi(2));
    let covariance = mean(&|&(s, q)| (x(s) - x_mean) * (q - q_mean));
    let scale = if variance > 1e-300 { (-covariance / variance).max(0.0) } else { 0.0 };
    [q_mean + scale * x_mean, scale]
}

/// What a curve says at a number of steps; a table says nothing outside its points.
fn at(curve: &QualityCurve, steps: f64) -> Option<f64> {
    let known = match curve {
        QualityCurve::Table(points) => {
            let known = |point: Option<&(Steps, f64)>| point.map(|(s, _)| f64::from(s.get()));
            known(points.first())? <= steps && steps <= known(points.last())?
        }
        _ => true,
    };
    known.then(|| curve.at(steps))
}

/// Six digits: more than anything was measured with, and can be typed.
fn rounded(value: f64) -> f64 {
    format!("{value:.5e}").parse().unwrap_or(value)
}

/// The fits as a person reads them.
pub fn fit_table(fits: &[Fit]) -> String {
    let mut text = String::from("shape      error    error where left out\n");
    for fit in fits {
        let left_out = fit.left_out_error.map_or("–".into(), |error| format!("{error:.3}"));
        let (name, error) = (fit.shape.name(), number((fit.error * 1e3).round() / 1e3));
        let _ = writeln!(text, "{name:<10} {error:<8} {left_out}");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str, better: Better) -> Result<Measured, FitError> {
        Measured::read(text, &[], better)
    }

    /// Points of a curve, with a little noise that repeats.
    fn points(curve: impl Fn(f64) -> f64, noise: f64) -> Measured {
        let steps = [1.0, 2.0, 4.0, 7.0, 10.0, 20.0, 35.0, 50.0, 80.0, 120.0, 200.0, 1000.0];
        let noisy =
            |(index, &s): (usize, &f64)| (s, curve(s) + noise * [1.0, -0.7, 0.2][index % 3]);
        Measured { points: steps.iter().enumerate().map(noisy).collect() }
    }

    #[test]
    fn curves_are_found_again() {
        let power = points(|s| 61.0 - 105.0 * s.powf(-0.86), 0.0);
        let QualityCurve::PowerLaw(found) = Fit::of(&power, Shape::PowerLaw).unwrap().curve else {
            panic!("a power law was asked for")
        };
        let near = |a: f64, b: f64| (a / b - 1.0).abs() < 1e-3;
        assert!(near(found.best, 61.0) && near(found.scale, 105.0), "{found:?}");
        assert!(near(found.exponent, 0.86), "{found:?}");
        let logistic = points(|s| 62.0 - 57.0 / (1.0 + (s / 18.0).powf(1.2)), 0.0);
        let fit = Fit::of(&logistic, Shape::Logistic).unwrap();
        let QualityCurve::Logistic(found) = fit.curve else { panic!("a logistic was asked for") };
        assert!(near(found.best, 62.0) && near(found.scale, 57.0), "{found:?}");
        assert!(near(found.middle, 18.0) && near(found.power, 1.2), "{found:?}");
        assert!(fit.error < 1e-3, "{}", fit.error);
    }

    #[test]
    fn the_shape_that_foretells_best_comes_first() {
        let first = |measured: &Measured| Fit::all(measured).unwrap()[0].shape;
        assert_eq!(first(&points(|s| 61.0 - 105.0 * s.powf(-0.86), 0.0)), Shape::PowerLaw);
        let logistic = points(|s| 62.0 - 57.0 / (1.0 + (s / 18.0).powf(1.8)), 0.05);
        assert_eq!(first(&logistic), Shape::Logistic);
        // Up and down again is of no shape.
        assert_eq!(first(&points(|s| 10.0 * (s.ln() * 2.0).sin(), 0.0)), Shape::Table);
    }

    #[test]
    fn tables_end_with_the_most_steps_and_are_what_a_scenario_reads() {
        let measured = points(f64::ln, 0.0);
        let fit = Fit::of(&measured, Shape::Table).unwrap();
        let QualityCurve::Table(points) = &fit.curve else { panic!("a table was asked for") };
        assert_eq!((points.len(), points[10].0), (11, Steps::MAX));
        for fit in Fit::all(&measured).unwrap() {
            let scenario = include_str!("../../../scenarios/paper.toml");
            let text = format!("{scenario}\n{}", fit.to_toml());
            let scenario = simulation::Scenario::from_toml(&text).unwrap();
            assert_eq!(scenario.settings().quality, fit.curve, "{text}");
        }
    }

    #[test]
    fn files_are_read_by_their_columns_and_repeats_are_averaged() {
        let text = "sampler,steps,value\nddim,10,20.0\nddim,10,22.0\neuler,10,9\nddim,5,30\n";
        let only = [("sampler".to_owned(), "ddim".to_owned())];
        let measured = Measured::read(text, &only, Better::Smaller(65.0)).unwrap();
        assert_eq!(measured.points, [(5.0, 35.0), (10.0, 44.0)]);
        let check = |text: &str, parts: &[&str]| {
            let message = read(text, Better::Larger).unwrap_err().to_string();
            for part in parts {
                assert!(message.contains(part), "{message:?} does not contain {part:?}");
            }
        };
        check("steps,quality\n1,2\n", &["line 1", "\"value\"", "steps, value"]);
        check("steps,value\n1,2\n0,3\n", &["line 3", "steps", "\"0\"", "1 to 1000000"]);
        check("steps,value\n1,good\n", &["line 2", "value", "good", "a number"]);
        check("steps,value\n1\n", &["record 1", "line: 2"]);
        let only = [("sampler".to_owned(), "dpm".to_owned())];
        let error = Measured::read(text, &only, Better::Larger).unwrap_err().to_string();
        assert_eq!(error, "no row has sampler=dpm");
        let few = read("steps,value\n1,2\n4,3\n", Better::Larger).unwrap();
        let error = Fit::of(&few, Shape::Logistic).unwrap_err().to_string();
        assert!(error.contains("2 numbers of steps") && error.contains("5 or more"), "{error}");
        assert_eq!(Fit::all(&few).unwrap().len(), 1);
    }
}
