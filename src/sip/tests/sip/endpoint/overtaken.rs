//! Requests of ours that arrive out of order and are refused with 500 (RFC 3261 §12.2.2).

use std::time::Duration;

use b2b_sip::endpoint::{
    Body, EndpointConfig, Event, Extensions, InDialog, Reply, Termination, Transport, UsageEvent, UsageId,
};
use b2b_sip::msg::Method;

use super::pair::{A, B, Hand, Network, Pair, config, field, reply};

const REFUSED: &str = "500 Server Internal Error";

/// A hand-made peer has called B, which accepts REFERs, and the call is established.
fn talking() -> (Pair, UsageId, Hand, String) {
    let extensions = Extensions { refer: true, ..Extensions::default() };
    let configs = [1, 2].map(|end| EndpointConfig { extensions, ..config(end) });
    let mut pair = Pair::with(Network::QUIET, configs, ["192.0.2.1:5060", "192.0.2.2:5060"]);
    pair.deaf[A] = true;
    let invite = Hand::invite();
    let (b, ok) = pair.answers(&invite);
    pair.hand(&invite.next("ACK", 10, &ok));
    pair.take(B);
    (pair, b, invite, ok)
}

fn cseq(message: &str) -> u32 {
    field(message, "CSeq").split(' ').next().unwrap().parse().unwrap()
}

/// The CSeq numbers of B's requests with this method.
fn numbers(pair: &Pair, method: &str) -> Vec<u32> {
    let sent = pair.wire.iter().filter(|it| it.from == B && it.line().starts_with(method));
    let mut numbers: Vec<u32> = sent.map(|it| cseq(&it.text())).collect();
    numbers.dedup();
    numbers
}

fn answers(pair: &mut Pair, method: &str, status: &str, extra: &str) {
    let request = pair.last(B, method);
    pair.deliver(B, Transport::Udp, reply(&request, status, "", extra));
}

fn info(pair: &mut Pair, usage: UsageId) {
    let now = pair.now;
    let body = Some(Body { content_type: "text/plain".into(), data: "x".into() });
    let request = InDialog { method: Method::Info, headers: Vec::new(), body };
    pair.ends[B].request(now, usage, request).unwrap();
    pair.flush();
}

/// B has accepted a REFER of the peer; its first NOTIFY is under way.
fn referred(pair: &mut Pair, b: UsageId, invite: &Hand, ok: &str) -> b2b_sip::endpoint::ReferId {
    let mut refer = invite.next("REFER", 11, ok);
    refer.extra.push_str("Refer-To: <sip:c@192.0.2.3>\r\n");
    pair.hand(&refer);
    let events = pair.take(B);
    let [Event::Usage { event: UsageEvent::Refer { refer, .. }, .. }] = events.as_slice() else {
        panic!("{events:?}")
    };
    let now = pair.now;
    pair.ends[B].answer_refer(now, b, *refer, Reply::status(202)).unwrap();
    pair.flush();
    *refer
}

#[test]
fn a_bye_that_a_notify_overtakes_goes_out_again_with_the_next_number() {
    let (mut pair, b, invite, ok) = talking();
    let refer = referred(&mut pair, b, &invite, &ok);
    answers(&mut pair, "NOTIFY", "200 OK", "");
    let now = pair.now;
    pair.ends[B].bye(now, b).unwrap();
    pair.ends[B].notify_refer(now, b, refer, 200, "").unwrap();
    pair.flush();
    answers(&mut pair, "NOTIFY", "200 OK", "");
    let first = cseq(&pair.last(B, "BYE"));
    answers(&mut pair, "BYE", REFUSED, "");
    assert_eq!(numbers(&pair, "BYE"), [first, first + 2], "the NOTIFY's is between them");
    let times = pair.times(B, "BYE");
    assert_eq!(times[0], times[1], "at once");
    assert!(pair.take(B).is_empty(), "it is not over");
    answers(&mut pair, "BYE", "200 OK", "");
    assert!(matches!(pair.ended(B), Termination::LocalBye));
    pair.assert_nothing_left();
}

