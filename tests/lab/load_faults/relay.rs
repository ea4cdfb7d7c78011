//! The media of the bridge: two sockets per call, and the faults between them.

use std::collections::{HashMap, VecDeque};
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, Mutex, OnceLock};
use std::time::Duration;

use rand::rngs::SmallRng;
use rand::{RngExt, SeedableRng};
use tokio::net::UdpSocket;
use tokio::time::{Instant, sleep_until};

use super::plan::{Fault, Plan, Side};

const ADDED: Duration = Duration::from_millis(80);
const LOST: f64 = 0.08;
const JITTER_MS: u64 = 8;
/// Interval at which the end of a call is checked.
const LOOK: Duration = Duration::from_millis(500);

/// A call's media.
pub struct Call {
    pub number: u64,
    /// The socket towards each party, and the party's address.
    legs: [(UdpSocket, OnceLock<SocketAddr>); 2],
    pub over: AtomicBool,
}

type Payloads = Vec<Vec<u8>>;

/// The media of all calls.
pub struct Calls {
    plan: Plan,
    /// Callers hear themselves.
    pub echo: bool,
    under_way: Mutex<HashMap<u64, Arc<Call>>>,
    /// Payloads sent by parties, for calls that are replayed.
    said: Mutex<HashMap<(u64, usize), Payloads>>,
}

impl Side {
    fn other(self) -> Side {
        match self {
            Side::Caller => Side::Callee,
            Side::Callee => Side::Caller,
        }
    }
}

impl Call {
    fn leg(&self, side: Side) -> &(UdpSocket, OnceLock<SocketAddr>) {
        &self.legs[side as usize]
    }

    /// The port to which a party sends.
    pub fn port(&self, of: Side) -> u16 {
        self.leg(of).0.local_addr().unwrap().port()
    }

    /// Sets the address at which a party receives.
    pub fn receives(&self, side: Side, at: SocketAddr) {
        let _ = self.leg(side).1.set(at);
    }
}

impl Calls {
    pub fn new(plan: Plan, echo: bool) -> Arc<Calls> {
        Arc::new(Calls { plan, echo, under_way: Mutex::default(), said: Mutex::default() })
    }

    /// The fault of a call.
    pub fn fault(&self, number: u64) -> Option<Fault> {
        self.plan.faults.get(&number).copied()
    }

    /// Begins a call.
    pub async fn begin(self: &Arc<Self>, number: u64) -> Arc<Call> {
        let leg = async || (UdpSocket::bind("127.0.0.1:0").await.unwrap(), OnceLock::new());
        let legs = [leg().await, leg().await];
        let call = Arc::new(Call { number, legs, over: AtomicBool::new(false) });
        self.under_way.lock().unwrap().insert(number, call.clone());
        for from in [Side::Caller, Side::Callee] {
            tokio::spawn(relay(self.clone(), call.clone(), from));
        }
        call
    }

    pub fn end(&self, call: &Call) {
        call.over.store(true, Relaxed);
        self.under_way.lock().unwrap().remove(&call.number);
    }

    fn under_way(&self, number: u64) -> Option<Arc<Call>> {
        self.under_way.lock().unwrap().get(&number).cloned()
    }
}

/// Forwards the packets of one party of a call to the party that is to hear them.
async fn relay(calls: Arc<Calls>, call: Arc<Call>, from: Side) {
    let to = if calls.echo { from } else { from.other() };
    let fault = calls.fault(call.number);
    let mut chance = SmallRng::seed_from_u64(call.number);
    let mut queue: VecDeque<(Instant, Vec<u8>)> = VecDeque::new();
    let (mut buffer, mut played) = ([0; 2_048], 0);
    loop {
        let next = queue.front().map_or_else(|| Instant::now() + LOOK, |(at, _)| *at);
        let length = tokio::select! {
            received = call.leg(from).0.recv(&mut buffer) => received.unwrap_or(0),
            () = sleep_until(next) => 0,
        };
        let now = Instant::now();
        let mut packet = buffer[..length].to_vec();
        let mut due = now;
        let payload = payload_at(&packet);
        if let Some(at) = payload.filter(|_| calls.plan.recorded.contains(&call.number)) {
            let mut said = calls.said.lock().unwrap();
            said.entry((call.number, from as usize)).or_default().push(packet[at..].to_vec());
        }
        match fault {
            Some(Fault::OneWay { deaf }) if deaf == to => packet.clear(),
            Some(Fault::Loss) if chance.random_bool(LOST) => packet.clear(),
            Some(Fault::Loss) => due += Duration::from_millis(chance.random_range(0..JITTER_MS)),
            Some(Fault::Late) => due += ADDED,
            Some(Fault::Stale { of, to: hears }) if hears == to => {
                let said = calls.said.lock().unwrap();
                if let (Some(at), Some(old)) = (payload, said.get(&(of, from as usize))) {
                    packet.truncate(at);
                    packet.extend(&old[played % old.len()]);
                    played += 1;
                }
            }
            _ => {}
        }
        if !packet.is_empty() {
            // packets stay in order
            let due = queue.back().map_or(due, |(last, _)| due.max(*last));
            queue.push_back((due, packet));
        }
        while queue.front().is_some_and(|(at, _)| *at <= now) {
            let Some((_, packet)) = queue.pop_front() else { break };
            let heard_in = match fault {
                Some(Fault::Crossed { with }) if to == Side::Caller => calls.under_way(with),
                Some(Fault::Swapped { with }) => calls.under_way(with),
                _ => Some(call.clone()),
            };
            let place = heard_in.as_ref().and_then(|it| Some((&it.leg(to).0, *it.leg(to).1.get()?)));
            if let Some((socket, to)) = place {
                let _ = socket.send_to(&packet, to).await;
            }
        }
        if call.over.load(Relaxed) && queue.is_empty() && length == 0 {
            return;
        }
    }
}

/// The position of the payload in an RTP packet; `None` for RTCP (RFC 5761 §4), or anything else.
fn payload_at(packet: &[u8]) -> Option<usize> {
    let (first, kind) = (*packet.first()?, *packet.get(1)?);
    if first >> 6 != 2 || (72..=76).contains(&(kind & 0x7f)) {
        return None;
    }
    let at = 12 + 4 * usize::from(first & 0x0f);
    if first & 0x10 == 0 {
        return Some(at);
    }
    let words = u16::from_be_bytes([*packet.get(at + 2)?, *packet.get(at + 3)?]);
    Some(at + 4 + 4 * usize::from(words)).filter(|at| *at <= packet.len())
}
