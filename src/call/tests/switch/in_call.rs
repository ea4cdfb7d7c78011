//! Inside a call: re-INVITE, hold, UPDATE, INFO, MESSAGE, the loss of a peer.

use std::sync::Arc;
use std::time::Instant;

use b2b_call::bridge_fsm::{BridgeMode, BridgeState};
use b2b_call::bus::Received;
use b2b_call::controller::{EndpointId, MediaEvent};
use b2b_call::event::{DigitBy, Event as News};
use b2b_call::handler::Party;
use b2b_call::resolver::ChainResolver;
use b2b_call::service::DialOptions;
use b2b_call::switch::admission::{Admission, AdmissionControl, Caller, Fate};
use b2b_call::switch::{SwitchConfig, Turn};
use b2b_sip::endpoint::{Body, Event, Flow, InDialog, Reply, Termination, UsageEvent, UsageId};
use b2b_sip::msg::{Method, Request};
use b2b_testkit::{Harness, Network, PartyId, SESSION};

use crate::hand::{self, Hand, hangs_up, last, talking};
use crate::routed::{ANN, BOB, Route, contacts, routed, to_bob};

fn connected() -> (Harness, (PartyId, UsageId), (PartyId, UsageId)) {
    let mut harness = to_bob();
    let (ann, bob) = (harness.party(ANN), harness.party(BOB));
    let a = harness.call(ann, "bob", Some(SESSION));
    let b = harness.answer_next(bob, SESSION);
    harness.take(ann);
    harness.take(bob);
    (harness, (ann, a), (bob, b))
}

/// The re-INVITE or UPDATE that a party received.
pub fn asked(harness: &mut Harness, party: PartyId) -> Option<String> {
    harness.take(party).into_iter().find_map(|event| match event {
        Event::Usage {
            event: UsageEvent::ReInvite { request } | UsageEvent::Update { request, .. }, ..
        } => Some(String::from_utf8_lossy(&request.body()).into_owned()),
        _ => None,
    })
}

pub fn answered(harness: &mut Harness, party: PartyId) -> Option<String> {
    harness.take(party).into_iter().find_map(|event| match event {
        Event::Usage { event: UsageEvent::ReInviteAnswered { response, .. }, .. } => {
            Some(String::from_utf8_lossy(&response.body()).into_owned())
        }
        _ => None,
    })
}

#[test]
fn either_party_holds_and_resumes_and_the_other_one_is_asked() {
    let (mut harness, a, b) = connected();
    for (holder, held) in [(a, b), (b, a)] {
        for direction in ["a=sendonly", "a=inactive", "a=sendrecv"] {
            let now = harness.now();
            let offer = format!("{SESSION}{direction}\r\n");
            harness.endpoint(holder.0).reinvite(now, holder.1, Some(Body::sdp(offer))).unwrap();
            harness.settle();
            let offer = asked(&mut harness, held.0).expect("a re-INVITE");
            assert!(offer.contains(direction) && offer.contains("c=IN IP4 192.0.2.1"), "{offer}");
            harness.answer(held.0, held.1, Some(&format!("{SESSION}a=recvonly\r\n")));
            let answer = answered(&mut harness, holder.0).expect("an answer");
            let agreed = if direction == "a=inactive" { direction } else { "a=recvonly" };
            assert!(answer.contains(agreed) && answer.contains("c=IN IP4 192.0.2.1"), "{answer}");
        }
    }
    assert!(harness.is_up(a.0, a.1) && harness.is_up(b.0, b.1));
    harness.hang_up(a.0, a.1);
    harness.assert_nothing_left();
}

