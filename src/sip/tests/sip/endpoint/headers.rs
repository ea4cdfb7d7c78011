//! A B2BUA's own parts in the messages of a call: header fields, Max-Forwards, Contact, the
//! path of the INVITE (RFC 3261 §8.1.1, RFC 3326).

use std::net::SocketAddr;
use std::time::Duration;

use b2b_sip::endpoint::{
    Advertised, Body, CommandError, EndpointConfig, Event, HeaderFields, Invite, InviteError, Reply,
    Termination, Transport, UsageEvent,
};
use bytes::Bytes;

use super::pair::{A, B, Hand, Network, Pair, config, field, reply};

const CONTACT: &str = "Contact: <sip:hand@192.0.2.2:5060>\r\n";

/// One header field.
fn one(name: &'static str, value: &'static str) -> HeaderFields {
    vec![(Bytes::from_static(name.as_bytes()), Bytes::from_static(value.as_bytes()))]
}

const BUSY: &str = "Q.850;cause=17;text=\"User busy\"";

#[test]
fn responses_to_an_invite_carry_the_users_header_fields() {
    let mut pair = Pair::new(Network::QUIET);
    pair.call(Transport::Udp);
    let b = pair.incoming();
    let now = pair.now;
    let early = Reply {
        headers: one("P-Asserted-Identity", "<sip:b@example.com>"),
        body: Some(Body::sdp("early")),
        ..Reply::status(183)
    };
    pair.ends[B].reply(now, b, early).unwrap();
    let refused = Reply { headers: one("Reason", BUSY), ..Reply::status(486) };
    pair.ends[B].reply(now, b, refused).unwrap();
    pair.settle();
    let early = pair.last(B, "SIP/2.0 183");
    assert_eq!(field(&early, "P-Asserted-Identity"), "<sip:b@example.com>");
    assert!(early.ends_with("early"));
    let events = pair.take(A);
    let [
        Event::Usage { event: UsageEvent::Provisional { response, .. }, .. },
        Event::Usage {
            event: UsageEvent::Terminated { cause: Termination::Failed { response: last } }, ..
        },
    ] = events.as_slice()
    else {
        panic!("{events:?}")
    };
    assert!(response.to_tag().is_some() && response.to_tag() == last.to_tag(), "the same early dialog");
    assert_eq!(last.header(b2b_sip::msg::Name::Reason), Some(BUSY.as_bytes()));
}

#[test]
fn a_redirection_names_where_else_to_try() {
    let mut pair = Pair::new(Network::QUIET);
    pair.call(Transport::Udp);
    let b = pair.incoming();
    let now = pair.now;
    let contact = one("Contact", "<sip:other@192.0.2.7>;q=0.5");
    let redirect = Reply { headers: contact.clone(), ..Reply::status(302) };
    pair.ends[B].reply(now, b, redirect).unwrap();
    pair.flush();
    assert_eq!(field(&pair.last(B, "SIP/2.0 302"), "Contact"), "<sip:other@192.0.2.7>;q=0.5");
}

#[test]
fn header_fields_that_are_the_endpoints_own_are_refused_and_nothing_is_sent() {
    let mut pair = Pair::new(Network::QUIET);
    let (a, b) = pair.connected(Transport::Udp);
    let before = pair.wire.len();
    let now = pair.now;
    for headers in [one("Via", "SIP/2.0/UDP x"), one("Contact", "<sip:a@b>"), one("Reason", "a\r\nEvil: 1")] {
        let refused = |result| assert!(matches!(result, Err(CommandError::BadHeader { .. })), "{headers:?}");
        refused(pair.ends[A].bye_with(now, a, headers.clone(), None));
        refused(pair.ends[A].reinvite_with(now, a, headers.clone(), None));
        refused(pair.ends[A].update_with(now, a, headers.clone(), None));
        refused(pair.ends[B].reply(now, b, Reply { headers: headers.clone(), ..Reply::status(180) }));
    }
    pair.settle();
    assert_eq!(pair.wire.len(), before);
}

