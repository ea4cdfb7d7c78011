//! Transfers in both directions: we transfer a remote party (REFER, RFC 3515), blindly or to the remote party
//! of another leg (RFC 5589, with Replaces, RFC 3891); a remote party transfers us; and an INVITE replaces a
//! leg.
//!
//! The application decides which transfers of ours are permitted: [`AgentEvent`]s report them,
//! [`AgentService::accept_refer`] and [`AgentService::refuse_refer`] decide.

use std::collections::HashMap;

use bytes::Bytes;

use super::leg::Leg;
use super::{AgentError, AgentEvent, AgentService, DialAs, LegAudio, LegId};
use crate::leg_fsm::TerminationCause;
use b2b_sip::dialog::replaces::Replaces;
use b2b_sip::endpoint::{HeaderFields, ReferId, ReferTo, Reply, RequestFailure, UsageId};
use b2b_sip::msg::{Method, Name, Request, Response, Uri, one_line};

/// The transfers in progress.
#[derive(Default)]
pub(super) struct Transfers {
    /// Our REFERs, and the leg of each.
    ours: HashMap<ReferId, LegId>,
    /// REFERs that are not decided, by the leg that they came in.
    theirs: HashMap<LegId, Theirs>,
    /// Legs that we dial on a REFER, and the REFER to report to.
    dialled: HashMap<LegId, (UsageId, ReferId)>,
    /// Legs that replace others once they are answered.
    replacing: HashMap<LegId, LegId>,
}

struct Theirs {
    usage: UsageId,
    refer: ReferId,
    to: ReferTo,
    /// Referred-By (RFC 3892) of the referrer.
    by: Option<Bytes>,
}

impl AgentService {
    /// Transfers the remote party to `target`, by REFER. [`AgentEvent::TransferProgress`] and
    /// [`AgentEvent::TransferEnded`] follow; on success, the leg is hung up.
    ///
    /// # Errors
    /// The target is not a URI, the leg is not up, or a transfer of it is under way.
    pub fn refer(&mut self, id: LegId, target: &str) -> Result<(), AgentError> {
        let bad = |reason: &str| AgentError::Target { uri: target.to_owned(), reason: reason.to_owned() };
        let uri = Uri::parse(target.as_bytes()).map_err(|error| bad(&error.to_string()))?;
        if uri.headers.is_some() {
            return Err(bad("header fields behind '?' are not passed on"));
        }
        self.send_refer(id, format!("<{target}>"))
    }

    /// Transfers the remote party to the remote party of `other`, whose call with us it takes over. The same
    /// events follow as for `refer`; `other` is ended by its remote party.
    ///
    /// # Errors
    /// One of the legs is not up, both are the same, or a transfer of `id` is under way.
    pub fn refer_to(&mut self, id: LegId, other: LegId) -> Result<(), AgentError> {
        let entry = self.legs.get(other).filter(|entry| entry.told && entry.is_up() && other != id);
        let usage = entry.map(|entry| entry.usage).ok_or(AgentError::NoSuchLeg)?;
        let dialog = self.stack.endpoint().dialog(usage).ok_or(AgentError::NoSuchLeg)?;
        let replaces = Replaces {
            call_id: Bytes::copy_from_slice(dialog.call_id),
            to_tag: Bytes::copy_from_slice(dialog.remote_tag),
            from_tag: Bytes::copy_from_slice(dialog.local_tag.as_bytes()),
            early_only: false,
        };
        let target = String::from_utf8_lossy(dialog.remote_target);
        let target = target.split('?').next().unwrap_or_default();
        let refer_to = format!("<{target}?{}>", replaces.embedded());
        self.send_refer(id, refer_to)
    }

    fn send_refer(&mut self, id: LegId, refer_to: String) -> Result<(), AgentError> {
        let now = self.stack.now();
        let entry = self.legs.get(id).filter(|entry| entry.told && entry.is_up());
        let usage = entry.map(|entry| entry.usage).ok_or(AgentError::NoSuchLeg)?;
        if self.transfers.ours.values().any(|leg| *leg == id) {
            return Err(AgentError::NoSuchLeg);
        }
        let by = self.config.identity.as_ref();
        let by = by.map(|uri| (Bytes::from_static(b"Referred-By"), Bytes::from(format!("<{uri}>"))));
        let headers = by.into_iter().collect();
        let refer = self.stack.endpoint().refer(now, usage, refer_to.into(), true, headers);
        let refer = refer.map_err(|error| {
            tracing::debug!("leg {}: {error}", id.0);
            AgentError::NoSuchLeg
        })?;
        self.transfers.ours.insert(refer, id);
        Ok(())
    }

    /// The response to our REFER.
    pub(super) fn refer_answered(&mut self, refer: ReferId, result: &Result<Response, RequestFailure>) {
        let status = match result {
            // No NOTIFY will come (RFC 4488): the outcome stays unknown.
            Ok(response) if response.status() < 300 => {
                let silent =
                    response.header(Name::ReferSub).is_some_and(|it| it.eq_ignore_ascii_case(b"false"));
                return if silent {
                    self.our_transfer_over(refer, None)
                };
            }
            Ok(response) => response.status(),
            Err(RequestFailure::NoResponse) => 408,
            Err(RequestFailure::Unreachable) => 503,
        };
        self.our_transfer_over(refer, Some(status));
    }

    /// A NOTIFY about the call that we asked for.
    pub(super) fn refer_progress(&mut self, refer: ReferId, status: Option<u16>, last: bool) {
        let known = status.filter(|status| *status >= 200);
        if last || known.is_some() {
            return self.our_transfer_over(refer, known);
        }
        if let (Some(leg), Some(status)) = (self.transfers.ours.get(&refer).copied(), status) {
            self.tell(true, AgentEvent::TransferProgress { leg, status });
        }
    }

