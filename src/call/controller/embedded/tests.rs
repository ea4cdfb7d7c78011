//! The embedded controller with parties on loopback.

use std::net::{SocketAddr, UdpSocket};
use std::ops::RangeInclusive;
use std::time::{Duration, Instant};

use bytes::Bytes;
use tokio::sync::oneshot;

use super::*;
use crate::controller::{
    AudioRules, EndpointStats, Joined, LocalDescription, MediaController, PairPolicy, Prompt, Route,
};

const LOCALHOST: IpAddr = IpAddr::V4(std::net::Ipv4Addr::LOCALHOST);
const PATIENCE: Duration = Duration::from_secs(10);

struct Lab {
    controller: EmbeddedController,
    events: mpsc::UnboundedReceiver<MediaEvent>,
}

struct Party {
    socket: UdpSocket,
    id: EndpointId,
    local: SocketAddr,
}

impl Lab {
    fn new(ports: RangeInclusive<u16>) -> Self {
        Lab::with_threads(1, ports)
    }

    fn with_threads(threads: usize, ports: RangeInclusive<u16>) -> Self {
        let config = EmbeddedConfig {
            threads: Some(threads),
            ..EmbeddedConfig::new(vec![(LOCALHOST, None)], ports, 3)
        };
        let (controller, events) = EmbeddedController::start(config).unwrap();
        // A thread that has only just begun has no endpoints bound ahead: others are taken instead of its own.
        let start = Instant::now();
        let is_ready = |it: oneshot::Receiver<(Totals, Ports)>| it.blocking_recv().unwrap().1.ready > 16;
        while !controller.relay.totals().into_iter().all(is_ready) {
            assert!(start.elapsed() < PATIENCE, "no ports");
            std::thread::yield_now();
        }
        Lab { controller, events }
    }

    fn party(&self) -> Party {
        self.party_with(AudioRules::default())
    }

    fn party_with(&self, audio: AudioRules) -> Party {
        let socket = UdpSocket::bind((LOCALHOST, 0)).unwrap();
        socket.set_read_timeout(Some(PATIENCE)).unwrap();
        let spec = EndpointSpec { audio, ..EndpointSpec::new(AddressFamily::V4) };
        let allocated = self.controller.allocate_endpoint(spec);
        let (id, LocalDescription { rtp }) = allocated.wait().unwrap();
        Party { socket, id, local: rtp }
    }

    /// Waits until all previous commands are executed.
    fn settle(&self, party: &Party) -> EndpointStats {
        self.controller.stats(party.id).wait().unwrap()
    }

    /// Starts a verb whose answer is ready within the turn.
    fn ask(&self, verb: Verb) -> Result<Answer, MediaError> {
        ready(self.controller.request(verb))
    }

    /// Starts a verb that is answered by a description.
    fn describe(&self, verb: Verb) -> Result<Bytes, MediaError> {
        ready(self.controller.request(verb).read(Answer::description))
    }

    fn pair_offer(&self, from: &Party, to: &Party, offer: Bytes) -> Result<Bytes, MediaError> {
        let (from, to) = (from.id, to.id);
        self.describe(Verb::PairOffer { from, to, offer, policy: PairPolicy::default() })
    }

    fn pair_answer(&self, from: &Party, to: &Party, answer: Bytes) -> Result<Bytes, MediaError> {
        self.describe(Verb::PairAnswer { from: from.id, to: to.id, answer })
    }

    fn local_offer(&self, to: &Party, like: &Party) -> Result<Bytes, MediaError> {
        let (endpoint, like) = (to.id, Some(like.id));
        self.describe(Verb::LocalOffer { endpoint, like, policy: PairPolicy::default() })
    }

    fn local_answer(&self, to: &Party, offer: Bytes) -> Result<Bytes, MediaError> {
        self.describe(Verb::LocalAnswer { endpoint: to.id, offer, policy: PairPolicy::default() })
    }

    fn apply_remote(&self, from: &Party, answer: Bytes) -> Result<Answer, MediaError> {
        self.ask(Verb::ApplyRemote { endpoint: from.id, answer })
    }

