//! The SIP endpoint: transactions, dialogs and usages behind one door. It has
//! no socket, no clock, no randomness of its own and no task.
//!
//! - `flow`: transports and flows
//! - `config`: what an endpoint is told, and its limits
//! - `event`: what comes out for the user
//! - `command`: what the user asks for, as values, and the errors
//! - `counters`: what happened, as numbers
//! - `outbox`: outputs in order, and the open connections
//! - `receive`, `refuse`: what comes in, and what is refused without state; `overload`: when there is too much
//! - `caller`: our INVITE that starts a call; `callee`: theirs
//! - `success`: 2xx to our INVITE, and ACK
//! - `challenge`: our INVITE or BYE again, with credentials; `challenge_inside`: other requests inside a call
//! - `requests`: other requests of ours, inside a call and outside; `overtaken`: those that come out of order
//! - `outbound`: flows of registrations that are kept
//! - `onward`: what one INVITE hands on to another; loops
//! - `failover`: from one address of a name to the next
//! - `hops`: where the requests of a dialog may go
//! - `refer`, `replace`: transfer; `refresh`: session timers
//! - `reply`, `provisional`: our responses to an INVITE, and PRACK for them
//! - `session`: requests inside a call; `reinvite`: re-INVITE and UPDATE
//! - `reliable`: PRACK for reliable provisional responses to our INVITE
//! - `stranger`: answers that leave nothing behind, and none at all
//! - `send`: the way to a peer, and requests on it; `udp_or_tcp`: large ones
//! - `subscription`: dialogs of SUBSCRIBE, where we notify
//! - `usages`: the slab of usages, their timers and their end

mod callee;
mod caller;
mod challenge;
mod challenge_inside;
pub mod command;
pub mod config;
pub mod counters;
pub mod event;
mod failover;
pub mod flow;
mod hops;
mod onward;
mod outbound;
pub mod outbox;
mod overload;
mod overtaken;
mod provisional;
mod receive;
mod refer;
mod refresh;
mod refuse;
mod reinvite;
mod reliable;
mod replace;
mod reply;
mod requests;
mod send;
mod session;
mod stranger;
mod subscription;
mod success;
mod udp_or_tcp;
mod usages;
mod vanish;

use std::collections::{HashMap, HashSet};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;

pub use crate::dialog::identity::Advertised;
pub use crate::dialog::redirect::{RedirectTarget, redirect_targets};
pub use crate::dialog::replaces::{ReferTo, Replaces};
pub use crate::dialog::session_timer::{SessionRefresher, SessionTimers};
pub use command::{
    Body, CommandError, HeaderFields, InDialog, Invite, InviteError, OutOfDialog, Reply, RequestIdentity,
    check_headers,
};
pub use config::{EndpointConfig, EndpointLimits, Extensions};
pub use counters::{Counters, Holdings};
pub use event::{Challenge, Event, RequestFailure, Termination, UsageEvent};
pub use flow::{Flow, FlowId, Transport};
pub use hops::{HopJudge, HopRule, HopVerdict, NextHop, PeerWay, Whereabouts};
pub use onward::Onward;
pub use requests::DialogFacts;
pub use subscription::SubscriptionId;

use crate::dialog::identity::Identity;
use crate::msg::{Message, ParseError};
use crate::transaction::client::ClientTransactions;
use crate::transaction::server::ServerTransactions;
use b2b_base::ids::Mint;
use challenge_inside::Challengeable;
use failover::Failover;
use outbox::Outbox;
use refuse::Budget;
use send::{User, Waiting};
use subscription::Subscriptions;
pub use udp_or_tcp::LargeRequests;
use usages::Usages;

/// An INVITE usage: one call leg from its INVITE to its terminal event. Never
/// used twice.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct UsageId {
    // First, so that ids are in the order in which they were made.
    pub(crate) generation: u32,
    pub(crate) slot: u32,
}

/// A request that waits for [`Endpoint::respond`]. Never used twice.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ServerTransactionId {
    // First, so that ids are in the order in which they were made.
    pub(crate) generation: u32,
    pub(crate) slot: u32,
}

#[cfg(feature = "harness")]
impl ServerTransactionId {
    /// One that no endpoint has given, for tests of who holds it.
    pub fn of_nobody() -> Self {
        ServerTransactionId { slot: 1, generation: 1 }
    }
}

/// A request of ours that is not an INVITE, BYE or UPDATE. Never used twice.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct RequestId(pub(crate) u64);

/// A REFER of ours or theirs. Never used twice.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ReferId(pub(crate) u64);

/// Names a [`Output::Connect`] in its answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ConnectId(pub u64);

/// Names a [`Output::Resolve`] in its answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ResolveId(pub u64);

