//! The peer's INVITE: CANCEL, BYE and re-INVITE at awkward moments (RFC 3261 §9.2, §13.3,
//! §14.2, §15).

use std::time::Duration;

use b2b_sip::endpoint::{Body, CommandError, Event, Termination, Transport, UsageEvent};

use super::pair::{A, B, Hand, Network, Pair, field};

#[test]
fn a_bye_in_an_early_dialog_is_answered_and_ends_the_invite_with_487() {
    let mut pair = Pair::new(Network::QUIET);
    let invite = Hand::invite();
    pair.hand(&invite);
    let b = pair.incoming();
    let now = pair.now;
    pair.ends[B].provisional(now, b, 180, "", None).unwrap();
    pair.flush();
    let ringing = pair.last(B, "SIP/2.0 180");
    pair.hand(&invite.next("BYE", 11, &ringing));
    assert_eq!(field(&pair.last(B, "SIP/2.0 200"), "CSeq"), "11 BYE");
    assert_eq!(field(&pair.last(B, "SIP/2.0 487"), "CSeq"), "10 INVITE");
    assert!(matches!(pair.ended(B), Termination::RemoteCancel { .. }));
    let now = pair.now;
    assert_eq!(pair.ends[B].answer(now, b, None), Err(CommandError::Gone));
    pair.assert_nothing_left();
}

#[test]
fn a_cancel_after_the_answer_changes_nothing() {
    let mut pair = Pair::new(Network::QUIET);
    let invite = Hand::invite();
    let (_, ok) = pair.answers(&invite);
    let mut cancel = invite.next("CANCEL", 10, "");
    cancel.branch = invite.branch.clone();
    pair.hand(&cancel);
    assert_eq!(field(&pair.last(B, "SIP/2.0 200"), "CSeq"), "10 CANCEL");
    assert!(pair.take(B).is_empty());
    pair.hand(&invite.next("ACK", 10, &ok));
    assert!(matches!(pair.take(B).as_slice(), [Event::Usage { event: UsageEvent::Acknowledged { .. }, .. }]));
}

/// The same message with another sent-by.
fn sent_by(request: &Hand, place: &str) -> bytes::Bytes {
    let text = String::from_utf8(request.data().to_vec()).unwrap();
    text.replacen("UDP 192.0.2.1;", &format!("UDP {place};"), 1).into()
}

#[test]
fn a_cancel_with_another_sent_by_is_of_its_invite_and_one_of_a_guesser_is_not() {
    for place in ["192.0.2.1:1024", "phone.example.net", "[2001:db8::7]:5080"] {
        let mut pair = Pair::new(Network::QUIET);
        let invite = Hand::invite();
        pair.hand(&invite);
        pair.incoming();
        let cancel = || Hand { branch: invite.branch.clone(), ..invite.next("CANCEL", 10, "") };
        for guess in [
            Hand { branch: "z9hG4bKhand2".to_owned(), ..cancel() },
            Hand { call_id: "hand-made-2".to_owned(), ..cancel() },
            Hand { from_tag: "another".to_owned(), ..cancel() },
            Hand { cseq: 11, ..cancel() },
        ] {
            pair.deliver(B, Transport::Udp, sent_by(&guess, place));
            assert!(pair.take(B).is_empty(), "{place}");
        }
        assert_eq!(pair.sent(B, "SIP/2.0 481").len(), 4);
        // So does a copy of the INVITE.
        pair.deliver(B, Transport::Udp, sent_by(&invite, place));
        assert!(pair.take(B).is_empty(), "{place}");
        pair.deliver(B, Transport::Udp, sent_by(&cancel(), place));
        assert!(matches!(pair.ended(B), Termination::RemoteCancel { .. }));
        assert_eq!(pair.sent(B, "SIP/2.0 487").len(), 1);
        pair.deliver(
            B,
            Transport::Udp,
            sent_by(&Hand { branch: invite.branch.clone(), ..invite.next("ACK", 10, "") }, place),
        );
        pair.run(Duration::from_secs(4));
        assert_eq!(pair.sent(B, "SIP/2.0 487").len(), 1, "{place}: it was acknowledged");
        pair.assert_nothing_left();
    }
}

