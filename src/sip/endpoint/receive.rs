//! Dispatches incoming messages to their transaction or usage, or refuses them (RFC 3261
//! §8.2).

use std::time::Instant;

use super::refuse::reply_path;
use super::{Endpoint, EndpointConfig, Event, Extensions, Flow, UsageId};
use crate::msg::{Message, Method, Name, ParseError, Request, Response, Scheme, Uri, body, chars};
use crate::outbox::ReplyPath;
use crate::transaction::server::Matched;

/// Methods of calls, which the endpoint handles itself.
const OURS: [Method; 7] =
    [Method::Invite, Method::Ack, Method::Bye, Method::Cancel, Method::Options, Method::Update, Method::Info];

/// The value of Allow in dialogs, which excludes REGISTER.
pub(super) fn allow(config: &EndpointConfig) -> String {
    let Extensions { reliable, refer, .. } = config.extensions;
    let extensions = [(Method::Prack, reliable), (Method::Refer, refer), (Method::Notify, refer)];
    let extensions = extensions.iter().filter_map(|(method, on)| on.then_some(method));
    let accepted = config.accept.iter().chain(&config.outside);
    let accepted = accepted.filter(|method| !OURS.contains(method) && **method != Method::Register);
    let more = extensions.chain(accepted);
    let mut names: Vec<&Method> = OURS.iter().collect();
    for method in more {
        if !names.contains(&method) {
            names.push(method);
        }
    }
    names.into_iter().map(Method::to_string).collect::<Vec<_>>().join(", ")
}

/// Header fields of the 200 to an OPTIONS.
pub(super) fn abilities<'a>(allow: &'a str, supported: &'a str) -> [(Name<'static>, &'a [u8]); 5] {
    [
        (Name::Allow, allow.as_bytes()),
        (Name::Accept, body::ACCEPT.as_bytes()),
        (Name::AcceptEncoding, b"identity"),
        (Name::AcceptLanguage, b"en"),
        (Name::Supported, supported.as_bytes()),
    ]
}

/// Number of octets of a datagram that are searched before it is parsed.
const HEAD: usize = 2_048;
/// Number of tags and of branches that are compared.
const IDENTIFIERS: usize = 4;

impl Endpoint {
    /// Whether an unparsed datagram carries a tag or branch of ours, so it belongs to a call
    /// or responds to a request. Others cannot guess them.
    pub fn expects(&self, datagram: &[u8]) -> bool {
        let head = datagram.get(..HEAD).unwrap_or(datagram);
        let mut tags = chars::tokens_after(head, b";tag=").take(IDENTIFIERS);
        tags.any(|tag| self.usages.has_tag(tag) || self.subscriptions.has_tag(tag))
            || chars::tokens_after(head, b";branch=")
                .take(IDENTIFIERS)
                .any(|branch| self.clients.of_branch(branch).is_some())
    }

    pub(super) fn receive(&mut self, now: Instant, flow: Flow, message: Result<Message, ParseError>) {
        self.out.saw(&flow);
        match message {
            Ok(Message::Request(mut request)) => {
                self.out.counters.requests_in += 1;
                if self.gone.is_of_request(&request) {
                    self.out.counters.ignored += 1;
                    return;
                }
                request.set_source(flow.remote);
                self.incoming_request(now, flow, request);
            }
            Ok(Message::Response(mut response)) => {
                self.out.counters.responses_in += 1;
                if self.gone.is_of_response(&response) {
                    self.out.counters.stray_responses += 1;
                    return;
                }
                response.set_source(flow.remote);
                self.response(now, response);
            }
            Err(error) => self.malformed(now, flow, &error),
        }
    }

    fn response(&mut self, now: Instant, response: Response) {
        // More than one Via: the response is for another element (§8.1.3.3).
        if response.headers(Name::Via).nth(1).is_some() {
            self.out.counters.stray_responses += 1;
            return;
        }
        match self.clients.response(now, &mut self.out, &response) {
            Some(outcome) => self.client_outcome(now, outcome, Some(response)),
            None => self.out.counters.stray_responses += 1,
        }
    }

    fn incoming_request(&mut self, now: Instant, flow: Flow, request: Request) {
        // The parser guarantees a Via.
        let Ok(via) = request.top_via() else { return };
        let path = reply_path(flow, &via);
        match self.servers.matched(now, &mut self.out, &request, &via) {
            Some(Matched::Absorbed) => return,
            Some(Matched::AckForUser) => return self.ack_received(now, request),
            None => {}
        }
        match request.method() {
            Method::Ack => self.ack_received(now, request),
            Method::Cancel => {
                let target = self.servers.cancelled(&request, &via);
                self.cancel_received(now, path, request, target);
            }
            _ if request.to_tag().is_some() => self.within(now, path, flow, request),
            _ => self.outside(now, path, flow, request),
        }
    }

