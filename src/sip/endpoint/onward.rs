//! What our INVITE inherits from the received one that caused it: Max-Forwards, and marks
//! that reveal a loop. A B2BUA needs its own marks: each leg has another Call-ID, so a
//! returning INVITE is not a merged request (RFC 3261 §8.2.2.2), and with Max-Forwards alone
//! a ring group that calls itself could grow threefold in each of 70 rounds.

use std::hash::{DefaultHasher, Hash, Hasher};

use bytes::Bytes;

use super::{Endpoint, Invite};
use crate::dialog::request::MAX_FORWARDS;
use crate::msg::{HeaderFields, Name, Request};

/// Header field with one mark per value, a keyed hash that discloses nothing.
const HOP: &[u8] = b"B2b-Hop";
/// Maximum number of marks passed on; no legitimate chain of calls has more.
const MARKS: usize = 32;

/// What a received INVITE passes on to one of ours.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Onward {
    /// Max-Forwards: one less than received.
    pub max_forwards: u8,
    /// The marks received, and ours.
    pub headers: HeaderFields,
}

impl Onward {
    /// Adds it to an INVITE of ours.
    pub fn apply(self, invite: &mut Invite) {
        invite.max_forwards = Some(self.max_forwards);
        invite.headers.extend(self.headers);
    }
}

impl Endpoint {
    /// What the INVITEs caused by this one inherit.
    pub fn onward(&self, request: &Request) -> Onward {
        let name = Bytes::from_static(HOP);
        let known = request.field_values(Name::Other(HOP)).take(MARKS);
        let mut headers: HeaderFields =
            known.filter_map(mark).map(|mark| (name.clone(), Bytes::copy_from_slice(mark))).collect();
        headers.push((name, self.mark(request).into()));
        let hops = request.max_forwards().ok().flatten().unwrap_or(MAX_FORWARDS);
        Onward { max_forwards: hops.saturating_sub(1), headers }
    }

    /// Whether an INVITE was here before with the same target from the same source. With
    /// another target or source it is a spiral.
    pub(super) fn is_loop(&self, request: &Request) -> bool {
        let mut marks = request.field_values(Name::Other(HOP)).take(MARKS).peekable();
        if marks.peek().is_none() {
            return false;
        }
        let ours = self.mark(request);
        marks.any(|mark| mark == ours.as_bytes())
    }

    fn mark(&self, request: &Request) -> String {
        let mut hasher = DefaultHasher::new();
        self.budget.secret().hash(&mut hasher);
        request.uri_bytes().hash(&mut hasher);
        request.source().map(|source| source.ip()).hash(&mut hasher);
        format!("{:016x}", hasher.finish())
    }
}

/// Checks the format of a mark; other values are not passed on.
fn mark(value: &[u8]) -> Option<&[u8]> {
    (value.len() == 16 && value.iter().all(u8::is_ascii_hexdigit)).then_some(value)
}
