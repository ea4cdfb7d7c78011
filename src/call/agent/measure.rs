//! What a leg's sound is worth, and how robust we send ours.

use super::{AgentError, AgentService, LegId};
use b2b_base::metrics::MediaStats;
use b2b_media::local::{Adapt, Levels, Reception};

/// A leg's media in numbers, at most half a second old.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct LegReport {
    /// Counters since the leg's media began.
    pub stats: MediaStats,
    /// What is heard of the far end, and what it hears.
    pub reception: Reception,
    /// How loud both directions are; silent once the leg is over.
    pub levels: Levels,
}

impl AgentService {
    /// A leg's media; `None`: there is no such leg, or it has none.
    pub fn report(&mut self, id: LegId) -> Option<LegReport> {
        let session = self.legs.get(id)?.session?;
        Some(LegReport {
            stats: self.media.stats(session)?,
            reception: self.media.reception(session)?,
            levels: self.media.levels(session)?,
        })
    }

    /// Changes how robust a leg's Opus is sent; with other codecs nothing changes.
    ///
    /// # Errors
    /// There is no such leg, it has no media, or the media thread is gone.
    pub fn adapt(&mut self, id: LegId, adapt: Adapt) -> Result<(), AgentError> {
        let session = self.legs.get(id).and_then(|entry| entry.session).ok_or(AgentError::NoSuchLeg)?;
        self.media.adapt(session, adapt).map_err(|error| AgentError::Media(error.to_string()))
    }
}
