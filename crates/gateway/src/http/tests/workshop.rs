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

#[tokio::test]
async fn what_servers_say_is_told_to_operators_and_hostile_names_are_text() {
    let name = "</script>\u{1f5bc}\"\\\u{2028}event: site";
    let server = format!(
        "[[server]]\nname = {name:?}\nsteps_per_second = 10.0\nbackend = {{ kind = \"demo\" }}\n"
    );
    let keys = KEYS.replace("\"ann\"", "\"a\\u2028\\\"\\\\b\"");
    let text = format!(
        "policy = \"fixed[steps=30]\"\n{server}[defaults]\nwidth = 16\nheight = 16\n{keys}"
    );
    let Ok(_) = Config::parse("x.toml", &text) else {
        // Such names are not allowed at all.
        return;
    };
    let mut t = start_as(tempfile::tempdir().unwrap(), &text, |_| ());
    t.ready().await;
    t.key = Some("alice");
    let mut ann = Listener::new(&t, "/v1/workshop").await;
    let error = BackendError::JobFailed("event: site\ndata: {}\n\n</script>".into());
    t.scripts[0].0.lock().unwrap().extend(vec![Act::Fail(error); 3]);
    t.finish(&asked("linear")).await;
    let events = ann.until(|events| is(events, "linear", "failed")).await;
    let failed = briefs(&events, "linear").pop().unwrap();
    assert!(failed["reason"].as_str().unwrap().contains("</script>"), "{failed}");
    assert_eq!(events.iter().filter(|(name, _)| name == "site").count(), 1);
}

/// Whoever is so far behind that he cannot hear of each is told anew how everything stands.
#[tokio::test]
async fn whoever_lags_begins_anew() {
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
    let events = slow.until(|events| is(events, "square_root", "completed")).await;
    assert!(is(&events, "linear", "completed"));
    let told = briefs(&events, "linear").len();
    assert!(told <= 4, "{told} times, in place of ten thousand");
}

#[tokio::test]
async fn another_policy_is_told_and_another_configuration_ends_the_stream() {
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
