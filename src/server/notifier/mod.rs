//! BLF and MWI, busy lamp field and message waiting indication: the server as notifier (RFC 6665) of the
//! packages `dialog` (RFC 4235) and `message-summary` (RFC 3842).
//!
//! - `subscribe_request`: what a SUBSCRIBE requests
//! - `resource`: what it names
//! - `subscription_fsm`: a subscription as a table
//! - `state`: the state of everything that can be watched; `follow`: its updates from the event bus
//! - `document`: the bodies of NOTIFY
//!
//! This file: the subscriptions, on the calls' thread.

pub mod document;
pub mod follow;
pub mod resource;
pub mod state;
pub mod subscribe_request;
mod subscription_fsm;
#[cfg(test)]
mod tests;

use std::collections::{BTreeSet, HashMap};
use std::time::{Duration, Instant};

use bytes::Bytes;
use strum::IntoStaticStr;

use super::in_force::Settings;
use b2b_call::switch::Turn;
use b2b_sip::endpoint::{
    Body, HopRule, Reply, RequestFailure, RequestId, ServerTransactionId, SubscriptionId,
};
use b2b_sip::msg::{Request, Response};
use b2b_sip::transaction::timer_queue::{Queued, TimerQueue};
use document::{DialogLine, DialogState};
use resource::{Resource, Watcher};
use state::NotifierState;
use subscribe_request::{Package, SubscribeRequest};
use subscription_fsm::{Action, Event, State, step};

/// Minimum interval between NOTIFYs of one subscription, except those in response to a SUBSCRIBE.
const PACE: Duration = Duration::from_millis(100);

/// Why a subscription ends (RFC 6665 §4.1.3).
#[derive(Debug, Clone, Copy, PartialEq, Eq, IntoStaticStr)]
#[strum(serialize_all = "lowercase", const_into_str)]
enum Reason {
    /// The subscriber unsubscribed, or the subscription expired.
    Timeout,
    /// The server stops: the subscriber may resubscribe at once.
    Deactivated,
    /// The watched resource no longer exists.
    NoResource,
}

struct Subscription {
    state: State,
    package: Package,
    /// Event of its NOTIFYs.
    event: Bytes,
    resource: Resource,
    entity: String,
    /// The subscriber that it counts for.
    subscriber: String,
    expires_at: Instant,
    reason: Reason,
    /// When the latest NOTIFY was sent.
    told_at: Option<Instant>,
    /// Version of the next document.
    version: u32,
    /// Dialogs of the latest document that were not terminated.
    shown: Vec<(String, Option<bool>)>,
    queued: Queued,
}

impl Subscription {
    fn deadline(&self) -> Option<Instant> {
        match self.state {
            State::Waiting => Some(self.next_at().map_or(self.expires_at, |at| at.min(self.expires_at))),
            State::Idle | State::Notifying | State::Stale => Some(self.expires_at),
            State::LastWaits | State::Closing | State::Over => None,
        }
    }

    fn is_ending(&self) -> bool {
        matches!(self.state, State::LastWaits | State::Closing | State::Over)
    }

    fn next_at(&self) -> Option<Instant> {
        self.told_at.map(|at| at + PACE)
    }
}

/// The subscriptions of a server.
pub struct Notifier {
    state: NotifierState,
    subscriptions: HashMap<SubscriptionId, Subscription>,
    watching: HashMap<Resource, BTreeSet<SubscriptionId>>,
    of_subscriber: HashMap<String, usize>,
    notifies: HashMap<RequestId, SubscriptionId>,
    timers: TimerQueue<SubscriptionId>,
    /// No new subscriptions are accepted, and existing ones are being terminated.
    draining: bool,
    parts: bool,
}

/// The subscriber, and the settings in force.
#[derive(Clone, Copy)]
pub struct Asking<'a> {
    pub settings: &'a Settings,
    pub watcher: Watcher<'a>,
}

impl Notifier {
    /// Starts without subscriptions; they report this state.
    pub fn new(state: NotifierState) -> Self {
        Notifier {
            state,
            subscriptions: HashMap::new(),
            watching: HashMap::new(),
            of_subscriber: HashMap::new(),
            notifies: HashMap::new(),
            timers: TimerQueue::default(),
            draining: false,
            parts: false,
        }
    }

