//! Servers in the JSON form of an instance.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::json::{is_default, misplaced};
use super::{Instance, InstanceError};
use crate::bounds::StepBounds;
use crate::cluster::Server;
use crate::fate::{Down, ServerFate};
use crate::luck::Sigma;
use crate::model::{HostedModel, Hosting, Loaded, Model};
use crate::units::{Seconds, StepRate, Steps};

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ServerEntry {
    name: String,
    steps_per_second: StepRate,
    #[serde(default, skip_serializing_if = "is_default")]
    overhead_seconds: Seconds,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    min_steps: Option<Steps>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    max_steps: Option<Steps>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    resident: Option<usize>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    models: Option<BTreeMap<String, HostedEntry>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    loaded: Option<Vec<String>>,
    #[serde(default, skip_serializing_if = "is_default")]
    sigma: Sigma,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    down: Vec<Down>,
}

/// A hosted model: what is not given is the server's.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct HostedEntry {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    steps_per_second: Option<StepRate>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    overhead_seconds: Option<Seconds>,
    #[serde(default, skip_serializing_if = "is_default")]
    load_seconds: Seconds,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    min_steps: Option<Steps>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    max_steps: Option<Steps>,
}

/// Bounds as two fields of a file; `place` is the path of the entry they stand in.
pub(super) fn bounds(
    place: impl Fn() -> String,
    min: Option<Steps>,
    max: Option<Steps>,
) -> Result<StepBounds, InstanceError> {
    let bounds = StepBounds { min: min.unwrap_or(Steps::MIN), max: max.unwrap_or(Steps::MAX) };
    if bounds.min > bounds.max {
        let (min, max) = (bounds.min.get(), bounds.max.get());
        let problem = format!("{min} is above max_steps: allowed is 1 to {max}");
        return Err(misplaced(format!("{}.min_steps", place()), problem));
    }
    Ok(bounds)
}

/// Bounds as fields, those that say something.
pub(super) fn fields(bounds: StepBounds) -> (Option<Steps>, Option<Steps>) {
    let said = |steps: Steps, nothing: Steps| (steps != nothing).then_some(steps);
    (said(bounds.min, Steps::MIN), said(bounds.max, Steps::MAX))
}

impl ServerEntry {
    pub(super) fn of(instance: &Instance, index: usize) -> Self {
        let Server { name, step_rate, overhead, bounds, hosting, .. } = &instance.cluster[index];
        let fate = instance.fate.as_ref().map(|fate| &fate.servers[index]);
        let ServerFate { sigma, down } = fate.cloned().unwrap_or_default();
        let name_of = |model: Model| instance.cluster.models()[model.index()].clone();
        let entry = |hosted: &HostedModel| {
            let (min_steps, max_steps) = fields(hosted.bounds);
            let own = HostedEntry {
                steps_per_second: Some(hosted.step_rate).filter(|rate| rate != step_rate),
                overhead_seconds: Some(hosted.overhead).filter(|span| span != overhead),
                load_seconds: hosted.load,
                min_steps,
                max_steps,
            };
            (name_of(hosted.model), own)
        };
        let (min_steps, max_steps) = fields(*bounds);
        Self {
            name: name.clone(),
            steps_per_second: *step_rate,
            overhead_seconds: *overhead,
            min_steps,
            max_steps,
            resident: hosting.as_ref().map(|hosting| hosting.resident),
            models: hosting.as_ref().map(|hosting| hosting.models.iter().map(entry).collect()),
            loaded: (hosting.as_ref().map(|hosting| &hosting.loaded))
                .filter(|loaded| !loaded.is_empty())
                .map(|loaded| loaded.iter().copied().map(name_of).collect()),
            sigma,
            down,
        }
    }

    /// The server and its fate, where the models of the instance have these names.
    pub(super) fn split(
        self,
        index: usize,
        names: &Names<'_>,
    ) -> Result<(Server, ServerFate), InstanceError> {
        let place = format!("servers[{index}]");
        let server = Server {
            bounds: bounds(|| place.clone(), self.min_steps, self.max_steps)?,
            hosting: self.hosting(&place, names)?,
            ..Server::new(self.name, self.steps_per_second, self.overhead_seconds)
        };
        Ok((server, ServerFate { sigma: self.sigma, down: self.down }))
    }

