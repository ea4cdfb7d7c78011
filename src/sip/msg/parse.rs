//! From bytes to a message: start line, header fields, the checks for every message, and the
//! extent of the body.

use bytes::Bytes;

use super::chars::{self, TOKEN};
use super::error::{ParseError, ParseErrorKind, PartialRequest};
use super::headers::{HeaderError, Headers, Span, Spans};
use super::lines::{self, Line};
use super::method::Method;
use super::name::Name;
use super::uri::Uri;
use super::{Extent, Limits, Message, Request, Response, contact_token};

/// Where a message ends (RFC 3261 §18.3).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Framing {
    /// At the end of the datagram, or earlier according to Content-Length.
    Datagram,
    /// Where Content-Length says; it is mandatory.
    Stream,
}

/// Capacity for the header fields of a typical request, in one allocation.
const USUAL_FIELDS: usize = 24;

enum StartLine {
    Request { method: Method, uri: Extent },
    Response { status: u16, reason: Extent },
}

pub(super) fn message(data: Bytes, limits: &Limits, framing: Framing) -> Result<Message, ParseError> {
    let skip = data.iter().position(|byte| !matches!(byte, b'\r' | b'\n'));
    let Some(skip) = skip else { return Err(ParseError { kind: ParseErrorKind::Empty, partial: None }) };
    let mut raw = data;
    bytes::Buf::advance(&mut raw, skip);
    let (mut raw, token) = contact_token::take(raw);

    let mut fault = Fault(None);
    if raw.len() > limits.message.min(u32::MAX as usize) {
        fault.note(ParseErrorKind::Limit("the size of a message"));
        raw.truncate(limits.message.min(u32::MAX as usize));
    }
    let first_end = lines::line_end(&raw, 0).unwrap_or(raw.len());
    let start = start_line(&raw, first_end, limits, &mut fault);
    let (spans, head_end) = header_section(&raw, first_end, limits, &mut fault);
    let mut headers = Headers::new(raw, spans, head_end);

    if let Err(error) = headers.check() {
        fault.note(error.into());
    }
    if let Some(StartLine::Request { method, .. }) = &start {
        if let Err(error) = headers.check_request(method) {
            fault.note(error.into());
        }
        if headers.cseq_method().is_some_and(|other| other != method) {
            fault.note(ParseErrorKind::CSeqMismatch);
        }
    }
    let body_end = match body_end(&headers, head_end, framing) {
        Ok(end) => end,
        Err(kind) => {
            fault.note(kind);
            head_end
        }
    };

    match (start, fault.0) {
        (Some(StartLine::Request { method, uri }), None) => {
            headers.raw.truncate(body_end);
            Ok(Message::Request(Request { method, uri, headers, source: None, token }))
        }
        (Some(StartLine::Response { status, reason }), None) => {
            headers.raw.truncate(body_end);
            Ok(Message::Response(Response { status, reason, headers, source: None }))
        }
        (start, fault) => {
            let partial = match start {
                Some(StartLine::Request { method, .. }) => PartialRequest::answerable(method, headers),
                _ => None,
            };
            Err(ParseError { kind: fault.unwrap_or(ParseErrorKind::RequestLine), partial })
        }
    }
}

/// The first error found. A message is read to its end despite an error, because the response
/// needs header fields that may follow.
struct Fault(Option<ParseErrorKind>);

impl Fault {
    fn note(&mut self, kind: ParseErrorKind) {
        self.0.get_or_insert(kind);
    }
}

/// Parses the first line, which ends at `end`. `None` if it has no method. After an invalid
/// Request-URI or version the method is still usable.
fn start_line(raw: &Bytes, end: usize, limits: &Limits, fault: &mut Fault) -> Option<StartLine> {
    let line = &raw[..end];
    let line = line.strip_suffix(b"\n").unwrap_or(line);
    let line = line.strip_suffix(b"\r").unwrap_or(line);
    if line.len() > limits.header_line {
        fault.note(ParseErrorKind::Limit("the length of a line"));
    }
    let first = memchr::memchr(b' ', line).unwrap_or(line.len());
    let word = &line[..first];
    if word.get(..4).is_some_and(|start| start.eq_ignore_ascii_case(b"SIP/")) {
        if !word.eq_ignore_ascii_case(b"SIP/2.0") {
            fault.note(ParseErrorKind::Version);
            return Some(StartLine::Response { status: 0, reason: Extent::default() });
        }
        return Some(status_line(line, first, fault));
    }
    if !chars::all(word, TOKEN) {
        fault.note(ParseErrorKind::RequestLine);
        return None;
    }
    let method = Method::known(word).unwrap_or_else(|| Method::Other(raw.slice(..first)));
    let last = memchr::memrchr(b' ', line).unwrap_or(first);
    let uri = line.get(first + 1..last).unwrap_or_default();
    match version(line.get(last + 1..).unwrap_or_default()) {
        _ if memchr::memchr2(b' ', b'\t', uri).is_some() || uri.is_empty() => {
            fault.note(ParseErrorKind::RequestLine);
        }
        None => fault.note(ParseErrorKind::RequestLine),
        Some(false) => fault.note(ParseErrorKind::Version),
        Some(true) if !Uri::parse(uri).is_ok_and(|uri| uri.headers.is_none()) => {
            fault.note(ParseErrorKind::RequestUri);
        }
        Some(true) => {}
    }
    Some(StartLine::Request { method, uri: Extent { begin: first as u32 + 1, end: last as u32 } })
}

