//! The table of calls, found by each of their names.

use std::collections::HashMap;

use crate::call::leg::Leg;
use crate::call::leg_fsm::{LegState, TerminationCause};
use crate::media::worker::SessionId;
use crate::sip::endpoint::UsageId;
use crate::ua::{Audio, CallId, EndCause};

/// One call: a leg with its dialog usage and its media session.
pub(super) struct Call {
    pub(super) leg: Leg,
    pub(super) usage: UsageId,
    pub(super) session: Option<SessionId>,
    /// Until the session takes it.
    pub(super) audio: Option<Audio>,
    /// Attach the audio with the first settled media, or only when the call is
    /// answered: a file must not begin before somebody listens.
    pub(super) early_audio: bool,
    /// The application knows of it.
    pub(super) told: bool,
    pub(super) ended: Option<EndCause>,
    /// The endpoint has told the usage's end.
    pub(super) usage_over: bool,
}

impl Call {
    pub(super) fn is_up(&self) -> bool {
        self.leg.state() == LegState::Answered
    }
}

/// All calls.
#[derive(Default)]
pub(super) struct Calls {
    by_id: HashMap<CallId, Call>,
    by_usage: HashMap<UsageId, CallId>,
    by_session: HashMap<SessionId, CallId>,
    last: u64,
}

impl Calls {
    pub(super) fn insert(&mut self, call: Call) -> CallId {
        self.last += 1;
        let id = CallId(self.last);
        self.by_usage.insert(call.usage, id);
        if let Some(session) = call.session {
            self.by_session.insert(session, id);
        }
        self.by_id.insert(id, call);
        id
    }

    pub(super) fn get(&mut self, id: CallId) -> Option<&mut Call> {
        self.by_id.get_mut(&id)
    }

    pub(super) fn of_usage(&self, usage: UsageId) -> Option<CallId> {
        self.by_usage.get(&usage).copied()
    }

    pub(super) fn of_session(&self, session: SessionId) -> Option<CallId> {
        self.by_session.get(&session).copied()
    }

    pub(super) fn set_session(&mut self, id: CallId, session: SessionId) {
        if let Some(call) = self.by_id.get_mut(&id) {
            call.session = Some(session);
            self.by_session.insert(session, id);
        }
    }

    /// The session is closed.
    pub(super) fn session_closed(&mut self, session: SessionId) -> Option<CallId> {
        let id = self.by_session.remove(&session)?;
        self.by_id.get_mut(&id)?.session = None;
        Some(id)
    }

    pub(super) fn remove(&mut self, id: CallId) {
        if let Some(call) = self.by_id.remove(&id) {
            self.by_usage.remove(&call.usage);
            if let Some(session) = call.session {
                self.by_session.remove(&session);
            }
        }
    }

    pub(super) fn ids(&self) -> Vec<CallId> {
        let mut ids: Vec<_> = self.by_id.keys().copied().collect();
        ids.sort_unstable();
        ids
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Call> {
        self.by_id.values()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.by_id.is_empty()
    }
}

/// The cause as a role sees it.
pub(super) fn end_cause(cause: TerminationCause) -> EndCause {
    match cause {
        TerminationCause::LocalHangup => EndCause::LocalHangup,
        TerminationCause::ByeUnanswered => EndCause::ByeUnanswered,
        TerminationCause::RemoteHangup => EndCause::RemoteHangup,
        TerminationCause::Cancelled => EndCause::Cancelled,
        TerminationCause::Rejected { status } => EndCause::Rejected { status },
        TerminationCause::Failed { status, reason } => EndCause::Failed { status, reason },
        TerminationCause::MediaTimeout => EndCause::MediaTimeout,
        TerminationCause::Protocol { message } => EndCause::Protocol { message },
    }
}
