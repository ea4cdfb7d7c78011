//! What programs outside do with calls that an application may have: they find a leg, take it,
//! and give it to another one.

use std::time::Duration;

use super::{CallError, CallService, Watched};
use crate::controller::Hold;
use crate::switch::command::Command;
use crate::{CallId, LegId};

/// How long an application that has lost its call may take to give back what it had: rooms and
/// music take a few turns.
const PARTING: Duration = Duration::from_millis(20);

impl CallService {
    /// The call that this is or belongs to, and its leg: of a call or a bridge its first one.
    ///
    /// # Errors
    /// It is over.
    pub async fn locate(&self, of: impl Into<Watched>) -> Result<(CallId, LegId), CallError> {
        let of = of.into();
        self.ask(|reply| Command::Locate { of, reply }).await.unwrap_or(Err(CallError::Stopping))
    }

    /// Ends what [`CallService::dial_and_bridge`] dials for this leg; it stays.
    ///
    /// # Errors
    /// The leg has gone, or nobody is dialled for it.
    pub async fn stop_dialling(&self, leg: LegId) -> Result<(), CallError> {
        self.command(|reply| Command::StopDialling { leg, reply }).await
    }

    /// Takes a leg from its handler, from who is dialled for it, and out of its bridge, whose
    /// other party is hung up. It stays, answered or not, until somebody does something with it.
    ///
    /// # Errors
    /// The leg has gone, is not answered by who was called, or a transfer is under way.
    pub async fn let_go_of(&self, leg: LegId) -> Result<(), CallError> {
        self.command(|reply| Command::LetGo { leg, reply }).await
    }

    /// Puts the party of an answered leg on hold (RFC 3264 §8.4), in a bridge or not: it is told so,
    /// nothing of it is heard, and it hears what is played to it. `silent`: nothing is, and it is told
    /// so. On hold already: done. Ready when it has agreed.
    ///
    /// # Errors
    /// The leg has gone or is not answered, an offer is under way ([`CallError::Busy`]), or the
    /// party refuses.
    pub async fn hold(&self, leg: LegId, silent: bool) -> Result<(), CallError> {
        let hold = if silent { Hold::Silent } else { Hold::Playing };
        self.command(|reply| Command::Hold { leg, hold, reply }).await
    }

    /// Takes a party back that was put on hold; music for it ends. Not on hold: done.
    ///
    /// # Errors
    /// As [`CallService::hold`].
    pub async fn resume(&self, leg: LegId) -> Result<(), CallError> {
        self.command(|reply| Command::Hold { leg, hold: Hold::No, reply }).await
    }

    /// Takes the bridge of a leg down. Both parties stay, and are taken from whoever has them; with
    /// `kept`, whoever has this leg keeps it. It keeps its call, and the other one gets one of its
    /// own: that call, and its leg.
    ///
    /// # Errors
    /// The leg has gone or is in no bridge, a transfer is under way, or an offer
    /// ([`CallError::Busy`]).
    pub async fn unbridge(&self, leg: LegId, kept: bool) -> Result<(CallId, LegId), CallError> {
        let asked = self.ask(|reply| Command::Unbridge { leg, kept, reply }).await;
        asked.unwrap_or(Err(CallError::Stopping))
    }

    /// Takes a leg from whoever has it, as [`CallService::let_go_of`], and gives it to the
    /// application of this name, as if it had called `number`; without one the number that it
    /// has called, or its own.
    ///
    /// # Errors
    /// As there, or there is no such application: then nothing changes.
    pub async fn hand_over(&self, leg: LegId, name: &str, number: Option<&str>) -> Result<(), CallError> {
        if !self.knows_application(name).await? {
            return Err(CallError::WrongState("there is no application of this name"));
        }
        self.let_go_of(leg).await?;
        self.sleep(PARTING).await?;
        let (name, number) = (name.to_owned(), number.map(str::to_owned));
        self.command(|reply| Command::Give { leg, name, number, reply }).await
    }

    /// Whether calls can be given to this name.
    ///
    /// # Errors
    /// The service is stopping.
    pub async fn knows_application(&self, name: &str) -> Result<bool, CallError> {
        let name = name.to_owned();
        self.ask(|reply| Command::Knows { name, reply }).await.ok_or(CallError::Stopping)
    }

    /// Whether a leg is answered, and not about to end.
    pub async fn is_up(&self, leg: LegId) -> bool {
        self.media(leg).await.is_ok()
    }

    /// Whether a leg is in a bridge, whose other party is there.
    ///
    /// # Errors
    /// The service is stopping.
    pub async fn is_joined(&self, leg: LegId) -> Result<bool, CallError> {
        self.ask(|reply| Command::Joined { leg, reply }).await.ok_or(CallError::Stopping)
    }

    /// Sends a digit to an answered leg as RFC 4733 events, if its party takes them.
    ///
    /// # Errors
    /// The leg is not answered or has gone.
    pub async fn send_digit(&self, leg: LegId, digit: char, duration_ms: u32) -> Result<(), CallError> {
        let media = self.media(leg).await?;
        media.controller.send_digit(media.endpoint, digit, duration_ms);
        Ok(())
    }
}
