//! RFC 3262: reliable provisional responses with message loss. Bob rings reliably to b2b, and b2b to Ann;
//! both write their messages by hand.
//!
//! Elsewhere: offers and answers in these responses, and parties that do not support them, are in `reliable`;
//! the table of §3 is in `src/sip/dialog/reliable_fsm.rs`, and that a second response waits for the PRACK of
//! the first in `src/sip/tests/sip/endpoint/invite/reliable.rs`.

use std::time::Duration;

use b2b_testkit::{Harness, SESSION};

use crate::hand::{Hand, answered, asked, body, calling, hangs_up, last, nothing_left, told};
use crate::routed::{ANN, BOB, CAT};

const SUPPORTED: &str = "Supported: 100rel\r\n";

/// Bob's reliable response with this RSeq to the INVITE.
fn rings(harness: &mut Harness, bob: &Hand, status: &str, rseq: u32, session: &str) -> String {
    let invite = last(harness, BOB, "INVITE");
    bob.says(harness, &invite, status, &format!("Require: 100rel\r\nRSeq: {rseq}\r\n"), session)
}

/// Ann receives Bob's early media reliably, and has not acknowledged it. The last value is the RAck of Ann's
/// PRACK.
fn ringing() -> (Harness, Hand, Hand, String) {
    let (mut harness, ann, bob) = calling(SESSION, SUPPORTED);
    rings(&mut harness, &bob, "183 Session Progress", 1, SESSION);
    bob.answers(&mut harness, "PRACK", "200 OK", "");
    let rack = rack(&harness, &ann);
    (harness, ann, bob, rack)
}

/// The RAck for the last reliable response to Ann.
fn rack(harness: &Harness, ann: &Hand) -> String {
    let all = told(harness, ANN, "SIP/2.0 18");
    let rseq = all.last().and_then(|it| it.field("RSeq")).expect("RSeq");
    format!("RAck: {rseq} {} INVITE\r\n", ann.cseq)
}

/// The times at which this was sent to an address, in ms after the first one.
fn times(harness: &Harness, at: &str, start: &str) -> Vec<u128> {
    let all = told(harness, at, start);
    all.iter().map(|it| (it.at - all[0].at).as_millis()).collect()
}

#[test]
fn a_response_whose_prack_is_lost_is_sent_again_at_doubling_intervals_and_the_200_waits_for_it() {
    let (mut harness, mut ann, bob, rack) = ringing();
    let invite = ann.cseq;
    bob.answers(&mut harness, "INVITE", "200 OK", SESSION);
    harness.run(Duration::from_secs(8));
    assert_eq!(times(&harness, ANN, "SIP/2.0 183"), [0, 500, 1_500, 3_500, 7_500]);
    assert!(told(&harness, ANN, "SIP/2.0 183").windows(2).all(|two| two[0].data == two[1].data));
    assert_eq!(answered(&harness, ANN, "INVITE").last(), Some(&183), "no 200 before the PRACK");
    assert_eq!(asked(&harness, BOB), ["INVITE", "PRACK", "ACK"]);
    ann.asks(&mut harness, "PRACK", &rack, "");
    assert_eq!(answered(&harness, ANN, "PRACK"), [200]);
    assert_eq!(answered(&harness, ANN, "INVITE").last(), Some(&200));
    assert_eq!(body(&last(&harness, ANN, "SIP/2.0 200")), "", "the answer has passed");
    ann.acks(&mut harness, invite, "");
    harness.wire.clear();
    harness.run(Duration::from_secs(20));
    assert!(harness.wire.is_empty(), "{:?}", harness.wire);
    hangs_up(harness, ann, &bob);
}

#[test]
fn without_any_prack_in_64_t1_the_invite_is_refused_and_the_callee_is_let_go_answered_or_not() {
    for answers in [false, true] {
        let (mut harness, _, bob, _) = ringing();
        if answers {
            bob.answers(&mut harness, "INVITE", "200 OK", SESSION);
        }
        harness.run(Duration::from_millis(31_500));
        assert_eq!(times(&harness, ANN, "SIP/2.0 183"), [0, 500, 1_500, 3_500, 7_500, 15_500, 31_500]);
        assert_eq!(answered(&harness, ANN, "INVITE").last(), Some(&183));
        harness.run(Duration::from_secs(1));
        assert_eq!(times(&harness, ANN, "SIP/2.0 183").len(), 7, "the 183 is given up");
        let refusals = told(&harness, ANN, "SIP/2.0 504");
        assert!(!refusals.is_empty());
        let ends = if answers { "BYE" } else { "CANCEL" };
        assert_eq!(asked(&harness, BOB).last().map(String::as_str), Some(ends));
        bob.answers(&mut harness, ends, "200 OK", "");
        if !answers {
            bob.answers(&mut harness, "INVITE", "487 Request Terminated", "");
        }
        nothing_left(harness);
    }
}

