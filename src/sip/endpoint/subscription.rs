//! Dialogs created by a received SUBSCRIBE (RFC 6665 §4.4.1), on the notifier's side: their
//! parties and how to reach them. State and lifetime of the subscription are up to the user.

use std::time::Instant;

use slab::Slab;

use super::command::{CommandError, check_headers};
use super::sending::hops::flow_after;
use super::sending::send::User;
use super::{Endpoint, Event, Flow, HopRule, RequestId, ServerTransactionId};
use crate::dialog::nat;
use crate::dialog::reply::Reply;
use crate::dialog::request::Draft;
use crate::dialog::state::{Dialog, answers_secure};
use crate::msg::body::Body;
use crate::msg::{HeaderFields, Method, Name, Request, ResponseWriter, phrase};
use crate::outbox::ReplyPath;
use crate::transaction::slots::give_back;
use crate::transaction::tokens::Tokens;
use b2b_base::ids::{Tag, locate_tag};

/// A dialog created by a received SUBSCRIBE. Ids are never reused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SubscriptionId {
    slot: u32,
    generation: u32,
}

struct Subscription {
    generation: u32,
    dialog: Dialog,
}

/// All subscriptions of an endpoint.
#[derive(Default)]
pub(super) struct Subscriptions {
    slab: Slab<Subscription>,
    by_tag: Tokens,
    removals: usize,
    generation: u32,
}

impl Subscriptions {
    pub fn len(&self) -> usize {
        self.slab.len()
    }

    pub fn capacity(&self) -> usize {
        self.slab.capacity()
    }

    pub fn map_entries(&self) -> usize {
        self.by_tag.entries()
    }

    /// Whether a tag belongs to a subscription.
    pub fn has_tag(&self, tag: &[u8]) -> bool {
        self.of_tag(tag).is_some()
    }

    fn of_tag(&self, tag: &[u8]) -> Option<(u32, &Subscription)> {
        let slot = self.by_tag.get(locate_tag(tag)?.random)?;
        let it = self.slab.get(slot as usize)?;
        (it.dialog.local_tag.as_bytes() == tag).then_some((slot, it))
    }

    /// The subscription whose dialog a request belongs to (RFC 3261 §12.2.2).
    pub fn of_request(&self, request: &Request) -> Option<SubscriptionId> {
        let (slot, it) = self.of_tag(request.to_tag()?)?;
        let known = request.call_id().is_ok_and(|id| id == it.dialog.call_id())
            && request.from_tag().unwrap_or_default() == it.dialog.remote_tag();
        known.then_some(SubscriptionId { slot, generation: it.generation })
    }

    fn insert(&mut self, dialog: Dialog) -> SubscriptionId {
        self.generation = self.generation.wrapping_add(1);
        let generation = self.generation;
        let tag = dialog.local_tag;
        let slot = self.slab.insert(Subscription { generation, dialog }) as u32;
        if let Some(it) = locate_tag(tag.as_bytes()) {
            self.by_tag.insert(it.random, slot);
        }
        SubscriptionId { slot, generation }
    }

    fn get_mut(&mut self, id: SubscriptionId) -> Option<&mut Dialog> {
        let it = self.slab.get_mut(id.slot as usize).filter(|it| it.generation == id.generation)?;
        Some(&mut it.dialog)
    }

    fn remove(&mut self, id: SubscriptionId) {
        if self.get_mut(id).is_some() {
            let gone = self.slab.remove(id.slot as usize);
            if let Some(it) = locate_tag(gone.dialog.local_tag.as_bytes()) {
                self.by_tag.remove(it.random, id.slot);
            }
            if give_back(&mut self.slab, &mut self.removals) {
                self.by_tag.shrink();
            }
        }
    }
}

impl Endpoint {
    /// Accepts a SUBSCRIBE reported as [`Event::Request`] with a 2xx, which creates its
    /// dialog. A NOTIFY must follow at once (RFC 6665 §4.2.1.1): [`Endpoint::notify`].
    /// Requests are sent by the rule `hops`, where [`HopRule::Follow`] stands for
    /// [`HopRule::Kept`]: a subscriber is notified by the flow that it subscribed on.
    ///
    /// # Errors
    /// The request was answered already or is not a SUBSCRIBE; or it creates no dialog,
    /// because its Contact or Record-Route is missing or invalid: answer it with 400.
    pub fn accept_subscription(
        &mut self,
        now: Instant,
        transaction: ServerTransactionId,
        hops: HopRule,
        reply: Reply,
    ) -> Result<SubscriptionId, CommandError> {
        let request = self.servers.request(transaction).ok_or(CommandError::Gone)?;
        if *request.method() != Method::Subscribe || !(200..300).contains(&reply.status) {
            return Err(CommandError::WrongState("only a SUBSCRIBE is taken, with a 2xx"));
        }
        check_headers(&reply.headers)?;
        let flow = self.servers.path(transaction).ok_or(CommandError::Gone)?.flow;
        let tag = self.mint.tag();
        let cseq = (self.mint.random() & 0xffff) as u32;
        let mut dialog = Dialog::from_request(request, tag, cseq)
            .map_err(|_| CommandError::WrongState("this SUBSCRIBE makes no dialog"))?;
        dialog.flow = Some(flow);
        if let HopRule::Flow(_) = hops {
            dialog.forget_routes();
            dialog.flow = nat::reached(request, flow).or(dialog.flow);
        }
        dialog.hops = if let HopRule::Follow = hops { HopRule::Kept } else { hops };
        let id = self.subscriptions.insert(dialog);
        let told = self.tell_subscriber(now, transaction, tag, &flow, &reply);
        if told.is_err() {
            self.subscriptions.remove(id);
        }
        told.map(|()| id)
    }

