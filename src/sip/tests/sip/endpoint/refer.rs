//! REFER in a call and its NOTIFYs, both sides (RFC 3515, RFC 4488).

use std::time::Duration;

use b2b_sip::endpoint::{
    CommandError, EndpointConfig, Event, Extensions, HeaderFields, ReferId, ReferTo, Reply, Termination,
    Transport, UsageEvent, UsageId,
};

use super::pair::{A, B, Hand, Network, Pair, config, field, reply};

const TARGET: &str = "<sip:c@192.0.2.3>";

fn referring() -> [EndpointConfig; 2] {
    let extensions = Extensions { refer: true, ..Extensions::default() };
    [1, 2].map(|end| EndpointConfig { extensions, ..config(end) })
}

fn up() -> (Pair, UsageId, UsageId) {
    let mut pair = Pair::with(Network::QUIET, referring(), ["192.0.2.1:5060", "192.0.2.2:5060"]);
    let (a, b) = pair.connected(Transport::Udp);
    (pair, a, b)
}

/// A sends a REFER to B.
fn referred(pair: &mut Pair, a: UsageId, subscribe: bool, headers: HeaderFields) -> (ReferId, ReferId) {
    let now = pair.now;
    let ours = pair.ends[A].refer(now, a, TARGET.into(), subscribe, headers).unwrap();
    pair.settle();
    let events = pair.take(B);
    let [Event::Usage { event: UsageEvent::Refer { refer, request }, .. }] = events.as_slice() else {
        panic!("{events:?}")
    };
    assert_eq!(ReferTo::of(request).unwrap().uri, "sip:c@192.0.2.3");
    (ours, *refer)
}

/// What was reported to A: the status of its REFER, and the progress with its status and
/// whether it was the last.
fn heard(pair: &mut Pair, refer: ReferId) -> (Option<u16>, Vec<(u16, bool)>) {
    let (mut answer, mut progress) = (None, Vec::new());
    for event in pair.take(A) {
        match event {
            Event::Usage { event: UsageEvent::ReferAnswered { refer: it, result }, .. } => {
                assert!(it == refer && answer.is_none());
                answer = Some(result.unwrap().status());
            }
            Event::Usage { event: UsageEvent::ReferProgress { refer: it, status, last }, .. } => {
                assert_eq!(it, refer);
                progress.push((status.map_or(0, |(status, _)| status), last));
            }
            other => panic!("{other:?}"),
        }
    }
    (answer, progress)
}

#[test]
fn a_transfer_is_asked_for_followed_and_told_to_its_end() {
    let (mut pair, a, b) = up();
    let (ours, theirs) = referred(&mut pair, a, true, vec![("Referred-By".into(), "<sip:a@x>".into())]);
    let refer = pair.last(A, "REFER");
    assert_eq!((field(&refer, "Refer-To"), field(&refer, "Referred-By")), (TARGET, "<sip:a@x>"));
    assert_eq!(field(&refer, "Contact"), "<sip:end1@192.0.2.1:5060>");
    let now = pair.now;
    pair.ends[B].answer_refer(now, b, theirs, Reply::status(202)).unwrap();
    assert!(pair.ends[B].answer_refer(now, b, theirs, Reply::status(202)).is_err(), "once");
    pair.settle();
    let accepted = pair.last(B, "SIP/2.0 202");
    assert_eq!(field(&accepted, "Contact"), "<sip:end2@192.0.2.2:5060>");
    assert_eq!(heard(&mut pair, ours), (Some(202), vec![(100, false)]));
    let notify = pair.last(B, "NOTIFY");
    let cseq = field(&refer, "CSeq").split(' ').next().unwrap();
    assert_eq!(field(&notify, "Event"), format!("refer;id={cseq}"));
    assert_eq!(field(&notify, "Subscription-State"), "active;expires=300");
    assert_eq!(field(&notify, "Content-Type"), "message/sipfrag;version=2.0");
    assert!(notify.ends_with("\r\n\r\nSIP/2.0 100 Trying\r\n"));

    // Changes during a NOTIFY go into the next one.
    let now = pair.now;
    for (status, reason) in [(180, ""), (183, "One"), (183, "T\u{7}o")] {
        pair.ends[B].notify_refer(now, b, theirs, status, reason).unwrap();
    }
    pair.settle();
    assert_eq!(heard(&mut pair, ours).1, [(180, false), (183, false)]);
    assert!(pair.last(B, "NOTIFY").ends_with("SIP/2.0 183 T o\r\n"));
    let now = pair.now;
    pair.ends[B].notify_refer(now, b, theirs, 200, "").unwrap();
    pair.settle();
    assert_eq!(heard(&mut pair, ours).1, [(200, true)]);
    assert_eq!(field(&pair.last(B, "NOTIFY"), "Subscription-State"), "terminated;reason=noresource");
    let now = pair.now;
    assert_eq!(pair.ends[B].notify_refer(now, b, theirs, 200, ""), Err(CommandError::Gone));
    pair.ends[A].bye(now, a).unwrap();
    pair.settle();
    pair.assert_nothing_left();
}

