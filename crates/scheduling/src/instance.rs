//! An instance: everything that is given in eq. (4), and what reality makes of it.

use thiserror::Error;

use crate::bounds::StepBounds;
use crate::cluster::{Cluster, Request};
use crate::fate::{Fate, FateError};
use crate::message::excerpt;
use crate::objective::{Objective, ObjectiveError};
use crate::units::Seconds;

mod json;
mod servers;

/// A cluster, the requests in order of arrival, the objective, and their [`Fate`].
///
/// Invariant: at least one server and one request, server names unique, requests sorted by arrival,
/// no due time before its arrival, a server that takes it for each request.
#[derive(Clone, Debug, PartialEq)]
pub struct Instance {
    cluster: Cluster,
    requests: Vec<Request>,
    objective: Objective,
    /// Whether servers and requests have nothing that the paper's have not.
    plain: bool,
    /// None in the paper's world.
    fate: Option<Fate>,
}

impl Instance {
    /// An instance of the paper's world, with exact service times and without failures.
    ///
    /// # Errors
    /// [`InstanceError`] if the invariant does not hold, naming the offending entry.
    pub fn new(
        cluster: Cluster,
        mut requests: Vec<Request>,
        objective: Objective,
    ) -> Result<Self, InstanceError> {
        if requests.is_empty() {
            return Err(InstanceError::NoRequests);
        }
        for (index, server) in cluster.iter().enumerate() {
            if cluster[..index].iter().any(|other| other.name == server.name) {
                return Err(InstanceError::DuplicateServer { index, name: server.name.clone() });
            }
        }
        let mut before = 0.0;
        for (index, request) in requests.iter_mut().enumerate() {
            let StepBounds { min, max } = request.bounds;
            request.bounds = request.bounds.and(objective.bounds()).ok_or_else(|| {
                let least = objective.bounds().min.get();
                InstanceError::Unmeasured { index, min: min.get(), max: max.get(), least }
            })?;
            let request = &*request;
            let (arrival, due) = (request.arrival.seconds(), request.due.seconds());
            if arrival < before {
                return Err(InstanceError::Unsorted { index, arrival, before });
            }
            if due < arrival {
                return Err(InstanceError::DueBeforeArrival { index, due, arrival });
            }
            if !cluster.iter().any(|server| server.takes(request)) {
                return Err(Self::untaken(&cluster, index, request));
            }
            before = arrival;
        }
        let plain = cluster.is_plain() && requests.iter().all(Request::is_plain);
        Ok(Self { cluster, requests, objective, plain, fate: None })
    }

    /// Why no server takes a request.
    fn untaken(cluster: &Cluster, index: usize, request: &Request) -> InstanceError {
        if !cluster.iter().any(|server| server.hosts(request.model)) {
            let name = cluster.models().get(request.model.index()).cloned();
            return InstanceError::Unhosted { index, name: name.unwrap_or_default() };
        }
        let StepBounds { min, max } = request.bounds;
        InstanceError::Bounds { index, min: min.get(), max: max.get() }
    }

    /// The same instance under a fate, or in the paper's world if there is none.
    ///
    /// # Errors
    /// [`InstanceError::Fate`] with the place of a span that cannot be.
    ///
    /// # Panics
    /// If the fate is not one of so many servers and requests.
    pub fn under(self, fate: Option<Fate>) -> Result<Self, InstanceError> {
        let fate = fate.filter(|fate| !fate.is_ideal());
        if let Some(fate) = &fate {
            assert_eq!(fate.servers.len(), self.cluster.len(), "a fate for each server");
            assert_eq!(fate.luck.len(), self.requests.len(), "luck for each request");
            fate.check()?;
        }
        Ok(Self { fate, ..self })
    }

    /// The same instance whose requests wait so many times as long.
    ///
    /// # Panics
    /// If the scale is negative or no number.
    #[must_use]
    pub fn with_slacks_scaled(&self, scale: f64) -> Self {
        assert!(scale >= 0.0, "slacks cannot be scaled by {scale}");
        let mut scaled = self.clone();
        for request in &mut scaled.requests {
            request.due = request.arrival + Seconds::of(scale * request.slack().seconds());
        }
        scaled
    }

    /// What reality makes of the predictions; none in the paper's world, where they come true.
    pub fn fate(&self) -> Option<&Fate> {
        self.fate.as_ref()
    }

