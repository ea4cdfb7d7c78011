//! Calls that come.

use std::fmt;
use std::sync::Arc;

use tokio::sync::mpsc;

use super::call::Shared;
use super::driver::{Command, Control};
use super::{Call, CallError, CallId, CallState, Playback, Sound};
use b2b_call::agent::SessionDescriptions;
use b2b_sip::msg::NameAddr;

/// The status for a call that nobody decided about.
const NOBODY: u16 = 480;

/// Calls that come, in order. While a client has none of these, it refuses calls with 480
/// (Temporarily Unavailable).
#[derive(Debug)]
pub struct IncomingCalls(pub(super) mpsc::Receiver<IncomingCall>);

impl IncomingCalls {
    /// The next call; `None`: the client has stopped, or others took its calls over.
    pub async fn next(&mut self) -> Option<IncomingCall> {
        self.0.recv().await
    }
}

/// A call that rings here. Dropped, it is refused with 480.
pub struct IncomingCall {
    pub(super) shared: Arc<Shared>,
    pub(super) to: String,
    pub(super) replaces: Option<CallId>,
    /// Of its INVITE, in order.
    pub(super) headers: Vec<(String, String)>,
    pub(super) decided: bool,
}

impl IncomingCall {
    /// Its name in events.
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

    /// The call whose place it is to take, which ends when this one is answered (RFC 3891).
    pub fn replaces(&self) -> Option<CallId> {
        self.replaces
    }

    /// The header fields of the INVITE, in order, as they came: names and values.
    pub fn headers(&self) -> impl Iterator<Item = (&str, &str)> {
        self.headers.iter().map(|(name, value)| (name.as_str(), value.as_str()))
    }

    /// The first header field of this name, in any case; compact forms have their long names.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers().find(|(known, _)| known.eq_ignore_ascii_case(name)).map(|(_, value)| value)
    }

    /// The name that stands beside the caller's URI.
    pub fn display_name(&self) -> Option<String> {
        let from = NameAddr::parse(self.header("From")?.as_bytes())?.display_name()?;
        Some(String::from_utf8_lossy(&from).into_owned()).filter(|name| !name.is_empty())
    }

    /// The caller's session description in `remote`, if its INVITE has one, and ours once it is
    /// said. `None`: the call is over.
    pub async fn descriptions(&self) -> Option<SessionDescriptions> {
        self.shared.descriptions().await
    }

    /// Its current state: the caller may have cancelled.
    pub fn state(&self) -> CallState {
        self.shared.state.borrow().clone()
    }

    /// Tells the caller that it rings here (180). Calls ring by themselves unless the builder says
    /// otherwise (`ring_at_once`).
    ///
    /// # Errors
    /// The caller has cancelled.
    pub async fn ring(&self) -> Result<(), CallError> {
        self.control(Control::Ring).await
    }

    /// Begins early media (183) with this sound: the caller hears it, and is heard, before the
    /// call is answered; reliably where the caller can do that (RFC 3262). Again: another sound.
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

    /// Answers, and waits until the caller has acknowledged it.
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
