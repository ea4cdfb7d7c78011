//! A system under test: a bridge that passes SIP messages between caller and callee, with its own address in
//! Contact and SDP; or an echo that answers calls itself.

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

use tokio::net::UdpSocket;
use tokio::runtime::Runtime;

use super::plan::{Fault, Plan, Side};
use super::relay::{Call, Calls};

const NAP: Duration = Duration::from_millis(5);
const PACKET: Duration = Duration::from_millis(20);
/// Total stall time that does not change the results of a run: five packets.
const STALLED: Duration = Duration::from_millis(100);

/// Runs until it is dropped.
pub struct Bridge {
    pub local: SocketAddr,
    /// Total stall time, µs.
    stalled_us: Arc<AtomicU64>,
    _runtime: Runtime,
}

impl Bridge {
    /// Starts a bridge to this callee; without one, an echo.
    pub fn start(plan: Plan, callee: Option<SocketAddr>) -> Bridge {
        let mut builder = tokio::runtime::Builder::new_multi_thread();
        let runtime = builder.worker_threads(1).enable_all().build().unwrap();
        let socket = runtime.block_on(UdpSocket::bind("127.0.0.1:0")).unwrap();
        let local = socket.local_addr().unwrap();
        let calls = Calls::new(plan, callee.is_none());
        runtime.spawn(serve(socket, local, callee, calls));
        let stalled_us = Arc::new(AtomicU64::new(0));
        runtime.spawn(sleep(stalled_us.clone()));
        Bridge { local, stalled_us, _runtime: runtime }
    }

    /// Whether the machine stalled it: such delays of calls were not planted.
    pub fn was_late(&self) -> bool {
        Duration::from_micros(self.stalled_us.load(Relaxed)) > STALLED
    }
}

/// Sleeps repeatedly, and counts delays longer than a packet.
async fn sleep(stalled_us: Arc<AtomicU64>) {
    loop {
        let began = Instant::now();
        tokio::time::sleep(NAP).await;
        let longer = began.elapsed().saturating_sub(NAP);
        if longer > PACKET {
            stalled_us.fetch_add(longer.as_micros() as u64, Relaxed);
        }
    }
}

async fn serve(socket: UdpSocket, local: SocketAddr, callee: Option<SocketAddr>, calls: Arc<Calls>) {
    let mut known: HashMap<String, (SocketAddr, Arc<Call>)> = HashMap::new();
    let mut buffer = vec![0; 65_535];
    loop {
        let Ok((length, from)) = socket.recv_from(&mut buffer).await else { continue };
        let message = String::from_utf8_lossy(&buffer[..length]).into_owned();
        let Some(call_id) = field(&message, "Call-ID").map(str::to_owned) else { continue };
        if message.starts_with("INVITE ") && !known.contains_key(&call_id) {
            let Some(number) = number(&message) else { continue };
            known.insert(call_id.clone(), (from, calls.begin(number).await));
        }
        let Some((caller, call)) = known.get(&call_id) else { continue };
        if message.starts_with("ACK ") && calls.fault(call.number) == Some(Fault::NoAck) {
            continue;
        }
        let side = if Some(from) == callee { Side::Callee } else { Side::Caller };
        let (to, sent) = match callee {
            None => (*caller, echo(&message, call, local)),
            Some(callee) if side == Side::Caller => (callee, Some(bridged(&message, side, call, local))),
            Some(_) => (*caller, Some(bridged(&message, side, call, local))),
        };
        if let Some(sent) = sent {
            let _ = socket.send_to(sent.as_bytes(), to).await;
        }
        let request = message.starts_with("BYE ");
        let answered = field(&message, "CSeq").is_some_and(|cseq| cseq.ends_with(" BYE")) && !request;
        if answered || request && calls.echo {
            calls.end(call);
            known.remove(&call_id);
        }
    }
}

fn field<'a>(message: &'a str, name: &str) -> Option<&'a str> {
    message.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": "))
}

/// The number of the call in the dialled number: after the two digits of the route.
fn number(invite: &str) -> Option<u64> {
    let dialled = invite.strip_prefix("INVITE sip:")?.split('@').next()?;
    dialled.get(2..)?.parse().ok()
}

/// A message as sent to the other side.
fn bridged(message: &str, from: Side, call: &Call, local: SocketAddr) -> String {
    let (head, body) = message.split_once("\r\n\r\n").unwrap_or((message, ""));
    let to = if from == Side::Caller { Side::Callee } else { Side::Caller };
    let body = if body.contains("m=audio ") { described(body, (from, to), call) } else { body.to_owned() };
    let mut sent = String::new();
    for line in head.split("\r\n") {
        match line.split_once(": ") {
            Some(("Contact", _)) => sent.push_str(&format!("Contact: <sip:bridge@{local}>\r\n")),
            Some(("Content-Length", _)) => sent.push_str(&format!("Content-Length: {}\r\n", body.len())),
            _ => sent.push_str(&format!("{line}\r\n")),
        }
    }
    format!("{sent}\r\n{body}")
}

/// A description with the port to which its recipient sends.
fn described(sdp: &str, (from, to): (Side, Side), call: &Call) -> String {
    let line = |start: &str| sdp.lines().find_map(|line| line.strip_prefix(start));
    let ip: IpAddr = line("c=IN IP4 ").unwrap().parse().unwrap();
    let port = line("m=audio ").and_then(|rest| rest.split(' ').next()).unwrap();
    call.receives(from, SocketAddr::new(ip, port.parse().unwrap()));
    sdp.replace(&format!("m=audio {port} "), &format!("m=audio {} ", call.port(to)))
}

/// The response of an echo.
fn echo(request: &str, call: &Call, local: SocketAddr) -> Option<String> {
    if request.starts_with("ACK ") {
        return None;
    }
    let body = match request.split_once("\r\n\r\n") {
        Some((_, offer)) if request.starts_with("INVITE ") => {
            described(offer, (Side::Caller, Side::Caller), call)
        }
        _ => String::new(),
    };
    let mut sent = "SIP/2.0 200 OK\r\n".to_owned();
    for name in ["Via", "From", "To", "Call-ID", "CSeq"] {
        let value = field(request, name)?;
        let tag = if name == "To" && !value.contains(";tag=") { ";tag=echo" } else { "" };
        sent.push_str(&format!("{name}: {value}{tag}\r\n"));
    }
    let kind = if body.is_empty() { "" } else { "Content-Type: application/sdp\r\n" };
    let length = body.len();
    Some(format!("{sent}Contact: <sip:echo@{local}>\r\n{kind}Content-Length: {length}\r\n\r\n{body}"))
}
