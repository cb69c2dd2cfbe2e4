use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use agent::Recipe;
use anyhow::Context;
use cluster::Outside;
use gateway::PolicyFactory;
use gateway::log::Log;
use gateway::{Config, RunError, Source, StartError, World};
use scheduling::{Cluster, Server};
use tokio::net::TcpListener;
use tokio::runtime::Runtime;
use tokio::sync::Notify;

use crate::commands::cluster::failure;
use crate::failure::Failure;
use crate::interruption::terminated;

/// Run the gateway: requests come in by HTTP, pictures go out on time.
#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// Configuration file (TOML).
    #[arg(long, default_value = "atelier.toml")]
    config: PathBuf,
    /// Three built-in painters of different speed instead of a configuration; needs no GPU.
    #[arg(long, conflicts_with = "config")]
    demo: bool,
    /// Address to listen on, in place of the configured one.
    #[arg(long)]
    listen: Option<SocketAddr>,
}

/// How long the last lines of the log may take.
pub(crate) const LAST_LINES: Duration = Duration::from_secs(1);

pub(crate) fn run(arguments: &Arguments) -> Result<(), Failure> {
    let config = if arguments.demo { Config::demo() } else { read(&arguments.config)? };
    let log = crate::log::start().context("cannot start the log")?;
    let runtime = Runtime::new().context("cannot start the threads")?;
    let result = match &config.cluster {
        Some(_) => runtime.block_on(serve_node(config, arguments, &log)),
        None => runtime.block_on(serve(config, arguments, &log)),
    };
    // A thread that hangs, in a disk that does not answer or a computation, holds nothing up.
    runtime.shutdown_background();
    log.flush(LAST_LINES);
    result
}

async fn serve(mut config: Config, arguments: &Arguments, log: &Log) -> Result<(), Failure> {
    let (listener, address) = listen(&config, arguments).await?;
    let mut world = World::real(policies(&config));
    if !arguments.demo {
        world.source = Some(source(arguments.config.clone(), address)?);
    }
    if arguments.demo {
        config.journal = demo_journal(address.port())?;
    }
    let (journal, lines) = (config.journal.display().to_string(), log.clone());
    world.serving = Box::new(move || {
        lines.say(&format!("atelier is at http://{address}, its journal is {journal}"));
    });
    world.dropped = log.dropped();
    gateway::run(config, world, listener, terminated()).await.map_err(|error| match error {
        RunError::Start(StartError::Config(_)) => Failure::Refused(error.into()),
        RunError::Start(_) | RunError::Ended(_) => Failure::Failed(error.into()),
    })
}

/// The same as a node of a cluster.
async fn serve_node(config: Config, arguments: &Arguments, log: &Log) -> Result<(), Failure> {
    let (listener, address) = listen(&config, arguments).await?;
    let (journal, lines) = (config.journal.display().to_string(), log.clone());
    let outside = Outside {
        policies: policies(&config),
        dropped: log.dropped(),
        source: Some(source(arguments.config.clone(), address)?),
        serving: Box::new(move || {
            lines.say(&format!("atelier is at http://{address}, its journal is {journal}"));
        }),
    };
    let others = config.cluster.iter().flat_map(|cluster| &cluster.others);
    let others = others.map(|file| {
        let other = read(file)?;
        let outside = Outside {
            policies: policies(&other),
            dropped: log.dropped(),
            source: Some(source(file.clone(), address)?),
            serving: Box::new(|| ()),
        };
        Ok((other, outside))
    });
    let others = others.collect::<Result<Vec<_>, Failure>>()?;
    let served = Box::pin(cluster::serve(config, outside, others, listener, terminated()));
    served.await.map_err(failure)
}

/// Listens where it is configured or asked for, if it may.
async fn listen(
    config: &Config,
    arguments: &Arguments,
) -> Result<(TcpListener, SocketAddr), Failure> {
    let address = arguments.listen.unwrap_or(*config.listen.get_ref());
    if !address.ip().is_loopback() && config.keys.is_empty() {
        return Err(Failure::refused(address, EXPOSED));
    }
    let listener =
        TcpListener::bind(address).await.with_context(|| format!("cannot listen on {address}"))?;
    let address = listener.local_addr().map_err(anyhow::Error::from)?;
    Ok((listener, address))
}

/// Why nobody listens there.
const EXPOSED: &str = "is not a loopback address, and without a [[key]] in the configuration anybody could use \
                       the servers: allowed is 127.0.0.1 or [::1]";

/// The file, read again at every SIGHUP; the gateway goes on listening at `address`.
fn source(file: PathBuf, address: SocketAddr) -> Result<Source, Failure> {
    let read = move || {
        let config = Config::read(&file)?;
        if !address.ip().is_loopback() && config.keys.is_empty() {
            return Err(config.refuse("key", format!("{address} {EXPOSED}")));
        }
        let policies = policies(&config);
        Ok((config, policies))
    };
    let again = Arc::new(Notify::new());
    #[cfg(unix)]
    {
        use tokio::signal::unix::{SignalKind, signal};
        let mut hangups = signal(SignalKind::hangup()).context("cannot listen to signals")?;
        let again = again.clone();
        tokio::spawn(async move {
            while hangups.recv().await.is_some() {
                again.notify_one();
            }
        });
    }
    Ok(Source { read: Arc::new(read), again })
}

/// Where a demonstration keeps its journal: with the user's other state, and a file for each port,
/// so that two at once do not share one.
fn demo_journal(port: u16) -> Result<PathBuf, Failure> {
    let absolute = |name| std::env::var_os(name).map(PathBuf::from).filter(|p| p.is_absolute());
    let home = || absolute("HOME").map(|home| home.join(".local/state"));
    let state = absolute("XDG_STATE_HOME").or_else(home);
    let folder = state.unwrap_or_else(std::env::temp_dir).join("atelier");
    std::fs::create_dir_all(&folder)
        .with_context(|| format!("cannot create {}", folder.display()))?;
    Ok(folder.join(format!("demo-{port}.db")))
}

/// The configuration in a TOML file.
pub(crate) fn read(file: &std::path::Path) -> Result<Config, Failure> {
    Config::read(file).map_err(|error| Failure::Refused(error.into()))
}

/// How long requests wait for a shadow policy in a Python file, once: it is not asked again when it is slower.
const SHADOWS_TURN: Duration = Duration::from_millis(100);

/// Every policy by name; checkpoints are read anew each time, and must fit the servers.
pub(crate) fn policies(config: &Config) -> PolicyFactory {
    let servers = config.servers.iter().map(|server| {
        Server::new(server.name.get_ref().clone(), server.steps_per_second, server.overhead_seconds)
    });
    let cluster = Cluster::new(servers.collect());
    Arc::new(move |name, generator| {
        let cluster = cluster.as_ref().map_err(ToString::to_string)?;
        Recipe::load(name)
            .and_then(|recipe| recipe.patient_for(SHADOWS_TURN).policy(cluster, generator))
            .map_err(|error| error.to_string())
    })
}
