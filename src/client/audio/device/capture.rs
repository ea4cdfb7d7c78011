//! The microphone for a client's calls: one thread reads it and fills one ring per call.

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

/// A call, as seen by the thread.
pub(super) struct Speaker {
    ring: Producer<i16>,
    /// Set when the call requests audio.
    asked: Arc<AtomicBool>,
    /// Time since its last request.
    idle_ms: u32,
}

impl Line for Speaker {
    fn is_over(&self) -> bool {
        self.ring.is_abandoned()
    }
}

impl Speaker {
    /// Whether the call needs audio, `ms` after the last check.
    fn is_on(&mut self, ms: u32) -> bool {
        self.idle_ms =
            if self.asked.swap(false, Ordering::AcqRel) { 0 } else { self.idle_ms.saturating_add(ms) };
        self.idle_ms < IDLE_MS
    }
}

/// A call's source of microphone audio. The parent module describes its clock.
pub(super) struct Captured {
    ring: Consumer<i16>,
    asked: Arc<AtomicBool>,
    frame: usize,
    /// The ring has filled to its start depth, and has not run dry since.
    flows: bool,
    depth: Depth,
}

/// Frames buffered before the first one is taken. A frame arrives every 20 ms and is taken as often; if both
/// are late alternately, one does not suffice, and the first underrun adds another.
const START: usize = 1;

/// Adds a call. The microphone opens with the call's first packet.
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
                // A full ring drops the frame: current audio matters more than complete audio.
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
        // Longer packets take more samples at once.
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
