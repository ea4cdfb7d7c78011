//! What rtpengine is told of a party's addresses.

use super::*;

/// Where rtpengine is to send for a party at 203.0.113.5 that gives this address and port.
fn told(
    given: &str,
    port: u16,
    bound: Option<Bound>,
    signalling: Signalling,
) -> (String, Option<SocketAddr>) {
    let mut side = Side::new("192.0.2.1:30000".parse().unwrap(), 1);
    let policy = PairPolicy { rtcp_mux: false, ..PairPolicy::default() };
    pair::local_offer(&mut side, None, &policy).unwrap();
    let answer = format!(
        "v=0\r\no=- 1 1 IN IP4 203.0.113.5\r\ns=-\r\nc=IN IP4 {given}\r\nt=0 0\r\n\
         m=audio {port} RTP/AVP 8\r\na=rtcp:4009\r\n"
    );
    pair::apply(&mut side, answer.as_bytes()).unwrap();
    let inner = "192.0.2.1:30002".parse().unwrap();
    let receiving = Receiving::from([(side.rtp(), None), (inner, None)]);
    let entry = Entry { side, inner, joined: None, signalling, bound };
    let endpoints = HashMap::from([(EndpointId(1), entry)]);
    let state = State { rng: StdRng::seed_from_u64(1), last: 1, endpoints, receiving };
    let party = state.wanted(EndpointId(1)).unwrap().party;
    (party.rtp.to_string(), party.rtcp)
}

#[test]
fn rtpengine_is_told_what_a_party_may_name_and_else_where_its_signalling_comes_from() {
    let bound = || Some(Bound::default());
    let from = [Some("203.0.113.5".parse().unwrap()), None];
    let rtp = |given, port, bound, from| told(given, port, bound, from).0;
    let named = told("198.51.100.7", 4_000, bound(), from);
    assert_eq!(named, ("198.51.100.7:4000".into(), Some("198.51.100.7:4009".parse().unwrap())));
    // Loopback and private hosts, and ports of endpoints.
    for (given, port) in
        [("127.0.0.1", 4_000), ("10.0.0.7", 4_000), ("192.0.2.1", 30_000), ("192.0.2.1", 30_003)]
    {
        let at = format!("203.0.113.5:{port}");
        assert_eq!(told(given, port, bound(), from), (at, None), "{given}:{port}");
    }
    assert_eq!(rtp("10.0.0.7", 4_000, None, from), "10.0.0.7:4000", "nothing is ruled");
    assert_eq!(rtp("media.example.net", 4_000, bound(), from), "203.0.113.5:4000");
    assert_eq!(rtp("0.0.0.0", 4_000, bound(), from), "0.0.0.0:9", "a hold");
    let six = [Some("2001:db8::5".parse().unwrap()), None];
    for from in [six, [None; 2]] {
        assert_eq!(rtp("10.0.0.7", 4_000, bound(), from), "0.0.0.0:9", "of no use: {from:?}");
    }
    let moved = [six[0], from[0]];
    assert_eq!(rtp("media.example.net", 4_000, bound(), moved), "203.0.113.5:4000", "its last message");
}
