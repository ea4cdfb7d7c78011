//! Digits between a party that supports telephone events (RFC 4733) and one that supports INFO, and the
//! offers for them.

use std::time::Duration;

use b2b_call::bridge_fsm::BridgeMode;
use b2b_call::controller::{EndpointId, MediaEvent};
use b2b_call::service::DialOptions;
use b2b_sip::endpoint::{Body, Event, HeaderFields, InDialog, Reply, UsageEvent, UsageId};
use b2b_sip::msg::Method;
use b2b_testkit::{Harness, PartyId, SESSION};

use crate::in_call::{answered, asked};
use crate::routed::{ANN, BOB, contacts, routed};

/// The first session description sent to a party.
fn told(harness: &Harness, address: &str, beginning: &str) -> String {
    let to = address.parse().unwrap();
    let mut sent = harness.wire.iter().filter(|it| it.to == to);
    let found = sent.find(|it| it.line().starts_with(beginning) && it.data.ends_with(b"\r\n"));
    String::from_utf8_lossy(&found.unwrap_or_else(|| panic!("no {beginning}")).data).into_owned()
}

#[test]
fn a_codec_that_is_added_for_transcoding_brings_no_events_that_nobody_offered() {
    let mut harness = routed(contacts(&[(BOB, 0)], DialOptions::default()));
    let (ann, bob) = (harness.party(ANN), harness.party(BOB));
    let a = harness.call(ann, "bob", Some(SESSION));
    let offer = told(&harness, BOB, "INVITE");
    assert!(offer.contains("opus/48000/2"), "{offer}");
    assert!(offer.contains("a=rtpmap:101 telephone-event/8000\r\n"), "{offer}");
    assert!(!offer.contains("telephone-event/48000"), "{offer}");
    harness.answer_next(bob, SESSION);
    harness.hang_up(ann, a);
    harness.assert_nothing_left();
}

fn renumbered(event: u8) -> String {
    let numbers = format!("8 0 {event}\r\na=rtpmap:{event} telephone-event/8000");
    SESSION
        .replace("198.51.100.7", "203.0.113.9")
        .replace("8 0 101\r\na=rtpmap:101 telephone-event/8000", &numbers)
}

/// A payload type used for events in a session is kept (RFC 3264 §8.3.2).
#[test]
fn parties_that_send_to_each_other_keep_their_events_after_one_has_numbered_them_anew() {
    let options = DialOptions { direct: true, mode: BridgeMode::Intercepting, ..DialOptions::default() };
    let mut harness = routed(contacts(&[(BOB, 0)], options));
    let (ann, bob) = (harness.party(ANN), harness.party(BOB));
    let a = harness.call(ann, "bob", Some(SESSION));
    let b = harness.answer_next(bob, &renumbered(101));
    harness.take(ann);
    harness.take(bob);
    // As Asterisk does when it starts direct media.
    let now = harness.now();
    harness.endpoint(bob).reinvite(now, b, Some(Body::sdp(renumbered(113)))).unwrap();
    harness.settle();
    assert!(
        answered(&mut harness, bob).is_some_and(|answer| answer.contains("a=rtpmap:113 telephone-event"))
    );
    for (endpoint, from) in [(1, "198.51.100.7:4000"), (2, "203.0.113.9:4000")] {
        let from = from.parse().unwrap();
        harness.media_event(MediaEvent::Started { endpoint: EndpointId(endpoint), from });
    }
    harness.run(Duration::from_millis(1_100));
    let offer = asked(&mut harness, bob).expect("Bob is told of Ann");
    assert!(offer.contains("c=IN IP4 198.51.100.7"), "{offer}");
    assert!(offer.contains("a=rtpmap:101 telephone-event/8000"), "as Ann takes them: {offer}");
    harness.answer(bob, b, Some(&renumbered(101)));
    harness.answer(ann, a, Some(SESSION));
    harness.hang_up(ann, a);
    harness.assert_nothing_left();
}

