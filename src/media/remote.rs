//! What a far end has said of itself, as offer and answer settled it (RFC 3264): plain data, whatever the endpoint is joined
//! with.

use std::net::SocketAddr;

use super::codec::{Codec, OpusTuning};
use super::transport::Channel;
use super::transport::lock::Signalling;

/// Payload types of `telephone-event` that a far end may have been told in one session.
pub const MOST_EVENTS: usize = 4;
/// Formats of sound that a far end may change between.
pub const MOST_FORMATS: usize = 4;
/// In the place of a payload type: there is none.
const NONE: u8 = u8::MAX;

/// What the far end has said of itself. May be given again at any time: SSRC, sequence numbers and timestamps
/// go on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Remote {
    /// Where it wants RTP. Unspecified: nowhere for now (RFC 2543's hold). With symmetric RTP the source of
    /// what it sends replaces this, see [`lock`](super::transport::lock).
    pub rtp: SocketAddr,
    /// Where it wants RTCP; `None`: the port after that of RTP (RFC 3550 §11).
    pub rtcp: Option<SocketAddr>,
    /// RTCP shares the RTP ports (RFC 5761).
    pub rtcp_mux: bool,
    /// It wants to receive.
    pub receives: bool,
    /// It means to send, and to us: not so on hold, or while its media goes past us.
    pub sends: bool,
    /// Payload types under which it was told to send `telephone-event` in this session, and their
    /// clock rates; those of the last description first.
    pub telephone_events: EventTypes,
    /// Payload type under which it takes `telephone-event`, and its clock rate.
    pub takes_event: Option<(u8, u32)>,
    /// It takes digits as tones in its audio, and as no events.
    pub takes_tones: bool,
    /// How it is spoken to by ourselves, and speaks to us.
    pub voice: Voice,
    /// Where its signalling comes from: RTP may, too.
    pub signalling: Signalling,
}

impl Remote {
    /// RTP and RTCP at one address, both ways, without `telephone-event`.
    pub fn at(rtp: SocketAddr) -> Self {
        Remote {
            rtp,
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

    /// From which socket RTCP goes, and where to, while RTP goes to `rtp`; `None`: nobody is there, since it
    /// was held from the start by the zero address, or refused.
    pub fn rtcp_at(&self, rtp: SocketAddr) -> Option<(Channel, SocketAddr)> {
        let next_port = || SocketAddr::new(rtp.ip(), rtp.port().saturating_add(1));
        let (channel, to) = match self.rtcp_mux {
            true => (Channel::Rtp, rtp),
            false => (Channel::Rtcp, self.rtcp.unwrap_or_else(next_port)),
        };
        (!to.ip().is_unspecified() && to.port() != 0).then_some((channel, to))
    }
}

/// How one party speaks and is spoken to, whoever it is joined to.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Voice {
    /// What is encoded for it. None: it takes nothing that we can encode.
    pub gets: Option<SendFormat>,
    /// What it may send, by payload type as we numbered it.
    pub says: [Option<(u8, Codec)>; MOST_FORMATS],
}

impl Voice {
    /// Nothing that we can encode or decode.
    pub const NONE: Voice = Voice { gets: None, says: [None; MOST_FORMATS] };

    /// One that gets this, and may send the first of these.
    pub fn new(gets: Option<SendFormat>, says: impl IntoIterator<Item = (u8, Codec)>) -> Self {
        let mut voice = Voice { gets, ..Voice::NONE };
        voice.says.iter_mut().zip(says).for_each(|(place, said)| *place = Some(said));
        voice
    }

    /// The codecs of what it may send.
    pub fn codecs(&self) -> impl Iterator<Item = Codec> + Clone + use<> {
        self.says.into_iter().flatten().map(|said| said.1)
    }

    /// What a payload type of its is.
    pub fn codec(&self, payload_type: u8) -> Option<Codec> {
        self.says.iter().flatten().find(|said| said.0 == payload_type).map(|said| said.1)
    }
}

/// What is encoded for a far end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct SendFormat {
    /// RTP payload type, as the far end numbered it.
    pub payload_type: u8,
    /// Its codec.
    pub codec: Codec,
    /// Packet time, ms: 10 to 60 in steps of 10; Opus: 10, 20, 40 or 60.
    pub ptime_ms: u32,
    /// Opus: the far end makes use of redundancy for lost packets (`useinbandfec`).
    pub fec: bool,
    /// Opus: bits a second that the far end wants at most (`maxaveragebitrate`).
    pub max_bitrate: Option<u32>,
}

impl SendFormat {
    /// A format that nothing more was said of.
    pub const fn new(payload_type: u8, codec: Codec, ptime_ms: u32) -> Self {
        SendFormat { payload_type, codec, ptime_ms, fec: false, max_bitrate: None }
    }

    /// How Opus is encoded for it: at this many bits a second where it does not want less, for this loss where
    /// it makes use of redundancy.
    pub fn tuning(&self, bitrate: u32, expected_loss_pct: u8) -> OpusTuning {
        OpusTuning {
            bitrate: bitrate.min(self.max_bitrate.unwrap_or(u32::MAX)),
            expected_loss_pct: if self.fec { expected_loss_pct } else { 0 },
        }
    }
}

/// Payload types that are `telephone-event` (RFC 4733), and their clock rates in kHz: a few octets, since every
/// endpoint has them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct EventTypes([(u8, u8); MOST_EVENTS]);

impl EventTypes {
    /// There are none.
    pub const EMPTY: EventTypes = EventTypes([(NONE, 0); MOST_EVENTS]);

    /// The first of these, with their clock rates in Hz. One without a clock of sound (a description may say any) is
    /// none: nobody knows how long its events are.
    pub fn new(events: impl IntoIterator<Item = (u8, u32)>) -> Self {
        let mut types = EventTypes::EMPTY;
        let clocked = |(payload_type, rate): (u8, u32)| {
            Some((payload_type, u8::try_from(rate / 1_000).ok().filter(|khz| *khz > 0)?))
        };
        let known = events.into_iter().filter_map(clocked);
        types.0.iter_mut().zip(known).for_each(|(place, event)| *place = event);
        types
    }

    /// All of them, with their clock rates in Hz.
    pub fn iter(&self) -> impl Iterator<Item = (u8, u32)> + use<> {
        let known = self.0.into_iter().filter(|(payload_type, _)| *payload_type != NONE);
        known.map(|(payload_type, rate)| (payload_type, u32::from(rate) * 1_000))
    }

    /// The clock rate of a payload type that is one of them, Hz.
    pub fn rate(&self, payload_type: u8) -> Option<u32> {
        self.iter().find(|event| event.0 == payload_type).map(|event| event.1)
    }
}
