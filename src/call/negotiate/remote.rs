//! What a media line of the far end says, read with all the defaults of RFC
//! 8866, RFC 3264 and RFC 3551.

use std::net::SocketAddr;

use sdp_types::{Attribute, ExtMap, Media, Rtcp, RtpMap, Session};

use super::{ABS_CAPTURE_TIME, NegotiateError};
use crate::media::codec::Codec;
use crate::media::session::Direction;

/// One usable audio line.
#[derive(Debug, Clone)]
pub(super) struct RemoteAudio {
    pub(super) rtp: SocketAddr,
    /// Where it differs from the port after RTP's.
    pub(super) rtcp: Option<SocketAddr>,
    /// Codecs that we know, in their order, under their numbers.
    pub(super) formats: Vec<(u8, Codec)>,
    pub(super) telephone_event: Option<u8>,
    pub(super) abs_capture_time: Option<u8>,
    pub(super) rtcp_mux: bool,
    /// They send.
    sends: bool,
    /// They want to receive.
    receives: bool,
    ptime_ms: Option<u32>,
    maxptime_ms: Option<u32>,
}

impl RemoteAudio {
    /// # Errors
    /// `NoAudio`: this line is something else, or refused (port 0). `Address`:
    /// it cannot be reached.
    pub(super) fn read(session: &Session, media: &Media) -> Result<Self, NegotiateError> {
        // Feedback profiles and SRTP answer in kind (RFC 3264 §6): not ours.
        if !media.media.eq_ignore_ascii_case("audio")
            || !media.proto.eq_ignore_ascii_case("RTP/AVP")
            || media.port == 0
        {
            return Err(NegotiateError::NoAudio);
        }
        let connection = media
            .connections
            .first()
            .or(session.connection.as_ref())
            .ok_or_else(|| NegotiateError::Address("no c= line".into()))?;
        let ip = connection.try_address().map_err(|error| NegotiateError::Address(error.to_string()))?.ip;
        let broadcast = ip.to_string() == "255.255.255.255";
        if ip.is_multicast() || broadcast {
            return Err(NegotiateError::Address(format!("{ip} is not one host")));
        }
        let rtp = SocketAddr::new(ip, media.port);

        let direction = direction(&media.attributes).or_else(|| direction(&session.attributes));
        let (sends, receives) = direction.unwrap_or((true, true));
        // Hold as in RFC 2543: an address that nothing can be sent to (RFC 3264 §8.4).
        let receives = receives && !ip.is_unspecified();

        let maps: Vec<RtpMap> = media.attributes_typed::<RtpMap>().filter_map(Result::ok).collect();
        let types = || media.fmt.split_ascii_whitespace().filter_map(|fmt| fmt.parse::<u8>().ok());
        let codec = |payload_type: u8| match maps.iter().find(|map| map.payload_type == payload_type) {
            Some(map) => map.encoding_name.parse::<Codec>().ok().filter(|codec| {
                map.clock_rate == codec.clock_rate()
                    && map.encoding_params.as_deref().is_none_or(|channels| channels == "1")
            }),
            None => Codec::from_payload_type(payload_type),
        };
        let telephone_event = types().filter(|payload_type| *payload_type <= 127).find(|payload_type| {
            maps.iter().any(|map| {
                map.payload_type == *payload_type
                    && map.encoding_name.eq_ignore_ascii_case("telephone-event")
                    && map.clock_rate == 8000
            })
        });

        let rtcp = media.get_first_attribute_typed::<Rtcp>().and_then(Result::ok).and_then(|rtcp| {
            let host = match rtcp.try_address() {
                Some(address) => address.ok()?.ip,
                None => ip,
            };
            let usable = rtcp.port != 0
                && !host.is_multicast()
                && !host.is_unspecified()
                && host.is_ipv4() == ip.is_ipv4();
            usable.then(|| SocketAddr::new(host, rtcp.port))
        });

        // The session level holds for every line (RFC 8285 §5).
        let extensions = media.attributes_typed::<ExtMap>().chain(session.attributes_typed::<ExtMap>());
        let abs_capture_time = extensions
            .filter_map(Result::ok)
            .find(|map| map.uri == ABS_CAPTURE_TIME && (1..=14).contains(&map.id))
            .map(|map| map.id);

        Ok(RemoteAudio {
            rtp,
            rtcp,
            formats: types().filter(|pt| *pt <= 127).filter_map(|pt| codec(pt).map(|c| (pt, c))).collect(),
            telephone_event,
            abs_capture_time,
            rtcp_mux: media.has_attribute("rtcp-mux"),
            sends,
            receives,
            ptime_ms: number(media, "ptime"),
            maxptime_ms: number(media, "maxptime"),
        })
    }

    /// The packet time to send to them: theirs where we can, else `ours`, and
    /// never more than they can take.
    pub(super) fn ptime_for(&self, ours: u32) -> u32 {
        let theirs = self.ptime_ms.filter(|ms| (10..=60).contains(ms) && ms.is_multiple_of(10));
        let longest = self.maxptime_ms.map_or(60, |ms| ms.min(60) / 10 * 10).max(10);
        theirs.unwrap_or(ours).min(longest)
    }

    /// Their direction, turned round (RFC 3264 §6.1).
    pub(super) fn our_direction(&self) -> Direction {
        Direction { send: self.receives, receive: self.sends }
    }
}

/// (send, receive) as written; the last one counts.
fn direction(attributes: &[Attribute]) -> Option<(bool, bool)> {
    attributes.iter().rev().find_map(|attribute| match attribute.attribute.as_str() {
        "sendrecv" => Some((true, true)),
        "sendonly" => Some((true, false)),
        "recvonly" => Some((false, true)),
        "inactive" => Some((false, false)),
        _ => None,
    })
}

/// A number of milliseconds; some write `20.0`.
fn number(media: &Media, name: &str) -> Option<u32> {
    let value = media.get_first_attribute_value(name)??.trim();
    value.split('.').next()?.parse().ok()
}
