//! Questions to the control interface of a server.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

/// Maximum time for an answer.
const PATIENCE: Duration = Duration::from_secs(2);
/// Maximum octets of an answer.
const LARGEST: u64 = 8 << 20;

/// Sends one GET; returns the body of the answer.
///
/// # Errors
/// There is no answer, or it is another than 2xx.
pub fn get(at: SocketAddr, token: Option<&str>, path: &str) -> io::Result<String> {
    ask(at, token, &format!("GET {path}"), "")
}

/// Sends one POST with JSON; returns the body of the answer.
///
/// # Errors
/// There is no answer, or it is another than 2xx.
pub fn post(at: SocketAddr, path: &str, json: &str) -> io::Result<String> {
    ask(at, None, &format!("POST {path}"), json)
}

fn ask(at: SocketAddr, token: Option<&str>, what: &str, body: &str) -> io::Result<String> {
    let mut stream = TcpStream::connect_timeout(&at, PATIENCE)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    let token = token.map(|token| format!("Authorization: Bearer {token}\r\n")).unwrap_or_default();
    // an answer of HTTP/1.0 has no chunks
    let length = body.len();
    let fields = format!("Host: {at}\r\nConnection: close\r\nContent-Length: {length}\r\n{token}");
    write!(stream, "{what} HTTP/1.0\r\n{fields}\r\n{body}")?;
    let mut answer = String::new();
    stream.take(LARGEST).read_to_string(&mut answer)?;
    let (head, body) = answer.split_once("\r\n\r\n").unwrap_or_default();
    match head.split_whitespace().nth(1) {
        Some(status) if status.starts_with('2') => Ok(body.to_owned()),
        Some(status) => Err(io::Error::other(format!("{what}: {status} {}", body.trim()))),
        None => Err(io::Error::other(format!("{what}: no answer"))),
    }
}
