//! Reads descriptions line by line. Audio needs `m=`, `c=` and some attributes: other lines are not kept, and
//! never refuse a description. Those that cannot be read are named in [`SessionDescription::skipped`].

use std::fmt;
use std::net::Ipv4Addr;

use sdp_types::{Attribute, Connection, Media, Origin, Session, Time};

use super::{SdpError, SessionDescription, audio};

/// Maximum number of lines that are named.
const MAX_SKIPPED: usize = 16;

/// A line that is not used, since it cannot be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Skipped {
    /// Its number, from 1.
    pub line: usize,
    /// Its type: `o`, `b`, …; `?` if it has none.
    pub kind: char,
}

impl fmt::Display for Skipped {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "line {} ({}=)", self.line, self.kind)
    }
}

/// Reads a description.
///
/// # Errors
/// [`SdpError::Malformed`].
pub(super) fn description(text: &str) -> Result<SessionDescription, SdpError> {
    let mut session = Session::new(Origin::with_ip_addr("0", 0, Ipv4Addr::UNSPECIFIED), "-");
    let (mut unreadable, mut skipped) = (Vec::new(), Vec::new());
    let (mut is_versioned, mut is_named) = (false, false);
    for (number, line) in (1..).zip(text.lines()) {
        if line.contains(['\0', '\r']) {
            return Err(SdpError::Malformed(number, "a line with NUL or a bare CR"));
        }
        let (kind, value) = line.split_once('=').unwrap_or_default();
        let mut letters = kind.trim().chars();
        let kind = letters.next().filter(|_| letters.next().is_none()).unwrap_or('?');
        let value = value.trim();
        let is_read = match kind {
            'v' => match value.parse::<u64>() {
                Ok(1..) => return Err(SdpError::Malformed(number, "a version other than v=0")),
                version => {
                    is_versioned = true;
                    version.is_ok()
                }
            },
            'o' if !is_named => {
                origin(value).map(|origin| (session.origin, is_named) = (origin, true)).is_some()
            }
            't' => time(value).map(|time| session.times.push(time)).is_some(),
            'c' => {
                let connection = connection(value);
                match session.medias.last_mut() {
                    Some(media) => media.connections.push(connection),
                    None => of_session(&mut session.connection, connection),
                }
                true
            }
            'm' => {
                let (media, is_read) = media(value);
                if !is_read {
                    unreadable.push(session.medias.len());
                }
                session.medias.push(media);
                is_read
            }
            'a' => {
                let attribute = attribute(value);
                let is_read = !attribute.attribute.is_empty() && !audio::is_unread_direction(&attribute);
                match session.medias.last_mut() {
                    Some(media) => media.attributes.push(attribute),
                    None => session.attributes.push(attribute),
                }
                is_read
            }
            'b' => value.split_once(':').is_some_and(|(_, rate)| rate.parse::<u64>().is_ok()),
            'r' | 'z' => value.split_ascii_whitespace().all(is_typed_time),
            's' | 'i' | 'u' | 'e' | 'p' | 'k' => true,
            _ => line.trim().is_empty(),
        };
        if !is_read && skipped.len() < MAX_SKIPPED {
            skipped.push(Skipped { line: number, kind });
        }
    }
    if !is_versioned && session.medias.is_empty() {
        return Err(SdpError::Malformed(1, "neither v=0 nor an m= line"));
    }
    if session.times.is_empty() {
        session.times.push(Time::new(0, 0));
    }
    Ok(SessionDescription { session, unreadable, skipped })
}

fn origin(value: &str) -> Option<Origin> {
    let mut words = value.split_ascii_whitespace();
    let username = words.next().filter(|name| *name != "-").map(str::to_owned);
    let (sess_id, sess_version) = (words.next()?.to_owned(), words.next()?.parse().ok()?);
    let (nettype, addrtype) = (words.next()?.into(), words.next()?.into());
    let unicast_address = words.next()?.to_owned();
    let origin = Origin { username, sess_id, sess_version, nettype, addrtype, unicast_address };
    words.next().is_none().then_some(origin)
}

fn time(value: &str) -> Option<Time> {
    let mut words = value.split_ascii_whitespace();
    let time = Time::new(words.next()?.parse().ok()?, words.next()?.parse().ok()?);
    words.next().is_none().then_some(time)
}

/// `7d`, `-1h`, `3600` (RFC 8866 §5.10, §5.11).
fn is_typed_time(word: &str) -> bool {
    let digits = word.trim_start_matches('-').trim_end_matches(['d', 'h', 'm', 's']);
    digits.parse::<u64>().is_ok()
}

/// Some write more behind the address; it is not used. A word that is missing is `-`, so that the others keep
/// their places when the line is written.
fn connection(value: &str) -> Connection {
    let mut words = value.split_ascii_whitespace();
    let mut word = || words.next().unwrap_or("-");
    let (nettype, addrtype) = (word().into(), word().into());
    Connection { nettype, addrtype, connection_address: word().to_owned() }
}

/// Two different lines name no address: which one is meant is not guessed.
fn of_session(known: &mut Option<Connection>, other: Connection) {
    match known {
        Some(known) if *known != other => {
            known.connection_address.push(',');
            known.connection_address.push_str(&other.connection_address);
        }
        _ => *known = Some(other),
    }
}

/// The line, and whether it could be read. Otherwise it keeps its place, as a stream that is refused. The
/// formats of one that is refused are ignored (RFC 3264 §6), and may be missing.
fn media(value: &str) -> (Media, bool) {
    let mut rest = value;
    let mut word = || {
        let (word, more) = rest.split_once([' ', '\t']).unwrap_or((rest, ""));
        rest = more.trim_start();
        word
    };
    let (media, ports, proto) = (word(), word(), word());
    let port = ports.split('/').next().and_then(|port| port.parse::<u16>().ok());
    let is_read = !media.is_empty() && port.is_some_and(|port| port == 0 || !proto.is_empty());
    let port = port.filter(|_| is_read).unwrap_or(0);
    let or = |text: &str, default: &str| if text.is_empty() { default.to_owned() } else { text.to_owned() };
    let media = Media {
        media: or(media, "unknown"),
        port,
        num_ports: None,
        proto: match proto {
            // As RFC 2327 has it nowhere, but devices do.
            "" | "RTP" => "RTP/AVP".to_owned(),
            proto => proto.to_owned(),
        },
        fmt: if port == 0 { or(rest, "0") } else { rest.to_owned() },
        media_title: None,
        connections: Vec::new(),
        bandwidths: Vec::new(),
        key: None,
        attributes: Vec::new(),
    };
    (media, is_read)
}

fn attribute(value: &str) -> Attribute {
    match value.split_once(':') {
        Some((name, value)) => Attribute::with_value(name.trim_end(), value),
        None => Attribute::new(value),
    }
}
