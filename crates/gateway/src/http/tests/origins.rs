//! Browsers, proxies and clients that come back.

use super::*;

const APP: [(&str, &str); 2] =
    [("origin", "https://app.example"), ("access-control-request-method", "POST")];

#[tokio::test]
async fn a_path_says_what_it_can_be_asked_for() {
    let t = start("").await;
    let ask = async |path: &str| t.send(Method::OPTIONS, path, &[], &Value::Null).await;
    let allowed = ask("/v1/requests").await;
    assert_eq!((allowed.status, &*allowed.body), (204, b"".as_slice()));
    assert_eq!(allowed.headers["allow"], "POST,GET,HEAD,OPTIONS");
    assert!(!allowed.headers.contains_key("access-control-allow-origin"));
    // So a client of sd-server finds out what it talks to.
    assert_eq!(ask("/v1/images/generations").await.headers["allow"], "POST,OPTIONS");
    assert_eq!(ask("/v2").await.status, 404);
}

#[tokio::test]
async fn pages_of_allowed_origins_may_ask_and_no_others() {
    let t = start("").await;
    let refused = t.send(Method::POST, "/v1/requests", &APP, &red()).await;
    assert_eq!((refused.status, &refused.json()["reason"]), (403, &json!("foreign_host")));
    let text = format!("allowed_origins = [\"https://App.example\"]\n{KEYS}");
    let t = start_first(&text).await;
    let preflight = t.send(Method::OPTIONS, "/v1/requests", &APP, &Value::Null).await;
    assert_eq!(preflight.status, 204);
    let allows = |name: &str| preflight.headers[name].to_str().unwrap().to_owned();
    assert_eq!(allows("access-control-allow-origin"), "https://app.example");
    assert!(allows("access-control-allow-methods").contains("POST"));
    assert!(allows("access-control-allow-headers").contains("authorization"));
    let ann = [APP[0], ("authorization", "Bearer alice")];
    let made = t.send(Method::POST, "/v1/requests", &ann, &red()).await;
    assert_eq!((made.status, &made.headers["vary"]), (202, &"origin".parse().unwrap()));
    assert_eq!(made.headers["access-control-allow-origin"], "https://app.example");
    assert!(made.headers["access-control-expose-headers"].to_str().unwrap().contains("location"));
    let other = [("origin", "https://evil.example"), ann[1]];
    let kept = t.send(Method::GET, "/v1/servers", &other, &Value::Null).await;
    assert!(!kept.headers.contains_key("access-control-allow-origin"));
    // A browser's page must read that its key is wrong.
    let wrong = [APP[0], ("authorization", "Bearer nobody")];
    let refused = t.send(Method::GET, "/v1/servers", &wrong, &Value::Null).await;
    assert_eq!(refused.status, 401);
    assert!(refused.headers.contains_key("access-control-allow-origin"));
}

#[tokio::test]
async fn the_gateway_stands_below_a_path() {
    let t = start_first("public_url = \"https://draw.example/atelier/\"").await;
    let ask = async |path: &str| {
        let request = Request::get(path).header("host", "localhost").body(Body::empty()).unwrap();
        let answer = t.gateway.router().oneshot(request).await.unwrap();
        let location = answer.headers().get("location").cloned();
        (answer.status().as_u16(), location.map(|to| to.to_str().unwrap().to_owned()))
    };
    for path in ["/atelier/healthz", "/atelier/v1/servers", "/atelier/", "/healthz", "/v1/servers"]
    {
        assert_eq!(ask(path).await, (200, None), "{path}");
    }
    let metrics = String::from_utf8(t.get("/metrics").await.body.to_vec()).unwrap();
    assert!(
        metrics.contains("route=\"/v1/servers\"") && !metrics.contains("/atelier"),
        "{metrics}"
    );
    assert_eq!(ask("/atelier").await, (308, Some("/atelier/".into())));
    assert_eq!(ask("/atelier/v2").await.0, 404);
    let body = json!({ "prompt": "x", "response_format": "url" });
    let answer = t.post("/v1/images/generations", &body).await.json();
    let url = answer["data"][0]["url"].as_str().unwrap();
    let path = url.strip_prefix("https://draw.example").unwrap();
    assert!(path.starts_with("/atelier/pictures/"), "{url}");
    assert_eq!(ask(path).await.0, 200);
}

#[tokio::test]
async fn those_who_are_told_to_come_back_come_at_different_times() {
    let t = start(KEYS).await;
    let bob = [("authorization", "Bearer bob")];
    let mut told = std::collections::BTreeSet::new();
    for number in 0..40 {
        let answer = t.send(Method::POST, "/v1/requests", &bob, &red()).await;
        if number >= 2 {
            assert_eq!(answer.status, 429);
            told.insert(answer.headers["retry-after"].to_str().unwrap().parse::<u64>().unwrap());
        }
    }
    assert!(told.len() > 5 && told.iter().all(|seconds| (20..=46).contains(seconds)), "{told:?}");
}
