//! Flows kept alive by the stack's sockets.

use std::future::Future;
use std::net::SocketAddr;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use bytes::Bytes;
use tokio::time::Sleep;

use super::connections::Queued;
use super::keep_alive::{KeepAlive, Order};
use super::stack::SipStack;
use super::stun::message;
use super::udp::UdpPort;
use crate::endpoint::{Flow, Input, Transport};

/// The flows; a server has a few for each gateway.
#[derive(Default)]
pub(super) struct Held {
    flows: Vec<(Flow, KeepAlive)>,
    timer: Option<Pin<Box<Sleep>>>,
    /// The time that `timer` is set to.
    armed: Option<Instant>,
}

/// The result of checking a datagram.
pub(super) enum Taken {
    /// It is not an answer to a keep-alive.
    No,
    Yes,
    /// It shows that this flow is lost.
    Lost(Flow),
}

impl Held {
    /// Keeps a flow alive at this interval; `None` stops it.
    pub fn set(&mut self, now: Instant, flow: Flow, every: Option<Duration>) {
        let known = self.flows.iter_mut().find(|(its, _)| is_same(its, &flow));
        match (known, every) {
            (Some((_, it)), Some(every)) => it.set_every(now, every),
            (None, Some(every)) => {
                let it = KeepAlive::new(now, flow.transport.is_reliable(), every, rand::random());
                self.flows.push((flow, it));
            }
            (_, None) => self.flows.retain(|(its, _)| !is_same(its, &flow)),
        }
    }

    /// Notes that the peer of a connection answered a ping.
    pub fn pong(&mut self, now: Instant, id: u64) {
        let found = self.flows.iter_mut().find(|(its, _)| its.transport.is_reliable() && its.id.0 == id);
        if let Some((_, it)) = found {
            it.pong(now);
        }
    }

    /// Handles a datagram received on this socket from this address.
    pub fn takes(&mut self, now: Instant, index: usize, from: SocketAddr, datagram: &[u8]) -> Taken {
        if self.flows.is_empty() || !message::is_answer(datagram) {
            return Taken::No;
        }
        let is_its = |flow: &Flow| {
            flow.transport == Transport::Udp && flow.id.0 == index as u64 && flow.remote == from
        };
        let Some(place) = self.flows.iter().position(|(flow, _)| is_its(flow)) else { return Taken::No };
        match self.flows.get_mut(place).and_then(|(_, it)| it.datagram(now, datagram)) {
            None => Taken::No,
            Some(Order::Lost(why)) => {
                let (flow, _) = self.flows.swap_remove(place);
                tell(&flow, why);
                Taken::Lost(flow)
            }
            Some(_) => Taken::Yes,
        }
    }
}

/// Ignores `local`, which may be determined anew for UDP.
fn is_same(one: &Flow, other: &Flow) -> bool {
    (one.transport, one.id, one.remote) == (other.transport, other.id, other.remote)
}

fn tell(flow: &Flow, why: &'static str) {
    tracing::info!(
        "{} flow to {}: it is gone: {why}",
        flow.transport.as_str().to_ascii_lowercase(),
        flow.remote
    );
}

impl SipStack {
    /// Sends the keep-alives that are due; `true` if the endpoint got an input.
    pub(super) fn poll_held(&mut self, cx: &mut Context<'_>) -> bool {
        let mut fed = false;
        loop {
            let now = Instant::now();
            fed |= self.ask_held(now);
            let Some(due) = self.held.flows.iter().map(|(_, it)| it.due()).min() else { return fed };
            let timer = self.held.timer.get_or_insert_with(|| Box::pin(tokio::time::sleep(Duration::ZERO)));
            if self.held.armed.replace(due) != Some(due) {
                timer.as_mut().reset(due.into());
            }
            if timer.as_mut().poll(cx) == Poll::Pending {
                return fed;
            }
            self.held.armed = None;
        }
    }

    fn ask_held(&mut self, now: Instant) -> bool {
        let mut lost = Vec::new();
        let (udp, connections) = (&self.udp, &mut self.connections);
        self.held.flows.retain_mut(|(flow, it)| match it.timeout(now) {
            Order::Nothing => true,
            Order::Ping => match connections.ping(flow.id.0) {
                Queued::Yes => true,
                // The endpoint was told already.
                Queued::NoConnection => false,
                Queued::NotReading => {
                    lost.push((*flow, "it does not read"));
                    false
                }
            },
            Order::Ask(transaction) => {
                let port = usize::try_from(flow.id.0).ok().and_then(|index| udp.get(index));
                // A failed send counts as a lost request.
                let request = Bytes::copy_from_slice(&message::request(&transaction));
                let _ = port.map(|port: &UdpPort| port.send(&request, flow.remote));
                true
            }
            Order::Lost(why) => {
                lost.push((*flow, why));
                false
            }
        });
        for (flow, why) in &lost {
            tell(flow, why);
            match flow.transport {
                Transport::Udp => self.input(Input::FlowLost { flow: *flow }),
                _ => {
                    self.connections.displace(flow.id.0);
                    self.input(Input::FlowClosed { flow: *flow });
                }
            }
        }
        !lost.is_empty()
    }
}