#[test]
fn a_prack_for_what_was_never_sent_gets_481_and_the_response_goes_on() {
    let (mut harness, mut ann, bob, right) = ringing();
    let invite = ann.cseq;
    let rseq: u32 =
        last(&harness, ANN, "SIP/2.0 183").field("RSeq").and_then(|it| it.parse().ok()).expect("RSeq");
    for wrong in [
        format!("RAck: {} {invite} INVITE\r\n", rseq + 1),
        format!("RAck: {rseq} {} INVITE\r\n", invite + 1),
        format!("RAck: {rseq} {invite} UPDATE\r\n"),
        "RAck: INVITE\r\n".to_owned(),
        String::new(),
    ] {
        ann.asks(&mut harness, "PRACK", &wrong, "");
        assert_eq!(answered(&harness, ANN, "PRACK").last(), Some(&481), "{wrong}");
    }
    harness.run(Duration::from_secs(4));
    assert_eq!(times(&harness, ANN, "SIP/2.0 183"), [0, 500, 1_500, 3_500]);
    ann.asks(&mut harness, "PRACK", &right, "");
    assert_eq!(answered(&harness, ANN, "PRACK").last(), Some(&200));
    // It is acknowledged already: another PRACK matches nothing.
    ann.asks(&mut harness, "PRACK", &right, "");
    assert_eq!(answered(&harness, ANN, "PRACK").last(), Some(&481));
    bob.answers(&mut harness, "INVITE", "200 OK", SESSION);
    ann.acks(&mut harness, invite, "");
    hangs_up(harness, ann, &bob);
}

#[test]
fn a_lost_200_to_a_prack_is_sent_again_for_its_copy_and_nothing_happens_twice() {
    let (mut harness, mut ann, bob, rack) = ringing();
    let invite = ann.cseq;
    let prack = ann.asks(&mut harness, "PRACK", &rack, "");
    harness.send_raw(ANN, &prack);
    harness.run(Duration::from_secs(4));
    harness.send_raw(ANN, &prack);
    assert_eq!(answered(&harness, ANN, "PRACK"), [200, 200, 200]);
    assert_eq!(times(&harness, ANN, "SIP/2.0 183"), [0], "acknowledged before its first copy");
    bob.answers(&mut harness, "INVITE", "200 OK", SESSION);
    ann.acks(&mut harness, invite, "");
    harness.send_raw(ANN, &prack);
    assert_eq!(answered(&harness, ANN, "PRACK"), [200, 200, 200, 200], "after the ACK too");
    hangs_up(harness, ann, &bob);
}

#[test]
fn a_prack_that_comes_after_the_200_is_answered_with_200() {
    // A 180 without a session does not delay the answer; the PRACK for it is lost once.
    for after_ack in [false, true] {
        let (mut harness, mut ann, bob) = calling(SESSION, SUPPORTED);
        let invite = ann.cseq;
        rings(&mut harness, &bob, "180 Ringing", 1, "");
        bob.answers(&mut harness, "PRACK", "200 OK", "");
        let rack = rack(&harness, &ann);
        bob.answers(&mut harness, "INVITE", "200 OK", SESSION);
        assert_eq!(answered(&harness, ANN, "INVITE"), [180, 200]);
        harness.run(Duration::from_secs(2));
        assert_eq!(times(&harness, ANN, "SIP/2.0 180"), [0], "nothing provisional follows the 200");
        if after_ack {
            ann.acks(&mut harness, invite, "");
        }
        ann.asks(&mut harness, "PRACK", &rack, "");
        assert_eq!(answered(&harness, ANN, "PRACK"), [200], "after the ACK: {after_ack}");
        if !after_ack {
            ann.acks(&mut harness, invite, "");
        }
        hangs_up(harness, ann, &bob);
    }
}

