//! The machine with an rtpengine made of answers, in virtual time.

use super::*;

const A: EndpointId = EndpointId(1);
const B: EndpointId = EndpointId(2);

/// The machine, and what it has sent.
struct Bench {
    now: Instant,
    relay: Relay,
    sent: VecDeque<Bytes>,
    out: Vec<Output>,
}

impl Bench {
    fn new() -> Bench {
        let now = Instant::now();
        let relay = Relay::new(now, "t".to_owned(), Interfaces::default());
        Bench { now, relay, sent: VecDeque::new(), out: Vec::new() }
    }

    fn collect(&mut self) {
        while let Some(output) = self.relay.poll() {
            match output {
                Output::Transmit(datagram) => self.sent.push_back(datagram),
                other => self.out.push(other),
            }
        }
    }

    /// The oldest request that is not answered: its cookie, and what it asks for.
    fn asked(&mut self) -> Option<(String, Value)> {
        self.collect();
        let datagram = self.sent.pop_front()?;
        let space = datagram.iter().position(|it| *it == b' ').expect("a cookie");
        let cookie = String::from_utf8(datagram[..space].to_vec()).expect("text");
        Some((cookie, Value::decode(&datagram[space + 1..]).expect("bencode")))
    }

    fn reply(&mut self, cookie: &str, reply: &Value) {
        let mut datagram = format!("{cookie} ").into_bytes();
        reply.encode(&mut datagram);
        self.relay.input(self.now, &datagram);
        self.collect();
    }

    /// Answers the next request with ports from `base` on, or refuses it; what was asked for.
    fn answer(&mut self, base: Result<u16, &str>) -> String {
        let (cookie, request) = self.asked().expect("a request");
        let command = request.get("command").and_then(Value::text).expect("a command").to_owned();
        let ok =
            |entries: Vec<(&str, Value)>| Value::dict([("result", "ok".into())].into_iter().chain(entries));
        let reply = match (base, &*command) {
            (Err(reason), _) => Value::dict([("result", "error".into()), ("error-reason", reason.into())]),
            (Ok(base), "offer") => ok(vec![("sdp", Value::Octets(sdp(base)))]),
            (Ok(base), "answer") => ok(vec![("sdp", Value::Octets(sdp(base + 2)))]),
            (Ok(packets), "query") => ok(vec![("tags", tags(packets.into()))]),
            (Ok(_), _) => ok(vec![]),
        };
        self.reply(&cookie, &reply);
        command
    }

    fn open(&mut self, id: EndpointId, base: u16) {
        self.relay.open(self.now, id, false, Some(Duration::from_secs(30)));
        assert_eq!([self.answer(Ok(base)), self.answer(Ok(base))], ["offer", "answer"]);
        let places = Places { party: at(base), inner: at(base + 2) };
        assert!(
            matches!(self.out.pop(), Some(Output::Opened(opened, Ok(it))) if opened == id && it == places)
        );
    }

    fn pass(&mut self, time: Duration) {
        self.now += time;
        self.relay.timeout(self.now);
        self.collect();
    }

    /// Time passes, and every request that comes meanwhile is answered so.
    fn live(&mut self, seconds: u64, packets: u16) {
        for _ in 0..seconds * 4 {
            self.pass(Duration::from_millis(250));
            while !self.sent.is_empty() {
                self.answer(Ok(packets));
            }
        }
    }

    fn events(&mut self) -> Vec<MediaEvent> {
        let out = std::mem::take(&mut self.out);
        let events = out.into_iter().filter_map(|it| match it {
            Output::Event(event) => Some(event),
            _ => None,
        });
        events.collect()
    }
}

fn at(port: u16) -> SocketAddr {
    SocketAddr::from(([192, 0, 2, 7], port))
}

fn sdp(port: u16) -> Vec<u8> {
    format!("v=0\r\no=- 1 1 IN IP4 192.0.2.7\r\ns=-\r\nc=IN IP4 192.0.2.7\r\nt=0 0\r\nm=audio {port} RTP/AVP 0\r\n")
        .into_bytes()
}

fn tags(packets: i64) -> Value {
    let end = |packets: i64| {
        let stats = Value::dict([("packets", Value::Int(packets)), ("bytes", Value::Int(packets * 172))]);
        let endpoint = Value::dict([("address", "198.51.100.4".into()), ("port", Value::Int(4_000))]);
        let stream = Value::dict([("stats", stats), ("endpoint", endpoint), ("SSRC", Value::Int(77))]);
        let rtcp = Value::dict([("stats", Value::dict([("packets", Value::Int(packets / 10))]))]);
        let media = Value::dict([("streams", Value::List(vec![stream, rtcp]))]);
        Value::dict([("medias", Value::List(vec![media]))])
    };
    Value::dict([("party", end(packets)), ("inner", end(packets / 2))])
}

