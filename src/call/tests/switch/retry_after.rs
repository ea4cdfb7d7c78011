//! Refusals that lead to another attempt, while dialling and in a re-INVITE: 401 and 407 with a stale nonce
//! or a wrong password (RFC 3261 §22, RFC 7616 §3.3), 422 with Min-SE (RFC 4028 §7.3), 491 (RFC 3261 §14.1),
//! 500 with Retry-After (§14.2, §21.5.1). Bob is a gateway with a password; both write their messages by
//! hand.
//!
//! Elsewhere: 423 to b2b's REGISTER at a gateway is in `tests/server/admission/gateways.rs`, as are 401 and
//! Retry-After to it; 503, after which the next address of a name is tried, in
//! `src/sip/tests/sip/endpoint/failover.rs`; 422 on either leg between endpoints of ours in `timers`.

use std::sync::Arc;
use std::time::{Duration, Instant};

use b2b_call::bus::Received;
use b2b_call::event::{Event as News, EventFilter};
use b2b_call::resolver::ChainResolver;
use b2b_call::service::{DialOptions, DialRequest, DialTo};
use b2b_call::switch::SwitchConfig;
use b2b_testkit::{Harness, Network, Passwords, SESSION, Sent, gateway};

use crate::hand::{Hand, answered, asked, body, hangs_up, last, nothing_left, talking, told};
use crate::routed::{ANN, BOB, CAT, Route, contacts};

/// Ann calls these targets in order, Bob through a gateway that has a password.
fn dialling(of: &[(&str, u16)]) -> (Harness, Hand, Hand) {
    let mut request = contacts(of, DialOptions::default());
    if let DialTo::Contacts(contacts) = &mut request.to {
        contacts[0].gateway = Some(gateway(BOB));
    }
    let mut harness = with(request);
    let mut ann = Hand::caller(ANN);
    ann.asks(&mut harness, "INVITE", "", SESSION);
    let bob = Hand::callee(&harness, BOB);
    (harness, ann, bob)
}

fn with(request: DialRequest) -> Harness {
    let resolver = Arc::new(ChainResolver::new(Vec::new()));
    let config = SwitchConfig::default();
    let handlers: Vec<Arc<dyn b2b_call::handler::ApplicationHandler>> = vec![Arc::new(Route(request))];
    Harness::with(Instant::now(), handlers, resolver, Box::new(Passwords), config, Network::QUIET)
}

/// Ann and Bob, the gateway, are connected; `wire` is cleared.
fn by_gateway() -> (Harness, Hand, Hand) {
    let (harness, ann, bob) = dialling(&[(BOB, 0)]);
    answered_by(harness, ann, bob)
}

fn answered_by(mut harness: Harness, mut ann: Hand, bob: Hand) -> (Harness, Hand, Hand) {
    let allow = "Allow: INVITE, ACK, BYE, CANCEL, UPDATE\r\n";
    let invite = last(&harness, BOB, "INVITE");
    bob.says(&mut harness, &invite, "200 OK", allow, SESSION);
    let number = ann.cseq;
    ann.acks(&mut harness, number, "");
    harness.wire.clear();
    (harness, ann, bob)
}

/// The status line and challenge of a 401 or 407.
fn challenge(status: u16, nonce: &str, stale: bool) -> (&'static str, String) {
    challenge_of("carrier", status, nonce, stale)
}

fn challenge_of(realm: &str, status: u16, nonce: &str, stale: bool) -> (&'static str, String) {
    let (line, field) = match status {
        401 => ("401 Unauthorized", "WWW-Authenticate"),
        _ => ("407 Proxy Authentication Required", "Proxy-Authenticate"),
    };
    let stale = if stale { ", stale=true" } else { "" };
    (line, format!("{field}: Digest realm=\"{realm}\", nonce=\"{nonce}\", qop=\"auth\"{stale}\r\n"))
}

/// Bob challenges the last request of this method.
fn challenges(harness: &mut Harness, bob: &Hand, method: &str, (line, field): (&str, String)) -> Sent {
    let request = last(harness, BOB, method);
    bob.says(harness, &request, line, &field, "");
    request
}

