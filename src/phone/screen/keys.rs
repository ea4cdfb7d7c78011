//! The effects of keys.

use b2b_client::CallId;

use super::model::{Key, Model, Prompt, Question, Request, Stage};

impl Model {
    /// The request of a key, if any.
    pub fn key(&mut self, key: Key) -> Option<Request> {
        if key == Key::Break {
            return Some(Request::Quit);
        }
        if self.prompt.is_some() {
            return self.answer_prompt(key);
        }
        match key {
            Key::Up => self.chosen = self.chosen.saturating_sub(1),
            Key::Down => self.chosen = (self.chosen + 1).min(self.calls.len().saturating_sub(1)),
            Key::Char('q') => return Some(Request::Quit),
            Key::Char('d') => self.ask(Question::Dial),
            Key::Char(digit) if digit.is_ascii_digit() || "*#+".contains(digit) => return self.digit(digit),
            Key::Char(letter) => return self.of_chosen(letter),
            Key::Enter | Key::Escape | Key::Backspace | Key::Break => {}
        }
        None
    }

    fn of_chosen(&mut self, letter: char) -> Option<Request> {
        let line = self.calls.get(self.chosen)?;
        let (id, up) = (line.id, line.stage == Stage::Up);
        match letter {
            'a' if line.stage == Stage::RingsHere => Some(Request::Answer(id)),
            'h' => Some(Request::Hangup(id)),
            'o' if up && line.held.0 => Some(Request::Resume(id)),
            'o' if up => Some(Request::Hold(id)),
            'm' if up => Some(Request::Mute(id, !line.muted)),
            'r' if up => Some(Request::Record(id, !line.recording)),
            't' if up => {
                self.ask(Question::Transfer(id));
                None
            }
            'j' if up => {
                let other = self.calls.iter().find(|other| other.id != id && other.stage == Stage::Up)?;
                Some(Request::Join(id, other.id))
            }
            'c' if up => {
                let all: Vec<CallId> =
                    self.calls.iter().filter(|line| line.stage == Stage::Up).map(|line| line.id).collect();
                (all.len() > 1).then_some(Request::Conference(all))
            }
            _ => None,
        }
    }

    /// A digit for the selected call if it is up; otherwise the start of a number.
    fn digit(&mut self, digit: char) -> Option<Request> {
        match self.calls.get(self.chosen) {
            Some(line) if line.stage == Stage::Up && digit != '+' => Some(Request::Digit(line.id, digit)),
            Some(line) if line.stage == Stage::Up => None,
            _ => {
                self.prompt = Some(Prompt { what: Question::Dial, text: digit.to_string() });
                None
            }
        }
    }

    fn ask(&mut self, what: Question) {
        self.prompt = Some(Prompt { what, text: String::new() });
    }

    fn answer_prompt(&mut self, key: Key) -> Option<Request> {
        match key {
            Key::Escape => self.prompt = None,
            Key::Backspace => drop(self.prompt.as_mut().and_then(|prompt| prompt.text.pop())),
            Key::Char(letter) if !letter.is_control() => self.prompt.as_mut()?.text.push(letter),
            Key::Enter => {
                let Prompt { what, text } = self.prompt.take()?;
                let text = text.trim().to_owned();
                if text.is_empty() {
                    return None;
                }
                return Some(match what {
                    Question::Dial => Request::Dial(text),
                    Question::Transfer(id) => Request::Transfer(id, text),
                });
            }
            Key::Char(_) | Key::Up | Key::Down | Key::Break => {}
        }
        None
    }
}
