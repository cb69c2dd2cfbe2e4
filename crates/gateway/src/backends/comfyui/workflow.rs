//! The operator's workflow, with the places that a job is put into.

use std::collections::BTreeSet;

use serde_json::{Map, Value, json};

use crate::backends::Job;

/// A workflow in API format and where its inputs are.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Workflow {
    graph: Map<String, Value>,
    inputs: Vec<(Input, String, String)>,
    /// The node whose picture it is.
    output: Option<String>,
    /// What is put in for a checkpoint.
    checkpoint: Option<String>,
    /// The node that takes the steps, and all that depend on it.
    sampling: BTreeSet<String>,
}

/// What is put into a workflow.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Input {
    Prompt,
    NegativePrompt,
    Seed,
    Steps,
    Width,
    Height,
    Checkpoint,
}

impl Input {
    /// What the configuration calls it.
    pub(crate) fn key(self) -> &'static str {
        match self {
            Self::Prompt => "prompt",
            Self::NegativePrompt => "negative_prompt",
            Self::Seed => "seed",
            Self::Steps => "steps",
            Self::Width => "width",
            Self::Height => "height",
            Self::Checkpoint => "checkpoint",
        }
    }
}

impl Workflow {
    /// Reads the JSON that ComfyUI's "Export (API)" writes; every place is `NODE.INPUT`, and the output a node.
    ///
    /// # Errors
    /// A message naming the place that does not exist and those that do.
    pub(crate) fn new(
        json: &str,
        places: &[(Input, &str)],
        output: Option<&str>,
    ) -> Result<Self, String> {
        let graph: Map<String, Value> = serde_json::from_str(json)
            .map_err(|e| format!("not a workflow in API format (Export (API) writes one): {e}"))?;
        if is_drawn(&graph) {
            let problem = "it is in the format of \"Export\": write it with \"Export (API)\", or have \
                           `atelier init --workflow` convert it";
            return Err(problem.into());
        }
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
        if let Some(output) = output.filter(|output| !graph.contains_key(*output)) {
            let nodes: Vec<_> = graph.keys().map(String::as_str).collect();
            return Err(format!("output = {output:?}: the nodes are {}", nodes.join(", ")));
        }
        Ok(Self { graph, inputs, output: output.map(Into::into), checkpoint: None, sampling })
    }

    /// The same with this checkpoint, where it takes one.
    pub(crate) fn with_checkpoint(self, checkpoint: String) -> Self {
        Self { checkpoint: Some(checkpoint), ..self }
    }

    /// The node that takes the steps, and all that depend on it.
    pub(super) fn sampling(&self) -> &BTreeSet<String> {
        &self.sampling
    }

    /// The node whose picture it is, if one is named.
    pub(super) fn output(&self) -> Option<&str> {
        self.output.as_deref()
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
                // The workflow has texts of its own for those that are not given.
                Input::Prompt if spec.prompt.is_empty() => continue,
                Input::NegativePrompt if spec.negative_prompt.is_empty() => continue,
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

/// The same with previews in place of saved pictures.
pub(super) fn with_previews(mut graph: Value) -> Value {
    for node in graph.as_object_mut().into_iter().flat_map(Map::values_mut) {
        if node["class_type"] == "SaveImage" {
            node["class_type"] = json!("PreviewImage");
            if let Some(inputs) = node["inputs"].as_object_mut() {
                inputs.retain(|name, _| name == "images");
            }
        }
    }
    graph
}

/// Whether it is the form that ComfyUI draws, with lists of nodes and links, and not the one that it runs.
pub(crate) fn is_drawn(graph: &Map<String, Value>) -> bool {
    graph.get("nodes").is_some_and(Value::is_array)
}

/// These nodes and all that take something from them, directly or through others.
pub(super) fn dependents(
    graph: &Map<String, Value>,
    mut nodes: BTreeSet<String>,
) -> BTreeSet<String> {
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
        let workflow = Workflow::new(graph, &[(Input::Steps, "1.value")], None).unwrap();
        let names: Vec<_> = workflow.sampling().iter().map(String::as_str).collect();
        assert_eq!(names, ["1", "3", "4", "5"]);
        // A workflow that runs in a circle is ComfyUI's to refuse.
        let circle = r#"{ "1": { "inputs": { "a": ["2", 0], "steps": 1 } },
                          "2": { "inputs": { "a": ["1", 0] } } }"#;
        let workflow = Workflow::new(circle, &[(Input::Steps, "1.steps")], None).unwrap();
        assert_eq!(workflow.sampling().len(), 2);
    }

    #[test]
    fn texts_of_the_workflow_stay_where_a_request_brings_none() {
        let graph = r#"{ "6": { "inputs": { "text": "a barn", "l": "x" } },
                          "7": { "inputs": { "text": "blurry" } } }"#;
        let places =
            [(Input::Prompt, "6.text"), (Input::Prompt, "6.l"), (Input::NegativePrompt, "7.text")];
        let workflow = Workflow::new(graph, &places, Some("7")).unwrap();
        let mut job = crate::backends::tests::job(1);
        let texts = |job: &Job| {
            let graph = workflow.fill(job);
            ["/6/inputs/text", "/6/inputs/l", "/7/inputs/text"]
                .map(|place| graph.pointer(place).unwrap().as_str().unwrap().to_string())
        };
        assert_eq!(texts(&job), ["a fox", "a fox", "blurry"]);
        job.spec.negative_prompt = "text".into();
        assert_eq!(texts(&job), ["a fox", "a fox", "text"]);
        (job.spec.prompt, job.spec.negative_prompt) = (String::new(), String::new());
        assert_eq!(texts(&job), ["a barn", "x", "blurry"]);
        let none = Workflow::new(graph, &places, Some("9")).unwrap_err();
        assert!(none.contains("the nodes are 6, 7"), "{none}");
        let drawn = Workflow::new(r#"{ "nodes": [], "links": [] }"#, &[], None).unwrap_err();
        assert!(drawn.contains("Export (API)"), "{drawn}");
    }

    #[test]
    fn saved_pictures_become_previews() {
        let save = json!({ "class_type": "SaveImage",
                           "inputs": { "images": ["8", 0], "filename_prefix": "x" } });
        let other = json!({ "class_type": "VAEDecode", "inputs": { "samples": ["3", 0] } });
        let graph = with_previews(json!({ "8": other, "9": save }));
        let preview = json!({ "class_type": "PreviewImage", "inputs": { "images": ["8", 0] } });
        assert_eq!(graph, json!({ "8": other, "9": preview }));
    }
}
