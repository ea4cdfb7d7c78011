//! Delivers answers of media threads to callers that wait in an async runtime.
//!
//! A media thread has its own descriptor table. Completing a future, or dropping its sender, wakes
//! the runtime by a write to a descriptor of the process's table; in a media thread that number is
//! another socket, or nothing. Answers therefore go through an intermediate thread that has the
//! process's table.

use std::io;

use crossbeam_channel::{Receiver, Sender};
use tokio::sync::oneshot;

use b2b_base::util::vital::Vital;

/// An answer in transit; the receiver calls it to deliver it.
pub type Answer = Box<dyn FnOnce() + Send>;

/// The return path of a request. The answer leaves the media thread through a channel; so does the
/// notice that there is none.
#[derive(Debug)]
pub struct Reply<T: Send + 'static> {
    to: Option<oneshot::Sender<T>>,
    via: Sender<Answer>,
}

impl<T: Send + 'static> Reply<T> {
    /// Sends the answer to `to`; the receiver of `via` delivers it.
    pub fn new(to: oneshot::Sender<T>, via: Sender<Answer>) -> Self {
        Reply { to: Some(to), via }
    }

    /// Sends the answer.
    pub fn give(mut self, answer: T) {
        self.hand_over(Some(answer), ());
    }

    /// Sends the answer, and lets the other thread free `luggage`.
    pub fn give_with(mut self, answer: T, luggage: impl Send + 'static) {
        self.hand_over(Some(answer), luggage);
    }

    fn hand_over(&mut self, answer: Option<T>, luggage: impl Send + 'static) {
        if let Some(to) = self.to.take() {
            let complete = move || {
                match answer {
                    // The requester may have gone away.
                    Some(answer) => drop(to.send(answer)),
                    None => drop(to),
                }
                drop(luggage);
            };
            // The intermediate thread lives as long as a sender exists.
            let _ = self.via.send(Box::new(complete));
        }
    }
}

impl<T: Send + 'static> Drop for Reply<T> {
    fn drop(&mut self) {
        self.hand_over(None, ());
    }
}

/// Starts the intermediate thread; it ends when the last sender is dropped.
pub(super) fn between(vital: Vital) -> io::Result<Sender<Answer>> {
    let (via, answers): (Sender<Answer>, Receiver<Answer>) = crossbeam_channel::unbounded();
    let run = move || answers.iter().for_each(|complete| complete());
    std::thread::Builder::new()
        .name("media-answers".into())
        .spawn(move || vital.run("media-answers", run))?;
    Ok(via)
}
