//! Parties whose media is lost, with a media server or a port, and goes on elsewhere.

use std::time::Duration;

use b2b_call::bridge_fsm::BridgeMode;
use b2b_call::controller::{EndpointId, MediaEvent};
use b2b_sip::endpoint::{Body, Event, UsageEvent, UsageId};
use b2b_testkit::{Harness, Moment, PartyId, SESSION};

use crate::in_call::asked;
use crate::parted::{desk, surviving};
use crate::routed::{ANN, BOB, CAT, recorded, to_bob, uri};
use crate::transfers;

type Party = (PartyId, UsageId);

/// Ann talks to Bob.
fn talking() -> (Harness, Party, Party) {
    let mut harness = to_bob();
    let (ann, bob) = (harness.party(ANN), harness.party(BOB));
    let at_ann = harness.call(ann, "bob", Some(SESSION));
    let at_bob = harness.answer_next(bob, SESSION);
    harness.take(ann);
    harness.take(bob);
    (harness, (ann, at_ann), (bob, at_bob))
}

fn loses(harness: &mut Harness, endpoint: u64) {
    let reason = "the media server is gone".to_owned();
    harness.media_event(MediaEvent::Failed { endpoint: EndpointId(endpoint), reason });
}

/// A party has been offered another address, and takes it.
fn takes_another(harness: &mut Harness, (party, usage): Party) {
    harness.settle();
    assert!(asked(harness, party).is_some());
    harness.answer(party, usage, Some(SESSION));
    harness.settle();
}

/// The parties agree to what they are offered meanwhile; how often each was asked.
fn agree<const N: usize>(harness: &mut Harness, parties: [PartyId; N]) -> [usize; N] {
    reply(harness, parties, |harness, party, usage| harness.answer(party, usage, Some(SESSION)))
}

/// The parties refuse what they are offered meanwhile; how often each was asked.
fn refuse<const N: usize>(harness: &mut Harness, parties: [PartyId; N]) -> [usize; N] {
    reply(harness, parties, |harness, party, usage| harness.reject(party, usage, 488))
}

fn reply<const N: usize>(
    harness: &mut Harness,
    parties: [PartyId; N],
    with: impl Fn(&mut Harness, PartyId, UsageId),
) -> [usize; N] {
    let mut asked = [0; N];
    for _ in 0..50 {
        harness.run(Duration::from_millis(200));
        for (count, party) in asked.iter_mut().zip(parties) {
            for event in harness.take(party) {
                if let Event::Usage { usage, event: UsageEvent::ReInvite { .. } } = event {
                    *count += 1;
                    with(harness, party, usage);
                }
            }
        }
    }
    asked
}

fn bridged(harness: &Harness, a: u64, b: u64) -> bool {
    let both = [(EndpointId(a), EndpointId(b)), (EndpointId(b), EndpointId(a))];
    matches!(&harness.media().bridges()[..], [it] if both.contains(it))
}

/// Number and version of the session in a description, its port, and its formats.
fn session(text: &str) -> (String, u64, String, String) {
    let line = |start| text.lines().find(|line| line.starts_with(start)).expect("a line");
    let (origin, media) = (line("o="), line("m=audio"));
    let part = |line: &str, n: usize| line.split(' ').nth(n).expect("a part").to_owned();
    let formats = media.split(' ').skip(3).collect::<Vec<_>>().join(" ");
    (part(origin, 1), part(origin, 2).parse().expect("a number"), part(media, 1), formats)
}

/// The last description that b2b has sent to an address.
fn last_told(harness: &Harness, address: &str) -> String {
    let address = address.parse().expect("an address");
    let told = harness.wire.iter().rev().filter(|it| it.to == address).map(|it| it.text());
    told.into_iter().find(|text| text.contains("m=audio")).expect("a description")
}

