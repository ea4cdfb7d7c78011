//! RFC 5407: requests that cross on the wire. Ann has called Bob through b2b, which is the callee in Ann's
//! dialog and the caller in Bob's; both write their messages by hand.
//!
//! Elsewhere: the dialog owner and the other side of crossing re-INVITEs (§3.3.1) are in `retry_after`, the
//! reaction of two of our endpoints to them in `trouble`.

use std::time::Duration;

use b2b_testkit::SESSION;

use crate::hand::{answered, asked, body, calling, hangs_up, last, nothing_left, talking, told};
use crate::routed::{ANN, BOB};

const HELD: &str = "v=0\r\no=party 1 2 IN IP4 198.51.100.7\r\ns=-\r\nc=IN IP4 198.51.100.7\r\nt=0 0\r\n\
                    m=audio 4000 RTP/AVP 8 0 101\r\na=rtpmap:101 telephone-event/8000\r\na=sendonly\r\n";

#[test]
fn an_invite_that_comes_again_after_the_200_makes_no_second_call_3_1_1() {
    let (mut harness, mut ann, bob) = calling(SESSION, "");
    bob.answers(&mut harness, "INVITE", "180 Ringing", "");
    bob.answers(&mut harness, "INVITE", "200 OK", SESSION);
    harness.send_raw(ANN, &ann.invite);
    harness.send_raw(ANN, &ann.invite);
    harness.run(Duration::from_secs(2));
    assert_eq!(asked(&harness, BOB), ["INVITE", "ACK"], "Bob is called once");
    let statuses = answered(&harness, ANN, "INVITE");
    assert_eq!(statuses[..2], [180, 200]);
    assert!(statuses[2..].iter().all(|status| *status == 200), "{statuses:?}");
    assert!(statuses.len() > 2, "the 200 is sent until its ACK");
    let tags: std::collections::BTreeSet<_> =
        told(&harness, ANN, "SIP/2.0 200").iter().map(|it| it.field("To")).collect();
    assert_eq!((tags.len(), harness.counters().incoming), (1, 1), "one dialog, one call");
    let number = ann.cseq;
    ann.acks(&mut harness, number, "");
    harness.wire.clear();
    harness.send_raw(ANN, &ann.invite);
    harness.run(Duration::from_secs(5));
    assert!(harness.wire.is_empty(), "{:?}", harness.wire);
    hangs_up(harness, ann, &bob);
}

#[test]
fn a_cancel_that_meets_the_200_gets_200_and_ends_nothing_3_1_2() {
    let (mut harness, mut ann, bob) = calling(SESSION, "");
    bob.answers(&mut harness, "INVITE", "200 OK", SESSION);
    ann.cancels(&mut harness);
    assert_eq!(answered(&harness, ANN, "CANCEL"), [200]);
    assert_eq!(answered(&harness, ANN, "INVITE"), [200], "no 487");
    let number = ann.cseq;
    ann.acks(&mut harness, number, "");
    harness.run(Duration::from_secs(40));
    assert_eq!(asked(&harness, BOB), ["INVITE", "ACK"]);
    hangs_up(harness, ann, &bob);
}

#[test]
fn a_bye_of_the_early_dialog_that_meets_the_200_ends_the_call_3_1_3() {
    let (mut harness, mut ann, bob) = calling(SESSION, "");
    bob.answers(&mut harness, "INVITE", "180 Ringing", "");
    bob.answers(&mut harness, "INVITE", "200 OK", SESSION);
    let invite = ann.cseq;
    ann.asks(&mut harness, "BYE", "", "");
    assert_eq!(answered(&harness, ANN, "BYE"), [200]);
    assert_eq!(answered(&harness, ANN, "INVITE"), [180, 200], "the 200 was the last word");
    assert_eq!(asked(&harness, BOB), ["INVITE", "ACK", "BYE"]);
    bob.answers(&mut harness, "BYE", "200 OK", "");
    // The 200 reaches Ann, who acknowledges it as in §3.2.4.
    harness.wire.clear();
    ann.acks(&mut harness, invite, "");
    harness.run(Duration::from_secs(40));
    assert!(harness.wire.is_empty(), "{:?}", harness.wire);
    nothing_left(harness);
}

