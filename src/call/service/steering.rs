//! Steering calls from programs outside: finding a leg, taking it from its owner, and giving it to another
//! application.

use std::time::Duration;

use super::{CallError, CallService, Watched};
use crate::controller::Hold;
use crate::controller::{EndpointId, Verb};
use crate::service::command::Command;
use crate::{CallId, LegId};

/// How long an application that has lost its call may take to release its resources: conferences and music
/// take a few turns.
const PARTING: Duration = Duration::from_millis(20);
/// Pause between two digits, as RFC 4733 receivers need it.
const DIGIT_GAP: Duration = Duration::from_millis(60);

impl CallService {
    /// The call, and its leg: of a call or a bridge, the first leg.
    ///
    /// # Errors
    /// It is over.
    pub async fn locate(&self, of: impl Into<Watched>) -> Result<(CallId, LegId), CallError> {
        let of = of.into();
        self.command(|reply| Command::Locate { of, reply }).await
    }

    /// Ends the dialling of [`CallService::dial_and_bridge`] for this leg, which stays up.
    ///
    /// # Errors
    /// The leg has gone, or nothing is dialled for it.
    pub async fn stop_dialling(&self, leg: LegId) -> Result<(), CallError> {
        self.command(|reply| Command::StopDialling { leg, reply }).await
    }

    /// Takes a leg from its handler, ends the dialling for it and takes it out of its bridge, whose other
    /// party is hung up. The leg stays, answered or not, until the next command for it.
    ///
    /// # Errors
    /// The leg has gone, is outbound and not answered, or a transfer is under way.
    pub async fn let_go_of(&self, leg: LegId) -> Result<(), CallError> {
        self.command(|reply| Command::LetGo { leg, reply }).await
    }

    /// Puts the party of an answered leg on hold (RFC 3264 §8.4), in a bridge or not: a re-INVITE tells the
    /// party, its media is dropped, and it hears what is played to it. `silent`: nothing is played, and the
    /// re-INVITE says so. Returns at once if the party is on hold already, otherwise once it has agreed.
    ///
    /// # Errors
    /// The leg has gone or is not answered, an offer is under way ([`CallError::Busy`]), or the party
    /// refuses.
    pub async fn hold(&self, leg: LegId, silent: bool) -> Result<(), CallError> {
        let hold = if silent { Hold::Silent } else { Hold::Playing };
        self.command(|reply| Command::Hold { leg, hold, reply }).await
    }

    /// Takes a party off hold, and ends its music. Returns at once if it is not on hold.
    ///
    /// # Errors
    /// As [`CallService::hold`].
    pub async fn resume(&self, leg: LegId) -> Result<(), CallError> {
        self.command(|reply| Command::Hold { leg, hold: Hold::No, reply }).await
    }

    /// Takes the bridge of a leg down. Both parties stay, and are taken from their owners; with `kept`, this
    /// leg stays with its owner. This leg keeps its call, and the other one gets a new call: returns that
    /// call and leg.
    ///
    /// # Errors
    /// The leg has gone or is in no bridge, a transfer is under way, or an offer is ([`CallError::Busy`]).
    pub async fn unbridge(&self, leg: LegId, kept: bool) -> Result<(CallId, LegId), CallError> {
        self.command(|reply| Command::Unbridge { leg, kept, reply }).await
    }

    /// Takes a leg from its owner, as [`CallService::let_go_of`] does, and gives it to the application of
    /// this name, as if it had called `number`; without a number, as if it had called the number that it did
    /// call, or its own.
    ///
    /// # Errors
    /// As for [`CallService::let_go_of`], or there is no such application, in which case nothing changes.
    pub async fn hand_over(&self, leg: LegId, name: &str, number: Option<&str>) -> Result<(), CallError> {
        if !self.knows_application(name).await? {
            return Err(CallError::WrongState("there is no application of this name"));
        }
        self.let_go_of(leg).await?;
        self.sleep(PARTING).await?;
        self.give(leg, name, number).await
    }

    /// Gives a leg with early media ([`CallService::originate_early`]) to the application of this name, which finds
    /// [`IncomingCall::early`](crate::handler::IncomingCall::early) set, as if it had called `number`.
    ///
    /// # Errors
    /// The leg has gone, or has no early media, or there is no such application.
    pub async fn give(&self, leg: LegId, name: &str, number: Option<&str>) -> Result<(), CallError> {
        let (name, number) = (name.to_owned(), number.map(str::to_owned));
        self.command(|reply| Command::Give { leg, name, number, reply }).await
    }

    /// Whether there is an application of this name, to which calls can be given.
    ///
    /// # Errors
    /// The service is stopping.
    pub async fn knows_application(&self, name: &str) -> Result<bool, CallError> {
        let name = name.to_owned();
        self.ask(|reply| Command::Knows { name, reply }).await.map_err(|_| CallError::Stopping)
    }

    /// Whether a leg is answered and not about to end.
    pub async fn is_up(&self, leg: LegId) -> bool {
        self.ask(|reply| Command::IsUp { leg, reply }).await.unwrap_or_default()
    }

    /// Whether a leg is in a bridge whose other party is up.
    ///
    /// # Errors
    /// The service is stopping.
    pub async fn is_joined(&self, leg: LegId) -> Result<bool, CallError> {
        self.ask(|reply| Command::Joined { leg, reply }).await.map_err(|_| CallError::Stopping)
    }

    /// Sends a digit to an answered leg as RFC 4733 events, if its party takes them. Returns when the next one may
    /// follow: whoever stops sending leaves none to be sent.
    ///
    /// # Errors
    /// The leg is not answered or has gone, or the service is stopping.
    pub async fn send_digit(&self, leg: LegId, digit: char, duration_ms: u32) -> Result<(), CallError> {
        self.media(leg, Verb::SendDigit { endpoint: EndpointId::OF_LEG, digit, duration_ms }).await?;
        self.sleep(Duration::from_millis(duration_ms.into()) + DIGIT_GAP).await.map(drop)
    }
}
