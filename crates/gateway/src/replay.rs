//! What `atelier replay` shows: one finished schedule, or two of the same instance side by side.

use std::io;

use bytes::Bytes;
use indexmap::IndexMap;
use scheduling::message::{excerpt, number};
use scheduling::{Beyond, Instance, Row, RowOutcome};
use serde::Serialize;
use thiserror::Error;
use tokio::net::TcpListener;

use crate::http;

/// Serves a page over the schedules until `shutdown` resolves. Whoever is being answered then has a second; open
/// connections hold nothing up.
///
/// # Errors
/// [`io::Error`] if the listener does not work.
pub async fn replay(
    replay: Replay,
    listener: TcpListener,
    shutdown: impl Future<Output = ()>,
) -> io::Result<()> {
    http::serve_replay(replay.json, listener, shutdown).await
}

/// A schedule as it was read.
#[derive(Clone, Debug)]
pub struct Schedule {
    /// What it is called on the page and in messages.
    pub name: String,
    /// Its rows, in any order.
    pub rows: Vec<Row>,
    /// Names of the models in them.
    pub models: Vec<String>,
}

/// Schedules of one instance, as the page asks for them.
#[derive(Clone, Debug)]
pub struct Replay {
    json: Bytes,
}

impl Replay {
    /// Of these schedules, which must belong to one instance: to this one, if it is known.
    ///
    /// # Errors
    /// [`ReplayError`] with the schedule and the first request that does not fit.
    pub fn new(
        mut schedules: Vec<Schedule>,
        instance: Option<&Instance>,
    ) -> Result<Self, ReplayError> {
        let servers = instance.map_or(SERVERS, |instance| instance.cluster().len());
        for schedule in &mut schedules {
            schedule.rows.sort_by_key(|row| row.request);
            schedule.check(servers)?;
        }
        if let Some(instance) = instance {
            let requests = instance.requests().iter();
            let given = requests.map(|r| Given::new(r.arrival.seconds(), r.due.seconds()));
            let given: Vec<_> = given.collect();
            schedules.iter().try_for_each(|schedule| schedule.compare(&given, "the instance"))?;
        } else if let [first, others @ ..] = &*schedules {
            let given: Vec<_> = first.given().collect();
            others.iter().try_for_each(|schedule| schedule.compare(&given, &first.name))?;
        }
        Ok(Self { json: json(&schedules, instance).into() })
    }
}

/// Most servers there may be where no instance tells how many there are.
const SERVERS: usize = 10_000;

/// What of a request is given, whoever schedules it.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Given {
    arrival: f64,
    due: f64,
}

impl Given {
    fn new(arrival: f64, due: f64) -> Self {
        Self { arrival, due }
    }
}

impl Schedule {
    fn given(&self) -> impl Iterator<Item = Given> {
        self.rows.iter().map(|row| Given::new(row.arrival, row.due))
    }

    /// That it has every request once, and numbers that can be drawn. Whether it obeys the rules is for
    /// [`scheduling::verify`] to judge.
    fn check(&self, servers: usize) -> Result<(), ReplayError> {
        let schedule = || excerpt(&self.name);
        if self.rows.is_empty() {
            return Err(ReplayError::Empty { schedule: schedule() });
        }
        let misplaced = self.rows.iter().enumerate().find(|(place, row)| row.request != *place);
        if let Some((place, row)) = misplaced {
            // They are sorted: it is there already, or the one before it is not.
            let request = place.min(row.request);
            let times = self.rows.iter().filter(|row| row.request == request).count();
            return Err(ReplayError::Times { schedule: schedule(), request, times });
        }
        for row in &self.rows {
            let request = row.request;
            if row.server >= servers {
                let (server, last) = (row.server, servers - 1);
                return Err(ReplayError::NoServer { schedule: schedule(), request, server, last });
            }
            let numbers = NUMBERS.iter().map(|(column, of)| (*column, of(row)));
            let beyond = row.beyond.iter().flat_map(|b| [("size", b.size), ("load", b.load)]);
            let mut all = numbers.chain(beyond);
            if let Some((column, value)) = all.find(|(_, value)| !value.is_finite()) {
                let schedule = schedule();
                return Err(ReplayError::NotFinite { schedule, request, column, value });
            }
        }
        Ok(())
    }

    /// That its requests are the given ones.
    fn compare(&self, given: &[Given], other: &str) -> Result<(), ReplayError> {
        let (schedule, other) = (excerpt(&self.name), excerpt(other));
        for (request, (here, there)) in self.given().zip(given).enumerate() {
            let differs = |column, here, there| {
                let (schedule, other) = (schedule.clone(), other.clone());
                Err(ReplayError::Differs { schedule, request, column, here, other, there })
            };
            if here.arrival != there.arrival {
                return differs("arrival", here.arrival, there.arrival);
            }
            if here.due != there.due {
                return differs("due", here.due, there.due);
            }
        }
        let (here, there) = (self.rows.len(), given.len());
        if here == there {
            return Ok(());
        }
        Err(ReplayError::Count { schedule, here, other, there, request: here.min(there) })
    }
}

/// A column of numbers.
type Number = (&'static str, fn(&Row) -> f64);

/// The columns that all rows have, but for whole numbers.
const NUMBERS: [Number; 8] = [
    ("arrival", |row| row.arrival),
    ("start", |row| row.start),
    ("finish", |row| row.finish),
    ("due", |row| row.due),
    ("tardiness", |row| row.tardiness),
    ("penalty", |row| row.penalty),
    ("quality", |row| row.quality),
    ("reward", |row| row.reward),
];

/// What the page gets.
#[derive(Serialize)]
struct Document<'a> {
    version: &'static str,
    tardiness_weight: Option<f64>,
    schedules: Vec<Shown<'a>>,
}

