//! Applications as machines: the events of one, and that it controls only its own call.

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use b2b_call::application::{AppAnswer, AppEvent, AppHandle, Application, WantId, Wants};
use b2b_call::controller::{DigitPlan, Part, Prompt};
use b2b_call::handler::{ApplicationHandler, HandlerAction, IncomingCall};
use b2b_call::service::{CallService, MediaVerbs, Place};
use b2b_sip::endpoint::Termination;
use b2b_testkit::{Harness, PartyId, SESSION, UsageId};

use crate::routed::ANN;

/// The events of machines, as text.
type Happened = Arc<Mutex<Vec<String>>>;

#[derive(Clone, Default)]
struct Room {
    happened: Happened,
    /// The number of keys after which the shared machine ends.
    most: usize,
    /// Gets every key.
    shared: Arc<Mutex<Option<AppHandle>>>,
}

impl ApplicationHandler for Room {
    fn name(&self) -> &str {
        "room"
    }

    fn begin(&self, call: &IncomingCall, service: &CallService) -> Option<Box<dyn Application>> {
        assert_ne!(call.called(), "none", "on purpose");
        let mut shared = self.shared.lock().unwrap();
        if shared.is_none() {
            let counts = Counts { happened: self.happened.clone(), keys: 0, most: self.most };
            *shared = service.attend(Box::new(counts)).ok();
        }
        Some(Box::new(Attends { room: self.clone(), call: call.clone(), waits: None, plays: None }))
    }
}

/// Plays a tone, and acts on keys.
struct Attends {
    room: Room,
    call: IncomingCall,
    waits: Option<WantId>,
    plays: Option<WantId>,
}

fn plan() -> DigitPlan {
    let day = Duration::from_secs(86_400);
    DigitPlan { terminators: String::new(), first: day, total: day, ..DigitPlan::new(1) }
}

impl Application for Attends {
    fn step(&mut self, now: Instant, event: AppEvent, wants: &mut Wants) {
        let leg = self.call.leg;
        let word = match event {
            AppEvent::Begin => {
                wants.answer(leg);
                wants.enter(self.call.call, Place::Ivr);
                let tone = Prompt::new(vec![Part::tone(440, Duration::from_secs(5))]);
                self.plays = Some(wants.play(leg, &tone));
                self.waits = Some(wants.collect(leg, &plan()));
                "begin"
            }
            AppEvent::Answered { want, answer } if Some(want) == self.waits => {
                let pressed = answer.collected().map(|it| it.digits).unwrap_or_default();
                match pressed.as_str() {
                    "1" => {
                        let told = self.room.shared.lock().unwrap().as_ref().map(AppHandle::id).unwrap();
                        wants.tell(told, "a key");
                    }
                    "2" => {
                        wants.set_timer(1, now + Duration::from_secs(5));
                        wants.set_timer(2, now + Duration::from_secs(9));
                        wants.set_timer(1, now + Duration::from_secs(7));
                        wants.cancel_timer(2);
                    }
                    "3" => wants.end(HandlerAction::Handle("room".to_owned())),
                    "9" => panic!("on purpose"),
                    _ => return,
                }
                self.waits = Some(wants.collect(leg, &plan()));
                return;
            }
            AppEvent::Answered { want, answer: AppAnswer::Media(_) } if Some(want) == self.plays => "played",
            AppEvent::Resumed | AppEvent::Answered { .. } => return,
            AppEvent::Timer(1) => "timer 1",
            AppEvent::Timer(_) => "timer",
            AppEvent::Told(_) => "told",
            AppEvent::Lost(_) => "lost",
            AppEvent::Gone => "gone",
            AppEvent::Over => "over",
        };
        self.room.happened.lock().unwrap().push(word.to_owned());
    }
}

/// A machine that belongs to no call.
struct Counts {
    happened: Happened,
    keys: usize,
    /// The number of keys after which it ends.
    most: usize,
}

impl Application for Counts {
    fn step(&mut self, _: Instant, event: AppEvent, wants: &mut Wants) {
        let AppEvent::Told(_) = event else { return };
        self.keys += 1;
        assert!(self.keys < 3, "on purpose");
        self.happened.lock().unwrap().push(format!("{} keys", self.keys));
        if self.keys == self.most {
            wants.end(HandlerAction::Complete);
        }
    }
}

