//! Those who use the gateway: they submit, ask, cancel, repeat themselves and leave.

use std::time::Duration;

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::http::{Method, Request};
use bytes::Bytes;
use serde_json::{Value, json};
use tower::ServiceExt as _;

use super::checker::Checker;
use super::machine::pause;
use super::nature::Nature;
use super::plan::KEYS;

/// Somebody with an API key, where there are any.
#[derive(Clone)]
pub(super) struct Client {
    pub(super) nature: Nature,
    pub(super) router: Router,
    /// Index into [`KEYS`].
    pub(super) owner: usize,
    /// How long an answer is under way, in milliseconds. Those who wait for the same request are told
    /// of its end in no certain order: here they hear of it one after the other.
    way: u64,
    /// Lives of gateways so far: nobody speaks to one of an earlier life.
    life: usize,
}

/// A submission, as often as it is sent.
#[derive(Clone)]
struct Order {
    body: Value,
    prompt: String,
    key: Option<String>,
    wait: Option<u64>,
}

struct Answer {
    status: u16,
    body: Bytes,
    /// The question, for the checker and for the log.
    asked: u64,
    question: String,
}

impl Answer {
    fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_default()
    }
}

/// Sends requests for as long as the life lasts.
pub(super) async fn traffic(nature: Nature, router: Router) {
    loop {
        let (wait, owner) = {
            let mut state = nature.state();
            let mean = state.plan.pause;
            let owner = if state.plan.keys { state.dice.below(KEYS.len()) } else { 0 };
            // Some come together.
            let mean = if state.chance(0.3) { mean * 0.02 } else { mean };
            (state.dice.exponential(mean), owner)
        };
        pause(wait).await;
        let client = Client::new(&nature, &router, owner);
        tokio::spawn(client.goes_about());
    }
}

impl Client {
    pub(super) fn new(nature: &Nature, router: &Router, owner: usize) -> Self {
        let (nature, router) = (nature.clone(), router.clone());
        let mut state = nature.state();
        state.clients += 1;
        let (way, life) = (1 + state.clients % 499, state.lives);
        drop(state);
        Self { nature, router, owner, way, life }
    }

    async fn goes_about(self) {
        let errand = self.nature.state().dice.below(40);
        match errand {
            0 => self.looks_around().await,
            1 => self.operates().await,
            _ => self.wants_a_picture().await,
        }
    }

    /// Submits once or, with a key, several times at once, and sees what comes of it.
    async fn wants_a_picture(self) {
        let order = self.makes_up_its_mind();
        let copies = {
            let mut state = self.nature.state();
            if order.key.is_some() && state.chance(0.3) { 2 + state.dice.below(3) } else { 1 }
        };
        let others: Vec<_> = (1..copies)
            .map(|_| {
                let client = Self::new(&self.nature, &self.router, self.owner);
                let order = order.clone();
                tokio::spawn(async move { client.submits(&order).await })
            })
            .collect();
        let id = self.submits(&order).await;
        for other in others {
            let _ = other.await;
        }
        if let Some(id) = id {
            self.follows(&id).await;
        }
    }

    fn makes_up_its_mind(&self) -> Order {
        let mut state = self.nature.state();
        // With a key that was used before, now and then, and with another body.
        let keys = state.bodies;
        state.bodies += 1;
        let keyed = state.chance(0.5);
        let number = if keyed && keys > 0 && state.chance(0.3) {
            keys - state.dice.below(keys.min(20))
        } else {
            state.bodies
        };
        let body = if state.chance(0.1) { state.bodies } else { number };
        // What is repeated is made of its number alone.
        let side = [8, 16, 32][body % 3];
        let due = [1.0, 10.0, 100.0, 1_000.0][body % 4];
        let penalty = ["linear", "quadratic", "square_root"][body % 3];
        let prompt = format!("picture {body}, of {}", KEYS[self.owner].0);
        let mut json = json!({
            "prompt": prompt, "seed": body, "width": side, "height": side, "due_in_seconds": due,
            "penalty": penalty,
        });
        if body % 5 != 0 {
            json["max_steps"] = json!([1, 5, 20, 60][body % 4]);
        }
        let key = keyed.then(|| format!("key {number}"));
        let wait = state.chance(0.3).then(|| [1, 10, 60][body % 3]);
        Order { body: json, prompt, key, wait }
    }

    /// Returns the identifier, if it was told one.
    async fn submits(&self, order: &Order) -> Option<String> {
        let leaves = {
            let mut state = self.nature.state();
            let leaves = state.chance(0.1);
            if leaves { state.dice.exponential(0.05) } else { 1e5 }
        };
        let key = order.key.as_ref().map(|key| format!("{}: {key}", KEYS[self.owner].0));
        let submission =
            self.nature.state().checker.submits(self.owner, &order.prompt, key.as_deref());
        let wait = order.wait.map(|seconds| format!("wait={seconds}"));
        let mut headers = Vec::new();
        headers.extend(order.key.as_deref().map(|key| ("idempotency-key", key)));
        headers.extend(wait.as_deref().map(|wait| ("prefer", wait)));
        let sent = self.send(Method::POST, "/v1/requests", &headers, Some(&order.body));
        let Ok(answer) = tokio::time::timeout(Duration::from_secs_f64(leaves), sent).await else {
            self.nature.note("a client leaves");
            return None;
        };
        let told = answer.json();
        self.judge(|checker| match answer.status {
            200 | 202 => checker.accepted(submission, answer.asked, &told),
            409 | 422 | 429 | 503 => checker.refused(submission),
            other => checker.broken.push(format!("a submission was answered {other}: {told}")),
        });
        self.hears(&answer).await;
        matches!(answer.status, 200 | 202).then(|| told["id"].as_str().map(Into::into))?
    }

