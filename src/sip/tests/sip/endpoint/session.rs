//! Requests in a call: re-INVITE, UPDATE, glare, order, routes, and a Contact that comes back
//! to us (RFC 3261 §12.2, §14, RFC 3311).

use std::time::Duration;

use b2b_sip::endpoint::{
    Body, CommandError, EndpointConfig, Event, Reply, Termination, Transport, UsageEvent, UsageId,
};
use b2b_sip::msg::Method;

use super::pair::{A, B, Hand, Network, Pair, config, field, reply};

/// The only event of an end.
fn event(pair: &mut Pair, end: usize) -> UsageEvent {
    let mut events = pair.take(end);
    match (events.pop(), events.is_empty()) {
        (Some(Event::Usage { event, .. }), true) => event,
        other => panic!("{other:?}"),
    }
}

/// B in a call with a hand-made peer.
fn up(pair: &mut Pair, invite: &Hand) -> (UsageId, String) {
    let (b, ok) = pair.answers(invite);
    pair.hand(&invite.next("ACK", 10, &ok));
    assert!(matches!(event(pair, B), UsageEvent::Acknowledged { .. }));
    (b, ok)
}

#[test]
fn either_side_changes_the_session_with_a_reinvite() {
    for who in [A, B] {
        let mut pair = Pair::new(Network::QUIET);
        let usages = pair.connected(Transport::Udp);
        let usages = [usages.0, usages.1];
        let now = pair.now;
        pair.ends[who].reinvite(now, usages[who], Some(Body::sdp("hold"))).unwrap();
        assert!(pair.ends[who].reinvite(now, usages[who], Some(Body::sdp("hold"))).is_err(), "one at a time");
        pair.settle();
        match event(&mut pair, 1 - who) {
            UsageEvent::ReInvite { request } => assert_eq!(request.body(), "hold"),
            other => panic!("{other:?}"),
        }
        let now = pair.now;
        pair.ends[1 - who].answer(now, usages[1 - who], Some(Body::sdp("held"))).unwrap();
        pair.settle();
        match event(&mut pair, who) {
            UsageEvent::ReInviteAnswered { response, ack_wanted: false } => {
                assert_eq!(response.body(), "held")
            }
            other => panic!("{other:?}"),
        }
        assert!(matches!(event(&mut pair, 1 - who), UsageEvent::Acknowledged { .. }));

        // A refused one leaves the session unchanged.
        let now = pair.now;
        pair.ends[1 - who].reinvite(now, usages[1 - who], Some(Body::sdp("video"))).unwrap();
        pair.settle();
        pair.take(who);
        let now = pair.now;
        pair.ends[who].reject(now, usages[who], 488, "").unwrap();
        pair.settle();
        assert!(matches!(event(&mut pair, 1 - who), UsageEvent::ReInviteFailed { status: 488, .. }));
        assert!(pair.take(who).is_empty());

        let now = pair.now;
        pair.ends[who].bye(now, usages[who]).unwrap();
        pair.settle();
        assert!(matches!(pair.ended(A), Termination::LocalBye | Termination::RemoteBye { .. }));
        pair.assert_nothing_left();
    }
}

#[test]
fn reinvites_may_follow_each_other_as_often_as_somebody_holds_and_resumes() {
    for network in [Network::QUIET, Network { duplicate: 1.0, ..Network::QUIET }] {
        let mut pair = Pair::new(network);
        let (a, b) = pair.connected(Transport::Udp);
        for n in 0..20 {
            let now = pair.now;
            let offer = format!("offer {n}");
            pair.ends[A]
                .reinvite(now, a, Some(Body::sdp(offer.clone())))
                .unwrap_or_else(|it| panic!("{n}: {it}"));
            pair.settle();
            let asked = pair.take(B).into_iter().any(|event| match event {
                Event::Usage { event: UsageEvent::ReInvite { request }, .. } => {
                    request.body() == offer.as_bytes()
                }
                _ => false,
            });
            assert!(asked, "{n}");
            let now = pair.now;
            pair.ends[B].answer(now, b, Some(Body::sdp("answer"))).unwrap();
            pair.settle();
            let answered = |event: &Event| {
                matches!(
                    event,
                    Event::Usage { event: UsageEvent::ReInviteAnswered { ack_wanted: false, .. }, .. }
                )
            };
            assert!(pair.take(A).iter().any(answered), "{n}");
        }
        // All transactions end in 32 s, those of forgotten INVITEs, too.
        pair.run(Duration::from_secs(40));
        assert!(pair.take(A).is_empty());
        let now = pair.now;
        pair.ends[B].bye(now, b).unwrap();
        pair.settle();
        assert!(matches!(
            pair.take(A).as_slice(),
            [Event::Usage { event: UsageEvent::Terminated { .. }, .. }]
        ));
    }
}

