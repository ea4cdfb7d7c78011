//! Call control by programs: everything that a call application can do, as values, independent of the
//! transport.
//!
//! - `command`: the commands, as JSON; `sound`: what is played; `digits`: what is collected; `media`: the commands
//!   that are verbs for media
//! - `needs`: the requirements of a command: a scope, a call, time, consistent values
//! - `memory`: present and past commands, each id once, without I/O
//! - `remote`: calls that are given to a program; `left`: lasting effects that it has started in its call
//! - `running`: a running command, and its single end; `run`: carrying it out
//! - `dial`: how targets of programs are dialled; `hold`: parties on hold
//!
//! A command is a task on the calls' thread. However it ends, it ends exactly once: by an event
//! `command_completed` or `command_failed` on the bus, and the same in the memory. Its id is the program's
//! own, so a program can query it if it does not know whether the command arrived.

pub mod command;
pub mod dial;
mod digits;
pub mod header_fields;
mod hold;
mod left;
mod media;
mod memory;
mod needs;
pub mod remote;
mod run;
mod running;
pub mod sound;
mod transfer;

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;

use serde_json::Value;
use sha2::{Digest, Sha256};
use tokio::sync::{oneshot, watch};

use super::in_force::Current;
use super::meeting_places::MeetingPlaces;
use super::survive::commands::KeptCommands;
use crate::config::tokens::Scope;
use b2b_app::queue::QueueDesk;
use b2b_call::bus::EventBus;
use b2b_call::event::Event;
use b2b_call::service::CallService;
use b2b_call::{CallId, LegId};
pub use command::{Command, Order};
use left::Left;
use memory::{Begun, Memory};
pub use memory::{Failure, State, Status};
pub use needs::is_of_a_call;
use running::Running;

/// Maximum running commands.
const RUNNING: usize = 4_096;
/// Maximum finished commands that are remembered.
const KEPT: usize = 4_096;

/// What commands work with.
#[derive(Clone)]
pub struct Parts {
    pub service: CallService,
    pub bus: EventBus,
    pub current: Current,
    pub queues: QueueDesk,
    pub places: MeetingPlaces,
    /// The wall clock, for the last events of a stopping server.
    pub clock: fn() -> SystemTime,
    /// Where commands are written for the process after this one.
    pub kept: KeptCommands,
}

/// The originator of a command.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Who {
    /// A program that may command every call.
    Program,
    /// A program that has this leg, and no other.
    Holder(LegId),
}

/// Why a command is not started.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    #[error("{0}")]
    Bad(String),
    #[error("another command has this id already")]
    Differs,
    #[error("{RUNNING} commands are in progress")]
    Full,
    #[error("the server is stopping")]
    Stopping,
    #[error("a program with a single call may only control that call")]
    NotYours,
    #[error("the call no longer belongs to this program")]
    Over,
}

/// An accepted command.
#[derive(Debug, Clone)]
pub struct Taken {
    pub id: Arc<str>,
    told: watch::Receiver<bool>,
}

/// Counters since the start.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counters {
    pub completed: u64,
    pub failed: u64,
    pub refused: u64,
}

/// All commands. A handle that can be cloned.
#[derive(Clone)]
pub struct Control(Arc<Inner>);

struct Inner {
    parts: Parts,
    book: Mutex<Book>,
    completed: AtomicU64,
    failed: AtomicU64,
    refused: AtomicU64,
}

/// How a running command is told to end.
struct Cancel {
    who: Who,
    /// The token scope that it requires.
    scope: Scope,
    end: oneshot::Sender<Undo>,
}

/// Whether the effects of a command end with it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Undo {
    Yes,
    No,
}

struct Book {
    memory: Memory,
    /// How the running commands are told to end.
    cancels: HashMap<Arc<str>, Cancel>,
    /// Legs that programs have, and the lasting effects started there.
    holders: HashMap<LegId, Left>,
    stopping: bool,
}

