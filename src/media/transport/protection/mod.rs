//! SRTP and SRTCP (RFC 3711) as machines: packets are protected and unprotected in place, without
//! I/O, a clock, or allocation per packet. Keys come from outside (RFC 4568, in
//! `call/negotiate/crypto`).
//!
//! - `suite`: crypto suites and master keys; `derive`: session keys (§4.3)
//! - `transform`: AES in counter mode with HMAC-SHA1 (§4, RFC 6188), AES-GCM (RFC 7714)
//! - `streams`: the state of each SSRC: index, rollover counter, replay window (§3.3)
//! - `outbound`, `inbound`: the two directions of a session, each with its own key
//! - `snapshot`: both, to be written and read back
//!
//! A packet that fails changes nothing: neither the stream's state nor its own octets.

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

/// Maximum octets that [`Outbound::rtp`] adds.
pub const RTP_OVERHEAD: usize = 16;
/// Maximum octets that [`Outbound::rtcp`] adds.
pub const RTCP_OVERHEAD: usize = 20;

/// Octets of RTCP that are not encrypted: the first header with the sender's SSRC (§3.4).
const RTCP_CLEAR: usize = 8;
/// Octets of the E bit and the SRTCP index (§3.4).
const RTCP_WORD: usize = 4;
/// The E bit: the packet is encrypted.
const ENCRYPTED: u32 = 1 << 31;

/// The keys of both directions, as offer and answer settled them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Keys {
    /// The key with which we protect, from our description.
    pub local: MasterKey,
    /// The key with which the far end protects, from its description.
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
    /// Both directions in their initial state.
    pub fn new(keys: Keys) -> Self {
        let (outbound, inbound) = (Outbound::new(&keys.local), Inbound::new(&keys.remote));
        Protection { keys, outbound, inbound }
    }

    /// Sets, changes or removes the SRTP session.
    pub(crate) fn settle(this: &mut Option<Box<Protection>>, keys: Option<Keys>) {
        match (keys, this) {
            (Some(keys), Some(protection)) => protection.rekey(keys),
            (Some(keys), this) => *this = Some(Box::new(Protection::new(keys))),
            (None, this) => *this = None,
        }
    }

    /// Switches to these keys: a direction whose key is unchanged keeps its state.
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

/// The sender's SSRC of an RTCP packet; `None` if it is not one.
fn rtcp_ssrc(packet: &[u8]) -> Option<u32> {
    let [first, _, _, _, i0, i1, i2, i3] = *packet.first_chunk::<RTCP_CLEAR>()?;
    (first >> 6 == 2).then_some(u32::from_be_bytes([i0, i1, i2, i3]))
}
