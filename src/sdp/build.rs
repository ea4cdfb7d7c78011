//! Builds offers and answers.

use std::net::IpAddr;

use b2b_base::util::host::Host;
use sdp_types::{Media, NetType, Session, Time};

use super::{AudioMedia, SessionDescription};

/// The identity of our description within a call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Origin {
    /// Chosen at random once per call; below 2^63 (RFC 3264 §5).
    pub session_id: u64,
    /// Incremented with every description that differs from the previous one (§8).
    pub version: u64,
    /// Our address.
    pub address: IpAddr,
}

impl Origin {
    /// A session whose media are received at one address.
    fn session(&self, connection: IpAddr) -> Session {
        let origin = sdp_types::Origin {
            username: None,
            sess_id: self.session_id.to_string(),
            sess_version: self.version,
            nettype: NetType::In,
            addrtype: self.address.into(),
            unicast_address: Host(self.address).to_string(),
        };
        let mut session = Session::new(origin, "-");
        session.connection = Some(sdp_types::Connection {
            nettype: NetType::In,
            addrtype: connection.into(),
            connection_address: Host(connection).to_string(),
        });
        session.times.push(Time::new(0, 0));
        session
    }
}

impl SessionDescription {
    /// An offer with one audio line (RFC 3264 §5).
    pub fn offer(origin: &Origin, audio: &AudioMedia) -> SessionDescription {
        let mut session = origin.session(audio.address);
        session.medias.push(audio.write());
        session.into()
    }

    /// An answer to `offer`: a line for each of its lines in the same order, where the line
    /// `index` is `audio` and all others are refused with port 0 (RFC 3264 §6).
    pub fn answer(
        origin: &Origin,
        offer: &SessionDescription,
        index: usize,
        audio: &AudioMedia,
    ) -> SessionDescription {
        let mut session = origin.session(audio.address);
        // RFC 3264 §6: the t= line equals that of the offer.
        session.times.clone_from(&offer.session.times);
        session.medias = offer
            .session
            .medias
            .iter()
            .enumerate()
            .map(|(position, offered)| if position == index { audio.write() } else { refused(offered) })
            .collect();
        session.into()
    }

    /// A later offer in a call whose last description, from either side, had these lines:
    /// lines are never removed and keep their positions (RFC 3264 §8).
    pub fn reoffer(
        origin: &Origin,
        last: &SessionDescription,
        index: usize,
        audio: &AudioMedia,
    ) -> SessionDescription {
        SessionDescription::answer(origin, last, index, audio)
    }
}

fn refused(offered: &Media) -> Media {
    Media {
        media: offered.media.clone(),
        port: 0,
        num_ports: None,
        proto: offered.proto.clone(),
        // A line has at least one format (RFC 8866 §9).
        fmt: if offered.fmt.is_empty() { "0".to_owned() } else { offered.fmt.clone() },
        media_title: None,
        connections: Vec::new(),
        bandwidths: Vec::new(),
        key: None,
        attributes: Vec::new(),
    }
}
