//! From decoded packets to one 20 ms frame per tick, on the timeline of the sender.
//!
//! libbaresip's jitter buffer releases a packet when its time has come, on the
//! reactor thread; [`Intake`] carries it over a ring to the clock's thread, where
//! [`Playout`] puts it in its place by its timestamp. What is missing there is made up
//! (the last frame, fading over 60 ms) and then silence, so that a frame goes out at
//! every tick and a recording has no hole.

use std::time::{Duration, Instant};

use rtrb::{Consumer, Producer, RingBuffer};

use b2b_base::frame::{FrameKind, RATE_HZ};

/// Samples of a frame.
pub(super) const FRAME: usize = 160;
/// Pieces the ring holds: more than a second.
const RING: usize = 64;
/// How long the first piece waits for its tick at least: the library's timers have a
/// grain of 1 ms, and of 10 ms after a loss.
const SLACK: Duration = Duration::from_millis(10);
/// Frames made up in a row before silence.
const FADE: u32 = 3;
/// A timestamp this far from its place starts a new timeline.
const JUMP: i32 = RATE_HZ as i32 / 2;
/// Ticks without a sample after which the stream has stopped.
const STOPPED: u32 = 25;
/// Ticks in a row with sound waiting that nobody needs, before some of it goes.
const PATIENCE: u32 = 50;

#[derive(Clone, Copy)]
struct Piece {
    at: Instant,
    timestamp: u32,
    length: usize,
    /// Samples of the whole packet.
    packet: u32,
    samples: [i16; FRAME],
}

impl Piece {
    fn end(&self) -> u32 {
        self.timestamp.wrapping_add(self.length as u32)
    }
}

/// Where decoded packets go in.
pub(super) struct Intake {
    ring: Producer<Piece>,
}

/// Where frames come out.
pub(super) struct Playout {
    ring: Consumer<Piece>,
    /// Timestamp of the next sample to play, while there is a timeline.
    next: Option<u32>,
    last: [i16; FRAME],
    /// Frames without any sample in a row.
    missing: u32,
    /// Ticks in a row with too much in the ring.
    crowded: u32,
    /// Samples of the longest packet so far.
    packet: u32,
    /// Pieces that came after their place had been played.
    pub(super) late: u64,
    /// Frames made up.
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
    /// Takes a decoded packet. A full ring loses it: nobody plays.
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

/// How far `a` lies behind `b` on the circle of timestamps.
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

    /// Finds the place on the timeline where this tick plays; none without a stream.
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
                // Another timeline.
                next = front.timestamp;
            } else if over && ahead(newest, next) > 0 {
                // Its place is taken, and those behind it are in time.
                self.late += 1;
                let _ = self.ring.pop();
                continue;
            } else if over {
                // The delay has grown: from here on everything plays later.
                next = front.timestamp;
            }
            break;
        }
        // Never less than a packet and the slack; what is more than that for a second
        // came in one burst, or from a faster clock.
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

    /// Where the newest piece ends.
    fn newest(&mut self) -> Option<u32> {
        let waiting = self.ring.slots();
        let chunk = self.ring.read_chunk(waiting).ok()?;
        let (first, second) = chunk.as_slices();
        let last = second.last().or(first.last())?;
        self.packet = self.packet.max(last.packet);
        Some(last.end())
    }

    /// What stands where nothing came: the last frame, ever quieter.
    fn make_up(&self, frame: &mut [i16; FRAME]) {
        if self.missing >= FADE {
            frame.fill(0);
            return;
        }
        // From full to nothing over the frames that are made up.
        let start = (FADE - self.missing) as i32 * FRAME as i32;
        let whole = FADE as i32 * FRAME as i32;
        for (index, (sample, last)) in frame.iter_mut().zip(&self.last).enumerate() {
            let gain = if self.missing == 0 { whole - index as i32 } else { start - index as i32 };
            // The last frame has been faded already when it was made up itself.
            let before = if self.missing == 0 { whole } else { start };
            *sample = (i32::from(*last) * gain / before.max(1)) as i16;
        }
    }
}

#[cfg(test)]
mod tests;