    /// A SUBSCRIBE of a known party outside any dialog; NOTIFYs follow the hop rule.
    ///
    /// # Errors
    /// The response that refuses it.
    pub fn subscribe(
        &mut self,
        t: &mut Turn<'_>,
        transaction: ServerTransactionId,
        request: &Request,
        asking: Asking<'_>,
        hops: HopRule,
    ) -> Result<(), Reply> {
        let begun = self.begin(t, transaction, request, asking, hops);
        self.state.count(|of| match &begun {
            Ok(()) => &mut of.begun,
            Err(reply) if matches!(reply.status, 480 | 503) => &mut of.over_limit,
            Err(_) => &mut of.refused,
        });
        begun
    }

    fn begin(
        &mut self,
        t: &mut Turn<'_>,
        transaction: ServerTransactionId,
        request: &Request,
        asking: Asking<'_>,
        hops: HopRule,
    ) -> Result<(), Reply> {
        let SubscribeRequest { package, event, expires } = subscribe_request::read(request)?;
        let found = resource::find(asking.settings, &self.state, request, package, asking.watcher);
        let (resource, entity) = found.map_err(Reply::status)?;
        let subscriber = match asking.watcher.user {
            Some(user) => user.to_owned(),
            None => asking.watcher.address.to_string(),
        };
        let limits = &asking.settings.config.limits;
        if self.draining || self.subscriptions.len() >= limits.subscriptions {
            let headers = vec![("Retry-After".into(), "30".into())];
            return Err(Reply { headers, ..Reply::status(503) });
        }
        if self.of_subscriber.get(&subscriber).is_some_and(|held| *held >= limits.user_subscriptions) {
            return Err(Reply { reason: "Too Many Subscriptions".to_owned(), ..Reply::status(480) });
        }
        let accepted = t.sip.accept_subscription(t.now, transaction, hops, granted(expires));
        let id = accepted.map_err(|error| Reply { reason: error.to_string(), ..Reply::status(400) })?;
        self.state.watch(&resource);
        self.watching.entry(resource.clone()).or_default().insert(id);
        *self.of_subscriber.entry(subscriber.clone()).or_default() += 1;
        let subscription = Subscription {
            state: State::Idle,
            package,
            event,
            resource,
            entity,
            subscriber,
            expires_at: t.now + expires,
            reason: Reason::Timeout,
            told_at: None,
            version: 0,
            shown: Vec::new(),
            queued: Queued::default(),
        };
        self.subscriptions.insert(id, subscription);
        // With a zero expiry it is a fetch, with a single NOTIFY (RFC 6665 §4.4.3).
        self.granted(t, id, expires);
        Ok(())
    }

    /// A SUBSCRIBE within a subscription: refresh or unsubscribe.
    pub fn resubscribe(
        &mut self,
        t: &mut Turn<'_>,
        id: SubscriptionId,
        transaction: ServerTransactionId,
        request: &Request,
    ) {
        let Some(it) = self.subscriptions.get_mut(&id) else {
            return drop(t.sip.answer_subscriber(t.now, id, transaction, Reply::status(481)));
        };
        let asked = match subscribe_request::read(request) {
            Ok(asked) if asked.event == it.event => asked,
            // A second event in the dialog of the first one (RFC 6665 §4.5.2).
            Ok(_) => {
                return drop(t.sip.answer_subscriber(t.now, id, transaction, subscribe_request::bad_event()));
            }
            Err(reply) => return drop(t.sip.answer_subscriber(t.now, id, transaction, reply)),
        };
        if it.is_ending() {
            return drop(t.sip.answer_subscriber(t.now, id, transaction, Reply::status(481)));
        }
        it.expires_at = t.now + asked.expires;
        let answered = t.sip.answer_subscriber(t.now, id, transaction, granted(asked.expires));
        if let Err(error) = answered {
            tracing::debug!("a subscription's refresh: {error}");
        }
        if !asked.expires.is_zero() {
            self.state.count(|of| &mut of.refreshed);
        }
        self.granted(t, id, asked.expires);
    }

