//! The media operations of applications in virtual time: there is no audio, but
//! everything takes as long as with real media.
//!
//! A file lasts one second, or as long as the test sets. Digits are those that the test presses.

mod rooms;

use std::collections::{BTreeMap, HashMap, HashSet};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use tokio::sync::oneshot;

use crate::controller::{
    CollectEnd, Collected, ConferenceId, DigitPlan, EndpointId, MediaError, MediaEvent, MediaFuture, Music,
    MusicClass, Part, Played, Prompt, RecordingId,
};

use rooms::Recording;
pub use rooms::{FakeRecording, FakeRoom};

/// The reply channel of a verb.
type Waits<T> = oneshot::Sender<Result<T, MediaError>>;

/// Something that was played.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Heard {
    /// When it began, in virtual time.
    pub at: Instant,
    /// Its audience.
    pub by: Hears,
    /// What was played.
    pub prompt: Prompt,
}

/// An audience.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Hears {
    /// A party, by its endpoint.
    Party(EndpointId),
    /// All members of a room.
    Room(ConferenceId),
}

impl Heard {
    /// Names of files, and `tone 440` or `silence`, separated by spaces.
    pub fn words(&self) -> String {
        let word = |part: &Part| match part {
            Part::File(path) => path.file_name().unwrap_or(path.as_os_str()).to_string_lossy().into_owned(),
            Part::Tone { hz, .. } => format!("tone {}", hz[0]),
            Part::Silence(_) => "silence".to_owned(),
        };
        self.prompt.parts.iter().map(word).collect::<Vec<_>>().join(" ")
    }
}

/// A prompt in progress.
#[derive(Debug)]
struct Playing {
    /// `None`: until it is stopped.
    ends: Option<Instant>,
    /// `None`: it is part of a collection.
    waits: Option<Waits<Played>>,
}

#[derive(Debug)]
struct Collecting {
    plan: DigitPlan,
    digits: String,
    /// Digits pressed during a prompt that they do not end.
    kept: String,
    /// Start of the timeouts; `None` while a prompt plays.
    counts_from: Option<Instant>,
    last: Option<Instant>,
    waits: Waits<Collected>,
}

impl Collecting {
    fn ends(&self) -> Option<Instant> {
        let from = self.counts_from?;
        let next = match self.last {
            Some(last) => last + self.plan.between,
            None => from + self.plan.first,
        };
        Some(next.min(from + self.plan.total))
    }

    fn why(&self, now: Instant) -> CollectEnd {
        match self.last {
            None => CollectEnd::NoInput,
            Some(last) if last + self.plan.between <= now => CollectEnd::BetweenDigits,
            Some(_) => CollectEnd::TotalTime,
        }
    }

    /// Adds a digit; returns the end of the collection if it is the last one.
    fn press(&mut self, now: Instant, digit: char) -> Option<CollectEnd> {
        if self.plan.terminators.contains(digit) {
            return Some(CollectEnd::Terminator(digit));
        }
        self.digits.push(digit);
        self.last = Some(now);
        (self.digits.len() >= self.plan.max).then_some(CollectEnd::Full)
    }

    fn over(self, end: CollectEnd) {
        // An error means that the receiver no longer waits.
        let _ = self.waits.send(Ok(Collected { digits: self.digits, end }));
    }
}

/// The whole state.
#[derive(Debug)]
pub(super) struct Stage {
    now: Instant,
    last: u64,
    playing: BTreeMap<EndpointId, Playing>,
    announcing: BTreeMap<ConferenceId, Playing>,
    collecting: BTreeMap<EndpointId, Collecting>,
    /// Digits not collected yet.
    typed: HashMap<EndpointId, String>,
    heard: Vec<Heard>,
    lengths: HashMap<PathBuf, Duration>,
    missing: HashSet<PathBuf>,
    music: BTreeMap<EndpointId, String>,
    echoes: HashSet<EndpointId>,
    recordings: BTreeMap<RecordingId, Recording>,
    rooms: BTreeMap<ConferenceId, FakeRoom>,
    events: Vec<MediaEvent>,
}

fn answer<T: Send + Unpin + 'static>(waits: oneshot::Receiver<Result<T, MediaError>>) -> MediaFuture<T> {
    MediaFuture::pending(async move { waits.await.unwrap_or(Err(MediaError::Stopped)) })
}

impl Stage {
    pub fn new(now: Instant) -> Self {
        Stage {
            now,
            last: 0,
            playing: BTreeMap::new(),
            announcing: BTreeMap::new(),
            collecting: BTreeMap::new(),
            typed: HashMap::new(),
            heard: Vec::new(),
            lengths: HashMap::new(),
            missing: HashSet::new(),
            music: BTreeMap::new(),
            echoes: HashSet::new(),
            recordings: BTreeMap::new(),
            rooms: BTreeMap::new(),
            events: Vec::new(),
        }
    }