#[test]
fn a_reinvite_that_the_other_one_refuses_changes_nothing() {
    // A dialog unknown to Bob says nothing about Ann's (RFC 3261 §12.2.1.2).
    for (said, told) in [(488, 488), (481, 480)] {
        let (mut harness, (ann, a), (bob, b)) = connected();
        let now = harness.now();
        let other = SESSION.replace("8 0 101", "8 101");
        harness.endpoint(ann).reinvite(now, a, Some(Body::sdp(other))).unwrap();
        harness.settle();
        harness.reject(bob, b, said);
        let heard = harness.take(ann).iter().find_map(|event| match event {
            Event::Usage { event: UsageEvent::ReInviteFailed { status, .. }, .. } => Some(*status),
            _ => None,
        });
        assert_eq!(heard, Some(told));
        if said == 488 {
            assert!(harness.is_up(ann, a) && harness.is_up(bob, b));
            harness.hang_up(bob, b);
        }
        harness.assert_nothing_left();
    }
}

#[test]
fn a_reinvite_without_an_offer_brings_the_other_ones() {
    let (mut harness, (ann, a), (bob, b)) = connected();
    let now = harness.now();
    harness.endpoint(ann).reinvite(now, a, None).unwrap();
    harness.settle();
    assert_eq!(asked(&mut harness, bob).as_deref(), Some(""));
    harness.answer(bob, b, Some(SESSION));
    assert!(answered(&mut harness, ann).is_some_and(|offer| offer.contains("192.0.2.1")));
    let now = harness.now();
    harness.endpoint(ann).ack(now, a, Some(Body::sdp(SESSION))).unwrap();
    harness.settle();
    let bob_at = BOB.parse().unwrap();
    let acks = harness.wire.iter().filter(|it| it.to == bob_at && it.line().starts_with("ACK")).count();
    assert_eq!(acks, 2, "one for each INVITE");
    harness.hang_up(ann, a);
    harness.assert_nothing_left();
}

#[test]
fn an_update_goes_across() {
    let (mut harness, (ann, a), (bob, _)) = connected();
    let now = harness.now();
    harness.endpoint(ann).update(now, a, Body::sdp(format!("{SESSION}a=sendonly\r\n"))).unwrap();
    harness.settle();
    let events = harness.take(bob);
    let Some(Event::Usage { event: UsageEvent::Update { transaction, request }, .. }) =
        events.into_iter().next()
    else {
        panic!("no UPDATE")
    };
    assert!(String::from_utf8_lossy(&request.body()).contains("a=sendonly"));
    let now = harness.now();
    let reply = Reply { body: Some(Body::sdp(SESSION)), ..Reply::status(200) };
    harness.endpoint(bob).respond(now, transaction, reply).unwrap();
    harness.settle();
    let updated = harness
        .take(ann)
        .iter()
        .any(|event| matches!(event, Event::Usage { event: UsageEvent::UpdateAnswered { .. }, .. }));
    assert!(updated);
    harness.hang_up(ann, a);
    harness.assert_nothing_left();
}

#[test]
fn info_and_message_go_across_and_their_answers_back() {
    for (method, content_type) in [(Method::Info, "application/dtmf-relay"), (Method::Message, "text/plain")]
    {
        let (mut harness, (ann, a), (bob, _)) = connected();
        let now = harness.now();
        let body = Body { content_type: content_type.into(), data: "Signal=5\r\n".into() };
        let request = InDialog { method: method.clone(), headers: Vec::new(), body: Some(body) };
        harness.endpoint(ann).request(now, a, request).unwrap();
        harness.settle();
        let events = harness.take(bob);
        let Some(Event::Usage { event: UsageEvent::Request { transaction, request }, .. }) =
            events.into_iter().next()
        else {
            panic!("no {method}")
        };
        assert_eq!((request.method(), request.body().as_ref()), (&method, b"Signal=5\r\n".as_slice()));
        assert_eq!(request.content_type(), Some(content_type.as_bytes()));
        let now = harness.now();
        harness.endpoint(bob).respond(now, transaction, Reply::status(415)).unwrap();
        harness.settle();
        let answered = harness.take(ann).into_iter().find_map(|event| match event {
            Event::Usage { event: UsageEvent::Response { result: Ok(response), .. }, .. } => {
                Some(response.status())
            }
            _ => None,
        });
        assert_eq!(answered, Some(415), "{method}");
        harness.hang_up(ann, a);
        harness.assert_nothing_left();
    }
}

