//! What a cell of three brokers, three nodes and many agents does on one machine: how long acknowledgements take, how
//! memory grows, and how long nobody acknowledges when whoever leads is killed with many requests open.
//!
//! ```text
//! ATELIER=target/release/atelier ATELIER_NATS_SERVER=nats-server cargo bench -p cluster --bench cluster
//! ```
//!
//! `ATELIER_RATES` (`100,1000`), `ATELIER_SECONDS` (20), `ATELIER_AGENTS` (50), `ATELIER_OPEN` (10000), `ATELIER_TOTAL`
//! (0: requests for the memory, at the last rate), `ATELIER_PICTURES` (4: a second, of each server).

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use cluster::setup::{self, Plan};

/// One process, killed when it is dropped.
struct Process(Child);

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn process(program: &Path, folder: &Path, arguments: &[&str]) -> Process {
    let log = fs::File::create(folder.join("log.txt")).expect("a place for the log");
    let child = Command::new(program)
        .args(arguments)
        .current_dir(folder)
        .stdin(Stdio::null())
        .stdout(log.try_clone().expect("the same log"))
        .stderr(log)
        .spawn()
        .unwrap_or_else(|error| panic!("{}: {error}", program.display()));
    Process(child)
}

fn variable(name: &str, otherwise: &str) -> String {
    std::env::var(name).unwrap_or_else(|_| otherwise.into())
}

fn number(name: &str, otherwise: usize) -> usize {
    let text = variable(name, &otherwise.to_string());
    text.parse().unwrap_or_else(|_| panic!("{name}={text} is no number"))
}

/// A cell on this machine.
struct Cell {
    folder: tempfile::TempDir,
    atelier: PathBuf,
    nats: PathBuf,
    brokers: Vec<Process>,
    nodes: Vec<Option<Process>>,
    agents: Vec<Process>,
}

const NODES: usize = 3;

fn port(node: usize) -> u16 {
    19_420 + node as u16
}

fn url(node: usize) -> String {
    format!("http://127.0.0.1:{}", port(node))
}

impl Cell {
    /// Starts everything. Servers paint at `rate` steps a second, and each picture takes 10 steps.
    fn start(agents: usize, rate: f64, waiting: usize) -> Self {
        let absolute = |name: &str, otherwise: &str| {
            let path = PathBuf::from(variable(name, otherwise));
            path.canonicalize().unwrap_or(path)
        };
        // Cargo runs benches in the folder of their crate.
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
        let atelier = variable("ATELIER", "target/release/atelier");
        let atelier = root.join(atelier).canonicalize().expect("ATELIER is a program");
        let nats = absolute("ATELIER_NATS_SERVER", "nats-server");
        let folder = tempfile::tempdir().expect("a folder");
        let cell = folder.path().join("cell");
        let node =
            |n: usize| format!("n{n}=127.0.0.1:{}", 18_222 + 100 * n).parse().expect("a node");
        let plan = Plan { cell: "bench".into(), nodes: (0..NODES).map(node).collect() };
        setup::init(&cell, &plan).expect("the files of a cell");
        let mut servers = String::new();
        for agent in 0..agents {
            let server = format!("s{agent}");
            setup::add_agent(&cell, &format!("a{agent}"), std::slice::from_ref(&server))
                .expect("an agent");
            let _ = write!(
                servers,
                "[[server]]\nname = \"{server}\"\nsteps_per_second = {rate:?}\nlearn_speed = false\n\
                 backend = {{ kind = \"agent\" }}\n"
            );
        }
        let small = "[defaults]\nwidth = 16\nheight = 16\n";
        for n in 0..NODES {
            let file = cell.join(format!("n{n}/atelier.toml"));
            let text = fs::read_to_string(&file).expect("it was written");
            let text = text.replace("127.0.0.1:8420", &format!("127.0.0.1:{}", port(n)));
            let more = format!(
                "policy = \"greedy\"\n[limits]\nwaiting = {waiting}\nconnections = 4096\n{small}[cluster]"
            );
            let text = text.replace("[cluster]", &more) + &servers;
            fs::write(file, text).expect("it can be written");
        }
        for agent in 0..agents {
            let file = cell.join(format!("agents/a{agent}/agent.toml"));
            let text = fs::read_to_string(&file).expect("it was written");
            let text =
                text.replace("steps_per_second = 10.0", &format!("steps_per_second = {rate:?}"));
            let text = text.replace("[cluster]", &format!("{small}[cluster]"));
            fs::write(file, text).expect("it can be written");
        }
        let mut this =
            Self { folder, atelier, nats, brokers: vec![], nodes: vec![], agents: vec![] };
        for n in 0..NODES {
            let folder = this.of(&format!("n{n}"));
            this.brokers.push(process(&this.nats, &folder, &["-c", "nats.conf"]));
        }
        let made = Command::new(&this.atelier).args(["cluster", "init"]).arg(&cell).output();
        let made = made.expect("it runs");
        assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
        this.nodes = (0..NODES).map(|n| Some(this.node(n))).collect();
        for agent in 0..agents {
            let folder = this.of(&format!("agents/a{agent}"));
            this.agents.push(process(&this.atelier, &folder, &["agent"]));
        }
        this
    }

