//! The directions that a party wants itself.

use super::{Line, receives};
use b2b_sdp::AudioMedia;

/// What a party wants itself, whatever others want of it. An answer's direction only mirrors that of its
/// offer (RFC 3264 §6.1): a party that we put on hold answers `recvonly`, but wants to be heard.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Wishes {
    /// It wants to send.
    pub sends: bool,
    /// It wants to receive.
    pub receives: bool,
}

impl Default for Wishes {
    fn default() -> Self {
        Wishes { sends: true, receives: true }
    }
}

impl Wishes {
    /// Whether the party wants both directions.
    pub fn are_usual(&self) -> bool {
        *self == Wishes::default()
    }

    /// The wishes in a party's offer.
    pub(super) fn of(offer: &AudioMedia) -> Self {
        Wishes { sends: offer.direction.has_send(), receives: receives(offer) }
    }

    /// The wishes after an answer to our offer: for a direction that we did not offer, the wish from before.
    pub(super) fn answered(self, offered: &AudioMedia, answer: &AudioMedia) -> Self {
        Wishes {
            sends: if offered.direction.has_recv() { answer.direction.has_send() } else { self.sends },
            receives: if offered.direction.has_send() { receives(answer) } else { self.receives },
        }
    }

    /// Whether a party with these wishes was told less, by `told`, than it and the other party want now
    /// (RFC 3264 §8.4): a party that was dialled while the other one was on hold, after the resume.
    pub fn exceed(self, told: &[u8], other: Wishes) -> bool {
        let told = Line::known(told).map(|line| line.audio.direction);
        told.is_some_and(|told| {
            other.sends && self.receives && !told.has_send()
                || other.receives && self.sends && !told.has_recv()
        })
    }
}
