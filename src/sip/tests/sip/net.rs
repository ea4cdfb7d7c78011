//! The network drivers over real loopback sockets: hostile and slow peers, which must not
//! affect the others.

use std::io::{ErrorKind, Read, Write};
use std::net::{IpAddr, SocketAddr, TcpStream, UdpSocket};
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use b2b_sip::endpoint::{Endpoint, EndpointConfig, EndpointLimits, Event};
use b2b_sip::net::budget::Rate;
use b2b_sip::net::{NetConfig, NetCounters, NetLimits, SipStack};
use crossbeam_channel::Receiver;
use tokio::sync::mpsc;

/// Generous: a loaded machine is slow, a broken driver never answers.
const PATIENCE: Duration = Duration::from_secs(20);

/// A stack on its own thread. The endpoint answers OPTIONS itself.
struct Server {
    addr: SocketAddr,
    queries: Option<mpsc::UnboundedSender<crossbeam_channel::Sender<(NetCounters, usize)>>>,
    /// Bodies of received INVITEs.
    bodies: Receiver<Vec<u8>>,
    thread: Option<JoinHandle<()>>,
}

impl Server {
    fn start(bind: &str, limits: NetLimits) -> Self {
        let config = NetConfig { limits, ..NetConfig::new(bind.parse().expect("address")) };
        Self::with(config)
    }

    fn with(config: NetConfig) -> Self {
        let (queries, mut queries_in) = mpsc::unbounded_channel::<crossbeam_channel::Sender<_>>();
        let (bodies_out, bodies) = crossbeam_channel::unbounded();
        let (ready, addr) = crossbeam_channel::bounded(1);
        let thread = std::thread::spawn(move || {
            let runtime =
                tokio::runtime::Builder::new_current_thread().enable_all().build().expect("runtime");
            runtime.block_on(async {
                // Floods in these tests come from one source and consist of OPTIONS.
                let limits = EndpointLimits { refusals_per_second: 20_000, ..EndpointLimits::default() };
                let endpoint = Endpoint::new(EndpointConfig { limits, ..EndpointConfig::new([7; 32]) });
                let mut stack = SipStack::bind(config, endpoint).expect("bound");
                ready.send(stack.local().expect("address")).expect("test waits");
                loop {
                    tokio::select! {
                        event = stack.next_event() => if let Event::Incoming { request, .. } = event {
                            let _ = bodies_out.send(request.body().to_vec());
                        },
                        query = queries_in.recv() => match query {
                            Some(reply) => drop(reply.send((stack.counters(), stack.connections()))),
                            None => break,
                        },
                    }
                }
                stack.close(Duration::from_secs(1)).await;
            });
        });
        let addr = addr.recv_timeout(PATIENCE).expect("server starts");
        Server { addr, queries: Some(queries), bodies, thread: Some(thread) }
    }

    fn counters(&self) -> (NetCounters, usize) {
        let (reply, answer) = crossbeam_channel::bounded(1);
        self.queries.as_ref().expect("running").send(reply).expect("running");
        answer.recv_timeout(PATIENCE).expect("the stack takes turns")
    }

