//! Transcodes one direction: packets of one leg in, packets for the other out. No I/O, no clock.
//!
//! A received packet has a position on the sender's timeline (timestamp) and in its sequence.
//! Together they classify a gap: missing sequence numbers are a loss and are concealed, missing
//! time without missing numbers is a pause and stays one. Sent packets take their numbers from the
//! other leg's [`OutSpace`], which others may use as well: after they have, timestamps follow the
//! time, and a marker shows it.

use super::codec::{Decoders, EXPECTED_LOSS, LONGEST, PIECE};
use super::event::{self, Event};
use super::{Plan, TranscodeStats};
use crate::codec::{Codec, Encoder, MAX_PAYLOAD as PAYLOAD, OpusTuning};
use crate::dtmf::ToneCutter;
use crate::forward::{Header, OutSpace};
use crate::remote::SendFormat;
use crate::rtp::packet::HEADER_LEN;

/// Bit rate of speech, bits a second, unless the far end wants less.
const BITRATE: u32 = 24_000;
/// Maximum loss that is concealed; a longer one is a pause.
const CONCEALED_MS: u32 = 120;
/// Maximum advance of a timestamp over the elapsed time.
const AHEAD_MS: u32 = 1_000;
/// Maximum lag of a late packet, in packets; one further behind is a new stream.
const LATE: i16 = 100;
/// Maximum samples of a sent packet: 60 ms at 16 kHz.
const FRAME: usize = 960;
/// Room for the output of one decoding step besides an unfinished frame.
const ROOM: usize = LONGEST + FRAME;

/// The outcome for a packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Heard {
    /// It was decoded, or is an event that was forwarded.
    Taken,
    /// It arrived after its place was concealed.
    Late,
    /// The codec could not decode it.
    Undecodable,
    /// Its payload type is not in the plan.
    Unknown,
}

/// The next packet expected from the far end.
#[derive(Debug, Clone, Copy)]
struct Expected {
    sequence: u16,
    timestamp: u32,
    /// When the previous one arrived, ns.
    at: u64,
}

/// The transcoder of one direction. About 12 KB, and the codecs' state.
pub struct Transcoder {
    plan: Plan,
    rate_hz: u32,
    decoders: Decoders,
    encoder: Encoder,
    pending: [i16; ROOM],
    filled: usize,
    /// Samples per sent packet.
    frame: usize,
    expected: Option<Expected>,
    /// Timestamp of the next sample to be sent.
    next: u32,
    /// The last sequence number used here: if the leg's stream has another one, other packets were
    /// sent since.
    used: Option<u16>,
    mark: bool,
    event: Option<Event>,
    cutter: Option<ToneCutter>,
    packet: [u8; HEADER_LEN + PAYLOAD],
    pub stats: TranscodeStats,
}

impl Transcoder {
    /// A transcoder in its initial state.
    pub fn new(plan: &Plan) -> Self {
        let rate_hz = plan.rate_hz();
        Transcoder {
            plan: *plan,
            rate_hz,
            decoders: Decoders::new(rate_hz),
            encoder: Encoder::new(plan.to.codec, rate_hz, tuning(&plan.to)),
            pending: [0; ROOM],
            filled: 0,
            frame: ((rate_hz / 1_000 * plan.to.ptime_ms) as usize).clamp(1, FRAME),
            expected: None,
            next: 0,
            used: None,
            mark: true,
            event: None,
            cutter: plan.cuts_tones.then(|| ToneCutter::new(rate_hz)),
            packet: [0; HEADER_LEN + PAYLOAD],
            stats: TranscodeStats::default(),
        }
    }

    /// Its plan.
    pub fn plan(&self) -> &Plan {
        &self.plan
    }

    /// Processes a packet that arrived at `at` (ns), and hands finished packets to `send`.
    pub fn packet(
        &mut self,
        header: &Header,
        payload: &[u8],
        at: u64,
        space: &mut OutSpace,
        mut send: impl FnMut(&[u8]),
    ) -> Heard {
        let send = &mut send;
        let codec = self.plan.codec(header.payload_type);
        let event_rate = self.plan.event_rate(header.payload_type);
        if codec.is_none() && event_rate.is_none() {
            return Heard::Unknown;
        }
        let ahead =
            self.expected.map_or(0, |expected| header.sequence.wrapping_sub(expected.sequence) as i16);
        if (-LATE..0).contains(&ahead) {
            return Heard::Late;
        }
        if ahead < 0 {
            self.restart();
        }
        if self.expected.is_none() || self.used != Some(space.sequence) {
            self.resume(at, space);
        }
        match (codec, event_rate) {
            (Some(codec), _) => self.audio(codec, header, ahead != 0, payload, at, space, send),
            (None, rate) => self.telephone_event(rate.unwrap_or(8_000), header, payload, at, space, send),
        }
    }

