//! Responses built from a request (RFC 3261 §8.2.6).

use std::hash::{DefaultHasher, Hash, Hasher};
use std::io::Write as _;
use std::net::SocketAddr;

use bytes::Bytes;

use super::Request;
use super::chars;
use super::headers::Headers;
use super::name::Name;
use super::uri::Host;
use super::via::{Rport, Via};
use super::writer::{Buffer, WriteError, common_methods, echo};

/// Writes a response. Header fields are in the order of the calls, after those copied from
/// the request.
#[derive(Debug)]
#[must_use = "finish() gives the bytes"]
pub struct ResponseWriter {
    buffer: Buffer,
}

common_methods!(ResponseWriter);

impl ResponseWriter {
    /// A response to `request` with every Via (the top one with `received` and `rport`, if
    /// [`Request::set_source`] was called), From, To, Call-ID, CSeq, and in a 100 Timestamp.
    /// `to_tag` is added to a To without a tag.
    pub fn reply_to(request: &Request, status: u16, reason: &str, to_tag: Option<&str>) -> ResponseWriter {
        let tag = |out: &mut Vec<u8>| to_tag.map(|tag| out.extend_from_slice(tag.as_bytes())).is_some();
        ResponseWriter { buffer: copied(request, status, reason, request.source, tag) }
    }

    /// Copies Record-Route, which is required in a response that creates a dialog (§12.1.1).
    pub fn record_routes(self, request: &Request) -> ResponseWriter {
        self.copy(request, Name::RecordRoute)
    }
}

/// A response with only the copied header fields and a To tag that is the same for every
/// retransmission (§8.2.7). Header fields missing in the request are left out.
pub(super) fn stateless(headers: &Headers, status: u16, reason: &str, source: Option<SocketAddr>) -> Bytes {
    let tag = |out: &mut Vec<u8>| {
        let mut hasher = DefaultHasher::new();
        for name in [Name::Via, Name::From, Name::CallId, Name::CSeq] {
            headers.header(name).hash(&mut hasher);
        }
        write!(out, "{:016x}", hasher.finish()).is_ok()
    };
    // Cannot fail: copied values are cleaned, and the reason is ours.
    copied(headers, status, reason, source, tag).finish().unwrap_or_default()
}

/// `to_tag` appends the text of the tag and returns whether there is one.
fn copied(
    headers: &Headers,
    status: u16,
    reason: &str,
    source: Option<SocketAddr>,
    to_tag: impl FnOnce(&mut Vec<u8>) -> bool,
) -> Buffer {
    let mut buffer = Buffer::response(status, reason.as_bytes());
    for (index, value) in headers.headers(Name::Via).enumerate() {
        match source.filter(|_| index == 0).zip(headers.top_via().ok()) {
            Some((source, via)) => buffer.field(Name::Via, |out| via_with_source(out, &via, source)),
            None => buffer.field(Name::Via, |out| echo(out, value)),
        }
    }
    buffer.copy(headers, Name::From);
    if let Some(value) = headers.header(Name::To) {
        let add = status != 100 && headers.to_tag().is_none() && headers.has_to();
        buffer.field(Name::To, |out| {
            echo(out, value);
            let end = out.len();
            if add {
                out.extend_from_slice(b";tag=");
                if !to_tag(out) {
                    out.truncate(end);
                }
            }
        });
    }
    buffer.copy(headers, Name::CallId);
    buffer.copy(headers, Name::CSeq);
    if status == 100 {
        buffer.copy(headers, Name::Timestamp);
    }
    buffer
}

/// Writes the Via as received from `source`: with `received` unless sent-by is that address
/// (§18.2.1), and with both `received` and `rport` if `rport` was requested (RFC 3581 §4). A
/// `received` written by the client is dropped.
fn via_with_source(out: &mut Vec<u8>, via: &Via<'_>, source: SocketAddr) {
    let head = &via.raw[..via.raw.len() - via.params.as_bytes().len()];
    echo(out, chars::trim(head));
    for param in via.params.iter().filter(|param| !param.is("received")) {
        out.push(b';');
        echo(out, param.name);
        if param.is("rport") && via.rport == Rport::Requested {
            out.push(b'=');
            out.extend_from_slice(source.port().to_string().as_bytes());
        } else if let Some(value) = param.value {
            out.push(b'=');
            echo(out, value);
        }
    }
    let ip = source.ip().to_canonical();
    let same = match via.host {
        Host::Name(_) => false,
        host => host.ip() == Some(ip),
    };
    if !same || via.rport == Rport::Requested {
        let _ = write!(out, ";received={}", b2b_base::util::host::Host(ip));
    }
}