fn wanted(party: u16, inner: u16) -> Wanted {
    Wanted { party: End::at(at(party)), inner: End::at(at(inner)), expects: true }
}

fn told(request: &Value) -> String {
    String::from_utf8(request.get("sdp").and_then(Value::octets).expect("an SDP").to_vec()).expect("text")
}

#[test]
fn what_is_wanted_meanwhile_waits_and_only_the_last_of_it_is_said() {
    let mut bench = Bench::new();
    bench.open(A, 30_000);
    for port in [4_000, 4_002, 4_004] {
        bench.relay.want(bench.now, A, wanted(port, port + 1_000));
    }
    let mut said = Vec::new();
    while let Some((cookie, request)) = bench.asked() {
        let base =
            if request.get("command").and_then(Value::text) == Some("offer") { 30_000 } else { 30_002 };
        said.push(told(&request));
        bench.reply(&cookie, &Value::dict([("result", "ok".into()), ("sdp", Value::Octets(sdp(base)))]));
    }
    let ports: Vec<_> = said.iter().map(|it| it.split("m=audio ").nth(1).unwrap()[..4].to_owned()).collect();
    assert_eq!(ports, ["5000", "4000", "5004", "4004"]);
    bench.relay.want(bench.now, A, wanted(4_004, 5_004));
    assert!(bench.asked().is_none(), "it is so already");
}

#[test]
fn an_endpoint_that_is_released_is_deleted_once_with_its_last_counters() {
    let mut bench = Bench::new();
    bench.relay.open(bench.now, A, false, None);
    bench.relay.release(bench.now, A);
    assert_eq!([bench.answer(Ok(30_000)), bench.answer(Ok(30_000))], ["offer", "answer"]);
    let (cookie, request) = bench.asked().expect("a request");
    assert_eq!(request.get("command").and_then(Value::text), Some("delete"));
    bench.relay.release(bench.now, A);
    bench.reply(&cookie, &Value::dict([("result", "ok".into()), ("tags", tags(50))]));
    assert!(bench.asked().is_none());
    let events = bench.events();
    assert!(
        matches!(&events[..], [MediaEvent::Closed { endpoint: A, stats }]
            if (stats.received.packets, stats.sent.packets, stats.rtcp.received) == (50, 25, 5)),
        "{events:?}"
    );
    assert_eq!(bench.relay.len(), 0);
}

#[test]
fn the_partys_first_packet_is_told_and_its_silence_too_once() {
    let mut bench = Bench::new();
    bench.open(A, 30_000);
    bench.relay.want(bench.now, A, wanted(4_000, 5_000));
    assert_eq!([bench.answer(Ok(30_000)), bench.answer(Ok(30_000))], ["offer", "answer"]);
    bench.live(2, 10);
    let from = "198.51.100.4:4000".parse().unwrap();
    assert_eq!(bench.events(), [MediaEvent::Started { endpoint: A, from }]);
    bench.live(25, 10);
    assert_eq!(bench.events(), []);
    bench.live(80, 10);
    assert_eq!(bench.events(), [MediaEvent::Timeout { endpoint: A }]);
}

#[test]
fn a_call_that_rtpengine_has_forgotten_is_reported_once_and_no_other_one() {
    let mut bench = Bench::new();
    bench.open(A, 30_000);
    bench.open(B, 30_100);
    bench.pass(Duration::from_millis(500));
    // A ping, and a look at each.
    for _ in 0..3 {
        let (cookie, request) = bench.asked().expect("a request");
        let known = request.get("call-id").and_then(Value::text) != Some("t-1");
        let reply = match known {
            true => Value::dict([("result", "ok".into()), ("tags", tags(0))]),
            false => Value::dict([("result", "error".into()), ("error-reason", "Unknown call-id".into())]),
        };
        bench.reply(&cookie, &reply);
    }
    let reason = "Unknown call-id".to_owned();
    assert_eq!(bench.events(), [MediaEvent::Failed { endpoint: A, reason }]);
    bench.live(20, 0);
    assert_eq!(bench.events(), []);
    // Other ports than before: a new rtpengine that has never heard of the call.
    bench.relay.want(bench.now, B, wanted(4_000, 5_000));
    assert_eq!(bench.answer(Ok(31_000)), "offer");
    assert!(matches!(&bench.events()[..], [MediaEvent::Failed { endpoint: B, .. }]));
    for id in [A, B] {
        bench.relay.release(bench.now, id);
        assert_eq!(bench.answer(Err("Unknown call-id")), "delete");
    }
    assert_eq!(bench.events().len(), 2, "closed");
    assert_eq!(bench.relay.len(), 0);
}

