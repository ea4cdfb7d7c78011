//! Serialises descriptions. `Session::write` of `sdp-types` formats character by character, and would take
//! most of the time of an offer.

use sdp_types::{Attribute, Connection, Session};

/// Capacity for most descriptions.
const USUAL: usize = 512;

/// The description, with lines ended by CRLF. Only what we write ourselves: other lines are empty here.
pub(super) fn to_bytes(session: &Session) -> Vec<u8> {
    let mut out = Vec::with_capacity(USUAL);
    let origin = &session.origin;
    out.extend_from_slice(b"v=0\r\n");
    let user = origin.username.as_deref().filter(|name| !name.is_empty()).unwrap_or("-");
    texts(&mut out, &["o=", user, " ", &origin.sess_id, " ", &origin.sess_version.to_string(), " "]);
    texts(&mut out, &[origin.nettype.as_str(), " ", origin.addrtype.as_str(), " ", &origin.unicast_address]);
    line(&mut out, &["s=", &session.session_name]);
    session.connection.iter().for_each(|it| connection(&mut out, it));
    for time in &session.times {
        line(&mut out, &["t=", &time.start_time.to_string(), " ", &time.stop_time.to_string()]);
    }
    session.attributes.iter().for_each(|it| attribute(&mut out, it));
    for media in &session.medias {
        line(
            &mut out,
            &["m=", &media.media, " ", &media.port.to_string(), " ", &media.proto, " ", &media.fmt],
        );
        media.connections.iter().for_each(|it| connection(&mut out, it));
        media.attributes.iter().for_each(|it| attribute(&mut out, it));
    }
    out.extend_from_slice(b"\r\n");
    out
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
