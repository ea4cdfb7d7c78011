//! Finds the call that a Replaces header field names (RFC 3891 §3).

use crate::dialog::replaces::Replaces;
use crate::dialog::usage::Phase;
use crate::dialog::{callee_fsm, caller_fsm};
use crate::endpoint::{Endpoint, UsageId};
use crate::msg::{Name, Request, chars};

impl Endpoint {
    /// The call that an INVITE or a Refer-To with this Replaces is for.
    ///
    /// # Errors
    /// The status that RFC 3891 specifies: 481 if there is no such call, or it is ringing and
    /// incoming; 486 if it is answered and `early-only` is set; 603 if it is over.
    pub fn replaced(&self, replaces: &Replaces) -> Result<UsageId, u16> {
        let id = self.dialog_of(replaces).ok_or(481u16)?;
        let phase = self.usages.get(id).map_or(Phase::Over, |usage| usage.phase);
        match phase {
            Phase::Established | Phase::Callee(callee_fsm::State::AwaitingAck) if replaces.early_only => {
                Err(486)
            }
            Phase::Established | Phase::Callee(callee_fsm::State::AwaitingAck) => Ok(id),
            // An early dialog that we initiated.
            Phase::Caller(caller_fsm::State::Calling | caller_fsm::State::Proceeding) => Ok(id),
            // Only the peer may have this early dialog replaced.
            Phase::Callee(callee_fsm::State::Incoming) | Phase::Caller(_) => Err(481),
            Phase::Callee(_) | Phase::Ending | Phase::Over => Err(603),
        }
    }

    /// The call with this dialog, whatever its state: a Refer-To may name a call that the
    /// transferor initiated and that is not answered yet.
    pub fn named(&self, replaces: &Replaces) -> Option<UsageId> {
        let id = self.dialog_of(replaces)?;
        self.usages.get(id).filter(|usage| !usage.is_over()).map(|_| id)
    }

    /// Some peers escape a Call-ID that has a semicolon; others write a parameter before the tags.
    fn dialog_of(&self, replaces: &Replaces) -> Option<UsageId> {
        let Replaces { call_id, to_tag, from_tag, .. } = replaces;
        let of = |call_id: &[u8]| self.usages.of_dialog(call_id, to_tag, from_tag);
        let bare = || of(call_id.split(|octet| *octet == b';').next()?);
        of(call_id).or_else(|| of(&chars::unescape(call_id))).or_else(bare)
    }

    /// The call that an INVITE replaces, if it has a Replaces.
    pub(in crate::endpoint) fn replaced_by(&self, invite: &Request) -> Result<Option<UsageId>, u16> {
        if !self.config.extensions.replaces {
            return Ok(None);
        }
        let mut values = invite.field_values(Name::Replaces);
        let Some(value) = values.next() else { return Ok(None) };
        // §3: only one Replaces, and no Join.
        if values.next().is_some() || invite.header(Name::Join).is_some() {
            return Err(400);
        }
        let replaces = Replaces::parse(value).ok_or(400u16)?;
        self.replaced(&replaces).map(Some)
    }
}
