//! What every server is doing and what comes of every request, as operators and requesters see it.

use super::live::Listener;
use super::*;

/// What is known of requests by what was told, by their penalties, which are unlike in these tests.
fn briefs<'a>(events: &'a [(String, Value)], penalty: &str) -> Vec<&'a Value> {
    let told = events.iter().filter(|(name, _)| name == "requests");
    let all = told.flat_map(|(_, data)| data["requests"].as_array().unwrap());
    all.filter(|brief| brief["penalty"] == penalty).collect()
}

fn is(events: &[(String, Value)], penalty: &str, state: &str) -> bool {
    briefs(events, penalty).last().is_some_and(|brief| brief["state"] == state)
}

fn asked(penalty: &str) -> Value {
    json!({ "prompt": "a secret", "negative_prompt": "a secret", "due_in_seconds": 20.0, "penalty": penalty })
}

#[tokio::test]
async fn operators_see_everybodys_requests_without_prompts_and_requesters_their_own() {
    let mut t = start(KEYS).await;
    t.key = Some("alice");
    t.finish(&asked("linear")).await;
    let mut ann = Listener::new(&t, "/v1/workshop").await;
    t.key = Some("bob");
    let mut bob = Listener::new(&t, "/v1/workshop").await;
    t.finish(&asked("quadratic")).await;
    let of_bob = bob.until(|events| is(events, "quadratic", "completed")).await;
    let of_ann = ann.until(|events| is(events, "quadratic", "completed")).await;
    assert!(is(&of_ann, "linear", "completed"), "what was before comes first");
    assert!(briefs(&of_bob, "linear").is_empty(), "hers is not his to see");
    for (events, role) in [(&of_ann, "operator"), (&of_bob, "requester")] {
        assert_eq!((&*events[0].0, &*events[1].0), ("site", "servers"));
        document::check("Site", &events[0].1);
        document::check("Servers", &events[1].1);
        assert_eq!(events[0].1["operator"], role == "operator");
        let told = events.iter().filter(|(name, _)| name == "requests");
        told.for_each(|(_, data)| document::check("Briefs", data));
        let text = format!("{events:?}");
        assert!(!text.contains("secret") && !text.contains("image"), "{text}");
        let last = briefs(events, "quadratic").pop().unwrap().clone();
        assert_eq!(last["own"], role == "requester");
        let owner = if role == "operator" { json!("bob") } else { Value::Null };
        assert_eq!(last["owner"], owner);
        assert_eq!((&last["steps"], &last["attempts"]), (&json!(30), &json!(1)));
        assert_eq!(last["tardiness_seconds"], 0.0);
    }
    // Whoever comes back is told how everything stands.
    let again = Listener::new(&t, "/v1/workshop").await;
    let again = { again }.until(|events| is(events, "quadratic", "completed")).await;
    assert_eq!(again[0].0, "site");
}

#[tokio::test]
async fn a_request_is_seen_on_its_way() {
    let t = start("").await;
    let mut all = Listener::new(&t, "/v1/workshop").await;
    all.until(|events| events.len() > 1).await;
    for script in &t.scripts {
        script.0.lock().unwrap().push_back(Act::Hang);
    }
    let mut ids = vec![];
    for penalty in ["linear", "linear", "quadratic"] {
        ids.push(t.post("/v1/requests", &asked(penalty)).await.json()["id"].clone());
    }
    let events = all.until(|events| is(events, "linear", "running")).await;
    let running = briefs(&events, "linear").pop().unwrap().clone();
    // 30 steps at ten per second are worth what the curve says, and are on time.
    let span = |brief: &Value, from: &str, to: &str| {
        let [from, to] = [from, to].map(|field| {
            brief[field].as_str().unwrap().parse::<jiff::Timestamp>().unwrap().as_millisecond()
        });
        (to - from) as f64 / 1e3
    };
    assert!((span(&running, "start", "finish") - 3.0).abs() < 0.01, "{running}");
    assert_eq!((&running["tardiness_seconds"], &running["steps"]), (&json!(0.0), &json!(30)));
    let events = all.until(|events| is(events, "quadratic", "waiting")).await;
    let waiting = briefs(&events, "quadratic").pop().unwrap().clone();
    assert!((span(&waiting, "start", "finish") - 3.0).abs() < 0.01, "{waiting}");
    assert_eq!(waiting["quality"], running["quality"]);
    // Who comes later is told the same at first.
    let mut late = Listener::new(&t, "/v1/workshop").await;
    let events = late.until(|events| is(events, "quadratic", "waiting")).await;
    assert!(is(&events, "linear", "running"));
    for id in ids.iter().rev() {
        let path = format!("/v1/requests/{}", id.as_str().unwrap());
        assert_eq!(t.send(Method::DELETE, &path, &[], &Value::Null).await.status, 200);
    }
    for listener in [&mut all, &mut late] {
        listener.until(|events| is(events, "quadratic", "cancelled")).await;
    }
}