    fn bridge(&self, a: &Party, b: &Party) -> Result<Joined, MediaError> {
        self.ask(Verb::Bridge { a: a.id, b: b.id }).map(|answer| match answer {
            Answer::Joined(joined) => joined,
            other => panic!("{other:?}"),
        })
    }
}

fn ready<T: Unpin>(future: MediaFuture<T>) -> Result<T, MediaError> {
    future.now().unwrap_or_else(|_| panic!("it is ready within the turn"))
}

impl Party {
    fn session(&self, formats: &str, direction: &str) -> Bytes {
        let port = self.socket.local_addr().unwrap().port();
        format!(
            "v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=-\r\nc=IN IP4 127.0.0.1\r\nt=0 0\r\n\
             m=audio {port} RTP/AVP {formats}\r\na=rtcp-mux\r\na={direction}\r\n"
        )
        .into()
    }

    fn send(&self, payload_type: u8, sequence: u16, payload: &[u8]) {
        let mut packet = vec![0x80, payload_type];
        packet.extend_from_slice(&sequence.to_be_bytes());
        packet.extend_from_slice(&[0, 0, 0, 0, 9, 9, 9, self.id.0 as u8]);
        packet.extend_from_slice(payload);
        self.socket.send_to(&packet, self.local).unwrap();
    }

    /// The next RTP packet: payload type, SSRC, payload.
    fn receive(&self) -> (u8, u32, Vec<u8>) {
        let mut buffer = [0; 2_048];
        for _ in 0..5 {
            let len = self.socket.recv(&mut buffer).expect("a packet in time");
            if let Some(header) = b2b_media::forward::Header::read(&buffer[..len])
                && !(64..=95).contains(&header.payload_type)
            {
                return (header.payload_type, header.ssrc, buffer[header.payload..len].to_vec());
            }
        }
        panic!("RTCP only");
    }
}

#[test]
fn a_turn_that_wants_more_endpoints_than_are_bound_ahead_does_not_wait_for_them() {
    let lab = Lab::new(27_000..=31_999);
    lab.controller.begin_turn();
    let allocate = || lab.controller.allocate_endpoint(EndpointSpec::new(AddressFamily::V4));
    let (there, later): (Vec<_>, Vec<_>) = (0..1_000).map(|_| allocate().now()).partition(Result::is_ok);
    assert!(!later.is_empty(), "its media thread sleeps until the turn is over");
    lab.controller.end_turn();
    let later = later.into_iter().filter_map(Result::err).map(MediaFuture::wait);
    let all: Vec<_> =
        there.into_iter().filter_map(Result::ok).chain(later).collect::<Result<_, _>>().unwrap();
    let ids: std::collections::HashSet<_> = all.iter().map(|(id, _)| *id).collect();
    assert_eq!((ids.len(), lab.controller.endpoints()), (1_000, 1_000));
    ids.into_iter().for_each(|id| lab.controller.release_endpoint(id));
    assert_eq!((lab.controller.endpoints(), lab.controller.relay.open_endpoints()), (0, 0));
}

