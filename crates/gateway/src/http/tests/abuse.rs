//! What outsiders and greedy clients try.

use super::*;

/// What no requester may see.
const SECRET: &str = "postgres://op:hunter2@10.0.0.7";

#[tokio::test]
async fn what_servers_say_is_told_to_operators_only() {
    let health = "[health]\ninterval_seconds = 0.05";
    let mut t = start(&format!("{health}\n[limits]\nattempts = 1\n{KEYS}")).await;
    for (key, told) in [("bob", false), ("alice", true)] {
        t.key = Some(key);
        let fail = || {
            let error = BackendError::Status {
                status: 500,
                message: format!("Traceback: {SECRET}").into(),
                retry_after: None,
            };
            for script in &t.scripts {
                *script.0.lock().unwrap() = VecDeque::from([Act::Fail(error.clone())]);
            }
        };
        fail();
        let done = t.finish(&red()).await;
        assert_eq!(done["state"], "failed");
        let path = format!("/v1/requests/{}", done["id"].as_str().unwrap());
        let mut seen = vec![done.to_string()];
        // That the servers answer probes meanwhile does not make it forgotten.
        tokio::time::sleep(Duration::from_millis(200)).await;
        for path in [&path, &format!("{path}/events"), "/v1/requests", "/v1/servers"] {
            seen.push(String::from_utf8(t.get(path).await.body.to_vec()).unwrap());
        }
        fail();
        let drawn = t.post("/v1/images/generations", &json!({ "prompt": "x" })).await;
        assert_eq!(drawn.status, 502);
        seen.push(String::from_utf8(drawn.body.to_vec()).unwrap());
        for text in seen {
            assert_eq!(text.contains("hunter2"), told, "{key} sees {text}");
            assert!(told || !text.contains("trouble"), "{key} sees {text}");
        }
    }
}

#[tokio::test]
async fn several_pictures_count_all_or_none() {
    let mut t = start(KEYS).await;
    t.key = Some("bob");
    let draw =
        async |n: u32| t.post("/v1/images/generations", &json!({ "prompt": "x", "n": n })).await;
    let never = draw(3).await;
    assert_eq!((never.status, &never.json()["error"]["param"]), (400, &json!("n")));
    assert!(!never.headers.contains_key("retry-after"), "there is no time at which it could be");
    assert_eq!(t.post("/v1/requests", &red()).await.status, 202);
    let later = draw(2).await;
    assert_eq!((later.status, &later.json()["error"]["code"]), (429, &json!("rate_limited")));
    let after: u64 = later.headers["retry-after"].to_str().unwrap().parse().unwrap();
    assert!((30..=46).contains(&after), "30 s, and up to half as long again: {after}");
    let list = t.get("/v1/requests").await.json();
    assert_eq!(list["requests"].as_array().unwrap().len(), 1, "nothing was made");
    assert_eq!(draw(1).await.status, 200, "nothing was counted");
}

#[tokio::test]
async fn a_refusal_in_the_middle_cancels_the_others_and_gives_the_rate_back() {
    // Two run, and one waits: the fourth finds no place.
    let keys = KEYS.replace("requests_per_minute = 2", "requests_per_minute = 4");
    let mut t = start(&format!("[limits]\nwaiting = 1\n{keys}")).await;
    t.key = Some("bob");
    for script in &t.scripts {
        script.0.lock().unwrap().extend(vec![Act::Hang; 8]);
    }
    let body = json!({ "prompt": "x", "n": 4 });
    let refused = t.post("/v1/images/generations", &body).await;
    assert_eq!((refused.status, &refused.json()["error"]["code"]), (429, &json!("queue_full")));
    let list = t.get("/v1/requests").await.json();
    for request in list["requests"].as_array().unwrap() {
        let path = format!("/v1/requests/{}", request["id"].as_str().unwrap());
        let done = t.send(Method::GET, &path, &[("prefer", "wait=30")], &Value::Null).await.json();
        assert_eq!(done["state"], "cancelled", "{done}");
    }
    for (status, reason) in [(202, None), (202, None), (202, None), (429, Some("queue_full"))] {
        let answer = t.post("/v1/requests", &red()).await;
        assert_eq!((answer.status, answer.json()["reason"].as_str()), (status, reason));
    }
}

#[tokio::test]
async fn what_is_refused_as_invalid_or_made_before_does_not_count() {
    let mut t = start(KEYS).await;
    t.key = Some("bob");
    for _ in 0..5 {
        let wrong = json!({ "prompt": "x", "width": 7 });
        assert_eq!(t.post("/v1/requests", &wrong).await.status, 422);
        assert_eq!(t.post("/v1/quotes", &wrong).await.status, 422);
        let wrong = json!({ "prompt": "x", "size": "7x7" });
        assert_eq!(t.post("/v1/images/generations", &wrong).await.status, 400);
    }
    let key = [("idempotency-key", "k")];
    for expected in [202, 200, 200, 200] {
        let answer = t.send(Method::POST, "/v1/requests", &key, &red()).await;
        assert_eq!(answer.status, expected);
    }
    for expected in [202, 429] {
        assert_eq!(t.post("/v1/requests", &red()).await.status, expected);
    }
}