/// What a driver puts in with [`Endpoint::handle_input`].
#[derive(Debug)]
#[allow(clippy::large_enum_variant, reason = "moved once or twice: cheaper than an allocation")]
pub enum Input {
    /// One datagram as it came.
    Datagram {
        /// The socket that it came by, and its source.
        flow: Flow,
        /// The payload.
        data: Bytes,
    },
    /// One message of a stream transport as its `StreamDecoder` gave it; after
    /// an error the driver closes the connection once the output is written.
    Message {
        /// The connection that it came by.
        flow: Flow,
        /// The message, or why its bytes are none.
        message: Result<Message, ParseError>,
    },
    /// A connection is gone.
    FlowClosed {
        /// The connection that was closed.
        flow: Flow,
    },
    /// A flow that [`Output::KeepAlive`] asks to be kept has shown no life, or is another one now: of UDP,
    /// where no connection could be closed.
    FlowLost {
        /// The flow that was kept.
        flow: Flow,
    },
    /// A message could not be sent: the kernel refused it. UDP: `flow.remote` is the destination.
    SendFailed {
        /// Where the message was to go.
        flow: Flow,
    },
    /// The host of `flow.remote` says that nobody got a datagram of ours, and quotes
    /// how it began (ICMP). Anybody can say that who knows our ports: it concerns the
    /// request alone that it quotes the branch of.
    Undelivered {
        /// Where the datagram was sent.
        flow: Flow,
        /// The first octets of the datagram's payload, as many as the ICMP message has.
        quoted: Bytes,
    },
    /// The answer to [`Output::Connect`].
    Connected {
        /// Of the output.
        connect: ConnectId,
        /// The connection that is open now.
        flow: Flow,
    },
    /// The other answer to [`Output::Connect`].
    ConnectFailed {
        /// Of the output.
        connect: ConnectId,
    },
    /// The answer to [`Output::Resolve`]: where to go, best first (RFC 3263).
    Resolved {
        /// Of the output.
        resolve: ResolveId,
        /// Transports and addresses to try in this order.
        targets: Vec<(Transport, SocketAddr)>,
    },
    /// The other answer to [`Output::Resolve`].
    ResolveFailed {
        /// Of the output.
        resolve: ResolveId,
    },
    /// [`Endpoint::next_timeout`] has come.
    Timeout,
}

/// What a driver takes out with [`Endpoint::poll_output`].
#[derive(Debug)]
#[allow(clippy::large_enum_variant, reason = "moved once or twice: cheaper than an allocation")]
pub enum Output {
    /// Send these bytes on this flow. On a flow that is closed: drop them (the
    /// endpoint has been or will be told by [`Input::FlowClosed`]).
    Transmit {
        /// Where to.
        flow: Flow,
        /// One whole message.
        data: Bytes,
    },
    /// Keep this flow alive (RFC 5626 §4.4), or no longer: CRLFCRLF on a connection, which is to be closed
    /// when no CRLF comes back, STUN on UDP.
    KeepAlive {
        /// The flow.
        flow: Flow,
        /// How long it may be silent at most; none: it is not kept any more.
        every: Option<Duration>,
    },
    /// Find or open a way to `remote`. An open connection is to be reused. `name`: the
    /// host as the URI had it, for which a TLS peer has to have a certificate; none:
    /// for its address.
    Connect {
        /// Comes back with the answer.
        connect: ConnectId,
        /// TCP, TLS, or UDP for a socket that can send there.
        transport: Transport,
        /// Address and port of the peer.
        remote: SocketAddr,
        /// The name that its certificate is checked for (RFC 5922 §7.2).
        name: Option<Arc<str>>,
        /// The settings of TLS that the connection is to be made by; none: the usual ones.
        tls: Option<Arc<str>>,
        /// The listener of ours at whose address it begins; none: where the route does.
        listener: Option<Arc<str>>,
        /// A new connection may take no longer; none: as the sockets' limits say.
        within: Option<Duration>,
    },
    /// Look a host up (RFC 3263): `port` and `transport` are what the URI says.
    Resolve {
        /// Comes back with the answer.
        resolve: ResolveId,
        /// A name, not an address.
        host: Arc<str>,
        /// `None`: the URI has none, and SRV records give it (RFC 3263 §4.2).
        port: Option<u16>,
        /// `None`: the URI has no `transport` parameter (RFC 3263 §4.1).
        transport: Option<Transport>,
    },
    /// For the user of the endpoint.
    Event(Event),
}

/// A SIP endpoint. After each call of [`Endpoint::handle_input`] or of a command
/// take the output until there is none, and wake it at
/// [`Endpoint::next_timeout`] with [`Input::Timeout`]. `now` never goes back.
pub struct Endpoint {
    config: EndpointConfig,
    identity: Identity,
    /// For all that belongs to no usage, and for the seeds of usages.
    mint: Mint,
    out: Outbox,
    clients: ClientTransactions<User>,
    servers: ServerTransactions<Option<UsageId>>,
    usages: Usages,
    subscriptions: Subscriptions,
    connecting: HashMap<ConnectId, Box<Waiting>>,
    resolving: HashMap<ResolveId, Box<Waiting>>,
    failover: Failover,
    challengeable: Challengeable,
    last_resolve: u64,
    last_request: u64,
    budget: Budget,
    gone: vanish::Gone,
}

