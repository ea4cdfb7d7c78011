//! The jitter buffer: decoded packets in, one 20 ms frame per tick out.
//!
//! Every packet gets a position on one line of samples that never breaks, whatever
//! SSRC or timestamps do; playout walks along it. Positions and times meet in the
//! *transit* of a packet: arrival minus position. The lowest transit of late is
//! the undisturbed network, and the playout delay is counted from it.
//!
//! - `delay`: lowest transit, spread, and the delay wanted
//! - `stretch`: one pitch period more or less, which is how delay follows what is
//!   wanted and how clock drift is corrected

mod delay;
mod stretch;

use std::time::Instant;

use crate::frame::FrameKind;
use crate::media::conceal::Concealer;
use crate::util::ntp::NtpTime;
use delay::DelayEstimator;

/// Samples of a played frame: 20 ms.
pub const FRAME: usize = 160;
/// Samples of the longest packet taken: 120 ms.
pub const MAX_PACKET: usize = 960;

const SAMPLE_NS: i64 = 125_000;
const MS: i64 = 1_000_000;
const TICK_NS: i64 = FRAME as i64 * SAMPLE_NS;
/// Samples held: 1.024 s.
const RING: usize = 8_192;
/// Packets held: 64 of 10 ms are more than the longest delay.
const SLOTS: usize = 64;
/// A packet further ahead or behind than this belongs to another timeline.
const FAR_AHEAD: i64 = (RING - MAX_PACKET - 2 * FRAME) as i64;
const FAR_BEHIND: i64 = 8_000;
/// Packets in a row that are too late, over this time, are a new timeline.
const LATE_RUN: i64 = 100 * MS;
/// The first frame waits this much longer than the least delay, so that a first
/// packet which was a little fast needs no correction.
const START_MARGIN: i64 = MS;
/// Frames between two corrections.
const CORRECTION_PAUSE: u32 = 5;

/// What became of a packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Inserted {
    /// It will be played.
    InTime,
    /// All of it came after its playout time.
    Late,
    /// Too far from what is played to be believed before a second one says so.
    Implausible,
}

/// One played frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Played {
    /// Capture time of the first sample, if the sender said so.
    pub captured_at: Option<NtpTime>,
    /// How the frame came about.
    pub kind: FrameKind,
}

#[derive(Debug, Clone, Copy, Default)]
struct Slot {
    start: i64,
    /// 0: free.
    len: i64,
    captured_at: Option<NtpTime>,
}

impl Slot {
    fn end(&self) -> i64 {
        self.start + self.len
    }
}

/// See the module's text. Positions are in samples, times in ns since `epoch`.
pub struct JitterBuffer {
    epoch: Instant,
    samples: Box<[i16; RING]>,
    slots: [Slot; SLOTS],
    /// Slots beyond this one are free: few are in use, and only those are looked at.
    used: usize,
    /// A timestamp of the stream and its position.
    anchor: Option<(u32, i64)>,
    /// Next position to play and whether playing has begun.
    position: Option<i64>,
    start_at: i64,
    playing: bool,
    /// When the last frame was played.
    last_tick: i64,
    delay: DelayEstimator,
    /// A correction towards less delay is under way.
    shrinking: bool,
    pause: u32,
    corrections: u64,
    /// When a run of late packets began, and what was known before it.
    late_run: Option<(i64, DelayEstimator)>,
    implausible: u32,
    /// A position and its capture time.
    capture: Option<(i64, NtpTime)>,
    concealer: Concealer,
}

impl JitterBuffer {
    /// An empty buffer that delays by `jitter_ms` at least. `epoch` is any moment
    /// before the first arrival.
    pub fn new(epoch: Instant, jitter_ms: u32) -> Self {
        JitterBuffer {
            epoch,
            samples: Box::new([0; RING]),
            slots: [Slot::default(); SLOTS],
            used: 0,
            anchor: None,
            position: None,
            start_at: 0,
            playing: false,
            last_tick: 0,
            delay: DelayEstimator::new(i64::from(jitter_ms) * MS),
            shrinking: false,
            pause: 0,
            corrections: 0,
            late_run: None,
            implausible: 0,
            capture: None,
            concealer: Concealer::default(),
        }
    }

    /// The next packet has a new timestamp origin (SSRC change). What is held is
    /// played out; the new stream joins where its arrival says.
    pub fn new_source(&mut self) {
        self.anchor = None;
    }

