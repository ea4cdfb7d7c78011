//! A flow as data: named nodes, and which node follows which.

use std::time::Duration;

use super::ask_url::UrlFields;
use super::template::{Template, TemplateError};
use crate::prompts::Prompts;
use b2b_call::controller::{DigitPlan, Part};

/// How long the target of a transfer rings if nothing says otherwise.
pub const RING: Duration = Duration::from_secs(30);

/// The default timeout of a URL.
pub const ANSWER: Duration = Duration::from_secs(5);

/// A menu tree: what a caller hears and presses, and where that leads. The configuration only returns flows that
/// pass [`super::check::check`].
#[derive(Debug, Clone, PartialEq)]
pub struct IvrFlow {
    /// The name; the application is `ivr/` and this name.
    pub name: String,
    /// The node at which a call begins.
    pub start: String,
    pub nodes: Vec<Node>,
}

/// One step of a flow.
#[derive(Debug, Clone, PartialEq)]
pub struct Node {
    pub name: String,
    pub does: Does,
}

/// The next node; `None` hangs up.
pub type Next = Option<String>;

/// The action of a node.
#[derive(Debug, Clone, PartialEq)]
pub enum Does {
    /// Plays a prompt.
    PlayPrompt {
        prompt: Vec<Say>,
        next: Next,
    },
    /// Collects digits into a variable.
    CollectInput {
        ask: Ask,
        variable: String,
        least: usize,
        next: Next,
    },
    /// Asks for a choice.
    Menu {
        ask: Ask,
        choices: Vec<(String, String)>,
    },
    /// Dials a target, and bridges the caller with it.
    Transfer {
        to: Template,
        /// How long the target rings; `None`: as its group or route says, otherwise [`RING`](super::RING).
        ring: Option<Duration>,
        /// Play the target's early media instead of the ringing tone.
        early_media: bool,
        failed: Next,
    },
    /// Hands the call to another application: `queue/sales`.
    Hand {
        app: Template,
    },
    Hangup,
    /// Sets variables to these values, in order.
    Set {
        values: Vec<(String, Template)>,
        next: Next,
    },
    /// Continues at the node of the first case that matches the value.
    Branch {
        of: Template,
        cases: Vec<(Case, String)>,
        otherwise: Next,
    },
    /// Asks a URL for the next node, with the call's variables.
    Http {
        url: Template,
        fields: UrlFields,
        timeout: Duration,
        next: Next,
        failed: Next,
        may_name: Vec<String>,
    },
}

/// How a caller is asked for digits.
#[derive(Debug, Clone, PartialEq)]
pub struct Ask {
    pub prompt: Vec<Say>,
    pub plan: DigitPlan,
    /// How often the caller is asked before the flow continues at `no_input` or `invalid`.
    pub tries: u32,
    /// The prompt before the caller is asked again; empty: only the main prompt is repeated.
    pub no_input_prompt: Vec<Say>,
    pub invalid_prompt: Vec<Say>,
    pub no_input: Next,
    pub invalid: Next,
}

impl Ask {
    /// Three tries, then the call is hung up.
    pub fn new(prompt: Vec<Say>, plan: DigitPlan) -> Self {
        Ask {
            prompt,
            plan,
            tries: 3,
            no_input_prompt: Vec::new(),
            invalid_prompt: Vec::new(),
            no_input: None,
            invalid: None,
        }
    }
}

/// A menu collects as many keys as its longest choice has; `#` ends the input unless it is part of a choice.
pub fn menu(mut ask: Ask, choices: Vec<(String, String)>) -> Does {
    ask.plan.max = choices.iter().map(|(keys, _)| keys.chars().count()).max().unwrap_or(1);
    if ask.plan.max == 1 || choices.iter().any(|(keys, _)| keys.contains('#')) {
        ask.plan.terminators.clear();
    }
    Does::Menu { ask, choices }
}

/// A part of a prompt in a flow.
#[derive(Debug, Clone, PartialEq)]
pub enum Say {
    /// A fixed part: a file, a tone, silence.
    Part(Part),
    /// A value, digit by digit.
    Digits(Template),
}

/// The syntax of a part of a prompt, for error messages.
pub const SAY: &str =
    "write a file's name, digits:${variable}, tone:440:500 (Hz, ms), tone:350+440:500 or silence:500 (ms)";

/// Parses a part of a prompt. `None` if it is malformed.
pub fn say(text: &str, prompts: &Prompts) -> Option<Result<Say, TemplateError>> {
    let ms = |text: &str| text.parse::<u32>().ok().map(|ms| Duration::from_millis(ms.into()));
    let hz = |text: &str| text.parse::<u16>().ok().filter(|hz| (20..=4_000).contains(hz));
    match text.split_once(':') {
        Some(("digits", of)) => Some(Template::new(of).map(Say::Digits)),
        Some(("silence", lasts)) => Some(Ok(Say::Part(Part::Silence(ms(lasts)?)))),
        Some(("tone", rest)) => {
            let (pitch, lasts) = rest.split_once(':')?;
            let hz = match pitch.split_once('+') {
                Some((one, other)) => [hz(one)?, hz(other)?],
                None => [hz(pitch)?, 0],
            };
            Some(Ok(Say::Part(Part::Tone { hz, lasts: ms(lasts)?, dbm0: Part::TONE_DBM0 })))
        }
        _ if text.trim().is_empty() => None,
        _ => Some(Ok(Say::Part(prompts.file(text)))),
    }
}

