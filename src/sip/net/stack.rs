//! The endpoint on the network: one struct that owns the sockets, the clock and the endpoint,
//! and is polled for its next event.

use std::collections::HashMap;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::pin::Pin;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use bytes::Bytes;
use tokio::sync::mpsc;
use tokio::time::Sleep;

use super::bans::{Ban, Bans, RefusedCall};
use super::budget::{Bucket, SourceBudget};
use super::certified::CertifiedPeers;
use super::connection::{ConnectionEvent, Halves};
use super::connections::{Connections, Peer};
use super::held::Held;
use super::limits::{NetCounters, NetLimits};
use super::listeners::{Listening, NamedListener};
use super::local_addr::{self, LocalAddresses};
use super::local_flows::LocalFlows;
use super::resolve::{NameService, Resolver};
use super::sockets::{self, Listener, Passing};
use super::stun::{Stun, StunConfig};
use super::tap::{Seen, Tap};
use super::tls::Tls;
use super::trace::{Direction, Record, SipTrace, TraceSlot};
use super::udp::UdpPort;
use crate::endpoint::{ConnectId, Endpoint, Event, Flow, FlowId, Input, ResolveId, Transport};
use crate::known::KnownSources;
use crate::msg::Limits;
use b2b_base::stepping::Stepping;

/// Listening addresses and limits of a stack.
#[derive(Debug, Clone)]
pub struct NetConfig {
    /// Each is bound for UDP and TCP on the same port; port 0 takes one that is free for
    /// both.
    pub bind: Vec<SocketAddr>,
    /// Each is bound for TLS; together with `bind` at least one address is needed.
    pub bind_tls: Vec<SocketAddr>,
    /// Further listeners, which requests may name.
    pub named: Vec<NamedListener>,
    /// TLS for listeners and for outgoing connections.
    pub tls: Option<Tls>,
    /// The name service.
    pub names: NameService,
    /// The STUN server for each listener name.
    pub stun: Vec<StunConfig>,
    /// Limits of the drivers.
    pub limits: NetLimits,
    /// Known sources, for which room is reserved.
    pub known: KnownSources,
    /// Receives the names in the certificates of connections.
    pub certified: CertifiedPeers,
    /// Parser limits for one message.
    pub message: Limits,
    /// File to which every message is written.
    pub trace: Option<PathBuf>,
    /// Allows changing the trace later.
    pub trace_slot: TraceSlot,
    /// Whether the tap also gets messages that belong to no call.
    pub tap_all: bool,
    /// Listening sockets from a process before, and for the next one.
    pub passing: Passing,
    /// Where it is written down which message is taken.
    pub stepping: Option<Stepping>,
    /// Calls whose messages are refused until then.
    pub refused_calls: Vec<RefusedCall>,
}

impl NetConfig {
    /// A configuration with one address, default limits and no trace.
    pub fn new(bind: SocketAddr) -> Self {
        NetConfig {
            bind: vec![bind],
            bind_tls: Vec::new(),
            named: Vec::new(),
            tls: None,
            names: NameService::System,
            stun: Vec::new(),
            limits: NetLimits::default(),
            known: KnownSources::default(),
            certified: CertifiedPeers::default(),
            message: Limits::default(),
            trace: None,
            trace_slot: TraceSlot::default(),
            tap_all: false,
            passing: Passing::default(),
            stepping: None,
            refused_calls: Vec::new(),
        }
    }
}

/// Why a stack could not start.
#[derive(Debug, thiserror::Error)]
pub enum NetError {
    /// A listening socket could not be opened.
    #[error("cannot bind {addr}: {error}; choose another address, or stop the program that uses it")]
    Bind {
        /// The requested address and port.
        addr: SocketAddr,
        /// The system's error.
        error: io::Error,
    },
    /// The resolver could not be set up; the text says why.
    #[error("cannot query DNS: {0}; set a server, or check /etc/resolv.conf")]
    Names(String),
    /// The SIP trace file could not be opened.
    #[error("cannot write the SIP trace {path}: {error}; choose a path that can be written", path = path.display())]
    Trace {
        /// The path of the file.
        path: PathBuf,
        /// The system's error.
        error: io::Error,
    },
}

/// Number of turns with input before the tasks of connections get a turn.
const TURNS: u32 = 64;