    /// Handles a request with a To tag: in a known dialog, else 481.
    fn within(&mut self, now: Instant, path: ReplyPath, flow: Flow, request: Request) {
        let usage = self.usages.of_request(&request);
        let subscription = if usage.is_none() { self.subscriptions.of_request(&request) } else { None };
        if usage.is_none() && subscription.is_none() {
            return self.refuse(now, &path, &request, 481);
        }
        // Requests in established calls have priority over new calls.
        if self.is_full(now, &path, true) {
            return self.overloaded(now, &path, &request);
        }
        match (usage, subscription) {
            (Some(usage), _) => self.in_dialog(now, path, flow, usage, request),
            (None, Some(subscription)) => self.in_subscription(now, path, flow, subscription, request),
            (None, None) => {}
        }
    }

    /// Handles a request without a To tag (§8.2.1, §8.2.2).
    fn outside(&mut self, now: Instant, path: ReplyPath, flow: Flow, request: Request) {
        let method = request.method().clone();
        let accepted = self.config.outside.contains(&method);
        if !accepted && !OURS.contains(&method) {
            return self.not_allowed(now, &path, &request);
        }
        // `tel` and `sips` URIs can be for us, and so can services; other schemes are
        // unknown.
        let services = self.config.services && method == Method::Invite;
        let unknown =
            |uri: Uri<'_>| matches!(uri.scheme, Scheme::Other(_)) && !(services && uri.is_service());
        let scheme = Uri::parse(request.uri_bytes()).map(unknown);
        match scheme {
            Ok(false) => {}
            Ok(true) => return self.refuse(now, &path, &request, 416),
            Err(_) => return self.refuse(now, &path, &request, 400),
        }
        // An OPTIONS with Max-Forwards 0 is answered here (§11).
        if request.max_forwards() == Ok(Some(0)) && method != Method::Options {
            return self.refuse(now, &path, &request, 483);
        }
        if self.servers.is_merged(&request, |key| self.usages.is_merged(key)) {
            self.out.counters.merged += 1;
            return self.refuse(now, &path, &request, 482);
        }
        if method == Method::Invite && self.is_loop(&request) {
            self.out.counters.looped += 1;
            return self.refuse(now, &path, &request, 482);
        }
        if self.refuses_extension(now, &path, &request) {
            return;
        }
        match method {
            Method::Options => self.options(now, &path, &request),
            _ if (accepted || method == Method::Invite) && self.is_full(now, &path, false) => {
                self.overloaded(now, &path, &request);
            }
            Method::Invite => self.incoming(now, path, flow, request),
            // RFC 6086 §4.2.2: INFO is only valid in a dialog, accepted or not.
            _ if accepted && method != Method::Info => {
                let copy = request.clone();
                if let Some(transaction) = self.servers.start(now, &mut self.out, copy, path, None) {
                    self.out.event(Event::Request { transaction, request, flow });
                }
            }
            // BYE, UPDATE, INFO without a dialog.
            _ => self.refuse(now, &path, &request, 481),
        }
    }

    fn not_allowed(&mut self, now: Instant, path: &ReplyPath, request: &Request) {
        // A method that is taken in dialogs only is none of those that are taken here.
        let refused = request.method().to_string();
        let allow = self.allow_outside();
        let allow = allow.split(", ").filter(|it| *it != refused).collect::<Vec<_>>().join(", ");
        let headers = [(Name::Allow, allow.as_bytes())];
        self.refuse_with(now, path, request, 405, "Method Not Allowed", &headers);
    }

    /// The value of Allow outside of dialogs.
    pub(super) fn allow_outside(&self) -> String {
        match self.config.outside.contains(&Method::Register) {
            true => format!("{}, REGISTER", self.identity.allow),
            false => self.identity.allow.clone(),
        }
    }

    /// Responds to OPTIONS: 200 with our capabilities (§11.2).
    fn options(&mut self, now: Instant, path: &ReplyPath, request: &Request) {
        let (allow, supported) = (self.allow_outside(), self.identity.supported.clone());
        self.refuse_with(now, path, request, 200, "OK", &abilities(&allow, &supported));
    }

    /// Refuses with 420 a request that requires an unsupported extension (§8.2.2.3).
    pub(super) fn refuses_extension(&mut self, now: Instant, path: &ReplyPath, request: &Request) -> bool {
        let missing = |tag: &&[u8]| !self.config.supports(tag);
        let required: Vec<&[u8]> = request.headers(Name::Require).filter(missing).collect();
        if required.is_empty() {
            return false;
        }
        let unsupported = required.join(&b", "[..]);
        let headers = [(Name::Unsupported, unsupported.as_slice())];
        self.refuse_with(now, path, request, 420, "Bad Extension", &headers);
        true
    }

    /// Passes an ACK for a 2xx to its usage.
    fn ack_received(&mut self, now: Instant, request: Request) {
        let usage: Option<UsageId> = self.usages.of_request(&request);
        let taken = usage.is_some_and(|usage| self.acknowledged(now, usage, request));
        if !taken {
            self.out.counters.stray_acks += 1;
        }
    }
}
