//! The jitter buffer: takes packets and plays one 20 ms frame per tick.
//!
//! Every packet gets a position on one unbroken line of samples, whatever SSRC or timestamps do
//! (`rtp::stream_clock`);
//! playout walks along it. The *transit* of a packet, arrival minus position, relates positions to
//! times. The lowest recent transit is that of the undisturbed network, and the playout delay is
//! counted from it.
//!
//! - `line`: the samples and the slots; `pending`: payloads that are decoded in the order of the
//!   line
//! - `clock`: conversion of positions and times
//! - `delay`: lowest transit, spread, and target delay
//! - `stretch`: inserts or removes one pitch period, by which the delay follows its target and
//!   clock drift is corrected

mod clock;
mod delay;
mod line;
mod pending;
mod stretch;

use std::time::{Duration, Instant};

use crate::codec::{self, Codec, Law};
use crate::conceal::Concealer;
use crate::rtp::stream_clock::{self, Arrived, StreamClock};
use b2b_base::frame::FrameKind;
use b2b_base::util::ntp::NtpTime;
use clock::Clock;
use delay::DelayEstimator;
use line::{Content, Line, Slot};
use pending::Pending;
use stretch::{Change, Stretch};

const MS: i64 = 1_000_000;
const TICK_NS: i64 = 20 * MS;
/// The longest packet, ms: half of what is held.
const LONGEST_MS: i64 = 500;
/// Samples of the longest part of a G.711 packet, 120 ms.
const MAX_NARROW: usize = 960;
/// Samples held, at 8 kHz: 1.024 s.
const RING: usize = 8_192;
/// A packet further ahead or behind than this belongs to another timeline; samples at 8 kHz.
const FAR_AHEAD: i64 = (RING - 960 - 2 * 160) as i64;
const FAR_BEHIND: i64 = 8_000;
/// A run of packets that are too late for longer than this is a new timeline.
const LATE_RUN: i64 = 100 * MS;
/// The first frame waits this much longer than the minimum delay, so that a first packet that was
/// slightly fast needs no correction.
const START_MARGIN: i64 = MS;
/// Excess over the target delay that is corrected.
const SURPLUS: i64 = 22 * MS;
/// Frames between two corrections, and before the first one.
const CORRECTION_PAUSE: u32 = 5;

/// The outcome for a packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Inserted {
    /// The packet will be played.
    InTime,
    /// All of it arrived after its playout time.
    Late,
    /// Too far from the playout position to be believed before a second packet confirms it.
    Implausible,
    /// Its codec could not decode it.
    Undecodable,
}

/// One played frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Played {
    /// Capture time of the first sample, if the sender sent it.
    pub captured_at: Option<NtpTime>,
    /// How the frame was produced.
    pub kind: FrameKind,
}

/// The jitter buffer of one stream; see the module documentation. Positions are in samples, times
/// in ns since `epoch`.
pub struct JitterBuffer {
    epoch: Instant,
    clock: Clock,
    line: Line,
    /// Payloads waiting to be decoded, if they must be decoded in order.
    pending: Option<Box<Pending>>,
    stream: StreamClock,
    /// A position by the stream's clock, and the one on the line.
    anchor: Option<(i64, i64)>,
    /// The next position to play, and whether playing has begun.
    position: Option<i64>,
    start_at: i64,
    playing: bool,
    /// When the last frame was played, and whether it was silent.
    last_tick: i64,
    silent: bool,
    /// Samples due next were evicted from the line since the last frame.
    dropped: bool,
    delay: DelayEstimator,
    stretch: Stretch,
    /// A correction to less delay is in progress.
    shrinking: bool,
    pause: u32,
    corrections: u64,
    /// When a run of late packets began, and the delay estimate before it.
    late_run: Option<(i64, DelayEstimator)>,
    implausible: u32,
    /// A position and its capture time.
    capture: Option<(i64, NtpTime)>,
    concealer: Concealer,
    /// Concealed samples not yet attributed to a frame; negative if attributed too early.
    made_up: i64,
}

