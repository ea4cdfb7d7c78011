//! Messages beside audio on a voice agent's WebSocket, as JSON text; audio is binary: L16, samples of 16
//! bits, little-endian, one channel, or G.711.
//!
//! RTP's L16 is big-endian (RFC 3551 §4.5.11). Here it is little-endian, since that is the form in the memory
//! of programs and in WAV files, and the one that speech software takes, and nothing on this path is RTP.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::ToSchema;

use b2b_app::voice_agent::Encoding;
use b2b_call::controller::{Interrupted, StreamEnd, StreamEvent, StreamSpec, Turn};

/// A client's message. It is serialised only to learn its fields.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize, ToSchema)]
#[serde(tag = "type", rename_all = "snake_case")]
#[schema(as = VoiceRequest)]
pub enum Said {
    /// Audio in base64, of any length; only with `protocol = "json"`, otherwise it is binary.
    Audio { payload: String },
    /// Requests a `mark` in return when everything sent before it has been played.
    Mark { name: String },
    /// Drops all audio that is queued for playback.
    Clear {},
    /// Plays what is queued, then ends the stream. A voice agent may name a target for its caller.
    Stop {
        #[serde(default)]
        transfer: Option<String>,
        /// Header fields of the INVITE to the target, whose names begin with `X-`.
        #[serde(default)]
        #[schema(value_type = BTreeMap<String, String>)]
        headers: BTreeMap<String, Value>,
    },
    /// Calls somebody about the caller, who hears music meanwhile. A `stop` connects both once they have answered.
    Consult {
        to: String,
        /// As those of `stop`.
        #[serde(default)]
        #[schema(value_type = BTreeMap<String, String>)]
        headers: BTreeMap<String, Value>,
    },
    /// Hangs up who is consulted: the voice agent is back with its caller.
    Return {},
    /// Sends digits to the party.
    Dtmf {
        digits: String,
        #[serde(default)]
        ms: Option<u32>,
    },
    /// While it is on, keys that the party presses are shown to nobody but the voice agent, and recordings pause.
    Secret { on: bool },
}

impl Said {
    /// The message, and a field of the object that such a message does not have.
    ///
    /// # Errors
    /// If it is no such message.
    pub fn read(object: &Value) -> serde_json::Result<(Said, Option<&str>)> {
        let said = Said::deserialize(object)?;
        let known = serde_json::to_value(&said)?;
        let extra = object.as_object().and_then(|it| it.keys().find(|name| known.get(name).is_none()));
        Ok((said, extra.map(String::as_str)))
    }
}

/// A server's message.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
#[serde(tag = "type", rename_all = "snake_case")]
#[schema(as = VoiceEvent)]
pub enum Told {
    Start(Box<Start>),
    /// A frame of the party's audio, in base64; only with `protocol = "json"`, otherwise it is binary.
    Audio {
        payload: String,
    },
    /// `played`: whether everything before the mark was played; otherwise it was cleared.
    Mark {
        name: String,
        played: bool,
    },
    /// A digit that the party has pressed.
    Dtmf {
        digit: char,
    },
    /// The party of an `early` stream has answered, and hears the client from now on.
    Answered {},
    /// Duration of the party's audio that was dropped because the client did not read.
    Lost {
        ms: u64,
    },
    /// Duration of the client's audio that is not played because more than a minute was queued: the oldest.
    Dropped {
        ms: u64,
    },
    /// The party has begun to speak, or has stopped, after `ms`; b2b notices the end after 0.6 s.
    Speech {
        on: bool,
        #[serde(skip_serializing_if = "Option::is_none")]
        ms: Option<u32>,
    },
    /// The party has sent digital silence for five seconds in which the client spoke: since its first packet, or after
    /// sound.
    Silent {
        heard_before: bool,
    },
    /// How far an utterance of the client has got. It begins after a second without audio, after a `clear`, and after the
    /// party has spoken; times are positions in it, without silence that b2b fills in.
    Utterance {
        /// Its number in this stream, from 1.
        utterance: u32,
        /// `begun`: its first packet was sent; `sent`: all of it was; `cleared`; `interrupted`: the party has begun to
        /// speak before it had heard all of it.
        state: &'static str,
        /// After `begun`: how long after the end of the party's speech.
        #[serde(skip_serializing_if = "Option::is_none")]
        response_ms: Option<u32>,
        /// How much of it was sent.
        #[serde(skip_serializing_if = "Option::is_none")]
        sent_ms: Option<u64>,
        /// How much of it had arrived as of the party's last RTCP report, if that was about this utterance.
        #[serde(skip_serializing_if = "Option::is_none")]
        arrived_ms: Option<u64>,
        /// After `interrupted`: how much of it the party had heard, at least and at most.
        #[serde(skip_serializing_if = "Option::is_none")]
        heard_ms: Option<[u64; 2]>,
    },
    /// How far a `consult` has got: `calling`, `answered`, `refused`, `failed`, `ended`, `returned`. From `answered` on
    /// audio is that of who is consulted, after the last three that of the caller again.
    Consult {
        state: &'static str,
        /// Why, after `refused` and `failed`.
        #[serde(skip_serializing_if = "Option::is_none")]
        error: Option<String>,
    },
    /// The answer to `secret`, once it is so.
    Secret {
        on: bool,
    },
    /// A mistake of the client, told once for each kind.
    Error {
        reason: &'static str,
        error: String,
    },
    /// The stream is over; the server closes the WebSocket, unless other streams are on it.
    Stop {
        reason: String,
        /// The client's fault, in words, where it is reported here and not by closing.
        #[serde(skip_serializing_if = "Option::is_none")]
        error: Option<String>,
    },
}

