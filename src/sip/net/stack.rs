//! The endpoint on the network: one struct that owns the sockets, the clock and
//! the endpoint, and is asked for its next event.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::pin::Pin;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use bytes::Bytes;
use tokio::sync::mpsc;
use tokio::time::Sleep;

use super::bans::{Ban, Bans};
use super::budget::SourceBudget;
use super::certified::CertifiedPeers;
use super::connection::{ConnectionEvent, Halves};
use super::connections::{Connections, Peer};
use super::held::Held;
use super::limits::{NetCounters, NetLimits};
use super::listeners::{Listening, NamedListener};
use super::local_addr::{self, LocalAddresses};
use super::resolve::{NameService, Resolver};
use super::sockets::{self, Listener};
use super::stun::{Stun, StunConfig};
use super::tap::{Seen, Tap};
use super::tls::Tls;
use super::trace::{Direction, Record, SipTrace, TraceSlot};
use super::udp::UdpPort;
use crate::endpoint::{ConnectId, Endpoint, Event, Flow, FlowId, Input, ResolveId, Transport};
use crate::known::KnownSources;
use crate::msg::Limits;

/// Where a stack listens, and its limits.
#[derive(Debug, Clone)]
pub struct NetConfig {
    /// Each is bound for UDP and TCP on the same port; port 0 takes one that is
    /// free for both.
    pub bind: Vec<SocketAddr>,
    /// Each is bound for TLS; with `bind` at least one.
    pub bind_tls: Vec<SocketAddr>,
    /// Further ones, which requests may name.
    pub named: Vec<NamedListener>,
    /// For TLS listeners, and for connections of ours over TLS.
    pub tls: Option<Tls>,
    /// Who knows where hosts are.
    pub names: NameService,
    /// Who is asked by which address the outside sees listeners, one for each name.
    pub stun: Vec<StunConfig>,
    /// Limits of the drivers.
    pub limits: NetLimits,
    /// For whom room is kept.
    pub known: KnownSources,
    /// Where it is written whose certificate was shown on which connection.
    pub certified: CertifiedPeers,
    /// Limits of one message.
    pub message: Limits,
    /// Write every message here.
    pub trace: Option<PathBuf>,
    /// Where that is changed later.
    pub trace_slot: TraceSlot,
    /// Whoever takes what passed gets what belongs to no call, too.
    pub tap_all: bool,
}

impl NetConfig {
    /// One address, default limits, no trace.
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
        }
    }
}

/// Why a stack could not start.
#[derive(Debug, thiserror::Error)]
pub enum NetError {
    /// A listening socket could not be opened.
    #[error("cannot bind {addr}: {error}; choose another address, or stop the program that uses it")]
    Bind {
        /// The address and port that were asked for.
        addr: SocketAddr,
        /// What the system says.
        error: io::Error,
    },
    /// The resolver could not be set up; the text says why.
    #[error("cannot query DNS: {0}; set a server, or check /etc/resolv.conf")]
    Names(String),
    /// The file of the SIP trace could not be opened.
    #[error("cannot write the SIP trace {path}: {error}; choose a path that can be written", path = path.display())]
    Trace {
        /// The file.
        path: PathBuf,
        /// What the system says.
        error: io::Error,
    },
}

/// Turns that the stack may take, when there is always something to read, before
/// the tasks of connections get theirs.
const TURNS: u32 = 64;