    fn hosting(&self, place: &str, names: &Names<'_>) -> Result<Option<Hosting>, InstanceError> {
        let Some(entries) = &self.models else {
            let lone = [("resident", self.resident.is_some()), ("loaded", self.loaded.is_some())];
            return match lone.into_iter().find(|(_, given)| *given) {
                Some((field, _)) => {
                    let problem = "allowed beside models only, which say what is loaded";
                    Err(misplaced(format!("{place}.{field}"), problem))
                }
                None => Ok(None),
            };
        };
        let mut models = Vec::with_capacity(entries.len());
        for (name, entry) in entries {
            let place = || format!("{place}.models.{name}");
            models.push(HostedModel {
                model: names.find(name).map_err(|problem| misplaced(place(), problem))?,
                step_rate: entry.steps_per_second.unwrap_or(self.steps_per_second),
                overhead: entry.overhead_seconds.unwrap_or(self.overhead_seconds),
                load: entry.load_seconds,
                bounds: bounds(place, entry.min_steps, entry.max_steps)?,
            });
        }
        models.sort_unstable_by_key(|hosted| hosted.model);
        if models.is_empty() {
            let problem = "it hosts 0 models: allowed is 1 or more";
            return Err(misplaced(format!("{place}.models"), problem));
        }
        let resident = self.resident.unwrap_or(1);
        if resident == 0 {
            let problem = "there is room for 0 models: allowed is 1 or more";
            return Err(misplaced(format!("{place}.resident"), problem));
        }
        let loaded = self.loaded.as_deref().unwrap_or_default();
        if loaded.len() > resident {
            let problem = format!(
                "{} models are loaded where there is room for {resident}: allowed is {resident} or \
                 fewer",
                loaded.len()
            );
            return Err(misplaced(format!("{place}.loaded"), problem));
        }
        let mut resided = Vec::with_capacity(loaded.len());
        for (position, name) in loaded.iter().enumerate() {
            let place = || format!("{place}.loaded[{position}]");
            let model = names.find(name).map_err(|problem| misplaced(place(), problem))?;
            let problem = if !models.iter().any(|hosted| hosted.model == model) {
                "is not hosted by the server: allowed is one of its models"
            } else if resided.contains(&model) {
                "is loaded already: allowed is each model once"
            } else {
                resided.push(model);
                continue;
            };
            return Err(misplaced(place(), format!("{name:?} {problem}")));
        }
        Ok(Some(Hosting { resident, models, loaded: Loaded::new(resided) }))
    }
}

/// The names of an instance's models.
pub(super) struct Names<'a>(BTreeMap<&'a str, Model>);

impl<'a> Names<'a> {
    pub(super) fn of(models: &'a [String]) -> Result<Self, InstanceError> {
        let mut names = BTreeMap::new();
        for (index, name) in models.iter().enumerate() {
            let place = || format!("models[{index}]");
            let Ok(number) = u16::try_from(index) else {
                let problem = format!("there are {} models: allowed is 65536", models.len());
                return Err(misplaced("models", problem));
            };
            if name.is_empty() {
                let problem = "\"\" is no name: allowed is 1 character or more".to_owned();
                return Err(misplaced(place(), problem));
            }
            if names.insert(name.as_str(), Model(number)).is_some() {
                let problem = format!("{name:?} is taken by an earlier model: names must differ");
                return Err(misplaced(place(), problem));
            }
        }
        Ok(Self(names))
    }

    /// The model of a request that names none, or what is wrong with that.
    pub(super) fn unnamed(&self) -> Result<Model, String> {
        if self.0.is_empty() {
            return Ok(Model::default());
        }
        Err(format!("missing: allowed is one of {}", self.list()))
    }

    /// The model of a name, or what is wrong with it.
    pub(super) fn find(&self, name: &str) -> Result<Model, String> {
        self.0.get(name).copied().ok_or_else(|| {
            if self.0.is_empty() {
                format!("{name:?} is not declared: models names none")
            } else {
                format!("{name:?} is not declared: allowed is one of {}", self.list())
            }
        })
    }

