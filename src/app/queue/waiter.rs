//! A caller in a queue: carries out the orders of the queues' machine, and reports the results.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::desk::{Entry, Order, QueueDesk, Word};
use super::machine::values::{AgentNo, Before, CallerId, Input, Left, OfferId, Skills};
use super::settings::QueueSettings;
use crate::caller::Caller;
use b2b_call::application::{AppAnswer, AppEvent, Application, Saved, WantId, Wants};
use b2b_call::bridge_fsm::BridgeMode;
use b2b_call::controller::{CollectEnd, DigitPlan, Prompt};
use b2b_call::handler::{ApplicationHandler, HandlerAction, IncomingCall};
use b2b_call::service::{CallError, CallService, MediaVerbs, Place};
use b2b_call::{CallId, LegId};
use serde::{Deserialize, Serialize};

/// The duration of one digit collection.
const LISTEN: Duration = Duration::from_secs(3_600);

/// The handler of one queue, `queue/` and its name.
pub struct QueueHandler {
    name: Arc<str>,
    queue: Arc<str>,
    desk: QueueDesk,
}

impl QueueHandler {
    /// The handlers of all queues of a desk.
    pub fn all(desk: &QueueDesk) -> Vec<Arc<dyn ApplicationHandler>> {
        let handler = |it: &QueueSettings| {
            let (queue, desk) = (it.plan.name.clone(), desk.clone());
            let name = super::settings::DeskSettings::application(&queue);
            Arc::new(QueueHandler { name, queue, desk }) as Arc<dyn ApplicationHandler>
        };
        desk.settings().queues.iter().map(handler).collect()
    }
}

impl ApplicationHandler for QueueHandler {
    fn name(&self) -> &str {
        &self.name
    }

    /// Selected by name only.
    fn can_handle(&self, _: &IncomingCall) -> bool {
        false
    }

    fn begin(&self, call: &IncomingCall, service: &CallService) -> Option<Box<dyn Application>> {
        self.desk.start(service);
        let caller = self.desk.new_caller();
        let stay = Stay { number: caller.0, ..Stay::default() };
        Some(self.waiter(call, caller, stay).unwrap_or_else(|| Box::new(NoQueue)))
    }

    fn load(&self, call: &IncomingCall, saved: &Saved) -> Option<Box<dyn Application>> {
        let stay: Stay = saved.read()?;
        self.waiter(call, self.desk.returning_caller(stay.number), stay)
    }
}

impl QueueHandler {
    /// `None`: there is no such queue.
    fn waiter(&self, call: &IncomingCall, caller: CallerId, stay: Stay) -> Option<Box<dyn Application>> {
        let settings = self.desk.settings().queues.iter().find(|it| it.plan.name == self.queue)?.clone();
        Some(Box::new(Waiter {
            ear: Ear::new(call, settings),
            desk: self.desk.clone(),
            caller,
            who: Caller::of(call),
            number: call.caller(),
            waits: None,
            orders: VecDeque::new(),
            stay,
        }))
    }
}

/// A caller of a queue that no longer exists.
struct NoQueue;

impl Application for NoQueue {
    fn step(&mut self, _: Instant, _: AppEvent, wants: &mut Wants) {
        wants.end(HandlerAction::Disconnect);
    }
}

/// A caller in a queue.
struct Waiter {
    ear: Ear,
    desk: QueueDesk,
    caller: CallerId,
    who: Caller,
    number: String,
    waits: Option<WantId>,
    /// Orders that are carried out when no other action is in progress.
    orders: VecDeque<Order>,
    stay: Stay,
}

/// What goes on in another process.
#[derive(Default, Serialize, Deserialize)]
struct Stay {
    at: At,
    /// The caller's number in the process in which they came.
    number: u64,
    priority: u8,
    skills: Skills,
    /// When the queues were told of the caller.
    #[serde(with = "b2b_base::ages::option")]
    joined: Option<Instant>,
    is_answered: bool,
    /// The caller has heard the welcome.
    is_ready: bool,
    /// When the caller's position was last announced.
    #[serde(with = "b2b_base::ages::option")]
    announced: Option<Instant>,
}

/// The action in progress.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
enum At {
    /// Reading the variables of the call; the queues do not know the caller yet.
    #[default]
    Reading,
    Idle,
    Answering,
    Entering,
    /// The caller is being joined with this agent.
    Joining {
        offer: OfferId,
        leg: LegId,
        agent: Arc<str>,
    },
    /// The process has ended in which this was so: are they joined?
    Asking {
        leg: LegId,
        agent: Arc<str>,
    },
}