/// Whether a SIP-Version is supported; `None` if it is malformed.
fn version(text: &[u8]) -> Option<bool> {
    let (name, number) = text.split_at_checked(4)?;
    let dot = memchr::memchr(b'.', number)?;
    let digits = |part: &[u8]| !part.is_empty() && part.iter().all(u8::is_ascii_digit);
    let valid = name.eq_ignore_ascii_case(b"SIP/") && digits(&number[..dot]) && digits(&number[dot + 1..]);
    valid.then(|| number == b"2.0")
}

/// Parses `SIP/2.0 SP 3DIGIT SP [reason]`; the space before an empty reason may be missing.
fn status_line(line: &[u8], space: usize, fault: &mut Fault) -> StartLine {
    let rest = line.get(space + 1..).unwrap_or_default();
    let (code, reason) = match memchr::memchr(b' ', rest) {
        Some(end) => (&rest[..end], space + 1 + end + 1),
        None => (rest, line.len()),
    };
    let status = if code.len() == 3 { chars::number(code) } else { None };
    let status = status.filter(|status| (100..700).contains(status)).unwrap_or_else(|| {
        fault.note(ParseErrorKind::StatusLine);
        0
    });
    let reason = Extent { begin: reason as u32, end: line.len() as u32 };
    StartLine::Response { status: status as u16, reason }
}

/// Whether a line that is no header field cannot be skipped: it may end where others see another end, or
/// its first word is a field that no message is read without.
fn is_needed(line: &[u8]) -> bool {
    const NEEDED: [Name<'static>; 10] = [
        Name::Authorization,
        Name::CSeq,
        Name::CallId,
        Name::ContentLength,
        Name::From,
        Name::ProxyAuthorization,
        Name::Require,
        Name::Route,
        Name::To,
        Name::Via,
    ];
    let text = line.strip_suffix(b"\n").unwrap_or(line);
    let text = text.strip_suffix(b"\r").unwrap_or(text);
    let word = text.get(..chars::span(text, TOKEN)).unwrap_or_default();
    chars::has_control(text)
        || text.first().is_some_and(|it| chars::is_lws(*it))
        || NEEDED.contains(&Name::parse(word))
}

/// Parses header fields from `at` to the empty line; returns the start of the body.
fn header_section(raw: &[u8], mut at: usize, limits: &Limits, fault: &mut Fault) -> (Spans, usize) {
    let mut spans = Spans::with_capacity(USUAL_FIELDS);
    loop {
        match lines::line(raw, at) {
            Line::Field(field) => {
                if field.end - field.start > limits.header_line {
                    fault.note(ParseErrorKind::Limit("the length of a line"));
                } else if spans.len() == limits.headers {
                    fault.note(ParseErrorKind::Limit("the number of header fields"));
                    return (spans, field.end);
                } else {
                    spans.push(Span::new(field));
                }
                at = field.end;
            }
            Line::Bad(end) => {
                if raw.get(at..end).is_none_or(is_needed) {
                    fault.note(ParseErrorKind::HeaderLine);
                }
                spans.skipped += 1;
                at = end;
            }
            Line::Empty(body) => return (spans, body),
            Line::Unterminated => {
                fault.note(ParseErrorKind::Unterminated);
                return (spans, raw.len());
            }
        }
    }
}

fn body_end(headers: &Headers, head_end: usize, framing: Framing) -> Result<usize, ParseErrorKind> {
    let left = headers.raw.len() - head_end;
    let length = match headers.is_repeated(Name::ContentLength) {
        false => content_length(headers.header(Name::ContentLength).into_iter()),
        true => content_length(headers.field_values(Name::ContentLength)),
    };
    match length? {
        Some(length) if length > left => Err(ParseErrorKind::ShortBody),
        Some(length) => Ok(head_end + length),
        None if framing == Framing::Stream => Err(HeaderError::Missing(Name::ContentLength).into()),
        None => Ok(headers.raw.len()),
    }
}

/// The value of all Content-Length fields of a message: repeated ones must agree, otherwise
/// the end of the message is ambiguous (RFC 4475 §3.3.9).
pub(super) fn content_length<'a>(
    values: impl Iterator<Item = &'a [u8]>,
) -> Result<Option<usize>, HeaderError> {
    let mut agreed = None;
    for value in values {
        let length = chars::number(value).and_then(|length| usize::try_from(length).ok());
        let length = length.ok_or(HeaderError::Invalid(Name::ContentLength))?;
        if agreed.is_some_and(|before| before != length) {
            return Err(HeaderError::Repeated(Name::ContentLength));
        }
        agreed = Some(length);
    }
    Ok(agreed)
}

/// The material for a response, whatever else is wrong with `data`.
pub(super) fn partial(data: Bytes, limits: &Limits) -> Option<Box<PartialRequest>> {
    match message(data, limits, Framing::Datagram) {
        Ok(Message::Request(request)) => PartialRequest::answerable(request.method, request.headers),
        Ok(Message::Response(_)) => None,
        Err(error) => error.partial,
    }
}
