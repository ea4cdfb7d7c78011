//! Offer and answer (RFC 3264) for one audio stream, as pure functions: session
//! descriptions in, session descriptions and [`MediaParams`] out.
//!
//! - `crypto`: SRTP and its keys
//! - `pair`: offer and answer across two legs that are joined
//! - `remote`: what the far end's audio line comes to for us
//!
//! What an answer settles does not depend on who asked first, so both sides end
//! in `settle`.

pub mod crypto;
#[cfg(test)]
mod crypto_tests;
#[cfg(test)]
mod fixtures;
pub mod pair;
mod remote;
#[cfg(test)]
mod tests;
#[cfg(test)]
mod wide_tests;

use std::net::SocketAddr;

use b2b_media::codec::Codec;
use b2b_media::local::MediaParams;
use b2b_media::remote::{EventTypes, Remote, SendFormat, Voice};
use b2b_sdp::{Attribute, AudioMedia, ExtMap, Format, Origin, SdpError, SessionDescription};
use crypto::LocalCrypto;
use remote::RemoteAudio;

/// The header extension that carries the capture time.
pub const ABS_CAPTURE_TIME: &str = "http://www.webrtc.org/experiments/rtp-hdrext/abs-capture-time";

/// Our local number for it in offers.
const ABS_CAPTURE_TIME_ID: u8 = 1;

/// Payload type under which we offer `telephone-event` (RFC 4733).
pub const TELEPHONE_EVENT_PT: u8 = 101;

/// The same in the clock of Opus, beside which it is offered too (RFC 4733 §2.1).
const WIDE_EVENT: (u8, u32) = (110, 48_000);
/// The one that everybody takes.
const EVENT: (u8, u32) = (TELEPHONE_EVENT_PT, 8_000);

/// Media lines that a description may have; more is hostile.
const MAX_MEDIA_LINES: usize = 32;

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
    /// What we offer: less than `SendRecv` while we hold the far end. An answer of ours takes
    /// no more than this either.
    pub direction: b2b_sdp::Direction,
    /// Whether media are encrypted, and our keys.
    pub crypto: LocalCrypto,
    /// More attributes of the audio line, as they are to be written.
    pub attributes: Vec<Attribute>,
}

/// A description of ours, and which of its lines is the audio that we use.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Described {
    /// To be sent.
    pub description: SessionDescription,
    /// Index of our line.
    pub audio: usize,
}

/// Why a description could not be agreed to.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum NegotiateError {
    #[error("the session description does not parse: {0}")]
    Malformed(String),
    #[error("no audio over RTP/AVP on offer")]
    NoAudio,
    #[error("no SRTP with keys that we can use, and plain RTP is not allowed")]
    NoKeys,
    #[error("no common codec, and none that we can transcode")]
    NoCommonCodec,
    #[error("no usable address for audio: {0}")]
    Address(String),
}

impl NegotiateError {
    /// The status that refuses the INVITE, and its reason phrase.
    pub fn status(&self) -> (u16, &'static str) {
        match self {
            NegotiateError::Malformed(_) => (400, "Bad Session Description"),
            NegotiateError::NoAudio
            | NegotiateError::NoKeys
            | NegotiateError::NoCommonCodec
            | NegotiateError::Address(_) => (488, "Not Acceptable Here"),
        }
    }
}

impl From<SdpError> for NegotiateError {
    fn from(error: SdpError) -> Self {
        match error {
            SdpError::Malformed(_) | SdpError::TooLarge(_) => NegotiateError::Malformed(error.to_string()),
            SdpError::NoConnection(_) | SdpError::Address(..) => NegotiateError::Address(error.to_string()),
            SdpError::NotAudio(_) => NegotiateError::NoAudio,
        }
    }
}

/// Reads a description from a message body.
///
/// # Errors
/// It is not one, or beyond our limits.
pub fn parse(body: &[u8]) -> Result<SessionDescription, NegotiateError> {
    let description = SessionDescription::parse(body)?;
    match description.lines().count() {
        0..=MAX_MEDIA_LINES => Ok(description),
        lines => Err(NegotiateError::Malformed(format!("{lines} media lines, more than {MAX_MEDIA_LINES}"))),
    }
}