    fn of(&self, name: &str) -> PathBuf {
        self.folder.path().join("cell").join(name)
    }

    fn node(&self, n: usize) -> Process {
        process(&self.atelier, &self.of(&format!("n{n}")), &["serve"])
    }

    /// The node that leads, by its metrics.
    async fn leader(&self, http: &reqwest::Client) -> Option<usize> {
        for n in 0..NODES {
            let Ok(answer) = http.get(format!("{}/metrics", url(n))).send().await else { continue };
            if answer.text().await.is_ok_and(|text| text.contains("atelier_cluster_leader 1")) {
                return Some(n);
            }
        }
        None
    }

    /// Pictures that are done, by the metrics of whoever leads.
    async fn pictures(&self, http: &reqwest::Client) -> f64 {
        let leader = self.leader(http).await.expect("somebody leads");
        let answer = http.get(format!("{}/metrics", url(leader))).send().await.expect("it answers");
        let text = answer.text().await.expect("whole");
        let done = text.lines().filter(|line| {
            line.starts_with("atelier_requests_ended_total") && line.contains("completed")
        });
        done.filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok()).sum()
    }

    /// Megabytes of memory of the nodes.
    fn memory(&self) -> Vec<u64> {
        let of = |process: &Process| {
            let status = fs::read_to_string(format!("/proc/{}/status", process.0.id()));
            let status = status.unwrap_or_default();
            let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
            let kilobytes =
                line.and_then(|line| line.trim().split(' ').next()?.parse::<u64>().ok());
            kilobytes.unwrap_or(0) / 1024
        };
        self.nodes.iter().flatten().map(of).collect()
    }
}

fn client() -> reqwest::Client {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let builder = reqwest::Client::builder().no_proxy().tls_certs_only([]);
    builder.timeout(Duration::from_secs(20)).build().expect("a client")
}

async fn submit(http: &reqwest::Client, node: usize, seconds: u32) -> Option<u16> {
    let body = format!(
        r#"{{"prompt": "a blue ring", "min_steps": 10, "max_steps": 10, "due_in_seconds": {seconds}}}"#
    );
    let request = http.post(format!("{}/v1/requests", url(node)));
    let answer = request.header("content-type", "application/json").body(body).send().await.ok()?;
    let status = answer.status().as_u16();
    answer.bytes().await.ok()?;
    Some(status)
}

