//! The thread that writes recordings, and its handle. A second thread completes files, since
//! waiting for a disk takes longer than a ring can bridge.
//!
//! This is a driver: it reads the clock.

use std::collections::{HashMap, VecDeque};
use std::io;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, RecvTimeoutError, Sender};
use tokio::sync::oneshot;

use super::file::{FileError, PartFile};
use super::sheet::{GoesOn, Sheet};
use super::tap::{Tap, Tapped, tap};
use super::{Finished, Formats, Mono, Plan, Side};
use crate::wav_file::WavFormat;

/// How often rings are emptied.
const PERIOD: Duration = Duration::from_millis(100);
/// Writes per second of audio.
const WRITES: usize = 2;
/// Maximum number of finished recordings that are remembered.
const KNOWN: usize = 256;

enum Command {
    Begin {
        recording: u64,
        plan: Box<Plan>,
        said: Box<Formats>,
        heard: Box<Formats>,
        at: u64,
        source: Source,
        created: oneshot::Sender<Result<(), FileError>>,
    },
    Formats {
        recording: u64,
        said: Box<Formats>,
        heard: Box<Formats>,
    },
    Follow {
        recording: u64,
        said: Box<Formats>,
        heard: Box<Formats>,
        source: Source,
    },
    Pause {
        recording: u64,
        at: u64,
        paused: bool,
    },
    Wait {
        recording: u64,
        finished: oneshot::Sender<Finished>,
    },
    Stop {
        recording: u64,
        at: u64,
        finished: oneshot::Sender<Finished>,
    },
    Shutdown,
}

/// A party whose packets are recorded.
struct Source {
    tapped: Tapped,
    /// It is the other party: what it says is what the recorded party would hear.
    swapped: bool,
}

/// A job of the second thread.
enum Work {
    Complete {
        file: Box<PartFile>,
        finished: Finished,
        replies: Vec<oneshot::Sender<Finished>>,
    },
    /// Asks about a recording that has ended.
    Ask {
        recording: u64,
        reply: oneshot::Sender<Finished>,
    },
}

/// A recording that was requested.
pub struct Started {
    /// Its number, as in [`Finished`].
    pub recording: u64,
    /// For the media thread.
    pub tap: Tap,
    /// Tells whether the file was created.
    pub created: oneshot::Receiver<Result<(), FileError>>,
}

/// The handle of the recorder; every method returns at once.
pub struct Recorder {
    commands: Sender<Command>,
    epoch: Instant,
    next: AtomicU64,
    threads: Mutex<Vec<JoinHandle<()>>>,
}

impl Recorder {
    /// Starts the threads; `over` is called for every recording that ends. Nothing is recorded if
    /// less than `free_bytes` are free on the disk.
    ///
    /// # Errors
    /// The system could not start a thread.
    pub fn start(free_bytes: u64, over: impl Fn(Finished) + Send + 'static) -> io::Result<Recorder> {
        let (commands, queue) = crossbeam_channel::unbounded();
        let (work, works) = crossbeam_channel::unbounded();
        let epoch = Instant::now();
        let spawn = |name: &str, run: Box<dyn FnOnce() + Send>| {
            std::thread::Builder::new().name(name.into()).spawn(run)
        };
        let files = spawn("recording-files", Box::new(move || complete(&works, over)))?;
        let writer = Writer { epoch, free_bytes, work, recordings: HashMap::new() };
        let writer = spawn("recording", Box::new(move || writer.run(&queue)))?;
        let threads = Mutex::new(vec![writer, files]);
        Ok(Recorder { commands, epoch, next: AtomicU64::new(1), threads })
    }

    /// Starts a recording; `said` and `heard` are the formats of both directions.
    pub fn begin(&self, plan: Plan, said: Formats, heard: Formats) -> Started {
        let recording = self.next.fetch_add(1, Ordering::Relaxed);
        let (created, answer) = oneshot::channel();
        let (tap, tapped) = tap(self.epoch, plan.stereo || plan.mono != Mono::Said);
        self.send(Command::Begin {
            recording,
            plan: Box::new(plan),
            said: Box::new(said),
            heard: Box::new(heard),
            at: self.now(),
            source: Source { tapped, swapped: false },
            created,
        });
        Started { recording, tap, created: answer }
    }

    /// Changes the formats.
    pub fn formats(&self, recording: u64, said: Formats, heard: Formats) {
        self.send(Command::Formats { recording, said: Box::new(said), heard: Box::new(heard) });
    }

    /// Continues the recording with another party, which has these formats: in place of the
    /// recorded one, or, if `swapped`, as the party that the recorded one spoke with.
    pub fn follow(&self, recording: u64, said: Formats, heard: Formats, swapped: bool) -> Tap {
        // If it is swapped, what the party hears is what the recorded one says.
        let (tap, tapped) = tap(self.epoch, true);
        let (said, heard) = (Box::new(said), Box::new(heard));
        self.send(Command::Follow { recording, said, heard, source: Source { tapped, swapped } });
        tap
    }