    fn our_transfer_over(&mut self, refer: ReferId, status: Option<u16>) {
        let Some(leg) = self.transfers.ours.remove(&refer) else { return };
        self.tell(true, AgentEvent::TransferEnded { leg, status });
        if status.is_some_and(|status| status < 300) {
            // The party talks to the target now (RFC 5589 §6.1).
            let _ = self.with_leg(leg, Leg::hangup);
        }
    }

    /// A REFER of the remote party.
    pub(super) fn referred(&mut self, leg: LegId, usage: UsageId, refer: ReferId, request: &Request) {
        let refusal = match ReferTo::of(request) {
            None => 400,
            Some(to) if to.method != Method::Invite => 501,
            Some(_) if self.draining || self.transfers.theirs.contains_key(&leg) => 491,
            Some(to) if self.legs.get(leg).is_some_and(|entry| entry.told && entry.is_up()) => {
                let by = request.header(Name::parse(b"Referred-By")).map(one_line);
                let target = String::from_utf8_lossy(&to.uri).into_owned();
                let attended = to.replaces.is_some();
                self.transfers.theirs.insert(leg, Theirs { usage, refer, to, by });
                return self.tell(true, AgentEvent::TransferRequested { leg, target, attended });
            }
            Some(_) => 603,
        };
        self.answer_refer(usage, refer, refusal);
    }

    /// Follows the REFER of the remote party of `id`: calls the target with this audio, and reports the
    /// progress by NOTIFY. The leg `id` stays up: its remote party ends it.
    ///
    /// # Errors
    /// There is no undecided REFER, or the target cannot be called; the REFER has been answered accordingly.
    pub fn accept_refer(&mut self, id: LegId, audio: LegAudio) -> Result<LegId, AgentError> {
        let Theirs { usage, refer, to, by } =
            self.transfers.theirs.remove(&id).ok_or(AgentError::NoSuchLeg)?;
        let mut headers: HeaderFields = to.headers;
        if let Some(replaces) = &to.replaces {
            headers.push((Bytes::from_static(b"Replaces"), replaces.to_string().into()));
            headers.push((Bytes::from_static(b"Require"), Bytes::from_static(b"replaces")));
        }
        headers.extend(by.map(|by| (Bytes::from_static(b"Referred-By"), by)));
        match self.dial_with(&String::from_utf8_lossy(&to.uri), audio, headers, &DialAs::default()) {
            Ok(leg) => {
                self.answer_refer(usage, refer, 202);
                self.transfers.dialled.insert(leg, (usage, refer));
                Ok(leg)
            }
            Err(error) => {
                self.answer_refer(usage, refer, 400);
                Err(error)
            }
        }
    }

    /// The remote target of a leg: before the answer, the URI that we call.
    pub fn target(&mut self, id: LegId) -> Option<String> {
        let usage = self.legs.get(id)?.usage;
        let dialog = self.stack.endpoint().dialog(usage)?;
        Some(String::from_utf8_lossy(dialog.remote_target).into_owned())
    }

    /// Answers the REFER of the remote party with this status and does not follow it.
    ///
    /// # Errors
    /// There is no undecided REFER.
    pub fn refuse_refer(&mut self, id: LegId, status: u16) -> Result<(), AgentError> {
        let Theirs { usage, refer, .. } = self.transfers.theirs.remove(&id).ok_or(AgentError::NoSuchLeg)?;
        self.answer_refer(usage, refer, status);
        Ok(())
    }

    fn answer_refer(&mut self, usage: UsageId, refer: ReferId, status: u16) {
        let now = self.stack.now();
        if let Err(error) = self.stack.endpoint().answer_refer(now, usage, refer, Reply::status(status)) {
            // It was not decided in time, or the call is over.
            tracing::debug!("REFER: {error}");
        }
    }

    /// Reports the progress of a leg that we dial on a REFER to the referrer.
    pub(super) fn tell_referrer(&mut self, leg: LegId, status: u16, reason: &str) {
        let now = self.stack.now();
        let Some(&(usage, refer)) = self.transfers.dialled.get(&leg) else { return };
        if status >= 200 {
            self.transfers.dialled.remove(&leg);
        }
        if let Err(error) = self.stack.endpoint().notify_refer(now, usage, refer, status, reason) {
            tracing::debug!("leg {}: {error}", leg.0);
        }
    }

    /// Notes that a new leg replaces another one.
    pub(super) fn replaces(&mut self, leg: LegId, replaced: Option<LegId>) {
        if let Some(replaced) = replaced {
            self.transfers.replacing.insert(leg, replaced);
        }
    }

    /// A leg has been answered: the one that it replaces ends (RFC 3891 §3).
    pub(super) fn take_place(&mut self, leg: LegId) {
        if let Some(replaced) = self.transfers.replacing.remove(&leg) {
            let _ = self.with_leg(replaced, Leg::hangup);
        }
    }

    /// A leg is over, and with it its transfers.
    pub(super) fn transfers_end(&mut self, leg: LegId, cause: &TerminationCause) {
        self.transfers.theirs.remove(&leg);
        self.transfers.replacing.remove(&leg);
        let sent: Vec<ReferId> =
            self.transfers.ours.iter().filter(|(_, of)| **of == leg).map(|(refer, _)| *refer).collect();
        for refer in sent {
            // Many hang up as soon as they are transferred.
            self.our_transfer_over(refer, None);
        }
        let (status, reason) = match cause {
            TerminationCause::Failed { status, reason } => (*status, reason.as_str()),
            TerminationCause::Cancelled | TerminationCause::LocalHangup => (487, ""),
            _ => (503, ""),
        };
        // A leg that was answered has reported its result already.
        self.tell_referrer(leg, status, reason);
    }
}
