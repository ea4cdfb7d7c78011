//! A call sends the same bytes again in an otherwise empty endpoint that has the call's seed
//! and gets the same input.

use std::time::Duration;

use b2b_sip::endpoint::{
    Body, EndpointConfig, Event, Extensions, InDialog, Reply, Transport, UsageEvent, UsageId,
};
use b2b_sip::msg::Method;

use super::pair::{A, B, Hand, Network, Pair, config, field};

const ADDRESSES: [&str; 2] = ["192.0.2.1:5060", "192.0.2.2:5060"];
const CONTACT: &str = "Contact: <sip:fork@192.0.2.2>\r\n";

/// Other activity during a call; it takes 300 ms.
type Meanwhile = fn(&mut Pair);
/// The seeds of the call at both ends.
type Seeds = [Option<[u8; 32]>; 2];
/// The actions in a call; returns its Call-ID and seeds.
type Script = fn(&mut Pair, Meanwhile) -> (String, Seeds);

/// Calls start, end, and continue.
fn others(pair: &mut Pair) {
    pair.take(A);
    pair.take(B);
    let (a, b) = pair.connected(Transport::Udp);
    pair.connected(Transport::Udp);
    let now = pair.now;
    pair.ends[B].reinvite(now, b, Some(Body::sdp("other"))).unwrap();
    pair.settle();
    let now = pair.now;
    pair.ends[A].bye(now, a).unwrap();
    pair.settle();
    pair.take(A);
    pair.take(B);
}

fn nothing(pair: &mut Pair) {
    pair.run(Duration::from_millis(300));
}

/// Ends with other secrets, both with 100rel.
fn pair(seed: u8) -> Pair {
    let extensions = Extensions { reliable: true, refer: true, ..Extensions::default() };
    let end = |end| EndpointConfig { extensions, seed: [seed + end; 32], ..config(end) };
    Pair::with(Network::QUIET, [end(1), end(2)], ADDRESSES)
}

/// What the ends have sent in a call since then: time, sender, destination, and the text.
fn sent(pair: &Pair, since: Duration, call_id: &str) -> Vec<String> {
    let texts = pair.wire.iter().map(|it| (it, it.text())).filter(|(_, it)| field(it, "Call-ID") == call_id);
    texts.map(|(it, text)| format!("{:?} {} {} {text}", it.at - since, it.from, it.to)).collect()
}

fn seeds(pair: &Pair, calls: [Option<UsageId>; 2]) -> Seeds {
    [A, B].map(|end| calls[end].and_then(|call| pair.ends[end].seed_of(call)))
}

/// Runs a script in ends full of other calls, and with its seeds in fresh ones. Returns what
/// was sent.
fn twice(script: Script) -> Vec<String> {
    let mut crowded = pair(10);
    (0..7).for_each(|_| others(&mut crowded));
    let since = crowded.now - crowded.start;
    let (call_id, seeds) = script(&mut crowded, others);
    let recorded = sent(&crowded, since, &call_id);

    let mut fresh = pair(20);
    for end in [A, B] {
        seeds[end].into_iter().for_each(|seed| fresh.ends[end].foresee(seed));
    }
    let (call_id, again) = script(&mut fresh, nothing);
    assert_eq!(again, seeds);
    let replayed = sent(&fresh, Duration::ZERO, &call_id);
    for (recorded, replayed) in recorded.iter().zip(&replayed) {
        assert_eq!(recorded, replayed);
    }
    assert_eq!(recorded.len(), replayed.len());
    recorded
}

/// The number of messages that contain this text.
fn with(sent: &[String], text: &str) -> usize {
    sent.iter().filter(|it| it.contains(text)).count()
}

