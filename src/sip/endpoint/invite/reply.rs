//! The user's responses to an INVITE or re-INVITE: provisional ones, 2xx until its ACK,
//! refusals (RFC 3261 §13.3.1).

use std::time::Instant;

use bytes::Bytes;

use crate::dialog::callee_fsm;
use crate::dialog::reliable_fsm;
use crate::dialog::reply::Reply;
use crate::dialog::state::answers_secure;
use crate::dialog::usage::Success;
use crate::endpoint::command::{CommandError, check_headers};
use crate::endpoint::in_dialog::refresh::write_agreement;
use crate::endpoint::{Endpoint, ServerTransactionId, UsageId};
use crate::msg::body::Body;
use crate::msg::{Method, Name, ResponseWriter, phrase};

impl Endpoint {
    /// Sends 101 to 199 to an initial INVITE; an empty reason stands for the standard phrase.
    ///
    /// # Errors
    /// The call is over or already answered.
    pub fn provisional(
        &mut self,
        now: Instant,
        usage: UsageId,
        status: u16,
        reason: &str,
        body: Option<Body>,
    ) -> Result<(), CommandError> {
        if !(101..200).contains(&status) {
            return Err(CommandError::WrongState("a provisional status is 101 to 199"));
        }
        self.reply(now, usage, Reply { reason: reason.to_owned(), body, ..Reply::status(status) })
    }

    /// Answers an INVITE or re-INVITE with 200.
    ///
    /// # Errors
    /// There is no INVITE to answer.
    pub fn answer(&mut self, now: Instant, usage: UsageId, body: Option<Body>) -> Result<(), CommandError> {
        self.reply(now, usage, Reply { body, ..Reply::status(200) })
    }

    /// Refuses an INVITE (the call ends) or a re-INVITE (the call continues) with 300 to 699;
    /// an empty reason stands for the standard phrase.
    ///
    /// # Errors
    /// There is no INVITE to refuse.
    pub fn reject(
        &mut self,
        now: Instant,
        usage: UsageId,
        status: u16,
        reason: &str,
    ) -> Result<(), CommandError> {
        if !(300..700).contains(&status) {
            return Err(CommandError::WrongState("a refusal's status is 300 to 699"));
        }
        self.reply(now, usage, Reply { reason: reason.to_owned(), ..Reply::status(status) })
    }

    /// Responds to an INVITE or re-INVITE with 101 to 699: like `provisional`, `answer` and
    /// `reject`, with header fields and body.
    ///
    /// # Errors
    /// There is no INVITE to respond to, or a header field is invalid.
    pub fn reply(&mut self, now: Instant, usage: UsageId, reply: Reply) -> Result<(), CommandError> {
        if !(101..700).contains(&reply.status) {
            return Err(CommandError::WrongState("a status is 101 to 699"));
        }
        let redirects = (300..400).contains(&reply.status);
        let contact = |(name, _): &(Bytes, Bytes)| redirects && Name::parse(name) == Name::Contact;
        match reply.headers.iter().any(contact) {
            // The redirection targets (§21.3).
            true => check_headers(&reply.headers.iter().filter(|it| !contact(it)).cloned().collect())?,
            false => check_headers(&reply.headers)?,
        }
        let (transaction, initial) = self.undecided(usage)?;
        match reply.status {
            ..200 => self.reply_provisional(now, usage, transaction, reply),
            200..300 => self.reply_success(now, usage, transaction, reply),
            status => {
                let response = self.dialog_response(transaction, usage, &reply)?;
                self.servers.respond(now, &mut self.out, transaction, status, response);
                self.forget_their_offer(usage);
                if initial {
                    self.callee_event(now, usage, callee_fsm::Event::Reject, Some(status));
                }
                Ok(())
            }
        }
    }

    /// Sends the 2xx at once, or after the PRACK for an outstanding session description.
    fn reply_success(
        &mut self,
        now: Instant,
        usage: UsageId,
        transaction: ServerTransactionId,
        mut reply: Reply,
    ) -> Result<(), CommandError> {
        let it = self.usages.get_mut(usage).ok_or(CommandError::Gone)?;
        let settled = it.dialogs.first().is_some_and(|dialog| dialog.settled);
        let reliable = it.theirs.as_deref_mut().and_then(|theirs| theirs.reliable.as_deref_mut());
        let Some(reliable) = reliable else {
            let response = self.dialog_response(transaction, usage, &reply)?;
            self.succeed(now, usage, reply.has_session(), reply.status, response);
            return Ok(());
        };
        let behind = reliable.unacknowledged.as_ref().is_some_and(|it| it.has_session);
        // The offer is answered or will be; a body here would be a new offer, which is not
        // allowed (RFC 6337 §3.1.1).
        if settled || behind {
            reply.body = None;
        }
        let event = if behind { reliable_fsm::Event::AnswerBehind } else { reliable_fsm::Event::Answer };
        let response = self.dialog_response(transaction, usage, &reply)?;
        let reliable =
            self.usages.get_mut(usage).and_then(|it| it.theirs.as_deref_mut()?.reliable.as_deref_mut());
        if let Some(reliable) = reliable {
            reliable.answer = Some((reply.status, response, reply.has_session()));
        }
        self.reliable_event(now, usage, event);
        Ok(())
    }

