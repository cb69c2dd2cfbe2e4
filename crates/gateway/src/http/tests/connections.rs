//! Connections that somebody holds, and others that must get in all the same.

use std::net::SocketAddr;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use super::*;

/// A gateway behind a listener.
async fn listen(t: &Test) -> SocketAddr {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let site = t.gateway.site.clone();
    tokio::spawn(async move { serve(listener, site, std::future::pending()).await });
    address
}

async fn ask(address: SocketAddr, path: &str, key: Option<&str>) -> TcpStream {
    let mut stream = TcpStream::connect(address).await.unwrap();
    let key = key.map_or_else(String::new, |key| format!("authorization: Bearer {key}\r\n"));
    let head = format!("GET {path} HTTP/1.1\r\nhost: localhost\r\n{key}\r\n");
    stream.write_all(head.as_bytes()).await.unwrap();
    stream
}

/// The status of an answer; none if the connection is closed.
async fn status(stream: &mut TcpStream) -> Option<u16> {
    let mut head = [0; 12];
    let read = tokio::time::timeout(Duration::from_secs(30), stream.read_exact(&mut head)).await;
    read.expect("no answer").ok()?;
    Some(std::str::from_utf8(&head[9..]).unwrap().parse().unwrap())
}

async fn status_of(address: SocketAddr, path: &str, key: Option<&str>) -> Option<u16> {
    status(&mut ask(address, path, key).await).await
}

#[tokio::test]
async fn one_key_cannot_hold_all_connections() {
    let limits = "[limits]\nconnections = 16\nstreams_per_key = 100\n";
    let mut t = start(&format!("{limits}{KEYS}")).await;
    t.key = Some("bob");
    t.scripts[0].0.lock().unwrap().push_back(Act::Hang);
    let accepted = t.post("/v1/requests", &red()).await.json();
    let events = format!("/v1/requests/{}/events", accepted["id"].as_str().unwrap());
    let address = listen(&t).await;
    let mut held = Vec::new();
    for _ in 0..40 {
        let mut stream = ask(address, &events, Some("bob")).await;
        let status = status(&mut stream).await;
        held.push((stream, status));
    }
    let of = |wanted| held.iter().filter(|(_, status)| *status == Some(wanted)).count();
    assert_eq!((of(200), of(429)), (4, 36));
    for path in ["/healthz", "/readyz", "/metrics"] {
        assert_eq!(status_of(address, path, None).await, Some(200), "{path}");
    }
    assert_eq!(status_of(address, "/v1/servers", Some("alice")).await, Some(200));
}

#[tokio::test]
async fn idle_connections_make_way() {
    let t = start("[limits]\nconnections = 16\n").await;
    let address = listen(&t).await;
    let mut silent = Vec::new();
    for _ in 0..50 {
        silent.push(TcpStream::connect(address).await.unwrap());
    }
    // Some have sent half a head, which is no request.
    for stream in &mut silent[30..] {
        let _ = stream.write_all(b"GET / HTTP/1.1\r\nhost: localhost\r\n").await;
    }
    for _ in 0..50 {
        assert_eq!(status_of(address, "/v1/servers", None).await, Some(200));
    }
}

#[tokio::test]
async fn when_every_place_is_in_use_there_is_one_for_health_checks_and_operators() {
    let limits = "[limits]\nconnections = 2\nconnections_per_key = 2\nstreams_per_key = 100\n";
    let mut t = start(&format!("{limits}{KEYS}")).await;
    t.key = Some("bob");
    t.scripts[0].0.lock().unwrap().push_back(Act::Hang);
    let accepted = t.post("/v1/requests", &red()).await.json();
    let events = format!("/v1/requests/{}/events", accepted["id"].as_str().unwrap());
    let address = listen(&t).await;
    let mut held = vec![ask(address, &events, Some("bob")).await];
    assert_eq!(status(&mut held[0]).await, Some(200));
    held.push(ask(address, &events, Some("bob")).await);
    assert_eq!(status(&mut held[1]).await, Some(200));
    // No place is left but the reserve, which closes after its answer.
    let mut refused = ask(address, "/v1/requests", Some("bob")).await;
    let mut text = String::new();
    refused.read_to_string(&mut text).await.unwrap();
    assert!(text.starts_with("HTTP/1.1 503"), "{text}");
    assert!(text.contains("connection: close") && text.contains("retry-after"), "{text}");
    assert_eq!(status_of(address, "/healthz", None).await, Some(200));
    assert_eq!(status_of(address, "/v1/servers", Some("alice")).await, Some(200));
    assert_eq!(status_of(address, "/v1/models", Some("wrong")).await, Some(503));
    held.pop();
    // Bob's place is free again, as soon as that has been noticed.
    while status_of(address, "/v1/requests", Some("bob")).await != Some(200) {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

#[tokio::test]
async fn a_connection_serves_one_request_after_the_other() {
    let t = start("[limits]\nconnections = 1\n").await;
    let address = listen(&t).await;
    let mut stream = TcpStream::connect(address).await.unwrap();
    for _ in 0..3 {
        let head = "GET /healthz HTTP/1.1\r\nhost: localhost\r\n\r\n";
        stream.write_all(head.as_bytes()).await.unwrap();
        let mut answer = Vec::new();
        while !answer.ends_with(b"ok\n") {
            stream.read_buf(&mut answer).await.unwrap();
        }
        assert!(answer.starts_with(b"HTTP/1.1 200"));
    }
}
