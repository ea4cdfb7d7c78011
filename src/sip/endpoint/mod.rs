//! The SIP endpoint: combines transactions, dialogs and usages. It has no socket, no clock,
//! no randomness of its own and no task.
//!
//! - `config`: configuration and limits
//! - `event`: events for the user
//! - `command`: the parameters of commands, and their errors
//! - `receive`, `refuse`: incoming messages, and those refused statelessly; `overload`: load shedding
//! - `invite`: the INVITE that begins a call, ours or the peer's; `in_dialog`: later requests, and ours outside one
//! - `sending`: where requests go, and how
//! - `outbound`: flows kept alive for registrations
//! - `onward`: what one INVITE passes on to another; loop detection
//! - `stranger`: stateless responses, and requests dropped without one
//! - `snapshot`: calls as values
//! - `ahead`: calls that go on without an event
//! - `subscription`: SUBSCRIBE dialogs in which we are the notifier
//! - `usages`: the slab of usages, their timers and their end
//! - `vanish`: makes one side of a call go silent, for tests

mod ahead;
pub mod command;
pub mod config;
pub mod event;
mod in_dialog;
mod invite;
mod onward;
mod outbound;
mod overload;
mod receive;
mod refuse;
mod sending;
mod snapshot;
mod stranger;
mod subscription;
mod usages;
mod vanish;

use std::collections::{HashMap, HashSet};
use std::net::SocketAddr;
use std::time::Instant;

use bytes::Bytes;

pub use crate::counters::{Counters, Holdings};
pub use crate::dialog::hop::{HopJudge, HopRule, HopVerdict, NextHop, PeerWay, Whereabouts};
pub use crate::dialog::identity::Advertised;
pub use crate::dialog::redirect::{RedirectTarget, redirect_targets};
pub use crate::dialog::replaces::{ReferTo, Replaces};
pub use crate::dialog::reply::Reply;
pub use crate::dialog::session_timer::{SessionRefresher, SessionTimers};
pub use crate::flow::{Flow, FlowId, Transport};
pub use crate::ids::{ConnectId, ReferId, RequestId, ResolveId, ServerTransactionId, UsageId};
pub use crate::msg::HeaderFields;
pub use crate::msg::body::Body;
pub use command::{CommandError, InDialog, Invite, InviteError, OutOfDialog, RequestIdentity, check_headers};
pub use config::{EndpointConfig, EndpointLimits, Extensions};
pub use event::{Challenge, Event, RequestFailure, Termination, UsageEvent};
pub use in_dialog::requests::DialogFacts;
pub use onward::Onward;
pub use snapshot::{Lingering, TakenIn, UsageSnapshot, UsageValue};
pub use subscription::SubscriptionId;

use crate::dialog::identity::Identity;
use crate::flow::UdpFlow;
use crate::msg::{Message, ParseError};
use crate::outbox::Outbox;
use crate::transaction::client::ClientTransactions;
use crate::transaction::server::ServerTransactions;
use b2b_base::ids::Mint;
use in_dialog::challenge_inside::Challengeable;
use refuse::Budget;
use sending::awaited::Awaited;
use sending::failover::Failover;
use sending::send::{User, Waiting};
pub use sending::udp_or_tcp::LargeRequests;
use subscription::Subscriptions;
use usages::Usages;

/// What a driver passes to [`Endpoint::handle_input`].
#[derive(Debug)]
pub enum Input {
    /// One datagram as received.
    Datagram {
        /// The socket that received it, and its source.
        flow: Flow,
        /// The payload.
        data: Bytes,
    },
    /// One message of a stream transport from its `StreamDecoder`. After an error the driver
    /// closes the connection once the output is written.
    Message {
        /// The connection that received it.
        flow: Flow,
        /// The message, or the parse error.
        message: Result<Message, ParseError>,
    },
    /// A connection was closed.
    FlowClosed {
        /// The connection that was closed.
        flow: Flow,
    },
    /// A flow kept alive for [`Output::KeepAlive`] no longer responds, or its NAT binding
    /// has changed. Only for UDP, where no connection can be closed.
    FlowLost {
        /// The flow that was kept alive.
        flow: Flow,
    },
    /// The kernel refused to send a message. UDP: `flow.remote` is the destination.
    SendFailed {
        /// Where the message was to go.
        flow: Flow,
    },
    /// An ICMP error for a datagram of ours, with the quoted start of its payload. Anyone who
    /// knows our ports can forge one, so it affects only the request whose branch it quotes.
    Undelivered {
        /// Where the datagram was sent.
        flow: Flow,
        /// The first octets of the datagram's payload, as many as the ICMP message contains.
        quoted: Bytes,
    },
    /// The success of an [`Output::Connect`].
    Connected {
        /// The id of the output.
        connect: ConnectId,
        /// The connection, now open.
        flow: Flow,
    },
    /// The failure of an [`Output::Connect`].
    ConnectFailed {
        /// The id of the output.
        connect: ConnectId,
    },
    /// The success of an [`Output::Resolve`]: the targets, best first (RFC 3263).
    Resolved {
        /// The id of the output.
        resolve: ResolveId,
        /// Transports and addresses to try in this order.
        targets: Vec<(Transport, SocketAddr)>,
    },
    /// The failure of an [`Output::Resolve`].
    ResolveFailed {
        /// The id of the output.
        resolve: ResolveId,
    },
    /// [`Endpoint::next_timeout`] has been reached.
    Timeout,
}

/// What a driver takes from [`Endpoint::poll_output`].
pub type Output = crate::outbox::Output<Event>;

