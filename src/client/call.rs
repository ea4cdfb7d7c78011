//! A call, as the program controls it.

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

/// The identifier of a call, unique within its client and never reused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct CallId(pub u64);

/// The negotiated parameters of sent audio.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Agreed {
    /// The codec of sent audio.
    pub codec: Codec,
    /// Its packet time, ms.
    pub ptime_ms: u32,
    /// Where the far end receives RTP.
    pub remote_rtp: SocketAddr,
}

/// The state of a call that the program and the client's thread share.
pub(super) struct Shared {
    pub leg: LegId,
    pub remote: String,
    pub state: watch::Sender<CallState>,
    pub agreed: Mutex<Option<Agreed>>,
    /// The identity that the far end or the registrar gave.
    pub identity: Mutex<Option<RemoteIdentity>>,
    /// The final measurements, set once the media are closed.
    pub measured: Mutex<Option<(Quality, MediaStats)>>,
    pub audio: Program,
    pub rate_hz: u32,
    /// The sound playing to the far end while it is on hold, if there is one.
    pub hold_sound: Mutex<Option<Playback>>,
    pub dtmf: DtmfMode,
    /// The length of a digit, ms.
    pub digit_ms: u32,
    pub commands: mpsc::WeakUnboundedSender<Command>,
    pub events: broadcast::WeakSender<ClientEvent>,
}

impl Shared {
    pub fn id(&self) -> CallId {
        CallId(self.leg.0)
    }

    /// Stores the result of offer and answer; returns the previous one.
    pub fn agree(&self, agreed: Agreed) -> Option<Agreed> {
        self.agreed.lock().unwrap_or_else(PoisonError::into_inner).replace(agreed)
    }

