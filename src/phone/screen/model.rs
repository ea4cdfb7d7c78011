//! The state of the screen and the effects of keys, without a terminal: takes keys and events, returns
//! requests.

use std::collections::VecDeque;

use b2b_client::CallId;

/// Jitter values in the sparkline: five minutes at one per 5 s.
pub const SPARKS: usize = 60;
/// Maximum lines of the log.
const LOG: usize = 200;

/// A key that the phone uses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Key {
    Char(char),
    Enter,
    Escape,
    Backspace,
    Up,
    Down,
    /// Ctrl-C.
    Break,
}

/// The request of a key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Request {
    Dial(String),
    Answer(CallId),
    /// Hang up, or refuse a ringing call.
    Hangup(CallId),
    Hold(CallId),
    Resume(CallId),
    Mute(CallId, bool),
    Transfer(CallId, String),
    /// Connect the far ends of two calls; the first is transferred to the second.
    Join(CallId, CallId),
    /// Join all active calls and the user in one conversation.
    Conference(Vec<CallId>),
    Digit(CallId, char),
    Record(CallId, bool),
    Quit,
}

/// The state of a call, for display.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Stage {
    Dialling,
    RingsThere,
    RingsHere,
    Up,
}

/// Measurements of a call by the library.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Figures {
    /// Packets lost, percent.
    pub loss_pct: f64,
    pub jitter_ms: f64,
    pub rtt_ms: Option<f64>,
    /// MOS, 1 to 4.5 (ITU-T G.107).
    pub mos: Option<f64>,
}

/// A call on the screen.
#[derive(Debug, Clone, PartialEq)]
pub struct Line {
    pub id: CallId,
    pub remote: String,
    pub stage: Stage,
    pub codec: Option<String>,
    /// On hold by us, and by the far end.
    pub held: (bool, bool),
    pub muted: bool,
    pub recording: bool,
    /// Levels received and sent, dBFS.
    pub levels: (f64, f64),
    pub figures: Option<Figures>,
    /// Jitter, ms, the newest last.
    pub jitter: VecDeque<u64>,
    /// Seconds since the answer.
    pub age_s: u64,
}

impl Line {
    fn new(id: CallId, remote: String, stage: Stage) -> Self {
        Line {
            id,
            remote,
            stage,
            codec: None,
            held: (false, false),
            muted: false,
            recording: false,
            levels: (f64::NEG_INFINITY, f64::NEG_INFINITY),
            figures: None,
            jitter: VecDeque::new(),
            age_s: 0,
        }
    }
}

/// A prompt in the footer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Prompt {
    pub what: Question,
    pub text: String,
}

/// The subject of a prompt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Question {
    Dial,
    Transfer(CallId),
}

/// The state of the whole screen.
#[derive(Debug, Clone, PartialEq)]
pub struct Model {
    pub identity: String,
    /// In words, and whether the phone is registered.
    pub registration: (String, bool),
    pub calls: Vec<Line>,
    /// Index into `calls`.
    pub chosen: usize,
    pub prompt: Option<Prompt>,
    pub log: VecDeque<String>,
}

impl Model {
    /// A screen without calls.
    pub fn new(identity: String, registration: &str) -> Self {
        Model {
            identity,
            registration: (registration.to_owned(), false),
            calls: Vec::new(),
            chosen: 0,
            prompt: None,
            log: VecDeque::new(),
        }
    }

    /// Adds a line to the log.
    pub fn say(&mut self, line: impl Into<String>) {
        if self.log.len() == LOG {
            self.log.pop_front();
        }
        self.log.push_back(line.into());
    }

    /// Adds a call, and selects it unless the selected call is up.
    pub fn begin(&mut self, id: CallId, remote: String, stage: Stage) {
        self.calls.push(Line::new(id, remote, stage));
        if !self.calls.get(self.chosen).is_some_and(|line| line.stage == Stage::Up) {
            self.chosen = self.calls.len() - 1;
        }
    }

    /// Removes a call.
    pub fn end(&mut self, id: CallId) {
        let Some(index) = self.calls.iter().position(|line| line.id == id) else { return };
        self.calls.remove(index);
        if self.chosen > index {
            self.chosen -= 1;
        }
        self.chosen = self.chosen.min(self.calls.len().saturating_sub(1));
        if self.prompt.as_ref().is_some_and(|prompt| prompt.what == Question::Transfer(id)) {
            self.prompt = None;
        }
    }

    /// A call's line.
    pub fn line(&mut self, id: CallId) -> Option<&mut Line> {
        self.calls.iter_mut().find(|line| line.id == id)
    }