    /// Whether service times are exact and no server fails, as in the paper.
    pub fn is_ideal(&self) -> bool {
        self.fate.is_none()
    }

    /// Whether it is one of the paper's world: ideal, with one model, one size, and every number of
    /// steps. Overheads it may have.
    pub fn is_plain(&self) -> bool {
        self.plain && self.is_ideal()
    }

    /// The servers.
    pub fn cluster(&self) -> &Cluster {
        &self.cluster
    }

    /// The requests, sorted by arrival; there is at least one.
    pub fn requests(&self) -> &[Request] {
        &self.requests
    }

    /// What the decisions are judged by.
    pub fn objective(&self) -> &Objective {
        &self.objective
    }
}

/// An instance that cannot be used. Nothing was built.
#[derive(Clone, Debug, PartialEq, Error)]
pub enum InstanceError {
    /// Not JSON, or not of the instance's form.
    #[error("{field}: {problem}")]
    Json {
        /// Path of the field, such as `requests[3].due`.
        field: String,
        /// What is wrong there, with line and column.
        problem: String,
    },
    /// `servers` is empty.
    #[error("servers: there are 0 servers: allowed is 1 or more")]
    NoServers,
    /// `requests` is empty.
    #[error("requests: there are 0 requests: allowed is 1 or more")]
    NoRequests,
    /// Two servers share a name.
    #[error(
        "servers[{index}].name: \"{}\" is taken by an earlier server: names must differ",
        excerpt(name)
    )]
    DuplicateServer {
        /// Position of the second one.
        index: usize,
        /// The shared name.
        name: String,
    },
    /// A request arrives before the one listed ahead of it.
    #[error(
        "requests[{index}].arrival: {arrival} s is before the request ahead of it: \
         allowed is {before} s or later, as requests are sorted by arrival"
    )]
    Unsorted {
        /// Position of the request.
        index: usize,
        /// Its arrival.
        arrival: f64,
        /// Arrival of the request ahead.
        before: f64,
    },
    /// A request is due before it arrives.
    #[error(
        "requests[{index}].due: {due} s is before the arrival at {arrival} s: \
         allowed is {arrival} s or later"
    )]
    DueBeforeArrival {
        /// Position of the request.
        index: usize,
        /// Its due time.
        due: f64,
        /// Its arrival.
        arrival: f64,
    },
    /// No server draws with the model of a request.
    #[error(
        "requests[{index}].model: \"{}\" is hosted by no server: allowed are the models of servers",
        excerpt(name)
    )]
    Unhosted {
        /// Position of the request.
        index: usize,
        /// The model.
        name: String,
    },
    /// The steps that a request accepts are accepted by no server that hosts its model.
    #[error(
        "requests[{index}]: it accepts {min} to {max} steps, and no server that hosts its model gives \
         any of them: allowed are bounds that share a number of steps with those of a server"
    )]
    Bounds {
        /// Position of the request.
        index: usize,
        /// Fewest steps that it accepts.
        min: u32,
        /// Most steps that it accepts.
        max: u32,
    },
    /// Nothing is known of the quality of any steps that a request accepts.
    #[error(
        "requests[{index}]: it accepts {min} to {max} steps, and the quality of so few is not known: \
         allowed are {least} or more, with which quality.table begins"
    )]
    Unmeasured {
        /// Position of the request.
        index: usize,
        /// Fewest steps that it accepts.
        min: u32,
        /// Most steps that it accepts.
        max: u32,
        /// Fewest steps of which the quality is known.
        least: u32,
    },
    /// The objective is out of range.
    #[error(transparent)]
    Objective(#[from] ObjectiveError),
    /// Servers are down when they cannot be.
    #[error(transparent)]
    Fate(#[from] FateError),
}

#[cfg(test)]
mod tests {
    use super::*;

    fn json(servers: &str, requests: &str, rest: &str) -> String {
        format!("{{\"servers\":[{servers}],\n\"requests\":[{requests}],\n{rest}}}")
    }

    /// The instance is refused, and the message has these parts.
    fn check(servers: &str, requests: &str, rest: &str, parts: &[&str]) {
        let error = Instance::from_json(&json(servers, requests, rest)).unwrap_err();
        let message = error.to_string();
        for part in parts {
            assert!(message.contains(part), "{message:?} does not contain {part:?}");
        }
    }

    const SERVER: &str = r#"{"name":"s0","steps_per_second":15.2}"#;
    const REQUEST: &str = r#"{"arrival":0.0,"due":12.5,"penalty":"linear"}"#;
    const WEIGHT: &str = r#""tardiness_weight":1.5"#;

    #[test]
    fn bad_instances_are_refused_with_place_and_range() {
        let two = |second: &str| {
            format!(r#"{{"arrival":4.0,"due":9.0,"penalty":"square_root"}},{second}"#)
        };
        check("", REQUEST, WEIGHT, &["servers", "1 or more"]);
        check(SERVER, "", WEIGHT, &["requests", "1 or more"]);
        check(&format!("{SERVER},{SERVER}"), REQUEST, WEIGHT, &["servers[1].name", "s0"]);
        check(
            r#"{"name":"s0","steps_per_second":-2}"#,
            REQUEST,
            WEIGHT,
            &["servers[0].steps_per_second", "-2", "0.001 to 1e6", "line 1"],
        );
        check(SERVER, &two(REQUEST), WEIGHT, &["requests[1].arrival", "4 s or later"]);
        check(
            SERVER,
            &two(r#"{"arrival":5.0,"due":4.5,"penalty":"linear"}"#),
            WEIGHT,
            &["requests[1].due", "4.5 s", "5 s or later"],
        );
        check(
            SERVER,
            r#"{"arrival":-1.0,"due":4.5,"penalty":"linear"}"#,
            WEIGHT,
            &["requests[0].arrival", "-1", "0 to 1e9", "line 2"],
        );
        check(
            SERVER,
            r#"{"arrival":0.0,"due":4.5,"penalty":"cubic"}"#,
            WEIGHT,
            &["requests[0].penalty", "cubic", "`linear`, `quadratic`, `square_root`"],
        );
        check(
            SERVER,
            r#"{"arrival":0.0,"due":4.5,"penalty":"linear","colour":1}"#,
            WEIGHT,
            &["colour", "unknown field", "line 2"],
        );
        check(SERVER, REQUEST, r#""tardiness_weight":-1"#, &["tardiness_weight", "0 to 1e6"]);
        check(SERVER, REQUEST, r#""tardiness_weight":NaN"#, &["line 3"]);
    }

    #[test]
    fn the_instances_of_the_readme_are_read() {
        let readme = include_str!("../../../README.md");
        let blocks = readme.split("```json\n").skip(1).filter_map(|rest| rest.split("```").next());
        let instances: Vec<_> = blocks.map(|block| Instance::from_json(block).unwrap()).collect();
        let plain: Vec<_> = instances.iter().map(Instance::is_plain).collect();
        assert_eq!(plain, [true, false, false]);
    }

    #[test]
    fn no_request_gets_fewer_steps_than_a_table_knows_of() {
        let table = r#""tardiness_weight":1.5,"quality":{"table":[[10,1.5],[50,3.0]]}"#;
        let bounded = |bounds: &str| REQUEST.replace('}', &format!(",{bounds}}}"));
        let instance = Instance::from_json(&json(SERVER, &bounded(r#""max_steps":20"#), table));
        let StepBounds { min, max } = instance.unwrap().requests()[0].bounds;
        assert_eq!((min.get(), max.get()), (10, 20));
        let few = bounded(r#""max_steps":9"#);
        check(SERVER, &few, table, &["requests[0]", "1 to 9 steps", "10 or more", "quality.table"]);
        assert!(Instance::from_json(&json(SERVER, &few, WEIGHT)).is_ok());
    }

    #[test]
    fn json_round_trips() {
        let servers = r#"{"name":"s0","steps_per_second":0.1,"overhead_seconds":0.3}"#;
        let rest = r#""tardiness_weight":0.7,"quality":{"table":[[10,1.5],[50,3.0]]}"#;
        let instance = Instance::from_json(&json(servers, REQUEST, rest)).unwrap();
        assert_eq!(Instance::from_json(&instance.to_json()).unwrap(), instance);
    }

    #[test]
    fn fates_are_read_and_written_and_bad_ones_are_refused_with_their_place() {
        let server = |more: &str| format!(r#"{{"name":"s0","steps_per_second":2.0,{more}}}"#);
        let request =
            |more: &str| format!(r#"{{"arrival":0.0,"due":1.0,"penalty":"linear",{more}}}"#);
        let down = server(r#""sigma":0.2,"down":[[1.0,2.0],[2.0,3.5]]"#);
        for (servers, requests) in [
            (down.as_str(), request(r#""luck":-0.5"#)),
            (SERVER, request(r#""luck":0.0"#)),
            (&server(r#""sigma":3.0"#), REQUEST.to_owned()),
        ] {
            let instance = Instance::from_json(&json(servers, &requests, WEIGHT)).unwrap();
            let written = instance.to_json();
            let compact = json(servers, &requests, WEIGHT).replace('\n', "") + "\n";
            assert_eq!(written, compact);
            assert!(!instance.is_ideal());
            assert_eq!(Instance::from_json(&written).unwrap(), instance);
        }
        let ideal = json(&server(r#""sigma":0.0,"down":[]"#), REQUEST, WEIGHT);
        assert!(Instance::from_json(&ideal).unwrap().is_ideal());
        for (more, parts) in [
            (r#""sigma":-0.1"#, ["servers[0].sigma", "-0.1", "0 to 3", "line 1"]),
            (r#""sigma":3.1"#, ["servers[0].sigma", "3.1", "0 to 3", "line 1"]),
            (r#""down":[[1,2],[5,4]]"#, ["servers[0].down[1]", "[5, 4]", "begin", "end"]),
            (r#""down":[[4,4]]"#, ["servers[0].down[0]", "[4, 4]", "begin", "end"]),
            (r#""down":[[1,3],[2,4]]"#, ["servers[0].down[1]", "2 s", "3 s or later", "overlap"]),
            (r#""down":[[5,6],[2,4]]"#, ["servers[0].down[1]", "2 s", "6 s or later", "sorted"]),
            (r#""down":[[-1,3]]"#, ["servers[0].down[0]", "-1", "0 to 1e9", "line 1"]),
            (r#""down":[[1,2,3]]"#, ["servers[0].down[0]", "", "line 1", ""]),
            (r#""down":[[1,2],[7,1e9]]"#, ["servers", "down for ever from 7 s", "wait", "1e9 s"]),
        ] {
            check(&server(more), REQUEST, WEIGHT, &parts);
        }
        for luck in ["-41", "40.5", "1e300"] {
            let place = ["requests[0].luck", "-40 to 40", "line 2"];
            check(SERVER, &request(&format!(r#""luck":{luck}"#)), WEIGHT, &place);
        }
        check(SERVER, &request(r#""luck":1e999"#), WEIGHT, &["requests[0].luck", "line 2"]);
    }

    #[test]
    fn a_byte_order_mark_is_no_fault() {
        let text = json(SERVER, REQUEST, WEIGHT);
        let marked = format!("\u{feff}{text}");
        assert_eq!(Instance::from_json(&marked), Instance::from_json(&text));
    }

    #[test]
    fn messages_do_not_repeat_a_whole_file() {
        let long = "x".repeat(100_000);
        let number = "1".repeat(300);
        let named = |name: &str| format!(r#"{{"name":"{name}","steps_per_second":1}}"#);
        let twice = [named(&long), named(&long)].join(",");
        let penalty = format!(r#"{{"arrival":0,"due":1,"penalty":"{long}"}}"#);
        let arrival = format!(r#"{{"arrival":{number},"due":1,"penalty":"linear"}}"#);
        for (servers, requests, rest) in [
            (twice.as_str(), REQUEST, WEIGHT.to_owned()),
            (SERVER, &penalty, WEIGHT.to_owned()),
            (SERVER, &arrival, WEIGHT.to_owned()),
            (SERVER, REQUEST, format!(r#""{long}":1"#)),
            (SERVER, REQUEST, format!(r#"{WEIGHT},"{long}":1"#)),
            (SERVER, REQUEST, format!(r#""tardiness_weight":{number}"#)),
            (SERVER, REQUEST, format!(r#""tardiness_weight":"{long}""#)),
        ] {
            let error = Instance::from_json(&json(servers, requests, &rest)).unwrap_err();
            let message = error.to_string();
            assert!(message.len() < 400 && !message.contains(&"1".repeat(150)), "{message}");
        }
    }

    #[test]
    fn trailing_text_is_refused() {
        let text = json(SERVER, REQUEST, WEIGHT) + "{}";
        assert!(Instance::from_json(&text).unwrap_err().to_string().contains("trailing"));
    }
}
