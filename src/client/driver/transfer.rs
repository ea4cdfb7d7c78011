//! Transfers: pending results, and calls that replace others.

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

/// The status for a transfer that the policy refuses.
const DECLINE: u16 = 603;
/// How long a far end that has transferred us may take to hang up.
const LEAVE: Duration = Duration::from_secs(4);

/// The target of a transfer.
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
        // A failed reply means that the caller has stopped waiting.
        let _ = waiting.map(|waiting| waiting.send(outcome));
    }

    /// Handles a transfer request of the far end.
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

    /// Accepts the transfer request and calls its target.
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

    /// Handles a leg that is to replace one of ours; `true` if it was dealt with.
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

    /// Completes the replacement when the new leg is answered, by us or by the far end.
    pub(super) fn followed(&mut self, leg: LegId) {
        let Some(record) = self.calls.get_mut(&leg) else { return };
        let (by, follows) = (record.shared.id(), record.follows.take());
        let Some((replaced, leaves)) = follows else { return };
        // The replaced call may be over already.
        let _ = self.events.send(ClientEvent::Replaced { call: CallId(replaced.0), by });
        self.sits_down(replaced, leg);
        if leaves && self.calls.contains_key(&replaced) {
            self.leaving.push_back((Instant::now() + LEAVE, replaced));
        }
    }

    /// Hangs up replaced calls whose far ends have not done so in time.
    pub(super) fn leave(&mut self) {
        let now = Instant::now();
        while self.leaving.front().is_some_and(|(at, _)| *at <= now)
            && let Some((_, leg)) = self.leaving.pop_front()
        {
            let _ = self.service.hangup(leg);
        }
    }
}
