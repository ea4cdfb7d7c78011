//! What the program wants of a call that is there.

use tokio::sync::oneshot;

use super::super::CallError;
use super::Driver;
use b2b_call::LegId;
use b2b_call::agent::{AgentError, Change, Codec, DtmfMode};

/// What is done at once, or not at all.
#[derive(Debug)]
pub(crate) enum Control {
    Mute(bool),
    /// Factors; `None`: as before.
    Volume {
        sent: Option<f32>,
        heard: Option<f32>,
    },
    Digits {
        digits: Vec<char>,
        ms: u32,
        mode: DtmfMode,
    },
    /// It rings here.
    Ring,
    /// 183 with our answer.
    Early,
    /// We do not go where the far end sends us.
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
            // It has begun.
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
                    // Whoever holds somebody does not wait for them before they speak freely.
                    record.shared.audio.hold(true);
                }
                record.changes.push_back((change, reply));
                self.regroup(leg);
            }
            // Who has stopped waiting needs no answer.
            _ => drop(reply.send(Err(CallError::NotAnswered))),
        }
    }
}

/// A call without media is not answered.
fn of_call(error: AgentError) -> CallError {
    match error {
        AgentError::NoSuchLeg => CallError::NotAnswered,
        other => other.into(),
    }
}
