//! The SIP endpoint: transactions, dialogs and usages behind one door. It has
//! no socket, no clock, no randomness of its own and no task.
//!
//! - `flow`: transports and flows
//! - `config`: what an endpoint is told, and its limits
//! - `event`: what comes out for the user
//! - `command`: what the user asks for, as values, and the errors
//! - `counters`: what happened, as numbers

pub mod command;
pub mod config;
pub mod counters;
pub mod event;
pub mod flow;

use std::net::SocketAddr;
use std::sync::Arc;

use bytes::Bytes;

pub use command::{Body, CommandError, Invite, InviteError, Reply};
pub use config::{EndpointConfig, EndpointLimits};
pub use counters::{Counters, Holdings};
pub use event::{Event, Termination, UsageEvent};
pub use flow::{Flow, FlowId, Transport};

use crate::sip::msg::{Message, ParseError};

/// An INVITE usage: one call leg from its INVITE to its terminal event. Never
/// used twice.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct UsageId {
    pub(crate) slot: u32,
    pub(crate) generation: u32,
}

/// A request that waits for [`Endpoint::respond`]. Never used twice.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ServerTransactionId {
    pub(crate) slot: u32,
    pub(crate) generation: u32,
}

/// Names a [`Output::Connect`] in its answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ConnectId(pub u64);

/// Names a [`Output::Resolve`] in its answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ResolveId(pub u64);

/// What a driver puts in with [`Endpoint::handle_input`].
#[derive(Debug)]
pub enum Input {
    /// One datagram as it came.
    Datagram { flow: Flow, data: Bytes },
    /// One message of a stream transport as its `StreamDecoder` gave it; after
    /// an error the driver closes the connection once the output is written.
    Message { flow: Flow, message: Result<Message, ParseError> },
    /// A connection is gone.
    FlowClosed { flow: Flow },
    /// A message could not be sent: the kernel refused it, or the peer's host
    /// said that nobody listens. UDP: `flow.remote` is the destination.
    SendFailed { flow: Flow },
    /// The answer to [`Output::Connect`].
    Connected { connect: ConnectId, flow: Flow },
    /// The other answer to [`Output::Connect`].
    ConnectFailed { connect: ConnectId },
    /// The answer to [`Output::Resolve`]: where to go, best first (RFC 3263).
    Resolved { resolve: ResolveId, targets: Vec<(Transport, SocketAddr)> },
    /// The other answer to [`Output::Resolve`].
    ResolveFailed { resolve: ResolveId },
    /// [`Endpoint::next_timeout`] has come.
    Timeout,
}

/// What a driver takes out with [`Endpoint::poll_output`].
#[derive(Debug)]
pub enum Output {
    /// Send these bytes on this flow. On a flow that is closed: drop them (the
    /// endpoint has been or will be told by [`Input::FlowClosed`]).
    Transmit { flow: Flow, data: Bytes },
    /// Find or open a way to `remote`. An open connection is to be reused.
    Connect { connect: ConnectId, transport: Transport, remote: SocketAddr },
    /// Look a host up (RFC 3263): `port` and `transport` are what the URI says.
    Resolve { resolve: ResolveId, host: Arc<str>, port: Option<u16>, transport: Option<Transport> },
    /// For the user of the endpoint.
    Event(Event),
}
