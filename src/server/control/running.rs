//! A running command: it ends exactly once, for whatever reason.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use tokio::sync::oneshot;

use super::command::{Command, Order};
use super::run::Run;
use super::{Control, Failure, Undo, Who, left, stopping};
use b2b_call::CallId;

/// Default deadline of commands that do not last by nature.
const QUICK: Duration = Duration::from_secs(30);
/// Default deadline of commands that last.
const LASTING: Duration = Duration::from_secs(3_600);

/// A running command; dropping it ends it.
pub(super) struct Running {
    control: Control,
    id: Arc<str>,
    who: Who,
    call: OnceLock<CallId>,
}

impl Running {
    /// The command is accepted, but not started.
    pub fn new(control: &Control, id: &Arc<str>, who: Who) -> Self {
        Running { control: control.clone(), id: id.clone(), who, call: OnceLock::new() }
    }

    /// Carries it out, to its end. Its deadline, and what a program that may command every call asks of media, are on
    /// their way to the calls' thread already when this returns; a holder may lose its leg until then.
    pub fn run(self, order: Order, mut cancelled: oneshot::Receiver<Undo>) -> impl Future<Output = ()> {
        let parts = self.control.0.parts.clone();
        let usual = if order.command.lasts() { LASTING } else { QUICK };
        let deadline = order.deadline_s.map_or(usual, Duration::from_secs);
        let verb = order.command.verb(&parts.current.get().config.apps.prompts);
        let mut verb = order.of().zip(verb);
        let of_program = if self.who == Who::Program { verb.take() } else { None };
        let media = of_program.map(|(of, verb)| parts.service.request_media(of, verb));
        let woken = parts.service.sleep(deadline);
        async move {
            if cancelled.try_recv().is_ok() {
                return self.control.end(&self.id, Err(taken_back()));
            }
            let media = media.or_else(|| verb.map(|(of, verb)| parts.service.request_media(of, verb)));
            let run = Run { parts: &parts, order: &order, running: &self };
            // Commands with lasting effects are quick, and undone only once they are known to be done.
            let leaves = left::leaves(&order.command);
            let mut work = std::pin::pin!(run.carry_out(media));
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
                    Err(undo.map_or_else(|_| stopping(), |_| taken_back()))
                }
                woken = woken => {
                    // The result of a hold is known only when its party responds, if ever.
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
    }

    /// Sets the call that it applies to.
    pub fn is_about(&self, call: CallId) {
        if self.call.set(call).is_ok() {
            self.control.book().memory.is_about(&self.id, call.0);
        }
    }

    /// The call that it applies to, once known.
    pub fn call(&self) -> Option<CallId> {
        self.call.get().copied()
    }

    /// Whether the holder of the leg has sent it.
    pub fn is_of_holder(&self) -> bool {
        matches!(self.who, Who::Holder(_))
    }

    /// Cancels another command.
    pub fn cancel(&self, id: &str) -> bool {
        self.control.cancel(id)
    }
}

fn taken_back() -> Failure {
    Failure::new("cancelled", "it was taken back")
}

impl Drop for Running {
    fn drop(&mut self) {
        // Does nothing if it has ended.
        self.control.end(&self.id, Err(stopping()));
    }
}
