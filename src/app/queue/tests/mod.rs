//! Queues over calls in virtual time: what a caller hears, which agents' phones ring, and every way in which
//! it can fail.

mod deaths;
mod ways;

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::machine;
use super::machine::agent::{AgentState, Duty};
use super::machine::values::{QueuePlan, Strategy};
use super::sounds::{Numbers, QueueSounds};
use super::{
    AgentCodes, AgentSettings, Change, Codes, DeskSettings, QueueDesk, QueueHandler, QueueSettings, WaysOut,
};
use b2b_call::bus::{Received, Subscriber};
use b2b_call::call_fsm::CallState;
use b2b_call::event::Event;
use b2b_call::handler::{ApplicationHandler, HandlerAction, IncomingCall};
use b2b_call::service::CallService;
use b2b_testkit::{Body, Handler, Harness, PartyId, SESSION, Termination, UsageId};

const ANN: &str = "192.0.2.11:5060";
const BOB: &str = "192.0.2.12:5060";
const CAT: &str = "192.0.2.13:5060";
const DAN: &str = "192.0.2.14:5060";

fn uri(address: &str) -> String {
    format!("sip:callee@{address}")
}

pub fn s(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

pub fn agent(name: &str, address: &str) -> AgentSettings {
    AgentSettings { plan: machine::tests::agent(name), target: uri(address), user: Some(name.to_owned()) }
}

fn file(name: &str) -> Arc<Path> {
    Path::new(name).into()
}

/// A queue with all agents.
pub fn sales(agents: usize) -> QueueSettings {
    let all: Vec<usize> = (0..agents).collect();
    let plan = QueuePlan { most: 2, ..machine::tests::queue("sales", &all) };
    let numbers = (0..=9).map(|n| (n, file(&format!("digits/{n}.wav"))));
    let sounds = QueueSounds {
        welcome: Some(file("welcome.wav")),
        music: Some("default".to_owned()),
        position: Some(file("position.wav")),
        wait: Some(file("wait.wav")),
        minutes: Some(file("minutes.wav")),
        soon: None,
        numbers: Numbers(numbers.collect()),
    };
    let ways_out = WaysOut {
        timeout: Some("app/voicemail".to_owned()),
        full: None,
        no_agents: None,
        digits: BTreeMap::from([('9', uri(DAN))]),
    };
    QueueSettings { plan, sounds, ways_out }
}

/// A harness with a queue that every call goes to, and its parties.
pub struct Office {
    pub harness: Harness,
    pub desk: QueueDesk,
    first: First,
    events: Subscriber,
    pub ann: PartyId,
    pub bob: PartyId,
    pub cat: PartyId,
}

pub fn office(queue: QueueSettings, agents: Vec<AgentSettings>) -> Office {
    office_with(queue, agents, |_, _| HandlerAction::Handle("queue/sales".to_owned()))
}

fn office_with(queue: QueueSettings, agents: Vec<AgentSettings>, first: First) -> Office {
    let codes = Codes { login: Some("*45".to_owned()), pause: Some("*46".to_owned()) };
    let (desk, handlers) = program(DeskSettings { agents, queues: vec![queue], codes }, first);
    let mut harness = Harness::new(Instant::now(), handlers);
    let events = harness.bus().subscribe();
    let (ann, bob, cat) = (harness.party(ANN), harness.party(BOB), harness.party(CAT));
    desk.start(&harness.service());
    Office { harness, desk, first, events, ann, bob, cat }
}

type First = fn(IncomingCall, CallService) -> HandlerAction;

fn program(settings: DeskSettings, first: First) -> (QueueDesk, Vec<Arc<dyn ApplicationHandler>>) {
    let desk = QueueDesk::new(settings);
    let to = move |call: IncomingCall, service: CallService| async move {
        match call.called().as_str() {
            "urgent" => drop(service.set_variable(call.call, "queue_priority", "5").await),
            "later" => drop(service.sleep(s(3)).await),
            _ => {}
        }
        first(call, service)
    };
    let to: Arc<dyn ApplicationHandler> = Arc::new(Handler(to));
    let mut handlers: Vec<Arc<dyn ApplicationHandler>> = vec![Arc::new(AgentCodes::new(desk.clone())), to];
    handlers.extend(QueueHandler::all(&desk));
    (desk, handlers)
}

/// Bob and Cat are agents.
pub fn two_agents() -> Office {
    office(sales(2), vec![agent("bob", BOB), agent("cat", CAT)])
}

pub fn one_agent() -> Office {
    office(sales(1), vec![agent("bob", BOB)])
}

impl Office {
    /// A party calls, and hears the welcome of one second.
    pub fn caller(&mut self, party: PartyId) -> UsageId {
        let usage = self.harness.call(party, "sales", Some(SESSION));
        self.harness.run(s(1));
        usage
    }

    /// The server dies, and the next one goes on; it knows what agents want, as it has kept that.
    pub fn dies(&mut self) {
        let settings = self.kept();
        self.dies_with(settings);
    }

    /// The configuration, with what agents want.
    pub fn kept(&mut self) -> DeskSettings {
        let desk = self.desk.clone();
        let agents = self.harness.wait(s(1), async move { desk.agents().await });
        let mut settings = DeskSettings::clone(&self.desk.settings());
        for agent in &mut settings.agents {
            agent.plan.duty = agents.iter().find(|it| *it.name == *agent.plan.name).expect("an agent").duty;
        }
        settings
    }

    pub fn dies_with(&mut self, settings: DeskSettings) {
        let (desk, handlers) = program(settings, self.first);
        self.desk = desk;
        self.harness.dies(handlers);
        self.desk.go_on(&self.harness.snapshot());
        self.desk.start(&self.harness.service());
        self.harness.settle();
    }

    pub fn heard(&self) -> Vec<String> {
        self.harness.media().heard_words()
    }

    pub fn music(&self) -> usize {
        self.harness.media().music().len()
    }

    pub fn variable(&self, name: &str) -> Option<String> {
        let calls = self.harness.snapshot();
        let all = calls.iter().flat_map(|call| call.variables.clone());
        all.into_iter().find(|(it, _)| it == name).map(|(_, value)| value)
    }

    pub fn agent(&mut self, name: &str) -> AgentState {
        let desk = self.desk.clone();
        let views = self.harness.wait(s(1), async move { desk.agents().await });
        views.into_iter().find(|view| view.name == name).expect("an agent").state
    }

    pub fn change(&mut self, name: &'static str, duty: Duty) {
        let desk = self.desk.clone();
        let changed = self.harness.wait(s(1), async move { desk.change(name, Change::To(duty)).await });
        assert!(changed.is_some());
        self.harness.settle();
    }

    pub fn waiting(&mut self) -> usize {
        let desk = self.desk.clone();
        self.harness.wait(s(1), async move { desk.queues().await }).remove(0).waiting
    }

    /// The events of the queue, as `name why agent`.
    pub fn news(&mut self) -> Vec<String> {
        let mut news = Vec::new();
        while let Some(received) = self.events.try_recv() {
            let Received::Event(published) = received else { continue };
            if let Event::Application { app, name, data, .. } = &published.event
                && app == "queue"
                && !matches!(name.as_str(), "agent" | "duty")
            {
                let words = [Some(name.as_str()), data["why"].as_str(), data["agent"].as_str()];
                news.push(words.into_iter().flatten().collect::<Vec<_>>().join(" "));
            }
        }
        news
    }

    /// The duties that agents have set since the last call.
    pub fn duties(&mut self) -> Vec<String> {
        let mut duties = Vec::new();
        while let Some(received) = self.events.try_recv() {
            let Received::Event(published) = received else { continue };
            if let Event::Application { app, name, data, .. } = &published.event
                && (app == "queue" && name == "duty")
            {
                let [agent, duty] = ["agent", "duty"].map(|it| data[it].as_str().unwrap_or_default());
                duties.push(format!("{agent} {duty}"));
            }
        }
        duties
    }

    /// Asserts that no call or agent is left in any state.
    pub fn close(mut self) {
        self.harness.run(s(30));
        assert_eq!(self.waiting(), 0);
        let desk = self.desk.clone();
        let agents = self.harness.wait(s(1), async move { desk.agents().await });
        let busy = |state| matches!(state, AgentState::Ringing | AgentState::Busy | AgentState::WrapUp);
        assert!(agents.iter().all(|agent| !busy(agent.state)), "{agents:?}");
        self.harness.assert_nothing_left();
    }
}

#[test]
fn a_caller_hears_the_welcome_and_its_position_and_reaches_an_agent() {
    let mut it = one_agent();
    it.change("bob", Duty::Paused);
    let a = it.caller(it.ann);
    assert!(it.harness.is_up(it.ann, a));
    assert_eq!(it.harness.snapshot()[0].state, CallState::InQueue);
    assert_eq!(it.harness.snapshot()[0].application.as_deref(), Some("queue/sales"));
    assert_eq!(it.variable("queue").as_deref(), Some("sales"));
    assert_eq!(it.variable("queue_result").as_deref(), Some("waiting"));
    assert_eq!(it.heard(), ["welcome.wav", "position.wav 1.wav"]);
    assert_eq!(it.music(), 1);
    it.harness.run(s(28));
    assert_eq!(it.heard(), [""; 0]);
    it.harness.run(s(4));
    assert_eq!(it.heard(), ["position.wav 1.wav"]);

    it.change("bob", Duty::Available);
    let b = it.harness.next_call(it.bob);
    it.harness.ring(it.bob, b, 180, None);
    assert_eq!(it.agent("bob"), AgentState::Ringing);
    assert_eq!(it.music(), 1, "music goes on while a phone rings");
    it.harness.answer(it.bob, b, Some(SESSION));
    let call = it.harness.snapshot().remove(0);
    assert_eq!((call.state, call.application), (CallState::Bridged, None));
    assert_eq!(it.harness.media().bridges().len(), 1);
    assert_eq!((it.music(), it.harness.media().under_way()), (0, 0), "nothing is heard but the other one");
    assert_eq!(it.variable("queue_agent").as_deref(), Some("bob"));
    assert_eq!(it.variable("queue_result").as_deref(), Some("answered"));
    let waited: f64 = it.variable("queue_wait_s").unwrap().parse().unwrap();
    assert!((33.0..35.0).contains(&waited), "{waited}");
    assert_eq!(it.agent("bob"), AgentState::Busy);

    it.harness.run(s(60));
    it.harness.hang_up(it.bob, b);
    assert!(it.harness.ended(it.ann, a).is_some(), "the agent's end is the caller's");
    assert_eq!(it.agent("bob"), AgentState::WrapUp);
    assert_eq!(it.news(), ["joined", "offered bob", "answered answered bob", "left answered bob"]);
    let records = it.harness.records();
    assert_eq!(records.len(), 2);
    for record in records {
        assert!(record.variables.contains(&("queue_agent".to_owned(), "bob".to_owned())), "{record:?}");
    }
    it.close();
}

#[test]
fn the_agent_sees_the_queue_and_the_callers_number() {
    let mut it = one_agent();
    let a = it.caller(it.ann);
    it.harness.next_call(it.bob);
    let invite = it.harness.wire.iter().rev().find(|sent| {
        let text = String::from_utf8_lossy(&sent.data).into_owned();
        sent.to.to_string() == BOB && text.starts_with("INVITE")
    });
    let text = String::from_utf8_lossy(&invite.expect("an INVITE").data).into_owned();
    assert!(text.contains("From: \"sales\" <sip:party1@"), "{text}");
    it.harness.hang_up(it.ann, a);
    it.close();
}

#[test]
fn a_caller_who_hangs_up_in_the_welcome_is_forgotten() {
    let mut it = one_agent();
    let a = it.harness.call(it.ann, "sales", Some(SESSION));
    it.harness.hang_up(it.ann, a);
    assert_eq!(it.news(), ["joined", "left abandoned"]);
    assert!(it.harness.incoming(it.bob).is_empty());
    it.close();
}

/// A change of duty during a call is visible after the call, and published at once.
#[test]
fn each_change_of_what_an_agent_wants_is_told_whatever_is_seen_of_it() {
    let mut it = one_agent();
    let a = it.caller(it.ann);
    it.harness.answer_next(it.bob, SESSION);
    it.harness.settle();
    it.duties();
    it.change("bob", Duty::Paused);
    it.change("bob", Duty::Paused);
    assert_eq!((it.agent("bob"), it.duties()), (AgentState::Busy, vec!["bob paused".to_owned()]));
    it.harness.hang_up(it.ann, a);
    assert_eq!(it.agent("bob"), AgentState::Paused);
    it.change("bob", Duty::Available);
    assert_eq!(it.duties(), ["bob available"]);
    it.close();
}

#[test]
fn a_caller_who_hangs_up_while_it_waits_is_forgotten() {
    let mut it = one_agent();
    it.change("bob", Duty::Paused);
    let a = it.caller(it.ann);
    it.harness.run(s(10));
    it.harness.hang_up(it.ann, a);
    assert_eq!(it.news(), ["joined", "left abandoned"]);
    let record = it.harness.records().remove(0);
    assert!(record.variables.contains(&("queue_result".to_owned(), "abandoned".to_owned())), "{record:?}");
    it.close();
}

#[test]
fn a_caller_who_hangs_up_while_an_agent_rings_ends_the_ringing() {
    let mut it = one_agent();
    let a = it.caller(it.ann);
    let b = it.harness.next_call(it.bob);
    it.harness.ring(it.bob, b, 180, None);
    it.harness.hang_up(it.ann, a);
    assert!(matches!(it.harness.ended(it.bob, b), Some(Termination::RemoteCancel { .. })));
    assert_eq!(it.agent("bob"), AgentState::Available, "it was no fault of Bob's");
    it.close();
}

#[test]
fn who_hangs_up_just_when_the_agent_answers_leaves_no_call_behind() {
    let mut it = one_agent();
    let a = it.caller(it.ann);
    let b = it.harness.next_call(it.bob);
    let now = it.harness.now();
    it.harness.endpoint(it.ann).bye(now, a).unwrap();
    it.harness.answer(it.bob, b, Some(SESSION));
    it.harness.run(s(5));
    assert!(!it.harness.is_up(it.bob, b));
    assert!(it.harness.snapshot().is_empty());
    it.close();
}

#[test]
fn an_agent_who_rejects_is_left_alone_for_a_moment_and_the_caller_is_not_forgotten() {
    let mut it = two_agents();
    let a = it.caller(it.ann);
    let b = it.harness.next_call(it.bob);
    it.harness.reject(it.bob, b, 486);
    let c = it.harness.next_call(it.cat);
    it.harness.reject(it.cat, c, 603);
    assert!(it.harness.is_up(it.ann, a));
    it.harness.run(s(5));
    it.harness.answer_next(it.bob, SESSION);
    assert_eq!(it.variable("queue_agent").as_deref(), Some("bob"));
    it.harness.hang_up(it.ann, a);
    it.close();
}

#[test]
fn who_does_not_answer_is_paused_in_the_end() {
    let mut it = one_agent();
    let a = it.caller(it.ann);
    for _ in 0..2 {
        let b = it.harness.next_call(it.bob);
        it.harness.ring(it.bob, b, 180, None);
        it.harness.run(s(16));
        assert!(matches!(it.harness.ended(it.bob, b), Some(Termination::RemoteCancel { .. })));
        it.harness.run(s(5));
    }
    assert_eq!(it.agent("bob"), AgentState::Paused);
    assert!(it.harness.incoming(it.bob).is_empty());
    assert!(it.harness.is_up(it.ann, a));
    it.harness.hang_up(it.ann, a);
    it.close();
}

#[test]
fn an_agent_whose_phone_vanishes_while_it_rings_costs_the_caller_only_time() {
    let mut it = two_agents();
    let a = it.caller(it.ann);
    let b = it.harness.next_call(it.bob);
    it.harness.ring(it.bob, b, 180, None);
    it.harness.kill(it.bob);
    it.harness.run(s(16));
    it.harness.answer_next(it.cat, SESSION);
    assert_eq!(it.variable("queue_agent").as_deref(), Some("cat"));
    it.harness.hang_up(it.ann, a);
    // No other caller is offered to Bob until his phone has stopped ringing.
    assert_eq!(it.agent("bob"), AgentState::Ringing);
    it.harness.run(s(64));
    it.close();
}

#[test]
fn a_phone_that_is_gone_is_not_called() {
    let mut it = two_agents();
    it.desk.phone("bob", false);
    it.harness.settle();
    assert_eq!(it.agent("bob"), AgentState::LoggedOut);
    let a = it.caller(it.ann);
    assert!(it.harness.incoming(it.bob).is_empty());
    it.harness.answer_next(it.cat, SESSION);
    it.desk.phone("bob", true);
    it.harness.settle();
    assert_eq!(it.agent("bob"), AgentState::Available);
    it.harness.hang_up(it.ann, a);
    it.close();
}

#[test]
fn an_agent_who_hangs_up_before_it_is_joined_leaves_the_caller_in_its_place() {
    let mut it = two_agents();
    let a = it.caller(it.ann);
    let b = it.harness.next_call(it.bob);
    let now = it.harness.now();
    // The answer and the hangup arrive together.
    it.harness.endpoint(it.bob).answer(now, b, Some(Body::sdp(SESSION.to_owned()))).unwrap();
    it.harness.run(Duration::from_millis(20));
    let now = it.harness.now();
    let _ = it.harness.endpoint(it.bob).bye(now, b);
    it.harness.settle();
    // If already joined, the caller's call ends with the agent's; otherwise the next agent rings.
    if it.harness.is_up(it.ann, a) {
        it.harness.answer_next(it.cat, SESSION);
        it.harness.hang_up(it.ann, a);
    }
    it.close();
}

#[test]
fn callers_are_served_in_their_order() {
    let mut it = one_agent();
    it.change("bob", Duty::Paused);
    let (a, c) = (it.caller(it.ann), it.caller(it.cat));
    assert_eq!(it.waiting(), 2);
    it.change("bob", Duty::Available);
    let b = it.harness.answer_next(it.bob, SESSION);
    it.harness.hang_up(it.bob, b);
    assert!(it.harness.ended(it.ann, a).is_some() && it.harness.is_up(it.cat, c));
    it.harness.run(s(10));
    let b = it.harness.answer_next(it.bob, SESSION);
    it.harness.hang_up(it.bob, b);
    assert!(it.harness.ended(it.cat, c).is_some());
    it.close();
}

#[test]
fn all_phones_ring_and_one_gets_the_caller() {
    let all = QueueSettings { plan: QueuePlan { strategy: Strategy::RingAll, ..sales(2).plan }, ..sales(2) };
    let mut it = office(all, vec![agent("bob", BOB), agent("cat", CAT)]);
    let a = it.caller(it.ann);
    let (b, c) = (it.harness.next_call(it.bob), it.harness.next_call(it.cat));
    it.harness.ring(it.bob, b, 180, None);
    it.harness.answer(it.cat, c, Some(SESSION));
    assert!(matches!(it.harness.ended(it.bob, b), Some(Termination::RemoteCancel { .. })));
    assert_eq!(it.harness.media().bridges().len(), 1);
    assert_eq!(it.agent("bob"), AgentState::Available);
    it.harness.hang_up(it.ann, a);
    it.close();
}

#[test]
fn a_number_that_is_no_queue_of_ours_is_not_answered() {
    let mut it = office_with(sales(0), vec![], |_, _| HandlerAction::Handle("queue/none".to_owned()));
    let a = it.harness.call(it.ann, "sales", Some(SESSION));
    assert!(matches!(it.harness.ended(it.ann, a), Some(Termination::Failed { .. })));
    it.close();
}
