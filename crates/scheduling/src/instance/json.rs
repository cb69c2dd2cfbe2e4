//! The JSON form of an instance.

use std::collections::BTreeMap;
use std::fmt;

use serde::de::{Error as _, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::servers::{Names, ServerEntry, bounds, fields};
use super::{Instance, InstanceError};
use crate::cluster::{Cluster, Request};
use crate::fate::Fate;
use crate::luck::Luck;
use crate::message::{bounded, excerpt};
use crate::model::Model;
use crate::objective::{Objective, QualityCurve, TardinessPenalty};
use crate::units::{Size, Steps, Time};

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
        let names = Names::of(&file.models)?;
        let Requests { read: mut requests, luck, named, wrong } = file.requests;
        wrong.map_or(Ok(()), Err)?;
        named.resolve(&mut requests, &names)?;
        let servers = file.servers.into_iter().enumerate();
        let servers: Vec<_> =
            servers.map(|(index, server)| server.split(index, &names)).collect::<Result<_, _>>()?;
        let (servers, fates) = servers.into_iter().unzip();
        let cluster =
            Cluster::with_models(servers, file.models).map_err(|_| InstanceError::NoServers)?;
        let objective =
            Objective::new(file.quality.unwrap_or(QualityCurve::PAPER), file.tardiness_weight)?;
        Self::new(cluster, requests, objective)?.under(Some(Fate { servers: fates, luck }))
    }

    /// Writes the JSON form. Reading it back gives an equal instance, to the last bit.
    pub fn to_json(&self) -> String {
        let curve = self.objective.curve();
        let file = File {
            models: self.cluster.models().to_vec(),
            servers: (0..self.cluster.len()).map(|index| ServerEntry::of(self, index)).collect(),
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
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    models: Vec<String>,
    servers: Vec<ServerEntry>,
    requests: R,
    tardiness_weight: f64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    quality: Option<QualityCurve>,
}

/// What is wrong at a place of a file that is JSON and of the instance's form.
pub(super) fn misplaced(field: impl AsRef<str>, problem: impl AsRef<str>) -> InstanceError {
    InstanceError::Json { field: excerpt(field.as_ref()), problem: bounded(problem.as_ref()) }
}

/// Requests and their luck, apart from one another as soon as they are read: there may be a million.
#[derive(Default)]
struct Requests {
    /// Their models are positions in `named` until all is read.
    read: Vec<Request>,
    luck: Vec<Option<Luck>>,
    named: Named,
    /// What is wrong with the first request whose fields do not go together.
    wrong: Option<InstanceError>,
}

/// The models that requests name, or that some name none: each with its position in order of the first
/// requests, and that request.
#[derive(Default)]
struct Named(BTreeMap<Option<String>, (u16, usize)>);

impl Named {
    fn position(&mut self, name: Option<String>, request: usize) -> Result<u16, &'static str> {
        let Self(positions) = self;
        if let Some(&(position, _)) = positions.get(&name) {
            return Ok(position);
        }
        let position = u16::try_from(positions.len()).map_err(|_| "allowed is 65536 models")?;
        positions.insert(name, (position, request));
        Ok(position)
    }

    /// Puts the models in place of the positions.
    fn resolve(self, requests: &mut [Request], names: &Names<'_>) -> Result<(), InstanceError> {
        let mut named: Vec<_> = self.0.into_iter().collect();
        named.sort_unstable_by_key(|&(_, (position, _))| position);
        let models = named.iter().map(|(name, (_, request))| {
            let model = name.as_ref().map_or_else(|| names.unnamed(), |name| names.find(name));
            model.map_err(|problem| misplaced(format!("requests[{request}].model"), problem))
        });
        let models: Vec<_> = models.collect::<Result<_, _>>()?;
        for request in requests {
            request.model = models[request.model.index()];
        }
        Ok(())
    }
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
                let mut all = Requests::default();
                while let Some(mut entry) = entries.next_element::<RequestEntry>()? {
                    let index = all.read.len();
                    let model = all.named.position(entry.model.take(), index);
                    let model = Model(model.map_err(A::Error::custom)?);
                    all.luck.push(entry.luck);
                    match entry.request(index, model) {
                        Ok(request) => all.read.push(request),
                        Err(wrong) => {
                            all.wrong.get_or_insert(wrong);
                        }
                    }
                }
                Ok(all)
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
        let requests = instance.requests.iter().enumerate();
        serializer.collect_seq(
            requests.map(|(index, request)| RequestEntry::of(instance, index, request)),
        )
    }
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct RequestEntry {
    arrival: Time,
    due: Time,
    penalty: TardinessPenalty,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    model: Option<String>,
    #[serde(default, skip_serializing_if = "is_default")]
    size: Size,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    min_steps: Option<Steps>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    max_steps: Option<Steps>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    luck: Option<Luck>,
}

pub(super) fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

impl RequestEntry {
    fn of(instance: &Instance, index: usize, request: &Request) -> Self {
        let &Request { arrival, due, size, bounds, model, penalty } = request;
        let (min_steps, max_steps) = fields(bounds);
        Self {
            arrival,
            due,
            penalty,
            model: instance.cluster.models().get(model.index()).cloned(),
            size,
            min_steps,
            max_steps,
            luck: instance.fate.as_ref().and_then(|fate| fate.luck[index]),
        }
    }

    fn request(self, index: usize, model: Model) -> Result<Request, InstanceError> {
        let Self { arrival, due, penalty, size, min_steps, max_steps, .. } = self;
        let bounds = bounds(|| format!("requests[{index}]"), min_steps, max_steps)?;
        Ok(Request { size, bounds, model, ..Request::new(arrival, due, penalty) })
    }
}
