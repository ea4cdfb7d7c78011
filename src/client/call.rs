//! A call as the program holds it.

use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::{broadcast, mpsc, oneshot, watch};

use crate::audio::{CallAudio, Outcome, Playback, Program, Recording, Sound, ToRecord, record};
use crate::driver::Command;
use crate::{
    AudioError, CallError, CallState, ClientEvent, EndCause, Events, PlayError, Quality, RecordError,
};
use b2b_base::metrics::MediaStats;
use b2b_call::LegId;
use b2b_call::agent::{Codec, DtmfMode, RemoteIdentity, SessionDescriptions};
use b2b_media::codec::rates::Rates;
use b2b_media::stereo::Joined;

/// A call of one client. Never used twice.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct CallId(pub u64);

/// How sound is sent to the far end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Agreed {
    /// The codec of what we send.
    pub codec: Codec,
    /// Its packet time, ms.
    pub ptime_ms: u32,
    /// Where the far end wants RTP.
    pub remote_rtp: SocketAddr,
}

/// What the program and the client's thread know of a call.
pub(super) struct Shared {
    pub leg: LegId,
    pub remote: String,
    pub state: watch::Sender<CallState>,
    pub agreed: Mutex<Option<Agreed>>,
    /// Who the far end is, as it was told.
    pub identity: Mutex<Option<RemoteIdentity>>,
    /// How it has sounded, once its media are closed.
    pub measured: Mutex<Option<(Quality, MediaStats)>>,
    pub audio: Program,
    pub rate_hz: u32,
    /// What the far end hears while it is held, if we play something to it.
    pub hold_sound: Mutex<Option<Playback>>,
    pub dtmf: DtmfMode,
    /// How long a digit lasts, ms.
    pub digit_ms: u32,
    pub commands: mpsc::WeakUnboundedSender<Command>,
    pub events: broadcast::WeakSender<ClientEvent>,
}

impl Shared {
    pub fn id(&self) -> CallId {
        CallId(self.leg.0)
    }

    /// Offer and answer have settled this; what was before.
    pub fn agree(&self, agreed: Agreed) -> Option<Agreed> {
        self.agreed.lock().unwrap_or_else(PoisonError::into_inner).replace(agreed)
    }