#[tokio::test]
async fn a_key_makes_its_pictures_once_and_anew_what_was_cancelled() {
    let t = start("").await;
    let key = [("idempotency-key", "k")];
    let draw =
        async |body: &Value| t.send(Method::POST, "/v1/images/generations", &key, body).await;
    let count = async || t.get("/v1/requests").await.json()["requests"].as_array().unwrap().len();
    let body = json!({ "prompt": "x", "n": 2 });
    let (first, again) = tokio::join!(draw(&body), draw(&body));
    assert_eq!((first.status, again.status), (200, 200), "{:?} {:?}", first.body, again.body);
    assert_eq!(first.json()["data"], again.json()["data"], "the same pictures");
    assert_eq!(draw(&body).await.json()["data"], first.json()["data"]);
    assert_eq!(count().await, 2);
    let streamed = draw(&json!({ "prompt": "x", "n": 2, "stream": true })).await;
    let reused = streamed.json();
    assert_eq!(
        (streamed.status, &reused["error"]["code"]),
        (400, &json!("idempotency_key_reused"))
    );
    // Another key: its request is cancelled, and asking again makes a new one.
    let key = [("idempotency-key", "other")];
    t.scripts[0].0.lock().unwrap().push_back(Act::Hang);
    let one = json!({ "prompt": "y" });
    let path = "/v1/images/generations";
    let cancelled = t.send(Method::POST, path, &key, &one);
    let cancel = async {
        while count().await < 3 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        let id = t.get("/v1/requests").await.json()["requests"][0]["id"].clone();
        let path = format!("/v1/requests/{}", id.as_str().unwrap());
        t.send(Method::DELETE, &path, &[], &Value::Null).await
    };
    assert_eq!(tokio::join!(cancelled, cancel).0.status, 502);
    assert_eq!(t.send(Method::POST, path, &key, &one).await.status, 200);
    assert_eq!(count().await, 4);
}

#[tokio::test]
async fn a_client_that_leaves_can_ask_again_with_its_key() {
    let t = start("").await;
    t.scripts[0].0.lock().unwrap().push_back(Act::Deliver(0.2));
    let key = [("idempotency-key", "k")];
    let body = json!({ "prompt": "x" });
    let path = "/v1/images/generations";
    let leaving = t.send(Method::POST, path, &key, &body);
    assert!(tokio::time::timeout(Duration::from_millis(100), leaving).await.is_err());
    assert_eq!(t.send(Method::POST, path, &key, &body).await.status, 200);
    let list = t.get("/v1/requests").await.json();
    let states: Vec<_> =
        list["requests"].as_array().unwrap().iter().map(|request| &request["state"]).collect();
    assert_eq!(states, ["completed"]);
}

#[tokio::test]
async fn answers_say_what_browsers_and_proxies_must_know() {
    let mut t = start(KEYS).await;
    let unknown = t.get("/v1/servers").await;
    assert_eq!(
        (unknown.status, &unknown.headers["www-authenticate"]),
        (401, &"Bearer realm=\"atelier\"".parse().unwrap())
    );
    assert_eq!(t.get("/v1/models").await.headers["www-authenticate"], "Bearer realm=\"atelier\"");
    t.key = Some("alice");
    let done = t.finish(&red()).await;
    let path = format!("/v1/requests/{}", done["id"].as_str().unwrap());
    let events = t.get(&format!("{path}/events")).await;
    assert_eq!(events.headers["x-accel-buffering"], "no");
    for path in ["/", "/page/main.js", "/healthz", &path, &format!("{path}/image"), "/v2"] {
        let headers = t.get(path).await.headers;
        assert_eq!(headers["x-frame-options"], "DENY", "{path}");
        assert_eq!(headers["x-content-type-options"], "nosniff", "{path}");
        assert_eq!(headers["referrer-policy"], "no-referrer", "{path}");
        let policy = headers["content-security-policy"].to_str().unwrap();
        assert!(policy.contains("default-src 'none'"), "{path}: {policy}");
        assert!(policy.contains("frame-ancestors 'none'") && !policy.contains("unsafe"), "{path}");
        let scripts = policy.contains("script-src 'self'");
        assert_eq!(scripts, matches!(path, "/" | "/page/main.js"), "{path}: {policy}");
    }
    // The page has nothing that its policy forbids.
    let page = String::from_utf8(t.get("/").await.body.to_vec()).unwrap();
    assert!(page.contains("<script type=\"module\" src=\"page/main.js\"></script>"));
    for inline in ["style=", "<style", "onclick", "onsubmit", "javascript:"] {
        assert!(!page.contains(inline), "{inline}");
    }
    assert_eq!(page.matches("<script").count(), 1);
    assert_eq!(page.matches("//").count(), 0, "it asks nobody else");
}

