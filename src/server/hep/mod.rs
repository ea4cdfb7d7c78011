//! SIP messages to a HEP collector (Homer, and others that speak HEPv3): copies are sent over UDP, from a
//! thread of their own. The calls' thread only puts a message into a bounded queue and never blocks; messages
//! that find it full are dropped and counted.
//!
//! - `packet`: a message as a packet

mod packet;

use std::convert::Infallible;
use std::io;
use std::net::{SocketAddr, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::{Instant, SystemTime};

use crossbeam_channel::{Receiver, Sender, bounded, select};

use crate::config::{Hep, HepCalls};
use b2b_base::util::wall::WallClock;
use b2b_call::switch::Mirror;
use b2b_sip::endpoint::Transport;
use b2b_sip::msg::veil::without_secrets;
use b2b_sip::net::call_id_of;
use b2b_sip::net::tap::{Direction, Seen};
use packet::{Agent, Passed, encode};

/// Maximum queued messages: half a second at 500 calls a second.
const WAITING: usize = 4_096;

/// Messages by result.
#[derive(Debug, Default)]
struct Counted {
    sent: AtomicU64,
    dropped: AtomicU64,
    too_long: AtomicU64,
    failed: AtomicU64,
}

/// Counters since the start.
#[derive(Debug, Clone, Default)]
pub struct HepCounters(Arc<Counted>);

impl HepCounters {
    /// By result: sent, dropped for lack of room in the queue, too long for a packet, refused by the system.
    pub fn get(&self) -> [(&'static str, u64); 4] {
        let of = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let it = &self.0;
        [
            ("sent", of(&it.sent)),
            ("dropped", of(&it.dropped)),
            ("too_long", of(&it.too_long)),
            ("failed", of(&it.failed)),
        ]
    }
}

/// The sending thread. When this is dropped, the thread sends what is queued, and ends.
pub struct Exporter {
    stop: Option<Sender<Infallible>>,
    thread: Option<JoinHandle<()>>,
}

impl Exporter {
    /// Starts the exporter. The returned mirror is to be called with each message.
    ///
    /// # Errors
    /// If the system gives no socket or no thread, in words.
    pub fn start(config: &Hep, counters: &HepCounters) -> Result<(Exporter, Mirror), String> {
        let refused = |error: io::Error| {
            format!("cannot send HEP to {}: {error}; check hep.collector", config.collector)
        };
        let any = match config.collector {
            SocketAddr::V4(_) => SocketAddr::from(([0, 0, 0, 0], 0)),
            SocketAddr::V6(_) => SocketAddr::from(([0u16; 8], 0)),
        };
        let socket = UdpSocket::bind(any).map_err(refused)?;
        socket.connect(config.collector).map_err(refused)?;
        let (sender, waiting) = bounded::<Seen>(WAITING);
        let (theirs, ours) = (counters.clone(), counters.clone());
        let (id, password) = (config.capture_id, config.password.clone());
        let (stop, stopped) = bounded::<Infallible>(0);
        let run = move || {
            let agent = Agent { id, password: password.as_ref().map(|it| it.reveal()) };
            send(&socket, &waiting, &stopped, agent, &theirs);
        };
        let thread = std::thread::Builder::new().name("hep".into()).spawn(run).map_err(refused)?;
        let captured_only = config.calls == HepCalls::Captured;
        let mirror = mirror(sender, ours, captured_only);
        Ok((Exporter { stop: Some(stop), thread: Some(thread) }, mirror))
    }
}

impl Drop for Exporter {
    fn drop(&mut self) {
        drop(self.stop.take());
        if self.thread.take().is_some_and(|thread| thread.join().is_err()) {
            tracing::error!("the thread that sends HEP panicked");
        }
    }
}

fn mirror(sender: Sender<Seen>, counters: HepCounters, captured_only: bool) -> Mirror {
    Box::new(move |seen, captured| {
        if (captured || !captured_only) && sender.try_send(seen.clone()).is_err() {
            counters.0.dropped.fetch_add(1, Ordering::Relaxed);
        }
    })
}

/// Sends messages until it is told to stop or all senders are gone; then sends what is queued.
fn send(
    socket: &UdpSocket,
    waiting: &Receiver<Seen>,
    stopped: &Receiver<Infallible>,
    agent: Agent<'_>,
    counters: &HepCounters,
) {
    let clock = WallClock::new(Instant::now(), SystemTime::now());
    let wait = || {
        select! {
            recv(waiting) -> seen => seen.ok(),
            recv(stopped) -> _ => waiting.try_recv().ok(),
        }
    };
    while let Some(seen) = wait() {
        let (from, to) = match seen.direction {
            Direction::Sent => (seen.flow.local, seen.flow.remote),
            Direction::Received => (seen.flow.remote, seen.flow.local),
        };
        let message = without_secrets(&seen.data);
        let passed = Passed {
            at: clock.time_of(seen.at),
            from,
            to,
            udp: seen.flow.transport == Transport::Udp,
            correlation: call_id_of(&message).unwrap_or_default(),
            message: &message,
        };
        let counter = match encode(&passed, agent).map(|packet| socket.send(&packet)) {
            Some(Ok(_)) => &counters.0.sent,
            // Such as no listener there: the next one may get through.
            Some(Err(_)) => &counters.0.failed,
            None => &counters.0.too_long,
        };
        counter.fetch_add(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;
    use b2b_sip::endpoint::{Flow, FlowId};

    fn seen() -> Seen {
        let address = "127.0.0.1:5060".parse().unwrap();
        let flow = Flow { transport: Transport::Udp, local: address, remote: address, id: FlowId(1) };
        Seen { at: Instant::now(), direction: Direction::Sent, flow, data: Bytes::from_static(b"BYE") }
    }

    #[test]
    fn a_full_queue_drops_and_counts_and_nobody_waits() {
        let (sender, waiting) = bounded(2);
        let counters = HepCounters::default();
        let mut all = mirror(sender.clone(), counters.clone(), false);
        (0..5).for_each(|_| all(&seen(), false));
        assert_eq!((waiting.len(), counters.get()[1]), (2, ("dropped", 3)));
        waiting.try_iter().for_each(drop);
        let mut captured = mirror(sender, counters.clone(), true);
        captured(&seen(), false);
        captured(&seen(), true);
        assert_eq!((waiting.len(), counters.get()[1].1), (1, 3));
    }

    #[test]
    fn the_call_id_is_found_in_both_forms() {
        for (message, expected) in [
            ("INVITE sip:a SIP/2.0\r\nVia: x\r\ncall-id : a@b \r\n\r\n", "a@b"),
            ("SIP/2.0 200 OK\r\ni:7\r\n\r\n", "7"),
            ("SIP/2.0 200 OK\r\nVia: x\r\n\r\nCall-ID: body", ""),
            ("", ""),
        ] {
            let found = call_id_of(message.as_bytes()).unwrap_or_default();
            assert_eq!(found, expected.as_bytes(), "{message:?}");
        }
    }
}
