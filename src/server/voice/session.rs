//! What a client of a voice agent's WebSocket may send when, and how much of it. No I/O, and time
//! is an argument.
//!
//! | state | sound | `mark`, `dtmf` | `clear` | `stop` |
//! |---|---|---|---|---|
//! | `Open` | played | done | done | `Stopping` |
//! | `Stopping` | ignored | ignored | done: queued audio is not played | ignored |
//!
//! Any violation is a [`Fault`], which ends the session.

use std::time::Instant;

use super::message::Said;

/// Maximum octets of a text message.
pub const TEXT: usize = 4 * 1_024;
/// Maximum octets of a binary message: two seconds at 16 kHz.
pub const BINARY: usize = 64 * 1_024;
/// Maximum outstanding marks.
const MARKS: usize = 256;
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

/// Why a client's connection is closed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    #[error("a binary message has an odd number of octets; samples have two")]
    Odd,
    #[error("a message is too long: the limit is 4096 octets for text and 65536 for audio")]
    TooLong,
    #[error("unknown message: {0}")]
    Junk(String),
    #[error("too many messages a second")]
    Flood,
    #[error("256 marks are pending; wait for some of them before sending more")]
    Marks,
    #[error("it does not read, or does not answer a ping")]
    Stalled,
    #[error("the WebSocket failed: {0}")]
    Broken(String),
    #[error("more than a minute of audio is queued; send less audio ahead")]
    Full,
}

impl Fault {
    /// Every word of [`Fault::word`].
    pub const WORDS: [&'static str; 8] =
        ["odd", "too_long", "junk", "flood", "marks", "stalled", "broken", "full"];

    /// The word in counters.
    pub fn word(&self) -> &'static str {
        match self {
            Fault::Odd => "odd",
            Fault::TooLong => "too_long",
            Fault::Junk(_) => "junk",
            Fault::Flood => "flood",
            Fault::Marks => "marks",
            Fault::Stalled => "stalled",
            Fault::Broken(_) => "broken",
            Fault::Full => "full",
        }
    }

    /// The status code of the close frame (RFC 6455 §7.4.1).
    pub fn code(&self) -> u16 {
        match self {
            Fault::Broken(_) => 1002,
            Fault::Odd | Fault::Junk(_) => 1007,
            Fault::Flood | Fault::Marks | Fault::Stalled | Fault::Full => 1008,
            Fault::TooLong => 1009,
        }
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
    /// Its last audio has been received.
    Finish,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Open,
    Stopping,
}

/// See the module documentation.
#[derive(Debug)]
pub struct Session {
    state: State,
    all: Budget,
    texts: Budget,
    transfer: Option<String>,
}

impl Default for Session {
    /// The session of a new client.
    fn default() -> Self {
        Session { state: State::Open, all: ALL, texts: TEXTS, transfer: None }
    }
}

impl Session {
    /// The target for its caller when it is over.
    pub fn transfer(&mut self) -> Option<String> {
        self.transfer.take()
    }

    /// Whether it has sent `stop`.
    pub fn is_stopping(&self) -> bool {
        self.state == State::Stopping
    }

    /// Takes a message of any other kind.
    ///
    /// # Errors
    /// `Flood`.
    pub fn other(&mut self, at: Instant) -> Result<(), Fault> {
        if self.all.take(at) { Ok(()) } else { Err(Fault::Flood) }
    }

    /// Takes audio; returns whether it is to be played.
    ///
    /// # Errors
    /// `Flood`, `TooLong`, `Odd`.
    pub fn binary(&mut self, at: Instant, octets: usize) -> Result<bool, Fault> {
        self.other(at)?;
        if octets > BINARY {
            return Err(Fault::TooLong);
        }
        if !octets.is_multiple_of(2) {
            return Err(Fault::Odd);
        }
        Ok(self.state == State::Open)
    }

    /// Takes a text; `marks` is the number of its outstanding marks.
    ///
    /// # Errors
    /// `Flood`, `TooLong`, `Junk`, `Marks`.
    pub fn text(&mut self, at: Instant, text: &str, marks: usize) -> Result<AgentRequest, Fault> {
        self.counts_text(at)?;
        if text.len() > TEXT {
            return Err(Fault::TooLong);
        }
        self.said(serde_json::from_str(text), marks)
    }

    /// The same for a text that has been parsed as JSON, and whose length has been checked.
    ///
    /// # Errors
    /// `Flood`, `Junk`, `Marks`.
    pub fn json(
        &mut self,
        at: Instant,
        said: serde_json::Value,
        marks: usize,
    ) -> Result<AgentRequest, Fault> {
        self.counts_text(at)?;
        self.said(serde_json::from_value(said), marks)
    }

    fn counts_text(&mut self, at: Instant) -> Result<(), Fault> {
        self.other(at)?;
        if self.texts.take(at) { Ok(()) } else { Err(Fault::Flood) }
    }

