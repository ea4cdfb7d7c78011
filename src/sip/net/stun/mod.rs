//! Our UDP listeners ask a STUN server by which address the outside sees them (RFC 8489), from the
//! sockets themselves: behind a NAT whose address changes.
//!
//! - `message`: the request, and what counts of an answer
//! - `binding`: what one socket knows, and when it asks

mod binding;
mod message;

use std::future::Future;
use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::sync::mpsc::Sender;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use bytes::Bytes;
use tokio::sync::mpsc;
use tokio::time::Sleep;

use super::listeners::Listening;
use super::resolve::Resolver;
use super::stack::SipStack;
use super::udp::UdpPort;
use crate::endpoint::{Advertised, Endpoint, Transport};
use binding::{Binding, News};

/// How often trouble of a socket is told.
const TOLD: Duration = Duration::from_secs(60);

/// Whom to ask, and what becomes of the answers.
#[derive(Debug, Clone)]
pub struct StunConfig {
    /// A name or an address, without brackets.
    pub host: String,
    /// Usually 3478.
    pub port: u16,
    /// How often each socket asks; it keeps the way through the NAT open, too.
    pub every: Duration,
    /// As [`Advertised::inside`].
    pub inside: Vec<(IpAddr, u8)>,
    /// Where an address that is new goes.
    pub seen: Sender<SeenAs>,
}

/// By which address the outside sees a listener from now on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SeenAs {
    /// As bound.
    pub local: SocketAddr,
    /// As seen.
    pub seen: SocketAddr,
}

/// What is asked for the listeners that have no name.
pub(super) struct Stun {
    config: StunConfig,
    /// By the place of their sockets.
    sockets: Vec<Option<Asking>>,
    listening: Vec<Listening>,
    /// What is advertised beside what is found out.
    base: Vec<Advertised>,
    timer: Pin<Box<Sleep>>,
    /// For when that is.
    armed: Option<Instant>,
    lookups: (mpsc::UnboundedSender<Vec<SocketAddr>>, mpsc::UnboundedReceiver<Vec<SocketAddr>>),
    /// When to look the server up; none: a lookup is under way, or has found it.
    look_up: Option<Instant>,
}

struct Asking {
    bound: SocketAddr,
    /// None: nobody knows yet where the server is.
    binding: Option<Binding>,
    /// When its last trouble was told: strangers may make some all the time.
    told: Option<Instant>,
}

impl Stun {
    /// For these sockets, of which the UDP sockets come first.
    pub fn new(config: StunConfig, listening: Vec<Listening>, endpoint: &Endpoint) -> Stun {
        let asking = |it: &Listening| {
            let bound = it.bound;
            it.name.is_none().then_some(Asking { bound, binding: None, told: None })
        };
        let udp = listening.iter().filter(|it| it.transport == Transport::Udp);
        Stun {
            sockets: udp.map(asking).collect(),
            listening,
            base: endpoint.advertised().to_vec(),
            config,
            timer: Box::pin(tokio::time::sleep(Duration::ZERO)),
            armed: None,
            lookups: mpsc::unbounded_channel(),
            look_up: Some(Instant::now()),
        }
    }

    fn bindings(&mut self) -> impl Iterator<Item = (usize, &mut Asking)> {
        self.sockets.iter_mut().enumerate().filter_map(|(index, it)| Some((index, it.as_mut()?)))
    }

    fn due(&mut self) -> Option<Instant> {
        let look_up = self.look_up;
        let bindings = self.bindings().filter_map(|(_, it)| Some(it.binding.as_ref()?.due()));
        bindings.chain(look_up).min()
    }

    fn look_up(&mut self, now: Instant, names: &Resolver) {
        if self.look_up.is_none_or(|at| at > now) {
            return;
        }
        self.look_up = None;
        let (host, port) = (self.config.host.clone(), self.config.port);
        if let Ok(ip) = host.parse::<IpAddr>() {
            return self.located(now, &[SocketAddr::new(ip, port)]);
        }
        let (found, names) = (self.lookups.0.clone(), names.clone());
        tokio::spawn(async move {
            let udp = Transport::Udp;
            let targets = names.targets(&host, Some(port), Some(udp), &[udp]).await;
            let _ = found.send(targets.into_iter().map(|(_, address)| address).collect());
        });
    }

