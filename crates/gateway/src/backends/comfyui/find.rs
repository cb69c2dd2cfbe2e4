//! Where a workflow takes its inputs: found by what its nodes are, how they are linked, and their titles.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use serde_json::{Map, Value};

use super::workflow::{Input, dependents};

/// Places of a workflow, each as `NODE.INPUT`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Found {
    /// Where it takes what.
    pub(crate) places: BTreeMap<Input, Vec<String>>,
    /// The node whose picture it is, if there is but one that saves.
    pub(crate) output: Option<String>,
}

/// A workflow in API format.
struct Graph<'a>(&'a Map<String, Value>);

/// Finds where a workflow in API format takes its inputs.
///
/// # Errors
/// What was not found, and how to name it.
pub(crate) fn find(graph: &Map<String, Value>) -> Result<Found, String> {
    let graph = Graph(graph);
    let sampler = graph.sampler().ok_or(
        "no sampler was found in it, a node with a `latent_image`: name the inputs yourself, such as \
         --input steps=3.steps",
    )?;
    let mut found = Found::default();
    let mut take = |input, places: Vec<String>| {
        if !places.is_empty() {
            found.places.insert(input, places);
        }
    };
    take(Input::Steps, graph.numbers(sampler, &["steps"]));
    take(Input::Seed, graph.numbers(sampler, &["seed", "noise_seed"]));
    let positive = graph.texts(sampler, &["positive", "conditioning"], "positive");
    let negative = graph.texts(sampler, &["negative"], "negative");
    // Where the negative is the positive set to zero, there is none.
    take(Input::NegativePrompt, if negative == positive { Vec::new() } else { negative });
    take(Input::Prompt, positive);
    let latent = graph.link(sampler, "latent_image");
    let sized = |node: &str| graph.has(node, "width") && graph.has(node, "height");
    if let Some(node) =
        latent.and_then(|latent| graph.upstream(latent).into_iter().find(|n| sized(n)))
    {
        take(Input::Width, graph.place(node, "width").into_iter().collect());
        take(Input::Height, graph.place(node, "height").into_iter().collect());
    }
    let named =
        |name: &'static str| graph.upstream(sampler).into_iter().find(|n| graph.is_text(n, name));
    let checkpoint =
        ["ckpt_name", "unet_name"].into_iter().find_map(|name| Some((named(name)?, name)));
    take(
        Input::Checkpoint,
        checkpoint.map(|(node, name)| format!("{node}.{name}")).into_iter().collect(),
    );
    found.output = graph.output(sampler);
    Ok(found)
}

impl Found {
    /// Takes a place that somebody named in place of what was found.
    pub(crate) fn name(&mut self, input: Input, place: String) {
        self.places.insert(input, vec![place]);
    }

    /// What every workflow must have and this one has not.
    ///
    /// # Errors
    /// Which, and how to name them.
    pub(crate) fn complete(&self) -> Result<(), String> {
        let needed = [Input::Prompt, Input::Seed, Input::Steps, Input::Width, Input::Height];
        let missing: Vec<_> =
            needed.iter().filter(|input| !self.places.contains_key(input)).collect();
        let Some(first) = missing.first() else { return Ok(()) };
        let all: Vec<_> = missing.iter().map(|input| input.key()).collect();
        let (all, first) = (all.join(", "), first.key());
        Err(format!("{all}: not found in it: name the place, as in --input {first}=NODE.INPUT"))
    }
}