impl JitterBuffer {
    /// An empty buffer with the minimum delay `jitter_ms` that plays at `rate_hz` (8,000, 16,000,
    /// 24,000 or 48,000). `epoch` is any time before the first arrival.
    pub fn new(epoch: Instant, jitter_ms: u32, rate_hz: u32) -> Self {
        let clock = Clock::new(rate_hz);
        JitterBuffer {
            epoch,
            clock,
            line: Line::new(RING * clock.factor()),
            pending: None,
            stream: StreamClock::default(),
            anchor: None,
            position: None,
            start_at: 0,
            playing: false,
            last_tick: 0,
            silent: false,
            dropped: false,
            delay: DelayEstimator::new(i64::from(jitter_ms) * MS),
            stretch: Stretch::new(clock.factor()),
            shrinking: false,
            pause: CORRECTION_PAUSE,
            corrections: 0,
            late_run: None,
            implausible: 0,
            capture: None,
            concealer: Concealer::new(rate_hz),
            made_up: 0,
        }
    }

    /// Samples per frame of 20 ms.
    pub fn frame(&self) -> usize {
        self.clock.frame()
    }

    /// Sets the codecs that may be received, and allocates their decoders. G.711 at 8 kHz is
    /// stateless and is decoded on arrival.
    pub fn receive(&mut self, codecs: impl Iterator<Item = Codec> + Clone) {
        let plain = self.clock.factor() == 1 && codecs.clone().all(|codec| codec.is_g711());
        match &mut self.pending {
            Some(pending) => pending.receive(codecs),
            None if plain => {}
            None => self.pending = Some(Box::new(Pending::new(self.clock.rate_hz(), codecs))),
        }
    }

    /// Sets a new timestamp origin from the next packet on (SSRC change). Held packets are played
    /// out; the new stream is positioned by its arrival.
    pub fn new_source(&mut self) {
        (self.stream, self.anchor) = (StreamClock::default(), None);
    }

    /// Takes a payload of a codec set by [`JitterBuffer::receive`].
    pub fn payload(
        &mut self,
        codec: Codec,
        sequence: u16,
        timestamp: u32,
        arrival: Instant,
        payload: &[u8],
        captured_at: Option<NtpTime>,
    ) -> Inserted {
        let (clock_hz, length) = (codec.clock_rate(), stream_clock::length(codec, payload));
        let arrived = Arrived { sequence, timestamp, clock_hz, length, at: self.nanos(arrival) as u64 };
        let rate_hz = self.clock.rate_hz();
        let samples = |part: &[u8]| codec::samples(codec, part, rate_hz).map(|samples| samples as i64);
        let takes = match &self.pending {
            Some(pending) => codec.parts(payload).all(|part| pending.takes(codec, part)),
            None => codec.is_g711(),
        };
        let len: Option<i64> = codec.parts(payload).map(samples).sum();
        let longest = i64::from(rate_hz) * LONGEST_MS / 1_000;
        let Some(len) = len.filter(|len| takes && *len <= longest) else { return Inserted::Undecodable };
        let mut start = match self.place(&arrived, len) {
            Ok(start) => start,
            Err(fate) => return fate,
        };
        let mut captured_at = captured_at;
        for part in codec.parts(payload) {
            let (len, captured_at) = (samples(part).unwrap_or(0), captured_at.take());
            match (&mut self.pending, Law::of(codec)) {
                (Some(pending), _) => {
                    let content = Content::Payload;
                    let (slot, gone) = self.line.take(Slot { start, len, captured_at, content });
                    pending.keep(slot, codec, part);
                    self.dropped |= gone.is_some();
                }
                (None, Some(law)) => {
                    let mut samples = [0; MAX_NARROW];
                    let count = law.decode(part, &mut samples);
                    self.put(start, &samples[..count], captured_at);
                }
                (None, None) => {}
            }
            start += len;
        }
        Inserted::InTime
    }

