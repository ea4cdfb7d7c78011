//! Requests in a call (RFC 3261 §12.2): BYE, and those that the user answers.

use std::time::Instant;

use crate::dialog::callee_fsm::State;
use crate::dialog::hop::HopRule;
use crate::dialog::nat;
use crate::dialog::offer_answer::OfferAnswer;
use crate::dialog::reply::Reply;
use crate::dialog::state::answers_secure;
use crate::dialog::usage::{Phase, Progress};
use crate::endpoint::command::{CommandError, check_headers};
use crate::endpoint::in_dialog::refresh::write_agreement;
use crate::endpoint::receive::abilities;
use crate::endpoint::sending::hops::flow_after;
use crate::endpoint::sending::send::User;
use crate::endpoint::{Endpoint, Flow, ServerTransactionId, Termination, UsageEvent, UsageId};
use crate::msg::body::Body;
use crate::msg::{HeaderFields, Method, Name, Request, ResponseWriter, phrase};
use crate::outbox::ReplyPath;
use b2b_base::ids::Tag;

/// The addressee of a request: our tag for the response, and the usage if there is one.
#[derive(Clone, Copy)]
pub(in crate::endpoint) struct Addressee {
    pub tag: Tag,
    pub usage: Option<UsageId>,
}

impl Endpoint {
    /// Handles a request in a dialog of this usage that matches no transaction.
    pub(in crate::endpoint) fn in_dialog(
        &mut self,
        now: Instant,
        mut path: ReplyPath,
        flow: Flow,
        id: UsageId,
        request: Request,
    ) {
        let full = self.is_full_of(id);
        let Some(usage) = self.usages.get_mut(id).filter(|usage| !usage.is_over()) else {
            return self.refuse(now, &path, &request, 481);
        };
        let remote_tag = request.from_tag().unwrap_or_default();
        let (Some(dialog), Ok(cseq)) = (usage.dialog(remote_tag), request.cseq()) else {
            return self.refuse(now, &path, &request, 481);
        };
        path.way = self.out.way(dialog.tls.as_ref(), dialog.listener.as_ref());
        self.ahead.goes(id);
        // §12.2.2: out of order.
        if dialog.remote_cseq.is_some_and(|last| cseq.number <= last) {
            return self.refuse(now, &path, &request, 500);
        }
        // Our BYE is under way, so the call accepts no requests (RFC 5407 §3.2.2, §3.3.3),
        // except NOTIFYs about a transfer.
        if usage.phase == Phase::Ending && !matches!(request.method(), Method::Bye | Method::Notify) {
            return self.refuse(now, &path, &request, 481);
        }
        // We send no reliable provisional responses (RFC 3262 §3).
        let reliable = self.config.extensions.reliable;
        if *request.method() == Method::Prack && !reliable {
            return self.refuse(now, &path, &request, 481);
        }
        let limit = self.config.limits.requests_per_call;
        let within = usage.requests.take(now, limit);
        if *request.method() != Method::Bye && (!within || full) {
            return self.overloaded(now, &path, &request);
        }
        let own = usage.dialog(remote_tag).and_then(|dialog| Some((dialog.connection?, dialog.hops.clone())));
        match own.filter(|(own, _)| self.config.asks_of_flows && flow.connection() != Some(*own)) {
            Some((_, hops)) => {
                // Nothing is known of the sender: its CSeq number does not count yet.
                let copy = request.clone();
                if let Some(transaction) = self.servers.start(now, &mut self.out, copy, path, Some(id)) {
                    let registered = matches!(hops, HopRule::Flow(Some(at)) if at.is_by(now, &flow));
                    self.usage_event(id, UsageEvent::OtherFlow { transaction, request, flow, registered });
                }
            }
            None => self.of_peer(now, path, flow, id, request),
        }
    }

    /// Takes a request reported as [`UsageEvent::OtherFlow`]: it is of the peer, whose connection that is from
    /// now on.
    ///
    /// # Errors
    /// The call is over, or the request was answered already.
    pub fn believe(
        &mut self,
        now: Instant,
        id: UsageId,
        transaction: ServerTransactionId,
        flow: Flow,
    ) -> Result<(), CommandError> {
        let request = self.servers.request(transaction).cloned().ok_or(CommandError::Gone)?;
        let path = self.servers.path(transaction).ok_or(CommandError::Gone)?;
        let usage = self.usages.get_mut(id).filter(|usage| !usage.is_over()).ok_or(CommandError::Gone)?;
        let dialog = usage.dialog(request.from_tag().unwrap_or_default()).ok_or(CommandError::Gone)?;
        if flow.connection().is_some() {
            dialog.connection = flow.connection();
        }
        if matches!(dialog.hops, HopRule::Flow(_)) {
            dialog.flow = nat::reached(&request, flow).or(dialog.flow);
        }
        self.servers.forget(transaction);
        self.of_peer(now, path, flow, id, request);
        Ok(())
    }

