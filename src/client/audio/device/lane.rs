//! One direction between a device and a call: a thread that may wait on one side, the media
//! thread, which must not, on the other.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{Builder, sleep};
use std::time::Duration;

use rtrb::{Consumer, Producer, RingBuffer};

use super::super::detour::{pop, push};
use super::{DeviceSide, Loudspeaker, Microphone, SoundSystem};
use crate::ClientEvent;
use b2b_base::frame::{Fill, FrameSink, FrameSource, InFrame, OutFrame};

/// How often a thread looks whether it is needed: the media thread must not wake it.
const LOOK: Duration = Duration::from_millis(5);
/// How long after a failure the default device is tried again.
const AGAIN: Duration = Duration::from_secs(1);
/// 20 ms frames of sound that wait before any is taken.
const START: usize = 2;
/// The same at which some are left out, down to [`START`].
const MOST: usize = 5;
/// The same that a ring has room for.
const ROOM: usize = 16;

/// A device that may go, and come back as the default one.
struct Slot<D: ?Sized, T> {
    side: DeviceSide,
    name: Option<String>,
    open: Option<Box<D>>,
    /// In a row, without a frame between.
    failures: u32,
    /// Of the first of them.
    problem: Option<String>,
    tell: T,
}

impl<D: ?Sized, T: Fn(ClientEvent)> Slot<D, T> {
    fn new(side: DeviceSide, name: Option<String>, tell: T) -> Self {
        Slot { side, name, open: None, failures: 0, problem: None, tell }
    }

    /// Uses the device for a frame, and says whether it did. After a failure it is the default
    /// one, first at once, then after a while. A program such as `arecord` starts even where there
    /// is no device: a device works when it has had a frame.
    fn with(
        &mut self,
        opens: impl Fn(Option<&str>) -> io::Result<Box<D>>,
        uses: impl FnOnce(&mut D) -> io::Result<()>,
    ) -> bool {
        let used = match &mut self.open {
            Some(device) => uses(device),
            None => opens(self.name.as_deref()).and_then(|device| uses(self.open.insert(device))),
        };
        match used {
            Ok(()) => {
                if std::mem::take(&mut self.failures) > 0 {
                    self.tell(true);
                }
                true
            }
            Err(error) => {
                self.failed(&error);
                false
            }
        }
    }

    fn failed(&mut self, error: &io::Error) {
        self.open = None;
        let name = self.name.take();
        self.failures = self.failures.saturating_add(1);
        if self.failures == 1 {
            let name = name.map_or_else(|| "the default device".to_owned(), |name| format!("{name:?}"));
            self.problem = Some(format!("{name}: {error}"));
        } else if self.failures == 2 {
            self.tell(false);
        }
    }

    fn tell(&mut self, works: bool) {
        (self.tell)(ClientEvent::Device { side: self.side, problem: self.problem.take(), works });
    }

    /// Before the next try, while nobody has gone.
    fn rest(&self, gone: impl Fn() -> bool) {
        let mut left = if self.failures < 2 { Duration::ZERO } else { AGAIN };
        while !left.is_zero() && !gone() {
            sleep(LOOK);
            left = left.saturating_sub(LOOK);
        }
    }
}

/// What a call hears of a microphone. See the module's text for its clock.
pub(super) struct Captured {
    ring: Consumer<i16>,
    wanted: Arc<AtomicBool>,
    frame: usize,
    /// Enough was there once, and it has not run dry since.
    flows: bool,
}

/// Opens a microphone with the first packet of the call.
pub(super) fn captured(
    system: Arc<dyn SoundSystem>,
    name: Option<String>,
    rate_hz: u32,
    tell: impl Fn(ClientEvent) + Send + 'static,
) -> io::Result<Captured> {
    let frame = rate_hz as usize / 50;
    let (ring, taken) = RingBuffer::new(frame * ROOM);
    let wanted = Arc::new(AtomicBool::new(false));
    let captured = Captured { ring: taken, wanted: wanted.clone(), frame, flows: false };
    let run = move || capture(&*system, name, rate_hz, ring, &wanted, tell);
    Builder::new().name("microphone".into()).spawn(run)?;
    Ok(captured)
}