    fn put(&mut self, start: i64, samples: &[i16], captured_at: Option<NtpTime>) {
        let slot = Slot { start, len: samples.len() as i64, captured_at, content: Content::Samples };
        let (_, gone) = self.line.take(slot);
        self.line.write(start, samples);
        self.dropped |= gone.is_some();
    }

    /// Takes a decoded packet whose clock rate is the sampling rate.
    #[cfg(test)]
    fn insert(&mut self, arrived: &Arrived, samples: &[i16], captured_at: Option<NtpTime>) -> Inserted {
        match self.place(arrived, samples.len() as i64) {
            Ok(start) => {
                self.put(start, samples, captured_at);
                Inserted::InTime
            }
            Err(fate) => fate,
        }
    }

    /// The position of a packet on the line, or why it is refused.
    fn place(&mut self, arrived: &Arrived, len: i64) -> Result<i64, Inserted> {
        let arrival = arrived.at as i64;
        let undisturbed = self.clock.samples(arrival - self.delay.lowest_transit().unwrap_or(0));
        let in_stream = self.stream.place(arrived);
        let mut start = match self.anchor {
            Some((before, position)) => position + self.clock.of_ticks(in_stream - before),
            None => undisturbed,
        };
        if let Some(position) = self.position {
            let factor = self.clock.factor() as i64;
            if start > position + FAR_AHEAD * factor || start < position - FAR_BEHIND * factor {
                self.implausible += 1;
                if self.implausible < 2 {
                    return Err(Inserted::Implausible);
                }
                start = undisturbed;
            } else if self.playing && self.is_late(start, len, position) {
                let (since, before) = self.late_run.get_or_insert_with(|| (arrival, self.delay.clone()));
                if arrival - *since < LATE_RUN {
                    self.delay.packet(arrival, arrival - self.clock.nanos(start));
                    return Err(Inserted::Late);
                }
                // They are not late; their timeline is another one.
                self.delay = before.clone();
                start = self.clock.samples(arrival - self.delay.lowest_transit().unwrap_or(0));
            }
        }
        self.implausible = 0;
        self.late_run = None;
        self.anchor = Some((in_stream, start));
        self.delay.packet(arrival, arrival - self.clock.nanos(start));
        match self.position {
            None => {
                self.position = Some(start);
                self.start_at = arrival + self.delay.target() + START_MARGIN;
            }
            Some(position) if !self.playing => self.position = Some(position.min(start)),
            Some(_) => {}
        }
        Ok(start)
    }

    /// Whether all of it is past, or, with decoding in order, packets after it were decoded already.
    fn is_late(&self, start: i64, len: i64, position: i64) -> bool {
        start + len <= position || self.pending.as_ref().is_some_and(|pending| start < pending.done)
    }

    /// Plays the frame of the tick at `at`. Ticks are 20 ms apart; if some were skipped, the
    /// timeline advances all the same. `frame` must have the length [`JitterBuffer::frame`].
    pub fn play(&mut self, at: Instant, frame: &mut [i16]) -> Played {
        let now = self.nanos(at);
        let Some(position) = self.position.filter(|_| self.playing || now + TICK_NS > self.start_at) else {
            frame.fill(0);
            return Played { captured_at: None, kind: FrameKind::Silence };
        };
        let missed = if self.playing { now - self.last_tick - TICK_NS } else { 0 };
        let position = self.without_surplus(now, position + self.clock.samples(missed.max(0)));
        self.last_tick = now;
        // The first sample is due within the frame; otherwise the stream would stay late by part of a tick.
        let before = if self.playing { 0 } else { self.clock.samples((self.start_at - now).max(0)) };
        let (silence, frame) = frame.split_at_mut((before as usize).min(frame.len()));
        silence.fill(0);
        let (before, now) = (self.clock.nanos(before), now + self.clock.nanos(before));
        self.playing = true;
        let next = position + frame.len() as i64;
        let kind = match self.correction(now, position) {
            Some((change, lag)) => {
                let step = if change == Change::Skip { lag as i64 } else { -(lag as i64) };
                self.stretch.apply(change, lag, self.concealer.history(), frame);
                self.concealer.good(frame);
                self.position = Some(next + step);
                FrameKind::Audio
            }
            None => {
                let until = self.end_of_frame(now, position, next);
                self.position = Some(until);
                self.decode_until(position, until);
                self.assemble(position, until, frame)
            }
        };
        let captured_at =
            self.captured_at(position, next).map(|at| at.minus(Duration::from_nanos(before as u64)));
        if let Some(position) = self.position {
            self.line.release(position);
        }
        self.silent = kind == FrameKind::Silence;
        Played { captured_at: captured_at.filter(|_| kind != FrameKind::Silence), kind }
    }