/// An [`Endpoint`] with its sockets and its clock. It lives on one current-thread tokio
/// runtime and shares nothing.
///
/// ```text
/// loop { select! {
///     event = stack.next_event() => …,
///     command = commands.recv()  => stack.endpoint().bye(now, …),
/// } }
/// ```
///
/// Input: datagrams, connections, time. Output: [`Event`]s, in order. Commands go to the
/// endpoint itself; their messages are sent by the next call of [`SipStack::next_event`].
pub struct SipStack {
    pub(super) endpoint: Endpoint,
    pub(super) udp: Vec<UdpPort>,
    pub(super) listeners: Vec<Listener>,
    pub(super) tls: Option<Tls>,
    pub(super) names: Resolver,
    /// Set while accepting is paused.
    pub(super) accept_pause: Option<Pin<Box<Sleep>>>,
    pub(super) connections: Connections,
    /// Connections that are being opened, and the other requests that wait for them.
    pub(super) opening: HashMap<Peer, Vec<ConnectId>>,
    pub(super) connection_events: mpsc::Receiver<ConnectionEvent>,
    /// Results of connects and lookups, from their tasks.
    pub(super) results: Channel<TaskResult>,
    pub(super) timer: Pin<Box<Sleep>>,
    pub(super) armed_for: Option<Instant>,
    /// Turns since the connection tasks last had one.
    turns: u32,
    pub(super) budget: SourceBudget,
    /// The budget of existing calls from an address over its own budget.
    pub(super) spared: SourceBudget,
    pub(super) handshakes: Handshakes,
    pub(super) bans: Bans,
    pub(super) known: KnownSources,
    pub(super) locals: LocalAddresses,
    /// Connections to close once their output is queued.
    pub(super) closing: Vec<Flow>,
    pub(super) limits: NetLimits,
    pub(super) trace: TraceSlot,
    /// Boxed because it is rarely used.
    pub(super) stun: Option<Box<Stun>>,
    /// Flows kept alive.
    pub(super) held: Held,
    /// `None` if messages are not watched.
    pub(super) tap: Option<Tap>,
    pub(super) counters: NetCounters,
    pub(super) connect_error: Option<ConnectError>,
    stepping: Option<Stepping>,
}

/// The budgets of TLS handshakes that peers begin.
pub(super) struct Handshakes {
    /// Of strangers, and of homes of registered users.
    pub per_source: [SourceBudget; 2],
    /// Of all.
    pub pace: Bucket,
    /// Set while they wait for it.
    pub timer: Pin<Box<Sleep>>,
}

/// The results of tasks of ours, on their way back.
pub(super) struct Channel<T> {
    pub sender: mpsc::UnboundedSender<T>,
    pub receiver: mpsc::UnboundedReceiver<T>,
}

impl<T> Default for Channel<T> {
    fn default() -> Self {
        let (sender, receiver) = mpsc::unbounded_channel();
        Channel { sender, receiver }
    }
}

/// Why an outgoing connection could not be opened.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ConnectError {
    /// TLS: the certificate is not valid for the name, or not from a trusted authority.
    #[error("the certificate of {peer} is not trusted: {reason}")]
    Certificate {
        /// Address and port, and the host name if one was looked up.
        peer: String,
        /// The TLS library's error.
        reason: String,
    },
    /// The TCP connection or the TLS handshake failed.
    #[error("no connection to {peer}: {reason}")]
    Connection {
        /// Address and port, and the host name if one was looked up.
        peer: String,
        /// The error of the system or the TLS library.
        reason: String,
    },
}

/// The result of a task.
pub(super) enum TaskResult {
    Connected { connect: ConnectId, peer: Peer, opened: io::Result<(SocketAddr, Halves)> },
    Resolved { resolve: ResolveId, targets: Vec<(Transport, SocketAddr)> },
}