#[test]
fn a_reinvite_without_offer_gets_one_and_answers_in_the_ack() {
    let mut pair = Pair::new(Network::QUIET);
    let (a, b) = pair.connected(Transport::Udp);
    let now = pair.now;
    pair.ends[A].reinvite(now, a, None).unwrap();
    pair.settle();
    pair.take(B);
    let now = pair.now;
    pair.ends[B].answer(now, b, Some(Body::sdp("offer"))).unwrap();
    pair.settle();
    assert!(matches!(event(&mut pair, A), UsageEvent::ReInviteAnswered { ack_wanted: true, .. }));
    let now = pair.now;
    pair.ends[A].ack(now, a, Some(Body::sdp("answer"))).unwrap();
    pair.settle();
    match event(&mut pair, B) {
        UsageEvent::Acknowledged { request } => assert_eq!(request.body(), "answer"),
        other => panic!("{other:?}"),
    }
}

#[test]
fn glare_is_491_for_both_and_resolved_by_waiting_differently() {
    for seed in 0..20 {
        let configs = [config(seed), config(seed + 100)];
        let mut pair = Pair::with(Network::QUIET, configs, ["192.0.2.1:5060", "192.0.2.2:5060"]);
        let (a, b) = pair.connected(Transport::Udp);
        let now = pair.now;
        pair.ends[A].reinvite(now, a, Some(Body::sdp("from a"))).unwrap();
        pair.ends[B].reinvite(now, b, Some(Body::sdp("from b"))).unwrap();
        pair.settle();
        assert_eq!(pair.sent(A, "SIP/2.0 491").len(), 1);
        assert_eq!(pair.sent(B, "SIP/2.0 491").len(), 1);
        assert!(pair.take(A).is_empty() && pair.take(B).is_empty());
        // B does not own the Call-ID: it retries within 2 s, A after 2.1 s.
        pair.run(Duration::from_millis(2_010));
        // The session changes before A's retry: A is told and decides anew.
        match pair.take(A).as_slice() {
            [
                Event::Usage { event: UsageEvent::ReInviteFailed { status: 491, .. }, .. },
                Event::Usage { event: UsageEvent::ReInvite { request }, .. },
            ] => assert_eq!(request.body(), "from b"),
            other => panic!("{other:?}"),
        }
        let now = pair.now;
        pair.ends[A].answer(now, a, Some(Body::sdp("answer"))).unwrap();
        pair.settle();
        assert!(matches!(event(&mut pair, B), UsageEvent::ReInviteAnswered { .. }));
        assert!(matches!(event(&mut pair, A), UsageEvent::Acknowledged { .. }));
        // The postponed request blocks nothing.
        let now = pair.now;
        pair.ends[A].reinvite(now, a, Some(Body::sdp("new from a"))).unwrap();
        pair.settle();
        assert!(matches!(event(&mut pair, B), UsageEvent::ReInvite { .. }));
    }
}