    /// Handles a request of the peer.
    fn of_peer(&mut self, now: Instant, path: ReplyPath, flow: Flow, id: UsageId, request: Request) {
        let Some(usage) = self.usages.get_mut(id) else { return };
        let addressee = Addressee { tag: usage.local_tag, usage: Some(id) };
        let (remote_tag, Ok(cseq)) = (request.from_tag().unwrap_or_default(), request.cseq()) else { return };
        let allowed = matches!(
            request.method(),
            Method::Bye | Method::Invite | Method::Update | Method::Info | Method::Options | Method::Prack
        ) || self.config.accept.contains(request.method())
            || self.config.extensions.refer && matches!(request.method(), Method::Refer | Method::Notify);
        if !allowed {
            if let Some(dialog) = usage.dialog(remote_tag) {
                dialog.remote_cseq = Some(cseq.number);
            }
            let allow = self.identity.allow.clone();
            return self.answer_now(now, path, request, addressee, 405, &[(Name::Allow, allow.as_bytes())]);
        }
        if self.refuses_extension(now, &path, &request) {
            return;
        }
        if let Some(dialog) = self.usages.get_mut(id).and_then(|usage| usage.dialog(remote_tag)) {
            dialog.remote_cseq = Some(cseq.number);
            let usable = dialog.flow.is_some_and(|known| self.out.is_usable(&known));
            dialog.flow = Some(flow_after(now, dialog, &request, flow, usable));
        }
        match request.method() {
            Method::Bye => {
                self.answer_now(now, path, request.clone(), addressee, 200, &[]);
                self.bye_received(now, id, request);
            }
            Method::Invite => self.reinvite_received(now, path, addressee, request),
            Method::Update => self.update_received(now, path, addressee, request),
            Method::Prack => self.prack_received(now, path, addressee, request),
            Method::Options => {
                let (allow, supported) = (self.identity.allow.clone(), self.identity.supported.clone());
                self.answer_now(now, path, request, addressee, 200, &abilities(&allow, &supported));
            }
            Method::Info if !self.config.accept.contains(&Method::Info) => {
                self.answer_now(now, path, request, addressee, 200, &[]);
            }
            Method::Refer if self.config.extensions.refer => {
                self.refer_received(now, path, addressee, request)
            }
            Method::Notify
                if self.config.extensions.refer && self.refer_notified(now, path, addressee, &request) => {}
            Method::Notify if !self.config.accept.contains(&Method::Notify) => {
                self.answer_now(now, path, request, addressee, 489, &[]);
            }
            _ => {
                let copy = request.clone();
                if let Some(transaction) = self.servers.start(now, &mut self.out, copy, path, Some(id)) {
                    self.usage_event(id, UsageEvent::Request { transaction, request });
                }
            }
        }
    }

