//! The source of a request, for everything that counts by source: the remote end of its connection, or,
//! behind web proxies of ours (`http.trusted_proxies`), the address that they have added to
//! `X-Forwarded-For`. Pure.

use std::net::{IpAddr, SocketAddr};

use axum::http::{HeaderMap, HeaderName};
use ipnet::IpNet;

/// The source of a request, among its extensions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Source(pub IpAddr);

const FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");

/// The source of a request. Each proxy appends to the list that it received, so the list is read from its
/// end, as long as the entries come from trusted proxies.
pub fn of(peer: IpAddr, headers: &HeaderMap, trusted: &[IpNet]) -> IpAddr {
    let mut source = peer.to_canonical();
    let lists = headers.get_all(FORWARDED_FOR).iter().map(|value| value.to_str().unwrap_or_default());
    let written: Vec<&str> = lists.flat_map(|list| list.split(',')).collect();
    for text in written.iter().rev() {
        if !trusted.iter().any(|net| net.contains(&source)) {
            break;
        }
        let Some(before) = address(text.trim()) else { break };
        source = before.to_canonical();
    }
    source
}

/// Some proxies append a port to the address.
fn address(text: &str) -> Option<IpAddr> {
    let bare = text.trim_start_matches('[').trim_end_matches(']');
    bare.parse().ok().or_else(|| text.parse::<SocketAddr>().ok().map(|at| at.ip()))
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;

    use super::*;

    fn source(peer: &str, lists: &[&'static str]) -> String {
        let headers = lists.iter().map(|list| (FORWARDED_FOR, HeaderValue::from_static(list)));
        let trusted = ["192.0.2.5/32", "192.0.2.6/32"].map(|net| net.parse().unwrap());
        of(peer.parse().unwrap(), &headers.collect(), &trusted).to_string()
    }

    #[test]
    fn what_trusted_proxies_saw_counts_and_what_anybody_else_writes_does_not() {
        for (peer, lists, expected) in [
            ("192.0.2.5", &["198.51.100.7"][..], "198.51.100.7"),
            ("::ffff:192.0.2.5", &["198.51.100.7"], "198.51.100.7"),
            ("192.0.2.5", &["[2001:db8::7]:40123"], "2001:db8::7"),
            ("192.0.2.5", &["198.51.100.7:40123"], "198.51.100.7"),
            // The client's own entries come first in the list.
            ("192.0.2.5", &["203.0.113.9, 198.51.100.7"], "198.51.100.7"),
            // Two proxies, in one list or in two fields.
            ("192.0.2.5", &["203.0.113.9, 198.51.100.7, 192.0.2.6"], "198.51.100.7"),
            ("192.0.2.5", &["203.0.113.9", "198.51.100.7, 192.0.2.6"], "198.51.100.7"),
            ("192.0.2.5", &["unknown"], "192.0.2.5"),
            ("192.0.2.5", &[], "192.0.2.5"),
            ("203.0.113.5", &["198.51.100.7"], "203.0.113.5"),
        ] {
            assert_eq!(source(peer, lists), expected, "{peer} {lists:?}");
        }
    }
}
