//! A group is called in its own order and for its own time, whoever calls it.

use std::sync::Arc;
use std::time::{Duration, Instant};

use b2b_call::bridge_fsm::BridgeMode;
use b2b_call::handler::{ApplicationHandler, HandlerAction, IncomingCall};
use b2b_call::resolver::{ChainResolver, DirectPolicy, DirectResolver, Group, GroupResolver};
use b2b_call::service::{CallService, DialOptions, DialOrder, DialRequest};
use b2b_call::switch::SwitchConfig;
use b2b_call::switch::admission::AdmitAll;
use b2b_testkit::{Handler, Harness, Network, PartyId, SESSION};

use crate::routed::{ANN, BOB, CAT, DAN, uri};

/// Bob and Cat as a group of each kind.
fn with_groups(handler: Arc<dyn ApplicationHandler>) -> (Harness, [PartyId; 4]) {
    let (bob, cat) = (uri(BOB), uri(CAT));
    let members = || [bob.as_str(), cat.as_str()];
    let ring = Some(Duration::from_secs(12));
    let groups = [
        ("all", Group { ring, lasts: ring, ..Group::parallel(members()) }),
        ("turns", Group { ring, ..Group::serial(members()) }),
        ("one", Group { declines_for_all: true, ..Group::parallel(members()) }),
    ];
    let groups = groups.into_iter().map(|(name, group)| (name.to_owned(), group));
    let direct = DirectResolver::new(DirectPolicy::Anybody);
    let groups = GroupResolver::new(groups, Arc::new(direct.clone())).expect("groups");
    let resolver = Arc::new(ChainResolver::default().with(groups).with(direct));
    let (config, start) = (SwitchConfig::default(), Instant::now());
    let mut harness =
        Harness::with(start, vec![handler], resolver, Box::new(AdmitAll), config, Network::QUIET);
    let parties = [ANN, BOB, CAT, DAN].map(|address| harness.party(address));
    (harness, parties)
}

/// The called number is the group, called as this action.
fn by(
    action: impl Fn(String) -> HandlerAction + Send + Sync + Copy + 'static,
) -> Arc<dyn ApplicationHandler> {
    Arc::new(Handler(move |call: IncomingCall, _: CallService| async move {
        action(format!("group/{}", call.called()))
    }))
}

fn transfers(target: String) -> HandlerAction {
    HandlerAction::TransferTo(target)
}

fn dials(target: String) -> HandlerAction {
    HandlerAction::Dial(Box::new(DialRequest::to(target)))
}

/// Rings for 5 s at most.
fn dials_briefly(target: String) -> HandlerAction {
    let options = DialOptions { target_timeout: Some(Duration::from_secs(5)), ..DialOptions::default() };
    HandlerAction::Dial(Box::new(DialRequest { options, ..DialRequest::to(target) }))
}

#[test]
fn a_parallel_group_rings_together_and_for_its_time_whoever_calls_it() {
    for action in [transfers, dials] {
        let (mut harness, [ann, bob, cat, _]) = with_groups(by(action));
        harness.call(ann, "all", Some(SESSION));
        let (b, c) = (harness.next_call(bob), harness.next_call(cat));
        for (party, usage) in [(bob, b), (cat, c)] {
            harness.ring(party, usage, 180, None);
        }
        harness.run(Duration::from_secs(11));
        assert!(harness.ended(bob, b).is_none() && harness.ended(cat, c).is_none());
        harness.run(Duration::from_secs(2));
        assert!(harness.ended(bob, b).is_some() && harness.ended(cat, c).is_some());
        harness.assert_nothing_left();
    }
}

#[test]
fn a_serial_group_rings_in_turn_each_member_for_its_time() {
    for action in [transfers, dials] {
        let (mut harness, [ann, bob, cat, _]) = with_groups(by(action));
        let a = harness.call(ann, "turns", Some(SESSION));
        let b = harness.next_call(bob);
        harness.ring(bob, b, 180, None);
        harness.run(Duration::from_secs(11));
        assert!(harness.incoming(cat).is_empty());
        harness.run(Duration::from_secs(2));
        let c = harness.next_call(cat);
        harness.ring(cat, c, 180, None);
        harness.run(Duration::from_secs(10));
        harness.answer(cat, c, Some(SESSION));
        assert!(harness.is_up(ann, a));
        harness.hang_up(ann, a);
        harness.assert_nothing_left();
    }
}

