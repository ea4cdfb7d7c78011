//! Connected identity (RFC 5876): a gateway's P-Asserted-Identity is passed on to the other party, and
//! transfers announce the new party.

use std::sync::Arc;
use std::task::{Context, Waker};
use std::time::{Duration, Instant};

use b2b_call::bridge_fsm::BridgeMode;
use b2b_call::handler::{HandlerAction, IncomingCall};
use b2b_call::service::{CallService, DialOptions};
use b2b_sip::endpoint::{Body, HeaderFields, Invite, UsageId};
use b2b_testkit::{B2B, Handler, Harness, PartyId, SESSION};
use bytes::Bytes;

use crate::digits::allowing;
use crate::routed::{ANN, BOB, CAT, contacts, uri};

const ALLOW: &str = "INVITE, ACK, CANCEL, BYE, UPDATE";

fn harness(mode: BridgeMode) -> Harness {
    let handler = Handler(move |call: IncomingCall, _: CallService| async move {
        let address = if call.called() == "bob" { BOB } else { CAT };
        let options = DialOptions { mode, ..DialOptions::default() };
        HandlerAction::Dial(Box::new(contacts(&[(address, 0)], options)))
    });
    Harness::new(Instant::now(), vec![Arc::new(handler)])
}

/// The identities sent to an address since then, each with the method of its request.
fn told(harness: &Harness, from: usize, address: &str) -> Vec<(String, String)> {
    let to = address.parse().unwrap();
    let sent = harness.wire[from..].iter().filter(|it| it.to == to);
    let asserted = sent.filter_map(|it| {
        let method = it.line().split(' ').next()?.to_owned();
        Some((method, it.field("P-Asserted-Identity")?))
    });
    asserted.collect()
}

fn asserted(value: &str) -> HeaderFields {
    vec![("P-Asserted-Identity".into(), Bytes::copy_from_slice(value.as_bytes()))]
}

#[test]
fn an_update_with_another_identity_is_passed_on_to_who_takes_update() {
    for mode in [BridgeMode::Intercepting, BridgeMode::Transparent] {
        for takes_update in [true, false] {
            let mut harness = harness(mode);
            let (ann, bob) = (harness.party(ANN), harness.party(BOB));
            let allows = if takes_update { ALLOW } else { "INVITE, ACK, CANCEL, BYE" };
            harness.change_messages(move |message| allowing(message, "party1", allows));
            let a = harness.call(ann, "bob", Some(SESSION));
            let b = harness.answer_next(bob, SESSION);
            let from = harness.wire.len();
            let now = harness.now();
            let fields = asserted("\"New Name\" <sip:7777@pbx.example>");
            harness.endpoint(bob).update_with(now, b, fields, None).unwrap();
            harness.settle();
            let new = "\"New Name\" <sip:7777@b2b.invalid>".to_owned();
            let expected = if takes_update { vec![("UPDATE".to_owned(), new.clone())] } else { vec![] };
            assert_eq!(told(&harness, from, ANN), expected, "{mode:?}");
            // It has not changed since; a party that does not support UPDATE gets it in the next re-INVITE.
            let fields = asserted("\"New Name\" <sip:7777@pbx.example>");
            harness.endpoint(bob).update_with(now, b, fields, None).unwrap();
            harness.settle();
            assert_eq!(told(&harness, from, ANN), expected, "{mode:?}");
            if mode == BridgeMode::Transparent {
                let from = harness.wire.len();
                harness
                    .endpoint(bob)
                    .reinvite(now, b, Some(Body::sdp(format!("{SESSION}a=sendonly\r\n"))))
                    .unwrap();
                harness.settle();
                assert_eq!(told(&harness, from, ANN), [("INVITE".to_owned(), new)]);
                harness.answer(ann, a, Some(&format!("{SESSION}a=recvonly\r\n")));
            }
            assert!(harness.is_up(ann, a) && harness.is_up(bob, b));
            harness.hang_up(ann, a);
            harness.assert_nothing_left();
        }
    }
}

