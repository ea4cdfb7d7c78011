//! The Via header field (RFC 3261 §20.42, `rport`: RFC 3581).

use std::fmt;
use std::net::IpAddr;

use super::chars::{self, TOKEN};
use super::params::Params;
use super::uri::{Host, take_port};

/// The branch prefix that marks a transaction id of RFC 3261 (§8.1.1.7).
pub const MAGIC_COOKIE: &[u8] = b"z9hG4bK";

/// A known transport.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, serde::Serialize, serde::Deserialize)]
#[allow(missing_docs)]
pub enum Transport {
    Udp,
    Tcp,
    Tls,
    Sctp,
    Ws,
    Wss,
}

impl Transport {
    /// The transport with this name, case-insensitive: `UDP` in a Via, `udp` in a URI
    /// parameter.
    pub fn parse(name: &[u8]) -> Option<Transport> {
        use Transport::*;
        [Udp, Tcp, Tls, Sctp, Ws, Wss]
            .into_iter()
            .find(|it| it.as_str().as_bytes().eq_ignore_ascii_case(name))
    }

    /// The name as written in a Via.
    pub fn as_str(self) -> &'static str {
        match self {
            Transport::Udp => "UDP",
            Transport::Tcp => "TCP",
            Transport::Tls => "TLS",
            Transport::Sctp => "SCTP",
            Transport::Ws => "WS",
            Transport::Wss => "WSS",
        }
    }

    /// Whether the transport is reliable, so that timers A, E and G are not used (RFC 3261
    /// §17).
    pub fn is_reliable(self) -> bool {
        self != Transport::Udp
    }
}

impl fmt::Display for Transport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// The `rport` parameter.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rport {
    /// Absent.
    Absent,
    /// Present without a value: the client asks for the response at its source port.
    Requested,
    /// The source port as seen by the server.
    Port(u16),
}

/// One Via value, borrowed from a message.
#[derive(Debug, Clone, Copy)]
pub struct Via<'a> {
    /// The value as received.
    pub raw: &'a [u8],
    /// The transport token as received; see [`Transport::parse`].
    pub transport: &'a [u8],
    /// Host of sent-by.
    pub host: Host<'a>,
    /// Port of sent-by, if present.
    pub port: Option<u16>,
    /// The `branch` parameter as received.
    pub branch: Option<&'a [u8]>,
    /// The `received` parameter, if it is an address; IPv6 with or without brackets.
    pub received: Option<IpAddr>,
    /// The `rport` parameter.
    pub rport: Rport,
    /// All parameters.
    pub params: Params<'a>,
}

impl<'a> Via<'a> {
    /// Parses one value; `None` if it is malformed.
    pub fn parse(raw: &'a [u8]) -> Option<Via<'a>> {
        let raw = chars::trim(raw);
        let rest = match raw.strip_prefix(b"SIP/2.0/") {
            Some(rest) => rest,
            None => {
                let rest = protocol_part(raw, |name| name.eq_ignore_ascii_case(b"SIP"))?;
                protocol_part(rest, |version| version == b"2.0")?
            }
        };
        let (transport, rest) = rest.split_at(chars::span(rest, TOKEN));
        if transport.is_empty() || !chars::is_lws(*rest.first()?) {
            return None;
        }
        let (host, rest) = Host::take(chars::trim_start(rest))?;
        let rest = chars::trim_start(rest);
        let (port, rest) = match rest.strip_prefix(b":") {
            // COLON allows white space around it
            Some(after) if chars::is_lws(*after.first()?) => {
                let digits = chars::trim_start(after);
                let end = digits.iter().position(|byte| !byte.is_ascii_digit()).unwrap_or(digits.len());
                (Some(chars::number(&digits[..end])?.try_into().ok()?), &digits[end..])
            }
            _ => take_port(rest)?,
        };
        let (mut branch, mut received, mut rport) = (None, None, Rport::Absent);
        let mut good = true;
        let params = Params::of_header(rest, |param| {
            if param.is("branch") {
                branch = param.value;
            } else if param.is("received") {
                received = param.value.and_then(address);
            } else if param.is("rport") {
                rport = match param.value {
                    None | Some(b"") => Rport::Requested,
                    Some(digits) => match chars::number(digits).and_then(|port| port.try_into().ok()) {
                        Some(port) => Rport::Port(port),
                        None => {
                            good = false;
                            Rport::Absent
                        }
                    },
                };
            }
        })?;
        good.then_some(Via { raw, transport, host, port, branch, received, rport, params })
    }

    /// The transport, if it is known.
    pub fn known_transport(&self) -> Option<Transport> {
        Transport::parse(self.transport)
    }

    /// The branch, if it is a transaction id of RFC 3261: the magic cookie followed by more
    /// characters. Other branches match by the rules of RFC 2543 (§17.2.3).
    pub fn rfc3261_branch(&self) -> Option<&'a [u8]> {
        let branch = self.branch?;
        let (prefix, id) = branch.split_at_checked(MAGIC_COOKIE.len())?;
        (prefix.eq_ignore_ascii_case(MAGIC_COOKIE) && !id.is_empty()).then_some(branch)
    }
}

/// Parses `part SLASH` with white space around the slash; returns the rest.
fn protocol_part(bytes: &[u8], fits: impl Fn(&[u8]) -> bool) -> Option<&[u8]> {
    let slash = memchr::memchr(b'/', bytes)?;
    fits(chars::trim(&bytes[..slash])).then(|| chars::trim_start(&bytes[slash + 1..]))
}

fn address(value: &[u8]) -> Option<IpAddr> {
    let value = value.strip_prefix(b"[").and_then(|inner| inner.strip_suffix(b"]")).unwrap_or(value);
    std::str::from_utf8(value).ok()?.parse().ok()
}
