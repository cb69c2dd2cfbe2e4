//! The files of a new cell: brokers, certificates, keys, and configurations to start from.
//!
//! ```text
//! FOLDER/cell.toml                    nodes and agents with their public keys; no secrets
//! FOLDER/authority.{pem,key}          signs the certificates of the nodes; the key stays with the operator
//! FOLDER/NODE/nats.conf, users.conf   the node's broker, and who may do what there
//! FOLDER/NODE/{ca,server}.pem, server.key, node.nk, atelier.toml
//! FOLDER/agents/NAME/agent.toml, agent.nk, ca.pem
//! ```
//!
//! Each `NODE` and each `agents/NAME` is copied to its machine. Whatever writes here writes all of its files
//! or none; `cell.toml` comes last, so a command that was cut short is repeated as it was.

mod brokers;
mod cell;
mod certificates;
mod error;
mod files;
mod keys;
mod names;
mod plan;
mod programs;
#[cfg(test)]
mod tests;

use std::env;
use std::ffi::OsString;
use std::fs;
use std::io::{Error, ErrorKind};
use std::path::{Path, PathBuf};

pub use self::cell::{Agent, Cell, Member};
pub use self::error::SetupError;
pub use self::plan::{CLIENT_PORT, Node, Plan};
pub(crate) use self::programs::lease_seconds;

use self::certificates::Authority;
use self::files::{Fresh, Lock, Readers, Replacements};
use self::keys::Key;

/// What a folder of a cell is known by.
const CELL_FILE: &str = "cell.toml";
/// Where the folders of the agents are.
const AGENTS: &str = "agents";
/// Who may do what at a broker.
const USERS_FILE: &str = "users.conf";

/// Writes the files of a new cell and says which. The folder must not exist or be empty.
///
/// # Errors
/// [`SetupError`]: the plan is not allowed, the folder is taken, or it cannot be written. Nothing is left
/// behind then.
pub fn init(folder: &Path, plan: &Plan) -> Result<Vec<PathBuf>, SetupError> {
    plan.check()?;
    let mut fresh = Fresh::create(&free(folder)?)?;
    let authority = Authority::new(&plan.cell)?;
    let mut cell = Cell { name: plan.cell.clone(), nodes: Vec::new(), agents: Vec::new() };
    let mut seeds = Vec::new();
    for node in &plan.nodes {
        let Key { public, seed } = keys::new()?;
        cell.nodes.push(Member { node: node.clone(), key: public });
        seeds.push(seed);
    }
    fresh.write("authority.pem", &authority.certificate(), Readers::All)?;
    fresh.write("authority.key", &authority.key(), Readers::Owner)?;
    let users = brokers::users(&cell);
    for (node, seed) in plan.nodes.iter().zip(&seeds) {
        let name = &node.name;
        let (certificate, key) = authority.issue(&plan.cell, node)?;
        fresh.folder(name)?;
        let mut write =
            |file, text: &str, readers| fresh.write(format!("{name}/{file}"), text, readers);
        write("nats.conf", &brokers::configuration(plan, node), Readers::All)?;
        write(USERS_FILE, &users, Readers::All)?;
        write("ca.pem", &authority.certificate(), Readers::All)?;
        write("server.pem", &certificate, Readers::All)?;
        write("server.key", &key, Readers::Owner)?;
        write("node.nk", seed, Readers::Owner)?;
        write("atelier.toml", &programs::node(plan, node), Readers::All)?;
    }
    fresh.folder(AGENTS)?;
    fresh.write(CELL_FILE, &cell.text(), Readers::All)?;
    fresh.commit(folder)
}

