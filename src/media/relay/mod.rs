//! The relay: RTP of two legs joined, forwarded when it comes; decoded only where the
//! legs share no codec, and where an endpoint is joined with something else than another one: a room, a stage, or a
//! source and a sink of frames ([`local`](super::local)).
//!
//! - `machine`: endpoints, joins and timers of one thread, without I/O
//! - `endpoint`: one leg's place
//! - `answer`: what the threads answer, on its way to who waits
//! - `handle`: how the rest of the program speaks to the threads; `thread`: their driver; `sockets`: those of endpoints; `shared`: what
//!   handle and thread have
//! - `inserted`: digits that we send to a leg as events; `tones`: those that it presses as sound
//! - `opening`: how an endpoint is opened, and by whom it is bound
//! - `pace`: the clock of what is received, and which gaps are no loss
//! - `protection`: SRTP, between the sockets and all that
//! - `snapshot`: an endpoint, to be written and read back
//! - `stats`: what an endpoint has seen and done, as it stands
//! - `totals`: the same over all endpoints
//! - `trace`: packets of endpoints, for captures
//! - `unproven`: how much is sent to who has proved nothing
//! - `wheel`: what is ticked every 20 ms, at phases of its own
//!
//! What becomes of a packet is a [`ForwardRule`](super::forward::ForwardRule). The
//! machine makes and changes rules; between two changes packets meet nothing else.

mod answer;
mod endpoint;
mod handle;
mod inserted;
pub mod machine;
mod opening;
mod over_time;
mod pace;
mod protection;
mod shared;
mod snapshot;
mod sockets;
mod stats;
mod thread;
mod tones;
mod totals;
mod trace;
mod unproven;
mod wheel;

pub use crate::transport::reports::RtcpStats;
pub use answer::{Answer, Reply};
pub use handle::{RelayConfig, RelayHandle, SpawnError, Stager};
pub use opening::{OpenError, Opened, Opening};
use over_time::Accounted;
pub use over_time::{MOST_SAMPLES, QualitySample};
pub use snapshot::{EndpointSnapshot, LONGEST_AWAY, MARGIN, RestoreError};
pub use stats::{Drops, EndpointStats, Flow, Sources};
pub use totals::{Ports, Totals};
pub use trace::{PacketTrace, Snap, TraceStats, TracedPacket, TracedPackets};

use std::net::SocketAddr;
use std::time::Duration;

pub use super::codec::Law;
use super::forward::{Clocks, ExtensionMap, PayloadMap};
use super::local::Reception;
use super::transcode::Plan;
use super::transport::lock::NamedSources;
use b2b_base::metrics::MediaStats;

/// An endpoint: which thread has it, where, and which one it is of all that were there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct RelayId {
    /// Index of the thread.
    pub thread: u16,
    /// Place in the thread's table.
    pub slot: u32,
    /// Grows with each endpoint in this place.
    pub generation: u32,
}

/// What an endpoint is told at its start.
#[derive(Debug, Clone, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct EndpointConfig {
    /// [`RelayEvent::Timeout`] when no RTP came for this long although it should.
    pub rtp_timeout: Option<Duration>,
    /// From where its far end may send beside what the signalling names, and what is answered.
    pub sources: NamedSources,
}

/// What becomes of packets on their way from one endpoint to another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Way {
    /// By payload type.
    pub payload_types: PayloadMap,
    /// Ticks a second of the stream, until its packets say otherwise.
    pub clock_rate: u32,
    /// By payload type.
    pub clocks: Clocks,
    /// By header extension.
    pub extensions: ExtensionMap,
    /// Payloads of this type are written anew.
    pub recode: Option<Recode>,
    /// The payload type of comfort noise (RFC 3389) that the other leg does not know: it goes up,
    /// and is heard there as noise of ours.
    pub noise: Option<u8>,
    /// Payload types that go up are decoded, and encoded for the other leg.
    pub transcode: Option<Plan>,
    /// Nothing passes, though both parties are there: whose packets these are is on hold.
    pub held: bool,
}

impl Way {
    /// Packets pass as they are, without header extensions.
    pub fn new(payload_types: PayloadMap, clock_rate: u32) -> Self {
        let extensions = ExtensionMap::EMPTY;
        let clocks = Clocks::default();
        let (recode, noise, transcode) = (None, None, None);
        Way { payload_types, clock_rate, clocks, extensions, recode, noise, transcode, held: false }
    }

    /// The same, of a party that is on hold: nothing passes but digits, which go up.
    pub fn hold(&mut self) {
        self.payload_types.hold();
        (self.recode, self.noise, self.transcode, self.held) = (None, None, None, true);
    }

    /// Ticks a second of what leaves.
    pub fn clock_rate_out(&self) -> u32 {
        self.transcode.map_or(self.clock_rate, |plan| plan.to.codec.clock_rate())
    }
}

/// G.711 to G.711: an octet for an octet, so that a packet stays what it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Recode {
    /// Payload type of packets that are written anew, as they come in.
    pub payload_type: u8,
    /// To this law.
    pub to: Law,
}

/// What happens at endpoints.
#[derive(Debug, Clone, PartialEq)]
pub enum RelayEvent {
    /// The first RTP packet was believed. Once.
    Started { id: RelayId, from: SocketAddr },
    /// No RTP for the configured time although it is expected. Once; armed again by the
    /// next packet, by [`machine::Command::Describe`] and by a join.
    Timeout { id: RelayId },
    /// RTP is believed from another address, without a word of signalling.
    SourceChanged { id: RelayId, from: SocketAddr, to: SocketAddr },
    /// No more is sent to where the party said that it receives: nothing has ever come from there.
    /// Once.
    Withheld { id: RelayId, to: SocketAddr },
    /// Packets come, and none of them from an address that may be believed. Once.
    SourceRefused { id: RelayId, from: SocketAddr },
    /// A digit by RFC 4733, once per event, or `by_tone`; whether it went to the other leg as an
    /// event.
    Digit { id: RelayId, digit: char, duration_ms: u32, passed_on: bool, by_tone: bool },
    /// Somebody in a room begins or ceases to speak.
    Speaking { room: u64, id: RelayId, on: bool },
    /// The source of an endpoint has ended, and everything before that has been sent.
    SourceEnded { id: RelayId },
    /// An endpoint with a source and a sink closes: what it has come to. [`RelayEvent::Closed`] follows.
    Heard { id: RelayId, stats: Box<MediaStats>, reception: Box<Reception> },
    /// The last event of an endpoint.
    Closed { id: RelayId, stats: Box<EndpointStats> },
    /// A thread could not go on.
    Lost { reason: String },
}
