//! A switch whose messages are seen and not sent: no socket, no name looked up, and time that passes as soon
//! as nothing else happens. What is seen is what [`SwitchThread`](super::SwitchThread) would send.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::{Duration, Instant, SystemTime};

use bytes::Bytes;
use tokio::sync::mpsc;

use super::super::command::Command;
use super::super::{Done, Switch, SwitchConfig, SwitchParts, Turn};
use b2b_sip::endpoint::{Endpoint, EndpointConfig, Flow, Input, Output, Transport};
use b2b_sip::msg::{Limits, Message};
use b2b_sip::net::NetConfig;
use b2b_sip::net::unbound::Unbound;

/// How long a task may take, in real time, before time passes without it: media engines answer within
/// milliseconds.
const PATIENCE: Duration = Duration::from_secs(1);

/// Names are at addresses of TEST-NET-2 (RFC 5737), in the order in which they are asked for.
const NAMES: [u8; 3] = [198, 51, 100];

/// A message that would have been sent.
#[derive(Debug, Clone)]
pub struct Unsent {
    /// By which way. An address of a name is none that it has.
    pub flow: Flow,
    /// The name that was looked up for that address; none: it is an address in the configuration.
    pub name: Option<String>,
    /// The message.
    pub data: Bytes,
}

/// What happens next, to who sees a message.
#[derive(Debug, Default)]
pub struct Reaction {
    /// Who was to get it sends these.
    pub replies: Vec<Bytes>,
    /// Enough has been seen.
    pub is_enough: bool,
}

/// The switch, and the time that it has.
pub struct DryRun {
    endpoint: Endpoint,
    switch: Switch,
    commands: mpsc::UnboundedReceiver<Command>,
    done: mpsc::UnboundedSender<Done>,
    results: mpsc::UnboundedReceiver<Done>,
    /// Tasks that have not ended.
    waiting: usize,
    ways: Unbound,
    names: Vec<String>,
    now: Instant,
    wall: SystemTime,
}

impl DryRun {
    /// A switch at these addresses; its parts are made for this moment.
    ///
    /// # Errors
    /// What `parts` says.
    pub fn new<E>(
        net: &NetConfig,
        endpoint: EndpointConfig,
        config: SwitchConfig,
        parts: impl FnOnce(Instant, SystemTime) -> Result<SwitchParts, E>,
    ) -> Result<Self, E> {
        let (now, wall) = (Instant::now(), SystemTime::now());
        let (switch, commands) = Switch::new(config, parts(now, wall)?);
        let (done, results) = mpsc::unbounded_channel();
        let (endpoint, ways) = (Endpoint::new(endpoint), Unbound::new(net));
        let (waiting, names) = (0, Vec::new());
        Ok(DryRun { endpoint, switch, commands, done, results, waiting, ways, names, now, wall })
    }

    /// The way by which somebody at `remote` is reached.
    pub fn flow_to(&mut self, transport: Transport, remote: SocketAddr) -> Option<Flow> {
        self.ways.flow_to(transport, remote, None)
    }

