//! The task that owns the machine of all queues: words in, the machine's outputs carried
//! out. It waits for words and for the machine's next deadline, and for nothing else: what
//! takes time is a task of its own.

use std::collections::HashMap;
use std::pin::Pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde_json::json;
use tokio::sync::mpsc;

use super::desk::{Entry, Order, Word};
use super::machine::Floor;
use super::machine::agent::Duty;
use super::machine::values::{AgentNo, CallerId, Input, Left, OfferId, Output, QueueNo};
use super::offer;
use super::settings::DeskSettings;
use b2b_call::service::CallService;
use b2b_call::{CallId, LegId};

/// Somebody who waits.
struct Waiting {
    call: CallId,
    number: String,
    orders: mpsc::UnboundedSender<Order>,
}

/// An agent's call.
#[derive(Default)]
struct Calling {
    call: Option<CallId>,
    leg: Option<LegId>,
    /// It is to end as soon as there is something to be ended.
    cancelled: bool,
}

struct Attendant {
    settings: Arc<DeskSettings>,
    words: mpsc::UnboundedSender<Word>,
    service: CallService,
    floor: Floor,
    waiting: HashMap<CallerId, Waiting>,
    calling: HashMap<OfferId, Calling>,
}

/// A deadline, and who wakes us then.
type Alarm = (Instant, Pin<Box<dyn Future<Output = bool> + Send>>);

/// Attends to the queues until the service stops.
pub(super) async fn attend(
    settings: Arc<DeskSettings>,
    mut heard: mpsc::UnboundedReceiver<Word>,
    words: mpsc::UnboundedSender<Word>,
    service: CallService,
) {
    let Ok(now) = service.now().await else { return };
    let floor = Floor::new(now, settings.floor());
    let (waiting, calling) = (HashMap::new(), HashMap::new());
    let mut it = Attendant { settings, words, service, floor, waiting, calling };
    let mut alarm: Option<Alarm> = None;
    loop {
        let due = it.floor.next_timeout();
        if alarm.as_ref().map(|(at, _)| *at) != due {
            alarm = due.map(|at| (at, it.alarm(at)));
        }
        let word = tokio::select! {
            biased;
            word = heard.recv() => word,
            woken = ring(&mut alarm) => {
                alarm = None;
                if !woken {
                    return;
                }
                Some(Word::Input(Input::Tick))
            }
        };
        let Some(word) = word else { return };
        let Ok(now) = it.service.now().await else { return };
        it.hear(now, word);
    }
}

/// When it is time; `false`: the service is stopping.
async fn ring(alarm: &mut Option<Alarm>) -> bool {
    match alarm {
        Some((_, sleep)) => sleep.await,
        None => std::future::pending().await,
    }
}

impl Attendant {
    fn alarm(&self, at: Instant) -> Pin<Box<dyn Future<Output = bool> + Send>> {
        let service = self.service.clone();
        Box::pin(async move { service.sleep_until(at).await.is_ok() })
    }