fn number(sent: &Sent) -> u32 {
    let cseq = sent.field("CSeq").expect("CSeq");
    cseq.split(' ').next().and_then(|it| it.parse().ok()).expect("a number")
}

fn credentials(sent: &Sent, status: u16) -> Option<String> {
    sent.field(if status == 401 { "Authorization" } else { "Proxy-Authorization" })
}

fn up(harness: &mut Harness, ann: &mut Hand, bob: &Hand) {
    bob.answers(harness, "INVITE", "200 OK", SESSION);
    assert_eq!(answered(harness, ANN, "INVITE").last(), Some(&200));
    let number = ann.cseq;
    ann.acks(harness, number, "");
}

#[test]
fn a_challenge_while_dialling_is_met_by_the_same_call_with_the_next_number() {
    for status in [401, 407] {
        let (mut harness, mut ann, bob) = dialling(&[(BOB, 0)]);
        let first = challenges(&mut harness, &bob, "INVITE", challenge(status, "one", false));
        let second = last(&harness, BOB, "INVITE");
        assert_eq!(asked(&harness, BOB), ["INVITE", "ACK", "INVITE"]);
        assert_eq!(number(&last(&harness, BOB, "ACK")), number(&first));
        assert_eq!(number(&second), number(&first) + 1);
        for same in ["Call-ID", "From", "To"] {
            assert_eq!(second.field(same), first.field(same));
        }
        assert_ne!(second.field("Via"), first.field("Via"));
        assert_eq!((body(&second), credentials(&first, status)), (body(&first), None));
        let given = credentials(&second, status).expect("credentials");
        assert!(given.contains("nonce=\"one\"") && given.contains("username=\"acme\""), "{given}");
        assert!(answered(&harness, ANN, "INVITE").is_empty(), "Ann hears nothing of it");
        bob.answers(&mut harness, "INVITE", "180 Ringing", "");
        up(&mut harness, &mut ann, &bob);
        // RFC 3261 §13.2.2.4, §22.1: the ACK has the credentials of its INVITE.
        assert_eq!(credentials(&last(&harness, BOB, "ACK"), status), Some(given));
        assert_eq!(answered(&harness, ANN, "INVITE"), [180, 200]);
        hangs_up(harness, ann, &bob);
    }
}

#[test]
fn stale_nonces_cost_three_more_rounds_while_dialling_a_wrong_password_none() {
    for (stale, rounds) in [(true, 5), (false, 2)] {
        for status in [401, 407] {
            let (mut harness, _, bob) = dialling(&[(BOB, 0)]);
            challenges(&mut harness, &bob, "INVITE", challenge(status, "one", false));
            challenges(&mut harness, &bob, "INVITE", challenge(status, "two", stale));
            if stale {
                let third = credentials(&last(&harness, BOB, "INVITE"), status).expect("credentials");
                assert!(third.contains("nonce=\"two\""), "{third}");
                assert!(answered(&harness, ANN, "INVITE").is_empty());
                for nonce in ["three", "four", "five"] {
                    challenges(&mut harness, &bob, "INVITE", challenge(status, nonce, true));
                }
            }
            assert_eq!(told(&harness, BOB, "INVITE").len(), rounds);
            assert!(
                answered(&harness, ANN, "INVITE").starts_with(&[502]),
                "not 401: it is not Ann's password"
            );
            nothing_left(harness);
        }
    }
}