#[test]
fn a_reinvite_with_the_branch_of_the_invite_is_another_transaction() {
    let mut pair = Pair::new(Network::QUIET);
    let invite = Hand::invite();
    let (b, ok) = pair.answers(&invite);
    pair.hand(&invite.next("ACK", 10, &ok));
    pair.take(B);
    for (method, cseq) in [("INVITE", 11), ("BYE", 12)] {
        let again = Hand { branch: invite.branch.clone(), body: "", ..invite.next(method, cseq, &ok) };
        pair.hand(&again);
        pair.hand(&again);
        assert_eq!(pair.take(B).len(), 1, "{method}");
        if method == "INVITE" {
            let now = pair.now;
            pair.ends[B].answer(now, b, Some(Body::sdp("offer"))).unwrap();
            pair.flush();
            pair.hand(&Hand { branch: invite.branch.clone(), ..invite.next("ACK", 11, &ok) });
            assert_eq!(field(&pair.last(B, "SIP/2.0 200"), "CSeq"), "11 INVITE");
            pair.take(B);
        }
    }
    pair.assert_nothing_left();
}

#[test]
fn a_cancel_for_nothing_gets_481() {
    let mut pair = Pair::new(Network::QUIET);
    let mut cancel = Hand::invite();
    cancel.method = "CANCEL";
    pair.hand(&cancel);
    assert_eq!(pair.sent(B, "SIP/2.0 481").len(), 1);
    pair.assert_nothing_left();
}

#[test]
fn a_bye_before_the_ack_ends_the_call() {
    let mut pair = Pair::new(Network::QUIET);
    let invite = Hand::invite();
    let (_, ok) = pair.answers(&invite);
    pair.hand(&invite.next("BYE", 11, &ok));
    assert!(matches!(pair.ended(B), Termination::RemoteBye { .. }));
    let answers = pair.sent(B, "SIP/2.0 200").len();
    pair.run(Duration::from_secs(40));
    assert_eq!(pair.sent(B, "SIP/2.0 200").len(), answers, "the 2xx is not sent any more");
    pair.hand(&invite.next("ACK", 10, &ok));
    assert_eq!(pair.ends[B].counters().stray_acks, 1);
    pair.assert_nothing_left();
}

#[test]
fn a_request_racing_the_ack_is_put_off_and_the_call_goes_on() {
    let mut pair = Pair::new(Network::QUIET);
    let invite = Hand::invite();
    let (b, ok) = pair.answers(&invite);
    let mut reinvite = invite.next("INVITE", 11, &ok);
    reinvite.body = "new offer";
    pair.hand(&reinvite);
    assert_eq!(pair.sent(B, "SIP/2.0 491").len(), 1);
    assert!(pair.take(B).is_empty());
    pair.hand(&invite.next("ACK", 10, &ok));
    assert!(matches!(pair.take(B).as_slice(), [Event::Usage { event: UsageEvent::Acknowledged { .. }, .. }]));
    let mut reinvite = invite.next("INVITE", 12, &ok);
    reinvite.body = "new offer";
    pair.hand(&reinvite);
    assert!(matches!(pair.take(B).as_slice(), [Event::Usage { event: UsageEvent::ReInvite { .. }, .. }]));
    let now = pair.now;
    pair.ends[B].answer(now, b, Some(Body::sdp("new answer"))).unwrap();
    pair.flush();
    assert!(pair.last(B, "SIP/2.0 200").ends_with("new answer"));
}

#[test]
fn a_second_invite_before_the_first_is_answered_gets_500_with_retry_after() {
    let mut pair = Pair::new(Network::QUIET);
    let invite = Hand::invite();
    pair.hand(&invite);
    let b = pair.incoming();
    let now = pair.now;
    pair.ends[B].provisional(now, b, 180, "", None).unwrap();
    pair.flush();
    let ringing = pair.last(B, "SIP/2.0 180");
    pair.hand(&invite.next("INVITE", 11, &ringing));
    let refusal = pair.last(B, "SIP/2.0 500");
    assert!(field(&refusal, "Retry-After").parse::<u32>().is_ok_and(|wait| wait <= 10), "{refusal}");
    assert!(pair.take(B).is_empty());
}