    /// Stores new measurements of a call.
    pub fn measured(&mut self, id: CallId, figures: Figures) {
        let Some(line) = self.line(id) else { return };
        line.figures = Some(figures);
        if line.jitter.len() == SPARKS {
            line.jitter.pop_front();
        }
        line.jitter.push_back(figures.jitter_ms.max(0.0).round() as u64);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn model() -> Model {
        Model::new("sip:a@127.0.0.1".to_owned(), "not registered")
    }

    fn typed(model: &mut Model, text: &str) -> Vec<Request> {
        text.chars()
            .filter_map(|letter| model.key(if letter == '\n' { Key::Enter } else { Key::Char(letter) }))
            .collect()
    }

    fn up(model: &mut Model, id: u64) {
        model.begin(CallId(id), format!("sip:{id}@127.0.0.1"), Stage::Dialling);
        model.line(CallId(id)).expect("a line").stage = Stage::Up;
    }

    #[test]
    fn a_number_is_dialled_with_or_without_the_key_for_it() {
        let wanted = [Request::Dial("1002".to_owned())];
        assert_eq!(typed(&mut model(), "d1002\n"), wanted);
        assert_eq!(typed(&mut model(), "1002\n"), wanted);
        let mut model = model();
        assert_eq!(typed(&mut model, "d\n"), []);
        typed(&mut model, "dx");
        model.key(Key::Backspace);
        assert_eq!(model.prompt.as_ref().map(|prompt| prompt.text.as_str()), Some(""));
        model.key(Key::Escape);
        assert_eq!(model.prompt, None);
    }

    #[test]
    fn letters_act_on_the_chosen_call_as_far_as_it_is() {
        let mut model = model();
        let id = CallId(1);
        assert_eq!(typed(&mut model, "ahomtr"), []);
        model.begin(id, "sip:b@127.0.0.1".to_owned(), Stage::RingsHere);
        assert_eq!(typed(&mut model, "omra"), [Request::Answer(id)]);
        model.line(id).expect("a line").stage = Stage::Up;
        let wanted =
            [Request::Hold(id), Request::Mute(id, true), Request::Record(id, true), Request::Digit(id, '5')];
        assert_eq!(typed(&mut model, "aomr5"), wanted);
        let line = model.line(id).expect("a line");
        (line.held.0, line.muted, line.recording) = (true, true, true);
        assert_eq!(
            typed(&mut model, "omr"),
            [Request::Resume(id), Request::Mute(id, false), Request::Record(id, false)]
        );
        assert_eq!(typed(&mut model, "t1003\n"), [Request::Transfer(id, "1003".to_owned())]);
        assert_eq!(typed(&mut model, "hq"), [Request::Hangup(id), Request::Quit]);
    }

    #[test]
    fn a_second_call_does_not_take_the_keys_from_one_that_is_up() {
        let mut model = model();
        up(&mut model, 1);
        model.begin(CallId(2), "sip:c@127.0.0.1".to_owned(), Stage::RingsHere);
        assert_eq!(typed(&mut model, "h"), [Request::Hangup(CallId(1))]);
        assert_eq!(typed(&mut model, "jc"), []);
        model.key(Key::Down);
        model.key(Key::Down);
        assert_eq!(typed(&mut model, "a"), [Request::Answer(CallId(2))]);
        model.line(CallId(2)).expect("a line").stage = Stage::Up;
        assert_eq!(typed(&mut model, "j"), [Request::Join(CallId(2), CallId(1))]);
        assert_eq!(typed(&mut model, "c"), [Request::Conference(vec![CallId(1), CallId(2)])]);
        model.end(CallId(1));
        assert_eq!(typed(&mut model, "h"), [Request::Hangup(CallId(2))]);
    }

    #[test]
    fn a_question_about_a_call_goes_with_it() {
        let mut model = model();
        up(&mut model, 1);
        typed(&mut model, "t10");
        model.end(CallId(1));
        assert_eq!((model.prompt.clone(), model.chosen), (None, 0));
    }

    #[test]
    fn the_sparkline_keeps_the_newest_values() {
        let mut model = model();
        up(&mut model, 1);
        for jitter in 0..SPARKS + 5 {
            model.measured(CallId(1), Figures { jitter_ms: jitter as f64, ..Figures::default() });
        }
        let line = &model.calls[0];
        assert_eq!(
            (line.jitter.len(), line.jitter.front(), line.jitter.back()),
            (SPARKS, Some(&5), Some(&64))
        );
    }
}