    /// The position from which to continue if nothing covers it. After silence, any excess over the
    /// target delay is skipped, which is inaudible: a stream that was late once is in time again
    /// after the next pause. The delay also never exceeds the capacity of the line.
    fn without_surplus(&mut self, now: i64, position: i64) -> i64 {
        let dropped = std::mem::take(&mut self.dropped);
        let Some(lowest) = self.delay.lowest_transit().filter(|_| self.silent || dropped) else {
            return position;
        };
        if self.line.covering(position).is_some() {
            return position;
        }
        let next = self.line.next_start(position);
        if dropped {
            return next.unwrap_or(position);
        }
        let surplus = now - self.clock.nanos(position) - lowest - self.delay.target();
        if surplus <= SURPLUS {
            return position;
        }
        let later = position + self.clock.samples(surplus);
        next.map_or(later, |start| later.min(start))
    }

    fn decode_until(&mut self, position: i64, limit: i64) {
        if let Some(pending) = &mut self.pending {
            pending.decode_until(&mut self.line, position, limit);
        }
    }

    /// The correction of the delay in this frame, if the delay requires one and the signal allows
    /// it.
    fn correction(&mut self, now: i64, position: i64) -> Option<(Change, usize)> {
        if self.pause > 0 {
            self.pause -= 1;
            return None;
        }
        let delay = now - self.clock.nanos(position) - self.delay.lowest_transit()?;
        let surplus = delay - self.delay.target();
        // A correction continues until the excess is well below the threshold.
        self.shrinking = surplus > if self.shrinking { 12 * MS } else { SURPLUS };
        let wanted = if surplus < 0 {
            Change::Repeat
        } else if self.shrinking {
            Change::Skip
        } else {
            return None;
        };
        let needed = self.stretch.needed(wanted);
        if self.concealer.in_loss() || !self.line.holds(position, needed) {
            return None;
        }
        self.decode_until(position, position + needed as i64);
        let urgent = !(-20 * MS..60 * MS).contains(&surplus);
        self.line.read(position, &mut self.stretch.input[..needed]);
        let lag = self.stretch.lag(wanted, self.concealer.history(), urgent)?;
        self.pause = CORRECTION_PAUSE;
        self.corrections += 1;
        Some((wanted, lag))
    }

    /// Where playout continues after this frame: at `next`, or before it if the delay is too short
    /// and the packet has not arrived. The rest is then concealed and the packet is played whole in
    /// the next frame. Otherwise a stream that has become later would be cut off in every frame: it
    /// never holds a whole one in which a period could be repeated.
    fn end_of_frame(&self, now: i64, position: i64, next: i64) -> i64 {
        let Some(lowest) = self.delay.lowest_transit() else { return next };
        let missing = self.delay.target() - (now - self.clock.nanos(position) - lowest);
        let missing = self.clock.samples(missing.max(0));
        let received = self.line.held().iter().filter(|slot| slot.len > 0 && slot.content != Content::MadeUp);
        let end = received.map(|slot| slot.end()).max().unwrap_or(position);
        if end < next { end.max(next - missing).max(position) } else { next }
    }

