//! Operations on an existing call.

use tokio::sync::oneshot;

use super::super::CallError;
use super::Driver;
use b2b_call::LegId;
use b2b_call::agent::{AgentError, Change, Codec, DtmfMode};

/// An operation that either completes at once or fails.
#[derive(Debug)]
pub(crate) enum Control {
    Mute(bool),
    /// Gains; `None` leaves one unchanged.
    Volume {
        sent: Option<f32>,
        heard: Option<f32>,
    },
    Digits {
        digits: Vec<char>,
        ms: u32,
        mode: DtmfMode,
    },
    /// Sends 180.
    Ring,
    /// Sends 183 with our SDP answer.
    Early,
    /// Refuses the far end's transfer request.
    RefuseTransfer(u16),
}

impl Driver {
    pub(super) fn control(&mut self, leg: LegId, control: Control) -> Result<(), CallError> {
        match control {
            Control::Mute(muted) => {
                self.service.mute(leg, muted).map_err(of_call)?;
                if let Some(record) = self.calls.get(&leg) {
                    record.shared.audio.mute(muted);
                }
                self.seated(leg);
                Ok(())
            }
            Control::Volume { sent, heard } => self.service.volume(leg, sent, heard).map_err(of_call),
            Control::Digits { digits, ms, mode } => {
                if !self.service.is_up(leg) {
                    return Err(CallError::NotAnswered);
                }
                digits.into_iter().try_for_each(|it| self.service.digit(leg, it, ms, mode)).map_err(of_call)
            }
            Control::Ring => Ok(self.service.ring(leg)?),
            Control::Early => self.early(leg),
            Control::RefuseTransfer(status) => Ok(self.service.refuse_refer(leg, status)?),
        }
    }

    fn early(&mut self, leg: LegId) -> Result<(), CallError> {
        let record = self.calls.get_mut(&leg).ok_or(CallError::NotWaiting)?;
        if record.media.is_none() {
            // Early media has already started.
            return Ok(());
        }
        if !self.service.may_be_early(leg) {
            return Err(CallError::NoEarlyMedia);
        }
        let media = record.media.take().ok_or(CallError::NotWaiting)?;
        let audio = self.audio_of(leg, media);
        Ok(self.service.early(leg, audio)?)
    }

    pub(super) fn change(
        &mut self,
        leg: LegId,
        change: Change,
        codecs: Vec<Codec>,
        reply: oneshot::Sender<Result<(), CallError>>,
    ) {
        let asked = match change {
            Change::Hold => self.service.hold(leg),
            Change::Resume => self.service.resume(leg),
            Change::Codecs => self.service.offer(leg, &codecs),
        };
        match (asked, self.calls.get_mut(&leg)) {
            (Ok(()), Some(record)) => {
                if change == Change::Hold {
                    // The pipeline's source and sink are cut off before the far end agrees: after asking for
                    // hold, the local party speaks freely.
                    record.shared.audio.hold(true);
                }
                record.changes.push_back((change, reply));
                self.regroup(leg);
            }
            // A failed reply means that the caller has stopped waiting.
            _ => drop(reply.send(Err(CallError::NotAnswered))),
        }
    }
}

/// A leg without media is reported as not answered.
fn of_call(error: AgentError) -> CallError {
    match error {
        AgentError::NoSuchLeg => CallError::NotAnswered,
        other => other.into(),
    }
}
