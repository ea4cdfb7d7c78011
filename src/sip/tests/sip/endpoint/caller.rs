//! Our INVITE and the peer's possible reactions: CANCEL and its races, forks, silence, broken
//! responses (RFC 3261 §9.1, §13.2).

use std::time::Duration;

use b2b_sip::endpoint::{Event, Invite, Termination, Transport, UsageEvent};

use super::pair::{A, B, Network, Pair, field, reply};

const CONTACT: &str = "Contact: <sip:hand@192.0.2.2:5060>\r\n";

#[test]
fn cancel_waits_for_the_first_provisional_response() {
    let mut pair = Pair::new(Network::QUIET);
    let (a, invite) = pair.call_by_hand();
    let now = pair.now;
    pair.ends[A].cancel(now, a).unwrap();
    pair.run(Duration::from_secs(1));
    assert!(pair.sent(A, "CANCEL").is_empty());
    pair.answer_by_hand(&invite, "100 Trying", "", "");
    let cancel = pair.last(A, "CANCEL");
    for name in ["Via", "From", "To", "Call-ID"] {
        assert_eq!(field(&cancel, name), field(&invite, name));
    }
    assert_eq!(cancel.lines().next().unwrap()[6..], invite.lines().next().unwrap()[6..]);
    assert!(pair.take(A).is_empty());
    pair.answer_by_hand(&cancel, "200 OK", "far", "");
    pair.answer_by_hand(&invite, "487 Request Terminated", "far", "");
    assert!(matches!(pair.ended(A), Termination::LocalCancel));
    assert_eq!(pair.sent(A, "ACK").len(), 1);
    pair.assert_nothing_left();
}

#[test]
fn retransmitted_487_is_acknowledged_each_time_and_reported_once() {
    let mut pair = Pair::new(Network::QUIET);
    let (a, invite) = pair.call_by_hand();
    pair.answer_by_hand(&invite, "180 Ringing", "far", CONTACT);
    pair.take(A);
    let now = pair.now;
    pair.ends[A].cancel(now, a).unwrap();
    for _ in 0..5 {
        pair.answer_by_hand(&invite, "487 Request Terminated", "far", "");
    }
    assert!(matches!(pair.ended(A), Termination::LocalCancel));
    assert_eq!(pair.sent(A, "ACK").len(), 5);
    pair.assert_nothing_left();
}

#[test]
fn cancel_is_answered_with_200_and_487() {
    for transport in [Transport::Udp, Transport::Tcp] {
        let mut pair = Pair::new(Network::QUIET);
        let a = pair.call(transport);
        let b = pair.incoming();
        let now = pair.now;
        pair.ends[B].provisional(now, b, 180, "", None).unwrap();
        pair.settle();
        pair.take(A);
        let now = pair.now;
        pair.ends[A].cancel(now, a).unwrap();
        pair.settle();
        assert!(matches!(pair.ended(A), Termination::LocalCancel));
        assert!(matches!(pair.ended(B), Termination::RemoteCancel { .. }));
        assert_eq!(pair.sent(B, "SIP/2.0 487").len(), 1);
        assert_eq!(pair.sent(B, "SIP/2.0 200").len(), 1);
        pair.assert_nothing_left();
    }
}

#[test]
fn a_2xx_that_crosses_the_cancel_gets_ack_and_bye() {
    for before_any_provisional in [true, false] {
        let mut pair = Pair::new(Network::QUIET);
        let (a, invite) = pair.call_by_hand();
        if !before_any_provisional {
            pair.answer_by_hand(&invite, "180 Ringing", "far", CONTACT);
            pair.take(A);
        }
        let now = pair.now;
        pair.ends[A].cancel(now, a).unwrap();
        pair.flush();
        pair.answer_by_hand(&invite, "200 OK", "far", CONTACT);
        assert!(matches!(pair.ended(A), Termination::LocalCancel));
        assert_eq!(pair.sent(A, "ACK").len(), 1);
        assert_eq!(pair.sent(A, "BYE").len(), 1);
        pair.answer_by_hand(&invite, "200 OK", "far", CONTACT);
        assert_eq!(pair.sent(A, "ACK").len(), 2, "the 2xx again, the ACK again");
        let bye = pair.last(A, "BYE");
        pair.answer_by_hand(&bye, "200 OK", "", "");
        pair.run(Duration::from_secs(1));
        assert_eq!(pair.sent(A, "BYE").len(), 1);
        pair.assert_nothing_left();
    }
}

