//! Queues and agents: waiting callers, states of agents, and changing them.

use axum::Json;
use axum::extract::{Path, State};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::Api;
use super::answer::Problem;
use super::body::{self, Body};
use super::text::{Kind, Page};
use b2b_app::queue::machine::agent::{AgentState, Duty};
use b2b_app::queue::machine::view::{AgentView, QueueCounters, QueueView};
use b2b_app::queue::{Change, QueueDesk};

/// Every queue.
#[derive(Debug, Serialize, ToSchema)]
pub struct Queues {
    queues: Vec<QueueView>,
}

/// Every agent.
#[derive(Debug, Serialize, ToSchema)]
pub struct Agents {
    agents: Vec<AgentView>,
}

/// The requested state of an agent.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = AgentWish)]
pub struct AgentRequest {
    state: Duty,
}

fn none(what: &str, name: &str, fix: &str) -> Problem {
    Problem::missing(format!("there is no {what} {name:?}"), fix)
}

fn no_agent(name: &str) -> Problem {
    none("agent", name, "GET /agents lists them; see [[agent]]")
}

/// `GET /queues`
pub async fn list(State(api): State<Api>) -> Json<Queues> {
    Json(Queues { queues: api.queues.queues().await })
}

/// `GET /queues/{name}`
pub async fn one(State(api): State<Api>, Path(name): Path<String>) -> Result<Json<QueueView>, Problem> {
    let found = api.queues.queues().await.into_iter().find(|queue| queue.name == name);
    found.map(Json).ok_or_else(|| none("queue", &name, "GET /queues lists them; see [[queue]]"))
}

/// `GET /agents`
pub async fn agents(State(api): State<Api>) -> Json<Agents> {
    Json(Agents { agents: api.queues.agents().await })
}

/// `GET /agents/{name}`
pub async fn agent(State(api): State<Api>, Path(name): Path<String>) -> Result<Json<AgentView>, Problem> {
    let found = api.queues.agents().await.into_iter().find(|agent| agent.name == name);
    found.map(Json).ok_or_else(|| no_agent(&name))
}

/// `PUT /agents/{name}/state`
pub async fn set_state(
    State(api): State<Api>,
    Path(name): Path<String>,
    body: Body,
) -> Result<Json<AgentView>, Problem> {
    let usage = "send {\"state\": \"available\"}, \"paused\" or \"logged_out\" as JSON";
    let asked_for: AgentRequest = body::json(body, usage)?;
    let changed = api.queues.change(&name, Change::To(asked_for.state)).await;
    changed.map(Json).ok_or_else(|| no_agent(&name))
}

/// A counter of a queue: its name, its description, and its value.
type Counted = (&'static str, &'static str, fn(&QueueCounters) -> u64);

const COUNTERS: [Counted; 9] = [
    ("b2b_queue_joined_total", "Callers of the queue, refused ones included.", |it| it.joined),
    ("b2b_queue_answered_total", "Callers answered by an agent.", |it| it.answered),
    ("b2b_queue_answered_in_time_total", "Callers answered within the service level goal.", |it| {
        it.answered_in_time
    }),
    ("b2b_queue_abandoned_total", "Callers who abandoned the queue.", |it| it.abandoned),
    ("b2b_queue_timed_out_total", "Callers who reached the longest wait.", |it| it.timed_out),
    ("b2b_queue_refused_total", "Callers refused because the queue was full or had no agent.", |it| {
        it.full + it.no_agents
    }),
    ("b2b_queue_left_by_digit_total", "Callers who left by a digit.", |it| it.left_by_digit),
    ("b2b_queue_offered_total", "Calls offered to agents.", |it| it.offered),
    ("b2b_queue_missed_total", "Calls offered to agents and not answered.", |it| it.missed),
];

/// Queues in `/metrics`: one series for each configured queue.
pub async fn metrics(page: &mut Page, desk: &QueueDesk) {
    if desk.settings().agents.is_empty() && desk.settings().queues.is_empty() {
        return;
    }
    let (queues, agents) = (desk.queues().await, desk.agents().await);
    let waiting = queues.iter().map(|queue| (&queue.name, queue.waiting));
    page.each("b2b_queue_waiting", "queue", Kind::Gauge, "Waiting callers.", waiting);
    let longest = queues.iter().map(|queue| (&queue.name, queue.longest_wait.as_secs_f64()));
    let help = "Longest wait of a waiting caller.";
    page.each("b2b_queue_longest_wait_seconds", "queue", Kind::Gauge, help, longest);
    let level = queues.iter().filter_map(|queue| Some((&queue.name, queue.service_level?)));
    let help = "Service level: share of callers answered within the goal, 0 to 1.";
    page.each("b2b_queue_service_level", "queue", Kind::Gauge, help, level);
    let waited = queues.iter().map(|queue| (&queue.name, queue.counters.waited.as_secs_f64()));
    let help = "Total wait of answered callers.";
    page.each("b2b_queue_waited_seconds_total", "queue", Kind::Counter, help, waited);
    for (name, help, of) in COUNTERS {
        let values = queues.iter().map(|queue| (&queue.name, of(&queue.counters)));
        page.each(name, "queue", Kind::Counter, help, values);
    }
    let states = AgentState::ALL.iter().map(|state| {
        let in_it = agents.iter().filter(|agent| agent.state == *state).count();
        (state.as_str(), in_it)
    });
    page.each("b2b_agents", "state", Kind::Gauge, "Agents, by state.", states);
}
