//! Stateless refusals (RFC 3261 §8.2.7): a retransmission gets the same response with the
//! same To tag, nothing is stored, and a flood is answered only within a budget.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::net::IpAddr;
use std::time::Instant;

use bytes::Bytes;

use super::{Endpoint, Flow, ServerTransactionId};
use crate::dialog::usage::PerSecond;
use crate::known::{Acquaintance, KnownSources};
use crate::msg::{Name, ParseError, ParseErrorKind, Request, ResponseWriter, Rport, Via, phrase};
use crate::outbox::{ReplyPath, Way};

/// Stateless responses per second, for three kinds of sources: strangers, sources of
/// registered users (a tenth of the budget for each source), and named sources (half for
/// each). Each kind has its own budget, so a registered user cannot use up that of a carrier.
pub(super) struct Budget {
    secret: [u64; 2],
    known: KnownSources,
    strangers: Part,
    home: Part,
    named: Part,
}

/// The budget of one kind of sources.
struct Part {
    per_second: u32,
    per_source: u32,
    all: PerSecond,
    /// By the hash of the source; sources with the same place share its part.
    sources: [PerSecond; SOURCES],
}

const SOURCES: usize = 64;

impl Part {
    fn new(per_second: u32, parts: u32) -> Self {
        Part {
            per_second,
            per_source: per_second.div_ceil(parts),
            all: PerSecond::default(),
            sources: [PerSecond::default(); SOURCES],
        }
    }

    fn take(&mut self, now: Instant, place: usize) -> bool {
        // Checked first, so that a source over its own limit takes nothing from the others.
        self.sources.get_mut(place).is_some_and(|it| it.take(now, self.per_source))
            && self.all.take(now, self.per_second)
    }
}

impl Budget {
    pub fn new(secret: [u64; 2], per_second: u32, known: KnownSources) -> Self {
        let [strangers, home, named] = [10, 10, 2].map(|parts| Part::new(per_second, parts));
        Budget { secret, known, strangers, home, named }
    }

    /// The key for hashes that appear in messages.
    pub fn secret(&self) -> [u64; 2] {
        self.secret
    }

    fn take(&mut self, now: Instant, source: IpAddr) -> bool {
        let mut hasher = DefaultHasher::new();
        (self.secret, source.to_canonical()).hash(&mut hasher);
        let place = hasher.finish() as usize % SOURCES;
        let part = match self.known.acquaintance(now, source) {
            Acquaintance::Named => &mut self.named,
            Acquaintance::Home => &mut self.home,
            Acquaintance::Stranger => &mut self.strangers,
        };
        part.take(now, place)
    }

    /// A To tag that is the same for all copies of a request and in replays, so it contains
    /// no secret. Its inputs are random already (§8.1.1.7, §19.3), and no dialog begins with
    /// it.
    fn tag(request: &Request) -> String {
        let mut hasher = DefaultHasher::new();
        for name in [Name::Via, Name::From, Name::CallId, Name::CSeq] {
            request.header(name).hash(&mut hasher);
        }
        format!("{:016x}", hasher.finish())
    }
}

/// Where responses are sent (§18.2.2, RFC 3581 §4): over UDP to the source address, at the
/// source port if the client sent `rport`, else at the port of sent-by.
pub(super) fn reply_path(flow: Flow, via: &Via<'_>) -> ReplyPath {
    let mut sent_by = flow.remote;
    sent_by.set_port(via.port.unwrap_or(5060));
    let to_source = flow.transport.is_reliable() || via.rport != Rport::Absent;
    let remote = if to_source { flow.remote } else { sent_by };
    ReplyPath { flow: Flow { remote, ..flow }, reconnect: sent_by, way: Way::default() }
}

impl Endpoint {
    /// Responds statelessly; drops the request beyond the budget.
    pub(super) fn refuse(&mut self, now: Instant, path: &ReplyPath, request: &Request, status: u16) {
        self.refuse_with(now, path, request, status, phrase(status), &[]);
    }

    /// Like `refuse`, with a reason phrase and header fields.
    pub(super) fn refuse_with(
        &mut self,
        now: Instant,
        path: &ReplyPath,
        request: &Request,
        status: u16,
        reason: &str,
        headers: &[(Name<'_>, &[u8])],
    ) {
        if !self.budget.take(now, path.flow.remote.ip()) {
            self.out.counters.dropped += 1;
            return;
        }
        let tag = Budget::tag(request);
        self.refuse_as(path, request, &tag, status, reason, headers);
    }

    /// Responds 200 to a CANCEL that crossed our refusal: it SHOULD have the same To tag
    /// (§9.2).
    pub(super) fn answer_overtaken(
        &mut self,
        now: Instant,
        path: &ReplyPath,
        cancel: &Request,
        invite: ServerTransactionId,
    ) {
        let tag = self.servers.refused_as(invite).map(|tag| String::from_utf8_lossy(tag).into_owned());
        let Some(tag) = tag else { return self.refuse(now, path, cancel, 200) };
        if self.budget.take(now, path.flow.remote.ip()) {
            self.refuse_as(path, cancel, &tag, 200, phrase(200), &[]);
        } else {
            self.out.counters.dropped += 1;
        }
    }

    fn refuse_as(
        &mut self,
        path: &ReplyPath,
        request: &Request,
        tag: &str,
        status: u16,
        reason: &str,
        headers: &[(Name<'_>, &[u8])],
    ) {
        let mut writer = ResponseWriter::reply_to(request, status, reason, Some(tag));
        for (name, value) in headers {
            writer = writer.header(*name, value);
        }
        match self.served(writer).finish() {
            Ok(response) => {
                if status >= 300 {
                    self.out.counters.refused += 1;
                }
                self.out.respond(path, response);
            }
            Err(_) => self.out.counters.unbuildable += 1,
        }
    }

    /// Adds the Server header field.
    pub(super) fn served(&self, writer: ResponseWriter) -> ResponseWriter {
        match self.identity.user_agent.as_str() {
            "" => writer,
            agent => writer.header(Name::Server, agent),
        }
    }

    /// Handles a message that did not parse: 400, 505 or 513 if a response is possible.
    pub(super) fn malformed(&mut self, now: Instant, flow: Flow, error: &ParseError) {
        // Bare line ends are keep-alives, not errors.
        if error.kind == ParseErrorKind::Empty {
            return;
        }
        self.out.counters.malformed += 1;
        let Some(partial) = error.partial.as_deref() else { return };
        // Without a usable Via the response goes to the source.
        let source = ReplyPath { flow, reconnect: flow.remote, way: Way::default() };
        let path = partial.headers().top_via().map_or(source, |via| reply_path(flow, &via));
        if !self.budget.take(now, flow.remote.ip()) {
            self.out.counters.dropped += 1;
            return;
        }
        if let Some(response) = error.response(flow.remote).filter(|it: &Bytes| !it.is_empty()) {
            self.out.counters.refused += 1;
            self.out.respond(&path, response);
        }
    }
}
