//! What a new cell shall be: its name and its nodes.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

use super::error::SetupError;
use super::names::Named;

/// Where brokers listen for clients unless told otherwise.
pub const CLIENT_PORT: u16 = 4222;
/// Added to the port for clients: where brokers listen for one another.
const TO_ROUTES: u16 = 2000;
/// Added to the port for clients: where a broker tells how it is.
const TO_MONITOR: u16 = 4000;
/// The highest port for clients.
const HIGHEST: u16 = u16::MAX - TO_MONITOR;

/// A cell that is to be set up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plan {
    /// Its name.
    pub cell: String,
    /// 1, 3 or 5 nodes. Each runs a broker, and `atelier serve`.
    pub nodes: Vec<Node>,
}

/// A machine of a cell. Read from `n1=10.0.0.1` or `n1=10.0.0.1:4222`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Node {
    /// Its name, and that of its folder.
    pub name: String,
    /// How the other nodes and all agents reach it: a name or an address, without brackets.
    pub host: String,
    /// Where its broker listens for clients. It also takes the ports 2000 (other brokers) and 4000
    /// (monitor) above.
    pub port: u16,
}

impl Plan {
    /// # Errors
    /// [`SetupError`]: a name, a host or a port is not allowed, or as many nodes are not.
    pub(super) fn check(&self) -> Result<(), SetupError> {
        Named::Cell.check(&self.cell)?;
        if !matches!(self.nodes.len(), 1 | 3 | 5) {
            return Err(SetupError::Nodes(self.nodes.len()));
        }
        Named::Node.check_all(self.nodes.iter().map(|node| node.name.as_str()))?;
        self.nodes.iter().try_for_each(Node::check)?;
        for (position, node) in self.nodes.iter().enumerate() {
            for other in &self.nodes[..position] {
                if let Some(port) = node.port_in_common(other) {
                    return Err(SetupError::Port {
                        node: node.name.clone(),
                        other: other.name.clone(),
                        port,
                        host: node.host.clone(),
                    });
                }
            }
        }
        Ok(())
    }

    /// Where clients find the brokers.
    pub(crate) fn brokers(&self) -> Vec<String> {
        self.nodes.iter().map(|node| format!("tls://{}", node.at(node.port))).collect()
    }

    /// Where the brokers tell how they are.
    pub(crate) fn monitors(&self) -> Vec<String> {
        self.nodes.iter().map(|node| format!("http://{}", node.at(node.monitor_port()))).collect()
    }
}

impl Node {
    /// # Errors
    /// [`SetupError::Name`] and [`SetupError::Node`]
    fn check(&self) -> Result<(), SetupError> {
        Named::Node.check(&self.name)?;
        let wrong = |problem| Err(SetupError::Node { node: self.to_string(), problem });
        if let Ok(address) = self.host.parse::<IpAddr>() {
            if address.is_unspecified() || address.is_multicast() {
                return wrong("nobody can reach this address");
            }
        } else if !is_name(&self.host) {
            return wrong("the host is neither an address nor a name");
        }
        if !(1..=HIGHEST).contains(&self.port) {
            return wrong("the port is not in 1 to 61535");
        }
        Ok(())
    }

    /// Where the broker listens for others.
    pub(super) fn route_port(&self) -> u16 {
        self.port + TO_ROUTES
    }

    /// Where the broker tells how it is.
    pub(super) fn monitor_port(&self) -> u16 {
        self.port + TO_MONITOR
    }

    /// Host and port as addresses have them.
    pub(super) fn at(&self, port: u16) -> String {
        at(&self.host, port)
    }

    /// What the broker binds for a port: all there is, or the machine alone if it is reached so.
    pub(super) fn binds(&self, port: u16) -> String {
        at(self.loopback().as_deref().unwrap_or("0.0.0.0"), port)
    }

    /// The address, if only the machine itself reaches it.
    fn loopback(&self) -> Option<String> {
        if self.host.eq_ignore_ascii_case("localhost") {
            return Some("127.0.0.1".into());
        }
        let address: IpAddr = self.host.parse().ok()?;
        address.is_loopback().then(|| address.to_string())
    }

    fn port_in_common(&self, other: &Self) -> Option<u16> {
        let ports = |node: &Self| [node.port, node.route_port(), node.monitor_port()];
        let host = |node: &Self| node.loopback().unwrap_or(node.host.to_ascii_lowercase());
        let theirs = ports(other);
        let common = ports(self).into_iter().find(|port| theirs.contains(port));
        common.filter(|_| host(self) == host(other))
    }
}

impl fmt::Display for Node {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}={}", self.name, self.at(self.port))
    }
}

impl FromStr for Node {
    type Err = SetupError;

    fn from_str(text: &str) -> Result<Self, SetupError> {
        let wrong = |problem| SetupError::Node { node: text.into(), problem };
        let (name, place) = text.split_once('=').ok_or_else(|| wrong("it has no ="))?;
        let (host, port) = if let Some(rest) = place.strip_prefix('[') {
            let (host, port) = rest.split_once(']').ok_or_else(|| wrong("it has no ]"))?;
            if host.parse::<std::net::Ipv6Addr>().is_err() {
                return Err(wrong("in [ ] is no IPv6 address"));
            }
            match port.strip_prefix(':') {
                None if !port.is_empty() => return Err(wrong("what follows ] is no port")),
                port => (host, port),
            }
        } else {
            match place.split_once(':') {
                Some((_, port)) if port.contains(':') => {
                    return Err(wrong("an IPv6 address needs [ ]"));
                }
                Some((host, port)) => (host, Some(port)),
                None => (place, None),
            }
        };
        let port = match port {
            None => CLIENT_PORT,
            Some(port) => port.parse().map_err(|_| wrong("the port is not in 1 to 61535"))?,
        };
        let node = Self { name: name.into(), host: host.into(), port };
        node.check()?;
        Ok(node)
    }
}

