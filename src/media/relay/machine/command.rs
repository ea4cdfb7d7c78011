//! Commands to a machine.

use std::net::IpAddr;

use crate::local::LocalAct;
use crate::recording;
use crate::relay::trace::Tap;
use crate::relay::{
    EndpointConfig, EndpointSnapshot, EndpointStats, Ports, RelayId, Reply, RestoreError, Totals, Way,
};
use crate::remote::Remote;
use crate::room::RoomAct;
use crate::stage::Act;
use crate::transport::protection::Keys;

/// A command to a machine. A command for an endpoint that is gone does nothing.
#[derive(Debug)]
pub enum Command {
    /// Opens a new endpoint in an empty slot.
    Open { id: RelayId, config: EndpointConfig },
    /// Applies what offer and answer settled about a far end.
    Describe { id: RelayId, remote: Remote },
    /// Uses SRTP with these keys from now on, or plain RTP. For the driver; the machine only learns
    /// that packets are authenticated.
    Protect { id: RelayId, keys: Option<Box<Keys>> },
    /// Limits what is sent to this host until something is received from it; what the party of this
    /// name has caused to be sent in other calls counts too. `None` lifts the limit. For the
    /// driver; a machine does nothing.
    Bound { id: RelayId, to: Option<(String, IpAddr)> },
    /// Forwards each endpoint's packets to the other; their former peers are left unjoined.
    Join { a: RelayId, b: RelayId, forward: Box<Way>, backward: Box<Way> },
    /// Parts the two endpoints, if they are joined.
    Part { a: RelayId, b: RelayId },
    /// Sends a digit to the party, by its event code (RFC 4733 table 3).
    Digit { id: RelayId, code: u8, duration_ms: u32 },
    /// Counts a digit by INFO, as if it had been pressed; the answer is whether it counts, since the
    /// same press may come as an event or a tone, too.
    Info { id: RelayId, digit: char, reply: Reply<bool> },
    /// An application's command for the party.
    Stage { id: RelayId, act: Box<Act> },
    /// A command for an endpoint's local source and sink.
    Local { id: RelayId, act: LocalAct },
    /// A command for a room, by its number.
    Room { number: u64, act: Box<RoomAct> },
    /// Requests the current counters; no answer if there is no such endpoint.
    Stats { id: RelayId, reply: Reply<Box<EndpointStats>> },
    /// Requests the endpoint's state for another machine; no answer if there is no such endpoint.
    /// The driver adds its SRTP state.
    Snapshot { id: RelayId, reply: Reply<Box<EndpointSnapshot>> },
    /// Restores a newly opened endpoint, with its SRTP state, which the driver has.
    Restore { id: RelayId, snapshot: Box<EndpointSnapshot>, reply: Reply<Result<(), RestoreError>> },
    /// Requests the totals of all endpoints, and the ports. For the driver.
    Totals { reply: Reply<(Totals, Ports)> },
    /// Copies packets to this tap from now on, or to none. For the driver; a machine does nothing.
    Trace { id: RelayId, tap: Option<Box<Tap>> },
    /// Also copies RTP packets, without SRTP, into this tap. For the driver; a machine does
    /// nothing.
    Record { id: RelayId, tap: Box<recording::Tap> },
    /// Sends RTCP BYE and [`RelayEvent::Closed`](crate::relay::RelayEvent::Closed); the driver
    /// closes the sockets.
    Close { id: RelayId },
}