    fn granted(&mut self, t: &mut Turn<'_>, id: SubscriptionId, expires: Duration) {
        if expires.is_zero() {
            self.state.count(|of| &mut of.ended);
            return self.step(t, id, Event::End);
        }
        self.step(t, id, Event::Subscribed);
    }

    /// Takes the result of a request of ours. `false`: it was no NOTIFY of a subscription.
    pub fn answered(
        &mut self,
        t: &mut Turn<'_>,
        request: RequestId,
        result: &Result<Response, RequestFailure>,
    ) -> bool {
        let Some(id) = self.notifies.remove(&request) else { return false };
        let told = result.as_ref().is_ok_and(|response| response.status() < 300);
        if !told && let Some(it) = self.subscriptions.get(&id) {
            let why = match result {
                Ok(response) => response.status().to_string(),
                Err(failure) => failure.to_string(),
            };
            tracing::debug!("{} watches {} no more: {why}", it.subscriber, it.entity);
            self.state.count(|of| &mut of.untold);
        }
        self.step(t, id, if told { Event::Told } else { Event::Untold });
        true
    }

    /// Sends notifications of changes, and handles what is due.
    pub fn work(&mut self, t: &mut Turn<'_>) {
        if std::mem::take(&mut self.parts) {
            self.end_all(t, Reason::Deactivated, |_| true);
        }
        for resource in self.state.take_changed() {
            if let Resource::Mailbox(name) = &resource
                && self.state.messages(name).is_none()
            {
                self.end_all(t, Reason::NoResource, |it| it.resource == resource);
                continue;
            }
            for id in self.watching.get(&resource).cloned().unwrap_or_default() {
                self.step(t, id, Event::Changed);
            }
        }
        while let Some((at, id)) = self.timers.pop_due(t.now) {
            let Some(it) = self.subscriptions.get_mut(&id) else { continue };
            if !it.queued.matches(at) {
                continue;
            }
            if it.expires_at <= t.now {
                self.state.count(|of| &mut of.expired);
                self.step(t, id, Event::End);
            } else {
                self.step_on(t, id);
                self.arm(id);
            }
        }
    }

    /// Applies a changed configuration: subscriptions to removed resources are terminated.
    pub fn follow(&mut self, t: &mut Turn<'_>, settings: &Settings) {
        self.end_all(t, Reason::NoResource, |it| !it.resource.is_in(settings));
    }

    /// Accepts no more subscriptions; existing ones are terminated by the next `work`.
    pub fn drain(&mut self) {
        (self.draining, self.parts) = (true, true);
    }

    /// When to call [`Notifier::work`]; `now` if at once.
    pub fn next_timeout(&self, now: Instant) -> Option<Instant> {
        if self.parts { Some(now) } else { self.timers.next() }
    }

    /// Whether there are no subscriptions.
    pub fn is_empty(&self) -> bool {
        self.subscriptions.is_empty()
    }

    fn end_all(&mut self, t: &mut Turn<'_>, reason: Reason, of: impl Fn(&Subscription) -> bool) {
        let ends = |it: &Subscription| !it.is_ending() && of(it);
        let ending = self.subscriptions.iter().filter(|(_, it)| ends(it)).map(|(id, _)| *id);
        for id in ending.collect::<Vec<_>>() {
            if let Some(it) = self.subscriptions.get_mut(&id) {
                it.reason = reason;
                self.state.count(|of| match reason {
                    Reason::Timeout => &mut of.expired,
                    Reason::Deactivated => &mut of.stopped,
                    Reason::NoResource => &mut of.no_resource,
                });
            }
            self.step(t, id, Event::End);
        }
    }

    fn step(&mut self, t: &mut Turn<'_>, id: SubscriptionId, event: Event) {
        let Some(it) = self.subscriptions.get_mut(&id) else { return };
        let (next, action) = step(it.state, event);
        it.state = next;
        if let Some(action) = action
            && !self.notify(t, id, action)
        {
            // A NOTIFY that cannot be sent counts as refused by the subscriber.
            self.state.count(|of| &mut of.untold);
            return self.step(t, id, Event::Untold);
        }
        self.step_on(t, id);
        let over = self.subscriptions.get(&id).is_some_and(|it| it.state == State::Over);
        if over { self.forget(t, id) } else { self.arm(id) }
    }

