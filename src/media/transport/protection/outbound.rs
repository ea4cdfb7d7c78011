//! Sent packets: encrypts and authenticates them.

use super::streams::{Refused, Streams, estimate};
use super::suite::MasterKey;
use super::transform::Transform;
use super::{ENCRYPTED, RTCP_CLEAR, RTCP_WORD, rtcp_ssrc};
use crate::rtp::header::Header;

/// Why a packet was not protected. It must not be sent then.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ProtectError {
    /// Too short, or with an invalid header.
    #[error("no RTP or RTCP packet")]
    Malformed,
    /// The buffer has no room for the tag.
    #[error("{needed} octets are needed for the protected packet; give a larger buffer")]
    NoRoom {
        /// Octets of the protected packet.
        needed: usize,
    },
    /// Two packets under one index would have the same key stream.
    #[error("a packet with this sequence number was sent before")]
    Repeated,
    /// The state of a sent stream must not be forgotten.
    #[error("too many SSRCs under one key; agree on a new one")]
    TooManyStreams,
    /// 2^31 SRTCP packets (RFC 3711 §9.2).
    #[error("the key has reached its lifetime; agree on a new one")]
    KeyUsedUp,
}

impl From<Refused> for ProtectError {
    fn from(refused: Refused) -> Self {
        match refused {
            Refused::Replayed => ProtectError::Repeated,
            Refused::Full => ProtectError::TooManyStreams,
        }
    }
}

/// The sending direction, under one key of ours.
pub struct Outbound {
    rtp: Transform,
    rtcp: Transform,
    pub(super) rtp_streams: Streams,
    pub(super) rtcp_streams: Streams,
}

impl Outbound {
    /// The initial state: rollover counters and SRTCP indices are 0.
    pub fn new(master: &MasterKey) -> Self {
        Outbound {
            rtp: Transform::rtp(master),
            rtcp: Transform::rtcp(master),
            rtp_streams: Streams::default(),
            rtcp_streams: Streams::default(),
        }
    }

    /// Protects the RTP packet in the first `len` octets of `buffer` in place, and returns its new
    /// length, which is at most [`RTP_OVERHEAD`](super::RTP_OVERHEAD) more.
    ///
    /// A stream's first sequence number should be below 2^15, so that a receiver that
    /// misses the first packets does not miss a rollover (RFC 3711 §3.3.1).
    ///
    /// # Errors
    /// See [`ProtectError`].
    pub fn rtp(&mut self, buffer: &mut [u8], len: usize) -> Result<usize, ProtectError> {
        let Header { ssrc, sequence, payload, .. } =
            buffer.get(..len).and_then(|packet| Header::clear(packet).ok()).ok_or(ProtectError::Malformed)?;
        let transform = &self.rtp;
        let end = len + transform.tag_len();
        let (packet, tag) = split(buffer, len, end)?;
        self.rtp_streams.has_room(ssrc)?;
        let index = match self.rtp_streams.highest(ssrc) {
            Some(highest) => estimate(highest, sequence),
            None => u64::from(sequence),
        };
        self.rtp_streams.check(ssrc, index)?;
        let (header, payload) = packet.split_at_mut(payload);
        if transform.is_aead() {
            let sum = transform.seal(ssrc, index, header, payload).map_err(|_| ProtectError::Malformed)?;
            tag.copy_from_slice(&sum);
        } else {
            transform.crypt(ssrc, index, payload);
            transform.sign(packet, &rollovers(index), tag);
        }
        self.rtp_streams.take(ssrc, index);
        Ok(end)
    }

    /// The same for a compound RTCP packet, which grows by at most
    /// [`RTCP_OVERHEAD`](super::RTCP_OVERHEAD).
    ///
    /// # Errors
    /// See [`ProtectError`].
    pub fn rtcp(&mut self, buffer: &mut [u8], len: usize) -> Result<usize, ProtectError> {
        let ssrc = buffer.get(..len).and_then(rtcp_ssrc).ok_or(ProtectError::Malformed)?;
        let transform = &self.rtcp;
        let end = len + RTCP_WORD + transform.tag_len();
        let (packet, trailer) = split(buffer, len, end)?;
        self.rtcp_streams.has_room(ssrc)?;
        let index = self.rtcp_streams.highest(ssrc).map_or(0, |highest| highest + 1);
        let number = u32::try_from(index).ok().filter(|index| index & ENCRYPTED == 0);
        let word = (number.ok_or(ProtectError::KeyUsedUp)? | ENCRYPTED).to_be_bytes();
        let (clear, payload) = packet.split_at_mut(RTCP_CLEAR);
        if transform.is_aead() {
            // RFC 7714 §9: the tag precedes the word.
            let clear = associated(clear, word);
            let sum = transform.seal(ssrc, index, &clear, payload).map_err(|_| ProtectError::Malformed)?;
            trailer[..sum.len()].copy_from_slice(&sum);
            trailer[sum.len()..].copy_from_slice(&word);
        } else {
            transform.crypt(ssrc, index, payload);
            trailer[..RTCP_WORD].copy_from_slice(&word);
            transform.sign(packet, &word, &mut trailer[RTCP_WORD..]);
        }
        self.rtcp_streams.take(ssrc, index);
        Ok(end)
    }
}

/// Splits the buffer into the packet and the room after it.
fn split(buffer: &mut [u8], len: usize, end: usize) -> Result<(&mut [u8], &mut [u8]), ProtectError> {
    let room = buffer.get_mut(..end).ok_or(ProtectError::NoRoom { needed: end })?;
    Ok(room.split_at_mut(len))
}

/// The rollover counter, which is authenticated with the packet (RFC 3711 §4.2).
pub(super) fn rollovers(index: u64) -> [u8; 4] {
    ((index >> 16) as u32).to_be_bytes()
}

/// What GCM authenticates of an SRTCP packet besides its payload (RFC 7714 §9.2).
pub(super) fn associated(clear: &[u8], word: [u8; RTCP_WORD]) -> [u8; RTCP_CLEAR + RTCP_WORD] {
    let mut associated = [0; RTCP_CLEAR + RTCP_WORD];
    associated[..RTCP_CLEAR].copy_from_slice(clear);
    associated[RTCP_CLEAR..].copy_from_slice(&word);
    associated
}