fn at(host: &str, port: u16) -> String {
    if host.contains(':') { format!("[{host}]:{port}") } else { format!("{host}:{port}") }
}

/// Whether a text may be the name of a host. The last label of a name is no number.
fn is_name(text: &str) -> bool {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
    let label = |label: &str| {
        (1..=63).contains(&label.len())
            && label.bytes().all(allowed)
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    let number = |label: &str| label.bytes().all(|byte| byte.is_ascii_digit());
    text.len() <= 253 && text.split('.').all(label) && !text.rsplit('.').next().is_some_and(number)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nodes_are_read_from_text() {
        let check = |text: &str, name: &str, host: &str, port: u16| {
            let node: Node = text.parse().unwrap();
            assert_eq!(node, Node { name: name.into(), host: host.into(), port });
            assert_eq!(node.to_string().parse::<Node>().unwrap(), node);
        };
        check("n1=10.0.0.1", "n1", "10.0.0.1", 4222);
        check("n1=10.0.0.1:5000", "n1", "10.0.0.1", 5000);
        check("a_b=broker-1.example.org", "a_b", "broker-1.example.org", 4222);
        check("a=localhost:1", "a", "localhost", 1);
        check("a=[::1]", "a", "::1", 4222);
        check("a=[2001:db8::7]:61535", "a", "2001:db8::7", 61535);
    }

    #[test]
    fn other_texts_are_refused() {
        let check = |text: &str, problem: &str| {
            let error = text.parse::<Node>().unwrap_err().to_string();
            assert!(error.contains(problem), "{text:?}: {error}");
        };
        check("", "it has no =");
        check("n1", "it has no =");
        check("=10.0.0.1", "allowed are 1 to 64 of");
        check("n.1=10.0.0.1", "allowed are 1 to 64 of");
        for host in ["", "10.0.0", "10.0.0.256", "a b", "a\"", "-a", "a-", "a..b", "a.", "a/b", "ä"]
        {
            check(&format!("n1={host}"), "the host is neither an address nor a name");
        }
        for host in ["0.0.0.0", "[::]", "224.0.0.1"] {
            check(&format!("n1={host}"), "nobody can reach this address");
        }
        for port in ["", "0", "61536", "65536", "-1", "x"] {
            check(&format!("n1=10.0.0.1:{port}"), "the port is not in 1 to 61535");
        }
        check("n1=::1", "an IPv6 address needs [ ]");
        check("n1=[::1", "it has no ]");
        check("n1=[::1]4222", "what follows ] is no port");
        check("n1=[localhost]", "in [ ] is no IPv6 address");
        let error = "n1=10.0.0.1:x".parse::<Node>().unwrap_err().to_string();
        assert_eq!(
            error,
            "node \"n1=10.0.0.1:x\": the port is not in 1 to 61535: \
             allowed is NAME=HOST or NAME=HOST:PORT, as n1=10.0.0.1, n1=[::1]:4222"
        );
    }

    #[test]
    fn plans_have_one_three_or_five_nodes_that_differ() {
        let check = |nodes: &[&str], problem: &str| {
            let nodes = nodes.iter().map(|node| node.parse().unwrap()).collect();
            let problems = Plan { cell: "c".into(), nodes }.check().err();
            let problems = problems.map(|error| error.to_string()).unwrap_or_default();
            assert!(
                problems.contains(problem) && problem.is_empty() == problems.is_empty(),
                "{problems}"
            );
        };
        let nodes = ["a=1.0.0.1", "b=1.0.0.2", "c=1.0.0.3", "d=1.0.0.4", "e=1.0.0.5", "f=1.0.0.6"];
        for count in 0..=6 {
            let problem =
                if matches!(count, 1 | 3 | 5) { "" } else { "two brokers are no redundancy" };
            check(&nodes[..count], problem);
        }
        check(&["a=1.0.0.1", "b=1.0.0.2", "A=1.0.0.3"], "node \"A\" is there twice");
        check(&["a=h", "b=h:4223", "c=h:4224"], "");
        check(&["a=h", "b=H", "c=i"], "node \"b\" and node \"a\" both take port 4222 of H");
        check(&["a=h", "b=h:6222", "c=i"], "both take port 6222");
        check(&["a=localhost", "b=127.0.0.1:8222", "c=i"], "both take port 8222");
    }

    #[test]
    fn brokers_bind_the_machine_alone_where_it_is_reached_so() {
        let check = |node: &str, binds: &str| {
            let node: Node = node.parse().unwrap();
            assert_eq!(node.binds(node.port), binds);
        };
        check("a=10.0.0.1", "0.0.0.0:4222");
        check("a=broker.example", "0.0.0.0:4222");
        check("a=[2001:db8::7]", "0.0.0.0:4222");
        check("a=127.0.0.1", "127.0.0.1:4222");
        check("a=localhost", "127.0.0.1:4222");
        check("a=[::1]:5000", "[::1]:5000");
    }
}
