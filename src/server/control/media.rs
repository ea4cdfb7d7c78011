//! Commands that are verbs for a leg's media, and the verbs that undo them. No I/O.

use std::time::Duration;

use super::command::{Command, Digits};
use b2b_app::Prompts;
use b2b_call::controller::{DigitPlan, EndpointId, Music, Verb};

const OF_LEG: EndpointId = EndpointId::OF_LEG;

/// A setting of a party's media that stays when its command is done.
#[derive(Debug, Clone, PartialEq)]
pub struct Setting {
    /// Sets it as it usually is.
    pub usual: Verb,
    /// Whether the command has changed it.
    pub is_changed: bool,
}

impl Command {
    /// The verb that it is; `None`: it is something else.
    pub(super) fn verb(&self, prompts: &Prompts) -> Option<Verb> {
        Some(match self {
            Command::Play { sound, times } => {
                Verb::Play { endpoint: OF_LEG, prompt: sound.prompt(prompts, *times) }
            }
            Command::StopPlaying {} => Verb::StopPrompt { endpoint: OF_LEG },
            Command::Collect { digits } => {
                Verb::Collect { endpoint: OF_LEG, prompt: None, plan: plan(digits, true) }
            }
            Command::PlayAndCollect { sound, times, barge_in, digits } => {
                let prompt = Some(sound.prompt(prompts, *times));
                Verb::Collect { endpoint: OF_LEG, prompt, plan: plan(digits, *barge_in) }
            }
            Command::StopCollecting {} => Verb::StopCollecting { endpoint: OF_LEG },
            Command::HearTones { on } => Verb::HearTones { endpoint: OF_LEG, on: Some(*on) },
            Command::Music { class } => {
                Verb::StartMoh { endpoint: OF_LEG, class: Music::Named(class.clone()) }
            }
            Command::StopMusic {} => Verb::StopMoh { endpoint: OF_LEG },
            Command::Echo { on } => Verb::Echo { endpoint: OF_LEG, on: *on },
            _ => return None,
        })
    }

    /// The setting that it is.
    pub fn setting(&self) -> Option<Setting> {
        match self {
            Command::Echo { on } => {
                Some(Setting { usual: Verb::Echo { endpoint: OF_LEG, on: false }, is_changed: *on })
            }
            // Tones may be digits by configuration.
            Command::HearTones { .. } => {
                Some(Setting { usual: Verb::HearTones { endpoint: OF_LEG, on: None }, is_changed: true })
            }
            _ => None,
        }
    }

    /// The verbs that end or undo it.
    pub(super) fn undoing(&self) -> Vec<Verb> {
        let (prompt, digits) =
            (Verb::StopPrompt { endpoint: OF_LEG }, Verb::StopCollecting { endpoint: OF_LEG });
        match self {
            Command::Play { .. } => vec![prompt],
            Command::Collect { .. } => vec![digits],
            Command::PlayAndCollect { .. } => vec![digits, prompt],
            _ => self.setting().filter(|it| it.is_changed).map(|it| it.usual).into_iter().collect(),
        }
    }
}

fn plan(digits: &Digits, barge_in: bool) -> DigitPlan {
    DigitPlan {
        max: digits.max,
        terminators: digits.terminators.clone(),
        first: Duration::from_secs_f64(digits.first_s),
        between: Duration::from_secs_f64(digits.between_s),
        total: Duration::from_secs_f64(digits.total_s),
        barge_in,
        type_ahead: digits.type_ahead,
        secret: digits.secret,
    }
}
