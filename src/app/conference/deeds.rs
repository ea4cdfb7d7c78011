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
    /// A recording of this conference is starting.
    Recording(ConferenceId),
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

    fn does(&mut self, deed: Deed, wants: &mut Wants) {
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
                let running = lock(&self.room.live).recording.take();
                if let Some(running) = running {
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
            Doing::Recording(id) => self.recorded(id, answer.recording(), wants),
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
        live.recorded += 1;
        let file = format!("{}-{}-{}.wav", self.room.prefix, config.name, live.recorded);
        drop(live);
        let rate_hz = config.rate_hz;
        let spec = RecordingSpec { stereo: false, rate_hz, ..RecordingSpec::new(folder.join(file)) };
        self.at = Some((Doing::Recording(id), wants.record_conference(id, &spec)));
    }

    fn recorded(
        &mut self,
        id: ConferenceId,
        started: Result<RecordingId, CallError>,
        wants: &mut Wants,
    ) -> Result<(), CallError> {
        let mut live = lock(&self.room.live);
        let started = match started {
            Ok(started) => started,
            Err(error) => {
                live.room.records(false);
                return Err(error);
            }
        };
        // The last member may have left meanwhile, or another recording may be running.
        let over = if live.id == Some(id) { live.recording.replace(started) } else { Some(started) };
        drop(live);
        if let Some(over) = over {
            wants.stop_recording(over);
        }
        self.todo.push_front(Deed::Say(Word::Recording));
        Ok(())
    }
}

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
    let left = lock(&room.live).room.leave(leg, room.config.needs_moderator);
    if let Some(id) = lock(&room.live).id.filter(|_| !left.last) {
        wants.leave_conference(id, leg);
    }
    wants.stop_moh(leg);
    let is_last = left.last;
    wants.attend(Box::new(ByItself::parted(room, deeds.rest(), left)));
    is_last
}
