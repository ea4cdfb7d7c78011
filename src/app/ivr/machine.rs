//! A call on its way through a flow: the results of actions go in, the next actions come out. No I/O, no
//! clock.
//!
//! | node | action | result | continues at |
//! |---|---|---|---|
//! | play_prompt | Play | Played, or NotPlayed | next |
//! | collect_input | Ask | Digits: enough | next, with the variable set |
//! | menu | Ask | Digits: a choice | where it leads |
//! | both | | Digits: none, tries left | the node, with `no_input_prompt` first |
//! | both | | Digits: wrong, tries left | the node, with `invalid_prompt` first |
//! | both | | none, or wrong, no tries left | no_input, or invalid |
//! | transfer | Dial | Refused | failed |
//! | http | Ask a URL | Told: a node | that node, else next |
//! | http | | NotTold | failed |
//! | set, branch | nothing | – | next; the case's node |
//! | queue, …, hangup | Hand, HangUp | – | – |

use std::sync::Arc;
use std::time::Duration;

use super::ask_url::UrlFields;
use super::flow::{Ask, Does, IvrFlow, Next, Node, Say};
use super::template::Variables;
use crate::prompts::Prompts;
use b2b_call::controller::{CollectEnd, Collected, DigitPlan, Part, Prompt};

/// Maximum number of nodes that one call may pass: ends a loop that depends on a caller's keys or a URL's
/// answers.
pub const MOST_NODES: u32 = 1_000;

/// The next action.
#[derive(Debug, Clone, PartialEq)]
pub enum Do {
    Play(Prompt),
    /// Without a prompt the digits are collected at once.
    Ask(Option<Prompt>, DigitPlan),
    Dial {
        to: String,
        ring: Option<Duration>,
        early_media: bool,
    },
    Http {
        url: String,
        fields: UrlFields,
        timeout: Duration,
    },
    /// Ends the flow: the call is handed to another application.
    Hand(String),
    /// Ends the flow and the call.
    HangUp,
}

impl Do {
    /// A word for the log: prompts and questions may contain secrets.
    pub fn word(&self) -> &'static str {
        match self {
            Do::Play(_) => "plays",
            Do::Ask(..) => "asks",
            Do::Dial { .. } => "dials",
            Do::Http { .. } => "asks a URL",
            Do::Hand(_) => "hands over",
            Do::HangUp => "hangs up",
        }
    }
}

/// The result of an action.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Came {
    Played,
    /// The prompt could not be played.
    NotPlayed,
    Digits(Collected),
    /// The target did not take the call: the SIP status.
    Refused(u16),
    /// The answer of a URL.
    Told(Told),
    NotTold,
}

/// The answer of a URL.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Told {
    /// The next node; `None`: as the flow says.
    pub next: Option<String>,
    pub variables: Variables,
}

/// A call in a flow.
#[derive(Debug, Clone)]
pub struct Machine {
    flow: Arc<IvrFlow>,
    prompts: Prompts,
    at: String,
    /// How often the caller has been asked at this node.
    asked: u32,
    nodes: u32,
    variables: Variables,
    /// Variables that have changed since the last [`Machine::take_changed`].
    changed: Vec<String>,
    /// The choice since the last [`Machine::take_choice`].
    choice: Option<Choice>,
}

/// A call in a flow, for the process that goes on with it.
#[derive(serde::Serialize, serde::Deserialize)]
pub(super) struct Written {
    at: String,
    asked: u32,
    nodes: u32,
    variables: Variables,
}

/// A valid input of a caller at a node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Choice {
    pub node: String,
    /// `None` if the node asks for a secret.
    pub keys: Option<String>,
}

impl Machine {
    /// A call with these variables, and its first action.
    pub fn begin(flow: Arc<IvrFlow>, prompts: Prompts, variables: Variables) -> (Self, Do) {
        let at = flow.start.clone();
        let mut machine =
            Machine { flow, prompts, at, asked: 0, nodes: 0, variables, changed: Vec::new(), choice: None };
        let first = machine.flow.start.clone();
        let act = machine.go(Some(first));
        (machine, act)
    }

    /// A call that was in this flow in another process.
    pub(super) fn read(flow: Arc<IvrFlow>, prompts: Prompts, written: Written) -> Self {
        let Written { at, asked, nodes, variables } = written;
        Machine { flow, prompts, at, asked, nodes, variables, changed: Vec::new(), choice: None }
    }

