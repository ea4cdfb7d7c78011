//! STUN queries of our UDP listeners for their public address (RFC 8489), sent from the
//! sockets themselves: for a NAT whose address changes.
//!
//! - `message`: the request, and parsing of responses
//! - `binding`: the state of one socket, and its query times

mod binding;
pub(super) mod message;

use std::future::Future;
use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::mpsc::Sender;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use bytes::Bytes;
use tokio::time::Sleep;

use super::listeners::Listening;
use super::resolve::Resolver;
use super::stack::{Channel, SipStack};
use super::udp::UdpPort;
use crate::endpoint::{Advertised, Endpoint, Transport};
use binding::{Binding, News};
pub(super) use binding::{RTO, SENDS};

/// Minimum interval between two warnings about a socket.
const TOLD: Duration = Duration::from_secs(60);

/// The STUN server of a listener, and the recipient of the results.
#[derive(Debug, Clone)]
pub struct StunConfig {
    /// The name of the listener; `None` for all listeners without a name.
    pub listener: Option<Arc<str>>,
    /// The server's name or address, without brackets.
    pub host: String,
    /// The server's port, usually 3478.
    pub port: u16,
    /// Interval of the queries of each socket; they also keep the NAT binding open.
    pub every: Duration,
    /// See [`Advertised::inside`].
    pub inside: Vec<(IpAddr, u8)>,
    /// Receives each new public address.
    pub seen: Sender<SeenAs>,
}

/// A new public address of a listener.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SeenAs {
    /// The listener's name, if it has one.
    pub listener: Option<Arc<str>>,
    /// The bound address.
    pub local: SocketAddr,
    /// The public address.
    pub seen: SocketAddr,
}

/// The STUN queries of all listeners.
pub(super) struct Stun {
    servers: Vec<Server>,
    /// Indexed like the UDP sockets.
    sockets: Vec<Option<Asking>>,
    listening: Vec<Listening>,
    /// The configured advertised addresses.
    base: Vec<Advertised>,
    timer: Pin<Box<Sleep>>,
    /// The time that `timer` is set to.
    armed: Option<Instant>,
    lookups: Channel<Found>,
}

/// The index of a server, and its addresses.
type Found = (usize, Vec<SocketAddr>);

struct Server {
    config: StunConfig,
    /// When to look the server up; `None` if a lookup is under way or has succeeded.
    look_up: Option<Instant>,
}

struct Asking {
    /// The index of the server.
    server: usize,
    bound: SocketAddr,
    /// `None` until the server's address is known.
    binding: Option<Binding>,
    /// When trouble was last logged; strangers could cause it all the time.
    told: Option<Instant>,
}

impl Stun {
    /// For these listeners; their UDP sockets come first.
    pub fn new(servers: Vec<StunConfig>, listening: Vec<Listening>, endpoint: &Endpoint) -> Stun {
        let asking = |it: &Listening| {
            let server = servers.iter().position(|server| server.listener == it.name)?;
            Some(Asking { server, bound: it.bound, binding: None, told: None })
        };
        let udp = listening.iter().filter(|it| it.transport == Transport::Udp);
        Stun {
            sockets: udp.map(asking).collect(),
            listening,
            base: endpoint.advertised().to_vec(),
            servers: {
                let look_up = Some(Instant::now());
                servers.into_iter().map(|config| Server { config, look_up }).collect()
            },
            timer: Box::pin(tokio::time::sleep(Duration::ZERO)),
            armed: None,
            lookups: Channel::default(),
        }
    }

    fn due(&self) -> Option<Instant> {
        let look_ups = self.servers.iter().filter_map(|it| it.look_up);
        let bindings = self.sockets.iter().flatten().filter_map(|it| Some(it.binding.as_ref()?.due()));
        bindings.chain(look_ups).min()
    }

    fn look_up(&mut self, now: Instant, names: &Resolver) {
        for place in 0..self.servers.len() {
            let Some(server) = self.servers.get_mut(place) else { return };
            if server.look_up.take_if(|at| *at <= now).is_none() {
                continue;
            }
            let (host, port) = (server.config.host.clone(), server.config.port);
            if let Ok(ip) = host.parse::<IpAddr>() {
                self.located(now, place, &[SocketAddr::new(ip, port)]);
                continue;
            }
            let (found, names) = (self.lookups.sender.clone(), names.clone());
            tokio::spawn(async move {
                let udp = Transport::Udp;
                let targets = names.targets(&host, Some(port), Some(udp), &[udp]).await;
                let _ = found.send((place, targets.into_iter().map(|(_, address)| address).collect()));
            });
        }
    }

