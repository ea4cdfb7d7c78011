//! What of a talk is published, for the call's account and subscribers: the event's name and data. `text` is what the
//! account shows; of utterances it has the numbers.

use serde_json::{Value, json};

use super::message::Told;
use b2b_base::util::lines::visible;

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
