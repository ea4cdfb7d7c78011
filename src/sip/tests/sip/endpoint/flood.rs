//! Overload and the recovery from it, and the memory used by a call. Work is counted, not
//! timed.

use std::time::Duration;

use b2b_sip::endpoint::{Body, EndpointConfig, EndpointLimits, Event, Transport};

use super::pair::{A, B, Hand, Network, Pair, config, field};

fn limited(limits: EndpointLimits) -> Pair {
    let small = EndpointConfig { limits, ..config(2) };
    Pair::with(Network::QUIET, [config(1), small], ["192.0.2.1:5060", "192.0.2.2:5060"])
}

fn invite(number: u32) -> Hand {
    Hand { branch: format!("z9hG4bKflood{number}"), call_id: format!("flood{number}"), ..Hand::invite() }
}

/// Steps of work for one whole call.
fn work_of_a_call(pair: &mut Pair, number: u32) -> u64 {
    let before = pair.ends[B].counters().steps;
    let invite = invite(number);
    pair.hand(&invite);
    let events = pair.take(B);
    let Some(Event::Incoming { usage, .. }) = events.last() else { panic!("{events:?}") };
    let now = pair.now;
    pair.ends[B].answer(now, *usage, Some(Body::sdp("answer"))).unwrap();
    pair.flush();
    let ok = pair.last(B, "SIP/2.0 200");
    pair.hand(&invite.next("ACK", 10, &ok));
    pair.hand(&invite.next("BYE", 11, &ok));
    pair.run(Duration::from_secs(40));
    pair.take(B);
    pair.ends[B].counters().steps - before
}

#[test]
fn flood_and_the_silence_after_it() {
    let mut pair =
        limited(EndpointLimits { server_transactions: 5_000, usages: 5_000, ..Default::default() });
    let quiet_work = work_of_a_call(&mut pair, 1_000_000);
    let quiet_capacity = pair.ends[B].holdings().slab_capacity;

    for number in 0..15_000 {
        pair.deliver(B, Transport::Udp, invite(number).data());
        if number % 1_000 == 0 {
            pair.wire.clear();
        }
    }
    let held = pair.ends[B].holdings();
    assert_eq!(held.server_transactions, 5_000);
    let counters = *pair.ends[B].counters();
    assert_eq!(counters.overloaded, 10_000);
    assert_eq!(counters.refused, 200, "a tenth of a second's budget of answers: one source");
    assert_eq!(counters.dropped, 9_800);
    pair.take(B);

    // The user decides on none of them: its time-out passes, then all timers.
    pair.wire.clear();
    pair.run(Duration::from_secs(400));
    pair.take(B);
    pair.wire.clear();
    let held = pair.ends[B].holdings();
    assert_eq!((held.server_transactions, held.usages, held.timer_entries, held.map_entries), (0, 0, 0, 0));
    let per_flooder = pair.ends[B].counters().steps / 5_000;
    assert!(per_flooder < 60, "{per_flooder} steps for each refused call");

    assert_eq!(work_of_a_call(&mut pair, 2_000_000), quiet_work);
    let capacity = pair.ends[B].holdings().slab_capacity;
    assert!(capacity <= quiet_capacity.max(1_024), "{capacity} slots, {quiet_capacity} before");
}

#[test]
fn overload_is_503_with_retry_after_and_calls_that_are_up_can_still_end() {
    let mut pair = limited(EndpointLimits { server_transactions: 8, retry_after: 7, ..Default::default() });
    let first = invite(0);
    pair.hand(&first);
    let usage = pair.incoming();
    let now = pair.now;
    pair.ends[B].answer(now, usage, None).unwrap();
    pair.flush();
    let ok = pair.last(B, "SIP/2.0 200");
    pair.hand(&first.next("ACK", 10, &ok));
    for number in 1..20 {
        pair.hand(&invite(number));
    }
    let refusal = pair.last(B, "SIP/2.0 503");
    assert_eq!(field(&refusal, "Retry-After"), "7");
    assert_eq!(pair.sent(B, "SIP/2.0 503").len(), 12);
    pair.hand(&first.next("BYE", 11, &ok));
    assert_eq!(field(&pair.last(B, "SIP/2.0 200"), "CSeq"), "11 BYE");
}

#[test]
fn too_many_calls_are_503_too() {
    let mut pair = limited(EndpointLimits { usages: 3, ..Default::default() });
    for number in 0..5 {
        pair.hand(&invite(number));
    }
    assert_eq!(pair.take(B).len(), 3);
    assert_eq!(pair.sent(B, "SIP/2.0 503").len(), 2);
}

#[test]
fn connections_that_come_and_go_leave_nothing() {
    let mut pair = Pair::new(Network::QUIET);
    for _ in 0..100 {
        pair.call(Transport::Tcp);
        pair.close(A);
        pair.settle();
    }
    pair.take(A);
    pair.take(B);
    pair.assert_nothing_left();
}