    /// Assigns to each socket the first server address of its family. A socket keeps its
    /// server if that is still among the addresses: names of large services resolve
    /// differently each time.
    fn located(&mut self, now: Instant, place: usize, found: &[SocketAddr]) {
        let Some(server) = self.servers.get_mut(place) else { return };
        let every = server.config.every;
        for it in self.sockets.iter_mut().flatten().filter(|it| it.server == place) {
            let of_family = |server: &&SocketAddr| server.is_ipv4() == it.bound.is_ipv4();
            let Some(at) = found.iter().find(of_family) else { continue };
            match &mut it.binding {
                Some(binding) if found.contains(&binding.server()) => {}
                Some(binding) => binding.set_server(now, *at),
                none => *none = Some(Binding::new(now, it.bound, *at, every)),
            }
        }
        if found.is_empty() {
            tracing::warn!("no address of the STUN server {}; what was found out stays", server.config.host);
            server.look_up = Some(now + every);
        }
    }

    /// Sends the queries that are due.
    fn ask(&mut self, now: Instant, udp: &[UdpPort]) {
        for (index, it) in self.sockets.iter_mut().enumerate() {
            let Some(it) = it else { continue };
            let Some(binding) = &mut it.binding else { continue };
            let (request, news) = binding.timeout(now, rand::random());
            if let (Some(transaction), Some(port)) = (request, udp.get(index)) {
                // A failed send counts as a lost request.
                let _ = port.send(&Bytes::copy_from_slice(&message::request(&transaction)), binding.server());
            }
            if news == News::Silence {
                let at = binding.server();
                it.tell(now, "it does not answer", at);
                // The server may have moved.
                if let Some(server) = self.servers.get_mut(it.server) {
                    server.look_up.get_or_insert(now);
                }
            }
        }
    }

    /// Handles a received datagram; `true` if it was a STUN response. A new address takes
    /// effect at once.
    pub fn takes(
        &mut self,
        now: Instant,
        index: usize,
        from: SocketAddr,
        datagram: &[u8],
        endpoint: &mut Endpoint,
    ) -> bool {
        let Some(Some(it)) = self.sockets.get_mut(index) else { return false };
        let Some(binding) = &mut it.binding else { return false };
        let before = binding.known();
        match binding.datagram(now, from, datagram) {
            News::NotOurs => return false,
            News::Nothing | News::Silence => {}
            News::Refused(why) => it.tell(now, why, from),
            News::Address(seen) => {
                let (local, server) = (it.bound, it.server);
                let before = before.map(|it| format!(", and no longer as {it}")).unwrap_or_default();
                tracing::info!("udp {local} is seen from outside as {seen}{before} (STUN)");
                it.told = None;
                endpoint.set_advertised(self.advertised());
                if let Some(Server { config, .. }) = self.servers.get(server) {
                    // During shutdown there is no receiver any more.
                    let _ = config.seen.send(SeenAs { listener: config.listener.clone(), local, seen });
                }
            }
        }
        true
    }

    /// The advertised addresses: those found by STUN first. The port is used only for UDP;
    /// for other transports only the address is known.
    fn advertised(&self) -> Vec<Advertised> {
        let mut all = Vec::new();
        for it in self.sockets.iter().flatten() {
            let known = it.binding.as_ref().and_then(Binding::known).zip(self.servers.get(it.server));
            let Some((seen, Server { config, .. })) = known else { continue };
            let host = match seen.ip() {
                IpAddr::V4(ip) => ip.to_string(),
                IpAddr::V6(ip) => format!("[{ip}]"),
            };
            let ours = self.listening.iter().filter(|other| {
                let same = other.bound.ip() == it.bound.ip();
                other.name == config.listener
                    && same
                    && (other.transport != Transport::Udp || other.bound == it.bound)
            });
            all.extend(ours.map(|other| Advertised {
                listener: other.bound,
                transport: Some(other.transport),
                host: host.clone(),
                port: (other.transport == Transport::Udp).then_some(seen.port()),
                inside: config.inside.clone(),
            }));
        }
        all.extend_from_slice(&self.base);
        all
    }
}

impl Asking {
    /// Logs a warning, at most once per interval.
    fn tell(&mut self, now: Instant, why: &'static str, from: SocketAddr) {
        if self.told.is_none_or(|told| told + TOLD <= now) {
            self.told = Some(now);
            let bound = self.bound;
            tracing::warn!("udp {bound}: what {from} says of our address (STUN) does not count: {why}");
        }
    }
}

impl SipStack {
    /// Sends the queries that are due and waits for lookups.
    pub(super) fn poll_stun(&mut self, cx: &mut Context<'_>) {
        let Some(stun) = &mut self.stun else { return };
        while let Poll::Ready(Some((place, found))) = stun.lookups.receiver.poll_recv(cx) {
            stun.located(Instant::now(), place, &found);
        }
        loop {
            let now = Instant::now();
            stun.look_up(now, &self.names);
            stun.ask(now, &self.udp);
            let Some(due) = stun.due() else { return };
            if stun.armed.replace(due) != Some(due) {
                stun.timer.as_mut().reset(due.into());
            }
            if stun.timer.as_mut().poll(cx).is_pending() {
                return;
            }
            stun.armed = None;
        }
    }
}
