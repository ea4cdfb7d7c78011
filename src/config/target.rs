//! The host and port of a target SIP URI; a port known only at run time is filled in later.

use std::net::SocketAddr;

/// The `host[:port]` of a `sip:` URI, from its part after the scheme: without user, parameters and headers
/// (RFC 3261 §19.1.1).
pub fn host_port(after_scheme: &str) -> &str {
    let after_user = after_scheme.rsplit_once('@').map_or(after_scheme, |(_, rest)| rest);
    let end = after_user.find([';', '?']).unwrap_or(after_user.len());
    after_user.get(..end).unwrap_or_default()
}

/// The host of `host[:port]`, in brackets if it is an IPv6 address.
pub fn host(host_port: &str) -> &str {
    split(host_port).0
}

fn split(host_port: &str) -> (&str, Option<&str>) {
    if let Some(end) = host_port.find(']') {
        let (host, rest) = host_port.split_at(end + 1);
        return (host, rest.strip_prefix(':'));
    }
    match host_port.split_once(':') {
        Some((host, port)) => (host, Some(port)),
        None => (host_port, None),
    }
}

/// Whether the target's port is 0, to be replaced at run time.
pub fn wants_port(target: &str) -> bool {
    target
        .split_once(':')
        .and_then(|(_, rest)| split(host_port(rest)).1)
        .is_some_and(|port| port.parse() == Ok(0u16))
}

/// The target with its port 0 replaced by the port of `ready`, the bound address of the next role.
pub fn with_port(target: &str, ready: SocketAddr) -> String {
    let Some((scheme, rest)) = target.split_once(':') else { return target.to_string() };
    let found = host_port(rest);
    let start = scheme.len() + 1 + rest.rsplit_once('@').map_or(0, |(user, _)| user.len() + 1);
    let (before, after) = (target.get(..start), target.get(start + found.len()..));
    match (before, after, wants_port(target)) {
        (Some(before), Some(after), true) => format!("{before}{}:{}{after}", host(found), ready.port()),
        _ => target.to_string(),
    }
}

/// The default target of a role: the next role at its bound address.
pub fn derived(next: &str, ready: SocketAddr) -> String {
    format!("sip:{next}@{ready}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fills_port_zero_and_keeps_the_rest() {
        let ready = "127.0.0.1:40123".parse().unwrap();
        for (given, filled) in [
            ("sip:sink@127.0.0.1:0", "sip:sink@127.0.0.1:40123"),
            ("sip:127.0.0.1:0", "sip:127.0.0.1:40123"),
            ("sip:sink@localhost:0;transport=tcp", "sip:sink@localhost:40123;transport=tcp"),
            ("sip:sink@[::1]:0;transport=udp?X=1:0", "sip:sink@[::1]:40123;transport=udp?X=1:0"),
            ("sip:sink@127.0.0.1:5060", "sip:sink@127.0.0.1:5060"),
            ("sip:sink@127.0.0.1", "sip:sink@127.0.0.1"),
        ] {
            assert_eq!(with_port(given, ready), filled);
        }
    }

    #[test]
    fn derives_a_target_for_ipv6_with_brackets() {
        assert_eq!(derived("sink", "[::1]:5060".parse().unwrap()), "sip:sink@[::1]:5060");
    }
}