    /// Sends the 2xx and retransmits it until its ACK (§13.3.1.4).
    pub(in crate::endpoint) fn succeed(
        &mut self,
        now: Instant,
        usage: UsageId,
        has_session: bool,
        status: u16,
        response: Bytes,
    ) {
        let (t1, give_up) = (self.config.timers.t1, self.config.timers.give_up());
        let Some(it) = self.usages.get_mut(usage) else { return };
        let Some(theirs) = it.theirs.as_deref_mut() else { return };
        let (transaction, initial) = (theirs.transaction, theirs.initial);
        let request = self.servers.request(transaction);
        let timer = request.and_then(|request| self.session_confirmed(now, usage, request));
        if let Some(timer) = timer {
            self.set_timer(now, usage, timer);
        }
        let Some(it) = self.usages.get_mut(usage) else { return };
        let Some(theirs) = it.theirs.as_deref_mut() else { return };
        (theirs.answer_by, theirs.told) = (None, None);
        theirs.success = Some(Success {
            response: response.clone(),
            resend_at: now + t1,
            interval: t1,
            give_up_at: now + give_up,
        });
        if let Some(dialog) = it.dialogs.first_mut() {
            // The 2xx also confirms the peer's new target (RFC 6141 §4.4, §4.6).
            if let Some(request) = self.servers.request(transaction).filter(|_| !initial) {
                dialog.refresh_target(request);
            }
            if !dialog.settled {
                dialog.offer_answer = dialog.offer_answer.after_success(has_session, true);
            }
        }
        if initial {
            self.callee_event(now, usage, callee_fsm::Event::Answer, None);
            if let Some(key) = self.servers.merge_key(transaction) {
                self.usages.merge(usage, key);
            }
        }
        self.servers.respond(now, &mut self.out, transaction, status, response);
        self.usages.arm(now, usage);
    }

    /// The received INVITE that the user has not answered, and whether it is the initial one.
    pub(in crate::endpoint) fn undecided(
        &self,
        usage: UsageId,
    ) -> Result<(ServerTransactionId, bool), CommandError> {
        let it = self.usages.get(usage).filter(|it| !it.is_over()).ok_or(CommandError::Gone)?;
        let theirs = it.theirs.as_deref().filter(|theirs| theirs.success.is_none());
        let theirs = theirs.ok_or(CommandError::WrongState("no INVITE is waiting for an answer"))?;
        Ok((theirs.transaction, theirs.initial))
    }

    pub(in crate::endpoint) fn dialog_response(
        &self,
        transaction: ServerTransactionId,
        usage: UsageId,
        reply: &Reply,
    ) -> Result<Bytes, CommandError> {
        let tag = self.usages.get(usage).ok_or(CommandError::Gone)?.local_tag;
        let request = self.servers.request(transaction).ok_or(CommandError::Gone)?;
        let flow = self.servers.path(transaction).ok_or(CommandError::Gone)?.flow;
        let words = if reply.reason.is_empty() { phrase(reply.status) } else { &reply.reason };
        let mut writer = ResponseWriter::reply_to(request, reply.status, words, Some(tag.as_str()));
        if reply.status < 300 {
            let uri =
                self.identity.target(&flow, self.contact_user(Some(usage))).secure(answers_secure(request));
            writer = writer
                .record_routes(request)
                .header_fmt(Name::Contact, format_args!("<{uri}>"))
                .header(Name::Allow, &self.identity.allow);
            if !self.identity.supported.is_empty() {
                writer = writer.header(Name::Supported, &self.identity.supported);
            }
        }
        if (200..300).contains(&reply.status) {
            let agreement = self.session_agreed(Some(usage), request).ok().flatten();
            writer = write_agreement(writer, agreement);
        }
        let writer = reply.write(&Method::Invite, &self.identity.allow, self.served(writer));
        writer.finish().map_err(|error| CommandError::BadHeader { name: error.to_string() })
    }
}
