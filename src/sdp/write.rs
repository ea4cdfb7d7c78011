//! Serialises descriptions like `Session::write` of `sdp-types`, which formats character by
//! character and would take most of the time of an offer.

use std::io::Write as _;

use sdp_types::{Attribute, Connection, Media, Session};

/// Capacity for most descriptions.
const USUAL: usize = 512;

/// The description, with lines ended by CRLF.
pub(super) fn to_bytes(session: &Session) -> Vec<u8> {
    let mut out = Vec::with_capacity(USUAL);
    // Writing to a Vec cannot fail.
    let _ = match is_usual(session) {
        true => usual(&mut out, session),
        false => session.write(&mut out),
    };
    out
}

/// Whether it consists only of what we and nearly all peers use.
fn is_usual(session: &Session) -> bool {
    let Session { session_description, uri, emails, phones, bandwidths, times, time_zones, key, .. } =
        session;
    let of_session = session_description.is_none() && uri.is_none() && emails.is_empty() && phones.is_empty();
    let of_times =
        !times.is_empty() && times.iter().all(|time| time.repeats.is_empty()) && time_zones.is_empty();
    let of_line = |media: &Media| {
        media.num_ports.is_none()
            && media.media_title.is_none()
            && media.bandwidths.is_empty()
            && media.key.is_none()
    };
    of_session && of_times && bandwidths.is_empty() && key.is_none() && session.medias.iter().all(of_line)
}

fn usual(out: &mut Vec<u8>, session: &Session) -> std::io::Result<()> {
    let origin = &session.origin;
    out.extend_from_slice(b"v=0\r\n");
    let user = origin.username.as_deref().filter(|name| !name.is_empty()).unwrap_or("-");
    texts(out, &["o=", user, " ", &origin.sess_id]);
    write!(out, " {} ", origin.sess_version)?;
    texts(out, &[origin.nettype.as_str(), " ", origin.addrtype.as_str(), " ", &origin.unicast_address]);
    line(out, &["s=", &session.session_name]);
    session.connection.iter().for_each(|it| connection(out, it));
    for time in &session.times {
        write!(out, "\r\nt={} {}", time.start_time, time.stop_time)?;
    }
    session.attributes.iter().for_each(|it| attribute(out, it));
    for media in &session.medias {
        line(out, &["m=", &media.media]);
        write!(out, " {}", media.port)?;
        texts(out, &[" ", &media.proto, " ", &media.fmt]);
        media.connections.iter().for_each(|it| connection(out, it));
        media.attributes.iter().for_each(|it| attribute(out, it));
    }
    out.extend_from_slice(b"\r\n");
    Ok(())
}

fn connection(out: &mut Vec<u8>, it: &Connection) {
    line(out, &["c=", it.nettype.as_str(), " ", it.addrtype.as_str(), " ", &it.connection_address]);
}

fn attribute(out: &mut Vec<u8>, it: &Attribute) {
    match &it.value {
        Some(value) => line(out, &["a=", &it.attribute, ":", value]),
        None => line(out, &["a=", &it.attribute]),
    }
}

/// Ends the previous line and begins another one.
fn line(out: &mut Vec<u8>, parts: &[&str]) {
    out.extend_from_slice(b"\r\n");
    texts(out, parts);
}

/// Appends texts without characters that would end a line (RFC 8866 §9, `byte-string`).
fn texts(out: &mut Vec<u8>, parts: &[&str]) {
    let ends = |byte: &u8| matches!(byte, b'\0' | b'\r' | b'\n');
    for part in parts {
        match part.bytes().any(|byte| ends(&byte)) {
            true => out.extend(part.bytes().filter(|byte| !ends(byte))),
            false => out.extend_from_slice(part.as_bytes()),
        }
    }
}
