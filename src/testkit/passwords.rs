//! Gateways that require a password, and an admission control that knows it.

use std::sync::Arc;
use std::time::Instant;

use b2b_call::handler::Party;
use b2b_call::lookup::{Credentials, GatewayUse};
use b2b_call::switch::Turn;
use b2b_call::switch::admission::{Admission, AdmissionControl, AdmitAll, Fate};
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
