//! Refusals that lead to another attempt, while dialling and in a re-INVITE: 422 with Min-SE (RFC 4028 §7.3),
//! 491 (RFC 3261 §14.1), 500 with Retry-After (§14.2, §21.5.1). Both parties write their messages by hand.
//!
//! Elsewhere: 401 and 407 are in `challenges`; 423 to b2b's REGISTER at a gateway is in `tests/server/admission/gateways.rs`, as are 401 and
//! Retry-After to it; 503, after which the next address of a name is tried, in
//! `src/sip/tests/sip/endpoint/sending/failover.rs`; 422 on either leg between endpoints of ours in `timers`.

use std::time::Duration;

use b2b_call::bus::Received;
use b2b_call::event::{Event as News, EventFilter};
use b2b_testkit::SESSION;

use crate::challenges::{asks, challenge, challenges, credentials, dialling, held, number, up};
use crate::hand::{Hand, answered, asked, body, hangs_up, last, nothing_left, talking, told};
use crate::routed::{ANN, BOB, CAT};

#[test]
fn a_422_while_dialling_is_met_with_the_interval_that_it_names_and_one_that_names_none_is_a_failure() {
    let (mut harness, mut ann, bob) = dialling(&[(BOB, 0)]);
    let first = last(&harness, BOB, "INVITE");
    let brief = "422 Session Interval Too Small";
    bob.says(&mut harness, &first, brief, "Min-SE: 3600\r\n", "");
    let second = last(&harness, BOB, "INVITE");
    assert_eq!(asked(&harness, BOB), ["INVITE", "ACK", "INVITE"]);
    assert_eq!((number(&second), second.field("Call-ID")), (number(&first) + 1, first.field("Call-ID")));
    assert_eq!(second.field("Session-Expires").as_deref(), Some("3600"));
    assert_eq!(second.field("Min-SE").as_deref(), Some("3600"));
    // Challenged again, with accepted credentials in between.
    challenges(&mut harness, &bob, "INVITE", challenge(407, "one", false));
    let third = last(&harness, BOB, "INVITE");
    assert_eq!(third.field("Session-Expires").as_deref(), Some("3600"));
    assert!(credentials(&third, 407).is_some());
    assert!(answered(&harness, ANN, "INVITE").is_empty());
    up(&mut harness, &mut ann, &bob);
    hangs_up(harness, ann, &bob);

    for names in ["", "Min-SE: 90\r\n"] {
        let (mut harness, _, bob) = dialling(&[(BOB, 0)]);
        let first = last(&harness, BOB, "INVITE");
        bob.says(&mut harness, &first, brief, names, "");
        assert_eq!(asked(&harness, BOB), ["INVITE", "ACK"], "{names}");
        assert!(answered(&harness, ANN, "INVITE").starts_with(&[500]), "a 422 is about our request");
        nothing_left(harness);
    }
}

#[test]
fn who_refuses_a_call_with_retry_after_is_not_called_again_and_the_next_contact_is_at_once() {
    for (line, for_ann) in [("500 Server Internal Error", 500), ("503 Service Unavailable", 500)] {
        let (mut harness, mut ann, bob) = dialling(&[(BOB, 0), (CAT, 1)]);
        let invite = last(&harness, BOB, "INVITE");
        bob.says(&mut harness, &invite, line, "Retry-After: 2\r\n", "");
        let cat = Hand::callee(&harness, CAT);
        cat.answers(&mut harness, "INVITE", "180 Ringing", "");
        harness.run(Duration::from_secs(10));
        assert_eq!((asked(&harness, BOB).len(), asked(&harness, CAT).len()), (2, 1));
        up(&mut harness, &mut ann, &cat);
        hangs_up(harness, ann, &cat);

        let (mut harness, _, bob) = dialling(&[(BOB, 0)]);
        let mut refused = harness.bus().subscribe_to(EventFilter::all().of_types("call_refused").unwrap());
        let invite = last(&harness, BOB, "INVITE");
        bob.says(&mut harness, &invite, line, "Retry-After: 2\r\n", "");
        assert!(answered(&harness, ANN, "INVITE").starts_with(&[for_ann]), "{line}");
        let Some(Received::Event(it)) = refused.try_recv() else { panic!("no refusal") };
        let News::CallRefused(it) = &it.event else { panic!("{it:?}") };
        let passed = line.starts_with("500");
        let why =
            if passed { "Server Internal Error" } else { "the callee answered 503 Service Unavailable" };
        assert_eq!((it.status, &it.why[..]), (for_ann, why), "operators see what the far end sent");
        harness.run(Duration::from_secs(10));
        assert_eq!(asked(&harness, BOB), ["INVITE", "ACK"]);
        nothing_left(harness);
    }
}

