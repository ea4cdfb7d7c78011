use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;

use super::{LotConfig, Lots, Parking};
use crate::prompts::Prompts;
use b2b_call::bridge_fsm::BridgeMode;
use b2b_call::call_fsm::CallState;
use b2b_call::handler::{ApplicationHandler, HandlerAction, HandlerFuture, IncomingCall, Referral};
use b2b_call::service::{CallService, DialRequest};
use b2b_testkit::{Harness, PartyId, SESSION, UsageId};

const ANN: &str = "192.0.2.11:5060";
const BOB: &str = "192.0.2.12:5060";
const CAT: &str = "192.0.2.13:5060";

/// 700 and the slots belong to the lot; every other number is Bob.
struct Desk;

fn is_lot(number: &str) -> bool {
    number.contains("70")
}

impl ApplicationHandler for Desk {
    fn name(&self) -> &str {
        "desk"
    }

    fn handle_incoming_call(&self, call: IncomingCall, _: CallService) -> HandlerFuture {
        let mut request = DialRequest::to(format!("sip:bob@{BOB}"));
        request.options.mode = BridgeMode::Intercepting;
        Box::pin(async move {
            match is_lot(&call.called()) {
                true => HandlerAction::Handle("park/lot".to_owned()),
                false => HandlerAction::Dial(Box::new(request)),
            }
        })
    }

    fn handle_referral(&self, _: Referral) -> HandlerFuture {
        Box::pin(async { HandlerAction::Handle("park/lot".to_owned()) })
    }
}

struct House {
    harness: Harness,
    config: LotConfig,
    lots: Lots,
    ann: (PartyId, UsageId),
    bob: (PartyId, UsageId),
}

/// Ann talks to Bob.
fn house(change: impl FnOnce(&mut LotConfig)) -> House {
    let music = Some("jazz".to_owned());
    let mut config = LotConfig { slots: 701..=702, music, ..LotConfig::new("lot") };
    change(&mut config);
    let (lots, handlers) = program(&config);
    let mut harness = Harness::new(Instant::now(), handlers);
    let (ann, bob) = (harness.party(ANN), harness.party(BOB));
    let a = harness.call(ann, "bob", Some(SESSION));
    let b = harness.answer_next(bob, SESSION);
    House { harness, config, lots, ann: (ann, a), bob: (bob, b) }
}

fn program(config: &LotConfig) -> (Lots, Vec<Arc<dyn ApplicationHandler>>) {
    let lots = Lots::new();
    let parking = Parking::new(config.clone(), &lots);
    (lots, vec![Arc::new(Desk), Arc::new(parking)])
}

impl House {
    /// Bob transfers Ann there; she accepts the offer that follows.
    fn parks(&mut self, number: &str) {
        let now = self.harness.now();
        let to = Bytes::from(format!("<sip:{number}@192.0.2.1>"));
        self.harness.endpoint(self.bob.0).refer(now, self.bob.1, to, true, Vec::new()).expect("REFER");
        self.harness.settle();
        self.harness.answer(self.ann.0, self.ann.1, Some(SESSION));
        self.runs(3);
    }

    /// The server dies, and the next one goes on.
    fn dies(&mut self) {
        let (lots, handlers) = program(&self.config);
        self.lots = lots;
        self.harness.dies(handlers);
    }

    fn runs(&mut self, seconds: u64) {
        self.harness.run(Duration::from_secs(seconds));
    }

    fn taken(&self) -> Vec<u32> {
        self.lots.view().iter().map(|(_, slot, _)| *slot).collect()
    }

    fn ends(mut self) {
        self.runs(3);
        assert_eq!(self.taken(), [0; 0]);
        self.harness.assert_nothing_left();
    }
}

#[test]
fn who_is_parked_hears_music_and_is_joined_with_who_dials_the_slot() {
    for (to, slot) in [("700", 701), ("702", 702)] {
        let mut house = house(|_| {});
        house.parks(to);
        assert!(!house.harness.is_up(house.bob.0, house.bob.1), "Bob has done with Ann");
        assert_eq!(house.taken(), [slot]);
        let call = house.harness.snapshot().remove(0);
        assert_eq!(call.state, CallState::Parking);
        assert!(call.variables.contains(&("parked".to_owned(), slot.to_string())), "{:?}", call.variables);
        assert_eq!(house.harness.media().music().len(), 1);
        let cat = house.harness.party(CAT);
        let c = house.harness.call(cat, &slot.to_string(), Some(SESSION));
        house.runs(1);
        assert!(house.harness.is_up(cat, c) && house.harness.is_up(house.ann.0, house.ann.1));
        assert_eq!((house.harness.media().music().len(), house.harness.media().bridges().len()), (0, 1));
        let calls = house.harness.snapshot();
        assert_eq!(calls.len(), 1, "one conversation, one call");
        house.harness.hang_up(cat, c);
        house.runs(1);
        assert!(!house.harness.is_up(house.ann.0, house.ann.1));
        house.ends();
    }
}

