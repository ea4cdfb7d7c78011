//! Transcodes one direction: packets of one leg in, packets for the other out. No I/O, no clock.
//!
//! A received packet has a position on the sender's timeline (`rtp::stream_clock`) and in its sequence.
//! Together they classify a gap: missing sequence numbers are a loss, which is recovered or concealed,
//! missing time without missing numbers is a pause and stays one. Sent packets take their numbers from the
//! other leg's [`OutSpace`], which others may use as well: after they have, timestamps follow the
//! time, and a marker shows it.

use super::codec::{Decoders, EXPECTED_LOSS, LONGEST, PIECE};
use super::early::{AHEAD, Early, MOST, OCTETS};
use super::event::{self, Event};
use super::{Plan, TranscodeStats};
use crate::codec::{Codec, Encoder, MAX_PAYLOAD as PAYLOAD, OpusTuning};
use crate::dtmf::ToneCutter;
use crate::forward::{Header, OutSpace};
use crate::remote::SendFormat;
use crate::rtp::packet::HEADER_LEN;
use crate::rtp::stream_clock::{Arrived, StreamClock, TICKS_HZ};
use crate::rtp::telephone_event::EventUpdate;

/// Bit rate of speech, bits a second, unless the far end wants less.
const BITRATE: u32 = 24_000;
/// Maximum loss that is concealed; a longer one is a pause.
const CONCEALED_MS: u32 = 120;
/// How long a packet waits for an earlier one, ns.
const PATIENCE: u64 = 100_000_000;
/// Maximum lag of a late packet, in packets; one further behind is a new stream.
const LATE: i16 = 100;
/// Late packets in a row after which the stream has begun again at their numbers.
const RESTARTED: u8 = 4;
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
    /// Where the last packet's audio ends on the far end's line, ticks of [`TICKS_HZ`].
    place: i64,
    /// The last packet's audio is missing: it could not be decoded.
    undecoded: bool,
}

