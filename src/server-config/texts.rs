//! Text values with a syntax of their own.

use std::net::{IpAddr, SocketAddr};

use ipnet::IpNet;

use super::route::StatusRange;
use super::{Advertise, ConfigError, Listener};
use b2b_base::util::file::FileMode;
use b2b_base::util::redact::Redaction;
use b2b_config::section::Section;
use b2b_config::table::{Named, Takes};
use b2b_config::value::{self, Read};
use b2b_config::{text, texts};
use b2b_sip::msg::{Method, Name, Transport};

/// A path, relative to the configuration's folder.
pub(super) const PATH: Takes = text!("path", path);
/// A name of ours.
pub(super) const NAME: Takes = text!("text", plain_name);
/// Networks.
pub(super) const NETWORKS: Takes = texts!("list of addresses or CIDR blocks", network);

pub(super) const TRANSPORTS: Named<Transport> = Named {
    refusal: "no such transport; choose",
    values: &[("udp", Transport::Udp), ("tcp", Transport::Tcp), ("tls", Transport::Tls)],
};

pub(super) const REDACTION: Named<Redaction> = Named {
    refusal: "no such choice; choose",
    values: &[("off", Redaction::Off), ("numbers", Redaction::Numbers)],
};

/// Checks the value of a header field that we send.
///
/// # Errors
/// If it cannot be sent; in words.
pub fn field_value(text: &str) -> Read<()> {
    match text.len() <= 4_096 && text.bytes().all(|octet| (b' '..=b'~').contains(&octet)) {
        true => Ok(()),
        false => Err("its value has characters that cannot be sent; use plain ASCII".to_string()),
    }
}

pub(super) fn listener(text: &str) -> Read<Listener> {
    let fix = "write it like udp:127.0.0.1:5060, tcp:0.0.0.0:5060 or tls:[::]:5061";
    let (transport, bind) = text.split_once(':').ok_or(fix)?;
    let transport = TRANSPORTS.read(transport).map_err(|_| fix)?;
    Ok(Listener { transport, bind: bind.parse().map_err(|_| fix)? })
}

pub(super) fn advertise(text: &str) -> Read<Advertise> {
    let (host, port) = host_port(text)?;
    if host.parse::<IpAddr>().is_ok_and(|ip| ip.is_unspecified()) {
        return Err("peers cannot reach this address; write the address that they use".to_string());
    }
    Ok(Advertise { host, port })
}

/// The `stun` of a table, with its port (RFC 8489 §8.2).
pub(super) fn stun(section: &Section<'_>) -> Result<Option<(String, u16)>, ConfigError> {
    Ok(section.parsed("stun", advertise)?.map(|it| (it.host, it.port.unwrap_or(3478))))
}

pub(super) fn name_server(text: &str) -> Read<SocketAddr> {
    let with_port = text.parse().or_else(|_| text.parse::<IpAddr>().map(|ip| SocketAddr::new(ip, 53)));
    with_port.map_err(|_| "not an address; write it like 192.0.2.53 or 127.0.0.1:5353".to_string())
}

pub(super) fn domain(text: &str) -> Read<String> {
    match host_port(text)? {
        (host, None) => Ok(host),
        _ => Err("a domain has no port".to_string()),
    }
}

/// Text that goes unchanged into a quoted string or a header.
pub(super) fn quotable(text: &str) -> Read<String> {
    match text.trim() {
        "" => Err("it is empty".to_string()),
        text if text.contains(['"', '\\']) => Err("quotes and backslashes cannot be in it".to_string()),
        text => Ok(text.to_string()),
    }
}

pub(super) fn store(text: &str) -> Read<Option<String>> {
    match text.split_once(':') {
        None if text == "memory" => Ok(None),
        Some(("sqlite", file)) => path(file).map(Some),
        _ => Err("no such store; write memory, or sqlite: and a path".to_string()),
    }
}

pub(super) fn path(text: &str) -> Read<String> {
    value::path(text).map(|_| text.to_string())
}

pub(super) fn ip(text: &str) -> Read<IpAddr> {
    text.parse().map_err(|_| "not an IP address".to_string())
}

pub(super) fn reachable_ip(text: &str) -> Read<IpAddr> {
    ip(text).and_then(|ip| match ip.is_unspecified() {
        true => Err("peers cannot reach this address; write the address that they use".to_string()),
        false => Ok(ip),
    })
}

pub(super) fn ports(text: &str) -> Read<(u16, u16)> {
    let fix = "write it like 20000-29999";
    let (first, last) = text.split_once('-').ok_or(fix)?;
    let port = |text: &str| text.trim().parse::<u16>().map_err(|_| fix);
    let (first, last) = (port(first)?, port(last)?);
    if first < 1024 {
        return Err("ports below 1024 are reserved; use 1024 or above".to_string());
    }
    if last < first || last - first < 3 {
        return Err("a call needs four ports; make the range larger".to_string());
    }
    Ok((first, last))
}

pub(super) fn file_mode(text: &str) -> Read<FileMode> {
    FileMode::parse(text).ok_or_else(|| "write it like 0600 or 0640; its owner reads and writes".to_string())
}

/// The HTTP listening address; `None`: off.
pub(super) fn http_listen(text: &str) -> Read<Option<SocketAddr>> {
    match text {
        "off" => Ok(None),
        text => value::sip_bind(text).map(Some).map_err(|_| "write it like 127.0.0.1:8080, or off".into()),
    }
}

/// A name of ours: it is used in targets, logs and metrics.
pub(super) fn plain_name(text: &str) -> Read<String> {
    let good = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
    match text {
        "" => Err("it is empty".to_string()),
        text if text.chars().all(good) => Ok(text.to_string()),
        _ => Err("letters, digits and - _ . only".to_string()),
    }
}

