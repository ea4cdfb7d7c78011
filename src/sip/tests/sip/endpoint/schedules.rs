//! Retransmissions and time-outs at their exact times (RFC 3261 §17, RFC 6026).

use std::time::Duration;

use b2b_sip::endpoint::{Body, Reply, Termination, Transport};

use super::pair::{A, B, Hand, Network, Pair, field};

#[test]
fn an_invite_is_sent_at_doubling_intervals_until_timer_b() {
    let mut pair = Pair::new(Network::QUIET);
    pair.call_by_hand();
    pair.run(Duration::from_millis(31_999));
    assert_eq!(pair.times(A, "INVITE"), [0, 500, 1_500, 3_500, 7_500, 15_500, 31_500]);
    assert!(pair.take(A).is_empty(), "not before 64*T1");
    pair.run(Duration::from_millis(1));
    assert!(matches!(pair.ended(A), Termination::NoResponse));
    pair.assert_nothing_left();
}

#[test]
fn over_tcp_nothing_is_retransmitted_but_timer_b_runs() {
    let mut pair = Pair::new(Network::QUIET);
    pair.deaf[B] = true;
    pair.call(Transport::Tcp);
    pair.run(Duration::from_secs(32));
    assert_eq!(pair.times(A, "INVITE"), [0]);
    assert!(matches!(pair.ended(A), Termination::NoResponse));
    pair.assert_nothing_left();
}

#[test]
fn a_bye_is_sent_at_intervals_up_to_t2_until_timer_f() {
    let mut pair = Pair::new(Network::QUIET);
    let (a, _) = pair.connected(Transport::Udp);
    pair.deaf[B] = true;
    let start = (pair.now - pair.start).as_millis();
    let now = pair.now;
    pair.ends[A].bye(now, a).unwrap();
    pair.run(Duration::from_secs(32));
    let times: Vec<u128> = pair.times(A, "BYE").iter().map(|at| at - start).collect();
    assert_eq!(times, [0, 500, 1_500, 3_500, 7_500, 11_500, 15_500, 19_500, 23_500, 27_500, 31_500]);
    assert!(matches!(pair.ended(A), Termination::ByeUnanswered));
}

#[test]
fn a_provisional_response_slows_a_bye_to_t2() {
    let mut pair = Pair::new(Network::QUIET);
    let (a, _) = pair.connected(Transport::Udp);
    pair.deaf[B] = true;
    let start = (pair.now - pair.start).as_millis();
    let now = pair.now;
    pair.ends[A].bye(now, a).unwrap();
    pair.flush();
    let bye = pair.last(A, "BYE");
    pair.answer_by_hand(&bye, "100 Trying", "", "");
    pair.run(Duration::from_secs(32));
    let times: Vec<u128> = pair.times(A, "BYE").iter().map(|at| at - start).collect();
    assert_eq!(times, [0, 500, 4_500, 8_500, 12_500, 16_500, 20_500, 24_500, 28_500]);
    assert!(matches!(pair.ended(A), Termination::ByeUnanswered));
}

#[test]
fn trying_comes_after_200_ms_and_not_when_something_else_was_said() {
    for ring in [false, true] {
        let mut pair = Pair::new(Network::QUIET);
        pair.hand(&Hand::invite());
        let b = pair.incoming();
        if ring {
            let now = pair.now;
            pair.ends[B].provisional(now, b, 180, "", None).unwrap();
        }
        pair.run(Duration::from_millis(300));
        let expected: &[u128] = if ring { &[] } else { &[200] };
        assert_eq!(pair.times(B, "SIP/2.0 100"), expected);
        // A retransmitted INVITE gets the last provisional response again.
        pair.hand(&Hand::invite());
        assert_eq!(pair.sent(B, if ring { "SIP/2.0 180" } else { "SIP/2.0 100" }).len(), 2);
        assert!(pair.take(B).is_empty(), "one call only");
    }
}