#[test]
fn update_carries_an_offer_both_ways() {
    for who in [A, B] {
        let mut pair = Pair::new(Network::QUIET);
        let usages = pair.connected(Transport::Udp);
        let usages = [usages.0, usages.1];
        let now = pair.now;
        pair.ends[who].update(now, usages[who], Body::sdp("offer")).unwrap();
        pair.settle();
        let transaction = match event(&mut pair, 1 - who) {
            UsageEvent::Update { transaction, request } => {
                assert_eq!(request.body(), "offer");
                transaction
            }
            other => panic!("{other:?}"),
        };
        // While the peer's offer is pending, we must not send one (RFC 3311 §5.2).
        let now = pair.now;
        let early = pair.ends[1 - who].reinvite(now, usages[1 - who], Some(Body::sdp("no")));
        assert!(matches!(early, Err(CommandError::WrongState(_))));
        let answer = Reply { body: Some(Body::sdp("answer")), ..Reply::status(200) };
        pair.ends[1 - who].respond(now, transaction, answer).unwrap();
        pair.settle();
        match event(&mut pair, who) {
            UsageEvent::UpdateAnswered { response } => assert_eq!(response.body(), "answer"),
            other => panic!("{other:?}"),
        }
        let now = pair.now;
        pair.ends[1 - who].update(now, usages[1 - who], Body::sdp("again")).unwrap();
    }
}

#[test]
fn crossing_updates_are_491_and_reported() {
    let mut pair = Pair::new(Network::QUIET);
    let (a, b) = pair.connected(Transport::Udp);
    let now = pair.now;
    pair.ends[A].update(now, a, Body::sdp("a")).unwrap();
    pair.ends[B].update(now, b, Body::sdp("b")).unwrap();
    pair.settle();
    assert!(matches!(event(&mut pair, A), UsageEvent::ReInviteFailed { status: 491, .. }));
    assert!(matches!(event(&mut pair, B), UsageEvent::ReInviteFailed { status: 491, .. }));
}

#[test]
fn lower_cseq_gets_500_and_a_gap_is_no_fault() {
    let mut pair = Pair::new(Network::QUIET);
    let invite = Hand::invite();
    let (_, ok) = up(&mut pair, &invite);
    pair.hand(&invite.next("INFO", 50, &ok));
    assert_eq!(field(&pair.last(B, "SIP/2.0 200"), "CSeq"), "50 INFO");
    for cseq in [49, 1, 0] {
        pair.hand(&invite.next("BYE", cseq, &ok));
        assert!(pair.last(B, "SIP/2.0").starts_with("SIP/2.0 500 "));
    }
    assert!(pair.take(B).is_empty());
    pair.hand(&invite.next("BYE", 5_000_000, &ok));
    assert!(matches!(event(&mut pair, B), UsageEvent::Terminated { cause: Termination::RemoteBye { .. } }));
    pair.assert_nothing_left();
}

#[test]
fn unknown_methods_and_extensions_inside_a_call_do_not_end_it() {
    let mut pair = Pair::new(Network::QUIET);
    let invite = Hand::invite();
    let (b, ok) = up(&mut pair, &invite);
    for (cseq, method, status) in
        [(11, "FROBNICATE", "405"), (12, "REFER", "405"), (13, "PRACK", "481"), (14, "OPTIONS", "200")]
    {
        pair.hand(&invite.next(method, cseq, &ok));
        assert_eq!(&pair.last(B, "SIP/2.0")[8..11], status, "{method}");
    }
    let mut required = invite.next("INVITE", 15, &ok);
    required.extra.push_str("Require: precondition\r\n");
    pair.hand(&required);
    assert!(pair.last(B, "SIP/2.0").starts_with("SIP/2.0 420 "));
    assert!(pair.take(B).is_empty());
    let now = pair.now;
    pair.ends[B].bye(now, b).unwrap();
}

