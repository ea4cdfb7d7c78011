//! The library's configuration as text, and that of its single account.

use std::ffi::CString;
use std::net::{SocketAddr, TcpListener, UdpSocket};

use b2b_ua::{Codec, UaConfig, UaError};

/// The name of our source, filter and devices within the library.
pub(super) const OURS: &str = "b2b";

/// Maximum playout delay of the library's jitter buffer, ms.
const LONGEST_DELAY_MS: u32 = 1_000;
/// The clock's thread holds a frame for 10 to 30 ms; the jitter buffer provides the rest of the requested
/// playout delay.
const HELD_BY_CLOCK_MS: u32 = 20;
/// With less than one packet time the buffer could not reorder two packets.
const LEAST_DELAY_MS: u32 = 10;

/// Refuses unsupported configurations before anything starts.
pub(super) fn check(config: &UaConfig) -> Result<(), UaError> {
    let unsupported = |what: &str| Err(UaError::Unsupported(what.to_owned()));
    if config.impairment.is_some() {
        return unsupported("--impair needs --engine native: libbaresip has no impairer");
    }
    if config.bind.ip().is_unspecified() {
        return unsupported(
            "--engine baresip needs an address of its own in --sip-bind, not a wildcard; \
             write --sip-bind 127.0.0.1:0",
        );
    }
    if config.codecs.is_empty() {
        return unsupported("no codec is left to offer; name one with --codec");
    }
    Ok(())
}

/// An address with one free port for both UDP and TCP if port 0 is given: the library would choose a
/// different one for each, and a peer that knows one could not call the other.
pub(super) fn one_port(bind: SocketAddr) -> Result<SocketAddr, UaError> {
    const TRIES: u32 = 100;
    let free = || {
        let udp = UdpSocket::bind(bind)?;
        TcpListener::bind(udp.local_addr()?)?.local_addr()
    };
    if bind.port() != 0 {
        return Ok(bind);
    }
    let last = (1..TRIES).find_map(|_| free().ok()).map_or_else(free, Ok);
    last.map_err(|error| UaError::Bind { addr: bind, error })
}

/// The configuration text. For a repeated key, the library uses the first value.
pub(super) fn library_text(config: &UaConfig) -> String {
    let ip = config.bind.ip();
    let delay = config.jitter_ms.saturating_sub(HELD_BY_CLOCK_MS).max(LEAST_DELAY_MS);
    let longest = delay.max(LONGEST_DELAY_MS);
    format!(
        "net_interface {ip}\n\
         sip_listen {bind}\n\
         sip_transports udp,tcp\n\
         call_local_timeout 120\n\
         call_max_calls 64\n\
         call_hold_other_calls no\n\
         call_accept yes\n\
         audio_source {OURS},{OURS}\n\
         audio_player {OURS},{OURS}\n\
         audio_alert {OURS},{OURS}\n\
         audio_level no\n\
         audio_telev_pt 101\n\
         audio_jitter_buffer_type adaptive\n\
         audio_jitter_buffer_ms {delay}-{longest}\n\
         audio_jitter_buffer_size 256\n\
         rtp_ports 20000-59999\n\
         rtp_stats no\n\
         rtp_timeout 0\n\
         rtp_rxmode main\n",
        bind = config.bind,
    )
}

/// The account: our identity, without a registrar.
pub(super) fn account_text(config: &UaConfig, port: u16) -> Result<CString, UaError> {
    let codecs: Vec<String> =
        config.codecs.iter().filter(|codec| codec.is_g711()).map(|codec| format!("{codec}/8000/1")).collect();
    let text = format!(
        "<sip:{user}@{address}>;regint=0;answermode=manual;ptime={ptime};audio_codecs={codecs};\
         mwi=no;call_transfer=no;sip_autoanswer=no;sip_autoredirect=no;inreq_allowed=yes;\
         rtcp_mux=no;100rel=no",
        user = config.user,
        address = SocketAddr::new(config.bind.ip(), port),
        ptime = config.ptime_ms,
        codecs = codecs.join(","),
    );
    CString::new(text).map_err(|_| UaError::Unsupported("a user name with a zero byte".into()))
}

