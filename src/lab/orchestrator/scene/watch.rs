//! Polls a server's control interface for its calls.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use crossbeam_channel::{Receiver, Sender, TrySendError, bounded};
use serde_json::Value;

use crate::orchestrator::http;

/// Polling interval.
const EVERY: Duration = Duration::from_millis(100);

/// A call as reported by the server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Seen {
    /// `in_queue`, `bridged` …
    pub state: String,
    /// The users whose legs it has.
    pub users: Vec<String>,
    /// The agent that a queue connected it to.
    pub agent: Option<String>,
}

/// Polls on a separate thread until the receiver is dropped; `wake` is signalled for each answer.
///
/// # Errors
/// The thread could not be started.
pub fn start(at: SocketAddr, token: Option<String>, wake: Sender<()>) -> io::Result<Receiver<Vec<Seen>>> {
    let (sender, seen) = bounded(64);
    std::thread::Builder::new().name("watch".into()).spawn(move || {
        loop {
            // A server that does not answer is reported by its end.
            if let Ok(calls) = http::get(at, token.as_deref(), "/calls?limit=1000")
                && let Ok(calls) = serde_json::from_str(&calls)
                && let Err(TrySendError::Disconnected(_)) = sender.try_send(calls_of(&calls))
            {
                return;
            }
            let _ = wake.try_send(());
            std::thread::sleep(EVERY);
        }
    })?;
    Ok(seen)
}

fn calls_of(answer: &Value) -> Vec<Seen> {
    answer["calls"].as_array().into_iter().flatten().map(seen).collect()
}

fn seen(call: &Value) -> Seen {
    Seen {
        state: call["state"].as_str().unwrap_or_default().to_owned(),
        users: call["legs"].as_array().into_iter().flatten().filter_map(party).collect(),
        agent: call["variables"]["queue_agent"].as_str().map(str::to_owned),
    }
}

/// The user of the remote party of a leg or a call record: the caller of an inbound one, otherwise the
/// callee.
pub fn party(leg: &Value) -> Option<String> {
    let side = if leg["direction"] == "inbound" { "caller" } else { "callee" };
    let text = leg[side].as_str()?;
    let text = text.split_once(':').map_or(text, |(_, rest)| rest);
    Some(text.split('@').next().unwrap_or(text).to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_call_belongs_to_the_users_of_its_legs() {
        let answer = serde_json::json!({ "calls": [{
            "state": "bridged", "variables": { "queue": "sales", "queue_agent": "1002" },
            "legs": [
                { "direction": "inbound", "caller": "1001", "callee": "8000" },
                { "direction": "outbound", "caller": "1001", "callee": "sip:1002@127.0.0.1:5060" },
            ],
        }]});
        let users = vec!["1001".to_owned(), "1002".to_owned()];
        let agent = Some("1002".to_owned());
        assert_eq!(calls_of(&answer), [Seen { state: "bridged".to_owned(), users, agent }]);
        assert!(calls_of(&Value::Null).is_empty());
    }
}
