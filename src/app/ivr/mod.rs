//! IVR menus: prompts, key presses, and where they lead.
//!
//! - `flow`: nodes as data; `template`: `${caller}` in texts
//! - `check`: finds errors in a flow before it is used
//! - `machine`: a call on its way through a flow, without I/O
//! - `run`: the handler on the call model; `ask_url`: the questions to URLs, and their answers
//! - `mermaid`: the flow as a graph for people

mod ask_url;
#[cfg(test)]
mod builder;
mod check;
mod flow;
mod machine;
mod mermaid;
mod run;
mod template;

#[cfg(fuzzing)]
pub use ask_url::answer as read_answer;
pub use ask_url::{AskUrl, JSON, UrlAnswer, UrlFields, UrlQuestion};
pub use b2b_call::controller::DigitPlan;
pub use check::{FlowError, FlowProblem, check};
pub use flow::{ANSWER, Ask, Case, Does, IvrFlow, Next, Node, RING, SAY, Say, Way, menu, say};
pub use machine::{Came, Do, MOST_NODES, Machine, Told};
pub use run::Ivr;
pub use template::{Template, TemplateError, Variables};