#[test]
fn info_comes_up_where_it_is_wanted_and_is_answered_where_not() {
    let wanting = EndpointConfig { accept: vec![Method::Info], ..config(2) };
    for (end, wanted) in [(config(2), false), (wanting, true)] {
        let mut pair = Pair::with(Network::QUIET, [config(1), end], ["192.0.2.1:5060", "192.0.2.2:5060"]);
        let invite = Hand::invite();
        let (_, ok) = up(&mut pair, &invite);
        let before = pair.sent(B, "SIP/2.0 200").len();
        pair.hand(&invite.next("INFO", 11, &ok));
        if wanted {
            let UsageEvent::Request { transaction, .. } = event(&mut pair, B) else { panic!() };
            let now = pair.now;
            pair.ends[B].respond(now, transaction, Reply::status(415)).unwrap();
            pair.flush();
            assert_eq!(pair.sent(B, "SIP/2.0 415").len(), 1);
        } else {
            assert!(pair.take(B).is_empty());
            assert_eq!(pair.sent(B, "SIP/2.0 200").len(), before + 1);
        }
    }
}

#[test]
fn escapes_are_kept_in_ack_and_bye() {
    let contact = "sip:%61lice%2Bx;p=%3B@192.0.2.2:5060;transport=udp;x-y=%41%e2%82%ac";
    let mut pair = Pair::new(Network::QUIET);
    let (a, invite) = pair.call_by_hand();
    pair.answer_by_hand(&invite, "200 OK", "far", &format!("Contact: \"A, B\" <{contact}>;q=0.5\r\n"));
    let now = pair.now;
    pair.ends[A].bye(now, a).unwrap();
    pair.flush();
    assert_eq!(pair.sent(A, "ACK")[0].1, format!("ACK {contact} SIP/2.0"));
    assert_eq!(pair.sent(A, "BYE")[0].1, format!("BYE {contact} SIP/2.0"));
}

#[test]
fn a_reinvite_moves_the_target_and_its_refusal_does_not_end_the_call() {
    let mut pair = Pair::new(Network::QUIET);
    let invite = Hand::invite();
    let (b, ok) = up(&mut pair, &invite);
    let mut moved = invite.next("INVITE", 11, &ok);
    moved.extra = "Contact: <sip:moved@192.0.2.1:5080>\r\n".to_owned();
    moved.body = "offer";
    pair.hand(&moved);
    let now = pair.now;
    pair.ends[B].answer(now, b, Some(Body::sdp("answer"))).unwrap();
    pair.flush();
    let ok = pair.last(B, "SIP/2.0 200");
    pair.hand(&invite.next("ACK", 11, &ok));
    pair.take(B);
    pair.ends[B].bye(now, b).unwrap();
    pair.flush();
    let bye = pair.wire.last().unwrap();
    assert_eq!(bye.line(), "BYE sip:moved@192.0.2.1:5080 SIP/2.0");
    assert_eq!(bye.to.port(), 5_080);
    let bye = pair.last(B, "BYE");
    pair.deliver(B, Transport::Udp, reply(&bye, "200 OK", "", ""));
    pair.ended(B);
    pair.assert_nothing_left();
}

#[test]
fn a_cancelled_reinvite_is_withdrawn_and_the_call_goes_on() {
    let mut pair = Pair::new(Network::QUIET);
    let invite = Hand::invite();
    let (b, ok) = up(&mut pair, &invite);
    let reinvite = invite.next("INVITE", 11, &ok);
    pair.hand(&reinvite);
    pair.take(B);
    let mut cancel = invite.next("CANCEL", 11, &ok);
    cancel.branch = reinvite.branch.clone();
    pair.hand(&cancel);
    assert!(matches!(event(&mut pair, B), UsageEvent::ReInviteCancelled));
    assert_eq!(pair.sent(B, "SIP/2.0 487").len(), 1);
    let now = pair.now;
    assert!(pair.ends[B].answer(now, b, None).is_err());
    pair.ends[B].bye(now, b).unwrap();
}

