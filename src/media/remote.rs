//! What a far end has said of itself, as offer and answer settled it (RFC 3264): plain data,
//! independent of what the endpoint is joined with.

use std::net::SocketAddr;

use super::codec::{Codec, OpusTuning};
use super::transport::Channel;
use super::transport::lock::Signalling;

/// Maximum `telephone-event` payload types sent to a far end in the descriptions of one session.
pub const MOST_EVENTS: usize = 4;
/// Maximum audio formats between which a far end may change.
pub const MOST_FORMATS: usize = 4;
/// Stands for the absence of a payload type.
const NONE: u8 = u8::MAX;

/// What the far end has said of itself. May be updated at any time: SSRC, sequence numbers and
/// timestamps continue.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Remote {
    /// Its RTP address; unspecified: unknown, or RFC 2543's hold. With symmetric RTP the source address of its
    /// packets replaces this, see [`lock`](super::transport::lock).
    pub rtp: SocketAddr,
    /// Whether that address is unknown, or the party may not name it: nothing is sent there, and its media is
    /// awaited from its signalling and the named networks.
    #[serde(default)]
    pub awaited: bool,
    /// Its RTCP address; `None` for the port after that of RTP (RFC 3550 §11).
    pub rtcp: Option<SocketAddr>,
    /// Whether RTCP shares the RTP ports (RFC 5761).
    pub rtcp_mux: bool,
    /// Whether it wants to receive.
    pub receives: bool,
    /// Whether it is to send, and to us: not on hold, or while its media bypasses us.
    pub sends: bool,
    /// Payload types under which it was told to send `telephone-event` in this session, and their
    /// clock rates; those of the last description come first.
    pub telephone_events: EventTypes,
    /// Payload type under which it accepts `telephone-event`, and its clock rate.
    pub takes_event: Option<(u8, u32)>,
    /// Whether it accepts digits as tones in its audio, and not as events.
    pub takes_tones: bool,
    /// The audio formats that we send to it and receive from it.
    pub voice: Voice,
    /// Source of its signalling, from which RTP may come, too.
    pub signalling: Signalling,
}

impl Remote {
    /// RTP and RTCP on one port, in both directions, without `telephone-event`.
    pub fn at(rtp: SocketAddr) -> Self {
        Remote {
            rtp,
            awaited: false,
            rtcp: None,
            rtcp_mux: true,
            receives: true,
            sends: true,
            telephone_events: EventTypes::EMPTY,
            takes_event: None,
            takes_tones: false,
            voice: Voice::NONE,
            signalling: [None; 2],
        }
    }

    /// The socket from which RTCP is sent, and its destination, while RTP goes to `rtp`; `None` if there is no
    /// destination, since media was held from the start by the zero address, or refused.
    pub fn rtcp_at(&self, rtp: SocketAddr) -> Option<(Channel, SocketAddr)> {
        let next_port = || SocketAddr::new(rtp.ip(), rtp.port().saturating_add(1));
        let (channel, to) = match self.rtcp_mux {
            true => (Channel::Rtp, rtp),
            false => (Channel::Rtcp, self.rtcp.filter(|_| !self.awaited).unwrap_or_else(next_port)),
        };
        (!to.ip().is_unspecified() && to.port() != 0).then_some((channel, to))
    }
}

/// The audio formats of a party, independent of its peer.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Voice {
    /// What is encoded for it; `None` if it accepts nothing that we can encode.
    pub gets: Option<SendFormat>,
    /// What it may send, by the payload types that we assigned.
    pub says: [Option<(u8, Codec)>; MOST_FORMATS],
}

impl Voice {
    /// No format that we can encode or decode.
    pub const NONE: Voice = Voice { gets: None, says: [None; MOST_FORMATS] };

    /// A voice that gets `gets` and may send the first [`MOST_FORMATS`] of `says`.
    pub fn new(gets: Option<SendFormat>, says: impl IntoIterator<Item = (u8, Codec)>) -> Self {
        let mut voice = Voice { gets, ..Voice::NONE };
        voice.says.iter_mut().zip(says).for_each(|(place, said)| *place = Some(said));
        voice
    }

    /// The codecs that it may send.
    pub fn codecs(&self) -> impl Iterator<Item = Codec> + Clone + use<> {
        self.says.into_iter().flatten().map(|said| said.1)
    }

    /// The codec of one of its payload types.
    pub fn codec(&self, payload_type: u8) -> Option<Codec> {
        self.says.iter().flatten().find(|said| said.0 == payload_type).map(|said| said.1)
    }
}

/// A format encoded for a far end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct SendFormat {
    /// RTP payload type, as the far end assigned it.
    pub payload_type: u8,
    /// Its codec.
    pub codec: Codec,
    /// Packet time, ms: 10 to 60 in steps of 10; Opus: 10, 20, 40 or 60.
    pub ptime_ms: u32,
    /// Opus: whether the far end uses redundancy for lost packets (`useinbandfec`).
    pub fec: bool,
    /// Opus: the far end's maximum bit rate, bits a second (`maxaveragebitrate`).
    pub max_bitrate: Option<u32>,
}

impl SendFormat {
    /// A format without further parameters.
    pub const fn new(payload_type: u8, codec: Codec, ptime_ms: u32) -> Self {
        SendFormat { payload_type, codec, ptime_ms, fec: false, max_bitrate: None }
    }

    /// The Opus settings for it: this bit rate unless it wants less, and this expected loss if it
    /// uses redundancy.
    pub fn tuning(&self, bitrate: u32, expected_loss_pct: u8) -> OpusTuning {
        OpusTuning {
            bitrate: bitrate.min(self.max_bitrate.unwrap_or(u32::MAX)),
            expected_loss_pct: if self.fec { expected_loss_pct } else { 0 },
        }
    }
}

/// Payload types of `telephone-event` (RFC 4733) and their clock rates in kHz: a few octets only,
/// since every endpoint has them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct EventTypes([(u8, u8); MOST_EVENTS]);

impl EventTypes {
    /// No payload types.
    pub const EMPTY: EventTypes = EventTypes([(NONE, 0); MOST_EVENTS]);

    /// The first of these, with their clock rates in Hz. An entry without a usable clock rate (a
    /// description may state any) is left out, as the length of its events would be unknown.
    pub fn new(events: impl IntoIterator<Item = (u8, u32)>) -> Self {
        let mut types = EventTypes::EMPTY;
        let clocked = |(payload_type, rate): (u8, u32)| {
            Some((payload_type, u8::try_from(rate / 1_000).ok().filter(|khz| *khz > 0)?))
        };
        let known = events.into_iter().filter_map(clocked);
        types.0.iter_mut().zip(known).for_each(|(place, event)| *place = event);
        types
    }

    /// All payload types, with their clock rates in Hz.
    pub fn iter(&self) -> impl Iterator<Item = (u8, u32)> + use<> {
        let known = self.0.into_iter().filter(|(payload_type, _)| *payload_type != NONE);
        known.map(|(payload_type, rate)| (payload_type, u32::from(rate) * 1_000))
    }

    /// The clock rate of one of these payload types, Hz.
    pub fn rate(&self, payload_type: u8) -> Option<u32> {
        self.iter().find(|event| event.0 == payload_type).map(|event| event.1)
    }
}
