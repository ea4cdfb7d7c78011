use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use tokio::sync::oneshot;

use super::{
    AgentConfig, AgentSeats, Calling, Connecting, Consulting, Line, Parting, Reach, Talk, Talking, Target,
    VoiceAgent,
};
use crate::test_numbers::Milliwatt;
use b2b_call::call_fsm::CallState;
use b2b_call::controller::{AudioStream, StreamEnd, StreamEvent};
use b2b_call::handler::{ApplicationHandler, HandlerAction, HandlerFuture, IncomingCall, Referral};
use b2b_call::service::CallService;
use b2b_testkit::{Harness, PartyId, SESSION, UsageId};

const ANN: &str = "192.0.2.11:5060";
pub const BOB: &str = "192.0.2.12:5060";

/// Sends every caller to the agent, who may name bob and nobody else.
struct Door;

impl ApplicationHandler for Door {
    fn name(&self) -> &str {
        "door"
    }

    fn handle_incoming_call(&self, call: IncomingCall, service: CallService) -> HandlerFuture {
        Box::pin(async move {
            let _ = service.set_variable(call.call, "customer", "7").await;
            HandlerAction::Handle("voice_agent/ada".to_owned())
        })
    }

    fn handle_referral(&self, referral: Referral) -> HandlerFuture {
        Box::pin(async move {
            assert_eq!(referral.named_by.as_deref(), Some("voice_agent/ada"));
            match referral.target.as_str() {
                "user/bob" => HandlerAction::TransferTo(format!("sip:bob@{BOB}")),
                "elsewhere" => HandlerAction::Continue,
                _ => HandlerAction::NotFollowed { why: "not so".to_owned(), line: None },
            }
        })
    }
}

/// The result of a connection attempt.
#[derive(Clone, Copy)]
pub enum Reached {
    There,
    Refused,
    Never,
}

pub fn to(target: &str) -> Option<Target> {
    Some(Target { to: target.to_owned(), headers: Vec::new() })
}

/// An agent controlled by the test.
#[derive(Clone)]
pub struct Fake {
    reached: Arc<Mutex<Reached>>,
    /// Ends the conversation in progress.
    pub parts: Arc<Mutex<Option<oneshot::Sender<Parting>>>>,
    /// The calls that it was told of.
    told: Arc<Mutex<Vec<(String, String)>>>,
    /// For how long it has had the caller of its last talk, if that went on.
    resumed: Arc<Mutex<Option<Duration>>>,
    /// The variables of its last talk.
    variables: Arc<Mutex<BTreeMap<String, String>>>,
    /// Of its last talk.
    pub consulting: Arc<Mutex<Option<Consulting>>>,
    seats: AgentSeats,
}

impl Reach for Fake {
    fn connect(&self, _: &Arc<AgentConfig>, _: Calling) -> Connecting {
        let line: Box<dyn Line> = Box::new(self.clone());
        match *self.reached.lock().unwrap() {
            Reached::There => Box::pin(async move { Ok(line) }),
            Reached::Refused => Box::pin(async { Err("nobody is there".to_owned()) }),
            Reached::Never => Box::pin(std::future::pending()),
        }
    }

    fn seats(&self) -> &AgentSeats {
        &self.seats
    }
}

impl Line for Fake {
    fn talk(self: Box<Self>, mut talk: Talk) -> Talking {
        let (parts, mut parted) = oneshot::channel();
        // Another talk goes on.
        let _talk = std::mem::ManuallyDrop::new(self.parts.lock().unwrap().replace(parts));
        self.told.lock().unwrap().push((talk.caller.clone(), talk.called.clone()));
        *self.resumed.lock().unwrap() = talk.resumed;
        *self.variables.lock().unwrap() = std::mem::take(&mut talk.variables);
        *self.consulting.lock().unwrap() = Some(talk.consulting);
        Box::pin(async move {
            loop {
                tokio::select! {
                    parting = &mut parted => return parting.unwrap(),
                    () = talk.stream.changed() => {}
                }
                while let Some(event) = talk.stream.poll_event() {
                    // It has the caller's next stream, too.
                    if let StreamEvent::Ended(why) = event
                        && why != StreamEnd::Replaced
                    {
                        return Parting::Ended(why);
                    }
                }
            }
        })
    }
}

pub struct House {
    pub harness: Harness,
    pub agent: Fake,
    config: AgentConfig,
    pub ann: PartyId,
    pub call: UsageId,
    /// Streams that the agent was given.
    pub streams: Vec<AudioStream>,
}

