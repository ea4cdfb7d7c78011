//! A scenario of SIPp's, read: its steps with what they do, labels and variables as places.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use regex::bytes::Regex;

use super::template::Template;
use crate::load::holding::Holding;

/// A scenario.
#[derive(Debug)]
pub struct Scenario {
    /// Its file.
    pub path: PathBuf,
    /// In order, labels left out.
    pub steps: Vec<Step>,
    /// How many variables its calls have.
    pub variables: usize,
    /// Its calls have RTP ports of their own.
    pub own_media: bool,
    /// What it is worth to count as an answer: 2xx to INVITE, where it sends or takes one, else to its first request.
    pub has_invite: bool,
}

/// A variable of a call, by its place.
pub type Variable = usize;

/// A step.
#[derive(Debug)]
pub struct Step {
    /// The line at which its element begins, from 1.
    pub line: u32,
    /// What it does.
    pub deed: Deed,
    /// Where to go behind it; none: to the next one.
    pub next: Option<Next>,
    /// It is left out unless this variable is set, or is not.
    pub only_if: Option<(Variable, bool)>,
    /// What is done once it is done.
    pub actions: Vec<Action>,
}

/// A jump.
#[derive(Debug, Clone, Copy)]
pub struct Next {
    /// The step to go to; behind the last one: the end.
    pub to: usize,
    /// Only if this variable is set.
    pub test: Option<Variable>,
    /// How likely it is, 0 to 1.
    pub chance: f64,
}

/// What a step does.
#[derive(Debug)]
pub enum Deed {
    /// Sends a message.
    Send {
        /// The message.
        message: Template,
        /// Sends it again after this, and after twice as long, …; none: once.
        retransmit: Option<Duration>,
        /// How likely it is lost on purpose, 0 to 1.
        lost: f64,
    },
    /// Waits for a message.
    Receive(Receive),
    /// Waits.
    Pause(Length),
    /// The call is done, and takes what is sent to it again for so long.
    TimeWait(Duration),
    /// Nothing but its actions.
    Nop,
}

/// How long a pause is.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Length {
    /// As long as calls stay: `--hold-s`, SIPp's `-d`.
    Hold,
    /// By a distribution.
    Drawn(Holding),
    /// Normal distribution, mean and standard deviation in ms; no less than 0.
    Normal(f64, f64),
    /// The ms that are in a variable.
    Variable(Variable),
}

/// What message is waited for, and what is done with it.
#[derive(Debug)]
pub struct Receive {
    /// Which one.
    pub wanted: Wanted,
    /// It may be left out.
    pub optional: Optional,
    /// Record-Route and Contact are kept for `[routes]` and `[next_url]`.
    pub routes: bool,
    /// Its challenge is kept for `[authentication]`.
    pub challenge: bool,
    /// RTP goes to where its session says.
    pub session: bool,
    /// How long it is waited for; none: as long as [`super::instance::PATIENCE`].
    pub timeout: Option<Duration>,
    /// Where to go if it does not come; none: the call has failed.
    pub on_timeout: Option<usize>,
    /// How likely it is lost on purpose, 0 to 1.
    pub lost: f64,
}

/// Whether a message may be left out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Optional {
    /// It has to come.
    No,
    /// It may come before the next one that has to.
    Yes,
    /// It may come at any time from here on.
    Global,
}

/// What message is waited for.
#[derive(Debug)]
pub enum Wanted {
    /// A request with this method.
    Request(Vec<u8>),
    /// A request whose method has this in it.
    RequestLike(Regex),
    /// A response with this status.
    Response(u16),
    /// A response whose status has this in it.
    ResponseLike(Regex),
}

/// What is done at a step.
#[derive(Debug)]
pub enum Action {
    /// Looks for an expression in the last message.
    Ereg(Ereg),
    /// A line of the log.
    Log(Template),
    /// RTP.
    Media(Media),
}

/// An expression to be looked for.
#[derive(Debug)]
pub struct Ereg {
    /// The line of its element.
    pub line: u32,
    /// The expression.
    pub regex: Regex,
    /// Where it is looked for.
    pub search_in: SearchIn,
    /// The call fails where it is not there (`Some(true)`), or where it is (`Some(false)`).
    pub check: Option<bool>,
    /// Take what was found, then its groups.
    pub assign_to: Vec<Variable>,
}

/// Where an expression is looked for.
#[derive(Debug)]
pub enum SearchIn {
    /// The whole message.
    Message,
    /// Its body.
    Body,
    /// What stands behind the colon of a header field.
    Header {
        /// Its name.
        name: String,
        /// Which one of that name, from 0.
        occurrence: usize,
        /// Spaces behind the colon are left out.
        trimmed: bool,
    },
}

/// What RTP does.
#[derive(Debug, Clone)]
pub enum Media {
    /// Sends this.
    Play(Arc<Stream>),
    /// Sends nothing for now.
    Pause,
    /// Goes on where it was.
    Resume,
    /// Sends back what comes, or no more.
    Echo(bool),
}

/// Encoded sound of a file.
#[derive(Debug)]
pub struct Stream {
    /// 20 ms are 160 octets of it: G.711 and G.722.
    pub octets: Vec<u8>,
    /// How often it is played; none: without end.
    pub times: Option<u32>,
    /// RTP's.
    pub payload_type: u8,
}

impl Scenario {
    /// Its calls are made by it; else it waits for them.
    pub fn calls(&self) -> bool {
        let first = self.steps.iter().find(|step| matches!(step.deed, Deed::Send { .. } | Deed::Receive(_)));
        first.is_some_and(|step| matches!(step.deed, Deed::Send { .. }))
    }

    /// A step as reports name it.
    pub fn name_of(&self, at: usize) -> String {
        let Some(step) = self.steps.get(at) else { return "end".to_owned() };
        let what = match &step.deed {
            Deed::Send { message, .. } => format!("send {}", message.start),
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
