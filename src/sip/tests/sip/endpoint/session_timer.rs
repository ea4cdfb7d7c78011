//! Session timers (RFC 4028): both roles, both refreshers, 422, and the BYE.

use std::time::Duration;

use b2b_sip::endpoint::{
    Body, EndpointConfig, Event, Invite, Reply, SessionTimers, Termination, Transport, UsageEvent, UsageId,
};

use super::pair::{A, B, Hand, Network, Pair, config, field, reply};

const ADDRESSES: [&str; 2] = ["192.0.2.1:5060", "192.0.2.2:5060"];
const CONTACT: &str = "Contact: <sip:hand@192.0.2.2:5060>\r\n";

fn timed(expires: u32, min_se: u32) -> EndpointConfig {
    EndpointConfig { session_timers: Some(SessionTimers { expires, min_se }), ..config(1) }
}

fn pair(a: EndpointConfig, b: EndpointConfig) -> Pair {
    Pair::with(Network::QUIET, [a, EndpointConfig { user: "end2".to_owned(), seed: [2; 32], ..b }], ADDRESSES)
}

/// The only event of an end.
fn event(pair: &mut Pair, end: usize) -> UsageEvent {
    let mut events = pair.take(end);
    match (events.pop(), events.is_empty()) {
        (Some(Event::Usage { event, .. }), true) => event,
        other => panic!("{other:?} {events:?}"),
    }
}

/// B's call from a hand-made peer, answered and acknowledged.
fn answered(pair: &mut Pair, headers: &str) -> (Hand, UsageId, String) {
    let mut invite = Hand::invite();
    invite.extra.push_str(headers);
    let (b, ok) = pair.answers(&invite);
    pair.hand(&invite.next("ACK", 10, &ok));
    pair.take(B);
    (invite, b, ok)
}

/// A's call to a hand-made peer that answers with these header fields.
fn called(pair: &mut Pair, headers: &str) -> UsageId {
    let (a, invite) = pair.call_by_hand();
    pair.answer_by_hand(&invite, "200 OK", "far", &format!("{CONTACT}{headers}"));
    assert!(matches!(event(pair, A), UsageEvent::Answered { .. }));
    a
}

#[test]
fn two_of_us_refresh_for_as_long_as_the_call_lasts() {
    let mut pair = pair(timed(600, 90), timed(1_800, 90));
    let (a, _) = pair.connected(Transport::Udp);
    let invite = pair.last(A, "INVITE");
    assert_eq!((field(&invite, "Session-Expires"), field(&invite, "Supported")), ("600", "timer"));
    let ok = pair.last(B, "SIP/2.0 200");
    assert_eq!((field(&ok, "Session-Expires"), field(&ok, "Require")), ("600;refresher=uac", "timer"));
    pair.run(Duration::from_secs(299));
    assert!(pair.sent(A, "UPDATE").is_empty());
    pair.run(Duration::from_secs(2));
    let update = pair.last(A, "UPDATE");
    assert_eq!(field(&update, "Session-Expires"), "600;refresher=uac");
    assert!(update.ends_with("Content-Length: 0\r\n\r\n"));
    let ok = pair.last(B, "SIP/2.0 200");
    assert_eq!((field(&ok, "Session-Expires"), field(&ok, "Require")), ("600;refresher=uac", "timer"));
    pair.run(Duration::from_secs(7_200));
    assert_eq!(pair.sent(A, "UPDATE").len(), 25);
    assert!(pair.sent(B, "UPDATE").is_empty());
    assert!(pair.take(A).is_empty() && pair.take(B).is_empty(), "the users hear nothing of it");
    let now = pair.now;
    pair.ends[A].bye(now, a).unwrap();
    pair.settle();
    pair.assert_nothing_left();
}

#[test]
fn a_far_end_that_is_gone_is_noticed_by_either_side() {
    // A refreshes; B waits for it.
    for deaf in [A, B] {
        let mut pair = pair(timed(600, 90), timed(600, 90));
        pair.connected(Transport::Udp);
        pair.deaf[deaf] = true;
        pair.mute[deaf] = true;
        let other = 1 - deaf;
        // The refresher detects it by the UPDATE, the other side 32 s before the expiry.
        let last_word = if other == A { 300 + 32 } else { 568 };
        pair.run(Duration::from_secs(last_word - 1));
        assert!(pair.take(other).is_empty());
        pair.run(Duration::from_secs(2));
        assert!(matches!(pair.ended(other), Termination::SessionExpired));
        let bye = pair.last(other, "BYE");
        assert_eq!(field(&bye, "Reason"), "SIP;cause=408;text=\"Session timer expired\"");
        pair.take(deaf);
        pair.run(Duration::from_secs(600));
        pair.take(deaf);
        pair.assert_nothing_left();
    }
}

