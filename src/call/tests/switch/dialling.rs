//! Dialling for a caller: early media, failures, failover, forks, races.

use std::time::{Duration, Instant};

use b2b_call::service::{DialError, DialOptions, DialOrder, DialRequest};
use b2b_sip::endpoint::{Body, Reply, Termination, UsageId};
use b2b_testkit::{Harness, PartyId, SESSION};

use crate::routed::{ANN, BOB, CAT, DAN, contacts, routed, to_bob, uri};

fn refused(harness: &mut Harness, party: PartyId, usage: UsageId) -> u16 {
    match harness.ended(party, usage) {
        Some(Termination::Failed { response }) => response.status(),
        other => panic!("{other:?}"),
    }
}

fn cancelled(harness: &mut Harness, party: PartyId, usage: UsageId) -> bool {
    matches!(harness.ended(party, usage), Some(Termination::RemoteCancel { .. }))
}

#[test]
fn ringing_early_media_and_answer_go_across_and_either_side_hangs_up() {
    for ann_hangs_up in [true, false] {
        let mut harness = to_bob();
        let (ann, bob) = (harness.party(ANN), harness.party(BOB));
        let a = harness.call(ann, "bob", Some(SESSION));
        let b = harness.next_call(bob);
        harness.ring(bob, b, 180, None);
        assert_eq!(harness.heard(ann), [(180, String::new())]);
        harness.ring(bob, b, 183, Some(SESSION));
        let heard = harness.heard(ann);
        assert!(
            matches!(heard.as_slice(), [(183, session)] if session.contains("c=IN IP4 192.0.2.1")),
            "{heard:?}"
        );
        assert_eq!(harness.media().bridges().len(), 1, "early media flows");
        harness.answer(bob, b, Some(SESSION));
        assert!(harness.is_up(ann, a) && harness.is_up(bob, b));
        assert_eq!(harness.counters().bridged, 1);
        if ann_hangs_up {
            harness.hang_up(ann, a);
            assert!(matches!(harness.ended(bob, b), Some(Termination::RemoteBye { .. })));
        } else {
            harness.hang_up(bob, b);
            assert!(matches!(harness.ended(ann, a), Some(Termination::RemoteBye { .. })));
        }
        assert_eq!(harness.media().held(), 0);
        harness.assert_nothing_left();
    }
}

#[test]
fn a_failure_goes_to_the_caller_as_it_is_good_for_them() {
    for (from_bob, to_ann) in [(486, 486), (404, 404), (603, 603), (503, 500), (401, 502), (302, 480)] {
        let mut harness = to_bob();
        let (ann, bob) = (harness.party(ANN), harness.party(BOB));
        let a = harness.call(ann, "bob", Some(SESSION));
        let b = harness.next_call(bob);
        harness.reject(bob, b, from_bob);
        assert_eq!(refused(&mut harness, ann, a), to_ann, "{from_bob}");
        harness.assert_nothing_left();
    }
}

#[test]
fn a_caller_who_gives_up_cancels_the_callee() {
    let mut harness = to_bob();
    let (ann, bob) = (harness.party(ANN), harness.party(BOB));
    let a = harness.call(ann, "bob", Some(SESSION));
    let b = harness.next_call(bob);
    harness.ring(bob, b, 180, None);
    harness.cancel(ann, a);
    assert!(matches!(harness.ended(ann, a), Some(Termination::LocalCancel)));
    assert!(cancelled(&mut harness, bob, b));
    harness.assert_nothing_left();
}

#[test]
fn a_cancel_that_crosses_the_200_leaves_nobody_in_a_call() {
    // With an acknowledged 180 there was a request in the early dialog, so the BYE has a higher CSeq.
    for reliable in [false, true] {
        let mut harness = to_bob();
        let (ann, bob) = (harness.party(ANN), harness.party(BOB));
        let a = harness.call(ann, "bob", Some(SESSION));
        let b = harness.next_call(bob);
        let now = harness.now();
        harness.endpoint(bob).reply(now, b, Reply { reliable, ..Reply::status(180) }).unwrap();
        harness.settle();
        let now = harness.now();
        // Both in the same millisecond.
        harness.endpoint(ann).cancel(now, a).unwrap();
        harness.endpoint(bob).answer(now, b, Some(Body::sdp(SESSION))).unwrap();
        harness.run(Duration::from_secs(40));
        assert!(!harness.is_up(ann, a) && !harness.is_up(bob, b), "reliable: {reliable}");
        harness.assert_nothing_left();
    }
}

