//! Twilio's Media Streams, both directions (`<Connect><Stream>`). Source: twilio.com/docs/voice/media-streams/
//! websocket-messages, read in 2026-11; the public documents decide where programs and they differ.
//!
//! | we send | when |
//! |---|---|
//! | `connected`, `start` | at the beginning |
//! | `media` | every 20 ms: µ-law at 8 kHz in base64, `timestamp` in ms since the beginning |
//! | `dtmf` | the party has pressed a key |
//! | `mark` | what came before the program's mark has been played, or was cleared |
//! | `stop` | at the end |
//!
//! | it sends | meaning |
//! |---|---|
//! | `media` | audio, of any length |
//! | `mark` | report when everything before it has been played |
//! | `clear` | discard what is queued |
//!
//! Numbers are texts, and all but `connected` have `sequenceNumber`, from 1, and `streamSid`. That of a program's
//! message is not needed: a WebSocket has one stream.

use std::borrow::Cow;
use std::collections::BTreeMap;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;
use serde_json::{Map, Value, json};
use tokio_tungstenite::tungstenite::Message;

use super::{Dialect, Meaning, Sids};
use crate::voice::message::{Said, Start, Told};
use crate::voice::session::{Allowance, Mistake};
use b2b_app::voice_agent::Encoding;

/// How much audio Twilio queues, s (twilio.com/docs/api/errors/31931).
const QUEUE_S: usize = 600;
/// Octets of a millisecond.
const PER_MS: u64 = 8;

/// See the module documentation.
pub struct Twilio {
    sids: Sids,
    /// Those of the webhook; `None`: the call's variables.
    parameters: Option<BTreeMap<String, String>>,
    /// Numbers of the last message, and of the last frame.
    sequence: u64,
    chunk: u64,
    /// Octets of the frames so far.
    sent: u64,
}

/// A program's message. Fields that it has beside these are ignored.
#[derive(Debug, Deserialize)]
#[serde(tag = "event", rename_all = "lowercase")]
enum Event<'a> {
    Media {
        #[serde(borrow)]
        media: Media<'a>,
    },
    Mark {
        mark: Mark,
    },
    Clear {},
}

#[derive(Debug, Deserialize)]
struct Media<'a> {
    #[serde(borrow)]
    payload: Cow<'a, str>,
}

#[derive(Debug, Deserialize)]
struct Mark {
    name: String,
}

impl Twilio {
    /// The stream with these identifiers.
    pub fn new(sids: Sids, parameters: Option<BTreeMap<String, String>>) -> Twilio {
        Twilio { sids, parameters, sequence: 0, chunk: 0, sent: 0 }
    }

    /// A numbered message, with an object of its own name.
    fn message(&mut self, event: &str, what: Value) -> Message {
        self.sequence += 1;
        let mut fields = Map::new();
        fields.insert("event".into(), event.into());
        fields.insert("sequenceNumber".into(), self.sequence.to_string().into());
        fields.insert(event.into(), what);
        fields.insert("streamSid".into(), self.sids.stream.as_str().into());
        Message::Text(Value::Object(fields).to_string().into())
    }
}

impl Dialect for Twilio {
    fn allowance(&self) -> Allowance {
        Allowance { queue_s: QUEUE_S, ..Allowance::of_text(Encoding::Pcmu) }
    }

    fn begin(&mut self, start: Start) -> Vec<Message> {
        let Sids { account, call, stream } = self.sids.clone();
        let mut parameters = self.parameters.take().unwrap_or(start.variables);
        parameters.entry("b2b_call".to_owned()).or_insert_with(|| start.call.to_string());
        let connected = json!({ "event": "connected", "protocol": "Call", "version": "1.0.0" });
        let what = json!({
            "accountSid": account,
            "streamSid": stream,
            "callSid": call,
            "tracks": ["inbound"],
            "mediaFormat": { "encoding": "audio/x-mulaw", "sampleRate": 8_000, "channels": 1 },
            "customParameters": parameters,
        });
        vec![Message::Text(connected.to_string().into()), self.message("start", what)]
    }

    fn audio(&mut self, octets: Vec<u8>) -> Message {
        let timestamp = self.sent / PER_MS;
        self.chunk += 1;
        self.sent += octets.len() as u64;
        let what = json!({
            "track": "inbound",
            "chunk": self.chunk.to_string(),
            "timestamp": timestamp.to_string(),
            "payload": STANDARD.encode(octets),
        });
        self.message("media", what)
    }

