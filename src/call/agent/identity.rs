//! The present identity of a leg's remote party, from later messages: after a transfer at its side, or behind
//! a number that was answered by another party (RFC 4916, RFC 5876).
//!
//! P-Asserted-Identity is used if it comes from our registrar, or from a proxy that is configured by address:
//! they are our trust domain (RFC 3325 §6). From any other source it is ignored. From in a later request is
//! the remote party's own claim, and is reported as such.

use std::net::SocketAddr;

use super::{AgentEvent, AgentService, LegId};
use b2b_sip::endpoint::UsageEvent;
use b2b_sip::msg::{Headers, Host, Name, NameAddr, Request, Uri, elements};

/// Maximum bytes of a URI or a name.
const MOST: usize = 1_024;

/// The identity of a call's remote party.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RemoteIdentity {
    /// The display name, without quotes.
    pub name: Option<String>,
    /// The URI.
    pub uri: String,
    /// Asserted by our registrar or proxy. Otherwise it is the remote party's own, unverified claim.
    pub asserted: bool,
}

impl RemoteIdentity {
    fn of(address: &NameAddr<'_>, asserted: bool) -> Option<Self> {
        let uri = std::str::from_utf8(address.uri.raw).ok().filter(|uri| uri.len() <= MOST)?;
        let name = address.display.map(unquoted).filter(|name| !name.is_empty() && name.len() <= MOST);
        Some(RemoteIdentity { name, uri: uri.to_owned(), asserted })
    }

    /// The identity of its sender in a message of a call.
    fn said(message: &Headers, from: Option<NameAddr<'_>>, is_trusted: bool) -> Option<Self> {
        let asserted = message.header(Name::PAssertedIdentity).filter(|_| is_trusted);
        let asserted = asserted.and_then(|value| NameAddr::parse(elements(value).next()?));
        if let Some(identity) = asserted.and_then(|address| RemoteIdentity::of(&address, true)) {
            return Some(identity);
        }
        RemoteIdentity::of(&from?, false)
    }
}

/// A display name for people: without quotes, escapes and control characters.
fn unquoted(display: &[u8]) -> String {
    let text = String::from_utf8_lossy(display);
    let text = text.trim();
    let quoted = text.strip_prefix('"').and_then(|text| text.strip_suffix('"'));
    let mut name = String::new();
    let mut escaped = false;
    for letter in quoted.unwrap_or(text).chars() {
        escaped = !escaped && quoted.is_some() && letter == '\\';
        if !escaped && !letter.is_control() {
            name.push(letter);
        }
    }
    name
}

impl AgentService {
    /// Reads the identity of the remote party from an event of a call, and reports a change.
    pub(super) fn identified(&mut self, leg: LegId, event: &UsageEvent) {
        let is_trusted = event.source().is_some_and(|source| self.is_trusted(source));
        let said = match event {
            UsageEvent::Provisional { response, .. }
            | UsageEvent::Answered { response, .. }
            | UsageEvent::ReInviteAnswered { response, .. }
            | UsageEvent::UpdateAnswered { response } => RemoteIdentity::said(response, None, is_trusted),
            UsageEvent::ReInvite { request }
            | UsageEvent::Update { request, .. }
            | UsageEvent::Identified { request } => {
                RemoteIdentity::said(request, request.from().ok(), is_trusted)
            }
            _ => None,
        };
        let Some(said) = said else { return };
        let Some(entry) = self.legs.get(leg) else { return };
        // From stays the same unless the identity changes.
        let is_known = match said.asserted {
            true => entry.identity.as_ref() == Some(&said),
            false => entry.claimed.replace(said.uri.clone()).as_ref() == Some(&said.uri),
        };
        if is_known {
            return;
        }
        entry.identity = Some(said.clone());
        let told = entry.told;
        self.tell(told, AgentEvent::Identified { leg, identity: said });
    }

    /// Reads the caller's identity: From, and an assertion of the registrar, which is reported.
    pub(super) fn identified_by_invite(&mut self, leg: LegId, request: &Request) {
        let is_trusted = request.source().is_some_and(|source| self.is_trusted(source));
        let claimed = request.from().ok().and_then(|from| RemoteIdentity::of(&from, false));
        let said = RemoteIdentity::said(request, request.from().ok(), is_trusted);
        let Some(entry) = self.legs.get(leg) else { return };
        entry.claimed = claimed.map(|it| it.uri);
        entry.identity = said.clone();
        let told = entry.told;
        if let Some(identity) = said.filter(|it| it.asserted) {
            self.tell(told, AgentEvent::Identified { leg, identity });
        }
    }

    /// Whether this source belongs to our trust domain.
    fn is_trusted(&self, source: SocketAddr) -> bool {
        if self.registered_at() == Some(source) {
            return true;
        }
        let proxy = self.config.signalling.proxy.as_ref().and_then(|it| Uri::parse(it.as_bytes()).ok());
        proxy.is_some_and(|proxy| address_of(&proxy) == Some(source))
    }
}

/// The address of a URI whose host is an address.
fn address_of(uri: &Uri<'_>) -> Option<SocketAddr> {
    let port = uri.port.unwrap_or(5060);
    match uri.host {
        Some(Host::V4(ip)) => Some(SocketAddr::new(ip.into(), port)),
        Some(Host::V6(ip)) => Some(SocketAddr::new(ip.into(), port)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_shown_without_quotes_escapes_and_control_characters() {
        assert_eq!(unquoted(b"\"Al \\\"x\\\" \\\\\""), "Al \"x\" \\");
        assert_eq!(unquoted(b" Bob \x1b[31m"), "Bob [31m");
    }
}
