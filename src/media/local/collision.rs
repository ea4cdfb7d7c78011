//! SSRC collisions: the far end sends packets with our own SSRC (RFC 3550 §8.2), either by chance
//! or because it sends back what it receives.
//!
//! On the first collision our SSRC changes. If the far end then uses the new one too, it is a
//! mirror (an echo service): that is counted, the SSRC does not change again, and the returned
//! audio is played, since no other party sends.

use std::net::IpAddr;

use rand::RngExt;
use rand::rngs::StdRng;

/// Collision state of one endpoint.
#[derive(Debug, Default)]
pub(crate) struct Collisions {
    /// Packets received with our SSRC.
    pub seen: u64,
    /// The host because of which our SSRC changed.
    conflicting: Option<IpAddr>,
    change: bool,
}

impl Collisions {
    /// Checks the SSRC of a packet from a believed source.
    pub fn check(&mut self, theirs: u32, ours: u32, from: IpAddr) {
        if theirs == ours {
            self.seen += 1;
            self.change |= self.conflicting.replace(from) != Some(from);
        }
    }

    /// The new SSRC if ours must change; returned once.
    pub fn take_new(&mut self, rng: &mut StdRng) -> Option<u32> {
        std::mem::take(&mut self.change).then(|| rng.random())
    }
}