impl Endpoint {
    /// An endpoint without calls.
    pub fn new(config: EndpointConfig) -> Self {
        let mut mint = Mint::new(config.seed, config.shard);
        let secret = [mint.random(), mint.random()];
        Endpoint {
            identity: Identity {
                user: config.user.clone(),
                user_agent: config.user_agent.clone(),
                allow: receive::allow(&config),
                supported: config.supported(),
                advertised: config.advertised.clone(),
                outbound: HashSet::new(),
            },
            mint,
            out: Outbox::default(),
            clients: ClientTransactions::new(config.timers),
            servers: ServerTransactions::new(config.timers, secret),
            usages: Usages::default(),
            subscriptions: Subscriptions::default(),
            connecting: HashMap::new(),
            resolving: HashMap::new(),
            failover: Failover::default(),
            challengeable: Challengeable::default(),
            last_resolve: 0,
            last_request: 0,
            budget: Budget::new(secret, config.limits.refusals_per_second, config.known.clone()),
            gone: vanish::Gone::default(),
            config,
        }
    }

    /// What stands in Via and Contact instead of our listeners' addresses.
    pub fn advertised(&self) -> &[Advertised] {
        &self.identity.advertised
    }

    /// The same from now on; calls that are up are told with the next request.
    pub fn set_advertised(&mut self, advertised: Vec<Advertised>) {
        self.identity.advertised = advertised;
    }

    /// Session timers of calls that begin from now on; none if they were off from the
    /// start.
    pub fn set_session_timers(&mut self, timers: SessionTimers) {
        if let Some(now) = &mut self.config.session_timers {
            *now = timers;
        }
    }

    /// Puts something in.
    pub fn handle_input(&mut self, now: Instant, input: Input) {
        match input {
            Input::Datagram { flow, data } => {
                let message = Message::parse(data, &self.config.parse);
                self.receive(now, flow, message);
            }
            Input::Message { flow, message } => self.receive(now, flow, message),
            Input::FlowLost { flow } => self.flow_lost(&flow),
            Input::FlowClosed { flow } => {
                self.identity.outbound.remove(&(flow.id, flow.remote));
                self.out.closed(&flow);
                self.transport_error(now, flow);
            }
            Input::SendFailed { flow } => self.transport_error(now, flow),
            Input::Undelivered { flow, quoted } => {
                if let Some(outcome) = self.clients.undelivered(now, &mut self.out, flow, &quoted) {
                    self.client_outcome(now, outcome, None);
                }
            }
            Input::Connected { connect, flow } => self.connected(now, connect, flow),
            Input::ConnectFailed { connect } => self.connect_failed(now, connect),
            Input::Resolved { resolve, targets } => self.resolved(now, resolve, targets),
            Input::ResolveFailed { resolve } => self.resolved(now, resolve, Vec::new()),
            Input::Timeout => self.timeout(now),
        }
    }

    /// Takes something out; what comes first happened first.
    pub fn poll_output(&mut self) -> Option<Output> {
        self.out.pop()
    }

    /// When to put [`Input::Timeout`] in; `None`: not before the next input.
    pub fn next_timeout(&self) -> Option<Instant> {
        [self.clients.next_timeout(), self.servers.next_timeout(), self.usages.next_timeout()]
            .into_iter()
            .flatten()
            .min()
    }

    fn timeout(&mut self, now: Instant) {
        while let Some(outcome) = self.clients.timeout(now, &mut self.out) {
            self.client_outcome(now, outcome, None);
        }
        while let Some((usage, request)) = self.servers.timeout(now, &mut self.out) {
            self.unanswered(usage, &request);
        }
        while let Some(usage) = self.usages.due(now, &mut self.out) {
            self.usage_timeout(now, usage);
        }
    }

    fn transport_error(&mut self, now: Instant, flow: Flow) {
        for outcome in self.clients.transport_error(now, &mut self.out, flow) {
            self.client_outcome(now, outcome, None);
        }
    }

    /// Counters so far.
    pub fn counters(&self) -> &Counters {
        &self.out.counters
    }

    /// What is held at the moment.
    pub fn holdings(&self) -> Holdings {
        let clients = self.clients.holdings();
        let servers = self.servers.holdings();
        let usages = self.usages.holdings();
        Holdings {
            client_transactions: clients[0],
            server_transactions: servers[0],
            usages: usages[0],
            subscriptions: self.subscriptions.len(),
            timer_entries: clients[1] + servers[1] + usages[1],
            waiting: self.connecting.len()
                + self.resolving.len()
                + self.failover.len()
                + self.challengeable.len()
                + self.out.waiting(),
            map_entries: clients[2] + servers[2] + usages[2] + self.subscriptions.map_entries(),
            slab_capacity: clients[3] + servers[3] + usages[3] + self.subscriptions.capacity(),
        }
    }
}