/// Names are plain by the configuration; what servers say is not.
#[tokio::test]
async fn what_servers_say_is_told_to_operators_and_is_text_whatever_it_is() {
    const SAID: &str = "\n\nevent: site\ndata: {}\n\n</script>\u{2028}\"\\";
    let mut t = start(KEYS).await;
    t.key = Some("alice");
    let mut ann = Listener::new(&t, "/v1/workshop").await;
    t.key = Some("bob");
    let mut bob = Listener::new(&t, "/v1/workshop").await;
    for script in &t.scripts {
        let error = BackendError::JobFailed(SAID.into());
        script.0.lock().unwrap().extend(vec![Act::Fail(error); 3]);
    }
    t.finish(&asked("linear")).await;
    for (listener, hears) in [(&mut ann, true), (&mut bob, false)] {
        let events = listener.until(|events| is(events, "linear", "failed")).await;
        let failed = briefs(&events, "linear").pop().unwrap();
        assert_eq!(failed["reason"].as_str().unwrap().contains("</script>"), hears, "{failed}");
        assert_eq!(failed["quality"], Value::Null, "there is no picture");
        assert_eq!(events.iter().filter(|(name, _)| name == "site").count(), 1);
    }
}

/// Whoever is so far behind that he cannot hear of each comes back to be told how everything stands.
#[tokio::test]
async fn the_stream_of_whoever_lags_ends() {
    let t = start("").await;
    let mut slow = Listener::new(&t, "/v1/workshop").await;
    slow.until(|events| events.len() > 1).await;
    let first = t.finish(&asked("linear")).await;
    let id = first["id"].as_str().unwrap().parse().unwrap();
    let status = t.gateway.handle.status(dispatch::RequestId(id)).await.unwrap().unwrap();
    for _ in 0..10_000 {
        let _ = t.gateway.handle.changes.send(Arc::new(status.clone()));
    }
    t.finish(&asked("square_root")).await;
    let events = slow.end().await;
    let told = briefs(&events, "linear").len();
    assert!(told <= 4, "{told} times, in place of ten thousand");
    let mut again = Listener::new(&t, "/v1/workshop").await;
    let both =
        |events: &[_]| ["linear", "square_root"].iter().all(|name| is(events, name, "completed"));
    again.until(both).await;
}

#[tokio::test]
async fn another_policy_is_told() {
    let t = start("").await;
    let mut all = Listener::new(&t, "/v1/workshop").await;
    let body = json!({ "policy": "myopic" });
    assert_eq!(t.send(Method::PUT, "/v1/policy", &[], &body).await.status, 204);
    let sites = |events: &[(String, Value)]| {
        let sites = events.iter().filter(|(name, _)| name == "site");
        sites.map(|(_, site)| site["policy"].clone()).collect::<Vec<_>>()
    };
    let events = all.until(|events| sites(events).contains(&json!("myopic"))).await;
    let site = &events[0].1;
    assert_eq!(site["shadow_policy"], "greedy");
    assert_eq!((&site["keys"], &site["owner"]), (&json!(false), &json!("local")));
    assert_eq!((&site["demo"], &site["tardiness_weight"]), (&json!(true), &json!(1.5)));
    assert_eq!(site["defaults"]["width"], 16);
    assert_eq!(site["limits"]["side"], 2048);
    assert_eq!(site["models"], json!([]));
}

