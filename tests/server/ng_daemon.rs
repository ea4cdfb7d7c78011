//! rtpengine's `ng` client with a faulty daemon: the first datagram of every command is lost, replies with
//! wrong cookies come first, and the right one comes three times.

use std::collections::{HashMap, HashSet};
use std::net::{SocketAddr, UdpSocket};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use b2b::call::controller::{
    AddressFamily, Answer, EndpointSpec, MediaBackend, MediaController, MediaEvent, PairPolicy, Verb,
};
use b2b::server::controller::rtpengine::{Interfaces, RtpengineConfig, RtpengineController};

use crate::server::media_faults::alarmed;
use crate::server_support::{server, until};

/// Distance between a right port and one in a wrong reply.
const WRONG: u16 = 10_000;

/// Requests received by the daemon.
#[derive(Default)]
pub struct Heard {
    /// Number of datagrams with each cookie.
    times: HashMap<String, usize>,
    /// Commands in order, without repetitions, with the call of each.
    pub commands: Vec<(String, String)>,
    /// First port of each call.
    ports: HashMap<String, u16>,
}

/// The text value of a key in a bencoded dictionary; sufficient for b2b's requests.
fn entry(request: &str, key: &str) -> String {
    let Some(at) = request.find(&format!("{}:{key}", key.len())) else { return String::new() };
    let value = &request[at + key.len() + key.len().to_string().len() + 1..];
    let (length, text) = value.split_once(':').expect("a text");
    text[..length.parse().expect("a length")].to_owned()
}

fn described(port: u16) -> String {
    let sdp = format!(
        "v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=-\r\nc=IN IP4 127.0.0.1\r\nt=0 0\r\nm=audio {port} RTP/AVP 0\r\n"
    );
    format!("d6:result2:ok3:sdp{}:{sdp}e", sdp.len())
}

/// The daemon; it lives as long as the test.
fn daemon(socket: UdpSocket) -> Arc<Mutex<Heard>> {
    serve(socket, true)
}

/// One without faults.
pub fn faithful_daemon(socket: UdpSocket) -> Arc<Mutex<Heard>> {
    serve(socket, false)
}

fn serve(socket: UdpSocket, is_faulty: bool) -> Arc<Mutex<Heard>> {
    let heard = Arc::new(Mutex::new(Heard::default()));
    let kept = heard.clone();
    std::thread::spawn(move || {
        let mut datagram = vec![0; 65_536];
        while let Ok((length, peer)) = socket.recv_from(&mut datagram) {
            let text = String::from_utf8_lossy(&datagram[..length]).into_owned();
            let (cookie, request) = text.split_once(' ').expect("a cookie");
            let (command, call) = (entry(request, "command"), entry(request, "call-id"));
            let mut heard = kept.lock().expect("a lock");
            let times = heard.times.entry(cookie.to_owned()).or_default();
            *times += 1;
            if *times == 1 {
                heard.commands.push((command.clone(), call.clone()));
                if is_faulty {
                    continue;
                }
            }
            let next = 30_000 + 4 * u16::try_from(heard.ports.len()).expect("few");
            let of = |base: u16| match &*command {
                "offer" => described(base),
                "answer" => described(base + 2),
                "ping" => "d6:result4:ponge".to_owned(),
                _ => "d6:result2:oke".to_owned(),
            };
            let base = if call.is_empty() { 0 } else { *heard.ports.entry(call.clone()).or_insert(next) };
            drop(heard);
            let said = |cookie: &str, reply: &str| {
                drop(socket.send_to(format!("{cookie} {reply}").as_bytes(), peer))
            };
            if !is_faulty {
                said(cookie, &of(base));
                continue;
            }
            said(&format!("x{cookie}"), &of(base + WRONG));
            said(&format!("{cookie}0000"), &of(base + WRONG));
            for _ in 0..3 {
                said(cookie, &of(base));
                std::thread::sleep(Duration::from_millis(10));
            }
        }
    });
    heard
}

fn offer(port: u16) -> bytes::Bytes {
    let sdp = format!(
        "v=0\r\no=- 7 1 IN IP4 127.0.0.1\r\ns=-\r\nc=IN IP4 127.0.0.1\r\nt=0 0\r\nm=audio {port} RTP/AVP 0\r\n"
    );
    sdp.into_bytes().into()
}

#[tokio::test]
async fn commands_whose_datagrams_are_lost_or_answered_twice_or_by_strangers_are_done_all_the_same() {
    let socket = UdpSocket::bind("127.0.0.1:0").expect("a socket");
    let at = socket.local_addr().expect("an address");
    let heard = daemon(socket);
    let config = RtpengineConfig { server: at, interfaces: Interfaces::default(), lasts: false, seed: 7 };
    let (media, mut events) = RtpengineController::start(config).expect("it starts");
    let spec = EndpointSpec::new(AddressFamily::V4);
    let (one, other) = tokio::join!(media.allocate_endpoint(spec.clone()), media.allocate_endpoint(spec));
    let ((a, at_a), (b, at_b)) = (one.expect("an endpoint"), other.expect("an endpoint"));
    let given: HashSet<u16> = heard.lock().expect("a lock").ports.values().copied().collect();
    assert_eq!(HashSet::from([at_a.rtp.port(), at_b.rtp.port()]), given, "no port of a stranger's reply");
    let verb = Verb::PairOffer { from: a, to: b, offer: offer(9_000), policy: PairPolicy::default() };
    let to_b = media.request(verb).read(Answer::description).await.expect("an offer");
    assert!(String::from_utf8_lossy(&to_b).contains(&format!("m=audio {}", at_b.rtp.port())));
    media.request(Verb::PairAnswer { from: b, to: a, answer: offer(9_002) }).await.expect("an answer");
    media.request(Verb::Bridge { a, b }).await.expect("a bridge");
    media.stats(a).await.expect("counters");
    media.release_endpoint(a);
    media.release_endpoint(b);
    let mut closed = HashSet::new();
    while closed.len() < 2 {
        let event = tokio::time::timeout(Duration::from_secs(30), events.recv()).await.expect("an end");
        let Some(MediaEvent::Closed { endpoint, .. }) = event else { panic!("{event:?}") };
        closed.insert(endpoint);
    }
    assert_eq!(media.endpoints(), 0);
    let heard = heard.lock().expect("a lock");
    let (mut deleted, mut calls) = (Vec::new(), HashSet::new());
    for (command, call) in &heard.commands {
        match &**command {
            "delete" => deleted.push(call),
            "offer" => drop(calls.insert(call)),
            _ => {}
        }
    }
    assert_eq!((deleted.len(), calls.len()), (2, 2), "each once: {:?}", heard.commands);
    assert!(deleted.iter().all(|call| calls.contains(call)));
}

#[test]
fn an_alarm_stands_while_rtpengine_does_not_answer() {
    let nobody: SocketAddr =
        UdpSocket::bind("127.0.0.1:0").and_then(|socket| socket.local_addr()).expect("a port");
    let server = server(&format!("[media]\ncontroller = \"rtpengine://{nobody}\"\n"));
    alarmed(&server, &[("no_media", String::new()), ("media_server_down", nobody.to_string())]);
    let socket = until("its port", || UdpSocket::bind(nobody).ok());
    let _heard = daemon(socket);
    alarmed(&server, &[]);
}