#[test]
fn a_call_is_paired_bridged_held_transferred_and_over() {
    let mut lab = Lab::new(23_000..=23_199);
    let (a, b) = (lab.party(), lab.party());
    let offer = lab.pair_offer(&a, &b, a.session("0", "sendrecv")).unwrap();
    assert!(
        String::from_utf8_lossy(&offer).contains(&format!("m=audio {} RTP/AVP 0 111 9 8", b.local.port()))
    );
    assert_eq!(lab.bridge(&a, &b), Err(MediaError::Undescribed));
    lab.pair_answer(&b, &a, b.session("0", "sendrecv")).unwrap();
    assert!(lab.bridge(&a, &b).unwrap().is_relay());
    lab.settle(&a);
    a.send(0, 1, b"to b");
    b.send(0, 1, b"to a");
    assert_eq!(b.receive().2, b"to b");
    let (_, ssrc, payload) = a.receive();
    assert_eq!(payload, b"to a");

    // A puts B on hold.
    lab.pair_offer(&a, &b, a.session("0", "sendonly")).unwrap();
    let held = lab.pair_answer(&b, &a, b.session("0", "recvonly")).unwrap();
    assert!(String::from_utf8_lossy(&held).contains("a=recvonly"));
    lab.settle(&a);
    b.send(0, 2, b"unheard");
    a.send(0, 2, b"music");
    assert_eq!(b.receive().2, b"music");
    assert_eq!(lab.settle(&b).dropped.held, 1);

    // A is transferred to C, which only supports PCMA.
    let c = lab.party();
    lab.pair_offer(&a, &b, a.session("0", "sendrecv")).unwrap();
    lab.pair_answer(&b, &a, b.session("0", "sendrecv")).unwrap();
    let offer = lab.local_offer(&c, &a).unwrap();
    assert!(String::from_utf8_lossy(&offer).contains("RTP/AVP 0 111 9 8"));
    lab.apply_remote(&c, c.session("8", "sendrecv")).unwrap();
    lab.ask(Verb::Unbridge { a: a.id, b: b.id }).unwrap();
    let joined = lab.bridge(&a, &c).unwrap();
    assert_eq!(joined.forward, Route::Transcode { from: "PCMU".into(), to: "PCMA".into() });
    lab.settle(&a);
    a.send(0, 3, &[0xFF; 4]);
    let (payload_type, _, payload) = c.receive();
    assert_eq!((payload_type, payload), (8, vec![0xD5; 4]));
    c.send(8, 77, &[0xD5; 4]);
    let (payload_type, after, payload) = a.receive();
    // The smallest A-law value is 8, and so is the second µ-law value.
    assert_eq!((payload_type, after, payload), (0, ssrc, vec![0xFE; 4]), "one stream for its life");

    for party in [&a, &b, &c] {
        lab.controller.release_endpoint(party.id);
        lab.controller.release_endpoint(party.id);
    }
    assert_eq!(lab.controller.endpoints(), 0);
    let mut closed = Vec::new();
    while closed.len() < 3 {
        if let MediaEvent::Closed { endpoint, stats } = lab.events.blocking_recv().unwrap() {
            closed.push((endpoint, stats.received.packets));
        }
    }
    assert_eq!(closed, [(a.id, 3), (b.id, 2), (c.id, 1)]);
    assert_eq!(lab.bridge(&a, &b), Err(MediaError::NoSuchEndpoint(a.id)));
    lab.controller.shutdown();
    assert_eq!(lab.events.blocking_recv(), None);
}

#[test]
fn a_bridge_follows_a_new_answer_at_once() {
    let lab = Lab::new(23_200..=23_399);
    let (a, b) = (lab.party(), lab.party());
    lab.pair_offer(&a, &b, a.session("0 8", "sendrecv")).unwrap();
    lab.pair_answer(&b, &a, b.session("0", "sendrecv")).unwrap();
    lab.bridge(&a, &b).unwrap();
    lab.pair_offer(&b, &a, b.session("8", "sendrecv")).unwrap();
    lab.pair_answer(&a, &b, a.session("8", "sendrecv")).unwrap();
    lab.settle(&a);
    a.send(8, 1, b"A-law");
    assert_eq!(b.receive().0, 8);
}

#[test]
fn legs_on_different_threads_are_joined_over_a_trunk() {
    let lab = Lab::with_threads(2, 23_600..=23_999);
    let (a, b, c) = (lab.party(), lab.party(), lab.party());
    assert_ne!(a.id.0 >> 56, b.id.0 >> 56, "the emptiest thread takes the next");
    lab.pair_offer(&a, &b, a.session("0", "sendrecv")).unwrap();
    lab.pair_answer(&b, &a, b.session("8", "sendrecv")).unwrap();
    assert!(!lab.bridge(&a, &b).unwrap().is_relay());
    // Joined again in the reverse order: the trunk stays.
    lab.bridge(&b, &a).unwrap();
    assert_eq!(lab.controller.trunks(), 1);
    for party in [&a, &b, &a] {
        lab.settle(party);
    }
    for n in 1..20 {
        a.send(0, n, &[0xFF; 160]);
        assert_eq!((b.receive().0, lab.settle(&a).dropped.total()), (8, 0));
        b.send(8, n, &[0xD5; 160]);
        assert_eq!(a.receive().0, 0);
    }
    // Joined with another leg: the trunk is no longer needed.
    lab.local_offer(&c, &a).unwrap();
    lab.apply_remote(&c, c.session("0", "sendrecv")).unwrap();
    let near = c.id.0 >> 56 == a.id.0 >> 56;
    lab.bridge(&a, &c).unwrap();
    assert_eq!(lab.controller.trunks(), usize::from(!near));
    lab.controller.release_endpoint(a.id);
    assert_eq!(lab.controller.trunks(), 0);
}

