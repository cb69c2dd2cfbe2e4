//! A cell of three brokers on this machine, and its users.

use std::fs;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{self, Child, Command, Stdio};
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::{Duration, Instant};

use async_nats::{Client, ConnectOptions};
use cluster::setup::{Node, Plan, add_agent, init};
use serde_json::Value;
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};
use tokio::time::{sleep, timeout};

/// How long anything may take.
const PATIENCE: Duration = Duration::from_secs(30);

/// Brokers that run until this is dropped.
pub(crate) struct Running {
    folder: TempDir,
    nodes: Vec<Node>,
    brokers: Vec<Child>,
}

impl Running {
    /// Starts the three brokers of a cell "c" that has these agents.
    pub(crate) fn start(agents: &[(&str, &[&str])]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let node = |name: &str| format!("{name}=127.0.0.1:{}", free_port()).parse().unwrap();
        let nodes = vec![node("n1"), node("n2"), node("n3")];
        init(folder.path(), &Plan { cell: "c".into(), nodes: nodes.clone() }).unwrap();
        let mut running = Self { folder, nodes, brokers: Vec::new() };
        for (name, servers) in agents {
            running.add(name, servers);
        }
        for node in &running.nodes {
            let folder = running.folder().join(&node.name);
            let log = fs::File::create(folder.join("log")).unwrap();
            let mut command = Command::new(binary());
            command.args(["-c", "nats.conf"]).current_dir(folder);
            let broker = command.stdout(Stdio::null()).stderr(log).spawn().unwrap();
            running.brokers.push(broker);
        }
        running
    }

    pub(crate) fn folder(&self) -> &Path {
        self.folder.path()
    }

    pub(crate) fn authority(&self) -> PathBuf {
        self.folder().join("authority.pem")
    }

    pub(crate) fn names(&self) -> Vec<&str> {
        self.nodes.iter().map(|node| node.name.as_str()).collect()
    }

    pub(crate) fn port(&self, position: usize) -> u16 {
        self.nodes[position].port
    }

    pub(crate) fn url(&self, position: usize) -> String {
        format!("tls://127.0.0.1:{}", self.port(position))
    }

    pub(crate) fn add(&self, name: &str, servers: &[&str]) {
        let servers: Vec<_> = servers.iter().map(|&server| server.to_owned()).collect();
        add_agent(self.folder(), name, &servers).unwrap();
    }

    pub(crate) fn seed(&self, agent: &str) -> String {
        fs::read_to_string(self.folder().join("agents").join(agent).join("agent.nk")).unwrap()
    }

    /// Tells every broker that its `users.conf` has changed, as an operator does, and waits until it knows.
    pub(crate) fn reload(&self) {
        let told = |log: &Path| {
            fs::read_to_string(log).unwrap().matches("Reloaded server configuration").count()
        };
        for node in &self.nodes {
            let folder = self.folder().join(&node.name);
            let log = folder.join("log");
            let before = told(&log);
            let mut command = Command::new(binary());
            command.args(["--signal", "reload=nats.pid"]).current_dir(&folder);
            assert!(command.status().unwrap().success());
            let start = Instant::now();
            while told(&log) == before {
                assert!(start.elapsed() < PATIENCE, "{}", fs::read_to_string(&log).unwrap());
                std::thread::sleep(Duration::from_millis(20));
            }
        }
    }

    /// A client with the key of a node, at its broker, once that listens.
    pub(crate) async fn node(&self, position: usize) -> User {
        let seed = self.folder().join(&self.nodes[position].name).join("node.nk");
        let seed = fs::read_to_string(seed).unwrap();
        self.user(&seed, position, |options| options).await
    }

    /// A client with the key of an agent, at a broker.
    pub(crate) async fn agent(&self, name: &str, position: usize) -> User {
        self.agent_with(name, position, |options| options).await
    }

    pub(crate) async fn agent_with(
        &self,
        name: &str,
        position: usize,
        change: impl Fn(ConnectOptions) -> ConnectOptions,
    ) -> User {
        self.user(&self.seed(name), position, change).await
    }