/// An [`Endpoint`] with its sockets and its clock. Lives on one current-thread
/// tokio runtime; nothing of it is shared.
///
/// ```text
/// loop { select! {
///     event = stack.next_event() => …,
///     command = commands.recv()  => stack.endpoint().bye(now, …),
/// } }
/// ```
///
/// Input: datagrams, connections, time. Output: [`Event`]s, in order. Commands
/// go to the endpoint itself; what they cause is sent by the next call of
/// [`SipStack::next_event`].
pub struct SipStack {
    pub(super) endpoint: Endpoint,
    pub(super) udp: Vec<UdpPort>,
    pub(super) listeners: Vec<Listener>,
    pub(super) tls: Option<Tls>,
    pub(super) names: Resolver,
    /// Runs while nothing is accepted.
    pub(super) accept_pause: Option<Pin<Box<Sleep>>>,
    pub(super) connections: Connections,
    pub(super) connection_events: mpsc::Receiver<ConnectionEvent>,
    /// Results of connects and lookups, from tasks of their own.
    pub(super) results: (mpsc::UnboundedSender<TaskResult>, mpsc::UnboundedReceiver<TaskResult>),
    pub(super) timer: Pin<Box<Sleep>>,
    pub(super) armed_for: Option<Instant>,
    /// Turns since connections last had theirs.
    turns: u32,
    pub(super) budget: SourceBudget,
    /// What calls that are up may still send from an address over its budget.
    pub(super) spared: SourceBudget,
    pub(super) bans: Bans,
    pub(super) known: KnownSources,
    pub(super) locals: LocalAddresses,
    /// Connections to close when everything has been sent.
    pub(super) closing: Vec<Flow>,
    pub(super) limits: NetLimits,
    pub(super) trace: TraceSlot,
    /// Boxed: few have one.
    pub(super) stun: Option<Box<Stun>>,
    /// Flows that are kept alive.
    pub(super) held: Held,
    /// None: nobody takes what passes.
    pub(super) tap: Option<Tap>,
    pub(super) counters: NetCounters,
    pub(super) connect_error: Option<ConnectError>,
}

/// Why a connection of ours could not be opened.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ConnectError {
    /// TLS: its certificate is none for that name, or of nobody whom we trust.
    #[error("the certificate of {peer} is not trusted: {reason}")]
    Certificate {
        /// Address and port, and the name where one was looked up.
        peer: String,
        /// What the TLS library says.
        reason: String,
    },
    /// TCP or TLS.
    #[error("no connection to {peer}: {reason}")]
    Connection {
        /// Address and port, and the name where one was looked up.
        peer: String,
        /// What the system or the TLS library says.
        reason: String,
    },
}

/// What a task of ours brought back.
pub(super) enum TaskResult {
    Connected { connect: ConnectId, peer: Peer, opened: io::Result<(SocketAddr, Halves)> },
    Resolved { resolve: ResolveId, targets: Vec<(Transport, SocketAddr)> },
}

impl SipStack {
    /// Binds everything and takes the endpoint in. Must be called within the
    /// tokio runtime that the stack will live on.
    ///
    /// # Errors
    /// See [`NetError`].
    pub fn bind(config: NetConfig, endpoint: Endpoint) -> Result<Self, NetError> {
        let mut udp = Vec::new();
        let mut listeners = Vec::new();
        let unnamed = (None, config.bind, config.bind_tls);
        let named = config.named.into_iter().map(|it| (Some(it.name), it.bind, it.bind_tls));
        for (name, bind, bind_tls) in std::iter::once(unnamed).chain(named) {
            for addr in bind {
                let bound = sockets::bind_both(addr, name.as_ref());
                let (port, listener) = bound.map_err(|error| NetError::Bind { addr, error })?;
                udp.push(port);
                listeners.push(listener);
            }
            for addr in bind_tls {
                let listener = sockets::listen(Transport::Tls, addr, name.as_ref());
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
        let (connections, connection_events) =
            Connections::new(udp.len() as u64, config.limits.clone(), config.message, config.certified);
        let asked = (!config.stun.is_empty()).then(|| {
            let listening = listening(&udp, &listeners).collect();
            Box::new(Stun::new(config.stun, listening, &endpoint))
        });
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
            results: mpsc::unbounded_channel(),
            timer: Box::pin(tokio::time::sleep(Duration::ZERO)),
            armed_for: None,
            turns: 0,
            budget: budget(),
            spared: budget(),
            bans: Bans::default(),
            known: config.known,
            locals: LocalAddresses::default(),
            closing: Vec::new(),
            limits: config.limits,
            trace: config.trace_slot,
            tap: config.tap_all.then(Tap::of_everything),
            counters: NetCounters::default(),
            connect_error: None,
        })
    }

