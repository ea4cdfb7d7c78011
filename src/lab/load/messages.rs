//! The SIP messages of active calls, kept until it is known whether the call is among the worst.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use serde::Serialize;

use crate::results::ladder::{Ladder, Step, printable, title};
use b2b_call::agent::{Direction, Seen};

/// Maximum messages kept per call: a call that repeats itself for minutes is represented by its beginning.
const OF_A_CALL: usize = 48;
/// Maximum octets kept of a message.
const OF_A_MESSAGE: usize = 4_096;
/// How long a message waits for the start of its call.
const PATIENCE: Duration = Duration::from_secs(2);

/// A kept message.
#[derive(Debug, Clone)]
pub struct Kept {
    at: Instant,
    sent: bool,
    far: SocketAddr,
    transport: String,
    data: Box<[u8]>,
}

/// A message of one of the worst calls.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Message {
    /// Time since the call was due, s.
    pub at_s: f64,
    /// Whether this leg sent it; otherwise it was received.
    pub sent: bool,
    /// The peer's address.
    pub peer: SocketAddr,
    /// `UDP`, `TCP`.
    pub transport: String,
    /// The whole message, safe to print; a long one is cut.
    pub text: String,
}

/// The agent and the Call-ID of a dialog.
pub type Dialog = (usize, Vec<u8>);

/// The calls of all dialogs.
#[derive(Debug, Default)]
pub struct Dialogs {
    of: HashMap<Dialog, u64>,
    /// Messages received before their call was known.
    waiting: HashMap<Dialog, (Instant, Vec<Kept>)>,
}

impl From<Seen> for Kept {
    fn from(seen: Seen) -> Self {
        Kept {
            at: seen.at,
            sent: seen.direction == Direction::Sent,
            far: seen.flow.remote,
            transport: seen.flow.transport.to_string(),
            // a slice would keep the whole receive buffer alive
            data: seen.data.get(..OF_A_MESSAGE).unwrap_or(&seen.data).into(),
        }
    }
}

/// Adds a message to those of its call.
pub fn keep(messages: &mut Vec<Kept>, message: Kept) {
    if messages.len() < OF_A_CALL {
        messages.push(message);
    }
}

impl Dialogs {
    /// Assigns a dialog to a call; returns its earlier messages.
    pub fn begin(&mut self, dialog: &Dialog, call: u64) -> Vec<Kept> {
        self.of.insert(dialog.clone(), call);
        self.waiting.remove(dialog).map(|(_, messages)| messages).unwrap_or_default()
    }

    /// Removes an ended call. A call between two parties of this load has two legs with the same dialog.
    pub fn end(&mut self, dialog: &Dialog, call: u64) {
        if self.of.get(dialog) == Some(&call) {
            self.of.remove(dialog);
        }
    }

    /// The call of a message; `None`: the message waits for its call to begin.
    pub fn call_of(&mut self, dialog: Dialog, message: Kept) -> Option<(u64, Kept)> {
        if let Some(call) = self.of.get(&dialog) {
            return Some((*call, message));
        }
        let (_, messages) = self.waiting.entry(dialog).or_insert_with(|| (message.at, Vec::new()));
        keep(messages, message);
        None
    }

    /// Drops old messages that belong to no call.
    pub fn forget_strangers(&mut self, now: Instant) {
        self.waiting.retain(|_, (since, _)| now.saturating_duration_since(*since) < PATIENCE);
    }
}

/// The messages of a call for a report; `due`: when the call was due.
pub fn told(messages: &[Kept], due: Instant) -> Vec<Message> {
    let told = messages.iter().map(|message| Message {
        at_s: (message.at.saturating_duration_since(due).as_secs_f64() * 1e4).round() / 1e4,
        sent: message.sent,
        peer: message.far,
        transport: message.transport.clone(),
        text: printable(&message.data),
    });
    told.collect()
}

/// The ladder of a leg and its peers.
pub fn ladder(leg: &str, messages: &[Message]) -> Ladder {
    let mut ladder = Ladder { parties: vec![leg.to_owned()], steps: Vec::new() };
    for (at, message) in messages.iter().enumerate() {
        let peer = message.peer.to_string();
        let far = ladder.parties.iter().position(|party| *party == peer).unwrap_or_else(|| {
            ladder.parties.push(peer);
            ladder.parties.len() - 1
        });
        let title = title(message.text.as_bytes());
        ladder.steps.push(Step {
            at_s: message.at_s,
            from: if message.sent { 0 } else { far },
            to: if message.sent { far } else { 0 },
            transport: message.transport.clone(),
            travel_ms: None,
            vanished: false,
            repeated: messages[..at].iter().any(|it| it.sent == message.sent && it.text == message.text),
            failure: title.starts_with(['4', '5', '6']),
            title,
            text: message.text.clone(),
        });
    }
    ladder
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(at: Instant, sent: bool, text: &str) -> Kept {
        let (far, transport) = (SocketAddr::from(([127, 0, 0, 1], 5060)), "UDP".to_owned());
        Kept { at, sent, far, transport, data: text.as_bytes().into() }
    }

    #[test]
    fn what_comes_before_its_call_is_known_is_found_and_what_is_no_call_s_forgotten() {
        let (mut dialogs, now) = (Dialogs::default(), Instant::now());
        let dialog = |id: &str| (0, id.as_bytes().to_vec());
        assert!(dialogs.call_of(dialog("a"), message(now, false, "INVITE sip:x SIP/2.0\r\n")).is_none());
        assert!(dialogs.call_of(dialog("b"), message(now, false, "BYE sip:x SIP/2.0\r\n")).is_none());
        assert_eq!(dialogs.begin(&dialog("a"), 7).len(), 1);
        assert_eq!(dialogs.call_of(dialog("a"), message(now, true, "x")).map(|(call, _)| call), Some(7));
        dialogs.end(&dialog("a"), 7);
        dialogs.forget_strangers(now + PATIENCE);
        assert!(dialogs.waiting.is_empty() && dialogs.of.is_empty());
    }

    #[test]
    fn a_leg_s_messages_are_a_ladder() {
        let due = Instant::now();
        let at = |ms| due + Duration::from_millis(ms);
        let messages = told(
            &[
                message(at(1), true, "INVITE sip:x SIP/2.0\r\n\r\n"),
                message(at(501), true, "INVITE sip:x SIP/2.0\r\n\r\n"),
                message(at(520), false, "SIP/2.0 503 Service Unavailable\r\n\r\n"),
            ],
            due,
        );
        let ladder = ladder("caller", &messages);
        assert_eq!(ladder.parties, ["caller", "127.0.0.1:5060"]);
        let steps: Vec<_> = ladder.steps.iter().map(|it| (it.at_s, it.from, it.title.as_str())).collect();
        let last = (0.52, 1, "503 Service Unavailable");
        assert_eq!(steps, [(0.001, 0, "INVITE"), (0.501, 0, "INVITE"), last]);
        assert!(ladder.steps[1].repeated && ladder.steps[2].failure);
    }
}
