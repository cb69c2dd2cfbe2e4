//! Answers that are lies from the first byte on, sent as they stand.

use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;

use super::*;

/// A server that answers every request with `head` and then with `block` over and over, `times` at
/// most. Counts the bytes that it got rid of.
async fn liar(head: String, block: Vec<u8>, times: usize) -> (String, Arc<AtomicUsize>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let sent = Arc::new(AtomicUsize::new(0));
    let count = sent.clone();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let (head, block, count) = (head.clone(), block.clone(), count.clone());
            tokio::spawn(async move {
                let _ = stream.read(&mut vec![0; 64 * 1024]).await;
                let _ = stream.write_all(head.as_bytes()).await;
                for _ in 0..times {
                    if stream.write_all(&block).await.is_err() {
                        return;
                    }
                    count.fetch_add(block.len(), Ordering::SeqCst);
                }
            });
        }
    });
    (url, sent)
}

fn head(more: &str) -> String {
    format!("HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n{more}\r\n\r\n")
}

/// What comes of a body with its right length.
async fn answered(body: &str) -> Result<Painted, BackendError> {
    let (url, _) =
        liar(head(&format!("content-length: {}", body.len())), body.as_bytes().to_vec(), 1).await;
    backend("openai", &url).generate(&job(1), &Notes::default()).await
}

#[tokio::test]
async fn whatever_is_sent_is_read_up_to_a_picture_of_that_size() {
    let block = vec![b' '; 64 * 1024];
    let chunk = [b"10000\r\n".to_vec(), block.clone(), b"\r\n".to_vec()].concat();
    // Some megabytes stay in the buffers on the way; without a bound it would be gigabytes.
    for (name, head, block) in [
        ("chunks without end", head("transfer-encoding: chunked"), chunk),
        ("a body without end", head("connection: close"), block.clone()),
        ("a length that is not there", head("content-length: 1000000000000"), block),
        ("headers without end", "HTTP/1.1 200 OK\r\n".into(), b"x: yyyyyyyyyyyyyyy\r\n".to_vec()),
    ] {
        for kind in KINDS {
            let (url, sent) = liar(head.clone(), block.clone(), 1_000_000).await;
            let result = backend(kind, &url).generate(&job(1), &Notes::default()).await;
            let refused =
                matches!(result, Err(BackendError::TooLong { .. } | BackendError::CutOff(_)));
            assert!(refused, "{kind}, {name}: {result:?}");
            let sent = sent.load(Ordering::SeqCst);
            assert!(sent < 64 << 20, "{kind}, {name}: {sent} bytes");
        }
    }
}

#[tokio::test]
async fn answers_that_lead_elsewhere_are_not_followed() {
    let trap = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = trap.local_addr().unwrap();
    let redirect =
        format!("HTTP/1.1 307 X\r\nlocation: http://{address}/\r\ncontent-length: 0\r\n\r\n");
    let (url, _) = liar(redirect, Vec::new(), 0).await;
    for kind in KINDS {
        let backend = backend(kind, &url);
        let error = backend.generate(&job(1), &Notes::default()).await.unwrap_err();
        assert!(matches!(error, BackendError::Status { status: 307, .. }), "{kind}: {error:?}");
        assert!(backend.probe().await.is_err());
    }
    for place in [format!("http://{address}/x.png"), "file:///etc/passwd".into()] {
        for body in [
            json!({ "data": [{ "url": place }] }),
            json!({ "data": [{ "url": place, "b64_json": null }] }),
            json!({ "data": [{ "b64_json": place }] }),
        ] {
            let result = answered(&body.to_string()).await;
            assert!(matches!(result, Err(BackendError::Garbage(_))), "{body}: {result:?}");
        }
    }
    let nobody = tokio::time::timeout(Duration::from_millis(1), trap.accept()).await;
    assert!(nobody.is_err(), "somebody fell into the trap");
}

#[tokio::test]
async fn forms_that_eat_memory_or_the_stack_are_errors() {
    let many = |item: &str| format!("{{\"data\":[{}]}}", vec![item; 100_000].join(","));
    for (name, body) in [
        ("deep lists", format!("{{\"data\":{}", "[".repeat(200_000))),
        ("deep objects", "{\"data\":".repeat(200_000)),
        ("a million brackets", format!("{{\"x\":{}}}", "[".repeat(1_000_000))),
        ("many pictures, none whole", many("{\"b64_json\":\"***\"}")),
        ("many empty ones", many("{}")),
        ("compressed", "\u{1f}\u{fffd}\u{8}".into()),
    ] {
        let result = answered(&body).await;
        assert!(matches!(result, Err(BackendError::Garbage(_))), "{name}: {result:?}");
        let shown = result.unwrap_err().to_string();
        assert!(shown.chars().count() < 400, "{name}: {shown}");
    }
}

#[tokio::test]
async fn what_servers_say_becomes_one_tame_line() {
    let said = "\u{1b}[31mRED\r\n2026-01-01 INFO forged\u{7} ".to_string() + &"x".repeat(100_000);
    for status in [400, 500] {
        let head = format!("HTTP/1.1 {status} X\r\ncontent-length: {}\r\n\r\n", said.len());
        let (url, _) = liar(head, said.as_bytes().to_vec(), 1).await;
        for kind in KINDS {
            let error = backend(kind, &url).generate(&job(1), &Notes::default()).await.unwrap_err();
            let shown = error.to_string();
            assert!(shown.contains("\\u{1b}[31mRED 2026-01-01 INFO forged\\u{7} xxx"), "{shown}");
            assert!(shown.chars().count() < 350 && !shown.contains(char::is_control), "{shown}");
            assert_eq!(format!("{error:?}").lines().count(), 1);
        }
    }
}
