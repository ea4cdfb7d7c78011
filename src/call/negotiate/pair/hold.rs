//! A party that we put on hold.

use b2b_sdp::Direction;

/// Whether we put a party on hold, whatever the other one says (RFC 3264 §8.4): we do not want to
/// hear it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Hold {
    /// No: directions are those of the other party.
    #[default]
    No,
    /// It hears what we play.
    Playing,
    /// It hears nothing.
    Silent,
    /// It was, and is taken back: both directions.
    Over,
}

impl Hold {
    /// Whether nothing is heard of the party.
    pub(super) fn is_on(self) -> bool {
        matches!(self, Hold::Playing | Hold::Silent)
    }

    /// What we tell it, where the other party would have it so.
    pub(super) fn direction(self, others: Direction) -> Direction {
        match self {
            Hold::No => others,
            Hold::Playing => Direction::SendOnly,
            Hold::Silent => Direction::Inactive,
            Hold::Over => Direction::SendRecv,
        }
    }
}
