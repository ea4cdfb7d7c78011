//! The device in use on one side: it is opened, replaced by the default one on failure, restored when it
//! works again, and changed when the program selects another one.

use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{Builder, sleep};
use std::time::Duration;

use tokio::sync::broadcast;

use super::{DeviceSide, LOOK, Loudspeaker, Microphone, SoundSystem};
use crate::ClientEvent;

/// Retry delay after a failure.
const AGAIN: Duration = Duration::from_secs(1);
/// Frames of 20 ms on the default device between searches for the chosen one: 2 s.
const SEARCH: u32 = 100;

/// The chosen device; `None` for the default one. It may change during calls.
pub(super) struct Choice(Mutex<Chosen>);

#[derive(Clone)]
struct Chosen {
    /// Number of changes so far.
    changes: u64,
    name: Option<String>,
}

impl Choice {
    pub fn new(name: Option<String>) -> Self {
        Choice(Mutex::new(Chosen { changes: 0, name }))
    }

    /// Chooses this device from now on.
    pub fn set(&self, name: Option<String>) {
        let mut chosen = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        *chosen = Chosen { changes: chosen.changes + 1, name };
    }

    fn get(&self) -> Chosen {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The current choice, if it has changed since `since`.
    fn changed(&self, since: u64) -> Option<Chosen> {
        let chosen = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        (chosen.changes != since).then(|| chosen.clone())
    }
}

/// One side of a sound system at the rate of the calls.
pub(super) trait Side: Clone + Send + 'static {
    type Device: ?Sized;
    const SIDE: DeviceSide;

    fn open(&self, name: Option<&str>) -> io::Result<Box<Self::Device>>;

    /// Tests whether the device delivers a frame, or takes a silent one: programs such as `arecord` start
    /// even without a device.
    fn try_out(&self, device: &mut Self::Device) -> io::Result<()>;
}

#[derive(Clone)]
pub(super) struct Microphones {
    pub system: Arc<dyn SoundSystem>,
    pub rate_hz: u32,
}

#[derive(Clone)]
pub(super) struct Loudspeakers {
    pub system: Arc<dyn SoundSystem>,
    pub rate_hz: u32,
}

impl Side for Microphones {
    type Device = dyn Microphone;
    const SIDE: DeviceSide = DeviceSide::Microphone;

    fn open(&self, name: Option<&str>) -> io::Result<Box<dyn Microphone>> {
        self.system.microphone(name, self.rate_hz)
    }

    fn try_out(&self, device: &mut Self::Device) -> io::Result<()> {
        device.read(&mut vec![0; self.rate_hz as usize / 50])
    }
}

impl Side for Loudspeakers {
    type Device = dyn Loudspeaker;
    const SIDE: DeviceSide = DeviceSide::Loudspeaker;

    fn open(&self, name: Option<&str>) -> io::Result<Box<dyn Loudspeaker>> {
        self.system.loudspeaker(name, self.rate_hz)
    }

    fn try_out(&self, device: &mut Self::Device) -> io::Result<()> {
        device.write(&vec![0; self.rate_hz as usize / 50])
    }
}

/// The device in use, owned by the thread that uses it.
pub(super) struct Slot<S: Side> {
    side: S,
    choice: Arc<Choice>,
    chosen: Chosen,
    /// The chosen device has failed and the default one replaces it.
    replaced: bool,
    open: Option<Box<S::Device>>,
    /// Consecutive failures, without a frame in between.
    failures: u32,
    /// The first of these failures.
    problem: Option<String>,
    /// The device has changed; reported once it works.
    moved: bool,
    /// Frames since the last search for the chosen device.
    frames: u32,
    /// Set by the search thread when the chosen device works.
    found: Arc<AtomicBool>,
    events: broadcast::WeakSender<ClientEvent>,
}