#[test]
fn parties_whose_media_server_dies_talk_on_by_another_in_the_same_session() {
    let (mut harness, ann, bob) = talking();
    let before = [ANN, BOB].map(|at| session(&last_told(&harness, at)));
    loses(&mut harness, 1);
    loses(&mut harness, 2);
    for ((party, usage), before) in [ann, bob].into_iter().zip(before) {
        harness.run(Duration::from_millis(100));
        let (id, version, port, formats) = session(&asked(&mut harness, party).expect("a re-INVITE"));
        assert_eq!((&id, version, &formats), (&before.0, before.1 + 1, &before.3));
        assert_ne!(port, before.2);
        harness.answer(party, usage, Some(SESSION));
    }
    harness.run(Duration::from_secs(5));
    assert!(bridged(&harness, 3, 4), "{:?}", harness.media().bridges());
    assert!([ann, bob].iter().all(|(party, _)| asked(&mut harness, *party).is_none()), "each is told once");
    harness.hang_up(ann.0, ann.1);
    assert!(!harness.is_up(bob.0, bob.1));
    harness.assert_nothing_left();
}

#[test]
fn a_party_that_loses_its_media_is_told_and_its_partner_is_not() {
    let (mut harness, ann, bob) = talking();
    loses(&mut harness, 2);
    harness.settle();
    assert!(asked(&mut harness, ann.0).is_none());
    takes_another(&mut harness, bob);
    assert!(bridged(&harness, 1, 3));
    // It is lost once more.
    loses(&mut harness, 3);
    takes_another(&mut harness, bob);
    assert!(bridged(&harness, 1, 4));
    harness.hang_up(bob.0, bob.1);
    assert!(!harness.is_up(ann.0, ann.1));
    harness.assert_nothing_left();
}

#[test]
fn a_party_that_takes_no_other_address_is_hung_up_and_its_partner_is() {
    let (mut harness, ann, bob) = talking();
    loses(&mut harness, 2);
    harness.settle();
    assert!(asked(&mut harness, bob.0).is_some());
    harness.reject(bob.0, bob.1, 488);
    harness.run(Duration::from_secs(1));
    assert!(!harness.is_up(ann.0, ann.1) && !harness.is_up(bob.0, bob.1));
    let causes: Vec<_> = harness.records().iter().map(|it| it.ending.q850).collect();
    assert!(causes.contains(&102), "{causes:?}");
    harness.assert_nothing_left();
}

#[test]
fn a_request_that_crosses_a_loss_is_refused_and_both_are_told_after_it() {
    let (mut harness, ann, bob) = talking();
    let now = harness.now();
    // Bob holds: Ann has not answered that when her media is lost.
    let held = Body::sdp(format!("{SESSION}a=sendonly\r\n"));
    harness.endpoint(bob.0).reinvite(now, bob.1, Some(held)).expect("nothing is under way");
    harness.settle();
    assert!(asked(&mut harness, ann.0).is_some());
    loses(&mut harness, 1);
    loses(&mut harness, 2);
    harness.answer(ann.0, ann.1, Some(&format!("{SESSION}a=recvonly\r\n")));
    let refused = harness.take(bob.0).iter().any(|event| {
        matches!(event, Event::Usage { event: UsageEvent::ReInviteFailed { status: 500, .. }, .. })
    });
    assert!(refused, "Bob asks again");
    let told = agree(&mut harness, [ann.0, bob.0]);
    assert!(harness.is_up(ann.0, ann.1) && harness.is_up(bob.0, bob.1));
    assert!(told[0] >= 1 && told[1] == 1, "{told:?}");
    assert!(bridged(&harness, 3, 4), "{:?}", harness.media().bridges());
    harness.hang_up(ann.0, ann.1);
    harness.assert_nothing_left();
}

#[test]
fn an_answer_to_an_address_that_is_lost_by_then_is_followed_by_the_next_one() {
    let (mut harness, ann, bob) = talking();
    loses(&mut harness, 2);
    harness.settle();
    let first = session(&asked(&mut harness, bob.0).expect("a re-INVITE"));
    loses(&mut harness, 3);
    harness.settle();
    harness.answer(bob.0, bob.1, Some(SESSION));
    harness.settle();
    let next = session(&asked(&mut harness, bob.0).expect("another re-INVITE"));
    assert_eq!((next.0, next.1), (first.0, first.1 + 1));
    assert_ne!(next.2, first.2);
    harness.answer(bob.0, bob.1, Some(SESSION));
    assert_eq!(agree(&mut harness, [ann.0, bob.0]), [0, 0]);
    assert!(bridged(&harness, 1, 4), "{:?}", harness.media().bridges());
    harness.hang_up(ann.0, ann.1);
    harness.assert_nothing_left();
}