#[test]
fn a_far_end_that_dies_after_cancel_ends_the_call_in_64_t1() {
    let mut pair = Pair::new(Network::QUIET);
    let (a, invite) = pair.call_by_hand();
    pair.answer_by_hand(&invite, "180 Ringing", "far", CONTACT);
    pair.take(A);
    let now = pair.now;
    pair.ends[A].cancel(now, a).unwrap();
    pair.run(Duration::from_millis(31_999));
    assert!(pair.take(A).is_empty());
    pair.run(Duration::from_millis(2));
    assert!(matches!(pair.ended(A), Termination::LocalCancel));
    pair.assert_nothing_left();
}

#[test]
fn a_cancel_before_anything_is_sent_ends_the_call_at_once() {
    let mut pair = Pair::new(Network::QUIET);
    let now = pair.now;
    let target = "sip:nobody@example.com".into();
    // The lookup has no result yet, and nothing is flushed in between.
    let a = pair.ends[A].invite(now, Invite { target, ..Invite::default() }).unwrap();
    pair.ends[A].cancel(now, a).unwrap();
    pair.settle();
    assert!(matches!(pair.ended(A), Termination::LocalCancel));
    assert!(pair.wire.is_empty());
    pair.assert_nothing_left();
}

#[test]
fn ringing_and_then_silence_ends_with_cancel() {
    let mut pair = Pair::new(Network::QUIET);
    let (_, invite) = pair.call_by_hand();
    pair.answer_by_hand(&invite, "180 Ringing", "far", CONTACT);
    pair.take(A);
    pair.run(Duration::from_secs(100));
    // Another provisional response restarts Timer C (§16.6).
    pair.answer_by_hand(&invite, "180 Ringing", "far", CONTACT);
    pair.take(A);
    pair.run(Duration::from_millis(179_999));
    assert!(pair.sent(A, "CANCEL").is_empty());
    pair.run(Duration::from_millis(2));
    assert_eq!(pair.sent(A, "CANCEL").len(), 1);
    pair.answer_by_hand(&invite, "487 Request Terminated", "far", "");
    assert!(matches!(pair.ended(A), Termination::RingTimeout));
    pair.assert_nothing_left();
}

#[test]
fn ringing_and_then_nothing_ever_again_ends_too() {
    let mut pair = Pair::new(Network::QUIET);
    let (_, invite) = pair.call_by_hand();
    pair.answer_by_hand(&invite, "180 Ringing", "far", CONTACT);
    pair.take(A);
    pair.run(Duration::from_secs(180 + 33));
    assert!(matches!(pair.ended(A), Termination::RingTimeout));
    pair.assert_nothing_left();
}

#[test]
fn a_call_whose_2xx_has_no_usable_contact_goes_on_at_the_target_of_the_invite() {
    for contact in ["", "Contact: <broken\r\n", "Contact: <tel:+12025550123>\r\n"] {
        let mut pair = Pair::new(Network::QUIET);
        let (a, invite) = pair.call_by_hand();
        pair.answer_by_hand(&invite, "200 OK", "far", contact);
        assert!(pair.last(A, "ACK")[4..].starts_with("sip:callee@192.0.2.2:5060"), "{contact}");
        assert!(pair.sent(A, "BYE").is_empty(), "{contact}");
        let now = pair.now;
        pair.ends[A].bye(now, a).unwrap();
        pair.flush();
        let bye = pair.last(A, "BYE");
        assert_eq!(field(&bye, "To"), format!("{};tag=far", field(&invite, "To")));
        assert!(bye[4..].starts_with("sip:callee@192.0.2.2:5060"), "{bye}");
    }
}

