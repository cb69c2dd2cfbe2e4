//! What ComfyUI remembers of a prompt.

use std::collections::BTreeSet;

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde::Deserialize;
use serde_json::{Map, Value};

use crate::backends::BackendError;

/// What does not stand as it is in the query of a picture's path.
const ESCAPED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.');

#[derive(Deserialize)]
pub(in crate::backends) struct Past {
    #[serde(default)]
    outputs: Map<String, Value>,
    #[serde(default)]
    status: Option<PastStatus>,
}

#[derive(Deserialize)]
struct PastStatus {
    status_str: String,
    #[serde(default)]
    messages: Vec<(String, Value)>,
}

impl Past {
    /// What a history says of a prompt; none while it goes on.
    pub(in crate::backends) fn find(
        mut history: Map<String, Value>,
        id: &str,
    ) -> Result<Option<Self>, BackendError> {
        let past = history.remove(id).map(serde_json::from_value).transpose();
        past.map_err(|e| BackendError::Garbage(e.to_string().into()))
    }

    fn messages(&self) -> impl DoubleEndedIterator<Item = (&String, &Value)> {
        let messages = self.status.iter().flat_map(|status| &status.messages);
        messages.map(|(event, data)| (event, data))
    }

    /// Whether the sampling, these nodes but for those that give out pictures, came out of the
    /// cache.
    pub(super) fn cached(&self, sampling: &BTreeSet<String>) -> bool {
        let told = self.messages().filter(|(event, _)| *event == "execution_cached");
        let nodes = told.filter_map(|(_, data)| data.get("nodes")?.as_array()).flatten();
        let cached: BTreeSet<_> = nodes.filter_map(Value::as_str).collect();
        let mut inner = sampling.iter().filter(|node| !self.outputs.contains_key(*node)).peekable();
        inner.peek().is_some() && inner.all(|node| cached.contains(node.as_str()))
    }

    /// Paths of its pictures, the likeliest first, or why there are none: those of the node that is named,
    /// or else what was saved before previews.
    pub(in crate::backends) fn places(
        &self,
        node: Option<&str>,
    ) -> Result<Vec<String>, BackendError> {
        // Servers of 2023 tell no status: what has outputs succeeded.
        if self.status.as_ref().is_some_and(|status| status.status_str != "success") {
            let told = self.messages().rev().find_map(|(event, data)| {
                (event.starts_with("execution_")).then(|| why(event, data))
            });
            let told = told.unwrap_or_else(|| "it does not say why".into());
            return Err(BackendError::JobFailed(told.into()));
        }
        let named = |of: &String| node.is_none_or(|node| node == of);
        let outputs = self.outputs.iter().filter(|(of, _)| named(of));
        let images = outputs.filter_map(|(_, output)| output.get("images")?.as_array()).flatten();
        let text = |image: &Value, key: &str| {
            image.get(key).and_then(Value::as_str).unwrap_or("").to_string()
        };
        let mut kinds: Vec<_> = images.map(|image| (text(image, "type"), image)).collect();
        // What is but an input passed through is no picture of ours.
        kinds.retain(|(kind, _)| matches!(&**kind, "output" | "temp"));
        kinds.sort_by_key(|(kind, _)| kind != "output");
        if kinds.is_empty() {
            let of = node.map_or(String::new(), |node| format!(" of node {node}"));
            return Err(BackendError::Garbage(format!("there is no output image{of}").into()));
        }
        let path = |(kind, image): (String, &Value)| {
            format!(
                "/view?filename={}&subfolder={}&type={kind}",
                utf8_percent_encode(&text(image, "filename"), ESCAPED),
                utf8_percent_encode(&text(image, "subfolder"), ESCAPED)
            )
        };
        Ok(kinds.into_iter().map(path).collect())
    }
}

