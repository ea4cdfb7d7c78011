//! A session's SRTP state, to be written and read back such that no index is used twice under one key.
//!
//! Sending continues after everything that may have been sent since ([`MARGIN`]), for RTP together
//! with the stream's sequence numbers, which skip as many. Receiving continues with the replay
//! window of the snapshot; packets accepted since are not known.

use bytes::Bytes;

use super::streams::{StreamSnapshot, Streams};
use super::{ENCRYPTED, Inbound, Keys, MasterKey, Outbound, Protection, Suite};
use crate::snapshot::{MARGIN, RestoreError};

/// Bits of an SRTP index to which a margin can still be added; an index has 48 (RFC 3711 §3.3.1).
const RTP_BITS: u32 = 47;
/// Bits of an SRTCP index (§3.4).
const RTCP_BITS: u32 = ENCRYPTED.trailing_zeros();

/// A [`Protection`]. Its octets contain the keys and are as secret.
#[derive(Debug, Clone, PartialEq, serde::Serialize, serde::Deserialize)]
pub(crate) struct ProtectionSnapshot {
    local: MasterKey,
    remote: MasterKey,
    sent: Vec<StreamSnapshot>,
    sent_rtcp: Vec<StreamSnapshot>,
    received: Vec<StreamSnapshot>,
    received_rtcp: Vec<StreamSnapshot>,
    /// RTP streams under the far end's previous key.
    received_before: Option<Vec<StreamSnapshot>>,
}

/// A key that is serialized with its octets, and printed without. Not `Debug`, which would show it.
#[derive(serde::Serialize, serde::Deserialize)]
pub(super) struct KeyOctets {
    suite: Suite,
    key_salt: Bytes,
    mki: u8,
}

impl From<MasterKey> for KeyOctets {
    fn from(key: MasterKey) -> Self {
        KeyOctets {
            suite: key.suite(),
            key_salt: Bytes::copy_from_slice(key.key_salt().expose()),
            mki: key.mki_len() as u8,
        }
    }
}

impl TryFrom<KeyOctets> for MasterKey {
    type Error = RestoreError;

    fn try_from(octets: KeyOctets) -> Result<Self, RestoreError> {
        let key = MasterKey::new(octets.suite, &octets.key_salt).ok_or(RestoreError::Key)?;
        Ok(key.with_mki(octets.mki))
    }
}

impl ProtectionSnapshot {
    /// The state as it stands.
    pub fn new(protection: &Protection) -> Self {
        let Protection { keys, outbound, inbound } = protection;
        ProtectionSnapshot {
            local: keys.local.clone(),
            remote: keys.remote.clone(),
            sent: outbound.rtp_streams.snapshot(),
            sent_rtcp: outbound.rtcp_streams.snapshot(),
            received: inbound.rtp_streams.snapshot(),
            received_rtcp: inbound.rtcp_streams.snapshot(),
            received_before: inbound.former.as_ref().map(|former| former.snapshot()),
        }
    }

    /// The protection of an endpoint whose stream had this SSRC and sequence number at the time of
    /// the snapshot.
    ///
    /// # Errors
    /// The state is not one that was written here.
    pub fn restored(&self, (ssrc, sequence): (u32, u16)) -> Result<Protection, RestoreError> {
        let keys = Keys { local: self.local.clone(), remote: self.remote.clone() };
        let mut outbound = Outbound::new(&keys.local);
        outbound.rtp_streams = Streams::restored(&self.sent, RTP_BITS)?;
        outbound.rtcp_streams = Streams::restored(&self.sent_rtcp, RTCP_BITS)?;
        // A stream not in the snapshot may have started since: after that number, and before any rollover.
        outbound.rtp_streams.pass_over(MARGIN.into(), ssrc, sequence.into())?;
        outbound.rtcp_streams.pass_over(MARGIN.into(), ssrc, 0)?;
        let mut inbound = Inbound::new(&keys.remote);
        inbound.rtp_streams = Streams::restored(&self.received, RTP_BITS)?;
        inbound.rtcp_streams = Streams::restored(&self.received_rtcp, RTCP_BITS)?;
        let former = self.received_before.as_deref().map(|it| Streams::restored(it, RTP_BITS));
        inbound.former = former.transpose()?.map(Box::new);
        Ok(Protection { keys, outbound, inbound })
    }
}

#[cfg(test)]
mod tests {
    use super::super::{ProtectError, RTP_OVERHEAD};
    use super::*;

    fn sent(protection: &mut Protection, sequence: u16) -> Result<usize, ProtectError> {
        let mut packet = [0; 20 + RTP_OVERHEAD];
        (packet[0], packet[11]) = (0x80, 7);
        packet[2..4].copy_from_slice(&sequence.to_be_bytes());
        protection.outbound.rtp(&mut packet, 20)
    }

    #[test]
    fn no_index_is_used_that_may_have_been_used_since() {
        let key = |n| MasterKey::generate(Suite::AesCm128HmacSha1_80, |octets| octets.fill(n));
        let mut protection = Protection::new(Keys { local: key(1), remote: key(2) });
        for last in [65_000, 65_400, 3] {
            sent(&mut protection, last).expect("in order");
        }
        let snapshot = ProtectionSnapshot::new(&protection);
        for since in [0, 1, 128, MARGIN - 100, MARGIN - 1, MARGIN] {
            let mut restored = snapshot.restored((7, 3)).expect("what was written");
            assert_eq!(sent(&mut restored, 3 + since), Err(ProtectError::Repeated), "{since} later");
            sent(&mut restored, 3 + MARGIN + 1).expect("ahead of all");
        }
    }
}
