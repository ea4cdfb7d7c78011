//! RFC 5057: what a final response to a request inside a dialog ends. Ann sends a request, b2b sends it to
//! Bob, and Bob's response may end Bob's dialog; Ann's dialog is a different one, and b2b sends no response
//! that would end it while Bob's is up. Both write their messages by hand.
//!
//! b2b differs from the table of §5.1 in one point: a status that ends the dialog or usage only by RFC 5057
//! (403, 404, 410, 480, 482 …) leaves the call up, as in RFC 3261 §14.1 for a re-INVITE; 408 and 481 end it
//! (RFC 3261 §12.2.1.2). No response at all counts as 408 for a re-INVITE, and is ignored for an INFO.
//!
//! Elsewhere: 401 and 407 with a password, 422, 491 and Retry-After are in `retry_after`.

use std::time::Duration;

use b2b_testkit::{Harness, SESSION};

use crate::hand::{Hand, answered, asked, hangs_up, last, nothing_left, talking, told};
use crate::routed::{ANN, BOB};

/// Ann's request: method, header fields, body.
type Asks = (&'static str, &'static str, String);

fn offer() -> Asks {
    ("INVITE", "", format!("{}a=sendonly\r\n", SESSION.replace("party 1 1", "party 1 2")))
}

fn update() -> Asks {
    ("UPDATE", "", offer().2)
}

fn info() -> Asks {
    ("INFO", "Content-Type: application/dtmf-relay\r\n", "Signal=5\r\n".to_owned())
}

fn message() -> Asks {
    ("MESSAGE", "Content-Type: text/plain\r\n", "hello".to_owned())
}

/// Ann sends a request, Bob answers with this status; returns the status that Ann gets.
fn answers(asks: &Asks, status: u16) -> (Harness, Hand, Hand, Option<u16>) {
    let (mut harness, mut ann, bob) = talking();
    ann.asks(&mut harness, asks.0, asks.1, &asks.2);
    let across = told(&harness, BOB, "").into_iter().rev().find(|it| !it.line().starts_with("SIP/2.0"));
    let across = across.expect("Bob is asked").clone();
    let extra = if status < 400 { "" } else { "Retry-After: 7\r\n" };
    bob.says(&mut harness, &across, &format!("{status} Words"), extra, "");
    let told = answered(&harness, ANN, asks.0).last().copied();
    (harness, ann, bob, told)
}

/// The call continues: no BYE is sent, both can send requests again, and it ends normally.
fn goes_on(mut harness: Harness, mut ann: Hand, mut bob: Hand, what: &str) {
    harness.run(Duration::from_secs(40));
    for at in [ANN, BOB] {
        assert!(!asked(&harness, at).contains(&"BYE".to_owned()), "{what}: {at} was hung up");
    }
    harness.wire.clear();
    bob.asks(&mut harness, "INFO", info().1, &info().2);
    ann.answers(&mut harness, "INFO", "200 OK", "");
    assert_eq!(answered(&harness, BOB, "INFO"), [200], "{what}");
    ann.asks(&mut harness, "INVITE", "", &offer().2);
    bob.answers(&mut harness, "INVITE", "200 OK", SESSION);
    assert_eq!(answered(&harness, ANN, "INVITE"), [200], "{what}");
    let number = ann.cseq;
    ann.acks(&mut harness, number, "");
    hangs_up(harness, ann, &bob);
}

/// Statuses that concern the request alone, and pass unchanged.
const PASS: [u16; 24] = [
    400, 402, 406, 412, 413, 414, 415, 417, 428, 429, 436, 437, 438, 486, 487, 488, 493, 499, 500, 504, 505,
    513, 600, 603,
];

/// Statuses that would end Ann's dialog or usage, or that are meaningless without a header field of Bob's
/// response.
const HIDDEN: [u16; 21] =
    [300, 302, 401, 403, 404, 407, 410, 416, 420, 421, 422, 423, 480, 482, 483, 484, 485, 489, 494, 502, 604];

#[test]
fn what_concerns_an_offer_alone_goes_back_and_what_would_end_the_dialog_is_488() {
    let hidden = HIDDEN.into_iter().chain([405, 501]).map(|status| (status, 488));
    let table = PASS.map(|status| (status, status)).into_iter().chain(hidden);
    for (status, expected) in table.chain([(503, 500), (580, 580), (606, 606)]) {
        // 401, 407 and 422 are in `retry_after` for UPDATE.
        for asks in [offer(), update()] {
            let (harness, ann, bob, told) = answers(&asks, status);
            assert_eq!(told, Some(expected), "{status} to {}", asks.0);
            goes_on(harness, ann, bob, &format!("{status} to {}", asks.0));
        }
    }
}

