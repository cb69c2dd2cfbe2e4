use std::path::{Path, PathBuf};

use anyhow::Context;
use cluster::admin::{Keep, Repaired, Status};
use cluster::setup::{Node, Plan};
use cluster::{ClusterError, admin, setup};
use gateway::Config;
use gateway::config::ClusterConfig;
use tokio::runtime::Runtime;

use crate::failure::Failure;
use crate::output::say;

/// Set up a gateway on several machines, and look after it.
#[derive(clap::Args)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(clap::Subcommand)]
enum Command {
    Init(Init),
    AddAgent(AddAgent),
    RemoveAgent(RemoveAgent),
    Status(AskStatus),
    Repair(Repair),
}

/// Write the files of a new cell; once its brokers run, make its streams.
#[derive(clap::Args)]
struct Init {
    /// Where the files of the cell are, or are to be.
    folder: PathBuf,
    /// Name of the cell.
    #[arg(long, requires = "nodes")]
    cell: Option<String>,
    /// A node, as NAME=HOST or NAME=HOST:PORT: one, three or five of them.
    #[arg(long = "node", value_name = "NAME=HOST[:PORT]", requires = "cell")]
    nodes: Vec<String>,
}

/// Let an agent join a cell: its files, and what the brokers must know of it.
#[derive(clap::Args)]
struct AddAgent {
    /// Where the files of the cell are.
    folder: PathBuf,
    /// Name of the agent.
    name: String,
    /// A server beside it, once for each.
    #[arg(long = "server", value_name = "NAME", required = true)]
    servers: Vec<String>,
}

/// Take an agent out of a cell: the brokers refuse it as soon as they are reloaded.
#[derive(clap::Args)]
struct RemoveAgent {
    /// Where the files of the cell are.
    folder: PathBuf,
    /// Name of the agent.
    name: String,
}

/// Show how a cell stands: brokers, log, nodes, servers.
#[derive(clap::Args)]
struct AskStatus {
    /// Configuration file (TOML) of a node.
    #[arg(long, default_value = "atelier.toml")]
    config: PathBuf,
    /// As JSON.
    #[arg(long)]
    json: bool,
}

/// Put the journal of a node and the log together again, where they are not of one piece.
#[derive(clap::Args)]
struct Repair {
    /// Configuration file (TOML) of the node, which must not run.
    #[arg(long, default_value = "atelier.toml")]
    config: PathBuf,
    /// Which of both holds: with the log the journal is made anew, with the journal the log.
    #[arg(long, value_enum)]
    keep: Kept,
}

#[derive(Clone, Copy, clap::ValueEnum)]
enum Kept {
    Log,
    Journal,
}

pub(crate) fn run(arguments: &Arguments) -> Result<(), Failure> {
    match &arguments.command {
        Command::Init(arguments) => init(arguments),
        Command::AddAgent(arguments) => add_agent(arguments),
        Command::RemoveAgent(arguments) => remove_agent(arguments),
        Command::Status(arguments) => status(arguments),
        Command::Repair(arguments) => repair(arguments),
    }
}

/// What a failure of the cluster is for whoever called.
pub(crate) fn failure(error: ClusterError) -> Failure {
    if error.is_refusal() { Failure::Refused(error.into()) } else { Failure::Failed(error.into()) }
}

fn refused(error: setup::SetupError) -> Failure {
    Failure::Refused(error.into())
}

fn init(arguments: &Init) -> Result<(), Failure> {
    let folder = &arguments.folder;
    let Some(name) = &arguments.cell else {
        let cell = setup::read(folder).map_err(|error| {
            let hint = "a new cell needs --cell NAME and --node NAME=HOST for each of its nodes";
            Failure::refused(error, hint)
        })?;
        let made = block_on(admin::create(folder, &cell))?.map_err(failure)?;
        match made.len() {
            0 => say!("cell {} has all its streams", cell.name),
            _ => say!("cell {}: {} made", cell.name, made.join(", ")),
        }
        return Ok(());
    };
    let nodes = arguments.nodes.iter().map(|node| node.parse::<Node>());
    let nodes = nodes.collect::<Result<Vec<_>, _>>().map_err(refused)?;
    let plan = Plan { cell: name.clone(), nodes };
    list(&setup::init(folder, &plan).map_err(refused)?);
    let shown = folder.display();
    for Node { name, host, .. } in &plan.nodes {
        say!(
            "node {name}: copy {shown}/{name} to {host}, and there: nats-server -c nats.conf, atelier serve"
        );
    }
    say!("when the brokers run: atelier cluster init {shown}");
    Ok(())
}

