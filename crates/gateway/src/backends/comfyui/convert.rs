//! From the form that ComfyUI draws ("Export") to the one that it runs ("Export (API)"). What the drawn form
//! leaves out, the names of values, the server itself tells.

use std::collections::HashMap;

use serde_json::{Map, Value, json};

use super::nodes::Nodes;

/// Nodes that are notes to whoever looks at the workflow.
const NOTES: [&str; 3] = ["Note", "MarkdownNote", "PrimitiveNote"];
/// Says how a node is drawn but not run.
const MUTED: i64 = 2;
/// Says that a node hands on what it is given.
const BYPASSED: i64 = 4;

/// A link: the node and the number of its output that it comes from.
type Source = (String, u64);

/// Converts a drawn workflow, with what the server says of its nodes at `/object_info`.
///
/// # Errors
/// What cannot be converted, in a sentence.
pub(crate) fn convert(drawn: &Value, known: &Nodes) -> Result<Map<String, Value>, String> {
    let nodes = drawn["nodes"].as_array().ok_or("it has no list of nodes")?;
    let drawn = Drawn {
        nodes: nodes.iter().filter_map(|node| Some((name(&node["id"])?, node))).collect(),
        links: links(&drawn["links"]),
    };
    let mut graph = Map::new();
    for node in nodes {
        let (kind, mode) = (kind(node), node["mode"].as_i64().unwrap_or(0));
        if NOTES.contains(&kind)
            || matches!(kind, "Reroute" | "PrimitiveNode")
            || [MUTED, BYPASSED].contains(&mode)
        {
            continue;
        }
        let id = name(&node["id"]).ok_or("a node has no number")?;
        let Some(declared) = known.inputs(kind) else {
            let of_group = kind.len() == 36 || kind.starts_with("workflow");
            return Err(if of_group {
                format!(
                    "node {id} is a group of others: write the file with \"Export (API)\", which unpacks it"
                )
            } else {
                format!(
                    "node {id} is of the kind {kind:?}, which the server does not have: install it there"
                )
            });
        };
        let inputs = drawn
            .inputs(node, declared)
            .map_err(|problem| format!("node {id} ({kind}): {problem}"))?;
        let title = node["title"].as_str().unwrap_or(kind);
        graph.insert(
            id,
            json!({ "class_type": kind, "inputs": inputs, "_meta": { "title": title } }),
        );
    }
    Ok(graph)
}

struct Drawn<'a> {
    nodes: HashMap<String, &'a Value>,
    links: HashMap<u64, Source>,
}

impl Drawn<'_> {
    /// What a node is given: links and values, by name.
    fn inputs<'n>(
        &self,
        node: &Value,
        declared: impl Iterator<Item = (&'n str, &'n Value)>,
    ) -> Result<Map<String, Value>, String> {
        let mut inputs = Map::new();
        let values = &node["widgets_values"];
        let mut next = values.as_array().into_iter().flatten().peekable();
        for (name, of) in declared {
            let link =
                node["inputs"].as_array().into_iter().flatten().find(|input| input["name"] == name);
            let link = link.and_then(|input| input["link"].as_u64());
            if is_value(of) {
                // The drawn form lists values in the order in which the node declares them.
                let value = match values {
                    Value::Object(values) => values.get(name).cloned(),
                    _ => next.next().cloned(),
                };
                let value = value.unwrap_or_else(|| of[1]["default"].clone());
                // Seeds are followed by what becomes of them after every run.
                let controls = ["fixed", "increment", "decrement", "randomize"];
                let seed = matches!(name, "seed" | "noise_seed")
                    || of[1]["control_after_generate"] == true;
                if seed
                    && next
                        .peek()
                        .is_some_and(|v| v.as_str().is_some_and(|v| controls.contains(&v)))
                {
                    next.next();
                }
                if link.is_none() && !value.is_null() {
                    inputs.insert(name.into(), value);
                }
            }
            if let Some(link) = link
                && let Some(value) = self.linked(link, 0)?
            {
                inputs.insert(name.into(), value);
            }
        }
        Ok(inputs)
    }

    /// What comes over a link: an output of a node that runs, or a value; nothing of a muted node.
    fn linked(&self, link: u64, depth: u32) -> Result<Option<Value>, String> {
        let Some((from, output)) = self.links.get(&link) else { return Ok(None) };
        let Some(node) = self.nodes.get(from) else { return Ok(None) };
        if depth > 100 {
            return Err("its links run in a circle".into());
        }
        let through = |input: &Value| match input["link"].as_u64() {
            Some(link) => self.linked(link, depth + 1),
            None => Ok(None),
        };
        match (kind(node), node["mode"].as_i64().unwrap_or(0)) {
            (_, MUTED) => Ok(None),
            ("Reroute", _) => through(&node["inputs"][0]),
            ("PrimitiveNode", _) => Ok(node["widgets_values"].get(0).cloned()),
            (_, BYPASSED) => {
                let wanted = &node["outputs"][*output as usize]["type"];
                let inputs = node["inputs"].as_array().into_iter().flatten();
                match inputs.into_iter().find(|input| input["type"] == *wanted) {
                    Some(input) => through(input),
                    None => Ok(None),
                }
            }
            _ => Ok(Some(json!([from, output]))),
        }
    }
}

