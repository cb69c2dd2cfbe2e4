//! The JSON form of an instance.

use std::fmt;

use serde::de::{SeqAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::{Instance, InstanceError};
use crate::cluster::{Cluster, Request, Server};
use crate::fate::{Down, Fate, ServerFate};
use crate::message::{bounded, excerpt};
use crate::objective::{Objective, QualityCurve, TardinessPenalty};
use crate::units::{Luck, Seconds, Sigma, StepRate, Time};

impl Instance {
    /// Reads the JSON form.
    ///
    /// ```
    /// let json = r#"{
    ///   "servers": [{"name": "s0", "steps_per_second": 15.2, "sigma": 0.2, "down": [[120.0, 180.5]]}],
    ///   "requests": [{"arrival": 0.0, "due": 12.5, "penalty": "linear", "luck": 0.31}],
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
        let file: File<Requests> =
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
        let Requests { requests, luck } = file.requests;
        let (servers, fates) = file.servers.into_iter().map(ServerEntry::split).unzip();
        let cluster = Cluster::new(servers).map_err(|_| InstanceError::NoServers)?;
        let objective =
            Objective::new(file.quality.unwrap_or(QualityCurve::PAPER), file.tardiness_weight)?;
        Self::new(cluster, requests, objective)?.under(Some(Fate { servers: fates, luck }))
    }

    /// Writes the JSON form. Reading it back gives an equal instance, to the last bit.
    pub fn to_json(&self) -> String {
        let curve = self.objective.curve();
        let fate = self.fate.as_ref();
        let servers =
            self.cluster.iter().enumerate().map(|(index, server)| {
                ServerEntry::of(server, fate.map(|fate| &fate.servers[index]))
            });
        let file = File {
            servers: servers.collect(),
            requests: Written(self),
            tardiness_weight: self.objective.tardiness_weight(),
            quality: (*curve != QualityCurve::PAPER).then(|| curve.clone()),
        };
        let mut json = serde_json::to_string(&file).expect("an instance has only JSON's types");
        json.push('\n');
        json
    }
}

/// The file, with its requests in the form that is read or the one that is written.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct File<R> {
    servers: Vec<ServerEntry>,
    requests: R,
    tardiness_weight: f64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    quality: Option<QualityCurve>,
}

/// Requests and their luck, apart from one another as soon as they are read: there may be a million.
#[derive(Default)]
struct Requests {
    requests: Vec<Request>,
    luck: Vec<Option<Luck>>,
}

impl<'de> Deserialize<'de> for Requests {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Entries;
        impl<'de> Visitor<'de> for Entries {
            type Value = Requests;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a sequence")
            }
            fn visit_seq<A: SeqAccess<'de>>(self, mut entries: A) -> Result<Requests, A::Error> {
                let mut read = Requests::default();
                while let Some(entry) = entries.next_element::<RequestEntry>()? {
                    read.luck.push(entry.luck);
                    read.requests.push(entry.request());
                }
                Ok(read)
            }
        }
        deserializer.deserialize_seq(Entries)
    }
}

/// The requests of an instance, written one by one.
struct Written<'a>(&'a Instance);

impl Serialize for Written<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Self(instance) = self;
        serializer.collect_seq(instance.requests.iter().enumerate().map(|(index, request)| {
            let luck = instance.fate.as_ref().and_then(|fate| fate.luck[index]);
            RequestEntry::of(request, luck)
        }))
    }
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct ServerEntry {
    name: String,
    steps_per_second: StepRate,
    #[serde(default, skip_serializing_if = "is_default")]
    overhead_seconds: Seconds,
    #[serde(default, skip_serializing_if = "is_default")]
    sigma: Sigma,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    down: Vec<Down>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct RequestEntry {
    arrival: Time,
    due: Time,
    penalty: TardinessPenalty,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    luck: Option<Luck>,
}

fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

impl ServerEntry {
    fn of(server: &Server, fate: Option<&ServerFate>) -> Self {
        let Server { name, step_rate, overhead } = server;
        let ServerFate { sigma, down } = fate.cloned().unwrap_or_default();
        let (steps_per_second, overhead_seconds) = (*step_rate, *overhead);
        Self { name: name.clone(), steps_per_second, overhead_seconds, sigma, down }
    }

    fn split(self) -> (Server, ServerFate) {
        let Self { name, steps_per_second, overhead_seconds, sigma, down } = self;
        let server = Server { name, step_rate: steps_per_second, overhead: overhead_seconds };
        (server, ServerFate { sigma, down })
    }
}

impl RequestEntry {
    fn of(request: &Request, luck: Option<Luck>) -> Self {
        let &Request { arrival, due, penalty } = request;
        Self { arrival, due, penalty, luck }
    }

    fn request(self) -> Request {
        let Self { arrival, due, penalty, luck: _ } = self;
        Request { arrival, due, penalty }
    }
}
