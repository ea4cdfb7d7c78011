//! The READY line of a child, its whole contract with the orchestrator.
//!
//! `READY role=<role> sip=<ip:port> codec=pcmu ptime=20ms`; of a b2bua, which accepts any codec, `READY
//! role=b2bua sip=<ip:port>`, plus ` http=<ip:port>` if its control interface is on; of a load `READY
//! role=load sip=<ip:port>`, with one `sip=` per address.

use std::net::SocketAddr;

use b2b_config::RoleName;

/// A parsed READY line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ready {
    /// The role that is ready.
    pub role: RoleName,
    /// The bound address of its UA, with the actual port. For a load the first of its addresses.
    pub sip: SocketAddr,
    /// The address of its control interface; `None` if it is off, or the role has none.
    pub http: Option<SocketAddr>,
    /// The preferred audio; `None` for a b2bua or a load.
    pub audio: Option<Audio>,
}

/// The preferred audio of a role.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Audio {
    /// `pcmu` or `pcma`.
    pub codec: String,
    /// Packet time, ms.
    pub ptime_ms: u32,
}

/// Why a READY line was rejected.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "READY line not understood: {reason}; it should read READY role=<role> sip=<ip:port> codec=pcmu ptime=20ms \
     (of a b2bua: READY role=b2bua sip=<ip:port>, and maybe http=<ip:port>; of a load: READY role=load sip=<ip:port>)"
)]
pub struct ReadyError {
    reason: &'static str,
}

/// Whether a line claims to be a READY line.
pub fn is_ready(line: &str) -> bool {
    line == "READY" || line.starts_with("READY ")
}

/// Parses the READY line of `role` strictly: these fields, in this order.
pub fn parse(line: &str, role: RoleName) -> Result<Ready, ReadyError> {
    let fail = |reason| ReadyError { reason };
    let words: Vec<&str> = line.split(' ').collect();
    let (role_word, sip, http, audio) = match *words.as_slice() {
        ["READY", role_word, sip, ref more @ ..]
            if role == RoleName::Load && more.iter().all(|word| address(word, "sip=").is_some()) =>
        {
            (role_word, sip, None, None)
        }
        ["READY", role_word, sip] if role == RoleName::B2bua => (role_word, sip, None, None),
        ["READY", role_word, sip, http] if role == RoleName::B2bua && address(http, "http=").is_some() => {
            (role_word, sip, address(http, "http="), None)
        }
        ["READY", role_word, sip, codec, ptime] if !matches!(role, RoleName::B2bua | RoleName::Load) => {
            (role_word, sip, None, Some((codec, ptime)))
        }
        _ => return Err(fail("not the right words with one space between them")),
    };
    let field = |word: &'static str, text: &'_ str| text.strip_prefix(word).map(str::to_string);
    let named = field("role=", role_word).ok_or(fail("no role="))?;
    if named != role.as_str() {
        return Err(fail("another role than was started"));
    }
    let sip = field("sip=", sip).ok_or(fail("no sip="))?;
    let sip: SocketAddr = sip.parse().map_err(|_| fail("sip= is no address with a port"))?;
    if sip.port() == 0 || sip.ip().is_unspecified() {
        return Err(fail("sip= is not the real address and port"));
    }
    let audio = audio.map(|(codec, ptime)| {
        let codec = field("codec=", codec).filter(|codec| matches!(codec.as_str(), "pcmu" | "pcma"));
        let codec = codec.ok_or(fail("codec= is neither pcmu nor pcma"))?;
        let ptime = ptime.strip_prefix("ptime=").and_then(|text| text.strip_suffix("ms"));
        let ptime_ms = ptime.and_then(|text| text.parse().ok()).ok_or(fail("ptime= is not like 20ms"))?;
        Ok(Audio { codec, ptime_ms })
    });
    Ok(Ready { role, sip, http, audio: audio.transpose()? })
}

fn address(word: &str, name: &str) -> Option<SocketAddr> {
    word.strip_prefix(name)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_the_line_of_the_contract() {
        let ready =
            parse("READY role=sink sip=127.0.0.1:5070 codec=pcmu ptime=20ms", RoleName::Sink).unwrap();
        assert_eq!(ready.sip, "127.0.0.1:5070".parse().unwrap());
        assert_eq!(ready.audio, Some(Audio { codec: "pcmu".into(), ptime_ms: 20 }));
        assert!(parse("READY role=mixer sip=[::1]:5 codec=pcma ptime=10ms", RoleName::Mixer).is_ok());
    }

    fn ready_at(port: u16) -> Ready {
        Ready {
            role: RoleName::B2bua,
            sip: SocketAddr::from(([127, 0, 0, 1], port)),
            http: None,
            audio: None,
        }
    }

    #[test]
    fn a_b2bua_prefers_nothing() {
        let ready = parse("READY role=b2bua sip=127.0.0.1:5070", RoleName::B2bua).unwrap();
        assert_eq!((ready.sip.port(), ready.audio), (5070, None));
        let with_http = "READY role=b2bua sip=127.0.0.1:5070 http=127.0.0.1:8080";
        let http = Some(SocketAddr::from(([127, 0, 0, 1], 8080)));
        assert_eq!(parse(with_http, RoleName::B2bua).unwrap(), Ready { http, ..ready_at(5070) });
        assert!(parse("READY role=b2bua sip=127.0.0.1:5070 http=off", RoleName::B2bua).is_err());
        let line = "READY role=b2bua sip=127.0.0.1:5070 codec=pcmu ptime=20ms";
        assert!(parse(line, RoleName::B2bua).is_err());
        assert!(parse("READY role=sink sip=127.0.0.1:5070", RoleName::Sink).is_err());
    }

    #[test]
    fn a_load_may_have_several_addresses() {
        let line = "READY role=load sip=127.0.0.2:5070";
        let ready =
            |line: &str| parse(line, RoleName::Load).map(|ready| (ready.sip.to_string(), ready.audio));
        assert_eq!(ready(line), Ok(("127.0.0.2:5070".to_owned(), None)));
        assert_eq!(ready(&format!("{line} sip=127.0.0.3:5070")), ready(line));
        assert!(ready(&format!("{line} sip=here")).is_err() && ready("READY role=load").is_err());
    }

    #[test]
    fn refuses_anything_else() {
        for line in [
            "READY",
            "READY role=sink sip=127.0.0.1:5070 codec=pcmu ptime=20ms ",
            "READY  role=sink sip=127.0.0.1:5070 codec=pcmu ptime=20ms",
            "READY role=mixer sip=127.0.0.1:5070 codec=pcmu ptime=20ms",
            "READY role=sink sip=127.0.0.1:0 codec=pcmu ptime=20ms",
            "READY role=sink sip=0.0.0.0:5070 codec=pcmu ptime=20ms",
            "READY role=sink sip=localhost:5070 codec=pcmu ptime=20ms",
            "READY role=sink sip=127.0.0.1:5070 codec=opus ptime=20ms",
            "READY role=sink sip=127.0.0.1:5070 codec=pcmu ptime=20",
            "READY sip=127.0.0.1:5070 role=sink codec=pcmu ptime=20ms",
        ] {
            assert!(parse(line, RoleName::Sink).is_err(), "{line}");
        }
        assert!(!is_ready("READYX"));
    }
}
