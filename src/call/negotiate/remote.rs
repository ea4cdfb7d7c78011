//! What an audio line of the far end comes to for us.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use super::{ABS_CAPTURE_TIME, NegotiateError, parameter};
use b2b_media::codec::Codec;
use b2b_media::session::EventFormat;
use b2b_sdp::{AudioMedia, Crypto, Format};

/// A codec of theirs that we know.
#[derive(Debug, Clone, Copy)]
pub(super) struct RemoteFormat {
    pub(super) payload_type: u8,
    pub(super) codec: Codec,
    /// Opus: they make use of redundancy for lost packets (RFC 7587 §6.1).
    pub(super) fec: bool,
    /// Opus: bits a second at most.
    pub(super) max_bitrate: Option<u32>,
}

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
    pub(super) formats: Vec<RemoteFormat>,
    /// `telephone-event` in the clocks that we know, at most one of each.
    pub(super) events: Vec<EventFormat>,
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
    /// `NoAudio`: this line is refused (port 0), or neither RTP nor SRTP with keys in the
    /// description. `Address`: it cannot be reached.
    pub(super) fn new(audio: &AudioMedia) -> Result<Self, NegotiateError> {
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
        let usable = |format: &Format| {
            Some(RemoteFormat {
                payload_type: format.payload_type,
                codec: known(format)?,
                fec: parameter(format, "useinbandfec") == Some(1),
                max_bitrate: parameter(format, "maxaveragebitrate"),
            })
        };
        let formats = audio.formats.iter().filter_map(usable).collect();
        let events = [8_000, 48_000].into_iter().filter_map(|clock_rate| {
            let payload_type = audio.telephone_event(clock_rate)?.payload_type;
            Some(EventFormat { payload_type, clock_rate })
        });
        let named_rtcp = audio.rtcp_port.is_some().then(|| audio.rtcp(false)).filter(|rtcp| {
            let ip = rtcp.ip();
            ip.is_ipv4() == audio.address.is_ipv4()
                && !ip.is_multicast()
                && !ip.is_unspecified()
                && ip != IpAddr::V4(Ipv4Addr::BROADCAST)
        });
        Ok(RemoteAudio {
            protocol: audio.protocol.clone(),
            secure: audio.is_secure_rtp(),
            crypto: audio.crypto.clone(),
            rtp: audio.rtp(),
            rtcp: named_rtcp,
            formats,
            events: events.collect(),
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