/// The codec of a call does not change with hold and resume.
#[test]
fn a_hold_and_a_resume_leave_the_codec_in_use_where_it_is() {
    let offered = SESSION.replace("8 0 101", "111 8 0 101\r\na=rtpmap:111 opus/48000/2");
    let options = DialOptions { mode: BridgeMode::Intercepting, ..DialOptions::default() };
    let mut harness = routed(contacts(&[(BOB, 0)], options));
    let (ann, bob) = (harness.party(ANN), harness.party(BOB));
    let a = harness.call(ann, "bob", Some(&offered));
    // It chooses PCMU, although it supports all of them (as Asterisk answers).
    let answer = SESSION.replace("8 0 101", "0 8 111 101\r\na=rtpmap:111 opus/48000/2");
    harness.answer_next(bob, &answer);
    harness.take(ann);
    for direction in ["a=sendonly", "a=sendrecv"] {
        let now = harness.now();
        let offer = Body::sdp(format!("{offered}{direction}\r\n"));
        harness.endpoint(ann).reinvite(now, a, Some(offer)).unwrap();
        harness.settle();
        let answer = answered(&mut harness, ann).expect("an answer");
        assert!(answer.contains(" RTP/AVP 0 8 111 101\r\n"), "{direction}: {answer}");
    }
    harness.hang_up(ann, a);
    harness.assert_nothing_left();
}

const DEAF: &str = "v=0\r\no=party 1 1 IN IP4 203.0.113.9\r\ns=-\r\nc=IN IP4 203.0.113.9\r\nt=0 0\r\n\
                    m=audio 4000 RTP/AVP 8 0\r\n";

/// A message of this party whose Allow has only these methods.
pub fn allowing(message: &str, party: &str, methods: &str) -> String {
    if !message.contains(&format!("Contact: <sip:{party}@")) {
        return message.to_owned();
    }
    let lines = message.split("\r\n");
    let changed = lines
        .map(|line| if line.starts_with("Allow:") { format!("Allow: {methods}") } else { line.to_owned() });
    changed.collect::<Vec<_>>().join("\r\n")
}

/// b2b terminates digits. Ann's and Bob's descriptions, one of them without events.
fn digits(ann_says: &str, bob_says: &str, bob_allows: &'static str) -> (Harness, Party, Party) {
    let options = DialOptions { mode: BridgeMode::Intercepting, ..DialOptions::default() };
    let mut harness = routed(contacts(&[(BOB, 0)], options));
    harness.change_messages(move |message| allowing(message, "party2", bob_allows));
    let (ann, bob) = (harness.party(ANN), harness.party(BOB));
    let a = harness.call(ann, "bob", Some(ann_says));
    let b = harness.answer_next(bob, bob_says);
    harness.take(ann);
    harness.take(bob);
    (harness, (ann, a), (bob, b))
}

pub type Party = (PartyId, UsageId);

pub fn press(
    harness: &mut Harness,
    (party, usage): Party,
    content_type: &'static str,
    body: &'static str,
    more: HeaderFields,
) {
    let now = harness.now();
    let body = Body { content_type: content_type.into(), data: body.into() };
    let request = InDialog { method: Method::Info, headers: more, body: Some(body) };
    harness.endpoint(party).request(now, usage, request).unwrap();
    harness.settle();
}

/// The INFO that a party received, answered with this status.
fn hears(harness: &mut Harness, party: PartyId, status: u16) -> Option<String> {
    let request = harness.take(party).into_iter().find_map(|event| match event {
        Event::Usage { event: UsageEvent::Request { transaction, request }, .. } => {
            Some((transaction, request))
        }
        _ => None,
    });
    let (transaction, request) = request?;
    let now = harness.now();
    harness.endpoint(party).respond(now, transaction, Reply::status(status)).unwrap();
    harness.settle();
    Some(String::from_utf8_lossy(&request.body()).into_owned())
}