#[test]
fn the_uas_refreshes_where_it_is_to_and_the_uac_where_it_is_to() {
    let mut pair = pair(timed(1_800, 90), timed(1_800, 90));
    pair.deaf[A] = true;
    let wish = "Supported: timer\r\nAllow: INVITE, UPDATE\r\nSession-Expires: 200;refresher=uas\r\n";
    let (_, _, ok) = answered(&mut pair, wish);
    assert_eq!(field(&ok, "Session-Expires"), "200;refresher=uas");
    assert_eq!(field(&ok, "Require"), "timer");
    pair.run(Duration::from_secs(101));
    let update = pair.last(B, "UPDATE");
    assert_eq!(field(&update, "Session-Expires"), "200;refresher=uac", "in this transaction it is the UAC");
    let answer = "Session-Expires: 200;refresher=uac\r\n";
    pair.deliver(B, Transport::Udp, reply(&update, "200 OK", "", answer));
    pair.run(Duration::from_secs(101));
    assert_ne!(field(&pair.last(B, "UPDATE"), "CSeq"), field(&update, "CSeq"));
    assert!(!pair.times(B, "UPDATE").iter().any(|at| (110_000..200_000).contains(at)));

    let mut pair = self::pair(timed(1_800, 90), timed(1_800, 90));
    called(&mut pair, "Allow: INVITE, UPDATE\r\nSession-Expires: 300;refresher=uac\r\n");
    pair.run(Duration::from_secs(151));
    assert_eq!(field(&pair.last(A, "UPDATE"), "Session-Expires"), "300;refresher=uac");

    // The peer refreshes: we send nothing until the expiry.
    let mut pair = self::pair(timed(1_800, 90), timed(1_800, 90));
    called(&mut pair, "Allow: INVITE, UPDATE\r\nSession-Expires: 300;refresher=uas\r\n");
    pair.run(Duration::from_secs(267));
    assert!(pair.sent(A, "UPDATE").is_empty() && pair.sent(A, "BYE").is_empty());
    pair.run(Duration::from_secs(2));
    assert!(matches!(pair.ended(A), Termination::SessionExpired));
}

#[test]
fn refreshes_of_theirs_keep_the_call_up() {
    let mut pair = pair(timed(1_800, 90), timed(1_800, 90));
    let (invite, b, ok) = answered(&mut pair, "Supported: timer\r\nSession-Expires: 200\r\n");
    assert_eq!(field(&ok, "Session-Expires"), "200;refresher=uac");
    for (cseq, method) in [(11, "UPDATE"), (12, "INVITE"), (13, "UPDATE")] {
        pair.run(Duration::from_secs(150));
        let mut refresh = invite.next(method, cseq, &ok);
        refresh.body = if method == "INVITE" || cseq == 13 { "offer" } else { "" };
        pair.hand(&refresh);
        let now = pair.now;
        match pair.take(B).pop() {
            None => {}
            Some(Event::Usage { event: UsageEvent::ReInvite { .. }, .. }) => {
                pair.ends[B].answer(now, b, Some(Body::sdp("answer"))).unwrap();
                pair.flush();
                let ok = pair.last(B, "SIP/2.0 200");
                pair.hand(&invite.next("ACK", 12, &ok));
                pair.take(B);
            }
            Some(Event::Usage { event: UsageEvent::Update { transaction, .. }, .. }) => {
                let answer = Reply { body: Some(Body::sdp("answer")), ..Reply::status(200) };
                pair.ends[B].respond(now, transaction, answer).unwrap();
                pair.flush();
            }
            other => panic!("{other:?}"),
        }
        let ok = pair.last(B, "SIP/2.0 200");
        assert_eq!(field(&ok, "Session-Expires"), "200;refresher=uac", "{method}");
    }
    pair.run(Duration::from_secs(167));
    assert!(pair.take(B).is_empty());
    pair.run(Duration::from_secs(2));
    assert!(matches!(pair.ended(B), Termination::SessionExpired));
}

