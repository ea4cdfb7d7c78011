//! Tests of call programs in virtual time: a switch with your handlers, parties that call it and are called,
//! and a network between them that delays and loses datagrams by a seed. Nothing opens a socket, and no test
//! waits for real time. For `[dev-dependencies]` only.
//!
//! ```
//! use std::sync::Arc;
//! use std::time::{Duration, Instant};
//!
//! use b2b_call::handler::{HandlerAction, IncomingCall};
//! use b2b_call::service::{CallService, DialRequest};
//! use b2b_testkit::{Handler, Harness, SESSION};
//!
//! // In place of an application of your own.
//! let to_bob = Handler(|_: IncomingCall, _: CallService| async {
//!     HandlerAction::Dial(Box::new(DialRequest::to("sip:bob@192.0.2.12")))
//! });
//! let mut harness = Harness::new(Instant::now(), vec![Arc::new(to_bob)]);
//! let (ann, bob) = (harness.party("192.0.2.11:5060"), harness.party("192.0.2.12:5060"));
//! let at_ann = harness.call(ann, "anybody", Some(SESSION));
//! let at_bob = harness.answer_next(bob, SESSION);
//! assert!(harness.is_up(ann, at_ann) && harness.is_up(bob, at_bob));
//!
//! // A minute passes at once; then Ann hangs up, which Bob hears of.
//! harness.run(Duration::from_secs(60));
//! harness.hang_up(ann, at_ann);
//! assert!(!harness.is_up(bob, at_bob));
//!
//! // On the wire: what Bob was sent.
//! let bobs = "192.0.2.12:5060".parse().expect("an address");
//! let sent: Vec<String> = harness.wire.iter().filter(|it| it.to == bobs).map(|it| it.line()).collect();
//! assert_eq!(sent[0], "INVITE sip:bob@192.0.2.12 SIP/2.0");
//! assert!(sent.iter().any(|line| line.starts_with("BYE ")));
//! harness.assert_nothing_left();
//! ```
//!
//! - `network`: datagrams in flight; `party`: a user agent of the test
//! - `handlers`: handlers for tests, and a resolver; `passwords`: gateways that require one; `accounts`:
//!   accounts and captures of calls; `replays`: replays of calls; `restarts`: calls written and read;
//!   `deaths`: a process that ends; `pieces`: calls as they are kept for another process
//! - `tasks`: pending futures; `checks`: assertions at the end
//! - `media`: a media controller without media; `stage`: its prompts, digits and rooms; `seen`: the test's
//!   view of them; `keys`: key presses of parties

// not in [workspace.lints]: the other crates are internal and have no public API
#![warn(missing_docs)]
#![forbid(unsafe_code)]

mod accounts;
mod checks;
mod deaths;
mod handlers;
mod keys;
mod media;
mod network;
mod party;
mod passwords;
mod pieces;
mod replays;
mod restarts;
mod seen;
mod stage;
mod tasks;

use std::net::SocketAddr;
use std::sync::Arc;
use std::task::{Context, Waker};
use std::time::{Duration, Instant, SystemTime};

use tokio::sync::mpsc;

pub use b2b_call::switch::testkit::{Row, Rows};
pub use b2b_sip::endpoint::{
    Body, Event, InDialog, Invite, Replaces, Reply, Termination, UsageEvent, UsageId,
};
pub use b2b_sip::msg::{Method, Name, Request};
use deaths::Lives;
pub use deaths::{Left, Moment};
pub use handlers::Handler;
use handlers::Uris;
pub use media::FakeMedia;
pub use network::{Network, Sent};
pub use party::PartyId;
pub use passwords::{Counted, Passwords, gateway};
use pieces::Pieces;
pub use replays::assert_replayed;
use restarts::Restarts;
pub use stage::{FakeRecording, FakeRoom, Heard, Hears};

use b2b_call::bus::EventBus;
use b2b_call::cdr::Cdr;
use b2b_call::controller::MediaEvent;
use b2b_call::handler::ApplicationHandler;
use b2b_call::lookup::Resolver;
use b2b_call::service::CallService;
use b2b_call::switch::admission::{AdmissionControl, AdmitAll};
use b2b_call::switch::testkit::Commands;
use b2b_call::switch::{
    CallSnapshot, Switch, SwitchConfig, SwitchCounters, SwitchHoldings, SwitchParts, Turn,
};
// `media` and `stage` use these names.
use b2b_call::{controller, negotiate};
use b2b_sip::endpoint::{
    Endpoint, EndpointConfig, Extensions, Flow, FlowId, Holdings, Input, Output, SessionTimers, Transport,
};
use b2b_sip::net::Ban;
use b2b_sip::net::tap::{Direction, Seen};
use network::Flights;
use party::Party;
use tasks::Tasks;

