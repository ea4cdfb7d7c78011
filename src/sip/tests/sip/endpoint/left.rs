//! Addresses that a request leaves because no response comes (RFC 3263 §4.3), and what comes
//! from there later.

use std::time::Duration;

use b2b_sip::endpoint::{Body, Event, Input, Invite, OutOfDialog, Termination, UsageEvent, UsageId};
use b2b_sip::msg::Method;

use super::failover::{FIRST, One, SECOND};
use super::hand::{field, reply};

/// Ann calls, the first address is silent for its four seconds, and the second gets the call.
fn left() -> (One, UsageId, String, String) {
    let mut one = One::new();
    let usage = one.dial();
    let (_, first) = one.last("INVITE");
    one.pass(Duration::from_millis(4_100));
    let (to, second) = one.last("INVITE");
    assert_eq!(to, SECOND);
    one.events.clear();
    one.sent.retain(|(_, text)| *text == first || *text == second);
    (one, usage, first, second)
}

/// What was sent to the first address since it was left: the methods.
fn to_first(one: &One) -> Vec<&str> {
    let to_first = one.sent.iter().filter(|(to, _)| *to == FIRST.parse().unwrap());
    to_first.map(|(_, text)| text.split(' ').next().unwrap()).filter(|method| *method != "INVITE").collect()
}

const CONTACT: [&str; 2] = ["Contact: <sip:far@192.0.2.11>\r\n", "Contact: <sip:far@192.0.2.12>\r\n"];

#[test]
fn a_late_provisional_response_of_an_address_that_was_left_gets_one_cancel() {
    for status in ["100 Trying", "180 Ringing", "183 Session Progress"] {
        let (mut one, _, first, second) = left();
        one.answer(&second, "180 Ringing", CONTACT[1]);
        one.events.clear();
        for _ in 0..3 {
            one.answer(&first, status, CONTACT[0]);
        }
        assert!(one.events.is_empty(), "{:?}", one.events);
        assert_eq!(to_first(&one), ["CANCEL"]);
        let (_, cancel) = one.last("CANCEL");
        one.answer(&cancel, "200 OK", "");
        one.answer(&first, "487 Request Terminated", "");
        assert_eq!(to_first(&one), ["CANCEL", "ACK"]);
        assert!(one.ended().is_none(), "the call rings at the second address");
        one.answer(&second, "486 Busy Here", "");
        assert!(matches!(one.ended(), Some(Termination::Failed { response }) if response.status() == 486));
        one.assert_nothing_is_held();
    }
}

#[test]
fn a_late_200_of_an_address_that_was_left_gets_ack_and_bye_whenever_it_comes() {
    for stage in ["calling", "ringing", "answered", "hung up"] {
        let (mut one, usage, first, second) = left();
        if stage != "calling" {
            one.answer(&second, "180 Ringing", CONTACT[1]);
        }
        if matches!(stage, "answered" | "hung up") {
            one.answer(&second, "200 OK", CONTACT[1]);
            assert_eq!(one.last("ACK").0, SECOND);
        }
        if stage == "hung up" {
            one.endpoint.bye(one.now, usage).unwrap();
            one.flush();
            let (_, bye) = one.last("BYE");
            one.answer(&bye, "200 OK", "");
            assert!(matches!(one.ended(), Some(Termination::LocalBye)));
        }
        one.events.clear();
        let ok = reply(&first, "200 OK", "late", &format!("{}Content-Length: 0\r\n", CONTACT[0]));
        for _ in 0..3 {
            let flow = One::flow(FIRST.parse().unwrap());
            one.input(Input::Datagram { flow, data: ok.clone() });
        }
        assert_eq!(to_first(&one), ["ACK", "BYE", "ACK", "ACK"], "{stage}");
        assert!(one.events.is_empty(), "{stage}: {:?}", one.events);
        let (_, bye) = one.last("BYE");
        assert_eq!(field(&bye, "Call-ID"), field(&first, "Call-ID"));
        assert!(field(&bye, "To").ends_with(";tag=late"), "{bye}");
        one.answer(&bye, "200 OK", "");
        if matches!(stage, "calling" | "ringing") {
            one.answer(&second, "200 OK", CONTACT[1]);
            assert!(matches!(&one.events[..], [Event::Usage { event: UsageEvent::Answered { .. }, .. }]));
        }
        if stage != "hung up" {
            one.endpoint.bye(one.now, usage).unwrap();
            one.flush();
            let (to, bye) = one.last("BYE");
            assert_eq!(to, SECOND);
            one.answer(&bye, "200 OK", "");
        }
        one.assert_nothing_is_held();
    }
}

