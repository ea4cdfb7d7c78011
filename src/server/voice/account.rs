//! What of a talk is published, for the call's account and subscribers: the event's name and data. `text` is what the
//! account shows; of utterances it has the numbers.

use serde_json::{Value, json};

use super::message::Told;
use b2b_base::util::lines::visible;
use b2b_call::controller::Levels;

/// Levels that are published together: those of ten seconds.
const TOGETHER: usize = 50;

/// The levels of a talk that are not published yet.
#[derive(Default)]
pub struct Loudness {
    party: String,
    agent: String,
    /// The first second was published, by which the account dates the others.
    is_dated: bool,
}

impl Loudness {
    /// Adds the levels of a second.
    pub fn add(&mut self, levels: &Levels) {
        let digits = |levels: &[u8]| {
            levels.iter().filter_map(|it| char::from_digit((*it).into(), 16)).collect::<String>()
        };
        self.party += &digits(&levels.party);
        self.agent += &digits(&levels.outside);
    }

    /// The data of the event with the first second, or with ten; with `anyway`, the last ones.
    pub fn take(&mut self, anyway: bool) -> Option<Value> {
        let least = if anyway || !self.is_dated { 1 } else { TOGETHER };
        (self.party.len() >= least).then(|| {
            let dated = Loudness { is_dated: !anyway, ..Loudness::default() };
            let Loudness { party, agent, .. } = std::mem::replace(self, dated);
            json!({ "levels": { "step_ms": Levels::STEP_MS, "party": party, "agent": agent } })
        })
    }
}

/// The event that goes with a message to the client.
pub fn event(told: &Told) -> Option<(&'static str, Value)> {
    Some(match told {
        Told::Mark { name, played } => {
            (if *played { "played" } else { "not_played" }, json!({ "mark": visible(name) }))
        }
        Told::Utterance { state: "begun", utterance, response_ms, .. } => {
            let text = response_ms.map(|ms| format!("{ms} ms after the party"));
            ("speaks", json!({ "utterance": utterance, "response_ms": response_ms, "text": text }))
        }
        Told::Utterance {
            state: "interrupted",
            utterance,
            sent_ms: Some(sent),
            heard_ms: Some([least, most]),
            ..
        } => {
            let text = format!("utterance {utterance}, {least} to {most} of {sent} ms were heard");
            let heard = [least, most];
            (
                "interrupted",
                json!({ "utterance": utterance, "sent_ms": sent, "heard_ms": heard, "text": text }),
            )
        }
        Told::Utterance { state: "sent", utterance, sent_ms, .. } => {
            ("spoken", json!({ "utterance": utterance, "sent_ms": sent_ms }))
        }
        Told::Utterance { state: "cleared", utterance, sent_ms, .. } => {
            ("cut", json!({ "utterance": utterance, "sent_ms": sent_ms }))
        }
        Told::Silent { heard_before } => {
            let since = if *heard_before { "for five seconds" } else { "since its first packet" };
            let text = format!("the party has sent digital silence {since}");
            ("silent", json!({ "heard_before": heard_before, "text": text }))
        }
        _ => return None,
    })
}
