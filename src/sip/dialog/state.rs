//! A dialog (RFC 3261 §12): identifiers, route set, remote target, sequence numbers. Its
//! texts share one allocation, so an idle call is small and does not keep the original
//! messages alive.

use std::sync::Arc;

use bytes::Bytes;

use crate::dialog::hop::HopRule;
use crate::flow::{Flow, FlowId};
use crate::msg::{Headers, Name, NameAddr, Request, Response, Scheme, Uri, echo};
use b2b_base::ids::Tag;

use super::hop::{Hop, is_secure};
use super::offer_answer::OfferAnswer;

/// The texts of a dialog, in storage order.
#[derive(Debug, Clone, Copy)]
enum Part {
    CallId,
    /// From of our requests, with our tag.
    Local,
    /// To of our requests, with the remote tag once it is known.
    Remote,
    RemoteTag,
    /// Remote target as received in Contact.
    Target,
    FirstRoute,
    /// The rest of the route set, as one header value.
    OtherRoutes,
    /// User part of our Contact, if it differs from the endpoint's.
    ContactUser,
}

const PARTS: usize = 8;

/// Why a message creates no dialog.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NoDialog {
    #[error("missing or invalid Contact; it has to be a sip or sips URI")]
    Contact,
    #[error("invalid Record-Route")]
    RecordRoute,
    #[error("missing or invalid From, To, Call-ID or CSeq")]
    Identity,
}

/// State of a dialog, or of one that our INVITE is about to create.
#[derive(Debug, Clone, serde::Serialize, serde::Deserialize)]
pub struct Dialog {
    text: Box<[u8]>,
    ends: [u32; PARTS],
    pub local_tag: Tag,
    /// CSeq number of our last request.
    pub local_cseq: u32,
    /// CSeq number of the peer's last request.
    pub remote_cseq: Option<u32>,
    /// The flow of the last exchange.
    pub flow: Option<Flow>,
    /// The connection of the peer's INVITE, or of ours to it, or the latest that was found to be the
    /// peer's; `None` over UDP.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub connection: Option<FlowId>,
    /// The rule for where requests are sent.
    pub hops: HopRule,
    /// TLS settings for connections; `None` for the default ones.
    pub tls: Option<Arc<str>>,
    /// The listener of ours that sends requests if there is no flow; `None` for the one on
    /// the route.
    pub listener: Option<Arc<str>>,
    /// Whether a message of the peer has created it, so that the rule applies.
    pub bound: bool,
    /// Whether the verdict on the current target was reported.
    pub hop_told: bool,
    /// Whether requests beyond 1,300 octets stay on UDP.
    pub large_by_udp: bool,
    pub offer_answer: OfferAnswer,
    /// The offer/answer exchange of the INVITE was completed in reliable provisional
    /// responses: later responses to it carry no new session description (RFC 3262 §5,
    /// RFC 6337 §3.1).
    pub settled: bool,
    /// Whether the user has to send the PRACK for the last reliable provisional response.
    pub prack_owed: bool,
    /// RSeq of the last reliable provisional response (RFC 3262 §4).
    pub remote_rseq: Option<u32>,
}

/// A request of ours that begins a dialog.
#[derive(Debug, Clone, Copy)]
pub struct Start<'a> {
    pub call_id: &'a [u8],
    /// From without its tag.
    pub from: &'a [u8],
    pub from_tag: Tag,
    /// To, which has no tag.
    pub to: &'a [u8],
    /// The Request-URI.
    pub target: &'a [u8],
    pub route: &'a [Bytes],
    pub contact_user: &'a [u8],
    pub cseq: u32,
}

impl Dialog {
    /// The initial state for our INVITE: without a remote tag.
    pub fn outgoing(start: &Start<'_>) -> Dialog {
        let mut builder = Builder::new();
        builder.part(Part::CallId, start.call_id);
        builder.local(start.from, start.from_tag);
        builder.part(Part::Remote, start.to);
        builder.part(Part::RemoteTag, b"");
        builder.part(Part::Target, start.target);
        builder.routes(start.route.iter().map(AsRef::as_ref));
        builder.part(Part::ContactUser, start.contact_user);
        builder.dialog(start.from_tag, start.cseq, None)
    }

    /// The dialog of a UAS (§12.1.1).
    pub fn from_request(request: &Request, local_tag: Tag, cseq: u32) -> Result<Dialog, NoDialog> {
        let mut builder = Builder::new();
        builder.part(Part::CallId, request.call_id().map_err(|_| NoDialog::Identity)?);
        builder.local(request.header(Name::To).ok_or(NoDialog::Identity)?, local_tag);
        builder.remote(request, Name::From)?;
        builder.part(Part::Target, target(contact(request)?.uri));
        let routes: Vec<&[u8]> = record_routes(request)?;
        builder.routes(routes.into_iter());
        builder.part(Part::ContactUser, b"");
        let remote_cseq = request.cseq().map_err(|_| NoDialog::Identity)?.number;
        let mut dialog = builder.dialog(local_tag, cseq, Some(remote_cseq));
        dialog.bound = true;
        Ok(dialog)
    }