#[tokio::test]
async fn lists_and_pictures_are_made_a_few_bytes_at_a_time() {
    use futures_util::StreamExt as _;
    let t = start("[limits]\nprompt_bytes = 2048\n").await;
    let long = json!({ "prompt": "\u{1}".repeat(2048), "width": 256, "height": 256 });
    for _ in 0..9 {
        t.finish(&long).await;
    }
    let parts = async |path: &str| {
        let request = Request::builder().uri(path).header("host", "localhost");
        let request = request.body(Body::empty()).unwrap();
        let response = t.gateway.router().oneshot(request).await.unwrap();
        assert_eq!(response.status(), 200);
        let parts = response.into_body().into_data_stream();
        parts.map(|part| part.unwrap().len()).collect::<Vec<_>>().await
    };
    let list = parts("/v1/requests").await;
    assert_eq!(list.len(), 3, "{list:?}");
    assert!(list.iter().all(|part| *part < 4 * (6 * 2048 + 4096)), "{list:?}");
    let all = t.get("/v1/requests?limit=7").await.json();
    assert_eq!(all["requests"].as_array().unwrap().len(), 7);
    let rest = t.get(&format!("/v1/requests?before={}", all["next"])).await.json();
    assert_eq!((rest["requests"].as_array().unwrap().len(), &rest["next"]), (2, &Value::Null));
    let noise = noise(256);
    t.scripts[0].0.lock().unwrap().push_back(Act::Send(noise.clone()));
    let done = t.finish(&json!({ "prompt": "x", "width": 256, "height": 256 })).await;
    let image = done["result"]["image"].as_str().unwrap();
    let picture = parts(image).await;
    assert_eq!(picture.iter().sum::<usize>(), noise.len());
    assert!(picture.len() > 3 && picture.iter().all(|part| *part <= 48 * 1024), "{picture:?}");
    assert!(t.get(image).await.body == noise, "whole and in order");
    // As it is for base64, whose parts must join.
    for script in &t.scripts {
        script.0.lock().unwrap().extend(vec![Act::Send(noise.clone()); 2]);
    }
    let drawn = json!({ "prompt": "x", "size": "256x256", "n": 2 });
    let drawn = t.post("/v1/images/generations", &drawn).await.json();
    for picture in drawn["data"].as_array().unwrap() {
        let text = picture["b64_json"].as_str().unwrap();
        let png = base64::engine::general_purpose::STANDARD.decode(text).unwrap();
        assert!(png == noise, "{} bytes", png.len());
    }
}

/// A picture that cannot be compressed.
fn noise(side: u32) -> Bytes {
    let mut state = 7_u32;
    let mut byte = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 24) as u8
    };
    let rgb: Vec<_> = (0..3 * side * side).map(|_| byte()).collect();
    picture::encode(&rgb, side, side).into()
}

#[tokio::test]
async fn a_key_holds_no_more_streams_and_bytes_than_it_may() {
    let limits = "[limits]\nstreams_per_key = 2\n";
    let mut t = start(&format!("{limits}{KEYS}")).await;
    t.key = Some("alice");
    t.scripts[0].0.lock().unwrap().push_back(Act::Hang);
    let accepted = t.post("/v1/requests", &red()).await.json();
    let path = format!("/v1/requests/{}", accepted["id"].as_str().unwrap());
    let open = async |key: &str| {
        let request = Request::builder().uri(format!("{path}/events"));
        let request = request.header("authorization", format!("Bearer {key}"));
        t.gateway.router().oneshot(request.body(Body::empty()).unwrap()).await.unwrap()
    };
    let held = [open("alice").await, open("alice").await];
    assert!(held.iter().all(|response| response.status() == 200));
    for (method, path, wait) in [
        (Method::GET, format!("{path}/events"), "wait=0"),
        (Method::GET, path.clone(), "wait=9"),
        (Method::POST, "/v1/requests".into(), "wait=9"),
        (Method::POST, "/v1/images/generations".into(), "wait=0"),
    ] {
        let body = if method == Method::POST { json!({ "prompt": "x" }) } else { Value::Null };
        let refused = t.send(method, &path, &[("prefer", wait)], &body).await;
        assert_eq!(refused.status, 429, "{path}");
        let text = String::from_utf8(refused.body.to_vec()).unwrap();
        assert!(text.contains("too_many_streams"), "{text}");
        assert!(refused.headers.contains_key("retry-after"));
    }
    let list = t.get("/v1/requests").await.json();
    assert_eq!(list["requests"].as_array().unwrap().len(), 1, "what was refused was not made");
    drop(held);
    assert_eq!(open("alice").await.status(), 200);
}