    /// The first bound address, with the real port; never a wildcard.
    pub fn local(&self) -> Option<SocketAddr> {
        self.locals().next().map(|(_, local)| local)
    }

    /// Every bound address, with the real port; never a wildcard. Those for UDP come
    /// first.
    pub fn locals(&self) -> impl Iterator<Item = (Transport, SocketAddr)> {
        let udp = self.udp.iter().map(|port| (Transport::Udp, port.bound));
        let listeners = self.listeners.iter().map(|listener| (listener.transport, listener.bound));
        udp.chain(listeners).map(|(transport, bound)| (transport, local_addr::concrete(bound)))
    }

    /// Every socket that listens, with the name of its listener.
    pub fn listening(&self) -> impl Iterator<Item = Listening> {
        listening(&self.udp, &self.listeners)
    }

    /// Every address as it is bound, wildcards included; of this listener, if one is named.
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

    /// Nothing that would begin something is taken from this source for a time: its
    /// datagrams are dropped unparsed and its connections refused, but for what belongs to
    /// calls that are there.
    pub fn ban(&mut self, ban: Ban) {
        self.bans.set(Instant::now(), ban);
    }

    /// Who came by this way has shown who they are: a connection may be idle for long, and
    /// is not closed to make room.
    pub fn prove(&mut self, flow: &Flow) {
        if flow.transport.is_reliable() {
            self.connections.prove(flow.id.0);
        }
    }

    /// Keeps the messages of calls from now on, to be taken by [`SipStack::take_seen`]
    /// at every turn.
    pub fn watch(&mut self) {
        self.tap.get_or_insert_default();
    }

    /// The next message that passed; there are some only after [`SipStack::watch`].
    pub fn take_seen(&mut self) -> Option<Seen> {
        self.tap.as_mut()?.take()
    }

    /// What the drivers counted so far.
    pub fn counters(&self) -> NetCounters {
        self.counters
    }

    /// Why the last connection of ours that failed did so, once: a request that was to go by
    /// it is told no more than that there was no way.
    pub fn take_connect_error(&mut self) -> Option<ConnectError> {
        self.connect_error.take()
    }

    /// This address of ours is gone, and another one may be there: connections from it are
    /// closed, and by which address peers are reached is looked up again.
    pub fn lost_address(&mut self, gone: IpAddr) {
        self.locals = LocalAddresses::default();
        for flow in self.connections.from(gone) {
            self.connections.remove(flow.id.0);
            self.input(Input::FlowClosed { flow });
        }
    }

    /// TCP and TLS connections open now.
    pub fn connections(&self) -> usize {
        self.connections.len()
    }

    /// Moves messages and time until the endpoint has something to tell.
    /// Nothing is lost when the future is dropped half way.
    pub async fn next_event(&mut self) -> Event {
        loop {
            if let Some(event) = self.pump() {
                return event;
            }
            // The runtime's own budget would cut a burst in pieces, each with a
            // wake-up through the kernel; turns are counted here instead.
            self.turns += 1;
            if self.turns >= TURNS {
                self.turns = 0;
                tokio::task::yield_now().await;
            }
            tokio::task::unconstrained(std::future::poll_fn(|cx| self.poll_inputs(cx))).await;
        }
    }

    /// Sends what is left to send, and closes: waits for connections to take
    /// what is queued for them, at most `patience`.
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

    /// Where peers reach us over `transport` who see a connection of ours come from
    /// `local`: where we listen, by the listener that the connection was made from if one was named,
    /// and without a listener at the connection itself.
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

/// Those for UDP come first.
fn listening(udp: &[UdpPort], listeners: &[Listener]) -> impl Iterator<Item = Listening> {
    let one = |transport, bound, name: &Option<Arc<str>>| Listening { transport, bound, name: name.clone() };
    let udp = udp.iter().map(move |port| one(Transport::Udp, port.bound, &port.name));
    udp.chain(listeners.iter().map(move |it| one(it.transport, it.bound, &it.name)))
}