    /// Sends a NOTIFY that waits for its interval, once that is over.
    fn step_on(&mut self, t: &mut Turn<'_>, id: SubscriptionId) {
        let due = self
            .subscriptions
            .get(&id)
            .is_some_and(|it| it.state == State::Waiting && it.next_at().is_none_or(|at| at <= t.now));
        if due {
            self.step(t, id, Event::Due);
        }
    }

    fn arm(&mut self, id: SubscriptionId) {
        if let Some(it) = self.subscriptions.get_mut(&id) {
            let deadline = it.deadline();
            self.timers.arm(&mut it.queued, deadline, id);
        }
    }

    fn notify(&mut self, t: &mut Turn<'_>, id: SubscriptionId, action: Action) -> bool {
        let Some(it) = self.subscriptions.get_mut(&id) else { return false };
        let state = match action {
            Action::Notify => {
                let left = it.expires_at.saturating_duration_since(t.now);
                format!("active;expires={}", left.as_millis().div_ceil(1_000))
            }
            Action::NotifyLast => format!("terminated;reason={}", it.reason.into_str()),
        };
        let headers = vec![
            (Bytes::from_static(b"Event"), it.event.clone()),
            (Bytes::from_static(b"Subscription-State"), state.into()),
        ];
        let data = match it.package {
            Package::Dialog => {
                let lines = it.dialogs(self.state.dialogs(&it.resource));
                document::dialog_info(it.version, &it.entity, &lines)
            }
            Package::MessageSummary => {
                let counts = match &it.resource {
                    Resource::Mailbox(name) => self.state.messages(name),
                    _ => None,
                };
                document::message_summary(&it.entity, counts.unwrap_or_default())
            }
        };
        it.version = it.version.wrapping_add(1);
        it.told_at = Some(t.now);
        let content_type = Bytes::from_static(it.package.content_type().as_bytes());
        let body = Body { content_type, data: data.into() };
        match t.sip.notify(t.now, id, headers, Some(body)) {
            Ok(request) => {
                self.notifies.insert(request, id);
                self.state.count(|of| &mut of.notifies);
                true
            }
            Err(error) => {
                tracing::debug!("no NOTIFY for {}: {error}", it.entity);
                false
            }
        }
    }

    fn forget(&mut self, t: &mut Turn<'_>, id: SubscriptionId) {
        let Some(mut it) = self.subscriptions.remove(&id) else { return };
        self.timers.disarm(&mut it.queued, id);
        self.state.unwatch(&it.resource);
        if let Some(watching) = self.watching.get_mut(&it.resource) {
            watching.remove(&id);
            if watching.is_empty() {
                self.watching.remove(&it.resource);
            }
        }
        if let Some(held) = self.of_subscriber.get_mut(&it.subscriber) {
            *held -= 1;
            if *held == 0 {
                self.of_subscriber.remove(&it.subscriber);
            }
        }
        t.sip.forget_subscription(id);
    }
}

impl Subscription {
    /// The dialogs of the next document: the present ones, and those terminated since the latest one.
    fn dialogs(&mut self, now: Vec<DialogLine>) -> Vec<DialogLine> {
        let is_there = |id: &str| now.iter().any(|line| line.id == id);
        let ended = self.shown.iter().filter(|(id, _)| !is_there(id));
        let ended = ended.map(|(id, initiator)| DialogLine {
            id: id.clone(),
            initiator: *initiator,
            state: DialogState::Terminated,
        });
        let ended: Vec<_> = ended.collect();
        self.shown = now.iter().map(|line| (line.id.clone(), line.initiator)).collect();
        now.into_iter().chain(ended).collect()
    }
}

fn granted(expires: Duration) -> Reply {
    let headers = vec![("Expires".into(), expires.as_secs().to_string().into())];
    Reply { headers, ..Reply::status(200) }
}
