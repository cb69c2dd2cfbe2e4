//! A schedule in the trace event format, which <https://ui.perfetto.dev> and `chrome://tracing`
//! open: a track per server, a slice per request, counters for the backlog.

use std::io::{self, Write};

use scheduling::{Instance, Row};
use serde_json::{Value, json};
use simulation::{EventKind, events};

/// Writes the schedule as trace event JSON, event by event; times there are microseconds.
///
/// # Errors
/// The writer's.
pub fn write_trace(
    instance: &Instance,
    rows: &[Row],
    policy: &str,
    out: &mut impl Write,
) -> io::Result<()> {
    write!(out, r#"{{"displayTimeUnit":"ms","traceEvents":["#)?;
    let mut separator = "";
    let events = names(instance, policy)
        .chain(rows.iter().flat_map(|row| slices(instance, row)))
        .chain(counters(rows, instance.cluster().len()));
    for event in events {
        write!(out, "{separator}{event}")?;
        separator = ",";
    }
    writeln!(out, "]}}")
}

/// What the process and its tracks are called.
fn names(instance: &Instance, policy: &str) -> impl Iterator<Item = Value> {
    let process = json!({
        "ph": "M", "pid": PROCESS, "name": "process_name",
        "args": { "name": format!("atelier: {policy}") },
    });
    let tracks = instance.cluster().iter().enumerate().flat_map(|(index, server)| {
        let name = format!("{} ({:.1} steps/s)", server.name, f64::from(server.step_rate));
        let track = |what: &str, arguments: Value| {
            json!({
                "ph": "M", "pid": PROCESS, "tid": index + 1, "name": what, "args": arguments,
            })
        };
        [
            track("thread_name", json!({ "name": name })),
            track("thread_sort_index", json!({ "sort_index": index })),
        ]
    });
    std::iter::once(process).chain(tracks)
}

const PROCESS: u32 = 1;

fn microseconds(seconds: f64) -> f64 {
    (seconds * 1e6).round()
}

/// The run of a request, and within it the load of its model.
fn slices(instance: &Instance, row: &Row) -> impl Iterator<Item = Value> {
    let beyond = row.beyond.filter(|beyond| beyond.load > 0.0);
    let load = beyond.map(|beyond| {
        let model = instance.cluster().models().get(beyond.model.index());
        json!({
            "ph": "X", "pid": PROCESS, "tid": row.server + 1,
            "name": format!("load {}", model.map_or("", |model| model)),
            "cat": "load",
            "ts": microseconds(row.start),
            "dur": microseconds(row.start + beyond.load) - microseconds(row.start),
        })
    });
    std::iter::once(slice(row)).chain(load)
}

fn slice(row: &Row) -> Value {
    let lateness = if row.tardiness > 0.0 { "late" } else { "on time" };
    json!({
        "ph": "X", "pid": PROCESS, "tid": row.server + 1,
        "name": format!("request {}", row.request),
        "cat": lateness,
        "ts": microseconds(row.start),
        "dur": microseconds(row.finish) - microseconds(row.start),
        "args": {
            "steps": row.steps,
            "quality": row.quality,
            "arrival_seconds": row.arrival,
            "waited_seconds": row.start - row.arrival,
            "due_seconds": row.due,
            "tardiness_seconds": row.tardiness,
            "penalty": row.penalty,
            "reward": row.reward,
        },
    })
}

/// After every arrival and completion, the requests in the system and the seconds of work that all
/// servers together have before them.
fn counters(rows: &[Row], servers: usize) -> impl Iterator<Item = Value> {
    let counter = |name: &str, time: f64, value: Value| {
        json!({
            "ph": "C", "pid": PROCESS, "name": name, "ts": microseconds(time),
            "args": { "value": value },
        })
    };
    let (mut requests, mut free_at) = (0_i64, vec![0.0_f64; servers]);
    let counted = events(rows).filter(|event| event.kind != EventKind::Start);
    counted.flat_map(move |event| {
        if event.kind == EventKind::Arrival {
            free_at[event.server] = rows[event.request].finish;
            requests += 1;
        } else {
            requests -= 1;
        }
        let backlog: f64 = free_at.iter().map(|free| (free - event.time).max(0.0)).sum();
        [
            counter("backlog (s)", event.time, json!(backlog)),
            counter("requests in the system", event.time, json!(requests)),
        ]
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use scheduling::Rule;
    use simulation::{Episode, InstanceSource, Scenario, simulate};

    fn schedule(rule: &Rule, requests: usize) -> (Instance, Vec<Row>) {
        let scenario = Scenario::from_toml(include_str!("../../../scenarios/contended.toml"))
            .and_then(|scenario| scenario.with(|settings| settings.requests = requests))
            .unwrap();
        let instance = scenario.instance(1, Episode::Evaluation(0));
        let generator = scheduling::Generator::new(1, scheduling::Purpose::Policy, 0);
        let rows = simulate(&instance, &mut *rule.policy(generator));
        (instance, rows)
    }

    fn trace(instance: &Instance, rows: &[Row], policy: &str) -> String {
        let mut out = Vec::new();
        write_trace(instance, rows, policy, &mut out).unwrap();
        String::from_utf8(out).unwrap()
    }

    /// `tests/golden-trace.json` opens in Perfetto.
    #[test]
    fn the_bytes_are_those_of_the_golden_file() {
        let (instance, rows) = schedule(&"greedy".parse().unwrap(), 12);
        let trace = trace(&instance, &rows, "greedy");
        assert!(trace == include_str!("../tests/golden-trace.json"));
    }

    /// Memory does not grow with the schedule: what is written is written event by event.
    #[test]
    fn no_piece_is_larger_than_an_event() {
        struct Largest(usize);
        impl Write for Largest {
            fn write(&mut self, piece: &[u8]) -> io::Result<usize> {
                self.0 = self.0.max(piece.len());
                Ok(piece.len())
            }
            fn flush(&mut self) -> io::Result<()> {
                Ok(())
            }
        }
        let (instance, rows) = schedule(&Rule::Myopic, 2000);
        let mut out = Largest(0);
        write_trace(&instance, &rows, "myopic", &mut out).unwrap();
        assert!(out.0 < 1000, "{}", out.0);
    }

    #[test]
    fn loads_are_slices_within_their_runs() {
        let fleet = Scenario::from_toml(include_str!("../../../scenarios/fleet.toml"))
            .and_then(|scenario| scenario.with(|settings| settings.requests = 50))
            .unwrap();
        let instance = fleet.instance(1, Episode::Evaluation(0));
        let rows = simulate(&instance, &mut scheduling::policies::Greedy::default());
        let json: Value = serde_json::from_str(&trace(&instance, &rows, "greedy")).unwrap();
        let events = json["traceEvents"].as_array().unwrap();
        let loads: Vec<_> = events.iter().filter(|event| event["cat"] == "load").collect();
        let loaded = |row: &&Row| row.beyond.is_some_and(|beyond| beyond.load > 0.0);
        assert_eq!(loads.len(), rows.iter().filter(loaded).count());
        assert!(loads.iter().all(|load| load["dur"] == 9e6));
        assert_eq!(loads[0]["name"], format!("load m{}", rows[0].beyond.unwrap().model));
    }

    #[test]
    fn slices_lie_on_their_servers_and_counters_end_at_zero() {
        let (instance, rows) = schedule(&Rule::Myopic, 200);
        let json: Value = serde_json::from_str(&trace(&instance, &rows, "myopic")).unwrap();
        let events = json["traceEvents"].as_array().unwrap();
        let of = |kind: &'static str| events.iter().filter(move |event| event["ph"] == kind);
        assert_eq!(of("X").count(), 200);
        assert_eq!(of("M").count(), 1 + 2 * 10);
        let mut end_of_track = [0.0; 11];
        let mut slices: Vec<_> = of("X").collect();
        slices.sort_by(|a, b| a["ts"].as_f64().unwrap().total_cmp(&b["ts"].as_f64().unwrap()));
        for slice in slices {
            let track = slice["tid"].as_u64().unwrap() as usize;
            let [start, length] = ["ts", "dur"].map(|field| slice[field].as_f64().unwrap());
            assert!(start >= end_of_track[track], "slices of a server overlap");
            end_of_track[track] = start + length;
        }
        for name in ["backlog (s)", "requests in the system"] {
            let counter: Vec<_> = of("C").filter(|event| event["name"] == name).collect();
            assert_eq!(counter.len(), 400);
            assert!(counter.iter().any(|event| event["args"]["value"].as_f64().unwrap() > 10.0));
            assert_eq!(counter[399]["args"]["value"].as_f64(), Some(0.0), "{name}");
        }
    }
}
