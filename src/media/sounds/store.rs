//! The thread that answers requests for sounds, and the threads that decode for it.
//!
//! All file-system access happens here and not in the requester, including the check of a file's
//! modification time before its cached entry is used. A sound that several Opus listeners hear is
//! encoded once for all of them by another thread; no request waits for that.

use std::collections::{HashMap, VecDeque};
use std::io;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use crossbeam_channel::{Receiver, Sender};

use super::SoundError;
use super::load::{Stamp, files, load};
use super::shelf::{Key, Shelf};
use crate::stage::{OpusMode, Program, Segment, Sound, Tracks};
use b2b_base::util::panics;

/// Limits of the cache and the decoders.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Maximum octets of cached samples; a minute has 0.96 MB at 8 kHz and 1.92 MB at 16 kHz.
    pub octets: usize,
    /// Maximum length of a file.
    pub longest: Duration,
    /// Maximum number of files decoded at once.
    pub decoders: usize,
}

impl Default for Limits {
    /// 256 MiB, 30 minutes, two at once.
    fn default() -> Self {
        Limits { octets: 256 << 20, longest: Duration::from_secs(30 * 60), decoders: 2 }
    }
}

/// A part of a request.
#[derive(Debug, Clone)]
pub enum Want {
    File(Arc<Path>),
    /// All playable files of a folder, by name. Files that turn out not to be are left out.
    Folder(Arc<Path>),
    /// A segment that need not be loaded.
    Made(Segment),
}

/// The listener for which sounds are fetched.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Listener {
    /// Sampling rate, Hz.
    pub rate_hz: u32,
    /// The Opus settings, if it hears Opus.
    pub opus: Option<OpusMode>,
}

impl Listener {
    /// A listener without Opus, at this sampling rate.
    pub const fn plain(rate_hz: u32) -> Self {
        Listener { rate_hz, opus: None }
    }

    /// A program of these segments for it, played `times` times; 0 to repeat until stopped.
    pub fn program(&self, segments: Vec<Segment>, times: u32) -> Program {
        let program = Program::new(self.rate_hz, segments, times);
        if self.opus.is_some() { program.in_whole_ticks() } else { program }
    }

    /// Tracks for it; `None` if all are empty.
    pub fn tracks(&self, tracks: Vec<Sound>) -> Option<Tracks> {
        let tracks = Tracks::new(self.rate_hz, tracks)?;
        Some(if self.opus.is_some() { tracks.in_whole_ticks() } else { tracks })
    }
}

/// The result of a request: one segment per file.
pub type Fetched = Result<Vec<Segment>, SoundError>;

/// Counters of the store.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct StoreStats {
    /// Files decoded.
    pub decoded: u64,
    /// Sounds cached, and their octets.
    pub kept: usize,
    /// See `kept`.
    pub octets: usize,
}

type Then = Box<dyn FnOnce(Fetched) + Send>;

enum Job {
    Fetch { wants: Vec<Want>, listener: Listener, then: Then },
    Decoded { key: Key, stamp: Stamp, sound: Result<Sound, SoundError> },
}

/// The store of sounds. Its threads end with it, once all requests are answered.
#[derive(Debug)]
pub struct SoundStore {
    jobs: Sender<Job>,
    stats: Arc<Mutex<StoreStats>>,
}

impl SoundStore {
    /// Starts the thread.
    ///
    /// # Errors
    /// The system could not start a thread.
    pub fn start(limits: Limits) -> io::Result<SoundStore> {
        let (jobs, queue) = crossbeam_channel::unbounded();
        let (told, decoded) = crossbeam_channel::unbounded();
        let stats = Arc::new(Mutex::new(StoreStats::default()));
        let desk = Desk {
            bad: HashMap::new(),
            limits,
            shelf: Shelf::new(limits.octets),
            told,
            running: 0,
            waiting: VecDeque::new(),
            decoding: HashMap::new(),
            encoder: None,
            asked: HashMap::new(),
            next: 0,
            stats: stats.clone(),
        };
        std::thread::Builder::new().name("sounds".into()).spawn(move || desk.run(&queue, &decoded))?;
        Ok(SoundStore { jobs, stats })
    }

    /// Fetches all parts for a listener and passes them to `then` on a thread of the store: soon if
    /// all are cached, or at once, on the caller's thread, if none is a file.
    pub fn fetch(&self, wants: Vec<Want>, listener: Listener, then: impl FnOnce(Fetched) + Send + 'static) {
        if wants.iter().all(|want| matches!(want, Want::Made(_))) {
            let made = |want| match want {
                Want::Made(segment) => Some(segment),
                _ => None,
            };
            return then(Ok(wants.into_iter().filter_map(made).collect()));
        }
        // The thread lives as long as this sender.
        let _ = self.jobs.send(Job::Fetch { wants, listener, then: Box::new(then) });
    }

