//! What a party was told, against what is true now: parties that are dialled while the other one is on hold,
//! re-INVITEs without an offer to b2b itself, ringing after early media, the validity of an INVITE.

use std::sync::Arc;
use std::time::{Duration, Instant};

use b2b_call::bridge_fsm::BridgeMode;
use b2b_call::handler::{HandlerAction, IncomingCall};
use b2b_call::lookup::ResolvedContact;
use b2b_call::service::{CallService, DialOptions, DialRequest};
use b2b_sip::endpoint::{Body, Event, Invite, Termination, UsageEvent, UsageId};
use b2b_testkit::{B2B, Handler, Harness, PartyId, SESSION};

use crate::in_call::{answered, asked};
use crate::routed::{ANN, BOB, CAT, contacts, routed, to_bob, uri};
use crate::transfers::told;

type Party = (PartyId, UsageId);

/// A session of this direction; `black hole`: an address that receives nothing.
fn session(direction: &str) -> String {
    match direction {
        "black hole" => SESSION.replace("c=IN IP4 198.51.100.7", "c=IN IP4 0.0.0.0"),
        _ => format!("{SESSION}a={direction}\r\n"),
    }
}

fn answering(offer: &str) -> String {
    let direction = match offer {
        offer if offer.contains("a=sendonly") => "recvonly",
        offer if offer.contains("a=recvonly") => "sendonly",
        offer if offer.contains("a=inactive") => "inactive",
        _ => "sendrecv",
    };
    session(direction)
}

fn both_ways(session: &str) -> bool {
    !["a=sendonly", "a=recvonly", "a=inactive", " 0.0.0.0"].iter().any(|less| session.contains(less))
}

/// The party's re-INVITE; b2b's answer to it.
fn offers(harness: &mut Harness, (party, usage): Party, session: &str) -> String {
    let now = harness.now();
    harness
        .endpoint(party)
        .reinvite(now, usage, Some(Body::sdp(session.to_owned())))
        .expect("no other offer");
    harness.settle();
    answered(harness, party).expect("an answer")
}

/// The offer that the party has received meanwhile, which it answers as it should.
fn agrees(harness: &mut Harness, (party, usage): Party) -> Option<String> {
    let offer = asked(harness, party)?;
    harness.answer(party, usage, Some(&answering(&offer)));
    Some(offer)
}

fn nobody_is_asked(harness: &mut Harness, parties: &[Party]) {
    harness.run(Duration::from_secs(5));
    for (party, _) in parties {
        assert_eq!(asked(harness, *party), None);
    }
}

/// Ann's call, whose offer is of this direction, to Bob, whose wish is another one.
fn begun(mode: BridgeMode, offer: &str, wish: Option<&str>) -> (Harness, Party, Party, String) {
    let options = DialOptions { mode, ..DialOptions::default() };
    let mut harness = routed(contacts(&[(BOB, 0)], options));
    let (ann, bob) = (harness.party(ANN), harness.party(BOB));
    let a = harness.call(ann, "bob", Some(&session(offer)));
    let b = harness.next_call(bob);
    let bob_at = BOB.parse().expect("an address");
    let invite = harness.wire.iter().rev().find(|it| it.to == bob_at && it.line().starts_with("INVITE"));
    let offered = invite.expect("an INVITE").text();
    harness.answer(bob, b, Some(&wish.map_or_else(|| answering(&offered), session)));
    harness.take(ann);
    harness.take(bob);
    (harness, (ann, a), (bob, b), offered)
}

#[test]
fn who_was_called_while_the_caller_held_is_heard_after_the_resume() {
    for mode in [BridgeMode::Intercepting, BridgeMode::Translating] {
        for begins in ["inactive", "sendonly", "recvonly", "black hole"] {
            let (mut harness, ann, bob, offered) = begun(mode, begins, None);
            assert!(!both_ways(&offered), "{begins}: {offered}");
            assert!(both_ways(&offers(&mut harness, ann, &session("sendrecv"))));
            let offer = agrees(&mut harness, bob).unwrap_or_else(|| panic!("{begins}: Bob is told"));
            assert!(both_ways(&offer), "{begins}: {offer}");
            nobody_is_asked(&mut harness, &[ann, bob]);
            // From now on hold is answered here, as ever.
            for direction in ["sendonly", "inactive", "sendrecv"] {
                offers(&mut harness, ann, &session(direction));
                nobody_is_asked(&mut harness, &[bob]);
            }
            harness.hang_up(ann.0, ann.1);
            harness.assert_nothing_left();
        }
    }
}