    /// Its process ends: what was played, collected or mixed goes with it, and recordings end where they are.
    pub fn dies(&mut self) {
        let running = self.recordings().into_iter().filter(|(_, it)| it.running);
        running.for_each(|(id, _)| drop(self.end_recording(id, None)));
        let (now, last, recordings) = (self.now, self.last, std::mem::take(&mut self.recordings));
        let (heard, lengths) = (std::mem::take(&mut self.heard), std::mem::take(&mut self.lengths));
        let missing = std::mem::take(&mut self.missing);
        *self = Stage { last, recordings, heard, lengths, missing, ..Stage::new(now) };
    }

    // ---- what the test sees and does

    pub fn take_heard(&mut self) -> Vec<Heard> {
        std::mem::take(&mut self.heard)
    }

    pub fn take_events(&mut self) -> Vec<MediaEvent> {
        std::mem::take(&mut self.events)
    }

    pub fn set_length(&mut self, path: &Path, lasts: Duration) {
        self.lengths.insert(path.to_owned(), lasts);
    }

    pub fn lose(&mut self, path: &Path) {
        self.missing.insert(path.to_owned());
    }

    pub fn music(&self) -> Vec<(EndpointId, String)> {
        self.music.iter().map(|(endpoint, class)| (*endpoint, class.clone())).collect()
    }

    pub fn is_playing(&self, endpoint: EndpointId) -> bool {
        self.playing.contains_key(&endpoint)
    }

    pub fn is_collecting(&self, endpoint: EndpointId) -> bool {
        self.collecting.contains_key(&endpoint)
    }

    pub fn recordings(&self) -> Vec<(RecordingId, FakeRecording)> {
        let shown = |(id, it): (&RecordingId, &Recording)| {
            let mut shown = it.shown.clone();
            shown.lasts += self.recorded_since(it);
            (*id, shown)
        };
        self.recordings.iter().map(shown).collect()
    }

    pub fn rooms(&self) -> Vec<(ConferenceId, FakeRoom)> {
        self.rooms.iter().map(|(id, room)| (*id, room.clone())).collect()
    }

    pub fn speaking(&mut self, conference: ConferenceId, endpoint: EndpointId, on: bool) {
        self.events.push(MediaEvent::Speaking { conference, endpoint, on });
    }

    /// Number of operations in progress.
    pub fn busy(&self) -> usize {
        self.playing.len()
            + self.announcing.len()
            + self.collecting.len()
            + self.music.len()
            + self.rooms.len()
            + self.recordings.values().filter(|it| it.shown.running).count()
    }

    // ---- time

    pub fn now(&self) -> Instant {
        self.now
    }

    pub fn next(&self) -> Option<Instant> {
        let prompts = self.playing.values().chain(self.announcing.values()).filter_map(|it| it.ends);
        let digits = self.collecting.values().filter_map(Collecting::ends);
        let recordings = self.recordings.values().filter(|it| it.shown.running).filter_map(|it| it.ends);
        prompts.chain(digits).chain(recordings).min()
    }

    pub fn advance(&mut self, now: Instant) {
        self.now = now;
        let due = |ends: Option<Instant>| ends.is_some_and(|at| at <= now);
        let over: Vec<_> = self.playing.iter().filter(|(_, it)| due(it.ends)).map(|(id, _)| *id).collect();
        for endpoint in over {
            self.prompt_over(endpoint, Played::Complete);
        }
        let over: Vec<_> = self.announcing.iter().filter(|(_, it)| due(it.ends)).map(|(id, _)| *id).collect();
        for room in over {
            finish(self.announcing.remove(&room), Played::Complete);
        }
        let over: Vec<_> =
            self.collecting.iter().filter(|(_, it)| due(it.ends())).map(|(id, _)| *id).collect();
        for endpoint in over {
            if let Some(it) = self.collecting.remove(&endpoint) {
                let why = it.why(now);
                it.over(why);
            }
        }
        let recordings = self.recordings.iter();
        let over: Vec<_> =
            recordings.filter(|(_, it)| it.shown.running && due(it.ends)).map(|(id, _)| *id).collect();
        for recording in over {
            self.end_recording(recording, None);
        }
    }

    // ---- prompts

    /// Its length; `None`: until it is stopped.
    fn length(&self, prompt: &Prompt) -> Result<Option<Duration>, MediaError> {
        let mut once = Duration::ZERO;
        for part in &prompt.parts {
            once += match part {
                Part::File(path) if self.missing.contains(&**path) => {
                    return Err(MediaError::Prompt(format!("{}: no such file", path.display())));
                }
                Part::File(path) => self.lengths.get(&**path).copied().unwrap_or(Duration::from_secs(1)),
                Part::Tone { lasts, .. } | Part::Silence(lasts) => *lasts,
            };
        }
        Ok((prompt.times != 0).then(|| once * prompt.times))
    }

    fn begin(&mut self, by: Hears, prompt: &Prompt) -> Result<Option<Instant>, MediaError> {
        let lasts = self.length(prompt)?;
        self.heard.push(Heard { at: self.now, by, prompt: prompt.clone() });
        Ok(lasts.map(|lasts| self.now + lasts))
    }

