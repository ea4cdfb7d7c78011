//! A leg's media quality, and the robustness of what we send.

use super::{AgentError, AgentService, LegId};
use b2b_base::metrics::MediaStats;
use b2b_media::local::{Adapt, Levels, Reception};

/// The media report of a leg, at most half a second old.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct LegReport {
    /// Counters since the leg's media began.
    pub stats: MediaStats,
    /// Reception quality in both directions.
    pub reception: Reception,
    /// Levels of both directions; silent once the leg is over.
    pub levels: Levels,
}

impl AgentService {
    /// The media report of a leg; `None`: there is no such leg, or it has no media.
    pub fn report(&mut self, id: LegId) -> Option<LegReport> {
        let session = self.legs.get(id)?.session?;
        Some(LegReport {
            stats: self.media.stats(session)?,
            reception: self.media.reception(session)?,
            levels: self.media.levels(session)?,
        })
    }

    /// Changes the robustness of a leg's Opus stream; other codecs are not affected.
    ///
    /// # Errors
    /// There is no such leg, it has no media, or the media thread is gone.
    pub fn adapt(&mut self, id: LegId, adapt: Adapt) -> Result<(), AgentError> {
        let session = self.legs.get(id).and_then(|entry| entry.session).ok_or(AgentError::NoSuchLeg)?;
        self.media.adapt(session, adapt).map_err(|error| AgentError::Media(error.to_string()))
    }
}
