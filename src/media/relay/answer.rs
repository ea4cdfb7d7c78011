//! Answers of media threads to whoever waits in a runtime.
//!
//! A media thread has a table of descriptors of its own. To complete a future, or to drop
//! what would have completed it, wakes its runtime, and that is a write to a descriptor of
//! the process's table: in this thread the number means a socket, or nothing. So answers
//! take a thread between, which has the process's table.

use std::io;

use crossbeam_channel::{Receiver, Sender};
use tokio::sync::oneshot;

use super::EndpointStats;

/// To whom, and what; none: there is no such endpoint.
pub type Answer = (oneshot::Sender<Box<EndpointStats>>, Option<Box<EndpointStats>>);

/// A question's way back: the answer leaves a media thread by a channel, even that there
/// is none.
#[derive(Debug)]
pub struct Reply {
    to: Option<oneshot::Sender<Box<EndpointStats>>>,
    via: Sender<Answer>,
}

impl Reply {
    /// The answer goes to `to`, handed over to who receives from `via`.
    pub fn new(to: oneshot::Sender<Box<EndpointStats>>, via: Sender<Answer>) -> Self {
        Reply { to: Some(to), via }
    }

    /// Answers.
    pub(super) fn give(mut self, stats: Box<EndpointStats>) {
        self.hand_over(Some(stats));
    }

    fn hand_over(&mut self, stats: Option<Box<EndpointStats>>) {
        if let Some(to) = self.to.take() {
            // The thread between lives as long as anybody can send to it.
            let _ = self.via.send((to, stats));
        }
    }
}

impl Drop for Reply {
    fn drop(&mut self) {
        self.hand_over(None);
    }
}

/// Starts the thread between; it ends with the last sender.
pub(super) fn between() -> io::Result<Sender<Answer>> {
    let (via, answers): (Sender<Answer>, Receiver<Answer>) = crossbeam_channel::unbounded();
    std::thread::Builder::new().name("media-answers".into()).spawn(move || {
        for (to, stats) in answers {
            if let Some(stats) = stats {
                // Whoever asked may have gone.
                let _ = to.send(stats);
            }
        }
    })?;
    Ok(via)
}