async fn until_ready(cell: &Cell, http: &reqwest::Client) {
    for n in 0..NODES {
        let start = Instant::now();
        loop {
            let answer = http.get(format!("{}/readyz", url(n))).send().await;
            if answer.is_ok_and(|answer| answer.status().is_success()) {
                break;
            }
            assert!(
                start.elapsed() < Duration::from_mins(1),
                "node {n} is not ready: {:?}",
                cell.memory()
            );
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }
}

/// Sends so many requests a second for so many seconds, whatever the answers take; says how long they took.
async fn load(http: &reqwest::Client, rate: usize, requests: usize) -> (Vec<f64>, usize) {
    let taken = Arc::new(Mutex::new(Vec::new()));
    let refused = Arc::new(Mutex::new(0));
    let start = Instant::now();
    let mut sent = Vec::new();
    for n in 0..requests {
        let due = start + Duration::from_secs_f64(n as f64 / rate as f64);
        tokio::time::sleep_until(due.into()).await;
        let (http, taken, refused) = (http.clone(), taken.clone(), refused.clone());
        sent.push(tokio::spawn(async move {
            match submit(&http, n % NODES, 60).await {
                Some(202) => taken.lock().unwrap().push(due.elapsed().as_secs_f64() * 1e3),
                _ => *refused.lock().unwrap() += 1,
            }
        }));
    }
    for one in sent {
        let _ = one.await;
    }
    let mut taken = std::mem::take(&mut *taken.lock().unwrap());
    taken.sort_by(f64::total_cmp);
    let refused = *refused.lock().unwrap();
    (taken, refused)
}

fn percentile(sorted: &[f64], share: f64) -> f64 {
    sorted
        .get(((sorted.len() as f64 * share) as usize).min(sorted.len().max(1) - 1))
        .copied()
        .unwrap_or(f64::NAN)
}

async fn acknowledgements(agents: usize, seconds: usize) {
    let rates = variable("ATELIER_RATES", "100,1000");
    let rates: Vec<usize> =
        rates.split(',').map(|rate| rate.trim().parse().expect("a rate")).collect();
    // Of ten steps each: so many pictures a second from each server.
    let speed = 10.0 * number("ATELIER_PICTURES", 4) as f64;
    let cell = Cell::start(agents, speed, 1_000_000);
    let http = client();
    until_ready(&cell, &http).await;
    println!("{agents} agents, 3 brokers, 3 nodes, log and pictures in 3 replicas");
    load(&http, 50, 100).await;
    for &rate in &rates {
        let (before, start) = (cell.pictures(&http).await, Instant::now());
        let (taken, refused) = load(&http, rate, rate * seconds).await;
        let painted = (cell.pictures(&http).await - before) / start.elapsed().as_secs_f64();
        println!(
            "{rate} requests/s and {painted:.0} pictures/s for {seconds} s: acknowledged after p50 {:.1} ms, p95 {:.1} \
             ms, p99 {:.1} ms; {refused} of {} refused; nodes have {:?} MB",
            percentile(&taken, 0.5),
            percentile(&taken, 0.95),
            percentile(&taken, 0.99),
            rate * seconds,
            cell.memory()
        );
    }
    let total = number("ATELIER_TOTAL", 0);
    let rate = *rates.last().expect("a rate");
    for part in 0..total.div_ceil(10_000) {
        let (taken, refused) = load(&http, rate, 10_000).await;
        println!(
            "{} requests more: p50 {:.1} ms, {refused} refused; nodes have {:?} MB",
            (part + 1) * 10_000,
            percentile(&taken, 0.5),
            cell.memory()
        );
    }
}

/// Kills whoever leads with many requests open, and sees when one is accepted again.
async fn recovery(open: usize) {
    // So slow that hardly any picture is finished meanwhile.
    let mut cell = Cell::start(5, 0.05, 1_000_000);
    let http = client();
    until_ready(&cell, &http).await;
    let (taken, _) = load(&http, 1000, open).await;
    let leader = cell.leader(&http).await.expect("somebody leads");
    println!("{} requests are open; node {leader} leads and is killed", taken.len());
    let killed = Instant::now();
    cell.nodes[leader] = None;
    let other = (leader + 1) % NODES;
    loop {
        if submit(&http, other, 3600).await == Some(202) {
            break;
        }
    }
    println!(
        "accepted again after {:.2} s, the lease of 3 s included",
        killed.elapsed().as_secs_f64()
    );
    let log = fs::read_to_string(cell.of(&format!("n{other}")).join("log.txt")).unwrap_or_default();
    let other_log =
        fs::read_to_string(cell.of(&format!("n{}", (leader + 2) % NODES)).join("log.txt"));
    for line in log.lines().chain(other_log.unwrap_or_default().lines()) {
        if line.contains("takes over") || line.contains("this node leads") {
            println!("{line}");
        }
    }
}

fn main() {
    // `cargo test` builds benches and runs them with this.
    if std::env::args().any(|argument| argument == "--test") {
        return;
    }
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    runtime.block_on(async {
        acknowledgements(number("ATELIER_AGENTS", 50), number("ATELIER_SECONDS", 20)).await;
        recovery(number("ATELIER_OPEN", 10_000)).await;
    });
}
