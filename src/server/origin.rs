//! The origin of a request, by its address and password. Pure.

use std::net::IpAddr;
use std::sync::Arc;

use ipnet::{IpNet, Ipv6Net};

use crate::config::{ServerConfig, TRUSTED_CLASS};

/// The origin of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Origin<'a> {
    /// An authenticated user; the user's name, not an alias.
    User(&'a str),
    /// A gateway, by its access list.
    Gateway(&'a str),
    /// A trusted address.
    Trusted,
    /// An unknown party, which has to authenticate.
    Unknown,
}

/// The address lists of a configuration, ready for lookups.
#[derive(Debug, Clone)]
pub struct Origins {
    /// The narrowest blocks first.
    gateways: Vec<Source>,
    trusted: Vec<IpNet>,
    /// Edge proxies of ours.
    proxies: Vec<IpNet>,
}

/// An address block of a gateway.
#[derive(Debug, Clone)]
struct Source {
    net: IpNet,
    name: Arc<str>,
    class: Arc<str>,
    /// The only listener for which it counts; `None`: every listener.
    listener: Option<Arc<str>>,
}

impl Origins {
    /// The lists of this configuration.
    pub fn new(config: &ServerConfig) -> Self {
        let mut gateways: Vec<_> = config
            .gateways
            .iter()
            .flat_map(|gateway| {
                let source = |net: &IpNet| Source {
                    net: *net,
                    name: gateway.name.as_str().into(),
                    class: gateway.class.as_str().into(),
                    listener: gateway.listener.as_deref().map(Into::into),
                };
                gateway.sources.iter().map(source).collect::<Vec<_>>()
            })
            .collect();
        gateways.sort_by_key(|it| std::cmp::Reverse(it.net.prefix_len()));
        let (trusted, proxies) = (config.server.trusted.clone(), config.registrar.proxies.clone());
        Origins { gateways, trusted, proxies }
    }

    /// The party that sends from this address, at any listener, and the class of its calls. Gateways' lists
    /// come before the trusted one, a narrow block before a wide one.
    pub fn of(&self, address: IpAddr) -> (Origin<'_>, Option<&str>) {
        // an IPv4 peer on an IPv6 socket
        let address = address.to_canonical();
        let mut everywhere = self.gateways.iter().filter(|it| it.listener.is_none());
        if let Some(it) = everywhere.find(|it| it.net.contains(&address)) {
            return (Origin::Gateway(&it.name), Some(&it.class));
        }
        match self.trusted.iter().any(|net| net.contains(&address)) {
            true => (Origin::Trusted, Some(TRUSTED_CLASS)),
            false => (Origin::Unknown, None),
        }
    }

    /// The gateway that sends from this address to this listener, where its block is limited to that listener.
    pub fn at(&self, listener: Option<&str>, address: IpAddr) -> Option<&Arc<str>> {
        let listener = listener?;
        let address = address.to_canonical();
        let mut here =
            self.gateways.iter().filter(|it| it.listener.as_deref().is_none_or(|its| its == listener));
        let found = here.find(|it| it.net.contains(&address))?;
        found.listener.is_some().then_some(&found.name)
    }

    /// The gateway that has this address among its `sources`, at whatever listener.
    pub fn gateway_with(&self, address: IpAddr) -> Option<(&str, &str)> {
        let address = address.to_canonical();
        let found = self.gateways.iter().find(|it| it.net.contains(&address))?;
        Some((&found.name, &found.class))
    }

    /// Whether an edge proxy of ours sends from this address.
    pub fn is_proxy(&self, address: IpAddr) -> bool {
        let address = address.to_canonical();
        self.proxies.iter().any(|net| net.contains(&address))
    }

    /// The first and last address of every configured block.
    pub fn blocks(&self) -> Vec<(IpAddr, IpAddr)> {
        let blocks = self.gateways.iter().map(|it| &it.net).chain(&self.trusted).chain(&self.proxies);
        blocks.map(|net| (net.network(), net.broadcast())).collect()
    }

    /// Whether a gateway, a trusted party or an edge proxy of ours sends from this address, or from its IPv6
    /// /64.
    pub fn knows_some(&self, address: IpAddr) -> bool {
        let network = network(address);
        let blocks = self.gateways.iter().map(|it| &it.net).chain(&self.trusted).chain(&self.proxies);
        blocks.into_iter().any(|net| net.contains(&network) || network.contains(net))
    }
}

/// The unit of a ban: an address, or an IPv6 /64.
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
