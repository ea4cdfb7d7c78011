//! Transfers, as far as they are the program's: who waits for which, and which calls follow
//! which.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::oneshot;
use tokio::time::Instant;

use super::super::audio::sides;
use super::super::call::Shared;
use super::super::{CallError, CallId, CallState, ClientEvent, TransferPolicy};
use super::{Driver, Record};
use b2b_call::LegId;
use b2b_call::agent::AgentError;

/// The status for what policy forbids.
const DECLINE: u16 = 603;
/// How long a far end that has sent us away may take to hang up.
const LEAVE: Duration = Duration::from_secs(4);

/// Where a far end is sent.
#[derive(Debug)]
pub(crate) enum Whom {
    Target(String),
    FarEndOf(LegId),
}

impl Driver {
    pub(super) fn transfer(
        &mut self,
        leg: LegId,
        whom: &Whom,
        reply: oneshot::Sender<Result<(), CallError>>,
    ) {
        let asked = match whom {
            Whom::Target(target) => self.service.refer(leg, target),
            Whom::FarEndOf(other) => self.service.refer_to(leg, *other),
        };
        match (asked, self.calls.get_mut(&leg)) {
            (Ok(()), Some(record)) => record.transfer = Some(reply),
            (Err(error @ AgentError::Target { .. }), _) => drop(reply.send(Err(error.into()))),
            _ => drop(reply.send(Err(CallError::NotAnswered))),
        }
    }

    pub(super) fn transfer_progress(&self, leg: LegId, status: u16) {
        self.tell(leg, |call| ClientEvent::TransferProgress { call, status });
    }

    pub(super) fn transfer_ended(&mut self, leg: LegId, status: Option<u16>) {
        self.tell(leg, |call| ClientEvent::TransferEnded { call, status });
        let waiting = self.calls.get_mut(&leg).and_then(|record| record.transfer.take());
        let outcome = match status {
            Some(200..300) => Ok(()),
            status => Err(CallError::Transfer { status }),
        };
        // Who has stopped waiting needs no answer.
        let _ = waiting.map(|waiting| waiting.send(outcome));
    }

    /// A far end sends us to somebody.
    pub(super) fn transfer_requested(&mut self, leg: LegId, target: String, attended: bool) {
        self.tell(leg, |call| ClientEvent::TransferRequested { call, target, attended });
        match self.settings.transfers {
            TransferPolicy::Ask => {}
            TransferPolicy::Accept => {
                if let Err(error) = self.accept_transfer(leg) {
                    tracing::info!("call {}: not transferred: {error}", leg.0);
                }
            }
            TransferPolicy::Refuse => drop(self.service.refuse_refer(leg, DECLINE)),
        }
    }

    /// Goes there.
    pub(super) fn accept_transfer(&mut self, leg: LegId) -> Result<Arc<Shared>, CallError> {
        let (program, media) = sides();
        let (audio, problems) = self.audio(media);
        let to = self.service.accept_refer(leg, audio)?;
        let remote = self.service.target(to).unwrap_or_default();
        let shared = Arc::new(self.shared(to, remote, CallState::Dialling, program));
        let record = Record { follows: Some((leg, true)), ..Record::new(shared.clone(), None) };
        self.calls.insert(to, record);
        self.tell(leg, |call| ClientEvent::Transferring { call, to: shared.id() });
        self.troubled(to, problems);
        Ok(shared)
    }

    /// Another leg asks for the place of one of ours. `true`: it is dealt with.
    pub(super) fn takes_place(&mut self, leg: LegId) -> bool {
        match self.settings.transfers {
            TransferPolicy::Ask => false,
            TransferPolicy::Refuse => {
                let _ = self.service.reject(leg, DECLINE, "");
                true
            }
            TransferPolicy::Accept => {
                let media = self.calls.get_mut(&leg).and_then(|record| record.media.take());
                let Some(media) = media else { return true };
                let audio = self.audio_of(leg, media);
                match self.service.answer(leg, audio) {
                    Ok(()) => self.followed(leg),
                    Err(error) => tracing::info!("call {}: does not replace another call: {error}", leg.0),
                }
                true
            }
        }
    }

    /// A leg is answered, or is an answer of ours: the one that it follows is replaced.
    pub(super) fn followed(&mut self, leg: LegId) {
        let Some(record) = self.calls.get_mut(&leg) else { return };
        let (by, follows) = (record.shared.id(), record.follows.take());
        let Some((replaced, leaves)) = follows else { return };
        // It may be over already.
        let _ = self.events.send(ClientEvent::Replaced { call: CallId(replaced.0), by });
        self.sits_down(replaced, leg);
        if leaves && self.calls.contains_key(&replaced) {
            self.leaving.push_back((Instant::now() + LEAVE, replaced));
        }
    }

    /// Hangs up who has not done so itself.
    pub(super) fn leave(&mut self) {
        let now = Instant::now();
        while self.leaving.front().is_some_and(|(at, _)| *at <= now)
            && let Some((_, leg)) = self.leaving.pop_front()
        {
            let _ = self.service.hangup(leg);
        }
    }
}
