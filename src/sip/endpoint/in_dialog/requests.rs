//! Our requests other than INVITE, UPDATE and BYE: in a call (RFC 3261 §12.2.1) and outside
//! any dialog (§8.1).

use std::hash::{DefaultHasher, Hash, Hasher};
use std::time::Instant;

use bytes::Bytes;

use crate::dialog::caller_fsm::State;
use crate::dialog::request::{Draft, DraftContact, MAX_FORWARDS};
use crate::dialog::state::{Dialog, Start};
use crate::dialog::usage::Phase;
use crate::endpoint::command::{
    CommandError, InDialog, InviteError, OutOfDialog, RequestIdentity, check_headers, has_control,
};
use crate::endpoint::sending::send::User;
use crate::endpoint::{Endpoint, Event, Flow, HopRule, RequestFailure, RequestId, UsageEvent, UsageId};
use crate::msg::{HeaderFields, Method, NameAddr, Response, Uri};
use crate::transaction::client::Outcome;

/// Identifiers and target of a call's dialog.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DialogFacts<'a> {
    /// Call-ID, the same for both sides.
    pub call_id: &'a [u8],
    /// Tag in the From of our requests and the To of our responses.
    pub local_tag: &'a str,
    /// The peer's tag; empty until it is known.
    pub remote_tag: &'a [u8],
    /// Contact of the peer, or the target of our INVITE.
    pub remote_target: &'a [u8],
    /// The flow of the last exchange.
    pub flow: Option<Flow>,
}

impl Endpoint {
    /// Sends a request in a call, early dialogs included: INFO, MESSAGE, OPTIONS, NOTIFY …
    /// Its final response is reported as [`UsageEvent::Response`], unless the call ends
    /// first.
    ///
    /// # Errors
    /// There is no dialog, or the method has its own command.
    pub fn request(
        &mut self,
        now: Instant,
        usage: UsageId,
        request: InDialog,
    ) -> Result<RequestId, CommandError> {
        check_headers(&request.headers)?;
        let InDialog { method, headers, body } = request;
        if matches!(
            method,
            Method::Invite | Method::Ack | Method::Cancel | Method::Bye | Method::Prack | Method::Update
        ) {
            return Err(CommandError::WrongState("this method has a command of its own"));
        }
        let it = self.usages.get_mut(usage).filter(|it| !it.is_over()).ok_or(CommandError::Gone)?;
        if it.phase == Phase::Ending {
            return Err(CommandError::WrongState("the call is ending"));
        }
        let dialog = it.dialogs.first_mut().ok_or(CommandError::WrongState("there is no dialog yet"))?;
        dialog.local_cseq += 1;
        let draft = Draft { headers, ..Draft::new(method, dialog.local_cseq, body) };
        let dialog = dialog.clone();
        let id = self.next_request();
        self.dispatch(now, dialog, draft, User::Request(usage, id));
        Ok(id)
    }

