//! A parsed SIPp scenario: its steps; labels and variables are resolved to indexes.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use regex::bytes::Regex;

use super::fields::Fields;
use super::pcap::TimedPacket;
use super::template::Template;
use super::variables::{Computation, Value};
use crate::load::holding::Holding;

/// A scenario.
#[derive(Debug)]
pub struct Scenario {
    /// Its file.
    pub path: PathBuf,
    /// The steps in order, without labels.
    pub steps: Vec<Step>,
    /// The variables of each call, with their values at first.
    pub variables: Vec<Option<Value>>,
    /// Those of `<Global>` and `<User>`: a call begins with what the last one that was over has left in them.
    pub shared: Vec<Variable>,
    /// The values of `[field0]`, `[field1]` …
    pub fields: Fields,
    /// Whether each call has its own RTP port.
    pub own_media: bool,
    /// Whether a 2xx to INVITE counts as the answer, since it sends or receives one; otherwise a 2xx to its
    /// first request.
    pub has_invite: bool,
}

/// A variable of a call, by index.
pub type Variable = usize;

/// A step.
#[derive(Debug)]
pub struct Step {
    /// The first line of its element, from 1.
    pub line: u32,
    /// Its operation.
    pub deed: Deed,
    /// The jump after it; `None`: continue with the next step.
    pub next: Option<Next>,
    /// Skips the step unless this variable is set, or is not set.
    pub only_if: Option<(Variable, bool)>,
    /// The actions after it.
    pub actions: Vec<Action>,
}

/// A jump.
#[derive(Debug, Clone, Copy)]
pub struct Next {
    /// The target step; the index after the last one is the end.
    pub to: usize,
    /// Jump only if this variable is set.
    pub test: Option<Variable>,
    /// Probability of the jump, 0 to 1.
    pub chance: f64,
}

/// The operation of a step.
#[derive(Debug)]
pub enum Deed {
    /// Sends a message.
    Send(Sending),
    /// Waits for a message.
    Receive(Receive),
    /// Waits.
    Pause(Length),
    /// Ends the call, but answers retransmissions for this long.
    TimeWait(Duration),
    /// Only its actions.
    Nop,
}

/// The length of a pause.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Length {
    /// The holding time of calls: `--hold-s`, SIPp's `-d`.
    Hold,
    /// Drawn from a distribution.
    Drawn(Holding),
    /// Normal distribution, mean and standard deviation in ms; at least 0.
    Normal(f64, f64),
    /// The value of a variable, ms.
    Variable(Variable),
}

/// A message to send.
#[derive(Debug)]
pub struct Sending {
    /// The message.
    pub message: Template,
    /// First retransmission interval, which doubles each time; `None`: no retransmission.
    pub retransmit: Option<Duration>,
    /// Probability of deliberate loss, 0 to 1.
    pub lost: f64,
    /// The variable for its branch, by which [`Receive::transaction`] knows its responses.
    pub transaction: Option<Variable>,
}

/// An expected message, and its handling.
#[derive(Debug)]
pub struct Receive {
    /// The message to expect.
    pub wanted: Wanted,
    /// Whether it is optional.
    pub optional: Optional,
    /// Keeps Record-Route and Contact for `[routes]` and `[next_url]`.
    pub routes: bool,
    /// Keeps its challenge for `[authentication]`.
    pub challenge: bool,
    /// Sends RTP to the address in its session description.
    pub session: bool,
    /// Timeout; `None`: [`super::instance::PATIENCE`].
    pub timeout: Option<Duration>,
    /// The step after a timeout; `None`: the call fails.
    pub on_timeout: Option<usize>,
    /// Probability of deliberate loss, 0 to 1.
    pub lost: f64,
    /// The variable with the branch of the request to which it is the response; `None`: any.
    pub transaction: Option<Variable>,
}

/// Whether a message is optional.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Optional {
    /// Mandatory.
    No,
    /// Optional before the next mandatory one.
    Yes,
    /// Optional at any time from here on.
    Global,
}

