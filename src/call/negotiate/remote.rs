//! What an audio line of the far end comes to for us.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use super::{ABS_CAPTURE_TIME, NegotiateError};
use crate::media::codec::Codec;
use crate::sdp::AudioMedia;

/// One usable audio line.
#[derive(Debug, Clone)]
pub(super) struct RemoteAudio {
    pub(super) protocol: String,
    pub(super) rtp: SocketAddr,
    /// Where it differs from the port after RTP's.
    pub(super) rtcp: Option<SocketAddr>,
    /// Codecs that we know, in their order, under their numbers.
    pub(super) formats: Vec<(u8, Codec)>,
    pub(super) telephone_event: Option<u8>,
    pub(super) abs_capture_time: Option<u8>,
    pub(super) rtcp_mux: bool,
    /// They send.
    pub(super) sends: bool,
    /// They want to receive.
    pub(super) receives: bool,
    ptime_ms: Option<u32>,
    maxptime_ms: Option<u32>,
}

impl RemoteAudio {
    /// # Errors
    /// `NoAudio`: this line is refused (port 0), or encrypted. `Address`: it
    /// cannot be reached.
    pub(super) fn new(audio: &AudioMedia) -> Result<Self, NegotiateError> {
        if audio.is_refused() || !audio.is_plain_rtp() {
            return Err(NegotiateError::NoAudio);
        }
        if audio.address == IpAddr::V4(Ipv4Addr::BROADCAST) {
            return Err(NegotiateError::Address(format!("{} is not one host", audio.address)));
        }
        let codec = |encoding: &str, rate: u32| {
            encoding.parse::<Codec>().ok().filter(|codec| codec.clock_rate() == rate)
        };
        let formats = audio
            .formats
            .iter()
            .filter(|format| format.channels == 1)
            .filter_map(|format| Some((format.payload_type, codec(&format.encoding, format.clock_rate)?)))
            .collect();
        let named_rtcp = audio.rtcp_port.is_some().then(|| audio.rtcp(false)).filter(|rtcp| {
            let ip = rtcp.ip();
            ip.is_ipv4() == audio.address.is_ipv4()
                && !ip.is_multicast()
                && !ip.is_unspecified()
                && ip != IpAddr::V4(Ipv4Addr::BROADCAST)
        });
        Ok(RemoteAudio {
            protocol: audio.protocol.clone(),
            rtp: audio.rtp(),
            rtcp: named_rtcp,
            formats,
            telephone_event: audio.telephone_event(8_000).map(|format| format.payload_type),
            // The one-byte form of RFC 8285 §4.2 has these.
            abs_capture_time: audio.extension_id(ABS_CAPTURE_TIME).filter(|id| (1..=14).contains(id)),
            rtcp_mux: audio.rtcp_mux,
            sends: audio.direction.has_send(),
            receives: !audio.is_hold(),
            ptime_ms: audio.ptime_ms,
            maxptime_ms: audio.maxptime_ms,
        })
    }

    /// The packet time to send to them: theirs where we can, else `ours`, and
    /// never more than they can take.
    pub(super) fn ptime_for(&self, ours: u32) -> u32 {
        let theirs = self.ptime_ms.filter(|ms| (10..=60).contains(ms) && ms.is_multiple_of(10));
        let longest = self.maxptime_ms.map_or(60, |ms| ms.min(60) / 10 * 10).max(10);
        theirs.unwrap_or(ours).min(longest)
    }
}
