//! Inputs of the stack: time, datagrams, connections, and the results of tasks.

use std::future::Future;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use bytes::Bytes;
use tokio::net::TcpStream;

use super::budget::Rate;
use super::connection::{Beginning, CloseReason, ConnectionEvent, Halves};
use super::connections::{Opened, Peer, Room};
use super::held::Taken;
use super::limits::ProvenBy;
use super::stack::{SipStack, TaskResult};
use super::trace::Direction;
use super::udp::UdpPort;
use crate::endpoint::{Flow, Input, Transport};
use crate::known::Acquaintance;
use crate::msg::{Message, ParseError};

/// Maximum number of datagrams or connection events handled before their outputs are sent:
/// limits how long one busy socket delays everything else.
const BATCH: usize = 128;

/// Timer granularity: T1 is 500 ms, and everything due is handled together.
const TICK: Duration = Duration::from_millis(10);

/// How many TLS handshakes begin: each costs a signature. When all phones come back at once, most of them wait
/// in the kernel, and the calls go on meanwhile.
pub(super) const HANDSHAKES: Rate = Rate { per_second: 500, burst: 50 };

/// Pause after a failed accept.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// The result of reading a socket.
struct Read {
    fed: bool,
    empty: bool,
}

impl SipStack {
    /// Ready once the endpoint got an input.
    pub(super) fn poll_inputs(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let mut fed = self.close_broken();
        fed |= self.poll_timer(cx);
        for index in 0..self.udp.len() {
            fed |= self.poll_udp(index, cx);
            fed |= self.poll_undelivered(index, cx);
        }
        self.poll_stun(cx);
        fed |= self.poll_connections(cx);
        // After the inputs that may be signs of life, because they move its timer.
        fed |= self.poll_held(cx);
        self.poll_listeners(cx);
        while let Poll::Ready(Some(result)) = self.results.receiver.poll_recv(cx) {
            self.task_result(result);
            fed = true;
        }
        if fed { Poll::Ready(()) } else { Poll::Pending }
    }

    /// Only moves the timer to an earlier time, and to at least a tick from now: each move
    /// costs a system call and a wake-up, and calls change deadlines all the time. A timer
    /// that fires early finds nothing due.
    fn poll_timer(&mut self, cx: &mut Context<'_>) -> bool {
        let Some(deadline) = self.endpoint.next_timeout() else { return false };
        let now = Instant::now();
        if deadline <= now {
            self.input(Input::Timeout);
            return true;
        }
        let at = deadline.max(now + TICK);
        if self.armed_for.is_none_or(|armed| at < armed) {
            self.armed_for = Some(at);
            self.timer.as_mut().reset(at.into());
        }
        while self.timer.as_mut().poll(cx).is_ready() {
            self.armed_for = Some(at);
            self.timer.as_mut().reset(at.into());
        }
        false
    }

