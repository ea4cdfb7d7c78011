//! Transfers: a far end is sent to somebody else, or sends us.

use tokio::sync::oneshot;

use super::driver::{Command, Control, Whom};
use super::{Call, CallError, CallId, SipClient};

/// What becomes of a far end's wish that we call somebody else (REFER), or that another call
/// takes its place (Replaces). Both come from within a call, or name one that only its far end
/// knows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum TransferPolicy {
    /// It is done at once, and told.
    #[default]
    Accept,
    /// The program decides, with [`Call::accept_transfer`] or [`Call::refuse_transfer`] within
    /// 32 s; a call that is to replace another one comes from [`SipClient::incoming`] like others.
    Ask,
    /// It is refused (603).
    Refuse,
}

impl Call {
    /// Sends the far end to `target`, a URI that it is to call (blind transfer, RFC 3515), and
    /// waits until that call is answered; this one then ends. Meanwhile
    /// [`super::ClientEvent::TransferProgress`] tells how it goes.
    ///
    /// # Errors
    /// The target is no URI, this call is not answered, or [`CallError::Transfer`]: nobody
    /// answered there; this call goes on then, unless its far end has hung up.
    pub async fn transfer(&self, target: impl Into<String>) -> Result<(), CallError> {
        self.send_to(Whom::Target(target.into())).await
    }

    /// Sends the far end to the far end of `other`: the two are connected, and both our calls
    /// with them end (attended transfer, RFC 5589). What is waited for is as for
    /// [`Call::transfer`]. It is kind to hold both before.
    ///
    /// # Errors
    /// The same; both calls have to be answered, and of one client.
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

    /// Goes where the far end sends this call, after [`super::ClientEvent::TransferRequested`]:
    /// calls there. This call goes on until its far end hangs up, or for some seconds behind the
    /// other one's answer.
    ///
    /// # Errors
    /// It sends us nowhere (any more), or there cannot be called.
    pub async fn accept_transfer(&self) -> Result<Call, CallError> {
        let leg = self.0.leg;
        let accepted = self.0.ask(|reply| Command::AcceptTransfer { leg, reply }).await;
        accepted.unwrap_or_else(|| Err(self.gone())).map(Call)
    }

    /// Does not go where the far end sends this call; it goes on. The status is 400 to 699, such
    /// as 603 (decline).
    ///
    /// # Errors
    /// It sends us nowhere (any more), or the status refuses nothing.
    pub async fn refuse_transfer(&self, status: u16) -> Result<(), CallError> {
        if !(400..700).contains(&status) {
            return Err(CallError::Status(status));
        }
        self.control(Control::RefuseTransfer(status)).await
    }
}

impl SipClient {
    /// A call by its name in events: so the one is found that takes the place of another.
    /// `None`: it is over, or of another client.
    pub async fn find(&self, call: CallId) -> Option<Call> {
        let (reply, answer) = oneshot::channel();
        let commands = self.commands()?;
        commands.send(Command::Find { call, reply }).ok()?;
        answer.await.ok().flatten().map(Call)
    }
}