/// Validates a target for the library to call.
pub(super) fn target(uri: &str) -> Result<CString, UaError> {
    let wrong = |reason: &str| UaError::Target { uri: uri.to_owned(), reason: reason.to_owned() };
    let scheme = uri.get(..4).unwrap_or_default();
    if !scheme.eq_ignore_ascii_case("sip:") {
        return Err(wrong("only sip: can be called"));
    }
    if uri.chars().any(|c| c.is_control() || c.is_whitespace() || "<>\"".contains(c)) {
        return Err(wrong("a character that a URI cannot have"));
    }
    let rest = &uri[4..];
    let host = rest.split_once('@').map_or(rest, |(_, host)| host);
    let host = host.split([';', '?']).next().unwrap_or_default();
    let (name, port) = match host.strip_prefix('[') {
        Some(bracketed) => {
            let (name, port) = bracketed.split_once(']').ok_or_else(|| wrong("a '[' without its ']'"))?;
            (name, port.strip_prefix(':'))
        }
        None => host.split_once(':').map_or((host, None), |(name, port)| (name, Some(port))),
    };
    if name.is_empty() {
        return Err(wrong("there is no host"));
    }
    if port.is_some_and(|port| port.parse::<u16>().map_or(true, |port| port == 0)) {
        return Err(wrong("the port is not a number from 1 to 65535"));
    }
    CString::new(uri).map_err(|_| wrong("a character that a URI cannot have"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use b2b_ua::ImpairConfig;
    use std::time::Duration;

    fn config() -> UaConfig {
        UaConfig {
            user: "sink".into(),
            bind: "127.0.0.1:0".parse().unwrap(),
            codecs: vec![Codec::Pcma, Codec::Pcmu],
            ptime_ms: 30,
            jitter_ms: 60,
            impairment: None,
            rtp_timeout: Duration::from_secs(20),
            sip_trace: None,
            packet_log: None,
        }
    }

    #[test]
    fn the_library_is_bound_to_our_address_and_holds_no_other_call() {
        let text = library_text(&config());
        for line in [
            "net_interface 127.0.0.1",
            "sip_listen 127.0.0.1:0",
            "call_hold_other_calls no",
            "call_accept yes",
            "audio_jitter_buffer_ms 40-1000",
        ] {
            assert!(text.lines().any(|found| found == line), "{line} in\n{text}");
        }
        let keys: Vec<&str> = text.lines().filter_map(|line| line.split(' ').next()).collect();
        let mut once = keys.clone();
        once.sort_unstable();
        once.dedup();
        assert_eq!(once.len(), keys.len(), "the first value of a key counts: {keys:?}");
    }

    #[test]
    fn any_port_becomes_one_that_is_free_over_udp_and_tcp() {
        let chosen = one_port("127.0.0.1:0".parse().unwrap()).unwrap();
        assert_ne!(chosen.port(), 0);
        let _free = (UdpSocket::bind(chosen).unwrap(), TcpListener::bind(chosen).unwrap());
        assert_eq!(one_port(chosen).unwrap(), chosen);
        assert!(one_port("192.0.2.1:0".parse().unwrap()).is_err(), "no address of this machine");
    }

    #[test]
    fn the_account_offers_our_codecs_in_our_order_with_our_ptime() {
        let text = account_text(&config(), 5_062).unwrap().into_string().unwrap();
        assert!(text.starts_with("<sip:sink@127.0.0.1:5062>;regint=0;"), "{text}");
        assert!(text.contains(";audio_codecs=PCMA/8000/1,PCMU/8000/1;"), "{text}");
        assert!(text.contains(";ptime=30;"), "{text}");
    }

    #[test]
    fn what_needs_the_native_engine_is_refused_with_its_name() {
        let lossy: ImpairConfig = "loss=1".parse().unwrap();
        let impaired = UaConfig { impairment: Some(lossy), ..config() };
        assert!(check(&impaired).unwrap_err().to_string().contains("--engine native"));
        let wildcard = UaConfig { bind: "0.0.0.0:5060".parse().unwrap(), ..config() };
        assert!(check(&wildcard).unwrap_err().to_string().contains("--sip-bind"));
        assert!(check(&config()).is_ok());
    }

    #[test]
    fn targets_are_read_before_the_library_sees_them() {
        for good in ["sip:x@127.0.0.1:5060", "SIP:127.0.0.1", "sip:x@[::1]:5070;transport=tcp", "sip:a@b?h=v"]
        {
            assert!(target(good).is_ok(), "{good}");
        }
        for bad in [
            "",
            "x@y",
            "sips:x@y",
            "sip:",
            "sip:x@",
            "sip:x@y:0",
            "sip:x@y:port",
            "sip:x@[::1",
            "sip:a b@c",
            "sip:a@b\r\n",
        ] {
            assert!(matches!(target(bad), Err(UaError::Target { .. })), "{bad}");
        }
    }
}