    fn wait_for(&self, what: &str, mut holds: impl FnMut(NetCounters, usize) -> bool) {
        let until = Instant::now() + PATIENCE;
        loop {
            let (counters, connections) = self.counters();
            if holds(counters, connections) {
                return;
            }
            assert!(Instant::now() < until, "{what}: {counters:?}, {connections} connections");
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    fn tcp(&self) -> TcpStream {
        let stream = TcpStream::connect(self.addr).expect("connected");
        stream.set_read_timeout(Some(PATIENCE)).expect("timeout");
        stream
    }

    fn tcp_from(&self, source: &str) -> TcpStream {
        let socket =
            socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).expect("socket");
        let source = SocketAddr::new(source.parse::<IpAddr>().expect("address"), 0);
        socket.bind(&source.into()).expect("bound");
        socket.connect(&self.addr.into()).expect("connected");
        let stream: TcpStream = socket.into();
        stream.set_read_timeout(Some(PATIENCE)).expect("timeout");
        stream
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.queries = None;
        if let Some(thread) = self.thread.take() {
            let result = thread.join();
            if !std::thread::panicking() {
                result.expect("the stack did not panic");
            }
        }
    }
}

/// An OPTIONS with its own transaction.
fn options(via: &str, from: SocketAddr) -> String {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    let n = NEXT.fetch_add(1, Ordering::Relaxed);
    format!(
        "OPTIONS sip:x@h SIP/2.0\r\nVia: SIP/2.0/{via} {from};branch=z9hG4bK{n}\r\nFrom: <sip:a@h>;tag=a\r\n\
         To: <sip:x@h>\r\nCall-ID: {n}@h\r\nCSeq: 1 OPTIONS\r\nMax-Forwards: 70\r\nContent-Length: 0\r\n\r\n"
    )
}

/// Reads until the responses are complete; none has a body.
fn read_answers(stream: &mut TcpStream, count: usize) -> String {
    let mut text = String::new();
    let mut chunk = [0; 4096];
    while text.matches("\r\n\r\n").count() < count {
        let length = stream.read(&mut chunk).unwrap_or_else(|error| panic!("{error} after {text:?}"));
        assert_ne!(length, 0, "closed after {text:?}");
        text.push_str(&String::from_utf8_lossy(&chunk[..length]));
    }
    text
}

fn ask(stream: &mut TcpStream) {
    let from = stream.local_addr().expect("address");
    stream.write_all(options("TCP", from).as_bytes()).expect("sent");
    let answer = read_answers(stream, 1);
    assert!(answer.starts_with("SIP/2.0 200"), "{answer}");
}

/// Reads to the end of the connection.
fn read_to_close(stream: &mut TcpStream) -> String {
    let mut bytes = Vec::new();
    if let Err(error) = stream.read_to_end(&mut bytes) {
        assert_eq!(error.kind(), ErrorKind::ConnectionReset, "not closed");
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

fn udp(bind: &str) -> UdpSocket {
    let socket = UdpSocket::bind(bind).expect("socket");
    socket.set_read_timeout(Some(PATIENCE)).expect("timeout");
    socket
}

fn ask_udp(socket: &UdpSocket, server: SocketAddr) {
    let from = socket.local_addr().expect("address");
    socket.send_to(options("UDP", from).as_bytes(), server).expect("sent");
    let mut buffer = [0; 65_535];
    let length = socket.recv(&mut buffer).expect("answer");
    assert!(buffer[..length].starts_with(b"SIP/2.0 200"), "{}", String::from_utf8_lossy(&buffer[..length]));
}

#[test]
fn a_tcp_peer_that_never_reads_loses_its_connection_and_delays_nobody() {
    let limits = NetLimits {
        per_source: Rate { per_second: 1_000_000, burst: 1_000_000 },
        write_queue: 64,
        ..NetLimits::default()
    };
    let server = Server::start("127.0.0.1:0", limits);
    let mut deaf = server.tcp();
    let addr = deaf.local_addr().expect("address");
    let flood = std::thread::spawn(move || {
        // It keeps sending requests and reads none of the responses.
        loop {
            if let Err(error) = deaf.write_all(options("TCP", addr).as_bytes()) {
                return error.kind();
            }
        }
    });
    let mut good = server.tcp();
    while !flood.is_finished() {
        ask(&mut good);
    }
    let error = flood.join().expect("flood");
    assert!(matches!(error, ErrorKind::ConnectionReset | ErrorKind::BrokenPipe), "{error:?}");
    ask(&mut good);
    server.wait_for("the deaf peer's connection is gone", |counters, connections| {
        counters.closed_not_reading == 1 && connections == 1
    });
}

#[test]
fn a_hostile_content_length_is_answered_and_its_connection_closed() {
    let server = Server::start("127.0.0.1:0", NetLimits::default());
    for hostile in ["-1", "18446744073709551616", "9223372036854775807", "4294967295", "99999999", "1x", ""] {
        let mut stream = server.tcp();
        let from = stream.local_addr().expect("address");
        let message =
            options("TCP", from).replace("Content-Length: 0", &format!("Content-Length: {hostile}"));
        stream.write_all(message.as_bytes()).expect("sent");
        let answer = read_to_close(&mut stream);
        assert!(
            answer.starts_with("SIP/2.0 4") || answer.starts_with("SIP/2.0 5"),
            "{hostile:?}: {answer:?}"
        );
    }
    let mut stream = server.tcp();
    ask(&mut stream);
    server.wait_for("each was counted", |counters, connections| {
        counters.closed_bad_framing == 7 && connections == 1
    });
}

#[test]
fn a_body_without_content_length_over_udp_is_kept() {
    let server = Server::start("127.0.0.1:0", NetLimits::default());
    let socket = udp("127.0.0.1:0");
    let from = socket.local_addr().expect("address");
    let invite = options("UDP", from).replace("OPTIONS", "INVITE").replace(
        "Content-Length: 0\r\n",
        &format!("Contact: <sip:a@{from}>\r\nContent-Type: application/sdp\r\n"),
    );
    socket.send_to(format!("{invite}v=0\r\nhello\r\n").as_bytes(), server.addr).expect("sent");
    assert_eq!(server.bodies.recv_timeout(PATIENCE).expect("INVITE"), b"v=0\r\nhello\r\n");
}

#[test]
fn a_flood_is_dropped_silently_others_are_served_and_the_silence_after_is_too() {
    let limits = NetLimits { per_source: Rate { per_second: 50, burst: 100 }, ..NetLimits::default() };
    let server = Server::start("127.0.0.1:0", limits);
    let flooder = udp("127.0.0.1:0");
    let from = flooder.local_addr().expect("address");
    let other = udp("127.0.0.2:0");
    for n in 0..5_000 {
        let _ = flooder.send_to(options("UDP", from).as_bytes(), server.addr);
        if n % 500 == 0 {
            ask_udp(&other, server.addr);
        }
    }
    server.wait_for("most of the flood is dropped", |counters, _| counters.over_budget > 1_000);
    // At most the burst and what the elapsed time allows was answered.
    let (counters, _) = server.counters();
    assert!(counters.sent < 2_000, "{counters:?}");
    ask_udp(&other, server.addr);
    // After a pause the flooder is served again: some of its datagrams may still be queued,
    // as may responses to the burst.
    flooder.set_nonblocking(true).expect("non-blocking");
    let until = Instant::now() + PATIENCE;
    let late = options("UDP", from);
    let call_id = late.lines().find(|line| line.starts_with("Call-ID")).expect("Call-ID").to_owned();
    let mut buffer = [0; 65_535];
    loop {
        flooder.send_to(late.as_bytes(), server.addr).expect("sent");
        std::thread::sleep(Duration::from_millis(50));
        let mut answered = false;
        while let Ok(length) = flooder.recv(&mut buffer) {
            answered |= String::from_utf8_lossy(&buffer[..length]).contains(&call_id);
        }
        if answered {
            break;
        }
        assert!(Instant::now() < until, "never served again");
    }
}

#[test]
fn two_messages_in_one_segment_get_two_answers() {
    let server = Server::start("127.0.0.1:0", NetLimits::default());
    let mut stream = server.tcp();
    let from = stream.local_addr().expect("address");
    let both = format!("{}\r\n\r\n{}", options("TCP", from), options("TCP", from));
    stream.write_all(both.as_bytes()).expect("sent");
    let answers = read_answers(&mut stream, 2);
    assert_eq!(answers.matches("SIP/2.0 200").count(), 2, "{answers}");
}

#[test]
fn a_message_byte_by_byte_is_one_message() {
    let server = Server::start("127.0.0.1:0", NetLimits::default());
    let mut stream = server.tcp();
    stream.set_nodelay(true).expect("nodelay");
    let from = stream.local_addr().expect("address");
    for byte in options("TCP", from).as_bytes() {
        stream.write_all(&[*byte]).expect("sent");
    }
    assert_eq!(read_answers(&mut stream, 1).matches("SIP/2.0 200").count(), 1);
}

#[test]
fn who_asks_and_sends_no_more_is_answered_before_the_connection_closes() {
    let server = Server::start("127.0.0.1:0", NetLimits::default());
    for _ in 0..20 {
        let mut stream = server.tcp();
        let from = stream.local_addr().expect("address");
        let both = options("TCP", from) + &options("TCP", from);
        stream.write_all(both.as_bytes()).expect("sent");
        stream.shutdown(std::net::Shutdown::Write).expect("half closed");
        assert_eq!(read_to_close(&mut stream).matches("SIP/2.0 200").count(), 2);
    }
    server.wait_for("nothing is left", |_, connections| connections == 0);
}

#[test]
fn a_keep_alive_is_answered() {
    let server = Server::start("127.0.0.1:0", NetLimits::default());
    let mut stream = server.tcp();
    stream.write_all(b"\r\n\r\n").expect("sent");
    let mut pong = [0; 2];
    stream.read_exact(&mut pong).expect("pong");
    assert_eq!(&pong, b"\r\n");
    ask(&mut stream);
    // Single ones, further apart than the pieces of a ping, are answered by nothing: the next octets are a response.
    for _ in 0..3 {
        stream.write_all(b"\r\n").expect("sent");
        std::thread::sleep(Duration::from_millis(1_200));
    }
    ask(&mut stream);
}

#[test]
fn ipv6_is_served_over_both_transports() {
    let server = Server::start("[::1]:0", NetLimits::default());
    ask_udp(&udp("[::1]:0"), server.addr);
    ask(&mut server.tcp());
}

#[test]
fn connections_are_limited_per_source_and_in_total() {
    let limits = NetLimits { max_connections_per_source: 4, max_connections: 8, ..NetLimits::default() };
    let server = Server::start("127.0.0.1:0", limits);
    let mut kept: Vec<TcpStream> = (0..4).map(|_| server.tcp()).collect();
    kept.iter_mut().for_each(ask);
    assert_eq!(read_to_close(&mut server.tcp()), "", "the fifth of one source");
    let mut others: Vec<TcpStream> = (0..3).map(|_| server.tcp_from("127.0.0.2")).collect();
    others.iter_mut().for_each(ask);
    assert_eq!(read_to_close(&mut server.tcp_from("127.0.0.3")), "", "the eighth is for one of ours");
    kept.pop();
    server.wait_for("a place is free", |_, connections| connections == 6);
    ask(&mut server.tcp_from("127.0.0.3"));
    assert_eq!(server.counters().0.connections_refused, 2);
}

#[test]
fn half_a_message_for_too_long_closes_the_connection_however_it_trickles() {
    let limits = NetLimits { message_timeout: Duration::from_millis(300), ..NetLimits::default() };
    let server = Server::start("127.0.0.1:0", limits);
    let mut idle = server.tcp();
    let mut proven = server.tcp();
    ask(&mut proven);
    let mut slow = server.tcp();
    let from = slow.local_addr().expect("address");
    let trickle = std::thread::spawn(move || {
        for byte in options("TCP", from).as_bytes().iter().cycle() {
            if slow.write_all(&[*byte]).is_err() {
                return;
            }
            std::thread::sleep(Duration::from_millis(20));
        }
    });
    trickle.join().expect("the slow peer was cut off");
    assert_eq!(read_to_close(&mut idle), "", "nothing said in time");
    ask(&mut proven);
    server.wait_for("both were counted", |counters, connections| {
        counters.closed_timeout == 2 && connections == 1
    });
}

#[test]
fn line_ends_keep_no_connection_open_that_has_said_nothing() {
    let limits = NetLimits { message_timeout: Duration::from_millis(300), ..NetLimits::default() };
    let server = Server::start("127.0.0.1:0", limits);
    let mut idle = server.tcp();
    let pings = std::thread::spawn(move || {
        while idle.write_all(b"\r\n\r\n").is_ok() {
            std::thread::sleep(Duration::from_millis(20));
        }
    });
    server
        .wait_for("it was closed", |counters, connections| counters.closed_timeout == 1 && connections == 0);
    pings.join().expect("cut off");
}

#[test]
fn a_connection_without_traffic_is_closed_in_the_end() {
    let limits = NetLimits { idle_timeout: Duration::from_millis(200), ..NetLimits::default() };
    let server = Server::start("127.0.0.1:0", limits);
    let mut stream = server.tcp();
    ask(&mut stream);
    assert_eq!(read_to_close(&mut stream), "");
}

#[test]
fn the_trace_has_what_was_sent_and_received_on_both_transports() {
    let dir = tempfile::tempdir().expect("folder");
    let path = dir.path().join("stack.sip");
    let config =
        NetConfig { trace: Some(path.clone()), ..NetConfig::new("127.0.0.1:0".parse().expect("address")) };
    let server = Server::with(config);
    let addr = server.addr;
    ask_udp(&udp("127.0.0.1:0"), addr);
    ask(&mut server.tcp());
    drop(server);
    let trace = std::fs::read_to_string(&path).expect("trace");
    for (word, transport) in [("received", "udp"), ("sent", "udp"), ("received", "tcp"), ("sent", "tcp")] {
        let line = format!(" {word} {transport} ");
        assert!(trace.lines().any(|it| it.starts_with("--- ") && it.contains(&line)), "{line} in {trace}");
    }
    assert!(trace.contains(&addr.to_string()));
    assert_eq!(trace.matches("SIP/2.0 200").count(), 2, "{trace}");
}
