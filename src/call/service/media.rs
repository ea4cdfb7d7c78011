//! The media operations of applications. Each one asks the calls' thread for the leg's endpoint and then
//! works with the media controller: the calls' thread waits for nothing.

use std::sync::Arc;

use super::{CallError, CallService, Prompted};
use crate::call_fsm::CallState;
use crate::controller::{
    AudioStream, Collected, ConferenceId, ConferenceSpec, DigitPlan, EndpointId, MediaController, MediaError,
    Member, Played, Prompt, Recorded, RecordingId, RecordingSpec, StreamSpec, Verb,
};
use crate::event::{Event, RecordingNews};
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

/// A leg's media endpoint and its controller.
pub(crate) struct LegMedia {
    pub call: CallId,
    pub controller: Arc<dyn MediaController>,
    pub endpoint: EndpointId,
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

impl CallService {
    /// Plays a prompt to an answered leg, in place of anything else it hears; returns at the end of the
    /// prompt.
    ///
    /// # Errors
    /// The leg is not answered or has gone, or the prompt cannot be played.
    pub async fn play(&self, leg: LegId, prompt: &Prompt) -> Result<Played, CallError> {
        let media = self.media(leg).await?;
        let prompted = Prompted::begins(self, media.call, leg, prompt);
        let played = media.controller.play_prompt(media.endpoint, prompt).await;
        prompted.ends(Some(played == Ok(Played::Complete)));
        Ok(played?)
    }

    /// Ends the prompt of [`CallService::play`] or [`CallService::play_and_collect`].
    ///
    /// # Errors
    /// The leg has gone.
    pub async fn stop_playing(&self, leg: LegId) -> Result<(), CallError> {
        let media = self.media(leg).await?;
        media.controller.stop_prompt(media.endpoint);
        Ok(())
    }

    /// Collects digits in any form.
    ///
    /// # Errors
    /// The leg is not answered or has gone.
    pub async fn collect(&self, leg: LegId, plan: &DigitPlan) -> Result<Collected, CallError> {
        let media = self.media_for_keys(leg, plan.secret).await?;
        Ok(media.controller.collect_dtmf(media.endpoint, plan).await?)
    }

    /// Ends the collection of [`CallService::collect`] or [`CallService::play_and_collect`].
    ///
    /// # Errors
    /// The leg has gone.
    pub async fn stop_collecting(&self, leg: LegId) -> Result<(), CallError> {
        let media = self.media(leg).await?;
        media.controller.stop_collecting(media.endpoint);
        Ok(())
    }

    /// Plays a prompt, and collects digits from its beginning.
    ///
    /// # Errors
    /// As for [`CallService::play`] and [`CallService::collect`].
    pub async fn play_and_collect(
        &self,
        leg: LegId,
        prompt: &Prompt,
        plan: &DigitPlan,
    ) -> Result<Collected, CallError> {
        let media = self.media_for_keys(leg, plan.secret).await?;
        let _prompted = Prompted::begins(self, media.call, leg, prompt);
        Ok(media.controller.play_and_collect(media.endpoint, prompt, plan).await?)
    }

    /// Sets whether DTMF tones in the party's audio count as digits; `None`: as configured.
    ///
    /// # Errors
    /// The leg is not answered or has gone.
    pub async fn hear_tones(&self, leg: LegId, on: Option<bool>) -> Result<(), CallError> {
        let media = self.media(leg).await?;
        Ok(media.controller.request(Verb::HearTones { endpoint: media.endpoint, on }).await.map(drop)?)
    }

    /// Records a leg until it is stopped or the leg ends.
    ///
    /// # Errors
    /// The leg is not answered or has gone, or the file cannot be created.
    pub async fn start_recording(&self, leg: LegId, spec: &RecordingSpec) -> Result<RecordingId, CallError> {
        let media = self.media(leg).await?;
        let recording = media.controller.start_recording(media.endpoint, spec).await?;
        let file = Some(spec.path.to_string_lossy().into_owned());
        let (call, leg, id) = (media.call, Some(leg), Some(recording.0));
        // Its end is told by the calls' thread, which knows of it by this.
        self.tell(Event::Recording(RecordingNews {
            call,
            leg,
            id,
            on: true,
            file,
            seconds: None,
            error: None,
        }))?;
        Ok(recording)
    }

    /// Pauses a recording, or continues it.
    ///
    /// # Errors
    /// The service is stopping.
    pub async fn pause_recording(&self, recording: RecordingId, paused: bool) -> Result<(), CallError> {
        self.controller().await?.pause_recording(recording, paused);
        Ok(())
    }

    /// Ends a recording; returns when its file is complete.
    ///
    /// # Errors
    /// There is no such recording, or its file could not be finished.
    pub async fn stop_recording(&self, recording: RecordingId) -> Result<Recorded, CallError> {
        Ok(self.controller().await?.stop_recording(recording).await?)
    }

