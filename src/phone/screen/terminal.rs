//! The terminal: its keys as values, and the screen drawn on it.

use std::io;
use std::time::Duration;

use ratatui::DefaultTerminal;
use ratatui::crossterm::event::{self, Event, KeyCode, KeyEvent, KeyEventKind, KeyModifiers};
use tokio::sync::mpsc;

use super::draw::draw;
use super::model::{Key, Model};

/// How often the thread of keys looks whether anybody still reads them.
const LOOK: Duration = Duration::from_millis(200);

/// A key, or that the screen has another size.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Input {
    Key(Key),
    Resized,
}

/// The terminal in raw mode; as it was before when this is dropped.
pub struct Screen(DefaultTerminal);

impl Screen {
    /// Takes the terminal over. Ctrl-C is a key from now on.
    ///
    /// # Errors
    /// It is none.
    pub fn take() -> io::Result<Screen> {
        ratatui::try_init().map(Screen)
    }

    /// Draws what has changed.
    ///
    /// # Errors
    /// The terminal is gone.
    pub fn draw(&mut self, model: &Model) -> io::Result<()> {
        self.0.draw(|frame| draw(frame, model)).map(|_| ())
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        ratatui::restore();
    }
}

/// Keys from a thread of their own, until the receiver is dropped or the terminal is gone.
///
/// # Errors
/// The system refuses a thread.
pub fn keys() -> io::Result<mpsc::UnboundedReceiver<Input>> {
    let (sender, receiver) = mpsc::unbounded_channel();
    let read = move || {
        while !sender.is_closed() {
            match event::poll(LOOK) {
                Ok(false) => continue,
                Ok(true) => {}
                Err(_) => return,
            }
            let input = match event::read() {
                Ok(Event::Key(key)) => key_of(key).map(Input::Key),
                Ok(Event::Resize(..)) => Some(Input::Resized),
                Ok(_) => None,
                Err(_) => return,
            };
            if input.is_some_and(|input| sender.send(input).is_err()) {
                return;
            }
        }
    };
    std::thread::Builder::new().name("keys".into()).spawn(read)?;
    Ok(receiver)
}

fn key_of(key: KeyEvent) -> Option<Key> {
    if key.kind == KeyEventKind::Release {
        return None;
    }
    let control = key.modifiers.contains(KeyModifiers::CONTROL);
    Some(match key.code {
        // What ends every other program ends this one, from wherever it is.
        KeyCode::Char('c' | 'd') if control => Key::Break,
        KeyCode::Char(_) if control => return None,
        KeyCode::Char(letter) => Key::Char(letter),
        KeyCode::Enter => Key::Enter,
        KeyCode::Esc => Key::Escape,
        KeyCode::Backspace => Key::Backspace,
        KeyCode::Up => Key::Up,
        KeyCode::Down => Key::Down,
        _ => return None,
    })
}
