//! Packets received on a call's RTP socket, inspected before the library takes them: the library's own
//! counters lack percentiles, gaps and duplicates.

use std::time::Instant;

use b2b_base::metrics::MediaStats;
use b2b_base::metrics::stream::StreamStats;

/// The negotiated meaning of a payload type.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Audio,
    TelephoneEvent,
    Unknown,
}

/// Window of sequence numbers in which duplicates are detected.
const WINDOW: u64 = 64;
/// A larger step of the sequence number restarts it (RFC 3550 A.1, MAX_DROPOUT).
const DROPOUT: i64 = 3_000;
/// RTP ticks per millisecond.
const TICKS_PER_MS: u32 = 8;

/// The relevant fields of an RTP header.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Rtp<'a> {
    pub sequence: u16,
    pub timestamp: u32,
    pub ssrc: u32,
    pub payload_type: u8,
    pub payload: &'a [u8],
}

impl<'a> Rtp<'a> {
    /// Parses a packet (RFC 3550 §5.1); `None` for RTCP or anything but RTP.
    pub(super) fn read(datagram: &'a [u8]) -> Option<Rtp<'a>> {
        let &[first, second, s1, s0, t3, t2, t1, t0, c3, c2, c1, c0, ..] = datagram else { return None };
        // RTCP on the port of RTP (RFC 5761 §4).
        if first >> 6 != 2 || (192..=223).contains(&second) {
            return None;
        }
        let mut start = 12 + 4 * usize::from(first & 0x0F);
        if first & 0x10 != 0 {
            let length = datagram.get(start + 2..start + 4)?;
            start += 4 + 4 * usize::from(u16::from_be_bytes([length[0], length[1]]));
        }
        let padding = if first & 0x20 != 0 { usize::from(*datagram.last()?) } else { 0 };
        let payload = datagram.get(start..datagram.len().checked_sub(padding)?)?;
        Some(Rtp {
            sequence: u16::from_be_bytes([s1, s0]),
            timestamp: u32::from_be_bytes([t3, t2, t1, t0]),
            ssrc: u32::from_be_bytes([c3, c2, c1, c0]),
            payload_type: second & 0x7F,
            payload,
        })
    }
}

/// The verdict for the packet log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verdict {
    Played,
    Event,
    Duplicate,
    UnknownPayload,
}

/// The counters of one call's received stream.
pub(super) struct Received {
    stats: StreamStats,
    source: Option<Source>,
    /// Totals of earlier sources.
    lost_before: u64,
    expected_before: u64,
    pub(super) packets: u64,
    pub(super) octets: u64,
    pub(super) duplicates: u64,
    pub(super) reordered: u64,
    pub(super) last_arrival: Option<Instant>,
    /// Duration of the latest telephone event, ms.
    pub(super) event_ms: u32,
}

/// The sequence numbers of one SSRC.
struct Source {
    ssrc: u32,
    first: u64,
    highest: u64,
    /// Bit n is set if `highest - n` was received.
    seen: u64,
    received: u64,
}

impl Source {
    fn expected(&self) -> u64 {
        self.highest - self.first + 1
    }

    fn lost(&self) -> u64 {
        self.expected().saturating_sub(self.received)
    }
}

impl Received {
    /// Counters at zero. `epoch` is any time before the first arrival.
    pub(super) fn new(epoch: Instant) -> Self {
        Received {
            stats: StreamStats::new(epoch),
            source: None,
            lost_before: 0,
            expected_before: 0,
            packets: 0,
            octets: 0,
            duplicates: 0,
            reordered: 0,
            last_arrival: None,
            event_ms: 0,
        }
    }

    /// The SSRC of the current sender.
    pub(super) fn ssrc(&self) -> Option<u32> {
        self.source.as_ref().map(|source| source.ssrc)
    }

    /// Notes that no RTP is expected (hold).
    pub(super) fn pause(&mut self) {
        self.stats.pause();
    }

    /// Counts a packet. A payload type that was not negotiated is not a sign of life.
    pub(super) fn packet(&mut self, packet: &Rtp<'_>, kind: Kind, arrival: Instant) -> Verdict {
        if kind == Kind::Unknown {
            return Verdict::UnknownPayload;
        }
        self.last_arrival = Some(arrival);
        let Some(sequence) = self.place(packet) else {
            self.duplicates += 1;
            return Verdict::Duplicate;
        };
        self.packets += 1;
        self.octets += packet.payload.len() as u64;
        if kind == Kind::Audio {
            self.stats.media(sequence, packet.timestamp, arrival);
            return Verdict::Played;
        }
        // RFC 4733 §2.3: the duration so far.
        let ticks = match packet.payload {
            [_, _, high, low, ..] => u32::from(u16::from_be_bytes([*high, *low])),
            _ => 0,
        };
        self.event_ms = ticks / TICKS_PER_MS;
        self.stats.event(sequence, packet.timestamp.wrapping_add(ticks), arrival);
        Verdict::Event
    }