/// Our offer. `version` goes up with each description that a leg sends (RFC
/// 3264 §8). `last` is the description of ours before it, whose lines keep their
/// places.
pub fn make_offer(local: &LocalMedia, version: u64, last: Option<&Described>) -> Described {
    let mut formats: Vec<Format> =
        local.codecs.iter().map(|codec| format(codec.payload_type(), *codec)).collect();
    formats.extend(our_events(local).map(event));
    let mut audio = AudioMedia::new(local.rtp, formats);
    audio.ptime_ms = Some(local.ptime_ms);
    audio.direction = local.direction;
    audio.rtcp_mux = true;
    audio.extensions = vec![ExtMap::new(ABS_CAPTURE_TIME_ID, ABS_CAPTURE_TIME)];
    audio.others.clone_from(&local.attributes);
    let before = last.and_then(|last| last.description.audio(last.audio).ok());
    local.crypto.offer(&mut audio, before.as_ref());
    let origin = origin(local, version);
    match last {
        Some(last) => Described {
            description: SessionDescription::reoffer(&origin, &last.description, last.audio, &audio),
            audio: last.audio,
        },
        None => Described { description: SessionDescription::offer(&origin, &audio), audio: 0 },
    }
}

/// Whether an offer has a stream that we could take. What it says is what
/// [`make_answer`] would fail with, before there is a port to answer with.
///
/// # Errors
/// See [`NegotiateError`].
pub fn check_offer(local: &LocalMedia, offer: &SessionDescription) -> Result<(), NegotiateError> {
    choose(local, offer).map(|_| ())
}

/// Our answer to an offer: its first usable audio line taken, every other line
/// refused with port 0 (RFC 3264 §6), codecs in the offerer's order and under
/// the offerer's numbers.
///
/// # Errors
/// See [`NegotiateError`]; refuse with its [`NegotiateError::status`].
pub fn make_answer(
    local: &LocalMedia,
    version: u64,
    offer: &SessionDescription,
) -> Result<(Described, MediaParams), NegotiateError> {
    let (index, remote) = choose(local, offer)?;
    let theirs: Vec<_> = remote.formats.iter().map(|format| (format.payload_type, format.codec)).collect();
    let mut params = settle(local, &remote, &theirs, &remote.events)?;
    let chosen = local.crypto.choose(remote.secure, &remote.crypto)?;

    let agreed = &params.remote;
    let says = agreed.voice.says.iter().flatten();
    let mut formats: Vec<Format> = says.map(|(pt, codec)| format(*pt, *codec)).collect();
    formats.extend(agreed.telephone_events.iter().map(event));
    let mut audio = AudioMedia::new(local.rtp, formats);
    audio.protocol.clone_from(&remote.protocol);
    audio.ptime_ms = agreed.voice.gets.map(|format| format.ptime_ms);
    audio.rtcp_mux = agreed.rtcp_mux;
    audio.extensions =
        params.abs_capture_time_id.map(|id| ExtMap::new(id, ABS_CAPTURE_TIME)).into_iter().collect();
    audio.crypto = chosen.iter().map(crypto::Chosen::line).collect();
    audio.others.clone_from(&local.attributes);
    audio.direction = match (agreed.receives, agreed.sends) {
        (true, true) => b2b_sdp::Direction::SendRecv,
        (true, false) => b2b_sdp::Direction::SendOnly,
        (false, true) => b2b_sdp::Direction::RecvOnly,
        (false, false) => b2b_sdp::Direction::Inactive,
    };
    params.protection = chosen.map(|chosen| chosen.keys);
    let description = SessionDescription::answer(&origin(local, version), offer, index, &audio);
    Ok((Described { description, audio: index }, params))
}

/// What the answer to our offer settles.
///
/// # Errors
/// See [`NegotiateError`]: the call cannot go on; end it.
pub fn apply_answer(
    local: &LocalMedia,
    offer: &Described,
    answer: &SessionDescription,
) -> Result<MediaParams, NegotiateError> {
    // An answer has the lines of the offer in their order (RFC 3264 §6).
    let remote = usable(local, answer, offer.audio)?;
    let ours: Vec<_> = local.codecs.iter().map(|codec| (codec.payload_type(), *codec)).collect();
    let events: Vec<_> = our_events(local).collect();
    let told = offer.description.audio(offer.audio)?.crypto;
    let protection = local.crypto.apply(&told, remote.secure, &remote.crypto)?;
    Ok(MediaParams { protection, ..settle(local, &remote, &ours, &events)? })
}

fn receives(local: &LocalMedia) -> bool {
    matches!(local.direction, b2b_sdp::Direction::SendRecv | b2b_sdp::Direction::RecvOnly)
}

/// The audio line that we use, or what is wrong with the last one: with keys where we would offer
/// some, else the first.
fn choose(local: &LocalMedia, offer: &SessionDescription) -> Result<(usize, RemoteAudio), NegotiateError> {
    let (mut error, mut plain) = (NegotiateError::NoAudio, None);
    for index in 0..offer.lines().count() {
        let allowed = usable(local, offer, index).and_then(|remote| {
            let chosen = local.crypto.choose(remote.secure, &remote.crypto)?;
            Ok((remote, chosen.is_some()))
        });
        match allowed {
            Ok((remote, keys)) if keys || !local.crypto.prefers_keys() => return Ok((index, remote)),
            Ok((remote, _)) => plain = plain.or(Some((index, remote))),
            Err(NegotiateError::NoAudio) => {}
            Err(why) => error = why,
        }
    }
    plain.ok_or(error)
}