#[test]
fn who_is_alone_with_b2b_is_told_of_no_partner_of_before() {
    let mut harness = harness(BridgeMode::Intercepting);
    let (ann, bob) = (harness.party(ANN), harness.party(BOB));
    harness.change_messages(|message| allowing(message, "party1", "INVITE, ACK, CANCEL, BYE"));
    let a = harness.call(ann, "bob", Some(SESSION));
    let b = harness.answer_next(bob, SESSION);
    let (now, second) = (harness.now(), Duration::from_secs(1));
    let fields = asserted("\"New Name\" <sip:7777@pbx.example>");
    harness.endpoint(bob).update_with(now, b, fields, None).unwrap();
    harness.settle();
    let (from, service, leg) = (harness.wire.len(), harness.service(), harness.snapshot()[0].legs[0].leg);
    harness.wait(second, service.unbridge(leg, false)).unwrap();
    harness.settle();
    harness.answer(ann, a, Some(SESSION));
    harness.answer(bob, b, Some(SESSION));
    harness.settle();
    // Its next re-INVITE is for another reason.
    let mut hold = Box::pin(service.hold(leg, true));
    assert!(hold.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending());
    harness.settle();
    harness.answer(ann, a, Some(&format!("{SESSION}a=recvonly\r\n")));
    harness.wait(second, hold).unwrap();
    let to_ann = harness.wire[from..].iter().filter(|it| it.to == ANN.parse().unwrap());
    assert_eq!(to_ann.filter(|it| it.line().starts_with("INVITE")).count(), 2);
    assert_eq!(told(&harness, from, ANN), []);
    harness.hang_up(ann, a);
    harness.hang_up(bob, b);
    harness.assert_nothing_left();
}

/// RFC 3323: a private identity is never sent as connected identity.
#[test]
fn an_identity_that_is_to_stay_private_goes_nowhere() {
    let mut harness = harness(BridgeMode::Intercepting);
    let (ann, bob) = (harness.party(ANN), harness.party(BOB));
    let a = harness.call(ann, "bob", Some(SESSION));
    let b = harness.answer_next(bob, SESSION);
    let from = harness.wire.len();
    let now = harness.now();
    let mut fields = asserted("\"New Name\" <sip:7777@pbx.example>");
    fields.push(("Privacy".into(), "id".into()));
    harness.endpoint(bob).update_with(now, b, fields, None).unwrap();
    harness.settle();
    assert_eq!(told(&harness, from, ANN), []);
    harness.hang_up(ann, a);
    harness.assert_nothing_left();
}

/// Ann calls Bob as a private caller.
fn calls_unknown(harness: &mut Harness, ann: PartyId) -> UsageId {
    calls_with(harness, ann, "id")
}

fn calls_with(harness: &mut Harness, ann: PartyId, privacy: &str) -> UsageId {
    let invite = Invite {
        target: format!("sip:bob@{B2B}").into(),
        from: Some("\"Hidden Ann\" <sip:4930771@phones.example>".into()),
        headers: vec![("Privacy".into(), Bytes::copy_from_slice(privacy.as_bytes()))],
        body: Some(Body::sdp(SESSION.to_owned())),
        ..Invite::default()
    };
    harness.invite(ann, invite)
}

#[test]
fn who_is_connected_with_a_caller_who_stays_unknown_is_told_so() {
    let mut harness = harness(BridgeMode::Intercepting);
    let (ann, bob, cat) = (harness.party(ANN), harness.party(BOB), harness.party(CAT));
    let a = calls_unknown(&mut harness, ann);
    let b = harness.answer_next(bob, SESSION);
    let consultation = harness.call(bob, "cat", Some(SESSION));
    let c = harness.answer_next(cat, SESSION);
    let from = harness.wire.len();
    let replaces = harness.replaces(bob, consultation).expect("a dialog");
    harness.refer(bob, b, format!("<sip:cat@{B2B}?{}>", replaces.embedded()));
    for (party, usage) in [(ann, a), (cat, c)] {
        harness.run(Duration::from_millis(500));
        harness.answer(party, usage, Some(SESSION));
    }
    harness.run(Duration::from_secs(3));
    let anonymous = "\"Anonymous\" <sip:anonymous@anonymous.invalid>".to_owned();
    assert_eq!(told(&harness, from, CAT), [("INVITE".to_owned(), anonymous)]);
    harness.hang_up(ann, a);
    harness.assert_nothing_left();
}

