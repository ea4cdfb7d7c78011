//! REFER in a call and its implicit subscription, sent and received (RFC 3515, RFC 4488).

use std::time::{Duration, Instant};

use bytes::Bytes;

use crate::dialog::refer_fsm::{notifier, subscriber};
use crate::dialog::replaces::ReferTo;
use crate::dialog::reply::Reply;
use crate::dialog::request::Draft;
use crate::dialog::usage::{Phase, Refer, ReferRole, Usage};
use crate::endpoint::command::{CommandError, check_headers};
use crate::endpoint::in_dialog::session::Addressee;
use crate::endpoint::sending::send::User;
use crate::endpoint::{Endpoint, ReferId, Termination, UsageEvent, UsageId};
use crate::msg::body::Body;
use crate::msg::{HeaderFields, Method, Name, Request, Response, chars, one_line, phrase};
use crate::outbox::ReplyPath;
use crate::transaction::client::Outcome;

/// Lifetime of the implicit subscription of a REFER: longer than any ringing.
const EXPIRES: Duration = Duration::from_secs(300);
/// Maximum number of concurrent REFERs in one call.
const REFERS: usize = 4;

impl Endpoint {
    /// Asks the peer to call another party: `refer_to` is the value of Refer-To,
    /// `<sip:c@example.com>`. The results are reported as `ReferAnswered` and
    /// `ReferProgress`; without `subscribe` the peer is asked to send no NOTIFY.
    ///
    /// # Errors
    /// The call is not established, or a header field is invalid.
    pub fn refer(
        &mut self,
        now: Instant,
        usage: UsageId,
        refer_to: Bytes,
        subscribe: bool,
        headers: HeaderFields,
    ) -> Result<ReferId, CommandError> {
        let mut fields: HeaderFields = vec![(Bytes::from_static(b"Refer-To"), refer_to)];
        fields.extend(headers);
        if !subscribe {
            fields.push((Bytes::from_static(b"Refer-Sub"), Bytes::from_static(b"false")));
            fields.push((Bytes::from_static(b"Supported"), Bytes::from_static(b"norefersub")));
        }
        check_headers(&fields)?;
        if fields.first().is_none_or(|(_, value)| ReferTo::parse(value).is_none()) {
            return Err(CommandError::BadHeader { name: "Refer-To".to_owned() });
        }
        let it = self.usages.get_mut(usage).filter(|it| !it.is_over()).ok_or(CommandError::Gone)?;
        if it.phase != Phase::Established || it.refers.len() >= REFERS {
            return Err(CommandError::WrongState("the call is not up, or is referred already"));
        }
        let Some(dialog) = it.dialogs.first_mut() else { return Err(CommandError::Gone) };
        dialog.local_cseq += 1;
        let (dialog, cseq) = (dialog.clone(), dialog.local_cseq);
        let id = ReferId(self.next_request().0);
        if let Some(it) = self.usages.get_mut(usage) {
            let role = ReferRole::Subscriber(subscriber::State::Sent);
            it.refers.push(Refer { id, cseq, role, expires_at: None, overtaken: 0 });
        }
        let draft = Draft { headers: fields, ..Draft::new(Method::Refer, cseq, None) };
        self.dispatch(now, dialog, draft, User::Refer(usage, id));
        Ok(id)
    }

    /// Answers [`UsageEvent::Refer`] with 200 to 699. A 2xx starts the implicit subscription,
    /// unless the peer declined it; continue with `notify_refer`.
    ///
    /// # Errors
    /// The REFER was answered already.
    pub fn answer_refer(
        &mut self,
        now: Instant,
        usage: UsageId,
        refer: ReferId,
        mut reply: Reply,
    ) -> Result<(), CommandError> {
        if !(200..700).contains(&reply.status) {
            return Err(CommandError::WrongState("a final status is 200 to 699"));
        }
        check_headers(&reply.headers)?;
        let known = self.usages.get(usage).and_then(|it| it.refers.iter().find(|it| it.id == refer));
        let Some(Refer { role: ReferRole::Notifier { state, transaction, silent, .. }, .. }) = known else {
            return Err(CommandError::Gone);
        };
        if *state != notifier::State::Asked {
            return Err(CommandError::WrongState("the REFER is answered"));
        }
        let (transaction, silent) = (*transaction, *silent);
        let event = match reply.status {
            300.. => notifier::Event::Refuse,
            _ if silent => notifier::Event::AcceptSilently,
            _ => notifier::Event::Accept,
        };
        if event == notifier::Event::AcceptSilently {
            reply.headers.push((Bytes::from_static(b"Refer-Sub"), Bytes::from_static(b"false")));
        }
        self.respond(now, transaction, reply)?;
        self.notifier_event(now, usage, refer, event);
        Ok(())
    }

