//! The answers to an application's wants.

use std::fmt;

use super::{AppEvent, AppId, Inbox, Message, WantId};
use crate::controller::{Answer, AudioStream, Collected, ConferenceId, Recorded, RecordingId};
use crate::handler::HandlerAction;
use crate::leg_fsm::LegState;
use crate::service::{CallEnd, CallError, DialError};
use crate::{BridgeId, CallId, LegId};

/// The answer to a want; each method of [`Wants`](super::Wants) documents its kind.
#[derive(strum::IntoStaticStr)]
#[non_exhaustive]
pub enum AppAnswer {
    /// It is done.
    Done(Result<(), CallError>),
    /// The answer of the media controller.
    Media(Result<Answer, CallError>),
    /// The stream of a leg's audio.
    Stream(Result<AudioStream, CallError>),
    /// The variables of a call or leg.
    Variables(Result<Vec<(String, String)>, CallError>),
    /// The action for a target.
    Action(Result<HandlerAction, CallError>),
    /// Two legs were joined.
    Bridged(Result<BridgeId, CallError>),
    /// A party was dialled for a caller, and both were joined.
    Dialled(Result<BridgeId, DialError>),
    /// An originated call has begun; [`AppAnswer::Reached`] follows under the same number.
    Started(CallId),
    /// The called party has answered.
    Reached(Result<LegId, DialError>),
    /// The answer to a yes/no question.
    Truth(bool),
    /// The call and leg.
    Located(Result<(CallId, LegId), CallError>),
    /// The leg has reached the state.
    LegIs(Result<LegState, CallError>),
    /// The leg, bridge or call has ended.
    Ended(Result<CallEnd, CallError>),
    /// The result of [`Wants::run`](super::Wants::run).
    Own(Message),
}

/// Omits the contents, which may include a PIN.
impl fmt::Debug for AppAnswer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.into())
    }
}

/// The answer is of another kind than was asked for: the application has mixed up the numbers of two wants.
pub(crate) const OTHER_KIND: CallError =
    CallError::WrongState("the answer is of another kind than requested");

impl AppAnswer {
    /// Whether the want succeeded, for every kind that reports success.
    ///
    /// # Errors
    /// The want failed.
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
            | AppAnswer::Own(_) => Err(OTHER_KIND),
        }
    }

    fn media<T>(self, read: fn(Answer) -> Option<T>) -> Result<T, CallError> {
        match self {
            AppAnswer::Media(result) => read(result?).ok_or(OTHER_KIND),
            _ => Err(OTHER_KIND),
        }
    }

    /// The digits of a collection.
    ///
    /// # Errors
    /// The collection failed.
    pub fn collected(self) -> Result<Collected, CallError> {
        self.media(Answer::collected)
    }

    /// The recording that was started.
    ///
    /// # Errors
    /// It was not started.
    pub fn recording(self) -> Result<RecordingId, CallError> {
        self.media(Answer::recording)
    }

    /// The recorded file, complete.
    ///
    /// # Errors
    /// There is no file.
    pub fn recorded(self) -> Result<Recorded, CallError> {
        self.media(Answer::recorded)
    }

    /// The conference that was created.
    ///
    /// # Errors
    /// It was not created.
    pub fn conference(self) -> Result<ConferenceId, CallError> {
        self.media(Answer::conference)
    }

    /// The stream of a leg's audio.
    ///
    /// # Errors
    /// The stream could not be opened.
    pub fn stream(self) -> Result<AudioStream, CallError> {
        match self {
            AppAnswer::Stream(result) => result,
            _ => Err(OTHER_KIND),
        }
    }

    /// The variables of a call or leg.
    ///
    /// # Errors
    /// The call or leg has ended.
    pub fn variables(self) -> Result<Vec<(String, String)>, CallError> {
        match self {
            AppAnswer::Variables(result) => result,
            _ => Err(OTHER_KIND),
        }
    }

    /// The action for a target.
    ///
    /// # Errors
    /// The leg has ended.
    pub fn action(self) -> Result<HandlerAction, CallError> {
        match self {
            AppAnswer::Action(result) => result,
            _ => Err(OTHER_KIND),
        }
    }

    /// The bridge with the party that was dialled for a caller.
    ///
    /// # Errors
    /// No party answered.
    pub fn dialled(self) -> Result<BridgeId, DialError> {
        match self {
            AppAnswer::Dialled(result) => result,
            _ => Err(DialError::Invalid(OTHER_KIND.to_string())),
        }
    }

    /// The result of [`Wants::run`](super::Wants::run), if it is of this type.
    pub fn own<T: 'static>(self) -> Option<T> {
        match self {
            AppAnswer::Own(it) => it.downcast().ok().map(|it| *it),
            _ => None,
        }
    }
}

/// Delivers an answer to an application. If it is dropped, the application is told that there is no answer.
#[derive(Debug)]
pub(crate) struct ToApplication<T> {
    way: Option<(Inbox, AppId, WantId)>,
    read: fn(T) -> AppAnswer,
    otherwise: Option<T>,
}

impl<T> ToApplication<T> {
    /// `read` converts the answer for the application, which is told `otherwise` if there is none.
    pub fn new(
        inbox: Inbox,
        app: AppId,
        want: WantId,
        read: fn(T) -> AppAnswer,
        otherwise: Option<T>,
    ) -> Self {
        ToApplication { way: Some((inbox, app, want)), read, otherwise }
    }

    /// Gives the answer.
    pub fn send(mut self, answer: T) {
        self.tell(Some(answer));
    }

    fn tell(&mut self, answer: Option<T>) {
        if let Some((inbox, app, want)) = self.way.take()
            && let Some(answer) = answer
        {
            let answer = (self.read)(answer);
            // The switch has ended, and the application with it.
            let _ = inbox.send((app, AppEvent::Answered { want, answer }));
        }
    }
}

impl<T> Drop for ToApplication<T> {
    fn drop(&mut self) {
        let otherwise = self.otherwise.take();
        self.tell(otherwise);
    }
}
