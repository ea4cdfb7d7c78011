//! The endpoint on the network: one struct that owns the sockets, the clock and
//! the endpoint, and is asked for its next event.

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::{Duration, Instant, SystemTime};

use bytes::Bytes;
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::mpsc;
use tokio::time::Sleep;

use super::budget::SourceBudget;
use super::connection::{CloseReason, ConnectionEvent};
use super::connections::{Connections, Opened, Queued};
use super::limits::{NetCounters, NetLimits};
use super::local_addr::{self, LocalAddresses};
use super::resolve;
use super::trace::{Direction, Record, SipTrace};
use super::udp::UdpPort;
use crate::sip::endpoint::{ConnectId, Endpoint, Event, Flow, FlowId, Input, Output, ResolveId, Transport};
use crate::sip::msg::{Limits, Message, ParseError};

/// Where a stack listens, and its limits.
#[derive(Debug, Clone)]
pub struct NetConfig {
    /// Each is bound for UDP and TCP on the same port; port 0 takes one that is
    /// free for both. At least one.
    pub bind: Vec<SocketAddr>,
    /// Limits of the drivers.
    pub limits: NetLimits,
    /// Limits of one message.
    pub message: Limits,
    /// Write every message here.
    pub trace: Option<PathBuf>,
}

impl NetConfig {
    /// One address, default limits, no trace.
    pub fn new(bind: SocketAddr) -> Self {
        NetConfig { bind: vec![bind], limits: NetLimits::default(), message: Limits::default(), trace: None }
    }
}

/// Why a stack could not start.
#[derive(Debug, thiserror::Error)]
pub enum NetError {
    #[error("cannot bind {addr}: {error}; choose another address or end the program that holds it")]
    Bind { addr: SocketAddr, error: io::Error },
    #[error("cannot write the SIP trace {path}: {error}; choose a path that can be written", path = path.display())]
    Trace { path: PathBuf, error: io::Error },
}

/// Datagrams read, or connection events taken, before the outputs that they
/// caused go out: bounds what one busy socket delays everything else.
const BATCH: usize = 128;

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
    endpoint: Endpoint,
    udp: Vec<UdpPort>,
    listeners: Vec<TcpListener>,
    connections: Connections,
    connection_events: mpsc::Receiver<ConnectionEvent>,
    /// Results of connects and lookups, from tasks of their own.
    results: (mpsc::UnboundedSender<TaskResult>, mpsc::UnboundedReceiver<TaskResult>),
    timer: Pin<Box<Sleep>>,
    armed_for: Option<Instant>,
    budget: SourceBudget,
    locals: LocalAddresses,
    /// Connections to close when everything has been sent.
    closing: Vec<Flow>,
    limits: NetLimits,
    trace: Option<SipTrace>,
    counters: NetCounters,
}

/// What came of reading a socket.
struct Read {
    fed: bool,
    empty: bool,
}