    /// Notifies the peer of the progress of the call that it asked for: the status line of
    /// that call. A status of 200 or above is the last one. Allowed even after the call with
    /// the peer itself has ended.
    ///
    /// # Errors
    /// The peer declined the subscription, or the last status was sent.
    pub fn notify_refer(
        &mut self,
        now: Instant,
        usage: UsageId,
        refer: ReferId,
        status: u16,
        reason: &str,
    ) -> Result<(), CommandError> {
        if !(100..700).contains(&status) {
            return Err(CommandError::WrongState("a status is 100 to 699"));
        }
        let known = self.usages.get_mut(usage).and_then(|it| it.refer(refer));
        match known.map(|refer| &mut refer.role) {
            Some(ReferRole::Notifier { state, status: last, reason: phrased, .. })
                if !matches!(state, notifier::State::Asked | notifier::State::LastWaits) =>
            {
                let reason = if reason.is_empty() { phrase(status) } else { reason };
                *last = status;
                *phrased = String::from_utf8_lossy(&one_line(reason.as_bytes())).into_owned();
            }
            _ => return Err(CommandError::Gone),
        }
        let event = if status < 200 { notifier::Event::Progress } else { notifier::Event::Last };
        self.notifier_event(now, usage, refer, event);
        Ok(())
    }

    /// Handles a REFER in a call.
    pub(in crate::endpoint) fn refer_received(
        &mut self,
        now: Instant,
        path: ReplyPath,
        addressee: Addressee,
        request: Request,
    ) {
        let Some((id, usage)) = addressee.usage.and_then(|id| Some((id, self.usages.get_mut(id)?))) else {
            return;
        };
        if ReferTo::of(&request).is_none() {
            return self.answer_now(now, path, request, addressee, 400, &[]);
        }
        if usage.refers.len() >= REFERS {
            return self.overloaded(now, &path, &request);
        }
        let Ok(cseq) = request.cseq().map(|cseq| cseq.number) else { return };
        let silent = request.header(Name::ReferSub).is_some_and(|it| it.eq_ignore_ascii_case(b"false"));
        let wait = self.config.timers.give_up();
        let refer = ReferId(self.next_request().0);
        let copy = request.clone();
        let Some(transaction) = self.servers.start(now, &mut self.out, copy, path, Some(id)) else { return };
        if let Some(usage) = self.usages.get_mut(id) {
            let state = notifier::State::Asked;
            let (status, reason) = (100, "Trying".to_owned());
            let role = ReferRole::Notifier { state, transaction, silent, status, reason };
            let expires_at = Some(now + wait);
            usage.refers.push(Refer { id: refer, cseq, role, expires_at, overtaken: 0 });
        }
        self.usages.arm(now, id);
        self.usage_event(id, UsageEvent::Refer { refer, request });
    }

    /// Handles a NOTIFY in a call. `false` if it is not about a REFER of ours.
    pub(in crate::endpoint) fn refer_notified(
        &mut self,
        now: Instant,
        path: ReplyPath,
        addressee: Addressee,
        request: &Request,
    ) -> bool {
        let Some((id, usage)) = addressee.usage.and_then(|id| Some((id, self.usages.get_mut(id)?))) else {
            return false;
        };
        let event = request.header(Name::Event).unwrap_or_default();
        let (package, params) = event.split_at(memchr::memchr(b';', event).unwrap_or(event.len()));
        if !chars::trim(package).eq_ignore_ascii_case(b"refer") {
            return false;
        }
        // Without an id it concerns the first REFER (RFC 3515 §2.4.6).
        let cseq =
            params.split(|&byte| byte == b';').find_map(|param| chars::trim(param).strip_prefix(b"id="));
        let cseq = cseq.and_then(chars::number);
        let ours = |it: &&Refer| matches!(it.role, ReferRole::Subscriber(_));
        let mut known = usage.refers.iter().filter(ours);
        let found = known.find(|it| cseq.is_none_or(|cseq| u64::from(it.cseq) == cseq)).map(|it| it.id);
        let Some(refer) = found else {
            self.answer_now(now, path, request.clone(), addressee, 481, &[]);
            return true;
        };
        self.answer_now(now, path, request.clone(), addressee, 200, &[]);
        let state = request.header(Name::SubscriptionState).unwrap_or_default();
        let last = state.get(..10).is_some_and(|it| it.eq_ignore_ascii_case(b"terminated"));
        let event = if last { subscriber::Event::NotifyLast } else { subscriber::Event::Notify };
        if let Some(refer) = self.usages.get_mut(id).and_then(|usage| usage.refer(refer)) {
            refer.expires_at = Some(now + EXPIRES);
        }
        self.subscriber_event(now, id, refer, event, Reported::Progress(sipfrag(&request.body()), last));
        self.usages.arm(now, id);
        true
    }