    /// The action of its node again. A node that the flow does not have any more ends the call.
    pub(super) fn again(&mut self) -> Do {
        // Who is asked again has not used up a try.
        self.asked = self.asked.saturating_sub(1);
        let flow = self.flow.clone();
        match flow.node(&self.at).map(|node| self.enter(node)) {
            Some(Entered::Does(act)) => act,
            Some(Entered::Leads(next)) => self.go(next),
            None => Do::HangUp,
        }
    }

    /// For [`Machine::read`].
    pub(super) fn written(&self) -> Written {
        let Machine { at, asked, nodes, variables, .. } = self;
        Written { at: at.clone(), asked: *asked, nodes: *nodes, variables: variables.clone() }
    }

    /// The current node.
    pub fn at(&self) -> &str {
        &self.at
    }

    pub fn variables(&self) -> &Variables {
        &self.variables
    }

    /// Takes the variables that have changed since the last call.
    pub fn take_changed(&mut self) -> Vec<(String, String)> {
        let value = |name: String| {
            let value = self.variables.get(&name).cloned().unwrap_or_default();
            (name, value)
        };
        std::mem::take(&mut self.changed).into_iter().map(value).collect()
    }

    /// Takes the caller's valid input since the last call.
    pub fn take_choice(&mut self) -> Option<Choice> {
        self.choice.take()
    }

    /// The next action after this result.
    pub fn came(&mut self, came: Came) -> Do {
        let flow = self.flow.clone();
        let Some(node) = flow.node(&self.at) else { return Do::HangUp };
        match (&node.does, came) {
            (Does::PlayPrompt { next, .. }, _) => self.go(next.clone()),
            (Does::CollectInput { ask, variable, least, next }, Came::Digits(collected)) => {
                match sort(&collected, |digits| (digits.len() >= *least).then_some(next)) {
                    Input::Right(next) => {
                        let keys = (!ask.plan.secret).then(|| collected.digits.clone());
                        self.choice = Some(Choice { node: self.at.clone(), keys });
                        match ask.plan.secret {
                            true => drop(self.variables.insert(variable.clone(), collected.digits)),
                            false => self.set(variable, collected.digits),
                        }
                        self.go(next.clone())
                    }
                    other => self.asks_again(ask, &other),
                }
            }
            (Does::Menu { ask, choices }, Came::Digits(collected)) => {
                let keys = (!ask.plan.secret).then(|| collected.digits.clone());
                let choice = |digits: &str| choices.iter().find(|(keys, _)| keys == digits);
                match sort(&collected, choice) {
                    Input::Right((_, to)) => {
                        self.choice = Some(Choice { node: self.at.clone(), keys });
                        self.set("digits", collected.digits);
                        self.go(Some(to.clone()))
                    }
                    other => self.asks_again(ask, &other),
                }
            }
            // The prompt is missing: a caller cannot know what to enter.
            (Does::CollectInput { ask, .. } | Does::Menu { ask, .. }, _) => self.go(ask.no_input.clone()),
            (Does::Transfer { failed, .. }, came) => {
                let status = if let Came::Refused(status) = came { status } else { 500 };
                self.set("transfer_status", status.to_string());
                self.go(failed.clone())
            }
            (Does::Http { next, may_name, failed, .. }, Came::Told(told)) => {
                let known = |name: &String| {
                    flow.node(name).is_some() && (may_name.is_empty() || may_name.contains(name))
                };
                if told.next.as_ref().is_some_and(|name| !known(name)) {
                    return self.go(failed.clone());
                }
                for (name, value) in told.variables {
                    self.set(&name, value);
                }
                self.go(told.next.or_else(|| next.clone()))
            }
            (Does::Http { failed, .. }, _) => self.go(failed.clone()),
            (Does::Set { .. } | Does::Branch { .. } | Does::Hand { .. } | Does::Hangup, _) => Do::HangUp,
        }
    }

    /// Sets a variable, which is then also set on the call.
    fn set(&mut self, name: &str, value: String) {
        if self.variables.get(name) != Some(&value) {
            self.variables.insert(name.to_owned(), value);
            if !self.changed.iter().any(|it| it == name) {
                self.changed.push(name.to_owned());
            }
        }
    }

