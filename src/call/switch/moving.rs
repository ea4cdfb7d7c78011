//! Gives a party of a call to an application, by a transfer whose target is one.

use std::borrow::Cow;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;

use bytes::Bytes;

use super::handing::Handing;
use super::invite::escaped_user;
use super::table::Purpose;
use super::{CallStep, Turn};
use crate::LegId;
use crate::event::Event;
use crate::failure::DialFailure;
use crate::handler::{IncomingCall, Party, Referral};
use crate::identity::{CallerIdentity, Reads};
use crate::service::{DialError, TRANSFERRED_BY};
use b2b_sip::msg::{Limits, Message, Request};

impl CallStep<'_> {
    /// Gives the remaining party to the application of this name; for the referrer this completes the
    /// transfer.
    pub(super) fn refer_to_application(&mut self, t: &mut Turn<'_>, referral: &Referral, name: &str) {
        let call = referral.call;
        let dialling = self.call.dialling.as_ref();
        let Some(Purpose::Transfer { leaves, stays, referrer }) = dialling.map(|it| &it.purpose) else {
            return self.common.counters.late();
        };
        let (leaves, stays, referrer) = (*leaves, *stays, *referrer);
        let up = self.call.leg(stays).is_some_and(|it| it.is_up());
        if !up || self.handler_named(name).is_none() {
            return self.dial_over(t, DialError::Failed(DialFailure::new(404, "")));
        }
        let Some(moved) = self.moved(stays, &referral.target, t) else {
            return self.dial_over(t, DialError::Failed(DialFailure::new(484, "")));
        };
        drop(self.end_dialling());
        // The application may want to return the party.
        let by = self.call.party(leaves);
        let by = match (&by.user, by.address) {
            (Some(user), _) => format!("user/{user}"),
            (None, Some(address)) => format!("sip:{}@{address}", escaped_user(&by.number)),
            (None, None) => by.number.clone(),
        };
        let _ = self.call.set_variable(TRANSFERRED_BY.to_owned(), by);
        self.part(t);
        t.tell_referrer(referrer, 200, "");
        self.tell(t, Event::TransferEnded { call, leg: leaves, status: 200 });
        self.leave(t, leaves, referrer.is_some());
        self.talk_to_us(t, stays);
        self.hand_to(t, Handing::new(moved), name);
    }

    /// A call from a connected party, as if it had just called this target.
    pub(super) fn moved(&self, leg: LegId, target: &str, t: &Turn<'_>) -> Option<IncomingCall> {
        let (call, party) = (self.call.leg(leg)?.call, self.call.party(leg));
        let (name, number) = self.shown(leg).unwrap_or_default();
        let request = as_invite(target, &name, &number)?;
        let source = party.address.unwrap_or_else(|| SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0)));
        let who = self.who_moves(leg, &party, source, &request);
        let number =
            request.uri().ok()?.dialled(self.common.parts.admission.ours()).unwrap_or_default().into();
        let (at, identity) = (t.now, party.user.clone());
        let outbound = self.call.leg(leg).is_some_and(|it| !it.inbound);
        // A called party is identified by its address only.
        let gateway = party.gateway.clone().filter(|_| !outbound);
        Some(IncomingCall {
            call,
            leg,
            request,
            source,
            at,
            identity,
            gateway,
            who,
            number,
            answered: true,
            outbound,
            early: false,
            resumed: false,
        })
    }

    /// The caller identity of such a party: the one it called with, if it did, with its present number.
    fn who_moves(
        &self,
        leg: LegId,
        party: &Party,
        source: SocketAddr,
        as_now: &Request,
    ) -> Arc<CallerIdentity> {
        let before = self.call.leg(leg).and_then(|it| it.identity.who.clone());
        match before {
            Some(who) if who.private || party.user.is_some() => who,
            before => {
                let reads = self.common.parts.admission.reads(
                    party.user.as_deref(),
                    party.gateway.as_deref(),
                    source,
                );
                let reads = Reads { believed: reads.believed.of_ours(), ..reads };
                let CallerIdentity { number, said, .. } = CallerIdentity::read(as_now, &reads);
                let before = before.as_deref().cloned().unwrap_or_default();
                Arc::new(CallerIdentity { number, said, ..before })
            }
        }
    }
}

/// An INVITE to this target from this name and number, for handlers to read.
fn as_invite(target: &str, name: &str, number: &str) -> Option<Request> {
    let number = if number.is_empty() { Cow::from("anonymous") } else { Cow::from(escaped_user(number)) };
    let text = format!(
        "INVITE {target} SIP/2.0\r\nVia: SIP/2.0/UDP invalid;branch=z9hG4bK-moved\r\n\
         From: {name}<sip:{number}@invalid>;tag=moved\r\nTo: <{target}>\r\nCall-ID: moved\r\n\
         CSeq: 1 INVITE\r\nMax-Forwards: 70\r\nContent-Length: 0\r\n\r\n"
    );
    match Message::parse(Bytes::from(text), &Limits::default()) {
        Ok(Message::Request(request)) if request.uri().is_ok() && request.from().is_ok() => Some(request),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_party_is_seen_as_if_it_had_called() {
        let request = as_invite("sip:701@192.0.2.1", "\"Ann\" ", "+44 20").expect("an INVITE");
        let from = request.from().expect("it has one");
        assert_eq!(from.uri.user, Some(&b"+44%2020"[..]));
        assert_eq!(request.uri().expect("a target").user, Some(&b"701"[..]));
        assert!(as_invite("sip:7\r\nX: y@h", "", "").is_none_or(|it| it.uri().is_err()), "one line");
        assert!(as_invite("sip:701@h", "", "").is_some());
    }
}
