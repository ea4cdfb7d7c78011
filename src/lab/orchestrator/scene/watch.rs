//! Polls a server's control interface for its calls.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use crossbeam_channel::{Receiver, Sender, TrySendError, bounded};
use serde_json::Value;

/// Polling interval.
const EVERY: Duration = Duration::from_millis(100);
/// Maximum time for an answer.
const PATIENCE: Duration = Duration::from_secs(2);
/// Maximum octets of an answer.
const LARGEST: u64 = 8 << 20;

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
            if let Ok(calls) = get(at, token.as_deref(), "/calls?limit=1000")
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

/// Sends one GET and parses the JSON of the answer.
fn get(at: SocketAddr, token: Option<&str>, path: &str) -> io::Result<Value> {
    let mut stream = TcpStream::connect_timeout(&at, PATIENCE)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    let token = token.map(|token| format!("Authorization: Bearer {token}\r\n")).unwrap_or_default();
    write!(stream, "GET {path} HTTP/1.1\r\nHost: {at}\r\nConnection: close\r\n{token}\r\n")?;
    let mut answer = String::new();
    stream.take(LARGEST).read_to_string(&mut answer)?;
    let body = answer.split_once("\r\n\r\n").map_or("", |(_, body)| body);
    serde_json::from_str(body).map_err(io::Error::other)
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
