//! Samples to packets in a leg's outgoing stream: what is said goes on from whatever the
//! leg was sent before, with its next sequence number and the timestamp of the moment.

use crate::codec::{Encoder, MAX_PAYLOAD};
use crate::forward::OutSpace;
use crate::rtp::packet::HEADER_LEN;
use crate::transcode::{Target, tuning};

use super::{TICK_NS, TICK_SAMPLES};

/// Samples of the longest packet: 60 ms at 16 kHz.
const LONGEST: usize = 960;

/// See the module's text. About 3.5 KB, and what the codec needs.
pub struct PromptEncoder {
    target: Target,
    rate_hz: u32,
    encoder: Encoder,
    pending: [i16; LONGEST + TICK_SAMPLES],
    filled: usize,
    /// Samples of a packet.
    frame: usize,
    packet: [u8; HEADER_LEN + MAX_PAYLOAD],
}

/// Where the next packet stands in the leg's stream.
#[derive(Debug, Clone, Copy)]
pub struct Line {
    /// Its timestamp.
    next: u32,
    /// The last sequence number that was used here: another one in the leg's stream says
    /// that somebody else has sent since.
    used: Option<u16>,
    mark: bool,
    /// When the last tick was due.
    ticked: u64,
}

impl Default for Line {
    /// Nobody has sent yet.
    fn default() -> Self {
        Line { next: 0, used: None, mark: true, ticked: 0 }
    }
}

impl Line {
    /// Whether somebody else has sent since, or nobody yet.
    pub fn is_broken(&self, space: &OutSpace) -> bool {
        self.used != Some(space.sequence)
    }

    /// Goes on at this moment.
    pub fn resume(&mut self, at: u64, clock_rate: u32, space: &OutSpace) {
        (self.next, self.used) = (space.timestamp_at(at, clock_rate), Some(space.sequence));
        self.mark = true;
    }

    /// A tick that was due then is next: if ticks were left out since the last one, what comes
    /// has a gap before it. Its timestamp says so (RFC 3550 §5.1): a stream that went on from
    /// the last one would be late by that much from there on.
    pub fn tick(&mut self, due: u64) {
        if due > self.ticked + TICK_NS * 3 / 2 {
            self.interrupt();
        }
        self.ticked = due;
    }

    /// What comes next has a gap before it.
    pub fn interrupt(&mut self) {
        self.used = None;
    }

    /// Writes the header of the next packet, which has so many ticks and octets of payload,
    /// and counts it.
    pub fn write(
        &mut self,
        packet: &mut [u8],
        payload_type: u8,
        ticks: u32,
        payload: usize,
        at: u64,
        space: &mut OutSpace,
    ) {
        let sequence = space.sequence.wrapping_add(1);
        packet[0] = 0x80;
        packet[1] = u8::from(std::mem::take(&mut self.mark)) << 7 | payload_type;
        packet[2..4].copy_from_slice(&sequence.to_be_bytes());
        packet[4..8].copy_from_slice(&self.next.to_be_bytes());
        packet[8..12].copy_from_slice(&space.ssrc.to_be_bytes());
        self.used = Some(sequence);
        space.sent(sequence, self.next, at, HEADER_LEN + payload, payload);
        self.next = self.next.wrapping_add(ticks);
    }
}

impl PromptEncoder {
    /// A prompt that has said nothing, for samples at 8,000 or 16,000 Hz.
    pub fn new(target: &Target, rate_hz: u32) -> Self {
        PromptEncoder {
            target: *target,
            rate_hz,
            encoder: Encoder::new(target.codec, rate_hz, tuning(target)),
            pending: [0; LONGEST + TICK_SAMPLES],
            filled: 0,
            frame: ((rate_hz / 1_000 * target.ptime_ms) as usize).clamp(1, LONGEST),
            packet: [0; HEADER_LEN + MAX_PAYLOAD],
        }
    }

    /// Whether it says things so.
    pub fn is_for(&self, target: &Target, rate_hz: u32) -> bool {
        self.target == *target && self.rate_hz == rate_hz
    }

    /// Says the samples of a tick; each packet that is full goes to `send`. `last`: what is
    /// left over goes too, with silence behind it.
    pub fn say(
        &mut self,
        samples: &[i16],
        last: bool,
        at: u64,
        line: &mut Line,
        space: &mut OutSpace,
        mut send: impl FnMut(&[u8]),
    ) {
        if line.is_broken(space) {
            line.resume(at, self.target.codec.clock_rate(), space);
            self.filled = 0;
        }
        let end = (self.filled + samples.len()).min(self.pending.len());
        self.pending[self.filled..end].copy_from_slice(&samples[..end - self.filled]);
        self.filled = end;
        if last && !self.filled.is_multiple_of(self.frame) {
            let whole = self.filled.next_multiple_of(self.frame).min(self.pending.len());
            self.pending[self.filled..whole].fill(0);
            self.filled = whole;
        }
        let mut taken = 0;
        while self.filled - taken >= self.frame {
            self.packet(taken, at, line, space, &mut send);
            taken += self.frame;
        }
        self.pending.copy_within(taken..self.filled, 0);
        self.filled -= taken;
    }

    /// What was said and has not filled a packet is silence.
    pub fn hush(&mut self) {
        self.pending[..self.filled].fill(0);
    }

