//! The drop-in face.

use super::*;

#[tokio::test]
async fn the_openai_client_gets_its_picture() {
    let t = start("").await;
    let body = json!({
        "model": "gpt-image-1", "prompt": "x", "n": 2, "size": "16x24", "quality": "high",
        "user": "u", "due_in_seconds": 30, "penalty": "quadratic"
    });
    let answer = t.post("/v1/images/generations", &body).await;
    assert_eq!(answer.status, 200, "{:?}", answer.body);
    let data = answer.json()["data"].as_array().unwrap().clone();
    assert_eq!(data.len(), 2);
    for picture in data {
        let text = picture["b64_json"].as_str().unwrap();
        let png = base64::engine::general_purpose::STANDARD.decode(text).unwrap();
        picture::check(&png, 16, 24).unwrap();
    }
    let check = async |body: Value, param: &str| {
        let answer = t.post("/v1/images/generations", &body).await;
        assert_eq!((answer.status, &answer.json()["error"]["param"]), (400, &json!(param)));
        assert_eq!(answer.json()["error"]["type"], "invalid_request_error");
    };
    check(json!({ "prompt": "x", "size": "big" }), "size").await;
    check(json!({ "prompt": "x", "size": "16x17" }), "size").await;
    check(json!({ "prompt": "x", "size": "512x512" }), "size").await;
    check(json!({ "prompt": "x", "n": 11 }), "n").await;
    check(json!({ "prompt": "x", "stream": 1 }), "stream").await;
    check(json!({ "prompt": "x", "stream": true, "response_format": "url" }), "response_format")
        .await;
    check(json!({ "prompt": "x", "penalty": "cubic" }), "penalty").await;
    check(json!({ "prompt": "x", "colour": 1 }), "colour").await;
    for due in ["-1", "+5", "5.", "inf", "NaN", "soon", ""] {
        let headers = [("x-atelier-due-in-seconds", due)];
        let late =
            t.send(Method::POST, "/v1/images/generations", &headers, &json!({"prompt": "x"})).await;
        assert_eq!(late.status, 400, "{due:?}");
    }
    assert_eq!(t.get("/v1/models").await.json()["data"][0]["id"], "atelier");
}

#[tokio::test]
async fn whatever_is_asked_below_these_paths_is_answered_in_the_openai_envelope() {
    let t = start("").await;
    for (method, path, status, code) in [
        (Method::GET, "/v1/models/dall-e-3", 404, "model_not_found"),
        (Method::POST, "/v1/images/edits", 404, "not_found"),
        (Method::GET, "/v1/images/generations", 405, "method_not_allowed"),
    ] {
        let answer = t.send(method, path, &[], &Value::Null).await;
        assert_eq!((answer.status, &answer.json()["error"]["code"]), (status, &json!(code)));
    }
}

/// Name and data of every event.
fn events(body: &[u8]) -> Vec<(String, Value)> {
    let text = std::str::from_utf8(body).unwrap();
    let events = text.split("\n\n").filter_map(|event| event.strip_prefix("event: "));
    let split = events.map(|event| event.split_once("\ndata: ").unwrap());
    split.map(|(name, data)| (name.into(), serde_json::from_str(data).unwrap())).collect()
}

#[tokio::test]
async fn pictures_are_streamed_as_they_are_finished() {
    let t = start("").await;
    let body = json!({ "prompt": "x", "n": 2, "size": "16x24", "stream": true });
    let answer = t.post("/v1/images/generations", &body).await;
    assert_eq!(answer.headers["content-type"], "text/event-stream");
    let told = events(&answer.body);
    assert_eq!(told.len(), 2);
    for (name, data) in told {
        assert_eq!((&*name, &data["type"]), ("image_generation.completed", &json!(name)));
        assert_eq!(data["size"], "16x24");
        document::check("StreamedImage", &data);
        let text = data["b64_json"].as_str().unwrap();
        let png = base64::engine::general_purpose::STANDARD.decode(text).unwrap();
        picture::check(&png, 16, 24).unwrap();
    }
}

#[tokio::test]
async fn a_stream_that_fails_says_so_and_leaves_nothing_behind() {
    let t = start("[limits]\nattempts = 1\n").await;
    // The first request fails, and the second one never ends by itself.
    let error = BackendError::JobFailed("out of memory".into());
    t.scripts[0].0.lock().unwrap().push_back(Act::Fail(error));
    // Wherever it is put, which depends on whether the first has failed by then.
    t.scripts.iter().for_each(|script| script.0.lock().unwrap().push_back(Act::Hang));
    let body = json!({ "prompt": "x", "n": 2, "stream": true });
    let answer = t.post("/v1/images/generations", &body).await;
    let told = events(&answer.body);
    assert_eq!((told.len(), told[0].0.as_str()), (1, "error"), "{told:?}");
    let message = told[0].1["error"]["message"].as_str().unwrap();
    assert!(message.contains("out of memory"), "{message}");
    let list = t.get("/v1/requests").await.json();
    for (request, state) in list["requests"].as_array().unwrap().iter().zip(["cancelled", "failed"])
    {
        let path = format!("/v1/requests/{}", request["id"].as_str().unwrap());
        let done = t.send(Method::GET, &path, &[("prefer", "wait=30")], &Value::Null).await.json();
        assert_eq!(done["state"], state, "{done}");
    }
}
