//! Flows that are kept alive, by the stack's sockets.

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

/// The flows. A server has some with each gateway.
#[derive(Default)]
pub(super) struct Held {
    flows: Vec<(Flow, KeepAlive)>,
    timer: Option<Pin<Box<Sleep>>>,
    /// For when that is.
    armed: Option<Instant>,
}

/// What has become of a datagram.
pub(super) enum Taken {
    /// It is somebody else's.
    No,
    Yes,
    /// It says that this flow is gone.
    Lost(Flow),
}

impl Held {
    /// Keeps a flow, by an interval that is no longer than one that was asked for before, or no more.
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

    /// The peer of a connection has answered a ping.
    pub fn pong(&mut self, now: Instant, id: u64) {
        let found = self.flows.iter_mut().find(|(its, _)| its.transport.is_reliable() && its.id.0 == id);
        if let Some((_, it)) = found {
            it.pong(now);
        }
    }

    /// A datagram has come to this socket, from there.
    pub fn takes(&mut self, now: Instant, (index, from): (usize, SocketAddr), datagram: &[u8]) -> Taken {
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

/// Of a flow over UDP `local` may be looked up anew.
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
    /// Asks whom it is time to ask; whether the endpoint was told something.
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
                // The endpoint knows.
                Queued::NoConnection => false,
                Queued::NotReading => {
                    lost.push((*flow, "it does not read"));
                    false
                }
            },
            Order::Ask(transaction) => {
                let port = usize::try_from(flow.id.0).ok().and_then(|index| udp.get(index));
                // One that is not taken is as good as lost.
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