/// A pattern for a value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Case {
    Is(String),
    BeginsWith(String),
}

impl Case {
    /// `+44*` is a prefix, anything else the whole value.
    pub fn new(text: &str) -> Self {
        match text.strip_suffix('*') {
            Some(beginning) if !beginning.is_empty() => Case::BeginsWith(beginning.to_owned()),
            _ => Case::Is(text.to_owned()),
        }
    }

    /// Whether a value matches.
    pub fn is_like(&self, value: &str) -> bool {
        match self {
            Case::Is(text) => text == value,
            Case::BeginsWith(beginning) => value.starts_with(beginning.as_str()),
        }
    }

    /// The pattern as it is written.
    pub fn words(&self) -> String {
        match self {
            Case::Is(text) => text.clone(),
            Case::BeginsWith(beginning) => format!("{beginning}*"),
        }
    }
}

/// Why a flow goes from one node to another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Way<'a> {
    Next,
    /// The caller has pressed this.
    Choice(&'a str),
    NoInput,
    Invalid,
    Case(&'a Case),
    Otherwise,
    Failed,
    /// The answer of a URL names the node.
    Named,
}

impl IvrFlow {
    /// The name of its application.
    pub fn application(&self) -> String {
        format!("ivr/{}", self.name)
    }

    pub fn node(&self, name: &str) -> Option<&Node> {
        self.nodes.iter().find(|node| node.name == name)
    }
}

impl Node {
    /// Every exit of the node, with its target; `None` ends the call.
    pub fn ways(&self) -> Vec<(Way<'_>, Option<&str>)> {
        let mut ways = Vec::new();
        match &self.does {
            Does::PlayPrompt { next, .. } | Does::Set { next, .. } => ways.push((Way::Next, next.as_deref())),
            Does::CollectInput { ask, next, .. } => {
                ways.push((Way::Next, next.as_deref()));
                ways.push((Way::NoInput, ask.no_input.as_deref()));
                ways.push((Way::Invalid, ask.invalid.as_deref()));
            }
            Does::Menu { ask, choices } => {
                ways.extend(choices.iter().map(|(keys, to)| (Way::Choice(keys), Some(to.as_str()))));
                ways.push((Way::NoInput, ask.no_input.as_deref()));
                ways.push((Way::Invalid, ask.invalid.as_deref()));
            }
            Does::Transfer { failed, .. } => ways.push((Way::Failed, failed.as_deref())),
            Does::Branch { cases, otherwise, .. } => {
                ways.extend(cases.iter().map(|(case, to)| (Way::Case(case), Some(to.as_str()))));
                ways.push((Way::Otherwise, otherwise.as_deref()));
            }
            Does::Http { next, failed, may_name, .. } => {
                ways.push((Way::Next, next.as_deref()));
                ways.push((Way::Failed, failed.as_deref()));
                ways.extend(may_name.iter().map(|to| (Way::Named, Some(to.as_str()))));
            }
            Does::Hand { .. } | Does::Hangup => {}
        }
        ways
    }

    /// Whether a call at this node leaves the flow, or may leave it.
    pub fn may_end(&self) -> bool {
        match self.does {
            Does::Transfer { .. } | Does::Hand { .. } | Does::Hangup => true,
            _ => self.ways().iter().any(|(_, to)| to.is_none()),
        }
    }

    /// Everything that it plays.
    pub fn says(&self) -> Vec<&Say> {
        match &self.does {
            Does::PlayPrompt { prompt, .. } => prompt.iter().collect(),
            Does::CollectInput { ask, .. } | Does::Menu { ask, .. } => {
                ask.prompt.iter().chain(&ask.no_input_prompt).chain(&ask.invalid_prompt).collect()
            }
            _ => Vec::new(),
        }
    }

    /// The kind of the node, as the configuration names it.
    pub fn kind(&self) -> &'static str {
        match &self.does {
            Does::PlayPrompt { .. } => "play_prompt",
            Does::CollectInput { .. } => "collect_input",
            Does::Menu { .. } => "menu",
            Does::Transfer { .. } => "transfer",
            Does::Hand { app } => match app.beginning().split('/').next() {
                Some("queue") => "queue",
                Some("conference") => "conference",
                Some("voicemail") => "voicemail",
                _ => "application",
            },
            Does::Hangup => "hangup",
            Does::Set { .. } => "set",
            Does::Branch { .. } => "branch",
            Does::Http { .. } => "http",
        }
    }
}
