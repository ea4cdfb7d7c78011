//! Incoming calls.

use std::fmt;
use std::sync::Arc;

use tokio::sync::mpsc;

use super::call::Shared;
use super::driver::{Command, Control};
use super::{Call, CallError, CallId, CallState, Playback, Sound};
use b2b_call::agent::SessionDescriptions;
use b2b_sip::msg::NameAddr;

/// The status for a call that was dropped undecided.
const NOBODY: u16 = 480;

/// Incoming calls, in order. A client without such a stream refuses calls with 480 (Temporarily Unavailable).
#[derive(Debug)]
pub struct IncomingCalls(pub(super) mpsc::Receiver<IncomingCall>);

impl IncomingCalls {
    /// The next call; `None` once the client has stopped, or a newer stream receives its calls.
    pub async fn next(&mut self) -> Option<IncomingCall> {
        self.0.recv().await
    }
}

/// An incoming call that is ringing. Dropping it refuses it with 480.
pub struct IncomingCall {
    pub(super) shared: Arc<Shared>,
    pub(super) to: String,
    pub(super) replaces: Option<CallId>,
    /// The header fields of the INVITE, in order.
    pub(super) headers: Vec<(String, String)>,
    pub(super) decided: bool,
}

impl IncomingCall {
    /// The call's identifier in events.
    pub fn id(&self) -> CallId {
        self.shared.id()
    }

    /// The caller: the URI of the From header field.
    pub fn from(&self) -> &str {
        &self.shared.remote
    }

    /// The called party: the URI of the To header field.
    pub fn to(&self) -> &str {
        &self.to
    }

    /// The call that this one replaces; it ends when this one is answered (RFC 3891).
    pub fn replaces(&self) -> Option<CallId> {
        self.replaces
    }

    /// The header fields of the INVITE, in order and unchanged: names and values.
    pub fn headers(&self) -> impl Iterator<Item = (&str, &str)> {
        self.headers.iter().map(|(name, value)| (name.as_str(), value.as_str()))
    }

    /// The first header field of this name, case-insensitive; compact forms are found by their long names.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers().find(|(known, _)| known.eq_ignore_ascii_case(name)).map(|(_, value)| value)
    }

    /// The display name of the From header field.
    pub fn display_name(&self) -> Option<String> {
        let from = NameAddr::parse(self.header("From")?.as_bytes())?.display_name()?;
        Some(String::from_utf8_lossy(&from).into_owned()).filter(|name| !name.is_empty())
    }

    /// The session descriptions: the caller's in `remote`, if its INVITE has one, and ours once it is sent.
    /// `None` once the call is over.
    pub async fn descriptions(&self) -> Option<SessionDescriptions> {
        self.shared.descriptions().await
    }

    /// Its current state: the caller may have cancelled.
    pub fn state(&self) -> CallState {
        self.shared.state.borrow().clone()
    }

    /// Sends 180 (Ringing). Calls ring by themselves unless the builder says otherwise (`ring_at_once`).
    ///
    /// # Errors
    /// The caller has cancelled.
    pub async fn ring(&self) -> Result<(), CallError> {
        self.control(Control::Ring).await
    }

    /// Starts early media (183) with this sound: caller and callee hear each other before the answer. The 183
    /// is sent reliably if the caller supports it (RFC 3262). A further call plays another sound.
    ///
    /// # Errors
    /// The caller has cancelled or sent no offer, or the file cannot be played.
    pub async fn early(&self, sound: Sound) -> Result<Playback, CallError> {
        self.control(Control::Early).await?;
        Ok(self.shared.play(sound)?)
    }

    async fn control(&self, control: Control) -> Result<(), CallError> {
        let leg = self.shared.leg;
        let done = self.shared.ask(|reply| Command::Control { leg, control, reply }).await;
        match (done.ok_or(CallError::Stopped)?, self.shared.end()) {
            (Err(_), Some(cause)) => Err(CallError::Ended(cause)),
            (done, _) => done,
        }
    }

    /// Answers and waits for the caller's ACK.
    ///
    /// # Errors
    /// The caller has cancelled, or there is no media for the call.
    pub async fn answer(mut self) -> Result<Call, CallError> {
        self.decided = true;
        let leg = self.shared.leg;
        let answered = self.shared.ask(|reply| Command::Answer { leg, reply }).await;
        match (answered.ok_or(CallError::Stopped)?, self.shared.end()) {
            (Err(_), Some(cause)) => return Err(CallError::Ended(cause)),
            (answered, _) => answered?,
        }
        self.shared.answered().await?;
        Ok(Call(self.shared.clone()))
    }

    /// Refuses with this status, 400 to 699: 486 (busy), 603 (decline), 404 …
    ///
    /// # Errors
    /// The status is not a refusal, or the caller has cancelled.
    pub async fn reject(mut self, status: u16) -> Result<(), CallError> {
        if !(400..700).contains(&status) {
            return Err(CallError::Status(status));
        }
        self.decided = true;
        let leg = self.shared.leg;
        let refused = self.shared.ask(|reply| Command::Reject { leg, status, reply }).await;
        match (refused.ok_or(CallError::Stopped)?, self.shared.end()) {
            (Err(_), Some(cause)) => Err(CallError::Ended(cause)),
            (refused, _) => refused,
        }
    }
}

impl Drop for IncomingCall {
    fn drop(&mut self) {
        if let Some(commands) = self.shared.commands.upgrade().filter(|_| !self.decided) {
            let (reply, _) = tokio::sync::oneshot::channel();
            let _ = commands.send(Command::Reject { leg: self.shared.leg, status: NOBODY, reply });
        }
    }
}

impl fmt::Debug for IncomingCall {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("IncomingCall")
            .field("id", &self.id())
            .field("from", &self.from())
            .field("to", &self.to())
            .field("state", &self.state())
            .finish_non_exhaustive()
    }
}