    /// Takes a decoded packet; samples beyond [`MAX_PACKET`] are cut.
    pub fn insert(
        &mut self,
        timestamp: u32,
        arrival: Instant,
        samples: &[i16],
        captured_at: Option<NtpTime>,
    ) -> Inserted {
        let samples = &samples[..samples.len().min(MAX_PACKET)];
        let arrival = self.nanos(arrival);
        let mut start = match self.anchor {
            Some((before, position)) => position + i64::from(timestamp.wrapping_sub(before) as i32),
            None => self.undisturbed_position(arrival),
        };
        if let Some(position) = self.position {
            if start > position + FAR_AHEAD || start < position - FAR_BEHIND {
                self.implausible += 1;
                if self.implausible < 2 {
                    return Inserted::Implausible;
                }
                start = self.undisturbed_position(arrival);
            } else if self.playing && start + samples.len() as i64 <= position {
                let (since, before) = self.late_run.get_or_insert_with(|| (arrival, self.delay.clone()));
                if arrival - *since < LATE_RUN {
                    self.delay.packet(arrival, start);
                    return Inserted::Late;
                }
                // They are not late, their timeline is another one.
                self.delay = before.clone();
                start = self.undisturbed_position(arrival);
            }
        }
        self.implausible = 0;
        self.late_run = None;
        self.anchor = Some((timestamp, start));
        self.delay.packet(arrival, start);
        match self.position {
            None => {
                self.position = Some(start);
                self.start_at = arrival + self.delay.target() + START_MARGIN;
            }
            Some(position) if !self.playing => self.position = Some(position.min(start)),
            Some(_) => {}
        }
        self.store(start, samples, captured_at);
        Inserted::InTime
    }

    /// Where a packet that arrives now lies if nothing disturbed it.
    fn undisturbed_position(&self, arrival: i64) -> i64 {
        (arrival - self.delay.lowest_transit().unwrap_or(0)) / SAMPLE_NS
    }

    fn store(&mut self, start: i64, samples: &[i16], captured_at: Option<NtpTime>) {
        if samples.is_empty() {
            return;
        }
        // The same start again replaces; else a free slot, or the one furthest back.
        let same = self.held().iter().position(|slot| slot.len > 0 && slot.start == start);
        let free = || self.held().iter().position(|slot| slot.len == 0);
        let slot = match same.or_else(free) {
            Some(slot) => slot,
            None if self.used < SLOTS => {
                self.used += 1;
                self.used - 1
            }
            None => {
                let oldest = self.slots.iter().enumerate().min_by_key(|(_, slot)| slot.end());
                oldest.map_or(0, |(slot, _)| slot)
            }
        };
        self.slots[slot] = Slot { start, len: samples.len() as i64, captured_at };
        for (n, &sample) in samples.iter().enumerate() {
            self.samples[ring_index(start + n as i64)] = sample;
        }
    }

    /// Plays the frame of the tick at `at`. Ticks are 20 ms apart; where some were
    /// left out the timeline goes on all the same.
    pub fn play(&mut self, at: Instant, frame: &mut [i16; FRAME]) -> Played {
        let now = self.nanos(at);
        let Some(position) = self.position.filter(|_| self.playing || now >= self.start_at) else {
            frame.fill(0);
            return Played { captured_at: None, kind: FrameKind::Silence };
        };
        let missed = if self.playing { now - self.last_tick - TICK_NS } else { 0 };
        let position = position + missed.max(0) / SAMPLE_NS;
        self.playing = true;
        self.last_tick = now;
        let kind = match self.correction(now, position) {
            Some(step) => {
                self.concealer.good(frame_of(self, position, step, frame));
                self.position = Some(position + FRAME as i64 + step);
                FrameKind::Audio
            }
            None => {
                self.position = Some(position + FRAME as i64);
                self.assemble(position, frame)
            }
        };
        let captured_at = self.captured_at(position);
        self.release();
        Played { captured_at: captured_at.filter(|_| kind != FrameKind::Silence), kind }
    }

    /// How many samples to skip (positive) or to repeat (negative) in this frame,
    /// if the delay asks for it and the signal allows it; `frame_of` makes them.
    fn correction(&mut self, now: i64, position: i64) -> Option<i64> {
        if self.pause > 0 {
            self.pause -= 1;
            return None;
        }
        let delay = now - position * SAMPLE_NS - self.delay.lowest_transit()?;
        let surplus = delay - self.delay.target();
        // One tick of surplus is how playing starts; from there down a correction
        // goes on until there is room for neither.
        self.shrinking = surplus > if self.shrinking { 12 * MS } else { 22 * MS };
        let wanted = if surplus < 0 {
            stretch::Change::Repeat
        } else if self.shrinking {
            stretch::Change::Skip
        } else {
            return None;
        };
        if self.concealer.in_loss() || !self.holds(position, stretch::needed(wanted)) {
            return None;
        }
        let urgent = !(-20 * MS..60 * MS).contains(&surplus);
        let mut input = [0; stretch::INPUT];
        self.copy_out(position, &mut input[..stretch::needed(wanted)]);
        let lag = stretch::lag(wanted, self.concealer.history(), &input, urgent)? as i64;
        self.pause = CORRECTION_PAUSE;
        self.corrections += 1;
        Some(if wanted == stretch::Change::Skip { lag } else { -lag })
    }