#[test]
fn a_422_to_a_reinvite_is_met_with_the_interval_that_it_names() {
    let (mut harness, mut ann, bob) = dialling(&[(BOB, 0)]);
    let invite = last(&harness, BOB, "INVITE");
    let timer = "Require: timer\r\nSession-Expires: 1800;refresher=uas\r\n";
    bob.says(&mut harness, &invite, "200 OK", timer, SESSION);
    let number_of_ann = ann.cseq;
    ann.acks(&mut harness, number_of_ann, "");
    harness.wire.clear();
    let first = asks(&mut harness, &mut ann, "INVITE");
    assert!(first.field("Session-Expires").is_some_and(|it| it.starts_with("1800")));
    bob.says(&mut harness, &first, "422 Session Interval Too Small", "Min-SE: 2400\r\n", "");
    let second = last(&harness, BOB, "INVITE");
    assert_eq!(number(&second), number(&first) + 1);
    assert!(second.field("Session-Expires").is_some_and(|it| it.starts_with("2400")), "{}", second.text());
    assert_eq!((second.field("Min-SE").as_deref(), body(&second)), (Some("2400"), body(&first)));
    assert!(answered(&harness, ANN, "INVITE").is_empty());
    // A repeated 422 ends the attempts: no third one, and the call stays.
    bob.says(&mut harness, &second, "422 Session Interval Too Small", "Min-SE: 2400\r\n", "");
    assert_eq!(told(&harness, BOB, "INVITE").len(), 2);
    assert_eq!(answered(&harness, ANN, "INVITE"), [488]);
    hangs_up(harness, ann, &bob);
}

#[test]
fn after_491_the_owner_of_the_call_id_waits_2_1_to_4_s_and_the_other_one_up_to_2_s() {
    // b2b has called Bob, so the Call-ID there is b2b's. Ann has called b2b.
    for (asker, other, waits) in [(ANN, BOB, 2_100..4_101), (BOB, ANN, 0..2_101)] {
        let (mut harness, ann, bob) = talking();
        let (mut one, two) =
            if asker == ANN { (ann.clone(), bob.clone()) } else { (bob.clone(), ann.clone()) };
        let mut seen = std::collections::BTreeSet::new();
        for version in 2..10 {
            harness.wire.clear();
            let offer = held().replace("party 1 2", &format!("party 1 {version}"));
            let offer = if version % 2 == 0 { offer } else { offer.replace("sendonly", "sendrecv") };
            one.asks(&mut harness, "INVITE", "", &offer);
            // Twice in a row: a second glare may follow the wait.
            for round in 1..=2 {
                let refused = harness.now();
                let before = last(&harness, other, "INVITE");
                two.says(&mut harness, &before, "491 Request Pending", "", "");
                while number(&last(&harness, other, "INVITE")) == number(&before) {
                    assert!((harness.now() - refused).as_millis() < 4_200, "no other INVITE");
                    harness.run(Duration::from_millis(10));
                }
                let waited = (harness.now() - refused).as_millis();
                assert!(waits.contains(&waited), "{other}, round {round}: {waited} ms");
                let again = last(&harness, other, "INVITE");
                assert_eq!((number(&again), body(&again)), (number(&before) + 1, body(&before)));
                seen.insert(waited / 50);
            }
            two.answers(&mut harness, "INVITE", "200 OK", SESSION);
            assert_eq!(answered(&harness, asker, "INVITE").last(), Some(&200));
            let number = one.cseq;
            one.acks(&mut harness, number, "");
        }
        assert!(seen.len() > 4, "waits differ: {seen:?}");
        harness.wire.clear();
        let (ann, bob) = if asker == ANN { (one, two) } else { (two, one) };
        hangs_up(harness, ann, &bob);
    }
}