    /// Pauses or resumes a recording; the pause is not in the file.
    pub fn pause(&self, recording: u64, paused: bool) {
        self.send(Command::Pause { recording, at: self.now(), paused });
    }

    /// Ends a recording; the channel is dropped if there is and was no such recording.
    pub fn stop(&self, recording: u64) -> oneshot::Receiver<Finished> {
        let (finished, answer) = oneshot::channel();
        self.send(Command::Stop { recording, at: self.now(), finished });
        answer
    }

    /// Waits for a recording to end, for whatever reason; the channel is dropped if there is and
    /// was no such recording.
    pub fn wait(&self, recording: u64) -> oneshot::Receiver<Finished> {
        let (finished, answer) = oneshot::channel();
        self.send(Command::Wait { recording, finished });
        answer
    }

    /// Ends every recording, and waits for their files.
    pub fn shutdown(&self) {
        self.send(Command::Shutdown);
        let threads: Vec<_> = {
            let mut threads = self.threads.lock().unwrap_or_else(PoisonError::into_inner);
            threads.drain(..).collect()
        };
        for thread in threads {
            // A panicked thread has printed its message already.
            let _ = thread.join();
        }
    }

    fn now(&self) -> u64 {
        self.epoch.elapsed().as_nanos() as u64
    }

    fn send(&self, command: Command) {
        // Sending fails only if the thread has ended, and then every recording has ended.
        let _ = self.commands.send(command);
    }
}

impl Drop for Recorder {
    fn drop(&mut self) {
        self.shutdown();
    }
}

struct Recording {
    plan: Plan,
    /// When it started, ns.
    begun: u64,
    sheet: Sheet,
    sources: Vec<Source>,
    file: Box<PartFile>,
    /// Samples not written yet.
    samples: Vec<i16>,
    missed: u64,
    /// Requests that wait for its end.
    waiting: Vec<oneshot::Sender<Finished>>,
}

struct Writer {
    epoch: Instant,
    free_bytes: u64,
    work: Sender<Work>,
    recordings: HashMap<u64, Recording>,
}

impl Writer {
    fn run(mut self, commands: &Receiver<Command>) {
        loop {
            let next = match self.recordings.is_empty() {
                true => commands.recv().map_err(|_| RecvTimeoutError::Disconnected),
                false => commands.recv_timeout(PERIOD),
            };
            let over = match next {
                Ok(command) => self.obey(command),
                Err(RecvTimeoutError::Timeout) => {
                    self.look();
                    false
                }
                Err(RecvTimeoutError::Disconnected) => true,
            };
            if over {
                let now = self.now();
                for recording in self.recordings.keys().copied().collect::<Vec<_>>() {
                    self.end(recording, now, None, None);
                }
                return;
            }
        }
    }

    fn now(&self) -> u64 {
        self.epoch.elapsed().as_nanos() as u64
    }

    /// Executes a command; returns whether it was the last one.
    fn obey(&mut self, command: Command) -> bool {
        match command {
            Command::Begin { recording, plan, said, heard, at, source, created } => {
                let (rate_hz, channels) = (plan.rate_hz, 1 + u16::from(plan.stereo));
                let format = WavFormat { rate_hz, channels, coding: plan.coding };
                let open = if plan.append { PartFile::go_on } else { PartFile::create };
                let file = open(&plan.path, format, self.free_bytes);
                let file = file.map(|file| {
                    let mut plan = plan;
                    let there = lasts(&plan, file.written);
                    plan.longest = plan.longest.map(|longest| longest.saturating_sub(there));
                    let sheet = Sheet::new(&plan, *said, *heard);
                    let file = Box::new(file);
                    let (sources, samples) = (vec![source], Vec::new());
                    let (begun, missed, waiting) = (at, 0, Vec::new());
                    let it = Recording { plan: *plan, begun, sheet, sources, file, samples, missed, waiting };
                    self.recordings.insert(recording, it);
                });
                // The requester may have gone away.
                let _ = created.send(file);
            }
            Command::Formats { recording, said, heard } => {
                if let Some(it) = self.recordings.get_mut(&recording) {
                    it.sheet.formats(*said, *heard);
                }
            }
            Command::Follow { recording, said, heard, source } => {
                if let Some(it) = self.recordings.get_mut(&recording) {
                    it.drain();
                    let (said, heard) = if source.swapped { (heard, said) } else { (said, heard) };
                    it.sheet.formats(*said, *heard);
                    it.sheet.restart();
                    it.sources = vec![source];
                }
            }
            Command::Pause { recording, at, paused } => {
                if let Some(it) = self.recordings.get_mut(&recording) {
                    it.sheet.pause(at.saturating_sub(it.begun), paused);
                }
            }
            Command::Wait { recording, finished } => match self.recordings.get_mut(&recording) {
                Some(it) => it.waiting.push(finished),
                // The second thread knows how it ended.
                None => drop(self.work.send(Work::Ask { recording, reply: finished })),
            },
            Command::Stop { recording, at, finished } => self.end(recording, at, None, Some(finished)),
            Command::Shutdown => return true,
        }
        false
    }

