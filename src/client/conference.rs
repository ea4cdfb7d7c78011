//! Conferences: several calls mixed locally.

use std::fmt;

use tokio::sync::{mpsc, oneshot};

use super::driver::{Command, Gathering};
use super::{Call, CallError, CallId, SipClient};

/// A local conference of several calls of one client. Each far end hears all the others and everything that
/// is said or played to any of them here. On this side each call's audio contains every far end, except that
/// the client's devices play only one of the calls, so that no party is heard twice. A muted or ended call is
/// silent for the others too; a call on hold is left out until it is resumed. Clones refer to the same
/// conference; dropping it has no effect: it ends with [`Conference::end`] or with its calls.
#[derive(Clone)]
pub struct Conference {
    id: ConferenceId,
    commands: mpsc::WeakUnboundedSender<Command>,
}

/// The identifier of a conference, unique within its client and never reused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct ConferenceId(pub u64);

impl Conference {
    /// The maximum number of calls: the mixer produces one mix per call from all the others.
    pub const MOST: usize = 16;

    /// Joins two answered calls, which makes a conference of three with the local party.
    ///
    /// # Errors
    /// A call is not answered, is already in a conference, or belongs to another client.
    pub async fn of(a: &Call, b: &Call) -> Result<Conference, CallError> {
        Self::begin(&[a, b]).await
    }

    async fn begin(calls: &[&Call]) -> Result<Conference, CallError> {
        let first = calls.first().ok_or(CallError::NotAnswered)?;
        let commands = first.0.commands.clone();
        let strong = commands.upgrade().ok_or(CallError::Stopped)?;
        let same = |call: &&Call| call.0.commands.upgrade().is_some_and(|it| it.same_channel(&strong));
        if !calls.iter().all(same) {
            return Err(CallError::Conference("they are calls of different clients"));
        }
        let legs = calls.iter().map(|call| call.0.leg).collect();
        let (id, _) = ask(&commands, Gathering::Begin(legs)).await?;
        Ok(Conference { id, commands })
    }

    /// Adds a call.
    ///
    /// # Errors
    /// As for [`Conference::of`], or the conference is full or over.
    pub async fn add(&self, call: &Call) -> Result<(), CallError> {
        let leg = call.0.leg;
        ask(&self.commands, Gathering::Add(self.id, leg)).await.map(drop)
    }

    /// Removes a call, which becomes a call between its far end and the local party again. So does the last
    /// remaining call.
    ///
    /// # Errors
    /// The call is not in this conference.
    pub async fn remove(&self, call: &Call) -> Result<(), CallError> {
        let leg = call.0.leg;
        ask(&self.commands, Gathering::Remove(self.id, leg)).await.map(drop)
    }

    /// The current members; empty once the conference is over.
    pub async fn members(&self) -> Vec<CallId> {
        let members = ask(&self.commands, Gathering::Members(self.id)).await;
        members.map(|(_, members)| members).unwrap_or_default()
    }

    /// Ends the conference; its calls continue as separate calls.
    pub async fn end(self) {
        let _ = ask(&self.commands, Gathering::End(self.id)).await;
    }
}

async fn ask(
    commands: &mpsc::WeakUnboundedSender<Command>,
    gathering: Gathering,
) -> Result<(ConferenceId, Vec<CallId>), CallError> {
    let (reply, answer) = oneshot::channel();
    let command = Command::Gather { gathering, reply };
    commands.upgrade().ok_or(CallError::Stopped)?.send(command).map_err(|_| CallError::Stopped)?;
    answer.await.map_err(|_| CallError::Stopped)?
}

impl SipClient {
    /// Joins these calls, up to [`Conference::MOST`].
    ///
    /// # Errors
    /// As for [`Conference::of`], or there are fewer than two calls.
    pub async fn conference<'a>(
        &self,
        calls: impl IntoIterator<Item = &'a Call>,
    ) -> Result<Conference, CallError> {
        let calls: Vec<&Call> = calls.into_iter().collect();
        Conference::begin(&calls).await
    }
}

impl fmt::Debug for Conference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Conference").field(&self.id.0).finish()
    }
}
