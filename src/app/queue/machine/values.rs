//! The inputs and outputs of the floor, as plain values.

use crate::caller::Caller;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};
use strum::IntoStaticStr;

use super::agent::{AgentState, Duty};

/// A caller; the number is assigned by the driver, and unique. Callers who come later have higher ones.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct CallerId(pub u64);

/// A call to an agent for a caller; unique.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct OfferId(pub u64);

/// An agent's index in [`FloorPlan::agents`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct AgentNo(pub usize);

/// A queue's index in [`FloorPlan::queues`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct QueueNo(pub usize);

/// Skills with their levels: those an agent has, or the minimum levels required.
pub type Skills = BTreeMap<String, u8>;

/// The configuration of all queues and agents.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct FloorPlan {
    pub agents: Vec<AgentPlan>,
    pub queues: Vec<QueuePlan>,
}

/// The configuration of an agent, who may be in several queues.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AgentPlan {
    pub name: Arc<str>,
    pub skills: Skills,
    /// Agents of a higher number are called only when no agent of a lower number is free.
    pub priority: u8,
    /// The initial duty.
    pub duty: Duty,
    /// The initial state of the phone.
    pub reachable: bool,
}

/// The configuration of a queue.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct QueuePlan {
    pub name: Arc<str>,
    /// Callers of queues with a lower number are served first.
    pub priority: u8,
    pub strategy: Strategy,
    /// In order, for strategies that use it.
    pub agents: Vec<AgentNo>,
    /// The skills an agent needs for any caller of the queue.
    pub skills: Skills,
    /// The ring timeout of an agent.
    pub ring: Duration,
    /// The wrap-up time after a call.
    pub wrap_up: Duration,
    /// An agent's rest after a missed or rejected call.
    pub rest: Duration,
    /// Number of consecutive missed calls that pause an agent; 0 for never.
    pub misses: u32,
    /// The interval of position announcements; `None` for no announcements.
    pub announce: Option<Duration>,
    /// Maximum wait of a caller; `None` for no limit.
    pub patience: Option<Duration>,
    /// Maximum number of waiting callers.
    pub most: usize,
    /// The target answer time of the service level.
    pub goal: Duration,
    /// Digits by which a caller leaves.
    pub digits: Vec<char>,
    /// Refuse callers while no agent is on duty.
    pub needs_agents: bool,
}

impl AgentPlan {
    /// An agent on duty with a phone, and the defaults of `[[agent]]`.
    pub fn new(name: impl Into<Arc<str>>) -> Self {
        let name = name.into();
        AgentPlan { name, skills: Skills::new(), priority: 1, duty: Duty::Available, reachable: true }
    }
}

impl QueuePlan {
    /// A queue of these agents, with the defaults of `[[queue]]`.
    pub fn new(name: impl Into<Arc<str>>, agents: impl IntoIterator<Item = AgentNo>) -> Self {
        QueuePlan {
            name: name.into(),
            priority: 10,
            strategy: Strategy::default(),
            agents: agents.into_iter().collect(),
            skills: Skills::new(),
            ring: Duration::from_secs(15),
            wrap_up: Duration::from_secs(10),
            rest: Duration::from_secs(5),
            misses: 2,
            announce: Some(Duration::from_secs(30)),
            patience: Some(Duration::from_secs(600)),
            most: 100,
            goal: Duration::from_secs(20),
            digits: Vec::new(),
            needs_agents: false,
        }
    }
}

/// The strategy that selects an agent.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, IntoStaticStr)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
#[strum(serialize_all = "snake_case", const_into_str)]
pub enum Strategy {
    /// The agent who has been free for longest.
    #[default]
    LongestIdle,
    /// One after another, in the order of the queue.
    RoundRobin,
    /// All at once.
    RingAll,
    /// The agent with the highest sum of levels in the required skills, then by priority, then the one who
    /// has been free for longest.
    SkillsThenPriority,
}

impl Strategy {
    /// The name in the configuration.
    pub const fn as_str(self) -> &'static str {
        self.into_str()
    }
}

/// What is kept of a caller who waited in a process that has ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Before {
    /// The number of the caller when they joined.
    pub number: u64,
    pub joined: Instant,
    /// They have heard the welcome.
    pub is_ready: bool,
    /// When their position was last announced.
    pub announced: Option<Instant>,
}