#[test]
fn a_callee_who_never_answers_is_given_up_and_the_next_one_tried() {
    let options = DialOptions { ring_timeout: Duration::from_secs(15), ..DialOptions::default() };
    let mut harness = routed(contacts(&[(BOB, 0), (CAT, 1)], options));
    let (ann, bob, cat) = (harness.party(ANN), harness.party(BOB), harness.party(CAT));
    let a = harness.call(ann, "support", Some(SESSION));
    let b = harness.next_call(bob);
    harness.ring(bob, b, 180, None);
    assert!(harness.incoming(cat).is_empty());
    harness.run(Duration::from_secs(16));
    assert!(cancelled(&mut harness, bob, b));
    let c = harness.answer_next(cat, SESSION);
    assert!(harness.is_up(ann, a) && harness.is_up(cat, c));
    harness.hang_up(cat, c);
    harness.assert_nothing_left();
}

#[test]
fn silence_and_refusals_lead_to_the_next_contact_and_the_best_failure_is_told() {
    let mut harness = routed(contacts(&[(BOB, 0), (CAT, 1), (DAN, 2)], DialOptions::default()));
    let (ann, cat) = (harness.party(ANN), harness.party(CAT));
    let dan = harness.party(DAN);
    let a = harness.call(ann, "support", Some(SESSION));
    // No party is at Bob's address: Timer B.
    harness.run(Duration::from_secs(33));
    let c = harness.next_call(cat);
    harness.reject(cat, c, 486);
    let d = harness.next_call(dan);
    harness.reject(dan, d, 480);
    assert_eq!(refused(&mut harness, ann, a), 486);
    harness.assert_nothing_left();
}

#[test]
fn a_redirect_is_followed() {
    let mut harness = to_bob();
    let (ann, bob, cat) = (harness.party(ANN), harness.party(BOB), harness.party(CAT));
    let a = harness.call(ann, "bob", Some(SESSION));
    let b = harness.next_call(bob);
    let now = harness.now();
    let headers = vec![("Contact".into(), format!("<{}>", uri(CAT)).into())];
    let reply = b2b_sip::endpoint::Reply { headers, ..b2b_sip::endpoint::Reply::status(302) };
    harness.endpoint(bob).reply(now, b, reply).unwrap();
    harness.settle();
    let c = harness.answer_next(cat, SESSION);
    assert!(harness.is_up(ann, a) && harness.is_up(cat, c));
    harness.hang_up(ann, a);
    harness.assert_nothing_left();
}

#[test]
fn contacts_of_a_redirect_are_tried_in_order_of_q() {
    let mut harness = to_bob();
    let (ann, bob) = (harness.party(ANN), harness.party(BOB));
    let (cat, dan) = (harness.party(CAT), harness.party(DAN));
    let a = harness.call(ann, "bob", Some(SESSION));
    let b = harness.next_call(bob);
    let now = harness.now();
    let contact = format!("<{}>;q=0.2, <{}>;q=0.9", uri(DAN), uri(CAT));
    let headers = vec![("Contact".into(), contact.into())];
    let reply = b2b_sip::endpoint::Reply { headers, ..b2b_sip::endpoint::Reply::status(302) };
    harness.endpoint(bob).reply(now, b, reply).unwrap();
    harness.settle();
    assert!(harness.incoming(dan).is_empty(), "Cat comes first");
    let c = harness.next_call(cat);
    harness.reject(cat, c, 486);
    let d = harness.answer_next(dan, SESSION);
    assert!(harness.is_up(ann, a) && harness.is_up(dan, d));
    harness.hang_up(ann, a);
    harness.assert_nothing_left();
}