#[test]
fn a_time_of_the_caller_of_a_group_is_that_of_all_its_members_together() {
    for number in ["all", "turns"] {
        let (mut harness, [ann, bob, cat, _]) = with_groups(by(dials_briefly));
        harness.call(ann, number, Some(SESSION));
        let b = harness.next_call(bob);
        harness.ring(bob, b, 180, None);
        harness.run(Duration::from_secs(6));
        assert!(harness.ended(bob, b).is_some());
        assert_eq!(harness.incoming(cat).len(), usize::from(number == "all"), "its time is over");
        harness.assert_nothing_left();
    }
}

#[test]
fn a_party_is_transferred_to_a_whole_group() {
    let to_dan = |_| {
        let options = DialOptions { mode: BridgeMode::Intercepting, ..DialOptions::default() };
        HandlerAction::Dial(Box::new(DialRequest { options, ..DialRequest::to(uri(DAN)) }))
    };
    let (mut harness, [ann, bob, cat, dan]) = with_groups(by(to_dan));
    let a = harness.call(ann, "dan", Some(SESSION));
    harness.answer_next(dan, SESSION);
    let leaving = harness.snapshot()[0].legs.iter().find(|it| it.contact.is_some()).expect("Dan's leg").leg;
    let service = harness.service();
    harness.wait(Duration::from_secs(1), service.transfer(leaving, "group/all")).expect("a transfer");
    harness.settle();
    let (b, c) = (harness.next_call(bob), harness.next_call(cat));
    harness.answer(cat, c, Some(SESSION));
    // Ann is told of Cat.
    harness.answer(ann, a, Some(SESSION));
    harness.run(Duration::from_secs(3));
    assert!(harness.is_up(cat, c), "Cat");
    assert!(harness.ended(bob, b).is_some(), "Bob");
    harness.hang_up(cat, c);
    harness.assert_nothing_left();
}

#[test]
fn a_decline_in_a_group_is_the_members_or_with_its_key_the_groups() {
    for (number, rings_on) in [("all", true), ("one", false)] {
        let (mut harness, [ann, bob, cat, _]) = with_groups(by(transfers));
        let a = harness.call(ann, number, Some(SESSION));
        let (b, c) = (harness.next_call(bob), harness.next_call(cat));
        harness.reject(bob, b, 603);
        harness.run(Duration::from_secs(1));
        assert_eq!(harness.ended(cat, c).is_none(), rings_on, "{number}");
        if rings_on {
            harness.answer(cat, c, Some(SESSION));
            assert!(harness.is_up(ann, a));
            harness.hang_up(ann, a);
        }
        harness.assert_nothing_left();
    }
}

#[test]
fn a_program_that_calls_a_group_and_a_phone_rings_all_of_them() {
    let (mut harness, [_, bob, cat, dan]) = with_groups(by(transfers));
    let service = harness.service();
    let targets = ["group/all".to_owned(), uri(DAN)];
    let dialled =
        async move { service.dial_targets(&targets, DialOrder::Parallel, DialOptions::default()).await };
    let mut dialled = Box::pin(dialled);
    for _ in 0..3 {
        let waker = std::task::Waker::noop();
        assert!(dialled.as_mut().poll(&mut std::task::Context::from_waker(waker)).is_pending());
        harness.settle();
    }
    let (b, c, d) = (harness.next_call(bob), harness.next_call(cat), harness.next_call(dan));
    harness.reject(bob, b, 603);
    harness.reject(cat, c, 486);
    harness.answer(dan, d, Some(SESSION));
    assert!(harness.wait(Duration::from_secs(1), dialled).is_ok());
    harness.hang_up(dan, d);
    harness.assert_nothing_left();
}