#[test]
fn a_notify_that_leaves_without_an_event_is_told_to_who_keeps_calls() {
    let told = |tells: bool| {
        let (mut pair, a, b) = up();
        if tells {
            pair.ends[B].tell_ahead();
        }
        let (_, refer) = referred(&mut pair, a, true, Vec::new());
        let now = pair.now;
        pair.ends[B].answer_refer(now, b, refer, Reply::status(202)).unwrap();
        // It waits for the answer to the first one.
        pair.ends[B].notify_refer(now, b, refer, 200, "").unwrap();
        pair.settle();
        assert_eq!(pair.sent(B, "NOTIFY").len(), 2);
        let ahead = |event: &Event| matches!(event, Event::Ahead { usage } if *usage == b);
        pair.take(B).iter().filter(|it| ahead(it)).count()
    };
    assert_eq!((told(false), told(true)), (0, 1));
}

#[test]
fn a_refused_refer_says_so_and_the_call_goes_on() {
    let (mut pair, a, b) = up();
    let (ours, theirs) = referred(&mut pair, a, true, Vec::new());
    let now = pair.now;
    pair.ends[B].answer_refer(now, b, theirs, Reply::status(603)).unwrap();
    pair.settle();
    assert_eq!(heard(&mut pair, ours), (Some(603), Vec::new()));
    assert!(pair.sent(B, "NOTIFY").is_empty());
    let now = pair.now;
    pair.ends[A].refer(now, a, TARGET.into(), true, Vec::new()).unwrap();
}

#[test]
fn a_refer_without_subscription_gets_no_notify() {
    let (mut pair, a, b) = up();
    let (ours, theirs) = referred(&mut pair, a, false, Vec::new());
    assert_eq!(field(&pair.last(A, "REFER"), "Refer-Sub"), "false");
    let now = pair.now;
    pair.ends[B].answer_refer(now, b, theirs, Reply::status(202)).unwrap();
    pair.settle();
    assert_eq!(field(&pair.last(B, "SIP/2.0 202"), "Refer-Sub"), "false");
    assert_eq!(heard(&mut pair, ours), (Some(202), Vec::new()));
    let now = pair.now;
    assert_eq!(pair.ends[B].notify_refer(now, b, theirs, 200, ""), Err(CommandError::Gone));
    assert!(pair.sent(B, "NOTIFY").is_empty());
}

#[test]
fn the_one_who_asked_hears_the_end_after_it_has_hung_up() {
    let mut pair = Pair::with(Network::QUIET, referring(), ["192.0.2.1:5060", "192.0.2.2:5060"]);
    let invite = Hand::invite();
    pair.hand(&invite);
    let b = pair.incoming();
    let now = pair.now;
    pair.ends[B].answer(now, b, None).unwrap();
    pair.flush();
    let ok = pair.last(B, "SIP/2.0 200");
    pair.hand(&invite.next("ACK", 10, &ok));
    let mut refer = invite.next("REFER", 11, &ok);
    refer.extra.push_str("Refer-To: sip:c@192.0.2.3\r\n");
    pair.hand(&refer);
    let events = pair.take(B);
    let Some(Event::Usage { event: UsageEvent::Refer { refer, .. }, .. }) = events.last() else { panic!() };
    let now = pair.now;
    pair.ends[B].answer_refer(now, b, *refer, Reply::status(202)).unwrap();
    pair.flush();
    pair.hand(&invite.next("BYE", 12, &ok));
    assert!(matches!(pair.ended(B), Termination::RemoteBye { .. }));
    let first = pair.last(B, "NOTIFY");
    pair.deliver(B, Transport::Udp, reply(&first, "200 OK", "", ""));
    let now = pair.now;
    pair.ends[B].notify_refer(now, b, *refer, 486, "").unwrap();
    pair.flush();
    let last = pair.last(B, "NOTIFY");
    assert!(last.ends_with("SIP/2.0 486 Busy Here\r\n"), "{last}");
    assert_eq!(field(&last, "Call-ID"), "hand-made");
    pair.deliver(B, Transport::Udp, reply(&last, "200 OK", "", ""));
    assert!(pair.take(B).is_empty());
    pair.assert_nothing_left();
}

