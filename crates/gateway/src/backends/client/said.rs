//! What servers say when they refuse something, as a sentence: each program has its own form for it.

use serde_json::{Map, Value};

use crate::backends::Excerpt;

/// The sentence in the body of an error, or the beginning of the body.
pub(in crate::backends) fn sentence(body: &[u8]) -> Excerpt {
    let told = serde_json::from_slice(body).ok().and_then(|told: Value| sentence_in(&told));
    told.map_or_else(|| Excerpt::of_bytes(body), Excerpt::from)
}

/// The sentence in an answer, if it has one of the forms that are known.
pub(in crate::backends) fn sentence_in(told: &Value) -> Option<String> {
    let nodes =
        told.get("node_errors").and_then(Value::as_object).filter(|nodes| !nodes.is_empty());
    if let Some(nodes) = nodes {
        return Some(of_nodes(nodes));
    }
    let text = |value: &Value| match value {
        Value::String(text) if !text.trim().is_empty() => Some(text.trim().to_string()),
        _ => None,
    };
    match &told["error"] {
        // OpenAI, and ComfyUI where no node is to blame.
        Value::Object(error) => {
            let message = error.get("message").and_then(text)?;
            let details = error.get("details").and_then(text);
            Some(details.map_or(message.clone(), |details| format!("{message}: {details}")))
        }
        // AUTOMATIC1111 and sd-server: the kind of the error, and more in other fields.
        kind => {
            let more = [&told["detail"], &told["message"], &told["errors"]];
            let more = more.into_iter().find_map(text).or_else(|| of_fields(&told["detail"]));
            match (text(kind), more) {
                (Some(kind), Some(more)) => Some(format!("{kind}: {more}")),
                (one, other) => one.or(other),
            }
        }
    }
}

/// ComfyUI: which node, which input, and what is wrong with it.
fn of_nodes(nodes: &Map<String, Value>) -> String {
    let text = |value: &Value, key: &str| {
        value.get(key).and_then(Value::as_str).unwrap_or_default().trim().to_string()
    };
    let of_node = |(id, node): (&String, &Value)| {
        let errors = node.get("errors").and_then(Value::as_array).into_iter().flatten();
        let errors = errors.map(|error| match (text(error, "message"), text(error, "details")) {
            (message, details) if details.is_empty() => message,
            (message, details) => format!("{message}: {details}"),
        });
        let kind = text(node, "class_type");
        let kind = if kind.is_empty() { kind } else { format!(" ({kind})") };
        format!("node {id}{kind}: {}", errors.collect::<Vec<_>>().join(", "))
    };
    nodes.iter().map(of_node).collect::<Vec<_>>().join("; ")
}

/// FastAPI: a list of fields that are wrong.
fn of_fields(detail: &Value) -> Option<String> {
    let of_field = |error: &Value| {
        let part = |part: &Value| match part {
            Value::String(name) => name.clone(),
            other => other.to_string(),
        };
        let place = error["loc"].as_array().into_iter().flatten().map(part);
        Some(format!("{}: {}", place.collect::<Vec<_>>().join("."), error["msg"].as_str()?))
    };
    let told: Vec<_> = detail.as_array()?.iter().filter_map(of_field).collect();
    (!told.is_empty()).then(|| told.join("; "))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    #[test]
    fn every_programs_refusal_is_a_sentence() {
        let nodes = json!({
            "error": { "type": "prompt_outputs_failed_validation", "message": "Prompt outputs failed validation",
                       "details": "", "extra_info": {} },
            "node_errors": { "4": { "class_type": "CheckpointLoaderSimple", "dependent_outputs": ["9"], "errors": [
                { "type": "value_not_in_list", "message": "Value not in list",
                  "details": "ckpt_name: 'x.safetensors' not in ['a.safetensors']", "extra_info": {} }] } }
        });
        for (told, sentence) in [
            (
                nodes,
                "node 4 (CheckpointLoaderSimple): Value not in list: ckpt_name: 'x.safetensors' not in \
                     ['a.safetensors']",
            ),
            (
                json!({ "error": { "message": "Cannot execute", "details": "node 3" }, "node_errors": {} }),
                "Cannot execute: node 3",
            ),
            (
                json!({ "error": { "message": "no such model", "type": "x", "code": null } }),
                "no such model",
            ),
            (
                json!({ "error": "HTTPException", "detail": "Sampler not found", "body": "", "errors": "" }),
                "HTTPException: Sampler not found",
            ),
            (
                json!({ "error": "RuntimeError", "detail": "", "errors": "CUDA out of memory" }),
                "RuntimeError: CUDA out of memory",
            ),
            (json!({ "error": "queue is full" }), "queue is full"),
            (
                json!({ "error": "server_error", "message": "it crashed" }),
                "server_error: it crashed",
            ),
            (
                json!({ "detail": [{ "loc": ["body", "steps"], "msg": "not an integer" }] }),
                "body.steps: not an integer",
            ),
            (json!({ "detail": "Not Found" }), "Not Found"),
            (json!({ "other": 3 }), "{\"other\":3}"),
            (json!([1]), "[1]"),
        ] {
            assert_eq!(super::sentence(told.to_string().as_bytes()).to_string(), sentence);
        }
        assert_eq!(super::sentence(b"<html>502").to_string(), "<html>502");
    }
}
