//! What has come into a call, in order: from it alone the call is run again, and sends what it has sent
//! (`replay`).
//!
//! For readers it is lines of JSON; `pages` says what it is in memory.
//!
//! Each line that begins a turn has its moment in `at`, in microseconds since the call began, and in `n` its place
//! among the turns of all calls: a message (`received`), a command (`command`), what happened to media (`media`),
//! an answer to what had to wait (`answered`) or that it is waited for no more (`dropped`), a handler that has the
//! call again after it was restored (`resumed`), a timer of the calls (`tick`), or something that the endpoint has to tell (`event`). What it tells of a message at once, as it mostly
//! does, has no line of its own; `with` and `held` say of which messages it did not. What a turn is told on its way
//! follows it as `fact`, in the order in which it asks: what admission control, a handler, a resolver, media or
//! chance have said. `begin` says what the call was configured with, `by` a way that messages take.
//!
//! A message of ours is no input. Of each a hash and its way are kept (`sent`), so that the run sees where it
//! leaves what was; the way is also what the network has said where a name is looked up or a connection made. It has its
//! moment and place as well: what a timer of the endpoint sends is of no turn.
//!
//! - `pages`: a journal that is written; `redaction`: one for others to see; `snapshot`: one to be written on elsewhere

mod pages;
pub mod redaction;
mod snapshot;

use std::collections::VecDeque;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use twox_hash::XxHash3_64;

pub(super) use pages::Pages;
pub use snapshot::{SNAPSHOT_VERSION, Snapshot, SnapshotError};

use super::controller::json::octets;
use super::recording::RecordingRules;
use super::switch::SwitchConfig;
use b2b_sip::endpoint::{EndpointConfig, Flow};
use b2b_sip::msg::veil::without_secrets;

/// Of the format; another one is not read.
pub const VERSION: u32 = 2;

/// No call lasts for a month, in microseconds.
const LONGEST_US: u64 = 30 * 86_400 * 1_000_000;

/// Bytes of one journal. What comes later is left out, and the run ends there.
const MOST: usize = 256 << 10;

/// What a call began with.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Begin {
    /// See [`VERSION`].
    pub version: u32,
    /// The program that wrote it.
    pub program: String,
    /// When the call began, microseconds since 1970.
    pub wall_us: u64,
    /// What its endpoint was told.
    pub endpoint: EndpointConfig,
    /// Host of the URIs that callers are named by.
    pub domain: String,
    /// How long it may last from its answer on; none: without end.
    pub max_duration: Option<Duration>,
    /// How calls are recorded where nobody names a file; none: they are not.
    pub records: Option<RecordingRules>,
}

/// What began a turn.
#[derive(Debug)]
pub enum Input {
    /// A message came.
    Received {
        /// By which way.
        flow: Flow,
        /// Of the INVITE of who calls: where the identifiers of its dialog come from.
        seed: Option<[u8; 32]>,
        /// As on the wire.
        message: Bytes,
        /// What the endpoint tells of it comes up at once; else it has a line of its own.
        up: bool,
    },
    /// The endpoint tells something.
    Event,
    /// Somebody commands.
    Command(Value),
    /// Something happened to media.
    Media(Value),
    /// What had to wait is answered: the number of the request, and the answer.
    Answered(u64, Value),
    /// What had to wait is waited for no more: the number of the request.
    Dropped(u64),
    /// The call was restored, and its handler is given it again, who would have answered this.
    Resumed(u64),
    /// Time has passed.
    Tick,
}

/// What was sent: where, and a hash of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sent {
    /// The way that it took.
    pub flow: Flow,
    /// See [`digest`].
    pub digest: u64,
}

/// A hash of a message (XXH3), to tell it from another one. It is the same in every build, and also where secrets (keys
/// of SRTP, digests of passwords, keys pressed) are covered: a journal without them is replayed to the same hashes.
pub fn digest(message: &[u8]) -> u64 {
    XxHash3_64::oneshot(&without_secrets(message))
}

#[derive(Serialize)]
struct ReceivedLine<'a> {
    by: usize,
    /// Nothing had come up of the one before it.
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
    /// Nothing had come up of the message before it.
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

