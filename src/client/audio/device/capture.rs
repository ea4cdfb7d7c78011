//! The microphone of a client's calls: one thread reads it, and each call has a ring.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{Builder, sleep};

use rtrb::{Consumer, Producer, RingBuffer};

use super::super::detour::{pop, push};
use super::depth::Depth;
use super::roster::{Line, Roster, Runs};
use super::slot::{Microphones, Slot};
use super::{IDLE_MS, LOOK, MOST, Pair, ROOM, skip};
use b2b_base::frame::{Fill, FrameSource, OutFrame};

/// A call, as the thread has it.
pub(super) struct Speaker {
    ring: Producer<i16>,
    /// The call has asked for sound.
    asked: Arc<AtomicBool>,
    /// How long it has not.
    idle_ms: u32,
}

impl Line for Speaker {
    fn is_over(&self) -> bool {
        self.ring.is_abandoned()
    }
}

impl Speaker {
    /// Whether the call wants sound, `ms` after the last look.
    fn is_on(&mut self, ms: u32) -> bool {
        self.idle_ms =
            if self.asked.swap(false, Ordering::AcqRel) { 0 } else { self.idle_ms.saturating_add(ms) };
        self.idle_ms < IDLE_MS
    }
}

/// What a call hears of the microphone. See the module's text for its clock.
pub(super) struct Captured {
    ring: Consumer<i16>,
    asked: Arc<AtomicBool>,
    frame: usize,
    /// Enough was there once, and it has not run dry since.
    flows: bool,
    depth: Depth,
}

/// Frames that wait before the first one is taken. A frame comes each 20 ms and is asked for as often:
/// where both are late by turns, one is not enough, and there is one more after the first underrun.
const START: usize = 1;

/// Another call. The microphone is opened with its first packet.
pub(super) fn captured(pair: &Arc<Pair>) -> io::Result<Captured> {
    let frame = pair.rate_hz as usize / 50;
    let (ring, taken) = RingBuffer::new(frame * ROOM);
    let asked = Arc::new(AtomicBool::new(false));
    let captured =
        Captured { ring: taken, asked: asked.clone(), frame, flows: false, depth: Depth::new(START) };
    let start = || {
        let pair = pair.clone();
        Builder::new().name("microphone".into()).spawn(move || run(&pair)).map(drop)
    };
    pair.speakers.add(Speaker { ring, asked, idle_ms: IDLE_MS }, start)?;
    Ok(captured)
}

fn run(pair: &Pair) {
    let roster: &Roster<Speaker> = &pair.speakers;
    let _runs = Runs(roster);
    let side = Microphones { system: pair.system.clone(), rate_hz: pair.rate_hz };
    let mut slot = Slot::new(side, pair.microphone.clone(), pair.events.clone());
    let mut frame = vec![0; pair.rate_hz as usize / 50];
    let mut lines = Vec::new();
    let mut passed_ms = 0;
    while roster.refresh(&mut lines) {
        let mut wanted = false;
        for line in &mut lines {
            wanted |= line.is_on(passed_ms);
        }
        if !wanted {
            slot.close();
            passed_ms = LOOK.as_millis() as u32;
            sleep(LOOK);
            continue;
        }
        passed_ms = 20;
        if slot.with(|device| device.read(&mut frame)) {
            for line in lines.iter_mut().filter(|line| line.idle_ms < IDLE_MS) {
                // Without room the call does not take it: what is said now counts more than that.
                push(&mut line.ring, &frame);
            }
        } else {
            slot.rest(|| lines.iter().any(|line| !line.is_over()));
        }
    }
}

impl FrameSource for Captured {
    fn fill(&mut self, frame: &mut OutFrame<'_>) -> Fill {
        if !self.asked.load(Ordering::Relaxed) {
            self.asked.store(true, Ordering::Release);
        }
        let waiting = self.ring.slots();
        // Longer packets want more at once.
        let more = frame.samples.len().saturating_sub(self.frame);
        if waiting > MOST * self.frame + more {
            skip(&mut self.ring, waiting - self.depth.start() * self.frame - more);
        }
        let first = self.depth.start() * self.frame + more;
        let least = if self.flows { frame.samples.len() } else { first };
        if self.ring.slots() < least {
            if std::mem::take(&mut self.flows) {
                self.depth.ran_dry();
                return Fill::Underrun;
            }
            return Fill::Silence;
        }
        self.flows = true;
        pop(&mut self.ring, frame.samples);
        if self.depth.skips(frame.samples, self.ring.slots(), self.frame) {
            pop(&mut self.ring, frame.samples);
        }
        Fill::Audio
    }
}
