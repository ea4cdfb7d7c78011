//! Present and past commands: each id is used once. No I/O, no clock.
//!
//! Finished commands are remembered until a number of later ones have finished, too; the number of running
//! commands is bounded by refusing more.

use std::borrow::Cow;
use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use serde_json::Value;
use tokio::sync::watch;
use utoipa::ToSchema;

/// State of a command.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum State {
    Running,
    Completed,
    Failed,
}

/// Why a command failed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Failure {
    /// One word: `gone`, `wrong_state`, `unknown`, `refused`, `media`, `deadline`, `cancelled`, `stopping`.
    #[schema(value_type = String)]
    pub reason: Cow<'static, str>,
    /// The same in words.
    pub error: String,
    /// The SIP status, where a party or a lookup has refused.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub status: Option<u16>,
}

/// The fields of a `Failure`, for a command that may also have succeeded: for the OpenAPI document.
#[derive(ToSchema)]
#[allow(dead_code)] // only a description, never constructed
struct MaybeFailure {
    /// One word: see `Failure`.
    reason: Option<String>,
    /// The same in words.
    error: Option<String>,
    /// The SIP status, where a party or a lookup has refused.
    status: Option<u16>,
}

/// Status of a command.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Status {
    pub id: String,
    /// Its name: `play`.
    #[schema(value_type = String)]
    pub command: Cow<'static, str>,
    /// The call that it applies to, once known.
    pub call: Option<u64>,
    pub state: State,
    /// Its result.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub result: Option<Value>,
    #[serde(flatten)]
    #[schema(value_type = MaybeFailure)]
    pub failure: Option<Failure>,
}

struct Entry {
    /// Digest of the request: a different request under the same id is an error.
    digest: [u8; 32],
    status: Status,
    /// Where it is written for the process after this one.
    number: Option<u64>,
    /// Whether waiters may learn of its end.
    told: watch::Sender<bool>,
}

/// A command as the process after this one finds it.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct WrittenCommand {
    digest: [u8; 32],
    status: Status,
}

/// What to do with a submitted command.
#[derive(Debug)]
pub enum Begun {
    /// It is new and has to be carried out.
    New(watch::Receiver<bool>),
    /// It was submitted before: nothing has to be done.
    Known(watch::Receiver<bool>),
    /// A different command was submitted under this id.
    Differs,
    /// Too many commands are running.
    Full,
}

/// See the module documentation.
pub struct Memory {
    entries: HashMap<Arc<str>, Entry>,
    over: VecDeque<Arc<str>>,
    running: usize,
    /// Maximum running commands.
    most: usize,
    /// Maximum remembered commands.
    kept: usize,
}

impl Memory {
    /// Starts empty: at most `most` commands run at once, and `kept` finished ones are remembered.
    pub fn new(most: usize, kept: usize) -> Self {
        Memory { entries: HashMap::new(), over: VecDeque::new(), running: 0, most, kept }
    }

    /// Registers a submitted command.
    pub fn begin(
        &mut self,
        id: &Arc<str>,
        command: impl Into<Cow<'static, str>>,
        call: Option<u64>,
        digest: [u8; 32],
    ) -> Begun {
        if let Some(known) = self.entries.get(id) {
            return match known.digest == digest {
                true => Begun::Known(known.told.subscribe()),
                false => Begun::Differs,
            };
        }
        if self.running >= self.most {
            return Begun::Full;
        }
        let (told, waits) = watch::channel(false);
        let (id_text, command) = (id.to_string(), command.into());
        let status =
            Status { id: id_text, command, call, state: State::Running, result: None, failure: None };
        self.entries.insert(id.clone(), Entry { digest, status, number: None, told });
        self.running += 1;
        Begun::New(waits)
    }

    /// Sets the call that a command applies to.
    pub fn is_about(&mut self, id: &str, call: u64) {
        if let Some(entry) = self.entries.get_mut(id) {
            entry.status.call = Some(call);
        }
    }

    /// Registers the end of a command; returns its final status, and the channel for its waiters. `None`: it
    /// had ended before, or never existed.
    pub fn end(
        &mut self,
        id: &Arc<str>,
        outcome: Result<Value, Failure>,
    ) -> Option<(Status, watch::Sender<bool>)> {
        let entry = self.entries.get_mut(id).filter(|it| it.status.state == State::Running)?;
        match outcome {
            Ok(result) => (entry.status.state, entry.status.result) = (State::Completed, Some(result)),
            Err(failure) => (entry.status.state, entry.status.failure) = (State::Failed, Some(failure)),
        }
        let status = entry.status.clone();
        let told = entry.told.clone();
        self.running -= 1;
        self.over.push_back(id.clone());
        if self.over.len() > self.kept
            && let Some(oldest) = self.over.pop_front()
        {
            self.entries.remove(&oldest);
        }
        Some((status, told))
    }

