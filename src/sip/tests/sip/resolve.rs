//! Names to servers (RFC 3263) with our own name server, and calls whose first server is
//! unavailable.

use std::net::{Ipv4Addr, SocketAddr, TcpListener, UdpSocket};

use crate::stack::{PATIENCE, Stack};
use b2b_sip::endpoint::{Termination, Transport};
use b2b_sip::net::{NameService, NetConfig};
use b2b_test_support::dns::{NameServer, Zone};
use b2b_test_support::tls::{answer, field, options, read_message, send};

fn start(names: &NameServer) -> Stack {
    let any: SocketAddr = "127.0.0.1:0".parse().expect("address");
    Stack::start(NetConfig { names: NameService::Dns(Some(names.addr)), ..NetConfig::new(any) })
}

fn udp() -> (UdpSocket, u16) {
    let socket = UdpSocket::bind("127.0.0.1:0").expect("socket");
    socket.set_read_timeout(Some(PATIENCE)).expect("timeout");
    let port = socket.local_addr().expect("address").port();
    (socket, port)
}

fn receive(socket: &UdpSocket) -> (String, SocketAddr) {
    let mut buffer = [0; 65_535];
    let (length, from) = socket.recv_from(&mut buffer).expect("a message");
    (String::from_utf8_lossy(&buffer[..length]).into_owned(), from)
}

/// The next INVITE that is not a retransmission of the last one.
fn invite(socket: &UdpSocket) -> (String, SocketAddr) {
    loop {
        let (message, from) = receive(socket);
        if message.starts_with("INVITE ") {
            return (message, from);
        }
    }
}

fn refuse(socket: &UdpSocket, (invite, from): &(String, SocketAddr), status: &str) {
    socket.send_to(answer(invite, status, "", "").as_bytes(), from).expect("sent");
}

fn services(first: u16, second: u16) -> Zone {
    Zone::default()
        .srv("_sip._udp.example.test", 10, first, "one.example.test")
        .srv("_sip._udp.example.test", 20, second, "two.example.test")
        .a("one.example.test", Ipv4Addr::LOCALHOST)
        .a("two.example.test", Ipv4Addr::LOCALHOST)
}

#[test]
fn naptr_and_srv_say_by_which_transport_and_where() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("listener");
    let port = listener.local_addr().expect("address").port();
    let zone = Zone::default()
        .naptr("example.test", 10, "SIP+D2T", "_sip._tcp.example.test")
        .naptr("example.test", 20, "SIP+D2U", "_sip._udp.example.test")
        .srv("_sip._tcp.example.test", 1, port, "host.example.test")
        .a("host.example.test", Ipv4Addr::LOCALHOST);
    let names = NameServer::start(Some(zone));
    let stack = start(&names);
    stack.dial("sip:far@example.test".to_owned());
    let (mut stream, _) = listener.accept().expect("connection");
    stream.set_read_timeout(Some(PATIENCE)).expect("timeout");
    let invite = read_message(&mut stream);
    assert!(invite.starts_with("INVITE sip:far@example.test SIP/2.0"), "{invite}");
    assert!(field(&invite, "Via").starts_with("SIP/2.0/TCP "), "{invite}");
    send(&mut stream, &answer(&invite, "486 Busy Here", "", ""));
    assert!(matches!(stack.ended(), Termination::Failed { .. }));

    let asked = names.questions();
    stack.dial("sip:far@example.test".to_owned());
    assert!(read_message(&mut stream).starts_with("ACK "));
    assert!(read_message(&mut stream).starts_with("INVITE "), "the connection is used again");
    assert_eq!(names.questions(), asked, "records are kept for as long as they say");
}

#[test]
fn a_call_goes_past_a_dead_server_at_once() {
    let (dead, dead_port) = udp();
    drop(dead);
    let (alive, port) = udp();
    let names = NameServer::start(Some(services(dead_port, port)));
    let stack = start(&names);
    stack.dial("sip:far@example.test".to_owned());
    let first = invite(&alive);
    refuse(&alive, &first, "486 Busy Here");
    let Termination::Failed { response } = stack.ended() else { panic!("no answer") };
    assert_eq!(response.status(), 486);
    stack.wait_for("ICMP was heard once", |counters, _| counters.undelivered == 1);

    stack.dial("sip:far@example.test".to_owned());
    let second = loop {
        let next = invite(&alive);
        if field(&next.0, "Call-ID") != field(&first.0, "Call-ID") {
            break next;
        }
    };
    refuse(&alive, &second, "486 Busy Here");
    assert!(matches!(stack.ended(), Termination::Failed { .. }));
    stack.wait_for("the dead one was left alone", |counters, _| counters.undelivered == 1);
}

#[test]
fn a_503_of_one_server_leads_to_the_next_with_the_same_call() {
    let ((one, first), (two, second)) = (udp(), udp());
    let names = NameServer::start(Some(services(first, second)));
    let stack = start(&names);
    stack.dial("sip:far@example.test".to_owned());
    let refused = invite(&one);
    refuse(&one, &refused, "503 Service Unavailable");
    let taken = invite(&two);
    for name in ["Call-ID", "CSeq", "From"] {
        assert_eq!(field(&refused.0, name), field(&taken.0, name));
    }
    assert_ne!(field(&refused.0, "Via"), field(&taken.0, "Via"));
    loop {
        // Retransmissions of the INVITE may have been under way.
        let (message, _) = receive(&one);
        if message.starts_with("ACK ") {
            break;
        }
    }
    refuse(&two, &taken, "404 Not Found");
    let Termination::Failed { response } = stack.ended() else { panic!("no answer") };
    assert_eq!(response.status(), 404);
}

#[test]
fn a_name_server_that_is_silent_delays_nobody() {
    let names = NameServer::start(None);
    let stack = start(&names);
    for n in 0..50 {
        stack.dial(format!("sip:far@host{n}.example.test"));
    }
    let (client, _) = udp();
    let to = stack.at(Transport::Udp);
    let from = client.local_addr().expect("address").to_string();
    for n in 0..20 {
        let request = options(n).replace("TLS 127.0.0.1:9", &format!("UDP {from}"));
        client.send_to(request.as_bytes(), to).expect("sent");
        assert!(receive(&client).0.starts_with("SIP/2.0 200"));
    }
    assert!(stack.events.is_empty(), "the calls wait");
    for _ in 0..50 {
        assert!(matches!(stack.ended(), Termination::Unreachable));
    }
}

#[test]
fn a_name_that_is_not_there_is_unreachable() {
    let names = NameServer::start(Some(Zone::default()));
    let stack = start(&names);
    stack.dial("sip:far@nowhere.example.test".to_owned());
    assert!(matches!(stack.ended(), Termination::Unreachable));
    assert!(names.questions() > 0);
}
