//! A command under way: however it comes to its end, it has one.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use tokio::sync::oneshot;

use super::command::{Command, Order};
use super::run::Run;
use super::{Control, Failure, Undo, Who, left, stopping};
use b2b_call::CallId;

/// How long a command may take that says nothing of it, and does not last by its nature.
const QUICK: Duration = Duration::from_secs(30);
/// The same for those that last.
const LASTING: Duration = Duration::from_secs(3_600);

/// A command under way; dropped, it is over.
pub(super) struct Running {
    control: Control,
    id: Arc<str>,
    who: Who,
    call: OnceLock<CallId>,
}

impl Running {
    /// It is taken, and not begun.
    pub fn new(control: &Control, id: &Arc<str>, who: Who) -> Self {
        Running { control: control.clone(), id: id.clone(), who, call: OnceLock::new() }
    }

    /// Carries it out, to its end.
    pub async fn run(self, order: Order, cancelled: oneshot::Receiver<Undo>) {
        let usual = if order.command.lasts() { LASTING } else { QUICK };
        let deadline = order.deadline_s.map_or(usual, Duration::from_secs);
        let parts = self.control.0.parts.clone();
        let run = Run { parts: &parts, order: &order, running: &self };
        // Those are quick, and undone only when they are known to be done.
        let leaves = left::leaves(&order.command);
        let mut work = std::pin::pin!(run.carry_out());
        let outcome = tokio::select! {
            biased;
            outcome = &mut work => {
                if leaves
                    && outcome.is_ok()
                    && let Who::Holder(leg) = self.who
                    && !self.control.note(&self.id, leg, &order.command)
                {
                    run.take_back().await;
                }
                outcome
            }
            undo = cancelled => {
                let undoes = if leaves { work.await.is_ok() } else { undo == Ok(Undo::Yes) };
                if undoes {
                    run.take_back().await;
                }
                Err(undo.map_or_else(|_| stopping(), |_| Failure::new("cancelled", "it was taken back")))
            }
            woken = parts.service.sleep(deadline) => {
                // What comes of a hold is known when its party answers, or not at all.
                if !leaves || matches!(order.command, Command::Hold { .. }) {
                    run.take_back().await;
                }
                Err(match woken {
                    Ok(_) => {
                        Failure::new("deadline", format!("not completed within {} s", deadline.as_secs()))
                    }
                    Err(error) => error.into(),
                })
            }
        };
        self.control.end(&self.id, outcome);
    }

    /// It is about this call.
    pub fn is_about(&self, call: CallId) {
        if self.call.set(call).is_ok() {
            self.control.book().memory.is_about(&self.id, call.0);
        }
    }

    /// The call that it is about, once that is known.
    pub fn call(&self) -> Option<CallId> {
        self.call.get().copied()
    }

    /// Whether who has the leg has wanted it.
    pub fn is_of_holder(&self) -> bool {
        matches!(self.who, Who::Holder(_))
    }

    /// Takes another one back.
    pub fn cancel(&self, id: &str) -> bool {
        self.control.cancel(id)
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // Unless it has ended.
        self.control.end(&self.id, Err(stopping()));
    }
}
