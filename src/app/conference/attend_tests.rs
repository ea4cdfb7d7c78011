use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::{Conference, RoomConfig, Rooms, Word};
use crate::wrong_pins::WrongPins;
use b2b_base::util::secret::SecretText;
use b2b_call::bus::{Received, Subscriber};
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
    config: RoomConfig,
    rooms: Rooms,
}

/// The rooms and handlers of a process that starts.
fn program(config: &RoomConfig) -> (Rooms, Vec<Arc<dyn ApplicationHandler>>) {
    let rooms = Rooms::new("start", WrongPins::default());
    let room = Conference::new(config.clone(), &rooms);
    (rooms, vec![Arc::new(Door), Arc::new(room)])
}

fn house(change: impl FnOnce(&mut RoomConfig)) -> House {
    let mut config = RoomConfig::new("blue");
    for word in Word::ALL {
        config.words.set(*word, format!("{}.wav", word.as_str()));
    }
    change(&mut config);
    let (rooms, handlers) = program(&config);
    let harness = Harness::new(Instant::now(), handlers);
    House { harness, config, rooms }
}

impl House {
    /// A party calls; one second passes.
    fn comes(&mut self, n: usize) -> (PartyId, UsageId) {
        let party = self.harness.party(&format!("192.0.2.{}:5060", 10 + n));
        let usage = self.harness.call(party, "blue", Some(SESSION));
        self.runs(1);
        (party, usage)
    }

