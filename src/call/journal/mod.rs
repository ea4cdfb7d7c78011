//! The inputs of a call, in order: the call can be run again from its journal alone, and sends the same
//! messages (`replay`).
//!
//! For readers it consists of lines of JSON; `pages` defines the format in memory.
//!
//! Each line that begins a turn has its time in `at`, in microseconds since the call began, and in `n` its
//! sequence number among the turns of all calls. The kinds of turns are: a message (`received`), a command
//! (`command`), a media event (`media`), the answer to a pending request (`answered`) or its cancellation
//! (`dropped`), a handler that gets the call again after a restore (`resumed`), a timer of the call layer
//! (`tick`), and an event of the endpoint (`event`). An endpoint event that follows from a message at once,
//! as most do, has no line of its own; `with` and `held` mark the messages without such an event. The
//! external results used in a turn follow it as `fact`, in the order in which they were requested: from
//! admission control, handlers, resolvers, media and the random generator. `begin` has the configuration of
//! the call, `by` a flow.
//!
//! An outgoing message is not an input. Of each, a hash and its flow are stored (`sent`), so that a replay
//! detects where it deviates; the flow is also the result of name resolution and connection setup. Such a
//! line has a time and a sequence number as well, since a message that an endpoint timer sends belongs to no
//! turn.
//!
//! - `pages`: a journal being written; `pieces`: it is kept for another process; `redaction`: a journal for third parties

mod pages;
pub(crate) mod pieces;
pub mod redaction;

use std::collections::VecDeque;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use twox_hash::XxHash3_64;

pub(super) use pages::Pages;

use super::controller::json::octets;
use super::recording::RecordingRules;
use b2b_sip::endpoint::{EndpointConfig, Flow};
use b2b_sip::msg::veil::without_secrets;

/// The version of the format. Of earlier ones that [`BEFORE`] is read.
pub const VERSION: u32 = 3;

/// The version in which a turn's facts are not in the order in which they are asked for: answers of media stand within
/// the step that had asked for them. It is read for one release.
pub const BEFORE: u32 = 2;

/// The longest duration of a call, a month, in microseconds.
const LONGEST_US: u64 = 30 * 86_400 * 1_000_000;

/// Maximum size of a journal in bytes. Later records are left out, and a replay ends there.
const MOST: usize = 256 << 10;

/// The start conditions of a call.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Begin {
    /// The format version, see [`VERSION`].
    pub version: u32,
    /// The name and version of the program that wrote it.
    pub program: String,
    /// When the call began, microseconds since 1970.
    pub wall_us: u64,
    /// The configuration of the endpoint.
    pub endpoint: EndpointConfig,
    /// The host in the URIs of callers.
    pub domain: String,
    /// Maximum duration from the answer; `None` without a limit.
    pub max_duration: Option<Duration>,
    /// The default recording settings; `None`: calls are recorded only to a named file.
    pub records: Option<RecordingRules>,
    /// Header fields whose values [`digest`] does not cover.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub hidden_fields: Vec<String>,
}

/// The input of a turn.
#[derive(Debug)]
pub enum Input {
    /// A message was received.
    Received {
        /// The flow of the message.
        flow: Flow,
        /// In the INVITE of the caller: the seed of the identifiers of its dialog.
        seed: Option<[u8; 32]>,
        /// The message as on the wire.
        message: Bytes,
        /// Whether the endpoint reports an event of it at once; otherwise the event has a line of its own.
        up: bool,
    },
    /// An event of the endpoint.
    Event,
    /// A command.
    Command(Value),
    /// A media event.
    Media(Value),
    /// The answer to a pending request: the number of the request, and the answer.
    Answered(u64, Value),
    /// A pending request was cancelled: its number.
    Dropped(u64),
    /// The call was restored, and the handler that this request was waiting for gets the call again: the
    /// number of the request.
    Resumed(u64),
    /// A timer has fired.
    Tick,
}

/// A sent message: its flow and hash.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sent {
    /// The flow it was sent on.
    pub flow: Flow,
    /// See [`digest`].
    pub digest: u64,
}

/// A hash of a message (XXH3), for comparison. It is the same in every build, and does not cover secrets
/// (SRTP keys, password digests, pressed keys): the replay of a redacted journal yields the same hashes.
pub fn digest(message: &[u8]) -> u64 {
    XxHash3_64::oneshot(&without_secrets(message))
}

#[derive(Serialize)]
struct ReceivedLine<'a> {
    by: usize,
    /// No event has followed from the previous message.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    with: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    seed: Option<[u8; 32]>,
    #[serde(with = "octets")]
    message: &'a [u8],
}

#[derive(Deserialize)]
struct ReceivedRead {
    by: usize,
    #[serde(default)]
    with: bool,
    #[serde(default)]
    up: Option<bool>,
    #[serde(default)]
    seed: Option<[u8; 32]>,
    #[serde(deserialize_with = "octets::deserialize")]
    message: Bytes,
}

#[derive(Serialize, Deserialize)]
struct EventLine {
    /// No event has followed from the message before it.
    held: bool,
}

#[derive(Serialize, Deserialize)]
struct SentLine {
    by: usize,
    digest: u64,
}

#[derive(Serialize, Deserialize)]
struct AnsweredLine<T> {
    request: u64,
    answer: T,
}

/// The reason why a text is not a valid journal.
#[derive(Debug, thiserror::Error)]
pub enum JournalError {
    /// A line is malformed.
    #[error("line {line} is not a line of a journal ({why}); fetch the journal again")]
    Line {
        /// The line number, from 1.
        line: usize,
        /// The error, as text.
        why: String,
    },
    /// There is no line with the start conditions of the call.
    #[error("the journal is incomplete: its first line must be `begin`; fetch the whole journal")]
    Begin,
    /// It was written by a program with another format version.
    #[error("the journal has version {0}, and this program reads version {VERSION}; replay it with {1}")]
    Version(u32, String),
}

