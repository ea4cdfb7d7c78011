//! The server stays reachable for authorised parties, whatever strangers do.

use std::io::{Read, Write};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpStream};
use std::time::Duration;

use b2b::sip::auth::{Authorized, DigestClient};
use b2b::sip::msg::framing::{StreamDecoder, StreamItem};
use b2b::sip::msg::{Limits, Message, Method, Name, Response};
use socket2::{Domain, Socket, Type};

use super::peer::{Peer, server, write};
use crate::common::child::{PATIENCE, b2b};

const USERS: &str = "[[user]]\nname = \"1001\"\npassword = \"secret\"\n\
                     [[user]]\nname = \"1002\"\npassword = \"secret\"\n[[route]]\nto = \"user/$0\"\n";

/// A connection to a server from one of this machine's addresses.
pub fn connect(from: [u8; 4], server: SocketAddr) -> TcpStream {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).expect("a socket");
    socket.bind(&SocketAddr::from((Ipv4Addr::from(from), 0)).into()).expect("loopback");
    socket.connect(&server.into()).expect("the server");
    let stream = TcpStream::from(socket);
    stream.set_read_timeout(Some(PATIENCE)).expect("a timeout");
    stream
}

/// The response on a connection; `None` if it was closed.
fn ask(stream: &mut TcpStream, request: &[u8]) -> Option<Response> {
    stream.write_all(request).ok()?;
    let mut decoder = StreamDecoder::new(Limits::default());
    let mut chunk = [0; 4_096];
    loop {
        while let Some(item) = decoder.next_item() {
            if let StreamItem::Message(Message::Response(response)) = item {
                return Some(response);
            }
        }
        match stream.read(&mut chunk) {
            Ok(length) if length > 0 => decoder.push(&chunk[..length]),
            _ => return None,
        }
    }
}

/// A phone registers over TCP; returns the last status.
pub(super) fn register(stream: &mut TcpStream, user: &str, password: &str, call: &str) -> Option<u16> {
    let (at, to) = (stream.local_addr().ok()?, stream.peer_addr().ok()?);
    let IpAddr::V4(ip) = at.ip() else { return None };
    let mut phone = Peer::new(ip.octets(), to);
    let contact = format!("sip:{user}@{at};transport=tcp");
    let over_tcp = |request: bytes::Bytes| {
        String::from_utf8_lossy(&request).replacen("SIP/2.0/UDP", "SIP/2.0/TCP", 1).into_bytes()
    };
    let first = phone.registration(user, &contact, (call, 1), &Authorized::default());
    let challenge = ask(stream, &over_tcp(first))?;
    let mut digest = DigestClient::new(user, password, [7; 32]);
    digest.challenged(&challenge, &Authorized::default()).ok()?;
    let credentials = digest.authorize(&Method::Register, b"sip:b2b.example");
    let second = phone.registration(user, &contact, (call, 2), &credentials);
    Some(ask(stream, &over_tcp(second))?.status())
}

#[test]
fn a_phone_registers_over_tcp_while_strangers_hold_every_connection_that_they_get() {
    let folder = tempfile::tempdir().expect("a folder");
    let (_server, address) = server(folder.path(), "", USERS);
    let mut strangers: Vec<TcpStream> =
        (0..875).map(|number| connect([127, 0, 9, 1 + (number % 5) as u8], address)).collect();
    for stream in &mut strangers {
        // Writing fails on connections that are already closed.
        let _ = stream.write_all(b"\r\n\r\n");
    }
    let mut phone = connect([127, 0, 9, 99], address);
    assert_eq!(register(&mut phone, "1001", "secret", "phone"), Some(200));
    // Later connections of strangers do not close it.
    strangers.truncate(100);
    strangers.extend((0..400).map(|number| connect([127, 0, 9, 100 + (number % 50) as u8], address)));
    let mut peer = Peer::new([127, 0, 9, 99], address);
    let options = peer.request(&Method::Options, &format!("sip:{address}"), "still", 1);
    let options = options.header(Name::To, "<sip:b2b.example>").finish().expect("a request");
    let options = String::from_utf8_lossy(&options).replacen("SIP/2.0/UDP", "SIP/2.0/TCP", 1);
    assert_eq!(ask(&mut phone, options.as_bytes()).map(|it| it.status()), Some(200));
}

