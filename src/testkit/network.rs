//! Datagrams in flight: delayed, lost and duplicated, reproducibly by a seed.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use bytes::Bytes;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

/// The impairment of the network.
#[derive(Debug, Clone, Copy)]
pub struct Network {
    /// Probability that a datagram is lost.
    pub loss: f64,
    /// Probability that it is duplicated.
    pub duplicate: f64,
    /// One-way delay, between these, ms; different values cause reordering.
    pub delay_ms: (u64, u64),
    /// The same seed loses, duplicates and delays the same datagrams.
    pub seed: u64,
}

impl Network {
    /// A delay of one millisecond, without loss.
    pub const QUIET: Network = Network { loss: 0.0, duplicate: 0.0, delay_ms: (1, 1), seed: 1 };
}

/// A sent message.
#[derive(Debug, Clone)]
pub struct Sent {
    /// Time since the start.
    pub at: Duration,
    /// Address and port of the sender.
    pub from: SocketAddr,
    /// Address and port of the receiver.
    pub to: SocketAddr,
    /// The message on the wire, after the middlebox.
    pub data: Bytes,
}

impl Sent {
    /// The message as text.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.data).into_owned()
    }

    /// Its first line.
    pub fn line(&self) -> String {
        self.text().lines().next().unwrap_or_default().to_owned()
    }

    /// The value of a header field.
    pub fn field(&self, name: &str) -> Option<String> {
        let text = self.text();
        let mut fields = text.lines().filter_map(|line| line.split_once(':'));
        let found = fields.find(|(field, _)| field.eq_ignore_ascii_case(name));
        found.map(|(_, value)| value.trim().to_owned())
    }
}

#[derive(PartialEq, Eq, PartialOrd, Ord)]
struct Flight {
    at: Instant,
    order: u64,
    to: SocketAddr,
    from: SocketAddr,
    data: Bytes,
}

pub(super) struct Flights {
    network: Network,
    random: StdRng,
    heap: BinaryHeap<Reverse<Flight>>,
    order: u64,
}

impl Flights {
    pub fn new(network: Network) -> Self {
        Flights { network, random: StdRng::seed_from_u64(network.seed), heap: BinaryHeap::new(), order: 0 }
    }

    pub fn send(&mut self, now: Instant, from: SocketAddr, to: SocketAddr, data: Bytes) {
        if self.random.random_bool(self.network.loss) {
            return;
        }
        let copies = if self.random.random_bool(self.network.duplicate) { 2 } else { 1 };
        for _ in 0..copies {
            let (least, most) = self.network.delay_ms;
            let delay = Duration::from_millis(self.random.random_range(least..=most));
            self.order += 1;
            self.heap.push(Reverse(Flight {
                at: now + delay,
                order: self.order,
                to,
                from,
                data: data.clone(),
            }));
        }
    }

    pub fn next(&self) -> Option<Instant> {
        self.heap.peek().map(|Reverse(flight)| flight.at)
    }

    pub fn arrived(&mut self, now: Instant) -> Option<(SocketAddr, SocketAddr, Bytes)> {
        self.heap.peek().filter(|Reverse(flight)| flight.at <= now)?;
        self.heap.pop().map(|Reverse(flight)| (flight.to, flight.from, flight.data))
    }
}
