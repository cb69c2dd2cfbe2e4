//! The models of the configuration: `[[model]]`, and what each server does with them.

use std::collections::BTreeMap;
use std::path::PathBuf;

use dispatch::Speed;
use scheduling::message::excerpt;
use scheduling::{
    HostedModel, Hosting, Loaded, Model, Objective, QualityCurve, Request, Seconds, Server, Size,
    StepBounds, StepRate, Steps,
};
use serde::Deserialize;
use toml::Spanned;

use super::check::Misfit;
use super::{BackendConfig, Config, ServerConfig, WorkflowInputs};
use crate::backends::demo::Method;
use crate::journal::Accepted;

/// A model that requests may name.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ModelConfig {
    /// Unique.
    pub name: Spanned<String>,
    /// Fewest steps it is worth running with.
    pub min_steps: Option<Steps>,
    /// Most steps it is worth running with: turbo and lightning models are finished early.
    pub max_steps: Option<Steps>,
    /// Q(s) of this model; that of the objective otherwise.
    pub quality: Option<QualityCurve>,
}

/// A model on a server. What is left open is as the server has it.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HostedConfig {
    /// Step rate at the default size, to begin with.
    pub steps_per_second: Option<StepRate>,
    /// Time of a run that does not depend on its steps, to begin with.
    pub overhead_seconds: Option<Seconds>,
    /// Time to load it, to begin with.
    #[serde(default)]
    pub load_seconds: Seconds,
    /// Fewest steps it may be given here.
    pub min_steps: Option<Steps>,
    /// Most steps it may be given here.
    pub max_steps: Option<Steps>,
    /// What the backend calls it; its name otherwise.
    pub checkpoint: Option<String>,
    /// The built-in painter: `ddim` or `ddpm`.
    pub method: Option<Method>,
    /// ComfyUI: the workflow that draws with it, in place of the server's.
    pub workflow: Option<PathBuf>,
    /// ComfyUI: where that workflow takes its inputs, if elsewhere than the server's.
    pub inputs: Option<WorkflowInputs>,
}

impl HostedConfig {
    /// The speed to begin with, on this server.
    pub(crate) fn speed(&self, server: &ServerConfig) -> Speed {
        Speed {
            overhead: self.overhead_seconds.unwrap_or(server.overhead_seconds),
            rate: self.steps_per_second.unwrap_or(server.steps_per_second),
        }
    }
}

/// What is said of steps below a table.
const UNMEASURED: &str = "the quality of so few steps is not known: allowed are as many as the first point \
                          of the `quality` table has, or more";

fn bounds(min: Option<Steps>, max: Option<Steps>) -> StepBounds {
    StepBounds { min: min.unwrap_or(Steps::MIN), max: max.unwrap_or(Steps::MAX) }
}

impl Config {
    /// The name of a model.
    pub(crate) fn model_name(&self, model: Model) -> Option<&str> {
        self.models.get(model.index()).map(|model| model.name.get_ref().as_str())
    }

    /// The model of a name.
    pub(crate) fn model(&self, name: &str) -> Option<Model> {
        let position = self.models.iter().position(|model| model.name.get_ref() == name)?;
        Some(Model(position as u16))
    }

    /// The size of a picture.
    pub(crate) fn size(&self, pixels: u32) -> Size {
        Size::of_picture(pixels, self.reference_pixels())
    }

    /// A request as the scheduler must know it: with the size that its pixels are and the model that its
    /// name is, which only the configuration tells. A model that is not there any more is one that no
    /// server hosts: its requests wait until it is back or they expire.
    pub(crate) fn request(&self, accepted: &Accepted) -> Request {
        let Accepted { order, spec, .. } = accepted;
        let model = self.model_or_unknown(spec.model.as_deref());
        Request { size: self.size(order.pixels), model, ..order.request }
    }

    /// The model of a name that may be gone, and the only one there is where none is named.
    pub(crate) fn model_or_unknown(&self, name: Option<&str>) -> Model {
        name.map_or(Model(0), |name| self.model(name).unwrap_or(Model::UNKNOWN))
    }

    /// What a request that names none is drawn with; none where there are no models.
    pub(crate) fn default_model(&self) -> Option<&str> {
        let first = self.models.first().map(|model| model.name.get_ref().as_str());
        self.defaults.model.as_deref().or(first)
    }

