//! Minimal HTTP: a GET, and the WebSocket handshake at both ends.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};

use serde_json::Value;
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;

use crate::Failure;

/// Subprotocol for several calls per connection (`docs/voice-agents.md`).
const MANY: &str = "b2b-voice-calls.1";
/// Maximum length of a head of a request or response.
const HEAD: usize = 16 * 1_024;

/// Reads to the end of a head; returns it, and the octets received after it.
fn head(stream: &mut TcpStream) -> Result<(String, Vec<u8>), Failure> {
    let (mut octets, mut buffer) = (Vec::new(), [0; 4_096]);
    loop {
        if let Some(end) = octets.windows(4).position(|four| four == b"\r\n\r\n") {
            let rest = octets.split_off(end + 4);
            return Ok((String::from_utf8(octets)?, rest));
        }
        match stream.read(&mut buffer)? {
            0 => return Err("the connection ends before its head does".into()),
            _ if octets.len() > HEAD => return Err("a head without end".into()),
            count => octets.extend_from_slice(&buffer[..count]),
        }
    }
}

/// The server's answer at this path.
pub fn get(server: SocketAddr, path: &str) -> Result<Value, Failure> {
    let mut stream = TcpStream::connect(server)?;
    write!(stream, "GET {path} HTTP/1.1\r\nHost: {server}\r\nConnection: close\r\n\r\n")?;
    let (head, mut body) = head(&mut stream)?;
    if !head.starts_with("HTTP/1.1 200 ") {
        return Err(format!("GET {path}: {head}").into());
    }
    stream.read_to_end(&mut body)?;
    Ok(serde_json::from_slice(&body)?)
}

/// Opens a WebSocket; also returns the octets received after the handshake.
pub fn connect(server: SocketAddr, path: &str) -> Result<(TcpStream, Vec<u8>), Failure> {
    let mut stream = TcpStream::connect(server)?;
    stream.set_nodelay(true)?;
    write!(
        stream,
        "GET {path} HTTP/1.1\r\nHost: {server}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
    )?;
    let (head, rest) = head(&mut stream)?;
    match head.starts_with("HTTP/1.1 101 ") {
        true => Ok((stream, rest)),
        false => Err(format!("GET {path}: {head}").into()),
    }
}

/// Accepts a connection as a WebSocket; returns whether it carries several calls, which is confirmed.
pub fn accept(stream: &mut TcpStream) -> Result<bool, Failure> {
    let (head, _) = head(stream)?;
    let field = |wanted: &str| {
        let mut fields = head.lines().filter_map(|line| line.split_once(':'));
        fields.find(|(name, _)| name.eq_ignore_ascii_case(wanted)).map(|(_, value)| value.trim())
    };
    let key = derive_accept_key(field("sec-websocket-key").ok_or("no Sec-WebSocket-Key")?.as_bytes());
    let many = field("sec-websocket-protocol") == Some(MANY);
    let protocol = if many { format!("Sec-WebSocket-Protocol: {MANY}\r\n") } else { String::new() };
    write!(
        stream,
        "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
         Sec-WebSocket-Accept: {key}\r\n{protocol}\r\n"
    )?;
    Ok(many)
}
