//! Sends a party's own packets back to it in the leg's outgoing stream: same payload, our SSRC,
//! sequence numbers and timestamps with the same increments as the party's.

use crate::forward::{Header, OutSpace};
use crate::rtp::packet::HEADER_LEN;

/// A larger step is a restart of the stream (RFC 3550 A.1).
const LARGEST_STEP: u16 = 3_000;

/// The echo of one party.
#[derive(Debug, Clone, Copy, Default)]
pub struct Echo {
    anchor: Option<Anchor>,
}

/// The offsets from the party's numbers to ours.
#[derive(Debug, Clone, Copy)]
struct Anchor {
    ssrc: u32,
    sequence_offset: u16,
    timestamp_offset: u32,
    /// Our highest sequence number: if the leg's stream has another one, other packets were sent
    /// since.
    used: u16,
}

impl Echo {
    /// Turns a packet in place into the one to send back, and counts it. Returns its length; `None`
    /// if there is nothing to send.
    pub fn turn(
        &mut self,
        header: &Header,
        clock_rate: u32,
        at: u64,
        space: &mut OutSpace,
        datagram: &mut [u8],
    ) -> Option<usize> {
        let end = header.payload.checked_add(header.payload_len).filter(|end| *end <= datagram.len())?;
        let ahead = |anchor: &Anchor| {
            header.sequence.wrapping_add(anchor.sequence_offset).wrapping_sub(anchor.used) as i16
        };
        let goes_on = self.anchor.filter(|anchor| {
            anchor.ssrc == header.ssrc
                && anchor.used == space.sequence
                && ahead(anchor).unsigned_abs() <= LARGEST_STEP
        });
        let mut anchor = goes_on.unwrap_or_else(|| Anchor {
            ssrc: header.ssrc,
            sequence_offset: space.sequence.wrapping_add(1).wrapping_sub(header.sequence),
            timestamp_offset: space.timestamp_at(at, clock_rate).wrapping_sub(header.timestamp),
            used: space.sequence,
        });
        let sequence = header.sequence.wrapping_add(anchor.sequence_offset);
        let timestamp = header.timestamp.wrapping_add(anchor.timestamp_offset);
        let len = HEADER_LEN + header.payload_len;
        if ahead(&anchor) > 0 {
            anchor.used = sequence;
            space.sent(sequence, timestamp, at, len, header.payload_len);
        } else if goes_on.is_some() {
            // A reordered packet keeps its number, and the stream's position stays.
            space.sent(space.sequence, space.timestamp, space.at, len, header.payload_len);
        }
        self.anchor = Some(anchor);
        datagram.copy_within(header.payload..end, HEADER_LEN);
        let marker = header.marker || goes_on.is_none();
        space.header(marker, header.payload_type, sequence, timestamp).write_fixed(datagram);
        Some(len)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn packet(first: u8, sequence: u16, timestamp: u32, ssrc: u32, payload: &[u8]) -> Vec<u8> {
        let mut packet = vec![first, 8];
        packet.extend(sequence.to_be_bytes());
        packet.extend(timestamp.to_be_bytes());
        packet.extend(ssrc.to_be_bytes());
        if first & 0x10 != 0 {
            packet.extend([0xBE, 0xDE, 0, 1, 0x10, 7, 0, 0]);
        }
        packet.extend(payload);
        packet
    }

    fn turn(echo: &mut Echo, space: &mut OutSpace, at_ms: u64, mut packet: Vec<u8>) -> (Header, Vec<u8>) {
        let header = Header::read(&packet).expect("RTP");
        let len = echo.turn(&header, 8_000, at_ms * 1_000_000, space, &mut packet).expect("an echo");
        let back = Header::read(&packet[..len]).expect("RTP");
        (back, packet[back.payload..len].to_vec())
    }

    #[test]
    fn what_comes_goes_back_in_our_own_stream_without_its_extensions() {
        let (mut echo, mut space) = (Echo::default(), OutSpace::new(77, 9, 1_000));
        let (first, payload) = turn(&mut echo, &mut space, 1, packet(0x90, 500, 70_000, 5, &[1, 2, 3]));
        assert_eq!((first.ssrc, first.sequence, first.timestamp, first.payload_type), (77, 10, 1_000, 8));
        assert_eq!((first.marker, payload), (true, vec![1, 2, 3]));
        // Two were lost on their way in, and are missing on the way back.
        let (later, _) = turn(&mut echo, &mut space, 61, packet(0x80, 503, 70_480, 5, &[4]));
        assert_eq!((later.sequence, later.timestamp, later.marker), (13, 1_480, false));
        let (overtaken, _) = turn(&mut echo, &mut space, 62, packet(0x80, 502, 70_320, 5, &[4]));
        assert_eq!((overtaken.sequence, overtaken.timestamp), (12, 1_320));
        assert_eq!((space.sequence, space.timestamp, space.packets), (13, 1_480, 3));
    }

    #[test]
    fn after_another_stream_or_somebody_elses_words_it_goes_on_by_time() {
        let (mut echo, mut space) = (Echo::default(), OutSpace::new(77, 9, 1_000));
        turn(&mut echo, &mut space, 1, packet(0x80, 500, 70_000, 5, &[1]));
        let (other, _) = turn(&mut echo, &mut space, 41, packet(0x80, 9, 3, 6, &[1]));
        assert_eq!((other.sequence, other.timestamp, other.marker), (11, 1_320, true));
        space.sent(12, 5_000, 61_000_000, 172, 160);
        let (behind, _) = turn(&mut echo, &mut space, 81, packet(0x80, 11, 323, 6, &[1]));
        assert_eq!((behind.sequence, behind.timestamp, behind.marker), (13, 5_160, true));
        let (jumped, _) = turn(&mut echo, &mut space, 101, packet(0x80, 9_000, 0, 6, &[1]));
        assert_eq!((jumped.sequence, jumped.marker), (14, true));
    }
}