    fn told(&mut self, told: &Told) -> Option<Message> {
        match told {
            Told::Mark { name, .. } => Some(self.message("mark", json!({ "name": name }))),
            Told::Dtmf { digit } => {
                let what = json!({ "track": "inbound_track", "digit": digit.to_string() });
                Some(self.message("dtmf", what))
            }
            Told::Stop { .. } => {
                let what = json!({ "accountSid": self.sids.account, "callSid": self.sids.call });
                Some(self.message("stop", what))
            }
            // It has none; they are counted, and the first of each kind is in the log.
            Told::Start(_)
            | Told::Audio { .. }
            | Told::Answered {}
            | Told::Lost { .. }
            | Told::Dropped { .. }
            | Told::Secret { .. }
            | Told::Speech { .. }
            | Told::Silent { .. }
            | Told::Utterance { .. }
            | Told::Consult { .. }
            | Told::Error { .. } => None,
        }
    }

    fn text<'a>(&mut self, text: &'a str, _: usize) -> Result<Meaning<'a>, Mistake> {
        let junk = |error: &dyn std::fmt::Display| Mistake::Junk(error.to_string());
        Ok(match serde_json::from_str(text).map_err(|error| junk(&error))? {
            Event::Media { media } => {
                let octets =
                    STANDARD.decode(media.payload.trim().as_bytes()).map_err(|error| junk(&error))?;
                Meaning::Audio(octets.into())
            }
            Event::Mark { mark } => Meaning::Request(Said::Mark { name: mark.name }.into()),
            Event::Clear {} => Meaning::Request(Said::Clear {}.into()),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stream() -> Twilio {
        let sid = |kind: &str| format!("{kind}{}", "0".repeat(32));
        Twilio::new(Sids { account: sid("AC"), call: sid("CA"), stream: sid("MZ") }, None)
    }

    fn json_of(message: &Message) -> Value {
        serde_json::from_str(message.to_text().unwrap()).unwrap()
    }

    #[test]
    fn a_stream_begins_with_connected_and_start_and_numbers_are_texts() {
        let mut stream = stream();
        let variables = [("from".to_owned(), "1001".to_owned())].into();
        let begin: Vec<_> =
            stream.begin(Start { variables, ..Start::default() }).iter().map(json_of).collect();
        assert_eq!(begin[0], json!({ "event": "connected", "protocol": "Call", "version": "1.0.0" }));
        let sid = |kind: &str| format!("{kind}{}", "0".repeat(32));
        let start = json!({
            "event": "start", "sequenceNumber": "1", "streamSid": sid("MZ"),
            "start": {
                "accountSid": sid("AC"), "streamSid": sid("MZ"), "callSid": sid("CA"), "tracks": ["inbound"],
                "mediaFormat": { "encoding": "audio/x-mulaw", "sampleRate": 8000, "channels": 1 },
                "customParameters": { "from": "1001", "b2b_call": "0" },
            },
        });
        assert_eq!(begin[1], start);
        let media: Vec<_> = (0..2).map(|_| json_of(&stream.audio(vec![0xFF; 160]))).collect();
        assert_eq!((&media[1]["sequenceNumber"], &media[1]["streamSid"]), (&json!("3"), &json!(sid("MZ"))));
        let inside = json!({ "track": "inbound", "chunk": "2", "timestamp": "20", "payload": STANDARD.encode([0xFF; 160]) });
        assert_eq!(media[1]["media"], inside);
    }

    #[test]
    fn a_mark_comes_back_whether_it_was_played_or_cleared() {
        for played in [true, false] {
            let told =
                stream().told(&Told::Mark { name: "a".into(), played }).map(|it| json_of(&it)).unwrap();
            assert_eq!((&told["event"], &told["mark"]), (&json!("mark"), &json!({ "name": "a" })));
        }
        assert_eq!(stream().told(&Told::Lost { ms: 40 }), None);
    }

    #[test]
    fn what_a_program_sends_is_understood_whatever_else_stands_in_it() {
        fn read(text: &str) -> Result<Meaning<'_>, Mistake> {
            stream().text(text, 0)
        }
        let payload = STANDARD.encode([1, 2, 3]);
        let media = json!({ "event": "media", "streamSid": "MZ1", "media": { "payload": payload, "track": "outbound" } });
        assert_eq!(read(&media.to_string()), Ok(Meaning::Audio(vec![1, 2, 3].into())));
        let mark = r#"{"event":"mark","streamSid":"MZ1","mark":{"name":"a"}}"#;
        assert_eq!(read(mark), Ok(Meaning::Request(Said::Mark { name: "a".into() }.into())));
        let clear = r#"{"streamSid":"MZ1","event":"clear"}"#;
        assert_eq!(read(clear), Ok(Meaning::Request(Said::Clear {}.into())));
        for text in [
            "",
            "[]",
            r#"{"event":"dance"}"#,
            r#"{"event":"media","media":{"payload":"?"}}"#,
            r#"{"event":"mark"}"#,
        ] {
            assert!(matches!(read(text), Err(Mistake::Junk(_))), "{text}");
        }
    }
}
