//! What an audio line of the far end comes to for us.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use super::{ABS_CAPTURE_TIME, NegotiateError, encoded};
use b2b_media::codec::Codec;
use b2b_media::remote::SendFormat;
use b2b_sdp::{AudioMedia, Crypto, Format};

/// One usable audio line.
#[derive(Debug, Clone)]
pub(super) struct RemoteAudio {
    pub(super) protocol: String,
    /// SRTP, and nothing else will do.
    pub(super) secure: bool,
    /// Their keys, in their order.
    pub(super) crypto: Vec<Crypto>,
    pub(super) rtp: SocketAddr,
    /// Where it differs from the port after RTP's.
    pub(super) rtcp: Option<SocketAddr>,
    /// Codecs that we know, in their order, under their numbers.
    pub(super) formats: Vec<SendFormat>,
    /// `telephone-event` in the clocks that we know, at most one of each.
    pub(super) events: Vec<(u8, u32)>,
    pub(super) abs_capture_time: Option<u8>,
    pub(super) rtcp_mux: bool,
    /// They send.
    pub(super) sends: bool,
    /// They want to receive.
    pub(super) receives: bool,
}

impl RemoteAudio {
    /// `ptime_ms` is our packet time, for who asks for none.
    ///
    /// # Errors
    /// `NoAudio`: this line is refused (port 0), or neither RTP nor SRTP with keys in the
    /// description. `Address`: it cannot be reached.
    pub(super) fn new(audio: &AudioMedia, ptime_ms: u32) -> Result<Self, NegotiateError> {
        if audio.is_refused() || !(audio.is_plain_rtp() || audio.is_secure_rtp()) {
            return Err(NegotiateError::NoAudio);
        }
        if audio.address == IpAddr::V4(Ipv4Addr::BROADCAST) {
            return Err(NegotiateError::Address(format!("{} is not one host", audio.address)));
        }
        let known = |format: &Format| {
            let codec: Codec = format.encoding.parse().ok()?;
            (codec.clock_rate() == format.clock_rate && codec.channels() == format.channels).then_some(codec)
        };
        let ptime_ms = ptime_for(audio, ptime_ms);
        let usable = |format: &Format| Some(encoded(format, known(format)?, ptime_ms));
        let formats = audio.formats.iter().filter_map(usable).collect();
        let events = [8_000, 48_000]
            .into_iter()
            .filter_map(|clock_rate| Some((audio.telephone_event(clock_rate)?.payload_type, clock_rate)));
        Ok(RemoteAudio {
            protocol: audio.protocol.clone(),
            secure: audio.is_secure_rtp(),
            crypto: audio.crypto.clone(),
            rtp: audio.rtp(),
            rtcp: audio.named_rtcp(),
            formats,
            events: events.collect(),
            // The one-byte form of RFC 8285 §4.2 has these.
            abs_capture_time: audio.extension_id(ABS_CAPTURE_TIME).filter(|id| (1..=14).contains(id)),
            rtcp_mux: audio.rtcp_mux,
            sends: audio.direction.has_send(),
            receives: !audio.is_hold(),
        })
    }
}

/// The packet time to send to them: theirs where we can, else `ours`, and
/// never more than they can take.
fn ptime_for(audio: &AudioMedia, ours: u32) -> u32 {
    let theirs = audio.ptime_ms.filter(|ms| (10..=60).contains(ms) && ms.is_multiple_of(10));
    let longest = audio.maxptime_ms.map_or(60, |ms| ms.min(60) / 10 * 10).max(10);
    theirs.unwrap_or(ours).min(longest)
}
