//! The machine of all queues as an application that belongs to no call: messages of callers, agents' calls
//! and operators go in, and the machine's outputs become wants.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde_json::json;

use super::desk::{DutyReply, Entry, Order, Word};
use super::machine::Floor;
use super::machine::agent::Duty;
use super::machine::values::{AgentNo, Before, CallerId, Gone, Input, Left, OfferId, Output, QueueNo, Why};
use super::offer;
use super::settings::DeskSettings;
use b2b_call::application::{AppAnswer, AppEvent, AppId, Application, WantId, Wants};
use b2b_call::{CallId, LegId};

/// The timer of the machine's next deadline.
const DEADLINE: u32 = 1;

/// A waiting caller.
struct Waiting {
    call: CallId,
    number: String,
    app: AppId,
}

/// A call to an agent.
struct Calling {
    call: Option<CallId>,
    leg: Option<LegId>,
    /// It is to be ended as soon as its call or leg is known.
    cancelled: bool,
    /// The reason of its end, as far as it is known.
    why: Gone,
}

impl Default for Calling {
    fn default() -> Self {
        Calling { call: None, leg: None, cancelled: false, why: Gone::Unreachable }
    }
}

impl Calling {
    /// Ends the call, if its call or leg is known. If it is over already, its end is being reported.
    fn hang_up(&self, wants: &mut Wants) {
        match (self.leg, self.call) {
            (Some(leg), _) => Some(wants.hangup(leg)),
            (None, Some(call)) => Some(wants.hangup_call(call)),
            (None, None) => None,
        };
    }
}

/// The application of all queues; see the module documentation.
pub(super) struct Queues {
    settings: Arc<DeskSettings>,
    /// Present once the application has begun.
    attendant: Option<Attendant>,
}

impl Queues {
    /// Queues with this configuration, without callers.
    pub fn new(settings: Arc<DeskSettings>) -> Self {
        Queues { settings, attendant: None }
    }
}

impl Application for Queues {
    fn step(&mut self, now: Instant, event: AppEvent, wants: &mut Wants) {
        let settings = &self.settings;
        let it = self.attendant.get_or_insert_with(|| Attendant::new(now, settings.clone()));
        match event {
            AppEvent::Told(word) => {
                if let Ok(word) = word.downcast() {
                    it.hear(now, *word, wants);
                }
            }
            AppEvent::Timer(_) => {
                it.due = None;
                it.handle(now, Input::Tick, wants);
            }
            AppEvent::Answered { want, answer } => it.answered(now, want, answer, wants),
            AppEvent::Begin | AppEvent::Resumed | AppEvent::Lost(_) | AppEvent::Gone | AppEvent::Over => {}
        }
        it.wait(wants);
    }
}

struct Attendant {
    settings: Arc<DeskSettings>,
    floor: Floor,
    waiting: HashMap<CallerId, Waiting>,
    calling: HashMap<OfferId, Calling>,
    /// The agents' calls by pending want.
    asked: HashMap<WantId, OfferId>,
    /// The time that the timer is set to.
    due: Option<Instant>,
}

impl Attendant {
    fn new(now: Instant, settings: Arc<DeskSettings>) -> Self {
        let floor = Floor::new(now, settings.floor());
        let (waiting, calling, asked) = (HashMap::new(), HashMap::new(), HashMap::new());
        Attendant { settings, floor, waiting, calling, asked, due: None }
    }

    /// Sets the timer to the machine's next deadline.
    fn wait(&mut self, wants: &mut Wants) {
        let due = self.floor.next_timeout();
        if self.due == due {
            return;
        }
        self.due = due;
        match due {
            Some(at) => wants.set_timer(DEADLINE, at),
            None => wants.cancel_timer(DEADLINE),
        }
    }

