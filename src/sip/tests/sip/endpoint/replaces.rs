//! INVITE with Replaces (RFC 3891 §3).

use b2b_sip::endpoint::{
    Body, EndpointConfig, Event, Extensions, Invite, Replaces, Transport, UsageEvent, UsageId,
};

use super::pair::{A, B, Hand, Network, Pair, config, field};

fn replacing() -> Pair {
    let extensions = Extensions { replaces: true, ..Extensions::default() };
    let configs = [1, 2].map(|end| EndpointConfig { extensions, ..config(end) });
    Pair::with(Network::QUIET, configs, ["192.0.2.1:5060", "192.0.2.2:5060"])
}

/// The call of an end, as the peer of a third party would name it.
fn name(pair: &Pair, end: usize, usage: UsageId) -> Replaces {
    let facts = pair.ends[end].dialog(usage).unwrap();
    Replaces {
        call_id: facts.call_id.to_vec().into(),
        to_tag: facts.local_tag.to_owned().into(),
        from_tag: facts.remote_tag.to_vec().into(),
        early_only: false,
    }
}

/// An INVITE of a third party to B.
fn invite(replaces: &str, nr: u32) -> Hand {
    let extra = format!("Contact: <sip:hand@192.0.2.1>\r\nRequire: replaces\r\nReplaces: {replaces}\r\n");
    Hand { call_id: format!("third{nr}"), branch: format!("z9hG4bKthird{nr}"), extra, ..Hand::invite() }
}

/// The status of B's refusal, or the call that was named.
fn outcome(pair: &mut Pair, replaces: &str, nr: u32) -> Result<UsageId, String> {
    let before = pair.wire.len();
    pair.hand(&invite(replaces, nr));
    match pair.take(B).as_slice() {
        [Event::Incoming { replaces: Some(usage), .. }] => Ok(*usage),
        [] if pair.wire.len() > before => Err(pair.last(B, "SIP/2.0")[8..11].to_owned()),
        other => panic!("{other:?}"),
    }
}

#[test]
fn an_answered_call_is_named_whoever_began_it() {
    let mut pair = replacing();
    let (_, b) = pair.connected(Transport::Udp);
    let named = name(&pair, B, b);
    assert_eq!(outcome(&mut pair, &named.to_string(), 1), Ok(b));
    assert_eq!(pair.ends[B].replaced(&named), Ok(b));
    let early_only = Replaces { early_only: true, ..named.clone() };
    assert_eq!(outcome(&mut pair, &early_only.to_string(), 2), Err("486".to_owned()));
    let swapped =
        Replaces { to_tag: named.from_tag.clone(), from_tag: named.to_tag.clone(), ..named.clone() };
    assert_eq!(outcome(&mut pair, &swapped.to_string(), 3), Err("481".to_owned()));
    let other_call = Replaces { call_id: "other".into(), ..named.clone() };
    assert_eq!(outcome(&mut pair, &other_call.to_string(), 4), Err("481".to_owned()));
    assert_eq!(outcome(&mut pair, "broken", 5), Err("400".to_owned()));
    assert_eq!(outcome(&mut pair, &format!("{named}\r\nReplaces: {named}"), 6), Err("400".to_owned()));
    assert_eq!(outcome(&mut pair, &format!("{named}\r\nJoin: {named}"), 7), Err("400".to_owned()));
    // A BYE is under way.
    let now = pair.now;
    pair.mute[B] = true;
    pair.ends[B].bye(now, b).unwrap();
    pair.flush();
    assert_eq!(outcome(&mut pair, &named.to_string(), 8), Err("603".to_owned()));
}

#[test]
fn an_early_call_is_named_only_by_who_began_it() {
    let mut pair = replacing();
    // A's call to B, which B did not initiate.
    let a = pair.call(Transport::Udp);
    let b = pair.incoming();
    let now = pair.now;
    pair.ends[B].provisional(now, b, 180, "", None).unwrap();
    pair.settle();
    pair.take(A);
    let at_b = name(&pair, B, b);
    assert_eq!(outcome(&mut pair, &at_b.to_string(), 1), Err("481".to_owned()));
    let at_a = name(&pair, A, a);
    assert_eq!(pair.ends[A].replaced(&at_a), Ok(a));
    assert_eq!(pair.ends[A].replaced(&Replaces { early_only: true, ..at_a.clone() }), Ok(a));
    // The new call arrives, and the old one is cancelled.
    let mut third = invite(&at_a.to_string(), 2);
    third.uri = "sip:end1@192.0.2.1".to_owned();
    pair.deliver(A, Transport::Udp, third.data());
    match pair.take(A).as_slice() {
        [Event::Incoming { usage, replaces: Some(old), .. }] if *old == a => {
            let now = pair.now;
            pair.ends[A].answer(now, *usage, Some(Body::sdp("answer"))).unwrap();
            pair.ends[A].cancel(now, *old).unwrap();
        }
        other => panic!("{other:?}"),
    }
    pair.settle();
    assert_eq!(pair.sent(A, "CANCEL").len(), 1);
    assert_eq!(pair.ends[A].replaced(&at_a), Err(481));
}

#[test]
fn replaces_is_offered_and_without_it_refused_or_ignored() {
    let mut pair = replacing();
    pair.connected(Transport::Udp);
    assert_eq!(field(&pair.last(A, "INVITE"), "Supported"), "replaces");
    assert_eq!(field(&pair.last(B, "SIP/2.0 200"), "Supported"), "replaces");

    let mut pair = Pair::new(Network::QUIET);
    let (_, b) = pair.connected(Transport::Udp);
    let named = name(&pair, B, b).to_string();
    pair.hand(&invite(&named, 1));
    assert_eq!(field(&pair.last(B, "SIP/2.0 420"), "Unsupported"), "replaces");
    let mut optional = invite(&named, 2);
    optional.extra = optional.extra.replace("Require: replaces\r\n", "");
    pair.hand(&optional);
    assert!(matches!(pair.take(B).as_slice(), [Event::Incoming { replaces: None, .. }]));
}

#[test]
fn an_attended_transfer_ends_the_replaced_call() {
    let mut pair = replacing();
    let (a, b) = pair.connected(Transport::Udp);
    let named = name(&pair, B, b);
    let now = pair.now;
    let invite = Invite {
        target: pair.uri(B, Transport::Udp),
        headers: vec![("Replaces".into(), named.to_string().into())],
        body: Some(Body::sdp("offer")),
        ..Invite::default()
    };
    let new = pair.ends[A].invite(now, invite).unwrap();
    pair.settle();
    let events = pair.take(B);
    let [Event::Incoming { usage, replaces: Some(old), .. }] = events.as_slice() else {
        panic!("{events:?}")
    };
    assert_eq!(*old, b);
    let now = pair.now;
    pair.ends[B].answer(now, *usage, Some(Body::sdp("answer"))).unwrap();
    pair.ends[B].bye(now, *old).unwrap();
    pair.settle();
    let of = |usage| move |event: &&Event| matches!(event, Event::Usage { usage: it, .. } if *it == usage);
    let events = pair.take(A);
    assert!(matches!(
        events.iter().find(of(a)),
        Some(Event::Usage { event: UsageEvent::Terminated { .. }, .. })
    ));
    assert!(matches!(
        events.iter().find(of(new)),
        Some(Event::Usage { event: UsageEvent::Answered { .. }, .. })
    ));
    let now = pair.now;
    pair.ends[A].bye(now, new).unwrap();
    pair.settle();
    pair.assert_nothing_left();
}