#[test]
fn a_second_fork_that_answers_gets_ack_and_bye() {
    let mut pair = Pair::new(Network::QUIET);
    let (a, invite) = pair.call_by_hand();
    pair.answer_by_hand(&invite, "180 Ringing", "one", CONTACT);
    pair.answer_by_hand(&invite, "180 Ringing", "two", "Contact: <sip:two@192.0.2.2:5090>\r\n");
    pair.answer_by_hand(&invite, "200 OK", "one", CONTACT);
    assert_eq!(pair.take(A).len(), 3);
    for _ in 0..2 {
        pair.answer_by_hand(&invite, "200 OK", "two", "Contact: <sip:two@192.0.2.2:5090>\r\n");
    }
    assert!(pair.take(A).is_empty(), "the call is with the first one");
    let byes = pair.sent(A, "BYE");
    assert_eq!(byes.len(), 1);
    assert_eq!(byes[0].1, "BYE sip:two@192.0.2.2:5090 SIP/2.0");
    assert_eq!(pair.sent(A, "ACK sip:two@").len(), 2);
    assert_eq!(pair.sent(A, "ACK sip:hand@").len(), 1);
    let bye = pair.last(A, "BYE");
    pair.answer_by_hand(&bye, "200 OK", "", "");
    // A fork answers when the call is already over.
    let now = pair.now;
    pair.ends[A].bye(now, a).unwrap();
    pair.flush();
    let bye = pair.last(A, "BYE");
    pair.answer_by_hand(&bye, "200 OK", "", "");
    assert!(matches!(pair.ended(A), Termination::LocalBye));
    pair.answer_by_hand(&invite, "200 OK", "three", "Contact: <sip:three@192.0.2.2:5090>\r\n");
    assert_eq!(pair.sent(A, "BYE sip:three@").len(), 1);
    let bye = pair.last(A, "BYE");
    pair.answer_by_hand(&bye, "200 OK", "", "");
    pair.assert_nothing_left();
}

/// A BYE of the fork with this tag.
fn fork_leaves(pair: &mut Pair, invite: &str, tag: &str) {
    let [uri, from, to, call_id] = ["Contact", "To", "From", "Call-ID"].map(|name| field(invite, name));
    let uri = uri.trim_matches(['<', '>']);
    let bye = format!(
        "BYE {uri} SIP/2.0\r\nVia: SIP/2.0/UDP 192.0.2.2;branch=z9hG4bKbye{tag}\r\nFrom: {from};tag={tag}\r\n\
         To: {to}\r\nCall-ID: {call_id}\r\nCSeq: 77 BYE\r\nMax-Forwards: 70\r\nContent-Length: 0\r\n\r\n"
    );
    pair.deliver(A, Transport::Udp, bye.into());
    assert_eq!(field(&pair.last(A, "SIP/2.0 200"), "CSeq"), "77 BYE");
}

#[test]
fn the_2xx_of_a_party_that_has_sent_bye_gets_ack_and_ends_the_call() {
    let mut pair = Pair::new(Network::QUIET);
    let (_, invite) = pair.call_by_hand();
    pair.answer_by_hand(&invite, "180 Ringing", "far", CONTACT);
    pair.take(A);
    fork_leaves(&mut pair, &invite, "far");
    pair.answer_by_hand(&invite, "180 Ringing", "far", CONTACT);
    assert!(pair.take(A).is_empty(), "it rings no more");
    for _ in 0..2 {
        pair.answer_by_hand(&invite, "200 OK", "far", CONTACT);
    }
    assert!(
        matches!(pair.ended(A), Termination::RemoteBye { request } if request.cseq().unwrap().number == 77)
    );
    assert_eq!(
        (pair.sent(A, "ACK").len(), pair.sent(A, "BYE").len(), pair.sent(A, "CANCEL").len()),
        (2, 0, 0)
    );
    pair.assert_nothing_left();
}

#[test]
fn a_party_that_has_sent_bye_and_never_answers_is_cancelled_soon() {
    let mut pair = Pair::new(Network::QUIET);
    let (_, invite) = pair.call_by_hand();
    pair.answer_by_hand(&invite, "183 Session Progress", "far", CONTACT);
    pair.take(A);
    fork_leaves(&mut pair, &invite, "far");
    pair.run(Duration::from_millis(3_999));
    assert!(pair.take(A).is_empty());
    pair.run(Duration::from_millis(2));
    assert!(matches!(pair.ended(A), Termination::RemoteBye { .. }));
    assert_eq!(pair.sent(A, "CANCEL").len(), 1);
    pair.answer_by_hand(&invite, "487 Request Terminated", "far", "");
    assert_eq!(pair.sent(A, "ACK").len(), 1);
    pair.assert_nothing_left();
}

