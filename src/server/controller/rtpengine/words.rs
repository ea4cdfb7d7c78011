//! Commands to rtpengine, and the parsing of its replies. Pure.
//!
//! Each endpoint is one `ng` call with two ends: `party` is towards the party, `inner` towards the endpoint's
//! bridge. Session descriptions here are only for rtpengine: each gives one address.

use std::fmt::Write as _;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use serde::{Deserialize, Serialize};

use super::bencode::Value;

/// The ends of an endpoint's call, as tags.
const INNER: &str = "inner";
const PARTY: &str = "party";

/// A placeholder address, before an end has one. An unspecified address would make rtpengine reply with one.
pub const NOBODY_V4: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 9);
/// The same in IPv6.
pub const NOBODY_V6: SocketAddr = SocketAddr::new(IpAddr::V6(Ipv6Addr::LOCALHOST), 9);

/// The network interfaces of the ends in rtpengine: names of its `--interface`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Interfaces {
    /// Towards the parties; `None`: its default.
    pub outer: Option<String>,
    /// Between endpoints; `None`: its default.
    pub inner: Option<String>,
}

/// The address of one end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct End {
    pub rtp: SocketAddr,
    /// Whether RTCP shares the RTP port.
    pub rtcp_mux: bool,
    /// `None`: the port after RTP's.
    pub rtcp: Option<SocketAddr>,
}

impl End {
    /// RTP to this address, RTCP to the next port.
    pub fn at(rtp: SocketAddr) -> End {
        End { rtp, rtcp_mux: false, rtcp: None }
    }

    /// A hold: 0.0.0.0, as in RFC 2543. rtpengine would pass a direction attribute on without obeying it.
    pub fn nowhere(ipv6: bool) -> End {
        let ip = if ipv6 { IpAddr::V6(Ipv6Addr::UNSPECIFIED) } else { IpAddr::V4(Ipv4Addr::UNSPECIFIED) };
        End::at(SocketAddr::new(ip, 9))
    }
}

/// Commands about the call of an endpoint.
pub struct Words<'a> {
    pub call_id: &'a str,
    pub interfaces: &'a Interfaces,
}

impl Words<'_> {
    /// Sets the destination of the inner end; the reply has the address that parties are to send to.
    pub fn offer(&self, inner: End, ipv6: bool) -> Value {
        self.describe("offer", inner, Some(if ipv6 { "IP6" } else { "IP4" }))
    }

    /// Sets the destination of the party's end; the reply has the address that the other endpoint is to send
    /// to.
    pub fn answer(&self, party: End) -> Value {
        self.describe("answer", party, None)
    }

    fn describe(&self, command: &str, end: End, family: Option<&str>) -> Value {
        let mut entries = vec![
            ("command", command.into()),
            ("call-id", self.call_id.into()),
            ("from-tag", INNER.into()),
            ("to-tag", PARTY.into()),
            ("sdp", Value::Octets(description(end).into_bytes())),
            ("ICE", "remove".into()),
            // We have negotiated this with the party ourselves; our answer gives rtpengine the result.
            ("rtcp-mux", Value::texts(&["offer"])),
            // Without the first, the ports of an end change with the address of the other one. With the
            // second, once rtpengine has learned the source address of an end, it drops packets from
            // elsewhere; of several sources it learns the one nearest to the address that we have given.
            ("flags", Value::texts(&["port-latching", "strict-source"])),
            ("endpoint-learning", "heuristic".into()),
        ];
        if let Some(family) = family {
            entries.push(("address-family", family.into()));
        }
        if self.interfaces.outer.is_some() || self.interfaces.inner.is_some() {
            let name = |name: &Option<String>| name.clone().unwrap_or_else(|| "default".to_owned());
            let (inner, outer) = (name(&self.interfaces.inner), name(&self.interfaces.outer));
            entries.push(("direction", Value::texts(&[&inner, &outer])));
        }
        Value::dict(entries)
    }

    /// Queries the counters.
    pub fn query(&self) -> Value {
        Value::dict([("command", "query".into()), ("call-id", self.call_id.into())])
    }

    /// Ends the call at once; the reply has the last counters.
    pub fn delete(&self) -> Value {
        Value::dict([
            ("command", "delete".into()),
            ("call-id", self.call_id.into()),
            ("delete-delay", Value::Int(0)),
        ])
    }
}

