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
        (Method::POST, "/v1/images/edits", 404, "not_supported"),
        (Method::POST, "/v1/images/variations", 404, "not_supported"),
        (Method::POST, "/v1/images/drawings", 404, "not_found"),
        (Method::GET, "/v1/chat/completions", 405, "method_not_allowed"),
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

/// Path and query of a link.
fn path(answer: &Value, picture: usize) -> String {
    let url = answer["data"][picture]["url"].as_str().unwrap();
    url.strip_prefix("http://localhost").unwrap().into()
}

#[tokio::test]
async fn a_link_needs_no_key_and_cannot_be_guessed() {
    let t = start(KEYS).await;
    let ann = [("authorization", "Bearer alice")];
    let post = async |body: Value| {
        t.send(Method::POST, "/v1/images/generations", &ann, &body).await.json()
    };
    // Clients that name these models read nothing but `url`.
    for (body, linked) in [
        (json!({ "prompt": "x", "model": "dall-e-3" }), true),
        (json!({ "prompt": "x", "model": "dall-e-2", "response_format": "b64_json" }), false),
        (json!({ "prompt": "x", "model": "gpt-image-1" }), false),
        (json!({ "prompt": "x", "response_format": "url" }), true),
    ] {
        let answer = post(body).await;
        document::check("Images", &answer);
        assert_eq!(answer["data"][0]["url"].is_string(), linked, "{answer}");
        assert_eq!(answer["data"][0]["b64_json"].is_string(), !linked);
    }
    let body =
        json!({ "prompt": "x", "n": 2, "response_format": "url", "size": "16x24", "seed": 5 });
    let answer = post(body).await;
    assert_eq!((&answer["data"][0]["seed"], &answer["data"][1]["seed"]), (&json!(5), &json!(6)));
    for picture in 0..2 {
        let fetched = t.get(&path(&answer, picture)).await;
        assert_eq!((fetched.status, fetched.headers["content-type"] == "image/png"), (200, true));
        let kept = fetched.headers["cache-control"].to_str().unwrap();
        assert!(kept.starts_with("private, immutable, max-age=3"), "{kept}");
        picture::check(&fetched.body, 16, 24).unwrap();
        let id = answer["data"][picture]["request_id"].as_str().unwrap();
        let shown = t.send(Method::GET, &format!("/v1/requests/{id}"), &ann, &Value::Null).await;
        assert_eq!(shown.json()["state"], "completed");
    }
    let link = path(&answer, 0);
    let second = answer["data"][1]["request_id"].as_str().unwrap();
    let first = answer["data"][0]["request_id"].as_str().unwrap();
    let unsigned = link.split('?').next().unwrap();
    for wrong in [link.replace(first, second), link.replace(".png", ".jpeg"), unsigned.into()] {
        let refused = t.get(&wrong).await;
        assert_eq!(
            (refused.status, &refused.json()["reason"]),
            (403, &json!("bad_link")),
            "{wrong}"
        );
    }
}

#[tokio::test]
async fn pictures_come_in_the_form_that_is_asked_for() {
    let t = start("").await;
    for (format, kind, read) in [
        ("jpeg", "image/jpeg", image::ImageFormat::Jpeg),
        ("webp", "image/webp", image::ImageFormat::WebP),
    ] {
        let body = json!({ "prompt": "x", "size": "16x24", "output_format": format,
                           "output_compression": 70 });
        let answer = t.post("/v1/images/generations", &body).await.json();
        assert_eq!(answer["output_format"], format);
        let text = answer["data"][0]["b64_json"].as_str().unwrap();
        let bytes = base64::engine::general_purpose::STANDARD.decode(text).unwrap();
        let decoded = image::load_from_memory_with_format(&bytes, read).unwrap();
        assert_eq!((decoded.width(), decoded.height()), (16, 24));
        let mut linked = body.clone();
        linked["response_format"] = json!("url");
        let answer = t.post("/v1/images/generations", &linked).await.json();
        let fetched = t.get(&path(&answer, 0)).await;
        assert_eq!(fetched.headers["content-type"], kind);
        assert_eq!(image::guess_format(&fetched.body).unwrap(), read);
        let mut streamed = body;
        streamed["stream"] = json!(true);
        let told = events(&t.post("/v1/images/generations", &streamed).await.body);
        document::check("StreamedImage", &told[0].1);
        assert_eq!(told[0].1["output_format"], format);
    }
    let wrong = json!({ "prompt": "x", "output_compression": 101 });
    let refused = t.post("/v1/images/generations", &wrong).await;
    assert_eq!(refused.json()["error"]["param"], "output_compression");
}

