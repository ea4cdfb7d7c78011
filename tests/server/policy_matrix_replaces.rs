//! Who may take over a dialog by Replaces: the dialog's own user or gateway, and a party referred to it; with
//! INVITE and with REFER, verified on the wire.

use std::time::Duration;

use b2b::sip::endpoint::{Invite, Replaces, Termination, UsageId};
use b2b_testkit::{PartyId, SESSION};
use bytes::Bytes;

use crate::server::policy_matrix::{
    ANN, CARRIER, ELSEWHERE, GUEST, OTHER, PROXIED, USER, World, invite, told,
};

/// The identifiers of a party's dialog, as b2b knows it.
fn name_of(world: &mut World, party: PartyId, usage: UsageId) -> Replaces {
    let dialog = world.bench.harness.endpoint(party).dialog(usage).expect("a dialog");
    Replaces {
        call_id: Bytes::copy_from_slice(dialog.call_id),
        to_tag: Bytes::copy_from_slice(dialog.remote_tag),
        from_tag: Bytes::copy_from_slice(dialog.local_tag.as_bytes()),
        early_only: false,
    }
}

/// Ann talks to a party; returns the calls of both.
fn talking(world: &mut World, number: &str, to: &str) -> (UsageId, UsageId) {
    let ann = world.call(number);
    let party = world.party(to);
    let theirs = world.bench.harness.answer_next(party, SESSION);
    (ann, theirs)
}

fn replacing(replaces: &Replaces) -> Invite {
    let headers = vec![("Replaces".into(), replaces.to_string().into())];
    Invite { headers, ..invite("sip:1003@192.0.2.1") }
}

fn status(world: &mut World, address: &str, call: UsageId) -> Option<u16> {
    let party = world.party(address);
    match world.bench.harness.ended(party, call) {
        Some(Termination::Failed { response }) => Some(response.status()),
        _ => None,
    }
}

#[test]
fn an_invite_takes_the_place_of_its_own_user_and_of_nobody_else() {
    // The named dialog is Ann's, or that of the other party.
    for (asker, user, of_ann, wanted) in [
        (GUEST, "1002", true, Some(481)),
        (GUEST, "1002", false, Some(481)),
        (PROXIED, "1004", true, Some(481)),
        // Each from another phone of the same user.
        (ELSEWHERE, "1001", true, None),
        (PROXIED, "1003", false, None),
    ] {
        let mut world = World::new("");
        let (ann, theirs) = talking(&mut world, "1003", USER);
        let (ann_at, user_at) = (world.party(ANN), world.party(USER));
        let named = match of_ann {
            true => name_of(&mut world, ann_at, ann),
            false => name_of(&mut world, user_at, theirs),
        };
        let (stays, leaves) =
            if of_ann { ((user_at, theirs), (ann_at, ann)) } else { ((ann_at, ann), (user_at, theirs)) };
        let call = world.call_as(asker, user, replacing(&named));
        assert_eq!(
            status(&mut world, asker, call),
            wanted,
            "{user} for {}",
            if of_ann { "1001" } else { "1003" }
        );
        if wanted.is_some() {
            assert!(world.bench.harness.is_up(ann_at, ann) && world.bench.harness.is_up(user_at, theirs));
            assert_eq!(world.not_followed(), 1);
            continue;
        }
        world.bench.harness.answer(stays.0, stays.1, Some(SESSION));
        let party = world.party(asker);
        assert!(world.bench.harness.is_up(party, call) && world.bench.harness.is_up(stays.0, stays.1));
        assert!(!world.bench.harness.is_up(leaves.0, leaves.1), "its place is taken");
    }
}

#[test]
fn a_stranger_who_knows_a_dialog_is_asked_for_a_password_and_changes_nothing() {
    let mut world = World::new("");
    let (ann, theirs) = talking(&mut world, "1003", USER);
    let (ann_at, user_at, stranger) = (world.party(ANN), world.party(USER), world.party(ELSEWHERE));
    let named = name_of(&mut world, ann_at, ann);
    let call = world.bench.harness.invite(stranger, replacing(&named));
    assert_eq!(status(&mut world, ELSEWHERE, call), Some(407));
    assert!(world.bench.harness.is_up(ann_at, ann) && world.bench.harness.is_up(user_at, theirs));
}

#[test]
fn a_gateway_takes_the_place_of_itself_and_not_of_others() {
    for (asker, wanted) in [(CARRIER, None), (OTHER, Some(481))] {
        let mut world = World::new("");
        let (ann, theirs) = talking(&mut world, "81", CARRIER);
        let (ann_at, carrier, party) = (world.party(ANN), world.party(CARRIER), world.party(asker));
        let named = name_of(&mut world, carrier, theirs);
        let call = world.bench.harness.invite(party, replacing(&named));
        assert_eq!(status(&mut world, asker, call), wanted, "{asker}");
        if wanted.is_none() {
            world.bench.harness.answer(ann_at, ann, Some(SESSION));
            assert!(world.bench.harness.is_up(party, call) && !world.bench.harness.is_up(carrier, theirs));
        }
        assert!(world.bench.harness.is_up(ann_at, ann), "{asker}");
    }
}

#[test]
fn a_refer_names_dialogs_of_its_own_user_only() {
    for (of_ann, own) in [(true, false), (false, false), (false, true)] {
        let mut world = World::new("");
        let (ann, theirs) = talking(&mut world, "1003", USER);
        let (ann_at, user_at, guest, proxied) =
            (world.party(ANN), world.party(USER), world.party(GUEST), world.party(PROXIED));
        // An unrelated call, or Ann's second one.
        let second = match own {
            true => world.call("1004"),
            false => world.call_as(GUEST, "1002", invite("sip:1004@192.0.2.1")),
        };
        let far = world.bench.harness.answer_next(proxied, SESSION);
        let named =
            if of_ann { name_of(&mut world, ann_at, ann) } else { name_of(&mut world, user_at, theirs) };
        let named = if own { name_of(&mut world, ann_at, ann) } else { named };
        let (asker, at) = if own { (ann_at, ANN) } else { (guest, GUEST) };
        world.bench.harness.take(asker);
        let (now, before) = (world.bench.harness.now(), world.bench.harness.wire.len());
        let to = Bytes::from(format!("<sip:1003@192.0.2.1?{}>", named.embedded()));
        world.bench.harness.endpoint(asker).refer(now, second, to, true, Vec::new()).expect("it is up");
        world.bench.harness.settle();
        assert_eq!(world.called_since(before), [], "nobody is called with it either");
        let (answered, last) = told(&mut world, at);
        if !own {
            assert_eq!(answered, Some(403));
            for (party, usage) in [(ann_at, ann), (user_at, theirs), (guest, second), (proxied, far)] {
                assert!(world.bench.harness.is_up(party, usage), "all talk on");
            }
            continue;
        }
        assert_eq!((answered, last), (Some(202), Some(200)));
        world.bench.harness.answer(proxied, far, Some(SESSION));
        world.bench.harness.answer(user_at, theirs, Some(SESSION));
        world.bench.harness.run(Duration::from_secs(3));
        assert!(world.bench.harness.is_up(user_at, theirs) && world.bench.harness.is_up(proxied, far));
        assert!(!world.bench.harness.is_up(ann_at, ann) && !world.bench.harness.is_up(ann_at, second));
    }
}
