//! What an open page costs: `cargo bench -p gateway --bench workshop`.
//!
//! The gateway runs in a process of its own, and the processor time is that process's alone, user and system, as
//! `/proc/PID/stat` has it. Requests, the stand-in for the diffusion servers, and whoever reads the stream are all in this
//! one, and are not counted. `ATELIER_SECONDS` sets how long each measurement takes, 20 unless told.

use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use axum::Router;
use axum::routing::{get, post};
use base64::Engine as _;
use gateway::backends::picture;
use gateway::{Config, World, rules, run};

const SERVERS: usize = 16;
const RATE: u32 = 100;
const ROUNDS: usize = 5;
/// So many that what one costs is seen above what else the machine does.
const MANY: u32 = 32;
/// Names the configuration that this process is to serve.
const SERVE: &str = "ATELIER_SERVE";
/// The kernel counts processor time in hundredths of a second.
const TICKS_PER_SECOND: f64 = 100.0;

#[tokio::main]
async fn main() {
    // `cargo test --benches` only wants to know that this builds.
    if std::env::args().any(|argument| argument == "--test") {
        return;
    }
    if let Some(file) = std::env::var_os(SERVE) {
        return serve(Path::new(&file)).await;
    }
    let folder = tempfile::tempdir().expect("a folder for the journal");
    let file = configure(folder.path(), &stand_in().await);
    let gateway = Served::start(&file);
    // Plain HTTP: nobody is trusted, and the provider is never used.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let http = reqwest::Client::builder().no_proxy().tls_certs_only([]).build().expect("a client");
    let told = std::env::var("ATELIER_SECONDS").ok().and_then(|text| text.parse().ok());
    let seconds: u32 = told.unwrap_or(20);

    // What is new to the processor and to the journal.
    gateway.measure(&http, 3, 0).await;
    println!("round,streams,answered,percent_of_a_core,kilobytes_per_second_and_stream");
    let mut differences = Vec::new();
    for round in 1..=ROUNDS {
        let mut percents = Vec::new();
        for streams in [0, 1, MANY] {
            let Measured { answered, percent, kilobytes } =
                gateway.measure(&http, seconds, streams).await;
            println!("{round},{streams},{answered},{percent:.2},{kilobytes:.1}");
            percents.push(percent);
        }
        differences
            .push((percents[1] - percents[0], (percents[2] - percents[0]) / f64::from(MANY)));
    }
    let median = |of: fn(&(f64, f64)) -> f64| {
        let mut values: Vec<_> = differences.iter().map(of).collect();
        values.sort_by(f64::total_cmp);
        values[values.len() / 2]
    };
    println!(
        "at {RATE} requests per second one open stream costs {:.2} % of a core, each of {MANY} {:.2} % (medians of \
         {ROUNDS})",
        median(|(one, _)| *one),
        median(|(_, each)| *each)
    );
}

/// The gateway, in its own process.
struct Served {
    process: Child,
    url: String,
}

struct Measured {
    answered: u64,
    percent: f64,
    kilobytes: f64,
}

impl Served {
    fn start(file: &Path) -> Self {
        let program = std::env::current_exe().expect("this program");
        let mut command = Command::new(program);
        command.env(SERVE, file).stdout(Stdio::piped());
        let mut process = command.spawn().expect("it starts");
        let output = process.stdout.take().expect("it is piped");
        let mut url = String::new();
        BufReader::new(output).read_line(&mut url).expect("it says where it serves");
        Self { process, url: url.trim().into() }
    }

    /// Processor time so far, in seconds.
    fn processor_time(&self) -> f64 {
        let path = format!("/proc/{}/stat", self.process.id());
        let stat = std::fs::read_to_string(path).expect("Linux tells");
        let behind_name = stat.rsplit_once(") ").expect("the name is in brackets").1;
        let ticks = behind_name.split(' ').skip(11).take(2).map(str::parse::<f64>);
        ticks.map(|ticks| ticks.expect("a number")).sum::<f64>() / TICKS_PER_SECOND
    }