#[test]
fn a_bye_of_the_early_dialog_before_any_answer_ends_the_invite_with_487_appendix_a() {
    let (mut harness, mut ann, bob) = calling(SESSION, "");
    bob.answers(&mut harness, "INVITE", "180 Ringing", "");
    ann.asks(&mut harness, "BYE", "", "");
    assert_eq!(answered(&harness, ANN, "BYE"), [200]);
    assert!(answered(&harness, ANN, "INVITE").contains(&487));
    assert_eq!(asked(&harness, BOB), ["INVITE", "CANCEL"]);
    bob.answers(&mut harness, "CANCEL", "200 OK", "");
    bob.answers(&mut harness, "INVITE", "487 Request Terminated", "");
    assert_eq!(asked(&harness, BOB), ["INVITE", "CANCEL", "ACK"]);
    nothing_left(harness);
}

#[test]
fn a_callees_bye_of_the_early_dialog_leaves_the_last_word_to_its_final_response_appendix_a() {
    let (mut harness, _, mut bob) = calling(SESSION, "");
    bob.answers(&mut harness, "INVITE", "180 Ringing", "");
    bob.asks(&mut harness, "BYE", "", "");
    assert_eq!(answered(&harness, BOB, "BYE"), [200]);
    assert_eq!(answered(&harness, ANN, "INVITE"), [180]);
    bob.answers(&mut harness, "INVITE", "487 Request Terminated", "");
    assert!(answered(&harness, ANN, "INVITE").contains(&480));
    assert_eq!(asked(&harness, BOB), ["INVITE", "ACK"]);
    nothing_left(harness);
}

#[test]
fn a_callee_who_has_hung_up_before_its_200_leaves_no_caller_in_the_call() {
    for answers in [true, false] {
        let (mut harness, _, mut bob) = calling(SESSION, "");
        bob.answers(&mut harness, "INVITE", "180 Ringing", "");
        bob.asks(&mut harness, "BYE", "", "");
        if answers {
            bob.answers(&mut harness, "INVITE", "200 OK", SESSION);
            assert_eq!(asked(&harness, BOB), ["INVITE", "ACK"]);
        } else {
            harness.run(Duration::from_secs(5));
            bob.answers(&mut harness, "CANCEL", "200 OK", "");
            bob.answers(&mut harness, "INVITE", "487 Request Terminated", "");
            assert_eq!(asked(&harness, BOB), ["INVITE", "CANCEL", "ACK"]);
        }
        let last = answered(&harness, ANN, "INVITE").into_iter().max();
        assert_eq!(last, Some(480), "answers: {answers}");
        nothing_left(harness);
    }
}

#[test]
fn a_reinvite_that_overtakes_the_ack_is_put_off_and_taken_after_it_3_1_4() {
    let (mut harness, mut ann, bob) = calling(SESSION, "");
    bob.answers(&mut harness, "INVITE", "200 OK", SESSION);
    let invite = ann.cseq;
    ann.asks(&mut harness, "INVITE", "", HELD);
    assert_eq!(answered(&harness, ANN, "INVITE"), [200, 491]);
    ann.acks(&mut harness, invite, "");
    assert_eq!(asked(&harness, BOB), ["INVITE", "ACK"], "nobody is asked meanwhile");
    ann.asks(&mut harness, "INVITE", "", HELD);
    assert!(body(&last(&harness, BOB, "INVITE")).contains("a=sendonly"));
    bob.answers(&mut harness, "INVITE", "200 OK", SESSION);
    assert_eq!(answered(&harness, ANN, "INVITE").last(), Some(&200));
    let reinvite = ann.cseq;
    ann.acks(&mut harness, reinvite, "");
    assert_eq!(asked(&harness, BOB), ["INVITE", "ACK", "INVITE", "ACK"]);
    hangs_up(harness, ann, &bob);
}