    fn said(&mut self, said: serde_json::Result<Said>, marks: usize) -> Result<AgentRequest, Fault> {
        let said = said.map_err(|error| Fault::Junk(error.to_string()))?;
        let junk = |what: &str| Err(Fault::Junk(what.to_owned()));
        match (self.state, said) {
            (_, Said::Clear {}) => Ok(AgentRequest::Clear),
            (State::Stopping, _) => Ok(AgentRequest::Nothing),
            (State::Open, Said::Mark { name }) if name.len() > NAME => junk("a name has 256 bytes at most"),
            (State::Open, Said::Mark { .. }) if marks >= MARKS => Err(Fault::Marks),
            (State::Open, Said::Mark { name }) => Ok(AgentRequest::Mark(name)),
            (State::Open, Said::Dtmf { digits, ms }) => {
                let known = |digit: char| "0123456789*#ABCD".contains(digit);
                if digits.is_empty() || digits.len() > DIGITS || !digits.chars().all(known) {
                    return junk("digits are 1 to 32 of 0 to 9, *, # and A to D");
                }
                match ms.unwrap_or(PRESS.0) {
                    ms if PRESS.1.contains(&ms) => Ok(AgentRequest::Press { digits, ms }),
                    _ => junk("ms is 40 to 5000"),
                }
            }
            (State::Open, Said::Stop { transfer }) => {
                let good = |target: &String| {
                    !target.is_empty() && target.len() <= NAME && !target.contains(char::is_control)
                };
                if transfer.as_ref().is_some_and(|target| !good(target)) {
                    return junk("transfer is a target of 1 to 256 bytes");
                }
                (self.state, self.transfer) = (State::Stopping, transfer);
                Ok(AgentRequest::Finish)
            }
        }
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
    const fn of(rate: f64, most: f64) -> Budget {
        Budget { rate, most, left: most, since: None }
    }

    /// The budget multiplied by `count`.
    pub fn times(self, count: usize) -> Budget {
        let of = |amount: f64| amount * count as f64;
        Budget { rate: of(self.rate), most: of(self.most), left: of(self.left), since: self.since }
    }

    /// Takes one token; returns whether there was one.
    pub fn take(&mut self, at: Instant) -> bool {
        let gone = self.since.map_or(0.0, |since| at.saturating_duration_since(since).as_secs_f64());
        self.since = Some(at);
        self.left = (self.left + gone * self.rate).min(self.most);
        let some = self.left >= 1.0;
        self.left -= if some { 1.0 } else { 0.0 };
        some
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn say(session: &mut Session, text: &str) -> Result<AgentRequest, Fault> {
        session.text(Instant::now(), text, 0)
    }

    #[test]
    fn wishes_come_out_until_stop_and_then_only_clear_counts() {
        let mut session = Session::default();
        assert_eq!(say(&mut session, r#"{"type":"mark","name":"a"}"#), Ok(AgentRequest::Mark("a".into())));
        let press = AgentRequest::Press { digits: "12#".into(), ms: 100 };
        assert_eq!(say(&mut session, r#"{"type":"dtmf","digits":"12#"}"#), Ok(press));
        assert_eq!(session.binary(Instant::now(), 640), Ok(true));
        assert_eq!(say(&mut session, r#"{"type":"stop","transfer":"user/1001"}"#), Ok(AgentRequest::Finish));
        assert_eq!(session.binary(Instant::now(), 640), Ok(false));
        assert_eq!(say(&mut session, r#"{"type":"mark","name":"b"}"#), Ok(AgentRequest::Nothing));
        assert_eq!(say(&mut session, r#"{"type":"stop"}"#), Ok(AgentRequest::Nothing));
        assert_eq!(say(&mut session, r#"{"type":"clear"}"#), Ok(AgentRequest::Clear));
        assert_eq!(session.transfer().as_deref(), Some("user/1001"), "the first one holds");
    }

    #[test]
    fn what_is_not_as_it_should_be_has_a_code_of_its_own() {
        let long = format!(r#"{{"type":"mark","name":"{}"}}"#, "x".repeat(300));
        let longer = format!(r#"{{"type":"mark","name":"{}"}}"#, "x".repeat(TEXT));
        for (text, code) in [
            ("no JSON", 1007),
            (r#"{"type":"dance"}"#, 1007),
            (r#"{"type":"dtmf","digits":"12x"}"#, 1007),
            (r#"{"type":"dtmf","digits":"1","ms":1000000}"#, 1007),
            (r#"{"type":"stop","transfer":"a\r\nb"}"#, 1007),
            (&long, 1007),
            (&longer, 1009),
        ] {
            let fault = say(&mut Session::default(), text).expect_err(text);
            assert_eq!(fault.code(), code, "{text}");
            assert!(Fault::WORDS.contains(&fault.word()));
        }
        let mut session = Session::default();
        assert_eq!(session.binary(Instant::now(), 641), Err(Fault::Odd));
        assert_eq!(session.binary(Instant::now(), BINARY + 2), Err(Fault::TooLong));
        let mark = r#"{"type":"mark","name":"a"}"#;
        assert_eq!(session.text(Instant::now(), mark, MARKS), Err(Fault::Marks));
    }

    #[test]
    fn a_flood_is_told_from_a_minute_of_sound_at_once() {
        let now = Instant::now();
        let mut session = Session::default();
        assert!((0..3_000).all(|_| session.binary(now, 640).is_ok()), "a minute in frames of 20 ms");
        assert!((0..10_000).any(|_| session.binary(now, 0) == Err(Fault::Flood)));
        let mut session = Session::default();
        let said: Vec<_> = (0..1_000).map(|_| session.text(now, r#"{"type":"clear"}"#, 0)).collect();
        assert_eq!(said.iter().filter(|it| it.is_ok()).count(), 300);
        let later = now + Duration::from_secs(1);
        assert!(session.text(later, r#"{"type":"clear"}"#, 0).is_ok());
    }
}
