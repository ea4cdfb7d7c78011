//! The relay: RTP of two joined legs, forwarded as it arrives. It is decoded only where the legs
//! share no codec, and where an endpoint is joined with something other than an endpoint: a room, a
//! stage, or a local source and sink of frames ([`local`](super::local)).
//!
//! - `machine`: endpoints, joins and timers of one thread, without I/O
//! - `endpoint`: one leg
//! - `answer`: answers of the threads, on their way to the requester
//! - `handle`: how the rest of the program controls the threads; `thread`: their driver; `sockets`:
//!   the endpoints' sockets; `shared`: state shared by handle and thread
//! - `inserted`: digits sent to a leg as events; `tones`: digits that it sends as tones
//! - `opening`: how an endpoint is opened, and which thread binds it
//! - `pace`: the clock of a received stream, and which gaps are not loss
//! - `rivals`: streams beside the one that is heard
//! - `protection`: SRTP, between the sockets and the machine
//! - `snapshot`: an endpoint's state, to be written and read back
//! - `stats`: an endpoint's counters; `over_time`: samples of them
//! - `totals`: the counters summed over all endpoints
//! - `trace`: packets of endpoints, for captures
//! - `unproven`: the limit on what is sent to an unproven address
//! - `wheel`: what is served every 20 ms, at its own phase
//!
//! A [`ForwardRule`](super::forward::ForwardRule) decides how each packet is handled. Only the
//! machine creates and changes rules; between two changes, no other code touches a packet.

mod answer;
mod endpoint;
mod handle;
mod inserted;
pub mod machine;
mod opening;
mod over_time;
mod pace;
mod protection;
mod refused;
mod rivals;
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

pub use crate::forward::Drops;
pub use crate::transport::reports::RtcpStats;
pub use answer::{Answer, Reply};
pub use handle::{RelayConfig, RelayHandle, SpawnError, Stager};
pub use opening::{OpenError, Opened, Opening};
use over_time::Accounted;
pub use over_time::{MOST_SAMPLES, QualitySample};
pub use snapshot::{EndpointSnapshot, LONGEST_AWAY, MARGIN, RestoreError};
pub use stats::{EndpointStats, Flow, Sources};
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

/// Identifies an endpoint: its thread, its slot, and which endpoint of that slot it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct RelayId {
    /// Index of the thread.
    pub thread: u16,
    /// Slot in the thread's table.
    pub slot: u32,
    /// Increases with each endpoint in this slot.
    pub generation: u32,
}

/// Configuration of an endpoint when it opens.
#[derive(Debug, Clone, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct EndpointConfig {
    /// Silence after which [`RelayEvent::Timeout`] is raised if RTP is expected.
    pub rtp_timeout: Option<Duration>,
    /// Sources besides the signalled one from which its far end may send, and where to send to it.
    pub sources: NamedSources,
}

/// How packets from one endpoint to another are handled.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Way {
    /// Handling by payload type.
    pub payload_types: PayloadMap,
    /// Clock rate of the stream, Hz, until its packets show another.
    pub clock_rate: u32,
    /// Clock rates by payload type.
    pub clocks: Clocks,
    /// Handling by header extension.
    pub extensions: ExtensionMap,
    /// The payload type that is re-encoded from one G.711 law to the other.
    pub recode: Option<Recode>,
    /// Payload type of comfort noise (RFC 3389) that the other leg does not support: its packets
    /// are passed up, and the other leg hears generated noise.
    pub noise: Option<u8>,
    /// Packets that are passed up are decoded and encoded for the other leg.
    pub transcode: Option<Plan>,
    /// The sender is on hold: nothing is forwarded although both parties are there.
    pub held: bool,
}

impl Way {
    /// Forwards packets unchanged, without header extensions.
    pub fn new(payload_types: PayloadMap, clock_rate: u32) -> Self {
        let extensions = ExtensionMap::EMPTY;
        let clocks = Clocks::default();
        let (recode, noise, transcode) = (None, None, None);
        Way { payload_types, clock_rate, clocks, extensions, recode, noise, transcode, held: false }
    }

    /// Changes the rule to that of a sender on hold: nothing is forwarded; digits are passed up.
    pub fn hold(&mut self) {
        self.payload_types.hold();
        (self.recode, self.noise, self.transcode, self.held) = (None, None, None, true);
    }

    /// Clock rate of the outgoing stream, Hz.
    pub fn clock_rate_out(&self) -> u32 {
        self.transcode.map_or(self.clock_rate, |plan| plan.to.codec.clock_rate())
    }
}

/// Conversion between the G.711 laws: one octet for one octet, so that the packet is otherwise unchanged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Recode {
    /// The payload type to convert, as received.
    pub payload_type: u8,
    /// The law to convert to.
    pub to: Law,
}

/// Events of endpoints.
#[derive(Debug, Clone, PartialEq)]
pub enum RelayEvent {
    /// The first RTP packet was believed. Raised once.
    Started { id: RelayId, from: SocketAddr },
    /// No RTP for the configured time although it is expected. Raised once; re-armed by the next
    /// packet, by [`machine::Command::Describe`] and by a join.
    Timeout { id: RelayId },
    /// RTP from another address is believed, without any signalling.
    SourceChanged { id: RelayId, from: SocketAddr, to: SocketAddr },
    /// Nothing is sent to the address at which the party said it receives, because it may not name
    /// that; or nothing more, because nothing was ever received from there. Raised once an address.
    Withheld { id: RelayId, to: SocketAddr },
    /// Packets arrive, but none from an address that may be believed. Raised once.
    SourceRefused { id: RelayId, from: SocketAddr },
    /// The far end's SRTP comes with used numbers only: it has restarted its stream under the same key and
    /// SSRC, and is not heard. Raised once.
    Replayed { id: RelayId },
    /// A digit by RFC 4733, once per event, or by tone (`by_tone`); `passed_on` is whether the
    /// other leg got it as an event.
    Digit { id: RelayId, digit: char, duration_ms: u32, passed_on: bool, by_tone: bool },
    /// A member of a room begins or stops speaking.
    Speaking { room: u64, id: RelayId, on: bool },
    /// The source of an endpoint has ended, and all its audio has been sent.
    SourceEnded { id: RelayId },
    /// The final counters of a closing endpoint with a local source and sink. [`RelayEvent::Closed`] follows.
    Heard { id: RelayId, stats: Box<MediaStats>, reception: Box<Reception> },
    /// The last event of an endpoint.
    Closed { id: RelayId, stats: Box<EndpointStats> },
    /// A media thread has failed.
    Lost { reason: String },
}