    pub fn play(&mut self, endpoint: EndpointId, prompt: &Prompt) -> MediaFuture<Played> {
        let ends = match self.begin(Hears::Party(endpoint), prompt) {
            Ok(ends) => ends,
            Err(error) => return MediaFuture::ready(Err(error)),
        };
        self.prompt_over(endpoint, Played::Stopped);
        let (waits, played) = oneshot::channel();
        self.playing.insert(endpoint, Playing { ends, waits: Some(waits) });
        answer(played)
    }

    pub fn stop_prompt(&mut self, endpoint: EndpointId) {
        self.prompt_over(endpoint, Played::Stopped);
    }

    fn prompt_over(&mut self, endpoint: EndpointId, how: Played) {
        let Some(playing) = self.playing.remove(&endpoint) else { return };
        let collects = playing.waits.is_none();
        finish(Some(playing), how);
        if !collects {
            return;
        }
        let Some(it) = self.collecting.get_mut(&endpoint) else { return };
        it.counts_from = Some(self.now);
        for digit in std::mem::take(&mut it.kept).chars() {
            if let Some(end) = it.press(self.now, digit) {
                return self.collected(endpoint, end);
            }
        }
    }

    // ---- digits

    pub fn collect(
        &mut self,
        endpoint: EndpointId,
        prompt: Option<&Prompt>,
        plan: &DigitPlan,
    ) -> MediaFuture<Collected> {
        let ends = match prompt.map(|prompt| self.begin(Hears::Party(endpoint), prompt)).transpose() {
            Ok(ends) => ends,
            Err(error) => return MediaFuture::ready(Err(error)),
        };
        self.collected(endpoint, CollectEnd::Stopped);
        let typed = self.typed.remove(&endpoint).unwrap_or_default();
        if let Some(ends) = ends {
            self.prompt_over(endpoint, Played::Stopped);
            self.playing.insert(endpoint, Playing { ends, waits: None });
        }
        let (waits, collected) = oneshot::channel();
        let counts_from = ends.is_none().then_some(self.now);
        let it = Collecting {
            plan: plan.clone(),
            digits: String::new(),
            kept: String::new(),
            counts_from,
            last: None,
            waits,
        };
        self.collecting.insert(endpoint, it);
        if plan.type_ahead {
            typed.chars().for_each(|digit| self.press(endpoint, digit));
        }
        answer(collected)
    }

    pub fn stop_collecting(&mut self, endpoint: EndpointId) {
        self.collected(endpoint, CollectEnd::Stopped);
    }

    fn collected(&mut self, endpoint: EndpointId, end: CollectEnd) {
        let Some(it) = self.collecting.remove(&endpoint) else { return };
        if self.playing.get(&endpoint).is_some_and(|playing| playing.waits.is_none()) {
            self.playing.remove(&endpoint);
        }
        it.over(end);
    }

    pub fn press(&mut self, endpoint: EndpointId, digit: char) {
        let Some(it) = self.collecting.get_mut(&endpoint) else {
            return self.typed.entry(endpoint).or_default().push(digit);
        };
        if self.playing.contains_key(&endpoint) {
            if !it.plan.barge_in {
                return it.kept.push(digit);
            }
            it.counts_from.get_or_insert(self.now);
            self.prompt_over(endpoint, Played::Stopped);
        }
        let it = self.collecting.get_mut(&endpoint);
        if let Some(end) = it.and_then(|it| it.press(self.now, digit)) {
            self.collected(endpoint, end);
        }
    }

    // ---- music

    pub fn start_moh(&mut self, endpoint: EndpointId, class: Music) {
        let (Music::Named(name) | Music::Class(MusicClass { name, .. })) = class;
        self.music.insert(endpoint, name);
    }

    pub fn stop_moh(&mut self, endpoint: EndpointId) {
        self.music.remove(&endpoint);
    }

    pub fn echo(&mut self, endpoint: EndpointId, on: bool) {
        if on {
            self.echoes.insert(endpoint);
        } else {
            self.echoes.remove(&endpoint);
        }
    }

    pub fn hears_itself(&self, endpoint: EndpointId) -> bool {
        self.echoes.contains(&endpoint)
    }

    // ---- the end of an endpoint

    pub fn release(&mut self, endpoint: EndpointId) {
        self.collected(endpoint, CollectEnd::Stopped);
        self.prompt_over(endpoint, Played::Stopped);
        self.typed.remove(&endpoint);
        self.music.remove(&endpoint);
        self.echoes.remove(&endpoint);
        for room in self.rooms.values_mut() {
            room.members.remove(&endpoint);
        }
        self.end_recordings_of(Hears::Party(endpoint));
    }
}

fn finish(playing: Option<Playing>, how: Played) {
    if let Some(waits) = playing.and_then(|it| it.waits) {
        // An error means that the receiver no longer waits.
        let _ = waits.send(Ok(how));
    }
}