#[test]
fn what_concerns_another_request_alone_goes_back_and_what_would_end_the_dialog_is_488() {
    let hidden = HIDDEN.into_iter().filter(|status| *status != 489).map(|status| (status, 488));
    let table = PASS.map(|status| (status, status)).into_iter().chain(hidden);
    // A method that Bob does not support does not affect the dialog.
    for (status, expected) in table.chain([(405, 405), (501, 501), (489, 489), (503, 500), (469, 469)]) {
        for asks in [info(), message()] {
            let (harness, ann, bob, told) = answers(&asks, status);
            assert_eq!(told, Some(expected), "{status} to {}", asks.0);
            goes_on(harness, ann, bob, &format!("{status} to {}", asks.0));
        }
    }
}

#[test]
fn who_knows_nothing_of_the_dialog_is_hung_up_and_the_other_one_too() {
    for asks in [offer(), update(), info(), message()] {
        for status in [481, 408] {
            if status == 408 && matches!(asks.0, "INFO" | "MESSAGE") {
                continue;
            }
            let (mut harness, ann, bob, told) = answers(&asks, status);
            // A dialog that Bob has lost is not Ann's.
            assert_eq!(told, Some(480), "{status} to {}", asks.0);
            assert_eq!(
                asked(&harness, BOB).last().map(String::as_str),
                Some("BYE"),
                "{status} to {}",
                asks.0
            );
            bob.answers(&mut harness, "BYE", "481 Call/Transaction Does Not Exist", "");
            assert_eq!(asked(&harness, ANN), ["BYE"], "{status} to {}", asks.0);
            ann.answers(&mut harness, "BYE", "200 OK", "");
            nothing_left(harness);
        }
    }
}

#[test]
fn a_408_to_another_request_or_no_answer_leaves_the_call_up_and_no_408_goes_back() {
    // RFC 4320 §4.1: the sender has timed out by then.
    for asks in [info(), message()] {
        let (harness, ann, bob, told) = answers(&asks, 408);
        assert_eq!(told, Some(504), "{}", asks.0);
        goes_on(harness, ann, bob, "408");
        let (mut harness, mut ann, bob) = talking();
        ann.asks(&mut harness, asks.0, asks.1, &asks.2);
        harness.run(Duration::from_secs(40));
        assert!(!answered(&harness, ANN, asks.0).contains(&408), "{}", asks.0);
        assert_eq!(asked(&harness, BOB), [asks.0]);
        goes_on(harness, ann, bob, "no answer");
    }
}

#[test]
fn every_final_response_to_a_bye_ends_the_call() {
    for status in [200, 202, 302, 400, 401, 403, 404, 405, 407, 408, 480, 481, 482, 487, 501, 503, 603, 604] {
        let (mut harness, mut ann, bob) = talking();
        ann.asks(&mut harness, "BYE", "", "");
        assert_eq!(answered(&harness, ANN, "BYE"), [200]);
        let bye = last(&harness, BOB, "BYE");
        bob.says(&mut harness, &bye, &format!("{status} Words"), "", "");
        assert_eq!(harness.holdings().0.legs, 0, "{status}");
        harness.wire.clear();
        harness.run(Duration::from_secs(40));
        assert!(harness.wire.is_empty(), "{status}: {:?}", harness.wire);
        nothing_left(harness);
    }
}

#[test]
fn a_bye_that_is_refused_for_its_transaction_alone_is_sent_again_three_times() {
    for status in [491, 500] {
        let (mut harness, mut ann, bob) = talking();
        ann.asks(&mut harness, "BYE", "", "");
        for times in 1..=4 {
            assert_eq!(asked(&harness, BOB), vec!["BYE"; times], "{status}");
            assert_eq!(harness.holdings().0.legs, 1, "{status}");
            bob.answers(&mut harness, "BYE", &format!("{status} Words"), "");
            harness.run(Duration::from_secs(1));
        }
        assert_eq!(harness.holdings().0.legs, 0, "{status}");
        assert_eq!(asked(&harness, BOB).len(), 4, "{status}");
        nothing_left(harness);
    }
}
