//! Outgoing REFERs: ask a party to call a target by itself (RFC 3515), on another party's REFER or on a
//! command.

use std::collections::HashMap;

use bytes::Bytes;

use super::invite::escaped_user;
use super::replacing::PassedRefer;
use super::transfer::PartyRefer;
use super::{CallStep, Turn};
use crate::LegId;
use crate::event::{Event, TransferKind};
use crate::leg_fsm::TerminationCause;
use crate::service::command::Reply;
use crate::service::{ReferError, ReferOutcome, ReferRequest};
use b2b_sip::endpoint::{CommandError, ReferId, ReferTo, RequestFailure};
use b2b_sip::msg::{Name, NameAddr, Request, Response, one_line};

/// An outgoing REFER whose outcome is not known yet.
#[derive(serde::Serialize, serde::Deserialize)]
pub(super) struct Referred {
    /// The leg whose party was asked.
    pub leg: LegId,
    told: Told,
}

/// The receiver of a REFER's progress.
#[derive(serde::Serialize, serde::Deserialize)]
enum Told {
    /// The party whose REFER was passed on.
    Party(PartyRefer),
    /// The sender of the command.
    Command(Box<Commanded>),
}

/// A REFER by command.
#[derive(serde::Serialize, serde::Deserialize)]
struct Commanded {
    /// The leg of the command: the partner of the REFER's leg, or that leg itself.
    by: LegId,
    progress: Progress,
    reply: Reply<Result<ReferOutcome, ReferError>>,
}

/// The progress of a REFER by command. A NOTIFY may come before the 2xx (RFC 3515 §2.4.4).
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
enum Progress {
    /// No response and no NOTIFY yet.
    Sent,
    /// Accepted by the party; the latest status notified, 202 until there is one.
    Taken(u16),
}

/// An event of a REFER by command.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Heard {
    /// The status of its final response; `None`: there was no response.
    Answer(Option<u16>),
    /// The status in a NOTIFY.
    Status(u16),
    /// No further NOTIFY will come.
    NoMore,
    /// The party has hung up.
    Left,
    /// The leg has ended in another way: by us, for loss of media, or with the call.
    Ended,
}

impl Progress {
    /// The next progress, or the outcome.
    fn step(self, heard: Heard) -> Result<Progress, Result<ReferOutcome, ReferError>> {
        match (self, heard) {
            (_, Heard::Answer(None)) => Err(Err(ReferError::Refused(408))),
            (_, Heard::Answer(Some(status @ 300..))) => Err(Err(ReferError::Refused(status))),
            (Progress::Sent, Heard::Answer(Some(status))) => Ok(Progress::Taken(status)),
            (Progress::Taken(_), Heard::Answer(Some(_))) => Ok(self),
            (_, Heard::Status(status @ ..200)) => Ok(Progress::Taken(status)),
            (_, Heard::Status(status @ 200..300)) => Err(Ok(ReferOutcome { status, confirmed: true })),
            (_, Heard::Status(status)) => Err(Err(ReferError::Failed(status))),
            (_, Heard::NoMore) => Err(Err(ReferError::Unknown)),
            // Providers hang up as soon as they have accepted: the transfer counts as done, as far as can be
            // seen.
            (Progress::Taken(status), Heard::Left) => Err(Ok(ReferOutcome { status, confirmed: false })),
            (Progress::Sent, Heard::Left) | (_, Heard::Ended) => Err(Err(ReferError::Gone)),
        }
    }
}

/// Outgoing REFERs.
#[derive(Default)]
pub(super) struct Referrals {
    /// The receiver for each REFER.
    pub sent: HashMap<ReferId, Referred>,
    /// REFERs passed on, to recognize an INVITE with Replaces that results; the latest last.
    pub passed: Vec<PassedRefer>,
}

impl Referrals {
    /// The number of REFERs whose outcome is not known.
    pub fn len(&self) -> usize {
        self.sent.len()
    }
}

