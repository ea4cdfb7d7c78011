//! The handle on all queues: messages of callers, agents and operators to the one machine that has them all.
//! No lock is held across a wait.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};

use tokio::sync::oneshot;

use super::attendant::Queues;
use super::machine::agent::Duty;
use super::machine::values::{Before, CallerId, Input, Left, OfferId, Skills};
use super::machine::view::{AgentView, QueueView};
use super::settings::DeskSettings;
use crate::caller::Caller;
use b2b_call::application::{AppHandle, AppId, Wants};
use b2b_call::handler::HandlerAction;
use b2b_call::service::CallService;
use b2b_call::switch::CallSnapshot;
use b2b_call::{CallId, LegId};

/// An order to a caller's application.
#[derive(Debug)]
pub(super) enum Order {
    /// The caller is admitted.
    Welcome,
    /// Announce the position.
    Say { position: usize, estimate: Option<std::time::Duration> },
    /// Join the caller with this agent.
    Join { offer: OfferId, leg: LegId, agent: Arc<str> },
    /// The wait has ended.
    Left { how: Left, waited: std::time::Duration },
    /// The queue no longer exists.
    NoQueue,
}

/// A caller who wants to wait.
#[derive(Debug)]
pub(super) struct Entry {
    pub caller: CallerId,
    pub who: Caller,
    /// The queue's name.
    pub queue: Arc<str>,
    pub call: CallId,
    /// The caller's number, shown on the agent's phone.
    pub number: String,
    pub priority: u8,
    pub skills: Skills,
    /// The application that gets [`Order`]s.
    pub app: AppId,
}

/// A message to the machine of all queues.
pub(super) enum Word {
    Enter(Entry),
    /// A caller goes on waiting who has done so in another process.
    Return(Entry, Before),
    /// This agent has talked to a caller of this queue since another process.
    Talks {
        queue: String,
        agent: String,
        leg: LegId,
    },
    Input(Input),
    /// The phone of this user has registered, or is gone.
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

/// The receiver of the result, as `Option<AgentView>`.
pub(super) enum DutyReply {
    Program(oneshot::Sender<Option<AgentView>>),
    Application(AppId),
}

/// A change of an agent's duty.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Change {
    To(Duty),
    /// Logs in if logged out, otherwise out.
    Login,
    /// Pauses if available, otherwise makes available; no effect if logged out.
    Pause,
}

impl Change {
    /// The duty after this change.
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
    /// Not started; messages to deliver at the start.
    Unheard(Vec<Word>),
    Runs(AppHandle),
    /// The service had stopped before the start.
    Over,
}

impl QueueDesk {
    /// Queues without callers. The machine starts with [`QueueDesk::start`], or with the first caller.
    pub fn new(settings: DeskSettings) -> Self {
        QueueDesk {
            settings: Arc::new(RwLock::new(Arc::new(settings))),
            machine: Arc::new(Mutex::new(Machine::Unheard(Vec::new()))),
            callers: Arc::default(),
        }
    }

    /// The current configuration.
    pub fn settings(&self) -> Arc<DeskSettings> {
        self.settings.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Changes the configuration. Agents and queues of the same names keep their state; removed agents finish
    /// their calls, callers of removed queues leave.
    pub fn reload(&self, settings: DeskSettings) {
        let settings = Arc::new(settings);
        *self.settings.write().unwrap_or_else(PoisonError::into_inner) = settings.clone();
        self.tell(Word::Settings(settings));
    }

    /// Starts the machine on the call thread. A second call has no effect.
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
        // A panic elsewhere leaves no inconsistent state behind this lock.
        self.machine.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The machine's application; `None` if it is not running.
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

    /// Changes an agent's duty; returns the resulting state. `None` if there is no such agent.
    pub async fn change(&self, agent: &str, change: Change) -> Option<AgentView> {
        let agent = agent.to_owned();
        self.ask(|reply| Word::Duty { agent, change, reply: DutyReply::Program(reply) }).await.flatten()
    }

    /// The phone of a user has registered, or is gone.
    pub fn phone(&self, user: &str, there: bool) {
        let known = |agent: &super::settings::AgentSettings| agent.user.as_deref() == Some(user);
        if self.settings().agents.iter().any(known) {
            self.tell(Word::Phone { user: user.to_owned(), there });
        }
    }

    pub(super) fn new_caller(&self) -> CallerId {
        CallerId(self.callers.fetch_add(1, Ordering::Relaxed) + 1)
    }

    /// A caller who had this number in another process: those who come from now on are behind them.
    pub(super) fn returning_caller(&self, number: u64) -> CallerId {
        self.callers.fetch_max(number, Ordering::Relaxed);
        self.new_caller()
    }

    /// Sends a message in the name of an application, which is told if the machine is over.
    pub(super) fn tell_from(&self, wants: &mut Wants, word: Word) {
        match &mut *self.machine() {
            Machine::Unheard(words) => words.push(word),
            Machine::Runs(begun) => wants.tell(begun.id(), word),
            Machine::Over => wants.end(HandlerAction::Disconnect),
        }
    }

    /// Agents who have talked to callers since another process are busy, as far as the calls say who they are: all
    /// calls, before a new one comes.
    pub fn go_on(&self, calls: &[CallSnapshot]) {
        let settings = self.settings();
        for call in calls.iter().filter(|call| call.bridge.is_some()) {
            let value = |name: &str| call.variables.iter().find(|(it, _)| it == name).map(|(_, value)| value);
            let named = value("queue").zip(value("queue_agent"));
            let agent =
                named.and_then(|(_, agent)| settings.agents.iter().find(|it| *it.plan.name == **agent));
            let Some(((queue, name), agent)) = named.zip(agent) else { continue };
            // Somebody else may have the caller by now.
            if let Some(leg) = call.legs.iter().find(|leg| agent.is_at(leg)) {
                let (queue, agent, leg) = (queue.clone(), name.clone(), leg.leg);
                self.tell(Word::Talks { queue, agent, leg });
            }
        }
    }

    fn tell(&self, word: Word) {
        match &mut *self.machine() {
            Machine::Unheard(words) => words.push(word),
            Machine::Runs(begun) => begun.tell(word),
            // Dropping the message tells a caller that waits for an answer.
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
