//! Commands for legs that are up.

use super::leg::{Leg, WrongState};
use super::{AgentError, AgentService, Codec, LegId};

impl AgentService {
    /// Whether the leg is answered and not over.
    pub fn is_up(&mut self, id: LegId) -> bool {
        self.legs.get(id).is_some_and(|entry| entry.told && entry.is_up())
    }

    /// Puts the remote party on hold: it hears the leg's source (music, silence), and its audio is dropped.
    /// [`super::AgentEvent::Changed`] or [`super::AgentEvent::ChangeRefused`] follows.
    ///
    /// # Errors
    /// There is no such leg, or it is not up.
    pub fn hold(&mut self, id: LegId) -> Result<(), AgentError> {
        self.on_leg_that_is_up(id, Leg::hold)
    }

    /// Takes the remote party off hold. The same events follow as for `hold`.
    ///
    /// # Errors
    /// There is no such leg, or it is not up.
    pub fn resume(&mut self, id: LegId) -> Result<(), AgentError> {
        self.on_leg_that_is_up(id, Leg::resume)
    }

    /// Offers these codecs, in this order. The same events follow as for `hold`.
    ///
    /// # Errors
    /// There is no such leg, or it is not up, or `codecs` is empty.
    pub fn offer(&mut self, id: LegId, codecs: &[Codec]) -> Result<(), AgentError> {
        if codecs.is_empty() {
            return Err(AgentError::Media("no codec to offer; set at least one".to_owned()));
        }
        self.on_leg_that_is_up(id, |leg| leg.reoffer(codecs.to_vec()))
    }

    fn on_leg_that_is_up(
        &mut self,
        id: LegId,
        act: impl FnOnce(&mut Leg) -> Result<(), WrongState>,
    ) -> Result<(), AgentError> {
        let done = self.with_leg(id, |leg| act(leg).is_ok());
        if done == Some(true) { Ok(()) } else { Err(AgentError::NoSuchLeg) }
    }
}