impl SipStack {
    /// Binds all sockets and takes the endpoint. Must be called within the tokio runtime that
    /// the stack will run on.
    ///
    /// # Errors
    /// See [`NetError`].
    pub fn bind(config: NetConfig, mut endpoint: Endpoint) -> Result<Self, NetError> {
        let mut udp = Vec::new();
        let mut listeners = Vec::new();
        let mut passing = config.passing;
        let unnamed = (None, config.bind, config.bind_tls);
        let named = config.named.into_iter().map(|it| (Some(it.name), it.bind, it.bind_tls));
        for (name, bind, bind_tls) in std::iter::once(unnamed).chain(named) {
            for addr in bind {
                let bound = sockets::bind_both(addr, name.as_ref(), &mut passing);
                let (port, listener) = bound.map_err(|error| NetError::Bind { addr, error })?;
                udp.push(port);
                listeners.push(listener);
            }
            for addr in bind_tls {
                let listener = sockets::listen(Transport::Tls, addr, name.as_ref(), &mut passing);
                listeners.push(listener.map_err(|error| NetError::Bind { addr, error })?);
            }
        }
        if let Some(path) = config.trace {
            let trace = SipTrace::create(&path).map_err(|error| NetError::Trace { path, error })?;
            config.trace_slot.set(Some(trace));
        }
        let now = Instant::now();
        let (rate, sources) = (config.limits.per_source, config.limits.max_sources);
        let budget = || SourceBudget::new(now, rate, sources, config.known.clone());
        let handshakes = [1, 10].map(|times| config.limits.handshakes(times));
        let (connections, connection_events) =
            Connections::new(udp.len() as u64, config.limits.clone(), config.message, config.certified);
        let asked = (!config.stun.is_empty()).then(|| {
            let listening = listening(&udp, &listeners).collect();
            Box::new(Stun::new(config.stun, listening, &endpoint))
        });
        endpoint.set_udp(LocalFlows::new(listening(&udp, &listeners)).udp());
        Ok(SipStack {
            stun: asked,
            held: Held::default(),
            endpoint,
            udp,
            listeners,
            tls: config.tls,
            names: Resolver::new(config.names).map_err(NetError::Names)?,
            accept_pause: None,
            connections,
            connection_events,
            results: Channel::default(),
            timer: Box::pin(tokio::time::sleep(Duration::ZERO)),
            armed_for: None,
            turns: 0,
            budget: budget(),
            spared: budget(),
            handshakes: Handshakes {
                per_source: handshakes
                    .map(|rate| SourceBudget::new(now, rate, sources, KnownSources::default())),
                pace: Bucket::new(now),
                timer: Box::pin(tokio::time::sleep(Duration::ZERO)),
            },
            bans: Bans::of_calls(config.refused_calls),
            known: config.known,
            locals: LocalAddresses::default(),
            closing: Vec::new(),
            limits: config.limits,
            trace: config.trace_slot,
            tap: config.tap_all.then(Tap::of_everything),
            counters: NetCounters::default(),
            opening: HashMap::new(),
            connect_error: None,
            stepping: config.stepping,
        })
    }

    /// The first bound address, with the actual port; never a wildcard.
    pub fn local(&self) -> Option<SocketAddr> {
        self.locals().next().map(|(_, local)| local)
    }

    /// Every bound address, with the actual port; never a wildcard. UDP addresses come first.
    pub fn locals(&self) -> impl Iterator<Item = (Transport, SocketAddr)> {
        let udp = self.udp.iter().map(|port| (Transport::Udp, port.bound));
        let listeners = self.listeners.iter().map(|listener| (listener.transport, listener.bound));
        udp.chain(listeners).map(|(transport, bound)| (transport, local_addr::concrete(bound)))
    }

    /// Every listening socket, with the name of its listener.
    pub fn listening(&self) -> impl Iterator<Item = Listening> {
        listening(&self.udp, &self.listeners)
    }

    /// Every address as bound, wildcards included; only those of the listener `name` if
    /// given.
    pub(super) fn bound(&self, name: Option<&str>) -> impl Iterator<Item = SocketAddr> {
        let of = move |its: &Option<Arc<str>>| name.is_none_or(|name| its.as_deref() == Some(name));
        let udp = self.udp.iter().filter(move |port| of(&port.name)).map(|port| port.bound);
        udp.chain(self.listeners.iter().filter(move |it| of(&it.name)).map(|it| it.bound))
    }

    /// The endpoint, for commands.
    pub fn endpoint(&mut self) -> &mut Endpoint {
        &mut self.endpoint
    }

    /// The stack's clock, for commands to the endpoint.
    pub fn now(&self) -> Instant {
        Instant::now()
    }

    /// Bans a source, or lifts a ban: datagrams are dropped unparsed and connections refused,
    /// except for messages that belong to existing calls.
    pub fn ban(&mut self, ban: Ban) {
        self.bans.set(Instant::now(), ban);
    }

    /// Marks a connection as proved: it may be idle for long, and is not closed to make room.
    pub fn prove(&mut self, flow: &Flow) {
        if flow.transport.is_reliable() {
            self.connections.prove(flow.id.0);
        }
    }

    /// Starts to keep the messages of calls; drain them with [`SipStack::take_seen`] at every
    /// turn.
    pub fn watch(&mut self) {
        self.tap.get_or_insert_default();
    }

    /// The next message kept; only after [`SipStack::watch`].
    pub fn take_seen(&mut self) -> Option<Seen> {
        self.tap.as_mut()?.take()
    }

    /// The first address of this family of a host name, without search domains; `None` if it is not known
    /// within `patience`.
    pub fn look_up(
        &self,
        host: &str,
        ipv4: bool,
        patience: Duration,
    ) -> impl Future<Output = Option<IpAddr>> + Send + use<> {
        let (names, host) = (self.names.clone(), format!("{}.", host.trim_end_matches('.')));
        async move { tokio::time::timeout(patience, names.address(&host, ipv4)).await.ok().flatten() }
    }

