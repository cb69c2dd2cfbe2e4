//! The OpenAPI document is true to the routes.

use std::sync::LazyLock;

use super::*;

static DOCUMENT: LazyLock<Value> =
    LazyLock::new(|| serde_json::from_str(include_str!("../openapi.json")).unwrap());

/// Whether the document knows that a route can answer so; every answer of every test is looked up.
pub(super) fn promises(method: &Method, path: &str, status: u16, headers: &HeaderMap) {
    let path = path.split('?').next().unwrap();
    let fits = |template: &str| {
        let (ours, theirs) = (path.split('/'), template.split('/'));
        ours.clone().count() == theirs.clone().count()
            && ours.zip(theirs).all(|(ours, theirs)| ours == theirs || theirs.starts_with('{'))
    };
    let routes = DOCUMENT["paths"].as_object().unwrap();
    let Some((template, methods)) = routes.iter().find(|(template, _)| fits(template)) else {
        return assert_eq!(status, 404, "{path} is in no document");
    };
    let operation = &methods[method.as_str().to_lowercase()];
    if operation.is_null() {
        return assert_eq!(status, 405, "{method} {template} is in no document");
    }
    let promised = resolved(&operation["responses"][status.to_string()]);
    assert!(!promised.is_null(), "{method} {template} answered {status}, which is not promised");
    for (name, header) in promised["headers"].as_object().into_iter().flatten() {
        let required = resolved(header)["required"] == true;
        assert!(
            !required || headers.contains_key(name),
            "{method} {template} {status} lacks {name}"
        );
    }
    let kinds = promised["content"].as_object();
    if let (Some(kinds), Some(sent)) = (kinds, headers.get("content-type")) {
        let sent = sent.to_str().unwrap().split(';').next().unwrap();
        assert!(
            kinds.contains_key(sent),
            "{method} {template} {status} is {sent}, promised {kinds:?}"
        );
    }
}

/// What is written elsewhere in the document.
fn resolved(value: &'static Value) -> &'static Value {
    match value["$ref"].as_str() {
        Some(name) => DOCUMENT.pointer(name.trim_start_matches('#')).unwrap(),
        None => value,
    }
}

/// Whether a value is of the form that the document promises: types, required fields, no others.
fn fits(schema: &'static Value, value: &Value, path: &str) {
    let schema = resolved(schema);
    let type_of = match value {
        Value::Null => "null",
        Value::Bool(_) => "boolean",
        Value::Number(n) if n.is_f64() => "number",
        Value::Number(_) => "integer",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    };
    let types: Vec<_> = match &schema["type"] {
        Value::Array(types) => types.iter().map(|t| t.as_str().unwrap()).collect(),
        one => vec![one.as_str().unwrap()],
    };
    let fitting = types.contains(&type_of) || (type_of == "integer" && types.contains(&"number"));
    assert!(fitting, "{path} is a {type_of}, promised is {types:?}");
    if let Some(words) = schema["enum"].as_array() {
        assert!(words.contains(value), "{path} is {value}, promised is {words:?}");
    }
    for item in value.as_array().into_iter().flatten() {
        fits(&schema["items"], item, &format!("{path}[]"));
    }
    if let Some(fields) = value.as_object() {
        for (name, value) in fields {
            let promised = &schema["properties"][name];
            assert!(!promised.is_null(), "{path}.{name} is not promised");
            fits(promised, value, &format!("{path}.{name}"));
        }
        for name in schema["required"].as_array().into_iter().flatten() {
            assert!(fields.contains_key(name.as_str().unwrap()), "{path} lacks {name}");
        }
    }
}

/// Whether a value is of the form that the document gives this name.
pub(super) fn check(name: &str, value: &Value) {
    fits(&DOCUMENT["components"]["schemas"][name], value, name);
}

#[tokio::test]
async fn answers_are_of_the_documented_form() {
    let t = start("").await;
    assert_eq!(t.get("/openapi.json").await.json(), *DOCUMENT);
    assert_eq!(DOCUMENT["openapi"], "3.1.0");
    let schema = |name: &str| &DOCUMENT["components"]["schemas"][name];
    check("Decision", &t.post("/v1/quotes", &red()).await.json());
    check("Request", &t.post("/v1/requests", &red()).await.json());
    check("Request", &t.finish(&red()).await);
    for script in &t.scripts {
        let error = BackendError::JobFailed("no".into());
        script.0.lock().unwrap().extend(vec![Act::Fail(error); 3]);
    }
    check("Request", &t.finish(&red()).await);
    check("Page", &t.get("/v1/requests").await.json());
    check("Servers", &t.get("/v1/servers").await.json());
    check("Policies", &t.get("/v1/policy").await.json());
    check("Problem", &t.post("/v1/requests", &json!({})).await.json());
    check("Images", &t.post("/v1/images/generations", &json!({ "prompt": "x" })).await.json());
    check("OpenAiError", &t.post("/v1/images/generations", &json!({})).await.json());
    check("Models", &t.get("/v1/models").await.json());
    check("Model", &t.get("/v1/models/atelier").await.json());
    // The document lists the fields that the parsers know: an unknown one is answered with them.
    for (path, name) in [("/v1/requests", "NewRequest"), ("/v1/images/generations", "Generation")] {
        let answer = t.post(path, &json!({ "zebra": 1 })).await;
        let text = String::from_utf8(answer.body.to_vec()).unwrap();
        for field in schema(name)["properties"].as_object().unwrap().keys() {
            assert!(text.contains(&format!("`{field}`")), "{path} does not take {field}: {text}");
        }
        let known = text.matches('`').count() / 2 - 1;
        assert_eq!(known, schema(name)["properties"].as_object().unwrap().len(), "{text}");
    }
}

#[tokio::test]
async fn every_route_is_documented_and_every_documented_route_exists() {
    let t = start("").await;
    let documented = DOCUMENT["paths"].as_object().unwrap();
    for (path, methods) in documented {
        let path = path.replace("{id}", "00000000-0000-0000-0000-000000000000");
        let path = path.replace("{name}", "a").replace("{model}", "atelier");
        for method in ["get", "post", "put", "patch", "delete"] {
            let verb = Method::from_bytes(method.to_uppercase().as_bytes()).unwrap();
            let status = t.send(verb, &path, &[], &Value::Null).await.status;
            let exists = status != 405;
            assert_eq!(exists, methods.get(method).is_some(), "{method} {path}: {status}");
        }
    }
    let routes = include_str!("../mod.rs").matches(".route(\"").count();
    assert_eq!(routes, documented.len());
}
