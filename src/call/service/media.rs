//! The media operations of programs: verbs that the calls' thread passes on to the media controller, with the
//! endpoint of the leg.

use std::pin::Pin;

use tokio::sync::oneshot;

use super::{CallError, CallService, Watched};
use crate::application::OTHER_KIND;
use crate::call_fsm::CallState;
use crate::controller::{
    Answer, AudioStream, Collected, ConferenceId, ConferenceSpec, DigitPlan, EndpointId, MediaError, Member,
    Music, Played, Prompt, Recorded, RecordingId, RecordingSpec, StreamSpec, Verb,
};
use crate::service::command::{Command, Record, RecordLeg};
use crate::{CallId, LegId};

/// Where a call is, for its state.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
pub enum Place {
    /// A menu, a prompt, a mailbox.
    Ivr,
    /// A queue, where callers wait for an agent.
    Queue,
    /// Under the control of a program outside.
    Program,
    /// A conference.
    Conference,
    /// A parking slot, until the call is retrieved.
    Parking,
    /// Back with its handler.
    Handler,
}

impl Place {
    /// The state of a call at this place; `None`: it depends on how the call began.
    pub(crate) fn state(self) -> Option<CallState> {
        match self {
            Place::Ivr => Some(CallState::InIvr),
            Place::Queue => Some(CallState::InQueue),
            Place::Program => Some(CallState::Commanded),
            Place::Conference => Some(CallState::InConference),
            Place::Parking => Some(CallState::Parking),
            Place::Handler => None,
        }
    }
}

impl From<MediaError> for CallError {
    fn from(error: MediaError) -> Self {
        match error {
            MediaError::NoSuchEndpoint(_) => CallError::Gone,
            MediaError::Stopped => CallError::Stopping,
            error => CallError::Media(error.to_string()),
        }
    }
}

/// A verb on its way to media. A receiver is closed if the service stops.
#[derive(Debug)]
pub struct MediaRequest {
    /// The call and the leg that it is for.
    pub found: oneshot::Receiver<Result<(CallId, LegId), CallError>>,
    /// The answer of media.
    pub answer: oneshot::Receiver<Result<Answer, CallError>>,
}

const OF_LEG: EndpointId = EndpointId::OF_LEG;

/// The verbs for media of applications, each as a method: a handler awaits what they return ([`CallService`]), and a
/// machine gets the answer as an event ([`Wants`](crate::application::Wants)). Dropping what they return does not end
/// what has begun.
///
/// A verb for a leg fails if the leg is not answered or has gone, and each if the media controller refuses.
pub trait MediaVerbs: Sized {
    /// What stands for an answer of this kind.
    type Asked<T: 'static>;