#[test]
fn a_caller_is_told_that_a_callee_who_answered_on_hold_has_resumed() {
    for wish in ["inactive", "sendonly", "recvonly"] {
        let (mut harness, ann, bob, _) = begun(BridgeMode::Intercepting, "sendrecv", Some(wish));
        nobody_is_asked(&mut harness, &[ann, bob]);
        assert!(both_ways(&offers(&mut harness, bob, &session("sendrecv"))));
        let offer = agrees(&mut harness, ann).unwrap_or_else(|| panic!("{wish}: Ann is told"));
        assert!(both_ways(&offer), "{wish}: {offer}");
        nobody_is_asked(&mut harness, &[ann, bob]);
        harness.hang_up(bob.0, bob.1);
        harness.assert_nothing_left();
    }
}

#[test]
fn two_who_hold_each_other_ask_each_other_nothing_until_both_resume() {
    let (mut harness, ann, bob, _) = begun(BridgeMode::Intercepting, "inactive", Some("inactive"));
    for _ in 0..3 {
        offers(&mut harness, bob, &session("sendonly"));
        offers(&mut harness, ann, &session("sendonly"));
        offers(&mut harness, bob, &session("inactive"));
        offers(&mut harness, ann, &session("inactive"));
    }
    nobody_is_asked(&mut harness, &[ann, bob]);
    offers(&mut harness, bob, &session("sendrecv"));
    nobody_is_asked(&mut harness, &[ann, bob]);
    offers(&mut harness, ann, &session("sendrecv"));
    nobody_is_asked(&mut harness, &[ann, bob]);
    harness.hang_up(ann.0, ann.1);
    harness.assert_nothing_left();
}

#[test]
fn who_refuses_the_news_is_asked_again_after_the_next_change_only() {
    let (mut harness, ann, bob, _) = begun(BridgeMode::Intercepting, "inactive", None);
    for _ in 0..2 {
        offers(&mut harness, ann, &session("sendrecv"));
        assert!(asked(&mut harness, bob.0).is_some());
        harness.reject(bob.0, bob.1, 488);
        nobody_is_asked(&mut harness, &[bob]);
        offers(&mut harness, ann, &session("inactive"));
        nobody_is_asked(&mut harness, &[bob]);
    }
    assert!(harness.is_up(ann.0, ann.1) && harness.is_up(bob.0, bob.1));
    harness.hang_up(ann.0, ann.1);
    harness.assert_nothing_left();
}

/// `bob` is Bob, `cat` is Cat; hold is answered here.
fn intercepting() -> Harness {
    let handler = Handler(move |call: IncomingCall, _: CallService| async move {
        let address = if call.called() == "bob" { BOB } else { CAT };
        let options = DialOptions { mode: BridgeMode::Intercepting, ..DialOptions::default() };
        HandlerAction::Dial(Box::new(contacts(&[(address, 0)], options)))
    });
    Harness::new(Instant::now(), vec![Arc::new(handler)])
}

#[test]
fn a_party_transferred_to_while_the_other_held_is_heard_after_the_resume() {
    for hold in ["sendonly", "inactive"] {
        let mut harness = intercepting();
        let (ann, bob, cat) = (harness.party(ANN), harness.party(BOB), harness.party(CAT));
        let ann = (ann, harness.call(ann, "bob", Some(SESSION)));
        let b = harness.answer_next(bob, SESSION);
        harness.take(ann.0);
        offers(&mut harness, ann, &session(hold));
        harness.refer(bob, b, format!("<{}>", uri(CAT)));
        let c = (cat, harness.next_call(cat));
        harness.answer(cat, c.1, Some(&session(if hold == "sendonly" { "recvonly" } else { "inactive" })));
        // Ann is offered Cat's media and stays on hold.
        assert!(asked(&mut harness, ann.0).is_some());
        harness.answer(ann.0, ann.1, Some(&session(hold)));
        nobody_is_asked(&mut harness, &[ann, c]);
        offers(&mut harness, ann, &session("sendrecv"));
        let offer = agrees(&mut harness, c).expect("Cat is told");
        assert!(both_ways(&offer), "{offer}");
        nobody_is_asked(&mut harness, &[ann, c]);
        harness.hang_up(ann.0, ann.1);
        harness.assert_nothing_left();
    }
}

