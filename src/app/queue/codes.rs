//! Numbers by which agents log in and out and pause, from their own phones.

use std::sync::Arc;
use std::time::Duration;

use super::desk::{Change, QueueDesk};
use super::machine::agent::AgentState;
use b2b_call::controller::{Part, Prompt};
use b2b_call::handler::{ApplicationHandler, HandlerAction, HandlerFuture, IncomingCall};
use b2b_call::service::{CallService, Place};

/// Takes calls to [`Codes`](super::Codes) of users who are agents; others go on to the
/// routes. Only who has proved to be that user changes anything.
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
        // Nearly every call ends here: cheaply.
        call.identity.is_some() && self.agent(call).is_some() && self.change(&call.called()).is_some()
    }

    fn handle_incoming_call(&self, call: IncomingCall, service: CallService) -> HandlerFuture {
        self.desk.start(&service);
        let (desk, change, agent) = (self.desk.clone(), self.change(&call.called()), self.agent(&call));
        Box::pin(async move {
            let (Some(change), Some(agent)) = (change, agent) else { return HandlerAction::Continue };
            let Some(view) = desk.change(&agent, change).await else { return HandlerAction::Disconnect };
            if service.answer(call.leg).await.is_err() {
                return HandlerAction::Disconnect;
            }
            let _ = service.enter(call.call, Place::Ivr).await;
            // A party that cannot hear it has still got what it wanted.
            let _ = service.play(call.leg, &told(view.state)).await;
            HandlerAction::Disconnect
        })
    }
}

/// Up for who takes calls now, down for who takes none, level for a pause.
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
