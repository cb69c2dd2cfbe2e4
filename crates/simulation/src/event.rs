//! A schedule as a log of events, and the one order in which events at equal times stand.

use std::cmp::{Ordering, Reverse};
use std::collections::BinaryHeap;
use std::{fmt, iter};

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
    /// The server that the request is dispatched to.
    pub server: usize,
}

/// Kinds of events, in the order in which they take place at equal times.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum EventKind {
    /// A run ends.
    Completion,
    /// A request arrives and is dispatched.
    Arrival,
    /// A run begins.
    Start,
}

/// The events of a schedule, in order. Only those of requests in the system are held in memory.
pub fn events(rows: &[Row]) -> impl Iterator<Item = Event> {
    let mut order: Vec<usize> = (0..rows.len()).collect();
    order.sort_by_key(|&index| Event::of(&rows[index], EventKind::Arrival));
    let mut arrivals = order.into_iter().peekable();
    // What comes next of each request that has arrived: its start, and then its completion.
    let mut pending = BinaryHeap::new();
    iter::from_fn(move || {
        let arrival = arrivals.peek().map(|&index| Event::of(&rows[index], EventKind::Arrival));
        let next: Option<&Reverse<(Event, usize)>> = pending.peek();
        let arrives = match (&arrival, next) {
            (Some(arrival), Some(Reverse((next, _)))) => arrival < next,
            (arrival, _) => arrival.is_some(),
        };
        if arrives {
            let index = arrivals.next()?;
            pending.push(Reverse((Event::of(&rows[index], EventKind::Start), index)));
            return arrival;
        }
        let Reverse((event, index)) = pending.pop()?;
        if event.kind == EventKind::Start {
            pending.push(Reverse((Event::of(&rows[index], EventKind::Completion), index)));
        }
        Some(event)
    })
}

impl Event {
    fn of(row: &Row, kind: EventKind) -> Self {
        let time = match kind {
            EventKind::Arrival => row.arrival,
            EventKind::Start => row.start,
            EventKind::Completion => row.finish,
        };
        Self { time, kind, request: row.request, server: row.server }
    }
}

impl Ord for Event {
    fn cmp(&self, other: &Self) -> Ordering {
        let rest = |event: &Self| (event.kind, event.request, event.server);
        self.time.total_cmp(&other.time).then_with(|| rest(self).cmp(&rest(other)))
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
        let Self { time, kind, request, server } = self;
        let kind = match kind {
            EventKind::Completion => "completion",
            EventKind::Arrival => "arrival",
            EventKind::Start => "start",
        };
        write!(f, "{time:12.6} {kind:<10} request {request} server {server}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use scheduling::{
        Cluster, Decision, Instance, Objective, Observation, Policy, Request, Seconds, Server,
        StepRate, Steps, TardinessPenalty, Time,
    };

    /// Twenty steps each, two seconds on either server, every third request on the second one.
    struct InTurns(usize);

    impl Policy for InTurns {
        fn decide(&mut self, _: &Observation<'_>) -> Decision {
            self.0 += 1;
            Decision {
                server: usize::from(self.0.is_multiple_of(3)),
                steps: Steps::saturating(20.0),
            }
        }
    }

    #[test]
    fn a_schedule_as_a_log() {
        let server = |name: &str| Server::new(name, StepRate::new(10.0).unwrap(), Seconds::ZERO);
        let request = |arrival| {
            Request::new(
                Time::new(arrival).unwrap(),
                Time::new(99.0).unwrap(),
                TardinessPenalty::Linear,
            )
        };
        // Requests 0 and 1 arrive together, 2 and 3 at the very moment at which 0 is done.
        let requests = [1.0, 1.0, 3.0, 3.0].map(request).to_vec();
        let cluster = Cluster::new(vec![server("a"), server("b")]).unwrap();
        let instance = Instance::new(cluster, requests, Objective::default()).unwrap();
        let rows = crate::simulate(&instance, &mut InTurns(0));
        let log: Vec<_> = events(&rows).map(|event| event.to_string()).collect();
        assert_eq!(log.join("\n"), LOG.trim_start_matches('\n'));

        // The order does not depend on that of the rows.
        let mut shuffled = rows.clone();
        shuffled.reverse();
        shuffled.swap(0, 2);
        assert!(events(&shuffled).eq(events(&rows)));
    }

    /// The order is that of all events sorted, also where servers have long queues.
    #[test]
    fn the_order_is_that_of_the_sorted_events() {
        use crate::InstanceSource;
        let text = include_str!("../../../scenarios/contended.toml");
        let scenario = crate::Scenario::from_toml(text).unwrap();
        for seed in 1..4 {
            let instance = scenario.instance(seed, crate::Episode::Evaluation(0));
            let rows = crate::simulate(&instance, &mut InTurns(0));
            let kinds = [EventKind::Completion, EventKind::Arrival, EventKind::Start];
            let of_row = |row| kinds.map(|kind| Event::of(row, kind));
            let mut sorted: Vec<_> = rows.iter().flat_map(of_row).collect();
            sorted.sort();
            assert!(events(&rows).eq(sorted), "seed {seed}");
        }
    }

    const LOG: &str = "
    1.000000 arrival    request 0 server 0
    1.000000 arrival    request 1 server 0
    1.000000 start      request 0 server 0
    3.000000 completion request 0 server 0
    3.000000 arrival    request 2 server 1
    3.000000 arrival    request 3 server 0
    3.000000 start      request 1 server 0
    3.000000 start      request 2 server 1
    5.000000 completion request 1 server 0
    5.000000 completion request 2 server 1
    5.000000 start      request 3 server 0
    7.000000 completion request 3 server 0";
}
