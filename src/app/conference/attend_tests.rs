use std::sync::Arc;
use std::time::{Duration, Instant};

use super::{Conference, RoomConfig, Rooms, Word};
use crate::wrong_pins::WrongPins;
use b2b_base::util::secret::SecretText;
use b2b_call::bus::Received;
use b2b_call::call_fsm::CallState;
use b2b_call::event::Event;
use b2b_call::handler::{ApplicationHandler, HandlerAction, HandlerFuture, IncomingCall};
use b2b_call::service::CallService;
use b2b_testkit::{Harness, PartyId, SESSION, UsageId};

/// Sends every caller to the room.
struct Door;

impl ApplicationHandler for Door {
    fn name(&self) -> &str {
        "door"
    }

    fn handle_incoming_call(&self, _: IncomingCall, _: CallService) -> HandlerFuture {
        Box::pin(async { HandlerAction::Handle("conference/blue".to_owned()) })
    }
}

struct House {
    harness: Harness,
    rooms: Rooms,
}

fn house(change: impl FnOnce(&mut RoomConfig)) -> House {
    let mut config = RoomConfig::new("blue");
    for word in Word::ALL {
        config.words.set(*word, format!("{}.wav", word.as_str()));
    }
    change(&mut config);
    let rooms = Rooms::new("start", WrongPins::default());
    let room = Conference::new(config, &rooms);
    let harness = Harness::new(Instant::now(), vec![Arc::new(Door), Arc::new(room)]);
    House { harness, rooms }
}

impl House {
    /// A party calls; one second passes.
    fn comes(&mut self, n: usize) -> (PartyId, UsageId) {
        let party = self.harness.party(&format!("192.0.2.{}:5060", 10 + n));
        let usage = self.harness.call(party, "blue", Some(SESSION));
        self.runs(1);
        (party, usage)
    }

    fn runs(&mut self, seconds: u64) {
        self.harness.run(Duration::from_secs(seconds));
    }

    /// The caller of the n-th call presses keys; two seconds pass.
    fn presses(&mut self, n: usize, digits: &str) {
        let leg = self.harness.snapshot()[n].legs[0].leg;
        let endpoint = self.harness.endpoint_of(leg).expect("answered");
        self.harness.press(endpoint, digits);
        self.runs(2);
    }

    fn heard(&self) -> Vec<String> {
        self.harness.media().heard_words()
    }

    /// The number of members in the mix, and of rooms.
    fn mixed(&self) -> (usize, usize) {
        let rooms = self.harness.media().rooms();
        (rooms.iter().map(|(_, room)| room.members.len()).sum(), rooms.len())
    }
}

#[test]
fn callers_meet_in_one_room_that_ends_with_the_last_of_them() {
    let mut house = house(|_| {});
    let mut bus = house.harness.bus().subscribe();
    let ann = house.comes(1);
    house.runs(1);
    assert_eq!(house.harness.snapshot()[0].state, CallState::InConference);
    let bob = house.comes(2);
    assert_eq!(house.mixed(), (2, 1));
    assert_eq!(house.heard(), ["alone.wav", "joined.wav", "joined.wav"]);
    assert_eq!(house.rooms.view()[0].participants.len(), 2);
    house.harness.hang_up(ann.0, ann.1);
    house.runs(1);
    assert_eq!((house.mixed(), house.heard()), ((1, 1), vec!["gone.wav".to_owned()]));
    house.harness.hang_up(bob.0, bob.1);
    house.runs(1);
    assert_eq!((house.mixed(), house.rooms.view()), ((0, 0), Vec::new()));
    let told: Vec<String> = std::iter::from_fn(|| bus.try_recv())
        .filter_map(|received| match received {
            Received::Event(it) => match &it.event {
                Event::Application { name, call: Some(_), .. } => Some(name.clone()),
                _ => None,
            },
            Received::Lagged(_) => None,
        })
        .collect();
    assert_eq!(told, ["started", "joined", "joined", "left", "left", "ended"]);
    house.harness.assert_nothing_left();
}

#[test]
fn three_wrong_pins_are_the_end_and_the_right_one_opens() {
    let mut house = house(|config| config.pin = Some(SecretText::new("4711")));
    let ann = house.comes(1);
    for _ in 0..3 {
        house.presses(0, "12#");
    }
    house.runs(2);
    assert!(house.harness.ended(ann.0, ann.1).is_some(), "sent away");
    let asked = ["ask_pin.wav", "wrong_pin.wav"].repeat(3);
    assert_eq!(house.heard(), [&asked[..], &["goodbye.wav"]].concat());
    let bob = house.comes(2);
    house.presses(0, "4711#");
    assert_eq!(
        (house.heard(), house.mixed()),
        (["ask_pin.wav", "alone.wav", "joined.wav"].map(str::to_owned).to_vec(), (1, 1))
    );
    house.harness.hang_up(bob.0, bob.1);
    house.runs(1);
    house.harness.assert_nothing_left();
}

