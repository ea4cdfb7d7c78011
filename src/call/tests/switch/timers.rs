//! Session timers (RFC 4028): each leg has its own, and refreshes are not passed on.

use std::time::Duration;

use b2b_call::cdr::Cdr;
use b2b_call::leg_fsm::TerminationCause;
use b2b_sip::endpoint::{Body, Event, SessionTimers, Termination, UsageEvent, UsageId};
use b2b_sip::msg::Name;
use b2b_testkit::{Harness, PartyId, SESSION, Sent};

use crate::routed::{ANN, BOB, to_bob};

/// Ann in a call with Bob; each uses session timers of this many seconds, or none.
fn connected(ann: Option<u32>, bob: Option<u32>, update: bool) -> (Harness, [(PartyId, UsageId); 2]) {
    let mut harness = to_bob();
    if !update {
        harness.change_messages(without_update);
    }
    let timers = |expires: Option<u32>| expires.map(|expires| SessionTimers { expires, min_se: 90 });
    let ann = harness.party_with(ANN, |config| config.session_timers = timers(ann));
    let bob = harness.party_with(BOB, |config| config.session_timers = timers(bob));
    let a = harness.call(ann, "bob", Some(SESSION));
    let b = harness.answer_next(bob, SESSION);
    harness.take(ann);
    harness.take(bob);
    harness.wire.clear();
    (harness, [(ann, a), (bob, b)])
}

/// Hides the support of UPDATE.
fn without_update(message: &str) -> String {
    let line = |line: &str| {
        if line.starts_with("Allow:") { line.replace("UPDATE", "PUBLISH") } else { line.to_owned() }
    };
    message.split("\r\n").map(line).collect::<Vec<_>>().join("\r\n")
}

/// Requests of this method to or from an address.
fn sent<'a>(harness: &'a Harness, method: &str, address: &str) -> Vec<&'a Sent> {
    let address = address.parse().expect("an address");
    let of = |it: &&Sent| (it.to == address || it.from == address) && it.line().starts_with(method);
    harness.wire.iter().filter(of).collect()
}

fn body(sent: &Sent) -> String {
    let text = String::from_utf8_lossy(&sent.data).into_owned();
    text.split_once("\r\n\r\n").map(|(_, body)| body.to_owned()).unwrap_or_default()
}

/// Whether a party gets a re-INVITE, which is answered with its unchanged session.
fn refreshed_by_b2b(harness: &mut Harness, (party, usage): (PartyId, UsageId)) -> bool {
    let asked = harness
        .take(party)
        .iter()
        .any(|event| matches!(event, Event::Usage { event: UsageEvent::ReInvite { .. }, .. }));
    if asked {
        harness.answer(party, usage, Some(SESSION));
    }
    asked
}

#[test]
fn by_update_either_leg_is_refreshed_alone_by_whoever_is_to() {
    // Ann does not support timers; towards Bob b2b refreshes, every 300 s.
    let (mut harness, [(ann, a), _]) = connected(None, Some(600), true);
    harness.run(Duration::from_secs(2_950));
    assert_eq!(sent(&harness, "UPDATE", BOB).len(), 9);
    assert!(sent(&harness, "", ANN).is_empty(), "Ann hears of Bob's timer");
    harness.hang_up(ann, a);
    harness.assert_nothing_left();
    // Bob does not support timers, Ann does.
    let (mut harness, [(ann, a), _]) = connected(Some(600), None, true);
    harness.run(Duration::from_secs(2_950));
    assert_eq!(sent(&harness, "UPDATE", ANN).len(), 9);
    assert!(sent(&harness, "", BOB).is_empty(), "Bob hears of Ann's timer");
    assert!(harness.is_up(ann, a));
    harness.hang_up(ann, a);
    harness.assert_nothing_left();
}

#[test]
fn a_far_end_without_update_is_refreshed_by_a_reinvite_that_changes_nothing() {
    let (mut harness, [(ann, a), (bob, b)]) = connected(None, Some(600), false);
    let mut offers = Vec::new();
    for _ in 0..4 {
        harness.run(Duration::from_secs(301));
        assert!(refreshed_by_b2b(&mut harness, (bob, b)), "no re-INVITE");
        offers.extend(sent(&harness, "INVITE", BOB).last().map(|it| body(it)));
    }
    assert!(offers.iter().all(|it| it.contains("m=audio") && *it == offers[0]), "{offers:?}");
    assert!(sent(&harness, "", ANN).is_empty(), "Ann hears of Bob's timer");
    // A change by Ann is passed on as usual.
    let now = harness.now();
    harness.endpoint(ann).reinvite(now, a, Some(Body::sdp(format!("{SESSION}a=sendonly\r\n")))).unwrap();
    harness.settle();
    assert!(refreshed_by_b2b(&mut harness, (bob, b)), "no re-INVITE");
    assert!(harness.is_up(ann, a) && harness.is_up(bob, b));
    harness.hang_up(ann, a);
    harness.assert_nothing_left();
}

