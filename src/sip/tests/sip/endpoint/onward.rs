//! A call that causes another one: Max-Forwards, and loops (RFC 3261 §8.1.1.6).

use b2b_sip::endpoint::{Body, Event, Invite, Termination};
use b2b_sip::msg::Request;

use super::pair::{A, B, Hand, Network, Pair, field};

/// B receives an INVITE: returns the request, or the status of B's refusal.
fn taken(pair: &mut Pair, invite: &Hand) -> Result<Request, String> {
    let before = pair.wire.len();
    pair.hand(invite);
    match pair.take(B).pop() {
        Some(Event::Incoming { request, .. }) => Ok(request),
        None if pair.wire.len() > before => Err(pair.last(B, "SIP/2.0")[8..11].to_owned()),
        other => panic!("{other:?}"),
    }
}

/// The INVITE that B makes from a received one, as it would return by way of others.
fn comes_back(pair: &mut Pair, request: &Request, nr: u32) -> Hand {
    let mut invite = Invite {
        target: "sip:elsewhere@192.0.2.1".into(),
        body: Some(Body::sdp("offer")),
        ..Invite::default()
    };
    pair.ends[B].onward(request).apply(&mut invite);
    let now = pair.now;
    pair.ends[B].invite(now, invite).unwrap();
    pair.flush();
    let sent = pair.last(B, "INVITE");
    let mut back = Hand {
        call_id: format!("back{nr}"),
        branch: format!("z9hG4bKback{nr}"),
        from_tag: format!("back{nr}"),
        ..Hand::invite()
    };
    for line in sent.lines().filter(|line| line.starts_with("B2b-Hop: ")) {
        back.extra.push_str(&format!("{line}\r\n"));
    }
    back
}

#[test]
fn hops_are_taken_off_for_the_next_call() {
    let mut pair = Pair::new(Network::QUIET);
    let mut invite = Hand::invite();
    invite.extra.push_str("B2b-Hop: 0123456789abcdef\r\nB2b-Hop: not one of ours\r\n");
    let request = taken(&mut pair, &invite).unwrap();
    let onward = pair.ends[B].onward(&request);
    assert_eq!(onward.max_forwards, 69);
    assert_eq!(onward.headers.len(), 2, "{:?}", onward.headers);
    assert_eq!(onward.headers[0].1, "0123456789abcdef");
    comes_back(&mut pair, &request, 1);
    let sent = pair.last(B, "INVITE");
    assert_eq!(field(&sent, "Max-Forwards"), "69");
    let address = pair.addresses[A].ip().to_string();
    let mark = sent.lines().filter_map(|line| line.strip_prefix("B2b-Hop: ")).next_back().unwrap();
    assert!(mark.len() == 16 && !mark.contains(&address), "it tells nothing");
}

#[test]
fn a_call_that_comes_back_is_refused_and_a_spiral_is_not() {
    let mut pair = Pair::new(Network::QUIET);
    let request = taken(&mut pair, &Hand::invite()).unwrap();
    let back = comes_back(&mut pair, &request, 1);
    // Another target, which may be legitimate.
    let mut spiral = comes_back(&mut pair, &request, 2);
    spiral.uri = "sip:another@192.0.2.2".to_owned();
    let onward = taken(&mut pair, &spiral).unwrap();
    assert!(taken(&mut pair, &back).is_err_and(|status| status == "482"));
    // The third round equals the first one.
    let third = comes_back(&mut pair, &onward, 3);
    assert!(taken(&mut pair, &third).is_err_and(|status| status == "482"));
    assert!(pair.take(B).iter().all(|event| !matches!(event, Event::Incoming { .. })));
    assert_eq!(pair.ends[B].counters().looped, 2);
}

#[test]
fn a_redirection_comes_up_with_its_targets() {
    let mut pair = Pair::new(Network::QUIET);
    let (_, invite) = pair.call_by_hand();
    let contacts = "Contact: <sip:second@192.0.2.9>;q=0.2, <sip:first@192.0.2.8>;q=0.9\r\n";
    pair.answer_by_hand(&invite, "302 Moved Temporarily", "far", contacts);
    let Termination::Failed { response } = pair.ended(A) else { panic!() };
    let targets = b2b_sip::endpoint::redirect_targets(&response);
    let uris: Vec<&[u8]> = targets.iter().map(|target| target.uri.as_ref()).collect();
    assert_eq!(uris, [&b"sip:first@192.0.2.8"[..], b"sip:second@192.0.2.9"]);
}