    /// Each socket asks the first address of its family. One that it asks already stays, if it is
    /// still among them: names of large services have other addresses each time.
    fn located(&mut self, now: Instant, found: &[SocketAddr]) {
        let every = self.config.every;
        for (_, it) in self.bindings() {
            let of_family = |server: &&SocketAddr| server.is_ipv4() == it.bound.is_ipv4();
            let Some(server) = found.iter().find(of_family) else { continue };
            match &mut it.binding {
                Some(binding) if found.contains(&binding.server()) => {}
                Some(binding) => binding.set_server(now, *server),
                none => *none = Some(Binding::new(now, it.bound, *server, every)),
            }
        }
        if found.is_empty() {
            tracing::warn!("no address of the STUN server {}; what was found out stays", self.config.host);
            self.look_up = Some(now + every);
        }
    }

    /// Sends what is due.
    fn ask(&mut self, now: Instant, udp: &[UdpPort]) {
        let mut silent = None;
        for (index, it) in self.bindings() {
            let Some(binding) = &mut it.binding else { continue };
            let (request, news) = binding.timeout(now, rand::random());
            if let (Some(transaction), Some(port)) = (request, udp.get(index)) {
                // One that is not taken is as good as lost.
                let _ = port.send(&Bytes::copy_from_slice(&message::request(&transaction)), binding.server());
            }
            if news == News::Silence {
                silent = Some(now);
                it.tell(now, "it does not answer", binding_server(it));
            }
        }
        // It may have moved.
        self.look_up = self.look_up.or(silent);
    }

    /// A datagram that has come to a socket; whether it was an answer. What it says is in force then.
    pub fn takes(
        &mut self,
        now: Instant,
        index: usize,
        (from, datagram): (SocketAddr, &[u8]),
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
                let (local, before) = (it.bound, before.map(|it| format!(", and no longer as {it}")));
                let before = before.unwrap_or_default();
                tracing::info!("udp {local} is seen from outside as {seen}{before} (STUN)");
                it.told = None;
                endpoint.set_advertised(self.advertised());
                // Nobody listens any more when the program is on its way out.
                let _ = self.config.seen.send(SeenAs { local, seen });
            }
        }
        true
    }

    /// What has been found out, before the rest. The port is that of UDP: what is known of the others is
    /// the address.
    fn advertised(&self) -> Vec<Advertised> {
        let mut all = Vec::new();
        for it in self.sockets.iter().flatten() {
            let Some(seen) = it.binding.as_ref().and_then(Binding::known) else { continue };
            let host = match seen.ip() {
                IpAddr::V4(ip) => ip.to_string(),
                IpAddr::V6(ip) => format!("[{ip}]"),
            };
            let ours = self.listening.iter().filter(|other| {
                let same = other.bound.ip() == it.bound.ip();
                other.name.is_none() && same && (other.transport != Transport::Udp || other.bound == it.bound)
            });
            all.extend(ours.map(|other| Advertised {
                listener: other.bound,
                transport: Some(other.transport),
                host: host.clone(),
                port: (other.transport == Transport::Udp).then_some(seen.port()),
                inside: self.config.inside.clone(),
            }));
        }
        all.extend_from_slice(&self.base);
        all
    }
}

fn binding_server(it: &Asking) -> SocketAddr {
    it.binding.as_ref().map_or(it.bound, Binding::server)
}

impl Asking {
    /// Once in a while.
    fn tell(&mut self, now: Instant, why: &'static str, from: SocketAddr) {
        if self.told.is_none_or(|told| told + TOLD <= now) {
            self.told = Some(now);
            let bound = self.bound;
            tracing::warn!("udp {bound}: what {from} says of our address (STUN) does not count: {why}");
        }
    }
}

impl SipStack {
    /// Asks what is due.
    pub(super) fn poll_stun(&mut self, cx: &mut Context<'_>) {
        let Some(stun) = &mut self.stun else { return };
        while let Poll::Ready(Some(found)) = stun.lookups.1.poll_recv(cx) {
            stun.located(Instant::now(), &found);
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