    /// Reads pending packets, and writes what is complete.
    fn look(&mut self) {
        let now = self.now();
        let mut over = Vec::new();
        for (&recording, it) in &mut self.recordings {
            match it.look(now) {
                Ok(GoesOn::Yes) => {}
                Ok(GoesOn::No) => over.push((recording, None)),
                Err(error) => over.push((recording, Some(error))),
            }
        }
        for (recording, error) in over {
            self.end(recording, now, error, None);
        }
    }

    fn end(
        &mut self,
        recording: u64,
        at: u64,
        error: Option<FileError>,
        reply: Option<oneshot::Sender<Finished>>,
    ) {
        let Some(mut it) = self.recordings.remove(&recording) else {
            if let Some(reply) = reply {
                let _ = self.work.send(Work::Ask { recording, reply });
            }
            return;
        };
        let error = error.or_else(|| it.finish(at).err());
        let missing = (it.missed > 0).then(|| {
            format!("the machine is too slow: {} packets are missing; record fewer calls at once", it.missed)
        });
        let error = error.map(|error| error.to_string()).or_else(|| it.sheet.missing()).or(missing);
        let (lasts, before) = (lasts(&it.plan, it.file.written), lasts(&it.plan, it.file.before));
        let spoken = before + it.sheet.spoken();
        let finished = Finished { recording, path: it.plan.path, lasts, spoken, error };
        let replies = it.waiting.into_iter().chain(reply).collect();
        let _ = self.work.send(Work::Complete { file: it.file, finished, replies });
    }
}

/// How long so many samples of all channels last.
fn lasts(plan: &Plan, samples: u64) -> Duration {
    let samples = samples as f64 / f64::from(1 + u16::from(plan.stereo));
    Duration::from_secs_f64(samples / f64::from(plan.rate_hz))
}

impl Recording {
    /// Reads pending packets. Returns whether more may come.
    fn drain(&mut self) -> bool {
        let (sheet, begun) = (&mut self.sheet, self.begun);
        let mut more = false;
        self.missed = 0;
        for source in &mut self.sources {
            let swapped = source.swapped;
            more |= source.tapped.drain(|at, side, packet| {
                let side = match (swapped, side) {
                    (false, side) => side,
                    (true, Side::Said) => Side::Heard,
                    (true, Side::Heard) => Side::Said,
                };
                // Packets before the start do not belong to it.
                if let Some(at) = at.checked_sub(begun) {
                    sheet.packet(at, side, packet);
                }
            });
            self.missed += source.tapped.missed();
        }
        more
    }

    fn look(&mut self, now: u64) -> Result<GoesOn, FileError> {
        if !self.drain() {
            return Ok(GoesOn::No);
        }
        let a_second = (self.plan.rate_hz * (1 + u32::from(self.plan.stereo))) as usize;
        let enough = a_second / WRITES;
        let most = enough + a_second * PERIOD.as_millis() as usize / 1_000;
        self.samples.reserve_exact(most.saturating_sub(self.samples.len()));
        let goes_on = self.sheet.advance(now.saturating_sub(self.begun), &mut self.samples);
        if self.samples.len() >= enough {
            self.write()?;
            // A delay of this thread must not enlarge every recording for good.
            self.samples.shrink_to(most);
        }
        Ok(goes_on)
    }

    fn write(&mut self) -> Result<(), FileError> {
        let written = self.file.write(&self.samples);
        self.samples.clear();
        written
    }

    fn finish(&mut self, at: u64) -> Result<(), FileError> {
        self.drain();
        self.sheet.finish(at.saturating_sub(self.begun), &mut self.samples);
        self.write()
    }
}

/// Completes files.
fn complete(works: &Receiver<Work>, over: impl Fn(Finished)) {
    let mut known: VecDeque<Finished> = VecDeque::new();
    for work in works {
        match work {
            Work::Complete { file, mut finished, replies } => {
                let completed = file.complete();
                if let Some(error) = completed.err().filter(|_| finished.error.is_none()) {
                    finished.error = Some(error.to_string());
                }
                known.truncate(KNOWN - 1);
                known.push_front(finished.clone());
                for reply in replies {
                    let _ = reply.send(finished.clone());
                }
                over(finished);
            }
            Work::Ask { recording, reply } => {
                if let Some(finished) = known.iter().find(|known| known.recording == recording) {
                    let _ = reply.send(finished.clone());
                }
            }
        }
    }
}
