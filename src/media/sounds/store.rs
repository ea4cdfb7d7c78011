//! The thread that answers who wants sounds, and those that decode for it.
//!
//! All that touches the file system happens here, and not in who asks: a look at a file's time
//! too, before anything that is kept of it is believed. What several hear who take Opus is encoded once for all of
//! them, by one more thread; nobody waits for that.

use std::collections::{HashMap, VecDeque};
use std::io;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use crossbeam_channel::{Receiver, Sender};

use super::SoundError;
use super::load::{Stamp, load};
use super::shelf::{Key, Shelf};
use crate::stage::{OpusMode, Program, Segment, Sound, Tracks};
use b2b_base::util::panics;

/// Bounds of what is kept and decoded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Octets of samples kept; a minute has 0.96 MB at 8 kHz and 1.92 MB at 16 kHz.
    pub octets: usize,
    /// A longer file is refused.
    pub longest: Duration,
    /// Files that are decoded at once.
    pub decoders: usize,
}

impl Default for Limits {
    /// 256 MiB, 30 minutes, two at once.
    fn default() -> Self {
        Limits { octets: 256 << 20, longest: Duration::from_secs(30 * 60), decoders: 2 }
    }
}

/// A part of what is wanted.
#[derive(Debug, Clone)]
pub enum Want {
    File(Arc<Path>),
    /// All files of a folder that can be played, by name.
    Folder(Arc<Path>),
    /// Nothing has to be fetched for it.
    Made(Segment),
}

/// For whom sounds are fetched.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Listener {
    /// Samples a second.
    pub rate_hz: u32,
    /// If it hears Opus: how.
    pub opus: Option<OpusMode>,
}

impl Listener {
    /// One that hears no Opus, so many samples a second.
    pub const fn plain(rate_hz: u32) -> Self {
        Listener { rate_hz, opus: None }
    }

    /// These segments for it, so many times; 0 is until it is stopped.
    pub fn program(&self, segments: Vec<Segment>, times: u32) -> Program {
        let program = Program::new(self.rate_hz, segments, times);
        if self.opus.is_some() { program.in_whole_ticks() } else { program }
    }

    /// These tracks for it; none if there is nothing to hear in them.
    pub fn tracks(&self, tracks: Vec<Sound>) -> Option<Tracks> {
        let tracks = Tracks::new(self.rate_hz, tracks)?;
        Some(if self.opus.is_some() { tracks.in_whole_ticks() } else { tracks })
    }
}

/// What was fetched: a segment a file.
pub type Fetched = Result<Vec<Segment>, SoundError>;

/// What the store has done so far, and holds now.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct StoreStats {
    /// Files decoded.
    pub decoded: u64,
    /// Sounds kept, and their octets.
    pub kept: usize,
    /// See `kept`.
    pub octets: usize,
}

type Then = Box<dyn FnOnce(Fetched) + Send>;

enum Job {
    Fetch { wants: Vec<Want>, listener: Listener, then: Then },
    Decoded { key: Key, stamp: Stamp, sound: Result<Sound, SoundError> },
}

/// See the module's text. Its threads end with it, once all that was asked for is answered.
#[derive(Debug)]
pub struct SoundStore {
    jobs: Sender<Job>,
    stats: Arc<Mutex<StoreStats>>,
}

