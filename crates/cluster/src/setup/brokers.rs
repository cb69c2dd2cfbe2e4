//! What the brokers read: `nats.conf`, one for each node, and `users.conf`, the same for all.

use std::fmt::Write as _;

use super::cell::{Agent, Cell};
use super::plan::{Node, Plan};

/// The `nats.conf` of a node.
pub(super) fn configuration(plan: &Plan, node: &Node) -> String {
    let Plan { cell, nodes } = plan;
    let name = &node.name;
    let clients = node.binds(node.port);
    let advertised = node.at(node.port);
    let monitor = node.binds(node.monitor_port());
    let others: Vec<&Node> = nodes.iter().filter(|other| other.name != *name).collect();
    let cluster = if others.is_empty() { String::new() } else { cluster(cell, node, &others) };
    format!(
        r#"# The broker of node {name} in cell {cell}, for nats-server 2.12 and later. It looks for its files where it is
# started, so start it here:
#     nats-server -c nats.conf
# After a change of users.conf:
#     nats-server --signal reload=nats.pid

server_name: "{name}"
listen: "{clients}"
client_advertise: "{advertised}"
pid_file: "nats.pid"

# Tells everybody who asks how the broker is, without a key: let only the nodes of the cell reach this port.
http: "{monitor}"

tls {{
  cert_file: "server.pem"
  key_file: "server.key"
  ca_file: "ca.pem"
  timeout: 5
}}

max_payload: 8MB
write_deadline: "10s"
lame_duck_duration: "30s"
lame_duck_grace_period: "2s"

# What is acknowledged is on the disk: without `always`, a power loss takes acknowledged requests with it.
jetstream {{
  store_dir: "jetstream"
  sync_interval: always
}}
{cluster}
include "users.conf"
"#
    )
}

fn cluster(cell: &str, node: &Node, others: &[&Node]) -> String {
    let listens = node.binds(node.route_port());
    let advertised = node.at(node.route_port());
    let mut routes = String::new();
    for other in others {
        let _ = write!(routes, "\n    \"tls://{}\"", other.at(other.route_port()));
    }
    format!(
        r#"
# The brokers of a cell know one another by their certificates.
cluster {{
  name: "{cell}"
  listen: "{listens}"
  advertise: "{advertised}"
  routes: [{routes}
  ]
  tls {{
    cert_file: "server.pem"
    key_file: "server.key"
    ca_file: "ca.pem"
    verify: true
    timeout: 5
  }}
}}
"#
    )
}

/// The `users.conf` of all nodes. Whoever is not in it is refused.
pub(super) fn users(cell: &Cell) -> String {
    let name = &cell.name;
    let mut users = String::new();
    for member in &cell.nodes {
        let everything = [
            format!("at.{name}.>"),
            "$JS.API.>".into(),
            "$JS.ACK.>".into(),
            "$JS.FC.>".into(),
            "$KV.>".into(),
            "$O.>".into(),
            "_INBOX.>".into(),
        ];
        let who = format!("node {}", member.node.name);
        user(&mut users, &who, &member.key, &everything, &everything, "");
    }
    for Agent { name: agent, servers, key } in &cell.agents {
        let own = |way: &str| -> Vec<String> {
            servers.iter().map(|server| format!("at.{name}.{way}.{server}.>")).collect()
        };
        let answers = "\n        allow_responses: { max: 100000, expires: \"60s\" }";
        user(&mut users, &format!("agent {agent}"), key, &own("up"), &own("down"), answers);
    }
    format!(
        r"# Who may do what at the brokers of cell {name}. `atelier cluster` writes this file, the same for every node.
# A node may do what the cell does. An agent may speak for its own servers, and answer what it is asked.

accounts {{
  ATELIER {{
    jetstream: enabled
    users: [{users}
    ]
  }}
  # The brokers' own. It has no users.
  SYS {{}}
}}
system_account: SYS
"
    )
}

