//! What the queues are told: the machine's plans, and what it takes to carry them out.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::machine::values::{AgentPlan, FloorPlan, Left, QueuePlan};
use super::sounds::QueueSounds;

/// Every queue, every agent, and the numbers that agents dial.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct DeskSettings {
    pub agents: Vec<AgentSettings>,
    pub queues: Vec<QueueSettings>,
    pub codes: Codes,
}

/// An agent, and where it is called.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AgentSettings {
    pub plan: AgentPlan,
    /// What is dialled: `user/1001`, a URI.
    pub target: String,
    /// The user whose phone it is; none: nobody registers.
    pub user: Option<String>,
}

/// A queue, and what its callers hear and where they go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct QueueSettings {
    pub plan: QueuePlan,
    pub sounds: QueueSounds,
    pub ways_out: WaysOut,
}

/// Where those go who are not answered: a target to dial, or an application by its name;
/// none: they are hung up.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct WaysOut {
    pub timeout: Option<String>,
    pub full: Option<String>,
    pub no_agents: Option<String>,
    pub digits: BTreeMap<char, String>,
}

impl WaysOut {
    /// The way of somebody who left so.
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

/// Numbers that agents dial from their own phones; none: there is no such number.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Codes {
    /// In and out.
    pub login: Option<String>,
    /// Pause and back.
    pub pause: Option<String>,
}

impl DeskSettings {
    /// What the machine has to know of it.
    pub fn floor(&self) -> FloorPlan {
        FloorPlan {
            agents: self.agents.iter().map(|agent| agent.plan.clone()).collect(),
            queues: self.queues.iter().map(|queue| queue.plan.clone()).collect(),
        }
    }

    /// The name of the application of a queue.
    pub fn application(queue: &str) -> Arc<str> {
        format!("queue/{queue}").into()
    }
}
