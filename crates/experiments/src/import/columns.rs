//! The columns of recorded traffic.

use std::collections::HashSet;

use jiff::civil::DateTime;
use scheduling::message::excerpt;
use scheduling::{Generator, Purpose, StepBounds, Steps, TardinessPenalty};

use super::{Asked, ImportError, Trace};

/// What the columns of a trace are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// `lora_request_trace.csv` of alibaba/clusterdata, folder cluster-trace-v2026-GenAI.
    ///
    /// Rows without steps are requests that were never begun, and are left out; so are exact duplicates.
    /// Times are whole seconds: each request comes somewhere in its own.
    Gentd26,
    /// `arrival` in seconds, not falling; and, where they are known, `slack` in seconds, `penalty`, `model`,
    /// `size`, `min_steps` and `max_steps`.
    Csv,
}

/// What becomes of rows that cannot be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Faults {
    /// The first of them is an error.
    Refuse,
    /// They are left out, and counted.
    Skip,
}

/// Reads a trace.
///
/// # Errors
/// [`ImportError`] with line and column.
pub fn read_trace(text: &str, form: Form, faults: Faults) -> Result<Trace, ImportError> {
    let mut reader =
        csv::ReaderBuilder::new().flexible(faults == Faults::Skip).from_reader(text.as_bytes());
    let headers = reader.headers()?.clone();
    let table = Columns::of(form, &headers)?;
    let mut trace = Trace::default();
    let mut seen = HashSet::new();
    let mut draw = Generator::new(0, Purpose::Arrival, 0);
    let mut last = f64::NEG_INFINITY;
    for record in reader.into_records() {
        let record = record?;
        let row = Row { record: &record, line: record.position().map_or(0, csv::Position::line) };
        let read = match form {
            Form::Gentd26 if !seen.insert(record.as_slice().to_owned()) => Ok(Err("duplicates")),
            Form::Gentd26 => table.gentd26(row, &mut draw),
            Form::Csv => table.csv(row, last).map(Ok),
        };
        let reason = match read {
            Ok(Ok(asked)) => {
                last = asked.at;
                trace.asked.push(asked);
                continue;
            }
            Ok(Err(reason)) => reason,
            Err(error) if faults == Faults::Refuse => return Err(error),
            Err(ImportError::Cell { name, .. }) => name,
            Err(error) => return Err(error),
        };
        *trace.left_out.entry(reason).or_default() += 1;
    }
    trace.asked.sort_by(|a, b| a.at.total_cmp(&b.at));
    Ok(trace)
}

/// Positions of the columns.
struct Columns {
    names: &'static [&'static str],
    positions: Vec<Option<usize>>,
}

const GENTD26: &[&str] =
    &["gmt_create", "num_images_per_prompt", "num_inference_steps", "checkpoint_model_version_id"];
const CSV: &[&str] = &["arrival", "slack", "penalty", "model", "size", "min_steps", "max_steps"];

#[derive(Clone, Copy)]
struct Row<'a> {
    record: &'a csv::StringRecord,
    line: u64,
}

impl Columns {
    fn of(form: Form, headers: &csv::StringRecord) -> Result<Self, ImportError> {
        let (names, needed) = match form {
            Form::Gentd26 => (GENTD26, GENTD26.len()),
            Form::Csv => (CSV, 1),
        };
        let position = |name: &&str| headers.iter().position(|header| header.trim() == *name);
        let positions: Vec<_> = names.iter().map(position).collect();
        match positions[..needed].iter().position(Option::is_none) {
            Some(missing) => {
                let needed = names[..needed].join(", ");
                Err(ImportError::Missing { missing: names[missing], needed })
            }
            None => Ok(Self { names, positions }),
        }
    }

