//! What operators do and look at.

use scheduling::{Cluster, Seconds, Server, StepRate};

use super::*;

#[tokio::test]
async fn draining_servers_take_nothing_and_without_any_it_is_503() {
    let t = start("").await;
    let drain = async |name: &str, enabled: bool| {
        let path = format!("/v1/servers/{name}");
        t.send(Method::PATCH, &path, &[], &json!({ "enabled": enabled })).await.status
    };
    assert_eq!(drain("a", false).await, 200);
    assert_eq!(t.finish(&red()).await["result"]["server"], "b");
    assert_eq!(drain("b", false).await, 200);
    let refused = t.post("/v1/requests", &red()).await;
    assert_eq!((refused.status, &refused.json()["reason"]), (503, &json!("no_server")));
    assert!(refused.headers.contains_key("retry-after"));
    assert_eq!(t.get("/readyz").await.status, 503);
    assert_eq!(t.get("/healthz").await.status, 200);
    assert_eq!(drain("a", true).await, 200);
    assert_eq!(t.finish(&red()).await["result"]["server"], "a");
    assert_eq!(drain("zebra", true).await, 404);
}

#[tokio::test]
async fn policies_are_changed_without_a_restart() {
    let t = start("").await;
    let put = async |policy: &str| {
        let body = json!({ "policy": policy });
        t.send(Method::PUT, "/v1/policy", &[], &body).await
    };
    let policies = json!({ "policy": "fixed[steps=30]", "shadow_policy": "greedy" });
    assert_eq!(t.get("/v1/policy").await.json(), policies);
    assert_eq!(put("fixed[steps=9]").await.status, 204);
    assert_eq!(t.get("/v1/policy").await.json()["policy"], "fixed[steps=9]");
    assert_eq!(t.finish(&red()).await["result"]["steps"], 9);
    let missing = put("agent[no/where]").await;
    assert_eq!((missing.status, &missing.json()["field"]), (422, &json!("policy")));
    assert_eq!(put("best").await.status, 422);
    assert_eq!(t.finish(&red()).await["result"]["steps"], 9, "the present one stays");
}

#[tokio::test]
async fn metrics_tell_what_happened() {
    let t = start("").await;
    t.finish(&red()).await;
    t.post("/v1/requests", &json!({ "prompt": "x", "seed": -2 })).await;
    let answer = t.get("/metrics").await;
    assert_eq!(answer.headers["content-type"], "text/plain; version=0.0.4; charset=utf-8");
    let text = String::from_utf8(answer.body.to_vec()).unwrap();
    for line in [
        "atelier_requests_accepted_total 1",
        "atelier_requests_ended_total{outcome=\"completed\"} 1",
        "atelier_requests_rejected_total{reason=\"invalid_field\"} 1",
        "atelier_server_healthy{server=\"a\"} 1",
        "atelier_decisions_total{policy=\"fixed[steps=30]\",server=\"a\",cause=\"arrival\"} 1",
        "atelier_tardiness_seconds_count{server=\"a\"} 1",
        "atelier_prediction_error_ratio_count{server=\"a\"} 1",
        "atelier_live 0",
    ] {
        assert!(text.lines().any(|l| l == line), "{line} is missing in\n{text}");
    }
}

#[tokio::test]
async fn the_shadow_policy_is_shown_beside_the_one_that_decides() {
    let t = start("").await;
    // `greedy` asks for the most steps: within these bounds it agrees with 30, else it does not.
    let bounded = json!({ "prompt": "x", "min_steps": 30, "max_steps": 30 });
    for (body, agrees) in [(bounded, true), (red(), false)] {
        let done = t.finish(&body).await;
        let (decision, shadow) = (&done["decision"], &done["decision"]["shadow"]);
        assert_eq!(shadow["agrees"], agrees, "{decision}");
        let same = ["server", "steps"].iter().all(|field| shadow[field] == decision[field]);
        assert_eq!(same, agrees, "{decision}");
        // From the journal as well as from memory.
        let path = format!("/v1/requests/{}", done["id"].as_str().unwrap());
        assert_eq!(t.get(&path).await.json()["decision"]["shadow"], *shadow);
    }
    let text = String::from_utf8(t.get("/metrics").await.body.to_vec()).unwrap();
    for agrees in ["true", "false"] {
        let line = format!(
            "atelier_shadow_decisions_total{{policy=\"greedy\",against=\"fixed[steps=30]\",\
             agrees=\"{agrees}\"}} 1"
        );
        assert!(text.lines().any(|l| l == line), "{line} is missing in\n{text}");
    }
}

