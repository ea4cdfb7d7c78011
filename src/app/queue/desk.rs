//! The handle on all queues: what callers, agents and operators tell the one machine that has them all. No
//! lock is held while anybody waits.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};

use tokio::sync::oneshot;

use super::attendant::Queues;
use super::machine::agent::Duty;
use super::machine::values::{CallerId, Input, Left, OfferId, Skills};
use super::machine::view::{AgentView, QueueView};
use super::settings::DeskSettings;
use b2b_call::application::{AppHandle, AppId};
use b2b_call::service::CallService;
use b2b_call::{CallId, LegId};

/// What a caller is told.
#[derive(Debug)]
pub(super) enum Order {
    /// It is let in.
    Welcome,
    /// Where it stands.
    Say { position: usize, estimate: Option<std::time::Duration> },
    /// It is joined with this agent.
    Join { offer: OfferId, leg: LegId, agent: Arc<str> },
    /// Its wait is over.
    Left { how: Left, waited: std::time::Duration },
    /// There is no such queue any more.
    NoQueue,
}

/// Somebody who wants to wait.
#[derive(Debug)]
pub(super) struct Entry {
    pub caller: CallerId,
    /// The queue's name.
    pub queue: Arc<str>,
    pub call: CallId,
    /// The caller's number, for the agent's phone.
    pub number: String,
    pub priority: u8,
    pub skills: Skills,
    /// Who is told [`Order`]s.
    pub app: AppId,
}

/// What the machine of all queues is told.
pub(super) enum Word {
    Enter(Entry),
    Input(Input),
    /// The phone of this user is there, or not.
    Phone {
        user: String,
        there: bool,
    },
    Settings(Arc<DeskSettings>),
    Duty {
        agent: String,
        change: Change,
        reply: DutyReply,
    },
    Queues {
        reply: oneshot::Sender<Vec<QueueView>>,
    },
    Agents {
        reply: oneshot::Sender<Vec<AgentView>>,
    },
}

/// Who is told what came of it, as `Option<AgentView>`.
pub(super) enum DutyReply {
    Program(oneshot::Sender<Option<AgentView>>),
    Application(AppId),
}

/// What an agent's state is to become.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Change {
    To(Duty),
    /// In if it is out, else out.
    Login,
    /// Paused if it is available, else available; nothing for who is logged out.
    Pause,
}

impl Change {
    /// What becomes of this.
    pub fn of(self, duty: Duty) -> Duty {
        match (self, duty) {
            (Change::To(duty), _) => duty,
            (Change::Login, Duty::LoggedOut) | (Change::Pause, Duty::Paused) => Duty::Available,
            (Change::Login, _) | (Change::Pause, Duty::LoggedOut) => Duty::LoggedOut,
            (Change::Pause, Duty::Available) => Duty::Paused,
        }
    }
}

/// All queues and agents. Cheap to clone.
#[derive(Clone)]
pub struct QueueDesk {
    settings: Arc<RwLock<Arc<DeskSettings>>>,
    machine: Arc<Mutex<Machine>>,
    callers: Arc<AtomicU64>,
}

/// The machine of all queues.
enum Machine {
    /// What it will be told when it begins.
    Unheard(Vec<Word>),
    Runs(AppHandle),
    /// The service had stopped before it began.
    Over,
}

impl QueueDesk {
    /// Queues without callers. Nothing happens before [`QueueDesk::start`], or the first
    /// caller.
    pub fn new(settings: DeskSettings) -> Self {
        QueueDesk {
            settings: Arc::new(RwLock::new(Arc::new(settings))),
            machine: Arc::new(Mutex::new(Machine::Unheard(Vec::new()))),
            callers: Arc::default(),
        }
    }

    /// What it was told last.
    pub fn settings(&self) -> Arc<DeskSettings> {
        self.settings.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Other settings from now on. Agents and queues of the same names go on as they are;
    /// agents who are no more finish their calls, callers of queues that are no more leave.
    pub fn reload(&self, settings: DeskSettings) {
        let settings = Arc::new(settings);
        *self.settings.write().unwrap_or_else(PoisonError::into_inner) = settings.clone();
        self.tell(Word::Settings(settings));
    }

    /// Begins the machine, on the calls' thread. A second time does nothing.
    pub fn start(&self, service: &CallService) {
        let mut machine = self.machine();
        if let Machine::Unheard(words) = &mut *machine {
            let words = std::mem::take(words);
            *machine = match service.attend(Box::new(Queues::new(self.settings()))) {
                Ok(begun) => {
                    words.into_iter().for_each(|word| begun.tell(word));
                    Machine::Runs(begun)
                }
                Err(_) => Machine::Over,
            };
        }
    }

    fn machine(&self) -> MutexGuard<'_, Machine> {
        // A panic elsewhere leaves nothing half done behind it.
        self.machine.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The machine, for applications; none: it has not begun, or is over.
    pub(super) fn app(&self) -> Option<AppId> {
        match &*self.machine() {
            Machine::Runs(begun) => Some(begun.id()),
            Machine::Unheard(_) | Machine::Over => None,
        }
    }

    /// Every queue, with its callers.
    pub async fn queues(&self) -> Vec<QueueView> {
        self.ask(|reply| Word::Queues { reply }).await.unwrap_or_default()
    }

    /// Every agent.
    pub async fn agents(&self) -> Vec<AgentView> {
        self.ask(|reply| Word::Agents { reply }).await.unwrap_or_default()
    }

    /// Changes what an agent wants; gives what comes of it. None: there is no such agent.
    pub async fn change(&self, agent: &str, change: Change) -> Option<AgentView> {
        let agent = agent.to_owned();
        self.ask(|reply| Word::Duty { agent, change, reply: DutyReply::Program(reply) }).await.flatten()
    }

    /// A user's phone has registered, or is gone.
    pub fn phone(&self, user: &str, there: bool) {
        let known = |agent: &super::settings::AgentSettings| agent.user.as_deref() == Some(user);
        if self.settings().agents.iter().any(known) {
            self.tell(Word::Phone { user: user.to_owned(), there });
        }
    }

    pub(super) fn new_caller(&self) -> CallerId {
        CallerId(self.callers.fetch_add(1, Ordering::Relaxed) + 1)
    }

    fn tell(&self, word: Word) {
        match &mut *self.machine() {
            Machine::Unheard(words) => words.push(word),
            Machine::Runs(begun) => begun.tell(word),
            // Who waits for an answer sees that it is dropped.
            Machine::Over => {}
        }
    }

    async fn ask<T>(&self, make: impl FnOnce(oneshot::Sender<T>) -> Word) -> Option<T> {
        let (reply, answer) = oneshot::channel();
        self.tell(make(reply));
        answer.await.ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_lead_in_and_out_and_a_pause_leads_nobody_in() {
        use Duty::{Available, LoggedOut, Paused};
        let login = [Available, Paused, LoggedOut].map(|duty| Change::Login.of(duty));
        assert_eq!(login, [LoggedOut, LoggedOut, Available]);
        let pause = [Available, Paused, LoggedOut].map(|duty| Change::Pause.of(duty));
        assert_eq!(pause, [Paused, Available, LoggedOut]);
        assert_eq!(Change::To(Paused).of(LoggedOut), Paused);
    }
}