/// The transcoder of one direction. About 12 KB, the codecs' state, and 6 KB once a packet was missing.
pub struct Transcoder {
    plan: Plan,
    rate_hz: u32,
    decoders: Decoders,
    encoder: Encoder,
    pending: [i16; ROOM],
    filled: usize,
    /// Samples per sent packet.
    frame: usize,
    clock: StreamClock,
    expected: Option<Expected>,
    /// Packets that wait, and how many do so: as many as late packets have shown to be needed.
    early: Option<Box<Early>>,
    waits: usize,
    /// The number that follows a late packet, and how many were late in a row.
    late: Option<(u16, u8)>,
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
            clock: StreamClock::default(),
            expected: None,
            early: None,
            waits: 1,
            late: None,
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
            self.pass_over(header.sequence);
            return Heard::Unknown;
        }
        let ahead =
            self.expected.map_or(0, |expected| header.sequence.wrapping_sub(expected.sequence) as i16);
        if (-LATE..0).contains(&ahead) && !self.goes_on_behind(header.sequence) {
            // As many packets as came before it and belong behind it would have had to wait.
            self.waits = self.waits.max(usize::from(ahead.unsigned_abs()) - 1).min(MOST - 1);
            return Heard::Late;
        }
        self.late = None;
        if ahead < 0 {
            self.restart();
        }
        if self.expected.is_none() || self.used != Some(space.sequence) {
            self.resume(at, space);
        }
        let ahead = if self.expected.is_some() { ahead } else { 0 };
        if codec.is_some() && (1..=AHEAD).contains(&ahead) && payload.len() <= OCTETS {
            let early = self.early.get_or_insert_default();
            early.keep(header, payload, at);
            let (count, since) = early.count();
            let all = count > self.waits || since.is_some_and(|since| at.saturating_sub(since) > PATIENCE);
            self.release(all, at, space, send);
            return Heard::Taken;
        }
        if ahead != 0 {
            self.release(true, at, space, send);
        }
        let heard = match (codec, event_rate) {
            (Some(codec), _) => self.audio(codec, header, payload, at, at, space, send),
            (None, rate) => self.telephone_event(rate.unwrap_or(8_000), header, payload, at, space, send),
        };
        self.release(false, at, space, send);
        heard
    }

    /// Whether late packets have come in a row for so long that the stream has begun again there.
    fn goes_on_behind(&mut self, sequence: u16) -> bool {
        let in_a_row = match self.late {
            Some((next, in_a_row)) if next == sequence => in_a_row + 1,
            _ => 1,
        };
        self.late = Some((sequence.wrapping_add(1), in_a_row));
        in_a_row >= RESTARTED
    }

    /// Marks the far end's packet of this number as one without audio, and not lost.
    pub fn pass_over(&mut self, sequence: u16) {
        if let Some(expected) = self.expected.as_mut().filter(|expected| expected.sequence == sequence) {
            expected.sequence = sequence.wrapping_add(1);
        }
    }

    /// Prepares for a new stream of the far end.
    pub fn restart(&mut self) {
        (self.clock, self.expected, self.event) = (StreamClock::default(), None, None);
        self.forget_early();
    }

    /// Restarts on the leg's timeline, as other packets were sent since, or none yet.
    fn resume(&mut self, at: u64, space: &OutSpace) {
        self.next = space.timestamp_at(at, self.plan.to.codec.clock_rate());
        (self.filled, self.mark) = (0, true);
        (self.expected, self.used) = (None, Some(space.sequence));
        self.forget_early();
    }

    fn forget_early(&mut self) {
        if let Some(early) = &mut self.early {
            early.clear();
        }
    }

    /// Processes waiting packets: those whose turn it is or, if `all`, every one.
    fn release(&mut self, all: bool, at: u64, space: &mut OutSpace, send: &mut impl FnMut(&[u8])) {
        let Some(mut early) = self.early.take() else { return };
        while let Some(expected) = self.expected
            && let Some(waiting) = early.take(expected.sequence, all)
        {
            let payload = &waiting.payload[..waiting.header.payload_len.min(OCTETS)];
            if let Some(codec) = self.plan.codec(waiting.header.payload_type) {
                self.audio(codec, &waiting.header, payload, waiting.at, at, space, send);
            }
        }
        self.early = Some(early);
    }

    /// Processes an audio packet that arrived at `came`, at `at`.
    #[allow(clippy::too_many_arguments)]
    fn audio(
        &mut self,
        codec: Codec,
        header: &Header,
        payload: &[u8],
        came: u64,
        at: u64,
        space: &mut OutSpace,
        send: &mut impl FnMut(&[u8]),
    ) -> Heard {
        let packet = Arrived::new(header, codec, payload, came);
        let place = self.clock.place(&packet);
        if let Some(Expected { sequence, place: end, undecoded }) = self.expected {
            let gap = u32::try_from((place - end).max(0)).unwrap_or(u32::MAX);
            if gap > 0 && gap <= CONCEALED_MS * TICKS_HZ / 1_000 && (undecoded || sequence != header.sequence)
            {
                self.fill(codec, payload, gap, at, space, send);
            } else if gap > 0 {
                self.pause(gap, at, space, send);
            }
        }
        let heard = self.decode(codec, payload, at, space, send);
        let undecoded = heard == Heard::Undecodable;
        // The next packet sees a gap where this one was, if it could not be decoded.
        let place = if undecoded { place } else { place + packet.length };
        self.expected = Some(Expected { sequence: header.sequence.wrapping_add(1), place, undecoded });
        heard
    }

    /// Decodes a payload piece by piece.
    fn decode(
        &mut self,
        codec: Codec,
        payload: &[u8],
        at: u64,
        space: &mut OutSpace,
        send: &mut impl FnMut(&[u8]),
    ) -> Heard {
        let piece = if codec == Codec::Opus { payload.len().max(1) } else { PIECE };
        let mut samples = [0; LONGEST];
        for piece in payload.chunks(piece) {
            let Ok(decoded) = self.decoders.decode(codec, piece, &mut samples) else {
                return Heard::Undecodable;
            };
            self.push(&samples[..decoded], at, space, send);
        }
        self.stats.decoded += u64::from(!payload.is_empty());
        Heard::Taken
    }

    /// Fills a gap, in ticks of [`TICKS_HZ`], before this payload: the end of it with what Opus carries
    /// of the packet before, the rest by concealment.
    fn fill(
        &mut self,
        codec: Codec,
        payload: &[u8],
        gap: u32,
        at: u64,
        space: &mut OutSpace,
        send: &mut impl FnMut(&[u8]),
    ) {
        let mut samples = [0; LONGEST];
        let gap = self.to_samples(gap, TICKS_HZ);
        let carried =
            Some(self.decoders.carried(codec, payload)).filter(|carried| *carried <= gap).unwrap_or(0);
        let mut wanted = gap - carried;
        self.stats.concealed_ms += (wanted * 1_000) as u64 / u64::from(self.rate_hz);
        while wanted > 0 {
            let made = self.decoders.conceal(wanted, &mut samples);
            if made == 0 {
                break;
            }
            self.push(&samples[..made], at, space, send);
            wanted = wanted.saturating_sub(made);
        }
        if carried > 0 {
            let made = self.decoders.recover(codec, payload, &mut samples).min(carried);
            self.push(&samples[..made], at, space, send);
        }
    }

    /// Inserts a pause: an unfinished packet is padded with silence and sent, and the next one gets
    /// a marker.
    fn pause(&mut self, gap: u32, at: u64, space: &mut OutSpace, send: &mut impl FnMut(&[u8])) {
        let mut gap = self.to_samples(gap, TICKS_HZ);
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
        let Header { sequence, timestamp, .. } = *header;
        let same = self.plan.from.iter().flatten().all(|from| from.1.clock_rate() == rate);
        let known = self.clock.position(timestamp, at).filter(|_| same);
        let position = known.or(self.expected.map(|expected| expected.place));
        let position = position.unwrap_or_else(|| {
            self.clock.place(&Arrived { sequence, timestamp, clock_hz: rate, length: 0, at })
        });
        let ahead = self.expected.map_or(0, |expected| (position - expected.place).max(0));
        let ahead = self.to_samples(u32::try_from(ahead).unwrap_or(0), TICKS_HZ);
        let begins = self.next.wrapping_add(self.to_ticks(ahead, clock));
        let Some(update) = EventUpdate::read(header, payload, rate) else { return Heard::Undecodable };
        if let Some(written) = event::write(&mut self.event, events.to.1, &update, at, begins) {
            for n in 0..written.copies {
                let marker = written.first && n == 0;
                self.send(events.to.0, marker, written.timestamp, &written.payload, at, space, send);
            }
        }
        let sequence = sequence.wrapping_add(1);
        let first = Expected { sequence, place: position, undecoded: false };
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