/// Answers its callers, and plays nothing.
fn answering_machine() -> Harness {
    let handler = Handler(|call: IncomingCall, service: CallService| async move {
        let _ = service.adopt_inbound_leg(&call).await;
        let _ = service.answer(call.leg).await;
        HandlerAction::Complete
    });
    Harness::new(Instant::now(), vec![Arc::new(handler)])
}

#[test]
fn a_reinvite_without_an_offer_to_b2b_itself_gets_its_offer() {
    let mut harness = answering_machine();
    let ann = harness.party(ANN);
    let ann = (ann, harness.call(ann, "machine", Some(SESSION)));
    assert!(harness.is_up(ann.0, ann.1));
    harness.take(ann.0);
    offers(&mut harness, ann, &session("sendonly"));
    // In the ACK: an answer, none, one that is of no use. The call lasts in any case.
    for answer in
        [Some(SESSION.to_owned()), None, Some(SESSION.replace("audio", "video")), Some(session("sendonly"))]
    {
        let now = harness.now();
        harness.endpoint(ann.0).reinvite(now, ann.1, None).expect("no other offer");
        harness.settle();
        let offer = answered(&mut harness, ann.0).expect("a 2xx");
        assert!(offer.contains("m=audio") && both_ways(&offer), "{offer}");
        let now = harness.now();
        harness.endpoint(ann.0).ack(now, ann.1, answer.map(Body::sdp)).expect("a 2xx");
        harness.run(Duration::from_secs(40));
        assert!(harness.is_up(ann.0, ann.1));
    }
    assert!(both_ways(&offers(&mut harness, ann, SESSION)), "the session goes on");
    harness.hang_up(ann.0, ann.1);
    harness.assert_nothing_left();
}

#[test]
fn ringing_after_early_media_goes_across_once_and_only_of_who_is_heard() {
    let mut harness = routed(contacts(&[(BOB, 0), (CAT, 0)], DialOptions::default()));
    let (ann, bob, cat) = (harness.party(ANN), harness.party(BOB), harness.party(CAT));
    harness.call(ann, "both", Some(SESSION));
    let (b, c) = (harness.next_call(bob), harness.next_call(cat));
    harness.ring(bob, b, 183, Some(SESSION));
    harness.ring(cat, c, 180, None);
    harness.ring(bob, b, 180, None);
    harness.ring(bob, b, 180, None);
    harness.ring(bob, b, 182, None);
    let heard: Vec<u16> = harness.heard(ann).into_iter().map(|(status, _)| status).collect();
    assert_eq!(heard, [183, 180, 182]);
    harness.answer(bob, b, Some(SESSION));
    assert_eq!(harness.up(ann).len(), 1);
    harness.hang_up(bob, b);
    harness.assert_nothing_left();
}

#[test]
fn ringing_after_early_media_is_dropped_for_a_callee_whose_contact_says_so() {
    let contact = ResolvedContact { drops_ringing: true, ..ResolvedContact::new(uri(BOB), 0) };
    let mut harness = routed(DialRequest::contacts(vec![contact]));
    let (ann, bob) = (harness.party(ANN), harness.party(BOB));
    harness.call(ann, "bob", Some(SESSION));
    let b = harness.next_call(bob);
    for (status, early) in [(180, None), (183, Some(SESSION)), (180, None), (181, None)] {
        harness.ring(bob, b, status, early);
    }
    let heard: Vec<u16> = harness.heard(ann).into_iter().map(|(status, _)| status).collect();
    assert_eq!(heard, [180, 183]);
    harness.answer(bob, b, Some(SESSION));
    harness.hang_up(bob, b);
    harness.assert_nothing_left();
}