    /// The packet's extended sequence number; `None` for a duplicate.
    fn place(&mut self, packet: &Rtp<'_>) -> Option<u64> {
        let begin = |sequence: u16| {
            let first = u64::from(sequence) + (1 << 16);
            Source { ssrc: packet.ssrc, first, highest: first, seen: 1, received: 1 }
        };
        let step = match &self.source {
            Some(source) if source.ssrc == packet.ssrc => {
                i64::from(packet.sequence.wrapping_sub(source.highest as u16) as i16)
            }
            _ => i64::MAX,
        };
        let Some(source) = self.source.as_mut().filter(|_| step.abs() < DROPOUT) else {
            let fresh = begin(packet.sequence);
            let sequence = fresh.first;
            if let Some(old) = self.source.replace(fresh) {
                self.lost_before += old.lost();
                self.expected_before += old.expected();
                self.stats.new_source();
            }
            return Some(sequence);
        };
        if step > 0 {
            source.highest += step as u64;
            source.seen = if step < WINDOW as i64 { source.seen << step | 1 } else { 1 };
            source.received += 1;
            return Some(source.highest);
        }
        let behind = step.unsigned_abs();
        let sequence = source.highest.saturating_sub(behind);
        let bit = 1u64.checked_shl(behind as u32).unwrap_or(0);
        if bit != 0 && source.seen & bit != 0 {
            return None;
        }
        source.seen |= bit;
        source.received += 1;
        // The first packets may arrive out of order, too.
        source.first = source.first.min(sequence);
        self.reordered += 1;
        Some(sequence)
    }

    /// Packets expected so far.
    pub(super) fn expected(&self) -> u64 {
        self.expected_before + self.source.as_ref().map_or(0, Source::expected)
    }

    /// The counters that are measured here.
    pub(super) fn stats(&self) -> MediaStats {
        MediaStats {
            packets_rx: self.packets,
            bytes_rx: self.octets,
            lost: self.lost_before + self.source.as_ref().map_or(0, Source::lost),
            duplicates: self.duplicates,
            reordered: self.reordered,
            jitter_ms_p50: self.stats.jitter_ms(50.0),
            jitter_ms_p95: self.stats.jitter_ms(95.0),
            rtp_gap_ms_max: self.stats.rtp_gap_ms(),
            arrival_gap_ms_max: self.stats.arrival_gap_ms(),
            ..MediaStats::default()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    fn packet(sequence: u16, ssrc: u32) -> Rtp<'static> {
        let timestamp = u32::from(sequence).wrapping_mul(160);
        Rtp { sequence, timestamp, ssrc, payload_type: 0, payload: &[0; 160] }
    }

    fn fed(sequences: &[(u16, u32)]) -> Received {
        let epoch = Instant::now();
        let mut received = Received::new(epoch);
        for (index, &(sequence, ssrc)) in sequences.iter().enumerate() {
            let arrival = epoch + Duration::from_millis(20 * index as u64);
            received.packet(&packet(sequence, ssrc), Kind::Audio, arrival);
        }
        received
    }

    #[test]
    fn a_header_with_all_its_parts_is_read_and_rtcp_is_not() {
        // Padding of 2, extension of one word, one CSRC, marker, payload type 8.
        let mut datagram = vec![0xB1, 0x88, 0x12, 0x34, 0, 0, 0, 160, 0, 0, 0, 9];
        datagram.extend([0, 0, 0, 1, 0xBE, 0xDE, 0, 1, 0, 0, 0, 0, 5, 6, 7, 0, 2]);
        let read = Rtp::read(&datagram).unwrap();
        assert_eq!((read.sequence, read.timestamp, read.ssrc), (0x1234, 160, 9));
        assert_eq!((read.payload_type, read.payload), (8, &[5, 6, 7][..]));
        for bad in [&datagram[..11], &[0x80, 200, 0, 6, 0, 0, 0, 0, 0, 0, 0, 0], &[0u8; 20], &datagram[..18]]
        {
            assert_eq!(Rtp::read(bad), None);
        }
    }

    #[test]
    fn losses_duplicates_and_reordering_are_told_apart_across_the_wrap() {
        let received = fed(&[(65_534, 1), (0, 1), (65_535, 1), (0, 1), (1, 1), (4, 1)]);
        let stats = received.stats();
        assert_eq!((stats.packets_rx, stats.lost, stats.duplicates, stats.reordered), (5, 2, 1, 1));
        assert_eq!(received.expected(), 7);
        assert_eq!(stats.rtp_gap_ms_max, 60.0);
    }

    #[test]
    fn a_new_source_or_a_great_step_is_no_loss() {
        let stats = fed(&[(10, 1), (12, 1), (40_000, 2), (40_001, 2), (3, 2)]).stats();
        assert_eq!((stats.packets_rx, stats.lost), (5, 1));
    }

    #[test]
    fn an_event_tells_its_duration_and_no_jitter() {
        let mut received = Received::new(Instant::now());
        let payload = [5, 0x8A, 0x03, 0x20];
        let event = Rtp { sequence: 1, timestamp: 0, ssrc: 1, payload_type: 96, payload: &payload };
        assert_eq!(received.packet(&event, Kind::TelephoneEvent, Instant::now()), Verdict::Event);
        assert_eq!(received.event_ms, 100);
    }

    #[test]
    fn what_nobody_has_negotiated_is_neither_counted_nor_a_sign_of_life() {
        let mut received = Received::new(Instant::now());
        let verdict = received.packet(&packet(1, 1), Kind::Unknown, Instant::now());
        assert_eq!((verdict, received.last_arrival), (Verdict::UnknownPayload, None));
        assert_eq!((received.stats().packets_rx, received.expected()), (0, 0));
    }
}