impl Application for Waiter {
    fn step(&mut self, now: Instant, event: AppEvent, wants: &mut Wants) {
        match event {
            AppEvent::Begin => self.waits = Some(wants.variables(self.ear.call)),
            AppEvent::Resumed => self.resumes(wants),
            AppEvent::Answered { want, answer } if Some(want) == self.waits => {
                self.waits = None;
                self.came(now, answer, wants);
            }
            AppEvent::Answered { want, answer } if Some(want) == self.ear.playing => {
                self.ear.playing = None;
                self.ear.complain(answer);
                self.ear.go_on(wants);
                if std::mem::take(&mut self.ear.welcome) {
                    self.is_ready(wants);
                }
            }
            AppEvent::Answered { want, answer } if Some(want) == self.ear.digit => {
                if let Some(digit) = self.ear.pressed(answer, wants) {
                    self.tell(Input::CallerPressed { caller: self.caller, digit }, wants);
                }
            }
            AppEvent::Answered { want, answer } if Some(want) == self.ear.begins => {
                self.ear.complain(answer);
            }
            AppEvent::Told(order) => {
                if let Ok(order) = order.downcast::<Order>() {
                    self.orders.push_back(*order);
                }
            }
            // The queues have ended.
            AppEvent::Lost(app) if Some(app) == self.desk.app() => {
                return self.ends(HandlerAction::Disconnect, wants);
            }
            AppEvent::Gone => return self.ends(HandlerAction::Complete, wants),
            AppEvent::Over => return self.leaves(wants),
            AppEvent::Answered { .. } | AppEvent::Timer(_) | AppEvent::Lost(_) => {}
        }
        while self.stay.at == At::Idle
            && let Some(order) = self.orders.pop_front()
        {
            self.obeys(now, order, wants);
        }
    }

    fn save(&self) -> Option<Saved> {
        Saved::of(&self.stay)
    }
}

impl Waiter {
    fn tell(&self, input: Input, wants: &mut Wants) {
        self.desk.tell_from(wants, Word::Input(input));
    }

    /// The process has ended in which the caller waited.
    fn resumes(&mut self, wants: &mut Wants) {
        match std::mem::replace(&mut self.stay.at, At::Idle) {
            At::Reading => {
                self.stay.at = At::Reading;
                self.waits = Some(wants.variables(self.ear.call));
            }
            At::Joining { leg, agent, .. } | At::Asking { leg, agent } => {
                self.stay.at = At::Asking { leg, agent };
                self.waits = Some(wants.is_joined(self.ear.leg));
            }
            At::Idle | At::Answering | At::Entering => self.returns(wants),
        }
    }

    /// The caller waits where they did in another process.
    fn returns(&mut self, wants: &mut Wants) {
        let Stay { number, joined: Some(joined), is_ready, announced, .. } = self.stay else { return };
        let before = Before { number, joined, is_ready, announced };
        self.desk.tell_from(wants, Word::Return(self.entry(wants), before));
        if is_ready {
            self.ear.go_on(wants);
            self.ear.listen(wants);
        } else {
            self.welcome(wants);
        }
    }

    fn entry(&self, wants: &Wants) -> Entry {
        Entry {
            caller: self.caller,
            who: self.who.clone(),
            queue: self.ear.settings.plan.name.clone(),
            call: self.ear.call,
            number: self.number.clone(),
            priority: self.stay.priority,
            skills: self.stay.skills.clone(),
            app: wants.me(),
        }
    }

    fn welcome(&mut self, wants: &mut Wants) {
        self.ear.note_arrival(wants);
        self.stay.at = At::Answering;
        self.waits = Some(wants.answer(self.ear.leg));
    }

    /// The caller has heard the welcome.
    fn is_ready(&mut self, wants: &mut Wants) {
        self.stay.is_ready = true;
        self.tell(Input::CallerReady { caller: self.caller }, wants);
    }

    /// Tells the queues that the caller is gone.
    fn leaves(&self, wants: &mut Wants) {
        if self.stay.at != At::Reading {
            self.tell(Input::CallerLeft { caller: self.caller }, wants);
        }
    }

    fn ends(&mut self, action: HandlerAction, wants: &mut Wants) {
        self.orders.clear();
        self.leaves(wants);
        wants.end(action);
    }