#[test]
fn a_far_end_that_does_not_want_to_know_is_told_no_more() {
    let (mut pair, a, b) = up();
    let (_, theirs) = referred(&mut pair, a, true, Vec::new());
    pair.deaf[A] = true;
    let now = pair.now;
    pair.ends[B].answer_refer(now, b, theirs, Reply::status(202)).unwrap();
    pair.flush();
    let notify = pair.last(B, "NOTIFY");
    pair.deliver(B, Transport::Udp, reply(&notify, "481 Subscription Does Not Exist", "", ""));
    let now = pair.now;
    assert_eq!(pair.ends[B].notify_refer(now, b, theirs, 200, ""), Err(CommandError::Gone));
}

#[test]
fn a_notify_that_overtakes_the_202_counts_and_a_foreign_one_gets_481_or_489() {
    let mut pair = Pair::with(Network::QUIET, referring(), ["192.0.2.1:5060", "192.0.2.2:5060"]);
    let invite = Hand::invite();
    pair.hand(&invite);
    let b = pair.incoming();
    let now = pair.now;
    pair.ends[B].answer(now, b, None).unwrap();
    pair.flush();
    let ok = pair.last(B, "SIP/2.0 200");
    pair.hand(&invite.next("ACK", 10, &ok));
    pair.take(B);
    let notify = |cseq, event: &str, state: &str| {
        let mut notify = invite.next("NOTIFY", cseq, &ok);
        notify.extra.push_str(&format!("Event: {event}\r\nSubscription-State: {state}\r\n"));
        notify.body = "SIP/2.0 180 Ringing\r\n";
        notify
    };
    pair.hand(&notify(11, "refer", "active"));
    assert_eq!(pair.sent(B, "SIP/2.0 481").len(), 1, "nothing was asked for");
    pair.hand(&notify(12, "presence", "active"));
    assert_eq!(pair.sent(B, "SIP/2.0 489").len(), 1);
    let now = pair.now;
    let refer = pair.ends[B].refer(now, b, TARGET.into(), true, Vec::new()).unwrap();
    pair.flush();
    let sent = pair.last(B, "REFER");
    let id = field(&sent, "CSeq").split(' ').next().unwrap().to_owned();
    pair.hand(&notify(13, &format!("refer;id={id}"), "active;expires=60"));
    pair.deliver(B, Transport::Udp, reply(&sent, "202 Accepted", "", "Contact: <sip:hand@192.0.2.1>\r\n"));
    pair.hand(&notify(14, "refer;id=99", "active"));
    assert_eq!(pair.sent(B, "SIP/2.0 481").len(), 2);
    // The subscription expires without a further NOTIFY.
    pair.run(Duration::from_secs(301));
    let events = pair.take(B);
    let seen: Vec<String> = events
        .iter()
        .map(|event| match event {
            Event::Usage { event: UsageEvent::ReferAnswered { refer: it, result }, .. } if *it == refer => {
                result.as_ref().unwrap().status().to_string()
            }
            Event::Usage { event: UsageEvent::ReferProgress { refer: it, status, last }, .. }
                if *it == refer =>
            {
                format!("{status:?} {last}")
            }
            other => panic!("{other:?}"),
        })
        .collect();
    assert_eq!(seen, ["Some((180, \"Ringing\")) false", "202", "None true"]);
}