#[test]
fn a_party_whose_endpoint_is_still_being_opened_is_told_when_it_is_there() {
    let (mut harness, ann, bob) = talking();
    harness.media().hold_endpoints();
    loses(&mut harness, 1);
    loses(&mut harness, 2);
    harness.run(Duration::from_secs(1));
    assert!([ann, bob].iter().all(|(party, _)| asked(&mut harness, *party).is_none()));
    harness.media().open_endpoints();
    assert_eq!(agree(&mut harness, [ann.0, bob.0]), [1, 1]);
    assert!(bridged(&harness, 3, 4), "{:?}", harness.media().bridges());
    harness.hang_up(bob.0, bob.1);
    harness.assert_nothing_left();
}

#[test]
fn who_hangs_up_while_another_endpoint_is_opened_leaves_none() {
    let (mut harness, ann, bob) = talking();
    harness.media().hold_endpoints();
    loses(&mut harness, 1);
    harness.hang_up(ann.0, ann.1);
    harness.media().open_endpoints();
    harness.run(Duration::from_secs(1));
    assert!(!harness.is_up(bob.0, bob.1));
    harness.assert_nothing_left();
}

#[test]
fn a_glare_with_the_offer_of_another_address_is_followed_by_the_same_offer() {
    let (mut harness, ann, bob) = talking();
    loses(&mut harness, 2);
    harness.settle();
    assert!(asked(&mut harness, bob.0).is_some());
    harness.reject(bob.0, bob.1, 491);
    let again = (0..100).any(|_| {
        harness.run(Duration::from_millis(100));
        asked(&mut harness, bob.0).is_some()
    });
    assert!(again);
    harness.answer(bob.0, bob.1, Some(SESSION));
    harness.settle();
    assert!(bridged(&harness, 1, 3));
    harness.hang_up(ann.0, ann.1);
    harness.assert_nothing_left();
}

#[test]
fn a_party_that_asks_first_after_a_glare_is_told_by_the_answer_and_heard() {
    let (mut harness, ann, bob) = talking();
    loses(&mut harness, 2);
    harness.settle();
    assert!(asked(&mut harness, bob.0).is_some());
    harness.reject(bob.0, bob.1, 491);
    let now = harness.now();
    let other = Body::sdp(format!("{SESSION}a=ptime:30\r\n"));
    harness.endpoint(bob.0).reinvite(now, bob.1, Some(other)).expect("nothing is under way");
    agree(&mut harness, [ann.0, bob.0]);
    assert!(bridged(&harness, 1, 3), "{:?}", harness.media().bridges());
    harness.hang_up(ann.0, ann.1);
    harness.assert_nothing_left();
}

#[test]
fn the_recording_of_a_call_goes_on_where_its_media_does() {
    let (mut harness, ann, at_ann) = recorded();
    let (call, service) = (harness.snapshot()[0].call, harness.service());
    harness.wait(Duration::from_secs(1), async move { service.record_call(call, None).await }).unwrap();
    let file = harness.snapshot().remove(0).recording.expect("it is recorded").file;
    loses(&mut harness, 1);
    assert_eq!(agree(&mut harness, [ann]), [1]);
    let begun: Vec<_> = harness.media().recordings().into_iter().map(|(_, it)| it.spec).collect();
    assert!(begun.iter().all(|it| it.path.to_str() == Some(&file)), "{begun:?}");
    assert!(begun.last().is_some_and(|it| it.append), "{begun:?}");
    harness.hang_up(ann, at_ann);
    harness.assert_nothing_left();
}

#[test]
fn a_party_whose_media_was_not_written_when_the_process_died_talks_on() {
    let mut harness = surviving();
    let (ann, bob) = (harness.party(ANN), harness.party(BOB));
    harness.media().write_no_more();
    let at_ann = harness.call(ann, "bob", Some(SESSION));
    let at_bob = harness.answer_next(bob, SESSION);
    harness.take(ann);
    harness.take(bob);
    dies(&mut harness, ann);
    assert_eq!(agree(&mut harness, [ann, bob]), [1, 1]);
    assert!(harness.is_up(ann, at_ann) && harness.is_up(bob, at_bob));
    assert_eq!(harness.media().bridges().len(), 1);
    harness.hang_up(ann, at_ann);
    harness.run(Duration::from_secs(400));
    harness.assert_nothing_held();
}