#[test]
fn a_call_among_others_is_sent_again_byte_for_byte_where_it_is_alone() {
    let sent = twice(|pair, meanwhile| {
        let a = pair.call(Transport::Udp);
        let b = pair.incoming();
        let seeds = seeds(pair, [Some(a), Some(b)]);
        meanwhile(pair);
        let ringing = Reply { reliable: true, body: Some(Body::sdp("early")), ..Reply::status(183) };
        let now = pair.now;
        pair.ends[B].reply(now, b, ringing).unwrap();
        pair.settle();
        meanwhile(pair);
        let now = pair.now;
        pair.ends[B].answer(now, b, None).unwrap();
        pair.settle();
        meanwhile(pair);
        // Both change the session at once: both get 491 and retry after a random time.
        let now = pair.now;
        pair.ends[A].reinvite(now, a, Some(Body::sdp("from a"))).unwrap();
        pair.ends[B].reinvite(now, b, Some(Body::sdp("from b"))).unwrap();
        pair.run(Duration::from_millis(2_050));
        let now = pair.now;
        pair.ends[A].answer(now, a, Some(Body::sdp("answer"))).unwrap();
        pair.settle();
        let info = InDialog { method: Method::Info, headers: Vec::new(), body: None };
        let now = pair.now;
        pair.ends[A].request(now, a, info).unwrap();
        pair.ends[B].refer(now, b, "sip:c@192.0.2.3".into(), true, Vec::new()).unwrap();
        pair.settle();
        let now = pair.now;
        for event in pair.take(B) {
            if let Event::Usage { event: UsageEvent::Request { transaction, .. }, .. } = event {
                pair.ends[B].respond(now, transaction, Reply::status(200)).unwrap();
            }
        }
        for event in pair.take(A) {
            if let Event::Usage { event: UsageEvent::Refer { refer, .. }, .. } = event {
                pair.ends[A].answer_refer(now, a, refer, Reply::status(202)).unwrap();
            }
        }
        pair.settle();
        meanwhile(pair);
        let now = pair.now;
        pair.ends[B].bye(now, b).unwrap();
        pair.settle();
        let call_id = field(&pair.last(B, "BYE"), "Call-ID").to_owned();
        (call_id, seeds)
    });
    let seen =
        [" PRACK sip:", " ACK sip:", " 491 ", " INFO sip:", " REFER sip:", " NOTIFY sip:", " BYE sip:"];
    assert_eq!(seen.map(|text| with(&sent, text)), [1, 4, 2, 1, 1, 1, 1], "{sent:#?}");
}

#[test]
fn forks_and_what_is_put_off_are_sent_again_byte_for_byte() {
    // Two forks answer: one is confirmed, the other gets ACK and BYE.
    let forked = twice(|pair, meanwhile| {
        meanwhile(pair);
        let (a, invite) = pair.call_by_hand();
        let seeds = seeds(pair, [Some(a), None]);
        pair.answer_by_hand(&invite, "200 OK", "one", CONTACT);
        pair.answer_by_hand(&invite, "200 OK", "two", CONTACT);
        (field(&invite, "Call-ID").to_owned(), seeds)
    });
    assert_eq!((with(&forked, " ACK sip:"), with(&forked, " BYE sip:")), (2, 1), "{forked:#?}");

    let cancelled = twice(|pair, meanwhile| {
        meanwhile(pair);
        let (a, invite) = pair.call_by_hand();
        let seeds = seeds(pair, [Some(a), None]);
        pair.answer_by_hand(&invite, "180 Ringing", "one", CONTACT);
        let now = pair.now;
        pair.ends[A].cancel(now, a).unwrap();
        pair.flush();
        pair.answer_by_hand(&invite, "487 Request Terminated", "one", "");
        (field(&invite, "Call-ID").to_owned(), seeds)
    });
    assert_eq!((with(&cancelled, " CANCEL sip:"), with(&cancelled, " ACK sip:")), (1, 1), "{cancelled:#?}");

    // Retransmissions due at the same time are sent in the order of the originals.
    let unanswered = twice(|pair, meanwhile| {
        let (a, b) = pair.connected(Transport::Udp);
        let seeds = seeds(pair, [Some(a), Some(b)]);
        meanwhile(pair);
        // Other transactions have ended in this order, so their slots are reused in reverse.
        pair.run(Duration::from_secs(10));
        pair.deaf[B] = true;
        let now = pair.now;
        for _ in 0..4 {
            let info = InDialog { method: Method::Info, headers: Vec::new(), body: None };
            pair.ends[A].request(now, a, info).unwrap();
        }
        pair.run(Duration::from_secs(2));
        let call_id = field(&pair.last(A, "INFO"), "Call-ID").to_owned();
        (call_id, seeds)
    });
    assert_eq!(with(&unanswered, " INFO sip:"), 12, "{unanswered:#?}");

    // A second INVITE before the first one is answered gets a random Retry-After.
    let put_off = twice(|pair, meanwhile| {
        meanwhile(pair);
        let invite = Hand::invite();
        let (b, ok) = pair.answers(&invite);
        let seeds = seeds(pair, [None, Some(b)]);
        pair.hand(&invite.next("ACK", 10, &ok));
        (11..15).for_each(|cseq| pair.hand(&invite.next("INVITE", cseq, &ok)));
        (invite.call_id, seeds)
    });
    assert_eq!(with(&put_off, "Retry-After: "), 3, "{put_off:#?}");
}

#[test]
fn foreseen_seeds_go_to_calls_in_order_and_not_to_what_makes_none() {
    let mut pair = pair(10);
    pair.ends[B].foresee([1; 32]);
    pair.ends[B].foresee([2; 32]);
    let nowhere = Hand { extra: String::new(), ..Hand::invite() };
    pair.hand(&nowhere);
    assert_eq!(pair.sent(B, "SIP/2.0 400").len(), 1);
    let [first, second, third] = [1, 2, 3].map(|_| {
        let (_, b) = pair.connected(Transport::Udp);
        pair.ends[B].seed_of(b).unwrap()
    });
    assert_eq!((first, second), ([1; 32], [2; 32]));
    assert!(third != first && third != second);
}
