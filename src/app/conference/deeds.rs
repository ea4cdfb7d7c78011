//! The actions in a room, carried out in sequence: by the application of the caller who caused them, or by a
//! separate one if that caller may be gone before they are done.

use std::collections::VecDeque;
use std::time::Instant;

use tokio::sync::oneshot;

use super::{Conference, Deed, Left, Word, lock};
use b2b_call::LegId;
use b2b_call::application::{AppAnswer, AppEvent, Application, WantId, Wants};
use b2b_call::controller::{ConferenceId, ConferenceSpec, Prompt, RecordingId, RecordingSpec};
use b2b_call::handler::HandlerAction;
use b2b_call::service::{CallError, MediaVerbs};

/// Carries out deeds in order. A failure for one member does not affect the others: a member who has left
/// meanwhile is handled by the end of their own leg.
pub(super) struct Deeds {
    room: Conference,
    todo: VecDeque<Deed>,
    at: Option<(Doing, WantId)>,
}

/// The action in progress.
#[derive(Debug, Clone, Copy)]
enum Doing {
    /// An action without a follow-up.
    Plain,
    /// The conference is being created, for this deed.
    Making(Deed),
    /// A recording of this conference is starting, or goes on.
    Recording(ConferenceId, bool),
    /// A recording is being stopped.
    Ending,
}

impl Deeds {
    pub fn new(room: &Conference) -> Self {
        Deeds { room: room.clone(), todo: VecDeque::new(), at: None }
    }

    /// Appends deeds.
    pub fn add(&mut self, deeds: impl IntoIterator<Item = Deed>, wants: &mut Wants) {
        self.todo.extend(deeds);
        self.go_on(wants);
    }

    /// Whether all deeds are done.
    pub fn are_done(&self) -> bool {
        self.at.is_none() && self.todo.is_empty()
    }

    /// Whether a deed is in progress.
    pub fn is_one_under_way(&self) -> bool {
        self.at.is_some()
    }

    /// Takes the deeds that are not started, for others to carry out.
    pub fn rest(&mut self) -> VecDeque<Deed> {
        std::mem::take(&mut self.todo)
    }

    /// Whether the deed in progress waits for this answer.
    pub fn wait_for(&self, want: WantId) -> bool {
        self.at.is_some_and(|(_, waits)| waits == want)
    }

    /// Processes that answer.
    pub fn answered(&mut self, answer: AppAnswer, wants: &mut Wants) {
        if let Some((doing, _)) = self.at.take()
            && let Err(error) = self.came(doing, answer, wants)
        {
            tracing::warn!("{}: {doing:?}: {error}", self.room.name);
        }
        self.go_on(wants);
    }

    fn go_on(&mut self, wants: &mut Wants) {
        while self.at.is_none() {
            let Some(deed) = self.todo.pop_front() else { return };
            self.does(deed, wants);
        }
    }

    /// Others keep what concerns them for the process after this one: a step has them written anew.
    fn told(&self, deed: Deed, wants: &mut Wants) {
        let whom = match deed {
            Deed::Mix(leg, _) | Deed::Admit(leg) | Deed::SendAway(leg) => Some(leg),
            Deed::Record(_) | Deed::Say(Word::RoomLocked | Word::RoomUnlocked) => None,
            Deed::Wait(_) | Deed::Tell(..) | Deed::Say(_) | Deed::Leave(_) => return,
        };
        let me = wants.me();
        let live = lock(&self.room.live);
        let others = live.apps.iter().filter(|(leg, app)| whom.is_none_or(|it| it == **leg) && **app != me);
        others.for_each(|(_, app)| wants.tell(*app, Changed));
    }

