//! Calls that a party leads to, by REFER or a 3xx, come out of its own limits, and users share a trunk.

use std::time::Duration;

use b2b::sip::endpoint::Reply;
use b2b_testkit::SESSION;

use super::policy_matrix::{ANN, CARRIER, GUEST, USER, World, invite};

/// The carrier refuses its next call.
fn refuse(world: &mut World) {
    let carrier = world.party(CARRIER);
    let call = world.bench.harness.next_call(carrier);
    let now = world.bench.harness.now();
    world.bench.harness.endpoint(carrier).reply(now, call, Reply::status(486)).expect("it waits");
    world.bench.harness.settle();
}

fn reached(world: &World, number: &str) -> bool {
    let invites = world.bench.sent_to(CARRIER, "INVITE ");
    invites.iter().any(|text| text.starts_with(&format!("INVITE sip:{number}@")))
}

#[test]
fn transfers_count_among_the_calls_a_second_of_who_transfers() {
    let mut world = World::new("[limits]\nuser_calls_per_s = 2");
    let call = world.call("1003");
    let user = world.party(USER);
    let theirs = world.bench.harness.answer_next(user, SESSION);
    let begun = world.bench.harness.now();
    let mut dialled = 0;
    for _ in 0..20 {
        if !world.refer(ANN, call, "tel:+4420").is_empty() {
            dialled += 1;
            refuse(&mut world);
        }
    }
    let lasted = (world.bench.harness.now() - begun).as_secs();
    assert!((1..=2 + 2 * (lasted + 1)).contains(&dialled), "{dialled} in {lasted} s");
    assert_ne!(world.bench.counted().user_over_rate, 0);
    assert!(world.bench.harness.is_up(user, theirs), "the call goes on");
}

#[test]
fn the_targets_of_a_redirect_count_among_the_calls_a_second_of_who_redirects() {
    let mut world = World::new("[limits]\nuser_calls_per_s = 3");
    world.call("1003");
    let numbers: Vec<_> = (0..8).map(|n| format!("<tel:+442{n}>")).collect();
    let called = world.redirect(USER, 302, &numbers.join(", "));
    assert_eq!(called.len(), 3, "{called:?}");
}

#[test]
fn who_floods_a_trunk_with_a_limit_of_calls_a_second_delays_others_by_one_call() {
    let mut world = World::new("calls_per_s = 2");
    for n in 0..40 {
        world.call(&format!("81{n}"));
    }
    assert_ne!(world.bench.counted().gateway_over_rate, 0, "more than fit");
    world.call_as(GUEST, "1002", invite("sip:8999@192.0.2.1"));
    world.bench.harness.run(Duration::from_millis(1_000));
    assert!(reached(&world, "8999"));
}

#[test]
fn calls_that_are_given_up_leave_their_turns_to_others() {
    let mut world = World::new("calls_per_s = 1");
    let calls: Vec<_> = (0..3).map(|n| world.call(&format!("81{n}"))).collect();
    let ann = world.party(ANN);
    world.bench.harness.cancel(ann, calls[1]);
    world.bench.harness.cancel(ann, calls[2]);
    world.call("8999");
    world.bench.harness.run(Duration::from_millis(1_000));
    assert!(reached(&world, "8999") && !reached(&world, "811") && !reached(&world, "812"));
}

#[test]
fn one_user_leaves_channels_of_a_trunk_to_others_unless_max_calls_says_so() {
    let mut world = World::new("channels = 8");
    for n in 0..12 {
        world.call(&format!("81{n}"));
    }
    assert_eq!(world.bench.sent_to(CARRIER, "INVITE sip:81").len(), 7, "all but an eighth");
    world.call_as(GUEST, "1002", invite("sip:8999@192.0.2.1"));
    assert!(reached(&world, "8999"));
}
