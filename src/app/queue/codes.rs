//! Feature codes by which agents log in, log out and pause from their own phones.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::desk::{Change, DutyReply, QueueDesk, Word};
use super::machine::agent::AgentState;
use super::machine::view::AgentView;
use b2b_call::application::{AppAnswer, AppEvent, Application, WantId, Wants};
use b2b_call::controller::{Part, Prompt};
use b2b_call::handler::{ApplicationHandler, HandlerAction, IncomingCall};
use b2b_call::service::{CallService, MediaVerbs, Place};

/// Takes calls to [`Codes`](super::Codes) from users who are agents; other calls go on to the routes. Only an
/// authenticated user can change their own state.
pub struct AgentCodes {
    desk: QueueDesk,
}

impl AgentCodes {
    /// The codes of a desk.
    pub fn new(desk: QueueDesk) -> Self {
        AgentCodes { desk }
    }

    fn change(&self, called: &str) -> Option<Change> {
        let settings = self.desk.settings();
        let codes = &settings.codes;
        let is = |code: &Option<String>| code.as_deref() == Some(called);
        match () {
            () if is(&codes.login) => Some(Change::Login),
            () if is(&codes.pause) => Some(Change::Pause),
            () => None,
        }
    }

    fn agent(&self, call: &IncomingCall) -> Option<Arc<str>> {
        let user = call.identity.as_deref()?;
        let settings = self.desk.settings();
        let mut agents = settings.agents.iter();
        agents.find(|agent| agent.user.as_deref() == Some(user)).map(|agent| agent.plan.name.clone())
    }
}

impl ApplicationHandler for AgentCodes {
    fn name(&self) -> &str {
        "agent-codes"
    }

    fn can_handle(&self, call: &IncomingCall) -> bool {
        // Called for nearly every call, so cheap checks come first.
        call.identity.is_some() && self.agent(call).is_some() && self.change(&call.called()).is_some()
    }

    fn begin(&self, call: &IncomingCall, service: &CallService) -> Option<Box<dyn Application>> {
        self.desk.start(service);
        let (change, agent) = (self.change(&call.called())?, self.agent(call)?);
        let (desk, call) = (self.desk.clone(), call.clone());
        Some(Box::new(Changes { desk, call, change, agent, at: At::Telling, waits: None, state: None }))
    }
}

/// An agent who has dialled a code.
struct Changes {
    desk: QueueDesk,
    call: IncomingCall,
    change: Change,
    agent: Arc<str>,
    at: At,
    waits: Option<WantId>,
    /// The resulting state.
    state: Option<AgentState>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum At {
    Telling,
    Answering,
    Entering,
    Playing,
}

impl Application for Changes {
    fn step(&mut self, _: Instant, event: AppEvent, wants: &mut Wants) {
        match event {
            AppEvent::Begin => {
                let Some(desk) = self.desk.app() else { return wants.end(HandlerAction::Disconnect) };
                let (agent, reply) = (self.agent.to_string(), DutyReply::Application(wants.me()));
                wants.tell(desk, Word::Duty { agent, change: self.change, reply });
            }
            AppEvent::Told(view) => match view.downcast::<Option<AgentView>>().map(|it| *it) {
                Ok(Some(view)) => {
                    (self.at, self.state) = (At::Answering, Some(view.state));
                    self.waits = Some(wants.answer(self.call.leg));
                }
                Ok(None) | Err(_) => wants.end(HandlerAction::Disconnect),
            },
            AppEvent::Answered { want, answer } if Some(want) == self.waits => self.came(answer, wants),
            // The queues have ended.
            AppEvent::Lost(_) => wants.end(HandlerAction::Disconnect),
            AppEvent::Gone => wants.end(HandlerAction::Complete),
            AppEvent::Resumed | AppEvent::Answered { .. } | AppEvent::Timer(_) | AppEvent::Over => {}
        }
    }
}

impl Changes {
    fn came(&mut self, answer: AppAnswer, wants: &mut Wants) {
        let next;
        (self.at, next) = match (self.at, self.state) {
            (At::Answering, _) if answer.done().is_ok() => {
                (At::Entering, wants.enter(self.call.call, Place::Ivr))
            }
            (At::Entering, Some(state)) => (At::Playing, wants.play(self.call.leg, &told(state))),
            // The change is done even if the confirmation cannot be played.
            _ => return wants.end(HandlerAction::Disconnect),
        };
        self.waits = Some(next);
    }
}

/// The confirmation: rising tones for available, falling for logged out, level for paused.
fn told(state: AgentState) -> Prompt {
    let (first, second) = match state {
        AgentState::LoggedOut => (660, 440),
        AgentState::Paused => (550, 550),
        _ => (440, 660),
    };
    let tone = |hz| Part::tone(hz, Duration::from_millis(200));
    let start = Part::Silence(Duration::from_millis(300));
    Prompt::new(vec![start, tone(first), Part::Silence(Duration::from_millis(100)), tone(second)])
}