    /// The result of offer and answer.
    pub fn agreed(&self) -> Option<Agreed> {
        *self.agreed.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Who the far end is from now on.
    pub fn identify(&self, identity: RemoteIdentity) {
        *self.identity.lock().unwrap_or_else(PoisonError::into_inner) = Some(identity);
    }

    /// Its media are closed: how it has sounded.
    pub fn measured(&self, quality: Quality, counted: MediaStats) {
        *self.measured.lock().unwrap_or_else(PoisonError::into_inner) = Some((quality, counted));
    }

    /// How it sounds and what was counted, now or at its end.
    pub async fn measure(&self) -> Option<(Quality, MediaStats)> {
        let leg = self.leg;
        let now = self.ask(|reply| Command::Quality { leg, reply }).await.flatten();
        now.or_else(|| *self.measured.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Sends a command and waits for what comes of it; `None`: the client is gone.
    pub async fn ask<T>(&self, command: impl FnOnce(oneshot::Sender<T>) -> Command) -> Option<T> {
        let (reply, answer) = oneshot::channel();
        self.commands.upgrade()?.send(command(reply)).ok()?;
        answer.await.ok()
    }

    /// What both sides have said in descriptions.
    pub async fn descriptions(&self) -> Option<SessionDescriptions> {
        let leg = self.leg;
        self.ask(|reply| Command::Descriptions { leg, reply }).await.flatten()
    }

    /// How the call ended, if it has.
    pub fn end(&self) -> Option<EndCause> {
        match &*self.state.borrow() {
            CallState::Ended(cause) => Some(cause.clone()),
            _ => None,
        }
    }

    /// Waits for a state.
    pub async fn reach(&self, wanted: impl FnMut(&CallState) -> bool) -> CallState {
        let mut states = self.state.subscribe();
        // The sender is in `self`: it cannot be gone.
        let state = states.wait_for(wanted).await;
        state.map_or(CallState::Ended(EndCause::ClientStopped), |state| state.clone())
    }

    /// Plays a sound in place of the one that is played.
    pub fn play(&self, sound: Sound) -> Result<Playback, PlayError> {
        if let Some(cause) = self.end() {
            return Err(PlayError::Ended(cause));
        }
        let prepared = sound.prepare(self.rate_hz).map_err(PlayError::Sound)?;
        let decoding = prepared.decoding();
        let progress = self.audio.play(prepared).ok_or(PlayError::Busy)?;
        let (done, finished) = oneshot::channel();
        let watch = Command::Watch { leg: self.leg, progress: progress.clone(), decoding, done };
        let commands = self.commands.upgrade().ok_or(PlayError::Stopped)?;
        commands.send(watch).map_err(|_| PlayError::Stopped)?;
        Ok(Playback::new(progress, finished))
    }

    /// Waits until the call is answered.
    pub async fn answered(&self) -> Result<(), CallError> {
        match self.reach(|state| *state == CallState::Answered || state.is_over()).await {
            CallState::Ended(cause) => Err(CallError::Ended(cause)),
            _ => Ok(()),
        }
    }
}

/// A call that we made, or answered. Clones are the same call. Dropping it changes nothing: the
/// call ends with [`Call::hangup`], with its client, or with the far end.
#[derive(Clone)]
pub struct Call(pub(super) Arc<Shared>);

impl Call {
    /// Its name in events.
    pub fn id(&self) -> CallId {
        self.0.id()
    }

    /// The far end's address: whom we called, or who called us.
    pub fn remote(&self) -> &str {
        &self.0.remote
    }

    /// Who the far end is, where that was told ([`ClientEvent::Identified`]); else
    /// [`Call::remote`] is known alone.
    pub fn identity(&self) -> Option<RemoteIdentity> {
        self.0.identity.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Where it is now.
    pub fn state(&self) -> CallState {
        self.0.state.borrow().clone()
    }

    /// How sound is sent to the far end, once that is settled.
    pub fn agreed(&self) -> Option<Agreed> {
        self.0.agreed()
    }

    /// Samples a second of all its sound.
    pub fn rate_hz(&self) -> u32 {
        self.0.rate_hz
    }

    /// Waits until the far end answers.
    ///
    /// # Errors
    /// [`CallError::Ended`]: it did not, and the cause says why and what to do.
    pub async fn wait_for_answer(&self) -> Result<(), CallError> {
        self.0.answered().await
    }

    /// Waits until the call is over.
    pub async fn wait_for_end(&self) -> EndCause {
        match self.0.reach(CallState::is_over).await {
            CallState::Ended(cause) => cause,
            _ => EndCause::ClientStopped,
        }
    }

    /// Ends the call, however far it is, and waits until that is done: BYE is answered, or has
    /// not been for 32 s (RFC 3261 §17.1.2.2). A call that is over stays so.
    ///
    /// # Errors
    /// [`CallError::Stopped`]: the client went first.
    pub async fn hangup(&self) -> Result<(), CallError> {
        let leg = self.0.leg;
        if self.0.end().is_none() {
            // A call that ended on its way there is hung up, too.
            let _ = self.0.ask(|reply| Command::Hangup { leg, reply }).await.ok_or(CallError::Stopped)?;
            self.wait_for_end().await;
        }
        Ok(())
    }

    /// How it has sounded so far, or, of a call that is over, has sounded at all. At most half a
    /// second old. `None`: there was nothing to hear yet, or the client is gone.
    pub async fn quality(&self) -> Option<Quality> {
        self.0.measure().await.map(|(quality, _)| quality)
    }

    /// What was counted since its beginning, as it was counted: packets, octets, gaps, frames that
    /// were late. As old as [`Call::quality`], and `None` where that is.
    pub async fn statistics(&self) -> Option<MediaStats> {
        self.0.measure().await.map(|(_, counted)| counted)
    }

    /// The session descriptions between the far end and us, as they were sent: for attributes that
    /// b2b has no word for. `None`: the call is over.
    pub async fn descriptions(&self) -> Option<SessionDescriptions> {
        self.0.descriptions().await
    }

    /// The events of this call from now until its end.
    pub fn events(&self) -> Events {
        Events::new(&self.0.events, Some(self.id()))
    }

    /// The call's sound, as frames heard and samples said by the program, at the client's rate.
    /// It may be asked for before the call is answered. Who asked for it before gets and says
    /// nothing any more.
    ///
    /// # Errors
    /// See [`AudioError`].
    pub fn audio(&self) -> Result<CallAudio, AudioError> {
        self.audio_at(self.0.rate_hz)
    }

    /// The same at a rate of its own: 8,000, 16,000, 24,000 or 48,000 samples a second.
    ///
    /// # Errors
    /// See [`AudioError`].
    pub fn audio_at(&self, rate_hz: u32) -> Result<CallAudio, AudioError> {
        if !Rates::ALL.contains(&rate_hz) {
            return Err(AudioError::Rate(rate_hz));
        }
        if let Some(cause) = self.0.end() {
            return Err(AudioError::Ended(cause));
        }
        let (audio, lines) = self.0.audio.open(self.0.rate_hz, rate_hz).ok_or(AudioError::Busy)?;
        let commands = self.0.commands.upgrade().ok_or(AudioError::Stopped)?;
        commands.send(Command::Look { leg: self.0.leg, lines }).map_err(|_| AudioError::Stopped)?;
        Ok(audio)
    }

    /// Records the call from now on, or from its answer, into a stereo WAV at the client's rate:
    /// left what is sent, right what is received, aligned in time. A file in its place is lost,
    /// and so is the recording of this call that runs, which ends.
    ///
    /// # Errors
    /// The file cannot be written, or the call is over.
    pub async fn record(&self, path: impl Into<PathBuf>) -> Result<Recording, RecordError> {
        if let Some(cause) = self.0.end() {
            return Err(RecordError::Ended(cause));
        }
        record(path.into(), self.0.rate_hz, Taped(self.0.clone())).await
    }

    /// Plays a sound in place of the one that is played. It begins when the call is answered.
    ///
    /// # Errors
    /// See [`PlayError`].
    pub async fn play(&self, sound: Sound) -> Result<Playback, PlayError> {
        self.0.play(sound)
    }
}

/// A call, for the thread that records it.
struct Taped(Arc<Shared>);

impl ToRecord for Taped {
    fn tapes(&self) -> Option<Joined> {
        self.0.audio.tape(self.0.rate_hz)
    }

    fn is_over(&self) -> bool {
        self.0.end().is_some()
    }

    fn ended(&self, path: PathBuf, outcome: Outcome) {
        let event = ClientEvent::RecordingEnded { call: self.0.id(), path, outcome };
        if let Some(events) = self.0.events.upgrade() {
            // Without a reader there is nobody to tell.
            let _ = events.send(event);
        }
    }
}

impl fmt::Debug for Call {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Call")
            .field("id", &self.id())
            .field("remote", &self.remote())
            .field("state", &self.state())
            .finish_non_exhaustive()
    }
}