#[test]
fn a_bye_says_why_and_so_does_one_that_waits_for_its_ack() {
    for acknowledged in [true, false] {
        let mut pair = Pair::new(Network::QUIET);
        let invite = Hand::invite();
        let (b, ok) = pair.answers(&invite);
        let ack = invite.next("ACK", 10, &ok);
        if acknowledged {
            pair.hand(&ack);
        }
        let now = pair.now;
        pair.ends[B].bye_with(now, b, one("Reason", BUSY), None).unwrap();
        pair.flush();
        if !acknowledged {
            pair.hand(&ack);
        }
        assert_eq!(field(&pair.last(B, "BYE"), "Reason"), BUSY);
    }
}

#[test]
fn a_cancel_says_why_and_its_reason_comes_up() {
    let elsewhere = "SIP;cause=200;text=\"Call completed elsewhere\"";
    let mut pair = Pair::new(Network::QUIET);
    let a = pair.call(Transport::Udp);
    let now = pair.now;
    // Before any provisional response: the CANCEL has to wait, and keeps its reason.
    pair.ends[A].cancel_with(now, a, one("Reason", elsewhere)).unwrap();
    let b = pair.incoming();
    let now = pair.now;
    pair.ends[B].provisional(now, b, 180, "", None).unwrap();
    pair.settle();
    assert_eq!(field(&pair.last(A, "CANCEL"), "Reason"), elsewhere);
    match pair.ended(B) {
        Termination::RemoteCancel { request } => {
            assert_eq!(request.header(b2b_sip::msg::Name::Reason), Some(elsewhere.as_bytes()));
        }
        other => panic!("{other:?}"),
    }
    assert!(matches!(pair.ended(A), Termination::LocalCancel));
    pair.assert_nothing_left();
}

#[test]
fn a_2xx_that_crosses_the_cancel_gets_its_reason_in_the_bye() {
    let mut pair = Pair::new(Network::QUIET);
    let (a, invite) = pair.call_by_hand();
    let now = pair.now;
    pair.ends[A].cancel_with(now, a, one("Reason", BUSY)).unwrap();
    pair.answer_by_hand(&invite, "200 OK", "far", CONTACT);
    assert_eq!(field(&pair.last(A, "BYE"), "Reason"), BUSY);
}

#[test]
fn max_forwards_contact_user_and_header_fields_of_an_invite_are_the_users() {
    let mut pair = Pair::new(Network::QUIET);
    let now = pair.now;
    let invite = Invite {
        target: pair.uri(B, Transport::Udp),
        max_forwards: Some(17),
        contact_user: Some("line1".into()),
        headers: one("P-Asserted-Identity", "<sip:a@example.com>"),
        body: Some(Body::sdp("offer")),
        ..Invite::default()
    };
    let bad = Invite { contact_user: Some("a>b".into()), ..invite.clone() };
    assert!(matches!(pair.ends[A].invite(now, bad), Err(InviteError::BadHeader { .. })));
    let a = pair.ends[A].invite(now, invite).unwrap();
    let b = pair.incoming();
    let sent = pair.last(A, "INVITE");
    assert_eq!(field(&sent, "Max-Forwards"), "17");
    assert_eq!(field(&sent, "Contact"), "<sip:line1@192.0.2.1:5060>");
    assert_eq!(field(&sent, "P-Asserted-Identity"), "<sip:a@example.com>");
    // The Contact stays the same for the whole call.
    let now = pair.now;
    pair.ends[B].answer(now, b, Some(Body::sdp("answer"))).unwrap();
    pair.settle();
    let now = pair.now;
    pair.ends[A].reinvite_with(now, a, one("Subject", "hold"), Some(Body::sdp("hold"))).unwrap();
    pair.settle();
    let again = pair.last(A, "INVITE");
    assert_eq!(field(&again, "Contact"), "<sip:line1@192.0.2.1:5060>");
    assert_eq!((field(&again, "Subject"), field(&again, "Max-Forwards")), ("hold", "70"));
    let now = pair.now;
    pair.ends[B].bye(now, b).unwrap();
    pair.flush();
    assert!(pair.last(B, "BYE").starts_with("BYE sip:line1@192.0.2.1:5060 "));
}

