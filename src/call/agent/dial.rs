//! Outgoing calls.

use std::net::IpAddr;

use bytes::Bytes;

use super::account::{self, DialAs, Way};
use super::leg::Leg;
use super::legs::Entry;
use super::{AgentError, AgentService, LegAudio, LegId};
use b2b_sip::endpoint::{Body, HeaderFields, Invite, InviteError};
use b2b_sip::msg::{NameAddr, Scheme, Uri};
use b2b_sip::net::local_addr;

impl AgentService {
    /// Calls `target`, a `sip:` or `sips:` URI.
    ///
    /// # Errors
    /// The target cannot be called, or there is no media session for it.
    pub fn dial(&mut self, target: &str, audio: LegAudio) -> Result<LegId, AgentError> {
        self.dial_as(target, audio, &DialAs::default())
    }

    /// As [`AgentService::dial`], with options for the call.
    ///
    /// # Errors
    /// As for `dial`, or a header field is invalid.
    pub fn dial_as(&mut self, target: &str, audio: LegAudio, how: &DialAs) -> Result<LegId, AgentError> {
        self.dial_with(target, audio, account::fields(&how.headers), how)
    }

    /// As [`AgentService::dial_as`], with header fields in the endpoint's form.
    pub(super) fn dial_with(
        &mut self,
        target: &str,
        audio: LegAudio,
        own: HeaderFields,
        how: &DialAs,
    ) -> Result<LegId, AgentError> {
        let bad = |reason: String| AgentError::Target { uri: target.to_owned(), reason };
        let uri = Uri::parse(target.as_bytes()).map_err(|error| bad(error.to_string()))?;
        if !matches!(uri.scheme, Scheme::Sip | Scheme::Sips) {
            return Err(bad("only sip: and sips: can be dialled".to_owned()));
        }
        let ip_of = |uri: &Uri<'_>| uri.host.and_then(|host| host.ip());
        if ip_of(&uri).is_some_and(|ip| ip.is_unspecified()) {
            return Err(bad("a wildcard address is not a destination".to_owned()));
        }
        let identity = how.identity.as_ref().or(self.config.identity.as_ref());
        let way = self.config.signalling.way(&uri, identity.map(String::as_str), self.home());
        let from = identity.map(|uri| Bytes::from(self.config.signalling.address(uri)));
        let home = way.home;
        let hop = first_hop(&way).map_or_else(|| ip_of(&uri), |hop| ip_of(&hop));
        if hop.is_some_and(|ip| ip.is_ipv4() != self.config.bind.is_ipv4()) {
            return Err(bad(format!(
                "its address family is not that of the bind address {}",
                self.config.bind
            )));
        }
        let ip = self.address_towards(hop);
        let (session, rtp) = self.open_session()?;
        let side = self.own_side(ip, rtp.port());
        let (leg, offer) = Leg::outbound(side).map_err(|error| {
            session.into_iter().for_each(|session| self.media.close(session));
            bad(error.to_string())
        })?;
        let signalling = &self.config.signalling;
        let credentials = how.credentials.as_ref().or(signalling.credentials.as_ref());
        let invite = Invite {
            target: Bytes::copy_from_slice(target.as_bytes()),
            from,
            route: way.route,
            outbound: way.outbound,
            headers: account::fields(&signalling.headers).into_iter().chain(own).collect(),
            authorizes: credentials.is_some(),
            body: Some(Body::sdp(offer)),
            ..Invite::default()
        };
        let proxied = signalling.proxy.is_some();
        let credentials = credentials.cloned();
        let now = self.stack.now();
        let usage = self.stack.endpoint().invite(now, invite).map_err(|error| {
            session.into_iter().for_each(|session| self.media.close(session));
            match error {
                InviteError::BadHeader { name } => AgentError::Header(name),
                error => bad(error.to_string()),
            }
        })?;
        if proxied {
            let _ = self.stack.endpoint().keep_flow(usage, true);
        }
        let mut entry = Entry::new(leg, usage, true);
        entry.home = home;
        entry.claimed = Some(target.to_owned());
        entry.auth = self.authorizes(usage, credentials.as_ref());
        entry.session = session;
        entry.audio = Some(audio);
        entry.early_audio = self.config.options.early_media;
        Ok(self.legs.insert(entry))
    }

    /// Our address as seen from this hop. A concrete bind address needs no look-up in the routing table.
    fn address_towards(&self, hop: Option<IpAddr>) -> IpAddr {
        let bound = self.config.bind;
        let routed = hop.filter(|_| bound.ip().is_unspecified()).and_then(|ip| local_addr::towards(ip).ok());
        routed.unwrap_or_else(|| local_addr::concrete(bound).ip())
    }
}

/// The first hop, if that is not the target.
fn first_hop(way: &Way) -> Option<Uri<'_>> {
    match (way.route.first(), &way.outbound) {
        (Some(route), _) => NameAddr::parse(route).map(|route| route.uri),
        (None, Some(outbound)) => Uri::parse(outbound).ok(),
        (None, None) => None,
    }
}