#[test]
fn a_bye_of_one_fork_before_the_answer_leaves_the_other_forks() {
    let mut pair = Pair::new(Network::QUIET);
    let (a, invite) = pair.call_by_hand();
    pair.answer_by_hand(&invite, "180 Ringing", "one", CONTACT);
    pair.answer_by_hand(&invite, "180 Ringing", "two", CONTACT);
    fork_leaves(&mut pair, &invite, "one");
    pair.run(Duration::from_secs(60));
    assert_eq!(pair.take(A).len(), 2, "the other one rings on");
    // All have left, and a proxy goes on to the next one.
    fork_leaves(&mut pair, &invite, "two");
    pair.answer_by_hand(&invite, "180 Ringing", "three", CONTACT);
    pair.run(Duration::from_secs(60));
    assert!(pair.sent(A, "CANCEL").is_empty());
    pair.answer_by_hand(&invite, "200 OK", "three", CONTACT);
    assert!(matches!(
        pair.take(A).as_slice(),
        [Event::Usage { .. }, Event::Usage { event: UsageEvent::Answered { .. }, .. }]
    ));
    pair.answer_by_hand(&invite, "200 OK", "one", CONTACT);
    assert_eq!((pair.sent(A, "ACK").len(), pair.sent(A, "BYE").len()), (2, 0), "it gets no BYE of ours");
    let now = pair.now;
    pair.ends[A].bye(now, a).unwrap();
    pair.flush();
    let bye = pair.last(A, "BYE");
    assert_eq!(field(&bye, "To").split_once(";tag=").unwrap().1, "three");
}

#[test]
fn a_bye_of_the_party_that_we_cancel_changes_nothing_but_our_bye() {
    let mut pair = Pair::new(Network::QUIET);
    let (a, invite) = pair.call_by_hand();
    pair.answer_by_hand(&invite, "180 Ringing", "far", CONTACT);
    pair.take(A);
    let now = pair.now;
    pair.ends[A].cancel(now, a).unwrap();
    pair.flush();
    fork_leaves(&mut pair, &invite, "far");
    assert!(pair.take(A).is_empty());
    pair.answer_by_hand(&invite, "200 OK", "far", CONTACT);
    assert!(matches!(pair.ended(A), Termination::LocalCancel));
    assert_eq!((pair.sent(A, "ACK").len(), pair.sent(A, "BYE").len()), (1, 0));
    pair.assert_nothing_left();
}

#[test]
fn a_retransmitted_2xx_gets_the_same_ack_again() {
    let mut pair = Pair::new(Network::QUIET);
    let (a, invite) = pair.call_by_hand();
    for _ in 0..3 {
        pair.answer_by_hand(&invite, "200 OK", "far", CONTACT);
    }
    assert!(matches!(pair.take(A).as_slice(), [Event::Usage { event: UsageEvent::Answered { .. }, .. }]));
    let acks: Vec<String> =
        pair.wire.iter().filter(|sent| sent.line().starts_with("ACK")).map(|sent| sent.text()).collect();
    assert_eq!(acks.len(), 3);
    assert!(acks.iter().all(|ack| *ack == acks[0]));
    assert_ne!(
        field(&acks[0], "Via"),
        field(&invite, "Via"),
        "the ACK for a 2xx is a transaction of its own"
    );
    let now = pair.now;
    pair.ends[A].bye(now, a).unwrap();
    pair.flush();
    let bye = pair.last(A, "BYE");
    pair.answer_by_hand(&bye, "481 Call/Transaction Does Not Exist", "", "");
    assert!(matches!(pair.ended(A), Termination::LocalBye));
    pair.assert_nothing_left();
}