#[test]
fn an_advertised_address_stands_in_via_and_contact_of_everything() {
    let listener: SocketAddr = "192.0.2.1:5060".parse().unwrap();
    let advertised = |inside| {
        let host = "203.0.113.9".to_owned();
        vec![Advertised { listener, transport: None, host, port: Some(6_060), inside }]
    };
    for (inside, expected) in
        [(Vec::new(), "203.0.113.9:6060"), (vec![("192.0.2.0".parse().unwrap(), 24)], "192.0.2.1:5060")]
    {
        let a = EndpointConfig { advertised: advertised(inside), ..config(1) };
        let mut pair = Pair::with(Network::QUIET, [a, config(2)], ["192.0.2.1:5060", "192.0.2.2:5060"]);
        pair.call(Transport::Udp);
        let invite = pair.last(A, "INVITE");
        assert!(field(&invite, "Via").starts_with(&format!("SIP/2.0/UDP {expected};branch=")), "{invite}");
        assert_eq!(field(&invite, "Contact"), format!("<sip:end1@{expected}>"));
        assert!(field(&invite, "From").starts_with(&format!("<sip:end1@{expected}>;tag=")), "{invite}");
    }
}

#[test]
fn an_invite_over_a_flow_stays_on_it_whatever_contact_says() {
    for transport in [Transport::Udp, Transport::Tcp] {
        let mut pair = Pair::new(Network::QUIET);
        let flow = pair.flow(A, transport);
        if transport == Transport::Tcp {
            // The phone has used this connection.
            pair.deliver(A, transport, "OPTIONS sip:a SIP/2.0\r\n\r\n".into());
        }
        let now = pair.now;
        let private = "sip:phone@10.9.8.7:1234";
        let a = pair.ends[A]
            .invite(
                now,
                Invite {
                    target: private.into(),
                    flow: Some(flow),
                    body: Some(Body::sdp(vec![b'x'; 1_400])),
                    ..Invite::default()
                },
            )
            .unwrap();
        let b = pair.incoming();
        let now = pair.now;
        pair.ends[B].answer(now, b, Some(Body::sdp("answer"))).unwrap();
        pair.flush();
        let ok = pair.last(B, "SIP/2.0 200");
        let text = reply(&pair.last(A, "INVITE"), "200 OK", "far", &format!("Contact: <{private}>\r\n"));
        assert!(ok.starts_with("SIP/2.0 200"));
        pair.deliver(A, transport, text);
        let now = pair.now;
        pair.ends[A].bye(now, a).unwrap();
        pair.flush();
        for what in ["INVITE", "ACK", "BYE"] {
            let sent = pair.wire.iter().find(|sent| sent.from == A && sent.line().starts_with(what)).unwrap();
            assert!(sent.line().starts_with(&format!("{what} {private} ")), "{}", sent.line());
            assert_eq!((sent.transport, sent.to), (transport, pair.addresses[B]), "{what}");
        }
    }
}

#[test]
fn a_caller_behind_a_nat_is_reached_by_its_flow_once_the_user_says_so() {
    let mut pair = Pair::new(Network::QUIET);
    let mut invite = Hand::invite();
    invite.extra = "Contact: <sip:phone@10.9.8.7:1234>\r\n".to_owned();
    pair.hand(&invite);
    let b = pair.incoming();
    let now = pair.now;
    pair.ends[B].keep_flow(b, true).unwrap();
    pair.ends[B].answer(now, b, Some(Body::sdp("answer"))).unwrap();
    pair.flush();
    pair.hand(&invite.next("ACK", 10, &pair.last(B, "SIP/2.0 200")));
    let now = pair.now;
    pair.ends[B].bye(now, b).unwrap();
    pair.flush();
    let bye = pair.wire.last().unwrap();
    assert_eq!((bye.line().as_str(), bye.to), ("BYE sip:phone@10.9.8.7:1234 SIP/2.0", pair.addresses[A]));
}

#[test]
fn an_outbound_proxy_gets_the_invite_and_stands_in_no_route() {
    let mut pair = Pair::new(Network::QUIET);
    let now = pair.now;
    let invite = Invite {
        target: "sip:+4420@carrier.example.com".into(),
        outbound: Some("sip:192.0.2.2:5080".into()),
        body: Some(Body::sdp("offer")),
        ..Invite::default()
    };
    pair.ends[A].invite(now, invite.clone()).unwrap();
    pair.flush();
    let sent = pair.wire.last().unwrap();
    assert_eq!(sent.line(), "INVITE sip:+4420@carrier.example.com SIP/2.0");
    assert_eq!(sent.to.to_string(), "192.0.2.2:5080");
    assert!(!sent.text().contains("\nRoute:"));
    let nowhere = Invite { outbound: Some("tel:+1".into()), ..invite };
    assert!(matches!(pair.ends[A].invite(now, nowhere), Err(InviteError::BadHeader { .. })));
}

