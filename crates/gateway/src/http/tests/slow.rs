//! Clients that stall: each is cut off, and its place is free for another.

use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use super::start;
use crate::http::serve::serve;

/// One place and little patience, so that a client is served only once the one before is gone.
const LIMITS: &str = "[limits]\nconnections = 1\nclient_seconds = 0.2\n";
/// Long enough for any machine; a test that fails ends all the same.
const AT_MOST: Duration = Duration::from_mins(1);

const PROBE: &[u8] = b"GET /healthz HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n";

/// Sends `opening` and stalls; gives what a second client reads while the first stays connected.
async fn served_after(opening: &[u8]) -> String {
    let t = start(LIMITS).await;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (router, handle) = (t.router.clone(), t.gateway.handle.clone());
    let server = tokio::spawn(async move {
        serve(listener, router, &handle.config.limits, std::future::pending()).await;
    });
    let mut stalled = TcpStream::connect(address).await.unwrap();
    stalled.write_all(opening).await.unwrap();
    let mut next = TcpStream::connect(address).await.unwrap();
    next.write_all(PROBE).await.unwrap();
    let mut answer = String::new();
    tokio::time::timeout(AT_MOST, next.read_to_string(&mut answer)).await.unwrap().unwrap();
    server.abort();
    answer
}

#[tokio::test]
async fn half_a_header_is_cut_off() {
    let answer = served_after(b"POST /v1/requests HTTP/1.1\r\nhost: loc").await;
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
}

#[tokio::test]
async fn half_a_body_is_cut_off() {
    let opening = b"POST /v1/requests HTTP/1.1\r\nhost: localhost\r\n\
        content-type: application/json\r\ncontent-length: 500\r\n\r\n{\"prompt\": \"a re";
    let answer = served_after(opening).await;
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
}

#[tokio::test]
async fn who_asks_for_nothing_is_cut_off() {
    let answer = served_after(b"").await;
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
}
