//! Flows that tests write, node by node; a call begins at the first one.

use super::ask_url::UrlFields;
use super::check::{FlowError, check};
use super::flow::{ANSWER, Ask, Case, Does, IvrFlow, Node, Say, menu, say};
use super::template::Template;
use crate::prompts::Prompts;
use b2b_call::controller::DigitPlan;

#[derive(Debug, Clone)]
pub struct FlowBuilder(IvrFlow);

pub fn prompts() -> Prompts {
    Prompts::new("/p")
}

/// Three tries with this prompt, then the call is hung up.
pub fn ask(prompt: &str, plan: DigitPlan) -> Ask {
    Ask::new(says(&[prompt]), plan)
}

pub fn says(texts: &[&str]) -> Vec<Say> {
    let one = |text: &&str| say(text, &prompts()).expect("a prompt").expect("a template");
    texts.iter().map(one).collect()
}

fn template(text: &str) -> Template {
    Template::new(text).expect("a template")
}

fn owned(text: Option<&str>) -> Option<String> {
    text.map(str::to_owned)
}

impl IvrFlow {
    /// A builder for a flow of this name.
    pub fn builder(name: &str) -> FlowBuilder {
        FlowBuilder(IvrFlow { name: name.to_owned(), start: String::new(), nodes: Vec::new() })
    }
}

impl FlowBuilder {
    fn node(mut self, name: &str, does: Does) -> Self {
        self.0.nodes.push(Node { name: name.to_owned(), does });
        self
    }

    /// Sets the start node; by default the first one.
    pub fn start(mut self, name: &str) -> Self {
        self.0.start = name.to_owned();
        self
    }

    /// Plays a prompt; without a next node the call is then hung up.
    pub fn play_prompt(self, name: &str, prompt: &[&str], next: Option<&str>) -> Self {
        self.node(name, Does::PlayPrompt { prompt: says(prompt), next: owned(next) })
    }

    /// Collects digits, at least `least`, into this variable.
    pub fn collect_input(
        self,
        name: &str,
        ask: Ask,
        variable: &str,
        least: usize,
        next: Option<&str>,
    ) -> Self {
        let (variable, next) = (variable.to_owned(), owned(next));
        self.node(name, Does::CollectInput { ask, variable, least, next })
    }

    /// A menu: a prompt, and nodes by the keys to press. Hangs up after three tries.
    pub fn menu(self, name: &str, prompt: &str, choices: &[(&str, &str)]) -> Self {
        self.menu_with(name, ask(prompt, DigitPlan::new(1)), choices)
    }

    /// A menu with all settings; the number of awaited keys follows from the choices.
    pub fn menu_with(self, name: &str, ask: Ask, choices: &[(&str, &str)]) -> Self {
        let choices = choices.iter().map(|(keys, to)| ((*keys).to_owned(), (*to).to_owned()));
        self.node(name, menu(ask, choices.collect()))
    }

    /// Dials a target (`user/1001`, `+4420…`, `sip:…`) for 30 s and bridges the caller with it.
    pub fn transfer(self, name: &str, to: &str, failed: Option<&str>) -> Self {
        let failed = owned(failed);
        self.node(name, Does::Transfer { to: template(to), ring: None, early_media: true, failed })
    }

    /// Hands the call to a queue.
    pub fn queue(self, name: &str, queue: &str) -> Self {
        self.application(name, &format!("queue/{queue}"))
    }

    /// Hands the call to a mailbox.
    pub fn voicemail(self, name: &str, mailbox: &str) -> Self {
        self.application(name, &format!("voicemail/{mailbox}"))
    }

    /// Hands the call to any application.
    pub fn application(self, name: &str, app: &str) -> Self {
        self.node(name, Does::Hand { app: template(app) })
    }

    /// Ends the call.
    pub fn hangup(self, name: &str) -> Self {
        self.node(name, Does::Hangup)
    }

    /// Sets variables.
    pub fn set(self, name: &str, values: &[(&str, &str)], next: Option<&str>) -> Self {
        let values = values.iter().map(|(name, value)| ((*name).to_owned(), template(value)));
        self.node(name, Does::Set { values: values.collect(), next: owned(next) })
    }

    /// Continues at the node of the first matching case; `+44*` matches a prefix.
    pub fn branch(self, name: &str, of: &str, cases: &[(&str, &str)], otherwise: Option<&str>) -> Self {
        let cases = cases.iter().map(|(case, to)| (Case::new(case), (*to).to_owned()));
        let (cases, otherwise) = (cases.collect(), owned(otherwise));
        self.node(name, Does::Branch { of: template(of), cases, otherwise })
    }

    /// Asks a URL for the next node.
    pub fn http(self, name: &str, url: &str, next: Option<&str>, failed: Option<&str>) -> Self {
        let (url, next, failed) = (template(url), owned(next), owned(failed));
        let (fields, timeout, may_name) = (UrlFields::new(), ANSWER, Vec::new());
        self.node(name, Does::Http { url, fields, timeout, next, failed, may_name })
    }

    /// The flow, if it is consistent; prompt files are not checked.
    pub fn build(mut self) -> Result<IvrFlow, FlowError> {
        if self.0.start.is_empty() {
            self.0.start = self.0.nodes.first().map(|node| node.name.clone()).unwrap_or_default();
        }
        check(&self.0, &prompts(), &|_| Ok(()))?;
        Ok(self.0)
    }
}
