//! Several 2xx to one INVITE of b2b (RFC 3261 §13.2.2.4): the next hop is a forking proxy, and more than one
//! phone behind it answers. The first one stays; each further dialog gets its ACK and its BYE. Also
//! retransmissions of a 2xx, received and sent.
//!
//! Elsewhere: b2b's own branches that answer at once are in `dialling`, the endpoint's limits on forks in
//! `src/sip/tests/sip/endpoint/invite/caller.rs`.

use std::time::Duration;

use b2b_testkit::{Harness, SESSION};

use crate::hand::{Hand, answered, asked, body, calling, hangs_up, last, nothing_left, talking, told};
use crate::routed::{ANN, BOB, CAT, DAN};

/// Ann calls; behind Bob's address are three phones, the second and third with Cat's and Dan's addresses.
fn forked(offer: &str) -> (Harness, Hand, [Hand; 3]) {
    let (harness, ann, bob) = calling(offer, "");
    let (cat, dan) = (bob.fork("second", CAT), bob.fork("third", DAN));
    (harness, ann, [bob, cat, dan])
}

/// A phone behind Bob's address answers the INVITE.
fn answers(harness: &mut Harness, phone: &Hand) -> String {
    let invite = last(harness, BOB, "INVITE");
    phone.says(harness, &invite, "200 OK", "", SESSION)
}

fn acks(harness: &Harness, at: &str) -> usize {
    told(harness, at, "ACK").len()
}

#[test]
fn each_further_2xx_is_acknowledged_and_hung_up_in_its_own_dialog() {
    let (mut harness, mut ann, [bob, cat, dan]) = forked(SESSION);
    for phone in [&bob, &cat, &dan] {
        let invite = last(&harness, BOB, "INVITE");
        phone.says(&mut harness, &invite, "180 Ringing", "", "");
    }
    answers(&mut harness, &bob);
    answers(&mut harness, &cat);
    answers(&mut harness, &dan);
    let invite = last(&harness, BOB, "INVITE");
    for (phone, tag) in [(CAT, "second"), (DAN, "third")] {
        assert_eq!(asked(&harness, phone), ["ACK", "BYE"]);
        let (ack, bye) = (last(&harness, phone, "ACK"), last(&harness, phone, "BYE"));
        for sent in [&ack, &bye] {
            assert!(
                sent.field("To").is_some_and(|to| to.ends_with(&format!(";tag={tag}"))),
                "{}",
                sent.text()
            );
            assert_eq!(sent.field("Call-ID"), invite.field("Call-ID"));
            assert_eq!(sent.field("From"), invite.field("From"));
            assert_eq!(sent.line().split(' ').nth(1), Some(format!("sip:hand@{phone}").as_str()));
        }
        let number = |cseq: Option<String>| cseq.and_then(|it| it.split(' ').next()?.parse::<u32>().ok());
        assert_eq!(number(ack.field("CSeq")), number(invite.field("CSeq")));
        assert_eq!(number(bye.field("CSeq")), number(invite.field("CSeq")).map(|it| it + 1));
        assert!(body(&ack).is_empty());
    }
    let statuses = answered(&harness, ANN, "INVITE");
    assert_eq!(statuses.iter().filter(|status| **status == 200).count(), 1, "{statuses:?}");
    cat.answers(&mut harness, "BYE", "200 OK", "");
    dan.answers(&mut harness, "BYE", "200 OK", "");
    let number = ann.cseq;
    ann.acks(&mut harness, number, "");
    assert_eq!(asked(&harness, BOB), ["INVITE", "ACK"]);
    harness.wire.clear();
    harness.run(Duration::from_secs(40));
    assert!(harness.wire.is_empty(), "{:?}", harness.wire);
    hangs_up(harness, ann, &bob);
}

#[test]
fn the_winners_2xx_gets_the_same_ack_each_time_and_the_others_no_second_bye() {
    let (mut harness, mut ann, [bob, cat, _]) = forked(SESSION);
    let first = answers(&mut harness, &bob);
    let second = answers(&mut harness, &cat);
    let number = ann.cseq;
    ann.acks(&mut harness, number, "");
    for _ in 0..3 {
        harness.send_raw(BOB, &first);
        harness.send_raw(BOB, &second);
    }
    let mine = told(&harness, BOB, "ACK");
    assert_eq!(mine.len(), 4, "an ACK for each 2xx");
    assert!(mine.iter().all(|ack| ack.data == mine[0].data), "the same one");
    assert_eq!(acks(&harness, CAT), 4);
    assert_eq!(asked(&harness, CAT).iter().filter(|method| *method == "BYE").count(), 1);
    cat.answers(&mut harness, "BYE", "200 OK", "");
    hangs_up(harness, ann, &bob);
}

#[test]
fn the_winner_is_acknowledged_with_the_answer_and_the_others_without_where_they_offer() {
    let (mut harness, mut ann, [bob, cat, _]) = forked("");
    answers(&mut harness, &bob);
    answers(&mut harness, &cat);
    assert_eq!((acks(&harness, BOB), asked(&harness, CAT)), (0, vec!["ACK".to_owned(), "BYE".to_owned()]));
    cat.answers(&mut harness, "BYE", "200 OK", "");
    let number = ann.cseq;
    ann.acks(&mut harness, number, SESSION);
    assert!(body(&last(&harness, BOB, "ACK")).contains("m=audio"));
    hangs_up(harness, ann, &bob);
}