/// Checks that rtpengine responds.
pub fn ping() -> Value {
    Value::dict([("command", "ping".into())])
}

/// PCMU stands for any payload: rtpengine forwards every payload type.
fn description(end: End) -> String {
    let family = if end.rtp.is_ipv4() { "IP4" } else { "IP6" };
    let (ip, port) = (end.rtp.ip(), end.rtp.port());
    let mut text = format!(
        "v=0\r\no=b2b 1 1 IN {family} {ip}\r\ns=-\r\nc=IN {family} {ip}\r\nt=0 0\r\n\
         m=audio {port} RTP/AVP 0\r\na=sendrecv\r\n"
    );
    match (end.rtcp_mux, end.rtcp) {
        (true, _) => text.push_str("a=rtcp-mux\r\n"),
        (false, Some(rtcp)) if rtcp.is_ipv4() == end.rtp.is_ipv4() => {
            let _ = write!(text, "a=rtcp:{} IN {family} {}\r\n", rtcp.port(), rtcp.ip());
        }
        (false, _) => {}
    }
    text
}

/// The receiving address for the other end, from the reply to `offer` or `answer`.
pub fn address(reply: &Value) -> Option<SocketAddr> {
    let description = b2b_sdp::SessionDescription::parse(reply.get("sdp")?.octets()?).ok()?;
    let audio = description.audio(description.audio_index()?).ok()?;
    Some(audio.rtp()).filter(|rtp| rtp.port() != 0)
}

/// The reason of an error reply.
pub fn refusal(reply: &Value) -> Option<String> {
    if reply.get("result").and_then(Value::text) != Some("error") {
        return None;
    }
    let reason = reply.get("error-reason").and_then(Value::octets).unwrap_or(b"it does not say why");
    Some(String::from_utf8_lossy(reason).chars().filter(|it| !it.is_control()).take(200).collect())
}

/// The counters of a call that we use.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counted {
    /// RTP from the party: packets, octets.
    pub received: (u64, u64),
    /// RTCP packets from the party at a port of their own.
    pub rtcp: u64,
    /// RTP from the other endpoint that was sent to the party.
    pub sent: (u64, u64),
    /// The source address of the party's RTP, as rtpengine has learned it.
    pub from: Option<SocketAddr>,
    pub ssrc: Option<u32>,
}

/// Reads the reply to `query` or `delete`.
pub fn counted(reply: &Value) -> Option<Counted> {
    let tags = reply.get("tags")?;
    let streams = |tag: &str| tags.get(tag)?.get("medias")?.at(0)?.get("streams");
    let flow = |stream: Option<&Value>| {
        let stats = stream.and_then(|stream| stream.get("stats"));
        let of = |key| {
            let value = stats.and_then(|stats| stats.get(key)).and_then(Value::int);
            value.and_then(|value| u64::try_from(value).ok()).unwrap_or(0)
        };
        (of("packets"), of("bytes"))
    };
    let (party, rtcp) = (streams(PARTY)?.at(0)?, streams(PARTY)?.at(1));
    let endpoint = party.get("endpoint");
    let ip = endpoint.and_then(|it| it.get("address")).and_then(Value::text).and_then(|it| it.parse().ok());
    let port = endpoint.and_then(|it| it.get("port")).and_then(Value::int);
    let port = port.and_then(|port| u16::try_from(port).ok());
    let ssrc = party.get("SSRC").and_then(Value::int).and_then(|ssrc| u32::try_from(ssrc).ok());
    Some(Counted {
        received: flow(Some(party)),
        rtcp: flow(rtcp).0,
        sent: flow(streams(INNER).and_then(|it| it.at(0))),
        from: ip.zip(port).map(|(ip, port): (IpAddr, u16)| SocketAddr::new(ip, port)),
        ssrc,
    })
}
