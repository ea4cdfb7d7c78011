//! Responses of the endpoint itself (RFC 3261 §8.2, §11).

use b2b_sip::endpoint::{EndpointConfig, Event, Reply, Transport, UsageEvent};
use b2b_sip::msg::Method;
use b2b_sip::msg::body::ACCEPT;

use super::pair::{A, B, Hand, Network, Pair, config, field};

/// B's response to one request, of which it keeps nothing.
fn answer(pair: &mut Pair, request: &Hand) -> String {
    pair.hand(request);
    assert!(pair.take(B).is_empty());
    let held = pair.ends[B].holdings();
    assert_eq!((held.usages, held.server_transactions), (0, 0));
    pair.last(B, "SIP/2.0")
}

fn outside(method: &'static str) -> Hand {
    Hand { method, body: "", ..Hand::invite() }
}

#[test]
fn options_tells_what_we_can_do() {
    let mut pair = Pair::new(Network::QUIET);
    for hops in ["70", "0"] {
        let mut options = outside("OPTIONS");
        options.extra = String::new();
        let data = String::from_utf8(options.data().to_vec()).unwrap();
        let data = data.replace("Max-Forwards: 70", &format!("Max-Forwards: {hops}"));
        pair.deliver(B, Transport::Udp, data.into());
        let ok = pair.last(B, "SIP/2.0 200 OK");
        assert!(field(&ok, "Allow").contains("INVITE, ACK, BYE, CANCEL, OPTIONS"), "{ok}");
        assert_eq!(field(&ok, "Accept"), ACCEPT);
        assert!(ok.contains("\r\nSupported:"), "{ok}");
        assert!(field(&ok, "To").contains(";tag="), "{ok}");
    }
}

#[test]
fn unknown_method_gets_405_with_allow() {
    let mut pair = Pair::new(Network::QUIET);
    for method in ["FROBNICATE", "REGISTER", "SUBSCRIBE", "PUBLISH", "REFER", "PRACK"] {
        let refusal = answer(&mut pair, &outside(method));
        assert!(refusal.starts_with("SIP/2.0 405 "), "{refusal}");
        assert!(field(&refusal, "Allow").contains("INVITE"), "{refusal}");
    }
}

#[test]
fn unknown_dialog_gets_481_with_and_without_a_to_tag() {
    let mut pair = Pair::new(Network::QUIET);
    for method in ["BYE", "INFO", "UPDATE", "INVITE", "OPTIONS"] {
        let mut request = outside(method);
        request.to_tag = "00000000000123456789abcdef".to_owned();
        let refusal = answer(&mut pair, &request);
        assert!(refusal.starts_with("SIP/2.0 481 "), "{refusal}");
    }
    let refusal = answer(&mut pair, &outside("BYE"));
    assert!(refusal.starts_with("SIP/2.0 481 "), "{refusal}");
}

#[test]
fn a_tag_of_ours_with_another_call_id_or_remote_tag_is_an_unknown_dialog() {
    let mut pair = Pair::new(Network::QUIET);
    let invite = Hand::invite();
    pair.hand(&invite);
    let b = pair.incoming();
    let now = pair.now;
    pair.ends[B].answer(now, b, None).unwrap();
    pair.flush();
    let ok = pair.last(B, "SIP/2.0 200");
    let mut wrong = [invite.next("BYE", 11, &ok), invite.next("BYE", 12, &ok), invite.next("BYE", 13, &ok)];
    wrong[0].call_id.push('x');
    wrong[1].from_tag.push('x');
    let last = if wrong[2].to_tag.pop() == Some('0') { '1' } else { '0' };
    wrong[2].to_tag.push(last);
    for bye in &wrong {
        pair.hand(bye);
        assert!(pair.last(B, "SIP/2.0").starts_with("SIP/2.0 481 "));
    }
    assert!(pair.take(B).is_empty());
}

#[test]
fn no_hops_left_gets_483() {
    let mut pair = Pair::new(Network::QUIET);
    let data = String::from_utf8(Hand::invite().data().to_vec()).unwrap();
    pair.deliver(B, Transport::Udp, data.replace("Max-Forwards: 70", "Max-Forwards: 0").into());
    assert!(pair.last(B, "SIP/2.0").starts_with("SIP/2.0 483 "));
    assert!(pair.take(B).is_empty());
}

