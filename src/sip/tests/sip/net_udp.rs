//! UDP at the stack: closed ports, and calls during a flood.

use std::io::Read;
use std::net::{SocketAddr, TcpStream, UdpSocket};
use std::time::{Duration, Instant};

use crate::stack::{PATIENCE, Stack};
use b2b_sip::endpoint::{Event, Reply, Termination, Transport};
use b2b_sip::net::budget::Rate;
use b2b_sip::net::{Ban, NetConfig, NetLimits};

fn udp(bind: &str) -> UdpSocket {
    let socket = UdpSocket::bind(bind).expect("socket");
    socket.set_read_timeout(Some(PATIENCE)).expect("timeout");
    socket
}

fn receive(socket: &UdpSocket) -> String {
    let mut buffer = [0; 65_535];
    let length = socket.recv(&mut buffer).expect("a message");
    String::from_utf8_lossy(&buffer[..length]).into_owned()
}

/// Not after 32 s (Timer B), which would be `NoResponse`.
#[test]
fn a_call_to_a_port_where_nobody_is_fails_at_once() {
    for bind in ["127.0.0.1:0", "[::1]:0"] {
        let stack = Stack::start(NetConfig::new(bind.parse().expect("address")));
        let dead = udp(bind).local_addr().expect("address");
        stack.dial(format!("sip:far@{dead}"));
        assert!(matches!(stack.ended(), Termination::Unreachable), "{bind}");
        stack.wait_for("it was counted", |counters, _| counters.undelivered >= 1);
    }
}

/// The ICMP error left on the socket must not be attributed to the next datagram.
#[test]
fn a_dead_port_costs_other_peers_no_message() {
    let stack = Stack::start(NetConfig::new("127.0.0.1:0".parse().expect("address")));
    let alive = udp("127.0.0.1:0");
    for n in 0..50 {
        let dead = udp("127.0.0.1:0").local_addr().expect("address");
        stack.dial(format!("sip:far@{dead}"));
        stack.dial(format!("sip:n{n}@{}", alive.local_addr().expect("address")));
        let first = receive(&alive);
        assert!(first.starts_with(&format!("INVITE sip:n{n}@")), "the first copy of it came: {first}");
        let fields: Vec<&str> = first.lines().filter(|line| !line.starts_with("INVITE")).collect();
        let head: Vec<&str> = ["Via", "From", "To", "Call-ID", "CSeq"]
            .iter()
            .filter_map(|name| fields.iter().find(|line| line.starts_with(&format!("{name}: "))).copied())
            .collect();
        let busy = format!("SIP/2.0 486 Busy\r\n{}\r\nContent-Length: 0\r\n\r\n", head.join("\r\n"));
        alive.send_to(busy.as_bytes(), stack.at(Transport::Udp)).expect("sent");
        // ACK, possibly after a retransmission of the INVITE.
        while !receive(&alive).starts_with("ACK ") {}
    }
    assert_eq!(stack.run(|stack| stack.counters().send_errors), 0);
}

fn request(method: &str, from: SocketAddr, to_tag: &str, n: u32) -> String {
    format!(
        "{method} sip:x@h SIP/2.0\r\nVia: SIP/2.0/UDP {from};branch=z9hG4bK{method}{n}\r\n\
         From: <sip:a@h>;tag=a\r\nTo: <sip:x@h>{to_tag}\r\nCall-ID: the-call\r\nCSeq: {n} {method}\r\n\
         Max-Forwards: 70\r\nContact: <sip:a@{from}>\r\nContent-Length: 0\r\n\r\n"
    )
}

/// A phone that has called from this address, and our tag in its call.
fn ringing(stack: &Stack, phone: &UdpSocket) -> String {
    let from = phone.local_addr().expect("address");
    phone.send_to(request("INVITE", from, "", 1).as_bytes(), stack.at(Transport::Udp)).expect("sent");
    let event = stack.events.recv_timeout(PATIENCE).expect("INVITE");
    let Event::Incoming { usage, .. } = event else { panic!("{event:?}") };
    stack.run(move |stack| {
        let now = stack.now();
        stack.endpoint().reply(now, usage, Reply::status(180)).expect("ringing");
    });
    let ringing = loop {
        let message = receive(phone);
        if message.starts_with("SIP/2.0 180") {
            break message;
        }
    };
    let line = ringing.lines().find(|line| line.starts_with("To: ")).expect("To");
    line.split_once(";tag=").expect("tag").1.to_owned()
}

