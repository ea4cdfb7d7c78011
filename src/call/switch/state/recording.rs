//! Recordings of calls and of single legs, as values.
//!
//! The recording of a call begins with its first answer and continues in the same file as legs come and go.
//! The recorded object is an endpoint: the party of leg A is on the left. When that leg goes and another one
//! stays, the recording moves to the latter, with the sides swapped.
//!
//! The recording of a leg contains what its party says, optionally also what it hears, wherever the leg goes.
//! It ends with the leg, and is independent of the recording of its call.

use std::collections::VecDeque;
use std::path::Path;

use crate::controller::{Recorded, RecordingId, RecordingSpec};
use crate::service::CallError;
use crate::service::command::Reply;
use crate::{CallId, LegId};

/// Where the outcome of a request to start or end a recording is sent.
pub(crate) type Asks = Reply<Result<Option<Recorded>, CallError>>;

/// The owner of a recording.
#[derive(Debug, Clone, Copy, serde::Serialize, serde::Deserialize)]
pub(crate) enum Subject {
    Call(CallId),
    Leg(LegId),
}

impl Subject {
    pub(crate) fn leg(self) -> Option<LegId> {
        match self {
            Subject::Call(_) => None,
            Subject::Leg(leg) => Some(leg),
        }
    }

    pub(crate) fn wrong(self, of_call: &'static str, of_leg: &'static str) -> CallError {
        CallError::WrongState(if self.leg().is_some() { of_leg } else { of_call })
    }

    pub(crate) fn not_recorded(self) -> CallError {
        self.wrong("the call is not recorded", "the leg is not recorded")
    }
}

/// Maximum number of ended recordings whose files are not known to be complete: the media backend reports
/// each, but none once it is gone.
pub(crate) const ENDING: usize = 1_024;

/// An ended recording, and its owner.
pub(crate) type Ended = (RecordingId, CallId, Option<LegId>);

/// Ended recordings whose files are still being completed.
#[derive(Default)]
pub(crate) struct Ending(pub VecDeque<Ended>);

impl Ending {
    pub fn add(&mut self, id: RecordingId, call: CallId, leg: Option<LegId>) {
        if self.0.len() == ENDING {
            self.0.pop_front();
        }
        self.0.push_back((id, call, leg));
    }

    /// The owner of a recording; `None`: it is not among them.
    pub(crate) fn take(&mut self, id: RecordingId) -> Option<(CallId, Option<LegId>)> {
        let place = self.0.iter().position(|(it, ..)| *it == id)?;
        self.0.remove(place).map(|(_, call, leg)| (call, leg))
    }
}

/// Why a recording pauses. It continues when there is no reason left.
#[derive(Default, serde::Serialize, serde::Deserialize)]
pub(crate) struct Pauses {
    /// An operator or a party has paused it.
    pub by_request: bool,
    /// What a party enters is kept secret.
    pub for_secret: bool,
}

impl Pauses {
    pub(crate) fn any(&self) -> bool {
        self.by_request || self.for_secret
    }
}

/// A recording that is running or waiting to start.
#[derive(serde::Serialize, serde::Deserialize)]
pub(crate) struct Recording {
    pub spec: RecordingSpec,
    /// The leg whose endpoint is recorded; `None`: no leg is answered yet.
    pub leg: Option<LegId>,
    /// `None`: there is no file yet.
    pub id: Option<RecordingId>,
    /// Its beginning has been told, by this process or one before.
    #[serde(default)]
    pub is_told: bool,
    pub pauses: Pauses,
    /// The recorded endpoint is the other side of the first one.
    pub swapped: bool,
}

impl Recording {
    /// The file, and whether it is paused; `None`: the recording has not begun.
    pub fn shown(&self) -> Option<(&Path, bool)> {
        self.id.map(|_| (self.spec.path.as_path(), self.pauses.any()))
    }
}

/// The recording of a call or leg, and the number of recordings begun so far.
#[derive(Default, serde::Serialize, serde::Deserialize)]
pub(crate) struct Recordings {
    pub running: Option<Box<Recording>>,
    pub begun: u32,
}

impl Recordings {
    /// Media has another number for it in this process, once it records.
    pub(crate) fn forget_number(&mut self) {
        self.running.iter_mut().for_each(|it| it.id = None);
    }

    /// Starts a recording; `spec` makes the specification for its sequence number.
    pub(crate) fn begin(
        &mut self,
        subject: Subject,
        spec: impl FnOnce(u32) -> Option<RecordingSpec>,
    ) -> Result<(), CallError> {
        if self.running.is_some() {
            return Err(subject.wrong("the call is recorded already", "the leg is recorded already"));
        }
        let no_folder = CallError::WrongState("there is no folder for recordings");
        let spec = spec(self.begun + 1).ok_or(no_folder)?;
        self.begun += 1;
        let (leg, id, pauses) = (None, None, Pauses::default());
        let recording = Recording { spec, leg, id, is_told: false, pauses, swapped: false };
        self.running = Some(Box::new(recording));
        Ok(())
    }
}