/// Ann calls.
pub fn house(reached: Reached, fallback: Option<&str>) -> House {
    house_with(reached, fallback, 0)
}

/// The same, with an agent whose broken connections are made again for this long.
pub fn house_with(reached: Reached, fallback: Option<&str>, reconnect_s: u64) -> House {
    let usual = AgentConfig::new("ada", "ws://127.0.0.1:1/".parse().unwrap());
    house_of(
        reached,
        AgentConfig {
            reconnect: Duration::from_secs(reconnect_s),
            fallback: fallback.map(str::to_owned),
            failed_prompt: Some(Path::new("sorry.wav").into()),
            ..usual
        },
    )
}

/// The same, with this agent.
fn house_of(reached: Reached, config: AgentConfig) -> House {
    let agent = Fake {
        reached: Arc::new(Mutex::new(reached)),
        parts: Arc::default(),
        told: Arc::default(),
        resumed: Arc::default(),
        variables: Arc::default(),
        consulting: Arc::default(),
        seats: AgentSeats::default(),
    };
    let mut harness = Harness::new(Instant::now(), program(&agent, &config));
    let ann = harness.party(ANN);
    let call = harness.call(ann, "ada", Some(SESSION));
    House { harness, agent, config, ann, call, streams: Vec::new() }
}

fn program(agent: &Fake, config: &AgentConfig) -> Vec<Arc<dyn ApplicationHandler>> {
    let handler = VoiceAgent::new(config.clone(), Arc::new(agent.clone()));
    vec![Arc::new(Door), Arc::new(handler), Arc::new(Milliwatt)]
}

impl House {
    pub fn parts(&mut self, parting: Parting) {
        let parts = self.agent.parts.lock().unwrap().take().expect("a talk");
        parts.send(parting).expect("somebody listens");
        self.harness.run(Duration::from_secs(1));
    }

    /// The server dies, and the next one goes on.
    pub fn dies(&mut self) {
        self.agent.seats = AgentSeats::default();
        self.harness.dies(program(&self.agent, &self.config));
    }

    pub fn reaches(&mut self, reached: Reached) {
        *self.agent.reached.lock().unwrap() = reached;
    }

    pub fn is_up(&self) -> bool {
        self.harness.is_up(self.ann, self.call)
    }

    pub fn streams(&self) -> bool {
        let endpoint = self.harness.callers_endpoint();
        self.harness.media().with_stream(endpoint, |_| ()).is_some()
    }

    fn has(&self, line: &str) -> bool {
        self.harness.wire.iter().any(|sent| sent.line() == line)
    }
}

#[test]
fn a_caller_is_answered_when_the_agent_is_there_and_hung_up_when_it_stops() {
    let mut house = house(Reached::There, None);
    assert!(house.is_up() && house.streams());
    assert_eq!(house.harness.snapshot()[0].state, CallState::InIvr);
    assert_eq!(house.agent.told.lock().unwrap()[0].1, "ada");
    house.harness.run(Duration::from_secs(3_600));
    assert!(house.is_up(), "it lasts as long as it lasts");
    house.parts(Parting::Stopped { transfer: None });
    assert!(!house.is_up());
    house.harness.assert_nothing_left();
}

#[test]
fn an_agent_sends_its_caller_to_an_application_or_to_somebody_else() {
    let mut one = house(Reached::There, None);
    one.parts(Parting::Stopped { transfer: to("milliwatt") });
    assert!(one.is_up() && !one.streams());
    assert!(one.harness.media().is_playing(one.harness.callers_endpoint()));
    one.harness.hang_up(one.ann, one.call);
    one.harness.assert_nothing_left();

    let mut other = house(Reached::There, None);
    let bob = other.harness.party(BOB);
    other.parts(Parting::Stopped { transfer: to("user/bob") });
    other.harness.answer_next(bob, SESSION);
    assert_eq!(other.harness.snapshot()[0].state, CallState::Bridged);
    other.harness.hang_up(other.ann, other.call);
    other.harness.assert_nothing_left();
}

#[test]
fn a_target_that_an_agent_may_not_name_is_not_called_and_its_caller_falls_back() {
    for target in [&format!("sip:bob@{BOB}"), "gateway/carrier/+900666", "elsewhere", ""] {
        let mut house = house(Reached::There, Some("milliwatt"));
        let bob = house.harness.party(BOB);
        house.parts(Parting::Stopped { transfer: to(target) });
        assert!(house.harness.incoming(bob).is_empty(), "{target}");
        assert!(house.is_up() && house.harness.media().is_playing(house.harness.callers_endpoint()));
        house.harness.hang_up(house.ann, house.call);
        house.harness.assert_nothing_left();
    }
}