#[tokio::test]
async fn fields_that_others_send_are_taken() {
    let t = start("").await;
    let body = json!({
        "prompt": "x", "n": 1.0, "size": "", "seed": -1, "steps": 7, "true_cfg_scale": 4.0,
        "input_fidelity": "high", "extra_headers": { "x": "y" }, "output_compression": 100,
    });
    assert_eq!(t.post("/v1/images/generations", &body).await.status, 200);
    let drawn = t.get("/v1/requests").await.json()["requests"][0].clone();
    assert_eq!(drawn["result"]["steps"], 7);
    let twice = json!({ "prompt": "x", "steps": 7, "num_inference_steps": 8 });
    let refused = t.post("/v1/images/generations", &twice).await;
    assert_eq!((refused.status, &refused.json()["error"]["param"]), (400, &json!("steps")));
}

/// What the load generator of vLLM-Omni sends unless told otherwise.
#[tokio::test]
async fn a_chat_is_answered_with_a_picture() {
    let t = start("").await;
    let body = json!({
        "model": "Qwen/Qwen-Image",
        "messages": [{ "role": "user", "content": "a red fox" }],
        "extra_body": { "height": 24, "width": 16, "num_inference_steps": 9, "seed": 42 },
    });
    let answer = t.post("/v1/chat/completions", &body).await;
    assert_eq!(answer.status, 200, "{:?}", answer.body);
    document::check("ChatAnswer", &answer.json());
    let url = answer.json()["choices"][0]["message"]["content"][0]["image_url"]["url"].clone();
    let data = url.as_str().unwrap().strip_prefix("data:image/png;base64,").unwrap();
    let png = base64::engine::general_purpose::STANDARD.decode(data).unwrap();
    picture::check(&png, 16, 24).unwrap();
    let drawn = t.get("/v1/requests").await.json()["requests"][0].clone();
    assert_eq!((&drawn["prompt"], &drawn["seed"]), (&json!("a red fox"), &json!(42)));
    assert_eq!(drawn["result"]["steps"], 9);
    // OpenAI's own client puts what is extra beside the rest.
    let body = json!({
        "model": "any", "temperature": 0.7, "n": 2, "size": "16x16",
        "messages": [
            { "role": "system", "content": "You draw." },
            { "role": "user", "content": [{ "type": "text", "text": "a fox" }] },
            { "role": "assistant", "content": null },
        ],
    });
    let answer = t.post("/v1/chat/completions", &body).await.json();
    assert_eq!(answer["choices"][0]["message"]["content"].as_array().unwrap().len(), 2);
    let check = async |body: Value, param: &str, said: &str| {
        let answer = t.post("/v1/chat/completions", &body).await;
        let error = &answer.json()["error"];
        assert_eq!((answer.status, &error["param"]), (400, &json!(param)), "{error}");
        assert!(error["message"].as_str().unwrap().contains(said), "{error}");
    };
    let says = |content: Value| json!([{ "role": "user", "content": content }]);
    check(json!({ "messages": [] }), "messages", "what to draw").await;
    check(json!({ "messages": says(json!(null)) }), "messages", "says nothing").await;
    let edit = json!([{ "type": "image_url", "image_url": { "url": "data:," } }]);
    check(json!({ "messages": says(edit) }), "messages", "not changed").await;
    check(json!({ "messages": says(json!("x")), "stream": true }), "stream", "allowed is false")
        .await;
    check(json!({ "messages": says(json!("x")), "n": 11 }), "n", "1 to 10").await;
}
