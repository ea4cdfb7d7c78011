//! The protocol of Asterisk's `chan_websocket`. Source: docs.asterisk.org/Configuration/Channel-Drivers/WebSocket and
//! the driver's events and commands, read in 2026-11. b2b connects to the program, as Asterisk does with
//! `Dial(WebSocket/connection)`, or the program to b2b, as with `Dial(WebSocket/INCOMING)`.
//!
//! | we send | when |
//! |---|---|
//! | `MEDIA_START` | at the beginning |
//! | binary | every 20 ms |
//! | `DTMF_END` | the party has pressed a key |
//! | `MEDIA_MARK_PROCESSED`, `MEDIA_BUFFERING_COMPLETED` | what came before the command has been played |
//! | `MEDIA_XOFF`, `MEDIA_XON` | 900 frames are queued; fewer than 800 again |
//! | `QUEUE_DRAINED`, `STATUS`, `ERROR` | to the commands below |
//!
//! | it sends | meaning |
//! |---|---|
//! | binary | audio; cut anywhere, in Asterisk only between `START_MEDIA_BUFFERING` and `STOP_MEDIA_BUFFERING` |
//! | `ANSWER` | nothing: the party is answered when the program is connected |
//! | `HANGUP` | hang up |
//! | `MARK_MEDIA id` | `MEDIA_MARK_PROCESSED` in its time; not if it was flushed |
//! | `FLUSH_MEDIA` | discard what is queued |
//! | `REPORT_QUEUE_DRAINED` | `QUEUE_DRAINED` once nothing is queued |
//! | `GET_STATUS` | `STATUS` |
//! | `PAUSE_MEDIA`, `CONTINUE_MEDIA` | what is queued waits, and the party hears silence; it goes on |

use serde::Deserialize;
use serde_json::{Map, Value};
use tokio_tungstenite::tungstenite::Message;

use super::{Dialect, Meaning};
use crate::voice::message::{Said, Start, Told};
use crate::voice::session::{Allowance, Mistake};
use b2b_app::voice_agent::{ControlMessages, Encoding};

/// Frames that are queued when the program is told to stop sending, and to send again.
const XOFF: usize = 900;
const XON: usize = 800;
/// Milliseconds of a frame.
const PTIME: usize = 20;
/// How the name of a stream's mark begins that is for this command; that of `MARK_MEDIA` is the mark's own.
const BUFFERED: &str = "STOP_MEDIA_BUFFERING";

/// See the module documentation.
pub struct ChanWebsocket {
    control: ControlMessages,
    encoding: Encoding,
    rate_hz: u32,
    channel_id: String,
    /// `MEDIA_XOFF` was the last one.
    full: bool,
    buffering: bool,
    paused: bool,
    /// `QUEUE_DRAINED` is wanted.
    drain: bool,
}

/// A command as JSON.
#[derive(Debug, Deserialize)]
struct Command {
    command: String,
    #[serde(default)]
    correlation_id: String,
}

impl ChanWebsocket {
    /// A stream with audio coded so.
    pub fn new(control: ControlMessages, encoding: Encoding, rate_hz: u32) -> ChanWebsocket {
        let channel_id = String::new();
        ChanWebsocket {
            control,
            encoding,
            rate_hz,
            channel_id,
            full: false,
            buffering: false,
            paused: false,
            drain: false,
        }
    }

    /// Asterisk's name of the format.
    fn format(&self) -> &'static str {
        match (self.encoding, self.rate_hz) {
            (Encoding::Pcmu, _) => "ulaw",
            (Encoding::Pcma, _) => "alaw",
            (Encoding::L16, 8_000) => "slin",
            (Encoding::L16, 24_000) => "slin24",
            (Encoding::L16, _) => "slin16",
            (Encoding::Opus, _) => "opus",
        }
    }

    /// Samples of a frame.
    fn frame(&self) -> usize {
        self.rate_hz as usize * PTIME / 1_000
    }

    /// An event with these fields, in the form of the control messages.
    fn event(&self, name: &str, fields: &[(&str, Value)]) -> Message {
        let text = match self.control {
            ControlMessages::Json => {
                let mut all = Map::new();
                all.insert("event".into(), name.into());
                all.insert("channel_id".into(), self.channel_id.as_str().into());
                all.extend(fields.iter().map(|(name, value)| ((*name).to_owned(), value.clone())));
                Value::Object(all).to_string()
            }
            ControlMessages::PlainText => {
                let plain = |value: &Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
                let fields = fields.iter().map(|(field, value)| match *field {
                    // Marks stand alone.
                    "correlation_id" => format!(" {}", plain(value)),
                    field => format!(" {field}:{}", plain(value)),
                });
                let fields: String = fields.collect();
                format!("{name}{fields}").trim_end().to_owned()
            }
        };
        Message::Text(text.into())
    }

    fn id(&self) -> (&'static str, Value) {
        ("channel_id", self.channel_id.as_str().into())
    }

    fn error(&self, text: &str) -> Message {
        self.event("ERROR", &[self.id(), ("error_text", text.into())])
    }

    /// A command, and what stands behind it.
    fn command(&self, text: &str) -> Result<(String, String), Mistake> {
        match self.control {
            ControlMessages::Json => {
                let command: Command =
                    serde_json::from_str(text).map_err(|error| Mistake::Junk(error.to_string()))?;
                Ok((command.command, command.correlation_id))
            }
            ControlMessages::PlainText => {
                let (command, rest) = text.split_once(' ').unwrap_or((text, ""));
                Ok((command.to_owned(), rest.trim().to_owned()))
            }
        }
    }
}

