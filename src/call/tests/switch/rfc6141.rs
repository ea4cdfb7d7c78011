//! RFC 6141: the session in effect during a re-INVITE, and after it has failed. b2b forwards Ann's request to
//! Bob; both write their messages by hand.
//!
//! Elsewhere: that a refused re-INVITE leaves the call up, and the meaning of 481, are in `rfc5057` and
//! `in_call`; crossing re-INVITEs are in `retry_after`.

use std::time::Duration;

use b2b_call::controller::MediaBackend;
use b2b_testkit::{Harness, SESSION};

use crate::hand::{Hand, answered, asked, body, hangs_up, last, nothing_left, talking, told};
use crate::routed::{ANN, BOB, CAT, DAN};

/// Ann's session with another direction and another version.
fn changed(direction: &str) -> String {
    format!("{}a={direction}\r\n", SESSION.replace("party 1 1", "party 1 2"))
}

fn asks(harness: &mut Harness, ann: &mut Hand, direction: &str) {
    ann.asks(harness, "INVITE", "", &changed(direction));
    assert!(body(&last(harness, BOB, "INVITE")).contains(&format!("a={direction}")));
}

/// The direction and version of a description sent by b2b.
fn said(description: &str) -> (bool, String) {
    let origin = description.lines().find(|line| line.starts_with("o=")).expect("o=");
    (description.contains("a=sendonly"), origin.to_owned())
}

#[test]
fn a_refused_reinvite_leaves_the_session_as_it_was_and_the_next_one_changes_it_3_1() {
    for (refusal, told_to_ann) in [("488 Not Acceptable Here", 488), ("603 Decline", 603), ("500 No", 500)] {
        let (mut harness, mut ann, bob) = talking();
        let bridged = harness.media().bridges().len();
        asks(&mut harness, &mut ann, "sendonly");
        let under_way = said(&body(&last(&harness, BOB, "INVITE")));
        bob.answers(&mut harness, "INVITE", refusal, "");
        assert_eq!(answered(&harness, ANN, "INVITE").last(), Some(&told_to_ann), "{refusal}");
        assert_eq!(asked(&harness, BOB), ["INVITE", "ACK"]);
        assert_eq!(harness.media().bridges().len(), bridged);
        // The same offer again differs from the refused one, and gets a version of its own (RFC 3264 §8).
        asks(&mut harness, &mut ann, "sendonly");
        let again = said(&body(&last(&harness, BOB, "INVITE")));
        assert!(again.0 && again.1 != under_way.1, "{again:?}");
        bob.answers(&mut harness, "INVITE", refusal, "");
        assert_eq!(answered(&harness, ANN, "INVITE").last(), Some(&told_to_ann), "{refusal}");
        // b2b offers the session in effect: asked for an offer, it does not mention the hold.
        ann.asks(&mut harness, "INVITE", "", "");
        bob.answers(&mut harness, "INVITE", "200 OK", SESSION);
        let (held, origin) = said(&body(&last(&harness, ANN, "SIP/2.0 200")));
        assert!(!held, "{refusal}");
        let number = ann.cseq;
        ann.acks(&mut harness, number, SESSION);
        asks(&mut harness, &mut ann, "sendonly");
        let third = said(&body(&last(&harness, BOB, "INVITE")));
        assert!(third.0 && third.1 != origin, "{third:?}");
        bob.answers(&mut harness, "INVITE", "200 OK", &changed("recvonly"));
        assert!(body(&last(&harness, ANN, "SIP/2.0 200")).contains("a=recvonly"));
        let number = ann.cseq;
        ann.acks(&mut harness, number, "");
        hangs_up(harness, ann, &bob);
    }
}

#[test]
fn a_reinvite_that_is_answered_provisionally_and_then_refused_changes_nothing_3_3() {
    let (mut harness, mut ann, bob) = talking();
    asks(&mut harness, &mut ann, "sendonly");
    let reinvite = last(&harness, BOB, "INVITE");
    bob.says(&mut harness, &reinvite, "180 Ringing", "", "");
    bob.says(&mut harness, &reinvite, "183 Session Progress", "", &changed("recvonly"));
    // The waiting party gets no provisional response of the other one; the INVITE is not retransmitted.
    harness.run(Duration::from_secs(60));
    assert_eq!(told(&harness, BOB, "INVITE").len(), 1);
    assert!(answered(&harness, ANN, "INVITE").iter().all(|status| *status < 200));
    bob.says(&mut harness, &reinvite, "488 Not Acceptable Here", "", "");
    assert_eq!(answered(&harness, ANN, "INVITE").last(), Some(&488));
    assert_eq!(asked(&harness, BOB), ["INVITE", "ACK"]);
    ann.asks(&mut harness, "INVITE", "", "");
    bob.answers(&mut harness, "INVITE", "200 OK", SESSION);
    assert!(!said(&body(&last(&harness, ANN, "SIP/2.0 200"))).0, "nothing is held");
    let number = ann.cseq;
    ann.acks(&mut harness, number, SESSION);
    hangs_up(harness, ann, &bob);
}

#[test]
fn no_reinvite_of_ours_asks_for_answers_in_provisional_responses_that_would_hold_before_a_refusal_3_4() {
    let (mut harness, mut ann, bob) = talking();
    asks(&mut harness, &mut ann, "sendonly");
    let supported = last(&harness, BOB, "INVITE").field("Supported").expect("Supported");
    assert!(supported.contains("timer") && !supported.contains("100rel"), "{supported}");
    bob.answers(&mut harness, "INVITE", "488 Not Acceptable Here", "");
    hangs_up(harness, ann, &bob);
}