    /// The result of offer and answer.
    pub fn agreed(&self) -> Option<Agreed> {
        *self.agreed.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Stores the identity of the far end.
    pub fn identify(&self, identity: RemoteIdentity) {
        *self.identity.lock().unwrap_or_else(PoisonError::into_inner) = Some(identity);
    }

    /// Stores the final measurements, when the media are closed.
    pub fn measured(&self, quality: Quality, counted: MediaStats) {
        *self.measured.lock().unwrap_or_else(PoisonError::into_inner) = Some((quality, counted));
    }

    /// The quality and counters, current or, for an ended call, final.
    pub async fn measure(&self) -> Option<(Quality, MediaStats)> {
        let leg = self.leg;
        let now = self.ask(|reply| Command::Quality { leg, reply }).await.flatten();
        now.or_else(|| *self.measured.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Sends a command and waits for its reply; `None` if the client has stopped.
    pub async fn ask<T>(&self, command: impl FnOnce(oneshot::Sender<T>) -> Command) -> Option<T> {
        let (reply, answer) = oneshot::channel();
        self.commands.upgrade()?.send(command(reply)).ok()?;
        answer.await.ok()
    }

    /// The session descriptions of both sides.
    pub async fn descriptions(&self) -> Option<SessionDescriptions> {
        let leg = self.leg;
        self.ask(|reply| Command::Descriptions { leg, reply }).await.flatten()
    }

    /// The cause of the end, once the call has ended.
    pub fn end(&self) -> Option<EndCause> {
        match &*self.state.borrow() {
            CallState::Ended(cause) => Some(cause.clone()),
            _ => None,
        }
    }

    /// Waits until the state satisfies `wanted`.
    pub async fn reach(&self, wanted: impl FnMut(&CallState) -> bool) -> CallState {
        let mut states = self.state.subscribe();
        // `self` holds the sender, so the channel cannot close.
        let state = states.wait_for(wanted).await;
        state.map_or(CallState::Ended(EndCause::ClientStopped), |state| state.clone())
    }

    /// Plays a sound, replacing the current one.
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

/// An outgoing or answered call. Clones refer to the same call. Dropping it has no effect: the call ends with
/// [`Call::hangup`], with its client, or when the far end hangs up.
#[derive(Clone)]
pub struct Call(pub(super) Arc<Shared>);

impl Call {
    /// The call's identifier in events.
    pub fn id(&self) -> CallId {
        self.0.id()
    }

    /// The far end's address: the called URI, or the caller's.
    pub fn remote(&self) -> &str {
        &self.0.remote
    }

    /// The identity of the far end, if one was received ([`ClientEvent::Identified`]); otherwise only
    /// [`Call::remote`] is known.
    pub fn identity(&self) -> Option<RemoteIdentity> {
        self.0.identity.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The current state.
    pub fn state(&self) -> CallState {
        self.0.state.borrow().clone()
    }

    /// The parameters of sent audio, once negotiated.
    pub fn agreed(&self) -> Option<Agreed> {
        self.0.agreed()
    }

    /// The sample rate of all its audio, Hz.
    pub fn rate_hz(&self) -> u32 {
        self.0.rate_hz
    }

    /// Waits until the far end answers.
    ///
    /// # Errors
    /// [`CallError::Ended`] if the call ends first; the cause says why and what to do.
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

    /// Ends the call in any state and waits for completion: the BYE is answered, or has timed out after 32 s
    /// (RFC 3261 §17.1.2.2). An ended call is left as it is.
    ///
    /// # Errors
    /// [`CallError::Stopped`] if the client stops first.
    pub async fn hangup(&self) -> Result<(), CallError> {
        let leg = self.0.leg;
        if self.0.end().is_none() {
            // If the call has ended in the meantime, the hangup has succeeded as well.
            let _ = self.0.ask(|reply| Command::Hangup { leg, reply }).await.ok_or(CallError::Stopped)?;
            self.wait_for_end().await;
        }
        Ok(())
    }

    /// The quality of the call so far, or of the whole call once it is over. At most half a second old.
    /// `None` if there has been no audio yet, or the client has stopped.
    pub async fn quality(&self) -> Option<Quality> {
        self.0.measure().await.map(|(quality, _)| quality)
    }

    /// The raw media counters since the call began: packets, octets, gaps, late frames. As old as
    /// [`Call::quality`], and `None` in the same cases.
    pub async fn statistics(&self) -> Option<MediaStats> {
        self.0.measure().await.map(|(_, counted)| counted)
    }

    /// The session descriptions exchanged with the far end, as sent, for attributes that b2b does not
    /// interpret. `None` once the call is over.
    pub async fn descriptions(&self) -> Option<SessionDescriptions> {
        self.0.descriptions().await
    }

    /// The events of this call from now until its end.
    pub fn events(&self) -> Events {
        Events::new(&self.0.events, Some(self.id()))
    }

    /// The audio of the call at the client's rate: received frames, and samples to send. It may be requested
    /// before the call is answered. A new [`CallAudio`] replaces an earlier one, which then neither receives
    /// nor sends anything.
    ///
    /// # Errors
    /// See [`AudioError`].
    pub fn audio(&self) -> Result<CallAudio, AudioError> {
        self.audio_at(self.0.rate_hz)
    }

    /// Like [`Call::audio`], at another rate: 8,000, 16,000, 24,000 or 48,000 Hz.
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

    /// Records the call from now on, or from its answer, to a stereo WAV file at the client's rate: sent
    /// audio left, received audio right, aligned in time. An existing file is overwritten. A recording of
    /// this call that is already running ends, and its file is lost if it has the same path.
    ///
    /// # Errors
    /// The file cannot be written, or the call is over.
    pub async fn record(&self, path: impl Into<PathBuf>) -> Result<Recording, RecordError> {
        if let Some(cause) = self.0.end() {
            return Err(RecordError::Ended(cause));
        }
        record(path.into(), self.0.rate_hz, Taped(self.0.clone())).await
    }

    /// Plays a sound, replacing the current one. It starts when the call is answered.
    ///
    /// # Errors
    /// See [`PlayError`].
    pub async fn play(&self, sound: Sound) -> Result<Playback, PlayError> {
        self.0.play(sound)
    }
}

/// A call, as the recording thread sees it.
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
            // An error means that there is no subscriber.
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