/// RFC 5876: a party without UPDATE gets it in the next re-INVITE.
#[test]
fn a_refresh_by_reinvite_says_with_whom_the_far_end_is_connected() {
    let (mut harness, [(ann, a), (bob, b)]) = connected(None, Some(600), false);
    let (now, new) = (harness.now(), "\"New Name\" <sip:7777@phones.example>");
    harness
        .endpoint(ann)
        .update_with(now, a, vec![("P-Asserted-Identity".into(), new.into())], None)
        .unwrap();
    harness.run(Duration::from_secs(301));
    assert!(refreshed_by_b2b(&mut harness, (bob, b)), "no re-INVITE");
    let told = sent(&harness, "INVITE", BOB).last().and_then(|it| it.field("P-Asserted-Identity"));
    assert_eq!(told.as_deref(), Some("\"New Name\" <sip:7777@b2b.invalid>"));
    harness.hang_up(ann, a);
    harness.assert_nothing_left();
}

#[test]
fn a_refresh_of_theirs_by_reinvite_is_answered_here() {
    for (refresher, other, caller) in [(ANN, BOB, true), (BOB, ANN, false)] {
        let timers = (caller.then_some(600), (!caller).then_some(600));
        let (mut harness, legs) = connected(timers.0, timers.1, false);
        let (party, usage) = if caller { legs[0] } else { legs[1] };
        for _ in 0..3 {
            harness.run(Duration::from_secs(200));
            refreshed_by_b2b(&mut harness, (party, usage));
            let now = harness.now();
            harness.endpoint(party).reinvite(now, usage, Some(Body::sdp(SESSION))).unwrap();
            harness.settle();
            let answer = harness.take(party).into_iter().find_map(|event| match event {
                Event::Usage { event: UsageEvent::ReInviteAnswered { response, .. }, .. } => Some(response),
                _ => None,
            });
            let answer = answer.expect("an answer");
            assert!(answer.header(Name::SessionExpires).is_some(), "{refresher}: no timer goes on");
            assert!(String::from_utf8_lossy(&answer.body()).contains("c=IN IP4 192.0.2.1"));
        }
        assert!(sent(&harness, "", other).is_empty(), "{other} hears of {refresher}'s timer");
        assert!(harness.is_up(party, usage));
        harness.hang_up(party, usage);
        harness.assert_nothing_left();
    }
}

#[test]
fn a_party_that_is_gone_ends_the_call_with_its_cause() {
    // b2b's refresh gets no response: by UPDATE, by re-INVITE. The party's refresh does not arrive.
    for (dead, update, within) in [(BOB, true, 340), (BOB, false, 340), (ANN, true, 575)] {
        let timers = if dead == BOB { (None, Some(600)) } else { (Some(600), None) };
        let (mut harness, legs) = connected(timers.0, timers.1, update);
        let [(gone, _), (left, usage)] = if dead == ANN { legs } else { [legs[1], legs[0]] };
        harness.records();
        harness.kill(gone);
        harness.run(Duration::from_secs(within));
        match harness.ended(left, usage) {
            Some(Termination::RemoteBye { request }) => {
                let reason = request.header(Name::Reason).expect("a Reason");
                assert!(reason.starts_with(b"Q.850;cause=102"), "{}", String::from_utf8_lossy(reason));
            }
            other => panic!("{dead} is gone: {other:?}"),
        }
        harness.run(Duration::from_secs(40));
        let records: Vec<Cdr> = harness.records();
        assert_eq!(records.len(), 2);
        assert!(records.iter().any(|it| it.ending.q850 == 102), "{records:?}");
        harness.assert_nothing_left();
    }
}

#[test]
fn who_waits_for_the_end_of_an_expired_leg_hears_why() {
    let (mut harness, [_, (bob, _)]) = connected(None, Some(600), true);
    let legs = harness.snapshot().remove(0).legs;
    let (first, second) = (legs[0].leg, legs[1].leg);
    harness.kill(bob);
    let service = harness.service();
    let ends = async move {
        let (first, second) = (service.wait_for_termination(first), service.wait_for_termination(second));
        let (first, second) = tokio::join!(first, second);
        (first.expect("an end").cause, second.expect("an end").cause)
    };
    let (first, second) = harness.wait(Duration::from_secs(400), ends);
    assert_eq!(second, TerminationCause::SessionExpired);
    assert_eq!(first, TerminationCause::LocalHangup);
    harness.assert_nothing_left();
}

#[test]
fn an_interval_that_is_too_short_is_made_longer_on_either_leg() {
    let mut harness = to_bob();
    let ann = harness.party_with(ANN, |config| {
        config.session_timers = Some(SessionTimers { expires: 60, min_se: 60 });
    });
    let bob = harness.party_with(BOB, |config| {
        config.session_timers = Some(SessionTimers { expires: 7_200, min_se: 3_600 });
    });
    let a = harness.call(ann, "bob", Some(SESSION));
    let b = harness.answer_next(bob, SESSION);
    assert!(harness.is_up(ann, a) && harness.is_up(bob, b));
    let refused = |harness: &Harness, address| sent(harness, "SIP/2.0 422", address).len();
    assert_eq!((refused(&harness, ANN), refused(&harness, BOB)), (1, 1));
    let field = |address: &str, line: &str| {
        let all = sent(&harness, line, address);
        let text = String::from_utf8_lossy(&all.last().expect("a message").data).into_owned();
        text.lines().find_map(|line| line.strip_prefix("Session-Expires: ").map(str::to_owned))
    };
    assert_eq!(field(ANN, "INVITE").as_deref(), Some("90"));
    assert_eq!(field(BOB, "INVITE").as_deref(), Some("3600"));
    assert_eq!(harness.counters().incoming, 1, "one call");
    harness.hang_up(ann, a);
    harness.assert_nothing_left();
}
