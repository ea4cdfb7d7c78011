//! Two endpoints in virtual time, connected by a seeded network that delays, reorders, loses
//! and duplicates datagrams and delivers streams in order.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use b2b_sip::endpoint::{
    Body, Endpoint, EndpointConfig, Event, Flow, FlowId, Input, Invite, Output, TakenIn, Termination,
    Transport, UsageEvent, UsageId, UsageSnapshot,
};
use b2b_sip::msg::{Limits, Message};
use bytes::Bytes;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

pub use super::hand::{Hand, field, reply};

pub const A: usize = 0;
pub const B: usize = 1;

/// The quality of the network.
#[derive(Clone, Copy)]
pub struct Network {
    /// Probability that a datagram is lost.
    pub loss: f64,
    /// Probability that a datagram is duplicated.
    pub duplicate: f64,
    /// Range of the one-way delay in ms; a range reorders datagrams.
    pub delay_ms: (u64, u64),
    pub seed: u64,
}

impl Network {
    pub const QUIET: Network = Network { loss: 0.0, duplicate: 0.0, delay_ms: (1, 1), seed: 1 };
}

/// One message on the wire.
pub struct Sent {
    pub at: Duration,
    pub from: usize,
    pub transport: Transport,
    pub to: SocketAddr,
    pub data: Bytes,
}

impl Sent {
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.data).into_owned()
    }

    pub fn line(&self) -> String {
        self.text().lines().next().unwrap_or_default().to_owned()
    }
}

#[derive(PartialEq, Eq, PartialOrd, Ord)]
struct Flight {
    at: Instant,
    order: u64,
    to: usize,
    transport: Transport,
    data: Bytes,
}

pub struct Pair {
    configs: [EndpointConfig; 2],
    pub start: Instant,
    pub now: Instant,
    pub ends: [Endpoint; 2],
    pub addresses: [SocketAddr; 2],
    /// Events not taken yet, by end.
    pub events: [Vec<Event>; 2],
    /// All messages transmitted, lost or not.
    pub wire: Vec<Sent>,
    /// Messages from this end are lost.
    pub mute: [bool; 2],
    /// Messages to this end are lost.
    pub deaf: [bool; 2],
    /// Whether TCP connections can be made.
    pub tcp: bool,
    network: Network,
    random: StdRng,
    flights: BinaryHeap<Reverse<Flight>>,
    order: u64,
}

pub fn config(seed: u8) -> EndpointConfig {
    EndpointConfig { user: format!("end{seed}"), ..EndpointConfig::new([seed; 32]) }
}

impl Pair {
    pub fn new(network: Network) -> Self {
        Pair::with(network, [config(1), config(2)], ["192.0.2.1:5060", "192.0.2.2:5060"])
    }

    pub fn with(network: Network, configs: [EndpointConfig; 2], addresses: [&str; 2]) -> Self {
        let now = Instant::now();
        let (mut ends, addresses) =
            (configs.clone().map(Endpoint::new), addresses.map(|it| it.parse().unwrap()));
        for (end, local) in ends.iter_mut().zip(addresses) {
            let flow = move |remote| Flow { transport: Transport::Udp, local, remote, id: FlowId(1) };
            end.set_udp(move |remote, _| Some(flow(remote)));
        }
        Pair {
            start: now,
            now,
            ends,
            configs,
            addresses,
            events: Default::default(),
            wire: Vec::new(),
            mute: [false; 2],
            deaf: [false; 2],
            tcp: true,
            network,
            random: StdRng::seed_from_u64(network.seed),
            flights: BinaryHeap::new(),
            order: 0,
        }
    }

    /// Replaces the network.
    pub fn set_network(&mut self, network: Network) {
        self.network = network;
        self.random = StdRng::seed_from_u64(network.seed);
    }

    /// The flow from `end` to the other one.
    pub fn flow(&self, end: usize, transport: Transport) -> Flow {
        let id = FlowId(if transport == Transport::Udp { 1 } else { 2 });
        Flow { transport, local: self.addresses[end], remote: self.addresses[1 - end], id }
    }

    /// A URI of `end`.
    pub fn uri(&self, end: usize, transport: Transport) -> Bytes {
        let parameter = if transport == Transport::Tcp { ";transport=tcp" } else { "" };
        Bytes::from(format!("sip:callee@{}{parameter}", self.addresses[end]))
    }

