//! One RTP packet (RFC 3550 §5.1), parsed without copying and written in place.

use super::extension::{self, Extensions};
use super::header::{self, Header};

/// Octets of the fixed header.
pub const HEADER_LEN: usize = 12;

/// Why bytes are not an RTP packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum PacketError {
    /// Fewer than [`HEADER_LEN`] octets.
    #[error("shorter than an RTP header")]
    Short,
    /// A version other than 2 (RFC 3550 §5.1).
    #[error("version {0}, not 2")]
    Version(u8),
    /// The CSRC count exceeds the datagram.
    #[error("the CSRC list is longer than the packet")]
    Csrc,
    /// The length of the header extension exceeds the datagram.
    #[error("the header extension is longer than the packet")]
    Extension,
    /// The padding count exceeds the payload.
    #[error("the padding is longer than the payload")]
    Padding,
}

/// A received RTP packet; borrows the datagram.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RtpPacket<'a> {
    /// For audio: the first packet after a silence (RFC 3551 §4.1).
    pub marker: bool,
    /// Payload type, seven bits.
    pub payload_type: u8,
    /// Sequence number, which increases by one for each packet, modulo 2^16.
    pub sequence: u16,
    /// Timestamp of the first sample, on the RTP clock of the payload type.
    pub timestamp: u32,
    /// Synchronization source.
    pub ssrc: u32,
    /// Header extension elements; empty if there are none.
    pub extensions: Extensions<'a>,
    /// The payload without padding.
    pub payload: &'a [u8],
}

impl<'a> RtpPacket<'a> {
    /// Parses a datagram. Every length in it is checked against the actual size (RFC 3550 A.1).
    pub fn parse(datagram: &'a [u8]) -> Result<Self, PacketError> {
        let Header { marker, payload_type, sequence, timestamp, ssrc, payload, payload_len } =
            Header::parse(datagram)?;
        let extension = &datagram[header::extension(datagram)?];
        let extensions = match extension.split_first_chunk::<4>() {
            Some((&[p0, p1, ..], data)) => Extensions::new(u16::from_be_bytes([p0, p1]), data),
            None => Extensions::default(),
        };
        let payload = &datagram[payload..payload + payload_len];
        Ok(RtpPacket { marker, payload_type, sequence, timestamp, ssrc, extensions, payload })
    }
}

/// The header of a packet to be sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RtpHeader {
    /// For audio: the first packet after a silence (RFC 3551 §4.1).
    pub marker: bool,
    /// Payload type, seven bits.
    pub payload_type: u8,
    /// Sequence number, which increases by one for each packet, modulo 2^16.
    pub sequence: u16,
    /// Timestamp of the first sample, on the RTP clock of the payload type.
    pub timestamp: u32,
    /// Our synchronization source.
    pub ssrc: u32,
    /// Capture time of the first sample, with its local identifier (1 to 14).
    pub abs_capture_time: Option<(u8, u64)>,
}

impl RtpHeader {
    /// Octets of the longest header that [`RtpHeader::write`] writes.
    pub const MAX_LEN: usize = HEADER_LEN + extension::ABS_CAPTURE_TIME_LEN;

    /// Writes the header to the front of `buffer` and returns its length.
    pub fn write(&self, buffer: &mut [u8; Self::MAX_LEN]) -> usize {
        self.write_fixed(buffer);
        match self.abs_capture_time {
            Some((id, time)) => {
                buffer[0] |= 0x10;
                buffer[HEADER_LEN..].copy_from_slice(&extension::abs_capture_time(id, time));
                Self::MAX_LEN
            }
            None => HEADER_LEN,
        }
    }