#[test]
fn folded_values_and_odd_phrases_go_across_on_one_line() {
    let (mut harness, mut ann, bob) = talking();
    ann.asks(&mut harness, "INFO", "Content-Disposition: a\r\n b\r\nContent-Type: text/plain\r\n", "x");
    let info = last(&harness, BOB, "INFO");
    assert_eq!(info.field("Content-Disposition").as_deref(), Some("a b"));
    bob.says(&mut harness, &info, "488 Not\u{7} Now", "Retry-After: 5\r\n (later)\r\n", "");
    let answer = last(&harness, ANN, "SIP/2.0 488");
    assert_eq!(
        (&answer.line()[..], answer.field("Retry-After").as_deref()),
        ("SIP/2.0 488 Not  Now", Some("5 (later)"))
    );
    hangs_up(harness, ann, &bob);

    let mut harness = to_bob();
    let mut ann = Hand::caller(ANN);
    ann.asks(&mut harness, "INVITE", "Subject: a\r\n\tb\u{7f}\r\nPriority: urgent\r\n \r\n", SESSION);
    let invite = last(&harness, BOB, "INVITE");
    assert_eq!(invite.field("Subject").as_deref(), Some("a b"));
    let bob = Hand::callee(&harness, BOB);
    bob.answers(&mut harness, "INVITE", "486 Bu\u{7}sy", "");
    assert!(hand::answered(&harness, ANN, "INVITE").ends_with(&[486]));
}

#[test]
fn the_reason_of_a_bye_goes_across() {
    let (mut harness, (ann, a), (bob, b)) = connected();
    let now = harness.now();
    let headers = vec![("Reason".into(), "Q.850;cause=31;text=\"x\"".into())];
    harness.endpoint(ann).bye_with(now, a, headers, None).unwrap();
    harness.settle();
    match harness.ended(bob, b) {
        Some(Termination::RemoteBye { request }) => {
            let reason = request.header(b2b_sip::msg::Name::Reason).expect("a Reason");
            assert!(reason.starts_with(b"Q.850;cause=31"), "{}", String::from_utf8_lossy(reason));
        }
        other => panic!("{other:?}"),
    }
    harness.assert_nothing_left();
}

/// All parties are gateways; their calls carry ISUP or do not.
struct Gateways(bool);

impl AdmissionControl for Gateways {
    fn invite(&mut self, _: Instant, _: &Request, flow: &Flow) -> Admission {
        Admission::Accept(Box::new(Caller::at(flow.remote)))
    }

    fn request(&mut self, _: &mut Turn<'_>, _: &Request, _: &Flow) -> Fate {
        Fate::ReplyOnce(Reply::status(405))
    }

    fn takes_isup(&self, _: &Party) -> bool {
        self.0
    }
}

#[test]
fn the_isup_of_a_bye_goes_to_a_gateway_that_takes_it() {
    const REL: &[u8] = b"\x0c\x02\x00\x02\x83\x90";
    for (isup, content_type) in
        [(true, "application/ISUP;version=itu-t92+"), (true, "text/plain"), (false, "application/isup")]
    {
        let route = Arc::new(Route(contacts(&[(BOB, 0)], DialOptions::default())));
        let (start, config) = (Instant::now(), SwitchConfig::default());
        let resolver = Arc::new(ChainResolver::default());
        let mut harness =
            Harness::with(start, vec![route], resolver, Box::new(Gateways(isup)), config, Network::QUIET);
        let (ann, bob) = (harness.party(ANN), harness.party(BOB));
        let a = harness.call(ann, "bob", Some(SESSION));
        let b = harness.answer_next(bob, SESSION);
        let now = harness.now();
        let rel = Body { content_type: content_type.into(), data: REL.into() };
        harness.endpoint(bob).bye_with(now, b, Vec::new(), Some(rel)).unwrap();
        harness.settle();
        let Some(Termination::RemoteBye { request }) = harness.ended(ann, a) else { panic!("a BYE") };
        let wanted = (isup && content_type.contains("ISUP")).then_some((content_type.as_bytes(), REL));
        let body = request.body();
        assert_eq!(
            request.header(b2b_sip::msg::Name::ContentType).map(|it| (it, &body[..])),
            wanted,
            "{isup} {content_type}"
        );
        harness.assert_nothing_left();
    }
}

