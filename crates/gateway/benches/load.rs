//! Load on loopback, as ratios within one run: `cargo bench -p gateway --bench load`.
//!
//! Everything runs in this one process on whatever cores there are: clients, gateway, and a
//! stand-in for the diffusion server that answers at once. `ATELIER_LOAD_REQUESTS` sets the number
//! of requests of the memory test, 100,000 unless told.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use axum::Router;
use axum::routing::{get, post};
use base64::Engine as _;
use dispatch::{Order, RequestId};
use gateway::backends::picture;
use gateway::journal::{Accepted, Journal, Record, Spec, Sqlite};
use gateway::{Config, World, rules, run};
use scheduling::{TardinessPenalty, Time};

const SERVERS: usize = 16;

#[tokio::main]
async fn main() {
    // `cargo test --benches` only wants to know that this builds.
    if std::env::args().any(|argument| argument == "--test") {
        return;
    }
    let direct = stand_in().await;
    let folder = tempfile::tempdir().expect("a folder for the journal");
    let through = serve(folder.path(), &direct).await;
    // Plain HTTP: nobody is trusted, and the provider is never used.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let http = reqwest::Client::builder().no_proxy().tls_certs_only([]).build().expect("a client");

    overhead(&http, &direct, &through).await;
    submissions(&http, &through, folder.path()).await;
    memory(&http, &through).await;
}

/// Answers every picture at once, at the address of each server and at its own.
async fn stand_in() -> String {
    let png = picture::encode(&[7; 3 * 8 * 8], 8, 8);
    let png = base64::engine::general_purpose::STANDARD.encode(png);
    let answer = format!("{{\"created\":1,\"data\":[{{\"b64_json\":\"{png}\"}}]}}");
    let server = Router::new()
        .route("/health", get(|| async { "{}" }))
        .route("/v1/images/generations", post(move || async move { answer }));
    let router = server.clone().nest("/{server}", server);
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let url = format!("http://{}", listener.local_addr().expect("bound"));
    tokio::spawn(async move { axum::serve(listener, router).await });
    url
}

async fn serve(folder: &std::path::Path, backend: &str) -> String {
    let servers = (0..SERVERS).map(|index| {
        format!(
            "[[server]]\nname = \"s{index}\"\nsteps_per_second = 10000.0\nlearn_speed = false\n\
             backend = {{ kind = \"openai\", url = \"{backend}/s{index}\" }}\n"
        )
    });
    let text = format!(
        "policy = \"greedy\"\njournal = \"{}\"\n[defaults]\nwidth = 8\nheight = 8\n\
         [limits]\nwaiting = 100000\n{}",
        folder.join("journal.db").display(),
        servers.collect::<String>()
    );
    let config = Config::parse("load.toml", &text).expect("the configuration is sound");
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let url = format!("http://{}", listener.local_addr().expect("bound"));
    tokio::spawn(run(config, World::real(Arc::new(rules)), listener, std::future::pending()));
    tokio::time::sleep(Duration::from_secs(1)).await;
    url
}

async fn generate(http: &reqwest::Client, base: &str) -> bool {
    let request = http.post(format!("{base}/v1/images/generations"));
    let request = request.header("content-type", "application/json");
    let sent = request.body("{\"prompt\":\"x\",\"response_format\":\"b64_json\"}").send().await;
    match sent {
        Ok(response) => response.status().is_success() && response.bytes().await.is_ok(),
        Err(_) => false,
    }
}

/// Latency at a fixed rate of arrivals, through the gateway against going there directly.
async fn overhead(http: &reqwest::Client, direct: &str, through: &str) {
    println!("rate_per_second,path,answered,p50_ms,p99_ms");
    for rate in [100u32, 1000] {
        let mut both = Vec::new();
        for (path, base) in [("direct", direct), ("gateway", through)] {
            let total = rate * 5;
            let start = tokio::time::Instant::now();
            let mut calls = Vec::new();
            for index in 0..total {
                tokio::time::sleep_until(start + Duration::from_secs(1) / rate * index).await;
                let (http, base) = (http.clone(), base.to_string());
                calls.push(tokio::spawn(async move {
                    let start = Instant::now();
                    generate(&http, &base).await.then(|| start.elapsed().as_secs_f64() * 1e3)
                }));
            }
            let mut times = Vec::new();
            for call in calls {
                times.extend(call.await.ok().flatten());
            }
            times.sort_by(f64::total_cmp);
            let at = |share: f64| times[((times.len() - 1) as f64 * share) as usize];
            let share = times.len() as f64 / f64::from(total);
            println!("{rate},{path},{share:.3},{:.3},{:.3}", at(0.5), at(0.99));
            both.push((at(0.5), at(0.99)));
        }
        let (d, g) = (both[0], both[1]);
        println!(
            "{rate} per second: the gateway adds {:.2} ms at the median and {:.2} ms at p99 \
             ({:.1} and {:.1} times the direct call)",
            g.0 - d.0,
            g.1 - d.1,
            g.0 / d.0,
            g.1 / d.1
        );
    }
}