#[test]
fn a_referrer_hears_of_ringing_after_early_media() {
    let mut harness = intercepting();
    let (ann, bob, cat) = (harness.party(ANN), harness.party(BOB), harness.party(CAT));
    harness.call(ann, "bob", Some(SESSION));
    let b = harness.answer_next(bob, SESSION);
    harness.refer(bob, b, format!("<{}>", uri(CAT)));
    let c = harness.next_call(cat);
    harness.ring(cat, c, 183, Some(SESSION));
    harness.ring(cat, c, 180, None);
    let progress: Vec<u16> = told(&mut harness, bob).1.into_iter().map(|(status, _)| status).collect();
    assert!(progress.ends_with(&[183, 180]), "{progress:?}");
    harness.reject(cat, c, 486);
    harness.hang_up(bob, b);
    harness.assert_nothing_left();
}

/// Calls Bob with an INVITE that is valid for this time.
fn expiring(harness: &mut Harness, party: PartyId, expires: &'static str) -> UsageId {
    let headers = vec![("Expires".into(), expires.into())];
    let target = format!("sip:bob@{B2B}").into();
    harness.invite(party, Invite { target, headers, body: Some(Body::sdp(SESSION)), ..Invite::default() })
}

#[test]
fn the_callee_of_an_invite_that_expires_is_cancelled() {
    let mut harness = to_bob();
    let (ann, bob) = (harness.party(ANN), harness.party(BOB));
    let a = expiring(&mut harness, ann, "8");
    let b = harness.next_call(bob);
    harness.ring(bob, b, 180, None);
    harness.run(Duration::from_secs(5));
    assert!(harness.ended(bob, b).is_none());
    harness.run(Duration::from_secs(4));
    assert!(matches!(harness.ended(bob, b), Some(Termination::RemoteCancel { .. })));
    let end = harness.ended(ann, a);
    assert!(matches!(&end, Some(Termination::Failed { response }) if response.status() == 487), "{end:?}");
    harness.assert_nothing_left();
}

#[test]
fn a_call_answered_in_time_outlives_its_invite() {
    let mut harness = to_bob();
    let (ann, bob) = (harness.party(ANN), harness.party(BOB));
    let a = expiring(&mut harness, ann, "8");
    let b = harness.answer_next(bob, SESSION);
    harness.run(Duration::from_secs(60));
    assert!(harness.is_up(ann, a) && harness.is_up(bob, b));
    harness.hang_up(ann, a);
    harness.assert_nothing_left();
}

#[test]
fn an_emergency_call_rings_on_when_its_invite_expires() {
    let contact = ResolvedContact { emergency: Some("112".into()), ..ResolvedContact::new(uri(BOB), 0) };
    let mut harness = routed(DialRequest::contacts(vec![contact]));
    let (ann, bob) = (harness.party(ANN), harness.party(BOB));
    let a = expiring(&mut harness, ann, "2");
    let b = harness.next_call(bob);
    harness.ring(bob, b, 180, None);
    harness.run(Duration::from_secs(30));
    harness.answer(bob, b, Some(SESSION));
    assert!(harness.is_up(ann, a));
    harness.hang_up(ann, a);
    harness.assert_nothing_left();
}

#[test]
fn a_caller_is_told_each_minute_that_it_still_rings() {
    let options = DialOptions { ring_timeout: Duration::from_secs(200), ..DialOptions::default() };
    let mut harness = routed(contacts(&[(BOB, 0)], options));
    let (ann, bob) = (harness.party(ANN), harness.party(BOB));
    harness.call(ann, "bob", Some(SESSION));
    let b = harness.next_call(bob);
    harness.ring(bob, b, 183, Some(SESSION));
    let first = harness.heard(ann);
    assert_eq!(first.len(), 1);
    for _ in 0..3 {
        harness.run(Duration::from_millis(60_100));
        let again = harness.heard(ann);
        assert!(!again.is_empty() && again.iter().all(|it| *it == first[0]), "the same session: {again:?}");
    }
    let later = harness
        .take(ann)
        .into_iter()
        .any(|it| matches!(it, Event::Usage { event: UsageEvent::Terminated { .. }, .. }));
    assert!(!later);
    harness.answer(bob, b, Some(SESSION));
    harness.run(Duration::from_secs(70));
    assert!(harness.heard(ann).is_empty());
    harness.hang_up(bob, b);
    harness.assert_nothing_left();
}