#[test]
fn endless_redirects_end_with_what_the_caller_may_know() {
    let mut harness = to_bob();
    let (ann, bob) = (harness.party(ANN), harness.party(BOB));
    let a = harness.call(ann, "bob", Some(SESSION));
    let mut followed = 0;
    while let Some(b) = harness.incoming(bob).pop() {
        followed += 1;
        let now = harness.now();
        let headers = vec![("Contact".into(), format!("<{}>", uri(BOB)).into())];
        let reply = b2b_sip::endpoint::Reply { headers, ..b2b_sip::endpoint::Reply::status(302) };
        harness.endpoint(bob).reply(now, b, reply).unwrap();
        harness.settle();
    }
    assert_eq!(followed, 1 + DialOptions::default().max_redirects as usize);
    assert_eq!(refused(&mut harness, ann, a), 480);
    harness.assert_nothing_left();
}

fn ring_group() -> (Harness, PartyId, [PartyId; 3]) {
    let mut harness = routed(contacts(&[(BOB, 0), (CAT, 0), (DAN, 0)], DialOptions::default()));
    let (ann, group) = (harness.party(ANN), [harness.party(BOB), harness.party(CAT), harness.party(DAN)]);
    (harness, ann, group)
}

#[test]
fn of_a_ring_group_the_first_to_answer_wins_and_the_first_with_early_media_is_heard() {
    let (mut harness, ann, [bob, cat, dan]) = ring_group();
    let a = harness.call(ann, "sales", Some(SESSION));
    let (b, c, d) = (harness.next_call(bob), harness.next_call(cat), harness.next_call(dan));
    let call_ids: std::collections::BTreeSet<_> = harness
        .wire
        .iter()
        .filter(|it| it.line().starts_with("INVITE"))
        .map(|it| it.field("Call-ID").unwrap())
        .collect();
    assert_eq!(call_ids.len(), 4, "the caller's and one a branch");
    harness.ring(bob, b, 180, None);
    harness.ring(cat, c, 183, Some(SESSION));
    harness.ring(dan, d, 183, Some(SESSION));
    let heard = harness.heard(ann);
    assert_eq!(heard.iter().map(|(status, _)| *status).collect::<Vec<_>>(), [180, 183], "Dan's is not heard");
    assert_eq!(harness.media().held(), 4);
    harness.answer(dan, d, Some(SESSION));
    assert!(harness.is_up(ann, a) && harness.is_up(dan, d));
    assert!(cancelled(&mut harness, bob, b) && cancelled(&mut harness, cat, c));
    assert_eq!(harness.media().held(), 2, "the losers' media is free");
    assert_eq!(harness.media().bridges().len(), 1);
    let cancel = harness.wire.iter().find(|it| it.line().starts_with("CANCEL")).unwrap();
    assert!(cancel.field("Reason").unwrap().starts_with("SIP;cause=200"), "{}", cancel.text());
    harness.hang_up(dan, d);
    assert!(!harness.is_up(ann, a));
    harness.assert_nothing_left();
}

#[test]
fn a_second_200_gets_ack_and_bye() {
    let (mut harness, ann, [bob, cat, dan]) = ring_group();
    let a = harness.call(ann, "sales", Some(SESSION));
    let (b, c, _) = (harness.next_call(bob), harness.next_call(cat), harness.next_call(dan));
    let now = harness.now();
    let body = || Some(b2b_sip::endpoint::Body::sdp(SESSION));
    harness.endpoint(bob).answer(now, b, body()).unwrap();
    harness.endpoint(cat).answer(now, c, body()).unwrap();
    harness.run(Duration::from_secs(2));
    let up = [harness.is_up(bob, b), harness.is_up(cat, c)];
    assert_eq!(up.iter().filter(|up| **up).count(), 1, "{up:?}");
    let (loser, address) = if up[0] { ((cat, c), CAT) } else { ((bob, b), BOB) };
    assert!(matches!(harness.ended(loser.0, loser.1), Some(Termination::RemoteBye { .. })));
    let address = address.parse().unwrap();
    let to_loser =
        |start: &str| harness.wire.iter().any(|it| it.to == address && it.line().starts_with(start));
    assert!(to_loser("ACK") && to_loser("BYE"));
    harness.hang_up(ann, a);
    harness.assert_nothing_left();
}

