//! The target of a transfer: a party names it, and the handlers decide whether and how it is reached.

use std::sync::Arc;

use super::redirect::party_name;
use super::table::Purpose;
use super::tasks::Panicked;
use super::transfer::{ReferTarget, Referrer, TransferLegs};
use super::waiting::{Found, OnFound};
use super::{CallStep, Turn};
use crate::LegId;
use crate::event::Event;
use crate::failure::DialFailure;
use crate::handler::{HandlerAction, Party, Referral};
use crate::identity::ANONYMOUS_USER;
use crate::lookup::ResolvedContact;
use crate::service::command::Reply;
use crate::service::{CallError, DialError, DialOptions, DialRequest};
use b2b_sip::msg::{Uri, number};

/// The requester of the decision on a target.
#[derive(serde::Serialize, serde::Deserialize)]
pub(super) enum AskedBy {
    /// A transfer by REFER.
    Transfer { replaces: Option<String> },
    /// An application, about a number.
    Application(Reply<Result<HandlerAction, CallError>>),
}

impl CallStep<'_> {
    /// `leaves` transfers `stays` to a target by REFER.
    pub(super) fn referred_to(
        &mut self,
        t: &mut Turn<'_>,
        TransferLegs { leaves, stays }: TransferLegs,
        referrer: Referrer,
        target: ReferTarget,
    ) {
        let call = self.id;
        let ReferTarget { target, replaces, hosts } = target;
        let purpose = Purpose::Transfer { leaves, stays, referrer };
        if self.begin_dial(t.now, DialOptions::default(), purpose) {
            let by = Party::clone(&self.call.party(leaves));
            let referral = Referral { call, leg: leaves, by, target, hosts, named_by: None, at: t.now };
            self.ask_where(t, referral, AskedBy::Transfer { replaces }, 0);
        }
    }

    fn ask_where(&mut self, t: &mut Turn<'_>, referral: Referral, asked_by: AskedBy, next: usize) {
        let Some(handler) = self.next_handler(next) else {
            let why = "no policy allows it".to_owned();
            let action = match referral.named_by {
                None => HandlerAction::TransferTo(referral.target.clone()),
                Some(_) => HandlerAction::NotFollowed { why, line: None },
            };
            return self.led_by_handler(t, referral, asked_by, next, Ok(action));
        };
        let future = handler.handle_referral(referral.clone());
        let then = OnFound::Referral { referral: Box::new(referral), asked_by, next };
        self.common.run(future, Found::Action, then);
    }

    /// A handler has decided on a target.
    pub(super) fn led_by_handler(
        &mut self,
        t: &mut Turn<'_>,
        referral: Referral,
        asked_by: AskedBy,
        next: usize,
        action: Result<HandlerAction, Panicked>,
    ) {
        let action = match action {
            // The route of the call itself remains the one that it came by.
            Ok(HandlerAction::Routed { why, action, .. }) => {
                self.common.history.decided(referral.call, t.now, Some(referral.leg), "route", &why);
                Ok(*action)
            }
            action => action,
        };
        match (asked_by, action) {
            (asked_by, Ok(HandlerAction::Continue)) => self.ask_where(t, referral, asked_by, next + 1),
            (AskedBy::Transfer { replaces }, action) => self.led_by_refer(t, &referral, replaces, action),
            (AskedBy::Application(reply), Ok(action)) => {
                if let HandlerAction::NotFollowed { why, line } = &action {
                    self.referral_refused(t, &referral, why.clone(), line.clone());
                }
                drop(reply.send(Ok(action)));
            }
            (AskedBy::Application(reply), Err(Panicked)) => {
                let refused = HandlerAction::Reject { status: 500, reason: String::new() };
                let _ = reply.send(Ok(refused));
            }
        }
    }

    fn led_by_refer(
        &mut self,
        t: &mut Turn<'_>,
        referral: &Referral,
        replaces: Option<String>,
        action: Result<HandlerAction, Panicked>,
    ) {
        let refused = match action {
            Ok(HandlerAction::Dial(request)) => {
                return self.dial_referred(t, *request, replaces);
            }
            Ok(HandlerAction::TransferTo(target)) => {
                return self.dial_referred(t, DialRequest::to(target), replaces);
            }
            Ok(HandlerAction::Handle(name)) => {
                return self.refer_to_application(t, referral, &name);
            }
            Ok(HandlerAction::Reject { status, reason }) => DialFailure::new(status, &reason),
            Ok(HandlerAction::NotFollowed { why, line }) => {
                self.referral_refused(t, referral, why, line);
                DialFailure::new(403, "")
            }
            Ok(
                HandlerAction::Continue
                | HandlerAction::Complete
                | HandlerAction::Bridge(_)
                | HandlerAction::Disconnect
                | HandlerAction::Routed { .. },
            ) => DialFailure::new(603, ""),
            Err(Panicked) => DialFailure::new(500, ""),
        };
        self.dial_over(t, DialError::Failed(refused));
    }

    fn referral_refused(&mut self, t: &Turn<'_>, referral: &Referral, why: String, line: Option<String>) {
        let Referral { call, leg, .. } = *referral;
        let (party, way) = match &referral.named_by {
            Some(name) => (name.to_string(), "transfer"),
            None => (party_name(&referral.by), "refer"),
        };
        let (way, to) = (way.to_owned(), referral.target.clone());
        self.not_followed(t, Event::NotFollowed { call, leg, party, way, to, why, line });
    }

    /// Decides on an application's target for a leg. A number is treated as the party's own request: the
    /// handlers are asked. So they are about every target but applications that an agent or a program has named.
    pub(super) fn where_to(
        &mut self,
        t: &mut Turn<'_>,
        leg: LegId,
        target: String,
        named_by: Option<Arc<str>>,
        reply: Reply<Result<HandlerAction, CallError>>,
    ) {
        let Some(it) = self.call.leg(leg).filter(|it| !it.life.is_ending()) else {
            return drop(reply.send(Err(CallError::Gone)));
        };
        let call = it.call;
        let number = number::is_pressed(&target);
        if !number && self.handler_named(&target).is_some() {
            return drop(reply.send(Ok(HandlerAction::Handle(target))));
        }
        if !number && named_by.is_none() {
            return drop(reply.send(Ok(HandlerAction::TransferTo(target))));
        }
        let by = Party::clone(&self.call.party(leg));
        let referral = Referral { call, leg, by, target, hosts: Vec::new(), named_by, at: t.now };
        self.ask_where(t, referral, AskedBy::Application(reply), 0);
    }

    fn dial_referred(&mut self, t: &mut Turn<'_>, request: DialRequest, replaces: Option<String>) {
        let dialling = self.call.dialling.as_ref();
        let stays = dialling.and_then(|it| it.purpose.caller());
        let shown = stays.and_then(|stays| self.shown(stays));
        let dialling = self.call.dialling.as_mut();
        let Some(dialling) = dialling.filter(|it| it.dial.is_none()) else {
            return self.common.counters.late();
        };
        dialling.options = request.options;
        // The new party is shown whom it will talk to.
        dialling.options.caller = shown.or_else(|| dialling.options.caller.take());
        dialling.options.headers.extend(replaces.map(|replaces| ("Replaces".to_owned(), replaces)));
        self.dial_to(t, request.to);
    }

    /// Name and number of the party of a leg, as others may see them.
    pub(super) fn shown(&self, leg: LegId) -> Option<(String, String)> {
        if self.is_unknown(leg) {
            return Some(("\"Anonymous\" ".to_owned(), ANONYMOUS_USER.to_owned()));
        }
        self.caller_of(leg)
    }

    /// Whether the party of a leg has called anonymously.
    pub(super) fn is_unknown(&self, leg: LegId) -> bool {
        self.call.leg(leg).and_then(|it| it.identity.who.as_deref()).is_some_and(|who| who.private)
    }

    /// Name and number of the party of a leg, regardless of privacy.
    pub(super) fn caller_of(&self, leg: LegId) -> Option<(String, String)> {
        let it = self.call.leg(leg)?;
        match &it.identity.shown {
            Some(shown) => Some((**shown).clone()),
            None => Some((String::new(), self.call.party(leg).number.clone()))
                .filter(|(_, number)| !number.is_empty()),
        }
    }
}

/// The party at this contact.
pub(super) fn party_at(contact: &ResolvedContact) -> Party {
    let uri = Uri::parse(contact.uri.as_bytes()).ok();
    let number = || uri.as_ref().and_then(|uri| uri.number(&())).unwrap_or_default();
    let literal = uri.as_ref().and_then(|uri| Some((uri.host?.ip()?, uri.port.unwrap_or(5060)).into()));
    Party {
        user: contact.user.as_ref().map(ToString::to_string),
        gateway: contact.gateway.as_ref().map(|gateway| gateway.name.clone()),
        number: contact.user.as_ref().map_or_else(number, ToString::to_string),
        address: contact.source.or(contact.flow.map(|flow| flow.remote)).or(literal),
        flow: contact.flow,
    }
}