fn capture(
    system: &dyn SoundSystem,
    name: Option<String>,
    rate_hz: u32,
    mut ring: Producer<i16>,
    wanted: &AtomicBool,
    tell: impl Fn(ClientEvent),
) {
    let mut slot: Slot<dyn Microphone, _> = Slot::new(DeviceSide::Microphone, name, tell);
    let mut frame = vec![0; rate_hz as usize / 50];
    while !ring.is_abandoned() {
        if !wanted.load(Ordering::Acquire) {
            sleep(LOOK);
            continue;
        }
        let opens = |name: Option<&str>| system.microphone(name, rate_hz);
        if slot.with(opens, |device| device.read(&mut frame)) {
            // Without room the call does not take it: what is said now counts more than that.
            push(&mut ring, &frame);
        } else {
            slot.rest(|| ring.is_abandoned());
        }
    }
}

impl FrameSource for Captured {
    fn fill(&mut self, frame: &mut OutFrame<'_>) -> Fill {
        if !self.wanted.load(Ordering::Relaxed) {
            self.wanted.store(true, Ordering::Release);
        }
        let waiting = self.ring.slots();
        // Longer packets want more at once.
        let more = frame.samples.len().saturating_sub(self.frame);
        if waiting > MOST * self.frame + more {
            skip(&mut self.ring, waiting - START * self.frame - more);
        }
        let least = if self.flows { frame.samples.len() } else { frame.samples.len() + self.frame };
        if self.ring.slots() < least {
            return if std::mem::take(&mut self.flows) { Fill::Underrun } else { Fill::Silence };
        }
        self.flows = true;
        pop(&mut self.ring, frame.samples);
        Fill::Audio
    }
}

/// Where a call's sound goes to a loudspeaker.
pub(super) struct Played {
    ring: Producer<i16>,
}

/// Opens a loudspeaker with the first frame of the call.
pub(super) fn played(
    system: Arc<dyn SoundSystem>,
    name: Option<String>,
    rate_hz: u32,
    tell: impl Fn(ClientEvent) + Send + 'static,
) -> io::Result<Played> {
    let (given, ring) = RingBuffer::new(rate_hz as usize / 50 * ROOM);
    Builder::new().name("loudspeaker".into()).spawn(move || play(&*system, name, rate_hz, ring, tell))?;
    Ok(Played { ring: given })
}

fn play(
    system: &dyn SoundSystem,
    name: Option<String>,
    rate_hz: u32,
    mut ring: Consumer<i16>,
    tell: impl Fn(ClientEvent),
) {
    let mut slot: Slot<dyn Loudspeaker, _> = Slot::new(DeviceSide::Loudspeaker, name, tell);
    let mut frame = vec![0; rate_hz as usize / 50];
    let mut flows = false;
    while !ring.is_abandoned() {
        let waiting = ring.slots();
        if waiting < if flows { frame.len() } else { START * frame.len() } {
            // The device plays silence until there is enough again.
            flows &= waiting >= frame.len();
            sleep(LOOK);
            continue;
        }
        flows = true;
        if waiting > MOST * frame.len() {
            skip(&mut ring, waiting - START * frame.len());
        }
        let opens = |name: Option<&str>| system.loudspeaker(name, rate_hz);
        pop(&mut ring, &mut frame);
        if !slot.with(opens, |device| device.write(&frame)) {
            slot.rest(|| ring.is_abandoned());
        }
    }
}

impl FrameSink for Played {
    fn frame(&mut self, frame: &InFrame<'_>) {
        // Without room the device does not take it.
        push(&mut self.ring, frame.samples);
    }
}

/// Leaves samples out.
fn skip(ring: &mut Consumer<i16>, samples: usize) {
    if let Ok(chunk) = ring.read_chunk(samples) {
        chunk.commit_all();
    }
}