    /// What a request is drawn with that names a model which is not there, if it is drawn at all.
    pub(crate) fn catch_all_model(&self) -> Option<&str> {
        self.defaults.catch_all_model.as_deref()
    }

    /// By model: the objective with the model's own quality. Nothing where no model has one.
    pub(crate) fn objectives(&self) -> Vec<Objective> {
        if self.models.iter().all(|model| model.quality.is_none()) {
            return Vec::new();
        }
        self.models.iter().map(|model| self.objective_with(model)).collect()
    }

    fn objective_with(&self, model: &ModelConfig) -> Objective {
        let quality = model.quality.as_ref().unwrap_or(&self.objective.quality);
        self.objective.with(quality.clone()).expect("checked when it was read")
    }

    /// A server as the scheduler has it at first.
    ///
    /// # Panics
    /// If the configuration was put together by hand and the models do not go together.
    pub(crate) fn server(&self, server: &ServerConfig) -> Server {
        let ServerConfig { steps_per_second, overhead_seconds, .. } = *server;
        let name = server.name.get_ref().as_str();
        let mut own = Server::new(name, steps_per_second, overhead_seconds);
        own.bounds = self.steps_on(server).expect("checked when it was read");
        if !server.models.is_empty() {
            let model = |name: &str| self.model(name).expect("checked when it was read");
            let mut models: Vec<_> = (server.models.iter())
                .map(|(name, hosted)| self.hosted(server, model(name), hosted))
                .collect();
            models.sort_unstable_by_key(|hosted| hosted.model);
            let loaded = server.loaded.iter().map(|name| model(name)).collect();
            let resident = server.resident();
            own.hosting = Some(Hosting { resident, models, loaded: Loaded::new(loaded) });
        }
        own
    }

    /// The steps that a server may give, if there are any: where it hosts models, those of each come on top.
    fn steps_on(&self, server: &ServerConfig) -> Option<StepBounds> {
        let own = bounds(server.min_steps, server.max_steps);
        let known = self.objective.quality.bounds();
        if server.models.is_empty() { own.and(known) } else { Some(own) }
    }

    /// The steps that a model is worth running with and whose quality is known.
    fn steps_with(&self, model: &ModelConfig) -> Option<StepBounds> {
        let quality = model.quality.as_ref().unwrap_or(&self.objective.quality);
        bounds(model.min_steps, model.max_steps).and(quality.bounds())
    }

    fn hosted(&self, server: &ServerConfig, model: Model, hosted: &HostedConfig) -> HostedModel {
        let named = &self.models[model.index()];
        let here = bounds(hosted.min_steps, hosted.max_steps);
        let speed = hosted.speed(server);
        HostedModel {
            model,
            step_rate: speed.rate,
            overhead: speed.overhead,
            load: hosted.load_seconds,
            bounds: self
                .steps_with(named)
                .and_then(|all| all.and(here))
                .expect("checked when it was read"),
        }
    }

    pub(super) fn check_models(&self) -> Result<(), Misfit> {
        unique(&self.models)?;
        for (key, name) in [
            ("defaults.model", &self.defaults.model),
            ("defaults.catch_all_model", &self.defaults.catch_all_model),
        ] {
            if let Some(name) = name {
                self.declared(key, name)?;
            }
        }
        for (position, model) in self.models.iter().enumerate() {
            let name = model.name.get_ref();
            let key = format!("model.{position}");
            in_order(&key, name, model.min_steps, model.max_steps)?;
            if let Some(quality) = &model.quality {
                self.objective.with(quality.clone()).map_err(|error| {
                    let problem = format!("`quality` of model {:?}: {error}", excerpt(name));
                    Misfit::new(format!("{key}.quality"), problem)
                })?;
            }
            if self.steps_with(model).is_none() {
                let problem = format!("`max_steps` of model {:?}: {UNMEASURED}", excerpt(name));
                return Err(Misfit::new(format!("{key}.name"), problem));
            }
            if !self.servers.iter().any(|server| server.models.contains_key(name)) {
                let problem = format!(
                    "no server hosts model {:?}: write it into the `models` of a [[server]]",
                    excerpt(name)
                );
                return Err(Misfit::new(format!("{key}.name"), problem));
            }
        }
        self.servers.iter().enumerate().try_for_each(|(at, server)| self.check_hosting(at, server))
    }

