//! Offers that cross a transfer, a cancellation or the end of a party: no party is left without media or gets
//! an obsolete offer.

use std::sync::Arc;
use std::time::{Duration, Instant};

use b2b_call::bridge_fsm::BridgeMode;
use b2b_call::handler::{HandlerAction, IncomingCall};
use b2b_call::service::{CallService, DialOptions, DialRequest};
use b2b_sip::endpoint::{Body, Event, UsageEvent, UsageId};
use b2b_testkit::{Handler, Harness, PartyId, SESSION};

use crate::hand::{Hand, answered, asked, body, last, nothing_left, told};
use crate::routed::{ANN, BOB, CAT, contacts, uri};
use crate::transfers::harness;

/// Ann is connected with Bob, who has transferred Ann to Cat, whose phone rings.
struct Sent {
    harness: Harness,
    ann: (PartyId, UsageId),
    bob: (PartyId, UsageId),
    cat: (PartyId, UsageId),
}

fn sent() -> Sent {
    let mut harness = harness(BridgeMode::Intercepting);
    let (ann, bob, cat) = (harness.party(ANN), harness.party(BOB), harness.party(CAT));
    let a = harness.call(ann, "bob", Some(SESSION));
    let b = harness.answer_next(bob, SESSION);
    harness.refer(bob, b, format!("<{}>", uri(CAT)));
    let c = harness.next_call(cat);
    Sent { harness, ann: (ann, a), bob: (bob, b), cat: (cat, c) }
}

/// A re-INVITE of this party; without an offer it requests one.
fn reinvites(harness: &mut Harness, (party, usage): (PartyId, UsageId), offer: Option<&str>) {
    let now = harness.now();
    let body = offer.map(|offer| Body::sdp(offer.to_owned()));
    harness.endpoint(party).reinvite(now, usage, body).expect("nothing is under way");
    harness.settle();
}

/// The number of re-INVITEs that this party received since the last call.
fn reinvited(harness: &mut Harness, party: PartyId) -> usize {
    let of = |it: &Event| matches!(it, Event::Usage { event: UsageEvent::ReInvite { .. }, .. });
    harness.take(party).iter().filter(|it| of(it)).count()
}

impl Sent {
    /// Ann is offered what Cat supports, and they hear each other; both hang up.
    fn ann_hears_cat(mut self) {
        assert_eq!(reinvited(&mut self.harness, self.ann.0), 1, "Ann is told of Cat");
        self.harness.answer(self.ann.0, self.ann.1, Some(SESSION));
        self.they_hear_each_other();
    }

    fn they_hear_each_other(mut self) {
        let Sent { harness, ann, bob, cat } = &mut self;
        harness.run(Duration::from_secs(3));
        assert!(!harness.is_up(bob.0, bob.1));
        assert!(harness.is_up(ann.0, ann.1) && harness.is_up(cat.0, cat.1));
        let snapshot = harness.snapshot();
        let bridge = snapshot[0].bridge.as_ref().expect("they talk");
        let ends = [bridge.a, bridge.b].map(|leg| harness.endpoint_of(leg).expect("media"));
        assert_eq!(harness.media().bridges().len(), 1);
        let (a, b) = harness.media().bridges()[0];
        assert!(ends == [a, b] || ends == [b, a], "they hear each other");
        harness.hang_up(ann.0, ann.1);
        self.harness.assert_nothing_left();
    }
}

#[test]
fn who_leaves_may_have_asked_for_an_offer_when_the_target_answers() {
    let mut it = sent();
    reinvites(&mut it.harness, it.bob, None);
    assert_eq!(reinvited(&mut it.harness, it.ann.0), 1, "it goes across");
    it.harness.answer(it.cat.0, it.cat.1, Some(SESSION));
    assert_eq!(answered(&it.harness, BOB, "INVITE").last(), Some(&491), "Bob is about to leave");
    let acks = told(&it.harness, ANN, "ACK").len();
    it.harness.answer(it.ann.0, it.ann.1, Some(SESSION));
    assert_eq!(told(&it.harness, ANN, "ACK").len(), acks + 1);
    assert!(!body(&last(&it.harness, ANN, "ACK")).is_empty(), "the offer has its answer (RFC 3261 §13.2.1)");
    it.ann_hears_cat();
}

#[test]
fn who_stays_may_owe_an_answer_when_the_target_answers() {
    for bob_goes in [false, true] {
        let mut it = sent();
        reinvites(&mut it.harness, it.ann, None);
        assert_eq!(reinvited(&mut it.harness, it.bob.0), 1);
        it.harness.answer(it.bob.0, it.bob.1, Some(SESSION));
        assert!(!body(&last(&it.harness, ANN, "SIP/2.0 200")).is_empty(), "Bob's offer");
        it.harness.answer(it.cat.0, it.cat.1, Some(SESSION));
        if bob_goes {
            it.harness.hang_up(it.bob.0, it.bob.1);
        }
        assert_eq!(reinvited(&mut it.harness, it.ann.0), 0, "not before Ann's ACK");
        let now = it.harness.now();
        let session = Some(Body::sdp(SESSION));
        it.harness.endpoint(it.ann.0).ack(now, it.ann.1, session).expect("a 2xx without its ACK");
        it.harness.settle();
        it.ann_hears_cat();
    }
}

