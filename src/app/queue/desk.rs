//! The handle on all queues: what callers' handlers, agents' calls and operators tell the
//! one task that owns the machine. No lock is held anywhere while somebody waits.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock};

use tokio::sync::{mpsc, oneshot};

use super::attendant;
use super::machine::agent::Duty;
use super::machine::values::{CallerId, Input, Left, OfferId, Skills};
use super::machine::view::{AgentView, QueueView};
use super::settings::DeskSettings;
use b2b_call::service::CallService;
use b2b_call::{CallId, LegId};

/// What a caller's handler is to do.
#[derive(Debug)]
pub(super) enum Order {
    /// Let the caller in.
    Welcome,
    /// Say where it stands.
    Say { position: usize, estimate: Option<std::time::Duration> },
    /// Join it with this agent.
    Join { offer: OfferId, leg: LegId, agent: Arc<str> },
    /// Its wait is over.
    Left { how: Left, waited: std::time::Duration },
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
    pub orders: mpsc::UnboundedSender<Order>,
}

/// What the machine's task is told.
pub(super) enum Word {
    Enter(Entry),
    Input(Input),
    /// An agent is being called.
    Calling {
        offer: OfferId,
        call: CallId,
    },
    /// An agent has answered.
    Answered {
        offer: OfferId,
        leg: LegId,
    },
    /// The phone of this user is there, or not.
    Phone {
        user: String,
        there: bool,
    },
    Settings(Arc<DeskSettings>),
    Duty {
        agent: String,
        change: Change,
        reply: oneshot::Sender<Option<AgentView>>,
    },
    Queues {
        reply: oneshot::Sender<Vec<QueueView>>,
    },
    Agents {
        reply: oneshot::Sender<Vec<AgentView>>,
    },
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
    words: mpsc::UnboundedSender<Word>,
    /// Until the task has begun.
    unheard: Arc<Mutex<Option<mpsc::UnboundedReceiver<Word>>>>,
    callers: Arc<AtomicU64>,
}

impl QueueDesk {
    /// Queues without callers. Nothing happens before [`QueueDesk::start`], or the first
    /// caller.
    pub fn new(settings: DeskSettings) -> Self {
        let (words, unheard) = mpsc::unbounded_channel();
        QueueDesk {
            settings: Arc::new(RwLock::new(Arc::new(settings))),
            words,
            unheard: Arc::new(Mutex::new(Some(unheard))),
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

    /// Begins the task that owns the machine, on the calls' thread. A second time does
    /// nothing.
    pub fn start(&self, service: &CallService) {
        let unheard = self.unheard.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(words) = unheard {
            let task = attendant::attend(self.settings(), words, self.words.clone(), service.clone());
            // The service has stopped: so have the queues.
            let _ = service.spawn(task);
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
        self.ask(|reply| Word::Duty { agent, change, reply }).await.flatten()
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

    pub(super) fn tell(&self, word: Word) {
        // The task is over when the service is.
        let _ = self.words.send(word);
    }

    async fn ask<T>(&self, make: impl FnOnce(oneshot::Sender<T>) -> Word) -> Option<T> {
        let (reply, answer) = oneshot::channel();
        self.words.send(make(reply)).ok()?;
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
