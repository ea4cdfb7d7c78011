//! The session descriptions that we write.

use sdp_types::{
    Attribute, Connection, ExtMap, Media, MediaType, Origin, RtpMap, Session, Time, TransportProto,
};

use super::remote::RemoteAudio;
use super::{ABS_CAPTURE_TIME, LocalMedia, TELEPHONE_EVENT_PT};
use crate::media::codec::Codec;
use crate::media::session::{Direction, MediaParams};

/// Our local number for the header extension in offers.
const ABS_CAPTURE_TIME_ID: u8 = 1;

pub(super) fn offer(local: &LocalMedia, version: u64, direction: Direction) -> Session {
    let formats: Vec<_> = local.codecs.iter().map(|codec| (codec.payload_type(), *codec)).collect();
    let audio = Audio {
        formats: &formats,
        telephone_event: Some(TELEPHONE_EVENT_PT),
        ptime_ms: local.ptime_ms,
        rtcp_mux: true,
        abs_capture_time: Some(ABS_CAPTURE_TIME_ID),
        direction,
    };
    let mut session = session(local, version);
    session.add_time(Time::new(0, 0));
    session.add_media(audio.line(local));
    session
}

pub(super) fn answer(
    local: &LocalMedia,
    version: u64,
    offer: &Session,
    taken: usize,
    remote: &RemoteAudio,
    params: &MediaParams,
) -> Session {
    let audio = Audio {
        formats: &params.receive,
        telephone_event: remote.telephone_event,
        ptime_ms: params.send.ptime_ms,
        rtcp_mux: params.rtcp_mux,
        abs_capture_time: params.abs_capture_time_id,
        direction: params.direction,
    };
    let mut session = session(local, version);
    // RFC 3264 §6: the t= line is the offer's.
    session.add_times(offer.times.iter().cloned());
    for (index, media) in offer.medias.iter().enumerate() {
        session.add_media(if index == taken { audio.line(local) } else { refused(media) });
    }
    session
}

fn session(local: &LocalMedia, version: u64) -> Session {
    let mut session = Session::new(Origin::with_ip_addr(local.session_id, version, local.rtp.ip()), "-");
    session.set_connection(Connection::from_ip_addr(local.rtp.ip()));
    session
}

/// A line of the offer that we do not take: the same with port 0.
fn refused(media: &Media) -> Media {
    Media {
        port: 0,
        num_ports: None,
        media_title: None,
        connections: Vec::new(),
        bandwidths: Vec::new(),
        key: None,
        attributes: Vec::new(),
        ..media.clone()
    }
}

struct Audio<'a> {
    formats: &'a [(u8, Codec)],
    telephone_event: Option<u8>,
    ptime_ms: u32,
    rtcp_mux: bool,
    abs_capture_time: Option<u8>,
    direction: Direction,
}

impl Audio<'_> {
    fn line(&self, local: &LocalMedia) -> Media {
        let types: Vec<String> = self
            .formats
            .iter()
            .map(|(pt, _)| *pt)
            .chain(self.telephone_event)
            .map(|pt| pt.to_string())
            .collect();
        let mut media =
            Media::new(MediaType::Audio, local.rtp.port(), TransportProto::RtpAvp, types.join(" "));
        for (pt, codec) in self.formats {
            media.add_attribute(RtpMap::new(*pt, codec.name(), codec.clock_rate()));
        }
        if let Some(pt) = self.telephone_event {
            media.add_attribute(RtpMap::new(pt, "telephone-event", 8000));
            // Every DTMF event and flash (RFC 4733 §3.2).
            media.add_attribute_with_value("fmtp", format!("{pt} 0-16"));
        }
        media.add_attribute_with_value("ptime", self.ptime_ms);
        if let Some(id) = self.abs_capture_time {
            media.add_attribute(ExtMap::new(id, ABS_CAPTURE_TIME));
        }
        if self.rtcp_mux {
            media.add_attribute_from_str("rtcp-mux");
        }
        media.add_attribute(Attribute::new(match (self.direction.send, self.direction.receive) {
            (true, true) => "sendrecv",
            (true, false) => "sendonly",
            (false, true) => "recvonly",
            (false, false) => "inactive",
        }));
        media
    }
}
