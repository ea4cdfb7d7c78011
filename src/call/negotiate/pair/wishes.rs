//! Directions that are a party's own.

use super::receives;
use b2b_sdp::AudioMedia;

/// What a party wants itself, whatever others want of it. An answer's direction only mirrors that
/// of its offer (RFC 3264 §6.1): who was put on hold answers `recvonly`, and wants to be heard.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Wishes {
    pub sends: bool,
    pub receives: bool,
}

impl Default for Wishes {
    fn default() -> Self {
        Wishes { sends: true, receives: true }
    }
}

impl Wishes {
    /// Of a party's offer.
    pub fn of(offer: &AudioMedia) -> Self {
        Wishes { sends: offer.direction.has_send(), receives: receives(offer) }
    }

    /// After an answer to an offer of ours: where we offered no choice, what it wanted before.
    pub fn answered(self, offered: &AudioMedia, answer: &AudioMedia) -> Self {
        Wishes {
            sends: if offered.direction.has_recv() { answer.direction.has_send() } else { self.sends },
            receives: if offered.direction.has_send() { receives(answer) } else { self.receives },
        }
    }
}