    /// The text of a column; none where it is empty or missing.
    fn text<'a>(&self, row: Row<'a>, column: usize) -> Option<&'a str> {
        let text = row.record.get(self.positions[column]?)?.trim();
        (!text.is_empty()).then_some(text)
    }

    /// What a column says, if it says anything.
    fn value<T>(
        &self,
        row: Row<'_>,
        column: usize,
        allowed: &'static str,
        parse: impl Fn(&str) -> Option<T>,
    ) -> Result<Option<T>, ImportError> {
        let Some(text) = self.text(row, column) else { return Ok(None) };
        parse(text).map(Some).ok_or_else(|| self.fault(row, column, text, allowed))
    }

    fn fault(&self, row: Row<'_>, column: usize, text: &str, allowed: &'static str) -> ImportError {
        ImportError::Cell {
            line: row.line,
            column: self.positions[column].map_or(0, |position| position + 1),
            name: self.names[column],
            found: excerpt(text),
            allowed,
        }
    }

    /// A row of [`Form::Gentd26`], or why it is left out.
    fn gentd26(
        &self,
        row: Row<'_>,
        draw: &mut Generator,
    ) -> Result<Result<Asked, &'static str>, ImportError> {
        const DATE: &str = "a date and time such as 2024-11-15 16:57:50";
        let date = self.value(row, 0, DATE, |text| text.parse::<DateTime>().ok())?;
        let Some(date) = date else { return Err(self.fault(row, 0, "", DATE)) };
        let steps = self.value(row, 2, "a number", number(0.0..=1e6))?;
        if steps.is_none() {
            return Ok(Err("never begun"));
        }
        let pictures = self.value(row, 1, "a number from 1 to 1000", number(1.0..=1000.0))?;
        let at = date.duration_since(DateTime::constant(2024, 1, 1, 0, 0, 0, 0)).as_secs_f64();
        Ok(Ok(Asked {
            at: at + draw.uniform(),
            slack: None,
            penalty: None,
            model: self.text(row, 3).map(str::to_owned),
            size: pictures.unwrap_or(1.0),
            bounds: StepBounds::ALL,
        }))
    }

    /// A row of [`Form::Csv`], which comes no earlier than the last one.
    fn csv(&self, row: Row<'_>, last: f64) -> Result<Asked, ImportError> {
        const ARRIVAL: &str = "a number of seconds from 0 to 1e9";
        let arrival = self.value(row, 0, ARRIVAL, number(0.0..=1e9))?;
        let Some(at) = arrival else { return Err(self.fault(row, 0, "", ARRIVAL)) };
        if at < last {
            let text = self.text(row, 0).unwrap_or_default();
            return Err(self.fault(row, 0, text, "no time before that of the row ahead"));
        }
        let penalty = |text: &str| match text {
            "linear" => Some(TardinessPenalty::Linear),
            "quadratic" => Some(TardinessPenalty::Quadratic),
            "square_root" => Some(TardinessPenalty::SquareRoot),
            _ => None,
        };
        let steps = |text: &str| text.parse().ok().and_then(|steps| Steps::new(steps).ok());
        let [min, max] = [5, 6].map(|column| self.value(row, column, "1 to 200 steps", steps));
        let bounds =
            StepBounds { min: min?.unwrap_or(Steps::MIN), max: max?.unwrap_or(Steps::MAX) };
        if bounds.min > bounds.max {
            let text = self.text(row, 5).unwrap_or_default();
            return Err(self.fault(row, 5, text, "no more than max_steps"));
        }
        let size = self.value(row, 4, "a size from 0.001 to 1000", number(1e-3..=1e3))?;
        Ok(Asked {
            at,
            slack: self.value(row, 1, "a number of seconds from 0 to 1e6", number(0.0..=1e6))?,
            penalty: self.value(row, 2, "linear, quadratic or square_root", penalty)?,
            model: self.text(row, 3).map(str::to_owned),
            size: size.unwrap_or(1.0),
            bounds,
        })
    }
}

/// Reads a number in a range.
fn number(range: std::ops::RangeInclusive<f64>) -> impl Fn(&str) -> Option<f64> {
    move |text| text.parse().ok().filter(|value| range.contains(value))
}