impl SoundStore {
    /// Starts the thread.
    ///
    /// # Errors
    /// The system refuses a thread.
    pub fn start(limits: Limits) -> io::Result<SoundStore> {
        let (jobs, queue) = crossbeam_channel::unbounded();
        let (told, decoded) = crossbeam_channel::unbounded();
        let stats = Arc::new(Mutex::new(StoreStats::default()));
        let desk = Desk {
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

    /// Fetches all parts for a listener, and hands them to `then` on a thread of the store's: soon
    /// if all of them are kept, at once if none is a file.
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

    /// What it has done, and holds.
    pub fn stats(&self) -> StoreStats {
        *self.stats.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Somebody who waits.
struct Asked {
    wants: Vec<(Want, Option<Sound>)>,
    opus: Option<OpusMode>,
    then: Then,
}

struct Desk {
    limits: Limits,
    shelf: Shelf,
    told: Sender<Job>,
    /// Decoders at work, and what waits for one.
    running: usize,
    waiting: VecDeque<(Key, Stamp)>,
    /// What is or will be decoded, and who waits for it.
    decoding: HashMap<Key, Vec<u64>>,
    /// Who encodes, once there is something.
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
                    // Nobody can ask any more; what was asked is answered.
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
        let mut asked = Asked { wants: Vec::new(), opus, then };
        for want in wants {
            let sound = match &want {
                Want::File(path) => {
                    let stamp = match Stamp::of(path) {
                        Ok(stamp) => stamp,
                        Err(error) => return (asked.then)(Err(error)),
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
            asked.wants.push((want, sound));
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

    /// Somebody more hears this sound, in this mode of Opus: it is encoded for all who do.
    fn encode(&mut self, sound: &Sound, opus: Option<OpusMode>) {
        let Some(mode) = opus.filter(|mode| sound.lacks(mode)) else { return };
        let encoder = self.encoder.get_or_insert_with(|| {
            let (jobs, queue) = crossbeam_channel::unbounded::<(Sound, OpusMode)>();
            let run = move || queue.iter().for_each(|(sound, mode)| sound.encode(mode));
            if let Err(error) = std::thread::Builder::new().name("sound-encode".into()).spawn(run) {
                // Each who hears it has an encoder of its own, as for what is heard once.
                tracing::warn!("cannot start the thread that encodes prompts: {error}");
            }
            jobs
        });
        let _ = encoder.send((sound.clone(), mode));
    }

    /// Starts decoders for what waits.
    fn decode(&mut self) {
        while self.running < self.limits.decoders.max(1)
            && let Some((key, stamp)) = self.waiting.pop_front()
        {
            let (told, longest) = (self.told.clone(), self.limits.longest);
            let (name, (path, rate_hz)) = (key.clone(), key);
            let run = move || {
                // A codec that panics spoils no more than this file.
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
                for asked in waits.into_iter().filter_map(|id| self.asked.remove(&id)).collect::<Vec<_>>() {
                    (asked.then)(Err(error.clone()));
                }
            }
        }
        self.decode();
    }
}

impl Asked {
    fn take(&mut self, path: &Arc<Path>, sound: &Sound) {
        for (want, place) in &mut self.wants {
            if matches!(want, Want::File(wanted) if wanted == path) {
                *place = Some(sound.clone());
            }
        }
    }

    fn is_complete(&self) -> bool {
        self.wants.iter().all(|(want, sound)| sound.is_some() || matches!(want, Want::Made(_)))
    }

    fn answer(self) {
        let segment = |(want, sound): (Want, Option<Sound>)| match (want, sound) {
            (_, Some(sound)) => Some(Segment::Sound(sound)),
            (Want::Made(segment), None) => Some(segment),
            _ => None,
        };
        (self.then)(Ok(self.wants.into_iter().filter_map(segment).collect()));
    }
}

/// A folder's files in its place.
fn unfold(wants: Vec<Want>) -> Result<Vec<Want>, SoundError> {
    let mut all = Vec::with_capacity(wants.len());
    for want in wants {
        match want {
            Want::Folder(folder) => {
                let named = |reason: String| SoundError(format!("{} ({reason})", folder.display()));
                let entries = std::fs::read_dir(&folder).map_err(|error| named(error.to_string()))?;
                let mut files: Vec<_> = entries
                    .filter_map(|entry| Some(entry.ok()?.path()))
                    .filter(|path| is_sound(path))
                    .collect();
                if files.is_empty() {
                    return Err(named("no WAV, MP3, FLAC or Ogg file is in it".into()));
                }
                files.sort();
                all.extend(files.into_iter().map(|path| Want::File(path.into())));
            }
            want => all.push(want),
        }
    }
    Ok(all)
}

fn is_sound(path: &Path) -> bool {
    let known = |end: &std::ffi::OsStr| {
        ["wav", "mp3", "flac", "ogg", "oga"].iter().any(|known| end.eq_ignore_ascii_case(known))
    };
    path.extension().is_some_and(known)
}
