//! Address blocks.

use std::net::IpAddr;
use std::sync::Arc;

/// A set of networks, each an address and a prefix length. Clones share the set.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Networks(Arc<[(IpAddr, u8)]>);

impl Networks {
    /// Whether an address is in one of the networks; an IPv4-mapped address counts as IPv4.
    pub fn contain(&self, ip: IpAddr) -> bool {
        let ip = ip.to_canonical();
        self.0.iter().any(|(net, prefix)| contains(*net, *prefix, ip))
    }
}

impl FromIterator<(IpAddr, u8)> for Networks {
    fn from_iter<T: IntoIterator<Item = (IpAddr, u8)>>(networks: T) -> Self {
        Networks(networks.into_iter().collect())
    }
}

/// Whether an address is in the network `net`/`prefix`.
pub fn contains(net: IpAddr, prefix: u8, ip: IpAddr) -> bool {
    let same = |a: &[u8], b: &[u8]| {
        let bits = usize::from(prefix).min(a.len() * 8);
        let (whole, rest) = (bits / 8, bits % 8);
        let mask = |byte: u8| byte & !(0xffu16 >> rest) as u8;
        let tail = rest == 0 || a.get(whole).copied().map(mask) == b.get(whole).copied().map(mask);
        a.get(..whole) == b.get(..whole) && tail
    };
    match (net, ip.to_canonical()) {
        (IpAddr::V4(net), IpAddr::V4(ip)) => same(&net.octets(), &ip.octets()),
        (IpAddr::V6(net), IpAddr::V6(ip)) => same(&net.octets(), &ip.octets()),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_in_a_block_by_its_first_bits() {
        let block = |net: &str, prefix| (net.parse().unwrap(), prefix);
        let networks: Networks =
            [block("10.128.0.0", 9), block("192.0.2.7", 32), block("2001:db8::", 33)].into_iter().collect();
        for (ip, there) in [
            ("10.128.0.1", true),
            ("10.255.255.255", true),
            ("::ffff:10.128.0.1", true),
            ("10.127.255.255", false),
            ("192.0.2.7", true),
            ("192.0.2.6", false),
            ("2001:db8:7fff::1", true),
            ("2001:db8:8000::1", false),
        ] {
            assert_eq!(networks.contain(ip.parse().unwrap()), there, "{ip}");
        }
        assert!(!Networks::default().contain("10.128.0.1".parse().unwrap()));
    }
}
