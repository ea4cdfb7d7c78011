//! Sides of calls that vanish from one moment to the next.

use std::time::Duration;

use b2b_sip::endpoint::{Event, Reply, Termination, Transport, UsageEvent};

use super::pair::{A, B, Hand, Network, Pair};

#[test]
fn who_vanishes_from_a_call_says_nothing_and_answers_nothing() {
    for who in [A, B] {
        let mut pair = Pair::new(Network::QUIET);
        let (a, b) = pair.connected(Transport::Udp);
        let usages = [a, b];
        let (now, before) = (pair.now, pair.sent(who, "").len());
        pair.ends[who].vanish(now, usages[who]).unwrap();
        pair.settle();
        let gone = pair.take(who);
        assert!(
            matches!(
                &gone[..],
                [Event::Usage { event: UsageEvent::Terminated { cause: Termination::ByeUnanswered }, .. }]
            ),
            "{gone:?}"
        );
        // the peer retransmits without any response, not even a 481
        let now = pair.now;
        pair.ends[1 - who].bye(now, usages[1 - who]).unwrap();
        pair.run(Duration::from_secs(60));
        assert!(matches!(pair.ended(1 - who), Termination::ByeUnanswered));
        assert_eq!(pair.sent(who, "").len(), before);
        assert!(pair.sent(1 - who, "BYE ").len() > 5 && pair.ends[who].counters().ignored > 5);
        let held = pair.ends[who].holdings();
        assert_eq!((held.usages, held.server_transactions), (0, 0), "{held:?}");
        assert!(pair.ends[who].vanish(now, usages[who]).is_err());
    }
}

#[test]
fn who_vanishes_while_it_rings_is_deaf_to_cancel_and_not_to_others() {
    let mut pair = Pair::new(Network::QUIET);
    let invite = Hand::invite();
    pair.hand(&invite);
    let usage = pair.incoming();
    let now = pair.now;
    pair.ends[B].reply(now, usage, Reply::status(180)).unwrap();
    pair.flush();
    pair.ends[B].vanish(now, usage).unwrap();
    let before = pair.sent(B, "").len();
    pair.hand(&invite);
    pair.hand(&Hand { method: "CANCEL", ..Hand::invite() });
    pair.run(Duration::from_secs(60));
    assert_eq!(pair.sent(B, "").len(), before);
    pair.take(B);
    // another call of the same party is not affected
    pair.hand(&Hand { call_id: "another".into(), branch: "z9hG4bKanother".into(), ..Hand::invite() });
    pair.incoming();
}
