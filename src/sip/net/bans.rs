//! Banned sources and refused calls, checked before a message is parsed.

use std::collections::HashMap;
use std::net::IpAddr;
use std::time::Instant;

use crate::endpoint::Endpoint;
use crate::known::network;

/// Maximum number of banned sources. Further ones have to be refused by the code that bans.
const MAX_BANS: usize = 65_536;

/// A ban or its end, for [`SipStack::ban`](super::SipStack::ban).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ban {
    /// An IPv4 address, or any address of an IPv6 /64.
    pub source: IpAddr,
    /// When the ban ends; `None` lifts it now.
    pub until: Option<Instant>,
}

/// A call whose messages are dropped unparsed, as one of them has ended a process before: its retransmissions would end
/// this one, too.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RefusedCall {
    call_id: Vec<u8>,
    /// It was a response: requests are taken. Otherwise responses are, such as those to BYE.
    by_response: bool,
    until: Instant,
}

impl RefusedCall {
    /// The call of this message, until then; `None`: the message names none.
    pub fn of(message: &[u8], until: Instant) -> Option<Self> {
        let call_id = call_id_of(message)?.to_vec();
        Some(RefusedCall { call_id, by_response: is_response(message), until })
    }

    /// Its Call-ID.
    pub fn call_id(&self) -> &[u8] {
        &self.call_id
    }

    fn refuses(&self, message: &[u8]) -> bool {
        is_response(message) == self.by_response && call_id_of(message) == Some(&self.call_id)
    }
}

/// What may stand before a message is passed over (RFC 3261 §7.5).
fn is_response(message: &[u8]) -> bool {
    message.trim_ascii_start().starts_with(b"SIP/2.0 ")
}

/// The Call-ID of a message that may be no message; `None`: it names none.
pub fn call_id_of(message: &[u8]) -> Option<&[u8]> {
    let lines = message.trim_ascii_start().split(|octet| *octet == b'\n').skip(1).map(<[u8]>::trim_ascii);
    lines.take_while(|line| !line.is_empty()).find_map(|line| {
        let (name, value) = line.split_at(line.iter().position(|octet| *octet == b':')?);
        let name = name.trim_ascii_end();
        let is_call_id = name.eq_ignore_ascii_case(b"Call-ID") || name.eq_ignore_ascii_case(b"i");
        is_call_id.then(|| value.get(1..).unwrap_or_default().trim_ascii_start())
    })
}

/// The end of each ban, by IPv4 address or IPv6 /64.
#[derive(Debug, Default)]
pub(super) struct Bans {
    until: HashMap<IpAddr, Instant>,
    calls: Vec<RefusedCall>,
}

impl Bans {
    pub fn of_calls(calls: Vec<RefusedCall>) -> Self {
        Bans { calls, ..Bans::default() }
    }

    pub fn set(&mut self, now: Instant, ban: Ban) {
        let source = network(ban.source);
        let Some(until) = ban.until else {
            self.until.remove(&source);
            return;
        };
        if self.until.len() >= MAX_BANS {
            self.until.retain(|_, until| *until > now);
        }
        if self.until.len() < MAX_BANS || self.until.contains_key(&source) {
            self.until.insert(source, until);
        }
    }

    pub fn holds(&mut self, now: Instant, source: IpAddr) -> bool {
        if self.until.is_empty() {
            return false;
        }
        let source = network(source);
        let Some(until) = self.until.get(&source) else { return false };
        let holds = *until > now;
        if !holds {
            self.until.remove(&source);
        }
        holds
    }

    /// Whether to drop an unparsed message: its call is refused, or its source is banned and it belongs to no call
    /// or request of the endpoint.
    pub fn refuse(&mut self, now: Instant, source: IpAddr, message: &[u8], endpoint: &Endpoint) -> bool {
        self.calls.retain(|call| call.until > now);
        if self.calls.iter().any(|call| call.refuses(message)) {
            return true;
        }
        // They carry no tag or branch of ours (RFC 3261 §9.1, §17.1.1.3), but start nothing
        // new.
        let ends = message.starts_with(b"ACK ") || message.starts_with(b"CANCEL ");
        self.holds(now, source) && !ends && !endpoint.expects(message)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_ban_ends_by_itself_or_when_it_is_lifted_and_is_one_for_an_ipv6_network() {
        let now = Instant::now();
        let at = |text: &str| text.parse::<IpAddr>().expect("an address");
        let end = now + Duration::from_secs(60);
        let mut bans = Bans::default();
        bans.set(now, Ban { source: at("192.0.2.1"), until: Some(end) });
        bans.set(now, Ban { source: at("2001:db8::1"), until: Some(end) });
        assert!(bans.holds(now, at("192.0.2.1")) && bans.holds(now, at("::ffff:192.0.2.1")));
        assert!(bans.holds(now, at("2001:db8::2")));
        assert!(!bans.holds(now, at("192.0.2.2")) && !bans.holds(now, at("2001:db8:0:1::1")));
        bans.set(now, Ban { source: at("2001:db8::9"), until: None });
        assert!(!bans.holds(now, at("2001:db8::1")));
        assert!(!bans.holds(end, at("192.0.2.1")));
        assert!(bans.until.is_empty());
    }

    #[test]
    fn the_call_of_a_message_is_refused_and_its_responses_are_taken() {
        let (now, endpoint) = (Instant::now(), Endpoint::new(crate::endpoint::EndpointConfig::new([7; 32])));
        let later = now + Duration::from_secs(9);
        let info = b"INFO sip:b SIP/2.0\r\nTo: <sip:b>\r\ni : one@a\r\nCSeq: 2 INFO\r\n\r\nCall-ID: two";
        let call = RefusedCall::of(info, later).expect("a Call-ID");
        assert_eq!(call.call_id(), b"one@a");
        assert_eq!(RefusedCall::of(b"OPTIONS sip:b SIP/2.0\r\n\r\nCall-ID: two\r\n", later), None);
        let (mut bans, source) = (Bans::of_calls(vec![call]), "192.0.2.1".parse().expect("an address"));
        let mut refuses = |now, message: &str| bans.refuse(now, source, message.as_bytes(), &endpoint);
        assert!(refuses(now, "BYE sip:b SIP/2.0\r\nCALL-ID:one@a\r\n\r\n"));
        assert!(refuses(now, "\r\n\r\nBYE sip:b SIP/2.0\r\nCall-ID: one@a\r\n\r\n"));
        assert!(!refuses(now, "\r\nSIP/2.0 200 OK\r\nCall-ID: one@a\r\n\r\n"));
        assert!(!refuses(now, "BYE sip:b SIP/2.0\r\nCall-ID: one@ab\r\n\r\n"));
        assert!(!refuses(now, "SIP/2.0 200 OK\r\nCall-ID: one@a\r\n\r\n"));
        assert!(!refuses(later, "BYE sip:b SIP/2.0\r\nCall-ID: one@a\r\n\r\n"));
    }

    #[test]
    fn the_table_is_bounded() {
        let (now, later) = (Instant::now(), Instant::now() + Duration::from_secs(9));
        let mut bans = Bans::default();
        let source = |n: u32| IpAddr::V4((0x0a00_0000 + n).into());
        let most = u32::try_from(MAX_BANS).expect("it fits");
        for n in 0..=most {
            bans.set(now, Ban { source: source(n), until: Some(later) });
        }
        assert_eq!(bans.until.len(), MAX_BANS);
        bans.set(later, Ban { source: source(most), until: Some(later + Duration::from_secs(1)) });
        assert_eq!(bans.until.len(), 1, "what was over has made room");
    }
}