impl<'a> Graph<'a> {
    fn input(&self, node: &str, name: &str) -> Option<&'a Value> {
        self.0.get(node)?.get("inputs")?.get(name)
    }

    fn inputs(&self, node: &str) -> impl Iterator<Item = (&'a String, &'a Value)> {
        let inputs = self.0.get(node).and_then(|node| node.get("inputs")?.as_object());
        inputs.into_iter().flatten()
    }

    fn has(&self, node: &str, name: &str) -> bool {
        self.input(node, name).is_some()
    }

    fn is_text(&self, node: &str, name: &str) -> bool {
        self.input(node, name).is_some_and(Value::is_string)
    }

    fn title(&self, node: &str) -> String {
        let title = self.0.get(node).and_then(|node| node.get("_meta")?.get("title")?.as_str());
        title.unwrap_or_default().to_lowercase()
    }

    fn class(&self, node: &str) -> &'a str {
        self.0.get(node).and_then(|node| node.get("class_type")?.as_str()).unwrap_or_default()
    }

    /// The node that an input is linked to, if it is linked and not given as a value.
    fn link(&self, node: &str, name: &str) -> Option<&'a str> {
        self.source(self.input(node, name)?)
    }

    fn source(&self, value: &'a Value) -> Option<&'a str> {
        let source = value.as_array()?.first()?.as_str()?;
        self.0.contains_key(source).then_some(source)
    }

    /// A node and all that it takes something from, the nearest first.
    fn upstream<'n>(&self, node: &'n str) -> Vec<&'n str>
    where
        'a: 'n,
    {
        let (mut seen, mut next) = (vec![node], VecDeque::from([node]));
        while let Some(node) = next.pop_front() {
            for source in self.inputs(node).filter_map(|(_, value)| self.source(value)) {
                if !seen.contains(&source) {
                    seen.push(source);
                    next.push_back(source);
                }
            }
        }
        seen
    }

    /// The first sampler: later ones, which refine its picture, take what it has drawn.
    fn sampler(&self) -> Option<&'a str> {
        let all: Vec<&'a str> = self
            .0
            .keys()
            .map(String::as_str)
            .filter(|node| self.has(node, "latent_image"))
            .collect();
        let first = |node: &&&str| {
            let latent = self.link(node, "latent_image");
            latent.is_none_or(|latent| !self.upstream(latent).iter().any(|up| all.contains(up)))
        };
        all.iter().find(first).copied()
    }

    /// Where a value stands that an input is given, directly or by a node that does nothing else.
    fn place(&self, node: &str, name: &str) -> Option<String> {
        let value = self.input(node, name)?;
        if !value.is_array() {
            return Some(format!("{node}.{name}"));
        }
        let source = self.source(value)?;
        let mut values =
            self.inputs(source).filter(|(_, value)| value.is_number() || value.is_string());
        let (only, more) = (values.next()?, values.next());
        let name = match more {
            None => only.0,
            Some(_) => {
                ["value", "int", "number", "string", "text"]
                    .into_iter()
                    .find_map(|name| self.inputs(source).find(|(own, _)| *own == name))?
                    .0
            }
        };
        Some(format!("{source}.{name}"))
    }

    /// Where the first of these inputs is given that a node or something before it has.
    fn numbers(&self, node: &str, names: &[&str]) -> Vec<String> {
        let before = self.upstream(node);
        let places = before.iter().flat_map(|node| names.iter().map(move |name| (node, name)));
        places.into_iter().find_map(|(node, name)| self.place(node, name)).into_iter().collect()
    }

    /// Where the texts stand that a sampler's input comes from; by their titles, if no link leads there.
    fn texts(&self, sampler: &str, inputs: &[&str], title: &str) -> Vec<String> {
        // Some samplers leave it to a guider.
        let holders = [Some(sampler), self.link(sampler, "guider")];
        let linked = holders
            .into_iter()
            .flatten()
            .find_map(|holder| inputs.iter().find_map(|input| self.link(holder, input)));
        let found = linked.and_then(|linked| {
            self.upstream(linked)
                .into_iter()
                .map(|node| self.own_texts(node))
                .find(|t| !t.is_empty())
        });
        found.unwrap_or_else(|| {
            let titled = self.0.keys().filter(|node| self.title(node).contains(title));
            titled
                .map(|node| self.own_texts(node))
                .find(|texts| !texts.is_empty())
                .unwrap_or_default()
        })
    }

    /// Where the texts of a node stand: some encoders take one for each of their parts.
    fn own_texts(&self, node: &str) -> Vec<String> {
        const NAMES: [&str; 7] =
            ["text", "text_g", "text_l", "clip_l", "clip_g", "t5xxl", "prompt"];
        NAMES.into_iter().filter_map(|name| self.place(node, name)).collect()
    }

    /// The node that saves what a sampler has drawn, if there is but one.
    fn output(&self, sampler: &str) -> Option<String> {
        let behind = dependents(self.0, BTreeSet::from([sampler.to_string()]));
        let of_kind = |kind: &'static str| {
            behind.iter().filter(move |node| self.class(node).contains(kind)).collect::<Vec<_>>()
        };
        let (saving, showing) = (of_kind("SaveImage"), of_kind("PreviewImage"));
        match (&saving[..], &showing[..]) {
            ([one], _) | ([], [one]) => Some((*one).clone()),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn check(graph: &Value, expected: &[(Input, &[&str])], output: Option<&str>) {
        let found = find(graph.as_object().unwrap()).unwrap();
        let places: Vec<_> = (found.places.iter())
            .map(|(input, places)| (*input, places.iter().map(String::as_str).collect::<Vec<_>>()))
            .collect();
        let mut expected: Vec<_> = expected.iter().map(|(input, p)| (*input, p.to_vec())).collect();
        expected.sort();
        assert_eq!((places, found.output.as_deref()), (expected, output));
    }

    #[test]
    fn the_built_in_workflow_is_found_by_its_links() {
        let graph: Value = serde_json::from_str(include_str!("builtin.json")).unwrap();
        let all: [(Input, &[&str]); 7] = [
            (Input::Prompt, &["6.text"]),
            (Input::NegativePrompt, &["7.text"]),
            (Input::Seed, &["3.seed"]),
            (Input::Steps, &["3.steps"]),
            (Input::Width, &["5.width"]),
            (Input::Height, &["5.height"]),
            (Input::Checkpoint, &["4.ckpt_name"]),
        ];
        check(&graph, &all, Some("9"));
    }

    #[test]
    fn values_from_other_nodes_guiders_and_encoders_of_several_parts_are_found() {
        let graph = json!({
            "1": { "class_type": "UNETLoader", "inputs": { "unet_name": "flux1-dev.safetensors" } },
            "2": { "class_type": "CLIPTextEncodeFlux",
                   "inputs": { "clip_l": "a", "t5xxl": "b", "guidance": 3.5, "clip": ["9", 0] } },
            "3": { "class_type": "BasicGuider", "inputs": { "model": ["1", 0], "conditioning": ["2", 0] } },
            "4": { "class_type": "PrimitiveInt", "inputs": { "value": 768 } },
            "5": { "class_type": "EmptySD3LatentImage", "inputs": { "width": ["4", 0], "height": 512 } },
            "6": { "class_type": "BasicScheduler", "inputs": { "steps": 20, "model": ["1", 0] } },
            "7": { "class_type": "RandomNoise", "inputs": { "noise_seed": 5 } },
            "8": { "class_type": "SamplerCustomAdvanced",
                   "inputs": { "noise": ["7", 0], "guider": ["3", 0], "sigmas": ["6", 0], "latent_image": ["5", 0] } },
            "9": { "class_type": "DualCLIPLoader", "inputs": { "clip_name1": "x" } },
            "10": { "class_type": "PreviewImage", "inputs": { "images": ["8", 0] } },
        });
        let all: [(Input, &[&str]); 6] = [
            (Input::Prompt, &["2.clip_l", "2.t5xxl"]),
            (Input::Seed, &["7.noise_seed"]),
            (Input::Steps, &["6.steps"]),
            (Input::Width, &["4.value"]),
            (Input::Height, &["5.height"]),
            (Input::Checkpoint, &["1.unet_name"]),
        ];
        check(&graph, &all, Some("10"));
    }

    #[test]
    fn the_first_of_two_samplers_counts_and_titles_help_where_links_do_not() {
        let graph = json!({
            "1": { "inputs": { "width": 512, "height": 512 } },
            "2": { "class_type": "KSampler", "inputs": { "seed": 1, "steps": 9, "latent_image": ["5", 0] } },
            "4": { "class_type": "KSampler", "inputs": { "seed": 1, "steps": 20, "latent_image": ["1", 0] } },
            "5": { "class_type": "LatentUpscale", "inputs": { "width": 1024, "height": 1024, "samples": ["4", 0] } },
            "6": { "inputs": { "text": "blurry" }, "_meta": { "title": "Negative prompt" } },
            "7": { "inputs": { "text": "a fox" }, "_meta": { "title": "Positive prompt" } },
            "8": { "class_type": "SaveImage", "inputs": { "images": ["2", 0] } },
            "9": { "class_type": "SaveImage", "inputs": { "images": ["4", 0] } },
        });
        let all: [(Input, &[&str]); 6] = [
            (Input::Prompt, &["7.text"]),
            (Input::NegativePrompt, &["6.text"]),
            (Input::Seed, &["4.seed"]),
            (Input::Steps, &["4.steps"]),
            (Input::Width, &["1.width"]),
            (Input::Height, &["1.height"]),
        ];
        check(&graph, &all, None);
        let none = find(&Map::new()).unwrap_err();
        assert!(none.contains("--input steps=3.steps"), "{none}");
        let bare = json!({ "1": { "inputs": { "latent_image": ["7", 0], "steps": 3 } } });
        let missing = find(bare.as_object().unwrap()).unwrap().complete().unwrap_err();
        assert!(missing.starts_with("prompt, seed, width, height: not found"), "{missing}");
    }
}