    /// Writes all calls of an end, and reads them into the same endpoint or into a new one, which goes on in its
    /// place. Returns their old ids, and the new ones.
    pub fn move_calls(&mut self, end: usize, into_new: bool) -> Vec<(UsageId, TakenIn)> {
        self.flush();
        let now = self.now;
        let endpoint = &mut self.ends[end];
        let ids = endpoint.usage_ids();
        let write = |id: &UsageId| serde_json::to_string(&endpoint.usage_value(now, *id).unwrap()).unwrap();
        let texts: Vec<String> = ids.iter().map(write).collect();
        if into_new {
            let mut old = std::mem::replace(endpoint, Endpoint::new(self.configs[end].clone()));
            endpoint.go_on_from(&mut old);
        }
        ids.iter().for_each(|id| endpoint.give_out(*id));
        let mut read = |text: &String| {
            let snapshot = UsageSnapshot::read(now, &mut serde_json::Deserializer::from_str(text)).unwrap();
            endpoint.take_in(now, snapshot)
        };
        let moved = ids.iter().copied().zip(texts.iter().map(&mut read)).collect();
        self.flush();
        moved
    }

    /// A calls B with an offer.
    pub fn call(&mut self, transport: Transport) -> UsageId {
        let target = self.uri(B, transport);
        let now = self.now;
        let invite = Invite { target, body: Some(Body::sdp("offer")), ..Invite::default() };
        let usage = self.ends[A].invite(now, invite).unwrap();
        self.flush();
        usage
    }

    /// A calls B, and B answers: both usages.
    pub fn connected(&mut self, transport: Transport) -> (UsageId, UsageId) {
        let a = self.call(transport);
        let b = self.incoming();
        let now = self.now;
        self.ends[B].answer(now, b, Some(Body::sdp("answer"))).unwrap();
        self.settle();
        assert!(matches!(self.take(A).as_slice(), [Event::Usage { event: UsageEvent::Answered { .. }, .. }]));
        assert!(matches!(
            self.take(B).as_slice(),
            [Event::Usage { event: UsageEvent::Acknowledged { .. }, .. }]
        ));
        (a, b)
    }

    /// The call that has just arrived at B.
    pub fn incoming(&mut self) -> UsageId {
        self.settle();
        match self.take(B).as_slice() {
            [Event::Incoming { usage, .. }] => *usage,
            other => panic!("{other:?}"),
        }
    }

    /// Takes the events of an end.
    pub fn take(&mut self, end: usize) -> Vec<Event> {
        std::mem::take(&mut self.events[end])
    }

    /// The only event of an end, which must be the last of a usage.
    pub fn ended(&mut self, end: usize) -> Termination {
        let mut events = self.take(end);
        match events.pop() {
            Some(Event::Usage { event: UsageEvent::Terminated { cause }, .. }) if events.is_empty() => cause,
            other => panic!("{events:?} {other:?}"),
        }
    }

    /// Delivers everything in flight (delays are at most 50 ms here).
    pub fn settle(&mut self) {
        self.run(Duration::from_millis(50));
    }

    /// Lets time pass.
    pub fn run(&mut self, time: Duration) {
        let end = self.now + time;
        while self.step(end) {}
        self.now = end;
    }

    /// Advances to the next event, at most to `end`.
    pub fn step(&mut self, end: Instant) -> bool {
        self.flush();
        let flight = self.flights.peek().map(|Reverse(flight)| flight.at);
        let timeouts = [A, B].map(|i| self.ends[i].next_timeout());
        let Some(next) = timeouts.into_iter().flatten().chain(flight).min().filter(|at| *at <= end) else {
            return false;
        };
        self.now = self.now.max(next);
        for i in [A, B] {
            if timeouts[i].is_some_and(|at| at <= self.now) {
                self.ends[i].handle_input(self.now, Input::Timeout);
            }
        }
        self.flush();
        while let Some(Reverse(flight)) = self.flights.peek()
            && flight.at <= self.now
        {
            let Reverse(flight) = self.flights.pop().unwrap();
            self.deliver(flight.to, flight.transport, flight.data);
        }
        true
    }

    /// Delivers a message to an end as if from the other one.
    pub fn deliver(&mut self, to: usize, transport: Transport, data: Bytes) {
        let flow = self.flow(to, transport);
        let input = match transport {
            Transport::Udp => Input::Datagram { flow, data },
            _ => Input::Message { flow, message: Message::parse(data, &Limits::default()) },
        };
        self.ends[to].handle_input(self.now, input);
        self.flush();
    }

