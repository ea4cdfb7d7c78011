//! Responses to REGISTER (RFC 3261 §10.3 step 8).

use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;

use super::binding::Binding;
use super::operation::{self, ExpiryLimits, Refusal};
use super::store::Commit;
use b2b_sip::endpoint::Reply;
use b2b_sip::msg::{Name, Request};

/// A response, and the write it waits for.
#[derive(Debug, Clone)]
pub struct RegistrarReply {
    /// To be sent with `Endpoint::respond`.
    pub reply: Reply,
    /// The response must wait until this write is kept ([`super::Registrar::store`]):
    /// otherwise a crash could undo what it says.
    pub commit: Commit,
    /// There is an unlisted proxy between the phone and us, whose Path or further Via is ignored.
    pub unnamed_proxy: bool,
    /// The phone is on this host and is called at the port that it sends from, not at that of its Contact.
    pub local_phone: bool,
}

/// 200 with every binding (§10.3 step 8).
pub(super) fn listed(now: Instant, request: &Request, bindings: &[Arc<Binding>], path_counts: bool) -> Reply {
    let mut headers = Vec::new();
    for binding in bindings {
        // Rounded up: a started second counts for the phone.
        let left = binding.remaining(now).as_millis().div_ceil(1_000);
        let mut value = Vec::with_capacity(binding.contact.len() + binding.params.len() + 24);
        value.push(b'<');
        value.extend_from_slice(&binding.contact);
        value.push(b'>');
        value.extend_from_slice(&binding.params);
        value.extend_from_slice(format!(";expires={left}").as_bytes());
        headers.push((Bytes::from_static(b"Contact"), Bytes::from(value)));
    }
    // RFC 3327 §5.3
    if path_counts
        && request.header(Name::Path).is_some()
        && request.has_token(Name::Supported, "path")
        && let Ok(path) = operation::path(request)
    {
        headers.push((Bytes::from_static(b"Path"), Bytes::from(path.into_vec())));
    }
    Reply { status: 200, headers, ..Reply::default() }
}

/// The response for a refusal.
pub(super) fn refusal(refusal: Refusal, limits: &ExpiryLimits) -> Reply {
    let header = |name: &'static str, value: String| (Bytes::from(name), Bytes::from(value));
    match refusal {
        Refusal::Bad(reason) => refused(400, reason),
        Refusal::OutOfOrder => refused(500, "Out Of Order"),
        Refusal::TooManyContacts => refused(403, "Too Many Contacts"),
        Refusal::IntervalTooBrief => {
            let mut reply = refused(423, "Interval Too Brief");
            reply.headers.push(header("Min-Expires", limits.min.to_string()));
            reply
        }
        Refusal::Overloaded => {
            let mut reply = refused(503, "");
            reply.headers.push(header("Retry-After", "10".to_owned()));
            reply
        }
    }
}

/// A response with only a status; an empty phrase means the standard one.
pub(super) fn refused(status: u16, reason: &str) -> Reply {
    Reply { status, reason: reason.to_owned(), ..Reply::default() }
}
