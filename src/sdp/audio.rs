//! An audio line with all its attributes.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use sdp_types::{Attribute, Direction, ExtMap, Media, Session};

use super::{Crypto, Format, SdpError, crypto};

/// An audio line: parsed from a description with session-level values applied, or to be
/// written into an offer or answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AudioMedia {
    /// Where the describing party receives RTP. The unspecified address means an old-style
    /// hold (RFC 3264 §8.4), unless there is a `host`.
    pub address: IpAddr,
    /// The host name in place of the address, which is unspecified then (RFC 8866 §5.7). Also an
    /// address that the reader cannot send to.
    pub host: Option<String>,
    /// RTP port; 0 means that the stream is refused.
    pub port: u16,
    /// The transport protocol: `RTP/AVP`, …
    pub protocol: String,
    /// Formats in order of preference, without dynamic payload types that lack an rtpmap.
    pub formats: Vec<Format>,
    /// Direction from the viewpoint of the describing party.
    pub direction: Direction,
    /// Packet time that the describing party prefers to receive, ms.
    pub ptime_ms: Option<u32>,
    /// Longest packet time that it can receive, ms.
    pub maxptime_ms: Option<u32>,
    /// RTP and RTCP on one port (RFC 5761).
    pub rtcp_mux: bool,
    /// RTCP port, if it is not the one after the RTP port (RFC 3605).
    pub rtcp_port: Option<u16>,
    /// RTCP address, if given in `a=rtcp`.
    pub rtcp_address: Option<IpAddr>,
    /// RTP header extensions (RFC 8285).
    pub extensions: Vec<ExtMap>,
    /// SRTP keys of the describing party, in order of preference (RFC 4568). Malformed lines
    /// are left out, and `has_unread_keys` is set.
    pub crypto: Vec<Crypto>,
    /// An `a=crypto` line is malformed.
    pub has_unread_keys: bool,
    /// Attributes other than the above and those of addresses or keys. Only for writing;
    /// [`SessionDescription::other_attributes`] reads them.
    ///
    /// [`SessionDescription::other_attributes`]: super::SessionDescription::other_attributes
    pub others: Vec<Attribute>,
}

/// Maximum number of `a=crypto` lines read; a phone sends one per suite.
const MAX_CRYPTO: usize = 32;

/// Attributes represented by other fields of [`AudioMedia`].
const KNOWN: [&str; 10] = [
    "rtpmap", "fmtp", "ptime", "maxptime", "sendrecv", "sendonly", "recvonly", "inactive", "rtcp", "rtcp-mux",
];
/// Attributes that must not be copied to another leg: they contain addresses, keys or
/// topology, or refer to streams by numbers that are not valid there.
const PRIVATE: [&str; 20] = [
    "extmap",
    "candidate",
    "remote-candidates",
    "end-of-candidates",
    "ice-ufrag",
    "ice-pwd",
    "ice-lite",
    "ice-options",
    "ice-mismatch",
    "ice-pacing",
    "crypto",
    "fingerprint",
    "setup",
    "tls-id",
    "key-mgmt",
    "connection",
    "ssrc",
    "ssrc-group",
    "mid",
    "rtcp-fb",
];

/// The attributes of a line for [`AudioMedia::others`].
pub(super) fn other_attributes(media: &Media) -> Vec<Attribute> {
    let named = |attribute: &&Attribute| {
        let is = |name: &&str| attribute.attribute.eq_ignore_ascii_case(name);
        !KNOWN.iter().chain(&PRIVATE).any(is)
    };
    media.attributes.iter().filter(named).cloned().collect()
}

