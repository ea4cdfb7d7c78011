//! A switch whose messages are inspected and not sent: no sockets, no name look-ups, and virtual time that
//! advances as soon as nothing else happens. The messages are those that
//! [`SwitchThread`](super::SwitchThread) would send.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::{Duration, Instant, SystemTime};

use bytes::Bytes;
use tokio::sync::mpsc;

use super::super::{Done, Switch, SwitchConfig, SwitchParts, Turn};
use crate::service::command::Command;
use b2b_sip::endpoint::{Endpoint, EndpointConfig, Flow, Input, Output, Transport};
use b2b_sip::msg::{Limits, Message};
use b2b_sip::net::NetConfig;
use b2b_sip::net::local_flows::LocalFlows;

/// Maximum real time for a task before virtual time advances without it: media engines answer within
/// milliseconds.
const PATIENCE: Duration = Duration::from_secs(1);

/// Names resolve to addresses of TEST-NET-2 (RFC 5737), in the order of the look-ups.
const NAMES: [u8; 3] = [198, 51, 100];

/// A message that would have been sent.
#[derive(Debug, Clone)]
pub struct Unsent {
    /// The flow of the message. The address of a looked-up name is made up.
    pub flow: Flow,
    /// The name that was looked up for that address; `None`: the address is in the configuration.
    pub name: Option<String>,
    /// The message.
    pub data: Bytes,
}

/// The inspector's reaction to a message.
#[derive(Debug, Default)]
pub struct Reaction {
    /// Messages that the addressee sends in reply.
    pub replies: Vec<Bytes>,
    /// Ends the run.
    pub is_enough: bool,
}

/// A switch with its virtual time.
pub struct DryRun {
    endpoint: Endpoint,
    switch: Switch,
    commands: mpsc::UnboundedReceiver<Command>,
    done: mpsc::UnboundedSender<Done>,
    results: mpsc::UnboundedReceiver<Done>,
    /// Number of tasks that have not ended.
    waiting: usize,
    ways: LocalFlows,
    names: Vec<String>,
    now: Instant,
    wall: SystemTime,
}

impl DryRun {
    /// A switch at these addresses; its parts are made for the current time.
    ///
    /// # Errors
    /// The error of `parts`.
    pub fn new<E>(
        net: &NetConfig,
        endpoint: EndpointConfig,
        config: SwitchConfig,
        parts: impl FnOnce(Instant, SystemTime) -> Result<SwitchParts, E>,
    ) -> Result<Self, E> {
        let (now, wall) = (Instant::now(), SystemTime::now());
        let (switch, commands) = Switch::new(config, parts(now, wall)?);
        let (done, results) = mpsc::unbounded_channel();
        let (mut endpoint, ways) = (Endpoint::new(endpoint), LocalFlows::unbound(net));
        endpoint.set_udp(LocalFlows::unbound(net).udp());
        let (waiting, names) = (0, Vec::new());
        Ok(DryRun { endpoint, switch, commands, done, results, waiting, ways, names, now, wall })
    }

    /// The flow to a peer at `remote`.
    pub fn flow_to(&mut self, transport: Transport, remote: SocketAddr) -> Option<Flow> {
        self.ways.flow_to(transport, remote, None)
    }

    /// Takes these messages in and lets time pass, `lasts` at most, until `sees` ends the run. `sees` is
    /// given each message that would be sent.
    ///
    /// Must be called within a tokio runtime.
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

    /// Processes the endpoint's outputs; `true`: the run has ended.
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
                    let input = match self.ways.flow_to(transport, remote, listener.as_deref()) {
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
                // There is no connection to keep alive.
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

/// An event from a source other than the endpoint.
enum Step {
    Command(Command),
    Done(Done),
}