#[derive(Serialize)]
struct Shown<'a> {
    name: &'a str,
    servers: &'a [String],
    #[serde(skip_serializing_if = "Option::is_none")]
    steps_per_second: Option<&'a [f64]>,
    requests: IndexMap<&'static str, Column<'a>>,
}

/// Cells of the rows, named as in their file.
#[derive(Serialize)]
#[serde(untagged)]
enum Column<'a> {
    Whole(Vec<usize>),
    Number(Vec<f64>),
    Name(Vec<&'a str>),
    Outcome(Vec<RowOutcome>),
}

/// The servers, as far as they are known.
struct Servers {
    names: Vec<String>,
    steps_per_second: Option<Vec<f64>>,
}

impl Servers {
    fn new(schedules: &[Schedule], instance: Option<&Instance>) -> Self {
        if let Some(instance) = instance {
            let servers = instance.cluster().iter();
            let (names, rates) =
                servers.map(|s| (s.name.clone(), s.step_rate.steps_per_second())).unzip();
            return Self { names, steps_per_second: Some(rates) };
        }
        let rows = schedules.iter().flat_map(|schedule| &schedule.rows);
        let count = rows.map(|row| row.server + 1).max().unwrap_or_default();
        let names = (0..count).map(|server| format!("server {server}")).collect();
        Self { names, steps_per_second: None }
    }
}

/// `/schedule.json`
fn json(schedules: &[Schedule], instance: Option<&Instance>) -> Vec<u8> {
    let servers = Servers::new(schedules, instance);
    let shown = schedules.iter().map(|schedule| Shown {
        name: &schedule.name,
        servers: &servers.names,
        steps_per_second: servers.steps_per_second.as_deref(),
        requests: schedule.columns(),
    });
    let document = Document {
        version: env!("CARGO_PKG_VERSION"),
        tardiness_weight: instance.map(|instance| instance.objective().tardiness_weight()),
        schedules: shown.collect(),
    };
    serde_json::to_vec(&document).expect("columns are plain data")
}

impl Schedule {
    fn columns(&self) -> IndexMap<&'static str, Column<'_>> {
        let whole = |of: fn(&Row) -> usize| Column::Whole(self.rows.iter().map(of).collect());
        let mut columns = IndexMap::from([
            ("server", whole(|row| row.server)),
            ("steps", whole(|row| row.steps as usize)),
        ]);
        columns.extend(NUMBERS.map(|(name, of)| {
            let numbers = self.rows.iter().map(of);
            (name, Column::Number(numbers.collect()))
        }));
        let beyond: Option<Vec<Beyond>> = self.rows.iter().map(|row| row.beyond).collect();
        let Some(beyond) = beyond else { return columns };
        let beyond = beyond.iter();
        let model = |b: &Beyond| self.models.get(b.model.index()).map_or("", String::as_str);
        columns.extend([
            ("model", Column::Name(beyond.clone().map(model).collect())),
            ("size", Column::Number(beyond.clone().map(|b| b.size).collect())),
            ("load", Column::Number(beyond.clone().map(|b| b.load).collect())),
            ("attempts", Column::Whole(beyond.clone().map(|b| b.attempts as usize).collect())),
            ("outcome", Column::Outcome(beyond.map(|b| b.outcome).collect())),
        ]);
        columns
    }
}

/// Rows that are no schedule, or not of the instance. Nothing is shown.
#[derive(Clone, Debug, PartialEq, Error)]
pub enum ReplayError {
    /// No rows.
    #[error("{schedule}: there are 0 requests: allowed is 1 or more")]
    Empty {
        /// Which schedule.
        schedule: String,
    },
    /// A request that is missing, or there twice.
    #[error("{schedule}: request {request} is there {times} times: allowed is once")]
    Times {
        /// Which schedule.
        schedule: String,
        /// The first such request.
        request: usize,
        /// How often it is there.
        times: usize,
    },
    /// A server that there is not.
    #[error("{schedule}: request {request}: server is {server}: allowed is 0 to {last}")]
    NoServer {
        /// Which schedule.
        schedule: String,
        /// The first such request.
        request: usize,
        /// Where it ran.
        server: usize,
        /// The last server.
        last: usize,
    },
    /// A cell that is infinite or not a number.
    #[error("{schedule}: request {request}: {column} is {value}: allowed are finite numbers")]
    NotFinite {
        /// Which schedule.
        schedule: String,
        /// The first such request.
        request: usize,
        /// The column.
        column: &'static str,
        /// What stands there.
        value: f64,
    },
    /// A request of another instance.
    #[error(
        "{schedule}: request {request}: {column} is {}: allowed is {}, as in {other}",
        number(*.here), number(*.there)
    )]
    Differs {
        /// Which schedule.
        schedule: String,
        /// The first such request.
        request: usize,
        /// `arrival` or `due`.
        column: &'static str,
        /// What stands there.
        here: f64,
        /// What it is compared with.
        other: String,
        /// What stands there.
        there: f64,
    },
    /// More requests, or fewer.
    #[error(
        "{schedule}: the number of requests is {here}: allowed is {there}, as in {other}; request \
         {request} is in one of them only"
    )]
    Count {
        /// Which schedule.
        schedule: String,
        /// How many it has.
        here: usize,
        /// What it is compared with.
        other: String,
        /// How many that has.
        there: usize,
        /// The first that is not in both.
        request: usize,
    },
}

#[cfg(test)]
mod tests;