#[test]
fn a_second_2xx_after_the_call_has_ended_is_acknowledged_and_hung_up_too() {
    let (mut harness, mut ann, [bob, cat, _]) = forked(SESSION);
    answers(&mut harness, &bob);
    let invite = last(&harness, BOB, "INVITE");
    let number = ann.cseq;
    ann.acks(&mut harness, number, "");
    ann.asks(&mut harness, "BYE", "", "");
    bob.answers(&mut harness, "BYE", "200 OK", "");
    cat.says(&mut harness, &invite, "200 OK", "", SESSION);
    assert_eq!(asked(&harness, CAT), ["ACK", "BYE"]);
    cat.answers(&mut harness, "BYE", "200 OK", "");
    assert!(asked(&harness, ANN).is_empty());
    nothing_left(harness);
}

#[test]
fn every_2xx_that_meets_our_cancel_is_acknowledged_and_hung_up() {
    let (mut harness, ann, [bob, cat, dan]) = forked(SESSION);
    let invite = last(&harness, BOB, "INVITE");
    bob.says(&mut harness, &invite, "180 Ringing", "", "");
    ann.cancels(&mut harness);
    bob.answers(&mut harness, "CANCEL", "200 OK", "");
    for phone in [&bob, &cat, &dan] {
        phone.says(&mut harness, &invite, "200 OK", "", SESSION);
    }
    assert_eq!(asked(&harness, BOB), ["INVITE", "CANCEL", "ACK", "BYE"]);
    assert_eq!(asked(&harness, CAT), ["ACK", "BYE"]);
    assert_eq!(asked(&harness, DAN), ["ACK", "BYE"]);
    for phone in [&bob, &cat, &dan] {
        phone.answers(&mut harness, "BYE", "200 OK", "");
    }
    assert!(!answered(&harness, ANN, "INVITE").contains(&200));
    nothing_left(harness);
}

#[test]
fn the_winner_may_be_a_phone_whose_ringing_was_never_heard() {
    let (mut harness, mut ann, [bob, cat, _]) = forked(SESSION);
    let invite = last(&harness, BOB, "INVITE");
    bob.says(&mut harness, &invite, "183 Session Progress", "", SESSION);
    cat.says(&mut harness, &invite, "200 OK", "", SESSION);
    assert_eq!(asked(&harness, CAT), ["ACK"], "in Cat's dialog");
    assert_eq!(answered(&harness, ANN, "INVITE"), [183, 200]);
    bob.says(&mut harness, &invite, "200 OK", "", SESSION);
    assert_eq!(asked(&harness, BOB), ["INVITE", "ACK", "BYE"]);
    bob.answers(&mut harness, "BYE", "200 OK", "");
    let number = ann.cseq;
    ann.acks(&mut harness, number, "");
    harness.wire.clear();
    hangs_up(harness, ann, &cat);
}

#[test]
fn the_2xx_to_a_reinvite_gets_the_same_ack_each_time_it_comes() {
    let (mut harness, mut ann, bob) = talking();
    let held = format!("{SESSION}a=sendonly\r\n");
    ann.asks(&mut harness, "INVITE", "", &held);
    let answer = bob.answers(&mut harness, "INVITE", "200 OK", SESSION);
    let number = ann.cseq;
    ann.acks(&mut harness, number, "");
    for _ in 0..3 {
        harness.send_raw(BOB, &answer);
    }
    let all = told(&harness, BOB, "ACK");
    assert_eq!(all.len(), 4);
    assert!(all.iter().all(|ack| ack.data == all[0].data));
    assert_eq!(answered(&harness, ANN, "INVITE"), [200], "Ann is answered once");
    hangs_up(harness, ann, &bob);
}

#[test]
fn a_2xx_of_ours_that_is_never_acknowledged_is_sent_for_64_t1_and_both_calls_are_ended() {
    // For the INVITE, and for a re-INVITE (RFC 3261 §13.3.1.4, §14.2).
    for reinvite in [false, true] {
        let (mut harness, mut ann, bob) = if reinvite { talking() } else { calling(SESSION, "") };
        if reinvite {
            ann.asks(&mut harness, "INVITE", "", &format!("{SESSION}a=sendonly\r\n"));
        }
        bob.answers(&mut harness, "INVITE", "200 OK", SESSION);
        let began = last(&harness, ANN, "SIP/2.0 200").at;
        harness.run(Duration::from_millis(31_800));
        let sent = told(&harness, ANN, "SIP/2.0 200").into_iter().map(|it| (it.at - began).as_millis());
        // Intervals double up to T2.
        let expected = [0, 500, 1_500, 3_500, 7_500, 11_500, 15_500, 19_500, 23_500, 27_500, 31_500];
        assert_eq!(sent.collect::<Vec<_>>(), expected, "a re-INVITE: {reinvite}");
        assert!(asked(&harness, ANN).is_empty());
        harness.run(Duration::from_secs(1));
        assert_eq!(asked(&harness, ANN), ["BYE"]);
        assert_eq!(asked(&harness, BOB), ["INVITE", "ACK", "BYE"]);
        ann.answers(&mut harness, "BYE", "481 Call/Transaction Does Not Exist", "");
        bob.answers(&mut harness, "BYE", "200 OK", "");
        nothing_left(harness);
    }
}