#[test]
fn an_rtpengine_that_is_dead_fails_every_endpoint_and_takes_no_new_ones_until_it_answers() {
    let mut bench = Bench::new();
    bench.open(A, 30_000);
    bench.open(B, 30_100);
    for _ in 0..40 {
        bench.pass(Duration::from_millis(100));
    }
    let mut failed: Vec<_> = bench.events().into_iter().collect();
    failed.sort_by_key(|it| matches!(it, MediaEvent::Failed { endpoint: B, .. }));
    assert!(
        matches!(
            &failed[..],
            [MediaEvent::Failed { endpoint: A, .. }, MediaEvent::Failed { endpoint: B, .. }]
        ),
        "{failed:?}"
    );
    bench.relay.open(bench.now, EndpointId(3), false, None);
    bench.collect();
    assert!(matches!(bench.out.pop(), Some(Output::Opened(EndpointId(3), Err(MediaError::Stopped)))));
    for id in [A, B] {
        bench.relay.release(bench.now, id);
    }
    for _ in 0..40 {
        bench.pass(Duration::from_millis(100));
    }
    assert_eq!((bench.relay.len(), bench.events().len()), (0, 2), "both are closed");
    bench.sent.clear();
    bench.pass(PING);
    let (cookie, request) = bench.asked().expect("a ping");
    assert_eq!(request, words::ping());
    bench.reply(&cookie, &Value::dict([("result", "pong".into())]));
    bench.open(EndpointId(4), 30_200);
}

#[test]
fn a_refused_endpoint_is_an_answer_and_leaves_nothing() {
    let mut bench = Bench::new();
    bench.relay.open(bench.now, A, false, None);
    assert_eq!(bench.answer(Err("Ran out of ports")), "offer");
    assert!(matches!(bench.out.pop(), Some(Output::Opened(A, Err(MediaError::NoPorts)))));
    assert_eq!(bench.answer(Err("Unknown call-id")), "delete");
    assert_eq!((bench.relay.len(), bench.events().len()), (0, 0));
    // IPv4 is no place for a party of IPv6.
    bench.relay.open(bench.now, B, true, None);
    assert_eq!(bench.answer(Ok(30_000)), "offer");
    let out = bench.out.pop();
    assert!(matches!(out, Some(Output::Opened(B, Err(MediaError::Family(AddressFamily::V6))))), "{out:?}");
    assert_eq!(bench.answer(Ok(0)), "delete");
    assert_eq!((bench.relay.len(), bench.events().len()), (0, 0));
}

#[test]
fn hostile_datagrams_are_counted_and_change_nothing() {
    let mut bench = Bench::new();
    bench.open(A, 30_000);
    for datagram in [&b""[..], b"t_1 de", b"t_999 d6:result2:oke", b"d6:result2:oke", &[b'l'; 9_000]] {
        bench.relay.input(bench.now, datagram);
    }
    bench.collect();
    assert_eq!((bench.relay.hostile, bench.out.len(), bench.relay.len()), (5, 0, 1));
    // What has the shape of a reply, and nothing of its content.
    bench.relay.want(bench.now, A, wanted(4_000, 5_000));
    let (cookie, _) = bench.asked().expect("an offer");
    bench.reply(&cookie, &Value::dict([("result", "ok".into()), ("sdp", Value::Octets(vec![0xFF; 3]))]));
    assert!(matches!(&bench.events()[..], [MediaEvent::Failed { endpoint: A, .. }]));
}

#[test]
fn an_end_that_is_told_to_send_nowhere_keeps_its_address() {
    let mut bench = Bench::new();
    bench.open(A, 30_000);
    let nowhere = End::nowhere(false);
    bench.relay.want(bench.now, A, Wanted { party: nowhere, inner: nowhere, expects: false });
    for port in [30_000, 30_002] {
        let (cookie, request) = bench.asked().expect("a request");
        assert!(told(&request).contains("c=IN IP4 0.0.0.0"), "{}", told(&request));
        let sdp = String::from_utf8(sdp(port)).unwrap().replace("c=IN IP4 192.0.2.7", "c=IN IP4 0.0.0.0");
        let sdp = Value::Octets(sdp.into_bytes());
        bench.reply(&cookie, &Value::dict([("result", "ok".into()), ("sdp", sdp)]));
    }
    assert_eq!(bench.events(), []);
    bench.relay.want(bench.now, A, wanted(4_000, 5_000));
    assert_eq!([bench.answer(Ok(30_000)), bench.answer(Ok(30_000))], ["offer", "answer"]);
    assert_eq!(bench.events(), []);
}
