//! Writes messages into one buffer, rejecting control characters in values.

use std::fmt;

use bytes::Bytes;

use super::chars::{self, CONTROL, TOKEN, URI};
use super::headers::Headers;
use super::method::Method;
use super::name::Name;

/// Capacity for a typical message with SDP. Allocators have larger blocks less ready.
const USUAL_SIZE: usize = 1_024;

/// Why a message cannot be written.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum WriteError {
    /// CR, LF, NUL or another control character: the value could end its line and begin
    /// another one.
    #[error("control character in {0}; remove it before the value goes into a message")]
    Control(String),
    /// The method is not a token.
    #[error("the method is not a token")]
    Method,
    /// The Request-URI is empty or contains a space, bracket, quote or control character.
    #[error("the Request-URI has an invalid character")]
    Uri,
    /// A header name is not a token.
    #[error("the header name {0:?} is not a token")]
    Name(String),
    /// The writer adds Content-Length itself.
    #[error("Content-Length is written by the writer; do not add it")]
    ContentLength,
    /// The status code is not in the range 100 to 699.
    #[error("{0} is not a status code")]
    Status(u16),
}

/// A message under construction. The first error is stored and returned at the end, so that
/// calls can be chained.
#[derive(Debug)]
pub(super) struct Buffer {
    bytes: Vec<u8>,
    body: Option<Vec<u8>>,
    error: Option<WriteError>,
}

impl Buffer {
    pub(super) fn request(method: &Method, uri: &[u8]) -> Buffer {
        let mut buffer = Buffer::empty();
        if !chars::all(method.as_bytes(), TOKEN) {
            buffer.fail(WriteError::Method);
        }
        if !chars::all(uri, URI) {
            buffer.fail(WriteError::Uri);
        }
        buffer.bytes.extend_from_slice(method.as_bytes());
        buffer.bytes.push(b' ');
        buffer.bytes.extend_from_slice(uri);
        buffer.bytes.extend_from_slice(b" SIP/2.0\r\n");
        buffer
    }

    pub(super) fn response(status: u16, reason: &[u8]) -> Buffer {
        let mut buffer = Buffer::empty();
        if !(100..700).contains(&status) {
            buffer.fail(WriteError::Status(status));
        }
        buffer.bytes.extend_from_slice(b"SIP/2.0 ");
        buffer.bytes.extend_from_slice(status.to_string().as_bytes());
        buffer.bytes.push(b' ');
        echo(&mut buffer.bytes, reason);
        buffer.bytes.extend_from_slice(b"\r\n");
        buffer
    }

    fn empty() -> Buffer {
        Buffer { bytes: Vec::with_capacity(USUAL_SIZE), body: None, error: None }
    }

    fn fail(&mut self, error: WriteError) {
        self.error.get_or_insert(error);
    }

    /// Writes one field; `value` appends the value to the buffer.
    pub(super) fn field(&mut self, name: Name<'_>, value: impl FnOnce(&mut Vec<u8>)) {
        if name == Name::ContentLength {
            return self.fail(WriteError::ContentLength);
        }
        let text = name.as_bytes();
        if name.id() == 0 && !chars::all(text, TOKEN) {
            return self.fail(WriteError::Name(name.to_string()));
        }
        self.bytes.extend_from_slice(text);
        self.bytes.extend_from_slice(b": ");
        let start = self.bytes.len();
        value(&mut self.bytes);
        if chars::has_control(&self.bytes[start..]) {
            self.fail(WriteError::Control(name.to_string()));
        }
        self.bytes.extend_from_slice(b"\r\n");
    }

    pub(super) fn copy(&mut self, from: &Headers, name: Name<'_>) {
        for value in from.field_values(name) {
            self.field(name, |out| echo(out, value));
        }
    }

    pub(super) fn set_body(&mut self, content_type: &str, body: &[u8]) {
        self.field(Name::ContentType, |out| out.extend_from_slice(content_type.as_bytes()));
        self.body = Some(body.to_vec());
    }

    pub(super) fn finish(mut self) -> Result<Bytes, WriteError> {
        if let Some(error) = self.error {
            return Err(error);
        }
        let body = self.body.unwrap_or_default();
        for part in [b"Content-Length: ", body.len().to_string().as_bytes(), b"\r\n\r\n", &body] {
            self.bytes.extend_from_slice(part);
        }
        Ok(Bytes::from(self.bytes))
    }
}

/// Appends a value of a received message; folds and control characters become one space each.
/// Quoted strings may legally contain escaped control characters (RFC 4475 §3.1.1.2), so
/// rejecting them would leave such a peer without a response.
pub(crate) fn echo(out: &mut Vec<u8>, value: &[u8]) {
    if chars::has_control(value) {
        let blank = |&byte: &u8| if chars::is(byte, CONTROL) { b' ' } else { byte };
        out.extend(chars::unfold(value).iter().map(blank));
    } else {
        out.extend_from_slice(value);
    }
}

/// A received value on one line, for a message of ours: folds and control characters become one space each.
pub fn one_line(value: &[u8]) -> Bytes {
    let mut line = Vec::with_capacity(value.len());
    echo(&mut line, value);
    line.into()
}

/// The methods common to requests and responses.
macro_rules! common_methods {
    ($writer:ident) => {
        impl $writer {
            /// Adds a header field. Control characters in the value are an error.
            pub fn header(mut self, name: Name<'_>, value: impl AsRef<[u8]>) -> Self {
                self.buffer.field(name, |out| out.extend_from_slice(value.as_ref()));
                self
            }

            /// Adds a header field from `format_args!`, without an intermediate string.
            pub fn header_fmt(mut self, name: Name<'_>, value: std::fmt::Arguments<'_>) -> Self {
                // Writing to a Vec cannot fail.
                self.buffer.field(name, |out| drop(std::io::Write::write_fmt(out, value)));
                self
            }

            /// Copies every field with this name from a parsed message: folds and control
            /// characters become spaces.
            pub fn copy(mut self, from: &Headers, name: Name<'_>) -> Self {
                self.buffer.copy(from, name);
                self
            }

            /// Sets the body and adds Content-Type.
            pub fn body(mut self, content_type: &str, body: &[u8]) -> Self {
                self.buffer.set_body(content_type, body);
                self
            }

            /// The message, with Content-Length as the last header field.
            ///
            /// # Errors
            /// The first error in any of the calls.
            pub fn finish(self) -> Result<Bytes, WriteError> {
                self.buffer.finish()
            }
        }
    };
}
pub(super) use common_methods;

/// Writes a request. Header fields are in the order of the calls.
#[derive(Debug)]
#[must_use = "finish() gives the bytes"]
pub struct RequestWriter {
    buffer: Buffer,
}

common_methods!(RequestWriter);

impl RequestWriter {
    /// A request with this method and Request-URI.
    pub fn new(method: &Method, uri: &[u8]) -> RequestWriter {
        RequestWriter { buffer: Buffer::request(method, uri) }
    }
}

/// A display name as a quoted string, to be written before `<URI>`; control characters become
/// spaces.
pub struct Quoted<'a>(pub &'a str);

impl fmt::Display for Quoted<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("\"")?;
        for character in self.0.chars() {
            match character {
                '"' | '\\' => write!(f, "\\{character}")?,
                control if control.is_control() => f.write_str(" ")?,
                plain => write!(f, "{plain}")?,
            }
        }
        f.write_str("\"")
    }
}