#[test]
fn an_interval_that_is_too_small_gets_422_and_the_caller_asks_for_a_longer_one() {
    let mut pair = pair(timed(100, 90), timed(1_800, 400));
    let now = pair.now;
    let invite = Invite {
        target: pair.uri(B, Transport::Udp),
        headers: vec![("Subject".into(), "kept".into())],
        body: Some(Body::sdp("offer")),
        ..Invite::default()
    };
    let a = pair.ends[A].invite(now, invite).unwrap();
    let b = pair.incoming();
    assert_eq!(field(&pair.last(B, "SIP/2.0 422"), "Min-SE"), "400");
    let again = pair.last(A, "INVITE");
    assert_eq!((field(&again, "Session-Expires"), field(&again, "Min-SE")), ("400", "400"));
    assert_eq!(field(&again, "Subject"), "kept");
    assert!(again.ends_with("offer"));
    assert!(pair.take(A).is_empty(), "the user hears nothing of it");
    let now = pair.now;
    pair.ends[B].answer(now, b, Some(Body::sdp("answer"))).unwrap();
    pair.settle();
    assert_eq!(field(&pair.last(B, "SIP/2.0 200"), "Session-Expires"), "400;refresher=uac");
    pair.take(A);
    pair.take(B);
    let now = pair.now;
    pair.ends[A].bye(now, a).unwrap();
    pair.settle();
    pair.assert_nothing_left();

    // A 422 without a longer interval is an ordinary refusal.
    let mut pair = self::pair(timed(100, 90), config(2));
    let (_, invite) = pair.call_by_hand();
    pair.answer_by_hand(&invite, "422 Session Interval Too Small", "far", "Min-SE: 100\r\n");
    assert!(matches!(pair.ended(A), Termination::Failed { response } if response.status() == 422));
    // In a call it is refused as well, and the call continues.
    let mut pair = self::pair(timed(1_800, 90), timed(1_800, 400));
    let (invite, _, ok) = answered(&mut pair, "Supported: timer\r\nSession-Expires: 500\r\n");
    for (cseq, method) in [(11, "UPDATE"), (12, "INVITE")] {
        let mut short = invite.next(method, cseq, &ok);
        short.extra = short.extra.replace("500", "100");
        pair.hand(&short);
        assert_eq!(field(&pair.last(B, "SIP/2.0 422"), "CSeq"), format!("{cseq} {method}"));
    }
    assert!(pair.take(B).is_empty());
}

#[test]
fn a_refresh_that_gets_422_is_sent_again_with_the_interval_it_names() {
    let mut pair = pair(timed(200, 90), config(2));
    let a = called(&mut pair, "Allow: INVITE, UPDATE\r\nSession-Expires: 200;refresher=uac\r\n");
    pair.run(Duration::from_secs(101));
    let update = pair.last(A, "UPDATE");
    pair.answer_by_hand(&update, "422 Session Interval Too Small", "", "Min-SE: 900\r\n");
    let again = pair.last(A, "UPDATE");
    assert_eq!((field(&again, "Session-Expires"), field(&again, "Min-SE")), ("900;refresher=uac", "900"));
    pair.answer_by_hand(&again, "200 OK", "", "Session-Expires: 900;refresher=uac\r\n");
    // So does a re-INVITE of the user.
    let now = pair.now;
    pair.ends[A].reinvite(now, a, Some(Body::sdp("hold"))).unwrap();
    pair.flush();
    let reinvite = pair.last(A, "INVITE");
    assert_eq!(field(&reinvite, "Session-Expires"), "900;refresher=uac");
    pair.answer_by_hand(&reinvite, "422 Session Interval Too Small", "", "Min-SE: 1000\r\n");
    pair.settle();
    let again = pair.last(A, "INVITE");
    assert_eq!((field(&again, "Session-Expires"), again.ends_with("hold")), ("1000;refresher=uac", true));
    assert!(pair.take(A).is_empty());
    pair.run(Duration::from_secs(1));
}