    /// A receiver for the end of a command.
    pub fn follow(&self, id: &str) -> Option<watch::Receiver<bool>> {
        self.entries.get(id).map(|entry| entry.told.subscribe())
    }

    /// The status of a command.
    pub fn status(&self, id: &str) -> Option<Status> {
        self.entries.get(id).map(|entry| entry.status.clone())
    }

    /// A command is written under this number from now on.
    pub fn is_written(&mut self, id: &str, number: u64) {
        if let Some(entry) = self.entries.get_mut(id) {
            entry.number = Some(number);
        }
    }

    /// A command as it is to be written, and under which number.
    pub fn written(&self, id: &str) -> Option<(u64, WrittenCommand)> {
        let entry = self.entries.get(id)?;
        Some((entry.number?, WrittenCommand { digest: entry.digest, status: entry.status.clone() }))
    }

    /// A command of the process before, with its outcome; one that has none still runs here.
    pub fn known_before(&mut self, number: u64, WrittenCommand { digest, status }: WrittenCommand) {
        let id: Arc<str> = status.id.into();
        if let Begun::New(_) = self.begin(&id, status.command, status.call, digest) {
            self.is_written(&id, number);
            let outcome = match (status.result, status.failure) {
                (_, Some(failure)) => Err(failure),
                (Some(result), None) => Ok(result),
                (None, None) => return,
            };
            if let Some((_, told)) = self.end(&id, outcome) {
                told.send_replace(true);
            }
        }
    }

    /// Number of running commands.
    pub fn running(&self) -> usize {
        self.running
    }

    /// The ids of the running commands.
    pub fn all_running(&self) -> Vec<Arc<str>> {
        let running = self.entries.iter().filter(|(_, entry)| entry.status.state == State::Running);
        running.map(|(id, _)| id.clone()).collect()
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn begin(memory: &mut Memory, id: &str, digest: u8) -> &'static str {
        match memory.begin(&id.into(), "play", None, [digest; 32]) {
            Begun::New(_) => "new",
            Begun::Known(_) => "known",
            Begun::Differs => "differs",
            Begun::Full => "full",
        }
    }

    fn end(memory: &mut Memory, id: &str) -> bool {
        memory.end(&id.into(), Ok(json!({}))).is_some()
    }

    #[test]
    fn a_command_is_carried_out_once_and_ends_once() {
        let mut memory = Memory::new(2, 2);
        assert_eq!(begin(&mut memory, "a", 1), "new");
        assert_eq!(begin(&mut memory, "a", 1), "known");
        assert_eq!(begin(&mut memory, "a", 2), "differs");
        memory.is_about("a", 7);
        assert!(end(&mut memory, "a"));
        assert!(!end(&mut memory, "a"), "it is over");
        assert_eq!(begin(&mut memory, "a", 1), "known");
        let status = memory.status("a").unwrap();
        assert_eq!((status.state, status.call, memory.running()), (State::Completed, Some(7), 0));
        assert!(!end(&mut memory, "never"));
    }

    #[test]
    fn what_is_under_way_and_what_is_remembered_is_bounded() {
        let mut memory = Memory::new(2, 3);
        assert_eq!(["a", "b", "c"].map(|id| begin(&mut memory, id, 0)), ["new", "new", "full"]);
        for id in ["a", "b"] {
            assert!(end(&mut memory, id));
        }
        for id in ["c", "d", "e"] {
            assert_eq!(begin(&mut memory, id, 0), "new");
            assert!(end(&mut memory, id));
        }
        assert_eq!((memory.entries.len(), memory.over.len()), (3, 3));
        assert!(memory.status("b").is_none(), "forgotten");
        assert_eq!(begin(&mut memory, "b", 0), "new");
        assert_eq!(memory.all_running(), ["b".into()]);
    }

    #[test]
    fn who_waits_is_told_of_the_end() {
        let mut memory = Memory::new(2, 3);
        let Begun::New(mut told) = memory.begin(&"a".into(), "play", None, [0; 32]) else { panic!() };
        assert!(!told.has_changed().unwrap());
        let failure = Failure { reason: "gone".into(), error: "over".into(), status: None };
        let (_, telling) = memory.end(&"a".into(), Err(failure)).unwrap();
        assert!(!told.has_changed().unwrap(), "whoever ends it says when");
        telling.send_replace(true);
        assert!(*told.borrow_and_update());
        let status = serde_json::to_value(memory.status("a").unwrap()).unwrap();
        assert_eq!(status["reason"], "gone", "{status}");
        assert_eq!(status["state"], "failed");
    }

    #[test]
    fn nobody_waits_for_a_command_that_has_ended_in_the_process_before() {
        let mut memory = Memory::new(2, 3);
        assert_eq!(begin(&mut memory, "a", 0), "new");
        assert!(end(&mut memory, "a"));
        memory.is_written("a", 7);
        let (number, written) = memory.written("a").unwrap();
        let mut next = Memory::new(2, 3);
        next.known_before(number, written);
        assert!(*next.follow("a").unwrap().borrow());
    }
}
