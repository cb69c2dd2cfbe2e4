//! What a server says of its nodes, at `/object_info`.

use std::collections::HashMap;
use std::fmt;

use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};
use serde_json::Value;

/// Kinds of nodes by name.
#[derive(Clone, Debug, Default, serde::Deserialize)]
pub(crate) struct Nodes(HashMap<String, Node>);

#[derive(Clone, Debug, Default, serde::Deserialize)]
struct Node {
    #[serde(default)]
    input: Inputs,
}

#[derive(Clone, Debug, Default, serde::Deserialize)]
struct Inputs {
    #[serde(default)]
    required: Declared,
    #[serde(default)]
    optional: Declared,
}

/// Inputs in the order in which they are declared, which is that of the values in a drawn workflow.
#[derive(Clone, Debug, Default)]
struct Declared(Vec<(String, Value)>);

impl Nodes {
    /// The inputs that a kind of node declares, in order; none if the server does not have it.
    pub(crate) fn inputs(&self, kind: &str) -> Option<impl Iterator<Item = (&str, &Value)>> {
        let Inputs { required, optional } = &self.0.get(kind)?.input;
        let declared = required.0.iter().chain(&optional.0);
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

impl<'de> Deserialize<'de> for Declared {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct InOrder;
        impl<'de> Visitor<'de> for InOrder {
            type Value = Declared;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("inputs by name")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Declared, A::Error> {
                let mut declared = Vec::new();
                while let Some(input) = map.next_entry()? {
                    declared.push(input);
                }
                Ok(Declared(declared))
            }

            fn visit_unit<E>(self) -> Result<Declared, E> {
                Ok(Declared::default())
            }
        }
        deserializer.deserialize_any(InOrder)
    }
}