#[test]
fn an_invite_without_an_offer_gets_the_callees() {
    let mut harness = to_bob();
    let (ann, bob) = (harness.party(ANN), harness.party(BOB));
    let a = harness.call(ann, "bob", None);
    let b = harness.answer_next(bob, SESSION);
    let events = harness.take(ann);
    let offer = events.iter().find_map(|event| match event {
        b2b_sip::endpoint::Event::Usage {
            event: b2b_sip::endpoint::UsageEvent::Answered { response, ack_wanted: true },
            ..
        } => Some(String::from_utf8(response.body().to_vec()).unwrap()),
        _ => None,
    });
    assert!(offer.is_some_and(|offer| offer.contains("c=IN IP4 192.0.2.1")));
    let now = harness.now();
    harness.endpoint(ann).ack(now, a, Some(b2b_sip::endpoint::Body::sdp(SESSION))).unwrap();
    harness.settle();
    let bob_at = BOB.parse().unwrap();
    let ack = harness.wire.iter().find(|it| it.to == bob_at && it.line().starts_with("ACK")).unwrap();
    assert!(ack.text().contains("c=IN IP4 192.0.2.1"), "{}", ack.text());
    assert_eq!(harness.media().bridges().len(), 1);
    assert!(harness.is_up(ann, a) && harness.is_up(bob, b));
    harness.hang_up(bob, b);
    harness.assert_nothing_left();
}

#[test]
fn without_ports_the_call_is_refused_with_503_and_when_to_try_again_and_nothing_is_left() {
    let mut harness = to_bob();
    harness.media().run_out_of_ports();
    let ann = harness.party(ANN);
    let a = harness.call(ann, "bob", Some(SESSION));
    assert_eq!(refused(&mut harness, ann, a), 503);
    let refusal = harness.wire.iter().find(|it| it.line().starts_with("SIP/2.0 503")).expect("on the wire");
    assert!(refusal.text().contains("\r\nRetry-After: 10\r\n"), "{}", refusal.text());
    harness.assert_nothing_left();
}

#[test]
fn over_a_bad_network_every_call_comes_up_and_nothing_is_left() {
    use b2b_call::switch::{SwitchConfig, admission::AdmitAll};
    use b2b_testkit::Network;
    for seed in 0..20 {
        let network = Network { loss: 0.15, duplicate: 0.1, delay_ms: (1, 40), seed };
        let handlers: Vec<std::sync::Arc<dyn b2b_call::handler::ApplicationHandler>> =
            vec![std::sync::Arc::new(crate::routed::Route(contacts(&[(BOB, 0)], DialOptions::default())))];
        let resolver = std::sync::Arc::new(b2b_call::resolver::ChainResolver::new(Vec::new()));
        let mut harness = Harness::with(
            Instant::now(),
            handlers,
            resolver,
            Box::new(AdmitAll),
            SwitchConfig::default(),
            network,
        );
        let (ann, bob) = (harness.party(ANN), harness.party(BOB));
        let a = harness.call(ann, "bob", Some(SESSION));
        harness.run(Duration::from_secs(20));
        let b = harness.answer_next(bob, SESSION);
        harness.run(Duration::from_secs(20));
        assert!(harness.is_up(ann, a) && harness.is_up(bob, b), "seed {seed}");
        harness.hang_up(bob, b);
        harness.run(Duration::from_secs(40));
        assert!(!harness.is_up(ann, a), "seed {seed}");
        harness.assert_nothing_left();
    }
}

#[test]
fn a_target_that_nobody_knows_is_not_found() {
    let mut harness = routed(DialRequest::contacts(Vec::new()));
    let ann = harness.party(ANN);
    let a = harness.call(ann, "nobody", Some(SESSION));
    assert_eq!(refused(&mut harness, ann, a), 404);
    harness.assert_nothing_left();
}

#[test]
fn an_answered_call_holds_no_timer_of_its_dialling_for_long() {
    let mut harness = to_bob();
    let (ann, bob) = (harness.party(ANN), harness.party(BOB));
    let a = harness.call(ann, "bob", Some(SESSION));
    harness.answer_next(bob, SESSION);
    harness.run(Duration::from_secs(20));
    assert_eq!(harness.holdings().0.timer_entries, 0);
    harness.hang_up(ann, a);
    harness.assert_nothing_left();
}

