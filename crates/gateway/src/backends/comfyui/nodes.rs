//! What a server says of its nodes, at `/object_info`.

use std::collections::HashMap;

use indexmap::IndexMap;
use serde::Deserialize;
use serde_json::Value;

/// Kinds of nodes by name.
#[derive(Clone, Debug, Default, Deserialize)]
pub(crate) struct Nodes(HashMap<String, Node>);

#[derive(Clone, Debug, Default, Deserialize)]
struct Node {
    #[serde(default)]
    input: Inputs,
}

#[derive(Clone, Debug, Default, Deserialize)]
struct Inputs {
    required: Option<Declared>,
    optional: Option<Declared>,
}

/// Inputs in the order in which they are declared, which is that of the values in a drawn workflow.
type Declared = IndexMap<String, Value>;

impl Nodes {
    /// The inputs that a kind of node declares, in order; none if the server does not have it.
    pub(crate) fn inputs(&self, kind: &str) -> Option<impl Iterator<Item = (&str, &Value)>> {
        let Inputs { required, optional } = &self.0.get(kind)?.input;
        let declared = required.iter().chain(optional).flatten();
        Some(declared.map(|(name, of)| (name.as_str(), of)))
    }

    /// The checkpoints that the node for them lists: a list of choices, or a kind of choice with options in
    /// newer versions.
    pub(crate) fn checkpoints(&self) -> Vec<String> {
        let choices = self
            .inputs("CheckpointLoaderSimple")
            .and_then(|mut inputs| inputs.find(|(name, _)| *name == "ckpt_name"));
        let Some((_, choices)) = choices else { return Vec::new() };
        let listed = choices[0].as_array().or_else(|| choices[1]["options"].as_array());
        let names = listed.into_iter().flatten().filter_map(Value::as_str);
        names.map(String::from).collect()
    }
}
