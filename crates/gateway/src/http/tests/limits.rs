//! Who may do what, and how much of it.

use super::*;

#[tokio::test]
async fn overload_is_refused_with_a_time_to_come_back() {
    let t = start("[limits]\nwaiting = 2\n").await;
    for script in &t.scripts {
        script.0.lock().unwrap().push_back(Act::Hang);
    }
    for _ in 0..4 {
        assert_eq!(t.post("/v1/requests", &red()).await.status, 202);
    }
    let refused = t.post("/v1/requests", &red()).await;
    assert_eq!((refused.status, &refused.json()["reason"]), (429, &json!("queue_full")));
    // 30 steps at 10 per second have just begun.
    let after: u64 = refused.headers["retry-after"].to_str().unwrap().parse().unwrap();
    assert!((3..=5).contains(&after), "{after}");
}

#[tokio::test]
async fn requests_belong_to_the_key_that_made_them() {
    let mut t = start(KEYS).await;
    assert_eq!(t.get("/v1/requests").await.status, 401);
    t.key = Some("alice");
    let done = t.finish(&red()).await;
    let path = format!("/v1/requests/{}", done["id"].as_str().unwrap());
    assert_eq!(t.get(&path).await.status, 200);
    t.key = Some("bob");
    for path in [path.clone(), format!("{path}/image"), format!("{path}/events")] {
        assert_eq!(t.get(&path).await.status, 404, "{path}");
    }
    assert_eq!(t.send(Method::DELETE, &path, &[], &Value::Null).await.status, 404);
    assert_eq!(t.get("/v1/requests").await.json()["requests"], json!([]));
    let drain = json!({ "enabled": false });
    assert_eq!(t.send(Method::PATCH, "/v1/servers/a", &[], &drain).await.status, 403);
    for expected in [202, 202, 429] {
        assert_eq!(t.post("/v1/requests", &red()).await.status, expected);
    }
}

#[tokio::test]
async fn clients_that_stall_are_cut_off() {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    let t = start("[limits]\nclient_seconds = 0.2\n").await;
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let site = t.gateway.site.clone();
    tokio::spawn(async move { serve(listener, site, std::future::pending()).await });
    let head = "POST /v1/requests HTTP/1.1\r\nhost: localhost\r\n";
    let half_body =
        format!("{head}content-type: application/json\r\ncontent-length: 50\r\n\r\n{{\"prompt\": ");
    let huge = half_body.replace(": 50\r\n", ": 99999999999\r\n");
    // Nothing is answered to half a header; half a body is told why.
    for (sent, reason) in [
        ("", None),
        (head, None),
        (&half_body, Some((408, "body_too_slow"))),
        (&huge, Some((413, "body_too_large"))),
    ] {
        let mut stream = tokio::net::TcpStream::connect(address).await.unwrap();
        stream.write_all(sent.as_bytes()).await.unwrap();
        let mut answer = String::new();
        let end = tokio::time::timeout(Duration::from_secs(30), stream.read_to_string(&mut answer));
        end.await.unwrap_or_else(|_| panic!("still connected after {sent:?}: {answer}")).unwrap();
        match reason {
            None => assert!(!answer.starts_with("HTTP/1.1 2"), "{answer}"),
            Some((status, reason)) => {
                let status = format!("HTTP/1.1 {status}");
                assert!(answer.starts_with(&status) && answer.contains(reason), "{answer}");
            }
        }
    }
    assert_eq!(t.get("/v1/requests").await.json()["requests"], json!([]));
}

/// A large answer that tells when nobody holds it any more.
struct Held(Vec<u8>, Option<tokio::sync::oneshot::Sender<()>>);

impl AsRef<[u8]> for Held {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        let _ = self.1.take().map(|told| told.send(()));
    }
}

/// More than the buffers of both ends of a loopback connection hold.
const LARGE: usize = 48 << 20;

#[tokio::test]
async fn clients_that_do_not_take_their_answer_are_cut_off_and_it_is_let_go() {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    let t = start("[limits]\nclient_seconds = 0.3\nconnections = 1\n").await;
    let answers = Arc::new(Mutex::new(Vec::new()));
    let queue = answers.clone();
    let large = move || async move {
        let held: Held = queue.lock().unwrap().pop().unwrap();
        Body::from(Bytes::from_owner(held))
    };
    let mut site = t.gateway.site.borrow().clone();
    site.router = Router::new().route("/", get(large));
    let (_site, site) = tokio::sync::watch::channel(site);
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move { serve(listener, site, std::future::pending()).await });
    // One takes nothing, one a byte now and then, and the last one everything. There is room for one
    // at a time, so each comes only after the one before has gone.
    for pace in ["nothing", "a byte", "everything"] {
        let (let_go, mut gone) = tokio::sync::oneshot::channel();
        answers.lock().unwrap().push(Held(vec![b'x'; LARGE], Some(let_go)));
        let mut stream = tokio::net::TcpStream::connect(address).await.unwrap();
        stream.write_all(b"GET / HTTP/1.1\r\nhost: localhost\r\n\r\n").await.unwrap();
        let end = async {
            match pace {
                "nothing" => (&mut gone).await.unwrap(),
                "a byte" => loop {
                    tokio::select! {
                        told = &mut gone => break told.unwrap(),
                        () = tokio::time::sleep(Duration::from_millis(10)) => {
                            let _ = stream.read(&mut [0]).await;
                        }
                    }
                },
                _ => {
                    let mut answer = vec![0; LARGE];
                    stream.read_exact(&mut answer).await.unwrap();
                }
            }
        };
        let ended = tokio::time::timeout(Duration::from_mins(1), end).await;
        assert!(ended.is_ok(), "a client that takes {pace} still holds its answer");
    }
}
