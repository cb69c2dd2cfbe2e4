//! A request from its acceptance to its picture.

use super::*;

#[tokio::test]
async fn a_request_goes_from_202_to_its_picture() {
    let t = start("").await;
    let accepted = t.post("/v1/requests", &red()).await;
    assert_eq!(accepted.status, 202);
    let view = accepted.json();
    let path = accepted.headers["location"].to_str().unwrap().to_string();
    assert_eq!(path, format!("/v1/requests/{}", view["id"].as_str().unwrap()));
    let decision = &view["decision"];
    assert_eq!((&decision["server"], &decision["steps"]), (&json!("a"), &json!(30)));
    assert!(decision["why"].as_str().unwrap().contains("30 steps on a"), "{decision}");
    assert!(accepted.headers.contains_key("x-atelier-overhead-ms"));
    assert!(accepted.headers.contains_key("traceparent"));

    let done = t.send(Method::GET, &path, &[("prefer", "wait=10")], &Value::Null).await.json();
    assert_eq!(done["state"], "completed");
    assert_eq!(done["result"]["tardiness_seconds"], 0.0);
    let image = t.get(done["result"]["image"].as_str().unwrap()).await;
    assert_eq!(
        (image.status, &image.headers["content-type"]),
        (200, &"image/png".parse().unwrap())
    );
    picture::check(&image.body, 16, 16).unwrap();
    assert_eq!(image.headers["content-length"], image.body.len().to_string());

    let events = t.get(&format!("{path}/events")).await;
    let text = String::from_utf8(events.body.to_vec()).unwrap();
    assert!(text.starts_with("event: request\ndata: {") && text.contains("completed"), "{text}");
    let list = t.get("/v1/requests?state=completed&server=a&limit=5").await.json();
    assert_eq!(list["requests"][0]["id"], view["id"]);
    assert_eq!(t.get("/v1/requests?state=expired").await.json()["requests"], json!([]));
    for (query, field, part) in [
        ("stat=expired", "stat", "`state`"),
        ("state=ended", "state", "`running`"),
        ("penalty=cubic", "penalty", "`square_root`"),
        ("limit=many", "limit", "\"many\": allowed is a number of requests from 1 to 500"),
        ("before=now", "before", "`next` of the page before"),
        ("limit=501", "limit", "1 to 500"),
        ("limit=007", "limit", "1 to 500"),
        ("limit=%2B5", "limit", "1 to 500"),
        ("before=%2B5", "before", "of the page before"),
    ] {
        let refused = t.get(&format!("/v1/requests?{query}")).await;
        assert_eq!((refused.status, &refused.json()["field"]), (422, &json!(field)));
        let detail = refused.json()["detail"].as_str().unwrap().to_string();
        assert!(detail.contains(part), "{detail}");
    }
}