/// What an event says about a failure: the node, and what happened there.
fn why(event: &str, data: &Value) -> String {
    let text = |key: &str| data.get(key).and_then(Value::as_str).unwrap_or_default().trim();
    let happened = match text("exception_message") {
        "" => event,
        message => message,
    };
    match (text("node_id"), text("node_type")) {
        ("", _) => happened.into(),
        (node, "") => format!("node {node}: {happened}"),
        (node, kind) => format!("node {node} ({kind}): {happened}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn past(outputs: &Value, status: &Value) -> Past {
        serde_json::from_value(json!({ "outputs": outputs, "status": status })).unwrap()
    }

    #[test]
    fn pictures_are_found_with_any_kind_of_status() {
        let outputs = json!({ "9": { "images": [{ "filename": "a b.png", "type": "output" }] } });
        let success = json!({ "status_str": "success", "completed": true, "messages": [] });
        for status in [success, Value::Null] {
            let places = past(&outputs, &status).places(None);
            assert_eq!(places.unwrap(), ["/view?filename=a%20b.png&subfolder=&type=output"]);
        }
        let error = |messages: &Value| {
            let status = json!({ "status_str": "error", "messages": messages });
            past(&outputs, &status).places(None).unwrap_err().to_string()
        };
        let told = json!([["execution_start", {}],
                          ["execution_error", { "exception_message": "out\nof\u{1b} memory" }]]);
        assert_eq!(error(&told), "the job failed: out of\\u{1b} memory");
        assert_eq!(error(&json!([])), "the job failed: it does not say why");
        let told = json!([["execution_error", { "node_id": "3", "node_type": "KSampler",
                                                "exception_message": "out of memory\n" }]]);
        assert_eq!(error(&told), "the job failed: node 3 (KSampler): out of memory");
    }

    #[test]
    fn names_of_pictures_are_escaped_byte_by_byte() {
        let check = |name: &str, escaped: &str| {
            let image = json!({ "filename": name, "subfolder": name, "type": "output" });
            let places = past(&json!({ "9": { "images": [image] } }), &Value::Null).places(None);
            let expected = format!("/view?filename={escaped}&subfolder={escaped}&type=output");
            assert_eq!(places.unwrap(), [expected]);
        };
        check("aZ0-_.", "aZ0-_.");
        check("~*!'()/\\", "%7E%2A%21%27%28%29%2F%5C");
        check("a&b=c+d#e?f%20", "a%26b%3Dc%2Bd%23e%3Ff%2520");
        check("\u{0}\n\u{7f}é犬", "%00%0A%7F%C3%A9%E7%8A%AC");
    }

    #[test]
    fn a_sampling_that_was_cached_is_noticed() {
        let sampling: BTreeSet<_> = ["3", "8", "9"].map(String::from).into();
        let outputs = json!({ "9": { "images": [] } });
        let check = |nodes: &Value, expected: bool| {
            let told = json!([["execution_start", {}], ["execution_cached", { "nodes": nodes }]]);
            let past = past(&outputs, &json!({ "status_str": "success", "messages": told }));
            assert_eq!(past.cached(&sampling), expected, "{nodes}");
        };
        check(&json!(["3", "8", "9", "4"]), true);
        check(&json!(["3", "8"]), true);
        check(&json!(["4", "6", "7"]), false);
        check(&json!(["3"]), false);
        check(&json!([]), false);
        check(&json!(3), false);
        assert!(!past(&outputs, &Value::Null).cached(&sampling));
    }

    #[test]
    fn saved_pictures_come_before_previews_and_a_named_node_before_both() {
        let image = |name: &str, kind: &str| json!({ "filename": name, "type": kind });
        let outputs = json!({
            "1": { "images": [image("p", "temp")] },
            "2": { "images": [image("s", "output"), image("i", "input")] },
            "3": { "images": [image("t", "output")] },
            "4": { "text": ["no picture"] },
        });
        let names = |node: Option<&str>| {
            let places = past(&outputs, &Value::Null).places(node).unwrap_or_default();
            places.iter().map(|place| place[15..16].to_string()).collect::<String>()
        };
        let found = [None, Some("1"), Some("3"), Some("4"), Some("7")].map(names);
        assert_eq!(found, ["stp", "p", "t", "", ""]);
    }
}