#[test]
fn a_reinvite_before_the_ack_that_owes_the_answer_gets_491_3_1_5() {
    let (mut harness, mut ann, bob) = calling("", "");
    bob.answers(&mut harness, "INVITE", "200 OK", SESSION);
    let invite = ann.cseq;
    assert!(body(&last(&harness, ANN, "SIP/2.0 200")).contains("m=audio"), "b2b's offer");
    ann.asks(&mut harness, "INVITE", "", HELD);
    assert_eq!(answered(&harness, ANN, "INVITE"), [200, 491]);
    assert_eq!(asked(&harness, BOB), ["INVITE"], "no ACK without the answer");
    ann.acks(&mut harness, invite, SESSION);
    assert_eq!(asked(&harness, BOB), ["INVITE", "ACK"]);
    assert!(body(&last(&harness, BOB, "ACK")).contains("m=audio"));
    assert!(!body(&last(&harness, BOB, "ACK")).contains("sendonly"));
    hangs_up(harness, ann, &bob);
}

#[test]
fn a_bye_whose_ack_is_lost_ends_the_call_3_1_6() {
    let (mut harness, mut ann, bob) = calling(SESSION, "");
    bob.answers(&mut harness, "INVITE", "200 OK", SESSION);
    ann.asks(&mut harness, "BYE", "", "");
    let bye = told(&harness, BOB, "BYE").len();
    assert_eq!((answered(&harness, ANN, "BYE"), bye), (vec![200], 1));
    bob.answers(&mut harness, "BYE", "200 OK", "");
    harness.wire.clear();
    harness.run(Duration::from_secs(40));
    assert!(harness.wire.is_empty(), "the 200 is not sent any more: {:?}", harness.wire);
    nothing_left(harness);
}

#[test]
fn a_callee_who_hangs_up_before_the_callers_ack_is_answered_and_the_callers_bye_waits_for_it() {
    let (mut harness, mut ann, mut bob) = calling(SESSION, "");
    bob.answers(&mut harness, "INVITE", "200 OK", SESSION);
    bob.asks(&mut harness, "BYE", "", "");
    assert_eq!(answered(&harness, BOB, "BYE"), [200]);
    // RFC 3261 §15: a callee's BYE waits for the ACK.
    assert!(asked(&harness, ANN).is_empty());
    let invite = ann.cseq;
    ann.acks(&mut harness, invite, "");
    assert_eq!(asked(&harness, ANN), ["BYE"]);
    ann.answers(&mut harness, "BYE", "200 OK", "");
    harness.wire.clear();
    harness.run(Duration::from_secs(40));
    assert!(harness.wire.is_empty(), "{:?}", harness.wire);
    nothing_left(harness);
}

#[test]
fn byes_that_cross_are_both_answered_and_nobody_is_sent_another_3_2_1() {
    let (mut harness, mut ann, mut bob) = talking();
    bob.asks(&mut harness, "BYE", "", "");
    assert_eq!((answered(&harness, BOB, "BYE"), asked(&harness, ANN)), (vec![200], vec!["BYE".to_owned()]));
    let bye = ann.asks(&mut harness, "BYE", "", "");
    assert_eq!(answered(&harness, ANN, "BYE"), [200]);
    ann.answers(&mut harness, "BYE", "200 OK", "");
    // Ann's 200 was lost: the BYE is retransmitted.
    harness.send_raw(ANN, &bye);
    assert_eq!(answered(&harness, ANN, "BYE"), [200, 200]);
    harness.run(Duration::from_secs(40));
    assert_eq!((asked(&harness, ANN).len(), asked(&harness, BOB).len()), (1, 0));
    nothing_left(harness);
}

