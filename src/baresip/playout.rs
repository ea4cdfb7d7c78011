//! Converts decoded packets to one 20 ms frame per tick, on the sender's timeline.
//!
//! libbaresip's jitter buffer releases a packet when it is due, on the reactor thread. [`Intake`] passes it
//! through a ring to the clock's thread, where [`Playout`] places it by its timestamp. Missing audio is
//! concealed (the last frame, fading over 60 ms) and then silent, so that each tick yields a frame and a
//! recording has no gap.

use std::time::{Duration, Instant};

use rtrb::{Consumer, Producer, RingBuffer};

use b2b_base::frame::{FrameKind, RATE_HZ};

/// Samples per frame.
pub(super) const FRAME: usize = 160;
/// Capacity of the ring in pieces: more than a second.
const RING: usize = 64;
/// Minimum wait of the first piece for its tick: the library's timers have a granularity of 1 ms, and of 10
/// ms after a loss.
const SLACK: Duration = Duration::from_millis(10);
/// Consecutive concealed frames before silence.
const FADE: u32 = 3;
/// A timestamp at least this far from its place starts a new timeline.
const JUMP: i32 = RATE_HZ as i32 / 2;
/// Ticks without a sample after which the stream has stopped.
const STOPPED: u32 = 25;
/// Consecutive ticks with surplus audio before some of it is dropped.
const PATIENCE: u32 = 50;

#[derive(Clone, Copy)]
struct Piece {
    at: Instant,
    timestamp: u32,
    length: usize,
    /// Samples in the whole packet.
    packet: u32,
    samples: [i16; FRAME],
}

impl Piece {
    fn end(&self) -> u32 {
        self.timestamp.wrapping_add(self.length as u32)
    }
}

/// The input for decoded packets.
pub(super) struct Intake {
    ring: Producer<Piece>,
}

/// The output of frames.
pub(super) struct Playout {
    ring: Consumer<Piece>,
    /// Timestamp of the next sample to play, if there is a timeline.
    next: Option<u32>,
    last: [i16; FRAME],
    /// Consecutive frames without any sample.
    missing: u32,
    /// Consecutive ticks with surplus audio in the ring.
    crowded: u32,
    /// Samples in the longest packet so far.
    packet: u32,
    /// Pieces that arrived after their place was played.
    pub(super) late: u64,
    /// Concealed frames.
    pub(super) concealed: u64,
}

/// The two ends of a call's ring.
pub(super) fn playout() -> (Intake, Playout) {
    let (producer, consumer) = RingBuffer::new(RING);
    let playout = Playout {
        ring: consumer,
        next: None,
        last: [0; FRAME],
        missing: 0,
        crowded: 0,
        packet: FRAME as u32,
        late: 0,
        concealed: 0,
    };
    (Intake { ring: producer }, playout)
}

impl Intake {
    /// Takes a decoded packet. A full ring drops it: nothing is being played.
    pub(super) fn push(&mut self, at: Instant, timestamp: u32, samples: &[i16]) {
        for (index, part) in samples.chunks(FRAME).enumerate() {
            let mut piece = Piece {
                at,
                timestamp: timestamp.wrapping_add((index * FRAME) as u32),
                length: part.len(),
                packet: samples.len() as u32,
                samples: [0; FRAME],
            };
            piece.samples[..part.len()].copy_from_slice(part);
            let _ = self.ring.push(piece);
        }
    }
}

/// How far `a` is ahead of `b`, modulo the timestamp range.
fn ahead(a: u32, b: u32) -> i32 {
    a.wrapping_sub(b) as i32
}

impl Playout {
    /// The frame of this tick.
    pub(super) fn frame(&mut self, now: Instant, frame: &mut [i16; FRAME]) -> FrameKind {
        let Some(next) = self.settle(now) else {
            frame.fill(0);
            return FrameKind::Silence;
        };
        self.make_up(frame);
        let mut found = 0;
        while let Ok(piece) = self.ring.peek() {
            let offset = ahead(piece.timestamp, next);
            if offset >= FRAME as i32 {
                break;
            }
            let to = offset.max(0) as usize;
            let from = (-offset).max(0) as usize;
            let count = piece.length.saturating_sub(from).min(FRAME - to);
            frame[to..to + count].copy_from_slice(&piece.samples[from..from + count]);
            found += count;
            if ahead(piece.end(), next) > FRAME as i32 {
                break;
            }
            let _ = self.ring.pop();
        }
        self.next = Some(next.wrapping_add(FRAME as u32));
        if found * 2 >= FRAME {
            self.missing = 0;
            self.last = *frame;
            return FrameKind::Audio;
        }
        self.missing += 1;
        if self.missing > FADE {
            return FrameKind::Silence;
        }
        self.concealed += 1;
        self.last = *frame;
        FrameKind::Concealed
    }

    /// Finds the position on the timeline for this tick; `None` without a stream.
    fn settle(&mut self, now: Instant) -> Option<u32> {
        if self.missing >= STOPPED {
            self.next = None;
            self.missing = 0;
        }
        let newest = self.newest();
        let Some(mut next) = self.next else {
            let first = self.ring.peek().ok()?;
            if now.saturating_duration_since(first.at) < SLACK {
                return None;
            }
            self.crowded = 0;
            return Some(first.timestamp);
        };
        let Some(newest) = newest else { return Some(next) };
        while let Ok(front) = self.ring.peek() {
            let (offset, over) = (ahead(front.timestamp, next), ahead(front.end(), next) <= 0);
            if offset.abs() > JUMP {
                // Starts another timeline.
                next = front.timestamp;
            } else if over && ahead(newest, next) > 0 {
                // Its place was already played, and the following ones are in time.
                self.late += 1;
                let _ = self.ring.pop();
                continue;
            } else if over {
                // The delay has grown: from here on everything plays later.
                next = front.timestamp;
            }
            break;
        }
        // Keeps at least one packet and the slack; a surplus that lasts a second came from a burst, or from a
        // faster clock.
        let spare = ahead(newest, next) - (self.packet + 2 * FRAME as u32) as i32;
        self.crowded = if spare > 0 { self.crowded + 1 } else { 0 };
        if self.crowded >= PATIENCE {
            self.crowded = 0;
            next = next.wrapping_add(FRAME as u32);
            while self.ring.peek().is_ok_and(|front| ahead(front.end(), next) <= 0) {
                let _ = self.ring.pop();
            }
        }
        Some(next)
    }

    /// The end of the newest piece.
    fn newest(&mut self) -> Option<u32> {
        let waiting = self.ring.slots();
        let chunk = self.ring.read_chunk(waiting).ok()?;
        let (first, second) = chunk.as_slices();
        let last = second.last().or(first.last())?;
        self.packet = self.packet.max(last.packet);
        Some(last.end())
    }

    /// Conceals missing audio: repeats the last frame with decreasing volume.
    fn make_up(&self, frame: &mut [i16; FRAME]) {
        if self.missing >= FADE {
            frame.fill(0);
            return;
        }
        // From full to zero over the concealed frames.
        let start = (FADE - self.missing) as i32 * FRAME as i32;
        let whole = FADE as i32 * FRAME as i32;
        for (index, (sample, last)) in frame.iter_mut().zip(&self.last).enumerate() {
            let gain = if self.missing == 0 { whole - index as i32 } else { start - index as i32 };
            // The last frame was already faded when it was concealed itself.
            let before = if self.missing == 0 { whole } else { start };
            *sample = (i32::from(*last) * gain / before.max(1)) as i16;
        }
    }
}

#[cfg(test)]
mod tests;
