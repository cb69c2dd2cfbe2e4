//! Addresses that only machines of the same network reach. Whoever may have us call somebody must not reach through
//! us what he could not reach himself.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;

use reqwest::dns::{Addrs, Name, Resolve, Resolving};

/// Whether an address is not one of the public network.
pub(super) fn is_inner(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => is_inner_v4(address),
        IpAddr::V6(address) => is_inner_v6(address),
    }
}

/// By the registry of special addresses (RFC 6890 and its successors).
fn is_inner_v4(address: Ipv4Addr) -> bool {
    let [a, b, c, _] = address.octets();
    address.is_private()
        || address.is_loopback()
        || address.is_link_local()
        || address.is_multicast()
        || address.is_documentation()
        || a == 0
        || a >= 240
        || (a == 100 && (64..128).contains(&b))
        || (a == 192 && b == 0 && c == 0)
        || (a == 198 && (b == 18 || b == 19))
}

fn is_inner_v6(address: Ipv6Addr) -> bool {
    let segments = address.segments();
    let [a, b, ..] = segments;
    let embedded = |high: u16, low: u16| {
        let ([a, b], [c, d]) = (high.to_be_bytes(), low.to_be_bytes());
        is_inner_v4(Ipv4Addr::new(a, b, c, d))
    };
    if let Some(mapped) = address.to_ipv4_mapped() {
        return is_inner_v4(mapped);
    }
    match (a, b) {
        // Behind translators and tunnels: what counts is the address within.
        (0x64, 0xff9b) => segments[2] != 0 || embedded(segments[6], segments[7]),
        (0x2002, _) => embedded(segments[1], segments[2]),
        // Documentation, tunnels, benchmarks and other things that are no hosts.
        (0x2001, 0xdb8 | 0..0x200) => true,
        // Everything public lies in here.
        _ => a & 0xe000 != 0x2000,
    }
}

/// Finds the addresses of a name, without the inner ones: a name may lead anywhere, and elsewhere at the next
/// question.
pub(super) struct Public;

impl Resolve for Public {
    fn resolve(&self, name: Name) -> Resolving {
        Box::pin(async move {
            let found = tokio::net::lookup_host((name.as_str(), 0)).await?;
            let public: Vec<SocketAddr> = found.filter(|address| !is_inner(address.ip())).collect();
            if public.is_empty() {
                let problem = format!("{} leads to inner addresses alone", name.as_str());
                return Err(problem.into());
            }
            Ok(Box::new(public.into_iter()) as Addrs)
        })
    }
}

impl Public {
    pub(super) fn resolver() -> Arc<Self> {
        Arc::new(Self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_public_addresses_are_not_inner() {
        for inner in [
            "127.0.0.1",
            "10.1.2.3",
            "172.16.0.1",
            "172.31.255.255",
            "192.168.1.1",
            "169.254.169.254",
            "0.0.0.0",
            "100.64.0.1",
            "100.127.255.255",
            "192.0.0.8",
            "198.18.0.1",
            "224.0.0.1",
            "240.0.0.1",
            "255.255.255.255",
            "203.0.113.7",
            "::",
            "::1",
            "::ffff:127.0.0.1",
            "::ffff:10.0.0.1",
            "::7f00:1",
            "fe80::1",
            "fc00::1",
            "fd12:3456::1",
            "ff02::1",
            "64:ff9b::10.0.0.1",
            "64:ff9b:1::1",
            "2002:7f00:1::",
            "2002:a00:1::1",
            "2001:db8::1",
            "2001::1",
        ] {
            assert!(is_inner(inner.parse().unwrap()), "{inner}");
        }
        for public in [
            "8.8.8.8",
            "1.1.1.1",
            "172.32.0.1",
            "100.128.0.1",
            "198.20.0.1",
            "223.255.255.255",
            "2606:4700::1111",
            "2a00:1450:4001::1",
            "::ffff:8.8.8.8",
            "64:ff9b::8.8.8.8",
            "2002:808:808::1",
        ] {
            assert!(!is_inner(public.parse().unwrap()), "{public}");
        }
    }
}