#[test]
fn whom_no_agent_can_talk_to_is_not_answered_or_goes_elsewhere() {
    for (reached, after) in [(Reached::Refused, 1), (Reached::Never, 7)] {
        let mut refused = house(reached, None);
        refused.harness.run(Duration::from_secs(after));
        assert!(refused.has("SIP/2.0 480 Temporarily Unavailable"));
        refused.harness.assert_nothing_left();

        let mut elsewhere = house(reached, Some("milliwatt"));
        elsewhere.harness.run(Duration::from_secs(after));
        assert!(elsewhere.is_up());
        assert!(elsewhere.harness.media().is_playing(elsewhere.harness.callers_endpoint()));
        elsewhere.harness.hang_up(elsewhere.ann, elsewhere.call);
        elsewhere.harness.assert_nothing_left();
    }
}

#[test]
fn who_loses_the_agent_in_the_middle_falls_back() {
    let mut house = house(Reached::There, Some("milliwatt"));
    house.parts(gone());
    assert!(house.is_up() && !house.streams());
    assert!(house.harness.media().is_playing(house.harness.callers_endpoint()));
    house.harness.hang_up(house.ann, house.call);
    house.harness.assert_nothing_left();
    assert!(house.harness.media().heard_words().iter().all(|it| it != "sorry.wav"), "the fall-back alone");
}

#[test]
fn who_has_no_fallback_hears_the_prompt_and_is_hung_up_with_the_cause() {
    for missing in [false, true] {
        let mut house = house(Reached::There, None);
        house.harness.media().set_length("sorry.wav", Duration::from_secs(4));
        if missing {
            house.harness.media().lose_file("sorry.wav");
        }
        house.parts(gone());
        assert_eq!(house.is_up(), !missing, "it lasts for four seconds");
        house.harness.run(Duration::from_secs(5));
        assert!(!house.is_up());
        assert!(missing || house.harness.media().heard_words() == ["sorry.wav"]);
        let records = house.harness.records();
        assert_eq!(records[0].ending.q850, 41);
        let noted =
            ("voice_agent_failed".to_owned(), "ada: it has closed the WebSocket with 1011".to_owned());
        assert!(records[0].variables.contains(&noted), "{:?}", records[0].variables);
        house.harness.assert_nothing_left();
    }
}

#[test]
fn who_hangs_up_during_the_prompt_leaves_nothing() {
    let mut house = house(Reached::There, None);
    house.harness.media().set_length("sorry.wav", Duration::from_secs(60));
    house.parts(gone());
    house.harness.hang_up(house.ann, house.call);
    house.harness.assert_nothing_left();
}

pub fn gone() -> Parting {
    Parting::Failed { code: Some(1_011), why: "it has closed the WebSocket with 1011".to_owned() }
}

#[test]
fn a_caller_who_hangs_up_in_any_state_leaves_nothing() {
    let mut house = house(Reached::There, Some("milliwatt"));
    house.harness.hang_up(house.ann, house.call);
    house.harness.assert_nothing_left();

    let mut house = self::house(Reached::Never, Some("milliwatt"));
    house.harness.cancel(house.ann, house.call);
    house.harness.run(Duration::from_secs(40));
    house.harness.assert_nothing_left();
}

#[test]
fn a_caller_whose_sound_somebody_else_takes_stays_until_they_hang_up() {
    let mut house = house(Reached::There, Some("milliwatt"));
    house.parts(Parting::Ended(StreamEnd::Replaced));
    house.harness.run(Duration::from_secs(3_600));
    assert!(house.is_up());
    house.harness.hang_up(house.ann, house.call);
    house.harness.assert_nothing_left();
}

#[test]
fn who_loses_the_agent_hears_music_until_it_is_back_and_it_learns_how_long_it_has_had_them() {
    let mut house = house_with(Reached::There, Some("milliwatt"), 10);
    house.harness.run(Duration::from_secs(5));
    house.reaches(Reached::Refused);
    house.parts(gone());
    assert!(house.is_up() && !house.streams());
    assert_eq!(house.harness.media().music().len(), 1);
    house.reaches(Reached::There);
    house.harness.run(Duration::from_secs(2));
    assert!(house.streams() && house.harness.media().music().is_empty());
    assert_eq!(house.agent.told.lock().unwrap().len(), 2);
    let resumed = house.agent.resumed.lock().unwrap().expect("the talk went on");
    assert!((Duration::from_secs(6)..Duration::from_secs(9)).contains(&resumed), "{resumed:?}");
    house.parts(Parting::Stopped { transfer: None });
    assert!(!house.is_up());
    house.harness.assert_nothing_left();
}

