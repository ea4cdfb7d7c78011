//! The loudspeaker for a client's calls: each call has a ring, and one thread plays the sum.

use std::io;
use std::sync::Arc;
use std::thread::{Builder, sleep};
use std::time::{Duration, Instant};

use rtrb::{Consumer, Producer, RingBuffer};

use super::super::detour::{pop, push};
use super::depth::Depth;
use super::roster::{Line, Roster, Runs};
use super::slot::{Loudspeakers, Slot};
use super::{IDLE_MS, LOOK, MOST, Pair, ROOM, skip};
use b2b_base::frame::{FrameSink, InFrame};

/// Frames buffered before the first one is played: later frames go to the device as they arrive, while it
/// still plays the previous one.
const START: usize = 2;
/// A call silent for this long has paused rather than run dry.
const PAUSE_MS: u32 = 500;
const FRAME_TIME: Duration = Duration::from_millis(20);

/// A call, as seen by the thread.
pub(super) struct Listener {
    ring: Consumer<i16>,
    /// The ring has filled to its start depth, and has not run dry since.
    flows: bool,
    /// Time without audio since it last flowed.
    dry_ms: u32,
    depth: Depth,
}

impl Line for Listener {
    fn is_over(&self) -> bool {
        self.ring.is_abandoned()
    }
}

impl Listener {
    /// Whether a frame can be played.
    fn is_ready(&self, frame: usize) -> bool {
        self.ring.slots() >= if self.flows { frame } else { self.depth.start() * frame }
    }

    fn stops(&mut self) {
        if std::mem::take(&mut self.flows) {
            self.dry_ms = 0;
        }
    }

    /// Called when both its ring and the device are empty.
    fn runs_dry(&mut self, frame: usize) {
        self.stops();
        self.dry_ms = self.dry_ms.saturating_add(LOOK.as_millis() as u32);
        if self.dry_ms < PAUSE_MS && self.ring.slots() >= frame {
            self.dry_ms = PAUSE_MS;
            self.depth.ran_dry();
        }
    }

    /// Adds a frame to the sum. If none is ready, the call is silent until enough is buffered again.
    fn add_to(&mut self, sum: &mut [i16], frame: &mut [i16]) {
        if !self.is_ready(frame.len()) {
            return self.stops();
        }
        self.flows = true;
        let waiting = self.ring.slots();
        if waiting > MOST * frame.len() {
            skip(&mut self.ring, waiting - self.depth.start() * frame.len());
        }
        pop(&mut self.ring, frame);
        if self.depth.skips(frame, self.ring.slots(), frame.len()) {
            pop(&mut self.ring, frame);
        }
        sum.iter_mut().zip(frame).for_each(|(sum, sample)| *sum = sum.saturating_add(*sample));
    }
}

/// A call's sink for the loudspeaker.
pub(super) struct Played {
    ring: Producer<i16>,
}

/// Adds a call. The loudspeaker opens with the call's first frame.
pub(super) fn played(pair: &Arc<Pair>) -> io::Result<Played> {
    let (given, ring) = RingBuffer::new(pair.rate_hz as usize / 50 * ROOM);
    let start = || {
        let pair = pair.clone();
        Builder::new().name("loudspeaker".into()).spawn(move || run(&pair)).map(drop)
    };
    pair.listeners.add(Listener { ring, flows: false, dry_ms: PAUSE_MS, depth: Depth::new(START) }, start)?;
    Ok(Played { ring: given })
}

fn run(pair: &Pair) {
    let roster: &Roster<Listener> = &pair.listeners;
    let _runs = Runs(roster);
    let side = Loudspeakers { system: pair.system.clone(), rate_hz: pair.rate_hz };
    let mut slot = Slot::new(side, pair.loudspeaker.clone(), pair.events.clone());
    let samples = pair.rate_hz as usize / 50;
    let (mut sum, mut frame) = (vec![0; samples], vec![0; samples]);
    let mut lines: Vec<Listener> = Vec::new();
    let (mut idle_ms, mut waited) = (0, false);
    // The device has audio until at least this time; it may have more.
    let mut plays_until = Instant::now();
    while roster.refresh(&mut lines) {
        let ready = lines.iter().filter(|line| line.is_ready(samples)).count();
        let flowing = lines.iter().filter(|line| line.flows).count();
        if ready == 0 {
            // Once the device is dry too, calls are silent until enough is buffered again.
            if Instant::now() > plays_until {
                lines.iter_mut().for_each(|line| line.runs_dry(samples));
            }
            idle_ms += LOOK.as_millis() as u32;
            if idle_ms >= IDLE_MS {
                slot.close();
            }
            (waited, idle_ms) = (false, idle_ms.min(IDLE_MS));
            sleep(LOOK);
            continue;
        }
        idle_ms = 0;
        // Frames of all calls arrive in the same tick: this check may have been in the middle of it.
        if ready < flowing && !std::mem::replace(&mut waited, true) {
            sleep(LOOK);
            continue;
        }
        waited = false;
        sum.fill(0);
        lines.iter_mut().for_each(|line| line.add_to(&mut sum, &mut frame));
        if slot.with(|device| device.write(&sum)) {
            plays_until = plays_until.max(Instant::now()) + FRAME_TIME;
        } else {
            slot.rest(|| lines.iter().any(|line| !line.is_over()));
        }
    }
}

impl FrameSink for Played {
    fn frame(&mut self, frame: &InFrame<'_>) {
        // A full ring drops the frame.
        push(&mut self.ring, frame.samples);
    }
}