    fn hear(&mut self, now: Instant, word: Word) {
        match word {
            Word::Enter(entry) => self.enter(now, entry),
            Word::Input(input) => {
                if let Input::AgentGone { offer, .. } = &input {
                    self.calling.remove(offer);
                }
                self.handle(now, input);
            }
            Word::Calling { offer, call } => {
                let Some(it) = self.calling.get_mut(&offer) else { return };
                it.call = Some(call);
                if it.cancelled {
                    self.hang_up(offer);
                }
            }
            Word::Answered { offer, leg } => {
                if let Some(it) = self.calling.get_mut(&offer) {
                    it.leg = Some(leg);
                }
                self.handle(now, Input::AgentAnswered { offer });
            }
            Word::Settings(settings) => {
                self.floor.reload(now, settings.floor());
                self.settings = settings;
                self.obey(now);
            }
            Word::Phone { user, there } => {
                let of_user = self.settings.agents.iter().filter(|it| it.user.as_deref() == Some(&*user));
                let agents: Vec<_> = of_user.filter_map(|it| self.floor.agent_named(&it.plan.name)).collect();
                for agent in agents {
                    self.handle(now, Input::AgentReachable { agent, reachable: there });
                }
            }
            Word::Duty { agent, change, reply } => {
                let agent = self.floor.agent_named(&agent);
                let duty = agent.and_then(|agent| self.floor.duty(agent));
                if let (Some(agent), Some(duty)) = (agent, duty) {
                    let duty: Duty = change.of(duty);
                    self.handle(now, Input::AgentDuty { agent, duty });
                }
                // Who does not wait any more has lost interest; below, too.
                let _ = reply.send(agent.and_then(|agent| self.floor.agent_view(now, agent)));
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

    fn enter(&mut self, now: Instant, entry: Entry) {
        // Without this queue the entry is dropped, and its handler sees that.
        let Some(queue) = self.floor.queue_named(&entry.queue) else { return };
        let Entry { caller, call, number, priority, skills, orders, .. } = entry;
        self.waiting.insert(caller, Waiting { call, number, orders });
        self.handle(now, Input::CallerJoined { caller, queue, priority, skills });
    }

    fn handle(&mut self, now: Instant, input: Input) {
        self.floor.handle(now, input);
        self.obey(now);
    }

    /// Does what the machine wants.
    fn obey(&mut self, now: Instant) {
        while let Some(output) = self.floor.poll() {
            if let Some(input) = self.carry_out(output) {
                self.floor.handle(now, input);
            }
        }
    }

    /// Gives what is known of it at once.
    fn carry_out(&mut self, output: Output) -> Option<Input> {
        match output {
            Output::Welcome { caller, queue } => {
                self.publish(Some(caller), "joined", json!({ "queue": self.queue(queue) }));
                self.order(caller, Order::Welcome);
            }
            Output::Announce { caller, position, estimate } => {
                self.order(caller, Order::Say { position, estimate });
            }
            Output::Ring { offer, caller, agent, queue } => self.ring(offer, caller, agent, queue),
            Output::Cancel { offer, .. } => {
                if let Some(it) = self.calling.get_mut(&offer) {
                    it.cancelled = true;
                    self.hang_up(offer);
                }
            }
            Output::Join { offer, caller, agent } => {
                let leg = self.calling.get(&offer).and_then(|it| it.leg);
                let name = self.agent(agent);
                let ordered = leg.is_some_and(|leg| {
                    self.order(caller, Order::Join { offer, leg, agent: name.clone().into() })
                });
                if !ordered {
                    return Some(Input::JoinFailed { offer });
                }
            }
            Output::Left { caller, queue, how, waited } => self.left(caller, queue, how, waited),
            Output::Agent { agent, from, to, why } => {
                let data = json!({ "agent": self.agent(agent), "from": from, "to": to, "why": why });
                self.publish(None, "agent", data);
            }
        }
        None
    }

    fn ring(&mut self, offer: OfferId, caller: CallerId, agent: AgentNo, queue: QueueNo) {
        let (name, agent_name) = (self.queue(queue), self.agent(agent));
        self.publish(Some(caller), "offered", json!({ "queue": name, "agent": agent_name }));
        let number = self.waiting.get(&caller).map(|it| it.number.clone()).unwrap_or_default();
        let ring = self.floor.queue_plan(queue).map(|plan| plan.ring).unwrap_or_default();
        let settings = self.settings.agents.iter().find(|it| *it.plan.name == *agent_name);
        let target = settings.map(|it| it.target.clone()).unwrap_or_default();
        self.calling.insert(offer, Calling::default());
        let request = offer::request(target, &name, number, ring);
        let call = offer::call(self.service.clone(), self.words.clone(), offer, request);
        // If the service has stopped, so have we.
        let _ = self.service.spawn(call);
    }

    /// Ends an agent's call, if there is one yet.
    fn hang_up(&self, offer: OfferId) {
        let Some(it) = self.calling.get(&offer) else { return };
        let (call, leg, service) = (it.call, it.leg, self.service.clone());
        let end = async move {
            // Over already: its own task tells of it.
            match (leg, call) {
                (Some(leg), _) => drop(service.hangup(leg).await),
                (None, Some(call)) => drop(service.hangup_call(call).await),
                (None, None) => {}
            }
        };
        let _ = self.service.spawn(end);
    }

    fn left(&mut self, caller: CallerId, queue: QueueNo, how: Left, waited: Duration) {
        let waited_s = waited.as_secs_f64();
        let mut data = json!({ "queue": self.queue(queue), "why": how.as_str(), "waited_s": waited_s });
        if let Left::Answered(agent) = how {
            data["agent"] = self.agent(agent).into();
            self.publish(Some(caller), "answered", data.clone());
        }
        self.publish(Some(caller), "left", data);
        self.order(caller, Order::Left { how, waited });
        self.waiting.remove(&caller);
    }

    /// `false`: the caller's handler is over.
    fn order(&self, caller: CallerId, order: Order) -> bool {
        self.waiting.get(&caller).is_some_and(|it| it.orders.send(order).is_ok())
    }

    fn queue(&self, queue: QueueNo) -> String {
        self.floor.queue_plan(queue).map(|plan| plan.name.to_string()).unwrap_or_default()
    }

    fn agent(&self, agent: AgentNo) -> String {
        self.floor.agent_plan(agent).map(|plan| plan.name.to_string()).unwrap_or_default()
    }

    fn publish(&self, caller: Option<CallerId>, name: &str, data: serde_json::Value) {
        let call = caller.and_then(|caller| self.waiting.get(&caller)).map(|it| it.call);
        // If the service has stopped nobody listens.
        let _ = self.service.publish(call, "queue", name, data);
    }
}