    fn came(&mut self, now: Instant, answer: AppAnswer, wants: &mut Wants) {
        match std::mem::replace(&mut self.stay.at, At::Idle) {
            At::Reading => {
                let asked = asked_for(&answer.variables().unwrap_or_default());
                (self.stay.priority, self.stay.skills) = asked;
                self.stay.joined = Some(now);
                self.desk.tell_from(wants, Word::Enter(self.entry(wants)));
            }
            At::Answering => match answer.done() {
                // Another application has answered the call.
                Ok(()) | Err(CallError::WrongState(_)) => {
                    self.stay.at = At::Entering;
                    self.waits = Some(wants.enter(self.ear.call, Place::Queue));
                }
                Err(error) => self.cannot_wait(&error, wants),
            },
            At::Entering => match answer.done() {
                Ok(()) => self.is_in(wants),
                Err(error) => self.cannot_wait(&error, wants),
            },
            At::Joining { offer, agent, .. } => match answer.done() {
                Ok(()) => {
                    wants.set_variable(self.ear.call, "queue_agent", &agent);
                    self.tell(Input::Joined { offer }, wants);
                }
                Err(error) => {
                    tracing::info!("call {}: it cannot be joined with {agent}: {error}", self.ear.call.0);
                    self.tell(Input::JoinFailed { offer }, wants);
                    self.ear.go_on(wants);
                    self.ear.listen(wants);
                }
            },
            At::Asking { leg, agent } if matches!(answer, AppAnswer::Truth(true)) => {
                wants.set_variable(self.ear.call, "queue_agent", &agent);
                let (queue, agent) = (self.ear.settings.plan.name.to_string(), agent.to_string());
                self.desk.tell_from(wants, Word::Talks { queue, agent, leg });
                let waited = self.stay.joined.map(|joined| now.saturating_duration_since(joined));
                self.waited(Left::Answered(AgentNo(0)), waited.unwrap_or_default(), wants);
            }
            At::Asking { leg, .. } => {
                wants.hangup(leg);
                self.returns(wants);
            }
            At::Idle => {}
        }
    }

    fn cannot_wait(&mut self, error: &CallError, wants: &mut Wants) {
        tracing::info!("call {}: it cannot wait in a queue: {error}", self.ear.call.0);
        self.ends(HandlerAction::Disconnect, wants);
    }

    fn obeys(&mut self, now: Instant, order: Order, wants: &mut Wants) {
        match order {
            Order::Welcome => self.welcome(wants),
            Order::Say { position, estimate } => {
                self.stay.announced = Some(now);
                let said = self.ear.settings.sounds.announcement(position, estimate);
                self.ear.play(said, wants);
            }
            Order::Join { offer, leg, agent } => {
                self.ear.quiet(wants);
                self.stay.at = At::Joining { offer, leg, agent };
                self.waits = Some(wants.create_bridge(self.ear.leg, leg, BridgeMode::Intercepting, true));
            }
            Order::Left { how, waited } => self.waited(how, waited, wants),
            Order::NoQueue => self.ends(HandlerAction::Disconnect, wants),
        }
    }

    /// The caller is answered and hears the welcome.
    fn is_in(&mut self, wants: &mut Wants) {
        self.stay.is_answered = true;
        let welcome = self.ear.settings.sounds.welcome();
        self.ear.welcome = welcome.is_some();
        self.ear.play(welcome, wants);
        self.ear.listen(wants);
        if self.ear.playing.is_none() {
            self.ear.go_on(wants);
            self.is_ready(wants);
        }
    }

    /// The wait has ended: sets the result, and continues the call.
    fn waited(&mut self, how: Left, waited: Duration, wants: &mut Wants) {
        let waited_s = format!("{:.3}", waited.as_secs_f64());
        wants.set_variable(self.ear.call, "queue_result", how.as_str());
        wants.set_variable(self.ear.call, "queue_wait_s", &waited_s);
        if matches!(how, Left::Answered(_) | Left::Abandoned) {
            return self.ends(HandlerAction::Complete, wants);
        }
        if self.stay.is_answered {
            self.ear.quiet(wants);
        }
        let action = match self.ear.settings.ways_out.of(how) {
            Some(target) => HandlerAction::TransferTo(target.to_owned()),
            None if self.stay.is_answered => HandlerAction::Disconnect,
            None => HandlerAction::Reject { status: 486, reason: String::new() },
        };
        self.ends(action, wants);
    }
}

