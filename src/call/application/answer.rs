//! What comes of what an application wants.

use std::fmt;

use super::{AppEvent, AppId, Inbox, Message, WantId};
use crate::controller::{Answer, AudioStream, Collected, ConferenceId, Recorded, RecordingId};
use crate::handler::HandlerAction;
use crate::leg_fsm::LegState;
use crate::service::{CallEnd, CallError, DialError};
use crate::{BridgeId, CallId, LegId};

/// The answer to a want; each method of [`Wants`](super::Wants) says which kind comes.
#[non_exhaustive]
pub enum AppAnswer {
    /// It is done.
    Done(Result<(), CallError>),
    /// What media says.
    Media(Result<Answer, CallError>),
    /// A leg's sound.
    Stream(Result<AudioStream, CallError>),
    /// What is noted on a call.
    Variables(Result<Vec<(String, String)>, CallError>),
    /// What becomes of a target.
    Action(Result<HandlerAction, CallError>),
    /// Two legs are joined.
    Bridged(Result<BridgeId, CallError>),
    /// Somebody was dialled for a caller, and both are joined.
    Dialled(Result<BridgeId, DialError>),
    /// A call of ours has begun; [`AppAnswer::Reached`] follows under the same number.
    Started(CallId),
    /// Who was called has answered.
    Reached(Result<LegId, DialError>),
    /// Whether it is so.
    Truth(bool),
    /// Which call and leg it is.
    Located(Result<(CallId, LegId), CallError>),
    /// A leg has come as far as a state.
    LegIs(Result<LegState, CallError>),
    /// A leg, a bridge or a call is over.
    Ended(Result<CallEnd, CallError>),
    /// What [`Wants::run`](super::Wants::run) has come to.
    Own(Message),
}

/// Without what is in it: it may be a PIN.
impl fmt::Debug for AppAnswer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            AppAnswer::Done(_) => "Done",
            AppAnswer::Media(_) => "Media",
            AppAnswer::Stream(_) => "Stream",
            AppAnswer::Variables(_) => "Variables",
            AppAnswer::Action(_) => "Action",
            AppAnswer::Bridged(_) => "Bridged",
            AppAnswer::Dialled(_) => "Dialled",
            AppAnswer::Started(_) => "Started",
            AppAnswer::Reached(_) => "Reached",
            AppAnswer::Truth(_) => "Truth",
            AppAnswer::Located(_) => "Located",
            AppAnswer::LegIs(_) => "LegIs",
            AppAnswer::Ended(_) => "Ended",
            AppAnswer::Own(_) => "Own",
        })
    }
}

/// Another kind of answer than was asked for: an application has taken the number of one want for another's.
const OTHER: CallError = CallError::WrongState("another answer is asked for than came");

impl AppAnswer {
    /// Whether it was done, whatever it is.
    ///
    /// # Errors
    /// It was not.
    pub fn done(self) -> Result<(), CallError> {
        match self {
            AppAnswer::Done(result) => result,
            AppAnswer::Media(result) => result.map(drop),
            AppAnswer::Stream(result) => result.map(drop),
            AppAnswer::Variables(result) => result.map(drop),
            AppAnswer::Action(result) => result.map(drop),
            AppAnswer::Bridged(result) => result.map(drop),
            AppAnswer::LegIs(result) => result.map(drop),
            AppAnswer::Ended(result) => result.map(drop),
            AppAnswer::Located(result) => result.map(drop),
            AppAnswer::Truth(_)
            | AppAnswer::Dialled(_)
            | AppAnswer::Started(_)
            | AppAnswer::Reached(_)
            | AppAnswer::Own(_) => Err(OTHER),
        }
    }

    /// The digits of a collection.
    ///
    /// # Errors
    /// There was none.
    pub fn collected(self) -> Result<Collected, CallError> {
        match self {
            AppAnswer::Media(result) => result?.collected().ok_or(OTHER),
            _ => Err(OTHER),
        }
    }

    /// A recording that has begun.
    ///
    /// # Errors
    /// It has not.
    pub fn recording(self) -> Result<RecordingId, CallError> {
        match self {
            AppAnswer::Media(result) => result?.recording().ok_or(OTHER),
            _ => Err(OTHER),
        }
    }

    /// A file that is complete.
    ///
    /// # Errors
    /// There is none.
    pub fn recorded(self) -> Result<Recorded, CallError> {
        match self {
            AppAnswer::Media(result) => result?.recorded().ok_or(OTHER),
            _ => Err(OTHER),
        }
    }

    /// A room that is made.
    ///
    /// # Errors
    /// It is not.
    pub fn conference(self) -> Result<ConferenceId, CallError> {
        match self {
            AppAnswer::Media(result) => result?.conference().ok_or(OTHER),
            _ => Err(OTHER),
        }
    }

    /// A leg's sound.
    ///
    /// # Errors
    /// It cannot be had.
    pub fn stream(self) -> Result<AudioStream, CallError> {
        match self {
            AppAnswer::Stream(result) => result,
            _ => Err(OTHER),
        }
    }

    /// What is noted on a call.
    ///
    /// # Errors
    /// It is over.
    pub fn variables(self) -> Result<Vec<(String, String)>, CallError> {
        match self {
            AppAnswer::Variables(result) => result,
            _ => Err(OTHER),
        }
    }

    /// What becomes of a target.
    ///
    /// # Errors
    /// The leg has gone.
    pub fn action(self) -> Result<HandlerAction, CallError> {
        match self {
            AppAnswer::Action(result) => result,
            _ => Err(OTHER),
        }
    }

    /// What was dialled for a caller.
    ///
    /// # Errors
    /// Nobody has answered.
    pub fn dialled(self) -> Result<BridgeId, DialError> {
        match self {
            AppAnswer::Dialled(result) => result,
            _ => Err(DialError::Invalid(OTHER.to_string())),
        }
    }

    /// What [`Wants::run`](super::Wants::run) has come to, if it is of this type.
    pub fn own<T: 'static>(self) -> Option<T> {
        match self {
            AppAnswer::Own(it) => it.downcast().ok().map(|it| *it),
            _ => None,
        }
    }
}

/// The way of an answer to an application. One that is dropped says that there is none.
#[derive(Debug)]
pub(crate) struct ToApplication<T> {
    way: Option<(Inbox, AppId, WantId)>,
    read: fn(Option<T>) -> Option<AppAnswer>,
}

impl<T> ToApplication<T> {
    /// `read` says what the application is told, also where there is no answer.
    pub fn new(inbox: Inbox, app: AppId, want: WantId, read: fn(Option<T>) -> Option<AppAnswer>) -> Self {
        ToApplication { way: Some((inbox, app, want)), read }
    }

    /// Gives the answer.
    pub fn send(mut self, answer: T) {
        self.tell(Some(answer));
    }

    fn tell(&mut self, answer: Option<T>) {
        if let Some((inbox, app, want)) = self.way.take()
            && let Some(answer) = (self.read)(answer)
        {
            // Its switch has gone, and the application with it.
            let _ = inbox.send((app, AppEvent::Answered { want, answer }));
        }
    }
}

impl<T> Drop for ToApplication<T> {
    fn drop(&mut self) {
        self.tell(None);
    }
}
