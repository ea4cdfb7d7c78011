//! A leg's audio: attached to its media session, and exchanged during the call.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use super::{AgentError, AgentService, LegAudio, LegId};
use crate::leg_fsm::LegState;
use b2b_base::frame::{Fill, FrameSource, OutFrame};

/// A source that is silent until its leg is answered. Early media of the remote party is played, but the
/// remote party must not miss the beginning of ours.
struct Gated {
    open: Arc<AtomicBool>,
    source: Box<dyn FrameSource>,
}

impl FrameSource for Gated {
    fn fill(&mut self, frame: &mut OutFrame<'_>) -> Fill {
        if self.open.load(Ordering::Relaxed) { self.source.fill(frame) } else { Fill::Silence }
    }
}

impl AgentService {
    /// Replaces a leg's audio. A leg that is not answered yet gets it on answer.
    ///
    /// # Errors
    /// There is no such leg, or its media session is gone.
    pub fn attach(&mut self, id: LegId, audio: LegAudio) -> Result<(), AgentError> {
        let entry = self.legs.get(id).filter(|entry| entry.told && entry.ended.is_none());
        let entry = entry.ok_or(AgentError::NoSuchLeg)?;
        entry.audio = Some(audio);
        if entry.attached {
            self.give_audio(id)?;
        }
        Ok(())
    }

    /// Attaches the leg's audio to its media session, once.
    pub(super) fn give_audio(&mut self, id: LegId) -> Result<(), AgentError> {
        let Some(entry) = self.legs.get(id) else { return Err(AgentError::NoSuchLeg) };
        let Some(session) = entry.session else { return Err(AgentError::NoSuchLeg) };
        let Some(LegAudio { mut source, sink }) = entry.audio.take() else { return Ok(()) };
        let calls = !entry.leg.is_inbound() && entry.leg.state() != LegState::Answered;
        if calls {
            let open = entry.gate.get_or_insert_default().clone();
            source = Box::new(Gated { open, source });
        }
        entry.attached = true;
        let attached = self.media.attach(session, source, sink);
        attached.map_err(|error| AgentError::Media(error.to_string()))
    }

    /// The leg is answered: its source is sent.
    pub(super) fn open_gate(&mut self, id: LegId) {
        if let Some(gate) = self.legs.get(id).and_then(|entry| entry.gate.take()) {
            gate.store(true, Ordering::Relaxed);
        }
    }

    /// Sends silence instead of the leg's source, or stops doing so. Digits are sent all the same.
    ///
    /// # Errors
    /// There is no such leg, or it has no media yet.
    pub fn mute(&mut self, id: LegId, muted: bool) -> Result<(), AgentError> {
        let session = self.session_of(id)?;
        self.media.mute(session, muted).map_err(|error| AgentError::Media(error.to_string()))
    }

    /// Sets the volume of a leg's sent and received audio, as factors; `None`: unchanged. 1.0 is the original
    /// level; samples beyond full scale are clipped.
    ///
    /// # Errors
    /// As for [`AgentService::mute`], or a factor is negative or not finite.
    pub fn volume(&mut self, id: LegId, sent: Option<f32>, heard: Option<f32>) -> Result<(), AgentError> {
        let fits = |factor: Option<f32>| factor.is_none_or(|it| it.is_finite() && it >= 0.0);
        if !fits(sent) || !fits(heard) {
            return Err(AgentError::Media("a volume is a factor of 0 or more; 1.0 is unchanged".to_owned()));
        }
        let session = self.session_of(id)?;
        self.media.volume(session, sent, heard).map_err(|error| AgentError::Media(error.to_string()))
    }

    /// Joins these legs in one conference: each remote party hears all the others, and what our side says on
    /// any leg; our side hears all of them on each leg. The conference replaces those that the legs are in.
    ///
    /// # Errors
    /// One of the legs is not up.
    pub fn confer(&mut self, members: &[LegId]) -> Result<(), AgentError> {
        let mut sessions = Vec::with_capacity(members.len());
        for id in members {
            if !self.is_up(*id) {
                return Err(AgentError::NoSuchLeg);
            }
            sessions.push(self.session_of(*id)?);
        }
        let joined = self.media.confer(&sessions, self.config.rate_hz);
        joined.map_err(|error| AgentError::Media(error.to_string()))
    }

    /// Takes a leg out of its conference, which continues.
    ///
    /// # Errors
    /// There is no such leg, or it has no media.
    pub fn leave_conference(&mut self, id: LegId) -> Result<(), AgentError> {
        let session = self.session_of(id)?;
        self.media.leave(session).map_err(|error| AgentError::Media(error.to_string()))
    }

    pub(super) fn session_of(&mut self, id: LegId) -> Result<b2b_media::relay::RelayId, AgentError> {
        let entry = self.legs.get(id).filter(|entry| entry.told && entry.ended.is_none());
        entry.and_then(|entry| entry.session).ok_or(AgentError::NoSuchLeg)
    }
}
