//! Descriptions that lead media past b2b, and back. They take only addresses, ports and formats from the
//! other party; origin, session name and everything else stay b2b's.

use std::net::SocketAddr;

use super::{DtmfMode, Hold, Line, PairError, PairPolicy, Side, Wishes, across, formats};
use super::{local_answer, local_offer};
use crate::negotiate::NegotiateError;

/// Why two parties cannot send to each other directly.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DirectError {
    #[error(transparent)]
    Pair(#[from] PairError),
    #[error("its RTP comes from {heard} instead of the signalled {told}: there is a NAT")]
    Nat { told: SocketAddr, heard: SocketAddr },
    #[error("one has IPv4 only, the other IPv6 only")]
    Family,
    #[error("one of them is on hold")]
    Held,
    #[error("one of them has SRTP, which ends at b2b")]
    Encrypted,
    #[error("their payload type numbers conflict")]
    Numbers,
    #[error("one of them has digits as tones or INFO, which become events at b2b")]
    Digits,
}

/// An offer to the party of `to` with the address of the party of `from`. `heard`: the source of the RTP of
/// that party.
///
/// # Errors
/// The two must not be connected directly.
pub fn direct(
    from: &Side,
    to: &mut Side,
    heard: SocketAddr,
    policy: &PairPolicy,
) -> Result<Box<[u8]>, DirectError> {
    let known = |side: &Side| side.said_line().ok_or(PairError::Undescribed);
    let (line, there) = (known(from)?, known(to)?.audio);
    let own = &line.audio;
    if own.is_hold() || there.is_hold() || !own.direction.has_send() || !there.direction.has_send() {
        return Err(DirectError::Held);
    }
    if from.keys().is_some() || to.keys().is_some() {
        return Err(DirectError::Encrypted);
    }
    let turned = |side: &Side| side.audio.digits != DtmfMode::Events;
    if turned(from) != turned(to) {
        return Err(DirectError::Digits);
    }
    if own.rtp() != heard {
        return Err(DirectError::Nat { told: own.rtp(), heard });
    }
    if own.address.is_ipv4() != there.address.is_ipv4() {
        return Err(DirectError::Family);
    }
    let policy = PairPolicy { transcode: false, rtcp_mux: own.rtcp_mux, ..policy.clone() };
    // Packets have the sender's payload types: none can be changed on the way.
    let numbers = formats::Numbers::Own;
    let mut audio = across(&line, Wishes::of(own), numbers, to, &policy).map_err(PairError::from)?;
    audio.formats.retain(|format| {
        let same = own.formats.iter().find(|own| own.payload_type == format.payload_type);
        same.is_some_and(|own| formats::same(own, format))
    });
    audio.extensions.retain(|extension| own.extension_id(&extension.uri) == Some(extension.id));
    if !audio.formats.iter().any(formats::is_speech) {
        return Err(DirectError::Numbers);
    }
    let shared = |format: &b2b_sdp::Format| {
        formats::is_speech(format) && there.formats.iter().any(|there| formats::same(there, format))
    };
    if !audio.formats.iter().any(shared) {
        return Err(PairError::from(NegotiateError::NoCommonCodec).into());
    }
    (audio.address, audio.port) = (own.address, own.port);
    (audio.rtcp_port, audio.rtcp_address) = (own.rtcp_port, own.rtcp_address);
    audio.protocol.clone_from(&own.protocol);
    Ok(to.offer(&audio))
}

/// An offer that takes the media of a leg back to b2b: the last description sent, with our address, and with our hold as
/// it is now. If none is known, our answer to the party's offer counts as sent; without that it is an offer of our own.
///
/// # Errors
/// The policy leaves nothing to offer.
pub fn back(side: &mut Side, policy: &PairPolicy) -> Result<Box<[u8]>, NegotiateError> {
    if side.sent.is_none()
        && let Some(theirs) = side.theirs.clone()
    {
        local_answer(side, &theirs, policy)?;
    }
    let Some(Line { audio: told, .. }) = side.sent.as_deref().and_then(Line::known) else {
        return local_offer(side, None, policy);
    };
    let mut audio = b2b_sdp::AudioMedia::new(side.rtp, told.formats.clone());
    let hold = if side.on_hold && !policy.hold.is_on() { Hold::Over } else { policy.hold };
    audio.direction = hold.direction(told.direction);
    (audio.ptime_ms, audio.maxptime_ms) = (told.ptime_ms, told.maxptime_ms);
    audio.extensions.clone_from(&told.extensions);
    audio.rtcp_mux = policy.rtcp_mux;
    side.holding = Some(policy.hold.is_on());
    Ok(side.offer(&audio))
}

impl Side {
    /// Whether the remote party was told to send to an address other than ours.
    pub(super) fn is_led_past(&self) -> bool {
        let told = self.sent.as_deref().and_then(Line::known);
        told.is_some_and(|told| told.audio.rtp() != self.rtp)
    }
}

#[cfg(test)]
mod tests {
    use super::super::{answer, apply, join, offer};
    use super::*;

    const EVENTS: &str = "a=rtpmap:101 telephone-event/8000\r\n";

    fn said(host: &str, formats: &str, more: &str) -> Vec<u8> {
        format!(
            "v=0\r\no=secret 7 7 IN IP4 {host}\r\ns=private\r\nc=IN IP4 {host}\r\nt=0 0\r\n\
             m=audio 4000 RTP/AVP {formats}\r\n{EVENTS}{more}"
        )
        .into_bytes()
    }