#[test]
fn a_bye_that_is_answered_with_481_after_byes_crossed_ends_as_well_3_2_1() {
    let (mut harness, mut ann, mut bob) = talking();
    ann.asks(&mut harness, "BYE", "", "");
    bob.asks(&mut harness, "BYE", "", "");
    assert_eq!((answered(&harness, ANN, "BYE"), answered(&harness, BOB, "BYE")), (vec![200], vec![200]));
    bob.answers(&mut harness, "BYE", "481 Call/Transaction Does Not Exist", "");
    harness.wire.clear();
    harness.run(Duration::from_secs(40));
    assert!(harness.wire.is_empty(), "{:?}", harness.wire);
    nothing_left(harness);
}

#[test]
fn what_is_asked_in_a_call_that_b2b_is_ending_gets_481_and_goes_to_nobody_3_2_2_and_3_3_3() {
    let refer = "Refer-To: <sip:cat@192.0.2.13>\r\n";
    let info = "Content-Type: application/dtmf-relay\r\n";
    let requests = [
        ("INVITE", "", HELD),
        ("UPDATE", "", HELD),
        ("REFER", refer, ""),
        ("INFO", info, "Signal=5\r\n"),
        ("MESSAGE", "Content-Type: text/plain\r\n", "bye"),
    ];
    for (method, extra, content) in requests {
        let (mut harness, mut ann, mut bob) = talking();
        bob.asks(&mut harness, "BYE", "", "");
        ann.asks(&mut harness, method, extra, content);
        assert_eq!(answered(&harness, ANN, method), [481], "{method}");
        ann.answers(&mut harness, "BYE", "200 OK", "");
        assert!(asked(&harness, BOB).is_empty(), "{method}");
        assert_eq!(asked(&harness, ANN), ["BYE"], "{method}");
        nothing_left(harness);
    }
}

#[test]
fn the_200_of_a_reinvite_that_meets_the_bye_is_acknowledged_3_2_3() {
    // The 200 arrives before or after the response to the BYE.
    for bye_first in [false, true] {
        let (mut harness, mut ann, bob) = talking();
        ann.asks(&mut harness, "INVITE", "", HELD);
        let reinvite = last(&harness, BOB, "INVITE");
        ann.asks(&mut harness, "BYE", "", "");
        assert_eq!(answered(&harness, ANN, "BYE"), [200]);
        assert_eq!(asked(&harness, BOB), ["INVITE", "BYE"]);
        if bye_first {
            bob.answers(&mut harness, "BYE", "200 OK", "");
        }
        bob.says(&mut harness, &reinvite, "200 OK", "", SESSION);
        let ack = told(&harness, BOB, "ACK");
        assert_eq!(ack.len(), 1, "BYE answered first: {bye_first}");
        let number = |cseq: Option<String>| cseq.and_then(|it| Some(it.split(' ').next()?.to_owned()));
        assert_eq!(number(ack[0].field("CSeq")), number(reinvite.field("CSeq")));
        if !bye_first {
            bob.answers(&mut harness, "BYE", "200 OK", "");
        }
        nothing_left(harness);
    }
}

#[test]
fn a_bye_while_its_own_reinvite_waits_gets_200_and_the_reinvite_487_appendix_b() {
    let (mut harness, mut ann, bob) = talking();
    ann.asks(&mut harness, "INVITE", "", HELD);
    ann.asks(&mut harness, "BYE", "", "");
    assert_eq!(answered(&harness, ANN, "BYE"), [200]);
    assert!(answered(&harness, ANN, "INVITE").contains(&487));
    let reinvite = last(&harness, BOB, "INVITE");
    bob.answers(&mut harness, "BYE", "200 OK", "");
    bob.says(&mut harness, &reinvite, "487 Request Terminated", "", "");
    assert_eq!(asked(&harness, BOB), ["INVITE", "BYE", "ACK"]);
    nothing_left(harness);
}

