//! The configuration of queues: the machine's plans, and the settings to carry them out.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::machine::values::{AgentNo, AgentPlan, FloorPlan, Left, QueuePlan};
use super::sounds::QueueSounds;
use b2b_call::call_fsm::CallDirection;
use b2b_call::switch::LegSnapshot;

/// All queues, all agents, and the agents' feature codes.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct DeskSettings {
    pub agents: Vec<AgentSettings>,
    pub queues: Vec<QueueSettings>,
    pub codes: Codes,
}

/// An agent, and how to call them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AgentSettings {
    pub plan: AgentPlan,
    /// The target to dial: `user/1001`, a URI.
    pub target: String,
    /// The user of the phone; `None` if it does not register.
    pub user: Option<String>,
}

impl AgentSettings {
    /// Whether a leg is that of their phone, or of one that their target leads to.
    pub(super) fn is_at(&self, leg: &LegSnapshot) -> bool {
        if leg.direction != CallDirection::Outbound {
            return false;
        }
        let is_theirs = leg.user.is_some() && leg.user == self.user;
        let gateway = self.target.strip_prefix("gateway/").and_then(|target| target.split('/').next());
        is_theirs
            || (gateway.is_some() && gateway == leg.gateway.as_deref())
            || leg.contact.as_deref() == Some(&*self.target)
    }
}

/// A queue, its sounds, and the targets of callers who are not answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct QueueSettings {
    pub plan: QueuePlan,
    pub sounds: QueueSounds,
    pub ways_out: WaysOut,
}

/// The targets of callers who are not answered: a target to dial, or an application by name; `None` hangs up.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct WaysOut {
    pub timeout: Option<String>,
    pub full: Option<String>,
    pub no_agents: Option<String>,
    pub digits: BTreeMap<char, String>,
}

impl WaysOut {
    /// The target for this outcome.
    pub fn of(&self, how: Left) -> Option<&str> {
        match how {
            Left::Timeout => self.timeout.as_deref(),
            Left::Full => self.full.as_deref(),
            Left::NoAgents => self.no_agents.as_deref(),
            Left::Digit(digit) => self.digits.get(&digit).map(String::as_str),
            Left::Answered(_) | Left::Abandoned | Left::Closed => None,
        }
    }
}

/// The feature codes that agents dial from their own phones; `None` disables a code.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Codes {
    /// Logs in and out.
    pub login: Option<String>,
    /// Pauses and resumes.
    pub pause: Option<String>,
}

impl DeskSettings {
    /// One queue that calls these targets (`user/1001`, a URI), with the defaults of `[[queue]]`; fields may be
    /// changed before [`QueueDesk::new`](super::QueueDesk::new).
    pub fn of_queue<'a>(name: &str, targets: impl IntoIterator<Item = &'a str>) -> Self {
        let agent = |target: &'a str| AgentSettings {
            plan: AgentPlan::new(target),
            target: target.to_owned(),
            user: None,
        };
        let agents: Vec<_> = targets.into_iter().map(agent).collect();
        let plan = QueuePlan::new(name, (0..agents.len()).map(AgentNo));
        let queue = QueueSettings { plan, sounds: QueueSounds::default(), ways_out: WaysOut::default() };
        DeskSettings { agents, queues: vec![queue], codes: Codes::default() }
    }

    /// The part of the configuration that the machine needs.
    pub fn floor(&self) -> FloorPlan {
        FloorPlan {
            agents: self.agents.iter().map(|agent| agent.plan.clone()).collect(),
            queues: self.queues.iter().map(|queue| queue.plan.clone()).collect(),
        }
    }

    /// The application name of a queue.
    pub fn application(queue: &str) -> Arc<str> {
        format!("queue/{queue}").into()
    }
}