    fn does(&mut self, deed: Deed, wants: &mut Wants) {
        self.told(deed, wants);
        let config = self.room.config.clone();
        let id = lock(&self.room.live).id;
        let waits = match (deed, id) {
            (Deed::Mix(leg, member), Some(id)) => wants.join_conference(id, leg, member),
            (Deed::Record(true), Some(id)) => return self.record(id, wants),
            (Deed::Mix(..) | Deed::Record(true), None) => {
                if deed == Deed::Record(true) && config.recordings.is_none() {
                    return lock(&self.room.live).room.records(false);
                }
                let spec = ConferenceSpec { rate_hz: config.rate_hz, most: config.most };
                self.at = Some((Doing::Making(deed), wants.create_conference(&spec)));
                return;
            }
            (Deed::Wait(leg), _) => match &config.music {
                Some(music) => wants.start_moh(leg, music),
                None => return,
            },
            (Deed::Admit(leg), _) => wants.stop_moh(leg),
            (Deed::Tell(leg, word), _) => {
                // The answer is not awaited.
                wants.play(leg, &config.words.prompt(word));
                return;
            }
            (Deed::SendAway(leg), _) => {
                let prompt = config.words.prompt(Word::Goodbye);
                return wants.attend(Box::new(SendsAway { leg, prompt }));
            }
            (Deed::Say(word), Some(id)) => return self.says(id, word, wants),
            (Deed::Record(false), _) => {
                let mut live = lock(&self.room.live);
                live.room.file_ends();
                if let Some(running) = live.recording.take() {
                    drop(live);
                    self.at = Some((Doing::Ending, wants.stop_recording(running)));
                }
                return;
            }
            (Deed::Say(_) | Deed::Leave(_), _) => return,
        };
        self.at = Some((Doing::Plain, waits));
    }

    /// The answer is not awaited.
    fn says(&self, id: ConferenceId, word: Word, wants: &mut Wants) {
        if self.room.config.announced || !matches!(word, Word::Joined | Word::Gone) {
            wants.announce(id, &self.room.config.words.prompt(word));
        }
    }

    fn came(&mut self, doing: Doing, answer: AppAnswer, wants: &mut Wants) -> Result<(), CallError> {
        match doing {
            Doing::Plain => answer.done(),
            Doing::Making(deed) => {
                let made = match answer.conference() {
                    Ok(made) => made,
                    Err(error) => {
                        if let Deed::Record(_) = deed {
                            lock(&self.room.live).room.records(false);
                        }
                        return Err(error);
                    }
                };
                // Another caller may have created one meanwhile.
                let id = *lock(&self.room.live).id.get_or_insert(made);
                if id != made {
                    wants.end_conference(made);
                }
                self.todo.push_front(deed);
                Ok(())
            }
            Doing::Recording(id, goes_on) => self.recorded(id, goes_on, answer.recording(), wants),
            Doing::Ending => {
                answer.done()?;
                self.todo.push_front(Deed::Say(Word::RecordingEnds));
                Ok(())
            }
        }
    }

    fn record(&mut self, id: ConferenceId, wants: &mut Wants) {
        let config = &self.room.config;
        let mut live = lock(&self.room.live);
        let Some(folder) = &config.recordings else { return live.room.records(false) };
        let prefix = &self.room.prefix;
        let named = |nth| folder.join(format!("{prefix}-{}-{nth}.wav", config.name));
        let (file, append) = live.room.file(named);
        drop(live);
        let rate_hz = config.rate_hz;
        let spec = RecordingSpec { stereo: false, rate_hz, append, ..RecordingSpec::new(file) };
        self.at = Some((Doing::Recording(id, append), wants.record_conference(id, &spec)));
    }

    fn recorded(
        &mut self,
        id: ConferenceId,
        goes_on: bool,
        started: Result<RecordingId, CallError>,
        wants: &mut Wants,
    ) -> Result<(), CallError> {
        let mut live = lock(&self.room.live);
        let started = match started {
            Ok(started) => started,
            Err(error) => {
                live.room.records(false);
                live.room.file_ends();
                return Err(error);
            }
        };
        // The last member may have left meanwhile, or another recording may be running.
        let over = if live.id == Some(id) { live.recording.replace(started) } else { Some(started) };
        drop(live);
        if let Some(over) = over {
            wants.stop_recording(over);
        }
        // Who was told is not told again.
        if !goes_on {
            self.todo.push_front(Deed::Say(Word::Recording));
        }
        Ok(())
    }
}