/// Whether an input is typed in, and not only linked.
fn is_value(of: &Value) -> bool {
    let typed_in = match &of[0] {
        Value::Array(_) => true,
        Value::String(kind) => matches!(&**kind, "INT" | "FLOAT" | "STRING" | "BOOLEAN" | "COMBO"),
        _ => false,
    };
    typed_in && of[1]["forceInput"] != true
}

fn kind(node: &Value) -> &str {
    node["type"].as_str().unwrap_or_default()
}

fn name(id: &Value) -> Option<String> {
    match id {
        Value::String(id) => Some(id.clone()),
        Value::Number(id) => Some(id.to_string()),
        _ => None,
    }
}

/// Links are lists, or objects in newer files.
fn links(all: &Value) -> HashMap<u64, Source> {
    let link = |link: &Value| {
        let [id, from, output] = match link {
            Value::Array(_) => [&link[0], &link[1], &link[2]],
            _ => [&link["id"], &link["origin_id"], &link["origin_slot"]],
        };
        Some((id.as_u64()?, (name(from)?, output.as_u64()?)))
    };
    all.as_array().into_iter().flatten().filter_map(link).collect()
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::backends::comfyui::find::find;

    /// What a server says of the nodes of the built-in workflow.
    pub(crate) const KNOWN: &str = r#"{
        "CheckpointLoaderSimple": { "input": { "required": {
            "ckpt_name": [["sd_xl_base_1.0.safetensors", "sd_turbo.safetensors"], {}] } } },
        "CLIPTextEncode": { "input": { "required": { "text": ["STRING", { "multiline": true }], "clip": ["CLIP"] } } },
        "EmptyLatentImage": { "input": { "required": { "width": ["INT", { "default": 512 }],
            "height": ["INT", { "default": 512 }], "batch_size": ["INT", { "default": 1 }] } } },
        "KSampler": { "input": { "required": { "model": ["MODEL"], "seed": ["INT", { "control_after_generate": true }],
            "steps": ["INT", {}], "cfg": ["FLOAT", {}], "sampler_name": [["euler"], {}],
            "scheduler": ["COMBO", { "options": ["normal"] }], "positive": ["CONDITIONING"], "negative": ["CONDITIONING"],
            "latent_image": ["LATENT"], "denoise": ["FLOAT", { "default": 1.0 }] }, "optional": null } },
        "VAEDecode": { "input": { "required": { "samples": ["LATENT"], "vae": ["VAE"] } } },
        "SaveImage": { "input": { "required": { "images": ["IMAGE"],
            "filename_prefix": ["STRING", { "default": "ComfyUI" }] }, "hidden": { "prompt": "PROMPT" } } },
        "LoraLoaderModelOnly": { "input": { "required": { "model": ["MODEL"] } } },
        "Odd": {}
    }"#;

    fn known() -> Nodes {
        serde_json::from_str(KNOWN).unwrap()
    }

    /// The built-in workflow as ComfyUI draws it, with a detour, a note, and a node that is bypassed.
    pub(crate) fn drawn() -> Value {
        let link =
            |name: &str, kind: &str, link: u64| json!({ "name": name, "type": kind, "link": link });
        json!({
            "last_node_id": 20, "version": 0.4,
            "nodes": [
                { "id": 3, "type": "KSampler", "mode": 0, "widgets_values": [5, "randomize", 20, 7.5, "euler", "normal", 1],
                  "inputs": [link("model", "MODEL", 11), link("positive", "CONDITIONING", 2), link("negative", "CONDITIONING", 3),
                             link("latent_image", "LATENT", 4), link("steps", "INT", 12)] },
                { "id": 4, "type": "CheckpointLoaderSimple", "mode": 0, "widgets_values": ["sd_turbo.safetensors"] },
                { "id": 5, "type": "EmptyLatentImage", "mode": 0, "widgets_values": [640, 512, 1] },
                { "id": 6, "type": "CLIPTextEncode", "mode": 0, "title": "Positive", "widgets_values": ["a barn"],
                  "inputs": [link("clip", "CLIP", 5)] },
                { "id": 7, "type": "CLIPTextEncode", "mode": 0, "widgets_values": ["blurry"], "inputs": [link("clip", "CLIP", 6)] },
                { "id": 8, "type": "VAEDecode", "mode": 0, "inputs": [link("samples", "LATENT", 7), link("vae", "VAE", 8)] },
                { "id": 9, "type": "SaveImage", "mode": 0, "widgets_values": ["mine"], "inputs": [link("images", "IMAGE", 9)] },
                { "id": 10, "type": "Reroute", "mode": 0, "inputs": [link("", "*", 10)] },
                { "id": 11, "type": "LoraLoaderModelOnly", "mode": 4, "inputs": [link("model", "MODEL", 1)],
                  "outputs": [{ "name": "MODEL", "type": "MODEL" }] },
                { "id": 12, "type": "PrimitiveNode", "mode": 0, "widgets_values": [24, "fixed"] },
                { "id": 13, "type": "Note", "mode": 0, "widgets_values": ["mine"] },
                { "id": 14, "type": "SaveImage", "mode": 2, "inputs": [link("images", "IMAGE", 9)] },
            ],
            "links": [[1, 4, 0, 11, 0, "MODEL"], [2, 6, 0, 3, 1, "CONDITIONING"], [3, 7, 0, 3, 2, "CONDITIONING"],
                      [4, 5, 0, 3, 3, "LATENT"], [5, 4, 1, 6, 0, "CLIP"], [6, 4, 1, 7, 0, "CLIP"], [7, 3, 0, 8, 0, "LATENT"],
                      [8, 4, 2, 8, 1, "VAE"], [9, 8, 0, 9, 0, "IMAGE"], [10, 11, 0, 10, 0, "MODEL"], [11, 10, 0, 3, 0, "MODEL"],
                      [12, 12, 0, 3, 9, "INT"]]
        })
    }

    #[test]
    fn a_drawn_workflow_becomes_one_that_runs() {
        let graph = convert(&drawn(), &known()).unwrap();
        let inputs = |node: &str| graph[node]["inputs"].clone();
        assert_eq!(graph.keys().collect::<Vec<_>>(), ["3", "4", "5", "6", "7", "8", "9"]);
        let sampler = json!({
            "model": ["4", 0], "seed": 5, "steps": 24, "cfg": 7.5, "sampler_name": "euler", "scheduler": "normal",
            "positive": ["6", 0], "negative": ["7", 0], "latent_image": ["5", 0], "denoise": 1
        });
        assert_eq!(inputs("3"), sampler);
        assert_eq!(inputs("5"), json!({ "width": 640, "height": 512, "batch_size": 1 }));
        assert_eq!(inputs("9"), json!({ "images": ["8", 0], "filename_prefix": "mine" }));
        assert_eq!(graph["6"]["_meta"]["title"], "Positive");
        let found = find(&graph).unwrap();
        found.complete().unwrap();
        assert_eq!(found.output.as_deref(), Some("9"));
    }

    #[test]
    fn what_cannot_be_converted_is_named() {
        let mut unknown = drawn();
        unknown["nodes"][0]["type"] = json!("FancySampler");
        let problem = convert(&unknown, &known()).unwrap_err();
        assert!(problem.contains("node 3") && problem.contains("\"FancySampler\""), "{problem}");
        unknown["nodes"][0]["type"] = json!("0198aaaa-0000-7000-8000-000000000001");
        assert!(convert(&unknown, &known()).unwrap_err().contains("a group of others"));
        let mut circle = drawn();
        circle["links"][9] = json!([10, 10, 0, 10, 0, "MODEL"]);
        assert!(convert(&circle, &known()).unwrap_err().contains("circle"));
        assert!(convert(&json!({}), &known()).is_err());
    }
}