#[test]
fn a_challenged_invite_goes_on_with_credentials_in_the_same_call() {
    for transport in [Transport::Udp, Transport::Tcp] {
        let mut pair = Pair::new(Network::QUIET);
        let now = pair.now;
        let invite = Invite {
            target: pair.uri(B, transport),
            headers: one("Subject", "kept"),
            body: Some(Body::sdp("offer")),
            authorizes: true,
            ..Invite::default()
        };
        let a = pair.ends[A].invite(now, invite).unwrap();
        let b = pair.incoming();
        let now = pair.now;
        let challenge = one("Proxy-Authenticate", "Digest realm=\"r\", nonce=\"n\"");
        pair.ends[B].reply(now, b, Reply { headers: challenge, ..Reply::status(407) }).unwrap();
        pair.settle();
        assert!(matches!(pair.ended(B), Termination::Rejected { status: 407 }));
        let events = pair.take(A);
        assert!(
            matches!(events.as_slice(), [Event::Usage { event: UsageEvent::Challenged { response }, .. }]
                if response.header(b2b_sip::msg::Name::ProxyAuthenticate).is_some()),
            "{events:?}"
        );
        let first = pair.last(A, "INVITE");
        let now = pair.now;
        pair.ends[A].authorize(now, a, one("Proxy-Authorization", "Digest response=\"1\"")).unwrap();
        assert!(pair.ends[A].authorize(now, a, Vec::new()).is_err(), "once");
        let b = pair.incoming();
        let second = pair.last(A, "INVITE");
        assert_eq!(field(&first, "Call-ID"), field(&second, "Call-ID"));
        assert_eq!(field(&first, "From"), field(&second, "From"));
        assert_eq!(field(&second, "To"), field(&first, "To"), "no tag of the refusal");
        assert_ne!(field(&first, "Via"), field(&second, "Via"));
        let number = |text: &str| field(text, "CSeq").split(' ').next().unwrap().parse::<u32>().unwrap();
        assert_eq!(number(&second), number(&first) + 1);
        assert_eq!(field(&second, "Proxy-Authorization"), "Digest response=\"1\"");
        assert_eq!(field(&second, "Subject"), "kept");
        assert!(second.ends_with("offer"));
        let now = pair.now;
        pair.ends[B].answer(now, b, Some(Body::sdp("answer"))).unwrap();
        pair.settle();
        assert!(matches!(pair.take(A).as_slice(), [Event::Usage { event: UsageEvent::Answered { .. }, .. }]));
        pair.run(Duration::from_secs(40));
        let now = pair.now;
        pair.ends[A].bye(now, a).unwrap();
        pair.settle();
        assert!(matches!(pair.ended(A), Termination::LocalBye));
        pair.assert_nothing_left();
    }
}

#[test]
fn a_challenge_that_nobody_meets_ends_the_call_with_it() {
    for cancelled in [true, false] {
        let mut pair = Pair::new(Network::QUIET);
        let now = pair.now;
        let target = pair.uri(B, Transport::Udp);
        let a = pair.ends[A].invite(now, Invite { target, authorizes: true, ..Invite::default() }).unwrap();
        let b = pair.incoming();
        let now = pair.now;
        pair.ends[B].reject(now, b, 401, "").unwrap();
        pair.settle();
        pair.take(A);
        if cancelled {
            let now = pair.now;
            pair.ends[A].cancel(now, a).unwrap();
            pair.settle();
            assert!(matches!(pair.ended(A), Termination::LocalCancel));
        } else {
            // Longer than Timer D: the refused transaction ends first.
            pair.run(Duration::from_secs(33));
            assert!(matches!(pair.ended(A), Termination::Failed { response } if response.status() == 401));
        }
        pair.assert_nothing_left();
    }
}