    fn declared(&self, key: &str, name: &str) -> Result<Model, Misfit> {
        self.model(name).ok_or_else(|| {
            let problem =
                format!("`{key}`: there is no model {:?}: {}", excerpt(name), self.known());
            Misfit::new(key, problem)
        })
    }

    /// What a message says of the models that there are.
    pub(crate) fn known(&self) -> String {
        let names: Vec<_> = self.models.iter().map(|model| model.name.get_ref().as_str()).collect();
        match names[..] {
            [] => "there is no [[model]]".into(),
            [one] => format!("there is {one}"),
            _ => format!("there are {}", names.join(", ")),
        }
    }

    fn check_hosting(&self, position: usize, server: &ServerConfig) -> Result<(), Misfit> {
        let name = server.name.get_ref();
        let key = |key: &str| format!("server.{position}.{key}");
        in_order(&key("name"), name, server.min_steps, server.max_steps)?;
        check_workflows(position, server)?;
        if self.steps_on(server).is_none() {
            let problem = format!("`max_steps` of {name:?}: {UNMEASURED}");
            return Err(Misfit::new(key("name"), problem));
        }
        if server.models.is_empty() {
            let lone =
                [("resident", server.resident.is_some()), ("loaded", !server.loaded.is_empty())];
            if let Some((what, _)) = lone.into_iter().find(|(_, given)| *given) {
                let problem = format!("`{what}` of {name:?}: allowed is beside `models` only");
                return Err(Misfit::new(key(what), problem));
            }
            if !self.models.is_empty() {
                let problem = format!(
                    "{name:?} hosts no model: write `models`, such as models = {{ {:?} = {{}} }}",
                    self.models[0].name.get_ref()
                );
                return Err(Misfit::new(key("name"), problem));
            }
            return Ok(());
        }
        for (model, hosted) in &server.models {
            let declared = self.declared(&key("models"), model)?;
            let what = format!("{model} on {name}");
            in_order(&key("models"), &what, hosted.min_steps, hosted.max_steps)?;
            let own = &self.models[declared.index()];
            let all = (self.steps_with(own))
                .and_then(|all| all.and(bounds(hosted.min_steps, hosted.max_steps)))
                .and_then(|all| all.and(bounds(server.min_steps, server.max_steps)));
            if all.is_none() {
                let problem = format!(
                    "no number of steps is within the bounds of model {:?}, of server {name:?} and of \
                     the model there: allowed are bounds that have one in common",
                    excerpt(model)
                );
                return Err(Misfit::new(key("models"), problem));
            }
            let kinds = [
                ("workflow", hosted.workflow.is_some(), "comfyui", server.backend.is_comfyui()),
                ("inputs", hosted.inputs.is_some(), "comfyui", server.backend.is_comfyui()),
                ("method", hosted.method.is_some(), "demo", server.backend.is_demo()),
            ];
            for (what_of, given, kind, fits) in kinds {
                if given && !fits {
                    let problem =
                        format!("`{what_of}` of {what:?}: allowed is with kind = {kind:?}");
                    return Err(Misfit::new(key("models"), problem));
                }
            }
        }
        check_room(position, server)
    }
}

impl BackendConfig {
    fn is_comfyui(&self) -> bool {
        matches!(self, Self::Comfyui { .. })
    }

    fn is_demo(&self) -> bool {
        matches!(self, Self::Demo { .. })
    }
}

impl ServerConfig {
    /// Models that it can have loaded at once.
    pub(crate) fn resident(&self) -> usize {
        self.resident.unwrap_or(1) as usize
    }
}

/// ComfyUI has a workflow for whatever it draws with.
fn check_workflows(position: usize, server: &ServerConfig) -> Result<(), Misfit> {
    let BackendConfig::Comfyui { workflow: None, .. } = &server.backend else { return Ok(()) };
    let missing = server.models.iter().find(|(_, hosted)| hosted.workflow.is_none());
    if missing.is_none() && !server.models.is_empty() {
        return Ok(());
    }
    let name = server.name.get_ref();
    let what =
        missing.map_or(String::new(), |(model, _)| format!(" for model {:?}", excerpt(model)));
    let problem = format!("`workflow` of {name:?} is missing{what}: write the path of its file");
    Err(Misfit::new(format!("server.{position}.backend"), problem))
}

