//! Configurations to start from: `atelier.toml` for `atelier serve`, `agent.toml` for `atelier agent`.

use std::fmt::Write as _;
use std::path::Path;
use std::time::Duration;

use super::cell::Cell;
use super::plan::{Node, Plan};
use crate::error::ClusterError;

/// The `atelier.toml` of a node.
pub(super) fn node(plan: &Plan, node: &Node) -> String {
    let Plan { cell, nodes } = plan;
    let name = &node.name;
    let brokers = list(&plan.brokers());
    let monitors = list(&plan.monitors());
    let replicas = nodes.len();
    format!(
        r#"# Node {name} of cell {cell}. Files are looked for beside this one:
#     atelier serve --config atelier.toml
listen = "127.0.0.1:8420"
journal = "atelier.db"

[cluster]
nats = {brokers}
cell = "{cell}"
name = "{name}"
# "gateway" answers clients, "scheduler" decides, "both" does either.
role = "both"
# How many brokers keep each record.
replicas = {replicas}
# How long the others wait for a scheduler that fell silent.
lease_seconds = 3.0
nkey_file = "node.nk"
ca_file = "ca.pem"
# Where the brokers tell how they are.
monitor = {monitors}

# The servers of the agents, the same on every node. Their names are those in the agent.toml:
#
# [[server]]
# name = "s1"
# steps_per_second = 10.0
# backend = {{ kind = "agent" }}
#
# Who may send requests:
#
# [[key]]
# name = "studio"
# sha256 = "…"
"#
    )
}

/// The `lease_seconds` in the `atelier.toml` of a node.
///
/// # Errors
/// [`ClusterError::File`] if it cannot be read.
pub(crate) fn lease_seconds(file: &Path) -> Result<Duration, ClusterError> {
    let refuse = |problem: String| ClusterError::File { file: file.into(), problem };
    let text = std::fs::read_to_string(file).map_err(|error| refuse(error.to_string()))?;
    let table: toml::Table =
        text.parse().map_err(|error: toml::de::Error| refuse(error.message().into()))?;
    let lease = table.get("cluster").and_then(|cluster| cluster.get("lease_seconds"));
    let seconds = match lease {
        None => Some(3.0),
        Some(value) => value.as_float().or(value.as_integer().map(|whole| whole as f64)),
    };
    let seconds = seconds.filter(|seconds| (1.0..=60.0).contains(seconds));
    let allowed = || refuse("`cluster.lease_seconds`: allowed is 1 to 60".into());
    seconds.map(Duration::from_secs_f64).ok_or_else(allowed)
}

/// The `agent.toml` of an agent.
pub(super) fn agent(cell: &Cell, name: &str, servers: &[String]) -> String {
    let brokers = list(&cell.plan().brokers());
    let cell = &cell.name;
    let mut text = format!(
        r#"# Agent {name} of cell {cell}. Files are looked for beside this one:
#     atelier agent --config agent.toml
name = "{name}"
state = "agent.db"

[cluster]
nats = {brokers}
cell = "{cell}"
nkey_file = "agent.nk"
ca_file = "ca.pem"
"#
    );
    for (position, server) in servers.iter().enumerate() {
        let _ = write!(text, "\n[[server]]\nname = \"{server}\"\nsteps_per_second = 10.0\n");
        if position == 0 {
            text.push_str(
                r#"# "demo" paints without a GPU. For a ComfyUI beside the agent:
# backend = { kind = "comfyui", url = "http://127.0.0.1:8188", workflow = "workflow.json", inputs = { prompt = "6.text", seed = "3.seed", steps = "3.steps" } }
"#,
            );
        }
        text.push_str("backend = { kind = \"demo\" }\n");
    }
    text
}

fn list(values: &[String]) -> String {
    let quoted: Vec<_> = values.iter().map(|value| format!("\"{value}\"")).collect();
    format!("[{}]", quoted.join(", "))
}

#[cfg(test)]
mod tests {
    use toml::{Table, Value};

    use super::super::cell::tests::cell;
    use super::*;

    #[test]
    fn a_node_knows_all_brokers_and_itself() {
        let plan = cell(&[]).plan();
        let table: Table = node(&plan, &plan.nodes[1]).parse().unwrap();
        assert_eq!(table["listen"].as_str(), Some("127.0.0.1:8420"));
        let expected = r#"
            nats = ["tls://10.0.0.1:4222", "tls://10.0.0.2:5000", "tls://[2001:db8::7]:4222"]
            cell = "c"
            name = "n2"
            role = "both"
            replicas = 3
            lease_seconds = 3.0
            nkey_file = "node.nk"
            ca_file = "ca.pem"
            monitor = ["http://10.0.0.1:8222", "http://10.0.0.2:9000", "http://[2001:db8::7]:8222"]
        "#;
        assert_eq!(table["cluster"], Value::Table(expected.parse().unwrap()));
    }

    #[test]
    fn an_agent_knows_all_brokers_and_its_servers() {
        let cell = cell(&[("a", &["s1", "s2"])]);
        let table: Table = agent(&cell, "a", &cell.agents[0].servers).parse().unwrap();
        assert_eq!(table["name"].as_str(), Some("a"));
        assert_eq!(table["state"].as_str(), Some("agent.db"));
        assert_eq!(table["cluster"]["nats"].as_array().unwrap().len(), 3);
        let servers = table["server"].as_array().unwrap();
        assert_eq!(
            servers.iter().map(|s| s["name"].as_str().unwrap()).collect::<Vec<_>>(),
            ["s1", "s2"]
        );
        assert!(servers.iter().all(|s| s["backend"]["kind"].as_str() == Some("demo")));
    }
}
