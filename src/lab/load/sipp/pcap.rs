//! The RTP of a capture file: what `play_pcap_audio` sends.

use std::time::Duration;

use etherparse::{SlicedPacket, TransportSlice};

/// A packet, and when it is due.
#[derive(Debug)]
pub struct TimedPacket {
    /// After the first packet.
    pub after: Duration,
    /// The RTP packet as it was captured.
    pub octets: Vec<u8>,
}

/// The RTP packets to the lowest UDP port of a capture, in order; the others are RTCP, or of another stream.
///
/// # Errors
/// It is no capture in the classic format, or has no RTP; in words, with what to do.
pub fn packets(octets: &[u8]) -> Result<Vec<TimedPacket>, String> {
    const CONVERT: &str = "write a pcap of IP packets, as by editcap -F pcap OLD NEW";
    let capture = Capture::parse(octets).ok_or(format!("it is no capture; {CONVERT}"))?;
    let mut found = Vec::new();
    for (at, frame) in capture.frames() {
        let Some(TransportSlice::Udp(udp)) = capture.transport(frame) else { continue };
        // RFC 3550 §5.1: version 2; RFC 5761 §4: payload types that are RTCP's
        if let [first, second, ..] = udp.payload()
            && first >> 6 == 2
            && !(192..=223).contains(second)
        {
            found.push((udp.destination_port(), at, udp.payload().to_vec()));
        }
    }
    let port = found.iter().map(|(port, ..)| *port).min().ok_or(format!("it has no RTP; {CONVERT}"))?;
    found.retain(|(to, ..)| *to == port);
    let begin = found.first().map_or(Duration::ZERO, |(_, at, _)| *at);
    let timed = |(_, at, octets): (_, Duration, _)| TimedPacket { after: at.saturating_sub(begin), octets };
    Ok(found.into_iter().map(timed).collect())
}

/// A capture in the classic format: a header of 24 octets, then frames, each behind a header of 16.
struct Capture<'a> {
    number: fn([u8; 4]) -> u32,
    /// Parts of a second in the times.
    parts: u32,
    /// What the frames begin with: <https://www.tcpdump.org/linktypes.html>.
    link: u32,
    rest: &'a [u8],
}

impl<'a> Capture<'a> {
    fn parse(octets: &'a [u8]) -> Option<Self> {
        let (head, rest) = octets.split_first_chunk::<24>()?;
        let (words, _) = head.as_chunks::<4>();
        let number = if head[0] == 0xa1 { u32::from_be_bytes } else { u32::from_le_bytes };
        let parts = match number(words[0]) {
            0xa1b2_c3d4 => 1_000_000,
            0xa1b2_3c4d => 1_000_000_000,
            _ => return None,
        };
        Some(Capture { number, parts, link: number(words[5]), rest })
    }

    /// The frames and their times.
    fn frames(&self) -> impl Iterator<Item = (Duration, &'a [u8])> {
        let mut rest = self.rest;
        std::iter::from_fn(move || {
            let (head, after) = rest.split_first_chunk::<16>()?;
            let (words, _) = head.as_chunks::<4>();
            let [seconds, part, length] = [words[0], words[1], words[2]].map(self.number);
            let (frame, after) = after.split_at_checked(length as usize)?;
            rest = after;
            let part = Duration::from_secs(part.into()) / self.parts;
            Some((Duration::from_secs(seconds.into()) + part, frame))
        })
    }

    /// The transport of a frame that is whole.
    fn transport(&self, frame: &'a [u8]) -> Option<TransportSlice<'a>> {
        let sliced = match self.link {
            1 => SlicedPacket::from_ethernet(frame).ok(),
            113 => SlicedPacket::from_linux_sll(frame).ok(),
            12 | 101 | 228 | 229 => SlicedPacket::from_ip(frame).ok(),
            _ => None,
        };
        sliced?.transport
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A capture of UDP in IPv4, without a layer below.
    fn of(packets: &[(u32, u16, &[u8])]) -> Vec<u8> {
        let mut file = Vec::new();
        let words = |file: &mut Vec<u8>, words: &[u32]| {
            words.iter().for_each(|word| file.extend(word.to_le_bytes()));
        };
        words(&mut file, &[0xa1b2_c3d4, 0x0004_0002, 0, 0, 65_535, 101]);
        for (ms, port, payload) in packets {
            let length = 28 + payload.len() as u16;
            words(&mut file, &[1_000, ms * 1_000, length.into(), length.into()]);
            file.extend([0x45, 0, (length >> 8) as u8, length as u8, 0, 0, 0, 0, 64, 17, 0, 0]);
            file.extend([127, 0, 0, 1, 127, 0, 0, 2]);
            for number in [9_000, *port, length - 20, 0] {
                file.extend(number.to_be_bytes());
            }
            file.extend(*payload);
        }
        file
    }

    #[test]
    fn the_rtp_to_the_lowest_port_keeps_its_times_without_rtcp_and_other_streams() {
        let (first, second) = ([0x80, 0, 0, 1, 7], [0x80, 0x60, 0, 2, 8]);
        let (rtcp, other) = ([0x80, 200, 0, 6], [0x80, 0, 0, 9]);
        let file = of(&[(0, 6_000, &first), (5, 6_000, &rtcp), (7, 6_002, &other), (30, 6_000, &second)]);
        let read = packets(&file).unwrap();
        let read: Vec<_> = read.iter().map(|it| (it.after.as_millis(), it.octets.clone())).collect();
        assert_eq!(read, [(0, first.to_vec()), (30, second.to_vec())]);
    }

    #[test]
    fn what_is_no_capture_or_has_no_rtp_says_what_to_write() {
        for file in [b"RIFF".to_vec(), Vec::new(), of(&[(0, 5_060, b"OPTIONS")]), vec![0x0a; 40]] {
            assert!(packets(&file).unwrap_err().contains("editcap -F pcap"));
        }
    }
}