    fn packet(
        &mut self,
        from: usize,
        at: u64,
        line: &mut Line,
        space: &mut OutSpace,
        send: &mut impl FnMut(&[u8]),
    ) {
        let clock = self.target.codec.clock_rate();
        let ticks = (self.frame as u64 * u64::from(clock) / u64::from(self.rate_hz)) as u32;
        let (header, payload) = self.packet.split_at_mut(HEADER_LEN);
        let Some(octets) = self.encoder.encode(&self.pending[from..from + self.frame], payload) else {
            // The codec has failed for good: the party hears nothing.
            return line.interrupt();
        };
        line.write(header, self.target.payload_type, ticks, octets, at, space);
        send(&self.packet[..HEADER_LEN + octets]);
    }
}

impl std::fmt::Debug for PromptEncoder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("PromptEncoder").field("target", &self.target).field("rate_hz", &self.rate_hz).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::codec::Codec;
    use crate::forward::Header;

    fn target(codec: Codec, ptime_ms: u32) -> Target {
        Target { payload_type: 8, codec, ptime_ms, fec: false, bitrate: 24_000 }
    }

    fn space() -> OutSpace {
        OutSpace::new(77, 9, 1_000)
    }

    /// A prompt and its line.
    struct Said(PromptEncoder, Line);

    impl Said {
        fn new(target: &Target, rate_hz: u32) -> Self {
            Said(PromptEncoder::new(target, rate_hz), Line::default())
        }

        fn say(
            &mut self,
            samples: &[i16],
            last: bool,
            at: u64,
            space: &mut OutSpace,
            send: impl FnMut(&[u8]),
        ) {
            self.0.say(samples, last, at, &mut self.1, space, send);
        }
    }

    /// What so many ticks of 20 ms come to: marker, sequence, timestamp, octets.
    fn say(prompt: &mut Said, space: &mut OutSpace, ticks: u64, last: bool) -> Vec<(bool, u16, u32, usize)> {
        let mut sent = Vec::new();
        for n in 1..=ticks {
            prompt.say(&[0; 160], last && n == ticks, n * 20_000_000, space, |packet| {
                let header = Header::read(packet).unwrap();
                assert_eq!((header.ssrc, header.payload_type), (77, 8));
                sent.push((header.marker, header.sequence, header.timestamp, header.payload_len));
            });
        }
        sent
    }

    #[test]
    fn packets_are_as_long_as_the_party_wants_them() {
        for (ptime, expected) in [(10, 12), (20, 6), (30, 4), (40, 3), (60, 2)] {
            let mut prompt = Said::new(&target(Codec::Pcma, ptime), 8_000);
            let sent = say(&mut prompt, &mut space(), 6, false);
            assert_eq!(sent.len(), expected, "{ptime} ms");
            for (n, packet) in sent.iter().enumerate() {
                let ticks = n as u32 * ptime * 8;
                assert_eq!(*packet, (n == 0, 10 + n as u16, 1_000 + ticks, ptime as usize * 8));
            }
        }
    }

    #[test]
    fn the_last_packet_is_filled_up_with_silence() {
        let mut prompt = Said::new(&target(Codec::Pcma, 60), 8_000);
        let sent = say(&mut prompt, &mut space(), 4, true);
        assert_eq!(sent.len(), 2);
        assert_eq!(sent[1].3, 480);
    }

    #[test]
    fn who_sends_in_between_is_gone_on_from_with_a_marker_and_the_time() {
        let (mut prompt, mut space) = (Said::new(&target(Codec::Pcma, 20), 8_000), space());
        say(&mut prompt, &mut space, 1, false);
        space.sent(11, 50_000, 20_000_000, 172, 160);
        let mut seen = None;
        prompt.say(&[0; 160], false, 60_000_000, &mut space, |packet| seen = Header::read(packet));
        let header = seen.unwrap();
        assert_eq!((header.marker, header.sequence, header.timestamp), (true, 12, 50_000 + 320));
        prompt.1.interrupt();
        prompt.say(&[0; 160], false, 160_000_000, &mut space, |packet| seen = Header::read(packet));
        let header = seen.unwrap();
        assert_eq!((header.marker, header.sequence, header.timestamp), (true, 13, 50_320 + 800));
    }

    #[test]
    fn ticks_left_out_are_time_gone_by_and_a_late_one_is_not() {
        const MS: u64 = 1_000_000;
        let (mut prompt, mut space) = (Said::new(&target(Codec::Pcma, 20), 8_000), space());
        let mut said = Vec::new();
        // Due, and when it was that: the second is late, and the third behind a gap.
        for (due, at) in [(20, 20), (40, 95), (60, 95), (80, 95), (100, 100), (340, 340), (360, 360)] {
            prompt.1.tick(due * MS);
            prompt.say(&[0; 160], false, at * MS, &mut space, |packet| {
                let header = Header::read(packet).unwrap();
                said.push((header.marker, header.timestamp - 1_000));
            });
        }
        let expected = [
            (true, 0),
            (false, 160),
            (false, 320),
            (false, 480),
            (false, 640),
            (true, 640 + 1_920),
            (false, 2_720),
        ];
        assert_eq!(said, expected);
    }

    #[test]
    fn opus_counts_48_khz_whatever_rate_it_is_given() {
        let mut prompt = Said::new(&target(Codec::Opus, 20), 16_000);
        let (mut space, mut stamps) = (space(), Vec::new());
        for n in 1..4 {
            prompt.say(&[0; 320], false, n * 20_000_000, &mut space, |packet| {
                stamps.push(Header::read(packet).unwrap().timestamp);
            });
        }
        assert_eq!(stamps, [1_000, 1_960, 2_920]);
    }
}
