//! `[[route]]`: which calls it takes, where they go, what holds for them.

use std::fmt;
use std::time::Duration;

use ipnet::IpNet;

use super::{Codec, Pattern, Srtp, Strategy, Template};
use b2b_config::table::Named;
use b2b_sip::msg::Method;

/// One route. It matches when everything matches that it names.
#[derive(Debug, Clone, PartialEq)]
pub struct Route {
    /// Its name, or `#3` for the third.
    pub name: String,
    /// On the called number, the whole of it.
    pub called: Option<Pattern>,
    /// On the caller's number, the whole of it.
    pub caller: Option<Pattern>,
    /// One of these classes; empty: any.
    pub classes: Vec<String>,
    /// From one of these; empty: from anywhere.
    pub sources: Vec<SourceMatch>,
    /// One of these results of verifying the caller's number; empty: any.
    pub verstat: Vec<Verstat>,
    /// One of these methods; never empty.
    pub methods: Vec<Method>,
    /// What becomes of the call.
    pub action: Action,
    /// Line in the file.
    pub line: usize,
}

/// What came of verifying the caller's number (`verstat`, 3GPP TS 24.229 §7.2A.20), as a gateway says that is
/// trusted.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub enum Verstat {
    /// `TN-Validation-Passed`.
    Passed,
    /// `TN-Validation-Failed`.
    Failed,
    /// `No-TN-Validation`, or nobody says it who is believed.
    #[default]
    None,
}

impl Verstat {
    /// As the configuration writes them.
    pub(super) const NAMED: Named<Verstat> = Named {
        refusal: "no such result; choose from",
        values: &[("passed", Verstat::Passed), ("failed", Verstat::Failed), ("none", Verstat::None)],
    };

    /// Of the parameter's value. Some providers write the attestation behind it: `TN-Validation-Passed-A`.
    pub fn of(value: Option<&str>) -> Verstat {
        let value = value.unwrap_or_default().to_ascii_lowercase();
        let is = |word: &str| value.strip_prefix(word).is_some_and(|it| it.is_empty() || it.starts_with('-'));
        match (is("tn-validation-passed"), is("tn-validation-failed")) {
            (true, _) => Verstat::Passed,
            (_, true) => Verstat::Failed,
            _ => Verstat::None,
        }
    }

    /// As the configuration writes it.
    pub fn as_str(self) -> &'static str {
        Self::NAMED.name(&self)
    }
}

/// Where a request comes from.
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

/// What becomes of a call.
#[derive(Debug, Clone, PartialEq)]
pub enum Action {
    /// It goes to these; at least one.
    Dial { targets: Vec<Target>, policy: Box<Policy> },
    /// It is answered with this status, 400 to 699.
    Reject { status: u16, reason: Option<String> },
    /// An application handles it: its name, with the groups of `called`.
    App {
        name: Template,
        /// Whether the call is to be recorded.
        record: bool,
    },
}

/// Whom a route or a group calls.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Target {
    /// `user/1001`, `user/$1`.
    User(Template),
    /// `gateway/carrier`: with the called number; `gateway/carrier/$1`: with this one.
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

/// What holds for a call that a route sends on.
#[derive(Debug, Clone, PartialEq)]
pub struct Policy {
    /// How several targets are tried.
    pub strategy: Strategy,
    /// What becomes of the called number, with the groups of `called`.
    pub set_called: Option<Template>,
    /// What becomes of the caller's number, with the groups of `caller`.
    pub set_caller: Option<Template>,
    /// What becomes of the caller's name.
    pub set_caller_name: Option<String>,
    /// What passes through the bridge.
    pub mode: BridgeMode,
    /// Where RTP goes.
    pub media: MediaPath,
    /// Whether the call is to be recorded.
    pub record: bool,
    /// How long each target rings; none: as `[limits]` says.
    pub timeout: Option<Duration>,
    /// After which answers the next target is tried.
    pub failover: Failover,
    /// The application that takes a caller whom nobody has answered, with the groups of `called`.
    pub unanswered: Option<Template>,
    /// In `translating` mode: changes to headers.
    pub headers: Vec<HeaderRule>,
    /// What may be offered, best first; empty: anything. A gateway's list wins.
    pub codecs: Vec<Codec>,
    /// Encryption of the media of whom it calls, where nothing is said of them; none: everybody's.
    pub srtp: Option<Srtp>,
}