    /// Starts a server transaction for a request and responds at once.
    pub(in crate::endpoint) fn answer_now(
        &mut self,
        now: Instant,
        path: ReplyPath,
        request: Request,
        Addressee { tag, usage }: Addressee,
        status: u16,
        headers: &[(Name<'_>, &[u8])],
    ) {
        let mut writer = ResponseWriter::reply_to(&request, status, phrase(status), Some(tag.as_str()));
        for (name, value) in headers {
            writer = writer.header(*name, value);
        }
        let mut timer = None;
        if matches!(request.method(), Method::Update) && status < 300 {
            let agreement = self.session_agreed(usage, &request).ok().flatten();
            writer = write_agreement(writer, agreement);
            timer = usage.and_then(|usage| Some((usage, self.session_confirmed(now, usage, &request)?)));
            let secure = answers_secure(&request);
            let uri = self.identity.target(&path.flow, self.contact_user(usage)).secure(secure);
            writer = writer.header_fmt(Name::Contact, format_args!("<{uri}>"));
        }
        let Ok(response) = self.served(writer).finish() else {
            self.out.counters.unbuildable += 1;
            return;
        };
        if let Some(transaction) = self.servers.start(now, &mut self.out, request, path, usage) {
            self.servers.respond(now, &mut self.out, transaction, status, response);
            if let Some((usage, timer)) = timer {
                self.set_timer(now, usage, timer);
            }
        }
    }

    fn bye_received(&mut self, now: Instant, id: UsageId, request: Request) {
        if self.bye_before_ack(now, id, &request) {
            return;
        }
        let Some(phase) = self.usages.get(id).map(|usage| usage.phase) else { return };
        match phase {
            Phase::Established => self.terminate(now, id, Termination::RemoteBye { request }),
            // Both sides hang up at once; report it as our own hang-up.
            Phase::Ending => self.terminate(now, id, Termination::LocalBye),
            Phase::Caller(_) => self.early_bye(now, id, request),
            Phase::Callee(_) | Phase::Over => {}
        }
    }

    /// Hangs up an answered call; `Terminated` follows when it is over.
    ///
    /// # Errors
    /// The call is not answered: use `cancel` or `reject`.
    pub fn bye(&mut self, now: Instant, usage: UsageId) -> Result<(), CommandError> {
        self.bye_with(now, usage, Vec::new(), None)
    }

    /// Like `bye`, with header fields for the BYE, such as Reason (RFC 3326), and a body.
    ///
    /// # Errors
    /// As for `bye`, or a header field is invalid.
    pub fn bye_with(
        &mut self,
        now: Instant,
        usage: UsageId,
        headers: HeaderFields,
        body: Option<Body>,
    ) -> Result<(), CommandError> {
        check_headers(&headers)?;
        let it = self.usages.get_mut(usage).filter(|it| !it.is_over()).ok_or(CommandError::Gone)?;
        let phase = it.phase;
        if body.is_some() {
            it.parting.get_or_insert_default().body = body;
        }
        match phase {
            Phase::Established => {
                self.part_with(usage, headers);
                self.hang_up(now, usage);
            }
            Phase::Ending => {}
            Phase::Callee(State::AwaitingAck) => {
                self.part_with(usage, headers);
                self.hang_up_before_ack(now, usage);
            }
            // The answer still waits for a PRACK and was not sent.
            Phase::Callee(State::Incoming) if self.answer_is_held(usage) => {
                self.reply(now, usage, Reply { headers, ..Reply::status(480) })?;
            }
            _ if self.hang_up_before_ack(now, usage) => {}
            _ => return Err(CommandError::WrongState("the call is not answered: cancel or reject it")),
        }
        Ok(())
    }

    /// Sends BYE in an established session.
    pub(in crate::endpoint) fn hang_up(&mut self, now: Instant, id: UsageId) {
        self.hang_up_for(now, id, User::Bye(id));
    }

    /// Like `hang_up`; `user` gets the outcome of the BYE.
    pub(in crate::endpoint) fn hang_up_for(&mut self, now: Instant, id: UsageId, user: User) {
        self.refuse_pending(now, id, 487);
        let Some(usage) = self.usages.get_mut(id) else { return };
        usage.phase = Phase::Ending;
        usage.timer = None;
        usage.theirs = None;
        let mut owed = None;
        usage.ours.retain_mut(|ours| {
            ours.deadline = None;
            if ours.progress == Progress::AckOwed {
                owed = Some(ours.cseq);
                ours.progress = Progress::Succeeded;
            }
            ours.progress != Progress::BackOff
        });
        // The peer's 2xx still has to be acknowledged (§13.2.2.4).
        if let Some(cseq) = owed {
            self.send_ack(now, id, cseq, None);
        }
        if let Some(usage) = self.usages.get_mut(id) {
            usage.forget_finished();
        }
        self.send_bye(now, id, user);
    }

    /// Answers a request that was reported as `Event::Request`, `UsageEvent::Request` or
    /// `UsageEvent::Update`.
    ///
    /// # Errors
    /// The request was answered already, or has timed out (64*T1).
    pub fn respond(
        &mut self,
        now: Instant,
        transaction: ServerTransactionId,
        reply: Reply,
    ) -> Result<(), CommandError> {
        if !(200..700).contains(&reply.status) {
            return Err(CommandError::WrongState("a final status is 200 to 699"));
        }
        let request = self.servers.request(transaction).ok_or(CommandError::Gone)?;
        let usage = self.usages.of_request(request);
        let tag = match usage.and_then(|usage| self.usages.get(usage)) {
            Some(usage) => usage.local_tag,
            None => self.mint.tag(),
        };
        let answers = matches!(request.method(), Method::Update | Method::Prack);
        let refreshes = matches!(request.method(), Method::Update | Method::Refer);
        let words = if reply.reason.is_empty() { phrase(reply.status) } else { &reply.reason };
        let mut writer = ResponseWriter::reply_to(request, reply.status, words, Some(tag.as_str()));
        if refreshes
            && reply.status < 300
            && let Some(path) = self.servers.path(transaction)
        {
            let secure = answers_secure(request);
            let uri = self.identity.target(&path.flow, self.contact_user(usage)).secure(secure);
            writer = writer.header_fmt(Name::Contact, format_args!("<{uri}>"));
        }
        let mut timer = None;
        if *request.method() == Method::Update && reply.status < 300 {
            writer = write_agreement(writer, self.session_agreed(usage, request).ok().flatten());
            timer = usage.and_then(|usage| Some((usage, self.session_confirmed(now, usage, request)?)));
        }
        let allow = if usage.is_some() { self.identity.allow.clone() } else { self.allow_outside() };
        let response = reply
            .write(request.method(), &allow, self.served(writer))
            .finish()
            .map_err(|error| CommandError::BadHeader { name: error.to_string() })?;
        if answers {
            let remote_tag = request.from_tag().unwrap_or_default().to_vec();
            if let Some(dialog) =
                usage.and_then(|usage| self.usages.get_mut(usage)).and_then(|it| it.dialog(&remote_tag))
            {
                if *request.method() == Method::Update && reply.status < 300 {
                    dialog.refresh_target(request);
                }
                dialog.offer_answer = OfferAnswer::Idle;
            }
        }
        self.servers.respond(now, &mut self.out, transaction, reply.status, response);
        if let Some((usage, timer)) = timer {
            self.set_timer(now, usage, timer);
        }
        Ok(())
    }
}