/// A turn of a journal.
#[derive(Debug)]
pub(super) struct Recorded {
    /// The time since the call began.
    pub at: Duration,
    pub input: Input,
    /// The external results used in it.
    pub facts: VecDeque<Value>,
    /// The number of messages sent before it.
    pub sent: usize,
}

/// A parsed journal.
#[derive(Debug)]
pub struct Journal {
    /// The start conditions of the call.
    pub begin: Begin,
    /// The turns, in order.
    pub(super) turns: VecDeque<Recorded>,
    /// The sent messages, in order.
    pub sent: Vec<Sent>,
    /// Whether its end was left out.
    pub is_cut: bool,
}

impl Journal {
    /// Parses a journal.
    ///
    /// # Errors
    /// See [`JournalError`].
    pub fn parse(text: &str) -> Result<Self, JournalError> {
        Journal::of(text.lines().map(serde_json::from_str))
    }

    fn of(lines: impl Iterator<Item = serde_json::Result<Value>>) -> Result<Self, JournalError> {
        let (mut begin, mut sent, mut flows) = (None, Vec::new(), Vec::new());
        let mut turns = VecDeque::<Recorded>::new();
        // The index of the last message, until it is known whether an event followed from it at once.
        let mut waits = None;
        let mut is_cut = false;
        for (index, line) in lines.enumerate() {
            let bad = |why: String| JournalError::Line { line: index + 1, why };
            let read: Value = line.map_err(|error| bad(error.to_string()))?;
            if let Some(seconds) = too_long(&read) {
                return Err(bad(format!("a time of {seconds} s is too long")));
            }
            let Value::Object(mut fields) = read else { return Err(bad("no object".to_owned())) };
            let at = fields.remove("at").and_then(|at| at.as_u64());
            // The number of the turn among those of all calls.
            fields.remove("n");
            let Some((kind, value)) = fields.into_iter().next() else {
                return Err(bad("it says nothing".to_owned()));
            };
            let way = |flows: &[Flow], by: usize| {
                flows.get(by).copied().ok_or_else(|| bad(format!("there is no transport {by}")))
            };
            let input = match kind.as_str() {
                "begin" => {
                    begin = Some(of::<Begin>(value).map_err(bad)?);
                    continue;
                }
                "by" => {
                    flows.push(of::<Flow>(value).map_err(bad)?);
                    continue;
                }
                "sent" => {
                    let SentLine { by, digest } = of(value).map_err(bad)?;
                    sent.push(Sent { flow: way(&flows, by)?, digest });
                    continue;
                }
                "fact" => {
                    let turn = turns.back_mut().ok_or_else(|| bad("no turn asks for it".to_owned()))?;
                    turn.facts.push_back(value);
                    continue;
                }
                "left_out" => {
                    is_cut = true;
                    continue;
                }
                "received" => {
                    let ReceivedRead { by, with, up, seed, message } = of(value).map_err(bad)?;
                    settle(&mut turns, waits.take(), with);
                    waits = up.is_none().then_some(turns.len());
                    Input::Received { flow: way(&flows, by)?, seed, message, up: up.unwrap_or(true) }
                }
                "command" => Input::Command(value),
                "media" => Input::Media(value),
                "answered" => {
                    let AnsweredLine { request, answer } = of(value).map_err(bad)?;
                    Input::Answered(request, answer)
                }
                "dropped" => Input::Dropped(of(value).map_err(bad)?),
                "resumed" => Input::Resumed(of(value).map_err(bad)?),
                "event" => {
                    let EventLine { held } = of(value).map_err(bad)?;
                    settle(&mut turns, waits.take(), held);
                    Input::Event
                }
                "tick" => Input::Tick,
                other => return Err(bad(format!("'{other}' is not known"))),
            };
            let at = at.filter(|at| *at < LONGEST_US).ok_or_else(|| bad("it has no moment".to_owned()))?;
            let (at, facts, sent) = (Duration::from_micros(at), VecDeque::new(), sent.len());
            turns.push_back(Recorded { at, input, facts, sent });
        }
        let begin = begin.ok_or(JournalError::Begin)?;
        if ![VERSION, BEFORE].contains(&begin.version) {
            return Err(JournalError::Version(begin.version, begin.program));
        }
        Ok(Journal { begin, turns, sent, is_cut })
    }

    /// When the call began.
    pub fn began(&self) -> SystemTime {
        UNIX_EPOCH + Duration::from_micros(self.begin.wall_us)
    }
}

/// The seconds of a duration or of a moment in a line with which no time could be calculated.
fn too_long(value: &Value) -> Option<u64> {
    const LONGEST: [(&str, u64); 2] = [("secs", 1 << 32), ("secs_since_epoch", 1 << 40)];
    match value {
        Value::Object(fields) => {
            let seconds = |(name, longest): (&str, u64)| {
                fields.get(name).and_then(Value::as_u64).filter(|seconds| *seconds > longest)
            };
            LONGEST.into_iter().find_map(seconds).or_else(|| fields.values().find_map(too_long))
        }
        Value::Array(values) => values.iter().find_map(too_long),
        _ => None,
    }
}

/// The next line tells whether an event followed from the message at once.
fn settle(turns: &mut VecDeque<Recorded>, of: Option<usize>, held: bool) {
    if let Some(Recorded { input: Input::Received { up, .. }, .. }) = of.and_then(|at| turns.get_mut(at)) {
        *up = !held;
    }
}

fn of<T: DeserializeOwned>(value: Value) -> Result<T, String> {
    serde_json::from_value(value).map_err(|error| error.to_string())
}
