//! `GET /control`: commands and events on one WebSocket.
//!
//! A client sends commands, a JSON object each, and gets `accepted` or `refused` at once; their results are
//! events like all others.

use axum::extract::rejection::QueryRejection;
use axum::extract::ws::rejection::WebSocketUpgradeRejection;
use axum::extract::ws::{Message, WebSocket, WebSocketUpgrade};
use axum::extract::{Extension, Query, State};
use axum::response::{IntoResponse, Response};
use serde::Deserialize;
use serde_json::Value;

use super::Api;
use super::answer::Problem;
use super::commands::submit;
use super::events::{self, Wanted};
use super::guard::Granted;
use super::line::{Heard, Line};
use super::said::{self, Answer};
use b2b_call::CallId;
use b2b_call::bus::Subscriber;

/// Maximum octets of a command.
const MESSAGE: usize = 64 * 1_024;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Asked {
    /// Only events after the one with this number.
    after: Option<u64>,
    /// Only events of this call.
    call: Option<u64>,
    /// `commands`: only the results of commands.
    only: Option<Only>,
    /// Only events of these types, comma-separated.
    r#type: Option<String>,
    /// Only events of these planes, comma-separated.
    plane: Option<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Only {
    Commands,
}

/// Upgrades the connection.
pub async fn stream(
    State(api): State<Api>,
    Extension(granted): Extension<Granted>,
    asked: Result<Query<Asked>, QueryRejection>,
    upgrade: Result<WebSocketUpgrade, WebSocketUpgradeRejection>,
) -> Result<Response, Problem> {
    let usage = "the query takes after=<seq>, call=<call>, type=<type>,…, plane=<plane>,… and only=commands";
    let Query(asked) = asked.map_err(|error| Problem::bad(error.body_text(), usage))?;
    let filter = events::filter(asked.r#type.as_deref(), asked.plane.as_deref())?;
    let events = match asked.only {
        // A commanding client is woken at once, however many others are subscribed.
        Some(Only::Commands) => events::subscribe_alone(&api, asked.after)?,
        None => events::subscribe(&api, asked.after)?,
    };
    let events = events.only(filter);
    let fix = "connect as a WebSocket, like `websocat ws://127.0.0.1:8080/control`";
    let upgrade = upgrade.map_err(|error| Problem::new(error.status(), error.body_text(), fix))?;
    let upgrade = events::bounded(upgrade, MESSAGE);
    let wanted =
        Wanted { call: asked.call.map(CallId), commands: asked.only.is_some(), keys: granted.keys() };
    Ok(upgrade.on_upgrade(move |socket| serve(socket, api, granted, events, wanted)).into_response())
}

async fn serve(socket: WebSocket, api: Api, granted: Granted, mut events: Subscriber, wanted: Wanted) {
    let mut line = Line::new(socket, events::STALL);
    loop {
        // Events wait on the bus; commands are read all the same.
        let idle = line.is_idle();
        tokio::select! {
            said = line.hear() => match said {
                Heard::Said(Message::Text(text)) => line.say(heard(&api, &granted, text.as_str())),
                Heard::Said(Message::Binary(_)) => {
                    let problem = Problem::bad("commands are text", "send a JSON object as a text message");
                    line.say(said::message(&Answer::refused(&Value::Null, &problem)));
                }
                Heard::Said(_) | Heard::Written => {}
                Heard::Gone => return,
            },
            message = events::next(&mut events, wanted), if idle => match message {
                Ok(message) => {
                    line.say(message);
                    events::there(&mut events, wanted).for_each(|message| line.say(message));
                }
                Err(events::Over) => return line.close().await,
            },
        }
    }
}

/// Starts a client's command; returns the immediate response.
fn heard(api: &Api, granted: &Granted, text: &str) -> Message {
    let parsed = serde_json::from_str::<Value>(text)
        .map_err(|error| Problem::bad(format!("invalid JSON: {error}"), "send a JSON object"));
    // As on `/remote/{name}`.
    if let Some(ping) = parsed.as_ref().ok().and_then(|value| value.get("ping")) {
        return said::message(&Answer::Pong { ping: ping.clone() });
    }
    let id = parsed.as_ref().ok().and_then(|value| value.get("id")).cloned().unwrap_or_default();
    let answer = match parsed.and_then(|value| submit(api, granted, value)) {
        Ok(taken) => Answer::accepted(&taken.id),
        Err(problem) => Answer::refused(&id, &problem),
    };
    said::message(&answer)
}