/// The address of the switch.
pub const B2B: &str = "192.0.2.1:5060";

/// A session description of a party.
pub const SESSION: &str = "v=0\r\no=party 1 1 IN IP4 198.51.100.7\r\ns=-\r\nc=IN IP4 198.51.100.7\r\nt=0 0\r\n\
                           m=audio 4000 RTP/AVP 8 0 101\r\na=rtpmap:101 telephone-event/8000\r\n";

/// Changes messages in transit.
type Middlebox = Box<dyn Fn(&str) -> String>;

/// A switch, parties and a network.
pub struct Harness {
    now: Instant,
    start: Instant,
    wall: SystemTime,
    endpoint: Endpoint,
    switch: Switch,
    commands: Commands,
    tasks: Tasks,
    /// Futures of applications outside of calls.
    beside: Tasks,
    address: SocketAddr,
    media: Arc<FakeMedia>,
    bus: EventBus,
    records: mpsc::UnboundedReceiver<Cdr>,
    parties: Vec<Party>,
    flights: Flights,
    middlebox: Option<Middlebox>,
    /// Whether calls are replayed at the end.
    replays: bool,
    restarts: Option<Restarts>,
    restarted: usize,
    pieces: Option<Pieces>,
    lives: Lives,
    /// Every sent message, lost ones included.
    pub wire: Vec<Sent>,
}

impl Harness {
    /// A harness with a quiet network; targets are URIs.
    pub fn new(start: Instant, handlers: Vec<Arc<dyn ApplicationHandler>>) -> Self {
        let config = SwitchConfig::default();
        Harness::with(start, handlers, Arc::new(Uris), Box::new(AdmitAll), config, Network::QUIET)
    }

    /// A harness with the test's own resolver, admission control, configuration and network.
    pub fn with(
        start: Instant,
        handlers: Vec<Arc<dyn ApplicationHandler>>,
        resolver: Arc<dyn Resolver>,
        admission: Box<dyn AdmissionControl>,
        config: SwitchConfig,
        network: Network,
    ) -> Self {
        let config = SwitchConfig { journal: true, ..config };
        let media = Arc::new(FakeMedia::new(start));
        let bus = EventBus::new(1_024, 0);
        let (sink, records) = mpsc::unbounded_channel();
        let parts = SwitchParts {
            controller: media.clone(),
            resolver,
            handlers,
            admission,
            bus: Some(bus.clone()),
            records: Some(Box::new(move |record| drop(sink.send(record)))),
        };
        let (switch, commands) = Switch::in_hand(config, parts);
        let endpoint = EndpointConfig {
            accept: vec![Method::Info, Method::Message, Method::Notify],
            outside: vec![Method::Message, Method::Notify, Method::Register],
            session_timers: Some(SessionTimers::default()),
            extensions: Extensions { reliable: true, refer: true, replaces: true },
            ..EndpointConfig::new([200; 32])
        };
        let (mut endpoint, address) = (Endpoint::new(endpoint), SocketAddr::from(([192, 0, 2, 1], 5060)));
        endpoint.set_udp(move |remote, _| Some(flow(address, remote)));
        Harness {
            now: start,
            start,
            wall: SystemTime::UNIX_EPOCH,
            endpoint,
            switch,
            commands,
            tasks: Tasks::default(),
            beside: Tasks::default(),
            address,
            media,
            bus,
            records,
            parties: Vec::new(),
            flights: Flights::new(network),
            middlebox: None,
            replays: true,
            restarts: None,
            restarted: 0,
            pieces: None,
            lives: Lives::default(),
            wire: Vec::new(),
        }
    }

    /// The service handle, as handlers receive it.
    pub fn service(&self) -> CallService {
        self.switch.service()
    }

    /// The media controller that the switch uses.
    pub fn media(&self) -> &FakeMedia {
        &self.media
    }

    /// The bus of the switch's events; their times count from 1970.
    pub fn bus(&self) -> &EventBus {
        &self.bus
    }

    /// The counters of the switch.
    pub fn counters(&self) -> SwitchCounters {
        self.switch.counters()
    }

    /// The resources that the switch and its endpoint hold.
    pub fn holdings(&self) -> (SwitchHoldings, Holdings) {
        (self.switch.holdings(), self.endpoint.holdings())
    }

    /// The switch's calls.
    pub fn snapshot(&self) -> Vec<CallSnapshot> {
        self.switch.snapshot(self.now)
    }

    /// The harness's clock.
    pub fn now(&self) -> Instant {
        self.now
    }

