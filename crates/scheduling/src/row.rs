//! What happened to one request, and the CSV that lists it for all of them.

use serde::{Deserialize, Deserializer, Serialize};
use thiserror::Error;

use crate::cluster::Request;
use crate::message::bounded;
use crate::objective::Objective;
use crate::policy::Decision;
use crate::queue::Execution;

/// One line of a schedule: a request, its decision, and what came of it.
///
/// The fields are plain numbers, since a row may come from anywhere: [`crate::verify`] judges them.
#[derive(Clone, Debug, PartialEq)]
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
    /// What the paper's world has not; given where the instance goes beyond it.
    pub beyond: Option<Beyond>,
}

/// The columns of a row that the paper's world has no need of.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Beyond {
    /// Of the request, relative to the reference size; 1 as long as instances know no sizes.
    pub size: f64,
    /// Time that loading the model took, in seconds; 0 as long as instances know no models.
    pub load: f64,
    /// Runs it took: those before the last were lost when their servers went down.
    pub attempts: u32,
    /// How it ended.
    pub outcome: RowOutcome,
}

/// How a request ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RowOutcome {
    /// With a picture.
    Completed,
    /// Without one: it has no quality, and its reward is what its tardiness costs.
    Failed,
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
            beyond: None,
        }
    }
}

/// A row as it stands in CSV: the columns from `model` on are in all lines of a file or in none.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Line {
    request: usize,
    server: usize,
    steps: u32,
    arrival: f64,
    start: f64,
    finish: f64,
    due: f64,
    tardiness: f64,
    penalty: f64,
    quality: f64,
    reward: f64,
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "as_it_stands")]
    model: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    size: Option<f64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    load: Option<f64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    attempts: Option<u32>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    outcome: Option<RowOutcome>,
}

/// An empty cell is an empty text, not a missing one.
fn as_it_stands<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<String>, D::Error> {
    String::deserialize(deserializer).map(Some)
}

impl From<&Row> for Line {
    fn from(row: &Row) -> Self {
        let &Row { request, server, steps, arrival, start, finish, due, tardiness, .. } = row;
        let &Row { penalty, quality, reward, beyond, .. } = row;
        Self {
            request,
            server,
            steps,
            arrival,
            start,
            finish,
            due,
            tardiness,
            penalty,
            quality,
            reward,
            model: beyond.map(|_| String::new()),
            size: beyond.map(|beyond| beyond.size),
            load: beyond.map(|beyond| beyond.load),
            attempts: beyond.map(|beyond| beyond.attempts),
            outcome: beyond.map(|beyond| beyond.outcome),
        }
    }
}

impl Line {
    fn row(self) -> Result<Row, &'static str> {
        let Self { request, server, steps, arrival, start, finish, due, tardiness, .. } = self;
        let Self { penalty, quality, reward, ref model, size, load, attempts, outcome, .. } = self;
        let beyond = match (model.as_deref(), size, load, attempts, outcome) {
            (None, None, None, None, None) => None,
            (Some(""), Some(size), Some(load), Some(attempts), Some(outcome)) => {
                Some(Beyond { size, load, attempts, outcome })
            }
            (Some("") | None, ..) => {
                return Err(
                    "size, load, attempts and outcome stand together, with model, or not at all",
                );
            }
            _ => return Err("model: allowed is nothing, as instances know no models"),
        };
        Ok(Row {
            request,
            server,
            steps,
            arrival,
            start,
            finish,
            due,
            tardiness,
            penalty,
            quality,
            reward,
            beyond,
        })
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
            writer.serialize(Line::from(row)).expect("rows are flat and memory does not fail");
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
    let mut rows = Vec::new();
    for (index, line) in reader.deserialize().enumerate() {
        let line: Line = line.map_err(|error| RowError(bounded(&error.to_string())))?;
        let row =
            line.row().map_err(|problem| RowError(format!("line {}: {problem}", index + 2)))?;
        rows.push(row);
    }
    Ok(rows)
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
            beyond: None,
        }];
        let text = write_rows(&rows);
        assert!(text.starts_with(
            "request,server,steps,arrival,start,finish,due,tardiness,penalty,quality,reward\n0,3,120,"
        ));
        assert_eq!(read_rows(&text).unwrap(), rows);
    }

    #[test]
    fn rows_beyond_the_papers_world_have_more_columns() {
        let header =
            "request,server,steps,arrival,start,finish,due,tardiness,penalty,quality,reward";
        let line = |more: &str| format!("0,0,1,0.0,0.0,0.5,1.0,0.0,0.0,2.0,2.0{more}");
        let more = ",model,size,load,attempts,outcome";
        let text = format!(
            "{header}{more}\n{}\n{}\n",
            line(",,1.0,0.0,1,completed"),
            line(",,1.0,0.0,3,failed")
        );
        let rows = read_rows(&text).unwrap();
        let beyond = Beyond { size: 1.0, load: 0.0, attempts: 3, outcome: RowOutcome::Failed };
        assert_eq!(rows[1].beyond, Some(beyond));
        assert_eq!(write_rows(&rows), text);
        for (columns, cells, part) in [
            (more, ",sdxl,1.0,0.0,1,completed", "line 2: model: allowed is nothing"),
            (more, ",,1.0,0.0,1,lost", "line: 2"),
            (more, ",,1.0,0.0,-1,completed", "line: 2"),
            (",size,load", ",1.0,0.0", "line 2: size, load, attempts and outcome stand together"),
        ] {
            let text = format!("{header}{columns}\n{}\n", line(cells));
            let message = read_rows(&text).unwrap_err().to_string();
            assert!(message.contains(part), "{message}");
        }
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
            beyond: None,
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