/// The latest buckets of a scale, as somebody was told of them, put together.
fn sums(events: &[(String, Value)], resolution: u32) -> Vec<Value> {
    let mut buckets = std::collections::BTreeMap::new();
    for (_, told) in events.iter().filter(|(name, _)| name == "statistics") {
        if told["resolution_seconds"] == resolution {
            for bucket in told["buckets"].as_array().unwrap() {
                buckets.insert(bucket["at"].to_string(), bucket.clone());
            }
        }
    }
    buckets.into_values().collect()
}

fn sum(buckets: &[Value], path: &str) -> f64 {
    buckets.iter().filter_map(|bucket| bucket.pointer(path)?.as_f64()).sum()
}

#[tokio::test]
async fn operators_see_what_has_come_of_requests_and_a_restart_forgets_little() {
    let mut t = start(KEYS).await;
    t.key = Some("bob");
    let mut bob = Listener::new(&t, "/v1/workshop").await;
    let done = t.finish(&asked("quadratic")).await;
    t.key = Some("alice");
    let late = json!({ "prompt": "x", "due_in_seconds": 0.05, "penalty": "linear" });
    t.scripts[0].0.lock().unwrap().push_back(Act::Deliver(0.2));
    t.scripts[1].0.lock().unwrap().push_back(Act::Deliver(0.2));
    let late = t.finish(&late).await;
    let mut ann = Listener::new(&t, "/v1/workshop").await;
    let ended = |events: &[(String, Value)]| sum(&sums(events, 300), "/completed") == 2.0;
    let events = ann.until(ended).await;
    for (name, data) in &events {
        let form = match &**name {
            "statistics" => "Statistics",
            "keys" => "Keys",
            _ => continue,
        };
        document::check(form, data);
    }
    for resolution in [5, 300] {
        let buckets = sums(&events, resolution);
        assert_eq!(sum(&buckets, "/on_time"), 1.0);
        let field = |field: &str| {
            let [linear, quadratic] = ["linear", "quadratic"]
                .map(|penalty| sum(&buckets, &format!("/penalties/{penalty}/{field}")));
            (linear, quadratic)
        };
        let results = |field: &str| {
            let [late, done] = [&late, &done].map(|view| view["result"][field].as_f64().unwrap());
            (late, done)
        };
        assert_eq!(field("on_time"), (0.0, 1.0));
        assert_eq!(field("steps"), (30.0, 30.0));
        for name in ["tardiness_seconds", "quality", "reward"] {
            assert_eq!(field(name), results(name), "{name}");
        }
        let runs = sum(&buckets, "/servers/a/runs") + sum(&buckets, "/servers/b/runs");
        assert_eq!(runs, 2.0);
        // Both were expected to earn by the same offers what their decisions say, and greedy does no better on time.
        assert_eq!(sum(&buckets, "/decisions/count"), 2.0);
        let expected =
            [&late, &done].map(|view| view["decision"]["expected_reward"].as_f64().unwrap());
        let told = sum(&buckets, "/decisions/expected_reward");
        assert!((told - expected.iter().sum::<f64>()).abs() < 1e-6, "{told} {expected:?}");
        assert!(sum(&buckets, "/decisions/shadow_expected_reward") != 0.0);
    }
    // Requesters hear of none of it.
    let events = bob.until(|events| is(events, "quadratic", "completed")).await;
    assert!(events.iter().all(|(name, _)| !["statistics", "keys"].contains(&&**name)));
    // What the journal knows is there again after a restart.
    let Test { gateway, folder, .. } = t;
    drop((ann, bob));
    gateway.stop(Duration::ZERO).await;
    let mut t = start_in(folder, KEYS).await;
    t.key = Some("alice");
    let events = Listener::new(&t, "/v1/workshop").await.until(ended).await;
    let buckets = sums(&events, 300);
    assert_eq!((sum(&buckets, "/on_time"), sum(&buckets, "/decisions/count")), (1.0, 0.0));
    let quality = sum(&buckets, "/penalties/quadratic/quality");
    assert_eq!(quality, done["result"]["quality"].as_f64().unwrap());
    assert_eq!(sum(&sums(&events, 5), "/completed"), 0.0);
}