/// The expected message.
#[derive(Debug)]
pub enum Wanted {
    /// A request with this method.
    Request(Vec<u8>),
    /// A request whose method matches.
    RequestLike(Regex),
    /// A response with this status.
    Response(u16),
    /// A response whose status matches.
    ResponseLike(Regex),
}

/// An action of a step.
#[derive(Debug)]
pub enum Action {
    /// Searches a message for an expression.
    Ereg(Ereg),
    /// Sets a variable to a text.
    Assign(Variable, Template),
    /// Sets a variable to whether the last request has credentials of this user with this password.
    VerifyAuth {
        /// The variable.
        to: Variable,
        /// The user.
        user: Template,
        /// The password.
        password: Template,
    },
    /// Computes a variable; with its line.
    Compute(u32, Computation),
    /// Writes a log line.
    Log(Template),
    /// Fails the call with this text.
    Fail(Template),
    /// Begins no further calls; also fails this one with this text.
    StopRun(Option<Template>),
    /// RTP.
    Media(Media),
}

/// A search for an expression.
#[derive(Debug)]
pub struct Ereg {
    /// The line of its element.
    pub line: u32,
    /// The expression.
    pub regex: Regex,
    /// The part of the message to search.
    pub search_in: SearchIn,
    /// Fails the call if there is no match (`Some(true)`), or if there is one (`Some(false)`).
    pub check: Option<bool>,
    /// The variables for the match and its groups.
    pub assign_to: Vec<Variable>,
}

/// The part of a message to search.
#[derive(Debug)]
pub enum SearchIn {
    /// The whole message.
    Message,
    /// Its body.
    Body,
    /// The value of a header field.
    Header {
        /// Its name.
        name: String,
        /// Index among the header fields of that name, from 0.
        occurrence: usize,
        /// Whether the value begins behind the colon, or with it.
        behind_colon: bool,
        /// Whether spaces after the colon are left out.
        trimmed: bool,
    },
    /// A variable.
    Variable(Variable),
}

/// An RTP action.
#[derive(Debug, Clone)]
pub enum Media {
    /// Starts sending this stream.
    Play(Arc<Stream>),
    /// Starts sending these packets.
    Packets(Arc<Vec<TimedPacket>>),
    /// Pauses sending.
    Pause,
    /// Resumes sending.
    Resume,
    /// Starts or stops the echo of received packets.
    Echo(bool),
}

/// The encoded audio of a file.
#[derive(Debug)]
pub struct Stream {
    /// The audio; 20 ms are 160 octets (G.711 and G.722).
    pub octets: Vec<u8>,
    /// Number of repetitions; `None`: endless.
    pub times: Option<u32>,
    /// RTP payload type.
    pub payload_type: u8,
}

impl Scenario {
    /// Whether it makes the calls; otherwise it answers them.
    pub fn calls(&self) -> bool {
        let first = self.steps.iter().find(|step| matches!(step.deed, Deed::Send(_) | Deed::Receive(_)));
        first.is_some_and(|step| matches!(step.deed, Deed::Send(_)))
    }

    /// The name of a step in reports.
    pub fn name_of(&self, at: usize) -> String {
        let Some(step) = self.steps.get(at) else { return "end".to_owned() };
        let what = match &step.deed {
            Deed::Send(sending) => format!("send {}", sending.message.start),
            Deed::Receive(receive) => format!("recv {}", receive.wanted),
            Deed::Pause(_) => "pause".to_owned(),
            Deed::TimeWait(_) => "timewait".to_owned(),
            Deed::Nop => "nop".to_owned(),
        };
        format!("line {}: {what}", step.line)
    }
}

impl std::fmt::Display for Wanted {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Wanted::Request(method) => f.write_str(&String::from_utf8_lossy(method)),
            Wanted::RequestLike(regex) | Wanted::ResponseLike(regex) => write!(f, "{regex}"),
            Wanted::Response(status) => write!(f, "{status}"),
        }
    }
}
