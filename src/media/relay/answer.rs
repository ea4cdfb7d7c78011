//! Answers of media threads to whoever waits in a runtime.
//!
//! A media thread has a table of descriptors of its own. To complete a future, or to drop
//! what would have completed it, wakes its runtime, and that is a write to a descriptor of
//! the process's table: in this thread the number means a socket, or nothing. So answers
//! take a thread between, which has the process's table.

use std::io;

use crossbeam_channel::{Receiver, Sender};
use tokio::sync::oneshot;

use b2b_base::util::vital::Vital;

/// An answer on its way: whoever receives it calls it.
pub type Answer = Box<dyn FnOnce() + Send>;

/// A question's way back: the answer leaves a media thread by a channel, even that there
/// is none.
#[derive(Debug)]
pub struct Reply<T: Send + 'static> {
    to: Option<oneshot::Sender<T>>,
    via: Sender<Answer>,
}

impl<T: Send + 'static> Reply<T> {
    /// The answer goes to `to`, handed over to who receives from `via`.
    pub fn new(to: oneshot::Sender<T>, via: Sender<Answer>) -> Self {
        Reply { to: Some(to), via }
    }

    /// Answers.
    pub fn give(mut self, answer: T) {
        self.hand_over(Some(answer), ());
    }

    /// Answers, and leaves it to the other thread to give memory back.
    pub fn give_with(mut self, answer: T, luggage: impl Send + 'static) {
        self.hand_over(Some(answer), luggage);
    }

    fn hand_over(&mut self, answer: Option<T>, luggage: impl Send + 'static) {
        if let Some(to) = self.to.take() {
            let complete = move || {
                match answer {
                    // Whoever asked may have gone.
                    Some(answer) => drop(to.send(answer)),
                    None => drop(to),
                }
                drop(luggage);
            };
            // The thread between lives as long as anybody can send to it.
            let _ = self.via.send(Box::new(complete));
        }
    }
}

impl<T: Send + 'static> Drop for Reply<T> {
    fn drop(&mut self) {
        self.hand_over(None, ());
    }
}

/// Starts the thread between; it ends with the last sender.
pub(super) fn between(vital: Vital) -> io::Result<Sender<Answer>> {
    let (via, answers): (Sender<Answer>, Receiver<Answer>) = crossbeam_channel::unbounded();
    let run = move || answers.iter().for_each(|complete| complete());
    std::thread::Builder::new()
        .name("media-answers".into())
        .spawn(move || vital.run("media-answers", run))?;
    Ok(via)
}
