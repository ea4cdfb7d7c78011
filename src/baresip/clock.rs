//! The engine's clock: one thread for the audio of all calls, with absolute ticks. In each tick all sinks are
//! served before any source.

use std::ffi::c_void;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant, SystemTime};

use crossbeam_channel::{Receiver, RecvTimeoutError, Sender};

use super::border::guard;
use super::ffi::{self, AudioFrame};
use super::playout::{FRAME, Playout};
use b2b_base::frame::{Fill, FrameSink, FrameSource, InFrame, OutFrame, RATE_HZ};
use b2b_base::util::ntp::NtpTime;
use b2b_ua::{CallId, UaEvent};

/// The granularity of all packet times.
const TICK: Duration = Duration::from_millis(10);
const TICK_US: u64 = 10_000;
/// Samples per tick.
const TICK_SAMPLES: usize = 80;
/// Ticks per sink frame.
const SINK_TICKS: u64 = 2;
/// Maximum packet length in ticks.
const LONGEST: u64 = 6;
/// A delay beyond which missed ticks are skipped: the process was stopped.
const TOO_LATE: Duration = Duration::from_millis(500);
/// Interval of checks on calls, while there are any.
const LOOK: Duration = Duration::from_millis(500);
/// Ticks from the last frame of a source to the event that it was sent: the library's sending thread has its
/// own buffer.
const FLUSH: u64 = 10;

/// The audio state that the library and the clock share for a call.
#[derive(Default)]
pub(super) struct Voice {
    /// The destination of captured audio, while the library sends.
    feed: Mutex<Option<Feed>>,
    /// Packet time of sent audio, ms.
    pub(super) ptime_ms: AtomicU32,
    /// Whether the call is up.
    pub(super) up: AtomicBool,
    pub(super) late: AtomicU64,
    pub(super) concealed: AtomicU64,
    pub(super) underruns: AtomicU64,
}

/// The library's end of a source.
struct Feed {
    read: ffi::ReadHandler,
    arg: *mut c_void,
    /// Whether nothing was passed yet.
    fresh: bool,
}

impl Feed {
    /// Passes samples to the library.
    ///
    /// # Safety
    /// The feed is locked, which keeps the library's object alive.
    unsafe fn give(&self, samples: &mut [i16], timestamp_us: u64) {
        let mut frame = AudioFrame {
            fmt: ffi::S16LE,
            srate: RATE_HZ,
            sampv: samples.as_mut_ptr().cast(),
            sampc: samples.len(),
            timestamp: timestamp_us,
            level: -128.0,
            id: 0,
            ch: 1,
            padding: [0; 5],
        };
        // SAFETY: the caller's promise; the samples are copied.
        unsafe { (self.read)(&mut frame, self.arg) };
    }
}

// SAFETY: the library allows its read handler to be called from any thread.
unsafe impl Send for Feed {}

impl Voice {
    /// Starts sending.
    ///
    /// # Safety
    /// `read` may be called with `arg` until `stop` has returned.
    pub(super) unsafe fn start(&self, read: ffi::ReadHandler, arg: *mut c_void) {
        *self.feed.lock().unwrap_or_else(PoisonError::into_inner) = Some(Feed { read, arg, fresh: true });
    }

    /// Stops sending. Waits while a frame is being passed.
    pub(super) fn stop(&self) {
        *self.feed.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }
}

/// A call's audio on the clock's thread.
pub(super) struct Line {
    call: CallId,
    voice: Arc<Voice>,
    source: Box<dyn FrameSource>,
    sink: Box<dyn FrameSink>,
    playout: Playout,
    /// Time sent so far, µs: the library sorts frames by it.
    sent_us: u64,
    /// The last sample of the first packet.
    held_back: Option<i16>,
    /// Ticks until the end of the source is reported, once it has ended.
    ending: Option<u64>,
    told: bool,
}

impl Line {
    pub(super) fn new(
        call: CallId,
        voice: Arc<Voice>,
        source: Box<dyn FrameSource>,
        sink: Box<dyn FrameSink>,
        playout: Playout,
    ) -> Box<Line> {
        Box::new(Line {
            call,
            voice,
            source,
            sink,
            playout,
            sent_us: 0,
            held_back: None,
            ending: None,
            told: false,
        })
    }

    /// Plays 20 ms.
    fn play(&mut self, now: Instant) {
        if !self.voice.up.load(Relaxed) {
            return;
        }
        let mut samples = [0; FRAME];
        let kind = self.playout.frame(now, &mut samples);
        self.voice.late.store(self.playout.late, Relaxed);
        self.voice.concealed.store(self.playout.concealed, Relaxed);
        self.sink.frame(&InFrame { samples: &samples, captured_at: None, kind });
    }

    /// Ticks per packet.
    fn packet(&self) -> u64 {
        let ms = u64::from(self.voice.ptime_ms.load(Relaxed));
        // With another packet time the library cuts the audio into packets itself.
        if ms.is_multiple_of(10) && (1..=LONGEST).contains(&(ms / 10)) { ms / 10 } else { 2 }
    }

