//! A program's words about one call, on their way to the application that has it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use super::Word;
use b2b_call::application::AppHandle;

/// Words of a program about one call that wait to be heard.
const MOST: usize = 64;

/// How a program answers. The last one that is dropped gives the call up.
#[derive(Debug, Clone)]
pub struct Words(Arc<Way>);

#[derive(Debug)]
struct Way {
    app: AppHandle,
    line: Arc<State>,
}

#[derive(Debug, Default)]
struct State {
    /// Words that wait.
    waiting: AtomicUsize,
    is_over: AtomicBool,
}

/// The application's end; dropped, the program's part is over.
#[derive(Debug)]
pub(super) struct Line(Arc<State>);

/// Nobody has the call any more.
#[derive(Debug)]
pub(super) struct GivenUp;

impl Words {
    pub(super) fn new(app: AppHandle) -> (Words, Line) {
        let line = Arc::<State>::default();
        (Words(Arc::new(Way { app, line: line.clone() })), Line(line))
    }

    /// Says this. A sign of life that does not fit is behind others. `false`: the program has the call no more.
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
    /// A word has been heard.
    pub fn heard(&self, _: &Word) {
        self.0.waiting.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Drop for Line {
    fn drop(&mut self) {
        self.0.is_over.store(true, Ordering::Release);
    }
}