#[test]
fn a_program_that_is_stopped_leaves_its_caller_to_the_fallback_if_there_is_one() {
    let stopped = || Parting::Failed { code: Some(1_001), why: "it has closed".to_owned() };
    let mut kept = house(Reached::There, Some("milliwatt"));
    kept.parts(stopped());
    let endpoint = kept.harness.callers_endpoint();
    assert!(kept.harness.media().is_playing(endpoint));
    kept.harness.hang_up(kept.ann, kept.call);
    kept.harness.assert_nothing_left();
    let alone = AgentConfig::new("ada", "ws://127.0.0.1:1/".parse().unwrap());
    let mut alone = house_of(Reached::There, alone);
    alone.parts(stopped());
    assert!(!alone.is_up());
    alone.harness.run(Duration::from_secs(40));
    alone.harness.assert_nothing_left();
}

#[test]
fn who_loses_the_agent_for_good_or_to_its_own_fault_falls_back() {
    let fault = Parting::Failed { code: Some(1_008), why: "too many messages a second".to_owned() };
    for (parting, seconds) in [(gone(), 10), (fault, 0)] {
        let mut house = house_with(Reached::There, Some("milliwatt"), 10);
        house.reaches(Reached::Refused);
        house.parts(parting);
        house.harness.run(Duration::from_secs(seconds));
        let endpoint = house.harness.callers_endpoint();
        assert!(house.harness.media().is_playing(endpoint) && house.harness.media().music().is_empty());
        house.harness.hang_up(house.ann, house.call);
        house.harness.assert_nothing_left();
    }
    // One that breaks again and again has failed.
    let mut house = house_with(Reached::There, Some("milliwatt"), 10);
    for _ in 0..4 {
        assert!(house.streams());
        house.parts(gone());
    }
    assert!(house.harness.media().is_playing(house.harness.callers_endpoint()));
    house.harness.hang_up(house.ann, house.call);
    house.harness.assert_nothing_left();
}

#[test]
fn a_caller_who_hangs_up_while_the_agent_is_connected_again_leaves_nothing() {
    let mut house = house_with(Reached::There, Some("milliwatt"), 10);
    house.reaches(Reached::Never);
    house.parts(gone());
    house.harness.hang_up(house.ann, house.call);
    house.harness.assert_nothing_left();
}

/// An agent for one call at a time, for which others wait so long.
fn one_at_a_time(wait_s: u64) -> House {
    let usual = AgentConfig::new("ada", "ws://127.0.0.1:1/".parse().unwrap());
    let (wait, fallback) = (Duration::from_secs(wait_s), Some("milliwatt".to_owned()));
    house_of(Reached::There, AgentConfig { calls: 1, wait, fallback, ..usual })
}

#[test]
fn a_caller_waits_unanswered_until_the_agent_has_a_seat() {
    let mut house = one_at_a_time(30);
    let bob = house.harness.party(BOB);
    let second = house.harness.call(bob, "ada", Some(SESSION));
    house.harness.run(Duration::from_secs(20));
    assert!(house.is_up() && !house.harness.is_up(bob, second));
    house.parts(Parting::Stopped { transfer: None });
    assert!(!house.is_up() && house.harness.is_up(bob, second));
    assert_eq!(house.agent.told.lock().unwrap().len(), 2);
    house.harness.hang_up(bob, second);
    house.harness.assert_nothing_left();
}

#[test]
fn who_waits_in_vain_falls_back_and_who_gives_up_leaves_the_turn() {
    for (wait_s, after) in [(0, 1), (30, 31)] {
        let mut house = one_at_a_time(wait_s);
        let bob = house.harness.party(BOB);
        let second = house.harness.call(bob, "ada", Some(SESSION));
        house.harness.run(Duration::from_secs(after));
        assert!(house.is_up() && house.harness.is_up(bob, second), "{wait_s}");
        assert_eq!(house.agent.told.lock().unwrap().len(), 1);
        house.harness.hang_up(house.ann, house.call);
        house.harness.hang_up(bob, second);
        house.harness.assert_nothing_left();
    }
    let mut house = one_at_a_time(30);
    let (bob, carol) = (house.harness.party(BOB), house.harness.party("192.0.2.13:5060"));
    let given_up = house.harness.call(bob, "ada", Some(SESSION));
    let third = house.harness.call(carol, "ada", Some(SESSION));
    house.harness.cancel(bob, given_up);
    house.parts(Parting::Stopped { transfer: None });
    assert!(house.harness.is_up(carol, third));
    house.harness.hang_up(carol, third);
    house.harness.assert_nothing_left();
}