#[test]
fn a_bye_that_is_refused_for_ever_ends_the_call_for_us() {
    for (status, extra, times) in [
        (REFUSED, "", vec![0, 500, 1_000, 1_500]),
        (REFUSED, "Retry-After: 3\r\n", vec![0, 3_000, 6_000, 9_000]),
        (REFUSED, "Retry-After: soon\r\n", vec![0, 500, 1_000, 1_500]),
        (REFUSED, "Retry-After: 11\r\n", vec![0]),
        ("491 Request Pending", "", vec![0, 500, 1_000, 1_500]),
        ("503 Service Unavailable", "Retry-After: 1\r\n", vec![0]),
        ("481 Call/Transaction Does Not Exist", "", vec![0]),
    ] {
        let (mut pair, b, ..) = talking();
        let now = pair.now;
        pair.ends[B].bye(now, b).unwrap();
        pair.flush();
        for _ in 0..times.len() {
            assert!(pair.take(B).is_empty(), "{status} {extra}");
            answers(&mut pair, "BYE", status, extra);
            if numbers(&pair, "BYE").len() < times.len() {
                pair.run(Duration::from_millis(times[1] as u64));
            }
        }
        let sent = pair.times(B, "BYE");
        let after: Vec<u128> = sent.iter().map(|at| at - sent[0]).collect();
        assert_eq!(after, times, "{status} {extra}");
        assert!(matches!(pair.ended(B), Termination::LocalBye));
        pair.assert_nothing_left();
    }
}

#[test]
fn a_bye_of_the_far_end_ends_the_wait_for_another_try() {
    let (mut pair, b, invite, ok) = talking();
    let now = pair.now;
    pair.ends[B].bye(now, b).unwrap();
    pair.flush();
    answers(&mut pair, "BYE", REFUSED, "Retry-After: 5\r\n");
    pair.hand(&invite.next("BYE", 11, &ok));
    assert!(matches!(pair.ended(B), Termination::LocalBye));
    pair.run(Duration::from_secs(10));
    assert_eq!(numbers(&pair, "BYE").len(), 1);
    pair.assert_nothing_left();
}

#[test]
fn a_reinvite_that_is_overtaken_is_sent_again_and_another_refusal_is_told() {
    let (mut pair, b, invite, ok) = talking();
    let now = pair.now;
    pair.ends[B].reinvite(now, b, Some(Body::sdp("offer"))).unwrap();
    pair.flush();
    info(&mut pair, b);
    answers(&mut pair, "INFO", "200 OK", "");
    pair.take(B);
    answers(&mut pair, "INVITE", REFUSED, "");
    pair.run(Duration::from_millis(1));
    let sent = numbers(&pair, "INVITE");
    assert_eq!(sent, [sent[0], sent[0] + 2]);
    assert!(pair.last(B, "INVITE").ends_with("offer"));
    assert!(pair.take(B).is_empty());
    // No later request has followed this one.
    answers(&mut pair, "INVITE", REFUSED, "");
    pair.run(Duration::from_secs(5));
    assert_eq!(numbers(&pair, "INVITE").len(), 2);
    let [Event::Usage { event: UsageEvent::ReInviteFailed { status: 500, .. }, .. }] = pair.take(B)[..]
    else {
        panic!()
    };
    pair.hand(&invite.next("BYE", 11, &ok));
    pair.assert_nothing_left();
}

#[test]
fn the_last_notify_of_a_refer_is_sent_again_and_an_info_is_given_back() {
    let (mut pair, b, invite, ok) = talking();
    let refer = referred(&mut pair, b, &invite, &ok);
    answers(&mut pair, "NOTIFY", "200 OK", "");
    let now = pair.now;
    pair.ends[B].notify_refer(now, b, refer, 200, "").unwrap();
    pair.flush();
    info(&mut pair, b);
    let first = cseq(&pair.last(B, "NOTIFY"));
    answers(&mut pair, "NOTIFY", REFUSED, "");
    assert_eq!(cseq(&pair.last(B, "NOTIFY")), first + 2);
    assert!(pair.last(B, "NOTIFY").contains("Subscription-State: terminated"));
    answers(&mut pair, "INFO", REFUSED, "");
    assert_eq!(numbers(&pair, "INFO").len(), 1, "another one may stand behind it");
    let told = pair.take(B);
    let [Event::Usage { event: UsageEvent::Response { result: Ok(response), .. }, .. }] = told.as_slice()
    else {
        panic!("{told:?}")
    };
    assert_eq!(response.status(), 500);
    answers(&mut pair, "NOTIFY", "200 OK", "");
    pair.hand(&invite.next("BYE", 12, &ok));
    pair.assert_nothing_left();
}

