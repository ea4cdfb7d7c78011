//! Reliable provisional responses, both sides (RFC 3262), and what they allow before the
//! answer (RFC 3311 §5.1).

use std::time::Duration;

use b2b_sip::endpoint::{
    Body, CommandError, EndpointConfig, Event, Extensions, Invite, Reply, Termination, Transport, UsageEvent,
    UsageId,
};
use b2b_sip::msg::Response;

use super::pair::{A, B, Hand, Network, Pair, config, field};

const ADDRESSES: [&str; 2] = ["192.0.2.1:5060", "192.0.2.2:5060"];

fn reliable() -> [EndpointConfig; 2] {
    let extensions = Extensions { reliable: true, ..Extensions::default() };
    [1, 2].map(|end| EndpointConfig { extensions, ..config(end) })
}

fn early(status: u16, body: Option<&'static str>) -> Reply {
    Reply { reliable: true, body: body.map(Body::sdp), ..Reply::status(status) }
}

/// A hand-made caller that supports 100rel.
fn hand(tag: &'static str) -> Hand {
    let mut invite = Hand::invite();
    invite.extra.push_str(&format!("{tag}: 100rel\r\n"));
    invite
}

fn prack(invite: &Hand, cseq: u32, response: &str, rack: &str) -> Hand {
    let mut prack = invite.next("PRACK", cseq, response);
    prack.extra.push_str(&format!("RAck: {rack}\r\n"));
    prack
}

/// The only event of an end.
fn event(pair: &mut Pair, end: usize) -> UsageEvent {
    let mut events = pair.take(end);
    match (events.pop(), events.is_empty()) {
        (Some(Event::Usage { event, .. }), true) => event,
        other => panic!("{other:?} {events:?}"),
    }
}

