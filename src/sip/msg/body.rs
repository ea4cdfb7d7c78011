//! What a body holds, by its Content-Type: one thing, or the parts of a multipart (RFC 5621,
//! RFC 2046 §5.1).

use std::hash::{DefaultHasher, Hash, Hasher};

use bytes::Bytes;
use memchr::memmem;

use super::chars;
use super::headers::Headers;
use super::lines::{self, Line};
use super::name::Name;
use super::params::Params;
use super::writer::one_line;

/// The types of bodies in which a session is found, for Accept.
pub const ACCEPT: &str = "application/sdp, multipart/mixed, multipart/related";

/// Number of parts of a body.
const PARTS: usize = 8;
/// Number of multiparts within each other.
const DEPTH: u8 = 2;
/// Octets of a multipart.
const SIZE: usize = 65_536;

/// A message body. The endpoint only looks for a session in a multipart.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Body {
    /// The media type, for example `application/sdp`.
    pub content_type: Bytes,
    /// The octets of the body.
    pub data: Bytes,
}

impl Body {
    /// A body with a session description.
    pub fn sdp(data: impl Into<Bytes>) -> Self {
        Body { content_type: Bytes::from_static(b"application/sdp"), data: data.into() }
    }

    /// A session description, and parts that belong to it.
    pub fn mixed(session: Option<Bytes>, parts: Vec<Part>) -> Option<Self> {
        if parts.is_empty() {
            return session.map(Body::sdp);
        }
        let session =
            session.map(|data| Part { content_type: Body::sdp("").content_type, data, ..Part::default() });
        let (content_type, data) = mixed(&session.into_iter().chain(parts).collect::<Vec<_>>());
        Some(Body { content_type: content_type.into(), data: data.into() })
    }

    pub(crate) fn content_type(&self) -> &str {
        std::str::from_utf8(&self.content_type).unwrap_or("application/octet-stream")
    }

    /// Whether it has a session: any body counts that is no multipart.
    pub(crate) fn has_session(&self) -> bool {
        let is_multipart =
            self.content_type.get(..10).is_some_and(|it| it.eq_ignore_ascii_case(b"multipart/"));
        !is_multipart || Content::read(&self.content_type, self.data.clone()).session.is_some()
    }
}

/// The content of a body.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Content {
    /// The session description.
    pub session: Option<Bytes>,
    /// Everything else, in order.
    pub parts: Vec<Part>,
    /// Why some of it could not be read.
    pub fault: Option<&'static str>,
}

/// A part of a body that is not its session description, or a whole body of another type.
#[derive(Debug, Clone, PartialEq, Eq, Default, serde::Serialize, serde::Deserialize)]
pub struct Part {
    /// The media type with its parameters; empty if there is none.
    pub content_type: Bytes,
    /// What it is for (RFC 3261 §20.11).
    pub disposition: Option<Bytes>,
    /// The name by which header fields refer to it, in angle brackets (RFC 2392).
    pub id: Option<Bytes>,
    /// Whether the message may not be understood without it: `handling=required`, which for a
    /// body that is no multipart is also the default. Peers send parts without Content-Disposition
    /// that nobody needs.
    pub is_required: bool,
    /// Its octets.
    pub data: Bytes,
}

impl Part {
    /// Whether it is of this media type.
    pub fn is(&self, media_type: &str) -> bool {
        MediaType::parse(&self.content_type).is_some_and(|it| it.is(media_type))
    }
}

impl Headers {
    /// The session description in the body, alone or as a part.
    pub fn session(&self) -> Option<Bytes> {
        self.usual_session().or_else(|| self.content().session)
    }

    /// The whole body, if it is a session and says so in the usual words.
    fn usual_session(&self) -> Option<Bytes> {
        let is_usual = self.header(Name::ContentType) == Some(b"application/sdp")
            && !self.has(Name::ContentDisposition)
            && !self.has(Name::ContentEncoding);
        is_usual.then(|| self.body()).filter(|body| !body.is_empty())
    }

    /// What the body holds.
    pub fn content(&self) -> Content {
        if self.body().is_empty() {
            return Content::default();
        }
        if let session @ Some(_) = self.usual_session() {
            return Content { session, ..Content::default() };
        }
        let head = Head {
            content_type: self.header(Name::ContentType),
            disposition: self.header(Name::ContentDisposition),
            id: self.header(CONTENT_ID),
            is_encoded: self.headers(Name::ContentEncoding).any(is_encoding),
        };
        Content::of(&head, self.body())
    }
}