struct House {
    harness: Harness,
    room: Room,
    ann: PartyId,
    call: UsageId,
}

fn called() -> House {
    called_with(2)
}

fn called_with(most: usize) -> House {
    let room = Room { most, ..Room::default() };
    let mut harness = Harness::new(Instant::now(), vec![Arc::new(room.clone())]);
    let ann = harness.party(ANN);
    let call = harness.call(ann, "room", Some(SESSION));
    harness.settle();
    assert!(harness.is_up(ann, call));
    House { harness, room, ann, call }
}

impl House {
    fn presses(&mut self, keys: &str) {
        let endpoint = self.harness.callers_endpoint();
        self.harness.press(endpoint, keys);
        self.harness.settle();
    }

    fn happened(&self) -> Vec<String> {
        std::mem::take(&mut self.room.happened.lock().unwrap())
    }

    fn runs(&mut self, seconds: u64) {
        self.harness.run(Duration::from_secs(seconds));
    }
}

#[test]
fn a_machine_hears_of_answers_moments_and_others_and_has_32_s_when_its_caller_has_gone() {
    let mut house = called();
    house.runs(6);
    assert_eq!(house.happened(), ["begin", "played"]);
    house.presses("11");
    assert_eq!(house.happened(), ["1 keys", "2 keys"]);
    house.presses("12");
    assert_eq!(house.happened(), ["lost"], "who is over hears nothing");
    house.runs(6);
    assert_eq!(house.happened(), [""; 0], "the timer was set anew");
    house.runs(10);
    assert_eq!(house.happened(), ["timer 1"], "the other one was cancelled");
    house.harness.hang_up(house.ann, house.call);
    house.runs(31);
    assert_eq!(house.happened(), ["gone"]);
    assert!(!house.harness.is_idle(), "a server that stops waits for it");
    house.runs(2);
    assert_eq!(house.happened(), ["over"]);
    assert!(house.harness.is_idle());
    house.harness.assert_nothing_left();
}

#[test]
fn a_machine_that_panics_ends_only_its_call() {
    let mut house = called();
    let bob = house.harness.party("192.0.2.77:5060");
    let none = house.harness.call(bob, "none", Some(SESSION));
    let ended = house.harness.ended(bob, none);
    assert!(matches!(ended, Some(Termination::Failed { response }) if response.status() == 500));
    assert!(house.harness.is_up(house.ann, house.call));
    house.presses("9");
    assert!(!house.harness.is_up(house.ann, house.call));
    assert_eq!(house.happened().last().map(String::as_str), Some("over"), "it gives back what it has");
    assert_eq!(house.harness.counters().panics, 2);
    house.harness.assert_nothing_left();
}

#[test]
fn a_machine_that_belongs_to_no_call_and_panics_is_over_and_all_others_are_told() {
    let mut house = called_with(9);
    house.runs(6);
    assert_eq!(house.happened(), ["begin", "played"]);
    house.presses("111");
    assert_eq!(house.happened(), ["1 keys", "2 keys", "lost"]);
    assert!(house.harness.is_up(house.ann, house.call));
    house.harness.hang_up(house.ann, house.call);
    house.harness.assert_nothing_left();
}

#[test]
fn a_machine_that_hands_its_caller_on_is_over_and_one_whose_caller_is_taken_gives_back_what_it_has() {
    let mut house = called();
    house.runs(6);
    assert_eq!(house.happened(), ["begin", "played"]);
    house.presses("3");
    assert_eq!(house.happened(), ["begin"]);
    let leg = house.harness.snapshot().remove(0).legs.remove(0).leg;
    let service = house.harness.service();
    let taken = house.harness.wait(Duration::from_secs(1), async move { service.let_go_of(leg).await });
    assert_eq!(taken, Ok(()));
    assert_eq!(house.happened(), ["over"]);
    house.presses("2");
    house.runs(10);
    assert_eq!(house.happened(), [""; 0]);
    house.harness.hang_up(house.ann, house.call);
    house.harness.assert_nothing_left();
}