/// An event for the floor.
#[derive(Debug, Clone, PartialEq)]
pub enum Input {
    /// A caller wants to wait. Higher priorities are served first.
    CallerJoined { caller: CallerId, who: Caller, queue: QueueNo, priority: u8, skills: Skills },
    /// A caller goes on waiting, at the same place; not counted again.
    CallerReturned {
        caller: CallerId,
        who: Caller,
        queue: QueueNo,
        priority: u8,
        skills: Skills,
        before: Before,
    },
    /// The caller has heard the welcome; agents may be called for them.
    CallerReady { caller: CallerId },
    /// The caller has hung up.
    CallerLeft { caller: CallerId },
    /// The caller has pressed a digit.
    CallerPressed { caller: CallerId, digit: char },
    /// The agent has answered.
    AgentAnswered { offer: OfferId },
    /// Agent and caller are joined.
    Joined { offer: OfferId },
    /// Joining them failed; both may still be up.
    JoinFailed { offer: OfferId },
    /// The call to the agent has ended, for any reason. Comes exactly once per [`Output::Ring`], as the last
    /// input about the offer.
    AgentGone { offer: OfferId, why: Gone },
    /// The agent changes their duty.
    AgentDuty { agent: AgentNo, duty: Duty },
    /// Whether the agent's phone is reachable.
    AgentReachable { agent: AgentNo, reachable: bool },
    /// A deadline has passed, see [`Floor::next_timeout`](super::Floor::next_timeout).
    Tick,
}

/// How the call to an agent ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Gone {
    /// Refused: busy, declined.
    Rejected,
    /// The ring timeout expired.
    NoAnswer,
    /// No phone was reached.
    Unreachable,
    /// Cancelled by the queue.
    Cancelled,
    /// Agent or caller hung up.
    Ended,
}

/// An action of the floor.
#[derive(Debug, Clone, PartialEq)]
pub enum Output {
    /// The caller is admitted: play the welcome, then send [`Input::CallerReady`].
    Welcome { caller: CallerId, queue: QueueNo },
    /// Announce the position to the caller; the estimate is `None` if it is not known.
    Announce { caller: CallerId, position: usize, estimate: Option<Duration> },
    /// Call the agent.
    Ring { offer: OfferId, caller: CallerId, agent: AgentNo, queue: QueueNo },
    /// End the call to the agent, in any state.
    Cancel { offer: OfferId, why: Withdrawn },
    /// Join the agent's call with this caller.
    Join { offer: OfferId, caller: CallerId, agent: AgentNo },
    /// The caller waits no longer. Comes exactly once per [`Input::CallerJoined`], last.
    Left { caller: CallerId, queue: QueueNo, how: Left, waited: Duration },
    /// An agent's state has changed.
    Agent { agent: AgentNo, from: AgentState, to: AgentState, why: Why },
}

/// Why the call to an agent is ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Withdrawn {
    /// The ring timeout expired.
    NoAnswer,
    /// Another agent has the caller.
    Elsewhere,
    /// The caller has left.
    CallerGone,
    /// The agent has logged out.
    LoggedOut,
    /// Joining failed, or the agent answered after the offer was withdrawn.
    TooLate,
}

/// How a caller's wait ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, IntoStaticStr)]
#[serde(rename_all = "snake_case")]
#[strum(serialize_all = "snake_case", const_into_str)]
pub enum Left {
    /// Joined with this agent.
    Answered(#[serde(skip)] AgentNo),
    /// The caller hung up.
    Abandoned,
    /// The maximum wait was exceeded.
    Timeout,
    /// The queue was full.
    Full,
    /// No agent was on duty.
    NoAgents,
    /// The queue was removed.
    Closed,
    /// The caller has pressed this digit.
    Digit(#[serde(skip)] char),
}

impl Left {
    /// The name in JSON.
    pub const fn as_str(self) -> &'static str {
        self.into_str()
    }
}

/// Why an agent's state changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Why {
    /// By request.
    Asked,
    /// The agent's phone became reachable or unreachable.
    Registration,
    /// Too many missed calls.
    Misses,
    /// A configuration reload.
    Reload,
    /// The agent's calls.
    Call,
}