#[test]
fn while_a_reinvite_waits_after_491_the_other_ones_goes_first() {
    let (mut harness, mut ann, mut bob) = talking();
    ann.asks(&mut harness, "INVITE", "", &held());
    bob.answers(&mut harness, "INVITE", "491 Request Pending", "");
    bob.asks(&mut harness, "INVITE", "", &held().replace("sendonly", "inactive"));
    assert_eq!(answered(&harness, ANN, "INVITE"), [491], "Ann's gives way");
    assert_eq!(asked(&harness, ANN), ["INVITE"]);
    ann.answers(&mut harness, "INVITE", "200 OK", SESSION);
    assert_eq!(answered(&harness, BOB, "INVITE"), [200]);
    let number = bob.cseq;
    bob.acks(&mut harness, number, "");
    harness.run(Duration::from_secs(10));
    assert_eq!(asked(&harness, BOB), ["INVITE", "ACK"], "what has given way does not come again");
    hangs_up(harness, ann, &bob);
}

#[test]
fn a_party_that_answers_491_for_ever_refuses_the_change_and_the_call_goes_on() {
    for asker in [ANN, BOB] {
        let (mut harness, ann, bob) = talking();
        let (mut one, mut two) = if asker == ANN { (ann, bob) } else { (bob, ann) };
        one.asks(&mut harness, "INVITE", "", &held());
        for _ in 0..4 {
            assert!(answered(&harness, asker, "INVITE").is_empty());
            two.answers(&mut harness, "INVITE", "491 Request Pending", "");
            harness.run(Duration::from_secs(5));
        }
        assert_eq!(answered(&harness, asker, "INVITE").first(), Some(&488));
        let asked: Vec<_> = told(&harness, two.at, "INVITE").into_iter().map(number).collect();
        assert_eq!(asked.last().copied(), Some(asked[0] + 3), "no fifth try");
        // The other one's change comes through.
        two.asks(&mut harness, "INVITE", "", &held());
        one.answers(&mut harness, "INVITE", "200 OK", SESSION);
        assert_eq!(answered(&harness, two.at, "INVITE"), [200]);
        let number = two.cseq;
        two.acks(&mut harness, number, "");
        harness.wire.clear();
        let (ann, bob) = if asker == ANN { (one, two) } else { (two, one) };
        hangs_up(harness, ann, &bob);
    }
}

#[test]
fn a_bye_while_a_reinvite_waits_after_491_ends_that_too() {
    let (mut harness, mut ann, bob) = talking();
    ann.asks(&mut harness, "INVITE", "", &held());
    bob.answers(&mut harness, "INVITE", "491 Request Pending", "");
    ann.asks(&mut harness, "BYE", "", "");
    assert_eq!((answered(&harness, ANN, "BYE"), answered(&harness, ANN, "INVITE")), (vec![200], vec![487]));
    harness.run(Duration::from_secs(10));
    assert_eq!(asked(&harness, BOB), ["INVITE", "ACK", "BYE"]);
    bob.answers(&mut harness, "BYE", "200 OK", "");
    nothing_left(harness);
}

#[test]
fn when_to_try_a_reinvite_again_goes_to_who_asked_and_b2b_does_not_insist() {
    for (line, for_ann) in
        [("500 Server Internal Error", 500), ("503 Service Unavailable", 500), ("600 Busy", 600)]
    {
        let (mut harness, mut ann, bob) = talking();
        let reinvite = asks(&mut harness, &mut ann, "INVITE");
        bob.says(&mut harness, &reinvite, line, "Retry-After: 7\r\n", "");
        let refusal = last(&harness, ANN, "SIP/2.0");
        assert_eq!(answered(&harness, ANN, "INVITE"), [for_ann], "{line}");
        assert_eq!(refusal.field("Retry-After").as_deref(), Some("7"), "{}", refusal.text());
        harness.run(Duration::from_secs(20));
        assert_eq!(asked(&harness, BOB), ["INVITE", "ACK"], "{line}");
        hangs_up(harness, ann, &bob);
    }
}

#[test]
fn a_second_reinvite_before_the_first_is_answered_gets_500_and_when_to_come_again() {
    let (mut harness, mut ann, bob) = talking();
    asks(&mut harness, &mut ann, "INVITE");
    let first = ann.cseq;
    ann.asks(&mut harness, "INVITE", "", SESSION);
    let refusal = last(&harness, ANN, "SIP/2.0 500");
    assert_eq!(number(&refusal), first + 1);
    assert!(refusal.field("Retry-After").and_then(|it| it.parse::<u32>().ok()).is_some_and(|it| it <= 10));
    assert_eq!(asked(&harness, BOB), ["INVITE"], "nobody is asked twice");
    bob.answers(&mut harness, "INVITE", "200 OK", SESSION);
    assert_eq!(number(&last(&harness, ANN, "SIP/2.0 200")), first);
    ann.acks(&mut harness, first, "");
    hangs_up(harness, ann, &bob);
}
