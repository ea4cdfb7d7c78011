//! `media.controller`: the media carrier, as one line.

use std::net::SocketAddr;

/// The media carrier.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Carrier {
    /// The built-in engine.
    Embedded,
    /// rtpengine, by its `ng` protocol, over UDP.
    Rtpengine {
        /// The address of its `--listen-ng`.
        server: SocketAddr,
        /// Names of its `--interface`: towards the parties, and between the legs of a call.
        outer: Option<String>,
        inner: Option<String>,
    },
    /// Media servers (`b2b media`), in order of preference.
    Remote { servers: Vec<MediaServer> },
}

/// A media server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MediaServer {
    /// Whether gRPC is used instead of REST.
    pub grpc: bool,
    /// Host and port of its `--listen`.
    pub authority: String,
}

/// The accepted forms.
const FORM: &str = "write embedded, rtpengine://ADDRESS:PORT, http://HOST:PORT or grpc://HOST:PORT";
/// Maximum media servers in a list.
const MOST: usize = 16;

impl MediaServer {
    fn parse(text: &str) -> Option<Result<MediaServer, String>> {
        let (grpc, authority) = match (text.strip_prefix("http://"), text.strip_prefix("grpc://")) {
            (Some(rest), _) => (false, rest),
            (None, Some(rest)) => (true, rest),
            (None, None) => return None,
        };
        let authority = authority.strip_suffix('/').unwrap_or(authority);
        let host = authority.rsplit_once(':').filter(|(_, port)| port.parse::<u16>().is_ok_and(|it| it != 0));
        let plain = |it: char| it.is_ascii_alphanumeric() || "-._".contains(it);
        let good = authority.parse::<SocketAddr>().is_ok()
            || host.is_some_and(|(host, _)| !host.is_empty() && host.chars().all(plain));
        let server = MediaServer { grpc, authority: authority.to_owned() };
        Some(good.then_some(server).ok_or_else(|| "write it like http://127.0.0.1:8090".to_string()))
    }
}

impl Carrier {
    /// Reads one line, or a list of media servers.
    pub(super) fn all(lines: &[&str]) -> Result<Carrier, String> {
        if let [line] = lines
            && MediaServer::parse(line).is_none()
        {
            return Carrier::parse(line);
        }
        if lines.is_empty() || lines.len() > MOST {
            return Err(format!("a list has one to {MOST} media servers"));
        }
        let not_in_a_list =
            || "a list has media servers only: http://HOST:PORT, grpc://HOST:PORT".to_string();
        let read = |line: &&str| MediaServer::parse(line).unwrap_or_else(|| Err(not_in_a_list()));
        let servers = lines.iter().map(read).collect::<Result<Vec<_>, _>>()?;
        let twice = |at: usize| servers[..at].iter().any(|it| it.authority == servers[at].authority);
        match (0..servers.len()).find(|at| twice(*at)) {
            Some(at) => Err(format!("{} is there twice", servers[at].authority)),
            None => Ok(Carrier::Remote { servers }),
        }
    }

    fn parse(text: &str) -> Result<Carrier, String> {
        if text == "embedded" {
            return Ok(Carrier::Embedded);
        }
        let Some(rest) = text.strip_prefix("rtpengine://") else { return Err(FORM.to_string()) };
        let (server, options) = rest.split_once('?').unwrap_or((rest, ""));
        let server = server.parse().map_err(|_| FORM.to_string())?;
        let (mut outer, mut inner) = (None, None);
        for option in options.split('&').filter(|it| !it.is_empty()) {
            let (name, value) = option.split_once('=').unwrap_or((option, ""));
            let place = match name {
                "outer" => &mut outer,
                "inner" => &mut inner,
                _ => return Err(format!("{name:?} is not an option; the options are outer and inner")),
            };
            let plain = |it: char| it.is_ascii_alphanumeric() || "-_./".contains(it);
            if value.is_empty() || !value.chars().all(plain) {
                return Err(format!("{name} takes the name of an rtpengine interface"));
            }
            *place = Some(value.to_owned());
        }
        Ok(Carrier::Rtpengine { server, outer, inner })
    }
}

impl std::fmt::Display for Carrier {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Carrier::Embedded => f.write_str("the embedded engine"),
            Carrier::Rtpengine { server, .. } => write!(f, "rtpengine at {server}"),
            Carrier::Remote { servers } => {
                let one = |it: &MediaServer| {
                    format!("{} ({})", it.authority, if it.grpc { "gRPC" } else { "REST" })
                };
                let all: Vec<String> = servers.iter().map(one).collect();
                write!(f, "media servers at {}", all.join(", "))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_carrier_is_one_line() {
        assert_eq!(Carrier::parse("embedded"), Ok(Carrier::Embedded));
        let server = "127.0.0.1:2223".parse().unwrap();
        let plain = Carrier::Rtpengine { server, outer: None, inner: None };
        assert_eq!(Carrier::parse("rtpengine://127.0.0.1:2223"), Ok(plain));
        let named = Carrier::Rtpengine { server, outer: Some("ext".into()), inner: Some("int".into()) };
        assert_eq!(Carrier::parse("rtpengine://127.0.0.1:2223?outer=ext&inner=int"), Ok(named));
        for wrong in ["", "asterisk", "rtpengine://", "rtpengine://host", "rtpengine://127.0.0.1:1?x=1"] {
            assert!(Carrier::parse(wrong).is_err(), "{wrong}");
        }
        assert!(Carrier::parse("rtpengine://127.0.0.1:1?outer=a b").is_err());
    }

    #[test]
    fn media_servers_are_one_line_or_a_list() {
        let server = |grpc, authority: &str| MediaServer { grpc, authority: authority.to_owned() };
        let one = Carrier::Remote { servers: vec![server(false, "127.0.0.1:8090")] };
        assert_eq!(Carrier::all(&["http://127.0.0.1:8090"]), Ok(one.clone()));
        assert_eq!(Carrier::all(&["http://127.0.0.1:8090/"]), Ok(one));
        let two = Carrier::Remote { servers: vec![server(true, "[::1]:1"), server(false, "m.example:2")] };
        assert_eq!(Carrier::all(&["grpc://[::1]:1", "http://m.example:2"]), Ok(two));
        assert_eq!(Carrier::all(&["embedded"]), Ok(Carrier::Embedded));
        for wrong in [
            &[][..],
            &["http://"],
            &["http://host"],
            &["http://host:0"],
            &["http://a/b:1"],
            &["http://user@host:1"],
            &["https://127.0.0.1:1"],
            &["embedded", "http://127.0.0.1:1"],
            &["http://127.0.0.1:1", "rtpengine://127.0.0.1:2"],
            &["http://127.0.0.1:1", "grpc://127.0.0.1:1"],
        ] {
            assert!(Carrier::all(wrong).is_err(), "{wrong:?}");
        }
    }
}