    /// Answers a request reported as [`Event::Resubscribe`]. If the subscription is gone by
    /// now, it can only be refused.
    ///
    /// # Errors
    /// The request was answered already, or the subscription is gone and `reply` is a 2xx.
    pub fn answer_subscriber(
        &mut self,
        now: Instant,
        subscription: SubscriptionId,
        transaction: ServerTransactionId,
        reply: Reply,
    ) -> Result<(), CommandError> {
        check_headers(&reply.headers)?;
        let request = self.servers.request(transaction).ok_or(CommandError::Gone)?;
        let flow = self.servers.path(transaction).ok_or(CommandError::Gone)?.flow;
        let Some(dialog) = self.subscriptions.get_mut(subscription) else {
            return if reply.status < 300 {
                Err(CommandError::Gone)
            } else {
                self.respond(now, transaction, reply)
            };
        };
        if reply.status < 300 {
            // A target refresh request (RFC 6665 §4.4.1).
            dialog.refresh_target(request);
        }
        let tag = dialog.local_tag;
        self.tell_subscriber(now, transaction, tag, &flow, &reply)
    }

    fn tell_subscriber(
        &mut self,
        now: Instant,
        transaction: ServerTransactionId,
        tag: Tag,
        flow: &Flow,
        reply: &Reply,
    ) -> Result<(), CommandError> {
        let request = self.servers.request(transaction).ok_or(CommandError::Gone)?;
        let words = if reply.reason.is_empty() { phrase(reply.status) } else { &reply.reason };
        let mut writer = ResponseWriter::reply_to(request, reply.status, words, Some(tag.as_str()));
        if reply.status < 300 {
            let uri = self.identity.uri(flow, b"").secure(answers_secure(request));
            writer = writer.record_routes(request).header_fmt(Name::Contact, format_args!("<{uri}>"));
        }
        for (name, value) in &reply.headers {
            writer = writer.header(Name::parse(name), value);
        }
        let response = self
            .served(writer)
            .finish()
            .map_err(|error| CommandError::BadHeader { name: error.to_string() })?;
        self.servers.respond(now, &mut self.out, transaction, reply.status, response);
        Ok(())
    }

    /// Sends a NOTIFY in a subscription. Its outcome is reported as [`Event::Response`]; wait
    /// for it before the next NOTIFY (RFC 6665 §4.2.2).
    ///
    /// # Errors
    /// The subscription is gone, or a header field is invalid.
    pub fn notify(
        &mut self,
        now: Instant,
        subscription: SubscriptionId,
        headers: HeaderFields,
        body: Option<Body>,
    ) -> Result<RequestId, CommandError> {
        check_headers(&headers)?;
        let dialog = self.subscriptions.get_mut(subscription).ok_or(CommandError::Gone)?;
        dialog.local_cseq += 1;
        let draft = Draft { headers, ..Draft::new(Method::Notify, dialog.local_cseq, body) };
        let dialog = dialog.clone();
        let id = self.next_request();
        self.dispatch(now, dialog, draft, User::Outside(id));
        Ok(id)
    }

    /// Removes a subscription: requests in it get 481.
    pub fn forget_subscription(&mut self, subscription: SubscriptionId) {
        self.subscriptions.remove(subscription);
    }

    /// Handles a request in a subscription that matches no transaction.
    pub(super) fn in_subscription(
        &mut self,
        now: Instant,
        path: ReplyPath,
        flow: Flow,
        id: SubscriptionId,
        request: Request,
    ) {
        let Some(dialog) = self.subscriptions.get_mut(id) else { return };
        let Ok(cseq) = request.cseq() else { return };
        // RFC 3261 §12.2.2: out of order.
        if dialog.remote_cseq.is_some_and(|last| cseq.number <= last) {
            return self.refuse(now, &path, &request, 500);
        }
        dialog.remote_cseq = Some(cseq.number);
        if *request.method() != Method::Subscribe {
            let headers = [(Name::Allow, &b"SUBSCRIBE"[..])];
            return self.refuse_with(now, &path, &request, 405, phrase(405), &headers);
        }
        let usable = dialog.flow.is_some_and(|known| self.out.is_usable(&known));
        dialog.flow = Some(flow_after(now, dialog, &request, flow, usable));
        if self.refuses_extension(now, &path, &request) {
            return;
        }
        let copy = request.clone();
        if let Some(transaction) = self.servers.start(now, &mut self.out, copy, path, None) {
            self.out.event(Event::Resubscribe { subscription: id, transaction, request });
        }
    }
}