#[test]
fn a_call_passes_two_proxies_that_ask_one_after_the_other() {
    for status in [401, 407] {
        let (mut harness, mut ann, bob) = dialling(&[(BOB, 0)]);
        for (method, nonces) in [("INVITE", ["one", "two"]), ("BYE", ["three", "four"])] {
            if method == "BYE" {
                up(&mut harness, &mut ann, &bob);
                ann.asks(&mut harness, "BYE", "", "");
            }
            challenges(&mut harness, &bob, method, challenge_of("edge", 407, nonces[0], false));
            challenges(&mut harness, &bob, method, challenge_of("core", status, nonces[1], false));
            let text = last(&harness, BOB, method).text();
            let given: Vec<&str> = text.lines().filter(|line| line.contains(": Digest ")).collect();
            let [edge, core] = given[..] else { panic!("{given:?}") };
            let edge_is = |part: &str| assert!(edge.contains(part), "{edge}");
            edge_is("realm=\"edge\"");
            edge_is(&format!("nonce=\"{}\"", nonces[0]));
            // no replay
            edge_is("nc=00000002");
            assert!(core.contains(&format!("realm=\"core\", nonce=\"{}\"", nonces[1])), "{core}");
        }
        bob.answers(&mut harness, "BYE", "200 OK", "");
        nothing_left(harness);
    }
}

#[test]
fn one_response_with_the_challenges_of_a_server_and_a_proxy_is_met_whole() {
    for status in [401, 407] {
        let (mut harness, mut ann, bob) = dialling(&[(BOB, 0)]);
        let (line, _) = challenge(status, "one", false);
        let (_, core) = challenge_of("core", 401, "one", false);
        let (_, edge) = challenge_of("edge", 407, "two", false);
        challenges(&mut harness, &bob, "INVITE", (line, core + &edge));
        let second = last(&harness, BOB, "INVITE");
        for (status, nonce) in [(401, "one"), (407, "two")] {
            let given = credentials(&second, status).expect("credentials");
            assert!(given.contains(&format!("nonce=\"{nonce}\"")), "{given}");
        }
        up(&mut harness, &mut ann, &bob);
        hangs_up(harness, ann, &bob);
    }
}

#[test]
fn who_has_no_password_goes_on_to_the_next_contact() {
    let (mut harness, mut ann, bob) = dialling(&[(BOB, 0), (CAT, 1)]);
    // No usable challenge: only an unknown scheme.
    let other = ("401 Unauthorized", "WWW-Authenticate: Bearer realm=\"carrier\"\r\n".to_owned());
    challenges(&mut harness, &bob, "INVITE", other);
    assert_eq!(asked(&harness, BOB), ["INVITE", "ACK"]);
    // Cat is not a gateway: it gets no credentials.
    let cat = Hand::callee(&harness, CAT);
    let (line, field) = challenge(407, "one", false);
    let invite = last(&harness, CAT, "INVITE");
    cat.says(&mut harness, &invite, line, &field, "");
    assert_eq!(asked(&harness, CAT), ["INVITE", "ACK"]);
    assert!(answered(&harness, ANN, "INVITE").starts_with(&[502]));
    let number = ann.cseq;
    ann.acks(&mut harness, number, "");
    nothing_left(harness);
}

#[test]
fn who_gives_up_after_a_challenge_cancels_the_invite_that_met_it() {
    let (mut harness, ann, bob) = dialling(&[(BOB, 0)]);
    let first = challenges(&mut harness, &bob, "INVITE", challenge(401, "one", false));
    ann.cancels(&mut harness);
    assert_eq!(asked(&harness, BOB), ["INVITE", "ACK", "INVITE"], "no CANCEL before a response (§9.1)");
    let second = last(&harness, BOB, "INVITE");
    bob.says(&mut harness, &second, "180 Ringing", "", "");
    let cancel = last(&harness, BOB, "CANCEL");
    assert_eq!((number(&cancel), cancel.field("Via")), (number(&first) + 1, second.field("Via")));
    bob.answers(&mut harness, "CANCEL", "200 OK", "");
    bob.answers(&mut harness, "INVITE", "487 Request Terminated", "");
    assert_eq!(told(&harness, BOB, "INVITE").len(), 2);
    assert!(answered(&harness, ANN, "INVITE").starts_with(&[487]));
    nothing_left(harness);
}

#[test]
fn a_challenge_that_crosses_the_callers_cancel_is_not_met() {
    let (mut harness, ann, bob) = dialling(&[(BOB, 0)]);
    bob.answers(&mut harness, "INVITE", "100 Trying", "");
    ann.cancels(&mut harness);
    challenges(&mut harness, &bob, "INVITE", challenge(401, "one", false));
    bob.answers(&mut harness, "CANCEL", "481 Call/Transaction Does Not Exist", "");
    harness.run(Duration::from_secs(5));
    assert_eq!(asked(&harness, BOB), ["INVITE", "CANCEL", "ACK"]);
    nothing_left(harness);
}

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