    /// Waits for the end of a recording for any reason: its limits, the leg's end, a full disk, a stop.
    /// Returns when its file is complete.
    ///
    /// # Errors
    /// The recording never existed, or its file could not be finished.
    pub async fn wait_for_recording(&self, recording: RecordingId) -> Result<Recorded, CallError> {
        Ok(self.controller().await?.wait_for_recording(recording).await?)
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
        let asked = self.ask(|reply| Command::RecordLeg { leg, what, reply }).await;
        asked.unwrap_or(Err(CallError::Stopping))
    }

    async fn recording(&self, call: CallId, what: Record) -> Result<Option<Recorded>, CallError> {
        let asked = self.ask(|reply| Command::Record { call, what, reply }).await;
        asked.unwrap_or(Err(CallError::Stopping))
    }

    /// Plays music of a class to a leg until it is stopped.
    ///
    /// # Errors
    /// The leg is not answered or has gone, or there is no such class.
    pub async fn start_moh(&self, leg: LegId, class: &str) -> Result<(), CallError> {
        let media = self.media(leg).await?;
        Ok(media.controller.start_moh(media.endpoint, class).await?)
    }

    /// Ends the music.
    ///
    /// # Errors
    /// The leg has gone.
    pub async fn stop_moh(&self, leg: LegId) -> Result<(), CallError> {
        let media = self.media(leg).await?;
        media.controller.stop_moh(media.endpoint);
        Ok(())
    }

    /// Sets whether a leg's party hears itself, until it is joined with another one.
    ///
    /// # Errors
    /// The leg is not answered or has gone, or the controller cannot do it.
    pub async fn echo(&self, leg: LegId, on: bool) -> Result<(), CallError> {
        let media = self.media(leg).await?;
        Ok(media.controller.echo(media.endpoint, on).await?)
    }

    /// A leg's audio in both directions: what its party says can be read, and it hears what is written. The
    /// stream ends when it is dropped, with the leg, when another stream replaces it and, if it is written
    /// to, when the leg is joined with another one.
    ///
    /// # Errors
    /// The leg is not answered or has gone, there are too many streams, or the controller cannot
    /// do it.
    pub async fn stream(&self, leg: LegId, spec: StreamSpec) -> Result<AudioStream, CallError> {
        let media = self.media(leg).await?;
        Ok(media.controller.open_stream(media.endpoint, spec).await?)
    }

    /// Creates a conference.
    ///
    /// # Errors
    /// The controller does not support conferences.
    pub async fn create_conference(&self, spec: &ConferenceSpec) -> Result<ConferenceId, CallError> {
        Ok(self.controller().await?.create_conference(spec).await?)
    }

    /// Ends a conference; its members' legs stay.
    ///
    /// # Errors
    /// The service is stopping.
    pub async fn end_conference(&self, conference: ConferenceId) -> Result<(), CallError> {
        self.controller().await?.end_conference(conference);
        Ok(())
    }

    /// Adds a leg to a conference, or changes its settings there.
    ///
    /// # Errors
    /// The leg is not answered or has gone, or the conference is full or over.
    pub async fn join_conference(
        &self,
        conference: ConferenceId,
        leg: LegId,
        member: Member,
    ) -> Result<(), CallError> {
        let media = self.media(leg).await?;
        Ok(media.controller.add_to_conference(conference, media.endpoint, member).await?)
    }

    /// Takes a leg out of a conference.
    ///
    /// # Errors
    /// The leg has gone.
    pub async fn leave_conference(&self, conference: ConferenceId, leg: LegId) -> Result<(), CallError> {
        let media = self.media(leg).await?;
        media.controller.remove_from_conference(conference, media.endpoint);
        Ok(())
    }

    /// Plays a prompt to all members of a conference.
    ///
    /// # Errors
    /// The conference is over, or the prompt cannot be played.
    pub async fn announce(&self, conference: ConferenceId, prompt: &Prompt) -> Result<Played, CallError> {
        Ok(self.controller().await?.play_to_conference(conference, prompt).await?)
    }

    /// Records a conference.
    ///
    /// # Errors
    /// The conference is over, or the file cannot be created.
    pub async fn record_conference(
        &self,
        conference: ConferenceId,
        spec: &RecordingSpec,
    ) -> Result<RecordingId, CallError> {
        Ok(self.controller().await?.record_conference(conference, spec).await?)
    }

    /// Sets where a call is, which its state, its record and its events show.
    ///
    /// # Errors
    /// The call is over, or cannot get there from its state.
    pub async fn enter(&self, call: CallId, place: Place) -> Result<(), CallError> {
        self.command(|reply| Command::Enter { call, place, reply }).await
    }

    pub(super) async fn media(&self, leg: LegId) -> Result<LegMedia, CallError> {
        self.ask(|reply| Command::Media { leg, reply }).await.unwrap_or(Err(CallError::Stopping))
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

    async fn media_for_keys(&self, leg: LegId, secret: bool) -> Result<LegMedia, CallError> {
        self.ask(|reply| Command::Collect { leg, secret, reply }).await.unwrap_or(Err(CallError::Stopping))
    }

    async fn controller(&self) -> Result<Arc<dyn MediaController>, CallError> {
        self.ask(|reply| Command::Controller { reply }).await.ok_or(CallError::Stopping)
    }
}
