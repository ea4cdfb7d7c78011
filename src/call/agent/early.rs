//! Commands for calls that are not answered yet.

use super::leg::{Leg, WrongState};
use super::{AgentError, AgentService, LegAudio, LegId};
use b2b_media::relay::OpenError;

impl AgentService {
    /// Tells the caller that it rings: 180.
    ///
    /// # Errors
    /// The leg does not wait for an answer.
    pub fn ring(&mut self, id: LegId) -> Result<(), AgentError> {
        match self.with_leg(id, Leg::ring) {
            Some(Ok(())) => Ok(()),
            _ => Err(AgentError::NoSuchLeg),
        }
    }

    /// Begins early media: 183 with our answer, and the leg's audio flows. Reliably where the
    /// caller can do that (RFC 3262).
    ///
    /// # Errors
    /// The leg does not wait for an answer, it has early media already, its caller has offered
    /// nothing, or there is no media session for it.
    pub fn early(&mut self, id: LegId, audio: LegAudio) -> Result<(), AgentError> {
        self.with_media(id, audio, Leg::early)
    }

    /// Whether [`AgentService::early`] is possible as far as the leg is concerned.
    pub fn may_be_early(&mut self, id: LegId) -> bool {
        self.legs.get(id).is_some_and(|entry| entry.told && entry.leg.may_be_early())
    }

    /// Answers an incoming leg with 200.
    ///
    /// # Errors
    /// It does not wait for an answer, or there is no media session for it; it
    /// is refused with 503 then.
    pub fn answer(&mut self, id: LegId, audio: LegAudio) -> Result<(), AgentError> {
        let answered = self.with_media(id, audio, Leg::answer);
        if let Err(AgentError::Open(error)) = &answered {
            // A worker that cannot keep up is no lack of ports, and more ports do not help.
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

    /// Answers a leg that has early media: its audio goes on.
    ///
    /// # Errors
    /// It has none, or does not wait for an answer.
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

    /// Opens a media session for a leg that waits, and acts on it.
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
