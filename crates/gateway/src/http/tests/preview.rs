//! How a picture looks while it is painted.

use super::*;

const JPEG: &[u8] = b"\xff\xd8\xff\xe0 half a fox";

impl Test {
    /// A request whose run does this, as soon as that is told.
    async fn running(&self, act: Act) -> String {
        for script in &self.scripts {
            *script.0.lock().unwrap() = VecDeque::from([act.clone()]);
        }
        let asked = self.post("/v1/requests", &red()).await;
        let path = format!("/v1/requests/{}", asked.json()["id"].as_str().unwrap());
        let told = |request: &Value| match act {
            Act::Hang => request["state"] == "running",
            _ => request["progress"] == 0.5,
        };
        while !told(&self.get(&path).await.json()) {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        path
    }

    /// Status of the answer about a preview.
    async fn preview(&self, path: &str) -> u16 {
        self.get(&format!("{path}/preview")).await.status
    }
}

#[tokio::test]
async fn the_owner_sees_the_latest_preview_until_the_run_ends() {
    let mut t = start(KEYS).await;
    t.key = Some("alice");
    let path = t.running(Act::Show(JPEG)).await;
    let answer = t.get(&format!("{path}/preview")).await;
    assert_eq!((answer.status, &*answer.body), (200, JPEG));
    for (name, value) in [
        ("content-type", "image/jpeg"),
        ("cache-control", "no-store"),
        ("x-content-type-options", "nosniff"),
    ] {
        assert_eq!(answer.headers[name], value);
    }
    t.key = Some("bob");
    assert_eq!(t.preview(&path).await, 404);
    t.key = Some("alice");
    let end = t.send(Method::DELETE, &path, &[], &Value::Null).await;
    assert_eq!(end.status, 200);
    assert_eq!(t.preview(&path).await, 204);
}

#[tokio::test]
async fn without_a_preview_the_answer_says_so() {
    let t = start("").await;
    for act in [Act::Hang, Act::Show(b"<svg onload=alert(1)>")] {
        let path = t.running(act).await;
        assert_eq!(t.preview(&path).await, 204);
        t.send(Method::DELETE, &path, &[], &Value::Null).await;
    }
    let finished = t.finish(&red()).await;
    let path = format!("/v1/requests/{}", finished["id"].as_str().unwrap());
    assert_eq!(t.preview(&path).await, 204);
    for unknown in ["/v1/requests/none", "/v1/requests/01980000-0000-7000-8000-000000000000"] {
        assert_eq!(t.preview(unknown).await, 404);
    }
}
