//! Who the far end of a leg is now, as a later message says it: a transfer at its side, or a number
//! behind which somebody answers (RFC 4916, RFC 5876).
//!
//! P-Asserted-Identity counts where it comes from our registrar, or from the proxy that is named by
//! its address: they are our trust domain (RFC 3325 §6). From anywhere else it is not looked at. From
//! of a later request is what the far end says of itself, and is told as that.

use std::net::SocketAddr;

use super::{AgentEvent, AgentService, LegId};
use b2b_sip::endpoint::UsageEvent;
use b2b_sip::msg::{Headers, Host, Name, NameAddr, Request, Uri, elements};

/// Octets of a URI or a name that are taken at most.
const MOST: usize = 1_024;

/// Who the far end of a call is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RemoteIdentity {
    /// The display name, without quotes.
    pub name: Option<String>,
    /// The URI.
    pub uri: String,
    /// Our registrar or proxy says so. Else the far end says it of itself, and may say anything.
    pub asserted: bool,
}

impl RemoteIdentity {
    fn of(address: &NameAddr<'_>, asserted: bool) -> Option<Self> {
        let uri = std::str::from_utf8(address.uri.raw).ok().filter(|uri| uri.len() <= MOST)?;
        let name = address.display.map(unquoted).filter(|name| !name.is_empty() && name.len() <= MOST);
        Some(RemoteIdentity { name, uri: uri.to_owned(), asserted })
    }

    /// What a message in a call says of who has sent it.
    fn said(message: &Headers, from: Option<NameAddr<'_>>, is_trusted: bool) -> Option<Self> {
        let asserted = message.header(Name::PAssertedIdentity).filter(|_| is_trusted);
        let asserted = asserted.and_then(|value| NameAddr::parse(elements(value).next()?));
        if let Some(identity) = asserted.and_then(|address| RemoteIdentity::of(&address, true)) {
            return Some(identity);
        }
        RemoteIdentity::of(&from?, false)
    }
}

/// A display name as people read it: without quotes, escapes and what moves a cursor.
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
    /// What an event of a call says of its far end: told where it is news.
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
        // From is the same all the time, but where there is news.
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

    /// Who calls: their From, and what the registrar asserts beside it, which is told.
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

    /// Whether what comes from there comes from our trust domain.
    fn is_trusted(&self, source: SocketAddr) -> bool {
        if self.registered_at() == Some(source) {
            return true;
        }
        let proxy = self.config.signalling.proxy.as_ref().and_then(|it| Uri::parse(it.as_bytes()).ok());
        proxy.is_some_and(|proxy| address_of(&proxy) == Some(source))
    }
}

/// The address of a URI that has one in the place of a name.
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
