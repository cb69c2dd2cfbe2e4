//! Workflows for ComfyUI: the user's own, or a built-in one.

use serde_json::{Map, Value, json};

use super::Recognised;
use crate::backends::comfyui::convert::convert;
use crate::backends::comfyui::find::{Found, find};
use crate::backends::comfyui::{Input, is_drawn};

/// A workflow of the user.
#[derive(Clone, Debug)]
pub struct WorkflowFile {
    /// Its name, for messages.
    pub file: String,
    /// What it draws with; what its loader names otherwise.
    pub model: Option<String>,
    /// JSON in either export format.
    pub text: String,
}

/// An input that the user has found himself.
#[derive(Clone, Debug)]
pub struct NamedInput {
    input: Input,
    place: String,
}

impl std::str::FromStr for NamedInput {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        const ALL: [Input; 7] = [
            Input::Prompt,
            Input::NegativePrompt,
            Input::Seed,
            Input::Steps,
            Input::Width,
            Input::Height,
            Input::Checkpoint,
        ];
        let allowed = || {
            let names: Vec<_> = ALL.iter().map(|input| input.key()).collect();
            format!(
                "{text:?}: write NAME=NODE.INPUT, such as steps=3.steps; names are {}",
                names.join(", ")
            )
        };
        let (name, place) = text.split_once('=').ok_or_else(allowed)?;
        let input = ALL.into_iter().find(|input| input.key() == name).ok_or_else(allowed)?;
        if !place.contains('.') {
            return Err(allowed());
        }
        Ok(Self { input, place: place.into() })
    }
}

/// A workflow that is ready to be written down.
#[derive(Clone, Debug)]
pub(super) struct Ready {
    /// What it draws with; anything that the server has, where it is told what.
    pub(super) model: Option<String>,
    /// The checkpoint in it.
    pub(super) checkpoint: Option<String>,
    /// In API format.
    pub(super) graph: Map<String, Value>,
    pub(super) found: Found,
    /// Of each place, what its node is.
    pub(super) nodes: Vec<(Input, String, String)>,
}

/// Reads a workflow of the user for a server.
pub(super) fn read(
    workflow: &WorkflowFile,
    server: &Recognised,
    named: &[NamedInput],
) -> Result<Ready, String> {
    let refuse = |problem: String| format!("{}: {problem}", workflow.file);
    let text: Value = serde_json::from_str(&workflow.text)
        .map_err(|e| refuse(format!("it is no workflow of ComfyUI, which is JSON: {e}")))?;
    let Value::Object(graph) = text else {
        return Err(refuse("it is no workflow of ComfyUI, which is a JSON object".into()));
    };
    let graph = if is_drawn(&graph) {
        convert(&Value::Object(graph), &server.nodes).map_err(refuse)?
    } else {
        graph
    };
    ready(workflow.model.clone(), graph, named).map_err(refuse)
}

/// The built-in one, for models that are finished after a few steps or for all others.
pub(super) fn built_in(few_steps: bool) -> Ready {
    let mut graph: Map<String, Value> =
        serde_json::from_str(include_str!("../backends/comfyui/builtin.json"))
            .expect("it is tested");
    if few_steps {
        let inputs = &mut graph["3"]["inputs"];
        (inputs["cfg"], inputs["steps"]) = (json!(1.0), json!(4));
        (inputs["sampler_name"], inputs["scheduler"]) = (json!("euler"), json!("sgm_uniform"));
    }
    ready(None, graph, &[]).expect("it is tested")
}

fn ready(
    model: Option<String>,
    graph: Map<String, Value>,
    named: &[NamedInput],
) -> Result<Ready, String> {
    let mut found = match find(&graph) {
        Ok(found) => found,
        Err(problem) if named.is_empty() => return Err(problem),
        Err(_) => Found::default(),
    };
    for NamedInput { input, place } in named {
        found.name(*input, place.clone());
    }
    found.complete()?;
    let mut nodes = Vec::new();
    for (input, places) in &found.places {
        for place in places {
            let (node, name) = place.split_once('.').expect("places have both");
            let node = graph.get(node).filter(|node| node["inputs"].get(name).is_some());
            let node =
                node.ok_or_else(|| format!("{} = {place}: there is no such input", input.key()))?;
            let kind = node["class_type"].as_str().unwrap_or_default();
            let title = node["_meta"]["title"].as_str().filter(|title| *title != kind);
            let what = title.map_or(kind.to_string(), |title| format!("{kind} {title:?}"));
            nodes.push((*input, place.clone(), what));
        }
    }
    let checkpoint = found.places.get(&Input::Checkpoint).and_then(|places| {
        let (node, name) = places.first()?.split_once('.')?;
        Some(graph[node]["inputs"][name].as_str()?.to_string()).filter(|name| !name.is_empty())
    });
    Ok(Ready { model, checkpoint, graph, found, nodes })
}
