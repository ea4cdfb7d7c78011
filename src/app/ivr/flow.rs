//! A flow as data: nodes with names, and which node comes after which. It is read from the
//! configuration or written with [`IvrFlow::builder`].

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use super::ask_url::UrlFields;
use super::builder::FlowBuilder;
use super::template::Template;
use b2b_call::controller::{DigitPlan, Part};

/// A menu tree: what a caller hears, presses, and where that leads. `FlowBuilder::build` and
/// the configuration give only such as [`super::check::check`] passes.
#[derive(Debug, Clone, PartialEq)]
pub struct IvrFlow {
    /// Its name: the application is `ivr/` and this.
    pub name: String,
    /// Where a call begins.
    pub start: String,
    pub nodes: Vec<Node>,
}

/// One step of a flow.
#[derive(Debug, Clone, PartialEq)]
pub struct Node {
    pub name: String,
    pub does: Does,
}

/// Where it goes on; none: the call is hung up.
pub type Next = Option<String>;

/// What a node does.
#[derive(Debug, Clone, PartialEq)]
pub enum Does {
    /// Says something.
    PlayPrompt {
        prompt: Vec<Say>,
        next: Next,
    },
    /// Asks for digits, which become a variable.
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
    /// Dials, and joins the caller with who answers.
    Transfer {
        to: Template,
        ring: Duration,
        /// What the target sends before it answers is heard in the place of the ringing.
        early_media: bool,
        failed: Next,
    },
    /// Gives the call to another application: `queue/sales`.
    Hand {
        app: Template,
    },
    Hangup,
    /// Gives variables these values, in this order.
    Set {
        values: Vec<(String, Template)>,
        next: Next,
    },
    /// Goes where the first case leads that the value is like.
    Branch {
        of: Template,
        cases: Vec<(Case, String)>,
        otherwise: Next,
    },
    /// Asks a URL what comes next, with the call's variables.
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
    /// How often the caller is asked before `no_input` or `invalid` is where it goes on.
    pub tries: u32,
    /// What the caller hears before they are asked again; none: only the prompt again.
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

/// A piece of what is said.
#[derive(Debug, Clone, PartialEq)]
pub enum Say {
    /// Always the same: a file, a tone, silence.
    Part(Part),
    /// A value, digit by digit.
    Digits(Template),
}

/// What a value may be like.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Case {
    Is(String),
    BeginsWith(String),
}

impl Case {
    /// `+44*` is a beginning, anything else the whole value.
    pub fn new(text: &str) -> Self {
        match text.strip_suffix('*') {
            Some(beginning) if !beginning.is_empty() => Case::BeginsWith(beginning.to_owned()),
            _ => Case::Is(text.to_owned()),
        }
    }

    /// Whether a value is like this.
    pub fn is_like(&self, value: &str) -> bool {
        match self {
            Case::Is(text) => text == value,
            Case::BeginsWith(beginning) => value.starts_with(beginning.as_str()),
        }
    }

    /// As it is written.
    pub fn words(&self) -> String {
        match self {
            Case::Is(text) => text.clone(),
            Case::BeginsWith(beginning) => format!("{beginning}*"),
        }
    }
}

/// Why a flow goes from a node to another.
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
    /// An answer of a URL's names it.
    Named,
}

impl IvrFlow {
    /// A flow of this name, to be written down.
    pub fn builder(name: impl Into<String>) -> FlowBuilder {
        FlowBuilder::new(name.into())
    }

    /// Its name as an application's.
    pub fn application(&self) -> String {
        format!("ivr/{}", self.name)
    }

    pub fn node(&self, name: &str) -> Option<&Node> {
        self.nodes.iter().find(|node| node.name == name)
    }
}

impl Node {
    /// Every way out of it, where it leads, and where it ends the call (none).
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

    /// Whether a call that comes here leaves the flow, or may.
    pub fn may_end(&self) -> bool {
        match self.does {
            Does::Transfer { .. } | Does::Hand { .. } | Does::Hangup => true,
            _ => self.ways().iter().any(|(_, to)| to.is_none()),
        }
    }

    /// Everything that it says.
    pub fn says(&self) -> Vec<&Say> {
        match &self.does {
            Does::PlayPrompt { prompt, .. } => prompt.iter().collect(),
            Does::CollectInput { ask, .. } | Does::Menu { ask, .. } => {
                ask.prompt.iter().chain(&ask.no_input_prompt).chain(&ask.invalid_prompt).collect()
            }
            _ => Vec::new(),
        }
    }

    /// What it is, in one word, as the configuration writes it.
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

impl Say {
    /// A file.
    pub fn file(path: impl AsRef<Path>) -> Self {
        Say::Part(Part::File(Arc::from(path.as_ref())))
    }
}