fn provisional(pair: &mut Pair, end: usize) -> (Response, bool) {
    match event(pair, end) {
        UsageEvent::Provisional { response, prack_wanted } => (response, prack_wanted),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_reliable_response_is_sent_at_doubling_intervals_and_the_answer_waits_for_its_prack() {
    let mut pair = Pair::with(Network::QUIET, reliable(), ADDRESSES);
    let invite = hand("Supported");
    pair.hand(&invite);
    let b = pair.incoming();
    let start = pair.now;
    pair.ends[B].reply(start, b, early(183, Some("answer"))).unwrap();
    pair.flush();
    let sent = pair.last(B, "SIP/2.0 183");
    let rseq: u32 = field(&sent, "RSeq").parse().unwrap();
    assert!(rseq > 0 && rseq < 1 << 31);
    assert_eq!(field(&sent, "Require"), "100rel");
    pair.run(Duration::from_secs(9));
    let at = pair.times(B, "SIP/2.0 183");
    let since: Vec<u128> = at.iter().map(|it| it - at[0]).collect();
    assert_eq!(since, [0, 500, 1_500, 3_500, 7_500]);

    // §3: the 2xx must not overtake the session description.
    let now = pair.now;
    pair.ends[B].answer(now, b, Some(Body::sdp("answer"))).unwrap();
    pair.run(Duration::from_secs(7));
    assert!(pair.sent(B, "SIP/2.0 200").is_empty());
    assert_eq!(pair.sent(B, "SIP/2.0 183").len(), 6);
    for wrong in [format!("{rseq} 11 INVITE"), format!("{} 10 INVITE", rseq + 1), format!("{rseq} 10 BYE")] {
        let cseq = 11 + pair.sent(B, "SIP/2.0 481").len() as u32;
        pair.hand(&prack(&invite, cseq, &sent, &wrong));
    }
    assert_eq!(pair.sent(B, "SIP/2.0 481").len(), 3);
    assert!(pair.take(B).is_empty());
    pair.hand(&prack(&invite, 20, &sent, &format!("{rseq} 10 INVITE")));
    assert!(matches!(event(&mut pair, B), UsageEvent::ProvisionalAcknowledged { offer: None, .. }));
    let answers = pair.sent(B, "SIP/2.0 200").len();
    assert_eq!(answers, 2, "one for the PRACK, one for the INVITE");
    let ok = pair.last(B, "SIP/2.0 200");
    assert_eq!(field(&ok, "CSeq"), "10 INVITE");
    assert!(ok.ends_with("Content-Length: 0\r\n\r\n"), "what was answered is not answered again: {ok}");
    pair.hand(&invite.next("ACK", 10, &ok));
    assert!(matches!(event(&mut pair, B), UsageEvent::Acknowledged { .. }));
    pair.run(Duration::from_secs(40));
    assert_eq!(pair.sent(B, "SIP/2.0 183").len(), 6);
    // The session is established: either side may change it.
    let now = pair.now;
    pair.ends[B].reinvite(now, b, Some(Body::sdp("hold"))).unwrap();
}

#[test]
fn a_reliable_response_is_repeated_each_minute_as_a_reliable_one_of_its_own() {
    for (offer, repeats) in [("offer", true), ("", false)] {
        let mut pair = Pair::with(Network::QUIET, reliable(), ADDRESSES);
        let invite = Hand { body: offer, ..hand("Supported") };
        pair.hand(&invite);
        let b = pair.incoming();
        let now = pair.now;
        pair.ends[B].reply(now, b, early(183, Some("music"))).unwrap();
        pair.flush();
        let mut rseqs = Vec::new();
        for minute in 0..3 {
            let sent = pair.last(B, "SIP/2.0 183");
            rseqs.push(field(&sent, "RSeq").parse::<u32>().unwrap());
            assert_eq!((rseqs[minute], field(&sent, "Require")), (rseqs[0] + minute as u32, "100rel"));
            // An offer is made once: its answer is in the first PRACK.
            assert_eq!(sent.ends_with("music"), repeats || minute == 0, "{sent}");
            let rack = format!("{} 10 INVITE", rseqs[minute]);
            let mut prack = prack(&invite, 11 + minute as u32, &sent, &rack);
            prack.body = if minute == 0 && offer.is_empty() { "answer" } else { "" };
            pair.hand(&prack);
            pair.run(Duration::from_millis(60_100));
        }
        let now = pair.now;
        pair.ends[B].answer(now, b, None).unwrap();
        pair.flush();
        assert!(
            field(&pair.last(B, "SIP/2.0 200"), "CSeq").ends_with("INVITE"),
            "the answer waits for no PRACK"
        );
    }
}

#[test]
fn no_prack_at_all_ends_the_call_with_504() {
    let mut pair = Pair::with(Network::QUIET, reliable(), ADDRESSES);
    let invite = hand("Supported");
    pair.hand(&invite);
    let b = pair.incoming();
    let now = pair.now;
    pair.ends[B].reply(now, b, early(180, None)).unwrap();
    pair.run(Duration::from_millis(31_999));
    assert!(pair.take(B).is_empty());
    pair.run(Duration::from_millis(2));
    assert!(matches!(pair.ended(B), Termination::NoPrack));
    assert_eq!(pair.sent(B, "SIP/2.0 504").len(), 1);
    assert_eq!(pair.sent(B, "SIP/2.0 180").len(), 7);
    pair.assert_nothing_left();
}

#[test]
fn a_second_one_waits_for_the_prack_of_the_first_and_ringing_does_not_hold_the_answer() {
    let mut pair = Pair::with(Network::QUIET, reliable(), ADDRESSES);
    let invite = hand("Supported");
    pair.hand(&invite);
    let b = pair.incoming();
    let now = pair.now;
    pair.ends[B].reply(now, b, early(180, None)).unwrap();
    pair.ends[B].reply(now, b, early(182, None)).unwrap();
    pair.ends[B].provisional(now, b, 181, "", None).unwrap();
    pair.flush();
    let first = pair.last(B, "SIP/2.0 180");
    assert!(pair.sent(B, "SIP/2.0 182").is_empty());
    assert!(field(&pair.last(B, "SIP/2.0 181"), "RSeq").is_empty(), "a plain one goes at any time");
    let rseq: u32 = field(&first, "RSeq").parse().unwrap();
    pair.hand(&prack(&invite, 11, &first, &format!("{rseq} 10 INVITE")));
    assert_eq!(field(&pair.last(B, "SIP/2.0 182"), "RSeq"), (rseq + 1).to_string());
    for _ in 0..8 {
        let now = pair.now;
        pair.ends[B].reply(now, b, early(183, None)).unwrap();
    }
    let now = pair.now;
    assert!(matches!(pair.ends[B].reply(now, b, early(183, None)), Err(CommandError::WrongState(_))));
    pair.ends[B].answer(now, b, Some(Body::sdp("answer"))).unwrap();
    pair.flush();
    let ok = pair.last(B, "SIP/2.0 200");
    assert!(field(&ok, "CSeq") == "10 INVITE" && ok.ends_with("answer"));
    // The PRACK that was under way still gets a response.
    pair.hand(&prack(&invite, 12, &first, &format!("{} 10 INVITE", rseq + 1)));
    assert_eq!(field(&pair.last(B, "SIP/2.0 200"), "CSeq"), "12 PRACK");
    pair.run(Duration::from_secs(5));
    assert_eq!(pair.sent(B, "SIP/2.0 182").len(), 1);
}

#[test]
fn who_requires_it_gets_it_and_who_cannot_does_not() {
    for (header, wish, expected) in
        [("Require", false, true), ("Supported", false, false), ("Supported", true, true), ("X", true, false)]
    {
        let mut pair = Pair::with(Network::QUIET, reliable(), ADDRESSES);
        pair.hand(&hand(header));
        let b = pair.incoming();
        let now = pair.now;
        pair.ends[B].reply(now, b, Reply { reliable: wish, ..Reply::status(180) }).unwrap();
        pair.flush();
        let sent = pair.last(B, "SIP/2.0 180");
        assert_eq!(!field(&sent, "RSeq").is_empty(), expected, "{header} {wish}");
    }
    let mut pair = Pair::new(Network::QUIET);
    pair.hand(&hand("Require"));
    assert_eq!(field(&pair.last(B, "SIP/2.0 420"), "Unsupported"), "100rel");
}

#[test]
fn an_offer_in_a_reliable_response_gets_its_answer_in_the_prack() {
    for transport in [Transport::Udp, Transport::Tcp] {
        let mut pair = Pair::with(Network::QUIET, reliable(), ADDRESSES);
        let target = pair.uri(B, transport);
        let now = pair.now;
        let a = pair.ends[A].invite(now, Invite { target, ..Invite::default() }).unwrap();
        let b = pair.incoming();
        assert!(field(&pair.last(A, "INVITE"), "Supported").contains("100rel"));
        let now = pair.now;
        pair.ends[B].reply(now, b, early(183, Some("offer"))).unwrap();
        pair.settle();
        let (response, prack_wanted) = provisional(&mut pair, A);
        assert!(prack_wanted && response.body() == "offer");
        assert!(pair.sent(A, "PRACK").is_empty(), "it is the user's to send");
        let now = pair.now;
        pair.ends[A].prack(now, a, &response, Some(Body::sdp("answer"))).unwrap();
        assert!(pair.ends[A].prack(now, a, &response, None).is_err(), "once");
        pair.settle();
        match event(&mut pair, B) {
            UsageEvent::ProvisionalAcknowledged { request, offer: None } => {
                assert_eq!(request.body(), "answer")
            }
            other => panic!("{other:?}"),
        }
        let now = pair.now;
        pair.ends[B].answer(now, b, Some(Body::sdp("again"))).unwrap();
        pair.settle();
        match event(&mut pair, A) {
            UsageEvent::Answered { response, ack_wanted: false } => assert!(response.body().is_empty()),
            other => panic!("{other:?}"),
        }
        assert!(matches!(event(&mut pair, B), UsageEvent::Acknowledged { .. }));
        let now = pair.now;
        pair.ends[B].reinvite(now, b, Some(Body::sdp("hold"))).unwrap();
        pair.settle();
        assert!(matches!(event(&mut pair, A), UsageEvent::ReInvite { .. }));
        let now = pair.now;
        pair.ends[A].bye(now, a).unwrap();
        pair.settle();
        pair.take(A);
        pair.take(B);
        pair.assert_nothing_left();
    }
}

/// A call whose offer is answered before the call is.
fn settled_early() -> (Pair, UsageId, UsageId) {
    let mut pair = Pair::with(Network::QUIET, reliable(), ADDRESSES);
    let a = pair.call(Transport::Udp);
    let b = pair.incoming();
    let now = pair.now;
    assert!(pair.ends[B].update(now, b, Body::sdp("too early")).is_err());
    pair.ends[B].reply(now, b, early(183, Some("answer"))).unwrap();
    pair.settle();
    assert!(!provisional(&mut pair, A).1);
    assert!(matches!(event(&mut pair, B), UsageEvent::ProvisionalAcknowledged { offer: None, .. }));
    (pair, a, b)
}

#[test]
fn the_session_changes_by_update_before_the_answer_in_either_direction() {
    for who in [A, B] {
        let (mut pair, a, b) = settled_early();
        let usages = [a, b];
        let now = pair.now;
        pair.ends[who].update(now, usages[who], Body::sdp("new offer")).unwrap();
        pair.settle();
        let UsageEvent::Update { transaction, request } = event(&mut pair, 1 - who) else { panic!() };
        assert_eq!(request.body(), "new offer");
        // The call is answered during the exchange.
        let now = pair.now;
        pair.ends[B].answer(now, b, None).unwrap();
        pair.settle();
        pair.take(A);
        pair.take(B);
        let now = pair.now;
        assert!(pair.ends[A].update(now, a, Body::sdp("not now")).is_err());
        let answer = Reply { body: Some(Body::sdp("new answer")), ..Reply::status(200) };
        pair.ends[1 - who].respond(now, transaction, answer).unwrap();
        pair.settle();
        match event(&mut pair, who) {
            UsageEvent::UpdateAnswered { response } => assert_eq!(response.body(), "new answer"),
            other => panic!("{other:?}"),
        }
        let now = pair.now;
        pair.ends[A].update(now, a, Body::sdp("now")).unwrap();
        pair.ends[B].bye(now, b).unwrap();
        pair.settle();
    }
}

#[test]
fn a_new_offer_in_a_prack_is_answered_by_the_user() {
    let mut pair = Pair::with(Network::QUIET, reliable(), ADDRESSES);
    let invite = hand("Supported");
    pair.hand(&invite);
    let b = pair.incoming();
    let now = pair.now;
    pair.ends[B].reply(now, b, early(183, Some("answer"))).unwrap();
    pair.flush();
    let sent = pair.last(B, "SIP/2.0 183");
    let mut offer = prack(&invite, 11, &sent, &format!("{} 10 INVITE", field(&sent, "RSeq")));
    offer.body = "another offer";
    pair.hand(&offer);
    let UsageEvent::ProvisionalAcknowledged { request, offer: Some(transaction) } = event(&mut pair, B)
    else {
        panic!()
    };
    assert_eq!(request.body(), "another offer");
    let now = pair.now;
    assert!(pair.ends[B].update(now, b, Body::sdp("no")).is_err(), "theirs is open");
    let answer = Reply { body: Some(Body::sdp("another answer")), ..Reply::status(200) };
    pair.ends[B].respond(now, transaction, answer).unwrap();
    pair.flush();
    let ok = pair.last(B, "SIP/2.0 200");
    assert!(field(&ok, "CSeq") == "11 PRACK" && ok.ends_with("another answer"));
    pair.ends[B].update(now, b, Body::sdp("ours")).unwrap();
}

#[test]
fn an_answer_that_waits_for_its_prack_gives_way_to_cancel_and_hang_up() {
    for cancelled in [true, false] {
        let mut pair = Pair::with(Network::QUIET, reliable(), ADDRESSES);
        let invite = hand("Supported");
        pair.hand(&invite);
        let b = pair.incoming();
        let now = pair.now;
        pair.ends[B].reply(now, b, early(183, Some("answer"))).unwrap();
        pair.ends[B].answer(now, b, None).unwrap();
        pair.flush();
        if cancelled {
            let mut cancel = invite.next("CANCEL", 10, "");
            cancel.branch = invite.branch.clone();
            pair.hand(&cancel);
            assert!(matches!(pair.ended(B), Termination::RemoteCancel { .. }));
            assert_eq!(pair.sent(B, "SIP/2.0 487").len(), 1);
        } else {
            pair.ends[B].bye(now, b).unwrap();
            pair.settle();
            assert!(matches!(pair.ended(B), Termination::Rejected { status: 480 }));
        }
        pair.assert_nothing_left();
    }
}

#[test]
fn calls_with_reliable_responses_come_up_on_a_bad_network() {
    let mut up = 0;
    for seed in 0..60 {
        let network = Network { loss: 0.25, duplicate: 0.1, delay_ms: (5, 150), seed };
        let mut pair = Pair::with(network, reliable(), ADDRESSES);
        let delayed = seed % 2 == 1;
        let target = pair.uri(B, Transport::Udp);
        let now = pair.now;
        let body = (!delayed).then(|| Body::sdp("offer"));
        let a = pair.ends[A].invite(now, Invite { target, body, ..Invite::default() }).unwrap();
        let (mut bodies, mut answered) = (Vec::new(), false);
        for _ in 0..400 {
            pair.run(Duration::from_millis(100));
            for event in pair.take(B) {
                let now = pair.now;
                match event {
                    Event::Incoming { usage, .. } => {
                        pair.ends[B].reply(now, usage, early(180, None)).unwrap();
                        pair.ends[B].reply(now, usage, early(183, Some("session"))).unwrap();
                    }
                    Event::Usage { usage, event: UsageEvent::ProvisionalAcknowledged { request, .. } } => {
                        bodies.push(request.body());
                        if bodies.len() == 2 {
                            pair.ends[B].answer(now, usage, Some(Body::sdp("no more"))).unwrap();
                        }
                    }
                    _ => {}
                }
            }
            for event in pair.take(A) {
                let now = pair.now;
                match event {
                    Event::Usage { event: UsageEvent::Provisional { response, prack_wanted }, .. } => {
                        assert_eq!(prack_wanted, delayed && response.status() == 183, "seed {seed}");
                        if prack_wanted {
                            pair.ends[A].prack(now, a, &response, Some(Body::sdp("answer"))).unwrap();
                        }
                    }
                    Event::Usage { event: UsageEvent::Answered { response, ack_wanted }, .. } => {
                        assert!(!ack_wanted && response.body().is_empty(), "seed {seed}");
                        answered = true;
                    }
                    _ => {}
                }
            }
        }
        if answered {
            let expected = if delayed { ["", "answer"] } else { ["", ""] };
            assert_eq!(bodies, expected, "seed {seed}");
            up += 1;
        }
        let now = pair.now;
        let _ = pair.ends[A].cancel(now, a);
        let _ = pair.ends[A].bye(now, a);
        pair.assert_nothing_left();
    }
    assert!(up > 50, "{up} of 60 calls came up");
}