    /// Asks for a verb: with [`EndpointId::OF_LEG`], for the endpoint of the leg. The other methods are short for it.
    fn ask_media<T: 'static>(
        self,
        leg: Option<LegId>,
        verb: Verb,
        read: fn(Answer) -> Option<T>,
    ) -> Self::Asked<T>;

    /// Plays a prompt to a leg, in place of anything else it hears; answered at the end of the prompt.
    fn play(self, leg: LegId, prompt: &Prompt) -> Self::Asked<Played> {
        let verb = Verb::Play { endpoint: OF_LEG, prompt: prompt.clone() };
        self.ask_media(Some(leg), verb, Answer::played)
    }

    /// Ends the prompt of [`MediaVerbs::play`] or [`MediaVerbs::play_and_collect`].
    fn stop_playing(self, leg: LegId) -> Self::Asked<()> {
        self.ask_media(Some(leg), Verb::StopPrompt { endpoint: OF_LEG }, done)
    }

    /// Collects digits in any form.
    fn collect(self, leg: LegId, plan: &DigitPlan) -> Self::Asked<Collected> {
        let verb = Verb::Collect { endpoint: OF_LEG, prompt: None, plan: plan.clone() };
        self.ask_media(Some(leg), verb, Answer::collected)
    }

    /// Plays a prompt, and collects digits from its beginning.
    fn play_and_collect(self, leg: LegId, prompt: &Prompt, plan: &DigitPlan) -> Self::Asked<Collected> {
        let verb = Verb::Collect { endpoint: OF_LEG, prompt: Some(prompt.clone()), plan: plan.clone() };
        self.ask_media(Some(leg), verb, Answer::collected)
    }

    /// Ends the collection of [`MediaVerbs::collect`] or [`MediaVerbs::play_and_collect`].
    fn stop_collecting(self, leg: LegId) -> Self::Asked<()> {
        self.ask_media(Some(leg), Verb::StopCollecting { endpoint: OF_LEG }, done)
    }

    /// Sets whether DTMF tones in the party's audio count as digits; `None`: as configured.
    fn hear_tones(self, leg: LegId, on: Option<bool>) -> Self::Asked<()> {
        self.ask_media(Some(leg), Verb::HearTones { endpoint: OF_LEG, on }, done)
    }

    /// Records a leg until it is stopped or the leg ends; fails if the file cannot be created.
    fn start_recording(self, leg: LegId, spec: &RecordingSpec) -> Self::Asked<RecordingId> {
        let verb = Verb::Record { recording: None, endpoint: OF_LEG, spec: spec.clone() };
        self.ask_media(Some(leg), verb, Answer::recording)
    }

    /// Pauses a recording, or continues it.
    fn pause_recording(self, recording: RecordingId, paused: bool) -> Self::Asked<()> {
        self.ask_media(None, Verb::PauseRecording { recording, paused }, done)
    }

    /// Ends a recording; answered when its file is complete. Fails if there is no such recording, or its file could
    /// not be finished.
    fn stop_recording(self, recording: RecordingId) -> Self::Asked<Recorded> {
        self.ask_media(None, Verb::StopRecording { recording }, Answer::recorded)
    }

    /// Waits for the end of a recording for any reason: its limits, the leg's end, a full disk, a stop. Answered when
    /// its file is complete. Fails if the recording never existed, or its file could not be finished.
    fn wait_for_recording(self, recording: RecordingId) -> Self::Asked<Recorded> {
        self.ask_media(None, Verb::WaitForRecording { recording }, Answer::recorded)
    }

    /// Plays music of a class to a leg until it is stopped; fails if there is no such class.
    fn start_moh(self, leg: LegId, class: &str) -> Self::Asked<()> {
        let class = Music::Named(class.to_owned());
        self.ask_media(Some(leg), Verb::StartMoh { endpoint: OF_LEG, class }, done)
    }

    /// Ends the music.
    fn stop_moh(self, leg: LegId) -> Self::Asked<()> {
        self.ask_media(Some(leg), Verb::StopMoh { endpoint: OF_LEG }, done)
    }

    /// Sets whether a leg's party hears itself, until it is joined with another one.
    fn echo(self, leg: LegId, on: bool) -> Self::Asked<()> {
        self.ask_media(Some(leg), Verb::Echo { endpoint: OF_LEG, on }, done)
    }

    /// Creates a conference; fails if the controller does not support conferences.
    fn create_conference(self, spec: &ConferenceSpec) -> Self::Asked<ConferenceId> {
        let verb = Verb::CreateConference { conference: None, spec: *spec };
        self.ask_media(None, verb, Answer::conference)
    }

    /// Ends a conference; its members' legs stay.
    fn end_conference(self, conference: ConferenceId) -> Self::Asked<()> {
        self.ask_media(None, Verb::EndConference { conference }, done)
    }

    /// Adds a leg to a conference, or changes its settings there; fails if the conference is full or over.
    fn join_conference(self, conference: ConferenceId, leg: LegId, member: Member) -> Self::Asked<()> {
        self.ask_media(Some(leg), Verb::AddToConference { conference, endpoint: OF_LEG, member }, done)
    }

    /// Takes a leg out of a conference.
    fn leave_conference(self, conference: ConferenceId, leg: LegId) -> Self::Asked<()> {
        self.ask_media(Some(leg), Verb::RemoveFromConference { conference, endpoint: OF_LEG }, done)
    }

    /// Plays a prompt to all members of a conference; fails if the conference is over, or the prompt cannot be played.
    fn announce(self, conference: ConferenceId, prompt: &Prompt) -> Self::Asked<Played> {
        let verb = Verb::PlayToConference { conference, prompt: prompt.clone() };
        self.ask_media(None, verb, Answer::played)
    }

    /// Records a conference; fails if the conference is over, or the file cannot be created.
    fn record_conference(self, conference: ConferenceId, spec: &RecordingSpec) -> Self::Asked<RecordingId> {
        let verb = Verb::RecordConference { recording: None, conference, spec: spec.clone() };
        self.ask_media(None, verb, Answer::recording)
    }
}

fn done(_: Answer) -> Option<()> {
    Some(())
}

impl<'a> MediaVerbs for &'a CallService {
    type Asked<T: 'static> = Pin<Box<dyn Future<Output = Result<T, CallError>> + Send + 'a>>;

    fn ask_media<T: 'static>(
        self,
        leg: Option<LegId>,
        verb: Verb,
        read: fn(Answer) -> Option<T>,
    ) -> Self::Asked<T> {
        Box::pin(async move { read(self.media(leg, verb).await?).ok_or(OTHER_KIND) })
    }
}