/// A message to a member of whom something has changed.
struct Changed;

/// Plays a goodbye to one member, independently of the others, and hangs up.
struct SendsAway {
    leg: LegId,
    prompt: Prompt,
}

impl Application for SendsAway {
    fn step(&mut self, _: Instant, event: AppEvent, wants: &mut Wants) {
        match event {
            AppEvent::Begin => {
                wants.play(self.leg, &self.prompt);
            }
            _ => {
                wants.hangup(self.leg);
                wants.end(HandlerAction::Complete);
            }
        }
    }
}

/// Carries out deeds whose caller is gone, and ends the media of an empty room.
pub(super) struct ByItself {
    deeds: Deeds,
    left: VecDeque<Deed>,
    over: Option<(Option<ConferenceId>, Option<RecordingId>)>,
    /// Waits for the end of the recording.
    waits: Option<WantId>,
    /// Notified when all is done.
    done: Option<oneshot::Sender<()>>,
}

impl ByItself {
    /// Carries out a program's command; `done` is notified at the end.
    pub fn ordered(room: &Conference, deeds: Vec<Deed>, done: oneshot::Sender<()>) -> Self {
        let (deeds, left) = (Deeds::new(room), deeds.into());
        ByItself { deeds, left, over: None, waits: None, done: Some(done) }
    }

    /// A member has left; `rest` is what their application had not carried out.
    fn parted(room: &Conference, rest: VecDeque<Deed>, left: Left) -> Self {
        let over = left.last.then(|| {
            let mut live = lock(&room.live);
            (live.id.take(), live.recording.take())
        });
        let left = rest.into_iter().chain(left.deeds).collect();
        ByItself { deeds: Deeds::new(room), left, over, waits: None, done: None }
    }

    fn goes_on(&mut self, wants: &mut Wants) {
        if !self.deeds.are_done() {
            return;
        }
        let Some((id, recording)) = &mut self.over else { return self.ends(wants) };
        if let Some(recording) = recording.take() {
            self.waits = Some(wants.stop_recording(recording));
            return;
        }
        if let Some(id) = id.take() {
            wants.end_conference(id);
        }
        self.ends(wants);
    }

    fn ends(&mut self, wants: &mut Wants) {
        if let Some(done) = self.done.take() {
            // The receiver may be gone.
            let _ = done.send(());
        }
        wants.end(HandlerAction::Complete);
    }
}

impl Application for ByItself {
    fn step(&mut self, _: Instant, event: AppEvent, wants: &mut Wants) {
        match event {
            AppEvent::Begin => {
                let left = std::mem::take(&mut self.left);
                self.deeds.add(left, wants);
                self.goes_on(wants);
            }
            AppEvent::Answered { want, answer } if self.deeds.wait_for(want) => {
                self.deeds.answered(answer, wants);
                self.goes_on(wants);
            }
            AppEvent::Answered { want, .. } if Some(want) == self.waits => self.goes_on(wants),
            AppEvent::Resumed
            | AppEvent::Answered { .. }
            | AppEvent::Timer(_)
            | AppEvent::Told(_)
            | AppEvent::Lost(_)
            | AppEvent::Gone
            | AppEvent::Over => {}
        }
    }
}

/// Removes a member, for whatever reason, and starts the remaining actions for the others. Returns whether it
/// was the last member.
pub(super) fn parts(room: &Conference, leg: LegId, deeds: &mut Deeds, wants: &mut Wants) -> bool {
    let mut live = lock(&room.live);
    let left = live.room.leave(leg, room.config.needs_moderator);
    live.apps.remove(&leg);
    let id = live.id;
    drop(live);
    if let Some(id) = id.filter(|_| !left.last) {
        wants.leave_conference(id, leg);
    }
    wants.stop_moh(leg);
    let is_last = left.last;
    wants.attend(Box::new(ByItself::parted(room, deeds.rest(), left)));
    is_last
}