    /// Captures the audio of one packet.
    fn capture(&mut self, ticks: u64, wall: NtpTime) {
        let mut samples = [0; TICK_SAMPLES * LONGEST as usize];
        let samples = &mut samples[..TICK_SAMPLES * ticks as usize];
        let mut feed = self.voice.feed.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(feed) = &mut *feed else { return };
        if self.ending.is_none() {
            let captured_at = wall.minus(TICK * ticks as u32);
            match self.source.fill(&mut OutFrame { samples, captured_at }) {
                Fill::Audio | Fill::Silence => {}
                Fill::Underrun => drop(self.voice.underruns.fetch_add(1, Relaxed)),
                Fill::End => {
                    samples.fill(0);
                    self.ending = Some(FLUSH);
                }
            }
        }
        self.sent_us += ticks * TICK_US;
        let mut now = samples;
        if std::mem::take(&mut feed.fresh)
            && let [first @ .., last] = now
        {
            self.held_back = Some(*last);
            now = first;
        }
        // SAFETY: the lock is held.
        unsafe { feed.give(now, self.sent_us) };
    }

    /// Passes the sample that was held back. The library's sending thread starts its own 20 ms clock with the
    /// first complete packet, and finds nothing to send if ours is slightly late: so it is made to start one
    /// tick after us.
    fn complete(&mut self) {
        let Some(mut sample) = self.held_back.take() else { return };
        let feed = self.voice.feed.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(feed) = &*feed {
            // SAFETY: the lock is held.
            unsafe { feed.give(std::slice::from_mut(&mut sample), self.sent_us + 1) };
        }
    }

    /// Counts down to the report that the source has ended.
    fn count_down(&mut self, events: &Sender<UaEvent>) {
        match &mut self.ending {
            Some(0) if !self.told => {
                self.told = true;
                let _ = events.send(UaEvent::SourceEnded { call: self.call });
            }
            Some(left) => *left = left.saturating_sub(1),
            None => {}
        }
    }
}

/// A command to the clock.
pub(super) enum Command {
    Add(Box<Line>),
    Remove(CallId),
    /// Whether there are calls to check.
    Busy(bool),
}

/// Starts the clock; it stops when the commands' sender is dropped. `look` is called twice per second while
/// there are calls.
pub(super) fn start(
    commands: Receiver<Command>,
    events: Sender<UaEvent>,
    look: impl FnMut() + Send + 'static,
) -> std::io::Result<JoinHandle<()>> {
    let clock =
        Clock { commands, events, lines: Vec::new(), busy: false, start: Instant::now(), tick: 0, look };
    std::thread::Builder::new().name("audio-clock".into()).spawn(move || guard(|| clock.run()))
}

struct Clock<L> {
    commands: Receiver<Command>,
    events: Sender<UaEvent>,
    lines: Vec<Line>,
    busy: bool,
    /// The time of tick 0.
    start: Instant,
    /// The number of the next tick.
    tick: u64,
    look: L,
}

impl<L: FnMut()> Clock<L> {
    fn run(mut self) {
        let mut looked = Instant::now();
        loop {
            let due = self.due();
            let command = match (due, self.busy) {
                (Some(due), _) => self.commands.recv_deadline(due),
                (None, true) => self.commands.recv_timeout(LOOK),
                (None, false) => self.commands.recv().map_err(|_| RecvTimeoutError::Disconnected),
            };
            match command {
                Ok(command) => self.obey(command),
                Err(RecvTimeoutError::Disconnected) => return,
                Err(RecvTimeoutError::Timeout) => {}
            }
            let now = Instant::now();
            if due.is_some_and(|due| now >= due) {
                self.turn(now);
            }
            if self.busy && now.saturating_duration_since(looked) >= LOOK {
                looked = now;
                (self.look)();
            }
        }
    }

    fn obey(&mut self, command: Command) {
        match command {
            Command::Add(line) => {
                if self.lines.is_empty() {
                    (self.start, self.tick) = (Instant::now(), 0);
                }
                self.lines.push(*line);
            }
            Command::Remove(call) => self.lines.retain(|line| line.call != call),
            Command::Busy(busy) => self.busy = busy,
        }
    }

    /// The time of the next tick with work; `None` without lines.
    fn due(&mut self) -> Option<Instant> {
        if self.lines.is_empty() {
            return None;
        }
        let idle = |tick: u64, lines: &[Line]| {
            !tick.is_multiple_of(SINK_TICKS)
                && lines.iter().all(|line| line.held_back.is_none() && !tick.is_multiple_of(line.packet()))
        };
        while idle(self.tick, &self.lines) {
            self.tick += 1;
        }
        Some(self.start + Duration::from_micros(self.tick * TICK_US))
    }

    fn turn(&mut self, now: Instant) {
        let tick = self.tick;
        self.tick += 1;
        let late = now.saturating_duration_since(self.start + Duration::from_micros(tick * TICK_US));
        if late > TOO_LATE {
            self.start += late;
        }
        if tick.is_multiple_of(SINK_TICKS) {
            self.lines.iter_mut().for_each(|line| line.play(now));
        }
        let wall = NtpTime::from_system(SystemTime::now());
        for line in &mut self.lines {
            let packet = line.packet();
            line.complete();
            if tick.is_multiple_of(packet) {
                line.capture(packet, wall);
            }
            line.count_down(&self.events);
        }
    }
}
