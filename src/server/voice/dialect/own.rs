//! The protocol of b2b: `docs/voice-agents.md` is its manual. For programs without binary messages all of it is JSON, with
//! the audio in base64; `GET /asyncapi.json` has the schema.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;
use tokio_tungstenite::tungstenite::Message;

use super::{Dialect, Meaning};
use crate::voice::message::{Said, Start, Told};
use crate::voice::session::{Allowance, Mistake};
use b2b_app::voice_agent::Encoding;

/// The protocol has no state.
pub struct Own {
    encoding: Encoding,
    /// Whether audio is JSON, too.
    json: bool,
}

/// A request, and what is wrong with it all the same.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reading {
    pub said: Said,
    pub mistake: Option<Mistake>,
}

impl From<Said> for Reading {
    fn from(said: Said) -> Reading {
        Reading { said, mistake: None }
    }
}

impl Own {
    /// The protocol with audio coded so.
    pub fn new(encoding: Encoding) -> Own {
        Own { encoding, json: false }
    }

    /// The same, all of it as JSON.
    pub fn json(encoding: Encoding) -> Own {
        Own { encoding, json: true }
    }

    /// The request in a text.
    ///
    /// # Errors
    /// If there is none.
    pub fn read(text: &str) -> Result<Reading, Mistake> {
        let object: Value = serde_json::from_str(text).map_err(|error| Mistake::Junk(error.to_string()))?;
        Own::read_json(&object)
    }

    /// The request in an object.
    ///
    /// # Errors
    /// If there is none.
    pub fn read_json(object: &Value) -> Result<Reading, Mistake> {
        let (said, extra) = Said::read(object).map_err(|error| Mistake::Junk(error.to_string()))?;
        let mistake = extra.map(|name| Mistake::Field(format!("unknown field, ignored: {name}")));
        Ok(Reading { said, mistake })
    }
}

impl Dialect for Own {
    fn allowance(&self) -> Allowance {
        if self.json { Allowance::of_text(self.encoding) } else { Allowance::own(self.encoding) }
    }

    fn begin(&mut self, start: Start) -> Vec<Message> {
        vec![Message::Text(Told::Start(Box::new(start)).text().into())]
    }

    fn audio(&mut self, octets: Vec<u8>) -> Message {
        match self.json {
            true => Message::Text(Told::Audio { payload: STANDARD.encode(octets) }.text().into()),
            false => Message::Binary(octets.into()),
        }
    }

    fn told(&mut self, told: &Told) -> Option<Message> {
        Some(Message::Text(told.text().into()))
    }

    fn text<'a>(&mut self, text: &'a str, _: usize) -> Result<Meaning<'a>, Mistake> {
        match Own::read(text)? {
            Reading { said: Said::Audio { payload }, .. } if self.json => {
                let octets =
                    STANDARD.decode(payload.trim()).map_err(|error| Mistake::Junk(error.to_string()))?;
                Ok(Meaning::Audio(octets.into()))
            }
            reading => Ok(Meaning::Request(reading)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn as_json_audio_is_a_text_in_base64_and_otherwise_it_is_binary() {
        let text = r#"{"type":"audio","payload":"AQID"}"#;
        let mut json = Own::json(Encoding::Pcmu);
        assert_eq!(json.audio(vec![1, 2, 3]), Message::Text(text.into()));
        assert_eq!(json.text(text, 0), Ok(Meaning::Audio(vec![1, 2, 3].into())));
        assert!(json.text(r#"{"type":"audio","payload":"?"}"#, 0).is_err());
        let mut own = Own::new(Encoding::Pcmu);
        assert_eq!(own.audio(vec![1, 2, 3]), Message::Binary(vec![1, 2, 3].into()));
        let said = Said::Audio { payload: "AQID".into() };
        assert_eq!(own.text(text, 0), Ok(Meaning::Request(said.into())), "which a session ignores");
    }
}
