//! A program's words about one call, on their way to the application that has it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use super::Word;
use b2b_call::application::AppHandle;

/// Queued words of a program about one call beyond which further signs of life are dropped.
const MOST: usize = 64;

/// The channel for a program's words. Dropping the last clone gives the call up.
#[derive(Debug, Clone)]
pub struct Words(Arc<Way>);

#[derive(Debug)]
struct Way {
    app: AppHandle,
    line: Arc<State>,
}

#[derive(Debug, Default)]
struct State {
    /// Number of queued words.
    waiting: AtomicUsize,
    is_over: AtomicBool,
}

/// The application's end; dropping it ends the program's part.
#[derive(Debug)]
pub(super) struct Line(Arc<State>);

/// The program has given the call up.
#[derive(Debug)]
pub(super) struct GivenUp;

impl Words {
    pub(super) fn new(app: AppHandle) -> (Words, Line) {
        let line = Arc::<State>::default();
        (Words(Arc::new(Way { app, line: line.clone() })), Line(line))
    }

    /// Sends a word. A sign of life that finds the queue full is dropped, as those before it suffice.
    /// `false`: the program no longer has the call.
    pub fn tell(&self, word: Word) -> bool {
        let Way { app, line } = &*self.0;
        if line.is_over.load(Ordering::Acquire) {
            return false;
        }
        let is_sign = matches!(word, Word::Sign | Word::Touch);
        if is_sign && line.waiting.load(Ordering::Relaxed) >= MOST {
            return true;
        }
        line.waiting.fetch_add(1, Ordering::Relaxed);
        app.tell(word);
        true
    }
}

impl Drop for Way {
    fn drop(&mut self) {
        self.app.tell(GivenUp);
    }
}

impl Line {
    /// A word has been received.
    pub fn heard(&self, _: &Word) {
        self.0.waiting.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Drop for Line {
    fn drop(&mut self) {
        self.0.is_over.store(true, Ordering::Release);
    }
}