#[test]
fn transfers_on_a_bad_network_are_told_in_order_and_leave_nothing() {
    let mut finished = 0;
    for seed in 0..40 {
        let (mut pair, a, b) = up();
        pair.set_network(Network { loss: 0.25, duplicate: 0.1, delay_ms: (5, 200), seed });
        let now = pair.now;
        let ours = pair.ends[A].refer(now, a, TARGET.into(), true, Vec::new()).unwrap();
        let (mut statuses, mut last_heard, mut theirs) = (Vec::new(), false, None);
        for round in 0..200 {
            pair.run(Duration::from_millis(500));
            for event in pair.take(B) {
                if let Event::Usage { event: UsageEvent::Refer { refer, .. }, .. } = event {
                    assert_eq!(theirs.replace(refer), None, "seed {seed}");
                    let now = pair.now;
                    pair.ends[B].answer_refer(now, b, refer, Reply::status(202)).unwrap();
                }
            }
            if let Some(refer) = theirs
                && let Some(status) = [180, 183, 200].get(round / 10)
                && round % 10 == 0
            {
                let now = pair.now;
                let _ = pair.ends[B].notify_refer(now, b, refer, *status, "");
            }
            for event in pair.take(A) {
                match event {
                    Event::Usage { event: UsageEvent::ReferProgress { refer, status, last }, .. } => {
                        assert!(refer == ours && !last_heard, "seed {seed}");
                        last_heard |= last;
                        statuses.push(status.unwrap().0);
                    }
                    Event::Usage { event: UsageEvent::ReferAnswered { .. }, .. } => {}
                    other => panic!("seed {seed}: {other:?}"),
                }
            }
        }
        assert!(statuses.is_sorted(), "seed {seed}: {statuses:?}");
        finished += usize::from(last_heard && statuses.last() == Some(&200));
        let now = pair.now;
        let _ = pair.ends[A].bye(now, a);
        pair.assert_nothing_left();
    }
    assert!(finished > 30, "{finished} of 40 transfers were told to their end");
}

#[test]
fn a_refer_that_nobody_decides_on_and_too_many_of_them_leave_nothing() {
    let (mut pair, a, _) = up();
    for _ in 0..4 {
        let now = pair.now;
        pair.ends[A].refer(now, a, TARGET.into(), true, Vec::new()).unwrap();
    }
    let now = pair.now;
    assert!(pair.ends[A].refer(now, a, TARGET.into(), true, Vec::new()).is_err());
    pair.settle();
    assert_eq!(pair.take(B).len(), 4);
    pair.ends[A].bye(now, a).unwrap();
    pair.run(Duration::from_secs(5));
    assert_eq!(pair.sent(B, "SIP/2.0 481").len(), 4, "they are refused when the call ends");
    pair.assert_nothing_left();
}

#[test]
fn a_refer_with_a_bye_right_behind_gets_the_answer_of_the_user() {
    for decides in [Some(202), Some(603), None] {
        let (mut pair, a, b) = up();
        let now = pair.now;
        pair.ends[A].refer(now, a, TARGET.into(), true, Vec::new()).unwrap();
        pair.ends[A].bye(now, a).unwrap();
        pair.settle();
        let refer = match pair.take(B).as_slice() {
            [
                Event::Usage { event: UsageEvent::Refer { refer, .. }, .. },
                Event::Usage {
                    event: UsageEvent::Terminated { cause: Termination::RemoteBye { .. } }, ..
                },
            ] => *refer,
            other => panic!("{other:?}"),
        };
        assert_eq!(field(&pair.last(B, "SIP/2.0 200"), "CSeq").split_once(' ').unwrap().1, "BYE");
        if let Some(status) = decides {
            let now = pair.now;
            pair.ends[B].answer_refer(now, b, refer, Reply::status(status)).unwrap();
        }
        pair.run(Duration::from_secs(5));
        let told = decides.unwrap_or(481);
        assert_eq!(pair.sent(B, &format!("SIP/2.0 {told}")).len(), 1);
        assert_eq!(pair.sent(B, "NOTIFY").is_empty(), told != 202);
        pair.take(A);
        pair.assert_nothing_left();
    }
}

#[test]
fn a_broken_refer_to_is_refused_on_both_sides() {
    let (mut pair, a, _) = up();
    let now = pair.now;
    let broken = pair.ends[A].refer(now, a, "<sip:".into(), true, Vec::new());
    assert!(matches!(broken, Err(CommandError::BadHeader { .. })));
    let invite = Hand { call_id: "second".to_owned(), from_tag: "second".to_owned(), ..Hand::invite() };
    pair.hand(&invite);
    let b = pair.incoming();
    let now = pair.now;
    pair.ends[B].answer(now, b, None).unwrap();
    pair.flush();
    let ok = pair.last(B, "SIP/2.0 200");
    pair.hand(&invite.next("ACK", 10, &ok));
    pair.take(B);
    for (cseq, extra) in
        [(11, ""), (12, "Refer-To: <sip:\r\n"), (13, "Refer-To: sip:a\r\nRefer-To: sip:b\r\n")]
    {
        let mut refer = invite.next("REFER", cseq, &ok);
        refer.extra.push_str(extra);
        pair.hand(&refer);
        assert!(pair.last(B, "SIP/2.0").starts_with("SIP/2.0 400 "), "{extra}");
    }
    assert!(pair.take(B).is_empty());
}