    /// Sends a request outside any dialog: REGISTER, OPTIONS, MESSAGE … Its outcome is
    /// reported as [`Event::Response`].
    ///
    /// # Errors
    /// As for `invite`.
    pub fn request_outside(&mut self, now: Instant, request: OutOfDialog) -> Result<RequestId, InviteError> {
        let outbound = request.addressing().check()?;
        let method = request.method;
        if matches!(method, Method::Invite | Method::Ack | Method::Cancel | Method::Bye) {
            return Err(InviteError::BadHeader { name: "the method".to_owned() });
        }
        let params = |params: &Bytes| {
            let whole = [b"<sip:a>", params.as_ref()].concat();
            !has_control(params) && std::str::from_utf8(params).is_ok() && NameAddr::parse(&whole).is_some()
        };
        if !request.contact.iter().all(params) {
            return Err(InviteError::BadHeader { name: "Contact".to_owned() });
        }
        let is_uri = |uri: &Bytes| !has_control(uri) && Uri::parse(uri).is_ok();
        if !request.contact_uri.iter().all(is_uri) {
            return Err(InviteError::BadHeader { name: "Contact".to_owned() });
        }
        if !params(&request.uri_params) {
            return Err(InviteError::BadHeader { name: "Contact".to_owned() });
        }
        let RequestIdentity { call_id, from_tag, cseq } = match request.identity {
            Some(identity) => identity,
            None => self.identify(),
        };
        let to = match &request.to {
            Some(to) => to.to_vec(),
            None => [b"<", request.target.as_ref(), b">"].concat(),
        };
        let mut dialog = Dialog::outgoing(&Start {
            call_id: &call_id,
            from: request.from.as_deref().unwrap_or_default(),
            from_tag,
            to: &to,
            target: &request.target,
            route: &request.route,
            contact_user: request.contact_user.as_deref().unwrap_or_default(),
            cseq,
        });
        dialog.flow = request.flow;
        (dialog.tls, dialog.listener) = (request.tls, request.listener);
        dialog.hops = if request.flow.is_some() { HopRule::Kept } else { HopRule::Follow };
        let (uri, uri_params) = (request.contact_uri, request.uri_params);
        let contact = request.contact.map(|params| Box::new(DraftContact { params, uri, uri_params }));
        let draft = Draft {
            method,
            cseq,
            max_forwards: request.max_forwards.unwrap_or(MAX_FORWARDS),
            headers: request.headers,
            body: request.body,
            contact,
            session: None,
            outbound,
            challenges: Vec::new(),
            patience: request.patience,
        };
        let id = self.next_request();
        self.dispatch(now, dialog, draft, User::Outside(id));
        Ok(id)
    }

    /// A Call-ID, From tag and first CSeq number for a series of requests outside any dialog.
    pub fn identify(&mut self) -> RequestIdentity {
        RequestIdentity {
            call_id: Bytes::copy_from_slice(self.mint.call_id().as_bytes()),
            from_tag: self.mint.tag(),
            cseq: 1,
        }
    }

    /// Reports the end of this connection by [`Event::FlowClosed`], for a registration that
    /// depends on it. UDP flows never end.
    pub fn watch_flow(&mut self, flow: &Flow) {
        if !self.out.watch(flow) {
            self.out.event(Event::FlowClosed { flow: *flow });
        }
    }

    /// Stops reporting the end of this connection.
    pub fn unwatch_flow(&mut self, flow: &Flow) {
        self.out.unwatch(flow);
    }

    /// Whether messages can be sent on the flow: for UDP always, otherwise while the
    /// connection is open.
    pub fn is_open(&self, flow: &Flow) -> bool {
        self.out.is_usable(flow)
    }

    /// Reports 401 and 407 to our BYE as [`UsageEvent::Challenged`], as
    /// [`crate::endpoint::Invite::authorizes`] does for outgoing calls.
    ///
    /// # Errors
    /// There is no such call.
    pub fn authorizes(&mut self, usage: UsageId) -> Result<(), CommandError> {
        let it = self.usages.get_mut(usage).filter(|it| !it.is_over()).ok_or(CommandError::Gone)?;
        it.authorizes = true;
        Ok(())
    }

    /// Like `authorizes`; in addition, 401 and 407 to our other requests in the call are
    /// reported as [`UsageEvent::RequestChallenged`] from now on, except for a PRACK with a body.
    ///
    /// # Errors
    /// There is no such call.
    pub fn authorizes_inside(&mut self, usage: UsageId) -> Result<(), CommandError> {
        self.authorizes(usage)?;
        if let Some(it) = self.usages.get_mut(usage) {
            it.authorizes_inside = true;
        }
        Ok(())
    }

    /// Sets whether requests in the call use the flow of the last exchange while it exists,
    /// whatever Contact says: for a peer behind a NAT.
    ///
    /// # Errors
    /// There is no such call.
    pub fn keep_flow(&mut self, usage: UsageId, keep: bool) -> Result<(), CommandError> {
        let it = self.usages.get_mut(usage).filter(|it| !it.is_over()).ok_or(CommandError::Gone)?;
        let origins = it.ours.iter_mut().filter_map(|ours| ours.origin.as_deref_mut());
        let hops = if keep { HopRule::Kept } else { HopRule::Follow };
        it.dialogs.iter_mut().chain(origins).for_each(|dialog| dialog.hops = hops.clone());
        Ok(())
    }

