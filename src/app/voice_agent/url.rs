//! Where a voice agent is: `ws://host:port/path`, or `wss://…`.

use std::fmt;
use std::str::FromStr;

/// A URL of a WebSocket (RFC 6455 §3), taken apart.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AgentUrl {
    text: String,
    /// By TLS.
    pub secure: bool,
    /// Without brackets.
    pub host: String,
    pub port: u16,
}

impl FromStr for AgentUrl {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || "no URL of a WebSocket; write it like ws://127.0.0.1:9000/agent".to_owned();
        let (secure, rest) = match (text.strip_prefix("ws://"), text.strip_prefix("wss://")) {
            (Some(rest), _) => (false, rest),
            (_, Some(rest)) => (true, rest),
            _ => return Err(wrong()),
        };
        let end = rest.find(['/', '?']).unwrap_or(rest.len());
        let authority = &rest[..end];
        let (host, port) = match authority.rsplit_once(':').filter(|(_, port)| !port.ends_with(']')) {
            Some((host, port)) => (host, port.parse().map_err(|_| wrong())?),
            None => (authority, if secure { 443 } else { 80 }),
        };
        let host = host.trim_start_matches('[').trim_end_matches(']');
        let plain = text.bytes().all(|byte| byte.is_ascii_graphic());
        if host.is_empty() || port == 0 || !plain || authority.contains('@') || text.contains('#') {
            return Err(wrong());
        }
        Ok(AgentUrl { text: text.to_owned(), secure, host: host.to_owned(), port })
    }
}

impl AgentUrl {
    /// As it was written.
    pub fn as_str(&self) -> &str {
        &self.text
    }
}

/// Without what may be a secret in its query.
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
        let read = |text: &str| text.parse::<AgentUrl>().map(|url| (url.secure, url.host, url.port));
        assert_eq!(read("ws://127.0.0.1:9000/agent?x=1"), Ok((false, "127.0.0.1".into(), 9_000)));
        assert_eq!(read("wss://agent.example"), Ok((true, "agent.example".into(), 443)));
        assert_eq!(read("ws://[::1]/a"), Ok((false, "::1".into(), 80)));
        assert_eq!(read("ws://[::1]:81?a"), Ok((false, "::1".into(), 81)));
        for text in ["http://h/", "ws://", "ws://u@h/", "ws://h:x/", "ws://h/a b", "ws://h/#a", "ws://h:0/"] {
            assert!(read(text).is_err(), "{text}");
        }
        let url: AgentUrl = "ws://h/a?key=secret".parse().unwrap();
        assert_eq!(url.to_string(), "ws://h/a");
    }
}
