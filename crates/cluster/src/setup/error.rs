//! What can be wrong with a cell, or with the folder it is written to.

use std::io;
use std::path::{Path, PathBuf};

use thiserror::Error;

use super::names::shown;

/// A cell that cannot be set up, changed or read.
#[derive(Debug, Error)]
pub enum SetupError {
    /// A name is empty, too long or has other characters.
    #[error("{what} \"{}\": allowed are 1 to {most} of a-z, A-Z, 0-9, - and _", shown(name))]
    Name {
        /// Whose name it is.
        what: &'static str,
        /// The name.
        name: String,
        /// Characters allowed.
        most: usize,
    },
    /// A name is given twice, or a node has one that is needed for something else.
    #[error("{what} \"{}\" {problem}", shown(name))]
    Taken {
        /// Whose name it is.
        what: &'static str,
        /// The name.
        name: String,
        /// What it is needed for.
        problem: &'static str,
    },
    /// A node that is not written as it should be.
    #[error(
        "node \"{}\": {problem}: allowed is NAME=HOST or NAME=HOST:PORT, \
         as n1=10.0.0.1, n1=[::1]:4222",
        shown(node)
    )]
    Node {
        /// What was written.
        node: String,
        /// What is wrong with it.
        problem: &'static str,
    },
    /// Two nodes on one host have a port in common.
    #[error(
        "node \"{node}\" and node \"{other}\" both take port {port} of {host}: \
         a node takes PORT, PORT + 2000 and PORT + 4000"
    )]
    Port {
        /// The later node.
        node: String,
        /// The earlier one.
        other: String,
        /// The port.
        port: u16,
        /// Where.
        host: String,
    },
    /// As many nodes are not allowed.
    #[error("there are {0} nodes: allowed are 1, 3 or 5, as two brokers are no redundancy")]
    Nodes(usize),
    /// An agent without servers.
    #[error("agent \"{0}\" has no servers: allowed is 1 or more")]
    NoServers(String),
    /// A server of two agents.
    #[error(
        "server \"{server}\" of agent \"{agent}\" is agent \"{owner}\"'s: a server has one agent"
    )]
    Owned {
        /// The server.
        server: String,
        /// Whom it was to belong to.
        agent: String,
        /// Whom it belongs to.
        owner: String,
    },
    /// There is no such agent.
    #[error("agent \"{}\" is not in cell {cell}: {}", shown(agent), list(known))]
    Unknown {
        /// Its name.
        agent: String,
        /// The cell.
        cell: String,
        /// The agents there are.
        known: Vec<String>,
    },
    /// A key that is no public key of a user.
    #[error(
        "key \"{}\" of {owner}: allowed is a public nkey of a user, 56 characters from U",
        shown(key)
    )]
    Key {
        /// The key.
        key: String,
        /// Whose it is.
        owner: String,
    },
    /// There is no cell.
    #[error("{}: there is none, so this is no folder of a cell", file.display())]
    None {
        /// The file that a cell is known by.
        file: PathBuf,
    },
    /// A file does not hold what it should.
    #[error("{}:{line}: {problem}", file.display())]
    Line {
        /// Its path.
        file: PathBuf,
        /// Line, from 1.
        line: usize,
        /// What is wrong there.
        problem: String,
    },
    /// A file describes a cell that is not allowed.
    #[error("{}: {problem}", file.display())]
    File {
        /// Its path.
        file: PathBuf,
        /// What is wrong with the cell.
        problem: Box<SetupError>,
    },
    /// No cell can be written to this folder.
    #[error("{}: {problem}: allowed is a folder that is empty or not there yet", folder.display())]
    Folder {
        /// Its path.
        folder: PathBuf,
        /// What is wrong with it.
        problem: &'static str,
    },
    /// A command was cut short here, or is at work.
    #[error("{}: another command is at work, or was cut short: remove it if none runs", .0.display())]
    Left(PathBuf),
    /// The system refused.
    #[error("{}: {problem}", path.display())]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// What the system says.
        problem: io::Error,
    },
    /// A certificate cannot be made.
    #[error("certificate of {owner}: {problem}")]
    Certificate {
        /// Whose it is.
        owner: String,
        /// Why.
        problem: rcgen::Error,
    },
    /// A key cannot be made.
    #[error("making a key: {0}")]
    NoKey(nkeys::error::Error),
}

impl SetupError {
    /// What the system says of this path.
    pub(super) fn io(path: &Path) -> impl FnOnce(io::Error) -> Self + use<> {
        let path = path.to_path_buf();
        move |problem| Self::Io { path, problem }
    }
}

fn list(known: &[String]) -> String {
    const MOST: usize = 10;
    match known.len() {
        0 => "it has no agents".into(),
        n if n > MOST => format!("there are {}, and {} more", known[..MOST].join(", "), n - MOST),
        _ => format!("there are {}", known.join(", ")),
    }
}
