//! Observations of a phone: from its own events, and from the server's control interface.

use serde_json::Value;

use super::watch::Seen;
use crate::config::scene::Scene;

/// The observations of a phone.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Figures {
    /// Ended calls.
    pub calls: u64,
    /// Answered calls.
    pub answered: u64,
    /// Answered calls that ended as expected.
    pub completed: u64,
    /// States of its calls, in order.
    pub states: Vec<String>,
    /// The audio that it heard, in order.
    pub heard: Vec<String>,
    /// How often it heard its position in a queue.
    pub positions: u64,
    /// The agents that it was connected to.
    pub agents: Vec<String>,
    /// The targets of its transfers.
    pub transfers: Vec<String>,
    /// Highest loss of its calls, percent.
    pub loss_pct: Option<f64>,
    /// Lowest MOS of its calls.
    pub mos: Option<f64>,
    /// The failed step and the reason.
    pub failed: Option<String>,
}

/// The meaning of a phone's line for the other processes and the user.
#[derive(Debug, Clone, PartialEq)]
pub enum News {
    /// A line to print.
    Line(String),
    /// A line to print, and a cue for the processes that wait for it.
    Cue(String, String),
    /// A line to print as an error.
    Failed(String),
}

impl Figures {
    /// Processes a line of the phone; `None` if it is not of interest.
    pub fn event(&mut self, line: &Value, scene: &Scene) -> Option<News> {
        let text = |name: &str| line[name].as_str().unwrap_or_default().to_owned();
        match line["event"].as_str()? {
            "step" => {
                let step = format!("step {} `{}`", line["n"], text("step"));
                if line["ok"] != true {
                    let failed = format!("{step}: {}", text("cause"));
                    self.failed = Some(failed.clone());
                    return Some(News::Failed(failed));
                }
                for hz in line["heard_hz"].as_array().into_iter().flatten().filter_map(Value::as_f64) {
                    self.hears(hz, scene);
                }
                if let Some(to) = line["transferred_to"].as_str() {
                    self.transfers.push(to.to_owned());
                }
                let said =
                    format!("{step}: done after {:.1} s", line["took_ms"].as_f64().unwrap_or(0.0) / 1e3);
                Some(match line["cue"].as_str() {
                    Some(cue) => News::Cue(cue.to_owned(), said),
                    None => News::Line(said),
                })
            }
            "summary" => {
                self.calls += 1;
                self.answered += u64::from(line["answered"] == true);
                self.completed += u64::from(line["answered"] == true && line["exit"] == 0);
                let quality = &line["quality"];
                let worse = |old: Option<f64>, new: &Value, pick: fn(f64, f64) -> f64| {
                    new.as_f64().map(|new| old.map_or(new, |old| pick(old, new))).or(old)
                };
                self.loss_pct = worse(self.loss_pct, &quality["loss_pct"], f64::max);
                self.mos = worse(self.mos, &quality["mos"], f64::min);
                let seconds = line["duration_ms"].as_f64().unwrap_or(0.0) / 1e3;
                Some(News::Line(format!("a call is over after {seconds:.1} s: {}", text("cause"))))
            }
            _ => None,
        }
    }

    /// Maps a tone to its origin: another phone, a prompt, or an unknown tone.
    fn hears(&mut self, hz: f64, scene: &Scene) {
        let phone = scene.phones.iter().find(|phone| phone.says == Some(hz)).map(|phone| phone.name.clone());
        let prompt = scene.prompts.iter().find(|prompt| prompt.hz == hz).map(|prompt| prompt.name.as_str());
        let prompt = prompt.and_then(|name| name.strip_suffix(".wav"));
        let position = prompt.and_then(|name| name.strip_prefix("digits/"));
        self.positions += u64::from(position.is_some());
        let prompt = position.map(|digit| format!("position {digit}")).or(prompt.map(str::to_owned));
        let what = phone.or(prompt).unwrap_or_else(|| format!("{hz} Hz"));
        if self.heard.last() != Some(&what) {
            self.heard.push(what);
        }
    }

    /// Processes the server's list of calls; `account`: the phone's account.
    pub fn seen(&mut self, calls: &[Seen], account: &str) {
        for call in calls.iter().filter(|call| call.users.iter().any(|user| user == account)) {
            if self.states.last() != Some(&call.state) {
                self.states.push(call.state.clone());
            }
            if let Some(agent) = call.agent.as_ref().filter(|agent| !self.agents.contains(agent)) {
                self.agents.push(agent.clone());
            }
        }
    }
}