    /// The counters so far.
    pub fn counters(&self) -> NetCounters {
        self.counters
    }

    /// Takes the error of the last failed outgoing connection. The request itself only fails
    /// as unreachable.
    pub fn take_connect_error(&mut self) -> Option<ConnectError> {
        self.connect_error.take()
    }

    /// Handles the loss of a local address: closes the connections from it, and clears the
    /// cached local addresses.
    pub fn lost_address(&mut self, gone: IpAddr) {
        self.locals = LocalAddresses::default();
        self.endpoint.set_udp(LocalFlows::new(self.listening()).udp());
        for flow in self.connections.from(gone) {
            self.connections.remove(flow.id.0);
            self.input(Input::FlowClosed { flow });
        }
    }

    /// Number of open TCP and TLS connections.
    pub fn connections(&self) -> usize {
        self.connections.len()
    }

    /// Processes messages and time until there is an event. Cancel safe: nothing is lost when
    /// the future is dropped.
    pub async fn next_event(&mut self) -> Event {
        loop {
            if let Some(event) = self.pump() {
                return event;
            }
            // The runtime's own budget would split a burst, with a wake-up through the kernel
            // for each part; turns are counted here instead.
            self.turns += 1;
            if self.turns >= TURNS {
                self.turns = 0;
                tokio::task::yield_now().await;
            }
            tokio::task::unconstrained(std::future::poll_fn(|cx| self.poll_inputs(cx))).await;
        }
    }

    /// Sends the remaining output and closes, waiting at most `patience` for the connections
    /// to write their queues.
    pub async fn close(mut self, patience: Duration) {
        while self.pump().is_some() {}
        self.listeners.clear();
        let mut open = self.connections.len();
        self.connections.finish();
        let finished = async {
            while open > 0 {
                match self.connection_events.recv().await {
                    Some(ConnectionEvent::Closed { .. }) => open -= 1,
                    Some(_) => {}
                    None => break,
                }
            }
        };
        let _ = tokio::time::timeout(patience, finished).await;
    }

    pub(super) fn input(&mut self, input: Input) {
        self.endpoint.handle_input(Instant::now(), input);
    }

    /// Gives a message to the endpoint.
    pub(super) fn take(&mut self, now: Instant, source: IpAddr, message: Input) {
        let Some(stepping) = self.stepping.clone() else { return self.endpoint.handle_input(now, message) };
        match &message {
            Input::Datagram { data, .. } => stepping.message(source, data),
            Input::Message { message: Ok(message), .. } => stepping.message(source, message.as_bytes()),
            _ => stepping.message(source, &[]),
        }
        self.endpoint.handle_input(now, message);
        stepping.over();
    }

    pub(super) fn trace(&mut self, direction: Direction, flow: &Flow, data: &Bytes) {
        if let Some(tap) = &mut self.tap {
            tap.pass(Instant::now(), direction, flow, data);
        }
        if !self.trace.is_on() {
            return;
        }
        self.trace.write(Record {
            at: SystemTime::now(),
            direction,
            transport: match flow.transport {
                Transport::Udp => "udp",
                Transport::Tls => "tls",
                _ => "tcp",
            },
            local: flow.local,
            remote: flow.remote,
            data: data.clone(),
        });
    }

    pub(super) fn udp_flow(&mut self, index: usize, remote: SocketAddr) -> io::Result<Flow> {
        let port = self.udp.get(index).ok_or(io::ErrorKind::NotFound)?;
        let local = self.locals.of_flow(port.bound, remote)?;
        Ok(Flow { transport: Transport::Udp, local, remote, id: FlowId(index as u64) })
    }

    /// Our address for a connection over `transport` from `local`, with the port of a
    /// listener of ours: that of the listener `name` if given. Without a listener it is the
    /// connection's own address.
    pub(super) fn reached_at(
        &self,
        transport: Transport,
        local: SocketAddr,
        name: Option<&str>,
    ) -> SocketAddr {
        let fits = |it: &&Listener| name.is_none_or(|name| it.name.as_deref() == Some(name));
        let listeners = self.listeners.iter().filter(fits).map(|it| (it.transport, it.bound));
        local_addr::reached_at(listeners, transport, local)
    }
}

/// UDP sockets come first.
fn listening(udp: &[UdpPort], listeners: &[Listener]) -> impl Iterator<Item = Listening> {
    let one = |transport, bound, name: &Option<Arc<str>>| Listening { transport, bound, name: name.clone() };
    let udp = udp.iter().map(move |port| one(Transport::Udp, port.bound, &port.name));
    udp.chain(listeners.iter().map(move |it| one(it.transport, it.bound, &it.name)))
}