    /// Creates the dialog of a UAC (§12.1.2) from the state that its INVITE was sent with. A
    /// response without a usable Contact keeps the target of the INVITE.
    pub fn from_response(&self, response: &Response) -> Result<Dialog, NoDialog> {
        let target = match contact(response) {
            Ok(contact) => target(contact.uri),
            Err(_) => self.target(),
        };
        let mut routes = match self.hops {
            HopRule::Flow(_) => Vec::new(),
            _ => record_routes(response)?,
        };
        routes.reverse();
        self.with(response, target, &routes)
    }

    /// A best-effort dialog for a 2xx that cannot create one: with the remote tag of the
    /// response, and the target and routes of the INVITE.
    pub fn salvaged(&self, response: &Response) -> Result<Dialog, NoDialog> {
        let routes: Vec<&[u8]> = [Part::FirstRoute, Part::OtherRoutes]
            .into_iter()
            .map(|part| self.get(part))
            .filter(|route| !route.is_empty())
            .collect();
        self.with(response, self.target(), &routes)
    }

    fn with(&self, response: &Response, target: &[u8], routes: &[&[u8]]) -> Result<Dialog, NoDialog> {
        let mut builder = Builder::new();
        builder.part(Part::CallId, self.call_id());
        builder.part(Part::Local, self.local());
        builder.remote(response, Name::To)?;
        builder.part(Part::Target, target);
        builder.routes(routes.iter().copied());
        builder.part(Part::ContactUser, self.contact_user());
        let mut dialog = builder.dialog(self.local_tag, self.local_cseq, None);
        (dialog.flow, dialog.connection) = (self.flow, self.connection);
        dialog.hops = self.hops.clone();
        dialog.tls.clone_from(&self.tls);
        dialog.listener.clone_from(&self.listener);
        dialog.bound = true;
        dialog.large_by_udp = self.large_by_udp;
        dialog.offer_answer = self.offer_answer;
        Ok(dialog)
    }

    fn get(&self, part: Part) -> &[u8] {
        let index = part as usize;
        let start = if index == 0 { 0 } else { self.ends[index - 1] as usize };
        // A dialog that was read may be damaged.
        self.text.get(start..self.ends[index] as usize).unwrap_or_default()
    }

    pub fn call_id(&self) -> &[u8] {
        self.get(Part::CallId)
    }

    /// From of our requests.
    pub fn local(&self) -> &[u8] {
        self.get(Part::Local)
    }

    /// To of our requests.
    pub fn remote(&self) -> &[u8] {
        self.get(Part::Remote)
    }

    /// Empty for a peer of RFC 2543, or if it is not known yet.
    pub fn remote_tag(&self) -> &[u8] {
        self.get(Part::RemoteTag)
    }

    /// The remote target as received.
    pub fn target(&self) -> &[u8] {
        self.get(Part::Target)
    }

    /// User part of our Contact; empty for the endpoint's.
    pub fn contact_user(&self) -> &[u8] {
        self.get(Part::ContactUser)
    }

    /// Adopts the Contact of a target refresh request or its 2xx as the new remote target
    /// (§12.2); no change without a valid one.
    pub fn refresh_target(&mut self, message: &Headers) {
        let Ok(contact) = contact(message) else { return };
        let target = target(contact.uri);
        if target == self.target() {
            return;
        }
        let mut builder = Builder::new();
        for part in [Part::CallId, Part::Local, Part::Remote, Part::RemoteTag] {
            builder.part(part, self.get(part));
        }
        builder.part(Part::Target, target);
        for part in [Part::FirstRoute, Part::OtherRoutes, Part::ContactUser] {
            builder.part(part, self.get(part));
        }
        (self.text, self.ends) = (builder.text.into(), builder.ends);
        self.hop_told = false;
    }

    /// Clears the route set.
    pub fn forget_routes(&mut self) {
        if self.get(Part::FirstRoute).is_empty() {
            return;
        }
        let mut builder = Builder::new();
        for part in [Part::CallId, Part::Local, Part::Remote, Part::RemoteTag, Part::Target] {
            builder.part(part, self.get(part));
        }
        for part in [Part::FirstRoute, Part::OtherRoutes] {
            builder.part(part, b"");
        }
        builder.part(Part::ContactUser, self.get(Part::ContactUser));
        (self.text, self.ends) = (builder.text.into(), builder.ends);
    }

    /// Sets the local URI once the flow is known.
    pub fn set_local(&mut self, local: &[u8]) {
        let mut builder = Builder::new();
        builder.part(Part::CallId, self.call_id());
        builder.local(local, self.local_tag);
        for part in [
            Part::Remote,
            Part::RemoteTag,
            Part::Target,
            Part::FirstRoute,
            Part::OtherRoutes,
            Part::ContactUser,
        ] {
            builder.part(part, self.get(part));
        }
        (self.text, self.ends) = (builder.text.into(), builder.ends);
    }