#[test]
fn a_peer_without_update_is_refreshed_by_its_user_or_lost() {
    for refreshed in [true, false] {
        let mut pair = pair(timed(600, 90), config(2));
        let a = called(&mut pair, "Allow: INVITE, BYE\r\nSession-Expires: 600;refresher=uac\r\n");
        pair.run(Duration::from_secs(301));
        assert!(matches!(event(&mut pair, A), UsageEvent::RefreshWanted));
        assert!(pair.sent(A, "UPDATE").is_empty());
        if refreshed {
            let now = pair.now;
            pair.ends[A].reinvite(now, a, Some(Body::sdp("same"))).unwrap();
            pair.flush();
            let reinvite = pair.last(A, "INVITE");
            assert_eq!(field(&reinvite, "Session-Expires"), "600;refresher=uac");
            let ok = format!("{CONTACT}Session-Expires: 600;refresher=uac\r\n");
            pair.answer_by_hand(&reinvite, "200 OK", "", &ok);
            assert!(matches!(event(&mut pair, A), UsageEvent::ReInviteAnswered { .. }));
            pair.run(Duration::from_secs(299));
            assert!(pair.take(A).is_empty());
            pair.run(Duration::from_secs(2));
            assert!(matches!(event(&mut pair, A), UsageEvent::RefreshWanted));
        } else {
            pair.run(Duration::from_secs(300));
            let events = pair.take(A);
            assert!(events.len() > 20, "it is asked again and again: {}", events.len());
            assert!(matches!(
                events.last(),
                Some(Event::Usage {
                    event: UsageEvent::Terminated { cause: Termination::SessionExpired },
                    ..
                })
            ));
        }
    }
    // A peer that says so only when asked.
    let mut pair = pair(timed(600, 90), config(2));
    called(&mut pair, "Allow: UPDATE\r\nSession-Expires: 600;refresher=uac\r\n");
    pair.run(Duration::from_secs(301));
    let update = pair.last(A, "UPDATE");
    pair.answer_by_hand(&update, "405 Method Not Allowed", "", "");
    assert!(matches!(event(&mut pair, A), UsageEvent::RefreshWanted));
}

#[test]
fn a_refresh_that_fails_for_now_is_tried_again_and_one_that_is_gone_ends_the_call() {
    let mut pair = pair(timed(600, 90), config(2));
    called(&mut pair, "Allow: UPDATE\r\nSession-Expires: 600;refresher=uac\r\n");
    pair.run(Duration::from_secs(301));
    let update = pair.last(A, "UPDATE");
    pair.answer_by_hand(&update, "500 Server Internal Error", "", "Retry-After: 5\r\n");
    assert!(pair.take(A).is_empty());
    pair.run(Duration::from_secs(11));
    let again = pair.last(A, "UPDATE");
    assert_ne!(field(&again, "CSeq"), field(&update, "CSeq"));
    pair.answer_by_hand(&again, "481 Call/Transaction Does Not Exist", "", "");
    assert!(matches!(pair.ended(A), Termination::SessionExpired));
    assert_eq!(pair.sent(A, "BYE").len(), 1);
}

#[test]
fn who_knows_nothing_of_session_timers_is_left_in_peace() {
    // As callee and as caller.
    let mut pair = pair(timed(600, 90), timed(600, 90));
    called(&mut pair, "Allow: UPDATE\r\n");
    pair.run(Duration::from_secs(7_200));
    assert!(pair.take(A).is_empty() && pair.sent(A, "UPDATE").is_empty());
    let mut pair = self::pair(config(1), timed(600, 90));
    let (_, _, ok) = answered(&mut pair, "");
    assert_eq!((field(&ok, "Session-Expires"), field(&ok, "Require")), ("", ""));
    pair.run(Duration::from_secs(7_200));
    assert!(pair.take(B).is_empty() && pair.sent(B, "UPDATE").is_empty());
}

#[test]
fn refreshed_calls_stay_up_on_a_bad_network() {
    for seed in 0..20 {
        let mut pair = pair(timed(200, 90), timed(200, 90));
        let (a, _) = pair.connected(Transport::Udp);
        pair.set_network(Network { loss: 0.2, duplicate: 0.1, delay_ms: (5, 200), seed });
        pair.run(Duration::from_secs(3_600));
        assert!(pair.take(A).is_empty() && pair.take(B).is_empty(), "seed {seed}");
        let updates: Vec<String> = pair
            .wire
            .iter()
            .filter(|sent| sent.line().starts_with("UPDATE"))
            .map(|sent| field(&sent.text(), "CSeq").to_owned())
            .collect();
        let mut once = updates.clone();
        once.dedup();
        assert!((34..=36).contains(&once.len()), "seed {seed}: {}", once.len());
        let now = pair.now;
        pair.ends[A].bye(now, a).unwrap();
        pair.run(Duration::from_secs(40));
        pair.take(A);
        pair.take(B);
        pair.assert_nothing_left();
    }
}