/// Asterisk sends it when it knows no cause; Q.850 does not define it.
#[test]
fn a_cause_of_0_goes_to_nobody() {
    let zero = || vec![("Reason".into(), "Q.850;cause=0".into())];
    let (mut harness, (ann, a), (bob, b)) = connected();
    let now = harness.now();
    harness.endpoint(ann).bye_with(now, a, zero(), None).unwrap();
    harness.settle();
    let Some(Termination::RemoteBye { request }) = harness.ended(bob, b) else { panic!("no BYE") };
    let reason = request.header(b2b_sip::msg::Name::Reason).map(String::from_utf8_lossy);
    assert!(reason.as_ref().is_none_or(|reason| !reason.contains("cause=0")), "{reason:?}");
    let a = harness.call(ann, "bob", Some(SESSION));
    let b = harness.next_call(bob);
    let now = harness.now();
    harness.endpoint(bob).reply(now, b, Reply { headers: zero(), ..Reply::status(486) }).unwrap();
    harness.settle();
    let Some(Termination::Failed { response }) = harness.ended(ann, a) else { panic!("no 486") };
    assert_eq!(response.status(), 486);
    let reason = response.header(b2b_sip::msg::Name::Reason).map(String::from_utf8_lossy);
    assert!(reason.as_ref().is_none_or(|reason| !reason.contains("cause=0")), "{reason:?}");
    harness.assert_nothing_left();
}

#[test]
fn the_reason_of_a_callers_cancel_goes_to_whoever_rings() {
    let mut harness = to_bob();
    let (ann, bob) = (harness.party(ANN), harness.party(BOB));
    let a = harness.call(ann, "bob", Some(SESSION));
    let b = harness.next_call(bob);
    harness.ring(bob, b, 180, None);
    let (now, headers) = (harness.now(), vec![("Reason".into(), "SIP;cause=200;text=\"elsewhere\"".into())]);
    harness.endpoint(ann).cancel_with(now, a, headers).unwrap();
    harness.settle();
    match harness.ended(bob, b) {
        Some(Termination::RemoteCancel { request }) => {
            let reason = request.header(b2b_sip::msg::Name::Reason).expect("a Reason");
            assert!(reason.starts_with(b"SIP;cause=200"), "{}", String::from_utf8_lossy(reason));
        }
        other => panic!("{other:?}"),
    }
    harness.assert_nothing_left();
}

#[test]
fn silence_from_a_dead_peer_ends_the_call_for_the_other_one() {
    let (mut harness, (ann, a), (bob, _)) = connected();
    harness.kill(bob);
    // The callee's endpoint is allocated second.
    harness.media_event(MediaEvent::Timeout { endpoint: EndpointId(2) });
    assert!(matches!(harness.ended(ann, a), Some(Termination::RemoteBye { .. })));
    harness.assert_nothing_left();
}

