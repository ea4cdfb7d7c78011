//! The address of a voice agent: `ws://host:port/path`, `wss://…`, `ws+unix:///socket:/path`, or `tcp://host:port` for
//! one without a WebSocket.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

/// A parsed WebSocket URL (RFC 6455 §3).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AgentUrl {
    text: String,
    /// The transport.
    pub way: AgentWay,
}

/// The scheme of an address without a WebSocket.
const TCP: &str = "tcp";

/// The transport to an agent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AgentWay {
    /// TCP, with TLS if `secure`.
    Tcp {
        /// A name or an address, without brackets.
        host: String,
        port: u16,
        secure: bool,
    },
    /// A Unix socket, and the URL of the request.
    Unix { socket: PathBuf, request: String },
}

impl FromStr for AgentUrl {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || "not the URL of a WebSocket; write it like ws://127.0.0.1:9000/agent".to_owned();
        if !text.bytes().all(|byte| byte.is_ascii_graphic()) || text.contains('#') {
            return Err(wrong());
        }
        let way = match text.split_once("://") {
            Some(("ws", rest)) => tcp(rest, false).ok_or_else(wrong)?,
            Some(("wss", rest)) => tcp(rest, true).ok_or_else(wrong)?,
            Some((TCP, rest)) if rest.contains(':') && !rest.contains('/') => {
                tcp(rest, false).ok_or_else(wrong)?
            }
            Some(("ws+unix", rest)) => {
                unix(rest).ok_or("not a Unix socket; write it like ws+unix:///run/agent.sock:/path")?
            }
            _ => return Err(wrong()),
        };
        Ok(AgentUrl { text: text.to_owned(), way })
    }
}

fn tcp(rest: &str, secure: bool) -> Option<AgentWay> {
    let end = rest.find(['/', '?']).unwrap_or(rest.len());
    let authority = &rest[..end];
    let (host, port) = match authority.rsplit_once(':').filter(|(_, port)| !port.ends_with(']')) {
        Some((host, port)) => (host, port.parse().ok()?),
        None => (authority, if secure { 443 } else { 80 }),
    };
    let host = host.trim_start_matches('[').trim_end_matches(']');
    let good = !host.is_empty() && port != 0 && !authority.contains('@');
    good.then(|| AgentWay::Tcp { host: host.to_owned(), port, secure })
}

fn unix(rest: &str) -> Option<AgentWay> {
    let (socket, path) = rest.split_once(':').unwrap_or((rest, "/"));
    let good = socket.len() > 1 && socket.starts_with('/') && path.starts_with('/');
    good.then(|| AgentWay::Unix { socket: socket.into(), request: format!("ws://localhost{path}") })
}

impl AgentUrl {
    /// Whether it is one without a WebSocket.
    pub fn is_tcp(&self) -> bool {
        self.text.starts_with(TCP)
    }

    /// The URL of the WebSocket request.
    pub fn request(&self) -> &str {
        match &self.way {
            AgentWay::Tcp { .. } => &self.text,
            AgentWay::Unix { request, .. } => request,
        }
    }
}

/// Omits the query, which may contain a secret.
impl fmt::Display for AgentUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.text.split('?').next().unwrap_or_default())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_are_taken_apart_and_odd_ones_refused() {
        let read = |text: &str| text.parse::<AgentUrl>().map(|url| url.way);
        let tcp = |host: &str, port, secure| Ok(AgentWay::Tcp { host: host.into(), port, secure });
        assert_eq!(read("ws://127.0.0.1:9000/agent?x=1"), tcp("127.0.0.1", 9_000, false));
        assert_eq!(read("wss://agent.example"), tcp("agent.example", 443, true));
        assert_eq!(read("ws://[::1]/a"), tcp("::1", 80, false));
        assert_eq!(read("ws://[::1]:81?a"), tcp("::1", 81, false));
        let unix =
            |request: &str| Ok(AgentWay::Unix { socket: "/run/a.sock".into(), request: request.into() });
        assert_eq!(read("ws+unix:///run/a.sock"), unix("ws://localhost/"));
        assert_eq!(read("ws+unix:///run/a.sock:/agent?x=1"), unix("ws://localhost/agent?x=1"));
        assert_eq!(read("tcp://127.0.0.1:9092"), tcp("127.0.0.1", 9_092, false));
        for text in [
            "tcp://h",
            "tcp://h:1/path",
            "http://h/",
            "ws://",
            "ws://u@h/",
            "ws://h:x/",
            "ws://h/a b",
            "ws://h/#a",
            "ws://h:0/",
        ] {
            assert!(read(text).is_err(), "{text}");
        }
        for text in ["ws+unix://", "ws+unix://run/a.sock", "ws+unix:///", "ws+unix:///run/a.sock:agent"] {
            assert!(read(text).is_err(), "{text}");
        }
        let url: AgentUrl = "ws://h/a?key=secret".parse().unwrap();
        assert_eq!((url.to_string().as_str(), url.request()), ("ws://h/a", "ws://h/a?key=secret"));
    }
}
