//! Flows kept alive (RFC 5626 §4.4), on real connections.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::time::Duration;

use b2b_sip::endpoint::{Event, Flow, OutOfDialog};
use b2b_sip::msg::Method;
use b2b_sip::net::NetConfig;

use crate::stack::{PATIENCE, Stack};

/// A connection of ours whose peer has answered an OPTIONS, held with a maximum silence of
/// 100 ms.
fn held(stack: &Stack) -> (TcpStream, Flow) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("listener");
    let target = format!("sip:{};transport=tcp", listener.local_addr().expect("address"));
    stack.run(move |stack| {
        let now = stack.now();
        stack.endpoint().request_outside(now, OutOfDialog::new(Method::Options, target)).expect("sent");
    });
    let (mut peer, _) = listener.accept().expect("connection");
    peer.set_read_timeout(Some(PATIENCE)).expect("a timeout");
    let mut buffer = [0; 4_096];
    let length = peer.read(&mut buffer).expect("OPTIONS");
    let text = String::from_utf8_lossy(&buffer[..length]).into_owned();
    let kept: String = text
        .lines()
        .filter(|line| {
            ["Via:", "From:", "To:", "Call-ID:", "CSeq:"].iter().any(|name| line.starts_with(name))
        })
        .map(|line| format!("{line}\r\n"))
        .collect();
    peer.write_all(format!("SIP/2.0 200 OK\r\n{kept}Content-Length: 0\r\n\r\n").as_bytes()).expect("written");
    match stack.events.recv_timeout(PATIENCE).expect("the answer") {
        Event::Response { flow: Some(flow), .. } => {
            stack.run(move |stack| stack.endpoint().hold_flow(&flow, Duration::from_millis(100)));
            (peer, flow)
        }
        other => panic!("{other:?}"),
    }
}

fn hears_a_ping(peer: &mut TcpStream) {
    let mut ping = [0; 4];
    peer.read_exact(&mut ping).expect("a ping");
    assert_eq!(ping, *b"\r\n\r\n");
}

#[test]
fn a_connection_that_sends_line_ends_back_stays_and_one_that_does_not_is_closed_and_told() {
    let stack = Stack::start(NetConfig::new("127.0.0.1:0".parse().expect("address")));
    let (mut alive, _) = held(&stack);
    let (mut silent, gone) = held(&stack);
    hears_a_ping(&mut silent);
    let mut pings = 0;
    let told = loop {
        hears_a_ping(&mut alive);
        pings += 1;
        alive.write_all(b"\r\n").expect("open");
        if let Ok(event) = stack.events.try_recv() {
            break event;
        }
    };
    assert!(matches!(told, Event::FlowClosed { flow } if flow.id == gone.id), "{told:?}");
    assert_eq!(silent.read(&mut [0; 16]).expect("its end"), 0);
    assert!(pings > 10, "{pings}");
    // The peer's own ping is answered, and counts.
    hears_a_ping(&mut alive);
    alive.write_all(b"\r\n\r\n").expect("open");
    let mut pong = [0; 2];
    alive.read_exact(&mut pong).expect("a pong");
    hears_a_ping(&mut alive);
    drop(alive);
    let told = stack.events.recv_timeout(PATIENCE).expect("the end");
    assert!(matches!(told, Event::FlowClosed { .. }), "{told:?}");
}