#[test]
fn a_hang_up_before_the_ack_waits_for_it() {
    for acknowledged in [true, false] {
        let mut pair = Pair::new(Network::QUIET);
        let invite = Hand::invite();
        let (b, ok) = pair.answers(&invite);
        let now = pair.now;
        pair.ends[B].bye(now, b).unwrap();
        pair.flush();
        assert!(pair.sent(B, "BYE").is_empty());
        if acknowledged {
            pair.hand(&invite.next("ACK", 10, &ok));
            pair.take(B);
        } else {
            pair.run(Duration::from_secs(32));
        }
        assert_eq!(pair.sent(B, "BYE").len(), 1);
        let bye = pair.last(B, "BYE");
        pair.deliver(B, Transport::Udp, super::pair::reply(&bye, "200 OK", "", ""));
        assert!(matches!(pair.ended(B), Termination::LocalBye));
        pair.assert_nothing_left();
    }
}

#[test]
fn a_late_ack_on_the_branch_of_the_invite_counts() {
    let mut pair = Pair::new(Network::QUIET);
    let invite = Hand::invite();
    let (_, ok) = pair.answers(&invite);
    let mut ack = invite.next("ACK", 10, &ok);
    ack.branch = invite.branch.clone();
    pair.hand(&ack);
    assert!(matches!(pair.take(B).as_slice(), [Event::Usage { event: UsageEvent::Acknowledged { .. }, .. }]));
}

#[test]
fn a_peer_of_rfc_2543_is_matched_without_a_magic_cookie() {
    let mut pair = Pair::new(Network::QUIET);
    let mut invite = Hand::invite();
    invite.branch = "1".to_owned();
    pair.hand(&invite);
    let b = pair.incoming();
    pair.hand(&invite);
    assert!(pair.take(B).is_empty(), "a retransmission");
    let now = pair.now;
    pair.ends[B].reject(now, b, 486, "").unwrap();
    pair.flush();
    let mut ack = invite.next("ACK", 10, &pair.last(B, "SIP/2.0 486"));
    ack.branch = "1".to_owned();
    pair.hand(&ack);
    pair.run(Duration::from_secs(2));
    assert_eq!(pair.sent(B, "SIP/2.0 486").len(), 1);
    // Another call with the same branch is another transaction.
    invite.call_id = "another".to_owned();
    pair.hand(&invite);
    assert_eq!(pair.take(B).len(), 2, "one ended, one came");
}

#[test]
fn responses_follow_rport_or_sent_by() {
    let mut pair = Pair::new(Network::QUIET);
    let options = |via: &str| {
        let mut options = Hand::invite();
        options.method = "OPTIONS";
        let text = String::from_utf8(options.data().to_vec()).unwrap();
        let old = format!("Via: SIP/2.0/UDP 192.0.2.1;branch={};rport", options.branch);
        bytes::Bytes::from(text.replace(&old, &format!("Via: SIP/2.0/UDP {via};branch={}", options.branch)))
    };
    for (via, port) in [("10.0.0.9:5099;rport", 40_000), ("10.0.0.9:5099", 5_099), ("10.0.0.9", 5_060)] {
        pair.addresses[A].set_port(40_000);
        pair.deliver(B, Transport::Udp, options(via));
        let sent = pair.wire.last().unwrap();
        assert_eq!(sent.to, std::net::SocketAddr::new(pair.addresses[A].ip(), port), "{via}");
        let text = sent.text();
        assert!(field(&text, "Via").contains("received=192.0.2.1"), "{text}");
        assert_eq!(field(&text, "Via").contains("rport=40000"), via.contains("rport"), "{text}");
    }
}

#[test]
fn a_response_over_a_lost_connection_goes_to_sent_by() {
    let mut pair = Pair::new(Network::QUIET);
    let invite = Hand::invite();
    let text = String::from_utf8(invite.data().to_vec()).unwrap();
    let over_tcp = text.replace("SIP/2.0/UDP 192.0.2.1;", "SIP/2.0/TCP 192.0.2.1:5066;");
    pair.deliver(B, Transport::Tcp, over_tcp.into());
    let b = pair.incoming();
    pair.close(B);
    let now = pair.now;
    pair.ends[B].reject(now, b, 486, "").unwrap();
    pair.flush();
    let sent = pair.wire.last().unwrap();
    assert!(sent.line().starts_with("SIP/2.0 486"));
    assert_eq!((sent.transport, sent.to.to_string()), (Transport::Tcp, "192.0.2.1:5066".to_owned()));
}