fn usable(
    local: &LocalMedia,
    description: &SessionDescription,
    index: usize,
) -> Result<RemoteAudio, NegotiateError> {
    let remote = RemoteAudio::new(&description.audio(index)?, local.ptime_ms)?;
    if remote.rtp.is_ipv4() != local.rtp.is_ipv4() {
        let (theirs, ours) = (remote.rtp.ip(), local.rtp.ip());
        return Err(NegotiateError::Address(format!("{theirs} is not of our address family ({ours})")));
    }
    if !remote.formats.iter().any(|format| local.codecs.contains(&format.codec)) {
        return Err(NegotiateError::NoCommonCodec);
    }
    Ok(remote)
}

/// `receive_as` and `events` are the formats that we listed or will list, as we number them.
fn settle(
    local: &LocalMedia,
    remote: &RemoteAudio,
    receive_as: &[(u8, Codec)],
    events: &[(u8, u32)],
) -> Result<MediaParams, NegotiateError> {
    let usable = remote.formats.iter().find(|format| local.codecs.contains(&format.codec));
    let send = *usable.ok_or(NegotiateError::NoCommonCodec)?;
    let common = |codec: &Codec| {
        local.codecs.contains(codec) && remote.formats.iter().any(|theirs| theirs.codec == *codec)
    };
    let says: Vec<_> = receive_as.iter().filter(|(_, codec)| common(codec)).copied().collect();
    // Events have the clock of the audio beside them; some that speak Opus have only the old one.
    let both = |event: &&(u8, u32)| remote.events.iter().any(|theirs| theirs.1 == event.1);
    let beside = |event: &&(u8, u32)| says.iter().any(|(_, codec)| codec.clock_rate() == event.1);
    let mut told: Vec<_> = events.iter().filter(both).filter(beside).copied().collect();
    if told.is_empty() {
        told.extend(events.iter().filter(both).find(|event| event.1 == 8_000));
    }
    let agreed = |event: &&(u8, u32)| told.iter().any(|ours| ours.1 == event.1);
    let mut theirs = remote.events.iter().filter(agreed);
    let takes_event =
        theirs.clone().find(|event| event.1 == send.codec.clock_rate()).or_else(|| theirs.next());
    let remote_now = Remote {
        rtp: remote.rtp,
        rtcp: remote.rtcp,
        rtcp_mux: remote.rtcp_mux,
        receives: remote.receives,
        sends: remote.sends && receives(local),
        telephone_events: EventTypes::new(told.iter().copied()),
        takes_event: takes_event.copied(),
        takes_tones: false,
        voice: Voice::new(Some(send), says),
        signalling: [None; 2],
    };
    Ok(MediaParams { remote: remote_now, abs_capture_time_id: remote.abs_capture_time, protection: None })
}

/// The events that we offer.
fn our_events(local: &LocalMedia) -> impl Iterator<Item = (u8, u32)> {
    let wide = local.codecs.contains(&Codec::Opus).then_some(WIDE_EVENT);
    [EVENT].into_iter().chain(wide)
}

fn origin(local: &LocalMedia, version: u64) -> Origin {
    Origin { session_id: local.session_id, version, address: local.rtp.ip() }
}

fn format(payload_type: u8, codec: Codec) -> Format {
    Format {
        channels: codec.channels(),
        fmtp: codec.fmtp().map(str::to_owned),
        ..Format::new(payload_type, codec.name(), codec.clock_rate())
    }
}

fn event((payload_type, clock_rate): (u8, u32)) -> Format {
    Format { clock_rate, ..telephone_event(payload_type) }
}

/// Every DTMF event and flash (RFC 4733 §3.2).
fn telephone_event(payload_type: u8) -> Format {
    Format { fmtp: Some("0-16".to_owned()), ..Format::telephone_event(payload_type) }
}

/// What is encoded for who has said this format, in packets as long as that where the codec can.
fn encoded(format: &Format, codec: Codec, ptime_ms: u32) -> SendFormat {
    SendFormat {
        fec: parameter(format, "useinbandfec") == Some(1),
        max_bitrate: parameter(format, "maxaveragebitrate"),
        ..SendFormat::new(format.payload_type, codec, codec.ptime_ms(ptime_ms))
    }
}

/// A number among the parameters of a format (RFC 7587 §6.1).
fn parameter(format: &Format, name: &str) -> Option<u32> {
    let parameters = format.fmtp.as_deref()?.split(';');
    let mut pairs = parameters.filter_map(|parameter| parameter.trim().split_once('='));
    pairs.find(|(key, _)| key.eq_ignore_ascii_case(name))?.1.trim().parse().ok()
}