#[test]
fn an_update_during_a_reinvite_is_put_off_from_either_side_and_taken_after_it() {
    let (mut harness, mut ann, mut bob) = talking();
    asks(&mut harness, &mut ann, "sendonly");
    let reinvite = last(&harness, BOB, "INVITE");
    // Ann's own offer is pending: RFC 3311 §5.2.
    ann.asks(&mut harness, "UPDATE", "", SESSION);
    assert_eq!(answered(&harness, ANN, "UPDATE"), [500]);
    let wait = last(&harness, ANN, "SIP/2.0 500").field("Retry-After");
    assert!(wait.is_some_and(|wait| wait.parse::<u32>().is_ok_and(|wait| wait <= 10)));
    // b2b's offer to Bob is pending.
    bob.asks(&mut harness, "UPDATE", "", SESSION);
    assert_eq!(answered(&harness, BOB, "UPDATE"), [491]);
    // Without an offer it concerns only the far end (§5.1).
    bob.asks(&mut harness, "UPDATE", "", "");
    assert_eq!(answered(&harness, BOB, "UPDATE"), [491, 200]);
    bob.says(&mut harness, &reinvite, "488 Not Acceptable Here", "", "");
    assert_eq!(answered(&harness, ANN, "INVITE").last(), Some(&488));
    ann.asks(&mut harness, "UPDATE", "", &changed("sendonly"));
    let across = last(&harness, BOB, "");
    assert!(body(&across).contains("a=sendonly"), "{}", across.text());
    let method = across.line().split(' ').next().expect("a method").to_owned();
    bob.answers(&mut harness, &method, "200 OK", &changed("recvonly"));
    assert_eq!(answered(&harness, ANN, "UPDATE"), [500, 200]);
    hangs_up(harness, ann, &bob);
}

#[test]
fn a_cancelled_reinvite_is_answered_with_487_and_leaves_the_call_up() {
    let (mut harness, mut ann, bob) = talking();
    asks(&mut harness, &mut ann, "sendonly");
    let reinvite = last(&harness, BOB, "INVITE");
    bob.says(&mut harness, &reinvite, "180 Ringing", "", "");
    ann.cancels(&mut harness);
    assert_eq!(
        (answered(&harness, ANN, "CANCEL"), answered(&harness, ANN, "INVITE")),
        (vec![200], vec![487])
    );
    ann.takes_refusal(&mut harness);
    bob.says(&mut harness, &reinvite, "200 OK", "", &changed("recvonly"));
    assert_eq!(told(&harness, BOB, "ACK").len(), 1, "an answer that nobody waits for is acknowledged");
    assert_eq!(answered(&harness, ANN, "INVITE"), [487]);
    // Ann's session is unchanged (§3), and Bob is offered it again.
    let settled = harness.media().descriptions(harness.callers_endpoint()).expect("Ann's");
    assert_eq!(String::from_utf8_lossy(&settled.said), SESSION);
    assert_eq!(asked(&harness, BOB), ["INVITE", "ACK", "INVITE"]);
    let (held, origin) = said(&body(&last(&harness, BOB, "INVITE")));
    assert!(!held && origin != said(&body(&reinvite)).1, "{origin}");
    bob.answers(&mut harness, "INVITE", "200 OK", SESSION);
    assert_eq!(asked(&harness, BOB), ["INVITE", "ACK", "INVITE", "ACK"]);
    assert_eq!(harness.media().bridges().len(), 1);
    // The next change is not blocked.
    asks(&mut harness, &mut ann, "sendonly");
    bob.answers(&mut harness, "INVITE", "200 OK", &changed("recvonly"));
    assert_eq!(answered(&harness, ANN, "INVITE"), [487, 200]);
    let number = ann.cseq;
    ann.acks(&mut harness, number, "");
    hangs_up(harness, ann, &bob);
}

#[test]
fn a_refused_reinvite_moves_nobody_and_one_that_is_taken_moves_the_target_4_6() {
    let (mut harness, mut ann, bob) = talking();
    // Bob's re-INVITE has another target, and Ann refuses it: by §4.6 b2b keeps the old target.
    let mut moved = bob.clone();
    moved.at = CAT;
    moved.asks(&mut harness, "INVITE", "", &changed("sendonly"));
    ann.answers(&mut harness, "INVITE", "488 Not Acceptable Here", "");
    assert_eq!(told(&harness, BOB, "SIP/2.0 488").len(), 1);
    // Ann's target changes with the accepted re-INVITE.
    ann.at = DAN;
    ann.asks(&mut harness, "INVITE", "", &changed("sendonly"));
    assert_eq!(asked(&harness, BOB), ["INVITE"], "Bob has not moved");
    bob.answers(&mut harness, "INVITE", "200 OK", &changed("recvonly"));
    let number = ann.cseq;
    ann.acks(&mut harness, number, "");
    let mut bob = bob;
    bob.cseq = moved.cseq;
    bob.asks(&mut harness, "BYE", "", "");
    assert_eq!(asked(&harness, DAN), ["BYE"], "Ann has moved");
    ann.answers(&mut harness, "BYE", "200 OK", "");
    nothing_left(harness);
}

#[test]
fn a_reinvite_that_nobody_answers_ends_the_call() {
    let (mut harness, mut ann, bob) = talking();
    asks(&mut harness, &mut ann, "sendonly");
    harness.run(Duration::from_secs(33));
    assert_eq!(answered(&harness, ANN, "INVITE").last(), Some(&480));
    assert_eq!(asked(&harness, BOB), ["INVITE", "BYE"]);
    bob.answers(&mut harness, "BYE", "481 Call/Transaction Does Not Exist", "");
    assert_eq!(asked(&harness, ANN), ["BYE"]);
    ann.answers(&mut harness, "BYE", "200 OK", "");
    nothing_left(harness);
}
