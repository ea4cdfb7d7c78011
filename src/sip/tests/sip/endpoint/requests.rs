//! Requests of ours other than INVITE, BYE and UPDATE: in a call, and outside any dialog
//! (RFC 3261 §8.1, §12.2.1, §22.2).

use std::time::Duration;

use b2b_sip::endpoint::{
    Body, EndpointConfig, Event, InDialog, InviteError, OutOfDialog, Reply, RequestFailure, Transport,
    UsageEvent,
};
use b2b_sip::msg::Method;
use bytes::Bytes;

use super::pair::{A, B, Network, Pair, config, field};

fn info(body: &'static str) -> InDialog {
    let body = Body { content_type: "application/dtmf-relay".into(), data: body.into() };
    InDialog { method: Method::Info, headers: vec![("X-Kind".into(), "digit".into())], body: Some(body) }
}

fn accepting(methods: &[Method]) -> [EndpointConfig; 2] {
    [1, 2].map(|end| EndpointConfig { accept: methods.to_vec(), outside: methods.to_vec(), ..config(end) })
}

const ADDRESSES: [&str; 2] = ["192.0.2.1:5060", "192.0.2.2:5060"];

#[test]
fn a_request_inside_a_call_and_its_response_on_a_bad_network() {
    for seed in 0..20 {
        let network = Network { loss: 0.2, duplicate: 0.1, delay_ms: (5, 120), seed };
        let mut pair = Pair::with(Network::QUIET, accepting(&[Method::Info]), ADDRESSES);
        let (a, _) = pair.connected(Transport::Udp);
        pair.set_network(network);
        let now = pair.now;
        let sent = pair.ends[A].request(now, a, info("Signal=5")).unwrap();
        let mut answered = 0;
        let mut responses = Vec::new();
        for _ in 0..80 {
            pair.run(Duration::from_millis(500));
            for event in pair.take(B) {
                let Event::Usage { event: UsageEvent::Request { transaction, request }, .. } = event else {
                    panic!("{event:?}")
                };
                assert_eq!((request.method(), &request.body()[..]), (&Method::Info, &b"Signal=5"[..]));
                answered += 1;
                let now = pair.now;
                let reply = Reply { headers: vec![("X-Seen".into(), "yes".into())], ..Reply::status(200) };
                pair.ends[B].respond(now, transaction, reply).unwrap();
            }
            for event in pair.take(A) {
                let Event::Usage { event: UsageEvent::Response { request, result }, .. } = event else {
                    panic!("{event:?}")
                };
                assert_eq!(request, sent);
                responses.push(result);
            }
        }
        assert_eq!(responses.len(), 1, "seed {seed}");
        // Eleven transmissions with 20 % loss each way: here one always succeeds.
        assert!(responses.pop().unwrap().is_ok_and(|response| response.status() == 200), "seed {seed}");
        assert_eq!(answered, 1, "seed {seed}");
    }
}

#[test]
fn a_request_inside_a_call_that_comes_to_nothing_says_so_and_the_call_goes_on() {
    let mut pair = Pair::new(Network::QUIET);
    let (a, _) = pair.connected(Transport::Udp);
    pair.mute[B] = true;
    let now = pair.now;
    pair.ends[A].request(now, a, info("x")).unwrap();
    pair.run(Duration::from_secs(33));
    let events = pair.take(A);
    assert!(
        matches!(
            events.as_slice(),
            [Event::Usage {
                event: UsageEvent::Response { result: Err(RequestFailure::NoResponse), .. },
                ..
            }]
        ),
        "{events:?}"
    );
    for method in [Method::Invite, Method::Bye, Method::Update, Method::Prack, Method::Cancel, Method::Ack] {
        let now = pair.now;
        let request = InDialog { method, headers: Vec::new(), body: None };
        assert!(pair.ends[A].request(now, a, request).is_err());
    }
}

fn register() -> OutOfDialog {
    OutOfDialog {
        from: Some("<sip:alice@example.com>".into()),
        to: Some("<sip:alice@example.com>".into()),
        contact: Some(";expires=300".into()),
        contact_user: Some("alice".into()),
        ..OutOfDialog::new(Method::Register, "sip:192.0.2.2:5060")
    }
}

