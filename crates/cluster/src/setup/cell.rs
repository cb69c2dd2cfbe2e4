//! `cell.toml`: which nodes and agents a cell has.

use std::collections::HashMap;
use std::path::Path;

use serde::{Deserialize, Serialize};

use super::error::SetupError;
use super::keys;
use super::names::{Named, shown};
use super::plan::{Node, Plan};

/// A cell that was set up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cell {
    /// Its name.
    pub name: String,
    /// Its nodes.
    pub nodes: Vec<Member>,
    /// Its agents, in the order in which they came.
    pub agents: Vec<Agent>,
}

/// A node of a cell.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Member {
    /// Its name and where it is.
    pub node: Node,
    /// Its public key.
    pub key: String,
}

/// An agent of a cell.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Agent {
    /// Its name.
    pub name: String,
    /// Which servers it runs: at least one, and no other agent's.
    pub servers: Vec<String>,
    /// Its public key.
    pub key: String,
}

/// The file.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    cell: CellTable,
    node: Vec<NodeTable>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    agent: Vec<Agent>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct CellTable {
    name: String,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct NodeTable {
    name: String,
    host: String,
    port: u16,
    key: String,
}

const HEAD: &str = "\
# The nodes and agents of a cell, with their public keys. `atelier cluster` writes this file; what the brokers
# know is in the users.conf of each node.

";

impl Cell {
    /// What it was planned as.
    pub fn plan(&self) -> Plan {
        let nodes = self.nodes.iter().map(|member| member.node.clone()).collect();
        Plan { cell: self.name.clone(), nodes }
    }

    /// # Errors
    /// [`SetupError`]: a name, a host, a port, a key or a server is not allowed, or taken.
    pub(super) fn check(&self) -> Result<(), SetupError> {
        self.plan().check()?;
        for Member { node, key } in &self.nodes {
            keys::check(key, || format!("node \"{}\"", node.name))?;
        }
        Named::Agent.check_all(self.agents.iter().map(|agent| agent.name.as_str()))?;
        let mut owners = HashMap::new();
        for Agent { name, servers, key } in &self.agents {
            keys::check(key, || format!("agent \"{name}\""))?;
            if servers.is_empty() {
                return Err(SetupError::NoServers(name.clone()));
            }
            Named::Server.check_all(servers.iter().map(String::as_str))?;
            for server in servers {
                if let Some(owner) = owners.insert(server, name) {
                    return Err(SetupError::Owned {
                        server: server.clone(),
                        agent: name.clone(),
                        owner: owner.clone(),
                    });
                }
            }
        }
        Ok(())
    }

    /// # Errors
    /// [`SetupError::Line`] and [`SetupError::File`]
    pub(super) fn parse(file: &Path, text: &str) -> Result<Self, SetupError> {
        let read: File = toml::from_str(text).map_err(|error| {
            let before = &text[..error.span().map_or(0, |place| place.start)];
            SetupError::Line {
                file: file.into(),
                line: 1 + before.matches('\n').count(),
                problem: shown(error.message()),
            }
        })?;
        let member =
            |NodeTable { name, host, port, key }| Member { node: Node { name, host, port }, key };
        let nodes = read.node.into_iter().map(member).collect();
        let cell = Self { name: read.cell.name, nodes, agents: read.agent };
        let within = |problem| SetupError::File { file: file.into(), problem: Box::new(problem) };
        cell.check().map_err(within)?;
        Ok(cell)
    }

    /// The contents of the file.
    pub(super) fn text(&self) -> String {
        let table = |Member { node, key }: &Member| NodeTable {
            name: node.name.clone(),
            host: node.host.clone(),
            port: node.port,
            key: key.clone(),
        };
        let file = File {
            cell: CellTable { name: self.name.clone() },
            node: self.nodes.iter().map(table).collect(),
            agent: self.agents.clone(),
        };
        let tables = toml::to_string(&file).expect("strings and numbers can be written");
        format!("{HEAD}{tables}")
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// A cell of three nodes with an agent for each list of servers.
    pub(in super::super) fn cell(agents: &[(&str, &[&str])]) -> Cell {
        let key = || keys::new().unwrap().public;
        let nodes = ["n1=10.0.0.1", "n2=10.0.0.2:5000", "n3=[2001:db8::7]"];
        let nodes = nodes.map(|node| Member { node: node.parse().unwrap(), key: key() }).into();
        let agent = |(name, servers): &(&str, &[&str])| Agent {
            name: (*name).into(),
            servers: servers.iter().map(|&server| server.into()).collect(),
            key: key(),
        };
        Cell { name: "c".into(), nodes, agents: agents.iter().map(agent).collect() }
    }

    #[test]
    fn what_is_written_is_read() {
        for cell in [cell(&[]), cell(&[("a", &["s1", "s2"]), ("b", &["s3"])])] {
            assert_eq!(Cell::parse(Path::new("cell.toml"), &cell.text()).unwrap(), cell);
        }
    }

    #[test]
    fn servers_belong_to_one_agent() {
        let check = |agents: &[(&str, &[&str])], problem: &str| {
            assert_eq!(cell(agents).check().unwrap_err().to_string(), problem);
        };
        check(&[("a", &[])], "agent \"a\" has no servers: allowed is 1 or more");
        check(
            &[("a", &["s"]), ("b", &["t", "s"])],
            "server \"s\" of agent \"b\" is agent \"a\"'s: a server has one agent",
        );
        check(
            &[("a", &["s", "s"])],
            "server \"s\" is there twice: names must differ, and not in case alone",
        );
        check(
            &[("a", &["s"]), ("A", &["t"])],
            "agent \"A\" is there twice: names must differ, and not in case alone",
        );
        check(&[("a", &["s.>"])], "server \"s.>\": allowed are 1 to 64 of a-z, A-Z, 0-9, - and _");
    }

    #[test]
    fn what_is_not_allowed_is_named_with_its_place() {
        let good = cell(&[("a", &["s"])]);
        let check = |from: &str, to: &str, problem: &str| {
            let text = good.text();
            assert!(text.contains(from), "{from}");
            let text = text.replacen(from, to, 1);
            let error = Cell::parse(Path::new("f/cell.toml"), &text).unwrap_err().to_string();
            assert!(error.starts_with("f/cell.toml:") && error.contains(problem), "{error}");
        };
        check("name = \"c\"", "name = \"c\"\nsize = 1", "cell.toml:6: unknown field `size`");
        check("[[agent]]", "[[agents]]", "unknown field `agents`");
        check("port = 4222", "port = 65536", "invalid value");
        check("port = 4222", "port = 0", "the port is not in 1 to 61535");
        check("port = 4222", "host = \"x\"", "duplicate key");
        check(
            "host = \"10.0.0.1\"",
            "host = \"x\\\"\"",
            "the host is neither an address nor a name",
        );
        check("key = \"U", "key = \"A", "of node \"n1\": allowed is a public nkey");
        check("name = \"c\"", "name = \"c.d\"", "cell \"c.d\": allowed are 1 to 32");
        check("[cell]", "", "cell.toml:");
    }
}