/// The first message.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, ToSchema)]
#[schema(as = VoiceStart)]
pub struct Start {
    /// The version of this protocol.
    pub version: u32,
    pub call: u64,
    pub leg: u64,
    /// The name of the voice agent; none: the client has connected to us.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub agent: Option<String>,
    pub caller: String,
    pub called: String,
    /// `outbound`: b2b has called the party, whose number is `caller` all the same; none: the client has connected to us.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub direction: Option<&'static str>,
    pub format: Format,
    /// Whether the client's audio is played.
    pub speaks: bool,
    /// Header fields of the caller's INVITE whose names begin with `X-`.
    pub headers: BTreeMap<String, String>,
    /// The call's variables.
    pub variables: BTreeMap<String, String>,
    /// The connection was made again: for how long the agent has had the caller, ms.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub resumed_ms: Option<u64>,
    /// The party has not answered yet: this is its early media, and it hears nothing until `answered`.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub early: bool,
}

/// The audio format, in both directions.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, ToSchema)]
#[schema(as = VoiceFormat)]
pub struct Format {
    pub encoding: &'static str,
    pub byte_order: &'static str,
    pub channels: u8,
    pub rate_hz: u32,
    /// The server's frame duration; a client may send any whole number of samples.
    pub frame_ms: u32,
    /// Not with opus, where each message is a packet.
    #[serde(skip_serializing_if = "is_zero")]
    pub frame_octets: usize,
}

impl Format {
    /// The format of a stream whose audio is coded so.
    pub fn of(spec: StreamSpec, encoding: Encoding) -> Self {
        Format {
            encoding: encoding.name(),
            byte_order: "little",
            channels: 1,
            rate_hz: spec.rate_hz,
            frame_ms: spec.frame_ms,
            frame_octets: spec.frame() * encoding.octets(),
        }
    }
}

fn is_zero(octets: &usize) -> bool {
    *octets == 0
}

impl Told {
    /// The message for the end of a stream.
    pub fn end(why: StreamEnd) -> Told {
        Told::Stop { reason: why.as_str().to_owned(), error: None }
    }

    /// The message for an event of a stream with this rate; `None`: it is only for the account.
    ///
    /// # Errors
    /// The reason, if the event is the stream's end.
    pub fn of(event: StreamEvent, rate_hz: u32) -> Option<Result<Told, StreamEnd>> {
        Some(Ok(match event {
            StreamEvent::Digit(digit) => Told::Dtmf { digit },
            StreamEvent::Mark { name, played } => Told::Mark { name, played },
            StreamEvent::Turn(turn) => Told::turn(turn, rate_hz),
            StreamEvent::Lost { samples } => Told::Lost { ms: samples * 1_000 / u64::from(rate_hz) },
            StreamEvent::Levels(_) => return None,
            StreamEvent::Ended(why) => return Some(Err(why)),
        }))
    }