/// What a task of ours brought back.
enum TaskResult {
    Connected { connect: ConnectId, stream: io::Result<TcpStream> },
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
        for addr in config.bind {
            let (port, listener) = bind_both(addr).map_err(|error| NetError::Bind { addr, error })?;
            udp.push(port);
            listeners.push(listener);
        }
        let trace = match config.trace {
            Some(path) => Some(SipTrace::create(&path).map_err(|error| NetError::Trace { path, error })?),
            None => None,
        };
        let now = Instant::now();
        let (connections, connection_events) =
            Connections::new(udp.len() as u64, config.limits.clone(), config.message);
        Ok(SipStack {
            endpoint,
            udp,
            listeners,
            connections,
            connection_events,
            results: mpsc::unbounded_channel(),
            timer: Box::pin(tokio::time::sleep(Duration::ZERO)),
            armed_for: None,
            budget: SourceBudget::new(now, config.limits.per_source, config.limits.max_sources),
            locals: LocalAddresses::default(),
            closing: Vec::new(),
            limits: config.limits,
            trace,
            counters: NetCounters::default(),
        })
    }

    /// The first bound address, with the real port; never a wildcard.
    pub fn local(&self) -> Option<SocketAddr> {
        self.udp.first().map(|port| local_addr::concrete(port.bound))
    }

    /// The endpoint, for commands.
    pub fn endpoint(&mut self) -> &mut Endpoint {
        &mut self.endpoint
    }

    /// What the drivers counted so far.
    pub fn counters(&self) -> NetCounters {
        self.counters
    }

    /// TCP connections open now.
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
            std::future::poll_fn(|cx| self.poll_inputs(cx)).await;
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
                    Some(ConnectionEvent::Message { .. }) => {}
                    None => break,
                }
            }
        };
        let _ = tokio::time::timeout(patience, finished).await;
    }

    /// Carries out what the endpoint wants, up to its next event.
    fn pump(&mut self) -> Option<Event> {
        while let Some(output) = self.endpoint.poll_output() {
            match output {
                Output::Transmit { flow, data } => self.transmit(flow, data),
                Output::Connect { connect, transport, remote } => self.connect(connect, transport, remote),
                Output::Resolve { resolve, host, port, transport } => {
                    let results = self.results.0.clone();
                    tokio::spawn(async move {
                        let targets = resolve::targets(&host, port, transport).await;
                        let _ = results.send(TaskResult::Resolved { resolve, targets });
                    });
                }
                Output::Event(event) => return Some(event),
            }
        }
        None
    }

    fn input(&mut self, input: Input) {
        self.endpoint.handle_input(Instant::now(), input);
    }

    fn transmit(&mut self, flow: Flow, data: Bytes) {
        self.trace(Direction::Sent, &flow, &data);
        let sent = match flow.transport {
            Transport::Udp => match self.udp_port(flow.id).map(|port| port.send(&data, flow.remote)) {
                Some(Ok(())) => true,
                // Full: lost like a datagram on the wire, and repeated like one.
                Some(Err(error)) if error.kind() == io::ErrorKind::WouldBlock => {
                    self.counters.send_errors += 1;
                    return;
                }
                Some(Err(_)) | None => false,
            },
            // Every connection is in one table, whatever it speaks.
            _ => match self.connections.send(flow.id.0, data) {
                Queued::Yes => true,
                Queued::NoConnection => false,
                Queued::NotReading => {
                    self.counters.closed_not_reading += 1;
                    self.input(Input::FlowClosed { flow });
                    return;
                }
            },
        };
        if sent {
            self.counters.sent += 1;
        } else {
            self.counters.send_errors += 1;
            self.input(Input::SendFailed { flow });
        }
    }

    fn udp_port(&self, id: FlowId) -> Option<&UdpPort> {
        self.udp.get(usize::try_from(id.0).ok()?)
    }

    fn connect(&mut self, connect: ConnectId, transport: Transport, remote: SocketAddr) {
        match transport {
            Transport::Udp => {
                let port = self.udp.iter().position(|port| port.bound.is_ipv4() == remote.is_ipv4());
                let flow = port.and_then(|index| self.udp_flow(index, remote).ok());
                self.input(match flow {
                    Some(flow) => Input::Connected { connect, flow },
                    None => Input::ConnectFailed { connect },
                });
            }
            Transport::Tcp => {
                if let Some(flow) = self.connections.to(remote).and_then(|id| self.tcp_flow(id)) {
                    self.input(Input::Connected { connect, flow });
                    return;
                }
                let local = self.udp.iter().map(|port| port.bound).find(|b| b.is_ipv4() == remote.is_ipv4());
                let (Some(local), true) = (local, self.connections.has_room(remote.ip(), Opened::ByUs))
                else {
                    self.input(Input::ConnectFailed { connect });
                    return;
                };
                let results = self.results.0.clone();
                let limit = self.limits.connect_timeout;
                tokio::spawn(async move {
                    let opening = open(SocketAddr::new(local.ip(), 0), remote);
                    let stream = tokio::time::timeout(limit, opening)
                        .await
                        .unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()));
                    let _ = results.send(TaskResult::Connected { connect, stream });
                });
            }
            _ => self.input(Input::ConnectFailed { connect }),
        }
    }

    /// Ready when the endpoint has been given something.
    fn poll_inputs(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let mut fed = self.close_broken();
        fed |= self.poll_timer(cx);
        for index in 0..self.udp.len() {
            fed |= self.poll_udp(index, cx);
        }
        fed |= self.poll_connections(cx);
        fed |= self.poll_listeners(cx);
        while let Poll::Ready(Some(result)) = self.results.1.poll_recv(cx) {
            self.task_result(result);
            fed = true;
        }
        if fed { Poll::Ready(()) } else { Poll::Pending }
    }

    fn poll_timer(&mut self, cx: &mut Context<'_>) -> bool {
        let Some(deadline) = self.endpoint.next_timeout() else {
            self.armed_for = None;
            return false;
        };
        if self.armed_for != Some(deadline) {
            self.armed_for = Some(deadline);
            self.timer.as_mut().reset(deadline.into());
        }
        if self.timer.as_mut().poll(cx).is_pending() {
            return false;
        }
        self.armed_for = None;
        self.input(Input::Timeout);
        true
    }

    fn poll_udp(&mut self, index: usize, cx: &mut Context<'_>) -> bool {
        // Only an empty socket wakes us again: read until it is, unless there is
        // something to send first.
        while self.udp.get(index).is_some_and(|port| port.poll_readable(cx).is_ready()) {
            match self.read_udp(index) {
                Read { fed: true, .. } => return true,
                Read { empty: true, .. } => {}
                Read { .. } => {
                    // A flood, all of it over budget: let others have a turn.
                    cx.waker().wake_by_ref();
                    return false;
                }
            }
        }
        false
    }

    fn read_udp(&mut self, index: usize) -> Read {
        let mut fed = false;
        let now = Instant::now();
        for _ in 0..BATCH {
            let received = self.udp.get_mut(index).and_then(UdpPort::receive);
            let Some((data, remote)) = received else { return Read { fed, empty: true } };
            if !self.budget.admit(now, remote.ip()) {
                self.counters.over_budget += 1;
                continue;
            }
            // A keep-alive: common on UDP too, although RFC 5626 has STUN there.
            if data.iter().all(|byte| matches!(byte, b'\r' | b'\n' | 0)) {
                continue;
            }
            let data = Bytes::copy_from_slice(data);
            if let Ok(flow) = self.udp_flow(index, remote) {
                self.counters.received += 1;
                self.trace(Direction::Received, &flow, &data);
                self.endpoint.handle_input(now, Input::Datagram { flow, data });
                fed = true;
            }
        }
        Read { fed, empty: false }
    }

    fn poll_connections(&mut self, cx: &mut Context<'_>) -> bool {
        let mut fed = false;
        for _ in 0..BATCH {
            match self.connection_events.poll_recv(cx) {
                Poll::Ready(Some(event)) => fed |= self.connection_event(event),
                Poll::Ready(None) | Poll::Pending => return fed,
            }
        }
        // More may wait, and nobody would tell us.
        cx.waker().wake_by_ref();
        fed
    }

    fn connection_event(&mut self, event: ConnectionEvent) -> bool {
        match event {
            ConnectionEvent::Message { id, message, last } => {
                let Some(flow) = self.tcp_flow(id) else { return false };
                if last {
                    self.counters.closed_bad_framing += 1;
                    self.closing.push(flow);
                }
                self.stream_message(flow, message)
            }
            ConnectionEvent::Closed { id, reason } => {
                let flow = self.tcp_flow(id);
                match reason {
                    CloseReason::Closed => {}
                    CloseReason::NotReading => self.counters.closed_not_reading += 1,
                    CloseReason::Timeout => self.counters.closed_timeout += 1,
                }
                self.connections.remove(id);
                let Some(flow) = flow else { return false };
                self.input(Input::FlowClosed { flow });
                true
            }
        }
    }

    fn stream_message(&mut self, flow: Flow, message: Result<Message, ParseError>) -> bool {
        let now = Instant::now();
        if !self.budget.admit(now, flow.remote.ip()) {
            self.counters.over_budget += 1;
            return false;
        }
        self.counters.received += 1;
        if let Ok(message) = &message {
            self.trace(Direction::Received, &flow, message.as_bytes());
        }
        self.endpoint.handle_input(now, Input::Message { flow, message });
        true
    }

    /// Closes what is to be closed, now that the last answers are queued.
    fn close_broken(&mut self) -> bool {
        let fed = !self.closing.is_empty();
        for flow in std::mem::take(&mut self.closing) {
            self.connections.remove(flow.id.0);
            self.input(Input::FlowClosed { flow });
        }
        fed
    }

    fn poll_listeners(&mut self, cx: &mut Context<'_>) -> bool {
        for listener in &self.listeners {
            // An error here concerns a connection that is gone already, or our
            // own lack of descriptors; in both cases there is nothing to take.
            while let Poll::Ready(accepted) = listener.poll_accept(cx) {
                let Ok((stream, remote)) = accepted else { continue };
                let added = self.connections.has_room(remote.ip(), Opened::ByPeer)
                    && self.connections.add(stream, Opened::ByPeer).is_ok();
                if added {
                    self.counters.connections_opened += 1;
                } else {
                    self.counters.connections_refused += 1;
                }
            }
        }
        // A connection is nothing to the endpoint before its first message.
        false
    }

    fn task_result(&mut self, result: TaskResult) {
        let input = match result {
            TaskResult::Resolved { resolve, mut targets } => {
                targets
                    .retain(|(_, addr)| self.udp.iter().any(|port| port.bound.is_ipv4() == addr.is_ipv4()));
                if targets.is_empty() {
                    Input::ResolveFailed { resolve }
                } else {
                    Input::Resolved { resolve, targets }
                }
            }
            TaskResult::Connected { connect, stream } => {
                let added = stream.and_then(|stream| self.connections.add(stream, Opened::ByUs));
                match added.ok().and_then(|id| self.tcp_flow(id)) {
                    Some(flow) => {
                        self.counters.connections_opened += 1;
                        Input::Connected { connect, flow }
                    }
                    None => Input::ConnectFailed { connect },
                }
            }
        };
        self.input(input);
    }

    fn trace(&self, direction: Direction, flow: &Flow, data: &Bytes) {
        let Some(trace) = &self.trace else { return };
        trace.write(Record {
            at: SystemTime::now(),
            direction,
            transport: if flow.transport == Transport::Udp { "udp" } else { "tcp" },
            local: flow.local,
            remote: flow.remote,
            data: data.clone(),
        });
    }

    fn udp_flow(&mut self, index: usize, remote: SocketAddr) -> io::Result<Flow> {
        let port = self.udp.get(index).ok_or(io::ErrorKind::NotFound)?;
        let local = self.locals.of_flow(port.bound, remote)?;
        Ok(Flow { transport: Transport::Udp, local, remote, id: FlowId(index as u64) })
    }

    fn tcp_flow(&self, id: u64) -> Option<Flow> {
        let connection = self.connections.get(id)?;
        // Peers reach us where we listen, not at the port of a connection we opened.
        let listener = self.udp.iter().find(|port| port.bound.is_ipv4() == connection.local.is_ipv4())?;
        Some(Flow {
            transport: Transport::Tcp,
            local: SocketAddr::new(connection.local.ip(), listener.bound.port()),
            remote: connection.remote,
            id: FlowId(id),
        })
    }
}

