//! Ends that are told where requests asked for it.

use axum::extract;
use base64::engine::general_purpose::STANDARD as BASE64;
use hmac::{Hmac, KeyInit as _, Mac as _};

use super::*;

/// Somebody who takes calls, the first so many of them not.
#[derive(Clone, Default)]
struct Hook {
    refuses: Arc<Mutex<Vec<u16>>>,
    calls: Arc<Mutex<Vec<(HeaderMap, String)>>>,
}

impl Hook {
    async fn listen(&self) -> String {
        let take = |extract::State(hook): extract::State<Self>,
                    headers: HeaderMap,
                    body: String| async move {
            hook.calls.lock().unwrap().push((headers, body));
            let status = hook.refuses.lock().unwrap().pop().unwrap_or(204);
            StatusCode::from_u16(status).unwrap()
        };
        let router = Router::new().route("/ends", post(take)).with_state(self.clone());
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        tokio::spawn(async move { axum::serve(listener, router).await });
        url
    }

    async fn called(&self, times: usize) -> Vec<(HeaderMap, String)> {
        let all = async {
            while self.calls.lock().unwrap().len() < times {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        tokio::time::timeout(Duration::from_mins(1), all).await.expect("it is called");
        self.calls.lock().unwrap().clone()
    }
}

fn allowing(url: &str) -> String {
    format!("[callbacks]\nallow = [\"{url}\"]\nsecret = \"hush\"\n")
}

#[tokio::test]
async fn an_end_is_told_signed_and_again_until_it_is_taken() {
    let hook = Hook::default();
    hook.refuses.lock().unwrap().push(500);
    let url = hook.listen().await;
    let t = start(&allowing(&url)).await;
    let mut body = red();
    body["callback_url"] = json!(format!("{url}/ends"));
    let done = t.finish(&body).await;
    let calls = hook.called(2).await;
    for (headers, text) in &calls {
        let (id, at) = (&headers["webhook-id"], headers["webhook-timestamp"].to_str().unwrap());
        let mut mac = Hmac::<sha2::Sha256>::new_from_slice(b"hush").unwrap();
        mac.update(format!("{}.{at}.{text}", id.to_str().unwrap()).as_bytes());
        let signed = format!("v1,{}", BASE64.encode(mac.finalize().into_bytes()));
        assert_eq!(headers["webhook-signature"], signed);
        let told: Value = serde_json::from_str(text).unwrap();
        assert_eq!((&told["type"], &told["data"]["id"]), (&json!("request.ended"), &done["id"]));
        assert_eq!(told["data"]["state"], "completed");
        assert_eq!(*id, *done["id"].as_str().unwrap());
    }
    let counted = async {
        loop {
            let metrics = String::from_utf8(t.get("/metrics").await.body.to_vec()).unwrap();
            if metrics.contains("atelier_callbacks_total{outcome=\"delivered\"} 1") {
                assert!(
                    metrics.contains("atelier_callbacks_total{outcome=\"failed\"} 1"),
                    "{metrics}"
                );
                return;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(Duration::from_mins(1), counted).await.expect("it is counted");
    // What is not allowed is refused before anything is accepted.
    body["callback_url"] = json!("http://127.0.0.1:1/admin");
    let refused = t.post("/v1/requests", &body).await;
    assert_eq!((refused.status, &refused.json()["field"]), (422, &json!("callback_url")));
}

#[tokio::test]
async fn what_nobody_took_before_a_restart_is_told_after_it() {
    let hook = Hook::default();
    let url = hook.listen().await;
    hook.refuses.lock().unwrap().extend([503; 9]);
    let t = start(&allowing(&url)).await;
    let mut body = red();
    body["callback_url"] = json!(format!("{url}/ends"));
    t.finish(&body).await;
    hook.called(1).await;
    let Test { gateway, folder, .. } = t;
    gateway.stop(Duration::from_secs(5)).await;
    hook.refuses.lock().unwrap().clear();
    let before = hook.calls.lock().unwrap().len();
    let t = start_in(folder, &allowing(&url)).await;
    hook.called(before + 1).await;
    let reader = crate::journal::Reader::open(&t.folder.path().join("journal.db")).unwrap();
    let told = async {
        while !crate::journal::Archive::untold(&reader).unwrap().is_empty() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(Duration::from_mins(1), told).await.expect("it is written down");
}