#[test]
fn another_codec_is_agreed_on_by_reinvite() {
    let (mut harness, a, b) = connected();
    for (asks, answers, codec) in [(a, b, 0), (b, a, 8), (a, b, 9)] {
        let formats = &format!("RTP/AVP {codec} 101");
        let other = SESSION.replace("RTP/AVP 8 0 101", formats);
        let now = harness.now();
        harness.endpoint(asks.0).reinvite(now, asks.1, Some(Body::sdp(other.clone()))).unwrap();
        harness.settle();
        let offer = asked(&mut harness, answers.0).expect("a re-INVITE");
        assert!(
            offer.contains(&format!("RTP/AVP {codec} ")) && offer.contains("c=IN IP4 192.0.2.1"),
            "{offer}"
        );
        harness.answer(answers.0, answers.1, Some(&other));
        let answer = answered(&mut harness, asks.0).expect("an answer");
        assert!(answer.contains(formats) && answer.contains("c=IN IP4 192.0.2.1"), "{answer}");
    }
    harness.hang_up(a.0, a.1);
    harness.assert_nothing_left();
}

#[test]
fn a_bridge_is_held_by_sendonly_inactive_or_the_old_zero_address() {
    let (mut harness, (ann, a), (bob, b)) = connected();
    let zero = SESSION.replace("c=IN IP4 198.51.100.7", "c=IN IP4 0.0.0.0");
    let holds = [format!("{SESSION}a=sendonly\r\n"), format!("{SESSION}a=inactive\r\n"), zero];
    let state = |harness: &Harness| harness.snapshot()[0].bridge.as_ref().map(|bridge| bridge.state);
    for hold in holds {
        for (offer, expected) in [(hold.as_str(), BridgeState::Held), (SESSION, BridgeState::Active)] {
            let now = harness.now();
            harness.endpoint(ann).reinvite(now, a, Some(Body::sdp(offer.to_owned()))).unwrap();
            harness.settle();
            assert!(asked(&mut harness, bob).is_some(), "{offer}");
            harness.answer(bob, b, Some(SESSION));
            assert!(answered(&mut harness, ann).is_some());
            assert_eq!(state(&harness), Some(expected), "{offer}");
        }
    }
    harness.hang_up(ann, a);
    harness.assert_nothing_left();
}

#[test]
fn digits_by_info_end_at_an_intercepting_bridge_and_go_on_as_telephone_events() {
    for mode in [BridgeMode::Intercepting, BridgeMode::Translating] {
        let options = DialOptions { mode, ..DialOptions::default() };
        let mut harness = routed(contacts(&[(BOB, 0)], options));
        let (ann, bob) = (harness.party(ANN), harness.party(BOB));
        let a = harness.call(ann, "bob", Some(SESSION));
        let b = harness.answer_next(bob, SESSION);
        harness.take(bob);
        let mut seen = harness.bus().subscribe();
        let relay = "application/dtmf-relay";
        for (content_type, data, status) in [
            (relay, "Signal=5\r\nDuration=250\r\n", 200),
            ("application/dtmf", "#", 200),
            (relay, "Signal=none\r\n", 415),
            ("application/media_control+xml", "<fast_update/>", 415),
        ] {
            let now = harness.now();
            let body = Some(Body { content_type: content_type.into(), data: data.into() });
            let request = InDialog { method: Method::Info, headers: Vec::new(), body };
            harness.endpoint(ann).request(now, a, request).unwrap();
            harness.settle();
            let answered = harness.take(ann).into_iter().find_map(|event| match event {
                Event::Usage { event: UsageEvent::Response { result: Ok(response), .. }, .. } => {
                    Some(response.status())
                }
                _ => None,
            });
            assert_eq!(answered, Some(status), "{data}");
        }
        assert!(harness.take(bob).is_empty(), "no INFO goes on");
        // The callee's endpoint is allocated second.
        let callee = EndpointId(2);
        assert_eq!(harness.media().digits(), [(callee, '5', 250), (callee, '#', 160)]);
        let mut told = Vec::new();
        while let Some(received) = seen.try_recv() {
            if let Received::Event(published) = received
                && let News::Digit { digit, by, .. } = &published.event
            {
                told.push((*digit, *by));
            }
        }
        assert_eq!(told, [(Some('5'), DigitBy::Info), (Some('#'), DigitBy::Info)]);
        harness.hang_up(bob, b);
        harness.assert_nothing_left();
    }
}