/// Durable submissions with many clients, against one commit per record.
async fn submissions(http: &reqwest::Client, through: &str, folder: &std::path::Path) {
    let mut journal = Sqlite::open(&folder.join("single.db"), 0.0).expect("a journal");
    let single = 300;
    let start = Instant::now();
    for _ in 0..single {
        journal.append(&[record()]).expect("the disk takes it");
    }
    let single = f64::from(single) / start.elapsed().as_secs_f64();
    let total = 5000;
    let start = Instant::now();
    let acknowledged = closed_loop(http, through, total, 64, "").await;
    let grouped = acknowledged as f64 / start.elapsed().as_secs_f64();
    println!(
        "{grouped:.0} durable submissions per second over HTTP, {acknowledged} of {total} \
         acknowledged: {:.2} times one commit per record ({single:.0} per second)",
        grouped / single
    );
}

fn record() -> Record {
    let time = |t| Time::new(t).expect("in range");
    let penalty = TardinessPenalty::Linear;
    let order = Order {
        id: RequestId(uuid::Uuid::now_v7()),
        owner: "x".into(),
        request: scheduling::Request::new(time(0.0), time(9.0), penalty),
        pixels: 64,
        expires: time(99.0),
    };
    let (prompt, negative_prompt) = ("x".into(), String::new());
    let spec = Spec { prompt, negative_prompt, width: 8, height: 8, seed: 0, model: None };
    Record::Accepted(Arc::new(Accepted { order, spec, key: None, callback: None }))
}

/// So many requests by so many clients, each waiting for its answer. Returns how many were taken.
async fn closed_loop(
    http: &reqwest::Client,
    base: &str,
    total: u64,
    clients: u32,
    prefer: &'static str,
) -> u64 {
    let (next, taken) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicU64::new(0)));
    let clients: Vec<_> = (0..clients)
        .map(|_| {
            let (http, url) = (http.clone(), format!("{base}/v1/requests"));
            let (next, taken) = (next.clone(), taken.clone());
            tokio::spawn(async move {
                while next.fetch_add(1, Ordering::Relaxed) < total {
                    let request = http.post(&url).header("content-type", "application/json");
                    let request = request.header("prefer", prefer).body("{\"prompt\":\"x\"}");
                    let Ok(response) = request.send().await else { continue };
                    if response.status().is_success() && response.bytes().await.is_ok() {
                        taken.fetch_add(1, Ordering::Relaxed);
                    }
                }
            })
        })
        .collect();
    for client in clients {
        let _ = client.await;
    }
    taken.load(Ordering::Relaxed)
}

/// Resident memory after the first tenth of the requests and after all of them.
async fn memory(http: &reqwest::Client, through: &str) {
    let total: u64 = std::env::var("ATELIER_LOAD_REQUESTS")
        .ok()
        .and_then(|text| text.parse().ok())
        .unwrap_or(100_000);
    let mut before = None;
    for part in 1..=10 {
        let done = closed_loop(http, through, total / 10, 32, "wait=30").await;
        let resident = resident_mebibytes();
        println!("after {} requests: {resident:.1} MiB ({done} ended)", total / 10 * part);
        before = before.or(Some(resident));
    }
    let ratio = resident_mebibytes() / before.expect("there were parts");
    println!("memory after {total} requests is {ratio:.2} times that after {}", total / 10);
}

fn resident_mebibytes() -> f64 {
    let statm = std::fs::read_to_string("/proc/self/statm").unwrap_or_default();
    let pages = statm.split(' ').nth(1).and_then(|pages| pages.parse::<f64>().ok());
    pages.unwrap_or(f64::NAN) * 4096.0 / 1024.0 / 1024.0
}
