//! The SIP endpoint: transactions, dialogs and usages behind one door. It has
//! no socket, no clock, no randomness of its own and no task.
//!
//! - `flow`: transports and flows
//! - `config`: what an endpoint is told, and its limits
//! - `event`: what comes out for the user
//! - `command`: what the user asks for, as values, and the errors
//! - `counters`: what happened, as numbers
//! - `outbox`: outputs in order, and the open connections

pub mod command;
pub mod config;
pub mod counters;
pub mod event;
pub mod flow;
pub mod outbox;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Instant;

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

/// A SIP endpoint. After each call of [`Endpoint::handle_input`] or of a command
/// take the output until there is none, and wake it at
/// [`Endpoint::next_timeout`] with [`Input::Timeout`]. `now` never goes back.
pub struct Endpoint {
    out: outbox::Outbox,
}

impl Endpoint {
    /// An endpoint without calls.
    pub fn new(config: EndpointConfig) -> Self {
        let _ = config;
        Endpoint { out: outbox::Outbox::default() }
    }

    /// Puts something in.
    pub fn handle_input(&mut self, now: Instant, input: Input) {
        let _ = (now, input);
    }

    /// Takes something out; what comes first happened first.
    pub fn poll_output(&mut self) -> Option<Output> {
        self.out.pop()
    }

    /// When to put [`Input::Timeout`] in; `None`: not before the next input.
    pub fn next_timeout(&self) -> Option<Instant> {
        None
    }

    /// Counters so far.
    pub fn counters(&self) -> &Counters {
        &self.out.counters
    }

    /// Starts a call; everything else comes as events of the usage.
    ///
    /// # Errors
    /// The target is not a URI that can be called, a header is not one, or there
    /// are too many calls.
    pub fn invite(&mut self, now: Instant, invite: Invite) -> Result<UsageId, InviteError> {
        let _ = now;
        Err(InviteError::BadTarget {
            target: String::from_utf8_lossy(&invite.target).into_owned(),
            reason: "not built yet".to_owned(),
        })
    }

    /// Sends 101 to 199 to an INVITE that starts a call.
    ///
    /// # Errors
    /// The call is gone or already answered.
    pub fn provisional(
        &mut self,
        now: Instant,
        usage: UsageId,
        status: u16,
        reason: &str,
        body: Option<Body>,
    ) -> Result<(), CommandError> {
        let _ = (now, usage, status, reason, body);
        Err(CommandError::Gone)
    }

    /// Answers an INVITE or re-INVITE with 200.
    ///
    /// # Errors
    /// There is no INVITE to answer.
    pub fn answer(&mut self, now: Instant, usage: UsageId, body: Option<Body>) -> Result<(), CommandError> {
        let _ = (now, usage, body);
        Err(CommandError::Gone)
    }

    /// Refuses an INVITE (the call ends) or a re-INVITE (it goes on) with 300 to
    /// 699; an empty reason takes the standard phrase.
    ///
    /// # Errors
    /// There is no INVITE to refuse.
    pub fn reject(
        &mut self,
        now: Instant,
        usage: UsageId,
        status: u16,
        reason: &str,
    ) -> Result<(), CommandError> {
        let _ = (now, usage, status, reason);
        Err(CommandError::Gone)
    }

    /// Sends the ACK with our answer after `Answered` or `ReInviteAnswered` with
    /// `ack_wanted`.
    ///
    /// # Errors
    /// No ACK is wanted.
    pub fn ack(&mut self, now: Instant, usage: UsageId, body: Option<Body>) -> Result<(), CommandError> {
        let _ = (now, usage, body);
        Err(CommandError::Gone)
    }

    /// Gives up our INVITE before its answer; `Terminated` follows when it is over.
    ///
    /// # Errors
    /// The call is not ours or is answered: use `bye`.
    pub fn cancel(&mut self, now: Instant, usage: UsageId) -> Result<(), CommandError> {
        let _ = (now, usage);
        Err(CommandError::Gone)
    }

    /// Hangs up an answered call; `Terminated` follows when it is over.
    ///
    /// # Errors
    /// The call is not answered: use `cancel` or `reject`.
    pub fn bye(&mut self, now: Instant, usage: UsageId) -> Result<(), CommandError> {
        let _ = (now, usage);
        Err(CommandError::Gone)
    }

    /// Sends a re-INVITE with a new offer (none: the far end offers).
    ///
    /// # Errors
    /// The call is not up, or an offer is under way in either direction.
    pub fn reinvite(&mut self, now: Instant, usage: UsageId, body: Option<Body>) -> Result<(), CommandError> {
        let _ = (now, usage, body);
        Err(CommandError::Gone)
    }

    /// Sends an UPDATE with a new offer (RFC 3311).
    ///
    /// # Errors
    /// There is no dialog yet, or an offer is under way in either direction.
    pub fn update(&mut self, now: Instant, usage: UsageId, body: Body) -> Result<(), CommandError> {
        let _ = (now, usage, body);
        Err(CommandError::Gone)
    }

    /// Answers a request that came as `Event::Request`, `UsageEvent::Request` or
    /// `UsageEvent::Update`.
    ///
    /// # Errors
    /// It is answered already, or too old to answer (64*T1).
    pub fn respond(
        &mut self,
        now: Instant,
        transaction: ServerTransactionId,
        reply: Reply,
    ) -> Result<(), CommandError> {
        let _ = (now, transaction, reply);
        Err(CommandError::Gone)
    }
}