#[test]
fn a_caller_that_goes_at_any_moment_leaves_nothing() {
    for wait_ms in (0..9_000).step_by(450) {
        let mut house = house(|config| config.pin = Some(SecretText::new("1")));
        let ann = house.harness.party("192.0.2.11:5060");
        let call = house.harness.call(ann, "blue", Some(SESSION));
        house.harness.run(Duration::from_millis(200));
        let leg = house.harness.snapshot()[0].legs[0].leg;
        if let Some(endpoint) = house.harness.endpoint_of(leg) {
            house.harness.press(endpoint, "1#");
        }
        house.harness.run(Duration::from_millis(wait_ms));
        house.harness.hang_up(ann, call);
        house.runs(3);
        assert_eq!((house.mixed(), house.rooms.view()), ((0, 0), Vec::new()), "after {wait_ms} ms");
        house.harness.assert_nothing_left();
    }
}

#[test]
fn keys_mute_a_member_and_a_moderator_sends_the_last_one_away() {
    let mut house = house(|config| {
        config.pin = Some(SecretText::new("1"));
        config.moderator_pin = Some(SecretText::new("9"));
    });
    let ann = house.comes(1);
    house.presses(0, "9#");
    let bob = house.comes(2);
    house.presses(1, "1#");
    house.heard();
    house.presses(1, "*1");
    let muted = |house: &House| {
        let rooms = house.harness.media().rooms();
        rooms[0].1.members.values().filter(|member| member.muted).count()
    };
    assert_eq!((muted(&house), house.heard()), (1, vec!["muted.wav".to_owned()]));
    house.presses(0, "*8");
    assert_eq!(muted(&house), 0);
    house.presses(1, "*9");
    assert_eq!(house.heard(), ["unmuted.wav", "refused.wav"], "only moderators send away");
    house.presses(0, "*9");
    house.runs(2);
    assert!(house.harness.ended(bob.0, bob.1).is_some());
    assert_eq!(house.mixed(), (1, 1));
    house.presses(0, "*2");
    house.runs(1);
    assert!(house.harness.ended(ann.0, ann.1).is_some(), "left by key");
    house.harness.assert_nothing_left();
}

#[test]
fn others_hear_music_until_a_moderator_comes_and_go_with_the_moderator() {
    let mut house = house(|config| {
        config.needs_moderator = true;
        config.moderator_pin = Some(SecretText::new("9"));
        config.music = Some("jazz".to_owned());
    });
    let bob = house.comes(1);
    house.presses(0, "#");
    house.runs(1);
    let classes =
        |house: &House| house.harness.media().music().into_iter().map(|(_, it)| it).collect::<Vec<_>>();
    assert_eq!((classes(&house), house.mixed()), (vec!["jazz".to_owned()], (0, 0)));
    let ann = house.comes(2);
    house.presses(1, "9#");
    assert_eq!((classes(&house).len(), house.mixed()), (0, (2, 1)));
    house.harness.hang_up(ann.0, ann.1);
    house.runs(3);
    assert!(house.harness.ended(bob.0, bob.1).is_some());
    house.harness.assert_nothing_left();
}

#[test]
fn a_room_is_recorded_from_its_first_member_to_its_last() {
    let mut house = house(|config| {
        config.recordings = Some("/tmp/rooms".into());
        config.recorded = true;
    });
    let ann = house.comes(1);
    house.runs(3);
    let running =
        |house: &House| house.harness.media().recordings().iter().filter(|(_, it)| it.running).count();
    assert_eq!(running(&house), 1);
    house.presses(0, "*0");
    assert_eq!(running(&house), 0, "a moderator ends it");
    house.presses(0, "*0");
    assert_eq!(running(&house), 1);
    house.harness.hang_up(ann.0, ann.1);
    house.runs(1);
    let recordings = house.harness.media().recordings();
    let names: std::collections::BTreeSet<_> =
        recordings.iter().map(|(_, it)| it.spec.path.clone()).collect();
    assert_eq!((running(&house), names.len()), (0, 2), "{recordings:?}");
    house.harness.assert_nothing_left();
}

#[test]
fn who_leaves_by_key_is_handed_on_where_the_room_says_so() {
    let mut house = house(|config| config.then = Some("door".to_owned()));
    let ann = house.comes(1);
    house.presses(0, "*2");
    house.runs(2);
    // `Door` sends the member back into the room.
    assert_eq!(house.mixed(), (1, 1));
    house.harness.hang_up(ann.0, ann.1);
    house.runs(1);
    house.harness.assert_nothing_left();
}