const CONTENT_ID: Name<'static> = Name::Other(b"Content-ID");
const TRANSFER_ENCODING: Name<'static> = Name::Other(b"Content-Transfer-Encoding");

fn is_encoding(value: &[u8]) -> bool {
    !["identity", "7bit", "8bit", "binary"].iter().any(|it| value.eq_ignore_ascii_case(it.as_bytes()))
}

/// The header fields of a body or of a part.
#[derive(Default)]
struct Head<'a> {
    content_type: Option<&'a [u8]>,
    disposition: Option<&'a [u8]>,
    id: Option<&'a [u8]>,
    is_encoded: bool,
}

struct MediaType<'a> {
    kind: &'a [u8],
    subtype: &'a [u8],
    params: &'a [u8],
}

impl<'a> MediaType<'a> {
    fn parse(value: &'a [u8]) -> Option<Self> {
        let (name, params) = value.split_at(memchr::memchr(b';', value).unwrap_or(value.len()));
        let (kind, subtype) = name.split_at(memchr::memchr(b'/', name)?);
        Some(MediaType { kind: chars::trim(kind), subtype: chars::trim(subtype.get(1..)?), params })
    }

    fn is(&self, media_type: &str) -> bool {
        let (kind, subtype) = media_type.split_once('/').unwrap_or_default();
        self.kind.eq_ignore_ascii_case(kind.as_bytes())
            && self.subtype.eq_ignore_ascii_case(subtype.as_bytes())
    }

    fn is_multipart(&self) -> bool {
        self.kind.eq_ignore_ascii_case(b"multipart")
    }
}

/// A parameter of a header value. One that is malformed ends the list.
fn param(params: &[u8], name: &str) -> Option<Vec<u8>> {
    let mut value = None;
    _ = Params::of_header(params, |param| {
        if param.is(name) && value.is_none() {
            value = Some(param.unquoted().into_owned());
        }
    });
    value
}

impl Content {
    /// Reads a body with this Content-Type.
    pub fn read(content_type: &[u8], data: Bytes) -> Content {
        Content::of(&Head { content_type: Some(content_type), ..Head::default() }, data)
    }

    fn of(head: &Head<'_>, data: Bytes) -> Content {
        let mut content = Content::default();
        if !data.is_empty() {
            content.take(head, data, 0, false);
        }
        // Encoded, it cannot be read, and no other part is the session.
        if content.session.is_none()
            && let Some(part) =
                content.parts.iter_mut().find(|part| part.is("application/sdp") && part.disposition.is_none())
        {
            part.is_required = true;
        }
        content
    }

    /// Takes a body, or a part within `depth` multiparts. `optional`: as these say, nobody needs it.
    fn take(&mut self, head: &Head<'_>, data: Bytes, depth: u8, optional: bool) {
        let media_type = head.content_type.and_then(MediaType::parse);
        let disposition = head.disposition.unwrap_or_default();
        let (purpose, params) =
            disposition.split_at(memchr::memchr(b';', disposition).unwrap_or(disposition.len()));
        let handling = param(params, "handling").map(|it| it.eq_ignore_ascii_case(b"required"));
        if let Some(media_type) = media_type.as_ref().filter(|it| it.is_multipart() && !head.is_encoded) {
            return self.take_parts(media_type, &data, depth, optional || handling == Some(false));
        }
        let is_sdp = match &media_type {
            Some(media_type) => media_type.is("application/sdp"),
            // Some peers do not name the only type that a call needs.
            None => chars::trim(head.content_type.unwrap_or_default()).is_empty() && data.starts_with(b"v=0"),
        };
        // RFC 3959: another session than that of the call.
        let is_early = chars::trim(purpose).eq_ignore_ascii_case(b"early-session");
        if self.parts.len() + usize::from(self.session.is_some()) == PARTS {
            self.fault.get_or_insert("a body of more than 8 parts");
        } else if is_sdp && !is_early && !head.is_encoded && self.session.is_none() {
            self.session = Some(data);
        } else {
            self.parts.push(Part {
                content_type: head.content_type.map(one_line).unwrap_or_default(),
                disposition: head.disposition.map(one_line),
                id: head.id.map(one_line),
                is_required: !optional && handling.unwrap_or(depth == 0),
                data,
            });
        }
    }

