//! Gateways that require a password, and admission controls that know it.

use std::sync::Arc;
use std::time::{Duration, Instant};

use b2b_call::channels::{Channels, Holder};
use b2b_call::handler::Party;
use b2b_call::lookup::{Credentials, GatewayUse};
use b2b_call::switch::Turn;
use b2b_call::switch::admission::{Admission, AdmissionControl, AdmitAll, Dialled, Fate, Outgoing};
use b2b_sip::auth::DigestClient;
use b2b_sip::endpoint::{Flow, HeaderFields};
use b2b_sip::msg::{Method, Request, Response};

const USER: &str = "acme";
const PASSWORD: &str = "secret";

/// A gateway named `carrier` at this host; it knows b2b as `acme`, with the password `secret`.
pub fn gateway(host: &str) -> GatewayUse {
    let password = Credentials { username: USER.to_owned(), password: PASSWORD.to_owned(), realm: None };
    GatewayUse {
        name: "carrier".into(),
        host: host.into(),
        channels: None,
        credentials: Some(Arc::new(password)),
        tls: None,
        listener: None,
    }
}

/// Admits every request, and answers every challenge with the password of [`gateway`]: it does not decide
/// which servers may receive it.
pub struct Passwords;

impl AdmissionControl for Passwords {
    fn invite(&mut self, now: Instant, request: &Request, flow: &Flow) -> Admission {
        AdmitAll.invite(now, request, flow)
    }

    fn request(&mut self, t: &mut Turn<'_>, request: &Request, flow: &Flow) -> Fate {
        AdmitAll.request(t, request, flow)
    }

    fn is_same(&self, one: &Party, other: &Party) -> bool {
        AdmitAll.is_same(one, other)
    }

    fn believes(&self, party: &Party) -> bool {
        AdmitAll.believes(party)
    }

    fn has_credentials(&self, _: &Party) -> bool {
        true
    }

    fn credentials(
        &mut self,
        challenges: &[Response],
        method: &Method,
        _: &Party,
        uri: &[u8],
    ) -> Option<HeaderFields> {
        let mut client = DigestClient::new(USER, PASSWORD, [7; 32]);
        Some(client.answer(challenges, method, uri).ok()?.headers)
    }
}

/// [`Passwords`], with a channel for each leg, and calls that are dialled later.
pub struct Counted(pub Channels);

impl AdmissionControl for Counted {
    fn invite(&mut self, now: Instant, request: &Request, flow: &Flow) -> Admission {
        match Passwords.invite(now, request, flow) {
            Admission::Accept(mut caller) => {
                caller.channels.extend(self.0.take(Holder::Source(flow.remote.ip()), None));
                Admission::Accept(caller)
            }
            other => other,
        }
    }

    fn request(&mut self, t: &mut Turn<'_>, request: &Request, flow: &Flow) -> Fate {
        Passwords.request(t, request, flow)
    }

    fn outgoing(&mut self, _: Instant, dialled: Dialled<'_>) -> Result<Outgoing, (u16, &'static str)> {
        let channel = self.0.take(Holder::User(dialled.contact.uri.as_str().into()), None);
        // Every fifth contact has to wait for its turn.
        let sum: u64 = dialled.contact.uri.bytes().map(u64::from).sum();
        let wait = if sum.is_multiple_of(5) { Duration::from_millis(sum % 900) } else { Duration::ZERO };
        Ok(Outgoing { channels: channel.into_iter().collect(), wait, ..Outgoing::default() })
    }

    fn channels(&self) -> Option<Channels> {
        Some(self.0.clone())
    }

    fn is_same(&self, one: &Party, other: &Party) -> bool {
        Passwords.is_same(one, other)
    }

    fn believes(&self, party: &Party) -> bool {
        Passwords.believes(party)
    }

    fn has_credentials(&self, party: &Party) -> bool {
        Passwords.has_credentials(party)
    }

    fn credentials(
        &mut self,
        challenges: &[Response],
        method: &Method,
        party: &Party,
        uri: &[u8],
    ) -> Option<HeaderFields> {
        Passwords.credentials(challenges, method, party, uri)
    }
}
