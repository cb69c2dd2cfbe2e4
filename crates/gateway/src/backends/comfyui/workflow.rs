//! The operator's workflow, with the places that a job is put into.

use std::collections::BTreeSet;

use serde_json::{Map, Value, json};

use crate::backends::Job;

/// A workflow in API format and where its inputs are.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Workflow {
    graph: Map<String, Value>,
    inputs: Vec<(Input, String, String)>,
    /// What is put in for a checkpoint.
    checkpoint: Option<String>,
    /// The node that takes the steps, and all that depend on it.
    sampling: BTreeSet<String>,
}

/// What is put into a workflow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Input {
    Prompt,
    NegativePrompt,
    Seed,
    Steps,
    Width,
    Height,
    Checkpoint,
}

impl Workflow {
    /// Reads the JSON that ComfyUI's "Export (API)" writes; every place is `NODE.INPUT`.
    ///
    /// # Errors
    /// A message naming the place that does not exist and those that do.
    pub(crate) fn new(json: &str, places: &[(Input, &str)]) -> Result<Self, String> {
        let graph: Map<String, Value> = serde_json::from_str(json)
            .map_err(|e| format!("not a workflow in API format (Export (API) writes one): {e}"))?;
        let mut inputs: Vec<(Input, String, String)> = Vec::new();
        for (input, place) in places {
            let (node, name) = place.split_once('.').ok_or_else(|| {
                format!("{input:?} = {place:?}: write NODE.INPUT, such as 3.steps")
            })?;
            let found = graph.get(node).and_then(|n| n.get("inputs")).and_then(Value::as_object);
            let found = found.ok_or_else(|| {
                let nodes: Vec<_> = graph.keys().map(String::as_str).collect();
                format!("{input:?} = {place:?}: the nodes are {}", nodes.join(", "))
            })?;
            if !found.contains_key(name) {
                let names: Vec<_> = found.keys().map(String::as_str).collect();
                return Err(format!(
                    "{input:?} = {place:?}: inputs of node {node} are {}",
                    names.join(", ")
                ));
            }
            inputs.push((*input, node.into(), name.into()));
        }
        let steps = inputs.iter().filter(|(input, ..)| *input == Input::Steps);
        let sampling = dependents(&graph, steps.map(|(_, node, _)| node.clone()).collect());
        Ok(Self { graph, inputs, checkpoint: None, sampling })
    }

    /// The same with this checkpoint, where it takes one.
    pub(crate) fn with_checkpoint(self, checkpoint: String) -> Self {
        Self { checkpoint: Some(checkpoint), ..self }
    }

    /// The node that takes the steps, and all that depend on it.
    pub(super) fn sampling(&self) -> &BTreeSet<String> {
        &self.sampling
    }

    /// The node that takes an input.
    pub(super) fn node(&self, wanted: Input) -> Option<&str> {
        let found = self.inputs.iter().find(|(input, ..)| *input == wanted);
        found.map(|(_, node, _)| node.as_str())
    }

    pub(in crate::backends) fn fill(&self, job: &Job) -> Value {
        let mut graph = Value::Object(self.graph.clone());
        let spec = &job.spec;
        for (input, node, name) in &self.inputs {
            graph[node]["inputs"][name] = match input {
                Input::Prompt => json!(spec.prompt),
                Input::NegativePrompt => json!(spec.negative_prompt),
                Input::Seed => json!(spec.seed),
                Input::Steps => json!(job.steps.get()),
                Input::Width => json!(spec.width),
                Input::Height => json!(spec.height),
                Input::Checkpoint => match &self.checkpoint {
                    Some(checkpoint) => json!(checkpoint),
                    None => continue,
                },
            };
        }
        graph
    }
}

/// These nodes and all that take something from them, directly or through others.
fn dependents(graph: &Map<String, Value>, mut nodes: BTreeSet<String>) -> BTreeSet<String> {
    // A link is written as the name of a node and the number of its output.
    let source = |input: &Value| Some(input.as_array()?.first()?.as_str()?.to_string());
    loop {
        let more: BTreeSet<_> = (graph.iter())
            .filter(|(name, _)| !nodes.contains(*name))
            .filter(|(_, node)| {
                let inputs = node.get("inputs").and_then(Value::as_object);
                let mut sources = inputs.into_iter().flat_map(Map::values).filter_map(source);
                sources.any(|source| nodes.contains(&source))
            })
            .map(|(name, _)| name.clone())
            .collect();
        if more.is_empty() {
            return nodes;
        }
        nodes.extend(more);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_depends_on_the_steps_is_found_through_others() {
        let graph = r#"{
            "1": { "inputs": { "value": 20 } },
            "2": { "inputs": { "ckpt_name": "x" } },
            "3": { "inputs": { "steps": ["1", 0], "model": ["2", 0], "seed": 1 } },
            "4": { "inputs": { "samples": ["3", 0] } },
            "5": { "inputs": { "images": ["4", 0] } },
            "6": { "inputs": { "text": "steps", "clip": ["2", 1] } }
        }"#;
        let workflow = Workflow::new(graph, &[(Input::Steps, "1.value")]).unwrap();
        let names: Vec<_> = workflow.sampling().iter().map(String::as_str).collect();
        assert_eq!(names, ["1", "3", "4", "5"]);
        // A workflow that runs in a circle is ComfyUI's to refuse.
        let circle = r#"{ "1": { "inputs": { "a": ["2", 0], "steps": 1 } },
                          "2": { "inputs": { "a": ["1", 0] } } }"#;
        let workflow = Workflow::new(circle, &[(Input::Steps, "1.steps")]).unwrap();
        assert_eq!(workflow.sampling().len(), 2);
    }
}