#[test]
fn a_talk_goes_on_when_the_server_dies_and_the_agent_learns_for_how_long_it_has_had_the_caller() {
    let mut house = house_with(Reached::There, Some("milliwatt"), 10);
    house.harness.run(Duration::from_secs(5));
    // More often than a connection may break by itself.
    for died in 1..=5 {
        house.dies();
        house.harness.run(Duration::from_secs(1));
        assert!(house.is_up() && house.streams() && house.harness.media().music().is_empty());
        assert_eq!(house.agent.told.lock().unwrap().len(), 1 + died);
        let resumed = house.agent.resumed.lock().unwrap().expect("the talk went on");
        let had = Duration::from_secs(4 + died as u64)..Duration::from_secs(5 + died as u64);
        assert!(had.contains(&resumed), "{resumed:?}");
        assert_eq!(house.agent.seats.held()[0].1.taken, 1);
        assert_eq!(house.agent.variables.lock().unwrap()["customer"], "7");
    }
    // It fails as often as it may, and once more.
    for _ in 0..4 {
        assert!(house.streams());
        house.parts(gone());
        house.dies();
        house.harness.run(Duration::from_secs(1));
    }
    assert!(house.is_up() && !house.streams());
    house.harness.hang_up(house.ann, house.call);
    house.harness.assert_nothing_left();
}

#[test]
fn an_agent_that_is_away_when_the_server_is_back_is_connected_again_for_a_while() {
    for (reconnect_s, after, back) in [(10, 5, true), (10, 11, false), (0, 1, false)] {
        let mut house = house_with(Reached::There, Some("milliwatt"), reconnect_s);
        house.reaches(Reached::Refused);
        house.dies();
        assert_eq!(house.harness.media().music().len(), usize::from(reconnect_s > 0));
        // Again while it is away.
        house.dies();
        house.harness.run(Duration::from_secs(after));
        house.reaches(Reached::There);
        house.harness.run(Duration::from_secs(2));
        let endpoint = house.harness.callers_endpoint();
        assert_eq!((house.streams(), house.harness.media().is_playing(endpoint)), (back, !back));
        house.harness.hang_up(house.ann, house.call);
        house.harness.assert_nothing_left();
    }
}

#[test]
fn a_caller_whose_agent_is_being_connected_when_the_server_dies_is_connected_anew() {
    let mut house = house_with(Reached::Never, Some("milliwatt"), 10);
    house.harness.run(Duration::from_secs(2));
    house.reaches(Reached::There);
    house.dies();
    assert!(house.is_up() && house.streams());
    assert!(house.agent.resumed.lock().unwrap().is_none(), "it is its first talk");
    house.harness.hang_up(house.ann, house.call);
    house.harness.assert_nothing_left();
}

#[test]
fn calls_that_come_back_together_connect_one_after_the_other() {
    let mut house = house_with(Reached::There, None, 10);
    let bob = house.harness.party(BOB);
    let calls: Vec<_> = (0..199).map(|_| house.harness.call(bob, "ada", Some(SESSION))).collect();
    house.dies();
    let talks = |house: &House| house.agent.told.lock().unwrap().len() - 200;
    let first = talks(&house);
    for tenth in 1..=20 {
        house.harness.run(Duration::from_millis(100));
        let expected = (first + tenth * 10).min(200);
        assert!(talks(&house).abs_diff(expected) <= 1, "{tenth}: {} of {expected}", talks(&house));
    }
    assert!(first < 30 && talks(&house) == 200, "{first}");
    house.harness.hang_up(house.ann, house.call);
    calls.into_iter().for_each(|call| house.harness.hang_up(bob, call));
    house.harness.assert_nothing_left();
}

#[test]
fn a_caller_on_the_way_out_gets_there_when_the_server_dies() {
    let mut house = house(Reached::There, None);
    house.harness.media().set_length("sorry.wav", Duration::from_secs(4));
    house.parts(gone());
    house.dies();
    house.harness.run(Duration::from_secs(3));
    assert!(house.is_up(), "it hears the prompt again");
    house.harness.run(Duration::from_secs(2));
    assert!(!house.is_up());
    assert_eq!(house.harness.records()[0].ending.q850, 41);
    house.harness.assert_nothing_left();
}