    /// Marks the far end's packet of this number as one without audio, and not lost.
    pub fn pass_over(&mut self, sequence: u16) {
        if let Some(expected) = self.expected.as_mut().filter(|expected| expected.sequence == sequence) {
            expected.sequence = sequence.wrapping_add(1);
        }
    }

    /// Prepares for a new stream of the far end.
    pub fn restart(&mut self) {
        self.expected = None;
    }

    /// Restarts on the leg's timeline, as other packets were sent since, or none yet.
    fn resume(&mut self, at: u64, space: &OutSpace) {
        self.next = space.timestamp_at(at, self.plan.to.codec.clock_rate());
        (self.filled, self.mark, self.event) = (0, true, None);
        (self.expected, self.used) = (None, Some(space.sequence));
    }

    #[allow(clippy::too_many_arguments)]
    fn audio(
        &mut self,
        codec: Codec,
        header: &Header,
        missing: bool,
        payload: &[u8],
        at: u64,
        space: &mut OutSpace,
        send: &mut impl FnMut(&[u8]),
    ) -> Heard {
        let clock = codec.clock_rate();
        if let Some(expected) = self.expected {
            let gap = header.timestamp.wrapping_sub(expected.timestamp);
            let passed = ticks(at.saturating_sub(expected.at), clock);
            if gap > passed.saturating_add(AHEAD_MS * clock / 1_000) {
                // Backwards or far ahead: the sender's clock was reset. Ours follows the time.
                self.pause(passed, clock, at, space, send);
            } else if gap > 0 && missing && gap <= CONCEALED_MS * clock / 1_000 {
                self.conceal(gap, clock, at, space, send);
            } else if gap > 0 {
                self.pause(gap, clock, at, space, send);
            }
        }
        let (decoded, heard) = self.decode(codec, payload, at, space, send);
        self.expected = match heard {
            // The next packet sees a gap where this one was.
            Heard::Undecodable => self.expected,
            _ => Some(Expected {
                sequence: header.sequence.wrapping_add(1),
                timestamp: header.timestamp.wrapping_add(self.to_ticks(decoded, clock)),
                at,
            }),
        };
        heard
    }

    /// Decodes a payload piece by piece; returns its number of samples.
    fn decode(
        &mut self,
        codec: Codec,
        payload: &[u8],
        at: u64,
        space: &mut OutSpace,
        send: &mut impl FnMut(&[u8]),
    ) -> (usize, Heard) {
        let piece = if codec == Codec::Opus { payload.len().max(1) } else { PIECE };
        let mut samples = [0; LONGEST];
        let mut all = 0;
        for piece in payload.chunks(piece) {
            let Ok(decoded) = self.decoders.decode(codec, piece, &mut samples) else {
                return (all, Heard::Undecodable);
            };
            all += decoded;
            self.push(&samples[..decoded], at, space, send);
        }
        self.stats.decoded += u64::from(!payload.is_empty());
        (all, Heard::Taken)
    }

    /// Conceals a loss.
    fn conceal(&mut self, gap: u32, clock: u32, at: u64, space: &mut OutSpace, send: &mut impl FnMut(&[u8])) {
        let mut wanted = self.to_samples(gap, clock);
        let mut samples = [0; LONGEST];
        self.stats.concealed_ms += u64::from(gap) * 1_000 / u64::from(clock);
        while wanted > 0 {
            let made = self.decoders.conceal(wanted, &mut samples);
            if made == 0 {
                break;
            }
            self.push(&samples[..made], at, space, send);
            wanted = wanted.saturating_sub(made);
        }
    }

    /// Inserts a pause: an unfinished packet is padded with silence and sent, and the next one gets
    /// a marker.
    fn pause(&mut self, gap: u32, clock: u32, at: u64, space: &mut OutSpace, send: &mut impl FnMut(&[u8])) {
        let mut gap = self.to_samples(gap, clock);
        if let Some(waits) = self.cutter.as_ref().map(ToneCutter::delay).filter(|waits| *waits <= gap) {
            // The delayed samples precede the pause.
            let mut left = waits;
            while left > 0 {
                let piece = left.min(FRAME / 3);
                self.push(&[0; FRAME][..piece], at, space, send);
                left -= piece;
            }
            gap -= waits;
        }
        if self.filled > 0 {
            let padding = self.frame - self.filled;
            self.pending[self.filled..self.frame].fill(0);
            self.filled = self.frame;
            gap = gap.saturating_sub(padding);
            self.drain(at, space, send);
        }
        self.next = self.next.wrapping_add(self.to_ticks(gap, self.plan.to.codec.clock_rate()));
        self.mark = true;
    }