impl Dialect for ChanWebsocket {
    fn allowance(&self) -> Allowance {
        Allowance::of_text(self.encoding)
    }

    fn begin(&mut self, start: Start) -> Vec<Message> {
        self.channel_id = format!("{}.{}", start.call, start.leg);
        let agent = start.agent.unwrap_or_default();
        let mut fields: Vec<(&str, Value)> = vec![
            ("connection_id", start.leg.to_string().into()),
            ("channel", format!("WebSocket/{agent}/{}", start.leg).into()),
            ("channel_id", self.channel_id.as_str().into()),
            ("format", self.format().into()),
            ("optimal_frame_size", (self.frame() * self.encoding.octets()).into()),
            ("ptime", PTIME.into()),
        ];
        if self.control == ControlMessages::Json {
            let variables = start.variables.into_iter().map(|(name, value)| (name, Value::from(value)));
            fields.push(("channel_variables", variables.collect::<Map<_, _>>().into()));
        }
        vec![self.event("MEDIA_START", &fields)]
    }

    fn audio(&mut self, octets: Vec<u8>) -> Message {
        Message::Binary(octets.into())
    }

    fn told(&mut self, told: &Told) -> Option<Message> {
        match told {
            Told::Dtmf { digit } => {
                Some(self.event("DTMF_END", &[("digit", digit.to_string().into()), self.id()]))
            }
            Told::Mark { name, played: true } => {
                let (event, id) = match name.strip_prefix(BUFFERED) {
                    Some(id) => ("MEDIA_BUFFERING_COMPLETED", id.trim_start()),
                    None => ("MEDIA_MARK_PROCESSED", name.as_str()),
                };
                Some(self.event(event, &[("correlation_id", id.into())]))
            }
            Told::Error { error, .. } => Some(self.error(error)),
            _ => None,
        }
    }

