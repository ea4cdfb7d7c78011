//! What a client of a voice agent's WebSocket may send when, and how much of it. No I/O, and time
//! is an argument.
//!
//! | state | sound | `mark`, `dtmf`, `secret`, `consult`, `return` | `clear` | `stop` |
//! |---|---|---|---|---|
//! | `Open` | played | done | done | `Stopping` |
//! | `Stopping` | ignored | ignored | done: queued audio is not played | ignored |
//!
//! A [`Mistake`] costs at most its message; a [`Fault`] ends the session.

use std::collections::BTreeMap;
use std::time::Instant;

use serde_json::Value;
use strum::{IntoStaticStr, VariantNames};

use super::coding::SoundReader;
use super::headers;
use super::message::Said;
use b2b_app::voice_agent::{Encoding, Target};

/// Maximum octets of a text message of our own protocol.
pub const TEXT: usize = 4 * 1_024;
/// Maximum octets of a message: a minute of audio at 24 kHz.
pub const MESSAGE: usize = 3 * 1_024 * 1_024;
/// Octets that count as one message in the budget.
pub const PIECE: usize = 4 * 1_024;
/// Maximum octets of a mark's name, and of a target.
const NAME: usize = 256;
/// Maximum digits in one message.
const DIGITS: usize = 32;
/// Duration of a digit, ms: the default, and the permitted range.
const PRESS: (u32, std::ops::RangeInclusive<u32>) = (100, 40..=5_000);
/// Budget of messages: rate per second, and burst. A minute of audio in frames of 20 ms may come at once.
pub const ALL: Budget = Budget::of(1_000.0, 6_000.0);
/// The same for text.
pub const TEXTS: Budget = Budget::of(50.0, 300.0);

/// Why a client's connection is closed, or its stream ended.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error, IntoStaticStr, VariantNames)]
#[strum(serialize_all = "snake_case", const_into_str)]
pub enum Fault {
    #[error("a message is longer than {} octets", MESSAGE)]
    TooLong,
    #[error("too many messages a second")]
    Flood,
    #[error("it does not read, or does not answer a ping")]
    Stalled,
    #[error("the WebSocket failed: {0}")]
    Broken(String),
    #[error("text that is no UTF-8")]
    Utf8,
}

impl Fault {
    /// Every word of [`Fault::word`].
    pub const WORDS: &[&'static str] = Fault::VARIANTS;

    /// The word in counters.
    pub fn word(&self) -> &'static str {
        self.into_str()
    }

    /// The status code of the close frame (RFC 6455 §7.4.1).
    pub fn code(&self) -> u16 {
        match self {
            Fault::Broken(_) => 1002,
            Fault::Utf8 => 1007,
            Fault::Flood | Fault::Stalled => 1008,
            Fault::TooLong => 1009,
        }
    }
}

/// A client's mistake, which costs at most its message.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error, IntoStaticStr, VariantNames)]
#[strum(serialize_all = "snake_case", const_into_str)]
pub enum Mistake {
    #[error("a message with an odd number of octets; the last one waits a second for the next message")]
    Odd,
    #[error("text of more than {0} octets is ignored")]
    LongText(usize),
    #[error("no known message, ignored: {0}")]
    Junk(String),
    /// The message is obeyed.
    #[error("{0}")]
    Field(String),
    #[error("{0} marks are pending, and this one is ignored: wait for some of them")]
    Marks(usize),
    #[error("more than 300 digits are pending, and these are ignored")]
    Digits,
    #[error("more audio is queued than may be: the oldest is not played")]
    Full,
    #[error("unknown stream {0}; use the little-endian number from `start`")]
    Stream(u32),
}

impl Mistake {
    /// Every word of [`Mistake::word`].
    pub const WORDS: &[&'static str] = Mistake::VARIANTS;

    /// The word in counters and messages.
    pub fn word(&self) -> &'static str {
        self.into_str()
    }
}

