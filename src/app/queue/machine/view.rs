//! Views of queues and agents, and their counters.

use std::time::{Duration, Instant};

use serde::Serialize;

use super::Floor;
use super::agent::{AgentState, Duty};
use super::line::Stage;
use super::values::{AgentNo, CallerId, Left, QueueNo, Skills, Strategy};
use b2b_base::util::seconds::{maybe_seconds, seconds};

/// The counters of a queue since the start.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct QueueCounters {
    /// Callers, refused ones included.
    pub joined: u64,
    /// Callers answered by an agent.
    pub answered: u64,
    /// Those of them who waited no longer than the goal.
    pub answered_in_time: u64,
    /// Callers who hung up while waiting.
    pub abandoned: u64,
    pub timed_out: u64,
    pub full: u64,
    pub no_agents: u64,
    pub left_by_digit: u64,
    /// Callers who were waiting when the queue was removed from the configuration.
    pub closed: u64,
    /// Calls to agents.
    pub offered: u64,
    /// Those that were not answered.
    pub missed: u64,
    /// Those that were refused.
    pub rejected: u64,
    pub most_waiting: usize,
    /// The total wait of answered callers.
    #[serde(rename = "waited_s", serialize_with = "seconds")]
    #[cfg_attr(feature = "schema", schema(value_type = f64))]
    pub waited: Duration,
}

impl QueueCounters {
    pub(super) fn left(&mut self, how: Left, waited: Duration, goal: Duration) {
        match how {
            Left::Answered(_) => {
                self.answered += 1;
                self.answered_in_time += u64::from(waited <= goal);
                self.waited += waited;
            }
            Left::Abandoned => self.abandoned += 1,
            Left::Timeout => self.timed_out += 1,
            Left::Full => self.full += 1,
            Left::NoAgents => self.no_agents += 1,
            Left::Closed => self.closed += 1,
            Left::Digit(_) => self.left_by_digit += 1,
        }
    }

    /// Callers who were admitted and have left, except by the removal of the queue.
    pub fn ended(&self) -> u64 {
        self.answered + self.abandoned + self.timed_out + self.left_by_digit
    }

    /// The fraction of these who were answered in time, 0 to 1; `None` if no caller has left yet.
    pub fn service_level(&self) -> Option<f64> {
        (self.ended() > 0).then(|| self.answered_in_time as f64 / self.ended() as f64)
    }
}

/// A queue.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct QueueView {
    pub name: String,
    pub strategy: Strategy,
    pub waiting: usize,
    /// The longest current wait.
    #[serde(rename = "longest_wait_s", serialize_with = "seconds")]
    #[cfg_attr(feature = "schema", schema(value_type = f64))]
    pub longest_wait: Duration,
    /// The estimate for the next caller; `None` if it is not known.
    #[serde(rename = "estimate_s", serialize_with = "maybe_seconds")]
    #[cfg_attr(feature = "schema", schema(value_type = Option<f64>))]
    pub estimate: Option<Duration>,
    pub service_level: Option<f64>,
    /// The target answer time.
    #[serde(rename = "goal_s", serialize_with = "seconds")]
    #[cfg_attr(feature = "schema", schema(value_type = f64))]
    pub goal: Duration,
    pub counters: QueueCounters,
    pub agents: Vec<String>,
    /// In order of position.
    pub callers: Vec<CallerView>,
}

/// A waiting caller.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct CallerView {
    #[serde(skip)]
    pub caller: CallerId,
    /// The call and the caller's number, which the machine itself does not know.
    pub call: Option<b2b_call::CallId>,
    pub number: String,
    pub position: usize,
    #[serde(rename = "waited_s", serialize_with = "seconds")]
    #[cfg_attr(feature = "schema", schema(value_type = f64))]
    pub waited: Duration,
    pub stage: &'static str,
    /// Agents whose phones ring for the caller.
    pub ringing: Vec<String>,
}

/// An agent.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct AgentView {
    pub name: String,
    pub state: AgentState,
    /// The duty the agent has chosen, whatever the state of the phone.
    pub duty: Duty,
    /// The time since the last change of the agent's work.
    #[serde(rename = "since_s", serialize_with = "seconds")]
    #[cfg_attr(feature = "schema", schema(value_type = f64))]
    pub since: Duration,
    pub reachable: bool,
    pub priority: u8,
    pub skills: Skills,
    pub queues: Vec<String>,
    pub answered: u64,
    /// The number of consecutive missed calls.
    pub misses: u32,
}

impl Floor {
    /// Every queue.
    pub fn queues(&self) -> impl Iterator<Item = QueueNo> + '_ {
        self.queues.iter().enumerate().filter(|(_, it)| !it.closed).map(|(no, _)| QueueNo(no))
    }

    /// Every agent.
    pub fn agents(&self) -> impl Iterator<Item = AgentNo> + '_ {
        self.agents.iter().enumerate().filter(|(_, it)| !it.retired).map(|(no, _)| AgentNo(no))
    }

    /// The duty of an agent.
    pub fn duty(&self, agent: AgentNo) -> Option<Duty> {
        self.agents.get(agent.0).map(|it| it.duty)
    }

    /// The current view of a queue.
    pub fn queue_view(&self, now: Instant, queue: QueueNo) -> Option<QueueView> {
        let it = self.queues.get(queue.0)?;
        let name = |agent: &AgentNo| self.agents.get(agent.0).map(|it| it.plan.name.to_string());
        let waiting = self.line.iter().filter_map(|place| {
            let caller = self.callers.get(&place.caller)?;
            (caller.queue == queue).then_some((place.caller, caller))
        });
        let view = |(position, (id, caller)): (usize, (CallerId, &super::Caller))| CallerView {
            caller: id,
            call: None,
            number: String::new(),
            position: position + 1,
            waited: now.saturating_duration_since(caller.joined),
            stage: match caller.stage {
                Stage::Welcome => "welcome",
                Stage::Waiting => "waiting",
                Stage::Joining(_) => "joining",
            },
            ringing: caller.offers.iter().filter_map(|offer| name(&self.offers.get(offer)?.agent)).collect(),
        };
        let callers: Vec<_> = waiting.enumerate().map(view).collect();
        Some(QueueView {
            name: it.plan.name.to_string(),
            strategy: it.plan.strategy,
            waiting: it.waiting,
            longest_wait: callers.iter().map(|caller| caller.waited).max().unwrap_or_default(),
            estimate: it.rate.estimate(now, it.waiting + 1),
            service_level: it.counters.service_level(),
            goal: it.plan.goal,
            counters: it.counters,
            agents: it.plan.agents.iter().filter_map(name).collect(),
            callers,
        })
    }

    /// The current view of an agent.
    pub fn agent_view(&self, now: Instant, agent: AgentNo) -> Option<AgentView> {
        let it = self.agents.get(agent.0)?;
        let queues = self.queues.iter().filter(|queue| queue.plan.agents.contains(&agent));
        Some(AgentView {
            name: it.plan.name.to_string(),
            state: it.state(),
            duty: it.duty,
            since: now.saturating_duration_since(it.since),
            reachable: it.reachable,
            priority: it.plan.priority,
            skills: it.plan.skills.clone(),
            queues: queues.map(|queue| queue.plan.name.to_string()).collect(),
            answered: it.answered,
            misses: it.misses,
        })
    }
}