    fn push(&mut self, samples: &[i16], at: u64, space: &mut OutSpace, send: &mut impl FnMut(&[u8])) {
        let end = (self.filled + samples.len()).min(ROOM);
        self.pending[self.filled..end].copy_from_slice(&samples[..end - self.filled]);
        if let Some(cutter) = &mut self.cutter {
            cutter.process(&mut self.pending[self.filled..end]);
        }
        self.filled = end;
        self.drain(at, space, send);
    }

    /// Sends full packets.
    fn drain(&mut self, at: u64, space: &mut OutSpace, send: &mut impl FnMut(&[u8])) {
        let mut taken = 0;
        let mut payload = [0; PAYLOAD];
        while self.filled - taken >= self.frame {
            let frame = &self.pending[taken..taken + self.frame];
            if let Some(octets) = self.encoder.encode(frame, &mut payload) {
                let marker = std::mem::take(&mut self.mark);
                self.send(self.plan.to.payload_type, marker, self.next, &payload[..octets], at, space, send);
                self.stats.encoded += 1;
            }
            taken += self.frame;
            self.next = self.next.wrapping_add(self.to_ticks(self.frame, self.plan.to.codec.clock_rate()));
        }
        self.pending.copy_within(taken..self.filled, 0);
        self.filled -= taken;
    }

    fn telephone_event(
        &mut self,
        rate: u32,
        header: &Header,
        payload: &[u8],
        at: u64,
        space: &mut OutSpace,
        send: &mut impl FnMut(&[u8]),
    ) -> Heard {
        let Some(events) = self.plan.events else { return Heard::Unknown };
        let clock = self.plan.to.codec.clock_rate();
        // The start on the sender's timeline, if the event's clock is that of the audio.
        let ahead = self.expected.map_or(0, |expected| header.timestamp.wrapping_sub(expected.timestamp));
        let same = self.plan.from.iter().flatten().all(|from| from.1.clock_rate() == rate);
        let ahead = if same && (ahead as i32) > 0 { self.to_samples(ahead, rate) } else { 0 };
        let begins = self.next.wrapping_add(self.to_ticks(ahead.min(u32::MAX as usize / 8), clock));
        let Some(written) = event::write(&mut self.event, &events, rate, header.timestamp, payload, begins)
        else {
            return Heard::Undecodable;
        };
        let marker = written.first;
        self.send(events.to.0, marker, written.timestamp, &written.payload, at, space, send);
        let sequence = header.sequence.wrapping_add(1);
        let first = Expected { sequence, timestamp: header.timestamp, at };
        self.expected = Some(self.expected.map_or(first, |expected| Expected { sequence, ..expected }));
        Heard::Taken
    }

    #[allow(clippy::too_many_arguments)]
    fn send(
        &mut self,
        payload_type: u8,
        marker: bool,
        timestamp: u32,
        payload: &[u8],
        at: u64,
        space: &mut OutSpace,
        send: &mut impl FnMut(&[u8]),
    ) {
        let sequence = space.sequence.wrapping_add(1);
        let len = HEADER_LEN + payload.len();
        space.header(marker, payload_type, sequence, timestamp).write_fixed(&mut self.packet);
        self.packet[HEADER_LEN..len].copy_from_slice(payload);
        send(&self.packet[..len]);
        self.used = Some(sequence);
        space.sent(sequence, timestamp, at, len, payload.len());
    }

    fn to_ticks(&self, samples: usize, clock: u32) -> u32 {
        (samples as u64 * u64::from(clock) / u64::from(self.rate_hz)) as u32
    }

    fn to_samples(&self, ticks: u32, clock: u32) -> usize {
        (u64::from(ticks) * u64::from(self.rate_hz) / u64::from(clock)) as usize
    }
}

/// The Opus settings for a format.
pub fn tuning(to: &SendFormat) -> OpusTuning {
    to.tuning(BITRATE, EXPECTED_LOSS)
}

fn ticks(ns: u64, clock: u32) -> u32 {
    u32::try_from(ns / 1_000 * u64::from(clock) / 1_000_000).unwrap_or(u32::MAX)
}