#[test]
fn an_extension_that_is_required_gets_420_with_its_name() {
    let mut pair = Pair::new(Network::QUIET);
    let mut invite = Hand::invite();
    invite.extra.push_str("Require: 100rel, nothingSupportsThis\r\nRequire: timer\r\n");
    let refusal = answer(&mut pair, &invite);
    assert!(refusal.starts_with("SIP/2.0 420 "), "{refusal}");
    assert_eq!(field(&refusal, "Unsupported"), "100rel, nothingSupportsThis, timer");
}

#[test]
fn an_unknown_uri_scheme_gets_416() {
    let mut pair = Pair::new(Network::QUIET);
    let mut invite = Hand::invite();
    invite.uri = "nobodyKnowsThisScheme:totallyopaquecontent".to_owned();
    assert!(answer(&mut pair, &invite).starts_with("SIP/2.0 416 "));
}

#[test]
fn another_version_gets_505() {
    let mut pair = Pair::new(Network::QUIET);
    let data = String::from_utf8(Hand::invite().data().to_vec()).unwrap();
    pair.deliver(B, Transport::Udp, data.replacen(" SIP/2.0\r\n", " SIP/7.0\r\n", 1).into());
    assert!(pair.last(B, "SIP/2.0").starts_with("SIP/2.0 505 "));
}

#[test]
fn missing_to_from_call_id_and_cseq_get_400_where_it_can_be_said() {
    for missing in ["To", "From", "Call-ID", "CSeq", "Via"] {
        let mut pair = Pair::new(Network::QUIET);
        let data = String::from_utf8(Hand::invite().data().to_vec()).unwrap();
        let kept: String =
            data.split_inclusive("\r\n").filter(|line| !line.starts_with(&format!("{missing}:"))).collect();
        pair.deliver(B, Transport::Udp, kept.into());
        assert!(pair.take(B).is_empty());
        assert_eq!(pair.ends[B].counters().malformed, 1, "{missing}");
        if matches!(missing, "CSeq" | "Via") {
            assert!(pair.wire.is_empty(), "without {missing} nobody could match the answer");
        } else {
            assert!(pair.last(B, "SIP/2.0").starts_with("SIP/2.0 400 "), "{missing}");
        }
    }
}

#[test]
fn a_broken_via_and_a_request_line_too_long_are_answered_where_they_came_from() {
    let mut pair = Pair::new(Network::QUIET);
    let invite = String::from_utf8(Hand::invite().data().to_vec()).unwrap();
    let broken = invite.replace("192.0.2.1;branch=z9hG4bKhand1;rport", "192.0.2.15;;,;,,");
    pair.deliver(B, Transport::Udp, broken.into());
    assert!(pair.last(B, "SIP/2.0").starts_with("SIP/2.0 400 "));
    assert_eq!(pair.wire.last().unwrap().to, pair.addresses[A]);
    let long = invite.replace("sip:callee@", &format!("sip:{}@", "c".repeat(9_000)));
    pair.deliver(B, Transport::Udp, long.into());
    assert!(pair.last(B, "SIP/2.0").starts_with("SIP/2.0 513 "));
    assert!(pair.take(B).is_empty());
}

#[test]
fn missing_contact_gets_400() {
    let mut pair = Pair::new(Network::QUIET);
    let mut invite = Hand::invite();
    invite.extra = String::new();
    let refusal = answer(&mut pair, &invite);
    assert!(refusal.starts_with("SIP/2.0 400 ") && refusal.contains("Contact"), "{refusal}");
}

#[test]
fn merged_request_gets_482_and_a_retransmission_does_not() {
    let mut pair = Pair::new(Network::QUIET);
    let invite = Hand::invite();
    pair.hand(&invite);
    pair.incoming();
    let merged = Hand { branch: "z9hG4bKotherway".to_owned(), ..Hand::invite() };
    pair.hand(&merged);
    assert!(pair.last(B, "SIP/2.0").starts_with("SIP/2.0 482 "));
    pair.hand(&invite);
    assert!(pair.take(B).is_empty());
    assert_eq!(pair.sent(B, "SIP/2.0 482").len(), 1);
    assert_eq!(pair.ends[B].counters().merged, 1);
    // Another CSeq means another request: the caller tries again.
    let again = Hand { branch: "z9hG4bKagain".to_owned(), cseq: 11, ..Hand::invite() };
    pair.hand(&again);
    assert!(matches!(pair.take(B).as_slice(), [Event::Incoming { .. }]));
}