    /// Writes the fixed header to the front of `packet`, if that is long enough.
    #[inline]
    pub(crate) fn write_fixed(&self, packet: &mut [u8]) {
        if let Some(fixed) = packet.first_chunk_mut::<HEADER_LEN>() {
            fixed[0] = 0x80;
            fixed[1] = (u8::from(self.marker) << 7) | (self.payload_type & 0x7F);
            fixed[2..4].copy_from_slice(&self.sequence.to_be_bytes());
            fixed[4..8].copy_from_slice(&self.timestamp.to_be_bytes());
            fixed[8..12].copy_from_slice(&self.ssrc.to_be_bytes());
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn header() -> RtpHeader {
        RtpHeader {
            marker: true,
            payload_type: 8,
            sequence: 0xFFFE,
            timestamp: 0x1234_5678,
            ssrc: 0x9ABC_DEF0,
            abs_capture_time: None,
        }
    }

    fn bytes(header: &RtpHeader, payload: &[u8]) -> Vec<u8> {
        let mut buffer = [0; RtpHeader::MAX_LEN];
        let len = header.write(&mut buffer);
        let mut all = buffer[..len].to_vec();
        all.extend_from_slice(payload);
        all
    }

    #[test]
    fn reads_what_it_writes() {
        for abs_capture_time in [None, Some((3, 0xE800_0001_8000_0000))] {
            let header = RtpHeader { abs_capture_time, ..header() };
            let written = bytes(&header, b"payload");
            let packet = RtpPacket::parse(&written).unwrap();
            assert!(packet.marker);
            assert_eq!(packet.payload_type, 8);
            assert_eq!(packet.sequence, 0xFFFE);
            assert_eq!(packet.timestamp, 0x1234_5678);
            assert_eq!(packet.ssrc, 0x9ABC_DEF0);
            assert_eq!(packet.payload, b"payload");
            assert_eq!(packet.extensions.abs_capture_time(3), abs_capture_time.map(|(_, time)| time));
            assert_eq!(packet.extensions.abs_capture_time(4), None);
        }
    }

    #[test]
    fn takes_csrc_list_and_padding_away() {
        let mut datagram = vec![0x80 | 0x20 | 2, 0, 0, 1, 0, 0, 0, 2, 0, 0, 0, 3];
        datagram.extend_from_slice(&[0xAA; 8]);
        datagram.extend_from_slice(&[1, 2, 3, 0, 0, 3]);
        assert_eq!(RtpPacket::parse(&datagram).unwrap().payload, &[1, 2, 3]);
    }

    #[test]
    fn refuses_lengths_that_lie() {
        let good = bytes(&header(), b"xyz");
        assert_eq!(RtpPacket::parse(&good[..11]), Err(PacketError::Short));
        let with = |index: usize, value: u8| {
            let mut bad = good.clone();
            bad[index] = value;
            bad
        };
        assert_eq!(RtpPacket::parse(&with(0, 0x40)), Err(PacketError::Version(1)));
        assert_eq!(RtpPacket::parse(&with(0, 0x8F)), Err(PacketError::Csrc));
        assert_eq!(RtpPacket::parse(&with(0, 0x90)), Err(PacketError::Extension));
        let mut beyond = with(0, 0x90);
        beyond.extend_from_slice(&[0; 8]);
        beyond[12..16].copy_from_slice(&[0xBE, 0xDE, 0, 200]);
        assert_eq!(RtpPacket::parse(&beyond), Err(PacketError::Extension));
        for padding in [4, 255] {
            let mut bad = with(0, 0xA0);
            *bad.last_mut().unwrap() = padding;
            assert_eq!(RtpPacket::parse(&bad), Err(PacketError::Padding));
        }
        assert_eq!(RtpPacket::parse(&with(0, 0xA0)[..12]), Err(PacketError::Padding));
    }

    proptest! {
        #[test]
        fn hostile_bytes_never_panic(datagram in proptest::collection::vec(any::<u8>(), 0..200), first in 0x80u8..=0xBF) {
            let mut datagram = datagram;
            if let Some(byte) = datagram.first_mut() { *byte = first; }
            if let Ok(packet) = RtpPacket::parse(&datagram) {
                prop_assert!(packet.payload.len() + HEADER_LEN <= datagram.len());
                let total: usize = packet.extensions.map(|(_, data)| data.len()).sum();
                prop_assert!(total <= datagram.len());
            }
        }
    }
}