#[test]
fn who_parks_somebody_is_called_and_hears_the_slot_and_who_dials_the_lot_hears_their_own() {
    let says = |config: &mut LotConfig| config.announce = Some(Prompts::new("/p"));
    let mut house = house(says);
    house.parks("700");
    let called = house.harness.answer_next(house.bob.0, SESSION);
    house.runs(1);
    let digits = ["7.wav", "0.wav", "1.wav"];
    let said = |words: &[String]| digits.iter().all(|digit| words.iter().any(|it| it.contains(digit)));
    assert!(said(&house.harness.media().heard_words()));
    house.runs(20);
    assert!(!house.harness.is_up(house.bob.0, called), "it is said twice, and no more");
    assert_eq!(house.taken(), [701], "Ann waits");
    assert_eq!(house.harness.media().music().len(), 1);
    house.harness.hang_up(house.ann.0, house.ann.1);
    house.ends();
    // A party that chooses the slot is not told its number.
    let mut house = self::house(says);
    house.parks("702");
    assert!(house.harness.incoming(house.bob.0).is_empty(), "Bob is not called");
    let cat = house.harness.party(CAT);
    let c = house.harness.call(cat, "700", Some(SESSION));
    house.runs(1);
    assert!(said(&house.harness.media().heard_words()));
    house.runs(20);
    assert_eq!(house.harness.media().music().len(), 2);
    house.harness.hang_up(cat, c);
    house.harness.hang_up(house.ann.0, house.ann.1);
    house.ends();
}

#[test]
fn an_empty_slot_gets_404_and_who_hangs_up_leaves_the_slot() {
    let mut house = house(|_| {});
    let cat = house.harness.party(CAT);
    let c = house.harness.call(cat, "701", Some(SESSION));
    house.runs(1);
    assert!(!house.harness.is_up(cat, c));
    house.parks("700");
    house.harness.hang_up(house.ann.0, house.ann.1);
    house.ends();
}

#[test]
fn after_a_time_who_parked_is_called_and_gets_the_caller_back() {
    let mut house = house(|config| config.timeout = Duration::from_secs(10));
    house.parks("700");
    house.runs(7);
    let bob = house.bob.0;
    let again = house.harness.next_call(bob);
    house.harness.answer(bob, again, Some(SESSION));
    house.runs(1);
    assert!(house.harness.is_up(bob, again) && house.harness.is_up(house.ann.0, house.ann.1));
    assert_eq!((house.harness.media().music().len(), house.harness.media().bridges().len()), (0, 1));
    assert_eq!(house.taken(), [0; 0]);
    house.harness.hang_up(bob, again);
    house.ends();
}

#[test]
fn who_is_not_taken_back_waits_again_and_not_for_ever() {
    let mut house = house(|config| config.timeout = Duration::from_secs(10));
    house.parks("700");
    for round in 0..3 {
        house.runs(if round == 0 { 7 } else { 11 });
        let bob = house.bob.0;
        let again = house.harness.next_call(bob);
        house.harness.reject(bob, again, 486);
        house.runs(1);
        assert_eq!(house.taken().len(), usize::from(round < 2), "round {round}");
    }
    house.runs(3);
    assert!(!house.harness.is_up(house.ann.0, house.ann.1), "given up");
    house.ends();
}

#[test]
fn a_full_lot_takes_nobody_more() {
    let mut house = house(|config| config.slots = 701..=701);
    house.parks("700");
    let cat = house.harness.party(CAT);
    let c = house.harness.call(cat, "700", Some(SESSION));
    house.runs(2);
    assert!(!house.harness.is_up(cat, c));
    assert_eq!(house.taken(), [701]);
    house.harness.hang_up(house.ann.0, house.ann.1);
    house.ends();
}

#[test]
fn who_is_parked_keeps_slot_music_and_time_when_the_server_dies() {
    let mut house = house(|config| config.timeout = Duration::from_secs(10));
    house.parks("702");
    house.dies();
    assert_eq!((house.taken(), house.harness.media().music().len()), (vec![702], 1));
    assert_eq!(house.harness.snapshot().remove(0).state, CallState::Parking);
    // The ten seconds are those since the caller was parked.
    house.runs(6);
    assert!(house.harness.incoming(house.bob.0).is_empty(), "it is not time yet");
    house.runs(1);
    let bob = house.bob.0;
    let again = house.harness.next_call(bob);
    // And while the party that parked the caller is called.
    house.dies();
    assert_eq!((house.taken(), house.harness.media().music().len()), (vec![], 1));
    house.harness.answer(bob, again, Some(SESSION));
    house.runs(1);
    assert!(house.harness.is_up(bob, again) && house.harness.is_up(house.ann.0, house.ann.1));
    assert_eq!((house.harness.media().music().len(), house.harness.media().bridges().len()), (0, 1));
    house.harness.hang_up(bob, again);
    house.ends();
}

#[test]
fn who_dials_the_slot_gets_the_caller_of_the_server_before() {
    let mut house = house(|_| {});
    house.parks("700");
    house.dies();
    let cat = house.harness.party(CAT);
    let c = house.harness.call(cat, "701", Some(SESSION));
    house.runs(1);
    assert!(house.harness.is_up(cat, c) && house.harness.is_up(house.ann.0, house.ann.1));
    assert_eq!((house.harness.media().music().len(), house.harness.media().bridges().len()), (0, 1));
    house.harness.hang_up(cat, c);
    house.ends();
}
