//! 2xx to our INVITE and their ACKs: for the first 2xx, its retransmissions, and those of
//! other forks (RFC 3261 §13.2.2.4).

use std::time::Instant;

use crate::dialog::offer_answer::OfferAnswer;
use crate::dialog::request::Draft;
use crate::dialog::state::Dialog;
use crate::dialog::usage::{Phase, Progress};
use crate::endpoint::command::CommandError;
use crate::endpoint::sending::send::User;
use crate::endpoint::{Endpoint, Termination, UsageEvent, UsageId};
use crate::msg::body::Body;
use crate::msg::{HeaderFields, Method, Response};

impl Endpoint {
    /// Sends the ACK with our answer after `Answered` or `ReInviteAnswered` with
    /// `ack_wanted`.
    ///
    /// # Errors
    /// No ACK is due.
    pub fn ack(&mut self, now: Instant, usage: UsageId, body: Option<Body>) -> Result<(), CommandError> {
        let it = self.usages.get_mut(usage).filter(|it| !it.is_over()).ok_or(CommandError::Gone)?;
        let ours = it.ours.iter_mut().find(|ours| ours.progress == Progress::AckOwed);
        let ours = ours.ok_or(CommandError::WrongState("no ACK is wanted"))?;
        ours.progress = Progress::Succeeded;
        let cseq = ours.cseq;
        if let Some(dialog) = it.dialogs.first_mut() {
            dialog.offer_answer = OfferAnswer::Idle;
        }
        self.send_ack(now, usage, cseq, body);
        if let Some(it) = self.usages.get_mut(usage) {
            it.forget_finished();
        }
        Ok(())
    }

    /// Handles the first 2xx: its dialog becomes that of the call, and other early dialogs
    /// are dropped (§13.2.2.4).
    pub(in crate::endpoint) fn confirm(&mut self, now: Instant, id: UsageId, cseq: u32, response: Response) {
        let Some(usage) = self.usages.get_mut(id) else { return };
        let Some(ours) = usage.ours(cseq) else { return };
        ours.deadline = None;
        let carried = ours.offered;
        let Some(Ok(mut dialog)) = ours.origin.as_deref().map(|origin| origin.from_response(&response))
        else {
            self.dismiss(now, id, cseq, &response);
            let cause = Termination::Protocol { message: "2xx without a usable Contact or To" };
            return self.terminate(now, id, cause);
        };
        let early = usage.dialogs.iter().find(|early| early.remote_tag() == dialog.remote_tag());
        // The offer may have been exchanged in reliable provisional responses.
        let settled = early.is_some_and(|early| early.settled);
        let offered = carried || settled;
        dialog.offer_answer = match offered {
            true => OfferAnswer::Idle,
            false => OfferAnswer::after_request(response.session().is_some(), false),
        };
        // Requests in the early dialog have advanced the CSeq numbers (PRACK, UPDATE).
        if let Some(early) = early {
            dialog.local_cseq = early.local_cseq;
            dialog.remote_cseq = early.remote_cseq;
            // A pending UPDATE does not end with the 2xx.
            if settled || early.offer_answer == OfferAnswer::RemoteOffer && !early.prack_owed {
                dialog.offer_answer = early.offer_answer;
            }
        }
        if let Some(ours) = usage.ours(cseq) {
            ours.again = None;
            ours.progress = if offered { Progress::Succeeded } else { Progress::AckOwed };
        }
        usage.dialogs = vec![dialog];
        usage.phase = Phase::Established;
        if offered {
            self.send_ack(now, id, cseq, None);
        }
        self.session_answered(now, id, &response);
        self.usage_event(id, UsageEvent::Answered { response, ack_wanted: !offered });
    }