/// What a client requests.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AgentRequest {
    Nothing,
    Mark(String),
    Clear,
    Press {
        digits: String,
        ms: u32,
    },
    /// Keys are to be hidden from others, or no longer.
    Secret {
        on: bool,
    },
    /// Somebody is to be called about its caller.
    Consult(Target),
    /// Nobody is to be consulted any more.
    Return,
    /// Its last audio has been received.
    Finish,
}

/// How much of it a protocol may send.
#[derive(Debug, Clone, Copy)]
pub struct Allowance {
    /// How its audio is coded.
    pub encoding: Encoding,
    /// Octets of a text message.
    pub text: usize,
    /// Text messages.
    pub texts: Budget,
    /// Outstanding marks.
    pub marks: usize,
    /// Seconds of audio that may be queued; beyond that the oldest is dropped.
    pub queue_s: usize,
}

impl Allowance {
    /// Our own protocol: audio is binary, text is rare.
    pub const fn own(encoding: Encoding) -> Allowance {
        Allowance { encoding, text: TEXT, texts: TEXTS, marks: 1_024, queue_s: 60 }
    }

    /// A protocol whose audio is text, or whose programs send a mark with each frame.
    pub const fn of_text(encoding: Encoding) -> Allowance {
        Allowance { encoding, text: MESSAGE, texts: ALL, marks: 3_000, queue_s: 60 }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Open,
    Stopping,
}

/// See the module documentation.
pub struct Session {
    state: State,
    all: Budget,
    allowance: Allowance,
    /// Samples of 20 ms.
    frame: usize,
    reader: SoundReader,
    pub transfer: Option<Target>,
    /// Those not reported yet.
    pub mistakes: Vec<Mistake>,
    /// Whether a message had a meaning.
    pub understood: bool,
}

impl Session {
    /// The session of a new client, whose audio has this rate.
    pub fn new(allowance: Allowance, rate_hz: u32) -> Self {
        Session {
            state: State::Open,
            all: ALL,
            allowance,
            frame: (rate_hz as usize / 50).max(1),
            reader: SoundReader::new(allowance.encoding, rate_hz),
            transfer: None,
            mistakes: Vec::new(),
            understood: false,
        }
    }

    /// Whether it has said `stop`.
    pub fn is_stopping(&self) -> bool {
        self.state == State::Stopping
    }

    /// The target for its caller when it is over.
    pub fn transfer(&mut self) -> Option<Target> {
        self.transfer.take()
    }

    /// Counts a message.
    ///
    /// # Errors
    /// `Flood`.
    pub fn counts(&mut self, at: Instant, octets: usize) -> Result<(), Fault> {
        self.all.take_message(at, octets)
    }

    /// Counts the size of a message that is to be read, beyond what each message costs.
    ///
    /// # Errors
    /// `Flood`.
    pub fn weighs(&mut self, at: Instant, octets: usize) -> Result<(), Fault> {
        if self.all.take(at, octets / PIECE) { Ok(()) } else { Err(Fault::Flood) }
    }

    /// Takes audio: appends the samples that are to be played.
    ///
    /// # Errors
    /// `Flood`.
    pub fn sound(&mut self, at: Instant, octets: &[u8], samples: &mut Vec<i16>) -> Result<(), Fault> {
        self.counts(at, octets.len())?;
        self.understood = true;
        if self.state == State::Stopping || octets.is_empty() {
            return Ok(());
        }
        let begin = samples.len();
        self.mistakes.extend(self.reader.read(at, octets, samples));
        // A packet of a few octets may last for 120 ms, and takes as long to decode as six.
        let frames = (samples.len() - begin) / self.frame;
        let is_flood = self.allowance.encoding == Encoding::Opus && !self.all.take(at, frames);
        if is_flood { Err(Fault::Flood) } else { Ok(()) }
    }