impl CallStep<'_> {
    /// Passes a party's REFER on to the other party.
    pub(super) fn pass_refer_on(
        &mut self,
        t: &mut Turn<'_>,
        by: LegId,
        to: LegId,
        refer_to: &ReferTo,
        request: &Request,
        refer: PartyRefer,
    ) {
        let value = request.header(Name::ReferTo).map(one_line).unwrap_or_default();
        let value = without_headers(value, refer_to);
        let Some(other) = self.call.leg(to).and_then(|it| it.usage) else {
            return t.answer_refer(refer, 480);
        };
        let by_whom = self.referred_by(by).map(|by| ("Referred-By".into(), by.into()));
        let fields = self.ruled(to, by_whom.into_iter().collect(), Some(request));
        match t.sip.refer(t.now, other, value, true, fields) {
            Ok(id) => {
                self.common.referrals.sent.insert(id, Referred { leg: to, told: Told::Party(refer) });
                self.remember_refer(t, by, to);
            }
            Err(error) => {
                tracing::debug!("leg {}: {error}", to.0);
                t.answer_refer(refer, 480);
            }
        }
    }

    /// Asks the partner of a leg, or its own party, to call a target by itself.
    pub(super) fn send_away(
        &mut self,
        t: &mut Turn<'_>,
        by: LegId,
        request: ReferRequest,
        reply: Reply<Result<ReferOutcome, ReferError>>,
    ) {
        let target = request.to.clone();
        match self.begin_sending(t, by, request) {
            Ok((id, leg)) => {
                let commanded = Commanded { by, progress: Progress::Sent, reply };
                self.common
                    .referrals
                    .sent
                    .insert(id, Referred { leg, told: Told::Command(Box::new(commanded)) });
                if let Some(call) = self.call.leg(leg).map(|it| it.call) {
                    self.tell(
                        t,
                        Event::TransferRequested { call, leg: by, kind: TransferKind::Blind, target },
                    );
                }
            }
            Err(error) => drop(reply.send(Err(error))),
        }
    }

    fn begin_sending(
        &mut self,
        t: &mut Turn<'_>,
        by: LegId,
        request: ReferRequest,
    ) -> Result<(ReferId, LegId), ReferError> {
        let partner = self.call.bridged(by).map(|(partner, _)| partner);
        // The request says which party it means: the partner may have hung up a moment ago.
        let leg = match (request.own, partner) {
            (false, Some(partner)) => partner,
            (true, None) => by,
            (false, None) => {
                return Err(ReferError::WrongState("the leg is in no bridge; `own` sends its own party"));
            }
            (true, Some(_)) => return Err(ReferError::WrongState("the leg is in a bridge; leave `own` out")),
        };
        let it = self.call.leg(leg).filter(|it| !it.life.is_ending()).ok_or(ReferError::Gone)?;
        let busy = self.call.dialling.is_some();
        if busy || self.is_sent_away(leg) {
            return Err(ReferError::WrongState("a transfer is under way"));
        }
        let usage = it.usage.filter(|_| it.is_up()).ok_or(ReferError::WrongState("it is not answered"))?;
        if !request.is_uri() {
            return Err(ReferError::BadTarget(request.to));
        }
        // At most one Referred-By (RFC 3892 §3), with what the party may see of the referrer.
        let is_by = |name: &str| Name::parse(name.as_bytes()) == Name::ReferredBy;
        let said = request.headers.iter().any(|(name, _)| is_by(name));
        let by_whom = partner.filter(|_| !said && !self.is_unknown(by)).and_then(|_| self.shown(by));
        let by_whom = by_whom.map(|(_, number)| {
            let value = format!("<sip:{}@{}>", escaped_user(&number), self.common.config.domain);
            ("Referred-By".into(), value.into())
        });
        let own = request.headers.into_iter().map(|(name, value)| (name.into(), value.into()));
        let headers = by_whom.into_iter().chain(own).collect();
        let value = format!("<{}>", request.to);
        let sent = t.sip.refer(t.now, usage, value.into(), true, headers).map_err(|error| match error {
            CommandError::WrongState(why) => ReferError::WrongState(why),
            CommandError::BadHeader { name } => ReferError::BadHeader(name),
            _ => ReferError::Gone,
        })?;
        Ok((sent, leg))
    }

    /// Whether a command has asked the party of a leg to call a target by itself.
    pub(super) fn is_sent_away(&self, leg: LegId) -> bool {
        self.common.referrals.sent.values().any(|it| it.leg == leg && matches!(it.told, Told::Command(_)))
    }

    /// The response to a REFER of ours.
    pub(super) fn refer_answered(
        &mut self,
        t: &mut Turn<'_>,
        id: ReferId,
        result: &Result<Response, RequestFailure>,
    ) {
        let Some(it) = self.common.referrals.sent.get(&id) else { return self.common.counters.late() };
        let Told::Party(refer) = it.told else {
            let status = result.as_ref().ok().map(|response| response.status());
            self.heard_of(t, id, Heard::Answer(status));
            // No NOTIFY will come (RFC 4488 §4).
            let is_false = |value: &[u8]| value.eq_ignore_ascii_case(b"false");
            if result.as_ref().is_ok_and(|it| it.header(Name::ReferSub).is_some_and(is_false)) {
                self.heard_of(t, id, Heard::NoMore);
            }
            return;
        };
        let status = match result {
            Ok(response) => response.status(),
            Err(RequestFailure::NoResponse) => 408,
            Err(RequestFailure::Unreachable) => 480,
        };
        if status >= 300 {
            self.common.referrals.sent.remove(&id);
        }
        t.answer_refer(refer, status);
    }

    /// A NOTIFY for a REFER of ours.
    pub(super) fn refer_progress(
        &mut self,
        t: &mut Turn<'_>,
        id: ReferId,
        status: Option<(u16, String)>,
        last: bool,
    ) {
        let Some(it) = self.common.referrals.sent.get(&id) else { return self.common.counters.late() };
        let Told::Party(refer) = it.told else {
            if let Some((status, _)) = status {
                self.heard_of(t, id, Heard::Status(status));
            }
            if last {
                self.heard_of(t, id, Heard::NoMore);
            }
            return;
        };
        if last {
            self.common.referrals.sent.remove(&id);
        }
        // The outcome is unknown: reported as a failure.
        let status = status.or_else(|| last.then(|| (503, String::new())));
        if let Some((status, reason)) = status {
            t.tell_referrer(Some(refer), status, &reason);
        }
    }

    /// The leg that a REFER was sent to has ended.
    pub(super) fn forget_referred(&mut self, t: &mut Turn<'_>, leg: LegId, cause: &TerminationCause) {
        if self.common.referrals.sent.is_empty() {
            return;
        }
        let mut waiting: Vec<_> =
            self.common.referrals.sent.iter().filter(|(_, it)| it.leg == leg).map(|(id, _)| *id).collect();
        waiting.sort_unstable();
        for id in waiting {
            let told = self.common.referrals.sent.get(&id).map(|it| &it.told);
            if let Some(Told::Party(refer)) = told {
                // Its party has gone to the target, as far as can be seen from here.
                t.tell_referrer(Some(*refer), 200, "");
                self.common.referrals.sent.remove(&id);
            } else {
                let heard = match cause {
                    TerminationCause::RemoteHangup => Heard::Left,
                    _ => Heard::Ended,
                };
                self.heard_of(t, id, heard);
            }
        }
    }

    /// Advances or completes a REFER by command. A party that has reached the target is hung up (RFC 5589
    /// §6.1).
    fn heard_of(&mut self, t: &mut Turn<'_>, id: ReferId, heard: Heard) {
        // The outcome may arrive in two ways at once.
        let Some(it) = self.common.referrals.sent.get_mut(&id) else { return self.common.counters.ignored() };
        let (leg, Told::Command(commanded)) = (it.leg, &mut it.told) else {
            return self.common.counters.impossible("heard_of");
        };
        let by = commanded.by;
        let call = self.call.leg(leg).map(|it| it.call);
        match commanded.progress.step(heard) {
            Ok(progress) => {
                commanded.progress = progress;
                if let (Progress::Taken(status @ ..200), Some(call)) = (progress, call) {
                    self.tell(t, Event::TransferProgress { call, leg: by, status });
                }
            }
            Err(result) => {
                let Some(Referred { told: Told::Command(commanded), .. }) =
                    self.common.referrals.sent.remove(&id)
                else {
                    return self.common.counters.impossible("heard_of");
                };
                if let Some(call) = call {
                    let status = result.as_ref().map_or_else(ReferError::status, |it| it.status);
                    self.tell(t, Event::TransferEnded { call, leg: by, status });
                }
                // A party that has hung up is on its way out.
                let gone_over = result.is_ok() && heard != Heard::Left;
                // A closed receiver is no error.
                let _ = commanded.reply.send(result);
                if gone_over {
                    self.leave(t, leg, false);
                }
            }
        }
    }
}

/// Refer-To as received; if it has header fields other than Replaces, they are removed.
fn without_headers(value: Bytes, to: &ReferTo) -> Bytes {
    let headers = NameAddr::parse(&value).and_then(|it| it.uri.headers).unwrap_or_default();
    let is_replaces = |field: &[u8]| field.to_ascii_lowercase().starts_with(b"replaces=");
    if headers.split(|&byte| byte == b'&').all(|field| field.is_empty() || is_replaces(field)) {
        return value;
    }
    let replaces = to.replaces.as_ref().map(|it| format!("?{}", it.embedded())).unwrap_or_default();
    [b"<", &to.uri[..], replaces.as_bytes(), b">"].concat().into()
}