#[test]
fn an_office_comes_back_from_one_address_after_a_restart() {
    let folder = tempfile::tempdir().expect("a folder");
    let users: String =
        (0..60).map(|number| format!("[[user]]\nname = \"1{number:03}\"\npassword = \"secret\"\n")).collect();
    write(folder.path(), "", &format!("{users}[[route]]\nto = \"user/$0\"\n"));
    let path = folder.path().join("b2bua.toml");
    let text =
        std::fs::read_to_string(&path).expect("written").replace("\"memory\"", "\"sqlite:b2b.sqlite\"");
    std::fs::write(&path, text).expect("a file");
    let start = || {
        let mut child = b2b(&["--role", "b2bua", "--config", path.to_str().expect("UTF-8")]);
        let address = child.ready();
        (child, address)
    };
    let (first, address) = start();
    assert_eq!(register(&mut connect([127, 0, 9, 200], address), "1000", "secret", "first"), Some(200));
    drop(first);
    let (_second, address) = start();
    let mut phones: Vec<TcpStream> = (0..60).map(|_| connect([127, 0, 9, 200], address)).collect();
    for (number, phone) in phones.iter_mut().enumerate() {
        let call = format!("back-{number}");
        assert_eq!(register(phone, &format!("1{number:03}"), "secret", &call), Some(200), "phone {number}");
    }
}

#[test]
fn a_carriers_health_checks_are_all_answered_while_strangers_flood() {
    let folder = tempfile::tempdir().expect("a folder");
    let carrier = "[[gateway]]\nname = \"carrier\"\nhosts = \"127.0.9.50:9\"\noptions_s = 0\nsources = \"127.0.9.50\"\n";
    let (_server, address) = server(folder.path(), "", &format!("{carrier}{USERS}"));
    let options = |peer: &mut Peer, call: &str| {
        let request = peer.request(&Method::Options, &format!("sip:{address}"), call, 1);
        request.header(Name::To, "<sip:b2b.example>").finish().expect("a request")
    };
    let over = std::sync::atomic::AtomicBool::new(false);
    let mut carrier = Peer::new([127, 0, 9, 50], address);
    std::thread::scope(|scope| {
        for stranger in 0..4 {
            let (over, options) = (&over, &options);
            scope.spawn(move || {
                let mut peer = Peer::new([127, 0, 9, 60 + stranger], address);
                let mut number = 0;
                while !over.load(std::sync::atomic::Ordering::Relaxed) {
                    // In total more than the 2,000 responses a second available for all.
                    for _ in 0..16 {
                        number += 1;
                        let request = options(&mut peer, &format!("flood-{stranger}-{number}"));
                        peer.send(&request);
                    }
                    std::thread::sleep(Duration::from_millis(20));
                }
            });
        }
        let mut answered = 0;
        for number in 0..40 {
            let call = format!("alive-{number}");
            let request = options(&mut carrier, &call);
            // Retransmits like a carrier: a loss at a full socket is not a refusal.
            for _ in 0..3 {
                carrier.send(&request);
                if let Some(Message::Response(response)) = carrier.message(Duration::from_millis(500))
                    && response.status() == 200
                {
                    answered += 1;
                    break;
                }
            }
            std::thread::sleep(Duration::from_millis(25));
        }
        over.store(true, std::sync::atomic::Ordering::Relaxed);
        assert_eq!(answered, 40);
    });
}

#[test]
fn one_users_flood_of_calls_does_not_refuse_anothers() {
    let folder = tempfile::tempdir().expect("a folder");
    let limits = "[limits]\ncalls_per_s = 30\nuser_calls_per_s = 1\n";
    let others: String =
        (0..5).map(|number| format!("[[user]]\nname = \"200{number}\"\npassword = \"secret\"\n")).collect();
    let (_server, address) = server(folder.path(), "", &format!("{limits}{others}{USERS}"));
    let call = |peer: &mut Peer, user: &str, name: &str| {
        let invite = peer.invite("nobody", name, 1, &Authorized::default());
        let challenge = peer.ask(&invite, name, 1);
        let mut digest = DigestClient::new(user, "secret", [3; 32]);
        digest.challenged(&challenge, &Authorized::default()).expect("a challenge");
        let credentials = digest.authorize(&Method::Invite, format!("sip:nobody@{address}").as_bytes());
        let invite = peer.invite("nobody", name, 2, &credentials);
        peer.ask(&invite, name, 2).status()
    };
    let (mut flooder, mut other) = (Peer::new([127, 0, 9, 70], address), Peer::new([127, 0, 9, 71], address));
    let mut refused = 0;
    for number in 0..100 {
        match call(&mut flooder, "1001", &format!("flood-{number}")) {
            480 => refused += 1,
            404 => {}
            status => panic!("{status}"),
        }
        if number % 20 == 19 {
            let user = format!("200{}", number / 20);
            assert_eq!(call(&mut other, &user, &format!("other-{number}")), 404, "{user}");
        }
    }
    assert!(refused > 0, "the flood was slower than its limit");
}