    /// A frame from what is there, concealed where nothing is.
    fn assemble(&mut self, position: i64, frame: &mut [i16; FRAME]) -> FrameKind {
        let (mut made_up, mut audible) = (false, false);
        let mut done = 0;
        while done < FRAME {
            let here = position + done as i64;
            let left = (FRAME - done) as i64;
            match self.covered_until(here) {
                Some(end) => {
                    let next = done + (end - here).min(left) as usize;
                    self.copy_out(here, &mut frame[done..next]);
                    self.concealer.good(&mut frame[done..next]);
                    done = next;
                    audible = true;
                }
                None => {
                    let next = self.next_start(here).map_or(left, |start| (start - here).min(left));
                    let next = done + next as usize;
                    audible |= self.concealer.lost(&mut frame[done..next]);
                    done = next;
                    made_up = true;
                }
            }
        }
        match (made_up, audible) {
            (false, _) => FrameKind::Audio,
            (true, true) => FrameKind::Concealed,
            (true, false) => FrameKind::Silence,
        }
    }

    fn captured_at(&mut self, position: i64) -> Option<NtpTime> {
        let covering = |slot: &&Slot| slot.start <= position && position < slot.end();
        if let Some(slot) = self.held().iter().find(covering) {
            self.capture = slot.captured_at.map(|time| (slot.start, time));
        }
        let (start, time) = self.capture?;
        let offset = std::time::Duration::from_nanos((position - start).unsigned_abs() * SAMPLE_NS as u64);
        Some(if position >= start { time.plus(offset) } else { time.minus(offset) })
    }

    /// Whether samples wait to be played.
    pub fn holds_any(&self) -> bool {
        self.held().iter().any(|slot| slot.len > 0)
    }

    /// Frees what has been played.
    fn release(&mut self) {
        let Some(position) = self.position else { return };
        for slot in self.slots[..self.used].iter_mut().filter(|slot| slot.end() <= position) {
            slot.len = 0;
        }
        while self.used > 0 && self.slots[self.used - 1].len == 0 {
            self.used -= 1;
        }
    }

    fn held(&self) -> &[Slot] {
        &self.slots[..self.used]
    }

    fn covered_until(&self, position: i64) -> Option<i64> {
        let covering = |slot: &&Slot| slot.start <= position && position < slot.end();
        self.held().iter().filter(covering).map(Slot::end).max()
    }

    fn next_start(&self, position: i64) -> Option<i64> {
        self.held().iter().filter(|slot| slot.len > 0 && slot.start > position).map(|slot| slot.start).min()
    }

    fn holds(&self, position: i64, count: usize) -> bool {
        let mut until = position;
        while until < position + count as i64 {
            match self.covered_until(until) {
                Some(end) => until = end,
                None => return false,
            }
        }
        true
    }

    fn copy_out(&self, position: i64, out: &mut [i16]) {
        for (n, sample) in out.iter_mut().enumerate() {
            *sample = self.samples[ring_index(position + n as i64)];
        }
    }

    fn nanos(&self, at: Instant) -> i64 {
        at.saturating_duration_since(self.epoch).as_nanos() as i64
    }

    /// Playout delay of the frame played at `at`, ms: from the arrival of an
    /// undisturbed packet to its playout. `None` before playing starts.
    pub fn delay_ms(&self, at: Instant) -> Option<f64> {
        let position = self.position.filter(|_| self.playing)?;
        let delay = self.nanos(at) - position * SAMPLE_NS - self.delay.lowest_transit()?;
        Some(delay as f64 / MS as f64)
    }

    /// The delay that is wanted now, ms.
    pub fn target_ms(&self) -> f64 {
        self.delay.target() as f64 / MS as f64
    }

    /// Pitch periods inserted or removed so far.
    pub fn corrections(&self) -> u64 {
        self.corrections
    }
}

fn ring_index(position: i64) -> usize {
    position.rem_euclid(RING as i64) as usize
}

/// Fills `frame` with a stretched one.
fn frame_of<'a>(
    buffer: &JitterBuffer,
    position: i64,
    step: i64,
    frame: &'a mut [i16; FRAME],
) -> &'a mut [i16] {
    let mut input = [0; stretch::INPUT];
    let change = if step > 0 { stretch::Change::Skip } else { stretch::Change::Repeat };
    buffer.copy_out(position, &mut input[..stretch::needed(change)]);
    stretch::apply(change, step.unsigned_abs() as usize, buffer.concealer.history(), &input, frame);
    frame
}

#[cfg(test)]
mod tests;