#[tokio::test]
async fn operators_see_who_uses_the_gateway() {
    let mut t = start(KEYS).await;
    t.key = Some("bob");
    assert_eq!(t.get("/v1/keys").await.status, 403);
    let bob = Listener::new(&t, "/v1/workshop").await;
    t.scripts.iter().for_each(|script| script.0.lock().unwrap().push_back(Act::Deliver(0.3)));
    t.finish(&asked("linear")).await;
    t.scripts.iter().for_each(|script| {
        script.0.lock().unwrap().clear();
        script.0.lock().unwrap().push_back(Act::Hang);
    });
    t.post("/v1/requests", &asked("linear")).await;
    t.key = Some("alice");
    let mut ann = Listener::new(&t, "/v1/workshop").await;
    let keys = t.get("/v1/keys").await.json();
    document::check("Keys", &keys);
    let [of_ann, of_bob] = [&keys["keys"][0], &keys["keys"][1]];
    assert_eq!((&of_ann["name"], &of_ann["operator"]), (&json!("ann"), &json!(true)));
    assert_eq!(
        (&of_ann["requests_per_minute"], &of_ann["left_this_minute"]),
        (&json!(1000), &json!(1000))
    );
    let expected = json!({
        "name": "bob", "operator": false, "requests_per_minute": 2, "left_this_minute": 0, "streams": 1,
        "waiting_or_running": 1, "accepted": 2, "completed": 1, "late": 0,
        "server_seconds": of_bob["server_seconds"],
    });
    assert_eq!(*of_bob, expected);
    let served = of_bob["server_seconds"].as_f64().unwrap();
    assert!((0.3..20.0).contains(&served), "{served}");
    drop(bob);
    let closed = |(name, data): &(String, Value)| name == "keys" && data["keys"][1]["streams"] == 0;
    ann.until(|events| events.iter().any(closed)).await;
    // Without keys everybody is one.
    let t = start("").await;
    let keys = t.get("/v1/keys").await.json();
    document::check("Keys", &keys);
    assert_eq!(keys["keys"][0]["name"], "local");
    assert_eq!(keys["keys"][0]["requests_per_minute"], Value::Null);
}

#[tokio::test]
async fn operators_may_ask_why_a_request_of_somebody_else_was_decided_so() {
    let mut t = start(KEYS).await;
    t.key = Some("bob");
    let of_bob = t.finish(&asked("linear")).await;
    t.key = Some("alice");
    let own = t.finish(&asked("linear")).await;
    let path = |view: &Value| format!("/v1/requests/{}", view["id"].as_str().unwrap());
    assert_eq!(t.get(&path(&of_bob)).await.status, 404, "its prompt is nobody else's to see");
    let explained = t.get(&format!("{}/decision", path(&of_bob))).await;
    assert!(!String::from_utf8_lossy(&explained.body).contains("secret"));
    let explained = explained.json();
    document::check("Explanation", &explained);
    let (shadow, offer) = (&explained["decision"]["shadow"], &explained["shadow_offer"]);
    assert_eq!((&offer["server"], &offer["steps"]), (&shadow["server"], &shadow["steps"]));
    let offers = explained["offers"].as_array().unwrap();
    let there = offers.iter().find(|other| other["server"] == offer["server"]).unwrap();
    for same in ["chosen", "load_seconds"] {
        assert_eq!(offer[same], there[same]);
    }
    assert_ne!(
        offer["steps"], explained["decision"]["steps"],
        "greedy takes all the steps that fit"
    );
    t.key = Some("bob");
    assert_eq!(t.get(&format!("{}/decision", path(&own))).await.status, 404);
}