    fn hear(&mut self, now: Instant, word: Word, wants: &mut Wants) {
        match word {
            Word::Enter(entry) => self.enter(now, entry, None, wants),
            Word::Return(entry, before) => self.enter(now, entry, Some(before), wants),
            Word::Talks { queue, agent, leg } => self.talks(now, &queue, &agent, leg, wants),
            Word::Input(input) => self.handle(now, input, wants),
            Word::Settings(settings) => {
                self.floor.reload(now, settings.floor());
                self.settings = settings;
                self.obey(now, wants);
            }
            Word::Phone { user, there } => {
                let of_user = self.settings.agents.iter().filter(|it| it.user.as_deref() == Some(&*user));
                let agents: Vec<_> = of_user.filter_map(|it| self.floor.agent_named(&it.plan.name)).collect();
                for agent in agents {
                    self.handle(now, Input::AgentReachable { agent, reachable: there }, wants);
                }
            }
            Word::Duty { agent, change, reply } => {
                let agent = self.floor.agent_named(&agent);
                let duty = agent.and_then(|agent| self.floor.duty(agent));
                if let (Some(agent), Some(before)) = (agent, duty) {
                    let duty: Duty = change.of(before);
                    self.handle(now, Input::AgentDuty { agent, duty }, wants);
                    if duty != before {
                        self.tell_duty(agent, duty, wants);
                    }
                }
                let view = agent.and_then(|agent| self.floor.agent_view(now, agent));
                match reply {
                    // The receiver may be gone; the same applies below.
                    DutyReply::Program(reply) => drop(reply.send(view)),
                    DutyReply::Application(app) => wants.tell(app, view),
                }
            }
            Word::Queues { reply } => {
                let mut views: Vec<_> =
                    self.floor.queues().filter_map(|queue| self.floor.queue_view(now, queue)).collect();
                for caller in views.iter_mut().flat_map(|view| &mut view.callers) {
                    if let Some(it) = self.waiting.get(&caller.caller) {
                        caller.call = Some(it.call);
                        caller.number.clone_from(&it.number);
                    }
                }
                let _ = reply.send(views);
            }
            Word::Agents { reply } => {
                let agents = self.floor.agents();
                let _ = reply.send(agents.filter_map(|agent| self.floor.agent_view(now, agent)).collect());
            }
        }
    }

    /// `before`: the caller has waited in another process.
    fn enter(&mut self, now: Instant, entry: Entry, before: Option<Before>, wants: &mut Wants) {
        let Some(queue) = self.floor.queue_named(&entry.queue) else {
            return wants.tell(entry.app, Order::NoQueue);
        };
        let Entry { caller, who, call, number, priority, skills, app, .. } = entry;
        self.waiting.insert(caller, Waiting { call, number, app });
        let input = match before {
            Some(before) => Input::CallerReturned { caller, who, queue, priority, skills, before },
            None => Input::CallerJoined { caller, who, queue, priority, skills },
        };
        self.handle(now, input, wants);
    }

    /// An agent has talked to a caller since another process: they rest once it is over.
    fn talks(&mut self, now: Instant, queue: &str, agent: &str, leg: LegId, wants: &mut Wants) {
        let known = self.floor.queue_named(queue).zip(self.floor.agent_named(agent));
        if let Some(offer) = known.and_then(|(queue, agent)| self.floor.talks(now, agent, queue)) {
            self.calling.insert(offer, Calling { leg: Some(leg), why: Gone::Ended, ..Calling::default() });
            self.asked.insert(wants.wait_for_termination(leg), offer);
            self.obey(now, wants);
        }
    }

    fn handle(&mut self, now: Instant, input: Input, wants: &mut Wants) {
        self.floor.handle(now, input);
        self.obey(now, wants);
    }

    /// Carries out the machine's outputs.
    fn obey(&mut self, now: Instant, wants: &mut Wants) {
        while let Some(output) = self.floor.poll() {
            if let Some(input) = self.carry_out(output, wants) {
                self.floor.handle(now, input);
            }
        }
    }

    /// Returns an input that results at once.
    fn carry_out(&mut self, output: Output, wants: &mut Wants) -> Option<Input> {
        match output {
            Output::Welcome { caller, queue } => {
                self.publish(Some(caller), "joined", json!({ "queue": self.queue(queue) }), wants);
                self.order(caller, Order::Welcome, wants);
            }
            Output::Announce { caller, position, estimate } => {
                self.order(caller, Order::Say { position, estimate }, wants);
            }
            Output::Ring { offer, caller, agent, queue } => self.ring(offer, (caller, agent, queue), wants),
            Output::Cancel { offer, .. } => {
                if let Some(it) = self.calling.get_mut(&offer) {
                    it.cancelled = true;
                    it.hang_up(wants);
                }
            }
            Output::Join { offer, caller, agent } => {
                let leg = self.calling.get(&offer).and_then(|it| it.leg);
                let name = self.agent(agent);
                let ordered = leg.is_some_and(|leg| {
                    self.order(caller, Order::Join { offer, leg, agent: name.clone().into() }, wants)
                });
                if !ordered {
                    return Some(Input::JoinFailed { offer });
                }
            }
            Output::Left { caller, queue, how, waited } => self.left(caller, queue, (how, waited), wants),
            Output::Agent { agent, from, to, why } => {
                let data = json!({ "agent": self.agent(agent), "from": from, "to": to, "why": why });
                self.publish(None, "agent", data, wants);
                if why == Why::Misses {
                    self.tell_duty(agent, Duty::Paused, wants);
                }
            }
        }
        None
    }

