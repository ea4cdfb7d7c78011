//! `[[route]]`: the calls that it takes, their targets, and their settings.

use std::fmt;
use std::time::Duration;

use ipnet::IpNet;

use super::{Pattern, Srtp, Template};
use b2b_config::table::Named;
use b2b_sip::msg::Method;

/// One route. It matches when all of its conditions match.
#[derive(Debug, Clone, PartialEq)]
pub struct Route {
    /// Its name, or `#3` for the third.
    pub name: String,
    /// Matches the whole called number.
    pub called: Option<Pattern>,
    /// Matches the whole caller's number.
    pub caller: Option<Pattern>,
    /// The classes of callers; empty: any.
    pub classes: Vec<String>,
    /// The sources; empty: any.
    pub sources: Vec<SourceMatch>,
    /// The results of verifying the caller's number; empty: any.
    pub verstat: Vec<Verstat>,
    /// The methods; never empty.
    pub methods: Vec<Method>,
    /// What is done with the call.
    pub action: Action,
    /// Line in the file.
    pub line: usize,
}

/// The result of verifying the caller's number (`verstat`, 3GPP TS 24.229 §7.2A.20), as a trusted gateway
/// sends it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub enum Verstat {
    /// `TN-Validation-Passed`.
    Passed,
    /// `TN-Validation-Failed`.
    Failed,
    /// `No-TN-Validation`, or no trusted party sends it.
    #[default]
    None,
}

impl Verstat {
    /// The names in the configuration.
    pub(super) const NAMED: Named<Verstat> = Named {
        refusal: "no such result; choose from",
        values: &[("passed", Verstat::Passed), ("failed", Verstat::Failed), ("none", Verstat::None)],
    };

    /// Reads the parameter's value. Some providers append the attestation: `TN-Validation-Passed-A`.
    pub fn of(value: Option<&str>) -> Verstat {
        let value = value.unwrap_or_default().to_ascii_lowercase();
        let is = |word: &str| value.strip_prefix(word).is_some_and(|it| it.is_empty() || it.starts_with('-'));
        match (is("tn-validation-passed"), is("tn-validation-failed")) {
            (true, _) => Verstat::Passed,
            (_, true) => Verstat::Failed,
            _ => Verstat::None,
        }
    }

    /// The name in the configuration.
    pub fn as_str(self) -> &'static str {
        Self::NAMED.name(&self)
    }
}

/// The source of a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SourceMatch {
    /// `gateway/carrier`.
    Gateway(String),
    /// `user/1001`: this user, authenticated.
    User(String),
    /// `users`: any authenticated user.
    Users,
    /// `trusted`: an address of `[server] trusted`.
    Trusted,
    /// An address or block.
    Net(IpNet),
}

impl fmt::Display for SourceMatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            SourceMatch::Gateway(name) => write!(f, "gateway/{name}"),
            SourceMatch::User(name) => write!(f, "user/{name}"),
            SourceMatch::Users => f.write_str("users"),
            SourceMatch::Trusted => f.write_str("trusted"),
            SourceMatch::Net(net) => net.fmt(f),
        }
    }
}

/// What is done with a call.
#[derive(Debug, Clone, PartialEq)]
pub enum Action {
    /// It is routed to these targets; at least one.
    Dial { targets: Vec<Target>, policy: Box<Policy> },
    /// It is refused with this status, 400 to 699.
    Reject { status: u16, reason: Option<String> },
    /// An application handles it: its name, with the groups of `called`.
    App {
        name: Template,
        /// Whether the call is to be recorded.
        record: bool,
    },
}

/// A target of a route or a group.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Target {
    /// `user/1001`, `user/$1`.
    User(Template),
    /// `gateway/carrier`: with the called number; `gateway/carrier/$1`: with the given one.
    Gateway { name: String, number: Option<Template> },
    /// `group/sales`.
    Group(String),
    /// `sip:` or `sips:`.
    Uri(Template),
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Target::User(user) => write!(f, "user/{user}"),
            Target::Gateway { name, number: None } => write!(f, "gateway/{name}"),
            Target::Gateway { name, number: Some(number) } => write!(f, "gateway/{name}/{number}"),
            Target::Group(name) => write!(f, "group/{name}"),
            Target::Uri(uri) => uri.fmt(f),
        }
    }
}