/// Ann's offer: the session on hold.
fn held() -> String {
    format!("{}a=sendonly\r\n", SESSION.replace("party 1 1", "party 1 2"))
}

/// Ann's re-INVITE or UPDATE, as Bob received it.
fn asks(harness: &mut Harness, ann: &mut Hand, method: &str) -> Sent {
    ann.asks(harness, method, "", &held());
    last(harness, BOB, method)
}

#[test]
fn a_challenge_to_a_reinvite_or_update_is_met_and_a_stale_nonce_costs_one_more_round() {
    for (method, status) in [("INVITE", 401), ("INVITE", 407), ("UPDATE", 401), ("UPDATE", 407)] {
        let (mut harness, mut ann, bob) = by_gateway();
        let first = asks(&mut harness, &mut ann, method);
        challenges(&mut harness, &bob, method, challenge(status, "one", false));
        challenges(&mut harness, &bob, method, challenge(status, "two", true));
        let third = last(&harness, BOB, method);
        assert_eq!(told(&harness, BOB, method).len(), 3, "{method} {status}");
        assert_eq!(number(&third), number(&first) + 2);
        assert_eq!((third.field("To"), third.field("Call-ID")), (first.field("To"), first.field("Call-ID")));
        assert_eq!(body(&third), body(&first));
        let given = credentials(&third, status).expect("credentials");
        assert!(given.contains("nonce=\"two\""), "{given}");
        assert!(answered(&harness, ANN, method).is_empty(), "Ann hears nothing of it");
        bob.answers(&mut harness, method, "200 OK", SESSION);
        assert_eq!(answered(&harness, ANN, method), [200]);
        if method == "INVITE" {
            let number = ann.cseq;
            ann.acks(&mut harness, number, "");
            assert_eq!(credentials(&last(&harness, BOB, "ACK"), status), Some(given));
        }
        hangs_up(harness, ann, &bob);
    }
}

#[test]
fn a_password_that_is_refused_inside_of_a_call_leaves_it_up() {
    for (method, status) in [("INVITE", 401), ("INVITE", 407), ("UPDATE", 401), ("UPDATE", 407)] {
        let (mut harness, mut ann, bob) = by_gateway();
        asks(&mut harness, &mut ann, method);
        challenges(&mut harness, &bob, method, challenge(status, "one", false));
        challenges(&mut harness, &bob, method, challenge(status, "two", false));
        assert_eq!(told(&harness, BOB, method).len(), 2, "{method} {status}");
        assert_eq!(answered(&harness, ANN, method), [488], "it is not Ann's password");
        // The next one is a new request.
        asks(&mut harness, &mut ann, method);
        assert_eq!(told(&harness, BOB, method).len(), 3);
        bob.answers(&mut harness, method, "200 OK", SESSION);
        assert_eq!(answered(&harness, ANN, method), [488, 200]);
        if method == "INVITE" {
            let number = ann.cseq;
            ann.acks(&mut harness, number, "");
        }
        hangs_up(harness, ann, &bob);
    }
}

#[test]
fn a_phone_that_is_no_gateway_gets_no_password_inside_of_a_call() {
    let mut harness = with(contacts(&[(BOB, 0)], DialOptions::default()));
    let mut ann = Hand::caller(ANN);
    ann.asks(&mut harness, "INVITE", "", SESSION);
    let bob = Hand::callee(&harness, BOB);
    let (mut harness, mut ann, bob) = answered_by(harness, ann, bob);
    for method in ["INVITE", "UPDATE"] {
        asks(&mut harness, &mut ann, method);
        challenges(&mut harness, &bob, method, challenge(407, "one", false));
        assert_eq!(told(&harness, BOB, method).len(), 1, "{method}");
        assert_eq!(answered(&harness, ANN, method), [488], "{method}");
    }
    hangs_up(harness, ann, &bob);
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