    /// Handles the outcome of our REFER.
    pub(in crate::endpoint) fn refer_outcome(
        &mut self,
        now: Instant,
        usage: UsageId,
        refer: ReferId,
        outcome: &Outcome<User>,
        response: Option<Response>,
    ) {
        let Some(result) = crate::endpoint::in_dialog::requests::result(outcome, response) else { return };
        let silently = |response: &Response| {
            response.header(Name::ReferSub).is_some_and(|it| it.eq_ignore_ascii_case(b"false"))
        };
        let event = match &result {
            Ok(response) if response.status() >= 300 => subscriber::Event::Failure,
            Ok(response) if silently(response) => subscriber::Event::SuccessSilently,
            Ok(_) => subscriber::Event::Success,
            Err(_) => subscriber::Event::Failure,
        };
        self.subscriber_event(now, usage, refer, event, Reported::Answer(Box::new(result)));
    }

    /// Handles the outcome of our NOTIFY.
    pub(in crate::endpoint) fn notify_outcome(
        &mut self,
        now: Instant,
        usage: UsageId,
        refer: ReferId,
        outcome: &Outcome<User>,
        response: Option<Response>,
    ) {
        let event = match crate::endpoint::in_dialog::requests::result(outcome, response) {
            Some(Ok(response)) if response.status() < 300 => notifier::Event::Told,
            Some(Ok(response)) if self.notify_again(now, usage, refer, &response) => return,
            Some(_) => notifier::Event::Untold,
            None => return,
        };
        self.notifier_event(now, usage, refer, event);
    }

    /// Handles the expiry of a subscription. `false` if none was due.
    pub(in crate::endpoint) fn refer_deadline(&mut self, now: Instant, id: UsageId) -> bool {
        let Some(usage) = self.usages.get_mut(id) else { return false };
        let due = |it: &&mut Refer| it.expires_at.is_some_and(|at| at <= now);
        let Some(refer) = usage.refers.iter_mut().find(due) else { return false };
        refer.expires_at = None;
        let id_of = refer.id;
        match &refer.role {
            // The user has not decided.
            ReferRole::Notifier { state: notifier::State::Asked, transaction, .. } => {
                let transaction = *transaction;
                let _ = self.respond(now, transaction, Reply::status(481));
                self.notifier_event(now, id, id_of, notifier::Event::Refuse);
            }
            ReferRole::Notifier { .. } => self.notifier_event(now, id, id_of, notifier::Event::Last),
            ReferRole::Subscriber(_) => {
                let event = subscriber::Event::Expired;
                self.subscriber_event(now, id, id_of, event, Reported::Progress(None, true));
            }
        }
        true
    }

    /// The call is over: drops our REFERs. The peer is still notified of the outcome of its own.
    /// Those that the user has not answered are refused; after a BYE, which the peer may send
    /// right behind the REFER, only if the user does not answer soon.
    pub(in crate::endpoint) fn refers_after_end(&mut self, now: Instant, id: UsageId, cause: &Termination) {
        let left = matches!(cause, Termination::RemoteBye { .. });
        let until = now + if left { self.config.timers.t2 } else { Duration::ZERO };
        let Some(usage) = self.usages.get_mut(id) else { return };
        usage.refers.retain(|it| matches!(it.role, ReferRole::Notifier { .. }));
        for refer in &mut usage.refers {
            if matches!(refer.role, ReferRole::Notifier { state: notifier::State::Asked, .. }) {
                refer.expires_at = Some(until);
            }
        }
        while !left && self.refer_deadline(now, id) {}
    }

    fn notifier_event(&mut self, now: Instant, id: UsageId, refer: ReferId, event: notifier::Event) {
        let Some(it) = self.usages.get_mut(id).and_then(|usage| usage.refer(refer)) else { return };
        let ReferRole::Notifier { state, .. } = &mut it.role else { return };
        let (next, actions) = notifier::step(*state, event);
        *state = next;
        if event == notifier::Event::Accept {
            it.expires_at = Some(now + EXPIRES);
        }
        for action in actions {
            match action {
                // Sent by `answer_refer`.
                notifier::Action::Answer => {}
                notifier::Action::Notify => self.send_notify(now, id, refer, false),
                notifier::Action::NotifyLast => self.send_notify(now, id, refer, true),
            }
        }
        self.forget_refer(id, refer, next == notifier::State::Over);
        self.usages.arm(now, id);
    }