/// Whether a program may add this attribute to an audio line: its name is a token (RFC 8866
/// §9) that is not one of ours, nor about addresses or keys, and its value is a single line.
pub fn may_add_attribute(name: &str, value: Option<&str>) -> bool {
    let token = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`{|}~".contains(&byte);
    let ours = KNOWN.iter().chain(&PRIVATE).any(|known| known.eq_ignore_ascii_case(name));
    let one_line = value.is_none_or(|value| !value.is_empty() && !value.contains(['\r', '\n', '\0']));
    !name.is_empty() && name.bytes().all(token) && !ours && one_line
}

/// Whether this is RTP without encryption, that is, a profile of RFC 3551 or RFC 4585.
pub(super) fn is_plain_rtp(protocol: &str) -> bool {
    protocol.eq_ignore_ascii_case("RTP/AVP") || protocol.eq_ignore_ascii_case("RTP/AVPF")
}

/// Whether this is SRTP with keys in the description (RFC 4568 §6, RFC 5124).
pub(super) fn is_secure_rtp(protocol: &str) -> bool {
    protocol.eq_ignore_ascii_case("RTP/SAVP") || protocol.eq_ignore_ascii_case("RTP/SAVPF")
}

impl AudioMedia {
    /// A line for sending and receiving these formats at this address.
    pub fn new(rtp: SocketAddr, formats: Vec<Format>) -> AudioMedia {
        AudioMedia {
            address: rtp.ip(),
            host: None,
            port: rtp.port(),
            protocol: "RTP/AVP".to_owned(),
            formats,
            direction: Direction::SendRecv,
            ptime_ms: None,
            maxptime_ms: None,
            rtcp_mux: false,
            rtcp_port: None,
            rtcp_address: None,
            extensions: Vec::new(),
            crypto: Vec::new(),
            has_unread_keys: false,
            others: Vec::new(),
        }
    }

    pub(super) fn read(session: &Session, media: &Media, index: usize) -> Result<AudioMedia, SdpError> {
        let connection = media.connections.first().or(session.connection.as_ref());
        let (address, host) = match (connection, connection.and_then(|it| receiver(&it.connection_address))) {
            (_, Some(receiver)) => receiver,
            // Nothing is received for a refused stream.
            _ if media.port == 0 => (UNKNOWN, None),
            (Some(it), None) => return Err(SdpError::Address(index, shortened(&it.connection_address))),
            (None, _) => return Err(SdpError::NoConnection(index)),
        };
        let mut audio = AudioMedia::new((address, media.port).into(), formats(media));
        audio.host = host;
        audio.protocol.clone_from(&media.proto);
        audio.direction =
            direction(&media.attributes).or_else(|| direction(&session.attributes)).unwrap_or_default();
        audio.ptime_ms = milliseconds(media, "ptime");
        audio.maxptime_ms = milliseconds(media, "maxptime");
        audio.rtcp_mux = named(&media.attributes, "rtcp-mux").next().is_some();
        if let Some(rtcp) = named(&media.attributes, "rtcp").next().and_then(|it| it.value.as_deref()) {
            let mut words = rtcp.split_ascii_whitespace();
            audio.rtcp_port = words.next().and_then(|port| port.parse().ok()).filter(|port| *port != 0);
            audio.rtcp_address = words.nth(2).and_then(|address| address.parse().ok());
        }
        audio.extensions = named(&media.attributes, "extmap")
            .chain(named(&session.attributes, "extmap"))
            .filter_map(|extmap| extmap.value.as_deref()?.parse().ok())
            .collect();
        let of_line = named(&media.attributes, "crypto");
        // Some write them at session level, against RFC 4568 §5.
        for crypto in of_line.chain(named(&session.attributes, "crypto")).take(MAX_CRYPTO) {
            match crypto.value.as_deref().unwrap_or_default().parse() {
                Ok(crypto) => audio.crypto.push(crypto),
                Err(_) => audio.has_unread_keys = true,
            }
        }
        Ok(audio)
    }

    /// Destination of RTP.
    pub fn rtp(&self) -> SocketAddr {
        (self.address, self.port).into()
    }

    /// Destination of RTCP according to `a=rtcp` (RFC 3605); `None` for the port after that
    /// of RTP, or the RTP port itself with mux. Another host than that of RTP is ignored,
    /// since it has not asked for reports.
    pub fn named_rtcp(&self) -> Option<SocketAddr> {
        let here = |named: &IpAddr| named.to_canonical() == self.address.to_canonical();
        let port = self.rtcp_port.filter(|_| self.rtcp_address.as_ref().is_none_or(here))?;
        (!self.address.is_unspecified()).then(|| (self.address, port).into())
    }

    /// Whether the line is RTP without encryption.
    pub fn is_plain_rtp(&self) -> bool {
        is_plain_rtp(&self.protocol)
    }

    /// Whether the line is SRTP, without an unencrypted alternative.
    pub fn is_secure_rtp(&self) -> bool {
        is_secure_rtp(&self.protocol)
    }

    /// Whether the line refuses or ends its stream.
    pub fn is_refused(&self) -> bool {
        self.port == 0
    }

    /// Whether the describing party receives no media from us: by direction, or by the
    /// unspecified address of RFC 2543.
    pub fn is_hold(&self) -> bool {
        !self.direction.has_recv() || self.address.is_unspecified() && self.host.is_none()
    }

    /// The format with this payload type.
    pub fn format(&self, payload_type: u8) -> Option<&Format> {
        self.formats.iter().find(|format| format.payload_type == payload_type)
    }

    /// The `telephone-event` format with this clock rate.
    pub fn telephone_event(&self, clock_rate: u32) -> Option<&Format> {
        self.formats.iter().find(|format| format.is_telephone_event() && format.clock_rate == clock_rate)
    }

    /// Id of the RTP header extension with this URI.
    pub fn extension_id(&self, uri: &str) -> Option<u8> {
        self.extensions.iter().find(|extension| extension.uri == uri).map(|extension| extension.id)
    }

    /// The line for `sdp-types`, without a connection line, which would only repeat that of
    /// the session.
    pub(super) fn write(&self) -> Media {
        let mut types = String::with_capacity(4 * self.formats.len());
        let mut attributes = Vec::with_capacity(2 * self.formats.len() + 4);
        let with_value =
            |name: &str, value: String| Attribute { attribute: name.to_owned(), value: Some(value) };
        for format in &self.formats {
            let payload_type = format.payload_type.to_string();
            types.push_str(if types.is_empty() { "" } else { " " });
            types.push_str(&payload_type);
            attributes.push(with_value("rtpmap", format.rtpmap(&payload_type)));
            if let Some(fmtp) = &format.fmtp {
                attributes.push(with_value("fmtp", [&payload_type, " ", fmtp].concat()));
            }
        }
        attributes.extend(self.ptime_ms.map(|ms| Attribute::with_value("ptime", ms)));
        attributes.extend(self.maxptime_ms.map(|ms| Attribute::with_value("maxptime", ms)));
        attributes.push(Attribute::new(self.direction));
        attributes.extend(self.rtcp_port.map(|port| {
            let address = self.rtcp_address.map(|ip| {
                let family = if ip.is_ipv4() { "IP4" } else { "IP6" };
                format!(" IN {family} {ip}")
            });
            with_value("rtcp", format!("{port}{}", address.unwrap_or_default()))
        }));
        attributes.extend(self.rtcp_mux.then(|| Attribute::new("rtcp-mux")));
        attributes.extend(self.extensions.iter().map(|extmap| Attribute::with_value("extmap", extmap)));
        let key = |line| Attribute::with_value("crypto", crypto::Value(line));
        attributes.extend(self.crypto.iter().map(key));
        attributes.extend(self.others.iter().cloned());
        Media {
            media: "audio".to_owned(),
            port: self.port,
            num_ports: None,
            proto: self.protocol.clone(),
            fmt: if types.is_empty() { "0".to_owned() } else { types },
            media_title: None,
            connections: Vec::new(),
            bandwidths: Vec::new(),
            key: None,
            attributes,
        }
    }
}

fn named<'a>(attributes: &'a [Attribute], name: &'a str) -> impl Iterator<Item = &'a Attribute> {
    attributes.iter().filter(move |attribute| attribute.attribute.eq_ignore_ascii_case(name))
}

/// The formats of the `m=` line in order, with their rtpmap and fmtp.
fn formats(media: &Media) -> Vec<Format> {
    let value = |attribute: &'_ Attribute| attribute.value.clone();
    let maps: Vec<Format> = named(&media.attributes, "rtpmap")
        .filter_map(|rtpmap| Format::from_rtpmap(rtpmap.value.as_deref()?))
        .collect();
    let fmtp: Vec<String> = named(&media.attributes, "fmtp").filter_map(value).collect();
    let parameters = |payload_type: u8| {
        fmtp.iter().find_map(|line| {
            let (first, rest) = line.trim().split_once(' ')?;
            (first.parse() == Ok(payload_type)).then(|| rest.trim().to_owned())
        })
    };
    let mut formats: Vec<Format> = Vec::new();
    for payload_type in media.fmt.split_ascii_whitespace().filter_map(|word| word.parse::<u8>().ok()) {
        // Each type only once: a hostile line may contain thousands of words and maps.
        if payload_type > 127 || formats.iter().any(|format| format.payload_type == payload_type) {
            continue;
        }
        let known = Format::from_static(payload_type);
        // Of several maps the one that can be meant: events run at the clock of an audio format.
        let fits = |map: &&Format| match &known {
            Some(known) => known.same_encoding(map),
            None if !map.is_telephone_event() => true,
            None => maps.iter().any(|it| !it.is_telephone_event() && it.clock_rate == map.clock_rate),
        };
        let mut mapped = maps.iter().filter(|map| map.payload_type == payload_type);
        let map = mapped.clone().find(fits).or_else(|| mapped.next()).cloned();
        if let Some(format) = map.or(known) {
            formats.push(Format { fmtp: parameters(payload_type), ..format });
        }
    }
    formats
}

/// The direction; one that cannot be read is `sendrecv`, the default (RFC 8866 §6.7).
fn direction(attributes: &[Attribute]) -> Option<Direction> {
    let read = attributes.iter().find_map(|attribute| attribute.attribute.parse().ok());
    read.or_else(|| attributes.iter().any(is_unread_direction).then_some(Direction::SendRecv))
}

/// Whether the attribute is meant as a direction, and is none.
pub(super) fn is_unread_direction(attribute: &Attribute) -> bool {
    let name = attribute.attribute.as_str();
    let begins = |word: &str| name.get(..word.len()).is_some_and(|start| start.eq_ignore_ascii_case(word));
    attribute.value.is_none()
        && ["send", "recv", "receive", "inactiv"].into_iter().any(begins)
        && name.parse::<Direction>().is_err()
}

const UNKNOWN: IpAddr = IpAddr::V4(Ipv4Addr::UNSPECIFIED);

/// Where a party receives, by the address of its `c=` line, whatever address type stands before it: an
/// address, or the name of a host.
fn receiver(text: &str) -> Option<(IpAddr, Option<String>)> {
    // A TTL has no meaning for a unicast address; a zone has none for us.
    let text = text.split(['/', '%']).next().unwrap_or_default();
    let bare = text.strip_prefix('[').and_then(|text| text.strip_suffix(']')).unwrap_or(text);
    if let Ok(address) = bare.parse::<IpAddr>() {
        let address = address.to_canonical();
        return (!address.is_multicast()).then_some((address, None));
    }
    is_host_name(text).then(|| (UNKNOWN, Some(text.to_owned())))
}

/// Whether it is a host name (RFC 1123 §2.1): the last label is no number, as that of an address is.
fn is_host_name(text: &str) -> bool {
    let labels = text.strip_suffix('.').unwrap_or(text).split('.');
    let is_label = |label: &str| {
        let known = |octet: u8| octet.is_ascii_alphanumeric() || octet == b'-' || octet == b'_';
        (1..=63).contains(&label.len()) && label.bytes().all(known)
    };
    let last = labels.clone().next_back().unwrap_or_default();
    text.len() <= 253 && labels.clone().all(is_label) && last.bytes().any(|octet| octet.is_ascii_alphabetic())
}

/// The beginning of a text, for an error that becomes a reason phrase.
fn shortened(text: &str) -> String {
    let plain = |it: char| if it.is_ascii_alphanumeric() || ".:-_,".contains(it) { it } else { '?' };
    text.chars().take(40).map(plain).collect()
}

/// A time attribute; fractions are truncated, and 0 or an invalid value gives `None`.
fn milliseconds(media: &Media, name: &str) -> Option<u32> {
    let value = named(&media.attributes, name).next()?.value.as_deref()?;
    value.trim().split('.').next()?.parse().ok().filter(|ms| *ms > 0)
}