impl CallService {
    /// Carries out a verb for media: with [`EndpointId::OF_LEG`], for the endpoint of an answered leg.
    /// [`MediaVerbs`] has a method for each. Dropping the future does not end what has begun.
    ///
    /// # Errors
    /// The leg is not answered or has gone, or the media controller refuses.
    pub async fn media(&self, leg: impl Into<Option<LegId>>, verb: Verb) -> Result<Answer, CallError> {
        let (of, verb, found) = (leg.into().map(Watched::Leg), Box::new(verb), None);
        self.command(|reply| Command::Media { of, verb, found, reply }).await
    }

    /// As [`CallService::media`], for a leg or the first leg of a call or bridge; sent at once.
    pub fn request_media(&self, of: impl Into<Watched>, verb: Verb) -> MediaRequest {
        let (tell, found) = oneshot::channel();
        let (of, verb, tell) = (Some(of.into()), Box::new(verb), Some(tell.into()));
        let answer = self.ask(|reply| Command::Media { of, verb, found: tell, reply });
        MediaRequest { found, answer }
    }

    /// Records a whole call, as its parties come and go: from now on, or from its first answer. Without a
    /// spec, as the switch is configured. The records of its legs name the file in the variable `recording`.
    ///
    /// # Errors
    /// The call is over or recorded already, or no folder is configured. A file that cannot be created is
    /// reported in the call's variable `recording_error`.
    pub async fn record_call(&self, call: CallId, spec: Option<RecordingSpec>) -> Result<(), CallError> {
        self.recording(call, Record::Begin(spec.map(Box::new))).await.map(drop)
    }

    /// Pauses the recording of a call, or continues it, which a secret delays ([`CallService::keep_secret`]).
    ///
    /// # Errors
    /// The call is over, or not recorded.
    pub async fn pause_call_recording(&self, call: CallId, paused: bool) -> Result<(), CallError> {
        self.recording(call, Record::Pause(paused)).await.map(drop)
    }

    /// Ends the recording of a call; returns when its file is complete. `None`: it had not begun.
    ///
    /// # Errors
    /// The call is over, or not recorded.
    pub async fn stop_call_recording(&self, call: CallId) -> Result<Option<Recorded>, CallError> {
        self.recording(call, Record::End).await
    }

    /// Records one leg, independently of its call, into the configured folder: what its party says, or with
    /// `both` that on the left and what it hears on the right. The recording ends with the leg.
    ///
    /// # Errors
    /// The leg is not answered or has gone, is recorded already, or the file cannot be created.
    pub async fn record_leg(&self, leg: LegId, both: bool) -> Result<(), CallError> {
        self.leg_recording(leg, RecordLeg::Begin { both }).await.map(drop)
    }

    /// Pauses a leg's own recording, or continues it.
    ///
    /// # Errors
    /// The leg has gone, or has no recording of its own.
    pub async fn pause_leg_recording(&self, leg: LegId, paused: bool) -> Result<(), CallError> {
        self.leg_recording(leg, RecordLeg::Pause(paused)).await.map(drop)
    }

    /// Ends a leg's own recording; returns when its file is complete. `None`: it had not begun.
    ///
    /// # Errors
    /// The leg has gone, or has no recording of its own.
    pub async fn stop_leg_recording(&self, leg: LegId) -> Result<Option<Recorded>, CallError> {
        self.leg_recording(leg, RecordLeg::End).await
    }

    async fn leg_recording(&self, leg: LegId, what: RecordLeg) -> Result<Option<Recorded>, CallError> {
        self.command(|reply| Command::RecordLeg { leg, what, reply }).await
    }

    async fn recording(&self, call: CallId, what: Record) -> Result<Option<Recorded>, CallError> {
        self.command(|reply| Command::Record { call, what, reply }).await
    }

    /// A leg's audio in both directions: what its party says can be read, and it hears what is written. The
    /// stream ends when it is dropped, with the leg, when another stream replaces it and, if it is written
    /// to, when the leg is joined with another one.
    ///
    /// # Errors
    /// The leg is not answered or has gone, there are too many streams, or the controller cannot
    /// do it.
    pub async fn stream(&self, leg: LegId, spec: StreamSpec) -> Result<AudioStream, CallError> {
        self.command(|reply| Command::Stream { leg, spec, early: false, reply }).await
    }

    /// Sets where a call is, which its state, its record and its events show.
    ///
    /// # Errors
    /// The call is over, or cannot get there from its state.
    pub async fn enter(&self, call: CallId, place: Place) -> Result<(), CallError> {
        self.command(|reply| Command::Enter { call, place, reply }).await
    }

    /// Begins or ends to keep secret what a party enters: meanwhile its keys are in no event, account or trace, and
    /// its recording and that of its call pause. Each beginning counts, and needs its end; what others do to keys
    /// and recordings counts beside it.
    ///
    /// # Errors
    /// The leg has gone.
    pub async fn keep_secret(&self, leg: LegId, on: bool) -> Result<(), CallError> {
        self.command(|reply| Command::KeepSecret { leg, on, reply }).await
    }
}