    /// Takes a request; `marks` is the number of its outstanding marks.
    ///
    /// # Errors
    /// `Flood`.
    pub fn request(&mut self, at: Instant, said: Said, marks: usize) -> Result<AgentRequest, Fault> {
        self.counts_text(at)?;
        self.understood = true;
        Ok(self.said(said, marks))
    }

    /// Takes a text that is no request.
    ///
    /// # Errors
    /// `Flood`.
    pub fn mistaken(&mut self, at: Instant, mistake: Mistake) -> Result<(), Fault> {
        self.counts_text(at)?;
        self.mistakes.push(mistake);
        Ok(())
    }

    fn counts_text(&mut self, at: Instant) -> Result<(), Fault> {
        self.counts(at, 0)?;
        self.allowance.texts.take_message(at, 0)
    }

    fn ignores(&mut self, mistake: Mistake) -> AgentRequest {
        self.mistakes.push(mistake);
        AgentRequest::Nothing
    }

    fn said(&mut self, said: Said, marks: usize) -> AgentRequest {
        let junk = |what: &str| Mistake::Junk(what.to_owned());
        match (self.state, said) {
            (State::Open, Said::Audio { .. }) => {
                self.ignores(junk("audio as text is for protocol = \"json\"; here it is binary"))
            }
            (_, Said::Clear {}) => {
                self.reader.forget();
                AgentRequest::Clear
            }
            (State::Stopping, _) => AgentRequest::Nothing,
            (State::Open, Said::Mark { name }) if name.len() > NAME => {
                self.ignores(junk("a mark's name has 256 bytes at most"))
            }
            (State::Open, Said::Mark { .. }) if marks >= self.allowance.marks => {
                self.ignores(Mistake::Marks(self.allowance.marks))
            }
            (State::Open, Said::Mark { name }) => AgentRequest::Mark(name),
            (State::Open, Said::Dtmf { digits, ms }) => {
                let known = |digit: char| "0123456789*#ABCD".contains(digit);
                if digits.is_empty() || digits.len() > DIGITS || !digits.chars().all(known) {
                    return self.ignores(junk("digits are 1 to 32 of 0 to 9, *, # and A to D"));
                }
                let wanted = ms.unwrap_or(PRESS.0);
                let ms = wanted.clamp(*PRESS.1.start(), *PRESS.1.end());
                if ms != wanted {
                    self.mistakes.push(Mistake::Field(format!("ms is 40 to 5000: {ms} for {wanted}")));
                }
                AgentRequest::Press { digits, ms }
            }
            (State::Open, Said::Secret { on }) => AgentRequest::Secret { on },
            (State::Open, Said::Consult { to, headers }) => match self.target(to, headers) {
                Ok(target) => AgentRequest::Consult(target),
                Err(mistake) => self.ignores(mistake),
            },
            (State::Open, Said::Return {}) => AgentRequest::Return,
            (State::Open, Said::Stop { transfer, headers }) => {
                if transfer.is_none() && !headers.is_empty() {
                    self.mistakes.push(Mistake::Field("headers are for a transfer".to_owned()));
                }
                let transfer = match transfer.map(|to| self.target(to, headers)).transpose() {
                    Ok(transfer) => transfer,
                    Err(mistake) => return self.ignores(mistake),
                };
                (self.state, self.transfer) = (State::Stopping, transfer);
                AgentRequest::Finish
            }
        }
    }

    /// A target, with the header fields that may be sent to it.
    fn target(&mut self, to: String, headers: BTreeMap<String, Value>) -> Result<Target, Mistake> {
        if to.is_empty() || to.len() > NAME || to.contains(char::is_control) {
            return Err(Mistake::Junk("a target has 1 to 256 bytes in one line".to_owned()));
        }
        Ok(Target { to, headers: headers::read(headers, &mut self.mistakes) })
    }
}

/// A token bucket: a rate per second, and a burst.
#[derive(Debug, Clone, Copy)]
pub struct Budget {
    rate: f64,
    most: f64,
    left: f64,
    since: Option<Instant>,
}

impl Budget {
    /// A budget with this rate per second and burst.
    pub const fn of(rate: f64, most: f64) -> Budget {
        Budget { rate, most, left: most, since: None }
    }

