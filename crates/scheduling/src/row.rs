//! What happened to one request, and the CSV that lists it for all of them.

use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::cluster::Request;
use crate::message::bounded;
use crate::objective::Objective;
use crate::policy::Decision;
use crate::queue::Execution;

/// One line of a schedule: a request, its decision, and what came of it.
///
/// The fields are plain numbers, since a row may come from anywhere: [`crate::verify`] judges them.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Row {
    /// i: position in the instance, from 0.
    pub request: usize,
    /// j: position in the cluster, from 0.
    pub server: usize,
    /// s_i
    pub steps: u32,
    /// r_i, in seconds.
    pub arrival: f64,
    /// Start of the run, in seconds.
    pub start: f64,
    /// t_fin: end of the run, in seconds.
    pub finish: f64,
    /// d_i, in seconds.
    pub due: f64,
    /// τ_i = max(0, finish − due), in seconds.
    pub tardiness: f64,
    /// g_i(τ_i)
    pub penalty: f64,
    /// Q(s_i)
    pub quality: f64,
    /// Eq. (5).
    pub reward: f64,
}

impl Row {
    /// The row of request number `index` after `decision`, run as `execution` says.
    pub fn new(
        index: usize,
        request: &Request,
        decision: Decision,
        execution: Execution,
        objective: &Objective,
    ) -> Self {
        let tardiness = (execution.finish - request.due).positive_part();
        Self {
            request: index,
            server: decision.server,
            steps: decision.steps.get(),
            arrival: request.arrival.seconds(),
            start: execution.start.seconds(),
            finish: execution.finish.seconds(),
            due: request.due.seconds(),
            tardiness: tardiness.seconds(),
            penalty: request.penalty.at(tardiness),
            quality: objective.quality(decision.steps),
            reward: objective.reward(decision.steps, request.penalty, tardiness),
        }
    }
}

/// The header of rows in CSV.
const COLUMNS: [&str; 11] = [
    "request",
    "server",
    "steps",
    "arrival",
    "start",
    "finish",
    "due",
    "tardiness",
    "penalty",
    "quality",
    "reward",
];

/// Rows as CSV with a header, numbers in the shortest form that reads back exactly.
pub fn write_rows(rows: &[Row]) -> String {
    rows_in_parts(rows).collect()
}

/// As [`write_rows`], in parts of some hundred kilobytes, to be written one after the other.
pub fn rows_in_parts(rows: &[Row]) -> impl Iterator<Item = String> {
    const ROWS: usize = 2000;
    rows.chunks(ROWS).enumerate().map(|(part, rows)| {
        let mut writer = csv::WriterBuilder::new().has_headers(part == 0).from_writer(Vec::new());
        for row in rows {
            writer.serialize(row).expect("rows are flat and memory does not fail");
        }
        let bytes = writer.into_inner().expect("memory does not fail");
        String::from_utf8(bytes).expect("numbers are ASCII")
    })
}

/// Reads rows from CSV.
///
/// # Errors
/// [`RowError`] with the line, on a missing or unknown column or a cell that is not a number.
pub fn read_rows(text: &str) -> Result<Vec<Row>, RowError> {
    let mut reader = csv::Reader::from_reader(text.as_bytes());
    let header = reader.headers().map_err(|error| RowError(bounded(&error.to_string())))?;
    // Where no row follows, nothing else would look at it.
    if let Some(missing) = COLUMNS.iter().find(|column| !header.iter().any(|h| h == **column)) {
        let allowed = COLUMNS.join(",");
        return Err(RowError(format!(
            "line 1: the column {missing} is missing: allowed is {allowed}"
        )));
    }
    reader
        .deserialize()
        .map(|row| row.map_err(|error| RowError(bounded(&error.to_string()))))
        .collect()
}

/// CSV that does not hold rows.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("{0}")]
pub struct RowError(String);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn csv_round_trips_to_the_last_bit() {
        let rows = [Row {
            request: 0,
            server: 3,
            steps: 120,
            arrival: 0.1 + 0.2,
            start: 1.0 / 3.0,
            finish: 1e-9,
            due: 12_345.678_901_234_567,
            tardiness: 0.0,
            penalty: 5e300,
            quality: 63.333,
            reward: -0.0,
        }];
        let text = write_rows(&rows);
        assert!(text.starts_with(
            "request,server,steps,arrival,start,finish,due,tardiness,penalty,quality,reward\n0,3,120,"
        ));
        assert_eq!(read_rows(&text).unwrap(), rows);
    }

    #[test]
    fn parts_have_one_header() {
        let row = Row {
            request: 0,
            server: 0,
            steps: 1,
            arrival: 0.0,
            start: 0.0,
            finish: 1.0,
            due: 2.0,
            tardiness: 0.0,
            penalty: 0.0,
            quality: 1.0,
            reward: 1.0,
        };
        let rows: Vec<_> = (0..5000).map(|request| Row { request, ..row.clone() }).collect();
        assert!(rows_in_parts(&rows).count() > 1);
        let text = write_rows(&rows);
        assert_eq!(text.lines().filter(|line| line.starts_with("request,")).count(), 1);
        assert_eq!(read_rows(&text).unwrap(), rows);
        assert_eq!(write_rows(&[]), "");
    }

    #[test]
    fn bad_csv_is_refused_with_its_line() {
        let header =
            "request,server,steps,arrival,start,finish,due,tardiness,penalty,quality,reward";
        for (text, part) in [
            (String::new(), "request is missing"),
            ("{}\n".into(), "line 1: the column request is missing"),
            (header.replace("steps,", ""), "steps is missing"),
            (format!("{header}\n0,0,x,0,0,0,0,0,0,0,0\n"), "line: 2"),
            (format!("{header}\n0,0,1,0,0,0\n"), "line: 2"),
            (format!("{header}\n0,0,{},0,0,0,0,0,0,0,0\n", "x".repeat(9000)), "line: 2"),
            (format!("{header},colour\n0,0,1,0,0,0,0,0,0,0,0,1\n"), "colour"),
        ] {
            let message = read_rows(&text).unwrap_err().to_string();
            assert!(message.contains(part) && message.len() < 600, "{message}");
        }
        let row = "0,0,1,0,0,0,0,0,0,0,0";
        assert_eq!(read_rows(&format!("\u{feff}{header}\n{row}\n")).unwrap().len(), 1);
    }
}