/// A phone with the same address as a flood.
#[test]
fn a_call_that_is_up_goes_on_beside_a_flood_from_its_address() {
    let limits = NetLimits { per_source: Rate { per_second: 1, burst: 10 }, ..NetLimits::default() };
    let bind: SocketAddr = "127.0.0.1:0".parse().expect("address");
    let stack = Stack::start(NetConfig { limits, ..NetConfig::new(bind) });
    let to = stack.at(Transport::Udp);
    let (phone, flooder) = (udp("127.0.0.1:0"), udp("127.0.0.1:0"));
    let from = phone.local_addr().expect("address");
    let tag = ringing(&stack, &phone);
    for n in 0..200u32 {
        flooder.send_to(format!("junk {n}").repeat(20).as_bytes(), to).expect("sent");
    }
    stack.wait_for("the budget is spent", |counters, _| counters.over_budget > 50);
    flooder.send_to(request("OPTIONS", from, "", 2).as_bytes(), to).expect("sent");
    flooder.send_to(request("BYE", from, ";tag=0000000000ffffffffffffffff", 3).as_bytes(), to).expect("sent");
    let dropped = stack.run(|stack| stack.counters().over_budget);
    phone.send_to(request("BYE", from, &format!(";tag={tag}"), 4).as_bytes(), to).expect("sent");
    assert!(matches!(stack.ended(), Termination::RemoteCancel { .. }), "BYE came through");
    stack.wait_for("nothing else did", |counters, _| counters.over_budget >= dropped);
    // Received by the phone: responses to its BYE and INVITE, none to the flood.
    let answers = [receive(&phone), receive(&phone)].concat();
    assert!(answers.contains("200 OK") && answers.contains("487"), "{answers}");
}

#[test]
fn of_a_banned_source_only_what_belongs_to_a_call_is_read_until_the_ban_is_lifted() {
    let stack = Stack::start(NetConfig::new("127.0.0.1:0".parse().expect("address")));
    let to = stack.at(Transport::Udp);
    let (phone, other) = (udp("127.0.0.1:0"), udp("127.0.0.2:0"));
    let from = phone.local_addr().expect("address");
    let tag = ringing(&stack, &phone);
    let until = Instant::now() + Duration::from_secs(3_600);
    let ban = Ban { source: from.ip(), until: Some(until) };
    stack.run(move |stack| stack.ban(ban));
    let read = stack.run(|stack| stack.counters().received);
    phone.send_to(request("OPTIONS", from, "", 2).as_bytes(), to).expect("sent");
    phone.send_to(request("BYE", from, ";tag=0000000000ffffffffffffffff", 3).as_bytes(), to).expect("sent");
    stack.wait_for("both are dropped", |counters, _| counters.banned == 2 && counters.received == read);
    // A connection is only closed.
    let mut stream = TcpStream::connect(stack.at(Transport::Tcp)).expect("the kernel takes it");
    stream.set_read_timeout(Some(PATIENCE)).expect("a timeout");
    assert_eq!(stream.read(&mut [0; 16]).unwrap_or(0), 0);
    assert_eq!(stack.run(|stack| stack.counters().connections_refused), 1);
    let elsewhere = other.local_addr().expect("address");
    other.send_to(request("OPTIONS", elsewhere, "", 4).as_bytes(), to).expect("sent");
    assert!(receive(&other).starts_with("SIP/2.0 200"));
    phone.send_to(request("BYE", from, &format!(";tag={tag}"), 5).as_bytes(), to).expect("sent");
    assert!(matches!(stack.ended(), Termination::RemoteCancel { .. }), "BYE came through");
    stack.run(move |stack| stack.ban(Ban { until: None, ..ban }));
    phone.send_to(request("OPTIONS", from, "", 6).as_bytes(), to).expect("sent");
    while !receive(&phone).contains("CSeq: 6 OPTIONS") {}
}