#[test]
fn a_branch_of_a_fork_to_another_uri_is_no_merged_request() {
    let mut pair = Pair::new(Network::QUIET);
    pair.hand(&Hand::invite());
    pair.incoming();
    let branch = "z9hG4bKbranch2".to_owned();
    pair.hand(&Hand { branch, uri: "sip:another@192.0.2.2".to_owned(), ..Hand::invite() });
    assert!(matches!(pair.take(B).as_slice(), [Event::Incoming { .. }]));
}

#[test]
fn a_request_counts_as_merged_until_its_refusal_is_acknowledged() {
    let mut pair = Pair::new(Network::QUIET);
    let invite = Hand::invite();
    let other = |branch: &str| Hand { branch: branch.to_owned(), ..Hand::invite() };
    pair.hand(&invite);
    let b = pair.incoming();
    let now = pair.now;
    pair.ends[B].reject(now, b, 486, "").unwrap();
    pair.flush();
    let busy = pair.last(B, "SIP/2.0 486");
    pair.hand(&other("z9hG4bKearly"));
    assert_eq!(pair.sent(B, "SIP/2.0 482").len(), 1);
    pair.hand(&Hand { branch: invite.branch.clone(), ..invite.next("ACK", 10, &busy) });
    pair.take(B);
    pair.hand(&other("z9hG4bKlate"));
    assert_eq!(pair.sent(B, "SIP/2.0 482").len(), 1);
    pair.incoming();
}

#[test]
fn a_request_counts_as_merged_while_the_call_that_it_began_lives() {
    let mut pair = Pair::new(Network::QUIET);
    let invite = Hand::invite();
    let (b, ok) = pair.answers(&invite);
    pair.hand(&invite.next("ACK", 10, &ok));
    pair.take(B);
    let other = |branch: &str| Hand { branch: branch.to_owned(), ..Hand::invite() };
    pair.run(std::time::Duration::from_secs(120));
    pair.hand(&other("z9hG4bKcopy"));
    assert_eq!(pair.sent(B, "SIP/2.0 482").len(), 1);
    let now = pair.now;
    pair.ends[B].bye(now, b).unwrap();
    pair.run(std::time::Duration::from_secs(120));
    pair.take(B);
    pair.hand(&other("z9hG4bKagain"));
    pair.incoming();
}

#[test]
fn a_contact_that_is_no_sip_uri_gets_400_and_leaves_a_target_as_it_is() {
    let mut pair = Pair::new(Network::QUIET);
    for contact in ["tel:+12025550123", "mailto:a@h.example", "http://192.0.2.1/"] {
        let extra = format!("Contact: <{contact}>\r\n");
        let refusal = answer(&mut pair, &Hand { extra, ..Hand::invite() });
        assert!(refusal.starts_with("SIP/2.0 400 ") && refusal.contains("Contact"), "{refusal}");
    }
}

#[test]
fn a_405_of_the_user_has_allow() {
    let taking = EndpointConfig { outside: vec![Method::Message], ..config(2) };
    let mut pair = Pair::with(Network::QUIET, [config(1), taking], ["192.0.2.1:5060", "192.0.2.2:5060"]);
    pair.hand(&outside("MESSAGE"));
    let events = pair.take(B);
    let [Event::Request { transaction, .. }] = events.as_slice() else { panic!("{events:?}") };
    let now = pair.now;
    pair.ends[B].respond(now, *transaction, Reply::status(405)).unwrap();
    pair.flush();
    assert!(field(&pair.last(B, "SIP/2.0 405"), "Allow").contains("INVITE"));
}

#[test]
fn stray_ack_is_dropped() {
    let mut pair = Pair::new(Network::QUIET);
    pair.hand(&outside("ACK"));
    let mut in_dialog = outside("ACK");
    in_dialog.to_tag = "00000000000123456789abcdef".to_owned();
    pair.hand(&in_dialog);
    assert!(pair.wire.is_empty());
    assert_eq!(pair.ends[B].counters().stray_acks, 2);
    assert!(pair.take(B).is_empty());
}

