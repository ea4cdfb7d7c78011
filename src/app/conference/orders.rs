//! Commands of programs to a room: an interface for callers that are not applications and wait for the
//! result.

use tokio::sync::oneshot;

use super::deeds::ByItself;
use super::{Conference, Order, lock};
use b2b_call::controller::{Played, Prompt};
use b2b_call::service::{CallError, CallService, MediaVerbs};

/// The reason why a command to a room was not carried out.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NotDone {
    #[error("the room has no such participant; GET /rooms lists them")]
    NoMember,
    #[error("the room has no folder for recordings; set recordings of its [[conference]]")]
    NoFolder,
    #[error(transparent)]
    Call(#[from] CallError),
}

impl Conference {
    /// Carries out a command.
    ///
    /// # Errors
    /// See [`NotDone`]; nothing has changed then.
    pub async fn order(&self, service: &CallService, order: Order) -> Result<(), NotDone> {
        if order == Order::Record(true) && self.config.recordings.is_none() {
            return Err(NotDone::NoFolder);
        }
        let deeds = lock(&self.live).room.order(order).ok_or(NotDone::NoMember)?;
        let (done, is_done) = oneshot::channel();
        service.attend(Box::new(ByItself::ordered(self, deeds, done)))?;
        is_done.await.map_err(|_| CallError::Stopping)?;
        Ok(())
    }

    /// Plays a prompt to all members.
    ///
    /// # Errors
    /// The room has no members, or the prompt cannot be played.
    pub async fn say_to_all(&self, service: &CallService, prompt: &Prompt) -> Result<Played, NotDone> {
        let id = lock(&self.live).id.ok_or(NotDone::NoMember)?;
        Ok(service.announce(id, prompt).await?)
    }
}
