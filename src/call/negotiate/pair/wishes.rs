//! The directions that a party wants itself.

use super::receives;
use b2b_sdp::AudioMedia;

/// What a party wants itself, whatever others want of it. An answer's direction only mirrors that of its
/// offer (RFC 3264 §6.1): a party that we put on hold answers `recvonly`, but wants to be heard.
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
    /// The wishes in a party's offer.
    pub fn of(offer: &AudioMedia) -> Self {
        Wishes { sends: offer.direction.has_send(), receives: receives(offer) }
    }

    /// The wishes after an answer to our offer: for a direction that we did not offer, the wish from before.
    pub fn answered(self, offered: &AudioMedia, answer: &AudioMedia) -> Self {
        Wishes {
            sends: if offered.direction.has_recv() { answer.direction.has_send() } else { self.sends },
            receives: if offered.direction.has_send() { receives(answer) } else { self.receives },
        }
    }
}