/// Why a text is no journal.
#[derive(Debug, thiserror::Error)]
pub enum JournalError {
    /// It is none at all, or damaged.
    #[error("line {line} is not a line of a journal ({why}); fetch the journal again")]
    Line {
        /// Counted from 1.
        line: usize,
        /// What is wrong with it.
        why: String,
    },
    /// Its first line says nothing of how the call began.
    #[error("the journal is incomplete: its first line must be `begin`; fetch the whole journal")]
    Begin,
    /// Another program wrote it.
    #[error("the journal has version {0}, and this program reads version {VERSION}; replay it with {1}")]
    Version(u32, String),
}

/// A turn of a journal.
#[derive(Debug)]
pub(super) struct Recorded {
    /// Since the call began.
    pub at: Duration,
    /// Its place among the turns of all calls of the program.
    pub place: u64,
    pub input: Input,
    /// What it was told on its way.
    pub facts: VecDeque<Value>,
    /// Messages that had been sent before it.
    pub sent: usize,
}

/// A journal that is read.
#[derive(Debug)]
pub struct Journal {
    /// What the call began with.
    pub begin: Begin,
    /// In order.
    pub(super) turns: VecDeque<Recorded>,
    /// What was sent, in order.
    pub sent: Vec<Sent>,
    /// Its end was left out.
    pub is_cut: bool,
}

impl Journal {
    /// Reads one.
    ///
    /// # Errors
    /// See [`JournalError`].
    pub fn parse(text: &str) -> Result<Self, JournalError> {
        Journal::of(text.lines().map(serde_json::from_str))
    }

    /// The same of a journal that is written.
    pub(super) fn of_pages(pages: &Pages) -> Result<Self, JournalError> {
        Journal::of(pages.all(&[]).map(Ok))
    }

    fn of(lines: impl Iterator<Item = serde_json::Result<Value>>) -> Result<Self, JournalError> {
        let (mut begin, mut sent, mut flows) = (None, Vec::new(), Vec::new());
        let mut turns = VecDeque::<Recorded>::new();
        // The place of the last message, until it is known whether something came up of it at once.
        let mut waits = None;
        let mut is_cut = false;
        for (index, line) in lines.enumerate() {
            let bad = |why: String| JournalError::Line { line: index + 1, why };
            let read: Value = line.map_err(|error| bad(error.to_string()))?;
            let Value::Object(mut fields) = read else { return Err(bad("no object".to_owned())) };
            let at = fields.remove("at").and_then(|at| at.as_u64());
            let place = fields.remove("n").and_then(|n| n.as_u64()).unwrap_or_default();
            let Some((kind, value)) = fields.into_iter().next() else {
                return Err(bad("it says nothing".to_owned()));
            };
            let way = |flows: &[Flow], by: usize| {
                flows.get(by).copied().ok_or_else(|| bad(format!("there is no way {by}")))
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
            turns.push_back(Recorded { at, place, input, facts, sent });
        }
        let begin = begin.ok_or(JournalError::Begin)?;
        if begin.version != VERSION {
            return Err(JournalError::Version(begin.version, begin.program));
        }
        Ok(Journal { begin, turns, sent, is_cut })
    }

    /// When the call began.
    pub fn began(&self) -> SystemTime {
        UNIX_EPOCH + Duration::from_micros(self.begin.wall_us)
    }
}

/// Whether what the endpoint had to tell of a message came up at once is known by what came next.
fn settle(turns: &mut VecDeque<Recorded>, of: Option<usize>, held: bool) {
    if let Some(Recorded { input: Input::Received { up, .. }, .. }) = of.and_then(|at| turns.get_mut(at)) {
        *up = !held;
    }
}

fn of<T: DeserializeOwned>(value: Value) -> Result<T, String> {
    serde_json::from_value(value).map_err(|error| error.to_string())
}

impl Begin {
    /// Of calls that this program begins; when each of them does is told where it is written.
    pub(super) fn of(endpoint: EndpointConfig, config: &SwitchConfig) -> Self {
        Begin {
            version: VERSION,
            program: concat!("b2b ", env!("CARGO_PKG_VERSION")).to_owned(),
            wall_us: 0,
            endpoint,
            domain: config.domain.clone(),
            max_duration: config.max_duration,
            records: config.recording.as_deref().cloned(),
        }
    }
}