#[test]
fn what_cannot_be_done_is_said() {
    let lab = Lab::new(23_400..=23_499);
    let v6 = ready(lab.controller.allocate_endpoint(EndpointSpec::new(AddressFamily::V6)));
    assert_eq!(v6.err(), Some(MediaError::Family(AddressFamily::V6)));
    let (a, b) = (lab.party(), lab.party());
    let refused = lab.pair_offer(&a, &b, Bytes::from_static(b"nonsense")).unwrap_err();
    assert_eq!(refused.status().0, 400);
    assert_eq!(lab.pair_answer(&b, &a, b.session("0", "sendrecv")), Err(MediaError::NoOffer));
    lab.pair_offer(&a, &b, a.session("9", "sendrecv")).unwrap();
    assert_eq!(lab.pair_answer(&b, &a, b.session("18", "sendrecv")), Err(MediaError::NoCommonCodec));
    assert_eq!(lab.bridge(&a, &a), Err(MediaError::NoSuchEndpoint(a.id)));
    let Err(MediaError::Prompt(what)) = lab.start_moh(&a, "default") else { panic!() };
    assert!(what.contains("default"), "{what}");
}

#[test]
fn far_ends_are_told_the_advertised_address() {
    let told: IpAddr = "203.0.113.9".parse().unwrap();
    let config = EmbeddedConfig::new(vec![(LOCALHOST, Some(told))], 23_500..=23_599, 1);
    let (controller, _events) = EmbeddedController::start(config).unwrap();
    let (id, local) = controller.allocate_endpoint(EndpointSpec::new(AddressFamily::V4)).wait().unwrap();
    assert_eq!(local.rtp.ip(), told);
    let verb = Verb::LocalOffer { endpoint: id, like: None, policy: PairPolicy::default() };
    let offer = ready(controller.request(verb).read(Answer::description)).unwrap();
    let offer = String::from_utf8_lossy(&offer);
    assert!(offer.contains("203.0.113.9") && !offer.contains("127.0.0.1"), "{offer}");
}

#[test]
fn digits_reach_the_other_party_under_its_own_payload_type_relayed_or_ours() {
    let lab = Lab::new(22_800..=22_899);
    let (a, b) = (lab.party(), lab.party());
    let with_events = |payload_type: u8| format!("sendrecv\r\na=rtpmap:{payload_type} telephone-event/8000");
    lab.pair_offer(&a, &b, a.session("0 101", &with_events(101))).unwrap();
    lab.pair_answer(&b, &a, b.session("0 110", &with_events(110))).unwrap();
    lab.bridge(&a, &b).unwrap();
    lab.settle(&a);
    a.send(0, 1, b"talk");
    let (_, ssrc, _) = b.receive();
    a.send(101, 2, &[5, 0x8A, 3, 32]);
    assert_eq!(b.receive(), (110, ssrc, vec![5, 0x8A, 3, 32]), "as it came, under b's number");
    lab.controller.tell(Verb::SendDigit { endpoint: b.id, digit: '#', duration_ms: 100 });
    for duration in [160u16, 320, 480, 640] {
        let [high, low] = duration.to_be_bytes();
        assert_eq!(b.receive(), (110, ssrc, vec![11, 0x0A, high, low]), "one stream");
    }
    for _ in 0..3 {
        assert_eq!(b.receive(), (110, ssrc, vec![11, 0x8A, 3, 32]));
    }
    a.send(0, 3, b"talk on");
    assert_eq!(b.receive(), (0, ssrc, b"talk on".to_vec()));
    lab.controller.shutdown();
}

mod rooms;
mod sounding;
mod tones;
mod trunks;
mod written;
