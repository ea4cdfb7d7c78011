//! The terminal: its keys as values, and drawing.

use std::io;
use std::time::Duration;

use ratatui::DefaultTerminal;
use ratatui::crossterm::event::{self, Event, KeyCode, KeyEvent, KeyEventKind, KeyModifiers};
use tokio::sync::mpsc;

use super::draw::draw;
use super::model::{Key, Model};

/// How often the key thread checks that its receiver exists.
const LOOK: Duration = Duration::from_millis(200);

/// A key, or a change of the terminal's size.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Input {
    Key(Key),
    Resized,
}

/// The terminal in raw mode; restored on drop.
pub struct Screen(DefaultTerminal);

impl Screen {
    /// Takes over the terminal. From now on Ctrl-C is a key.
    ///
    /// # Errors
    /// Standard output is not a terminal.
    pub fn take() -> io::Result<Screen> {
        ratatui::try_init().map(Screen)
    }

    /// Draws the changes.
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

/// Reads keys on a separate thread, until the receiver is dropped or the terminal is gone.
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
        // Ctrl-C and Ctrl-D end the phone from any state, as in other programs.
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
