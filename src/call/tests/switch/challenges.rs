//! Challenges, while dialling and in a call: 401 and 407 of one server or of several in a row, with a stale
//! nonce or a wrong password (RFC 3261 §22, RFC 7616 §3.3). Bob is a gateway with a password; both write their
//! messages by hand.

use std::sync::Arc;
use std::time::{Duration, Instant};

use b2b_call::resolver::ChainResolver;
use b2b_call::service::{DialOptions, DialRequest, DialTo};
use b2b_call::switch::SwitchConfig;
use b2b_testkit::{Harness, Network, Passwords, SESSION, Sent, gateway};

use crate::hand::{Hand, answered, asked, body, hangs_up, last, nothing_left, told};
use crate::routed::{ANN, BOB, CAT, Route, contacts};

/// Ann calls these targets in order, Bob through a gateway that has a password.
pub fn dialling(of: &[(&str, u16)]) -> (Harness, Hand, Hand) {
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

pub fn with(request: DialRequest) -> Harness {
    let resolver = Arc::new(ChainResolver::new(Vec::new()));
    let config = SwitchConfig::default();
    let handlers: Vec<Arc<dyn b2b_call::handler::ApplicationHandler>> = vec![Arc::new(Route(request))];
    Harness::with(Instant::now(), handlers, resolver, Box::new(Passwords), config, Network::QUIET)
}

/// Ann and Bob, the gateway, are connected; `wire` is cleared.
pub fn by_gateway() -> (Harness, Hand, Hand) {
    let (harness, ann, bob) = dialling(&[(BOB, 0)]);
    answered_by(harness, ann, bob)
}

pub fn answered_by(mut harness: Harness, mut ann: Hand, bob: Hand) -> (Harness, Hand, Hand) {
    let allow = "Allow: INVITE, ACK, BYE, CANCEL, UPDATE\r\n";
    let invite = last(&harness, BOB, "INVITE");
    bob.says(&mut harness, &invite, "200 OK", allow, SESSION);
    let number = ann.cseq;
    ann.acks(&mut harness, number, "");
    harness.wire.clear();
    (harness, ann, bob)
}

/// The status line and challenge of a 401 or 407.
pub fn challenge(status: u16, nonce: &str, stale: bool) -> (&'static str, String) {
    challenge_of("carrier", status, nonce, stale)
}

pub fn challenge_of(realm: &str, status: u16, nonce: &str, stale: bool) -> (&'static str, String) {
    let (line, field) = match status {
        401 => ("401 Unauthorized", "WWW-Authenticate"),
        _ => ("407 Proxy Authentication Required", "Proxy-Authenticate"),
    };
    let stale = if stale { ", stale=true" } else { "" };
    (line, format!("{field}: Digest realm=\"{realm}\", nonce=\"{nonce}\", qop=\"auth\"{stale}\r\n"))
}

/// Bob challenges the last request of this method.
pub fn challenges(harness: &mut Harness, bob: &Hand, method: &str, (line, field): (&str, String)) -> Sent {
    let request = last(harness, BOB, method);
    bob.says(harness, &request, line, &field, "");
    request
}

pub fn number(sent: &Sent) -> u32 {
    let cseq = sent.field("CSeq").expect("CSeq");
    cseq.split(' ').next().and_then(|it| it.parse().ok()).expect("a number")
}

pub fn credentials(sent: &Sent, status: u16) -> Option<String> {
    sent.field(if status == 401 { "Authorization" } else { "Proxy-Authorization" })
}

pub fn up(harness: &mut Harness, ann: &mut Hand, bob: &Hand) {
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

/// Ann's offer: the session on hold.
pub fn held() -> String {
    format!("{}a=sendonly\r\n", SESSION.replace("party 1 1", "party 1 2"))
}

/// Ann's re-INVITE or UPDATE, as Bob received it.
pub fn asks(harness: &mut Harness, ann: &mut Hand, method: &str) -> Sent {
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