    fn turn(turn: Turn, rate_hz: u32) -> Told {
        let ms = |samples: u64| samples * 1_000 / u64::from(rate_hz);
        let told = |utterance, state, sent_ms, response_ms| {
            let (arrived_ms, heard_ms) = (None, None);
            Told::Utterance { utterance, state, response_ms, sent_ms, arrived_ms, heard_ms }
        };
        match turn {
            Turn::Speaks => Told::Speech { on: true, ms: None },
            Turn::Hushes { ms } => Told::Speech { on: false, ms: Some(ms) },
            Turn::Silent { heard_before } => Told::Silent { heard_before },
            Turn::Utters { utterance, response_ms } => told(utterance, "begun", None, response_ms),
            Turn::Uttered { utterance, sent } => told(utterance, "sent", Some(ms(sent)), None),
            Turn::Cut { utterance, sent } => told(utterance, "cleared", Some(ms(sent)), None),
            Turn::Interrupted(Interrupted { utterance, sent, arrived, heard: [least, most] }) => {
                Told::Utterance {
                    utterance,
                    state: "interrupted",
                    response_ms: None,
                    sent_ms: Some(ms(sent)),
                    arrived_ms: arrived.map(ms),
                    // Rounded outwards.
                    heard_ms: Some([ms(least), ms(most + u64::from(rate_hz) / 1_000 - 1)]),
                }
            }
        }
    }

    /// The message as JSON text.
    pub fn text(&self) -> String {
        // Strings, numbers and maps of strings: this cannot fail.
        serde_json::to_string(self).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stop(transfer: Option<&str>) -> Said {
        Said::Stop { transfer: transfer.map(str::to_owned), headers: BTreeMap::new() }
    }

    #[test]
    fn what_a_client_says_is_read_and_what_it_does_not_mean_is_not() {
        let read = |text: &str| Some(Said::read(&serde_json::from_str(text).ok()?).ok()?.0);
        assert_eq!(read(r#"{"type":"mark","name":"a"}"#), Some(Said::Mark { name: "a".into() }));
        assert_eq!(read(r#"{"type":"clear"}"#), Some(Said::Clear {}));
        assert_eq!(read(r#"{"type":"stop"}"#), Some(stop(None)));
        assert_eq!(read(r#"{"type":"stop","transfer":"1001"}"#), Some(stop(Some("1001"))));
        let dtmf = Said::Dtmf { digits: "1#".into(), ms: None };
        assert_eq!(read(r#"{"type":"dtmf","digits":"1#"}"#), Some(dtmf));
        for text in [
            "",
            "[]",
            "{}",
            r#"{"type":"start"}"#,
            r#"{"type":"mark"}"#,
            r#"{"type":"mark","name":7}"#,
            r#"{"type":"dtmf","digits":1}"#,
        ] {
            assert_eq!(read(text), None, "{text}");
        }
    }

    #[test]
    fn a_field_that_a_message_does_not_have_is_named_and_the_message_holds() {
        for (text, said, field) in [
            (r#"{"type":"clear","when":"now"}"#, Said::Clear {}, Some("when")),
            (r#"{"type":"mark","name":"a","id":7}"#, Said::Mark { name: "a".into() }, Some("id")),
            (r#"{"type":"stop","tranfer":"1"}"#, stop(None), Some("tranfer")),
            (r#"{"type":"stop","transfer":null}"#, stop(None), None),
        ] {
            let object = serde_json::from_str(text).unwrap();
            assert_eq!(Said::read(&object).unwrap(), (said, field), "{text}");
        }
    }

    #[test]
    fn start_says_all_that_a_client_needs() {
        let format = Format::of(StreamSpec::new(16_000), Encoding::L16);
        let start = Start { version: 1, call: 3, leg: 5, caller: "1001".into(), format, ..Start::default() };
        let told: serde_json::Value = serde_json::from_str(&Told::Start(Box::new(start)).text()).unwrap();
        assert_eq!(
            (&told["type"], &told["call"], &told["caller"]),
            (&"start".into(), &3.into(), &"1001".into())
        );
        assert_eq!(told["format"]["frame_octets"], 640);
        assert_eq!(told.get("agent"), None);
    }
}
