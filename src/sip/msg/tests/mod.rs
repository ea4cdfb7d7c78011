//! - `bodies`: what a body holds
//! - `defects`: defects of the measured crates, one test each
//! - `parsing`: start lines, header fields, limits
//! - `values`: Via, name-addr, URI, parameters
//! - `writing`: requests, responses, echoed values
//! - `streams`: the decoder
//! - `generated`: parse, write, parse with generated messages

mod bodies;
mod defects;
mod generated;
mod parsing;
mod streams;
mod values;
mod writing;

use bytes::Bytes;

use super::*;

fn parse(text: impl AsRef<[u8]>) -> Result<Message, ParseError> {
    Message::parse(Bytes::copy_from_slice(text.as_ref()), &Limits::default())
}

fn request(text: impl AsRef<[u8]>) -> Request {
    match parse(text).unwrap() {
        Message::Request(request) => request,
        Message::Response(response) => panic!("{response:?}"),
    }
}

fn response(text: impl AsRef<[u8]>) -> Response {
    match parse(text).unwrap() {
        Message::Response(response) => response,
        Message::Request(request) => panic!("{request:?}"),
    }
}

fn fault(text: impl AsRef<[u8]>) -> ParseErrorKind {
    parse(text).unwrap_err().kind
}

/// A valid OPTIONS with these additional header lines, and this body.
fn options(lines: &str, body: &str) -> String {
    format!(
        "OPTIONS sip:bob@example.com SIP/2.0\r\nVia: SIP/2.0/UDP 192.0.2.1:5060;branch=z9hG4bK1\r\n\
         Max-Forwards: 70\r\nFrom: <sip:alice@example.com>;tag=a\r\nTo: <sip:bob@example.com>\r\n\
         Call-ID: c1@example.com\r\nCSeq: 1 OPTIONS\r\n{lines}\r\n{body}"
    )
}

/// A valid response to it.
fn ok(lines: &str) -> String {
    format!(
        "SIP/2.0 200 OK\r\nVia: SIP/2.0/UDP 192.0.2.1:5060;branch=z9hG4bK1\r\n\
         From: <sip:alice@example.com>;tag=a\r\nTo: <sip:bob@example.com>;tag=b\r\n\
         Call-ID: c1@example.com\r\nCSeq: 1 OPTIONS\r\n{lines}\r\n"
    )
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}
