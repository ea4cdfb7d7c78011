//! Standard output of the orchestrator: lines, and on a terminal a status line below them, which is erased
//! before each line and redrawn after it.
//!
//! A separate thread writes, so that a stopped terminal (Ctrl-S, a pager) does not delay the shutdown.

use std::io::{IsTerminal, Write};
use std::time::Duration;

use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, TrySendError, bounded};

/// Maximum lines queued.
const MAX_WAITING: usize = 4_096;
/// Retry interval on a full queue.
const TICK: Duration = Duration::from_millis(20);
/// Maximum items written at once, after the first.
const BATCH: usize = 256;
/// Erases the current line.
const ERASE: &str = "\r\u{1b}[2K";

#[derive(Debug)]
enum Item {
    Line(String),
    Status(String),
    End,
}

/// The output of the orchestrator. Clones write to the same output.
#[derive(Debug, Clone)]
pub struct Console {
    items: Sender<Item>,
    done: Receiver<()>,
    has_status: bool,
}

impl Console {
    /// Writes to standard output, with a status line if it is a terminal.
    ///
    /// # Errors
    /// The thread could not be started.
    pub fn of_stdout() -> std::io::Result<Self> {
        let output = std::io::stdout();
        let terminal = output.is_terminal();
        Console::start(output, terminal.then_some(columns))
    }

    /// Writes to `output`. `width` returns the terminal's columns if the output is a terminal; without it
    /// there is no status line.
    ///
    /// # Errors
    /// The thread could not be started.
    pub fn start(output: impl Write + Send + 'static, width: Option<fn() -> usize>) -> std::io::Result<Self> {
        let (items, waiting) = bounded(MAX_WAITING);
        let (finished, done) = bounded(0);
        std::thread::Builder::new().name("console".into()).spawn(move || {
            write_all(output, &waiting, width);
            drop(finished);
        })?;
        Ok(Console { items, done, has_status: width.is_some() })
    }

    /// Whether there is room for lines of children, with a reserve for our own.
    pub fn has_room(&self) -> bool {
        self.items.len() < MAX_WAITING / 2
    }

    /// Writes a line; drops it if the queue is full.
    pub fn line(&self, line: String) {
        let _ = self.items.try_send(Item::Line(line));
    }

    /// Writes a line; waits for room while `may_wait` returns true.
    pub fn important_line(&self, line: String, may_wait: impl Fn() -> bool) {
        self.put(Item::Line(line), &may_wait);
    }

    fn put(&self, mut item: Item, may_wait: &impl Fn() -> bool) {
        loop {
            match self.items.try_send(item) {
                Err(TrySendError::Full(back)) if may_wait() => item = back,
                _ => return,
            }
            std::thread::sleep(TICK);
        }
    }

    /// Whether there is a status line.
    pub fn has_status(&self) -> bool {
        self.has_status
    }

    /// Replaces the status line.
    pub fn status(&self, status: String) {
        if self.has_status {
            let _ = self.items.try_send(Item::Status(status));
        }
    }

    /// Ends the console; waits until everything is written, while `may_wait` returns true. Later lines are
    /// lost.
    pub fn finish(&self, may_wait: impl Fn() -> bool) {
        self.put(Item::End, &may_wait);
        while self.done.recv_timeout(TICK) == Err(RecvTimeoutError::Timeout) && may_wait() {}
    }
}

/// Columns of the terminal.
fn columns() -> usize {
    terminal_size::terminal_size().map_or(80, |(width, _)| width.0.into())
}

fn write_all(mut output: impl Write, waiting: &Receiver<Item>, width: Option<fn() -> usize>) {
    let mut status = String::new();
    let mut shown = false;
    let mut ended = false;
    while let Ok(first) = waiting.recv() {
        let mut text = String::new();
        if shown {
            text.push_str(ERASE);
        }
        for item in std::iter::once(first).chain(waiting.try_iter().take(BATCH)) {
            match item {
                Item::Line(line) => {
                    text.push_str(&line);
                    text.push('\n');
                }
                Item::Status(new) => status = new,
                Item::End => ended = true,
            }
        }
        if let Some(width) = width {
            // the last column stays empty: some terminals would wrap
            text.extend(status.chars().take(width().saturating_sub(1)));
            shown = !status.is_empty();
        }
        // a closed pipe ends neither the run nor its exit code
        let _ = output.write_all(text.as_bytes());
        let _ = output.flush();
        if ended {
            break;
        }
    }
    if shown {
        let _ = output.write_all(ERASE.as_bytes());
        let _ = output.flush();
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use super::*;

    #[derive(Clone, Default)]
    struct Screen(Arc<Mutex<Vec<u8>>>);

    impl Write for Screen {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    /// The content of the screen after batches of items.
    fn written(width: Option<fn() -> usize>, items: Vec<Item>) -> String {
        let (sender, waiting) = bounded(2 * BATCH);
        for item in items {
            sender.send(item).unwrap();
        }
        drop(sender);
        let screen = Screen::default();
        write_all(screen.clone(), &waiting, width);
        let bytes = screen.0.lock().unwrap().clone();
        String::from_utf8(bytes).unwrap()
    }

    #[test]
    fn without_a_terminal_there_are_only_lines() {
        let items = vec![Item::Line("a".into()), Item::Status("s".into()), Item::Line("b".into())];
        assert_eq!(written(None, items), "a\nb\n");
    }

    #[test]
    fn a_status_line_is_cut_to_the_width_and_erased_at_the_end() {
        let text = written(Some(|| 4), vec![Item::Status("status".into())]);
        assert_eq!(text, format!("sta{ERASE}"));
    }

    #[test]
    fn a_line_erases_the_status_line_and_brings_it_back() {
        let items = std::iter::once(Item::Status("status".into()))
            // fills the first batch, so that the line is in the second
            .chain((0..BATCH).map(|_| Item::Status("status".into())))
            .chain([Item::Line("line".into())])
            .collect();
        assert_eq!(written(Some(|| 80), items), format!("status{ERASE}line\nstatus{ERASE}"));
    }

    #[test]
    fn a_reader_that_stands_still_holds_nobody_up() {
        struct Stuck(Receiver<()>);
        impl Write for Stuck {
            fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
                let _ = self.0.recv();
                Ok(bytes.len())
            }
            fn flush(&mut self) -> std::io::Result<()> {
                Ok(())
            }
        }
        let (release, stuck) = bounded(0);
        let console = Console::start(Stuck(stuck), None).unwrap();
        for _ in 0..2 * MAX_WAITING {
            console.line("x".into());
        }
        assert!(!console.has_room());
        console.important_line("last".into(), || false);
        console.finish(|| false);
        drop(release);
    }
}