#[test]
fn notifys_of_two_refers_that_are_refused_for_ever_do_not_follow_each_other_for_ever() {
    let (mut pair, b, invite, ok) = talking();
    referred(&mut pair, b, &invite, &ok);
    let first = pair.last(B, "NOTIFY");
    let mut refer = invite.next("REFER", 12, &ok);
    refer.extra.push_str("Refer-To: <sip:d@192.0.2.4>\r\n");
    pair.hand(&refer);
    let events = pair.take(B);
    let [Event::Usage { event: UsageEvent::Refer { refer, .. }, .. }] = events.as_slice() else { panic!() };
    let now = pair.now;
    pair.ends[B].answer_refer(now, b, *refer, Reply::status(202)).unwrap();
    pair.flush();
    let mut oldest = std::collections::VecDeque::from([first, pair.last(B, "NOTIFY")]);
    while let Some(notify) = oldest.pop_front().filter(|_| numbers(&pair, "NOTIFY").len() < 20) {
        let before = numbers(&pair, "NOTIFY").len();
        pair.deliver(B, Transport::Udp, reply(&notify, REFUSED, "", ""));
        if numbers(&pair, "NOTIFY").len() > before {
            oldest.push_back(pair.last(B, "NOTIFY"));
        }
    }
    assert!(numbers(&pair, "NOTIFY").len() <= 8, "{:?}", numbers(&pair, "NOTIFY"));
    pair.hand(&invite.next("BYE", 13, &ok));
    pair.assert_nothing_left();
}

#[test]
fn a_prack_that_an_update_overtakes_goes_out_again() {
    let mut pair = Pair::new(Network::QUIET);
    let (a, invite) = pair.call_by_hand();
    let extra = "Require: 100rel\r\nRSeq: 7\r\nContact: <sip:far@192.0.2.2>\r\nContent-Type: application/sdp\r\n\r\nanswer";
    pair.answer_by_hand(&invite, "183 Session Progress", "far", extra);
    let prack = pair.last(A, "PRACK");
    let now = pair.now;
    pair.ends[A].update(now, a, Body::sdp("offer")).unwrap();
    pair.flush();
    pair.answer_by_hand(&prack, REFUSED, "", "");
    let again = pair.last(A, "PRACK");
    assert_eq!(cseq(&again), cseq(&prack) + 2);
    assert_eq!(field(&again, "RAck"), field(&prack, "RAck"));
    // No later request has arrived before this one.
    pair.answer_by_hand(&again, REFUSED, "", "");
    assert_eq!(cseq(&pair.last(A, "PRACK")), cseq(&again));
}

/// A has called the hand-made peer.
fn calling() -> (Pair, UsageId) {
    let mut pair = Pair::new(Network::QUIET);
    let (usage, invite) = pair.call_by_hand();
    pair.answer_by_hand(&invite, "200 OK", "far", "Contact: <sip:far@192.0.2.2>\r\n\r\nanswer");
    pair.take(A);
    (pair, usage)
}

#[test]
fn a_reinvite_that_is_put_off_for_ever_is_refused_in_the_end() {
    let (called, usage, ..) = talking();
    let (calling, ours) = calling();
    for (mut pair, end, usage) in [(called, B, usage), (calling, A, ours)] {
        // The next change has as many tries.
        for _ in 0..2 {
            let now = pair.now;
            pair.ends[end].reinvite(now, usage, Some(Body::sdp("offer"))).unwrap();
            pair.flush();
            let first = cseq(&pair.last(end, "INVITE"));
            for _ in 0..4 {
                assert!(pair.take(end).is_empty(), "it is not over");
                let request = pair.last(end, "INVITE");
                pair.deliver(end, Transport::Udp, reply(&request, "491 Request Pending", "", ""));
                pair.run(Duration::from_secs(5));
            }
            let events = pair.take(end);
            let [Event::Usage { event: UsageEvent::ReInviteFailed { status: 488, .. }, .. }] = events[..]
            else {
                panic!("{events:?}")
            };
            pair.run(Duration::from_secs(5));
            assert_eq!(cseq(&pair.last(end, "INVITE")), first + 3);
        }
        let now = pair.now;
        pair.ends[end].bye(now, usage).unwrap();
        pair.flush();
        let bye = pair.last(end, "BYE");
        pair.deliver(end, Transport::Udp, reply(&bye, "200 OK", "", ""));
        assert!(matches!(pair.ended(end), Termination::LocalBye), "the call stayed as it was");
        pair.assert_nothing_left();
    }
}
