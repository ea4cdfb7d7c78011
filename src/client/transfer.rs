//! Transfers, sent and received.

use tokio::sync::oneshot;

use super::driver::{Command, Control, Whom};
use super::{Call, CallError, CallId, SipClient};

/// The treatment of requests of the far end that we call another party (REFER), or that another call replaces
/// this one (Replaces). Both arrive within a call, or name one that only its far end knows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum TransferPolicy {
    /// Accepted at once and reported.
    #[default]
    Accept,
    /// The program decides within 32 s, with [`Call::accept_transfer`] or [`Call::refuse_transfer`]; a call
    /// that replaces another one arrives at [`SipClient::incoming`] like any other.
    Ask,
    /// Refused with 603.
    Refuse,
}

impl Call {
    /// Transfers the far end to `target`, a URI for it to call (blind transfer, RFC 3515), and waits until
    /// that call is answered; this one then ends. [`super::ClientEvent::TransferProgress`] reports the
    /// progress.
    ///
    /// # Errors
    /// The target is not a URI, this call is not answered, or the target did not answer
    /// ([`CallError::Transfer`]); then this call continues unless its far end has hung up.
    pub async fn transfer(&self, target: impl Into<String>) -> Result<(), CallError> {
        self.send_to(Whom::Target(target.into())).await
    }

    /// Connects the far end to the far end of `other`; both calls end here (attended transfer, RFC 5589).
    /// Waits for the same result as [`Call::transfer`]. Put both calls on hold first.
    ///
    /// # Errors
    /// As for [`Call::transfer`]; both calls must be answered and belong to one client.
    pub async fn transfer_to(&self, other: &Call) -> Result<(), CallError> {
        if !self.0.commands.upgrade().zip(other.0.commands.upgrade()).is_some_and(|(a, b)| a.same_channel(&b))
        {
            return Err(CallError::NotAnswered);
        }
        self.send_to(Whom::FarEndOf(other.0.leg)).await
    }

    async fn send_to(&self, whom: Whom) -> Result<(), CallError> {
        let leg = self.0.leg;
        let asked = self.0.ask(|reply| Command::Transfer { leg, whom, reply });
        asked.await.unwrap_or_else(|| Err(self.gone()))
    }

    /// Follows the far end's transfer request after [`super::ClientEvent::TransferRequested`]: calls its
    /// target. This call continues until its far end hangs up, or for some seconds after the answer of the
    /// new one.
    ///
    /// # Errors
    /// There is no such request (any more), or the target cannot be called.
    pub async fn accept_transfer(&self) -> Result<Call, CallError> {
        let leg = self.0.leg;
        let accepted = self.0.ask(|reply| Command::AcceptTransfer { leg, reply }).await;
        accepted.unwrap_or_else(|| Err(self.gone())).map(Call)
    }

    /// Refuses the far end's transfer request; the call continues. The status is 400 to 699, such as 603
    /// (decline).
    ///
    /// # Errors
    /// There is no such request (any more), or the status is not a refusal.
    pub async fn refuse_transfer(&self, status: u16) -> Result<(), CallError> {
        if !(400..700).contains(&status) {
            return Err(CallError::Status(status));
        }
        self.control(Control::RefuseTransfer(status)).await
    }
}

impl SipClient {
    /// The call with this identifier from events, such as one that replaces another. `None` if it is over or
    /// belongs to another client.
    pub async fn find(&self, call: CallId) -> Option<Call> {
        let (reply, answer) = oneshot::channel();
        let commands = self.commands()?;
        commands.send(Command::Find { call, reply }).ok()?;
        answer.await.ok().flatten().map(Call)
    }
}