    /// Assembles a frame from the samples up to `until`, concealing gaps. Packets and frames start at different
    /// samples: the concealment of one packet is attributed to the frame that has most of it.
    fn assemble(&mut self, position: i64, until: i64, frame: &mut [i16]) -> FrameKind {
        let (mut made_up, mut audible) = (0, false);
        let mut done = 0;
        while done < frame.len() {
            let here = position + done as i64;
            let slot = self.line.covering(here).filter(|_| here < until);
            let end = match &slot {
                Some(slot) => slot.end().min(until),
                None if here < until => self.line.next_start(here).unwrap_or(until).min(until),
                None => position + frame.len() as i64,
            };
            let part = &mut frame[done..(end - position) as usize];
            done += part.len();
            let (heard, genuine) = match slot {
                Some(slot) => {
                    self.line.read(here, part);
                    self.concealer.good(part);
                    (true, slot.content == Content::Samples)
                }
                None => (self.concealer.lost(part), false),
            };
            audible |= heard;
            made_up += if heard && !genuine { part.len() } else { 0 };
        }
        let (made_up, whole) = (self.made_up + made_up as i64, frame.len() as i64);
        let (kind, left) = match (audible, 2 * made_up >= whole) {
            (false, _) => (FrameKind::Silence, 0),
            (true, true) => (FrameKind::Concealed, made_up - whole),
            (true, false) => (FrameKind::Audio, made_up),
        };
        self.made_up = left;
        kind
    }

    /// The capture time of the sample at `position`, by the first packet up to `until`: concealed
    /// samples before it may belong to another timeline.
    fn captured_at(&mut self, position: i64, until: i64) -> Option<NtpTime> {
        let behind = || {
            let slots = self
                .line
                .held()
                .iter()
                .filter(|slot| slot.len > 0 && (position..until).contains(&slot.start));
            slots.min_by_key(|slot| slot.start)
        };
        if let Some(slot) = self.line.first_covering(position).or_else(behind) {
            self.capture = slot.captured_at.map(|time| (slot.start, time));
        }
        let (start, time) = self.capture?;
        let offset = Duration::from_nanos(self.clock.nanos(position - start).unsigned_abs());
        Some(if position >= start { time.plus(offset) } else { time.minus(offset) })
    }

    /// Whether received samples wait to be played.
    pub fn holds_any(&self) -> bool {
        self.line.held().iter().any(|slot| slot.len > 0 && slot.content != Content::MadeUp)
    }

    fn nanos(&self, at: Instant) -> i64 {
        at.saturating_duration_since(self.epoch).as_nanos() as i64
    }

    /// Playout delay of the frame that is due next, ms: from the arrival of an undisturbed packet to
    /// its playout; 0 while playout runs ahead of a stream that has stopped. `None` before playing begins.
    pub fn delay_ms(&self) -> Option<f64> {
        let position = self.position.filter(|_| self.playing)?;
        let next_tick = self.last_tick + TICK_NS;
        let delay = next_tick - self.clock.nanos(position) - self.delay.lowest_transit()?;
        Some(delay.max(0) as f64 / MS as f64)
    }

    /// The current target delay, ms.
    pub fn target_ms(&self) -> f64 {
        self.delay.target() as f64 / MS as f64
    }

    /// Pitch periods inserted or removed so far.
    pub fn corrections(&self) -> u64 {
        self.corrections
    }

    /// The numbers of packets decoded in the order of the line, and of lost packets recovered from
    /// the next packet (Opus).
    pub fn decoded_and_recovered(&self) -> (u64, u64) {
        self.pending.as_ref().map_or((0, 0), |pending| (pending.decoded, pending.recovered))
    }
}

#[cfg(test)]
mod tests;
#[cfg(test)]
mod wide_tests;