#[test]
fn a_refusal_of_an_address_that_was_left_is_acknowledged_and_decides_nothing() {
    for status in ["486 Busy Here", "603 Decline", "503 Service Unavailable", "401 Unauthorized"] {
        let (mut one, _, first, second) = left();
        one.answer(&first, status, "");
        assert_eq!(to_first(&one), ["ACK"], "{status}");
        one.answer(&second, "200 OK", CONTACT[1]);
        assert!(matches!(&one.events[..], [Event::Usage { event: UsageEvent::Answered { .. }, .. }]));
    }
}

#[test]
fn any_response_keeps_a_call_at_its_address_for_as_long_as_it_rings() {
    let mut one = One::new();
    one.dial();
    let (_, first) = one.last("INVITE");
    one.pass(Duration::from_secs(3));
    one.answer(&first, "100 Trying", "");
    one.pass(Duration::from_secs(60));
    assert_eq!(one.last("INVITE"), (FIRST.to_owned(), first.clone()));
    one.answer(&first, "200 OK", CONTACT[0]);
    assert_eq!(one.last("ACK").0, FIRST);
}

#[test]
fn a_call_goes_through_although_each_address_says_100_after_five_seconds() {
    let (mut one, _, first, second) = left();
    one.pass(Duration::from_millis(900));
    one.answer(&first, "100 Trying", "");
    let (_, cancel) = one.last("CANCEL");
    one.answer(&cancel, "200 OK", "");
    one.pass(Duration::from_secs(4));
    one.answer(&second, "100 Trying", "");
    one.answer(&first, "487 Request Terminated", "");
    one.pass(Duration::from_secs(10));
    one.answer(&second, "200 OK", CONTACT[1]);
    assert!(matches!(&one.events[..], [Event::Usage { event: UsageEvent::Answered { .. }, .. }]));
    assert_eq!(to_first(&one), ["CANCEL", "ACK"]);
}

#[test]
fn who_hangs_up_before_the_first_address_says_anything_has_it_cancelled_later() {
    let mut one = One::new();
    let usage = one.dial();
    let (_, first) = one.last("INVITE");
    one.endpoint.cancel(one.now, usage).unwrap();
    one.pass(Duration::from_millis(4_100));
    assert!(matches!(one.ended(), Some(Termination::LocalCancel)));
    assert_eq!(one.last("INVITE").0, FIRST, "nobody else is called");
    one.answer(&first, "180 Ringing", CONTACT[0]);
    assert_eq!(one.last("CANCEL").0, FIRST);
    one.assert_nothing_is_held();
}

#[test]
fn an_invite_may_name_the_time_that_an_address_has() {
    for seconds in [1, 10] {
        let mut one = One::new();
        let (target, body) = ("sip:far@example.com".into(), Some(Body::sdp("offer")));
        let failover = Some(Duration::from_secs(seconds));
        one.endpoint.invite(one.now, Invite { target, body, failover, ..Invite::default() }).unwrap();
        one.flush();
        one.pass(Duration::from_millis(seconds * 1_000 - 100));
        assert_eq!(one.last("INVITE").0, FIRST);
        one.pass(Duration::from_millis(200));
        assert_eq!(one.last("INVITE").0, SECOND);
        // The last one has as long as RFC 3261 gives it.
        one.pass(Duration::from_secs(31));
        assert!(one.ended().is_none());
        one.pass(Duration::from_secs(2));
        assert!(matches!(one.ended(), Some(Termination::NoResponse)));
        one.assert_nothing_is_held();
    }
}

#[test]
fn an_options_and_a_register_leave_a_silent_address_too() {
    for method in [Method::Options, Method::Register] {
        let mut one = One::new();
        let patience = Some(Duration::from_secs(8)).filter(|_| method == Method::Options);
        let request = OutOfDialog { patience, ..OutOfDialog::new(method.clone(), "sip:example.com") };
        one.endpoint.request_outside(one.now, request).unwrap();
        one.flush();
        one.pass(Duration::from_millis(8_100));
        let (to, second) = one.last(&method.to_string());
        assert_eq!(to, SECOND);
        if method == Method::Options {
            // The last address has no more time than the others.
            one.pass(Duration::from_secs(8));
            let over = |it: &Event| matches!(it, Event::Response { result: Err(_), .. });
            assert!(one.events.iter().any(over), "{:?}", one.events);
        } else {
            one.answer(&second, "200 OK", "");
            let answered = |it: &Event| matches!(it, Event::Response { result: Ok(_), .. });
            assert!(one.events.iter().any(answered), "{:?}", one.events);
        }
        one.assert_nothing_is_held();
    }
}

#[test]
fn an_options_that_is_refused_with_408_goes_to_the_next_address() {
    let mut one = One::new();
    one.endpoint.request_outside(one.now, OutOfDialog::new(Method::Options, "sip:example.com")).unwrap();
    one.flush();
    let (_, first) = one.last("OPTIONS");
    one.answer(&first, "408 Request Timeout", "");
    assert_eq!(one.last("OPTIONS").0, SECOND);
}
