//! Parse errors, and the responses to them.

use std::net::SocketAddr;

use bytes::Bytes;

use super::headers::{HeaderError, Headers};
use super::method::Method;
use super::name::Name;
use super::reply;

/// What is wrong with a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ParseErrorKind {
    /// Only line ends: a keep-alive, not an error.
    #[error("no message, only line ends")]
    Empty,
    /// The first line is neither a request line nor a status line.
    #[error("malformed request line")]
    RequestLine,
    /// The status line is malformed. See `RequestLine`.
    #[error("malformed status line")]
    StatusLine,
    /// The Request-URI is malformed, or has headers (RFC 3261 §19.1.1).
    #[error("invalid Request-URI")]
    RequestUri,
    /// Not SIP/2.0.
    #[error("SIP version not supported")]
    Version,
    /// A line of the header section is not a header field.
    #[error("malformed header line")]
    HeaderLine,
    /// The header section does not end with an empty line.
    #[error("header section without end")]
    Unterminated,
    /// A header field is missing, invalid or repeated.
    #[error(transparent)]
    Header(#[from] HeaderError),
    /// The method in CSeq differs from that of the request.
    #[error("CSeq method does not match the request")]
    CSeqMismatch,
    /// Content-Length exceeds the datagram.
    #[error("Content-Length beyond the end of the datagram")]
    ShortBody,
    /// A limit is exceeded.
    #[error("message larger than {0}")]
    Limit(&'static str),
}

impl ParseErrorKind {
    /// The status code of the response.
    pub fn status(&self) -> u16 {
        match self {
            ParseErrorKind::Version => 505,
            ParseErrorKind::Limit(_) => 513,
            _ => 400,
        }
    }

    /// The reason phrase of the response.
    pub fn reason(&self) -> String {
        match self {
            ParseErrorKind::Version => "Version Not Supported".to_owned(),
            ParseErrorKind::Limit(_) => "Message Too Large".to_owned(),
            other => format!("Bad Request: {other}"),
        }
    }
}

/// A message that could not be parsed.
#[derive(Debug, Clone, thiserror::Error)]
#[error("{kind}")]
pub struct ParseError {
    /// The first error found.
    pub kind: ParseErrorKind,
    /// The material for a response: present if the message is a request other than ACK with a
    /// Via and a CSeq, which identify its transaction.
    pub partial: Option<Box<PartialRequest>>,
}

impl ParseError {
    /// The response (400, 505 or 513) to the request, if one is possible; `source` goes into
    /// the top Via as `received` and `rport`.
    pub fn response(&self, source: SocketAddr) -> Option<Bytes> {
        let partial = self.partial.as_deref()?;
        Some(partial.response(self.kind.status(), &self.kind.reason(), source))
    }
}

/// The readable parts of a malformed request.
#[derive(Debug, Clone)]
pub struct PartialRequest {
    pub(super) method: Method,
    pub(super) headers: Headers,
}

impl PartialRequest {
    /// The method of the request.
    pub fn method(&self) -> &Method {
        &self.method
    }

    /// The header fields that could be read.
    pub fn headers(&self) -> &Headers {
        &self.headers
    }

    /// A response from the readable parts (RFC 4475 §3.3.1): missing header fields stay
    /// missing.
    pub fn response(&self, status: u16, reason: &str, source: SocketAddr) -> Bytes {
        reply::stateless(&self.headers, status, reason, Some(source))
    }

    pub(super) fn answerable(method: Method, headers: Headers) -> Option<Box<PartialRequest>> {
        let there = |name| headers.header(name).is_some_and(|value| !value.is_empty());
        let answerable = method != Method::Ack && there(Name::Via) && there(Name::CSeq);
        answerable.then(|| Box::new(PartialRequest { method, headers }))
    }
}
