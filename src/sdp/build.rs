//! Building offers and answers.

use std::net::IpAddr;

use sdp_types::{Media, Session, Time};

use super::{AudioMedia, SessionDescription};

/// What identifies our description within a call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Origin {
    /// Chosen once per call, at random; below 2^63 (RFC 3264 §5).
    pub session_id: u64,
    /// Grows by one with every description that differs from the last (§8).
    pub version: u64,
    /// Our address.
    pub address: IpAddr,
}

impl Origin {
    /// A session whose lines are received at one address.
    fn session(&self, connection: IpAddr) -> Session {
        let origin = sdp_types::Origin::with_ip_addr(self.session_id, self.version, self.address);
        let mut session = Session::new(origin, "-");
        session.connection = Some(sdp_types::Connection::from_ip_addr(connection));
        session.times.push(Time::new(0, 0));
        session
    }
}

impl SessionDescription {
    /// An offer with one audio line (RFC 3264 §5).
    pub fn offer(origin: &Origin, audio: &AudioMedia) -> SessionDescription {
        let mut session = origin.session(audio.address);
        session.medias.push(line(audio));
        SessionDescription { session }
    }

    /// An answer to `offer`: a line for each of its lines in the same order, the
    /// one with index `index` being `audio` and every other one refused with
    /// port 0 (RFC 3264 §6).
    pub fn answer(
        origin: &Origin,
        offer: &SessionDescription,
        index: usize,
        audio: &AudioMedia,
    ) -> SessionDescription {
        let mut session = origin.session(audio.address);
        // RFC 3264 §6: the t= line is the offer's.
        session.times.clone_from(&offer.session.times);
        session.medias = offer
            .session
            .medias
            .iter()
            .enumerate()
            .map(|(position, offered)| if position == index { line(audio) } else { refused(offered) })
            .collect();
        SessionDescription { session }
    }

    /// A later offer in a call whose last description, ours or theirs, had these
    /// lines: lines never disappear and keep their places (RFC 3264 §8).
    pub fn reoffer(
        origin: &Origin,
        last: &SessionDescription,
        index: usize,
        audio: &AudioMedia,
    ) -> SessionDescription {
        SessionDescription::answer(origin, last, index, audio)
    }
}

/// The line, without a connection line, which would only repeat the session's.
fn line(audio: &AudioMedia) -> Media {
    let mut media = audio.write();
    media.connections.clear();
    media
}

fn refused(offered: &Media) -> Media {
    Media {
        media: offered.media.clone(),
        port: 0,
        num_ports: None,
        proto: offered.proto.clone(),
        fmt: offered.fmt.clone(),
        media_title: None,
        connections: Vec::new(),
        bandwidths: Vec::new(),
        key: None,
        attributes: Vec::new(),
    }
}