#[test]
fn a_refusal_is_sent_until_its_ack_and_answers_retransmissions() {
    let mut pair = Pair::new(Network::QUIET);
    let invite = Hand::invite();
    pair.hand(&invite);
    let b = pair.incoming();
    let now = pair.now;
    pair.ends[B].reject(now, b, 486, "Busy").unwrap();
    pair.run(Duration::from_millis(3_600));
    let start = pair.times(B, "SIP/2.0 486 Busy")[0];
    let times = |pair: &Pair| -> Vec<u128> {
        pair.times(B, "SIP/2.0 486 Busy").iter().map(|at| at - start).collect()
    };
    assert_eq!(times(&pair), [0, 500, 1_500, 3_500]);
    pair.hand(&invite);
    assert_eq!(times(&pair).len(), 5, "the INVITE again, the response again");
    let mut ack = invite.next("ACK", 10, &pair.last(B, "SIP/2.0 486"));
    ack.branch = invite.branch.clone();
    pair.hand(&ack);
    pair.run(Duration::from_secs(40));
    assert_eq!(times(&pair).len(), 5);
    assert_eq!(pair.ends[B].counters().stray_acks, 0);
    pair.assert_nothing_left();
}

#[test]
fn a_refusal_without_ack_is_given_up_after_timer_h() {
    let mut pair = Pair::new(Network::QUIET);
    pair.hand(&Hand::invite());
    let b = pair.incoming();
    let now = pair.now;
    pair.ends[B].reject(now, b, 486, "").unwrap();
    pair.run(Duration::from_secs(60));
    assert_eq!(pair.times(B, "SIP/2.0 486").len(), 11);
    assert_eq!(pair.ends[B].holdings().server_transactions, 0);
}

#[test]
fn a_2xx_is_sent_until_its_ack_over_any_transport_and_then_the_call_ends() {
    for transport in [Transport::Udp, Transport::Tcp] {
        let mut pair = Pair::new(Network::QUIET);
        pair.call(transport);
        let b = pair.incoming();
        pair.deaf[B] = true;
        let start = (pair.now - pair.start).as_millis();
        let now = pair.now;
        pair.ends[B].answer(now, b, Some(Body::sdp("answer"))).unwrap();
        pair.run(Duration::from_millis(31_990));
        let times: Vec<u128> = pair.times(B, "SIP/2.0 200").iter().map(|at| at - start).collect();
        assert_eq!(times, [0, 500, 1_500, 3_500, 7_500, 11_500, 15_500, 19_500, 23_500, 27_500, 31_500]);
        // The ACK is sent again for each.
        assert_eq!(pair.sent(A, "ACK").len(), times.len());
        pair.run(Duration::from_millis(100));
        assert!(matches!(pair.ended(B), Termination::NoAck));
        assert_eq!(pair.sent(B, "BYE").len(), 1);
        pair.deaf[B] = false;
        pair.assert_nothing_left();
    }
}

#[test]
fn the_ack_for_a_refusal_is_the_transactions_and_repeats_with_it() {
    let mut pair = Pair::new(Network::QUIET);
    let (_, invite) = pair.call_by_hand();
    for _ in 0..3 {
        pair.answer_by_hand(&invite, "404 Not Found", "gone", "");
    }
    assert!(matches!(pair.ended(A), Termination::Failed { .. }));
    assert_eq!(pair.sent(A, "ACK").len(), 3);
    let ack = pair.last(A, "ACK");
    for name in ["Via", "From", "Call-ID"] {
        assert_eq!(field(&ack, name), field(&invite, name));
    }
    assert_eq!(field(&ack, "To"), format!("{};tag=gone", field(&invite, "To")));
    let number = |message: &str| field(message, "CSeq").split(' ').next().map(str::to_owned);
    assert_eq!(number(&ack), number(&invite));
    // Timer D: the transaction ends 32 s later.
    pair.run(Duration::from_millis(31_900));
    assert_eq!(pair.ends[A].holdings().client_transactions, 1);
    pair.run(Duration::from_millis(200));
    assert_eq!(pair.ends[A].holdings().client_transactions, 0);
    pair.answer_by_hand(&invite, "404 Not Found", "gone", "");
    assert_eq!(pair.ends[A].counters().stray_responses, 1);
    pair.assert_nothing_left();
}