    /// Takes the parts of a multipart. Unknown kinds of multipart are as `multipart/mixed` (RFC 2046
    /// §5.1.7).
    fn take_parts(&mut self, media_type: &MediaType<'_>, data: &Bytes, depth: u8, optional: bool) {
        let mut parts = match param(media_type.params, "boundary").filter(|it| !it.is_empty()) {
            Some(boundary) if depth < DEPTH && data.len() <= SIZE => split(data, &boundary),
            _ => Vec::new(),
        };
        if parts.is_empty() && !optional {
            self.fault.get_or_insert("a multipart without boundary, of more than 64 KB or too deep");
        }
        // RFC 2046 §5.1.4: the last one that is understood counts, and no other is needed.
        let is_choice = media_type.is("multipart/alternative");
        if is_choice {
            parts.reverse();
        }
        for part in parts {
            let (mut head, mut at) = (Head::default(), 0);
            let start = loop {
                match lines::line(&part, at) {
                    Line::Field(field) => {
                        let value = part.get(field.value_start..field.value_end).unwrap_or_default();
                        match part.get(field.start..field.name_end).map(Name::parse) {
                            Some(Name::ContentType) => head.content_type = Some(value),
                            Some(Name::ContentDisposition) => head.disposition = Some(value),
                            Some(Name::ContentEncoding) => head.is_encoded |= is_encoding(value),
                            Some(name) if name == TRANSFER_ENCODING => head.is_encoded |= is_encoding(value),
                            Some(name) if name == CONTENT_ID => head.id = Some(value),
                            _ => {}
                        }
                        at = field.end;
                    }
                    Line::Bad(end) => at = end,
                    Line::Empty(start) => break start,
                    Line::Unterminated => break part.len(),
                }
            };
            self.take(&head, part.slice(start..), depth + 1, optional || is_choice);
        }
    }
}

/// The parts between the delimiters; what comes before the first and after the last is no part. The last
/// delimiter may be missing.
fn split(data: &Bytes, boundary: &[u8]) -> Vec<Bytes> {
    // The line end before a delimiter belongs to it.
    let part = |start: usize, end: usize| {
        let part = data.get(start..end).unwrap_or_default();
        let part = part.strip_suffix(b"\n").unwrap_or(part);
        data.slice_ref(part.strip_suffix(b"\r").unwrap_or(part))
    };
    let (mut parts, mut start, mut at) = (Vec::new(), None, 0);
    while at < data.len() && parts.len() <= PARTS {
        let end = lines::line_end(data, at).unwrap_or(data.len());
        let line = data.get(at..end).unwrap_or_default();
        if let Some(is_last) = delimiter(line, boundary) {
            parts.extend(start.map(|start| part(start, at)));
            if is_last {
                return parts;
            }
            start = Some(end);
        }
        at = end;
    }
    parts.extend(start.filter(|_| parts.len() <= PARTS).map(|start| part(start, data.len())));
    parts
}

/// Whether a delimiter is the last one; `None` if the line is none.
fn delimiter(line: &[u8], boundary: &[u8]) -> Option<bool> {
    let rest = line.strip_prefix(b"--")?.strip_prefix(boundary)?;
    let (is_last, rest) = match rest.strip_prefix(b"--") {
        Some(rest) => (true, rest),
        None => (false, rest),
    };
    chars::trim(rest).is_empty().then_some(is_last)
}

/// The Content-Type and octets of a `multipart/mixed` of these parts.
pub(crate) fn mixed(parts: &[Part]) -> (String, Vec<u8>) {
    let mut hasher = DefaultHasher::new();
    let boundary = loop {
        parts.iter().for_each(|part| part.data.hash(&mut hasher));
        let boundary = format!("b2b-{:016x}", hasher.finish());
        if parts.iter().all(|part| memmem::find(&part.data, boundary.as_bytes()).is_none()) {
            break boundary;
        }
    };
    let mut out = Vec::new();
    for part in parts {
        out.extend_from_slice(format!("--{boundary}\r\n").as_bytes());
        let fields = [
            ("Content-Type", Some(&part.content_type)),
            ("Content-ID", part.id.as_ref()),
            ("Content-Disposition", part.disposition.as_ref()),
        ];
        for (name, value) in fields {
            if let Some(value) = value.filter(|it| !it.is_empty()) {
                out.extend([name.as_bytes(), b": ", value, b"\r\n"].concat());
            }
        }
        out.extend([b"\r\n", &part.data[..], b"\r\n"].concat());
    }
    out.extend_from_slice(format!("--{boundary}--\r\n").as_bytes());
    (format!("multipart/mixed;boundary=\"{boundary}\""), out)
}