    /// Resends the current NOTIFY.
    pub(in crate::endpoint) fn repeat_notify(&mut self, now: Instant, id: UsageId, refer: ReferId) {
        let known = self.usages.get_mut(id).and_then(|usage| usage.refer(refer));
        if let Some(Refer { role: ReferRole::Notifier { state, .. }, .. }) = known {
            let last = *state == notifier::State::Closing;
            self.send_notify(now, id, refer, last);
        }
    }

    fn send_notify(&mut self, now: Instant, id: UsageId, refer: ReferId, last: bool) {
        let Some(usage) = self.usages.get_mut(id) else { return };
        let Some(it) = usage.refers.iter().find(|it| it.id == refer) else { return };
        let ReferRole::Notifier { status, reason, .. } = &it.role else { return };
        let left = it.expires_at.map_or(0, |at| at.saturating_duration_since(now).as_secs());
        let state = match (last, *status) {
            (false, _) => format!("active;expires={left}"),
            (true, 200..) => "terminated;reason=noresource".to_owned(),
            (true, _) => "terminated;reason=timeout".to_owned(),
        };
        let headers = vec![
            (Bytes::from_static(b"Event"), format!("refer;id={}", it.cseq).into()),
            (Bytes::from_static(b"Subscription-State"), state.into()),
        ];
        let data = format!("SIP/2.0 {status} {reason}\r\n").into();
        let body = Body { content_type: Bytes::from_static(b"message/sipfrag;version=2.0"), data };
        let Some(dialog) = usage.dialogs.first_mut() else { return };
        dialog.local_cseq += 1;
        let (dialog, cseq) = (dialog.clone(), dialog.local_cseq);
        let draft = Draft { headers, ..Draft::new(Method::Notify, cseq, Some(body)) };
        self.dispatch(now, dialog, draft, User::Notify(id, refer));
    }

    fn subscriber_event(
        &mut self,
        now: Instant,
        id: UsageId,
        refer: ReferId,
        event: subscriber::Event,
        reported: Reported,
    ) {
        let wait = self.config.timers.give_up();
        let Some(it) = self.usages.get_mut(id).and_then(|usage| usage.refer(refer)) else { return };
        let ReferRole::Subscriber(state) = &mut it.role else { return };
        let (next, actions) = subscriber::step(*state, event);
        *state = next;
        if actions.contains(&subscriber::Action::AwaitFirst) {
            it.expires_at = Some(now + wait);
        }
        let told = match reported {
            _ if actions.is_empty() => None,
            Reported::Answer(result) => Some(UsageEvent::ReferAnswered { refer, result: *result }),
            Reported::Progress(status, last) => Some(UsageEvent::ReferProgress { refer, status, last }),
        };
        if let Some(event) = told {
            self.usage_event(id, event);
        }
        self.forget_refer(id, refer, next == subscriber::State::Over);
        self.usages.arm(now, id);
    }

    fn forget_refer(&mut self, id: UsageId, refer: ReferId, over: bool) {
        if over && let Some(usage) = self.usages.get_mut(id) {
            usage.refers.retain(|it| it.id != refer);
            usage.refers.shrink_to_fit();
            usage.forget_dialogs();
            self.usages.settle(id);
        }
    }
}

/// What is reported to the user with a step of the subscriber.
enum Reported {
    Answer(Box<Result<Response, crate::endpoint::RequestFailure>>),
    Progress(Option<(u16, String)>, bool),
}

/// Status and reason phrase of a `message/sipfrag` body (RFC 3420).
fn sipfrag(body: &[u8]) -> Option<(u16, String)> {
    let line = body.split(|&byte| byte == b'\r' || byte == b'\n').next()?;
    let rest = line.strip_prefix(b"SIP/2.0 ")?;
    let (status, reason) = rest.split_at_checked(3)?;
    let status = u16::try_from(chars::number(status)?).ok()?;
    let reason = String::from_utf8_lossy(chars::trim(reason)).into_owned();
    (100..700).contains(&status).then_some((status, reason))
}

impl Usage {
    pub(in crate::endpoint) fn refer(&mut self, id: ReferId) -> Option<&mut Refer> {
        self.refers.iter_mut().find(|it| it.id == id)
    }
}