impl<S: Side> Slot<S> {
    pub fn new(side: S, choice: Arc<Choice>, events: broadcast::WeakSender<ClientEvent>) -> Self {
        Slot {
            side,
            chosen: choice.get(),
            choice,
            replaced: false,
            open: None,
            failures: 0,
            problem: None,
            moved: false,
            frames: 0,
            found: Arc::default(),
            events,
        }
    }

    /// Uses the device for one frame and returns whether that succeeded. After a failure it switches to the
    /// default device, first at once, later after a delay; if neither works, it tries both in turn.
    pub fn with(&mut self, uses: impl FnOnce(&mut S::Device) -> io::Result<()>) -> bool {
        self.follow();
        let used = match &mut self.open {
            Some(device) => uses(device),
            None => {
                let name = if self.replaced { None } else { self.chosen.name.as_deref() };
                self.side.open(name).and_then(|device| uses(self.open.insert(device)))
            }
        };
        match used {
            Ok(()) => {
                if self.failures > 0 || self.moved {
                    self.tell(true);
                }
                (self.failures, self.moved) = (0, false);
                self.search();
                true
            }
            Err(error) => {
                self.failed(&error);
                false
            }
        }
    }

    /// Closes the device while no call needs it.
    pub fn close(&mut self) {
        self.open = None;
    }

    /// Switches to the newly chosen device, or back to the chosen one once it works again.
    fn follow(&mut self) {
        let changed = self.choice.changed(self.chosen.changes);
        let is_back = self.found.swap(false, Ordering::AcqRel) && self.replaced;
        if changed.is_none() && !is_back {
            return;
        }
        if let Some(chosen) = changed {
            self.chosen = chosen;
            // Detaches a search for the previous device.
            self.found = Arc::default();
        }
        (self.open, self.replaced, self.moved) = (None, false, true);
        (self.failures, self.problem, self.frames) = (0, None, 0);
    }

    /// Searches for the chosen device at intervals, on a separate thread: opening it may take long, and the
    /// default one is in use meanwhile.
    fn search(&mut self) {
        let Some(name) = self.chosen.name.clone().filter(|_| self.replaced) else { return };
        self.frames += 1;
        // A search in progress holds the other reference.
        if self.frames < SEARCH || Arc::strong_count(&self.found) > 1 {
            return;
        }
        self.frames = 0;
        let (side, found) = (self.side.clone(), self.found.clone());
        let look = move || {
            let tried = side.open(Some(&name)).and_then(|mut device| side.try_out(&mut *device));
            found.store(tried.is_ok(), Ordering::Release);
        };
        if let Err(error) = Builder::new().name("device search".into()).spawn(look) {
            tracing::warn!("cannot start the thread that looks for audio devices: {error}");
        }
    }

    fn failed(&mut self, error: &io::Error) {
        self.open = None;
        let name = if self.replaced { None } else { self.chosen.name.as_deref() };
        self.failures = self.failures.saturating_add(1);
        if self.failures == 1 {
            let name = name.map_or_else(|| "the default device".to_owned(), |name| format!("{name:?}"));
            self.problem = Some(format!("{name}: {error}"));
        } else if self.failures == 2 {
            self.tell(false);
        }
        self.replaced = !self.replaced && self.chosen.name.is_some();
    }

    fn tell(&mut self, works: bool) {
        let device = self.chosen.name.clone().filter(|_| works && !self.replaced);
        let event = ClientEvent::Device { side: S::SIDE, device, problem: self.problem.take(), works };
        if let Some(events) = self.events.upgrade() {
            // An error means that there is no subscriber.
            let _ = events.send(event);
        }
    }

    /// Waits before the next try, as long as a call needs the device.
    pub fn rest(&self, is_needed: impl Fn() -> bool) {
        let mut left = if self.failures < 2 { Duration::ZERO } else { AGAIN };
        while !left.is_zero() && is_needed() {
            sleep(LOOK);
            left = left.saturating_sub(LOOK);
        }
    }
}