impl Control {
    /// Starts with the commands of the process before. Those that ran there have failed.
    pub fn new(parts: Parts) -> Self {
        let mut memory = Memory::new(RUNNING, KEPT);
        for (number, octets) in parts.kept.of_before() {
            match serde_json::from_slice(octets) {
                Ok(command) => memory.known_before(number, command),
                Err(error) => tracing::warn!("a command of the process before cannot be read: {error}"),
            }
        }
        let lost = memory.all_running();
        let book = Book { memory, cancels: HashMap::new(), holders: HashMap::new(), stopping: false };
        let control = Control(Arc::new(Inner {
            parts,
            book: Mutex::new(book),
            completed: AtomicU64::new(0),
            failed: AtomicU64::new(0),
            refused: AtomicU64::new(0),
        }));
        for id in lost {
            control.end(&id, Err(Failure::new("gone", "the process that ran it has ended")));
        }
        control
    }

    fn book(&self) -> MutexGuard<'_, Book> {
        // Nothing panics while holding it.
        self.0.book.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Accepts a command, and starts it unless its id is known already.
    ///
    /// # Errors
    /// If nothing is started; no event follows.
    pub fn submit(&self, order: Order, who: Who) -> Result<Taken, Refused> {
        self.begin(order, who).inspect_err(|_| {
            self.0.refused.fetch_add(1, Ordering::Relaxed);
        })
    }

    fn begin(&self, mut order: Order, who: Who) -> Result<Taken, Refused> {
        if let Who::Holder(leg) = who {
            order = of_holder(order, leg)?;
        }
        if order.command.needs_call() && order.call.is_none() && order.leg.is_none() {
            return Err(Refused::Bad(format!("{}: set call or leg", order.command.word())));
        }
        // An id of ours is not known to the client before the command is accepted: nobody repeats it.
        let is_kept = order.id.is_some();
        let id = order.id.take().unwrap_or_else(|| format!("c{:016x}", rand::random::<u64>()));
        let id: Arc<str> = id.into();
        let asked = serde_json::to_vec(&order).map_err(|error| Refused::Bad(error.to_string()))?;
        let digest: [u8; 32] = Sha256::digest(&asked).into();
        let (cancel, cancelled) = oneshot::channel();
        let word = order.command.word();
        let told = {
            let mut book = self.book();
            if book.stopping {
                return Err(Refused::Stopping);
            }
            if let Who::Holder(leg) = who
                && !book.holders.contains_key(&leg)
            {
                return Err(Refused::Over);
            }
            let told = match book.memory.begin(&id, word, order.call, digest) {
                Begun::Known(told) => return Ok(Taken { id, told }),
                Begun::Differs => return Err(Refused::Differs),
                Begun::Full => return Err(Refused::Full),
                Begun::New(told) => told,
            };
            book.cancels.insert(id.clone(), Cancel { who, scope: order.command.scope(), end: cancel });
            if is_kept && let Some(number) = self.0.parts.kept.next() {
                book.memory.is_written(&id, number);
            }
            self.write(&book.memory, &id);
            told
        };
        let running = Running::new(self, &id, who);
        // A stopped service drops the task, which ends the command.
        let _ = self.0.parts.service.spawn(running.run(order, cancelled));
        Ok(Taken { id, told })
    }

    /// Writes a command for the process after this one: before it is carried out, and before its end is told.
    fn write(&self, memory: &Memory, id: &str) {
        if let Some((number, command)) = memory.written(id)
            && let Ok(octets) = serde_json::to_vec(&command)
        {
            self.0.parts.kept.write(number, &octets);
        }
    }

    /// The status of a command.
    pub fn status(&self, id: &str) -> Option<Status> {
        self.book().memory.status(id)
    }

    /// A command that was accepted before.
    pub fn taken(&self, id: &str) -> Option<Taken> {
        let told = self.book().memory.follow(id)?;
        Some(Taken { id: id.into(), told })
    }

    /// Waits for the end of an accepted command, and returns its status.
    pub async fn wait(&self, mut taken: Taken) -> Option<Status> {
        // A forgotten command has no status.
        let _ = taken.told.wait_for(|told| *told).await;
        self.status(&taken.id)
    }

    /// The token scope required to cancel this command; `None`: it has ended, or never existed.
    pub fn scope(&self, id: &str) -> Option<Scope> {
        self.book().cancels.get(id).map(|cancel| cancel.scope)
    }

    /// Cancels a command. `false`: it has ended, or never existed.
    pub fn cancel(&self, id: &str) -> bool {
        let cancel = self.book().cancels.remove(id);
        cancel.is_some_and(|cancel| cancel.end.send(Undo::Yes).is_ok())
    }

