//! The INVITE of a leg that is dialled: who calls, by which way, with what fields.

use std::time::Duration;

use bytes::Bytes;

use super::Switch;
use super::table::Leg;
use crate::handler::caller_number;
use crate::headers;
use crate::lookup::Diverted;
use crate::service::DialOptions;
use b2b_sip::endpoint::{Body, Invite};
use b2b_sip::msg::{Name, Request, chars, elements};

/// Header fields of their INVITE that go across as they are.
const PASSED_ON: [Name<'static>; 2] = [Name::Subject, Name::Priority];

/// How much later than the dialling the endpoint would give up by itself.
const GRACE: Duration = Duration::from_secs(10);

impl Switch {
    /// What a branch is sent, for a caller or for ourselves.
    pub(super) fn write_invite(
        &self,
        leg: &Leg,
        caller: Option<&Request>,
        options: &DialOptions,
        offer: Option<Bytes>,
    ) -> Invite {
        let contact = leg.contact.as_deref();
        let from = options.from.clone().map(Bytes::from);
        let from = from.or_else(|| {
            let uri = contact.and_then(|contact| contact.from.as_ref())?;
            Some(
                [&caller_name(caller, options.caller.as_ref())[..], b"<", uri.as_bytes(), b">"]
                    .concat()
                    .into(),
            )
        });
        let mut headers: Vec<(Bytes, Bytes)> = options
            .headers
            .iter()
            .map(|(name, value)| {
                (Bytes::copy_from_slice(name.as_bytes()), Bytes::copy_from_slice(value.as_bytes()))
            })
            .collect();
        for name in PASSED_ON {
            if let Some(value) = caller.and_then(|invite| invite.header(name)) {
                headers.push((Bytes::copy_from_slice(name.as_bytes()), Bytes::copy_from_slice(value)));
            }
        }
        for diverted in contact.and_then(|it| it.diverted.as_deref()).into_iter().flat_map(Diverted::all) {
            headers.push(("Diversion".into(), self.diversion(diverted).into()));
        }
        headers::apply(&options.rules, false, &mut headers, caller.map(|invite| &**invite));
        let bytes = |text: &String| Bytes::copy_from_slice(text.as_bytes());
        Invite {
            flow: contact.and_then(|contact| contact.flow),
            large: contact.map(|contact| contact.large).unwrap_or_default(),
            outbound: contact.and_then(|contact| contact.next_hop.as_ref().map(bytes)),
            authorizes: contact
                .is_some_and(|it| it.gateway.as_ref().is_some_and(|it| it.credentials.is_some())),
            tls: contact.and_then(|it| it.gateway.as_ref()?.tls.clone()),
            target: contact.map(|contact| Bytes::copy_from_slice(contact.uri.as_bytes())).unwrap_or_default(),
            from: from.or_else(|| self.caller_as_ours(caller, options.caller.as_ref())),
            route: contact.and_then(|contact| contact.path.as_deref()).map(routes).unwrap_or_default(),
            headers,
            body: offer.map(Body::sdp),
            // The dialling itself knows when to give up.
            ring_timeout: contact.and_then(|it| it.ring).max(Some(options.ring_timeout)).map(|it| it + GRACE),
            ..Invite::default()
        }
    }

    /// Who has redirected the call (RFC 5806), at our address.
    fn diversion(&self, diverted: &Diverted) -> String {
        let (number, domain) = (escaped_user(&diverted.number), &self.config.domain);
        let reason = if diverted.reason.is_empty() { "unknown" } else { diverted.reason };
        format!("<sip:{number}@{domain}>;reason={reason}")
    }

    /// From of a new leg: the caller's name and number, at our address.
    fn caller_as_ours(&self, invite: Option<&Request>, told: Option<&(String, String)>) -> Option<Bytes> {
        let domain = self.config.domain.as_bytes();
        if let Some((name, number)) = told {
            let number = escaped_user(number);
            return Some([name.as_bytes(), b"<sip:", number.as_bytes(), b"@", domain, b">"].concat().into());
        }
        let from = invite?.from().ok();
        let user = from.as_ref().and_then(|from| from.uri.user).filter(|user| !user.is_empty());
        let user = user.unwrap_or(b"anonymous");
        Some([&caller_name(invite, None)[..], b"<sip:", user, b"@", domain, b">"].concat().into())
    }
}

/// The caller's name as it stands before a URI, or nothing.
fn caller_name(invite: Option<&Request>, told: Option<&(String, String)>) -> Vec<u8> {
    if let Some((name, _)) = told {
        return name.clone().into_bytes();
    }
    let from = invite.and_then(|invite| invite.from().ok());
    name_before(from.as_ref().and_then(|from| from.display)).into_bytes()
}

/// A display name as it stands before a URI, or nothing.
pub(super) fn name_before(display: Option<&[u8]>) -> String {
    let display = display.unwrap_or_default();
    let space: &[u8] = if display.is_empty() { b"" } else { b" " };
    String::from_utf8_lossy(&[&chars::shown(display)[..], space].concat()).into_owned()
}

/// Name and number that an INVITE shows.
pub(super) fn shown_by(invite: &Request) -> Option<(String, String)> {
    let name = String::from_utf8_lossy(&caller_name(Some(invite), None)).into_owned();
    Some((name, caller_number(invite))).filter(|(_, number)| !number.is_empty())
}

/// The values of a Path, each a preloaded route.
fn routes(path: &str) -> Vec<Bytes> {
    elements(path.as_bytes()).map(Bytes::copy_from_slice).collect()
}

/// A number as the user part of a URI.
pub(super) fn escaped_user(number: &str) -> String {
    let mut text = String::with_capacity(number.len());
    for byte in number.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' => text.push(char::from(byte)),
            b'-' | b'_' | b'.' | b'!' | b'~' | b'*' | b'+' => text.push(char::from(byte)),
            byte => text.push_str(&format!("%{byte:02X}")),
        }
    }
    text
}