/// What is to be done after a change of who may do what.
const RELOAD: &str =
    "copy users.conf to every broker and reload it: nats-server --signal reload=nats.pid";

fn add_agent(arguments: &AddAgent) -> Result<(), Failure> {
    let AddAgent { folder, name, servers } = arguments;
    list(&setup::add_agent(folder, name, servers).map_err(refused)?);
    let shown = folder.display();
    say!("{RELOAD}");
    say!("copy {shown}/agents/{name} beside its servers, and there: atelier agent");
    say!("write into the atelier.toml of every node, with the speeds of the servers:");
    for server in servers {
        say!("[[server]]");
        say!("name = \"{server}\"");
        say!("steps_per_second = 10.0");
        say!("backend = {{ kind = \"agent\" }}");
    }
    Ok(())
}

fn remove_agent(arguments: &RemoveAgent) -> Result<(), Failure> {
    setup::remove_agent(&arguments.folder, &arguments.name).map_err(refused)?;
    say!("{}/agents/{} is deleted", arguments.folder.display(), arguments.name);
    say!("{RELOAD}");
    Ok(())
}

fn status(arguments: &AskStatus) -> Result<(), Failure> {
    let (config, cluster) = read(&arguments.config)?;
    let status = block_on(admin::status(&config, &cluster))?.map_err(failure)?;
    if arguments.json {
        let json = serde_json::to_string_pretty(&status).map_err(anyhow::Error::from)?;
        say!("{json}");
    } else {
        show(&status);
    }
    let unsound = status.brokers.iter().filter(|broker| broker.problem.is_some()).count();
    match unsound + status.problems.len() {
        0 => Ok(()),
        problems => Err(anyhow::anyhow!("cell {}: problems: {problems}", status.cell).into()),
    }
}

fn repair(arguments: &Repair) -> Result<(), Failure> {
    let (config, cluster) = read(&arguments.config)?;
    let keep = match arguments.keep {
        Kept::Log => Keep::Log,
        Kept::Journal => Keep::Journal,
    };
    let journal = config.journal.display();
    match block_on(admin::repair(&config, &cluster, keep))?.map_err(failure)? {
        Repaired::Nothing => say!("log and journal are of one piece: nothing was changed"),
        Repaired::Journal => {
            say!(
                "{journal} was put aside as {journal}.before; it is made anew when the node starts"
            );
        }
        Repaired::Log(sequence) => say!(
            "the log was made anew and goes on behind message {sequence}: start this node first, then the others"
        ),
    }
    Ok(())
}

/// The configuration of a node.
fn read(file: &Path) -> Result<(Config, ClusterConfig), Failure> {
    let config = crate::commands::serve::read(file)?;
    match config.cluster.clone() {
        Some(cluster) => Ok((config, cluster)),
        None => Err(Failure::refused(
            file.display(),
            "there is no [cluster]: this gateway stands alone",
        )),
    }
}

fn block_on<F: Future>(future: F) -> Result<F::Output, Failure> {
    let runtime = Runtime::new().context("cannot start the threads")?;
    Ok(runtime.block_on(future))
}

fn list(files: &[PathBuf]) {
    for file in files {
        say!("{}", file.display());
    }
}

fn show(status: &Status) {
    say!("cell {}", status.cell);
    for broker in &status.brokers {
        let name = broker.name.as_deref().unwrap_or("?");
        let version = broker.version.as_deref().unwrap_or("");
        let problem = broker.problem.as_deref().unwrap_or("sound");
        say!("broker {name} {version} ({}): {problem}", broker.monitor);
    }
    let log = &status.log;
    let leader = log.leader.as_deref().unwrap_or("nobody");
    let snapshot = log.snapshot.map_or("no snapshot yet".into(), |s| format!("snapshot at {s}"));
    say!("log: messages {} to {}, {leader} leads, {snapshot}", log.first, log.last);
    for node in &status.nodes {
        let leads = if node.leads { ", leads" } else { "" };
        say!(
            "node {} ({}{leads}): at message {}, configuration {}, atelier {}",
            node.name,
            node.role,
            node.sequence,
            node.configuration,
            node.version
        );
    }
    for server in &status.servers {
        let agent = server.agent.as_deref().unwrap_or("?");
        let speed = server.steps_per_second.map(|speed| format!(", {speed:.2} steps/s"));
        let kept = server.kept.filter(|kept| *kept > 0).map(|n| format!(", {n} results kept"));
        let more = [speed, kept].into_iter().flatten().collect::<String>();
        let problem = server.problem.as_deref().unwrap_or("answers");
        say!("server {} (agent {agent}): {problem}{more}", server.name);
    }
    for problem in &status.problems {
        say!("problem: {problem}");
    }
}