#[test]
fn endless_challenges_end_the_call() {
    let mut pair = Pair::new(Network::QUIET);
    let now = pair.now;
    let target = pair.uri(B, Transport::Udp);
    let a = pair.ends[A].invite(now, Invite { target, authorizes: true, ..Invite::default() }).unwrap();
    for _ in 0..100 {
        pair.settle();
        if let Some(Event::Incoming { usage, .. }) = pair.take(B).last() {
            let now = pair.now;
            pair.ends[B].reject(now, *usage, 401, "").unwrap();
        }
        pair.settle();
        let now = pair.now;
        let _ = pair.ends[A].authorize(now, a, one("Authorization", "Digest response=\"1\""));
    }
    assert_eq!(pair.sent(A, "INVITE").len(), 9);
    let last = pair.take(A).pop();
    assert!(matches!(
        last,
        Some(Event::Usage { event: UsageEvent::Terminated { cause: Termination::Failed { .. } }, .. })
    ));
    pair.assert_nothing_left();
}

#[test]
fn a_challenged_bye_goes_on_with_credentials() {
    for met in [true, false] {
        let mut pair = Pair::new(Network::QUIET);
        pair.deaf[B] = true;
        pair.mute[B] = true;
        let now = pair.now;
        let target = pair.uri(B, Transport::Udp);
        let body = Some(Body::sdp("offer"));
        let invite = Invite { target, body, authorizes: true, ..Invite::default() };
        let a = pair.ends[A].invite(now, invite).unwrap();
        pair.flush();
        pair.answer_by_hand(&pair.last(A, "INVITE"), "200 OK", "far", CONTACT);
        let now = pair.now;
        pair.ends[A].bye_with(now, a, one("Reason", BUSY), None).unwrap();
        pair.flush();
        pair.take(A);
        let bye = pair.last(A, "BYE");
        pair.answer_by_hand(&bye, "407 Proxy Authentication Required", "", "");
        assert!(matches!(
            pair.take(A).as_slice(),
            [Event::Usage { event: UsageEvent::Challenged { .. }, .. }]
        ));
        if met {
            let now = pair.now;
            pair.ends[A].authorize(now, a, one("Proxy-Authorization", "Digest x=\"1\"")).unwrap();
            pair.flush();
            let again = pair.last(A, "BYE");
            assert_eq!(
                (field(&again, "Proxy-Authorization"), field(&again, "Reason")),
                ("Digest x=\"1\"", BUSY)
            );
            assert_ne!(field(&again, "CSeq"), field(&bye, "CSeq"));
            pair.answer_by_hand(&again, "200 OK", "", "");
            assert!(matches!(pair.ended(A), Termination::LocalBye));
        } else {
            pair.run(Duration::from_secs(33));
            assert!(matches!(pair.ended(A), Termination::ByeUnanswered));
        }
        pair.assert_nothing_left();
    }
}

#[test]
fn a_challenged_prack_goes_on_with_credentials() {
    let mut pair = Pair::new(Network::QUIET);
    let (a, invite) = pair.call_by_hand();
    pair.ends[A].authorizes_inside(a).unwrap();
    for fork in ["near", "far"] {
        let early = format!("Require: 100rel\r\nRSeq: 7\r\nContact: <sip:{fork}@192.0.2.2>\r\n");
        pair.answer_by_hand(&invite, "183 Session Progress", fork, &early);
    }
    let pracks = pair.wire.iter().filter(|sent| sent.from == A && sent.line().starts_with("PRACK"));
    let pracks: Vec<String> = pracks.map(|sent| sent.text()).collect();
    assert_eq!(pracks.len(), 2);
    for prack in pracks {
        pair.take(A);
        pair.answer_by_hand(&prack, "407 Proxy Authentication Required", "", "");
        let events = pair.take(A);
        let [Event::Usage { event: UsageEvent::RequestChallenged { challenge }, .. }] = &events[..] else {
            panic!("{events:?}")
        };
        assert!(prack.starts_with(&format!("PRACK {} ", String::from_utf8_lossy(&challenge.uri))), "{prack}");
        let now = pair.now;
        let credentials = one("Proxy-Authorization", "Digest x=\"1\"");
        pair.ends[A].authorize_request(now, a, challenge.cseq, credentials).unwrap();
        pair.flush();
        let again = pair.last(A, "PRACK");
        assert_eq!(field(&again, "Proxy-Authorization"), "Digest x=\"1\"");
        for same in ["RAck", "To", "Call-ID"] {
            assert_eq!(field(&again, same), field(&prack, same), "its own early dialog");
        }
        assert_ne!(field(&again, "CSeq"), field(&prack, "CSeq"));
    }
}