    fn calls(&mut self, n: usize) {
        self.comes(n);
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

    /// The server dies, and the next one goes on.
    fn dies(&mut self) {
        let (rooms, handlers) = program(&self.config);
        self.rooms = rooms;
        self.harness.dies(handlers);
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

/// The application events since the last call.
fn told(bus: &mut Subscriber) -> Vec<String> {
    std::iter::from_fn(|| bus.try_recv())
        .filter_map(|received| match received {
            Received::Event(it) => match &it.event {
                Event::Application { name, call: Some(_), .. } => Some(name.clone()),
                _ => None,
            },
            Received::Lagged(_) => None,
        })
        .collect()
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
    assert_eq!(told(&mut bus), ["started", "joined", "joined", "left", "left", "ended"]);
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

/// The files of running recordings, and how long they are.
fn recorded(house: &House) -> Vec<(PathBuf, Duration)> {
    let recordings = house.harness.media().recordings().into_iter();
    recordings.filter(|(_, it)| it.running).map(|(_, it)| (it.spec.path, it.lasts)).collect()
}

/// What can be seen of a room: its members, the mix, music, recordings, and what was told and heard since last.
fn seen(house: &House, bus: &mut Subscriber) -> String {
    let media = house.harness.media();
    let mix: Vec<_> = media.rooms().into_iter().flat_map(|(_, room)| room.members).collect();
    let recordings = media.recordings();
    let running = recorded(house).len();
    let files: std::collections::BTreeSet<_> = recordings.iter().map(|(_, it)| &it.spec.path).collect();
    let (told, heard) = (told(bus), house.heard());
    let states: Vec<_> = house.harness.snapshot().into_iter().map(|it| (it.state, it.application)).collect();
    let view = house.rooms.view();
    let music = media.music();
    format!("{view:?}\n{mix:?}\n{music:?}\n{running:?} {files:?}\n{told:?}\n{heard:?}\n{states:?}")
}

type Step = (&'static str, fn(&mut House));

/// A meeting with a moderator, in which everything happens.
const MEETING: &[Step] = &[
    ("bob calls", |house| house.calls(1)),
    ("a wrong PIN", |house| house.presses(0, "5#")),
    ("bob waits", |house| house.presses(0, "1#")),
    ("ann calls", |house| house.calls(2)),
    ("the moderator comes", |house| house.presses(1, "9#")),
    ("a recording begins", |house| house.presses(1, "*0")),
    ("cat calls", |house| house.calls(3)),
    ("cat joins", |house| house.presses(2, "1#")),
    ("bob mutes himself", |house| house.presses(0, "*1")),
    ("cat turns it up", |house| house.presses(2, "*6*6")),
    ("all are muted", |house| house.presses(1, "*7")),
    ("bob is heard", |house| house.presses(0, "*1")),
    ("it is locked", |house| house.presses(1, "*5")),
    ("dan calls", |house| house.calls(4)),
    ("dan is refused", |house| house.presses(3, "1#")),
    ("the recording ends", |house| house.presses(1, "*0")),
    ("another one begins", |house| house.presses(1, "*0")),
    ("cat is not heard", |house| house.presses(2, "*1*1")),
    ("cat is sent away", |house| house.presses(1, "*9")),
    ("the moderator leaves", |house| house.presses(1, "*2")),
    ("all are gone", |house| house.runs(2)),
];

fn meeting() -> House {
    house(|config| {
        config.pin = Some(SecretText::new("1"));
        config.moderator_pin = Some(SecretText::new("9"));
        config.needs_moderator = true;
        config.music = Some("jazz".to_owned());
        config.recordings = Some("/tmp/rooms".into());
        config.recorded = true;
    })
}

#[test]
fn a_meeting_is_the_same_whenever_the_server_dies() {
    let meets = |dies: &dyn Fn(usize) -> bool| {
        let mut house = meeting();
        let mut bus = house.harness.bus().subscribe();
        let mut all = Vec::new();
        for (n, (name, step)) in MEETING.iter().enumerate() {
            step(&mut house);
            house.runs(2);
            all.push(format!("{name}\n{}", seen(&house, &mut bus)));
            if dies(n) {
                let before = recorded(&house);
                house.dies();
                for (goes_on, (file, lasted)) in recorded(&house).into_iter().zip(&before) {
                    assert!(goes_on.0 == *file && goes_on.1 >= *lasted, "after {name}");
                }
                // Whoever is asked for a PIN is asked again, and nobody hears anything else.
                let again = house.heard();
                assert!(again.iter().all(|word| word == "ask_pin.wav"), "after {name}: {again:?}");
                assert_eq!(told(&mut bus), [""; 0], "after {name}");
            }
        }
        assert!(house.harness.snapshot().is_empty());
        house.harness.assert_nothing_left();
        all
    };
    let lives = meets(&|_| false);
    for (died, (name, _)) in MEETING.iter().enumerate() {
        let goes_on = meets(&|n| n == died);
        for (a, b) in lives.iter().zip(&goes_on) {
            assert_eq!(a, b, "the server has died after {name}");
        }
    }
    assert_eq!(meets(&|_| true), lives, "it dies all the time");
}

#[test]
fn a_caller_on_the_way_in_or_out_goes_on_from_any_moment_at_which_the_server_dies() {
    let meets = |died: &[u64]| {
        let mut house = house(|config| {
            config.moderator_pin = Some(SecretText::new("9"));
            config.recordings = Some("/tmp/rooms".into());
            config.recorded = true;
        });
        let mut bus = house.harness.bus().subscribe();
        let [ann, bob] = [1, 2].map(|n| house.harness.party(&format!("192.0.2.{}:5060", 10 + n)));
        let mut calls = Vec::new();
        for ms in (0..10_000).step_by(50) {
            match ms {
                0 => calls.push((ann, house.harness.call(ann, "blue", Some(SESSION)))),
                3_000 => calls.push((bob, house.harness.call(bob, "blue", Some(SESSION)))),
                _ => {}
            }
            let keys = match ms {
                500 => (0, "9#"),
                3_500 => (1, "#"),
                5_000 => (0, "*7"),
                6_000 => (0, "*9"),
                8_500 => (0, "*0"),
                _ => (0, ""),
            };
            if !keys.1.is_empty() {
                let leg = house.harness.snapshot()[keys.0].legs[0].leg;
                let endpoint = house.harness.endpoint_of(leg).expect("answered");
                house.harness.press(endpoint, keys.1);
            }
            house.harness.settle();
            if died.contains(&ms) {
                house.dies();
            }
            house.harness.run(Duration::from_millis(50));
        }
        let up: Vec<bool> = calls.iter().map(|(party, call)| house.harness.is_up(*party, *call)).collect();
        let told = told(&mut bus);
        house.heard();
        let seen = seen(&house, &mut bus);
        house.harness.hang_up(ann, calls[0].1);
        house.runs(1);
        house.harness.assert_nothing_left();
        format!("{up:?}\n{told:?}\n{seen}")
    };
    let lives = meets(&[]);
    assert!(lives.starts_with("[true, false]"), "{lives}");
    for ms in (0..10_000).step_by(150) {
        assert_eq!(meets(&[ms]), lives, "it has died after {ms} ms");
        assert_eq!(meets(&[ms, ms + 50]), lives, "and again");
    }
}

#[test]
fn three_wrong_pins_are_the_end_although_the_server_dies_after_each() {
    let mut house = house(|config| config.pin = Some(SecretText::new("4711")));
    let ann = house.comes(1);
    for _ in 0..3 {
        house.dies();
        house.presses(0, "12#");
        if !house.harness.snapshot().is_empty() {
            house.dies();
        }
        house.runs(1);
    }
    house.runs(2);
    assert!(house.harness.ended(ann.0, ann.1).is_some(), "sent away");
    let heard = house.heard();
    let wrong = heard.iter().filter(|word| *word == "wrong_pin.wav").count();
    assert!((3..=6).contains(&wrong) && heard.ends_with(&["goodbye.wav".to_owned()]), "{heard:?}");
    house.harness.assert_nothing_left();
}