    /// Gives a leg to a program, which may command it from now on.
    fn give(&self, leg: LegId) {
        self.book().holders.insert(leg, Left::default());
    }

    /// Takes a leg from its holder, whose commands end. Playback, collection and dialling that they started
    /// go on until the next owner of the leg ends them, and so do the effects of finished commands.
    fn take(&self, leg: LegId) -> Left {
        let (theirs, left): (Vec<_>, _) = {
            let mut book = self.book();
            let theirs = book.cancels.extract_if(|_, cancel| cancel.who == Who::Holder(leg)).collect();
            (theirs, book.holders.remove(&leg).unwrap_or_default())
        };
        for (_, cancel) in theirs {
            // It may have ended.
            let _ = cancel.end.send(Undo::No);
        }
        left
    }

    /// Notes a lasting effect of a command. `false`: its originator no longer has the leg.
    fn note(&self, id: &Arc<str>, leg: LegId, command: &Command) -> bool {
        let mut book = self.book();
        let wanted = book.cancels.contains_key(id);
        match book.holders.get_mut(&leg).filter(|_| wanted) {
            Some(left) => {
                left.note(command);
                true
            }
            None => false,
        }
    }

    /// Number of running commands.
    pub fn running(&self) -> usize {
        self.book().memory.running()
    }

    /// The counters.
    pub fn counters(&self) -> Counters {
        let read = |count: &AtomicU64| count.load(Ordering::Relaxed);
        Counters {
            completed: read(&self.0.completed),
            failed: read(&self.0.failed),
            refused: read(&self.0.refused),
        }
    }

    /// Accepts no more commands, and ends all that are running.
    pub fn stop(&self) {
        let running = {
            let mut book = self.book();
            book.stopping = true;
            book.memory.all_running()
        };
        for id in running {
            self.end(&id, Err(stopping()));
        }
    }

    /// Ends a command, for whatever reason; later calls do nothing.
    fn end(&self, id: &Arc<str>, outcome: Result<Value, Failure>) {
        let ended = {
            let mut book = self.book();
            book.cancels.remove(id);
            let ended = book.memory.end(id, outcome);
            self.write(&book.memory, id);
            ended
        };
        let Some((status, told)) = ended else { return };
        let counter = match status.state {
            State::Failed => &self.0.failed,
            State::Completed | State::Running => &self.0.completed,
        };
        counter.fetch_add(1, Ordering::Relaxed);
        let event = event(status);
        // A waiter that subscribes to events after the end receives only later events.
        if self.0.parts.service.tell_watched(event.clone(), told).is_err() {
            self.0.parts.bus.publish((self.0.parts.clock)(), event);
        }
    }
}

fn stopping() -> Failure {
    Failure::new("stopping", "the server is stopping")
}

fn event(status: Status) -> Event {
    let (id, command) = (status.id, status.command.into_owned());
    let call = status.call.map(CallId);
    match status.failure {
        None => {
            let mut result = status.result.unwrap_or_default();
            // The digits are available on request: GET /commands/{id}.
            if result.get("secret").is_some()
                && let Some(fields) = result.as_object_mut()
            {
                fields.remove("digits");
            }
            Event::CommandCompleted { id, command, call, result }
        }
        Some(Failure { reason, error, status }) => {
            Event::CommandFailed { id, command, call, reason: reason.into_owned(), error, status }
        }
    }
}

/// Limits an order to the holder's own leg.
fn of_holder(order: Order, leg: LegId) -> Result<Order, Refused> {
    let own = order.leg.is_none_or(|it| it == leg.0) && order.call.is_none();
    if let Command::Unbridge { app: None } = order.command {
        let error = "app: required for a program with a single call: the application for the other one";
        return Err(Refused::Bad(error.to_owned()));
    }
    match own && order.command.is_of_a_leg() {
        true => Ok(Order { leg: Some(leg.0), ..order }),
        false => Err(Refused::NotYours),
    }
}

impl Failure {
    /// A failure without a status.
    pub fn new(reason: &'static str, error: impl Into<String>) -> Self {
        Failure { reason: reason.into(), error: error.into(), status: None }
    }
}