/// Tries for a port that is free for UDP and TCP.
const PORT_TRIES: u32 = 32;

/// Binds UDP and TCP on the same port.
fn bind_both(addr: SocketAddr) -> io::Result<(UdpPort, TcpListener)> {
    let mut tries = 0;
    loop {
        tries += 1;
        let udp = UdpPort::bind(addr)?;
        match listen(udp.bound) {
            Ok(listener) => return Ok((udp, listener)),
            Err(error)
                if addr.port() == 0 && tries < PORT_TRIES && error.kind() == io::ErrorKind::AddrInUse => {}
            Err(error) => return Err(error),
        }
    }
}

fn listen(addr: SocketAddr) -> io::Result<TcpListener> {
    let socket = tcp_socket(addr)?;
    // A restart must not wait for the last run's connections to time out.
    socket.set_reuseaddr(true)?;
    socket.bind(addr)?;
    socket.listen(1024)
}

async fn open(local: SocketAddr, remote: SocketAddr) -> io::Result<TcpStream> {
    let socket = tcp_socket(local)?;
    socket.bind(local)?;
    socket.connect(remote).await
}

fn tcp_socket(addr: SocketAddr) -> io::Result<TcpSocket> {
    let socket = if addr.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
    if addr.is_ipv6() {
        socket2::SockRef::from(&socket).set_only_v6(true)?;
    }
    Ok(socket)
}