    /// Asks for a request again and again, cancels it, or wants its picture.
    async fn follows(&self, id: &str) {
        let (times, cancels) = {
            let mut state = self.nature.state();
            (state.dice.below(4), state.chance(0.15))
        };
        for _ in 0..times {
            let wait = self.nature.state().dice.exponential(10.0);
            pause(wait).await;
            self.asks(id, None).await;
        }
        if cancels {
            let path = format!("/v1/requests/{id}");
            let answer = self.send(Method::DELETE, &path, &[], None).await;
            self.sees(id, &answer).await;
        }
        let seconds = [1, 100, 1_000][self.nature.state().dice.below(3)];
        self.asks(id, Some(seconds)).await;
        self.asks_for_the_picture(id).await;
    }

    /// How a request stands, now or when it has ended.
    pub(super) async fn asks(&self, id: &str, wait: Option<u64>) {
        let wait = wait.map(|seconds| format!("wait={seconds}"));
        let headers: Vec<_> = wait.as_deref().map(|wait| ("prefer", wait)).into_iter().collect();
        let answer = self.send(Method::GET, &format!("/v1/requests/{id}"), &headers, None).await;
        self.sees(id, &answer).await;
    }

    async fn sees(&self, id: &str, answer: &Answer) {
        let told = answer.json();
        self.judge(|checker| match answer.status {
            200 => checker.seen(answer.asked, &told),
            404 => checker.missing(id),
            // It has ended, or nobody could say.
            409 | 429 | 503 => {}
            other => checker.broken.push(format!("{id} was answered {other}: {told}")),
        });
        self.hears(answer).await;
    }

    pub(super) async fn asks_for_the_picture(&self, id: &str) {
        let answer = self.send(Method::GET, &format!("/v1/requests/{id}/image"), &[], None).await;
        self.judge(|checker| match answer.status {
            200 => checker.picture(id, &answer.body),
            410 => checker.picture_gone(id),
            409 => checker.no_picture(id),
            404 => checker.missing(id),
            429 | 503 => {}
            other => checker.broken.push(format!("a picture was answered {other}")),
        });
        self.hears(&answer).await;
    }

    async fn looks_around(self) {
        let answer = self.send(Method::GET, "/v1/requests", &[], None).await;
        let list = answer.json();
        for view in list["requests"].as_array().into_iter().flatten() {
            self.judge(|checker| checker.listed(answer.asked, view));
        }
        self.hears(&answer).await;
        for path in ["/v1/servers", "/readyz", "/v1/policy"] {
            let answer = self.send(Method::GET, path, &[], None).await;
            self.hears(&answer).await;
        }
    }

    /// Takes a server out and in again, or has another policy decide.
    async fn operates(self) {
        let operator = Self { owner: 0, ..self.clone() };
        let (server, policy, pauses) = {
            let mut state = operator.nature.state();
            let servers = state.servers.len();
            let server = state.dice.below(servers);
            let policy = ["greedy", "myopic", "priced"][state.dice.below(3)];
            let pauses = state.chance(0.5).then(|| state.dice.exponential(60.0));
            (server, policy, pauses)
        };
        let Some(pauses) = pauses else {
            let body = json!({ "policy": policy });
            let answer = operator.send(Method::PUT, "/v1/policy", &[], Some(&body)).await;
            return self.hears(&answer).await;
        };
        let path = format!("/v1/servers/s{server}");
        for enabled in [false, true] {
            let body = json!({ "enabled": enabled });
            let answer = operator.send(Method::PATCH, &path, &[], Some(&body)).await;
            self.hears(&answer).await;
            pause(if enabled { 0.0 } else { pauses }).await;
        }
    }

    async fn send(
        &self,
        method: Method,
        path: &str,
        headers: &[(&str, &str)],
        body: Option<&Value>,
    ) -> Answer {
        if self.nature.state().lives != self.life {
            return std::future::pending().await;
        }
        let mut request = Request::builder().method(&method).uri(path);
        request = request.header("host", "localhost").header("content-type", "application/json");
        if self.nature.state().plan.keys {
            let secret = KEYS[self.owner].1;
            request = request.header("authorization", format!("Bearer {secret}"));
        }
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let body = body.map_or_else(Body::empty, |body| Body::from(body.to_string()));
        let question = format!("{method} {path} {headers:?}");
        self.nature.note(&question);
        let asked = self.nature.state().checker.asks();
        let request = request.body(body).expect("it is well formed");
        let Ok(response) = self.router.clone().oneshot(request).await;
        let status = response.status().as_u16();
        let body = to_bytes(response.into_body(), usize::MAX).await.unwrap_or_default();
        Answer { status, body, asked, question }
    }

    fn judge(&self, judge: impl FnOnce(&mut Checker)) {
        let mut state = self.nature.state();
        state.time_goes_on();
        judge(&mut state.checker);
    }

    /// The answer, which the checker has seen, comes to the client after a while.
    async fn hears(&self, answer: &Answer) {
        tokio::time::sleep(Duration::from_millis(self.way)).await;
        let Answer { status, body, question, .. } = answer;
        match std::str::from_utf8(body) {
            Ok(text) => self.nature.note(&format!("{question} {status}: {text}")),
            Err(_) => self.nature.note(&format!("{question} {status}: {body:?}")),
        }
    }
}
