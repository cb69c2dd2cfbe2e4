//! What happened to one request, and the CSV that lists it for all of them.

use std::collections::BTreeSet;

use serde::{Deserialize, Deserializer, Serialize};
use thiserror::Error;

use crate::cluster::Request;
use crate::message::{bounded, excerpt};
use crate::model::Model;
use crate::objective::Objective;
use crate::policy::Decision;
use crate::queue::Execution;
use crate::units::Seconds;

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
    /// What it is drawn with.
    pub model: Model,
    /// Of the request, relative to the reference size.
    pub size: f64,
    /// Time of the run in which the model was loaded, in seconds.
    pub load: f64,
    /// Runs it took: those before the last were lost when their servers went down.
    pub attempts: u32,
    /// How it ended.
    pub outcome: RowOutcome,
}

impl Beyond {
    /// A request that run number `attempt` completed, which loaded its model for so long.
    pub fn completed(request: &Request, load: Seconds, attempt: u32) -> Self {
        let (model, size, load) = (request.model, request.size.into(), load.seconds());
        Self { model, size, load, attempts: attempt, outcome: RowOutcome::Completed }
    }
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
    #[inline]
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

impl Line {
    fn of(row: &Row, models: &[String]) -> Self {
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
            model: beyond
                .map(|beyond| models.get(beyond.model.index()).cloned().unwrap_or_default()),
            size: beyond.map(|beyond| beyond.size),
            load: beyond.map(|beyond| beyond.load),
            attempts: beyond.map(|beyond| beyond.attempts),
            outcome: beyond.map(|beyond| beyond.outcome),
        }
    }

