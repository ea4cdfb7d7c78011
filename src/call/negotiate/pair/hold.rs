//! A party that we put on hold.

use b2b_sdp::Direction;

/// Whether we put a party on hold, whatever the other party wants (RFC 3264 §8.4): we do not want its media.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Hold {
    /// Not on hold: directions are those of the other party.
    #[default]
    No,
    /// On hold; the party hears what we play.
    Playing,
    /// On hold; the party hears nothing.
    Silent,
    /// Taken off hold: both directions.
    Over,
}

impl Hold {
    /// Whether the party's media is dropped.
    pub(super) fn is_on(self) -> bool {
        matches!(self, Hold::Playing | Hold::Silent)
    }

    /// The direction sent to the party, given the direction that the other party wants.
    pub(super) fn direction(self, others: Direction) -> Direction {
        match self {
            Hold::No => others,
            Hold::Playing => Direction::SendOnly,
            Hold::Silent => Direction::Inactive,
            Hold::Over => Direction::SendRecv,
        }
    }
}
