//! Commands for calls that are not answered yet.

use super::leg::{Leg, WrongState};
use super::{AgentError, AgentService, LegAudio, LegId};
use b2b_media::relay::OpenError;

impl AgentService {
    /// Sends a 180 to the caller.
    ///
    /// # Errors
    /// The leg does not wait for an answer.
    pub fn ring(&mut self, id: LegId) -> Result<(), AgentError> {
        match self.with_leg(id, Leg::ring) {
            Some(Ok(())) => Ok(()),
            _ => Err(AgentError::NoSuchLeg),
        }
    }

    /// Begins early media: sends a 183 with our answer, reliably if the caller supports it (RFC 3262), and
    /// starts the leg's audio.
    ///
    /// # Errors
    /// The leg does not wait for an answer, it has early media already, its caller has made no offer, or
    /// there is no media session for it.
    pub fn early(&mut self, id: LegId, audio: LegAudio) -> Result<(), AgentError> {
        self.with_media(id, audio, Leg::early)
    }

    /// Whether [`AgentService::early`] is possible in the leg's state.
    pub fn may_be_early(&mut self, id: LegId) -> bool {
        self.legs.get(id).is_some_and(|entry| entry.told && entry.leg.may_be_early())
    }

    /// Answers an incoming leg with 200.
    ///
    /// # Errors
    /// The leg does not wait for an answer, or there is no media session for it; in that case it is refused
    /// with 503.
    pub fn answer(&mut self, id: LegId, audio: LegAudio) -> Result<(), AgentError> {
        let answered = self.with_media(id, audio, Leg::answer);
        if let Err(AgentError::Open(error)) = &answered {
            // An overloaded media thread is not a lack of ports, and more ports would not help.
            let reason = match error {
                OpenError::Ports | OpenError::Family => "No Media Port",
                OpenError::Stopped => "Media Stopped",
            };
            let _ = self.reject(id, 503, reason);
        }
        if answered.is_ok() {
            self.take_place(id);
        }
        answered
    }

    /// Answers a leg that has early media; its audio continues.
    ///
    /// # Errors
    /// The leg has no early media, or does not wait for an answer.
    pub fn answer_early(&mut self, id: LegId) -> Result<(), AgentError> {
        let answered = self.with_leg(id, |leg| {
            let port = leg.rtp_port();
            leg.has_early_media() && leg.answer(port).is_ok()
        });
        if answered == Some(true) {
            self.take_place(id);
            Ok(())
        } else {
            Err(AgentError::NoSuchLeg)
        }
    }

    /// Opens a media session for a leg that waits for an answer, and acts on the leg.
    fn with_media(
        &mut self,
        id: LegId,
        audio: LegAudio,
        act: impl FnOnce(&mut Leg, u16) -> Result<(), WrongState>,
    ) -> Result<(), AgentError> {
        let waits =
            |entry: &&mut super::legs::Entry| entry.told && entry.session.is_none() && entry.leg.is_waiting();
        if self.legs.get(id).filter(waits).is_none() {
            return Err(AgentError::NoSuchLeg);
        }
        let (session, rtp) = self.open_session()?;
        let Some(entry) = self.legs.get(id) else { return Err(AgentError::NoSuchLeg) };
        let done = act(&mut entry.leg, rtp.port());
        if done.is_ok() {
            entry.audio = Some(audio);
            session.into_iter().for_each(|session| self.legs.set_session(id, session));
        } else {
            session.into_iter().for_each(|session| self.media.close(session));
        }
        self.perform(id);
        done.map_err(|_| AgentError::NoSuchLeg)
    }
}