    /// Asks the caller again, or gives up after the last try.
    fn asks_again<T>(&mut self, ask: &Ask, input: &Input<T>) -> Do {
        let (before, after) = match input {
            Input::None => (&ask.no_input_prompt, &ask.no_input),
            _ => (&ask.invalid_prompt, &ask.invalid),
        };
        if self.asked >= ask.tries {
            return self.go(after.clone());
        }
        self.ask(ask, before)
    }

    fn ask(&mut self, ask: &Ask, before: &[Say]) -> Do {
        self.asked += 1;
        let prompt = self.prompt(before.iter().chain(&ask.prompt));
        Do::Ask(Some(prompt).filter(|prompt| !prompt.parts.is_empty()), ask.plan.clone())
    }

    /// Goes to the next node that has an action.
    fn go(&mut self, next: Next) -> Do {
        let flow = self.flow.clone();
        let mut next = next;
        loop {
            let Some(node) = next.as_ref().and_then(|name| flow.node(name)) else { return Do::HangUp };
            self.nodes += 1;
            if self.nodes > MOST_NODES {
                return Do::HangUp;
            }
            self.at.clone_from(&node.name);
            self.asked = 0;
            match self.enter(node) {
                Entered::Does(act) => return act,
                Entered::Leads(to) => next = to,
            }
        }
    }

    fn enter(&mut self, node: &Node) -> Entered {
        Entered::Does(match &node.does {
            Does::PlayPrompt { prompt, .. } => Do::Play(self.prompt(prompt.iter())),
            Does::CollectInput { ask, .. } | Does::Menu { ask, .. } => self.ask(ask, &[]),
            Does::Transfer { to, ring, early_media, .. } => Do::Dial {
                to: to.fill_with(&self.variables, push_plain),
                ring: *ring,
                early_media: *early_media,
            },
            Does::Hand { app } => Do::Hand(app.fill_with(&self.variables, push_plain)),
            Does::Hangup => Do::HangUp,
            Does::Http { url, fields, timeout, .. } => Do::Http {
                url: url.fill_with(&self.variables, push_escaped),
                fields: fields.clone(),
                timeout: *timeout,
            },
            Does::Set { values, next } => {
                for (name, value) in values {
                    let value = value.fill(&self.variables);
                    self.set(name, value);
                }
                return Entered::Leads(next.clone());
            }
            Does::Branch { of, cases, otherwise } => {
                let value = of.fill(&self.variables);
                let case = cases.iter().find(|(case, _)| case.is_like(&value));
                return Entered::Leads(case.map(|(_, to)| to.clone()).or_else(|| otherwise.clone()));
            }
        })
    }

    fn prompt<'a>(&self, says: impl Iterator<Item = &'a Say>) -> Prompt {
        let mut parts: Vec<Part> = Vec::new();
        for say in says {
            match say {
                Say::Part(part) => parts.push(part.clone()),
                Say::Digits(of) => parts.extend(self.prompts.say_digits(&of.fill(&self.variables))),
            }
        }
        Prompt::new(parts)
    }
}

enum Entered {
    Does(Do),
    Leads(Next),
}

/// The classified input of a caller.
enum Input<T> {
    Right(T),
    Wrong,
    None,
}

fn sort<T>(collected: &Collected, right: impl FnOnce(&str) -> Option<T>) -> Input<T> {
    match right(&collected.digits) {
        _ if collected.digits.is_empty() && !matches!(collected.end, CollectEnd::Terminator(_)) => {
            Input::None
        }
        Some(right) => Input::Right(right),
        None => Input::Wrong,
    }
}

/// Restricted to characters of a number: no value can change the host or the kind of a target.
fn push_plain(filled: &mut String, value: &str) {
    let plain = |c: &char| c.is_ascii_alphanumeric() || "+*#-_.".contains(*c);
    filled.extend(value.chars().filter(plain));
}

/// Escaped for a URL (RFC 3986 §2.3).
fn push_escaped(filled: &mut String, value: &str) {
    for byte in value.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => {
                filled.push(char::from(byte));
            }
            byte => filled.push_str(&format!("%{byte:02X}")),
        }
    }
}

#[cfg(test)]
mod tests;