    /// Takes these messages in, then lets time pass, this much at most, until `sees` has enough. `sees` gets
    /// each message that would be sent.
    ///
    /// Called within a tokio runtime.
    pub async fn run(
        &mut self,
        lasts: Duration,
        comes: Vec<(Flow, Bytes)>,
        sees: &mut dyn FnMut(&Unsent) -> Reaction,
    ) {
        let end = self.now + lasts;
        for (flow, data) in comes {
            self.take(flow, data);
        }
        self.turn(Switch::wake_admission);
        loop {
            if self.pump(sees) {
                return;
            }
            while let Some(task) = self.switch.poll_task().or_else(|| self.switch.poll_beside()) {
                let done = self.done.clone();
                self.waiting += 1;
                tokio::spawn(async move { drop(done.send(task.await)) });
            }
            let patience = if self.waiting > 0 { PATIENCE } else { Duration::ZERO };
            let step = async {
                tokio::select! {
                    biased;
                    Some(command) = self.commands.recv() => Step::Command(command),
                    Some(done) = self.results.recv() => Step::Done(done),
                }
            };
            match tokio::time::timeout(patience, step).await {
                Ok(Step::Command(command)) => self.turn(|switch, t| switch.obey(t, command)),
                Ok(Step::Done(done)) => {
                    self.waiting -= 1;
                    self.turn(|switch, t| switch.done(t, done));
                }
                Err(_) => {
                    let due = [self.switch.next_timeout(), self.endpoint.next_timeout()];
                    let Some(at) = due.into_iter().flatten().min().filter(|at| *at <= end) else { return };
                    self.wall += at.saturating_duration_since(self.now);
                    self.now = self.now.max(at);
                    self.endpoint.handle_input(self.now, Input::Timeout);
                    self.turn(Switch::timeout);
                }
            }
        }
    }

    /// Takes out what the endpoint wants; `true`: enough was seen.
    fn pump(&mut self, sees: &mut dyn FnMut(&Unsent) -> Reaction) -> bool {
        while let Some(output) = self.endpoint.poll_output() {
            match output {
                Output::Transmit { flow, data } => {
                    let Reaction { replies, is_enough } =
                        sees(&Unsent { flow, name: self.name(flow.remote), data });
                    if is_enough {
                        return true;
                    }
                    for reply in replies {
                        self.take(flow, reply);
                    }
                }
                Output::Connect { connect, transport, remote, listener, .. } => {
                    let input = match self.ways.flow_to(transport, remote, listener) {
                        Some(flow) => Input::Connected { connect, flow },
                        None => Input::ConnectFailed { connect },
                    };
                    self.endpoint.handle_input(self.now, input);
                }
                Output::Resolve { resolve, host, port, transport } => {
                    let transport = transport.unwrap_or(Transport::Udp);
                    let usual = if transport == Transport::Tls { 5061 } else { 5060 };
                    let at = SocketAddr::new(self.address(&host), port.unwrap_or(usual));
                    let input = Input::Resolved { resolve, targets: vec![(transport, at)] };
                    self.endpoint.handle_input(self.now, input);
                }
                // Nothing is there that could be kept.
                Output::KeepAlive { .. } => {}
                Output::Event(event) => self.turn(|switch, t| switch.sip_event(t, event)),
            }
        }
        false
    }

    fn take(&mut self, flow: Flow, data: Bytes) {
        let input = match flow.transport {
            Transport::Udp => Input::Datagram { flow, data },
            _ => Input::Message { flow, message: Message::parse(data, &Limits::default()) },
        };
        self.endpoint.handle_input(self.now, input);
    }

    fn turn(&mut self, act: impl FnOnce(&mut Switch, &mut Turn<'_>)) {
        let mut turn = Turn { now: self.now, wall: self.wall, sip: &mut self.endpoint };
        act(&mut self.switch, &mut turn);
        self.switch.step_applications(&mut turn);
        while self.switch.poll_ban().is_some() || self.switch.poll_proven().is_some() {}
    }

    fn address(&mut self, host: &str) -> IpAddr {
        let known = self.names.iter().position(|name| name == host);
        let index = known.unwrap_or_else(|| {
            self.names.push(host.to_owned());
            self.names.len() - 1
        });
        let [a, b, c] = NAMES;
        Ipv4Addr::new(a, b, c, u8::try_from(index + 1).unwrap_or(u8::MAX)).into()
    }

    fn name(&self, remote: SocketAddr) -> Option<String> {
        let IpAddr::V4(ip) = remote.ip() else { return None };
        let [net @ .., last] = ip.octets();
        let index = usize::from(last).checked_sub(1).filter(|_| net == NAMES)?;
        self.names.get(index).cloned()
    }
}

/// What comes from beside the endpoint.
enum Step {
    Command(Command),
    Done(Done),
}
