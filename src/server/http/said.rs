//! What clients of WebSockets are answered at once, and told beside events.

use axum::extract::ws::Message;
use serde::Serialize;
use serde_json::Value;
use utoipa::ToSchema;

use super::answer::Problem;

/// The answer to what a client of `/control` or `/remote/{name}` has said.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum Answer {
    /// A command has begun; its end is an event with this `id`. Or a decision is carried out.
    Accepted {
        /// Of the command, its own or a new one; of a decision what the client has given, or null.
        id: Value,
        /// What was decided; none: it is a command.
        #[serde(skip_serializing_if = "Option::is_none")]
        decision: Option<&'static str>,
        /// The leg that was decided on.
        #[serde(skip_serializing_if = "Option::is_none")]
        leg: Option<u64>,
    },
    /// It is not done.
    Refused {
        /// What the client has given; null: none.
        id: Value,
        /// As HTTP would say it: 400, 403, 404, 409, 410, 503.
        status: u16,
        /// Why, for people.
        error: String,
        /// What to do.
        fix: String,
    },
    /// The answer to `{"ping": …}`.
    Pong {
        /// What stood there.
        ping: Value,
    },
}

impl Answer {
    /// A command has begun.
    pub fn accepted(id: &str) -> Answer {
        Answer::Accepted { id: id.into(), decision: None, leg: None }
    }

    /// It is not done.
    pub fn refused(id: &Value, problem: &Problem) -> Answer {
        let Problem { status, error, fix } = problem;
        let (error, fix) = (error.to_string(), fix.to_string());
        Answer::Refused { id: id.clone(), status: status.as_u16(), error, fix }
    }
}

/// Events were lost: the client reads too slowly.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum Missed {
    /// So many between the last one and the next.
    Lost {
        /// How many.
        count: u64,
    },
}

/// As a message of text.
pub fn message(said: &impl Serialize) -> Message {
    Message::Text(serde_json::to_string(said).unwrap_or_default().into())
}
