//! Counts of what is not forwarded, by reason.

use super::Reason;

/// Datagrams that were not forwarded, by reason.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Drops {
    /// Not a valid RTP packet: inconsistent lengths, or a version other than 2.
    pub malformed: u64,
    /// Neither RTP nor RTCP: STUN, DTLS, keep-alives (RFC 7983).
    pub other_protocol: u64,
    /// From an address other than the locked one: an injection.
    pub source: u64,
    /// Where SRTP is agreed: plain, modified, or under another key.
    pub unauthenticated: u64,
    /// SRTP under the key with a number that was used: a copy, or a stream that restarts its numbers
    /// (RFC 3711 §3.3.2).
    #[serde(default)]
    pub replayed: u64,
    /// Of a stream (SSRC) that is not confirmed yet, or has been replaced.
    pub stream: u64,
    /// A payload type that was not negotiated, or that the other leg does not support.
    pub payload_type: u64,
    /// The other leg is on hold or does not want to receive.
    pub held: u64,
    /// There is no other leg, or its address is not known yet.
    pub unjoined: u64,
    /// The transcoder could not decode the payload.
    pub undecodable: u64,
    /// The system refused to send.
    pub send_failed: u64,
}

impl Drops {
    /// Each reason and its count.
    pub fn each(mut self) -> [(&'static str, u64); 11] {
        self.each_mut().map(|(reason, count)| (reason, *count))
    }

    /// Each reason and its count: the one list of them.
    pub(crate) fn each_mut(&mut self) -> [(&'static str, &mut u64); 11] {
        let Drops {
            malformed,
            other_protocol,
            source,
            unauthenticated,
            replayed,
            stream,
            payload_type,
            held,
            unjoined,
            undecodable,
            send_failed,
        } = self;
        [
            ("malformed", malformed),
            ("other_protocol", other_protocol),
            ("source", source),
            ("unauthenticated", unauthenticated),
            ("replayed", replayed),
            ("stream", stream),
            ("payload_type", payload_type),
            ("held", held),
            ("unjoined", unjoined),
            ("undecodable", undecodable),
            ("send_failed", send_failed),
        ]
    }

    /// Counts a believed packet that was not forwarded.
    pub fn count(&mut self, reason: Reason) {
        match reason {
            Reason::Held => self.held += 1,
            Reason::Unjoined => self.unjoined += 1,
            Reason::PayloadType => self.payload_type += 1,
            Reason::Stale => self.stream += 1,
        }
    }

    /// The increase since an earlier count.
    pub fn since(mut self, before: &Drops) -> Drops {
        for ((_, count), (_, before)) in self.each_mut().into_iter().zip(before.each()) {
            *count = count.saturating_sub(before);
        }
        self
    }

    /// The sum of all reasons.
    pub fn total(&self) -> u64 {
        self.each().iter().map(|(_, count)| count).sum()
    }
}