#[test]
fn early_forks_beyond_the_limit_are_ignored_until_they_answer() {
    let mut pair = Pair::new(Network::QUIET);
    let (_, invite) = pair.call_by_hand();
    for fork in 0..1_000 {
        pair.answer_by_hand(&invite, "180 Ringing", &format!("fork{fork}"), CONTACT);
    }
    pair.take(A);
    pair.answer_by_hand(&invite, "200 OK", "fork999", CONTACT);
    assert!(matches!(pair.take(A).as_slice(), [Event::Usage { event: UsageEvent::Answered { .. }, .. }]));
}

#[test]
fn a_far_end_with_endless_forks_gets_a_bounded_number_of_byes() {
    let mut pair = Pair::new(Network::QUIET);
    let (_, invite) = pair.call_by_hand();
    for fork in 0..200 {
        pair.answer_by_hand(&invite, "200 OK", &format!("fork{fork}"), CONTACT);
    }
    assert_eq!(pair.sent(A, "BYE").len(), 16);
    assert_eq!(pair.take(A).len(), 1);
}

#[test]
fn responses_that_are_not_ours_change_nothing() {
    let mut pair = Pair::new(Network::QUIET);
    let (_, invite) = pair.call_by_hand();
    let good = String::from_utf8(reply(&invite, "200 OK", "far", CONTACT).to_vec()).unwrap();
    let branch = field(&invite, "Via").split_once("branch=").unwrap().1[..33].to_owned();
    let mut other = branch.clone();
    let last = if other.pop() == Some('0') { '1' } else { '0' };
    other.push(last);
    let wrong =
        [good.replace(&branch, &other), good.replace("INVITE", "BYE"), good.replace("INVITE", "CANCEL")];
    for (index, wrong) in wrong.into_iter().enumerate() {
        pair.deliver(A, Transport::Udp, wrong.into());
        assert!(pair.take(A).is_empty());
        assert_eq!(pair.ends[A].counters().stray_responses, index as u64 + 1);
    }
    pair.run(Duration::from_secs(33));
    pair.take(A);
    pair.assert_nothing_left();
}

#[test]
fn a_lost_connection_before_any_response_ends_the_call_and_after_one_does_not() {
    for ringing in [false, true] {
        let mut pair = Pair::new(Network::QUIET);
        let a = pair.call(Transport::Tcp);
        if ringing {
            let b = pair.incoming();
            let now = pair.now;
            pair.ends[B].provisional(now, b, 180, "", None).unwrap();
            pair.settle();
            pair.take(A);
        }
        pair.close(A);
        if ringing {
            assert!(pair.take(A).is_empty());
            let now = pair.now;
            pair.ends[A].cancel(now, a).unwrap();
            pair.settle();
            assert!(matches!(pair.ended(A), Termination::LocalCancel));
        } else {
            assert!(matches!(pair.ended(A), Termination::Unreachable));
        }
    }
}

#[test]
fn a_reliable_provisional_response_gets_one_prack_and_counts_once() {
    let mut pair = Pair::new(Network::QUIET);
    let (a, invite) = pair.call_by_hand();
    let cseq = field(&invite, "CSeq").split(' ').next().unwrap().to_owned();
    let reliable = |rseq: u32| format!("{CONTACT}Require: 100rel\r\nRSeq: {rseq}\r\n");
    for rseq in [700, 700, 702, 701] {
        pair.answer_by_hand(&invite, "183 Session Progress", "far", &reliable(rseq));
    }
    let acknowledged: Vec<String> = pair
        .wire
        .iter()
        .filter(|sent| sent.line().starts_with("PRACK sip:hand@192.0.2.2:5060 "))
        .map(|sent| field(&sent.text(), "RAck").to_owned())
        .collect();
    assert_eq!(acknowledged, [format!("700 {cseq} INVITE"), format!("701 {cseq} INVITE")]);
    assert_eq!(pair.take(A).len(), 2);
    // The ACK has the number of the INVITE; the BYE continues from the last PRACK.
    pair.answer_by_hand(&invite, "200 OK", "far", CONTACT);
    assert_eq!(field(&pair.last(A, "ACK"), "CSeq"), format!("{cseq} ACK"));
    let now = pair.now;
    pair.ends[A].bye(now, a).unwrap();
    pair.flush();
    let next = cseq.parse::<u32>().unwrap() + 3;
    assert_eq!(field(&pair.last(A, "BYE"), "CSeq"), format!("{next} BYE"));
}