/// A SIP endpoint. Its methods are of five kinds:
///
/// - **Input**: [`Endpoint::handle_input`], with what the network, the resolver or the timer brings.
/// - **Output**: [`Endpoint::poll_output`], until it is empty, after each input and each command. Outputs are carried out
///   in their order, events before all others. A command may be given while they are drained, as the answer to an event:
///   what it sends queues behind the rest.
/// - **Timer**: [`Endpoint::next_timeout`], after the outputs were drained. Timers run only by [`Input::Timeout`], which
///   may come late, but is never needed earlier than that time.
/// - **Commands**: what takes `now` beside an id, such as [`Endpoint::answer`]. An id comes by the command that made it or
///   by an event, and is good until the event that says its end ([`UsageEvent::Terminated`] for a call); after that, and
///   in a state that does not allow it, a command is refused and nothing is sent. A server transaction is responded to
///   once.
/// - **Settings and questions**: `set_…` holds from the next message on; the rest changes nothing.
///
/// `now` must not go backwards from one call to the next; inputs that were read together may share one.
pub struct Endpoint {
    config: EndpointConfig,
    identity: Identity,
    /// For everything outside a usage, and for seeding usages.
    mint: Mint,
    out: Outbox<Event>,
    udp: UdpFlow,
    clients: ClientTransactions<User>,
    servers: ServerTransactions,
    usages: Usages,
    subscriptions: Subscriptions,
    connecting: HashMap<ConnectId, Box<Waiting>>,
    resolving: HashMap<ResolveId, Box<Waiting>>,
    failover: Failover,
    awaited: Awaited,
    challengeable: Challengeable,
    last_resolve: u64,
    last_request: u64,
    budget: Budget,
    gone: vanish::Gone,
    ahead: ahead::Ahead,
}

impl Endpoint {
    /// A new endpoint without calls. It sends requests over UDP once it has [`Endpoint::set_udp`].
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
            udp: Box::new(|_, _| None),
            clients: ClientTransactions::new(config.timers),
            servers: ServerTransactions::new(config.timers, secret, config.known.clone()),
            usages: Usages::default(),
            subscriptions: Subscriptions::default(),
            connecting: HashMap::new(),
            resolving: HashMap::new(),
            failover: Failover::default(),
            awaited: Awaited::default(),
            challengeable: Challengeable::default(),
            last_resolve: 0,
            last_request: 0,
            budget: Budget::new(secret, config.limits.refusals_per_second, config.known.clone()),
            gone: vanish::Gone::default(),
            ahead: ahead::Ahead::default(),
            config,
        }
    }

    /// The addresses in Via and Contact that replace those of our listeners.
    pub fn advertised(&self) -> &[Advertised] {
        &self.identity.advertised
    }

    /// Replaces the advertised addresses; established calls use them from their next request
    /// on.
    pub fn set_advertised(&mut self, advertised: Vec<Advertised>) {
        self.identity.advertised = advertised;
    }

    /// Sets the function that it asks, while a command or an input is handled, for the flow of each UDP request that
    /// has none yet.
    pub fn set_udp(&mut self, udp: impl FnMut(SocketAddr, Option<&str>) -> Option<Flow> + Send + 'static) {
        self.udp = Box::new(udp);
    }

    /// Exchanges the UDP flows with those of another endpoint.
    pub fn swap_udp(&mut self, other: &mut Endpoint) {
        std::mem::swap(&mut self.udp, &mut other.udp);
    }

    /// Sets the session timers of new calls; no effect if they were off from the start.
    pub fn set_session_timers(&mut self, timers: SessionTimers) {
        if let Some(now) = &mut self.config.session_timers {
            *now = timers;
        }
    }

    /// Processes one input.
    pub fn handle_input(&mut self, now: Instant, input: Input) {
        self.ahead.begin();
        match input {
            Input::Datagram { flow, data } => {
                let message = Message::parse(data, &self.config.parse);
                self.receive(now, flow, message);
            }
            Input::Message { flow, message } => self.receive(now, flow, message),
            Input::FlowLost { flow } => self.flow_lost(&flow),
            Input::FlowClosed { flow } => {
                self.identity.outbound.remove(&(flow.id, flow.remote));
                if self.out.closed(&flow) {
                    self.out.event(Event::FlowClosed { flow });
                }
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
        self.ahead.end(&mut self.out);
    }

    /// From now on, each input in which a call goes on without an event has [`Event::Ahead`].
    pub fn tell_ahead(&mut self) {
        self.ahead.tell();
    }

    /// Takes the next output; events first.
    pub fn poll_output(&mut self) -> Option<Output> {
        self.out.pop()
    }

    /// Whether [`Endpoint::poll_output`] gives an event next: what it leads to is not part of any
    /// [value](Endpoint::usage_value) yet.
    pub fn has_events(&self) -> bool {
        self.out.has_events()
    }

    /// When to pass [`Input::Timeout`]; `None` if not before the next input.
    pub fn next_timeout(&self) -> Option<Instant> {
        let transactions = [self.clients.next_timeout(), self.servers.next_timeout()];
        let others = [self.usages.next_timeout(), self.awaited.next_timeout()];
        transactions.into_iter().chain(others).flatten().min()
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
        self.look_for_peers(now);
    }

    fn transport_error(&mut self, now: Instant, flow: Flow) {
        for outcome in self.clients.transport_error(now, &mut self.out, flow) {
            self.client_outcome(now, outcome, None);
        }
    }

    /// The counters so far.
    pub fn counters(&self) -> &Counters {
        &self.out.counters
    }

    /// The numbers of entries held at the moment.
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
                + self.awaited.len()
                + self.challengeable.len()
                + self.out.waiting(),
            map_entries: clients[2] + servers[2] + usages[2] + self.subscriptions.map_entries(),
            slab_capacity: clients[3] + servers[3] + usages[3] + self.subscriptions.capacity(),
        }
    }
}