/// How many models are loaded, and which.
fn check_room(position: usize, server: &ServerConfig) -> Result<(), Misfit> {
    let (name, models) = (server.name.get_ref(), &server.models);
    let key = |key: &str| format!("server.{position}.{key}");
    let fixed = match server.backend {
        BackendConfig::Sdcpp { .. } => Some("sdcpp"),
        BackendConfig::Openai { .. } => Some("openai"),
        _ => None,
    };
    if let Some(kind) = fixed.filter(|_| models.len() > 1) {
        let problem = format!(
            "{} models on {name:?}: allowed with kind = {kind:?} is one, as it draws with what it was \
             started with",
            models.len()
        );
        return Err(Misfit::new(key("models"), problem));
    }
    if let BackendConfig::Comfyui { workflow: Some(_), inputs, .. } = &server.backend
        && inputs.checkpoint.is_none()
        && models.values().filter(|hosted| hosted.workflow.is_none()).count() > 1
    {
        let problem = format!(
            "several models of {name:?} share its workflow, which would draw all of them alike: write \
             `checkpoint` into `backend.inputs`, or a `workflow` for each"
        );
        return Err(Misfit::new(key("models"), problem));
    }
    if server.resident == Some(0) {
        let problem = format!("`resident` of {name:?} is 0 models: allowed is 1 or more");
        return Err(Misfit::new(key("resident"), problem));
    }
    if server.loaded.len() > server.resident() {
        let (loaded, resident) = (server.loaded.len(), server.resident());
        let problem = format!(
            "`loaded` of {name:?}: {loaded} models where there is room for {resident}: allowed is \
             {resident} or fewer"
        );
        return Err(Misfit::new(key("loaded"), problem));
    }
    for (index, model) in server.loaded.iter().enumerate() {
        let problem = if !models.contains_key(model) {
            let hosted: Vec<_> = models.keys().map(String::as_str).collect();
            format!("is not hosted there: allowed are {}", hosted.join(", "))
        } else if server.loaded[..index].contains(model) {
            "is there twice: allowed is once".into()
        } else {
            continue;
        };
        let problem = format!("`loaded` of {name:?}: {:?} {problem}", excerpt(model));
        return Err(Misfit::new(key("loaded"), problem));
    }
    Ok(())
}

fn in_order(key: &str, of: &str, min: Option<Steps>, max: Option<Steps>) -> Result<(), Misfit> {
    match (min, max) {
        (Some(min), Some(max)) if min > max => {
            let (of, min, max) = (excerpt(of), min.get(), max.get());
            let problem = format!("`min_steps` of {of:?} is {min}: allowed is 1 to {max}");
            Err(Misfit::new(key, problem))
        }
        _ => Ok(()),
    }
}

/// Characters in the name of a model, at most.
pub(crate) const LONGEST_NAME: usize = 128;

/// Whether the name of a model may have it.
pub(crate) fn may_name_a_model(c: char) -> bool {
    c.is_ascii_alphanumeric() || "-_./:+".contains(c)
}

fn unique(models: &[ModelConfig]) -> Result<(), Misfit> {
    for (position, model) in models.iter().enumerate() {
        let name = model.name.get_ref();
        let fits = name.len() <= LONGEST_NAME && name.chars().all(may_name_a_model);
        let problem = if name.is_empty() || !fits {
            let name = excerpt(name);
            format!(
                "`name` of a model is {name:?}: allowed are 1 to 128 of a-z A-Z 0-9 - _ . / : +"
            )
        } else if name == crate::http::CLUSTER {
            format!("`name`: {name:?} stands for the whole cluster: allowed is another one")
        } else if models[..position].iter().any(|other| other.name.get_ref() == name) {
            format!("`name`: {name:?} is taken by an earlier model")
        } else if position >= Model::UNKNOWN.index() {
            format!("{} models: allowed are 65535", models.len())
        } else {
            continue;
        };
        return Err(Misfit::new(format!("model.{position}.name"), problem));
    }
    Ok(())
}

/// By name.
pub(super) type HostedModels = BTreeMap<String, HostedConfig>;