    fn ring(
        &mut self,
        offer: OfferId,
        (caller, agent, queue): (CallerId, AgentNo, QueueNo),
        wants: &mut Wants,
    ) {
        let (name, agent_name) = (self.queue(queue), self.agent(agent));
        self.publish(Some(caller), "offered", json!({ "queue": name, "agent": agent_name }), wants);
        let number = self.waiting.get(&caller).map(|it| it.number.clone()).unwrap_or_default();
        let ring = self.floor.queue_plan(queue).map(|plan| plan.ring).unwrap_or_default();
        let settings = self.settings.agents.iter().find(|it| *it.plan.name == *agent_name);
        let target = settings.map(|it| it.target.clone()).unwrap_or_default();
        let dials = wants.originate(offer::request(target, &name, number, ring));
        self.asked.insert(dials, offer);
        self.calling.insert(offer, Calling::default());
    }

    /// The call to an agent has progressed. Its end is reported exactly once, last.
    fn answered(&mut self, now: Instant, want: WantId, answer: AppAnswer, wants: &mut Wants) {
        let offer = self.asked.get(&want).copied();
        let Some((offer, it)) = offer.and_then(|offer| Some((offer, self.calling.get_mut(&offer)?))) else {
            // The answer to a hangup is not needed.
            return;
        };
        match answer {
            AppAnswer::Started(call) => {
                it.call = Some(call);
                if it.cancelled {
                    it.hang_up(wants);
                }
            }
            AppAnswer::Reached(reached) => {
                self.asked.remove(&want);
                let over = match &reached {
                    Ok(leg) => Some(wants.wait_for_termination(*leg)),
                    // A phone that has not received the CANCEL yet may still ring.
                    Err(_) => it.call.map(|call| wants.wait_for_termination(call)),
                };
                it.leg = reached.as_ref().ok().copied();
                it.why = reached.as_ref().map_or_else(offer::gone, |_| Gone::Ended);
                let Some(over) = over else { return self.is_gone(now, offer, wants) };
                self.asked.insert(over, offer);
                if reached.is_ok() {
                    self.handle(now, Input::AgentAnswered { offer }, wants);
                }
            }
            _ => {
                self.asked.remove(&want);
                self.is_gone(now, offer, wants);
            }
        }
    }

    fn is_gone(&mut self, now: Instant, offer: OfferId, wants: &mut Wants) {
        let why = self.calling.remove(&offer).unwrap_or_default().why;
        self.handle(now, Input::AgentGone { offer, why }, wants);
    }

    fn left(&mut self, caller: CallerId, queue: QueueNo, (how, waited): (Left, Duration), wants: &mut Wants) {
        let waited_s = waited.as_secs_f64();
        let mut data = json!({ "queue": self.queue(queue), "why": how.as_str(), "waited_s": waited_s });
        if let Left::Answered(agent) = how {
            data["agent"] = self.agent(agent).into();
            self.publish(Some(caller), "answered", data.clone(), wants);
        }
        self.publish(Some(caller), "left", data, wants);
        self.order(caller, Order::Left { how, waited }, wants);
        self.waiting.remove(&caller);
    }

    /// `false` if the caller is gone.
    fn order(&self, caller: CallerId, order: Order, wants: &mut Wants) -> bool {
        let app = self.waiting.get(&caller).map(|it| it.app);
        if let Some(app) = app {
            wants.tell(app, order);
        }
        app.is_some()
    }

    fn queue(&self, queue: QueueNo) -> String {
        self.floor.queue_plan(queue).map(|plan| plan.name.to_string()).unwrap_or_default()
    }

    fn agent(&self, agent: AgentNo) -> String {
        self.floor.agent_plan(agent).map(|plan| plan.name.to_string()).unwrap_or_default()
    }

    /// Publishes an agent's duty when the agent changes it or it is changed for them, even if their state
    /// stays the same, as during a call.
    fn tell_duty(&self, agent: AgentNo, duty: Duty, wants: &mut Wants) {
        self.publish(None, "duty", json!({ "agent": self.agent(agent), "duty": duty }), wants);
    }

    fn publish(&self, caller: Option<CallerId>, name: &str, data: serde_json::Value, wants: &mut Wants) {
        let call = caller.and_then(|caller| self.waiting.get(&caller)).map(|it| it.call);
        wants.publish(call, "queue", name, data);
    }
}
