//! Both sides of a call as one stereo stream, aligned in time: two tapes on the media thread,
//! joined on another thread.
//!
//! Received frames are the clock: one comes with every tick of 20 ms while a call lasts. A sent
//! frame is put at the clock's current position, since sinks are served before sources within a
//! tick. Silence thus stands where nothing was sent (hold), and a frame lost at a full ring is a
//! gap, not a shift.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use super::tap::{Tap, Tapped, tap};
use super::timeline::{self, Track};

/// Capacity of the rings while the disk is slow.
const RING: Duration = Duration::from_secs(2);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Way {
    Sent,
    Received,
}

/// Records what is sent, or what is received.
#[derive(Debug)]
pub struct Tape {
    way: Way,
    /// Frames, and their positions.
    tap: Tap<u64>,
    /// Samples received since the start.
    clock: Arc<AtomicU64>,
    /// Position of the next frame, if it follows without a gap.
    next: Option<u64>,
    /// Samples per 20 ms.
    tick: u64,
}

/// The reading end of both tapes.
#[derive(Debug)]
pub struct Joined {
    sides: [(Tapped<u64>, Track); 2],
    /// A frame on its way to its track.
    frame: Vec<i16>,
    /// Samples per 20 ms.
    tick: i64,
}

/// The tapes of a call's sent and received audio at this rate, and their reading end.
pub fn tapes(rate_hz: u32) -> (Tape, Tape, Joined) {
    let (clock, tick) = (Arc::new(AtomicU64::new(0)), rate_hz / 50);
    let tape = |way| {
        let (tap, tapped) = tap(RING, rate_hz);
        let tape = Tape { way, tap, clock: clock.clone(), next: None, tick: tick.into() };
        (tape, (tapped, Track::new(rate_hz)))
    };
    let ((sent, left), (received, right)) = (tape(Way::Sent), tape(Way::Received));
    (sent, received, Joined { sides: [left, right], frame: Vec::new(), tick: tick.into() })
}

impl Tape {
    /// Records a frame of 20 ms that is received, or one that is sent in the tick of the received
    /// frame before it.
    pub fn frame(&mut self, frame: &[i16]) {
        let length = frame.len() as u64;
        let Some(at) = self.place(length) else { return };
        self.tap.push(frame, at);
        self.next = Some(at + length);
        if self.way == Way::Received {
            self.clock.store(at + length, Ordering::Release);
        }
    }

    fn place(&self, length: u64) -> Option<u64> {
        if self.way == Way::Received {
            return self.next.or(Some(0));
        }
        // Before the first tick there is no position.
        let now = self.clock.load(Ordering::Acquire).checked_sub(self.tick)?;
        // Packets longer or shorter than a tick are early or late by up to their own length.
        let tolerance = self.tick.max(length);
        self.next.filter(|next| now <= next + tolerance).or(Some(now))
    }

    /// Whether the reader is gone.
    pub fn is_abandoned(&self) -> bool {
        self.tap.is_abandoned()
    }

    /// Ends the tape, as another one takes its place.
    pub fn end(&self) {
        self.tap.end();
    }
}

impl Joined {
    /// Appends the samples that are complete on both sides to `samples`: left (sent), right
    /// (received), left … With `all`, also those of one side only, as nothing more comes.
    pub fn take(&mut self, all: bool, samples: &mut Vec<i16>) {
        // Received audio first, since it determines what is complete: audio sent beside it is there by then.
        for (tapped, track) in self.sides.iter_mut().rev() {
            while let Some(at) = tapped.take(&mut self.frame) {
                track.put(at as i64, &self.frame);
                self.frame.clear();
            }
        }
        let [left, right] = self.sides.each_ref().map(|(_, track)| track.end());
        // Frames sent in the last tick may still arrive.
        let complete = if all { left.max(right) } else { right - self.tick };
        timeline::take(self.sides.iter_mut().map(|(_, track)| track), complete, samples);
    }