    /// Requests for so many seconds, while so many streams are read.
    async fn measure(&self, http: &reqwest::Client, seconds: u32, streams: u32) -> Measured {
        let bytes = Arc::new(AtomicU64::new(0));
        let readers: Vec<_> = (0..streams)
            .map(|_| tokio::spawn(read(http.clone(), self.url.clone(), bytes.clone())))
            .collect();
        tokio::time::sleep(Duration::from_secs(1)).await;
        let (before, bytes_before) = (self.processor_time(), bytes.load(Ordering::Relaxed));
        let answered = Arc::new(AtomicU64::new(0));
        let start = tokio::time::Instant::now();
        for index in 0..RATE * seconds {
            tokio::time::sleep_until(start + Duration::from_secs(1) / RATE * index).await;
            let request = http.post(format!("{}/v1/requests", self.url));
            let request =
                request.header("content-type", "application/json").body("{\"prompt\":\"x\"}");
            let answered = answered.clone();
            tokio::spawn(async move {
                if request.send().await.is_ok_and(|response| response.status().is_success()) {
                    answered.fetch_add(1, Ordering::Relaxed);
                }
            });
        }
        let took = start.elapsed().as_secs_f64();
        let percent = 100.0 * (self.processor_time() - before) / took;
        let read = (bytes.load(Ordering::Relaxed) - bytes_before) as f64;
        let kilobytes = if streams == 0 { 0.0 } else { read / 1e3 / took / f64::from(streams) };
        readers.iter().for_each(tokio::task::JoinHandle::abort);
        // What is under way ends.
        tokio::time::sleep(Duration::from_secs(1)).await;
        Measured { answered: answered.load(Ordering::Relaxed), percent, kilobytes }
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// Reads the stream as fast as it comes.
async fn read(http: reqwest::Client, url: String, bytes: Arc<AtomicU64>) {
    let mut response = http.get(format!("{url}/v1/workshop")).send().await.expect("it is served");
    assert!(response.status().is_success(), "{}", response.status());
    while let Ok(Some(chunk)) = response.chunk().await {
        bytes.fetch_add(chunk.len() as u64, Ordering::Relaxed);
    }
}

/// Answers every picture after a moment, at the address of each server.
async fn stand_in() -> String {
    let png = picture::encode(&[7; 3 * 8 * 8], 8, 8);
    let png = base64::engine::general_purpose::STANDARD.encode(png);
    let answer = format!("{{\"created\":1,\"data\":[{{\"b64_json\":\"{png}\"}}]}}");
    let generate = move || async move {
        tokio::time::sleep(Duration::from_millis(80)).await;
        answer
    };
    let server = Router::new()
        .route("/health", get(|| async { "{}" }))
        .route("/v1/images/generations", post(generate));
    let router = Router::new().nest("/{server}", server);
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let url = format!("http://{}", listener.local_addr().expect("bound"));
    tokio::spawn(async move { axum::serve(listener, router).await });
    url
}

fn configure(folder: &Path, backend: &str) -> std::path::PathBuf {
    let servers = (0..SERVERS).map(|index| {
        format!(
            "[[server]]\nname = \"s{index}\"\nsteps_per_second = 250.0\noverhead_seconds = 0.04\n\
             backend = {{ kind = \"openai\", url = \"{backend}/s{index}\" }}\n"
        )
    });
    let text = format!(
        "policy = \"fixed[steps=10]\"\nshadow_policy = \"greedy\"\njournal = \"{}\"\n[defaults]\nwidth = 8\n\
         height = 8\n{}",
        folder.join("journal.db").display(),
        servers.collect::<String>()
    );
    let file = folder.join("atelier.toml");
    std::fs::write(&file, text).expect("the folder takes it");
    file
}

/// Serves until it is killed.
async fn serve(file: &Path) {
    let config = Config::read(file).expect("the configuration is sound");
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
    println!("http://{}", listener.local_addr().expect("bound"));
    let served = run(config, World::real(Arc::new(rules)), listener, std::future::pending()).await;
    served.expect("it serves");
}