/// The answer to a party's INFO.
fn answer(harness: &mut Harness, party: PartyId) -> Option<u16> {
    harness.take(party).into_iter().find_map(|event| match event {
        Event::Usage { event: UsageEvent::Response { result: Ok(response), .. }, .. } => {
            Some(response.status())
        }
        _ => None,
    })
}

#[test]
fn an_info_digit_goes_on_to_who_takes_no_events_and_its_answer_comes_back() {
    for status in [200, 415] {
        for (from_ann, descriptions) in [(true, (SESSION, DEAF)), (false, (DEAF, SESSION))] {
            let (mut harness, ann, bob) = digits(descriptions.0, descriptions.1, "INVITE, ACK, BYE");
            let (from, to) = if from_ann { (ann, bob) } else { (bob, ann) };
            press(&mut harness, from, "application/dtmf-relay", "Signal=5\r\nDuration=120\r\n", Vec::new());
            assert_eq!(hears(&mut harness, to.0, status).as_deref(), Some("Signal=5\r\nDuration=120\r\n"));
            assert_eq!(answer(&mut harness, from.0), Some(status));
            assert_eq!(harness.media().digits(), []);
            harness.hang_up(ann.0, ann.1);
            harness.assert_nothing_left();
        }
    }
}

#[test]
fn an_event_becomes_an_info_for_who_takes_nothing_else() {
    let (mut harness, ann, bob) = digits(SESSION, DEAF, "INVITE, ACK, BYE, INFO");
    let answered = told(&harness, ANN, "SIP/2.0 200");
    assert!(answered.contains("a=rtpmap:101 telephone-event/8000"), "Ann may send events: {answered}");
    let digit = |harness: &mut Harness, passed_on: bool, by_tone: bool| {
        let endpoint = EndpointId(1);
        harness.media_event(MediaEvent::Digit { endpoint, digit: '7', duration_ms: 90, passed_on, by_tone });
    };
    digit(&mut harness, false, false);
    assert_eq!(hears(&mut harness, bob.0, 200).as_deref(), Some("Signal=7\r\nDuration=90\r\n"));
    // Bob hears tones in the audio, and events that were passed on.
    digit(&mut harness, false, true);
    digit(&mut harness, true, false);
    assert_eq!(hears(&mut harness, bob.0, 200), None);
    harness.hang_up(ann.0, ann.1);
    harness.assert_nothing_left();
}

#[test]
fn who_takes_neither_events_nor_info_leaves_its_peer_without_events() {
    let (mut harness, ann, bob) = digits(SESSION, DEAF, "INVITE, ACK, BYE");
    let answered = told(&harness, ANN, "SIP/2.0 200");
    assert!(!answered.contains("telephone-event"), "it may send tones: {answered}");
    harness.media_event(MediaEvent::Digit {
        endpoint: EndpointId(1),
        digit: '7',
        duration_ms: 90,
        passed_on: false,
        by_tone: false,
    });
    assert_eq!(hears(&mut harness, bob.0, 200), None);
    harness.hang_up(ann.0, ann.1);
    harness.assert_nothing_left();
}

/// RFC 6086 §4.2.2.
#[test]
fn an_info_that_nobody_takes_is_refused() {
    let (mut harness, ann, bob) = digits(SESSION, SESSION, "INVITE, ACK, BYE, INFO");
    press(&mut harness, ann, "application/vnd.other", "x", Vec::new());
    assert_eq!(answer(&mut harness, ann.0), Some(415));
    let package: HeaderFields = vec![("Info-Package".into(), "other".into())];
    press(&mut harness, ann, "application/dtmf-relay", "Signal=5\r\n", package);
    assert_eq!(answer(&mut harness, ann.0), Some(469));
    let refused = told(&harness, ANN, "SIP/2.0 469");
    assert!(refused.contains("Recv-Info:"), "{refused}");
    assert!(told(&harness, ANN, "SIP/2.0 415").contains("Accept: application/dtmf-relay"));
    assert_eq!(hears(&mut harness, bob.0, 200), None);
    harness.hang_up(ann.0, ann.1);
    harness.assert_nothing_left();
}