    /// The budget multiplied by `count`.
    pub fn times(self, count: usize) -> Budget {
        let of = |amount: f64| amount * count as f64;
        Budget { rate: of(self.rate), most: of(self.most), left: of(self.left), since: self.since }
    }

    /// Takes a token for each begun [`PIECE`] of a message.
    ///
    /// # Errors
    /// `Flood`.
    pub fn take_message(&mut self, at: Instant, octets: usize) -> Result<(), Fault> {
        if self.take(at, octets.div_ceil(PIECE).max(1)) { Ok(()) } else { Err(Fault::Flood) }
    }

    /// Takes tokens; returns whether there were so many.
    pub fn take(&mut self, at: Instant, tokens: usize) -> bool {
        let gone = self.since.map_or(0.0, |since| at.saturating_duration_since(since).as_secs_f64());
        self.since = Some(at);
        self.left = (self.left + gone * self.rate).min(self.most);
        let enough = self.left >= tokens as f64;
        self.left -= if enough { tokens as f64 } else { 0.0 };
        enough
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::voice::coding::LEFT_OVER;
    use crate::voice::dialect::{Own, Reading};

    fn new() -> Session {
        Session::new(Allowance::own(Encoding::L16), 16_000)
    }

    fn say_at(session: &mut Session, at: Instant, text: &str, marks: usize) -> Result<AgentRequest, Fault> {
        match Own::read(text) {
            Ok(Reading { said, mistake }) => {
                session.mistakes.extend(mistake);
                session.request(at, said, marks)
            }
            Err(mistake) => session.mistaken(at, mistake).map(|()| AgentRequest::Nothing),
        }
    }

    fn say(session: &mut Session, text: &str) -> Result<AgentRequest, Fault> {
        say_at(session, Instant::now(), text, 0)
    }

    /// The samples of these messages.
    fn heard(session: &mut Session, at: Instant, messages: &[&[u8]]) -> Vec<i16> {
        let mut samples = Vec::new();
        messages.iter().for_each(|octets| session.sound(at, octets, &mut samples).expect("few messages"));
        samples
    }

    #[test]
    fn wishes_come_out_until_stop_and_then_only_clear_counts() {
        let (mut session, now) = (new(), Instant::now());
        assert_eq!(say(&mut session, r#"{"type":"mark","name":"a"}"#), Ok(AgentRequest::Mark("a".into())));
        let press = AgentRequest::Press { digits: "12#".into(), ms: 100 };
        assert_eq!(say(&mut session, r#"{"type":"dtmf","digits":"12#"}"#), Ok(press));
        assert_eq!(heard(&mut session, now, &[&[1, 0, 2, 0]]), [1, 2]);
        assert_eq!(say(&mut session, r#"{"type":"stop","transfer":"user/1001"}"#), Ok(AgentRequest::Finish));
        assert!(heard(&mut session, now, &[&[1, 0, 2, 0]]).is_empty());
        assert_eq!(say(&mut session, r#"{"type":"mark","name":"b"}"#), Ok(AgentRequest::Nothing));
        assert_eq!(say(&mut session, r#"{"type":"stop"}"#), Ok(AgentRequest::Nothing));
        assert_eq!(say(&mut session, r#"{"type":"clear"}"#), Ok(AgentRequest::Clear));
        let target = session.transfer().map(|it| it.to);
        assert_eq!(target.as_deref(), Some("user/1001"), "the first one holds");
        assert!(session.mistakes.is_empty() && session.understood);
    }

    #[test]
    fn a_mistake_costs_its_message_and_says_its_kind() {
        let long = format!(r#"{{"type":"mark","name":"{}"}}"#, "x".repeat(300));
        for (text, word) in [
            ("no JSON", "junk"),
            ("[7]", "junk"),
            (r#"{"type":"dance"}"#, "junk"),
            (r#"{"event":"media"}"#, "junk"),
            (r#"{"type":"dtmf","digits":"12x"}"#, "junk"),
            (r#"{"type":"stop","transfer":"a\r\nb"}"#, "junk"),
            (&long, "junk"),
        ] {
            let mut session = new();
            assert_eq!(say(&mut session, text), Ok(AgentRequest::Nothing), "{text}");
            assert_eq!(session.mistakes.iter().map(Mistake::word).collect::<Vec<_>>(), [word], "{text}");
            assert!(Mistake::WORDS.contains(&word));
        }
        let mut session = new();
        let mark = r#"{"type":"mark","name":"a"}"#;
        assert_eq!(say_at(&mut session, Instant::now(), mark, 1_024), Ok(AgentRequest::Nothing));
        assert_eq!(session.mistakes, [Mistake::Marks(1_024)]);
    }

    #[test]
    fn a_plain_meaning_is_obeyed_beside_a_field_that_is_wrong() {
        let press = |ms| AgentRequest::Press { digits: "1".into(), ms };
        for (text, request) in [
            (r#"{"type":"clear","reason":"barge"}"#, AgentRequest::Clear),
            (r#"{"type":"stop","code":7}"#, AgentRequest::Finish),
            (r#"{"type":"dtmf","digits":"1","ms":5}"#, press(40)),
            (r#"{"type":"dtmf","digits":"1","ms":1000000}"#, press(5_000)),
        ] {
            let mut session = new();
            assert_eq!(say(&mut session, text), Ok(request), "{text}");
            assert_eq!(session.mistakes.iter().map(Mistake::word).collect::<Vec<_>>(), ["field"], "{text}");
        }
    }

    #[test]
    fn an_odd_octet_is_completed_by_the_next_message() {
        let (mut session, now) = (new(), Instant::now());
        let cut: [&[u8]; 5] = [&[1, 0, 2], &[], &[0], &[3, 0, 4], &[0, 5, 0]];
        assert_eq!(heard(&mut session, now, &cut), [1, 2, 3, 4, 5]);
        assert_eq!(session.mistakes, [Mistake::Odd, Mistake::Odd, Mistake::Odd, Mistake::Odd]);
        // What comes a second later, or behind a clear, begins anew.
        assert_eq!(heard(&mut session, now, &[&[1, 0, 9]]), [1]);
        assert_eq!(heard(&mut session, now + LEFT_OVER, &[&[2, 0, 9]]), [2]);
        assert_eq!(session.request(now, Said::Clear {}, 0), Ok(AgentRequest::Clear));
        assert_eq!(heard(&mut session, now + LEFT_OVER, &[&[3, 0]]), [3]);
    }

    #[test]
    fn a_flood_is_told_from_a_minute_of_sound_at_once() {
        let (now, mut session, mut pieces, mut texts) = (Instant::now(), new(), new(), new());
        assert!((0..3_000).all(|_| session.counts(now, 640).is_ok()), "a minute in frames of 20 ms");
        assert!((0..10_000).any(|_| session.counts(now, 0) == Err(Fault::Flood)));
        assert!(pieces.counts(now, 6_000 * PIECE).is_ok(), "as much as 6,000 pieces");
        assert_eq!(pieces.counts(now, 1), Err(Fault::Flood));
        let said: Vec<_> = (0..1_000).map(|_| say_at(&mut texts, now, r#"{"type":"clear"}"#, 0)).collect();
        assert_eq!(said.iter().filter(|it| it.is_ok()).count(), 300);
        let later = now + Duration::from_secs(1);
        assert!(say_at(&mut texts, later, r#"{"type":"clear"}"#, 0).is_ok());
        for fault in [Fault::TooLong, Fault::Flood, Fault::Stalled, Fault::Broken(String::new()), Fault::Utf8]
        {
            assert!(Fault::WORDS.contains(&fault.word()) && (1_002..=1_009).contains(&fault.code()));
        }
    }
}
