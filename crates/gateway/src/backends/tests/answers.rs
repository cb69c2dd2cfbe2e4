//! Whatever a server answers, an adapter says what is wrong with it and never panics.

use axum::Router;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use proptest::prelude::*;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

use super::*;
use crate::backends::client::understand;

/// What an adapter makes of an answer.
type Understand = fn(&[u8]) -> Result<(), BackendError>;

/// Faithful answers of every kind.
fn answers() -> Vec<(&'static str, Value, Understand)> {
    fn read<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, BackendError> {
        understand(bytes)
    }
    let png = BASE64.encode(picture::encode(&[9; 3 * 16 * 16], 16, 16));
    let image = json!({ "filename": "a b.png", "subfolder": "s", "type": "output" });
    let failed = json!({ "status_str": "error", "completed": false,
                         "messages": [["execution_error", { "exception_message": "no" }]] });
    vec![
        ("A1111's picture", json!({ "images": [png], "parameters": {}, "info": "{}" }), |b| {
            read::<automatic1111::Generated>(b)?.picture().map(drop)
        }),
        ("A1111's progress", json!({ "active": true, "progress": 0.5, "eta": 1.5 }), |b| {
            let share = read::<automatic1111::TaskProgress>(b)?.share();
            assert!(share.is_none_or(|share| (0.0..=1.0).contains(&share)));
            Ok(())
        }),
        ("an OpenAI picture", json!({ "created": 1, "data": [{ "b64_json": png }] }), |b| {
            read::<openai::Images>(b)?.picture().map(drop)
        }),
        ("sd-server's job", json!({ "id": "job-1", "status": "queued" }), |b| {
            let path = sdcpp::job_path(&read::<sdcpp::Submitted>(b)?.id)?;
            assert!(plain(&path), "{path}");
            Ok(())
        }),
        (
            "sd-server's picture",
            json!({ "id": "job-1", "status": "completed", "error": null,
                    "result": { "images": [{ "index": 0, "b64_json": png }] } }),
            |b| read::<sdcpp::JobState>(b)?.outcome().transpose().map(drop),
        ),
        (
            "sd-server's failure",
            json!({ "id": "job-1", "status": "failed", "result": null,
                    "error": { "code": "oom", "message": "out of memory" } }),
            |b| match read::<sdcpp::JobState>(b)?.outcome() {
                Some(Err(BackendError::JobFailed(_))) | None => Ok(()),
                Some(other) => other.map(drop),
            },
        ),
        (
            "ComfyUI's queue",
            json!({ "queue_running": [[1, "p", {}, {}, []]], "queue_pending": [] }),
            |b| read::<comfyui::Queue>(b).map(drop),
        ),
        (
            "ComfyUI's history",
            json!({ "p": { "outputs": { "9": { "images": [image] } },
                           "status": { "status_str": "success", "messages": [] } } }),
            |b| {
                if let Some(past) = comfyui::Past::find(read::<Map<_, _>>(b)?, "p")? {
                    for path in past.places(None)? {
                        assert!(plain(&path), "{path}");
                    }
                }
                Ok(())
            },
        ),
        ("ComfyUI's failure", json!({ "p": { "outputs": {}, "status": failed } }), |b| {
            match comfyui::Past::find(read::<Map<_, _>>(b)?, "p")?.map(|past| past.places(None)) {
                Some(Err(BackendError::JobFailed(_))) | None => Ok(()),
                Some(other) => other.map(drop),
            }
        }),
    ]
}

/// A path that stays on its route, whatever names were put into it.
fn plain(path: &str) -> bool {
    let routes = ["/sdcpp/v1/jobs/", "/view?filename="];
    let rest = routes.iter().find_map(|route| path.strip_prefix(route));
    rest.is_some_and(|rest| {
        rest.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_.%&=".contains(&b))
    })
}