#[test]
fn what_was_told_last_is_told_again_each_minute_until_the_decision() {
    let mut pair = Pair::new(Network::QUIET);
    pair.hand(&Hand::invite());
    let b = pair.incoming();
    let now = pair.now;
    pair.ends[B].reply(now, b, Reply::status(180)).unwrap();
    pair.run(Duration::from_secs(20));
    let now = pair.now;
    pair.ends[B].reply(now, b, Reply { body: Some(Body::sdp("music")), ..Reply::status(183) }).unwrap();
    pair.run(Duration::from_secs(125));
    let times = pair.times(B, "SIP/2.0 183");
    let since: Vec<u128> = times.iter().map(|it| it - times[0]).collect();
    assert_eq!(since, [0, 60_000, 120_000]);
    let sent = pair.sent(B, "SIP/2.0 183");
    assert!(sent.iter().all(|(_, it)| *it == sent[0].1), "to the octet, the tag included");
    assert_eq!(pair.sent(B, "SIP/2.0 180").len(), 1);
    let now = pair.now;
    pair.ends[B].reject(now, b, 486, "").unwrap();
    pair.run(Duration::from_secs(70));
    assert_eq!(pair.sent(B, "SIP/2.0 183").len(), 3);
}

#[test]
fn nothing_is_repeated_before_anything_was_told() {
    let mut pair = Pair::new(Network::QUIET);
    pair.hand(&Hand::invite());
    pair.incoming();
    pair.run(Duration::from_secs(200));
    let told = pair.sent(B, "SIP/2.0 1");
    assert!(told.iter().all(|(_, it)| it.starts_with("SIP/2.0 100")) && told.len() <= 1, "{told:?}");
}

#[test]
fn an_invite_that_expires_is_refused_then_and_not_before() {
    for (expires, at) in [("7", 7), ("0", 1), ("1", 1), (" 12 ", 12)] {
        let mut pair = Pair::new(Network::QUIET);
        let mut invite = Hand::invite();
        invite.extra.push_str(&format!("Expires: {expires}\r\n"));
        pair.hand(&invite);
        let b = pair.incoming();
        let now = pair.now;
        pair.ends[B].reply(now, b, Reply::status(180)).unwrap();
        pair.run(Duration::from_millis(at * 1_000 - 100));
        assert!(pair.sent(B, "SIP/2.0 4").is_empty(), "{expires}");
        pair.run(Duration::from_millis(200));
        assert!(matches!(pair.ended(B), Termination::Expired));
        assert_eq!(pair.sent(B, "SIP/2.0 487").len(), 1, "{expires}");
        pair.hand(&Hand { method: "ACK", ..invite.next("ACK", 10, &pair.last(B, "SIP/2.0 487")) });
    }
}

#[test]
fn what_says_no_time_does_not_expire() {
    for expires in ["soon", "-1", "", "99999999999999999999"] {
        let mut pair = Pair::new(Network::QUIET);
        let mut invite = Hand::invite();
        invite.extra.push_str(&format!("Expires: {expires}\r\n"));
        pair.hand(&invite);
        pair.incoming();
        pair.run(Duration::from_secs(290));
        assert!(pair.sent(B, "SIP/2.0 4").is_empty(), "{expires}");
    }
}

#[test]
fn an_invite_that_nobody_decides_on_gets_480() {
    let mut pair = Pair::new(Network::QUIET);
    pair.hand(&Hand::invite());
    pair.incoming();
    pair.run(Duration::from_secs(301));
    assert!(matches!(pair.ended(B), Termination::AnswerTimeout));
    assert!(!pair.sent(B, "SIP/2.0 480").is_empty());
    pair.assert_nothing_left();
}
