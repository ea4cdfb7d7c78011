//! Requirements of a command: a token's scope, a call, time, consistent values.

use super::command::{Command, Order, is_id};
use super::dial::Targets;
use super::digits::MOST_DIGITS;
use super::header_fields;
use crate::config::tokens::Scope;
use b2b_call::service::Watched;
use b2b_call::{CallId, LegId};

/// Whether the command of this name requires a call or a leg.
pub fn is_of_a_call(word: &str) -> bool {
    !word.starts_with("room_") && !matches!(word, "originate" | "lookup" | "agent" | "cancel")
}

impl Order {
    /// What it applies to: the leg, or the call's first one.
    pub(super) fn of(&self) -> Option<Watched> {
        let call = self.call.map(|call| Watched::Call(CallId(call)));
        self.leg.map(|leg| Watched::Leg(LegId(leg))).or(call)
    }
}

impl Command {
    /// The token scope that it requires.
    pub fn scope(&self) -> Scope {
        match self {
            Command::Lookup { .. } => Scope::Read,
            Command::Record { .. } | Command::PauseRecording { .. } | Command::StopRecording { .. } => {
                Scope::Record
            }
            Command::Agent { .. } => Scope::Agents,
            Command::RoomMute { .. }
            | Command::RoomVolume { .. }
            | Command::RoomLock { .. }
            | Command::RoomKick { .. }
            | Command::RoomPlay { .. } => Scope::Rooms,
            Command::RoomRecord { .. } => Scope::Record,
            _ => Scope::Calls,
        }
    }

    /// The targets that it leads a party of its leg to.
    pub fn targets(&self) -> Vec<&str> {
        match self {
            Command::Dial { to, .. } => to.all().iter().map(String::as_str).collect(),
            Command::Transfer { to, fallback, .. } => {
                [to].into_iter().chain(fallback).map(String::as_str).collect()
            }
            Command::Handle { app, .. } | Command::Unbridge { app: Some(app) } => vec![app],
            _ => Vec::new(),
        }
    }

    /// Whether it requires a call or a leg.
    pub fn needs_call(&self) -> bool {
        is_of_a_call(self.word())
    }

    /// Whether it applies to one leg, or its call, and nothing else.
    pub fn is_of_a_leg(&self) -> bool {
        !matches!(
            self,
            Command::Originate { .. }
                | Command::Bridge { .. }
                | Command::Handle { .. }
                | Command::Lookup { .. }
                | Command::Agent { .. }
                | Command::RoomMute { .. }
                | Command::RoomVolume { .. }
                | Command::RoomLock { .. }
                | Command::RoomKick { .. }
                | Command::RoomRecord { .. }
                | Command::RoomPlay { .. }
                | Command::Cancel { .. }
        )
    }

    /// Whether it lasts by nature.
    pub fn lasts(&self) -> bool {
        matches!(
            self,
            Command::Originate { .. }
                | Command::Dial { .. }
                | Command::Transfer { .. }
                | Command::Play { .. }
                | Command::Collect { .. }
                | Command::PlayAndCollect { .. }
                | Command::SendDigits { .. }
                | Command::RoomPlay { .. }
        )
    }

    /// Checks what the types do not enforce.
    pub(super) fn check(&self) -> Result<(), String> {
        let number = |name: &str, text: &Option<String>| match text {
            Some(text) if text.is_empty() || text.contains(char::is_control) => {
                Err(format!("{name}: it is not a number"))
            }
            _ => Ok(()),
        };
        let ring = |seconds: &Option<u64>| match seconds {
            Some(seconds) if !(1..=3_600).contains(seconds) => Err("ring_s: 1 to 3600".to_owned()),
            _ => Ok(()),
        };
        match self {
            Command::Originate { to: Some(_), app: Some(_), .. } => {
                Err("to and app are both set; keep one".to_owned())
            }
            Command::Originate { early: true, app, .. }
                if !app.as_ref().is_some_and(|app| app.starts_with("voice_agent/")) =>
            {
                Err("early: is for an app voice_agent/…".to_owned())
            }
            Command::Originate { from, to, caller, number: called, ring_s, headers, .. } => {
                from.check().map_err(|why| format!("from: {why}"))?;
                to.as_ref().map_or(Ok(()), Targets::check).map_err(|why| format!("to: {why}"))?;
                number("caller", caller).and_then(|()| number("number", called))?;
                ring(ring_s).and_then(|()| header_fields::check(headers))
            }
            Command::Dial { to, caller, ring_s, headers, .. } => {
                to.check().map_err(|why| format!("to: {why}"))?;
                number("caller", caller)?;
                ring(ring_s).and_then(|()| header_fields::check(headers))
            }
            Command::Hangup { cause: Some(cause), .. } if !(1..=127).contains(cause) => {
                Err("cause: 1 to 127, as Q.850 has them".to_owned())
            }
            Command::Hangup { cause: None, text: Some(_) } => Err("text: needs a cause".to_owned()),
            Command::Hangup { text: Some(text), .. }
                if text.len() > 128 || text.contains(char::is_control) =>
            {
                Err("text: up to 128 octets of plain text".to_owned())
            }
            Command::Answer { headers } => header_fields::check(headers),
            Command::Transfer { to, by, own, fallback, headers } => {
                by.check(to, *own || fallback.is_some()).and_then(|()| header_fields::check(headers))
            }
            Command::Handle { number: called, .. } => number("number", called),
            Command::Reject { status, .. } if !(300..700).contains(status) => {
                Err("status: 300 to 699".to_owned())
            }
            Command::Reject { reason, .. } if reason.len() > 128 || reason.contains(char::is_control) => {
                Err("reason: up to 128 octets of plain text".to_owned())
            }
            Command::Play { sound, .. } | Command::RoomPlay { sound, .. } => sound.check(),
            Command::Collect { digits } => digits.check(),
            Command::PlayAndCollect { sound, digits, .. } => sound.check().and_then(|()| digits.check()),
            Command::SendDigits { digits, ms } => {
                let keys = |text: &str| text.chars().all(|key| "0123456789*#ABCD".contains(key));
                match (1..=MOST_DIGITS).contains(&digits.len()) && keys(digits) && (40..=5_000).contains(ms) {
                    true => Ok(()),
                    false => Err(format!("digits: 1 to {MOST_DIGITS} of 0-9 * # A-D; ms: 40 to 5000")),
                }
            }
            Command::RoomVolume { db, .. } if !(-12..=12).contains(db) => Err("db: -12 to 12".to_owned()),
            Command::Cancel { of } if !is_id(of) => Err("of: the id of a command".to_owned()),
            _ => Ok(()),
        }
    }
}