    /// Breaks the connection of an end.
    pub fn close(&mut self, end: usize) {
        let flow = self.flow(end, Transport::Tcp);
        let now = self.now;
        self.ends[end].handle_input(now, Input::FlowClosed { flow });
        self.flush();
    }

    /// Breaks the connection of an end to this port of the other one.
    pub fn close_to(&mut self, end: usize, port: u16) {
        let mut flow = self.flow(end, Transport::Tcp);
        flow.remote.set_port(port);
        flow.id = FlowId(port.into());
        let now = self.now;
        self.ends[end].handle_input(now, Input::FlowClosed { flow });
        self.flush();
    }

    /// Processes the outputs of the endpoints.
    pub fn flush(&mut self) {
        for end in [A, B] {
            while let Some(output) = self.ends[end].poll_output() {
                self.output(end, output);
            }
        }
    }

    fn output(&mut self, end: usize, output: Output) {
        match output {
            Output::Event(event) => self.events[end].push(event),
            Output::KeepAlive { .. } => {}
            Output::Connect { connect, transport, remote, .. } => {
                let mut flow = self.flow(end, transport);
                flow.remote = remote;
                if transport == Transport::Tcp && remote != self.addresses[1 - end] {
                    flow.id = FlowId(remote.port().into());
                }
                let input = match transport {
                    Transport::Tcp if !self.tcp => Input::ConnectFailed { connect },
                    _ => Input::Connected { connect, flow },
                };
                self.ends[end].handle_input(self.now, input);
            }
            Output::Resolve { resolve, .. } => {
                let targets = vec![(Transport::Udp, self.addresses[1 - end])];
                self.ends[end].handle_input(self.now, Input::Resolved { resolve, targets });
            }
            Output::Transmit { flow, data } => {
                self.wire.push(Sent {
                    at: self.now - self.start,
                    from: end,
                    transport: flow.transport,
                    to: flow.remote,
                    data: data.clone(),
                });
                let reliable = flow.transport.is_reliable();
                if self.mute[end]
                    || self.deaf[1 - end]
                    || !reliable && self.random.random_bool(self.network.loss)
                {
                    return;
                }
                let copies = if !reliable && self.random.random_bool(self.network.duplicate) { 2 } else { 1 };
                for _ in 0..copies {
                    let (least, most) = self.network.delay_ms;
                    let delay = if reliable { least } else { self.random.random_range(least..=most) };
                    self.order += 1;
                    self.flights.push(Reverse(Flight {
                        at: self.now + Duration::from_millis(delay),
                        order: self.order,
                        to: 1 - end,
                        transport: flow.transport,
                        data: data.clone(),
                    }));
                }
            }
        }
    }

    /// The first lines of messages sent by an end, with the time in ms.
    pub fn sent(&self, end: usize, starts_with: &str) -> Vec<(u128, String)> {
        let from = self.wire.iter().filter(|sent| sent.from == end);
        from.map(|sent| (sent.at.as_millis(), sent.line()))
            .filter(|(_, it)| it.starts_with(starts_with))
            .collect()
    }

    /// The times in ms at which an end sent messages that start like this.
    pub fn times(&self, end: usize, starts_with: &str) -> Vec<u128> {
        self.sent(end, starts_with).into_iter().map(|(at, _)| at).collect()
    }

    /// The text of an end's last message that starts like this.
    pub fn last(&self, end: usize, starts_with: &str) -> String {
        let mut from = self.wire.iter().rev().filter(|sent| sent.from == end);
        from.find(|sent| sent.line().starts_with(starts_with))
            .unwrap_or_else(|| panic!("nothing starts with {starts_with}"))
            .text()
    }

    /// Checks that nothing is held after the longest timer.
    pub fn assert_nothing_left(&mut self) {
        self.run(Duration::from_secs(400));
        for end in [A, B] {
            let held = self.ends[end].holdings();
            let held = (
                held.client_transactions,
                held.server_transactions,
                held.usages,
                held.timer_entries,
                held.waiting,
                held.map_entries,
            );
            assert_eq!(held, (0, 0, 0, 0, 0, 0), "end {end}");
        }
    }
}