#[test]
fn an_update_that_crosses_a_reinvite_gets_491_and_the_reinvite_is_tried_again_3_3_2() {
    let (mut harness, mut ann, mut bob) = talking();
    ann.asks(&mut harness, "INVITE", "", HELD);
    let first = last(&harness, BOB, "INVITE");
    bob.asks(&mut harness, "UPDATE", "", SESSION);
    assert_eq!(answered(&harness, BOB, "UPDATE"), [491]);
    bob.says(&mut harness, &first, "491 Request Pending", "", "");
    harness.run(Duration::from_secs(5));
    assert_eq!(asked(&harness, BOB), ["INVITE", "ACK", "INVITE"]);
    assert!(body(&last(&harness, BOB, "INVITE")).contains("a=sendonly"));
    assert!(asked(&harness, ANN).is_empty() && !answered(&harness, ANN, "INVITE").contains(&491));
    bob.answers(&mut harness, "INVITE", "200 OK", SESSION);
    assert_eq!(answered(&harness, ANN, "INVITE").last(), Some(&200));
    let reinvite = ann.cseq;
    ann.acks(&mut harness, reinvite, "");
    hangs_up(harness, ann, &bob);
}

#[test]
fn a_200_that_meets_our_cancel_gets_ack_and_bye_appendix_c() {
    let (mut harness, ann, bob) = calling(SESSION, "");
    bob.answers(&mut harness, "INVITE", "180 Ringing", "");
    ann.cancels(&mut harness);
    assert_eq!(answered(&harness, ANN, "CANCEL"), [200]);
    assert!(answered(&harness, ANN, "INVITE").contains(&487));
    bob.answers(&mut harness, "INVITE", "200 OK", SESSION);
    assert_eq!(asked(&harness, BOB), ["INVITE", "CANCEL", "ACK", "BYE"]);
    bob.answers(&mut harness, "CANCEL", "200 OK", "");
    bob.answers(&mut harness, "BYE", "200 OK", "");
    harness.wire.retain(|it| it.to != ANN.parse().expect("an address"));
    harness.run(Duration::from_secs(40));
    assert_eq!(asked(&harness, BOB), ["INVITE", "CANCEL", "ACK", "BYE"], "nothing more");
    nothing_left(harness);
}

#[test]
fn a_cancel_that_meets_our_refusal_gets_200_with_the_tag_of_that() {
    for is_acknowledged in [false, true] {
        let (mut harness, ann, bob) = calling(SESSION, "");
        bob.answers(&mut harness, "INVITE", "486 Busy Here", "");
        let refusal = last(&harness, ANN, "SIP/2.0 486");
        if is_acknowledged {
            ann.takes_refusal(&mut harness);
        }
        ann.cancels(&mut harness);
        assert_eq!(answered(&harness, ANN, "CANCEL"), [200]);
        assert_eq!(last(&harness, ANN, "SIP/2.0 200").field("To"), refusal.field("To"), "§9.2");
        harness.run(Duration::from_secs(40));
        nothing_left(harness);
    }
}

#[test]
fn a_prack_that_meets_the_487_of_a_cancel_gets_481() {
    let (mut harness, mut ann, bob) = calling(SESSION, "Supported: 100rel\r\n");
    let invite = last(&harness, BOB, "INVITE");
    bob.says(&mut harness, &invite, "183 Session Progress", "Require: 100rel\r\nRSeq: 1\r\n", SESSION);
    let early = last(&harness, ANN, "SIP/2.0 183");
    ann.cancels(&mut harness);
    assert!(answered(&harness, ANN, "INVITE").contains(&487));
    let rack = format!("RAck: {} {} INVITE\r\n", early.field("RSeq").expect("RSeq"), ann.cseq);
    ann.asks(&mut harness, "PRACK", &rack, "");
    assert_eq!(answered(&harness, ANN, "PRACK"), [481]);
    bob.answers(&mut harness, "CANCEL", "200 OK", "");
    bob.says(&mut harness, &invite, "487 Request Terminated", "", "");
    nothing_left(harness);
}
