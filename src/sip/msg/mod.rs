//! SIP messages: each is one `Bytes` with spans into it. Parsing copies and normalises
//! nothing; messages are written back as received.
//!
//! - `parse`, `lines`, `error`: bytes to message; parse errors and the responses to them
//! - `headers`, `list`, `offsets`, `name`, `method`: raw and typed header fields; `structural`: those that a dialog
//!   needs
//! - `via`, `name_addr`, `uri`, `params`: borrowed typed values
//! - `number`: the number or name that a URI is for
//! - `phrase`: reason phrases
//! - `writer`, `reply`: requests and responses to bytes
//! - `framing`: messages from a byte stream
//! - `body`: the content of bodies, multiparts included
//! - `chars`: character classes, quoting, folding, escapes
//! - `written`: messages in written values
//! - `contact_token`: a token that identifies calls returning from a registrar
//! - `seconds`: times that a peer names, and their bounds
//! - `veil`: messages with private parts removed

pub mod body;
pub mod chars;
pub mod contact_token;
mod error;
pub mod framing;
mod headers;
mod lines;
mod list;
mod method;
mod name;
mod name_addr;
pub mod number;
mod offsets;
mod params;
mod parse;
mod phrase;
mod reply;
pub mod seconds;
mod structural;
#[cfg(test)]
mod tests;
mod uri;
pub mod veil;
mod via;
mod writer;
mod written;

use std::net::SocketAddr;
use std::ops::Deref;

use bytes::Bytes;
use contact_token::ContactToken;

pub use error::{ParseError, ParseErrorKind, PartialRequest};
pub use headers::{CSeq, HeaderError, HeaderFields, Headers};
pub use list::elements;
pub use method::Method;
pub use name::Name;
pub use name_addr::NameAddr;
pub use params::{Param, Params};
pub use phrase::phrase;
pub use reply::ResponseWriter;
pub use uri::{Host, Scheme, Uri, UriError};
pub use via::{MAGIC_COOKIE, Rport, Transport, Via};
pub(crate) use writer::echo;
pub use writer::{Quoted, RequestWriter, WriteError, one_line};

/// Size limits of a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Octets of a whole message.
    pub message: usize,
    /// Number of header fields.
    pub headers: usize,
    /// Octets of one header field, folds included, and of the start line.
    pub header_line: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Limits { message: 65_535, headers: 256, header_line: 8_192 }
    }
}

/// A request or a response.
#[derive(Debug, Clone)]
pub enum Message {
    /// A request.
    Request(Request),
    /// A response.
    Response(Response),
}

/// A request. Header accessors come from [`Headers`].
#[derive(Debug, Clone)]
pub struct Request {
    method: Method,
    uri: Extent,
    headers: Headers,
    source: Option<SocketAddr>,
    /// Boxed, because few requests have one.
    token: Option<Box<ContactToken>>,
}

/// A part of the start line: its first octet, and the one after its last.
#[derive(Debug, Clone, Copy, Default)]
struct Extent {
    begin: u32,
    end: u32,
}

impl Extent {
    fn of(self, raw: &[u8]) -> &[u8] {
        &raw[self.begin as usize..self.end as usize]
    }
}

/// A response. Header accessors come from [`Headers`].
#[derive(Debug, Clone)]
pub struct Response {
    status: u16,
    reason: Extent,
    headers: Headers,
    source: Option<SocketAddr>,
}

impl Message {
    /// Parses one datagram. Leading line ends are skipped. Without Content-Length the body
    /// extends to the end of the datagram, and anything after the body is dropped (RFC 3261
    /// §18.3).
    ///
    /// # Errors
    /// [`ParseError`], with the material for a response if one is possible.
    pub fn parse(datagram: Bytes, limits: &Limits) -> Result<Message, ParseError> {
        parse::message(datagram, limits, parse::Framing::Datagram)
    }

    /// The message as received.
    pub fn as_bytes(&self) -> &Bytes {
        &self.raw
    }
}

impl Request {
    /// The method.
    pub fn method(&self) -> &Method {
        &self.method
    }

    /// The Request-URI as received.
    pub fn uri_bytes(&self) -> &[u8] {
        self.uri.of(&self.headers.raw)
    }

    /// The parsed Request-URI.
    pub fn uri(&self) -> Result<Uri<'_>, UriError> {
        Uri::parse(self.uri_bytes())
    }

    /// The request as received.
    pub fn as_bytes(&self) -> &Bytes {
        &self.headers.raw
    }

    /// Sets the source of the request. Responses then carry `received` and `rport` in the top
    /// Via according to RFC 3261 §18.2.1 and RFC 3581 §4; the request itself stays unchanged.
    pub fn set_source(&mut self, source: SocketAddr) {
        self.source = Some(source);
    }

    /// The token that was removed from the Request-URI.
    pub fn contact_token(&self) -> Option<ContactToken> {
        self.token.as_deref().copied()
    }

    /// The source of the request.
    pub fn source(&self) -> Option<SocketAddr> {
        self.source
    }
}

impl Response {
    /// The status code, 100 to 699.
    pub fn status(&self) -> u16 {
        self.status
    }

    /// The reason phrase as received: any octets, or none.
    pub fn reason(&self) -> &[u8] {
        self.reason.of(&self.headers.raw)
    }

    /// The response as received.
    pub fn as_bytes(&self) -> &Bytes {
        &self.headers.raw
    }

    /// Sets the source of the response.
    pub fn set_source(&mut self, source: SocketAddr) {
        self.source = Some(source);
    }

    /// The source of the response.
    pub fn source(&self) -> Option<SocketAddr> {
        self.source
    }
}

impl Deref for Message {
    type Target = Headers;

    fn deref(&self) -> &Headers {
        match self {
            Message::Request(request) => &request.headers,
            Message::Response(response) => &response.headers,
        }
    }
}

impl Deref for Request {
    type Target = Headers;

    fn deref(&self) -> &Headers {
        &self.headers
    }
}

impl Deref for Response {
    type Target = Headers;

    fn deref(&self) -> &Headers {
        &self.headers
    }
}