/// The remaining party keeps its session, which is joined with the target's.
#[test]
fn who_stays_may_refuse_to_be_told_of_the_target_and_hears_it() {
    refuses_to_be_told(488, 1);
    // Given up after three more tries.
    refuses_to_be_told(491, 4);
}

fn refuses_to_be_told(status: u16, times: usize) {
    let mut it = sent();
    reinvites(&mut it.harness, it.ann, None);
    it.harness.answer(it.bob.0, it.bob.1, Some(SESSION));
    it.harness.answer(it.cat.0, it.cat.1, Some(SESSION));
    reinvited(&mut it.harness, it.ann.0);
    let now = it.harness.now();
    it.harness
        .endpoint(it.ann.0)
        .ack(now, it.ann.1, Some(Body::sdp(SESSION)))
        .expect("a 2xx without its ACK");
    it.harness.settle();
    assert_eq!(reinvited(&mut it.harness, it.ann.0), 1, "Ann is told of Cat");
    it.harness.reject(it.ann.0, it.ann.1, status);
    for _ in 1..times {
        it.harness.run(Duration::from_secs(5));
        assert_eq!(reinvited(&mut it.harness, it.ann.0), 1, "once more");
        it.harness.reject(it.ann.0, it.ann.1, status);
    }
    it.they_hear_each_other();
}

#[test]
fn who_stays_and_has_asked_is_put_off_and_told_of_the_target() {
    let mut it = sent();
    reinvites(&mut it.harness, it.ann, None);
    assert_eq!(reinvited(&mut it.harness, it.bob.0), 1);
    it.harness.answer(it.cat.0, it.cat.1, Some(SESSION));
    assert_eq!(answered(&it.harness, ANN, "INVITE").last(), Some(&491), "it was for Bob");
    it.ann_hears_cat();
}

#[test]
fn what_media_answers_late_is_of_its_own_exchange_alone() {
    let program = |call: IncomingCall, service: CallService| async move {
        service.answer(call.leg).await.expect("an answer");
        let options =
            DialOptions { auto_hangup: false, mode: BridgeMode::Transparent, ..DialOptions::default() };
        let DialRequest { to, .. } = contacts(&[(BOB, 0)], DialOptions::default());
        let dialled = service.dial_and_bridge(call.leg, DialRequest { to, options }).await;
        let _ = service.wait_for_termination(dialled.expect("Bob answers")).await;
        let _ = service.hold(call.leg, false).await;
        let _ = service.sleep(Duration::from_secs(60)).await;
        HandlerAction::Complete
    };
    let mut harness = Harness::new(Instant::now(), vec![Arc::new(Handler(program))]);
    let (ann, bob) = (harness.party(ANN), harness.party(BOB));
    let a = harness.call(ann, "x", Some(SESSION));
    let b = harness.answer_next(bob, SESSION);
    harness.take(ann);
    harness.wire.clear();
    harness.media().hold_descriptions();
    let opus = SESSION.replace("AVP 8 0 101", "AVP 0 101");
    reinvites(&mut harness, (bob, b), Some(&opus));
    harness.hang_up(bob, b);
    assert!(asked(&harness, ANN).is_empty(), "both wait for media");
    harness.media().describe();
    harness.settle();
    let holds = body(&last(&harness, ANN, "INVITE"));
    assert!(holds.contains("a=sendonly") && holds.contains("opus"), "Bob's offer went with Bob: {holds}");
    harness.answer(ann, a, Some(&format!("{SESSION}a=recvonly\r\n")));
    assert_eq!(asked(&harness, ANN), ["INVITE", "ACK"]);
    harness.hang_up(ann, a);
    harness.assert_nothing_left();
}

#[test]
fn an_offer_in_a_2xx_is_answered_though_the_caller_hangs_up_before_its_ack() {
    let program = |call: IncomingCall, service: CallService| async move {
        let options = DialOptions { auto_hangup: false, ..DialOptions::default() };
        let DialRequest { to, .. } = contacts(&[(BOB, 0)], DialOptions::default());
        let _ = service.dial_and_bridge(call.leg, DialRequest { to, options }).await;
        let _ = service.sleep(Duration::from_secs(60)).await;
        HandlerAction::Complete
    };
    let mut harness = Harness::new(Instant::now(), vec![Arc::new(Handler(program))]);
    let mut ann = Hand::caller(ANN);
    ann.asks(&mut harness, "INVITE", "", "");
    let bob = Hand::callee(&harness, BOB);
    bob.answers(&mut harness, "INVITE", "200 OK", SESSION);
    assert!(!body(&last(&harness, ANN, "SIP/2.0 200")).is_empty(), "Bob's offer");
    assert_eq!(asked(&harness, BOB), ["INVITE"], "the answer is to come by Ann's ACK");
    ann.asks(&mut harness, "BYE", "", "");
    assert_eq!(asked(&harness, BOB), ["INVITE", "ACK"]);
    assert!(!body(&last(&harness, BOB, "ACK")).is_empty(), "RFC 3261 §13.2.1");
    let mut bob = bob;
    bob.asks(&mut harness, "BYE", "", "");
    assert_eq!(answered(&harness, BOB, "BYE"), [200]);
    nothing_left(harness);
}
