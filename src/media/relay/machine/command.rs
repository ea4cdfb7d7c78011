//! What a machine can be told.

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

/// What can be asked of a machine. One for an endpoint that is gone does nothing.
#[derive(Debug)]
pub enum Command {
    /// A new endpoint, in a place that is empty.
    Open { id: RelayId, config: EndpointConfig },
    /// What offer and answer settled of a far end.
    Describe { id: RelayId, remote: Remote },
    /// SRTP with these keys from now on, or plain RTP: for the driver; the machine only knows
    /// that packets have proved themselves.
    Protect { id: RelayId, keys: Option<Box<Keys>> },
    /// From now on a bounded amount is sent to this host, until something comes from there; what
    /// the party of this name has called for in other calls counts. None: it needs no proof. The
    /// driver's: a machine does nothing.
    Bound { id: RelayId, to: Option<(String, IpAddr)> },
    /// What comes to one goes to the other; whatever they were joined to is alone then.
    Join { a: RelayId, b: RelayId, forward: Box<Way>, backward: Box<Way> },
    /// Both are alone, if they were joined.
    Part { a: RelayId, b: RelayId },
    /// A digit for its party, by its event code (RFC 4733 table 3).
    Digit { id: RelayId, code: u8, duration_ms: u32 },
    /// Whether tones in its party's audio are digits.
    HearTones { id: RelayId, on: bool },
    /// What an application has to do with its party.
    Stage { id: RelayId, act: Box<Act> },
    /// What is asked of an endpoint's source and sink.
    Local { id: RelayId, act: LocalAct },
    /// What becomes of a room, by its number.
    Room { number: u64, act: Box<RoomAct> },
    /// Counters now; none if there is no such endpoint.
    Stats { id: RelayId, reply: Reply<Box<EndpointStats>> },
    /// The endpoint as it stands, for another machine; none if there is no such endpoint. Its SRTP is added by the
    /// driver.
    Snapshot { id: RelayId, reply: Reply<Box<EndpointSnapshot>> },
    /// An endpoint that was just opened goes on as this one, with its SRTP, which the driver has.
    Restore { id: RelayId, snapshot: Box<EndpointSnapshot>, reply: Reply<Result<(), RestoreError>> },
    /// What all of them have come to, and the ports. The driver's, too.
    Totals { reply: Reply<(Totals, Ports)> },
    /// Its packets go by this tap from now on, or by none. The driver's: a machine does
    /// nothing.
    Trace { id: RelayId, tap: Option<Box<Tap>> },
    /// Its RTP packets are copied into this tap too, without SRTP. The driver's: a machine
    /// does nothing.
    Record { id: RelayId, tap: Box<recording::Tap> },
    /// RTCP BYE, [`RelayEvent::Closed`](crate::relay::RelayEvent::Closed); the driver closes the sockets.
    Close { id: RelayId },
}