#[tokio::test]
async fn the_journal_becomes_an_instance() {
    let t = start("").await;
    for due in [5.0, 20.0, 60.0] {
        t.finish(&json!({ "prompt": "x", "due_in_seconds": due, "penalty": "quadratic" })).await;
    }
    t.finish(&json!({ "prompt": "x", "width": 32 })).await;
    let journal = t.folder.path().join("journal.db");
    let exported = crate::export::export(&journal, &t.gateway.handle.config).unwrap();
    assert_eq!(exported.untaken, 0);
    let requests = exported.instance.requests();
    let sizes: Vec<f64> = requests.iter().map(|request| request.size.into()).collect();
    assert_eq!(sizes, [1.0, 1.0, 1.0, 2.0]);
    assert_eq!((requests.len(), requests[0].arrival.seconds()), (4, 0.0));
    for (request, due) in requests.iter().zip([5.0, 20.0, 60.0, 30.0]) {
        assert!((request.slack().seconds() - due).abs() < 1e-6);
    }
    assert_eq!(requests[1].penalty, scheduling::TardinessPenalty::Quadratic);
    // What commands read back.
    let json = exported.instance.to_json();
    assert_eq!(scheduling::Instance::from_json(&json).unwrap(), exported.instance);
    let empty = tempfile::tempdir().unwrap();
    let missing = crate::export::export(&empty.path().join("none.db"), &t.gateway.handle.config);
    assert!(missing.unwrap_err().to_string().contains("none.db"));
}

#[tokio::test]
async fn what_turns_out_to_be_unusable_is_refused_at_its_line_and_nothing_is_started() {
    let folder = tempfile::tempdir().unwrap();
    let journal = folder.path().join("journal.db");
    let flow = folder.path().join("flow.json");
    std::fs::write(&flow, WORKFLOW).unwrap();
    let comfyui = |workflow: &Path, steps: &str| {
        format!(
            "journal = {journal:?}\npolicy = \"myopic\"\n[[server]]\nname = \"a\"\n\
             steps_per_second = 1.0\n[server.backend]\nkind = \"comfyui\"\nurl = \"http://h:1\"\nworkflow = {workflow:?}\n\
             inputs = {{ prompt = \"6.text\", seed = \"3.seed\", steps = \"{steps}\", \
             width = \"5.width\", height = \"5.height\" }}\n"
        )
    };
    let demo = |policies: &str| {
        format!(
            "journal = {journal:?}\n{policies}\n[[server]]\nname = \"a\"\nsteps_per_second = 1.0\n\
             backend = {{ kind = \"demo\" }}\n"
        )
    };
    let https = "ca_file = \"no/where.pem\"\npolicy = \"myopic\"\n[[server]]\nname = \"a\"\nsteps_per_second = 1.0\n\
                 backend = { kind = \"openai\", url = \"https://h:1\" }\n";
    for (text, line, parts) in [
        (demo("policy = \"agent[no/where]\""), 2, ["`policy`", "no/where"]),
        (
            demo("policy = \"myopic\"\nshadow_policy = \"agent[no/where]\""),
            3,
            ["`shadow_policy`", "no/where"],
        ),
        (
            comfyui(&folder.path().join("none.json"), "3.steps"),
            9,
            ["workflow`", "none.json: No such"],
        ),
        (comfyui(&flow, "4.steps"), 10, ["inputs`", "the nodes are 3, 5, 6, 7"]),
        (https.into(), 1, ["`ca_file`", "no/where.pem"]),
    ] {
        let config = Config::parse("x.toml", &text).unwrap();
        let error = Gateway::start(config, World::real(Arc::new(rules))).err().unwrap();
        let message = error.to_string();
        assert!(message.starts_with(&format!("x.toml:{line}: ")), "{message}");
        for part in parts {
            assert!(message.contains(part), "{message:?} does not contain {part:?}");
        }
        assert!(!journal.exists(), "{message}");
    }
}

#[tokio::test]
async fn decisions_unlike_all_of_the_training_are_counted() {
    let server = |name| Server::new(name, StepRate::new(10.0).unwrap(), Seconds::ZERO);
    let cluster = Cluster::new(vec![server("a"), server("b")]).unwrap();
    let t = start_with(tempfile::tempdir().unwrap(), "", |world| {
        world.policies = crate::parity::policies(cluster);
    })
    .await;
    let body = json!({ "policy": "agent[universal]" });
    assert_eq!(t.send(Method::PUT, "/v1/policy", &[], &body).await.status, 204);
    let counted = async || {
        let text = String::from_utf8(t.get("/metrics").await.body.to_vec()).unwrap();
        let line =
            text.lines().find(|line| line.starts_with("atelier_decisions_unfamiliar_total{"));
        line.map_or(0.0, |line| line.rsplit(' ').next().unwrap().parse::<f64>().unwrap())
    };
    t.finish(&red()).await;
    assert_eq!(counted().await, 0.0, "twenty seconds are a slack as in training");
    // Nearly a day is not.
    let patient = json!({ "prompt": "x", "due_in_seconds": 80_000.0, "max_steps": 2 });
    t.finish(&patient).await;
    t.finish(&patient).await;
    assert_eq!(counted().await, 2.0);
}
