//! The loudspeaker of a client's calls: each call has a ring, and one thread plays their sum.

use std::io;
use std::sync::Arc;
use std::thread::{Builder, sleep};

use rtrb::{Consumer, Producer, RingBuffer};

use super::super::detour::{pop, push};
use super::roster::{Line, Roster, Runs};
use super::slot::{Loudspeakers, Slot};
use super::{IDLE_MS, LOOK, MOST, Pair, ROOM, START, skip};
use b2b_base::frame::{FrameSink, InFrame};

/// A call, as the thread has it.
pub(super) struct Listener {
    ring: Consumer<i16>,
    /// Enough was there once, and it has not run dry since.
    flows: bool,
}

impl Line for Listener {
    fn is_over(&self) -> bool {
        self.ring.is_abandoned()
    }
}

impl Listener {
    /// Whether a frame can be played.
    fn is_ready(&self, frame: usize) -> bool {
        self.ring.slots() >= if self.flows { frame } else { START * frame }
    }

    /// Adds a frame, or, where none is ready, silence until there is enough again.
    fn add_to(&mut self, sum: &mut [i16], frame: &mut [i16]) {
        self.flows = self.is_ready(frame.len());
        if !self.flows {
            return;
        }
        let waiting = self.ring.slots();
        if waiting > MOST * frame.len() {
            skip(&mut self.ring, waiting - START * frame.len());
        }
        pop(&mut self.ring, frame);
        sum.iter_mut().zip(frame).for_each(|(sum, sample)| *sum = sum.saturating_add(*sample));
    }
}

/// Where a call's sound goes to the loudspeaker.
pub(super) struct Played {
    ring: Producer<i16>,
}

/// Another call. The loudspeaker is opened with its first frame.
pub(super) fn played(pair: &Arc<Pair>) -> io::Result<Played> {
    let (given, ring) = RingBuffer::new(pair.rate_hz as usize / 50 * ROOM);
    let start = || {
        let pair = pair.clone();
        Builder::new().name("loudspeaker".into()).spawn(move || run(&pair)).map(drop)
    };
    pair.listeners.add(Listener { ring, flows: false }, start)?;
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
    while roster.refresh(&mut lines) {
        let ready = lines.iter().filter(|line| line.is_ready(samples)).count();
        let flowing = lines.iter().filter(|line| line.flows).count();
        if ready == 0 {
            // The device plays silence until there is enough again.
            lines.iter_mut().for_each(|line| line.flows = false);
            idle_ms += LOOK.as_millis() as u32;
            if idle_ms >= IDLE_MS {
                slot.close();
            }
            (waited, idle_ms) = (false, idle_ms.min(IDLE_MS));
            sleep(LOOK);
            continue;
        }
        idle_ms = 0;
        // Frames of all calls come in the same tick: this look may have been in the middle of it.
        if ready < flowing && !std::mem::replace(&mut waited, true) {
            sleep(LOOK);
            continue;
        }
        waited = false;
        sum.fill(0);
        lines.iter_mut().for_each(|line| line.add_to(&mut sum, &mut frame));
        if !slot.with(|device| device.write(&sum)) {
            slot.rest(|| lines.iter().any(|line| !line.is_over()));
        }
    }
}

impl FrameSink for Played {
    fn frame(&mut self, frame: &InFrame<'_>) {
        // Without room the device does not take it.
        push(&mut self.ring, frame.samples);
    }
}