#[test]
fn hanging_up_a_call_of_our_own_that_rings_tries_no_further_contact() {
    let mut harness = to_bob();
    let (bob, cat) = (harness.party(BOB), harness.party(CAT));
    let service = harness.service();
    let request = contacts(&[(BOB, 0), (CAT, 1)], DialOptions::default());
    let begun = harness.wait(Duration::from_secs(1), service.originate(request));
    let (call, answer) = begun.expect("a call");
    harness.settle();
    let b = harness.next_call(bob);
    harness.ring(bob, b, 180, None);
    harness.wait(Duration::from_secs(1), service.hangup_call(call)).expect("it was there");
    assert!(cancelled(&mut harness, bob, b));
    assert!(harness.wait(Duration::from_secs(1), answer).is_err());
    harness.run(Duration::from_secs(5));
    assert!(harness.incoming(cat).is_empty());
    harness.assert_nothing_left();
}

#[test]
fn several_targets_are_called_together_or_in_turn_and_the_first_to_answer_has_the_call() {
    for order in [DialOrder::Parallel, DialOrder::Serial] {
        let mut harness = to_bob();
        let (bob, cat) = (harness.party(BOB), harness.party(CAT));
        let service = harness.service();
        let (options, targets) = (DialOptions::default(), [uri(BOB), uri(CAT)]);
        let mut dialled = Box::pin(async move { service.dial_targets(&targets, order, options).await });
        assert_eq!(now(&mut dialled), None);
        harness.settle();
        assert_eq!(now(&mut dialled), None, "both are found");
        harness.settle();
        let b = harness.next_call(bob);
        harness.ring(bob, b, 180, None);
        if order == DialOrder::Serial {
            assert!(harness.incoming(cat).is_empty());
            harness.reject(bob, b, 486);
        }
        let c = harness.answer_next(cat, SESSION);
        assert!(matches!(now(&mut dialled), Some(Ok(_))), "{order:?}");
        assert!(harness.is_up(cat, c));
        assert_eq!(cancelled(&mut harness, bob, b), order == DialOrder::Parallel);
        harness.hang_up(cat, c);
        harness.assert_nothing_left();
    }
}

#[test]
fn contacts_of_one_priority_ring_together_for_a_call_that_begins_here() {
    let mut harness = to_bob();
    let (bob, cat, dan) = (harness.party(BOB), harness.party(CAT), harness.party(DAN));
    let service = harness.service();
    let request = contacts(&[(BOB, 0), (CAT, 0), (DAN, 1)], DialOptions::default());
    let mut dialled = Box::pin(async move { service.dial(request).await });
    assert_eq!(now(&mut dialled), None);
    harness.settle();
    let (b, c) = (harness.next_call(bob), harness.next_call(cat));
    assert!(harness.incoming(dan).is_empty(), "a later priority waits");
    harness.ring(cat, c, 180, None);
    harness.answer(bob, b, Some(SESSION));
    assert!(matches!(now(&mut dialled), Some(Ok(_))));
    assert!(harness.is_up(bob, b) && cancelled(&mut harness, cat, c));
    harness.hang_up(bob, b);
    harness.assert_nothing_left();
}

#[test]
fn who_names_no_target_is_told_so() {
    let mut harness = to_bob();
    let service = harness.service();
    let none: [&str; 0] = [];
    let (order, options) = (DialOrder::Serial, DialOptions::default());
    let dialled = harness.wait(Duration::from_secs(1), service.dial_targets(&none, order, options));
    assert!(matches!(dialled, Err(DialError::Invalid(_))), "{dialled:?}");
}

/// The result of a future, if it is ready.
fn now<T>(future: &mut std::pin::Pin<Box<impl Future<Output = T>>>) -> Option<T> {
    match future.as_mut().poll(&mut std::task::Context::from_waker(std::task::Waker::noop())) {
        std::task::Poll::Ready(it) => Some(it),
        std::task::Poll::Pending => None,
    }
}