#[test]
fn a_prack_of_ours_that_is_lost_is_sent_again_and_a_copy_of_its_response_gets_no_other() {
    let (mut harness, mut ann, bob) = calling(SESSION, "");
    let ringing = rings(&mut harness, &bob, "183 Session Progress", 1, SESSION);
    harness.run(Duration::from_millis(400));
    harness.send_raw(BOB, &ringing);
    harness.run(Duration::from_millis(3_200));
    assert_eq!(times(&harness, BOB, "PRACK"), [0, 500, 1_500, 3_500]);
    assert_eq!(asked(&harness, BOB), ["INVITE", "PRACK"], "the same one each time");
    let invite = last(&harness, BOB, "INVITE").field("CSeq").expect("CSeq");
    assert_eq!(last(&harness, BOB, "PRACK").field("RAck"), Some(format!("1 {invite}")));
    bob.answers(&mut harness, "PRACK", "200 OK", "");
    harness.send_raw(BOB, &ringing);
    harness.run(Duration::from_secs(10));
    assert_eq!(told(&harness, BOB, "PRACK").len(), 4);
    assert_eq!(answered(&harness, ANN, "INVITE"), [183], "the caller hears it once");
    bob.answers(&mut harness, "INVITE", "200 OK", SESSION);
    let number = ann.cseq;
    ann.acks(&mut harness, number, "");
    hangs_up(harness, ann, &bob);
}

#[test]
fn a_response_that_overtakes_another_one_is_not_acknowledged_before_it() {
    let (mut harness, mut ann, bob) = calling(SESSION, "");
    let acknowledged = |harness: &Harness| {
        let rseq = |rack: String| rack.split(' ').next().map(str::to_owned);
        told(harness, BOB, "PRACK").iter().filter_map(|it| rseq(it.field("RAck")?)).collect::<Vec<_>>()
    };
    for (rseq, status, so_far) in [
        (7, "183 Session Progress", &["7"][..]),
        (9, "182 Queued", &["7"]),
        (8, "180 Ringing", &["7", "8"]),
        (9, "182 Queued", &["7", "8", "9"]),
    ] {
        rings(&mut harness, &bob, status, rseq, "");
        assert_eq!(acknowledged(&harness), so_far, "{rseq}");
        bob.answers(&mut harness, "PRACK", "200 OK", "");
    }
    assert_eq!(answered(&harness, ANN, "INVITE"), [183, 180, 182], "in their order");
    bob.answers(&mut harness, "INVITE", "200 OK", SESSION);
    let number = ann.cseq;
    ann.acks(&mut harness, number, "");
    hangs_up(harness, ann, &bob);
}

#[test]
fn every_fork_has_numbers_of_its_own_and_its_prack_goes_to_it() {
    let (mut harness, mut ann, bob) = calling(SESSION, "");
    let cat = bob.fork("second", CAT);
    rings(&mut harness, &bob, "180 Ringing", 40, "");
    rings(&mut harness, &cat, "180 Ringing", 3, "");
    let invite = last(&harness, BOB, "INVITE").field("CSeq").expect("CSeq");
    assert_eq!(last(&harness, BOB, "PRACK").field("RAck"), Some(format!("40 {invite}")));
    assert_eq!(last(&harness, CAT, "PRACK").field("RAck"), Some(format!("3 {invite}")));
    bob.answers(&mut harness, "PRACK", "200 OK", "");
    cat.answers(&mut harness, "PRACK", "200 OK", "");
    rings(&mut harness, &cat, "183 Session Progress", 4, SESSION);
    assert_eq!(last(&harness, CAT, "PRACK").field("RAck"), Some(format!("4 {invite}")));
    cat.answers(&mut harness, "PRACK", "200 OK", "");
    let invite = last(&harness, BOB, "INVITE");
    cat.says(&mut harness, &invite, "200 OK", "", "");
    let number = ann.cseq;
    ann.acks(&mut harness, number, "");
    assert_eq!(asked(&harness, CAT), ["PRACK", "PRACK", "ACK"]);
    hangs_up(harness, ann, &cat);
}

#[test]
fn a_prack_of_ours_that_nobody_answers_leaves_the_last_word_to_the_invite() {
    for refusal in [None, Some("481 Call/Transaction Does Not Exist")] {
        let (mut harness, mut ann, bob) = calling(SESSION, "");
        rings(&mut harness, &bob, "183 Session Progress", 1, SESSION);
        match refusal {
            Some(refusal) => drop(bob.answers(&mut harness, "PRACK", refusal, "")),
            None => harness.run(Duration::from_secs(40)),
        }
        assert_eq!(asked(&harness, BOB), ["INVITE", "PRACK"], "{refusal:?}");
        bob.answers(&mut harness, "INVITE", "200 OK", "");
        let number = ann.cseq;
        ann.acks(&mut harness, number, "");
        hangs_up(harness, ann, &bob);
    }
}