/// Something that has no place in an answer.
fn junk() -> impl Strategy<Value = Value> {
    prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        "\\PC{0,50}".prop_map(Value::from),
        "data:image/png;base64,[a-z=]{0,9}".prop_map(Value::from),
        "(../|%2e|\r\n|é|/){1,20}".prop_map(Value::from),
        Just(json!([])),
        Just(json!([{}, []])),
        Just(json!({ "images": [3] })),
    ]
}

/// The place of some part of the value.
fn some_part(value: &mut Value, mut which: usize) -> &mut Value {
    fn size(value: &Value) -> usize {
        1 + match value {
            Value::Array(items) => items.iter().map(size).sum(),
            Value::Object(fields) => fields.values().map(size).sum(),
            _ => 0,
        }
    }
    which %= size(value);
    if which == 0 {
        return value;
    }
    which -= 1;
    let parts: Vec<&mut Value> = match value {
        Value::Array(items) => items.iter_mut().collect(),
        Value::Object(fields) => fields.values_mut().collect(),
        _ => unreachable!("it has no parts"),
    };
    for part in parts {
        let size = size(part);
        if which < size {
            return some_part(part, which);
        }
        which -= size;
    }
    unreachable!("sizes add up")
}

#[test]
fn faithful_answers_are_understood() {
    for (name, answer, understand) in answers() {
        assert_eq!(understand(answer.to_string().as_bytes()), Ok(()), "{name}");
    }
}

proptest! {
    #[test]
    fn damaged_answers_are_errors_and_never_panics(
        damage in prop::collection::vec((any::<prop::sample::Index>(), junk()), 1..4),
        cut in prop::option::of(any::<prop::sample::Index>()),
    ) {
        for (name, mut answer, understand) in answers() {
            for (place, junk) in &damage {
                *some_part(&mut answer, place.index(1000)) = junk.clone();
            }
            let mut bytes = answer.to_string().into_bytes();
            if let Some(cut) = &cut {
                bytes.truncate(cut.index(bytes.len()));
            }
            let result = understand(&bytes);
            if cut.is_some() && !answer.is_number() {
                prop_assert!(result.is_err(), "{name}: {}", String::from_utf8_lossy(&bytes));
            }
            if let Err(error) = result {
                let said = matches!(error, BackendError::Garbage(_) | BackendError::JobFailed(_));
                prop_assert!(said, "{name}: {error:?}");
            }
        }
    }

    #[test]
    fn damaged_workflows_are_refused_or_filled(
        place in any::<prop::sample::Index>(), junk in junk(), at in "\\PC{0,9}",
    ) {
        let mut graph: Value = serde_json::from_str(WORKFLOW).unwrap();
        *some_part(&mut graph, place.index(1000)) = junk;
        if let Ok(workflow) = Workflow::new(&graph.to_string(), &PLACES, None) {
            let filled = workflow.fill(&job(1));
            prop_assert_eq!(&filled["6"]["inputs"]["text"], "a fox");
        }
        prop_assert!(Workflow::new(WORKFLOW, &[(Input::Seed, &at)], None).is_err());
    }
}

#[test]
fn texts_that_are_no_answers_at_all_are_named_by_every_adapter() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        for body in [
            "",
            "{}",
            "[]",
            "null",
            "\u{0}",
            "{\"data\":[{\"b64_json\":\"\"}]}",
            "{\"id\":\"é/..\"}",
        ] {
            let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
            let url = format!("http://{}", listener.local_addr().unwrap());
            let router = Router::new().fallback(move || async move { body });
            tokio::spawn(async move { axum::serve(listener, router).await });
            for kind in KINDS {
                let job = job(1);
                let answer = backend(kind, &url).generate(&job, &Notes::default()).await;
                let (width, height) = (job.spec.width, job.spec.height);
                let result = answer.and_then(|p| picture::check(&p.png, width, height));
                let named =
                    matches!(result, Err(BackendError::Garbage(_) | BackendError::NotPng { .. }));
                assert!(named, "{kind} {body:?}: {result:?}");
            }
        }
    });
}
