//! SRTP of relay endpoints, between their sockets and the machine, which sees only plain packets. Each leg has
//! its own keys: a packet is decrypted with one leg's keys and encrypted with the other's.

use crate::transport::Channel;
use crate::transport::protection::{Protection, RTCP_OVERHEAD, UnprotectError};

/// Room for a datagram and its SRTP overhead.
pub(super) type Room = [u8; super::thread::SIZE + RTCP_OVERHEAD];

/// RFC 5761 §4: tells RTCP from RTP as the machine does.
fn is_rtcp(channel: Channel, datagram: &[u8]) -> bool {
    channel == Channel::Rtcp || datagram.get(1).is_some_and(|second| (64..=95).contains(&(second & 0x7F)))
}

/// Decrypts a datagram in place; returns its remaining length.
///
/// # Errors
/// The datagram is forged, plain or a replay.
pub(super) fn unprotect(
    protection: &mut Protection,
    channel: Channel,
    datagram: &mut [u8],
) -> Result<usize, UnprotectError> {
    match is_rtcp(channel, datagram) {
        true => protection.inbound.rtcp(datagram),
        false => protection.inbound.rtp(datagram),
    }
}

/// Returns the datagram as it is to be sent; `None` if it must not be sent.
pub(super) fn protect<'a>(
    protection: &mut Protection,
    channel: Channel,
    datagram: &[u8],
    room: &'a mut Room,
) -> Option<&'a [u8]> {
    room.get_mut(..datagram.len())?.copy_from_slice(datagram);
    let protected = match is_rtcp(channel, datagram) {
        true => protection.outbound.rtcp(room, datagram.len()),
        false => protection.outbound.rtp(room, datagram.len()),
    };
    room.get(..protected.ok()?)
}
