//! A stack whose process has no descriptors left. It has its own program, because the limit
//! applies to the process.

// As in test functions (clippy.toml): a failing helper fails the test.
#![allow(clippy::unwrap_used)]

use std::fs::File;
use std::io::{Read, Write};
use std::net::{SocketAddr, UdpSocket};
use std::time::Duration;

use b2b_sip::endpoint::{Endpoint, EndpointConfig};
use b2b_sip::net::{NetConfig, SipStack};
use nix::sys::resource::{Resource, getrlimit, setrlimit};

/// Generous: a loaded machine is slow, a stack that spins never answers.
const PATIENCE: Duration = Duration::from_secs(20);

fn options(via: &str, from: SocketAddr) -> String {
    format!(
        "OPTIONS sip:x@h SIP/2.0\r\nVia: SIP/2.0/{via} {from};branch=z9hG4bK{via}\r\nFrom: <sip:a@h>;tag=a\r\n\
         To: <sip:x@h>\r\nCall-ID: {via}@h\r\nCSeq: 1 OPTIONS\r\nMax-Forwards: 70\r\nContent-Length: 0\r\n\r\n"
    )
}

/// A stack that serves until the sender is dropped.
fn serve() -> (SocketAddr, tokio::sync::oneshot::Sender<()>, std::thread::JoinHandle<u64>) {
    let (stop, stopped) = tokio::sync::oneshot::channel();
    let (ready, addr) = crossbeam_channel::bounded(1);
    let thread = std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("runtime");
        runtime.block_on(async {
            let config = NetConfig::new("127.0.0.1:0".parse().expect("address"));
            let mut stack =
                SipStack::bind(config, Endpoint::new(EndpointConfig::new([7; 32]))).expect("bound");
            ready.send(stack.local().expect("address")).expect("test waits");
            tokio::select! {
                event = stack.next_event() => panic!("{event:?}"),
                _ = stopped => stack.counters().accept_errors,
            }
        })
    });
    (addr.recv_timeout(PATIENCE).expect("started"), stop, thread)
}

#[test]
fn without_descriptors_others_are_served_and_connections_are_taken_in_later() {
    let (addr, stop, thread) = serve();
    let udp = UdpSocket::bind("127.0.0.1:0").expect("socket");
    udp.set_read_timeout(Some(PATIENCE)).expect("timeout");
    let tcp = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).expect("socket");
    let (_, hard) = getrlimit(Resource::RLIMIT_NOFILE).expect("limit");
    setrlimit(Resource::RLIMIT_NOFILE, 64, hard).expect("lowered");
    let hoard: Vec<File> = std::iter::from_fn(|| File::open("/dev/null").ok()).collect();
    assert!(!hoard.is_empty());

    // The kernel makes the connection; the stack cannot accept it.
    tcp.connect(&addr.into()).expect("connected");
    let from = udp.local_addr().expect("address");
    let mut answer = [0; 2_000];
    for _ in 0..3 {
        udp.send_to(options("UDP", from).as_bytes(), addr).expect("sent");
        let length = udp.recv(&mut answer).expect("an answer");
        assert!(answer[..length].starts_with(b"SIP/2.0 200"));
        std::thread::sleep(Duration::from_millis(50));
    }

    drop(hoard);
    let mut tcp: std::net::TcpStream = tcp.into();
    tcp.set_read_timeout(Some(PATIENCE)).expect("timeout");
    let from = tcp.local_addr().expect("address");
    tcp.write_all(options("TCP", from).as_bytes()).expect("sent");
    let length = tcp.read(&mut answer).expect("an answer");
    assert!(answer[..length].starts_with(b"SIP/2.0 200"));

    drop(stop);
    let errors = thread.join().expect("no panic");
    assert!((1..1_000).contains(&errors), "{errors} times refused: it paused in between");
}
