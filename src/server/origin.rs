//! Who a request comes from, as far as its address and its password tell. Pure.

use std::net::IpAddr;
use std::sync::Arc;

use ipnet::{IpNet, Ipv6Net};

use crate::config::{ServerConfig, TRUSTED_CLASS};

/// Who a request was found to come from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Origin<'a> {
    /// A user who gave a password; the user's name, not an alias.
    User(&'a str),
    /// A gateway, by its access list.
    Gateway(&'a str),
    /// A trusted address.
    Trusted,
    /// Nobody who is known: to be asked for a password.
    Unknown,
}

/// The address lists of a configuration, ready to be asked.
#[derive(Debug, Clone)]
pub struct Origins {
    /// The narrowest blocks first.
    gateways: Vec<(IpNet, Arc<str>, Arc<str>)>,
    trusted: Vec<IpNet>,
    /// Edge proxies of ours.
    proxies: Vec<IpNet>,
}

impl Origins {
    /// The lists of this configuration.
    pub fn new(config: &ServerConfig) -> Self {
        let mut gateways: Vec<_> = config
            .gateways
            .iter()
            .flat_map(|gateway| {
                let (name, class): (Arc<str>, Arc<str>) =
                    (gateway.name.as_str().into(), gateway.class.as_str().into());
                gateway.sources.iter().map(move |net| (*net, name.clone(), class.clone()))
            })
            .collect();
        gateways.sort_by_key(|(net, ..)| std::cmp::Reverse(net.prefix_len()));
        let (trusted, proxies) = (config.server.trusted.clone(), config.registrar.proxies.clone());
        Origins { gateways, trusted, proxies }
    }

    /// Who sends from this address, and the class of such callers. A gateway's list
    /// comes before the trusted one, a narrow block before a wide one.
    pub fn of(&self, address: IpAddr) -> (Origin<'_>, Option<&str>) {
        // an IPv4 peer on an IPv6 socket
        let address = address.to_canonical();
        if let Some((_, name, class)) = self.gateways.iter().find(|(net, ..)| net.contains(&address)) {
            return (Origin::Gateway(name), Some(class));
        }
        match self.trusted.iter().any(|net| net.contains(&address)) {
            true => (Origin::Trusted, Some(TRUSTED_CLASS)),
            false => (Origin::Unknown, None),
        }
    }

    /// Whether an edge proxy of ours sends from this address.
    pub fn is_proxy(&self, address: IpAddr) -> bool {
        let address = address.to_canonical();
        self.proxies.iter().any(|net| net.contains(&address))
    }

    /// The first and last address of every block that is named.
    pub fn blocks(&self) -> Vec<(IpAddr, IpAddr)> {
        let blocks = self.gateways.iter().map(|(net, ..)| net).chain(&self.trusted).chain(&self.proxies);
        blocks.map(|net| (net.network(), net.broadcast())).collect()
    }

    /// Whether a gateway, somebody trusted or an edge proxy of ours sends from this address,
    /// or from its IPv6 /64.
    pub fn knows_some(&self, address: IpAddr) -> bool {
        let network = network(address);
        let blocks = self.gateways.iter().map(|(net, ..)| net).chain(&self.trusted).chain(&self.proxies);
        blocks.into_iter().any(|net| net.contains(&network) || network.contains(net))
    }
}

/// What is banned together: an address, or an IPv6 /64.
fn network(source: IpAddr) -> IpNet {
    match source.to_canonical() {
        IpAddr::V6(v6) => IpNet::V6(Ipv6Net::new_assert(v6, 64).trunc()),
        v4 => IpNet::from(v4),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::parse_alone;

    #[test]
    fn gateways_come_before_trust_and_narrow_blocks_before_wide_ones() {
        let config = parse_alone(
            "[server]\ntrusted = [\"10.0.0.0/8\", \"::1\"]\n[registrar]\nproxies = [\"192.0.2.5\"]\n\
             [[gateway]]\nname = \"wide\"\nhosts = [\"a\"]\nsources = [\"10.1.0.0/16\"]\n\
             [[gateway]]\nname = \"narrow\"\nhosts = [\"b\"]\nsources = [\"10.1.2.3\"]\nclass = \"peer\"\n",
        )
        .unwrap();
        let origins = Origins::new(&config);
        let of = |address: &str| origins.of(address.parse().unwrap());
        assert_eq!(of("10.1.2.3"), (Origin::Gateway("narrow"), Some("peer")));
        assert_eq!(of("10.1.2.4"), (Origin::Gateway("wide"), Some("external")));
        assert_eq!(of("::ffff:10.1.2.4"), (Origin::Gateway("wide"), Some("external")));
        assert_eq!(of("10.9.9.9"), (Origin::Trusted, Some("trusted")));
        assert_eq!(of("::1"), (Origin::Trusted, Some("trusted")));
        assert_eq!(of("192.0.2.1"), (Origin::Unknown, None));
        let is_proxy = |address: &str| origins.is_proxy(address.parse().unwrap());
        assert!(is_proxy("192.0.2.5") && is_proxy("::ffff:192.0.2.5") && !is_proxy("192.0.2.1"));
        let knows = |address: &str| origins.knows_some(address.parse().unwrap());
        assert!(knows("10.1.2.4") && knows("10.9.9.9") && knows("::ffff:10.9.9.9") && knows("::2"));
        assert!(knows("192.0.2.5"));
        assert!(!knows("192.0.2.1") && !knows("0:0:0:1::1"));
    }
}
