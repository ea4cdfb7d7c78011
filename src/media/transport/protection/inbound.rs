//! Received packets: verifies and decrypts them.

use super::outbound::{associated, rollovers};
use super::streams::{Streams, estimate};
use super::suite::MasterKey;
use super::transform::{Forged, Transform};
use super::{ENCRYPTED, RTCP_CLEAR, RTCP_WORD, rtcp_ssrc};
use crate::rtp::header::Header;

/// Why a packet is to be dropped. Its octets are unchanged.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum UnprotectError {
    /// Too short, or with an invalid header.
    #[error("no SRTP or SRTCP packet")]
    Malformed,
    /// Its index was received before, or is older than the replay window (RFC 3711 §3.3.2).
    #[error("replayed, or too old to check")]
    Replayed,
    /// Modified on its way, plain, or under another key.
    #[error("authentication failed")]
    Forged,
}

impl From<Forged> for UnprotectError {
    fn from(_: Forged) -> Self {
        UnprotectError::Forged
    }
}

/// The receiving direction, under one key of the far end.
pub struct Inbound {
    rtp: Transform,
    rtcp: Transform,
    pub(super) rtp_streams: Streams,
    pub(super) rtcp_streams: Streams,
    /// RTP streams under the previous key.
    pub(super) former: Option<Box<Streams>>,
    /// Octets of the master key identifier in packets.
    mki: usize,
}

impl Inbound {
    /// The initial state, without any stream.
    pub fn new(master: &MasterKey) -> Self {
        Inbound {
            rtp: Transform::rtp(master),
            rtcp: Transform::rtcp(master),
            rtp_streams: Streams::default(),
            rtcp_streams: Streams::default(),
            former: None,
            mki: master.mki_len(),
        }
    }

    /// Switches to another key. Some peers then restart their rollover counter, others continue it:
    /// a stream's first packet decides.
    pub fn rekey(&mut self, master: &MasterKey) {
        let streams = std::mem::take(&mut self.rtp_streams);
        *self = Inbound { former: Some(Box::new(streams)), ..Inbound::new(master) };
    }

    /// Verifies and decrypts an RTP packet in place, and returns its new length.
    ///
    /// # Errors
    /// See [`UnprotectError`].
    pub fn rtp(&mut self, packet: &mut [u8]) -> Result<usize, UnprotectError> {
        let trailer = self.rtp.tag_len() + self.mki;
        let len = packet.len().checked_sub(trailer).ok_or(UnprotectError::Malformed)?;
        let header = Header::clear(&packet[..len]).map_err(|_| UnprotectError::Malformed)?;
        let Header { ssrc, sequence, .. } = header;
        let index = match self.rtp_streams.highest(ssrc) {
            Some(highest) => {
                let index = estimate(highest, sequence);
                self.rtp_streams.check(ssrc, index).map_err(|_| UnprotectError::Replayed)?;
                self.open_rtp(packet, len, &header, index)?;
                index
            }
            None => {
                let anew = u64::from(sequence);
                let on = self.former.as_ref().and_then(|former| former.highest(ssrc));
                let other = match on {
                    Some(highest) => Some(estimate(highest, sequence)),
                    // It began shortly before its numbers rolled over, and its first packets were lost.
                    None => (sequence < 0x8000).then_some(1 << 16 | anew),
                };
                match (self.open_rtp(packet, len, &header, anew), other) {
                    (Ok(()), _) => anew,
                    (Err(forged), None) => return Err(forged.into()),
                    (Err(_), Some(index)) => {
                        self.open_rtp(packet, len, &header, index)?;
                        index
                    }
                }
            }
        };
        self.rtp_streams.take(ssrc, index);
        Ok(len)
    }

    fn open_rtp(&self, packet: &mut [u8], len: usize, header: &Header, index: u64) -> Result<(), Forged> {
        // the identifier, which is not authenticated, precedes the tag of an HMAC (RFC 3711 §3.1),
        // and follows that of GCM, which belongs to the payload (RFC 7714)
        let (packet, trailer) = packet.split_at_mut(len);
        if self.rtp.is_aead() {
            let tag = trailer.first_chunk().copied().ok_or(Forged)?;
            let (clear, payload) = packet.split_at_mut(header.payload);
            self.rtp.open(header.ssrc, index, clear, payload, tag)
        } else {
            let tag = trailer.get(self.mki..).ok_or(Forged)?;
            self.rtp.verify(packet, &rollovers(index), tag)?;
            self.rtp.crypt(header.ssrc, index, &mut packet[header.payload..]);
            Ok(())
        }
    }

    /// The same for a compound RTCP packet.
    ///
    /// # Errors
    /// See [`UnprotectError`].
    pub fn rtcp(&mut self, packet: &mut [u8]) -> Result<usize, UnprotectError> {
        let transform = &self.rtcp;
        let len = packet.len().checked_sub(RTCP_WORD + transform.tag_len() + self.mki);
        let len = len.filter(|len| *len >= RTCP_CLEAR).ok_or(UnprotectError::Malformed)?;
        let ssrc = rtcp_ssrc(packet).ok_or(UnprotectError::Malformed)?;
        let word_at = if transform.is_aead() { len + transform.tag_len() } else { len };
        let word = packet[word_at..].first_chunk::<RTCP_WORD>().copied().ok_or(UnprotectError::Malformed)?;
        let number = u32::from_be_bytes(word);
        let (encrypted, index) = (number & ENCRYPTED != 0, u64::from(number & !ENCRYPTED));
        self.rtcp_streams.check(ssrc, index).map_err(|_| UnprotectError::Replayed)?;
        let (packet, trailer) = packet.split_at_mut(len);
        if transform.is_aead() {
            // Only with the E bit: reports readable by everyone are not what GCM is used for.
            if !encrypted {
                return Err(UnprotectError::Malformed);
            }
            let tag = trailer.first_chunk().copied().ok_or(Forged)?;
            let (clear, payload) = packet.split_at_mut(RTCP_CLEAR);
            transform.open(ssrc, index, &associated(clear, word), payload, tag)?;
        } else {
            let tag = trailer.get(RTCP_WORD + self.mki..).ok_or(Forged)?;
            transform.verify(packet, &word, tag)?;
            if encrypted {
                transform.crypt(ssrc, index, &mut packet[RTCP_CLEAR..]);
            }
        }
        self.rtcp_streams.take(ssrc, index);
        Ok(len)
    }
}