    /// Makes the next request in the call look for a new flow, because the local address of
    /// the previous one is no longer ours.
    pub fn forget_flow(&mut self, usage: UsageId) {
        let Some(it) = self.usages.get_mut(usage) else { return };
        let origins = it.ours.iter_mut().filter_map(|ours| ours.origin.as_deref_mut());
        it.dialogs.iter_mut().chain(origins).for_each(|dialog| dialog.flow = None);
    }

    /// Whether our initial INVITE has had no response yet.
    pub fn is_silent(&self, usage: UsageId) -> bool {
        let phase = self.usages.get(usage).map(|it| it.phase);
        matches!(phase, Some(Phase::Caller(State::Connecting | State::Calling)))
    }

    /// Since when our INVITE is at its last address, if that is not the first one: `now` if
    /// others are left.
    pub fn turned_at(&self, now: Instant, usage: UsageId) -> Option<Instant> {
        let ours = self.usages.get(usage)?.ours.first()?;
        let has_more = ours.transaction.is_some_and(|id| self.failover.has_more(id));
        if has_more { Some(now) } else { ours.turned_at }
    }

    /// The dialog of a call; the first one if there are several early dialogs.
    pub fn dialog(&self, usage: UsageId) -> Option<DialogFacts<'_>> {
        let it = self.usages.get(usage)?;
        let origin = || it.ours.first().and_then(|ours| ours.origin.as_deref());
        let dialog = it.dialogs.first().or_else(origin)?;
        Some(DialogFacts {
            call_id: dialog.call_id(),
            local_tag: it.local_tag.as_str(),
            remote_tag: dialog.remote_tag(),
            remote_target: dialog.target(),
            flow: dialog.flow,
        })
    }

    /// Our Contact URI for a peer on `flow`; an empty user stands for the endpoint's.
    pub fn contact_uri(&self, flow: &Flow, user: &[u8]) -> String {
        self.identity.uri(flow, user).to_string()
    }

    /// Ids are in order, and half of each follows from our secret: no other endpoint gives it.
    pub(in crate::endpoint) fn next_request(&mut self) -> RequestId {
        self.last_request += 1;
        let mut hasher = DefaultHasher::new();
        ("request", self.budget.secret()).hash(&mut hasher);
        RequestId(self.last_request << 32 | hasher.finish() >> 32)
    }

    pub(in crate::endpoint) fn outside_outcome(
        &mut self,
        request: RequestId,
        outcome: &Outcome<User>,
        response: Option<Response>,
    ) {
        if let Some(result) = result(outcome, response) {
            self.out.event(Event::Response { request, result, flow: outcome.flow });
        }
    }

    pub(in crate::endpoint) fn request_outcome(
        &mut self,
        now: Instant,
        usage: UsageId,
        request: RequestId,
        outcome: &Outcome<User>,
        response: Option<Response>,
    ) {
        let Some(result) = result(outcome, response) else { return };
        // The dialog is gone (§12.2.1.2). A 481 to NOTIFY concerns only its subscription
        // (RFC 5057 §4).
        let gone = result
            .as_ref()
            .is_ok_and(|it| it.status() == 481 && it.cseq().is_ok_and(|cseq| cseq.method != Method::Notify));
        self.usage_event(usage, UsageEvent::Response { request, result });
        if gone && self.usages.get(usage).is_some_and(|it| it.phase == Phase::Established) {
            self.hang_up(now, usage);
        }
    }

    /// Sets the header fields for the BYE or CANCEL that will end the call.
    pub(in crate::endpoint) fn part_with(&mut self, usage: UsageId, headers: HeaderFields) {
        if let Some(it) = self.usages.get_mut(usage)
            && !headers.is_empty()
        {
            it.parting.get_or_insert_default().headers = headers;
        }
    }
}

/// The final result of a client transaction; `None` if there is none yet.
pub(in crate::endpoint) fn result(
    outcome: &Outcome<User>,
    response: Option<Response>,
) -> Option<Result<Response, RequestFailure>> {
    match response {
        Some(response) if response.status() < 200 => None,
        Some(response) => Some(Ok(response)),
        None if outcome.timeout => Some(Err(RequestFailure::NoResponse)),
        None if outcome.transport_failed => Some(Err(RequestFailure::Unreachable)),
        None => None,
    }
}
