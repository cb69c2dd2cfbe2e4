//! The OpenAPI document is true to the routes.

use std::sync::LazyLock;

use jsonschema::{Draft, Validator};

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
    if method == Method::OPTIONS {
        return assert_eq!(status, 204, "{path} is there");
    }
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

/// The form that the document gives a name, and no field more: clients are to bear new ones, but every
/// one that is sent is to be documented.
fn form(name: &str) -> Validator {
    let mut schema = json!({
        "$ref": format!("#/components/schemas/{name}"),
        "components": DOCUMENT["components"],
    });
    close(&mut schema);
    let options = jsonschema::options().with_draft(Draft::Draft202012);
    options.should_validate_formats(true).build(&schema).unwrap()
}

/// Allows no fields but those that are listed.
fn close(schema: &mut Value) {
    match schema {
        Value::Object(fields) => {
            fields.iter_mut().filter(|(name, _)| *name != "not").for_each(|(_, part)| close(part));
            if fields.get("properties").is_some_and(Value::is_object) && fields.contains_key("type")
            {
                fields.entry("additionalProperties").or_insert(false.into());
            }
        }
        Value::Array(parts) => parts.iter_mut().for_each(close),
        _ => {}
    }
}

/// Whether a value is of the form that the document gives this name.
pub(super) fn check(name: &str, value: &Value) {
    let errors: Vec<_> = form(name)
        .iter_errors(value)
        .map(|error| format!("{name}{}: {error}", error.instance_path()))
        .collect();
    assert!(errors.is_empty(), "{}\n{value:#}", errors.join("\n"));
}

#[tokio::test]
async fn what_is_not_documented_is_noticed() {
    let t = start("").await;
    let finished = t.finish(&red()).await;
    let request = form("Request");
    assert!(request.is_valid(&finished), "{finished:#}");
    for (place, wrong) in [
        ("/id", json!(7)),
        ("/id", json!("no-uuid")),
        ("/state", json!("unheard_of")),
        ("/accepted_at", json!("yesterday")),
        ("/width", json!(0.5)),
        ("/zebra", json!(1)),
        ("/result/zebra", json!(1)),
        ("/decision/steps", json!("9")),
    ] {
        let (parent, field) = place.rsplit_once('/').unwrap();
        let mut other = finished.clone();
        other.pointer_mut(parent).unwrap()[field] = wrong.clone();
        assert!(!request.is_valid(&other), "{place} may be {wrong}");
    }
    let mut other = finished.clone();
    other.as_object_mut().unwrap().remove("state");
    assert!(!request.is_valid(&other), "a state may be missing");
}

#[tokio::test]
async fn answers_are_of_the_documented_form() {
    let t = start("").await;
    assert_eq!(t.get("/openapi.json").await.json(), *DOCUMENT);
    assert_eq!(DOCUMENT["openapi"], "3.1.0");
    let schema = |name: &str| &DOCUMENT["components"]["schemas"][name];
    check("Decision", &t.post("/v1/quotes", &red()).await.json());
    check("Request", &t.post("/v1/requests", &red()).await.json());
    let done = t.finish(&red()).await;
    check("Request", &done);
    let path = format!("/v1/requests/{}/decision", done["id"].as_str().unwrap());
    check("Explanation", &t.get(&path).await.json());
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

/// A body that the document rules out is never taken, whichever field is wrong, and where it allows
/// `null`, `null` is taken.
#[tokio::test]
async fn what_the_document_rules_out_is_refused() {
    let t = start("").await;
    let values = [
        json!(null),
        json!(true),
        json!(-1),
        json!(0),
        json!(1),
        json!(9),
        json!(201),
        json!(4_294_967_296_u64),
        json!(-0.5),
        json!(1e300),
        json!(""),
        json!("x"),
        json!("auto"),
        json!([]),
        json!({}),
    ];
    for (path, name, least) in [
        ("/v1/requests", "NewRequest", json!({ "prompt": "x" })),
        ("/v1/quotes", "NewRequest", json!({ "prompt": "x" })),
        ("/v1/images/generations", "Generation", json!({ "prompt": "x" })),
        (
            "/v1/chat/completions",
            "Chat",
            json!({ "messages": [{ "role": "user", "content": "x" }] }),
        ),
        ("/sdapi/v1/txt2img", "Txt2Img", json!({ "prompt": "x" })),
        ("/sdapi/v1/options", "OptionsChange", json!({})),
        ("/v1/policy", "NewPolicy", json!({ "policy": "myopic" })),
        ("/v1/servers/a", "ServerChange", json!({ "enabled": true })),
    ] {
        let verb = match name {
            "NewPolicy" => Method::PUT,
            "ServerChange" => Method::PATCH,
            _ => Method::POST,
        };
        let form = form(name);
        let fields = DOCUMENT["components"]["schemas"][name]["properties"].as_object().unwrap();
        for field in fields.keys().map(String::as_str).chain(["zebra"]) {
            for value in &values {
                let mut body = least.clone();
                body[field] = value.clone();
                let allowed = form.is_valid(&body);
                let status = t.send(verb.clone(), path, &[], &body).await.status;
                let taken = status < 400;
                assert!(allowed || !taken, "{path} takes {body}: {status}");
                assert!(taken || !(allowed && value.is_null()), "{path} refuses {body}: {status}");
            }
        }
    }
}

#[tokio::test]
async fn a_query_parameter_that_nobody_knows_is_refused() {
    let t = start("").await;
    let unknown = t.get("/v1/requests?zebra=1").await;
    assert!((400..500).contains(&unknown.status), "{}", unknown.status);
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
            // An answer that never ends is not waited for.
            let endless = ["/v1/events", "/v1/workshop"].contains(&&*path);
            let status = if method == "get" && endless {
                t.begin(&path).await.status().as_u16()
            } else {
                t.send(verb, &path, &[], &Value::Null).await.status
            };
            let exists = status != 405;
            assert_eq!(exists, methods.get(method).is_some(), "{method} {path}: {status}");
        }
    }
    let routes = include_str!("../mod.rs").matches(".route(\"").count();
    assert_eq!(routes, documented.len());
}
