//! Our own SSRC on packets of the far end (RFC 3550 §8.2): a collision, or a far
//! end that sends back what it gets.
//!
//! The first time, ours changes. If the far end then uses the new one too it is a
//! mirror (an echo service): that is counted, nothing changes again, and what
//! comes back is played, since the only other party is the one that sends it.

use std::net::IpAddr;

use rand::RngExt;
use rand::rngs::StdRng;

/// What is known of collisions at one endpoint.
#[derive(Debug, Default)]
pub(crate) struct Collisions {
    /// Packets that carried our SSRC.
    pub seen: u64,
    /// The host for which we changed.
    conflicting: Option<IpAddr>,
    change: bool,
}

impl Collisions {
    /// Looks at the SSRC of a packet from an address that is believed.
    pub fn check(&mut self, theirs: u32, ours: u32, from: IpAddr) {
        if theirs == ours {
            self.seen += 1;
            self.change |= self.conflicting.replace(from) != Some(from);
        }
    }

    /// The SSRC to go on with, if ours must change; once.
    pub fn take_new(&mut self, rng: &mut StdRng) -> Option<u32> {
        std::mem::take(&mut self.change).then(|| rng.random())
    }
}
