//! A schedule as a log of events, and the one order in which events at equal times stand.

use std::cmp::Ordering;
use std::fmt;

use scheduling::Row;

/// Something that happens to a request.
///
/// Events are ordered by time; at equal times completions come first, then arrivals, then starts,
/// and among the same kind the lower request: a server that is just done is free for the request
/// that arrives at that very moment.
#[derive(Clone, Copy, Debug)]
pub struct Event {
    /// In seconds since the origin of the instance.
    pub time: f64,
    /// What happens.
    pub kind: EventKind,
    /// The request that it happens to.
    pub request: usize,
}

/// Kinds of events, in the order in which they take place at equal times.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum EventKind {
    /// A run ends.
    Completion {
        /// Where.
        server: usize,
    },
    /// A request arrives and is dispatched.
    Arrival {
        /// Where to.
        server: usize,
    },
    /// A run begins.
    Start {
        /// Where.
        server: usize,
    },
}

impl EventKind {
    const fn rank(self) -> u8 {
        match self {
            Self::Completion { .. } => 0,
            Self::Arrival { .. } => 1,
            Self::Start { .. } => 2,
        }
    }
}

/// The events of a schedule, in order.
pub fn events(rows: &[Row]) -> Vec<Event> {
    let of_row = |row: &Row| {
        let (request, server) = (row.request, row.server);
        [
            Event { time: row.arrival, kind: EventKind::Arrival { server }, request },
            Event { time: row.start, kind: EventKind::Start { server }, request },
            Event { time: row.finish, kind: EventKind::Completion { server }, request },
        ]
    };
    let mut events: Vec<_> = rows.iter().flat_map(of_row).collect();
    events.sort();
    events
}

impl Ord for Event {
    fn cmp(&self, other: &Self) -> Ordering {
        self.time
            .total_cmp(&other.time)
            .then(self.kind.rank().cmp(&other.kind.rank()))
            .then(self.request.cmp(&other.request))
            .then(self.kind.cmp(&other.kind))
    }
}

impl PartialOrd for Event {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Event {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}

impl Eq for Event {}

impl fmt::Display for Event {
    /// One line of a log: time in seconds, kind, request, server.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (kind, server) = match self.kind {
            EventKind::Completion { server } => ("completion", server),
            EventKind::Arrival { server } => ("arrival", server),
            EventKind::Start { server } => ("start", server),
        };
        write!(f, "{:12.6} {kind:<10} request {} server {server}", self.time, self.request)
    }
}