    fn poll_udp(&mut self, index: usize, cx: &mut Context<'_>) -> bool {
        // Only a socket read until empty wakes us again, so read on, unless there is output
        // to send first.
        while self.udp.get(index).is_some_and(|port| port.poll_readable(cx).is_ready()) {
            match self.read_udp(index) {
                Read { fed: true, .. } => return true,
                Read { empty: true, .. } => {}
                Read { .. } => {
                    // A flood entirely over budget: give the other inputs a turn.
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
            let (data, remote) = match self.udp.get_mut(index).map(UdpPort::receive) {
                Some(Ok(received)) => received,
                Some(Err(error)) if error.kind() != io::ErrorKind::WouldBlock => continue,
                Some(Err(_)) | None => return Read { fed, empty: true },
            };
            let source = remote.ip();
            if self.bans.refuse(now, source, data, &self.endpoint) {
                self.counters.banned += 1;
                continue;
            }
            // Calls continue even if their address is shared with a flood.
            let admitted = self.budget.admit(now, source)
                || (self.endpoint.expects(data) && self.spared.admit(now, source));
            if !admitted {
                self.counters.over_budget += 1;
                continue;
            }
            // A CRLF keep-alive: common on UDP too, although RFC 5626 specifies STUN.
            if data.iter().all(|byte| matches!(byte, b'\r' | b'\n' | 0)) {
                continue;
            }
            match self.held.takes(now, index, remote, data) {
                Taken::No => {}
                Taken::Yes => continue,
                Taken::Lost(flow) => {
                    self.input(Input::FlowLost { flow });
                    fed = true;
                    continue;
                }
            }
            if self.stun.as_mut().is_some_and(|stun| stun.takes(now, index, remote, data, &mut self.endpoint))
            {
                continue;
            }
            let data = Bytes::copy_from_slice(data);
            if let Ok(flow) = self.udp_flow(index, remote) {
                self.counters.received += 1;
                self.trace(Direction::Received, &flow, &data);
                self.take(now, source, Input::Datagram { flow, data });
                fed = true;
            }
        }
        Read { fed, empty: false }
    }

    /// Handles the ICMP errors for datagrams that we sent.
    fn poll_undelivered(&mut self, index: usize, cx: &mut Context<'_>) -> bool {
        let mut fed = false;
        while self.udp.get_mut(index).is_some_and(|port| port.poll_undelivered(cx).is_ready()) {
            let mut left = BATCH;
            while left > 0
                && let Some(Ok(report)) = self.udp.get(index).map(UdpPort::undelivered)
            {
                left -= 1;
                let Some((remote, quoted)) = report else { continue };
                self.counters.undelivered += 1;
                if let Ok(flow) = self.udp_flow(index, remote) {
                    self.input(Input::Undelivered { flow, quoted });
                    fed = true;
                }
            }
            if left == 0 {
                cx.waker().wake_by_ref();
                break;
            }
        }
        fed
    }

    fn poll_connections(&mut self, cx: &mut Context<'_>) -> bool {
        let mut fed = false;
        for _ in 0..BATCH {
            match self.connection_events.poll_recv(cx) {
                Poll::Ready(Some(event)) => fed |= self.connection_event(event),
                Poll::Ready(None) | Poll::Pending => return fed,
            }
        }
        // More events may be queued, without a wake-up for them.
        cx.waker().wake_by_ref();
        fed
    }

    fn connection_event(&mut self, event: ConnectionEvent) -> bool {
        match event {
            ConnectionEvent::Certified { id, names } => {
                self.connections.certified(id, names);
                false
            }
            ConnectionEvent::Pong { id } => {
                self.held.pong(Instant::now(), id);
                false
            }
            ConnectionEvent::Message { id, message, last } => {
                let Some(flow) = self.connections.flow(id) else { return false };
                if last {
                    self.counters.closed_bad_framing += 1;
                    self.closing.push(flow);
                }
                self.stream_message(flow, message)
            }
            ConnectionEvent::Ended { id } => {
                let flow = self.connections.flow(id);
                self.closing.extend(flow);
                flow.is_some()
            }
            ConnectionEvent::Closed { id, reason } => {
                let flow = self.connections.flow(id);
                match reason {
                    CloseReason::Closed => {}
                    CloseReason::NotReading => self.counters.closed_not_reading += 1,
                    CloseReason::Timeout => self.counters.closed_timeout += 1,
                    CloseReason::Handshake => self.counters.failed_handshakes += 1,
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
        let octets = message.as_ref().map_or(&[][..], |message| message.as_bytes());
        if self.bans.refuse(now, flow.remote.ip(), octets, &self.endpoint) {
            self.counters.banned += 1;
            return false;
        }
        if !self.budget.admit(now, flow.remote.ip()) {
            self.counters.over_budget += 1;
            return false;
        }
        self.counters.received += 1;
        if self.connections.is_unproven(flow.id.0) {
            let proves = match self.limits.proof {
                ProvenBy::Message => message.is_ok(),
                // It belongs to an existing call or responds to a request of ours.
                ProvenBy::Password => self.endpoint.expects(octets),
            };
            if proves {
                self.connections.prove(flow.id.0);
            }
        }
        if let Ok(message) = &message {
            self.trace(Direction::Received, &flow, message.as_bytes());
        }
        self.take(now, flow.remote.ip(), Input::Message { flow, message });
        true
    }

    /// Closes the connections in `closing`, whose last responses are queued by now.
    fn close_broken(&mut self) -> bool {
        let fed = !self.closing.is_empty();
        for flow in std::mem::take(&mut self.closing) {
            self.connections.remove(flow.id.0);
            self.input(Input::FlowClosed { flow });
        }
        fed
    }

    /// Accepts new connections. The endpoint learns of them by their first message.
    fn poll_listeners(&mut self, cx: &mut Context<'_>) {
        if let Some(pause) = &mut self.accept_pause {
            if pause.as_mut().poll(cx).is_pending() {
                return;
            }
            self.accept_pause = None;
        }
        for index in 0..self.listeners.len() {
            let is_tls = self.listeners.get(index).is_some_and(|it| it.transport == Transport::Tls);
            for turn in 0..=BATCH {
                if is_tls && self.waits_for_handshakes(cx) {
                    break;
                }
                if turn == BATCH {
                    // More connections may be queued, without a wake-up for them.
                    cx.waker().wake_by_ref();
                    break;
                }
                match self.listeners.get(index).map(|listener| listener.socket.poll_accept(cx)) {
                    Some(Poll::Ready(Ok((stream, remote)))) => self.accepted(index, stream, remote),
                    // The peer closed it before it was accepted.
                    Some(Poll::Ready(Err(error))) if error.kind() == io::ErrorKind::ConnectionAborted => {}
                    Some(Poll::Ready(Err(error))) => return self.pause_accepting(cx, &error),
                    Some(Poll::Pending) | None => break,
                }
            }
        }
    }

    fn accepted(&mut self, listener: usize, stream: TcpStream, remote: SocketAddr) {
        let Some(listener) = self.listeners.get(listener) else { return };
        let (transport, configured, name) = (listener.transport, listener.configured, listener.name.clone());
        // A stream without addresses is already closed.
        let local = stream.set_nodelay(true).and_then(|()| stream.local_addr());
        let beginning = match (transport, &self.tls) {
            (Transport::Tls, Some(tls)) => Beginning::Handshake(stream, tls.clone(), configured),
            (Transport::Tls, None) => return,
            _ => Beginning::Open(Halves::plain(stream)),
        };
        let (now, source) = (Instant::now(), remote.ip());
        let acquaintance = self.known.acquaintance(now, source);
        let refused = self.bans.holds(now, source)
            || transport == Transport::Tls && !self.admits_handshake(now, source, acquaintance);
        let room = match refused {
            true => Room::No,
            false => self.connections.room(source, acquaintance),
        };
        let (Ok(local), true) = (local, room != Room::No) else {
            self.counters.connections_refused += 1;
            return;
        };
        if transport == Transport::Tls {
            self.handshakes.pace.charge(now, HANDSHAKES);
        }
        if let Room::InsteadOf(id) = room {
            self.counters.connections_displaced += 1;
            if let Some(flow) = self.connections.displace(id) {
                self.input(Input::FlowClosed { flow });
            }
        }
        self.counters.connections_opened += 1;
        let peer = Peer { transport, remote, name: None, settings: 0, listener: name };
        self.connections.add(beginning, local, peer, Opened::ByPeer, acquaintance);
    }

    /// Whether a TLS handshake with this source, which costs far more than its first message, is within the
    /// source's rate.
    fn admits_handshake(&mut self, now: Instant, source: IpAddr, acquaintance: Acquaintance) -> bool {
        match (self.limits.proof, acquaintance) {
            (ProvenBy::Message, _) | (_, Acquaintance::Named) => true,
            (ProvenBy::Password, Acquaintance::Stranger) => self.handshakes.per_source[0].admit(now, source),
            (ProvenBy::Password, Acquaintance::Home) => self.handshakes.per_source[1].admit(now, source),
        }
    }

    /// Whether no further TLS handshake may begin yet.
    fn waits_for_handshakes(&mut self, cx: &mut Context<'_>) -> bool {
        let now = Instant::now();
        let Err(wait) = self.handshakes.pace.left(now, HANDSHAKES) else { return false };
        let timer = &mut self.handshakes.timer;
        timer.as_mut().reset((now + wait.max(TICK)).into());
        // If it is over at once, the next turn accepts.
        if timer.as_mut().poll(cx).is_ready() {
            cx.waker().wake_by_ref();
        }
        true
    }

    /// Out of descriptors or memory: the connection stays in the kernel's queue, so its
    /// listener would be ready again at once.
    fn pause_accepting(&mut self, cx: &mut Context<'_>, error: &io::Error) {
        if self.counters.accept_errors == 0 {
            tracing::warn!("cannot accept a TCP connection: {error}; later ones are counted only");
        }
        self.counters.accept_errors += 1;
        let pause = self.accept_pause.insert(Box::pin(tokio::time::sleep(ACCEPT_PAUSE)));
        // Polled to register the waker; the pause cannot be over yet.
        if pause.as_mut().poll(cx).is_ready() {
            cx.waker().wake_by_ref();
        }
    }

    fn task_result(&mut self, result: TaskResult) {
        let input = match result {
            TaskResult::Resolved { resolve, mut targets } => {
                targets.retain(|(transport, addr)| self.has_way(*transport, *addr));
                if targets.is_empty() {
                    Input::ResolveFailed { resolve }
                } else {
                    Input::Resolved { resolve, targets }
                }
            }
            TaskResult::Connected { connect, peer, opened } => {
                self.connections.opened();
                let waiting = self.opening.remove(&peer).unwrap_or_default();
                let result = match opened {
                    Ok((local, halves)) => {
                        self.counters.connections_opened += 1;
                        let local = self.reached_at(peer.transport, local, peer.listener.as_deref());
                        let flow = self.connections.add(
                            Beginning::Open(halves),
                            local,
                            peer,
                            Opened::ByUs,
                            Acquaintance::Named,
                        );
                        Some(flow)
                    }
                    Err(error) => {
                        self.connect_failed(&peer, &error);
                        None
                    }
                };
                let told = |connect| match result {
                    Some(flow) => Input::Connected { connect, flow },
                    None => Input::ConnectFailed { connect },
                };
                self.input(told(connect));
                return waiting.into_iter().for_each(|connect| self.input(told(connect)));
            }
        };
        self.input(input);
    }
}