    /// Sends a media event to the switch.
    pub fn media_event(&mut self, event: MediaEvent) {
        self.turn(|switch, t| switch.media_event(t, event));
        self.settle();
    }

    /// From now on, changes every message in transit, before it is added to `wire`.
    pub fn change_messages(&mut self, middlebox: impl Fn(&str) -> String + 'static) {
        self.middlebox = Some(Box::new(middlebox));
    }

    /// Makes admission control reload its configuration; the call limits stay.
    pub fn reconfigure(&mut self) {
        let SwitchConfig { max_calls, max_duration, .. } = self.switch.config().clone();
        self.switch.reconfigure(
            &mut Turn { now: self.now, wall: self.wall, sip: &mut self.endpoint },
            max_calls,
            max_duration,
        );
        self.settle();
    }

    /// Sources banned or pardoned by admission control since the last query.
    pub fn bans(&mut self) -> Vec<Ban> {
        std::iter::from_fn(|| self.switch.poll_ban()).collect()
    }

    /// Sends a datagram again, as a duplicate in the network or a retransmission.
    pub fn resend(&mut self, sent: &Sent) {
        self.flights.send(self.now, sent.from, sent.to, sent.data.clone());
        self.settle();
    }

    /// Whether no state of any call is left and, once it drains, none of admission control.
    pub fn is_idle(&self) -> bool {
        self.switch.is_idle()
    }

    /// Delivers a message composed by the test to the switch, from this address.
    ///
    /// # Panics
    /// It is not an address.
    pub fn send_raw(&mut self, from: &str, message: &str) {
        let from = from.parse().unwrap_or_else(|_| panic!("{from} is no address"));
        self.deliver(self.address, from, bytes::Bytes::copy_from_slice(message.as_bytes()));
        self.settle();
    }

    /// Stops accepting new calls.
    pub fn drain(&mut self) {
        self.switch.drain();
    }

    /// Ends every call.
    pub fn hang_up_all(&mut self) {
        self.switch.hang_up_all(&mut Turn { now: self.now, wall: self.wall, sip: &mut self.endpoint });
        self.settle();
    }

    /// Runs a future of the test beside the switch until it is ready.
    ///
    /// # Panics
    /// It is not ready after `patience` of virtual time.
    pub fn wait<T>(&mut self, patience: Duration, future: impl Future<Output = T>) -> T {
        let mut future = std::pin::pin!(future);
        let end = self.now + patience;
        let mut idle = false;
        loop {
            if let std::task::Poll::Ready(result) =
                future.as_mut().poll(&mut Context::from_waker(Waker::noop()))
            {
                return result;
            }
            let busy = self.flush();
            let stepped = self.step(end);
            let rests = !(busy || stepped || self.flush());
            // The work of a step that then finds nothing more to do may be what the future waits for.
            assert!(!(idle && rests), "the future is not ready after {patience:?}");
            idle = rests;
        }
    }

    /// Delivers everything in flight.
    pub fn settle(&mut self) {
        self.run(Duration::from_millis(100));
    }

    /// Advances time.
    pub fn run(&mut self, time: Duration) {
        let end = self.now + time;
        while self.step(end) {}
        self.now = end;
        self.wall = SystemTime::UNIX_EPOCH + (self.now - self.start);
        self.media.advance(end);
    }

    /// Advances to the next event, at most until `end`. `false` if there is none until then.
    pub fn step(&mut self, end: Instant) -> bool {
        while self.flush() {}
        let timeouts = self.parties.iter().map(|party| party.endpoint.next_timeout());
        let ours =
            [self.endpoint.next_timeout(), self.switch.next_timeout(), self.media.next_timeout()].into_iter();
        let ours = ours.filter(|_| !self.is_down());
        let next = timeouts.chain(ours).chain([self.flights.next()]).flatten().min().filter(|at| *at <= end);
        let Some(next) = next else { return false };
        self.now = self.now.max(next);
        self.wall = SystemTime::UNIX_EPOCH + (self.now - self.start);
        for party in &mut self.parties {
            if party.endpoint.next_timeout().is_some_and(|at| at <= self.now) {
                party.endpoint.handle_input(self.now, Input::Timeout);
            }
        }
        self.media.advance(self.now);
        if !self.is_down() {
            self.endpoint.handle_input(self.now, Input::Timeout);
            if self.switch.next_timeout().is_some_and(|at| at <= self.now) {
                self.turn(|switch, t| switch.timeout(t));
            }
        }
        while self.flush() {}
        while let Some((to, from, data)) = self.flights.arrived(self.now) {
            self.deliver(to, from, data);
        }
        self.restart_at_times();
        true
    }

    fn observe(&mut self, direction: Direction, flow: Flow, data: &bytes::Bytes) {
        self.switch.observe(&Seen { at: self.now, direction, flow, data: data.clone() });
    }