/// RFC 3323: a transfer does not reveal a private caller, neither to the transferee nor, where the REFER is
/// passed on, to its recipient.
#[test]
fn a_caller_who_stays_unknown_does_so_in_transfers() {
    for mode in [BridgeMode::Intercepting, BridgeMode::Transparent] {
        let mut harness = harness(mode);
        let (ann, bob, cat) = (harness.party(ANN), harness.party(BOB), harness.party(CAT));
        harness.change_messages(move |message| allowing(message, "party1", ALLOW));
        let a = calls_unknown(&mut harness, ann);
        let b = harness.answer_next(bob, SESSION);
        if mode == BridgeMode::Transparent {
            harness.refer(ann, a, format!("<{}>", uri(CAT)));
        } else {
            harness.refer(bob, b, format!("<{}>", uri(CAT)));
            harness.answer_next(cat, SESSION);
        }
        harness.run(Duration::from_secs(3));
        let sent = harness.wire.iter().filter(|it| [BOB, CAT].iter().any(|at| it.to == at.parse().unwrap()));
        let mut requests = 0;
        for message in sent.filter(|it| !it.line().starts_with("SIP/2.0")) {
            requests += 1;
            let text = format!("{message:?}");
            let fields = ["From", "P-Asserted-Identity", "Referred-By", "Contact", "Diversion"];
            for value in fields.into_iter().filter_map(|name| message.field(name)) {
                assert!(!value.contains("4930771") && !value.contains("Hidden"), "{mode:?}: {text}");
            }
        }
        assert!(requests > 1, "{mode:?}");
    }
}

/// An application answers, then dials for the caller: their INVITE is gone by then.
#[test]
fn who_is_dialled_for_an_answered_caller_sees_the_caller_unless_they_stay_unknown() {
    for (privacy, expected) in
        [("none", "\"Hidden Ann\" <sip:4930771@"), ("id", "\"Anonymous\" <sip:anonymous@anonymous.invalid>")]
    {
        let menu = Handler(|call: IncomingCall, service: CallService| async move {
            service.answer(call.leg).await.expect("an answer");
            HandlerAction::TransferTo(uri(BOB))
        });
        let mut harness = Harness::new(Instant::now(), vec![Arc::new(menu)]);
        let (ann, bob) = (harness.party(ANN), harness.party(BOB));
        calls_with(&mut harness, ann, privacy);
        harness.run(Duration::from_secs(1));
        harness.answer_next(bob, SESSION);
        let sent = harness.wire.iter().find(|it| it.to == BOB.parse().unwrap()).expect("an INVITE");
        let from = sent.field("From").expect("From");
        assert!(sent.line().starts_with("INVITE") && from.starts_with(expected), "{privacy}: {from}");
        assert_eq!(sent.text().contains("4930771"), privacy == "none", "{}", sent.text());
        harness.hang_up_all();
        harness.assert_nothing_left();
    }
}

#[test]
fn who_stays_in_a_transfer_is_told_who_has_come() {
    let mut harness = harness(BridgeMode::Intercepting);
    let (ann, bob, cat) = (harness.party(ANN), harness.party(BOB), harness.party(CAT));
    let a = harness.call(ann, "bob", Some(SESSION));
    let b = harness.answer_next(bob, SESSION);
    let from = harness.wire.len();
    harness.refer(bob, b, format!("<{}>", uri(CAT)));
    let c = harness.answer_next(cat, SESSION);
    harness.run(Duration::from_millis(500));
    assert_eq!(told(&harness, from, ANN), [("INVITE".to_owned(), "<sip:callee@b2b.invalid>".to_owned())]);
    harness.answer(ann, a, Some(SESSION));
    harness.run(Duration::from_secs(3));
    harness.hang_up(cat, c);
    harness.assert_nothing_left();
}

/// The name is in the header field where phones put it.
#[test]
fn a_callee_who_is_transferred_keeps_its_name() {
    let mut harness = harness(BridgeMode::Intercepting);
    harness.change_messages(|message| {
        // Bob's phone; no other party uses this name.
        message.replace("Contact: <sip:party2@", "Contact: \"Bob B\" <sip:party2@")
    });
    let (ann, bob, cat) = (harness.party(ANN), harness.party(BOB), harness.party(CAT));
    let a = harness.call(ann, "bob", Some(SESSION));
    let b = harness.answer_next(bob, SESSION);
    harness.refer(ann, a, format!("<{}>", uri(CAT)));
    let invite = harness.wire.iter().rfind(|it| it.to == CAT.parse().unwrap()).unwrap();
    assert!(invite.line().starts_with("INVITE"));
    let from = invite.field("From").unwrap();
    assert!(from.starts_with("\"Bob B\" <sip:callee@"), "{from}");
    harness.answer_next(cat, SESSION);
    harness.answer(bob, b, Some(SESSION));
    harness.run(Duration::from_secs(3));
    harness.hang_up(bob, b);
    harness.assert_nothing_left();
}
