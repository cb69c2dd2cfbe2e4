//! An instance: everything that is given in eq. (4), and its JSON form.

use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::cluster::{Cluster, Request, Server};
use crate::message::{bounded, excerpt};
use crate::objective::{Objective, ObjectiveError, QualityCurve};

/// A cluster, the requests in order of arrival, and the objective.
///
/// Invariant: at least one server and one request, server names unique, requests sorted by arrival,
/// no due time before its arrival.
#[derive(Clone, Debug, PartialEq)]
pub struct Instance {
    cluster: Cluster,
    requests: Vec<Request>,
    objective: Objective,
}

impl Instance {
    /// # Errors
    /// [`InstanceError`] if the invariant does not hold, naming the offending entry.
    pub fn new(
        cluster: Cluster,
        requests: Vec<Request>,
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
        for (index, request) in requests.iter().enumerate() {
            let (arrival, due) = (request.arrival.seconds(), request.due.seconds());
            if arrival < before {
                return Err(InstanceError::Unsorted { index, arrival, before });
            }
            if due < arrival {
                return Err(InstanceError::DueBeforeArrival { index, due, arrival });
            }
            before = arrival;
        }
        Ok(Self { cluster, requests, objective })
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

    /// Reads the JSON form.
    ///
    /// ```
    /// let json = r#"{
    ///   "servers": [{"name": "s0", "steps_per_second": 15.2}],
    ///   "requests": [{"arrival": 0.0, "due": 12.5, "penalty": "linear"}],
    ///   "tardiness_weight": 1.5
    /// }"#;
    /// let instance = scheduling::Instance::from_json(json)?;
    /// assert_eq!(instance.requests()[0].slack(), scheduling::Seconds::of(12.5));
    /// # Ok::<(), scheduling::InstanceError>(())
    /// ```
    ///
    /// # Errors
    /// [`InstanceError`] with the field and the line, or the index of the entry, and what is
    /// allowed there. Unknown fields are refused.
    pub fn from_json(json: &str) -> Result<Self, InstanceError> {
        // Editors on Windows begin files with a byte order mark.
        let json = json.strip_prefix('\u{feff}').unwrap_or(json);
        let mut deserializer = serde_json::Deserializer::from_str(json);
        let file: InstanceFile =
            serde_path_to_error::deserialize(&mut deserializer).map_err(|error| {
                InstanceError::Json {
                    field: excerpt(&error.path().to_string()),
                    problem: bounded(&error.into_inner().to_string()),
                }
            })?;
        deserializer.end().map_err(|error| InstanceError::Json {
            field: ".".into(),
            problem: bounded(&error.to_string()),
        })?;
        let cluster = Cluster::new(file.servers).map_err(|_| InstanceError::NoServers)?;
        let objective =
            Objective::new(file.quality.unwrap_or(QualityCurve::PAPER), file.tardiness_weight)?;
        Self::new(cluster, file.requests, objective)
    }

    /// Writes the JSON form. Reading it back gives an equal instance, to the last bit.
    pub fn to_json(&self) -> String {
        let curve = self.objective.curve();
        let file = InstanceFile {
            servers: self.cluster.to_vec(),
            requests: self.requests.clone(),
            tardiness_weight: self.objective.tardiness_weight(),
            quality: (*curve != QualityCurve::PAPER).then(|| curve.clone()),
        };
        let mut json = serde_json::to_string(&file).expect("an instance has only JSON's types");
        json.push('\n');
        json
    }
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct InstanceFile {
    servers: Vec<Server>,
    requests: Vec<Request>,
    tardiness_weight: f64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    quality: Option<QualityCurve>,
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
    /// The objective is out of range.
    #[error(transparent)]
    Objective(#[from] ObjectiveError),
}

#[cfg(test)]
mod tests {
    use super::*;

    fn json(servers: &str, requests: &str, rest: &str) -> String {
        format!("{{\"servers\":[{servers}],\n\"requests\":[{requests}],\n{rest}}}")
    }

    const SERVER: &str = r#"{"name":"s0","steps_per_second":15.2}"#;
    const REQUEST: &str = r#"{"arrival":0.0,"due":12.5,"penalty":"linear"}"#;
    const WEIGHT: &str = r#""tardiness_weight":1.5"#;

    #[test]
    fn bad_instances_are_refused_with_place_and_range() {
        let check = |servers: &str, requests: &str, rest: &str, parts: &[&str]| {
            let error = Instance::from_json(&json(servers, requests, rest)).unwrap_err();
            let message = error.to_string();
            for part in parts {
                assert!(message.contains(part), "{message:?} does not contain {part:?}");
            }
        };
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
    fn json_round_trips() {
        let servers = r#"{"name":"s0","steps_per_second":0.1,"overhead_seconds":0.3}"#;
        let rest = r#""tardiness_weight":0.7,"quality":{"table":[[10,1.5],[50,3.0]]}"#;
        let instance = Instance::from_json(&json(servers, REQUEST, rest)).unwrap();
        assert_eq!(Instance::from_json(&instance.to_json()).unwrap(), instance);
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
