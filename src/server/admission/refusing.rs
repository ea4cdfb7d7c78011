//! Log lines for requests that admission control refuses or leaves unanswered: REGISTER, SUBSCRIBE, and
//! INVITE that never becomes a call. Wrong passwords are logged in `passwords`; a challenge is no refusal.

use std::net::{IpAddr, SocketAddr};
use std::time::Instant;

use super::{ServerAdmission, Turned};
use crate::effective_source::EffectiveSource;
use crate::origin::Origin;
use crate::refusals::{Refusal, sentence};
use b2b_sip::endpoint::Reply;
use b2b_sip::msg::number::Ours;
use b2b_sip::msg::{Method, Request, phrase};

impl ServerAdmission {
    /// Logs the refusal of a request, if the reply is one; `who` is empty for an unknown sender.
    pub(super) fn tell_refused(
        &mut self,
        now: Instant,
        request: &Request,
        (who, source): (&str, SocketAddr),
        reply: &Reply,
    ) {
        let status = reply.status;
        if status < 300 || matches!(status, 401 | 407) {
            return;
        }
        self.at(now);
        let what = match request.method() {
            Method::Register => "REGISTER",
            Method::Subscribe => "SUBSCRIBE",
            _ => "INVITE",
        };
        let Some(left_out) = self.refusals.line(self.wall, Some(source.ip()), (what, status)) else { return };
        let to = named(request, &*self.settings.directory);
        let why = if reply.reason.is_empty() { phrase(status) } else { &reply.reason };
        let source = Some(source);
        tracing::info!("{}", Refusal { what, who, source, to: &to, status, why: &sentence(why), left_out });
    }

    /// The same, for the reason why a request was turned away.
    pub(super) fn turned(
        &mut self,
        now: Instant,
        request: &Request,
        from: EffectiveSource,
        turned: Turned,
    ) -> Turned {
        if let Turned::Away(_, reply) | Turned::Once(reply) = &turned {
            self.tell_refused(now, request, ("", from.address), reply);
        }
        turned
    }

    /// Logs that requests of an unknown source are no longer answered: it has been challenged often enough.
    pub(super) fn tell_ignored(&mut self, now: Instant, source: IpAddr) {
        self.at(now);
        let Some(left_out) = self.refusals.line(self.wall, Some(source), ("ignored", 0)) else { return };
        let before = if left_out == 0 { String::new() } else { format!("; {left_out} before these") };
        tracing::info!(
            "requests from {source} without a right password are not answered: more of them come than \
             limits.source_challenges_per_s allows{before}"
        );
    }
}

/// The origin in one word.
pub(super) fn words(origin: Origin<'_>) -> String {
    match origin {
        Origin::User(name) => format!("user/{name}"),
        Origin::Gateway(name) => format!("gateway/{name}"),
        Origin::Trusted => "trusted".to_owned(),
        Origin::Unknown => String::new(),
    }
}

/// The number called, or the address registered.
fn named(request: &Request, ours: &dyn Ours) -> String {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    if *request.method() == Method::Register {
        return request.to().map(|to| text(to.uri.raw)).unwrap_or_default();
    }
    let uri = request.uri().ok();
    uri.map(|uri| uri.number(ours).unwrap_or_else(|| text(uri.raw))).unwrap_or_default()
}