    fn text<'a>(&mut self, text: &'a str, queued: usize) -> Result<Meaning<'a>, Mistake> {
        let (command, id) = self.command(text.trim())?;
        let mark = |name: String| Ok(Meaning::Request(Said::Mark { name }.into()));
        match command.as_str() {
            "ANSWER" => Ok(Meaning::Nothing),
            "HANGUP" => Ok(Meaning::Goodbye),
            "START_MEDIA_BUFFERING" => {
                self.buffering = true;
                Ok(Meaning::Nothing)
            }
            BUFFERED => {
                self.buffering = false;
                mark(format!("{BUFFERED} {id}").trim_end().to_owned())
            }
            "MARK_MEDIA" => mark(id),
            "FLUSH_MEDIA" => {
                self.buffering = false;
                Ok(Meaning::Request(Said::Clear {}.into()))
            }
            "REPORT_QUEUE_DRAINED" => {
                self.drain = true;
                Ok(Meaning::Nothing)
            }
            "GET_STATUS" => {
                let fields: [(&str, Value); 7] = [
                    self.id(),
                    ("queue_length", (queued / self.frame()).into()),
                    ("xon_level", XON.into()),
                    ("xoff_level", XOFF.into()),
                    ("queue_full", self.full.into()),
                    ("bulk_media", self.buffering.into()),
                    ("media_paused", self.paused.into()),
                ];
                Ok(Meaning::Answered(self.event("STATUS", &fields)))
            }
            "PAUSE_MEDIA" | "CONTINUE_MEDIA" => {
                self.paused = command == "PAUSE_MEDIA";
                Ok(Meaning::Pause(self.paused))
            }
            other => Err(Mistake::Junk(format!("no command of chan_websocket: {other}"))),
        }
    }

    fn queue(&mut self, queued: usize) -> Option<Message> {
        let frames = queued / self.frame();
        if self.full != (frames >= if self.full { XON } else { XOFF }) {
            self.full = !self.full;
            return Some(self.event(if self.full { "MEDIA_XOFF" } else { "MEDIA_XON" }, &[]));
        }
        (queued == 0 && std::mem::take(&mut self.drain)).then(|| self.event("QUEUE_DRAINED", &[]))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stream(control: ControlMessages) -> ChanWebsocket {
        let mut stream = ChanWebsocket::new(control, Encoding::Pcmu, 8_000);
        stream.begin(Start { call: 3, leg: 5, agent: Some("ada".into()), ..Start::default() });
        stream
    }

    fn text_of(message: Option<Message>) -> String {
        message.map(|it| it.to_text().unwrap().to_owned()).unwrap_or_default()
    }

    #[test]
    fn media_start_names_the_channel_the_format_and_the_frame() {
        let mut stream = ChanWebsocket::new(ControlMessages::PlainText, Encoding::L16, 16_000);
        let start = Start { call: 3, leg: 5, agent: Some("ada".into()), ..Start::default() };
        assert_eq!(
            text_of(stream.begin(start).pop()),
            "MEDIA_START connection_id:5 channel:WebSocket/ada/5 channel_id:3.5 format:slin16 optimal_frame_size:640 \
             ptime:20"
        );
    }

    #[test]
    fn a_command_has_its_event_in_either_form() {
        use ControlMessages::{Json, PlainText};
        for (control, said, mark, told) in [
            (PlainText, "MARK_MEDIA a b", "a b", "MEDIA_MARK_PROCESSED a b"),
            (PlainText, "STOP_MEDIA_BUFFERING", BUFFERED, "MEDIA_BUFFERING_COMPLETED"),
            (PlainText, "STOP_MEDIA_BUFFERING c", "STOP_MEDIA_BUFFERING c", "MEDIA_BUFFERING_COMPLETED c"),
            (
                Json,
                r#"{"command":"MARK_MEDIA","correlation_id":"a"}"#,
                "a",
                r#"{"channel_id":"3.5","correlation_id":"a","event":"MEDIA_MARK_PROCESSED"}"#,
            ),
        ] {
            let mut stream = stream(control);
            let name = mark.to_owned();
            assert_eq!(stream.text(said, 0), Ok(Meaning::Request(Said::Mark { name: name.clone() }.into())));
            let event = text_of(stream.told(&Told::Mark { name: name.clone(), played: true }));
            assert_eq!(event, told);
            assert_eq!(stream.told(&Told::Mark { name, played: false }), None, "flushed");
        }
        let mut stream = stream(PlainText);
        assert_eq!(text_of(stream.told(&Told::Dtmf { digit: '5' })), "DTMF_END digit:5 channel_id:3.5");
        assert_eq!(stream.text("HANGUP", 0), Ok(Meaning::Goodbye));
        assert_eq!(stream.text(" ANSWER ", 0), Ok(Meaning::Nothing));
        assert!(matches!(stream.text("DANCE", 0), Err(Mistake::Junk(_))));
        let status = "STATUS channel_id:3.5 queue_length:2 xon_level:800 xoff_level:900 queue_full:false \
                      bulk_media:false media_paused:true";
        assert_eq!(stream.text("PAUSE_MEDIA", 0), Ok(Meaning::Pause(true)));
        let Ok(Meaning::Answered(answer)) = stream.text("GET_STATUS", 320) else { panic!("no answer") };
        assert_eq!(text_of(Some(answer)), status);
    }

    #[test]
    fn a_program_is_told_to_stop_and_to_go_on_and_that_nothing_is_queued() {
        let mut stream = stream(ControlMessages::PlainText);
        let events: Vec<String> =
            [899, 900, 950, 850, 799, 500].map(|frames| text_of(stream.queue(frames * 160))).to_vec();
        assert_eq!(events, ["", "MEDIA_XOFF", "", "", "MEDIA_XON", ""]);
        assert_eq!(stream.text("REPORT_QUEUE_DRAINED", 160), Ok(Meaning::Nothing));
        let events = [160, 0, 0].map(|queued| text_of(stream.queue(queued)));
        assert_eq!(events, ["", "QUEUE_DRAINED", ""]);
    }
}