/// Lets another agent into a cell, and says which files are new or changed: its own folder, and the
/// `users.conf` of every node. A broker reads these at `nats-server --signal reload`.
///
/// # Errors
/// [`SetupError`]: the name or a server is taken or not allowed, the folder has no cell, or it cannot be
/// written. The agent is then not in the cell; the same call may be made again.
pub fn add_agent(
    folder: &Path,
    name: &str,
    servers: &[String],
) -> Result<Vec<PathBuf>, SetupError> {
    let _lock = Lock::take(folder, CELL_FILE)?;
    let mut cell = read(folder)?;
    let Key { public, seed } = keys::new()?;
    cell.agents.push(Agent { name: name.into(), servers: servers.to_vec(), key: public });
    cell.check()?;

    let authority = folder.join("authority.pem");
    let authority = fs::read_to_string(&authority).map_err(SetupError::io(&authority))?;
    let place = folder.join(AGENTS).join(name);
    files::create_folder(&folder.join(AGENTS))?;
    // An agent that is not in the cell was never let in: what is left of it is of no use.
    files::remove_files(&place, &["agent.toml", "agent.nk", "ca.pem"])?;
    files::remove_folder(&files::beside(&place))?;
    let mut fresh = Fresh::create(&place)?;
    fresh.write("agent.toml", &programs::agent(&cell, name, servers), Readers::All)?;
    fresh.write("agent.nk", &seed, Readers::Owner)?;
    fresh.write("ca.pem", &authority, Readers::All)?;

    let (users, list) = changed(folder, &cell)?;
    let mut written = fresh.commit(&place)?;
    written.extend(users.commit()?);
    written.extend(list.commit()?);
    Ok(written)
}

/// Takes an agent out of a cell: out of the `users.conf` of every node, where
/// `nats-server --signal reload` cuts it off at once, and its folder.
///
/// # Errors
/// [`SetupError`]: there is no such agent, the folder has no cell, or it cannot be written; the same call
/// may be made again.
pub fn remove_agent(folder: &Path, name: &str) -> Result<(), SetupError> {
    let _lock = Lock::take(folder, CELL_FILE)?;
    let mut cell = read(folder)?;
    let Some(position) = cell.agents.iter().position(|agent| agent.name == name) else {
        let known = cell.agents.into_iter().map(|agent| agent.name).collect();
        return Err(SetupError::Unknown { agent: name.into(), cell: cell.name, known });
    };
    cell.agents.remove(position);
    let (users, list) = changed(folder, &cell)?;
    users.commit()?;
    files::remove_folder(&folder.join(AGENTS).join(name))?;
    list.commit()?;
    Ok(())
}

/// Reads which nodes and agents a cell has.
///
/// # Errors
/// [`SetupError`]: there is no `cell.toml`, or it has what is not allowed.
pub fn read(folder: &Path) -> Result<Cell, SetupError> {
    let file = folder.join(CELL_FILE);
    let text = match fs::read_to_string(&file) {
        Err(e) if e.kind() == ErrorKind::NotFound => return Err(SetupError::None { file }),
        text => text.map_err(SetupError::io(&file))?,
    };
    Cell::parse(&file, &text)
}

/// Every `users.conf` and the `cell.toml`, ready to take the place of what is there. The latter is to go last:
/// what it says is then done, and what it does not say may be done again.
fn changed(folder: &Path, cell: &Cell) -> Result<(Replacements, Replacements), SetupError> {
    let (mut users, mut list) = <(Replacements, Replacements)>::default();
    let text = brokers::users(cell);
    for member in &cell.nodes {
        users.stage(&folder.join(&member.node.name).join(USERS_FILE), &text)?;
    }
    list.stage(&folder.join(CELL_FILE), &cell.text())?;
    Ok((users, list))
}

/// The folder's own path, if a cell may be written there.
fn free(folder: &Path) -> Result<PathBuf, SetupError> {
    let taken = |problem| SetupError::Folder { folder: folder.into(), problem };
    let found = match fs::read_dir(folder) {
        Err(e) if e.kind() == ErrorKind::NotFound => {
            if folder.file_name().is_none() {
                return Err(taken("is not the name of a new folder"));
            }
            return Ok(folder.into());
        }
        Err(e) if e.kind() == ErrorKind::NotADirectory => return Err(taken("is no folder")),
        found => found.map_err(SetupError::io(folder))?,
    };
    let names: Vec<OsString> = found
        .map(|entry| entry.map(|entry| entry.file_name()))
        .collect::<Result<_, Error>>()
        .map_err(SetupError::io(folder))?;
    if names.iter().any(|name| name == CELL_FILE) {
        return Err(taken("has a cell already"));
    }
    if !names.is_empty() {
        return Err(taken("is not empty"));
    }
    let place = fs::canonicalize(folder).map_err(SetupError::io(folder))?;
    // It is replaced as a whole: whoever stands in it would stand in a folder that is gone.
    if env::current_dir().is_ok_and(|here| here == place) {
        return Err(taken("is the current folder"));
    }
    Ok(place)
}