    /// Performs everything that is possible now. `false` if there was nothing.
    fn flush(&mut self) -> bool {
        debug_assert_eq!(self.counters().impossible_at, None, "a bug of the switch, in this place");
        let busy = !self.is_down() && self.flush_ours();
        self.flush_parties() || busy
    }

    fn flush_ours(&mut self) -> bool {
        let mut busy = false;
        while let Some(output) = self.endpoint.poll_output() {
            busy = true;
            match output {
                Output::Event(event) => {
                    self.between_turns();
                    self.turn(|switch, t| switch.sip_event(t, event));
                }
                output => {
                    if let Some(input) = self.output(self.address, output) {
                        self.endpoint.handle_input(self.now, input);
                    }
                }
            }
        }
        while let Some((endpoint, stats)) = self.media.poll_closed() {
            busy = true;
            let event = MediaEvent::Closed { endpoint, stats: Box::new(stats) };
            self.turn(|switch, t| switch.media_event(t, event));
        }
        for event in self.media.take_events() {
            busy = true;
            self.turn(|switch, t| switch.media_event(t, event));
        }
        while !self.is_down() {
            let turn = &mut Turn { now: self.now, wall: self.wall, sip: &mut self.endpoint };
            if self.switch.step_applications(turn) {
                busy = true;
                continue;
            }
            if self.commands.is_empty() {
                break;
            }
            busy = true;
            self.turn_begins();
            let turn = &mut Turn { now: self.now, wall: self.wall, sip: &mut self.endpoint };
            self.switch.obey_next(turn, &mut self.commands);
            self.turn_ends();
        }
        if self.is_down() {
            return true;
        }
        self.compare_pieces();
        self.tasks.extend(std::iter::from_fn(|| self.switch.poll_task()));
        self.beside.extend(std::iter::from_fn(|| self.switch.poll_beside()));
        for done in self.tasks.done().into_iter().chain(self.beside.done()) {
            busy = true;
            self.turn(|switch, t| switch.done(t, done));
        }
        if !busy {
            self.between_turns();
        }
        busy
    }

    fn flush_parties(&mut self) -> bool {
        let mut busy = false;
        for index in 0..self.parties.len() {
            while let Some(output) =
                self.parties.get_mut(index).and_then(|party| party.endpoint.poll_output())
            {
                busy = true;
                let Some((address, dead)) = self.parties.get(index).map(|it| (it.address, it.dead)) else {
                    continue;
                };
                match output {
                    Output::Transmit { .. } if dead => {}
                    Output::Event(event) => self.party_event(index, event),
                    output => {
                        let input = self.output(address, output);
                        if let (Some(party), Some(input)) = (self.parties.get_mut(index), input) {
                            party.endpoint.handle_input(self.now, input);
                        }
                    }
                }
            }
        }
        busy
    }

    fn output(&mut self, from: SocketAddr, output: Output) -> Option<Input> {
        match output {
            Output::Transmit { flow, data } => {
                if from == self.address {
                    self.observe(Direction::Sent, flow, &data);
                }
                let data = match &self.middlebox {
                    Some(change) => change(&String::from_utf8_lossy(&data)).into(),
                    None => data,
                };
                let (at, from) = (self.now - self.start, flow.local);
                self.wire.push(Sent { at, from, to: flow.remote, data: data.clone() });
                self.flights.send(self.now, from, flow.remote, data);
                None
            }
            // Large requests cannot use TCP here.
            Output::Connect { connect, .. } => Some(Input::ConnectFailed { connect }),
            Output::Resolve { resolve, .. } => Some(Input::ResolveFailed { resolve }),
            Output::Event(_) | Output::KeepAlive { .. } => None,
        }
    }

    fn deliver(&mut self, to: SocketAddr, from: SocketAddr, data: bytes::Bytes) {
        if to == self.address && self.is_down() {
            return self.arrives_in_vain(from, data);
        }
        if to == self.address {
            self.observe(Direction::Received, flow(to, from), &data);
        }
        let input = Input::Datagram { flow: flow(to, from), data };
        if to == self.address {
            self.endpoint.handle_input(self.now, input);
        } else if let Some(party) = self.parties.iter_mut().find(|party| party.is_at(to) && !party.dead) {
            party.endpoint.handle_input(self.now, input);
        }
        while self.flush() {}
    }
}

fn flow(local: SocketAddr, remote: SocketAddr) -> Flow {
    Flow { transport: Transport::Udp, local, remote, id: FlowId(1) }
}

// compiles the example in the README
#[cfg(doctest)]
#[doc = include_str!("README.md")]
struct Readme;