    fn first_route(&self) -> Option<NameAddr<'_>> {
        NameAddr::parse(self.get(Part::FirstRoute))
    }

    /// The URI of the next hop.
    pub fn leads(&self) -> &[u8] {
        self.first_route().map_or(self.target(), |route| route.uri.raw)
    }

    /// The next hop (§12.2.1.1): the first route, or the target.
    pub fn hop(&self) -> Hop {
        match self.first_route() {
            Some(route) => Hop::of(&route.uri),
            None => Uri::parse(self.target()).map_or(Hop::Nowhere, |uri| Hop::of(&uri)),
        }
    }

    /// Whether the next hop or the target is a SIPS URI, which requires TLS (§8.1.1.8,
    /// §26.2.2).
    pub fn is_secure(&self) -> bool {
        is_secure(self.target()) || self.first_route().is_some_and(|route| is_secure(route.uri.raw))
    }

    /// Request-URI and Route values of the next request (§12.2.1.1). If the first route is a
    /// strict router, its URI becomes the Request-URI, and the target the last Route.
    pub fn request_uri(&self) -> (&[u8], Vec<Vec<u8>>) {
        let routes = || {
            [self.get(Part::FirstRoute), self.get(Part::OtherRoutes)]
                .into_iter()
                .filter(|route| !route.is_empty())
                .map(<[u8]>::to_vec)
        };
        match self.first_route() {
            Some(route) if !route.uri.is_loose_router() => {
                let last = [b"<", self.target(), b">"].concat();
                (target(route.uri), routes().skip(1).chain([last]).collect())
            }
            _ => (self.target(), routes().collect()),
        }
    }
}

/// Whether our Contact in the response to this request must be a SIPS URI (§12.1.1).
pub fn answers_secure(request: &Request) -> bool {
    let route = || request.record_routes().next().and_then(Result::ok);
    let contact = || request.contact().ok().flatten();
    is_secure(request.uri_bytes())
        || route().or_else(contact).is_some_and(|came_by| is_secure(came_by.uri.raw))
}

/// The URI without the part after `?`, which a Request-URI must not have (§19.1.1).
fn target(uri: Uri<'_>) -> &[u8] {
    let headers = uri.headers.map_or(0, |headers| headers.len() + 1);
    uri.raw.get(..uri.raw.len().saturating_sub(headers)).unwrap_or(uri.raw)
}

fn contact(message: &Headers) -> Result<NameAddr<'_>, NoDialog> {
    let contact = message.contact().ok().flatten();
    contact.filter(|it| matches!(it.uri.scheme, Scheme::Sip | Scheme::Sips)).ok_or(NoDialog::Contact)
}

fn record_routes(message: &Headers) -> Result<Vec<&[u8]>, NoDialog> {
    if message.record_routes().any(|route| route.is_err()) {
        return Err(NoDialog::RecordRoute);
    }
    Ok(message.headers(Name::RecordRoute).collect())
}

/// Capacity for the texts of most dialogs.
const USUAL: usize = 384;

struct Builder {
    text: Vec<u8>,
    ends: [u32; PARTS],
}

impl Builder {
    fn new() -> Self {
        Builder { text: Vec::with_capacity(USUAL), ends: [0; PARTS] }
    }

    fn end(&mut self, part: Part) {
        self.ends[part as usize] = self.text.len() as u32;
    }

    /// Appends a text; folds and control characters become spaces, so that it is valid in a
    /// new message.
    fn append(&mut self, text: &[u8]) {
        echo(&mut self.text, text);
    }

    fn part(&mut self, part: Part, text: &[u8]) {
        self.append(text);
        self.end(part);
    }

    fn local(&mut self, uri: &[u8], tag: Tag) {
        self.append(uri);
        if !uri.is_empty() {
            self.append(b";tag=");
            self.append(tag.as_bytes());
        }
        self.end(Part::Local);
    }

    fn remote(&mut self, message: &Headers, name: Name<'static>) -> Result<(), NoDialog> {
        let value = message.header(name).ok_or(NoDialog::Identity)?;
        let tag = if name == Name::From { message.from_tag() } else { message.to_tag() };
        self.part(Part::Remote, value);
        self.part(Part::RemoteTag, tag.unwrap_or_default());
        Ok(())
    }

    fn routes<'a>(&mut self, mut routes: impl Iterator<Item = &'a [u8]>) {
        self.part(Part::FirstRoute, routes.next().unwrap_or_default());
        for (index, route) in routes.enumerate() {
            if index > 0 {
                self.append(b", ");
            }
            self.append(route);
        }
        self.end(Part::OtherRoutes);
    }

    fn dialog(self, local_tag: Tag, local_cseq: u32, remote_cseq: Option<u32>) -> Dialog {
        Dialog {
            text: self.text.into(),
            ends: self.ends,
            local_tag,
            local_cseq,
            remote_cseq,
            flow: None,
            connection: None,
            hops: HopRule::Follow,
            tls: None,
            listener: None,
            bound: false,
            hop_told: false,
            large_by_udp: false,
            settled: false,
            prack_owed: false,
            offer_answer: OfferAnswer::Idle,
            remote_rseq: None,
        }
    }
}
