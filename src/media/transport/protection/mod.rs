//! SRTP and SRTCP (RFC 3711) as machines: packets are protected and unprotected in
//! place; no I/O, no clock, no allocation for a packet. Keys come from outside
//! (RFC 4568, in `call/negotiate/crypto`).
//!
//! - `suite`: the crypto suites, master keys; `derive`: session keys (§4.3)
//! - `transform`: AES in counter mode with HMAC-SHA1 (§4, RFC 6188), AES-GCM (RFC 7714)
//! - `streams`: what is known of each SSRC: index, rollover counter, replay window (§3.3)
//! - `outbound`, `inbound`: the two directions of a session, each with its own key
//! - `snapshot`: both, to be written and read back
//!
//! A packet that fails has changed nothing: neither the stream's state nor its octets.

mod derive;
mod inbound;
mod outbound;
mod snapshot;
mod streams;
mod suite;
mod transform;

#[cfg(test)]
mod tests;
#[cfg(test)]
mod vectors;

pub use inbound::{Inbound, UnprotectError};
pub use outbound::{Outbound, ProtectError};
pub(crate) use snapshot::ProtectionSnapshot;
pub use suite::{MasterKey, Suite};

/// Octets that [`Outbound::rtp`] adds at most.
pub const RTP_OVERHEAD: usize = 16;
/// Octets that [`Outbound::rtcp`] adds at most.
pub const RTCP_OVERHEAD: usize = 20;

/// Octets of RTCP that stay readable: the first header with the sender's SSRC (§3.4).
const RTCP_CLEAR: usize = 8;
/// The E bit and the SRTCP index (§3.4).
const RTCP_WORD: usize = 4;
/// The E bit: the packet is encrypted.
const ENCRYPTED: u32 = 1 << 31;

/// Both directions' keys, as an answer settled them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Keys {
    /// With which we protect: ours, from our description.
    pub local: MasterKey,
    /// With which the far end does: theirs, from their description.
    pub remote: MasterKey,
}

/// Both directions of a session.
pub struct Protection {
    keys: Keys,
    /// What we send.
    pub outbound: Outbound,
    /// What we receive.
    pub inbound: Inbound,
}

impl Protection {
    /// Both directions at their beginning.
    pub fn new(keys: Keys) -> Self {
        let (outbound, inbound) = (Outbound::new(&keys.local), Inbound::new(&keys.remote));
        Protection { keys, outbound, inbound }
    }

    /// Whoever may have SRTP goes on with these keys, or without.
    pub(crate) fn settle(this: &mut Option<Box<Protection>>, keys: Option<Keys>) {
        match (keys, this) {
            (Some(keys), Some(protection)) => protection.rekey(keys),
            (Some(keys), this) => *this = Some(Box::new(Protection::new(keys))),
            (None, this) => *this = None,
        }
    }

    /// Goes on with these keys: a direction whose key is the same keeps its state.
    pub fn rekey(&mut self, keys: Keys) {
        if self.keys.local != keys.local {
            self.outbound = Outbound::new(&keys.local);
        }
        if self.keys.remote != keys.remote {
            self.inbound.rekey(&keys.remote);
        }
        self.keys = keys;
    }
}

/// The sender's SSRC of an RTCP packet. `None`: it is none.
fn rtcp_ssrc(packet: &[u8]) -> Option<u32> {
    let [first, _, _, _, i0, i1, i2, i3] = *packet.first_chunk::<RTCP_CLEAR>()?;
    (first >> 6 == 2).then_some(u32::from_be_bytes([i0, i1, i2, i3]))
}