    fn list(&self) -> String {
        const SHOWN: usize = 8;
        let more = if self.0.len() > SHOWN { ", …" } else { "" };
        let shown: Vec<_> = self.0.keys().take(SHOWN).copied().collect();
        shown.join(", ") + more
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// An instance of one server and one request.
    fn fleet(models: &str, server: &str, request: &str) -> String {
        format!(
            concat!(
                r#"{{"models":[{}],"servers":[{{"name":"s0","steps_per_second":2.0,{}}}],"#,
                r#""requests":[{{"arrival":0.0,"due":1.0,"penalty":"linear",{}}}],"#,
                r#""tardiness_weight":1.5}}"#,
                "\n"
            ),
            models, server, request
        )
    }

    const BOTH: &str = r#""a","b""#;
    const HOSTING: &str =
        r#""resident":1,"models":{"a":{},"b":{"load_seconds":9.0,"max_steps":60}}"#;

    #[test]
    fn fleets_are_written_as_they_are_read() {
        for (server, request) in [
            (HOSTING.to_owned(), r#""model":"b","size":2.0,"min_steps":60"#),
            (format!(r#""min_steps":2,{HOSTING},"loaded":["b"],"sigma":0.5"#), r#""model":"a""#),
            (r#""max_steps":9"#.into(), r#""model":"b","min_steps":2,"max_steps":150,"luck":0.5"#),
        ] {
            let text = fleet(BOTH, &server, request);
            let instance = Instance::from_json(&text).unwrap();
            assert_eq!(instance.to_json(), text);
            assert!(!instance.is_plain());
        }
    }

    #[test]
    fn bad_fleets_are_refused_with_their_place() {
        let loaded = |names: &str| format!(r#"{HOSTING},"loaded":[{names}]"#);
        let hosts = |entry: &str| format!(r#""models":{{{entry}}}"#);
        let a = r#""model":"a""#;
        for (models, server, request, parts) in [
            (
                BOTH,
                HOSTING.to_owned(),
                r#""model":"c""#,
                ["requests[0].model", r#""c" is not declared: allowed is one of a, b"#],
            ),
            (
                BOTH,
                HOSTING.into(),
                r#""size":1.0"#,
                ["requests[0].model", "missing: allowed is one of a, b"],
            ),
            ("", r#""sigma":0.0"#.into(), a, ["requests[0].model", "models names none"]),
            (BOTH, hosts(r#""b":{}"#), a, ["requests[0].model", r#""a" is hosted by no server"#]),
            (BOTH, hosts(r#""c":{}"#), a, ["servers[0].models.c", r#""c" is not declared"#]),
            (BOTH, hosts(""), a, ["servers[0].models", "hosts 0 models: allowed is 1 or more"]),
            (
                BOTH,
                r#""resident":0,"models":{"a":{}}"#.into(),
                a,
                ["servers[0].resident", "0 models: allowed is 1"],
            ),
            (BOTH, r#""resident":2"#.into(), a, ["servers[0].resident", "beside models only"]),
            (BOTH, r#""loaded":["a"]"#.into(), a, ["servers[0].loaded", "beside models only"]),
            (
                BOTH,
                r#""models":{"a":{}},"loaded":["b"]"#.into(),
                a,
                ["servers[0].loaded[0]", r#""b" is not hosted by the server"#],
            ),
            (BOTH, loaded(r#""c""#), a, ["servers[0].loaded[0]", r#""c" is not declared"#]),
            (
                BOTH,
                loaded(r#""a","b""#),
                a,
                ["servers[0].loaded", "2 models are loaded where there is room for 1"],
            ),
            (
                BOTH,
                r#""resident":2,"models":{"a":{}},"loaded":["a","a"]"#.into(),
                a,
                ["servers[0].loaded[1]", "loaded already"],
            ),
            (
                BOTH,
                hosts(r#""a":{"load_seconds":-1}"#),
                a,
                ["servers[0].models.a.load_seconds", "-1 is not a span of time: allowed is 0"],
            ),
            (
                BOTH,
                hosts(r#""a":{"min_steps":9,"max_steps":8}"#),
                a,
                ["servers[0].models.a.min_steps", "9 is above max_steps: allowed is 1 to 8"],
            ),
            (
                BOTH,
                r#""min_steps":9,"max_steps":8"#.into(),
                a,
                ["servers[0].min_steps", "9 is above max_steps"],
            ),
            (
                BOTH,
                HOSTING.into(),
                r#""model":"a","min_steps":9,"max_steps":8"#,
                ["requests[0].min_steps", "9 is above max_steps: allowed is 1 to 8"],
            ),
            (
                BOTH,
                HOSTING.into(),
                r#""model":"b","min_steps":61"#,
                ["requests[0]:", "accepts 61 to 200 steps"],
            ),
            (
                BOTH,
                HOSTING.into(),
                r#""model":"a","size":0.0"#,
                ["requests[0].size", "0 is not a size: allowed is 1e-6 to 1e6"],
            ),
            (r#""a","a""#, HOSTING.into(), a, ["models[1]", r#""a" is taken by an earlier model"#]),
            (r#""""#, HOSTING.into(), a, ["models[0]", "no name"]),
        ] {
            let message =
                Instance::from_json(&fleet(models, &server, request)).unwrap_err().to_string();
            for part in parts {
                assert!(message.contains(part), "{message:?} does not contain {part:?}");
            }
        }
    }
}
