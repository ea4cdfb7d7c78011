//! SRTP between a session and its sockets: what is sent gets its protection last, what
//! arrives loses it first.

use super::{Session, Verdict};
use crate::transport::demux::Protocol;
use crate::transport::protection::{Protection, UnprotectError};

impl Session {
    /// Octets of a received datagram without their protection. What fails is counted, and
    /// has no other consequence: no source, no timeout, no stream learns of it.
    pub(super) fn unprotect<'a>(
        &mut self,
        protocol: Protocol,
        datagram: &'a mut [u8],
    ) -> Result<&'a [u8], Verdict> {
        let Some(protection) = &mut self.protection else { return Ok(datagram) };
        let outcome = match protocol {
            Protocol::Rtp => protection.inbound.rtp(datagram),
            Protocol::Rtcp => protection.inbound.rtcp(datagram),
            Protocol::Other => return Ok(datagram),
        };
        match outcome {
            Ok(len) => Ok(&datagram[..len]),
            Err(UnprotectError::Replayed) => {
                self.replayed += 1;
                Err(Verdict::Duplicate)
            }
            Err(UnprotectError::Forged | UnprotectError::Malformed) => {
                self.unauthenticated += 1;
                Err(Verdict::Unauthenticated)
            }
        }
    }
}

/// Protects a packet in its buffer, if there is a key. `None`: it must not be sent.
pub(super) fn protect<'a>(
    protection: &mut Option<Box<Protection>>,
    protocol: Protocol,
    buffer: &'a mut [u8],
    len: usize,
) -> Option<&'a [u8]> {
    let len = match protection {
        Some(protection) if protocol == Protocol::Rtcp => protection.outbound.rtcp(buffer, len).ok()?,
        Some(protection) => protection.outbound.rtp(buffer, len).ok()?,
        None => len,
    };
    buffer.get(..len)
}
