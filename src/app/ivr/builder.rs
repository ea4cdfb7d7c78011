//! Flows written in code.

use std::time::Duration;

use super::ask_url::UrlFields;
use super::check::{FlowError, FlowProblem, check};
use super::flow::{Ask, Case, Does, IvrFlow, Node, Say};
use super::template::{Template, TemplateError};
use crate::prompts::Prompts;
use b2b_call::controller::DigitPlan;

/// How long the target of a transfer rings if nothing says otherwise.
pub const RING: Duration = Duration::from_secs(30);

/// The default timeout of a URL.
pub const ANSWER: Duration = Duration::from_secs(5);

/// Builds a flow, node by node; a call begins at the first one. File names are relative to the folder of
/// prompts.
///
/// ```
/// use b2b_app::ivr::IvrFlow;
/// # let prompts = b2b_app::Prompts::new("../../tests/data/audio");
/// let flow = IvrFlow::builder("main")
///     .menu("welcome", "440hz.wav", &[("1", "sales"), ("2", "support")])
///     .transfer("sales", "user/1001", Some("bye"))
///     .queue("support", "support")
///     .hangup("bye")
///     .build_unchecked(&prompts)?;
/// assert_eq!(flow.nodes.len(), 4);
/// # Ok::<(), b2b_app::ivr::BuildError>(())
/// ```
#[derive(Debug, Clone)]
pub struct FlowBuilder {
    name: String,
    start: Option<String>,
    nodes: Vec<Unread>,
}

/// A node whose texts are not parsed yet.
#[derive(Debug, Clone)]
struct Unread {
    name: String,
    does: Writing,
}

#[derive(Debug, Clone)]
enum Writing {
    Play(Vec<String>, Option<String>),
    Collect(AskFor, String, usize, Option<String>),
    Menu(AskFor, Vec<(String, String)>),
    Transfer(String, Option<String>),
    Hand(String),
    Hangup,
    Set(Vec<(String, String)>, Option<String>),
    Branch(String, Vec<(String, String)>, Option<String>),
    Http(String, UrlFields, Option<String>, Option<String>),
}

/// How a caller is asked, with prompts as text.
#[derive(Debug, Clone)]
pub struct AskFor {
    /// Files, `digits:${variable}`, `tone:440:500` (Hz, ms), `silence:500`.
    pub prompt: Vec<String>,
    pub plan: DigitPlan,
    pub tries: u32,
    pub no_input_prompt: Vec<String>,
    pub invalid_prompt: Vec<String>,
    /// The next node without input and with invalid input; `None` hangs up.
    pub no_input: Option<String>,
    pub invalid: Option<String>,
}

impl AskFor {
    /// Three tries with this prompt, then the call is hung up.
    pub fn new(prompt: &str, plan: DigitPlan) -> Self {
        AskFor {
            prompt: vec![prompt.to_owned()],
            plan,
            tries: 3,
            no_input_prompt: Vec::new(),
            invalid_prompt: Vec::new(),
            no_input: None,
            invalid: None,
        }
    }
}

/// The reason why a flow could not be built.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BuildError {
    #[error("node {node:?}: {error}")]
    Template { node: String, error: TemplateError },
    #[error("node {node:?}: {text:?} is not a prompt; {SAY}")]
    Say { node: String, text: String },
    #[error(transparent)]
    Flow(#[from] FlowError),
}

/// The syntax of a part of a prompt, for error messages.
pub const SAY: &str =
    "write a file's name, digits:${variable}, tone:440:500 (Hz, ms), tone:350+440:500 or silence:500 (ms)";