fn user(
    to: &mut String,
    who: &str,
    key: &str,
    publish: &[String],
    subscribe: &[String],
    more: &str,
) {
    let list = |subjects: &[String]| {
        let quoted: Vec<_> = subjects.iter().map(|subject| format!("\"{subject}\"")).collect();
        quoted.join(", ")
    };
    let (publish, subscribe) = (list(publish), list(subscribe));
    let _ = write!(
        to,
        r#"
      # {who}
      {{ nkey: "{key}", permissions: {{
        publish: {{ allow: [{publish}] }}
        subscribe: {{ allow: [{subscribe}] }}{more}
      }} }}"#
    );
}

#[cfg(test)]
mod tests {
    use super::super::cell::tests::cell;
    use super::*;

    #[test]
    fn users_have_their_own_subjects_and_nothing_more() {
        let cell = cell(&[("a", &["s1", "s2"]), ("b", &["s3"])]);
        let text = users(&cell);
        assert_eq!(text.matches("nkey:").count(), 5);
        assert_eq!(text.matches("permissions:").count(), 5);
        let block = |key: &str| {
            let from = text.split_once(key).expect("every key is there").1;
            from.split_once("} }\n").unwrap().0.to_owned()
        };
        for member in &cell.nodes {
            let subjects =
                r#"["at.c.>", "$JS.API.>", "$JS.ACK.>", "$JS.FC.>", "$KV.>", "$O.>", "_INBOX.>"]"#;
            let block = block(&member.key);
            assert!(block.contains(&format!("publish: {{ allow: {subjects} }}")), "{block}");
            assert!(block.contains(&format!("subscribe: {{ allow: {subjects} }}")), "{block}");
            assert!(!block.contains("allow_responses"));
        }
        let check = |agent: usize, publish: &str, subscribe: &str| {
            let block = block(&cell.agents[agent].key);
            assert!(block.contains(&format!("publish: {{ allow: [{publish}] }}")), "{block}");
            assert!(block.contains(&format!("subscribe: {{ allow: [{subscribe}] }}")), "{block}");
            assert!(block.contains("allow_responses: {"), "{block}");
        };
        check(0, r#""at.c.up.s1.>", "at.c.up.s2.>""#, r#""at.c.down.s1.>", "at.c.down.s2.>""#);
        check(1, r#""at.c.up.s3.>""#, r#""at.c.down.s3.>""#);
        assert!(text.contains("SYS {}") && !text.contains("no_auth_user"));
    }

    #[test]
    fn brokers_know_where_the_others_are() {
        let plan = cell(&[]).plan();
        let check = |node: usize, holds: &[&str], lacks: &[&str]| {
            let text = configuration(&plan, &plan.nodes[node]);
            assert!(holds.iter().all(|part| text.contains(part)), "{holds:?} in {text}");
            assert!(!lacks.iter().any(|part| text.contains(part)), "{lacks:?} in {text}");
        };
        let routes =
            ["\"tls://10.0.0.1:6222\"", "\"tls://10.0.0.2:7000\"", "\"tls://[2001:db8::7]:6222\""];
        check(0, &routes[1..], &routes[..1]);
        check(2, &routes[..2], &routes[2..]);
        check(
            1,
            &["server_name: \"n2\"", "listen: \"0.0.0.0:5000\"", "http: \"0.0.0.0:9000\""],
            &[],
        );
        check(1, &["client_advertise: \"10.0.0.2:5000\"", "  advertise: \"10.0.0.2:7000\""], &[]);
        check(1, &["sync_interval: always", "max_payload: 8MB", "include \"users.conf\""], &[]);
    }

    #[test]
    fn a_single_broker_has_no_cluster() {
        let plan = Plan { cell: "c".into(), nodes: vec!["n1=localhost".parse().unwrap()] };
        let text = configuration(&plan, &plan.nodes[0]);
        assert!(
            !text.contains("cluster {") && text.contains("listen: \"127.0.0.1:4222\""),
            "{text}"
        );
    }
}
