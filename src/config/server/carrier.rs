//! `media.controller`: who carries the media, as one line.

use std::net::SocketAddr;

/// Who carries the media.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Carrier {
    /// The engine inside.
    Embedded,
    /// rtpengine, by its `ng` protocol, over UDP.
    Rtpengine {
        /// Its `--listen-ng`.
        server: SocketAddr,
        /// Names of its `--interface`: towards parties, and between the legs of a call.
        outer: Option<String>,
        inner: Option<String>,
    },
}

/// How it is written.
const FORM: &str = "write embedded, or rtpengine://ADDRESS:PORT";

impl Carrier {
    pub(super) fn parse(text: &str) -> Result<Carrier, String> {
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
                _ => return Err(format!("{name:?} is no option: there are outer and inner")),
            };
            let plain = |it: char| it.is_ascii_alphanumeric() || "-_./".contains(it);
            if value.is_empty() || !value.chars().all(plain) {
                return Err(format!("{name} is the name of an interface of rtpengine's"));
            }
            *place = Some(value.to_owned());
        }
        Ok(Carrier::Rtpengine { server, outer, inner })
    }
}

impl std::fmt::Display for Carrier {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Carrier::Embedded => f.write_str("the engine inside"),
            Carrier::Rtpengine { server, .. } => write!(f, "rtpengine at {server}"),
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
}