#[tokio::test]
async fn refusals_are_problem_documents() {
    let t = start("").await;
    let refused = t.post("/v1/requests", &json!({ "prompt": "x", "penalty": "cubic" })).await;
    assert_eq!(refused.status, 422);
    assert_eq!(refused.headers["content-type"], "application/problem+json");
    let problem = refused.json();
    assert_eq!((&problem["field"], &problem["status"]), (&json!("penalty"), &json!(422)));
    let check = async |method: Method, path: &str, status: u16, reason: &str| {
        let answer = t.send(method, path, &[], &Value::Null).await;
        assert_eq!((answer.status, &answer.json()["reason"]), (status, &json!(reason)), "{path}");
    };
    let nobody = "/v1/requests/00000000-0000-0000-0000-000000000000";
    check(Method::GET, nobody, 404, "not_found").await;
    check(Method::GET, "/v1/requests/x", 404, "not_found").await;
    check(Method::GET, "/v2", 404, "not_found").await;
    check(Method::PUT, "/v1/requests", 405, "method_not_allowed").await;
    check(Method::POST, "/v1/requests", 400, "not_json").await;
    let stranger = [("host", "evil.example")];
    assert_eq!(t.send(Method::GET, "/v1/servers", &stranger, &Value::Null).await.status, 403);
    for (kind, coding, status) in [
        ("text/plain", "identity", 415),
        ("application/jsonp", "identity", 415),
        ("Application/JSON; charset=utf-8", "Identity", 202),
        ("application/json", "gzip", 415),
    ] {
        let headers = [("content-type", kind), ("content-encoding", coding)];
        let answer = t.send(Method::POST, "/v1/requests", &headers, &red()).await;
        assert_eq!(answer.status, status, "{kind} {coding}");
        if coding == "gzip" {
            let detail = answer.json()["detail"].as_str().unwrap().to_string();
            assert!(detail.contains("gzip") && detail.contains("allowed"), "{detail}");
        }
    }
    let large = json!({ "prompt": "x".repeat(70_000) });
    assert_eq!(t.post("/v1/requests", &large).await.status, 413);
    let wide = json!({ "prompt": "x", "width": 512, "height": 512 });
    assert_eq!(t.post("/v1/requests", &wide).await.status, 422);
}

#[tokio::test]
async fn a_key_makes_one_request_alive_or_ended() {
    let t = start("").await;
    let key = [("idempotency-key", "k1")];
    t.scripts[0].0.lock().unwrap().push_back(Act::Deliver(0.1));
    let first = t.send(Method::POST, "/v1/requests", &key, &red()).await;
    let again = t.send(Method::POST, "/v1/requests", &key, &red()).await;
    assert_eq!((first.status, again.status), (202, 200));
    assert_eq!(first.json()["id"], again.json()["id"]);
    let path = format!("/v1/requests/{}", first.json()["id"].as_str().unwrap());
    t.send(Method::GET, &path, &[("prefer", "wait=10")], &Value::Null).await;
    let ended = t.send(Method::POST, "/v1/requests", &key, &red()).await;
    assert_eq!((ended.status, &ended.json()["state"]), (200, &json!("completed")));
    let other = t.send(Method::POST, "/v1/requests", &key, &json!({ "prompt": "y" })).await;
    assert_eq!((other.status, &other.json()["reason"]), (422, &json!("idempotency_key_reused")));
}

#[tokio::test]
async fn cancelling_stops_a_run_and_frees_its_server() {
    let t = start("").await;
    t.scripts[0].0.lock().unwrap().push_back(Act::Hang);
    let accepted = t.post("/v1/requests", &red()).await.json();
    let path = format!("/v1/requests/{}", accepted["id"].as_str().unwrap());
    let cancelled = t.send(Method::DELETE, &path, &[], &Value::Null).await;
    assert_eq!((cancelled.status, &cancelled.json()["state"]), (200, &json!("cancelled")));
    let again = t.send(Method::DELETE, &path, &[], &Value::Null).await;
    assert_eq!(again.status, 200, "cancelling is idempotent");
    assert_eq!(t.finish(&red()).await["state"], "completed");
    let done = t.finish(&red()).await;
    let path = format!("/v1/requests/{}", done["id"].as_str().unwrap());
    assert_eq!(t.send(Method::DELETE, &path, &[], &Value::Null).await.status, 409);
}

#[tokio::test]
async fn quotes_say_what_would_be_decided_and_change_nothing() {
    let t = start("").await;
    let quote = t.post("/v1/quotes", &json!({ "prompt": "x", "max_steps": 12 })).await;
    assert_eq!(quote.status, 200);
    let quote = quote.json();
    assert_eq!((&quote["server"], &quote["steps"]), (&json!("a"), &json!(12)));
    assert!(quote["why"].as_str().unwrap().contains("12 steps on a"));
    assert_eq!(t.get("/v1/requests").await.json()["requests"], json!([]));
}

