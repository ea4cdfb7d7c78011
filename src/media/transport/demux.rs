//! Classifies a datagram on a media port by its first two octets.

/// A protocol that may share an RTP port.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Protocol {
    /// RTP or SRTP.
    Rtp,
    /// RTCP or SRTCP.
    Rtcp,
    /// STUN, ZRTP, DTLS, TURN (RFC 7983 §7) or an unknown protocol.
    Other,
}

/// Classifies a datagram (RFC 7983 §7). It is RTCP if the second octet, read as an RTP payload type
/// with its marker, is 64 to 95 (RFC 5761 §4).
pub fn classify(datagram: &[u8]) -> Protocol {
    match datagram {
        [128..=191, second, ..] if (64..=95).contains(&(second & 0x7F)) => Protocol::Rtcp,
        [128..=191, _, ..] => Protocol::Rtp,
        _ => Protocol::Other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn protocols_are_told_apart() {
        assert_eq!(classify(&[0x80, 0]), Protocol::Rtp);
        assert_eq!(classify(&[0x80, 0x80 | 101]), Protocol::Rtp);
        assert_eq!(classify(&[0xBF, 63]), Protocol::Rtp);
        assert_eq!(classify(&[0x80, 200]), Protocol::Rtcp);
        assert_eq!(classify(&[0x81, 223]), Protocol::Rtcp);
        assert_eq!(classify(&[0x81, 224]), Protocol::Rtp, "payload type 96 with a marker");
        for first in [0u8, 3, 16, 20, 63, 64, 79, 127, 192, 255] {
            assert_eq!(classify(&[first, 200]), Protocol::Other);
        }
        assert_eq!(classify(&[]), Protocol::Other);
        assert_eq!(classify(&[0x80]), Protocol::Other);
    }
}
