//! Handlers that act like programs: they answer, play, ask, dial, join, and end in every way.

use std::time::Duration;

use rand::RngExt;
use rand::rngs::StdRng;

use b2b_call::bridge_fsm::BridgeMode;
use b2b_call::controller::{ConferenceId, ConferenceSpec, DigitPlan, Member, Prompt, RecordingSpec};
use b2b_call::handler::HandlerAction;
use b2b_call::service::{CallService, DialRequest, MediaVerbs, Place};
use b2b_call::{CallId, LegId};

use crate::plan::APPS;

/// The places, by random number.
pub const PLACES: [Place; 6] =
    [Place::Ivr, Place::Queue, Place::Program, Place::Conference, Place::Parking, Place::Handler];

/// An action of a program.
#[derive(Debug, Clone, PartialEq)]
pub enum Step {
    Answer,
    Enter(usize),
    Sleep(u64),
    Play,
    Collect,
    Record,
    Music,
    Echo,
    Room,
    Hold,
    /// Dials a phone of its call, and joins it with the leg.
    Dial(usize),
    /// As `Dial`, in two steps.
    DialThenBridge(usize),
    Variable,
    Panic,
    Complete,
    Handle(usize),
    TransferTo(usize),
    Refuse(u16),
    Disconnect,
}

/// The actions of one program.
pub fn steps(it: &mut StdRng) -> Vec<Step> {
    let count = it.random_range(1..8);
    let mut all = Vec::new();
    if it.random_bool(0.8) {
        all.push(Step::Answer);
    }
    for _ in 0..count {
        all.push(match it.random_range(0..24) {
            0 => Step::Answer,
            1..=6 => Step::Enter(it.random_range(0..PLACES.len())),
            7..=9 => Step::Sleep(it.random_range(1..5_000)),
            10 => Step::Play,
            11 => Step::Collect,
            12 => Step::Record,
            13 => Step::Music,
            14 => Step::Echo,
            15 => Step::Room,
            16 => Step::Hold,
            17..=19 => Step::Dial(it.random_range(0..3)),
            20 => Step::DialThenBridge(it.random_range(0..3)),
            21 => Step::Variable,
            22 => Step::Handle(it.random_range(0..APPS.len())),
            _ => Step::Panic,
        });
    }
    all.push(match it.random_range(0..6) {
        0 | 1 => Step::Complete,
        2 => Step::Handle(it.random_range(0..APPS.len())),
        3 => Step::TransferTo(it.random_range(0..3)),
        4 => Step::Refuse(486),
        _ => Step::Disconnect,
    });
    all
}

/// Ends the room with its creator, however that ends.
struct Ends(CallService, ConferenceId);

impl Drop for Ends {
    fn drop(&mut self) {
        let (service, room) = (self.0.clone(), self.1);
        let _ = self.0.spawn(async move { drop(service.end_conference(room).await) });
    }
}

/// Carries out the actions. A refused action is skipped.
pub async fn run(
    steps: Vec<Step>,
    service: CallService,
    (call, leg): (CallId, LegId),
    uri: impl Fn(usize) -> String,
) -> HandlerAction {
    let prompt = Prompt::file("hello.wav");
    for step in steps {
        match step {
            Step::Answer => drop(service.answer(leg).await),
            Step::Enter(place) => drop(service.enter(call, PLACES[place]).await),
            Step::Sleep(ms) => drop(service.sleep(Duration::from_millis(ms)).await),
            Step::Play => drop(service.play(leg, &prompt).await),
            Step::Collect => drop(service.play_and_collect(leg, &prompt, &DigitPlan::new(2)).await),
            Step::Record => {
                let spec = RecordingSpec::new(format!("/r/{}.wav", leg.0));
                if let Ok(recording) = service.start_recording(leg, &spec).await {
                    let _ = service.sleep(Duration::from_millis(700)).await;
                    let _ = service.stop_recording(recording).await;
                }
            }
            Step::Music => {
                let _ = service.start_moh(leg, "jazz").await;
                let _ = service.sleep(Duration::from_secs(1)).await;
                let _ = service.stop_moh(leg).await;
            }
            Step::Echo => drop(service.echo(leg, true).await),
            Step::Room => {
                let spec = ConferenceSpec { rate_hz: 8_000, most: 4 };
                if let Ok(room) = service.create_conference(&spec).await {
                    let _ends = Ends(service.clone(), room);
                    let _ = service.join_conference(room, leg, Member::default()).await;
                    let _ = service.announce(room, &prompt).await;
                }
            }
            Step::Hold => {
                let _ = service.hold(leg, false).await;
                let _ = service.sleep(Duration::from_millis(500)).await;
                let _ = service.resume(leg).await;
            }
            Step::Dial(phone) => {
                if let Ok(bridge) = service.dial_and_bridge(leg, DialRequest::to(uri(phone))).await {
                    let _ = service.wait_for_termination(bridge).await;
                }
            }
            Step::DialThenBridge(phone) => {
                if let Ok(other) = service.dial(DialRequest::to(uri(phone))).await {
                    let joined = service.create_bridge(leg, other, BridgeMode::Intercepting, true).await;
                    match joined {
                        Ok(bridge) => drop(service.wait_for_termination(bridge).await),
                        Err(_) => drop(service.hangup(other).await),
                    }
                }
            }
            Step::Variable => drop(service.set_variable(leg, "step", "one").await),
            Step::Panic => panic!("a handler's own mistake"),
            Step::Complete => return HandlerAction::Complete,
            Step::Handle(app) => return HandlerAction::Handle(APPS[app].to_owned()),
            Step::TransferTo(phone) => return HandlerAction::TransferTo(uri(phone)),
            Step::Refuse(status) => return HandlerAction::Reject { status, reason: String::new() },
            Step::Disconnect => return HandlerAction::Disconnect,
        }
    }
    HandlerAction::Complete
}
