//! All that there is to see, as it happens.

use futures_util::StreamExt as _;

use super::*;

/// Somebody who listens, and what he has heard.
pub(super) struct Listener {
    body: axum::body::BodyDataStream,
    heard: String,
}

impl Listener {
    pub(super) async fn new(t: &Test, path: &str) -> Self {
        let response = t.begin(path).await;
        assert_eq!(response.headers()["content-type"], "text/event-stream");
        Self { body: response.into_body().into_data_stream(), heard: String::new() }
    }

    /// Listens until it is so.
    pub(super) async fn until(
        &mut self,
        what: impl Fn(&[(String, Value)]) -> bool,
    ) -> Vec<(String, Value)> {
        let heard = async {
            loop {
                let events = self.events();
                if what(&events) {
                    return events;
                }
                let part = self.body.next().await.expect("it goes on").unwrap();
                self.heard.push_str(std::str::from_utf8(&part).unwrap());
            }
        };
        tokio::time::timeout(Duration::from_mins(1), heard).await.expect("it comes to that")
    }

    /// Listens until nothing more comes.
    pub(super) async fn end(mut self) -> Vec<(String, Value)> {
        let heard = async {
            while let Some(part) = self.body.next().await {
                self.heard.push_str(std::str::from_utf8(&part.unwrap()).unwrap());
            }
        };
        tokio::time::timeout(Duration::from_mins(1), heard).await.expect("it ends");
        self.events()
    }

    /// What has been heard so far.
    fn events(&self) -> Vec<(String, Value)> {
        let events = self.heard.split_inclusive("\n\n").filter_map(|event| {
            event.strip_prefix("event: ")?.strip_suffix("\n\n")?.split_once("\ndata: ")
        });
        events.map(|(name, data)| (name.to_string(), serde_json::from_str(data).unwrap())).collect()
    }
}

/// The states in which the request with this prompt was seen.
fn states(events: &[(String, Value)], prompt: &str) -> Vec<String> {
    let own = events.iter().filter(|(name, view)| name == "request" && view["prompt"] == prompt);
    own.map(|(_, view)| view["state"].as_str().unwrap().to_string()).collect()
}

#[tokio::test]
async fn whoever_listens_sees_servers_and_his_own_requests_as_they_change() {
    let mut t = start(KEYS).await;
    t.key = Some("alice");
    let asked = |prompt: &str| json!({ "prompt": prompt, "due_in_seconds": 20.0 });
    t.finish(&asked("before")).await;
    let mut ann = Listener::new(&t, "/v1/events").await;
    t.key = Some("bob");
    let mut bob = Listener::new(&t, "/v1/events").await;
    // How everything stands comes first.
    let events = ann.until(|events| !states(events, "before").is_empty()).await;
    assert_eq!(events[0].0, "servers");
    assert_eq!(events[0].1["servers"].as_array().unwrap().len(), 2);
    assert_eq!(states(&events, "before"), ["completed"]);
    t.key = Some("alice");
    t.scripts[0].0.lock().unwrap().push_back(Act::Deliver(1.0));
    let ended = |events: &[(String, Value)]| states(events, "slow").contains(&"completed".into());
    let slow = asked("slow");
    let (_, events) = tokio::join!(t.finish(&slow), ann.until(ended));
    let seen = states(&events, "slow");
    assert!(seen.contains(&"running".into()), "{seen:?}");
    let running = |(name, data): &(String, Value)| {
        name == "servers" && !data["servers"][0]["running"].is_null()
    };
    assert!(events.iter().any(running), "the server was seen at work");
    // Somebody else's are not seen.
    let drained = json!({ "enabled": false });
    assert_eq!(t.send(Method::PATCH, "/v1/servers/b", &[], &drained).await.status, 200);
    let drained = |events: &[(String, Value)]| {
        events
            .iter()
            .any(|(name, data)| name == "servers" && data["servers"][1]["enabled"] == false)
    };
    let events = bob.until(drained).await;
    assert!(events.iter().all(|(name, _)| name == "servers"), "{events:?}");
}
