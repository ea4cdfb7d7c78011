//! What the floor is told and says: plain values.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::agent::{AgentState, Duty};

/// A caller; the number is the driver's own, and never used twice.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct CallerId(pub u64);

/// An agent's call for a caller; never used twice.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct OfferId(pub u64);

/// An agent's place in [`FloorPlan::agents`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct AgentNo(pub usize);

/// A queue's place in [`FloorPlan::queues`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct QueueNo(pub usize);

/// What somebody can, and how well; or what is needed, and how well at least.
pub type Skills = BTreeMap<String, u8>;

/// All queues and their agents.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct FloorPlan {
    pub agents: Vec<AgentPlan>,
    pub queues: Vec<QueuePlan>,
}

/// One agent. In several queues it is the same one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AgentPlan {
    pub name: Arc<str>,
    pub skills: Skills,
    /// Those of a higher number are called when no lower one is free.
    pub priority: u8,
    /// What it wants before it says anything.
    pub duty: Duty,
    /// Whether its phone is there before anything is heard of it.
    pub reachable: bool,
}

/// One queue.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct QueuePlan {
    pub name: Arc<str>,
    /// Its callers are served before those of queues of a higher number.
    pub priority: u8,
    pub strategy: Strategy,
    /// In this order where the strategy has an order.
    pub agents: Vec<AgentNo>,
    /// What an agent needs for any of its callers.
    pub skills: Skills,
    /// How long an agent's phone rings.
    pub ring: Duration,
    /// An agent's rest after a call.
    pub wrap_up: Duration,
    /// An agent's rest after a call that it did not take.
    pub rest: Duration,
    /// So many calls not answered, one after the other, pause an agent; 0: never.
    pub misses: u32,
    /// How often a caller hears its position; none: never.
    pub announce: Option<Duration>,
    /// How long a caller waits at most; none: without end.
    pub patience: Option<Duration>,
    /// How many wait at most.
    pub most: usize,
    /// Answered so soon is good service.
    pub goal: Duration,
    /// Digits by which a caller leaves.
    pub digits: Vec<char>,
    /// Without any agent at work nobody is let in.
    pub needs_agents: bool,
}

/// Which agent is called.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum Strategy {
    /// Who has been free for longest.
    #[default]
    LongestIdle,
    /// One after the other, in the queue's order.
    RoundRobin,
    /// All together.
    RingAll,
    /// Who has most of the skills that are needed, then by priority, then who has been
    /// free for longest.
    SkillsThenPriority,
}

impl Strategy {
    /// As configurations have it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Strategy::LongestIdle => "longest_idle",
            Strategy::RoundRobin => "round_robin",
            Strategy::RingAll => "ring_all",
            Strategy::SkillsThenPriority => "skills_then_priority",
        }
    }
}

/// What happened.
#[derive(Debug, Clone, PartialEq)]
pub enum Input {
    /// A caller wants to wait. Of higher priority: is served before lower ones.
    CallerJoined { caller: CallerId, queue: QueueNo, priority: u8, skills: Skills },
    /// It has heard the welcome; agents may be called for it.
    CallerReady { caller: CallerId },
    /// It has hung up.
    CallerLeft { caller: CallerId },
    /// It has pressed a digit.
    CallerPressed { caller: CallerId, digit: char },
    /// The agent has answered.
    AgentAnswered { offer: OfferId },
    /// Agent and caller are joined.
    Joined { offer: OfferId },
    /// They cannot be; both may still be there.
    JoinFailed { offer: OfferId },
    /// The agent's call is over, however it came to its end. Comes once for each
    /// [`Output::Ring`], and nothing comes of that offer behind it.
    AgentGone { offer: OfferId, why: Gone },
    /// What an agent wants from now on.
    AgentDuty { agent: AgentNo, duty: Duty },
    /// Whether an agent's phone is there.
    AgentReachable { agent: AgentNo, reachable: bool },
    /// Time has passed, see [`Floor::next_timeout`](super::Floor::next_timeout).
    Tick,
}

/// How an agent's call ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Gone {
    /// It was refused: busy, declined.
    Rejected,
    /// It rang for too long.
    NoAnswer,
    /// No phone was reached.
    Unreachable,
    /// We ended it.
    Cancelled,
    /// Agent or caller hung up.
    Ended,
}

/// What is to be done.
#[derive(Debug, Clone, PartialEq)]
pub enum Output {
    /// The caller waits from now on: the welcome, then [`Input::CallerReady`].
    Welcome { caller: CallerId, queue: QueueNo },
    /// Say this to the caller; none: it is not known.
    Announce { caller: CallerId, position: usize, estimate: Option<Duration> },
    /// Call the agent.
    Ring { offer: OfferId, caller: CallerId, agent: AgentNo, queue: QueueNo },
    /// End the agent's call, whatever it is at.
    Cancel { offer: OfferId, why: Withdrawn },
    /// Join the agent's call with this caller.
    Join { offer: OfferId, caller: CallerId, agent: AgentNo },
    /// The caller waits no more. Comes once for each [`Input::CallerJoined`], last.
    Left { caller: CallerId, queue: QueueNo, how: Left, waited: Duration },
    /// An agent's state.
    Agent { agent: AgentNo, from: AgentState, to: AgentState, why: Why },
}

/// Why an agent's call is ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Withdrawn {
    /// It rang for too long.
    NoAnswer,
    /// Another agent has the caller.
    Elsewhere,
    /// The caller has left.
    CallerGone,
    /// The agent has logged out.
    LoggedOut,
    /// It could not be joined, or answered when the offer was gone.
    TooLate,
}

/// How a caller stopped waiting.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Left {
    /// It talks to this agent.
    Answered(#[serde(skip)] AgentNo),
    /// It has hung up.
    Abandoned,
    /// It has waited for too long.
    Timeout,
    /// There was no room.
    Full,
    /// No agent was at work.
    NoAgents,
    /// The queue is no more.
    Closed,
    /// It has pressed this digit.
    Digit(#[serde(skip)] char),
}

impl Left {
    /// As JSON has it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Left::Answered(_) => "answered",
            Left::Abandoned => "abandoned",
            Left::Timeout => "timeout",
            Left::Full => "full",
            Left::NoAgents => "no_agents",
            Left::Closed => "closed",
            Left::Digit(_) => "digit",
        }
    }
}

/// Why an agent's state changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Why {
    /// It was asked for.
    Asked,
    /// Its phone came or went.
    Registration,
    /// It did not answer too often.
    Misses,
    /// Another configuration.
    Reload,
    /// Its calls.
    Call,
}
