//! Immediate responses to clients on WebSockets, and messages to them beside events.

use axum::extract::ws::Message;
use serde::Serialize;
use serde_json::Value;
use utoipa::ToSchema;

use super::answer::Problem;

/// The response to a message of a client of `/control` or `/remote/{name}`.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum Answer {
    /// A command has been started, and its result is an event with this `id`; or a decision is carried out.
    Accepted {
        /// The id of the command, the client's or a new one; for a decision the client's id, or null.
        id: Value,
        /// The decision; absent for a command.
        #[serde(skip_serializing_if = "Option::is_none")]
        decision: Option<&'static str>,
        /// The leg of the decision.
        #[serde(skip_serializing_if = "Option::is_none")]
        leg: Option<u64>,
    },
    /// The message was refused.
    Refused {
        /// The client's id; null: none.
        id: Value,
        /// The status that HTTP would give: 400, 403, 404, 409, 410, 503.
        status: u16,
        /// Why, in words.
        error: String,
        /// The remedy.
        fix: String,
    },
    /// The response to `{"ping": …}`.
    Pong {
        /// The value in the ping.
        ping: Value,
    },
}

impl Answer {
    /// A command has been started.
    pub fn accepted(id: &str) -> Answer {
        Answer::Accepted { id: id.into(), decision: None, leg: None }
    }

    /// A message was refused.
    pub fn refused(id: &Value, problem: &Problem) -> Answer {
        let Problem { status, error, fix } = problem;
        let (error, fix) = (error.to_string(), fix.to_string());
        Answer::Refused { id: id.clone(), status: status.as_u16(), error, fix }
    }
}

/// Events were lost because the client reads too slowly.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum Missed {
    /// Events between the last one and the next were lost.
    Lost {
        /// Number of lost events.
        count: u64,
    },
}

/// The message as JSON text.
pub fn message(said: &impl Serialize) -> Message {
    Message::Text(serde_json::to_string(said).unwrap_or_default().into())
}
