//! Offer and answer (RFC 3264) for one audio stream, as pure functions: session
//! descriptions in, session descriptions and [`MediaParams`] out.
//!
//! - `remote`: what the far end says about its audio
//! - `local`: the descriptions that we write
//!
//! What an answer settles does not depend on who asked first, so both sides end
//! in `settle`.

mod local;
mod remote;
#[cfg(test)]
mod tests;

use std::net::SocketAddr;

use sdp_types::{Media, Session};

use crate::media::codec::Codec;
use crate::media::session::{Direction, MediaParams, SendFormat};
use remote::RemoteAudio;

/// The header extension that carries the capture time.
pub const ABS_CAPTURE_TIME: &str = "http://www.webrtc.org/experiments/rtp-hdrext/abs-capture-time";

/// Payload type under which we offer `telephone-event` (RFC 4733).
pub const TELEPHONE_EVENT_PT: u8 = 101;

/// Media lines that a description may have; more is hostile.
const MAX_MEDIA_LINES: usize = 32;
/// Size that a description may have, bytes.
const MAX_SIZE: usize = 16 * 1024;

/// Our side of a session description.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LocalMedia {
    /// Where we receive RTP; never a wildcard. RTCP is one port above unless
    /// the far end muxes.
    pub rtp: SocketAddr,
    /// Codecs in order of priority, for offers.
    pub codecs: Vec<Codec>,
    /// The packet time that we ask for, and send unless the far end asks for
    /// another, ms.
    pub ptime_ms: u32,
    /// `sess-id` of the `o=` line: the same for all of a leg's descriptions.
    pub session_id: u64,
}

/// Why a description could not be agreed to.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NegotiateError {
    #[error("the session description does not parse: {0}")]
    Malformed(String),
    #[error("no audio over RTP/AVP on offer")]
    NoAudio,
    #[error("no common codec; we have PCMU and PCMA")]
    NoCommonCodec,
    #[error("no usable address for audio: {0}")]
    Address(String),
}

impl NegotiateError {
    /// The status that refuses the INVITE, and its reason phrase.
    pub fn status(&self) -> (u16, &'static str) {
        match self {
            NegotiateError::Malformed(_) => (400, "Bad Session Description"),
            NegotiateError::NoAudio | NegotiateError::NoCommonCodec | NegotiateError::Address(_) => {
                (488, "Not Acceptable Here")
            }
        }
    }
}

/// Reads a description from a message body.
///
/// # Errors
/// It is not one, or beyond our limits.
pub fn parse(body: &[u8]) -> Result<Session, NegotiateError> {
    if body.len() > MAX_SIZE {
        return Err(NegotiateError::Malformed(format!("{} bytes, more than {MAX_SIZE}", body.len())));
    }
    let session = Session::parse(body).map_err(|error| NegotiateError::Malformed(error.to_string()))?;
    if session.medias.len() > MAX_MEDIA_LINES {
        return Err(NegotiateError::Malformed(format!("more than {MAX_MEDIA_LINES} media lines")));
    }
    Ok(session)
}

/// Writes a description into a message body.
pub fn write(session: &Session) -> Vec<u8> {
    let mut body = Vec::with_capacity(512);
    // Writing into a Vec cannot fail.
    let _ = session.write(&mut body);
    body
}

/// Our offer. `version` goes up with each description that a leg sends (RFC
/// 3264 §8).
pub fn make_offer(local: &LocalMedia, version: u64, direction: Direction) -> Session {
    local::offer(local, version, direction)
}

/// Whether an offer has a stream that we could take. What it says is what
/// [`make_answer`] would fail with, before there is a port to answer with.
///
/// # Errors
/// See [`NegotiateError`].
pub fn check_offer(local: &LocalMedia, offer: &Session) -> Result<(), NegotiateError> {
    choose(local, offer).map(|_| ())
}

/// Our answer to an offer: its first usable audio line taken, every other line
/// refused with port 0 (RFC 3264 §6), codecs in the offerer's order.
///
/// # Errors
/// See [`NegotiateError`]; refuse with its [`NegotiateError::status`].
pub fn make_answer(
    local: &LocalMedia,
    version: u64,
    offer: &Session,
) -> Result<(Session, MediaParams), NegotiateError> {
    let (index, remote) = choose(local, offer)?;
    // Under their numbers, so that both ways have the same.
    let params = settle(local, &remote, &remote.formats, remote.telephone_event)?;
    Ok((local::answer(local, version, offer, index, &remote, &params), params))
}

/// What the answer to our offer settles.
///
/// # Errors
/// See [`NegotiateError`]: the call cannot go on; end it.
pub fn apply_answer(local: &LocalMedia, answer: &Session) -> Result<MediaParams, NegotiateError> {
    // We offer one line; an answer has the same lines in the same order (§6).
    let media = answer.medias.first().ok_or(NegotiateError::NoAudio)?;
    let remote = usable(local, answer, media)?;
    let ours: Vec<_> = local.codecs.iter().map(|codec| (codec.payload_type(), *codec)).collect();
    settle(local, &remote, &ours, Some(TELEPHONE_EVENT_PT))
}

/// The first audio line that we can use, or what is wrong with the best one.
fn choose(local: &LocalMedia, offer: &Session) -> Result<(usize, RemoteAudio), NegotiateError> {
    let mut error = NegotiateError::NoAudio;
    for (index, media) in offer.medias.iter().enumerate() {
        match usable(local, offer, media) {
            Ok(remote) => return Ok((index, remote)),
            Err(NegotiateError::NoAudio) => {}
            Err(why) => error = why,
        }
    }
    Err(error)
}

fn usable(local: &LocalMedia, session: &Session, media: &Media) -> Result<RemoteAudio, NegotiateError> {
    let remote = RemoteAudio::read(session, media)?;
    if remote.rtp.is_ipv4() != local.rtp.is_ipv4() {
        return Err(NegotiateError::Address(format!(
            "{} is not of our address family ({})",
            remote.rtp.ip(),
            local.rtp.ip()
        )));
    }
    if !remote.formats.iter().any(|(_, codec)| local.codecs.contains(codec)) {
        return Err(NegotiateError::NoCommonCodec);
    }
    Ok(remote)
}

/// `receive_as` are the formats that we listed or will list, as we number them.
fn settle(
    local: &LocalMedia,
    remote: &RemoteAudio,
    receive_as: &[(u8, Codec)],
    telephone_event: Option<u8>,
) -> Result<MediaParams, NegotiateError> {
    let (payload_type, codec) = *remote
        .formats
        .iter()
        .find(|(_, codec)| local.codecs.contains(codec))
        .ok_or(NegotiateError::NoCommonCodec)?;
    let common = |codec: &Codec| {
        local.codecs.contains(codec) && remote.formats.iter().any(|(_, theirs)| theirs == codec)
    };
    Ok(MediaParams {
        remote_rtp: remote.rtp,
        remote_rtcp: remote.rtcp,
        send: SendFormat { payload_type, codec, ptime_ms: remote.ptime_for(local.ptime_ms) },
        receive: receive_as.iter().filter(|(_, codec)| common(codec)).copied().collect(),
        telephone_event_pt: telephone_event.filter(|_| remote.telephone_event.is_some()),
        abs_capture_time_id: remote.abs_capture_time,
        direction: remote.our_direction(),
        rtcp_mux: remote.rtcp_mux,
    })
}