    async fn user(
        &self,
        seed: &str,
        position: usize,
        change: impl Fn(ConnectOptions) -> ConnectOptions,
    ) -> User {
        let (send, events) = unbounded_channel();
        let client = within("a connection", async || {
            let send = send.clone();
            let options = change(options(Some(seed), &self.authority()));
            let options = options.event_callback(move |event| {
                let _ = send.send(event.to_string().to_lowercase());
                async {}
            });
            options.connect(self.url(position)).await.ok()
        });
        User { client: client.await, events }
    }

    /// What the monitor of a broker says.
    pub(crate) async fn monitor(&self, position: usize, path: &str) -> Value {
        let address = ("127.0.0.1", self.port(position) + 4000);
        let mut connection = TcpStream::connect(address).await.unwrap();
        let request = format!("GET {path} HTTP/1.0\r\n\r\n");
        connection.write_all(request.as_bytes()).await.unwrap();
        let mut answer = String::new();
        connection.read_to_string(&mut answer).await.unwrap();
        serde_json::from_str(answer.split_once("\r\n\r\n").unwrap().1).unwrap()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        for (broker, node) in self.brokers.iter_mut().zip(&self.nodes) {
            let _ = broker.kill();
            let _ = broker.wait();
            if std::thread::panicking() {
                let log = self.folder.path().join(&node.name).join("log");
                eprintln!("{}:\n{}", node.name, fs::read_to_string(log).unwrap_or_default());
            }
        }
    }
}

/// Somebody who is connected.
pub(crate) struct User {
    pub(crate) client: Client,
    events: UnboundedReceiver<String>,
}

impl User {
    pub(crate) async fn may_not_publish(&mut self, subject: &str) {
        self.client.publish(subject.to_owned(), "x".into()).await.unwrap();
        self.sees(&format!("permissions violation for publish to \"{}\"", subject.to_lowercase()))
            .await;
    }

    pub(crate) async fn may_not_subscribe(&mut self, subject: &str) {
        let _heard = self.client.subscribe(subject.to_owned()).await.unwrap();
        let subject = subject.to_lowercase();
        self.sees(&format!("permissions violation for subscription to \"{subject}\"")).await;
    }

    /// Waits until something has happened to the connection.
    pub(crate) async fn sees(&mut self, wanted: &str) {
        let mut seen = Vec::new();
        let look = async {
            while let Some(event) = self.events.recv().await {
                let found = event.contains(wanted);
                seen.push(event);
                if found {
                    return true;
                }
            }
            false
        };
        let found = timeout(PATIENCE, look).await;
        assert_eq!(found, Ok(true), "{wanted} is not in {seen:?}");
    }

    /// Nothing has happened since it was asked last, beside connecting.
    pub(crate) fn is_not_refused(&mut self) {
        while let Ok(event) = self.events.try_recv() {
            assert_eq!(event, "connected");
        }
    }
}

/// How a user of a cell connects, or somebody without a key.
pub(crate) fn options(seed: Option<&str>, authority: &Path) -> ConnectOptions {
    let options = match seed {
        Some(seed) => ConnectOptions::with_nkey(seed.trim().into()),
        None => ConnectOptions::new(),
    };
    options.add_root_certificates(authority.into()).require_tls(true).ignore_discovered_servers()
}

/// Tries until it succeeds.
pub(crate) async fn within<T>(what: &str, mut attempt: impl AsyncFnMut() -> Option<T>) -> T {
    let start = Instant::now();
    loop {
        if let Some(done) = attempt().await {
            return done;
        }
        assert!(start.elapsed() < PATIENCE, "{what} did not come");
        sleep(Duration::from_millis(100)).await;
    }
}

fn binary() -> PathBuf {
    let path = std::env::var_os("ATELIER_NATS_SERVER");
    path.expect("ATELIER_NATS_SERVER names the binary of nats-server").into()
}

/// A port that is free with those of routes and monitor, below those that the system gives away.
fn free_port() -> u16 {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    loop {
        let next = NEXT.fetch_add(1, Ordering::Relaxed);
        let port = 20_000 + (process::id() as u16 % 100 * 20 + next) % 2000;
        let free = |port: u16| TcpListener::bind(("127.0.0.1", port)).is_ok();
        if free(port) && free(port + 2000) && free(port + 4000) {
            return port;
        }
    }
}