/// Settings for a call that a route sends to targets.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Policy {
    /// How several targets are tried.
    pub strategy: Strategy,
    /// A 6xx of one target ends all of them.
    pub declines_for_all: bool,
    /// The new called number, with the groups of `called`.
    pub set_called: Option<Template>,
    /// The new caller's number, with the groups of `caller`.
    pub set_caller: Option<Template>,
    /// The new caller's name.
    pub set_caller_name: Option<String>,
    /// The mode of the bridge.
    pub mode: BridgeMode,
    /// The path of RTP.
    pub media: MediaPath,
    /// Whether the call is to be recorded.
    pub record: bool,
    /// Ringing time of each target; `None`: as `[limits]` says.
    pub timeout: Option<Duration>,
    /// The responses after which the next target is tried.
    pub failover: Failover,
    /// The application that takes an unanswered caller, with the groups of `called`.
    pub unanswered: Option<Template>,
    /// Changes to headers, in `translating` mode.
    pub headers: Vec<HeaderRule>,
    /// The codecs that may be offered, best first; empty: any. A gateway's list takes precedence.
    pub codecs: Vec<&'static str>,
    /// Media encryption for targets without a setting of their own; `None`: the default.
    pub srtp: Option<Srtp>,
}

/// What a bridge passes through and what it handles itself.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum BridgeMode {
    /// Everything that the far end can understand passes end to end.
    Transparent,
    /// b2b handles REFER, INFO digits and hold.
    #[default]
    Intercepting,
    /// Either, with header rules and transcoding.
    Translating,
}

impl BridgeMode {
    /// The names in the configuration.
    pub(super) const NAMED: Named<BridgeMode> = Named {
        refusal: "no such mode; choose",
        values: &[
            ("transparent", BridgeMode::Transparent),
            ("intercepting", BridgeMode::Intercepting),
            ("translating", BridgeMode::Translating),
        ],
    };

    /// The name in the configuration.
    pub fn as_str(self) -> &'static str {
        Self::NAMED.name(&self)
    }
}

/// The path of RTP.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum MediaPath {
    /// Through b2b.
    #[default]
    Relay,
    /// Directly between the parties, where both support it.
    Direct,
}

impl MediaPath {
    /// The names in the configuration.
    pub(super) const NAMED: Named<MediaPath> = Named {
        refusal: "no such path; choose",
        values: &[("relay", MediaPath::Relay), ("direct", MediaPath::Direct)],
    };

    /// The name in the configuration.
    pub fn as_str(self) -> &'static str {
        Self::NAMED.name(&self)
    }
}

/// The responses after which the next target is tried. A timeout (no response to INVITE, no connection)
/// always counts as one; 6xx and a caller who has hung up never do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Failover {
    /// Never, except after a timeout.
    Never,
    /// After these; a class is written `5xx`.
    On(Vec<StatusRange>),
}

/// A range of status codes, both ends included.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StatusRange(pub u16, pub u16);

impl Default for Failover {
    /// 408, 480 and every 5xx: the target did not ring, or did not answer.
    fn default() -> Self {
        Failover::On(vec![StatusRange(408, 408), StatusRange(480, 480), StatusRange(500, 599)])
    }
}

/// A change to a header of messages to the far side, or from it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HeaderRule {
    /// A header name that does not belong to the dialog.
    pub name: String,
    /// The change.
    pub change: HeaderChange,
    /// The messages it applies to.
    pub on: HeaderOn,
}

/// A change of a header. Values are templates with the groups of `called`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum HeaderChange {
    /// Adds a line.
    Add(Template),
    /// Removes all lines of this name.
    Remove,
    /// Puts one line in place of all lines of this name; adds it where there was none.
    Replace(Template),
    /// Passes the lines of the other leg's message on.
    Pass,
}

/// The messages that a header rule applies to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HeaderOn {
    /// The INVITE to the far side.
    Request,
    /// The responses to the caller.
    Response,
    /// Both.
    Both,
}

impl HeaderOn {
    /// The names in the configuration.
    pub(super) const NAMED: Named<HeaderOn> = Named {
        refusal: "no such messages; choose",
        values: &[("request", HeaderOn::Request), ("response", HeaderOn::Response), ("both", HeaderOn::Both)],
    };
}

/// How several targets are tried.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Strategy {
    /// One after the other, until one answers.
    #[default]
    Serial,
    /// All at once; the first that answers wins.
    Parallel,
}

/// Whether a 6xx ends the call to all targets.
pub(super) const DECLINE: Named<bool> =
    Named { refusal: "no such choice; choose", values: &[("member", false), ("all", true)] };

impl Strategy {
    /// The names in the configuration.
    pub(super) const NAMED: Named<Strategy> = Named {
        refusal: "no such strategy; choose",
        values: &[("serial", Strategy::Serial), ("parallel", Strategy::Parallel)],
    };

    /// The name in the configuration.
    pub fn as_str(self) -> &'static str {
        Self::NAMED.name(&self)
    }
}