/// The priority and skills that earlier applications have set: `queue_priority` and `queue_skills`, such as
/// `french:3,billing`.
fn asked_for(variables: &[(String, String)]) -> (u8, Skills) {
    let value = |name: &str| variables.iter().find(|(it, _)| it == name).map(|(_, value)| value.as_str());
    let priority = value("queue_priority").and_then(|value| value.trim().parse().ok()).unwrap_or(0);
    let skill = |text: &str| {
        let (skill, level) = text.split_once(':').unwrap_or((text, "1"));
        let skill = skill.trim();
        (!skill.is_empty()).then(|| (skill.to_owned(), level.trim().parse().unwrap_or(1)))
    };
    (priority, value("queue_skills").unwrap_or_default().split(',').filter_map(skill).collect())
}

/// The audio and digits of a caller.
struct Ear {
    leg: LegId,
    call: CallId,
    settings: QueueSettings,
    playing: Option<WantId>,
    digit: Option<WantId>,
    /// The welcome is being played.
    welcome: bool,
    /// Music is on, while no prompt is played.
    music: bool,
    /// The music is starting.
    begins: Option<WantId>,
}

impl Ear {
    fn new(call: &IncomingCall, settings: QueueSettings) -> Self {
        let (leg, call) = (call.leg, call.call);
        Ear { leg, call, settings, playing: None, digit: None, welcome: false, music: false, begins: None }
    }

    /// Set before the answer, so that the record of a caller who hangs up at once contains it. A call that
    /// has no room for further variables continues without them.
    fn note_arrival(&self, wants: &mut Wants) {
        wants.set_variable(self.call, "queue", &self.settings.plan.name);
        // After a hangup the variable could no longer be set.
        let last = Left::Abandoned.as_str();
        wants.set_variable_until_the_end(self.call, "queue_result", "waiting", last);
        wants.set_variable(self.call, "queue_agent", "");
        wants.set_variable(self.call, "queue_wait_s", "");
    }

    /// A prompt that cannot be played is skipped; the caller keeps waiting.
    fn complain(&self, answer: AppAnswer) {
        if let Err(error) = answer.done()
            && error != CallError::Gone
        {
            tracing::warn!("call {}: {error}", self.call.0);
        }
    }

    fn play(&mut self, prompt: Option<Prompt>, wants: &mut Wants) {
        if let Some(prompt) = prompt {
            self.playing = Some(wants.play(self.leg, &prompt));
        }
    }

    /// Plays music while no prompt is played.
    fn go_on(&mut self, wants: &mut Wants) {
        if let Some(music) = self.settings.sounds.music.as_ref().filter(|_| !self.music) {
            self.music = true;
            self.begins = Some(wants.start_moh(self.leg, music));
        }
    }

    fn listen(&mut self, wants: &mut Wants) {
        if self.settings.plan.digits.is_empty() {
            return;
        }
        let plan = DigitPlan {
            terminators: String::new(),
            first: LISTEN,
            between: LISTEN,
            total: LISTEN,
            ..DigitPlan::new(1)
        };
        self.digit = Some(wants.collect(self.leg, &plan));
    }

    /// The key that the caller has pressed, if any.
    fn pressed(&mut self, answer: AppAnswer, wants: &mut Wants) -> Option<char> {
        match answer.collected() {
            // Another application collects digits now.
            Ok(collected) if collected.end == CollectEnd::Stopped => None,
            Ok(collected) => {
                self.listen(wants);
                collected.digits.chars().next()
            }
            Err(error) => {
                // A retry would fail as well.
                if error != CallError::Gone {
                    tracing::warn!("digits in a queue: {error}");
                }
                None
            }
        }
    }

    /// Stops prompts, music and digit collection. Errors mean that they have ended already.
    fn quiet(&mut self, wants: &mut Wants) {
        self.playing = None;
        if self.digit.take().is_some() {
            wants.stop_collecting(self.leg);
        }
        wants.stop_playing(self.leg);
        if std::mem::take(&mut self.music) {
            wants.stop_moh(self.leg);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn priority_and_skills_come_from_the_calls_variables() {
        let variables = |list: &[(&str, &str)]| -> Vec<(String, String)> {
            list.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
        };
        let (priority, skills) =
            asked_for(&variables(&[("queue_priority", "7"), ("queue_skills", "french:3, billing,")]));
        assert_eq!(priority, 7);
        assert_eq!(skills, Skills::from([("french".to_owned(), 3), ("billing".to_owned(), 1)]));
        assert_eq!(asked_for(&variables(&[("queue_priority", "high")])), (0, Skills::new()));
    }
}