/// Parses a part of a prompt. `None` if it is malformed.
pub fn say(text: &str, prompts: &Prompts) -> Option<Result<Say, TemplateError>> {
    use b2b_call::controller::Part;
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

fn owned(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
    pairs.iter().map(|(one, other)| ((*one).to_owned(), (*other).to_owned())).collect()
}

impl FlowBuilder {
    pub(super) fn new(name: String) -> Self {
        FlowBuilder { name, start: None, nodes: Vec::new() }
    }

    fn node(mut self, name: &str, does: Writing) -> Self {
        self.nodes.push(Unread { name: name.to_owned(), does });
        self
    }

    /// Sets the start node; by default the first one.
    pub fn start(mut self, name: &str) -> Self {
        self.start = Some(name.to_owned());
        self
    }

    /// Plays a prompt; without a next node the call is then hung up.
    pub fn play_prompt(self, name: &str, prompt: &[&str], next: Option<&str>) -> Self {
        let prompt = prompt.iter().map(|text| (*text).to_owned()).collect();
        self.node(name, Writing::Play(prompt, next.map(str::to_owned)))
    }

    /// Collects digits, at least `least`, into this variable.
    pub fn collect_input(
        self,
        name: &str,
        ask: AskFor,
        variable: &str,
        least: usize,
        next: Option<&str>,
    ) -> Self {
        self.node(name, Writing::Collect(ask, variable.to_owned(), least, next.map(str::to_owned)))
    }

    /// A menu: a prompt, and nodes by the keys to press. Hangs up after three tries.
    pub fn menu(self, name: &str, prompt: &str, choices: &[(&str, &str)]) -> Self {
        self.menu_with(name, AskFor::new(prompt, DigitPlan::new(1)), choices)
    }

    /// A menu with all settings; the number of awaited keys follows from the choices.
    pub fn menu_with(self, name: &str, ask: AskFor, choices: &[(&str, &str)]) -> Self {
        self.node(name, Writing::Menu(ask, owned(choices)))
    }

    /// Dials a target (`user/1001`, `+4420…`, `sip:…`) for 30 s and bridges the caller with it.
    pub fn transfer(self, name: &str, to: &str, failed: Option<&str>) -> Self {
        self.node(name, Writing::Transfer(to.to_owned(), failed.map(str::to_owned)))
    }

    /// Hands the call to a queue.
    pub fn queue(self, name: &str, queue: &str) -> Self {
        self.application(name, &format!("queue/{queue}"))
    }

    /// Hands the call to a conference room.
    pub fn conference(self, name: &str, room: &str) -> Self {
        self.application(name, &format!("conference/{room}"))
    }

    /// Hands the call to a mailbox.
    pub fn voicemail(self, name: &str, mailbox: &str) -> Self {
        self.application(name, &format!("voicemail/{mailbox}"))
    }

    /// Hands the call to any application.
    pub fn application(self, name: &str, app: &str) -> Self {
        self.node(name, Writing::Hand(app.to_owned()))
    }

    /// Ends the call.
    pub fn hangup(self, name: &str) -> Self {
        self.node(name, Writing::Hangup)
    }

    /// Sets variables.
    pub fn set(self, name: &str, values: &[(&str, &str)], next: Option<&str>) -> Self {
        self.node(name, Writing::Set(owned(values), next.map(str::to_owned)))
    }

    /// Continues at the node of the first matching case; `+44*` matches a prefix.
    pub fn branch(self, name: &str, of: &str, cases: &[(&str, &str)], otherwise: Option<&str>) -> Self {
        self.node(name, Writing::Branch(of.to_owned(), owned(cases), otherwise.map(str::to_owned)))
    }

    /// Asks a URL for the next node.
    pub fn http(self, name: &str, url: &str, next: Option<&str>, failed: Option<&str>) -> Self {
        self.http_with(name, url, UrlFields::new(), next, failed)
    }

    /// As [`FlowBuilder::http`], with header fields, such as `Authorization`.
    pub fn http_with(
        self,
        name: &str,
        url: &str,
        fields: UrlFields,
        next: Option<&str>,
        failed: Option<&str>,
    ) -> Self {
        let (next, failed) = (next.map(str::to_owned), failed.map(str::to_owned));
        self.node(name, Writing::Http(url.to_owned(), fields, next, failed))
    }

    /// The flow, if it is consistent and every prompt file can be played. It reads the beginnings of the files.
    ///
    /// # Errors
    /// See [`BuildError`].
    pub fn build(self, prompts: &Prompts) -> Result<IvrFlow, BuildError> {
        let flow = self.read(prompts)?;
        check(&flow, prompts, &Prompts::check)?;
        Ok(flow)
    }

    /// As [`FlowBuilder::build`], without checking prompt files.
    ///
    /// # Errors
    /// See [`BuildError`].
    pub fn build_unchecked(self, prompts: &Prompts) -> Result<IvrFlow, BuildError> {
        let flow = self.read(prompts)?;
        check(&flow, prompts, &|_| Ok(()))?;
        Ok(flow)
    }

    fn read(self, prompts: &Prompts) -> Result<IvrFlow, BuildError> {
        let first = self.nodes.first().map(|node| node.name.clone());
        let nodes = self.nodes.into_iter().map(|node| node.read(prompts)).collect::<Result<_, _>>()?;
        let empty = || FlowError { node: None, problem: FlowProblem::Empty };
        let start = self.start.or(first).ok_or_else(empty)?;
        Ok(IvrFlow { name: self.name, start, nodes })
    }
}

impl Unread {
    fn read(self, prompts: &Prompts) -> Result<Node, BuildError> {
        let name = self.name;
        let template = |text: &str| {
            Template::new(text).map_err(|error| BuildError::Template { node: name.clone(), error })
        };
        let says = |texts: Vec<String>| -> Result<Vec<Say>, BuildError> {
            let one = |text: String| match say(&text, prompts) {
                Some(read) => read.map_err(|error| BuildError::Template { node: name.clone(), error }),
                None => Err(BuildError::Say { node: name.clone(), text }),
            };
            texts.into_iter().map(one).collect()
        };
        let asks = |ask: AskFor| -> Result<Ask, BuildError> {
            Ok(Ask {
                prompt: says(ask.prompt)?,
                plan: ask.plan,
                tries: ask.tries,
                no_input_prompt: says(ask.no_input_prompt)?,
                invalid_prompt: says(ask.invalid_prompt)?,
                no_input: ask.no_input,
                invalid: ask.invalid,
            })
        };
        let does = match self.does {
            Writing::Play(prompt, next) => Does::PlayPrompt { prompt: says(prompt)?, next },
            Writing::Collect(ask, variable, least, next) => {
                Does::CollectInput { ask: asks(ask)?, variable, least, next }
            }
            Writing::Menu(ask, choices) => menu(asks(ask)?, choices),
            Writing::Transfer(to, failed) => {
                Does::Transfer { to: template(&to)?, ring: None, early_media: true, failed }
            }
            Writing::Hand(app) => Does::Hand { app: template(&app)? },
            Writing::Hangup => Does::Hangup,
            Writing::Set(values, next) => {
                let values = values.into_iter().map(|(name, value)| Ok((name, template(&value)?)));
                Does::Set { values: values.collect::<Result<_, BuildError>>()?, next }
            }
            Writing::Branch(of, cases, otherwise) => {
                let cases = cases.into_iter().map(|(case, to)| (Case::new(&case), to)).collect();
                Does::Branch { of: template(&of)?, cases, otherwise }
            }
            Writing::Http(url, fields, next, failed) => {
                let (url, may_name) = (template(&url)?, Vec::new());
                Does::Http { url, fields, timeout: ANSWER, next, failed, may_name }
            }
        };
        Ok(Node { name, does })
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