    /// Whether both tapes have ended.
    pub fn is_closed(&self) -> bool {
        self.sides.iter().all(|(tapped, _)| tapped.is_closed())
    }

    /// Frames dropped because a ring was full.
    pub fn dropped(&self) -> u64 {
        self.sides.iter().map(|(tapped, _)| tapped.dropped()).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Both sides of what is available now.
    fn joined(joined: &mut Joined, all: bool) -> (Vec<i16>, Vec<i16>) {
        let mut samples = Vec::new();
        joined.take(all, &mut samples);
        samples.chunks_exact(2).map(|both| (both[0], both[1])).unzip()
    }

    #[test]
    fn frames_of_one_tick_stand_side_by_side_whatever_the_packets_length() {
        for ptime in [80, 160, 320, 480] {
            let (mut sent, mut received, mut tapes) = tapes(8_000);
            let (mut left, mut right) = (Vec::new(), Vec::new());
            let mut said = 0;
            for tick in 1..=60_i16 {
                received.frame(&[tick; 160]);
                while said < usize::try_from(tick).expect("positive") * 160 {
                    let frame: Vec<i16> = (said..said + ptime).map(|n| (n / 160 + 1) as i16).collect();
                    sent.frame(&frame);
                    said += ptime;
                }
                let (more_left, more_right) = joined(&mut tapes, tick == 60);
                left.extend(more_left);
                right.extend(more_right);
            }
            assert_eq!(right.len(), 60 * 160, "packets of {ptime} samples");
            assert_eq!(left, right, "packets of {ptime} samples");
        }
    }

    #[test]
    fn silence_stands_where_nothing_is_sent() {
        let (mut sent, mut received, mut tapes) = tapes(8_000);
        for tick in 0..30 {
            received.frame(&[1; 160]);
            if !(10..20).contains(&tick) {
                sent.frame(&[2; 160]);
            }
        }
        let (left, right) = joined(&mut tapes, false);
        assert_eq!((left.len(), right.len()), (29 * 160, 29 * 160));
        let silent: Vec<usize> =
            left.chunks(160).enumerate().filter(|(_, f)| f[0] == 0).map(|(n, _)| n).collect();
        assert_eq!(silent, (10..20).collect::<Vec<_>>());
        drop((sent, received));
        assert_eq!(joined(&mut tapes, true).1, [1; 160]);
        assert!(tapes.is_closed());
    }

    #[test]
    fn nothing_is_lost_of_ticks_that_pass_while_their_tapes_are_read() {
        for _ in 0..200 {
            let (mut sent, mut received, mut tapes) = tapes(8_000);
            let calls = std::thread::spawn(move || {
                for tick in 1..=90 {
                    received.frame(&[tick; 160]);
                    sent.frame(&[tick; 160]);
                }
            });
            let mut samples = Vec::new();
            while !tapes.is_closed() {
                tapes.take(false, &mut samples);
            }
            tapes.take(true, &mut samples);
            calls.join().expect("no panic");
            assert_eq!(samples.len(), 2 * 90 * 160);
            assert!(samples.chunks_exact(2).all(|both| both[0] == both[1]));
        }
    }

    #[test]
    fn what_finds_no_room_is_a_gap_and_no_shift() {
        let (mut sent, mut received, mut tapes) = tapes(8_000);
        let mut tick = |value: i16| {
            received.frame(&[value; 160]);
            sent.frame(&[value; 160]);
        };
        (1..=110).for_each(&mut tick);
        let (left, right) = joined(&mut tapes, false);
        assert_eq!((left.len(), left == right), (99 * 160, true));
        (111..=120).for_each(&mut tick);
        let (left, right) = joined(&mut tapes, true);
        assert_eq!((left[0], left[160], left[12 * 160 - 1], left == right), (100, 0, 111, true));
        assert_eq!(tapes.dropped(), 20);
    }
}