pub(super) fn network(text: &str) -> Read<IpNet> {
    let fix = "write an address like 192.0.2.7 or a block like 192.0.2.0/24";
    let net = match text.parse::<IpAddr>() {
        Ok(address) => IpNet::from(address),
        Err(_) => text.parse::<IpNet>().map_err(|_| fix)?,
    };
    if net.addr() != net.network() {
        return Err(format!(
            "the block is {}; write that, or {} for the single address",
            net.trunc(),
            net.addr()
        ));
    }
    Ok(net)
}

/// The user part of a URI that needs no escape (RFC 3261 §25.1 user) and no quotes.
pub(super) fn user_name(text: &str) -> Read<String> {
    let good = |c: char| c.is_ascii_alphanumeric() || "-_.!~*'+".contains(c);
    match text {
        "" => Err("it is empty".to_string()),
        text if text.chars().all(good) => Ok(text.to_string()),
        _ => Err("letters, digits and - _ . ! ~ * ' + only".to_string()),
    }
}

/// A class of callers.
pub(super) fn class(text: &str) -> Read<String> {
    plain_name(text)
}

pub(super) fn display(text: &str) -> Read<String> {
    match text.trim() {
        "" => Err("it is empty".to_string()),
        text => Ok(text.to_string()),
    }
}

pub(super) fn host(text: &str) -> Read<String> {
    match host_port(text)? {
        (host, None) => Ok(host),
        _ => Err("remove the port".to_string()),
    }
}

/// `host[:port]`; a name comes out in lower case, an IPv6 address without brackets.
pub(super) fn host_port(text: &str) -> Read<(String, Option<u16>)> {
    let fix = "write it like sip.example.com, 192.0.2.7:5060 or [2001:db8::7]:5060";
    if let Ok(IpAddr::V6(address)) = text.parse() {
        return Ok((address.to_string(), None));
    }
    let (host, port) = match text.strip_prefix('[') {
        Some(rest) => {
            let (host, rest) = rest.split_once(']').ok_or(fix)?;
            host.parse::<std::net::Ipv6Addr>().map_err(|_| fix)?;
            (host, if rest.is_empty() { None } else { Some(rest.strip_prefix(':').ok_or(fix)?) })
        }
        None => match text.split_once(':') {
            Some((host, port)) => (host, Some(port)),
            None => (text, None),
        },
    };
    let port = match port.map(str::parse::<u16>) {
        None => None,
        Some(Ok(port)) if port != 0 => Some(port),
        Some(_) => return Err(format!("not a port; {fix}")),
    };
    let label = |label: &str| {
        let inner = label.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'));
        inner && (1..=63).contains(&label.len())
    };
    let is_name = host.len() <= 253 && host.trim_end_matches('.').split('.').all(label);
    if host.parse::<IpAddr>().is_err() && !is_name {
        return Err(format!("not a host; {fix}"));
    }
    Ok((host.to_ascii_lowercase(), port))
}

/// An application's name, `kind/name`, as routes and other applications use it.
pub(super) fn app_name(text: &str) -> Read<String> {
    let good = |part: &str| plain_name(part).is_ok();
    match text.split_once('/') {
        Some((kind, name)) if good(kind) && good(name) => Ok(text.to_string()),
        None if good(text) => Ok(text.to_string()),
        _ => Err("not an application; write it like ivr/main".to_string()),
    }
}

/// The name of a route.
pub(super) fn route_name(text: &str) -> Read<String> {
    match text.trim() {
        text if text.is_empty() || text.starts_with('#') => {
            Err("a name is not empty and does not begin with # (reserved for routes without a name)"
                .to_string())
        }
        text => Ok(text.to_string()),
    }
}

/// Text of one line.
pub(super) fn line(text: &str) -> Read<String> {
    match text.trim() {
        "" => Err("it is empty".to_string()),
        text => Ok(text.to_string()),
    }
}

/// A method that can be routed.
pub(super) fn method(text: &str) -> Read<Method> {
    let method = Method::from_bytes(text.as_bytes());
    match method {
        Method::Invite | Method::Message | Method::Subscribe | Method::Publish | Method::Options => {
            Ok(method)
        }
        _ => Err("not a method that can be routed; choose INVITE, MESSAGE, SUBSCRIBE, PUBLISH or OPTIONS"
            .to_string()),
    }
}

/// The name of a SIP header field that may be set from outside b2b: a token (RFC 3261 §25.1).
///
/// # Errors
/// If it is no header name, or the field belongs to the dialog; in words.
pub fn header_name(text: &str) -> Read<String> {
    let good = |c: char| c.is_ascii_alphanumeric() || "-.!%*_+`'~".contains(c);
    if text.is_empty() || !text.chars().all(good) {
        return Err("not a header name".to_string());
    }
    if Name::parse(text.as_bytes()).is_structural() {
        return Err(
            "it belongs to one leg's dialog or body, or b2b writes it itself; remove the rule".to_string()
        );
    }
    Ok(text.to_string())
}

/// A status, or a class of them, after which the next target is tried.
pub(super) fn status(text: &str) -> Read<StatusRange> {
    match (text, text.parse::<u16>()) {
        ("4xx", _) => Ok(StatusRange(400, 499)),
        ("5xx", _) => Ok(StatusRange(500, 599)),
        (_, Ok(code @ 400..=599)) => Ok(StatusRange(code, code)),
        _ => {
            Err("not a status from 400 to 599, nor \"4xx\" or \"5xx\"; no target is tried after 6xx"
                .to_string())
        }
    }
}