    /// Two legs of a call that is relayed; A has offered, B has answered.
    fn up(a_said: &[u8], b_said: &[u8]) -> (Side, Side) {
        let mut a = Side::new("192.0.2.1:10000".parse().unwrap(), 2);
        let mut b = Side::new("192.0.2.1:10002".parse().unwrap(), 4);
        offer(&mut a, &mut b, a_said, &PairPolicy::default()).unwrap();
        answer(&mut b, &mut a, b_said).unwrap();
        (a, b)
    }

    fn text(body: &[u8]) -> String {
        String::from_utf8(body.to_vec()).unwrap()
    }

    fn heard(address: &str) -> SocketAddr {
        address.parse().unwrap()
    }

    #[test]
    fn each_is_told_the_others_address_and_nothing_else_of_it_and_comes_back() {
        let a_said = said(
            "198.51.100.7",
            "8 0 101",
            "a=candidate:1 1 UDP 1 10.9.9.9 4000 typ host\r\na=rtcp:4005\r\n",
        );
        let b_said = said("203.0.113.9", "0 101", "");
        let (mut a, mut b) = (up(&a_said, &b_said).0, up(&a_said, &b_said).1);
        let policy = PairPolicy::default();
        let to_b = text(&direct(&a, &mut b, heard("198.51.100.7:4000"), &policy).unwrap());
        assert!(
            to_b.contains("c=IN IP4 198.51.100.7\r\n") && to_b.contains("m=audio 4000 RTP/AVP 8 0 101"),
            "{to_b}"
        );
        assert!(
            to_b.contains("o=- 2 ") && to_b.contains("IN IP4 192.0.2.1\r\n"),
            "the session is ours: {to_b}"
        );
        assert!(!to_b.contains("secret") && !to_b.contains("10.9.9.9"), "{to_b}");
        apply(&mut b, &b_said).unwrap();
        let to_a = text(&direct(&b, &mut a, heard("203.0.113.9:4000"), &policy).unwrap());
        assert!(to_a.contains("203.0.113.9") && to_a.contains("RTP/AVP 0 101"), "{to_a}");
        apply(&mut a, &a_said).unwrap();
        assert!(a.is_led_past() && b.is_led_past());
        // A refresh repeats what the party knows; a change gets our address.
        assert_eq!(text(&local_answer(&mut a, &a_said, &policy).unwrap()), to_a);
        let hold = said("198.51.100.7", "8 0 101", "a=sendonly\r\n");
        assert!(text(&local_answer(&mut a, &hold, &policy).unwrap()).contains("c=IN IP4 192.0.2.1\r\n"));
        let back_b = text(&back(&mut b, &policy).unwrap());
        assert!(
            back_b.contains("m=audio 10002 RTP/AVP 8 0 101") && !back_b.contains("198.51.100"),
            "{back_b}"
        );
        apply(&mut b, &b_said).unwrap();
        assert!(!a.is_led_past() && !b.is_led_past());
        join(&a, &b).unwrap();
    }

    #[test]
    fn an_answer_that_was_not_written_counts_as_sent_when_media_comes_back() {
        let lines = said("203.0.113.9", "8 101", "m=video 6000 RTP/AVP 96\r\n");
        let mut a = Side::new("192.0.2.1:10000".parse().unwrap(), 2);
        let mut b = Side::new("192.0.2.1:10002".parse().unwrap(), 4);
        offer(&mut a, &mut b, &lines, &PairPolicy::default()).unwrap();
        a.resume();
        let again = text(&back(&mut a, &PairPolicy::default()).unwrap());
        assert!(
            again.contains("m=audio 10000 RTP/AVP 8 101") && again.contains("m=video 0 RTP/AVP"),
            "{again}"
        );
        assert!(!again.contains("o=- 1 1 "), "the version of the answer: {again}");
    }

    #[test]
    fn media_comes_back_with_the_hold_that_there_is_now() {
        let plain = said("198.51.100.7", "8 101", "");
        let held = PairPolicy { hold: Hold::Silent, ..PairPolicy::default() };
        let (mut a, _) = up(&plain, &plain);
        for (policy, direction) in [(&held, Some("a=inactive")), (&PairPolicy::default(), None)] {
            let again = text(&back(&mut a, policy).unwrap());
            assert_eq!(again.lines().find(|it| *it == "a=inactive"), direction, "{again}");
            assert!(!again.contains("only"), "{again}");
            apply(&mut a, &plain).unwrap();
        }
    }

    #[test]
    fn who_cannot_reach_the_other_or_understand_it_stays_relayed() {
        let plain = |host: &str| said(host, "8 0 101", "");
        let policy = PairPolicy::default();
        let refused = |a_said: &[u8], b_said: &[u8], from: &str, policy: &PairPolicy| {
            let (a, mut b) = up(a_said, b_said);
            direct(&a, &mut b, heard(from), policy).unwrap_err()
        };
        let (a, b) = (plain("10.0.0.7"), plain("203.0.113.9"));
        assert!(matches!(refused(&a, &b, "198.51.100.7:31000", &policy), DirectError::Nat { .. }));
        let held = said("203.0.113.9", "8 0 101", "a=inactive\r\n");
        assert_eq!(refused(&a, &held, "10.0.0.7:4000", &policy), DirectError::Held);
        // PCMU is transcoded to PCMA.
        let (only_u, only_a) = (said("10.0.0.7", "0 101", ""), said("203.0.113.9", "8 101", ""));
        assert!(matches!(refused(&only_u, &only_a, "10.0.0.7:4000", &policy), DirectError::Pair(_)));
        // The route permits only a codec that A does not have.
        let narrow = PairPolicy { codecs: vec!["G729".into()], ..policy };
        assert!(matches!(refused(&a, &b, "10.0.0.7:4000", &narrow), DirectError::Pair(_)));
    }
}
