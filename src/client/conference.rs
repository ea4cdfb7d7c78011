//! Several calls as one conversation, mixed here.

use std::fmt;

use tokio::sync::{mpsc, oneshot};

use super::driver::{Command, Gathering};
use super::{Call, CallError, CallId, SipClient};

/// Several calls of one client as one conversation. Every far end hears all the others, and what
/// is said or played to any of them here; here everybody is heard on each of the calls, but by
/// the client's devices on one of them, so that nobody is heard twice. A call that is muted or over
/// is as silent for the others as it is here; one that is held is out until it is taken back. Clones are the same
/// conference; dropping it changes nothing: it ends with [`Conference::end`] or with its calls.
#[derive(Clone)]
pub struct Conference {
    id: ConferenceId,
    commands: mpsc::WeakUnboundedSender<Command>,
}

/// A conference of one client. Never used twice.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct ConferenceId(pub u64);

impl Conference {
    /// The most calls that one takes: each is mixed for each other one.
    pub const MOST: usize = 16;

    /// A conference of two calls, so of three with who is here. Both have to be answered.
    ///
    /// # Errors
    /// One of them is not answered, is in a conference already, or is of another client.
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

    /// Takes another call in.
    ///
    /// # Errors
    /// As for [`Conference::of`], or there are too many, or the conference is over.
    pub async fn add(&self, call: &Call) -> Result<(), CallError> {
        let leg = call.0.leg;
        ask(&self.commands, Gathering::Add(self.id, leg)).await.map(drop)
    }

    /// Takes a call out: its far end is alone with who is here again, and so is the last one of
    /// a conference.
    ///
    /// # Errors
    /// It is not in this conference.
    pub async fn remove(&self, call: &Call) -> Result<(), CallError> {
        let leg = call.0.leg;
        ask(&self.commands, Gathering::Remove(self.id, leg)).await.map(drop)
    }

    /// The calls that are in it now; none: it is over.
    pub async fn members(&self) -> Vec<CallId> {
        let members = ask(&self.commands, Gathering::Members(self.id)).await;
        members.map(|(_, members)| members).unwrap_or_default()
    }

    /// Makes it as many conversations of two as it has calls.
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
    /// A conference of these calls, up to [`Conference::MOST`].
    ///
    /// # Errors
    /// As for [`Conference::of`]; there have to be two at least.
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