#[test]
fn a_register_is_sent_challenged_and_sent_again() {
    for transport in [Transport::Udp, Transport::Tcp] {
        let mut pair = Pair::with(Network::QUIET, accepting(&[Method::Register]), ADDRESSES);
        let identity = pair.ends[A].identify();
        let target =
            if transport == Transport::Tcp { "sip:192.0.2.2;transport=tcp" } else { "sip:192.0.2.2" };
        let request = OutOfDialog { identity: Some(identity.clone()), target: target.into(), ..register() };
        let now = pair.now;
        let first = pair.ends[A].request_outside(now, request.clone()).unwrap();
        pair.settle();
        let answer = |pair: &mut Pair, status| {
            let events = pair.take(B);
            let [Event::Request { transaction, .. }] = events.as_slice() else { panic!("{events:?}") };
            let now = pair.now;
            let headers = vec![("WWW-Authenticate".into(), "Digest realm=\"r\"".into())];
            pair.ends[B].respond(now, *transaction, Reply { headers, ..Reply::status(status) }).unwrap();
            pair.settle();
        };
        answer(&mut pair, 401);
        match pair.take(A).as_slice() {
            [Event::Response { request, result: Ok(response), flow: Some(flow) }] => {
                assert_eq!((*request, response.status(), flow.transport), (first, 401, transport));
            }
            other => panic!("{other:?}"),
        }
        let now = pair.now;
        let again = OutOfDialog {
            identity: Some(identity.next()),
            headers: vec![("Authorization".into(), "Digest response=\"1\"".into())],
            ..request
        };
        let second = pair.ends[A].request_outside(now, again).unwrap();
        assert_ne!(first, second);
        pair.settle();
        answer(&mut pair, 200);
        assert!(matches!(pair.take(A).as_slice(), [Event::Response { request, result: Ok(_), .. }]
            if *request == second));
        let sent: Vec<String> = pair
            .wire
            .iter()
            .filter(|sent| sent.line().starts_with("REGISTER "))
            .map(|sent| sent.text())
            .collect();
        let [one, two] = sent.as_slice() else { panic!("{sent:?}") };
        assert_eq!((field(one, "Call-ID"), field(one, "From")), (field(two, "Call-ID"), field(two, "From")));
        assert_eq!((field(one, "CSeq"), field(two, "CSeq")), ("1 REGISTER", "2 REGISTER"));
        assert_ne!(field(one, "Via"), field(two, "Via"));
        let parameter = if transport == Transport::Tcp { ";transport=tcp" } else { "" };
        assert_eq!(field(one, "Contact"), format!("<sip:alice@192.0.2.1:5060{parameter}>;expires=300"));
        assert_eq!(field(two, "Authorization"), "Digest response=\"1\"");
        pair.assert_nothing_left();
    }
}

#[test]
fn an_options_that_nobody_answers_or_that_leads_nowhere_says_so() {
    let mut pair = Pair::new(Network::QUIET);
    let options = OutOfDialog::new(Method::Options, "sip:192.0.2.2");
    let now = pair.now;
    pair.ends[A].request_outside(now, options.clone()).unwrap();
    pair.settle();
    let events = pair.take(A);
    assert!(
        matches!(events.as_slice(), [Event::Response { result: Ok(response), .. }] if response.status() == 200)
    );
    let sent = pair.last(A, "OPTIONS");
    assert!(field(&sent, "Contact").is_empty());
    assert_eq!(field(&sent, "To"), "<sip:192.0.2.2>");

    pair.deaf[B] = true;
    let now = pair.now;
    pair.ends[A].request_outside(now, options.clone()).unwrap();
    pair.run(Duration::from_secs(33));
    assert!(matches!(
        pair.take(A).as_slice(),
        [Event::Response { result: Err(RequestFailure::NoResponse), flow: Some(_), .. }]
    ));
    pair.tcp = false;
    let now = pair.now;
    let nowhere = OutOfDialog::new(Method::Options, "sip:192.0.2.2;transport=tcp");
    pair.ends[A].request_outside(now, nowhere).unwrap();
    pair.settle();
    assert!(matches!(
        pair.take(A).as_slice(),
        [Event::Response { result: Err(RequestFailure::Unreachable), flow: None, .. }]
    ));
    pair.assert_nothing_left();
}

#[test]
fn what_cannot_be_sent_outside_a_dialog_is_refused_at_once() {
    let mut pair = Pair::new(Network::QUIET);
    let now = pair.now;
    let bad = [
        OutOfDialog::new(Method::Invite, "sip:192.0.2.2"),
        OutOfDialog::new(Method::Bye, "sip:192.0.2.2"),
        OutOfDialog::new(Method::Options, "tel:+1"),
        OutOfDialog { contact: Some("expires=1".into()), ..register() },
        OutOfDialog { contact: Some(";a\r\nEvil: 1".into()), ..register() },
        OutOfDialog { from: Some("<sip:a".into()), ..register() },
        OutOfDialog { headers: vec![(Bytes::from("Via"), Bytes::from("x"))], ..register() },
    ];
    for request in bad {
        let method = request.method.clone();
        let result = pair.ends[A].request_outside(now, request);
        assert!(
            matches!(result, Err(InviteError::BadHeader { .. } | InviteError::BadTarget { .. })),
            "{method}: {result:?}"
        );
    }
    pair.settle();
    assert!(pair.wire.is_empty() && pair.take(A).is_empty());
}

#[test]
fn a_request_outside_a_dialog_goes_by_a_flow_that_is_given() {
    let mut pair = Pair::new(Network::QUIET);
    let flow = pair.flow(A, Transport::Udp);
    let now = pair.now;
    let ping = OutOfDialog { flow: Some(flow), ..OutOfDialog::new(Method::Options, "sip:phone@10.9.8.7") };
    pair.ends[A].request_outside(now, ping).unwrap();
    pair.settle();
    assert_eq!(pair.wire[0].to, pair.addresses[B]);
    assert!(pair.wire[0].line().starts_with("OPTIONS sip:phone@10.9.8.7 "));
    assert!(matches!(pair.take(A).as_slice(), [Event::Response { result: Ok(_), .. }]));
}