    /// The counters.
    pub fn stats(&self) -> StoreStats {
        *self.stats.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A pending request.
struct Asked {
    parts: Vec<Part>,
    opus: Option<OpusMode>,
    then: Then,
}

/// A part of a pending request.
struct Part {
    want: Want,
    /// Of a folder: it is left out if it cannot be played.
    optional: bool,
    sound: Option<Sound>,
}

struct Desk {
    limits: Limits,
    /// Files of folders that cannot be played.
    bad: HashMap<Arc<Path>, Stamp>,
    shelf: Shelf,
    told: Sender<Job>,
    /// Number of running decoders, and files waiting for one.
    running: usize,
    waiting: VecDeque<(Key, Stamp)>,
    /// Files being decoded or waiting for it, and the requests that wait for them.
    decoding: HashMap<Key, Vec<u64>>,
    /// The queue of the encoding thread, once there is one.
    encoder: Option<Sender<(Sound, OpusMode)>>,
    asked: HashMap<u64, Asked>,
    next: u64,
    stats: Arc<Mutex<StoreStats>>,
}

impl Desk {
    fn run(mut self, queue: &Receiver<Job>, decoded: &Receiver<Job>) {
        loop {
            let job = crossbeam_channel::select! {
                recv(decoded) -> job => job.ok(),
                recv(queue) -> job => match job {
                    Ok(job) => Some(job),
                    // No more requests can come; finish the pending ones.
                    Err(_) if self.asked.is_empty() => return,
                    Err(_) => decoded.recv().ok(),
                },
            };
            match job {
                Some(Job::Fetch { wants, listener, then }) => self.fetch(wants, listener, then),
                Some(Job::Decoded { key, stamp, sound }) => self.decoded(key, stamp, sound),
                None => return,
            }
        }
    }

    fn fetch(&mut self, wants: Vec<Want>, Listener { rate_hz, opus }: Listener, then: Then) {
        let wants = match unfold(wants) {
            Ok(wants) => wants,
            Err(error) => return then(Err(error)),
        };
        let (id, mut missing) = (self.next, Vec::new());
        self.next += 1;
        let (mut asked, mut left_out) = (Asked { parts: Vec::new(), opus, then }, None);
        for (want, optional) in wants {
            let sound = match &want {
                Want::File(path) => {
                    let stamp = match Stamp::of(path) {
                        Ok(stamp) if !optional || self.bad.get(path) != Some(&stamp) => stamp,
                        Err(error) if !optional => return (asked.then)(Err(error)),
                        _ => {
                            left_out = path.parent().map(Path::to_owned);
                            continue;
                        }
                    };
                    let key = (path.clone(), rate_hz);
                    let kept = self.shelf.get(&key, stamp);
                    match &kept {
                        Some(sound) => self.encode(sound, opus),
                        None => missing.push((key, stamp)),
                    }
                    kept
                }
                Want::Folder(_) | Want::Made(_) => None,
            };
            asked.parts.push(Part { want, optional, sound });
        }
        if asked.parts.is_empty() {
            let folder = left_out.unwrap_or_default();
            return (asked.then)(Err(SoundError(format!("{} (none of its files)", folder.display()))));
        }
        if missing.is_empty() {
            return asked.answer();
        }
        for (key, stamp) in missing {
            let waits = self.decoding.entry(key.clone()).or_default();
            if waits.is_empty() {
                self.waiting.push_back((key, stamp));
            }
            waits.push(id);
        }
        self.asked.insert(id, asked);
        self.decode();
    }

    /// Encodes a sound for all its listeners in this Opus mode, since there is another one.
    fn encode(&mut self, sound: &Sound, opus: Option<OpusMode>) {
        let Some(mode) = opus.filter(|mode| sound.lacks(mode)) else { return };
        let encoder = self.encoder.get_or_insert_with(|| {
            let (jobs, queue) = crossbeam_channel::unbounded::<(Sound, OpusMode)>();
            let run = move || queue.iter().for_each(|(sound, mode)| sound.encode(mode));
            if let Err(error) = std::thread::Builder::new().name("sound-encode".into()).spawn(run) {
                // Each listener then has its own encoder, as for sounds heard once.
                tracing::warn!("cannot start the thread that encodes prompts: {error}");
            }
            jobs
        });
        let _ = encoder.send((sound.clone(), mode));
    }

    /// Starts decoders for waiting files.
    fn decode(&mut self) {
        while self.running < self.limits.decoders.max(1)
            && let Some((key, stamp)) = self.waiting.pop_front()
        {
            let (told, longest) = (self.told.clone(), self.limits.longest);
            let (name, (path, rate_hz)) = (key.clone(), key);
            let run = move || {
                // A codec that panics must not affect other files.
                let loaded = std::panic::catch_unwind(|| {
                    let name = path.file_stem().unwrap_or_default();
                    panics::on_purpose("sound", name.as_encoded_bytes());
                    load(&path, rate_hz, longest)
                });
                let failed = || SoundError(format!("{} (its decoder failed)", path.display()));
                let sound = loaded.unwrap_or_else(|_| Err(failed()));
                let _ = told.send(Job::Decoded { key: (path, rate_hz), stamp, sound });
            };
            match std::thread::Builder::new().name("sound-decode".into()).spawn(run) {
                Ok(_) => self.running += 1,
                Err(error) => {
                    let sound = Err(SoundError(format!("{} ({error})", name.0.display())));
                    self.running += 1;
                    self.decoded(name, stamp, sound);
                }
            }
        }
    }

    fn decoded(&mut self, key: Key, stamp: Stamp, sound: Result<Sound, SoundError>) {
        self.running -= 1;
        let waits = self.decoding.remove(&key).unwrap_or_default();
        if let Ok(sound) = &sound {
            self.shelf.put(key.clone(), stamp, sound.clone());
        }
        let (kept, octets) = self.shelf.len();
        let mut stats = self.stats.lock().unwrap_or_else(PoisonError::into_inner);
        *stats = StoreStats { decoded: stats.decoded + 1, kept, octets };
        drop(stats);
        match sound {
            Ok(sound) => {
                let several = waits.len() > 1;
                for id in waits {
                    let Some(asked) = self.asked.get_mut(&id) else { continue };
                    let opus = asked.opus.filter(|_| several);
                    asked.take(&key.0, &sound);
                    if asked.is_complete()
                        && let Some(asked) = self.asked.remove(&id)
                    {
                        asked.answer();
                    }
                    self.encode(&sound, opus);
                }
            }
            Err(error) => {
                for id in waits {
                    self.not_decoded(id, &key.0, stamp, &error);
                }
            }
        }
        self.decode();
    }

    /// A file could not be decoded for a request, which may do without it.
    fn not_decoded(&mut self, id: u64, path: &Arc<Path>, stamp: Stamp, error: &SoundError) {
        let Some(asked) = self.asked.get_mut(&id) else { return };
        let needed = asked.parts.iter().any(|part| part.is_of(path) && !part.optional);
        if !needed {
            asked.parts.retain(|part| !part.is_of(path));
            if self.bad.insert(path.clone(), stamp) != Some(stamp) {
                tracing::warn!("a file of a folder is left out: {error}");
            }
        }
        let failed = needed || asked.parts.is_empty();
        if (failed || asked.is_complete())
            && let Some(asked) = self.asked.remove(&id)
        {
            match failed {
                true => (asked.then)(Err(error.clone())),
                false => asked.answer(),
            }
        }
    }
}

impl Part {
    fn is_of(&self, path: &Arc<Path>) -> bool {
        matches!(&self.want, Want::File(wanted) if wanted == path)
    }
}

impl Asked {
    fn take(&mut self, path: &Arc<Path>, sound: &Sound) {
        for part in self.parts.iter_mut().filter(|part| part.is_of(path)) {
            part.sound = Some(sound.clone());
        }
    }

    fn is_complete(&self) -> bool {
        self.parts.iter().all(|part| part.sound.is_some() || matches!(part.want, Want::Made(_)))
    }

    fn answer(self) {
        let segment = |Part { want, sound, .. }: Part| match (want, sound) {
            (_, Some(sound)) => Some(Segment::Sound(sound)),
            (Want::Made(segment), None) => Some(segment),
            _ => None,
        };
        (self.then)(Ok(self.parts.into_iter().filter_map(segment).collect()));
    }
}

/// Replaces a folder by its files, which are optional.
fn unfold(wants: Vec<Want>) -> Result<Vec<(Want, bool)>, SoundError> {
    let mut all = Vec::with_capacity(wants.len());
    for want in wants {
        match want {
            Want::Folder(folder) => {
                all.extend(files(&folder)?.into_iter().map(|path| (Want::File(path.into()), true)));
            }
            want => all.push((want, false)),
        }
    }
    Ok(all)
}