    fn row(self, models: &[String]) -> Result<Row, String> {
        let Self { request, server, steps, arrival, start, finish, due, tardiness, .. } = self;
        let Self { penalty, quality, reward, ref model, size, load, attempts, outcome, .. } = self;
        let beyond = match (model.as_deref(), size, load, attempts, outcome) {
            (None, None, None, None, None) => None,
            (Some(name), Some(size), Some(load), Some(attempts), Some(outcome)) => {
                let model = model_of(name, models)?;
                Some(Beyond { model, size, load, attempts, outcome })
            }
            _ => {
                let problem =
                    "model, size, load, attempts and outcome stand together or not at all";
                return Err(problem.into());
            }
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

fn model_of(name: &str, models: &[String]) -> Result<Model, String> {
    if name.is_empty() && models.is_empty() {
        return Ok(Model::default());
    }
    let position = models.iter().position(|model| model == name);
    let model = position.and_then(|position| u16::try_from(position).ok()).map(Model);
    model.ok_or_else(|| {
        let name = excerpt(name);
        if models.is_empty() {
            format!("model: {name:?}: allowed is nothing, as the instance names no models")
        } else {
            format!("model: {name:?}: allowed is a model that the instance names")
        }
    })
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

/// Rows of an instance with models of these names as CSV with a header, numbers in the shortest form that
/// reads back exactly.
pub fn write_rows(rows: &[Row], models: &[String]) -> String {
    rows_in_parts(rows, models).collect()
}

/// As [`write_rows`], in parts of some hundred kilobytes, to be written one after the other.
pub fn rows_in_parts(rows: &[Row], models: &[String]) -> impl Iterator<Item = String> {
    const ROWS: usize = 2000;
    rows.chunks(ROWS).enumerate().map(move |(part, rows)| {
        let mut writer = csv::WriterBuilder::new().has_headers(part == 0).from_writer(Vec::new());
        for row in rows {
            writer
                .serialize(Line::of(row, models))
                .expect("rows are flat and memory does not fail");
        }
        let bytes = writer.into_inner().expect("memory does not fail");
        String::from_utf8(bytes).expect("names are UTF-8 and numbers ASCII")
    })
}

/// Reads rows of an instance with models of these names from CSV.
///
/// # Errors
/// [`RowError`] with the line, on a missing or unknown column or a cell that is not a number.
pub fn read_rows(text: &str, models: &[String]) -> Result<Vec<Row>, RowError> {
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
        let row = line
            .row(models)
            .map_err(|problem| RowError(format!("line {}: {problem}", index + 2)))?;
        rows.push(row);
    }
    Ok(rows)
}

/// Names of the models in rows as CSV, each once; none where no row names one. For [`read_rows`] where
/// no instance says which there are.
///
/// # Errors
/// [`RowError`] on what is no CSV.
pub fn models_in_rows(text: &str) -> Result<Vec<String>, RowError> {
    let mut reader = csv::Reader::from_reader(text.as_bytes());
    let broken = |error: csv::Error| RowError(bounded(&error.to_string()));
    let header = reader.headers().map_err(broken)?;
    let Some(column) = header.iter().position(|name| name == "model") else {
        return Ok(Vec::new());
    };
    let mut models = BTreeSet::new();
    for line in reader.records() {
        models.extend(line.map_err(broken)?.get(column).map(str::to_owned));
    }
    // Where there is but one, it has no name.
    if models.iter().all(String::is_empty) {
        models.clear();
    }
    Ok(models.into_iter().collect())
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
        let text = write_rows(&rows, &[]);
        assert!(text.starts_with(
            "request,server,steps,arrival,start,finish,due,tardiness,penalty,quality,reward\n0,3,120,"
        ));
        assert_eq!(read_rows(&text, &[]).unwrap(), rows);
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
        let rows = read_rows(&text, &[]).unwrap();
        let outcome = RowOutcome::Failed;
        let beyond = Beyond { model: Model(0), size: 1.0, load: 0.0, attempts: 3, outcome };
        assert_eq!(rows[1].beyond, Some(beyond));
        assert_eq!(write_rows(&rows, &[]), text);
        let models = ["sd15".to_owned(), "sdxl, tuned".to_owned()];
        let text = format!("{header}{more}\n{}\n", line(",\"sdxl, tuned\",4.0,9.5,1,completed"));
        let rows = read_rows(&text, &models).unwrap();
        assert_eq!(rows[0].beyond.map(|beyond| beyond.model), Some(Model(1)));
        assert_eq!(write_rows(&rows, &models), text);
        assert_eq!(models_in_rows(&text).unwrap(), ["sdxl, tuned"]);
        for name in ["", "flux"] {
            let text = text.replace("\"sdxl, tuned\"", name);
            let message = read_rows(&text, &models).unwrap_err().to_string();
            assert!(message.contains("line 2: model") && message.contains("allowed"), "{message}");
        }
        for (columns, cells, part) in [
            (more, ",sdxl,1.0,0.0,1,completed", "line 2: model: \"sdxl\": allowed is nothing"),
            (more, ",,1.0,0.0,1,lost", "line: 2"),
            (more, ",,1.0,0.0,-1,completed", "line: 2"),
            (
                ",size,load",
                ",1.0,0.0",
                "line 2: model, size, load, attempts and outcome stand together",
            ),
        ] {
            let text = format!("{header}{columns}\n{}\n", line(cells));
            let message = read_rows(&text, &[]).unwrap_err().to_string();
            assert!(message.contains(part), "{message}");
        }
    }

    #[test]
    fn models_are_named_as_the_rows_name_them() {
        for (text, models) in [
            ("", &[][..]),
            ("request,server\n0,1\n", &[]),
            ("request,model\n0,\n1,\n", &[]),
            ("request,model\n0,b\n1,a\n2,b\n", &["a", "b"]),
            ("request,model\n0,\n1,a\n", &["", "a"]),
        ] {
            assert_eq!(models_in_rows(text).unwrap(), models, "{text:?}");
        }
        let message = models_in_rows("request,model\n0,a\n1\n").unwrap_err().to_string();
        assert!(message.contains("line: 3"), "{message}");
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
        assert!(rows_in_parts(&rows, &[]).count() > 1);
        let text = write_rows(&rows, &[]);
        assert_eq!(text.lines().filter(|line| line.starts_with("request,")).count(), 1);
        assert_eq!(read_rows(&text, &[]).unwrap(), rows);
        assert_eq!(write_rows(&[], &[]), "");
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
            let message = read_rows(&text, &[]).unwrap_err().to_string();
            assert!(message.contains(part) && message.len() < 600, "{message}");
        }
        let row = "0,0,1,0,0,0,0,0,0,0,0";
        assert_eq!(read_rows(&format!("\u{feff}{header}\n{row}\n"), &[]).unwrap().len(), 1);
    }
}