#[tokio::test(start_paused = true)]
async fn a_picture_is_kept_then_gone_then_forgotten() {
    let t = start("[limits]\nkeep_seconds = 60\nremember_seconds = 600\n").await;
    let done = t.finish(&red()).await;
    let path = format!("/v1/requests/{}", done["id"].as_str().unwrap());
    let image = format!("{path}/image");
    for (seconds, request, picture) in
        [(0, 200, 200), (50, 200, 200), (20, 200, 410), (560, 200, 410), (60, 404, 404)]
    {
        tokio::time::sleep(Duration::from_secs(seconds)).await;
        let statuses = (t.get(&path).await.status, t.get(&image).await.status);
        assert_eq!(statuses, (request, picture), "{seconds} s later");
        if picture == 410 {
            assert_eq!(t.get(&image).await.json()["reason"], "picture_gone");
        }
    }
}

#[tokio::test]
async fn what_runs_and_what_waits_is_listed_apart() {
    let t = start("").await;
    t.scripts.iter().for_each(|script| script.0.lock().unwrap().push_back(Act::Hang));
    let mut ids = Vec::new();
    for _ in 0..3 {
        ids.insert(0, t.post("/v1/requests", &red()).await.json()["id"].clone());
    }
    // That a run has started is written down shortly after.
    let listed = async |state: &str, expected: &[Value]| loop {
        let list = t.get(&format!("/v1/requests?state={state}")).await.json();
        let list = list["requests"].as_array().unwrap().clone();
        if list.len() == expected.len() {
            assert!(list.iter().zip(expected).all(|(view, id)| view["id"] == *id), "{list:?}");
            return;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    };
    listed("live", &ids).await;
    listed("running", &ids[1..]).await;
    listed("waiting", &ids[..1]).await;
}

#[tokio::test]
async fn a_decision_is_explained_by_what_each_server_offered() {
    let mut t = start(KEYS).await;
    t.key = Some("alice");
    let explained = async |t: &Test, view: &Value| {
        let path = format!("/v1/requests/{}/decision", view["id"].as_str().unwrap());
        t.get(&path).await
    };
    let first = t.finish(&red()).await;
    let told = explained(&t, &first).await.json();
    assert_eq!(told["decision"], first["decision"]);
    assert_eq!(told["unasked"], json!([]));
    let [a, b] = [0, 1].map(|position| told["offers"][position].clone());
    assert_eq!((&a["server"], &a["chosen"], &a["steps"]), (&json!("a"), &json!(true), &json!(30)));
    for key in ["predicted_start", "predicted_finish", "expected_quality", "expected_reward"] {
        assert_eq!(a.get(key), told["decision"].get(key), "{key}");
    }
    // The same speed and nothing to wait for: nearly all 200 steps fit there, of which the rule gives 30.
    assert_eq!((&b["server"], &b["chosen"]), (&json!("b"), &json!(false)));
    assert!(b["steps"].as_u64().unwrap() >= 195, "{b}");
    assert!(b["expected_reward"].as_f64() > a["expected_reward"].as_f64(), "{told}");
    // Why others were not asked.
    let drained = json!({ "enabled": false });
    assert_eq!(t.send(Method::PATCH, "/v1/servers/a", &[], &drained).await.status, 200);
    let second = t.finish(&red()).await;
    let told = explained(&t, &second).await.json();
    assert_eq!(told["unasked"], json!([{ "server": "a", "why": "draining" }]));
    assert_eq!(told["offers"].as_array().unwrap().len(), 1);
    // It is nobody else's, and is known until the gateway is started again.
    t.key = Some("bob");
    assert_eq!(explained(&t, &first).await.status, 404);
    let Test { gateway, folder, .. } = t;
    gateway.stop(Duration::from_secs(5)).await;
    let mut t = start_in(folder, KEYS).await;
    t.key = Some("alice");
    let told = explained(&t, &first).await.json();
    assert_eq!((&told["offers"], &told["decision"]), (&Value::Null, &first["decision"]));
}
