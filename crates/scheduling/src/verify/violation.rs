//! The rules that a schedule can break.

use std::fmt;

/// One broken rule of a schedule.
#[derive(Clone, Debug, PartialEq)]
pub enum Violation {
    /// (4b) A request that never runs.
    Missing {
        /// The request.
        request: usize,
    },
    /// (4b) A request that runs more than once.
    Duplicate {
        /// The request.
        request: usize,
    },
    /// A row for a request that the instance does not have.
    UnknownRequest {
        /// Its number.
        request: usize,
    },
    /// (4b) A server that the cluster does not have.
    UnknownServer {
        /// The request.
        request: usize,
        /// The server's number.
        server: usize,
    },
    /// (4e) Steps outside 1..=200.
    Steps {
        /// The request.
        request: usize,
        /// Its steps.
        steps: u32,
    },
    /// A server that does not draw with the request's model.
    NotHosted {
        /// The request.
        request: usize,
        /// The server's number.
        server: usize,
    },
    /// Steps that the request, the server or the hosted model does not accept.
    Bounds {
        /// The request.
        request: usize,
        /// Its steps.
        steps: u32,
        /// Fewest that all of them accept.
        min: u32,
        /// Most that all of them accept.
        max: u32,
    },
    /// (4d) A start before the arrival.
    EarlyStart {
        /// The request.
        request: usize,
        /// When it starts.
        start: f64,
        /// When it arrives.
        arrival: f64,
    },
    /// (4c) Two requests on one server at once.
    Overlap {
        /// The server.
        server: usize,
        /// The request that runs.
        running: usize,
        /// The request that starts meanwhile.
        started: usize,
    },
    /// A later arrival that starts first on the same server.
    OutOfOrder {
        /// The server.
        server: usize,
        /// The request that starts first.
        first: usize,
        /// The request that arrived before it.
        second: usize,
    },
    /// A run on a server that is down meanwhile.
    Down {
        /// The server.
        server: usize,
        /// The request.
        request: usize,
        /// When the server goes down.
        from: f64,
        /// When it comes back.
        to: f64,
    },
    /// More runs than servers went down from the arrival to the start of the last one: only what a
    /// server takes with it is run again.
    Attempts {
        /// The request.
        request: usize,
        /// Runs it is said to have had.
        attempts: u32,
        /// The most that it can have had.
        most: u32,
    },
    /// A row without the columns from model on, though the instance goes beyond the paper's world, or
    /// with them, though it does not.
    Columns {
        /// The request.
        request: usize,
    },
    /// A figure that does not follow from the instance and the decision: (1) and (4a) for `finish`
    /// and `tardiness`, (2), (3), (5) for the others.
    Arithmetic {
        /// The request.
        request: usize,
        /// Name of the column.
        column: &'static str,
        /// What stands in the row.
        found: f64,
        /// What follows from the instance.
        expected: f64,
    },
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Missing { request } => write!(f, "(4b) request {request} never runs"),
            Self::Duplicate { request } => {
                write!(f, "(4b) request {request} runs more than once")
            }
            Self::UnknownRequest { request } => {
                write!(f, "request {request} is not in the instance")
            }
            Self::UnknownServer { request, server } => {
                write!(f, "(4b) request {request} runs on server {server}, which does not exist")
            }
            Self::Steps { request, steps } => {
                write!(f, "(4e) request {request} has {steps} steps: allowed is 1 to 200")
            }
            Self::NotHosted { request, server } => write!(
                f,
                "request {request} runs on server {server}, which does not host its model"
            ),
            Self::Bounds { request, steps, min, max } => {
                write!(f, "request {request} has {steps} steps: accepted are {min} to {max}")
            }
            Self::EarlyStart { request, start, arrival } => write!(
                f,
                "(4d) request {request} starts at {start} s, before its arrival at {arrival} s"
            ),
            Self::Overlap { server, running, started } => write!(
                f,
                "(4c) server {server} starts request {started} while request {running} runs"
            ),
            Self::OutOfOrder { server, first, second } => write!(
                f,
                "server {server} runs request {first} before request {second}, which arrived first"
            ),
            Self::Down { server, request, from, to } => write!(
                f,
                "server {server} runs request {request} though it is down from {from} s to {to} s"
            ),
            Self::Attempts { request, attempts, most } => {
                write!(f, "request {request} took {attempts} runs: allowed is 1 to {most}")
            }
            Self::Columns { request } => write!(
                f,
                "request {request}: the columns from model on stand where the instance has models, \
                 sizes, bounds, sigma, luck or down, and only there"
            ),
            Self::Arithmetic { request, column, found, expected } => {
                write!(f, "request {request}: {column} is {found}, but {expected} follows")
            }
        }
    }
}