impl Default for Policy {
    fn default() -> Self {
        Policy {
            strategy: Strategy::Serial,
            set_called: None,
            set_caller: None,
            set_caller_name: None,
            mode: BridgeMode::Intercepting,
            media: MediaPath::Relay,
            record: false,
            timeout: None,
            failover: Failover::default(),
            unanswered: None,
            headers: Vec::new(),
            codecs: Vec::new(),
            srtp: None,
        }
    }
}

/// What a bridge passes through and what it handles.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BridgeMode {
    /// What the far end can understand passes end to end.
    Transparent,
    /// b2b handles REFER, INFO digits and hold.
    Intercepting,
    /// Either, with header rules and transcoding.
    Translating,
}

impl BridgeMode {
    /// As the configuration writes them.
    pub(super) const NAMED: Named<BridgeMode> = Named {
        refusal: "no such mode; choose",
        values: &[
            ("transparent", BridgeMode::Transparent),
            ("intercepting", BridgeMode::Intercepting),
            ("translating", BridgeMode::Translating),
        ],
    };

    /// As the configuration writes it.
    pub fn as_str(self) -> &'static str {
        Self::NAMED.name(&self)
    }
}

/// Where RTP goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MediaPath {
    /// Through b2b.
    Relay,
    /// Between the parties, where both can.
    Direct,
}

impl MediaPath {
    /// As the configuration writes them.
    pub(super) const NAMED: Named<MediaPath> = Named {
        refusal: "no such path; choose",
        values: &[("relay", MediaPath::Relay), ("direct", MediaPath::Direct)],
    };

    /// As the configuration writes it.
    pub fn as_str(self) -> &'static str {
        Self::NAMED.name(&self)
    }
}

/// After which answers the next target is tried. Silence (no answer to INVITE, no
/// connection) always is such an answer; 6xx and a caller that has gone never are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Failover {
    /// Never, but after silence.
    Never,
    /// After these; a class is written `5xx`.
    On(Vec<StatusRange>),
}

/// Status codes from the first to the last, both included.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StatusRange(pub u16, pub u16);

impl Failover {
    /// Whether the next target is tried after this final status.
    pub fn is_on(&self, status: u16) -> bool {
        match self {
            Failover::Never => false,
            Failover::On(ranges) => {
                status < 600 && ranges.iter().any(|range| (range.0..=range.1).contains(&status))
            }
        }
    }
}

impl Default for Failover {
    /// 408, 480 and every 5xx: the target did not ring, or nobody was there.
    fn default() -> Self {
        Failover::On(vec![StatusRange(408, 408), StatusRange(480, 480), StatusRange(500, 599)])
    }
}

/// A change to a header of what goes to the far side, or comes back from it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HeaderRule {
    /// A header name, none that belongs to the dialog.
    pub name: String,
    /// What becomes of it.
    pub change: HeaderChange,
    /// Of which messages.
    pub on: HeaderOn,
}

/// What becomes of a header. Values are templates with the groups of `called`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum HeaderChange {
    /// One more line.
    Add(Template),
    /// All lines of this name go.
    Remove,
    /// One line instead of all of this name; added where there was none.
    Replace(Template),
    /// The lines of the other leg's message go across.
    Pass,
}

/// Which messages a header rule is about.
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
    /// As the configuration writes them.
    pub(super) const NAMED: Named<HeaderOn> = Named {
        refusal: "no such messages; choose",
        values: &[("request", HeaderOn::Request), ("response", HeaderOn::Response), ("both", HeaderOn::Both)],
    };

    /// As the configuration writes it.
    pub fn as_str(self) -> &'static str {
        Self::NAMED.name(&self)
    }
}
