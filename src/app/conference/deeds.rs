//! What is to be done in a room, one deed after the other: by the caller who made it happen, or by itself where they
//! may go before it is done.

use std::collections::VecDeque;
use std::time::Instant;

use tokio::sync::oneshot;

use super::{Conference, Deed, Left, Word, lock};
use b2b_call::LegId;
use b2b_call::application::{AppAnswer, AppEvent, Application, WantId, Wants};
use b2b_call::controller::{ConferenceId, ConferenceSpec, Prompt, RecordingId, RecordingSpec};
use b2b_call::handler::HandlerAction;
use b2b_call::service::CallError;

/// Deeds that are carried out in their order. What cannot be done for one member is done for the others: who has
/// gone meanwhile is told of by their own end.
pub(super) struct Deeds {
    room: Conference,
    todo: VecDeque<Deed>,
    at: Option<(Doing, WantId)>,
}

/// What is waited for before the next one.
#[derive(Debug, Clone, Copy)]
enum Doing {
    /// One that needs nothing else.
    Plain,
    /// The room's media are made, for this.
    Making(Deed),
    /// A recording of this room begins.
    Recording(ConferenceId),
    /// A recording ends.
    Ending,
}

impl Deeds {
    pub fn new(room: &Conference) -> Self {
        Deeds { room: room.clone(), todo: VecDeque::new(), at: None }
    }

    /// More of them, behind those that are there.
    pub fn add(&mut self, deeds: impl IntoIterator<Item = Deed>, wants: &mut Wants) {
        self.todo.extend(deeds);
        self.go_on(wants);
    }

    /// All are done.
    pub fn are_done(&self) -> bool {
        self.at.is_none() && self.todo.is_empty()
    }

    /// One is under way.
    pub fn is_one_under_way(&self) -> bool {
        self.at.is_some()
    }

    /// Those that are not begun: others carry them out.
    pub fn rest(&mut self) -> VecDeque<Deed> {
        std::mem::take(&mut self.todo)
    }

    /// Whether this is what they wait for.
    pub fn wait_for(&self, want: WantId) -> bool {
        self.at.is_some_and(|(_, waits)| waits == want)
    }

    /// The answer to that.
    pub fn answered(&mut self, answer: AppAnswer, wants: &mut Wants) {
        if let Some((doing, _)) = self.at.take()
            && let Err(error) = self.came(doing, answer, wants)
        {
            tracing::debug!("{}: {doing:?}: {error}", self.room.name);
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
                // Nobody waits for it.
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

    /// Nobody waits for it.
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
                // Another caller may have made one meanwhile.
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
        // The last one may have gone meanwhile, or a recording have been there already.
        let over = if live.id == Some(id) { live.recording.replace(started) } else { Some(started) };
        drop(live);
        if let Some(over) = over {
            wants.stop_recording(over);
        }
        self.todo.push_front(Deed::Say(Word::Recording));
        Ok(())
    }
}

/// Plays a goodbye to one member while the others go on, and hangs up.
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

/// Carries deeds out that are nobody's any more, and ends the room's media where nobody is left.
pub(super) struct ByItself {
    deeds: Deeds,
    left: VecDeque<Deed>,
    over: Option<(Option<ConferenceId>, Option<RecordingId>)>,
    /// The recording's end.
    waits: Option<WantId>,
    /// Who wants to know when it is done.
    done: Option<oneshot::Sender<()>>,
}

impl ByItself {
    /// What a program wants; `done` is told when it is done.
    pub fn ordered(room: &Conference, deeds: Vec<Deed>, done: oneshot::Sender<()>) -> Self {
        let (deeds, left) = (Deeds::new(room), deeds.into());
        ByItself { deeds, left, over: None, waits: None, done: Some(done) }
    }

    /// A member has gone; `rest` is what it had not carried out.
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
            // Who does not wait any more has lost interest.
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
            AppEvent::Answered { .. }
            | AppEvent::Timer(_)
            | AppEvent::Told(_)
            | AppEvent::Lost(_)
            | AppEvent::Gone
            | AppEvent::Over => {}
        }
    }
}

/// A member has gone, however: what is left to do for the others is done. Whether it was the last one.
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