#[test]
fn routes_are_taken_from_record_route_on_both_sides() {
    let recorded = "Record-Route: <sip:192.0.2.8;lr>, <sip:192.0.2.9:5070;lr;x=%20>\r\n";
    // As UAC in reverse order.
    let mut pair = Pair::new(Network::QUIET);
    let (_, invite) = pair.call_by_hand();
    let extra = format!("{recorded}Contact: <sip:far@198.51.100.1>\r\n");
    pair.answer_by_hand(&invite, "200 OK", "far", &extra);
    let ack = pair.wire.last().unwrap();
    assert_eq!(ack.line(), "ACK sip:far@198.51.100.1 SIP/2.0");
    assert_eq!(ack.to.to_string(), "192.0.2.9:5070");
    let text = ack.text();
    let routes: Vec<&str> = text.lines().filter_map(|line| line.strip_prefix("Route: ")).collect();
    assert_eq!(routes.join(", "), "<sip:192.0.2.9:5070;lr;x=%20>, <sip:192.0.2.8;lr>");
    // As UAS in the order received; a response repeats them.
    let mut pair = Pair::new(Network::QUIET);
    let mut invite = Hand::invite();
    invite.extra = extra;
    let (b, ok) = up(&mut pair, &invite);
    assert_eq!(field(&ok, "Record-Route"), "<sip:192.0.2.8;lr>, <sip:192.0.2.9:5070;lr;x=%20>");
    let now = pair.now;
    pair.ends[B].bye(now, b).unwrap();
    pair.flush();
    let bye = pair.wire.last().unwrap();
    assert_eq!(bye.to.to_string(), "192.0.2.8:5060");
    let text = bye.text();
    let routes: Vec<&str> = text.lines().filter_map(|line| line.strip_prefix("Route: ")).collect();
    assert_eq!(routes.join(", "), "<sip:192.0.2.8;lr>, <sip:192.0.2.9:5070;lr;x=%20>");
}

#[test]
fn a_strict_router_gets_its_own_uri_and_the_target_comes_last() {
    let mut pair = Pair::new(Network::QUIET);
    let (_, invite) = pair.call_by_hand();
    let extra = "Record-Route: <sip:192.0.2.8;lr>, <sip:192.0.2.9>\r\nContact: <sip:far@198.51.100.1>\r\n";
    pair.answer_by_hand(&invite, "200 OK", "far", extra);
    let ack = pair.wire.last().unwrap();
    assert_eq!(ack.line(), "ACK sip:192.0.2.9 SIP/2.0");
    assert_eq!(ack.to.to_string(), "192.0.2.9:5060");
    let text = ack.text();
    let routes: Vec<&str> = text.lines().filter_map(|line| line.strip_prefix("Route: ")).collect();
    assert_eq!(routes.join(", "), "<sip:192.0.2.8;lr>, <sip:far@198.51.100.1>");
}

#[test]
fn a_dialog_that_is_gone_at_the_far_end_ends_here_too() {
    let mut pair = Pair::new(Network::QUIET);
    let (a, invite) = pair.call_by_hand();
    pair.answer_by_hand(&invite, "200 OK", "far", "Contact: <sip:far@192.0.2.2>\r\n");
    pair.take(A);
    let now = pair.now;
    pair.ends[A].reinvite(now, a, Some(Body::sdp("offer"))).unwrap();
    pair.flush();
    let reinvite = pair.last(A, "INVITE");
    pair.answer_by_hand(&reinvite, "481 Call/Transaction Does Not Exist", "", "");
    assert!(matches!(event(&mut pair, A), UsageEvent::ReInviteFailed { status: 481, .. }));
    let bye = pair.last(A, "BYE");
    pair.answer_by_hand(&bye, "481 Call/Transaction Does Not Exist", "", "");
    assert!(matches!(pair.ended(A), Termination::LocalBye));
    pair.assert_nothing_left();
}

#[test]
fn both_hang_up_at_once() {
    let mut pair = Pair::new(Network::QUIET);
    let (a, b) = pair.connected(Transport::Udp);
    let now = pair.now;
    pair.ends[A].bye(now, a).unwrap();
    pair.ends[B].bye(now, b).unwrap();
    pair.settle();
    assert!(matches!(pair.ended(A), Termination::LocalBye));
    assert!(matches!(pair.ended(B), Termination::LocalBye));
    pair.assert_nothing_left();
}