    /// Handles a 2xx after the first: a retransmission, or the 2xx of another fork.
    pub(in crate::endpoint) fn late_success(
        &mut self,
        now: Instant,
        id: UsageId,
        cseq: u32,
        response: Response,
    ) {
        let Some(usage) = self.usages.get_mut(id) else { return };
        let tag = response.to_tag().unwrap_or_default();
        let confirmed = usage.dialogs.first().is_some_and(|dialog| dialog.remote_tag() == tag);
        let dismissed = usage.ours(cseq).is_some_and(|ours| ours.dismissed.has(tag));
        if confirmed && !dismissed {
            self.repeat_ack(id, cseq);
        } else {
            self.dismiss(now, id, cseq, &response);
        }
    }

    /// Retransmits the ACK, if one was sent.
    pub(in crate::endpoint) fn repeat_ack(&mut self, id: UsageId, cseq: u32) {
        let Some(usage) = self.usages.get_mut(id) else { return };
        let peers = usage.dialogs.first().and_then(|dialog| dialog.flow);
        if let Some((flow, ack)) = usage.ours(cseq).and_then(|ours| ours.ack.clone()) {
            self.out.counters.retransmitted += 1;
            let flow = peers.filter(|_| !self.out.is_usable(&flow)).unwrap_or(flow);
            self.out.transmit(flow, ack);
        }
    }

    /// Sends ACK and BYE for an unwanted 2xx; only the ACK for its retransmissions.
    pub(in crate::endpoint) fn dismiss(&mut self, now: Instant, id: UsageId, cseq: u32, response: &Response) {
        let limit = self.config.limits.forks;
        let Some(usage) = self.usages.get_mut(id) else { return };
        // Requests in the early dialog have advanced the CSeq number (PRACK, UPDATE).
        let tag = response.to_tag().unwrap_or_default();
        let counted = usage.dialogs.iter().find(|early| early.remote_tag() == tag).map(|it| it.local_cseq);
        let Some(ours) = usage.ours(cseq) else { return };
        ours.deadline = None;
        if ours.progress == Progress::Open {
            ours.progress = Progress::Succeeded;
        }
        let Some(origin) = ours.origin.as_deref() else { return };
        let Some((mut dialog, is_new)) = ours.dismissed.dismiss(origin, response, limit) else { return };
        let credentials = ours.credentials.clone();
        dialog.local_cseq = dialog.local_cseq.max(counted.unwrap_or_default());
        let parting = usage.parting.take_if(|_| is_new).unwrap_or_default();
        self.acknowledge_and_end(now, id, dialog, cseq, credentials, is_new.then_some(parting.headers));
    }

    /// Sends an ACK with this CSeq number and these credentials in a dialog that is not
    /// wanted, and a BYE with these header fields.
    pub(in crate::endpoint) fn acknowledge_and_end(
        &mut self,
        now: Instant,
        usage: UsageId,
        dialog: Dialog,
        cseq: u32,
        credentials: HeaderFields,
        bye: Option<HeaderFields>,
    ) {
        let ack = Draft { headers: credentials, ..Draft::new(Method::Ack, cseq, None) };
        self.dispatch(now, dialog.clone(), ack, User::Nobody(usage));
        if let Some(headers) = bye {
            let bye = Draft { headers, ..Draft::new(Method::Bye, dialog.local_cseq + 1, None) };
            self.dispatch(now, dialog, bye, User::Nobody(usage));
        }
    }

    /// Sends the ACK for a 2xx (§13.2.2.4), with the credentials of its INVITE.
    pub(in crate::endpoint) fn send_ack(&mut self, now: Instant, id: UsageId, cseq: u32, body: Option<Body>) {
        let Some(usage) = self.usages.get_mut(id) else { return };
        let headers = usage.ours(cseq).map(|ours| ours.credentials.clone()).unwrap_or_default();
        let Some(dialog) = usage.dialogs.first().cloned() else { return };
        let draft = Draft { headers, ..Draft::new(Method::Ack, cseq, body) };
        self.dispatch(now, dialog, draft, User::Invite(id, cseq));
    }
}