/// The process dies and comes back.
fn dies(harness: &mut Harness, ann: PartyId) {
    harness.dies_after(1, Moment::BeforeMessages);
    harness.call(ann, "busy", Some(SESSION));
    assert!(harness.is_down());
    harness.comes_back(desk(), |_| {});
}

/// Ann talks to Bob, whose answer media was told, but it was not written.
fn answered_unwritten() -> (Harness, Party, Party) {
    let mut harness = surviving();
    let (ann, bob) = (harness.party(ANN), harness.party(BOB));
    let at_ann = harness.call(ann, "bob", Some(SESSION));
    let at_bob = harness.next_call(bob);
    harness.media().fall_behind();
    harness.answer(bob, at_bob, Some(SESSION));
    harness.take(ann);
    harness.take(bob);
    (harness, (ann, at_ann), (bob, at_bob))
}

#[test]
fn a_party_that_is_asked_again_in_vain_talks_on_if_media_has_its_session() {
    let mut harness = surviving();
    let (ann, bob) = (harness.party(ANN), harness.party(BOB));
    let at_ann = harness.call(ann, "bob", Some(SESSION));
    let at_bob = harness.answer_next(bob, SESSION);
    harness.media().fall_behind();
    let now = harness.now();
    harness.endpoint(ann).reinvite(now, at_ann, Some(Body::sdp(SESSION))).expect("nothing is under way");
    agree(&mut harness, [ann, bob]);
    dies(&mut harness, ann);
    assert_eq!(refuse(&mut harness, [ann, bob]), [1, 1]);
    assert!(harness.is_up(ann, at_ann) && harness.is_up(bob, at_bob));
    assert_eq!(harness.media().bridges().len(), 1);
}

#[test]
fn a_party_that_is_asked_again_in_vain_is_hung_up_if_media_forgot_it() {
    let (mut harness, ann, bob) = answered_unwritten();
    dies(&mut harness, ann.0);
    refuse(&mut harness, [ann.0, bob.0]);
    assert!(!harness.is_up(ann.0, ann.1) && !harness.is_up(bob.0, bob.1));
    harness.run(Duration::from_secs(400));
    harness.assert_nothing_held();
}

#[test]
fn parties_whose_answer_came_as_the_process_died_are_asked_again_and_talk() {
    let (mut harness, (ann, at_ann), (bob, at_bob)) = answered_unwritten();
    let first = session(&last_told(&harness, ANN));
    dies(&mut harness, ann);
    assert!(harness.media().bridges().is_empty(), "media has forgotten the answer");
    assert_eq!(agree(&mut harness, [ann, bob]), [1, 1]);
    let again = session(&last_told(&harness, ANN));
    assert!(again.0 == first.0 && again.1 > first.1, "{first:?} {again:?}");
    assert!(harness.is_up(ann, at_ann) && harness.is_up(bob, at_bob));
    assert_eq!(harness.media().bridges().len(), 1);
    harness.hang_up(ann, at_ann);
    harness.run(Duration::from_secs(400));
    harness.assert_nothing_held();
}

#[test]
fn who_was_transferred_while_media_moved_is_connected_with_the_target() {
    let mut harness = transfers::harness(BridgeMode::Intercepting);
    let (ann, bob, cat) = (harness.party(ANN), harness.party(BOB), harness.party(CAT));
    let at_ann = harness.call(ann, "bob", Some(SESSION));
    let at_bob = harness.answer_next(bob, SESSION);
    harness.take(ann);
    harness.refer(bob, at_bob, format!("<{}>", uri(CAT)));
    let at_cat = harness.next_call(cat);
    loses(&mut harness, 1);
    harness.answer(cat, at_cat, Some(SESSION));
    agree(&mut harness, [ann, cat]);
    assert!(harness.is_up(ann, at_ann) && harness.is_up(cat, at_cat));
    assert_eq!(harness.media().bridges().len(), 1);
    harness.hang_up(cat, at_cat);
    assert!(!harness.is_up(ann, at_ann));
    harness.assert_nothing_left();
}
