//! The native engine over real loopback sockets: two UAs calling each other,
//! and a raw socket that speaks SIP to one, with assertions on what went over
//! the wire.

use std::net::{SocketAddr, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use b2b::ua::{
    self, Audio, CallId, Codec, EndCause, Engine, Fill, FrameKind, FrameSink, FrameSource, InFrame, OutFrame,
    Ua, UaConfig, UaError, UaEvent,
};

/// Generous: a loaded machine is slow, a broken engine never comes.
const PATIENCE: Duration = Duration::from_secs(20);

fn config(user: &str, bind: &str) -> UaConfig {
    UaConfig {
        user: user.into(),
        bind: bind.parse().expect("address"),
        codecs: vec![Codec::Pcmu, Codec::Pcma],
        ptime_ms: 20,
        jitter_ms: 60,
        impairment: None,
        rtp_timeout: Duration::from_secs(20),
        sip_trace: None,
        packet_log: None,
    }
}

fn open(user: &str, bind: &str) -> Box<dyn Ua> {
    ua::open(Engine::Native, config(user, bind)).expect("UA")
}

/// A steady level, and a count of what was heard of one.
struct Level(i16);

impl FrameSource for Level {
    fn fill(&mut self, frame: &mut OutFrame<'_>) -> Fill {
        frame.samples.fill(self.0);
        Fill::Audio
    }
}

#[derive(Clone, Default)]
struct Heard {
    /// Frames whose samples are all near the expected level.
    right: Arc<AtomicU64>,
    expected: i16,
}

impl FrameSink for Heard {
    fn frame(&mut self, frame: &InFrame<'_>) {
        let near = |sample: &i16| (i32::from(*sample) - i32::from(self.expected)).abs() < 600;
        if frame.kind == FrameKind::Audio && frame.samples.iter().all(near) {
            self.right.fetch_add(1, Ordering::Relaxed);
        }
    }
}

impl Heard {
    fn level(expected: i16) -> Self {
        Heard { expected, ..Heard::default() }
    }

    fn wait_for(&self, frames: u64) {
        wait_until("audio is heard", || self.right.load(Ordering::Relaxed) >= frames);
    }
}

fn wait_until(what: &str, mut holds: impl FnMut() -> bool) {
    let until = Instant::now() + PATIENCE;
    while !holds() {
        assert!(Instant::now() < until, "in vain: {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

fn audio(says: i16, heard: &Heard) -> Audio {
    Audio { source: Box::new(Level(says)), sink: Box::new(heard.clone()) }
}

fn silence() -> Audio {
    audio(0, &Heard::default())
}

/// The next event that is not about media.
fn event(ua: &dyn Ua) -> UaEvent {
    loop {
        match ua.events().recv_timeout(PATIENCE).expect("an event") {
            UaEvent::MediaStarted { .. } | UaEvent::Progress { .. } => {}
            event => return event,
        }
    }
}

fn incoming(ua: &dyn Ua) -> CallId {
    match event(ua) {
        UaEvent::Incoming { call, .. } => call,
        other => panic!("no call came, but {other:?}"),
    }
}

fn answered(ua: &dyn Ua) -> CallId {
    match event(ua) {
        UaEvent::Answered { call, .. } => call,
        other => panic!("no answer came, but {other:?}"),
    }
}

fn ended(ua: &dyn Ua) -> EndCause {
    match event(ua) {
        UaEvent::Ended { cause, .. } => cause,
        other => panic!("no end came, but {other:?}"),
    }
}

/// Two UAs talk both ways, and the caller hangs up.
fn call_each_other(bind: &str, transport: &str) {
    let (alice, bob) = (open("alice", bind), open("bob", bind));
    assert_ne!(bob.local().port(), 0);
    let (alice_heard, bob_heard) = (Heard::level(-8000), Heard::level(4000));
    let target = format!("sip:bob@{}{transport}", bob.local());
    let dialled = alice.dial(&target, audio(4000, &alice_heard)).expect("dialled");
    let call = match event(&*bob) {
        UaEvent::Incoming { call, from, to, sip_call_id } => {
            assert!(from.starts_with("sip:alice@"), "{from}");
            assert!(to.starts_with("sip:bob@"), "{to}");
            assert!(!sip_call_id.is_empty());
            call
        }
        other => panic!("no call came, but {other:?}"),
    };
    bob.answer(call, audio(-8000, &bob_heard)).expect("answered");
    for ua in [&alice, &bob] {
        match event(&**ua) {
            UaEvent::Answered { codec, ptime_ms, remote_rtp, .. } => {
                assert_eq!((codec, ptime_ms), (Codec::Pcmu, 20));
                assert_eq!(remote_rtp.ip(), ua.local().ip());
            }
            other => panic!("no answer came, but {other:?}"),
        }
    }
    alice_heard.wait_for(25);
    bob_heard.wait_for(25);
    wait_until("the counters follow", || alice.stats().in_call && alice.stats().packets_rx >= 25);
    alice.hangup(dialled).expect("hung up");
    assert_eq!(ended(&*alice), EndCause::LocalHangup);
    assert_eq!(ended(&*bob), EndCause::RemoteHangup);
    let stats = bob.stats();
    assert!(!stats.in_call && stats.packets_rx >= 25 && stats.packets_tx >= 25, "{stats:?}");
    assert!(matches!(alice.hangup(dialled), Err(UaError::NoSuchCall)), "it is over");
    alice.shutdown(Duration::from_secs(5));
    bob.shutdown(Duration::from_secs(5));
}

#[test]
fn two_uas_hear_each_other_over_udp() {
    call_each_other("127.0.0.1:0", "");
}

#[test]
fn two_uas_hear_each_other_over_tcp() {
    call_each_other("127.0.0.1:0", ";transport=tcp");
}

#[test]
fn two_uas_hear_each_other_over_ipv6() {
    call_each_other("[::1]:0", "");
    call_each_other("[::1]:0", ";transport=tcp");
}

#[test]
fn the_callee_may_hang_up_too() {
    let (alice, bob) = (open("alice", "127.0.0.1:0"), open("bob", "127.0.0.1:0"));
    alice.dial(&format!("sip:bob@{}", bob.local()), silence()).expect("dialled");
    let call = incoming(&*bob);
    bob.answer(call, silence()).expect("answered");
    answered(&*bob);
    bob.hangup(call).expect("hung up");
    assert_eq!(ended(&*bob), EndCause::LocalHangup);
    answered(&*alice);
    assert_eq!(ended(&*alice), EndCause::RemoteHangup);
}

#[test]
fn a_refusal_tells_the_caller_status_and_reason() {
    let (alice, bob) = (open("alice", "127.0.0.1:0"), open("bob", "127.0.0.1:0"));
    alice.dial(&format!("sip:bob@{}", bob.local()), silence()).expect("dialled");
    bob.reject(incoming(&*bob), 486, "Busy Here").expect("refused");
    let failed = EndCause::Failed { status: 486, reason: "Busy Here".into() };
    assert_eq!(ended(&*alice), failed);
    assert_eq!(ended(&*bob), EndCause::Rejected { status: 486 });
    assert!(matches!(bob.answer(CallId(99), silence()), Err(UaError::NoSuchCall)));
}

#[test]
fn a_call_given_up_while_it_rings_is_cancelled_on_both_sides() {
    let (alice, bob) = (open("alice", "127.0.0.1:0"), open("bob", "127.0.0.1:0"));
    let call = alice.dial(&format!("sip:bob@{}", bob.local()), silence()).expect("dialled");
    let at_bob = incoming(&*bob);
    alice.hangup(call).expect("given up");
    assert_eq!(ended(&*alice), EndCause::Cancelled);
    assert_eq!(ended(&*bob), EndCause::Cancelled);
    assert!(bob.answer(at_bob, silence()).is_err());
}

#[test]
fn shutdown_hangs_up_and_closes_the_events() {
    let (alice, bob) = (open("alice", "127.0.0.1:0"), open("bob", "127.0.0.1:0"));
    alice.dial(&format!("sip:bob@{}", bob.local()), silence()).expect("dialled");
    bob.answer(incoming(&*bob), silence()).expect("answered");
    answered(&*bob);
    answered(&*alice);
    let events = alice.events().clone();
    alice.shutdown(Duration::from_secs(10));
    assert!(events.iter().any(|event| matches!(event, UaEvent::Ended { cause: EndCause::LocalHangup, .. })));
    assert_eq!(ended(&*bob), EndCause::RemoteHangup);
}

#[test]
fn no_rtp_ends_the_call() {
    let peer = Peer::new();
    let config = UaConfig { rtp_timeout: Duration::from_millis(300), ..config("bob", "127.0.0.1:0") };
    let bob = ua::open(Engine::Native, config).expect("UA");
    peer.send(&*bob, &peer.invite("silent", OFFER));
    bob.answer(incoming(&*bob), silence()).expect("answered");
    let ok = peer.expect("SIP/2.0 200");
    peer.send(&*bob, &peer.in_dialog("ACK", 1, &ok, "", ""));
    answered(&*bob);
    let bye = peer.expect("BYE ");
    assert_eq!(ended(&*bob), EndCause::MediaTimeout, "told without waiting for the answer to BYE");
    peer.send(&*bob, &reply(&bye, "200 OK"));
}

#[test]
fn a_host_name_is_resolved_to_an_address_that_we_can_reach() {
    let (alice, bob) = (open("alice", "127.0.0.1:0"), open("bob", "127.0.0.1:0"));
    alice.dial(&format!("sip:bob@localhost:{}", bob.local().port()), silence()).expect("dialled");
    bob.reject(incoming(&*bob), 603, "Decline").expect("refused");
    assert_eq!(ended(&*alice), EndCause::Failed { status: 603, reason: "Decline".into() });
}

#[test]
fn a_call_to_where_nobody_listens_fails_at_once_over_tcp() {
    let alice = open("alice", "127.0.0.1:0");
    let free = std::net::TcpListener::bind("127.0.0.1:0").and_then(|it| it.local_addr()).expect("address");
    alice.dial(&format!("sip:bob@{free};transport=tcp"), silence()).expect("dialled");
    match ended(&*alice) {
        EndCause::Failed { status, .. } => assert_eq!(status, 503),
        other => panic!("{other:?}"),
    }
}

#[test]
fn targets_that_cannot_be_called_say_so() {
    let alice = open("alice", "127.0.0.1:0");
    for target in
        ["", "bob", "tel:+44", "sip:", "sip:bob@[::1]:5060", "sip:bob@0.0.0.0", "sip:b\r\nX: y@127.0.0.1"]
    {
        match alice.dial(target, silence()) {
            Err(UaError::Target { uri, .. }) => assert_eq!(uri, target),
            other => panic!("{target:?}: {other:?}"),
        }
    }
}

#[test]
fn a_port_in_use_is_an_error_that_names_it() {
    let alice = open("alice", "127.0.0.1:0");
    match ua::open(Engine::Native, config("bob", &alice.local().to_string())) {
        Err(UaError::Bind { addr, .. }) => assert_eq!(addr, alice.local()),
        other => panic!("{:?}", other.err()),
    };
}

// What follows speaks raw SIP.

const OFFER: &str = "v=0\r\no=a 1 1 IN IP4 127.0.0.1\r\ns=-\r\nc=IN IP4 127.0.0.1\r\nt=0 0\r\n\
                     m=audio 39998 RTP/AVP 8 0\r\n";

/// A raw UDP socket that speaks SIP.
struct Peer {
    socket: UdpSocket,
    local: SocketAddr,
}

impl Peer {
    fn new() -> Self {
        let socket = UdpSocket::bind("127.0.0.1:0").expect("socket");
        socket.set_read_timeout(Some(PATIENCE)).expect("timeout");
        let local = socket.local_addr().expect("address");
        Peer { socket, local }
    }

    fn send(&self, ua: &dyn Ua, message: &str) {
        self.socket.send_to(message.as_bytes(), ua.local()).expect("sent");
    }

    /// The next message that begins like this; others are passed over.
    fn expect(&self, start: &str) -> String {
        let mut buffer = [0; 65_535];
        loop {
            let length = self.socket.recv(&mut buffer).unwrap_or_else(|error| panic!("no {start}: {error}"));
            let message = String::from_utf8_lossy(&buffer[..length]).into_owned();
            if message.starts_with(start) {
                return message;
            }
        }
    }

    fn request(&self, method: &str, call: &str, headers: &str, body: &str) -> String {
        let content = if body.is_empty() { "" } else { "Content-Type: application/sdp\r\n" };
        format!(
            "{method} sip:bob@127.0.0.1 SIP/2.0\r\nVia: SIP/2.0/UDP {local};branch=z9hG4bK-{call}-{method}\r\n\
             From: <sip:peer@{local}>;tag=peer-{call}\r\nTo: <sip:bob@127.0.0.1>\r\nCall-ID: {call}@peer\r\n\
             CSeq: 1 {method}\r\nContact: <sip:peer@{local}>\r\n{headers}{content}Content-Length: {length}\r\n\r\n{body}",
            local = self.local,
            length = body.len()
        )
    }

    fn invite(&self, call: &str, body: &str) -> String {
        self.request("INVITE", call, "Max-Forwards: 70\r\n", body)
    }

    /// A request in the dialog that `ok`, the 200 to our INVITE, made.
    fn in_dialog(&self, method: &str, cseq: u32, ok: &str, content_type: &str, body: &str) -> String {
        let contact = header(ok, "Contact");
        let target = contact.trim_start_matches('<').split('>').next().unwrap_or_default();
        let content =
            if body.is_empty() { String::new() } else { format!("Content-Type: {content_type}\r\n") };
        format!(
            "{method} {target} SIP/2.0\r\nVia: SIP/2.0/UDP {};branch=z9hG4bK-{cseq}-{method}-{}\r\nFrom: {}\r\nTo: {}\r\n\
             Call-ID: {}\r\nCSeq: {cseq} {method}\r\nMax-Forwards: 70\r\nContact: <sip:peer@{}>\r\n{content}\
             Content-Length: {}\r\n\r\n{body}",
            self.local,
            header(ok, "Call-ID").split('@').next().unwrap_or_default(),
            header(ok, "From"),
            header(ok, "To"),
            header(ok, "Call-ID"),
            self.local,
            body.len()
        )
    }
}

fn header(message: &str, name: &str) -> String {
    message
        .lines()
        .find_map(|line| line.strip_prefix(name)?.strip_prefix(": "))
        .unwrap_or_else(|| panic!("no {name} in {message}"))
        .to_owned()
}

fn reply(request: &str, status: &str) -> String {
    let copied: String = request
        .lines()
        .filter(|line| {
            ["Via: ", "From: ", "To: ", "Call-ID: ", "CSeq: "].iter().any(|name| line.starts_with(name))
        })
        .map(|line| format!("{line}\r\n"))
        .collect();
    format!("SIP/2.0 {status}\r\n{copied}Content-Length: 0\r\n\r\n")
}

/// A call from a raw peer that is up, and its 200.
fn call_up(call: &str) -> (Peer, Box<dyn Ua>, CallId, String) {
    let (peer, bob) = (Peer::new(), open("bob", "127.0.0.1:0"));
    peer.send(&*bob, &peer.invite(call, OFFER));
    let id = incoming(&*bob);
    bob.answer(id, silence()).expect("answered");
    let ok = peer.expect("SIP/2.0 200");
    peer.send(&*bob, &peer.in_dialog("ACK", 1, &ok, "", ""));
    answered(&*bob);
    (peer, bob, id, ok)
}

#[test]
fn requests_outside_a_call_are_answered_as_the_rfc_says() {
    let (peer, bob) = (Peer::new(), open("bob", "127.0.0.1:0"));
    peer.send(&*bob, &peer.request("OPTIONS", "o", "Max-Forwards: 70\r\n", ""));
    let ok = peer.expect("SIP/2.0 200");
    assert!(header(&ok, "Allow").contains("INVITE"), "{ok}");
    peer.send(&*bob, &peer.request("INVITE", "z", "Max-Forwards: 0\r\n", OFFER));
    peer.expect("SIP/2.0 483");
    peer.send(&*bob, &peer.request("PUBLISH", "p", "Max-Forwards: 70\r\n", ""));
    assert!(header(&peer.expect("SIP/2.0 405"), "Allow").contains("BYE"));
    peer.send(
        &*bob,
        &peer
            .request("BYE", "b", "Max-Forwards: 70\r\n", "")
            .replace("@127.0.0.1>\r\nCall", "@127.0.0.1>;tag=x\r\nCall"),
    );
    peer.expect("SIP/2.0 481");
    peer.send(&*bob, &peer.request("OPTIONS", "m", "", "").replace("CSeq: 1 OPTIONS", "CSeq: one OPTIONS"));
    peer.expect("SIP/2.0 400");
    assert!(bob.events().is_empty(), "nothing of that is a role's business");
}

#[test]
fn an_offer_without_a_common_codec_gets_488_and_no_event() {
    let (peer, bob) = (Peer::new(), open("bob", "127.0.0.1:0"));
    peer.send(&*bob, &peer.invite("opus", &OFFER.replace("8 0", "9 18")));
    peer.expect("SIP/2.0 488");
    peer.send(&*bob, &peer.invite("good", OFFER));
    assert!(matches!(event(&*bob), UaEvent::Incoming { sip_call_id, .. } if sip_call_id == "good@peer"));
}

#[test]
fn the_answer_names_real_addresses_and_the_peers_first_codec() {
    let (peer, _bob, _, ok) = call_up("wire");
    assert!(header(&ok, "Contact").contains("@127.0.0.1:"), "{ok}");
    assert!(!ok.contains("0.0.0.0"), "{ok}");
    assert!(ok.contains(" RTP/AVP 8 0\r\n"), "{ok}");
    drop(peer);
}

#[test]
fn a_wildcard_bind_shows_the_address_that_the_peer_reaches() {
    let (peer, bob) = (Peer::new(), open("bob", "0.0.0.0:0"));
    assert!(!bob.local().ip().is_unspecified());
    let message = peer.invite("wild", OFFER);
    peer.socket.send_to(message.as_bytes(), ("127.0.0.1", bob.local().port())).expect("sent");
    bob.answer(incoming(&*bob), silence()).expect("answered");
    let ok = peer.expect("SIP/2.0 200");
    assert!(!ok.contains("0.0.0.0"), "{ok}");
    assert!(ok.contains("c=IN IP4 127.0.0.1\r\n"), "{ok}");
    assert!(header(&ok, "Contact").contains("@127.0.0.1:"), "{ok}");
}

#[test]
fn hold_and_resume_are_answered_and_told() {
    let (peer, bob, call, ok) = call_up("hold");
    let held = format!("{OFFER}a=sendonly\r\n").replace("o=a 1 1", "o=a 1 2");
    peer.send(&*bob, &peer.in_dialog("INVITE", 2, &ok, "application/sdp", &held));
    let answer = peer.expect("SIP/2.0 200");
    assert!(answer.contains("a=recvonly\r\n"), "{answer}");
    peer.send(&*bob, &peer.in_dialog("ACK", 2, &ok, "", ""));
    assert_eq!(event(&*bob), UaEvent::Hold { call, held: true });
    let resumed = OFFER.replace("o=a 1 1", "o=a 1 3");
    peer.send(&*bob, &peer.in_dialog("INVITE", 3, &ok, "application/sdp", &resumed));
    let answer = peer.expect("SIP/2.0 200");
    assert!(answer.contains("a=sendrecv\r\n"), "{answer}");
    let origin = |message: &str| header(&message.replace("o=- ", "Origin: "), "Origin");
    let versions: Vec<_> =
        [&ok, &answer].map(|it| origin(it).split(' ').take(2).map(str::to_owned).collect::<Vec<_>>()).into();
    assert_eq!(versions[0][0], versions[1][0], "one session");
    assert_eq!((versions[0][1].as_str(), versions[1][1].as_str()), ("1", "3"), "each description a version");
    peer.send(&*bob, &peer.in_dialog("ACK", 3, &ok, "", ""));
    assert_eq!(event(&*bob), UaEvent::Hold { call, held: false });
    peer.send(&*bob, &peer.in_dialog("BYE", 4, &ok, "", ""));
    peer.expect("SIP/2.0 200");
    assert_eq!(ended(&*bob), EndCause::RemoteHangup);
}

#[test]
fn digits_by_info_are_told() {
    let (peer, bob, call, ok) = call_up("info");
    let relay = "Signal=7\r\nDuration=200\r\n";
    peer.send(&*bob, &peer.in_dialog("INFO", 2, &ok, "application/dtmf-relay", relay));
    peer.expect("SIP/2.0 200");
    assert_eq!(event(&*bob), UaEvent::Digit { call, digit: '7', duration_ms: 200 });
}

#[test]
fn digits_by_rtp_are_told_once_each() {
    let (peer, bob) = (Peer::new(), open("bob", "127.0.0.1:0"));
    let rtp = UdpSocket::bind("127.0.0.1:0").expect("socket");
    let port = rtp.local_addr().expect("address").port();
    let offer = OFFER.replace("39998 RTP/AVP 8 0", &format!("{port} RTP/AVP 0 96"))
        + "a=rtpmap:96 telephone-event/8000\r\n";
    peer.send(&*bob, &peer.invite("rtp-digits", &offer));
    let call = incoming(&*bob);
    bob.answer(call, silence()).expect("answered");
    let ok = peer.expect("SIP/2.0 200");
    assert!(ok.contains("a=rtpmap:96 telephone-event/8000\r\n"), "{ok}");
    peer.send(&*bob, &peer.in_dialog("ACK", 1, &ok, "", ""));
    answered(&*bob);
    let line = ok.lines().find_map(|line| line.strip_prefix("m=audio ")).expect("audio line");
    let to: SocketAddr =
        format!("127.0.0.1:{}", line.split(' ').next().unwrap_or_default()).parse().expect("port");
    // Audio first, so that the source is known; then each event thrice, as RFC
    // 4733 §2.5.1.4 has its end sent.
    let mut sequence = 0u16;
    let mut send = |payload_type: u8, timestamp: u32, payload: &[u8]| {
        sequence += 1;
        let mut packet = vec![0x80, payload_type];
        packet.extend_from_slice(&sequence.to_be_bytes());
        packet.extend_from_slice(&timestamp.to_be_bytes());
        packet.extend_from_slice(&77u32.to_be_bytes());
        packet.extend_from_slice(payload);
        rtp.send_to(&packet, to).expect("sent");
        std::thread::sleep(Duration::from_millis(5));
    };
    (0..20).for_each(|n| send(0, n * 160, &[0xff; 160]));
    for (event, start) in [(5u8, 4000), (11, 8000)] {
        for _ in 0..3 {
            send(96, start, &[event, 0x80 | 10, 0x06, 0x40]);
        }
    }
    for digit in ['5', '#'] {
        assert_eq!(event(&*bob), UaEvent::Digit { call, digit, duration_ms: 200 });
    }
}

#[test]
fn an_invite_without_an_offer_is_answered_with_one() {
    let (peer, bob) = (Peer::new(), open("bob", "127.0.0.1:0"));
    peer.send(&*bob, &peer.invite("late", ""));
    bob.answer(incoming(&*bob), silence()).expect("answered");
    let ok = peer.expect("SIP/2.0 200");
    assert!(ok.contains(" RTP/AVP 0 8 101\r\n"), "{ok}");
    peer.send(&*bob, &peer.in_dialog("ACK", 1, &ok, "application/sdp", OFFER));
    match event(&*bob) {
        UaEvent::Answered { codec, .. } => assert_eq!(codec, Codec::Pcma, "the answer's first"),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_storm_of_repeated_200s_and_late_requests_harms_nothing() {
    let (peer, alice) = (Peer::new(), open("alice", "127.0.0.1:0"));
    let call = alice.dial(&format!("sip:peer@{}", peer.local), silence()).expect("dialled");
    let invite = peer.expect("INVITE ");
    assert!(invite.contains(" RTP/AVP 0 8 101\r\n"), "{invite}");
    let ok = reply(&invite, "200 OK").replace("\r\nCall-ID", ";tag=p\r\nCall-ID").replace(
        "Content-Length: 0\r\n\r\n",
        &format!(
            "Contact: <sip:peer@{}>\r\nContent-Type: application/sdp\r\nContent-Length: {}\r\n\r\n{OFFER}",
            peer.local,
            OFFER.len()
        ),
    );
    for _ in 0..100 {
        peer.send(&*alice, &ok);
    }
    assert_eq!(answered(&*alice), call);
    for _ in 0..100 {
        peer.expect("ACK ");
    }
    alice.hangup(call).expect("hung up");
    let bye = peer.expect("BYE ");
    peer.send(&*alice, &reply(&bye, "200 OK"));
    assert_eq!(ended(&*alice), EndCause::LocalHangup);
    for _ in 0..20 {
        peer.send(&*alice, &ok);
        peer.send(&*alice, &reply(&bye, "200 OK"));
    }
    peer.send(&*alice, &peer.request("OPTIONS", "alive", "Max-Forwards: 70\r\n", ""));
    peer.expect("SIP/2.0 200");
    assert!(alice.events().is_empty(), "the end was the last event");
}
