//! The header of a received RTP packet (RFC 3550 §5.1). Every length in it is checked here (A.1),
//! and nowhere else.

use std::ops::Range;

use super::packet::{HEADER_LEN, PacketError};

/// The fields of a header.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Header {
    /// Marker bit.
    pub marker: bool,
    /// Payload type, seven bits.
    pub payload_type: u8,
    /// Sequence number.
    pub sequence: u16,
    /// Timestamp.
    pub timestamp: u32,
    /// SSRC.
    pub ssrc: u32,
    /// Offset of the payload.
    pub payload: usize,
    /// Octets of the payload without padding.
    pub payload_len: usize,
}

impl Header {
    /// Parses a packet's header; `None` if it is not an RTP packet.
    #[inline]
    pub fn read(packet: &[u8]) -> Option<Header> {
        Header::parse(packet).ok()
    }

    /// The same, with the reason for failure.
    ///
    /// # Errors
    /// See [`PacketError`].
    #[inline]
    pub fn parse(packet: &[u8]) -> Result<Header, PacketError> {
        let (first, mut header) = Header::fixed(packet)?;
        // Most packets have neither padding, extension nor CSRCs.
        if first & 0x3F != 0 {
            header.extend(packet)?;
            if first & 0x20 != 0 {
                // Many devices set the bit and count 0.
                let padding = usize::from(*packet.last().ok_or(PacketError::Short)?);
                header.payload_len = header.payload_len.checked_sub(padding).ok_or(PacketError::Padding)?;
            }
        }
        Ok(header)
    }

    /// The header as SRTP leaves it readable: padding counts as payload.
    ///
    /// # Errors
    /// See [`PacketError`].
    #[inline]
    pub fn clear(packet: &[u8]) -> Result<Header, PacketError> {
        let (_, mut header) = Header::fixed(packet)?;
        header.extend(packet)?;
        Ok(header)
    }

    /// The fixed part, and the first octet.
    #[inline]
    fn fixed(packet: &[u8]) -> Result<(u8, Header), PacketError> {
        let &[first, second, s0, s1, t0, t1, t2, t3, i0, i1, i2, i3] =
            packet.first_chunk::<HEADER_LEN>().ok_or(PacketError::Short)?;
        if first >> 6 != 2 {
            return Err(PacketError::Version(first >> 6));
        }
        let header = Header {
            marker: second & 0x80 != 0,
            payload_type: second & 0x7F,
            sequence: u16::from_be_bytes([s0, s1]),
            timestamp: u32::from_be_bytes([t0, t1, t2, t3]),
            ssrc: u32::from_be_bytes([i0, i1, i2, i3]),
            payload: HEADER_LEN,
            payload_len: packet.len() - HEADER_LEN,
        };
        Ok((first, header))
    }

    /// Includes CSRCs and extension in the header.
    #[inline]
    fn extend(&mut self, packet: &[u8]) -> Result<(), PacketError> {
        self.payload = extension(packet)?.end;
        self.payload_len = packet.len() - self.payload;
        Ok(())
    }
}

/// The range of the header extension after the CSRCs: its profile, length and elements. Empty if
/// there is none.
///
/// # Errors
/// The extension or the CSRC list exceeds the packet.
#[inline]
pub(crate) fn extension(packet: &[u8]) -> Result<Range<usize>, PacketError> {
    let first = packet.first().ok_or(PacketError::Short)?;
    let start = HEADER_LEN + usize::from(first & 0x0F) * 4;
    let rest = packet.get(start..).ok_or(PacketError::Csrc)?;
    if first & 0x10 == 0 {
        return Ok(start..start);
    }
    let &[_, _, l0, l1] = rest.first_chunk::<4>().ok_or(PacketError::Extension)?;
    let len = 4 + usize::from(u16::from_be_bytes([l0, l1])) * 4;
    if len > rest.len() { Err(PacketError::Extension) } else { Ok(start..start + len) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_that_lie_are_no_rtp() {
        let good = [&[0x80, 0, 0, 1, 0, 0, 0, 160, 0, 0, 0, 7][..], &[0x55; 160]].concat();
        assert_eq!(Header::read(&good).map(|header| (header.payload, header.payload_len)), Some((12, 160)));
        let with = |index: usize, value: u8| {
            let mut bad = good.clone();
            bad[index] = value;
            bad
        };
        assert_eq!(Header::read(&good[..11]), None);
        assert!(Header::read(&good[..12]).is_some(), "an empty payload");
        assert_eq!(Header::read(&with(0, 0x40)), None);
        assert_eq!(Header::read(&with(0, 0x8F)[..40]), None, "CSRCs beyond the end");
        assert_eq!(Header::read(&with(0, 0x90)), None, "an extension of 0x5555 words");
        let padded = with(0, 0xA0);
        assert_eq!(Header::read(&padded).map(|header| header.payload_len), Some(160 - 0x55));
        for (padding, left) in [(0, Some(160)), (160, Some(0)), (161, None), (255, None)] {
            let mut odd = padded.clone();
            *odd.last_mut().unwrap() = padding;
            assert_eq!(Header::read(&odd).map(|header| header.payload_len), left, "{padding}");
        }
        let mut extended = with(0, 0x92);
        extended[20..24].copy_from_slice(&[0xBE, 0xDE, 0, 2]);
        assert_eq!(Header::read(&extended).map(|header| header.payload), Some(12 + 8 + 4 + 8));
    }
}