#[test]
fn line_ends_and_rubbish_are_dropped() {
    let mut pair = Pair::new(Network::QUIET);
    for data in [&b"\r\n\r\n"[..], b"", b"\0\0\0\0", b"GET / HTTP/1.1\r\n\r\n", b"SIP/2.0 200 OK\r\n\r\n"] {
        pair.deliver(B, Transport::Udp, bytes::Bytes::from_static(data));
    }
    assert!(pair.wire.is_empty());
    assert!(pair.take(B).is_empty());
}

#[test]
fn refusals_have_the_same_tag_for_each_retransmission_and_another_for_each_request() {
    let mut pair = Pair::new(Network::QUIET);
    let tag = |text: String| field(&text, "To").split_once(";tag=").unwrap().1.to_owned();
    let first = tag(answer(&mut pair, &outside("BYE")));
    let second = tag(answer(&mut pair, &outside("BYE")));
    let other = tag(answer(&mut pair, &Hand { call_id: "other".to_owned(), ..outside("BYE") }));
    assert_eq!(first, second);
    assert_ne!(first, other);
}

#[test]
fn accepted_methods_come_up_and_are_answered() {
    let accepting = EndpointConfig { outside: vec![Method::Message], ..config(2) };
    let mut pair = Pair::with(Network::QUIET, [config(1), accepting], ["192.0.2.1:5060", "192.0.2.2:5060"]);
    let message = outside("MESSAGE");
    pair.hand(&message);
    pair.hand(&message);
    let events = pair.take(B);
    let [Event::Request { transaction, .. }] = events.as_slice() else { panic!("{events:?}") };
    let reply = Reply { headers: vec![("X-Seen".into(), "yes".into())], ..Reply::status(202) };
    let now = pair.now;
    pair.ends[B].respond(now, *transaction, reply).unwrap();
    pair.flush();
    assert_eq!(field(&pair.last(B, "SIP/2.0 202 Accepted"), "X-Seen"), "yes");
    pair.hand(&message);
    assert_eq!(pair.sent(B, "SIP/2.0 202").len(), 2, "the same answer for the retransmission");
    assert!(pair.ends[B].respond(now, *transaction, Reply::status(200)).is_err());
    assert!(pair.take(B).is_empty());
    pair.assert_nothing_left();
}

#[test]
fn an_accepted_request_that_nobody_answers_is_forgotten() {
    let accepting = EndpointConfig { outside: vec![Method::Message], ..config(2) };
    let mut pair = Pair::with(Network::QUIET, [config(1), accepting], ["192.0.2.1:5060", "192.0.2.2:5060"]);
    pair.hand(&outside("MESSAGE"));
    assert_eq!(pair.take(B).len(), 1);
    pair.assert_nothing_left();
}

#[test]
fn control_characters_do_not_get_out() {
    let mut pair = Pair::new(Network::QUIET);
    let now = pair.now;
    let invite = |from: &'static str, name: &'static str, value: &'static str| b2b_sip::endpoint::Invite {
        target: "sip:b@192.0.2.2".into(),
        from: Some(from.into()),
        headers: vec![(name.into(), value.into())],
        ..Default::default()
    };
    for bad in [
        invite("<sip:a@b>\r\nEvil: yes", "X-A", "b"),
        invite("<sip:a@b>", "X-A", "b\r\nEvil: yes"),
        invite("<sip:a@b>", "X A", "b"),
        invite("<sip:a@b>", "v", "SIP/2.0/UDP evil"),
    ] {
        assert!(pair.ends[A].invite(now, bad).is_err());
    }
    let hand = Hand::invite();
    pair.hand(&hand);
    let b = pair.incoming();
    pair.ends[B].reject(now, b, 486, "Busy\r\nEvil: yes").unwrap();
    pair.flush();
    assert!(pair.wire.iter().all(|sent| !sent.text().contains("\nEvil")));
    let ended = pair.take(B);
    assert!(matches!(ended.as_slice(), [Event::Usage { event: UsageEvent::Terminated { .. }, .. }]));
}
